/* SPDX-License-Identifier: Apache-2.0 */
/* recover.c - from the files of a folder to the list of segments with their ends.
 *
 * happy path    every segment's end, void group and sources stand in the header of the next; the last one is synced and
 *               scanned for its end
 * ways to fail  a header is gone: the segment is scanned with the salt that the next header kept; without a next header
 *               its bytes go to quarantine whole. A header that says nothing of its predecessor's sources (too
 *               many): scanned. */
#include "queue/recover.h"

#include "millrace/fault.h"
#include "millrace/file.h"
#include "millrace/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SPARES_KEPT = 16 }; /* the queue itself keeps no more */

/* One file's header. */
struct head {
    struct mr_seg_entry entry;
    struct mr_seg_head h;
    uint64_t start;
    struct mr_sources prev_sources;
    bool whole;
};
struct recovery {
    const char *dir, *quarantine;
    uint64_t segment_size;
    struct head *heads;
    size_t n;
    struct mr_recovered *out;
};

/* -- the id ----------------------------------------------------------------------------------------------------- */

static enum mr_code id_parse(const char *text, size_t n, unsigned char id[MR_QUEUE_ID])
{
    const char *key = "\"id\":\"";
    const char *at = memmem(text, n, key, strlen(key));
    if (!at)
        return MR_ECORRUPT;
    at += strlen(key);
    size_t left = n - (size_t)(at - text);
    if (left < 2 * MR_QUEUE_ID + 1 || at[2 * MR_QUEUE_ID] != '"')
        return MR_ECORRUPT;
    return mr_hex_get((struct mr_str){at, 2 * MR_QUEUE_ID}, id, MR_QUEUE_ID) ? MR_OK : MR_ECORRUPT;
}

/* A lost queue.json must not make a new queue of old segments: positions are kept by the id. */
static bool id_of_segments(const char *dir, unsigned char id[MR_QUEUE_ID])
{
    struct mr_seg_entry *entries;
    size_t n;
    bool found = false;
    if (mr_seg_list(dir, &entries, &n, NULL) != MR_OK)
        return false;
    for (size_t i = n; i > 0 && !found; i--) {
        char path[PATH_MAX];
        struct mr_seg_head h;
        uint64_t start;
        if (entries[i - 1].kind == MR_SEG_SPARE)
            continue;
        mr_seg_path(path, dir, entries[i - 1].kind, entries[i - 1].number);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        found = mr_seg_head_read(fd, &h, &start, NULL, NULL) == MR_OK;
        if (found)
            memcpy(id, h.id, MR_QUEUE_ID);
        close(fd);
    }
    free(entries);
    return found;
}

enum mr_code mr_queue_id(const char *dir, unsigned char id[MR_QUEUE_ID], struct mr_err *err)
{
    char path[PATH_MAX], *text;
    size_t n;
    if (snprintf(path, sizeof path, "%s/queue.json", dir) >= PATH_MAX)
        return mr_err_sys(err, ENAMETOOLONG, "%s", dir);
    enum mr_code rc = mr_dir_make(dir, 0750, err);
    if (rc != MR_OK)
        return rc;
    rc = mr_file_read(path, 4096, &text, &n, err);
    if (rc == MR_OK) {
        rc = id_parse(text, n, id);
        free(text);
        if (rc != MR_OK)
            return mr_err_set(err, rc, "%s holds no queue id; restore it, or delete it: it is made again from the segments",
                              path);
        return rc;
    }
    if (rc != MR_ENOENT)
        return rc;
    if (!id_of_segments(dir, id))
        mr_random(id, MR_QUEUE_ID);
    struct mr_buf b;
    mr_buf_init(&b, 256);
    mr_buf_puts(&b, "{\"id\":\"");
    mr_hex_put(&b, id, MR_QUEUE_ID);
    mr_buf_puts(&b, "\",\"format\":1}\n");
    rc = mr_file_replace(path, mr_buf_str(&b), 0640, err);
    mr_buf_free(&b);
    return rc == MR_OK ? MR_ENOENT : rc;
}

/* -- headers ---------------------------------------------------------------------------------------------------- */

static enum mr_code head_load(struct recovery *r, const struct mr_seg_entry *e, const unsigned char id[MR_QUEUE_ID],
                              struct mr_err *err)
{
    char path[PATH_MAX];
    mr_seg_path(path, r->dir, e->kind, e->number);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return mr_err_sys(err, errno, "open %s", path);
    struct head *head = &r->heads[r->n++];
    head->entry = *e;
    enum mr_code rc = mr_seg_head_read(fd, &head->h, &head->start, &head->prev_sources, err);
    close(fd);
    head->whole = rc == MR_OK && head->h.number == e->number;
    if (rc != MR_OK && rc != MR_ECORRUPT)
        return mr_err_wrap(err, "segment %" PRIu64, e->number);
    if (head->whole && memcmp(head->h.id, id, MR_QUEUE_ID) != 0)
        return mr_err_set(err, MR_EMISMATCH, "%s belongs to another queue: its id is not that of queue.json", path);
    return MR_OK;
}

static void keep_spare(struct recovery *r, const struct mr_seg_entry *e)
{
    struct mr_recovered *out = r->out;
    if (e->size == r->segment_size && out->spares_n < SPARES_KEPT) {
        out->spares[out->spares_n++] = e->number;
        return;
    }
    char path[PATH_MAX];
    mr_seg_path(path, r->dir, MR_SEG_SPARE, e->number);
    (void)unlink(path);
}

static enum mr_code heads_load(struct recovery *r, struct mr_err *err)
{
    unsigned char id[MR_QUEUE_ID];
    struct mr_seg_entry *entries;
    size_t n;
    enum mr_code rc = mr_queue_id(r->dir, id, err);
    if (rc != MR_OK && rc != MR_ENOENT)
        return rc;
    rc = mr_seg_list(r->dir, &entries, &n, err);
    if (rc != MR_OK)
        return rc;
    struct mr_recovered *out = r->out;
    r->heads = calloc(n + 1, sizeof *r->heads);
    out->segs = calloc(n + 1, sizeof *out->segs);
    out->stubs = calloc(n + 1, sizeof *out->stubs);
    out->spares = calloc(SPARES_KEPT, sizeof *out->spares);
    if (!r->heads || !out->segs || !out->stubs || !out->spares)
        abort();
    for (size_t i = 0; i < n && rc == MR_OK; i++) {
        if (entries[i].number >= out->next_number)
            out->next_number = entries[i].number + 1;
        if (entries[i].kind == MR_SEG_SPARE)
            keep_spare(r, &entries[i]);
        else
            rc = head_load(r, &entries[i], id, err);
    }
    free(entries);
    return rc;
}

static const struct head *successor(const struct recovery *r, uint64_t number)
{
    for (size_t i = r->n; i > 0; i--) /* newest first: it is the one that came to be used */
        if (r->heads[i - 1].whole && r->heads[i - 1].h.prev.number == number)
            return &r->heads[i - 1];
    return NULL;
}

/* -- segments --------------------------------------------------------------------------------------------------- */

static enum mr_code keep_damage(struct recovery *r, uint64_t number, int fd, uint64_t from, uint64_t to, struct mr_err *err)
{
    uint64_t fresh;
    enum mr_code rc = mr_seg_quarantine(r->quarantine, number, fd, from, to, &fresh, err);
    if (rc == MR_OK && fresh) {
        r->out->corrupt_bytes += fresh;
        snprintf(r->out->corrupt_where, sizeof r->out->corrupt_where, "%016" PRIx64 "-%" PRIu64 ".bin", number, from);
    }
    return rc;
}

/* Reads [start, end) for the sources and the sequences that are there; damage goes to quarantine. */
static enum mr_code scan_seg(struct recovery *r, struct mr_recovered_seg *s, int fd, uint64_t first_seq, struct mr_err *err)
{
    struct mr_scan scan;
    struct mr_scan_item item;
    enum mr_code rc = MR_OK;
    mr_scan_init(&scan, fd, s->at.salt, s->at.start, s->at.end, first_seq);
    s->at.first_seq = first_seq;
    s->at.last_seq = first_seq - 1;
    bool any = false;
    while (rc == MR_OK) {
        mr_scan_next(&scan, &item);
        if (item.kind == MR_SCAN_END)
            break;
        if (item.kind == MR_SCAN_FAILED) {
            rc = mr_err_sys(err, item.sys, "read segment %" PRIu64, s->at.number);
        } else if (item.kind == MR_SCAN_DAMAGE) {
            rc = keep_damage(r, s->at.number, fd, item.from, item.to, err);
        } else {
            s->at.first_seq = any ? s->at.first_seq : item.seq;
            any = true;
            s->at.last_seq = item.seq;
            mr_sources_note(&s->sources, item.source, item.seq);
        }
    }
    if (scan.last_seq > s->at.last_seq) {
        s->at.last_seq = scan.last_seq; /* the last ones are damaged; their sequences are used up all the same */
    }
    mr_scan_free(&scan);
    return rc;
}

/* No header says where it ends: made durable, then its end is found. */
static enum mr_code tail(struct recovery *r, struct mr_recovered_seg *s, int fd, uint64_t first_seq, struct mr_err *err)
{
    bool torn;
    enum mr_code rc = mr_seg_sync(fd, err);
    if (rc == MR_OK)
        rc = mr_scan_tail(fd, s->at.salt, s->at.start, s->file_size, first_seq, &s->at.end, &torn, err);
    if (rc == MR_OK && torn)
        r->out->torn_segment = s->at.number;
    return rc == MR_OK ? scan_seg(r, s, fd, first_seq, err) : rc;
}

/* Neither its own header nor a next one is left: what it holds cannot be told from old bytes. Kept whole, for people. */
static enum mr_code lost(struct recovery *r, const struct mr_seg_entry *e, int fd, struct mr_err *err)
{
    enum mr_code rc = keep_damage(r, e->number, fd, 0, e->size, err);
    char path[PATH_MAX];
    mr_seg_path(path, r->dir, MR_SEG_FILE, e->number);
    if (rc == MR_OK && unlink(path) != 0)
        rc = mr_err_sys(err, errno, "unlink %s", path);
    return rc == MR_OK ? mr_dir_sync(r->dir, err) : rc;
}

/* A restart leaves its segment mostly empty; blocks behind an end that a durable header names serve nobody. */
static void cut(struct mr_recovered_seg *s, int fd, uint64_t segment_size)
{
    uint64_t end = mr_round_up(s->at.end, MR_BLOCK);
    if (s->file_size <= end + segment_size / 4 || ftruncate(fd, (off_t)end) != 0)
        return; /* if it cannot be cut it only takes room */
    s->file_size = end;
    s->prewritten = false;
}

static enum mr_code recover_seg(struct recovery *r, struct head *own, struct mr_err *err)
{
    const struct head *next = successor(r, own->entry.number);
    char path[PATH_MAX];
    mr_seg_path(path, r->dir, MR_SEG_FILE, own->entry.number);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return mr_err_sys(err, errno, "open %s", path);
    struct mr_recovered_seg s = {.file_size = own->entry.size};
    enum mr_code rc;
    uint64_t first_seq = own->whole ? own->h.first_seq : next ? next->h.prev.first_seq : 1;
    if (next)
        s.at = next->h.prev;
    if (own->whole) {
        s.at.number = own->h.number;
        s.at.salt = own->h.salt;
        s.at.start = own->start;
        s.prev_number = own->h.prev.number;
        s.prewritten = own->h.flags & MR_SEG_PREWRITTEN;
    }
    if (!own->whole && next)
        rc = keep_damage(r, own->entry.number, fd, 0, s.at.start, err);
    else
        rc = own->whole ? MR_OK : lost(r, &own->entry, fd, err);
    if (rc == MR_OK && !next && own->whole)
        rc = tail(r, &s, fd, first_seq, err);
    else if (rc == MR_OK && next && !(next->h.flags & MR_SEG_SUMMARY))
        rc = scan_seg(r, &s, fd, first_seq, err);
    else if (rc == MR_OK && next)
        mr_sources_merge(&s.sources, &next->prev_sources);
    if (rc == MR_OK && next)
        cut(&s, fd, r->segment_size);
    close(fd);
    if (rc == MR_OK && (own->whole || next))
        r->out->segs[r->out->n++] = s;
    else
        mr_sources_free(&s.sources);
    return rc;
}

static void at_least(uint64_t *seq, uint64_t least)
{
    if (*seq < least)
        *seq = least;
}

static void sequences(struct recovery *r)
{
    uint64_t *next = &r->out->next_seq;
    for (size_t i = 0; i < r->n; i++) {
        if (!r->heads[i].whole)
            continue;
        at_least(next, r->heads[i].h.first_seq);
        at_least(next, r->heads[i].h.prev.last_seq + 1);
        at_least(next, r->heads[i].h.prev.void_last + 1);
    }
    for (size_t i = 0; i < r->out->n; i++)
        at_least(next, r->out->segs[i].at.last_seq + 1);
}

enum mr_code mr_recover(const char *dir, const char *quarantine, uint64_t segment_size, struct mr_recovered *out,
                        struct mr_err *err)
{
    *out = (struct mr_recovered){.next_number = 1, .next_seq = 1};
    struct recovery r = {.dir = dir, .quarantine = quarantine, .segment_size = segment_size, .out = out};
    int sys = MR_POINT(queue_recover);
    enum mr_code rc = sys ? mr_err_sys(err, sys, "recover %s", dir) : heads_load(&r, err);
    if (rc == MR_OK)
        rc = mr_dir_sync(dir, err); /* names first: a segment that is read must be there after a power cut */
    for (size_t i = 0; i < r.n && rc == MR_OK; i++) {
        if (r.heads[i].entry.kind == MR_SEG_FILE)
            rc = recover_seg(&r, &r.heads[i], err);
        else
            out->stubs[out->stubs_n++] =
                (struct mr_recovered_stub){r.heads[i].entry.number, r.heads[i].whole ? r.heads[i].h.prev.number : 0};
    }
    if (rc == MR_OK)
        sequences(&r);
    for (size_t i = 0; i < r.n; i++)
        mr_sources_free(&r.heads[i].prev_sources);
    free(r.heads);
    sys = rc == MR_OK ? MR_POINT(queue_recovered) : 0;
    if (sys)
        rc = mr_err_sys(err, sys, "recover %s", dir);
    if (rc != MR_OK)
        mr_recovered_free(out);
    return rc;
}

void mr_recovered_free(struct mr_recovered *r)
{
    for (size_t i = 0; i < r->n; i++)
        mr_sources_free(&r->segs[i].sources);
    free(r->segs);
    free(r->stubs);
    free(r->spares);
    *r = (struct mr_recovered){0};
}
