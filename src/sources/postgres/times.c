/* SPDX-License-Identifier: Apache-2.0 */
/* times.c - timestamps, dates and times of day as ISO 8601, in PostgreSQL's proleptic Gregorian calendar.
 *
 * Timestamps always have six digits behind the second: texts of one length, which sort as the times do. There is no year 0: 1 BC comes before 1 AD. */
#include "numbers.h"

#include <stdbool.h>

#define DAY_US INT64_C(86400000000)

static char *two(char *w, unsigned v)
{
    w[0] = (char)('0' + v / 10);
    w[1] = (char)('0' + v % 10);
    return w + 2;
}

static char *special(char *w, bool minus)
{
    static const char text[] = "-infinity";
    size_t n = minus ? 9 : 8;
    memcpy(w, text + 9 - n, n);
    return w + n;
}

/* The date, without its BC: *bc says whether that must follow. Days are counted from 0000-03-01 on, so that a leap day ends its year. */
static char *put_day(char *w, int64_t days_since_2000, bool *bc)
{
    enum { ERA = 146097 /* days of 400 years */, TO_2000 = 730425 };
    int64_t days = days_since_2000 + TO_2000, era = (days >= 0 ? days : days - (ERA - 1)) / ERA;
    uint32_t day = (uint32_t)(days - era * ERA);
    uint32_t of_era = (day - day / 1460 + day / 36524 - day / 146096) / 365; /* year of the era */
    uint32_t of_year = day - (365 * of_era + of_era / 4 - of_era / 100);
    uint32_t month = (5 * of_year + 2) / 153; /* 0 is March */
    int64_t year = era * 400 + of_era + (month >= 10);
    *bc = year <= 0;
    if (*bc)
        year = 1 - year;
    if (year > 9999) {
        w = pg_put_u64(w, (uint64_t)year);
    } else {
        w = two(w, (unsigned)year / 100);
        w = two(w, (unsigned)year % 100);
    }
    *w++ = '-';
    w = two(w, month < 10 ? month + 3 : month - 9);
    *w++ = '-';
    return two(w, of_year - (153 * month + 2) / 5 + 1);
}

static char *put_bc(char *w)
{
    memcpy(w, " BC", 3);
    return w + 3;
}

static char *put_clock(char *w, uint64_t us)
{
    uint32_t second = (uint32_t)(us / 1000000);
    w = two(w, second / 3600);
    *w++ = ':';
    w = two(w, second / 60 % 60);
    *w++ = ':';
    return two(w, second % 60);
}

static char *put_fraction(char *w, uint32_t us)
{
    *w++ = '.';
    w = two(w, us / 10000);
    w = two(w, us / 100 % 100);
    return two(w, us % 100);
}

char *pg_put_timestamp(char *w, int64_t us, char z)
{
    bool bc;
    if (us == INT64_MAX || us == INT64_MIN)
        return special(w, us < 0);
    int64_t day = us / DAY_US, of_day = us % DAY_US;
    if (of_day < 0) {
        of_day += DAY_US;
        day--;
    }
    w = put_day(w, day, &bc);
    *w++ = 'T';
    w = put_clock(w, (uint64_t)of_day);
    w = put_fraction(w, (uint32_t)(of_day % 1000000));
    if (z)
        *w++ = z;
    return bc ? put_bc(w) : w;
}

char *pg_put_date(char *w, int32_t days)
{
    bool bc;
    if (days == INT32_MAX || days == INT32_MIN)
        return special(w, days < 0);
    w = put_day(w, days, &bc);
    return bc ? put_bc(w) : w;
}

char *pg_put_time(char *w, int64_t us)
{
    w = put_clock(w, (uint64_t)us);
    if (us % 1000000 == 0)
        return w;
    w = put_fraction(w, (uint32_t)(us % 1000000));
    while (w[-1] == '0')
        w--;
    return w;
}
