/* SPDX-License-Identifier: Apache-2.0 */
/* bounds.h - from where a run reads, and how far the next one need not look back. Pure.
 *
 * What a run sees is what had been committed at its snapshot. Which rows are new among them? Those of transactions that no earlier snapshot saw. Their
 * watermarks cannot lie anywhere: a row's watermark is not older than the beginning of its transaction, less `skew` (the assumption; the sweep finds what
 * breaks it). And a transaction that was not over at the probe before the last snapshot was open then, or prepared, or had not begun. So the
 * range begins at the oldest beginning that the probe saw, less skew: L. Rows in the range that have landed are told by their ids (ids.h).
 *
 *   probe     the server's time t; the beginnings of all open transactions; the prepared ones; the lowest id that was not over
 *   L'        max(L, min(t, beginnings) - skew - guard), rounded down to a step, so that there are few of them
 *   X'        max(X, min(lowest id of the probe, of the snapshot)): all below are over, and were seen
 *
 * A transaction that is open for long would hold L back: it is left out and remembered (held). Once it is gone, one run reads from its beginning on.
 * The same holds for a prepared one, whose beginning nobody knows: it was running, or not yet there, at the probe before it was first seen, so
 * its rows lie above the L of then. */
#ifndef MR_POSTGRES_BOUNDS_H
#define MR_POSTGRES_BOUNDS_H

#include "position.h"
#include "types.h"

#define PG_STEP_US INT64_C(15000000)

struct pg_session { /* with an open transaction, straggling */
    char who[48];
    int64_t began; /* microseconds since 1970 */
};
struct pg_probe {
    int64_t now;           /* the server's clock, microseconds since 1970 */
    uint64_t xmin;         /* every transaction below was over */
    int64_t oldest;        /* beginning of the oldest open one that does not straggle; MR_NO_TIME: none is open */
    struct pg_session *stragglers;
    size_t stragglers_count;
    char (*prepared)[48];  /* "p<xid>" */
    size_t prepared_count;
    int64_t prepared_since; /* when the first of them was prepared; 0: there is none */
    int64_t hidden;        /* sessions of which we may see nothing */
};

struct pg_bounds {
    int64_t from;   /* this run reads watermarks from here on, microseconds; MR_NO_TIME: everything */
    int64_t next;   /* L of the next one */
    uint64_t x;     /* X of the next one, unless the snapshot's is lower */
};
/* `p` gets the held ones of the next run. */
struct pg_bounds pg_bounds_of(struct pg_position *p, const struct pg_probe *probe, int64_t skew_us, int64_t guard_us);
/* The window method: rows in [l, next) are read, once, so all transactions that may still write there must be over. Nobody is waited for longer than hold_us. */
struct pg_bounds pg_window_of(struct pg_position *p, const struct pg_probe *probe, int64_t skew_us, int64_t guard_us, int64_t hold_us);

/* A lower bound of the watermark column's own values: `local` is the time in the zone in which it is written (microseconds since 1970),
 * unit: microseconds for one of an integer column. MR_NO_TIME: PG_ALL. */
int64_t pg_floor(enum pg_form form, int64_t unit_us, int64_t local_us);
/* Back to a time, as far as there is one; MR_NO_TIME for infinities. */
int64_t pg_watermark_us(enum pg_form form, int64_t unit_us, int64_t v);

#endif
