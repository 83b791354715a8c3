/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - `millrace replay`. --landing ID: the landing's row goes to the hub that kept its input; then it is lost no longer.
 * SOURCE --from TIME: the source's refused requests are judged again by its hub. */
#include "app.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static void replay_end(struct app *a, const struct mr_err *err)
{
    a->replay.busy = false;
    if (err->code != MR_OK) {
        fprintf(stderr, "millrace replay: %s\n", err->msg[0] ? err->msg : mr_code_text(err->code));
        a->exit_code = 1;
    }
    app_next(a);
}

static void on_noted(void *arg, const struct mr_err *err)
{
    replay_end(arg, err);
}

struct replay_ask {
    struct app *app;
    int64_t number;
    char source[256];
};

static void on_replayed(void *arg, const struct mr_err *err, int64_t records)
{
    struct replay_ask *ask = arg;
    struct app *a = ask->app;
    if (err->code != MR_OK) {
        free(ask);
        replay_end(a, err);
        return;
    }
    printf("%lld records landed again, run landing-%s\n", (long long)records, a->o.replay_landing);
    mr_alert_close(a->loop.alerts, MR_A_LANDING_LOST, ask->source, NULL);
    mr_store_replayed(a->store, ask->number, on_noted, a);
    free(ask);
}

static void on_landing(void *arg, const struct mr_err *err, const struct mr_landing_row *landings, size_t count)
{
    struct app *a = arg;
    struct mr_err told = *err;
    if (err->code == MR_OK && count == 0)
        mr_err_set(&told, MR_ENOENT, "no landing %s; millrace verify names those that are lost", a->o.replay_landing);
    else if (err->code == MR_OK && !mr_str_eq(landings[0].state, MR_STR("lost")))
        mr_err_set(&told, MR_EEXIST, "landing %s is not lost, it is %.*s: nothing to replay", a->o.replay_landing,
                   (int)landings[0].state.n, landings[0].state.p);
    if (told.code != MR_OK) {
        replay_end(a, &told);
        return;
    }
    char run[160];
    snprintf(run, sizeof run, "landing-%s", a->o.replay_landing);
    for (size_t i = 0; i < a->config->config->doors_count; i++) {
        const struct mr_door *d = a->config->config->doors[i];
        if (!a->hubs[i].started || !d->hub_replay)
            continue;
        struct replay_ask *ask = malloc(sizeof *ask);
        assert(ask);
        *ask = (struct replay_ask){.app = a, .number = landings[0].number};
        snprintf(ask->source, sizeof ask->source, "%.*s", (int)landings[0].source.n, landings[0].source.p);
        d->hub_replay(a->hubs[i].hub, &landings[0], mr_str_c(run), on_replayed, ask);
        return;
    }
    mr_err_set(&told, MR_ENOENT, "no door has kept the input of landing %s", a->o.replay_landing);
    replay_end(a, &told);
}

static void on_requeued(void *arg, const struct mr_err *err, const struct mr_requeued *counts)
{
    struct app *a = arg;
    printf("%lld refused requests accepted now, %lld still refused, %lld not readable\n", (long long)counts->queued, (long long)counts->refused,
           (long long)counts->unreadable);
    replay_end(a, err);
}

static void requeue_begin(struct app *a)
{
    const struct mr_config *c = a->config->config;
    ptrdiff_t at = mr_config_find(c, a->o.requeue->source);
    struct mr_err err = {0};
    size_t door = at >= 0 ? c->sources[at].door : 0;
    a->replay.busy = true;
    if (at < 0)
        mr_err_set(&err, MR_ENOENT, "no source \"%s\" in %s", a->o.requeue->source, a->o.config_path);
    else if (!c->doors[door]->hub_requeue || !a->hubs[door].started)
        mr_err_set(&err, MR_ENOENT, "source %s keeps no refused requests", a->o.requeue->source);
    if (err.code != MR_OK) {
        replay_end(a, &err);
        return;
    }
    a->replay.requeue = (struct mr_requeue){.source = a->o.requeue->source,
                                            .options = c->sources[at].options,
                                            .from_us = a->o.requeue->from_us,
                                            .to_us = a->o.requeue->to_us,
                                            .cause = a->o.requeue->cause};
    c->doors[door]->hub_requeue(a->hubs[door].hub, &a->replay.requeue, on_requeued, a);
}

void replay_begin(struct app *a)
{
    if (a->o.requeue && !a->failed)
        requeue_begin(a);
    if (!a->o.replay_landing || a->failed)
        return;
    a->replay.busy = true;
    mr_store_landings(a->store, mr_str_c(a->o.replay_landing), 0, 1, on_landing, a);
}

bool replay_done(struct app *a)
{
    return !a->replay.busy;
}
