/* SPDX-License-Identifier: Apache-2.0 */
/* test_proxy_header.c - the PROXY protocol: lines and bytes as its specification writes them. */
#include "unit/net/net_tests.h"

#include "net/proxy_header.h"

static enum mr_proxy_step parse(const char *bytes, size_t n, struct mr_proxy *p)
{
    return mr_proxy_parse((struct mr_str){bytes, n}, p);
}
#define PARSE(text, p) parse(text, sizeof text - 1, p)

static void assert_client(const struct mr_proxy *p, const char *text, unsigned port)
{
    char shown[MR_ADDRESS_TEXT];
    assert_true(p->known);
    mr_address_text(&p->client, shown);
    assert_string_equal(shown, text);
    assert_int_equal(p->port, port);
}

static void version_1_is_a_line(void **state)
{
    (void)state;
    struct mr_proxy p;
    assert_int_equal(PARSE("PROXY TCP4 255.255.255.255 198.51.100.1 65535 443\r\nPOST /", &p), MR_PROXY_DONE);
    assert_client(&p, "255.255.255.255", 65535);
    assert_int_equal(p.n, 51);
    assert_int_equal(PARSE("PROXY TCP6 2001:db8::7 ::1 4711 443\r\n", &p), MR_PROXY_DONE);
    assert_client(&p, "2001:db8::7", 4711);
    assert_int_equal(PARSE("PROXY UNKNOWN\r\n", &p), MR_PROXY_DONE);
    assert_false(p.known);
    assert_int_equal(PARSE("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", &p), MR_PROXY_DONE);
    assert_false(p.known);
}

static void what_is_no_line_of_version_1(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 65536\r\n", "PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n", "PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n",
        "PROXY TCP4 2001:db8::7 ::1 1 2\r\n", "PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n", "PROXY  TCP4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2 \r\n", "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\rX", "PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY \r\n", "proxy TCP4 192.0.2.1 198.51.100.1 1 2\r\n", "GET / HTTP/1.1\r\n", "PROXY TCP4 192.0.2.1 198.51.100.1 -1 2\r\n", "\x16\x03\x01",
    };
    struct mr_proxy p;
    for (size_t i = 0; i < MR_COUNT(cases); i++)
        if (parse(cases[i], strlen(cases[i]), &p) != MR_PROXY_BAD)
            fail_msg("%s", cases[i]);
    char longest[200] = "PROXY UNKNOWN ";
    memset(longest + 14, 'x', sizeof longest - 14);
    assert_int_equal(parse(longest, 105, &p), MR_PROXY_MORE);
    assert_int_equal(parse(longest, 106, &p), MR_PROXY_BAD); /* 107 with its end, at most: it will not be a line any more */
    memcpy(longest + 105, "\r\n", 2);
    for (size_t n = 1; n < 107; n++)
        assert_int_equal(parse(longest, n, &p), MR_PROXY_MORE);
    assert_int_equal(parse(longest, 107, &p), MR_PROXY_DONE);
    memcpy(longest + 105, "x\r\n", 3);
    assert_int_equal(parse(longest, 107, &p), MR_PROXY_BAD);
    assert_int_equal(parse(longest, 108, &p), MR_PROXY_BAD); /* had it come at once it was taken, bit by bit it was not */
}

#define V2 "\r\n\r\n\0\r\nQUIT\n"

static void version_2_is_binary(void **state)
{
    (void)state;
    struct mr_proxy p;
    assert_int_equal(PARSE(V2 "\x21\x11\0\x0c\xcb\0\x71\x07\xc6\x33\x64\x01\xdd\xd5\x01\xbb" "rest", &p), MR_PROXY_DONE);
    assert_client(&p, "203.0.113.7", 56789);
    assert_int_equal(p.n, 28);
    assert_int_equal(PARSE(V2 "\x21\x21\0\x29" "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07" "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01" "\x12\x67\x01\xbb"
                           "\x04\0\x02zz", &p), MR_PROXY_DONE); /* a TLV behind */
    assert_client(&p, "2001:db8::7", 4711);
    assert_int_equal(p.n, 57);
    assert_int_equal(PARSE(V2 "\x20\x11\0\x0c\xcb\0\x71\x07\xc6\x33\x64\x01\xdd\xd5\x01\xbb", &p), MR_PROXY_DONE); /* LOCAL */
    assert_false(p.known);
    assert_int_equal(PARSE(V2 "\x21\0\0\0", &p), MR_PROXY_DONE); /* UNSPEC */
    assert_false(p.known);
}

static void what_is_no_version_2(void **state)
{
    (void)state;
    struct mr_proxy p;
    assert_int_equal(PARSE(V2 "\x11\x11\0\x0c", &p), MR_PROXY_BAD);
    assert_int_equal(PARSE(V2 "\x22\x11\0\x0c", &p), MR_PROXY_BAD);
    assert_int_equal(PARSE(V2 "\x21\x11\xff\xff", &p), MR_PROXY_BAD);
    assert_int_equal(PARSE(V2 "\x21\x11\0\x0b\xcb\0\x71\x07\xc6\x33\x64\x01\xdd\xd5\x01", &p), MR_PROXY_BAD);
    assert_int_equal(PARSE("\r\n\r\n\0\r\nQUIX", &p), MR_PROXY_BAD);
}

static void every_beginning_of_a_header_wants_more(void **state)
{
    (void)state;
    static const char one[] = "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\n";
    static const char two[] = V2 "\x21\x11\0\x0c\xcb\0\x71\x07\xc6\x33\x64\x01\xdd\xd5\x01\xbb";
    struct mr_proxy p;
    for (size_t n = 0; n < sizeof one - 1; n++)
        assert_int_equal(parse(one, n, &p), MR_PROXY_MORE);
    for (size_t n = 0; n < sizeof two - 1; n++)
        assert_int_equal(parse(two, n, &p), MR_PROXY_MORE);
}

int run_proxy_header_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1_is_a_line),       cmocka_unit_test(what_is_no_line_of_version_1),
        cmocka_unit_test(version_2_is_binary),       cmocka_unit_test(what_is_no_version_2),
        cmocka_unit_test(every_beginning_of_a_header_wants_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
