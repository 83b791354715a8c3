/* SPDX-License-Identifier: Apache-2.0 */
/* bench/bounds/group.h - events that one sync makes durable together: their bytes, and who waits for the answer.
 * Grows by doubling; out of memory ends the program. Runs on: whoever holds it; it is handed over by pointer. */
#ifndef BENCH_GROUP_H
#define BENCH_GROUP_H
#include <stddef.h>

struct mr_group {
    char *bytes;
    size_t length, capacity;
    void **waiters;
    size_t count, slots;
};

/* Appends one record (its length as 8 bytes, then the body) and the one who waits for it. */
void mr_group_add(struct mr_group *group, const char *body, size_t length, void *waiter);
void mr_group_clear(struct mr_group *group);
void mr_group_free(struct mr_group *group);

#endif
