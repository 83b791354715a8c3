/* SPDX-License-Identifier: Apache-2.0 */
/* position.h - how far a relation has been read: the position of its part in the store, as JSON. Pure.
 *
 *   {"v":17,"x":7801,"end":7810,"l":1764300000000000,"server":"7312…","database":5,"relation":16384,"node":16384,"timeline":1,"columns":[["id","bigint"],…],
 *    "held":[["4711/1764300000",1764300000000000]],"swept":7000,"swept_at":…,"walk":{…},"runs":[…]}
 *
 * A person may set {} (from the beginning), or {"l":MICROSECONDS}: what has changed since lands anew, whatever its transactions. */
#ifndef MR_POSTGRES_POSITION_H
#define MR_POSTGRES_POSITION_H

#include "expect.h"

#include "millrace/buf.h"
#include "millrace/clock.h"

/* Somebody whose transaction was open when the range was moved past it: a session that has been open for long, or a prepared transaction. */
struct pg_held {
    char who[48];  /* "<pid>/<start of the transaction>", or "p<xid>" */
    int64_t from;  /* the watermarks of its rows may lie as low as this: microseconds; MR_NO_TIME: anywhere */
};

/* A walk over a whole relation in chunks of pages: rows of transactions in [lo, hi) land. */
enum pg_walk_kind { PG_WALK_NONE, PG_WALK_FIRST /* bootstrap */, PG_WALK_CATCH_UP, PG_WALK_SWEEP };
struct pg_span { int64_t from, to; }; /* pages; `to` is not included */
struct pg_walk {
    enum pg_walk_kind kind;
    uint64_t lo, hi;
    int64_t pages;
    uint32_t node;         /* of the file that they are pages of */
    struct pg_span *done; /* apart, lowest first */
    size_t done_count;
};

struct pg_position {
    int64_t version;     /* that the store gave it when we decided it; another one: a person has set it */
    uint64_t x;          /* transactions below have all been considered; 0: it was never read */
    uint64_t end;        /* what has landed is of transactions below */
    int64_t l;           /* watermarks from here on are read: microseconds since 1970; MR_NO_TIME: all */
    char server[24];     /* its system identifier; "": not known */
    int64_t timeline;
    int64_t lsn;         /* of the server's log, when it was read last; 0: not known */
    uint32_t database, relation, node;
    char by[96];         /* the watermark, as far as it gives L its unit; "": none, or not known */
    char *columns;       /* JSON: [[name, type], …]; NULL: not known. Owned */
    struct pg_held *held;
    size_t held_count;
    uint64_t swept;      /* a sweep has considered transactions below */
    int64_t swept_at;    /* microseconds since 1970 */
    int64_t newest;      /* highest finite watermark that has landed, microseconds; MR_NO_TIME: none */
    struct pg_walk walk;
    struct pg_history runs; /* how many rows the last runs had */
};

void pg_position_init(struct pg_position *p);
void pg_position_free(struct pg_position *p); /* then as after init */
void pg_position_copy(struct pg_position *to, const struct pg_position *from); /* `to` is initialised */
void pg_position_put(const struct pg_position *p, struct mr_buf *json);
/* MR_EMALFORMED says what is wrong with it. *out is initialised, whatever comes. */
MR_MUST enum mr_code pg_position_get(struct mr_str json, struct pg_position *out, struct mr_err *err);

void pg_held_add(struct pg_position *p, const char *who, int64_t from);
bool pg_held_find(const struct pg_position *p, const char *who);

/* ---- walks ---- */
void pg_walk_begin(struct pg_position *p, enum pg_walk_kind kind, uint64_t lo, uint64_t hi, int64_t pages, uint32_t node);
void pg_walk_end(struct pg_position *p);
void pg_walk_done(struct pg_walk *w, struct pg_span span);
/* The first pages, at most `most`, that are neither done nor in `out`. false: none are left. */
bool pg_walk_next(const struct pg_walk *w, const struct pg_span *out, size_t out_count, int64_t most, struct pg_span *next);
bool pg_walk_whole(const struct pg_walk *w);
int64_t pg_walk_left(const struct pg_walk *w); /* pages */

#endif
