/* SPDX-License-Identifier: Apache-2.0 */
/* Own calendar arithmetic: gmtime_r and timegm would do, but tie a parser of outside bytes to time_t, locale files and
 * TZ. */
#include "millrace/clock.h"

#include <assert.h>
#include <time.h>

enum {
    DAYS_PER_ERA = 146097,  /* 400 Gregorian years */
    DAYS_TO_EPOCH = 719468, /* from 0000-03-01 to 1970-01-01 */
    FIRST_DAY = -719528,    /* 0000-01-01: four digits of year hold no less ... */
    LAST_DAY = 2932896,     /* 9999-12-31: ... and no more */
};
#define US_PER_S INT64_C(1000000)

static int64_t clock_us(clockid_t clock)
{
    struct timespec t;
    int rc = clock_gettime(clock, &t);
    assert(rc == 0);
    (void)rc;
    return (int64_t)t.tv_sec * US_PER_S + t.tv_nsec / 1000;
}

int64_t mr_wall_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

int64_t mr_mono_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

/* Years are counted from March, so that the leap day is a year's last and months follow a straight line. */
static int32_t day_of_civil(int year, int month, int mday)
{
    int y = month <= 2 ? year - 1 : year;
    int era = (y >= 0 ? y : y - 399) / 400;
    int year_of_era = y - era * 400;
    int day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + mday - 1;
    int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return (int32_t)(era * DAYS_PER_ERA + day_of_era - DAYS_TO_EPOCH);
}

void mr_day_civil(int32_t day, int *year, int *month, int *mday)
{
    int z = day + DAYS_TO_EPOCH;
    int era = (z >= 0 ? z : z - (DAYS_PER_ERA - 1)) / DAYS_PER_ERA;
    int day_of_era = z - era * DAYS_PER_ERA;
    int year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int march_month = (5 * day_of_year + 2) / 153;
    *mday = day_of_year - (153 * march_month + 2) / 5 + 1;
    *month = march_month < 10 ? march_month + 3 : march_month - 9;
    *year = year_of_era + era * 400 + (*month <= 2);
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

int32_t mr_day_of(int64_t wall_us)
{
    int64_t day = wall_us / MR_US_PER_DAY;
    return (int32_t)(wall_us % MR_US_PER_DAY < 0 ? day - 1 : day);
}

static void put_digits(char *out, int64_t v, int n)
{
    for (int i = n - 1; i >= 0; i--, v /= 10)
        out[i] = (char)('0' + v % 10);
}

void mr_day_text(int32_t day, char out[11])
{
    int year, month, mday;
    mr_day_civil(day < FIRST_DAY ? FIRST_DAY : day > LAST_DAY ? LAST_DAY : day, &year, &month, &mday);
    put_digits(out, year, 4);
    out[4] = '-';
    put_digits(out + 5, month, 2);
    out[7] = '-';
    put_digits(out + 8, mday, 2);
    out[10] = '\0';
}

void mr_time_text(int64_t wall_us, char out[28])
{
    int64_t us = wall_us % MR_US_PER_DAY;
    if (us < 0)
        us += MR_US_PER_DAY;
    mr_day_text(mr_day_of(wall_us), out);
    out[10] = 'T';
    put_digits(out + 11, us / (3600 * US_PER_S), 2);
    out[13] = ':';
    put_digits(out + 14, us / (60 * US_PER_S) % 60, 2);
    out[16] = ':';
    put_digits(out + 17, us / US_PER_S % 60, 2);
    out[19] = '.';
    put_digits(out + 20, us % US_PER_S, 6);
    out[26] = 'Z';
    out[27] = '\0';
}

/* Exactly `n` digits from *s, which moves on. */
static bool take_digits(struct mr_str *s, size_t n, int *v)
{
    if (s->n < n)
        return false;
    *v = 0;
    for (size_t i = 0; i < n; i++) {
        if (s->p[i] < '0' || s->p[i] > '9')
            return false;
        *v = *v * 10 + (s->p[i] - '0');
    }
    s->p += n;
    s->n -= n;
    return true;
}

static bool take_char(struct mr_str *s, const char *any_of)
{
    if (s->n == 0 || *s->p == '\0' || !strchr(any_of, *s->p))
        return false;
    s->p++;
    s->n--;
    return true;
}

static bool take_day(struct mr_str *s, int32_t *day)
{
    int year, month, mday;
    if (!take_digits(s, 4, &year) || !take_char(s, "-") || !take_digits(s, 2, &month) || !take_char(s, "-") ||
        !take_digits(s, 2, &mday))
        return false;
    if (month < 1 || month > 12 || mday < 1 || mday > days_in_month(year, month))
        return false;
    *day = day_of_civil(year, month, mday);
    return true;
}

bool mr_day_parse(struct mr_str s, int32_t *day)
{
    int32_t v;
    if (!take_day(&s, &v) || s.n != 0)
        return false;
    *day = v;
    return true;
}

/* "." and at least one digit, or nothing; digits past the sixth are cut. */
static bool take_fraction(struct mr_str *s, int64_t *us)
{
    *us = 0;
    if (!take_char(s, "."))
        return true;
    int64_t unit = US_PER_S / 10;
    int digit;
    if (!take_digits(s, 1, &digit))
        return false;
    do {
        *us += digit * unit;
        unit /= 10;
    } while (take_digits(s, 1, &digit));
    return true;
}

static bool take_offset(struct mr_str *s, int64_t *seconds)
{
    *seconds = 0;
    if (take_char(s, "Zz"))
        return true;
    bool west = s->n > 0 && *s->p == '-';
    int hours, minutes;
    if (!take_char(s, "+-") || !take_digits(s, 2, &hours) || !take_char(s, ":") || !take_digits(s, 2, &minutes) ||
        hours > 23 || minutes > 59)
        return false;
    *seconds = (west ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

bool mr_time_parse(struct mr_str s, int64_t *wall_us)
{
    int32_t day;
    int hour, minute, second;
    int64_t us, offset;
    if (!take_day(&s, &day) || !take_char(&s, "Tt") || !take_digits(&s, 2, &hour) || !take_char(&s, ":") ||
        !take_digits(&s, 2, &minute) || !take_char(&s, ":") || !take_digits(&s, 2, &second) ||
        !take_fraction(&s, &us) || !take_offset(&s, &offset) || s.n != 0)
        return false;
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    int64_t at = (int64_t)day * 86400 + hour * 3600 + minute * 60 + second - offset;
    /* A leap second is the 61st of a UTC day's last minute; we have no name for it and take the second after it. */
    if (second == 60 && at % 86400 != 0)
        return false;
    *wall_us = at * US_PER_S + us;
    return true;
}
