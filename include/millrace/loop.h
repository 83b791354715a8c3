/* SPDX-License-Identifier: Apache-2.0 */
/* loop.h - the one loop and what every module on it shares: workers, memory budget, log, metrics, alerts, and its own lag.
 *
 * Nothing on the loop may block. What blocks goes to a lane of mr_workers. */
#ifndef MILLRACE_LOOP_H
#define MILLRACE_LOOP_H

#include "millrace/alert.h"
#include "millrace/clock.h"
#include "millrace/err.h"

#include <uv.h>

struct mr_workers;
struct mr_budget;

struct mr_loop {
    uv_loop_t uv;
    struct mr_workers *workers;
    struct mr_budget *budget;
    struct mr_log *log;
    struct mr_metrics *metrics;
    struct mr_alerts *alerts;
    /* private to loop/ */
    uv_prepare_t lag_prepare;
    uint64_t lag_now_ns, lag_idle_ns; /* of the prepare before */
    struct mr_cell *lag, *lag_max;
};

struct mr_loop_options {
    size_t memory_limit;  /* bytes, for the budget */
    struct mr_log *log;   /* borrowed */
    bool serving;         /* senders wait for this process: they go before staging (worker.h, mr_thread_prompt) */
};
/* Makes loop, workers, budget, metrics, alerts. Nothing runs yet. */
MR_MUST enum mr_code mr_loop_init(struct mr_loop *loop, const struct mr_loop_options *options, struct mr_err *err);
/* All handles of others must be closed or closing. Runs the loop until it is empty, joins the workers, frees all. Aborts if a handle is left open: our bug. */
void mr_loop_close(struct mr_loop *loop);
static inline uint64_t mr_loop_now_ms(const struct mr_loop *loop)
{
    return uv_now(&loop->uv);
}

#endif
