/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "millrace/err.h"

#include <errno.h>

static void every_code_has_name_text_and_class(void **state)
{
    (void)state;
    assert_string_equal(mr_code_name(MR_EIO), "MR_EIO");
    assert_string_equal(mr_code_text(MR_EFENCED), "position has moved on");
    assert_int_equal(mr_code_class(MR_ENOSPC), MR_CLASS_RETRY);
    assert_int_equal(mr_code_class(MR_EAUTH), MR_CLASS_USER);
    assert_int_equal(mr_code_class(MR_ECORRUPT), MR_CLASS_DATA);
    assert_int_equal(mr_code_class(MR_OK), MR_CLASS_NONE);
}

static void a_number_that_is_no_code_reads_as_a_failure(void **state)
{
    (void)state;
    assert_string_equal(mr_code_name((enum mr_code)999), "MR_EIO");
}

static void errno_says_who_can_heal_it(void **state)
{
    (void)state;
    static const struct {
        int sys;
        enum mr_code code;
    } cases[] = {{ENOSPC, MR_ENOSPC}, {EDQUOT, MR_ENOSPC}, {ENOMEM, MR_ENOMEM}, {ENOENT, MR_ENOENT}, {EACCES, MR_EPERM},
                 {EPERM, MR_EPERM},   {EROFS, MR_EPERM},   {EEXIST, MR_EEXIST}, {EIO, MR_EIO},       {EBADF, MR_EIO}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mr_err err;
        assert_int_equal(mr_err_sys(&err, cases[i].sys, "try"), cases[i].code);
        assert_int_equal(err.code, cases[i].code);
        assert_int_equal(err.sys, cases[i].sys);
    }
}

static void a_wrapped_message_reads_from_the_outside_in(void **state)
{
    (void)state;
    struct mr_err err;
    mr_err_sys(&err, ENOSPC, "reserve %d bytes", 64);
    assert_int_equal(mr_err_wrap(&err, "segment %s", "7"), MR_ENOSPC);
    assert_string_equal(err.msg, "segment 7: reserve 64 bytes: No space left on device");
    assert_int_equal(err.sys, ENOSPC);
}

static void a_message_may_quote_the_message_that_it_replaces(void **state)
{
    (void)state;
    struct mr_err err;
    mr_err_set(&err, MR_EIO, "inner");
    mr_err_set(&err, MR_ECONFIG, "outer (%s)", err.msg);
    assert_string_equal(err.msg, "outer (inner)");
    mr_err_wrap(&err, "again %s", err.msg);
    assert_string_equal(err.msg, "again outer (inner): outer (inner)");
}

static void a_message_that_is_too_long_ends_in_dots(void **state)
{
    (void)state;
    struct mr_err err;
    char filler[600];
    memset(filler, 'x', sizeof filler - 1);
    filler[sizeof filler - 1] = '\0';
    mr_err_set(&err, MR_EIO, "%s", filler);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    assert_string_equal(err.msg + sizeof err.msg - 4, "...");
    mr_err_wrap(&err, "front");
    assert_memory_equal(err.msg, "front: xxx", 10);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    assert_string_equal(err.msg + sizeof err.msg - 4, "...");
}

static void a_cut_message_keeps_whole_characters(void **state)
{
    (void)state;
    struct mr_err err;
    char filler[600] = "a";
    for (size_t i = 1; i + 2 < sizeof filler; i += 2)
        memcpy(filler + i, "\xc3\xa9", 3);
    mr_err_set(&err, MR_EIO, "%s", filler);
    size_t n = strlen(err.msg);
    assert_string_equal(err.msg + n - 3, "...");
    assert_int_equal((unsigned char)err.msg[n - 4], 0xa9); /* a whole character before the dots */
    mr_err_set(&err, MR_EIO, "a%s", filler);
    n = strlen(err.msg);
    assert_int_equal((unsigned char)err.msg[n - 4], 0xa9);
}

static void without_a_struct_the_code_comes_back_all_the_same(void **state)
{
    (void)state;
    assert_int_equal(mr_err_set(NULL, MR_EBUSY, "x"), MR_EBUSY);
    assert_int_equal(mr_err_sys(NULL, ENOENT, "x"), MR_ENOENT);
    assert_int_not_equal(mr_err_wrap(NULL, "x"), MR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_name_text_and_class),
        cmocka_unit_test(a_number_that_is_no_code_reads_as_a_failure),
        cmocka_unit_test(errno_says_who_can_heal_it),
        cmocka_unit_test(a_wrapped_message_reads_from_the_outside_in),
        cmocka_unit_test(a_message_may_quote_the_message_that_it_replaces),
        cmocka_unit_test(a_message_that_is_too_long_ends_in_dots),
        cmocka_unit_test(a_cut_message_keeps_whole_characters),
        cmocka_unit_test(without_a_struct_the_code_comes_back_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
