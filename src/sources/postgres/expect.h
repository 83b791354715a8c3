/* SPDX-License-Identifier: Apache-2.0 */
/* expect.h - is a run's count of rows unusual? Held against the median of the counts of up to 20 runs before it. Pure.
 *
 * A median, since one day of stock-taking may not move what is usual. With fewer than 5 runs before it nothing is said of a run. Nor is a rise
 * from a median of 0: of a table that mostly has nothing new, every row would be one. What lasts becomes usual: after some ten runs of another size the
 * median has followed. Runs without a row are counted on. */
#ifndef MR_POSTGRES_EXPECT_H
#define MR_POSTGRES_EXPECT_H

#include "millrace/buf.h"

enum { PG_HISTORY_MAX = 20, PG_HISTORY_LEAST = 5 };

struct pg_expect {   /* 0 switches a rule off */
    double drop;     /* unusual: fewer rows than this share of the median */
    double rise;     /* more rows than so many times the median */
    int64_t zero;    /* so many runs in a row without a row, this one included; or more */
};

struct pg_history {  /* {0}: no run yet. May be copied */
    int64_t counts[PG_HISTORY_MAX]; /* oldest first */
    size_t count;
    int64_t more_zeros; /* runs without rows before them, if all 20 are such */
};
void pg_history_add(struct pg_history *h, int64_t rows); /* of a run that ended; not negative */
/* A JSON array of the counts, oldest first; in front of 20 zeros a negative number says how many more there were. Small: at most 21 numbers. */
void pg_history_put(const struct pg_history *h, struct mr_buf *json);
/* `json` has passed mr_json_check(). false: it is no history; *out is untouched. */
bool pg_history_get(struct mr_str json, struct pg_history *out);

enum pg_verdict { PG_USUAL, PG_DROPPED, PG_ROSE, PG_ZERO };
/* Of a run with so many rows, before it is added to the history. Unless usual, `why` gets a sentence for people with the count and the median. */
enum pg_verdict pg_expect_judge(const struct pg_expect *e, const struct pg_history *before, int64_t rows, struct mr_buf *why);

#endif
