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

enum { GRACE_MS = 1000 };

struct pg_connect {
    atomic_int holders; /* the loop, the thread */
    int fd;
    union {
        uv_handle_t handle;
        uv_poll_t poll;
        uv_timer_t timer; /* instead, where nothing could be begun: it is told on the next turn */
    };
    char *dsn, *password, *application;
    PGconn *made;       /* the thread's until the fd says so */
    struct mr_err err;
    uv_timer_t grace;   /* for a thread whose call was let go of */
    bool dropped;
    int closing;        /* handles */
    pg_connect_cb cb;   /* NULL: let go of */
    void (*gone)(void *arg);
    void *arg;
};

/* ---- either side ---- */

static void let_go(struct pg_connect *c)
{
    if (atomic_fetch_sub(&c->holders, 1) != 1)
        return;
    char *const texts[] = {c->dsn, c->password, c->application};
    for (size_t i = 0; i < MR_COUNT(texts); i++)
        if (texts[i]) {
            mr_cleanse(texts[i], strlen(texts[i])); /* the dsn may have a password too */
            free(texts[i]);
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

/* libpq names hosts and users and never a password; should that change, nothing of it is repeated. One that is no secret to begin with, being the name
 * of what it opens, may show. */
static bool tells_the_secret(const PGconn *made, const char *said)
{
    const char *secret = PQpass(made);
    if (!secret || !*secret || !strstr(said, secret))
        return false;
    const char *const names[] = {PQuser(made), PQdb(made), PQhost(made)};
    for (size_t i = 0; i < MR_COUNT(names); i++)
        if (names[i] && strcmp(names[i], secret) == 0)
            return false;
    return true;
}

static void explain(const PGconn *made, struct mr_err *err)
{
    const char *said = made ? PQerrorMessage(made) : "no memory";
    if (made && tells_the_secret(made, said))
        said = "the connection failed";
    char line[400];
    size_t n = 0;
    for (const char *p = said; *p && n < sizeof line - 3; p++) { /* several hosts, several lines */
        if (*p == '\n' && p[1] == 0)
            break;
        if (*p == '\n')
            line[n++] = ';';
        if ((*p != '\n' && *p != '\t') || (n > 0 && line[n - 1] != ' '))
            line[n++] = *p == '\n' || *p == '\t' ? ' ' : *p;
    }
    line[n] = 0;
    mr_err_set(err, code_of(said), "%s", n ? line : "the connection failed");
}

PGconn *pg_connect_now(const char *dsn, const char *password, const char *application, struct mr_err *err)
{
    /* what stands before the dsn it may change; what stands behind it holds */
    const char *const names[] = {"connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout", "gssencmode", "fallback_application_name",
                                 "dbname", "client_encoding", password ? "password" : NULL, NULL};
    const char *const values[] = {"10", "30", "10", "3", "60000", "disable", application, dsn, "UTF8", password, NULL};
    PGconn *made = PQconnectdbParams(names, values, 1);
    if (made && PQstatus(made) == CONNECTION_OK) {
        PQsetNoticeReceiver(made, silent, NULL);
        return made;
    }
    explain(made, err);
    PQfinish(made);
    return NULL;
}

static void *connect_thread(void *arg)
{
    struct pg_connect *c = arg;
    static const uint64_t one = 1;
    c->made = pg_connect_now(c->dsn, c->password, c->application, &c->err);
    if (c->made && PQsetnonblocking(c->made, 1) != 0) {
        explain(c->made, &c->err);
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
    if (--c->closing > 0)
        return;
    if (c->gone)
        c->gone(c->arg);
    let_go(c);
}

static void close_handles(struct pg_connect *c)
{
    if (c->closing)
        return;
    c->closing = 1 + c->dropped;
    uv_close(&c->handle, on_closed);
    if (c->dropped)
        uv_close((uv_handle_t *)&c->grace, on_closed);
}

static void tell(struct pg_connect *c)
{
    if (c->dropped) {
        close_handles(c);
        return;
    }
    PGconn *made = c->made;
    pg_connect_cb cb = c->cb;
    struct mr_err err = c->err;
    c->made = NULL;
    c->cb = NULL;
    close_handles(c);
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

static void on_not_begun(uv_timer_t *timer)
{
    tell(timer->data);
}

struct pg_connect *pg_connect_start(struct mr_loop *loop, const char *dsn, const char *password, const char *source, pg_connect_cb cb, void *arg)
{
    struct pg_connect *c = calloc(1, sizeof *c);
    assert(c);
    c->cb = cb;
    c->arg = arg;
    c->dsn = strdup(dsn);
    c->password = password ? strdup(password) : NULL;
    if (asprintf(&c->application, "millrace%s%.48s", source ? " " : "", source ? source : "") < 0)
        abort();
    assert(c->dsn && (c->password || !password));
    c->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    c->holders = 2;
    if (c->fd < 0) {
        mr_err_sys(&c->err, errno, "connect: eventfd");
    } else if (!spawn(connect_thread, c)) {
        mr_err_set(&c->err, MR_EBUSY, "no thread can be had to connect");
    } else {
        uv_poll_init(&loop->uv, &c->poll, c->fd);
        c->handle.data = c;
        uv_poll_start(&c->poll, UV_READABLE, on_done);
        return c;
    }
    c->holders = 1;
    uv_timer_init(&loop->uv, &c->timer);
    c->handle.data = c;
    uv_timer_start(&c->timer, on_not_begun, 0, 0);
    return c;
}

static void on_late(uv_timer_t *timer)
{
    close_handles(timer->data);
}

void pg_connect_drop(struct pg_connect *c, void (*gone)(void *arg), void *arg)
{
    c->cb = NULL;
    c->gone = gone;
    c->arg = arg;
    c->dropped = true;
    uv_timer_init(c->handle.loop, &c->grace);
    c->grace.data = c;
    uv_timer_start(&c->grace, on_late, GRACE_MS, 0); /* most come back at once, and then nothing of them is left behind */
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
