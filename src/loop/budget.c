/* SPDX-License-Identifier: Apache-2.0 */
#include "millrace/budget.h"

#include <assert.h>
#include <stdlib.h>

struct mr_share {
    struct mr_share *next, *prev; /* ring through the budget's head */
    struct mr_budget *budget;
    size_t held, cap;
    size_t wanted; /* the least that was refused since the last relief; 0: does not wait */
    void (*on_relief)(void *arg);
    void *arg;
    struct mr_cell *used_metric;
};

struct mr_budget {
    size_t limit, used;
    struct mr_share ring;    /* head; only its links are used */
    struct mr_share *cursor; /* who is asked first at the next relief: each in turn, or the first would always win */
    bool relieving;
    struct mr_metrics *metrics;
};

struct mr_budget *mr_budget_new(size_t limit, struct mr_metrics *metrics)
{
    struct mr_budget *b = calloc(1, sizeof *b);
    if (!b)
        abort(); /* at start-up */
    b->limit = limit;
    b->ring.next = b->ring.prev = b->cursor = &b->ring;
    b->metrics = metrics;
    mr_cell_set(mr_metric0(metrics, MR_M_MEMORY_LIMIT), (double)limit);
    return b;
}

void mr_budget_free(struct mr_budget *b)
{
    if (!b)
        return;
    assert(b->ring.next == &b->ring); /* a share left: somebody would use it after us */
    free(b);
}

size_t mr_budget_limit(const struct mr_budget *b)
{
    return b->limit;
}

size_t mr_budget_used(const struct mr_budget *b)
{
    return b->used;
}

struct mr_share *mr_share_new(struct mr_budget *b, const char *name, size_t cap, void (*on_relief)(void *arg),
                              void *arg)
{
    struct mr_share *s = calloc(1, sizeof *s);
    if (!s)
        abort(); /* one a source or listener */
    s->budget = b;
    s->cap = cap == 0 ? b->limit / 4 : cap < b->limit ? cap : b->limit;
    s->on_relief = on_relief;
    s->arg = arg;
    s->used_metric = mr_metric(b->metrics, MR_M_MEMORY_USED, name);
    s->next = &b->ring;
    s->prev = b->ring.prev;
    s->prev->next = s->next->prev = s;
    return s;
}

static bool fits(const struct mr_share *s, size_t bytes)
{
    return bytes <= s->cap - s->held && bytes <= s->budget->limit - s->budget->used;
}

/* The next who waits and would now be granted it, from the cursor once round; NULL if none. */
static struct mr_share *next_relieved(struct mr_budget *b)
{
    struct mr_share *s = b->cursor;
    do {
        if (s != &b->ring && s->wanted > 0 && fits(s, s->wanted))
            return s;
        s = s->next;
    } while (s != b->cursor);
    return NULL;
}

/* A put from within an on_relief only counts: the loop of the put outside it sees the new room. */
static void relieve(struct mr_budget *b)
{
    if (b->relieving)
        return;
    b->relieving = true;
    for (struct mr_share *s; (s = next_relieved(b)) != NULL;) {
        s->wanted = 0;
        b->cursor = s->next;
        if (s->on_relief)
            s->on_relief(s->arg); /* may free s, or any other */
    }
    b->relieving = false;
}

static void give_back(struct mr_share *s, size_t bytes)
{
    assert(bytes <= s->held);
    s->held -= bytes;
    s->budget->used -= bytes;
    mr_cell_add(s->used_metric, -(int64_t)bytes);
}

void mr_share_free(struct mr_share *s)
{
    if (!s)
        return;
    struct mr_budget *b = s->budget;
    give_back(s, s->held);
    if (b->cursor == s)
        b->cursor = s->next;
    s->prev->next = s->next;
    s->next->prev = s->prev;
    free(s);
    relieve(b);
}

bool mr_share_take(struct mr_share *s, size_t bytes)
{
    if (!fits(s, bytes)) {
        if (s->wanted == 0 || bytes < s->wanted)
            s->wanted = bytes;
        return false;
    }
    s->held += bytes;
    s->budget->used += bytes;
    mr_cell_add(s->used_metric, (int64_t)bytes);
    return true;
}

void mr_share_put(struct mr_share *s, size_t bytes)
{
    give_back(s, bytes);
    relieve(s->budget);
}

size_t mr_share_held(const struct mr_share *s)
{
    return s->held;
}
