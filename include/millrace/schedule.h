/* SPDX-License-Identifier: Apache-2.0 */
/* schedule.h - when is the next run: every so often, or by cron's five fields. Pure: time and randomness are arguments.
 *
 * Cron here is Vixie's, in UTC, so no hour is there twice or not at all. Minute, hour, day of month, month, day of week; each is a star, a value, a
 * range (8-18), a star or range with a step (8-18/2), or a list of those by commas. Months and days of the week may be JAN to DEC and SUN to SAT in
 * any case; 0 and 7 are Sunday. If neither day of month nor day of week begins with a star, a day that fits one of the two is enough; else it must fit
 * both. In place of the five: @hourly @daily @midnight @weekly @monthly @yearly @annually. What Vixie takes and nobody means is refused: a range that
 * goes down, a step behind a single value, a step that passes over its whole field. */
#ifndef MILLRACE_SCHEDULE_H
#define MILLRACE_SCHEDULE_H

#include "millrace/clock.h"
#include "millrace/err.h"

struct mr_cron {
    uint64_t minutes;         /* a bit each: 0-59 */
    uint32_t hours;           /* 0-23 */
    uint32_t mdays;           /* 1-31 */
    uint16_t months;          /* 1-12 */
    uint8_t wdays;            /* 0-6, Sunday is 0 */
    bool either_day;          /* day of month or day of week is enough */
};
/* false: `err` (MR_ECONFIG) says which field, what was expected and what was found; *out is untouched. */
bool mr_cron_parse(const char *text, struct mr_cron *out, struct mr_err *err);
/* The first whole minute after `after_us`, never itself, that fits; MR_NO_TIME if there is none (February 30th). */
int64_t mr_cron_next(const struct mr_cron *c, int64_t after_us);

#define MR_SCHEDULE_MS_MAX (INT64_C(3660) * 86400000)
struct mr_schedule {
    int64_t every_ms;         /* from start to start; 1 to MR_SCHEDULE_MS_MAX; unused if by_cron */
    struct mr_cron cron;
    bool by_cron;
    int64_t jitter_ms;        /* 0 to MR_SCHEDULE_MS_MAX */
};
/* When the next run is due; `now_us` itself means at once, earlier is no answer. MR_NO_TIME: never (by cron only).
 * last_us: when the last run started, or was due if that was later (a timer may fire a little early); MR_NO_TIME: there was none. Without one `every`
 * is due at once and cron at its next time. Runs that were missed are not made up: one is due at once, and the next counts from it. A last run
 * that lies ahead (the clock was put back) is taken as now. To a time that lies ahead comes an even share of [0, jitter_ms], so with `every` runs are
 * half the jitter farther apart on average, and with cron a jitter longer than its distance leaves times out. `random`: 64 even bits. */
int64_t mr_schedule_next(const struct mr_schedule *s, int64_t last_us, int64_t now_us, uint64_t random);

#endif
