/* SPDX-License-Identifier: Apache-2.0 */
/* sqlite.c - the driver: an ordered queue of calls, drained by one job on lane STATE.
 *
 * Happy path: calls wait on the loop; a job takes all of them; neighbours that write share one BEGIN IMMEDIATE ...
 * COMMIT, each in a savepoint; the job comes back and the callbacks run in order. Whatever came meanwhile goes into the
 * next job. Checkpoints run after the callbacks, never inside a commit.
 *
 * Ways to fail:
 * - A call loses or fails: its savepoint is rolled back, its neighbours do not notice (a call alone needs none).
 * - Something fails before the commit: rolled back; every call in it failed, and that is certain.
 * - The commit says "no room": its last frame never was whole on disk; not committed, certain.
 * - The commit fails otherwise: nobody knows. Its frames may be whole in the log, and a restart would find them. The
 *   calls are kept (in doubt) and nothing else runs until a commit of ours has gone through, written over those frames
 *   or behind them. Then the landings' ids tell what happened, for ever.
 * - The same while the program ends: after a few tries everything is canceled; the next start finds out.
 * - The disk comes back: each job tries anew; the alert state_failed closes with the first commit that works.
 *
 * On close: what waits runs first; the connection is closed on its lane, then the timer; then the owner is told. */
#include "state/sqlite/sqlite.h"
#include "state/sqlite/filter.h"

#include "millrace/budget.h"
#include "millrace/fault.h"
#include "millrace/loop.h"
#include "millrace/worker.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    GROUP_CALLS = 256, /* in one commit */
    /* Seen ids in a shared commit: a savepoint keeps each page that they touch in memory. More have a commit alone. */
    GROUP_IDS = 2000,
    CHECKPOINT_PAGES = 1000,   /* of log, when nobody waits */
    CHECKPOINT_FORCED = 16000, /* 64 MiB: even when somebody does */
    DOUBT_RETRY_MS = 500,
    DOUBT_TRIES = 6, /* once the program is ending */
};

struct calls { /* a list, first in, first out */
    struct mr_call *first, *last;
};
static void calls_put(struct calls *l, struct mr_call *call)
{
    call->next = NULL;
    if (l->last)
        l->last->next = call;
    else
        l->first = call;
    l->last = call;
}

static struct mr_call *calls_take(struct calls *l)
{
    struct mr_call *call = l->first;
    if (call) {
        l->first = call->next;
        if (!l->first)
            l->last = NULL;
        call->next = NULL;
    }
    return call;
}

static void calls_join(struct calls *l, struct calls *more) /* more goes behind l and is empty then */
{
    if (!more->first)
        return;
    if (l->last)
        l->last->next = more->first;
    else
        l->first = more->first;
    l->last = more->last;
    *more = (struct calls){NULL, NULL};
}

struct backup {
    struct mr_job job;
    struct mr_sqlite *owner;
    struct mr_call *call;
    const char *from;
};

struct mr_sqlite {
    struct mr_store store; /* first: a driver's store begins with it */
    /* the loop's */
    struct calls waiting;
    struct mr_job job;
    bool job_out, timer_waits, closing, db_closed, failing;
    atomic_bool ending; /* set while a job may be out, which looks whether more reading is worth while */
    bool gave_up;         /* written while no job is out: nothing is run any more */
    unsigned doubt_tries; /* since the end was asked for */
    size_t backups;
    uv_timer_t retry;
    void (*close_cb)(void *arg);
    void *close_arg;
    /* the job's while it is out */
    struct mr_db db;
    struct calls todo, finished, doubt, again,
        apart;                /* doubt: a group whose commit failed; apart: backups, for another lane */
    struct mr_err commit_err; /* what last was wrong with the store itself in this job; MR_OK: nothing */
    bool committed, close_now;
    struct mr_cell *commits, *commit_seconds;
};

/* -- on the worker: one commit ------------------------------------------------------------------------------------- */

static void (*const runners[MR_CALL_COUNT])(struct mr_db *db, struct mr_call *call) = {
    [MR_CALL_POSITION] = mr_run_position,
    [MR_CALL_POSITIONS] = mr_run_positions,
    [MR_CALL_ROWS] = mr_run_rows,
    [MR_CALL_SEEN] = mr_run_seen,
    [MR_CALL_BEGIN] = mr_run_begin,
    [MR_CALL_RENEW] = mr_run_renew,
    [MR_CALL_END] = mr_run_end,
    [MR_CALL_SWEEP] = mr_run_sweep,
    [MR_CALL_DECIDE] = mr_run_decide,
    [MR_CALL_PUBLISHED] = mr_run_published,
    [MR_CALL_LOST] = mr_run_lost,
    [MR_CALL_REPLAYED] = mr_run_replayed,
    [MR_CALL_LOST_LANDINGS] = mr_run_lost_landings,
    [MR_CALL_UNPUBLISHED] = mr_run_unpublished,
    [MR_CALL_LANDINGS] = mr_run_landings,
    [MR_CALL_STAGE_BEGIN] = mr_run_stage_begin,
    [MR_CALL_STAGE_END] = mr_run_stage_end,
    [MR_CALL_SEAL] = mr_run_seal,
    [MR_CALL_DAY_COUNTS] = mr_run_day_counts,
    [MR_CALL_POSITION_SET] = mr_run_position_set,
    [MR_CALL_PAUSE] = mr_run_pause,
    [MR_CALL_PAUSED] = mr_run_paused,
    [MR_CALL_ADOPT] = mr_run_adopt,
    [MR_CALL_RUN] = mr_run_run,
    [MR_CALL_LAST_RUNS] = mr_run_last_runs,
    [MR_CALL_ALERT] = mr_run_alert,
    [MR_CALL_ALERTS] = mr_run_alerts,
};

static void exec(struct mr_db *db, const char *text) /* where a failure changes nothing any more */
{
    sqlite3_exec(db->h, text, NULL, NULL, NULL);
}

static void run_alone(struct mr_db *db, struct mr_call *call)
{
    struct mr_err *group_err = db->err;
    db->err = &call->err;
    runners[call->kind](db, call);
    db->err = group_err;
    if (call->err.code != MR_OK)
        *group_err = call->err;
}

/* false: the whole transaction is gone, not only this call */
static bool run_in_savepoint(struct mr_db *db, struct mr_call *call)
{
    struct mr_err *group_err = db->err;
    if (mr_db_exec(db, "SAVEPOINT call") != MR_OK)
        return false;
    db->err = &call->err;
    runners[call->kind](db, call);
    db->err = group_err;
    if (call->err.code == MR_OK)
        return mr_db_exec(db, "RELEASE call") == MR_OK;
    if (sqlite3_get_autocommit(db->h)) { /* SQLite rolled everything back: no room, broken disk */
        *group_err = call->err;
        return false;
    }
    mr_db_forget_days(db); /* a table of theirs may go with the savepoint */
    return mr_db_exec(db, "ROLLBACK TO call") == MR_OK && mr_db_exec(db, "RELEASE call") == MR_OK;
}

static enum mr_code point(struct mr_db *db, bool decides, int sys, const char *what)
{
    return decides && sys ? mr_err_sys(db->err, sys, "state store %s: %s", db->path, what) : MR_OK;
}

/* Takes the calls of one transaction from todo: neighbours that write, bounded. true: one of them decides. */
static bool take_group(struct mr_sqlite *s, struct calls *group)
{
    size_t calls = 0, ids = 0;
    bool decides = false;
    while (s->todo.first && mr_call_mode(s->todo.first->kind) == MR_CALL_WRITE && calls < GROUP_CALLS) {
        bool decide = s->todo.first->kind == MR_CALL_DECIDE;
        ids += decide ? s->todo.first->decision->seen_count : 0;
        if (ids > GROUP_IDS && calls > 0)
            break;
        decides |= decide;
        calls++;
        calls_put(group, calls_take(&s->todo));
    }
    return decides;
}

static void fail_all(struct calls *group, const struct mr_err *err)
{
    for (struct mr_call *call = group->first; call; call = call->next) {
        /* also one that had lost: it may have lost to a neighbour whose win is undone */
        call->err = *err;
        call->decided.number = 0;
    }
}

static enum mr_code fill(struct mr_db *db, struct calls *group, bool decides)
{
    if (point(db, decides, decides ? MR_POINT(decide_begin) : 0, "begin") != MR_OK ||
        mr_db_exec(db, "BEGIN IMMEDIATE") != MR_OK)
        return mr_db_code(db);
    if (!group->first->next)
        run_alone(db, group->first);
    for (struct mr_call *call = group->first; group->first->next && call; call = call->next)
        if (!run_in_savepoint(db, call))
            break;
    if (mr_db_code(db) != MR_OK)
        return mr_db_code(db);
    return point(db, decides, decides ? MR_POINT(decide_commit) : 0, "commit");
}

static void commit_took(struct mr_sqlite *s, int64_t began_us)
{
    s->committed = true;
    mr_cell_add(s->commits, 1);
    mr_cell_observe(s->commit_seconds, (double)(mr_mono_us() - began_us) / 1e6);
}

/* true: certain, either way */
static bool commit(struct mr_sqlite *s, bool decides)
{
    struct mr_db *db = &s->db;
    int64_t began_us = mr_mono_us();
    int rc = sqlite3_exec(db->h, "COMMIT", NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        mr_db_fail(db, rc, "commit");
    else if (point(db, decides, decides ? MR_POINT(decide_committed) : 0, "the commit's answer") == MR_OK)
        commit_took(s, began_us);
    return rc == SQLITE_OK ? mr_db_code(db) == MR_OK : (rc & 0xff) == SQLITE_FULL || (rc & 0xff) == SQLITE_BUSY;
}

/* Of the store itself, as against a call that lost: a person should hear of it. */
static void note_trouble(struct mr_sqlite *s, const struct mr_call *call)
{
    enum mr_code code = call->err.code;
    if (mr_code_class(code) == MR_CLASS_RETRY || code == MR_ECORRUPT || code == MR_EPERM)
        s->commit_err = call->err;
}

static void run_group(struct mr_sqlite *s)
{
    struct calls group = {NULL, NULL};
    struct mr_err err = {.code = MR_OK};
    bool decides = take_group(s, &group);
    s->db.err = &err;
    bool certain = fill(&s->db, &group, decides) != MR_OK || commit(s, decides);
    if (err.code != MR_OK) {
        mr_db_forget_days(&s->db);
        if (!sqlite3_get_autocommit(s->db.h))
            exec(&s->db, "ROLLBACK");
        fail_all(&group, &err);
    }
    for (const struct mr_call *call = group.first; call; call = call->next)
        note_trouble(s, call);
    calls_join(certain ? &s->finished : &s->doubt, &group);
}

/* -- on the worker: a commit in doubt ------------------------------------------------------------------------------ */

/* A commit of ours, over or behind the doubtful one. */
static enum mr_code settle(struct mr_db *db)
{
    if (mr_db_exec(db, "BEGIN IMMEDIATE") != MR_OK)
        return mr_db_code(db);
    if (mr_sql_run(db,
                   "INSERT INTO meta(key, value) VALUES('commit_in_doubt', ?) ON CONFLICT DO UPDATE SET value = "
                   "excluded.value",
                   "t", mr_wall_us()) == MR_OK &&
        mr_db_exec(db, "COMMIT") == MR_OK)
        return MR_OK;
    mr_err_wrap(db->err, "find out about a commit");
    exec(db, "ROLLBACK");
    return mr_db_code(db);
}

static bool doubt_settled(struct mr_sqlite *s)
{
    struct mr_err err = {.code = MR_OK};
    s->db.err = &err;
    if (!mr_db_is_open(&s->db) || settle(&s->db) != MR_OK) {
        /* a connection that has seen a failing disk may hold on to what it saw */
        err.code = MR_OK;
        if (mr_db_reopen(&s->db) != MR_OK || settle(&s->db) != MR_OK) {
            s->commit_err = err;
            return false;
        }
    }
    int64_t numbers_found = 0;
    for (struct mr_call *call = s->doubt.first; call; call = call->next) {
        if (call->kind == MR_CALL_DECIDE)
            call->decided.number = mr_decided_number(&s->db, call->decision->landing);
        numbers_found += call->decided.number != 0;
    }
    if (err.code != MR_OK) {
        s->commit_err = err;
        return false;
    }
    /* one landing there: the whole group is, but for the calls that had lost; those are asked for again by their
     * callers */
    for (struct mr_call *call = s->doubt.first; call; call = call->next)
        if (numbers_found && (call->kind != MR_CALL_DECIDE || call->decided.number))
            call->err = (struct mr_err){.code = MR_OK};
    calls_join(&s->finished, &s->doubt);
    s->committed = true;
    return true;
}

/* -- on the worker: the job ---------------------------------------------------------------------------------------- */

static void run_one(struct mr_sqlite *s, struct mr_call *call)
{
    s->db.err = &call->err;
    if (call->kind == MR_CALL_BACKUP) {
        calls_put(&s->apart, call);
        return;
    }
    if (call->kind == MR_CALL_KEEP && mr_run_keep(&s->db, call)) {
        calls_put(&s->again, call);
        return;
    }
    if (call->kind != MR_CALL_KEEP)
        runners[call->kind](&s->db, call);
    note_trouble(s, call);
    calls_put(&s->finished, call);
}

static void checkpoint(struct mr_sqlite *s, bool nobody_waits)
{
    if (s->db.wal_pages < (nobody_waits ? CHECKPOINT_PAGES : CHECKPOINT_FORCED))
        return;
    /* passive: readers and other processes are not waited for; what it cannot do now, the next one does */
    s->db.wal_pages = 0;
    sqlite3_wal_checkpoint_v2(s->db.h, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

static void job_run(struct mr_job *job)
{
    struct mr_sqlite *s = MR_OF(job, struct mr_sqlite, job);
    s->committed = false;
    s->commit_err = (struct mr_err){.code = MR_OK};
    if (s->gave_up) {
        if (s->close_now)
            mr_db_close(&s->db);
        return;
    }
    if (s->doubt.first && !doubt_settled(s))
        return;
    checkpoint(s, !s->todo.first);
    while (s->todo.first) {
        if (mr_call_mode(s->todo.first->kind) == MR_CALL_WRITE)
            run_group(s);
        else
            run_one(s, calls_take(&s->todo));
        if (s->doubt.first && !doubt_settled(s))
            return;
    }
    if (s->db.filter_reading && !s->ending)
        mr_seen_read_on(&s->db);
    if (s->close_now)
        mr_db_close(&s->db);
}

/* -- on the loop --------------------------------------------------------------------------------------------------- */

static void go_on(struct mr_sqlite *s);

static void on_retry_closed(uv_handle_t *h)
{
    struct mr_sqlite *s = MR_OF((uv_timer_t *)(void *)h, struct mr_sqlite, retry);
    void (*cb)(void *arg) = s->close_cb;
    void *arg = s->close_arg;
    mr_filter_free(s->db.filter);
    free(s);
    cb(arg);
}

static void backup_run(struct mr_job *job)
{
    struct backup *b = MR_OF(job, struct backup, job);
    enum mr_code code = mr_db_backup(b->from, b->call->path, &b->call->err);
    (void)code;
}

static void backup_done(struct mr_job *job, bool canceled)
{
    struct backup *b = MR_OF(job, struct backup, job);
    struct mr_sqlite *s = b->owner;
    if (canceled)
        mr_err_set(&b->call->err, MR_ECANCELED, "backup: the program is ending");
    mr_call_finish(b->call);
    free(b);
    s->backups--;
    go_on(s);
}

static void start_backups(struct mr_sqlite *s)
{
    struct mr_call *call;
    while ((call = calls_take(&s->apart))) {
        struct backup *b = calloc(1, sizeof *b);
        assert(b);
        *b = (struct backup){
            .job = {.run = backup_run, .done = backup_done}, .owner = s, .call = call, .from = s->db.path};
        s->backups++;
        mr_worker_submit(s->store.loop->workers, MR_LANE_MISC, &b->job);
    }
}

/* The alert's own row is written by us too: only a change may open or close it, else a failing store feeds itself. */
static void tell(struct mr_sqlite *s)
{
    struct mr_alerts *alerts = s->store.loop->alerts;
    bool failed = s->commit_err.code != MR_OK;
    if (failed && !s->failing) {
        s->failing = true;
        mr_alert_open(alerts, MR_A_STATE_FAILED, "", "", "%s", s->commit_err.msg);
    } else if (!failed && s->committed && s->failing) {
        s->failing = false;
        mr_alert_close(alerts, MR_A_STATE_FAILED, "", "");
    }
}

static void cancel_all(struct mr_sqlite *s)
{
    struct mr_err err = {.code = MR_OK};
    mr_err_set(&err, MR_ECANCELED, "the program is ending");
    calls_join(&s->doubt, &s->todo);
    fail_all(&s->doubt, &err);
    calls_join(&s->finished, &s->doubt);
}

static void on_retry(uv_timer_t *timer)
{
    struct mr_sqlite *s = MR_OF(timer, struct mr_sqlite, retry);
    s->timer_waits = false;
    go_on(s);
}

static void job_done(struct mr_job *job, bool canceled)
{
    struct mr_sqlite *s = MR_OF(job, struct mr_sqlite, job);
    struct mr_call *call;
    s->gave_up = s->gave_up || (s->doubt.first && s->ending && ++s->doubt_tries >= DOUBT_TRIES);
    if (s->gave_up)
        cancel_all(s);
    if (canceled) {
        cancel_all(s);
        if (s->close_now)
            mr_db_close(&s->db);
    }
    s->db_closed = s->close_now;
    if (!s->db_closed)
        start_backups(s);
    if (!canceled && !s->gave_up)
        tell(s);
    if (s->db_closed) /* asked for after the close: nobody runs them any more */
        calls_join(&s->todo, &s->waiting);
    if (s->db_closed)
        cancel_all(s);
    struct calls finished = s->finished;
    s->finished = (struct calls){NULL, NULL};
    while ((call = calls_take(&finished)))
        mr_call_finish(call);
    /* calls that came meanwhile go between the slices of one that is not through */
    calls_join(&s->waiting, &s->again);
    s->job_out = false;
    if (s->doubt.first) {
        s->timer_waits = true;
        uv_timer_start(&s->retry, on_retry, DOUBT_RETRY_MS, 0);
    }
    go_on(s);
}

/* The one place that sends the job out. */
static void go_on(struct mr_sqlite *s)
{
    if (s->job_out || s->timer_waits || s->db_closed) {
        if (s->db_closed && !s->job_out && !uv_is_closing((uv_handle_t *)&s->retry))
            uv_close((uv_handle_t *)&s->retry, on_retry_closed);
        return;
    }
    /* calls behind a doubtful commit are still in todo, and older than what waits */
    calls_join(&s->todo, &s->waiting);
    s->close_now = s->closing && !s->todo.first && !s->doubt.first && !s->backups;
    bool tidy = !s->gave_up && (s->db.wal_pages >= CHECKPOINT_PAGES || (s->db.filter_reading && !s->ending));
    if (!s->todo.first && !s->doubt.first && !tidy && !s->close_now)
        return;
    s->job_out = true;
    mr_worker_submit(s->store.loop->workers, MR_LANE_STATE, &s->job);
}

static void sqlite_submit(struct mr_store *store, struct mr_call *call)
{
    struct mr_sqlite *s = MR_OF(store, struct mr_sqlite, store);
    assert(!s->db_closed);
    calls_put(&s->waiting, call);
    go_on(s);
}

static void sqlite_ending(struct mr_store *store)
{
    MR_OF(store, struct mr_sqlite, store)->ending = true;
}

static void sqlite_close(struct mr_store *store, void (*cb)(void *arg), void *arg)
{
    struct mr_sqlite *s = MR_OF(store, struct mr_sqlite, store);
    assert(!s->closing);
    s->closing = true;
    s->ending = true;
    s->close_cb = cb;
    s->close_arg = arg;
    go_on(s);
}

/* -- open ---------------------------------------------------------------------------------------------------------- */

struct opening {
    struct mr_job job;
    struct mr_loop *loop;
    struct mr_sqlite *made;
    bool create;
    struct mr_err err;
    mr_store_open_cb cb;
    void *arg;
    char path[];
};

static void open_run(struct mr_job *job)
{
    struct opening *o = MR_OF(job, struct opening, job);
    enum mr_code code =
        mr_db_start(&o->made->db, o->path, o->create, mr_db_steps, mr_db_steps_count, &o->made->store.facts, &o->err);
    (void)code; /* it is in o->err */
}

static void open_done(struct mr_job *job, bool canceled)
{
    struct opening *o = MR_OF(job, struct opening, job);
    struct mr_sqlite *s = o->made;
    if (canceled)
        mr_err_set(&o->err, MR_ECANCELED, "open the state store: the program is ending");
    if (o->err.code == MR_OK) {
        int rc = uv_timer_init(&o->loop->uv, &s->retry);
        assert(rc == 0);
        s->db.filter = mr_filter_new(mr_budget_limit(o->loop->budget) / 4);
    } else {
        free(s);
        s = NULL;
    }
    o->cb(o->arg, &o->err, s ? &s->store : NULL);
    free(o);
}

static void sqlite_open(struct mr_loop *loop, const char *where, bool create, mr_store_open_cb cb, void *arg)
{
    size_t n = strlen(where) + 1;
    struct opening *o = calloc(1, sizeof *o + n);
    struct mr_sqlite *s = calloc(1, sizeof *s);
    assert(o && s);
    s->store.driver = &mr_driver_sqlite;
    s->store.loop = loop;
    s->job.run = job_run;
    s->job.done = job_done;
    s->commits = mr_metric0(loop->metrics, MR_M_STATE_COMMITS);
    s->commit_seconds = mr_metric0(loop->metrics, MR_M_STATE_COMMIT_SECONDS);
    *o = (struct opening){
        .job = {.run = open_run, .done = open_done}, .loop = loop, .made = s, .create = create, .cb = cb, .arg = arg};
    memcpy(o->path, where, n);
    mr_worker_submit(loop->workers, MR_LANE_STATE, &o->job);
}

const struct mr_driver mr_driver_sqlite = {
    .scheme = "sqlite:",
    .open = sqlite_open,
    .submit = sqlite_submit,
    .ending = sqlite_ending,
    .close = sqlite_close,
};
