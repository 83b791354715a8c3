/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c - a bounded number of connections, opened when somebody wants one, given in the order of asking.
 *
 * happy path    want -> a free one, or one is opened -> got -> … -> give
 * ways to fail  it cannot be opened: all who wait hear why; nobody tries again before the back-off is over
 * on close      all are closed, taken or not; what they were doing ends */
#include "postgres.h"

#include "millrace/hash.h"

#include <assert.h>
#include <stdlib.h>

void pool_init(struct pool *p, struct postgres *pg, size_t count, const char *dsn, const char *password)
{
    const struct pg_conn_options options = {.loop = pg->loop, .source = pg->name, .dsn = dsn, .password = password, .stall_ms = pg->o->stall_ms};
    p->pg = pg;
    p->backoff = mr_backoff_of(250, 30000);
    p->links = calloc(count, sizeof *p->links);
    assert(p->links);
    for (; p->count < count; p->count++)
        p->links[p->count] = (struct link){.pool = p, .conn = pg_conn_new(&options)};
}

static struct want *next_of(struct want **list)
{
    struct want *w = *list;
    *list = w->next;
    w->next = NULL;
    w->waiting = false;
    return w;
}

static void on_open(void *arg, const struct mr_err *err)
{
    struct link *l = arg;
    struct pool *p = l->pool;
    p->opening = false;
    trouble_connect(p, err);
    if (err->code == MR_OK) {
        mr_backoff_reset(&p->backoff);
        pool_pump(p);
        return;
    }
    p->err = *err;
    p->retry_at_ms = mr_loop_now_ms(p->pg->loop) + (uint64_t)mr_backoff_next(&p->backoff, mr_random_u64());
    struct mr_err why = *err;
    p->refused = p->wants; /* who asks anew, waits for the next try */
    p->wants = NULL;
    while (p->refused) {
        struct want *w = next_of(&p->refused);
        w->got(w, NULL, &why);
    }
}

static struct link *find(struct pool *p, bool open)
{
    for (size_t i = 0; i < p->count; i++)
        if (!p->links[i].taken && pg_conn_ready(p->links[i].conn) == open && !pg_conn_busy(p->links[i].conn)) /* else it is down: who gives one back that is neither closes it */
            return &p->links[i];
    return NULL;
}

bool pool_may_open(const struct pool *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (!p->links[i].taken)
            return true;
    return false;
}

void pool_pump(struct pool *p)
{
    while (p->wants && !p->closing) {
        struct link *l = find(p, true);
        if (l) {
            struct want *w = next_of(&p->wants);
            l->taken = true;
            w->got(w, l, &(struct mr_err){0});
            continue;
        }
        if (p->opening || mr_loop_now_ms(p->pg->loop) < p->retry_at_ms || !(l = find(p, false)))
            return;
        p->opening = true;
        pg_conn_open(l->conn, on_open, l);
        return;
    }
}

void pool_want(struct pool *p, struct want *w)
{
    struct want **at = &p->wants;
    assert(!w->waiting);
    while (*at)
        at = &(*at)->next;
    *at = w;
    w->next = NULL;
    w->waiting = true;
    pool_pump(p);
}

static void take_out(struct want **list, struct want *w)
{
    for (struct want **at = list; *at && w->waiting; at = &(*at)->next)
        if (*at == w) {
            *at = w->next;
            w->waiting = false;
            return;
        }
}

void pool_unwant(struct pool *p, struct want *w)
{
    take_out(&p->wants, w);
    take_out(&p->refused, w); /* by one who hears of it before */
}

struct link *pool_idle(struct pool *p)
{
    if (p->wants || p->closing)
        return NULL;
    struct link *l = find(p, true);
    if (l)
        l->taken = true;
    return l;
}

void pool_give(struct link *link)
{
    link->taken = false;
    if (!pg_conn_clean(link->conn)) /* a transaction that failed is still open */
        pg_conn_close(link->conn);
}

static void on_gone(void *arg)
{
    struct postgres *pg = arg;
    pg->closing--;
    postgres_pump(pg);
}

void pool_close(struct pool *p)
{
    if (p->closing)
        return;
    p->closing = true;
    for (size_t i = 0; i < p->count; i++) {
        p->pg->closing++;
        pg_conn_free(p->links[i].conn, on_gone, p->pg);
    }
    free(p->links);
    p->links = NULL;
    p->count = 0;
}
