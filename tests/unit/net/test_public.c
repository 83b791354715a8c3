/* SPDX-License-Identifier: Apache-2.0 */
/* test_public.c - which addresses are the public internet's. The edges of the special blocks; the answers are those of Python 3.11's
 * ipaddress (is_global and no multicast). */
#include "unit/net/net_tests.h"

#include "millrace/address.h"

#include <netinet/in.h>
#include <sys/un.h>
#include <uv.h>

static bool is_public(const char *text)
{
    struct sockaddr_storage at = {0};
    int rc = strchr(text, ':') ? uv_ip6_addr(text, 443, (struct sockaddr_in6 *)&at) : uv_ip4_addr(text, 443, (struct sockaddr_in *)&at);
    assert_int_equal(rc, 0);
    return mr_address_is_public((struct sockaddr *)&at);
}

static void the_edges_are_where_python_has_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_public;
    } cases[] = {
        {"0.0.0.0", false},
        {"0.255.255.255", false},
        {"1.0.0.0", true},
        {"9.255.255.255", true},
        {"10.0.0.0", false},
        {"10.255.255.255", false},
        {"11.0.0.0", true},
        {"100.63.255.255", true},
        {"100.64.0.0", false},
        {"100.127.255.255", false},
        {"100.128.0.0", true},
        {"126.255.255.255", true},
        {"127.0.0.0", false},
        {"127.255.255.255", false},
        {"128.0.0.0", true},
        {"169.253.255.255", true},
        {"169.254.0.0", false},
        {"169.254.255.255", false},
        {"169.255.0.0", true},
        {"172.15.255.255", true},
        {"172.16.0.0", false},
        {"172.31.255.255", false},
        {"172.32.0.0", true},
        {"191.255.255.255", true},
        {"192.0.0.0", false},
        {"192.0.0.7", false},
        {"192.0.1.255", true},
        {"192.0.2.0", false},
        {"192.0.2.255", false},
        {"192.0.3.0", true},
        {"192.167.255.255", true},
        {"192.168.0.0", false},
        {"192.168.255.255", false},
        {"192.169.0.0", true},
        {"198.17.255.255", true},
        {"198.18.0.0", false},
        {"198.19.255.255", false},
        {"198.20.0.0", true},
        {"198.51.99.255", true},
        {"198.51.100.0", false},
        {"198.51.100.255", false},
        {"198.51.101.0", true},
        {"203.0.112.255", true},
        {"203.0.113.0", false},
        {"203.0.113.255", false},
        {"203.0.114.0", true},
        {"223.255.255.255", true},
        {"224.0.0.0", false},
        {"239.255.255.255", false},
        {"240.0.0.0", false},
        {"255.255.255.255", false},
        {"8.8.8.8", true},
        {"1.1.1.1", true},
        {"52.94.5.1", true},
        {"::", false},
        {"::1", false},
        {"fe80::1", false},
        {"fc00::1", false},
        {"fdff::1", false},
        {"ff02::1", false},
        {"2001:db8::1", false},
        {"2001:db8:ffff::1", false},
        {"2001:db7:ffff::1", true},
        {"2001:db9::1", true},
        {"2606:4700:4700::1111", true},
        {"2a00:1450::1", true},
        {"2001:4860:4860::8888", true},
        {"3fff:1000::1", true},
        {"100::1", false},
        {"2001:200::1", true},
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++)
        if (is_public(cases[i].text) != cases[i].is_public)
            fail_msg("%s is %spublic", cases[i].text, cases[i].is_public ? "" : "not ");
}

static void we_are_stricter_with_addresses_in_addresses(void **state)
{
    (void)state;
    assert_false(is_public("::ffff:8.8.8.8"));
    assert_false(is_public("::ffff:127.0.0.1"));
    assert_false(is_public("2002:7f00:1::1"));     /* 6to4 */
    assert_false(is_public("2001:0:4136:e378::1")); /* Teredo */
    assert_false(is_public("192.88.99.1"));        /* relays of 6to4 */
    assert_false(is_public("192.0.0.9"));
    assert_false(is_public("3fff:fff::1")); /* for documents: RFC 9637, younger than that Python */
    assert_false(is_public("1fff:ffff::1")); /* nobody has it */
}

/* RFC 6052: how a network without IPv4 reaches those who have nothing else. */
static void behind_the_translators_prefix_the_inner_address_counts(void **state)
{
    (void)state;
    assert_true(is_public("64:ff9b::8.8.8.8"));
    assert_false(is_public("64:ff9b::127.0.0.1"));
    assert_false(is_public("64:ff9b::10.1.2.3"));
    assert_false(is_public("64:ff9b::169.254.169.254"));
    assert_false(is_public("64:ff9b:1::8.8.8.8")); /* a local translator's, RFC 8215 */
    assert_false(is_public("64:ff9b::1:808:808"));
}

static void other_families_are_not_public(void **state)
{
    (void)state;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    assert_false(mr_address_is_public((const struct sockaddr *)&un));
}

int run_public_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_edges_are_where_python_has_them),
        cmocka_unit_test(we_are_stricter_with_addresses_in_addresses),
        cmocka_unit_test(behind_the_translators_prefix_the_inner_address_counts),
        cmocka_unit_test(other_families_are_not_public),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
