/* SPDX-License-Identifier: Apache-2.0 */
/* connect.c - threads for what libpq does only by blocking. docs: PostgreSQL 15, 34.1 (connecting), 34.7 (canceling).
 *
 * happy path    start -> thread: PQconnectdbParams -> eventfd -> loop: the connection is handed over
 * ways to fail  no thread, no fd: told at the next turn; the connection is refused: told, with what libpq says
 * on close      a call that is let go of is cleaned up by whoever is last, the loop or its thread */
#include "connect.h"

#include "millrace/hash.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { WORDS = 16 };

struct pg_connect {
    atomic_int holders; /* the loop, the thread */
    int fd; /* -1: none could be had */
    union {
        uv_poll_t poll;   /* of the fd */
        uv_timer_t timer; /* or, without one, for the next turn */
    } on;
    const char *names[WORDS];
    char *values[WORDS];
    PGconn *made;       /* the thread's until the fd says so */
    struct mr_err err;
    pg_connect_cb cb;   /* NULL: let go of */
    void (*gone)(void *arg);
    void *arg;
};

/* ---- either side ---- */

static void let_go(struct pg_connect *c)
{
    if (atomic_fetch_sub(&c->holders, 1) != 1)
        return;
    for (size_t i = 0; i < WORDS; i++)
        if (c->values[i]) {
            mr_cleanse(c->values[i], strlen(c->values[i])); /* one of them is the password */
            free(c->values[i]);
        }
    PQfinish(c->made);
    if (c->fd >= 0)
        close(c->fd);
    free(c);
}

/* ---- thread ---- */

static void silent(void *arg, const PGresult *result)
{
    (void)arg;
    (void)result;
}

/* libpq has words but no codes for why a server lets nobody in. */
static enum mr_code code_of(const char *said)
{
    static const struct {
        const char *words;
        enum mr_code code;
    } known[] = {
        {"authentication failed", MR_EAUTH}, {"no password supplied", MR_EAUTH}, {"no pg_hba.conf entry", MR_EAUTH}, {"does not exist", MR_EAUTH},
        {"permission denied", MR_EPERM},     {"certificate verify failed", MR_EAUTH}, {"not permitted to log in", MR_EAUTH}, {"definition of service", MR_ECONFIG},
        {"root certificate file", MR_ECONFIG}, {"server does not support SSL", MR_ECONFIG},
    };
    for (size_t i = 0; i < MR_COUNT(known); i++)
        if (strstr(said, known[i].words))
            return known[i].code;
    return MR_ENET;
}

static void explain(struct pg_connect *c)
{
    const char *said = c->made ? PQerrorMessage(c->made) : "no memory", *secret = c->made ? PQpass(c->made) : NULL;
    /* libpq names hosts and users and never a password; should that change, nothing of it is repeated */
    if (secret && *secret && strstr(said, secret))
        said = "the connection failed";
    char line[400];
    size_t n = 0;
    for (const char *p = said; *p && n < sizeof line - 3; p++) { /* several hosts, several lines */
        if (*p == '\n' && p[1] == 0)
            break;
        if (*p == '\n')
            line[n++] = ';';
        line[n++] = *p == '\n' || *p == '\t' ? ' ' : *p;
    }
    line[n] = 0;
    mr_err_set(&c->err, code_of(said), "%s", n ? line : "the connection failed");
}

static void *connect_thread(void *arg)
{
    struct pg_connect *c = arg;
    static const uint64_t one = 1;
    c->made = PQconnectdbParams(c->names, (const char *const *)c->values, 1);
    if (c->made)
        PQsetNoticeReceiver(c->made, silent, NULL);
    if (!c->made || PQstatus(c->made) != CONNECTION_OK || PQsetnonblocking(c->made, 1) != 0) {
        explain(c);
        PQfinish(c->made);
        c->made = NULL;
    }
    if (write(c->fd, &one, sizeof one) != sizeof one)
        abort(); /* an eventfd of our own */
    let_go(c);
    return NULL;
}

static bool spawn(void *(*run)(void *), void *arg)
{
    pthread_t thread;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    int failed = pthread_create(&thread, &detached, run, arg);
    pthread_attr_destroy(&detached);
    return failed == 0;
}

/* ---- loop ---- */

static void on_closed(uv_handle_t *handle)
{
    struct pg_connect *c = handle->data;
    if (c->gone)
        c->gone(c->arg);
    let_go(c);
}

static void tell(struct pg_connect *c)
{
    PGconn *made = c->made;
    pg_connect_cb cb = c->cb;
    struct mr_err err = c->err;
    c->made = NULL;
    c->cb = NULL;
    uv_close((uv_handle_t *)&c->on, on_closed);
    cb(c->arg, made, &err);
}

static void on_done(uv_poll_t *poll, int status, int events)
{
    struct pg_connect *c = poll->data;
    uint64_t count;
    (void)status;
    (void)events;
    if (read(c->fd, &count, sizeof count) == sizeof count)
        tell(c);
}

static void on_no_fd(uv_timer_t *timer)
{
    tell(timer->data);
}

static void word(struct pg_connect *c, const char *name, const char *value)
{
    size_t at = 0;
    while (c->names[at])
        at++;
    assert(at < WORDS - 1);
    c->names[at] = name;
    c->values[at] = strdup(value);
    assert(c->values[at]);
}

struct pg_connect *pg_connect_start(struct mr_loop *loop, const char *dsn, const char *password, const char *source, pg_connect_cb cb, void *arg)
{
    static const uint64_t one = 1;
    char name[80];
    struct pg_connect *c = calloc(1, sizeof *c);
    assert(c);
    snprintf(name, sizeof name, "millrace%s%.48s", source ? " " : "", source ? source : "");
    c->cb = cb;
    c->arg = arg;
    /* what stands before the dsn it may change; what stands behind it holds */
    word(c, "connect_timeout", "10");
    word(c, "keepalives_idle", "30");
    word(c, "keepalives_interval", "10");
    word(c, "keepalives_count", "3");
    word(c, "tcp_user_timeout", "60000");
    word(c, "gssencmode", "disable");
    word(c, "fallback_application_name", name);
    word(c, "dbname", dsn);
    if (password)
        word(c, "password", password);
    word(c, "client_encoding", "UTF8");
    c->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    c->holders = 1;
    if (c->fd < 0) {
        mr_err_sys(&c->err, errno, "connect");
        uv_timer_init(&loop->uv, &c->on.timer);
        c->on.timer.data = c;
        uv_timer_start(&c->on.timer, on_no_fd, 0, 0);
        return c;
    }
    c->holders = 2;
    uv_poll_init(&loop->uv, &c->on.poll, c->fd);
    c->on.poll.data = c;
    uv_poll_start(&c->on.poll, UV_READABLE, on_done);
    if (!spawn(connect_thread, c)) {
        mr_err_set(&c->err, MR_EBUSY, "no thread can be had to connect");
        c->holders = 1;
        if (write(c->fd, &one, sizeof one) != sizeof one)
            abort();
    }
    return c;
}

void pg_connect_drop(struct pg_connect *c, void (*gone)(void *arg), void *arg)
{
    c->cb = NULL;
    c->gone = gone;
    c->arg = arg;
    uv_close((uv_handle_t *)&c->on, on_closed);
}

/* ---- canceling ---- */

static void *cancel_thread(void *arg)
{
    char why[256];
    PQcancel(arg, why, sizeof why); /* blocks until the server has hung up */
    PQfreeCancel(arg);
    return NULL;
}

void pg_cancel(PGconn *conn)
{
    PGcancel *cancel = PQgetCancel(conn);
    if (cancel && !spawn(cancel_thread, cancel))
        PQfreeCancel(cancel);
}
