/* SPDX-License-Identifier: Apache-2.0 */
/* types.c - what the server says of columns, as struct pg_columns. */
#include "types.h"

#include "oids.h"

#include "millrace/json.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

enum { TEXTS_MAX = 64 << 20, COLUMNS_MAX = 10000 };
enum cell { NAME, TYPE, TYPE_OID, BASE_OID, KIND, LENGTH, TYPMOD, NOT_NULL, READABLE, ELEMENT_OID, ELEMENT_KIND, ELEMENT_CATEGORY, HSTORE };
_Static_assert(HSTORE + 1 == (int)PG_DESCRIBE_CELLS, "the header says how many");

static const struct {
    uint32_t oid;
    enum pg_form form;
} forms[] = {
    {PG_OID_BOOL, PG_FORM_BOOL},       {PG_OID_INT2, PG_FORM_INT2},     {PG_OID_INT4, PG_FORM_INT4},
    {PG_OID_INT8, PG_FORM_INT8},       {PG_OID_OID, PG_FORM_UINT4},     {PG_OID_XID, PG_FORM_UINT4},
    {PG_OID_CID, PG_FORM_UINT4},       {PG_OID_XID8, PG_FORM_XID8},     {PG_OID_FLOAT4, PG_FORM_FLOAT4},
    {PG_OID_FLOAT8, PG_FORM_FLOAT8},   {PG_OID_NUMERIC, PG_FORM_NUMERIC}, {PG_OID_TEXT, PG_FORM_TEXT},
    {PG_OID_VARCHAR, PG_FORM_TEXT},    {PG_OID_BPCHAR, PG_FORM_TEXT},   {PG_OID_NAME, PG_FORM_TEXT},
    {PG_OID_CHAR, PG_FORM_CHAR},       {PG_OID_BYTEA, PG_FORM_BYTEA},   {PG_OID_DATE, PG_FORM_DATE},
    {PG_OID_TIME, PG_FORM_TIME},       {PG_OID_TIMESTAMP, PG_FORM_TIMESTAMP}, {PG_OID_TIMESTAMPTZ, PG_FORM_TIMESTAMPTZ},
    {PG_OID_UUID, PG_FORM_UUID},       {PG_OID_TID, PG_FORM_TID},       {PG_OID_JSON, PG_FORM_JSON},
    {PG_OID_JSONB, PG_FORM_JSONB},     {PG_OID_MONEY, PG_FORM_MONEY},   {PG_OID_RECORD, PG_FORM_COMPOSITE},
    {PG_OID_RECORD_ARRAY, PG_FORM_ARRAY},
};

/* The result while it is read. */
struct reader {
    pg_cell_cb cell;
    void *arg;
    size_t row;
    bool failed;
};

static const char *text_at(struct reader *r, enum cell cell)
{
    const char *text = r->cell(r->arg, r->row, (size_t)cell);
    r->failed |= !text;
    return text ? text : "";
}

static int64_t number_at(struct reader *r, enum cell cell)
{
    const char *text = text_at(r, cell);
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    r->failed |= end == text || *end || errno;
    return v;
}

static bool flag_at(struct reader *r, enum cell cell)
{
    const char *text = text_at(r, cell);
    r->failed |= strcmp(text, "t") != 0 && strcmp(text, "f") != 0;
    return text[0] == 't';
}

static char letter_at(struct reader *r, enum cell cell)
{
    const char *text = text_at(r, cell);
    r->failed |= !text[0] || text[1];
    return text[0];
}

static enum pg_form form_of(uint32_t oid, char kind, bool array, bool hstore)
{
    if (array)
        return PG_FORM_ARRAY;
    if (hstore)
        return PG_FORM_HSTORE;
    if (kind == 'e')
        return PG_FORM_TEXT;
    if (kind == 'c')
        return PG_FORM_COMPOSITE;
    for (size_t i = 0; i < MR_COUNT(forms); i++)
        if (forms[i].oid == oid)
            return forms[i].form;
    return PG_FORM_CAST;
}

static enum pg_elements elements_of(uint32_t oid, char kind, char category, bool hstore)
{
    if (kind == 'c')
        return PG_ELEMENTS_COMPOSITE;
    if (category == 'A')
        return PG_ELEMENTS_ARRAYS;
    return kind == 'b' && oid >= PG_OID_FIRST_FOREIGN && !hstore ? PG_ELEMENTS_FOREIGN : PG_ELEMENTS_PLAIN;
}

/* The most bytes a value can have; numerics end at 150 kB, which is not much. */
static uint32_t size_max(uint32_t oid, char kind, int64_t length, int64_t typmod, bool declared)
{
    enum { UTF8 = 4, HEADER = 4 };
    if ((oid == PG_OID_VARCHAR || oid == PG_OID_BPCHAR) && declared && typmod > HEADER && typmod < INT32_MAX / UTF8)
        return (uint32_t)(typmod - HEADER) * UTF8;
    bool never = length > 0 || kind == 'e' || oid == PG_OID_NUMERIC || oid == PG_OID_INET || oid == PG_OID_CIDR;
    return never ? 0 : UINT32_MAX;
}

/* A copy among the texts, which do not move: texts_room() was reserved. */
static const char *keep(struct mr_buf *texts, const char *s)
{
    size_t at = texts->n;
    mr_buf_put(texts, s, strlen(s) + 1);
    return texts->failed ? "" : texts->p + at;
}

/* What column_read() keeps, at most: names, types, and keys, in which a byte becomes six. */
static size_t texts_room(struct reader *r, size_t rows)
{
    enum { ESCAPED = 6, AROUND = 8 };
    size_t room = 1;
    for (r->row = 0; r->row < rows; r->row++)
        room += (ESCAPED + 1) * strlen(text_at(r, NAME)) + strlen(text_at(r, TYPE)) + AROUND;
    r->row = 0;
    return room;
}

static void column_read(struct reader *r, struct mr_buf *texts, struct pg_column *c)
{
    bool array = r->cell(r->arg, r->row, ELEMENT_KIND) != NULL, hstore = flag_at(r, HSTORE);
    char kind = letter_at(r, KIND);
    *c = (struct pg_column){.type_oid = (uint32_t)number_at(r, TYPE_OID), .base_oid = (uint32_t)number_at(r, BASE_OID), .element_oid = (uint32_t)number_at(r, ELEMENT_OID)};
    c->not_null = flag_at(r, NOT_NULL);
    c->form = form_of(c->base_oid, kind, array, hstore && !array);
    if (array)
        c->elements = elements_of(c->element_oid, letter_at(r, ELEMENT_KIND), letter_at(r, ELEMENT_CATEGORY), hstore);
    else if (c->form == PG_FORM_ARRAY) /* record[] */
        c->elements = PG_ELEMENTS_COMPOSITE;
    c->size_max = size_max(c->base_oid, kind, number_at(r, LENGTH), number_at(r, TYPMOD), c->type_oid == c->base_oid);
    c->type = keep(texts, text_at(r, TYPE));
    c->name = keep(texts, text_at(r, NAME));
    size_t key = texts->n;
    mr_buf_putc(texts, ',');
    mr_json_put_string(texts, mr_str_c(c->name));
    mr_buf_putc(texts, ':');
    c->key = texts->p + key;
    c->key_n = (uint32_t)(texts->n - key);
}

void pg_columns_free(struct pg_columns *c)
{
    free(c->items);
    free((void *)(uintptr_t)c->hidden);
    mr_buf_free(&c->texts);
    *c = (struct pg_columns){0};
}

static int by_name(const void *a, const void *b)
{
    const struct pg_column *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* The first name that two columns have, or NULL. */
static const char *twice(const struct pg_columns *c, bool *no_memory)
{
    const char *found = NULL;
    const struct pg_column **sorted = calloc(c->count + 1, sizeof *sorted);
    *no_memory = !sorted;
    if (!sorted)
        return NULL;
    for (size_t i = 0; i < c->count; i++)
        sorted[i] = &c->items[i];
    qsort(sorted, c->count, sizeof *sorted, by_name);
    for (size_t i = 1; i < c->count && !found; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            found = sorted[i]->name;
    free(sorted);
    return found;
}

static enum mr_code read_all(struct pg_columns *out, size_t rows, pg_cell_cb cell, void *arg, const char **hidden, struct mr_err *err)
{
    struct reader r = {cell, arg, 0, false};
    size_t room = texts_room(&r, rows);
    if (room > TEXTS_MAX)
        return mr_err_set(err, MR_EMALFORMED, "columns' names of %zu bytes", room);
    mr_buf_init(&out->texts, room);
    if (!mr_buf_reserve(&out->texts, room))
        return mr_err_set(err, MR_ENOMEM, "columns' names");
    for (; r.row < rows; r.row++) {
        if (flag_at(&r, READABLE))
            column_read(&r, &out->texts, &out->items[out->count++]);
        else
            hidden[out->hidden_count++] = keep(&out->texts, text_at(&r, NAME));
        if (r.failed)
            return mr_err_set(err, MR_EMALFORMED, "the description of column %zu is not as asked for", r.row + 1);
    }
    assert(!out->texts.failed);
    out->hidden = hidden;
    bool no_memory;
    const char *name = twice(out, &no_memory);
    if (no_memory)
        return mr_err_set(err, MR_ENOMEM, "%zu columns", rows);
    return name ? mr_err_set(err, MR_ECONFIG, "two columns have the name %s: give one of them another (AS …)", name) : MR_OK;
}

enum mr_code pg_columns_read(struct pg_columns *out, size_t rows, pg_cell_cb cell, void *arg, struct mr_err *err)
{
    *out = (struct pg_columns){0};
    if (rows > COLUMNS_MAX)
        return mr_err_set(err, MR_EMALFORMED, "%zu columns", rows);
    const char **hidden = calloc(rows + 1, sizeof *hidden);
    out->items = calloc(rows + 1, sizeof *out->items);
    enum mr_code code = hidden && out->items ? read_all(out, rows, cell, arg, hidden, err) : mr_err_set(err, MR_ENOMEM, "%zu columns", rows);
    if (code == MR_OK)
        return MR_OK;
    out->hidden = NULL;
    free(hidden);
    pg_columns_free(out);
    return code;
}

/* -- by name ------------------------------------------------------------------------------------------------------- */

const struct pg_column *pg_columns_find(const struct pg_columns *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->items[i].name, name) == 0)
            return &c->items[i];
    return NULL;
}

enum mr_code pg_columns_missing(const struct pg_columns *c, const char *name, struct mr_err *err)
{
    struct mr_buf list;
    for (size_t i = 0; i < c->hidden_count; i++)
        if (strcmp(c->hidden[i], name) == 0)
            return mr_err_set(err, MR_EPERM, "column %s may not be read: GRANT SELECT (\"%s\") ON … TO …", name, name);
    for (size_t i = 0; i < c->count; i++)
        if (strcasecmp(c->items[i].name, name) == 0)
            return mr_err_set(err, MR_ECONFIG, "no column %s; is %s meant?", name, c->items[i].name);
    mr_buf_init(&list, 300);
    size_t i = 0;
    for (; i < c->count && list.n + strlen(c->items[i].name) + 2 <= 280; i++)
        mr_buf_printf(&list, "%s%s", i ? ", " : "", c->items[i].name);
    mr_buf_puts(&list, i < c->count ? " …" : "");
    mr_err_set(err, MR_ECONFIG, "no column %.100s; there are: %s", name, mr_buf_cstr(&list));
    mr_buf_free(&list);
    return MR_ECONFIG;
}

static bool among(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

enum mr_code pg_columns_keep(struct pg_columns *c, const char *const *names, size_t count, struct mr_err *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!pg_columns_find(c, names[i]))
            return pg_columns_missing(c, names[i], err);
    for (size_t i = 0; i < c->count; i++)
        if (count == 0 || among(c->items[i].name, names, count))
            c->items[kept++] = c->items[i];
    c->count = kept;
    return MR_OK;
}
