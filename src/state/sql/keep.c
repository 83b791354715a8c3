/* SPDX-License-Identifier: Apache-2.0 */
/* keep.c - retention, in slices of a few milliseconds, so that a decision never waits for the whole of it.
 *
 * What is kept whatever its age: landings that are not published (their staged files, or their replay, hang on the
 * row), the newest landing of each source and run of each stream (status shows them), open alerts, living instances;
 * and the newest table of ids, however many it holds. */
#include "state/sql/sql.h"

enum { SLICE_ROWS = 500 };
enum phase { LANDINGS, RUNS, ALERTS, INSTANCES, SEEN_OLD, SEEN_MANY, PHASES };

static int64_t delete_slice(struct mr_db *db, const char *text, int64_t before)
{
    return mr_sql_run(db, text, "ti", before, (int64_t)SLICE_ROWS) == MR_OK ? mr_db_changes(db) : 0;
}

/* Of at most SLICE_ROWS landings; asked for twice in one transaction, which changes nothing of what it asks for. */
#define DOOMED                                                                                                         \
    "(SELECT number FROM landings l WHERE decided < ?1 AND state = 'published'"                                        \
    " AND number < (SELECT max(number) FROM landings n WHERE n.source = l.source)" /* numbers follow the clock: */     \
    " AND number < coalesce((SELECT number FROM landings WHERE decided >= ?1 ORDER BY number LIMIT 1), "               \
    "9000000000000000000) ORDER BY number LIMIT ?2)"

static int64_t delete_landings(struct mr_db *db, int64_t before)
{
    int64_t files = delete_slice(db, "DELETE FROM files WHERE landing IN " DOOMED, before);
    return mr_db_code(db) == MR_OK ? files + delete_slice(db, "DELETE FROM landings WHERE number IN " DOOMED, before) : 0;
}

static int64_t drop_day(struct mr_db *db, struct mr_call *call, enum phase phase)
{
    const struct mr_keep *keep = &call->keep;
    int32_t oldest = MR_NO_DAY;
    int64_t tables = 0, ids = db->ops->seen_ids(db, &oldest, &tables);
    bool many = tables > 1 && keep->seen_max_ids && (uint64_t)ids > keep->seen_max_ids;
    if (oldest == MR_NO_DAY || mr_db_code(db) != MR_OK || !(phase == SEEN_OLD ? oldest < keep->seen_before_day : many))
        return 0;
    int64_t gone = db->ops->seen_drop(db, oldest);
    if (phase == SEEN_MANY && mr_db_code(db) == MR_OK)
        call->kept.seen_shortened_to = oldest + 1;
    return gone ? gone : 1;
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
            " AND id < coalesce((SELECT id FROM runs WHERE ended >= ?1 ORDER BY id LIMIT 1), 9000000000000000000) ORDER BY id LIMIT ?2)",
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
    if (mr_db_exec(db, db->ops->begin) != MR_OK)
        return false;
    struct mr_kept before = call->kept;
    int64_t gone = slice(db, call);
    if (mr_db_commit(db) != MR_OK) {
        call->kept = before;
        return false;
    }
    call->kept.rows_deleted += gone;
    if (gone == 0)
        call->phase++;
    return call->phase < PHASES;
}
