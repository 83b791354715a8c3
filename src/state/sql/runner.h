/* SPDX-License-Identifier: Apache-2.0 */
/* state/sql/runner.h - what runs a store's calls over its connection: an ordered queue, drained by one job on lane STATE.
 *
 * Happy path: calls wait on the loop; a job takes all of them; neighbours that write share one transaction, each in a
 * savepoint; the job comes back and the callbacks run in order. Whatever came meanwhile goes into the next job. What the
 * database wants to tidy up runs after the callbacks, never inside a commit.
 *
 * Ways to fail:
 * - A call loses or fails: its savepoint is rolled back, its neighbours do not notice (a call alone needs none).
 * - Something fails before the commit: rolled back; every call in it failed, and that is certain.
 * - The commit fails and nobody knows whether it took: the calls are kept (in doubt) and nothing else runs until the
 *   database has found out (mr_db_ops.settle).
 * - The same while the program ends: after a few tries everything is canceled; the next start finds out.
 * - The store comes back: each job tries anew; the alert state_failed closes with the first commit that works.
 *
 * On close: what waits runs first; the connection is closed on its lane, then the timer; then the owner is told. */
#ifndef MILLRACE_STATE_SQL_RUNNER_H
#define MILLRACE_STATE_SQL_RUNNER_H

#include "state/sql/sql.h"

/* Takes db over; its ops->free() is the end of it. Runs on: loop. */
struct mr_store *mr_runner_new(struct mr_loop *loop, const struct mr_driver *driver, struct mr_db *db,
                               const struct mr_store_facts *facts);
struct mr_db *mr_runner_db(struct mr_store *store);
/* A driver's. */
void mr_runner_submit(struct mr_store *store, struct mr_call *call);
void mr_runner_ending(struct mr_store *store);
void mr_runner_close(struct mr_store *store, void (*cb)(void *arg), void *arg);

#endif
