/* SPDX-License-Identifier: Apache-2.0 */
/* pg_row.c - a row of binary COPY, as a server or whoever pretends to be one may send it. What is taken is one JSON object, of all columns in their order, each
 * value where it was told to be; what is refused leaves nothing behind and says what was wrong.
 *
 *      byte 0: style (bits 0-3), max_row (4), fields of ours before the columns (5-6), the message begins with COPY's header (7)
 *      byte 1: count of columns (0-15); a byte a column: its type, of the table below; the rest is the message */
#include "check.h"

#include "sources/postgres/types.h"

#include "millrace/json.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { COLUMNS_MAX = 16 };
static const char *const names[COLUMNS_MAX] = {"n", "a", "b\"", "c\n", "\xc3\xa9", "", "{", "}", "\\", " ", "k", "l", "m", "o", "p", "q"};
/* oid, kind, length, element, its kind */
static const char *const types[][5] = {
    {"16", "b", "1"}, {"21", "b", "2"}, {"23", "b", "4"}, {"20", "b", "8"}, {"26", "b", "4"}, {"5069", "b", "8"}, {"700", "b", "4"}, {"701", "b", "8"}, {"1700", "b", "-1"}, {"25", "b", "-1"},
    {"18", "b", "1"}, {"17", "b", "-1"}, {"1082", "b", "4"}, {"1083", "b", "8"}, {"1114", "b", "8"}, {"1184", "b", "8"}, {"2950", "b", "16"}, {"27", "b", "6"}, {"114", "b", "-1"}, {"3802", "b", "-1"},
    {"790", "b", "8"}, {"1186", "b", "16"}, {"1007", "b", "-1", "23", "b"}, {"99999", "c", "-1"}, {"99998", "e", "4"}, {"142", "b", "-1"},
};

static const char *cell(void *arg, size_t row, size_t column)
{
    const char *const *type = types[((const uint8_t *)arg)[row] % MR_COUNT(types)];
    const char *cells[PG_DESCRIBE_CELLS] = {names[row], "t", type[0], type[0], type[1], type[2], "-1", "f", "t", type[3] ? type[3] : "0", type[4], type[4] ? "N" : NULL, "f"};
    return cells[column];
}

static void check_object(const struct pg_columns *c, struct mr_str text, const char *base, const struct pg_value *values)
{
    struct mr_json_iter it;
    struct mr_json_slice value;
    struct mr_str key;
    struct mr_err err;
    json_error_t why;
    CHECK(mr_json_check(text, &err) == MR_OK);
    json_t *other = json_loadb(text.p, text.n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &why); /* which knows no lone surrogates, nor numbers beyond a double */
    CHECK(other || json_error_code(&why) == json_error_numeric_overflow || json_error_code(&why) == json_error_stack_overflow || json_error_code(&why) == json_error_invalid_syntax);
    CHECK(!other || json_object_size(other) == c->count);
    json_decref(other);
    mr_json_iter(&it, (struct mr_json_slice){MR_JSON_OBJECT, text});
    for (size_t i = 0; i < c->count; i++) {
        CHECK(mr_json_next(&it, &key, &value));
        CHECK(key.n + 2 == c->items[i].key_n && memcmp(key.p, c->items[i].key + 1, key.n) == 0);
        CHECK(value.raw.p == base + values[i].at && value.raw.n == values[i].n);
        CHECK(values[i].field.n >= 0 || value.type == MR_JSON_NULL);
    }
    CHECK(!mr_json_next(&it, &key, &value));
}

static void put(const struct pg_columns *c, const struct pg_style *style, struct mr_str row, size_t skip, uint64_t max_row, size_t room)
{
    struct pg_value values[COLUMNS_MAX];
    struct mr_buf out, omitted;
    struct mr_err err = {0};
    mr_buf_init(&out, room);
    mr_buf_init(&omitted, 1 << 16);
    mr_buf_puts(&out, "x");
    enum mr_code code = pg_row_put(c, style, row, skip, max_row, &out, values, &omitted, &err);
    if (code == MR_OK) {
        check_object(c, (struct mr_str){out.p + 1, out.n - 1}, out.p, values);
        CHECK(omitted.n == 0 || mr_json_check(mr_buf_str(&omitted), NULL) == MR_OK);
    } else {
        CHECK((code == MR_EMALFORMED || code == MR_ETOOBIG) && err.msg[0]);
        CHECK(out.n == 1 && !out.failed && omitted.n == 0);
    }
    mr_buf_free(&out);
    mr_buf_free(&omitted);
}

static void watermarks(struct mr_str row)
{
    struct pg_fields f;
    struct pg_field field;
    int64_t v;
    if (!pg_fields_begin(&f, row))
        return;
    while (pg_fields_next(&f, &field)) {
        CHECK(field.n < 0 || field.p + field.n <= (const unsigned char *)row.p + row.n);
        for (int form = 0; form <= PG_FORM_HSTORE; form++)
            if (pg_watermark_get((enum pg_form)form, field, &v)) {
                struct mr_buf sql;
                mr_buf_init(&sql, 200);
                pg_watermark_sql((enum pg_form)form, v, &sql);
                CHECK(!sql.failed && sql.n > 0);
                mr_buf_free(&sql);
            }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n < 2 || n < 2 + (size_t)(bytes[1] % COLUMNS_MAX))
        return 0;
    uint8_t flags = bytes[0], chosen[COLUMNS_MAX] = {0};
    size_t count = bytes[1] % COLUMNS_MAX;
    memcpy(chosen, bytes + 2, count);
    struct mr_str message = {(const char *)bytes + 2 + count, n - 2 - count};
    struct pg_columns c;
    struct mr_err err;
    const struct pg_style style = {.numeric_string = flags & 1, .bigint_string = flags & 2, .json_string = flags & 4, .bytea = flags & 8 ? PG_BYTEA_HEX : PG_BYTEA_BASE64};
    struct pg_copy copy = {.begun = !(flags & 0x80)};
    enum pg_copy_what what;
    CHECK(pg_columns_read(&c, count, cell, chosen, &err) == MR_OK);
    if (pg_copy_take(&copy, &message, &what, &err) == MR_OK && what == PG_COPY_ROW) {
        put(&c, &style, message, flags >> 5 & 3, flags & 0x10 ? 100 : 0, 1 << 22);
        put(&c, &style, message, flags >> 5 & 3, flags & 0x10 ? 100 : 0, 200);
        watermarks(message);
    }
    pg_columns_free(&c);
    return 0;
}
