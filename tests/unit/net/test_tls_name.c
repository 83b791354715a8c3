/* SPDX-License-Identifier: Apache-2.0 */
/* test_tls_name.c - which names a certificate is for: RFC 6125, 6.4. */
#include "unit/net/net_tests.h"

#include "net/tls_name.h"

static bool fits(const char *pattern, const char *name)
{
    return mr_tls_name_fits(mr_str_c(pattern), mr_str_c(name));
}

static void names_are_compared_without_case(void **state)
{
    (void)state;
    assert_true(fits("hooks.example.com", "hooks.example.com"));
    assert_true(fits("Hooks.Example.COM", "hOOKS.example.com"));
    assert_true(fits("hooks.example.com", "hooks.example.com."));
    assert_false(fits("hooks.example.com", "hooks.example.co"));
    assert_false(fits("hooks.example.com", "xhooks.example.com"));
    assert_false(fits("", ""));
    assert_false(fits("a", ""));
    assert_false(fits("", "a"));
    assert_false(fits("a", "."));
}

static void a_star_stands_for_one_label(void **state)
{
    (void)state;
    assert_true(fits("*.example.com", "a.example.com"));
    assert_false(fits("*.example.com", "a.b.example.com"));
    assert_false(fits("*.example.com", "example.com"));
    assert_false(fits("*.example.com", ".example.com"));
    assert_false(fits("*.example.com", "*"));
    assert_false(fits("*", "localhost"));
    assert_false(fits("a*.example.com", "ab.example.com"));
    assert_false(fits("a.*.com", "a.b.com"));
    assert_false(fits("*.*.com", "a.b.com"));
    assert_false(fits("*.", "a."));
}

static void a_nul_in_a_name_is_no_end(void **state)
{
    (void)state;
    struct mr_str evil = MR_STR("good.example\0.evil.example");
    assert_false(mr_tls_name_fits(evil, mr_str_c("good.example")));
    assert_false(mr_tls_name_fits(mr_str_c("*.evil.example"), evil));
    assert_false(mr_tls_name_fits(evil, evil));
}

int run_tls_name_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_compared_without_case),
        cmocka_unit_test(a_star_stands_for_one_label),
        cmocka_unit_test(a_nul_in_a_name_is_no_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
