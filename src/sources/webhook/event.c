/* SPDX-License-Identifier: Apache-2.0 */
#include "event.h"

#include "millrace/http.h"
#include "millrace/json.h"

enum { VERSION = 1, FIXED = 24 };

static void put_u32(struct mr_buf *b, uint32_t v)
{
    unsigned char bytes[4] = {(unsigned char)v, (unsigned char)(v >> 8), (unsigned char)(v >> 16),
                              (unsigned char)(v >> 24)};
    mr_buf_put(b, bytes, 4);
}

static void put_u64(struct mr_buf *b, uint64_t v)
{
    put_u32(b, (uint32_t)v);
    put_u32(b, (uint32_t)(v >> 32));
}

static void put_str(struct mr_buf *b, struct mr_str s)
{
    put_u32(b, (uint32_t)s.n);
    mr_buf_put(b, s.p, s.n);
}

void mr_event_put(struct mr_buf *out, const struct mr_event *e, bool (*masked)(void *arg, const struct mr_header *header),
                  void *arg)
{
    unsigned char head[4] = {VERSION, (unsigned char)e->payload, (unsigned char)e->secret,
                             (unsigned char)(e->secret >> 8)};
    mr_buf_put(out, head, sizeof head);
    put_u32(out, (uint32_t)e->headers_count);
    put_u64(out, (uint64_t)e->arrived_us);
    put_u64(out, (uint64_t)e->dedup_window_ms);
    put_str(out, e->scheme);
    put_str(out, e->covers);
    put_str(out, e->dedup_id);
    put_str(out, e->method);
    put_str(out, e->path);
    put_str(out, e->query);
    put_str(out, e->remote);
    for (size_t i = 0; i < e->headers_count; i++) {
        put_str(out, e->headers[i].name);
        put_str(out, masked(arg, &e->headers[i]) ? MR_STR("***") : e->headers[i].value);
    }
}

struct cursor {
    const unsigned char *p, *end;
    bool bad;
};

static uint32_t get_u32(struct cursor *c)
{
    if (c->end - c->p < 4) {
        c->bad = true;
        return 0;
    }
    const unsigned char *p = c->p;
    c->p += 4;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get_u64(struct cursor *c)
{
    uint64_t low = get_u32(c);
    return low | (uint64_t)get_u32(c) << 32;
}

static struct mr_str get_str(struct cursor *c)
{
    size_t n = get_u32(c);
    if (c->bad || (size_t)(c->end - c->p) < n) {
        c->bad = true;
        return (struct mr_str){0};
    }
    struct mr_str s = {(const char *)c->p, n};
    c->p += n;
    return s;
}

enum mr_code mr_event_get(struct mr_str payload, struct mr_header *headers, struct mr_event *out, struct mr_err *err)
{
    struct cursor c = {(const unsigned char *)payload.p, (const unsigned char *)payload.p + payload.n, false};
    if (payload.n < FIXED || c.p[0] != VERSION || c.p[1] > MR_PAYLOAD_EXACT)
        return mr_err_set(err, MR_EMALFORMED, "queue record of %zu bytes: not an event of version %d", payload.n,
                          VERSION);
    out->payload = (enum mr_payload)c.p[1];
    out->secret = (unsigned)c.p[2] | (unsigned)c.p[3] << 8;
    c.p += 4;
    out->headers_count = get_u32(&c);
    out->arrived_us = (int64_t)get_u64(&c);
    out->dedup_window_ms = (int64_t)get_u64(&c);
    out->scheme = get_str(&c);
    out->covers = get_str(&c);
    out->dedup_id = get_str(&c);
    out->method = get_str(&c);
    out->path = get_str(&c);
    out->query = get_str(&c);
    out->remote = get_str(&c);
    if (out->headers_count > MR_EVENT_HEADERS_MAX)
        return mr_err_set(err, MR_EMALFORMED, "queue record: %zu headers", out->headers_count);
    for (size_t i = 0; i < out->headers_count; i++) {
        headers[i].name = get_str(&c);
        headers[i].value = get_str(&c);
    }
    if (c.bad)
        return mr_err_set(err, MR_EMALFORMED, "queue record of %zu bytes ends inside an event", payload.n);
    out->headers = headers;
    out->body = (struct mr_str){(const char *)c.p, (size_t)(c.end - c.p)};
    return MR_OK;
}

bool mr_event_id(const struct mr_event *e, struct mr_str json, struct mr_buf *out)
{
    static const char header[] = "header:";
    if (e->dedup_id.n == 0)
        return false;
    size_t at = out->n;
    if (e->dedup_id.n > sizeof header - 1 && memcmp(e->dedup_id.p, header, sizeof header - 1) == 0) {
        struct mr_http_head head = {.headers = e->headers, .headers_count = e->headers_count};
        struct mr_str name = {e->dedup_id.p + sizeof header - 1, e->dedup_id.n - (sizeof header - 1)}, value;
        if (mr_http_header(&head, name, &value) == 1)
            mr_buf_put(out, value.p, value.n);
        return out->n > at && !out->failed;
    }
    if (json.n == 0 ||
        !mr_buf_reserve(out, json.n + 1)) /* room first: what is appended comes out of the buffer itself */
        return false;
    struct mr_json_slice s = mr_json_at(json, e->dedup_id);
    if (s.type == MR_JSON_STRING)
        mr_json_string(s, out);
    else if (s.type == MR_JSON_NUMBER || s.type == MR_JSON_BOOL)
        mr_buf_put(out, s.raw.p, s.raw.n);
    return out->n > at && !out->failed;
}
