/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/landing/tests.h"

#include "landing/roll.h"

enum { TODAY = 20000 };

static struct mr_roll fresh(void)
{
    return (struct mr_roll){.size_limit = 1000, .age_limit_ms = 60000, .day = TODAY, .first_ms = -1};
}

static void an_empty_landing_has_no_reason_to_end(void **state)
{
    (void)state;
    struct mr_roll r = fresh();
    enum mr_roll_reason why;
    r.bytes = 5000;
    assert_false(mr_roll_due(&r, INT64_MAX / 2, TODAY + 7, &why));
    assert_int_equal(r.asked, 0);
    assert_int_equal(mr_roll_wait(&r, 123, 777), 777);
}

static void size_ends_it_at_the_limit_and_not_a_byte_before(void **state)
{
    (void)state;
    struct mr_roll r = fresh();
    enum mr_roll_reason why;
    r.first_ms = 0;
    r.bytes = 999;
    assert_false(mr_roll_due(&r, 0, TODAY, &why));
    r.bytes = 1000;
    assert_true(mr_roll_due(&r, 0, TODAY, &why));
    assert_int_equal(why, MR_ROLL_SIZE);
}

static void age_counts_from_the_first_record(void **state)
{
    (void)state;
    struct mr_roll r = fresh();
    enum mr_roll_reason why;
    r.first_ms = 500000;
    assert_false(mr_roll_due(&r, 559999, TODAY, &why));
    assert_true(mr_roll_due(&r, 560000, TODAY, &why));
    assert_int_equal(why, MR_ROLL_AGE);
}

static void midnight_ends_it_but_a_clock_that_stepped_back_does_not(void **state)
{
    (void)state;
    struct mr_roll r = fresh();
    enum mr_roll_reason why;
    r.first_ms = 0;
    assert_false(mr_roll_due(&r, 0, TODAY - 1, &why));
    assert_true(mr_roll_due(&r, 0, TODAY + 1, &why));
    assert_int_equal(why, MR_ROLL_MIDNIGHT);
}

static void each_reason_is_given_once_and_the_others_after_it(void **state)
{
    (void)state;
    struct mr_roll r = fresh();
    enum mr_roll_reason why;
    unsigned seen = 0;
    r.first_ms = 0;
    r.bytes = 2000;
    for (int i = 0; i < 3; i++) {
        assert_true(mr_roll_due(&r, 70000, TODAY + 1, &why));
        assert_false(seen & 1u << why);
        seen |= 1u << why;
    }
    assert_false(mr_roll_due(&r, 70000, TODAY + 1, &why));
    assert_int_equal(seen, 1u << MR_ROLL_SIZE | 1u << MR_ROLL_AGE | 1u << MR_ROLL_MIDNIGHT);
}

static void the_wait_is_what_is_left_of_the_age(void **state)
{
    (void)state;
    struct mr_roll r = fresh();
    enum mr_roll_reason why;
    r.first_ms = 1000;
    assert_int_equal(mr_roll_wait(&r, 1000, 100000), 60000);
    assert_int_equal(mr_roll_wait(&r, 60999, 100000), 1);
    assert_int_equal(mr_roll_wait(&r, 61000, 100000), 0);
    assert_int_equal(mr_roll_wait(&r, 99000, 100000), 0);
    assert_int_equal(mr_roll_wait(&r, 1000, 250), 250);
    assert_true(mr_roll_due(&r, 61000, TODAY, &why));
    assert_int_equal(mr_roll_wait(&r, 61000, 250), 250); /* told already: no busy loop */
}

const struct CMUnitTest roll_tests[] = {
    cmocka_unit_test(an_empty_landing_has_no_reason_to_end),
    cmocka_unit_test(size_ends_it_at_the_limit_and_not_a_byte_before),
    cmocka_unit_test(age_counts_from_the_first_record),
    cmocka_unit_test(midnight_ends_it_but_a_clock_that_stepped_back_does_not),
    cmocka_unit_test(each_reason_is_given_once_and_the_others_after_it),
    cmocka_unit_test(the_wait_is_what_is_left_of_the_age),
};
const size_t roll_tests_count = MR_COUNT(roll_tests);
