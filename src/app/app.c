/* SPDX-License-Identifier: Apache-2.0 */
/* app.c - the root object: its life, from the config to the exit code, along two tables of steps in one visible order (start.c, stop.c).
 *
 * A step begins something and is done when its condition holds; app_next() looks again. A failed start goes over to the
 * stop table, whose steps skip what was never made, so that there is one way out.
 *
 * happy path    start table -> running -> a signal -> stop table (drain first) -> exit 0
 * ways to fail  a start step: exit 1 or 2 with the reason; a drain that takes longer than shutdown_timeout: exit 1,
 *               nothing is lost, the queue has it
 * on close      a second signal ends the drain at once */
#include "app.h"

#include "millrace/client.h"
#include "sources/doors.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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
    go_to(a, app_stop_steps);
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

void step_finish(struct app *a)
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
    go_to(a, app_stop_steps);
    app_next(a);
}

int app_exit_code(enum mr_code code)
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
    app_fail(a, app_exit_code(err->code), &told);
}

/* For what fills err only on failure. */
void step_code(struct app *a, enum mr_code code, struct mr_err *err, const char *what)
{
    err->code = code;
    step_end(a, err, what);
}

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
    go_to(a, app_stop_steps);
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

/* Does anybody wait for our answer? Who only fetches may stage at full pace. (A door that serves and comes by a reload finds the lanes as they are.) */
static bool serving(const struct app *a)
{
    const struct mr_config *c = a->config->config;
    for (size_t i = 0; i < c->sources_count; i++)
        if (c->doors[c->sources[i].door]->hub_serve)
            return !a->o.once;
    return false;
}

static bool make(struct app *a, struct mr_err *err)
{
    const struct mr_config *c = a->config->config;
    a->log = mr_log_new(STDERR_FILENO, (enum mr_log_format)c->log.format, (enum mr_level)c->log.level);
    struct mr_loop_options options = {
        .memory_limit = (size_t)c->limits.memory, .log = a->log, .serving = serving(a)};
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
        go_to(a, app_start_steps);
        app_next(a);
        uv_run(&a->loop.uv, UV_RUN_DEFAULT);
        hold_signals(SIG_BLOCK);
        mr_loop_close(&a->loop);
        *again = a->epoch_lost && !a->told_to_stop && !a->o.once && !a->o.replay && !a->o.replay_landing;
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
