/* SPDX-License-Identifier: Apache-2.0 */
/* probe.c - which transactions are open, asked of the primary before the snapshot is taken; and a standby is waited for until it shows what had
 * ended by then.
 *
 * The order matters: first the clock, then the snapshot of ids, then the sessions. A transaction that begins behind the clock's answer is not
 * older than it; one that is open has an id that the snapshot does not pass, or will get a later one. */
#include "postgres.h"

#include "millrace/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLAY_LOOK_MS = 50, REPLAY_WAIT_MS = 60000 };

void probe_free(struct pg_probe *p)
{
    free(p->stragglers);
    free(p->prepared);
    *p = (struct pg_probe){0};
}

/* ---- asking ---- */

static void put_pids(struct mr_buf *sql, const struct postgres *pg)
{
    const struct pool *pool = pg->has_primary ? &pg->primary : &pg->readers; /* numbers of another machine mean others here */
    mr_buf_puts(sql, "pg_catalog.pg_backend_pid()");
    for (size_t i = 0; i < pool->count; i++)
        if (pg_conn_pid(pool->links[i].conn))
            mr_buf_printf(sql, ",%d", pg_conn_pid(pool->links[i].conn));
}

static void put_probe(struct mr_buf *sql, const struct stream *s)
{
    const struct postgres *pg = s->pg;
    int64_t long_ms = s->method == PG_WINDOW && pg->o->hold_ms < pg->o->straggler_ms ? pg->o->hold_ms : pg->o->straggler_ms;
    mr_buf_puts(sql, "SELECT (extract(epoch FROM pg_catalog.clock_timestamp())*1000000)::pg_catalog.int8; "
                     "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::pg_catalog.text, "
                     "CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL ELSE pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text END, "
                     "pg_catalog.count(*) FILTER (WHERE a.query = '<insufficient privilege>' OR a.state = 'disabled'), "
                     "(extract(epoch FROM pg_catalog.min(a.xact_start) FILTER (WHERE NOT a.long))*1000000)::pg_catalog.int8, "
                     "coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(a.pid, (extract(epoch FROM a.xact_start)*1000000)::pg_catalog.int8)) FILTER (WHERE a.long), '[]'), "
                     "pg_catalog.pg_is_in_recovery(), (SELECT system_identifier FROM pg_catalog.pg_control_system())::pg_catalog.text "
                     "FROM (SELECT pid, xact_start, state, query, xact_start IS NOT NULL AND xact_start < pg_catalog.clock_timestamp() - ");
    mr_buf_printf(sql, "'%" PRId64 " milliseconds'::pg_catalog.interval AS long FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database() AND pid NOT IN (", long_ms);
    put_pids(sql, pg);
    /* whatever may write, extensions' workers under names of their own as well */
    mr_buf_puts(sql, ") AND (backend_type IS NULL OR backend_type NOT IN ('autovacuum worker','autovacuum launcher','walsender','walwriter','checkpointer','background writer',"
                     "'startup','walreceiver','archiver','logger','logical replication launcher'))) a; "
                     "SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(transaction::pg_catalog.text, (extract(epoch FROM prepared)*1000000)::pg_catalog.int8)), '[]') "
                     "FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()");
}

/* ---- answers ---- */

static bool take_prepared(struct mr_str json, struct pg_probe *p)
{
    struct mr_json_iter it;
    struct mr_str key;
    struct mr_json_slice one;
    mr_json_iter(&it, mr_json_at(json, MR_STR("")));
    while (mr_json_next(&it, &key, &one)) {
        struct mr_json_slice id = mr_json_at(one.raw, MR_STR("/0"));
        int64_t since;
        p->prepared = realloc(p->prepared, (p->prepared_count + 1) * sizeof *p->prepared);
        assert(p->prepared);
        if (id.type != MR_JSON_STRING || id.raw.n < 3 || id.raw.n > 22 || !mr_json_i64(mr_json_at(one.raw, MR_STR("/1")), &since))
            return false;
        snprintf(p->prepared[p->prepared_count++], sizeof *p->prepared, "p%.*s", (int)id.raw.n - 2, id.raw.p + 1);
        if (p->prepared_since == 0 || since < p->prepared_since)
            p->prepared_since = since;
    }
    return true;
}

static bool take_stragglers(struct mr_str json, struct pg_probe *p)
{
    struct mr_json_iter it;
    struct mr_str key;
    struct mr_json_slice one;
    mr_json_iter(&it, mr_json_at(json, MR_STR("")));
    while (mr_json_next(&it, &key, &one)) {
        int64_t pid, began;
        if (!mr_json_i64(mr_json_at(one.raw, MR_STR("/0")), &pid) || !mr_json_i64(mr_json_at(one.raw, MR_STR("/1")), &began))
            return false;
        p->stragglers = realloc(p->stragglers, (p->stragglers_count + 1) * sizeof *p->stragglers);
        assert(p->stragglers);
        struct pg_session *s = &p->stragglers[p->stragglers_count++];
        s->began = began;
        snprintf(s->who, sizeof s->who, "%" PRId64 "/%" PRId64, pid, began);
    }
    return true;
}

/* Just behind the head of a page there is nothing yet: a standby has replayed to the page before it. */
static void take_lsn(struct stream *s, const char *text)
{
    unsigned high = 0, low = 0;
    s->lsn[0] = 0;
    if (sscanf(text, "%X/%X", &high, &low) == 2)
        snprintf(s->lsn, sizeof s->lsn, "%X/%X", high, low % 8192 <= 40 ? low - low % 8192 : low);
}

/* Open transactions of another server, or of a standby, which shows none, would say that everything is over. */
static void judge_server(struct stream *s, bool standby, const char *server)
{
    const struct postgres *pg = s->pg;
    if (pg->has_primary && strcmp(server, pg->server) != 0) {
        mr_err_set(&s->err, MR_EMISMATCH, "primary_dsn names the server %s, dsn a standby of %s", server, pg->server);
    } else if (pg->has_primary && standby) {
        mr_err_set(&s->err, MR_EBUSY, "primary_dsn names a standby: add target_session_attrs=read-write, or name the primary");
    } else if (standby || strcmp(server, pg->server) != 0) {
        s->looked_ms = 0;
        mr_err_set(&s->err, MR_EFENCED, "another server answers than the one that was looked at");
    }
}

static void on_result(void *arg, PGresult *r, size_t which)
{
    struct stream *s = arg;
    struct pg_probe *p = &s->probe;
    if (PQntuples(r) != 1)
        return;
    if (which == 0) {
        p->now = strtoll(PQgetvalue(r, 0, 0), NULL, 10);
        return;
    }
    if (which == 2) {
        if (!take_prepared(mr_str_c(PQgetvalue(r, 0, 0)), p))
            p->xmin = 0; /* told below */
        return;
    }
    p->xmin = strtoull(PQgetvalue(r, 0, 0), NULL, 10);
    take_lsn(s, PQgetvalue(r, 0, 1));
    p->hidden = strtoll(PQgetvalue(r, 0, 2), NULL, 10);
    p->oldest = PQgetisnull(r, 0, 3) ? MR_NO_TIME : strtoll(PQgetvalue(r, 0, 3), NULL, 10);
    if (!take_stragglers(mr_str_c(PQgetvalue(r, 0, 4)), p))
        p->xmin = 0;
    judge_server(s, PQgetvalue(r, 0, 5)[0] == 't', PQgetvalue(r, 0, 6));
}

/* ---- a standby ---- */

static void on_timer(uv_timer_t *timer);

static void on_replayed(void *arg, PGresult *r, size_t which)
{
    struct stream *s = arg;
    (void)which;
    if (PQntuples(r) == 1 && strcmp(PQgetvalue(r, 0, 0), "t") == 0)
        s->lsn[0] = 0; /* it is there */
    if (PQntuples(r) == 1 && !PQgetisnull(r, 0, 1))
        mr_cell_set(s->pg->replica_lag, s->lsn[0] ? strtod(PQgetvalue(r, 0, 1), NULL) : 0);
}

static void on_replay_end(void *arg, const struct mr_err *err, const char *state)
{
    struct stream *s = arg;
    struct mr_err late;
    (void)state;
    if (s->state == STREAM_ENDING || err->code != MR_OK) {
        run_fail(s, err);
    } else if (!s->lsn[0]) {
        mr_alert_close(s->pg->loop->alerts, MR_A_POSTGRES_REPLICA_LAG, s->pg->name, NULL);
        pull(s);
    } else if (mr_loop_now_ms(s->pg->loop) - s->waited_ms > REPLAY_WAIT_MS) {
        mr_err_set(&late, MR_EBUSY, "the standby has not replayed %s of the primary for %d s", s->lsn, REPLAY_WAIT_MS / 1000);
        mr_alert_open(s->pg->loop->alerts, MR_A_POSTGRES_REPLICA_LAG, s->pg->name, NULL, "%s: is replay paused, or the link between the two cut?", late.msg);
        run_fail(s, &late);
    } else {
        uv_timer_start(&s->timer, on_timer, REPLAY_LOOK_MS, 0);
    }
}

static void ask_replay(struct stream *s)
{
    char sql[256];
    const struct pg_query q = {.on_result = on_replayed, .on_end = on_replay_end, .arg = s};
    snprintf(sql, sizeof sql, "SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= '%s'::pg_lsn, extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())", s->lsn);
    pg_conn_query(s->link->conn, sql, &q);
}

static void on_timer(uv_timer_t *timer)
{
    ask_replay(timer->data);
}

/* ---- the step ---- */

static void on_end(void *arg, const struct mr_err *err, const char *state)
{
    struct stream *s = arg;
    struct postgres *pg = s->pg;
    struct mr_err why = *err;
    (void)state;
    if (s->primary) {
        struct link *l = s->primary;
        s->primary = NULL;
        pool_give(l);
    }
    if (s->state != STREAM_ENDING && why.code == MR_OK)
        why = s->err;
    if (s->state != STREAM_ENDING && why.code == MR_OK && (s->probe.xmin == 0 || s->probe.now == 0))
        mr_err_set(&why, MR_EMALFORMED, "the server's open transactions cannot be read from its answer");
    if (s->state == STREAM_ENDING || why.code != MR_OK) {
        run_fail(s, &why);
        return;
    }
    if (s->probe.hidden && s->method == PG_EXACT) {
        s->method = PG_XID;
        s->method_why = pg_method_hidden;
    }
    trouble_probed(s);
    if (pg->standby && pg->has_primary && s->lsn[0]) {
        s->waited_ms = mr_loop_now_ms(pg->loop);
        ask_replay(s);
        return;
    }
    pull(s);
}

static void ask(struct stream *s, struct pg_conn *conn)
{
    const struct pg_query q = {.on_result = on_result, .on_end = on_end, .arg = s};
    struct mr_buf sql;
    mr_buf_init(&sql, 1 << 16);
    put_probe(&sql, s);
    pg_conn_query(conn, mr_buf_cstr(&sql), &q);
    mr_buf_free(&sql);
}

static void on_primary(struct want *w, struct link *link, const struct mr_err *err)
{
    struct stream *s = MR_OF(w, struct stream, primary_want);
    struct mr_err why = *err;
    s->primary = link;
    if (s->state == STREAM_ENDING || !link) {
        mr_err_wrap(&why, "the primary");
        if (link)
            pool_give(link);
        s->primary = NULL;
        run_fail(s, &why);
        return;
    }
    ask(s, link->conn);
}

void probe(struct stream *s)
{
    s->state = STREAM_PROBING;
    s->err = (struct mr_err){0};
    probe_free(&s->probe);
    s->lsn[0] = 0;
    if (s->pg->has_primary) {
        s->primary_want.got = on_primary;
        pool_want(&s->pg->primary, &s->primary_want);
    } else {
        ask(s, s->link->conn);
    }
}
