/* SPDX-License-Identifier: Apache-2.0 */
/* landing.c - the module's life: begin, roll, drain, close. The three steps are in the files named after them. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

enum { LOOK_AT_MOST_MS = 1000 }; /* midnight and a stepped clock are seen this late */

enum mr_codec landings_codec(const struct mr_landings *ls)
{
    static const enum mr_codec codecs[] = {
        [MR_LANDINGS_NONE] = MR_CODEC_NONE, [MR_LANDINGS_ZSTD] = MR_CODEC_ZSTD, [MR_LANDINGS_GZIP] = MR_CODEC_GZIP};
    return codecs[ls->o.codec];
}

char *landing_text(struct mr_str s)
{
    char *p = malloc(s.n + 1);
    assert(p); /* names and paths: bounded by the store's rows */
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = 0;
    return p;
}

void landing_count(struct mr_landing *l, const char *outcome)
{
    mr_cell_add(mr_metric(l->ls->o.loop->metrics, MR_M_LANDINGS, l->source, outcome), 1);
}

static void ask_to_roll(struct mr_landing *l, enum mr_roll_reason why)
{
    if (l->owner.on_roll)
        l->owner.on_roll(l->owner.arg, l, why);
}

static void look(struct mr_landings *ls)
{
    int64_t now_ms = (int64_t)mr_loop_now_ms(ls->o.loop);
    int32_t today = mr_day_of(mr_store_now_us(ls->o.store));
    for (struct mr_landing *l = ls->all, *next; l; l = next) {
        next = l->next;
        enum mr_roll_reason why;
        if (l->kind == MR_LANDING_ROLLING && l->state == LANDING_OPEN && mr_roll_due(&l->roll, now_ms, today, &why))
            ask_to_roll(l, why);
    }
    seal_look(ls);
}

static void on_timer(uv_timer_t *t)
{
    struct mr_landings *ls = MR_OF(t, struct mr_landings, timer);
    look(ls);
    landings_schedule(ls);
}

void landings_schedule(struct mr_landings *ls)
{
    if (ls->closing)
        return;
    int64_t wait = LOOK_AT_MOST_MS, now_ms = (int64_t)mr_loop_now_ms(ls->o.loop);
    for (struct mr_landing *l = ls->all; l; l = l->next)
        if (l->kind == MR_LANDING_ROLLING && l->state == LANDING_OPEN)
            wait = mr_roll_wait(&l->roll, now_ms, wait);
    uv_timer_start(&ls->timer, on_timer, (uint64_t)wait, 0);
}

static void on_day_noted(void *arg, const struct mr_err *err)
{
    struct mr_landings *ls = arg;
    ls->days_out--;
    if (err->code !=
        MR_OK) /* no harm: should the day be sealed meanwhile, the decision is refused and the landing staged again */
        mr_log_warn(ls->o.loop->log, NULL, "day_not_held", MR_S("why", err->msg));
    landings_maybe_closed(ls);
}

static void hold_day(struct mr_landing *l)
{
    struct mr_landings *ls = l->ls;
    l->holds_day = true;
    ls->days_out++;
    mr_store_stage_begin(ls->o.store, &ls->instance, mr_str_c(l->id), mr_str_c(l->source), l->roll.day, on_day_noted,
                         ls);
}

static void let_day_go(struct mr_landing *l)
{
    struct mr_landings *ls = l->ls;
    if (!l->holds_day)
        return;
    ls->days_out++;
    mr_store_stage_end(ls->o.store, mr_str_c(l->id), on_day_noted, ls);
}

struct mr_landing *mr_landing_begin(struct mr_landings *ls, struct mr_str source, struct mr_str run,
                                    enum mr_landing_kind kind, const struct mr_landing_owner *owner)
{
    struct mr_landing *l = calloc(1, sizeof *l);
    assert(l);
    l->ls = ls;
    l->source = strndup(source.p, source.n);
    l->run = strndup(run.p ? run.p : "", run.n);
    assert(l->source && l->run);
    l->kind = kind;
    l->owner = *owner;
    l->codec = landings_codec(ls);
    l->began_us = mr_store_now_us(ls->o.store);
    int32_t today = mr_day_of(l->began_us);
    /* A sealed day never changes, whatever the clock says. */
    l->roll = (struct mr_roll){
        .size_limit = ls->o.roll_size,
        .age_limit_ms = ls->o.roll_age_ms,
        .day = ls->sealed_through != MR_NO_DAY && today <= ls->sealed_through ? ls->sealed_through + 1 : today,
        .first_ms = -1};
    snprintf(l->id, sizeof l->id, "%s-%llu", ls->instance.id, (unsigned long long)++ls->next_id);
    l->prev = ls->all_last;
    if (ls->all_last)
        ls->all_last->next = l;
    else
        ls->all = l;
    ls->all_last = l;
    ls->busy++;
    if (kind == MR_LANDING_WHOLE)
        hold_day(l);
    return l;
}

void landing_gone(struct mr_landing *l)
{
    struct mr_landings *ls = l->ls;
    let_day_go(l);
    *(l->prev ? &l->prev->next : &ls->all) = l->next;
    *(l->next ? &l->next->prev : &ls->all_last) = l->prev;
    ls->busy--;
    stage_free(l);
    free(l->source);
    free(l->run);
    free(l->moves);
    free(l->rows);
    free(l->seen);
    free(l->zone_files);
    mr_buf_free(&l->text);
    free(l);
    landings_maybe_closed(ls);
}

void mr_landing_slice_done(struct mr_landing *l)
{
    struct mr_landings *ls = l->ls;
    bool first = l->roll.first_ms < 0 && l->records > 0;
    if (first)
        l->roll.first_ms = (int64_t)uv_now(&ls->o.loop->uv);
    l->roll.bytes = mr_landing_bytes(l);
    enum mr_roll_reason why;
    if (l->kind == MR_LANDING_ROLLING &&
        mr_roll_due(&l->roll, (int64_t)mr_loop_now_ms(ls->o.loop), mr_day_of(mr_store_now_us(ls->o.store)), &why))
        ask_to_roll(l, why);
    if (first)
        landings_schedule(ls);
}

int64_t mr_landing_records(const struct mr_landing *l)
{
    return l->records;
}

int64_t mr_landing_bytes(const struct mr_landing *l)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < l->files_count; i++)
        bytes += l->files[i].bytes + (int64_t)l->files[i].packed.n;
    return bytes;
}

const char *mr_landing_id(const struct mr_landing *l)
{
    return l->id;
}

enum mr_code mr_landings_new(const struct mr_landings_options *options, struct mr_landings **out, struct mr_err *err)
{
    struct mr_landings *ls = calloc(1, sizeof *ls);
    assert(ls);
    ls->ledger.note = ledger_note;
    ls->lane = mr_zone_is_far(options->zone) ? MR_LANE_FAR : MR_LANE_SYNC;
    if (mr_zone_instance(options->zone, options->instance->id, &ls->ledger, err) != MR_OK) {
        free(ls);
        return err->code;
    }
    ls->o = *options;
    ls->instance = *options->instance;
    ls->o.instance = &ls->instance;
    ls->sealed_through = mr_store_facts(options->store)->sealed_through;
    seal_again(ls);
    ls->backoff = mr_backoff_of(200, 30000);
    uv_timer_init(&options->loop->uv, &ls->timer);
    uv_timer_init(&options->loop->uv, &ls->retry);
    ls->handles_open = 2;
    *out = ls;
    return MR_OK;
}

void mr_landings_reconfigure(struct mr_landings *ls, const struct mr_landings_options *options)
{
    ls->o.codec = options->codec;
    ls->o.roll_size = options->roll_size;
    ls->o.roll_age_ms = options->roll_age_ms;
    ls->o.seal_after_ms = options->seal_after_ms;
    ls->o.write_sealed = options->write_sealed;
}

void mr_landings_drain(struct mr_landings *ls)
{
    mr_store_ending(ls->o.store); /* a decision in doubt must not hold up the end */
    for (struct mr_landing *l = ls->all, *next; l; l = next) {
        next = l->next;
        if (l->kind == MR_LANDING_ROLLING && l->state == LANDING_OPEN)
            ask_to_roll(l, MR_ROLL_DRAIN);
    }
    publish_failed_again(ls); /* one more try at once: there may be no later one */
}

size_t mr_landings_busy(const struct mr_landings *ls)
{
    return ls->busy;
}

static bool in_flight(const struct mr_landings *ls)
{
    for (const struct mr_landing *l = ls->all; l; l = l->next)
        if (l->state != LANDING_OPEN && l->state != LANDING_PUBLISHING)
            return true;
    return ls->batch.out || ls->resumes_out > 0 || ls->lost_out > 0 || ls->days_out > 0 || ls->seal_out || ls->seal_files_out > 0;
}

static void on_handle_closed(uv_handle_t *h)
{
    struct mr_landings *ls = h->data;
    if (--ls->handles_open > 0)
        return;
    void (*cb)(void *) = ls->closed_cb;
    void *arg = ls->closed_arg;
    free(ls);
    cb(arg);
}

void landings_maybe_closed(struct mr_landings *ls)
{
    if (!ls->closing || ls->closed_told || in_flight(ls))
        return;
    ls->closed_told = true;
    while (ls->all) { /* decided, not published */
        struct mr_landing_end end = ls->all->end;
        landing_gone(ls->all);
        if (end.on_published)
            end.on_published(end.arg, MR_PUBLISH_LATER);
    }
    ls->timer.data = ls->retry.data = ls;
    uv_close((uv_handle_t *)&ls->timer, on_handle_closed);
    uv_close((uv_handle_t *)&ls->retry, on_handle_closed);
}

void mr_landings_close(struct mr_landings *ls, void (*cb)(void *arg), void *arg)
{
    assert(!ls->closing);
    mr_store_ending(ls->o.store);
    ls->closing = true;
    ls->closed_cb = cb;
    ls->closed_arg = arg;
    uv_timer_stop(&ls->timer);
    uv_timer_stop(&ls->retry);
    for (struct mr_landing *l = ls->all, *next; l; l = next) {
        next = l->next;
        if (l->state == LANDING_OPEN)
            mr_landing_abandon(l);
    }
    landings_maybe_closed(ls);
}
