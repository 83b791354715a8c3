/* SPDX-License-Identifier: Apache-2.0 */
#include "bounds.h"

#include "ids.h"

#include <string.h>

static bool still_there(const struct pg_probe *probe, const char *who)
{
    for (size_t i = 0; i < probe->stragglers_count; i++)
        if (strcmp(probe->stragglers[i].who, who) == 0)
            return true;
    for (size_t i = 0; i < probe->prepared_count; i++)
        if (strcmp(probe->prepared[i], who) == 0)
            return true;
    return false;
}

static int64_t lower(int64_t a, int64_t b) /* MR_NO_TIME is the lowest */
{
    return a < b ? a : b;
}

static int64_t step_down(int64_t us)
{
    int64_t rest = us % PG_STEP_US;
    return us - (rest < 0 ? rest + PG_STEP_US : rest);
}

struct pg_bounds pg_bounds_of(struct pg_position *p, const struct pg_probe *probe, int64_t skew_us, int64_t guard_us)
{
    struct pg_bounds b = {.from = p->l, .x = probe->xmin};
    size_t kept = 0;
    int64_t lowest = p->l; /* of any that may have been prepared since */
    for (size_t i = 0; i < p->held_count; i++) {
        if (p->held[i].who[0] != 'p')
            lowest = lower(lowest, p->held[i].from);
        if (still_there(probe, p->held[i].who))
            p->held[kept++] = p->held[i];
        else
            b.from = lower(b.from, p->held[i].from);
    }
    p->held_count = kept;
    for (size_t i = 0; i < probe->stragglers_count; i++)
        if (!pg_held_find(p, probe->stragglers[i].who))
            pg_held_add(p, probe->stragglers[i].who, probe->stragglers[i].began - skew_us - guard_us);
    for (size_t i = 0; i < probe->prepared_count; i++)
        if (!pg_held_find(p, probe->prepared[i])) /* it may have been held as a session, and even be told as one by this probe, which reads sessions first */
            pg_held_add(p, probe->prepared[i], lowest);
    int64_t open = probe->oldest != MR_NO_TIME && probe->oldest < probe->now ? probe->oldest : probe->now;
    b.next = step_down(open - skew_us - guard_us);
    if (p->l != MR_NO_TIME && p->l > b.next)
        b.next = p->l;
    return b;
}

struct pg_bounds pg_window_of(struct pg_position *p, const struct pg_probe *probe, int64_t skew_us, int64_t guard_us, int64_t hold_us)
{
    int64_t open = probe->oldest != MR_NO_TIME && probe->oldest < probe->now ? probe->oldest : probe->now;
    size_t kept = 0;
    if (probe->hidden && probe->now - hold_us < open)
        open = probe->now - hold_us; /* of those nothing is known */
    for (size_t i = 0; i < probe->stragglers_count; i++)
        if (probe->stragglers[i].began > probe->now - hold_us && probe->stragglers[i].began < open)
            open = probe->stragglers[i].began;
    struct pg_bounds b = {.from = p->l, .next = open - skew_us - guard_us};
    for (size_t i = 0; i < p->held_count; i++)
        if (still_there(probe, p->held[i].who))
            p->held[kept++] = p->held[i];
    p->held_count = kept;
    for (size_t i = 0; i < probe->prepared_count; i++)
        if (!pg_held_find(p, probe->prepared[i]))
            pg_held_add(p, probe->prepared[i], p->l == MR_NO_TIME ? b.next : p->l);
    for (size_t i = 0; i < p->held_count; i++)
        if (p->held[i].from > probe->now - hold_us && p->held[i].from < b.next)
            b.next = p->held[i].from;
    if (p->l != MR_NO_TIME && p->l > b.next)
        b.next = p->l;
    return b;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

int64_t pg_floor(enum pg_form form, int64_t unit_us, int64_t local_us)
{
    if (local_us == MR_NO_TIME)
        return PG_ALL;
    switch (form) {
    case PG_FORM_DATE:
        return floor_div(local_us, MR_US_PER_DAY);
    case PG_FORM_INT2:
    case PG_FORM_INT4:
    case PG_FORM_INT8:
        return floor_div(local_us, unit_us);
    default:
        return local_us;
    }
}

int64_t pg_watermark_us(enum pg_form form, int64_t unit_us, int64_t v)
{
    int64_t by = form == PG_FORM_DATE ? MR_US_PER_DAY : form == PG_FORM_TIMESTAMP || form == PG_FORM_TIMESTAMPTZ ? 1 : unit_us, us;
    if (v == INT64_MIN || v == INT64_MAX || __builtin_mul_overflow(v, by, &us))
        return MR_NO_TIME;
    return us;
}
