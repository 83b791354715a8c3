/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h - wall-clock times as microseconds since 1970 UTC, and days. For waits and ages use mr_mono_ms(), never these. */
#ifndef MILLRACE_CLOCK_H
#define MILLRACE_CLOCK_H

#include "millrace/str.h"

#include <stdint.h>

#define MR_NO_TIME INT64_MIN
#define MR_US_PER_DAY INT64_C(86400000000)

int64_t mr_wall_us(void);  /* CLOCK_REALTIME */
int64_t mr_mono_us(void);  /* CLOCK_MONOTONIC */

/* Days since 1970-01-01 UTC, rounded down; and its text. `out` holds "YYYY-MM-DD" and a NUL. */
int32_t mr_day_of(int64_t wall_us);
void mr_day_text(int32_t day, char out[11]);
bool mr_day_parse(struct mr_str s, int32_t *day);
void mr_day_civil(int32_t day, int *year, int *month, int *mday); /* of the Gregorian calendar; month and mday count from 1 */
/* "2026-11-22T21:25:22.123456Z" and a NUL. */
void mr_time_text(int64_t wall_us, char out[28]);
/* RFC 3339 with any fraction (cut to microseconds) and offset. */
bool mr_time_parse(struct mr_str s, int64_t *wall_us);

#endif
