/* SPDX-License-Identifier: Apache-2.0 */
/* batch.h - one request, many records: a source may split the array that its vendor batches events in.
 *
 * Each element becomes an event of its own in the queue, with the request's head; the sender is answered when all of them are durable. What is no such array, or too
 * large a one, is queued whole: nothing is lost by a wrong pointer. Runs on: loop. */
#ifndef MR_WEBHOOK_BATCH_H
#define MR_WEBHOOK_BATCH_H

#include "millrace/json.h"
#include "millrace/option.h"
#include "millrace/queue.h"

struct split_options {
    char *at;
    int64_t most;
};
extern const struct mr_option split_rows[];

struct batch_cut {
    struct mr_json_iter items;
    size_t count;
};
/* false: not to be split. head_n: bytes that each element's event has besides; memory: that all of them may take. */
bool batch_of(const struct split_options *o, struct mr_str body, size_t head_n, size_t memory, struct batch_cut *out);

typedef struct mr_str (*batch_head_fn)(void *arg, size_t index); /* the event without its body; borrowed until the next call */
typedef void (*batch_done_fn)(void *arg, enum mr_code code);     /* MR_OK: all are durable; else not all */
/* At least one element. MR_OK: done comes on a later turn, exactly once. Else it never comes, and nothing is queued. */
MR_MUST enum mr_code batch_append(struct mr_queue *queue, struct mr_str key, struct batch_cut *cut, batch_head_fn head, batch_done_fn done, void *arg);

#endif
