/* SPDX-License-Identifier: Apache-2.0 */
/* base/json_text.h - what scanner, reader and writer of JSON share: UTF-8 sequences, and runs of bytes that stand for
 * themselves. Strings go 16 bytes a step until something in them needs a look (quote, backslash, control character, byte
 * above 0x7f). No read is past the end. */
#ifndef MR_BASE_JSON_TEXT_H
#define MR_BASE_JSON_TEXT_H

#include "millrace/json.h"

#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { STEP = 16 };
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
static inline size_t sequence(bytes p, bytes end)
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

INLINE bool is_space(unsigned char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* ---- digits ---- */

INLINE bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

INLINE int hex_value(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits at p as a number, -1 if they are not there. */
static inline int32_t hex4(bytes p, bytes end)
{
    if (end - p < 4)
        return -1;
    int a = hex_value(p[0]), b = hex_value(p[1]), c = hex_value(p[2]), d = hex_value(p[3]);
    return (a | b | c | d) < 0 ? -1 : a << 12 | b << 8 | c << 4 | d;
}

#endif
