/* SPDX-License-Identifier: Apache-2.0 */
#include "config/units.h"

#include "config/errors.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

struct unit {
    const char *name;
    int64_t factor;
};
/* Smallest first. */
static const struct unit durations[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {0}};
static const struct unit sizes[] = {{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", INT64_C(1) << 40}, {0}};

/* What people write who think of other programs. */
struct habit {
    const char *written, *meant;
};
static const struct habit duration_habits[] = {
    {"sec", "s"},  {"secs", "s"}, {"second", "s"}, {"seconds", "s"}, {"min", "m"},  {"mins", "m"},  {"minute", "m"}, {"minutes", "m"},
    {"hr", "h"},   {"hrs", "h"},  {"hour", "h"},   {"hours", "h"},   {"day", "d"},  {"days", "d"},  {"msec", "ms"},  {"millis", "ms"},
    {"milliseconds", "ms"}, {"S", "s"}, {"M", "m"}, {"H", "h"}, {"D", "d"}, {"MS", "ms"}, {0}};
static const struct habit size_habits[] = {
    {"b", "B"},    {"bytes", "B"}, {"byte", "B"}, {"k", "KiB"},  {"K", "KiB"},  {"kb", "KiB"}, {"kB", "KiB"}, {"KB", "KiB"}, {"kib", "KiB"},
    {"Ki", "KiB"}, {"m", "MiB"},   {"M", "MiB"},  {"mb", "MiB"}, {"MB", "MiB"}, {"mib", "MiB"}, {"Mi", "MiB"}, {"g", "GiB"}, {"G", "GiB"},
    {"gb", "GiB"}, {"GB", "GiB"},  {"gib", "GiB"}, {"Gi", "GiB"}, {"t", "TiB"},
    {"T", "TiB"},  {"tb", "TiB"}, {"TB", "TiB"}, {"tib", "TiB"}, {"Ti", "TiB"}, {0}};

static const struct unit *units_of(enum mr_type type)
{
    return type == MR_T_SIZE ? sizes : durations;
}

static const struct unit *unit_named(enum mr_type type, struct mr_str name)
{
    for (const struct unit *u = units_of(type); u->name; u++) {
        if (mr_str_eq(name, mr_str_c(u->name)))
            return u;
    }
    return NULL;
}

static const char *unit_meant(enum mr_type type, struct mr_str written)
{
    for (const struct habit *h = type == MR_T_SIZE ? size_habits : duration_habits; h->written; h++) {
        if (mr_str_eq(written, mr_str_c(h->written)))
            return h->meant;
    }
    return NULL;
}

static void put_units(enum mr_type type, struct mr_buf *out)
{
    mr_buf_puts(out, type == MR_T_SIZE ? "units are B, KiB, MiB, GiB, TiB" : "units are ms, s, m, h, d");
}

/* 1.5h: the same in whole numbers of the largest unit that allows it. false: too long to do, or none. */
static bool put_whole(enum mr_type type, struct mr_str digits, struct mr_str fraction, const struct unit *unit, struct mr_buf *out)
{
    if (digits.n + fraction.n > 9)
        return false;
    int64_t number = 0, scale = 1;
    for (size_t i = 0; i < digits.n; i++)
        number = number * 10 + (digits.p[i] - '0');
    for (size_t i = 0; i < fraction.n; i++, scale *= 10)
        number = number * 10 + (fraction.p[i] - '0');
    number *= unit->factor;
    const struct unit *u = units_of(type);
    while (u->name)
        u++;
    while (u-- > units_of(type)) {
        if (number % (scale * u->factor) == 0) {
            mr_buf_printf(out, "%lld%s", (long long)(number / (scale * u->factor)), u->name);
            return true;
        }
    }
    return false;
}

static size_t count_digits(struct mr_str s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n;
}

static struct mr_str skip(struct mr_str s, size_t n)
{
    return (struct mr_str){s.p + n, s.n - n};
}

/* `rest` is what stands behind the digits and is no unit. */
static void explain_unit(enum mr_type type, struct mr_str digits, struct mr_str rest, struct mr_buf *why)
{
    struct mr_str fraction = {NULL, 0};
    if (rest.n > 0 && rest.p[0] == '.') {
        fraction = skip(rest, 1);
        fraction.n = count_digits(fraction);
        rest = skip(rest, 1 + fraction.n);
    }
    while (rest.n > 0 && rest.p[0] == ' ')
        rest = skip(rest, 1);
    const struct unit *unit = unit_named(type, rest);
    const char *meant = unit_meant(type, rest);
    if (!unit && meant)
        unit = unit_named(type, mr_str_c(meant));
    if (rest.n == 0) {
        mr_buf_printf(why, "a unit is missing, for instance %.*s%s; ", (int)(digits.n < 20 ? digits.n : 20), digits.p,
                      type == MR_T_SIZE ? "MiB" : "s");
        put_units(type, why);
        return;
    }
    if (!unit) {
        mr_buf_puts(why, "unknown unit ");
        mr_config_quote(why, rest);
        mr_buf_puts(why, "; ");
        put_units(type, why);
        return;
    }
    mr_buf_puts(why, "expected a whole number and a unit: ");
    size_t before = why->n;
    mr_buf_puts(why, "write ");
    if (!put_whole(type, digits, fraction, unit, why)) {
        why->n = before;
        put_units(type, why);
    }
}

static bool multiply(struct mr_str digits, int64_t factor, bool negative, int64_t *out)
{
    int64_t v = 0;
    for (size_t i = 0; i < digits.n; i++) {
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, digits.p[i] - '0', &v))
            return false;
    }
    if (__builtin_mul_overflow(v, negative ? -factor : factor, &v))
        return false;
    *out = v;
    return true;
}

bool mr_unit_parse(enum mr_type type, struct mr_str text, int64_t *out, struct mr_buf *why)
{
    bool negative = text.n > 0 && text.p[0] == '-';
    struct mr_str digits = skip(text, negative);
    struct mr_str rest = skip(digits, count_digits(digits));
    digits.n -= rest.n;
    if (type == MR_T_INT && (digits.n == 0 || rest.n > 0)) {
        mr_buf_puts(why, "expected a whole number, found ");
        mr_config_quote(why, text);
        return false;
    }
    if (type != MR_T_INT && (digits.n == 0 || negative)) {
        mr_buf_printf(why, "expected %s, found ", type == MR_T_SIZE ? "a size such as 64MiB" : "a duration such as 30s");
        mr_config_quote(why, text);
        mr_buf_puts(why, "; ");
        put_units(type, why);
        return false;
    }
    const struct unit *unit = type == MR_T_INT ? NULL : unit_named(type, rest);
    if (type != MR_T_INT && !unit) {
        mr_config_quote(why, text);
        mr_buf_puts(why, ": ");
        explain_unit(type, digits, rest, why);
        return false;
    }
    if (!multiply(digits, unit ? unit->factor : 1, negative, out)) {
        mr_config_quote(why, text);
        mr_buf_puts(why, " is out of range: larger than 64 bits hold");
        return false;
    }
    return true;
}

bool mr_unit_real_parse(struct mr_str text, double *out, struct mr_buf *why)
{
    char copy[64]; /* so long is none that a person writes; the shape is checked first, so strtod() sees nothing that it knows alone (inf, 0x1p3) */
    struct mr_str whole = skip(text, text.n > 0 && text.p[0] == '-'), rest = skip(whole, count_digits(whole));
    bool ok = rest.n < whole.n;
    if (ok && rest.n > 0 && rest.p[0] == '.') {
        struct mr_str fraction = skip(rest, 1);
        rest = skip(fraction, count_digits(fraction));
        ok = rest.n < fraction.n;
    }
    if (!ok || rest.n > 0 || text.n >= sizeof copy) {
        mr_buf_puts(why, "expected a number such as 0.5, found ");
        mr_config_quote(why, text);
        return false;
    }
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    *out = strtod(copy, NULL);
    return true;
}

/* min and max of lists count items. */
static enum mr_type range_type(const struct mr_option *row)
{
    return row->type == MR_T_SIZE || row->type == MR_T_DURATION ? row->type : MR_T_INT;
}

static bool bound(const struct mr_option *row, const char *text, int64_t *out)
{
    if (!text)
        return false;
    struct mr_buf why;
    mr_buf_init(&why, 512);
    bool ok = mr_unit_parse(range_type(row), mr_str_c(text), out, &why);
    mr_buf_free(&why);
    assert(ok); /* our own row */
    return ok;
}

static bool real_bounds_ok(const struct mr_option *row, struct mr_buf *why)
{
    double min = -HUGE_VAL, max = HUGE_VAL;
    if (row->min && !mr_unit_real_parse(mr_str_c(row->min), &min, why))
        return false;
    if (row->max && !mr_unit_real_parse(mr_str_c(row->max), &max, why))
        return false;
    if (min > max)
        mr_buf_puts(why, "min is above max");
    return min <= max;
}

bool mr_unit_bounds_ok(const struct mr_option *row, struct mr_buf *why)
{
    if (row->type == MR_T_REAL)
        return real_bounds_ok(row, why);
    int64_t min = INT64_MIN, max = INT64_MAX;
    if (row->min && !mr_unit_parse(range_type(row), mr_str_c(row->min), &min, why))
        return false;
    if (row->max && !mr_unit_parse(range_type(row), mr_str_c(row->max), &max, why))
        return false;
    if (min > max)
        mr_buf_puts(why, "min is above max");
    return min <= max;
}

bool mr_unit_in_range(const struct mr_option *row, int64_t v, struct mr_buf *why)
{
    int64_t min, max;
    if (!(bound(row, row->min, &min) && v < min) && !(bound(row, row->max, &max) && v > max))
        return true;
    mr_buf_puts(why, "out of range: expected ");
    mr_unit_range_put(row, why);
    return false;
}

static double real_bound(const char *text, double none)
{
    struct mr_buf why;
    mr_buf_init(&why, 512);
    bool ok = !text || mr_unit_real_parse(mr_str_c(text), &none, &why);
    mr_buf_free(&why);
    assert(ok); /* our own row */
    (void)ok;
    return none;
}

bool mr_unit_real_in_range(const struct mr_option *row, double v, struct mr_buf *why)
{
    if (v >= real_bound(row->min, -HUGE_VAL) && v <= real_bound(row->max, HUGE_VAL))
        return true;
    mr_buf_puts(why, "out of range: expected ");
    mr_unit_range_put(row, why);
    return false;
}

void mr_unit_range_put(const struct mr_option *row, struct mr_buf *out)
{
    if (row->min && row->max)
        mr_buf_printf(out, "%s to %s", row->min, row->max);
    else if (row->min)
        mr_buf_printf(out, "at least %s", row->min);
    else if (row->max)
        mr_buf_printf(out, "at most %s", row->max);
}

const char *mr_unit_pattern(enum mr_type type)
{
    return type == MR_T_SIZE ? "^[0-9]+(B|KiB|MiB|GiB|TiB)$" : "^[0-9]+(ms|s|m|h|d)$";
}
