/* SPDX-License-Identifier: Apache-2.0 */
/* uploads.c - what is staged as an upload: written down before it is there, so that whoever comes after its process can end it. */
#include "state/sql/sql.h"

enum { LIST_MAX = 1000 };

/* A request that was sent before its process ended, or lost its epoch, has been acted on by then, or never will be. */
static const int64_t SETTLED_US = INT64_C(15) * 60 * 1000000;

void mr_run_upload(struct mr_db *db, struct mr_call *call)
{
    if (call->value.n == 0 && !call->flag && mr_check_epoch(db, &call->instance) != MR_OK)
        return;
    enum mr_code code = mr_sql_run(db,
                                   "INSERT INTO uploads(path, landing, instance, upload, noted) VALUES(?, ?, ?, ?, ?)"
                                   " ON CONFLICT(path) DO UPDATE SET upload = excluded.upload, instance = excluded.instance, noted = excluded.noted",
                                   "eecet", call->paths[0], call->landing, call->flag ? "" : (const char *)call->instance.id, call->value, mr_db_now(db));
    (void)code; /* it is in db->err */
}

void mr_run_uploads_gone(struct mr_db *db, struct mr_call *call)
{
    for (size_t i = 0; i < call->paths_count && mr_db_code(db) == MR_OK; i++) {
        enum mr_code code = mr_sql_run(db, "DELETE FROM uploads WHERE path = ?", "s", call->paths[i]);
        (void)code;
    }
}

void mr_run_uploads(struct mr_db *db, struct mr_call *call)
{
    /* one that was given up has no instance; one whose row is gone has ended long ago */
    struct mr_stmt *q = mr_sql(db,
                               "SELECT u.landing, u.path, u.upload, CASE WHEN coalesce(i.ended, u.noted) < ? THEN 1 ELSE 0 END FROM uploads u LEFT JOIN instances i ON i.id = u.instance"
                               " WHERE i.id IS NULL OR i.ended IS NOT NULL ORDER BY u.path LIMIT ?",
                               "ti", mr_db_now(db) - SETTLED_US, (int64_t)LIST_MAX);
    while (mr_sql_row(db, q)) {
        struct mr_upload *u = mr_call_item(call, sizeof *u);
        u->landing = mr_sql_str(call, q, 0);
        u->path = mr_sql_str(call, q, 1);
        u->id = mr_sql_str(call, q, 2);
        u->settled = mr_sql_i64(q, 3) != 0;
    }
}
