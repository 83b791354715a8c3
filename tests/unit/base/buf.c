/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "millrace/buf.h"

static void writes_of_all_kinds_stand_in_order(void **state)
{
    (void)state;
    struct mr_buf b;
    mr_buf_init(&b, 4096);
    mr_buf_puts(&b, "a");
    mr_buf_putc(&b, 'b');
    mr_buf_put(&b, "\0c", 2);
    mr_buf_u64(&b, 0);
    mr_buf_u64(&b, UINT64_MAX);
    mr_buf_printf(&b, "-%d-%s", 7, "end");
    assert_false(b.failed);
    assert_true(mr_str_eq(mr_buf_str(&b), MR_STR("ab\0c018446744073709551615-7-end")));
    mr_buf_free(&b);
}

static void a_buffer_fills_to_its_limit_and_not_a_byte_further(void **state)
{
    (void)state;
    for (size_t limit = 0; limit < 600; limit++) {
        struct mr_buf b;
        mr_buf_init(&b, limit);
        for (size_t i = 0; i < limit; i++)
            mr_buf_putc(&b, 'x');
        assert_false(b.failed);
        assert_int_equal(b.n, limit);
        assert_int_equal(strlen(mr_buf_cstr(&b)), limit);
        mr_buf_putc(&b, 'y');
        assert_true(b.failed);
        assert_int_equal(b.n, limit);
        mr_buf_free(&b);
    }
}

static void after_the_first_failure_nothing_more_is_written(void **state)
{
    (void)state;
    struct mr_buf b;
    mr_buf_init(&b, 4);
    mr_buf_puts(&b, "abc");
    mr_buf_puts(&b, "de");
    mr_buf_puts(&b, "f"); /* would fit, but would stand in the wrong place */
    mr_buf_printf(&b, "%d", 1);
    assert_true(b.failed);
    assert_int_equal(b.n, 3);
    assert_string_equal(mr_buf_cstr(&b), "");
    mr_buf_clear(&b);
    mr_buf_puts(&b, "wxyz");
    assert_string_equal(mr_buf_cstr(&b), "wxyz");
    mr_buf_free(&b);
}

static void printf_grows_over_any_room_that_is_left(void **state)
{
    (void)state;
    for (size_t before = 0; before < 600; before++) {
        struct mr_buf b;
        mr_buf_init(&b, 2000);
        for (size_t i = 0; i < before; i++)
            mr_buf_putc(&b, '.');
        mr_buf_printf(&b, "%0300d", 5);
        assert_false(b.failed);
        assert_int_equal(b.n, before + 300);
        assert_int_equal(b.p[b.n - 1], '5');
        mr_buf_free(&b);
    }
}

static void an_impossible_size_fails_and_does_not_wrap(void **state)
{
    (void)state;
    struct mr_buf b;
    mr_buf_init(&b, SIZE_MAX);
    mr_buf_puts(&b, "ab");
    assert_false(mr_buf_reserve(&b, SIZE_MAX - 1));
    assert_true(b.failed);
    mr_buf_free(&b);
    assert_int_equal(b.n, 0);
    assert_int_equal(b.limit, SIZE_MAX);
}

static void an_empty_buffer_reads_as_an_empty_string(void **state)
{
    (void)state;
    struct mr_buf b;
    mr_buf_init(&b, 0);
    assert_string_equal(mr_buf_cstr(&b), "");
    mr_buf_printf(&b, "%s", "");
    mr_buf_put(&b, NULL, 0);
    assert_false(b.failed);
    mr_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_of_all_kinds_stand_in_order),
        cmocka_unit_test(a_buffer_fills_to_its_limit_and_not_a_byte_further),
        cmocka_unit_test(after_the_first_failure_nothing_more_is_written),
        cmocka_unit_test(printf_grows_over_any_room_that_is_left),
        cmocka_unit_test(an_impossible_size_fails_and_does_not_wrap),
        cmocka_unit_test(an_empty_buffer_reads_as_an_empty_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
