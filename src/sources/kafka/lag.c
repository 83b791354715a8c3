/* SPDX-License-Identifier: Apache-2.0 */
/* lag.c - how far behind is reading, how far landing; will retention overtake us; does a transaction hold a partition back? From the library's
 * statistics, which a worker takes apart: with a thousand partitions they are a megabyte. */
#include "kafka.h"

#include "millrace/clock.h"
#include "millrace/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

enum { PACE_MS = 3600000 };

struct row {
    char topic[256];
    int32_t number;
    int64_t low, high, stable;
};
struct reading {
    struct mr_job job;
    struct kafka *k;
    rd_kafka_event_t *event;
    struct row *rows;
    size_t count, cap;
    bool any_up;
};

static int64_t number_at(struct mr_str object, const char *pointer)
{
    int64_t n = -1;
    return mr_json_i64(mr_json_at(object, mr_str_c(pointer)), &n) && n >= 0 ? n : -1;
}

static void read_partition(struct reading *r, struct mr_str topic, struct mr_str p)
{
    int64_t number = -1;
    if (!mr_json_i64(mr_json_at(p, MR_STR("/partition")), &number) || number < 0 || topic.n < 2 || topic.n - 2 >= sizeof r->rows->topic)
        return;
    if (r->count == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 64;
        r->rows = realloc(r->rows, r->cap * sizeof *r->rows);
        assert(r->rows);
    }
    struct row *row = &r->rows[r->count++];
    *row = (struct row){.number = (int32_t)number, .low = number_at(p, "/lo_offset"), .high = number_at(p, "/hi_offset"), .stable = number_at(p, "/ls_offset")};
    memcpy(row->topic, topic.p + 1, topic.n - 2); /* between its quotes: names of topics need no escapes */
}

static void run(struct mr_job *job) /* Runs on: worker */
{
    struct reading *r = MR_OF(job, struct reading, job);
    const char *text = rd_kafka_event_stats(r->event);
    struct mr_str json = mr_str_c(text ? text : ""), key;
    struct mr_json_iter topics, partitions, brokers;
    struct mr_json_slice value;
    if (mr_json_check(json, NULL) != MR_OK)
        return;
    mr_json_iter(&brokers, mr_json_at(json, MR_STR("/brokers")));
    while (mr_json_next(&brokers, &key, &value))
        r->any_up |= mr_str_eq(mr_json_at(value.raw, MR_STR("/state")).raw, MR_STR("\"UP\""));
    mr_json_iter(&topics, mr_json_at(json, MR_STR("/topics")));
    while (mr_json_next(&topics, &key, &value)) {
        struct mr_str topic = key, ignored;
        struct mr_json_slice one;
        mr_json_iter(&partitions, mr_json_at(value.raw, MR_STR("/partitions")));
        while (mr_json_next(&partitions, &ignored, &one))
            read_partition(r, topic, one.raw);
    }
}

/* How fast does retention come, and how fast do we go? Measured from one step of the log's start to a later one: it moves by whole segments. */
static void look_at_pace(struct partition *p, int64_t low)
{
    uint64_t now_ms = mr_loop_now_ms(p->k->loop);
    if (low <= p->low || p->low < 0)
        return;
    if (p->pace.since_ms == 0 || now_ms - p->pace.since_ms > PACE_MS)
        p->pace = (struct pace){.since_ms = now_ms, .low = low, .landed = p->published};
}

static void on_ends(struct kafka_ask *ask)
{
    struct kafka *k = MR_OF(ask, struct kafka, ends);
    k->ends_out = false;
    for (size_t i = 0; ask->err.code == MR_OK && i < ask->count; i++) {
        const struct kafka_answer *a = &ask->parts[i];
        struct partition *p = partition_find(k, a->topic, a->number);
        if (!p || p->state == PARTITION_IDLE)
            continue;
        look_at_pace(p, a->earliest);
        p->low = a->earliest;
        if (k->o->isolation == 0)
            p->stable = a->end;
        if (a->end > p->high)
            p->high = a->end;
    }
    kafka_ask_free(ask);
    kafka_pump(k);
}

/* What is paused is not fetched, and the library hears no more of where it begins and ends. */
static void ask_ends(struct kafka *k)
{
    if (k->ends_out || k->stopping || !(k->paused || k->held))
        return;
    kafka_ask_init(&k->ends, k->rk);
    for (size_t i = 0; i < k->partitions_cap; i++)
        if (k->partitions[i] && k->partitions[i]->assigned)
            kafka_ask_part(&k->ends, k->partitions[i]->topic->name, k->partitions[i]->number, KAFKA_ASK_EARLIEST | KAFKA_ASK_END);
    if (k->ends.count == 0) {
        kafka_ask_free(&k->ends);
        return;
    }
    k->ends_out = true;
    k->ends.done = on_ends;
    kafka_ask_start(&k->ends, k->loop->workers);
}

static void done(struct mr_job *job, bool canceled)
{
    struct reading *r = MR_OF(job, struct reading, job);
    struct kafka *k = r->k;
    uint64_t now_ms = mr_loop_now_ms(k->loop);
    k->lag_out = false;
    rd_kafka_event_destroy(r->event);
    for (size_t i = 0; i < r->count && !canceled; i++) {
        const struct row *row = &r->rows[i];
        struct partition *p = partition_find(k, row->topic, row->number);
        if (!p || p->state == PARTITION_IDLE)
            continue;
        bool stale = (k->paused || k->held) && row->high <= p->high;
        if (row->low >= 0 && !stale) {
            look_at_pace(p, row->low);
            p->low = row->low;
        }
        if (!stale) {
            p->high = row->high;
            p->stable = row->stable;
        }
        bool stuck = !k->paused && !k->held && k->o->isolation == 0 && row->stable >= 0 && row->stable < row->high;
        if (!stuck)
            p->stuck_since_ms = 0;
        else if (p->stuck_since_ms == 0 || p->stuck_at != row->stable)
            p->stuck_since_ms = now_ms + 1;
        p->stuck_at = row->stable;
    }
    if (!canceled && r->any_up)
        trouble_up(k);
    free(r->rows);
    free(r);
    ask_ends(k);
    kafka_pump(k);
}

void lag_event(struct kafka *k, rd_kafka_event_t *event)
{
    struct reading *r = k->lag_out || k->stopping ? NULL : calloc(1, sizeof *r);
    if (!r) {
        rd_kafka_event_destroy(event);
        return;
    }
    r->k = k;
    r->event = event;
    k->lag_out = true;
    r->job = (struct mr_job){.run = run, .done = done};
    mr_worker_submit(k->loop->workers, MR_LANE_MISC, &r->job);
}

static double behind_s(int64_t lag, int64_t ts_ms, int64_t now_ms)
{
    return lag > 0 && ts_ms >= 0 && now_ms > ts_ms ? (double)(now_ms - ts_ms) / 1000 : 0;
}

/* Everything up to which offset has landed? What only passes over no records counts as landed before it is decided. */
static int64_t landed_up_to(const struct partition *p)
{
    return p->published >= p->at.next && partition_quiet(p) ? p->covered : p->published;
}

static void set_lag(struct partition *p)
{
    int64_t end = p->k->o->isolation == 0 ? p->stable : p->high, now_ms = mr_wall_us() / 1000;
    bool ours = p->state != PARTITION_IDLE;
    if (end < p->read)
        end = p->read;
    int64_t read = ours ? end - p->read : 0, landed = ours ? end - landed_up_to(p) : 0;
    mr_cell_set(p->read_lag, (double)read);
    mr_cell_set(p->landed_lag, (double)(landed > 0 ? landed : 0));
    mr_cell_set(p->read_lag_s, behind_s(read, p->read_ts_ms, now_ms));
    mr_cell_set(p->landed_lag_s, behind_s(landed, p->published_ts_ms >= 0 ? p->published_ts_ms : p->covered_ts_ms, now_ms));
}

/* Minutes until the log's start reaches what has not landed; -1: never, or not known yet. */
static double minutes_left(const struct partition *p)
{
    const struct kafka *k = p->k;
    double s = p->pace.since_ms ? (double)(mr_loop_now_ms(k->loop) - p->pace.since_ms) / 1000 : 0;
    double theirs = (double)(p->low - p->pace.low), ours = (double)(p->published - p->pace.landed);
    if (s <= 0 || p->low <= p->pace.low || theirs <= ours || p->published < p->low || p->published >= p->high)
        return -1;
    return (double)(p->published - p->low) / ((theirs - ours) / s) / 60;
}

static void look_at_topic(struct kafka *k, struct topic *t)
{
    const struct partition *near = NULL, *hanging = NULL;
    double left = 0;
    uint64_t now_ms = mr_loop_now_ms(k->loop);
    for (size_t i = 0; i < k->partitions_cap; i++) {
        const struct partition *p = k->partitions[i];
        if (!p || p->topic != t || p->state == PARTITION_IDLE)
            continue;
        double minutes = minutes_left(p);
        if (minutes >= 0 && minutes * 60000 < (double)k->o->retention_warning_ms && (!near || minutes < left)) {
            near = p;
            left = minutes;
        }
        if (k->o->transaction_warning_ms && p->stuck_since_ms && now_ms - p->stuck_since_ms > (uint64_t)k->o->transaction_warning_ms)
            hanging = p;
    }
    if (near)
        mr_alert_open(k->loop->alerts, MR_A_KAFKA_RETENTION, k->name, t->name,
                      "partition %s: retention reaches you in %.0f minutes: it deletes faster than we land, and has come to %" PRId64 " offsets behind us", near->part, left,
                      near->published - near->low);
    else
        mr_alert_close(k->loop->alerts, MR_A_KAFKA_RETENTION, k->name, t->name);
    if (hanging)
        mr_alert_open(k->loop->alerts, MR_A_KAFKA_TRANSACTION, k->name, t->name, "partition %s: a transaction that is still open at offset %" PRId64 " holds back %" PRId64 " offsets since %" PRIu64 " s",
                      hanging->part, hanging->stable, hanging->high - hanging->stable, (now_ms - hanging->stuck_since_ms) / 1000);
    else
        mr_alert_close(k->loop->alerts, MR_A_KAFKA_TRANSACTION, k->name, t->name);
}

void lag_look(struct kafka *k)
{
    for (size_t i = 0; i < k->partitions_cap; i++)
        if (k->partitions[i])
            set_lag(k->partitions[i]);
    for (struct topic *t = k->topics; t; t = t->next)
        look_at_topic(k, t);
}
