/* SPDX-License-Identifier: Apache-2.0 */
#include "state/sql/sql.h"

#include "millrace/hash.h"

#include <stdio.h>

struct mr_stmt *mr_sql(struct mr_db *db, const char *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct mr_stmt *stmt = db->err->code == MR_OK ? db->ops->bind(db, text, format, &args) : NULL;
    va_end(args);
    return stmt;
}

bool mr_sql_row(struct mr_db *db, struct mr_stmt *stmt)
{
    if (stmt && db->err->code == MR_OK && db->ops->row(db, stmt))
        return true;
    mr_sql_end(stmt);
    return false;
}

void mr_sql_end(struct mr_stmt *stmt)
{
    if (stmt)
        stmt->db->ops->end(stmt);
}

enum mr_code mr_sql_run(struct mr_db *db, const char *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct mr_stmt *stmt = db->err->code == MR_OK ? db->ops->bind(db, text, format, &args) : NULL;
    va_end(args);
    if (mr_sql_row(db, stmt))
        mr_sql_end(stmt);
    return db->err->code;
}

int64_t mr_sql_int(struct mr_db *db, int64_t none, const char *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct mr_stmt *stmt = db->err->code == MR_OK ? db->ops->bind(db, text, format, &args) : NULL;
    va_end(args);
    if (!mr_sql_row(db, stmt))
        return none;
    int64_t value = mr_sql_peek(stmt, 0).p ? mr_sql_i64(stmt, 0) : none;
    mr_sql_end(stmt);
    return value;
}

enum mr_code mr_db_exec(struct mr_db *db, const char *text)
{
    return db->err->code == MR_OK ? db->ops->exec(db, text) : db->err->code;
}

int64_t mr_db_changes(struct mr_db *db)
{
    return db->ops->changes(db);
}

void mr_db_rollback(struct mr_db *db)
{
    struct mr_err unheard = {.code = MR_OK}, *heard = db->err;
    if (db->ops->rolled_back)
        db->ops->rolled_back(db);
    if (!db->ops->in_transaction(db))
        return;
    db->err = &unheard;
    enum mr_code code = db->ops->exec(db, "ROLLBACK");
    (void)code;
    db->err = heard;
}

enum mr_code mr_db_commit(struct mr_db *db)
{
    if (db->err->code == MR_OK && db->ops->commit(db) == MR_COMMIT_DONE)
        return MR_OK;
    mr_db_rollback(db);
    return db->err->code;
}

/* -- columns ------------------------------------------------------------------------------------------------------- */

struct mr_str mr_sql_peek(struct mr_stmt *stmt, int at)
{
    return stmt->db->ops->column(stmt, at);
}

int64_t mr_sql_i64(struct mr_stmt *stmt, int at)
{
    return stmt->db->ops->integer(stmt, at);
}

struct mr_str mr_sql_str(struct mr_call *call, struct mr_stmt *stmt, int at)
{
    return mr_call_copy(call, mr_sql_peek(stmt, at));
}

int64_t mr_sql_time(struct mr_stmt *stmt, int at)
{
    int64_t us;
    return mr_time_parse(mr_sql_peek(stmt, at), &us) ? us : 0;
}

int32_t mr_sql_day(struct mr_stmt *stmt, int at)
{
    int32_t day;
    return mr_day_parse(mr_sql_peek(stmt, at), &day) ? day : MR_NO_DAY;
}

/* -- names --------------------------------------------------------------------------------------------------------- */

void mr_seen_table(int32_t day, char out[16])
{
    char date[11];
    mr_day_text(day, date);
    snprintf(out, 16, "seen_%.4s%.2s%.2s", date, date + 5, date + 8);
}

void mr_store_id_make(char out[37])
{
    unsigned char r[16];
    mr_random(r, sizeof r);
    r[6] = (unsigned char)((r[6] & 0x0f) | 0x40);
    r[8] = (unsigned char)((r[8] & 0x3f) | 0x80);
    snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0], r[1], r[2], r[3],
             r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14], r[15]);
}
