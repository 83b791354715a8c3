/* SPDX-License-Identifier: Apache-2.0 */
/* stop.c - the steps of the stop: sources and hubs land what is captured, then everything is let go in the other order. Each skips what was never made. */
#include "app.h"

#include <stdlib.h>

enum { HURRY_MS = 2000 /* for a far zone, once nothing is waited for: to abort what is staged */ };

static bool source_is_drained(const struct mr_source *s)
{
    return s->drained || s->finished || s->state == SOURCE_DOWN || s->state == SOURCE_BACKOFF;
}

static bool out_of_time(const struct app *a)
{
    return a->failed || a->deadline_passed;
}

static void drain_begin(struct app *a)
{
    for (struct mr_source *s = a->sources; s; s = s->next)
        if (a->o.once && s->paused)
            mr_log_warn(a->log, s->name, "skipped", MR_S("why", "the source is paused"),
                        MR_S("hint", "millrace resume -c FILE SOURCE"));
}

/* Looked at again whenever something changes: a source that is still starting is asked once it is up. */
static bool drain_done(struct app *a)
{
    bool all = true;
    if (out_of_time(a))
        return true;
    for (struct mr_source *s = a->sources, *next; s; s = next) {
        next = s->next;
        if (s->state == SOURCE_UP && !s->draining) {
            s->draining = true;
            a->o.once ? s->door->once(s->self) : s->door->drain(s->self);
        }
        if (a->o.once && s->state == SOURCE_BACKOFF)
            a->exit_code = 1;
        all &= source_is_drained(s);
    }
    return all;
}

static void on_hub_landed(void *arg, const struct mr_err *err)
{
    struct hub_slot *slot = arg;
    struct app *a = slot->app;
    slot->busy = false;
    if (err->code != MR_OK) {
        mr_log_error(a->log, NULL, "not_all_landed", MR_S("door", a->config->config->doors[slot->door]->name),
                     MR_S("why", err->msg));
        a->exit_code = a->exit_code > 1 ? a->exit_code : 1;
    }
    app_next(a);
}

static void hubs_drain_begin(struct app *a)
{
    for (size_t i = 0; i < a->config->config->doors_count && !out_of_time(a); i++) {
        const struct mr_door *d = a->config->config->doors[i];
        struct hub_slot *slot = &a->hubs[i];
        if (!slot->started || a->o.replay_landing)
            continue;
        slot->busy = true;
        (a->o.once ? d->hub_once : d->hub_drain)(slot->hub, on_hub_landed, slot);
    }
}

static bool hubs_drain_done(struct app *a)
{
    return hubs_idle(a) || out_of_time(a);
}

static void landings_drain_begin(struct app *a)
{
    if (a->landings && !out_of_time(a))
        mr_landings_drain(a->landings);
}

static bool landings_drain_done(struct app *a) /* looked at on each tick */
{
    return !a->landings || mr_landings_busy(a->landings) == 0 || out_of_time(a);
}

static void sources_stop_begin(struct app *a)
{
    a->phase = APP_STOPPING;
    if (a->zone)
        mr_zone_hurry(a->zone, HURRY_MS);
    if (a->store)
        mr_store_ending(a->store); /* a commit in doubt must not hold up whoever waits for it */
    uv_timer_stop(&a->deadline);
    for (struct mr_source *s = a->sources, *next; s; s = next) {
        next = s->next;
        source_stop(s, true);
    }
}

static bool sources_stop_done(struct app *a)
{
    return !a->sources;
}

static void on_hub_stopped(void *arg)
{
    struct hub_slot *slot = arg;
    slot->busy = false;
    free(slot->hub);
    slot->hub = NULL;
    app_next(slot->app);
}

static void hubs_stop_begin(struct app *a)
{
    for (size_t i = 0; i < a->config->config->doors_count; i++)
        if (a->hubs[i].hub) {
            a->hubs[i].busy = true;
            a->config->config->doors[i]->hub_stop(a->hubs[i].hub, on_hub_stopped, &a->hubs[i]);
        }
}

static void on_closed(void *arg)
{
    step_finish(arg);
}

static void landings_close_begin(struct app *a)
{
    a->landings ? mr_landings_close(a->landings, on_closed, a) : step_finish(a);
    a->landings = NULL;
}

static void admin_close_begin(struct app *a)
{
    a->admin ? mr_admin_close(a->admin, on_closed, a) : step_finish(a);
    a->admin = NULL;
}

static void upkeep_stop_begin(struct app *a)
{
    uv_timer_stop(&a->tick);
}

static bool upkeep_stop_done(struct app *a)
{
    return !upkeep_busy(a);
}

static void on_instance_ended(void *arg, const struct mr_err *err)
{
    (void)err; /* the next start ends it */
    step_finish(arg);
}

static void instance_end_begin(struct app *a)
{
    a->instance.id[0] ? mr_store_instance_end(a->store, &a->instance, on_instance_ended, a) : step_finish(a);
}

static void client_close_begin(struct app *a)
{
    mr_client_close(a->client, on_closed, a);
}

static void notifier_close_begin(struct app *a)
{
    struct notifier *n = a->notifier;
    a->notifier = NULL;
    notifier_close(n, on_closed, a);
}

static void store_close_begin(struct app *a)
{
    struct mr_store *store = a->store;
    if (a->loop.alerts)
        mr_alerts_set_sink(a->loop.alerts, NULL, NULL);
    a->store = NULL;
    store ? mr_store_close(store, on_closed, a) : step_finish(a);
}

static void on_handle_closed(uv_handle_t *h)
{
    (void)h;
}

static void handles_begin(struct app *a)
{
    a->ended = true;
    uv_handle_t *handles[] = {(uv_handle_t *)&a->sigterm, (uv_handle_t *)&a->sigint,   (uv_handle_t *)&a->sighup,
                              (uv_handle_t *)&a->tick,    (uv_handle_t *)&a->deadline, (uv_handle_t *)&a->poke};
    for (size_t i = 0; i < MR_COUNT(handles); i++)
        uv_close(handles[i], on_handle_closed);
    a->step_done = true;
}

const struct app_step app_stop_steps[] = {
    {"replay", replay_begin, replay_done},
    {"drain", drain_begin, drain_done},
    {"hubs_drain", hubs_drain_begin, hubs_drain_done},
    {"landings_drain", landings_drain_begin, landings_drain_done},
    {"sources_stop", sources_stop_begin, sources_stop_done},
    {"hubs_stop", hubs_stop_begin, hubs_idle},
    {"landings_close", landings_close_begin, NULL},
    {"admin_close", admin_close_begin, NULL},
    {"upkeep_stop", upkeep_stop_begin, upkeep_stop_done},
    {"instance_end", instance_end_begin, NULL},
    {"notifier_close", notifier_close_begin, NULL},
    {"zone_close", zone_close_begin, NULL},
    {"client_close", client_close_begin, NULL},
    {"store_close", store_close_begin, NULL},
    {"handles", handles_begin, NULL},
    {0},
};
