/* SPDX-License-Identifier: Apache-2.0 */
/* far.h - how a worker, which may block, has something done by the loop, which may not: it hands a call over and waits for it.
 *
 * Private to this folder. */
#ifndef MILLRACE_ZONE_S3_FAR_H
#define MILLRACE_ZONE_S3_FAR_H

#include "millrace/worker.h"

#include <pthread.h>

struct far_call { /* the caller's, and stays until far_wait() has returned */
    void (*begin)(struct far_call *call); /* loop; ends, then or later, in far_over() */
    struct far_call *next;
    bool over;
};

struct far {
    pthread_mutex_t mutex;
    pthread_cond_t done;
    struct far_call *first, *last; /* handed over, not begun */
    struct mr_wake wake;
    void (*closed)(struct far *far);
};

MR_MUST enum mr_code far_init(struct far *far, uv_loop_t *uv, struct mr_err *err);
void far_close(struct far *far, void (*closed)(struct far *far)); /* Runs on: loop. Nobody waits any more */
void far_start(struct far *far, struct far_call *call);           /* Runs on: worker */
void far_wait(struct far *far, struct far_call *call);            /* Runs on: worker. Returns once it is over */
void far_over(struct far *far, struct far_call *call);            /* Runs on: loop. The call is its caller's again */

#endif
