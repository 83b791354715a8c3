/* SPDX-License-Identifier: Apache-2.0 */
/* head.c - what a request's head says to its source: read alike by the server and by `millrace explain`. Pure. */
#include "hub.h"

#include <strings.h>

bool webhook_allows(const struct webhook_options *o, struct mr_str method)
{
    for (size_t i = 0; i < o->methods.count; i++)
        if (mr_str_eq(mr_str_c(o->methods.items[i]), method))
            return true;
    return false;
}

static bool is(struct mr_str a, const char *lower)
{
    return a.n == strlen(lower) && strncasecmp(a.p, lower, a.n) == 0;
}

enum coding webhook_coding(const struct mr_http_head *head)
{
    struct mr_str value;
    size_t count = mr_http_header(head, MR_STR("content-encoding"), &value);
    if (count == 0 || (count == 1 && (value.n == 0 || is(value, "identity"))))
        return CODING_NONE;
    return count == 1 && (is(value, "gzip") || is(value, "x-gzip")) ? CODING_GZIP : CODING_OTHER;
}

void webhook_url(const struct webhook_options *o, const struct mr_http_head *head, struct mr_buf *out)
{
    mr_buf_clear(out);
    if (!o->public_url)
        return;
    mr_buf_puts(out, o->public_url);
    if (o->path_secret.value) {
        mr_buf_puts(out, o->public_url[strlen(o->public_url) - 1] == '/' ? "" : "/");
        mr_buf_put(out, o->path_secret.value, o->path_secret.n);
    }
    if (head->query.n) {
        mr_buf_putc(out, '?');
        mr_buf_put(out, head->query.p, head->query.n);
    }
}
