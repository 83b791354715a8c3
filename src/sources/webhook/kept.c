/* SPDX-License-Identifier: Apache-2.0 */
#include "kept.h"

#include "millrace/hash.h"
#include "millrace/json.h"

#include <stdio.h>

static void put_member(struct mr_buf *b, const char *name, struct mr_str value)
{
    mr_buf_printf(b, "\"%s\":", name);
    mr_json_put_string(b, value);
    mr_buf_putc(b, ',');
}

void kept_put_head(struct mr_buf *b, const struct kept_request *r)
{
    char at[28];
    mr_time_text(r->received_us, at);
    mr_buf_putc(b, '{');
    put_member(b, "received_at", mr_str_c(at));
    put_member(b, "cause", r->cause);
    put_member(b, "reason", r->reason);
    put_member(b, "remote", r->remote);
    put_member(b, "method", r->method);
    mr_buf_puts(b, "\"path\":");
    mr_json_put_string(b, r->path);
    if (r->query.n) {
        b->n -= b->failed ? 0 : 1; /* the closing quote: the query goes on in the same string */
        size_t at_quote = b->n;
        mr_json_put_string(b, r->query);
        if (!b->failed)
            b->p[at_quote] = '?';
    }
    mr_buf_puts(b, ",\"headers\":[");
    for (size_t i = 0; i < r->headers_count; i++) {
        mr_buf_puts(b, i ? ",[" : "[");
        mr_json_put_string(b, r->headers[i].name);
        mr_buf_putc(b, ',');
        mr_json_put_string(b, r->headers[i].value);
        mr_buf_putc(b, ']');
    }
    mr_buf_puts(b, "],\"body_base64\":\"");
}

/* ---- back ---- */

struct reader { /* strings are decoded one after the other; slices are made once the text has stopped growing */
    struct mr_buf *text;
    size_t at[2 * MR_EVENT_HEADERS_MAX + 8];
    size_t count;
};

static bool take(struct reader *r, struct mr_json_slice s)
{
    r->at[r->count++] = r->text->n;
    return mr_json_string(s, r->text);
}

static bool take_headers(struct reader *r, struct mr_json_slice headers, size_t *count)
{
    struct mr_json_iter it, pair;
    struct mr_str key;
    struct mr_json_slice item, name, value, more;
    if (headers.type != MR_JSON_ARRAY)
        return false;
    mr_json_iter(&it, headers);
    for (*count = 0; mr_json_next(&it, &key, &item); ++*count) {
        if (*count == MR_EVENT_HEADERS_MAX || item.type != MR_JSON_ARRAY)
            return false;
        mr_json_iter(&pair, item);
        if (!mr_json_next(&pair, &key, &name) || !mr_json_next(&pair, &key, &value) ||
            mr_json_next(&pair, &key, &more) || !take(r, name) || !take(r, value))
            return false;
    }
    return true;
}

static bool take_body(struct reader *r, struct mr_json_slice body)
{
    r->at[r->count++] = r->text->n;
    if (body.type != MR_JSON_STRING || !mr_buf_reserve(r->text, body.raw.n))
        return false;
    size_t n = 0;
    struct mr_str encoded = {body.raw.p + 1, body.raw.n - 2}; /* base64 needs no escapes: with one it is not ours */
    if (!mr_base64_get(encoded, false, (unsigned char *)r->text->p + r->text->n, r->text->cap - r->text->n, &n))
        return false;
    r->text->n += n;
    return true;
}

enum mr_code kept_get(struct mr_str json, struct mr_header *headers, struct mr_buf *text, struct kept_request *out,
                      struct mr_err *err)
{
    static const char *const members[] = {"/received_at", "/cause", "/reason", "/remote", "/method", "/path"};
    struct reader r = {.text = text};
    *out = (struct kept_request){.headers = headers};
    mr_buf_clear(text);
    if (mr_json_check(json, err) != MR_OK)
        return mr_err_set(err, MR_EMALFORMED, "not JSON");
    for (size_t i = 0; i < MR_COUNT(members); i++)
        if (!take(&r, mr_json_at(json, mr_str_c(members[i]))))
            return mr_err_set(err, MR_EMALFORMED, "\"%s\" is missing, or no string", members[i] + 1);
    if (!take_headers(&r, mr_json_at(json, MR_STR("/headers")), &out->headers_count))
        return mr_err_set(err, MR_EMALFORMED, "\"headers\" are no list of [name, value], or too many");
    if (!take_body(&r, mr_json_at(json, MR_STR("/body_base64"))))
        return mr_err_set(err, MR_EMALFORMED, "\"body_base64\" is no base64");
    if (text->failed)
        return mr_err_set(err, MR_EMALFORMED, "too large");
    r.at[r.count] = text->n;
#define SLICE(i) ((struct mr_str){text->p + r.at[i], r.at[(i) + 1] - r.at[i]})
    if (!mr_time_parse(SLICE(0), &out->received_us))
        return mr_err_set(err, MR_EMALFORMED, "\"received_at\" is no time");
    out->cause = SLICE(1);
    out->reason = SLICE(2);
    out->remote = SLICE(3);
    out->method = SLICE(4);
    struct mr_str target = SLICE(5);
    for (size_t i = 0; i < out->headers_count; i++)
        headers[i] = (struct mr_header){SLICE(6 + 2 * i), SLICE(7 + 2 * i)};
    out->body = SLICE(r.count - 1);
#undef SLICE
    const char *question = target.n ? memchr(target.p, '?', target.n) : NULL;
    out->path = (struct mr_str){target.p, question ? (size_t)(question - target.p) : target.n};
    if (question)
        out->query = (struct mr_str){question + 1, target.n - out->path.n - 1};
    return MR_OK;
}

/* ---- names ---- */

/* "2026-11-23T02:54:10.123456Z" without what file names dislike. */
enum { TIME_TEXT = 27, TIME_NAME = 23 };

void kept_name(int64_t received_us, const char *cause, uint32_t random, char out[KEPT_NAME_MAX])
{
    char at[28], stamp[28];
    size_t n = 0;
    mr_time_text(received_us, at);
    for (const char *p = at; *p; p++)
        if (*p != '-' && *p != ':')
            stamp[n++] = *p;
    stamp[n] = '\0';
    snprintf(out, KEPT_NAME_MAX, KEPT_REFUSED "%s-%s-%08x.json", stamp, cause, random);
}

bool kept_name_parse(const char *name, int64_t *received_us, bool *replayed)
{
    *replayed = strncmp(name, KEPT_REPLAYED, sizeof KEPT_REPLAYED - 1) == 0;
    if (!*replayed && strncmp(name, KEPT_REFUSED, sizeof KEPT_REFUSED - 1) != 0)
        return false;
    const char *stamp = strchr(name, '-') + 1, *dot = strrchr(name, '.');
    char at[TIME_TEXT + 1];
    if (strlen(stamp) < TIME_NAME || stamp[TIME_NAME] != '-' || !dot || strcmp(dot, ".json") != 0)
        return false;
    snprintf(at, sizeof at, "%.4s-%.2s-%.5s:%.2s:%.10s", stamp, stamp + 4, stamp + 6, stamp + 11, stamp + 13);
    return mr_time_parse(mr_str_c(at), received_us);
}
