/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a connection, through the parser to the handler, cut at random. Input: a seed byte, a byte for the body
 * limit, the rest is the wire.
 *
 * Properties: the same requests come out, with the same end, however the bytes are cut; no body is above the limit;
 * slices lie in the request's own bytes; a request takes at least one byte and never more than there are; need is above
 * what is here. */
#include "net/http_parse.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

struct run {
    const struct mr_http_limits *limits;
    size_t body_limit;
    uint64_t digest; /* of all that was handed over */
    unsigned requests;
    enum mr_http_cause end;
};

static void mix(struct run *r, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++)
        r->digest = (r->digest ^ p[i]) * UINT64_C(1099511628211);
    r->digest = (r->digest ^ n) * UINT64_C(1099511628211);
}

static void mix_slice(struct run *r, struct mr_str s, const char *base, size_t n)
{
    assert((s.p >= base && s.p + s.n <= base + n) || s.n <= 1); /* "" and "/" are our own */
    mix(r, s.p, s.n);
}

static void mix_head(struct run *r, const struct mr_http_head *h, const char *base, size_t n)
{
    mix_slice(r, h->method, base, n);
    mix_slice(r, h->target, base, n);
    mix_slice(r, h->path, base, n);
    mix_slice(r, h->query, base, n);
    assert(h->headers_count <= r->limits->header_count && h->method.n > 0 && h->path.n > 0);
    for (size_t i = 0; i < h->headers_count; i++) {
        struct mr_str name = h->headers[i].name, value = h->headers[i].value;
        assert(name.n > 0 && !memchr(name.p, '\n', name.n) && !memchr(value.p, '\n', value.n) &&
               !memchr(value.p, '\r', value.n));
        mix_slice(r, name, base, n);
        mix_slice(r, value, base, n);
    }
}

/* One request's bytes so far, in memory of exactly their size, so that a step beyond them is seen. Moved before each
 * feed. */
struct wire {
    char *p;
    size_t n;
};

static void append(struct wire *w, const uint8_t *more, size_t n)
{
    char *p = malloc(w->n + n + 1);
    assert(p);
    if (w->n > 0)
        memcpy(p, w->p, w->n);
    if (n > 0)
        memcpy(p + w->n, more, n);
    free(w->p);
    w->p = p;
    w->n += n;
}

static void take(struct wire *w, size_t n)
{
    assert(n > 0 && n <= w->n);
    memmove(w->p, w->p + n, w->n - n);
    w->n -= n;
}

/* Feeds what is there. False: refused. */
static bool feed(struct run *r, struct mr_parse *p, bool *begun, struct wire *w, struct mr_parse_table *table)
{
    while (w->n > 0) {
        struct mr_http_head head;
        if (!*begun)
            mr_parse_start(p);
        *begun = true;
        switch (mr_parse_feed(p, w->p, &w->n, r->limits, table)) {
        case MR_PARSE_MORE:
            assert(mr_parse_need(p, r->limits) > w->n);
            return true;
        case MR_PARSE_REFUSED:
            r->end = p->cause;
            assert(p->cause != MR_CAUSE_NONE);
            return false;
        case MR_PARSE_HEAD:
            mr_parse_head(p, w->p, table, &head);
            assert(p->head_n <= r->limits->header_bytes);
            if (!mr_parse_body(p, r->body_limit)) {
                r->end = p->cause;
                return false;
            }
            break;
        case MR_PARSE_WHOLE:
            mr_parse_head(p, w->p, table, &head);
            mix_head(r, &head, w->p, p->head_n);
            assert(p->body_n <= r->body_limit && p->head_n + p->body_n <= p->end && p->end <= w->n);
            mix(r, w->p + p->head_n, p->body_n);
            mix(r, &p->keep_alive, sizeof p->keep_alive);
            r->requests++;
            take(w, p->end);
            *begun = false;
            break;
        }
    }
    return true;
}

/* `seed` 0: all at once. */
static struct run run(const uint8_t *bytes, size_t n, uint32_t seed, size_t body_limit)
{
    struct mr_http_limits limits = {.header_bytes = 2048, .header_count = 16};
    struct run r = {.limits = &limits, .body_limit = body_limit, .digest = 7};
    struct mr_header headers[17];
    struct mr_parse_table table = {.at = headers, .room = 16};
    struct mr_parse p;
    struct wire w = {NULL, 0};
    bool begun = false, goes_on = true;
    for (size_t at = 0; at < n && goes_on;) {
        size_t most = n - at, step = most;
        if (seed != 0) {
            seed = seed * 1664525u + 1013904223u;
            step = 1 + (seed >> 24) % ((seed >> 16) % 4 == 0 ? 64 : 3);
            if (step > most)
                step = most;
        }
        append(&w, bytes + at, step);
        at += step;
        goes_on = feed(&r, &p, &begun, &w, &table);
        if (seed % 5 == 1)
            table.of = NULL; /* as if another connection had used it */
    }
    free(w.p);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n < 2 || n > 64 * 1024)
        return 0;
    size_t body_limit = (size_t)bytes[1] * 16;
    struct run whole = run(bytes + 2, n - 2, 0, body_limit);
    for (uint32_t k = 1; k <= 3; k++) {
        struct run cut = run(bytes + 2, n - 2, bytes[0] * 16u + k, body_limit);
        assert(cut.requests == whole.requests && cut.end == whole.end && cut.digest == whole.digest);
    }
    return 0;
}
