/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/postgres/links.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const char *server_url;

/* ---- the proxy ---- */

static int server_port(void)
{
    return atoi(strrchr(server_url, ':') + 1);
}

static struct sockaddr_in address_of(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int listen_somewhere(int *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = address_of(0);
    socklen_t n = sizeof a;
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 16) != 0 || getsockname(fd, (struct sockaddr *)&a, &n) != 0)
        abort();
    *port = ntohs(a.sin_port);
    return fd;
}

enum { PAIRS = 16 };
struct pair {
    int fd[2]; /* client, server; -1: none */
};

static void hang_up(struct pair *p)
{
    for (int i = 0; i < 2; i++)
        if (p->fd[i] >= 0)
            close(p->fd[i]);
    p->fd[0] = p->fd[1] = -1;
}

static void take_client(struct proxy *p, struct pair *pairs)
{
    struct sockaddr_in a = address_of(server_port());
    int client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC), i = 0;
    while (i < PAIRS && pairs[i].fd[0] >= 0)
        i++;
    if (client < 0 || i == PAIRS)
        abort();
    pairs[i].fd[0] = client;
    if (atomic_load(&p->mode) == PROXY_HOLD) { /* for ever */
        pairs[i].fd[1] = -1;
        return;
    }
    pairs[i].fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(pairs[i].fd[1], (struct sockaddr *)&a, sizeof a) != 0)
        hang_up(&pairs[i]);
}

static void move_on(struct pair *p, int from)
{
    char bytes[65536];
    ssize_t n = read(p->fd[from], bytes, sizeof bytes), at = 0;
    while (n > 0 && at < n) {
        ssize_t sent = send(p->fd[!from], bytes + at, (size_t)(n - at), MSG_NOSIGNAL);
        if (sent <= 0)
            break;
        at += sent;
    }
    if (n <= 0 || at < n)
        hang_up(p);
}

static void *proxy_thread(void *arg)
{
    struct proxy *p = arg;
    struct pair pairs[PAIRS];
    for (int i = 0; i < PAIRS; i++)
        pairs[i].fd[0] = pairs[i].fd[1] = -1;
    for (;;) {
        enum proxy_mode mode = atomic_load(&p->mode);
        struct pollfd polls[2 + 2 * PAIRS] = {{p->wake[0], POLLIN, 0}, {p->listener, POLLIN, 0}};
        for (int i = 0; i < PAIRS; i++) {
            polls[2 + 2 * i] = (struct pollfd){mode == PROXY_PASS && pairs[i].fd[1] >= 0 ? pairs[i].fd[0] : -1, POLLIN, 0};
            polls[3 + 2 * i] = (struct pollfd){mode == PROXY_PASS || mode == PROXY_DEAF ? pairs[i].fd[1] : -1, POLLIN, 0};
        }
        if (poll(polls, 2 + 2 * PAIRS, -1) < 0 && errno != EINTR)
            abort();
        if (polls[0].revents) {
            char byte;
            if (read(p->wake[0], &byte, 1) <= 0)
                break; /* the end */
            if (atomic_load(&p->mode) == PROXY_CUT)
                for (int i = 0; i < PAIRS; i++)
                    hang_up(&pairs[i]);
            continue;
        }
        if (polls[1].revents)
            take_client(p, pairs);
        for (int i = 0; i < 2 * PAIRS; i++)
            if (polls[2 + i].revents && pairs[i / 2].fd[0] >= 0 && pairs[i / 2].fd[1] >= 0)
                move_on(&pairs[i / 2], i % 2);
    }
    for (int i = 0; i < PAIRS; i++)
        hang_up(&pairs[i]);
    return NULL;
}

void proxy_set(struct proxy *p, enum proxy_mode mode)
{
    atomic_store(&p->mode, mode);
    if (write(p->wake[1], "!", 1) != 1)
        abort();
}

static void proxy_open(struct proxy *p)
{
    p->listener = listen_somewhere(&p->port);
    atomic_init(&p->mode, PROXY_PASS);
    if (pipe(p->wake) != 0 || pthread_create(&p->thread, NULL, proxy_thread, p) != 0)
        abort();
}

static void proxy_close(struct proxy *p)
{
    close(p->wake[1]);
    pthread_join(p->thread, NULL);
    close(p->wake[0]);
    close(p->listener);
}

/* ---- the fixture ---- */

int fixture_open(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct mr_err err;
    int nobody, fd;
    assert_non_null(f);
    if (mr_loop_init(&f->loop, &(struct mr_loop_options){.memory_limit = 1 << 20}, &err) != MR_OK)
        fail_msg("%s", err.msg);
    proxy_open(&f->proxy);
    uv_timer_init(&f->loop.uv, &f->guard);
    fd = listen_somewhere(&nobody);
    close(fd);
    snprintf(f->dsn, sizeof f->dsn, "%s", server_url);
    snprintf(f->through, sizeof f->through, "%.*s:%d/postgres", (int)(strrchr(server_url, ':') - server_url), server_url, f->proxy.port);
    snprintf(f->nobody, sizeof f->nobody, "host=127.0.0.1 port=%d user=postgres dbname=postgres", nobody);
    *state = f;
    return 0;
}

static void count_timers(uv_handle_t *handle, void *arg)
{
    unsigned *open = arg;
    *open += handle->type == UV_TIMER && !uv_is_closing(handle); /* each connection has one */
}

int fixture_close(void **state)
{
    struct fixture *f = *state;
    unsigned open = 0;
    uv_close((uv_handle_t *)&f->guard, NULL);
    uv_run(&f->loop.uv, UV_RUN_NOWAIT);
    uv_walk(&f->loop.uv, count_timers, &open);
    if (open) /* of a test that has failed: mr_loop_close() would end all */
        return -1;
    mr_loop_close(&f->loop);
    proxy_close(&f->proxy);
    free(f);
    return 0;
}

static void on_guard(uv_timer_t *timer)
{
    struct fixture *f = MR_OF(timer, struct fixture, guard);
    f->guard_over = true;
}

bool until(struct fixture *f, const bool *flag, int most_ms)
{
    f->guard_over = false;
    uv_update_time(&f->loop.uv);
    uv_timer_start(&f->guard, on_guard, (uint64_t)most_ms, 0);
    while (!*flag && !f->guard_over)
        uv_run(&f->loop.uv, UV_RUN_ONCE);
    uv_timer_stop(&f->guard);
    return *flag;
}

void pass(struct fixture *f, int ms)
{
    const bool never = false;
    until(f, &never, ms);
}

/* ---- connections ---- */

void set_true(void *arg)
{
    bool *flag = arg;
    *flag = true;
}

void on_opened(void *arg, const struct mr_err *err)
{
    struct asked *a = arg;
    a->opened = true;
    a->opens++;
    a->err = *err;
}

void on_asked_result(void *arg, PGresult *r, size_t which)
{
    struct asked *a = arg;
    size_t n = strlen(a->text);
    n += (size_t)snprintf(a->text + n, sizeof a->text - n, "%zu:", which);
    for (int i = 0; i < PQntuples(r); i++)
        for (int k = 0; k < PQnfields(r); k++)
            n += (size_t)snprintf(a->text + n, sizeof a->text - n, "%s%s", PQgetisnull(r, i, k) ? "NULL" : PQgetvalue(r, i, k), k + 1 < PQnfields(r) ? "|" : ";");
}

void on_asked_end(void *arg, const struct mr_err *err, const char *state)
{
    struct asked *a = arg;
    a->ended = true;
    a->ends++;
    a->err = *err;
    snprintf(a->state, sizeof a->state, "%s", state);
}

void ask(struct pg_conn *c, const char *sql, struct asked *a)
{
    const struct pg_query q = {.on_result = on_asked_result, .on_end = on_asked_end, .arg = a};
    *a = (struct asked){.ends = 0};
    pg_conn_query(c, sql, &q);
    assert_false(a->ended); /* not before the call has returned */
}

void answer(struct fixture *f, struct pg_conn *c, const char *sql, const char *text)
{
    struct asked a;
    ask(c, sql, &a);
    assert_true(until(f, &a.ended, LONG_MS));
    if (a.err.code != MR_OK)
        fail_msg("%s: %s", sql, a.err.msg);
    assert_string_equal(a.text, text);
    assert_true(!pg_conn_busy(c) && pg_conn_pid(c) > 0);
}

struct pg_conn *conn_of(struct fixture *f, const char *dsn, int64_t stall_ms)
{
    const struct pg_conn_options o = {.loop = &f->loop, .source = "test", .dsn = dsn, .stall_ms = stall_ms};
    return pg_conn_new(&o);
}

void conn_open(struct fixture *f, struct pg_conn *c)
{
    struct asked a = {.ends = 0};
    pg_conn_open(c, on_opened, &a);
    assert_false(a.opened);
    assert_true(pg_conn_busy(c) && !pg_conn_ready(c));
    assert_true(until(f, &a.opened, LONG_MS));
    if (a.err.code != MR_OK)
        fail_msg("%s", a.err.msg);
    assert_true(pg_conn_ready(c) && !pg_conn_busy(c) && pg_conn_pid(c) > 0);
}

void conn_free(struct fixture *f, struct pg_conn *c)
{
    bool gone = false;
    pg_conn_free(c, set_true, &gone);
    assert_false(gone);
    assert_true(until(f, &gone, LONG_MS));
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s URL [resolver]\n", argv[0]);
        return 2;
    }
    server_url = argv[1];
    signal(SIGPIPE, SIG_IGN);
    alarm(300); /* a test that hangs is killed, not waited for */
    if (argc > 2)
        return _cmocka_run_group_tests("resolver", resolver_tests, resolver_tests_n, NULL, NULL);
    int failed = _cmocka_run_group_tests("conn", conn_tests, conn_tests_n, NULL, NULL);
    return failed + _cmocka_run_group_tests("pool", pool_tests, pool_tests_n, NULL, NULL);
}
