/* SPDX-License-Identifier: Apache-2.0 */
/* envelope.c - a record as one line of the zone: same keys in the same order, whatever the source.
 *
 * A payload, a key or a header's value is text if it is UTF-8 without NUL (some readers of JSON end a string at
 * U+0000), else base64 under another name: whoever reads it gets back the bytes that came in. Runs once a record:
 * nothing is allocated but `out`'s growth. */
#include "millrace/hash.h"
#include "millrace/json.h"
#include "millrace/zone.h"

/* mr_buf_put whose length the compiler knows: a store or two where there is room. */
static inline void put(struct mr_buf *out, const char *literal, size_t n)
{
    if (!out->failed && out->cap - out->n >= n) {
        memcpy(out->p + out->n, literal, n);
        out->n += n;
    } else {
        mr_buf_put(out, literal, n);
    }
}
#define PUT(out, literal) put(out, literal, sizeof(literal) - 1)

static bool is_text(struct mr_str s)
{
    return s.n == 0 || (!memchr(s.p, '\0', s.n) && mr_utf8_ok(s));
}

static void put_base64(struct mr_buf *out, struct mr_str s)
{
    PUT(out, "\"");
    mr_base64_put(out, s);
    PUT(out, "\"");
}

static void put_time(struct mr_buf *out, int64_t wall_us)
{
    char text[28];
    mr_time_text(wall_us, text);
    PUT(out, "\"");
    put(out, text, sizeof text - 1);
    PUT(out, "\"");
}

static void put_event_time(struct mr_buf *out, const struct mr_record *r)
{
    if (r->event_at_us != MR_NO_TIME) {
        PUT(out, ",\"event_at\":");
        put_time(out, r->event_at_us);
    }
    if (r->event_at_type.n) {
        PUT(out, ",\"event_at_type\":");
        mr_json_put_string(out, r->event_at_type);
    }
}

static void put_members(struct mr_buf *out, const struct mr_record *r)
{
    for (size_t i = 0; i < r->members_count; i++) {
        PUT(out, ",");
        mr_json_put_string(out, mr_str_c(r->members[i].name));
        PUT(out, ":");
        mr_buf_put(out, r->members[i].json.p, r->members[i].json.n);
    }
}

static void put_key(struct mr_buf *out, struct mr_str key)
{
    if (!key.p)
        return;
    if (is_text(key)) {
        PUT(out, ",\"key\":");
        mr_json_put_string(out, key);
    } else {
        PUT(out, ",\"key_base64\":");
        put_base64(out, key);
    }
}

static void put_header(struct mr_buf *out, const struct mr_header *h)
{
    PUT(out, "{\"name\":");
    mr_json_put_string(out, h->name);
    if (!h->value.p) {
        PUT(out, ",\"value\":null}");
        return;
    }
    if (is_text(h->value)) {
        PUT(out, ",\"value\":");
        mr_json_put_string(out, h->value);
    } else {
        PUT(out, ",\"value_base64\":");
        put_base64(out, h->value);
    }
    PUT(out, "}");
}

static void put_headers(struct mr_buf *out, const struct mr_record *r)
{
    if (!r->headers)
        return;
    PUT(out, ",\"headers\":[");
    for (size_t i = 0; i < r->headers_count; i++) {
        if (i > 0)
            PUT(out, ",");
        put_header(out, &r->headers[i]);
    }
    PUT(out, "]");
}

/* The payload as a JSON value; false, and `out` as before, if it is not strict JSON. */
static bool put_json(struct mr_buf *out, struct mr_str data)
{
    size_t before = out->n;
    PUT(out, ",\"data\":");
    enum mr_code code = mr_json_compact(data, out, NULL);
    if (code == MR_OK)
        return true;
    if (code == MR_EMALFORMED)
        out->n = before;
    else
        out->failed = true; /* no room for it, so none for a longer form either */
    return out->failed;
}

static void put_data(struct mr_buf *out, const struct mr_record *r)
{
    if (!r->data.p) {
        PUT(out, ",\"data\":null,\"tombstone\":true");
        return;
    }
    if (r->compact) {
        PUT(out, ",\"data\":");
        mr_buf_put(out, r->data.p, r->data.n);
        return;
    }
    if (r->payload == MR_PAYLOAD_JSON && r->data.n > 0 && put_json(out, r->data))
        return;
    if (is_text(r->data)) {
        PUT(out, ",\"data_text\":");
        mr_json_put_string(out, r->data);
    } else {
        PUT(out, ",\"data_base64\":");
        put_base64(out, r->data);
    }
}

enum mr_code mr_envelope_put(struct mr_buf *out, const struct mr_record *r, struct mr_err *err)
{
    size_t before = out->n;
    bool failed_before = out->failed;
    PUT(out, "{\"source\":");
    mr_json_put_string(out, r->source);
    PUT(out, ",\"stream\":");
    mr_json_put_string(out, r->stream);
    PUT(out, ",\"id\":");
    mr_json_put_string(out, r->id);
    PUT(out, ",\"ingested_at\":");
    put_time(out, r->ingested_at_us);
    put_event_time(out, r);
    if (r->position.n) {
        PUT(out, ",\"position\":");
        mr_buf_put(out, r->position.p, r->position.n);
    }
    put_members(out, r);
    if (r->replay.n) {
        PUT(out, ",\"replay\":");
        mr_json_put_string(out, r->replay);
    }
    put_key(out, r->key);
    put_headers(out, r);
    put_data(out, r);
    PUT(out, "}\n");
    if (!out->failed)
        return MR_OK;
    out->n = before;
    out->failed = failed_before;
    return mr_err_set(err, MR_ETOOBIG, "record of %zu bytes: its line does not fit into the %zu that are left",
                      r->data.n, out->limit - before);
}
