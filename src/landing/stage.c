/* SPDX-License-Identifier: Apache-2.0 */
/* stage.c - the first step: records are encoded and written to files that no reader can see, then made durable.
 *
 * happy path    add: envelope into `lines`; at LINES_AT compress into `packed`; at PACKED_AT write. close: last frame,
 * write, sync ways to fail  no space, a sync that fails: the landing is dropped whole, its door still has the input on
 * close      a file is closed exactly once: by stage_close() kept for publish, by stage_drop() deleted */
#include "internal.h"

#include "millrace/fault.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    LINES_AT = 128 * 1024,  /* large enough for zstd to work in whole blocks, small enough for the cache */
    PACKED_AT = 256 * 1024, /* one write(2) */
    KEEP_AT_MOST = 1 << 20, /* memory kept from one record to the next; a giant's is given back */
};
/* One record's line: a body of the largest body_limit, each byte escaped as \uXXXX, with room for its headers. */
static const size_t LINE_MAX_BYTES = (size_t)2 << 30;

static struct staged *file_of(struct mr_landing *l, struct mr_str stream)
{
    if (l->last_file < l->files_count) {
        struct staged *last = &l->files[l->last_file];
        if (mr_str_eq((struct mr_str){last->stream, last->stream_n}, stream))
            return last;
    }
    for (size_t i = 0; i < l->files_count; i++) {
        if (mr_str_eq((struct mr_str){l->files[i].stream, l->files[i].stream_n}, stream)) {
            l->last_file = i;
            return &l->files[i];
        }
    }
    return NULL;
}

/* Its final name: a bucket wants it from the start. NULL: err says why. */
static char *path_of(const struct mr_landing *l, const struct staged *f, const char *name, struct mr_err *err)
{
    struct mr_buf path;
    mr_buf_init(&path, 8192);
    mr_zone_path(&path, mr_str_c(l->source), (struct mr_str){f->stream, f->stream_n}, l->roll.day, mr_str_c(name), l->codec);
    mr_buf_putc(&path, 0);
    if (!path.failed)
        return path.p; /* ours now */
    mr_buf_free(&path);
    mr_err_set(err, MR_ETOOBIG, "path of source %s, stream %s", l->source, f->stream);
    return NULL;
}

static enum mr_code file_begin(struct mr_landing *l, struct mr_str stream, struct staged **out, struct mr_err *err)
{
    if (l->files_count == l->files_cap) {
        size_t cap = l->files_cap ? l->files_cap * 2 : 1;
        struct staged *files = realloc(l->files, cap * sizeof *files);
        if (!files)
            return mr_err_set(err, MR_ENOMEM, "stage %s", l->id);
        l->files = files;
        l->files_cap = cap;
    }
    struct staged *f = &l->files[l->files_count];
    memset(f, 0, sizeof *f);
    f->stream = malloc(stream.n + 1);
    if (!f->stream)
        return mr_err_set(err, MR_ENOMEM, "stage %s", l->id);
    memcpy(f->stream, stream.p, stream.n);
    f->stream[stream.n] = 0;
    f->stream_n = stream.n;
    mr_buf_init(&f->lines, LINE_MAX_BYTES);
    mr_buf_init(&f->packed, LINE_MAX_BYTES);
    if (mr_deflater_new(l->codec, 1, &f->deflater, err) != MR_OK) {
        free(f->stream);
        return err->code;
    }
    char name[96];
    snprintf(name, sizeof name, "%s-%zu", l->id, l->files_count);
    f->path = path_of(l, f, name, err);
    const struct mr_stage_name stage = {l->ls->instance.id, l->id, name, f->path};
    if (!f->path || mr_stage_file_create(l->ls->o.zone, &stage, &f->file, err) != MR_OK) {
        mr_deflater_free(f->deflater);
        free(f->stream);
        free(f->path);
        return err->code;
    }
    l->last_file = l->files_count++;
    *out = f;
    return MR_OK;
}

static enum mr_code write_packed(struct mr_landing *l, struct staged *f, struct mr_err *err)
{
    if (f->packed.n == 0)
        return MR_OK;
    int fault = MR_POINT(stage_write);
    if (fault)
        return mr_err_sys(err, fault, "stage %s", l->id);
    if (mr_stage_file_write(f->file, mr_buf_str(&f->packed), err) != MR_OK)
        return err->code;
    f->bytes += (int64_t)f->packed.n;
    mr_buf_clear(&f->packed);
    return MR_OK;
}

static void give_back(struct mr_buf *b)
{
    if (b->cap > KEEP_AT_MOST)
        mr_buf_free(b);
    else
        mr_buf_clear(b);
}

static enum mr_code pack(struct mr_landing *l, struct staged *f, bool end, struct mr_err *err)
{
    if (mr_deflater_feed(f->deflater, mr_buf_str(&f->lines), end, &f->packed, err) != MR_OK)
        return err->code;
    give_back(&f->lines);
    if (end || f->packed.n >= PACKED_AT) {
        if (write_packed(l, f, err) != MR_OK)
            return err->code;
        give_back(&f->packed);
    }
    return MR_OK;
}

enum mr_code mr_landing_add(struct mr_landing *l, const struct mr_record *record, struct mr_err *err)
{
    assert(l->state == LANDING_OPEN && !l->failed);
    struct staged *f = file_of(l, record->stream);
    if ((!f && file_begin(l, record->stream, &f, err) != MR_OK) || mr_envelope_put(&f->lines, record, err) != MR_OK ||
        (f->lines.n >= LINES_AT && pack(l, f, false, err) != MR_OK)) {
        l->failed = true;
        return mr_err_wrap(err, "stage %s", l->source);
    }
    f->rows++;
    l->records++;
    return MR_OK;
}

static enum mr_code file_close(struct mr_landing *l, struct staged *f, struct mr_err *err)
{
    int fault = MR_POINT(stage_close);
    if (fault)
        return mr_err_sys(err, fault, "stage %s", l->id);
    if (pack(l, f, true, err) != MR_OK || mr_stage_file_sync(f->file, &f->crc32c, &f->bytes, err) != MR_OK)
        return err->code;
    f->staged_path = strdup(mr_stage_file_staged(f->file));
    if (!f->staged_path)
        return mr_err_set(err, MR_ENOMEM, "stage %s", l->id);
    mr_stage_file_close(f->file, false);
    f->file = NULL;
    mr_deflater_free(f->deflater); /* its window is the largest thing a landing holds, and deciding may take a while */
    f->deflater = NULL;
    mr_buf_free(&f->lines);
    mr_buf_free(&f->packed);
    return MR_OK;
}

enum mr_code stage_close(struct mr_landing *l, struct mr_err *err)
{
    for (size_t i = 0; i < l->files_count; i++)
        if (file_close(l, &l->files[i], err) != MR_OK)
            return mr_err_wrap(err, "stage %s", l->source);
    return MR_OK;
}

void stage_drop(struct mr_landing *l)
{
    for (size_t i = 0; i < l->files_count; i++) {
        struct staged *f = &l->files[i];
        if (f->file)
            mr_stage_file_close(f->file, true);
        else if (f->staged_path)
            mr_zone_unstage(l->ls->o.zone, f->staged_path, f->path);
        f->file = NULL;
    }
}

void stage_free(struct mr_landing *l)
{
    for (size_t i = 0; i < l->files_count; i++) {
        struct staged *f = &l->files[i];
        if (f->file && !mr_zone_is_far(l->ls->o.zone)) /* of a drop that was canceled; a far one would wait for the loop, and the process ends */
            mr_stage_file_close(f->file, false);
        mr_deflater_free(f->deflater);
        mr_buf_free(&f->lines);
        mr_buf_free(&f->packed);
        free(f->stream);
        free(f->path);
        free(f->staged_path);
    }
    free(l->files);
}
