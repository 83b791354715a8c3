/* SPDX-License-Identifier: Apache-2.0 */
/* lander.h - the lander from the inside: feeds (feed.c), slices (slice.c), and what comes next (land.c). Private to
 * them.
 *
 * A feed is one (source, stream) with records in the queue, whether its source is configured or gone. Its position is
 * the sequence landed up to, under the part named after the queue. A slice is what one turn takes from the queue. Feeds
 * are the loop's; a slice's items and the landings that they go to are the worker's while its job is out (`running`).
 */
#ifndef MR_WEBHOOK_LANDER_H
#define MR_WEBHOOK_LANDER_H

#include "dedup.h"
#include "hub.h"
#include "skipped.h"

#include "millrace/backoff.h"
#include "millrace/worker.h"

#include <inttypes.h>

enum {
    SLICE_BYTES = 1 << 20, /* of records: large enough that hand-overs cost little, small against the memory budget */
    SLICE_RECORDS = 4096,
    BYTES_KEPT = 8 << 20,        /* of slice memory from one slice to the next: a giant's is given back */
    CONFLICT_QUIET_MS = 3600000, /* id_conflict closes after an hour without one */
    LINGER_MS = 40,              /* a landing lives for a second or more, so waiting for a fuller slice costs nothing */
    LINGER_RECORDS = 1024,       /* as many waiting: start at once */
    IDS_MAX = 65536,             /* of one landing: bounds its memory and the length of its decision */
    FLIGHTS_MAX = 3,             /* landings of one feed between closing and published */
    READ_AGAIN_MS = 1000,        /* after a read of the queue failed */
};

struct flight { /* a landing that was closed */
    struct feed *feed;
    struct flight *next;
    uint64_t first, last; /* sequences that it answers for */
    struct mr_idset ids;  /* until decided */
    char landing[64];     /* its id, if it decided a list of skipped sequences; else empty */
    uint64_t forgets;     /* deletions of such lists that its decision carries */
    bool decided;
};

struct feed {
    struct lander *lander;
    struct feed *next;
    char *key;
    char *name;                   /* the source alone: alerts are closed by this name */
    struct mr_str source, stream; /* slices of key */
    int64_t version;              /* that the next move expects: rises with each decision asked for */
    uint64_t covered;             /* everything up to it is landed, staged, or a repeat */
    uint64_t open_first;          /* first sequence of the open landing */
    uint64_t published;           /* the newest sequence of a published landing */
    struct mr_landing *open;
    struct mr_idset ids;    /* of the open landing */
    struct skipped skipped; /* and what it passed over */
    struct flight *flights, **flights_end;
    unsigned flights_count;
    bool close_wanted;
    bool failing; /* dropping, then reading its position again */
    bool listing;            /* the lists of skipped sequences that an earlier process left are asked for */
    bool reading; /* the position is asked for */
    bool known;   /* and answered: */
    int64_t known_version;
    uint64_t known_covered;
    uint64_t retry_at_ms; /* failing: not before */
    struct mr_backoff backoff;
    bool stage_failed; /* by the worker, in this slice */
    struct mr_err stage_err;
    struct mr_cell *duplicates, *conflicts;
    uint64_t conflict_ms; /* when the last one came; 0: none since the alert closed */
};

enum item_fate { ITEM_STAGE, ITEM_SKIP, ITEM_CONFLICT, ITEM_BAD };
struct item {
    uint64_t seq;
    size_t key_at, key_n, payload_at, payload_n, id_at, id_n;
    size_t json_at, json_n; /* the body as it will land; n == 0: it is no JSON, or lands exact */
    bool has_id;
    struct mr_seen seen;
    int32_t first_day;
    enum item_fate fate;
    struct feed *feed;
    struct mr_landing *landing;
};

struct lander {
    struct hub *hub;
    struct mr_queue_reader *reader;
    struct feed *feeds;
    uint64_t horizon, cursor, rewind_to; /* cursor: last sequence read */
    uint64_t read_to;                    /* the horizon when the slice at hand began */
    uint64_t read_again_ms;              /* not before */
    int64_t arrived_us;                  /* of the newest event read with an id: how far behind is dedup? */
    uv_timer_t timer;                    /* linger and retries */
    bool running, stopping, timer_closed, lingered;
    /* the slice; the worker's while it is out */
    struct mr_job job;
    struct mr_buf bytes;
    struct item *items;
    size_t items_count;
    struct mr_seen *ids;
    int32_t *first_days;
    size_t *id_items;
    size_t ids_count;
    struct mr_err err;
    bool at_end;
    struct mr_buf line; /* worker: position, request, verified as JSON */
    char queue_id[33];

    bool draining, once;
    uint64_t drain_to;
    char **lost;             /* ids of lost landings: their lists stay */
    size_t lost_count;
    struct mr_err drain_err;
    void (*drain_cb)(void *arg, const struct mr_err *err);
    void *drain_arg;
    void (*stop_cb)(void *arg);
    void *stop_arg;
};

/* land.c */
void lander_pump(struct lander *l); /* something has changed: what next? */

/* slice.c */
void slice_begin(struct lander *l); /* takes the next records from the queue; ends in lander_pump() */

/* feed.c */
struct feed *feed_new(struct lander *l, struct mr_str key);
struct feed *feed_of(struct lander *l, struct mr_str key);
void feed_free(struct feed *f);
void feed_at(struct feed *f, int64_t version, struct mr_str value);
void feeds_go_on(struct lander *l);
bool feed_may_recover(const struct feed *f);
void feed_recover(struct feed *f);
void feed_drop(struct feed *f);
void feed_forget_old(struct feed *f); /* at start: lists of landings that were published before we could forget them */
void feed_fail(struct feed *f, const struct mr_err *err);
void feed_begin(struct feed *f, uint64_t first);
void feed_close(struct feed *f);
enum mr_seen_answer feed_seen(const struct feed *f, const struct mr_seen *id); /* staged, and not decided yet? */

#endif
