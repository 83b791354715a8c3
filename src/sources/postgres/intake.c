/* SPDX-License-Identifier: Apache-2.0 */
/* intake.c - rows of one or several COPYs on the way into a landing.
 *
 * happy path    row (loop) -> slice -> worker: is it new? -> envelope -> landing; … -> end -> done
 * ways to fail  a row that makes no sense, a zone that takes nothing: the first failure is told, once the worker has come back
 * on close      dropped: the landing goes as soon as the worker is out of it */
#include "keydir.h"
#include "postgres.h"

#include "millrace/hash.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS_MAX = 32, KEYS_BYTES = 256 << 10, LINE_LIMIT = 1 << 30 };
static const int64_t FIRST_US = INT64_C(-62135596800000000), LAST_US = INT64_C(253402300799999999); /* years 1 to 9999 */

struct slice {
    struct slice *next;
    struct intake_part *part;     /* NULL: a note */
    const char *stream, *id;    /* of a note: which stream, and its id; copies, behind the text */
    size_t n, cap;
    int64_t at_us;
    char bytes[]; /* of each row its length (uint32_t), and it */
};

struct intake {
    struct stream *s;
    struct pg_conn *conn;
    struct mr_landing *landing;
    struct slice *first, *last; /* waiting; the last is being filled */
    struct slice *out;          /* the worker's */
    size_t waiting;             /* bytes */
    bool held, ended, dropped, told;
    struct mr_job job;
    struct mr_err err;
    int64_t bytes;
    void (*done)(void *arg, const struct mr_err *err);
    void *arg;
    /* the worker's */
    struct pg_style style;
    const char *snapshot;
    size_t key[KEYS_MAX], keys;
    struct pg_value *values;
    struct mr_buf data, line, omitted;
    int64_t row;
    struct pg_landed *landed; /* NULL, or gets the keys */
    struct pg_keys_out log;
    uint64_t landed_since;
    bool noting, noted; /* loop: the log is being made durable; it is */
};

/* ---- worker ---- */

struct row {
    uint32_t id;        /* transaction */
    uint64_t x;
    int64_t watermark;  /* PG_ALL: NULL or -infinity */
    bool null;
    int64_t time;       /* of a watermark with a zone: microseconds; else MR_NO_TIME */
    struct pg_field ctid;
};

static bool has_ids(const struct intake_part *part)
{
    return part->rule <= INTAKE_REPLAY;
}

static bool take_leading(const struct intake *f, const struct intake_part *part, struct mr_str row, struct row *out, size_t *skip)
{
    struct pg_fields fields;
    struct pg_field field;
    bool ids = has_ids(part);
    *out = (struct row){.watermark = PG_ALL, .time = MR_NO_TIME};
    *skip = 0;
    if (!pg_fields_begin(&fields, row))
        return false;
    if (ids) {
        ++*skip;
        if (!pg_fields_next(&fields, &field) || !pg_field_uint4(field, &out->id))
            return false;
        out->x = pg_widen(out->id, part->end);
    }
    if (part->has_ctid) {
        ++*skip;
        if (!pg_fields_next(&fields, &out->ctid))
            return false;
    }
    if (part->has_watermark) {
        ++*skip;
        if (!pg_fields_next(&fields, &field))
            return false;
        out->null = field.n < 0;
        if (!out->null && !pg_watermark_get(f->s->watermark->form, field, &out->watermark))
            return false;
    }
    if (part->has_time) {
        ++*skip;
        if (!pg_fields_next(&fields, &field))
            return false;
        if (field.n >= 0 && !pg_watermark_get(PG_FORM_TIMESTAMPTZ, field, &out->time))
            return false;
    }
    return true;
}

static bool is_new(const struct intake_part *part, const struct row *row)
{
    switch (part->rule) {
    case INTAKE_PULL:
        return row->x >= part->lo && !pg_ids_landed(part->r->ids, row->id, row->watermark);
    case INTAKE_WALK:
        return row->x >= part->lo && row->x < part->hi && !pg_ids_landed(part->r->ids, row->id, row->watermark);
    case INTAKE_REPLAY:
        return row->x >= part->lo && row->x < part->hi;
    default:
        return true;
    }
}

static bool is_late(const struct intake_part *part, const struct row *row)
{
    return (part->rule == INTAKE_WALK || part->rule == INTAKE_PULL) && row->x < part->late_below;
}

static void put_key(struct intake *f)
{
    for (size_t i = 0; i < f->keys; i++) {
        const struct pg_value *v = &f->values[f->key[i]];
        if (i)
            mr_buf_putc(&f->line, ',');
        mr_buf_put(&f->line, f->data.p + v->at, v->n);
    }
}

static void put_watermark(struct intake *f, const struct row *row)
{
    if (row->null)
        mr_buf_puts(&f->line, "null");
    else
        pg_watermark_put(f->s->watermark->form, &f->style, row->watermark, &f->line);
}

/* The row's stable name: design of ids in docs/postgres.md. */
static void put_id(struct intake *f, const struct intake_part *part, const struct row *row)
{
    struct mr_buf *line = &f->line;
    uint32_t block;
    uint16_t offset;
    mr_buf_putc(line, '[');
    if (f->keys) {
        put_key(f);
        mr_buf_putc(line, ',');
    } else if (part->has_ctid && pg_field_tid(row->ctid, &block, &offset)) {
        if (part->has_relation)
            mr_buf_printf(line, "%" PRIu32 ",", part->r->oid);
        mr_buf_printf(line, "\"(%" PRIu32 ",%u)\",", block, offset);
    } else if (part->rule == INTAKE_SNAPSHOT) {
        mr_buf_printf(line, "%" PRId64 ",", f->row);
    } else {
        unsigned char hash[16];
        const struct mr_str data = mr_buf_str(&f->data);
        mr_hash128(&data, 1, hash);
        mr_buf_putc(line, '"');
        mr_hex_put(line, hash, sizeof hash);
        mr_buf_puts(line, "\",");
    }
    if (has_ids(part))
        mr_buf_u64(line, row->x);
    else if (part->rule == INTAKE_SNAPSHOT)
        mr_buf_printf(line, "\"%s\"", f->snapshot);
    else
        put_watermark(f, row);
    mr_buf_putc(line, ']');
}

static void put_position(struct intake *f, const struct intake_part *part, const struct row *row)
{
    struct mr_buf *line = &f->line;
    mr_buf_putc(line, '{');
    if (part->rule == INTAKE_SNAPSHOT) {
        mr_buf_printf(line, "\"snapshot\":\"%s\",\"row\":%" PRId64 "}", f->snapshot, f->row);
        return;
    }
    if (part->has_watermark) {
        mr_buf_puts(line, "\"watermark\":");
        put_watermark(f, row);
    }
    if (has_ids(part)) {
        mr_buf_puts(line, part->has_watermark ? ",\"xid\":" : "\"xid\":");
        mr_buf_u64(line, row->x);
    }
    mr_buf_putc(line, '}');
}

static int64_t event_at(const struct intake *f, const struct intake_part *part, const struct row *row)
{
    if (!part->has_watermark || row->null)
        return MR_NO_TIME;
    int64_t us = part->has_time ? row->time : pg_watermark_us(f->s->watermark->form, f->s->unit_us, row->watermark);
    return us >= FIRST_US && us <= LAST_US ? us : MR_NO_TIME;
}

/* Of a row that lands, should it be gone by the next scan of keys. */
static enum mr_code note_key(struct intake *f, struct mr_str key, struct mr_err *err)
{
    enum mr_code code = f->log.deflater ? MR_OK : pg_keys_out_init(&f->log, PG_KEYS_LOG, err);
    if (code == MR_OK)
        code = pg_keys_put(&f->log, key, err);
    if (code == MR_OK && f->log.bytes.n >= KEYS_BYTES)
        code = pg_landed_append(f->landed, &f->log, &f->landed_since, err);
    return code == MR_OK ? MR_OK : mr_err_wrap(err, "deletes");
}

static enum mr_code stage(struct intake *f, struct intake_part *part, const struct row *row, int64_t at_us, struct mr_err *err)
{
    struct mr_member members[3];
    char snapshot[64];
    size_t count = 0;
    struct mr_buf *line = &f->line;
    mr_buf_clear(line);
    put_id(f, part, row);
    size_t id_n = line->n;
    if (f->keys) {
        mr_buf_putc(line, '[');
        put_key(f);
        mr_buf_putc(line, ']');
    }
    size_t key_n = line->n - id_n;
    put_position(f, part, row);
    if (line->failed)
        return mr_err_set(err, MR_ENOMEM, "no memory for the key of a row");
    if (is_late(part, row))
        members[count++] = (struct mr_member){"late", MR_STR("true")};
    if (f->omitted.n) {
        members[count++] = (struct mr_member){"omitted", mr_buf_str(&f->omitted)};
        part->omitted++;
    }
    if (part->rule == INTAKE_SNAPSHOT) {
        int n = snprintf(snapshot, sizeof snapshot, "\"%s\"", f->snapshot);
        members[count++] = (struct mr_member){"snapshot", {snapshot, (size_t)n}};
    }
    struct mr_record record = {
        .source = mr_str_c(f->s->pg->name),
        .stream = mr_str_c(f->s->name),
        .id = {line->p, id_n},
        .ingested_at_us = at_us,
        .event_at_us = event_at(f, part, row),
        .position = {line->p + id_n + key_n, line->n - id_n - key_n},
        .members = members,
        .members_count = count,
        .replay = mr_str_c(f->s->pg->run),
        .key = {f->keys ? line->p + id_n : NULL, key_n},
        .data = mr_buf_str(&f->data),
        .payload = MR_PAYLOAD_JSON,
        .compact = true,
    };
    if (mr_landing_add(f->landing, &record, err) != MR_OK)
        return err->code;
    return f->landed && f->keys ? note_key(f, record.key, err) : MR_OK;
}

static enum mr_code stage_row(struct intake *f, struct intake_part *part, struct mr_str bytes, int64_t at_us, struct mr_err *err)
{
    struct row row;
    size_t skip;
    part->read++;
    if (!take_leading(f, part, bytes, &row, &skip))
        return mr_err_set(err, MR_EMALFORMED, "%s: a row of %zu bytes has not the fields that were asked for", part->r->part, bytes.n);
    if (row.null && f->s->o->null_watermark == PG_NULL_FAIL)
        return mr_err_set(err, MR_ECONFIG, "%s: a row has no %s: null_watermark says to fail", part->r->part, f->s->watermark->name);
    if (!is_new(part, &row) || (row.null && (f->s->o->null_watermark == PG_NULL_SKIP)))
        return MR_OK;
    mr_buf_clear(&f->data);
    mr_buf_clear(&f->omitted);
    f->row++;
    if (pg_row_put(&f->s->columns, &f->style, bytes, skip, part->r->toasted ? (uint64_t)f->s->pg->o->max_row : 0, &f->data, f->values, &f->omitted, err) != MR_OK)
        return mr_err_wrap(err, "%s", part->r->part);
    if (stage(f, part, &row, at_us, err) != MR_OK)
        return err->code;
    if (part->met)
        pg_met_add(part->met, row.x, part->end);
    part->rows++;
    part->late += is_late(part, &row);
    if (row.watermark != PG_ALL && row.watermark != INT64_MAX && row.watermark > part->newest)
        part->newest = row.watermark;
    return MR_OK;
}

static enum mr_code stage_note(struct intake *f, const struct slice *s, struct mr_err *err)
{
    struct mr_record record = {
        .source = mr_str_c(f->s->pg->name),
        .stream = mr_str_c(s->stream),
        .id = mr_str_c(s->id),
        .ingested_at_us = s->at_us,
        .event_at_us = MR_NO_TIME,
        .position = MR_STR("{}"),
        .replay = mr_str_c(f->s->pg->run),
        .data = {s->bytes, s->n},
        .payload = MR_PAYLOAD_JSON,
    };
    return mr_landing_add(f->landing, &record, err);
}

static void run(struct mr_job *job) /* Runs on: worker */
{
    struct intake *f = MR_OF(job, struct intake, job);
    const struct slice *s = f->out;
    if (!s->part) {
        struct mr_err err = {0};
        if (stage_note(f, s, &err) != MR_OK)
            f->err = err;
        return;
    }
    for (size_t at = 0; at < s->n && f->err.code == MR_OK;) {
        uint32_t n;
        struct mr_err err = {0};
        memcpy(&n, s->bytes + at, sizeof n);
        struct mr_str message = {s->bytes + at + sizeof n, n};
        enum pg_copy_what what = PG_COPY_NOTHING;
        at += sizeof n + n;
        if (pg_copy_take(&s->part->copy, &message, &what, &err) != MR_OK || (what == PG_COPY_ROW && stage_row(f, s->part, message, s->at_us, &err) != MR_OK))
            f->err = err;
    }
}

/* ---- loop ---- */

static void submit(struct intake *f);
static void go_on(struct intake *f);

static void free_slices(struct intake *f)
{
    for (struct slice *s = f->first, *next; s; s = next) {
        next = s->next;
        free(s);
    }
    f->first = f->last = NULL;
    f->waiting = 0;
}

void intake_free(struct intake *f)
{
    assert(!intake_is_busy(f));
    free_slices(f);
    if (f->landing)
        mr_landing_abandon(f->landing);
    mr_buf_free(&f->data);
    mr_buf_free(&f->line);
    mr_buf_free(&f->omitted);
    pg_keys_out_free(&f->log);
    free(f->values);
    free(f);
}

static void note_run(struct mr_job *job) /* Runs on: worker */
{
    struct intake *f = MR_OF(job, struct intake, job);
    struct mr_err err = {0};
    if (pg_keys_flush(&f->log, &err) != MR_OK || pg_landed_append(f->landed, &f->log, &f->landed_since, &err) != MR_OK || pg_landed_sync(f->landed, f->landed_since, &err) != MR_OK)
        f->err = err;
}

static void note_done(struct mr_job *job, bool canceled)
{
    struct intake *f = MR_OF(job, struct intake, job);
    if (canceled && f->err.code == MR_OK)
        mr_err_set(&f->err, MR_ECANCELED, "stopping");
    f->noting = false;
    go_on(f);
}

/* The keys of what lands are durable before it is decided. false: not yet. */
static bool noted(struct intake *f)
{
    if (f->noting)
        return false;
    if (f->noted || f->err.code != MR_OK || f->log.count == 0)
        return true;
    f->noting = f->noted = true;
    f->job = (struct mr_job){.run = note_run, .done = note_done};
    mr_worker_submit(f->s->pg->loop->workers, MR_LANE_SYNC, &f->job);
    return false;
}

static void go_on(struct intake *f)
{
    if (f->dropped) {
        f->done(f->arg, &(struct mr_err){.code = MR_ECANCELED});
        return;
    }
    if (f->err.code != MR_OK)
        free_slices(f);
    else
        submit(f);
    if (f->held && f->waiting < INTAKE_BYTES / 2) {
        f->held = false;
        pg_conn_go_on(f->conn);
    }
    if (f->out || f->told || !(f->ended || f->err.code != MR_OK))
        return;
    if ((f->err.code == MR_OK && f->first) || !noted(f))
        return;
    f->told = true;
    struct mr_err err = f->err;
    f->done(f->arg, &err);
}

static void done(struct mr_job *job, bool canceled)
{
    struct intake *f = MR_OF(job, struct intake, job);
    if (canceled && f->err.code == MR_OK)
        mr_err_set(&f->err, MR_ECANCELED, "stopping");
    free(f->out);
    f->out = NULL;
    if (f->landing)
        mr_landing_slice_done(f->landing);
    go_on(f);
}

static void submit(struct intake *f)
{
    struct slice *s = f->first;
    if (f->out || f->noting || !s || (s == f->last && !f->ended && s->n < SLICE_BYTES / 8))
        return;
    f->first = s->next;
    if (!f->first)
        f->last = NULL;
    f->waiting -= s->n;
    if (!f->landing)
        f->landing = mr_landing_begin(f->s->pg->core->landings, mr_str_c(f->s->pg->name), mr_str_c(f->s->pg->run), MR_LANDING_WHOLE, &(struct mr_landing_owner){0});
    f->out = s;
    f->job = (struct mr_job){.run = run, .done = done};
    mr_worker_submit(f->s->pg->loop->workers, MR_LANE_COMPRESS, &f->job);
}

void intake_note(struct intake *f, const char *stream, const char *id, struct mr_str data)
{
    size_t stream_n = strlen(stream) + 1, id_n = strlen(id) + 1;
    struct slice *s = malloc(sizeof *s + data.n + stream_n + id_n);
    assert(s);
    *s = (struct slice){.n = data.n, .at_us = mr_wall_us(), .stream = s->bytes + data.n, .id = s->bytes + data.n + stream_n};
    memcpy(s->bytes, data.p, data.n);
    memcpy(s->bytes + data.n, stream, stream_n);
    memcpy(s->bytes + data.n + stream_n, id, id_n);
    if (f->last)
        f->last->next = s;
    else
        f->first = s;
    f->last = s;
    f->waiting += s->n;
    f->told = false;
    submit(f);
}

static struct slice *room_for(struct intake *f, struct intake_part *part, size_t n)
{
    struct slice *s = f->last;
    if (s && s->part == part && s->cap - s->n >= n)
        return s;
    size_t cap = n > SLICE_BYTES ? n : SLICE_BYTES;
    s = malloc(sizeof *s + cap);
    assert(s);
    *s = (struct slice){.part = part, .cap = cap, .at_us = mr_wall_us()};
    if (f->last)
        f->last->next = s;
    else
        f->first = s;
    f->last = s;
    return s;
}

bool intake_row(struct intake *f, struct intake_part *part, const char *message, size_t n)
{
    uint32_t length = (uint32_t)n;
    if (f->dropped || f->err.code != MR_OK)
        return true; /* the caller hears of it by done */
    struct slice *s = room_for(f, part, sizeof length + n);
    memcpy(s->bytes + s->n, &length, sizeof length);
    memcpy(s->bytes + s->n + sizeof length, message, n);
    s->n += sizeof length + n;
    f->waiting += sizeof length + n;
    f->bytes += (int64_t)n;
    submit(f);
    f->held = f->waiting >= INTAKE_BYTES;
    return !f->held;
}

void intake_end(struct intake *f)
{
    f->ended = true;
    go_on(f);
}

void intake_drop(struct intake *f)
{
    f->dropped = true;
    free_slices(f);
}

bool intake_is_busy(const struct intake *f)
{
    return f->out != NULL || f->noting;
}

int64_t intake_bytes(const struct intake *f)
{
    return f->bytes;
}

struct mr_landing *intake_take(struct intake *f)
{
    struct mr_landing *l = f->landing;
    if (!l)
        l = mr_landing_begin(f->s->pg->core->landings, mr_str_c(f->s->pg->name), mr_str_c(f->s->pg->run), MR_LANDING_ROLLING, &(struct mr_landing_owner){0}); /* of moves alone: it holds no day */
    f->landing = NULL;
    return l;
}

struct intake *intake_new(struct stream *s, struct pg_conn *conn, const char *snapshot, void (*done_cb)(void *arg, const struct mr_err *err), void *arg)
{
    struct intake *f = calloc(1, sizeof *f);
    assert(f);
    f->s = s;
    f->conn = conn;
    f->snapshot = snapshot;
    f->done = done_cb;
    f->arg = arg;
    f->style = postgres_style(s->pg->o);
    f->values = calloc(s->columns.count ? s->columns.count : 1, sizeof *f->values);
    assert(f->values);
    for (size_t i = 0; i < s->o->key.count && f->keys < KEYS_MAX; i++)
        for (size_t k = 0; k < s->columns.count; k++)
            if (strcmp(s->columns.items[k].name, s->o->key.items[i]) == 0)
                f->key[f->keys++] = k;
    f->landed = keyscan_landed(s);
    mr_buf_init(&f->data, LINE_LIMIT);
    mr_buf_init(&f->line, LINE_LIMIT);
    mr_buf_init(&f->omitted, 1 << 20);
    return f;
}
