/* SPDX-License-Identifier: Apache-2.0 */
/* json_read.c - reading a text that has been checked: pointers, iteration, strings, integers.
 *
 * Every step is still bounded by `end`: on a text that was not checked the answers are wrong, the reads are not. */
#include "base/json_text.h"

static bytes past_space(bytes p, bytes end)
{
    while (p < end && is_space(*p))
        p++;
    return p;
}

/* Past the string at p. */
static bytes past_string(bytes p, bytes end)
{
    for (p++; p < end;) {
        p = skip_plain(p, end);
        if (p == end)
            break;
        if (*p == '"')
            return p + 1;
        p += *p == '\\' && end - p > 1 ? 2 : 1;
    }
    return end;
}

static bytes past_container(bytes p, bytes end)
{
    size_t depth = 0;
    while (p < end) {
        switch (*p) {
        case '"':
            p = past_string(p, end);
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (--depth == 0)
                return p + 1;
            break;
        default:
            break;
        }
        p++;
    }
    return end;
}

static bytes past_scalar(bytes p, bytes end)
{
    while (p < end && !is_space(*p) && *p != ',' && *p != ']' && *p != '}')
        p++;
    return p;
}

static enum mr_json_type type_of(unsigned char c)
{
    switch (c) {
    case '"':
        return MR_JSON_STRING;
    case '{':
        return MR_JSON_OBJECT;
    case '[':
        return MR_JSON_ARRAY;
    case 't':
    case 'f':
        return MR_JSON_BOOL;
    case 'n':
        return MR_JSON_NULL;
    default:
        return MR_JSON_NUMBER;
    }
}

/* The value at or after p; ABSENT at the end. */
static struct mr_json_slice value_at(bytes p, bytes end)
{
    p = past_space(p, end);
    if (p == end)
        return (struct mr_json_slice){0};
    enum mr_json_type type = type_of(*p);
    bytes after = type == MR_JSON_STRING                            ? past_string(p, end)
                  : type == MR_JSON_OBJECT || type == MR_JSON_ARRAY ? past_container(p, end)
                                                                    : past_scalar(p, end);
    if (after == p) /* a stray bracket or comma: no value, so that an iteration always moves on */
        return (struct mr_json_slice){0};
    return (struct mr_json_slice){type, {(const char *)p, (size_t)(after - p)}};
}

void mr_json_iter(struct mr_json_iter *it, struct mr_json_slice container)
{
    bool any = container.type == MR_JSON_OBJECT || container.type == MR_JSON_ARRAY;
    const char *p = any ? container.raw.p + 1 : NULL;
    /* Without the closing bracket, so that the end of the range is the end of the items. */
    *it = (struct mr_json_iter){p, any && container.raw.n > 1 ? container.raw.p + container.raw.n - 1 : p,
                                container.type == MR_JSON_OBJECT};
}

/* Past white space and one `c` if it is there. */
static bytes past(bytes p, bytes end, char c)
{
    p = past_space(p, end);
    return p < end && *p == (unsigned char)c ? p + 1 : p;
}

bool mr_json_next(struct mr_json_iter *it, struct mr_str *key_raw, struct mr_json_slice *value)
{
    if (it->p == it->end)
        return false;
    bytes end = (bytes)it->end, p = past_space((bytes)it->p, end);
    struct mr_str key = {NULL, 0};
    if (p < end && it->object) {
        bytes after = *p == '"' ? past_string(p, end) : end;
        key = (struct mr_str){(const char *)p, (size_t)(after - p)};
        p = past(after, end, ':');
    }
    struct mr_json_slice v = value_at(p, end);
    it->p = it->end;
    if (v.type == MR_JSON_ABSENT)
        return false;
    it->p = (const char *)past((bytes)v.raw.p + v.raw.n, end, ',');
    if (key_raw)
        *key_raw = key;
    *value = v;
    return true;
}

/* ---- strings ---- */

static size_t utf8_encode(uint32_t c, unsigned char out[4])
{
    if (c < 0x80) {
        out[0] = (unsigned char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (unsigned char)(0xc0 | c >> 6);
        out[1] = (unsigned char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (unsigned char)(0xe0 | c >> 12);
        out[1] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (unsigned char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (unsigned char)(0xf0 | c >> 18);
    out[1] = (unsigned char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (unsigned char)(0x80 | (c & 0x3f));
    return 4;
}

/* One escape at the backslash *p as UTF-8; pairs of surrogates are one character, lone ones U+FFFD. Returns what was
 * read. */
static size_t decode_escape(bytes p, bytes end, unsigned char out[4], size_t *out_n)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint32_t c = 0xfffd;
    size_t used = 2;
    if (end - p < 2) {
        used = (size_t)(end - p);
    } else if (p[1] == 'u') {
        int32_t high = hex4(p + 2, end), low = -1;
        used = high < 0 ? 2 : 6;
        if (high >= 0xd800 && high < 0xdc00 && end - p >= 12 && p[6] == '\\' && p[7] == 'u')
            low = hex4(p + 8, end);
        if (low >= 0xdc00 && low < 0xe000) {
            c = 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
            used = 12;
        } else if (high >= 0 && (high < 0xd800 || high >= 0xe000)) {
            c = (uint32_t)high;
        }
    } else {
        const char *at = p[1] ? strchr(from, p[1]) : NULL;
        c = at ? (unsigned char)to[at - from] : c;
    }
    *out_n = utf8_encode(c, out);
    return used;
}

/* What stands between the quotes. */
static struct mr_str inside(struct mr_str raw)
{
    return raw.n >= 2 ? (struct mr_str){raw.p + 1, raw.n - 2} : (struct mr_str){raw.p, 0};
}

bool mr_json_string(struct mr_json_slice s, struct mr_buf *out)
{
    if (s.type != MR_JSON_STRING)
        return false;
    struct mr_str text = inside(s.raw);
    bytes p = (bytes)text.p, end = p + text.n;
    while (p < end) {
        const void *slash = memchr(p, '\\', (size_t)(end - p));
        bytes stop = slash ? slash : end;
        mr_buf_put(out, p, (size_t)(stop - p));
        p = stop;
        if (p < end) {
            unsigned char c[4];
            size_t n;
            p += decode_escape(p, end, c, &n);
            mr_buf_put(out, c, n);
        }
    }
    return true;
}

bool mr_json_i64(struct mr_json_slice s, int64_t *out)
{
    if (s.type != MR_JSON_NUMBER || s.raw.n == 0)
        return false;
    bytes p = (bytes)s.raw.p, end = p + s.raw.n;
    bool minus = *p == '-';
    p += minus;
    if (p == end)
        return false;
    int64_t v = 0;
    for (; p < end; p++) {
        if (!is_digit(*p))
            return false;
        /* Counted downwards, since the least number has no positive twin. */
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_sub_overflow(v, *p - '0', &v))
            return false;
    }
    if (!minus && v == INT64_MIN)
        return false;
    *out = minus ? v : -v;
    return true;
}

/* ---- pointers ---- */

/* Takes the bytes of a decoded character off the front of a reference token, in which ~0 is ~ and ~1 is /. */
static bool token_take(struct mr_str *token, const unsigned char *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (token->n == 0)
            return false;
        char t = token->p[0];
        size_t used = 1;
        if (t == '~' && token->n > 1 && (token->p[1] == '0' || token->p[1] == '1')) {
            t = token->p[1] == '0' ? '~' : '/';
            used = 2;
        }
        if ((unsigned char)t != c[i])
            return false;
        token->p += used;
        token->n -= used;
    }
    return true;
}

static bool name_is(struct mr_str key_raw, struct mr_str token)
{
    struct mr_str name = inside(key_raw);
    if (!memchr(name.p, '\\', name.n) && !memchr(token.p, '~', token.n))
        return mr_str_eq(name, token);
    bytes p = (bytes)name.p, end = p + name.n;
    while (p < end) {
        unsigned char c[4] = {*p};
        size_t n = 1;
        p += *p == '\\' ? decode_escape(p, end, c, &n) : 1;
        if (!token_take(&token, c, n))
            return false;
    }
    return token.n == 0;
}

/* A member's value; of several with the name the last. */
static struct mr_json_slice member(struct mr_json_slice object, struct mr_str token)
{
    struct mr_json_slice found = {0}, v;
    struct mr_json_iter it;
    struct mr_str key;
    mr_json_iter(&it, object);
    while (mr_json_next(&it, &key, &v))
        if (name_is(key, token))
            found = v;
    return found;
}

static struct mr_json_slice item(struct mr_json_slice array, struct mr_str token)
{
    if (token.n == 0 || token.n > 18 || (token.n > 1 && token.p[0] == '0'))
        return (struct mr_json_slice){0};
    uint64_t index = 0;
    for (size_t i = 0; i < token.n; i++) {
        if (!is_digit((unsigned char)token.p[i]))
            return (struct mr_json_slice){0};
        index = index * 10 + (uint64_t)(token.p[i] - '0');
    }
    struct mr_json_iter it;
    struct mr_json_slice v;
    mr_json_iter(&it, array);
    while (mr_json_next(&it, NULL, &v))
        if (index-- == 0)
            return v;
    return (struct mr_json_slice){0};
}

/* The text's one value. A container ends where the text does, so nobody has to look for its end. */
static struct mr_json_slice outermost(struct mr_str json)
{
    bytes p = (bytes)json.p, end = p + json.n;
    while (end > p && is_space(end[-1]))
        end--;
    p = past_space(p, end);
    bool container = p < end && (*p == '{' || *p == '[');
    return container ? (struct mr_json_slice){type_of(*p), {(const char *)p, (size_t)(end - p)}} : value_at(p, end);
}

struct mr_json_slice mr_json_at(struct mr_str json, struct mr_str pointer)
{
    if (json.n == 0)
        return (struct mr_json_slice){0};
    struct mr_json_slice at = outermost(json);
    const char *p = pointer.p, *end = p ? p + pointer.n : p;
    while (p != end) {
        if (*p++ != '/')
            return (struct mr_json_slice){0};
        const char *slash = memchr(p, '/', (size_t)(end - p));
        struct mr_str token = {p, (size_t)((slash ? slash : end) - p)};
        if (at.type == MR_JSON_OBJECT)
            at = member(at, token);
        else if (at.type == MR_JSON_ARRAY)
            at = item(at, token);
        else
            return (struct mr_json_slice){0};
        p += token.n;
    }
    return at;
}
