/* SPDX-License-Identifier: Apache-2.0 */
/* conn.c - libpq under uv_poll. docs: PostgreSQL 15, 34.4 (asynchronous commands), 34.10 (COPY), appendix A (SQLSTATE).
 *
 * happy path    open (connect.c) -> query: send, flush -> readable: results and rows, bounded a turn -> end
 * ways to fail  the server's word ends the command, the connection lives; a socket that breaks, or is silent for stall_ms, ends both
 * on close      cancel is sent by a thread of its own; the socket is closed at once, which ends a COPY on the server too */
#include "conn.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TURN_BYTES = 256 << 10, TURN_US = 1500, LOOK_MS = 1000 };

enum conn_state { CONN_DOWN, CONN_OPENING, CONN_IDLE, CONN_BUSY };

struct watch { /* of one socket; outlives the connection by its closing */
    uv_poll_t poll;
    struct pg_conn *c; /* NULL: closing */
};

struct pg_conn {
    struct pg_conn_options o;
    enum conn_state state;
    PGconn *pq;
    struct pg_connect *connecting;
    struct watch *watch;
    uv_timer_t look;     /* at a server that is silent */
    uv_idle_t again;     /* a turn had more than it may take */
    unsigned handles;    /* that are closing, connections let go of among them */
    bool freeing;
    void (*gone)(void *arg);
    void *gone_arg;
    void (*opened)(void *arg, const struct mr_err *err);
    void *opened_arg;
    struct pg_query q;
    size_t which, copies;
    bool flushing, copying, held;
    struct mr_err err;   /* of the command, as soon as one of its statements has failed */
    char sqlstate[6];
    int64_t received;
    uint64_t heard_ms;
    int64_t patience_ms; /* of this query */
};

/* ---- errors ---- */

enum mr_code pg_state_code(const char *state)
{
    static const struct {
        const char *state; /* or how it begins */
        enum mr_code code;
    } codes[] = {
        {"40", MR_EBUSY},      {"55P03", MR_EBUSY},   {"57014", MR_EBUSY},   {"53", MR_EBUSY},      {"25P03", MR_EBUSY}, {"25P02", MR_EBUSY}, {"57P", MR_ENET},   {"08", MR_ENET},
        {"28", MR_EAUTH},      {"3D000", MR_ECONFIG}, {"42501", MR_EPERM},   {"42P01", MR_ENOENT},  {"3F000", MR_ENOENT}, {"42703", MR_ENOENT}, {"42", MR_ECONFIG}, {"22", MR_ECONFIG},
        {"XX001", MR_ECORRUPT}, {"XX002", MR_ECORRUPT}, {"54", MR_ETOOBIG},
    };
    for (size_t i = 0; i < MR_COUNT(codes); i++)
        if (strncmp(state, codes[i].state, strlen(codes[i].state)) == 0)
            return codes[i].code;
    return MR_EIO;
}

static struct mr_str first_line(const char *said)
{
    static const char *const leads[] = {"ERROR:", "FATAL:", "PANIC:"};
    for (size_t i = 0; i < MR_COUNT(leads); i++)
        if (strncmp(said, leads[i], 6) == 0)
            said += 6;
    while (*said == ' ')
        said++;
    return (struct mr_str){said, strcspn(said, "\n")};
}

static void note_error(struct pg_conn *c, const PGresult *r)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    struct mr_str line = first_line(PQresultErrorMessage(r));
    if (c->err.code != MR_OK)
        return; /* what follows the first is its consequence */
    snprintf(c->sqlstate, sizeof c->sqlstate, "%s", state ? state : "");
    const char *hint = state && strcmp(state, "22021") == 0 ? ": a value is no text in the encoding of the database; a line of JSON cannot hold it. Leave the column out, or read it as bytea" : "";
    mr_err_set(&c->err, state ? pg_state_code(state) : MR_ENET, "%.*s%s%s%s%s", line.n ? (int)line.n : 22, line.n ? line.p : "the connection is gone", state ? " (" : "", state ? state : "",
               state ? ")" : "", hint);
}

/* ---- the socket ---- */

static void maybe_gone(struct pg_conn *c)
{
    if (!c->freeing || c->handles)
        return;
    void (*gone)(void *) = c->gone;
    void *arg = c->gone_arg;
    free(c);
    gone(arg);
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct watch *w = handle->data;
    struct pg_conn *c = w->c;
    free(w);
    c->handles--;
    maybe_gone(c);
}

static void on_event(uv_poll_t *poll, int status, int events);

static void want(struct pg_conn *c)
{
    int events = (c->held ? 0 : UV_READABLE) | (c->flushing ? UV_WRITABLE : 0);
    if (!c->watch)
        return;
    if (events)
        uv_poll_start(&c->watch->poll, events, on_event);
    else
        uv_poll_stop(&c->watch->poll);
}

/* The kernel's number of the socket may be used again as soon as it is closed: the handle goes first. */
static void let_socket_go(struct pg_conn *c)
{
    uv_idle_stop(&c->again);
    uv_timer_stop(&c->look);
    if (c->watch) {
        c->handles++;
        uv_close((uv_handle_t *)&c->watch->poll, on_watch_closed);
        c->watch = NULL;
    }
    PQfinish(c->pq);
    c->pq = NULL;
    c->state = CONN_DOWN;
    c->patience_ms = 0;
    c->copying = c->held = c->flushing = false;
}

static void end(struct pg_conn *c)
{
    struct pg_query q = c->q;
    struct mr_err err = c->err;
    char state[6];
    memcpy(state, c->sqlstate, sizeof state);
    q.on_end(q.arg, &err, state);
}

static void lost(struct pg_conn *c, enum mr_code code, const char *why)
{
    bool busy = c->state == CONN_BUSY;
    if (c->err.code == MR_OK) {
        struct mr_str line = first_line(why);
        mr_err_set(&c->err, code, "%.*s", line.n ? (int)line.n : 22, line.n ? line.p : "the connection is gone");
    }
    let_socket_go(c);
    if (busy)
        end(c);
}

/* ---- reading ---- */

static void tell_notifies(struct pg_conn *c)
{
    for (PGnotify *n; (n = PQnotifies(c->pq)); PQfreemem(n))
        if (c->o.on_notify)
            c->o.on_notify(c->o.arg, mr_str_c(n->relname), mr_str_c(n->extra));
}

static void on_again(uv_idle_t *idle);

/* Rows of the COPY that is under way. True: it has ended; false: later, or the connection was closed meanwhile. */
static bool take_rows(struct pg_conn *c, int64_t *bytes, int64_t until_us)
{
    for (;;) {
        char *row;
        int n = PQgetCopyData(c->pq, &row, 1);
        if (n == 0)
            return false;
        if (n < 0) {
            c->copying = false;
            return true;
        }
        bool more = c->q.on_copy(c->q.arg, row, (size_t)n);
        PQfreemem(row);
        c->received += n;
        *bytes += n;
        if (c->state != CONN_BUSY)
            return false;
        if (!more) {
            c->held = true;
            want(c);
            return false;
        }
        if (*bytes >= TURN_BYTES || ((*bytes & 0x3fff) < n && mr_mono_us() >= until_us)) {
            uv_idle_start(&c->again, on_again);
            return false;
        }
    }
}

static void take(struct pg_conn *c)
{
    int64_t bytes = 0, until_us = mr_mono_us() + TURN_US;
    while (c->state == CONN_BUSY && !c->held) {
        if (c->copying && !take_rows(c, &bytes, until_us))
            return;
        if (PQisBusy(c->pq))
            return;
        PGresult *r = PQgetResult(c->pq);
        if (!r) {
            if (PQstatus(c->pq) == CONNECTION_BAD) {
                lost(c, MR_ENET, PQerrorMessage(c->pq));
                return;
            }
            c->state = CONN_IDLE;
            c->patience_ms = 0;
            uv_timer_stop(&c->look);
            end(c);
            return;
        }
        switch (PQresultStatus(r)) {
        case PGRES_COMMAND_OK:
        case PGRES_EMPTY_QUERY:
            break;
        case PGRES_TUPLES_OK:
            if (c->q.on_result)
                c->q.on_result(c->q.arg, r, c->which);
            c->which++;
            break;
        case PGRES_COPY_IN:
        case PGRES_COPY_BOTH: /* of a query of the config */
            PQclear(r);
            mr_err_set(&c->err, MR_ECONFIG, "the statement wants to be sent rows");
            lost(c, MR_ECONFIG, "");
            return;
        case PGRES_COPY_OUT:
            c->copying = true;
            if (c->q.on_copy_out)
                c->q.on_copy_out(c->q.arg, c->copies);
            c->copies++;
            break;
        default:
            note_error(c, r);
        }
        PQclear(r);
    }
}

static void on_again(uv_idle_t *idle)
{
    struct pg_conn *c = idle->data;
    uv_idle_stop(&c->again);
    take(c);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;
    struct pg_conn *c = w->c;
    if (c->watch != w)
        return;
    c->heard_ms = mr_loop_now_ms(c->o.loop);
    if (status < 0) /* an error of the socket: libpq may have what the server said before, and knows its name */
        events = UV_READABLE;
    if (events & UV_WRITABLE) {
        int more = PQflush(c->pq);
        c->flushing = more == 1;
        if (more < 0) {
            lost(c, MR_ENET, PQerrorMessage(c->pq));
            return;
        }
        want(c);
    }
    if (!(events & UV_READABLE) || c->held)
        return;
    if (!PQconsumeInput(c->pq)) {
        /* what has come before the end is read first: the server may have said why */
        if (c->state == CONN_BUSY && !c->copying)
            take(c);
        if (c->watch == w)
            lost(c, MR_ENET, PQerrorMessage(c->pq));
        return;
    }
    if (status < 0)
        want(c); /* libuv has stopped looking; what is left in the socket is read until it ends */
    tell_notifies(c);
    if (c->state == CONN_BUSY && !uv_is_active((uv_handle_t *)&c->again))
        take(c);
    else if (c->state == CONN_IDLE && PQstatus(c->pq) == CONNECTION_BAD)
        lost(c, MR_ENET, PQerrorMessage(c->pq));
}

static void on_look(uv_timer_t *timer)
{
    struct pg_conn *c = timer->data;
    if (!c->pq) { /* it was gone when it was asked */
        uv_timer_stop(timer);
        c->state = CONN_DOWN;
        end(c);
        return;
    }
    char why[80];
    int64_t silent_ms = (int64_t)(mr_loop_now_ms(c->o.loop) - c->heard_ms);
    if (c->held || silent_ms < c->o.stall_ms || silent_ms < c->patience_ms)
        return;
    snprintf(why, sizeof why, "the server has sent nothing for %lld s", (long long)(silent_ms / 1000));
    if (c->err.code == MR_OK)
        mr_err_set(&c->err, MR_ETIMEDOUT, "%s", why);
    pg_cancel(c->pq);
    lost(c, MR_ETIMEDOUT, why);
}

/* ---- what is asked ---- */

void pg_conn_query(struct pg_conn *c, const char *sql, const struct pg_query *q)
{
    assert(c->state == CONN_IDLE || c->state == CONN_DOWN);
    bool gone = c->state == CONN_DOWN;
    c->state = CONN_BUSY;
    c->q = *q;
    c->which = c->copies = 0;
    c->err = (struct mr_err){0};
    memset(c->sqlstate, 0, sizeof c->sqlstate);
    c->heard_ms = mr_loop_now_ms(c->o.loop);
    if (gone) {
        mr_err_set(&c->err, MR_ENET, "the connection is gone");
        uv_timer_start(&c->look, on_look, 0, 0);
        return;
    }
    uv_timer_start(&c->look, on_look, LOOK_MS, LOOK_MS);
    int sent = PQsendQuery(c->pq, sql), more = sent ? PQflush(c->pq) : -1;
    c->flushing = more != 0; /* a failure is told from the loop, by the socket that is broken */
    want(c);
}

void pg_conn_go_on(struct pg_conn *c)
{
    if (!c->held)
        return;
    c->held = false;
    c->heard_ms = mr_loop_now_ms(c->o.loop);
    want(c);
    uv_idle_start(&c->again, on_again); /* libpq may have the rest already: the socket would not tell */
}

bool pg_conn_ready(const struct pg_conn *c)
{
    return c->state == CONN_IDLE;
}

bool pg_conn_clean(const struct pg_conn *c)
{
    return c->state == CONN_IDLE && PQtransactionStatus(c->pq) == PQTRANS_IDLE;
}

void pg_conn_patience(struct pg_conn *c, int64_t ms)
{
    c->patience_ms = ms;
}

int pg_conn_version(const struct pg_conn *c)
{
    return c->pq ? PQserverVersion(c->pq) : 0;
}

bool pg_conn_busy(const struct pg_conn *c)
{
    return c->state == CONN_BUSY || c->state == CONN_OPENING;
}

int64_t pg_conn_received(const struct pg_conn *c)
{
    return c->received;
}

int pg_conn_pid(const struct pg_conn *c)
{
    return c->pq ? PQbackendPID(c->pq) : 0;
}

/* ---- life ---- */

struct pg_conn *pg_conn_new(const struct pg_conn_options *options)
{
    struct pg_conn *c = calloc(1, sizeof *c);
    assert(c);
    c->o = *options;
    uv_timer_init(&options->loop->uv, &c->look);
    uv_idle_init(&options->loop->uv, &c->again);
    c->look.data = c->again.data = c;
    return c;
}

static void on_made(void *arg, PGconn *made, const struct mr_err *err)
{
    struct pg_conn *c = arg;
    struct mr_err why = *err;
    c->connecting = NULL;
    c->state = CONN_DOWN;
    if (made) {
        struct watch *w = calloc(1, sizeof *w);
        assert(w);
        c->pq = made;
        c->state = CONN_IDLE;
        c->received = 0;
        w->c = c;
        uv_poll_init(&c->o.loop->uv, &w->poll, PQsocket(made));
        w->poll.data = w;
        c->watch = w;
        want(c);
    }
    c->opened(c->opened_arg, &why);
}

void pg_conn_open(struct pg_conn *c, void (*cb)(void *arg, const struct mr_err *err), void *arg)
{
    assert(c->state == CONN_DOWN);
    c->state = CONN_OPENING;
    c->opened = cb;
    c->opened_arg = arg;
    c->connecting = pg_connect_start(c->o.loop, c->o.dsn, c->o.password, c->o.source, on_made, c);
}

static void on_dropped(void *arg)
{
    struct pg_conn *c = arg;
    c->handles--;
    maybe_gone(c);
}

void pg_conn_close(struct pg_conn *c)
{
    if (c->state == CONN_OPENING) {
        c->handles++;
        pg_connect_drop(c->connecting, on_dropped, c);
        c->connecting = NULL;
        c->state = CONN_DOWN;
    } else if (c->state == CONN_BUSY) {
        if (c->pq)
            pg_cancel(c->pq);
        mr_err_set(&c->err, MR_ECANCELED, "canceled");
        lost(c, MR_ECANCELED, "canceled");
    } else if (c->state == CONN_IDLE) {
        let_socket_go(c);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct pg_conn *c = handle->data;
    c->handles--;
    maybe_gone(c);
}

void pg_conn_free(struct pg_conn *c, void (*gone)(void *arg), void *arg)
{
    pg_conn_close(c);
    c->freeing = true;
    c->gone = gone;
    c->gone_arg = arg;
    c->handles += 2;
    uv_close((uv_handle_t *)&c->look, on_handle_closed);
    uv_close((uv_handle_t *)&c->again, on_handle_closed);
}
