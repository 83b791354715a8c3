/* SPDX-License-Identifier: Apache-2.0 */
/* runs.c - what a person wants to read afterwards: runs of a source, and alerts. */
#include "state/sql/sql.h"

static bool empty(const struct mr_run *r)
{
    return r->rows == 0 && r->bytes == 0 && r->error.n == 0;
}

/* A pull every second that finds nothing is one row with a count, not 86,400 a day. */
static bool coalesced(struct mr_db *db, const struct mr_run *r)
{
    if (!empty(r))
        return false;
    if (mr_sql_run(db,
                   "UPDATE runs SET ended = ?, bounds = ?, repeats = repeats + 1 WHERE id = (SELECT max(id) FROM runs "
                   "WHERE source = ? AND stream = ?)"
                   " AND rows = 0 AND bytes = 0 AND coalesce(error, '') = '' AND outcome = ?",
                   "tseee", r->ended_us, r->bounds, r->source, r->stream, r->outcome) != MR_OK)
        return false;
    return mr_db_changes(db) == 1;
}

void mr_run_run(struct mr_db *db, struct mr_call *call)
{
    const struct mr_run *r = &call->run;
    if (coalesced(db, r) || mr_db_code(db) != MR_OK)
        return;
    enum mr_code code = mr_sql_run(db,
                                   "INSERT INTO runs(source, stream, started, ended, outcome, rows, bytes, bounds, "
                                   "error) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
                                   "eetteiiss", r->source, r->stream, r->started_us, r->ended_us, r->outcome, r->rows,
                                   r->bytes, r->bounds, r->error);
    (void)code;
}

#define COLUMNS "SELECT source, stream, outcome, error, started, ended, rows, bytes, bounds FROM runs"

void mr_run_last_runs(struct mr_db *db, struct mr_call *call)
{
    struct mr_stmt *q =
        call->source.p
            ? mr_sql(db, COLUMNS " WHERE id IN (SELECT max(id) FROM runs WHERE source = ? GROUP BY stream) ORDER BY source, stream", "s", call->source)
            : mr_sql(db, COLUMNS " WHERE id IN (SELECT max(id) FROM runs GROUP BY source, stream) ORDER BY source, stream", "");
    while (mr_sql_row(db, q)) {
        struct mr_run *r = mr_call_item(call, sizeof *r);
        r->source = mr_sql_str(call, q, 0);
        r->stream = mr_sql_str(call, q, 1);
        r->outcome = mr_sql_str(call, q, 2);
        r->error = mr_sql_str(call, q, 3);
        r->started_us = mr_sql_time(q, 4);
        r->ended_us = mr_sql_time(q, 5);
        r->rows = mr_sql_i64(q, 6);
        r->bytes = mr_sql_i64(q, 7);
        r->bounds = mr_sql_str(call, q, 8);
    }
}

/* -- alerts -------------------------------------------------------------------------------------------------------- */

void mr_run_alert(struct mr_db *db, struct mr_call *call)
{
    const struct mr_alert *a = &call->alert;
    const struct mr_alert_row *row = &mr_alert_rows[a->id];
    enum mr_code code = mr_sql_run(
        db,
        "INSERT INTO alerts(name, source, stream, opened, severity, text, changed, closed, repeats) VALUES(?, ?, ?, ?, "
        "?, ?, ?, ?, ?)"
        " ON CONFLICT(name, source, stream, opened) DO UPDATE SET text = excluded.text, changed = excluded.changed, closed = excluded.closed,"
        " repeats = excluded.repeats",
        "ceetcetti", row->name, mr_str_c(a->source), mr_str_c(a->stream), a->opened_us, row->error ? "error" : "warn",
        mr_str_c(a->text), a->changed_us ? a->changed_us : a->opened_us, a->closed_us, (int64_t)a->repeats);
    (void)code;
}

static bool alert_id(struct mr_str name, enum mr_alert_id *id)
{
    for (size_t i = 0; i < MR_A_COUNT; i++) {
        if (mr_str_eq(name, mr_str_c(mr_alert_rows[i].name))) {
            *id = (enum mr_alert_id)i;
            return true;
        }
    }
    return false; /* a newer or older version's: it stays in the table, nobody here could close it */
}

void mr_run_alerts(struct mr_db *db, struct mr_call *call)
{
    struct mr_stmt *q = mr_sql(
        db,
        "SELECT name, source, stream, text, opened, changed, repeats FROM alerts WHERE closed IS NULL ORDER BY opened",
        "");
    while (mr_sql_row(db, q)) {
        enum mr_alert_id id;
        if (!alert_id(mr_sql_peek(q, 0), &id))
            continue;
        struct mr_alert *a = mr_call_item(call, sizeof *a);
        a->id = id;
        a->source = mr_sql_str(call, q, 1).p;
        a->stream = mr_sql_str(call, q, 2).p;
        a->text = mr_sql_str(call, q, 3).p;
        a->opened_us = mr_sql_time(q, 4);
        a->changed_us = mr_sql_time(q, 5);
        a->repeats = (uint64_t)mr_sql_i64(q, 6);
    }
}
