/* SPDX-License-Identifier: Apache-2.0 */
/* numbers.h - numbers and times from PostgreSQL's binary forms into text, a few nanoseconds each. Pure.
 *
 * Every writer gets a place with enough room (the constants below; numerics say themselves) and returns the place behind what it wrote. No quotes. */
#ifndef MR_POSTGRES_NUMBERS_H
#define MR_POSTGRES_NUMBERS_H

#include "millrace/str.h"

#include <stdint.h>

enum { PG_NUMBER_ROOM = 32, PG_TIME_ROOM = 48 }; /* the longest: -1.7976931348623157e+308; "-2147483648-12-31T23:59:59.999999Z BC" */

char *pg_put_u64(char *w, uint64_t v);
char *pg_put_i64(char *w, int64_t v);

/* The fewest digits that read back to the same number, the nearest of those, laid out as PostgreSQL does; minus zero is -0.0. Finite numbers only. */
char *pg_put_float8(char *w, double v);
char *pg_put_float4(char *w, float v);

/* numeric: uint16 count of digits (there may be 32,768), int16 weight of the first, uint16 sign, uint16 digits behind the point, then digits of base 10,000. */
enum pg_numeric_what { PG_NUMERIC_MALFORMED, PG_NUMERIC_FINITE, PG_NUMERIC_NAN, PG_NUMERIC_PLUS_INFINITY, PG_NUMERIC_MINUS_INFINITY };
enum pg_numeric_what pg_numeric_check(const unsigned char *p, size_t n, size_t *room);
char *pg_put_numeric(char *w, const unsigned char *p); /* only what was checked, and is finite */

/* us, days: since 2000-01-01; INT64_MAX, INT64_MIN (INT32_…): "infinity", "-infinity". z: 'Z', or 0 for none. */
char *pg_put_timestamp(char *w, int64_t us, char z);
char *pg_put_date(char *w, int32_t days);
char *pg_put_time(char *w, int64_t us); /* since midnight, at most 24 hours */

static inline uint16_t pg_be16(const unsigned char *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t pg_be32(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    return v;
}
static inline uint64_t pg_be64(const unsigned char *p)
{
    return (uint64_t)pg_be32(p) << 32 | pg_be32(p + 4);
}

#endif
