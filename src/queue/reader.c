/* SPDX-License-Identifier: Apache-2.0 */
/* reader.c - a cursor over durable records.
 *
 * happy path    find the segment of the next sequence; open it; stream up to the end that was durable then; ask again
 * ways to fail  damage: its bytes are kept in quarantine before they are stepped over; if they cannot be kept, the
 *               cursor stays and MR_EIO says so. A read fails: likewise.
 *               The segment is freed meanwhile: everything in it is published, so it is left without a word. Its
 *               file may be another segment's by then; what was read from it fails the salted checksums, so `gone`
 *               is asked first.
 * Damage may hold the last record of a source, whose position then can never pass it: a segment in which damage was
 * met is read again whole, and only what is really there keeps it from being freed. */
#include "queue/internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct mr_queue_reader {
    struct mr_queue *q;
    uint64_t seq; /* next wanted */
    struct mr_segment *seg;
    uint64_t number, start, salt;
    int fd;
    struct mr_scan scan;
    bool damaged;           /* met damage in this segment */
    uint64_t keep_from, keep_to; /* damage that is not in quarantine yet */
};

enum mr_code mr_queue_reader_new(struct mr_queue *q, uint64_t from, struct mr_queue_reader **out, struct mr_err *err)
{
    struct mr_queue_reader *r = calloc(1, sizeof *r);
    if (!r)
        return mr_err_sys(err, ENOMEM, "queue reader");
    r->q = q;
    r->seq = from;
    r->fd = -1;
    q->readers_open++;
    *out = r;
    return MR_OK;
}

static void leave(struct mr_queue_reader *r)
{
    if (!r->seg)
        return;
    mr_scan_free(&r->scan);
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    uv_mutex_lock(&r->q->lock);
    r->seg->readers--;
    mr_segment_unref(r->seg);
    uv_mutex_unlock(&r->q->lock);
    r->seg = NULL;
    r->damaged = false;
    r->keep_from = r->keep_to = 0;
}

void mr_queue_reader_free(struct mr_queue_reader *r)
{
    if (!r)
        return;
    leave(r);
    r->q->readers_open--;
    free(r);
}

void mr_queue_seek(struct mr_queue_reader *r, uint64_t seq)
{
    /* Onwards in the same segment the scan goes on as it is; backwards it begins anew. */
    if (seq < r->seq)
        leave(r);
    r->seq = seq;
    r->scan.skip_below = seq;
}

static bool gone(struct mr_queue_reader *r)
{
    uv_mutex_lock(&r->q->lock);
    bool gone = r->seg->gone;
    uv_mutex_unlock(&r->q->lock);
    return gone;
}

/* The first segment that has, or may get, the sequence. Under lock. */
static struct mr_segment *find(struct mr_queue *q, uint64_t seq)
{
    for (size_t i = 0; i < q->segs_n; i++) {
        struct mr_segment *s = q->segs[i];
        if (s->at.last_seq >= s->at.first_seq && s->at.last_seq >= seq)
            return s;
    }
    return NULL;
}

static enum mr_code enter(struct mr_queue_reader *r, struct mr_err *err)
{
    struct mr_queue *q = r->q;
    uv_mutex_lock(&q->lock);
    struct mr_segment *s = find(q, r->seq);
    if (s) {
        mr_segment_ref(s);
        s->readers++;
        r->number = s->at.number;
        r->start = s->at.start;
        r->salt = s->at.salt;
        mr_scan_init(&r->scan, -1, s->at.salt, s->at.start, s->at.end, 0);
    }
    r->seg = s;
    uv_mutex_unlock(&q->lock);
    if (!s)
        return MR_EEND;
    char path[PATH_MAX];
    mr_seg_path(path, q->dir, MR_SEG_FILE, r->number);
    r->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (r->fd < 0) {
        int sys = errno;
        bool freed = gone(r);
        leave(r);
        return freed ? MR_OK : mr_err_sys(err, sys, "open %s", path); /* freed: the next one is looked for */
    }
    r->scan.fd = r->fd;
    r->scan.skip_below = r->seq;
    return MR_OK;
}

/* -- damage ----------------------------------------------------------------------------------------------------- */

void mr_queue_note_damage(struct mr_queue *q, uint64_t number, uint64_t from, uint64_t fresh)
{
    mr_cell_add(q->corrupt, (int64_t)fresh);
    uv_mutex_lock(&q->lock);
    q->corrupt_bytes += fresh;
    snprintf(q->corrupt_where, sizeof q->corrupt_where, "%016" PRIx64 "-%" PRIu64 ".bin", number, from);
    uv_mutex_unlock(&q->lock);
    mr_queue_signal(q);
}

static enum mr_code keep_damage(struct mr_queue_reader *r, struct mr_err *err)
{
    uint64_t fresh;
    enum mr_code rc = mr_seg_quarantine(r->q->quarantine, r->number, r->fd, r->keep_from, r->keep_to, &fresh, err);
    if (rc != MR_OK)
        return mr_err_wrap(err, "damaged bytes of segment %" PRIu64 " cannot be kept", r->number);
    if (fresh)
        mr_queue_note_damage(r->q, r->number, r->keep_from, fresh);
    r->damaged = true;
    r->keep_from = r->keep_to = 0;
    return MR_OK;
}

/* Which sources have records that are really there? False if it cannot be read. */
static bool sources_of(struct mr_queue_reader *r, uint64_t end, struct mr_sources *out, uint64_t *last_seq)
{
    struct mr_scan scan;
    struct mr_scan_item item;
    mr_scan_init(&scan, r->fd, r->salt, r->start, end, 0);
    do {
        mr_scan_next(&scan, &item);
        if (item.kind == MR_SCAN_RECORD)
            mr_sources_note(out, item.source, item.seq);
    } while (item.kind == MR_SCAN_RECORD || item.kind == MR_SCAN_DAMAGE);
    *last_seq = scan.last_seq;
    mr_scan_free(&scan);
    return item.kind == MR_SCAN_END;
}

static void settle_sources(struct mr_queue_reader *r)
{
    struct mr_sources there = {0};
    uint64_t upto;
    if (sources_of(r, r->scan.end, &there, &upto)) {
        uv_mutex_lock(&r->q->lock);
        struct mr_sources *t = &r->seg->sources;
        for (size_t i = 0; i < t->n; i++) {
            struct mr_str name = {t->rows[i].name, t->rows[i].n};
            if (t->rows[i].seq <= upto || r->scan.end == r->seg->at.end) /* later ones came after the reading */
                t->rows[i].seq = mr_sources_get(&there, name);
        }
        r->q->free_wanted = true;
        uv_mutex_unlock(&r->q->lock);
        mr_queue_signal(r->q);
    }
    mr_sources_free(&there);
}

/* -- next ------------------------------------------------------------------------------------------------------- */

/* At the end that was known: is there more by now? MR_OK: go on (here or in the next segment). */
static enum mr_code at_end(struct mr_queue_reader *r)
{
    uv_mutex_lock(&r->q->lock);
    uint64_t end = r->seg->at.end, last_seq = r->seg->at.last_seq;
    bool current = r->seg->current && !r->seg->suspect && !r->seg->gone;
    uv_mutex_unlock(&r->q->lock);
    if (end > r->scan.end) {
        r->scan.end = end;
        return MR_OK;
    }
    if (r->damaged) {
        r->damaged = false;
        settle_sources(r);
    }
    if (r->seq <= last_seq)
        r->seq = last_seq + 1;
    if (current)
        return MR_EEND; /* stays open: the next records come here */
    leave(r);
    return MR_OK;
}

static enum mr_code step(struct mr_queue_reader *r, struct mr_queue_record *out, bool *got, struct mr_err *err)
{
    struct mr_scan_item item;
    if (r->keep_to > 0)
        return gone(r) ? (leave(r), MR_OK) : keep_damage(r, err);
    mr_scan_next(&r->scan, &item);
    switch (item.kind) {
    case MR_SCAN_RECORD:
        if (item.seq < r->seq)
            return MR_OK;
        r->seq = item.seq + 1;
        *out = (struct mr_queue_record){item.seq, item.source, item.payload};
        *got = true;
        return MR_OK;
    case MR_SCAN_END:
        return at_end(r);
    case MR_SCAN_DAMAGE:
        r->keep_from = item.from;
        r->keep_to = item.to;
        return MR_OK;
    case MR_SCAN_FAILED:
        if (gone(r)) {
            leave(r);
            return MR_OK;
        }
        return mr_err_sys(err, item.sys, "read segment %" PRIu64, r->number);
    }
    return MR_OK;
}

enum mr_code mr_queue_next(struct mr_queue_reader *r, struct mr_queue_record *out, struct mr_err *err)
{
    bool got = false;
    for (;;) {
        if (r->seq > atomic_load(&r->q->horizon))
            return MR_EEND;
        enum mr_code rc = r->seg ? step(r, out, &got, err) : enter(r, err);
        if (rc != MR_OK || got)
            return rc;
    }
}
