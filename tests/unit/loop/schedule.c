/* SPDX-License-Identifier: Apache-2.0 */
/* Edges by hand; cron.py holds thousands of expressions against croniter. */
#include "millrace/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static int64_t at(const char *text)
{
    int64_t us;
    if (!mr_time_parse(mr_str_c(text), &us))
        fail_msg("%s is no time", text);
    return us;
}

static struct mr_cron cron(const char *text)
{
    struct mr_cron c;
    struct mr_err err;
    if (!mr_cron_parse(text, &c, &err))
        fail_msg("%s: %s", text, err.msg);
    return c;
}

static void next_is(const char *text, const char *after, const char *next)
{
    struct mr_cron c = cron(text);
    int64_t us = mr_cron_next(&c, at(after));
    char found[28] = "never", expected[28] = "never";
    if (us != MR_NO_TIME)
        mr_time_text(us, found);
    if (next)
        mr_time_text(at(next), expected);
    if (strcmp(found, expected) != 0)
        fail_msg("%s after %s: %s, expected %s", text, after, found, expected);
}

static void the_next_time_is_later_and_a_whole_minute(void **state)
{
    (void)state;
    next_is("* * * * *", "2026-03-01T10:00:00Z", "2026-03-01T10:01:00Z");
    next_is("* * * * *", "2026-03-01T10:00:59.999999Z", "2026-03-01T10:01:00Z");
    next_is("30 2 * * *", "2026-03-01T02:30:00Z", "2026-03-02T02:30:00Z");
    next_is("30 2 * * *", "2026-03-01T02:29:59.999999Z", "2026-03-01T02:30:00Z");
    next_is("59 23 31 12 *", "2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z");
    next_is("0 0 1 1 *", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z");
    next_is("*/20 8-10 * * *", "2026-03-01T08:40:00Z", "2026-03-01T09:00:00Z");
    next_is("*/20 8-10 * * *", "2026-03-01T10:40:00Z", "2026-03-02T08:00:00Z");
    next_is("* * * * *", "1969-12-31T23:59:00Z", "1970-01-01T00:00:00Z");
    next_is("* * * * *", "1969-12-31T23:58:59.5Z", "1969-12-31T23:59:00Z");
}

static void the_29th_of_february_waits_for_a_leap_year(void **state)
{
    (void)state;
    next_is("0 0 29 2 *", "2025-01-01T00:00:00Z", "2028-02-29T00:00:00Z");
    next_is("0 0 29 2 *", "2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z");
    next_is("0 0 29 2 *", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"); /* 2100 is none */
    next_is("0 0 29 2 *", "1999-03-01T00:00:00Z", "2000-02-29T00:00:00Z");
    next_is("0 0 29 2 */6", "2026-01-01T00:00:00Z", "2032-02-29T00:00:00Z"); /* begins with a star: a Saturday or Sunday too */
}

static void a_day_that_no_month_has_never_comes(void **state)
{
    (void)state;
    next_is("0 0 30 2 *", "2026-01-01T00:00:00Z", NULL);
    next_is("0 0 31 2,4,6,9,11 *", "2026-01-01T00:00:00Z", NULL);
    next_is("0 0 30 2 MON", "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"); /* but Mondays do */
    next_is("0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z");
}

static void a_day_of_either_kind_is_enough_if_both_are_restricted(void **state)
{
    (void)state;
    next_is("0 0 13 * 5", "2026-02-01T00:00:00Z", "2026-02-06T00:00:00Z"); /* a Friday, not the 13th */
    next_is("0 0 13 * 5", "2026-05-09T00:00:00Z", "2026-05-13T00:00:00Z"); /* the 13th, a Wednesday */
    next_is("0 0 * * 5", "2026-02-01T00:00:00Z", "2026-02-06T00:00:00Z");
    next_is("0 0 13 * *", "2026-02-01T00:00:00Z", "2026-02-13T00:00:00Z");
    next_is("0 0 */13 * 5", "2026-02-01T00:00:00Z", "2026-02-27T00:00:00Z"); /* begins with a star: Fridays among the 1st, 14th, 27th */
    next_is("0 0 13 * */5", "2026-02-01T00:00:00Z", "2026-02-13T00:00:00Z"); /* a Friday and the 13th */
    next_is("0 0 1-31 * 5", "2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z"); /* all days, but no star: either */
}

static void sunday_has_two_numbers_and_ranges_may_end_on_it(void **state)
{
    (void)state;
    static const char *const sundays[] = {"0 0 * * 0", "0 0 * * 7", "0 0 * * SUN", "0 0 * * sun,7"};
    for (size_t i = 0; i < MR_COUNT(sundays); i++) /* 2026-03-01 is a Sunday */
        next_is(sundays[i], "2026-02-27T00:00:00Z", "2026-03-01T00:00:00Z");
    assert_int_equal(cron("0 0 * * FRI-SUN").wdays, 1 << 5 | 1 << 6 | 1);
    assert_int_equal(cron("0 0 * * 5-7").wdays, 1 << 5 | 1 << 6 | 1);
    assert_int_equal(cron("0 0 * * 0-7").wdays, 0x7f);
    assert_int_equal(cron("0 0 * * 1-7/2").wdays, 1 << 1 | 1 << 3 | 1 << 5 | 1);
    assert_int_equal(cron("0 0 * * SUN-TUE").wdays, 7);
    assert_int_equal(cron("0 0 * * SUN-SUN").wdays, 1);
    assert_int_equal(cron("0 0 * * *").wdays, 0x7f);
    assert_int_equal(cron("0 0 * * */6").wdays, 1 | 1 << 6);
}

static void lists_ranges_steps_and_names_are_read(void **state)
{
    (void)state;
    struct mr_cron c = cron("  0,5-7,50-59/4 \t 09-17/4 1,31 feb,Apr-JUN,12 *  ");
    assert_true(c.minutes == (1ull | 7ull << 5 | 1ull << 50 | 1ull << 54 | 1ull << 58));
    assert_int_equal(c.hours, 1 << 9 | 1 << 13 | 1 << 17);
    assert_true(c.mdays == (1u << 1 | 1u << 31));
    assert_int_equal(c.months, 1 << 2 | 7 << 4 | 1 << 12);
    assert_int_equal(cron("5-5 * * * *").minutes, 1 << 5);
    assert_int_equal(cron("* * */30 */11 *").mdays >> 1, 1u | 1u << 30);
    assert_int_equal(cron("* * */30 */11 *").months, 1 << 1 | 1 << 12);
}

static void words_stand_for_their_fields(void **state)
{
    (void)state;
    next_is("@hourly", "2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z");
    next_is("@daily", "2026-03-01T10:00:00Z", "2026-03-02T00:00:00Z");
    next_is("@midnight", "2026-03-01T10:00:00Z", "2026-03-02T00:00:00Z");
    next_is("@weekly", "2026-03-02T10:00:00Z", "2026-03-08T00:00:00Z");
    next_is("@Monthly", "2026-03-02T10:00:00Z", "2026-04-01T00:00:00Z");
    next_is("@yearly", "2026-03-02T10:00:00Z", "2027-01-01T00:00:00Z");
    next_is("  @annually ", "2026-03-02T10:00:00Z", "2027-01-01T00:00:00Z");
}

static void a_refusal_says_which_field_and_what_was_expected(void **state)
{
    (void)state;
    static const struct { const char *text, *why; } bad[] = {
        {"", "expected five fields (minute, hour, day of month, month, day of week), found 0"},
        {"* * * *", "expected five fields (minute, hour, day of month, month, day of week), found 4"},
        {"0 * * * * *", "expected five fields (minute, hour, day of month, month, day of week), found 6"},
        {"60 * * * *", "minute: expected 0 to 59, found \"60\""},
        {"-1 * * * *", "minute: expected 0 to 59, found \"-1\""},
        {"MON * * * *", "minute: expected 0 to 59, found \"MON\""},
        {"18446744073709551617 * * * *", "minute: expected 0 to 59, found \"18446744073709551617\""},
        {"* 24 * * *", "hour: expected 0 to 23, found \"24\""},
        {"* 1,,2 * * *", "hour: expected 0 to 23, found \"\""},
        {"* 1, * * *", "hour: expected 0 to 23, found \"\""},
        {"* * 0 * *", "day of month: expected 1 to 31, found \"0\""},
        {"* * L * *", "day of month: expected 1 to 31, found \"L\""},
        {"* * ? * *", "day of month: expected 1 to 31, found \"?\""},
        {"* * 15W * *", "day of month: expected 1 to 31, found \"15W\""},
        {"* * * 13 *", "month: expected 1 to 12 or JAN to DEC, found \"13\""},
        {"* * * january *", "month: expected 1 to 12 or JAN to DEC, found \"january\""},
        {"* * * * 8", "day of week: expected 0 to 7 or SUN to SAT, found \"8\""},
        {"* * * * 1#2", "day of week: expected 0 to 7 or SUN to SAT, found \"1#2\""},
        {"1-5-7 * * * *", "minute: expected 0 to 59, found \"1-5-7\""},
        {"1- * * * *", "minute: expected 0 to 59, found \"1-\""},
        {"*5 * * * *", "minute: expected 0 to 59, found \"*5\""},
        {"*/0 * * * *", "minute: expected a step of 1 to 59, found \"*/0\""},
        {"*/60 * * * *", "minute: expected a step of 1 to 59, found \"*/60\""},
        {"* * * * */7", "day of week: expected a step of 1 to 6, found \"*/7\""},
        {"*/ * * * *", "minute: expected a step of 1 to 59, found \"*/\""},
        {"*/-5 * * * *", "minute: expected a step of 1 to 59, found \"*/-5\""},
        {"*/5/2 * * * *", "minute: expected 0 to 59, found \"*/5/2\""},
        {"5/15 * * * *", "minute: expected a step behind * or a range, found \"5/15\": write 5-59/15"},
        {"* 22-2 * * *", "hour: expected a range that goes up, found \"22-2\": write 22-23,0-2"},
        {"* * * * FRI-MON", "day of week: expected a range that goes up, found \"FRI-MON\": write 5-6,0-1"},
        {"@reboot", "expected @hourly, @daily, @weekly, @monthly or @yearly, found \"@reboot\""},
        {"@daily *", "expected five fields (minute, hour, day of month, month, day of week), found 2"},
        {"0123456789012345678901234567890123456789x * * * *", "minute: expected 0 to 59, found \"0123456789012345678901234567890123456789\""},
    };
    for (size_t i = 0; i < MR_COUNT(bad); i++) {
        struct mr_cron c, before;
        memset(&c, 0x5a, sizeof c);
        before = c;
        struct mr_err err = {0};
        if (mr_cron_parse(bad[i].text, &c, &err))
            fail_msg("%s is taken", bad[i].text);
        assert_string_equal(err.msg, bad[i].why);
        assert_int_equal(err.code, MR_ECONFIG);
        assert_memory_equal(&c, &before, sizeof c);
    }
}

static void far_off_times_are_no_overflow(void **state)
{
    (void)state;
    struct mr_cron always = cron("* * * * *"), leap = cron("0 0 29 2 *"), never = cron("0 0 30 2 *");
    assert_true(mr_cron_next(&always, INT64_MAX) == MR_NO_TIME);
    assert_true(mr_cron_next(&leap, INT64_MAX - 1) == MR_NO_TIME);
    assert_true(mr_cron_next(&never, INT64_MAX) == MR_NO_TIME);
    int64_t first = mr_cron_next(&always, INT64_MIN);
    assert_true(first > INT64_MIN && first < INT64_MIN + 60000001 && first % 60000000 == 0);
    assert_true(mr_cron_next(&never, INT64_MIN) == MR_NO_TIME);
}

/* -- schedules ---------------------------------------------------------------------------------------------------------------- */

#define S INT64_C(1000000)
static const struct mr_schedule quarterly = {.every_ms = 900000};

static void a_first_run_is_due_at_once(void **state)
{
    (void)state;
    assert_int_equal(mr_schedule_next(&quarterly, MR_NO_TIME, 5 * S, 0), 5 * S);
}

static void runs_are_counted_from_start_to_start(void **state)
{
    (void)state;
    assert_int_equal(mr_schedule_next(&quarterly, 1000 * S, 1000 * S, 0), 1900 * S);
    assert_int_equal(mr_schedule_next(&quarterly, 1000 * S, 1800 * S, 0), 1900 * S); /* a run of 800 s */
}

static void missed_runs_are_one_at_once(void **state)
{
    (void)state;
    assert_int_equal(mr_schedule_next(&quarterly, 1000 * S, 1900 * S, 0), 1900 * S);
    assert_int_equal(mr_schedule_next(&quarterly, 1000 * S, 99999 * S, 0), 99999 * S);
    assert_int_equal(mr_schedule_next(&quarterly, 99999 * S, 99999 * S, 0), (99999 + 900) * S); /* and on from there */
}

static void a_clock_that_was_put_back_delays_by_one_distance_at_most(void **state)
{
    (void)state;
    assert_int_equal(mr_schedule_next(&quarterly, 1000000 * S, 5000 * S, 0), 5900 * S);
    struct mr_schedule s = {.by_cron = true, .cron = cron("0 2 * * *")};
    assert_int_equal(mr_schedule_next(&s, at("2090-01-01T00:00:00Z"), at("2026-03-01T02:30:00Z"), 0), at("2026-03-02T02:00:00Z"));
}

static void by_cron_the_first_run_waits_and_a_missed_one_does_not(void **state)
{
    (void)state;
    struct mr_schedule s = {.by_cron = true, .cron = cron("0 2 * * *")};
    int64_t now = at("2026-03-05T01:00:00Z");
    assert_int_equal(mr_schedule_next(&s, MR_NO_TIME, now, 0), at("2026-03-05T02:00:00Z"));
    assert_int_equal(mr_schedule_next(&s, at("2026-03-04T02:00:00Z"), now, 0), at("2026-03-05T02:00:00Z"));
    assert_int_equal(mr_schedule_next(&s, at("2026-03-02T02:00:00Z"), now, 0), now);
    assert_int_equal(mr_schedule_next(&s, now, now, 0), at("2026-03-05T02:00:00Z"));
    s.cron = cron("0 0 30 2 *");
    assert_true(mr_schedule_next(&s, MR_NO_TIME, now, 0) == MR_NO_TIME);
    assert_true(mr_schedule_next(&s, now - S, now, 7) == MR_NO_TIME);
}

static void jitter_is_spread_evenly_over_all_of_its_range(void **state)
{
    (void)state;
    struct mr_schedule s = {.every_ms = 60000, .jitter_ms = 9};
    unsigned counts[10] = {0};
    for (uint64_t random = 0; random < 1000; random++) {
        int64_t late = mr_schedule_next(&s, 0, 1, random * UINT64_C(0x9E3779B97F4A7C15)) - 60 * S;
        assert_true(late >= 0 && late <= 9000 && late % 1000 == 0);
        counts[late / 1000]++;
    }
    for (size_t i = 0; i < MR_COUNT(counts); i++)
        assert_true(counts[i] > 60 && counts[i] < 140);
    assert_int_equal(mr_schedule_next(&s, MR_NO_TIME, 7 * S, UINT64_MAX), 7 * S); /* what is due is due */
    s.jitter_ms = 0;
    assert_int_equal(mr_schedule_next(&s, 0, 1, UINT64_MAX), 60 * S);
}

static void the_longest_distances_are_no_overflow(void **state)
{
    (void)state;
    struct mr_schedule s = {.every_ms = MR_SCHEDULE_MS_MAX, .jitter_ms = MR_SCHEDULE_MS_MAX};
    int64_t now = at("9999-12-31T23:59:59Z");
    assert_int_equal(mr_schedule_next(&s, now, now, (uint64_t)MR_SCHEDULE_MS_MAX), now + 2 * MR_SCHEDULE_MS_MAX * 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_time_is_later_and_a_whole_minute),
        cmocka_unit_test(the_29th_of_february_waits_for_a_leap_year),
        cmocka_unit_test(a_day_that_no_month_has_never_comes),
        cmocka_unit_test(a_day_of_either_kind_is_enough_if_both_are_restricted),
        cmocka_unit_test(sunday_has_two_numbers_and_ranges_may_end_on_it),
        cmocka_unit_test(lists_ranges_steps_and_names_are_read),
        cmocka_unit_test(words_stand_for_their_fields),
        cmocka_unit_test(a_refusal_says_which_field_and_what_was_expected),
        cmocka_unit_test(far_off_times_are_no_overflow),
        cmocka_unit_test(a_first_run_is_due_at_once),
        cmocka_unit_test(runs_are_counted_from_start_to_start),
        cmocka_unit_test(missed_runs_are_one_at_once),
        cmocka_unit_test(a_clock_that_was_put_back_delays_by_one_distance_at_most),
        cmocka_unit_test(by_cron_the_first_run_waits_and_a_missed_one_does_not),
        cmocka_unit_test(jitter_is_spread_evenly_over_all_of_its_range),
        cmocka_unit_test(the_longest_distances_are_no_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
