/* SPDX-License-Identifier: Apache-2.0 */
/* sqlite.c - the embedded store: what a commit, a commit in doubt and a quiet moment are in an SQLite file.
 *
 * - The commit says "no room": its last frame never was whole on disk; not committed, certain.
 * - The commit fails otherwise: nobody knows. Its frames may be whole in the log, and a restart would find them. So nothing
 *   else runs until a commit of ours has gone through, written over those frames or behind them. Then the landings' ids
 *   tell what happened, for ever.
 * - Checkpoints run between jobs, never inside a commit. */
#include "state/sqlite/lite.h"

#include "state/sql/runner.h"
#include "state/sqlite/filter.h"

#include "millrace/budget.h"
#include "millrace/loop.h"
#include "millrace/worker.h"

#include <assert.h>
#include <stdlib.h>

enum { CHECKPOINT_FORCED = 16000 /* pages, 64 MiB: even when somebody waits */ };

/* -- transactions -------------------------------------------------------------------------------------------------- */

static enum mr_commit lite_commit(struct mr_db *db)
{
    struct mr_lite *l = mr_lite_of(db);
    int rc = sqlite3_exec(l->h, "COMMIT", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        return MR_COMMIT_DONE;
    mr_lite_fail(l, rc, "commit");
    return (rc & 0xff) == SQLITE_FULL || (rc & 0xff) == SQLITE_BUSY ? MR_COMMIT_FAILED : MR_COMMIT_DOUBT;
}

static bool lite_in_transaction(struct mr_db *db)
{
    return !sqlite3_get_autocommit(mr_lite_of(db)->h);
}

static void lite_rolled_back(struct mr_db *db)
{
    mr_lite_forget_days(mr_lite_of(db));
}

/* A commit of ours, over or behind the doubtful one. */
static enum mr_code commit_over(struct mr_db *db)
{
    if (mr_db_exec(db, db->ops->begin) != MR_OK)
        return mr_db_code(db);
    if (mr_sql_run(db,
                   "INSERT INTO meta(key, value) VALUES('commit_in_doubt', ?) ON CONFLICT DO UPDATE SET value = "
                   "excluded.value",
                   "t", mr_db_now(db)) == MR_OK &&
        mr_db_exec(db, "COMMIT") == MR_OK)
        return MR_OK;
    mr_err_wrap(db->err, "find out about a commit");
    mr_db_rollback(db);
    return mr_db_code(db);
}

static bool lite_settle(struct mr_db *db, const struct mr_call *calls, bool *took)
{
    struct mr_lite *l = mr_lite_of(db);
    if (!mr_lite_is_open(l) || commit_over(db) != MR_OK) {
        /* a connection that has seen a failing disk may hold on to what it saw */
        db->err->code = MR_OK;
        if (mr_lite_reopen(l) != MR_OK || commit_over(db) != MR_OK)
            return false;
    }
    /* one landing there: the whole group is */
    *took = false;
    for (const struct mr_call *call = calls; call && !*took; call = call->next)
        *took = call->kind == MR_CALL_DECIDE && mr_decided_number(db, call->decision->landing) != 0;
    return mr_db_code(db) == MR_OK;
}

static int64_t lite_now(struct mr_db *db)
{
    (void)db;
    return mr_wall_us();
}

/* -- numbers ------------------------------------------------------------------------------------------------------- */

static void lite_adopt(struct mr_db *db, struct mr_call *call)
{
    int64_t last = mr_sql_int(db, -1, "SELECT seq FROM sqlite_sequence WHERE name = 'landings'", "");
    if (mr_db_code(db) != MR_OK)
        return;
    enum mr_code code = MR_OK;
    if (last < 0 && call->number > 0)
        code = mr_sql_run(db, "INSERT INTO sqlite_sequence(name, seq) VALUES('landings', ?)", "i", call->number);
    else if (last < call->number)
        code = mr_sql_run(db, "UPDATE sqlite_sequence SET seq = ? WHERE name = 'landings'", "i", call->number);
    else
        call->number = last;
    (void)code; /* it is in db->err */
}

static void lite_backup(struct mr_db *db, struct mr_call *call)
{
    enum mr_code code = mr_lite_backup(mr_lite_of(db)->path, call->path, &call->err);
    (void)code;
}

/* -- between the calls --------------------------------------------------------------------------------------------- */

static bool lite_untidy(struct mr_db *db)
{
    const struct mr_lite *l = mr_lite_of(db);
    return l->wal_pages >= MR_LITE_CHECKPOINT_PAGES || l->filter_reading;
}

static void lite_tidy(struct mr_db *db, bool nobody_waits, bool ending)
{
    struct mr_lite *l = mr_lite_of(db);
    if (l->wal_pages >= (nobody_waits ? MR_LITE_CHECKPOINT_PAGES : CHECKPOINT_FORCED)) {
        /* passive: readers and other processes are not waited for; what it cannot do now, the next one does */
        l->wal_pages = 0;
        sqlite3_wal_checkpoint_v2(l->h, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    }
    if (ending)
        l->filter_reading = false; /* nobody will ask it */
    if (l->filter_reading && nobody_waits)
        mr_lite_read_on(l);
}

static void lite_close(struct mr_db *db)
{
    mr_lite_close(mr_lite_of(db));
}

static void lite_free(struct mr_db *db)
{
    struct mr_lite *l = mr_lite_of(db);
    mr_filter_free(l->filter);
    free(l);
}

const struct mr_db_ops mr_lite_ops = {
    .begin = "BEGIN IMMEDIATE",
    .bind = mr_lite_bind,
    .row = mr_lite_row,
    .end = mr_lite_end,
    .column = mr_lite_column,
    .integer = mr_lite_integer,
    .changes = mr_lite_changes,
    .exec = mr_lite_exec,
    .commit = lite_commit,
    .in_transaction = lite_in_transaction,
    .rolled_back = lite_rolled_back,
    .settle = lite_settle,
    .now_us = lite_now,
    /* nobody else can have the file: who holds the lock on data_dir is alone with it */
    .dead = "SELECT id, epoch FROM instances WHERE ended IS NULL AND id <> ? AND (? OR alive_until < ?) ORDER BY id",
    .adopt = lite_adopt,
    .begun = mr_lite_begun,
    .seen = mr_lite_seen,
    .seen_insert = mr_lite_seen_insert,
    .seen_ids = mr_lite_seen_ids,
    .seen_drop = mr_lite_seen_drop,
    .backup = lite_backup,
    .untidy = lite_untidy,
    .tidy = lite_tidy,
    .close = lite_close,
    .free = lite_free,
};

/* -- open ---------------------------------------------------------------------------------------------------------- */

struct opening {
    struct mr_job job;
    struct mr_loop *loop;
    struct mr_lite *made;
    bool create;
    struct mr_store_facts facts;
    struct mr_err err;
    mr_store_open_cb cb;
    void *arg;
    char path[];
};

static void open_run(struct mr_job *job)
{
    struct opening *o = MR_OF(job, struct opening, job);
    enum mr_code code = mr_lite_start(o->made, o->path, o->create, mr_lite_steps, mr_lite_steps_count, &o->facts, &o->err);
    (void)code; /* it is in o->err */
}

static void open_done(struct mr_job *job, bool canceled)
{
    struct opening *o = MR_OF(job, struct opening, job);
    struct mr_store *store = NULL;
    if (canceled)
        mr_err_set(&o->err, MR_ECANCELED, "open the state store: the program is ending");
    if (o->err.code == MR_OK) {
        o->made->filter = mr_filter_new(mr_budget_limit(o->loop->budget) / 4);
        store = mr_runner_new(o->loop, &mr_driver_sqlite, &o->made->db, &o->facts);
    } else {
        free(o->made);
    }
    o->cb(o->arg, &o->err, store);
    free(o);
}

static void sqlite_open(struct mr_loop *loop, const struct mr_store_options *options, const char *where,
                        mr_store_open_cb cb, void *arg)
{
    size_t n = strlen(where) + 1;
    struct opening *o = calloc(1, sizeof *o + n);
    struct mr_lite *l = calloc(1, sizeof *l);
    assert(o && l);
    *o = (struct opening){.job = {.run = open_run, .done = open_done},
                          .loop = loop,
                          .made = l,
                          .create = options->create,
                          .cb = cb,
                          .arg = arg};
    memcpy(o->path, where, n);
    mr_worker_submit(loop->workers, MR_LANE_STATE, &o->job);
}

const struct mr_driver mr_driver_sqlite = {
    .scheme = "sqlite:",
    .open = sqlite_open,
    .submit = mr_runner_submit,
    .ending = mr_runner_ending,
    .close = mr_runner_close,
};
