/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - `millrace replay`. --landing ID: the landing's row goes to the hub that kept its input; then it is lost no longer.
 * SOURCE --from: the door lands again what the outside still has, or its hub judges refused requests again. */
#include "app.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static void replay_end(struct app *a, const struct mr_err *err)
{
    a->replay.busy = false;
    if (err->code != MR_OK) {
        fprintf(stderr, "millrace replay: %s\n", err->msg[0] ? err->msg : mr_code_text(err->code));
        a->exit_code = a->exit_code > 1 ? a->exit_code : 1;
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

/* ---- by a door: its source is started, and lands again instead of what it would do ---- */

static void door_replay(struct app *a, struct mr_source *s, const char *run)
{
    snprintf(a->replay.run, sizeof a->replay.run, "%s", run);
    a->replay.what.run = a->replay.run;
    a->replay.source = s;
    s->draining = true; /* it is asked this, and no more */
    source_start(s);
}

static struct mr_source *source_of(struct app *a, struct mr_str name)
{
    for (struct mr_source *s = a->sources; s; s = s->next)
        if (mr_str_eq(mr_str_c(s->name), name))
            return s;
    return NULL;
}

static void door_look(struct app *a)
{
    struct mr_source *s = a->replay.source;
    if (!a->replay.asked && s->state == SOURCE_UP) {
        a->replay.asked = true;
        s->door->replay(s->self, &a->replay.what);
    }
    if (s->finished || s->state == SOURCE_BACKOFF) {
        a->replay.source = NULL;
        struct mr_err err = {0};
        if (s->state == SOURCE_BACKOFF)
            err = s->why;
        else if (a->exit_code != 0)
            mr_err_set(&err, MR_EBUSY, "not all of it has landed; run it again, it goes on where it was");
        printf("%lld record%s landed again, run %s\n", (long long)a->replay.what.records, a->replay.what.records == 1 ? "" : "s", a->replay.run);
        free(a->replay.moves);
        a->replay.moves = NULL;
        if (err.code != MR_OK || a->replay.number == 0) {
            replay_end(a, &err);
            return;
        }
        mr_alert_close(a->loop.alerts, MR_A_LANDING_LOST, s->name, NULL);
        mr_store_replayed(a->store, a->replay.number, on_noted, a);
    }
}

/* ---- --landing ---- */

static bool landing_by_hub(struct app *a, const struct mr_landing_row *landing, const char *run)
{
    for (size_t i = 0; i < a->config->config->doors_count; i++) {
        const struct mr_door *d = a->config->config->doors[i];
        if (!a->hubs[i].started || !d->hub_replay)
            continue;
        struct replay_ask *ask = malloc(sizeof *ask);
        assert(ask);
        *ask = (struct replay_ask){.app = a, .number = landing->number};
        snprintf(ask->source, sizeof ask->source, "%.*s", (int)landing->source.n, landing->source.p);
        d->hub_replay(a->hubs[i].hub, landing, mr_str_c(run), on_replayed, ask);
        return true;
    }
    return false;
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
    struct mr_source *s = source_of(a, landings[0].source);
    if (s && s->door->replay) {
        a->replay.moves = strndup(landings[0].moves.p, landings[0].moves.n);
        assert(a->replay.moves);
        a->replay.what.moves = mr_str_c(a->replay.moves);
        a->replay.number = landings[0].number;
        door_replay(a, s, run);
    } else if (!landing_by_hub(a, &landings[0], run)) {
        mr_err_set(&told, MR_ENOENT, "no door has kept the input of landing %s", a->o.replay_landing);
        replay_end(a, &told);
    }
}

/* ---- SOURCE --from ---- */

static void on_requeued(void *arg, const struct mr_err *err, const struct mr_requeued *counts)
{
    struct app *a = arg;
    printf("%lld refused requests accepted now, %lld still refused, %lld not readable\n", (long long)counts->queued, (long long)counts->refused,
           (long long)counts->unreadable);
    replay_end(a, err);
}

static bool read_time(const char *flag, const char *text, int64_t *us, struct mr_err *err)
{
    if (mr_time_parse(mr_str_c(text), us))
        return true;
    mr_err_set(err, MR_ECONFIG, "%s: a time such as 2026-11-23T02:54:10Z, not \"%s\"", flag, text);
    return false;
}

static void requeue_begin(struct app *a, size_t door, const void *options)
{
    const struct mr_app_replay *o = a->o.replay;
    struct mr_requeue *r = &a->replay.requeue;
    struct mr_err err = {0};
    *r = (struct mr_requeue){.source = o->source, .options = options, .to_us = mr_wall_us(), .cause = o->cause};
    if (!a->config->config->doors[door]->hub_requeue || !a->hubs[door].started)
        mr_err_set(&err, MR_ENOENT, "source %s keeps no refused requests", o->source);
    else if (o->stream || o->run)
        mr_err_set(&err, MR_ECONFIG, "source %s: refused requests are told apart by time and --cause alone", o->source);
    else if (read_time("--from", o->from, &r->from_us, &err) && o->to)
        read_time("--to", o->to, &r->to_us, &err);
    if (err.code != MR_OK) {
        a->exit_code = app_exit_code(err.code);
        replay_end(a, &err);
        return;
    }
    a->config->config->doors[door]->hub_requeue(a->hubs[door].hub, r, on_requeued, a);
}

static void source_begin(struct app *a)
{
    const struct mr_config *c = a->config->config;
    const struct mr_app_replay *o = a->o.replay;
    ptrdiff_t at = mr_config_find(c, o->source);
    struct mr_err err = {0};
    char run[160];
    a->replay.busy = true;
    struct mr_source *s = source_of(a, mr_str_c(o->source));
    if (at < 0 || !s) {
        mr_err_set(&err, MR_ENOENT, "no source \"%s\" in %s", o->source, a->o.config_path);
        replay_end(a, &err);
    } else if (s->door->replay) {
        snprintf(run, sizeof run, "%s%s%s", o->run ? o->run : o->from, o->run || !o->to ? "" : "..", o->run || !o->to ? "" : o->to);
        a->replay.what = (struct mr_replay){.stream = o->stream, .from = o->from, .to = o->to};
        if (o->cause) {
            mr_err_set(&err, MR_ECONFIG, "source %s refuses nothing, --cause means nothing to it", o->source);
            a->exit_code = app_exit_code(err.code);
            replay_end(a, &err);
            return;
        }
        door_replay(a, s, run);
    } else {
        requeue_begin(a, c->sources[at].door, c->sources[at].options);
    }
}

void replay_begin(struct app *a)
{
    if (a->failed)
        return;
    if (a->o.replay)
        source_begin(a);
    if (!a->o.replay_landing)
        return;
    a->replay.busy = true;
    mr_store_landings(a->store, mr_str_c(a->o.replay_landing), 0, 1, on_landing, a);
}

bool replay_done(struct app *a)
{
    if (a->replay.source)
        door_look(a);
    return !a->replay.busy;
}
