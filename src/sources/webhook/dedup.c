/* SPDX-License-Identifier: Apache-2.0 */
#include "dedup.h"

#include "millrace/hash.h"

#include <assert.h>
#include <stdlib.h>

void mr_dedup_hash(struct mr_str source, struct mr_str id, struct mr_str body, int32_t day, struct mr_seen *out)
{
    unsigned char hash[16];
    const struct mr_str pieces[] = {source, id};
    mr_hash128(pieces, MR_COUNT(pieces), out->id);
    mr_hash128(&body, 1, hash);
    memcpy(out->body, hash, sizeof out->body);
    out->day = day;
}

static size_t slot_of(const struct mr_idset *set, const struct mr_seen *id)
{
    uint64_t h; /* the id is a digest: its bytes are as good as any hash of them */
    memcpy(&h, id->id, sizeof h);
    size_t at = (size_t)h & (set->slots_count - 1);
    while (set->slots[at] && memcmp(set->ids[set->slots[at] - 1].id, id->id, sizeof id->id) != 0)
        at = (at + 1) & (set->slots_count - 1);
    return at;
}

enum mr_seen_answer mr_idset_find(const struct mr_idset *set, const struct mr_seen *id)
{
    if (set->count == 0)
        return MR_SEEN_NO;
    uint32_t found = set->slots[slot_of(set, id)];
    if (!found)
        return MR_SEEN_NO;
    return memcmp(set->ids[found - 1].body, id->body, sizeof id->body) == 0 ? MR_SEEN_SAME : MR_SEEN_OTHER_BODY;
}

static void grow(struct mr_idset *set)
{
    set->cap = set->cap ? set->cap * 2 : 256;
    set->ids = realloc(set->ids, set->cap * sizeof *set->ids);
    free(set->slots);
    set->slots_count = set->cap * 2;
    set->slots = calloc(set->slots_count, sizeof *set->slots);
    assert(set->ids && set->slots); /* bounded by the ids of one landing */
    for (size_t i = 0; i < set->count; i++)
        set->slots[slot_of(set, &set->ids[i])] = (uint32_t)i + 1;
}

void mr_idset_add(struct mr_idset *set, const struct mr_seen *id)
{
    if (set->count == set->cap)
        grow(set);
    set->ids[set->count] = *id;
    size_t at = slot_of(set, id);
    assert(set->slots[at] == 0);
    set->slots[at] = (uint32_t)++set->count;
}

void mr_idset_free(struct mr_idset *set)
{
    free(set->ids);
    free(set->slots);
    *set = (struct mr_idset){0};
}
