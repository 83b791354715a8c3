/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: submit puts a job at the end of its lane; a thread of the lane takes it, runs it, puts it on the one list
 * of ended jobs and wakes the loop; the loop takes that list whole and calls each done().
 *
 * Ways to fail: only mr_workers_new, when a thread or the wake-up handle cannot be made.
 *
 * On close: jobs that wait are canceled; when the last job is done the threads, all idle by then, are joined, so that
 * the join does not block the loop; then the wake-up handle is closed, and its callback is the owner's closed_cb. */
#include "millrace/worker.h"

#include "internal.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { THREADS_MAX = 4 };
enum { IDLE, WAITING, RUNNING, CANCELED }; /* mr_job.state; under the lane's mutex while submitted */

struct job_list {
    struct mr_job *head, *tail;
};

struct lane {
    pthread_mutex_t mutex;
    pthread_cond_t more;
    struct job_list waiting;
    bool closing;
    int nice;         /* of its threads */
    bool idle;        /* they run where nobody else wants to */
    unsigned threads; /* made so far */
    pthread_t ids[THREADS_MAX];
    struct mr_workers *workers;
};

struct mr_workers {
    struct lane lanes[MR_LANES];
    _Atomic(struct mr_job *) ended; /* by `next`, the last one first: no lock that a thread which was put aside could hold */
    struct mr_wake wake;            /* keeps the loop alive while jobs are out, and only then */
    /* loop only */
    size_t out; /* submitted, not done */
    bool closing, joined;
    void (*closed_cb)(void *arg);
    void *closed_arg;
};

static void list_add(struct job_list *l, struct mr_job *job)
{
    job->next = NULL;
    job->prev = l->tail;
    *(l->tail ? &l->tail->next : &l->head) = job;
    l->tail = job;
}

static void list_remove(struct job_list *l, struct mr_job *job)
{
    *(job->prev ? &job->prev->next : &l->head) = job->next;
    *(job->next ? &job->next->prev : &l->tail) = job->prev;
}

/* Any thread. The loop is woken for the first of a list only: it takes all that are there. */
static void end_job(struct mr_workers *w, struct mr_job *job)
{
    struct mr_job *before = atomic_load(&w->ended);
    do
        job->next = before;
    while (!atomic_compare_exchange_weak(&w->ended, &before, job));
    if (!before)
        mr_wake_send(&w->wake); /* w stays: this thread is joined before the handle is closed */
}

/* NULL: the lane is closing. */
static struct mr_job *next_job(struct lane *lane)
{
    pthread_mutex_lock(&lane->mutex);
    while (!lane->waiting.head && !lane->closing)
        pthread_cond_wait(&lane->more, &lane->mutex);
    struct mr_job *job = lane->waiting.head;
    if (job) {
        list_remove(&lane->waiting, job);
        job->state = RUNNING;
    }
    pthread_mutex_unlock(&lane->mutex);
    return job;
}

static void *thread_main(void *arg)
{
    struct lane *lane = arg;
    /* On Linux a thread has a nice value of its own. What is captured can land a little later; whoever answers a sender cannot wait. */
    setpriority(PRIO_PROCESS, (id_t)gettid(), lane->nice);
    if (lane->idle)
        (void)pthread_setschedparam(pthread_self(), SCHED_IDLE, &(struct sched_param){0});
    for (struct mr_job *job; (job = next_job(lane)) != NULL;) {
        job->run(job);
        end_job(lane->workers, job);
    }
    return NULL;
}

static void join_lane(struct lane *lane)
{
    pthread_mutex_lock(&lane->mutex);
    lane->closing = true;
    pthread_cond_broadcast(&lane->more);
    pthread_mutex_unlock(&lane->mutex);
    for (unsigned i = 0; i < lane->threads; i++)
        pthread_join(lane->ids[i], NULL);
    lane->threads = 0;
}

static void on_wake_closed(struct mr_wake *wake)
{
    struct mr_workers *w = MR_OF(wake, struct mr_workers, wake);
    if (w->closed_cb)
        w->closed_cb(w->closed_arg); /* may free w */
}

static void maybe_closed(struct mr_workers *w)
{
    if (!w->closing || w->joined || w->out > 0)
        return;
    w->joined = true; /* the last done() may itself have asked to close */
    for (int i = 0; i < MR_LANES; i++)
        join_lane(&w->lanes[i]);
    mr_wake_close(&w->wake, on_wake_closed);
}

static struct mr_job *take_ended(struct mr_workers *w) /* the first one first */
{
    struct mr_job *ordered = NULL;
    for (struct mr_job *job = atomic_exchange(&w->ended, NULL), *before; job; job = before) {
        before = job->next;
        job->next = ordered;
        ordered = job;
    }
    return ordered;
}

static void on_wake(struct mr_wake *wake)
{
    struct mr_workers *w = MR_OF(wake, struct mr_workers, wake);
    struct mr_job *job = take_ended(w);
    if (!job)
        return;
    for (struct mr_job *next; job; job = next) {
        next = job->next; /* from here on the job is its owner's again */
        bool canceled = job->state == CANCELED;
        job->state = IDLE;
        if (--w->out == 0)
            uv_unref((uv_handle_t *)&w->wake.poll);
        job->done(job, canceled);
    }
    maybe_closed(w);
}

/* Threads take no signal: those are the loop's, by uv_signal. Faults stay, or a sanitizer could not report them. */
static void thread_signals(sigset_t *set)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP};
    sigfillset(set);
    for (size_t i = 0; i < MR_COUNT(faults); i++)
        sigdelset(set, faults[i]);
}

static int start_lane(struct lane *lane, const char *name, unsigned threads)
{
    sigset_t blocked, before;
    thread_signals(&blocked);
    pthread_sigmask(SIG_SETMASK, &blocked, &before); /* inherited */
    int rc = 0;
    while (rc == 0 && lane->threads < threads) {
        rc = pthread_create(&lane->ids[lane->threads], NULL, thread_main, lane);
        if (rc == 0)
            pthread_setname_np(lane->ids[lane->threads++], name);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static unsigned compress_threads(void)
{
    unsigned cores = uv_available_parallelism();
    return cores <= 2 ? 1 : cores - 1 < THREADS_MAX ? cores - 1 : THREADS_MAX;
}

static int start_lanes(struct mr_workers *w, bool serving)
{
    static const char *const names[MR_LANES] = {"mr-sync", "mr-state", "mr-compress", "mr-misc", "mr-far"};
    const unsigned threads[MR_LANES] = {2, 1, compress_threads(), 1, 4};
    static const int nice[MR_LANES] = {10, 15, 19, 15, 15};
    for (int i = 0; i < MR_LANES; i++) {
        struct lane *lane = &w->lanes[i];
        lane->workers = w;
        lane->nice = nice[i];
        lane->idle = serving && i == MR_LANE_COMPRESS;
        int rc = start_lane(lane, names[i], threads[i]);
        if (rc != 0)
            return rc;
    }
    return 0;
}

enum mr_code mr_workers_new(uv_loop_t *uv, bool serving, struct mr_workers **out, struct mr_err *err)
{
    struct mr_workers *w = calloc(1, sizeof *w);
    if (!w)
        return mr_err_sys(err, ENOMEM, "worker lanes");
    bool made = true;
    for (int i = 0; i < MR_LANES; i++)
        made = made && pthread_mutex_init(&w->lanes[i].mutex, NULL) == 0 &&
               pthread_cond_init(&w->lanes[i].more, NULL) == 0;
    if (!made)
        abort(); /* they only need the memory that they lie in */
    int rc = start_lanes(w, serving);
    enum mr_code code = rc == 0 ? MR_OK : mr_err_sys(err, rc, "worker threads");
    if (code == MR_OK) /* last: it cannot be taken back without a turn of the loop; the threads touch it only to end a job */
        code = mr_wake_init(uv, &w->wake, on_wake, err);
    if (code != MR_OK) {
        for (int i = 0; i < MR_LANES; i++)
            join_lane(&w->lanes[i]);
        mr_workers_free(w);
        return code;
    }
    uv_unref((uv_handle_t *)&w->wake.poll);
    *out = w;
    return MR_OK;
}

bool mr_workers_own(const struct mr_workers *w, const uv_handle_t *handle)
{
    return handle == (const uv_handle_t *)&w->wake.poll;
}

void mr_worker_submit(struct mr_workers *w, enum mr_lane lane, struct mr_job *job)
{
    assert((unsigned)lane < MR_LANES && job->run && job->done && !w->joined);
    struct lane *l = &w->lanes[lane];
    job->lane = lane;
    if (w->out++ == 0)
        uv_ref((uv_handle_t *)&w->wake.poll);
    if (w->closing) { /* a done() that goes on to its next step while we close: it hears so */
        job->state = CANCELED;
        end_job(w, job);
        return;
    }
    pthread_mutex_lock(&l->mutex);
    job->state = WAITING;
    list_add(&l->waiting, job);
    pthread_cond_signal(&l->more);
    pthread_mutex_unlock(&l->mutex);
}

bool mr_worker_cancel(struct mr_workers *w, struct mr_job *job)
{
    struct lane *lane = &w->lanes[job->lane];
    pthread_mutex_lock(&lane->mutex);
    bool canceled = job->state == WAITING;
    if (canceled) {
        list_remove(&lane->waiting, job);
        job->state = CANCELED;
    }
    pthread_mutex_unlock(&lane->mutex);
    if (canceled)
        end_job(w, job); /* done() on a later turn, like any other */
    return canceled;
}

void mr_workers_close(struct mr_workers *w, void (*closed_cb)(void *arg), void *arg)
{
    if (w->closing)
        return; /* twice is harmless */
    w->closing = true;
    w->closed_cb = closed_cb;
    w->closed_arg = arg;
    for (int i = 0; i < MR_LANES; i++) {
        struct lane *lane = &w->lanes[i];
        pthread_mutex_lock(&lane->mutex);
        struct mr_job *job = lane->waiting.head;
        lane->waiting = (struct job_list){0};
        for (struct mr_job *j = job; j; j = j->next)
            j->state = CANCELED;
        pthread_mutex_unlock(&lane->mutex);
        for (struct mr_job *next; job; job = next) {
            next = job->next;
            end_job(w, job);
        }
    }
    maybe_closed(w);
}

void mr_workers_free(struct mr_workers *w)
{
    if (!w)
        return;
    for (int i = 0; i < MR_LANES; i++) {
        pthread_cond_destroy(&w->lanes[i].more);
        pthread_mutex_destroy(&w->lanes[i].mutex);
    }
    free(w);
}
