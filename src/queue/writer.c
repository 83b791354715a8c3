/* SPDX-License-Identifier: Apache-2.0 */
/* writer.c - the one thread that writes: everything that was appended while the last sync ran goes out as one group.
 *
 * happy path    take q->filling whole; seal its records; one pwritev2(RWF_DSYNC) into blocks that have been written
 *               before; move the segment's end and the horizon; hand the waiters back; take the next group, without
 *               the loop
 * ways to fail  a write or sync fails: the segment is suspect and never written again, its last group is void, its
 *               waiters get the error; the next segment's header names it void and is durable before anything else is
 *               acknowledged. No segment can be made: every waiter gets the error, appends are refused at once, and
 *               it is tried again with growing pauses until it works.
 * on close      what was appended is written, then a marker, so that the next start need not search for an
 *               unfinished group */
#include "queue/internal.h"

#include "millrace/fault.h"
#include "millrace/file.h"
#include "millrace/hash.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* A writer that has nothing to do keeps no more memory than this in each of its two buffers. */
enum { IDLE_BUFFER = 256 << 10 };
static const uint64_t backoff_first_us = 20000, backoff_last_us = 1000000;

uint64_t mr_queue_now_us(void)
{
    return uv_hrtime() / 1000;
}

void mr_group_free(struct mr_group *g)
{
    free(g->p);
    *g = (struct mr_group){0};
}

void mr_queue_signal(struct mr_queue *q)
{
    mr_wake_send(&q->wake_up);
}

/* -- handing back ----------------------------------------------------------------------------------------------- */

/* Under lock. Order is kept: a list is only joined to the last one. */
static void finished_add(struct mr_queue *q, struct mr_queue_wait *head, struct mr_queue_wait *last, enum mr_code code)
{
    last->next = NULL;
    if (q->finished_n && q->finished[q->finished_n - 1].code == code) {
        q->finished[q->finished_n - 1].last->next = head;
        q->finished[q->finished_n - 1].last = last;
        return;
    }
    if (q->finished_n == q->finished_cap) {
        q->finished_cap = q->finished_cap ? q->finished_cap * 2 : 8;
        q->finished = realloc(q->finished, q->finished_cap * sizeof *q->finished);
        if (!q->finished)
            abort();
    }
    q->finished[q->finished_n++] = (struct mr_finished){head, last, code};
}

/* Under lock. Takes the waiters up to and including last_seq off the group. */
static void hand_back(struct mr_queue *q, struct mr_group *g, uint64_t last_seq, enum mr_code code)
{
    if (!g->head)
        return;
    struct mr_queue_wait *head = g->head, *last = g->last;
    if (last->seq > last_seq) {
        for (last = head; last->next->seq <= last_seq; last = last->next)
            ;
        g->head = last->next;
    } else {
        g->head = g->last = NULL;
    }
    finished_add(q, head, last, code);
}

/* Unlocks, and then wakes the loop: it runs at once, and must not find the lock taken. */
static void unlock_and_wake(struct mr_queue *q)
{
    bool first = !q->signaled;
    q->signaled = true;
    uv_mutex_unlock(&q->lock);
    if (first)
        mr_queue_signal(q);
}

/* -- segments --------------------------------------------------------------------------------------------------- */

void mr_segment_ref(struct mr_segment *s)
{
    s->refs++;
}

void mr_segment_unref(struct mr_segment *s)
{
    assert(s->refs > 0);
    if (--s->refs > 0)
        return;
    mr_sources_free(&s->sources);
    free(s);
}

void mr_queue_add_segment(struct mr_queue *q, struct mr_segment *s)
{
    if (q->segs_n == q->segs_cap) {
        q->segs_cap = q->segs_cap ? q->segs_cap * 2 : 16;
        q->segs = realloc(q->segs, q->segs_cap * sizeof *q->segs);
        if (!q->segs)
            abort();
    }
    q->segs[q->segs_n++] = s;
    q->bytes_used += s->at.end;
}

static bool has_records(const struct mr_segment *s)
{
    return s->at.last_seq >= s->at.first_seq;
}

/* Under lock. The header of a segment after q->before. first_seq: of what is being written, 0 if nothing is; then it begins
 * with what waits (appended while this thread was busy), or else with what will be appended next. */
static struct mr_seg_head head_plan(struct mr_queue *q, uint64_t first_seq, bool prewritten)
{
    if (!first_seq)
        first_seq = q->filling.count ? q->filling.first_seq : q->next_seq;
    struct mr_seg_head h = {.number = q->next_number++, .first_seq = first_seq, .flags = prewritten ? MR_SEG_PREWRITTEN : 0};
    memcpy(h.id, q->id, sizeof h.id);
    mr_random(&h.salt, sizeof h.salt);
    if (q->before)
        h.prev = q->before->at;
    return h;
}

static enum mr_code disk_allows(struct mr_queue *q, struct mr_err *err)
{
    uint64_t room;
    if (q->disk_reserve == 0 || mr_disk_free(q->dir, &room, NULL) != MR_OK || room >= q->disk_reserve)
        return MR_OK; /* not knowing is no reason to refuse: the write will tell */
    return mr_err_set(err, MR_ENOSPC, "%" PRIu64 " bytes free, fewer than the reserve", room);
}

static void segment_use(struct mr_queue *q, const struct mr_seg_head *h, int fd, uint64_t start, bool spare)
{
    struct mr_segment *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    s->at = (struct mr_seg_end){.number = h->number, .salt = h->salt, .start = start, .end = start,
                                .first_seq = h->first_seq, .last_seq = h->first_seq - 1};
    s->prev_number = h->prev.number;
    s->file_size = spare ? q->segment_size : start;
    s->prewritten = spare;
    s->growing = !spare;
    s->current = true;
    s->refs = 2; /* the table's and the writer's */
    if (q->fd >= 0)
        close(q->fd);
    q->fd = fd;
    uv_mutex_lock(&q->lock);
    if (q->before) {
        q->before->current = false;
        mr_segment_unref(q->before);
    }
    mr_queue_add_segment(q, s);
    q->broken = MR_OK;
    q->roll_wanted = false;
    q->free_wanted = true;
    q->current = q->before = s;
    unlock_and_wake(q);
    q->backoff_us = 0;
}

/* A failure is told to the loop, and when to try again is settled. */
static enum mr_code segment_failed(struct mr_queue *q, enum mr_code rc, const char *why)
{
    rc = rc == MR_ENOSPC ? MR_ENOSPC : MR_EIO;
    q->backoff_us = q->backoff_us ? q->backoff_us * 2 : backoff_first_us;
    if (q->backoff_us > backoff_last_us)
        q->backoff_us = backoff_last_us;
    q->retry_at_us = mr_queue_now_us() + q->backoff_us;
    if (q->broken != rc)
        mr_log_error(q->loop->log, NULL, "queue_segment_failed", MR_S("why", why),
                     MR_S("hint", "check the disk; appends are refused meanwhile, and it is tried again until it works"));
    uv_mutex_lock(&q->lock);
    snprintf(q->why, sizeof q->why, "%.150s", why);
    q->broken = q->failed_with = rc;
    q->failures++;
    q->good_since_failure = 0;
    unlock_and_wake(q);
    return rc;
}

/* A new segment whose header says where the one before ended; durable when it returns MR_OK. `must`: without it nothing
 * can be written, so that a failure refuses appends; otherwise the current one goes on. */
static enum mr_code segment_next(struct mr_queue *q, uint64_t first_seq, bool must)
{
    struct mr_err err = {0};
    struct mr_sources prev_sources = {0};
    uint64_t spare = 0, start;
    int fd = -1;
    bool named = false;
    enum mr_code rc = disk_allows(q, &err);
    if (rc == MR_OK) {
        uv_mutex_lock(&q->lock);
        if (q->spares_n)
            spare = q->spares[--q->spares_n];
        struct mr_seg_head h = head_plan(q, first_seq, spare != 0);
        if (q->before)
            mr_sources_merge(&prev_sources, &q->before->sources);
        uv_mutex_unlock(&q->lock);
        rc = mr_seg_start(q->dir, spare, &h, &prev_sources, &fd, &start, &named, &err);
        mr_sources_free(&prev_sources);
        if (rc == MR_OK)
            segment_use(q, &h, fd, start, spare != 0);
    }
    if (rc == MR_OK)
        return rc;
    if (named && q->current) { /* a header that says where it ends may come back with a power cut: it ends there */
        close(q->fd);
        q->fd = -1;
        q->current = NULL;
        must = true;
    }
    return must ? segment_failed(q, rc, err.msg) : rc;
}

/* The segment can no longer be trusted: nothing is ever written to it again, its last group is void. */
static void give_up(struct mr_queue *q, enum mr_code rc, uint64_t void_first, uint64_t void_last, const char *why)
{
    struct mr_segment *s = q->current;
    mr_cell_add(q->sync_failed, 1);
    mr_log_error(q->loop->log, NULL, "queue_sync_failed", MR_I("segment", s->at.number), MR_I("void_from", void_first),
                 MR_I("void_to", void_last), MR_S("why", why),
                 MR_S("hint", "check the disk; senders got 503 and send again, a new segment is made"));
    close(q->fd);
    q->fd = -1;
    uv_mutex_lock(&q->lock);
    s->suspect = true;
    s->at.void_first = void_first;
    s->at.void_last = void_last;
    q->failed_with = rc;
    q->failures++;
    q->good_since_failure = 0;
    snprintf(q->why, sizeof q->why, "%.150s", why);
    uv_mutex_unlock(&q->lock);
    q->current = NULL; /* q->before still names it, for the next header */
}

/* -- writing ---------------------------------------------------------------------------------------------------- */

/* A run of whole records of the group at hand. */
struct run {
    char *p;
    size_t n;
    uint64_t first_seq;
    uint32_t count;
};

static void seal(struct mr_queue *q, const struct run *run)
{
    uint32_t seed = mr_record_seed(q->current->at.salt, run->first_seq);
    char *p = run->p;
    mr_sources_reset(&q->notes);
    for (uint32_t i = 0; i < run->count; i++) {
        struct mr_record_head h;
        mr_record_seal(p, seed, i);
        (void)mr_record_get(p, &h);
        mr_sources_note(&q->notes, (struct mr_str){p + MR_RECORD_BYTES, h.source}, run->first_seq + i);
        p += mr_record_size(h.source, h.payload);
    }
}

/* All of it at `off`, durable, or errno. A short write is continued: what was written is durable, the rest follows. */
static int write_durably(int fd, struct iovec *iov, int parts, uint64_t off)
{
    int flags = MR_MUTANT(no_sync) ? 0 : RWF_DSYNC;
    while (parts > 0) {
        ssize_t n = pwritev2(fd, iov, parts, (off_t)off, flags);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        off += (uint64_t)n;
        while (parts > 0 && (size_t)n >= iov->iov_len) {
            n -= (ssize_t)iov->iov_len;
            iov++;
            parts--;
        }
        if (parts > 0) {
            iov->iov_base = (char *)iov->iov_base + n;
            iov->iov_len -= (size_t)n;
        }
    }
    return 0;
}

static int run_write(struct mr_queue *q, const struct run *run)
{
    static const char zeros[MR_BLOCK] = {0};
    struct mr_segment *s = q->current;
    unsigned char head[MR_GROUP_BYTES];
    assert(run->first_seq > s->at.last_seq); /* else no reader would take it */
    struct mr_group_head g = {s->at.end, s->at.end + MR_GROUP_BYTES + run->n, run->first_seq, run->count};
    mr_group_put(head, s->at.salt, &g);
    /* Up to the block's end: a block that is not in memory would have to be read before a part of it is written. */
    size_t pad = (size_t)(mr_round_up(g.end, MR_BLOCK) - g.end);
    struct iovec iov[3] = {{head, sizeof head}, {run->p, run->n}, {NULL, pad}};
    memcpy(&iov[2].iov_base, &(const void *){zeros}, sizeof(void *));
    int sys = MR_POINT(queue_write);
    uint64_t began = mr_queue_now_us();
    if (sys == 0)
        sys = write_durably(q->fd, iov, 3, g.off);
    if (sys == 0)
        sys = MR_POINT(queue_written);
    mr_cell_observe(q->sync, (double)(mr_queue_now_us() - began) / 1e6);
    return sys;
}

/* Writes one group and hands its waiters back, with what became of it. */
static enum mr_code run_finish(struct mr_queue *q, struct mr_group *g, const struct run *run)
{
    uint64_t last_seq = run->first_seq + run->count - 1;
    seal(q, run);
    int sys = run_write(q, run);
    enum mr_code rc = MR_OK;
    if (sys) {
        struct mr_err err = {0};
        rc = mr_err_sys(&err, sys, "write a group of %zu bytes", run->n) == MR_ENOSPC ? MR_ENOSPC : MR_EIO;
        give_up(q, rc, run->first_seq, last_seq, err.msg);
    }
    uv_mutex_lock(&q->lock);
    if (rc == MR_OK) {
        struct mr_segment *s = q->current;
        if (!has_records(s))
            s->at.first_seq = run->first_seq;
        s->at.last_seq = last_seq;
        s->at.end += MR_GROUP_BYTES + run->n;
        if (s->at.end > s->file_size)
            s->file_size = mr_round_up(s->at.end, MR_BLOCK);
        q->bytes_used += MR_GROUP_BYTES + run->n;
        mr_sources_merge(&s->sources, &q->notes);
        q->good_since_failure++;
        atomic_store(&q->horizon, last_seq);
        mr_cell_add(q->groups, 1);
        mr_cell_add(q->records, run->count);
    }
    q->writing_bytes -= run->n; /* before its senders hear: what they send next has this room */
    hand_back(q, g, last_seq, rc);
    unlock_and_wake(q);
    return rc;
}

/* As many records from `p` on as fit into `room`; at least one. */
static struct run cut(char *p, size_t n, uint64_t first_seq, uint32_t count, uint64_t room)
{
    if (n + MR_GROUP_BYTES <= room)
        return (struct run){p, n, first_seq, count};
    struct run run = {p, 0, first_seq, 0};
    while (run.count < count) {
        struct mr_record_head h;
        (void)mr_record_get(p + run.n, &h);
        size_t size = mr_record_size(h.source, h.payload);
        if (run.count > 0 && MR_GROUP_BYTES + run.n + size > room)
            break;
        run.n += size;
        run.count++;
    }
    return run;
}

static bool spare_ready(struct mr_queue *q)
{
    uv_mutex_lock(&q->lock);
    bool ready = q->spares_n > 0;
    uv_mutex_unlock(&q->lock);
    return ready;
}

/* Is there a segment for these bytes? A growing one is left as soon as there is a written one. */
static enum mr_code make_room(struct mr_queue *q, size_t first_record, uint64_t first_seq)
{
    struct mr_segment *s = q->current;
    bool usable = s && (!has_records(s) || s->at.end + MR_GROUP_BYTES + first_record <= q->segment_size);
    if (usable && s->growing && spare_ready(q))
        (void)segment_next(q, first_seq, false);
    if (usable && q->current)
        return MR_OK;
    return q->broken ? q->broken : segment_next(q, first_seq, true);
}

static void group_write(struct mr_queue *q, struct mr_group *g)
{
    char *p = g->p;
    size_t left = g->n;
    uint64_t seq = g->first_seq;
    uint32_t count = g->count;
    while (count > 0) {
        struct mr_record_head h;
        (void)mr_record_get(p, &h);
        enum mr_code rc = make_room(q, mr_record_size(h.source, h.payload), seq);
        if (rc != MR_OK) {
            uv_mutex_lock(&q->lock);
            q->writing_bytes -= left;
            hand_back(q, g, UINT64_MAX, rc);
            unlock_and_wake(q);
            return;
        }
        uint64_t end = q->current->at.end;
        struct run run = cut(p, left, seq, count, q->segment_size > end ? q->segment_size - end : 0);
        (void)run_finish(q, g, &run);
        p += run.n;
        left -= run.n;
        seq += run.count;
        count -= run.count;
    }
    if (!q->current) /* at once, so that the void group is named before anybody appends again */
        (void)segment_next(q, 0, true);
}

/* -- the thread ------------------------------------------------------------------------------------------------- */

static void shrink(struct mr_group *g)
{
    if (g->cap > IDLE_BUFFER && g->n == 0)
        mr_group_free(g);
}

/* Under lock. */
static void rest(struct mr_queue *q)
{
    shrink(&q->writing);
    shrink(&q->filling);
    q->writer_sleeps = true;
    if (q->broken == MR_OK) {
        uv_cond_wait(&q->wake, &q->lock);
    } else {
        uint64_t now = mr_queue_now_us();
        if (now < q->retry_at_us)
            (void)uv_cond_timedwait(&q->wake, &q->lock, (q->retry_at_us - now) * 1000);
    }
    q->writer_sleeps = false;
}

/* Under lock. */
static void take(struct mr_queue *q)
{
    struct mr_group empty = q->writing;
    q->writing = q->filling;
    q->filling = empty;
    q->writing_bytes = q->writing.n;
    uv_mutex_unlock(&q->lock);
    group_write(q, &q->writing);
    uv_mutex_lock(&q->lock);
    assert(q->writing_bytes == 0);
    q->writing.n = 0;
    q->writing.count = 0;
    assert(!q->writing.head);
}

static void mark_end(struct mr_queue *q)
{
    struct mr_segment *s = q->current;
    if (!s || s->at.end + MR_GROUP_BYTES > q->segment_size)
        return;
    unsigned char head[MR_GROUP_BYTES];
    struct mr_group_head g = {s->at.end, s->at.end + MR_GROUP_BYTES, s->at.last_seq + 1, 0};
    mr_group_put(head, s->at.salt, &g);
    struct iovec iov = {head, sizeof head};
    (void)write_durably(q->fd, &iov, 1, g.off); /* without it the next start searches a little longer */
}

void mr_writer_main(void *queue)
{
    struct mr_queue *q = queue;
    mr_thread_prompt();
    (void)segment_next(q, 0, true);
    uv_mutex_lock(&q->lock);
    for (;;) {
        bool retry = q->broken != MR_OK && mr_queue_now_us() >= q->retry_at_us;
        if (q->filling.count && (!q->turn_open || q->filling.n >= MR_TURN_BYTES || q->closing)) {
            take(q);
        } else if (q->closing) {
            break;
        } else if (retry || (q->roll_wanted && q->broken == MR_OK)) {
            q->roll_wanted = false;
            uv_mutex_unlock(&q->lock);
            (void)segment_next(q, 0, retry);
            uv_mutex_lock(&q->lock);
        } else {
            rest(q);
        }
    }
    uv_mutex_unlock(&q->lock);
    mark_end(q);
    if (q->fd >= 0)
        close(q->fd);
    q->fd = -1;
    uv_mutex_lock(&q->lock);
    if (q->before)
        mr_segment_unref(q->before);
    q->before = q->current = NULL;
    q->writer_ended = true;
    unlock_and_wake(q);
}
