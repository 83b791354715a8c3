/* SPDX-License-Identifier: Apache-2.0 */
#include "state/sqlite/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { DAY = 20500 };

/* splitmix64: as even as the digests that ids are */
static uint64_t mixed(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static const unsigned char *id_of(uint64_t n)
{
    static unsigned char id[16];
    uint64_t words[2] = {mixed(2 * n), mixed(2 * n + 1)};
    memcpy(id, words, sizeof id);
    return id;
}

static void an_id_that_was_added_may_always_be_there_however_much_a_day_grows(void **state)
{
    (void)state;
    struct mr_filter *f = mr_filter_new(SIZE_MAX);
    mr_filter_begin(f, DAY, 0, true);
    for (uint64_t n = 0; n < 300000; n++)
        mr_filter_add(f, DAY, id_of(n));
    for (uint64_t n = 0; n < 300000; n++)
        assert_true(mr_filter_may(f, DAY, id_of(n)));
    mr_filter_free(f);
}

static void few_of_the_absent_ids_are_looked_up(void **state)
{
    (void)state;
    struct mr_filter *f = mr_filter_new(SIZE_MAX);
    mr_filter_begin(f, DAY, 200000, false);
    for (uint64_t n = 0; n < 200000; n++)
        mr_filter_add(f, DAY, id_of(n));
    mr_filter_whole(f, DAY);
    unsigned in_vain = 0;
    for (uint64_t n = 200000; n < 400000; n++)
        in_vain += mr_filter_may(f, DAY, id_of(n));
    assert_in_range(in_vain, 1, 6000); /* 3 in 100 at most; 1 in 100 is what the sizes are for */
    assert_in_range(mr_filter_bytes(f), 250000, 251000);
    mr_filter_free(f);
}

static void a_day_that_is_not_known_or_not_whole_may_hold_anything(void **state)
{
    (void)state;
    struct mr_filter *f = mr_filter_new(SIZE_MAX);
    assert_true(mr_filter_may(f, DAY, id_of(1)));
    mr_filter_begin(f, DAY, 10, false);
    assert_true(mr_filter_may(f, DAY, id_of(1)));
    mr_filter_whole(f, DAY);
    assert_false(mr_filter_may(f, DAY, id_of(1)));
    mr_filter_drop(f, DAY);
    assert_true(mr_filter_may(f, DAY, id_of(1)));
    assert_int_equal(mr_filter_bytes(f), 0);
    mr_filter_add(f, DAY, id_of(1)); /* harmless */
    mr_filter_free(f);
}

static void memory_has_a_bound_and_the_oldest_day_goes_first(void **state)
{
    (void)state;
    struct mr_filter *f = mr_filter_new(40000);
    mr_filter_begin(f, DAY - 1, 8000, true);
    mr_filter_begin(f, DAY, 8000, true);
    for (uint64_t n = 0; n < 20000; n++) {
        mr_filter_add(f, DAY, id_of(n));
        assert_true(mr_filter_bytes(f) <= 40000);
        assert_true(mr_filter_may(f, DAY, id_of(n)));
    }
    assert_false(mr_filter_knows(f, DAY - 1));
    assert_true(mr_filter_may(f, DAY - 1, id_of(1)));
    mr_filter_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_that_was_added_may_always_be_there_however_much_a_day_grows),
        cmocka_unit_test(few_of_the_absent_ids_are_looked_up),
        cmocka_unit_test(a_day_that_is_not_known_or_not_whole_may_hold_anything),
        cmocka_unit_test(memory_has_a_bound_and_the_oldest_day_goes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
