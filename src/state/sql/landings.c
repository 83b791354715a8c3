/* SPDX-License-Identifier: Apache-2.0 */
/* landings.c - what was decided: told published or lost, and read back with its files. */
#include "state/sql/sql.h"

#define COLUMNS "number, decided, landing, source, run, instance, state, ingest_date, moves"

void mr_run_published(struct mr_db *db, struct mr_call *call)
{
    int64_t now = mr_db_now(db);
    for (size_t i = 0; i < call->numbers_count; i++)
        if (mr_sql_run(db,
                       "UPDATE landings SET state = 'published', published = ? WHERE number = ? AND state = 'decided'",
                       "ti", now, call->numbers[i]) != MR_OK)
            return;
}

void mr_run_lost(struct mr_db *db, struct mr_call *call)
{
    enum mr_code code =
        mr_sql_run(db, "UPDATE landings SET state = 'lost' WHERE number = ? AND state = 'decided'", "i", call->number);
    (void)code;
}

void mr_run_replayed(struct mr_db *db, struct mr_call *call)
{
    /* its records lie in another landing's files now; its own never appeared */
    if (mr_sql_run(db, "DELETE FROM files WHERE landing IN (SELECT number FROM landings WHERE number = ? AND state = 'lost')", "i",
                   call->number) != MR_OK)
        return;
    enum mr_code code = mr_sql_run(db, "UPDATE landings SET state = 'published', published = ? WHERE number = ? AND state = 'lost'", "ti",
                                   mr_db_now(db), call->number);
    (void)code;
}

static void read_files(struct mr_db *db, struct mr_call *call, struct mr_landing_row *l)
{
    size_t cap = (size_t)mr_sql_int(db, 0, "SELECT count(*) FROM files WHERE landing = ?", "i", l->number);
    struct mr_zone_file *files = mr_call_alloc(call, (cap ? cap : 1) * sizeof *files);
    struct mr_stmt *q =
        mr_sql(db, "SELECT stream, path, staged, rows, bytes, crc32c FROM files WHERE landing = ? ORDER BY path", "i",
               l->number);
    /* the caller's statement is under way, so both queries see the same moment */
    while (l->files_count < cap && mr_sql_row(db, q)) {
        files[l->files_count++] = (struct mr_zone_file){
            .stream = mr_sql_str(call, q, 0),
            .path = mr_sql_str(call, q, 1),
            .staged = mr_sql_str(call, q, 2),
            .rows = mr_sql_i64(q, 3),
            .bytes = mr_sql_i64(q, 4),
            .crc32c = (uint32_t)mr_sql_i64(q, 5),
        };
    }
    mr_sql_end(q);
    l->files = files;
}

static void read_landings(struct mr_db *db, struct mr_call *call, struct mr_stmt *q)
{
    while (mr_sql_row(db, q)) {
        struct mr_landing_row *l = mr_call_item(call, sizeof *l);
        l->number = mr_sql_i64(q, 0);
        l->decided_us = mr_sql_time(q, 1);
        l->landing = mr_sql_str(call, q, 2);
        l->source = mr_sql_str(call, q, 3);
        l->run = mr_sql_str(call, q, 4);
        l->instance = mr_sql_str(call, q, 5);
        l->state = mr_sql_str(call, q, 6);
        l->day = mr_sql_day(q, 7);
        l->moves = mr_sql_str(call, q, 8);
        read_files(db, call, l);
    }
}

void mr_run_unpublished(struct mr_db *db, struct mr_call *call)
{
    /* an instance whose row is gone has ended long ago */
    read_landings(
        db, call,
        mr_sql(db,
               "SELECT " COLUMNS " FROM landings WHERE state = 'decided' AND (instance = ? OR NOT EXISTS"
               " (SELECT 1 FROM instances i WHERE i.id = landings.instance AND i.ended IS NULL)) ORDER BY number",
               "c", call->instance.id));
}

void mr_run_lost_landings(struct mr_db *db, struct mr_call *call)
{
    read_landings(db, call, mr_sql(db, "SELECT " COLUMNS " FROM landings WHERE state = 'lost' ORDER BY number", ""));
}

void mr_run_landings(struct mr_db *db, struct mr_call *call)
{
    if (call->landing.p)
        read_landings(db, call, mr_sql(db, "SELECT " COLUMNS " FROM landings WHERE landing = ?", "s", call->landing));
    else
        read_landings(db, call,
                      mr_sql(db, "SELECT " COLUMNS " FROM landings WHERE number > ? ORDER BY number LIMIT ?", "ii",
                             call->number, (int64_t)call->limit));
}
