/* SPDX-License-Identifier: Apache-2.0 */
/* scripted.h - a door whose outside world is arithmetic: stream s, part p holds the records 1..N, each known by its
 * text.
 *
 * It has what the webhook door has not: many parts, several streams and moves in one landing, positions moved by a
 * decision without a file, whole and rolling landings by turns, extra rows decided with the moves. Whatever is lost on
 * the way (compare-and-swaps above all), in the end each record is in the zone exactly once, and the test needs nothing
 * but the zone to see it. */
#ifndef MR_TESTS_SCRIPTED_H
#define MR_TESTS_SCRIPTED_H

#include "millrace/door.h"

enum { SCRIPTED_STREAMS = 3, SCRIPTED_PARTS = 7 };

extern const struct mr_door mr_door_scripted;

struct scripted_counts { /* what the door saw, for the test */
    unsigned decided, published, fenced, other, moves_alone, starts, stops, pauses, reads_while_paused;
};
extern struct scripted_counts scripted_counts;

#endif
