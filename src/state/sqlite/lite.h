/* SPDX-License-Identifier: Apache-2.0 */
/* state/sqlite/lite.h - one connection to an SQLite file, and how the stories of this folder meet.
 *
 * Runs on: lane STATE, all of it, unless said. */
#ifndef MILLRACE_STATE_SQLITE_LITE_H
#define MILLRACE_STATE_SQLITE_LITE_H

#include "state/sql/sql.h"

#include <sqlite3.h>

enum {
    MR_LITE_STATEMENTS = 256 /* a power of two, far above what we have */,
    MR_LITE_DAYS = 16,
    MR_LITE_CHECKPOINT_PAGES = 1000, /* of log, when nobody waits */
};

struct mr_lite_stmt {
    struct mr_stmt stmt; /* first */
    const char *text;
    sqlite3_stmt *q;
};
struct mr_lite_day { /* the statements of one table of seen ids */
    int32_t day;
    uint64_t asked; /* when, in askings: the one asked for longest ago makes room */
    sqlite3_stmt *insert, *find;
};
struct mr_lite {
    struct mr_db db; /* first */
    sqlite3 *h;
    char *path, *name;
    struct mr_lite_stmt statements[MR_LITE_STATEMENTS];
    struct mr_lite_day days[MR_LITE_DAYS];
    size_t days_count;
    uint64_t asked;
    int wal_pages; /* in the log after the last commit */
    struct mr_filter *filter; /* of seen ids; NULL: none. Outlives a reopening */
    bool filter_listed;       /* it knows which days there are */
    bool filter_reading;      /* and one of them is not read yet: the store goes on with it when nobody waits */
    int32_t filter_day;       /* that one, read up to filter_id */
    unsigned char filter_id[16];
};
static inline struct mr_lite *mr_lite_of(struct mr_db *db)
{
    return MR_OF(db, struct mr_lite, db);
}

/* Opens and sets what holds for every connection. `path` is copied. The file must be there. */
MR_MUST enum mr_code mr_lite_open(struct mr_lite *l, const char *path, bool readonly, struct mr_err *err);
/* Anew to the same file. After a failure the connection is not open, and nothing but this and close may be done with
 * it. */
MR_MUST enum mr_code mr_lite_reopen(struct mr_lite *l);
bool mr_lite_is_open(const struct mr_lite *l);
void mr_lite_close(struct mr_lite *l); /* harmless if not open; keeps nothing */
/* From the connection's last failure: code by what SQLite and the system said, `what` was tried. Sets db->err. */
enum mr_code mr_lite_fail(struct mr_lite *l, int rc, const char *what);

/* Statements of that table, which must exist. NULL after an error. Holds until MR_LITE_DAYS - 1 others are asked for. */
struct mr_lite_day *mr_lite_day(struct mr_lite *l, int32_t day);
void mr_lite_forget_days(struct mr_lite *l); /* before a table goes: by DROP or by a rollback */

/* -- lite.c; see mr_db_ops */
struct mr_stmt *mr_lite_bind(struct mr_db *db, const char *text, const char *format, va_list *args);
bool mr_lite_row(struct mr_db *db, struct mr_stmt *stmt);
void mr_lite_end(struct mr_stmt *stmt);
struct mr_str mr_lite_column(struct mr_stmt *stmt, int at);
int64_t mr_lite_integer(struct mr_stmt *stmt, int at);
int64_t mr_lite_changes(struct mr_db *db);
enum mr_code mr_lite_exec(struct mr_db *db, const char *text);

/* -- seen.c; see mr_db_ops */
void mr_lite_begun(struct mr_db *db);
void mr_lite_seen(struct mr_db *db, struct mr_call *call);
void mr_lite_seen_insert(struct mr_db *db, struct mr_call *call);
int64_t mr_lite_seen_ids(struct mr_db *db, int32_t *oldest, int64_t *tables);
int64_t mr_lite_seen_drop(struct mr_db *db, int32_t day);
void mr_lite_read_on(struct mr_lite *l); /* a piece of what the filter has still to read (l->filter_reading) */

/* -- migrate.c */
struct mr_lite_step { /* from schema i (its index) to i + 1; forward only, never edited once released */
    const char *sql;
};
extern const struct mr_lite_step mr_lite_steps[];
extern const size_t mr_lite_steps_count; /* the schema that this program knows */
/* Makes (create) or checks the file, opens it, brings its schema to steps_count, reads the facts.
 * MR_ENOENT; MR_ECORRUPT; MR_ECONFIG: another program's, of a newer millrace, or (not create) in need of migration. */
MR_MUST enum mr_code mr_lite_start(struct mr_lite *l, const char *path, bool create, const struct mr_lite_step *steps,
                                   size_t steps_count, struct mr_store_facts *facts, struct mr_err *err);

/* A connection of its own to the file `from`. Runs on: lane MISC. */
MR_MUST enum mr_code mr_lite_backup(const char *from, const char *to, struct mr_err *err);

extern const struct mr_db_ops mr_lite_ops; /* sqlite.c */

#endif
