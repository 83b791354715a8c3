/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - what load balancers and proxies say of a client. The first byte chooses: the PROXY header, cut anywhere, or one of the headers, whose lines
 * are the lines. */
#include "net/proxy_header.h"
#include "sources/webhook/client.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    abort();
}

/* Whatever the cut, the outcome of the whole holds: only MORE before its end. */
static void proxy(struct mr_str s)
{
    struct mr_proxy whole, part;
    enum mr_proxy_step step = mr_proxy_parse(s, &whole);
    if (step == MR_PROXY_MORE && s.n >= MR_PROXY_MAX)
        fail("it wants more than there may be");
    if (step != MR_PROXY_DONE)
        return;
    if (whole.n > s.n)
        fail("it has taken more than there is");
    for (size_t i = 0; i < whole.n; i++)
        if (mr_proxy_parse((struct mr_str){s.p, i}, &part) != MR_PROXY_MORE)
            fail("a beginning is not what the whole is");
}

static void header(struct mr_str s, enum client_header which)
{
    static const char *const names[] = {"X-Forwarded-For", "Forwarded", "X-Real-IP"};
    static char net[] = "10.0.0.0/8", *texts[] = {net};
    const struct mr_strings trusted = {texts, 1};
    struct mr_header headers[8];
    struct mr_http_head head = {.headers = headers};
    struct ranges ranges;
    struct mr_err err;
    struct mr_address client;
    char shown[MR_ADDRESS_TEXT];
    if (ranges_read(&trusted, &ranges, &err) != MR_OK)
        fail(err.msg);
    while (head.headers_count < MR_COUNT(headers) && s.n) {
        const char *end = memchr(s.p, '\n', s.n);
        size_t line = end ? (size_t)(end - s.p) : s.n;
        headers[head.headers_count++] = (struct mr_header){mr_str_c(names[which]), {s.p, line}};
        s = end ? (struct mr_str){end + 1, s.n - line - 1} : (struct mr_str){0};
    }
    if (client_of(&ranges, which, &head, &client)) {
        struct mr_address again;
        mr_address_text(&client, shown);
        if (!mr_address_parse(mr_str_c(shown), &again) || memcmp(&again, &client, sizeof again) != 0)
            fail("an address is not what its text is");
    }
    ranges_free(&ranges);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n == 0)
        return 0;
    char *copy = malloc(n);
    if (!copy)
        return 0;
    memcpy(copy, bytes, n);
    struct mr_str rest = {copy + 1, n - 1};
    if (bytes[0] % 4 == 0)
        proxy(rest);
    else
        header(rest, (enum client_header)(bytes[0] % 4 - 1));
    free(copy);
    return 0;
}
