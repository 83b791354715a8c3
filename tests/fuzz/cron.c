/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz/cron.c - any text as a cron expression, from any time: it is refused with a reason, or the next time is the first minute that the C
 * library's calendar finds to fit, as far as that looks. */
#include "millrace/schedule.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

enum { LOOK_MINUTES = 3000 };

static bool fits(const struct mr_cron *c, int64_t minute)
{
    time_t seconds = minute * 60;
    struct tm t;
    assert(gmtime_r(&seconds, &t));
    bool mday = c->mdays >> t.tm_mday & 1, wday = c->wdays >> t.tm_wday & 1;
    return (c->minutes >> t.tm_min & 1) && (c->hours >> t.tm_hour & 1) && (c->months >> (t.tm_mon + 1) & 1) && (c->either_day ? mday || wday : mday && wday);
}

static void check_next(const struct mr_cron *c, int64_t after_us)
{
    int64_t next = mr_cron_next(c, after_us);
    if (next != MR_NO_TIME)
        assert(next > after_us && next % 60000000 == 0 && fits(c, next / 60000000));
    int64_t first = after_us / 60000000 - 1; /* rounded whichever way, it is not after */
    for (int64_t minute = first; minute < first + LOOK_MINUTES; minute++) {
        if (minute * 60000000 > after_us && fits(c, minute)) {
            assert(next == minute * 60000000);
            return;
        }
    }
    assert(next == MR_NO_TIME || next >= (first + LOOK_MINUTES) * 60000000);
}

/* The first eight bytes are the time. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    int64_t after_us;
    if (n < sizeof after_us || n > 4096)
        return 0;
    memcpy(&after_us, bytes, sizeof after_us);
    n -= sizeof after_us;
    char *text = malloc(n + 1);
    if (!text)
        abort();
    memcpy(text, bytes + sizeof after_us, n);
    text[n] = '\0';
    struct mr_cron c;
    struct mr_err err = {0};
    if (mr_cron_parse(text, &c, &err)) {
        assert(c.minutes != 0 && c.minutes >> 60 == 0 && c.hours != 0 && c.hours >> 24 == 0 && c.mdays > 1 && !(c.mdays & 1));
        assert(c.months > 1 && !(c.months & 1) && c.months >> 13 == 0 && c.wdays != 0 && c.wdays >> 7 == 0);
        check_next(&c, after_us % (INT64_C(10000) * 366 * MR_US_PER_DAY));
        (void)mr_cron_next(&c, after_us);
    } else {
        assert(err.code == MR_ECONFIG && err.msg[0] != '\0');
    }
    free(text);
    return 0;
}
