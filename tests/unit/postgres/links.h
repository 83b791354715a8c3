/* SPDX-License-Identifier: Apache-2.0 */
/* links.h - connections under test: a loop, a real server, and a proxy between them that can hold what it has, or cut the line. */
#ifndef MR_TEST_POSTGRES_LINKS_H
#define MR_TEST_POSTGRES_LINKS_H

#include "sources/postgres/conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

enum { LONG_MS = 20000 }; /* for what must come */

/* One thread, any number of connections one after the other and at the same time. */
enum proxy_mode {
    PROXY_PASS,
    PROXY_HOLD,      /* accepts; passes nothing on, either way */
    PROXY_DEAF,      /* nothing on to the server */
    PROXY_CUT        /* hangs up, on those to come as well */
};
struct proxy {
    int listener, port, wake[2];
    _Atomic(enum proxy_mode) mode;
    pthread_t thread;
};
void proxy_set(struct proxy *p, enum proxy_mode mode);

struct fixture {
    struct mr_loop loop;
    struct proxy proxy;
    uv_timer_t guard;
    bool guard_over;
    char dsn[256], through[256], nobody[256]; /* straight; through the proxy; to a port on which nobody listens */
};
extern const char *server_url;
int fixture_open(void **state);
int fixture_close(void **state); /* the loop must be empty */
/* false: it took longer. */
bool until(struct fixture *f, const bool *flag, int most_ms);
void pass(struct fixture *f, int ms); /* so long the loop runs: for what must not come */

/* What a command gave. */
struct asked {
    bool ended, opened, gone;
    int ends, opens;
    struct mr_err err;
    char state[8], text[4000]; /* results: "which:a|b;" */
};
struct pg_conn *conn_of(struct fixture *f, const char *dsn, int64_t stall_ms);
void conn_open(struct fixture *f, struct pg_conn *c); /* asserts that it is */
void conn_free(struct fixture *f, struct pg_conn *c);
void ask(struct pg_conn *c, const char *sql, struct asked *a);
void answer(struct fixture *f, struct pg_conn *c, const char *sql, const char *text); /* asserts it */
void on_opened(void *arg, const struct mr_err *err); /* arg: struct asked */
void on_asked_result(void *arg, PGresult *r, size_t which);
void on_asked_end(void *arg, const struct mr_err *err, const char *state);
void set_true(void *arg);

extern const struct CMUnitTest conn_tests[], pool_tests[], resolver_tests[];
extern const size_t conn_tests_n, pool_tests_n, resolver_tests_n;

#endif
