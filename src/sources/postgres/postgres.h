/* SPDX-License-Identifier: Apache-2.0 */
/* postgres.h - the door from the inside.
 *
 *   stream.c    when a stream runs, and what becomes of a run: done, tried again, failed
 *   run.c       one run: look (what is there) ─► load (positions) ─► [walk] ─► probe ─► pull ─► decide ─► [sweep]
 *   look.c      the relations of a stream, their columns, what may be done with them
 *   state.c     a relation's position and ids: from the store, and into a decision
 *   probe.c     what is open on the primary
 *   pull.c      the range, under one snapshot ─► intake
 *   walk.c      whole relations in chunks of pages, several at once ─► intake
 *   keyscan.c   all keys ─► worker: keycompare.c ─► which are gone? ─► tombstones into a landing
 *   intake.c    rows of a COPY ─► slices ─► worker: which are new? ─► envelopes into a landing
 *   pool.c      connections: who wants one gets it
 *
 * All of it runs on the loop but intake.c's jobs and connect.c's threads. */
#ifndef MR_POSTGRES_H
#define MR_POSTGRES_H

#include "bounds.h"
#include "conn.h"
#include "ids.h"
#include "method.h"
#include "options.h"
#include "position.h"
#include "types.h"

#include "millrace/alert.h"
#include "millrace/backoff.h"
#include "millrace/budget.h"
#include "millrace/door.h"
#include "millrace/worker.h"

enum {
    PG_PAGE = 8192,             /* bytes; of a server that was built otherwise it is asked */
    SLICE_BYTES = 512 << 10,    /* of rows, handed to a worker at once */
    INTAKE_BYTES = 2 << 20,     /* waiting for it, before the server has to */
    ASK_MS = 5000,              /* whether a person has set a position is looked at this often */
    QUIET_MOVE_MS = 60000,      /* a position that moves over no row is decided this late */
    WENT_BACK_IDS = 100000,     /* that are read again where a server has lost some */
    LOOK_MS = 30000             /* relations and columns are looked at this often, and whenever a run finds them changed */
};

struct postgres;
struct stream;
struct relation;

/* How far back ids can be compared. A row has 32 bits of its own. */
#define PG_IDS_SQL ((UINT64_C(1) << 31) - (1 << 27))   /* beyond, age() in a statement may be wrong: all rows come, and are told by 64 bits here */
#define PG_IDS_FAR ((UINT64_C(1) << 31) - (1 << 21))   /* beyond, ids that are kept would be taken for later ones. Nobody's transaction is open for as long: the
                                                          server gives out no more ids 3,000,000 before 2^31 */
#define PG_IDS_ROUND ((UINT64_C(1) << 32) - (1 << 28)) /* beyond, nothing tells two transactions apart */

/* -- pool.c ------------------------------------------------------------------------------------------------------- */
struct link { /* a connection of a pool */
    struct pool *pool;
    struct pg_conn *conn;
    bool taken;
};
struct want { /* for one; the caller's, until got() */
    struct want *next;
    void (*got)(struct want *w, struct link *link /* NULL: err */, const struct mr_err *err);
    bool waiting;
};
struct pool {
    struct postgres *pg;
    struct link *links;
    size_t count;
    struct want *wants, *refused; /* those who still have to be told */
    struct mr_backoff backoff;
    uint64_t retry_at_ms;
    uint64_t unreachable_since_ms;
    const char *what;  /* whom it reaches, for alerts: NULL, or "primary" */
    bool opening, closing;
    struct mr_err err; /* of the last try */
};
void pool_init(struct pool *p, struct postgres *pg, size_t count, const char *dsn, const char *password);
void pool_want(struct pool *p, struct want *w);
void pool_unwant(struct pool *p, struct want *w);
struct link *pool_idle(struct pool *p);  /* taken, if one is open and free and nobody waits; else NULL */
void pool_give(struct link *link);       /* back; one that is not idle is closed first */
void pool_pump(struct pool *p);
void pool_close(struct pool *p);         /* those that are taken too; pg->closing_links counts, pg_closed() */
bool pool_may_open(const struct pool *p); /* there is one that is not open */

/* -- what is read --------------------------------------------------------------------------------------------------- */
enum intake_rule {
    INTAKE_PULL,     /* by ids and buckets */
    INTAKE_WALK,     /* of transactions in [lo, hi) that have not landed; those below `late_below` are told as late */
    INTAKE_REPLAY,   /* of transactions in [lo, hi), whatever has landed */
    INTAKE_WINDOW,   /* all */
    INTAKE_SNAPSHOT  /* all, under one name */
};
struct intake_part { /* rows of one COPY */
    struct relation *r;
    enum intake_rule rule;
    uint64_t lo, hi, end; /* ids; end: the snapshot's xmax */
    uint64_t late_below;
    struct pg_met *met;   /* gets what has landed; the caller's */
    bool has_watermark, has_ctid, has_relation, has_time;
    int64_t rows, late, omitted; /* out */
    int64_t read;                /* out: rows that came */
    int64_t newest;              /* out: of the watermark, in its unit; PG_ALL: none */
    struct pg_copy copy;
};
enum relation_state { RELATION_NEW, RELATION_LOADING, RELATION_LOADED };
struct relation {
    struct stream *s;
    struct relation *next;
    char *part;             /* its name in the store: public.orders; "query" */
    char *sql;              /* quoted: "public"."orders"; of a query: (…) AS q */
    uint32_t oid, node;
    char kind;              /* relkind; 'q': a query */
    int64_t pages;          /* at the last look */
    bool there, indexed, toasted, lockable, heap;
    bool by_person;         /* its position was set by hand */
    bool root;              /* the very table of the config, not a partition or child */
    bool sweep_now;
    bool catch_up;          /* a pull of it was cut after it had read much, or by a standby */
    bool named;             /* its name still means it */
    bool again;             /* replay: it has a part of what is to land again */
    uint64_t again_lo, again_hi;
    char *again_where;      /* or NULL */
    enum relation_state state;
    struct pg_position at;  /* as of the last decision asked for, and what runs without rows have moved since */
    int64_t version;        /* that its next move expects */
    uint64_t moved_ms;      /* of the last move; 0: never */
    uint64_t asked_ms;      /* when its version in the store was looked at */
    struct pg_ids *ids;
    char **stale;           /* rows of the store that the next decision takes away */
    size_t stale_count;
    unsigned undecided;     /* moves on their way */
    char *events;           /* schema: records that wait for the next decision (JSON by lines); NULL: none */
    /* of the pull that is under way */
    struct pg_position next_at;
    struct pg_met *met;
    struct pg_bounds bounds;
    struct intake_part part_now;
    int64_t from;           /* of the range, in the watermark's unit */
    uint32_t node_seen, node_now;
};

enum stream_state {
    STREAM_IDLE,
    STREAM_WAITING,  /* for a connection */
    STREAM_LOOKING,
    STREAM_LOADING,
    STREAM_WALKING,
    STREAM_PROBING,
    STREAM_PULLING,
    STREAM_SCANNING, /* keys */
    STREAM_DECIDING,
    STREAM_ENDING    /* a run has failed: what is on its way comes back first */
};

struct stream {
    struct postgres *pg;
    const struct pg_stream_options *o;
    const char *name;
    struct mr_schedule schedule;
    struct relation *relations;
    struct pg_columns columns;
    char *columns_json;
    bool columns_changed;
    const struct pg_column *watermark; /* NULL: none */
    struct pg_column watermark_column; /* its texts lie in `columns`; it need not be one of those */
    struct pg_result_column *result_columns; /* of a query, while it is looked at */
    size_t result_columns_count;
    int64_t unit_us;
    bool zoned;              /* the watermark has a zone other than UTC, in which hours come twice */
    enum pg_method method;
    const char *method_why;
    enum stream_state state;
    bool wanted;             /* by NOTIFY, --once */
    bool once_done;
    int64_t started_us;      /* of the run; MR_NO_TIME: none yet */
    int64_t next_us;
    uint64_t retry_at_ms;    /* after a failure; 0: none */
    uint64_t looked_ms;      /* 0: look first */
    struct mr_backoff backoff;
    unsigned failures;       /* in a row */
    struct mr_err err;       /* of the run that fails */
    struct want want, primary_want;
    struct link *link, *primary;
    struct pg_probe probe;
    char lsn[32];            /* of the primary, at the probe */
    uv_timer_t timer;        /* while a standby is waited for, or the pace is */
    uint64_t waited_ms;      /* since */
    uint64_t xmin, xmax;     /* of the snapshot */
    int64_t snapshot_us;
    char snapshot[32];       /* its name, of mode snapshot */
    struct relation *copying;
    bool in_more;            /* walk.c is starting chunks */
    bool in_fail;            /* run.c is dropping what is under way */
    bool swept;              /* a walk of this run is a sweep */
    uint64_t failing_since_ms;
    struct pg_history history, history_next; /* rows of the runs before this one; and with it */
    uint64_t paced_ms;       /* the next chunk may begin then */
    bool listed;             /* relations that the store knows are known */
    bool noted;              /* what lands beside the rows was handed to the intake */
    uint32_t root_oid;
    char root_kind;
    char by[96];             /* see pg_position */
    bool looked_now;         /* in this run */
    bool pulled;             /* in this run */
    unsigned chunks_begun;   /* in this run */
    uint64_t told_ms;        /* an alert that closes after a while was opened; 0: none */
    int64_t wal_now, wal_fork, timeline_now; /* of the server that was read: its log's place, where it left another's log (-1: not known) */
    char stamp[40];          /* of the columns, as they were looked at */
    struct intake *intake;
    struct keyscan *keyscan; /* NULL: deletes are not told */
    struct chunk *chunks;    /* of the walk that is under way */
    struct relation *walking;
    int64_t rows_run, bytes_run, late_run;
    uint64_t loading;        /* relations */
    bool system_told;
    struct mr_cell *rows, *bytes, *pulls, *failed_pulls, *late, *last_pull, *lag, *xid_lag, *ids_held, *pages_left;
};

struct flight { /* a landing that was asked to be decided */
    struct postgres *pg; /* NULL: the source is gone */
    struct flight *next;
    struct stream *s;
    struct relation **moved;
    size_t moved_count;
    struct chunk *chunk; /* of a walk; NULL: a pull's */
    int64_t keyscan;     /* or of a scan of keys: the version that it makes of its part; 0: of none */
    bool decided;
    int64_t rows;
};
struct chunk;

struct postgres {
    struct mr_source *src;
    const struct postgres_options *o;
    const struct mr_core *core;
    struct mr_loop *loop;
    const char *name;
    struct mr_share *share;
    struct pool readers, primary;
    bool has_primary;
    struct pg_conn *listener;
    uint64_t listen_at_ms;
    struct mr_backoff listen_backoff;
    struct stream *streams;
    size_t streams_count;
    uv_timer_t beat;
    bool handles;            /* the beat is open */
    struct flight *flights;
    bool up, paused, draining, drained, finishing, finished, stopping, closed, let_go, pumping;
    const char *primary_password; /* or NULL; borrowed */
    unsigned closing; /* connections, handles */
    struct mr_err finish_err;
    struct mr_replay *replay; /* NULL: it is none */
    const char *run;          /* or "" */
    char prefix[208];         /* of its parts in the store; empty: none */
    int64_t again_from, again_to; /* watermarks, microseconds; again_to MR_NO_TIME: up to now */
    /* the server, as of the last look */
    char server[24];
    uint64_t xmax;            /* of the last look, or snapshot: ids below have been given out */
    uint32_t database;
    int64_t page;             /* bytes */
    bool standby;
    struct mr_cell *conflicts, *hidden, *replica_lag, *xid_age;
};

/* -- stream.c */
void streams_make(struct postgres *pg);
void streams_free(struct postgres *pg);
void streams_pump(struct postgres *pg);          /* those that are due begin */
void stream_done(struct stream *s);              /* the run has ended well */
void stream_fail(struct stream *s, const struct mr_err *err); /* it has not; called once nothing of it is on its way */
bool streams_quiet(const struct postgres *pg);   /* no run, nothing undecided */

/* -- run.c */
void run_begin(struct stream *s);
void run_fail(struct stream *s, const struct mr_err *err); /* what is under way is dropped; ends in stream_fail() */
void run_go_on(struct stream *s);                /* a step has ended: the next */
void run_pulled(struct stream *s);
void run_scanned(struct stream *s);
void run_walked(struct stream *s);

/* -- look.c */
void look(struct stream *s); /* run_go_on() or run_fail() */
/* The statement that asks for a table's relations: itself, its partitions and children. Cells: oid, schema, name, kind, bytes, bytes of TOAST, may the whole
 * be read, is it the root, is it a heap, does an index begin with the watermark? */
void look_relations(struct mr_buf *sql, const char *table, const char *watermark /* or NULL */);
void look_stamp(struct mr_buf *sql, const struct stream *s);          /* one more expression: of the columns of now */
/* -- changes.c
 * Once positions are loaded: is it the same server, are columns and relations as they were? Notes what is not. */
MR_MUST enum mr_code look_judge(struct stream *s, struct mr_err *err);
bool look_gone(const struct relation *r);         /* it was a part of the stream, and is not there */
void look_rewritten(struct relation *r);         /* its file is another one than at the last run */
void look_events(const struct relation *r, struct intake *f);

/* -- state.c */
void relation_load(struct relation *r);          /* run_go_on() or run_fail() */
void relation_ask(struct relation *r);           /* is it still ours? If not, it is loaded anew; the same */
void relations_list(struct stream *s);           /* those that the store knows; the same */
void relation_free(struct relation *r);
void relation_anew(struct relation *r);          /* as if it had never been read */
void relation_back(struct relation *r, uint64_t x); /* what has landed of transactions from x on does not count */
uint64_t relation_behind(const struct relation *r); /* how many ids have been given out since the oldest that a run may meet again; 0: it was never read whole */
void relation_forget(struct relation *r, uint64_t from, uint64_t below); /* ids in between, however far apart the two are */
struct relation *relation_of(struct stream *s, const char *part); /* made if it is new */
struct decision { /* what is asked together; {0} at first */
    struct mr_move *moves;
    struct mr_row *rows;
    size_t moves_count, rows_count;
    char **texts; /* owned: keys and values */
    size_t texts_count;
    int64_t keyscan; /* as in struct flight */
};
/* The relation's new position (r->at is already that), and the ids that have landed with bucket `l`. met may be NULL. */
void decision_move(struct decision *d, struct relation *r, int64_t l, const struct pg_met *met);
/* A part that is no relation's. */
void decision_part(struct decision *d, const struct stream *s, const char *part, int64_t version, struct mr_str value);
/* Takes the landing, and what is in `d`. Ends in pull_decided(), walk_decided() or keyscan_decided(). */
void decision_ask(struct decision *d, struct stream *s, struct chunk *chunk, struct mr_landing *landing, int64_t rows);
void flights_leave(struct postgres *pg); /* the source is gone: what is not published yet is nobody's */

/* -- probe.c */
void probe(struct stream *s);                    /* run_go_on() or run_fail() */
void probe_free(struct pg_probe *p);

/* -- pull.c */
void pull(struct stream *s);
void pull_newest(struct pg_position *at, const struct stream *s, const struct intake_part *part); /* the highest watermark that has landed */
void pull_bound(struct mr_buf *sql, const struct stream *s, int64_t us); /* a time as a value of the watermark's type, not above it */
/* "column op time": exact in any zone, for which an index is not used there. */
void pull_compare(struct mr_buf *sql, const struct stream *s, const char *op, int64_t us);
void sql_age(struct mr_buf *sql, const struct postgres *pg, uint64_t x);      /* of transactions from x on; nothing where that cannot be asked. sql.c */
void sql_node(struct mr_buf *sql, const struct relation *r, bool first);      /* a row of VALUES for it */
extern const char sql_nodes[];                                                /* what is made of them */
void pull_decided(struct stream *s, const struct mr_err *err);
void pull_drop(struct stream *s);
bool pull_is_quiet(struct stream *s);            /* and nothing is left of it */

/* -- walk.c */
bool walk_wanted(struct stream *s);              /* before a pull: a relation that was never read whole */
bool sweep_wanted(struct stream *s);             /* after one */
void walk(struct stream *s);
void walk_decided(struct chunk *c, const struct mr_err *err);
void walk_drop(struct stream *s);
bool walk_is_quiet(struct stream *s);

/* -- keyscan.c */
#define KEYSCAN_PART "deletes" /* of a stream: it is no relation's, whose names have a dot */
struct pg_landed;
void keyscan_make(struct stream *s);
void keyscan_free(struct stream *s);
size_t keyscan_memory(const struct postgres_options *o);  /* that scans may take at once */
void keyscan_load(struct stream *s);                      /* run_go_on() or run_fail(), if there is anything to load */
bool keyscan_wanted(struct stream *s);                    /* after a pull */
void keyscan(struct stream *s);                           /* run_scanned() or run_fail() */
void keyscan_decided(struct stream *s, const struct mr_err *err);
void keyscan_published(struct stream *s, int64_t version, enum mr_published how);
void keyscan_drop(struct stream *s);
bool keyscan_is_quiet(struct stream *s);
struct pg_landed *keyscan_landed(struct stream *s);       /* gets the keys of rows that land; NULL: nobody wants them */

/* -- intake.c */
struct intake;
/* conn: is held while the worker is behind. done on the loop, once, after intake_end() or a failure; err: MR_OK or why. */
struct intake *intake_new(struct stream *s, struct pg_conn *conn, const char *snapshot, void (*done)(void *arg, const struct mr_err *err), void *arg);
bool intake_row(struct intake *f, struct intake_part *part, const char *message, size_t n); /* as pg_query.on_copy answers */
void intake_end(struct intake *f);  /* no more come */
void intake_drop(struct intake *f); /* its landing is dropped; done does not come. `quiet` when it is gone: see run_is_quiet() */
bool intake_is_busy(const struct intake *f);
int64_t intake_bytes(const struct intake *f);
/* After done with MR_OK: the landing, begun if there is none; the intake is freed. */
struct mr_landing *intake_take(struct intake *f);
/* A record of our own, behind the rows: before intake_end(), or after done, which then comes once more. */
void intake_note(struct intake *f, const char *stream, const char *id, struct mr_str data);
void intake_free(struct intake *f); /* not while it is busy */

/* -- sql.c: the statements */
void sql_literal(struct mr_buf *sql, const char *text);
void sql_session(struct mr_buf *sql, const struct stream *s); /* BEGIN and what holds in the transaction */
void sql_copy(struct mr_buf *sql, const struct stream *s, const struct relation *r, const char *where, struct intake_part *part);

/* -- trouble.c */
void trouble_connect(struct pool *p, const struct mr_err *err);      /* MR_OK: it answers */
void trouble_stream(struct stream *s, const struct mr_err *err);     /* MR_OK: it runs again */
void trouble_probed(struct stream *s);
void trouble_age(struct postgres *pg);

/* -- listen.c */
void listen_pump(struct postgres *pg);
void listen_close(struct postgres *pg); /* pg->closing counts it */

/* -- postgres.c */
void postgres_pump(struct postgres *pg);

/* -- replay.c */
void postgres_replay(void *self, struct mr_replay *what);
bool replay_is_over(struct stream *s);            /* nothing (more) of it is to land again */
void replay_where(struct mr_buf *sql, const struct stream *s, const struct relation *r);

/* -- check.c */
void postgres_check(struct mr_check *check);

#endif
