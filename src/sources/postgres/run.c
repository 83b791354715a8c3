/* SPDX-License-Identifier: Apache-2.0 */
/* run.c - one run of a stream, step by step.
 *
 * happy path    a connection -> look (now and then) -> load positions -> judge what has changed -> walk, if a relation was never read whole -> probe -> pull
 *               -> keys, if deletes are due -> sweep, if one is due -> done
 * ways to fail  any step: what is under way is dropped, and once it has come back, stream_fail()
 * on close      the same */
#include "postgres.h"

#include <assert.h>
#include <string.h>

/* ---- failing ---- */

static bool is_quiet(struct stream *s)
{
    for (const struct relation *r = s->relations; r; r = r->next)
        if (r->undecided)
            return false;
    return !s->loading && !s->primary && !s->want.waiting && !s->primary_want.waiting && walk_is_quiet(s) && pull_is_quiet(s) && keyscan_is_quiet(s);
}

static void drop(struct stream *s)
{
    s->in_fail = true;
    uv_timer_stop(&s->timer);
    pool_unwant(&s->pg->readers, &s->want);
    pool_unwant(&s->pg->primary, &s->primary_want);
    walk_drop(s);
    pull_drop(s);
    keyscan_drop(s);
    if (s->primary)
        pg_conn_close(s->primary->conn); /* its callback gives it back */
    if (s->link)
        pg_conn_close(s->link->conn);
    s->in_fail = false;
}

static void let_link_go(struct stream *s)
{
    struct link *l = s->link;
    s->link = NULL;
    if (l)
        pool_give(l);
}

void run_fail(struct stream *s, const struct mr_err *err)
{
    if (s->state != STREAM_ENDING) {
        struct mr_err why = *err;
        s->state = STREAM_ENDING;
        s->err = why;
        if (mr_code_class(why.code) == MR_CLASS_USER && why.code != MR_EAUTH && !s->looked_now && s->looked_ms) {
            s->looked_ms = 0; /* the tables are others, perhaps, than when they were looked at */
            s->err.code = MR_EFENCED;
        }
        if (s->err.code == MR_EPERM && s->o->table)
            mr_err_set(&s->err, MR_EPERM, "%.300s: %s", why.msg,
                       strstr(why.msg, "row-level security") ? "ALTER ROLE … BYPASSRLS for the user of the dsn, or read a query: rows that are hidden would be missing without a word"
                                                              : "GRANT SELECT ON the table TO the user of the dsn; with rights on columns alone also GRANT SELECT (xmin, ctid)");
        drop(s);
    }
    if (s->in_fail || !is_quiet(s))
        return;
    let_link_go(s);
    s->state = STREAM_IDLE;
    struct mr_err why = s->err;
    s->err = (struct mr_err){0};
    stream_fail(s, &why);
    postgres_pump(s->pg);
}

/* ---- going on ---- */

static void finish(struct stream *s)
{
    let_link_go(s);
    s->state = STREAM_IDLE;
    stream_done(s);
    postgres_pump(s->pg);
}

void run_walked(struct stream *s)
{
    struct relation *r = s->walking;
    s->walking = NULL;
    if (s->pg->paused || s->pg->draining || s->pg->stopping)
        finish(s);
    else if (r->at.x && r->at.walk.kind == PG_WALK_SWEEP)
        finish(s); /* it gave way to the next pull, and goes on after it */
    else if (s->swept)
        run_pulled(s);
    else
        run_go_on(s);
}

void run_pulled(struct stream *s)
{
    if (keyscan_wanted(s))
        keyscan(s);
    else
        run_scanned(s);
}

void run_scanned(struct stream *s)
{
    s->swept = !s->pg->replay && sweep_wanted(s);
    if (s->swept)
        walk(s);
    else
        finish(s);
}

static bool by_bounds(const struct stream *s)
{
    return s->o->mode != PG_SNAPSHOT && (s->method == PG_EXACT || s->method == PG_WINDOW);
}

static bool load(struct stream *s)
{
    s->state = STREAM_LOADING;
    s->loading++; /* one that answers at once must not end it */
    if (!s->listed && s->root_kind != 'q' && !s->pg->replay) {
        relations_list(s);
        s->loading--;
        return false;
    }
    keyscan_load(s);
    for (struct relation *r = s->relations; r; r = r->next)
        if (r->state == RELATION_NEW)
            relation_load(r);
        else if (r->state == RELATION_LOADED && r->there && r->undecided == 0 && mr_loop_now_ms(s->pg->loop) - r->asked_ms >= ASK_MS)
            relation_ask(r);
    s->loading--;
    return s->loading == 0;
}

void run_go_on(struct stream *s)
{
    struct mr_err err;
    if (s->state == STREAM_ENDING) {
        run_fail(s, &(struct mr_err){.code = MR_ECANCELED});
        return;
    }
    if (s->loading || !load(s))
        return;
    if (look_judge(s, &err) != MR_OK) {
        run_fail(s, &err);
        return;
    }
    if (s->pg->replay && replay_is_over(s))
        finish(s);
    else if (s->pg->replay)
        pull(s);
    else if (walk_wanted(s))
        walk(s);
    else if (by_bounds(s))
        probe(s);
    else
        pull(s);
}

static void on_link(struct want *w, struct link *link, const struct mr_err *err)
{
    struct stream *s = MR_OF(w, struct stream, want);
    s->link = link;
    if (s->state == STREAM_ENDING || !link)
        run_fail(s, err);
    else if (s->looked_ms == 0 || mr_loop_now_ms(s->pg->loop) - s->looked_ms > LOOK_MS)
        look(s);
    else
        run_go_on(s);
}

void run_begin(struct stream *s)
{
    assert(s->state == STREAM_IDLE);
    s->state = STREAM_WAITING;
    s->swept = s->looked_now = s->pulled = false;
    s->chunks_begun = 0;
    s->rows_run = s->bytes_run = s->late_run = 0;
    s->want.got = on_link;
    pool_want(&s->pg->readers, &s->want);
}
