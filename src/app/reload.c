/* SPDX-License-Identifier: Apache-2.0 */
/* reload.c - SIGHUP: the file is read again on a worker, refused whole with its errors, or taken whole.
 *
 * Sources that are the same keep running on the config that they were made from; changed ones stop and start, gone ones
 * stop for good, new ones start. What cannot change without losing data (data_dir, state, zone.url, environment,
 * listen) refuses the reload. */
#include "app.h"

#include <assert.h>
#include <stdlib.h>

static void load_run(struct mr_job *job) /* Runs on: worker */
{
    struct app *a = MR_OF(job, struct app, reload_job);
    a->reload_config = NULL;
    a->reload_errors = NULL;
    if (mr_config_load(a->o.config_path, a->o.doors, a->o.doors_count, &a->reload_config, &a->reload_errors) != MR_OK)
        a->reload_config = NULL;
}

static void refuse(struct app *a)
{
    struct mr_buf text;
    mr_buf_init(&text, 1 << 16);
    mr_config_errors_text(a->reload_errors, &text);
    while (text.n && text.p[text.n - 1] == '\n')
        text.n--;
    mr_log_error(a->log, NULL, "reload_refused", MR_S("why", mr_buf_cstr(&text)),
                 MR_S("hint", "the old config keeps serving"));
    mr_alert_open(a->loop.alerts, MR_A_RELOAD_REFUSED, NULL, NULL, "%s", mr_buf_cstr(&text));
    mr_buf_free(&text);
    mr_config_errors_free(a->reload_errors);
    mr_config_free(a->reload_config);
}

static void take_sources(struct app *a, struct held_config *old)
{
    struct mr_config *next = a->config->config;
    bool *kept = calloc(next->sources_count ? next->sources_count : 1, sizeof *kept);
    bool *paused = calloc(next->sources_count ? next->sources_count : 1, sizeof *paused);
    assert(kept && paused);
    for (struct mr_source *s = a->sources, *after; s; s = after) {
        after = s->next;
        ptrdiff_t at = mr_config_find(next, s->name);
        if (at >= 0)
            paused[at] = s->paused; /* a changed source stays paused */
        if (at >= 0 && s->config == old && mr_config_source_same(old->config, s->config_index, next, (size_t)at))
            kept[at] = true;
        else if (at >= 0 && s->config != old &&
                 mr_config_source_same(s->config->config, s->config_index, next, (size_t)at))
            kept[at] = true;
        else
            source_stop(s, true);
    }
    for (size_t i = 0; i < next->sources_count; i++)
        if (!kept[i]) {
            struct mr_source *s = source_new(a, a->config, i);
            source_pause(s, paused[i]);
            source_start(s);
        }
    free(kept);
    free(paused);
}

static void take(struct app *a)
{
    struct held_config *old = a->config;
    a->config = calloc(1, sizeof *a->config);
    assert(a->config);
    *a->config = (struct held_config){a->reload_config, 1};
    struct mr_config *c = a->config->config;
    struct mr_landings_options options;
    app_landings_options(a, &options);
    mr_landings_reconfigure(a->landings, &options);
    mr_log_level(a->log, (enum mr_level)c->log.level);
    a->core.disk_reserve = c->limits.disk_reserve;
    notifier_url(a->notifier, c->alerts.url);
    for (size_t i = 0; i < c->doors_count; i++)
        if (a->hubs[i].hub) /* started or not: its options go with the old config */
            c->doors[i]->hub_reload(a->hubs[i].hub, c->hub_options[i], app_sources_of(c, i));
        else
            app_hub_start(a, i);
    take_sources(a, old);
    for (size_t i = 0; i < c->doors_count; i++)
        app_hub_served(a, i);
    config_drop(old);
    mr_alert_close(a->loop.alerts, MR_A_RELOAD_REFUSED, NULL, NULL);
    mr_log_info(a->log, NULL, "reloaded", MR_I("sources", c->sources_count));
}

static void load_done(struct mr_job *job, bool canceled)
{
    struct app *a = MR_OF(job, struct app, reload_job);
    a->reload_out = false;
    app_next(a);
    if (canceled || a->phase != APP_RUNNING) {
        mr_config_free(a->reload_config);
        if (a->reload_errors)
            mr_config_errors_free(a->reload_errors);
        return;
    }
    if (a->reload_config && mr_config_diff_fixed(a->config->config, a->reload_config, &a->reload_errors) == MR_OK)
        take(a);
    else
        refuse(a);
    if (a->reload_again) {
        a->reload_again = false;
        reload(a);
    }
}

void reload(struct app *a)
{
    if (a->phase != APP_RUNNING)
        return;
    if (a->reload_out) {
        a->reload_again = true;
        return;
    }
    a->reload_out = true;
    a->reload_job = (struct mr_job){.run = load_run, .done = load_done};
    mr_worker_submit(a->loop.workers, MR_LANE_MISC, &a->reload_job);
}
