/* SPDX-License-Identifier: Apache-2.0 */
/* tests.h - the groups of the binary for the door's pure files. */
#ifndef MR_TEST_POSTGRES_TESTS_H
#define MR_TEST_POSTGRES_TESTS_H

#include "millrace/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

extern const struct CMUnitTest bounds_tests[], ids_tests[], position_tests[], model_tests[];
extern const size_t bounds_tests_n, ids_tests_n, position_tests_n, model_tests_n;

/* xorshift64*: the same everywhere, so that a seed tells a run. */
struct chance {
    uint64_t state;
};
static inline struct chance chance_of(uint64_t seed)
{
    return (struct chance){(seed + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1};
}
static inline uint64_t draw(struct chance *c, uint64_t below)
{
    c->state ^= c->state >> 12;
    c->state ^= c->state << 25;
    c->state ^= c->state >> 27;
    return (c->state * UINT64_C(2685821657736338717) >> 11) % below;
}
static inline bool one_in(struct chance *c, uint64_t n)
{
    return draw(c, n) == 0;
}
static inline int64_t within(struct chance *c, int64_t least, int64_t most)
{
    return least + (int64_t)draw(c, (uint64_t)(most - least) + 1);
}
/* Of a test that draws: MRT_SEED, or always the same. */
uint64_t first_seed(void);

#endif
