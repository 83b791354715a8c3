/* SPDX-License-Identifier: Apache-2.0 */
/* seal.c - whole landings that hold their day open, and the one row that closes days for ever. */
#include "state/sql/sql.h"

#include "millrace/fault.h"

static int32_t day_of(struct mr_db *db, struct mr_stmt *q)
{
    int32_t day = MR_NO_DAY;
    if (mr_sql_row(db, q)) {
        day = mr_sql_day(q, 0);
        mr_sql_end(q);
    }
    return day;
}

int32_t mr_sealed_through(struct mr_db *db)
{
    return day_of(db, mr_sql(db, "SELECT value FROM meta WHERE key = 'sealed_through' /*FOR SHARE*/", ""));
}

int32_t mr_sealed_as_of_now(struct mr_db *db)
{
    return day_of(db, mr_sql(db, "SELECT value FROM meta WHERE key = 'sealed_through'", ""));
}

void mr_run_stage_begin(struct mr_db *db, struct mr_call *call)
{
    if (mr_check_epoch(db, &call->instance) != MR_OK)
        return;
    if (call->day <= mr_sealed_through(db)) {
        mr_err_set(db->err, MR_ESEALED, "the day on which landing %s began is sealed", call->landing.p);
        return;
    }
    enum mr_code code =
        mr_sql_run(db, "INSERT INTO stages(landing, instance, source, ingest_date, began) VALUES(?, ?, ?, ?, ?)",
                   "scedt", call->landing, call->instance.id, call->source, call->day, mr_db_now(db));
    (void)code;
}

void mr_run_stage_end(struct mr_db *db, struct mr_call *call)
{
    enum mr_code code = mr_sql_run(db, "DELETE FROM stages WHERE landing = ?", "s", call->landing);
    (void)code;
}

static bool held_open(struct mr_db *db, int32_t day)
{
    int64_t stages = mr_sql_int(db, 0,
                                "SELECT 1 FROM stages s JOIN instances i ON i.id = s.instance WHERE i.ended IS NULL "
                                "AND s.ingest_date <= ? LIMIT 1",
                                "d", day);
    /* || '': by the index of the few that are unpublished, not by the one of all dates */
    int64_t landings =
        mr_sql_int(db, 0, "SELECT 1 FROM landings WHERE state = 'decided' AND ingest_date || '' <= ? LIMIT 1", "d", day);
    return stages || landings;
}

static void seal(struct mr_db *db, struct mr_call *call)
{
    /* FOR UPDATE at once: of two who share the row, neither could write it. */
    int32_t through = day_of(db, mr_sql(db, "SELECT value FROM meta WHERE key = 'sealed_through' /*FOR UPDATE*/", ""));
    if (call->day > through && !(call->blocked = held_open(db, call->day)) && mr_db_code(db) == MR_OK) {
        int sys = MR_POINT(seal_day);
        if (sys)
            mr_err_sys(db->err, sys, "seal a day");
        else if (mr_sql_run(db,
                            "INSERT INTO meta(key, value) VALUES('sealed_through', ?) ON CONFLICT(key) DO UPDATE SET value "
                            "= excluded.value",
                            "d", call->day) == MR_OK)
            through = call->day;
    }
    call->day = through;
}

void mr_run_seal(struct mr_db *db, struct mr_call *call)
{
    if (mr_db_exec(db, db->ops->begin) != MR_OK)
        return;
    seal(db, call);
    enum mr_code code = mr_db_commit(db);
    (void)code; /* it is in db->err */
}

void mr_run_day_counts(struct mr_db *db, struct mr_call *call)
{
    struct mr_stmt *q = mr_sql(
        db,
        "SELECT l.source, f.stream, count(*), sum(f.rows), sum(f.bytes) FROM landings l JOIN files f ON f.landing = "
        "l.number"
        " WHERE l.ingest_date = ? AND l.state = 'published' GROUP BY l.source, f.stream ORDER BY l.source, f.stream",
        "d", call->day);
    while (mr_sql_row(db, q)) {
        struct mr_day_count *c = mr_call_item(call, sizeof *c);
        c->source = mr_sql_str(call, q, 0);
        c->stream = mr_sql_str(call, q, 1);
        c->files = mr_sql_i64(q, 2);
        c->rows = mr_sql_i64(q, 3);
        c->bytes = mr_sql_i64(q, 4);
    }
}
