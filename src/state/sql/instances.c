/* SPDX-License-Identifier: Apache-2.0 */
/* instances.c - who may decide. An epoch that has ended never comes back: who finds it ended begins a new row. */
#include "state/sql/sql.h"

#include "millrace/hash.h"

#include <stdio.h>

void mr_run_begin(struct mr_db *db, struct mr_call *call)
{
    unsigned char r[6];
    char stamp[28];
    int64_t now = mr_db_now(db);
    mr_random(r, sizeof r);
    mr_time_text(now, stamp); /* 2026-11-22T21:25:22...: sorted by age in a listing of the staging folder */
    struct mr_instance *me = &call->instance;
    me->epoch = 1;
    snprintf(me->id, sizeof me->id, "%.4s%.2s%.2sT%.2s%.2s%.2s-%02x%02x%02x%02x%02x%02x", stamp, stamp + 5, stamp + 8,
             stamp + 11, stamp + 14, stamp + 17, r[0], r[1], r[2], r[3], r[4], r[5]);
    enum mr_code code = mr_sql_run(db, "INSERT INTO instances(id, epoch, began, alive_until) VALUES(?, 1, ?, ?)", "ctt",
                                   me->id, now, now + call->lease_ms * 1000);
    if (code == MR_OK)
        db->ops->begun(db);
}

enum mr_code mr_check_epoch(struct mr_db *db, const struct mr_instance *instance)
{
    int64_t lives = mr_sql_int(db, 0, "SELECT 1 FROM instances WHERE id = ? AND epoch = ? AND ended IS NULL /*FOR SHARE*/", "ci",
                               instance->id, instance->epoch);
    if (mr_db_code(db) == MR_OK && !lives)
        mr_err_set(db->err, MR_EEPOCH, "epoch %lld of instance %s has ended", (long long)instance->epoch, instance->id);
    return mr_db_code(db);
}

void mr_run_renew(struct mr_db *db, struct mr_call *call)
{
    if (mr_check_epoch(db, &call->instance) != MR_OK)
        return;
    enum mr_code code = mr_sql_run(db, "UPDATE instances SET alive_until = ? WHERE id = ?", "tc",
                                   mr_db_now(db) + call->lease_ms * 1000, (const char *)call->instance.id);
    (void)code;
}

static void end(struct mr_db *db, const char *id, int64_t now)
{
    if (mr_sql_run(db, "UPDATE instances SET epoch = epoch + 1, ended = ? WHERE id = ? AND ended IS NULL", "tc", now, id) != MR_OK)
        return;
    enum mr_code code = mr_sql_run(db, "DELETE FROM stages WHERE instance = ?", "c", id);
    (void)code;
}

void mr_run_end(struct mr_db *db, struct mr_call *call)
{
    if (mr_check_epoch(db, &call->instance) == MR_OK)
        end(db, call->instance.id, mr_db_now(db));
}

static void read_instances(struct mr_db *db, struct mr_call *call, struct mr_stmt *q)
{
    while (mr_sql_row(db, q)) {
        struct mr_instance *one = mr_call_item(call, sizeof *one);
        struct mr_str id = mr_sql_peek(q, 0);
        snprintf(one->id, sizeof one->id, "%.*s", (int)id.n, id.p);
        one->epoch = mr_sql_i64(q, 1);
    }
}

void mr_run_living(struct mr_db *db, struct mr_call *call)
{
    read_instances(db, call, mr_sql(db, "SELECT id, epoch FROM instances WHERE ended IS NULL ORDER BY id", ""));
}

void mr_run_sweep(struct mr_db *db, struct mr_call *call)
{
    int64_t now = mr_db_now(db);
    if (mr_db_exec(db, db->ops->begin) != MR_OK)
        return;
    read_instances(db, call, mr_sql(db, db->ops->dead, "cit", call->instance.id, (int64_t)call->flag, now));
    struct mr_instance *dead = call->items;
    for (size_t i = 0; i < call->items_count && mr_db_code(db) == MR_OK; i++)
        end(db, dead[i].id, now);
    enum mr_code code = mr_db_commit(db);
    (void)code; /* it is in db->err */
}
