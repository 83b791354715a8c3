/* SPDX-License-Identifier: Apache-2.0 */
/* dedup.h - ids that are staged but not yet decided: of one landing. What is decided is in the store.
 *
 * The ids of a landing are inserted by its decision, so until then a repeat can only be seen here. Pure. */
#ifndef MR_WEBHOOK_DEDUP_H
#define MR_WEBHOOK_DEDUP_H

#include "millrace/decision.h"
#include "millrace/state.h"

struct mr_idset {
    struct mr_seen *ids;
    size_t count, cap;
    uint32_t *slots; /* index + 1 into ids; open addressing, at most half full */
    size_t slots_count;
};

/* What is hashed: the source's name (two sources may have the same ids) and the id; and the body. */
void mr_dedup_hash(struct mr_str source, struct mr_str id, struct mr_str body, int32_t day, struct mr_seen *out);
enum mr_seen_answer mr_idset_find(const struct mr_idset *set, const struct mr_seen *id);
void mr_idset_add(struct mr_idset *set, const struct mr_seen *id); /* not there yet */
void mr_idset_free(struct mr_idset *set);

#endif
