/* SPDX-License-Identifier: Apache-2.0 */
/* call.c - the life of a call: its memory, and how an answer reaches the callback that asked. */
#include "state/driver.h"

#include <assert.h>
#include <stdlib.h>

struct mr_call_chunk {
    struct mr_call_chunk *next;
    size_t used, size;
    max_align_t bytes[];
};

enum { CHUNK = 2048 };

static const enum mr_call_mode modes[MR_CALL_COUNT] = {
#define MODE(name, mode) MR_CALL_##mode,
    MR_CALLS(MODE)
#undef MODE
};

enum mr_call_mode mr_call_mode(enum mr_call_kind kind)
{
    return modes[kind];
}

void *mr_call_alloc(struct mr_call *call, size_t n)
{
    const size_t align = sizeof(max_align_t);
    n = (n + align - 1) / align * align;
    struct mr_call_chunk *c = call->chunks;
    if (!c || c->size - c->used < n) {
        size_t size = n > CHUNK ? n : CHUNK;
        c = malloc(sizeof *c + size);
        assert(c);
        *c = (struct mr_call_chunk){.next = call->chunks, .size = size};
        call->chunks = c;
    }
    void *p = (char *)c->bytes + c->used;
    c->used += n;
    return p;
}

struct mr_str mr_call_copy(struct mr_call *call, struct mr_str s)
{
    if (!s.p)
        return s;
    char *p = mr_call_alloc(call, s.n + 1);
    memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return (struct mr_str){p, s.n};
}

void *mr_call_item(struct mr_call *call, size_t size)
{
    if (call->items_count == call->items_cap) {
        size_t cap = call->items_cap ? call->items_cap * 2 : 8;
        void *grown = realloc(call->items, cap * size);
        assert(grown);
        call->items = grown;
        call->items_cap = cap;
    }
    void *item = (char *)call->items + call->items_count++ * size;
    memset(item, 0, size);
    return item;
}

static void follow(struct mr_store *s, const struct mr_call *call)
{
    struct mr_store_facts *f = &s->facts;
    if (call->kind == MR_CALL_DECIDE || call->kind == MR_CALL_ADOPT) {
        int64_t number = call->kind == MR_CALL_DECIDE ? call->decided.number : call->number;
        if (call->err.code == MR_OK && number > f->last_number) {
            f->last_number = number;
            f->fresh = false;
        }
    }
    /* a lost decision tells it too: that is how a process learns that another one has sealed */
    if ((call->kind == MR_CALL_DECIDE && call->decided.sealed_through > f->sealed_through))
        f->sealed_through = call->decided.sealed_through;
    if (call->kind == MR_CALL_SEAL && call->err.code == MR_OK && call->day > f->sealed_through)
        f->sealed_through = call->day;
}

static void answer(struct mr_call *c)
{
    const struct mr_err *err = &c->err;
    const size_t n = err->code == MR_OK ? c->items_count : 0;
    switch (c->kind) {
    case MR_CALL_POSITION:
        c->cb.position(
            c->arg, err,
            n ? c->items
              : &(struct mr_position){.source = c->source, .stream = c->stream, .part = c->part, .value = {"", 0}});
        break;
    case MR_CALL_POSITIONS:
        c->cb.positions(c->arg, err, c->items, n);
        break;
    case MR_CALL_ROWS:
        c->cb.rows(c->arg, err, c->items, n);
        break;
    case MR_CALL_SEEN:
        c->cb.seen(c->arg, err, c->items, n);
        break;
    case MR_CALL_BEGIN:
        c->cb.instance(c->arg, err, &c->instance);
        break;
    case MR_CALL_SWEEP:
    case MR_CALL_LIVING:
        c->cb.instances(c->arg, err, c->items, n);
        break;
    case MR_CALL_DECIDE:
        c->decided.code = err->code;
        c->decided.err = err;
        c->cb.decided(c->arg, &c->decided);
        break;
    case MR_CALL_UNPUBLISHED:
    case MR_CALL_LOST_LANDINGS:
    case MR_CALL_LANDINGS:
        c->cb.landings(c->arg, err, c->items, n);
        break;
    case MR_CALL_SEAL:
        c->cb.sealed(c->arg, err, c->day, c->blocked);
        break;
    case MR_CALL_DAY_COUNTS:
        c->cb.day_counts(c->arg, err, c->items, n);
        break;
    case MR_CALL_PAUSED:
        c->cb.paused(c->arg, err, c->items, n);
        break;
    case MR_CALL_LAST_RUNS:
        c->cb.runs(c->arg, err, c->items, n);
        break;
    case MR_CALL_ALERTS:
        c->cb.alerts(c->arg, err, c->items, n);
        break;
    case MR_CALL_UPLOADS:
        c->cb.uploads(c->arg, err, c->items, n);
        break;
    case MR_CALL_KEEP:
        c->cb.kept(c->arg, err, &c->kept);
        break;
    default:
        c->cb.done(c->arg, err);
        break;
    }
}

void mr_call_finish(struct mr_call *call)
{
    follow(call->store, call);
    answer(call);
    while (call->chunks) {
        struct mr_call_chunk *next = call->chunks->next;
        free(call->chunks);
        call->chunks = next;
    }
    free(call->items);
    free(call);
}
