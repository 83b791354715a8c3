/* SPDX-License-Identifier: Apache-2.0 */
/* look.c - what a stream reads: its relations (a partitioned table's leaves, each by itself), its columns, and how it can be read.
 *
 * happy path    one message of several statements -> relations, columns, method
 * ways to fail  no such table, no right to it, a column that the config names is gone: the stream fails and says so, the others go on */
#include "postgres.h"

#include "millrace/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is asked ---- */

static void put_server(struct mr_buf *sql)
{
    mr_buf_puts(sql, "SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system())::text, pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text, d.oid, "
                     "pg_catalog.pg_is_in_recovery(), pg_catalog.age(d.datfrozenxid), pg_catalog.current_setting('block_size') FROM pg_catalog.pg_database d "
                     "WHERE d.datname = pg_catalog.current_database(); ");
}

/* inhdetachpending is a column since 14 */
void look_relations(struct mr_buf *sql, const char *table, const char *watermark)
{
    mr_buf_puts(sql, "WITH RECURSIVE root AS (SELECT ");
    sql_literal(sql, table);
    mr_buf_puts(sql, "::pg_catalog.regclass::pg_catalog.oid AS oid), tree(oid) AS (SELECT oid FROM root UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree t ON i.inhparent = t.oid "
                     "WHERE NOT coalesce((pg_catalog.to_jsonb(i)->>'inhdetachpending')::pg_catalog.bool, false)) SELECT c.oid, n.nspname, c.relname, c.relkind, CASE WHEN c.relkind IN ('r','m') THEN pg_catalog.pg_relation_size(c.oid) ELSE 0 END, "
                     "CASE WHEN c.reltoastrelid <> 0 THEN pg_catalog.pg_relation_size(c.reltoastrelid) ELSE 0 END, pg_catalog.has_table_privilege(c.oid, 'SELECT'), "
                     "c.oid = (SELECT oid FROM root), coalesce(a.amname = 'heap', false), EXISTS (SELECT FROM pg_catalog.pg_index x JOIN pg_catalog.pg_attribute b ON b.attrelid = x.indrelid "
                     "AND b.attnum = x.indkey[0] JOIN pg_catalog.pg_class xc ON xc.oid = x.indexrelid JOIN pg_catalog.pg_am xa ON xa.oid = xc.relam "
                     "WHERE x.indrelid = c.oid AND x.indisvalid AND x.indpred IS NULL AND xa.amname = 'btree' AND b.attname = ");
    sql_literal(sql, watermark ? watermark : "");
    mr_buf_puts(sql, ") FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam "
                     "ORDER BY c.oid; ");
}

void look_stamp(struct mr_buf *sql, const struct stream *s)
{
    char oid[16];
    snprintf(oid, sizeof oid, "%" PRIu32, s->root_oid);
    mr_buf_puts(sql, ", ");
    pg_describe_stamp(sql, oid);
}

/* ---- the server ---- */

static void take_server(struct postgres *pg, PGresult *r)
{
    snprintf(pg->server, sizeof pg->server, "%s", PQgetvalue(r, 0, 0));
    pg->xmax = strtoull(PQgetvalue(r, 0, 1), NULL, 10);
    pg->database = (uint32_t)strtoul(PQgetvalue(r, 0, 2), NULL, 10);
    pg->standby = PQgetvalue(r, 0, 3)[0] == 't';
    pg->page = strtoll(PQgetvalue(r, 0, 5), NULL, 10);
    mr_cell_set(pg->xid_age, strtod(PQgetvalue(r, 0, 4), NULL));
}

/* ---- relations ---- */

static void take_relations(struct stream *s, PGresult *r)
{
    for (struct relation *x = s->relations; x; x = x->next)
        x->there = false;
    for (int i = 0; i < PQntuples(r); i++) {
        char part[512];
        char kind = PQgetvalue(r, i, 3)[0];
        bool root = PQgetvalue(r, i, 7)[0] == 't';
        if (root) {
            s->root_oid = (uint32_t)strtoul(PQgetvalue(r, i, 0), NULL, 10);
            s->root_kind = kind;
        }
        if (!strchr("rmvf", kind))
            continue; /* a partitioned table has no rows of its own */
        snprintf(part, sizeof part, "%.200s.%.200s", PQgetvalue(r, i, 1), PQgetvalue(r, i, 2));
        struct relation *x = relation_of(s, part);
        struct mr_buf sql;
        mr_buf_init(&sql, 4096);
        pg_ident_put(&sql, PQgetvalue(r, i, 1));
        mr_buf_putc(&sql, '.');
        pg_ident_put(&sql, PQgetvalue(r, i, 2));
        free(x->sql);
        x->sql = strdup(mr_buf_cstr(&sql));
        mr_buf_free(&sql);
        assert(x->sql);
        x->there = true;
        x->root = root;
        x->oid = (uint32_t)strtoul(PQgetvalue(r, i, 0), NULL, 10);
        x->kind = kind;
        x->pages = strtoll(PQgetvalue(r, i, 4), NULL, 10) / (s->pg->page ? s->pg->page : PG_PAGE);
        /* a value is compressed 255-fold at most, so that below this none can be above max_row */
        x->toasted = strtoll(PQgetvalue(r, i, 5), NULL, 10) > s->pg->o->max_row / 256 || kind == 'v' || kind == 'f';
        x->lockable = PQgetvalue(r, i, 6)[0] == 't' && (kind == 'r' || kind == 'v'); /* the others LOCK refuses */
        x->heap = PQgetvalue(r, i, 8)[0] == 't';
        x->indexed = PQgetvalue(r, i, 9)[0] == 't';
    }
}

static void one_query(struct stream *s)
{
    struct relation *x = relation_of(s, "query");
    free(x->sql);
    if (asprintf(&x->sql, "(%s\n)", s->o->query) < 0)
        abort();
    x->kind = 'q';
    x->there = x->root = x->toasted = true;
    s->root_kind = 'q';
}

/* ---- columns ---- */

static const char *cell(void *arg, size_t row, size_t column)
{
    PGresult *r = arg;
    return PQgetisnull(r, (int)row, (int)column) ? NULL : PQgetvalue(r, (int)row, (int)column);
}

static void name_columns(struct stream *s)
{
    struct mr_buf json;
    mr_buf_init(&json, 16 << 20);
    mr_buf_putc(&json, '[');
    for (size_t i = 0; i < s->columns.count; i++) {
        mr_buf_puts(&json, i ? ",[" : "[");
        mr_json_put_string(&json, mr_str_c(s->columns.items[i].name));
        mr_buf_putc(&json, ',');
        mr_json_put_string(&json, mr_str_c(s->columns.items[i].type));
        mr_buf_putc(&json, ']');
    }
    mr_buf_putc(&json, ']');
    free(s->columns_json);
    s->columns_json = strdup(mr_buf_cstr(&json));
    assert(s->columns_json);
    mr_buf_free(&json);
}

/* What gives the bound of a range its unit: another one, and the bounds of old say nothing. */
static void name_watermark(struct stream *s)
{
    s->by[0] = 0;
    if (s->watermark)
        snprintf(s->by, sizeof s->by, "%.40s %" PRIu32 " %" PRId64 " %.30s", s->watermark->name, s->watermark->base_oid, s->unit_us, s->zoned ? s->o->time_zone : "UTC");
}

static enum mr_code missing(const struct stream *s, const char *what, const char *name, struct mr_err *err)
{
    for (size_t i = 0; i < s->columns.hidden_count; i++)
        if (strcmp(s->columns.hidden[i], name) == 0)
            return mr_err_set(err, MR_EPERM, "%s %s may not be read: GRANT SELECT (%s) ON %s TO the user of the dsn", what, name, name, s->o->table);
    return mr_err_set(err, MR_ECONFIG, "%s %s is not there (any more)", what, name);
}

static enum mr_code take_columns(struct stream *s, PGresult *r, struct mr_err *err)
{
    struct pg_columns columns = {0};
    if (pg_columns_read(&columns, (size_t)PQntuples(r), cell, r, err) != MR_OK)
        return err->code;
    pg_columns_free(&s->columns);
    s->columns = columns;
    s->watermark = NULL;
    if (s->o->watermark && !(s->watermark = pg_columns_find(&s->columns, s->o->watermark)))
        return missing(s, "the watermark", s->o->watermark, err);
    if (s->watermark && (!pg_watermark_form(s->watermark->form) || s->watermark->form == PG_FORM_XID8))
        return mr_err_set(err, MR_ECONFIG, "the watermark %s is of type %s: it must be a timestamp, a date or an integer; leave it out, and rows are found by their transaction ids", s->o->watermark,
                          s->watermark->type);
    for (size_t i = 0; i < s->o->key.count; i++)
        if (!pg_columns_find(&s->columns, s->o->key.items[i]))
            return missing(s, "the key's column", s->o->key.items[i], err);
    for (size_t i = 0; i < s->o->columns.count; i++)
        if (!pg_columns_find(&s->columns, s->o->columns.items[i]))
            return missing(s, "column", s->o->columns.items[i], err);
    if (s->columns.count == 0)
        return mr_err_set(err, MR_EPERM, "none of the columns of %s may be read: GRANT SELECT ON %s TO the user of the dsn", s->o->table, s->o->table);
    s->watermark_column = s->watermark ? *s->watermark : (struct pg_column){0};
    return MR_OK;
}

static enum mr_code choose_columns(struct stream *s, struct mr_err *err)
{
    for (size_t i = 0; i < s->o->key.count && s->o->columns.count; i++) {
        bool there = false;
        for (size_t k = 0; k < s->o->columns.count; k++)
            there |= strcmp(s->o->columns.items[k], s->o->key.items[i]) == 0;
        if (!there)
            return mr_err_set(err, MR_ECONFIG, "the key's column %s must be among `columns`", s->o->key.items[i]);
    }
    return pg_columns_keep(&s->columns, (const char *const *)s->o->columns.items, s->o->columns.count, err);
}

/* ---- how it is read ---- */

static void use(struct stream *s, enum pg_method method, const char *why)
{
    if (s->method != method || !s->method_why || strcmp(s->method_why, why) != 0)
        mr_log_info(s->pg->loop->log, s->pg->name, "method", MR_S("stream", s->name), MR_S("method", pg_method_name(method)), MR_S("why", why));
    if (s->method != method && method != PG_EXACT && s->schedule.every_ms < PG_FAST_MS && !s->schedule.by_cron)
        mr_log_warn(s->pg->loop->log, s->pg->name, "fast_cadence", MR_S("stream", s->name), MR_I("every_ms", s->schedule.every_ms),
                    MR_S("costs", method == PG_XID ? "each run reads the whole table; an index that begins with the watermark, and method exact, would not"
                                                   : "rows wait for the oldest open transaction; change data capture would not"));
    s->method = method;
    s->method_why = why;
    if (method == PG_XID)
        mr_alert_close(s->pg->loop->alerts, MR_A_POSTGRES_STRAGGLER, s->pg->name, s->name);
}

static enum mr_code choose_method(struct stream *s, struct mr_err *err)
{
    struct pg_method_facts facts = {.table = s->o->table, .asked = s->o->method, .watermark = s->watermark != NULL, .standby = s->pg->standby,
                                    .primary = s->pg->has_primary, .every_ms = s->schedule.every_ms};
    enum pg_method method;
    const char *why;
    pg_method_none(&facts);
    for (const struct relation *r = s->relations; r; r = r->next)
        if (r->there)
            pg_method_relation(&facts, r->kind, r->heap, r->indexed, r->pages, s->pg->page);
    s->zoned = s->watermark && (s->watermark->form == PG_FORM_DATE || s->watermark->form == PG_FORM_TIMESTAMP) && strcmp(s->o->time_zone, "UTC") != 0;
    s->unit_us = s->o->unit == 0 ? 1000000 : s->o->unit == 1 ? 1000 : 1;
    if (s->o->mode == PG_SNAPSHOT)
        return MR_OK;
    if (pg_method_choose(&facts, &method, &why, err) != MR_OK)
        return err->code;
    use(s, method, why);
    return MR_OK;
}

/* ---- the step ---- */

static void on_result(void *arg, PGresult *r, size_t which)
{
    struct stream *s = arg;
    if (which == 0 && PQntuples(r) == 1)
        take_server(s->pg, r);
    if (which == 0 || s->err.code != MR_OK)
        return;
    if (s->o->query) {
        if (take_columns(s, r, &s->err) != MR_OK)
            return;
        return;
    }
    if (which == 1)
        take_relations(s, r);
    else if (which == 2)
        (void)(take_columns(s, r, &s->err) == MR_OK);
    else
        snprintf(s->stamp, sizeof s->stamp, "%s", PQgetvalue(r, 0, 0));
}

static void on_end(void *arg, const struct mr_err *err, const char *state)
{
    struct stream *s = arg;
    struct mr_err why = err->code != MR_OK ? *err : s->err;
    (void)state;
    if (s->state != STREAM_ENDING && why.code == MR_OK && choose_columns(s, &why) == MR_OK && choose_method(s, &why) == MR_OK) {
        if (s->watermark)
            s->watermark = &s->watermark_column; /* it need not be among those that are kept */
        name_columns(s);
        name_watermark(s);
        s->looked_ms = mr_loop_now_ms(s->pg->loop);
        run_go_on(s);
        return;
    }
    if (s->o->table && why.code == MR_ENOENT)
        mr_err_wrap(&why, "table %s", s->o->table);
    run_fail(s, &why);
}

/* -- a query: what its result looks like is asked by running it for no rows */

static void on_empty(void *arg, PGresult *r, size_t which)
{
    struct stream *s = arg;
    int count = PQnfields(r);
    (void)which;
    free(s->result_columns);
    s->result_columns = calloc((size_t)count + 1, sizeof *s->result_columns);
    assert(s->result_columns);
    s->result_columns_count = (size_t)count;
    for (int i = 0; i < count; i++) {
        char *name = strdup(PQfname(r, i));
        assert(name);
        s->result_columns[i] = (struct pg_result_column){.name = name, .type_oid = PQftype(r, i), .typmod = PQfmod(r, i)};
    }
}

static void free_result_columns(struct stream *s)
{
    for (size_t i = 0; i < s->result_columns_count; i++)
        free((char *)(uintptr_t)s->result_columns[i].name);
    free(s->result_columns);
    s->result_columns = NULL;
    s->result_columns_count = 0;
}

static void on_empty_end(void *arg, const struct mr_err *err, const char *state)
{
    struct stream *s = arg;
    const struct pg_query q = {.on_result = on_result, .on_end = on_end, .arg = s};
    struct mr_buf sql;
    (void)state;
    if (s->state == STREAM_ENDING || err->code != MR_OK) {
        struct mr_err why = *err;
        free_result_columns(s);
        mr_err_wrap(&why, "the query");
        run_fail(s, &why);
        return;
    }
    one_query(s);
    mr_buf_init(&sql, 4 << 20);
    put_server(&sql);
    pg_describe_result(&sql, s->result_columns, s->result_columns_count);
    free_result_columns(s);
    pg_conn_query(s->link->conn, mr_buf_cstr(&sql), &q);
    mr_buf_free(&sql);
}

void look(struct stream *s)
{
    struct mr_buf sql;
    s->state = STREAM_LOOKING;
    s->looked_now = true;
    s->err = (struct mr_err){0};
    if (pg_conn_version(s->link->conn) && pg_conn_version(s->link->conn) < 130000) {
        run_fail(s, &(struct mr_err){.code = MR_ECONFIG, .msg = "the server is older than Postgres 13: it does not tell transaction ids of 64 bits"});
        return;
    }
    mr_buf_init(&sql, 4 << 20);
    if (s->o->query) {
        const struct pg_query q = {.on_result = on_empty, .on_end = on_empty_end, .arg = s};
        mr_buf_printf(&sql, "BEGIN READ ONLY; SELECT * FROM (%s\n) AS t LIMIT 0; COMMIT", s->o->query);
        pg_conn_query(s->link->conn, mr_buf_cstr(&sql), &q);
    } else {
        const struct pg_query q = {.on_result = on_result, .on_end = on_end, .arg = s};
        struct mr_buf table;
        mr_buf_init(&table, 4096);
        sql_literal(&table, s->o->table);
        mr_buf_puts(&table, "::pg_catalog.regclass");
        put_server(&sql);
        look_relations(&sql, s->o->table, s->o->watermark);
        pg_describe_relation(&sql, mr_buf_cstr(&table));
        mr_buf_puts(&sql, "; SELECT ");
        pg_describe_stamp(&sql, mr_buf_cstr(&table));
        mr_buf_free(&table);
        pg_conn_query(s->link->conn, mr_buf_cstr(&sql), &q);
    }
    mr_buf_free(&sql);
}
