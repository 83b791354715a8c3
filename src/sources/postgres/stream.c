/* SPDX-License-Identifier: Apache-2.0 */
/* stream.c - when a stream runs, and what becomes of a run. */
#include "postgres.h"

#include "millrace/hash.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { ONCE_PATIENCE_MS = 60000 };

static int64_t next_run(const struct stream *s, int64_t now_us)
{
    int64_t next_us = mr_schedule_next(&s->schedule, s->started_us, now_us, mr_random_u64());
    return next_us == MR_NO_TIME ? INT64_MAX : next_us;
}

/* ---- life ---- */

void streams_make(struct postgres *pg)
{
    const struct pg_stream_options *all = pg->o->streams.items;
    struct mr_metrics *m = pg->loop->metrics;
    pg->streams = calloc(pg->o->streams.count, sizeof *pg->streams);
    assert(pg->streams);
    for (; pg->streams_count < pg->o->streams.count; pg->streams_count++) {
        struct stream *s = &pg->streams[pg->streams_count];
        s->pg = pg;
        s->o = &all[pg->streams_count];
        s->name = s->o->name;
        s->schedule = postgres_schedule(pg->o, s->o);
        s->started_us = MR_NO_TIME;
        s->next_us = next_run(s, mr_wall_us());
        s->told_ms = mr_loop_now_ms(pg->loop) + 1; /* what was open when the last process ended */
        s->backoff = mr_backoff_of(200, 30000);
        keyscan_make(s);
        s->rows = mr_metric(m, MR_M_POSTGRES_ROWS, pg->name, s->name);
        s->bytes = mr_metric(m, MR_M_POSTGRES_BYTES, pg->name, s->name);
        s->pulls = mr_metric(m, MR_M_POSTGRES_RUNS, pg->name, s->name, "done");
        s->failed_pulls = mr_metric(m, MR_M_POSTGRES_RUNS, pg->name, s->name, "failed");
        s->late = mr_metric(m, MR_M_POSTGRES_LATE, pg->name, s->name);
        s->last_pull = mr_metric(m, MR_M_POSTGRES_LAST, pg->name, s->name);
        s->lag = mr_metric(m, MR_M_POSTGRES_LAG, pg->name, s->name);
        s->xid_lag = mr_metric(m, MR_M_POSTGRES_XID_LAG, pg->name, s->name);
        s->ids_held = mr_metric(m, MR_M_POSTGRES_IDS, pg->name, s->name);
        s->pages_left = mr_metric(m, MR_M_POSTGRES_PAGES_LEFT, pg->name, s->name);
    }
}

void streams_free(struct postgres *pg)
{
    for (size_t i = 0; i < pg->streams_count; i++) {
        struct stream *s = &pg->streams[i];
        for (struct relation *r = s->relations, *next; r; r = next) {
            next = r->next;
            relation_free(r);
        }
        keyscan_free(s);
        probe_free(&s->probe);
        pg_columns_free(&s->columns);
        free(s->columns_json);
    }
    free(pg->streams);
    pg->streams = NULL;
    pg->streams_count = 0;
}

bool streams_quiet(const struct postgres *pg)
{
    for (size_t i = 0; i < pg->streams_count; i++)
        if (pg->streams[i].state != STREAM_IDLE)
            return false;
    return true;
}

/* ---- when ---- */

static bool due(const struct stream *s, int64_t now_us)
{
    const struct postgres *pg = s->pg;
    if (s->state != STREAM_IDLE || mr_loop_now_ms(pg->loop) < s->retry_at_ms)
        return false;
    if (pg->finishing)
        return !s->once_done;
    return s->wanted || s->retry_at_ms || now_us >= s->next_us;
}

void streams_pump(struct postgres *pg)
{
    int64_t now_us = mr_wall_us();
    if (!pg->up || pg->paused || pg->draining || pg->drained || pg->stopping || (pg->core->once && !pg->finishing))
        return;
    for (size_t i = 0; i < pg->streams_count; i++) {
        struct stream *s = &pg->streams[i];
        if (!due(s, now_us))
            continue;
        s->wanted = false;
        s->retry_at_ms = 0;
        s->started_us = now_us;
        s->next_us = next_run(s, now_us);
        run_begin(s);
    }
}

/* ---- what became of it ---- */

static void record(struct stream *s, const char *outcome, const char *error)
{
    char bounds[128] = "{}";
    if (s->snapshot_us && s->xmax)
        snprintf(bounds, sizeof bounds, "{\"xmin\":%" PRIu64 ",\"xmax\":%" PRIu64 "}", s->xmin, s->xmax);
    const struct mr_run run = {.source = mr_str_c(s->pg->name),
                                   .stream = mr_str_c(s->name),
                                   .outcome = mr_str_c(outcome),
                                   .error = mr_str_c(error),
                                   .started_us = s->started_us,
                                   .ended_us = mr_wall_us(),
                                   .rows = s->rows_run,
                                   .bytes = s->bytes_run,
                                   .bounds = mr_str_c(bounds)};
    mr_source_ran(s->pg->src, &run);
}

static void judge_counts(struct stream *s)
{
    struct mr_alerts *alerts = s->pg->loop->alerts;
    int64_t newest = MR_NO_TIME;
    struct mr_buf why;
    for (const struct relation *r = s->relations; r; r = r->next) {
        if (r->there && r->at.newest > newest)
            newest = r->at.newest;
    }
    if (!s->pulled)
        return;
    mr_buf_init(&why, 4096);
    if (pg_expect_judge(&s->o->expect.rows, &s->history, s->rows_run, &why) != PG_USUAL)
        mr_alert_open(alerts, MR_A_POSTGRES_ROWS, s->pg->name, s->name, "%s", mr_buf_cstr(&why));
    else
        mr_alert_close(alerts, MR_A_POSTGRES_ROWS, s->pg->name, s->name);
    mr_buf_free(&why);
    s->history = s->history_next;
    if (newest != MR_NO_TIME)
        mr_cell_set(s->lag, (double)(s->snapshot_us - newest) / 1e6);
    if (s->o->expect.fresh_ms && newest != MR_NO_TIME && s->snapshot_us - newest > s->o->expect.fresh_ms * 1000)
        mr_alert_open(alerts, MR_A_POSTGRES_FRESH, s->pg->name, s->name, "the newest watermark is %" PRId64 " s old", (s->snapshot_us - newest) / 1000000);
    else
        mr_alert_close(alerts, MR_A_POSTGRES_FRESH, s->pg->name, s->name);
}

static void measure(struct stream *s)
{
    uint64_t ids = 0, lag = 0;
    for (const struct relation *r = s->relations; r; r = r->next) {
        ids += pg_ids_count(r->ids);
        if (r->there && r->at.x && s->xmax > r->at.x && s->xmax - r->at.x > lag)
            lag = s->xmax - r->at.x;
    }
    mr_cell_set(s->ids_held, (double)ids);
    mr_cell_set(s->xid_lag, (double)lag);
    mr_cell_set(s->last_pull, (double)mr_wall_us() / 1e6);
    mr_cell_add(s->pulls, 1);
    mr_cell_add(s->bytes, s->bytes_run);
    mr_cell_add(s->late, s->late_run);
}

void stream_done(struct stream *s)
{
    s->failures = 0;
    mr_backoff_reset(&s->backoff);
    trouble_stream(s, &(struct mr_err){0});
    record(s, "done", "");
    measure(s);
    judge_counts(s);
    if (s->late_run)
        s->told_ms = mr_loop_now_ms(s->pg->loop);
    if (s->late_run)
        mr_alert_open(s->pg->loop->alerts, MR_A_POSTGRES_LATE, s->pg->name, s->name, "the sweep found %" PRId64 " row versions whose watermark lay below the range; they have landed, with `late`", s->late_run);
    s->once_done = true;
}

void stream_fail(struct stream *s, const struct mr_err *err)
{
    struct postgres *pg = s->pg;
    uint64_t now_ms = mr_loop_now_ms(pg->loop);
    if (err->code == MR_ECANCELED) {
        s->next_us = 0; /* it did not take place */
        return;
    }
    if (s->failures++ == 0 || s->failing_since_ms == 0)
        s->failing_since_ms = now_ms;
    mr_cell_add(s->failed_pulls, 1);
    record(s, "failed", err->msg);
    trouble_stream(s, err);
    bool at_once = err->code == MR_EFENCED && s->failures < 10;
    s->retry_at_ms = now_ms + 1 + (at_once ? 0 : (uint64_t)mr_backoff_next(&s->backoff, mr_random_u64()));
    if (pg->finishing && (mr_code_class(err->code) == MR_CLASS_USER || now_ms - s->failing_since_ms > ONCE_PATIENCE_MS)) {
        s->once_done = true;
        if (pg->finish_err.code == MR_OK) {
            pg->finish_err = *err;
            mr_err_wrap(&pg->finish_err, "stream %s", s->name);
        }
    }
}
