/* SPDX-License-Identifier: Apache-2.0 */
/* bundle.c - one partition, or all of a topic's that are ours, on the way to the zone: the open landing, and those in flight.
 *
 * happy path    open -> (slices) -> close: decide with the moves -> published -> the group's offsets may follow
 * ways to fail  a decision lost (fenced, sealed), a zone or store that fails: what is open is dropped; once nothing is undecided, its
 *               partitions are taken anew from the positions that the store has then
 * on close      what is decided and not published keeps its flight until its callback comes */
#include "kafka.h"

#include "millrace/hash.h"

#include <assert.h>
#include <stdlib.h>

struct bundle *bundle_of(struct kafka *k, struct topic *topic, int32_t number)
{
    for (struct bundle *f = k->bundles; f; f = f->next)
        if (f->topic == topic && f->number == number)
            return f;
    struct bundle *f = calloc(1, sizeof *f);
    assert(f);
    f->k = k;
    f->topic = topic;
    f->number = number;
    f->flights_end = &f->flights;
    f->backoff = mr_backoff_of(200, 30000);
    f->next = k->bundles;
    k->bundles = f;
    return f;
}

void bundles_free(struct kafka *k)
{
    for (struct bundle *f = k->bundles, *next; f; f = next) {
        next = f->next;
        for (struct flight *x = f->flights; x; x = x->next)
            x->bundle = NULL; /* decided and not published: its callback frees it */
        free(f);
    }
    k->bundles = NULL;
}

void bundle_join(struct bundle *f, struct partition *p)
{
    if (p->bundle == f)
        return;
    bundle_leave(p);
    p->bundle = f;
    p->bundle_next = f->members;
    f->members = p;
}

void bundle_leave(struct partition *p)
{
    if (!p->bundle)
        return;
    struct partition **at = &p->bundle->members;
    while (*at != p)
        at = &(*at)->bundle_next;
    *at = p->bundle_next;
    p->bundle = NULL;
    p->bundle_next = NULL;
}

bool partition_quiet(const struct partition *p)
{
    return p->items == 0 && !p->in_open && p->undecided == 0;
}

bool bundles_idle(const struct kafka *k)
{
    for (const struct bundle *f = k->bundles; f; f = f->next)
        if (f->open || f->flights)
            return false;
    return true;
}

bool bundles_full(const struct kafka *k)
{
    for (const struct bundle *f = k->bundles; f; f = f->next)
        if (f->flights_count >= FLIGHTS_MAX)
            return true;
    return false;
}

static void on_roll(void *arg, struct mr_landing *landing, enum mr_roll_reason why)
{
    struct bundle *f = arg;
    (void)landing;
    (void)why;
    f->close_wanted = true;
    kafka_pump(f->k);
}

void bundle_open(struct bundle *f)
{
    struct mr_landing_owner owner = {.on_roll = on_roll, .arg = f};
    f->open = mr_landing_begin(f->k->core->landings, mr_str_c(f->k->name), mr_str_c(f->k->run), MR_LANDING_ROLLING, &owner);
    f->close_wanted = false;
}

/* ---- what fails ---- */

static void drop_open(struct bundle *f)
{
    mr_landing_abandon(f->open);
    f->open = NULL;
    for (struct partition *p = f->members; p; p = p->bundle_next)
        p->in_open = false;
}

static bool undecided(const struct bundle *f)
{
    for (const struct flight *x = f->flights; x; x = x->next)
        if (!x->decided)
            return true;
    return false;
}

void bundle_fail(struct bundle *f, const struct mr_err *err)
{
    struct kafka *k = f->k;
    bool wait = mr_code_class(err->code) != MR_CLASS_NONE || err->code == MR_EEPOCH;
    uint64_t at_ms = mr_loop_now_ms(k->loop) + (wait ? (uint64_t)mr_backoff_next(&f->backoff, mr_random_u64()) : 0);
    if (!f->failing)
        mr_log_warn(k->loop->log, k->name, "landing_again", MR_S("topic", f->topic->name), MR_I("partition", f->number),
                    MR_S("why", err->msg[0] ? err->msg : mr_code_text(err->code)));
    f->failing = true;
    f->close_wanted = false;
    if (at_ms > f->retry_at_ms)
        f->retry_at_ms = at_ms;
    if (wait && k->finishing && k->finish_err.code == MR_OK && mr_code_class(err->code) != MR_CLASS_NONE)
        k->finish_err = *err;
    for (struct partition *p = f->members; p; p = p->bundle_next) {
        p->turn++;
        p->moved_at_ms = 0;
        if (!p->revoking && (p->state == PARTITION_READING || p->state == PARTITION_READY))
            p->state = PARTITION_TAKING;
    }
    if (f->open && !k->working)
        drop_open(f); /* else slice_end() comes here by way of bundles_pump() */
}

/* ---- flights ---- */

static void flight_gone(struct flight *x)
{
    struct bundle *f = x->bundle;
    if (f) {
        struct flight **at = &f->flights;
        while (*at != x)
            at = &(*at)->next;
        *at = x->next;
        if (!*at)
            f->flights_end = at;
        f->flights_count--;
    }
    free(x->moved);
    free(x);
}

static void on_decided(void *arg, const struct mr_verdict *verdict)
{
    struct flight *x = arg;
    struct bundle *f = x->bundle;
    struct kafka *k = f->k;
    for (size_t i = 0; i < x->moved_count; i++)
        x->moved[i].p->undecided--;
    if (verdict->code == MR_OK) {
        x->decided = true;
        mr_backoff_reset(&f->backoff);
    } else {
        struct mr_err err = *verdict->err;
        flight_gone(x);
        bundle_fail(f, &err);
    }
    kafka_pump(k);
}

static void on_published(void *arg, enum mr_published how)
{
    struct flight *x = arg;
    if (!x->bundle) {
        flight_gone(x);
        return;
    }
    struct kafka *k = x->bundle->k;
    if (k->replay && how != MR_PUBLISH_LOST)
        k->replay->records += x->records;
    for (size_t i = 0; i < x->moved_count && how != MR_PUBLISH_LATER; i++) {
        struct moved *m = &x->moved[i];
        if (m->next <= m->p->published)
            continue;
        m->p->published = m->next;
        if (m->ts_ms >= 0)
            m->p->published_ts_ms = m->ts_ms;
        if (k->commit_at_ms == 0)
            k->commit_at_ms = mr_loop_now_ms(k->loop) + COMMIT_MS;
    }
    flight_gone(x);
    kafka_pump(k);
}

/* ---- closing ---- */

static bool dirty(const struct partition *p)
{
    return p->in_open || p->covered > p->at.next;
}

static void move_one(struct flight *x, struct partition *p, struct mr_move *move, struct mr_buf *json)
{
    p->at.next = p->covered;
    kafka_position_put(&p->at, json);
    *move = (struct mr_move){.source = mr_str_c(p->k->name), .stream = {p->topic->name, p->topic->name_n}, .part = mr_str_c(p->part), .expected_version = p->version++};
    p->undecided++;
    p->in_open = false;
    p->moved_at_ms = 0;
    x->moved[x->moved_count++] = (struct moved){p, p->covered, p->covered_ts_ms};
}

static void bundle_close(struct bundle *f)
{
    struct flight *x = calloc(1, sizeof *x);
    size_t count = 0;
    for (struct partition *p = f->members; p; p = p->bundle_next)
        count += dirty(p);
    struct mr_move *moves = calloc(count ? count : 1, sizeof *moves);
    struct mr_buf json;
    mr_buf_init(&json, SIZE_MAX / 4);
    assert(x && moves);
    x->moved = calloc(count ? count : 1, sizeof *x->moved);
    assert(x->moved);
    size_t at = 0;
    for (struct partition *p = f->members; p; p = p->bundle_next) {
        if (!dirty(p))
            continue;
        struct mr_move *m = &moves[x->moved_count];
        move_one(x, p, m, &json);
        m->value.n = json.n - at;
        at = json.n;
    }
    assert(!json.failed);
    at = 0;
    for (size_t i = 0; i < count; i++) {
        moves[i].value.p = json.p + at;
        at += moves[i].value.n;
    }
    if (!f->open)
        bundle_open(f);
    struct mr_landing *landing = f->open;
    f->open = NULL;
    f->close_wanted = false;
    x->records = mr_landing_records(landing);
    x->bundle = f;
    *f->flights_end = x;
    f->flights_end = &x->next;
    f->flights_count++;
    struct mr_landing_end end = {.on_decided = on_decided, .on_published = on_published, .arg = x};
    mr_landing_decide(landing, moves, count, NULL, 0, NULL, 0, &end);
    mr_buf_free(&json);
    free(moves);
}

/* A position that has moved over no record (the marks of transactions, what was aborted or compacted) is decided too, now and then: else lag would never settle. */
static bool empty_move_due(const struct partition *p, bool all)
{
    return p->moved_at_ms && p->covered > p->at.next && (all || mr_loop_now_ms(p->k->loop) - p->moved_at_ms >= EMPTY_MOVE_MS);
}

static bool wants_close(const struct bundle *f, bool all)
{
    if (f->open && (f->close_wanted || all))
        return true;
    for (const struct partition *p = f->members; p; p = p->bundle_next)
        if ((p->in_open && (p->revoking || p->state == PARTITION_TAKING)) || (!f->open && empty_move_due(p, all || p->revoking)))
            return true;
    return false;
}

void bundles_pump(struct kafka *k)
{
    if (k->working)
        return;
    bool all = (k->draining || (k->finishing && k->found)) && k->filling.count == 0;
    if (all && k->finishing && !k->draining)
        for (size_t i = 0; i < k->partitions_cap; i++)
            all &= !k->partitions[i] || k->partitions[i]->state == PARTITION_IDLE || k->partitions[i]->state == PARTITION_STOPPED || k->partitions[i]->covered >= k->partitions[i]->stop_at;
    for (struct bundle *f = k->bundles; f; f = f->next) {
        if (f->failing) {
            if (f->open)
                drop_open(f);
            if (!undecided(f) && mr_loop_now_ms(k->loop) >= f->retry_at_ms)
                f->failing = false; /* its partitions may be taken anew */
        } else if (!k->stopping && f->flights_count < FLIGHTS_MAX && wants_close(f, all)) {
            bundle_close(f);
        }
    }
}
