/* SPDX-License-Identifier: Apache-2.0 */
/* state/sqlite/sql.h - one connection, and the few words in which the other files of this folder speak SQL.
 *
 * Statements are prepared once and found again by the address of their text, so a query stands where it is used. An
 * error goes to db->err, which the running call has set to its own; the first one counts. Runs on: lane STATE. */
#ifndef MILLRACE_STATE_SQLITE_SQL_H
#define MILLRACE_STATE_SQLITE_SQL_H

#include "millrace/clock.h"
#include "state/driver.h"

#include <sqlite3.h>

enum { MR_SQL_STATEMENTS = 256 /* a power of two, far above what we have */, MR_SQL_DAYS = 16 };

struct mr_db_day { /* the statements of one table of seen ids */
    int32_t day;
    uint64_t asked; /* when, in askings: the one asked for longest ago makes room */
    sqlite3_stmt *insert, *find;
};
struct mr_db {
    sqlite3 *h;
    char *path;
    struct mr_err *err;
    struct {
        const char *text;
        sqlite3_stmt *stmt;
    } statements[MR_SQL_STATEMENTS];
    struct mr_db_day days[MR_SQL_DAYS];
    size_t days_count;
    uint64_t asked;
    int wal_pages; /* in the log after the last commit */
    struct mr_filter *filter; /* of seen ids; NULL: none. Outlives a reopening */
    bool filter_listed;       /* it knows which days there are */
    bool filter_reading;      /* and one of them is not read yet: the store goes on with it when nobody waits */
    int32_t filter_day;       /* that one, read up to filter_id */
    unsigned char filter_id[16];
};

/* Opens and sets what holds for every connection. `path` is copied. The file must be there. */
MR_MUST enum mr_code mr_db_open(struct mr_db *db, const char *path, bool readonly, struct mr_err *err);
/* Anew to the same file. After a failure the connection is not open, and nothing but this and close may be done with
 * it. */
MR_MUST enum mr_code mr_db_reopen(struct mr_db *db);
bool mr_db_is_open(const struct mr_db *db);
void mr_db_close(struct mr_db *db); /* harmless if not open; keeps nothing */
/* From the connection's last failure: code by what SQLite and the system said, `what` was tried. Sets db->err. */
enum mr_code mr_db_fail(struct mr_db *db, int rc, const char *what);

/* A cached statement, bound by `format`, a letter an argument: s struct mr_str (absent: NULL), e the same (absent: ''),
 * c char *, i int64_t, t time in microseconds (0 and MR_NO_TIME: NULL), d day (MR_NO_DAY: NULL). Text is borrowed until
 * the statement is done. NULL after an error. */
sqlite3_stmt *mr_sql(struct mr_db *db, const char *text, const char *format, ...);
/* true: a row is there. false: no more, or an error in db->err; then the statement is reset. */
bool mr_sql_row(struct mr_db *db, sqlite3_stmt *stmt);
void mr_sql_end(sqlite3_stmt *stmt); /* when leaving before the last row */
/* A cached statement without rows, run to its end. */
MR_MUST enum mr_code mr_sql_run(struct mr_db *db, const char *text, const char *format, ...);
/* The same for one integer of one row; `none` if there is no row. */
int64_t mr_sql_int(struct mr_db *db, int64_t none, const char *text, const char *format, ...);
MR_MUST enum mr_code mr_db_exec(struct mr_db *db, const char *text); /* not cached, several statements allowed */
int64_t mr_db_changes(struct mr_db *db);

/* Columns. Text is copied into the call. */
struct mr_str mr_sql_str(struct mr_call *call, sqlite3_stmt *stmt, int column); /* NULL: absent */
int64_t mr_sql_time(sqlite3_stmt *stmt, int column);                            /* NULL: 0 */
int32_t mr_sql_day(sqlite3_stmt *stmt, int column);                             /* NULL: MR_NO_DAY */

void mr_seen_table(int32_t day, char out[16]); /* "seen_YYYYMMDD" */
/* Statements of that table, which must exist. NULL after an error. Holds until MR_SQL_DAYS - 1 others are asked for. */
struct mr_db_day *mr_db_day(struct mr_db *db, int32_t day);
void mr_db_forget_days(struct mr_db *db); /* before a table goes: by DROP or by a rollback */

static inline enum mr_code mr_db_code(const struct mr_db *db)
{
    return db->err->code;
}

#endif
