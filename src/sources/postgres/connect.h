/* SPDX-License-Identifier: Apache-2.0 */
/* connect.h - what blocks inside libpq, on a thread of its own: making a connection (names, TLS, SCRAM), and asking the server to cancel.
 *
 * Each call has a thread that lives as long as it takes: a resolver that hangs may hold it for a minute, and no lane of the workers should wait
 * with it. Who lets go of a call is done with it at once; the thread cleans up when it comes back. */
#ifndef MR_POSTGRES_CONNECT_H
#define MR_POSTGRES_CONNECT_H

#include "millrace/loop.h"

#include <libpq-fe.h>

struct pg_connect; /* one call */
typedef void (*pg_connect_cb)(void *arg, PGconn *made /* yours; NULL on error */, const struct mr_err *err);

/* Copies all strings. `password` and `source`: may be NULL. cb comes on the loop exactly once, unless the call is let go of before. */
struct pg_connect *pg_connect_start(struct mr_loop *loop, const char *dsn, const char *password, const char *source, pg_connect_cb cb, void *arg);
/* No callback comes any more. `gone` on the loop, when nothing of it is left there. */
void pg_connect_drop(struct pg_connect *c, void (*gone)(void *arg), void *arg);

/* The same by blocking; for the worker that checks. NULL: err. PQfinish() ends it. */
PGconn *pg_connect_now(const char *dsn, const char *password, const char *application, struct mr_err *err);

/* Asks the server to end what the connection does; nobody waits for the answer. The connection may be finished right after. */
void pg_cancel(PGconn *conn);

#endif
