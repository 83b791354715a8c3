/* SPDX-License-Identifier: Apache-2.0 */
#include "scripted.h"

#include "millrace/json.h"
#include "millrace/worker.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct scripted_counts scripted_counts;

struct scripted_options {
    int64_t records, slice; /* a part; records of each part in one landing */
    bool fail_first;        /* the first start fails */
};
#define AT(field) offsetof(struct scripted_options, field)
static const struct mr_option rows[] = {
    {.name = "records",
     .type = MR_T_INT,
     .offset = AT(records),
     .def = "100",
     .min = "0",
     .max = "1000000",
     .doc = "Records of each part."},
    {.name = "slice",
     .type = MR_T_INT,
     .offset = AT(slice),
     .def = "7",
     .min = "1",
     .max = "100000",
     .doc = "Records of each part in one landing."},
    {.name = "fail_first",
     .type = MR_T_BOOL,
     .offset = AT(fail_first),
     .def = "false",
     .doc = "The first start fails."},
    {0},
};

struct part {
    struct scripted *owner;
    int stream, number;
    int64_t version, at; /* decided position */
    int64_t upto;        /* of the landing at hand */
};

struct scripted {
    struct mr_source *src;
    const struct scripted_options *o;
    struct part parts[SCRIPTED_STREAMS][SCRIPTED_PARTS];
    unsigned asked; /* positions not answered yet */
    struct mr_landing *landing;
    struct mr_job job;
    struct mr_err err;
    bool working, up, paused, stopping, draining, finishing, whole;
    unsigned rounds, unpublished;
    int64_t began_us, landed[SCRIPTED_STREAMS]; /* of the run at hand: from start to whatever ends it */
};

static void next(struct scripted *d);

static void names(const struct part *p, char stream[16], char part[16])
{
    snprintf(stream, 16, "s%d", p->stream);
    snprintf(part, 16, "p%d", p->number);
}

static bool caught_up(const struct scripted *d)
{
    for (int s = 0; s < SCRIPTED_STREAMS; s++)
        for (int p = 0; p < SCRIPTED_PARTS; p++)
            if (d->parts[s][p].at < d->o->records)
                return false;
    return true;
}

static void ran(struct scripted *d, struct mr_str outcome, struct mr_str error)
{
    for (int s = 0; s < SCRIPTED_STREAMS; s++) {
        char stream[16], bounds[64];
        snprintf(stream, sizeof stream, "s%d", s);
        snprintf(bounds, sizeof bounds, "{\"upto\":%" PRId64 "}", d->parts[s][0].at);
        struct mr_run run = {.stream = mr_str_c(stream), .outcome = outcome, .error = error, .started_us = d->began_us, .ended_us = mr_wall_us(),
                             .rows = d->landed[s], .bytes = d->landed[s] * 10, .bounds = mr_str_c(bounds)};
        mr_source_ran(d->src, &run);
        d->landed[s] = 0;
    }
    d->began_us = mr_wall_us();
}

static void maybe_end(struct scripted *d)
{
    if (d->working || d->landing || d->asked || d->unpublished)
        return;
    if (d->up && (d->stopping || d->draining || (d->finishing && caught_up(d))))
        ran(d, MR_STR("ok"), (struct mr_str){0});
    if (d->stopping) {
        d->stopping = false;
        scripted_counts.stops++;
        mr_source_down(d->src);
    } else if (d->draining) {
        d->draining = false;
        mr_source_drained(d->src);
    } else if (d->finishing && caught_up(d)) {
        d->finishing = false;
        mr_source_finished(d->src, &(struct mr_err){0});
    }
}

/* ---- positions ---- */

static void on_position(void *arg, const struct mr_err *err, const struct mr_position *position)
{
    struct part *p = arg;
    struct scripted *d = p->owner;
    assert(err->code == MR_OK);
    struct mr_json_slice s = {.type = MR_JSON_NUMBER, .raw = position->value};
    p->version = position->version;
    p->at = 0;
    if (position->value.n && !mr_json_i64(s, &p->at))
        assert(false && "a position that this door did not write");
    if (--d->asked > 0)
        return;
    if (!d->up && !d->stopping) {
        d->up = true;
        mr_source_up(d->src);
    }
    next(d);
}

static void ask(struct scripted *d)
{
    for (int s = 0; s < SCRIPTED_STREAMS; s++)
        for (int p = 0; p < SCRIPTED_PARTS; p++) {
            struct part *part = &d->parts[s][p];
            char stream[16], name[16];
            *part = (struct part){.owner = d, .stream = s, .number = p};
            names(part, stream, name);
            d->asked++;
            mr_source_position(d->src, mr_str_c(stream), mr_str_c(name), on_position, part);
        }
}

/* ---- one landing over all parts ---- */

struct ended {
    struct scripted *d;
};

static void on_decided(void *arg, const struct mr_verdict *verdict)
{
    struct ended *e = arg;
    struct scripted *d = e->d;
    d->landing = NULL;
    if (verdict->code == MR_OK) {
        scripted_counts.decided++;
        for (int s = 0; s < SCRIPTED_STREAMS; s++)
            for (int p = 0; p < SCRIPTED_PARTS; p++) {
                struct part *part = &d->parts[s][p];
                part->version += part->upto != part->at || d->rounds % 5 == 4;
                d->landed[s] += part->upto - part->at;
                part->at = part->upto;
            }
        d->rounds++;
        next(d);
        return;
    }
    scripted_counts.fenced += verdict->code == MR_EFENCED;
    scripted_counts.other += verdict->code != MR_EFENCED;
    d->unpublished--;
    free(e);
    if (d->stopping)
        maybe_end(d);
    else
        ask(d); /* somebody moved a part: read again, stage anew */
}

static void on_published(void *arg, enum mr_published how)
{
    struct ended *e = arg;
    struct scripted *d = e->d;
    scripted_counts.published += how == MR_PUBLISHED;
    d->unpublished--;
    free(e);
    maybe_end(d);
}

static void decide(struct scripted *d)
{
    struct mr_move moves[SCRIPTED_STREAMS * SCRIPTED_PARTS];
    struct text {
        char stream[16], part[16], value[24];
    } texts[SCRIPTED_STREAMS * SCRIPTED_PARTS];
    size_t count = 0;
    bool all = d->rounds % 5 == 4; /* unchanged parts too: a move to the same value is a move */
    for (int s = 0; s < SCRIPTED_STREAMS; s++)
        for (int p = 0; p < SCRIPTED_PARTS; p++) {
            struct part *part = &d->parts[s][p];
            struct text *t = &texts[count];
            if (part->upto == part->at && !all)
                continue;
            names(part, t->stream, t->part);
            snprintf(t->value, sizeof t->value, "%" PRId64, part->upto);
            moves[count++] = (struct mr_move){.source = mr_str_c(mr_source_name(d->src)),
                                              .stream = mr_str_c(t->stream),
                                              .part = mr_str_c(t->part),
                                              .expected_version = part->version,
                                              .value = mr_str_c(t->value)};
        }
    char key[24];
    snprintf(key, sizeof key, "%u", d->rounds);
    struct mr_row row = {.source = mr_str_c(mr_source_name(d->src)),
                         .stream = MR_STR("s0"),
                         .kind = MR_STR("round"),
                         .key = mr_str_c(key),
                         .value = MR_STR("{\"done\":true}"),
                         .expected_version = -1};
    struct ended *e = malloc(sizeof *e);
    assert(e);
    *e = (struct ended){d};
    d->unpublished++;
    struct mr_landing_end end = {.on_decided = on_decided, .on_published = on_published, .arg = e};
    mr_landing_decide(d->landing, moves, count, &row, 1, NULL, 0, &end);
}

static void fill_run(struct mr_job *job) /* Runs on: worker */
{
    struct scripted *d = MR_OF(job, struct scripted, job);
    for (int s = 0; s < SCRIPTED_STREAMS; s++)
        for (int p = 0; p < SCRIPTED_PARTS; p++) {
            struct part *part = &d->parts[s][p];
            char stream[16], name[16], id[64], position[96], data[64];
            names(part, stream, name);
            for (int64_t n = part->at + 1; n <= part->upto; n++) {
                snprintf(id, sizeof id, "%s/%s/%" PRId64, stream, name, n);
                snprintf(position, sizeof position, "{\"part\":\"%s\",\"number\":%" PRId64 "}", name, n);
                snprintf(data, sizeof data, "{\"n\": %" PRId64 "}", n);
                struct mr_record record = {.source = mr_str_c(mr_source_name(d->src)),
                                           .stream = mr_str_c(stream),
                                           .id = mr_str_c(id),
                                           .ingested_at_us = mr_wall_us(),
                                           .event_at_us = MR_NO_TIME,
                                           .position = mr_str_c(position),
                                           .data = mr_str_c(data)};
                if (mr_landing_add(d->landing, &record, &d->err) != MR_OK)
                    return;
            }
        }
}

static void fill_done(struct mr_job *job, bool canceled)
{
    struct scripted *d = MR_OF(job, struct scripted, job);
    d->working = false;
    if (canceled || d->stopping || d->err.code != MR_OK) {
        mr_landing_abandon(d->landing);
        d->landing = NULL;
        d->err = (struct mr_err){0};
        maybe_end(d);
        return;
    }
    mr_landing_slice_done(d->landing);
    decide(d);
}

static void next(struct scripted *d)
{
    if (d->stopping || d->draining || d->working || d->landing || d->asked || caught_up(d)) {
        maybe_end(d);
        return;
    }
    if (d->paused)
        return;
    const struct mr_landing_owner owner = {0};
    d->whole = !d->whole;
    d->landing = mr_landing_begin(mr_source_core(d->src)->landings, mr_str_c(mr_source_name(d->src)),
                                  (struct mr_str){0}, d->whole ? MR_LANDING_WHOLE : MR_LANDING_ROLLING, &owner);
    bool alone = d->rounds % 4 ==
                 3; /* a decision without a file: positions that pass over nothing, as by the end of a partition */
    for (int s = 0; s < SCRIPTED_STREAMS; s++)
        for (int p = 0; p < SCRIPTED_PARTS; p++) {
            struct part *part = &d->parts[s][p];
            int64_t most = d->o->records - part->at;
            part->upto = part->at + (alone || (d->rounds + (unsigned)p) % 3 == 0 ? 0
                                     : most < d->o->slice                        ? most
                                                                                 : d->o->slice);
        }
    if (alone) {
        scripted_counts.moves_alone++;
        d->rounds += 5 - d->rounds % 5 - 1; /* such a round moves every part to where it is */
        decide(d);
        return;
    }
    scripted_counts.reads_while_paused += d->paused;
    d->working = true;
    d->job = (struct mr_job){.run = fill_run, .done = fill_done};
    mr_worker_submit(mr_source_core(d->src)->loop->workers, MR_LANE_COMPRESS, &d->job);
}

/* ---- the vtable ---- */

static enum mr_code open_(void *self, struct mr_source *src, const void *options, struct mr_err *err)
{
    struct scripted *d = self;
    (void)err;
    d->src = src;
    d->o = options;
    d->began_us = mr_wall_us();
    return MR_OK;
}

static void start(void *self)
{
    struct scripted *d = self;
    if (d->o->fail_first && scripted_counts.starts++ == 0) {
        struct mr_err err;
        mr_err_set(&err, MR_ENET, "scripted: the first start fails");
        ran(d, MR_STR("failed"), mr_str_c(err.msg));
        mr_source_failed(d->src, &err);
        return;
    }
    ask(d);
}

static void pause_(void *self)
{
    struct scripted *d = self;
    d->paused = true;
    scripted_counts.pauses++;
}

static void resume(void *self)
{
    struct scripted *d = self;
    d->paused = false;
    next(d);
}

static void drain(void *self)
{
    struct scripted *d = self;
    d->draining = true;
    maybe_end(d);
}

static void once(void *self)
{
    struct scripted *d = self;
    d->finishing = true;
    next(d);
}

static void stop(void *self)
{
    struct scripted *d = self;
    d->stopping = true;
    maybe_end(d);
}

static void check(struct mr_check *c)
{
    c->line(c, MR_CHECK_OK, NULL, "scripted");
    c->done(c);
}

const struct mr_door mr_door_scripted = {.name = "scripted",
                                         .doc = "A door for the contract suite.",
                                         .options = rows,
                                         .options_size = sizeof(struct scripted_options),
                                         .self_size = sizeof(struct scripted),
                                         .open = open_,
                                         .start = start,
                                         .pause = pause_,
                                         .resume = resume,
                                         .drain = drain,
                                         .once = once,
                                         .stop = stop,
                                         .check = check};
