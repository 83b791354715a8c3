/* SPDX-License-Identifier: Apache-2.0 */
#include "sources/postgres/expect.h"

#include "millrace/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct pg_history history(const int64_t *counts, size_t n)
{
    struct pg_history h = {.count = 0};
    for (size_t i = 0; i < n; i++)
        pg_history_add(&h, counts[i]);
    return h;
}
#define HISTORY(...) history((const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static void judged(struct pg_expect e, struct pg_history before, int64_t rows, enum pg_verdict verdict, const char *why)
{
    struct mr_buf text;
    mr_buf_init(&text, 512);
    assert_int_equal(pg_expect_judge(&e, &before, rows, &text), verdict);
    assert_string_equal(mr_buf_cstr(&text), why);
    mr_buf_free(&text);
}

static const struct pg_expect all = {.drop = 0.5, .rise = 3, .zero = 3};

static void a_run_is_held_against_the_median(void **state)
{
    (void)state;
    struct pg_history odd = HISTORY(100, 90000, 110, 1, 120);
    judged(all, odd, 55, PG_USUAL, ""); /* half of 110 is not less than half */
    judged(all, odd, 54, PG_DROPPED, "54 rows, fewer than 0.5 times 110, the median of the 5 runs before");
    judged(all, odd, 330, PG_USUAL, "");
    judged(all, odd, 331, PG_ROSE, "331 rows, more than 3 times 110, the median of the 5 runs before");
    struct pg_history even = HISTORY(10, 11, 0, 12, 9, 5000); /* the middle two: 10 and 11 */
    judged(all, even, 6, PG_USUAL, "");
    judged(all, even, 5, PG_DROPPED, "5 rows, fewer than 0.5 times 10.5, the median of the 6 runs before");
    judged(all, even, 1, PG_DROPPED, "1 row, fewer than 0.5 times 10.5, the median of the 6 runs before");
    judged(all, even, 31, PG_USUAL, "");
    judged(all, even, 32, PG_ROSE, "32 rows, more than 3 times 10.5, the median of the 6 runs before");
}

static void nothing_is_said_before_the_fifth_run(void **state)
{
    (void)state;
    struct pg_history h = {.count = 0};
    for (int runs = 0; runs < PG_HISTORY_LEAST; runs++) {
        judged(all, h, 0, PG_USUAL, "");
        judged(all, h, INT64_MAX, PG_USUAL, "");
        pg_history_add(&h, 100);
    }
    judged(all, h, 0, PG_DROPPED, "0 rows, fewer than 0.5 times 100, the median of the 5 runs before");
    struct pg_history none = HISTORY(0, 0, 0, 0);
    judged(all, none, 0, PG_USUAL, "");
}

static void a_rule_of_0_is_off(void **state)
{
    (void)state;
    struct pg_history h = HISTORY(100, 100, 100, 100, 0, 0, 0);
    struct pg_expect e = all;
    e.zero = 0;
    judged(e, h, 0, PG_DROPPED, "0 rows, fewer than 0.5 times 100, the median of the 7 runs before");
    e.drop = 0;
    judged(e, h, 0, PG_USUAL, "");
    judged(e, h, 301, PG_ROSE, "301 rows, more than 3 times 100, the median of the 7 runs before");
    e.rise = 0;
    judged(e, h, INT64_MAX, PG_USUAL, "");
}

static void runs_without_rows_are_told_once_they_are_so_many(void **state)
{
    (void)state;
    struct pg_expect e = {.zero = 3};
    struct pg_history h = HISTORY(7, 9, 0, 8, 0);
    judged(e, h, 0, PG_USUAL, ""); /* the second in a row */
    pg_history_add(&h, 0);
    judged(e, h, 0, PG_ZERO, "no rows in 3 runs in a row; usual are 3.5, the median of the 6 runs before");
    judged(e, h, 1, PG_USUAL, "");
    pg_history_add(&h, 0);
    judged(e, h, 0, PG_ZERO, "no rows in 4 runs in a row; usual are 0, the median of the 7 runs before");
    pg_history_add(&h, 1);
    judged(e, h, 0, PG_USUAL, "");
    e.zero = 1;
    judged(e, h, 0, PG_ZERO, "no rows in 1 run in a row; usual are 0.5, the median of the 8 runs before");
}

static void runs_without_rows_are_counted_beyond_the_history(void **state)
{
    (void)state;
    struct pg_expect e = {.zero = 100};
    struct pg_history h = HISTORY(7, 7, 7);
    for (int i = 0; i < 98; i++)
        pg_history_add(&h, 0);
    judged(e, h, 0, PG_USUAL, "");
    pg_history_add(&h, 0);
    judged(e, h, 0, PG_ZERO, "no rows in 100 runs in a row; usual are 0, the median of the 20 runs before");
    pg_history_add(&h, 5);
    pg_history_add(&h, 0);
    judged(e, h, 0, PG_USUAL, "");
    e.zero = 2;
    judged(e, h, 0, PG_ZERO, "no rows in 2 runs in a row; usual are 0, the median of the 20 runs before");
}

static void a_median_of_0_tells_neither_drop_nor_rise(void **state)
{
    (void)state;
    struct pg_history h = HISTORY(0, 0, 5, 0, 4);
    judged((struct pg_expect){.drop = 0.5, .rise = 3}, h, 0, PG_USUAL, "");
    judged((struct pg_expect){.drop = 0.5, .rise = 3}, h, 1000, PG_USUAL, "");
}

static void only_the_last_20_count(void **state)
{
    (void)state;
    struct pg_history h = {.count = 0};
    for (int i = 0; i < 500; i++)
        pg_history_add(&h, 1000000);
    for (int i = 0; i < 11; i++)
        pg_history_add(&h, 10);
    judged(all, h, 4, PG_DROPPED, "4 rows, fewer than 0.5 times 10, the median of the 20 runs before");
    judged(all, h, 31, PG_ROSE, "31 rows, more than 3 times 10, the median of the 20 runs before");
}

static void fractions_are_meant_as_they_are_written(void **state)
{
    (void)state;
    struct pg_history h = HISTORY(100, 100, 100, 100, 100);
    for (int hundredths = 1; hundredths <= 100; hundredths++) {
        char text[8];
        snprintf(text, sizeof text, "%d.%02d", hundredths / 100, hundredths % 100);
        double share = strtod(text, NULL);
        struct mr_buf why;
        mr_buf_init(&why, 512);
        assert_int_equal(pg_expect_judge(&(struct pg_expect){.drop = share}, &h, hundredths, &why), PG_USUAL);
        assert_int_equal(pg_expect_judge(&(struct pg_expect){.drop = share}, &h, hundredths - 1, &why), PG_DROPPED);
        assert_int_equal(pg_expect_judge(&(struct pg_expect){.rise = share}, &h, hundredths, &why), PG_USUAL);
        assert_int_equal(pg_expect_judge(&(struct pg_expect){.rise = share}, &h, hundredths + 1, &why), PG_ROSE);
        mr_buf_free(&why);
    }
}

static void the_largest_counts_are_no_overflow(void **state)
{
    (void)state;
    struct pg_history h = HISTORY(INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX - 1);
    judged(all, h, 0, PG_DROPPED, "0 rows, fewer than 0.5 times 9223372036854775807, the median of the 6 runs before");
    judged(all, h, INT64_MAX, PG_USUAL, "");
}

/* -- in a position --------------------------------------------------------------------------------------------------------------- */

static void is_kept_as(struct pg_history h, const char *json)
{
    struct mr_buf text, again;
    mr_buf_init(&text, 4096);
    mr_buf_init(&again, 4096);
    pg_history_put(&h, &text);
    if (json)
        assert_string_equal(mr_buf_cstr(&text), json);
    assert_int_equal(mr_json_check(mr_buf_str(&text), NULL), MR_OK);
    struct pg_history back = HISTORY(1, 2, 3);
    assert_true(pg_history_get(mr_buf_str(&text), &back));
    assert_int_equal(back.count, h.count);
    assert_int_equal(back.more_zeros, h.more_zeros);
    pg_history_put(&back, &again);
    assert_string_equal(mr_buf_cstr(&text), mr_buf_cstr(&again));
    mr_buf_free(&text);
    mr_buf_free(&again);
}

static void a_history_is_an_array_of_numbers(void **state)
{
    (void)state;
    is_kept_as((struct pg_history){.count = 0}, "[]");
    is_kept_as(HISTORY(5), "[5]");
    is_kept_as(HISTORY(5, 0, INT64_MAX), "[5,0,9223372036854775807]");
    struct pg_history h = HISTORY(9);
    for (int i = 0; i < 19; i++)
        pg_history_add(&h, 0);
    is_kept_as(h, "[9,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]");
    pg_history_add(&h, 0);
    is_kept_as(h, "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]");
    for (int i = 0; i < 3; i++)
        pg_history_add(&h, 0);
    is_kept_as(h, "[-3,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]");
    pg_history_add(&h, 4);
    is_kept_as(h, "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,4]");
    for (int64_t i = 0; i < 60; i++) {
        pg_history_add(&h, i * i * i);
        is_kept_as(h, NULL);
    }
}

static void what_is_no_history_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}", "null", "5", "\"5\"", "[5,null]", "[\"5\"]", "[5.5]", "[1e2]", "[9223372036854775808]", "[-1]", "[5,-1]", "[-1,5]", "[[5]]",
        "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21]", "[-1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]",
        "[-1,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]", "[-9223372036854775808,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]",
        "[-9223372036854775800,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]"};
    for (size_t i = 0; i < MR_COUNT(bad); i++) {
        struct pg_history h = HISTORY(1, 2, 3), before = h;
        assert_int_equal(mr_json_check(mr_str_c(bad[i]), NULL), MR_OK);
        if (pg_history_get(mr_str_c(bad[i]), &h))
            fail_msg("%s is taken", bad[i]);
        assert_memory_equal(&h, &before, sizeof h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_is_held_against_the_median),
        cmocka_unit_test(nothing_is_said_before_the_fifth_run),
        cmocka_unit_test(a_rule_of_0_is_off),
        cmocka_unit_test(runs_without_rows_are_told_once_they_are_so_many),
        cmocka_unit_test(runs_without_rows_are_counted_beyond_the_history),
        cmocka_unit_test(a_median_of_0_tells_neither_drop_nor_rise),
        cmocka_unit_test(only_the_last_20_count),
        cmocka_unit_test(fractions_are_meant_as_they_are_written),
        cmocka_unit_test(the_largest_counts_are_no_overflow),
        cmocka_unit_test(a_history_is_an_array_of_numbers),
        cmocka_unit_test(what_is_no_history_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
