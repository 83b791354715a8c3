/* SPDX-License-Identifier: Apache-2.0 */
/* queue.c - the queue as the loop sees it: open, append, answer, close.
 *
 * happy path    recovery on a worker; then the writer's thread. An append is copied into the group at hand; at the
 *               end of the turn the writer is woken, if it sleeps. It wakes us once for all groups that ended since;
 *               their waiters are answered in order, then on_durable.
 * ways to fail  recovery fails: the callback says why, nothing is left. An append is refused at once while the queue
 *               is full or has no segment. A group fails: its waiters get the code.
 * on close      the writer ends after what it has, the waiters are answered; jobs that are out come back; handles
 *               close */
#include "queue/internal.h"

#include "millrace/fault.h"
#include "millrace/hash.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const uint64_t tick_ms = 1000;

static void id_text(const unsigned char id[MR_QUEUE_ID], char out[33])
{
    for (size_t i = 0; i < MR_QUEUE_ID; i++)
        snprintf(out + 2 * i, 3, "%02x", id[i]);
}

/* -- before opening --------------------------------------------------------------------------------------------- */

/* A segment whose header cannot be read counts: something is there that must not be overlooked. */
static bool seg_has_records(const char *dir, uint64_t number)
{
    char path[PATH_MAX];
    struct mr_seg_head h;
    struct mr_group_head g;
    uint64_t start;
    unsigned char head[MR_GROUP_BYTES];
    mr_seg_path(path, dir, MR_SEG_FILE, number);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno != ENOENT;
    bool has = mr_seg_head_read(fd, &h, &start, NULL, NULL) != MR_OK;
    if (!has && pread(fd, head, sizeof head, (off_t)start) == (ssize_t)sizeof head)
        has = mr_group_get(head, h.salt, start, UINT64_MAX, &g) && g.count > 0;
    close(fd);
    return has;
}

enum mr_code mr_queue_identify(const char *dir, char id[33], bool *has_records, struct mr_err *err)
{
    unsigned char raw[MR_QUEUE_ID];
    struct mr_seg_entry *entries;
    size_t n;
    *has_records = false;
    enum mr_code known = mr_queue_id(dir, raw, err);
    if (known != MR_OK && known != MR_ENOENT)
        return known;
    id_text(raw, id);
    enum mr_code rc = mr_seg_list(dir, &entries, &n, err);
    if (rc != MR_OK)
        return rc;
    for (size_t i = 0; i < n && !*has_records; i++)
        *has_records = entries[i].kind == MR_SEG_FILE && seg_has_records(dir, entries[i].number);
    free(entries);
    return known == MR_ENOENT && !*has_records ? MR_ENOENT : MR_OK;
}

/* -- waking and answering --------------------------------------------------------------------------------------- */

/* After the turn's input (check), and before the loop sleeps (prepare) for what timers and other callbacks appended. A
 * turn's events go out as one group: a writer that took the first few as soon as it was free would split the batch in two,
 * and pay twice for the disk and for waking the loop. */
static void wake_writer(struct mr_queue *q)
{
    if (!q->appended)
        return;
    q->appended = false;
    uv_mutex_lock(&q->lock);
    q->turn_open = false;
    bool sleeps = q->writer_sleeps;
    uv_mutex_unlock(&q->lock);
    if (sleeps)
        uv_cond_signal(&q->wake);
}

static void on_prepare(uv_prepare_t *h)
{
    wake_writer(MR_OF(h, struct mr_queue, prepare));
}

static void on_check(uv_check_t *h)
{
    wake_writer(MR_OF(h, struct mr_queue, check));
}

static void answer(struct mr_queue *q)
{
    uv_mutex_lock(&q->lock);
    q->signaled = false;
    struct mr_finished *answers = q->finished;
    size_t n = q->finished_n, cap = q->finished_cap;
    q->finished = q->answers;
    q->finished_cap = q->answers_cap;
    q->finished_n = 0;
    uv_mutex_unlock(&q->lock);
    q->answers = answers;
    q->answers_cap = cap;
    for (size_t i = 0; i < n; i++) {
        (void)MR_POINT(queue_acked);
        for (struct mr_queue_wait *w = answers[i].head, *next; w; w = next) {
            next = w->next; /* the waiter may be gone after done() */
            w->done(w, answers[i].code);
        }
    }
}

static void on_tick(uv_timer_t *h)
{
    mr_tend_tick(MR_OF(h, struct mr_queue, tick));
}

static void on_handle_closed(struct mr_queue *q)
{
    if (--q->handles_open > 0)
        return;
    void (*cb)(void *) = q->close_cb;
    void *arg = q->close_arg;
    assert(q->readers_open == 0); /* readers borrow the queue */
    for (size_t i = 0; i < q->segs_n; i++)
        mr_segment_unref(q->segs[i]);
    free(q->segs);
    free(q->finished);
    free(q->answers);
    mr_group_free(&q->filling);
    mr_group_free(&q->writing);
    mr_sources_free(&q->notes);
    mr_tend_free(q);
    uv_cond_destroy(&q->wake);
    uv_mutex_destroy(&q->lock);
    free(q);
    if (cb)
        cb(arg);
}

static void on_wake_up_closed(struct mr_wake *w)
{
    on_handle_closed(MR_OF(w, struct mr_queue, wake_up));
}
static void on_prepare_closed(uv_handle_t *h)
{
    on_handle_closed(MR_OF((uv_prepare_t *)h, struct mr_queue, prepare));
}
static void on_check_closed(uv_handle_t *h)
{
    on_handle_closed(MR_OF((uv_check_t *)h, struct mr_queue, check));
}
static void on_tick_closed(uv_handle_t *h)
{
    on_handle_closed(MR_OF((uv_timer_t *)h, struct mr_queue, tick));
}

static void maybe_close(struct mr_queue *q)
{
    uv_mutex_lock(&q->lock);
    bool ended = q->writer_ended;
    uv_mutex_unlock(&q->lock);
    if (!ended || q->handles_closing || !mr_tend_idle(q))
        return;
    uv_thread_join(&q->thread); /* it has said that it ended: nothing to wait for */
    q->handles_closing = true;
    mr_wake_close(&q->wake_up, on_wake_up_closed);
    uv_close((uv_handle_t *)&q->prepare, on_prepare_closed);
    uv_close((uv_handle_t *)&q->check, on_check_closed);
    uv_close((uv_handle_t *)&q->tick, on_tick_closed);
}

void mr_queue_job_ended(struct mr_queue *q)
{
    maybe_close(q);
}

static void on_wake_up(struct mr_wake *w)
{
    struct mr_queue *q = MR_OF(w, struct mr_queue, wake_up);
    answer(q);
    uint64_t horizon = atomic_load(&q->horizon);
    if (horizon != q->told_horizon) {
        q->told_horizon = horizon;
        if (q->on_durable)
            q->on_durable(q->arg, horizon);
    }
    mr_tend(q);
    maybe_close(q);
}

/* -- open ------------------------------------------------------------------------------------------------------- */

struct opening { /* recovery's job */
    struct mr_job job;
    struct mr_queue *q;
    uint64_t next_at_least;
    struct mr_recovered found;
    enum mr_code rc;
    struct mr_err err;
};

static void recover_run(struct mr_job *job)
{
    struct opening *o = MR_OF(job, struct opening, job);
    o->rc = mr_recover(o->q->dir, o->q->quarantine, o->q->segment_size, &o->found, &o->err);
    if (o->rc == MR_OK) {
        o->rc = mr_queue_id(o->q->dir, o->q->id, &o->err);
    }
}

static void adopt(struct mr_queue *q, struct mr_recovered *r, uint64_t next_at_least)
{
    q->next_number = r->next_number;
    q->next_seq = r->next_seq > next_at_least ? r->next_seq : next_at_least;
    uint64_t horizon = 0;
    for (size_t i = 0; i < r->n; i++) {
        struct mr_segment *s = calloc(1, sizeof *s);
        if (!s)
            abort();
        s->at = r->segs[i].at;
        s->prev_number = r->segs[i].prev_number;
        s->file_size = r->segs[i].file_size;
        s->prewritten = r->segs[i].prewritten;
        s->sources = r->segs[i].sources;
        r->segs[i].sources = (struct mr_sources){0};
        s->refs = 1;
        mr_queue_add_segment(q, s);
        q->before = s;
        if (s->at.last_seq >= s->at.first_seq && s->at.last_seq > horizon)
            horizon = s->at.last_seq;
    }
    if (q->before)
        mr_segment_ref(q->before);
    for (size_t i = 0; i < r->spares_n; i++)
        q->spares[q->spares_n++] = r->spares[i];
    atomic_store(&q->horizon, horizon ? horizon : q->next_seq - 1);
    q->told_horizon = atomic_load(&q->horizon);
    q->corrupt_bytes = r->corrupt_bytes;
    memcpy(q->corrupt_where, r->corrupt_where, sizeof q->corrupt_where);
    mr_cell_add(q->corrupt, (int64_t)r->corrupt_bytes);
    mr_log_info(q->loop->log, NULL, "queue_recovered", MR_I("segments", r->n), MR_I("next", q->next_seq),
                MR_I("corrupt_bytes", r->corrupt_bytes), MR_I("unfinished_group_in", r->torn_segment));
}

static enum mr_code start(struct mr_queue *q, struct mr_err *err)
{
    if (mr_wake_init(&q->loop->uv, &q->wake_up, on_wake_up, err) != MR_OK)
        return mr_err_wrap(err, "queue");
    uv_prepare_init(&q->loop->uv, &q->prepare);
    uv_check_init(&q->loop->uv, &q->check);
    uv_timer_init(&q->loop->uv, &q->tick);
    uv_prepare_start(&q->prepare, on_prepare);
    uv_check_start(&q->check, on_check);
    uv_timer_start(&q->tick, on_tick, tick_ms, tick_ms);
    q->handles_open = 4;
    if (uv_thread_create(&q->thread, mr_writer_main, q) != 0)
        abort(); /* a machine that gives us no thread at start will not serve */
    return MR_OK;
}

static void drop(struct mr_queue *q)
{
    for (size_t i = 0; i < q->segs_n; i++)
        mr_segment_unref(q->segs[i]);
    if (q->before)
        mr_segment_unref(q->before);
    free(q->segs);
    uv_cond_destroy(&q->wake);
    uv_mutex_destroy(&q->lock);
    free(q);
}

static void recover_done(struct mr_job *job, bool canceled)
{
    struct opening *o = MR_OF(job, struct opening, job);
    struct mr_queue *q = o->q;
    if (canceled)
        o->rc = mr_err_set(&o->err, MR_ECANCELED, "queue: opening was canceled");
    mr_queue_open_cb cb = q->open_cb;
    void *arg = q->open_arg;
    if (o->rc == MR_OK) {
        adopt(q, &o->found, o->next_at_least);
        o->rc = start(q, &o->err);
    }
    if (o->rc == MR_OK) {
        mr_tend_start(q, &o->found);
        cb(arg, NULL, q);
    } else {
        drop(q);
        cb(arg, &o->err, NULL);
    }
    mr_recovered_free(&o->found);
    free(o);
}

static void cells(struct mr_queue *q, struct mr_metrics *m)
{
    q->groups = mr_metric0(m, MR_M_QUEUE_GROUPS);
    q->records = mr_metric0(m, MR_M_QUEUE_RECORDS);
    q->bytes = mr_metric0(m, MR_M_QUEUE_BYTES);
    q->segments = mr_metric0(m, MR_M_QUEUE_SEGMENTS);
    q->depth = mr_metric0(m, MR_M_QUEUE_DEPTH);
    q->sync = mr_metric0(m, MR_M_QUEUE_SYNC);
    q->sync_failed = mr_metric0(m, MR_M_QUEUE_SYNC_FAILED);
    q->corrupt = mr_metric0(m, MR_M_QUEUE_CORRUPT);
}

void mr_queue_open(const struct mr_queue_options *options, mr_queue_open_cb cb, void *arg)
{
    struct mr_queue *q = calloc(1, sizeof *q);
    struct opening *o = calloc(1, sizeof *o);
    if (!q || !o)
        abort();
    q->self = q;
    q->loop = options->loop;
    /* Room is kept for the longest name below; recovery says so if a folder's name was cut. */
    snprintf(q->dir, sizeof q->dir, "%s", options->dir);
    snprintf(q->quarantine, sizeof q->quarantine, "%s", options->quarantine);
    q->segment_size = mr_round_up(options->segment_size ? options->segment_size : UINT64_C(64) << 20, MR_BLOCK);
    if (q->segment_size < 16 * MR_BLOCK)
        q->segment_size = 16 * MR_BLOCK;
    q->max_size = options->max_size ? options->max_size : UINT64_MAX;
    q->disk_reserve = options->disk_reserve;
    q->group_memory = options->group_memory ? options->group_memory : (size_t)64 << 20;
    q->on_durable = options->on_durable;
    q->arg = options->arg;
    q->fd = -1;
    q->open_cb = cb;
    q->open_arg = arg;
    cells(q, q->loop->metrics);
    if (uv_mutex_init(&q->lock) != 0 || uv_cond_init(&q->wake) != 0)
        abort();
    *o = (struct opening){.q = q, .next_at_least = options->next_at_least};
    o->job.run = recover_run;
    o->job.done = recover_done;
    mr_worker_submit(q->loop->workers, MR_LANE_SYNC, &o->job);
}

void mr_queue_close(struct mr_queue *q, void (*cb)(void *arg), void *arg)
{
    q->close_cb = cb;
    q->close_arg = arg;
    uv_mutex_lock(&q->lock);
    q->closing = true;
    uv_mutex_unlock(&q->lock);
    uv_cond_signal(&q->wake);
}

/* -- append ----------------------------------------------------------------------------------------------------- */

/* Under lock. */
static enum mr_code admit(struct mr_queue *q, size_t size)
{
    size_t pending = q->filling.n + q->writing_bytes;
    if (q->closing)
        return MR_EBUSY;
    if (q->broken != MR_OK)
        return q->broken;
    if (q->tend.disk_low)
        return MR_ENOSPC;
    if (pending + size > q->group_memory && pending > 0) /* one record alone is always taken: it fitted its body_limit */
        return MR_EBUSY;
    if (q->bytes_used + pending + size > q->max_size) {
        q->free_wanted = q->free_wanted || !q->tend.full;
        q->tend.full = true;
        return MR_ENOSPC;
    }
    return MR_OK;
}

static bool group_reserve(struct mr_group *g, size_t more)
{
    if (g->cap - g->n >= more)
        return true;
    size_t cap = g->cap ? g->cap : 64 << 10;
    while (cap - g->n < more)
        cap *= 2;
    char *p = realloc(g->p, cap);
    if (!p)
        return false;
    g->p = p;
    g->cap = cap;
    return true;
}

static void group_add(struct mr_queue *q, struct mr_queue_wait *wait)
{
    struct mr_group *g = &q->filling;
    wait->seq = q->next_seq++;
    wait->next = NULL;
    if (g->count++ == 0) {
        g->first_seq = wait->seq;
        g->head = wait;
    } else {
        g->last->next = wait;
    }
    g->last = wait;
}

enum mr_code mr_queue_append(struct mr_queue *q, struct mr_str source, const struct mr_str *pieces, size_t count,
                             struct mr_queue_wait *wait)
{
    size_t payload = 0;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].n > MR_PAYLOAD_MAX - payload)
            return MR_ETOOBIG;
        payload += pieces[i].n;
    }
    if (source.n > UINT16_MAX)
        return MR_ETOOBIG;
    size_t size = mr_record_size(source.n, payload);
    uv_mutex_lock(&q->lock);
    enum mr_code rc = admit(q, size);
    if (rc == MR_OK && !group_reserve(&q->filling, size))
        rc = MR_EBUSY;
    if (rc == MR_OK) {
        mr_record_put(q->filling.p + q->filling.n, source, pieces, count, payload);
        q->filling.n += size;
        group_add(q, wait);
        q->turn_open = true;
    }
    bool tend = rc == MR_ENOSPC && q->free_wanted;
    uv_mutex_unlock(&q->lock);
    q->appended = q->appended || rc == MR_OK;
    if (tend)
        mr_queue_signal(q); /* alert, and a look for what may be freed, on a later turn */
    return rc;
}

/* -- what is there ---------------------------------------------------------------------------------------------- */

void mr_queue_facts(const struct mr_queue *queue, struct mr_queue_facts *out)
{
    struct mr_queue *q = queue->self;
    *out = (struct mr_queue_facts){0};
    id_text(q->id, out->id);
    uv_mutex_lock(&q->lock);
    out->horizon = atomic_load(&q->horizon);
    out->first = out->horizon + 1;
    for (size_t i = 0; i < q->segs_n; i++) {
        if (q->segs[i]->at.last_seq < q->segs[i]->at.first_seq)
            continue;
        out->first = q->segs[i]->at.first_seq;
        break;
    }
    out->bytes = q->bytes_used;
    out->segments = q->segs_n;
    out->corrupt_bytes = q->corrupt_bytes;
    uv_mutex_unlock(&q->lock);
}

void mr_queue_sources(const struct mr_queue *queue, void (*each)(void *arg, struct mr_str source, uint64_t last_seq), void *arg)
{
    struct mr_queue *q = queue->self;
    struct mr_sources all = {0};
    uv_mutex_lock(&q->lock);
    for (size_t i = 0; i < q->segs_n; i++)
        mr_sources_merge(&all, &q->segs[i]->sources);
    uv_mutex_unlock(&q->lock);
    for (size_t i = 0; i < all.n; i++)
        each(arg, (struct mr_str){all.rows[i].name, all.rows[i].n}, all.rows[i].seq);
    mr_sources_free(&all);
}

void mr_queue_published(struct mr_queue *q, struct mr_str source, uint64_t seq)
{
    mr_sources_note(&q->tend.published, source, seq);
    uv_mutex_lock(&q->lock);
    q->free_wanted = true;
    uv_mutex_unlock(&q->lock);
    mr_queue_signal(q); /* many sources may say so in one turn: looked at once */
}

void mr_queue_pin(struct mr_queue *q, uint64_t seq)
{
    if (seq == 0 || q->tend.pinned == 0 || seq < q->tend.pinned)
        q->tend.pinned = seq;
    uv_mutex_lock(&q->lock);
    q->free_wanted = true;
    uv_mutex_unlock(&q->lock);
    mr_queue_signal(q);
}

void mr_queue_limits_set(struct mr_queue *q, uint64_t max_size, uint64_t disk_reserve)
{
    q->max_size = max_size ? max_size : UINT64_MAX;
    q->disk_reserve = disk_reserve;
}
