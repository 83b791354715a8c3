/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - what loop/ keeps to itself. */
#ifndef MR_LOOP_INTERNAL_H
#define MR_LOOP_INTERNAL_H

#include "millrace/loop.h"

/* Measures every turn: from waking in poll to sleeping again, without the sleep. Does not keep the loop alive. */
MR_MUST enum mr_code mr_lag_start(struct mr_loop *loop, struct mr_err *err);
void mr_lag_stop(struct mr_loop *loop);

/* True for the handle by which the workers wake the loop. */
struct mr_workers;
bool mr_workers_own(const struct mr_workers *w, const uv_handle_t *handle);

/* MR_ENET and the like do not fit a failed uv_*_init: its negative errno, as mr_err_sys would say it. */
#define mr_err_uv(err, rc, what) mr_err_sys((err), -(rc), "%s", (what))

#endif
