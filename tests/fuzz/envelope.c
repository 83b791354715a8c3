/* SPDX-License-Identifier: Apache-2.0 */
/* envelope.c - whatever the record's bytes, its line is one line of JSON from which the payload comes back.
 *
 * The first byte chooses the shape, the rest is cut at each 0x1f into stream, id, key, header name, header value and
 * payload. */
#include "millrace/hash.h"
#include "millrace/json.h"
#include "millrace/zone.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    abort();
}

static struct mr_str cut(struct mr_str *rest)
{
    const char *at = rest->n ? memchr(rest->p, 0x1f, rest->n) : NULL;
    struct mr_str piece = {rest->p, at ? (size_t)(at - rest->p) : rest->n};
    size_t used = piece.n + (at != NULL);
    rest->p += used;
    rest->n -= used;
    return piece;
}

static bool base64_is(const json_t *v, struct mr_str want)
{
    unsigned char *got = malloc(json_string_length(v) + 1);
    size_t n = 0;
    bool ok = got &&
              mr_base64_get((struct mr_str){json_string_value(v), json_string_length(v)}, false, got,
                            json_string_length(v), &n) &&
              mr_str_eq((struct mr_str){(char *)got, n}, want);
    free(got);
    return ok;
}

/* `name` or `name`_base64 holds exactly the bytes. */
static bool holds(const json_t *object, const char *name, const char *name_base64, struct mr_str want)
{
    const json_t *text = json_object_get(object, name), *binary = json_object_get(object, name_base64);
    if (!text == !binary)
        return false;
    return text ? mr_str_eq((struct mr_str){json_string_value(text), json_string_length(text)}, want)
                : base64_is(binary, want);
}

/* `data` when the payload is strict JSON, and only then. jansson's limits (numbers, lone surrogates) do not matter:
 * texts are compared. */
static void data_is(const struct mr_record *r, struct mr_str line, const json_t *v)
{
    struct mr_json_slice data = mr_json_at(line, MR_STR("/data"));
    struct mr_buf compact;
    mr_buf_init(&compact, r->data.n);
    bool json = r->payload == MR_PAYLOAD_JSON && mr_json_compact(r->data, &compact, NULL) == MR_OK;
    if (json != (data.type != MR_JSON_ABSENT))
        fail("data is there when it should not be, or the other way round");
    if (json && !mr_str_eq(data.raw, mr_buf_str(&compact)))
        fail("data is not the payload without its white space");
    if (!json && v && !holds(v, "data_text", "data_base64", r->data))
        fail("the payload does not come back");
    mr_buf_free(&compact);
}

static void check_line(const struct mr_record *r, struct mr_str line)
{
    if (line.n == 0 || line.p[line.n - 1] != '\n' || memchr(line.p, '\n', line.n - 1))
        fail("not one line");
    line.n--;
    if (mr_json_check(line, NULL) != MR_OK)
        fail("the line is not JSON");
    json_error_t why;
    json_t *v = json_loadb(line.p, line.n, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &why);
    if (!v && json_error_code(&why) == json_error_duplicate_key &&
        mr_json_at(line, MR_STR("/data")).type == MR_JSON_ABSENT)
        fail("a key of the envelope stands twice");
    if (v && r->key.p && !holds(v, "key", "key_base64", r->key))
        fail("the key does not come back");
    if (v && r->headers &&
        !holds(json_array_get(json_object_get(v, "headers"), 0), "value", "value_base64", r->headers[0].value))
        fail("a header's value does not come back");
    data_is(r, line, v);
    json_decref(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n == 0)
        return 0;
    struct mr_str rest = {(const char *)bytes + 1, n - 1};
    struct mr_header header;
    struct mr_record r = {.source = MR_STR("fuzz"), .ingested_at_us = 1763850322123456, .event_at_us = MR_NO_TIME};
    r.payload = bytes[0] & 1 ? MR_PAYLOAD_EXACT : MR_PAYLOAD_JSON;
    r.stream = cut(&rest);
    r.id = cut(&rest);
    r.key = cut(&rest);
    header.name = cut(&rest);
    header.value = cut(&rest);
    r.data = rest;
    if (bytes[0] & 2)
        r.key = (struct mr_str){NULL, 0};
    if (bytes[0] & 4) {
        r.headers = &header;
        r.headers_count = 1;
    }
    struct mr_buf out;
    mr_buf_init(&out, 8 * n + 4096);
    mr_buf_puts(&out, "before");
    if (mr_envelope_put(&out, &r, NULL) != MR_OK)
        fail("a record cannot be encoded");
    check_line(&r, (struct mr_str){out.p + 6, out.n - 6});
    size_t whole = out.n;
    mr_buf_free(&out);
    mr_buf_init(&out, whole - 1); /* a byte too few: refused, and as before */
    mr_buf_puts(&out, "before");
    if (mr_envelope_put(&out, &r, NULL) != MR_ETOOBIG || out.n != 6 || out.failed)
        fail("a line that does not fit");
    mr_buf_free(&out);
    return 0;
}
