/* SPDX-License-Identifier: Apache-2.0 */
/* select.c - the SQL that describes columns, and the select list that asks for them.
 *
 * Every name is quoted and every function, type and cast is pg_catalog's, whatever the search path is. What a type's cast to text gives is what its input
 * function takes; to_json says all of an array or a composite but for three things, which are asked for here, and then the value is a string in
 * PostgreSQL's own notation:
 *  - a lower bound other than 1; in a text it shows as ]={
 *  - JSON's null in a json or jsonb, which would look like NULL
 *  - an array of json with more than one dimension, whose inner arrays would look like elements */
#include "oids.h"
#include "types.h"

#include <inttypes.h>

#define TEXT "::pg_catalog.text"

void pg_ident_put(struct mr_buf *sql, const char *name)
{
    mr_buf_putc(sql, '"');
    for (; *name; name++) {
        if (*name == '"')
            mr_buf_putc(sql, '"');
        mr_buf_putc(sql, *name);
    }
    mr_buf_putc(sql, '"');
}

/* E'…' means the same whatever standard_conforming_strings says. */
static void put_literal(struct mr_buf *sql, const char *text)
{
    mr_buf_puts(sql, "E'");
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            mr_buf_putc(sql, *text);
        mr_buf_putc(sql, *text);
    }
    mr_buf_putc(sql, '\'');
}

/* -- describing ---------------------------------------------------------------------------------------------------- */

/* The type below a domain (of a domain …) */
#define BELOW(alias)                                                                                                                                           \
    "CASE " alias ".typtype WHEN 'd' THEN (WITH RECURSIVE d(oid) AS (SELECT " alias ".typbasetype UNION ALL SELECT u.typbasetype FROM d "                        \
    "JOIN pg_catalog.pg_type u ON u.oid = d.oid WHERE u.typtype = 'd') "                                                                                        \
    "SELECT d.oid FROM d JOIN pg_catalog.pg_type u ON u.oid = d.oid WHERE u.typtype <> 'd') ELSE " alias ".oid END"
/* Has a cast to json: to_json makes an object of it. */
#define IS_HSTORE(alias)                                                                                                                                       \
    "(" alias ".typname = 'hstore' AND EXISTS (SELECT FROM pg_catalog.pg_cast k WHERE k.castsource = " alias ".oid AND k.casttarget = 114))"

static const char described[] =
    "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.atttypid, b.oid, b.typtype, b.typlen, a.atttypmod, "
    "a.attnotnull OR t.typnotnull, a.readable, coalesce(e.oid, 0), e.typtype, e.typcategory, "
    "CASE WHEN e.oid IS NULL THEN " IS_HSTORE("b") " ELSE " IS_HSTORE("e") " END FROM (";
static const char from_types[] =
    ") a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid JOIN pg_catalog.pg_type b ON b.oid = " BELOW("t") " "
    "LEFT JOIN pg_catalog.pg_type o ON o.oid = b.typelem AND o.typarray = b.oid LEFT JOIN pg_catalog.pg_type e ON e.oid = " BELOW("o") " ORDER BY a.attnum";

void pg_describe_relation(struct mr_buf *sql, const char *relation)
{
    mr_buf_puts(sql, described);
    mr_buf_puts(sql, "SELECT attnum, attname, atttypid, atttypmod, attnotnull, pg_catalog.has_column_privilege(attrelid, attnum, 'SELECT') AS readable "
                     "FROM pg_catalog.pg_attribute WHERE attnum > 0 AND NOT attisdropped AND attrelid = ");
    mr_buf_puts(sql, relation);
    mr_buf_puts(sql, from_types);
}

void pg_describe_stamp(struct mr_buf *sql, const char *relation)
{
    mr_buf_puts(sql, "(SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(',', a.attnum, pg_catalog.quote_ident(a.attname), a.atttypid, a.atttypmod, "
                     "a.attnotnull, pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT')), ';' ORDER BY a.attnum)) "
                     "FROM pg_catalog.pg_attribute a WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid = ");
    mr_buf_puts(sql, relation);
    mr_buf_putc(sql, ')');
}

void pg_describe_result(struct mr_buf *sql, const struct pg_result_column *columns, size_t count)
{
    mr_buf_puts(sql, described);
    mr_buf_puts(sql, "SELECT attnum, attname, atttypid, atttypmod, false AS attnotnull, true AS readable FROM (VALUES ");
    for (size_t i = 0; i < count; i++) {
        mr_buf_printf(sql, "%s(%zu, ", i ? ", " : "", i + 1);
        put_literal(sql, columns[i].name);
        mr_buf_printf(sql, ", %" PRIu32 "::pg_catalog.oid, %" PRId32 ")", columns[i].type_oid, columns[i].typmod);
    }
    mr_buf_printf(sql, "%s) v(attnum, attname, atttypid, atttypmod)%s", count ? "" : "(0, '', 0::pg_catalog.oid, -1)", count ? "" : " WHERE false");
    mr_buf_puts(sql, from_types);
}

/* -- asking -------------------------------------------------------------------------------------------------------- */

struct list {
    struct mr_buf *sql;
    const struct pg_style *style;
    uint64_t max_row;
    const char *alias;
};

static void put_name(const struct list *l, const struct pg_column *c)
{
    if (l->alias) {
        mr_buf_puts(l->sql, l->alias);
        mr_buf_putc(l->sql, '.');
    }
    pg_ident_put(l->sql, c->name);
}

/* Writes `text` with the column's name for each @. */
static void put_with_name(const struct list *l, const struct pg_column *c, const char *text)
{
    for (const char *at; (at = strchr(text, '@')); text = at + 1) {
        mr_buf_put(l->sql, text, (size_t)(at - text));
        put_name(l, c);
    }
    mr_buf_puts(l->sql, text);
}

/* What to_json is to be given, so that an array's elements come as a column of their type does. */
static const char *elements_as(const struct pg_column *c, const struct pg_style *style)
{
    if (c->elements == PG_ELEMENTS_FOREIGN)
        return "::pg_catalog.text[]";
    switch (c->element_oid) {
    case PG_OID_XML: /* its output function takes its declaration off, its cast does not */
        return "::pg_catalog.text[]";
    case PG_OID_INT8:
        return style->bigint_string ? "::pg_catalog.text[]" : "";
    case PG_OID_XID8:
        return style->bigint_string ? "::pg_catalog.text[]" : "::pg_catalog.text[]::pg_catalog.numeric[]";
    case PG_OID_NUMERIC:
        return style->numeric_string ? "::pg_catalog.text[]" : "";
    case PG_OID_OID:
        return "::pg_catalog.int8[]";
    case PG_OID_XID:
    case PG_OID_CID:
        return "::pg_catalog.text[]::pg_catalog.int8[]";
    case PG_OID_MONEY:
        return "::pg_catalog.numeric[]::pg_catalog.text[]";
    case PG_OID_JSON:
    case PG_OID_JSONB:
        return style->json_string ? "::pg_catalog.text[]" : "";
    default:
        return "";
    }
}

#define NULL_OF_JSON "'(^|[(,{\"])[[:space:]]*null[[:space:]]*([]),}\"]|$)'"
#define BOUNDS "pg_catalog.array_lower(@, 1) <> 1 OR pg_catalog.array_lower(@, 2) <> 1 OR pg_catalog.array_lower(@, 3) <> 1 OR " \
               "pg_catalog.array_lower(@, 4) <> 1 OR pg_catalog.array_lower(@, 5) <> 1 OR pg_catalog.array_lower(@, 6) <> 1"

/* When JSON cannot say all of it. */
static const char *unsayable(const struct pg_column *c, const struct pg_style *style)
{
    bool json = (c->element_oid == PG_OID_JSON || c->element_oid == PG_OID_JSONB) && !style->json_string;
    if (c->form == PG_FORM_COMPOSITE || c->elements == PG_ELEMENTS_COMPOSITE)
        return "pg_catalog.strpos(@" TEXT ", ']={') > 0 OR @" TEXT " ~ " NULL_OF_JSON;
    if (json && c->element_oid == PG_OID_JSONB)
        return BOUNDS " OR pg_catalog.array_ndims(@) > 1 OR 'null'::pg_catalog.jsonb = ANY (@)";
    if (json)
        return BOUNDS " OR pg_catalog.array_ndims(@) > 1 OR EXISTS (SELECT FROM pg_catalog.unnest(@) j WHERE pg_catalog.json_typeof(j) = 'null')";
    return BOUNDS;
}

static void put_json(const struct list *l, const struct pg_column *c)
{
    put_with_name(l, c, "(CASE WHEN ");
    put_with_name(l, c, unsayable(c, l->style));
    put_with_name(l, c, " THEN pg_catalog.to_json(@");
    mr_buf_puts(l->sql, c->element_oid == PG_OID_XML ? elements_as(c, l->style) : "");
    put_with_name(l, c, TEXT ") ELSE pg_catalog.to_json(@");
    mr_buf_puts(l->sql, elements_as(c, l->style));
    mr_buf_puts(l->sql, ") END)" TEXT);
}

/* The value, as it is to arrive. */
static void put_value(const struct list *l, const struct pg_column *c)
{
    switch (c->form) {
    case PG_FORM_MONEY:
        put_with_name(l, c, "@::pg_catalog.numeric" TEXT);
        break;
    case PG_FORM_CAST:
        put_with_name(l, c, "@" TEXT);
        break;
    case PG_FORM_ARRAY:
        if (c->elements == PG_ELEMENTS_ARRAYS)
            put_with_name(l, c, "pg_catalog.to_json(@" TEXT ")" TEXT);
        else
            put_json(l, c);
        break;
    case PG_FORM_COMPOSITE:
        put_json(l, c);
        break;
    case PG_FORM_HSTORE:
        put_with_name(l, c, "pg_catalog.to_json(@)" TEXT);
        break;
    default:
        put_name(l, c);
    }
}

/* The length of what put_value gives. Of these three it is known without fetching the value. */
static void put_length(const struct list *l, const struct pg_column *c)
{
    bool cheap = c->form == PG_FORM_TEXT || c->form == PG_FORM_BYTEA || c->form == PG_FORM_JSON;
    mr_buf_puts(l->sql, "pg_catalog.octet_length(");
    if (cheap && c->form != PG_FORM_JSON)
        put_name(l, c);
    else if (cheap || c->form == PG_FORM_JSONB)
        put_with_name(l, c, "@" TEXT);
    else
        put_value(l, c);
    mr_buf_putc(l->sql, ')');
}

/* Is it too large? Making a text of a value only to measure it is dear, so what is stored in few bytes is not measured: it would have to become more than
 * 1,000 times as large (compression makes 255 of that). */
static void put_too_large(const struct list *l, const struct pg_column *c)
{
    uint64_t few = l->max_row / 1024 < 8192 ? l->max_row / 1024 : 8192;
    bool cheap = c->form == PG_FORM_TEXT || c->form == PG_FORM_BYTEA || c->form == PG_FORM_JSON;
    if (!cheap && few > 0) {
        put_with_name(l, c, "pg_catalog.pg_column_size(@)");
        mr_buf_printf(l->sql, " > %" PRIu64 " AND ", few);
    }
    put_length(l, c);
    mr_buf_printf(l->sql, " > %" PRIu64, l->max_row);
}

bool pg_column_guarded(const struct pg_column *c, uint64_t max_row)
{
    return max_row > 0 && c->size_max > max_row;
}

size_t pg_select_fields(const struct pg_columns *c, uint64_t max_row)
{
    size_t n = c->count;
    if (max_row > 0)
        for (size_t i = 0; i < c->count; i++)
            n += pg_column_guarded(&c->items[i], max_row);
    return n;
}

void pg_select_list(const struct pg_columns *c, const struct pg_style *style, uint64_t max_row, const char *alias, struct mr_buf *sql)
{
    const struct list l = {sql, style, max_row, alias};
    for (size_t i = 0; i < c->count; i++) {
        const struct pg_column *column = &c->items[i];
        bool guarded = pg_column_guarded(column, max_row);
        mr_buf_puts(sql, i ? ", " : "");
        if (guarded) {
            mr_buf_puts(sql, "CASE WHEN ");
            put_too_large(&l, column);
            mr_buf_puts(sql, " THEN NULL ELSE ");
        }
        put_value(&l, column);
        if (guarded)
            mr_buf_puts(sql, " END");
    }
    for (size_t i = 0; i < c->count; i++) {
        if (!pg_column_guarded(&c->items[i], max_row))
            continue;
        mr_buf_puts(sql, ", CASE WHEN ");
        put_too_large(&l, &c->items[i]);
        mr_buf_puts(sql, " THEN ");
        put_length(&l, &c->items[i]);
        mr_buf_puts(sql, "::pg_catalog.int8 END");
    }
}
