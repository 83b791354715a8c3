/* SPDX-License-Identifier: Apache-2.0 */
/* Senders that are too slow, too many, or want too much memory. */
#include "unit/net/net_tests.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

static struct mr_http_limits limits_short(void)
{
    struct mr_http_limits l;
    mr_http_limits_default(&l);
    l.first_byte_ms = l.header_ms = l.body_ms = l.idle_ms = 60 * 1000;
    return l;
}

/* Sends a byte a turn of the clock until the server has enough. Every byte would win a deadline that counts from the
 * last one. */
static void drip(struct client *c, const char *bytes, char more, int most_ms)
{
    uint64_t end = uv_hrtime() / 1000000 + (uint64_t)most_ms;
    client_send(c, bytes, strlen(bytes));
    while (!client_ended(c, 20) && uv_hrtime() / 1000000 < end)
        client_send(c, &more, 1);
}

static void a_connection_without_a_byte_is_closed_quietly(void **state)
{
    struct mr_http_limits l = limits_short();
    struct client c;
    (void)state;
    l.first_byte_ms = 100;
    struct fixture *f = fixture_new(&l, 64 << 20, 0);
    client_open(&c, f);
    assert_true(client_ended(&c, MS));
    assert_int_equal(c.n, 0);
    client_close(&c);
    fixture_free(f);
}

static void an_idle_connection_is_closed_quietly(void **state)
{
    struct mr_http_limits l = limits_short();
    struct client c;
    char statuses[256];
    (void)state;
    l.idle_ms = 100;
    struct fixture *f = fixture_new(&l, 64 << 20, 0);
    client_open(&c, f);
    SEND(&c, HONEST);
    assert_true(client_ended(&c, MS));
    assert_string_equal(client_statuses(&c, statuses), "200");
    assert_int_equal(f->refusals, 0);
    client_close(&c);
    fixture_free(f);
}

static void a_head_that_drips_gets_408(void **state)
{
    struct mr_http_limits l = limits_short();
    struct client c;
    char statuses[256];
    (void)state;
    l.header_ms = 200;
    struct fixture *f = fixture_new(&l, 64 << 20, 0);
    client_open(&c, f);
    drip(&c, "GET / HTTP/1.1\r\nHost: a\r\nX: ", 'x', MS);
    assert_string_equal(client_statuses(&c, statuses), "408");
    assert_string_equal(f->refused, "timeout_header");
    client_close(&c);
    assert_serves(f);
    fixture_free(f);
}

static void a_body_that_drips_gets_408(void **state)
{
    struct mr_http_limits l = limits_short();
    struct client c;
    char statuses[256];
    (void)state;
    l.body_ms = 200;
    struct fixture *f = fixture_new(&l, 64 << 20, 0);
    client_open(&c, f);
    drip(&c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n", 'x', MS);
    assert_string_equal(client_statuses(&c, statuses), "408");
    assert_string_equal(f->refused, "timeout_body");
    client_close(&c);
    assert_serves(f);
    fixture_free(f);
}

static void a_refused_body_that_does_not_end_gets_no_second_answer(void **state)
{
    struct mr_http_limits l = limits_short();
    struct client c;
    char statuses[256];
    (void)state;
    l.body_ms = 100;
    struct fixture *f = fixture_new(&l, 64 << 20, 0);
    client_open(&c, f);
    SEND(&c, "POST /missing HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    assert_true(client_ended(&c, MS));
    assert_string_equal(client_statuses(&c, statuses), "404");
    assert_serves(f);
    client_close(&c);
    fixture_free(f);
}

/* A close alone would leave what was written, and its end behind it, with the kernel for minutes. */
static void who_does_not_take_his_answer_is_reset(void **state)
{
    struct mr_http_limits l = limits_short();
    struct client c;
    (void)state;
    l.idle_ms = 100;
    struct fixture *f = fixture_new(&l, 64 << 20, 0);
    client_open(&c, f);
    SEND(&c, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    struct pollfd gone = {.fd = c.fd};
    for (int ms = 0; ms < MS && poll(&gone, 1, 20) == 0; ms += 20)
        fixture_turn(f);
    assert_true(gone.revents & POLLHUP);
    assert_serves(f);
    client_close(&c);
    fixture_free(f);
}

static void a_body_below_the_least_rate_gets_408(void **state)
{
    struct mr_http_limits l = limits_short();
    struct client c;
    char statuses[256];
    (void)state;
    l.min_body_rate = 1000;
    struct fixture *f = fixture_new(&l, 64 << 20, 0);
    client_open(&c, f);
    drip(&c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n", 'x', 8000);
    assert_string_equal(client_statuses(&c, statuses), "408");
    assert_string_equal(f->refused, "slow_body");
    client_close(&c);
    fixture_free(f);
}

static void an_answer_that_nobody_takes_is_given_up(void **state)
{
    struct mr_http_limits l = limits_short();
    struct client c;
    (void)state;
    l.idle_ms = 100;
    struct fixture *f = fixture_new(&l, 64 << 20, 0);
    struct mr_cell *open = mr_metric(f->loop.metrics, MR_M_HTTP_CONNECTIONS, "test");
    client_open(&c, f);
    for (unsigned i = 0; i < 8; i++)
        SEND(&c, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    bool never = false;
    for (int i = 0; i < MS && mr_cell_value(open) > 0; i += 50)
        fixture_until(f, &never, 50);
    assert_true(mr_cell_value(open) == 0);
    client_close(&c);
    fixture_free(f);
}

static void connections_above_the_cap_get_503(void **state)
{
    struct mr_http_limits l = limits_short();
    struct client c[3];
    char statuses[256];
    (void)state;
    l.connections = 2;
    struct fixture *f = fixture_new(&l, 64 << 20, 0);
    for (unsigned i = 0; i < 2; i++) {
        client_open(&c[i], f);
        SEND(&c[i], HONEST);
        assert_int_equal(client_read(&c[i], 1, MS), 1);
    }
    client_open(&c[2], f);
    SEND(&c[2], HONEST);
    assert_true(client_ended(&c[2], MS));
    assert_false(c[2].reset);
    assert_string_equal(client_statuses(&c[2], statuses), "503");
    assert_non_null(strstr(c[2].text, "Retry-After: "));
    assert_string_equal(f->refused, "too_many_connections");
    assert_true(mr_cell_value(mr_metric(f->loop.metrics, MR_M_HTTP_REFUSED, "test", "too_many_connections")) == 1);
    client_close(&c[2]);
    client_close(&c[0]);
    assert_serves(f);
    client_close(&c[1]);
    fixture_free(f);
}

static void one_peer_cannot_take_all(void **state)
{
    struct mr_http_limits l = limits_short();
    struct client c[3];
    char statuses[256];
    (void)state;
    l.connections_per_peer = 2;
    struct fixture *f = fixture_new(&l, 64 << 20, 0);
    for (unsigned i = 0; i < 3; i++) {
        client_open(&c[i], f);
        SEND(&c[i], HONEST);
        client_read(&c[i], 1, MS);
    }
    assert_string_equal(client_statuses(&c[1], statuses), "200");
    assert_string_equal(client_statuses(&c[2], statuses), "503");
    assert_string_equal(f->refused, "too_many_of_peer");
    client_close(&c[0]);
    assert_serves(f); /* the refused one, which lingers, does not count */
    client_close(&c[1]);
    client_close(&c[2]);
    fixture_free(f);
}

static void a_flood_of_connections_stays_bounded(void **state)
{
    enum { COUNT = 500 };
    struct mr_http_limits l = limits_short();
    struct client *c = calloc(COUNT, sizeof *c);
    (void)state;
    assert_non_null(c);
    l.connections = 10;
    struct fixture *f = fixture_new(&l, 64 << 20, 0);
    struct mr_cell *open = mr_metric(f->loop.metrics, MR_M_HTTP_CONNECTIONS, "test");
    for (unsigned i = 0; i < COUNT; i++)
        client_open(&c[i], f);
    for (unsigned i = 0; i < 2 * COUNT / 64; i++) {
        fixture_turn(f);
        assert_true(mr_cell_value(open) <= 10 + 64 + 1);
    }
    for (unsigned i = 0; i < COUNT; i++)
        client_close(&c[i]);
    assert_serves(f);
    free(c);
    fixture_free(f);
}

static void new_limits_hold_from_the_next_line_on(void **state)
{
    struct mr_http_limits l = limits_short();
    struct client c;
    char statuses[256];
    (void)state;
    struct fixture *f = fixture_new(&l, 64 << 20, 0);
    client_open(&c, f);
    SEND(&c, "GET / HTTP/1.1\r\nHost: a\r\na: 1\r\nb: 2\r\nc: 3\r\n");
    fixture_turn(f);
    l.header_count = 2;
    mr_http_limits_set(f->server, &l);
    SEND(&c, "\r\n" HONEST);
    assert_int_equal(client_read(&c, 2, MS), 2);
    SEND(&c, "GET / HTTP/1.1\r\nHost: a\r\na: 1\r\nb: 2\r\n\r\n");
    client_ended(&c, MS);
    assert_string_equal(client_statuses(&c, statuses), "200 200 431");
    client_close(&c);
    fixture_free(f);
}

/* Others hold the budget: nothing is read, nothing is lost, and it goes on when they let go. */
static void without_memory_no_socket_is_read_until_there_is_some(void **state)
{
    enum { LIMIT = 1024 * 1024 };
    struct fixture *f = fixture_new(NULL, LIMIT, LIMIT);
    struct mr_share *other = mr_share_new(f->loop.budget, "other", LIMIT, NULL, NULL);
    struct client piece, late;
    char statuses[256];
    (void)state;
    client_open(&late, f);
    fixture_turn(f);
    assert_true(mr_share_take(other, LIMIT));
    client_open(&piece, f);
    SEND(&piece, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\nabc");
    fixture_turn(f);
    SEND(&late, HONEST);
    client_open(&late, f); /* a new one is not even accepted; the one before goes to waste */
    SEND(&late, HONEST);
    assert_int_equal(client_read(&late, 1, 300), 0);
    assert_int_equal(f->handed, 0);
    mr_share_put(other, LIMIT);
    assert_int_equal(client_read(&late, 1, MS), 1);
    char rest[40000 - 3];
    memset(rest, 'r', sizeof rest);
    client_send(&piece, rest, sizeof rest);
    assert_int_equal(client_read(&piece, 1, MS), 1);
    assert_string_equal(client_statuses(&piece, statuses), "200");
    assert_non_null(strstr(mr_buf_cstr(&f->seen), "40000:abcrrr"));
    client_close(&piece);
    client_close(&late);
    mr_share_free(other);
    fixture_free(f);
}

/* Our own half requests hold all of the share: waiting would be for ever, so somebody is sent away. */
static void half_requests_cannot_block_the_listener(void **state)
{
    enum { COUNT = 64, CAP = 1024 * 1024 };
    static char half[40000];
    struct fixture *f = fixture_new(NULL, 64 << 20, CAP);
    struct client c[COUNT];
    unsigned refused = 0;
    char statuses[256];
    (void)state;
    memset(half, 'h', sizeof half);
    for (unsigned i = 0; i < COUNT; i++) {
        client_open(&c[i], f);
        SEND(&c[i], "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n");
        client_send(&c[i], half, sizeof half);
        assert_true(mr_budget_used(f->loop.budget) <= CAP);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        client_send(&c[i], half, 20000);
        client_read(&c[i], 1, MS);
        client_statuses(&c[i], statuses);
        if (strcmp(statuses, "503") == 0)
            refused++;
        else
            assert_string_equal(statuses, "200");
    }
    assert_true(refused > 0 && refused < COUNT);
    assert_string_equal(f->refused, "memory");
    for (unsigned i = 0; i < COUNT; i++)
        client_close(&c[i]);
    assert_serves(f);
    fixture_free(f);
}

static void bytes_ahead_of_an_answer_are_dropped_without_memory(void **state)
{
    enum { LIMIT = 1024 * 1024 };
    struct fixture *f = fixture_new(NULL, LIMIT, LIMIT);
    struct mr_share *other = mr_share_new(f->loop.budget, "other", LIMIT, NULL, NULL);
    struct client c;
    char statuses[256];
    (void)state;
    assert_true(mr_share_take(other, LIMIT));
    client_open(&c, f);
    SEND(&c, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n" HONEST);
    assert_true(fixture_until_handed(f, 1, MS));
    answer_later(f, 0);
    assert_true(client_ended(&c, MS));
    assert_string_equal(client_statuses(&c, statuses), "200");
    assert_non_null(strstr(c.text, "Connection: close\r\n"));
    assert_int_equal(f->handed, 1);
    client_close(&c);
    mr_share_free(other);
    fixture_free(f);
}

int run_limit_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_without_a_byte_is_closed_quietly),
        cmocka_unit_test(an_idle_connection_is_closed_quietly),
        cmocka_unit_test(a_head_that_drips_gets_408),
        cmocka_unit_test(a_body_that_drips_gets_408),
        cmocka_unit_test(a_refused_body_that_does_not_end_gets_no_second_answer),
        cmocka_unit_test(who_does_not_take_his_answer_is_reset),
        cmocka_unit_test(a_body_below_the_least_rate_gets_408),
        cmocka_unit_test(an_answer_that_nobody_takes_is_given_up),
        cmocka_unit_test(connections_above_the_cap_get_503),
        cmocka_unit_test(one_peer_cannot_take_all),
        cmocka_unit_test(a_flood_of_connections_stays_bounded),
        cmocka_unit_test(new_limits_hold_from_the_next_line_on),
        cmocka_unit_test(without_memory_no_socket_is_read_until_there_is_some),
        cmocka_unit_test(half_requests_cannot_block_the_listener),
        cmocka_unit_test(bytes_ahead_of_an_answer_are_dropped_without_memory),
    };
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
