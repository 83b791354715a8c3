/* SPDX-License-Identifier: Apache-2.0 */
/* facts.c - asking with a deadline, and what there is to know of a server. */
#include "facts.h"

#include "millrace/buf.h"
#include "millrace/clock.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_S "10"
enum { PATIENCE_MS = 15000 };

/* ---- asking ---- */

static void lose(struct pg_asking *a)
{
    PQfinish(a->pq);
    a->pq = NULL;
}

/* false: nothing came in time, or no more comes. */
static bool wait_for(struct pg_asking *a, int64_t until_us)
{
    while (PQisBusy(a->pq)) {
        int64_t left_ms = (until_us - mr_mono_us()) / 1000;
        struct pollfd p = {.fd = PQsocket(a->pq), .events = POLLIN};
        int n = left_ms > 0 ? poll(&p, 1, (int)left_ms) : 0;
        if (n == 0) {
            mr_err_set(&a->err, MR_ENET, "the server was asked and has not answered for %d s", PATIENCE_MS / 1000);
            return false;
        }
        if ((n < 0 && errno != EINTR) || (n > 0 && !PQconsumeInput(a->pq))) {
            mr_err_set(&a->err, MR_ENET, "the connection is lost: %s", PQerrorMessage(a->pq));
            return false;
        }
    }
    return true;
}

static void take_error(struct pg_asking *a, const PGresult *r)
{
    const char *said = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY), *detail = PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL);
    if (a->err.code != MR_OK)
        return;
    mr_err_set(&a->err, MR_ECONFIG, "%s%s%s", said ? said : PQerrorMessage(a->pq), detail ? ": " : "", detail ? detail : "");
}

/* Of what a message of several statements gives, the rows; other results are empty. */
static PGresult *all_results(struct pg_asking *a)
{
    const int64_t until_us = mr_mono_us() + PATIENCE_MS * INT64_C(1000);
    PGresult *rows = NULL, *r;
    for (;;) {
        if (!wait_for(a, until_us)) {
            PQclear(rows);
            lose(a);
            return NULL;
        }
        if (!(r = PQgetResult(a->pq)))
            break;
        if (PQresultStatus(r) == PGRES_TUPLES_OK && !rows) {
            rows = r;
            continue;
        }
        if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)
            take_error(a, r);
        PQclear(r);
    }
    if (a->err.code == MR_OK && rows)
        return rows;
    if (a->err.code == MR_OK)
        mr_err_set(&a->err, MR_EMALFORMED, "the server has answered without rows");
    PQclear(rows);
    return NULL;
}

PGresult *pg_ask(struct pg_asking *a, enum pg_path path, const char *sql)
{
    struct mr_buf message;
    if (!a->pq)
        return NULL;
    a->err = (struct mr_err){0};
    mr_buf_init(&message, 16 << 20);
    if (PQtransactionStatus(a->pq) == PQTRANS_INERROR)
        mr_buf_puts(&message, "ROLLBACK; ");
    mr_buf_puts(&message, "BEGIN READ ONLY; SET LOCAL statement_timeout TO '" ASK_S "s'; SET LOCAL lock_timeout TO '2s'; SET LOCAL timezone TO 'UTC'; SET LOCAL datestyle TO 'ISO'; ");
    if (path == PG_PATH_RUN)
        mr_buf_puts(&message, "SET LOCAL search_path TO pg_catalog; SET LOCAL row_security TO off; ");
    mr_buf_puts(&message, sql);
    mr_buf_puts(&message, "; COMMIT");
    if (!PQsendQuery(a->pq, mr_buf_cstr(&message))) {
        mr_err_set(&a->err, MR_ENET, "the connection is lost: %s", PQerrorMessage(a->pq));
        lose(a);
        mr_buf_free(&message);
        return NULL;
    }
    mr_buf_free(&message);
    return all_results(a);
}

int64_t pg_cell_i64(const PGresult *r, int column, int64_t none)
{
    return PQgetisnull(r, 0, column) ? none : strtoll(PQgetvalue(r, 0, column), NULL, 10);
}

void pg_cell_text(const PGresult *r, int column, char *out, size_t room)
{
    snprintf(out, room, "%s", PQgetvalue(r, 0, column));
}

bool pg_cell_flag(const PGresult *r, int column)
{
    return PQgetvalue(r, 0, column)[0] == 't';
}

/* ---- the connection ---- */

static void take_connection(const PGconn *pq, struct pg_server_facts *f)
{
    const char *address = PQhostaddr(pq), *host = PQhost(pq), *version = PQsslAttribute((PGconn *)(uintptr_t)pq, "protocol");
    snprintf(f->host, sizeof f->host, "%s", host ? host : "");
    snprintf(f->port, sizeof f->port, "%s", PQport(pq) ? PQport(pq) : "");
    f->local = pg_host_is_local(address && *address ? address : f->host);
    f->number = PQserverVersion(pq);
    f->tls = PQsslInUse((PGconn *)(uintptr_t)pq);
    snprintf(f->tls_version, sizeof f->tls_version, "%s", version ? version : "TLS");
    PQconninfoOption *options = PQconninfo((PGconn *)(uintptr_t)pq);
    for (const PQconninfoOption *one = options; one && one->keyword; one++)
        if (strcmp(one->keyword, "sslmode") == 0)
            snprintf(f->sslmode, sizeof f->sslmode, "%s", one->val ? one->val : "prefer");
    PQconninfoFree(options);
}

/* ---- the server ---- */

#define SETTING(name) "(SELECT reset_val::pg_catalog.int8 FROM pg_catalog.pg_settings WHERE name = '" name "')"
#define SEEN                                                                                                                                                   \
    "datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid() AND (backend_type IS NULL OR backend_type IN ('client backend','background worker','logical replication worker'," \
    "'parallel worker'))"
static const char server_sql[] =
    "SELECT pg_catalog.current_setting('server_version'), pg_catalog.current_database(), pg_catalog.quote_ident(current_user), "
    "(SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()), pg_catalog.current_setting('server_encoding'), pg_catalog.pg_is_in_recovery(), pg_catalog.pg_backend_pid(), "
    "(SELECT CASE WHEN rolsuper THEN -1 ELSE rolconnlimit END FROM pg_catalog.pg_roles WHERE rolname = current_user), "
    "coalesce((SELECT pg_catalog.pg_has_role(oid, 'USAGE') FROM pg_catalog.pg_roles WHERE rolname = 'pg_read_all_stats'), false), "
    "pg_catalog.current_setting('track_activities')::pg_catalog.bool, seen.hidden, seen.untracked, "
    "pg_catalog.current_setting('hot_standby_feedback')::pg_catalog.bool, CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END, "
    "EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver), " SETTING("max_standby_streaming_delay") ", "
    "CASE WHEN NOT pg_catalog.pg_is_in_recovery() OR pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn() THEN 0 "
    "ELSE extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp())::pg_catalog.int8 END, "
    "open.s, open.pid, open.usename, open.state, open.application_name, " SETTING("idle_in_transaction_session_timeout") ", " SETTING("statement_timeout") ", " SETTING("transaction_timeout") ", "
    "prepared.n, prepared.s, prepared.gid, pg_catalog.age((SELECT datfrozenxid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())) "
    "FROM (SELECT count(*) FILTER (WHERE query = '<insufficient privilege>') AS hidden, count(*) FILTER (WHERE state = 'disabled') AS untracked FROM pg_catalog.pg_stat_activity WHERE " SEEN ") seen "
    "LEFT JOIN LATERAL (SELECT extract(epoch FROM pg_catalog.clock_timestamp() - xact_start)::pg_catalog.int8 AS s, pid, usename, state, application_name FROM pg_catalog.pg_stat_activity "
    "WHERE " SEEN " AND xact_start IS NOT NULL AND NOT (usename = current_user AND application_name LIKE 'millrace%') ORDER BY xact_start LIMIT 1) open ON true "
    "LEFT JOIN LATERAL (SELECT count(*) AS n, max(extract(epoch FROM pg_catalog.clock_timestamp() - prepared)::pg_catalog.int8) AS s, "
    "(pg_catalog.array_agg(pg_catalog.quote_literal(gid) ORDER BY prepared))[1] AS gid FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()) prepared ON true";
enum server_cell {
    VERSION, DATABASE, ROLE, SYSTEM, ENCODING, STANDBY, PID, CONNECTIONS, READS_STATS, TRACKS, HIDDEN, UNTRACKED, FEEDBACK, PAUSED, STREAMS, DELAY, BEHIND, OPEN_S, OPEN_PID, OPEN_ROLE, OPEN_STATE, OPEN_NAME,
    IDLE, STATEMENT, TRANSACTION, PREPARED, PREPARED_S, PREPARED_GID, AGE
};

bool pg_facts_server(struct pg_asking *a, struct pg_server_facts *f)
{
    *f = (struct pg_server_facts){.open_s = -1};
    take_connection(a->pq, f);
    PGresult *r = pg_ask(a, PG_PATH_OWN, server_sql);
    if (!r)
        return false;
    pg_cell_text(r, VERSION, f->version, sizeof f->version);
    pg_cell_text(r, DATABASE, f->database, sizeof f->database);
    pg_cell_text(r, ROLE, f->role, sizeof f->role);
    pg_cell_text(r, SYSTEM, f->system, sizeof f->system);
    pg_cell_text(r, ENCODING, f->encoding, sizeof f->encoding);
    f->standby = pg_cell_flag(r, STANDBY);
    f->pooled = pg_cell_i64(r, PID, 0) != PQbackendPID(a->pq);
    f->connections = pg_cell_i64(r, CONNECTIONS, -1);
    f->reads_stats = pg_cell_flag(r, READS_STATS);
    f->tracks = pg_cell_flag(r, TRACKS);
    f->hidden = pg_cell_i64(r, HIDDEN, 0);
    f->untracked = pg_cell_i64(r, UNTRACKED, 0);
    f->feedback = pg_cell_flag(r, FEEDBACK);
    f->paused = pg_cell_flag(r, PAUSED);
    f->streams = pg_cell_flag(r, STREAMS);
    f->streaming_delay_ms = pg_cell_i64(r, DELAY, -1);
    f->behind_s = pg_cell_i64(r, BEHIND, -1);
    f->open_s = pg_cell_i64(r, OPEN_S, -1);
    f->open_pid = pg_cell_i64(r, OPEN_PID, 0);
    pg_cell_text(r, OPEN_ROLE, f->open_role, sizeof f->open_role);
    pg_cell_text(r, OPEN_STATE, f->open_state, sizeof f->open_state);
    pg_cell_text(r, OPEN_NAME, f->open_name, sizeof f->open_name);
    f->idle_ms = pg_cell_i64(r, IDLE, 0);
    f->statement_ms = pg_cell_i64(r, STATEMENT, 0);
    f->transaction_ms = pg_cell_i64(r, TRANSACTION, 0);
    f->prepared = pg_cell_i64(r, PREPARED, 0);
    f->prepared_s = pg_cell_i64(r, PREPARED_S, 0);
    pg_cell_text(r, PREPARED_GID, f->prepared_gid, sizeof f->prepared_gid);
    f->age = pg_cell_i64(r, AGE, 0);
    PQclear(r);
    return true;
}
