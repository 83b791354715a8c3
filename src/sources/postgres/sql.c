/* SPDX-License-Identifier: Apache-2.0 */
/* sql.c - the statements that a run sends. Each transaction sets what it needs by SET LOCAL: a pooler keeps nothing between two. */
#include "postgres.h"

#include "millrace/json.h"

#include <inttypes.h>

/* A literal of SQL whatever is in it: with a backslash it is written as E'…'. */
void sql_literal(struct mr_buf *sql, const char *text)
{
    if (strchr(text, '\\'))
        mr_buf_puts(sql, " E");
    mr_buf_putc(sql, '\'');
    for (const char *p = text; *p; p++) {
        if (*p == '\'' || *p == '\\')
            mr_buf_putc(sql, *p);
        mr_buf_putc(sql, *p);
    }
    mr_buf_putc(sql, '\'');
}

void sql_session(struct mr_buf *sql, const struct stream *s)
{
    mr_buf_puts(sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL timezone TO 'UTC'; SET LOCAL datestyle TO 'ISO'; SET LOCAL intervalstyle TO 'iso_8601'; "
                     "SET LOCAL extra_float_digits TO 1; SET LOCAL bytea_output TO 'hex'; SET LOCAL jit TO off; SET LOCAL statement_timeout TO 0; SET LOCAL lock_timeout TO '2s'; "
                     "SET LOCAL idle_in_transaction_session_timeout TO '60s'; ");
    if (pg_conn_version(s->link->conn) >= 170000)
        mr_buf_puts(sql, "SET LOCAL transaction_timeout TO 0; ");
    if (!s->o->query) /* a query may name what it likes, and rows that it may not see it does not ask for */
        mr_buf_puts(sql, "SET LOCAL search_path TO pg_catalog; SET LOCAL row_security TO off; ");
}

void sql_copy(struct mr_buf *sql, const struct stream *s, const struct relation *r, const char *where, struct intake_part *part)
{
    const struct pg_style style = postgres_style(s->pg->o);
    bool ids = part->rule <= INTAKE_REPLAY;
    part->has_ctid = ids && s->o->key.count == 0;
    part->has_watermark = s->watermark != NULL;
    mr_buf_puts(sql, "COPY (SELECT ");
    if (ids)
        mr_buf_puts(sql, "t.xmin, ");
    if (part->has_ctid)
        mr_buf_puts(sql, "t.ctid, ");
    if (part->has_watermark) {
        mr_buf_puts(sql, "t.");
        pg_ident_put(sql, s->watermark->name);
        mr_buf_puts(sql, ", ");
    }
    part->has_time = part->has_watermark && s->zoned;
    if (part->has_time) { /* the server knows the zone's history */
        mr_buf_puts(sql, "pg_catalog.timezone(");
        sql_literal(sql, s->o->time_zone);
        mr_buf_puts(sql, ", t.");
        pg_ident_put(sql, s->watermark->name);
        mr_buf_puts(sql, "::pg_catalog.timestamp), ");
    }
    pg_select_list(&s->columns, &style, r->toasted ? (uint64_t)s->pg->o->max_row : 0, "t", sql);
    mr_buf_puts(sql, " FROM ");
    if (r->kind != 'q')
        mr_buf_puts(sql, "ONLY ");
    mr_buf_puts(sql, r->sql);
    mr_buf_puts(sql, " AS t");
    if (where || s->o->where) {
        mr_buf_puts(sql, " WHERE ");
        mr_buf_puts(sql, where ? where : "");
        if (s->o->where)
            mr_buf_printf(sql, "%s(%s\n)", where ? " AND " : "", s->o->where); /* it may end in a comment */
    }
    mr_buf_puts(sql, ") TO STDOUT (FORMAT binary); ");
}

/* age() counts modulo 2^32 and is negative beyond half of that: then all is read, and told by the ids. */
void sql_age(struct mr_buf *sql, const struct postgres *pg, uint64_t x)
{
    uint32_t id = (uint32_t)x;
    if (pg->xmax > x && pg->xmax - x > PG_IDS_SQL)
        return;
    mr_buf_printf(sql, "%spg_catalog.age(t.xmin) BETWEEN 0 AND pg_catalog.age('%" PRIu32 "'::pg_catalog.xid)", sql->n ? " AND " : "", id < 3 ? UINT32_MAX : id);
}

/* Has a relation been rewritten since the snapshot? Then its two numbers differ, and the snapshot may show it empty. Or is another one called by its name? */
const char sql_nodes[] = "SELECT c.oid, c.relfilenode, pg_catalog.pg_relation_filenode(c.oid), c.oid IS NOT DISTINCT FROM pg_catalog.to_regclass(v.name)::pg_catalog.oid FROM (VALUES ";

void sql_node(struct mr_buf *sql, const struct relation *r, bool first)
{
    mr_buf_puts(sql, first ? sql_nodes : ",");
    mr_buf_printf(sql, "(%" PRIu32 "::pg_catalog.oid,", r->oid);
    sql_literal(sql, r->sql);
    mr_buf_puts(sql, ")");
}
