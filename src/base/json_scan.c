/* SPDX-License-Identifier: Apache-2.0 */
/* json_scan.c - is this text JSON, and how does it look without white space?
 *
 * One pass, no recursion: a bit a level says whether the container is an object. The text is cut into runs of
 * significant bytes; a run ends only where white space is taken out, so compact input is copied by one memcpy, and the
 * copy is made into room reserved before, since the output is never longer than the input. */
#include "base/json_text.h"

#include <assert.h>

enum { WIDE_COPY = 32 };

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
