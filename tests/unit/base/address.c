/* SPDX-License-Identifier: Apache-2.0 */
/* address.c - addresses and ranges. What is in which range was worked out with Python's ipaddress. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "millrace/address.h"

static void texts_are_read_whole_or_not_at_all(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown; /* NULL: none */
    } cases[] = {
        {"192.0.2.1", "192.0.2.1"}, {"::1", "::1"}, {"2001:DB8::1", "2001:db8::1"}, {"::ffff:192.0.2.1", "192.0.2.1"},
        {"192.0.2.256", NULL}, {"192.0.2", NULL}, {"192.0.2.1 ", NULL}, {" 192.0.2.1", NULL}, {"192.0.2.1:80", NULL}, {"[::1]", NULL},
        {"0x7f.0.0.1", NULL}, {"127.1", NULL}, {"", NULL}, {"localhost", NULL}, {"fe80::1%eth0", NULL}, {":::", NULL},
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        struct mr_address a;
        char shown[MR_ADDRESS_TEXT];
        bool ok = mr_address_parse(mr_str_c(cases[i].text), &a);
        if (ok != (cases[i].shown != NULL))
            fail_msg("%s", cases[i].text);
        if (!ok)
            continue;
        mr_address_text(&a, shown);
        assert_string_equal(shown, cases[i].shown);
    }
}

static void nodes_may_have_ports(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"192.0.2.1:80", "192.0.2.1"}, {"192.0.2.1", "192.0.2.1"}, {"[2001:db8::1]", "2001:db8::1"}, {"[2001:db8::1]:4711", "2001:db8::1"},
        {"2001:db8::1", "2001:db8::1"}, {"192.0.2.1:", NULL}, {"192.0.2.1:abc", NULL}, {"[192.0.2.1]", NULL}, {"[::1", NULL}, {"[::1]80", NULL},
        {"unknown", NULL}, {"_hidden", NULL}, {":80", NULL}, {"[]:80", NULL}, {"192.0.2.1:123456", NULL},
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        struct mr_address a;
        char shown[MR_ADDRESS_TEXT];
        bool ok = mr_address_parse_node(mr_str_c(cases[i].text), &a);
        if (ok != (cases[i].shown != NULL))
            fail_msg("%s", cases[i].text);
        if (!ok)
            continue;
        mr_address_text(&a, shown);
        assert_string_equal(shown, cases[i].shown);
    }
}

static void ranges_have_what_python_says(void **state)
{
    (void)state;
    static const struct {
        const char *range, *in, *out;
    } cases[] = {
        {"192.0.2.0/24", "192.0.2.255", "192.0.3.0"},     {"10.0.0.0/8", "10.255.0.1", "11.0.0.0"},       {"203.0.113.128/25", "203.0.113.200", "203.0.113.127"},
        {"192.0.2.7", "192.0.2.7", "192.0.2.8"},          {"0.0.0.0/0", "198.51.100.9", "2001:db8::1"},   {"2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"},
        {"::1", "::1", "::2"}, {"::/0", "2001:db8::1", "192.0.2.1"}, {"::/64", "::7", "192.0.2.1"}, {"2001:db8:0:8000::/49", "2001:db8:0:ffff::1", "2001:db8:0:7fff::1"}, {"192.0.2.0/24", "::ffff:192.0.2.9", "::192.0.2.9"},
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        struct mr_cidr range;
        struct mr_address in, out;
        struct mr_err err;
        assert_int_equal(mr_cidr_parse(mr_str_c(cases[i].range), &range, &err), MR_OK);
        assert_true(mr_address_parse(mr_str_c(cases[i].in), &in) && mr_address_parse(mr_str_c(cases[i].out), &out));
        if (!mr_cidr_has(&range, &in) || mr_cidr_has(&range, &out))
            fail_msg("%s", cases[i].range);
    }
}

static void faults_of_a_range_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *range, *words;
    } cases[] = {
        {"192.0.2.1/24", "192.0.2.0/24"}, {"2001:db8::1/32", "2001:db8::/32"}, {"192.0.2.0/33", "0 to 32"}, {"::/129", "0 to 128"}, {"192.0.2.0/", "number of bits"},
        {"192.0.2.0/-1", "number of bits"}, {"192.0.2.0/08", "number of bits"}, {"192.0.2.0/255.255.255.0", "number of bits"}, {"office", "no address"}, {"", "no address"},
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        struct mr_cidr range;
        struct mr_err err;
        assert_int_equal(mr_cidr_parse(mr_str_c(cases[i].range), &range, &err), MR_ECONFIG);
        if (!strstr(err.msg, cases[i].words))
            fail_msg("%s: %s", cases[i].range, err.msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_read_whole_or_not_at_all),
        cmocka_unit_test(nodes_may_have_ports),
        cmocka_unit_test(ranges_have_what_python_says),
        cmocka_unit_test(faults_of_a_range_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
