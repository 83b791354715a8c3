/* SPDX-License-Identifier: Apache-2.0 */
/* land.c - from the queue to the zone: one cursor over the durable queue, one landing at a time for each feed.
 *
 * happy path    slices until the horizon (slice.c); a landing rolls -> its feed closes it (feed.c) -> segments may go
 * ways to fail  a feed that failed has the cursor go back to its position; other feeds skip what they have had
 * on close      the slice at hand ends; open landings are abandoned: the queue still has their records */
#include "lander.h"

#include <assert.h>
#include <stdlib.h>

static bool flights_full(const struct lander *l)
{
    for (const struct feed *f = l->feeds; f; f = f->next)
        if (f->flights_count >= FLIGHTS_MAX)
            return true;
    return false;
}

static void maybe_stopped(struct lander *l);

static bool drained(const struct lander *l)
{
    if (l->running || l->rewind_to || l->cursor < l->drain_to)
        return false;
    for (const struct feed *f = l->feeds; f; f = f->next)
        if (f->open || f->flights || f->failing)
            return false;
    return true;
}

static void close_what_wants(struct lander *l)
{
    bool all = l->draining && l->cursor >= l->drain_to && !l->rewind_to;
    for (struct feed *f = l->feeds; f; f = f->next) {
        if (f->failing)
            feed_recover(f);
        else if (f->open && (f->close_wanted || all) && f->flights_count < FLIGHTS_MAX)
            feed_close(f);
    }
}

static uint64_t retry_wait(const struct lander *l)
{
    uint64_t wait = UINT64_MAX, now_ms = mr_loop_now_ms(l->hub->core->loop);
    for (const struct feed *f = l->feeds; f; f = f->next)
        if (feed_may_recover(f))
            wait = f->retry_at_ms <= now_ms ? 1 : f->retry_at_ms - now_ms < wait ? f->retry_at_ms - now_ms : wait;
    return wait;
}

static void on_timer(uv_timer_t *t)
{
    struct lander *l = MR_OF(t, struct lander, timer);
    l->lingered = true;
    lander_pump(l);
}

static void tell_drained(struct lander *l)
{
    void (*cb)(void *, const struct mr_err *) = l->drain_cb;
    l->drain_cb = NULL;
    struct mr_err err = l->drain_err;
    if (cb)
        cb(l->drain_arg, &err);
}

void lander_pump(struct lander *l)
{
    if (l->running)
        return;
    if (l->stopping) {
        maybe_stopped(l);
        return;
    }
    feeds_go_on(l);
    close_what_wants(l);
    if (l->draining && l->drain_cb && (drained(l) || (l->once && l->drain_err.code != MR_OK))) {
        tell_drained(l);
        return;
    }
    uint64_t wait = retry_wait(l);
    if (!flights_full(l)) {
        if (l->rewind_to) {
            mr_queue_seek(l->reader, l->rewind_to);
            l->cursor = l->rewind_to - 1;
            l->rewind_to = 0;
        }
        uint64_t behind = l->horizon > l->cursor ? l->horizon - l->cursor : 0;
        uint64_t now_ms = mr_loop_now_ms(l->hub->core->loop);
        bool may = now_ms >= l->read_again_ms;
        if (behind && may && (behind >= LINGER_RECORDS || l->lingered || l->draining)) {
            slice_begin(l);
            return;
        }
        uint64_t pause_ms = may ? LINGER_MS : l->read_again_ms - now_ms;
        if (behind && wait > pause_ms)
            wait = pause_ms;
    }
    if (wait != UINT64_MAX && (!uv_is_active((uv_handle_t *)&l->timer) || uv_timer_get_due_in(&l->timer) > wait))
        uv_timer_start(&l->timer, on_timer, wait, 0);
}

void lander_horizon(struct lander *l, uint64_t horizon)
{
    l->horizon = horizon;
    lander_pump(l);
}

/* ---- life ---- */

struct lander *lander_new(struct hub *h, const struct mr_position *positions, size_t count)
{
    struct lander *l = calloc(1, sizeof *l);
    assert(l);
    l->hub = h;
    memcpy(l->queue_id, h->queue_id, sizeof l->queue_id);
    mr_buf_init(&l->bytes, SIZE_MAX / 4); /* a slice, and one record more: bounded by body_limit */
    mr_buf_init(&l->line, 1 << 24);
    l->items = calloc(SLICE_RECORDS, sizeof *l->items);
    l->ids = calloc(SLICE_RECORDS, sizeof *l->ids);
    l->first_days = calloc(SLICE_RECORDS, sizeof *l->first_days);
    l->id_items = calloc(SLICE_RECORDS, sizeof *l->id_items);
    assert(l->items && l->ids && l->first_days && l->id_items);
    uv_timer_init(&h->core->loop->uv, &l->timer);
    for (size_t i = 0; i < count; i++) {
        struct mr_buf key;
        mr_buf_init(&key, 1 << 16);
        mr_buf_put(&key, positions[i].source.p, positions[i].source.n);
        mr_buf_putc(&key, '/');
        mr_buf_put(&key, positions[i].stream.p, positions[i].stream.n);
        feed_at(feed_new(l, mr_buf_str(&key)), positions[i].version, positions[i].value);
        mr_buf_free(&key);
    }
    return l;
}

enum mr_code lander_start(struct lander *l, const struct mr_landing_row *lost, size_t lost_count, struct mr_err *err)
{
    l->lost = calloc(lost_count + 1, sizeof *l->lost);
    assert(l->lost);
    for (size_t i = 0; i < lost_count; i++) {
        l->lost[i] = strndup(lost[i].landing.p, lost[i].landing.n);
        assert(l->lost[i]);
        l->lost_count++;
    }
    struct mr_queue_facts facts;
    mr_queue_facts(l->hub->queue, &facts);
    /* What was decided was published before this start: its segments may go. */
    for (struct feed *f = l->feeds; f; f = f->next)
        if (f->covered) {
            mr_queue_published(l->hub->queue, mr_str_c(f->key), f->covered);
            feed_forget_old(f);
        }
    if (mr_queue_reader_new(l->hub->queue, facts.first, &l->reader, err) != MR_OK)
        return err->code;
    l->cursor = facts.first ? facts.first - 1 : 0;
    lander_horizon(l, facts.horizon);
    return MR_OK;
}

void lander_drain(struct lander *l, bool once, void (*cb)(void *arg, const struct mr_err *err), void *arg)
{
    l->draining = true;
    l->once = once;
    l->drain_to = l->horizon;
    l->drain_cb = cb;
    l->drain_arg = arg;
    for (struct feed *f = l->feeds; f; f = f->next)
        f->retry_at_ms = 0;
    lander_pump(l);
}

static void on_closed(uv_handle_t *t)
{
    struct lander *l = MR_OF(t, struct lander, timer);
    for (struct feed *f = l->feeds, *next; f; f = next) {
        next = f->next;
        for (struct flight *x = f->flights; x; x = x->next)
            x->feed = NULL; /* decided and not published: its callback frees it */
        feed_free(f);
    }
    mr_queue_reader_free(l->reader);
    for (size_t i = 0; i < l->lost_count; i++)
        free(l->lost[i]);
    free(l->lost);
    mr_buf_free(&l->bytes);
    mr_buf_free(&l->line);
    free(l->items);
    free(l->ids);
    free(l->first_days);
    free(l->id_items);
    void (*cb)(void *) = l->stop_cb;
    void *arg = l->stop_arg;
    free(l);
    cb(arg);
}

/* Undecided flights and position look-ups call back into us: they are waited for. Decided ones that cannot be published
 * now are not. */
static void maybe_stopped(struct lander *l)
{
    if (l->timer_closed || l->running)
        return;
    for (struct feed *f = l->feeds; f; f = f->next) {
        if (f->open) {
            mr_landing_abandon(f->open);
            f->open = NULL;
        }
        if (f->reading || f->listing)
            return;
        for (struct flight *x = f->flights; x; x = x->next)
            if (!x->decided)
                return;
    }
    l->timer_closed = true;
    uv_close((uv_handle_t *)&l->timer, on_closed);
}

void lander_stop(struct lander *l, void (*cb)(void *arg), void *arg)
{
    l->stopping = true;
    l->stop_cb = cb;
    l->stop_arg = arg;
    uv_timer_stop(&l->timer);
    lander_pump(l);
}

void lander_look(struct lander *l)
{
    uint64_t now_ms = mr_loop_now_ms(l->hub->core->loop);
    for (struct feed *f = l->feeds; f; f = f->next)
        if (f->conflict_ms && now_ms - f->conflict_ms > CONFLICT_QUIET_MS) {
            f->conflict_ms = 0;
            mr_alert_close(l->hub->core->loop->alerts, MR_A_ID_CONFLICT, f->name, NULL);
        }
}

int64_t lander_behind_ms(const struct lander *l)
{
    return l->horizon > l->cursor && l->arrived_us ? (mr_wall_us() - l->arrived_us) / 1000 : 0;
}

void lander_status(const struct lander *l, struct mr_buf *json)
{
    uint64_t behind = l->horizon > l->cursor ? l->horizon - l->cursor : 0;
    mr_buf_printf(json,
                  ",\"queue\":{\"id\":\"%s\",\"durable\":%" PRIu64 ",\"read\":%" PRIu64 ",\"behind\":%" PRIu64 "}",
                  l->queue_id, l->horizon, l->cursor, behind);
}
