/* SPDX-License-Identifier: Apache-2.0 */
#include "millrace/schedule.h"

#include <assert.h>
#include <strings.h>

enum { DAYS_PER_CYCLE = 146097 /* 400 years, whole weeks: what has not come by then never does */, MINUTES_PER_DAY = 1440 };
#define US_PER_MINUTE INT64_C(60000000)

/* -- reading the text ------------------------------------------------------------------------------------------------------ */

struct field {
    const char *name, *expected;
    int low, high, names_from; /* the first name's value */
    const char *const *names;  /* NULL-terminated; or NULL */
};
static const char *const month_names[] = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC", NULL};
static const char *const day_names[] = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", NULL};
enum { MINUTE, HOUR, MDAY, MONTH, WDAY, FIELDS };
static const struct field fields[FIELDS] = {
    [MINUTE] = {"minute", "0 to 59", 0, 59, 0, NULL},
    [HOUR] = {"hour", "0 to 23", 0, 23, 0, NULL},
    [MDAY] = {"day of month", "1 to 31", 1, 31, 0, NULL},
    [MONTH] = {"month", "1 to 12 or JAN to DEC", 1, 12, 1, month_names},
    [WDAY] = {"day of week", "0 to 7 or SUN to SAT", 0, 7, 0, day_names},
};

static const struct {
    const char *name, *fields;
} words[] = {
    {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"},
};

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static int shown(struct mr_str s)
{
    return (int)(s.n < 40 ? s.n : 40);
}

static bool refuse_item(const struct field *f, struct mr_str item, struct mr_err *err)
{
    mr_err_set(err, MR_ECONFIG, "%s: expected %s, found \"%.*s\"", f->name, f->expected, shown(item), item.p);
    return false;
}

/* Digits from the front of *s, which moves on; 1000 stands for all that is larger. */
static bool take_number(struct mr_str *s, int *v)
{
    size_t digits = 0;
    for (*v = 0; digits < s->n && s->p[digits] >= '0' && s->p[digits] <= '9'; digits++)
        *v = *v > 99 ? 1000 : *v * 10 + (s->p[digits] - '0');
    *s = (struct mr_str){s->p + digits, s->n - digits};
    return digits > 0;
}

static bool take_name(const struct field *f, struct mr_str *s, int *v)
{
    for (int i = 0; f->names && f->names[i]; i++) {
        if (s->n >= 3 && strncasecmp(s->p, f->names[i], 3) == 0) {
            *v = f->names_from + i;
            *s = (struct mr_str){s->p + 3, s->n - 3};
            return true;
        }
    }
    return false;
}

static bool take_value(const struct field *f, struct mr_str *s, int *v)
{
    return (take_number(s, v) || take_name(f, s, v)) && *v >= f->low && *v <= f->high;
}

static bool take_char(struct mr_str *s, char c)
{
    if (s->n == 0 || *s->p != c)
        return false;
    *s = (struct mr_str){s->p + 1, s->n - 1};
    return true;
}

/* `*`, or a value, or two: *single says which. */
static bool take_range(const struct field *f, struct mr_str *s, int *from, int *to, bool *single)
{
    *single = false;
    if (take_char(s, '*')) {
        *from = f->low;
        *to = f == &fields[WDAY] ? 6 : f->high;
        return true;
    }
    if (!take_value(f, s, from))
        return false;
    *to = *from;
    *single = !take_char(s, '-');
    if (*single)
        return true;
    if (!take_value(f, s, to))
        return false;
    if (f == &fields[WDAY] && *to == 0 && *from > 0)
        *to = 7; /* FRI-SUN */
    return true;
}

static bool take_step(const struct field *f, struct mr_str item, struct mr_str *s, int *step, struct mr_err *err)
{
    int most = (f == &fields[WDAY] ? 6 : f->high) - f->low;
    if (take_number(s, step) && *step > 0 && *step <= most)
        return true;
    mr_err_set(err, MR_ECONFIG, "%s: expected a step of 1 to %d, found \"%.*s\"", f->name, most, shown(item), item.p);
    return false;
}

static bool parse_item(const struct field *f, struct mr_str item, uint64_t *bits, struct mr_err *err)
{
    struct mr_str s = item;
    int from, to, step = 1;
    bool single;
    if (!take_range(f, &s, &from, &to, &single))
        return refuse_item(f, item, err);
    bool stepped = take_char(&s, '/');
    if (stepped && single) {
        mr_err_set(err, MR_ECONFIG, "%s: expected a step behind * or a range, found \"%.*s\": write %d-%d%.*s", f->name, shown(item), item.p, from,
                   f->high, shown(s) + 1, s.p - 1);
        return false;
    }
    if (stepped && !take_step(f, item, &s, &step, err))
        return false;
    if (s.n > 0)
        return refuse_item(f, item, err);
    if (from > to) {
        mr_err_set(err, MR_ECONFIG, "%s: expected a range that goes up, found \"%.*s\": write %d-%d,%d-%d", f->name, shown(item), item.p, from,
                   f == &fields[WDAY] ? 6 : f->high, f->low, to);
        return false;
    }
    for (int v = from; v <= to; v += step)
        *bits |= UINT64_C(1) << v;
    return true;
}

static bool parse_field(const struct field *f, struct mr_str text, uint64_t *bits, struct mr_err *err)
{
    for (*bits = 0;;) {
        const char *comma = memchr(text.p, ',', text.n);
        struct mr_str item = {text.p, comma ? (size_t)(comma - text.p) : text.n};
        if (!parse_item(f, item, bits, err))
            return false;
        if (!comma)
            return true;
        text = (struct mr_str){comma + 1, text.n - item.n - 1};
    }
}

static bool parse_word(struct mr_str text, struct mr_cron *out, struct mr_err *err)
{
    for (size_t i = 0; i < MR_COUNT(words); i++) {
        if (text.n == strlen(words[i].name) && strncasecmp(text.p, words[i].name, text.n) == 0)
            return mr_cron_parse(words[i].fields, out, err);
    }
    mr_err_set(err, MR_ECONFIG, "expected @hourly, @daily, @weekly, @monthly or @yearly, found \"%.*s\"", shown(text), text.p);
    return false;
}

/* Counts them all, keeps the first five. */
static size_t split(const char *text, struct mr_str out[FIELDS])
{
    size_t count = 0;
    for (const char *s = text;;) {
        while (blank(*s))
            s++;
        if (*s == '\0')
            return count;
        const char *start = s;
        while (*s != '\0' && !blank(*s))
            s++;
        if (count < FIELDS)
            out[count] = (struct mr_str){start, (size_t)(s - start)};
        count++;
    }
}

bool mr_cron_parse(const char *text, struct mr_cron *out, struct mr_err *err)
{
    struct mr_str parts[FIELDS];
    uint64_t bits[FIELDS];
    size_t count = split(text, parts);
    if (count == 1 && parts[0].p[0] == '@')
        return parse_word(parts[0], out, err);
    if (count != FIELDS) {
        mr_err_set(err, MR_ECONFIG, "expected five fields (minute, hour, day of month, month, day of week), found %zu", count);
        return false;
    }
    for (int i = 0; i < FIELDS; i++) {
        if (!parse_field(&fields[i], parts[i], &bits[i], err))
            return false;
    }
    *out = (struct mr_cron){
        .minutes = bits[MINUTE], .hours = (uint32_t)bits[HOUR], .mdays = (uint32_t)bits[MDAY], .months = (uint16_t)bits[MONTH],
        .wdays = (uint8_t)((bits[WDAY] | bits[WDAY] >> 7) & 0x7f),
        .either_day = parts[MDAY].p[0] != '*' && parts[WDAY].p[0] != '*'};
    return true;
}

/* -- the next time ----------------------------------------------------------------------------------------------------------- */

static bool has(uint64_t bits, int v)
{
    return (bits >> v & 1) != 0;
}

static bool day_fits(const struct mr_cron *c, int32_t day)
{
    int year, month, mday;
    mr_day_civil(day, &year, &month, &mday);
    int wday = ((day + 4) % 7 + 7) % 7; /* 1970-01-01 was a Thursday */
    bool by_mday = has(c->mdays, mday), by_wday = has(c->wdays, wday);
    return has(c->months, month) && (c->either_day ? by_mday || by_wday : by_mday && by_wday);
}

/* The first minute of a day that fits, `from` or later; -1: none. */
static int minute_of_day(const struct mr_cron *c, int from)
{
    for (int hour = from / 60; hour < 24; hour++) {
        uint64_t minutes = hour == from / 60 ? c->minutes >> from % 60 << from % 60 : c->minutes;
        if (has(c->hours, hour) && minutes != 0)
            return hour * 60 + __builtin_ctzll(minutes);
    }
    return -1;
}

int64_t mr_cron_next(const struct mr_cron *c, int64_t after_us)
{
    int32_t day = mr_day_of(after_us);
    int64_t into_day = after_us % MR_US_PER_DAY + (after_us % MR_US_PER_DAY < 0 ? MR_US_PER_DAY : 0);
    int from = (int)(into_day / US_PER_MINUTE) + 1;
    for (int i = 0; i <= DAYS_PER_CYCLE; i++, day++, from = 0) {
        int minute = day_fits(c, day) ? minute_of_day(c, from) : -1;
        int64_t at;
        if (minute >= 0)
            return __builtin_mul_overflow((int64_t)day * MINUTES_PER_DAY + minute, US_PER_MINUTE, &at) ? MR_NO_TIME : at;
    }
    return MR_NO_TIME;
}

int64_t mr_schedule_next(const struct mr_schedule *s, int64_t last_us, int64_t now_us, uint64_t random)
{
    assert(s->by_cron || (s->every_ms > 0 && s->every_ms <= MR_SCHEDULE_MS_MAX));
    assert(s->jitter_ms >= 0 && s->jitter_ms <= MR_SCHEDULE_MS_MAX);
    bool first = last_us == MR_NO_TIME;
    if (first || last_us > now_us)
        last_us = now_us;
    int64_t due = s->by_cron ? mr_cron_next(&s->cron, last_us) : first ? now_us : last_us + s->every_ms * 1000;
    if (due == MR_NO_TIME)
        return MR_NO_TIME;
    return due <= now_us ? now_us : due + (int64_t)(random % ((uint64_t)s->jitter_ms + 1)) * 1000;
}
