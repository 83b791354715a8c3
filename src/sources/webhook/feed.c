/* SPDX-License-Identifier: Apache-2.0 */
/* feed.c - one (source, stream) on its way from the queue to the zone: its position, its open landing, those in flight.
 *
 * happy path    begin -> (slices) -> close: decide with the move -> published -> its segments may go
 * ways to fail  a decision lost (fenced, seen, sealed), a zone or store that fails: drop what is open, wait for what is
 *               undecided, read the position again, and have the cursor go back to it
 * on close      what is decided and not published keeps its flight until its callback comes */
#include "lander.h"

#include "millrace/json.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct feed *feed_new(struct lander *l, struct mr_str key)
{
    struct feed *f = calloc(1, sizeof *f);
    assert(f);
    f->lander = l;
    f->key = strndup(key.p, key.n);
    assert(f->key);
    stage_key(mr_str_c(f->key), &f->source, &f->stream);
    f->name = strndup(f->source.p, f->source.n);
    assert(f->name);
    f->flights_end = &f->flights;
    skipped_init(&f->skipped);
    f->backoff = mr_backoff_of(200, 30000);
    char name[512];
    snprintf(name, sizeof name, "%.*s", (int)f->source.n, f->source.p);
    f->duplicates = mr_metric(l->hub->core->loop->metrics, MR_M_WEBHOOK_DUPLICATES, name);
    f->conflicts = mr_metric(l->hub->core->loop->metrics, MR_M_WEBHOOK_CONFLICTS, name);
    f->next = l->feeds;
    l->feeds = f;
    return f;
}

struct feed *feed_of(struct lander *l, struct mr_str key)
{
    for (struct feed *f = l->feeds; f; f = f->next)
        if (mr_str_eq(mr_str_c(f->key), key))
            return f;
    return feed_new(l, key); /* never landed: version 0 */
}

void feed_free(struct feed *f)
{
    mr_idset_free(&f->ids);
    skipped_free(&f->skipped);
    free(f->key);
    free(f->name);
    free(f);
}

static uint64_t sequence_of(struct mr_str value)
{
    int64_t n;
    struct mr_json_slice s = {.type = MR_JSON_NUMBER, .raw = value};
    return mr_json_i64(s, &n) && n > 0 ? (uint64_t)n : 0;
}

void feed_at(struct feed *f, int64_t version, struct mr_str value)
{
    f->version = version;
    f->covered = sequence_of(value);
}

static void on_position(void *arg, const struct mr_err *err, const struct mr_position *position)
{
    struct feed *f = arg;
    struct lander *l = f->lander;
    f->reading = false;
    if (err->code != MR_OK) {
        f->retry_at_ms = mr_loop_now_ms(l->hub->core->loop) + (uint64_t)mr_backoff_next(&f->backoff, mr_random_u64());
        mr_log_warn(l->hub->core->loop->log, f->key, "position_unread", MR_S("why", err->msg));
        lander_pump(l);
        return;
    }
    f->known = true;
    f->known_version = position->version;
    f->known_covered = sequence_of(position->value);
    lander_pump(l);
}

/* A feed goes on from the position that it read, between slices only: the one at hand was read from where the cursor
 * was, and staging from it would jump over what lies before. */
void feeds_go_on(struct lander *l)
{
    for (struct feed *f = l->feeds; f; f = f->next) {
        if (!f->known)
            continue;
        f->known = f->failing = false;
        f->version = f->known_version;
        /* A position ahead of the queue (set by a person) must not swallow what is still to come. */
        f->covered = f->known_covered < l->horizon ? f->known_covered : l->horizon;
        if (f->covered < l->cursor && (l->rewind_to == 0 || f->covered + 1 < l->rewind_to))
            l->rewind_to = f->covered + 1;
    }
}

static void on_old_lists(void *arg, const struct mr_err *err, const struct mr_kept_row *rows, size_t count)
{
    struct feed *f = arg;
    struct lander *l = f->lander;
    f->listing = false;
    for (size_t i = 0; i < count && err->code == MR_OK; i++) {
        bool lost = false;
        for (size_t k = 0; k < l->lost_count; k++)
            lost |= mr_str_eq(rows[i].key, mr_str_c(l->lost[k]));
        char id[64];
        snprintf(id, sizeof id, "%.*s", (int)rows[i].key.n, rows[i].key.p);
        if (!lost)
            skipped_published(&f->skipped, id); /* the next decision deletes it */
    }
    lander_pump(l);
}

void feed_forget_old(struct feed *f)
{
    f->listing = true;
    mr_store_rows(f->lander->hub->core->store, f->source, f->stream, MR_STR(MR_SKIPPED_KIND), MR_STR(""), 1000, on_old_lists, f);
}

bool feed_may_recover(const struct feed *f)
{
    if (!f->failing || f->reading || f->known || f->open)
        return false;
    for (const struct flight *x = f->flights; x; x = x->next)
        if (!x->decided)
            return false;
    return true;
}

/* A failing feed reads its position once nothing of it is open or undecided any more, and not before its back-off. */
void feed_recover(struct feed *f)
{
    struct lander *l = f->lander;
    struct mr_loop *loop = l->hub->core->loop;
    if (!feed_may_recover(f) || l->stopping)
        return;
    if (mr_loop_now_ms(loop) < f->retry_at_ms)
        return;
    f->reading = true;
    mr_store_position(l->hub->core->store, f->source, f->stream, mr_str_c(l->queue_id), on_position, f);
}

void feed_drop(struct feed *f)
{
    mr_landing_abandon(f->open);
    f->open = NULL;
    mr_idset_free(&f->ids);
}

void feed_fail(struct feed *f, const struct mr_err *err)
{
    struct lander *l = f->lander;
    struct mr_loop *loop = l->hub->core->loop;
    bool retry = mr_code_class(err->code) != MR_CLASS_NONE;
    if (!f->failing)
        mr_log_warn(loop->log, f->key, "landing_again", MR_S("why", err->msg[0] ? err->msg : mr_code_text(err->code)));
    f->failing = true;
    uint64_t at_ms = mr_loop_now_ms(loop) + (retry ? (uint64_t)mr_backoff_next(&f->backoff, mr_random_u64()) : 0);
    if (at_ms > f->retry_at_ms)
        f->retry_at_ms = at_ms; /* later landings fail as fenced because of the first: its back-off counts */
    if (retry && l->once && l->drain_err.code == MR_OK)
        l->drain_err = *err;
    if (f->open && !l->running)
        feed_drop(f); /* else slice_end() does it: the worker has it */
    f->close_wanted = false;
    feed_recover(f);
}

static void flight_gone(struct flight *x)
{
    struct feed *f = x->feed;
    struct flight **at = &f->flights;
    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    if (!*at)
        f->flights_end = at;
    f->flights_count--;
    mr_idset_free(&x->ids);
    free(x);
}

static void on_decided(void *arg, const struct mr_verdict *verdict)
{
    struct flight *x = arg;
    struct feed *f = x->feed;
    struct lander *l = f->lander;
    if (verdict->code == MR_OK) {
        x->decided = true;
        mr_idset_free(&x->ids);
        skipped_decided(&f->skipped, x->forgets);
        mr_backoff_reset(&f->backoff);
    } else {
        struct mr_err err = *verdict->err;
        flight_gone(x);
        feed_fail(f, &err);
    }
    feed_recover(f);
    lander_pump(l);
}

/* Landings may be published out of order, when one has to be tried again: what is not published keeps its segments. */
static void free_published(struct feed *f)
{
    uint64_t upto = f->published;
    for (const struct flight *x = f->flights; x; x = x->next)
        upto = x->first <= upto ? x->first - 1 : upto;
    if (upto)
        mr_queue_published(f->lander->hub->queue, mr_str_c(f->key), upto);
}

static void on_published(void *arg, enum mr_published how)
{
    struct flight *x = arg;
    struct feed *f = x->feed;
    if (!f) { /* the lander has stopped; the next start frees the segments */
        free(x);
        return;
    }
    struct lander *l = f->lander;
    if (how == MR_PUBLISHED && x->landing[0])
        skipped_published(&f->skipped, x->landing);
    if (how == MR_PUBLISHED)
        f->published = x->last > f->published ? x->last : f->published;
    else
        mr_queue_pin(l->hub->queue, x->first);
    flight_gone(x);
    free_published(f);
    lander_pump(l);
}

static void on_roll(void *arg, struct mr_landing *landing, enum mr_roll_reason why)
{
    struct feed *f = arg;
    (void)landing;
    (void)why;
    f->close_wanted = true;
    lander_pump(f->lander);
}

void feed_begin(struct feed *f, uint64_t first)
{
    struct mr_landing_owner owner = {.on_roll = on_roll, .arg = f};
    f->open =
        mr_landing_begin(f->lander->hub->core->landings, f->source, (struct mr_str){0}, MR_LANDING_ROLLING, &owner);
    f->open_first = first;
    skipped_clear(&f->skipped);
    f->close_wanted = false;
}

void feed_close(struct feed *f)
{
    struct lander *l = f->lander;
    struct flight *x = calloc(1, sizeof *x);
    assert(x);
    char value[24];
    int n = snprintf(value, sizeof value, "%" PRIu64, f->covered);
    struct mr_move move = {.source = f->source,
                           .stream = f->stream,
                           .part = mr_str_c(l->queue_id),
                           .expected_version = f->version,
                           .value = {value, (size_t)n}};
    x->feed = f;
    x->first = f->open_first;
    x->last = f->covered;
    x->ids = f->ids;
    f->ids = (struct mr_idset){0};
    *f->flights_end = x;
    f->flights_end = &x->next;
    f->flights_count++;
    f->version++;
    f->close_wanted = false;
    struct mr_landing *landing = f->open;
    f->open = NULL;
    struct mr_landing_end end = {.on_decided = on_decided, .on_published = on_published, .arg = x};
    const struct mr_row *rows;
    bool lists = f->skipped.count && mr_landing_records(landing) > 0;
    size_t rows_count =
        skipped_rows(&f->skipped, f->source, f->stream, mr_str_c(mr_landing_id(landing)), lists, &rows, &x->forgets);
    if (lists)
        snprintf(x->landing, sizeof x->landing, "%s", mr_landing_id(landing));
    mr_landing_decide(landing, &move, 1, rows, rows_count, x->ids.ids, x->ids.count, &end);
}

enum mr_seen_answer feed_seen(const struct feed *f, const struct mr_seen *id)
{
    enum mr_seen_answer a = mr_idset_find(&f->ids, id);
    for (const struct flight *x = f->flights; x && a == MR_SEEN_NO; x = x->next)
        a = mr_idset_find(&x->ids, id);
    return a;
}
