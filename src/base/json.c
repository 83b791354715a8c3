/* SPDX-License-Identifier: Apache-2.0 */
/* json.c - see json.h.
 *
 * One pass, no recursion: a bit a level says whether the container is an object. The text is cut into runs of
 * significant bytes; a run ends only where white space is taken out, so compact input is copied by one memcpy, and the
 * copy is made into room reserved before, since the output is never longer than the input. Strings go 16 bytes a step
 * until something in them needs a look (quote, backslash, control character, byte above 0x7f). No read is past the end
 * of the input. */
#include "millrace/json.h"

#include <assert.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { STEP = 16, WIDE_COPY = 32 };
#define INLINE      static inline __attribute__((always_inline))
#define COLD        static __attribute__((noinline, cold))
#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

typedef const unsigned char *bytes;

/* ---- UTF-8 ---- */

INLINE bool is_tail(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

/* Length of the multi-byte sequence at p (whose first byte is above 0x7f), 0 if it is none: RFC 3629's table. */
static size_t sequence(bytes p, bytes end)
{
    size_t left = (size_t)(end - p);
    unsigned char a = p[0];
    if (a < 0xc2) /* a tail byte, or an overlong form of ASCII */
        return 0;
    if (a < 0xe0)
        return left >= 2 && is_tail(p[1]) ? 2 : 0;
    if (a < 0xf0) {
        if (left < 3 || !is_tail(p[1]) || !is_tail(p[2]))
            return 0;
        if ((a == 0xe0 && p[1] < 0xa0) || (a == 0xed && p[1] > 0x9f)) /* overlong; surrogate */
            return 0;
        return 3;
    }
    if (a > 0xf4 || left < 4 || !is_tail(p[1]) || !is_tail(p[2]) || !is_tail(p[3]))
        return 0;
    if ((a == 0xf0 && p[1] < 0x90) || (a == 0xf4 && p[1] > 0x8f)) /* overlong; above U+10FFFF */
        return 0;
    return 4;
}

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

/* ---- runs: the first byte that is not of a kind ---- */

INLINE bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

#ifdef __SSE2__
/* A bit for each of the 16 bytes at p that is not plain. */
INLINE unsigned odd_mask(bytes p)
{
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20);
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    /* Signed: below 0x20 are the control characters and all bytes above 0x7f. */
    __m128i odd =
        _mm_or_si128(_mm_cmplt_epi8(v, space), _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)));
    return (unsigned)_mm_movemask_epi8(odd);
}
#endif

/* Past the bytes that stand in a string for themselves. */
INLINE bytes skip_plain(bytes p, bytes end)
{
#ifdef __SSE2__
    for (; end - p >= STEP; p += STEP) {
        unsigned mask = odd_mask(p);
        if (mask)
            return p + __builtin_ctz(mask);
    }
#else
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
    for (; end - p >= 8; p += 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        uint64_t quote = v ^ ones * '"', slash = v ^ ones * '\\';
        /* May be set too often above the first odd byte (borrow), never too rarely: the loop below then decides. */
        if ((v | (v - ones * 0x20) | (quote - ones) | (slash - ones)) & high)
            break;
    }
#endif
    while (p < end && is_plain(*p))
        p++;
    return p;
}

static bytes skip_ascii(bytes p, bytes end)
{
#ifdef __SSE2__
    for (; end - p >= STEP; p += STEP)
        if (_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(const void *)p)))
            break;
#endif
    while (p < end && *p < 0x80)
        p++;
    return p;
}

INLINE bool is_space(unsigned char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Past white space. The first byte is one; an indented line goes in one step. */
INLINE bytes skip_space(bytes p, bytes end)
{
    p++;
    if (p<end && * p> ' ')
        return p;
#ifdef __SSE2__
    const __m128i space = _mm_set1_epi8(' '), lf = _mm_set1_epi8('\n'), cr = _mm_set1_epi8('\r'),
                  tab = _mm_set1_epi8('\t');
    for (; end - p >= STEP; p += STEP) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i a = _mm_or_si128(_mm_cmpeq_epi8(v, space), _mm_cmpeq_epi8(v, lf));
        __m128i b = _mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, tab));
        unsigned mask = ~(unsigned)_mm_movemask_epi8(_mm_or_si128(a, b)) & 0xffffu;
        if (mask)
            return p + __builtin_ctz(mask);
    }
#endif
    while (p < end && is_space(*p))
        p++;
    return p;
}

/* ---- the scanner ---- */

struct scan {
    bytes p, end;
    bytes run;        /* start of the run that is not copied yet */
    unsigned char *w; /* where it goes; from here there is room for all that is left of the input */
    unsigned depth;
    const char *expected; /* set by the failure, with p where it is */
    uint64_t object[MR_JSON_DEPTH / 64];
};
static_assert(MR_JSON_DEPTH % 64 == 0, "a bit a level");

COLD bool expect(struct scan *s, bytes at, const char *what)
{
    s->p = at;
    s->expected = what;
    return false;
}

INLINE void flush_run(struct scan *s, bytes to)
{
    size_t n = (size_t)(to - s->run);
    /* Pretty text has a run a line or less: two moves of fixed size are some times faster than a call of memcpy. As
     * many bytes as the input has left, so many fit at w; what is written past the run is written over by the next one
     * or lies behind out->n. */
    if (n <= WIDE_COPY && s->end - s->run >= WIDE_COPY)
        memcpy(s->w, s->run, WIDE_COPY);
    else
        memcpy(s->w, s->run, n);
    s->w += n;
}

/* To the next significant byte; false at the end of the text. */
INLINE bool next_token(struct scan *s, bool copy)
{
    if (s->p<s->end && * s->p> ' ')
        return true;
    if (s->p < s->end && is_space(*s->p)) {
        bytes after = skip_space(s->p, s->end);
        if (copy) {
            flush_run(s, s->p);
            s->run = after;
        }
        s->p = after;
    }
    return s->p < s->end;
}

INLINE int hex_value(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits at p as a number, -1 if they are not there. */
static int32_t hex4(bytes p, bytes end)
{
    if (end - p < 4)
        return -1;
    int a = hex_value(p[0]), b = hex_value(p[1]), c = hex_value(p[2]), d = hex_value(p[3]);
    return (a | b | c | d) < 0 ? -1 : a << 12 | b << 8 | c << 4 | d;
}

/* An escape at the backslash *p; its length, 0 if it is none. */
INLINE size_t escape(bytes p, bytes end)
{
    if (end - p < 2)
        return 0;
    switch (p[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return 2;
    case 'u':
        return hex4(p + 2, end) < 0 ? 0 : 6;
    default:
        return 0;
    }
}

/* A string, p at its opening quote. */
INLINE bool scan_string(struct scan *s)
{
    bytes p = s->p + 1, end = s->end;
    for (;;) {
        p = skip_plain(p, end);
        if (p == end)
            return expect(s, p, "the string's closing quote");
        if (*p == '"')
            break;
        if (*p == '\\') {
            size_t n = escape(p, end);
            if (n == 0)
                return expect(s, p, "an escape of JSON");
            p += n;
        } else if (*p < 0x20) {
            return expect(s, p, "no control character in a string");
        } else {
            do {
                size_t n = sequence(p, end);
                if (n == 0)
                    return expect(s, p, "UTF-8");
                p += n;
            } while (p < end && *p >= 0x80);
        }
    }
    s->p = p + 1;
    return true;
}

INLINE bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

INLINE bytes skip_digits(bytes p, bytes end)
{
    while (p < end && is_digit(*p))
        p++;
    return p;
}

INLINE bool scan_number(struct scan *s)
{
    bytes p = s->p, end = s->end;
    if (*p == '-')
        p++;
    if (p == end || !is_digit(*p))
        return expect(s, p, "a digit");
    p = *p == '0' ? p + 1 : skip_digits(p, end); /* a digit after a leading zero is then no token that may follow */
    if (p < end && *p == '.') {
        bytes digits = ++p;
        p = skip_digits(p, end);
        if (p == digits)
            return expect(s, p, "a digit after the point");
    }
    if (p < end && (*p | 0x20) == 'e') {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        bytes digits = p;
        p = skip_digits(p, end);
        if (p == digits)
            return expect(s, p, "a digit of the exponent");
    }
    s->p = p;
    return true;
}

INLINE bool scan_word(struct scan *s, const char *word, size_t n)
{
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return expect(s, s->p, "a value");
    s->p += n;
    return true;
}

INLINE bool in_object(const struct scan *s)
{
    return s->object[(s->depth - 1) / 64] >> ((s->depth - 1) % 64) & 1;
}

INLINE bool push(struct scan *s, bool object)
{
    if (s->depth == MR_JSON_DEPTH)
        return expect(s, s->p, "at most 512 levels");
    uint64_t bit = UINT64_C(1) << (s->depth % 64), *word = &s->object[s->depth / 64];
    if (s->depth % 64 == 0)
        *word = 0; /* not all at the start: most documents use one */
    *word = object ? *word | bit : *word & ~bit;
    s->depth++;
    s->p++;
    return true;
}
static_assert(MR_JSON_DEPTH == 512, "the number stands in a message");

/* A member's name and its colon. */
INLINE bool scan_name(struct scan *s, bool copy)
{
    if (!next_token(s, copy) || *s->p != '"')
        return expect(s, s->p, "a member's name in quotes");
    if (!scan_string(s))
        return false;
    if (!next_token(s, copy) || *s->p != ':')
        return expect(s, s->p, "a colon");
    s->p++;
    return true;
}

/* A scalar, or a container's opening with, for an object that is not empty, its first name: *more says that the next
 * thing is a value again. */
INLINE bool scan_value(struct scan *s, bool copy, bool *more)
{
    *more = false;
    if (!next_token(s, copy))
        return expect(s, s->p, "a value");
    switch (*s->p) {
    case '"':
        return scan_string(s);
    case '{':
        if (!push(s, true))
            return false;
        if (next_token(s, copy) && *s->p == '}')
            return true; /* the closing is close_or_go_on's */
        *more = true;
        return scan_name(s, copy);
    case '[':
        if (!push(s, false))
            return false;
        *more = !next_token(s, copy) || *s->p != ']';
        return true;
    case 't':
        return scan_word(s, "true", 4);
    case 'f':
        return scan_word(s, "false", 5);
    case 'n':
        return scan_word(s, "null", 4);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return scan_number(s);
    default:
        return expect(s, s->p, "a value");
    }
}

/* After a value: closes what ends here, up to a comma (*more) or the end of the outermost value. */
INLINE bool close_or_go_on(struct scan *s, bool copy, bool *more)
{
    *more = false;
    while (s->depth > 0) {
        bool object = in_object(s);
        if (!next_token(s, copy))
            return expect(s, s->p, object ? "a comma or }" : "a comma or ]");
        unsigned char c = *s->p;
        if (c == ',') {
            s->p++;
            *more = true;
            return !object || scan_name(s, copy);
        }
        if (c != (object ? '}' : ']'))
            return expect(s, s->p, object ? "a comma or }" : "a comma or ]");
        s->p++;
        s->depth--;
    }
    return true;
}

INLINE bool scan_text(struct scan *s, bool copy)
{
    bool more;
    do {
        do
            if (!scan_value(s, copy, &more))
                return false;
        while (more);
        if (!close_or_go_on(s, copy, &more))
            return false;
    } while (more);
    if (next_token(s, copy))
        return expect(s, s->p, "nothing after the value");
    if (copy)
        flush_run(s, s->end);
    return true;
}

static void scan_init(struct scan *s, struct mr_str in)
{
    static const unsigned char nothing[1];
    s->p = in.n ? (bytes)in.p : nothing;
    s->end = s->p + in.n;
    s->run = s->p;
    s->w = NULL;
    s->depth = 0;
    s->expected = NULL;
}

COLD enum mr_code malformed(const struct scan *s, struct mr_str in, struct mr_err *err)
{
    size_t at = in.n - (size_t)(s->end - s->p);
    return mr_err_set(err, MR_EMALFORMED, "JSON at byte %zu: expected %s", at, s->expected);
}

enum mr_code mr_json_check(struct mr_str in, struct mr_err *err)
{
    struct scan s;
    scan_init(&s, in);
    return scan_text(&s, false) ? MR_OK : malformed(&s, in, err);
}

static bool compact_into(struct scan *s, struct mr_buf *out)
{
    s->w = (unsigned char *)out->p + out->n;
    return scan_text(s, true);
}

/* The input does not fit into `out`, but without its white space it may: by way of a buffer of its own. */
COLD enum mr_code compact_tight(struct mr_str in, struct mr_buf *out, struct mr_err *err)
{
    struct mr_buf whole;
    mr_buf_init(&whole, in.n);
    enum mr_code code = mr_json_compact(in, &whole, err);
    if (code == MR_OK && whole.n > out->limit - out->n)
        code = mr_err_set(err, MR_ETOOBIG, "JSON of %zu bytes: %zu are left", whole.n, out->limit - out->n);
    if (code == MR_OK) {
        mr_buf_put(out, whole.p, whole.n);
        if (out->failed) {
            out->failed = false;
            code = mr_err_set(err, MR_ENOMEM, "JSON of %zu bytes", whole.n);
        }
    }
    mr_buf_free(&whole);
    return code;
}

enum mr_code mr_json_compact(struct mr_str in, struct mr_buf *out, struct mr_err *err)
{
    struct scan s;
    scan_init(&s, in);
    if (in.n == 0 || out->failed)
        return out->failed ? mr_err_set(err, MR_ETOOBIG, "JSON: the buffer is full") : mr_json_check(in, err);
    if (in.n > out->limit - out->n)
        return compact_tight(in, out, err);
    if (!mr_buf_reserve(out, in.n)) {
        out->failed = false; /* as before the call */
        return mr_err_set(err, MR_ENOMEM, "JSON of %zu bytes", in.n);
    }
    if (!compact_into(&s, out))
        return malformed(&s, in, err);
    out->n = (size_t)(s.w - (unsigned char *)out->p);
    return MR_OK;
}

/* ---- reading a text that has been checked ----
 * Every step is still bounded by `end`: on a text that was not checked the answers are wrong, the reads are not. */

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

struct mr_json_slice mr_json_at(struct mr_str json, struct mr_str pointer)
{
    if (json.n == 0)
        return (struct mr_json_slice){0};
    struct mr_json_slice at = value_at((bytes)json.p, (bytes)json.p + json.n);
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

/* ---- writer ---- */

enum { PIECE = 512, ESCAPE_MAX = 6 };

static unsigned char *put_control(unsigned char *w, unsigned char c)
{
    static const char from[] = "\b\f\n\r\t", to[] = "bfnrt", digits[] = "0123456789abcdef";
    const char *at = c ? strchr(from, c) : NULL;
    *w++ = '\\';
    if (at) {
        *w++ = (unsigned char)to[at - from];
        return w;
    }
    memcpy(w, "u00", 3);
    w[3] = (unsigned char)digits[c >> 4];
    w[4] = (unsigned char)digits[c & 15];
    return w + 5;
}

/* What stands at *p does not stand for itself (or is no ASCII): writes it, at most ESCAPE_MAX bytes a byte of input. */
INLINE unsigned char *put_odd(unsigned char *w, bytes *p, bytes end)
{
    unsigned char c = **p;
    if (c >= 0x80) {
        size_t n = sequence(*p, end);
        memcpy(w, n ? *p : (bytes)REPLACEMENT, n ? n : 3);
        *p += n ? n : 1;
        return w + (n ? n : 3);
    }
    ++*p;
    if (c < 0x20)
        return put_control(w, c);
    w[0] = '\\';
    w[1] = c;
    return w + 2;
}

/* Writes the bytes up to `stop`, and at most STEP more; `end` is the end of the string. */
INLINE unsigned char *put_piece(unsigned char *w, bytes *at, bytes stop, bytes end)
{
    bytes p = *at;
    while (p < stop) {
#ifdef __SSE2__
        if (end - p >= STEP) { /* copied whole; what is odd in it is written over */
            memcpy(w, p, STEP);
            unsigned mask = odd_mask(p);
            size_t n = mask ? (size_t)__builtin_ctz(mask) : STEP;
            p += n;
            w += n;
            if (mask)
                w = put_odd(w, &p, end);
            continue;
        }
#endif
        if (is_plain(*p))
            *w++ = *p++;
        else
            w = put_odd(w, &p, end);
    }
    *at = p;
    return w;
}

/* Near the buffer's limit, where the worst case does not fit: a byte or sequence at a time. */
COLD void put_tight(struct mr_buf *b, bytes p, bytes end)
{
    while (p < end && !b->failed) {
        unsigned char c[ESCAPE_MAX], *w = c;
        if (is_plain(*p))
            *w++ = *p++;
        else
            w = put_odd(w, &p, end);
        mr_buf_put(b, c, (size_t)(w - c));
    }
}

void mr_json_put_string(struct mr_buf *b, struct mr_str s)
{
    mr_buf_putc(b, '"');
    bytes p = (bytes)s.p, end = s.n ? p + s.n : p;
    while (p != end && !b->failed) {
        size_t left = (size_t)(end - p), piece = left < PIECE ? left : PIECE;
        size_t room = (piece + STEP) * ESCAPE_MAX + STEP;
        if (room > b->limit - b->n) {
            put_tight(b, p, end);
            break;
        }
        if (!mr_buf_reserve(b, room))
            return;
        unsigned char *from = (unsigned char *)b->p + b->n;
        b->n += (size_t)(put_piece(from, &p, p + piece, end) - from);
    }
    mr_buf_putc(b, '"');
}

bool mr_utf8_ok(struct mr_str s)
{
    if (s.n == 0)
        return true;
    bytes p = (bytes)s.p, end = p + s.n;
    while ((p = skip_ascii(p, end)) < end)
        do {
            size_t n = sequence(p, end);
            if (n == 0)
                return false;
            p += n;
        } while (p < end && *p >= 0x80);
    return true;
}
