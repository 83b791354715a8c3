/* SPDX-License-Identifier: Apache-2.0 */
/* slice.c - what one turn takes from the queue:
 *
 *   read    worker   copy records up to the horizon, make bodies compact, find event ids
 *   look    store    which of those ids have landed already?
 *   plan    loop     per record: stage, skip (behind the position, or a repeat), quarantine (same id, other body)
 *   stage   worker   envelopes into the feeds' landings (stage.c)
 *
 * ways to fail  the queue cannot be read: the cursor goes back, again in a second; the store does not answer, a record
 * cannot be staged or kept: its feed fails, the others go on */
#include "lander.h"
#include "quarantine.h"

#include "millrace/json.h"

#include <stdio.h>

static struct mr_str slice_str(const struct lander *l, size_t at, size_t n)
{
    return (struct mr_str){l->bytes.p + at, n};
}

static void read_one(struct lander *l, const struct mr_queue_record *r)
{
    struct mr_header headers[MR_EVENT_HEADERS_MAX];
    struct mr_event e;
    struct mr_err err;
    struct item *it = &l->items[l->items_count++];
    *it = (struct item){.seq = r->seq, .key_at = l->bytes.n, .key_n = r->source.n};
    mr_buf_put(&l->bytes, r->source.p, r->source.n);
    it->payload_at = l->bytes.n;
    it->payload_n = r->payload.n;
    mr_buf_put(&l->bytes, r->payload.p, r->payload.n);
    if (mr_event_get(r->payload, headers, &e, &err) != MR_OK) {
        it->fate = ITEM_BAD;
        return;
    }
    it->json_at = l->bytes.n;
    if (e.payload == MR_PAYLOAD_JSON && e.body.n > 0 && mr_json_compact(e.body, &l->bytes, NULL) == MR_OK)
        it->json_n = l->bytes.n - it->json_at;
    if (!mr_buf_reserve(&l->bytes, it->json_n + 1)) /* the slice of json below must not move */
        return;
    it->id_at = l->bytes.n;
    bool exact = e.payload == MR_PAYLOAD_EXACT && e.dedup_id.n && mr_json_check(e.body, NULL) == MR_OK;
    it->has_id = mr_event_id(&e, exact ? e.body : slice_str(l, it->json_at, it->json_n), &l->bytes);
    it->id_n = l->bytes.n - it->id_at;
    if (!it->has_id)
        return;
    struct mr_str source, stream;
    stage_key(r->source, &source, &stream);
    struct mr_str id = {l->bytes.p + it->id_at, it->id_n};
    mr_dedup_hash(source, id, e.body, mr_day_of(e.arrived_us), &it->seen);
    /* The decision looks at the neighbouring days whatever the window, so the look-up must too: what it does not see is
     * staged, lost, and staged again. */
    int32_t from = mr_day_of(e.arrived_us - e.dedup_window_ms * 1000);
    it->first_day = from < it->seen.day - 1 ? from : it->seen.day - 1;
    l->arrived_us = e.arrived_us;
}

static void read_run(struct mr_job *job) /* Runs on: worker */
{
    struct lander *l = MR_OF(job, struct lander, job);
    if (l->bytes.cap > BYTES_KEPT)
        mr_buf_free(&l->bytes); /* a giant's memory is not kept */
    mr_buf_clear(&l->bytes);
    l->items_count = 0;
    l->at_end = false;
    l->err = (struct mr_err){0};
    while (l->items_count < SLICE_RECORDS && l->bytes.n < SLICE_BYTES) {
        struct mr_queue_record r;
        enum mr_code code = mr_queue_next(l->reader, &r, &l->err);
        if (code == MR_EEND) {
            l->at_end = true;
            l->err = (struct mr_err){0};
            break;
        }
        if (code != MR_OK)
            break;
        read_one(l, &r);
    }
    if (l->bytes.failed)
        mr_err_set(&l->err, MR_ENOMEM, "no memory for a slice of the queue");
}

/* Runs on: loop. `landed`: the store's answer for it. */
static void plan_one(struct lander *l, struct item *it, enum mr_seen_answer landed)
{
    struct feed *f = it->feed = feed_of(l, slice_str(l, it->key_at, it->key_n));
    enum item_fate bad = it->fate;
    it->fate = ITEM_SKIP;
    if (f->failing || it->seq <= f->covered)
        return;
    f->covered = it->seq;
    if (!f->open)
        feed_begin(f, it->seq);
    it->landing = f->open;
    if (bad == ITEM_BAD) {
        it->fate = ITEM_BAD;
        skipped_add(&f->skipped, it->seq);
        return;
    }
    if (!it->has_id) {
        it->fate = ITEM_STAGE;
        return;
    }
    enum mr_seen_answer seen = landed != MR_SEEN_NO ? landed : feed_seen(f, &it->seen);
    if (seen == MR_SEEN_NO) {
        mr_idset_add(&f->ids, &it->seen);
        it->fate = ITEM_STAGE;
        return;
    }
    skipped_add(&f->skipped, it->seq);
    if (seen == MR_SEEN_SAME) {
        mr_cell_add(f->duplicates, 1);
    } else {
        it->fate = ITEM_CONFLICT;
        mr_cell_add(f->conflicts, 1);
        f->conflict_ms = mr_loop_now_ms(l->hub->core->loop) + 1;
        mr_alert_open(l->hub->core->loop->alerts, MR_A_ID_CONFLICT, f->name, NULL,
                      "event id %.*s came again with another body (queue sequence %" PRIu64 ")",
                      (int)(it->id_n < 80 ? it->id_n : 80), l->bytes.p + it->id_at, it->seq);
    }
}

static enum mr_code stage_item(struct lander *l, const struct item *it, struct mr_err *err)
{
    struct staged_event e = {.queue_id = l->queue_id,
                             .seq = it->seq,
                             .source = it->feed->source,
                             .stream = it->feed->stream,
                             .payload = slice_str(l, it->payload_at, it->payload_n),
                             .json = slice_str(l, it->json_at, it->json_n),
                             .id = it->has_id ? slice_str(l, it->id_at, it->id_n) : (struct mr_str){0}};
    return stage_event(it->landing, &e, &l->line, err);
}

static enum mr_code keep_one(struct lander *l, const struct item *it, struct mr_err *err)
{
    char name[128];
    struct mr_str bytes = slice_str(l, it->payload_at, it->payload_n);
    struct mr_header headers[MR_EVENT_HEADERS_MAX];
    struct mr_event e;
    const char *what = "unreadable";
    if (it->fate == ITEM_CONFLICT && mr_event_get(bytes, headers, &e, err) == MR_OK) {
        what = "conflict";
        bytes = e.body;
    }
    snprintf(name, sizeof name, "%s-%s-%" PRIu64 ".body", what, l->queue_id, it->seq);
    return mr_quarantine_put(l->hub->core->data_dir, it->feed->source, name, bytes, err);
}

static void stage_run(struct mr_job *job) /* Runs on: worker */
{
    struct lander *l = MR_OF(job, struct lander, job);
    for (size_t i = 0; i < l->items_count; i++) {
        struct item *it = &l->items[i];
        if (it->fate == ITEM_SKIP || it->feed->stage_failed)
            continue;
        struct mr_err err = {0};
        enum mr_code code = it->fate == ITEM_STAGE ? stage_item(l, it, &err) : keep_one(l, it, &err);
        if (code != MR_OK) {
            it->feed->stage_failed = true;
            it->feed->stage_err = err;
        }
    }
}

/* The landing is the loop's again. `running` holds until all feeds were looked at, so that a landing that rolls on the
 * way is closed by the pump below. */
static void slice_end(struct lander *l)
{
    for (struct feed *f = l->feeds; f; f = f->next) {
        if (f->stage_failed) {
            mr_alert_open(l->hub->core->loop->alerts, MR_A_ZONE_UNWRITABLE, f->name, NULL, "%s", f->stage_err.msg);
            f->stage_failed = false;
            feed_fail(f, &f->stage_err);
        }
        if (f->open && f->failing) {
            feed_drop(f);
        } else if (f->open) {
            mr_landing_slice_done(f->open);
            /* Only repeats so far: their move is decided without a file, or their segment would never be freed. */
            if (mr_landing_records(f->open) == 0 || f->ids.count >= IDS_MAX || f->skipped.count >= MR_SKIPPED_MOST)
                f->close_wanted = true;
        }
    }
    l->running = false;
    for (struct feed *f = l->feeds; f; f = f->next)
        feed_recover(f);
    lander_pump(l);
}

static void stage_done(struct mr_job *job, bool canceled)
{
    struct lander *l = MR_OF(job, struct lander, job);
    if (canceled)
        for (size_t i = 0; i < l->items_count; i++)
            if (l->items[i].fate != ITEM_SKIP && !l->items[i].feed->stage_failed) {
                l->items[i].feed->stage_failed = true;
                mr_err_set(&l->items[i].feed->stage_err, MR_ECANCELED, "stopping");
            }
    slice_end(l);
}

/* The end of the queue counts as read up to the horizon of then: what lay there last may be freed or void. */
static void slice_read(struct lander *l)
{
    if (l->items_count)
        l->cursor = l->items[l->items_count - 1].seq;
    if (l->at_end && l->cursor < l->read_to)
        l->cursor = l->read_to;
}

static void plan(struct lander *l, const unsigned char *answers)
{
    size_t next_id = 0;
    bool work = false;
    for (size_t i = 0; i < l->items_count; i++) {
        struct item *it = &l->items[i];
        enum mr_seen_answer landed = MR_SEEN_NO;
        if (next_id < l->ids_count && l->id_items[next_id] == i)
            landed = (enum mr_seen_answer)answers[next_id++];
        plan_one(l, it, landed);
        work |= it->fate != ITEM_SKIP;
    }
    slice_read(l);
    if (!work) {
        slice_end(l);
        return;
    }
    l->job = (struct mr_job){.run = stage_run, .done = stage_done};
    mr_worker_submit(l->hub->core->loop->workers, MR_LANE_COMPRESS, &l->job);
}

static void on_seen(void *arg, const struct mr_err *err, const unsigned char *answers, size_t count)
{
    struct lander *l = arg;
    (void)count;
    if (err->code == MR_OK) {
        plan(l, answers);
        return;
    }
    mr_log_warn(l->hub->core->loop->log, NULL, "seen_ids_unread", MR_S("why", err->msg));
    for (size_t i = 0; i < l->items_count;
         i++) { /* nothing was planned yet: the feeds start this slice over after a back-off */
        struct feed *f = feed_of(l, slice_str(l, l->items[i].key_at, l->items[i].key_n));
        if (!f->failing)
            feed_fail(f, err);
    }
    slice_read(l);
    slice_end(l);
}

static void read_done(struct mr_job *job, bool canceled)
{
    struct lander *l = MR_OF(job, struct lander, job);
    if (canceled || l->err.code != MR_OK) {
        if (!canceled)
            mr_log_error(l->hub->core->loop->log, NULL, "queue_unread", MR_S("why", l->err.msg),
                         MR_S("hint", "check the disk of data_dir"));
        if (l->once && l->drain_err.code == MR_OK)
            l->drain_err = l->err;
        l->items_count = 0;
        if (l->rewind_to == 0 || l->cursor + 1 < l->rewind_to)
            l->rewind_to = l->cursor + 1; /* the reader may have gone on before it failed */
        l->read_again_ms = mr_loop_now_ms(l->hub->core->loop) + READ_AGAIN_MS;
        slice_end(l);
        return;
    }
    l->ids_count = 0;
    for (size_t i = 0; i < l->items_count; i++) {
        struct item *it = &l->items[i];
        if (!it->has_id)
            continue;
        l->ids[l->ids_count] = it->seen;
        l->first_days[l->ids_count] = it->first_day;
        l->id_items[l->ids_count++] = i;
    }
    if (l->ids_count)
        mr_store_seen(l->hub->core->store, l->ids, l->first_days, l->ids_count, on_seen, l);
    else
        plan(l, NULL);
}

void slice_begin(struct lander *l)
{
    l->running = true;
    l->lingered = false;
    l->read_to = l->horizon;
    l->job = (struct mr_job){.run = read_run, .done = read_done};
    mr_worker_submit(l->hub->core->loop->workers, MR_LANE_COMPRESS, &l->job);
}
