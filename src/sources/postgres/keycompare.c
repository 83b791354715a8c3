/* SPDX-License-Identifier: Apache-2.0 */
/* keycompare.c - which keys are gone: the keys that are there, against those that were there at the last scan and those that have landed since.
 *
 * All three are ascending sequences without duplicates, so one step of the comparison looks at three keys: what only the first has or also has goes into
 * the new file, what it has not is gone. A landing takes the tombstones. */
#include "keyscan.h"

#include "millrace/hash.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { THERE, LANDED, BEFORE, SLICE_KEYS = 50000, SLICE_GONE = 10000, SLICE_LOG = 100000 };
static const int64_t SLICE_VERIFY = INT64_C(16) << 20;

struct compare *compare_new(const struct keyscan *k)
{
    const struct stream *s = k->s;
    struct compare *c = calloc(1, sizeof *c);
    assert(c);
    c->dir = strdup(k->dir);
    c->description = strdup(k->description);
    assert(c->dir && c->description);
    c->g = k->version;
    c->logs = k->landed.k;
    c->was = k->at;
    c->has_was = k->at.file && !k->lost;
    c->is = (struct pg_keys_named){.file = k->version + 1};
    c->fd = -1;
    c->before_file.fd = c->log_file.fd = -1;
    c->source = s->pg->name;
    c->stream = s->name;
    c->style = postgres_style(s->pg->o);
    c->columns.items = calloc(KEYSCAN_PARTS, sizeof *c->columns.items);
    assert(c->columns.items);
    for (size_t i = 0; i < s->o->key.count && i < KEYSCAN_PARTS; i++)
        c->columns.items[c->columns.count++] = *pg_columns_find(&s->columns, s->o->key.items[i]);
    mr_buf_init(&c->data, 1 << 30);
    mr_buf_init(&c->key, PG_KEY_MAX + 64);
    c->there = pg_sort_new(c->dir);
    return c;
}

static void close_one(struct pg_keys_fd *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

static void leave_log(struct compare *c)
{
    if (c->log_open)
        pg_keys_in_free(&c->log);
    c->log_open = false;
    close_one(&c->log_file);
}

void compare_free(struct compare *c)
{
    if (!c)
        return;
    assert(!c->landing);
    leave_log(c);
    if (c->before_open)
        pg_keys_in_free(&c->before);
    close_one(&c->before_file);
    if (c->fd >= 0)
        close(c->fd);
    pg_sort_free(c->there);
    pg_sort_free(c->landed);
    pg_keys_out_free(&c->out);
    mr_buf_free(&c->data);
    mr_buf_free(&c->key);
    free(c->columns.items);
    free(c->dir);
    free(c->description);
    free(c);
}

/* ---- rows ---- */

static enum mr_code take_row(struct compare *c, struct mr_str row, struct mr_err *err)
{
    mr_buf_clear(&c->data);
    mr_buf_clear(&c->key);
    if (pg_row_put(&c->columns, &c->style, row, 0, 0, &c->data, c->values, NULL, err) != MR_OK)
        return err->code;
    mr_buf_putc(&c->key, '['); /* as intake.c writes it */
    for (size_t i = 0; i < c->columns.count; i++) {
        if (i)
            mr_buf_putc(&c->key, ',');
        mr_buf_put(&c->key, c->data.p + c->values[i].at, c->values[i].n);
    }
    mr_buf_putc(&c->key, ']');
    if (c->key.failed)
        return mr_err_set(err, MR_ETOOBIG, "a row's key has more than %d bytes: deletes cannot be told of such keys", PG_KEY_MAX);
    c->rows++;
    return pg_sort_add(c->there, mr_buf_str(&c->key), err);
}

enum mr_code compare_row(struct compare *c, struct mr_str message, struct mr_err *err)
{
    enum pg_copy_what what = PG_COPY_NOTHING;
    enum mr_code code = pg_copy_take(&c->copy, &message, &what, err);
    return code == MR_OK && what == PG_COPY_ROW ? take_row(c, message, err) : code;
}

/* ---- the last scan's file ---- */

static void no_before(struct compare *c, const struct mr_err *why)
{
    c->was_wrong = *why;
    c->has_was = false;
    if (c->before_open)
        pg_keys_in_free(&c->before);
    c->before_open = false;
    close_one(&c->before_file);
}

static bool is_damage(enum mr_code code) /* as against: the disk does not answer now */
{
    return code == MR_ECORRUPT || code == MR_ENOENT;
}

static enum mr_code open_before(struct compare *c, struct mr_err *err)
{
    c->before_file.at = 0;
    c->before_open = true;
    enum mr_code code = pg_keys_in_init(&c->before, PG_KEYS_SORTED, pg_keys_fd_read, &c->before_file, err);
    if (code == MR_OK && !mr_str_eq(mr_buf_str(&c->before.description), mr_str_c(c->description)))
        code = mr_err_set(err, MR_ECORRUPT, "the key's columns, their types or how they are written have changed since");
    return code;
}

static enum mr_code verify(struct compare *c, struct mr_err *err)
{
    enum mr_code code = MR_EEND;
    if (c->has_was && c->before_file.fd < 0)
        code = pg_keys_open(c->dir, c->was.file, &c->before_file.fd, err);
    else if (c->has_was)
        code = MR_OK;
    if (c->has_was && code == MR_OK)
        code = pg_keys_verify(c->before_file.fd, &c->was, SLICE_VERIFY, &c->verified, &c->verified_sum, err);
    if (code == MR_OK)
        return MR_OK; /* there is more of it */
    if (code == MR_EEND)
        code = c->has_was ? open_before(c, err) : MR_OK;
    if (is_damage(code)) {
        no_before(c, err);
        code = MR_OK;
    }
    c->step = COMPARE_LOGS;
    return code;
}

/* ---- what has landed since ---- */

/* *more false: there is no other log. */
static enum mr_code open_log(struct compare *c, bool *more, struct mr_err *err)
{
    while (c->log_file.fd < 0) {
        *more = c->logs >= 0;
        if (!*more)
            return MR_OK;
        enum mr_code code = pg_landed_open(c->dir, c->g, c->logs--, &c->log_file.fd, err);
        if (code != MR_OK)
            return code;
    }
    c->log_file.at = 0;
    c->log_open = true;
    enum mr_code code = pg_keys_in_init(&c->log, PG_KEYS_LOG, pg_keys_fd_read, &c->log_file, err);
    if (code == MR_OK && !mr_str_eq(mr_buf_str(&c->log.description), mr_str_c(c->description)))
        code = mr_err_set(err, MR_ECORRUPT, "the key's columns, their types or how they are written have changed since");
    return code;
}

static enum mr_code end_logs(struct compare *c, struct mr_err *err)
{
    enum mr_code code = pg_sort_end(c->landed, err);
    c->step = COMPARE_MERGE;
    return code;
}

static enum mr_code gather_logs(struct compare *c, struct mr_err *err)
{
    if (!c->landed)
        c->landed = pg_sort_new(c->dir);
    for (unsigned i = 0; i < SLICE_LOG; i++) {
        bool more = true;
        enum mr_code code = c->log_open ? MR_OK : open_log(c, &more, err);
        if (!more)
            return end_logs(c, err);
        if (code == MR_OK)
            code = pg_keys_next(&c->log, err);
        if (code == MR_OK)
            code = pg_sort_add(c->landed, c->log.key, err);
        if (code == MR_ECORRUPT)
            c->log_wrong = *err; /* what is before it counts, what is behind it is not known */
        if (code == MR_ECORRUPT || code == MR_EEND)
            leave_log(c);
        else if (code != MR_OK)
            return code;
    }
    return MR_OK;
}

/* ---- comparing ---- */

static enum mr_code advance(struct compare *c, unsigned which, struct mr_err *err)
{
    enum mr_code code = MR_EEND;
    c->heads[which] = (struct mr_str){0};
    if (which == BEFORE) {
        if (c->has_was && (code = pg_keys_next(&c->before, err)) == MR_OK)
            c->heads[which] = c->before.key;
    } else {
        struct pg_sort *sort = which == THERE ? c->there : c->landed;
        if ((code = pg_sort_next(sort, err)) == MR_OK)
            c->heads[which] = pg_sort_key(sort);
    }
    return code == MR_EEND ? MR_OK : code;
}

static enum mr_code begin_merge(struct compare *c, struct mr_err *err)
{
    enum mr_code code = pg_keys_out_init(&c->out, PG_KEYS_SORTED, err);
    if (code == MR_OK)
        code = pg_keys_head(&c->out, mr_str_c(c->description), err);
    if (code == MR_OK)
        code = pg_keys_create(c->dir, c->is.file, &c->fd, err);
    for (unsigned i = 0; i < 3 && code == MR_OK; i++)
        code = advance(c, i, err);
    c->ready = code == MR_OK;
    return code;
}

static enum mr_code tombstone(struct compare *c, struct mr_str key, struct mr_err *err)
{
    char position[40];
    if (key.n < 2 || key.p[0] != '[' || key.p[key.n - 1] != ']')
        return mr_err_set(err, MR_ECORRUPT, "a key of %zu bytes is none: it is no JSON array", key.n);
    int n = snprintf(position, sizeof position, "{\"xid\":%" PRIu64 "}", c->is.xmax);
    mr_buf_clear(&c->data);
    mr_buf_put(&c->data, key.p, key.n - 1);
    mr_buf_printf(&c->data, ",\"deleted\",%" PRIu64 "]", c->is.xmax);
    const struct mr_record record = {.source = mr_str_c(c->source),
                                     .stream = mr_str_c(c->stream),
                                     .id = mr_buf_str(&c->data),
                                     .ingested_at_us = mr_wall_us(),
                                     .event_at_us = MR_NO_TIME,
                                     .position = {position, (size_t)n},
                                     .key = key,
                                     .payload = MR_PAYLOAD_JSON};
    if (c->data.failed)
        return mr_err_set(err, MR_ENOMEM, "no memory for the key of a row");
    c->gone++;
    return mr_landing_add(c->landing, &record, err);
}

/* The least of the three goes where it belongs; whoever has it goes on. */
static enum mr_code step(struct compare *c, struct mr_err *err)
{
    const struct mr_str *least = NULL;
    bool has[3];
    for (unsigned i = 0; i < 3; i++)
        if (c->heads[i].p && (!least || pg_keys_compare(c->heads[i], *least) < 0))
            least = &c->heads[i];
    if (!least)
        return MR_EEND;
    for (unsigned i = 0; i < 3; i++)
        has[i] = c->heads[i].p && mr_str_eq(c->heads[i], *least);
    enum mr_code code = has[THERE] ? pg_keys_put(&c->out, *least, err) : tombstone(c, *least, err);
    if (code == MR_OK)
        code = pg_keys_write(c->fd, &c->out, false, &c->is.bytes, err);
    for (unsigned i = 0; i < 3 && code == MR_OK; i++)
        if (has[i])
            code = advance(c, i, err);
    return code;
}

static enum mr_code merge(struct compare *c, struct mr_err *err)
{
    enum mr_code code = c->ready ? MR_OK : begin_merge(c, err);
    int64_t gone = c->gone;
    for (unsigned i = 0; code == MR_OK && i < SLICE_KEYS && c->gone - gone < SLICE_GONE; i++)
        code = step(c, err);
    if (code != MR_EEND)
        return code;
    c->step = COMPARE_OVER;
    return MR_OK;
}

enum mr_code compare_begin(struct compare *c, struct mr_err *err)
{
    return pg_sort_end(c->there, err);
}

enum mr_code compare_slice(struct compare *c, struct mr_err *err)
{
    switch (c->step) {
    case COMPARE_VERIFY:
        return verify(c, err);
    case COMPARE_LOGS:
        return gather_logs(c, err);
    case COMPARE_MERGE:
        return merge(c, err);
    default:
        return MR_OK;
    }
}

enum mr_code compare_end(struct compare *c, struct mr_err *err)
{
    enum mr_code code = pg_keys_end(&c->out, err);
    if (code == MR_OK)
        code = pg_keys_write(c->fd, &c->out, true, &c->is.bytes, err);
    if (code == MR_OK)
        code = pg_keys_publish(c->dir, c->is.file, c->fd, err);
    c->is.keys = c->out.count;
    c->is.sum = c->out.sum;
    return code;
}
