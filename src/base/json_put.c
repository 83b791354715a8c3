/* SPDX-License-Identifier: Apache-2.0 */
/* json_put.c - writing strings with the escapes that JSON asks for; and is a text UTF-8? */
#include "base/json_text.h"

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
