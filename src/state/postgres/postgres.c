/* SPDX-License-Identifier: Apache-2.0 */
/* postgres.c - the store of a fleet: what a commit, a commit in doubt, the clock and the life of a connection are.
 *
 * Several processes write at once, each on a connection of its own. What a decision read must hold until its commit: its
 * instance's epoch and the sealed day by FOR SHARE, positions and rows by FOR UPDATE. Two that want the same rows in another order are
 * told apart by the server (deadlock), and the loser's landing is tried again.
 *
 * A commit whose answer is lost is asked about by its transaction's number, from a new connection (txid_status, PostgreSQL
 * 9.26.8): the old backend may still be at it, so an absent row alone would prove nothing. After a failover that number may mean
 * nothing or another transaction; so "committed" must be borne out by the landing's row. */
#include "state/postgres/pg.h"

#include "state/sql/runner.h"

#include "millrace/loop.h"
#include "millrace/worker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const char begin[] = "BEGIN";

/* -- transactions -------------------------------------------------------------------------------------------------- */

/* A transaction that writes begins with its number in hand: afterwards it would be too late to ask. */
static enum mr_code pg_exec(struct mr_db *db, const char *text)
{
    struct mr_pg *pg = mr_pg_of(db);
    if (text != begin)
        return mr_pg_exec(db, text);
    PGresult *r = mr_pg_query(pg, "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT txid_current(), pg_backend_pid()");
    if (r)
        pg->doubt = (struct mr_pg_doubt){.xid = strtoll(PQgetvalue(r, 0, 0), NULL, 10),
                                         .backend = (int)strtol(PQgetvalue(r, 0, 1), NULL, 10)};
    PQclear(r);
    return mr_db_code(db);
}

static enum mr_commit pg_commit(struct mr_db *db)
{
    struct mr_pg *pg = mr_pg_of(db);
    PGresult *r = mr_pg_query(pg, "COMMIT");
    if (!r) /* an error that the server told is certain; silence is not */
        return mr_pg_lost(pg) ? MR_COMMIT_DOUBT : MR_COMMIT_FAILED;
    bool rolled_back = strcmp(PQcmdStatus(r), "COMMIT") != 0; /* "ROLLBACK": a statement had failed */
    PQclear(r);
    if (rolled_back)
        mr_err_set(db->err, MR_EIO, "%s: commit: the server rolled it back", db->name);
    return rolled_back ? MR_COMMIT_FAILED : MR_COMMIT_DONE;
}

static bool pg_in_transaction(struct mr_db *db)
{
    const struct mr_pg *pg = mr_pg_of(db);
    if (mr_pg_lost(pg))
        return false;
    PGTransactionStatusType status = PQtransactionStatus(pg->c);
    return status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}

/* "committed", "aborted", "in progress", or "" where the server knows nothing of that number. */
static enum mr_code status_of(struct mr_pg *pg, char out[16])
{
    char text[96];
    *out = '\0';
    snprintf(text, sizeof text, "SELECT txid_status(%lld)", (long long)pg->doubt.xid);
    PGresult *r = mr_pg_query(pg, text);
    if (!r && !mr_pg_lost(pg)) { /* a number that is still to come: the server is another one now, and never had it */
        *pg->db.err = (struct mr_err){.code = MR_OK};
        return MR_OK;
    }
    if (r && !PQgetisnull(r, 0, 0))
        snprintf(out, 16, "%s", PQgetvalue(r, 0, 0));
    PQclear(r);
    return pg->db.err->code;
}

/* Our backend of before is still at it: it need not be. A commit that is past its point of no return ends as one. */
static void end_backend(struct mr_pg *pg)
{
    char text[192];
    struct mr_err unheard = {.code = MR_OK}, *heard = pg->db.err;
    snprintf(text, sizeof text,
             "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %d AND backend_xid::text = '%u'",
             pg->doubt.backend, (unsigned)pg->doubt.xid);
    pg->db.err = &unheard;
    PQclear(mr_pg_query(pg, text));
    pg->db.err = heard;
}

static bool pg_settle(struct mr_db *db, const struct mr_call *calls, bool *took)
{
    struct mr_pg *pg = mr_pg_of(db);
    char status[16];
    bool decides = false, there = false;
    if (!mr_pg_ready(db) || status_of(pg, status) != MR_OK)
        return false;
    if (strcmp(status, "in progress") == 0) {
        end_backend(pg);
        mr_err_set(db->err, MR_EBUSY, "%s: a commit whose answer was lost is still under way", db->name);
        return false;
    }
    for (; calls && !there && mr_db_code(db) == MR_OK; calls = calls->next) {
        if (calls->kind != MR_CALL_DECIDE)
            continue;
        decides = true;
        there = mr_decided_number(db, calls->decision->landing) != 0;
    }
    *took = decides ? there : strcmp(status, "committed") == 0;
    return mr_db_code(db) == MR_OK;
}

static int64_t pg_now(struct mr_db *db)
{
    return mr_mono_us() + db->ahead_us;
}

/* -- numbers, and what is done elsewhere --------------------------------------------------------------------------- */

static void pg_adopt(struct mr_db *db, struct mr_call *call)
{
    int64_t last = mr_sql_int(db, 0, "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM landings_number", "");
    if (mr_db_code(db) != MR_OK)
        return;
    if (last > call->number)
        call->number = last;
    if (call->number == 0)
        return;
    enum mr_code code = mr_sql_run(db,
                                   "INSERT INTO meta(key, value) VALUES('adopted', ?) ON CONFLICT(key) DO UPDATE SET value "
                                   "= excluded.value",
                                   "i", call->number);
    if (code == MR_OK && last < call->number)
        mr_sql_int(db, 0, "SELECT setval('landings_number', ?)", "i", call->number);
}

static void pg_begun(struct mr_db *db)
{
    (void)db;
}

static void pg_backup(struct mr_db *db, struct mr_call *call)
{
    mr_err_set(&call->err, MR_ECONFIG, "%s: back it up with the server's own tools, such as pg_dump --schema=%s", db->name,
               mr_pg_of(db)->schema);
}

static void pg_close(struct mr_db *db)
{
    mr_pg_disconnect(mr_pg_of(db));
}

static void pg_free(struct mr_db *db)
{
    mr_pg_free(mr_pg_of(db));
}

const struct mr_db_ops mr_pg_ops = {
    .begin = begin,
    .bind = mr_pg_bind,
    .row = mr_pg_row,
    .end = mr_pg_end,
    .column = mr_pg_column,
    .integer = mr_pg_integer,
    .changes = mr_pg_changes,
    .exec = pg_exec,
    .commit = pg_commit,
    .in_transaction = pg_in_transaction,
    .ready = mr_pg_ready,
    .settle = pg_settle,
    .now_us = pg_now,
    /* who shares our data_dir is dead: we hold the lock on it */
    .dead = "SELECT id, epoch FROM instances WHERE ended IS NULL AND id <> ? AND ((? AND home = "
            "current_setting('millrace.home') AND home <> '') OR alive_until < ?) ORDER BY id",
    .adopt = pg_adopt,
    .begun = pg_begun,
    .seen = mr_pg_seen,
    .seen_insert = mr_pg_seen_insert,
    .seen_ids = mr_pg_seen_ids,
    .seen_drop = mr_pg_seen_drop,
    .backup = pg_backup,
    .close = pg_close,
    .free = pg_free,
};

/* -- open ---------------------------------------------------------------------------------------------------------- */

struct opening {
    struct mr_job job;
    struct mr_loop *loop;
    const struct mr_driver *driver;
    char *url, *home;
    bool create;
    struct mr_pg *made;
    struct mr_store_facts facts;
    struct mr_err err;
    mr_store_open_cb cb;
    void *arg;
};

static void open_run(struct mr_job *job)
{
    struct opening *o = MR_OF(job, struct opening, job);
    o->made = mr_pg_new(o->url, o->home, &o->err);
    if (!o->made || (mr_pg_connect(o->made) == MR_OK && mr_pg_start(o->made, o->create, &o->facts) == MR_OK))
        return;
    mr_pg_disconnect(o->made);
    mr_pg_free(o->made);
    o->made = NULL;
}

static void open_done(struct mr_job *job, bool canceled)
{
    struct opening *o = MR_OF(job, struct opening, job);
    struct mr_store *store = NULL;
    if (canceled)
        mr_err_set(&o->err, MR_ECANCELED, "open the state store: the program is ending");
    else if (o->made)
        store = mr_runner_new(o->loop, o->driver, &o->made->db, &o->facts);
    o->cb(o->arg, &o->err, store);
    free(o->url);
    free(o->home);
    free(o);
}

static void open_url(const struct mr_driver *driver, struct mr_loop *loop, const struct mr_store_options *options,
                     mr_store_open_cb cb, void *arg)
{
    struct opening *o = calloc(1, sizeof *o);
    assert(o);
    *o = (struct opening){.job = {.run = open_run, .done = open_done},
                          .loop = loop,
                          .driver = driver,
                          .url = strdup(options->url),
                          .home = options->home ? strdup(options->home) : NULL,
                          .create = options->create,
                          .cb = cb,
                          .arg = arg};
    assert(o->url);
    mr_worker_submit(loop->workers, MR_LANE_STATE, &o->job);
}

static void postgres_open(struct mr_loop *loop, const struct mr_store_options *options, const char *where,
                          mr_store_open_cb cb, void *arg)
{
    (void)where;
    open_url(&mr_driver_postgres, loop, options, cb, arg);
}

static void postgresql_open(struct mr_loop *loop, const struct mr_store_options *options, const char *where,
                            mr_store_open_cb cb, void *arg)
{
    (void)where;
    open_url(&mr_driver_postgresql, loop, options, cb, arg);
}

const struct mr_driver mr_driver_postgres = {
    .scheme = "postgres:",
    .open = postgres_open,
    .submit = mr_runner_submit,
    .ending = mr_runner_ending,
    .close = mr_runner_close,
};
const struct mr_driver mr_driver_postgresql = { /* the same by its long name */
    .scheme = "postgresql:",
    .open = postgresql_open,
    .submit = mr_runner_submit,
    .ending = mr_runner_ending,
    .close = mr_runner_close,
};
