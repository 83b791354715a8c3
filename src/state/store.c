/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - the interface's front: each function copies what it was given into a call and submits it to the driver. */
#include "millrace/worker.h"
#include "state/driver.h"

#include "millrace/clock.h"

#include <assert.h>
#include <stdlib.h>

/* -- open and close ------------------------------------------------------------------------------------------------ */

struct refusal { /* the answer to an URL that no driver takes; given on a later turn, as every answer */
    struct mr_job job;
    struct mr_err err;
    mr_store_open_cb cb;
    void *arg;
};

static void refuse_run(struct mr_job *job)
{
    (void)job;
}

static void refuse_done(struct mr_job *job, bool canceled)
{
    (void)canceled;
    struct refusal *r = MR_OF(job, struct refusal, job);
    r->cb(r->arg, &r->err, NULL);
    free(r);
}

static void refuse(struct mr_loop *loop, const char *url, mr_store_open_cb cb, void *arg)
{
    struct refusal *r = calloc(1, sizeof *r);
    assert(r);
    r->cb = cb;
    r->arg = arg;
    r->job.run = refuse_run;
    r->job.done = refuse_done;
    /* the rest of the URL may hold a password */
    mr_err_set(&r->err, MR_ECONFIG, "state: unknown kind of store \"%.*s\"; use sqlite or a postgres:// URL",
               (int)strcspn(url, ":"), url);
    mr_worker_submit(loop->workers, MR_LANE_STATE, &r->job);
}

void mr_store_open(struct mr_loop *loop, const struct mr_store_options *options, mr_store_open_cb cb, void *arg)
{
    static const struct mr_driver *const drivers[] = {&mr_driver_sqlite, &mr_driver_postgres, &mr_driver_postgresql};
    for (size_t i = 0; i < MR_COUNT(drivers); i++) {
        size_t n = strlen(drivers[i]->scheme);
        if (strncmp(options->url, drivers[i]->scheme, n) == 0) {
            drivers[i]->open(loop, options, options->url + n, cb, arg);
            return;
        }
    }
    refuse(loop, options->url, cb, arg);
}

void mr_store_ending(struct mr_store *s)
{
    s->driver->ending(s);
}

void mr_store_close(struct mr_store *s, void (*cb)(void *arg), void *arg)
{
    s->driver->close(s, cb, arg);
}

int64_t mr_store_now_us(const struct mr_store *s)
{
    return s->ahead_us ? mr_mono_us() + s->ahead_us : mr_wall_us();
}

const struct mr_store_facts *mr_store_facts(const struct mr_store *s)
{
    return &s->facts;
}

/* -- calls --------------------------------------------------------------------------------------------------------- */

static struct mr_call *call_new(struct mr_store *s, enum mr_call_kind kind, void *arg)
{
    struct mr_call *c = calloc(1, sizeof *c);
    assert(c);
    c->kind = kind;
    c->store = s;
    c->arg = arg;
    return c;
}

static void submit(struct mr_call *c)
{
    c->store->driver->submit(c->store, c);
}

static void set_source(struct mr_call *c, struct mr_str source, struct mr_str stream, struct mr_str part)
{
    c->source = mr_call_copy(c, source);
    c->stream = mr_call_copy(c, stream);
    c->part = mr_call_copy(c, part);
}

void mr_store_position(struct mr_store *s, struct mr_str source, struct mr_str stream, struct mr_str part,
                       mr_position_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_POSITION, arg);
    set_source(c, source, stream, part);
    c->cb.position = cb;
    submit(c);
}

void mr_store_positions(struct mr_store *s, struct mr_str source, mr_positions_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_POSITIONS, arg);
    c->source = mr_call_copy(c, source);
    c->cb.positions = cb;
    submit(c);
}

void mr_store_rows(struct mr_store *s, struct mr_str source, struct mr_str stream, struct mr_str kind,
                   struct mr_str after, size_t limit, mr_rows_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_ROWS, arg);
    set_source(c, source, stream, (struct mr_str){NULL, 0});
    c->rows_kind = mr_call_copy(c, kind);
    c->after = mr_call_copy(c, after);
    c->limit = limit;
    c->cb.rows = cb;
    submit(c);
}

void mr_store_seen(struct mr_store *s, const struct mr_seen *ids, const int32_t *first_days, size_t count,
                   mr_seen_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_SEEN, arg);
    c->ids = ids;
    c->first_days = first_days;
    c->ids_count = count;
    c->cb.seen = cb;
    submit(c);
}

void mr_store_instance_begin(struct mr_store *s, int64_t lease_ms, mr_instance_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_BEGIN, arg);
    c->lease_ms = lease_ms;
    c->cb.instance = cb;
    submit(c);
}

void mr_store_instance_renew(struct mr_store *s, const struct mr_instance *instance, int64_t lease_ms, mr_done_cb cb,
                             void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_RENEW, arg);
    c->instance = *instance;
    c->lease_ms = lease_ms;
    c->cb.done = cb;
    submit(c);
}

void mr_store_instance_end(struct mr_store *s, const struct mr_instance *instance, mr_done_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_END, arg);
    c->instance = *instance;
    c->cb.done = cb;
    submit(c);
}

void mr_store_sweep(struct mr_store *s, const struct mr_instance *self, bool all, mr_instances_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_SWEEP, arg);
    c->instance = *self;
    c->flag = all;
    c->cb.instances = cb;
    submit(c);
}

void mr_store_living(struct mr_store *s, mr_instances_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_LIVING, arg);
    c->cb.instances = cb;
    submit(c);
}

void mr_store_decide(struct mr_store *s, const struct mr_decision *decision, mr_decided_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_DECIDE, arg);
    c->decision = decision;
    c->decided.sealed_through = MR_NO_DAY;
    c->cb.decided = cb;
    submit(c);
}

void mr_store_published(struct mr_store *s, const int64_t *numbers, size_t count, mr_done_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_PUBLISHED, arg);
    c->numbers = mr_call_alloc(c, count * sizeof *numbers);
    if (count)
        memcpy(c->numbers, numbers, count * sizeof *numbers);
    c->numbers_count = count;
    c->cb.done = cb;
    submit(c);
}

void mr_store_lost(struct mr_store *s, int64_t number, mr_done_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_LOST, arg);
    c->number = number;
    c->cb.done = cb;
    submit(c);
}

void mr_store_replayed(struct mr_store *s, int64_t number, mr_done_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_REPLAYED, arg);
    c->number = number;
    c->cb.done = cb;
    submit(c);
}

void mr_store_lost_landings(struct mr_store *s, mr_landings_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_LOST_LANDINGS, arg);
    c->cb.landings = cb;
    submit(c);
}

void mr_store_unpublished(struct mr_store *s, const struct mr_instance *self, mr_landings_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_UNPUBLISHED, arg);
    c->instance = *self;
    c->cb.landings = cb;
    submit(c);
}

void mr_store_landings(struct mr_store *s, struct mr_str landing, int64_t after, size_t limit, mr_landings_cb cb,
                       void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_LANDINGS, arg);
    c->landing = mr_call_copy(c, landing);
    c->number = after;
    c->limit = limit;
    c->cb.landings = cb;
    submit(c);
}

void mr_store_stage_begin(struct mr_store *s, const struct mr_instance *instance, struct mr_str landing,
                          struct mr_str source, int32_t day, mr_done_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_STAGE_BEGIN, arg);
    c->instance = *instance;
    c->landing = mr_call_copy(c, landing);
    c->source = mr_call_copy(c, source);
    c->day = day;
    c->cb.done = cb;
    submit(c);
}

void mr_store_stage_end(struct mr_store *s, struct mr_str landing, mr_done_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_STAGE_END, arg);
    c->landing = mr_call_copy(c, landing);
    c->cb.done = cb;
    submit(c);
}

void mr_store_upload(struct mr_store *s, const struct mr_instance *instance, const struct mr_upload *upload, mr_done_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_UPLOAD, arg);
    c->instance = *instance;
    c->landing = mr_call_copy(c, upload->landing);
    c->paths = mr_call_alloc(c, sizeof *c->paths);
    c->paths[0] = mr_call_copy(c, upload->path);
    c->value = mr_call_copy(c, upload->id);
    c->flag = upload->orphan;
    c->cb.done = cb;
    submit(c);
}

void mr_store_uploads_gone(struct mr_store *s, const struct mr_str *paths, size_t count, mr_done_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_UPLOADS_GONE, arg);
    c->paths = mr_call_alloc(c, count * sizeof *c->paths);
    for (size_t i = 0; i < count; i++)
        c->paths[i] = mr_call_copy(c, paths[i]);
    c->paths_count = count;
    c->cb.done = cb;
    submit(c);
}

void mr_store_uploads(struct mr_store *s, mr_uploads_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_UPLOADS, arg);
    c->cb.uploads = cb;
    submit(c);
}

void mr_store_seal(struct mr_store *s, int32_t day, mr_sealed_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_SEAL, arg);
    c->day = day;
    c->cb.sealed = cb;
    submit(c);
}

void mr_store_day_counts(struct mr_store *s, int32_t day, mr_day_counts_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_DAY_COUNTS, arg);
    c->day = day;
    c->cb.day_counts = cb;
    submit(c);
}

void mr_store_position_set(struct mr_store *s, struct mr_str source, struct mr_str stream, struct mr_str part,
                           struct mr_str value, mr_done_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_POSITION_SET, arg);
    set_source(c, source, stream, part);
    c->value = mr_call_copy(c, value);
    c->cb.done = cb;
    submit(c);
}

void mr_store_pause(struct mr_store *s, struct mr_str source, bool paused, mr_done_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_PAUSE, arg);
    c->source = mr_call_copy(c, source);
    c->flag = paused;
    c->cb.done = cb;
    submit(c);
}

void mr_store_paused(struct mr_store *s, mr_paused_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_PAUSED, arg);
    c->cb.paused = cb;
    submit(c);
}

void mr_store_backup(struct mr_store *s, const char *path, mr_done_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_BACKUP, arg);
    c->path = mr_call_copy(c, mr_str_c(path)).p;
    c->cb.done = cb;
    submit(c);
}

void mr_store_adopt(struct mr_store *s, int64_t number, mr_done_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_ADOPT, arg);
    c->number = number;
    c->cb.done = cb;
    submit(c);
}

void mr_store_run(struct mr_store *s, const struct mr_run *run, mr_done_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_RUN, arg);
    c->run = *run;
    c->run.source = mr_call_copy(c, run->source);
    c->run.stream = mr_call_copy(c, run->stream);
    c->run.outcome = mr_call_copy(c, run->outcome);
    c->run.error = mr_call_copy(c, run->error);
    c->run.bounds = mr_call_copy(c, run->bounds);
    c->cb.done = cb;
    submit(c);
}

void mr_store_last_runs(struct mr_store *s, struct mr_str source, mr_runs_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_LAST_RUNS, arg);
    c->source = mr_call_copy(c, source);
    c->cb.runs = cb;
    submit(c);
}

void mr_store_alert(struct mr_store *s, const struct mr_alert *alert, mr_done_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_ALERT, arg);
    c->alert = *alert;
    c->alert.source = mr_call_copy(c, mr_str_c(alert->source)).p;
    c->alert.stream = mr_call_copy(c, mr_str_c(alert->stream)).p;
    c->alert.text = mr_call_copy(c, mr_str_c(alert->text)).p;
    c->cb.done = cb;
    submit(c);
}

void mr_store_alerts(struct mr_store *s, mr_alerts_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_ALERTS, arg);
    c->cb.alerts = cb;
    submit(c);
}

void mr_store_keep(struct mr_store *s, const struct mr_keep *keep, mr_kept_cb cb, void *arg)
{
    struct mr_call *c = call_new(s, MR_CALL_KEEP, arg);
    c->keep = *keep;
    c->kept.seen_shortened_to = MR_NO_DAY;
    c->cb.kept = cb;
    submit(c);
}
