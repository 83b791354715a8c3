/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "millrace/backoff.h"

static void the_ceiling_doubles_up_to_the_cap(void **state)
{
    (void)state;
    struct mr_backoff b = mr_backoff_of(100, 1000);
    static const int64_t ceilings[] = {100, 200, 400, 800, 1000, 1000, 1000};
    for (size_t i = 0; i < sizeof ceilings / sizeof ceilings[0]; i++) {
        struct mr_backoff same = b;
        assert_int_equal(mr_backoff_next(&same, (uint64_t)ceilings[i]), ceilings[i]); /* the ceiling can be drawn */
        assert_int_equal(mr_backoff_next(&b, (uint64_t)ceilings[i] + 1), 0);          /* and nothing above it */
    }
    mr_backoff_reset(&b);
    assert_int_equal(mr_backoff_next(&b, 100), 100);
    assert_int_equal(mr_backoff_next(&b, 200), 200);
}

static void waits_spread_over_the_whole_range(void **state)
{
    (void)state;
    int low = 0, high = 0;
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < 10000; i++) {
        struct mr_backoff b = mr_backoff_of(1000, 1000);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        int64_t wait = mr_backoff_next(&b, random);
        assert_true(wait >= 0 && wait <= 1000);
        low += wait < 250;
        high += wait > 750;
    }
    assert_true(low > 2200 && low < 2800 && high > 2200 && high < 2800);
}

static void the_largest_cap_does_not_overflow(void **state)
{
    (void)state;
    struct mr_backoff b = mr_backoff_of(1, INT64_MAX);
    for (int i = 0; i < 200; i++)
        assert_true(mr_backoff_next(&b, UINT64_MAX) >= 0);
    assert_true(b.ceiling_ms == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ceiling_doubles_up_to_the_cap),
        cmocka_unit_test(waits_spread_over_the_whole_range),
        cmocka_unit_test(the_largest_cap_does_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
