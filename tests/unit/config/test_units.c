/* SPDX-License-Identifier: Apache-2.0 */
#include "doors.h"

#include "config/units.h"

#include <string.h>

static int64_t parsed(enum mr_type type, const char *text)
{
    struct mr_buf why;
    mr_buf_init(&why, 1024);
    int64_t v = -12345;
    if (!mr_unit_parse(type, mr_str_c(text), &v, &why))
        fail_msg("%s: %s", text, mr_buf_cstr(&why));
    mr_buf_free(&why);
    return v;
}

static void refused_because(enum mr_type type, const char *text, const char *because)
{
    struct mr_buf why;
    mr_buf_init(&why, 1024);
    int64_t v = -12345;
    assert_false(mr_unit_parse(type, mr_str_c(text), &v, &why));
    assert_string_equal(mr_buf_cstr(&why), because);
    assert_int_equal(v, -12345);
    mr_buf_free(&why);
}

static void every_unit_of_time_is_milliseconds(void **state)
{
    (void)state;
    assert_int_equal(parsed(MR_T_DURATION, "7ms"), 7);
    assert_int_equal(parsed(MR_T_DURATION, "7s"), 7000);
    assert_int_equal(parsed(MR_T_DURATION, "7m"), 420000);
    assert_int_equal(parsed(MR_T_DURATION, "7h"), 25200000);
    assert_int_equal(parsed(MR_T_DURATION, "7d"), 604800000);
    assert_int_equal(parsed(MR_T_DURATION, "0s"), 0);
    assert_int_equal(parsed(MR_T_DURATION, "007s"), 7000);
}

static void every_unit_of_size_is_bytes(void **state)
{
    (void)state;
    assert_int_equal(parsed(MR_T_SIZE, "9B"), 9);
    assert_int_equal(parsed(MR_T_SIZE, "9KiB"), 9216);
    assert_int_equal(parsed(MR_T_SIZE, "9MiB"), 9437184);
    assert_int_equal(parsed(MR_T_SIZE, "9GiB"), INT64_C(9663676416));
    assert_int_equal(parsed(MR_T_SIZE, "9TiB"), INT64_C(9895604649984));
}

static void whole_numbers_may_be_negative(void **state)
{
    (void)state;
    assert_int_equal(parsed(MR_T_INT, "-12"), -12);
    assert_int_equal(parsed(MR_T_INT, "9223372036854775807"), INT64_MAX);
    refused_because(MR_T_INT, "9223372036854775808", "\"9223372036854775808\" is out of range: larger than 64 bits hold");
    refused_because(MR_T_INT, "1x", "expected a whole number, found \"1x\"");
    refused_because(MR_T_INT, "", "expected a whole number, found \"\"");
    refused_because(MR_T_INT, "-", "expected a whole number, found \"-\"");
}

static void a_number_without_unit_is_told_one(void **state)
{
    (void)state;
    refused_because(MR_T_DURATION, "30", "\"30\": a unit is missing, for instance 30s; units are ms, s, m, h, d");
    refused_because(MR_T_SIZE, "64", "\"64\": a unit is missing, for instance 64MiB; units are B, KiB, MiB, GiB, TiB");
}

static void a_fraction_is_told_in_whole_numbers(void **state)
{
    (void)state;
    refused_because(MR_T_DURATION, "1.5h", "\"1.5h\": expected a whole number and a unit: write 90m");
    refused_because(MR_T_DURATION, "0.5s", "\"0.5s\": expected a whole number and a unit: write 500ms");
    refused_because(MR_T_DURATION, "2.0d", "\"2.0d\": expected a whole number and a unit: write 2d");
    refused_because(MR_T_SIZE, "1.5GiB", "\"1.5GiB\": expected a whole number and a unit: write 1536MiB");
    refused_because(MR_T_DURATION, "0.0001s", "\"0.0001s\": expected a whole number and a unit: units are ms, s, m, h, d");
}

static void other_programs_units_are_translated(void **state)
{
    (void)state;
    refused_because(MR_T_DURATION, "30sec", "\"30sec\": expected a whole number and a unit: write 30s");
    refused_because(MR_T_DURATION, "90minutes", "\"90minutes\": expected a whole number and a unit: write 90m");
    refused_because(MR_T_DURATION, "30 s", "\"30 s\": expected a whole number and a unit: write 30s");
    refused_because(MR_T_SIZE, "128MB", "\"128MB\": expected a whole number and a unit: write 128MiB");
    refused_because(MR_T_SIZE, "1.5g", "\"1.5g\": expected a whole number and a unit: write 1536MiB");
}

static void an_unknown_unit_is_named_with_the_known_ones(void **state)
{
    (void)state;
    refused_because(MR_T_DURATION, "3w", "\"3w\": unknown unit \"w\"; units are ms, s, m, h, d");
    refused_because(MR_T_SIZE, "3parsec", "\"3parsec\": unknown unit \"parsec\"; units are B, KiB, MiB, GiB, TiB");
}

static void what_is_no_number_is_refused(void **state)
{
    (void)state;
    refused_because(MR_T_DURATION, "soon", "expected a duration such as 30s, found \"soon\"; units are ms, s, m, h, d");
    refused_because(MR_T_SIZE, "-1MiB", "expected a size such as 64MiB, found \"-1MiB\"; units are B, KiB, MiB, GiB, TiB");
}

static void what_64_bits_cannot_hold_is_refused(void **state)
{
    (void)state;
    refused_because(MR_T_DURATION, "106751991168d", "\"106751991168d\" is out of range: larger than 64 bits hold");
    refused_because(MR_T_SIZE, "99999999999999999999B", "\"99999999999999999999B\" is out of range: larger than 64 bits hold");
    assert_int_equal(parsed(MR_T_DURATION, "106751991167d"), INT64_C(106751991167) * 86400000);
}

static void both_ends_of_a_range_are_inside(void **state)
{
    (void)state;
    const struct mr_option row = {.type = MR_T_DURATION, .min = "1s", .max = "1d"};
    struct mr_buf why;
    mr_buf_init(&why, 256);
    assert_true(mr_unit_in_range(&row, 1000, &why));
    assert_true(mr_unit_in_range(&row, 86400000, &why));
    assert_int_equal(why.n, 0);
    assert_false(mr_unit_in_range(&row, 999, &why));
    assert_string_equal(mr_buf_cstr(&why), "out of range: expected 1s to 1d");
    assert_false(mr_unit_in_range(&row, 86400001, &why));
    mr_buf_free(&why);
}

static void a_range_with_one_end_says_so(void **state)
{
    (void)state;
    struct mr_buf out;
    mr_buf_init(&out, 256);
    mr_unit_range_put(&(struct mr_option){.min = "1s"}, &out);
    mr_buf_putc(&out, '/');
    mr_unit_range_put(&(struct mr_option){.max = "9s"}, &out);
    mr_buf_putc(&out, '/');
    mr_unit_range_put(&(struct mr_option){.max = NULL}, &out);
    assert_string_equal(mr_buf_cstr(&out), "at least 1s/at most 9s/");
    mr_buf_free(&out);
}

const struct CMUnitTest units_tests[] = {
    cmocka_unit_test(every_unit_of_time_is_milliseconds),
    cmocka_unit_test(every_unit_of_size_is_bytes),
    cmocka_unit_test(whole_numbers_may_be_negative),
    cmocka_unit_test(a_number_without_unit_is_told_one),
    cmocka_unit_test(a_fraction_is_told_in_whole_numbers),
    cmocka_unit_test(other_programs_units_are_translated),
    cmocka_unit_test(an_unknown_unit_is_named_with_the_known_ones),
    cmocka_unit_test(what_is_no_number_is_refused),
    cmocka_unit_test(what_64_bits_cannot_hold_is_refused),
    cmocka_unit_test(both_ends_of_a_range_are_inside),
    cmocka_unit_test(a_range_with_one_end_says_so),
};
const size_t units_count = MR_COUNT(units_tests);
