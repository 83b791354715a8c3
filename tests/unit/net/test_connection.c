/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a connection: pipelining, answers that come later, half-closing, draining, closing. */
#include "unit/net/net_tests.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define LATER(n) "POST /later?" n " HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab" n

static void assert_statuses(struct client *c, const char *wanted)
{
    char statuses[256];
    assert_string_equal(client_statuses(c, statuses), wanted);
}

static void set_flag(void *arg)
{
    bool *flag = arg;
    *flag = true;
}

static void pipelined_requests_are_handed_over_one_after_the_other(void **state)
{
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    struct client c;
    (void)state;
    client_open(&c, f);
    SEND(&c, LATER("1") LATER("2") LATER("3") HONEST);
    for (unsigned i = 1; i <= 3; i++) {
        assert_true(fixture_until_handed(f, i, MS));
        assert_int_equal(f->handed, i); /* not before the answer to the one before */
        assert_int_equal(f->held_n, 1);
        answer_later(f, 0);
    }
    assert_int_equal(client_read(&c, 4, MS), 4);
    assert_statuses(&c, "200 200 200 200");
    const char *one = strstr(mr_buf_cstr(&f->seen), "3:ab1"), *two = strstr(one, "3:ab2");
    assert_non_null(strstr(two, "3:ab3"));
    client_close(&c);
    fixture_free(f);
}

static void what_comes_while_a_request_is_out_is_kept(void **state)
{
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    struct client c;
    (void)state;
    client_open(&c, f);
    SEND(&c, LATER("1"));
    assert_true(fixture_until_handed(f, 1, MS));
    SEND(&c, "POST /later?2 HTTP/1.1\r\nHost: a\r\nConte");
    fixture_turn(f);
    SEND(&c, "nt-Length: 3\r\n\r\nab");
    answer_later(f, 0);
    SEND(&c, "2" HONEST);
    assert_true(fixture_until_handed(f, 2, MS));
    assert_non_null(strstr(mr_buf_cstr(&f->seen), "3:ab2"));
    answer_later(f, 0);
    assert_int_equal(client_read(&c, 3, MS), 3);
    client_close(&c);
    fixture_free(f);
}

static void answers_of_many_connections_may_come_in_any_order(void **state)
{
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    struct client c[16];
    (void)state;
    for (unsigned i = 0; i < 16; i++) {
        client_open(&c[i], f);
        SEND(&c[i], LATER("1") LATER("2"));
    }
    assert_true(fixture_until_handed(f, 16, MS));
    for (unsigned i = 0; i < 32; i++) {
        assert_true(f->held_n > 0);
        answer_later(f, (i * 7) % f->held_n);
    }
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(client_read(&c[i], 2, MS), 2);
        client_close(&c[i]);
    }
    fixture_free(f);
}

/* What waits behind the answer of another connection must not be parsed over the head and body that a handler is
 * reading. */
static void an_answer_from_inside_a_request_disturbs_nothing(void **state)
{
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    struct client held, inside;
    (void)state;
    client_open(&held, f);
    SEND(&held, LATER("1") "GET /behind HTTP/1.1\r\nHost: other\r\nX: y\r\n\r\n");
    assert_true(fixture_until_handed(f, 1, MS));
    mr_buf_clear(&f->seen);
    client_open(&inside, f);
    SEND(&inside, "POST /release HTTP/1.1\r\nHost: mine\r\nContent-Length: 4\r\n\r\nbody");
    assert_int_equal(client_read(&inside, 1, MS), 1);
    assert_int_equal(client_read(&held, 2, MS), 2);
    static const char mine[] = "POST|/release|/release||4|Host=mine;Content-Length=4;|4:body\n";
    static const char behind[] = "GET|/behind|/behind||-1|Host=other;X=y;|0:\n";
    char wanted[512];
    snprintf(wanted, sizeof wanted, "%s%s%s%s", mine, mine, behind, behind);
    assert_string_equal(mr_buf_cstr(&f->seen), wanted);
    client_close(&held);
    client_close(&inside);
    fixture_free(f);
}

static void a_half_closed_peer_gets_its_answers(void **state)
{
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    struct client c;
    (void)state;
    client_open(&c, f);
    SEND(&c, LATER("1") LATER("2"));
    shutdown(c.fd, SHUT_WR);
    assert_true(fixture_until_handed(f, 1, MS));
    answer_later(f, 0);
    assert_true(fixture_until_handed(f, 2, MS));
    answer_later(f, 0);
    assert_true(client_ended(&c, MS));
    assert_false(c.reset);
    assert_statuses(&c, "200 200");
    client_close(&c);
    fixture_free(f);
}

static void a_request_cut_off_by_its_sender_is_refused(void **state)
{
    static const char *const cut[] = {"GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe",
                                      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"};
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    (void)state;
    for (size_t i = 0; i < MR_COUNT(cut); i++) {
        struct client c;
        client_open(&c, f);
        client_send(&c, cut[i], strlen(cut[i]));
        shutdown(c.fd, SHUT_WR);
        assert_true(client_ended(&c, MS));
        assert_statuses(&c, "400");
        assert_string_equal(f->refused, "truncated");
        client_close(&c);
    }
    assert_int_equal(f->handed, 0);
    fixture_free(f);
}

static void an_answer_to_a_peer_that_is_gone_goes_into_the_void(void **state)
{
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        struct client c;
        client_open(&c, f);
        SEND(&c, LATER("1"));
        assert_true(fixture_until_handed(f, 1 + (unsigned)reset, MS));
        struct linger now = {.l_onoff = reset, .l_linger = 0};
        setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        client_close(&c);
        answer_later(f, 0);
        assert_serves(f);
        f->handed = 1 + (unsigned)reset;
    }
    fixture_free(f);
}

static void continue_is_said_once_the_head_is_accepted(void **state)
{
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    struct client c;
    (void)state;
    client_open(&c, f);
    SEND(&c, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    client_read(&c, 1, 0);
    assert_string_equal(c.text, "HTTP/1.1 100 Continue\r\n\r\n");
    SEND(&c, "hi");
    assert_int_equal(client_read(&c, 1, MS), 1);
    assert_statuses(&c, "100 200");
    client_close(&c);
    client_open(&c, f);
    SEND(&c, "POST /small HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n");
    assert_true(client_ended(&c, MS));
    assert_statuses(&c, "413");
    client_close(&c);
    fixture_free(f);
}

/* The body is still on its way when the answer goes out: a reset must not overtake it. */
static void a_refusal_is_read_although_the_body_keeps_coming(void **state)
{
    static char body[200 * 1024];
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    struct client c;
    (void)state;
    memset(body, 'x', sizeof body);
    client_open(&c, f);
    SEND(&c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
    client_send(&c, body, sizeof body);
    assert_true(client_ended(&c, MS));
    assert_false(c.reset);
    assert_statuses(&c, "413");
    client_close(&c);
    fixture_free(f);
}

static void who_keeps_sending_after_a_refusal_is_cut_off(void **state)
{
    static char body[1024 * 1024];
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    struct client c;
    (void)state;
    client_open(&c, f);
    SEND(&c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
    client_send(&c, body, sizeof body);
    fixture_turn(f);
    ssize_t n = 0;
    for (int i = 0; i < 1000 && n >= 0; i++) {
        n = send(c.fd, body, 1, MSG_NOSIGNAL);
        fixture_turn(f);
    }
    assert_true(n < 0);
    client_close(&c);
    fixture_free(f);
}

static void a_large_answer_waits_for_its_reader(void **state)
{
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    struct client c;
    (void)state;
    client_open(&c, f);
    SEND(&c, "GET /big HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: "
             "a\r\nConnection: close\r\n\r\n");
    fixture_turn(f);
    assert_int_equal(f->handed, 1); /* nothing is parsed behind an answer that is not taken */
    assert_true(client_ended(&c, MS));
    assert_int_equal(f->handed, 3);
    assert_true(c.total > BIG_ANSWER + 2 * 60);
    client_close(&c);
    fixture_free(f);
}

static void a_large_body_comes_whole(void **state)
{
    enum { SIZE = 5 * 1024 * 1024 };
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    struct client c;
    char *body = malloc(SIZE);
    (void)state;
    assert_non_null(body);
    memset(body, 'b', SIZE);
    f->body_most = SIZE;
    client_open(&c, f);
    SEND(&c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5242880\r\n\r\n");
    client_send(&c, body, SIZE);
    SEND(&c, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n500000\r\n");
    client_send(&c, body, SIZE);
    SEND(&c, "\r\n0\r\n\r\n" HONEST);
    assert_int_equal(client_read(&c, 3, MS), 3);
    assert_statuses(&c, "200 200 200");
    assert_non_null(strstr(mr_buf_cstr(&f->seen), "|5242880|Host=a;Content-Length=5242880;|5242880:bbb"));
    assert_non_null(strstr(mr_buf_cstr(&f->seen), "|-1|Host=a;Transfer-Encoding=chunked;|5242880:bbb"));
    fixture_turn(f);
    assert_int_equal(mr_budget_used(f->loop.budget), 0); /* an idle connection holds nothing */
    client_close(&c);
    free(body);
    fixture_free(f);
}

static void draining_ends_the_idle_and_answers_the_rest(void **state)
{
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    struct client idle, out, half;
    (void)state;
    client_open(&idle, f);
    SEND(&idle, HONEST);
    client_read(&idle, 1, MS);
    client_open(&out, f);
    SEND(&out, LATER("1"));
    client_open(&half, f);
    SEND(&half, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nh");
    assert_true(fixture_until_handed(f, 2, MS));
    mr_http_drain(f->server, set_flag, &f->drained);
    assert_false(f->drained);
    assert_true(client_ended(&idle, MS));
    assert_false(f->drained);
    answer_later(f, 0);
    assert_true(client_ended(&out, MS));
    assert_non_null(strstr(out.text, "Connection: close\r\n"));
    SEND(&half, "i");
    assert_true(client_ended(&half, MS));
    assert_non_null(strstr(half.text, "Connection: close\r\n"));
    client_close(&idle);
    client_close(&out);
    assert_false(f->drained);
    client_close(&half);
    assert_true(fixture_until(f, &f->drained, MS));
    fixture_free(f);
}

static void draining_with_nobody_there_calls_back_later(void **state)
{
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    (void)state;
    mr_http_drain(f->server, set_flag, &f->drained);
    assert_false(f->drained);
    assert_true(fixture_until(f, &f->drained, MS));
    fixture_free(f);
}

static void closing_leaves_answers_that_are_out_harmless(void **state)
{
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    struct client c[3];
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        client_open(&c[i], f);
        SEND(&c[i], LATER("1") LATER("2"));
    }
    assert_true(fixture_until_handed(f, 3, MS));
    mr_http_close(f->server, set_flag, &f->closed);
    answer_later(f, 0); /* handles closing */
    assert_true(fixture_until(f, &f->closed, MS));
    answer_later(f, 0); /* server gone; the third by fixture_free() */
    for (unsigned i = 0; i < 3; i++) {
        assert_true(client_ended(&c[i], MS));
        close(c[i].fd);
    }
    fixture_free(f);
}

static long resident_kib(void)
{
    long pages = 0, resident = 0;
    FILE *p = fopen("/proc/self/statm", "re");
    assert_non_null(p);
    assert_int_equal(fscanf(p, "%ld %ld", &pages, &resident), 2);
    fclose(p);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void two_thousand_idle_connections_cost_little(void **state)
{
    enum { COUNT = 2000 };
    struct rlimit most;
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    struct client *c = calloc(COUNT, sizeof *c);
    (void)state;
    assert_non_null(c);
    memset(c, 1, COUNT * sizeof *c); /* the clients' own pages are there before */
    getrlimit(RLIMIT_NOFILE, &most);
    assert_true(most.rlim_cur > 2 * COUNT + 100);
    long before = resident_kib();
    for (unsigned i = 0; i < COUNT; i++) {
        client_open(&c[i], f);
        SEND(&c[i], "POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n0123456789");
        SEND(&c[i], "0123456789");
    }
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(client_read(&c[i], 1, MS), 1);
    long grown = resident_kib() - before;
    assert_int_equal(mr_budget_used(f->loop.budget), 0);
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__ /* both keep memory of their own */
    assert_true(grown < 2 * COUNT); /* 2 KiB each, with what malloc and libuv add */
#else
    (void)grown;
#endif
    for (unsigned i = 0; i < COUNT; i++)
        client_close(&c[i]);
    free(c);
    fixture_free(f);
}

static void spent_descriptors_hang_nobody(void **state)
{
    struct rlimit old, tight;
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    struct client c[8];
    (void)state;
    assert_serves(f);
    for (unsigned i = 0; i < 8; i++)
        client_open(&c[i], f);
    /* no descriptor above those that are open now */
    int next = dup(0);
    close(next);
    getrlimit(RLIMIT_NOFILE, &old);
    tight = old;
    tight.rlim_cur = (rlim_t)next;
    setrlimit(RLIMIT_NOFILE, &tight);
    for (unsigned i = 0; i < 8; i++)
        assert_true(client_ended(&c[i], MS)); /* told or dropped, not left waiting */
    assert_string_equal(f->refused, "no_descriptors");
    setrlimit(RLIMIT_NOFILE, &old);
    for (unsigned i = 0; i < 8; i++)
        client_close(&c[i]);
    assert_serves(f);
    fixture_free(f);
}

static void a_wrong_address_is_refused_with_a_reason(void **state)
{
    static const char *const wrong[] = {"",           "8080",          ":8080",           "localhost:8080", "127.0.0.1",
                                        "127.0.0.1:", "127.0.0.1:x",   "127.0.0.1:65536", "127.0.0.1:80x",  "[::1:80",
                                        "::1:80",     "[127.0.0.1]:80"};
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    struct mr_http_options o = {.loop = &f->loop, .name = "other"};
    struct mr_http_server *s = NULL;
    struct mr_err err;
    char text[64];
    (void)state;
    mr_http_limits_default(&o.limits);
    for (size_t i = 0; i < MR_COUNT(wrong); i++) {
        o.listen = wrong[i];
        assert_int_equal(mr_http_listen(&o, &s, &err), MR_ECONFIG);
    }
    snprintf(text, sizeof text, "127.0.0.1:%d", mr_http_port(f->server));
    o.listen = text;
    assert_int_equal(mr_http_listen(&o, &s, &err), MR_EINUSE);
    assert_null(s);
    fixture_free(f);
}

static int on_head_v6(void *arg, struct mr_http_request *req, const struct mr_http_head *head, size_t *limit,
                      struct mr_http_answer *answer)
{
    (void)req;
    (void)limit;
    snprintf(arg, 64, "%.*s", (int)head->remote.n, head->remote.p);
    *answer = (struct mr_http_answer){.status = 404};
    return -1;
}

static void it_listens_on_ipv6(void **state)
{
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    char remote[64] = "";
    struct mr_http_options o = {.loop = &f->loop, .name = "v6", .listen = "[::1]:0"};
    struct mr_http_server *s;
    struct mr_err err;
    bool closed = false;
    (void)state;
    mr_http_limits_default(&o.limits);
    o.handler.on_head = on_head_v6;
    o.handler.arg = remote;
    if (mr_http_listen(&o, &s, &err) != MR_OK) { /* a machine without IPv6 */
        fixture_free(f);
        skip();
    }
    struct client c = {.f = f, .fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)mr_http_port(s))};
    a.sin6_addr = in6addr_loopback;
    assert_int_equal(connect(c.fd, (struct sockaddr *)&a, sizeof a), 0);
    SEND(&c, HONEST);
    assert_int_equal(client_read(&c, 1, MS), 1);
    assert_memory_equal(remote, "[::1]:", 6);
    client_close(&c);
    mr_http_close(s, set_flag, &closed);
    assert_true(fixture_until(f, &closed, MS));
    fixture_free(f);
}

int run_connection_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipelined_requests_are_handed_over_one_after_the_other),
        cmocka_unit_test(what_comes_while_a_request_is_out_is_kept),
        cmocka_unit_test(answers_of_many_connections_may_come_in_any_order),
        cmocka_unit_test(an_answer_from_inside_a_request_disturbs_nothing),
        cmocka_unit_test(a_half_closed_peer_gets_its_answers),
        cmocka_unit_test(a_request_cut_off_by_its_sender_is_refused),
        cmocka_unit_test(an_answer_to_a_peer_that_is_gone_goes_into_the_void),
        cmocka_unit_test(continue_is_said_once_the_head_is_accepted),
        cmocka_unit_test(a_refusal_is_read_although_the_body_keeps_coming),
        cmocka_unit_test(who_keeps_sending_after_a_refusal_is_cut_off),
        cmocka_unit_test(a_large_answer_waits_for_its_reader),
        cmocka_unit_test(a_large_body_comes_whole),
        cmocka_unit_test(draining_ends_the_idle_and_answers_the_rest),
        cmocka_unit_test(draining_with_nobody_there_calls_back_later),
        cmocka_unit_test(closing_leaves_answers_that_are_out_harmless),
        cmocka_unit_test(two_thousand_idle_connections_cost_little),
        cmocka_unit_test(spent_descriptors_hang_nobody),
        cmocka_unit_test(a_wrong_address_is_refused_with_a_reason),
        cmocka_unit_test(it_listens_on_ipv6),
    };
    return cmocka_run_group_tests_name("connections", tests, NULL, NULL);
}
