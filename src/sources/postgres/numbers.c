/* SPDX-License-Identifier: Apache-2.0 */
/* numbers.c - integers, numerics and floats as text.
 *
 * Floats. The shortest text is wanted, and of those the nearest. Decimals of at most 15 digits are farther apart than doubles are, so at most one of them
 * reads back as a given double: the nearest. Is it found by m = round(v * 10^k), then m / 10^k == v is the proof, for both operands are exact and the
 * division rounds as reading does. If 15 digits do not do, 16 or 17 will: there v * 10^k is taken with the 64 bits of a long double, whose error is a
 * 500th of the distance that decides; what lies too close to call, and numbers outside [1e-8, 1e15), go the slow way through printf and strtod. */
#include "numbers.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869"
                            "707172737475767778798081828384858687888990919293949596979899";

static const uint64_t tens[20] = {1u, 10u, 100u, 1000u, 10000u, 100000u, 1000000u, 10000000u, 100000000u, 1000000000u, 10000000000u, 100000000000u, 1000000000000u,
                                  10000000000000u, 100000000000000u, 1000000000000000u, 10000000000000000u, 100000000000000000u, 1000000000000000000u,
                                  10000000000000000000u};

/* How many digits; 1 for 0. */
static unsigned width(uint64_t v)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(v | 1);
    unsigned n = bits * 1233 >> 12; /* log10(2) */
    return n + (v >= tens[n] || n == 0);
}

/* The last n digits of v, so that they end before `end`. */
static void put_digits(char *end, uint64_t v, unsigned n)
{
    for (; n >= 2; n -= 2, v /= 100)
        memcpy(end -= 2, pairs + v % 100 * 2, 2);
    if (n)
        end[-1] = (char)('0' + v % 10);
}

char *pg_put_u64(char *w, uint64_t v)
{
    unsigned n = width(v);
    if (v <= UINT32_MAX) { /* cheaper divisions */
        uint32_t u = (uint32_t)v;
        char *at = w + n;
        for (; u >= 100; u /= 100)
            memcpy(at -= 2, pairs + u % 100 * 2, 2);
        if (u >= 10)
            memcpy(at - 2, pairs + u * 2, 2);
        else
            at[-1] = (char)('0' + u);
    } else {
        put_digits(w + n, v, n);
    }
    return w + n;
}

char *pg_put_i64(char *w, int64_t v)
{
    if (v < 0)
        *w++ = '-';
    return pg_put_u64(w, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

/* -- floats -------------------------------------------------------------------------------------------------------- */

enum { SMALLEST = -8, EXACT = 22 /* 10^22 is the last power of ten that is a double */ };
static const double powers[] = {1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6, 1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
#define POWER(k) powers[(k)-SMALLEST]

/* v = m * 10^-k, written as PostgreSQL does: plain from 1e-4 on to below 10^plain. m has no zeros at its end, or is a whole number's. */
static char *put_decimal(char *w, uint64_t m, int k, int plain)
{
    int n = (int)width(m), e = n - 1 - k;
    if (e < -4 || e >= plain) {
        put_digits(w + 1 + n, m, (unsigned)n);
        w[0] = w[1];
        if (n > 1)
            w[1] = '.';
        w += n > 1 ? n + 1 : 1;
        *w++ = 'e';
        *w++ = e < 0 ? '-' : '+';
        unsigned size = (unsigned)(e < 0 ? -e : e);
        if (size >= 100)
            return pg_put_u64(w, size);
        memcpy(w, pairs + size * 2, 2);
        return w + 2;
    }
    if (e < 0) {
        memcpy(w, "0.0000", 6);
        w += 1 - e;
        put_digits(w + n, m, (unsigned)n);
        return w + n;
    }
    if (k > 0) {
        put_digits(w + n + 1, m, (unsigned)k);
        put_digits(w + n - k, m / tens[k], (unsigned)(n - k));
        w[n - k] = '.';
        return w + n + 1;
    }
    put_digits(w + n, m, (unsigned)n);
    memset(w + n, '0', (size_t)-k);
    return w + n - k;
}

static void strip(uint64_t *m, int *k)
{
    while (*m % 100 == 0 && *m) {
        *m /= 100;
        *k -= 2;
    }
    if (*m % 10 == 0 && *m) {
        *m /= 10;
        --*k;
    }
}

static bool reads_back(uint64_t m, int k, double v, bool single)
{
    char text[40];
    snprintf(text, sizeof text, "%" PRIu64 "e%d", m, -k);
    return (single ? (double)strtof(text, NULL) : strtod(text, NULL)) == v;
}

/* Through printf and strtod, with more and more digits. */
static char *put_slowly(char *w, double v, bool single, int least, int most, int plain)
{
    char text[40];
    int two;
    bool power_of_two = frexp(v, &two) == 0.5;
    for (int digits = least;; digits++) {
        uint64_t m = 0;
        int k = digits - 1;
        const char *p = text;
        snprintf(text, sizeof text, "%.*e", digits - 1, v);
        for (; *p != 'e'; p++)
            if (*p >= '0' && *p <= '9') /* else the point, whatever the locale has */
                m = m * 10 + (uint64_t)(*p - '0');
        k -= (int)strtol(p + 1, NULL, 10);
        bool found = digits == most || reads_back(m, k, v, single);
        if (!found && power_of_two && reads_back(m + 1, k, v, single)) { /* numbers below lie twice as close as above */
            found = true;
            m++;
        }
        if (found) {
            strip(&m, &k);
            return put_decimal(w, m, k, plain);
        }
    }
}

/* A zero that says its sign: readers take -0 for an integer, and integers have none. */
static char *put_zero(char *w)
{
    memcpy(w, "0.0", 3);
    return w + 3;
}

/* The power of ten of v's first digit, for v in [1e-8, 1e15). */
static int magnitude(double v)
{
    int two;
    (void)frexp(v, &two);
    int ten = (two * 1233) >> 12; /* 2^(two-1) <= v < 2^two */
    return v < POWER(ten < SMALLEST ? SMALLEST : ten) ? ten - 1 : ten;
}

enum verdict { NO, YES, UNSURE };

/* Does the decimal nearest to y, which is v scaled, read back as v? half: half the distance to the next number above, scaled. err: how far off y may be.
 * Two decimals as near as each other are UNSURE too. Below a power of two the next number lies twice as close: its nearest decimal may be out of
 * reach there, and one farther above not. */
static enum verdict nearest(long double y, long double half, long double err, bool power_of_two, uint64_t *m)
{
    *m = (uint64_t)(y + 0.5L);
    long double above = (long double)*m - y, off = above < 0 ? -above : above;
    if (off > 0.5L - err)
        return UNSURE;
    if (power_of_two && above < 0) {
        if (off < half / 2 - err)
            return YES;
        return UNSURE;
    }
    return off < half - err ? YES : off > half + err ? NO : UNSURE;
}

char *pg_put_float8(char *w, double v)
{
    if (signbit(v)) {
        *w++ = '-';
        v = -v;
        if (v == 0)
            return put_zero(w);
    }
    if (v < 1e15 && v == (double)(int64_t)v)
        return pg_put_u64(w, (uint64_t)v);
    if (!(v >= 1e-8 && v < 1e15))
        return put_slowly(w, v, false, v < DBL_MIN ? 1 : 15, 17, 15);
    int k = 14 - magnitude(v);
    if (k <= EXACT) {
        double y = v * POWER(k);
        uint64_t m = (uint64_t)(int64_t)(y + 0.5);
        if ((double)(int64_t)m / POWER(k) == v) {
            strip(&m, &k);
            return put_decimal(w, m, k, 15);
        }
    }
#if LDBL_MANT_DIG >= 64
    int two;
    double mantissa = frexp(v, &two);
    for (int more = 1; more <= 2 && k + more <= 27; more++) { /* 10^27 is the last power that is a long double of 64 bits */
        long double ten = k + more <= EXACT ? (long double)POWER(k + more) : (long double)POWER(EXACT) * (long double)POWER(k + more - EXACT);
        long double y = (long double)v * ten, err = y * 0x1p-62L; /* four times what rounding may have done */
        if (y >= 0x1p57L)
            break;
        uint64_t m;
        enum verdict is = nearest(y, ldexpl(ten, two - 54), err, mantissa == 0.5, &m);
        if (is == UNSURE)
            break;
        if (is == YES) {
            k += more;
            strip(&m, &k);
            return put_decimal(w, m, k, 15);
        }
    }
#endif
    return put_slowly(w, v, false, 15, 17, 15);
}

char *pg_put_float4(char *w, float f)
{
    double v = (double)f;
    if (signbit(f)) {
        *w++ = '-';
        v = -v;
        if (f == 0)
            return put_zero(w);
    }
    if (v < 1e6 && v == (double)(int32_t)v)
        return pg_put_u64(w, (uint64_t)v);
    if (!(v >= 1e-8 && v < 1e13))
        return put_slowly(w, v, true, v < (double)FLT_MIN ? 1 : 6, 9, 6);
    int two, ten = magnitude(v);
    double mantissa = frexp(v, &two);
    for (int digits = 6; digits <= 9; digits++) { /* a double's error is a 10,000,000th of what decides */
        int k = digits - 1 - ten;
        double scale = k < 0 ? 1 / POWER(-k) : POWER(k), y = v * scale, err = y * 0x1p-50;
        uint64_t m;
        enum verdict is = nearest((long double)y, (long double)ldexp(scale, two - 25), (long double)err, mantissa == 0.5, &m);
        if (is == UNSURE)
            break;
        if (is == YES) {
            strip(&m, &k);
            return put_decimal(w, m, k, 6);
        }
    }
    return put_slowly(w, v, true, 6, 9, 6);
}

/* -- numeric ------------------------------------------------------------------------------------------------------- */

enum { HEAD = 8, GROUP = 4, GROUP_MAX = 9999, SCALE_MAX = 0x3fff };

struct numeric {
    const unsigned char *digits;
    int count, weight, scale;
    uint16_t sign;
};

static struct numeric numeric_of(const unsigned char *p)
{
    struct numeric v = {p + HEAD, pg_be16(p), (int16_t)pg_be16(p + 2), pg_be16(p + 6), pg_be16(p + 4)};
    while (v.count > 0 && pg_be16(v.digits) == 0) { /* PostgreSQL sends none; JSON forbids leading zeros */
        v.digits += 2;
        v.count--;
        v.weight--;
    }
    if (v.count == 0)
        v.weight = -1;
    return v;
}

enum pg_numeric_what pg_numeric_check(const unsigned char *p, size_t n, size_t *room)
{
    if (n < HEAD)
        return PG_NUMERIC_MALFORMED;
    struct numeric v = {p + HEAD, pg_be16(p), (int16_t)pg_be16(p + 2), pg_be16(p + 6), pg_be16(p + 4)};
    if (n != HEAD + 2 * (size_t)v.count)
        return PG_NUMERIC_MALFORMED;
    if (v.sign == 0xc000)
        return PG_NUMERIC_NAN;
    if (v.sign == 0xd000)
        return PG_NUMERIC_PLUS_INFINITY;
    if (v.sign == 0xf000)
        return PG_NUMERIC_MINUS_INFINITY;
    if ((v.sign != 0 && v.sign != 0x4000) || v.scale > SCALE_MAX)
        return PG_NUMERIC_MALFORMED;
    for (int i = 0; i < v.count; i++)
        if (pg_be16(v.digits + 2 * i) > GROUP_MAX)
            return PG_NUMERIC_MALFORMED;
    *room = (size_t)(v.weight < 0 ? 1 : (v.weight + 1) * GROUP) + (size_t)v.scale + 2 + GROUP;
    return PG_NUMERIC_FINITE;
}

static char *put_group(char *w, unsigned v)
{
    memcpy(w, pairs + v / 100 * 2, 2);
    memcpy(w + 2, pairs + v % 100 * 2, 2);
    return w + GROUP;
}

static unsigned group_at(const struct numeric *v, int i)
{
    return i >= 0 && i < v->count ? pg_be16(v->digits + 2 * i) : 0;
}

char *pg_put_numeric(char *w, const unsigned char *p)
{
    struct numeric v = numeric_of(p);
    if (v.sign)
        *w++ = '-';
    if (v.weight < 0)
        *w++ = '0';
    else
        w = pg_put_u64(w, group_at(&v, 0));
    for (int i = 1; i <= v.weight; i++)
        w = put_group(w, group_at(&v, i));
    if (v.scale == 0)
        return w;
    *w++ = '.';
    char *end = w + v.scale;
    for (int i = v.weight + 1; w < end; i++)
        w = put_group(w, group_at(&v, i));
    return end;
}
