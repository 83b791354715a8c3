/* SPDX-License-Identifier: Apache-2.0 */
/* keep.c - retention, in slices of a few milliseconds, so that a decision never waits for the whole of it.
 *
 * What is kept whatever its age: landings that are not published (their staged files, or their replay, hang on the
 * row), the newest landing of each source and run of each stream (status shows them), open alerts, living instances;
 * and the newest table of ids, however many it holds. */
#include "state/sqlite/sqlite.h"

#include "state/sqlite/filter.h"

#include <stdio.h>

enum { SLICE_ROWS = 500 };
enum phase { LANDINGS, RUNS, ALERTS, INSTANCES, SEEN_OLD, SEEN_MANY, PHASES };

static int64_t delete_slice(struct mr_db *db, const char *text, int64_t before)
{
    return mr_sql_run(db, text, "ti", before, (int64_t)SLICE_ROWS) == MR_OK ? mr_db_changes(db) : 0;
}

static int64_t delete_landings(struct mr_db *db, int64_t before)
{
    static const char doomed[] = "CREATE TEMP TABLE IF NOT EXISTS doomed(number INTEGER PRIMARY KEY)";
    if (mr_db_exec(db, doomed) != MR_OK || mr_db_exec(db, "DELETE FROM temp.doomed") != MR_OK)
        return 0;
    int64_t n = delete_slice(
        db,
        "INSERT INTO temp.doomed SELECT number FROM main.landings l WHERE decided < ?1 AND state = 'published'"
        " AND number < (SELECT max(number) FROM main.landings n WHERE n.source = l.source)"
        /* numbers follow the clock: nothing is looked at behind the first young one */
        " AND number < ifnull((SELECT number FROM main.landings WHERE decided >= ?1 ORDER BY number LIMIT 1), 9e18) "
        "ORDER BY number LIMIT ?2",
        before);
    if (n == 0 ||
        mr_sql_run(db, "DELETE FROM main.files WHERE landing IN (SELECT number FROM temp.doomed)", "") != MR_OK)
        return 0;
    n += mr_db_changes(db);
    if (mr_sql_run(db, "DELETE FROM main.landings WHERE number IN (SELECT number FROM temp.doomed)", "") != MR_OK)
        return 0;
    return n;
}

/* Of the oldest table, or of none if it is not to go. */
static int32_t doomed_day(struct mr_db *db, const struct mr_keep *keep, enum phase phase)
{
    int32_t oldest = MR_NO_DAY;
    int64_t tables = mr_sql_int(db, 0, "SELECT count(*) FROM seen_days", "");
    int64_t ids = mr_sql_int(db, 0, "SELECT sum(ids) FROM seen_days", "");
    sqlite3_stmt *q = mr_sql(db, "SELECT min(day) FROM seen_days", "");
    if (mr_sql_row(db, q)) {
        oldest = mr_sql_day(q, 0);
        mr_sql_end(q);
    }
    if (oldest == MR_NO_DAY)
        return MR_NO_DAY;
    if (phase == SEEN_OLD)
        return oldest < keep->seen_before_day ? oldest : MR_NO_DAY;
    return tables > 1 && keep->seen_max_ids && (uint64_t)ids > keep->seen_max_ids ? oldest : MR_NO_DAY;
}

static int64_t drop_day(struct mr_db *db, struct mr_call *call, enum phase phase)
{
    char table[16], text[64];
    int32_t day = doomed_day(db, &call->keep, phase);
    if (day == MR_NO_DAY)
        return 0;
    int64_t ids = mr_sql_int(db, 0, "SELECT ids FROM seen_days WHERE day = ?", "d", day);
    mr_seen_table(day, table);
    snprintf(text, sizeof text, "DROP TABLE %s", table);
    mr_db_forget_days(db);
    if (mr_db_exec(db, text) != MR_OK || mr_sql_run(db, "DELETE FROM seen_days WHERE day = ?", "d", day) != MR_OK)
        return 0;
    if (db->filter)
        mr_filter_drop(db->filter, day);
    if (phase == SEEN_MANY)
        call->kept.seen_shortened_to = day + 1;
    return ids ? ids : 1;
}

static int64_t slice(struct mr_db *db, struct mr_call *call)
{
    int64_t before = call->keep.before_us;
    switch ((enum phase)call->phase) {
    case LANDINGS:
        return delete_landings(db, before);
    case RUNS:
        return delete_slice(
            db,
            "DELETE FROM runs WHERE id IN (SELECT id FROM runs r WHERE ended < ?1"
            " AND id < (SELECT max(id) FROM runs n WHERE n.source = r.source AND n.stream = r.stream)"
            " AND id < ifnull((SELECT id FROM runs WHERE ended >= ?1 ORDER BY id LIMIT 1), 9e18) ORDER BY id LIMIT ?2)",
            before);
    case ALERTS:
        return delete_slice(db,
                            "DELETE FROM alerts WHERE (name, source, stream, opened) IN (SELECT name, source, stream, "
                            "opened FROM alerts WHERE closed < ? LIMIT ?)",
                            before);
    case INSTANCES:
        return delete_slice(
            db,
            "DELETE FROM instances WHERE id IN (SELECT id FROM instances i WHERE ended < ?"
            " AND NOT EXISTS (SELECT 1 FROM landings WHERE state = 'decided' AND instance = i.id) LIMIT ?)",
            before);
    case SEEN_OLD:
    case SEEN_MANY:
        return drop_day(db, call, (enum phase)call->phase);
    case PHASES:
        break;
    }
    return 0;
}

bool mr_run_keep(struct mr_db *db, struct mr_call *call)
{
    if (mr_db_exec(db, "BEGIN IMMEDIATE") != MR_OK)
        return false;
    struct mr_kept before = call->kept;
    int64_t gone = slice(db, call);
    if (mr_db_code(db) != MR_OK || mr_db_exec(db, "COMMIT") != MR_OK) {
        mr_db_forget_days(db);
        sqlite3_exec(db->h, "ROLLBACK", NULL, NULL, NULL);
        call->kept = before;
        return false;
    }
    call->kept.rows_deleted += gone;
    if (gone == 0)
        call->phase++;
    return call->phase < PHASES;
}
