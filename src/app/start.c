/* SPDX-License-Identifier: Apache-2.0 */
/* start.c - the steps of the start: lock, store, zone, instance, landings, alerts, hubs, sources, listeners. */
#include "app.h"

#include <assert.h>
#include <stdlib.h>

enum { LEASE_MS = 30000 };

static void lock_begin(struct app *a)
{
    struct mr_err err = {0};
    enum mr_code code = app_lock(a->config->config->data_dir, &a->lock_fd, &err);
    step_code(a, code, &err, "start");
}

static void on_store(void *arg, const struct mr_err *err, struct mr_store *store)
{
    struct app *a = arg;
    a->store = store;
    a->core.store = store;
    a->core.store_id = store ? mr_store_facts(store)->id : NULL;
    step_end(a, err, "state store");
}

static void store_begin(struct app *a)
{
    struct mr_err err = {0};
    char url[4096];
    if (app_store_url(a->config->config, url, &err) != MR_OK) {
        step_end(a, &err, "state store");
        return;
    }
    char home[33];
    if (app_home(a->config->config->data_dir, home, &err) != MR_OK) {
        step_end(a, &err, "data_dir");
        return;
    }
    struct mr_store_options options = {.url = url, .create = true, .home = home};
    mr_store_open(&a->loop, &options, on_store, a);
}

static void on_instance(void *arg, const struct mr_err *err, const struct mr_instance *instance)
{
    struct app *a = arg;
    if (err->code == MR_OK)
        a->instance = *instance;
    step_end(a, err, "instance");
}

static void instance_begin(struct app *a)
{
    mr_store_instance_begin(a->store, LEASE_MS, on_instance, a);
}

void app_landings_options(struct app *a, struct mr_landings_options *out)
{
    static const enum mr_codec_config codecs[] = {
        [MR_CODEC_NONE] = MR_LANDINGS_NONE, [MR_CODEC_ZSTD] = MR_LANDINGS_ZSTD, [MR_CODEC_GZIP] = MR_LANDINGS_GZIP};
    const struct mr_config *c = a->config->config;
    *out = (struct mr_landings_options){.loop = &a->loop,
                                        .store = a->store,
                                        .zone = a->zone,
                                        .instance = &a->instance,
                                        .codec = codecs[c->zone.compression],
                                        .roll_size = c->zone.roll.size,
                                        .roll_age_ms = c->zone.roll.age_ms,
                                        .seal_after_ms = c->zone.seal_after_ms,
                                        .write_sealed = c->zone.seal,
                                        .sole = true};
}

static void on_resumed(void *arg, const struct mr_err *err)
{
    step_end(arg, err, "resume");
}

static void landings_begin(struct app *a)
{
    struct mr_landings_options options;
    struct mr_err err = {0};
    app_landings_options(a, &options);
    if (mr_landings_new(&options, &a->landings, &err) != MR_OK) {
        step_end(a, &err, "zone");
        return;
    }
    a->core.landings = a->landings;
    mr_landings_resume(a->landings, on_resumed, a);
}

static void on_alert_kept(void *arg, const struct mr_err *err)
{
    struct app *a = arg;
    if (err->code != MR_OK)
        mr_log_warn(a->log, NULL, "alert_not_kept", MR_S("why", err->msg));
}

static void alert_sink(void *arg, const struct mr_alert *alert)
{
    struct app *a = arg;
    if (a->store)
        mr_store_alert(a->store, alert, on_alert_kept, a);
    if (a->notifier)
        notifier_alert(a->notifier, alert);
}

/* What told of the process that ended, not of what it left: if its cause is still there, it opens again by itself. */
static bool is_over(enum mr_alert_id id)
{
    return id == MR_A_RELOAD_REFUSED || id == MR_A_SIGNATURE_BURST || id == MR_A_CLOCK_STEPPED ||
           id == MR_A_QUEUE_SYNC_FAILED || id == MR_A_QUEUE_FULL || id == MR_A_QUEUE_CORRUPT || id == MR_A_STATE_FAILED;
}

static void on_alerts(void *arg, const struct mr_err *err, const struct mr_alert *alerts, size_t count)
{
    struct app *a = arg;
    for (size_t i = 0; i < count; i++)
        mr_alert_restore(a->loop.alerts, &alerts[i]);
    mr_alerts_set_sink(a->loop.alerts, alert_sink, a);
    for (size_t i = 0; i < count; i++)
        if (is_over(alerts[i].id))
            mr_alert_close(a->loop.alerts, alerts[i].id, alerts[i].source, alerts[i].stream);
    step_end(a, err, "alerts");
}

static void alerts_begin(struct app *a)
{
    mr_store_alerts(a->store, on_alerts, a);
}

size_t app_sources_of(const struct mr_config *config, size_t door)
{
    size_t count = 0;
    for (size_t i = 0; i < config->sources_count; i++)
        count += config->sources[i].door == door;
    return count;
}

static void on_hub_started(void *arg, const struct mr_err *err)
{
    struct hub_slot *slot = arg;
    struct app *a = slot->app;
    slot->busy = false;
    slot->started = err->code == MR_OK;
    if (err->code != MR_OK) {
        struct mr_err told = *err;
        mr_err_wrap(&told, "%s", a->config->config->doors[slot->door]->name);
        app_fail(a, app_exit_code(err->code), &told);
        return;
    }
    if (a->phase == APP_RUNNING)
        app_hub_served(a, slot->door);
    app_next(a);
}

void app_hub_start(struct app *a, size_t door)
{
    const struct mr_config *c = a->config->config;
    const struct mr_door *d = c->doors[door];
    struct hub_slot *slot = &a->hubs[door];
    size_t sources = app_sources_of(c, door);
    struct mr_err err = {0};
    if (!d->hub_open || slot->hub || (sources == 0 && !d->hub_wanted(c->data_dir)))
        return;
    slot->hub = calloc(1, d->hub_size);
    assert(slot->hub);
    if (d->hub_open(slot->hub, &a->core, c->hub_options[door], sources, &err) != MR_OK) {
        app_fail(a, app_exit_code(err.code), &err);
        return;
    }
    slot->busy = true;
    d->hub_start(slot->hub, on_hub_started, slot);
}

void app_hub_served(struct app *a, size_t door)
{
    const struct mr_door *d = a->config->config->doors[door];
    struct mr_err err = {0};
    if (!a->o.once && a->hubs[door].started && d->hub_serve && d->hub_serve(a->hubs[door].hub, &err) != MR_OK)
        app_fail(a, 1, &err);
}

static void hubs_begin(struct app *a)
{
    for (size_t i = 0; i < a->config->config->doors_count && !a->failed; i++)
        app_hub_start(a, i);
}

bool hubs_idle(struct app *a)
{
    for (size_t i = 0; i < a->config->config->doors_count; i++)
        if (a->hubs[i].busy)
            return false;
    return true;
}

static void on_paused(void *arg, const struct mr_err *err, const struct mr_str *sources, size_t count)
{
    struct app *a = arg;
    for (struct mr_source *s = a->sources; s && err->code == MR_OK; s = s->next)
        for (size_t i = 0; i < count; i++)
            if (mr_str_eq(sources[i], mr_str_c(s->name)))
                source_pause(s, true);
    step_end(a, err, "paused sources");
}

static void sources_begin(struct app *a)
{
    for (size_t i = 0; i < a->config->config->sources_count; i++)
        source_new(a, a->config, i);
    mr_store_paused(a->store, on_paused, a);
}

static void up_begin(struct app *a)
{
    for (struct mr_source *s = a->sources; s; s = s->next)
        if (!(a->o.once && s->paused) && !a->o.replay_landing && !a->o.replay)
            source_start(s);
}

/* A door that serves opens only when each of its sources has come up, or has failed to: it answers for all of them. */
static bool served_up(struct app *a)
{
    for (const struct mr_source *s = a->sources; s; s = s->next)
        if (s->door->hub_serve && s->state == SOURCE_STARTING)
            return false;
    return true;
}

static void listen_begin(struct app *a)
{
    struct mr_err err = {0};
    for (size_t i = 0; i < a->config->config->doors_count && !a->failed; i++)
        app_hub_served(a, i);
    if (a->failed)
        return;
    struct mr_admin_options options = {.loop = &a->loop,
                                       .listen = a->config->config->admin.listen,
                                       .ready = app_ready,
                                       .status = app_status,
                                       .refresh = app_refresh,
                                       .arg = a};
    if (!a->o.once && mr_admin_listen(&options, &a->admin, &err) != MR_OK) {
        app_fail(a, 1, &err);
        return;
    }
    step_finish(a);
}

static void running_begin(struct app *a)
{
    a->phase = APP_RUNNING;
    upkeep_start(a);
    mr_log_info(a->log, NULL, "ready", MR_S("version", MR_VERSION), MR_I("sources", a->config->config->sources_count),
                MR_S("zone", a->config->config->zone.url), MR_I("admin_port", a->admin ? mr_admin_port(a->admin) : 0));
    if (a->o.on_ready)
        a->o.on_ready(a->o.arg, a);
    if (a->o.once)
        app_stop(a, a->o.replay_landing || a->o.replay ? "replay" : "once");
}

const struct app_step app_start_steps[] = {
    {"lock", lock_begin, NULL},         {"store", store_begin, NULL},       {"zone", zone_begin, NULL},
    {"instance", instance_begin, NULL}, {"landings", landings_begin, NULL}, {"alerts", alerts_begin, NULL},
    {"hubs", hubs_begin, hubs_idle},    {"sources", sources_begin, NULL},   {"up", up_begin, served_up},
    {"listen", listen_begin, NULL},     {"running", running_begin, NULL},   {0},
};
