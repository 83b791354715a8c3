/* SPDX-License-Identifier: Apache-2.0 */
/* types.h - from PostgreSQL's types to JSON: which columns there are, how each is asked for, and how a row of binary COPY becomes an object. Pure.
 *
 * The rule: PostgreSQL, given the landed JSON text and the column's type, reads back the identical value. Types whose binary form we know are
 * selected as they are and written here; of every other type the server sends a text. Thus extensions' types need no code.
 *
 *      bool                        true, false
 *      int2 int4 int8 oid xid cid  number; int8 and xid8 with bigint_string: string
 *      float4 float8               number with the fewest digits that read back; "NaN", "Infinity", "-Infinity"
 *      numeric                     number with all its digits and its scale (1.10 stays 1.10); or string; "NaN", "Infinity", "-Infinity"
 *      timestamptz timestamp       "2026-11-22T21:25:22.123456Z", without Z; "infinity", "-infinity"; "10000-01-01T…", "0044-03-15T12:00:00.000000Z BC"
 *      date                        "2026-11-22", "0044-03-15 BC", "infinity"
 *      time                        as PostgreSQL writes it: "24:00:00", "21:25:22.5"
 *      bytea                       base64, or \x and hex
 *      json jsonb                  embedded, without white space between the tokens; or a string. NULL and JSON's null are told apart by the string only
 *      text varchar char(n) name "char" enum uuid tid       string
 *      arrays, composites, hstore  to_json's array or object (bytes in it are \x hex, times have +00:00). What JSON cannot say (a lower bound
 *                                  other than 1, JSON's null or dimensions in an array of json) is a string in PostgreSQL's own notation
 *      all others                  string: the value cast to text (ranges, interval, timetz, inet, bit, xml, tsvector, geometry …; money as numeric)
 *
 * The session that sends the rows has: timezone UTC, datestyle ISO, intervalstyle iso_8601, extra_float_digits 1, bytea_output hex, search_path
 * pg_catalog, client_encoding UTF8. */
#ifndef MR_POSTGRES_TYPES_H
#define MR_POSTGRES_TYPES_H

#include "millrace/buf.h"

/* What arrives in a field, and thereby how it is written. */
enum pg_form {
    PG_FORM_BOOL,
    PG_FORM_INT2,
    PG_FORM_INT4,
    PG_FORM_INT8,
    PG_FORM_UINT4, /* oid, xid, cid */
    PG_FORM_XID8,
    PG_FORM_FLOAT4,
    PG_FORM_FLOAT8,
    PG_FORM_NUMERIC,
    PG_FORM_TEXT, /* text, varchar, char(n), name, enums */
    PG_FORM_CHAR, /* "char": one byte */
    PG_FORM_BYTEA,
    PG_FORM_DATE,
    PG_FORM_TIME,
    PG_FORM_TIMESTAMP,
    PG_FORM_TIMESTAMPTZ,
    PG_FORM_UUID,
    PG_FORM_TID,
    PG_FORM_JSON,
    PG_FORM_JSONB,
    /* wrapped in the select list, and sent as text */
    PG_FORM_MONEY, /* a string */
    PG_FORM_CAST,  /* a string */
    PG_FORM_ARRAY, /* JSON, or a string of JSON: embedded either way */
    PG_FORM_COMPOSITE,
    PG_FORM_HSTORE
};

/* How an array's elements are asked for. */
enum pg_elements {
    PG_ELEMENTS_PLAIN,
    PG_ELEMENTS_COMPOSITE,
    PG_ELEMENTS_ARRAYS, /* of domains over arrays: JSON would take them for dimensions */
    PG_ELEMENTS_FOREIGN /* of an extension's type: their texts */
};

enum pg_bytea_as { PG_BYTEA_BASE64, PG_BYTEA_HEX };
/* As configured; all zero: the defaults. The select list and the rows must be made with the same one. */
struct pg_style {
    bool numeric_string, bigint_string, json_string;
    enum pg_bytea_as bytea;
};

struct pg_column {
    const char *name; /* as in the catalog */
    const char *type; /* as format_type says it, with its modifier: "numeric(10,2)" */
    uint32_t type_oid;    /* as declared, a domain's perhaps */
    uint32_t base_oid;    /* domains resolved */
    uint32_t element_oid; /* of an array: its element's base type; else 0 */
    enum pg_form form;
    enum pg_elements elements;
    bool not_null;
    uint32_t size_max; /* the most bytes a value may have, where that can be much (UINT32_MAX: no bound); 0: it never is much */
    /* inside: the name as JSON, with a comma before and a colon behind */
    const char *key;
    uint32_t key_n;
};
struct pg_columns {
    struct pg_column *items;
    size_t count;
    const char *const *hidden; /* names of columns that this user may not read, in table order */
    size_t hidden_count;
    struct mr_buf texts; /* inside: all texts */
};
void pg_columns_free(struct pg_columns *c); /* {0} is fine */
const struct pg_column *pg_columns_find(const struct pg_columns *c, const char *name); /* exact; NULL: none */
/* What to say of a name that pg_columns_find does not have: may it not be read (MR_EPERM), is another case meant, what is there (MR_ECONFIG)? */
enum mr_code pg_columns_missing(const struct pg_columns *c, const char *name, struct mr_err *err);
/* Keeps those of `names` (in table order). Fails as pg_columns_missing does, of the first that is not there. count 0: keeps all. */
MR_MUST enum mr_code pg_columns_keep(struct pg_columns *c, const char *const *names, size_t count, struct mr_err *err);

/* -- describing ---------------------------------------------------------------------------------------------------- */

/* The statement that describes a relation's columns, a row a column, in table order. It needs no right on the relation.
 * relation: an expression of its oid: "16384" or "'public.orders'::pg_catalog.regclass" (quoted by the caller). */
void pg_describe_relation(struct mr_buf *sql, const char *relation);
/* An expression (text, NULL: no columns) that has another value whenever that statement would say something else. Describing takes the server 2 ms, this
 * 0.1: ask for it at each pull, beside the snapshot, and describe again only if it has changed. */
void pg_describe_stamp(struct mr_buf *sql, const char *relation);
/* The same of a query's result: what an empty execution said of its columns. */
struct pg_result_column {
    const char *name;
    uint32_t type_oid;
    int32_t typmod;
};
void pg_describe_result(struct mr_buf *sql, const struct pg_result_column *columns, size_t count);
enum { PG_DESCRIBE_CELLS = 13 }; /* columns of what these statements give */
typedef const char *(*pg_cell_cb)(void *arg, size_t row, size_t column); /* text format; NULL: NULL. Borrowed until the next call */
/* Takes what one of the statements gave. MR_EMALFORMED; MR_ECONFIG if two columns have one name. Then *out is empty. Owns: the caller frees *out. */
MR_MUST enum mr_code pg_columns_read(struct pg_columns *out, size_t rows, pg_cell_cb cell, void *arg, struct mr_err *err);

/* -- asking -------------------------------------------------------------------------------------------------------- */

/* Appends the select list of a COPY (SELECT … ) TO STDOUT (FORMAT binary): one expression a column, by commas. alias: of the relation, written as it
 * is; NULL: none. max_row > 0: a larger value of a guarded column comes as NULL, and one int8 a guarded column follows behind all columns: the
 * length that was too large, or NULL. A list of no columns is empty. */
void pg_select_list(const struct pg_columns *c, const struct pg_style *style, uint64_t max_row, const char *alias, struct mr_buf *sql);
bool pg_column_guarded(const struct pg_column *c, uint64_t max_row);
size_t pg_select_fields(const struct pg_columns *c, uint64_t max_row); /* how many expressions that were */
void pg_ident_put(struct mr_buf *sql, const char *name);               /* "quoted", whatever it is */

/* -- rows ---------------------------------------------------------------------------------------------------------- */

/* What a message of COPY data holds. The header lies before the first row, in one message with it. */
enum pg_copy_what { PG_COPY_NOTHING, PG_COPY_ROW, PG_COPY_END };
struct pg_copy {
    bool begun; /* {0} at the beginning of each COPY */
};
/* *message becomes the row without the header. MR_EMALFORMED. */
MR_MUST enum mr_code pg_copy_take(struct pg_copy *copy, struct mr_str *message, enum pg_copy_what *what, struct mr_err *err);

/* A cursor over a row's fields, for those that we put before the columns. */
struct pg_field {
    const unsigned char *p;
    int32_t n; /* -1: NULL */
};
struct pg_fields {
    const unsigned char *at, *end;
    unsigned left;
};
bool pg_fields_begin(struct pg_fields *f, struct mr_str row); /* false: it is no row */
bool pg_fields_next(struct pg_fields *f, struct pg_field *out); /* false: no more, or cut */

/* Big-endian numbers of a field of just that size, else false. */
bool pg_field_int2(struct pg_field f, int16_t *out);
bool pg_field_int4(struct pg_field f, int32_t *out);
bool pg_field_uint4(struct pg_field f, uint32_t *out); /* xid, oid */
bool pg_field_int8(struct pg_field f, int64_t *out);   /* xid8 too */
bool pg_field_tid(struct pg_field f, uint32_t *block, uint16_t *offset);

/* Where a column's JSON value lies in `out`, and its bytes in the row. */
struct pg_value {
    size_t at, n;
    struct pg_field field;
};
/* Appends the row's columns as one JSON object, all keys, in table order. `skip` leading fields are passed over. max_row as in the select list. values: NULL, or as many as columns. omitted: gets {"name":bytes,…} if a value was left out for its size, else is left as it is;
 * may be NULL.
 * MR_EMALFORMED names the column; MR_ETOOBIG: out has no room. Then out and omitted are as before. Runs on: any thread; columns and style are read only. */
MR_MUST enum mr_code pg_row_put(const struct pg_columns *c, const struct pg_style *style, struct mr_str row, size_t skip, uint64_t max_row, struct mr_buf *out,
                                struct pg_value *values, struct mr_buf *omitted, struct mr_err *err);

/* -- watermarks ---------------------------------------------------------------------------------------------------- */

/* May a column of this form be one? int2, int4, int8, xid8, date, timestamp, timestamptz. */
bool pg_watermark_form(enum pg_form form);
/* A field in its own unit: microseconds since 1970 (timestamp: of its own zone), days since 1970, or the number itself. Infinities are INT64_MIN and
 * INT64_MAX; so are what lies outside (xid8 above 2^63). false: NULL, or not such a field. */
bool pg_watermark_get(enum pg_form form, struct pg_field f, int64_t *out);
/* Writes it as the column is written: JSON with quotes, if it is a string. */
void pg_watermark_put(enum pg_form form, const struct pg_style *style, int64_t v, struct mr_buf *json);
/* Writes it as an SQL literal, for a WHERE: '2026-11-22T…Z'::pg_catalog.timestamptz, 'infinity'::…, '42'::pg_catalog.int8 */
void pg_watermark_sql(enum pg_form form, int64_t v, struct mr_buf *sql);

#endif
