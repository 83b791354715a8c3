/* SPDX-License-Identifier: Apache-2.0 */
/* state/sql/sql.h - the few words in which the stories of this folder speak SQL, whichever database answers.
 *
 * The stories are told once. Their SQL is what SQLite and Postgres have in common: times and days are text that sorts, a
 * parameter is `?` or `?1`, and a lock that only a database with several writers needs stands in a comment,
 * the words FOR SHARE between comment marks, which SQLite skips and Postgres' side uncovers. What the two do not share (how a
 * statement runs, a commit in doubt, event ids by the thousand) is in mr_db_ops, and in their own folders.
 *
 * Statements are prepared once and found again by the address of their text, so a query stands where it is used. An
 * error goes to db->err, which the running call has set to its own; the first one counts. Runs on: lane STATE. */
#ifndef MILLRACE_STATE_SQL_SQL_H
#define MILLRACE_STATE_SQL_SQL_H

#include "millrace/clock.h"
#include "state/driver.h"

struct mr_db;
struct mr_stmt { /* what a database's own statement begins with */
    struct mr_db *db;
};

enum mr_commit { MR_COMMIT_DONE, MR_COMMIT_FAILED /* certainly not there */, MR_COMMIT_DOUBT /* nobody knows */ };

struct mr_db_ops {
    const char *begin; /* of a transaction that writes */
    /* -- statements; see mr_sql() and the rest below */
    struct mr_stmt *(*bind)(struct mr_db *db, const char *text, const char *format, va_list *args);
    bool (*row)(struct mr_db *db, struct mr_stmt *stmt);
    void (*end)(struct mr_stmt *stmt);
    struct mr_str (*column)(struct mr_stmt *stmt, int at); /* borrowed until the next row; p == NULL: NULL */
    int64_t (*integer)(struct mr_stmt *stmt, int at);
    int64_t (*changes)(struct mr_db *db);
    enum mr_code (*exec)(struct mr_db *db, const char *text);
    /* -- transactions */
    enum mr_commit (*commit)(struct mr_db *db); /* after DONE or FAILED db->err says which; the reason of a DOUBT too */
    bool (*in_transaction)(struct mr_db *db);   /* false after an error: it is gone as a whole */
    void (*rolled_back)(struct mr_db *db);      /* tables that a call made may be gone: forget them. NULL: nothing to forget */
    bool (*ready)(struct mr_db *db);            /* before a call: there is a connection. NULL: always */
    /* The transaction whose commit was in doubt: true, and took says whether it is there; false: still nobody knows, db->err. */
    bool (*settle)(struct mr_db *db, const struct mr_call *calls, bool *took);
    int64_t (*now_us)(struct mr_db *db); /* the store's clock */
    /* id and epoch of the instances to be ended: not `id`, and no longer alive at the time; or (the second is 1) known to be dead. "cit" */
    const char *dead;
    /* -- what the two do in their own way */
    void (*adopt)(struct mr_db *db, struct mr_call *call);
    void (*begun)(struct mr_db *db); /* a server begins: its instance has a row */
    void (*seen)(struct mr_db *db, struct mr_call *call);
    void (*seen_insert)(struct mr_db *db, struct mr_call *call); /* of a decision; MR_ESEEN with call->decided.which */
    int64_t (*seen_ids)(struct mr_db *db, int32_t *oldest, int64_t *tables); /* how many are kept */
    int64_t (*seen_drop)(struct mr_db *db, int32_t day);                     /* how many ids went with the day's table */
    void (*backup)(struct mr_db *db, struct mr_call *call); /* Runs on: lane MISC, beside everything else */
    /* -- between the calls. NULL: nothing to do */
    bool (*untidy)(struct mr_db *db); /* Runs on: loop, while no job is out */
    void (*tidy)(struct mr_db *db, bool nobody_waits, bool ending);
    void (*close)(struct mr_db *db); /* the connection; the runner's last call on the lane */
    void (*free)(struct mr_db *db);  /* Runs on: loop */
};

struct mr_db { /* what a database's own connection begins with */
    const struct mr_db_ops *ops;
    struct mr_err *err;
    const char *name; /* of the store, in messages: no password */
    int64_t ahead_us; /* a server's clock less our monotonic one; 0: the store's clock is our wall clock */
};

/* A cached statement, bound by `format`, a letter an argument: s struct mr_str (absent: NULL), e the same (absent: ''),
 * c char *, i int64_t, t time in microseconds (0 and MR_NO_TIME: NULL), d day (MR_NO_DAY: NULL). Text is borrowed until
 * the statement is done. NULL after an error. */
struct mr_stmt *mr_sql(struct mr_db *db, const char *text, const char *format, ...);
/* true: a row is there. false: no more, or an error in db->err; then the statement is reset. */
bool mr_sql_row(struct mr_db *db, struct mr_stmt *stmt);
void mr_sql_end(struct mr_stmt *stmt); /* when leaving before the last row; NULL is harmless */
/* A cached statement without rows, run to its end. */
MR_MUST enum mr_code mr_sql_run(struct mr_db *db, const char *text, const char *format, ...);
/* The same for one integer of one row; `none` if there is no row, or NULL. */
int64_t mr_sql_int(struct mr_db *db, int64_t none, const char *text, const char *format, ...);
MR_MUST enum mr_code mr_db_exec(struct mr_db *db, const char *text); /* not cached, several statements allowed */
int64_t mr_db_changes(struct mr_db *db);
void mr_db_rollback(struct mr_db *db); /* where a failure changes nothing any more */
/* Of a call that is alone: commits, or rolls back if db->err says so. */
MR_MUST enum mr_code mr_db_commit(struct mr_db *db);

/* Columns. */
struct mr_str mr_sql_str(struct mr_call *call, struct mr_stmt *stmt, int column); /* copied into the call; NULL: absent */
struct mr_str mr_sql_peek(struct mr_stmt *stmt, int column);                     /* borrowed until the next row */
int64_t mr_sql_i64(struct mr_stmt *stmt, int column);                            /* NULL: 0 */
int64_t mr_sql_time(struct mr_stmt *stmt, int column);                           /* NULL: 0 */
int32_t mr_sql_day(struct mr_stmt *stmt, int column);                            /* NULL: MR_NO_DAY */

void mr_seen_table(int32_t day, char out[16]); /* "seen_YYYYMMDD" */
void mr_store_id_make(char out[37]);           /* RFC 9562, version 4 */

static inline enum mr_code mr_db_code(const struct mr_db *db)
{
    return db->err->code;
}
static inline int64_t mr_db_now(struct mr_db *db)
{
    return db->ops->now_us(db);
}

/* -- one function a kind of call: it runs in a transaction if its mode is WRITE, and leaves code and answer in the
 * call. An error other than the store's own (fenced, sealed ...) is already in db->err, which is the call's. */
void mr_run_position(struct mr_db *db, struct mr_call *call);
void mr_run_positions(struct mr_db *db, struct mr_call *call);
void mr_run_rows(struct mr_db *db, struct mr_call *call);
void mr_run_position_set(struct mr_db *db, struct mr_call *call);
void mr_run_pause(struct mr_db *db, struct mr_call *call);
void mr_run_paused(struct mr_db *db, struct mr_call *call);

void mr_run_begin(struct mr_db *db, struct mr_call *call);
void mr_run_renew(struct mr_db *db, struct mr_call *call);
void mr_run_end(struct mr_db *db, struct mr_call *call);
void mr_run_sweep(struct mr_db *db, struct mr_call *call);
void mr_run_living(struct mr_db *db, struct mr_call *call);
/* MR_EEPOCH unless the instance is there, not ended, and of this epoch. Who ends it waits until this transaction is through. */
MR_MUST enum mr_code mr_check_epoch(struct mr_db *db, const struct mr_instance *instance);

void mr_run_decide(struct mr_db *db, struct mr_call *call);
/* Its number if a landing of this id is decided, else 0. */
int64_t mr_decided_number(struct mr_db *db, struct mr_str landing);

void mr_run_published(struct mr_db *db, struct mr_call *call);
void mr_run_lost(struct mr_db *db, struct mr_call *call);
void mr_run_replayed(struct mr_db *db, struct mr_call *call);
void mr_run_lost_landings(struct mr_db *db, struct mr_call *call);
void mr_run_unpublished(struct mr_db *db, struct mr_call *call);
void mr_run_landings(struct mr_db *db, struct mr_call *call);

void mr_run_stage_begin(struct mr_db *db, struct mr_call *call);
void mr_run_stage_end(struct mr_db *db, struct mr_call *call);
void mr_run_upload(struct mr_db *db, struct mr_call *call);
void mr_run_uploads_gone(struct mr_db *db, struct mr_call *call);
void mr_run_uploads(struct mr_db *db, struct mr_call *call);
void mr_run_seal(struct mr_db *db, struct mr_call *call);
void mr_run_day_counts(struct mr_db *db, struct mr_call *call);
int32_t mr_sealed_through(struct mr_db *db); /* who seals waits until this transaction is through */
int32_t mr_sealed_as_of_now(struct mr_db *db); /* waits for nobody */

void mr_run_run(struct mr_db *db, struct mr_call *call);
void mr_run_last_runs(struct mr_db *db, struct mr_call *call);
void mr_run_alert(struct mr_db *db, struct mr_call *call);
void mr_run_alerts(struct mr_db *db, struct mr_call *call);

/* One slice, in a transaction of its own; true: call again. */
bool mr_run_keep(struct mr_db *db, struct mr_call *call);

#endif
