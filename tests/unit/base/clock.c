/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "millrace/clock.h"

#include <time.h>

static void days_agree_with_the_c_library_over_all_years(void **state)
{
    (void)state;
    for (int32_t day = -719528; day <= 2932896; day++) {
        time_t at = (time_t)day * 86400;
        struct tm tm;
        gmtime_r(&at, &tm);
        char text[11], expected[32];
        int32_t back;
        mr_day_text(day, text);
        snprintf(expected, sizeof expected, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
        if (strcmp(text, expected) != 0 || !mr_day_parse(mr_str_c(text), &back) || back != day)
            fail_msg("day %d: %s, expected %s", day, text, expected);
    }
}

static void a_day_outside_four_digits_of_year_is_held_at_the_edge(void **state)
{
    (void)state;
    char text[28];
    mr_day_text(INT32_MAX, text);
    assert_string_equal(text, "9999-12-31");
    mr_day_text(INT32_MIN, text);
    assert_string_equal(text, "0000-01-01");
    mr_time_text(MR_NO_TIME + 1, text);
    assert_memory_equal(text, "0000-01-01", 10);
}

static void a_time_before_1970_belongs_to_the_day_before(void **state)
{
    (void)state;
    assert_int_equal(mr_day_of(0), 0);
    assert_int_equal(mr_day_of(-1), -1);
    assert_int_equal(mr_day_of(-MR_US_PER_DAY), -1);
    assert_int_equal(mr_day_of(-MR_US_PER_DAY - 1), -2);
    assert_int_equal(mr_day_of(MR_US_PER_DAY - 1), 0);
    char text[28];
    mr_time_text(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999999Z");
}

static void rfc_3339_times_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text, *utc;
    } cases[] = {
        {"2026-11-22T21:25:22.123456Z", "2026-11-22T21:25:22.123456Z"},
        {"2026-11-22t21:25:22z", "2026-11-22T21:25:22.000000Z"},
        {"2026-11-22T21:25:22.1Z", "2026-11-22T21:25:22.100000Z"},
        {"2026-11-22T21:25:22.1234569999999999999Z", "2026-11-22T21:25:22.123456Z"},
        {"2026-11-22T21:25:22+01:30", "2026-11-22T19:55:22.000000Z"},
        {"2026-01-01T00:30:00-01:00", "2026-01-01T01:30:00.000000Z"},
        {"2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00.000000Z"},
        {"2026-11-22T21:25:22-00:00", "2026-11-22T21:25:22.000000Z"},
        {"2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z"},
        {"2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.500000Z"},
        {"2017-01-01T00:59:60+01:00", "2017-01-01T00:00:00.000000Z"},
        {"2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000000Z"},
        {"0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000000Z"},
        {"9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"},
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        int64_t us;
        char text[28];
        if (!mr_time_parse(mr_str_c(cases[i].text), &us))
            fail_msg("%s was refused", cases[i].text);
        mr_time_text(us, text);
        assert_string_equal(text, cases[i].utc);
    }
}

static void what_is_not_rfc_3339_is_refused_and_nothing_written(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "2026",
        "2026-11-22",
        "2026-11-22T",
        "2026-11-22T21:25Z",
        "2026-11-22T21:25:22",
        "2026-11-22 21:25:22Z",
        "2026-11-22T21:25:22.Z",
        "2026-11-22T21:25:22,5Z",
        "2026-11-22T21:25:22Z ",
        " 2026-11-22T21:25:22Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T23:60:00Z",
        "2026-11-22T23:59:61Z",
        "2026-11-22T12:59:60Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "26-04-30T00:00:00Z",
        "2026-11-22T21:25:22+0100",
        "2026-11-22T21:25:22+24:00",
        "2026-11-22T21:25:22+01:60",
        "2026-11-22T21:25:22+1:00",
        "+026-11-22T21:25:22Z",
        "-026-11-22T21:25:22Z",
        "2026-1a-22T21:25:22Z",
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        int64_t us = 42;
        if (mr_time_parse(mr_str_c(cases[i]), &us) || us != 42)
            fail_msg("\"%s\" was taken", cases[i]);
    }
    int64_t us = 42;
    assert_false(mr_time_parse(MR_STR("2026-11-22T21:25:22\0Z"), &us));
    int32_t day = 42;
    assert_false(mr_day_parse(MR_STR("2026-11-22x"), &day));
    assert_false(mr_day_parse(MR_STR("2026-11-2"), &day));
    assert_int_equal(day, 42);
}

static void every_written_time_reads_back(void **state)
{
    (void)state;
    uint64_t seed = 88172645463325252u;
    for (int i = 0; i < 20000; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        int64_t us = (int64_t)(seed % (uint64_t)(2932896 * MR_US_PER_DAY)), back;
        char text[28];
        mr_time_text(us, text);
        assert_true(mr_time_parse(mr_str_c(text), &back));
        assert_true(back == us);
    }
}

static void the_monotonic_clock_does_not_go_back(void **state)
{
    (void)state;
    int64_t before = mr_mono_us();
    assert_true(before > 0);
    assert_true(mr_mono_us() >= before);
    assert_true(mr_day_of(mr_wall_us()) > 20000); /* after 2024 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(days_agree_with_the_c_library_over_all_years),
        cmocka_unit_test(a_day_outside_four_digits_of_year_is_held_at_the_edge),
        cmocka_unit_test(a_time_before_1970_belongs_to_the_day_before),
        cmocka_unit_test(rfc_3339_times_are_read),
        cmocka_unit_test(what_is_not_rfc_3339_is_refused_and_nothing_written),
        cmocka_unit_test(every_written_time_reads_back),
        cmocka_unit_test(the_monotonic_clock_does_not_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
