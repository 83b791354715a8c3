/* SPDX-License-Identifier: Apache-2.0 */
/* tend.c - the loop's housekeeping: freeing segments, making spares, watching the disk, alerts and gauges.
 *
 * free    a segment goes when every source with records in it has published past them, and no pin holds it. Files go
 *         one by one, oldest first, each durably before the next: a segment must never outlive the header that says
 *         where it ends and which of its groups is void. If the one before it stays, a freed segment leaves that
 *         header as a stub.
 * spare   one is made when none is there and the current segment is a quarter full (or a growing one); freed segments
 *         become spares themselves, so that this happens at start and when the queue grows. */
#include "queue/internal.h"

#include "millrace/file.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

static void *grown(void *p, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return p;
    *cap = *cap ? *cap * 2 : 16;
    p = realloc(p, *cap * size);
    if (!p)
        abort();
    return p;
}

/* -- free ------------------------------------------------------------------------------------------------------- */

static void fate_add(struct mr_tending *t, uint64_t number, enum mr_seg_fate fate, uint64_t header_bytes)
{
    t->fates = grown(t->fates, t->fates_n, &t->fates_cap, sizeof *t->fates);
    t->fates[t->fates_n++] = (struct mr_fate){number, header_bytes, fate};
}

static size_t spares_coming(const struct mr_tending *t)
{
    size_t n = t->fill.out || t->fill.fill.fd >= 0 ? 1 : 0;
    for (size_t i = 0; i < t->fates_n; i++)
        n += t->fates[i].fate == MR_FATE_SPARE;
    for (size_t i = 0; i < t->free.n; i++) /* those of the job that is out count until it is back */
        n += t->free.fates[i].fate == MR_FATE_SPARE;
    return n;
}

static bool published(const struct mr_queue *q, const struct mr_segment *s)
{
    const struct mr_tending *t = &q->tend;
    if (t->pinned && s->at.last_seq >= t->pinned && s->at.last_seq >= s->at.first_seq)
        return false;
    for (size_t i = 0; i < s->sources.n; i++) {
        const struct mr_source_last *row = &s->sources.rows[i];
        if (row->seq && mr_sources_get(&t->published, (struct mr_str){row->name, row->n}) < row->seq)
            return false;
    }
    return true;
}

static bool in_use(const struct mr_queue *q, uint64_t number)
{
    for (size_t i = 0; i < q->segs_n; i++)
        if (q->segs[i]->at.number == number)
            return true;
    return false;
}

/* Under lock. As many as the busiest minutes of late had in use beyond what is in use now: under a steady load no segment
 * is written over with zeros while the writer wants the disk. */
static size_t spares_wanted(const struct mr_queue *q)
{
    const size_t *demand = q->tend.demand;
    size_t most = demand[0] > demand[1] ? demand[0] : demand[1];
    size_t wanted = most > q->segs_n ? most - q->segs_n : 0;
    return wanted < MR_SPARES_MIN ? MR_SPARES_MIN : wanted > MR_SPARES ? MR_SPARES : wanted;
}

static enum mr_seg_fate fate_of(const struct mr_queue *q, const struct mr_segment *s)
{
    if (s->prev_number && in_use(q, s->prev_number))
        return MR_FATE_STUB;
    bool whole = s->prewritten && !s->suspect && s->readers == 0 && s->file_size == q->segment_size;
    return whole && q->spares_n + spares_coming(&q->tend) < spares_wanted(q) ? MR_FATE_SPARE : MR_FATE_UNLINK;
}

/* Stubs that told of a segment which is gone now. */
static void stubs_drop(struct mr_queue *q)
{
    struct mr_tending *t = &q->tend;
    for (size_t i = 0; i < t->stubs_n;) {
        if (t->stubs[i].prev_number && in_use(q, t->stubs[i].prev_number)) {
            i++;
            continue;
        }
        fate_add(t, t->stubs[i].number, MR_FATE_DROP_STUB, 0);
        t->stubs[i] = t->stubs[--t->stubs_n];
    }
}

/* Under lock. */
static void segment_free(struct mr_queue *q, size_t at)
{
    struct mr_tending *t = &q->tend;
    struct mr_segment *s = q->segs[at];
    enum mr_seg_fate fate = fate_of(q, s);
    memmove(&q->segs[at], &q->segs[at + 1], (--q->segs_n - at) * sizeof *q->segs);
    q->bytes_used -= s->at.end;
    s->gone = true;
    fate_add(t, s->at.number, fate, s->at.start);
    if (fate == MR_FATE_STUB) {
        t->stubs = grown(t->stubs, t->stubs_n, &t->stubs_cap, sizeof *t->stubs);
        t->stubs[t->stubs_n++] = (struct mr_recovered_stub){s->at.number, s->prev_number};
    }
    mr_segment_unref(s);
    stubs_drop(q);
}

/* Under lock. The current segment is not freed under the writer; if it is what fills the queue, a new one is begun. */
static void roll_if_full(struct mr_queue *q, const struct mr_segment *s)
{
    bool has = s->at.last_seq >= s->at.first_seq;
    if (has && (q->tend.full || q->bytes_used > q->max_size / 2) && published(q, s)) {
        q->roll_wanted = true;
        uv_cond_signal(&q->wake);
    }
}

/* Under lock. How far back the oldest source stands, for the gauge. */
static void depth_settle(struct mr_queue *q)
{
    uint64_t base = UINT64_MAX;
    for (size_t i = 0; i < q->segs_n; i++) {
        const struct mr_segment *s = q->segs[i];
        for (size_t k = 0; k < s->sources.n; k++) {
            const struct mr_source_last *row = &s->sources.rows[k];
            uint64_t upto = mr_sources_get(&q->tend.published, (struct mr_str){row->name, row->n});
            if (upto + 1 < s->at.first_seq)
                upto = s->at.first_seq - 1;
            if (row->seq > upto && upto < base)
                base = upto;
        }
    }
    q->tend.depth_base = base == UINT64_MAX ? atomic_load(&q->horizon) : base;
}

static void free_published(struct mr_queue *q)
{
    uv_mutex_lock(&q->lock);
    if (q->segs_n > q->tend.demand[0])
        q->tend.demand[0] = q->segs_n;
    if (q->free_wanted) {
        q->free_wanted = false;
        for (size_t i = 0; i < q->segs_n;) {
            if (q->segs[i]->current) {
                roll_if_full(q, q->segs[i++]);
            } else if (published(q, q->segs[i])) {
                segment_free(q, i);
            } else {
                i++;
            }
        }
        depth_settle(q);
    }
    uv_mutex_unlock(&q->lock);
}

/* Once a second: a burst is over, its spares go one by one. */
static void spares_trim(struct mr_queue *q)
{
    struct mr_tending *t = &q->tend;
    if (++t->demand_ticks >= MR_DEMAND_TICKS) {
        t->demand_ticks = 0;
        t->demand[1] = t->demand[0];
        t->demand[0] = 0;
    }
    uv_mutex_lock(&q->lock);
    if (q->spares_n > spares_wanted(q))
        fate_add(t, q->spares[--q->spares_n], MR_FATE_DROP_SPARE, 0);
    uv_mutex_unlock(&q->lock);
}

static void free_run(struct mr_job *job)
{
    struct mr_free_job *f = MR_OF(job, struct mr_free_job, job);
    for (; f->done < f->n; f->done++) {
        const struct mr_fate *fate = &f->fates[f->done];
        if (mr_seg_free(f->dir, fate->number, fate->fate, fate->header_bytes, &f->err) != MR_OK)
            return;
    }
}

static void free_done(struct mr_job *job, bool canceled)
{
    struct mr_free_job *f = MR_OF(job, struct mr_free_job, job);
    struct mr_queue *q = MR_OF(f, struct mr_queue, tend.free);
    f->out = false;
    uv_mutex_lock(&q->lock);
    for (size_t i = 0; i < f->done; i++)
        if (f->fates[i].fate == MR_FATE_SPARE && q->spares_n < MR_SPARES)
            q->spares[q->spares_n++] = f->fates[i].number;
    bool closing = q->closing;
    uv_mutex_unlock(&q->lock);
    if (f->done < f->n && !canceled && !f->warned) {
        f->warned = true;
        mr_log_warn(q->loop->log, NULL, "queue_free_failed", MR_S("why", f->err.msg), MR_S("next", "tried again every second"));
    }
    f->warned = f->warned && f->done < f->n;
    memmove(f->fates, f->fates + f->done, (f->n - f->done) * sizeof *f->fates);
    f->n -= f->done;
    f->done = 0;
    if (!closing && f->n == 0)
        mr_tend(q);
    mr_queue_job_ended(q);
}

static void free_start(struct mr_queue *q, bool again)
{
    struct mr_tending *t = &q->tend;
    if (t->free.out || (t->free.n > 0 && !again) || (t->free.n == 0 && t->fates_n == 0))
        return;
    if (t->free.n == 0) { /* those that wait become those that are out */
        free(t->free.fates);
        t->free.fates = t->fates;
        t->free.n = t->fates_n;
        t->fates = NULL;
        t->fates_n = t->fates_cap = 0;
    }
    t->free.out = true;
    t->free.done = 0;
    t->free.dir = q->dir;
    t->free.job = (struct mr_job){.run = free_run, .done = free_done};
    mr_worker_submit(q->loop->workers, MR_LANE_SYNC, &t->free.job);
}

/* -- spares ----------------------------------------------------------------------------------------------------- */

static void fill_submit(struct mr_queue *q);

static void fill_run(struct mr_job *job)
{
    struct mr_fill_job *f = MR_OF(job, struct mr_fill_job, job);
    uint64_t room;
    f->ready = false;
    if (f->fill.fd < 0 && f->reserve && mr_disk_free(f->fill.dir, &room, NULL) == MR_OK && room < f->reserve + f->fill.size)
        f->rc = mr_err_set(&f->err, MR_ENOSPC, "%" PRIu64 " bytes free: no room above the reserve for a spare segment", room);
    else
        f->rc = mr_seg_fill_step(&f->fill, &f->ready, &f->err);
}

static void fill_done(struct mr_job *job, bool canceled)
{
    struct mr_fill_job *f = MR_OF(job, struct mr_fill_job, job);
    struct mr_queue *q = MR_OF(f, struct mr_queue, tend.fill);
    f->out = false;
    uv_mutex_lock(&q->lock);
    bool closing = q->closing;
    if (!canceled && f->rc == MR_OK && f->ready && q->spares_n < MR_SPARES)
        q->spares[q->spares_n++] = f->fill.number;
    uv_mutex_unlock(&q->lock);
    if (closing || canceled) {
        mr_seg_fill_drop(&f->fill);
    } else if (f->rc != MR_OK) {
        mr_log_warn(q->loop->log, NULL, "queue_spare_failed", MR_S("why", f->err.msg),
                    MR_S("next", "growing files are used meanwhile; tried again later"));
        q->tend.fill_pause = 10;
    } else if (!f->ready) {
        fill_submit(q);
    }
    mr_queue_job_ended(q);
}

static void fill_submit(struct mr_queue *q)
{
    struct mr_fill_job *f = &q->tend.fill;
    f->out = true;
    f->reserve = q->disk_reserve;
    f->job = (struct mr_job){.run = fill_run, .done = fill_done};
    mr_worker_submit(q->loop->workers, MR_LANE_SYNC, &f->job);
}

static void fill_start(struct mr_queue *q)
{
    struct mr_tending *t = &q->tend;
    if (t->fill.out || t->fill_pause || t->disk_low)
        return;
    uv_mutex_lock(&q->lock);
    const struct mr_segment *s = q->segs_n ? q->segs[q->segs_n - 1] : NULL;
    bool soon = s && s->current && (s->growing || s->at.end > q->segment_size / 4);
    bool wanted = soon && q->spares_n + spares_coming(t) == 0 && q->broken == MR_OK;
    if (wanted)
        t->fill.fill = (struct mr_seg_fill){.dir = q->dir, .number = q->next_number++, .size = q->segment_size, .fd = -1};
    uv_mutex_unlock(&q->lock);
    if (wanted)
        fill_submit(q);
}

/* -- alerts and gauges ------------------------------------------------------------------------------------------ */

struct seen { /* a copy of what is under the lock */
    enum mr_code broken, failed_with;
    uint64_t failures, good, used, segments, corrupt;
    char why[160], where[128];
    bool closing;
};

static void look(struct mr_queue *q, struct seen *s)
{
    uv_mutex_lock(&q->lock);
    s->broken = q->broken;
    s->failed_with = q->failed_with;
    s->failures = q->failures;
    s->good = q->good_since_failure;
    s->used = q->bytes_used;
    s->segments = q->segs_n;
    s->corrupt = q->corrupt_bytes;
    s->closing = q->closing;
    memcpy(s->why, q->why, sizeof s->why);
    memcpy(s->where, q->corrupt_where, sizeof s->where);
    uv_mutex_unlock(&q->lock);
}

static void alert_sync(struct mr_queue *q, const struct seen *s)
{
    struct mr_tending *t = &q->tend;
    bool fresh = s->failures != t->failures_told;
    t->failures_told = s->failures;
    if (fresh) {
        t->quiet_ticks = 0;
        bool full = s->failed_with == MR_ENOSPC;
        mr_alert_open(q->loop->alerts, full ? MR_A_QUEUE_FULL : MR_A_QUEUE_SYNC_FAILED, "", "", "%s", s->why);
        t->full_alert = t->full_alert || full;
        t->sync_alert = t->sync_alert || !full;
    }
    bool healed = s->broken == MR_OK && (s->good > 0 || t->quiet_ticks >= 5);
    if (t->sync_alert && healed) {
        t->sync_alert = false;
        mr_alert_close(q->loop->alerts, MR_A_QUEUE_SYNC_FAILED, "", "");
    }
}

static void alert_full(struct mr_queue *q, const struct seen *s)
{
    struct mr_tending *t = &q->tend;
    if (t->full && s->used <= q->max_size - q->max_size / 16)
        t->full = false;
    if (!t->full_alert && t->full) {
        mr_alert_open(q->loop->alerts, MR_A_QUEUE_FULL, "", "", "%" PRIu64 " bytes in use of queue.max_size %" PRIu64, s->used,
                      q->max_size);
        t->full_alert = true;
    } else if (!t->full_alert && t->disk_low) {
        mr_alert_open(q->loop->alerts, MR_A_QUEUE_FULL, "", "", "fewer than %" PRIu64 " bytes are free on the queue's disk",
                      q->disk_reserve);
        t->full_alert = true;
    }
    bool failing = s->failed_with == MR_ENOSPC && s->good == 0 && (s->broken != MR_OK || t->quiet_ticks < 5);
    if (t->full_alert && !t->full && !t->disk_low && !failing) {
        t->full_alert = false;
        mr_alert_close(q->loop->alerts, MR_A_QUEUE_FULL, "", "");
    }
}

static void alert_corrupt(struct mr_queue *q, const struct seen *s)
{
    if (s->corrupt == q->tend.corrupt_told)
        return;
    q->tend.corrupt_told = s->corrupt;
    mr_log_error(q->loop->log, NULL, "queue_corrupt", MR_I("bytes", s->corrupt), MR_S("file", s->where),
                 MR_S("hint", "the bytes are in quarantine/_queue; check the disk"));
    mr_alert_open(q->loop->alerts, MR_A_QUEUE_CORRUPT, "", "", "%" PRIu64 " damaged bytes, last in %s/_queue/%s", s->corrupt,
                  q->quarantine, s->where);
}

static void gauges(struct mr_queue *q, const struct seen *s)
{
    uint64_t horizon = atomic_load(&q->horizon);
    mr_cell_set(q->bytes, (double)s->used);
    mr_cell_set(q->segments, (double)s->segments);
    mr_cell_set(q->depth, (double)(horizon > q->tend.depth_base ? horizon - q->tend.depth_base : 0));
}

void mr_tend(struct mr_queue *q)
{
    struct seen s;
    free_published(q);
    look(q, &s);
    alert_sync(q, &s);
    alert_full(q, &s);
    alert_corrupt(q, &s);
    gauges(q, &s);
    if (s.closing)
        return;
    free_start(q, false);
    fill_start(q);
}

/* -- the disk, once a second ------------------------------------------------------------------------------------ */

static void disk_run(struct mr_job *job)
{
    struct mr_disk_job *d = MR_OF(job, struct mr_disk_job, job);
    uint64_t room;
    d->low = mr_disk_free(d->dir, &room, NULL) == MR_OK && room < d->reserve;
}

static void disk_done(struct mr_job *job, bool canceled)
{
    struct mr_disk_job *d = MR_OF(job, struct mr_disk_job, job);
    struct mr_queue *q = MR_OF(d, struct mr_queue, tend.disk);
    d->out = false;
    if (!canceled && d->low != q->tend.disk_low) {
        q->tend.disk_low = d->low;
        mr_tend(q);
    }
    mr_queue_job_ended(q);
}

void mr_tend_tick(struct mr_queue *q)
{
    struct mr_tending *t = &q->tend;
    uv_mutex_lock(&q->lock);
    bool closing = q->closing;
    uv_mutex_unlock(&q->lock);
    t->quiet_ticks++;
    t->fill_pause -= t->fill_pause > 0;
    if (!closing)
        spares_trim(q);
    mr_tend(q);
    if (closing)
        return;
    free_start(q, true);
    if (q->disk_reserve && !t->disk.out) {
        t->disk.out = true;
        t->disk.dir = q->dir;
        t->disk.reserve = q->disk_reserve;
        t->disk.job = (struct mr_job){.run = disk_run, .done = disk_done};
        mr_worker_submit(q->loop->workers, MR_LANE_SYNC, &t->disk.job);
    }
}

void mr_tend_start(struct mr_queue *q, struct mr_recovered *r)
{
    struct mr_tending *t = &q->tend;
    t->fill.fill.fd = -1;
    t->demand[1] = r->n + r->spares_n; /* what the process before us thought right */
    t->stubs = r->stubs;
    t->stubs_n = t->stubs_cap = r->stubs_n;
    r->stubs = NULL;
    r->stubs_n = 0;
    uv_mutex_lock(&q->lock);
    stubs_drop(q);
    q->free_wanted = true;
    uv_mutex_unlock(&q->lock);
    mr_queue_signal(q);
}

bool mr_tend_idle(const struct mr_queue *q)
{
    return !q->tend.fill.out && !q->tend.free.out && !q->tend.disk.out;
}

void mr_tend_free(struct mr_queue *q)
{
    struct mr_tending *t = &q->tend;
    mr_sources_free(&t->published);
    free(t->stubs);
    free(t->fates);
    free(t->free.fates);
}
