/* SPDX-License-Identifier: Apache-2.0 */
#include "batch.h"

#include <stdlib.h>

enum { RECORD_OVERHEAD = 256 }; /* of the queue: its own head, the key */

#define AT(field) offsetof(struct split_options, field)
const struct mr_option split_rows[] = {
    {.name = "at", .type = MR_T_STRING, .offset = AT(at), .doc = "JSON pointer to the array: `/events`; empty: the body itself is the array."},
    {.name = "most",
     .type = MR_T_INT,
     .offset = AT(most),
     .def = "10000",
     .min = "1",
     .max = "100000",
     .doc = "A longer array lands whole, as one record."},
    {0},
};

bool batch_of(const struct split_options *o, struct mr_str body, size_t head_n, size_t memory, struct batch_cut *out)
{
    struct mr_str key;
    struct mr_json_slice item;
    if (body.n == 0 || mr_json_check(body, NULL) != MR_OK)
        return false;
    struct mr_json_slice array = mr_json_at(body, mr_str_c(o->at ? o->at : ""));
    if (array.type != MR_JSON_ARRAY)
        return false;
    *out = (struct batch_cut){.count = 0};
    mr_json_iter(&out->items, array);
    for (struct mr_json_iter it = out->items; mr_json_next(&it, &key, &item);)
        out->count++;
    return out->count <= (size_t)o->most && out->count <= (memory - (body.n < memory ? body.n : memory)) / (head_n + RECORD_OVERHEAD);
}

struct batch;
struct part {
    struct mr_queue_wait wait;
    struct batch *batch;
};
struct batch {
    batch_done_fn done;
    void *arg;
    size_t left;
    enum mr_code code; /* the first that was not MR_OK */
    struct part parts[];
};

static void on_part(struct mr_queue_wait *wait, enum mr_code code)
{
    struct batch *b = MR_OF(wait, struct part, wait)->batch;
    if (b->code == MR_OK)
        b->code = code;
    if (--b->left > 0)
        return;
    b->done(b->arg, b->code);
    free(b);
}

enum mr_code batch_append(struct mr_queue *queue, struct mr_str key, struct batch_cut *cut, batch_head_fn head, batch_done_fn done, void *arg)
{
    struct batch *b = calloc(1, sizeof *b + cut->count * sizeof *b->parts);
    struct mr_str name;
    struct mr_json_slice item;
    enum mr_code code = MR_OK;
    if (!b)
        return MR_ENOMEM;
    b->done = done;
    b->arg = arg;
    for (size_t i = 0; i < cut->count && code == MR_OK && mr_json_next(&cut->items, &name, &item); i++) {
        struct part *p = &b->parts[i];
        *p = (struct part){.wait = {.done = on_part}, .batch = b};
        const struct mr_str pieces[] = {head(arg, i), item.raw};
        code = pieces[0].n ? mr_queue_append(queue, key, pieces, MR_COUNT(pieces), &p->wait) : MR_ENOMEM;
        b->left += code == MR_OK;
    }
    if (b->left == 0) {
        free(b);
        return code;
    }
    b->code = code; /* those that are in will be durable, but not all are: the sender sends again */
    return MR_OK;
}
