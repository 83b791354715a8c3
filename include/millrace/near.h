/* SPDX-License-Identifier: Apache-2.0 */
/* near.h - "did you mean": the nearest of some known words, if one is near enough. Pure. */
#ifndef MILLRACE_NEAR_H
#define MILLRACE_NEAR_H

#include "millrace/str.h"

enum { MR_NEAR_WORD_MAX = 64 };
/* Start with {.word = …}; offer every known word; read best (NULL: none is near). The first of equals wins. */
struct mr_near {
    struct mr_str word;
    const char *best;
    size_t distance;
};
void mr_near_offer(struct mr_near *near, const char *known);
/* Edits (insert, delete, change, swap of neighbours) between two words, letter case aside; words above MR_NEAR_WORD_MAX are far from all. */
size_t mr_near_distance(struct mr_str a, struct mr_str b);

#endif
