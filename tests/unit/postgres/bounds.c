/* SPDX-License-Identifier: Apache-2.0 */
/* From where a run reads, rule by rule. Times are seconds here, so that one can count along. */
#include "sources/postgres/bounds.h"
#include "sources/postgres/ids.h"

#include "unit/postgres/tests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S(seconds) (INT64_C(1000000) * (seconds))
enum { SKEW = 60, GUARD = 5, HOLD = 3600 };

/* A probe at `now`, with the oldest open transaction that does not straggle (0: none). */
static struct pg_probe probe_of(int64_t now, int64_t oldest)
{
    return (struct pg_probe){.now = S(now), .xmin = 100, .oldest = oldest ? S(oldest) : MR_NO_TIME};
}

static struct pg_session straggler(const char *who, int64_t began)
{
    struct pg_session s = {.began = S(began)};
    snprintf(s.who, sizeof s.who, "%s", who);
    return s;
}

static struct pg_position position_at(int64_t l)
{
    struct pg_position p;
    pg_position_init(&p);
    p.x = 50;
    p.l = S(l);
    return p;
}

static struct pg_bounds bounds(struct pg_position *p, const struct pg_probe *probe)
{
    struct pg_bounds b = pg_bounds_of(p, probe, S(SKEW), S(GUARD));
    p->l = b.next;
    return b;
}

static struct pg_bounds window(struct pg_position *p, const struct pg_probe *probe)
{
    struct pg_bounds b = pg_window_of(p, probe, S(SKEW), S(GUARD), S(HOLD));
    p->l = b.next;
    return b;
}

/* ---- the range ---- */

static void the_first_run_reads_everything(void **state)
{
    (void)state;
    struct pg_position p;
    struct pg_probe probe = probe_of(100000, 0);
    pg_position_init(&p);
    struct pg_bounds b = bounds(&p, &probe);
    assert_true(b.from == MR_NO_TIME);
    assert_true(b.x == 100);
    assert_true(b.next == S(99930)); /* 100000 - 65 = 99935, down to a quarter of a minute */
    b = bounds(&p, &probe);
    assert_true(b.from == S(99930));
    pg_position_free(&p);
}

static void the_next_range_begins_at_the_oldest_open_transaction(void **state)
{
    static const struct {
        int64_t now, oldest, next;
    } rows[] = {
        {100000, 0, 99930},      /* none is open: now */
        {100000, 99999, 99930},
        {100000, 99990, 99915},  /* 99925, down */
        {100000, 99980, 99915},  /* 99915, just so */
        {100000, 99979, 99900},
        {100000, 100001, 99930}, /* the probe reads the clock first: who began later is not older than now */
        {100000, 200000, 99930},
    };
    (void)state;
    for (size_t i = 0; i < MR_COUNT(rows); i++) {
        struct pg_position p = position_at(90000);
        struct pg_probe probe = probe_of(rows[i].now, rows[i].oldest);
        struct pg_bounds b = bounds(&p, &probe);
        assert_true(b.from == S(90000));
        if (b.next != S(rows[i].next))
            fail_msg("row %zu: %lld", i, (long long)b.next);
    }
}

static void steps_go_down_before_1970_too(void **state)
{
    (void)state;
    for (int64_t now = -300; now < 300; now++) {
        struct pg_position p;
        struct pg_probe probe = probe_of(now, 0);
        pg_position_init(&p);
        struct pg_bounds b = bounds(&p, &probe);
        int64_t most = S(now - SKEW - GUARD);
        assert_true(b.next <= most && most - b.next < PG_STEP_US && b.next % PG_STEP_US == 0);
    }
}

static void no_bound_goes_backwards(void **state)
{
    (void)state;
    struct pg_position p = position_at(99990);
    struct pg_probe probe = probe_of(100000, 99000); /* a clock set back, a skew raised */
    struct pg_bounds b = bounds(&p, &probe);
    assert_true(b.from == S(99990) && b.next == S(99990));
    p.l = S(99999) + 7; /* as a person set it */
    b = bounds(&p, &probe);
    assert_true(b.from == S(99999) + 7 && b.next == S(99999) + 7);
}

static void skew_and_guard_are_both_taken_off(void **state)
{
    (void)state;
    struct pg_probe probe = probe_of(15000, 0);
    static const int64_t rows[][3] = {{0, 0, 15000}, {15, 0, 14985}, {0, 15, 14985}, {15, 15, 14970}, {1, 0, 14985}, {0, 1, 14985}, {3600, 0, 11400}};
    for (size_t i = 0; i < MR_COUNT(rows); i++) {
        struct pg_position p = position_at(1);
        assert_true(pg_bounds_of(&p, &probe, S(rows[i][0]), S(rows[i][1])).next == S(rows[i][2]));
    }
}

/* ---- held ---- */

static void a_straggler_is_held_and_read_once_it_is_gone(void **state)
{
    (void)state;
    struct pg_position p = position_at(99900);
    struct pg_session long_one = straggler("7/99800", 99800);
    struct pg_probe probe = probe_of(100000, 0);
    probe.stragglers = &long_one;
    probe.stragglers_count = 1;
    struct pg_bounds b = bounds(&p, &probe);
    assert_true(b.from == S(99900) && b.next == S(99930)); /* it holds nobody up */
    assert_int_equal(p.held_count, 1);
    assert_true(p.held[0].from == S(99800 - SKEW - GUARD));
    probe.now = S(100015);
    b = bounds(&p, &probe); /* still there, held once */
    assert_true(b.from == S(99930) && b.next == S(99945));
    assert_int_equal(p.held_count, 1);
    struct pg_probe gone = probe_of(100030, 0);
    b = bounds(&p, &gone);
    assert_true(b.from == S(99735) && b.next == S(99960)); /* one run from its beginning on */
    assert_int_equal(p.held_count, 0);
    gone.now = S(100045);
    b = bounds(&p, &gone);
    assert_true(b.from == S(99960));
    pg_position_free(&p);
}

static void who_is_held_is_told_by_his_transaction_too(void **state)
{
    (void)state;
    struct pg_position p = position_at(99900);
    struct pg_session first = straggler("7/99000", 99000), second = straggler("7/99900", 99900);
    struct pg_probe probe = probe_of(100000, 0);
    probe.stragglers = &first;
    probe.stragglers_count = 1;
    bounds(&p, &probe);
    probe.stragglers = &second; /* the same process, another transaction */
    struct pg_bounds b = bounds(&p, &probe);
    assert_true(b.from == S(99000 - SKEW - GUARD));
    assert_int_equal(p.held_count, 1);
    assert_string_equal(p.held[0].who, "7/99900");
    pg_position_free(&p);
}

static void of_several_that_are_gone_the_lowest_counts(void **state)
{
    (void)state;
    struct pg_position p = position_at(99900);
    struct pg_session all[] = {straggler("1/a", 99700), straggler("2/b", 99500), straggler("3/c", 99600)};
    struct pg_probe probe = probe_of(100000, 0);
    probe.stragglers = all;
    probe.stragglers_count = 3;
    bounds(&p, &probe);
    assert_int_equal(p.held_count, 3);
    probe.stragglers = all + 2; /* a and b are gone */
    probe.stragglers_count = 1;
    struct pg_bounds b = bounds(&p, &probe);
    assert_true(b.from == S(99500 - SKEW - GUARD));
    assert_int_equal(p.held_count, 1);
    assert_string_equal(p.held[0].who, "3/c");
    probe.stragglers_count = 0;
    b = bounds(&p, &probe);
    assert_true(b.from == S(99600 - SKEW - GUARD));
    pg_position_free(&p);
}

static void a_straggler_above_the_range_does_not_raise_it(void **state)
{
    (void)state;
    struct pg_position p = position_at(99000);
    struct pg_session young = straggler("1/a", 99970);
    struct pg_probe probe = probe_of(100000, 99100);
    probe.stragglers = &young;
    probe.stragglers_count = 1;
    bounds(&p, &probe);
    probe.stragglers_count = 0;
    p.l = S(99000);
    assert_true(bounds(&p, &probe).from == S(99000));
    pg_position_free(&p);
}

static void a_prepared_one_is_held_at_the_range_of_the_run_that_sees_it(void **state)
{
    (void)state;
    char names[1][48] = {"p77"};
    struct pg_position p = position_at(99000);
    struct pg_probe probe = probe_of(100000, 0);
    probe.prepared = names;
    probe.prepared_count = 1;
    struct pg_bounds b = bounds(&p, &probe);
    assert_true(b.from == S(99000) && b.next == S(99930));
    assert_int_equal(p.held_count, 1);
    assert_string_equal(p.held[0].who, "p77");
    assert_true(p.held[0].from == S(99000)); /* of this run, not of the next: it was open, or not there, when that one was computed */
    probe.now = S(200000);
    b = bounds(&p, &probe);
    assert_true(b.from == S(99930) && p.held_count == 1 && p.held[0].from == S(99000));
    probe.prepared_count = 0;
    b = bounds(&p, &probe);
    assert_true(b.from == S(99000));
    assert_int_equal(p.held_count, 0);
    pg_position_free(&p);
}

static void one_that_is_prepared_before_the_first_run_may_lie_anywhere(void **state)
{
    (void)state;
    char names[1][48] = {"p77"};
    struct pg_position p;
    struct pg_probe probe = probe_of(100000, 0);
    pg_position_init(&p);
    probe.prepared = names;
    probe.prepared_count = 1;
    bounds(&p, &probe);
    assert_true(p.held_count == 1 && p.held[0].from == MR_NO_TIME);
    probe.prepared_count = 0;
    struct pg_bounds b = bounds(&p, &probe);
    assert_true(b.from == MR_NO_TIME); /* everything, of transactions from X on */
    assert_true(bounds(&p, &probe).from == S(99930));
    pg_position_free(&p);
}

static void a_straggler_that_becomes_prepared_is_held_from_its_beginning(void **state)
{
    (void)state;
    char names[1][48] = {"p77"};
    struct pg_position p = position_at(99900);
    struct pg_session long_one = straggler("7/99000", 99000);
    struct pg_probe probe = probe_of(100000, 0);
    probe.stragglers = &long_one;
    probe.stragglers_count = 1;
    bounds(&p, &probe);
    struct pg_probe then = probe_of(100030, 0);
    then.prepared = names;
    then.prepared_count = 1;
    struct pg_bounds b = bounds(&p, &then);
    assert_true(b.from == S(99000 - SKEW - GUARD)); /* the session is gone, so it is read as if its transaction had ended */
    assert_int_equal(p.held_count, 1);
    assert_string_equal(p.held[0].who, "p77");
    assert_true(p.held[0].from == b.from);
    struct pg_probe over = probe_of(100060, 0);
    assert_true(bounds(&p, &over).from == S(99000 - SKEW - GUARD));
    pg_position_free(&p);
}

static void a_straggler_seen_as_prepared_in_the_same_probe_is_held_twice(void **state)
{
    (void)state;
    char names[1][48] = {"p77"};
    struct pg_position p = position_at(99900);
    struct pg_session long_one = straggler("7/99000", 99000);
    struct pg_probe probe = probe_of(100000, 0);
    probe.stragglers = &long_one;
    probe.stragglers_count = 1;
    bounds(&p, &probe);
    probe.prepared = names; /* sessions are read before prepared ones: it was prepared between the two */
    probe.prepared_count = 1;
    bounds(&p, &probe);
    assert_int_equal(p.held_count, 2);
    probe.stragglers_count = 0; /* now only prepared: read from its beginning, and held from there for when it ends */
    struct pg_bounds b = bounds(&p, &probe);
    assert_true(b.from == S(99000 - SKEW - GUARD));
    probe.prepared_count = 0;
    b = bounds(&p, &probe);
    if (b.from != S(99000 - SKEW - GUARD))
        fail_msg("its rows lie from %lld s on, they are read from %lld s on", (long long)(99000 - SKEW), (long long)(b.from / 1000000));
    pg_position_free(&p);
}

/* ---- windows ---- */

static void a_window_ends_where_nobody_can_write_any_more(void **state)
{
    (void)state;
    struct pg_position p;
    struct pg_probe probe = probe_of(100000, 0);
    pg_position_init(&p);
    struct pg_bounds b = window(&p, &probe);
    assert_true(b.from == MR_NO_TIME && b.next == S(99935)); /* no step: nothing is read twice */
    probe = probe_of(100100, 100050);
    b = window(&p, &probe);
    assert_true(b.from == S(99935) && b.next == S(99985));
    probe = probe_of(100200, 99000); /* older than the last bound: the window is empty, and stays */
    b = window(&p, &probe);
    assert_true(b.from == S(99985) && b.next == S(99985));
}

static void a_window_waits_for_stragglers_so_long_and_no_longer(void **state)
{
    (void)state;
    struct pg_position p = position_at(99000);
    struct pg_session long_one = straggler("7/99500", 99500);
    struct pg_probe probe = probe_of(100000, 0);
    probe.stragglers = &long_one;
    probe.stragglers_count = 1;
    assert_true(window(&p, &probe).next == S(99500 - SKEW - GUARD));
    assert_int_equal(p.held_count, 0);
    probe.now = S(99500 + HOLD - 1);
    assert_true(window(&p, &probe).next == S(99500 - SKEW - GUARD));
    probe.now = S(99500 + HOLD);
    assert_true(window(&p, &probe).next == S(99500 + HOLD - SKEW - GUARD));
}

static void a_window_waits_for_prepared_ones_so_long_and_no_longer(void **state)
{
    (void)state;
    char names[1][48] = {"p77"};
    struct pg_position p = position_at(99000);
    struct pg_probe probe = probe_of(100000, 0);
    probe.prepared = names;
    probe.prepared_count = 1;
    assert_true(window(&p, &probe).next == S(99000)); /* its rows may lie from there on */
    assert_true(p.held_count == 1 && p.held[0].from == S(99000));
    probe.now = S(99000 + HOLD - 1);
    assert_true(window(&p, &probe).next == S(99000));
    probe.now = S(99000 + HOLD);
    assert_true(window(&p, &probe).next == S(99000 + HOLD - SKEW - GUARD));
    probe = probe_of(99000 + HOLD + 100, 0);
    window(&p, &probe);
    assert_int_equal(p.held_count, 0);
    pg_position_free(&p);
}

static void a_window_goes_on_when_the_prepared_one_is_over(void **state)
{
    (void)state;
    char names[1][48] = {"p77"};
    struct pg_position p = position_at(99000);
    struct pg_probe probe = probe_of(100000, 0);
    probe.prepared = names;
    probe.prepared_count = 1;
    window(&p, &probe);
    probe.prepared_count = 0;
    struct pg_bounds b = window(&p, &probe);
    assert_true(b.from == S(99000) && b.next == S(99935));
    pg_position_free(&p);
}

static void of_hidden_sessions_a_window_takes_the_worst(void **state)
{
    (void)state;
    struct pg_position p = position_at(90000);
    struct pg_probe probe = probe_of(100000, 0);
    probe.hidden = 2;
    assert_true(window(&p, &probe).next == S(100000 - HOLD - SKEW - GUARD));
    probe.oldest = S(96000); /* older than that: it counts */
    p.l = S(90000);
    assert_true(window(&p, &probe).next == S(96000 - SKEW - GUARD));
}

static void what_is_held_without_a_time_holds_no_window(void **state)
{
    (void)state;
    char names[1][48] = {"p77"};
    struct pg_position p = position_at(99000);
    struct pg_probe probe = probe_of(100000, 0);
    probe.prepared = names;
    probe.prepared_count = 1;
    pg_held_add(&p, "p77", MR_NO_TIME); /* of another method, before */
    assert_true(window(&p, &probe).next == S(99935));
    p.held[0].from = MR_NO_TIME + 1;
    assert_true(window(&p, &probe).next == S(99935));
    p.held[0].from = INT64_MAX; /* as a person may write it */
    assert_true(window(&p, &probe).next == S(99935));
    pg_position_free(&p);
}

/* ---- the column's own values ---- */

static void floors_are_not_above_the_time(void **state)
{
    static const struct {
        enum pg_form form;
        int64_t unit, us, floor;
    } rows[] = {
        {PG_FORM_TIMESTAMPTZ, 0, 1234567, 1234567},      {PG_FORM_TIMESTAMP, 0, -1234567, -1234567},
        {PG_FORM_DATE, 0, 0, 0},                         {PG_FORM_DATE, 0, MR_US_PER_DAY - 1, 0},
        {PG_FORM_DATE, 0, MR_US_PER_DAY, 1},             {PG_FORM_DATE, 0, -1, -1},
        {PG_FORM_DATE, 0, -MR_US_PER_DAY, -1},           {PG_FORM_DATE, 0, -MR_US_PER_DAY - 1, -2},
        {PG_FORM_INT2, S(1), 1999999, 1},                {PG_FORM_INT4, S(1), -1, -1},
        {PG_FORM_INT4, S(1), S(-1), -1},                 {PG_FORM_INT4, S(1), S(-1) - 1, -2},
        {PG_FORM_INT8, 1000, 1764300000123999, 1764300000123}, {PG_FORM_INT8, 1, -17, -17},
        {PG_FORM_INT8, 1000, MR_NO_TIME, PG_ALL},        {PG_FORM_DATE, 0, MR_NO_TIME, PG_ALL},
        {PG_FORM_TIMESTAMPTZ, 0, MR_NO_TIME, PG_ALL},    {PG_FORM_INT8, 1000, MR_NO_TIME + 1, INT64_C(-9223372036854776)},
    };
    (void)state;
    for (size_t i = 0; i < MR_COUNT(rows); i++) {
        int64_t is = pg_floor(rows[i].form, rows[i].unit, rows[i].us);
        if (is != rows[i].floor)
            fail_msg("row %zu: %lld", i, (long long)is);
    }
}

static void a_value_below_the_floor_is_older_than_the_time(void **state)
{
    static const struct {
        enum pg_form form;
        int64_t unit;
    } kinds[] = {{PG_FORM_DATE, 0}, {PG_FORM_INT4, S(1)}, {PG_FORM_INT8, 1000}, {PG_FORM_INT8, 1}, {PG_FORM_TIMESTAMP, 0}, {PG_FORM_TIMESTAMPTZ, 0}};
    struct chance c = chance_of(first_seed());
    (void)state;
    for (int i = 0; i < 20000; i++) {
        size_t k = draw(&c, MR_COUNT(kinds));
        int64_t us = within(&c, -MR_US_PER_DAY * 400, MR_US_PER_DAY * 400) * within(&c, 1, 50), floor = pg_floor(kinds[k].form, kinds[k].unit, us);
        int64_t at = pg_watermark_us(kinds[k].form, kinds[k].unit, floor), next = pg_watermark_us(kinds[k].form, kinds[k].unit, floor + 1);
        if (at > us || next <= us)
            fail_msg("kind %zu: %lld lies not in [%lld, %lld)", k, (long long)us, (long long)at, (long long)next);
    }
}

static void infinities_and_what_is_too_large_have_no_time(void **state)
{
    (void)state;
    assert_true(pg_watermark_us(PG_FORM_TIMESTAMPTZ, 0, INT64_MAX) == MR_NO_TIME);
    assert_true(pg_watermark_us(PG_FORM_DATE, 0, INT64_MIN) == MR_NO_TIME);
    assert_true(pg_watermark_us(PG_FORM_DATE, 0, INT64_MAX / 2) == MR_NO_TIME);
    assert_true(pg_watermark_us(PG_FORM_INT8, 1000000, INT64_C(9223372036855)) == MR_NO_TIME);
    assert_true(pg_watermark_us(PG_FORM_INT8, 1000000, INT64_C(9223372036854)) == INT64_C(9223372036854000000));
    assert_true(pg_watermark_us(PG_FORM_DATE, 0, -1) == -MR_US_PER_DAY);
}

const struct CMUnitTest bounds_tests[] = {
    cmocka_unit_test(the_first_run_reads_everything),
    cmocka_unit_test(the_next_range_begins_at_the_oldest_open_transaction),
    cmocka_unit_test(steps_go_down_before_1970_too),
    cmocka_unit_test(no_bound_goes_backwards),
    cmocka_unit_test(skew_and_guard_are_both_taken_off),
    cmocka_unit_test(a_straggler_is_held_and_read_once_it_is_gone),
    cmocka_unit_test(who_is_held_is_told_by_his_transaction_too),
    cmocka_unit_test(of_several_that_are_gone_the_lowest_counts),
    cmocka_unit_test(a_straggler_above_the_range_does_not_raise_it),
    cmocka_unit_test(a_prepared_one_is_held_at_the_range_of_the_run_that_sees_it),
    cmocka_unit_test(one_that_is_prepared_before_the_first_run_may_lie_anywhere),
    cmocka_unit_test(a_straggler_that_becomes_prepared_is_held_from_its_beginning),
    cmocka_unit_test(a_straggler_seen_as_prepared_in_the_same_probe_is_held_twice),
    cmocka_unit_test(a_window_ends_where_nobody_can_write_any_more),
    cmocka_unit_test(a_window_waits_for_stragglers_so_long_and_no_longer),
    cmocka_unit_test(a_window_waits_for_prepared_ones_so_long_and_no_longer),
    cmocka_unit_test(a_window_goes_on_when_the_prepared_one_is_over),
    cmocka_unit_test(of_hidden_sessions_a_window_takes_the_worst),
    cmocka_unit_test(what_is_held_without_a_time_holds_no_window),
    cmocka_unit_test(floors_are_not_above_the_time),
    cmocka_unit_test(a_value_below_the_floor_is_older_than_the_time),
    cmocka_unit_test(infinities_and_what_is_too_large_have_no_time),
};
const size_t bounds_tests_n = MR_COUNT(bounds_tests);
