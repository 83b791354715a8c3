/* SPDX-License-Identifier: Apache-2.0 */
/* event.c - a queue record read as an event: nothing beyond its end is read, and what is taken is written back alike. */
#include "sources/webhook/event.h"

#include "millrace/json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    abort();
}

static bool unmasked(void *arg, const struct mr_header *header)
{
    (void)arg;
    (void)header;
    return false;
}

static bool inside(struct mr_str s, struct mr_str whole)
{
    return s.p >= whole.p && s.p + s.n <= whole.p + whole.n;
}

static void taken(const struct mr_event *e, struct mr_str whole)
{
    if (e->headers_count > MR_EVENT_HEADERS_MAX || !inside(e->body, whole) || !inside(e->remote, whole))
        fail("a slice outside of the record");
    for (size_t i = 0; i < e->headers_count; i++)
        if (!inside(e->headers[i].name, whole) || !inside(e->headers[i].value, whole))
            fail("a header outside of the record");
    struct mr_buf out;
    mr_buf_init(&out, whole.n + 64);
    mr_event_put(&out, e, unmasked, NULL);
    mr_buf_put(&out, e->body.p, e->body.n);
    if (out.failed || !mr_str_eq(mr_buf_str(&out), whole))
        fail("not written back alike");
    mr_buf_free(&out);
    mr_buf_init(&out, 4 * whole.n + 64);
    bool json = mr_json_check(e->body, NULL) == MR_OK;
    if (mr_event_id(e, json ? e->body : (struct mr_str){0}, &out) != (out.n > 0))
        fail("an id without bytes, or bytes without an id");
    mr_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct mr_header headers[MR_EVENT_HEADERS_MAX];
    struct mr_event e;
    struct mr_err err = {0};
    char *copy = malloc(n ? n : 1); /* of its own, so that a byte beyond it is seen */
    if (!copy)
        return 0;
    memcpy(copy, bytes, n);
    struct mr_str whole = {copy, n};
    enum mr_code code = mr_event_get(whole, headers, &e, &err);
    if (code == MR_OK)
        taken(&e, whole);
    else if (code != MR_EMALFORMED || !err.msg[0])
        fail("refused without saying why");
    free(copy);
    return 0;
}
