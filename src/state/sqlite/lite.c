/* SPDX-License-Identifier: Apache-2.0 */
#include "state/sqlite/lite.h"

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

enum mr_code mr_lite_fail(struct mr_lite *l, int rc, const char *what)
{
    if (l->db.err->code != MR_OK)
        return l->db.err->code;
    int sys = l->h ? sqlite3_system_errno(l->h) : 0;
    enum mr_code code = code_of(rc, sys);
    const char *said = l->h ? sqlite3_errmsg(l->h) : sqlite3_errstr(rc);
    if (code == MR_ECORRUPT)
        mr_err_set(l->db.err, code,
                   "state store %s: %s: %s; stop the server, move the file aside and put a copy made by `millrace "
                   "state backup` in its place",
                   l->path, what, said);
    else if (code == MR_EBUSY)
        mr_err_set(l->db.err, code,
                   "state store %s: %s: another process has been writing to it for %d s; end its transaction", l->path,
                   what, BUSY_MS / 1000);
    else
        mr_err_set(l->db.err, code, "state store %s: %s: %s%s%s", l->path, what, said, sys ? ": " : "",
                   sys ? strerror(sys) : "");
    l->db.err->sys = sys;
    return code;
}

/* -- the connection ------------------------------------------------------------------------------------------------ */

static int on_commit(void *arg, sqlite3 *h, const char *name, int pages)
{
    (void)h;
    (void)name;
    ((struct mr_lite *)arg)->wal_pages = pages; /* in place of SQLite's own checkpoint, which would hold up the commit */
    return SQLITE_OK;
}

static enum mr_code set_up(struct mr_lite *l)
{
    char text[512];
    sqlite3_extended_result_codes(l->h, 1);
    sqlite3_busy_timeout(l->h, BUSY_MS);
    sqlite3_wal_hook(l->h, on_commit, l);
    /* a file's own triggers and views may call nothing that is not harmless: the file is the user's to edit */
    sqlite3_db_config(l->h, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(l->h, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    /* secure_delete: some builds of SQLite write zeros over each page of a dropped table, through the log; FAST does so
     * where the page is written anyway */
    snprintf(text, sizeof text,
             "PRAGMA cache_size=-%d; PRAGMA journal_size_limit=%d; PRAGMA synchronous=%s; PRAGMA temp_store=MEMORY; "
             "PRAGMA secure_delete=FAST",
             CACHE_KIB, LOG_LIMIT, MR_MUTANT(no_sync) ? "OFF" : "FULL");
    return mr_db_exec(&l->db, text);
}

static enum mr_code connect_to(struct mr_lite *l, int mode)
{
    int rc = sqlite3_open_v2(l->path, &l->h, mode | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    return rc == SQLITE_OK ? set_up(l) : mr_lite_fail(l, rc, "open");
}

static void disconnect(struct mr_lite *l)
{
    mr_lite_forget_days(l);
    for (size_t i = 0; i < MR_LITE_STATEMENTS; i++)
        sqlite3_finalize(l->statements[i].q);
    memset(l->statements, 0, sizeof l->statements);
    int rc = sqlite3_close(l->h);
    assert(rc == SQLITE_OK); /* else a statement of ours is left */
    l->h = NULL;
    l->wal_pages = 0;
}

enum mr_code mr_lite_open(struct mr_lite *l, const char *path, bool readonly, struct mr_err *err)
{
    size_t n = strlen(path) + sizeof "state store ";
    char *copy = strdup(path), *name = malloc(n);
    assert(copy && name);
    snprintf(name, n, "state store %s", path);
    *l = (struct mr_lite){.db = {.ops = &mr_lite_ops, .err = err, .name = name}, .path = copy, .name = name};
    if (connect_to(l, readonly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) != MR_OK)
        mr_lite_close(l);
    return err->code;
}

enum mr_code mr_lite_reopen(struct mr_lite *l)
{
    disconnect(l);
    if (connect_to(l, SQLITE_OPEN_READWRITE) != MR_OK)
        disconnect(l);
    return l->db.err->code;
}

bool mr_lite_is_open(const struct mr_lite *l)
{
    return l->h != NULL;
}

void mr_lite_close(struct mr_lite *l)
{
    disconnect(l);
    free(l->path);
    free(l->name);
    l->path = l->name = NULL;
}

enum mr_code mr_lite_exec(struct mr_db *db, const char *text)
{
    struct mr_lite *l = mr_lite_of(db);
    int rc = sqlite3_exec(l->h, text, NULL, NULL, NULL);
    return rc == SQLITE_OK ? MR_OK : mr_lite_fail(l, rc, text);
}

int64_t mr_lite_changes(struct mr_db *db)
{
    struct mr_lite *l = mr_lite_of(db);
    return sqlite3_changes64(l->h);
}

/* -- statements ---------------------------------------------------------------------------------------------------- */

static sqlite3_stmt *prepare(struct mr_lite *l, const char *text)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v3(l->h, text, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    if (rc != SQLITE_OK)
        mr_lite_fail(l, rc, text);
    return stmt;
}

static struct mr_lite_stmt *cached(struct mr_lite *l, const char *text)
{
    size_t at = (size_t)((uintptr_t)text * UINT64_C(0x9E3779B97F4A7C15) >> 32) % MR_LITE_STATEMENTS;
    for (size_t tries = 0; tries < MR_LITE_STATEMENTS; tries++, at = (at + 1) % MR_LITE_STATEMENTS) {
        struct mr_lite_stmt *s = &l->statements[at];
        if (s->text == text && s->q)
            return s;
        if (!s->q) {
            *s = (struct mr_lite_stmt){.stmt = {&l->db}, .text = text, .q = prepare(l, text)};
            return s->q ? s : NULL;
        }
    }
    assert(l->statements[at].q == NULL); /* MR_LITE_STATEMENTS is too small */
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

static sqlite3_stmt *q_of(struct mr_stmt *stmt)
{
    return MR_OF(stmt, struct mr_lite_stmt, stmt)->q;
}

struct mr_stmt *mr_lite_bind(struct mr_db *db, const char *text, const char *format, va_list *args)
{
    struct mr_lite *l = mr_lite_of(db);
    struct mr_lite_stmt *s = cached(l, text);
    if (!s)
        return NULL;
    assert(strlen(format) == (size_t)sqlite3_bind_parameter_count(s->q));
    for (int i = 0; format[i]; i++) {
        int rc = bind_one(s->q, i + 1, format[i], args);
        if (rc != SQLITE_OK) {
            mr_lite_fail(l, rc, text);
            return NULL;
        }
    }
    return &s->stmt;
}

void mr_lite_end(struct mr_stmt *stmt)
{
    sqlite3_reset(q_of(stmt));
    sqlite3_clear_bindings(q_of(stmt)); /* they borrow memory that goes */
}

bool mr_lite_row(struct mr_db *db, struct mr_stmt *stmt)
{
    int rc = sqlite3_step(q_of(stmt));
    if (rc == SQLITE_ROW)
        return true;
    if (rc != SQLITE_DONE)
        mr_lite_fail(mr_lite_of(db), rc, sqlite3_sql(q_of(stmt)));
    return false;
}

struct mr_str mr_lite_column(struct mr_stmt *stmt, int at)
{
    const char *p = (const char *)sqlite3_column_text(q_of(stmt), at);
    return (struct mr_str){p, p ? (size_t)sqlite3_column_bytes(q_of(stmt), at) : 0};
}

int64_t mr_lite_integer(struct mr_stmt *stmt, int at)
{
    return sqlite3_column_int64(q_of(stmt), at);
}

/* -- the tables of seen ids ---------------------------------------------------------------------------------------- */

static sqlite3_stmt *prepare_day(struct mr_lite *l, const char *before, int32_t day, const char *behind)
{
    char table[16], text[160];
    mr_seen_table(day, table);
    snprintf(text, sizeof text, "%s %s %s", before, table, behind);
    return prepare(l, text);
}

static void day_end(struct mr_lite_day *d)
{
    sqlite3_finalize(d->insert);
    sqlite3_finalize(d->find);
}

static struct mr_lite_day *day_room(struct mr_lite *l)
{
    if (l->days_count < MR_LITE_DAYS)
        return &l->days[l->days_count++];
    struct mr_lite_day *oldest = &l->days[0];
    for (size_t i = 1; i < MR_LITE_DAYS; i++)
        if (l->days[i].asked < oldest->asked)
            oldest = &l->days[i];
    day_end(oldest);
    return oldest;
}

struct mr_lite_day *mr_lite_day(struct mr_lite *l, int32_t day)
{
    for (size_t i = 0; i < l->days_count; i++) {
        if (l->days[i].day == day) {
            l->days[i].asked = ++l->asked;
            return &l->days[i];
        }
    }
    struct mr_lite_day d = {
        .day = day,
        .asked = ++l->asked,
        .insert = prepare_day(l, "INSERT INTO", day, "(id, body) VALUES(?, ?) ON CONFLICT DO NOTHING"),
        .find = prepare_day(l, "SELECT body FROM", day, "WHERE id = ?"),
    };
    if (!d.insert || !d.find) {
        day_end(&d);
        return NULL;
    }
    struct mr_lite_day *room = day_room(l);
    *room = d;
    return room;
}

void mr_lite_forget_days(struct mr_lite *l)
{
    for (size_t i = 0; i < l->days_count; i++)
        day_end(&l->days[i]);
    l->days_count = 0;
}
