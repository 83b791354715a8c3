/* SPDX-License-Identifier: Apache-2.0 */
/* backoff.h - how long to wait before the next try: exponential, with full jitter.
 *
 * The wait is drawn evenly from 0 to a ceiling that doubles with each try, up to the cap. Drawing from the whole range, rather
 * than adding a little noise, is what spreads those who failed together. Pure: randomness is an argument. */
#ifndef MILLRACE_BACKOFF_H
#define MILLRACE_BACKOFF_H

#include <stdint.h>

struct mr_backoff {
    int64_t base_ms; /* ceiling of the first wait, > 0 */
    int64_t cap_ms;  /* ceiling of all, >= base_ms */
    int64_t ceiling_ms; /* of the next wait; 0: base_ms */
};

static inline struct mr_backoff mr_backoff_of(int64_t base_ms, int64_t cap_ms)
{
    return (struct mr_backoff){.base_ms = base_ms, .cap_ms = cap_ms};
}

/* Milliseconds to wait now, 0 to the ceiling, which then doubles. `random`: 64 even bits. */
int64_t mr_backoff_next(struct mr_backoff *b, uint64_t random);
void mr_backoff_reset(struct mr_backoff *b); /* after a success */

#endif
