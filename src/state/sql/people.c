/* SPDX-License-Identifier: Apache-2.0 */
/* people.c - positions and kept rows to look at, and what a person changes beside a running server. */
#include "state/sql/sql.h"

#include "millrace/json.h"

static void read_positions(struct mr_db *db, struct mr_call *call, struct mr_stmt *q)
{
    while (mr_sql_row(db, q)) {
        struct mr_position *p = mr_call_item(call, sizeof *p);
        p->source = mr_sql_str(call, q, 0);
        p->stream = mr_sql_str(call, q, 1);
        p->part = mr_sql_str(call, q, 2);
        p->version = mr_sql_i64(q, 3);
        p->value = mr_sql_str(call, q, 4);
        p->changed_us = mr_sql_time(q, 5);
    }
}

void mr_run_position(struct mr_db *db, struct mr_call *call)
{
    read_positions(db, call,
                   mr_sql(db,
                          "SELECT source, stream, part, version, value, changed FROM positions WHERE source = ? AND "
                          "stream = ? AND part = ?",
                          "eee", call->source, call->stream, call->part));
}

void mr_run_positions(struct mr_db *db, struct mr_call *call)
{
    if (call->source.p)
        read_positions(db, call,
                       mr_sql(db,
                              "SELECT source, stream, part, version, value, changed FROM positions WHERE source = ? "
                              "ORDER BY source, stream, part",
                              "s", call->source));
    else
        read_positions(
            db, call,
            mr_sql(db,
                   "SELECT source, stream, part, version, value, changed FROM positions ORDER BY source, stream, part",
                   ""));
}

void mr_run_rows(struct mr_db *db, struct mr_call *call)
{
    struct mr_stmt *q = call->rows_kind.p ? mr_sql(db,
                                                 "SELECT stream, kind, key, value, version FROM source_rows WHERE "
                                                 "source = ? AND stream = ? AND kind = ? AND key > ?"
                                                 " ORDER BY key LIMIT ?",
                                                 "eesei", call->source, call->stream, call->rows_kind, call->after,
                                                 (int64_t)call->limit)
                                        : mr_sql(db,
                                                 "SELECT stream, kind, key, value, version FROM source_rows WHERE "
                                                 "source = ? AND stream = ? AND key > ?"
                                                 " ORDER BY key, kind LIMIT ?",
                                                 "eeei", call->source, call->stream, call->after, (int64_t)call->limit);
    while (mr_sql_row(db, q)) {
        struct mr_kept_row *r = mr_call_item(call, sizeof *r);
        r->stream = mr_sql_str(call, q, 0);
        r->kind = mr_sql_str(call, q, 1);
        r->key = mr_sql_str(call, q, 2);
        r->value = mr_sql_str(call, q, 3);
        r->version = mr_sql_i64(q, 4);
    }
}

static void position_delete(struct mr_db *db, struct mr_call *call)
{
    if (mr_sql_run(
            db, "DELETE FROM positions WHERE source = ?1 AND stream = coalesce(?2, stream) AND part = coalesce(?3, part)",
            "ess", call->source, call->stream, call->part) == MR_OK &&
        mr_db_changes(db) == 0)
        mr_err_set(db->err, MR_ENOENT, "%s%s%s has no position%s%s", call->source.p, call->stream.p ? "/" : "",
                   call->stream.p ? call->stream.p : "", call->part.p ? " for part " : "",
                   call->part.p ? call->part.p : "");
}

void mr_run_position_set(struct mr_db *db, struct mr_call *call)
{
    if (!call->value.p) {
        position_delete(db, call);
        return;
    }
    if (mr_json_check(call->value, db->err) != MR_OK) {
        mr_err_wrap(db->err, "the new position is not JSON");
        return;
    }
    enum mr_code code = mr_sql_run(
        db,
        "INSERT INTO positions(source, stream, part, version, value, changed) VALUES(?, ?, ?, 1, ?, ?)"
        " ON CONFLICT(source, stream, part) DO UPDATE SET version = positions.version + 1, value = excluded.value, changed = excluded.changed",
        "eeest", call->source, call->stream, call->part, call->value, mr_db_now(db));
    (void)code;
}

void mr_run_pause(struct mr_db *db, struct mr_call *call)
{
    enum mr_code code = call->flag
                            ? mr_sql_run(db, "INSERT INTO paused(source, since) VALUES(?, ?) ON CONFLICT DO NOTHING",
                                         "et", call->source, mr_db_now(db))
                            : mr_sql_run(db, "DELETE FROM paused WHERE source = ?", "e", call->source);
    (void)code;
}

void mr_run_paused(struct mr_db *db, struct mr_call *call)
{
    struct mr_stmt *q = mr_sql(db, "SELECT source FROM paused ORDER BY source", "");
    while (mr_sql_row(db, q)) {
        struct mr_str *source = mr_call_item(call, sizeof *source);
        *source = mr_sql_str(call, q, 0);
    }
}
