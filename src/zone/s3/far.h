/* SPDX-License-Identifier: Apache-2.0 */
/* far.h - how a worker, which may block, has something done by the loop, which may not: it hands a call over and waits for it.
 *
 * No lock between the two: a worker runs where nobody else wants the processor (worker.h), and the loop must never wait for one that was put aside.
 *
 * Private to this folder. */
#ifndef MILLRACE_ZONE_S3_FAR_H
#define MILLRACE_ZONE_S3_FAR_H

#include "millrace/worker.h"

#include <semaphore.h>
#include <stdatomic.h>

struct far_call { /* the caller's, and stays until far_wait() has returned */
    void (*begin)(struct far_call *call); /* loop; ends, then or later, in far_over() */
    struct far_call *next;
    sem_t over;
};

struct far {
    _Atomic(struct far_call *) handed_over; /* not begun; by `next`, the last one first */
    struct mr_wake wake;
    void (*closed)(struct far *far);
};

MR_MUST enum mr_code far_init(struct far *far, uv_loop_t *uv, struct mr_err *err);
void far_close(struct far *far, void (*closed)(struct far *far)); /* Runs on: loop. Nobody waits any more */
void far_start(struct far *far, struct far_call *call);           /* Runs on: worker */
void far_wait(struct far_call *call); /* Runs on: worker. Returns once it is over */
void far_over(struct far_call *call); /* Runs on: loop. The call is its caller's again */

#endif
