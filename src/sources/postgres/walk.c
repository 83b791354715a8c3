/* SPDX-License-Identifier: Apache-2.0 */
/* walk.c - a whole relation in chunks of pages: the first time, to catch up, and for sweeps.
 *
 * A bound hi is fixed, below which every transaction is over. A row version of a transaction below hi that is alive when its chunk is read has sat at its
 * place since hi was fixed, and nobody can add another: so chunks may be read in any order, each in a short transaction of its own, and the
 * set of chunks that are done says exactly what has landed. Whatever changes meanwhile has an id from hi on, and is left to the pull that follows.
 *
 *   first      [0, hi)        hi: the lowest id that was not over; then the pull begins at hi
 *   catch up   [swept, hi)    after a pull that was cut and had much to read, or after 2^31 ids: a sweep on the way; then X = swept = hi
 *   sweep      [swept, X)     finds rows whose watermark lay below the range; then swept = X
 *
 * happy path    hi -> chunks, several at once -> each decided with its pages -> the last one ends the walk
 * ways to fail  a chunk fails: all are dropped, the run fails; the next one goes on with what is not done. The relation was rewritten: its pages
 *               mean nothing any more, and the walk begins anew
 * on close      dropped; what is being decided is waited for */
#include "postgres.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum chunk_state { CHUNK_WANTING, CHUNK_READING, CHUNK_DECIDING, CHUNK_OVER };

struct chunk {
    struct stream *s;
    struct relation *r;
    struct chunk *next;
    enum chunk_state state;
    struct want want;
    struct link *link;
    bool own_link; /* not the run's */
    struct pg_span span;
    struct intake *intake;
    struct intake_part part;
    uint32_t node_seen, node_now;
    bool other; /* server */
    uint64_t began_ms;
};

static void more(struct stream *s);

/* ---- wanted? ---- */

static int64_t chunk_pages(const struct stream *s)
{
    int64_t pages = postgres_chunk(s->pg->o, s->o) / (s->pg->page ? s->pg->page : PG_PAGE);
    return pages > 0 ? pages : 1;
}

static bool has_ids(const struct relation *r)
{
    return r->there && r->state == RELATION_LOADED && r->s->o->mode != PG_SNAPSHOT && r->s->method != PG_WINDOW;
}

/* More ids have gone by than statements, and the ids that are kept, can tell apart: all of it is looked through. */
static bool far_behind(struct relation *r)
{
    if (relation_behind(r) <= PG_IDS_FAR)
        return false;
    if (r->at.walk.kind == PG_WALK_SWEEP)
        pg_walk_end(&r->at); /* the walk that comes does its work */
    return true;
}

bool walk_wanted(struct stream *s)
{
    s->walking = NULL;
    for (struct relation *r = s->relations; r && !s->walking; r = r->next) {
        if (!has_ids(r))
            continue;
        bool first = r->at.x == 0 && r->at.l == MR_NO_TIME && r->pages > chunk_pages(s);
        bool catch_up = r->catch_up && r->at.x && r->pages > chunk_pages(s);
        if (catch_up && r->at.walk.kind == PG_WALK_SWEEP)
            pg_walk_end(&r->at); /* a catch-up sweeps on its way */
        if (far_behind(r) || r->at.walk.kind == PG_WALK_FIRST || r->at.walk.kind == PG_WALK_CATCH_UP || first || catch_up)
            s->walking = r;
    }
    return s->walking != NULL;
}

static bool sweep_due(const struct stream *s, const struct relation *r)
{
    enum { IDS_MANY = 32 << 20 };
    if (s->method != PG_EXACT || s->o->mode == PG_APPEND || s->pg->o->sweep_ms == 0 || r->at.swept >= r->at.x)
        return false;
    return r->sweep_now || s->snapshot_us - r->at.swept_at >= s->pg->o->sweep_ms * 1000 || pg_ids_bytes(r->ids) > IDS_MANY;
}

bool sweep_wanted(struct stream *s)
{
    s->walking = NULL;
    for (struct relation *r = s->relations; r && !s->walking; r = r->next)
        if (has_ids(r) && r->at.x && (r->at.walk.kind == PG_WALK_SWEEP || (r->at.walk.kind == PG_WALK_NONE && sweep_due(s, r))))
            s->walking = r;
    return s->walking != NULL;
}

static bool sweeping(const struct stream *s)
{
    return s->walking->at.walk.kind == PG_WALK_SWEEP;
}

static bool give_way(const struct stream *s) /* a sweep can wait, a pull should not */
{
    return s->pg->paused || s->pg->draining || s->pg->stopping || (sweeping(s) && s->chunks_begun && (s->wanted || mr_wall_us() >= s->next_us) && !s->pg->finishing);
}

/* ---- a chunk ---- */

static void chunk_free(struct chunk *c)
{
    struct chunk **at = &c->s->chunks;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    if (c->intake)
        intake_free(c->intake);
    free(c);
}

static void give_link(struct chunk *c)
{
    struct link *l = c->link;
    c->link = NULL;
    if (l && c->own_link)
        pool_give(l);
}

static void chunk_failed(struct chunk *c, const struct mr_err *err)
{
    struct stream *s = c->s;
    struct mr_err why = *err;
    if (c->state == CHUNK_OVER)
        return;
    c->state = CHUNK_OVER;
    give_link(c);
    run_fail(s, &why);
}

static void on_result(void *arg, PGresult *r, size_t which)
{
    struct chunk *c = arg;
    if (which == 0) {
        c->part.end = strtoull(PQgetvalue(r, 0, 0), NULL, 10);
        c->other = (PQgetvalue(r, 0, 1)[0] == 't') != c->s->pg->standby || strcmp(PQgetvalue(r, 0, 2), c->s->pg->server) != 0;
        if (!c->other)
            c->s->pg->xmax = c->part.end;
        return;
    }
    bool named = PQntuples(r) == 1 && PQgetvalue(r, 0, 3)[0] == 't';
    c->node_seen = named ? (uint32_t)strtoul(PQgetvalue(r, 0, 1), NULL, 10) : 0;
    c->node_now = named ? (uint32_t)strtoul(PQgetvalue(r, 0, 2), NULL, 10) : 0;
}

static bool on_copy(void *arg, const char *row, size_t n)
{
    struct chunk *c = arg;
    return intake_row(c->intake, &c->part, row, n);
}

static void rewritten(struct chunk *c)
{
    struct relation *r = c->r;
    struct mr_err err;
    mr_err_set(&err, MR_EBUSY, "%s was rewritten, renamed or dropped while it was walked through: the walk begins anew", r->part);
    if (r->undecided == 0) {
        mr_alert_open(r->s->pg->loop->alerts, MR_A_POSTGRES_SCHEMA, r->s->pg->name, r->s->name, "%s; what it has landed lands again", err.msg);
        c->s->told_ms = mr_loop_now_ms(r->s->pg->loop);
        pg_walk_end(&r->at);
    }
    c->s->looked_ms = 0;
    chunk_failed(c, &err);
}

static void on_end(void *arg, const struct mr_err *err, const char *state)
{
    struct chunk *c = arg;
    struct stream *s = c->s;
    if (strcmp(state, "40001") == 0)
        mr_cell_add(s->pg->conflicts, 1);
    s->bytes_run += intake_bytes(c->intake);
    if (s->state == STREAM_ENDING || c->state == CHUNK_OVER || err->code != MR_OK) {
        chunk_failed(c, err);
        return;
    }
    if (c->other) {
        struct mr_err other;
        mr_err_set(&other, MR_EFENCED, "another server answers than the one that was looked at");
        s->looked_ms = 0;
        chunk_failed(c, &other);
        return;
    }
    if (c->node_seen != c->node_now || c->node_now != c->r->at.walk.node) {
        rewritten(c);
        return;
    }
    intake_end(c->intake);
}

static void end_walk(struct relation *r)
{
    struct pg_position *p = &r->at;
    enum pg_walk_kind kind = p->walk.kind;
    if (kind == PG_WALK_CATCH_UP)
        relation_forget(r, p->walk.lo, p->walk.hi);
    if (kind != PG_WALK_SWEEP)
        p->x = p->walk.hi;
    if (kind == PG_WALK_FIRST)
        p->node = p->walk.node;
    p->swept = p->walk.hi;
    p->swept_at = mr_wall_us();
    r->sweep_now = false;
    pg_walk_end(p);
}

static void pace(struct chunk *c)
{
    int64_t most = c->s->pg->o->max_rows_per_s, took_ms = (int64_t)(mr_loop_now_ms(c->s->pg->loop) - c->began_ms);
    if (most > 0 && c->part.read * 1000 / most > took_ms)
        c->s->paced_ms = mr_loop_now_ms(c->s->pg->loop) + (uint64_t)(c->part.read * 1000 / most - took_ms);
}

static void on_fed(void *arg, const struct mr_err *err)
{
    struct chunk *c = arg;
    struct stream *s = c->s;
    struct relation *r = c->r;
    struct decision d = {0};
    if (s->state == STREAM_ENDING || err->code != MR_OK || c->state == CHUNK_OVER) {
        c->state = c->state == CHUNK_OVER ? CHUNK_OVER : CHUNK_READING;
        if (c->state == CHUNK_OVER)
            run_fail(s, err);
        else
            chunk_failed(c, err);
        return;
    }
    give_link(c);
    pace(c);
    c->state = CHUNK_DECIDING;
    if (!r->at.server[0]) {
        snprintf(r->at.server, sizeof r->at.server, "%s", s->pg->server);
        r->at.database = s->pg->database;
        r->at.relation = r->oid;
    }
    snprintf(r->at.by, sizeof r->at.by, "%s", s->by);
    if (!r->at.columns)
        r->at.columns = strdup(s->columns_json);
    pull_newest(&r->at, s, &c->part);
    pg_walk_done(&r->at.walk, c->span);
    mr_cell_set(s->pages_left, (double)pg_walk_left(&r->at.walk));
    if (pg_walk_whole(&r->at.walk))
        end_walk(r);
    s->rows_run += c->part.rows;
    s->late_run += c->part.late;
    mr_cell_add(s->rows, c->part.rows);
    decision_move(&d, r, PG_ALL, NULL);
    struct mr_landing *landing = intake_take(c->intake);
    intake_free(c->intake);
    c->intake = NULL;
    decision_ask(&d, s, c, landing, c->part.rows);
    more(s);
}

void walk_decided(struct chunk *c, const struct mr_err *err)
{
    struct stream *s = c->s;
    struct mr_err why = *err;
    chunk_free(c);
    if (s->state == STREAM_ENDING || why.code != MR_OK)
        run_fail(s, &why);
    else {
        s->failures = 0; /* it gets on */
        s->failing_since_ms = 0;
        mr_backoff_reset(&s->backoff);
        more(s);
    }
}

static void start(struct chunk *c)
{
    struct stream *s = c->s;
    const struct pg_walk *w = &c->r->at.walk;
    const struct pg_query q = {.on_result = on_result, .on_copy = on_copy, .on_end = on_end, .arg = c};
    struct mr_buf sql;
    c->state = CHUNK_READING;
    s->chunks_begun++;
    c->began_ms = mr_loop_now_ms(s->pg->loop);
    c->part = (struct intake_part){
        .r = c->r, .rule = INTAKE_WALK, .lo = w->lo, .hi = w->hi, .late_below = c->r->at.x, .newest = PG_ALL, .has_relation = !c->r->root};
    c->intake = intake_new(s, c->link->conn, NULL, on_fed, c);
    mr_buf_init(&sql, 16 << 20);
    sql_session(&sql, s);
    if (c->r->lockable)
        mr_buf_printf(&sql, "LOCK TABLE ONLY %s IN ACCESS SHARE MODE; ", c->r->sql);
    mr_buf_puts(&sql, "SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text, pg_catalog.pg_is_in_recovery(), (SELECT system_identifier FROM pg_catalog.pg_control_system())::text; ");
    struct mr_buf where;
    mr_buf_init(&where, 4096);
    mr_buf_printf(&where, "t.ctid >= '(%" PRId64 ",0)'::pg_catalog.tid AND t.ctid < '(%" PRId64 ",0)'::pg_catalog.tid", c->span.from, c->span.to);
    if (w->lo)
        sql_age(&where, s->pg, w->lo);
    sql_copy(&sql, s, c->r, mr_buf_cstr(&where), &c->part);
    mr_buf_free(&where);
    sql_node(&sql, c->r, true);
    mr_buf_puts(&sql, ") v(oid, name) JOIN pg_catalog.pg_class c ON c.oid = v.oid; COMMIT");
    pg_conn_query(c->link->conn, mr_buf_cstr(&sql), &q);
    mr_buf_free(&sql);
}

static void on_link(struct want *w, struct link *link, const struct mr_err *err)
{
    struct chunk *c = MR_OF(w, struct chunk, want);
    struct stream *s = c->s;
    if (s->state == STREAM_ENDING || !link || give_way(s)) {
        if (link)
            pool_give(link);
        (void)err; /* the run's own connection goes on, or says so */
        c->state = CHUNK_OVER;
        chunk_free(c);
        if (s->state == STREAM_ENDING)
            run_fail(s, &(struct mr_err){.code = MR_ECANCELED});
        else
            more(s);
        return;
    }
    c->link = link;
    start(c);
}

/* ---- the walk ---- */

static bool link_in_use(const struct stream *s)
{
    for (const struct chunk *c = s->chunks; c; c = c->next)
        if (c->link == s->link)
            return true;
    return false;
}

static struct chunk *chunk_new(struct stream *s, struct pg_span span)
{
    struct chunk *c = calloc(1, sizeof *c);
    assert(c);
    c->s = s;
    c->r = s->walking;
    c->span = span;
    c->next = s->chunks;
    s->chunks = c;
    return c;
}

static void on_paced(uv_timer_t *timer)
{
    more(timer->data);
}

/* Starts what may be started; ends the walk once nothing is left of it. */
static void more(struct stream *s)
{
    struct relation *r = s->walking;
    struct pg_span busy[128], next;
    size_t count = 0, reading = 0;
    if (s->state != STREAM_WALKING || s->in_more)
        return;
    s->in_more = true;
    while (r->at.walk.kind != PG_WALK_NONE && !give_way(s)) {
        if (mr_loop_now_ms(s->pg->loop) < s->paced_ms) {
            uv_timer_start(&s->timer, on_paced, s->paced_ms - mr_loop_now_ms(s->pg->loop), 0);
            break;
        }
        count = reading = 0;
        for (struct chunk *c = s->chunks; c; c = c->next) {
            reading += c->state != CHUNK_DECIDING;
            if (c->state != CHUNK_DECIDING) /* those are in walk.done */
                busy[count++] = c->span;
        }
        if (reading >= (size_t)postgres_parallel(s->pg->o, s->o) || count >= MR_COUNT(busy) || r->undecided > 2 * (unsigned)s->pg->o->parallel ||
            !pg_walk_next(&r->at.walk, busy, count, chunk_pages(s), &next))
            break;
        struct chunk *c;
        if (!link_in_use(s)) {
            c = chunk_new(s, next);
            c->link = s->link;
            start(c);
        } else if (pool_may_open(&s->pg->readers)) {
            c = chunk_new(s, next);
            c->own_link = true;
            c->want.got = on_link;
            pool_want(&s->pg->readers, &c->want);
        } else {
            break;
        }
        if (s->state != STREAM_WALKING)
            break;
    }
    s->in_more = false;
    if (s->state == STREAM_WALKING && !s->chunks && (r->at.walk.kind == PG_WALK_NONE || give_way(s))) {
        run_walked(s);
    }
}

static void on_bound(void *arg, PGresult *r, size_t which)
{
    struct stream *s = arg;
    (void)which;
    s->xmin = strtoull(PQgetvalue(r, 0, 0), NULL, 10);
    s->walking->pages = strtoll(PQgetvalue(r, 0, 1), NULL, 10) / s->pg->page;
    s->walking->node_now = (uint32_t)strtoul(PQgetvalue(r, 0, 2), NULL, 10);
}

static void on_bound_end(void *arg, const struct mr_err *err, const char *state)
{
    struct stream *s = arg;
    struct relation *r = s->walking;
    (void)state;
    if (s->state == STREAM_ENDING || err->code != MR_OK) {
        run_fail(s, err);
        return;
    }
    bool catch_up = r->catch_up || relation_behind(r) > PG_IDS_FAR;
    if (r->at.x && sweep_due(s, r) && !catch_up)
        pg_walk_begin(&r->at, PG_WALK_SWEEP, r->at.swept, r->at.x, r->pages, r->node_now);
    else if (r->at.x)
        pg_walk_begin(&r->at, PG_WALK_CATCH_UP, r->at.swept && r->at.swept < r->at.x ? r->at.swept : r->at.x, s->xmin, r->pages, r->node_now);
    else
        pg_walk_begin(&r->at, PG_WALK_FIRST, 0, s->xmin, r->pages, r->node_now);
    mr_log_info(s->pg->loop->log, s->pg->name, "walk", MR_S("stream", s->name), MR_S("table", r->part), MR_S("kind", r->at.x == 0 ? "first" : r->at.walk.kind == PG_WALK_CATCH_UP ? "catch_up" : "sweep"),
                MR_I("pages", r->pages), MR_I("lo", r->at.walk.lo), MR_I("hi", r->at.walk.hi));
    r->catch_up = false;
    if (r->pages == 0)
        end_walk(r);
    more(s);
}

void walk(struct stream *s)
{
    struct relation *r = s->walking;
    char sql[400];
    const struct pg_query q = {.on_result = on_bound, .on_end = on_bound_end, .arg = s};
    s->state = STREAM_WALKING;
    if (r->at.walk.kind != PG_WALK_NONE) {
        more(s);
        return;
    }
    snprintf(sql, sizeof sql,
             "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text, pg_catalog.pg_relation_size(%" PRIu32 "), pg_catalog.pg_relation_filenode(%" PRIu32 "); COMMIT", r->oid, r->oid);
    pg_conn_query(s->link->conn, sql, &q);
}

void walk_drop(struct stream *s)
{
    for (struct chunk *c = s->chunks, *next; c; c = next) {
        next = c->next;
        if (c->state == CHUNK_WANTING && c->want.waiting) {
            pool_unwant(&s->pg->readers, &c->want);
            chunk_free(c);
        } else if (c->state == CHUNK_READING || c->state == CHUNK_OVER) {
            c->state = CHUNK_OVER; /* nothing that its connection says on closing concerns us */
            if (c->intake)
                intake_drop(c->intake);
            struct link *l = c->link;
            c->link = NULL;
            if (l) {
                pg_conn_close(l->conn);
                if (c->own_link)
                    pool_give(l);
            }
        }
    }
}

bool walk_is_quiet(struct stream *s)
{
    for (struct chunk *c = s->chunks, *next; c; c = next) {
        next = c->next;
        if (c->state == CHUNK_DECIDING || (c->intake && intake_is_busy(c->intake)))
            return false;
        if (c->state == CHUNK_OVER)
            chunk_free(c);
    }
    return s->chunks == NULL;
}
