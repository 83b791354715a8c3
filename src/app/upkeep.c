/* SPDX-License-Identifier: Apache-2.0 */
/* upkeep.c - what is looked at again and again: pauses, back-offs, the instance's lease, free disk, retention, the
 * clock. */
#include "app.h"

#include "millrace/file.h"

#include <stdlib.h>

enum {
    TICK_MS = 500, /* a pause is seen within a second */
    LEASE_MS = 30000,
    RENEW_TICKS = 20,  /* 10 s */
    DISK_TICKS = 10,   /* 5 s */
    QUARANTINE_TICKS = 60,  /* 30 s */
    KEEP_TICKS = 7200, /* an hour */
    ONCE_TICKS = 20,   /* 10 s */
    CLOCK_STEP_US = 5000000,
    CLOCK_ALERT_MS = 600000,
    SEEN_DAYS = 8
};

static void on_paused(void *arg, const struct mr_err *err, const struct mr_str *sources, size_t count)
{
    struct app *a = arg;
    a->paused_out = false;
    app_next(a);
    if (err->code != MR_OK || a->phase != APP_RUNNING)
        return;
    for (struct mr_source *s = a->sources; s; s = s->next) {
        bool paused = false;
        for (size_t i = 0; i < count; i++)
            paused |= mr_str_eq(sources[i], mr_str_c(s->name));
        source_pause(s, paused);
    }
}

static void on_renewed(void *arg, const struct mr_err *err)
{
    struct app *a = arg;
    a->renew_out = false;
    app_next(a);
    if (err->code == MR_EEPOCH && !a->epoch_lost) {
        a->epoch_lost = true; /* we were away for longer than our lease, and others went on for us */
        app_fail(a, 1, err);
    }
}

static void on_finished(void *arg, const struct mr_err *err)
{
    struct app *a = arg;
    a->finish_out = false;
    if (err->code != MR_OK && a->phase == APP_RUNNING)
        mr_log_warn(a->log, NULL, "others_not_finished", MR_S("why", err->msg));
    app_next(a);
}

static void on_kept(void *arg, const struct mr_err *err, const struct mr_kept *kept)
{
    struct app *a = arg;
    a->keep_out = false;
    app_next(a);
    if (err->code != MR_OK) {
        mr_log_warn(a->log, NULL, "retention_failed", MR_S("why", err->msg));
        return;
    }
    if (kept->seen_shortened_to != MR_NO_DAY) {
        char day[11];
        mr_day_text(kept->seen_shortened_to, day);
        mr_alert_open(a->loop.alerts, MR_A_DEDUP_WINDOW, NULL, NULL,
                      "event ids before %s were dropped early: more than dedup.max_ids", day);
    } else {
        mr_alert_close(a->loop.alerts, MR_A_DEDUP_WINDOW, NULL, NULL);
    }
}

/* The widest window and the largest count that any door asks for. */
static void keep(struct app *a)
{
    const struct mr_config *c = a->config->config;
    int64_t now_us = mr_wall_us();
    /* At least the default window: a source that left the config by mistake finds its ids again. */
    struct mr_keep keep = {.before_us = now_us - c->state.keep_ms * 1000,
                           .seen_before_day = mr_day_of(now_us) - SEEN_DAYS,
                           .seen_max_ids = 0};
    for (const struct mr_source *s = a->sources; s; s = s->next)
        if (s->door->keeps && s->opened) {
            int64_t window_ms = 0;
            uint64_t ids = 0;
            s->door->keeps(s->self, &window_ms, &ids);
            int32_t day = mr_day_of(now_us - window_ms * 1000) - 1;
            keep.seen_before_day = day < keep.seen_before_day ? day : keep.seen_before_day;
            keep.seen_max_ids = ids > keep.seen_max_ids ? ids : keep.seen_max_ids;
        }
    if (keep.seen_max_ids == 0)
        keep.seen_max_ids = UINT64_MAX; /* no source dedups now: its days pass by themselves */
    a->keep_out = true;
    mr_store_keep(a->store, &keep, on_kept, a);
}

static void disk_run(struct mr_job *job) /* Runs on: worker */
{
    struct app *a = MR_OF(job, struct app, disk_job);
    a->disk.zone_ok = mr_zone_free_bytes(a->zone, &a->disk.zone_free, NULL) == MR_OK;
    a->disk.data_ok = mr_disk_free(a->core.data_dir, &a->disk.data_free, NULL) == MR_OK;
}

static void disk_guard(struct app *a, const char *what, uint64_t free_bytes)
{
    mr_cell_set(mr_metric(a->loop.metrics, MR_M_DISK_FREE, what), (double)free_bytes);
    if (free_bytes < (uint64_t)a->core.disk_reserve)
        mr_alert_open(a->loop.alerts, MR_A_DISK_LOW, NULL, what,
                      "%llu MiB free where the %s lies, less than limits.disk_reserve (%llu MiB)",
                      (unsigned long long)(free_bytes >> 20), what, (unsigned long long)a->core.disk_reserve >> 20);
    else
        mr_alert_close(a->loop.alerts, MR_A_DISK_LOW, NULL, what);
}

static void disk_done(struct mr_job *job, bool canceled)
{
    struct app *a = MR_OF(job, struct app, disk_job);
    a->disk_out = false;
    app_next(a);
    if (canceled)
        return;
    if (a->disk.zone_ok)
        disk_guard(a, "zone", a->disk.zone_free);
    if (a->disk.data_ok)
        disk_guard(a, "queue", a->disk.data_free);
}

/* The wall clock against the monotonic one: NTP slews, a step is news. */
static void clock_look(struct app *a)
{
    int64_t offset_us = mr_wall_us() - mr_mono_us(), step_us = offset_us - a->clock_offset_us;
    uint64_t now_ms = mr_loop_now_ms(&a->loop);
    if (step_us > CLOCK_STEP_US || step_us < -CLOCK_STEP_US) {
        a->clock_alert_ms = now_ms;
        mr_alert_open(a->loop.alerts, MR_A_CLOCK_STEPPED, NULL, NULL, "the wall clock moved by %lld s",
                      (long long)(step_us / 1000000));
    } else if (a->clock_alert_ms && now_ms - a->clock_alert_ms > CLOCK_ALERT_MS) {
        a->clock_alert_ms = 0;
        mr_alert_close(a->loop.alerts, MR_A_CLOCK_STEPPED, NULL, NULL);
    }
    a->clock_offset_us = offset_us;
}

static void count_blocking(void *arg, const struct mr_alert *alert)
{
    *(bool *)arg |= alert->id == MR_A_ZONE_UNWRITABLE || alert->id == MR_A_STATE_FAILED;
}

/* --once has a retry budget: a zone or store that stays away ends it with exit 1; what was captured waits in the queue.
 */
static void patience(struct app *a)
{
    bool blocked = false;
    mr_alerts_each(a->loop.alerts, count_blocking, &blocked);
    a->impatient = blocked ? a->impatient + 1 : 0;
    if (a->impatient == ONCE_TICKS)
        app_out_of_time(a);
}

static void on_tick(uv_timer_t *t)
{
    struct app *a = MR_OF(t, struct app, tick);
    a->ticks++;
    clock_look(a);
    app_next(a);
    if (a->o.once && a->phase == APP_DRAINING)
        patience(a);
    if (a->phase != APP_RUNNING)
        return;
    for (struct mr_source *s = a->sources, *next; s; s = next) {
        next = s->next;
        source_retry(s);
        if (s->state == SOURCE_UP && s->door->tick)
            s->door->tick(s->self);
    }
    if (!a->paused_out) {
        a->paused_out = true;
        mr_store_paused(a->store, on_paused, a);
    }
    if (a->ticks % RENEW_TICKS == 0 && !a->renew_out) {
        a->renew_out = true;
        mr_store_instance_renew(a->store, &a->instance, LEASE_MS, on_renewed, a);
    }
    if (a->ticks % RENEW_TICKS == RENEW_TICKS / 2 && !a->finish_out) {
        a->finish_out = true;
        mr_landings_finish_others(a->landings, on_finished, a);
    }
    if (a->ticks % DISK_TICKS == 1 && !a->disk_out) {
        a->disk_out = true;
        a->disk_job = (struct mr_job){.run = disk_run, .done = disk_done};
        mr_worker_submit(a->loop.workers, MR_LANE_MISC, &a->disk_job);
    }
    if (a->ticks % KEEP_TICKS == 120 && !a->keep_out)
        keep(a);
    if (a->ticks % QUARANTINE_TICKS == 2)
        quarantine_look(a);
}

void upkeep_start(struct app *a)
{
    uv_timer_start(&a->tick, on_tick, TICK_MS, TICK_MS);
}

bool upkeep_busy(const struct app *a)
{
    return a->paused_out || a->renew_out || a->finish_out || a->keep_out || a->disk_out || a->quarantine_out || a->reload_out;
}
