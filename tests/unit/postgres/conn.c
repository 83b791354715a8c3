/* SPDX-License-Identifier: Apache-2.0 */
/* One connection, on a loop, against a real server. */
#include "unit/postgres/links.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_open, fixture_close)

/* ---- asking ---- */

static void answers_come_in_the_order_of_the_statements(void **state)
{
    struct fixture *f = *state;
    struct pg_conn *c = conn_of(f, f->dsn, LONG_MS);
    assert_true(!pg_conn_ready(c) && !pg_conn_busy(c) && pg_conn_pid(c) == 0);
    conn_open(f, c);
    answer(f, c, "SELECT 1, NULL; SELECT 'a' WHERE false; SET work_mem = '1MB'; VALUES ('x'),('y')", "0:1|NULL;1:2:x;y;");
    answer(f, c, "", "");
    answer(f, c, "BEGIN", "");
    assert_true(pg_conn_ready(c) && !pg_conn_clean(c)); /* nobody else should have it */
    answer(f, c, "ROLLBACK", "");
    assert_true(pg_conn_clean(c));
    answer(f, c, "SELECT current_setting('client_encoding'), current_setting('application_name')", "0:UTF8|millrace test;");
    char pid[32];
    snprintf(pid, sizeof pid, "0:%d;", pg_conn_pid(c));
    answer(f, c, "SELECT pg_backend_pid()", pid);
    conn_free(f, c);
}

static void the_servers_word_ends_the_command_alone(void **state)
{
    struct fixture *f = *state;
    struct pg_conn *c = conn_of(f, f->dsn, LONG_MS);
    struct asked a;
    conn_open(f, c);
    ask(c, "SELECT 7; SELECT 1/0; SELECT 8", &a);
    assert_true(until(f, &a.ended, LONG_MS));
    assert_string_equal(a.text, "0:7;");
    assert_string_equal(a.state, "22012");
    assert_string_equal(a.err.msg, "division by zero (22012)");
    assert_true(pg_conn_ready(c));
    ask(c, "SELECT * FROM nowhere", &a);
    assert_true(until(f, &a.ended, LONG_MS));
    assert_int_equal(a.err.code, MR_ENOENT);
    ask(c, "BEGIN; SELECT 1/0", &a);
    assert_true(until(f, &a.ended, LONG_MS));
    assert_true(pg_conn_ready(c) && !pg_conn_clean(c));
    ask(c, "SELECT 1", &a); /* the transaction is still open */
    assert_true(until(f, &a.ended, LONG_MS));
    assert_string_equal(a.state, "25P02");
    answer(f, c, "ROLLBACK; SELECT 1", "0:1;");
    conn_free(f, c);
}

struct twice {
    struct pg_conn *c;
    struct asked second;
    int firsts;
};

static void ask_again(void *arg, const struct mr_err *err, const char *state)
{
    struct twice *t = arg;
    (void)state;
    assert_int_equal(err->code, MR_OK);
    t->firsts++;
    ask(t->c, "SELECT 2", &t->second);
}

static void an_end_may_ask_again(void **state)
{
    struct fixture *f = *state;
    struct twice t = {.c = conn_of(f, f->dsn, LONG_MS)};
    const struct pg_query q = {.on_end = ask_again, .arg = &t};
    conn_open(f, t.c);
    pg_conn_query(t.c, "SELECT 1", &q);
    assert_true(until(f, &t.second.ended, LONG_MS));
    assert_int_equal(t.firsts, 1);
    assert_string_equal(t.second.text, "0:2;");
    conn_free(f, t.c);
}

static void a_long_statement_is_sent_bit_by_bit(void **state)
{
    struct fixture *f = *state;
    struct pg_conn *c = conn_of(f, f->through, LONG_MS);
    struct asked a;
    enum { LONG = 24 << 20 };
    char *sql = malloc(LONG + 100);
    conn_open(f, c);
    proxy_set(&f->proxy, PROXY_DEAF);
    size_t n = (size_t)sprintf(sql, "SELECT length('");
    memset(sql + n, 'x', LONG);
    strcpy(sql + n + LONG, "')");
    ask(c, sql, &a);
    memset(sql, 'y', LONG); /* it was copied */
    free(sql);
    pass(f, 300);
    assert_false(a.ended);
    proxy_set(&f->proxy, PROXY_PASS);
    assert_true(until(f, &a.ended, LONG_MS));
    assert_string_equal(a.text, "0:25165824;");
    conn_free(f, c);
}

/* ---- COPY ---- */

struct copying {
    struct pg_conn *c;
    bool ended, held;
    struct mr_err err;
    char state[8];
    int64_t rows, next, bytes, hold_each, holds, arrived_while_held;
    size_t copies, results;
    int64_t of_copy[8];
    bool in_order;
    void (*on_row)(struct copying *k);
    /* since the last turn of the loop */
    uv_prepare_t turn;
    int64_t turn_bytes, turn_most;
    int ends;
};

static void on_copy_out(void *arg, size_t which)
{
    struct copying *k = arg;
    assert_int_equal(which, k->copies);
    k->copies++;
    k->next = 1;
}

static bool on_copy(void *arg, const char *row, size_t n)
{
    struct copying *k = arg;
    k->arrived_while_held += k->held;
    k->rows++;
    k->bytes += (int64_t)n;
    k->turn_bytes += (int64_t)n;
    k->of_copy[k->copies - 1]++;
    k->in_order = k->in_order && strtoll(row, NULL, 10) == k->next++;
    if (k->on_row)
        k->on_row(k);
    if (k->hold_each && k->rows % k->hold_each == 0) {
        k->held = true;
        k->holds++;
        return false;
    }
    return true;
}

static void on_copy_result(void *arg, PGresult *r, size_t which)
{
    struct copying *k = arg;
    (void)r;
    assert_int_equal(which, k->results);
    k->results++;
}

static void on_copy_end(void *arg, const struct mr_err *err, const char *state)
{
    struct copying *k = arg;
    k->ended = true;
    k->ends++;
    k->err = *err;
    snprintf(k->state, sizeof k->state, "%s", state);
}

static void copy(struct copying *k, const char *sql)
{
    const struct pg_query q = {.on_result = on_copy_result, .on_copy_out = on_copy_out, .on_copy = on_copy, .on_end = on_copy_end, .arg = k};
    k->in_order = true;
    pg_conn_query(k->c, sql, &q);
}

static void copies_and_results_come_in_order(void **state)
{
    struct fixture *f = *state;
    struct copying k = {.c = conn_of(f, f->dsn, LONG_MS)};
    conn_open(f, k.c);
    copy(&k, "BEGIN; SELECT 1; COPY (SELECT generate_series(1,1000)) TO STDOUT; SELECT 2; COPY (SELECT 1 WHERE false) TO STDOUT; COPY (SELECT generate_series(1,70000)) TO STDOUT; COMMIT; SELECT 3");
    assert_true(until(f, &k.ended, LONG_MS));
    assert_int_equal(k.err.code, MR_OK);
    assert_true(k.in_order && k.copies == 3 && k.of_copy[0] == 1000 && k.of_copy[1] == 0 && k.of_copy[2] == 70000 && k.results == 3);
    assert_true(pg_conn_received(k.c) == k.bytes);
    answer(f, k.c, "SELECT 1", "0:1;");
    conn_free(f, k.c);
}

static void a_copy_waits_for_who_has_no_room(void **state)
{
    struct fixture *f = *state;
    struct copying k = {.c = conn_of(f, f->through, 1000), .hold_each = 20000};
    conn_open(f, k.c);
    copy(&k, "COPY (SELECT n, repeat('x', 100) FROM generate_series(1,200000) n) TO STDOUT");
    while (!k.ended) {
        assert_true(until(f, &k.held, LONG_MS) || k.ended);
        if (k.holds == 3)
            pass(f, 3500); /* longer than `stall`: it is not the server who keeps us waiting */
        else if (k.holds % 2)
            pass(f, 50);
        assert_int_equal(k.rows, k.holds * 20000);
        k.held = false;
        pg_conn_go_on(k.c);
        pg_conn_go_on(k.c); /* twice is harmless */
        if (k.holds == 10)
            assert_true(until(f, &k.ended, LONG_MS));
    }
    assert_int_equal(k.err.code, MR_OK);
    assert_true(k.in_order && k.rows == 200000 && k.holds == 10 && k.arrived_while_held == 0);
    conn_free(f, k.c);
}

static void on_turn(uv_prepare_t *turn)
{
    struct copying *k = MR_OF(turn, struct copying, turn);
    k->turn_most = k->turn_bytes > k->turn_most ? k->turn_bytes : k->turn_most;
    k->turn_bytes = 0;
}

static void a_turn_takes_so_much_and_no_more(void **state)
{
    struct fixture *f = *state;
    struct copying k = {.c = conn_of(f, f->dsn, LONG_MS)};
    conn_open(f, k.c);
    uv_prepare_init(&f->loop.uv, &k.turn);
    uv_prepare_start(&k.turn, on_turn);
    copy(&k, "COPY (SELECT n, repeat('x', 1000) FROM generate_series(1,60000) n) TO STDOUT; COPY (SELECT n FROM generate_series(1,100000) n) TO STDOUT");
    assert_true(until(f, &k.ended, LONG_MS));
    assert_true(k.err.code == MR_OK && k.rows == 160000 && k.in_order);
    if (k.turn_most > 256 * 1024 + 1010)
        fail_msg("%lld bytes in one turn", (long long)k.turn_most);
    k.ended = false;
    k.copies = 0;
    copy(&k, "COPY (SELECT 1, repeat('y', 3000000)) TO STDOUT; COPY (SELECT n FROM generate_series(1,1000) n) TO STDOUT"); /* one row alone may be more */
    assert_true(until(f, &k.ended, LONG_MS));
    uv_close((uv_handle_t *)&k.turn, NULL);
    assert_true(k.err.code == MR_OK && k.rows == 161001 && k.in_order);
    conn_free(f, k.c);
}

static void a_failing_copy_ends_with_the_servers_word(void **state)
{
    struct fixture *f = *state;
    struct copying k = {.c = conn_of(f, f->dsn, LONG_MS)};
    conn_open(f, k.c);
    copy(&k, "COPY (SELECT n, 1/(n-50000) FROM generate_series(1,100000) n) TO STDOUT; COPY (SELECT 1) TO STDOUT");
    assert_true(until(f, &k.ended, LONG_MS));
    assert_string_equal(k.state, "22012");
    assert_true(k.rows <= 49999 && k.in_order && k.copies == 1);
    answer(f, k.c, "SELECT 1", "0:1;");
    conn_free(f, k.c);
}

/* ---- the server goes ---- */

static void a_server_that_is_silent_is_left(void **state)
{
    struct fixture *f = *state;
    struct pg_conn *c = conn_of(f, f->dsn, 1500);
    struct asked a;
    conn_open(f, c);
    pid_t pid = pg_conn_pid(c);
    uint64_t from = mr_loop_now_ms(&f->loop);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    ask(c, "SELECT 1", &a);
    assert_true(until(f, &a.ended, LONG_MS));
    uint64_t took = mr_loop_now_ms(&f->loop) - from;
    kill(pid, SIGCONT);
    assert_int_equal(a.err.code, MR_ETIMEDOUT);
    assert_string_equal(a.state, "");
    assert_true(took >= 1500 && took < 10000);
    assert_true(!pg_conn_ready(c) && !pg_conn_busy(c));
    conn_open(f, c); /* and again */
    answer(f, c, "SELECT 1", "0:1;");
    conn_free(f, c);
}

static void a_server_that_is_slow_is_not_silent(void **state)
{
    struct fixture *f = *state;
    struct copying k = {.c = conn_of(f, f->dsn, 1500)};
    conn_open(f, k.c);
    copy(&k, "COPY (SELECT n, repeat('x', 9000), pg_sleep(0.5) FROM generate_series(1,8) n) TO STDOUT");
    assert_true(until(f, &k.ended, LONG_MS));
    assert_int_equal(k.err.code, MR_OK);
    assert_int_equal(k.rows, 8);
    conn_free(f, k.c);
}

static void kill_backend(struct fixture *f, int pid)
{
    struct pg_conn *c = conn_of(f, f->dsn, LONG_MS);
    char sql[80];
    conn_open(f, c);
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d, 10000)", pid);
    answer(f, c, sql, "0:t;");
    conn_free(f, c);
}

static void a_backend_may_die_in_the_middle(void **state)
{
    struct fixture *f = *state;
    struct copying k = {.c = conn_of(f, f->through, LONG_MS), .hold_each = 1000};
    conn_open(f, k.c);
    copy(&k, "COPY (SELECT n, repeat('x', 1000) FROM generate_series(1,10000000) n) TO STDOUT");
    assert_true(until(f, &k.held, LONG_MS));
    kill_backend(f, pg_conn_pid(k.c));
    k.hold_each = 0;
    pg_conn_go_on(k.c);
    assert_true(until(f, &k.ended, LONG_MS));
    assert_true(k.err.code == MR_ENET && k.in_order && k.rows < 10000000);
    assert_true(!pg_conn_ready(k.c) && !pg_conn_busy(k.c));
    pass(f, 50);
    assert_int_equal(k.ends, 1);
    conn_open(f, k.c);
    assert_true(pg_conn_received(k.c) == 0);
    answer(f, k.c, "SELECT 1", "0:1;");
    conn_free(f, k.c);
}

static void a_backend_that_dies_says_why(void **state)
{
    struct fixture *f = *state;
    struct pg_conn *c = conn_of(f, f->dsn, LONG_MS);
    struct asked a;
    conn_open(f, c);
    ask(c, "SELECT pg_sleep(60)", &a);
    pass(f, 100);
    kill_backend(f, pg_conn_pid(c));
    assert_true(until(f, &a.ended, LONG_MS));
    assert_string_equal(a.state, "57P01");
    assert_int_equal(a.err.code, MR_ENET);
    assert_false(pg_conn_ready(c));
    conn_free(f, c);
}

static void a_line_that_is_cut_ends_the_command(void **state)
{
    struct fixture *f = *state;
    struct copying k = {.c = conn_of(f, f->through, LONG_MS)};
    conn_open(f, k.c);
    copy(&k, "COPY (SELECT n, repeat('x', 1000), pg_sleep(0.001) FROM generate_series(1,100000) n) TO STDOUT");
    pass(f, 200);
    proxy_set(&f->proxy, PROXY_CUT);
    assert_true(until(f, &k.ended, LONG_MS));
    assert_true(k.err.code == MR_ENET && k.err.msg[0] && k.state[0] == 0 && k.ends == 1);
    proxy_set(&f->proxy, PROXY_PASS);
    conn_open(f, k.c);
    answer(f, k.c, "SELECT 1", "0:1;");
    conn_free(f, k.c);
}

static void who_asks_a_connection_that_is_gone_hears_of_it(void **state)
{
    struct fixture *f = *state;
    struct pg_conn *c = conn_of(f, f->dsn, LONG_MS);
    struct asked a;
    conn_open(f, c);
    kill_backend(f, pg_conn_pid(c)); /* while nobody asks */
    for (int i = 0; i < 100 && pg_conn_ready(c); i++)
        pass(f, 20);
    assert_true(!pg_conn_ready(c) && !pg_conn_busy(c));
    ask(c, "SELECT 1", &a); /* a run may hold it and not know */
    assert_true(until(f, &a.ended, LONG_MS));
    assert_int_equal(a.err.code, MR_ENET);
    assert_true(a.err.msg[0] && !pg_conn_ready(c) && !pg_conn_busy(c));
    ask(c, "SELECT 1", &a);
    pg_conn_close(c);
    assert_true(a.ended && a.err.code == MR_ECANCELED);
    conn_open(f, c);
    answer(f, c, "SELECT 1", "0:1;");
    kill_backend(f, pg_conn_pid(c)); /* and the loop has not seen it yet, perhaps */
    ask(c, "SELECT 1", &a);
    assert_true(until(f, &a.ended, LONG_MS));
    assert_int_equal(a.err.code, MR_ENET);
    ask(c, "SELECT 1", &a);
    conn_free(f, c); /* which ends it */
    assert_int_equal(a.ends, 1);
}

/* ---- closing ---- */

static void closed_while_it_opens_it_is_never_told(void **state)
{
    struct fixture *f = *state;
    struct pg_conn *c = conn_of(f, f->through, LONG_MS);
    struct asked a = {.ends = 0};
    proxy_set(&f->proxy, PROXY_HOLD);
    pg_conn_open(c, on_opened, &a);
    pass(f, 100);
    assert_true(pg_conn_busy(c));
    pg_conn_close(c);
    assert_true(!pg_conn_busy(c) && !pg_conn_ready(c));
    proxy_set(&f->proxy, PROXY_PASS);
    conn_open(f, c); /* the other one still hangs */
    answer(f, c, "SELECT 1", "0:1;");
    assert_int_equal(a.opens, 0);
    proxy_set(&f->proxy, PROXY_CUT);
    conn_free(f, c);
    pass(f, 100); /* its thread comes back to nobody */
    assert_int_equal(a.opens, 0);
}

static void closed_at_once_a_connection_that_comes_is_let_go(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 40; i++) { /* before, while and after the thread has it */
        struct pg_conn *c = conn_of(f, f->dsn, LONG_MS);
        struct asked a = {.ends = 0};
        pg_conn_open(c, on_opened, &a);
        if (i % 2)
            pass(f, i / 2);
        else
            usleep((useconds_t)i * 1000); /* it is there, and the loop has not looked */
        pg_conn_close(c);
        int opens = a.opens;
        if (i % 3)
            conn_free(f, c);
        pass(f, 5);
        assert_int_equal(a.opens, opens);
        if (i % 3 == 0)
            conn_free(f, c);
    }
    struct pg_conn *c = conn_of(f, f->dsn, LONG_MS); /* none is left on the server */
    struct asked a = {.ends = 0};
    conn_open(f, c);
    for (int i = 0; i < 100 && strcmp(a.text, "0:1;") != 0; i++) {
        pass(f, 50);
        ask(c, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'millrace test'", &a);
        assert_true(until(f, &a.ended, LONG_MS));
    }
    assert_string_equal(a.text, "0:1;");
    conn_free(f, c);
}

static void freed_while_it_opens(void **state)
{
    struct fixture *f = *state;
    struct asked a = {.ends = 0};
    proxy_set(&f->proxy, PROXY_HOLD);
    struct pg_conn *c = conn_of(f, f->through, LONG_MS);
    pg_conn_open(c, on_opened, &a);
    pass(f, 50);
    uint64_t from = mr_loop_now_ms(&f->loop);
    conn_free(f, c);
    assert_true(mr_loop_now_ms(&f->loop) - from < 2000); /* the thread is not waited for */
    proxy_set(&f->proxy, PROXY_CUT);
    pass(f, 100);
    assert_int_equal(a.opens, 0);
}

static void closed_while_it_is_busy(void **state)
{
    struct fixture *f = *state;
    struct pg_conn *c = conn_of(f, f->dsn, LONG_MS), *other = conn_of(f, f->dsn, LONG_MS);
    struct asked a, look = {.ends = 0};
    char sql[160];
    conn_open(f, c);
    conn_open(f, other);
    int pid = pg_conn_pid(c);
    ask(c, "SELECT pg_sleep(600)", &a);
    pass(f, 100);
    pg_conn_close(c);
    assert_true(a.ended && a.ends == 1 && a.err.code == MR_ECANCELED && a.state[0] == 0);
    pg_conn_close(c); /* twice is harmless */
    snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_stat_activity WHERE pid = %d", pid);
    for (int i = 0; i < 100 && strcmp(look.text, "0:0;") != 0; i++) { /* the server has stopped, too */
        pass(f, 50);
        ask(other, sql, &look);
        assert_true(until(f, &look.ended, LONG_MS));
    }
    assert_string_equal(look.text, "0:0;");
    assert_int_equal(a.ends, 1);
    conn_free(f, c);
    conn_free(f, other);
}

static bool gone_in_the_middle;
static void close_it(struct copying *k)
{
    if (k->rows == 700)
        pg_conn_close(k->c);
}
static void free_it(struct copying *k)
{
    if (k->rows == 700)
        pg_conn_free(k->c, set_true, &gone_in_the_middle);
}

static void closed_by_the_row_it_brings(void **state)
{
    struct fixture *f = *state;
    struct copying k = {.c = conn_of(f, f->dsn, LONG_MS), .on_row = close_it};
    conn_open(f, k.c);
    copy(&k, "COPY (SELECT generate_series(1,100000)) TO STDOUT");
    assert_true(until(f, &k.ended, LONG_MS));
    assert_true(k.rows == 700 && k.err.code == MR_ECANCELED && k.ends == 1);
    conn_open(f, k.c);
    k = (struct copying){.c = k.c, .on_row = free_it};
    gone_in_the_middle = false;
    copy(&k, "COPY (SELECT generate_series(1,100000)) TO STDOUT");
    assert_true(until(f, &gone_in_the_middle, LONG_MS));
    assert_true(k.rows == 700 && k.ended && k.err.code == MR_ECANCELED && k.ends == 1);
}

struct closing {
    struct pg_conn *c;
    bool ended;
    struct mr_err err;
};
static void close_on_result(void *arg, PGresult *r, size_t which)
{
    struct closing *k = arg;
    assert_int_equal(which, 0);
    assert_string_equal(PQgetvalue(r, 0, 0), "1");
    pg_conn_close(k->c);
    assert_string_equal(PQgetvalue(r, 0, 0), "1"); /* still ours to read */
}
static void close_on_end(void *arg, const struct mr_err *err, const char *state)
{
    struct closing *k = arg;
    (void)state;
    k->ended = true;
    k->err = *err;
    pg_conn_close(k->c);
}

static void closed_by_its_result_or_its_end(void **state)
{
    struct fixture *f = *state;
    struct closing k = {.c = conn_of(f, f->dsn, LONG_MS)};
    conn_open(f, k.c);
    pg_conn_query(k.c, "SELECT 1; SELECT 2", &(struct pg_query){.on_result = close_on_result, .on_end = close_on_end, .arg = &k});
    assert_true(until(f, &k.ended, LONG_MS));
    assert_int_equal(k.err.code, MR_ECANCELED);
    k.ended = false;
    conn_open(f, k.c);
    pg_conn_query(k.c, "SELECT 1", &(struct pg_query){.on_end = close_on_end, .arg = &k});
    assert_true(until(f, &k.ended, LONG_MS));
    assert_true(k.err.code == MR_OK && !pg_conn_ready(k.c));
    conn_free(f, k.c);
}

/* ---- refused ---- */

static struct mr_err refused(struct fixture *f, const char *dsn, const char *password)
{
    const struct pg_conn_options o = {.loop = &f->loop, .dsn = dsn, .password = password, .stall_ms = LONG_MS};
    struct pg_conn *c = pg_conn_new(&o);
    struct asked a = {.ends = 0};
    pg_conn_open(c, on_opened, &a);
    assert_true(until(f, &a.opened, LONG_MS));
    assert_true(a.opens == 1 && a.err.code != MR_OK && a.err.msg[0] && !pg_conn_ready(c) && !pg_conn_busy(c));
    conn_free(f, c);
    return a.err;
}

static void who_is_not_let_in_is_told_why(void **state)
{
    struct fixture *f = *state;
    char dsn[256];
    int port = atoi(strrchr(server_url, ':') + 1);
    snprintf(dsn, sizeof dsn, "host=127.0.0.1 port=%d user=postgres dbname=postgres", port);
    struct mr_err err = refused(f, dsn, "hush-hush");
    assert_int_equal(err.code, MR_EAUTH);
    assert_null(strstr(err.msg, "hush-hush"));
    assert_null(strchr(err.msg, '\n'));
    err = refused(f, dsn, NULL); /* unless somebody has a file of passwords */
    assert_int_equal(mr_code_class(err.code), MR_CLASS_USER);
    snprintf(dsn, sizeof dsn, "%.*s:%d/nodatabase", (int)(strrchr(server_url, ':') - server_url), server_url, port);
    err = refused(f, dsn, NULL);
    assert_int_equal(mr_code_class(err.code), MR_CLASS_USER);
    assert_non_null(strstr(err.msg, "nodatabase"));
    assert_int_equal(refused(f, f->nobody, NULL).code, MR_ENET);
    err = refused(f, "host=127.0.0.1 prot=5432", NULL);
    assert_non_null(strstr(err.msg, "prot"));
}

static void without_a_descriptor_nobody_connects(void **state)
{
    struct fixture *f = *state;
    struct rlimit was, none;
    int fd = dup(0); /* the lowest that is free: none above it may be had */
    close(fd);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = was;
    none.rlim_cur = (rlim_t)fd;
    struct pg_conn *c = conn_of(f, f->dsn, LONG_MS);
    struct asked a = {.ends = 0};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    pg_conn_open(c, on_opened, &a);
    bool told_at_once = a.opened, told = until(f, &a.opened, LONG_MS);
    setrlimit(RLIMIT_NOFILE, &was);
    assert_false(told_at_once);
    assert_true(told && a.opens == 1 && a.err.code != MR_OK && a.err.msg[0]);
    conn_open(f, c); /* one is there again */
    pg_conn_close(c);
    setrlimit(RLIMIT_NOFILE, &none);
    pg_conn_open(c, on_opened, &a);
    pg_conn_close(c);
    setrlimit(RLIMIT_NOFILE, &was);
    conn_free(f, c);
    assert_int_equal(a.opens, 1);
}

/* ---- notifications ---- */

struct heard {
    char text[400];
    bool any;
    struct pg_conn *close;
};
static void on_notify(void *arg, struct mr_str channel, struct mr_str payload)
{
    struct heard *h = arg;
    size_t n = strlen(h->text);
    snprintf(h->text + n, sizeof h->text - n, "%.*s=%.*s;", (int)channel.n, channel.p, (int)payload.n, payload.p);
    h->any = true;
    if (h->close)
        pg_conn_close(h->close);
}

static void notifications_are_heard(void **state)
{
    struct fixture *f = *state;
    struct heard h = {.any = false};
    struct pg_conn_options o = {.loop = &f->loop, .dsn = f->dsn, .stall_ms = LONG_MS, .on_notify = on_notify, .arg = &h};
    struct pg_conn *c = pg_conn_new(&o), *other = conn_of(f, f->dsn, LONG_MS);
    conn_open(f, c);
    conn_open(f, other);
    answer(f, c, "LISTEN a; LISTEN \"B c\"", "");
    answer(f, other, "NOTIFY a; NOTIFY nobody; NOTIFY \"B c\", 'it is'", "");
    assert_true(until(f, &h.any, LONG_MS));
    pass(f, 20);
    assert_string_equal(h.text, "a=;B c=it is;");
    h = (struct heard){.any = false};
    struct asked a;
    ask(c, "SELECT pg_sleep(0.3)", &a); /* it comes when the statement is over */
    answer(f, other, "NOTIFY a, 'busy'", "");
    assert_true(until(f, &a.ended, LONG_MS));
    assert_true(until(f, &h.any, LONG_MS));
    assert_string_equal(h.text, "a=busy;");
    h = (struct heard){.close = c};
    answer(f, other, "NOTIFY a, '1'; NOTIFY a, '2'", "");
    assert_true(until(f, &h.any, LONG_MS));
    assert_string_equal(h.text, "a=1;"); /* who closes hears no more */
    assert_false(pg_conn_ready(c));
    conn_free(f, c);
    conn_free(f, other);
}

/* ---- a resolver that hangs: five seconds (slow_resolver.c) ---- */

static void a_resolver_that_hangs_holds_nobody_up(void **state)
{
    struct fixture *f = *state;
    struct pg_conn *c = conn_of(f, "host=hang.test user=postgres dbname=postgres", LONG_MS), *other = conn_of(f, f->dsn, LONG_MS);
    struct asked a = {.ends = 0};
    uint64_t from = mr_loop_now_ms(&f->loop);
    pg_conn_open(c, on_opened, &a);
    conn_open(f, other); /* meanwhile */
    answer(f, other, "SELECT 1", "0:1;");
    assert_false(a.opened);
    conn_free(f, c);
    conn_free(f, other);
    uv_update_time(&f->loop.uv);
    assert_true(mr_loop_now_ms(&f->loop) - from < 4000);
    assert_int_equal(a.opens, 0);
}

static atomic_bool released;

/* Whoever waits in the resolver goes on: whoever comes later, too. */
static void *release(void *fifo)
{
    while (!released) {
        int fd = open(fifo, O_WRONLY | O_CLOEXEC); /* waits for a reader */
        if (fd >= 0)
            close(fd);
    }
    return NULL;
}

static void a_resolver_that_hangs_fails_in_the_end(void **state)
{
    struct fixture *f = *state;
    char *fifo = getenv("MRT_HANG");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, release, fifo), 0);
    struct mr_err err = refused(f, "host=hang.test user=postgres dbname=postgres", NULL);
    released = true;
    int fd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* so that the thread sees it */
    pthread_join(thread, NULL);
    close(fd);
    assert_int_equal(err.code, MR_ENET);
    assert_non_null(strstr(err.msg, "hang.test"));
}

const struct CMUnitTest conn_tests[] = {
    TEST(answers_come_in_the_order_of_the_statements),
    TEST(the_servers_word_ends_the_command_alone),
    TEST(an_end_may_ask_again),
    TEST(a_long_statement_is_sent_bit_by_bit),
    TEST(copies_and_results_come_in_order),
    TEST(a_copy_waits_for_who_has_no_room),
    TEST(a_turn_takes_so_much_and_no_more),
    TEST(a_failing_copy_ends_with_the_servers_word),
    TEST(a_server_that_is_silent_is_left),
    TEST(a_server_that_is_slow_is_not_silent),
    TEST(a_backend_may_die_in_the_middle),
    TEST(a_backend_that_dies_says_why),
    TEST(a_line_that_is_cut_ends_the_command),
    TEST(who_asks_a_connection_that_is_gone_hears_of_it),
    TEST(closed_while_it_opens_it_is_never_told),
    TEST(closed_at_once_a_connection_that_comes_is_let_go),
    TEST(freed_while_it_opens),
    TEST(closed_while_it_is_busy),
    TEST(closed_by_the_row_it_brings),
    TEST(closed_by_its_result_or_its_end),
    TEST(who_is_not_let_in_is_told_why),
    TEST(without_a_descriptor_nobody_connects),
    TEST(notifications_are_heard),
};
const size_t conn_tests_n = MR_COUNT(conn_tests);
const struct CMUnitTest resolver_tests[] = {
    TEST(a_resolver_that_hangs_holds_nobody_up),
    TEST(a_resolver_that_hangs_fails_in_the_end),
};
const size_t resolver_tests_n = MR_COUNT(resolver_tests);
