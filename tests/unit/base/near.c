/* SPDX-License-Identifier: Apache-2.0 */
#include "millrace/near.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *nearest(const char *word, const char *const *known)
{
    struct mr_near near = {.word = mr_str_c(word)};
    for (; *known; known++)
        mr_near_offer(&near, *known);
    return near.best;
}

static size_t distance(const char *a, const char *b)
{
    size_t there = mr_near_distance(mr_str_c(a), mr_str_c(b));
    assert_int_equal(there, mr_near_distance(mr_str_c(b), mr_str_c(a)));
    return there;
}

static void edits_are_counted(void **state)
{
    (void)state;
    assert_int_equal(distance("", ""), 0);
    assert_int_equal(distance("", "abc"), 3);
    assert_int_equal(distance("listen", "listen"), 0);
    assert_int_equal(distance("LISTEN", "listen"), 0);
    assert_int_equal(distance("lsten", "listen"), 1);
    assert_int_equal(distance("lisetn", "listen"), 1);
    assert_int_equal(distance("data-dir", "data_dir"), 1);
    assert_int_equal(distance("kitten", "sitting"), 3);
    assert_int_equal(distance("ca", "abc"), 3); /* no edit inside a swapped pair */
}

static void the_nearest_word_wins(void **state)
{
    (void)state;
    const char *const known[] = {"zone", "state", "stat", "alerts", NULL};
    assert_string_equal(nearest("sate", known), "state");
    assert_string_equal(nearest("alert", known), "alerts");
    assert_string_equal(nearest("zoen", known), "zone");
}

static void a_far_word_is_no_suggestion(void **state)
{
    (void)state;
    const char *const known[] = {"url", "id", "environment", NULL};
    assert_null(nearest("abc", known));
    assert_null(nearest("xy", known));
    assert_null(nearest("atmosphere", known));
    assert_string_equal(nearest("enviroment", known), "environment");
    assert_string_equal(nearest("environmental", known), "environment");
}

static void a_word_beyond_the_bound_is_far_from_all(void **state)
{
    (void)state;
    char word[MR_NEAR_WORD_MAX + 2] = {0};
    memset(word, 'a', MR_NEAR_WORD_MAX + 1);
    const char *const known[] = {word, NULL};
    assert_null(nearest(word, known));
    word[MR_NEAR_WORD_MAX] = '\0';
    assert_string_equal(nearest(word, known), word);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edits_are_counted),
        cmocka_unit_test(the_nearest_word_wins),
        cmocka_unit_test(a_far_word_is_no_suggestion),
        cmocka_unit_test(a_word_beyond_the_bound_is_far_from_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
