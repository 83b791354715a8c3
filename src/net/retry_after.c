/* SPDX-License-Identifier: Apache-2.0 */
/* retry_after.c - how long does the other side want us to wait? libcurl reads "0.5" as nothing, and a date without its blanks as seconds. */
#include "millrace/client.h"

#include <curl/curl.h>

static const int64_t LAST_SECOND = INT64_C(253402300799); /* of the year 9999 */
static const int64_t YEAR_MS = INT64_C(366) * 24 * 3600 * 1000;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits, and maybe a point and more digits; a part of a millisecond counts as a whole one. */
static bool read_seconds(struct mr_str s, int64_t *ms)
{
    size_t i = 0;
    int64_t seconds = 0, part = 0, unit = 1000;
    bool more = false;
    for (; i < s.n && is_digit(s.p[i]); i++)
        if ((seconds = seconds * 10 + (s.p[i] - '0')) > YEAR_MS)
            return false;
    if (i == 0)
        return false;
    if (i < s.n && s.p[i] == '.') {
        size_t from = ++i;
        for (; i < s.n && is_digit(s.p[i]); i++) {
            unit /= 10;
            part += unit * (s.p[i] - '0');
            more |= unit == 0 && s.p[i] != '0';
        }
        if (i == from)
            return false;
    }
    *ms = seconds * 1000 + part + more;
    return i == s.n;
}

/* It names a day of the week: else a number would pass for a date. */
static bool read_date(struct mr_str s, int64_t now_us, int64_t *ms)
{
    static const char *const days[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
    char text[64];
    bool day = false;
    if (s.n < 24 || s.n >= sizeof text)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    for (size_t i = 0; i < MR_COUNT(days); i++)
        day |= memcmp(text, days[i], 3) == 0;
    time_t t = day ? curl_getdate(text, NULL) : -1;
    if (t < 0 || t > LAST_SECOND)
        return false;
    int64_t left_us = (int64_t)t * 1000000 - now_us;
    *ms = left_us > 0 ? (left_us + 999) / 1000 : 0;
    return true;
}

bool mr_retry_after(struct mr_str value, int64_t now_us, int64_t *wait_ms)
{
    int64_t ms;
    if (!read_seconds(value, &ms) && !read_date(value, now_us, &ms))
        return false;
    *wait_ms = ms;
    return ms <= YEAR_MS;
}
