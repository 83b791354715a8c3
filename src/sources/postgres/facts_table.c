/* SPDX-License-Identifier: Apache-2.0 */
/* facts_table.c - what there is to know of a stream's table or query.
 *
 * happy path    is it there -> relations, columns -> may a run's own statement read it -> catalog, statistics -> a look at the watermark, where that is cheap
 * ways to fail  what keeps a run from reading is told as a fail; a look that takes too long is left out, and the advice says that it does not know */
#include "facts.h"
#include "postgres.h"

#include "millrace/near.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SQL_MOST = 16 << 20, SAMPLE = 200 };
static const int64_t CHEAP_BYTES = INT64_C(256) << 20;
static const double CHEAP_COST = 100000;

struct looking {
    struct pg_asking *a;
    const struct postgres_options *o;
    const struct pg_stream_options *s;
    const struct pg_server_facts *server;
    struct pg_lines *l;
    struct pg_table_facts *f;
    struct pg_columns columns;
    const struct pg_column *watermark;
    struct mr_buf oids;     /* "1,2": relations with rows of their own */
    struct mr_buf from;     /* what stands behind FROM, for a look */
    char first[PG_NAME_ROOM]; /* quoted: a relation as a run reads it; one that we have no right to the whole of, if there is any */
    uint32_t oid;           /* of the root */
    struct pg_method_facts method;
};

/* ---- what is not there ---- */

static const char *last_part(const char *table, char out[PG_NAME_ROOM])
{
    const char *dot = strrchr(table, '.');
    size_t n = 0;
    for (const char *p = dot ? dot + 1 : table; *p && n < PG_NAME_ROOM - 1; p++)
        if (*p != '"')
            out[n++] = *p;
    out[n] = 0;
    return out;
}

static void no_table(struct looking *k)
{
    char bare[PG_NAME_ROOM];
    PGresult *r = pg_ask(k->a, PG_PATH_OWN,
                         "SELECT pg_catalog.format('%s.%s', n.nspname, c.relname), c.relname, pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
                         "ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p','v','m','f') AND NOT c.relispartition AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1 LIMIT 20000");
    struct mr_near whole = {.word = mr_str_c(k->s->table)}, part = {.word = mr_str_c(last_part(k->s->table, bare))};
    const char *meant = NULL;
    for (int i = 0; r && i < PQntuples(r); i++) {
        mr_near_offer(&whole, PQgetvalue(r, i, 0));
        mr_near_offer(&part, PQgetvalue(r, i, 1));
    }
    for (int i = 0; r && i < PQntuples(r) && !meant; i++)
        if (PQgetvalue(r, i, 0) == whole.best || (!whole.best && PQgetvalue(r, i, 1) == part.best))
            meant = PQgetvalue(r, i, 2);
    if (meant)
        pg_line(k->l, PG_FAIL, "there is no table %s in database %s; is %s meant?", k->s->table, k->server->database, meant);
    else
        pg_line(k->l, PG_FAIL, "there is no table %s in database %s, as role %s sees it", k->s->table, k->server->database, k->server->role);
    PQclear(r);
}

/* What the server said; and what to grant, where that was the reason. */
static void told(struct looking *k, const char *what)
{
    const char *said = k->a->err.msg;
    static const char schema[] = "permission denied for schema ", relation[] = "permission denied for ";
    struct mr_buf grant;
    mr_buf_init(&grant, 4096);
    if (strncmp(said, schema, sizeof schema - 1) == 0) {
        mr_buf_puts(&grant, ": GRANT USAGE ON SCHEMA ");
        pg_ident_put(&grant, said + sizeof schema - 1);
    } else if (strncmp(said, relation, sizeof relation - 1) == 0) {
        mr_buf_puts(&grant, ": GRANT SELECT ON ");
        if (k->f->name[0])
            mr_buf_puts(&grant, k->f->name);
        else
            pg_ident_put(&grant, strrchr(said, ' ') + 1);
    }
    if (grant.n)
        mr_buf_printf(&grant, " TO %s", k->server->role);
    pg_line(k->l, PG_FAIL, "%s%s%s%s", what, *what ? ": " : "", said, mr_buf_cstr(&grant));
    mr_buf_free(&grant);
}

static bool column_there(struct looking *k, const char *what, const char *name)
{
    struct mr_near near = {.word = mr_str_c(name)};
    struct mr_err err = {0};
    struct mr_buf quoted;
    if (pg_columns_find(&k->columns, name))
        return true;
    for (size_t i = 0; i < k->columns.hidden_count; i++)
        if (strcmp(k->columns.hidden[i], name) == 0) {
            mr_buf_init(&quoted, 1024);
            pg_ident_put(&quoted, name);
            pg_line(k->l, PG_FAIL, "%s %s may not be read: GRANT SELECT (%s) ON %s TO %s", what, name, mr_buf_cstr(&quoted), k->f->name, k->server->role);
            mr_buf_free(&quoted);
            return false;
        }
    for (size_t i = 0; i < k->columns.count; i++)
        mr_near_offer(&near, k->columns.items[i].name);
    (void)pg_columns_missing(&k->columns, name, &err);
    if (near.best)
        pg_line(k->l, PG_FAIL, "%s %s is not there; is %s meant?", what, name, near.best);
    else
        pg_line(k->l, PG_FAIL, "%s: %s", what, err.msg);
    return false;
}

static bool columns_there(struct looking *k)
{
    bool all = true;
    if (k->columns.count == 0) {
        pg_line(k->l, PG_FAIL, "none of its columns may be read: GRANT SELECT ON %s TO %s", k->f->name, k->server->role);
        return false;
    }
    if (k->s->watermark)
        all &= column_there(k, "the watermark", k->s->watermark);
    for (size_t i = 0; i < k->s->key.count; i++)
        all &= column_there(k, "the key's column", k->s->key.items[i]);
    for (size_t i = 0; i < k->s->columns.count; i++)
        all &= column_there(k, "column", k->s->columns.items[i]);
    k->watermark = k->s->watermark ? pg_columns_find(&k->columns, k->s->watermark) : NULL;
    if (k->watermark && (!pg_watermark_form(k->watermark->form) || k->watermark->form == PG_FORM_XID8)) {
        pg_line(k->l, PG_FAIL, "the watermark %s is of type %s: it must be a timestamp, a date or an integer%s", k->s->watermark, k->watermark->type,
                k->s->table ? "; without one changes are found by the rows' transaction ids" : "");
        all = false;
    }
    for (size_t i = 0; i < k->s->key.count && k->s->columns.count; i++) {
        bool kept = false;
        for (size_t j = 0; j < k->s->columns.count; j++)
            kept |= strcmp(k->s->columns.items[j], k->s->key.items[i]) == 0;
        if (!kept)
            pg_line(k->l, PG_FAIL, "the key's column %s must be among `columns`", k->s->key.items[i]);
        all &= kept;
    }
    return all;
}

/* ---- columns ---- */

static const char *cell(void *arg, size_t row, size_t column)
{
    PGresult *r = arg;
    return PQgetisnull(r, (int)row, (int)column) ? NULL : PQgetvalue(r, (int)row, (int)column);
}

static bool take_columns(struct looking *k, PGresult *r)
{
    bool fine = r && pg_columns_read(&k->columns, (size_t)PQntuples(r), cell, r, &k->a->err) == MR_OK;
    if (!fine)
        told(k, "");
    PQclear(r);
    return fine && columns_there(k);
}

static void note_columns(struct looking *k)
{
    struct mr_buf text;
    mr_buf_init(&text, 4096);
    for (size_t i = 0; i < k->columns.hidden_count; i++)
        mr_buf_printf(&text, "%s%s", i ? ", " : "", k->columns.hidden[i]);
    snprintf(k->f->hidden, sizeof k->f->hidden, "%s", mr_buf_cstr(&text));
    mr_buf_free(&text);
    for (size_t i = 0; i < k->s->key.count && !k->f->nullable[0]; i++) {
        const struct pg_column *c = pg_columns_find(&k->columns, k->s->key.items[i]);
        if (!c->not_null)
            snprintf(k->f->nullable, sizeof k->f->nullable, "%s", c->name);
    }
    if (!k->watermark)
        return;
    snprintf(k->f->type, sizeof k->f->type, "%s", k->watermark->type);
    k->f->form = k->watermark->form;
    k->f->not_null = k->watermark->not_null;
}

/* ---- relations ---- */

enum relation_cell { OID, SCHEMA, RELATION, KIND, BYTES, TOAST, WHOLE, ROOT, HEAP, INDEXED };

static void take_relation(struct looking *k, PGresult *r, int i)
{
    const char kind = PQgetvalue(r, i, KIND)[0];
    const bool whole = PQgetvalue(r, i, WHOLE)[0] == 't', indexed = PQgetvalue(r, i, INDEXED)[0] == 't';
    const int64_t bytes = strtoll(PQgetvalue(r, i, BYTES), NULL, 10), page = k->f->page;
    struct mr_buf name;
    if (PQgetvalue(r, i, ROOT)[0] == 't') {
        k->oid = (uint32_t)strtoul(PQgetvalue(r, i, OID), NULL, 10);
        k->f->kind = kind;
    }
    if (!strchr("rmvf", kind))
        return;
    mr_buf_init(&name, 4096);
    pg_ident_put(&name, PQgetvalue(r, i, SCHEMA));
    mr_buf_putc(&name, '.');
    pg_ident_put(&name, PQgetvalue(r, i, RELATION));
    mr_buf_printf(&k->oids, "%s%s", k->f->relations ? "," : "", PQgetvalue(r, i, OID));
    if (!k->first[0] || (k->f->whole && !whole))
        snprintf(k->first, sizeof k->first, "%s", mr_buf_cstr(&name));
    mr_buf_free(&name);
    k->f->relations++;
    k->f->whole &= whole;
    k->f->bytes += bytes;
    k->f->toast += strtoll(PQgetvalue(r, i, TOAST), NULL, 10);
    if (bytes / page > k->f->pages_most)
        k->f->pages_most = bytes / page;
    if (!indexed && k->f->bare++ == 0)
        snprintf(k->f->bare_name, sizeof k->f->bare_name, "%s", PQgetvalue(r, i, OID)); /* its name comes with the catalog's */
    pg_method_relation(&k->method, kind, PQgetvalue(r, i, HEAP)[0] == 't', indexed, bytes / page, page);
}

static bool take_relations(struct looking *k)
{
    struct mr_buf sql;
    PGresult *r = pg_ask(k->a, PG_PATH_OWN, "SELECT pg_catalog.current_setting('block_size')");
    k->f->page = r ? pg_cell_i64(r, 0, PG_PAGE) : PG_PAGE;
    PQclear(r);
    mr_buf_init(&sql, SQL_MOST);
    look_relations(&sql, k->s->table, k->s->watermark);
    (void)mr_buf_cstr(&sql);
    *strrchr(sql.p, ';') = 0; /* in a run it is one of several */
    r = pg_ask(k->a, PG_PATH_OWN, sql.p);
    mr_buf_free(&sql);
    if (!r) {
        told(k, "");
        return false;
    }
    k->f->whole = true;
    for (int i = 0; i < PQntuples(r); i++)
        take_relation(k, r, i);
    k->f->indexed = k->f->bare == 0;
    PQclear(r);
    return true;
}

/* ---- the catalog ---- */

static void put_names(struct mr_buf *sql, const struct mr_strings *names)
{
    mr_buf_puts(sql, "ARRAY[");
    for (size_t i = 0; i < names->count; i++) {
        mr_buf_puts(sql, i ? "," : "");
        sql_literal(sql, names->items[i]);
    }
    mr_buf_puts(sql, "]::pg_catalog.text[]");
}

enum catalog_cell { C_NAME, C_ROLE, C_COLUMN, C_ROWS, C_UNKNOWN, C_SECURED, C_SECURED_NAME, C_UNREADABLE, C_UNREADABLE_NAME, C_BARE_NAME, C_DEFAULT, C_TRIGGER, C_TRIGGER_SETS, C_KEY, C_UNIQUE, C_PRIMARY, C_NULLS,
                    C_INDEX, C_INDEX_VALID, C_INDEX_PARTIAL, C_INDEX_BTREE };
#define NAME "pg_catalog.format('%I.%I', n.nspname, c.relname)"
#define OF_RELATIONS(what, where) "(SELECT " what " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY (k.oids) AND " where "), "
#define SECURED "pg_catalog.row_security_active(c.oid)"
#define UNREADABLE "NOT pg_catalog.has_any_column_privilege(c.oid, 'SELECT')"
/* k: the root, the relations with rows, one that no index of the watermark has, the watermark's name, the key's */
static const char catalog_sql[] =
    "SELECT " NAME ", pg_catalog.quote_ident(current_user), pg_catalog.quote_ident(k.w), "
    OF_RELATIONS("sum(CASE WHEN c.reltuples > 0 THEN c.reltuples ELSE 0 END)::pg_catalog.int8", "true")
    OF_RELATIONS("count(*)", "c.relkind IN ('r','m') AND (c.reltuples < 0 OR (c.reltuples = 0 AND c.relpages = 0 AND pg_catalog.pg_relation_size(c.oid) > 0))")
    OF_RELATIONS("count(*)", SECURED) OF_RELATIONS("min(" NAME ")", SECURED)
    OF_RELATIONS("count(*)", UNREADABLE) OF_RELATIONS("min(" NAME ")", UNREADABLE) OF_RELATIONS("min(" NAME ")", "c.oid = k.bare")
    "(SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE d.adrelid = k.root AND a.attname = k.w), "
    "fired.name, fired.sets, (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(one), ', ' ORDER BY i) FROM pg_catalog.unnest(k.key) WITH ORDINALITY names(one, i)), "
    "(SELECT pg_catalog.quote_ident(xc.relname) FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class xc ON xc.oid = x.indexrelid WHERE x.indrelid = k.root AND x.indisunique AND x.indisvalid "
    "AND x.indpred IS NULL AND NOT EXISTS (SELECT FROM pg_catalog.generate_series(0, x.indnkeyatts - 1) i LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[i] "
    "AND a.attnum > 0 WHERE a.attname IS NULL OR a.attname::pg_catalog.text <> ALL (k.key)) ORDER BY x.indisprimary DESC, xc.relname LIMIT 1), "
    "(SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY i) FROM pg_catalog.pg_index x, pg_catalog.generate_series(0, x.indnkeyatts - 1) i, pg_catalog.pg_attribute a "
    "WHERE x.indrelid = k.root AND x.indisprimary AND a.attrelid = x.indrelid AND a.attnum = x.indkey[i]), "
    "(SELECT s.null_frac * 1000000 FROM pg_catalog.pg_stats s WHERE s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = k.w ORDER BY s.inherited DESC LIMIT 1), "
    "leads.name, leads.valid, leads.partial, leads.btree FROM k JOIN pg_catalog.pg_class c ON c.oid = k.root JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "LEFT JOIN LATERAL (SELECT pg_catalog.quote_ident(t.tgname) AS name, pg_catalog.strpos(pg_catalog.lower(p.prosrc || ' ' || pg_catalog.encode(t.tgargs, 'escape')), pg_catalog.lower(k.w)) > 0 AS sets "
    "FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = k.root AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 19 = 19 " /* before, each row, update */
    "ORDER BY 2 DESC, 1 LIMIT 1) fired ON true "
    "LEFT JOIN LATERAL (SELECT pg_catalog.quote_ident(xc.relname) AS name, x.indisvalid AS valid, x.indpred IS NOT NULL AS partial, am.amname = 'btree' AS btree FROM pg_catalog.pg_index x "
    "JOIN pg_catalog.pg_class xc ON xc.oid = x.indexrelid JOIN pg_catalog.pg_am am ON am.oid = xc.relam JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0] "
    "WHERE (x.indrelid = k.root OR x.indrelid = ANY (k.oids)) AND a.attname = k.w ORDER BY x.indisvalid AND x.indpred IS NULL AND am.amname = 'btree' DESC, x.indrelid = k.root DESC, xc.relname LIMIT 1) leads ON true";

static void put_catalog(struct mr_buf *sql, const struct looking *k)
{
    mr_buf_printf(sql, "WITH k AS (SELECT %" PRIu32 "::pg_catalog.oid AS root, ARRAY[%.*s]::pg_catalog.oid[] AS oids, %s::pg_catalog.oid AS bare, ", k->oid, (int)k->oids.n, k->oids.p, k->f->bare ? k->f->bare_name : "0");
    sql_literal(sql, k->s->watermark ? k->s->watermark : "");
    mr_buf_puts(sql, "::pg_catalog.text AS w, ");
    put_names(sql, &k->s->key);
    mr_buf_puts(sql, " AS key) ");
    mr_buf_puts(sql, catalog_sql);
}

static bool take_catalog(struct looking *k)
{
    struct pg_table_facts *f = k->f;
    struct mr_buf sql;
    mr_buf_init(&sql, SQL_MOST);
    put_catalog(&sql, k);
    PGresult *r = pg_ask(k->a, PG_PATH_OWN, mr_buf_cstr(&sql));
    mr_buf_free(&sql);
    if (!r || PQntuples(r) != 1) {
        told(k, "");
        PQclear(r);
        return false;
    }
    pg_cell_text(r, C_NAME, f->name, sizeof f->name);
    pg_cell_text(r, C_ROLE, f->role, sizeof f->role);
    pg_cell_text(r, C_COLUMN, f->column, k->s->watermark ? sizeof f->column : 1);
    f->rows = pg_cell_i64(r, C_UNKNOWN, 0) ? -1 : pg_cell_i64(r, C_ROWS, 0);
    f->secured = pg_cell_i64(r, C_SECURED, 0);
    pg_cell_text(r, C_SECURED_NAME, f->secured_name, sizeof f->secured_name);
    f->unreadable = pg_cell_i64(r, C_UNREADABLE, 0);
    pg_cell_text(r, C_UNREADABLE_NAME, f->unreadable_name, sizeof f->unreadable_name);
    pg_cell_text(r, C_BARE_NAME, f->bare_name, sizeof f->bare_name);
    pg_cell_text(r, C_DEFAULT, f->by_default, sizeof f->by_default);
    pg_cell_text(r, C_TRIGGER, f->trigger, sizeof f->trigger);
    f->trigger_sets = pg_cell_flag(r, C_TRIGGER_SETS);
    pg_cell_text(r, C_KEY, f->key, sizeof f->key);
    pg_cell_text(r, C_UNIQUE, f->unique, k->s->key.count ? sizeof f->unique : 1);
    pg_cell_text(r, C_PRIMARY, f->primary, sizeof f->primary);
    f->null_share = PQgetisnull(r, 0, C_NULLS) ? -1 : strtod(PQgetvalue(r, 0, C_NULLS), NULL) / 1000000;
    pg_cell_text(r, C_INDEX, f->index, sizeof f->index);
    f->index_invalid = f->index[0] && !pg_cell_flag(r, C_INDEX_VALID);
    f->index_partial = pg_cell_flag(r, C_INDEX_PARTIAL);
    f->index_other = f->index[0] && !pg_cell_flag(r, C_INDEX_BTREE);
    PQclear(r);
    return true;
}

/* ---- a run's own statement ---- */

static bool try_select(struct looking *k)
{
    const struct pg_style style = postgres_style(k->o);
    struct pg_columns *c = &k->columns;
    struct mr_buf sql;
    if (k->f->secured || k->f->unreadable || k->f->relations == 0)
        return true; /* told by the advice */
    if (pg_columns_keep(c, (const char *const *)k->s->columns.items, k->s->columns.count, &k->a->err) != MR_OK) {
        told(k, "");
        return false;
    }
    mr_buf_init(&sql, SQL_MOST);
    mr_buf_puts(&sql, "SELECT ");
    pg_select_list(c, &style, (uint64_t)k->o->max_row, "t", &sql);
    mr_buf_printf(&sql, " FROM %s%s AS t", k->s->query ? "" : "ONLY ", k->s->query ? k->from.p : k->first);
    if (k->s->where)
        mr_buf_printf(&sql, " WHERE (%s\n)", k->s->where);
    mr_buf_puts(&sql, " LIMIT 0");
    PGresult *r = pg_ask(k->a, k->s->query ? PG_PATH_OWN : PG_PATH_RUN, mr_buf_cstr(&sql));
    mr_buf_free(&sql);
    if (!r)
        told(k, k->s->where ? "with its `where`" : "");
    PQclear(r);
    return r != NULL;
}

/* ---- a look at the watermark ---- */

static bool is_time(const struct looking *k)
{
    return k->watermark->form == PG_FORM_DATE || k->watermark->form == PG_FORM_TIMESTAMP || k->watermark->form == PG_FORM_TIMESTAMPTZ;
}

static const char *unit_text(const struct looking *k)
{
    return k->s->unit == 0 ? "1" : k->s->unit == 1 ? "1000" : "1000000";
}

/* The beginning of the transaction less `seconds`, as a value of the watermark's type; it stays one that an index can be asked with. */
static void put_now(struct mr_buf *sql, const struct looking *k, int64_t seconds)
{
    char now[96];
    snprintf(now, sizeof now, "(pg_catalog.now() - '%" PRId64 " seconds'::pg_catalog.interval)", seconds);
    if (k->watermark->form == PG_FORM_TIMESTAMPTZ) {
        mr_buf_puts(sql, now);
    } else if (is_time(k)) {
        mr_buf_puts(sql, "pg_catalog.timezone(");
        sql_literal(sql, k->s->time_zone);
        mr_buf_printf(sql, ", %s)%s", now, k->watermark->form == PG_FORM_DATE ? "::pg_catalog.date" : "");
    } else {
        mr_buf_printf(sql, "(extract(epoch FROM %s) * %s)::pg_catalog.int8", now, unit_text(k));
    }
}

static void put_where(struct mr_buf *sql, const struct looking *k)
{
    if (k->s->where)
        mr_buf_printf(sql, " AND (%s\n)", k->s->where);
}

/* Seconds from the watermark `v` to now. */
static void put_ago(struct mr_buf *sql, const struct looking *k, const char *v)
{
    if (!is_time(k)) {
        mr_buf_printf(sql, "(extract(epoch FROM pg_catalog.now()) - %s / %s.0)::pg_catalog.int8", v, unit_text(k));
        return;
    }
    mr_buf_printf(sql, "CASE WHEN pg_catalog.isfinite(%s) THEN extract(epoch FROM pg_catalog.now() - ", v);
    if (k->watermark->form != PG_FORM_TIMESTAMPTZ) {
        mr_buf_puts(sql, "pg_catalog.timezone(");
        sql_literal(sql, k->s->time_zone);
        mr_buf_printf(sql, ", %s::pg_catalog.timestamp)", v);
    } else {
        mr_buf_puts(sql, v);
    }
    mr_buf_puts(sql, ")::pg_catalog.int8 END");
}

static void put_count(struct mr_buf *sql, const struct looking *k, const char *column)
{
    mr_buf_printf(sql, "(SELECT count(*) FROM (SELECT FROM %s AS t WHERE %s ", k->from.p, column);
}

static void take_range(struct looking *k, const char *column)
{
    const bool time = is_time(k);
    struct mr_buf sql;
    mr_buf_init(&sql, SQL_MOST);
    mr_buf_puts(&sql, "SELECT most::pg_catalog.text, ");
    put_ago(&sql, k, "most");
    mr_buf_printf(&sql, ", %s, %s, ", time ? "pg_catalog.isfinite(most)" : "true", time ? "pg_catalog.isfinite(least)" : "true");
    put_count(&sql, k, column);
    mr_buf_puts(&sql, "> ");
    put_now(&sql, k, 0);
    put_where(&sql, k);
    mr_buf_printf(&sql, " LIMIT %d) x), ", PG_COUNT_MOST + 1);
    if (k->watermark->not_null) {
        mr_buf_puts(&sql, "0");
    } else {
        put_count(&sql, k, column);
        mr_buf_puts(&sql, "IS NULL");
        put_where(&sql, k);
        mr_buf_printf(&sql, " LIMIT %d) x)", PG_COUNT_MOST + 1);
    }
    mr_buf_printf(&sql, " FROM (SELECT (SELECT max(%s) FROM %s AS t) AS most, (SELECT min(%s) FROM %s AS t) AS least) range", column, k->from.p, column, k->from.p);
    PGresult *r = pg_ask(k->a, k->s->query ? PG_PATH_OWN : PG_PATH_RUN, mr_buf_cstr(&sql));
    mr_buf_free(&sql);
    if (!r)
        return;
    k->f->ranged = true;
    pg_cell_text(r, 0, k->f->newest, sizeof k->f->newest);
    k->f->newest_s = pg_cell_i64(r, 1, 0);
    k->f->newest_finite = PQgetisnull(r, 0, 2) || pg_cell_flag(r, 2);
    k->f->oldest_finite = PQgetisnull(r, 0, 3) || pg_cell_flag(r, 3);
    k->f->ahead = pg_cell_i64(r, 4, -1);
    k->f->nulls = pg_cell_i64(r, 5, -1);
    PQclear(r);
}

/* All are whole days: then they are whole seconds too. One whole day may be chance, so that few values say little. */
static void take_sample(struct looking *k, const char *column)
{
    static const struct {
        const char *name;
        int64_t us;
        int64_t least; /* different values */
    } grains[] = {{"day", INT64_C(86400000000), 5}, {"hour", INT64_C(3600000000), 5}, {"minute", 60000000, 5}, {"second", 1000000, 2}, {"milliseconds", 1000, 2}};
    struct mr_buf sql;
    mr_buf_init(&sql, SQL_MOST);
    mr_buf_puts(&sql, "SELECT count(*), count(DISTINCT v)");
    for (size_t i = 0; i < MR_COUNT(grains); i++)
        mr_buf_printf(&sql, ", bool_and(pg_catalog.date_trunc('%s', v) = v)", grains[i].name);
    mr_buf_printf(&sql, " FROM (SELECT %s AS v FROM %s AS t WHERE %s IS NOT NULL AND pg_catalog.isfinite(%s) ORDER BY %s DESC LIMIT %d) sample", column, k->from.p, column, column, column, SAMPLE);
    PGresult *r = pg_ask(k->a, k->s->query ? PG_PATH_OWN : PG_PATH_RUN, mr_buf_cstr(&sql));
    mr_buf_free(&sql);
    if (!r)
        return;
    k->f->sampled = pg_cell_i64(r, 0, 0);
    for (size_t i = MR_COUNT(grains); k->f->sampled && i-- > 0;) {
        if (pg_cell_flag(r, 2 + (int)i) && pg_cell_i64(r, 1, 0) >= grains[i].least)
            k->f->grain_us = grains[i].us;
        else if (i + 1 == MR_COUNT(grains))
            k->f->grain_us = pg_cell_i64(r, 1, 0) >= grains[i].least ? 1 : 0;
    }
    PQclear(r);
}

static void look_at_watermark(struct looking *k)
{
    struct mr_buf column;
    const struct pg_table_facts *f = k->f;
    bool cheap = f->kind == 'q' || f->kind == 'v' ? f->plan_cost >= 0 && f->plan_cost <= CHEAP_COST : f->kind != 'f' && (f->indexed || f->bytes <= CHEAP_BYTES);
    if (k->watermark->form == PG_FORM_DATE)
        k->f->grain_us = MR_US_PER_DAY;
    else if (!is_time(k))
        k->f->grain_us = k->s->unit == 0 ? 1000000 : k->s->unit == 1 ? 1000 : 1;
    if (!cheap || f->secured || f->relations == 0)
        return;
    mr_buf_init(&column, 4096);
    mr_buf_puts(&column, "t.");
    pg_ident_put(&column, k->watermark->name);
    take_range(k, mr_buf_cstr(&column));
    if (is_time(k) && k->watermark->form != PG_FORM_DATE)
        take_sample(k, mr_buf_cstr(&column));
    mr_buf_free(&column);
}

/* ---- the plan of a run by window ---- */

static void take_plan(struct looking *k)
{
    struct mr_buf sql;
    mr_buf_init(&sql, SQL_MOST);
    mr_buf_printf(&sql, "EXPLAIN (FORMAT JSON) SELECT * FROM %s AS t WHERE true", k->from.p);
    if (k->watermark && k->s->mode != PG_SNAPSHOT) {
        mr_buf_puts(&sql, " AND t.");
        pg_ident_put(&sql, k->watermark->name);
        mr_buf_puts(&sql, " >= ");
        put_now(&sql, k, k->f->interval_ms / 1000 + 1);
        mr_buf_puts(&sql, " AND t.");
        pg_ident_put(&sql, k->watermark->name);
        mr_buf_puts(&sql, " < ");
        put_now(&sql, k, 0);
    }
    put_where(&sql, k);
    PGresult *r = pg_ask(k->a, k->s->query ? PG_PATH_OWN : PG_PATH_RUN, mr_buf_cstr(&sql));
    mr_buf_free(&sql);
    if (!r)
        return;
    const char *plan = PQgetvalue(r, 0, 0), *rows = strstr(plan, "\"Plan Rows\": "), *cost = strstr(plan, "\"Total Cost\": "), *scan = k->s->mode == PG_SNAPSHOT ? NULL : strstr(plan, "\"Node Type\": \"Seq Scan\"");
    k->f->plan_rows = rows ? strtod(rows + 13, NULL) : -1;
    k->f->plan_cost = cost ? strtod(cost + 14, NULL) : -1;
    const char *name = scan ? strstr(scan, "\"Relation Name\": \"") : NULL;
    if (name)
        snprintf(k->f->plan_scans, sizeof k->f->plan_scans, "%.*s", (int)strcspn(name + 18, "\""), name + 18);
    PQclear(r);
}

/* ---- a table, a query ---- */

static bool look_at_table(struct looking *k)
{
    struct mr_buf sql, literal;
    mr_buf_init(&literal, 8192);
    sql_literal(&literal, k->s->table);
    mr_buf_init(&sql, 16384);
    mr_buf_printf(&sql, "SELECT pg_catalog.to_regclass(%s)::pg_catalog.oid", mr_buf_cstr(&literal));
    PGresult *r = pg_ask(k->a, PG_PATH_OWN, mr_buf_cstr(&sql));
    bool there = r && !PQgetisnull(r, 0, 0), said = !r;
    PQclear(r);
    if (said)
        told(k, "");
    else if (!there)
        no_table(k);
    there = there && take_relations(k) && take_catalog(k);
    if (there) {
        mr_buf_clear(&sql);
        mr_buf_puts(&literal, "::pg_catalog.regclass");
        pg_describe_relation(&sql, mr_buf_cstr(&literal));
        there = take_columns(k, pg_ask(k->a, PG_PATH_OWN, mr_buf_cstr(&sql)));
    }
    mr_buf_puts(&k->from, k->f->name);
    (void)mr_buf_cstr(&k->from);
    mr_buf_free(&literal);
    mr_buf_free(&sql);
    return there;
}

static PGresult *ask_columns_of(struct looking *k, const PGresult *empty)
{
    size_t count = (size_t)PQnfields(empty);
    struct pg_result_column *columns = calloc(count + 1, sizeof *columns);
    struct mr_buf sql;
    assert(columns);
    for (size_t i = 0; i < count; i++)
        columns[i] = (struct pg_result_column){.name = PQfname(empty, (int)i), .type_oid = PQftype(empty, (int)i), .typmod = PQfmod(empty, (int)i)};
    mr_buf_init(&sql, SQL_MOST);
    pg_describe_result(&sql, columns, count);
    free(columns);
    PGresult *r = pg_ask(k->a, PG_PATH_OWN, mr_buf_cstr(&sql));
    mr_buf_free(&sql);
    return r;
}

static bool look_at_query(struct looking *k)
{
    struct mr_buf sql;
    k->f->kind = 'q';
    k->f->relations = 1;
    k->f->whole = true;
    snprintf(k->f->role, sizeof k->f->role, "%s", k->server->role);
    if (k->s->watermark)
        snprintf(k->f->column, sizeof k->f->column, "%s", k->s->watermark);
    mr_buf_printf(&k->from, "(%s\n)", k->s->query);
    mr_buf_init(&sql, SQL_MOST);
    mr_buf_printf(&sql, "SELECT * FROM %s AS t LIMIT 0", mr_buf_cstr(&k->from));
    PGresult *r = pg_ask(k->a, PG_PATH_OWN, mr_buf_cstr(&sql));
    mr_buf_free(&sql);
    if (!r) {
        told(k, "the query");
        return false;
    }
    pg_method_relation(&k->method, 'q', false, false, 0, 1);
    bool fine = take_columns(k, ask_columns_of(k, r));
    PQclear(r);
    return fine;
}

static void choose(struct looking *k)
{
    struct pg_method_facts *m = &k->method;
    struct pg_table_facts *f = k->f;
    m->table = k->s->table;
    m->asked = k->s->method;
    m->watermark = k->watermark != NULL;
    m->standby = k->server->standby;
    m->primary = k->o->primary_dsn != NULL;
    m->every_ms = postgres_schedule(k->o, k->s).every_ms;
    if (k->s->mode != PG_SNAPSHOT)
        (void)(pg_method_choose(m, &f->method, &f->why, &f->refused) == MR_OK); /* else f->refused says why */
}

bool pg_facts_stream(struct pg_asking *a, const struct postgres_options *o, const struct pg_stream_options *s, const struct pg_server_facts *server, struct pg_lines *l, struct pg_table_facts *f)
{
    struct looking k = {.a = a, .o = o, .s = s, .server = server, .l = l, .f = f};
    const int64_t interval_ms = f->interval_ms;
    *f = (struct pg_table_facts){.interval_ms = interval_ms, .version = server->number, .standby = server->standby, .null_share = -1, .nulls = -1, .ahead = -1, .plan_rows = -1, .plan_cost = -1, .rows = -1};
    mr_buf_init(&k.oids, SQL_MOST);
    mr_buf_init(&k.from, SQL_MOST);
    pg_method_none(&k.method);
    bool there = s->query ? look_at_query(&k) : look_at_table(&k);
    if (there) {
        note_columns(&k);
        choose(&k);
        struct pg_column watermark = k.watermark ? *k.watermark : (struct pg_column){0};
        k.watermark = k.watermark ? &watermark : NULL; /* it need not be among those that are kept */
        there = try_select(&k);
        if (there && (f->kind == 'v' || f->kind == 'f' || f->kind == 'q'))
            take_plan(&k);
        if (there && k.watermark && s->mode != PG_SNAPSHOT)
            look_at_watermark(&k);
    }
    pg_columns_free(&k.columns);
    mr_buf_free(&k.oids);
    mr_buf_free(&k.from);
    return there;
}
