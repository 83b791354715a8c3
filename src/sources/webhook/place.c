/* SPDX-License-Identifier: Apache-2.0 */
#include "place.h"

#include "millrace/json.h"

#include <stdlib.h>
#include <strings.h>

enum { PAIRS_MAX = 512 };

size_t place_room(const struct mr_signed_request *req)
{
    /* decoded once and joined once, or decoded by two schemes' worth of fields */
    return 4 * req->body.n + 4 * req->head->query.n + 4 * req->url.n + 4096;
}

static struct mr_str since(const struct mr_buf *b, size_t at)
{
    return (struct mr_str){b->p + at, b->n - at};
}

enum mr_place_found place_json(struct mr_str body, struct mr_str pointer, struct mr_buf *scratch, struct mr_str *value)
{
    struct mr_json_slice s = mr_json_at(body, pointer);
    size_t at = scratch->n;
    switch (s.type) {
    case MR_JSON_ABSENT:
    case MR_JSON_NULL:
        return PLACE_ABSENT;
    case MR_JSON_STRING:
        if (!mr_json_string(s, scratch))
            return PLACE_BAD;
        *value = since(scratch, at);
        return PLACE_FOUND;
    case MR_JSON_NUMBER:
    case MR_JSON_BOOL:
        *value = s.raw;
        return PLACE_FOUND;
    default:
        return PLACE_BAD;
    }
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* false: a percent sign without two hex digits */
static bool percent_decode(struct mr_str in, struct mr_buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (c == '%') {
            int high = i + 2 < in.n ? hex_digit(in.p[i + 1]) : -1, low = high >= 0 ? hex_digit(in.p[i + 2]) : -1;
            if (low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        mr_buf_putc(out, c);
    }
    return true;
}

static bool next_pair(struct mr_str *left, struct mr_str *name, struct mr_str *value)
{
    while (left->n) {
        const char *end = memchr(left->p, '&', left->n);
        struct mr_str pair = {left->p, end ? (size_t)(end - left->p) : left->n};
        *left = end ? (struct mr_str){end + 1, left->n - pair.n - 1} : (struct mr_str){left->p + left->n, 0};
        if (pair.n == 0)
            continue;
        const char *sign = memchr(pair.p, '=', pair.n);
        *name = (struct mr_str){pair.p, sign ? (size_t)(sign - pair.p) : pair.n};
        *value = sign ? (struct mr_str){sign + 1, pair.n - name->n - 1} : (struct mr_str){"", 0};
        return true;
    }
    return false;
}

enum mr_place_found place_form(struct mr_str pairs, struct mr_str wanted, struct mr_buf *scratch, struct mr_str *value)
{
    struct mr_str name, raw;
    bool found = false;
    while (next_pair(&pairs, &name, &raw)) {
        size_t at = scratch->n;
        if (!percent_decode(name, scratch))
            return PLACE_BAD;
        bool is_it = mr_str_eq(since(scratch, at), wanted);
        scratch->n = at;
        if (!is_it)
            continue;
        if (found)
            return PLACE_TWICE;
        found = true;
        if (!percent_decode(raw, scratch))
            return PLACE_BAD;
        *value = since(scratch, at);
    }
    return found ? PLACE_FOUND : PLACE_ABSENT;
}

bool place_json_put(struct mr_str body, struct mr_str pointer, struct mr_str value, struct mr_buf *out)
{
    struct mr_json_slice s = mr_json_check(body, NULL) == MR_OK ? mr_json_at(body, pointer) : (struct mr_json_slice){.type = MR_JSON_ABSENT};
    int64_t number;
    if (s.type == MR_JSON_ABSENT)
        return false;
    mr_buf_put(out, body.p, (size_t)(s.raw.p - body.p));
    if (s.type == MR_JSON_NUMBER && mr_json_i64((struct mr_json_slice){MR_JSON_NUMBER, value}, &number))
        mr_buf_put(out, value.p, value.n);
    else
        mr_json_put_string(out, value);
    const char *rest = s.raw.p + s.raw.n;
    mr_buf_put(out, rest, (size_t)(body.p + body.n - rest));
    return true;
}

static void percent_encode(struct mr_str in, struct mr_buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        unsigned char c = (unsigned char)in.p[i];
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("-._~", c)))
            mr_buf_putc(out, (char)c);
        else
            mr_buf_printf(out, "%%%02X", c);
    }
}

void place_form_put(struct mr_str pairs, struct mr_str wanted, struct mr_str value, struct mr_buf *out)
{
    struct mr_str name, raw;
    struct mr_buf decoded;
    mr_buf_init(&decoded, pairs.n + 1);
    while (next_pair(&pairs, &name, &raw)) {
        mr_buf_clear(&decoded);
        if (percent_decode(name, &decoded) && mr_str_eq(mr_buf_str(&decoded), wanted))
            continue;
        mr_buf_put(out, name.p, name.n);
        mr_buf_putc(out, '=');
        mr_buf_put(out, raw.p, raw.n);
        mr_buf_putc(out, '&');
    }
    mr_buf_free(&decoded);
    percent_encode(wanted, out);
    mr_buf_putc(out, '=');
    percent_encode(value, out);
}

struct pair {
    struct mr_str name, value;
};

static int by_bytes(struct mr_str a, struct mr_str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;
    return order ? order : a.n < b.n ? -1 : a.n > b.n;
}

static int by_name_and_value(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    int order = by_bytes(x->name, y->name);
    return order ? order : by_bytes(x->value, y->value);
}

enum mr_place_found place_sorted(struct mr_str form, struct mr_buf *scratch, struct mr_str *value)
{
    struct pair pairs[PAIRS_MAX];
    struct mr_str name, raw;
    size_t count = 0;
    while (next_pair(&form, &name, &raw)) {
        if (count == PAIRS_MAX)
            return PLACE_BAD;
        size_t at = scratch->n;
        if (!percent_decode(name, scratch))
            return PLACE_BAD;
        pairs[count].name = since(scratch, at);
        at = scratch->n;
        if (!percent_decode(raw, scratch))
            return PLACE_BAD;
        pairs[count++].value = since(scratch, at);
    }
    qsort(pairs, count, sizeof *pairs, by_name_and_value);
    size_t at = scratch->n;
    for (size_t i = 0; i < count; i++) {
        if (i && by_name_and_value(&pairs[i - 1], &pairs[i]) == 0)
            continue;
        mr_buf_put(scratch, pairs[i].name.p, pairs[i].name.n);
        mr_buf_put(scratch, pairs[i].value.p, pairs[i].value.n);
    }
    *value = since(scratch, at);
    return PLACE_FOUND;
}

bool place_is_form(const struct mr_http_head *head)
{
    static const char form[] = "application/x-www-form-urlencoded";
    struct mr_str type;
    return mr_http_header(head, MR_STR("content-type"), &type) == 1 && type.n >= sizeof form - 1 &&
           strncasecmp(type.p, form, sizeof form - 1) == 0 &&
           (type.n == sizeof form - 1 || type.p[sizeof form - 1] == ';' || type.p[sizeof form - 1] == ' ');
}

struct mr_str place_port_toggled(struct mr_str url, struct mr_buf *scratch)
{
    bool https = url.n > 8 && strncasecmp(url.p, "https://", 8) == 0;
    size_t host = https ? 8 : 7, end = host, colon = 0, at = scratch->n;
    for (; end < url.n && url.p[end] != '/' && url.p[end] != '?'; end++)
        if (url.p[end] == ':')
            colon = end;
        else if (url.p[end] == ']')
            colon = 0;
    mr_buf_put(scratch, url.p, colon ? colon : end);
    if (!colon)
        mr_buf_puts(scratch, https ? ":443" : ":80");
    mr_buf_put(scratch, url.p + end, url.n - end);
    return since(scratch, at);
}

struct mr_str place_url_decoded(struct mr_str url, struct mr_buf *scratch)
{
    size_t at = scratch->n;
    for (size_t i = 0; i < url.n; i++) {
        char c = url.p[i];
        int high = c == '%' && i + 2 < url.n ? hex_digit(url.p[i + 1]) : -1, low = high >= 0 ? hex_digit(url.p[i + 2]) : -1;
        if (low >= 0 && strchr(":/?@!$'()*,;", high << 4 | low) && (high << 4 | low)) {
            c = (char)(high << 4 | low);
            i += 2;
        }
        mr_buf_putc(scratch, c);
    }
    return since(scratch, at);
}
