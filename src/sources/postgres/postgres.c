/* SPDX-License-Identifier: Apache-2.0 */
/* postgres.c - the door: the life of one source.
 *
 * happy path    start: up at once; streams run when they are due. drain: runs end, what is decided is published. stop: connections closed, down
 * ways to fail  a server that does not answer, or refuses, is no failure of the source: it waits, and says so (trouble.c)
 * on close      a connection that is being made is left to its thread */
#include "postgres.h"

#include "millrace/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { BEAT_MS = 50 };

static void maybe_finished(struct postgres *pg)
{
    if (!pg->finishing || pg->finished || !streams_quiet(pg) || pg->flights)
        return;
    for (size_t i = 0; i < pg->streams_count; i++)
        if (!pg->streams[i].once_done)
            return;
    pg->finished = true;
    mr_source_finished(pg->src, &pg->finish_err);
}

static void maybe_drained(struct postgres *pg)
{
    if (!pg->draining || !streams_quiet(pg) || pg->flights)
        return;
    pg->draining = false;
    pg->drained = true;
    mr_source_drained(pg->src);
}

static void on_closed(uv_handle_t *handle)
{
    struct postgres *pg = handle->data;
    pg->closing--;
    postgres_pump(pg);
}

static bool undecided(const struct postgres *pg)
{
    for (const struct flight *x = pg->flights; x; x = x->next)
        if (!x->decided)
            return true;
    return false;
}

static void maybe_stopped(struct postgres *pg)
{
    if (!pg->stopping || pg->closed || !streams_quiet(pg) || undecided(pg))
        return;
    if (!pg->let_go) {
        pg->let_go = true;
        pg->closing++; /* all of it is asked for before any of it may be the last */
        pool_close(&pg->readers);
        pool_close(&pg->primary);
        listen_close(pg);
        for (size_t i = 0; i < pg->streams_count; i++) {
            pg->streams[i].timer.data = pg;
            pg->closing++;
            uv_close((uv_handle_t *)&pg->streams[i].timer, on_closed);
        }
        if (pg->handles) {
            pg->closing++;
            uv_close((uv_handle_t *)&pg->beat, on_closed);
        }
        pg->closing--;
    }
    if (pg->closing)
        return;
    pg->closed = true;
    mr_source_down(pg->src);
}

void postgres_pump(struct postgres *pg)
{
    if (pg->closed || pg->pumping)
        return;
    pg->pumping = true;
    if (!pg->stopping) {
        pool_pump(&pg->readers);
        pool_pump(&pg->primary);
        listen_pump(pg);
        streams_pump(pg);
        maybe_finished(pg);
        maybe_drained(pg);
    }
    pg->pumping = false;
    maybe_stopped(pg);
}

static void on_beat(uv_timer_t *beat)
{
    postgres_pump(beat->data);
}

/* ---- life ---- */

static enum mr_code open_(void *self, struct mr_source *src, const void *options, struct mr_err *err)
{
    struct postgres *pg = self;
    pg->src = src;
    pg->o = options;
    pg->core = mr_source_core(src);
    pg->loop = pg->core->loop;
    pg->name = mr_source_name(src);
    pg->run = "";
    pg->has_primary = pg->o->primary_dsn != NULL;
    pg->primary_password = pg->o->primary_password.value ? pg->o->primary_password.value : pg->o->password.value;
    size_t memory = (size_t)pg->o->parallel * (INTAKE_BYTES + 2 * SLICE_BYTES) + keyscan_memory(pg->o);
    pg->share = mr_share_new(pg->loop->budget, pg->name, memory, NULL, NULL);
    if (!mr_share_take(pg->share, memory))
        return mr_err_set(err, MR_EBUSY, "source %s: limits.memory has no %zu bytes left for %" PRId64 " connections: raise the one or lower `parallel`", pg->name, memory, pg->o->parallel);
    pg->conflicts = mr_metric(pg->loop->metrics, MR_M_POSTGRES_CONFLICTS, pg->name);
    pg->hidden = mr_metric(pg->loop->metrics, MR_M_POSTGRES_HIDDEN, pg->name);
    pg->replica_lag = mr_metric(pg->loop->metrics, MR_M_POSTGRES_REPLICA_LAG, pg->name);
    pg->xid_age = mr_metric(pg->loop->metrics, MR_M_POSTGRES_XID_AGE, pg->name);
    return MR_OK;
}

static void start(void *self)
{
    struct postgres *pg = self;
    streams_make(pg);
    pool_init(&pg->readers, pg, (size_t)pg->o->parallel, pg->o->dsn, pg->o->password.value);
    pool_init(&pg->primary, pg, pg->has_primary ? 1 : 0, pg->o->primary_dsn, pg->primary_password);
    pg->primary.what = "primary";
    for (size_t i = 0; i < pg->streams_count; i++) {
        uv_timer_init(&pg->loop->uv, &pg->streams[i].timer);
        pg->streams[i].timer.data = &pg->streams[i];
    }
    uv_timer_init(&pg->loop->uv, &pg->beat);
    pg->beat.data = pg;
    pg->handles = true;
    uv_timer_start(&pg->beat, on_beat, BEAT_MS, BEAT_MS);
    pg->up = true;
    mr_source_up(pg->src);
    postgres_pump(pg);
}

static void cancel_runs(struct postgres *pg)
{
    const struct mr_err canceled = {.code = MR_ECANCELED, .msg = "stopping"};
    for (size_t i = 0; i < pg->streams_count; i++)
        if (pg->streams[i].state != STREAM_IDLE && pg->streams[i].state != STREAM_DECIDING)
            run_fail(&pg->streams[i], &canceled);
}

static void stop(void *self)
{
    struct postgres *pg = self;
    pg->stopping = true;
    pg->up = false;
    cancel_runs(pg);
    maybe_stopped(pg);
}

static void close_(void *self)
{
    struct postgres *pg = self;
    flights_leave(pg);
    streams_free(pg);
    mr_share_free(pg->share);
}

static void pause_(void *self)
{
    struct postgres *pg = self;
    pg->paused = true;
    cancel_runs(pg);
}

static void resume(void *self)
{
    struct postgres *pg = self;
    pg->paused = false;
    postgres_pump(pg);
}

static void drain(void *self)
{
    struct postgres *pg = self;
    pg->draining = true;
    cancel_runs(pg);
    postgres_pump(pg);
}

static void once(void *self)
{
    struct postgres *pg = self;
    pg->finishing = true;
    postgres_pump(pg);
}

/* ---- what people see ---- */

static void status(const void *self, struct mr_buf *json)
{
    static const char *const states[] = {"idle", "waiting", "looking", "loading", "walking", "probing", "pulling", "scanning", "deciding", "ending"};
    static const char *const methods[] = {"auto", "exact", "xid", "window"};
    const struct postgres *pg = self;
    mr_buf_printf(json, ",\"standby\":%s,\"streams\":[", pg->standby ? "true" : "false");
    for (size_t i = 0; i < pg->streams_count; i++) {
        const struct stream *s = &pg->streams[i];
        mr_buf_puts(json, i ? ",{\"stream\":" : "{\"stream\":");
        mr_json_put_string(json, mr_str_c(s->name));
        mr_buf_printf(json, ",\"state\":\"%s\",\"method\":\"%s\",\"rows\":%.0f,\"failures\":%u,\"pages_left\":%.0f}", states[s->state], methods[s->method], mr_cell_value(s->rows), s->failures,
                      mr_cell_value(s->pages_left));
    }
    mr_buf_putc(json, ']');
}

static void tick(void *self)
{
    trouble_age(self);
}

extern const struct mr_door mr_door_postgres;
const struct mr_door mr_door_postgres = {
    .name = "postgres",
    .doc = "Tables of a Postgres server: each version of a row that is there at a run, once.",
    .options = postgres_rows,
    .options_size = sizeof(struct postgres_options),
    .self_size = sizeof(struct postgres),
    .validate = postgres_validate,
    .open = open_,
    .start = start,
    .pause = pause_,
    .resume = resume,
    .drain = drain,
    .once = once,
    .replay = postgres_replay,
    .stop = stop,
    .close = close_,
    .check = postgres_check,
    .status = status,
    .tick = tick,
};
