/* SPDX-License-Identifier: Apache-2.0 */
/* roll.h - when does a rolling landing end? Pure: time is an argument. */
#ifndef MR_LANDING_ROLL_H
#define MR_LANDING_ROLL_H

#include "millrace/landing.h"

struct mr_roll {
    int64_t size_limit, age_limit_ms; /* of the config when the landing began */
    int32_t day;                      /* the landing's ingest day */
    int64_t bytes;                    /* compressed bytes so far */
    int64_t first_ms;                 /* monotonic time of the first record; -1: none yet */
    unsigned asked;                   /* reasons already given, one bit each: a reason is given once */
};

/* Is there a reason, not given yet, to end it now? now_ms is monotonic, today the wall clock's UTC day. Marks it as
 * given. */
bool mr_roll_due(struct mr_roll *roll, int64_t now_ms, int32_t today, enum mr_roll_reason *why);
/* Milliseconds until mr_roll_due() may say yes by age, at most `most`. Midnight is looked at whenever one looks. */
int64_t mr_roll_wait(const struct mr_roll *roll, int64_t now_ms, int64_t most);

#endif
