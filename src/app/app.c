/* SPDX-License-Identifier: Apache-2.0 */
/* app.c - the root object: start, drain and stop, each as a table of steps in one visible order.
 *
 * A step begins something and is done when its condition holds; app_next() looks again. A failed start goes over to the
 * stop table, whose steps skip what was never made, so that there is one way out.
 *
 * happy path    start table -> running -> a signal -> stop table (drain first) -> exit 0
 * ways to fail  a start step: exit 1 or 2 with the reason; a drain that takes longer than shutdown_timeout: exit 1,
 *               nothing is lost, the queue has it
 * on close      a second signal ends the drain at once */
#include "app.h"

#include "millrace/budget.h"
#include "millrace/client.h"
#include "millrace/file.h"
#include "sources/doors.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum { LEASE_MS = 30000, HURRY_MS = 2000 /* for a far zone, once nothing is waited for: to abort what is staged */ };

struct app_step {
    const char *name;
    void (*begin)(struct app *a);
    bool (*done)(struct app *a); /* NULL: when a->step_done */
};
static const struct app_step start_steps[12], stop_steps[16];

/* ---- helpers for cli too ---- */

void config_hold(struct held_config *c)
{
    c->refs++;
}

void config_drop(struct held_config *c)
{
    if (!c || --c->refs > 0)
        return;
    mr_config_free(c->config);
    free(c);
}

enum mr_code app_store_url(const struct mr_config *config, char out[4096], struct mr_err *err)
{
    int n = strcmp(config->state.url, "sqlite") == 0 ? snprintf(out, 4096, "sqlite:%s/state.db", config->data_dir)
                                                     : snprintf(out, 4096, "%s", config->state.url);
    return n < 4096 ? MR_OK : mr_err_set(err, MR_ETOOBIG, "path of the state store");
}

/* ---- steps ---- */

void app_next(struct app *a)
{
    if (a->handles_made && !a->ended)
        uv_async_send(&a->poke);
}

static void go_to(struct app *a, const struct app_step *steps)
{
    a->steps = steps;
    a->step = 0;
    a->step_begun = a->step_done = false;
}

static void stop_during_start(struct app *a)
{
    mr_log_info(a->log, NULL, "draining", MR_S("why", a->stop_wanted));
    a->phase = APP_DRAINING;
    a->deadline_passed = true; /* nothing to drain */
    go_to(a, stop_steps);
}

static void look(struct app *a)
{
    while (a->steps && a->steps[a->step].name) {
        const struct app_step *s = &a->steps[a->step];
        if (!a->step_begun) {
            a->step_begun = true;
            a->step_done = false;
            mr_log_debug(a->log, NULL, "step", MR_S("name", s->name));
            const struct app_step *table = a->steps;
            s->begin(a);
            if (a->steps != table)
                continue; /* it failed: the stop table is at hand */
        }
        if (!(s->done ? s->done(a) : a->step_done))
            return;
        a->step++;
        a->step_begun = false;
        if (a->stop_wanted && a->phase == APP_STARTING)
            stop_during_start(a);
    }
}

static void on_poke(uv_async_t *poke)
{
    look(MR_OF(poke, struct app, poke));
}

static void step_finish(struct app *a)
{
    a->step_done = true;
    app_next(a);
}

void app_fail(struct app *a, int exit_code, const struct mr_err *err)
{
    if (a->exit_code < exit_code)
        a->exit_code = exit_code;
    mr_log_error(a->log, NULL, a->phase == APP_STARTING ? "start_failed" : "failed",
                 MR_S("why", err->msg[0] ? err->msg : mr_code_text(err->code)));
    a->failed = true;
    if (a->phase >= APP_DRAINING)
        return;
    a->phase = APP_DRAINING;
    go_to(a, stop_steps);
    app_next(a);
}

static int exit_code_of(enum mr_code code)
{
    return code == MR_EMISMATCH || code == MR_EINUSE || code == MR_ECONFIG ? 2 : 1;
}

void step_end(struct app *a, const struct mr_err *err, const char *what)
{
    if (err->code == MR_OK || (err->code == MR_ECANCELED && a->stop_wanted)) {
        step_finish(a);
        return;
    }
    struct mr_err told = *err;
    mr_err_wrap(&told, "%s", what);
    app_fail(a, exit_code_of(err->code), &told);
}

/* For what fills err only on failure. */
static void step_code(struct app *a, enum mr_code code, struct mr_err *err, const char *what)
{
    err->code = code;
    step_end(a, err, what);
}

/* -- start: lock, store, zone, instance, landings, alerts, hubs, sources, listeners -- */

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
        app_fail(a, exit_code_of(err->code), &told);
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
        app_fail(a, exit_code_of(err.code), &err);
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

static bool hubs_idle(struct app *a)
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
        if (!(a->o.once && s->paused) && !a->o.replay_landing && !a->o.requeue)
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
        app_stop(a, a->o.replay_landing || a->o.requeue ? "replay" : "once");
}

static const struct app_step start_steps[12] = {
    {"lock", lock_begin, NULL},         {"store", store_begin, NULL},       {"zone", zone_begin, NULL},
    {"instance", instance_begin, NULL}, {"landings", landings_begin, NULL}, {"alerts", alerts_begin, NULL},
    {"hubs", hubs_begin, hubs_idle},    {"sources", sources_begin, NULL},   {"up", up_begin, served_up},
    {"listen", listen_begin, NULL},     {"running", running_begin, NULL},   {0},
};

/* -- stop: sources and hubs land what is captured, then everything is let go in the other order -- */

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

static const struct app_step stop_steps[16] = {
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

/* ---- signals ---- */

void app_out_of_time(struct app *a)
{
    a->deadline_passed = true;
    a->exit_code = a->exit_code > 1 ? a->exit_code : 1;
    mr_log_warn(a->log, NULL, "drain_out_of_time", MR_S("why", "shutdown_timeout passed, or a second signal"),
                MR_S("hint", "nothing is lost: the next start lands what is left"));
    app_next(a);
}

static void on_deadline(uv_timer_t *t)
{
    app_out_of_time(MR_OF(t, struct app, deadline));
}

void app_stop(struct app *a, const char *why)
{
    if (a->phase ==
        APP_STARTING) { /* its step has calls out: let go of what there is when it is done; nothing was captured */
        a->stop_wanted = why;
        if (a->zone)
            mr_zone_hurry(a->zone, 0);
        return;
    }
    if (a->phase >= APP_DRAINING) {
        a->told_to_stop = true;
        if (!a->deadline_passed && a->phase == APP_DRAINING)
            on_deadline(&a->deadline);
        return;
    }
    a->phase = APP_DRAINING;
    mr_log_info(a->log, NULL, "draining", MR_S("why", why));
    if (!a->o.once)
        uv_timer_start(&a->deadline, on_deadline, (uint64_t)a->config->config->shutdown_timeout_ms, 0);
    go_to(a, stop_steps);
    app_next(a);
}

static void on_signal(uv_signal_t *h, int number)
{
    struct app *a = number == SIGTERM ? MR_OF(h, struct app, sigterm) : MR_OF(h, struct app, sigint);
    app_stop(a, number == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void on_sighup(uv_signal_t *h, int number)
{
    (void)number;
    reload(MR_OF(h, struct app, sighup));
}

static void handles_make(struct app *a)
{
    uv_loop_t *uv = &a->loop.uv;
    uv_signal_init(uv, &a->sigterm);
    uv_signal_init(uv, &a->sigint);
    uv_signal_init(uv, &a->sighup);
    uv_timer_init(uv, &a->tick);
    uv_timer_init(uv, &a->deadline);
    uv_async_init(uv, &a->poke, on_poke);
    uv_signal_start(&a->sigterm, on_signal, SIGTERM);
    uv_signal_start(&a->sigint, on_signal, SIGINT);
    uv_signal_start(&a->sighup, on_sighup, SIGHUP);
    a->handles_made = true;
}

/* Hosts that are asked directly, by commas, as the client wants them; the caller's. */
char *app_proxy_except(const struct mr_config *c)
{
    struct mr_buf text;
    mr_buf_init(&text, 1 << 20);
    for (size_t i = 0; i < c->proxy.except.count; i++)
        mr_buf_printf(&text, "%s%s", i ? "," : "", c->proxy.except.items[i]);
    mr_buf_putc(&text, '\0');
    assert(!text.failed);
    return text.p;
}

static bool make(struct app *a, struct mr_err *err)
{
    const struct mr_config *c = a->config->config;
    a->log = mr_log_new(STDERR_FILENO, (enum mr_log_format)c->log.format, (enum mr_level)c->log.level);
    struct mr_loop_options options = {
        .memory_limit = (size_t)c->limits.memory, .log = a->log, .serving = !a->o.once};
    if (mr_loop_init(&a->loop, &options, err) != MR_OK)
        return false;
    a->data_dir = strdup(c->data_dir);
    a->environment = strdup(c->environment);
    assert(a->data_dir && a->environment);
    char *except = app_proxy_except(c);
    enum mr_code code = mr_client_new(&a->loop, &(struct mr_client_options){.proxy = c->proxy.url, .no_proxy = except}, &a->client, err);
    free(except);
    if (code != MR_OK)
        return false;
    if (!(a->notifier = notifier_new(&a->loop, a->client, a->environment))) {
        mr_err_set(err, MR_ENOMEM, "alerts");
        return false;
    }
    notifier_url(a->notifier, c->alerts.url);
    a->core = (struct mr_core){.loop = &a->loop,
                               .client = a->client,
                               .data_dir = a->data_dir,
                               .environment = a->environment,
                               .disk_reserve = c->limits.disk_reserve,
                               .once = a->o.once};
    a->hubs = calloc(c->doors_count, sizeof *a->hubs);
    assert(a->hubs);
    for (size_t i = 0; i < c->doors_count; i++) {
        a->hubs[i].app = a;
        a->hubs[i].door = i;
    }
    a->clock_offset_us = mr_wall_us() - mr_mono_us();
    mr_cell_set(mr_metric(a->loop.metrics, MR_M_BUILD_INFO, MR_VERSION), 1);
    mr_cell_set(mr_metric0(a->loop.metrics, MR_M_START_TIME), (double)mr_wall_us() / 1e6);
    return true;
}

/* Of a process that begins a new life: a signal that comes in between is held until there is somebody to take it. */
static void hold_signals(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(how, &set, NULL);
}

/* One life: an instance from its beginning to its end. again: its epoch was ended by others, and nobody wants us to stop. */
static int live(const struct mr_app_options *options, bool *again)
{
    *again = false;
    struct app *a = calloc(1, sizeof *a);
    assert(a);
    a->o = *options;
    if (!a->o.doors) {
        a->o.doors = mr_doors;
        a->o.doors_count = mr_doors_count;
    }
    a->lock_fd = -1;
    struct mr_config *config;
    struct mr_config_errors *errors;
    if (mr_config_load(options->config_path, a->o.doors, a->o.doors_count, &config, &errors) != MR_OK) {
        mr_config_errors_print(errors, stderr);
        mr_config_errors_free(errors);
        free(a);
        return 2;
    }
    a->config = calloc(1, sizeof *a->config);
    assert(a->config);
    *a->config = (struct held_config){config, 1};
    struct mr_err err = {0};
    signal(SIGPIPE, SIG_IGN);
    if (make(a, &err)) {
        handles_make(a);
        hold_signals(SIG_UNBLOCK);
        go_to(a, start_steps);
        app_next(a);
        uv_run(&a->loop.uv, UV_RUN_DEFAULT);
        hold_signals(SIG_BLOCK);
        mr_loop_close(&a->loop);
        *again = a->epoch_lost && !a->told_to_stop && !a->o.once && !a->o.requeue && !a->o.replay_landing;
    } else {
        fprintf(stderr, "millrace: %s\n", err.msg);
        a->exit_code = 1;
    }
    if (a->lock_fd >= 0)
        close(a->lock_fd);
    if (*again)
        mr_log_warn(a->log, NULL, "begins_anew", MR_S("why", "its epoch was ended by others; what its queue holds lands under a new one"));
    else
        mr_log_info(a->log, NULL, "stopped", MR_I("exit_code", a->exit_code));
    mr_log_free(a->log);
    config_drop(a->config);
    free(a->hubs);
    free(a->data_dir);
    free(a->environment);
    int exit_code = a->exit_code;
    free(a);
    return exit_code;
}

int mr_app_run(const struct mr_app_options *options)
{
    bool again;
    int exit_code;
    do
        exit_code = live(options, &again);
    while (again);
    hold_signals(SIG_UNBLOCK);
    return exit_code;
}
