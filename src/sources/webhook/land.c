/* SPDX-License-Identifier: Apache-2.0 */
/* land.c - from the queue to the zone: one cursor over the durable queue, one landing at a time for each feed.
 *
 * A feed is one (source, stream) with records in the queue, whether its source is configured or gone. Its position is the
 * sequence landed up to, under the part named after the queue. A slice is what one turn takes from the queue:
 *
 *   read    worker   copy records up to the horizon, find their event ids
 *   look    store    which of those ids have landed already?
 *   plan    loop     per record: stage, skip (behind the position, or a repeat), quarantine (same id, other body)
 *   stage   worker   envelopes into the feeds' landings (stage.c)
 *
 * happy path    slices until the horizon; a landing rolls -> decide with the move -> published -> segments may go
 * ways to fail  a decision lost (fenced, seen, sealed), a zone or store that fails: the feed drops what it had open, reads
 *               its position again, and the cursor goes back to it; other feeds skip what they have had
 * on close      the slice at hand ends; open landings are abandoned: the queue still has their records */
#include "dedup.h"
#include "hub.h"
#include "quarantine.h"
#include "skipped.h"

#include "millrace/backoff.h"
#include "millrace/json.h"
#include "millrace/worker.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SLICE_BYTES = 1 << 20,   /* of records: large enough that hand-overs cost little, small against the memory budget */
    SLICE_RECORDS = 4096,
    BYTES_KEPT = 8 << 20,
    CONFLICT_QUIET_MS = 3600000,
    LINGER_MS = 40,          /* a landing lives for a second or more, so waiting for a fuller slice costs nothing */
    LINGER_RECORDS = 1024,   /* as many waiting: start at once */
    IDS_MAX = 65536,         /* of one landing: bounds its memory and the length of its decision */
    FLIGHTS_MAX = 3,         /* landings of one feed between closing and published */
    READ_AGAIN_MS = 1000,    /* after a read of the queue failed */
};

struct flight { /* a landing that was closed */
    struct feed *feed;
    struct flight *next;
    uint64_t first, last;    /* sequences that it answers for */
    struct mr_idset ids;     /* until decided */
    char landing[64];        /* its id, if it decided a list of skipped sequences; else empty */
    uint64_t forgets;        /* deletions of such lists that its decision carries */
    bool decided;
};

struct feed {
    struct lander *lander;
    struct feed *next;
    char *key;
    char *name;              /* the source alone: alerts are closed by this name */
    struct mr_str source, stream; /* slices of key */
    int64_t version;         /* that the next move expects: rises with each decision asked for */
    uint64_t covered;        /* everything up to it is landed, staged, or a repeat */
    uint64_t open_first;     /* first sequence of the open landing */
    uint64_t published;      /* the newest sequence of a published landing */
    struct mr_landing *open;
    struct mr_idset ids;     /* of the open landing */
    struct skipped skipped;  /* and what it passed over */
    struct flight *flights, **flights_end;
    unsigned flights_count;
    bool close_wanted;
    bool failing;            /* dropping, then reading its position again */
    bool reading;            /* the position is asked for */
    bool known;              /* and answered: */
    int64_t known_version;
    uint64_t known_covered;
    uint64_t retry_at_ms;    /* failing: not before */
    struct mr_backoff backoff;
    bool stage_failed;       /* by the worker, in this slice */
    struct mr_err stage_err;
    struct mr_cell *duplicates, *conflicts;
    uint64_t conflict_ms;    /* when the last one came; 0: none since the alert closed */
};

enum item_fate { ITEM_STAGE, ITEM_SKIP, ITEM_CONFLICT, ITEM_BAD };
struct item {
    uint64_t seq;
    size_t key_at, key_n, payload_at, payload_n, id_at, id_n;
    size_t json_at, json_n;  /* the body as it will land; n == 0: it is no JSON, or lands exact */
    bool has_id;
    struct mr_seen seen;
    int32_t first_day;
    enum item_fate fate;
    struct feed *feed;
    struct mr_landing *landing;
};

struct lander {
    struct hub *hub;
    struct mr_queue_reader *reader;
    struct feed *feeds;
    uint64_t horizon, cursor, rewind_to; /* cursor: last sequence read */
    uint64_t read_to;        /* the horizon when the slice at hand began */
    uint64_t read_again_ms;  /* not before */
    int64_t arrived_us;      /* of the newest event read with an id: how far behind is dedup? */
    uv_timer_t timer;        /* linger and retries */
    bool running, stopping, timer_closed, lingered;
    /* the slice; the worker's while it is out */
    struct mr_job job;
    struct mr_buf bytes;
    struct item *items;
    size_t items_count;
    struct mr_seen *ids;
    int32_t *first_days;
    size_t *id_items;
    size_t ids_count;
    struct mr_err err;
    bool at_end;
    struct mr_buf line;      /* worker: position, request, verified as JSON */
    char queue_id[33];

    bool draining, once;
    uint64_t drain_to;
    struct mr_err drain_err;
    void (*drain_cb)(void *arg, const struct mr_err *err);
    void *drain_arg;
    void (*stop_cb)(void *arg);
    void *stop_arg;
};

static void pump(struct lander *l);
static void feed_fail(struct feed *f, const struct mr_err *err);

/* ---- feeds ------------------------------------------------------------------------------------------------------------- */

static struct feed *feed_new(struct lander *l, struct mr_str key)
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

static struct feed *feed_of(struct lander *l, struct mr_str key)
{
    for (struct feed *f = l->feeds; f; f = f->next)
        if (mr_str_eq(mr_str_c(f->key), key))
            return f;
    return feed_new(l, key); /* never landed: version 0 */
}

static void feed_free(struct feed *f)
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

static void feed_at(struct feed *f, int64_t version, struct mr_str value)
{
    f->version = version;
    f->covered = sequence_of(value);
}

/* ---- closing and deciding ---------------------------------------------------------------------------------------------- */

static void on_position(void *arg, const struct mr_err *err, const struct mr_position *position)
{
    struct feed *f = arg;
    struct lander *l = f->lander;
    f->reading = false;
    if (err->code != MR_OK) {
        f->retry_at_ms = mr_loop_now_ms(l->hub->core->loop) + (uint64_t)mr_backoff_next(&f->backoff, mr_random_u64());
        mr_log_warn(l->hub->core->loop->log, f->key, "position_unread", MR_S("why", err->msg));
        pump(l);
        return;
    }
    f->known = true;
    f->known_version = position->version;
    f->known_covered = sequence_of(position->value);
    pump(l);
}

/* A feed goes on from the position that it read, between slices only: the one at hand was read from where the cursor was,
 * and staging from it would jump over what lies before. */
static void feeds_go_on(struct lander *l)
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

static bool may_recover(const struct feed *f)
{
    if (!f->failing || f->reading || f->known || f->open)
        return false;
    for (const struct flight *x = f->flights; x; x = x->next)
        if (!x->decided)
            return false;
    return true;
}

/* A failing feed reads its position once nothing of it is open or undecided any more, and not before its back-off. */
static void feed_recover(struct feed *f)
{
    struct lander *l = f->lander;
    struct mr_loop *loop = l->hub->core->loop;
    if (!may_recover(f) || l->stopping)
        return;
    if (mr_loop_now_ms(loop) < f->retry_at_ms)
        return;
    f->reading = true;
    mr_store_position(l->hub->core->store, f->source, f->stream, mr_str_c(l->queue_id), on_position, f);
}

static void feed_drop(struct feed *f)
{
    mr_landing_abandon(f->open);
    f->open = NULL;
    mr_idset_free(&f->ids);
}

static void feed_fail(struct feed *f, const struct mr_err *err)
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
    pump(l);
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
    pump(l);
}

static void on_roll(void *arg, struct mr_landing *landing, enum mr_roll_reason why)
{
    struct feed *f = arg;
    (void)landing;
    (void)why;
    f->close_wanted = true;
    pump(f->lander);
}

static void feed_begin(struct feed *f, uint64_t first)
{
    struct mr_landing_owner owner = {.on_roll = on_roll, .arg = f};
    f->open = mr_landing_begin(f->lander->hub->core->landings, f->source, (struct mr_str){0}, MR_LANDING_ROLLING, &owner);
    f->open_first = first;
    skipped_clear(&f->skipped);
    f->close_wanted = false;
}

static void feed_close(struct feed *f)
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
    size_t rows_count = skipped_rows(&f->skipped, f->source, f->stream, mr_str_c(mr_landing_id(landing)), lists, &rows, &x->forgets);
    if (lists)
        snprintf(x->landing, sizeof x->landing, "%s", mr_landing_id(landing));
    mr_landing_decide(landing, &move, 1, rows, rows_count, x->ids.ids, x->ids.count, &end);
}

/* ---- the slice ------------------------------------------------------------------------------------------------------------ */

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
    /* The decision looks at the neighbouring days whatever the window, so the look-up must too: what it does not see is staged, lost, and staged again. */
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

static enum mr_seen_answer seen_in_flight(const struct feed *f, const struct mr_seen *id)
{
    enum mr_seen_answer a = mr_idset_find(&f->ids, id);
    for (const struct flight *x = f->flights; x && a == MR_SEEN_NO; x = x->next)
        a = mr_idset_find(&x->ids, id);
    return a;
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
    enum mr_seen_answer seen = landed != MR_SEEN_NO ? landed : seen_in_flight(f, &it->seen);
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
        mr_alert_open(l->hub->core->loop->alerts, MR_A_ID_CONFLICT, f->name, NULL, "event id %.*s came again with another body (queue sequence %" PRIu64 ")",
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

/* The landing is the loop's again. `running` holds until all feeds were looked at, so that a landing that rolls on the way is closed by the pump below. */
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
    pump(l);
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
    for (size_t i = 0; i < l->items_count; i++) { /* nothing was planned yet: the feeds start this slice over after a back-off */
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
            mr_log_error(l->hub->core->loop->log, NULL, "queue_unread", MR_S("why", l->err.msg), MR_S("hint", "check the disk of data_dir"));
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

/* ---- what next? ------------------------------------------------------------------------------------------------------------- */

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
        if (may_recover(f))
            wait = f->retry_at_ms <= now_ms ? 1 : f->retry_at_ms - now_ms < wait ? f->retry_at_ms - now_ms : wait;
    return wait;
}

static void on_timer(uv_timer_t *t)
{
    struct lander *l = MR_OF(t, struct lander, timer);
    l->lingered = true;
    pump(l);
}

static void tell_drained(struct lander *l)
{
    void (*cb)(void *, const struct mr_err *) = l->drain_cb;
    l->drain_cb = NULL;
    struct mr_err err = l->drain_err;
    if (cb)
        cb(l->drain_arg, &err);
}

static void slice_begin(struct lander *l)
{
    l->running = true;
    l->lingered = false;
    l->read_to = l->horizon;
    l->job = (struct mr_job){.run = read_run, .done = read_done};
    mr_worker_submit(l->hub->core->loop->workers, MR_LANE_COMPRESS, &l->job);
}

static void pump(struct lander *l)
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
    pump(l);
}

/* ---- life ------------------------------------------------------------------------------------------------------------------- */

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

enum mr_code lander_start(struct lander *l, struct mr_err *err)
{
    struct mr_queue_facts facts;
    mr_queue_facts(l->hub->queue, &facts);
    /* What was decided was published before this start: its segments may go. */
    for (struct feed *f = l->feeds; f; f = f->next)
        if (f->covered)
            mr_queue_published(l->hub->queue, mr_str_c(f->key), f->covered);
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
    pump(l);
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

/* Undecided flights and position look-ups call back into us: they are waited for. Decided ones that cannot be published now are not. */
static void maybe_stopped(struct lander *l)
{
    if (l->timer_closed || l->running)
        return;
    for (struct feed *f = l->feeds; f; f = f->next) {
        if (f->open) {
            mr_landing_abandon(f->open);
            f->open = NULL;
        }
        if (f->reading)
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
    pump(l);
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
    mr_buf_printf(json, ",\"queue\":{\"id\":\"%s\",\"durable\":%" PRIu64 ",\"read\":%" PRIu64 ",\"behind\":%" PRIu64 "}", l->queue_id, l->horizon,
                  l->cursor, behind);
}
