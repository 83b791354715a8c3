/* SPDX-License-Identifier: Apache-2.0 */
/* budget.h - limits.memory, split into shares. Every byte that outside input makes us hold is taken here first.
 *
 * A share that is refused waits: its on_relief runs once the least that it was refused would fit, within the mr_share_put()
 * or mr_share_free() that made the room and after its accounting; never within mr_share_take(). Those who wait are relieved
 * in turn. One share can hold at most its cap, so one source gone mad eats its own share, not its neighbours'. Pure accounting:
 * no libuv, allocates nothing but the shares. Runs on: loop. */
#ifndef MILLRACE_BUDGET_H
#define MILLRACE_BUDGET_H

#include "millrace/err.h"
#include "millrace/metrics.h"

struct mr_budget;
struct mr_share;
struct mr_budget *mr_budget_new(size_t limit, struct mr_metrics *metrics);
void mr_budget_free(struct mr_budget *b);
size_t mr_budget_limit(const struct mr_budget *b);
size_t mr_budget_used(const struct mr_budget *b);
/* `cap`: most bytes this share may hold; 0: a quarter of the limit. on_relief may be NULL. */
struct mr_share *mr_share_new(struct mr_budget *b, const char *name, size_t cap, void (*on_relief)(void *arg), void *arg);
void mr_share_free(struct mr_share *s); /* gives back what it holds */
/* False: not now; on_relief will be called, once, and the caller tries again. More than the cap never fits and is never
 * relieved: whoever sets a size limit sets it below the cap. */
bool mr_share_take(struct mr_share *s, size_t bytes);
/* May run on_relief of any share, which may take, put, and free shares; the caller's own state must be in order before. */
void mr_share_put(struct mr_share *s, size_t bytes);
size_t mr_share_held(const struct mr_share *s);

#endif
