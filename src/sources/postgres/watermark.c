/* SPDX-License-Identifier: Apache-2.0 */
/* watermark.c - a watermark as a number, and back. PostgreSQL counts from 2000 on, we from 1970: the last 30 years that a timestamp can say
 * (294247 and on) have no number of ours and count as infinity. */
#include "numbers.h"
#include "types.h"

#define DAYS_TO_2000 10957
#define US_TO_2000 (DAYS_TO_2000 * INT64_C(86400000000))

bool pg_watermark_form(enum pg_form form)
{
    switch (form) {
    case PG_FORM_INT2:
    case PG_FORM_INT4:
    case PG_FORM_INT8:
    case PG_FORM_XID8:
    case PG_FORM_DATE:
    case PG_FORM_TIMESTAMP:
    case PG_FORM_TIMESTAMPTZ:
        return true;
    default:
        return false;
    }
}

static int64_t from_2000(int64_t us)
{
    if (us == INT64_MIN || us == INT64_MAX)
        return us;
    return us > INT64_MAX - US_TO_2000 ? INT64_MAX : us + US_TO_2000;
}

static int64_t to_2000(int64_t us)
{
    if (us == INT64_MIN || us == INT64_MAX)
        return us;
    return us < INT64_MIN + 1 + US_TO_2000 ? INT64_MIN + 1 : us - US_TO_2000;
}

static int32_t date_to_2000(int64_t days)
{
    return days > INT32_MAX + INT64_C(1) + DAYS_TO_2000 - 2 ? INT32_MAX : days <= INT32_MIN + INT64_C(1) + DAYS_TO_2000 ? INT32_MIN : (int32_t)(days - DAYS_TO_2000);
}

bool pg_watermark_get(enum pg_form form, struct pg_field f, int64_t *out)
{
    int16_t small;
    int32_t middle;
    bool fine;
    switch (form) {
    case PG_FORM_INT2:
        fine = pg_field_int2(f, &small);
        *out = fine ? small : 0;
        return fine;
    case PG_FORM_INT4:
        fine = pg_field_int4(f, &middle);
        *out = fine ? middle : 0;
        return fine;
    case PG_FORM_INT8:
        return pg_field_int8(f, out);
    case PG_FORM_XID8:
        fine = pg_field_int8(f, out);
        if (fine && *out < 0)
            *out = INT64_MAX;
        return fine;
    case PG_FORM_DATE:
        fine = pg_field_int4(f, &middle);
        if (fine)
            *out = middle == INT32_MIN ? INT64_MIN : middle == INT32_MAX ? INT64_MAX : (int64_t)middle + DAYS_TO_2000;
        return fine;
    case PG_FORM_TIMESTAMP:
    case PG_FORM_TIMESTAMPTZ:
        fine = pg_field_int8(f, out);
        if (fine)
            *out = from_2000(*out);
        return fine;
    default:
        return false;
    }
}

/* A number's text is the same in JSON and in SQL; *quoted: it is a string's. */
static size_t put_plain(enum pg_form form, int64_t v, char text[PG_TIME_ROOM], bool *quoted)
{
    char *end;
    *quoted = form == PG_FORM_DATE || form == PG_FORM_TIMESTAMP || form == PG_FORM_TIMESTAMPTZ;
    if (form == PG_FORM_DATE)
        end = pg_put_date(text, date_to_2000(v));
    else if (*quoted)
        end = pg_put_timestamp(text, to_2000(v), form == PG_FORM_TIMESTAMPTZ ? 'Z' : 0);
    else
        end = pg_put_i64(text, v);
    return (size_t)(end - text);
}

void pg_watermark_put(enum pg_form form, const struct pg_style *style, int64_t v, struct mr_buf *json)
{
    char text[PG_TIME_ROOM];
    bool quoted;
    size_t n = put_plain(form, v, text, &quoted);
    quoted |= style->bigint_string && (form == PG_FORM_INT8 || form == PG_FORM_XID8);
    if (quoted)
        mr_buf_putc(json, '"');
    mr_buf_put(json, text, n);
    if (quoted)
        mr_buf_putc(json, '"');
}

void pg_watermark_sql(enum pg_form form, int64_t v, struct mr_buf *sql)
{
    char text[PG_TIME_ROOM];
    bool quoted;
    size_t n = put_plain(form, v, text, &quoted);
    const char *type = form == PG_FORM_DATE ? "date" : form == PG_FORM_TIMESTAMP ? "timestamp" : form == PG_FORM_TIMESTAMPTZ ? "timestamptz" : form == PG_FORM_XID8 ? "xid8" : "int8";
    mr_buf_putc(sql, '\'');
    mr_buf_put(sql, text, n);
    mr_buf_printf(sql, "'::pg_catalog.%s", type);
}
