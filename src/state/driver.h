/* SPDX-License-Identifier: Apache-2.0 */
/* state/driver.h - what stands between the interface (store.c) and a store that keeps the rows (sqlite/,
 * postgres/; what the two have in common is in sql/).
 *
 * Every function of state.h and store.h becomes a mr_call: the question with its own copies of all arguments, and room
 * for the answer. store.c makes calls and hands out answers; a driver runs them, in the order given, wherever it likes,
 * and gives each back once on the loop by mr_call_finish(). So a driver knows no callback's type, and the interface no
 * SQL. */
#ifndef MILLRACE_STATE_DRIVER_H
#define MILLRACE_STATE_DRIVER_H

#include "millrace/store.h"

/* name; READ looks at what is committed, WRITE may share its transaction with others, ALONE has its own or none */
#define MR_CALLS(X)                                                                                                    \
    X(POSITION, READ)                                                                                                  \
    X(POSITIONS, READ)                                                                                                 \
    X(ROWS, READ)                                                                                                      \
    X(SEEN, READ)                                                                                                      \
    X(BEGIN, WRITE)                                                                                                    \
    X(RENEW, WRITE)                                                                                                    \
    X(END, WRITE)                                                                                                      \
    X(SWEEP, ALONE)                                                                                                    \
    X(LIVING, READ)                                                                                                    \
    X(DECIDE, WRITE)                                                                                                   \
    X(PUBLISHED, WRITE)                                                                                                \
    X(LOST, WRITE)                                                                                                     \
    X(REPLAYED, WRITE)                                                                                                 \
    X(LOST_LANDINGS, READ)                                                                                             \
    X(UNPUBLISHED, READ)                                                                                               \
    X(LANDINGS, READ)                                                                                                  \
    X(STAGE_BEGIN, WRITE)                                                                                              \
    X(STAGE_END, WRITE)                                                                                                \
    X(UPLOAD, WRITE)                                                                                                   \
    X(UPLOADS_GONE, WRITE)                                                                                             \
    X(UPLOADS, READ)                                                                                                   \
    X(SEAL, ALONE)                                                                                                     \
    X(DAY_COUNTS, READ)                                                                                                \
    X(POSITION_SET, WRITE)                                                                                             \
    X(PAUSE, WRITE)                                                                                                    \
    X(PAUSED, READ)                                                                                                    \
    X(BACKUP, ALONE)                                                                                                   \
    X(ADOPT, WRITE)                                                                                                    \
    X(RUN, WRITE)                                                                                                      \
    X(LAST_RUNS, READ)                                                                                                 \
    X(ALERT, WRITE)                                                                                                    \
    X(ALERTS, READ)                                                                                                    \
    X(KEEP, ALONE)

enum mr_call_kind {
#define MR_CALL_ENUM(name, mode) MR_CALL_##name,
    MR_CALLS(MR_CALL_ENUM)
#undef MR_CALL_ENUM
        MR_CALL_COUNT
};
enum mr_call_mode { MR_CALL_READ, MR_CALL_WRITE, MR_CALL_ALONE };

struct mr_call_chunk;

/* Belongs to the loop, then to the driver from submit() to mr_call_finish(). */
struct mr_call {
    struct mr_call *next; /* the driver's while it has the call */
    enum mr_call_kind kind;
    struct mr_store *store;
    struct mr_call_chunk *chunks; /* copies of arguments and answers; freed with the call */

    /* the question: what the kind needs is set */
    struct mr_str source, stream, part, rows_kind, after, landing, value;
    const char *path;
    struct mr_instance instance;
    int64_t lease_ms, number;
    int32_t day;
    size_t limit;
    bool flag;
    const struct mr_decision *decision; /* the caller's */
    const struct mr_seen *ids;          /* the caller's, as first_days */
    const int32_t *first_days;
    size_t ids_count;
    int64_t *numbers;
    size_t numbers_count;
    struct mr_str *paths;
    size_t paths_count;
    struct mr_run run;
    struct mr_alert alert;
    struct mr_keep keep;
    unsigned phase; /* of a call that runs in slices */

    /* the answer */
    struct mr_err err;
    void *items; /* malloc'ed array of what the kind answers with; freed with the call */
    size_t items_count, items_cap;
    struct mr_decided decided;
    struct mr_kept kept;
    bool blocked;

    union {
        mr_position_cb position;
        mr_positions_cb positions;
        mr_rows_cb rows;
        mr_seen_cb seen;
        mr_instance_cb instance;
        mr_done_cb done;
        mr_instances_cb instances;
        mr_decided_cb decided;
        mr_landings_cb landings;
        mr_sealed_cb sealed;
        mr_day_counts_cb day_counts;
        mr_paused_cb paused;
        mr_runs_cb runs;
        mr_alerts_cb alerts;
        mr_kept_cb kept;
        mr_uploads_cb uploads;
    } cb;
    void *arg;
};

enum mr_call_mode mr_call_mode(enum mr_call_kind kind);
/* Memory that lives as long as the call. Any one thread at a time. Aborts when there is none. */
void *mr_call_alloc(struct mr_call *call, size_t n);
struct mr_str mr_call_copy(struct mr_call *call, struct mr_str s); /* NUL-terminated; absent stays absent */
/* One more item of `size` at the end of call->items, zeroed. The pointer holds until the next one. */
void *mr_call_item(struct mr_call *call, size_t size);
/* Runs the callback and frees the call. Runs on: loop, later than the turn of its submit(). */
void mr_call_finish(struct mr_call *call);

struct mr_driver {
    const char *scheme; /* of the URL, with its colon */
    /* Answers by mr_store_open_cb's rules. `where` is the URL behind the scheme; all is borrowed. */
    void (*open)(struct mr_loop *loop, const struct mr_store_options *options, const char *where, mr_store_open_cb cb,
                 void *arg);
    void (*submit)(struct mr_store *s, struct mr_call *call);
    void (*ending)(struct mr_store *s); /* see mr_store_ending() */
    void (*close)(struct mr_store *s, void (*cb)(void *arg), void *arg);
};
extern const struct mr_driver mr_driver_sqlite, mr_driver_postgres, mr_driver_postgresql;

/* What every driver's store begins with. Runs on: loop. */
struct mr_store {
    const struct mr_driver *driver;
    struct mr_loop *loop;
    struct mr_store_facts facts;
    int64_t ahead_us; /* a server's clock less our monotonic one; 0: our wall clock */
};

#endif
