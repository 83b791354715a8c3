/* SPDX-License-Identifier: Apache-2.0 */
/* row.c - a row of binary COPY as a JSON object.
 *
 *      COPY's data: "PGCOPY\n\377\r\n\0", int32 flags (bit 16: rows have oids), int32 length of more header; rows; int16 -1
 *      row: int16 count of fields; a field: int32 length (-1: NULL), bytes. All big-endian
 *
 * Runs once a row and a field: nothing is allocated but `out`'s growth, and numbers are written straight into its room. */
#include "numbers.h"
#include "types.h"

#include "millrace/hash.h"
#include "millrace/json.h"

#include <inttypes.h>
#include <math.h>

enum { ROOM = 64 }; /* any field that is not of changing length, with its quotes */
_Static_assert(ROOM >= PG_TIME_ROOM + 2 && ROOM >= PG_NUMBER_ROOM + 2, "a number or a time fits");

/* -- COPY's data, and fields --------------------------------------------------------------------------------------- */

enum { SIGNATURE = 11, HEADER = SIGNATURE + 8 };

enum mr_code pg_copy_take(struct pg_copy *copy, struct mr_str *message, enum pg_copy_what *what, struct mr_err *err)
{
    static const char signature[SIGNATURE] = "PGCOPY\n\377\r\n";
    const unsigned char *p = (const unsigned char *)message->p;
    if (!copy->begun) {
        if (message->n < HEADER || memcmp(p, signature, SIGNATURE) != 0)
            return mr_err_set(err, MR_EMALFORMED, "what came does not begin as binary COPY does");
        uint32_t flags = pg_be32(p + SIGNATURE), more = pg_be32(p + SIGNATURE + 4);
        if (flags >> 16 != 0)
            return mr_err_set(err, MR_EMALFORMED, "binary COPY with flags %08" PRIx32 ", of which nothing is known", flags);
        if (more > message->n - HEADER)
            return mr_err_set(err, MR_EMALFORMED, "the header of binary COPY is cut");
        copy->begun = true;
        message->p += HEADER + more;
        message->n -= HEADER + more;
        p = (const unsigned char *)message->p;
    }
    if (message->n == 1)
        return mr_err_set(err, MR_EMALFORMED, "a row of one byte");
    if (message->n == 0)
        *what = PG_COPY_NOTHING;
    else if (pg_be16(p) != 0xffff)
        *what = PG_COPY_ROW;
    else if (message->n == 2)
        *what = PG_COPY_END;
    else
        return mr_err_set(err, MR_EMALFORMED, "%zu bytes behind the end of binary COPY", message->n - 2);
    return MR_OK;
}

bool pg_fields_begin(struct pg_fields *f, struct mr_str row)
{
    *f = (struct pg_fields){0};
    if (row.n < 2 || pg_be16((const unsigned char *)row.p) > INT16_MAX)
        return false;
    f->at = (const unsigned char *)row.p;
    f->end = f->at + row.n;
    f->left = pg_be16(f->at);
    f->at += 2;
    return true;
}

static inline bool next(struct pg_fields *f, struct pg_field *out)
{
    if (f->left == 0 || f->end - f->at < 4)
        return false;
    int32_t n = (int32_t)pg_be32(f->at);
    if (n < -1 || (n > 0 && n > f->end - f->at - 4))
        return false;
    f->left--;
    *out = (struct pg_field){f->at + 4, n};
    f->at += 4 + (n > 0 ? n : 0);
    return true;
}

bool pg_fields_next(struct pg_fields *f, struct pg_field *out)
{
    return next(f, out);
}

bool pg_field_int2(struct pg_field f, int16_t *out)
{
    if (f.n == 2)
        *out = (int16_t)pg_be16(f.p);
    return f.n == 2;
}

bool pg_field_uint4(struct pg_field f, uint32_t *out)
{
    if (f.n == 4)
        *out = pg_be32(f.p);
    return f.n == 4;
}

bool pg_field_int4(struct pg_field f, int32_t *out)
{
    if (f.n == 4)
        *out = (int32_t)pg_be32(f.p);
    return f.n == 4;
}

bool pg_field_int8(struct pg_field f, int64_t *out)
{
    if (f.n == 8)
        *out = (int64_t)pg_be64(f.p);
    return f.n == 8;
}

bool pg_field_tid(struct pg_field f, uint32_t *block, uint16_t *offset)
{
    if (f.n != 6)
        return false;
    *block = pg_be32(f.p);
    *offset = pg_be16(f.p + 4);
    return true;
}

/* -- values -------------------------------------------------------------------------------------------------------- */

#define WORD(w, literal) (memcpy(w, literal, sizeof(literal) - 1), (w) + sizeof(literal) - 1)

/* A float that is no number; NULL: it is one. */
static char *put_not_finite(char *w, double v)
{
    if (isfinite(v))
        return NULL;
    return isnan(v) ? WORD(w, "\"NaN\"") : v > 0 ? WORD(w, "\"Infinity\"") : WORD(w, "\"-Infinity\"");
}

static char *put_float8(char *w, const unsigned char *p)
{
    uint64_t bits = pg_be64(p);
    double v;
    memcpy(&v, &bits, sizeof v);
    char *end = put_not_finite(w, v);
    return end ? end : pg_put_float8(w, v);
}

static char *put_float4(char *w, const unsigned char *p)
{
    uint32_t bits = pg_be32(p);
    float v;
    memcpy(&v, &bits, sizeof v);
    char *end = put_not_finite(w, (double)v);
    return end ? end : pg_put_float4(w, v);
}

static char *put_uuid(char *w, const unsigned char *p)
{
    static const char digits[] = "0123456789abcdef";
    *w++ = '"';
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *w++ = '-';
        *w++ = digits[p[i] >> 4];
        *w++ = digits[p[i] & 15];
    }
    *w++ = '"';
    return w;
}

/* One byte of no encoding; those that are not ASCII as PostgreSQL 16 writes them. */
static char *put_char(char *w, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    *w++ = '"';
    if (c >= 0x80) {
        *w++ = '\\';
        *w++ = '\\';
        *w++ = (char)('0' + (c >> 6));
        *w++ = (char)('0' + (c >> 3 & 7));
        *w++ = (char)('0' + (c & 7));
    } else if (c == '"' || c == '\\') {
        *w++ = '\\';
        *w++ = (char)c;
    } else if (c >= 0x20) {
        *w++ = (char)c;
    } else if (c) {
        w = WORD(w, "\\u00");
        *w++ = digits[c >> 4];
        *w++ = digits[c & 15];
    }
    *w++ = '"';
    return w;
}

static char *put_tid(char *w, const unsigned char *p)
{
    w = WORD(w, "\"(");
    w = pg_put_u64(w, pg_be32(p));
    *w++ = ',';
    w = pg_put_u64(w, pg_be16(p + 4));
    return WORD(w, ")\"");
}

static void put_numeric(struct mr_buf *out, struct pg_field f, bool string, bool *malformed)
{
    size_t room;
    switch (pg_numeric_check(f.p, (size_t)f.n, &room)) {
    case PG_NUMERIC_MALFORMED:
        *malformed = true;
        return;
    case PG_NUMERIC_NAN:
        mr_buf_puts(out, "\"NaN\"");
        return;
    case PG_NUMERIC_PLUS_INFINITY:
        mr_buf_puts(out, "\"Infinity\"");
        return;
    case PG_NUMERIC_MINUS_INFINITY:
        mr_buf_puts(out, "\"-Infinity\"");
        return;
    case PG_NUMERIC_FINITE:
        break;
    }
    if (!mr_buf_reserve(out, room + 2))
        return;
    char *w = out->p + out->n;
    if (string)
        *w++ = '"';
    w = pg_put_numeric(w, f.p);
    if (string)
        *w++ = '"';
    out->n = (size_t)(w - out->p);
}

/* JSON as it is. What our scanner does not take (too deep, no UTF-8) is kept as a string. */
static void put_json(struct mr_buf *out, struct mr_str text, bool string)
{
    if (string) {
        mr_json_put_string(out, text);
        return;
    }
    switch (mr_json_compact(text, out, NULL)) {
    case MR_OK:
        return;
    case MR_EMALFORMED:
        mr_json_put_string(out, text);
        return;
    default:
        out->failed = true;
    }
}

static void put_bytes(struct mr_buf *out, struct mr_str bytes, enum pg_bytea_as as)
{
    if (as == PG_BYTEA_HEX) {
        mr_buf_put(out, "\"\\\\x", 4);
        mr_hex_put(out, bytes.p, bytes.n);
    } else {
        mr_buf_putc(out, '"');
        mr_base64_put(out, bytes);
    }
    mr_buf_putc(out, '"');
}

/* A value that has no fixed size. false: malformed. */
static bool put_long(enum pg_form form, const struct pg_style *style, struct pg_field f, struct mr_buf *out)
{
    struct mr_str text = {(const char *)f.p, (size_t)f.n};
    bool malformed = false;
    switch (form) {
    case PG_FORM_NUMERIC:
        put_numeric(out, f, style->numeric_string, &malformed);
        return !malformed;
    case PG_FORM_BYTEA:
        put_bytes(out, text, style->bytea);
        return true;
    case PG_FORM_JSONB:
        if (f.n < 1 || f.p[0] != 1) /* its version */
            return false;
        text.p++;
        text.n--;
        put_json(out, text, style->json_string);
        return true;
    case PG_FORM_JSON:
        put_json(out, text, style->json_string);
        return true;
    case PG_FORM_ARRAY:
    case PG_FORM_COMPOSITE:
    case PG_FORM_HSTORE:
        put_json(out, text, false);
        return true;
    default:
        mr_json_put_string(out, text);
        return true;
    }
}

#define SIZED(bytes)                                                                                                                                           \
    if (f.n != (bytes))                                                                                                                                        \
    return NULL
#define QUOTED(put)                                                                                                                                            \
    *w++ = '"';                                                                                                                                                \
    w = put;                                                                                                                                                   \
    *w++ = '"';                                                                                                                                                \
    return w

/* A value of fixed size, into ROOM bytes. NULL: malformed. */
static inline char *put_short(char *w, enum pg_form form, const struct pg_style *style, struct pg_field f)
{
    int64_t us;
    switch (form) {
    case PG_FORM_BOOL:
        SIZED(1);
        return f.p[0] ? WORD(w, "true") : WORD(w, "false");
    case PG_FORM_INT2:
        SIZED(2);
        return pg_put_i64(w, (int16_t)pg_be16(f.p));
    case PG_FORM_INT4:
        SIZED(4);
        return pg_put_i64(w, (int32_t)pg_be32(f.p));
    case PG_FORM_UINT4:
        SIZED(4);
        return pg_put_u64(w, pg_be32(f.p));
    case PG_FORM_INT8:
        SIZED(8);
        if (!style->bigint_string)
            return pg_put_i64(w, (int64_t)pg_be64(f.p));
        QUOTED(pg_put_i64(w, (int64_t)pg_be64(f.p)));
    case PG_FORM_XID8:
        SIZED(8);
        if (!style->bigint_string)
            return pg_put_u64(w, pg_be64(f.p));
        QUOTED(pg_put_u64(w, pg_be64(f.p)));
    case PG_FORM_FLOAT4:
        SIZED(4);
        return put_float4(w, f.p);
    case PG_FORM_FLOAT8:
        SIZED(8);
        return put_float8(w, f.p);
    case PG_FORM_CHAR:
        SIZED(1);
        return put_char(w, f.p[0]);
    case PG_FORM_DATE:
        SIZED(4);
        QUOTED(pg_put_date(w, (int32_t)pg_be32(f.p)));
    case PG_FORM_TIME:
        SIZED(8);
        us = (int64_t)pg_be64(f.p);
        if (us < 0 || us > INT64_C(86400000000))
            return NULL;
        QUOTED(pg_put_time(w, us));
    case PG_FORM_TIMESTAMP:
        SIZED(8);
        QUOTED(pg_put_timestamp(w, (int64_t)pg_be64(f.p), 0));
    case PG_FORM_TIMESTAMPTZ:
        SIZED(8);
        QUOTED(pg_put_timestamp(w, (int64_t)pg_be64(f.p), 'Z'));
    case PG_FORM_UUID:
        SIZED(16);
        return put_uuid(w, f.p);
    case PG_FORM_TID:
        SIZED(6);
        return put_tid(w, f.p);
    default:
        return NULL;
    }
}

static bool is_long(enum pg_form form)
{
    const uint32_t longs = 1u << PG_FORM_NUMERIC | 1u << PG_FORM_TEXT | 1u << PG_FORM_BYTEA | 1u << PG_FORM_JSON | 1u << PG_FORM_JSONB | 1u << PG_FORM_MONEY |
                           1u << PG_FORM_CAST | 1u << PG_FORM_ARRAY | 1u << PG_FORM_COMPOSITE | 1u << PG_FORM_HSTORE;
    return longs >> form & 1;
}

/* ,"name":value; false: the value is malformed. */
static inline bool put_column(const struct pg_column *c, const struct pg_style *style, struct pg_field f, struct mr_buf *out, struct pg_value *value)
{
    if (!mr_buf_reserve(out, c->key_n + ROOM))
        return true; /* out says so */
    memcpy(out->p + out->n, c->key, c->key_n);
    size_t at = out->n += c->key_n;
    bool fine = true;
    if (f.n < 0) {
        memcpy(out->p + at, "null", 4);
        out->n = at + 4;
    } else if (is_long(c->form)) {
        fine = put_long(c->form, style, f, out);
    } else {
        char *end = put_short(out->p + at, c->form, style, f);
        fine = end;
        out->n = end ? (size_t)(end - out->p) : at;
    }
    if (value)
        *value = (struct pg_value){at, out->n - at, f};
    return fine;
}

/* The lengths behind the columns: what was left out for its size. */
static enum mr_code put_omitted(const struct pg_columns *c, uint64_t max_row, struct pg_fields *f, struct mr_buf *omitted, struct mr_err *err)
{
    size_t before = omitted ? omitted->n : 0;
    struct pg_field length;
    for (size_t i = 0; i < c->count; i++) {
        const struct pg_column *column = &c->items[i];
        if (!pg_column_guarded(column, max_row))
            continue;
        if (!next(f, &length) || (length.n != -1 && length.n != 8))
            return mr_err_set(err, MR_EMALFORMED, "column %s: the field for its length is no int8", column->name);
        if (length.n == -1 || !omitted)
            continue;
        mr_buf_put(omitted, column->key, column->key_n);
        if (!omitted->failed && omitted->p[before] == ',')
            omitted->p[before] = '{';
        mr_buf_u64(omitted, pg_be64(length.p));
    }
    if (omitted && omitted->n > before)
        mr_buf_putc(omitted, '}');
    return MR_OK;
}

static enum mr_code put_all(const struct pg_columns *c, const struct pg_style *style, struct mr_str row, size_t skip, uint64_t max_row, struct mr_buf *out,
                            struct pg_value *values, struct mr_buf *omitted, struct mr_err *err)
{
    struct pg_fields f;
    struct pg_field field;
    size_t before = out->n, fields = skip + pg_select_fields(c, max_row);
    if (!pg_fields_begin(&f, row) || f.left != fields)
        return mr_err_set(err, MR_EMALFORMED, "a row of %u fields, where %zu were asked for", f.left, fields);
    for (size_t i = 0; i < skip; i++)
        if (!next(&f, &field))
            return mr_err_set(err, MR_EMALFORMED, "field %zu of the row is cut", i + 1);
    if (c->count == 0)
        mr_buf_putc(out, '{');
    for (size_t i = 0; i < c->count; i++) {
        const struct pg_column *column = &c->items[i];
        if (!next(&f, &field))
            return mr_err_set(err, MR_EMALFORMED, "column %s: its field is cut", column->name);
        if (!put_column(column, style, field, out, values ? &values[i] : NULL))
            return mr_err_set(err, MR_EMALFORMED, "column %s: %d bytes that are no %s", column->name, (int)field.n, column->type);
    }
    enum mr_code code = max_row > 0 ? put_omitted(c, max_row, &f, omitted, err) : MR_OK;
    if (code != MR_OK)
        return code;
    if (f.at != f.end)
        return mr_err_set(err, MR_EMALFORMED, "%zu bytes behind the row's last field", (size_t)(f.end - f.at));
    mr_buf_putc(out, '}');
    if (out->failed || (omitted && omitted->failed))
        return mr_err_set(err, MR_ETOOBIG, "a row of %zu bytes does not fit into the %zu that are left", row.n, out->limit - before);
    out->p[before] = '{'; /* over the first column's comma */
    return MR_OK;
}

enum mr_code pg_row_put(const struct pg_columns *c, const struct pg_style *style, struct mr_str row, size_t skip, uint64_t max_row, struct mr_buf *out,
                        struct pg_value *values, struct mr_buf *omitted, struct mr_err *err)
{
    struct mr_buf before = *out, omitted_before = omitted ? *omitted : (struct mr_buf){0};
    enum mr_code code = put_all(c, style, row, skip, max_row, out, values, omitted, err);
    if (code == MR_OK)
        return MR_OK;
    out->n = before.n;
    out->failed = before.failed;
    if (omitted) {
        omitted->n = omitted_before.n;
        omitted->failed = omitted_before.failed;
    }
    return code;
}
