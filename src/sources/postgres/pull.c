/* SPDX-License-Identifier: Apache-2.0 */
/* pull.c - one pull: all relations of a stream under one snapshot, one landing, one decision. bounds.h says why nothing is missed.
 *
 * happy path    BEGIN, LOCK, snapshot, COPY of each relation, COMMIT in one message -> rows to the worker -> decide: positions, ids
 * ways to fail  the server ends it, the link breaks, the zone takes nothing, the decision is lost: the whole pull is dropped and done again
 * on close      dropped, unless it is being decided */
#include "postgres.h"

#include "millrace/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SQL_LIMIT = 64 << 20, SLOW_BYTES_MS = 20000 /* 20 MB a second, of a disk that is busy */ };

/* ---- what is asked ---- */

static bool by_time(const struct stream *s)
{
    return !s->pg->replay && (s->method == PG_EXACT || s->method == PG_WINDOW);
}

/* Of the watermark's own type, from a time. Where the zone has summer times an hour comes twice: three hours more are read. */
void pull_bound(struct mr_buf *sql, const struct stream *s, int64_t us)
{
    const enum pg_form form = s->watermark->form;
    char time[28];
    if (!s->zoned || (form != PG_FORM_TIMESTAMP && form != PG_FORM_DATE)) {
        pg_watermark_sql(form, pg_floor(form, s->unit_us, us), sql);
        return;
    }
    mr_time_text(us, time);
    mr_buf_puts(sql, "(pg_catalog.timezone(");
    sql_literal(sql, s->o->time_zone);
    mr_buf_printf(sql, ", '%s'::pg_catalog.timestamptz) - '3 hours'::pg_catalog.interval)%s", time, form == PG_FORM_DATE ? "::pg_catalog.date" : "");
}

static void put_column(struct mr_buf *sql, const struct stream *s)
{
    mr_buf_puts(sql, "t.");
    pg_ident_put(sql, s->watermark->name);
}

void pull_compare(struct mr_buf *sql, const struct stream *s, const char *op, int64_t us)
{
    char time[28];
    if (!s->zoned) {
        put_column(sql, s);
        mr_buf_printf(sql, " %s ", op);
        pull_bound(sql, s, us);
        return;
    }
    mr_time_text(us, time); /* the hour that comes twice is one and the same each time that it is asked */
    mr_buf_puts(sql, "pg_catalog.timezone(");
    sql_literal(sql, s->o->time_zone);
    mr_buf_puts(sql, ", ");
    put_column(sql, s);
    mr_buf_printf(sql, "::pg_catalog.timestamp) %s '%s'::pg_catalog.timestamptz", op, time);
}

/* NULL and -infinity are older than all: they are always read, and told by their ids. */
static void put_range(struct mr_buf *sql, const struct stream *s, int64_t from)
{
    const enum pg_form form = s->watermark->form;
    mr_buf_puts(sql, sql->n ? " AND (" : "(");
    put_column(sql, s);
    mr_buf_puts(sql, " >= ");
    pull_bound(sql, s, from);
    if (!s->watermark->not_null) {
        mr_buf_puts(sql, " OR ");
        put_column(sql, s);
        mr_buf_puts(sql, " IS NULL");
    }
    if (form == PG_FORM_DATE || form == PG_FORM_TIMESTAMP || form == PG_FORM_TIMESTAMPTZ) {
        mr_buf_puts(sql, " OR ");
        put_column(sql, s);
        mr_buf_puts(sql, " = ");
        pg_watermark_sql(form, INT64_MIN, sql);
    }
    mr_buf_putc(sql, ')');
}

static void put_where(struct mr_buf *sql, const struct stream *s, const struct relation *r)
{
    if (s->pg->replay) {
        replay_where(sql, s, r);
        return;
    }
    if (s->method == PG_WINDOW) {
        pull_compare(sql, s, "<", r->bounds.next);
        if (r->bounds.from != MR_NO_TIME) {
            mr_buf_puts(sql, " AND ");
            pull_compare(sql, s, ">=", r->bounds.from);
        }
        return;
    }
    if (r->at.x)
        sql_age(sql, s->pg, r->part_now.lo);
    if (r->bounds.from != MR_NO_TIME)
        put_range(sql, s, r->bounds.from);
    if (sql->n == 0)
        mr_buf_puts(sql, "true");
}

static void put_nodes(struct mr_buf *sql, const struct stream *s)
{
    bool first = true;
    for (const struct relation *r = s->relations; r; r = r->next)
        if (r->there && r->oid) {
            sql_node(sql, r, first);
            first = false;
        }
    mr_buf_puts(sql, first ? "SELECT 1 WHERE false; " : ") v(oid, name) JOIN pg_catalog.pg_class c ON c.oid = v.oid; ");
}

static void put_from(struct mr_buf *sql, const struct stream *s, const struct relation *r)
{
    if (!s->zoned || r->bounds.from == MR_NO_TIME || !by_time(s)) {
        mr_buf_puts(sql, ", NULL");
        return;
    }
    mr_buf_puts(sql, ", (extract(epoch FROM ");
    pull_bound(sql, s, r->bounds.from);
    mr_buf_puts(sql, ")*1000000)::pg_catalog.int8");
}

/* Who answers, and where its log is: a name may lead to another server at any time. */
static const char server_of_now[] =
    ", pg_catalog.pg_is_in_recovery(), (SELECT system_identifier FROM pg_catalog.pg_control_system())::text, "
    "CASE WHEN pg_catalog.pg_is_in_recovery() THEN 0 ELSE ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::pg_catalog.bit(32)::pg_catalog.int4 END, "
    "(CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_insert_lsn() END - '0/0'::pg_catalog.pg_lsn)::pg_catalog.int8, "
    "(pg_catalog.pg_last_wal_replay_lsn() - '0/0'::pg_catalog.pg_lsn)::pg_catalog.int8";

static void compose(struct stream *s, struct mr_buf *sql)
{
    struct mr_buf where;
    mr_buf_init(&where, 1 << 20);
    sql_session(sql, s);
    for (const struct relation *r = s->relations; r; r = r->next)
        if (r->there && r->lockable)
            mr_buf_printf(sql, "LOCK TABLE ONLY %s IN ACCESS SHARE MODE; ", r->sql);
    mr_buf_puts(sql, "SELECT pg_catalog.pg_snapshot_xmin(s)::text, pg_catalog.pg_snapshot_xmax(s)::text, (extract(epoch FROM pg_catalog.clock_timestamp())*1000000)::pg_catalog.int8");
    if (s->o->query || !s->relations)
        mr_buf_puts(sql, ", NULL");
    else
        look_stamp(sql, s);
    mr_buf_puts(sql, server_of_now);
    for (const struct relation *r = s->relations; r; r = r->next)
        if (r->there)
            put_from(sql, s, r);
    mr_buf_puts(sql, " FROM pg_catalog.pg_current_snapshot() s; ");
    put_nodes(sql, s);
    for (struct relation *r = s->relations; r; r = r->next) {
        if (!r->there)
            continue;
        mr_buf_clear(&where);
        if (s->o->mode != PG_SNAPSHOT)
            put_where(&where, s, r);
        sql_copy(sql, s, r, where.n ? mr_buf_cstr(&where) : NULL, &r->part_now);
    }
    put_nodes(sql, s);
    mr_buf_puts(sql, "COMMIT");
    mr_buf_free(&where);
}

/* ---- answers ---- */

static void take_nodes(struct stream *s, PGresult *r)
{
    for (struct relation *x = s->relations; x; x = x->next)
        x->named = x->oid == 0;
    for (int i = 0; i < PQntuples(r); i++)
        for (struct relation *x = s->relations; x; x = x->next)
            if (x->there && x->oid == (uint32_t)strtoul(PQgetvalue(r, i, 0), NULL, 10)) {
                x->node_seen = (uint32_t)strtoul(PQgetvalue(r, i, 1), NULL, 10);
                x->node_now = (uint32_t)strtoul(PQgetvalue(r, i, 2), NULL, 10);
                x->named = PQgetvalue(r, i, 3)[0] == 't';
                if (x->node_seen != x->node_now || !x->named)
                    s->looked_ms = 0;
                else if (x->at.node && x->node_seen && x->at.node != x->node_seen && !s->noted && !s->pg->replay)
                    look_rewritten(x);
            }
}

static void went_back(struct stream *s, struct relation *r, const char *what)
{
    mr_alert_open(s->pg->loop->alerts, MR_A_POSTGRES_WENT_BACK, s->pg->name, s->name, "%s: %s. Rows of its last %d transactions and of later ones land again", r->part, what, WENT_BACK_IDS);
    s->told_ms = mr_loop_now_ms(s->pg->loop);
    relation_back(r, s->xmin > WENT_BACK_IDS ? s->xmin - WENT_BACK_IDS : 0);
    mr_err_set(&s->err, MR_EFENCED, "%s: %s", r->part, what);
}

/* A server that has given out fewer ids than we have seen, or whose log was another one's and left that before it came to where we had read. */
static void judge_history(struct stream *s, struct relation *r)
{
    char what[200];
    bool other = !s->pg->standby && r->at.timeline && r->at.timeline != s->timeline_now;
    if (relation_behind(r) > PG_IDS_FAR) /* it was less a moment ago */
        mr_err_set(&s->err, MR_EFENCED, "%s: more than 2^31 transaction ids have been given out since it was read", r->part);
    if (r->at.x == 0 || s->err.code != MR_OK)
        return;
    if (s->pg->standby && s->xmax < r->at.x) {
        mr_err_set(&s->err, MR_EBUSY, "%s: the standby shows transactions up to %" PRIu64 ", %" PRIu64 " have been read already: it is behind", r->part, s->xmax, r->at.x);
    } else if (s->xmax < r->at.x) {
        snprintf(what, sizeof what, "the server's transactions end at %" PRIu64 ", %" PRIu64 " have been read: it has lost some (a fail-over, a backup restored)", s->xmax, r->at.x);
        went_back(s, r, what);
    } else if (other && (s->wal_fork < 0 || r->at.lsn == 0 || r->at.lsn > s->wal_fork)) {
        snprintf(what, sizeof what, "the server is on timeline %" PRId64 ", %" PRId64 " was read%s", s->timeline_now, r->at.timeline,
                 s->wal_fork < 0 ? ": it may have lost transactions" : " to beyond where it left it: it has lost transactions");
        went_back(s, r, what);
    }
}

/* A name that leads to several servers, a fail-over: what the last look said is of another one. */
static bool same_server(struct stream *s, PGresult *result)
{
    if ((PQgetvalue(result, 0, 4)[0] == 't') == s->pg->standby && strcmp(PQgetvalue(result, 0, 5), s->pg->server) == 0)
        return true;
    s->looked_ms = 0;
    mr_err_set(&s->err, MR_EFENCED, "another server answers than the one that was looked at");
    return false;
}

static void on_result(void *arg, PGresult *result, size_t which)
{
    struct stream *s = arg;
    int column = 9;
    if (which > 0) {
        take_nodes(s, result);
        return;
    }
    s->xmin = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    s->xmax = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
    s->snapshot_us = strtoll(PQgetvalue(result, 0, 2), NULL, 10);
    mr_time_text(s->snapshot_us, s->snapshot);
    s->timeline_now = strtoll(PQgetvalue(result, 0, 6), NULL, 10);
    s->wal_now = strtoll(PQgetvalue(result, 0, 7), NULL, 10);
    s->wal_fork = PQgetisnull(result, 0, 8) ? -1 : strtoll(PQgetvalue(result, 0, 8), NULL, 10);
    if (!same_server(s, result))
        return;
    s->pg->xmax = s->xmax;
    if (!PQgetisnull(result, 0, 3) && strcmp(PQgetvalue(result, 0, 3), s->stamp) != 0) {
        s->looked_ms = 0;
        mr_err_set(&s->err, MR_EFENCED, "the columns have changed");
    }
    for (struct relation *r = s->relations; r; r = r->next) {
        if (!r->there)
            continue;
        int64_t local = r->bounds.from;
        if (!PQgetisnull(result, 0, column))
            local = strtoll(PQgetvalue(result, 0, column), NULL, 10);
        column++;
        r->from = s->method != PG_WINDOW && local != MR_NO_TIME ? pg_floor(s->watermark->form, s->unit_us, local) : PG_ALL;
        r->part_now.end = s->xmax;
        if (s->o->mode != PG_SNAPSHOT && s->method != PG_WINDOW && !s->pg->replay)
            judge_history(s, r);
    }
}

static struct relation *next_there(struct relation *r)
{
    while (r && !r->there)
        r = r->next;
    return r;
}

static void on_copy_out(void *arg, size_t which)
{
    struct stream *s = arg;
    s->copying = next_there(which ? s->copying->next : s->relations);
}

static bool on_copy(void *arg, const char *row, size_t n)
{
    struct stream *s = arg;
    return s->err.code != MR_OK || intake_row(s->intake, &s->copying->part_now, row, n);
}

static void on_end(void *arg, const struct mr_err *err, const char *state)
{
    struct stream *s = arg;
    struct mr_err why = *err;
    bool conflict = strcmp(state, "40001") == 0;
    if (conflict)
        mr_cell_add(s->pg->conflicts, 1);
    if (s->intake)
        s->bytes_run += intake_bytes(s->intake);
    if (s->state == STREAM_ENDING || why.code != MR_OK || s->err.code != MR_OK) {
        bool much = s->intake && intake_bytes(s->intake) > postgres_chunk(s->pg->o, s->o);
        for (struct relation *r = s->relations; r; r = r->next)
            r->catch_up |= much || conflict || why.code == MR_ETIMEDOUT; /* of those that are larger than a chunk */
        run_fail(s, s->err.code != MR_OK && s->state != STREAM_ENDING ? &s->err : &why);
        return;
    }
    for (const struct relation *r = s->relations; r; r = r->next)
        if (r->there && (r->node_seen != r->node_now || !r->named)) {
            s->looked_ms = 0;
            mr_err_set(&why, MR_EFENCED, "%s was rewritten, emptied, renamed or dropped while it was read", r->part);
            run_fail(s, &why);
            return;
        }
    intake_end(s->intake);
}

/* ---- the rows are staged ---- */

void pull_newest(struct pg_position *at, const struct stream *s, const struct intake_part *part)
{
    if (part->newest == PG_ALL)
        return;
    int64_t us = pg_watermark_us(s->watermark->form, s->unit_us, part->newest);
    if (us > at->newest)
        at->newest = us;
}

static void move(struct stream *s, struct relation *r, struct decision *d)
{
    struct intake_part *p = &r->part_now;
    struct pg_position *next = &r->next_at;
    uint64_t x = s->method == PG_EXACT && r->bounds.x < s->xmin ? r->bounds.x : s->xmin;
    bool first = next->x == 0 && next->l == MR_NO_TIME;
    if (s->pg->replay) {
        next->x = s->xmin; /* it has been done */
        next->swept = next->x;
    } else if (s->o->mode == PG_SNAPSHOT) {
        next->swept = 0;
    } else if (s->method == PG_WINDOW) {
        next->l = r->bounds.next;
    } else {
        if (x > next->x)
            next->x = x;
        if (s->method == PG_EXACT)
            next->l = r->bounds.next;
        if (first || s->method != PG_EXACT || s->o->mode == PG_APPEND || s->pg->o->sweep_ms == 0 || next->swept == 0) {
            next->swept = next->x; /* nothing is left for a sweep */
            next->swept_at = s->snapshot_us;
            pg_walk_end(next);
        }
    }
    snprintf(next->by, sizeof next->by, "%s", s->by);
    next->lsn = s->wal_now;
    snprintf(next->server, sizeof next->server, "%s", s->pg->server);
    next->timeline = s->timeline_now;
    if (p->rows)
        next->end = s->xmax;
    next->database = s->pg->database;
    next->relation = r->oid;
    next->node = r->node_seen;
    pull_newest(next, s, p);
    if (!next->columns || strcmp(next->columns, s->columns_json) != 0) {
        free(next->columns);
        next->columns = strdup(s->columns_json);
        first = true;
    }
    next->runs = s->history_next;
    bool moves = first || p->rows || r->events || r->stale_count || s->o->mode == PG_SNAPSHOT || mr_loop_now_ms(s->pg->loop) - r->moved_ms >= QUIET_MOVE_MS;
    pg_position_copy(&r->at, next);
    s->late_run += p->late;
    if (moves)
        decision_move(d, r, r->from, r->met);
}

static void put_marker(struct stream *s, int64_t rows)
{
    struct mr_buf json;
    char id[200];
    mr_buf_init(&json, 16 << 20);
    mr_buf_puts(&json, "{\"stream\":");
    mr_json_put_string(&json, mr_str_c(s->name));
    mr_buf_printf(&json, ",\"snapshot\":\"%s\",\"taken_at\":\"%s\",\"rows\":%" PRId64 ",\"columns\":%s}", s->snapshot, s->snapshot, rows, s->columns_json);
    snprintf(id, sizeof id, "%.150s@%s", s->name, s->snapshot);
    intake_note(s->intake, "_snapshots", id, mr_buf_str(&json));
    mr_buf_free(&json);
}

static void put_events(struct stream *s)
{
    for (struct relation *r = s->relations; r; r = r->next)
        look_events(r, s->intake);
}

static void decide(struct stream *s)
{
    struct decision d = {0};
    int64_t rows = 0;
    for (const struct relation *r = s->relations; r; r = r->next)
        rows += r->there ? r->part_now.rows : 0;
    s->history_next = s->history;
    pg_history_add(&s->history_next, rows);
    for (struct relation *r = s->relations; r; r = r->next) {
        if (r->there) {
            move(s, r, &d);
        } else if (look_gone(r) && r->events) {
            r->at.relation = 0; /* told; should it come back, it is read on */
            decision_move(&d, r, PG_ALL, NULL);
        }
        if (r->part_now.omitted)
            s->told_ms = mr_loop_now_ms(s->pg->loop);
        if (r->part_now.omitted)
            mr_alert_open(s->pg->loop->alerts, MR_A_POSTGRES_ROW_TOO_BIG, s->pg->name, s->name, "%s: %" PRId64 " rows have values above max_row, which were left out (`omitted` says which)", r->part,
                          r->part_now.omitted);
    }
    s->rows_run += rows;
    mr_cell_add(s->rows, rows);
    if (d.moves_count == 0) {
        intake_free(s->intake);
        s->intake = NULL;
        pull_decided(s, &(struct mr_err){0});
        return;
    }
    struct mr_landing *landing = intake_take(s->intake);
    intake_free(s->intake);
    s->intake = NULL;
    s->state = STREAM_DECIDING;
    decision_ask(&d, s, NULL, landing, rows);
}

static void on_fed(void *arg, const struct mr_err *err)
{
    struct stream *s = arg;
    struct mr_err why = *err;
    int64_t rows = 0;
    if (s->state == STREAM_ENDING) {
        run_fail(s, &why);
        return;
    }
    if (why.code != MR_OK) { /* the COPY may be under way still */
        run_fail(s, &why);
        return;
    }
    for (struct relation *r = s->relations; r; r = r->next)
        rows += r->there ? r->part_now.rows : 0;
    if (!s->noted) {
        s->noted = true;
        bool events = false;
        for (struct relation *r = s->relations; r; r = r->next)
            events |= r->events != NULL;
        if (events)
            put_events(s);
        if (s->o->mode == PG_SNAPSHOT)
            put_marker(s, rows);
        if (events || s->o->mode == PG_SNAPSHOT)
            return; /* comes back here */
    }
    decide(s);
}

void pull_decided(struct stream *s, const struct mr_err *err)
{
    for (struct relation *r = s->relations; r; r = r->next) {
        pg_met_free(r->met);
        r->met = NULL;
        if (err->code == MR_OK) {
            free(r->events);
            r->events = NULL;
        }
    }
    if (s->state == STREAM_ENDING || err->code != MR_OK) {
        run_fail(s, err);
        return;
    }
    s->pulled = true;
    run_pulled(s);
}

void pull_drop(struct stream *s)
{
    if (s->intake)
        intake_drop(s->intake);
}

bool pull_is_quiet(struct stream *s)
{
    if (s->intake && intake_is_busy(s->intake))
        return false;
    if (s->intake)
        intake_free(s->intake);
    s->intake = NULL;
    for (struct relation *r = s->relations; r; r = r->next) {
        pg_met_free(r->met);
        r->met = NULL;
    }
    return true;
}

/* The ranges of old are of another column, type or zone: what has landed of transactions that may come again is not known any more. */
static void new_unit(struct relation *r)
{
    if (r->s->pg->replay || r->at.x == 0 || !r->at.by[0] || strcmp(r->at.by, r->s->by) == 0)
        return;
    mr_log_warn(r->s->pg->loop->log, r->s->pg->name, "another_watermark", MR_S("stream", r->s->name), MR_S("table", r->part), MR_S("was", r->at.by), MR_S("is", r->s->by));
    int64_t timeline = r->at.timeline, lsn = r->at.lsn;
    relation_back(r, r->at.x);
    r->at.timeline = timeline;
    r->at.lsn = lsn;
}

/* From ids to windows: whose transaction was still open may lie lower. */
static void to_window(struct pg_position *p)
{
    for (size_t i = 0; i < p->held_count; i++)
        if (p->held[i].from < p->l)
            p->l = p->held[i].from;
    p->held_count = 0;
    p->x = p->swept = 0;
}

void pull(struct stream *s)
{
    const struct postgres *pg = s->pg;
    const struct pg_query q = {.on_result = on_result, .on_copy_out = on_copy_out, .on_copy = on_copy, .on_end = on_end, .arg = s};
    int64_t skew_us = (s->o->skew_ms ? s->o->skew_ms : pg->o->skew_ms) * 1000, guard_us = pg->o->guard_ms * 1000;
    struct mr_buf sql;
    int64_t pages = 0;
    s->state = STREAM_PULLING;
    s->err = (struct mr_err){0};
    s->noted = false;
    s->copying = NULL;
    mr_buf_init(&sql, SQL_LIMIT);
    for (struct relation *r = s->relations; r; r = r->next) {
        if (!r->there)
            continue;
        new_unit(r);
        pg_position_copy(&r->next_at, &r->at);
        if (s->method == PG_WINDOW && r->next_at.x)
            to_window(&r->next_at);
        r->bounds = (struct pg_bounds){.from = MR_NO_TIME, .next = MR_NO_TIME, .x = UINT64_MAX};
        if (s->o->mode != PG_SNAPSHOT && by_time(s) && s->method == PG_EXACT)
            r->bounds = pg_bounds_of(&r->next_at, &s->probe, skew_us, guard_us);
        else if (s->o->mode != PG_SNAPSHOT && by_time(s))
            r->bounds = pg_window_of(&r->next_at, &s->probe, skew_us, guard_us, pg->o->hold_ms * 1000);
        else if (s->o->mode != PG_SNAPSHOT && !pg->replay && r->at.x == 0 && s->watermark) /* a person wants what has changed since */
            r->bounds.from = r->at.l;
        r->node_seen = r->node_now = 0;
        r->met = pg_met_new();
        r->part_now = (struct intake_part){.r = r, .lo = r->at.x, .hi = UINT64_MAX, .newest = PG_ALL, .has_relation = !r->root};
        if (s->method == PG_XID && r->at.swept && r->at.swept < r->at.x) { /* it sweeps on its way */
            r->part_now.lo = r->at.swept;
            r->part_now.late_below = r->at.x;
        }
        if (s->o->mode != PG_SNAPSHOT && s->method != PG_WINDOW && !pg->replay)
            r->part_now.met = r->met;
        pages += r->pages;
        r->part_now.rule = s->o->mode == PG_SNAPSHOT ? INTAKE_SNAPSHOT : s->method == PG_WINDOW ? INTAKE_WINDOW : pg->replay ? INTAKE_REPLAY : INTAKE_PULL;
        if (pg->replay) {
            r->part_now.lo = pg->replay->moves.n ? r->again_lo : 0;
            r->part_now.hi = pg->replay->moves.n ? r->again_hi : UINT64_MAX;
        }
    }
    compose(s, &sql);
    if (sql.failed) {
        run_fail(s, &(struct mr_err){.code = MR_ETOOBIG, .msg = "too many relations for one statement"});
        mr_buf_free(&sql);
        return;
    }
    s->intake = intake_new(s, s->link->conn, s->snapshot, on_fed, s);
    pg_conn_patience(s->link->conn, pages * pg->page / SLOW_BYTES_MS); /* a scan that finds nothing sends nothing */
    pg_conn_query(s->link->conn, mr_buf_cstr(&sql), &q);
    mr_buf_free(&sql);
}
