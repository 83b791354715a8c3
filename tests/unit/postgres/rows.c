/* SPDX-License-Identifier: Apache-2.0 */
/* rows.c - binary COPY by the byte, as PostgreSQL's documentation ("COPY", "File Formats") and its send functions have it. What values become is for fidelity.py,
 * which asks a server; here is what no server sends, and what a server sends so seldom that it must be laid down. */
#include "sources/postgres/types.h"

#include "millrace/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define BYTES(literal) ((struct mr_str){(literal), sizeof(literal) - 1})

/* A column's description, as the server gives it: name, type, its oid, base type, kind, length, typmod, not null, readable, element, its kind and category, hstore. */
typedef const char *cells[PG_DESCRIBE_CELLS];
#define PLAIN(name, type, oid, length) {name, type, oid, oid, "b", length, "-1", "f", "t", "0", NULL, NULL, "f"}
#define INT4(name) PLAIN(name, "integer", "23", "4")
#define TEXT(name) PLAIN(name, "text", "25", "-1")

static const char *cell(void *arg, size_t row, size_t column)
{
    return ((const cells *)arg)[row][column];
}

static struct pg_columns columns_of(const void *rows, size_t count)
{
    struct pg_columns c;
    struct mr_err err;
    enum mr_code code = pg_columns_read(&c, count, cell, (void *)(uintptr_t)rows, &err);
    if (code != MR_OK)
        print_error("%s\n", err.msg);
    assert_int_equal(code, MR_OK);
    return c;
}

static const struct pg_style plain;
static struct mr_buf out, omitted;
static struct mr_err err;
static struct pg_value values[8];

/* The row as JSON, or the error's message. Whatever comes of it, what stood before is still there. */
static const char *put(const struct pg_columns *c, const struct pg_style *style, struct mr_str row, size_t skip, uint64_t max_row)
{
    char *exact = malloc(row.n ? row.n : 1); /* ASan sees the first byte beyond */
    assert_non_null(exact);
    memcpy(exact, row.p, row.n);
    mr_buf_free(&out);
    mr_buf_init(&out, 1 << 20);
    mr_buf_puts(&out, "before ");
    enum mr_code code = pg_row_put(c, style, (struct mr_str){exact, row.n}, skip, max_row, &out, values, &omitted, &err);
    free(exact);
    assert_true(strncmp(mr_buf_cstr(&out), "before ", 7) == 0);
    if (code == MR_OK) {
        json_error_t why;
        json_t *other = json_loads(mr_buf_cstr(&out) + 7, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
        if (!other)
            print_error("%s: %s\n", why.text, mr_buf_cstr(&out));
        assert_non_null(other);
        json_decref(other);
        return mr_buf_cstr(&out) + 7;
    }
    assert_int_equal(code, MR_EMALFORMED);
    assert_int_equal(code, err.code);
    assert_int_equal(out.n, 7);
    return err.msg;
}

/* Of one column of a type: its value's JSON, or the message. */
static const char *one(const char *type, const char *oid, const char *length, struct mr_str bytes)
{
    static char text[200];
    const cells rows[] = {PLAIN("v", type, oid, length)};
    struct pg_columns c = columns_of(rows, 1);
    char row[256] = {0, 1, 0, 0, 0, (char)bytes.n};
    assert_true(bytes.n < 100);
    memcpy(row + 6, bytes.p, bytes.n);
    const char *got = put(&c, &plain, (struct mr_str){row, 6 + bytes.n}, 0, 0);
    if (got[0] == '{')
        snprintf(text, sizeof text, "%.*s", (int)values[0].n, out.p + values[0].at);
    else
        snprintf(text, sizeof text, "%s", got);
    pg_columns_free(&c);
    return text;
}

static void a_row_becomes_an_object(void **state)
{
    const cells rows[] = {INT4("id"), TEXT("a \"b\"")};
    struct pg_columns c = columns_of(rows, 2);
    (void)state;
    assert_string_equal(put(&c, &plain, BYTES("\0\2\0\0\0\4\0\0\0\x2a\0\0\0\2x\n"), 0, 0), "{\"id\":42,\"a \\\"b\\\"\":\"x\\n\"}");
    assert_int_equal(values[0].at, 7 + 6);
    assert_int_equal(values[0].n, 2);
    assert_int_equal(values[1].n, 5);
    assert_int_equal(values[1].field.n, 2);
    assert_string_equal(put(&c, &plain, BYTES("\0\2\377\377\377\377\0\0\0\0"), 0, 0), "{\"id\":null,\"a \\\"b\\\"\":\"\"}");
    assert_int_equal(values[0].field.n, -1);
    assert_string_equal(put(&c, &plain, BYTES("\0\4\0\0\0\1x\377\377\377\377\0\0\0\4\377\377\377\377\0\0\0\1y"), 2, 0), "{\"id\":-1,\"a \\\"b\\\"\":\"y\"}");
    pg_columns_free(&c);
}

static void no_columns_are_an_empty_object(void **state)
{
    struct pg_columns c = columns_of(NULL, 0);
    (void)state;
    assert_string_equal(put(&c, &plain, BYTES("\0\0"), 0, 0), "{}");
    assert_string_equal(put(&c, &plain, BYTES("\0\1\0\0\0\1x"), 1, 100), "{}");
    pg_columns_free(&c);
}

static void what_is_not_as_agreed_names_the_column(void **state)
{
    const cells rows[] = {INT4("id"), TEXT("t")};
    struct pg_columns c = columns_of(rows, 2);
    (void)state;
    assert_non_null(strstr(put(&c, &plain, BYTES(""), 0, 0), "0 fields, where 2"));
    assert_non_null(strstr(put(&c, &plain, BYTES("\0"), 0, 0), "0 fields, where 2"));
    assert_non_null(strstr(put(&c, &plain, BYTES("\0\3\0\0\0\0\0\0\0\0\0\0\0\0"), 0, 0), "3 fields, where 2"));
    assert_non_null(strstr(put(&c, &plain, BYTES("\377\377"), 0, 0), "where 2"));
    assert_non_null(strstr(put(&c, &plain, BYTES("\0\2"), 0, 0), "column id"));
    assert_non_null(strstr(put(&c, &plain, BYTES("\0\2\0\0\0\4\0\0\0"), 0, 0), "column id"));
    assert_non_null(strstr(put(&c, &plain, BYTES("\0\2\0\0\0\3\0\0\0\0\0\0\0"), 0, 0), "column id: 3 bytes that are no integer"));
    assert_non_null(strstr(put(&c, &plain, BYTES("\0\2\0\0\0\4\0\0\0\0\0\0\0\1"), 0, 0), "column t"));
    assert_non_null(strstr(put(&c, &plain, BYTES("\0\2\0\0\0\4\0\0\0\0\0\0\0"), 0, 0), "column t"));
    assert_non_null(strstr(put(&c, &plain, BYTES("\0\2\0\0\0\4\0\0\0\0\177\377\377\377x"), 0, 0), "column t"));
    assert_non_null(strstr(put(&c, &plain, BYTES("\0\2\0\0\0\4\0\0\0\0\377\377\377\376"), 0, 0), "column t"));
    assert_non_null(strstr(put(&c, &plain, BYTES("\0\2\0\0\0\4\0\0\0\0\0\0\0\0x"), 0, 0), "1 bytes behind"));
    assert_non_null(strstr(put(&c, &plain, BYTES("\0\3\0\0\0\4\0\0"), 1, 0), "field 1"));
    pg_columns_free(&c);
}

static void values_of_no_type_are_refused(void **state)
{
    static const struct {
        const char *type, *oid, *length;
        struct mr_str bytes;
    } all[] = {
        {"boolean", "16", "1", {"", 0}},
        {"boolean", "16", "1", {"\0\0", 2}},
        {"smallint", "21", "2", {"\0", 1}},
        {"bigint", "20", "8", {"\0\0\0\0", 4}},
        {"oid", "26", "4", {"\0", 1}},
        {"xid8", "5069", "8", {"\0", 1}},
        {"real", "700", "4", {"\0\0\0\0\0", 5}},
        {"double precision", "701", "8", {"\0\0\0\0\0\0\0", 7}},
        {"\"char\"", "18", "1", {"", 0}},
        {"date", "1082", "4", {"\0\0\0", 3}},
        {"time", "1083", "8", {"\377\377\377\377\377\377\377\377", 8}}, /* before midnight */
        {"time", "1083", "8", {"\0\0\0\x14\x1d\xd7\x60\x01", 8}},       /* behind 24:00 */
        {"timestamp", "1114", "8", {"\0", 1}},
        {"timestamptz", "1184", "8", {"", 0}},
        {"uuid", "2950", "16", {"0123456789abcde", 15}},
        {"tid", "27", "6", {"\0\0\0\0", 4}},
        {"jsonb", "3802", "-1", {"", 0}},
        {"jsonb", "3802", "-1", {"\2{}", 3}}, /* another version */
        {"numeric", "1700", "-1", {"\0\0\0\0\0\0", 6}},
        {"numeric", "1700", "-1", {"\0\1\0\0\0\0\0\0", 8}},          /* its digit is missing */
        {"numeric", "1700", "-1", {"\0\0\0\0\0\0\0\0\0\1", 10}},     /* a digit too many */
        {"numeric", "1700", "-1", {"\0\1\0\0\0\0\0\0\x27\x10", 10}}, /* the digit 10,000 */
        {"numeric", "1700", "-1", {"\0\0\0\0\x12\x34\0\0", 8}},      /* no sign that is known */
        {"numeric", "1700", "-1", {"\0\0\0\0\0\0\x40\0", 8}},        /* more digits behind the point than there can be */
    };
    (void)state;
    for (size_t i = 0; i < MR_COUNT(all); i++) {
        const char *got = one(all[i].type, all[i].oid, all[i].length, all[i].bytes);
        if (!strstr(got, "column v") || !strstr(got, all[i].type))
            print_error("%zu: %s\n", i, got);
        assert_non_null(strstr(got, "column v"));
        assert_non_null(strstr(got, all[i].type));
    }
}

static void values_that_are_rare(void **state)
{
    (void)state;
    assert_string_equal(one("text", "25", "-1", BYTES("a\xff\xc3")), "\"a\xef\xbf\xbd\xef\xbf\xbd\""); /* of a database that knows no encoding */
    assert_string_equal(one("json", "114", "-1", BYTES("[1,")), "\"[1,\"");
    assert_string_equal(one("json", "114", "-1", BYTES("")), "\"\"");
    assert_string_equal(one("json", "114", "-1", BYTES(" [1 ,\n 2] ")), "[1,2]");
    assert_string_equal(one("jsonb", "3802", "-1", BYTES("\1{\"a\": 1}")), "{\"a\":1}");
    assert_string_equal(one("\"char\"", "18", "1", BYTES("\0")), "\"\"");
    assert_string_equal(one("\"char\"", "18", "1", BYTES("\x80")), "\"\\\\200\"");
    assert_string_equal(one("\"char\"", "18", "1", BYTES("\x1f")), "\"\\u001f\"");
    assert_string_equal(one("numeric", "1700", "-1", BYTES("\0\2\0\1\0\0\0\1\0\0\0\7")), "7.0"); /* zeros first */
    assert_string_equal(one("numeric", "1700", "-1", BYTES("\0\0\0\5\0\0\0\3")), "0.000");
    assert_string_equal(one("numeric", "1700", "-1", BYTES("\0\1\377\376\x40\0\0\5\x04\xd2")), "-0.00001"); /* digits behind the last that counts */
    assert_string_equal(one("numeric", "1700", "-1", BYTES("\0\0\0\0\xd0\0\0\x20")), "\"Infinity\"");
    assert_string_equal(one("double precision", "701", "8", BYTES("\x80\0\0\0\0\0\0\0")), "-0.0");
    assert_string_equal(one("double precision", "701", "8", BYTES("\xff\xf8\0\0\0\0\0\1")), "\"NaN\"");
    /* Later and earlier than PostgreSQL has, reckoned by Python over whole cycles of 400 years */
    assert_string_equal(one("date", "1082", "4", BYTES("\177\377\377\376")), "\"5881610-07-10\"");
    assert_string_equal(one("timestamptz", "1184", "8", BYTES("\177\377\377\377\377\377\377\376")), "\"294277-01-09T04:00:54.775806Z\"");
    assert_string_equal(one("timestamp", "1114", "8", BYTES("\x80\0\0\0\0\0\0\1")), "\"290279-12-22T19:59:05.224193 BC\"");
    assert_string_equal(one("bytea", "17", "-1", BYTES("\0\377")), "\"AP8=\"");
    assert_string_equal(one("cid", "29", "4", BYTES("\377\377\377\377")), "4294967295");
}

static void styles_make_strings(void **state)
{
    const cells rows[] = {PLAIN("n", "numeric", "1700", "-1"), PLAIN("b", "bigint", "20", "8"), PLAIN("x", "xid8", "5069", "8"), PLAIN("j", "jsonb", "3802", "-1"), PLAIN("y", "bytea", "17", "-1"), INT4("i")};
    const struct pg_style style = {.numeric_string = true, .bigint_string = true, .json_string = true, .bytea = PG_BYTEA_HEX};
    struct pg_columns c = columns_of(rows, 6);
    (void)state;
    assert_string_equal(put(&c, &style,
                            BYTES("\0\6\0\0\0\x0a\0\1\0\0\0\0\0\2\0\1\0\0\0\x08\x80\0\0\0\0\0\0\0\0\0\0\x08\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x05\1null\0\0\0\1\xab\0\0\0\4\0\0\0\5"), 0, 0),
                        "{\"n\":\"1.00\",\"b\":\"-9223372036854775808\",\"x\":\"18446744073709551615\",\"j\":\"null\",\"y\":\"\\\\xab\",\"i\":5}");
    pg_columns_free(&c);
}

static void what_was_too_large_is_told(void **state)
{
    const cells rows[] = {TEXT("a"), INT4("i"), TEXT("b")};
    struct pg_columns c = columns_of(rows, 3);
    (void)state;
    mr_buf_init(&omitted, 1000);
    assert_int_equal(pg_select_fields(&c, 0), 3);
    assert_int_equal(pg_select_fields(&c, 1), 5);
    assert_string_equal(put(&c, &plain, BYTES("\0\5\0\0\0\1x\377\377\377\377\377\377\377\377\377\377\377\377\0\0\0\x08\0\0\0\0\0\0\1\0"), 0, 10), "{\"a\":\"x\",\"i\":null,\"b\":null}");
    assert_string_equal(mr_buf_cstr(&omitted), "{\"b\":256}");
    assert_string_equal(put(&c, &plain, BYTES("\0\5\0\0\0\1x\377\377\377\377\0\0\0\1y\377\377\377\377\377\377\377\377"), 0, 10), "{\"a\":\"x\",\"i\":null,\"b\":\"y\"}");
    assert_string_equal(mr_buf_cstr(&omitted), "{\"b\":256}");
    mr_buf_clear(&omitted);
    mr_buf_puts(&omitted, ",\"omitted\":");
    put(&c, &plain, BYTES("\0\5\377\377\377\377\377\377\377\377\377\377\377\377\0\0\0\x08\0\0\0\0\0\0\0\1\0\0\0\x08\0\0\0\0\0\0\0\2"), 0, 10);
    assert_string_equal(mr_buf_cstr(&omitted), ",\"omitted\":{\"a\":1,\"b\":2}");
    assert_non_null(strstr(put(&c, &plain, BYTES("\0\5\377\377\377\377\377\377\377\377\377\377\377\377\0\0\0\x08\0\0\0\0\0\0\0\1\0\0\0\4\0\0\0\0"), 0, 10), "column b"));
    assert_string_equal(mr_buf_cstr(&omitted), ",\"omitted\":{\"a\":1,\"b\":2}");
    mr_buf_free(&omitted);
    pg_columns_free(&c);
}

static void no_room_is_said_and_changes_nothing(void **state)
{
    const cells rows[] = {TEXT("a"), PLAIN("n", "numeric", "1700", "-1"), PLAIN("y", "bytea", "17", "-1"), PLAIN("j", "json", "114", "-1")};
    struct pg_columns c = columns_of(rows, 4);
    char row[2 + 4 * 4 + 300 + 10 + 20 + 6];
    const char ends[] = "\0\0\0\x0a\0\1\0\0\0\0\0\2\0\1\0\0\0\x14xxxxxxxxxxxxxxxxxxxx\0\0\0\6[1, 2]";
    (void)state;
    memcpy(row, "\0\4\0\0\1\x2c", 6);
    memset(row + 6, 'x', 300);
    memcpy(row + 306, ends, sizeof ends - 1);
    size_t fits = 0;
    for (size_t limit = 10; limit < 700; limit++) {
        struct mr_buf b;
        mr_buf_init(&b, limit);
        mr_buf_puts(&b, "before");
        enum mr_code code = pg_row_put(&c, &plain, (struct mr_str){row, 306 + sizeof ends - 1}, 0, 0, &b, NULL, NULL, &err);
        assert_true(code == MR_OK || (code == MR_ETOOBIG && b.n == 6 && !b.failed));
        assert_true(code == MR_OK || !fits); /* once it fits it fits */
        fits = code == MR_OK && !fits ? limit - b.n : fits;
        mr_buf_free(&b);
    }
    assert_in_range(fits, 1, 80); /* what must be free is little more than what is used */
    pg_columns_free(&c);
}

static void copy_s_header_and_end(void **state)
{
    struct pg_copy copy = {0};
    enum pg_copy_what what;
    (void)state;
    struct mr_str m = BYTES("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\1x");
    assert_int_equal(pg_copy_take(&copy, &m, &what, &err), MR_OK);
    assert_int_equal(what, PG_COPY_ROW);
    assert_int_equal(m.n, 7);
    m = BYTES("\377\377");
    assert_int_equal(pg_copy_take(&copy, &m, &what, &err), MR_OK);
    assert_int_equal(what, PG_COPY_END);
    copy = (struct pg_copy){0};
    m = BYTES("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\2ab\377\377"); /* more header than is known; no rows */
    assert_int_equal(pg_copy_take(&copy, &m, &what, &err), MR_OK);
    assert_int_equal(what, PG_COPY_END);
    copy = (struct pg_copy){0};
    m = BYTES("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0");
    assert_int_equal(pg_copy_take(&copy, &m, &what, &err), MR_OK);
    assert_int_equal(what, PG_COPY_NOTHING);
    static const struct mr_str wrong[] = {
        {"", 0},
        {"PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0", 18},
        {"PGCOPY\n\377\r\r\0\0\0\0\0\0\0\0\0", 19},
        {"PGCOPY\n\377\r\n\0\0\1\0\0\0\0\0\0", 19}, /* with oids */
        {"PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\1", 19}, /* cut */
        {"PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0", 20},
        {"PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\377\377\0", 22},
        {"1\tx\n", 4}, /* text */
    };
    for (size_t i = 0; i < MR_COUNT(wrong); i++) {
        copy = (struct pg_copy){0};
        m = wrong[i];
        assert_int_equal(pg_copy_take(&copy, &m, &what, &err), MR_EMALFORMED);
    }
}

static void fields_of_ours(void **state)
{
    struct pg_fields f;
    struct pg_field field;
    int16_t two;
    int32_t four;
    uint32_t xid, block;
    int64_t eight;
    uint16_t offset;
    (void)state;
    assert_true(pg_fields_begin(&f, BYTES("\0\6\0\0\0\2\377\376\0\0\0\4\200\0\0\0\0\0\0\4\377\377\377\377\0\0\0\x08\0\0\0\1\0\0\0\0\0\0\0\6\0\1\0\0\0\x09\377\377\377\377")));
    assert_true(pg_fields_next(&f, &field) && pg_field_int2(field, &two) && two == -2);
    assert_false(pg_field_int4(field, &four) || pg_field_int8(field, &eight) || pg_field_tid(field, &block, &offset) || pg_field_uint4(field, &xid));
    assert_true(pg_fields_next(&f, &field) && pg_field_int4(field, &four) && four == INT32_MIN);
    assert_true(pg_fields_next(&f, &field) && pg_field_uint4(field, &xid) && xid == UINT32_MAX);
    assert_true(pg_fields_next(&f, &field) && pg_field_int8(field, &eight) && eight == INT64_C(1) << 32);
    assert_true(pg_fields_next(&f, &field) && pg_field_tid(field, &block, &offset) && block == 65536 && offset == 9);
    assert_true(pg_fields_next(&f, &field) && field.n == -1 && !pg_field_int2(field, &two));
    assert_false(pg_fields_next(&f, &field));
    assert_false(pg_fields_begin(&f, BYTES("\0")));
    assert_false(pg_fields_begin(&f, BYTES("\377\377")));
    assert_true(pg_fields_begin(&f, BYTES("\0\1\0\0\0\2x")));
    assert_false(pg_fields_next(&f, &field));
}

static void watermarks_are_numbers(void **state)
{
    static const struct {
        enum pg_form form;
        struct mr_str bytes;
        int64_t want;
        const char *json, *sql;
    } all[] = {
        {PG_FORM_INT2, {"\377\377", 2}, -1, "-1", "'-1'::pg_catalog.int8"},
        {PG_FORM_INT4, {"\0\0\1\0", 4}, 256, "256", "'256'::pg_catalog.int8"},
        {PG_FORM_INT8, {"\177\377\377\377\377\377\377\377", 8}, INT64_MAX, "9223372036854775807", "'9223372036854775807'::pg_catalog.int8"},
        {PG_FORM_XID8, {"\0\0\0\0\0\0\0\7", 8}, 7, "7", "'7'::pg_catalog.xid8"},
        {PG_FORM_DATE, {"\0\0\0\0", 4}, 10957, "\"2000-01-01\"", "'2000-01-01'::pg_catalog.date"},
        {PG_FORM_DATE, {"\177\377\377\377", 4}, INT64_MAX, "\"infinity\"", "'infinity'::pg_catalog.date"},
        {PG_FORM_DATE, {"\200\0\0\0", 4}, INT64_MIN, "\"-infinity\"", "'-infinity'::pg_catalog.date"},
        {PG_FORM_TIMESTAMP, {"\0\0\0\0\0\0\0\1", 8}, 946684800000001, "\"2000-01-01T00:00:00.000001\"", "'2000-01-01T00:00:00.000001'::pg_catalog.timestamp"},
        {PG_FORM_TIMESTAMPTZ, {"\xff\xfc\xa2\xfe\xc4\xc8\x20\x00", 8}, 0, "\"1970-01-01T00:00:00.000000Z\"", "'1970-01-01T00:00:00.000000Z'::pg_catalog.timestamptz"},
        {PG_FORM_TIMESTAMPTZ, {"\200\0\0\0\0\0\0\0", 8}, INT64_MIN, "\"-infinity\"", "'-infinity'::pg_catalog.timestamptz"},
        {PG_FORM_TIMESTAMPTZ, {"\177\377\377\377\377\377\377\377", 8}, INT64_MAX, "\"infinity\"", "'infinity'::pg_catalog.timestamptz"},
    };
    int64_t v;
    (void)state;
    for (size_t i = 0; i < MR_COUNT(all); i++) {
        struct mr_buf json, sql;
        mr_buf_init(&json, 100);
        mr_buf_init(&sql, 100);
        assert_true(pg_watermark_form(all[i].form));
        assert_true(pg_watermark_get(all[i].form, (struct pg_field){(const unsigned char *)all[i].bytes.p, (int32_t)all[i].bytes.n}, &v));
        assert_int_equal(v, all[i].want);
        pg_watermark_put(all[i].form, &plain, v, &json);
        pg_watermark_sql(all[i].form, v, &sql);
        assert_string_equal(mr_buf_cstr(&json), all[i].json);
        assert_string_equal(mr_buf_cstr(&sql), all[i].sql);
        assert_false(pg_watermark_get(all[i].form, (struct pg_field){NULL, -1}, &v));
        assert_false(pg_watermark_get(all[i].form, (struct pg_field){(const unsigned char *)"xxx", 3}, &v));
        mr_buf_free(&json);
        mr_buf_free(&sql);
    }
    /* the year 294276: beyond what counts from 1970 */
    assert_true(pg_watermark_get(PG_FORM_TIMESTAMP, (struct pg_field){(const unsigned char *)"\177\377\377\376\0\0\0\0", 8}, &v) && v == INT64_MAX);
    assert_true(pg_watermark_get(PG_FORM_XID8, (struct pg_field){(const unsigned char *)"\377\377\377\377\377\377\377\377", 8}, &v) && v == INT64_MAX);
    assert_false(pg_watermark_form(PG_FORM_TEXT));
    assert_false(pg_watermark_get(PG_FORM_TEXT, (struct pg_field){(const unsigned char *)"xx", 2}, &v));
}

/* Whatever number is given, what is written is in range and does not overflow. */
static void any_number_can_be_a_watermark(void **state)
{
    static const int64_t all[] = {INT64_MIN, INT64_MIN + 1, INT64_MAX, INT64_MAX - 1, 0, -1, INT32_MAX, INT32_MIN, INT64_C(946684800000000), -INT64_C(946684800000000), INT64_C(1) << 40};
    static const enum pg_form forms[] = {PG_FORM_INT2, PG_FORM_INT4, PG_FORM_INT8, PG_FORM_XID8, PG_FORM_DATE, PG_FORM_TIMESTAMP, PG_FORM_TIMESTAMPTZ};
    struct mr_buf b;
    (void)state;
    mr_buf_init(&b, 100);
    for (size_t i = 0; i < MR_COUNT(all) * MR_COUNT(forms); i++) {
        mr_buf_clear(&b);
        pg_watermark_put(forms[i % MR_COUNT(forms)], &plain, all[i / MR_COUNT(forms)], &b);
        assert_int_equal(mr_json_check(mr_buf_str(&b), &err), MR_OK);
        mr_buf_clear(&b);
        pg_watermark_sql(forms[i % MR_COUNT(forms)], all[i / MR_COUNT(forms)], &b);
        assert_false(b.failed);
    }
    mr_buf_free(&b);
}

static void a_description_that_is_none_is_refused(void **state)
{
    struct pg_columns c;
    (void)state;
    const cells fine = INT4("a");
    for (size_t i = 0; i < PG_DESCRIBE_CELLS; i++) {
        cells rows[2] = {INT4("b"), INT4("a")};
        if (i == 10 || i == 11) /* of an array's element: may be NULL */
            continue;
        rows[1][i] = NULL;
        assert_int_equal(pg_columns_read(&c, 2, cell, rows, &err), MR_EMALFORMED);
        assert_true(c.count == 0 && !c.items && !c.texts.p);
        rows[1][i] = i < 2 ? fine[i] : "?x";
        assert_int_equal(pg_columns_read(&c, 2, cell, rows, &err), i < 2 ? MR_OK : MR_EMALFORMED);
        pg_columns_free(&c);
    }
    const cells twice[] = {INT4("a"), INT4("b"), TEXT("a")};
    assert_int_equal(pg_columns_read(&c, 3, cell, (void *)(uintptr_t)twice, &err), MR_ECONFIG);
    assert_non_null(strstr(err.msg, "name a"));
}

static void columns_are_chosen_by_their_exact_names(void **state)
{
    const cells rows[] = {INT4("id"), {"secret", "text", "25", "25", "b", "-1", "-1", "f", "f", "0", NULL, NULL, "f"}, TEXT("Id"), TEXT("note")};
    const char *const some[] = {"note", "id"}, *const unknown[] = {"id", "NOTE"}, *const far[] = {"zzz"}, *const closed[] = {"secret"};
    struct pg_columns c = columns_of(rows, 4);
    (void)state;
    assert_int_equal(c.hidden_count, 1);
    assert_string_equal(c.hidden[0], "secret");
    assert_int_equal(pg_columns_keep(&c, unknown, 2, &err), MR_ECONFIG);
    assert_non_null(strstr(err.msg, "note"));
    assert_int_equal(pg_columns_keep(&c, far, 1, &err), MR_ECONFIG);
    assert_non_null(strstr(err.msg, "id, Id, note"));
    assert_int_equal(pg_columns_keep(&c, closed, 1, &err), MR_EPERM);
    assert_int_equal(c.count, 3);
    assert_int_equal(pg_columns_keep(&c, some, 2, &err), MR_OK);
    assert_int_equal(c.count, 2);
    assert_string_equal(c.items[0].name, "id");
    assert_string_equal(c.items[1].name, "note");
    assert_int_equal(pg_columns_keep(&c, NULL, 0, &err), MR_OK);
    assert_int_equal(c.count, 2);
    assert_ptr_equal(pg_columns_find(&c, "note"), &c.items[1]);
    assert_null(pg_columns_find(&c, "Id"));
    pg_columns_free(&c);
    pg_columns_free(&c);
}

static void the_select_list_quotes_every_name(void **state)
{
    const cells rows[] = {INT4("select"), TEXT("a\"b"), PLAIN("iv", "interval", "1186", "16"), PLAIN("m", "money", "790", "8")};
    struct pg_columns c = columns_of(rows, 4);
    struct mr_buf sql;
    (void)state;
    mr_buf_init(&sql, 1 << 16);
    pg_select_list(&c, &plain, 0, NULL, &sql);
    assert_string_equal(mr_buf_cstr(&sql), "\"select\", \"a\"\"b\", \"iv\"::pg_catalog.text, \"m\"::pg_catalog.numeric::pg_catalog.text");
    mr_buf_clear(&sql);
    pg_select_list(&c, &plain, 1000, "r", &sql);
    assert_string_equal(mr_buf_cstr(&sql), "r.\"select\", CASE WHEN pg_catalog.octet_length(r.\"a\"\"b\") > 1000 THEN NULL ELSE r.\"a\"\"b\" END, r.\"iv\"::pg_catalog.text, "
                                           "r.\"m\"::pg_catalog.numeric::pg_catalog.text, CASE WHEN pg_catalog.octet_length(r.\"a\"\"b\") > 1000 THEN "
                                           "pg_catalog.octet_length(r.\"a\"\"b\")::pg_catalog.int8 END");
    mr_buf_free(&sql);
    pg_columns_free(&c);
}

static int close_all(void **state)
{
    (void)state;
    mr_buf_free(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_becomes_an_object),
        cmocka_unit_test(no_columns_are_an_empty_object),
        cmocka_unit_test(what_is_not_as_agreed_names_the_column),
        cmocka_unit_test(values_of_no_type_are_refused),
        cmocka_unit_test(values_that_are_rare),
        cmocka_unit_test(styles_make_strings),
        cmocka_unit_test(what_was_too_large_is_told),
        cmocka_unit_test(no_room_is_said_and_changes_nothing),
        cmocka_unit_test(copy_s_header_and_end),
        cmocka_unit_test(fields_of_ours),
        cmocka_unit_test(watermarks_are_numbers),
        cmocka_unit_test(any_number_can_be_a_watermark),
        cmocka_unit_test(a_description_that_is_none_is_refused),
        cmocka_unit_test(columns_are_chosen_by_their_exact_names),
        cmocka_unit_test(the_select_list_quotes_every_name),
    };
    return cmocka_run_group_tests(tests, NULL, close_all);
}
