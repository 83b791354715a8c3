/* SPDX-License-Identifier: Apache-2.0 */
#include "bounds/group.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *grown(void *old, size_t bytes)
{
    void *grown = realloc(old, bytes);
    if (!grown) {
        fprintf(stderr, "group: out of memory\n");
        exit(1);
    }
    return grown;
}

void mr_group_add(struct mr_group *group, const char *body, size_t length, void *waiter)
{
    uint64_t prefix = length;
    size_t needed = group->length + sizeof prefix + length;
    if (needed > group->capacity) {
        group->capacity = 2 * needed;
        group->bytes = grown(group->bytes, group->capacity);
    }
    if (group->count == group->slots) {
        group->slots = group->slots ? 2 * group->slots : 64;
        group->waiters = grown(group->waiters, group->slots * sizeof *group->waiters);
    }
    memcpy(group->bytes + group->length, &prefix, sizeof prefix);
    memcpy(group->bytes + group->length + sizeof prefix, body, length);
    group->length = needed;
    group->waiters[group->count++] = waiter;
}

void mr_group_clear(struct mr_group *group)
{
    group->length = group->count = 0;
}

void mr_group_free(struct mr_group *group)
{
    free(group->bytes);
    free(group->waiters);
}
