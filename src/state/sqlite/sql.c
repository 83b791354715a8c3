/* SPDX-License-Identifier: Apache-2.0 */
#include "state/sqlite/sql.h"

#include "millrace/fault.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BUSY_MS = 30000,    /* a person's sqlite3 or another command may hold the file; ours hold it for milliseconds */
    CACHE_KIB = 4096,   /* resident memory counts; the page cache of the system holds the rest */
    LOG_LIMIT = 8 << 20 /* bytes of the log kept, so that its blocks are written over and not made anew */
};

/* -- errors -------------------------------------------------------------------------------------------------------- */

static enum mr_code code_of(int rc, int sys)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return MR_ENOSPC;
    case SQLITE_NOMEM:
        return MR_ENOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return MR_EBUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return MR_ECORRUPT;
    case SQLITE_CONSTRAINT:
        return MR_EEXIST;
    case SQLITE_TOOBIG:
        return MR_ETOOBIG;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return MR_EPERM;
    case SQLITE_CANTOPEN:
        if (sys == EACCES || sys == EPERM || sys == EROFS)
            return MR_EPERM;
        break;
    default:
        break;
    }
    return sys == ENOSPC || sys == EDQUOT ? MR_ENOSPC : MR_EIO;
}

enum mr_code mr_db_fail(struct mr_db *db, int rc, const char *what)
{
    if (db->err->code != MR_OK)
        return db->err->code;
    int sys = db->h ? sqlite3_system_errno(db->h) : 0;
    enum mr_code code = code_of(rc, sys);
    const char *said = db->h ? sqlite3_errmsg(db->h) : sqlite3_errstr(rc);
    if (code == MR_ECORRUPT)
        mr_err_set(db->err, code,
                   "state store %s: %s: %s; stop the server, move the file aside and put a copy made by `millrace "
                   "state backup` in its place",
                   db->path, what, said);
    else if (code == MR_EBUSY)
        mr_err_set(db->err, code,
                   "state store %s: %s: another process has been writing to it for %d s; end its transaction", db->path,
                   what, BUSY_MS / 1000);
    else
        mr_err_set(db->err, code, "state store %s: %s: %s%s%s", db->path, what, said, sys ? ": " : "",
                   sys ? strerror(sys) : "");
    db->err->sys = sys;
    return code;
}

/* -- the connection ------------------------------------------------------------------------------------------------ */

static int on_commit(void *arg, sqlite3 *h, const char *name, int pages)
{
    (void)h;
    (void)name;
    ((struct mr_db *)arg)->wal_pages = pages; /* in place of SQLite's own checkpoint, which would hold up the commit */
    return SQLITE_OK;
}

static enum mr_code set_up(struct mr_db *db)
{
    char text[512];
    sqlite3_extended_result_codes(db->h, 1);
    sqlite3_busy_timeout(db->h, BUSY_MS);
    sqlite3_wal_hook(db->h, on_commit, db);
    /* a file's own triggers and views may call nothing that is not harmless: the file is the user's to edit */
    sqlite3_db_config(db->h, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db->h, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    /* secure_delete: some builds of SQLite write zeros over each page of a dropped table, through the log; FAST does so
     * where the page is written anyway */
    snprintf(text, sizeof text,
             "PRAGMA cache_size=-%d; PRAGMA journal_size_limit=%d; PRAGMA synchronous=%s; PRAGMA temp_store=MEMORY; "
             "PRAGMA secure_delete=FAST",
             CACHE_KIB, LOG_LIMIT, MR_MUTANT(no_sync) ? "OFF" : "FULL");
    return mr_db_exec(db, text);
}

static enum mr_code connect_to(struct mr_db *db, int mode)
{
    int rc = sqlite3_open_v2(db->path, &db->h, mode | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    return rc == SQLITE_OK ? set_up(db) : mr_db_fail(db, rc, "open");
}

static void disconnect(struct mr_db *db)
{
    mr_db_forget_days(db);
    for (size_t i = 0; i < MR_SQL_STATEMENTS; i++)
        sqlite3_finalize(db->statements[i].stmt);
    memset(db->statements, 0, sizeof db->statements);
    int rc = sqlite3_close(db->h);
    assert(rc == SQLITE_OK); /* else a statement of ours is left */
    db->h = NULL;
    db->wal_pages = 0;
}

enum mr_code mr_db_open(struct mr_db *db, const char *path, bool readonly, struct mr_err *err)
{
    char *copy = strdup(path);
    assert(copy);
    *db = (struct mr_db){.path = copy, .err = err};
    if (connect_to(db, readonly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) != MR_OK)
        mr_db_close(db);
    return err->code;
}

enum mr_code mr_db_reopen(struct mr_db *db)
{
    disconnect(db);
    if (connect_to(db, SQLITE_OPEN_READWRITE) != MR_OK)
        disconnect(db);
    return db->err->code;
}

bool mr_db_is_open(const struct mr_db *db)
{
    return db->h != NULL;
}

void mr_db_close(struct mr_db *db)
{
    disconnect(db);
    free(db->path);
    db->path = NULL;
}

enum mr_code mr_db_exec(struct mr_db *db, const char *text)
{
    int rc = sqlite3_exec(db->h, text, NULL, NULL, NULL);
    return rc == SQLITE_OK ? MR_OK : mr_db_fail(db, rc, text);
}

int64_t mr_db_changes(struct mr_db *db)
{
    return sqlite3_changes64(db->h);
}

/* -- statements ---------------------------------------------------------------------------------------------------- */

static sqlite3_stmt *prepare(struct mr_db *db, const char *text)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v3(db->h, text, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    if (rc != SQLITE_OK)
        mr_db_fail(db, rc, text);
    return stmt;
}

static sqlite3_stmt *cached(struct mr_db *db, const char *text)
{
    size_t at = (size_t)((uintptr_t)text * UINT64_C(0x9E3779B97F4A7C15) >> 32) % MR_SQL_STATEMENTS;
    for (size_t tries = 0; tries < MR_SQL_STATEMENTS; tries++, at = (at + 1) % MR_SQL_STATEMENTS) {
        if (db->statements[at].text == text && db->statements[at].stmt)
            return db->statements[at].stmt;
        if (!db->statements[at].stmt) {
            db->statements[at].text = text;
            return db->statements[at].stmt = prepare(db, text);
        }
    }
    assert(db->statements[at].stmt == NULL); /* MR_SQL_STATEMENTS is too small */
    return NULL;
}

static int bind_text(sqlite3_stmt *stmt, int at, const char *p, size_t n, sqlite3_destructor_type life)
{
    return p ? sqlite3_bind_text64(stmt, at, p, n, life, SQLITE_UTF8) : sqlite3_bind_null(stmt, at);
}

static int bind_time(sqlite3_stmt *stmt, int at, int64_t us)
{
    char text[28];
    if (us == 0 || us == MR_NO_TIME)
        return sqlite3_bind_null(stmt, at);
    mr_time_text(us, text);
    return bind_text(stmt, at, text, strlen(text), SQLITE_TRANSIENT);
}

static int bind_day(sqlite3_stmt *stmt, int at, int32_t day)
{
    char text[11];
    if (day == MR_NO_DAY)
        return sqlite3_bind_null(stmt, at);
    mr_day_text(day, text);
    return bind_text(stmt, at, text, strlen(text), SQLITE_TRANSIENT);
}

static int bind_one(sqlite3_stmt *stmt, int at, char letter, va_list *args)
{
    struct mr_str s;
    switch (letter) {
    case 's':
        s = va_arg(*args, struct mr_str);
        return bind_text(stmt, at, s.p, s.n, SQLITE_STATIC);
    case 'e':
        s = va_arg(*args, struct mr_str);
        return bind_text(stmt, at, s.p ? s.p : "", s.n, SQLITE_STATIC);
    case 'c':
        s = mr_str_c(va_arg(*args, const char *));
        return bind_text(stmt, at, s.p, s.n, SQLITE_STATIC);
    case 'i':
        return sqlite3_bind_int64(stmt, at, va_arg(*args, int64_t));
    case 't':
        return bind_time(stmt, at, va_arg(*args, int64_t));
    case 'd':
        return bind_day(stmt, at, va_arg(*args, int32_t));
    default:
        return SQLITE_MISUSE;
    }
}

static sqlite3_stmt *bound(struct mr_db *db, const char *text, const char *format, va_list *args)
{
    if (db->err->code != MR_OK)
        return NULL;
    sqlite3_stmt *stmt = cached(db, text);
    if (!stmt)
        return NULL;
    assert(strlen(format) == (size_t)sqlite3_bind_parameter_count(stmt));
    for (int i = 0; format[i]; i++) {
        int rc = bind_one(stmt, i + 1, format[i], args);
        if (rc != SQLITE_OK) {
            mr_db_fail(db, rc, text);
            return NULL;
        }
    }
    return stmt;
}

sqlite3_stmt *mr_sql(struct mr_db *db, const char *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    sqlite3_stmt *stmt = bound(db, text, format, &args);
    va_end(args);
    return stmt;
}

void mr_sql_end(sqlite3_stmt *stmt)
{
    if (stmt) {
        sqlite3_reset(stmt);
        sqlite3_clear_bindings(stmt); /* they borrow memory that goes */
    }
}

bool mr_sql_row(struct mr_db *db, sqlite3_stmt *stmt)
{
    if (!stmt || db->err->code != MR_OK) {
        mr_sql_end(stmt);
        return false;
    }
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        return true;
    if (rc != SQLITE_DONE)
        mr_db_fail(db, rc, sqlite3_sql(stmt));
    mr_sql_end(stmt);
    return false;
}

enum mr_code mr_sql_run(struct mr_db *db, const char *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    sqlite3_stmt *stmt = bound(db, text, format, &args);
    va_end(args);
    if (mr_sql_row(db, stmt))
        mr_sql_end(stmt);
    return db->err->code;
}

int64_t mr_sql_int(struct mr_db *db, int64_t none, const char *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    sqlite3_stmt *stmt = bound(db, text, format, &args);
    va_end(args);
    if (!mr_sql_row(db, stmt))
        return none;
    int64_t value = sqlite3_column_type(stmt, 0) == SQLITE_NULL ? none : sqlite3_column_int64(stmt, 0);
    mr_sql_end(stmt);
    return value;
}

/* -- columns ------------------------------------------------------------------------------------------------------- */

static struct mr_str column(sqlite3_stmt *stmt, int at)
{
    const char *p = (const char *)sqlite3_column_text(stmt, at);
    return (struct mr_str){p, p ? (size_t)sqlite3_column_bytes(stmt, at) : 0};
}

struct mr_str mr_sql_str(struct mr_call *call, sqlite3_stmt *stmt, int at)
{
    return mr_call_copy(call, column(stmt, at));
}

int64_t mr_sql_time(sqlite3_stmt *stmt, int at)
{
    int64_t us;
    return mr_time_parse(column(stmt, at), &us) ? us : 0;
}

int32_t mr_sql_day(sqlite3_stmt *stmt, int at)
{
    int32_t day;
    return mr_day_parse(column(stmt, at), &day) ? day : MR_NO_DAY;
}

/* -- the tables of seen ids ---------------------------------------------------------------------------------------- */

void mr_seen_table(int32_t day, char out[16])
{
    char date[11];
    mr_day_text(day, date);
    snprintf(out, 16, "seen_%.4s%.2s%.2s", date, date + 5, date + 8);
}

static sqlite3_stmt *prepare_day(struct mr_db *db, const char *before, int32_t day, const char *behind)
{
    char table[16], text[160];
    mr_seen_table(day, table);
    snprintf(text, sizeof text, "%s %s %s", before, table, behind);
    return prepare(db, text);
}

static void day_end(struct mr_db_day *d)
{
    sqlite3_finalize(d->insert);
    sqlite3_finalize(d->find);
}

static struct mr_db_day *day_room(struct mr_db *db)
{
    if (db->days_count < MR_SQL_DAYS)
        return &db->days[db->days_count++];
    struct mr_db_day *oldest = &db->days[0];
    for (size_t i = 1; i < MR_SQL_DAYS; i++)
        if (db->days[i].asked < oldest->asked)
            oldest = &db->days[i];
    day_end(oldest);
    return oldest;
}

struct mr_db_day *mr_db_day(struct mr_db *db, int32_t day)
{
    for (size_t i = 0; i < db->days_count; i++) {
        if (db->days[i].day == day) {
            db->days[i].asked = ++db->asked;
            return &db->days[i];
        }
    }
    struct mr_db_day d = {
        .day = day,
        .asked = ++db->asked,
        .insert = prepare_day(db, "INSERT INTO", day, "(id, body) VALUES(?, ?) ON CONFLICT DO NOTHING"),
        .find = prepare_day(db, "SELECT body FROM", day, "WHERE id = ?"),
    };
    if (!d.insert || !d.find) {
        day_end(&d);
        return NULL;
    }
    struct mr_db_day *room = day_room(db);
    *room = d;
    return room;
}

void mr_db_forget_days(struct mr_db *db)
{
    for (size_t i = 0; i < db->days_count; i++)
        day_end(&db->days[i]);
    db->days_count = 0;
}
