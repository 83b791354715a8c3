/* SPDX-License-Identifier: Apache-2.0 */
/* senders.c - who is the client behind proxies, and how many requests a second may he send? */
#include "unit/webhook/tests.h"

#include "sources/webhook/client.h"
#include "sources/webhook/rate.h"

#include <stdio.h>

struct walk {
    enum client_header header;
    const char *first, *second; /* values of two lines; NULL: none */
    const char *client;         /* NULL: the peer */
};

static void the_walk_ends_at_the_first_who_is_not_trusted(void **state)
{
    (void)state;
    static const struct walk cases[] = {
        {CLIENT_X_FORWARDED_FOR, "203.0.113.7", NULL, "203.0.113.7"},
        {CLIENT_X_FORWARDED_FOR, "1.1.1.1, 203.0.113.7", NULL, "203.0.113.7"}, /* the client himself wrote the first */
        {CLIENT_X_FORWARDED_FOR, "1.1.1.1, 203.0.113.7, 10.0.0.2", NULL, "203.0.113.7"},
        {CLIENT_X_FORWARDED_FOR, "1.1.1.1", "203.0.113.7,10.0.0.2", "203.0.113.7"},
        {CLIENT_X_FORWARDED_FOR, "203.0.113.7:4711 ,\t10.0.0.3", NULL, "203.0.113.7"},
        {CLIENT_X_FORWARDED_FOR, "[2001:db8::7]:80, 10.0.0.3", NULL, "2001:db8::7"},
        {CLIENT_X_FORWARDED_FOR, "203.0.113.7, rubbish, 10.0.0.2", NULL, "10.0.0.2"},
        {CLIENT_X_FORWARDED_FOR, "rubbish", NULL, NULL},
        {CLIENT_X_FORWARDED_FOR, "", NULL, NULL},
        {CLIENT_X_FORWARDED_FOR, "203.0.113.7,", NULL, NULL},
        {CLIENT_X_FORWARDED_FOR, "10.0.0.4, 10.0.0.3", NULL, "10.0.0.4"},
        {CLIENT_X_FORWARDED_FOR, NULL, NULL, NULL},
        {CLIENT_FORWARDED, "for=203.0.113.7", NULL, "203.0.113.7"},
        {CLIENT_FORWARDED, "for=1.1.1.1, For=\"203.0.113.7:80\";proto=https;by=10.0.0.2, for=10.0.0.3", NULL, "203.0.113.7"},
        {CLIENT_FORWARDED, "proto=http;for=\"[2001:db8:cafe::17]:4711\"", NULL, "2001:db8:cafe::17"},
        {CLIENT_FORWARDED, "for=1.1.1.1, for=\"203.0.113.7, for=10.0.0.9\"", NULL, NULL}, /* commas in quotes part nothing */
        /* what the client wrote in front cannot hide or change what the proxy adds */
        {CLIENT_X_FORWARDED_FOR, "\"x, 203.0.113.7", NULL, "203.0.113.7"},
        {CLIENT_X_FORWARDED_FOR, "\\, 203.0.113.7", NULL, "203.0.113.7"},
        {CLIENT_FORWARDED, "for=\"x, for=203.0.113.7", NULL, "203.0.113.7"},
        {CLIENT_FORWARDED, "for=\"x\\, for=\"[2001:db8::7]:80\"", NULL, "2001:db8::7"},
        {CLIENT_FORWARDED, "host=\"x;for=9.9.9.9;y\";for=203.0.113.7", NULL, "203.0.113.7"},
        {CLIENT_FORWARDED, "for=203.0.113.7;host=\"a, for=9.9.9.9\"", NULL, "203.0.113.7"},
        {CLIENT_FORWARDED, "for=203.0.113.7;host=\"a\\\", for=9.9.9.9\"", NULL, "203.0.113.7"},
        {CLIENT_FORWARDED, "host=\"a\\\";for=9.9.9.9\";for=203.0.113.7", NULL, "203.0.113.7"},
        {CLIENT_FORWARDED, "for=unknown, for=10.0.0.2", NULL, "10.0.0.2"},
        {CLIENT_FORWARDED, "for=_secret", NULL, NULL},
        {CLIENT_X_REAL_IP, "203.0.113.7", NULL, "203.0.113.7"},
        {CLIENT_X_REAL_IP, "203.0.113.7", "1.1.1.1", NULL},
        {CLIENT_X_REAL_IP, "203.0.113.7, 1.1.1.1", NULL, NULL},
    };
    static const char *const names[] = {"X-Forwarded-For", "Forwarded", "X-Real-IP"};
    char net[] = "10.0.0.0/8", *texts[] = {net};
    const struct mr_strings trusted = {texts, 1};
    struct ranges ranges;
    struct mr_err err;
    assert_int_equal(ranges_read(&trusted, &ranges, &err), MR_OK);
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        struct mr_header headers[3] = {{MR_STR("Host"), MR_STR("x")}};
        struct mr_http_head head = {.headers = headers, .headers_count = 1};
        const char *values[] = {cases[i].first, cases[i].second};
        for (int v = 0; v < 2; v++)
            if (values[v])
                headers[head.headers_count++] = (struct mr_header){mr_str_c(names[cases[i].header]), mr_str_c(values[v])};
        struct mr_address client;
        char shown[MR_ADDRESS_TEXT] = "the peer";
        if (client_of(&ranges, cases[i].header, &head, &client))
            mr_address_text(&client, shown);
        if (strcmp(shown, cases[i].client ? cases[i].client : "the peer") != 0)
            fail_msg("case %zu: %s", i, shown);
    }
    ranges_free(&ranges);
}

static void a_bucket_fills_by_time(void **state)
{
    (void)state;
    const struct rate_options o = {.per_second = 2, .burst = 3};
    struct bucket b = {0};
    int64_t now = 5000000;
    for (int i = 0; i < 3; i++)
        assert_int_equal(bucket_take(&b, &o, now), 0);
    assert_int_equal(bucket_take(&b, &o, now), 1);
    assert_int_equal(bucket_take(&b, &o, now + 499999), 1);
    assert_int_equal(bucket_take(&b, &o, now + 500000), 0);
    assert_int_equal(bucket_take(&b, &o, now + 500000), 1);
    now += INT64_C(1) << 60; /* ages later it is full and no fuller */
    for (int i = 0; i < 3; i++)
        assert_int_equal(bucket_take(&b, &o, now), 0);
    assert_int_equal(bucket_take(&b, &o, now), 1);
    assert_int_equal(bucket_take(&b, &o, now - 1000000), 1); /* a clock that goes back gives nothing */
}

static void a_bucket_without_a_burst_holds_a_second_s_worth(void **state)
{
    (void)state;
    const struct rate_options o = {.per_second = 1000000};
    struct bucket b = {0};
    for (int i = 0; i < 1000000; i++)
        assert_int_equal(bucket_take(&b, &o, 1), 0);
    assert_int_equal(bucket_take(&b, &o, 1), 1);
    assert_int_equal(bucket_take(&b, &o, 2), 0);
}

static int64_t take(struct clients *c, const char *text, int64_t now_us)
{
    const struct rate_options o = {.per_second = 1, .burst = 1};
    struct mr_address a;
    assert_true(mr_address_parse(mr_str_c(text), &a));
    return clients_take(c, &a, &o, now_us);
}

static void each_client_has_a_bucket_of_his_own(void **state)
{
    (void)state;
    struct clients *c = clients_new();
    assert_int_equal(take(c, "192.0.2.1", 1000), 0);
    assert_int_equal(take(c, "192.0.2.1", 1000), 1);
    assert_int_equal(take(c, "192.0.2.2", 1000), 0);
    assert_int_equal(take(c, "2001:db8::1", 1000), 0);
    assert_int_equal(take(c, "2001:db8::ffff:1", 1000), 1); /* the same /64 */
    assert_int_equal(take(c, "2001:db8:0:1::1", 1000), 0);
    assert_int_equal(take(c, "192.0.2.1", 1001000), 0);
    clients_free(c);
}

static void who_was_silent_longest_makes_room(void **state)
{
    (void)state;
    struct clients *c = clients_new();
    assert_int_equal(take(c, "192.0.2.1", 1000), 0);
    for (int i = 0; i < 100000; i++) { /* strangers, each once; he comes all the time and is not forgotten */
        char text[32];
        snprintf(text, sizeof text, "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
        (void)take(c, text, 2000 + i);
        if (i % 100 == 0)
            assert_int_equal(take(c, "192.0.2.1", 2000 + i), 1);
    }
    clients_free(c);
}

const struct CMUnitTest senders_tests[] = {
    cmocka_unit_test(the_walk_ends_at_the_first_who_is_not_trusted), cmocka_unit_test(a_bucket_fills_by_time),
    cmocka_unit_test(a_bucket_without_a_burst_holds_a_second_s_worth), cmocka_unit_test(each_client_has_a_bucket_of_his_own),
    cmocka_unit_test(who_was_silent_longest_makes_room),
};
const size_t senders_tests_count = MR_COUNT(senders_tests);
