/* SPDX-License-Identifier: Apache-2.0 */
#include "state/sql/runner.h"

#include "millrace/fault.h"
#include "millrace/loop.h"
#include "millrace/metrics.h"
#include "millrace/worker.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    GROUP_CALLS = 256, /* in one commit */
    /* Seen ids in a shared commit: a savepoint of SQLite's keeps each page that they touch in memory. More have a commit alone. */
    GROUP_IDS = 2000,
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
    struct mr_runner *owner;
    struct mr_call *call;
};

struct mr_runner {
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
    struct mr_db *db;
    struct calls todo, finished, doubt, again,
        apart;                /* doubt: a group whose commit failed; apart: backups, for another lane */
    struct mr_err commit_err; /* what last was wrong with the store itself in this job; MR_OK: nothing */
    bool committed, close_now;
    struct mr_cell *commits, *commit_seconds;
};

/* -- on the worker: one commit ------------------------------------------------------------------------------------- */

static void run_seen(struct mr_db *db, struct mr_call *call)
{
    db->ops->seen(db, call);
}

static void run_adopt(struct mr_db *db, struct mr_call *call)
{
    db->ops->adopt(db, call);
}

static void (*const runners[MR_CALL_COUNT])(struct mr_db *db, struct mr_call *call) = {
    [MR_CALL_POSITION] = mr_run_position,
    [MR_CALL_POSITIONS] = mr_run_positions,
    [MR_CALL_ROWS] = mr_run_rows,
    [MR_CALL_SEEN] = run_seen,
    [MR_CALL_BEGIN] = mr_run_begin,
    [MR_CALL_RENEW] = mr_run_renew,
    [MR_CALL_END] = mr_run_end,
    [MR_CALL_SWEEP] = mr_run_sweep,
    [MR_CALL_LIVING] = mr_run_living,
    [MR_CALL_DECIDE] = mr_run_decide,
    [MR_CALL_PUBLISHED] = mr_run_published,
    [MR_CALL_LOST] = mr_run_lost,
    [MR_CALL_REPLAYED] = mr_run_replayed,
    [MR_CALL_LOST_LANDINGS] = mr_run_lost_landings,
    [MR_CALL_UNPUBLISHED] = mr_run_unpublished,
    [MR_CALL_LANDINGS] = mr_run_landings,
    [MR_CALL_STAGE_BEGIN] = mr_run_stage_begin,
    [MR_CALL_STAGE_END] = mr_run_stage_end,
    [MR_CALL_UPLOAD] = mr_run_upload,
    [MR_CALL_UPLOADS_GONE] = mr_run_uploads_gone,
    [MR_CALL_UPLOADS] = mr_run_uploads,
    [MR_CALL_SEAL] = mr_run_seal,
    [MR_CALL_DAY_COUNTS] = mr_run_day_counts,
    [MR_CALL_POSITION_SET] = mr_run_position_set,
    [MR_CALL_PAUSE] = mr_run_pause,
    [MR_CALL_PAUSED] = mr_run_paused,
    [MR_CALL_ADOPT] = run_adopt,
    [MR_CALL_RUN] = mr_run_run,
    [MR_CALL_LAST_RUNS] = mr_run_last_runs,
    [MR_CALL_ALERT] = mr_run_alert,
    [MR_CALL_ALERTS] = mr_run_alerts,
};

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
    if (!db->ops->in_transaction(db)) { /* rolled back as a whole: no room, broken disk, connection lost */
        *group_err = call->err;
        return false;
    }
    if (db->ops->rolled_back)
        db->ops->rolled_back(db); /* a table of theirs may go with the savepoint */
    return mr_db_exec(db, "ROLLBACK TO call") == MR_OK && mr_db_exec(db, "RELEASE call") == MR_OK;
}

static enum mr_code point(struct mr_db *db, bool decides, int sys, const char *what)
{
    return decides && sys ? mr_err_sys(db->err, sys, "%s: %s", db->name, what) : MR_OK;
}

/* Takes the calls of one transaction from todo: neighbours that write, bounded. true: one of them decides. */
static bool take_group(struct mr_runner *s, struct calls *group)
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
        mr_db_exec(db, db->ops->begin) != MR_OK)
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

static void commit_took(struct mr_runner *s, int64_t began_us)
{
    s->committed = true;
    mr_cell_add(s->commits, 1);
    mr_cell_observe(s->commit_seconds, (double)(mr_mono_us() - began_us) / 1e6);
}

static enum mr_commit commit(struct mr_runner *s, bool decides)
{
    struct mr_db *db = s->db;
    int64_t began_us = mr_mono_us();
    enum mr_commit outcome = db->ops->commit(db);
    if (outcome == MR_COMMIT_DONE &&
        point(db, decides, decides ? MR_POINT(decide_committed) : 0, "the commit's answer") != MR_OK)
        return MR_COMMIT_DOUBT;
    if (outcome == MR_COMMIT_DONE)
        commit_took(s, began_us);
    return outcome;
}

/* Of the store itself, as against a call that lost: a person should hear of it. */
static void note_trouble(struct mr_runner *s, const struct mr_call *call)
{
    enum mr_code code = call->err.code;
    if (mr_code_class(code) == MR_CLASS_RETRY || code == MR_ECORRUPT || code == MR_EPERM)
        s->commit_err = call->err;
}

static bool ready(struct mr_runner *s)
{
    return !s->db->ops->ready || s->db->ops->ready(s->db);
}

static void run_group(struct mr_runner *s)
{
    struct calls group = {NULL, NULL};
    struct mr_err err = {.code = MR_OK};
    bool decides = take_group(s, &group);
    s->db->err = &err;
    bool certain = !ready(s) || fill(s->db, &group, decides) != MR_OK || commit(s, decides) != MR_COMMIT_DOUBT;
    if (err.code != MR_OK) {
        mr_db_rollback(s->db);
        fail_all(&group, &err);
    }
    for (const struct mr_call *call = group.first; call; call = call->next)
        note_trouble(s, call);
    calls_join(certain ? &s->finished : &s->doubt, &group);
}

/* -- on the worker: a commit in doubt ------------------------------------------------------------------------------ */

static bool doubt_settled(struct mr_runner *s)
{
    struct mr_err err = {.code = MR_OK};
    struct mr_db *db = s->db;
    bool took = false;
    db->err = &err;
    bool known = db->ops->settle(db, s->doubt.first, &took);
    for (struct mr_call *call = s->doubt.first; call && known && took; call = call->next)
        if (call->kind == MR_CALL_DECIDE)
            call->decided.number = mr_decided_number(db, call->decision->landing);
    if (!known || err.code != MR_OK) {
        s->commit_err = err;
        return false;
    }
    /* the whole group is there, but for the calls that had lost; those are asked for again by their callers */
    for (struct mr_call *call = s->doubt.first; call && took; call = call->next)
        if (call->kind != MR_CALL_DECIDE || call->decided.number)
            call->err = (struct mr_err){.code = MR_OK};
    calls_join(&s->finished, &s->doubt);
    s->committed = true;
    return true;
}

/* -- on the worker: the job ---------------------------------------------------------------------------------------- */

static void run_one(struct mr_runner *s, struct mr_call *call)
{
    s->db->err = &call->err;
    if (call->kind == MR_CALL_BACKUP) {
        calls_put(&s->apart, call);
        return;
    }
    if (ready(s)) {
        if (call->kind == MR_CALL_KEEP && mr_run_keep(s->db, call)) {
            calls_put(&s->again, call);
            return;
        }
        if (call->kind != MR_CALL_KEEP)
            runners[call->kind](s->db, call);
    }
    note_trouble(s, call);
    calls_put(&s->finished, call);
}

static void tidy(struct mr_runner *s)
{
    struct mr_err err = {.code = MR_OK};
    s->db->err = &err;
    if (s->db->ops->tidy)
        s->db->ops->tidy(s->db, !s->todo.first, s->ending);
}

static void close_db(struct mr_runner *s)
{
    struct mr_err err = {.code = MR_OK};
    s->db->err = &err;
    s->db->ops->close(s->db);
}

static void job_run(struct mr_job *job)
{
    struct mr_runner *s = MR_OF(job, struct mr_runner, job);
    s->committed = false;
    s->commit_err = (struct mr_err){.code = MR_OK};
    if (s->gave_up) {
        if (s->close_now)
            close_db(s);
        return;
    }
    if (s->doubt.first && !doubt_settled(s))
        return;
    tidy(s);
    while (s->todo.first) {
        if (mr_call_mode(s->todo.first->kind) == MR_CALL_WRITE)
            run_group(s);
        else
            run_one(s, calls_take(&s->todo));
        if (s->doubt.first && !doubt_settled(s))
            return;
    }
    if (s->close_now)
        close_db(s);
}

/* -- on the loop --------------------------------------------------------------------------------------------------- */

static void go_on(struct mr_runner *s);

static void on_retry_closed(uv_handle_t *h)
{
    struct mr_runner *s = MR_OF((uv_timer_t *)(void *)h, struct mr_runner, retry);
    void (*cb)(void *arg) = s->close_cb;
    void *arg = s->close_arg;
    s->db->ops->free(s->db);
    free(s);
    cb(arg);
}

static void backup_run(struct mr_job *job)
{
    struct backup *b = MR_OF(job, struct backup, job);
    b->owner->db->ops->backup(b->owner->db, b->call);
}

static void backup_done(struct mr_job *job, bool canceled)
{
    struct backup *b = MR_OF(job, struct backup, job);
    struct mr_runner *s = b->owner;
    if (canceled)
        mr_err_set(&b->call->err, MR_ECANCELED, "backup: the program is ending");
    mr_call_finish(b->call);
    free(b);
    s->backups--;
    go_on(s);
}

static void start_backups(struct mr_runner *s)
{
    struct mr_call *call;
    while ((call = calls_take(&s->apart))) {
        struct backup *b = calloc(1, sizeof *b);
        assert(b);
        *b = (struct backup){
            .job = {.run = backup_run, .done = backup_done}, .owner = s, .call = call};
        s->backups++;
        mr_worker_submit(s->store.loop->workers, MR_LANE_MISC, &b->job);
    }
}

/* The alert's own row is written by us too: only a change may open or close it, else a failing store feeds itself. */
static void tell(struct mr_runner *s)
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

static void cancel_all(struct mr_runner *s)
{
    struct mr_err err = {.code = MR_OK};
    mr_err_set(&err, MR_ECANCELED, "the program is ending");
    calls_join(&s->doubt, &s->todo);
    fail_all(&s->doubt, &err);
    calls_join(&s->finished, &s->doubt);
}

static void on_retry(uv_timer_t *timer)
{
    struct mr_runner *s = MR_OF(timer, struct mr_runner, retry);
    s->timer_waits = false;
    go_on(s);
}

static void job_done(struct mr_job *job, bool canceled)
{
    struct mr_runner *s = MR_OF(job, struct mr_runner, job);
    struct mr_call *call;
    s->gave_up = s->gave_up || (s->doubt.first && s->ending && ++s->doubt_tries >= DOUBT_TRIES);
    if (s->gave_up)
        cancel_all(s);
    if (canceled) {
        cancel_all(s);
        if (s->close_now)
            close_db(s);
    }
    s->db_closed = s->close_now;
    s->store.ahead_us = s->db->ahead_us;
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
static void go_on(struct mr_runner *s)
{
    if (s->job_out || s->timer_waits || s->db_closed) {
        if (s->db_closed && !s->job_out && !uv_is_closing((uv_handle_t *)&s->retry))
            uv_close((uv_handle_t *)&s->retry, on_retry_closed);
        return;
    }
    /* calls behind a doubtful commit are still in todo, and older than what waits */
    calls_join(&s->todo, &s->waiting);
    s->close_now = s->closing && !s->todo.first && !s->doubt.first && !s->backups;
    bool tidy = !s->gave_up && s->db->ops->untidy && s->db->ops->untidy(s->db);
    if (!s->todo.first && !s->doubt.first && !tidy && !s->close_now)
        return;
    s->job_out = true;
    mr_worker_submit(s->store.loop->workers, MR_LANE_STATE, &s->job);
}

void mr_runner_submit(struct mr_store *store, struct mr_call *call)
{
    struct mr_runner *s = MR_OF(store, struct mr_runner, store);
    assert(!s->db_closed);
    calls_put(&s->waiting, call);
    go_on(s);
}

void mr_runner_ending(struct mr_store *store)
{
    MR_OF(store, struct mr_runner, store)->ending = true;
}

void mr_runner_close(struct mr_store *store, void (*cb)(void *arg), void *arg)
{
    struct mr_runner *s = MR_OF(store, struct mr_runner, store);
    assert(!s->closing);
    s->closing = true;
    s->ending = true;
    s->close_cb = cb;
    s->close_arg = arg;
    go_on(s);
}

struct mr_db *mr_runner_db(struct mr_store *store)
{
    return MR_OF(store, struct mr_runner, store)->db;
}

struct mr_store *mr_runner_new(struct mr_loop *loop, const struct mr_driver *driver, struct mr_db *db,
                               const struct mr_store_facts *facts)
{
    struct mr_runner *s = calloc(1, sizeof *s);
    assert(s);
    *s = (struct mr_runner){
        .store = {.driver = driver, .loop = loop, .facts = *facts, .ahead_us = db->ahead_us},
        .job = {.run = job_run, .done = job_done},
        .db = db,
        .commits = mr_metric0(loop->metrics, MR_M_STATE_COMMITS),
        .commit_seconds = mr_metric0(loop->metrics, MR_M_STATE_COMMIT_SECONDS),
    };
    int rc = uv_timer_init(&loop->uv, &s->retry);
    assert(rc == 0);
    return &s->store;
}
