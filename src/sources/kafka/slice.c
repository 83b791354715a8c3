/* SPDX-License-Identifier: Apache-2.0 */
/* slice.c - a slice of messages on the worker: each becomes a record of its landing. Keys, values and headers stay where librdkafka has
 * unpacked them until they are in the envelope; the events go when the slice has ended. Two slices take turns: one is filled while the other is out. */
#include "kafka.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADERS_MAX = 256 }; /* of most messages: more are taken from the heap */
static const int64_t LAST_MS = INT64_C(253402300799999); /* 9999-12-31: what the text of a time can say */

/* ---- worker ---- */

/* The library parses the headers of a message when it is first asked for them. */
static size_t take_headers(const rd_kafka_message_t *m, struct mr_header *out, struct mr_header **more)
{
    rd_kafka_headers_t *all;
    *more = NULL;
    rd_kafka_message_t *asked = (rd_kafka_message_t *)(uintptr_t)m;
    if (rd_kafka_message_headers(asked, &all) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    size_t count = rd_kafka_header_cnt(all), n = 0;
    if (count > HEADERS_MAX) {
        *more = malloc(count * sizeof **more);
        assert(*more);
        out = *more;
    }
    const char *name;
    const void *value;
    size_t size;
    for (; n < count && rd_kafka_header_get_all(all, n, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR; n++)
        out[n] = (struct mr_header){.name = mr_str_c(name), .value = {value, value ? size : 0}};
    return n;
}

/* Confluent's wire format: a zero, the schema's id, the value. */
static bool has_schema(const rd_kafka_message_t *m)
{
    return m->len >= 5 && *(const unsigned char *)m->payload == 0;
}

static uint32_t schema_of(const rd_kafka_message_t *m)
{
    const unsigned char *v = m->payload;
    return (uint32_t)v[1] << 24 | (uint32_t)v[2] << 16 | (uint32_t)v[3] << 8 | v[4];
}

static void put_position(struct mr_buf *line, const struct partition *p, const rd_kafka_message_t *m)
{
    mr_buf_put(line, p->position, p->position_n);
    mr_buf_u64(line, (uint64_t)m->offset);
    if (has_schema(m)) {
        mr_buf_puts(line, ",\"schema_id\":");
        mr_buf_u64(line, schema_of(m));
    }
    mr_buf_putc(line, '}');
}

static enum mr_code stage_one(struct kafka *k, const struct item *it, struct mr_header *room, struct mr_err *err)
{
    const rd_kafka_message_t *m = it->message;
    const struct partition *p = it->p;
    rd_kafka_timestamp_type_t type;
    int64_t ts_ms = rd_kafka_message_timestamp(m, &type);
    bool sayable = type != RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && ts_ms >= 0 && ts_ms <= LAST_MS;
    struct mr_buf *line = &k->line;
    struct mr_header *more;
    mr_buf_clear(line);
    mr_buf_put(line, p->id, p->id_n);
    mr_buf_u64(line, (uint64_t)m->offset);
    size_t id_n = line->n;
    put_position(line, p, m);
    size_t position_n = line->n;
    if (!sayable && type != RD_KAFKA_TIMESTAMP_NOT_AVAILABLE)
        mr_buf_printf(line, "%" PRId64, ts_ms);
    if (line->failed)
        return mr_err_set(err, MR_ENOMEM, "no memory for the position of a record");
    struct mr_member raw_time = {.name = "event_at_ms", .json = {line->p + position_n, line->n - position_n}};
    size_t headers_count = take_headers(m, room, &more);
    struct mr_record record = {
        .source = mr_str_c(k->name),
        .stream = {p->topic->name, p->topic->name_n},
        .id = {line->p, id_n},
        .ingested_at_us = it->at_us,
        .event_at_us = sayable ? ts_ms * 1000 : MR_NO_TIME,
        .event_at_type = type == RD_KAFKA_TIMESTAMP_CREATE_TIME ? MR_STR("create") : type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME ? MR_STR("append") : (struct mr_str){0},
        .position = {line->p + id_n, position_n - id_n},
        .members = &raw_time,
        .members_count = raw_time.json.n > 0,
        .replay = mr_str_c(k->run),
        .key = {m->key, m->key ? m->key_len : 0},
        .headers = headers_count ? (more ? more : room) : NULL,
        .headers_count = headers_count,
        .data = {m->payload, m->payload ? m->len : 0},
        .payload = (enum mr_payload)k->o->payload,
    };
    enum mr_code code = mr_landing_add(it->landing, &record, err);
    free(more);
    return code;
}

static void mark(struct partition *p, const rd_kafka_message_t *m)
{
    struct mr_str key = {m->key, m->key ? m->key_len : 0}, value = {m->payload, m->payload ? m->len : 0};
    p->mark = (struct mark){.offset = m->offset, .crc = kafka_record_crc(key, value), .ts_ms = rd_kafka_message_timestamp(m, NULL)};
}

static void run(struct mr_job *job) /* Runs on: worker */
{
    struct kafka *k = MR_OF(job, struct kafka, job);
    struct slice *s = &k->out;
    struct mr_header room[HEADERS_MAX];
    for (size_t i = 0; i < s->count; i++) {
        struct item *it = &s->items[i];
        if (!it->landing || it->p->bundle->stage_failed)
            continue;
        struct mr_err err = {0};
        if (stage_one(k, it, room, &err) != MR_OK) {
            it->p->bundle->stage_failed = true;
            it->p->bundle->stage_err = err;
        } else if (it->last) {
            mark(it->p, it->message);
        }
    }
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].event)
            rd_kafka_event_destroy(s->items[i].event);
}

/* ---- loop ---- */

static void slice_end(struct kafka *k)
{
    struct slice *s = &k->out;
    for (size_t i = 0; i < s->count; i++) {
        struct item *it = &s->items[i];
        it->p->items--;
        if (it->last && it->turn == it->p->turn && !it->p->bundle->stage_failed)
            it->p->at.anchor = (struct kafka_anchor){it->p->mark.offset, it->p->mark.crc, it->p->mark.ts_ms};
    }
    s->count = s->bytes = 0;
    for (struct bundle *f = k->bundles; f; f = f->next) {
        bool touched = f->touched;
        f->touched = false;
        if (f->stage_failed) {
            f->stage_failed = false;
            mr_alert_open(k->loop->alerts, MR_A_ZONE_UNWRITABLE, k->name, NULL, "%s", f->stage_err.msg);
            bundle_fail(f, &f->stage_err);
        } else if (touched && f->open && !f->failing) {
            mr_landing_slice_done(f->open);
        }
    }
    k->working = false; /* until here: a landing that rolls on the way is closed by the pump */
    kafka_pump(k);
}

static void done(struct mr_job *job, bool canceled)
{
    struct kafka *k = MR_OF(job, struct kafka, job);
    if (canceled) {
        for (size_t i = 0; i < k->out.count; i++) {
            struct item *it = &k->out.items[i];
            if (it->event)
                rd_kafka_event_destroy(it->event);
            if (it->landing) {
                it->p->bundle->stage_failed = true;
                mr_err_set(&it->p->bundle->stage_err, MR_ECANCELED, "stopping");
            }
        }
    }
    slice_end(k);
}

/* What has become of an item since it was taken: to be staged, or read again from another place? */
static bool place_item(struct kafka *k, struct item *it)
{
    struct partition *p = it->p;
    if (it->turn != p->turn || !p->bundle)
        return false;
    /* Either it came to others who fail, with records of its own on the way, or something between was dropped: they are read again. */
    if (p->bundle->failing || it->from > p->covered) {
        p->turn++;
        take_again(p, TROUBLE_NONE);
        return false;
    }
    if (it->next > p->covered)
        p->covered = it->next;
    if (!it->event) {
        if (p->covered > p->at.next && p->moved_at_ms == 0)
            p->moved_at_ms = mr_loop_now_ms(k->loop);
        return false;
    }
    if (!p->bundle->open)
        bundle_open(p->bundle);
    it->landing = p->bundle->open;
    p->in_open = p->bundle->touched = true;
    if (k->schemas && has_schema(it->message))
        kafka_schemas_seen(k->schemas, schema_of(it->message));
    p->covered_ts_ms = p->read_ts_ms;
    return true;
}

void slice_submit(struct kafka *k)
{
    bool work = false;
    if (k->working || k->filling.count == 0 || k->stopping || bundles_full(k))
        return;
    struct slice full = k->filling;
    k->filling = k->out;
    k->out = full;
    k->slices++;
    for (size_t i = 0; i < k->out.count; i++)
        work |= place_item(k, &k->out.items[i]);
    for (size_t i = k->out.count; i-- > 0;) {
        struct item *it = &k->out.items[i];
        it->last = it->landing && it->p->stamp != k->slices;
        if (it->last)
            it->p->stamp = k->slices;
    }
    mr_cell_add(k->records, (int64_t)k->out.count);
    mr_cell_add(k->bytes, (int64_t)k->out.bytes);
    k->working = true;
    if (!work) {
        for (size_t i = 0; i < k->out.count; i++)
            if (k->out.items[i].event)
                rd_kafka_event_destroy(k->out.items[i].event);
        slice_end(k);
        return;
    }
    k->job = (struct mr_job){.run = run, .done = done};
    mr_worker_submit(k->loop->workers, MR_LANE_COMPRESS, &k->job);
}
