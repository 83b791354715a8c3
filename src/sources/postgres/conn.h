/* SPDX-License-Identifier: Apache-2.0 */
/* conn.h - one connection to the server, on the loop. One command at a time; a command may be several statements.
 *
 *      DOWN ──open──► OPENING ──► IDLE ◄──► BUSY          any ──close──► DOWN
 *
 * A turn of the loop takes at most TURN_BYTES of a COPY or TURN_US; the rest comes on the next turns. Who has no room for more says so by the
 * answer to on_copy, and pg_conn_go_on() later: a COPY that waits holds its snapshot on the server, so it should not wait for long. */
#ifndef MR_POSTGRES_CONN_H
#define MR_POSTGRES_CONN_H

#include "connect.h"

#include <libpq-fe.h>

struct pg_conn_options {
    struct mr_loop *loop;
    const char *source;   /* its name; borrowed, as are the others */
    const char *dsn;
    const char *password; /* or NULL */
    int64_t stall_ms;     /* without a byte while it is asked */
    void (*on_notify)(void *arg, struct mr_str channel, struct mr_str payload); /* or NULL */
    void *arg;
};

struct pg_query {
    /* Of each statement that returns rows, in order; text. Borrowed. May be NULL. */
    void (*on_result)(void *arg, PGresult *r, size_t which);
    /* A COPY begins: the first is 0. May be NULL. */
    void (*on_copy_out)(void *arg, size_t which);
    /* A message of it, as it came. False: it was taken, and the next one must wait for pg_conn_go_on(). */
    bool (*on_copy)(void *arg, const char *row, size_t n);
    /* Exactly once. err: MR_OK; or the server's word, with its SQLSTATE, or why the connection is gone: then pg_conn_ready() is false. A transaction that failed stays open: ROLLBACK. */
    void (*on_end)(void *arg, const struct mr_err *err, const char *state /* "" if it was not the server who said it */);
    void *arg;
};

struct pg_conn;
struct pg_conn *pg_conn_new(const struct pg_conn_options *options);
/* cb on the loop exactly once. Only when it is down. */
void pg_conn_open(struct pg_conn *c, void (*cb)(void *arg, const struct mr_err *err), void *arg);
bool pg_conn_ready(const struct pg_conn *c); /* idle */
bool pg_conn_clean(const struct pg_conn *c); /* and in no transaction */
bool pg_conn_busy(const struct pg_conn *c);
/* `sql` is copied. Not while it is busy. If the connection has gone meanwhile, on_end says so on a later turn. */
void pg_conn_query(struct pg_conn *c, const char *sql, const struct pg_query *q);
void pg_conn_patience(struct pg_conn *c, int64_t ms); /* of the next query: how long the server may be silent, if that is longer than stall_ms */
int pg_conn_version(const struct pg_conn *c);         /* of the server: 150004; 0: not connected */
void pg_conn_go_on(struct pg_conn *c);
/* Any state: a command that is under way is canceled and ends with MR_ECANCELED, a connection that is being made is let go of (its callback never comes). Then it is down. */
void pg_conn_close(struct pg_conn *c);
int64_t pg_conn_received(const struct pg_conn *c); /* bytes of COPY rows since it was opened */
int pg_conn_pid(const struct pg_conn *c);            /* of the server's process; 0: none */
/* Closes it, frees it, and tells when nothing of it is left on the loop. */
void pg_conn_free(struct pg_conn *c, void (*gone)(void *arg), void *arg);

/* The SQLSTATE as one of our codes. */
enum mr_code pg_state_code(const char *state);

#endif
