/* SPDX-License-Identifier: Apache-2.0 */
#include "millrace/backoff.h"

#include <assert.h>

int64_t mr_backoff_next(struct mr_backoff *b, uint64_t random)
{
    assert(b->base_ms > 0 && b->cap_ms >= b->base_ms);
    int64_t ceiling = b->ceiling_ms > 0 ? b->ceiling_ms : b->base_ms;
    b->ceiling_ms = ceiling > b->cap_ms / 2 ? b->cap_ms : ceiling * 2;
    return (int64_t)(random % ((uint64_t)ceiling + 1));
}

void mr_backoff_reset(struct mr_backoff *b)
{
    b->ceiling_ms = 0;
}
