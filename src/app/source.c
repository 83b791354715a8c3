/* SPDX-License-Identifier: Apache-2.0 */
/* source.c - life of one source: the state machine, back-off, pause, and the answers to its door's questions.
 *
 *        ┌──────────────────────────────┐
 *   DOWN ─► STARTING ─► UP ─► STOPPING ─► DOWN
 *              └► BACKOFF ◄┘ │
 *                   └────────┴► STARTING (after its time) or STOPPING */
#include "app.h"

#include <assert.h>
#include <stdlib.h>

#define B(state) (1u << SOURCE_##state)
static const struct {
    const char *name;
    unsigned next;
} states[SOURCE_STATES] = {
    [SOURCE_DOWN] = {"down", B(STARTING)},          [SOURCE_STARTING] = {"starting", B(UP) | B(BACKOFF) | B(STOPPING)},
    [SOURCE_UP] = {"up", B(BACKOFF) | B(STOPPING)}, [SOURCE_BACKOFF] = {"backoff", B(STARTING) | B(STOPPING)},
    [SOURCE_STOPPING] = {"stopping", B(DOWN)},
};

const char *source_state_name(const struct mr_source *s)
{
    return states[s->state].name;
}

/* The only place that writes s->state. `why` is for a person. */
static void source_go(struct mr_source *s, enum source_state to, const char *why)
{
    assert(states[s->state].next & (1u << to));
    mr_log_info(s->app->log, s->name, "state", MR_S("to", states[to].name), MR_S("was", states[s->state].name),
                MR_S("why", why));
    s->state = to;
    mr_cell_set(s->up, to == SOURCE_UP);
}

struct mr_source *source_new(struct app *a, struct held_config *config, size_t index)
{
    struct mr_source *s = calloc(1, sizeof *s);
    assert(s);
    const struct mr_config_source *row = &config->config->sources[index];
    s->app = a;
    s->name = strdup(row->name);
    s->door_index = row->door;
    s->door = config->config->doors[row->door];
    s->config_index = index;
    s->config = config;
    config_hold(config);
    s->self = calloc(1, s->door->self_size);
    assert(s->name && s->self);
    s->backoff = mr_backoff_of(1000, 60000);
    s->up = mr_metric(a->loop.metrics, MR_M_SOURCE_UP, s->name);
    s->paused_cell = mr_metric(a->loop.metrics, MR_M_SOURCE_PAUSED, s->name);
    s->next = a->sources;
    a->sources = s;
    return s;
}

void source_free(struct mr_source *s)
{
    struct mr_source **at = &s->app->sources;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    if (s->opened && s->door->close)
        s->door->close(s->self);
    mr_cell_set(s->up, 0);
    config_drop(s->config);
    free(s->self);
    free(s->name);
    free(s);
}

static void fail(struct mr_source *s, const struct mr_err *err)
{
    s->why = *err;
    int64_t wait_ms = mr_backoff_next(&s->backoff, mr_random_u64());
    s->retry_at_ms = mr_loop_now_ms(&s->app->loop) + (uint64_t)wait_ms;
    source_go(s, SOURCE_BACKOFF, err->msg);
    mr_alert_open(s->app->loop.alerts, MR_A_SOURCE_FAILED, s->name, NULL, "%s", err->msg);
    app_next(s->app);
}

void source_start(struct mr_source *s)
{
    struct mr_err err = {0};
    source_go(s, SOURCE_STARTING, "start");
    if (!s->opened) {
        const struct mr_config_source *row = &s->config->config->sources[s->config_index];
        if (s->door->open(s->self, s, row->options, &err) != MR_OK) {
            s->opened = true; /* close() frees what open() had made */
            fail(s, &err);
            return;
        }
        s->opened = true;
    }
    s->door->start(s->self);
}

void source_retry(struct mr_source *s)
{
    if (s->state == SOURCE_BACKOFF && mr_loop_now_ms(&s->app->loop) >= s->retry_at_ms) {
        s->restart = true;
        source_go(s, SOURCE_STOPPING, "try again");
        s->door->stop(s->self);
    }
}

void source_stop(struct mr_source *s, bool for_good)
{
    s->gone = for_good;
    s->restart = false;
    if (s->state == SOURCE_DOWN) {
        if (for_good)
            source_free(s);
        return;
    }
    if (s->state == SOURCE_STOPPING)
        return;
    source_go(s, SOURCE_STOPPING, s->app->phase == APP_RUNNING ? "no longer in the config, or changed" : "the program ends");
    s->door->stop(s->self);
}

void source_pause(struct mr_source *s, bool paused)
{
    if (s->paused == paused)
        return;
    s->paused = paused;
    mr_cell_set(s->paused_cell, paused);
    mr_log_info(s->app->log, s->name, paused ? "paused" : "resumed", MR_S("why", "by hand"));
    if (s->state != SOURCE_UP)
        return;
    if (paused)
        s->door->pause(s->self);
    else
        s->door->resume(s->self);
}

/* ---- what the door says ---- */

const char *mr_source_name(const struct mr_source *src)
{
    return src->name;
}

const struct mr_core *mr_source_core(const struct mr_source *src)
{
    return &src->app->core;
}

void *mr_source_hub(const struct mr_source *src)
{
    return src->app->hubs[src->door_index].hub;
}

void mr_source_up(struct mr_source *s)
{
    source_go(s, SOURCE_UP, "ready");
    mr_backoff_reset(&s->backoff);
    mr_alert_close(s->app->loop.alerts, MR_A_SOURCE_FAILED, s->name, NULL);
    if (s->paused)
        s->door->pause(s->self);
    app_next(s->app);
}

void mr_source_failed(struct mr_source *s, const struct mr_err *err)
{
    fail(s, err);
}

void mr_source_down(struct mr_source *s)
{
    source_go(s, SOURCE_DOWN, s->gone ? "gone" : s->restart ? "before starting again" : "stopped");
    struct app *a = s->app;
    if (s->gone) {
        source_free(s);
    } else if (s->restart) {
        s->restart = false;
        if (s->door->close)
            s->door->close(s->self);
        memset(s->self, 0, s->door->self_size);
        s->opened = false;
        source_start(s);
    }
    app_next(a);
}

void mr_source_drained(struct mr_source *s)
{
    s->drained = true;
    app_next(s->app);
}

void mr_source_finished(struct mr_source *s, const struct mr_err *err)
{
    s->finished = true;
    if (err->code != MR_OK) {
        mr_log_error(s->app->log, s->name, "once_failed", MR_S("why", err->msg));
        s->app->exit_code = 1;
    }
    app_next(s->app);
}

static void on_run_kept(void *arg, const struct mr_err *err)
{
    struct app *a = arg; /* the source may be gone by now */
    if (err->code != MR_OK && err->code != MR_ECANCELED)
        mr_log_warn(a->log, NULL, "run_not_kept", MR_S("why", err->msg));
}

void mr_source_ran(struct mr_source *s, const struct mr_run *run)
{
    struct mr_run row = *run;
    row.source = mr_str_c(s->name);
    mr_store_run(s->app->store, &row, on_run_kept, s->app);
}

void mr_source_position(struct mr_source *s, struct mr_str stream, struct mr_str part, mr_position_cb cb, void *arg)
{
    mr_store_position(s->app->store, mr_str_c(s->name), stream, part, cb, arg);
}
