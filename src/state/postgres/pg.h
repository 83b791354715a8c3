/* SPDX-License-Identifier: Apache-2.0 */
/* state/postgres/pg.h - one connection to a Postgres server, and how the stories of this folder meet.
 *
 * libpq is used without blocking: each answer is waited for with a deadline, so a server that hangs costs time and never
 * the lane. The server's own limits (set on connecting) end what we would otherwise leave behind there: a lock waited for, a
 * transaction of a process that was stopped. Needs a session of its own: a pooler must be in session mode.
 *
 * Runs on: lane STATE, all of it, unless said. */
#ifndef MILLRACE_STATE_POSTGRES_PG_H
#define MILLRACE_STATE_POSTGRES_PG_H

#include "millrace/buf.h"
#include "state/sql/sql.h"

#include <libpq-fe.h>

enum {
    MR_PG_STATEMENTS = 256, /* a power of two, far above what we have */
    MR_PG_PARAMS = 16,
    MR_PG_BYTEA = 17, /* the type's oid, for ever (pg_type.dat) */
};

struct mr_pg_stmt {
    struct mr_stmt stmt; /* first */
    const char *text;    /* as it stands in the source; NULL: free */
    char *sql;           /* as Postgres wants it */
    char name[12];
    bool prepared;       /* on this connection */
    int params_count;
    const char *params[MR_PG_PARAMS];
    struct mr_buf bytes; /* of the params */
    PGresult *result;    /* NULL: bound, not sent */
    int row;
};

struct mr_pg_doubt { /* a transaction, to be asked about from another connection */
    int64_t xid;     /* 0: none */
    int backend;
};

struct mr_pg {
    struct mr_db db; /* first */
    PGconn *c;       /* NULL: not connected */
    char *conninfo, *schema, *home, *name;
    struct mr_pg_stmt *statements; /* [MR_PG_STATEMENTS] */
    int64_t changes;
    int64_t ahead_at_us;           /* when the server's clock was read, monotonic */
    int64_t failed_at_us;          /* the last attempt to connect; 0: it did not fail */
    struct mr_err failed;
    struct mr_pg_doubt doubt;      /* the transaction that is or was last open */
};
static inline struct mr_pg *mr_pg_of(struct mr_db *db)
{
    return MR_OF(db, struct mr_pg, db);
}

/* -- conn.c */
/* NULL and err if `url` cannot be read. Does not connect. `home`: see mr_store_options. Runs on: any thread. */
struct mr_pg *mr_pg_new(const char *url, const char *home, struct mr_err *err);
void mr_pg_free(struct mr_pg *pg); /* Runs on: any thread, after mr_pg_disconnect(). */
MR_MUST enum mr_code mr_pg_connect(struct mr_pg *pg); /* anew; to db.err */
void mr_pg_disconnect(struct mr_pg *pg);
/* There is a connection that works, made anew if it has to be; a server that refused a moment ago is not asked again at once. */
bool mr_pg_ready(struct mr_db *db);
/* Several statements in one message; the last rows, if any, are the caller's to PQclear(). NULL after an error. */
PGresult *mr_pg_query(struct mr_pg *pg, const char *text);
/* One statement with binary parameters, binary rows. NULL after an error. */
PGresult *mr_pg_query_binary(struct mr_pg *pg, const char *text, int n, const Oid *types, const char *const *values,
                             const int *lengths);
/* From what libpq said: sets db.err by the SQLSTATE, and notices a connection that is gone. */
enum mr_code mr_pg_fail(struct mr_pg *pg, const PGresult *result, const char *what);
bool mr_pg_lost(const struct mr_pg *pg); /* the connection is gone: nobody answers what was asked last */

struct mr_stmt *mr_pg_bind(struct mr_db *db, const char *text, const char *format, va_list *args);
bool mr_pg_row(struct mr_db *db, struct mr_stmt *stmt);
void mr_pg_end(struct mr_stmt *stmt);
struct mr_str mr_pg_column(struct mr_stmt *stmt, int at);
int64_t mr_pg_integer(struct mr_stmt *stmt, int at);
int64_t mr_pg_changes(struct mr_db *db);
enum mr_code mr_pg_exec(struct mr_db *db, const char *text);

/* -- migrate.c: makes (create) or checks the schema, brings it forward, reads the facts. As mr_lite_start(). */
MR_MUST enum mr_code mr_pg_start(struct mr_pg *pg, bool create, struct mr_store_facts *facts);

/* -- seen.c; see mr_db_ops */
void mr_pg_seen(struct mr_db *db, struct mr_call *call);
void mr_pg_seen_insert(struct mr_db *db, struct mr_call *call);
int64_t mr_pg_seen_ids(struct mr_db *db, int32_t *oldest, int64_t *tables);
int64_t mr_pg_seen_drop(struct mr_db *db, int32_t day);

extern const struct mr_db_ops mr_pg_ops; /* postgres.c */

#endif
