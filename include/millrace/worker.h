/* SPDX-License-Identifier: Apache-2.0 */
/* worker.h - where a thread may block. Five lanes, so that a slow disk does not stop a commit, nor compression a sync, nor a network either:
 *
 *   SYNC      fsync, rename, directory sync, segment filling     2 threads
 *   STATE     the state store, in order                          1 thread
 *   COMPRESS  staging: encode, compress, write                   1 thread on two cores, else cores - 1, at most 4
 *   MISC      the rest: reading files, dropping, checking        1 thread
 *   FAR       calls to a zone that is far away: they wait        4 threads
 *
 * All are niced, staging most: what is captured can land a little later; whoever answers a sender cannot wait. While the
 * process serves senders, COMPRESS is idle in the scheduler's sense (SCHED_IDLE): a thread that wakes beside it runs at once.
 *
 * A job's run() sees only what is in its own struct; done() runs on the loop, exactly once, also after a cancel, and never
 * before mr_worker_submit() has returned. The job's memory is the caller's until done(). */
#ifndef MILLRACE_WORKER_H
#define MILLRACE_WORKER_H

#include "millrace/loop.h"

enum mr_lane { MR_LANE_SYNC, MR_LANE_STATE, MR_LANE_COMPRESS, MR_LANE_MISC, MR_LANE_FAR, MR_LANES };

struct mr_job {
    void (*run)(struct mr_job *job);                 /* worker */
    void (*done)(struct mr_job *job, bool canceled); /* loop; canceled: run was never called */
    /* private */
    struct mr_job *next, *prev;
    enum mr_lane lane;
    unsigned char state;
};

struct mr_workers;
/* serving: COMPRESS runs only where nobody else wants the processor. */
MR_MUST enum mr_code mr_workers_new(uv_loop_t *uv, bool serving, struct mr_workers **out, struct mr_err *err);
/* Lane's jobs that wait are canceled, those that run end; then the threads are joined and closed_cb runs on the loop. */
void mr_workers_close(struct mr_workers *w, void (*closed_cb)(void *arg), void *arg);
void mr_workers_free(struct mr_workers *w); /* after closed_cb */
void mr_worker_submit(struct mr_workers *w, enum mr_lane lane, struct mr_job *job); /* loop; first in, first out within a lane */
bool mr_worker_cancel(struct mr_workers *w, struct mr_job *job); /* a wish; done() comes either way */


/* How another thread wakes the loop; several sends may be one call of cb. The struct is the caller's until closed(). */
struct mr_wake {
    uv_poll_t poll; /* of the loop: to be reffed and unreffed */
    int fd;
    void (*cb)(struct mr_wake *wake);     /* loop */
    void (*closed)(struct mr_wake *wake); /* loop */
};
MR_MUST enum mr_code mr_wake_init(uv_loop_t *uv, struct mr_wake *wake, void (*cb)(struct mr_wake *wake), struct mr_err *err);
void mr_wake_send(struct mr_wake *wake); /* any thread; hold no lock that the loop takes: it may run before this returns */
/* Nobody may send from here on: threads that do are joined. */
void mr_wake_close(struct mr_wake *wake, void (*closed)(struct mr_wake *wake));

/* The calling thread runs soon after it wakes, also while others keep the processors busy: it asks for short slices of
 * time, which the kernel (Linux 6.12 on) lets in ahead of long ones. Its share stays what it was. For a thread that others
 * wait for and that sleeps most of the time; elsewhere a no-op. */
void mr_thread_prompt(void);

#endif
