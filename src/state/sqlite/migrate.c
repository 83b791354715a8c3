/* SPDX-License-Identifier: Apache-2.0 */
/* migrate.c - what makes a file our store: made for its owner only, recognised by application_id, brought on by steps.
 *
 * Happy path: make the file if need be, open, look whose it is, switch to WAL, run the missing steps at once.
 * Ways to fail: not there, not SQLite or damaged, another program's, a newer millrace's, not writable.
 * A step is never edited once released: files made by it are out there. docs/state.md shows the outcome. */
#include "state/sqlite/lite.h"

#include "millrace/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { APPLICATION_ID = 0x4d524143 /* "MRAC" */ };

static const char schema_1[] =
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;"

    "CREATE TABLE instances(id TEXT PRIMARY KEY, epoch INTEGER NOT NULL, began TEXT NOT NULL, alive_until TEXT NOT "
    "NULL, ended TEXT)"
    " WITHOUT ROWID, STRICT;"

    "CREATE TABLE positions(source TEXT NOT NULL, stream TEXT NOT NULL, part TEXT NOT NULL, version INTEGER NOT NULL, "
    "value TEXT NOT NULL,"
    " changed TEXT NOT NULL, PRIMARY KEY(source, stream, part)) WITHOUT ROWID, STRICT;"

    /* AUTOINCREMENT: a number is never given twice, not even after its row was deleted */
    "CREATE TABLE landings(number INTEGER PRIMARY KEY AUTOINCREMENT, landing TEXT NOT NULL UNIQUE, source TEXT NOT "
    "NULL, run TEXT NOT NULL,"
    " instance TEXT NOT NULL, epoch INTEGER NOT NULL, ingest_date TEXT, state TEXT NOT NULL CHECK(state IN('decided', "
    "'published', 'lost')),"
    " began TEXT, decided TEXT NOT NULL, published TEXT, records INTEGER NOT NULL, bytes INTEGER NOT NULL, moves TEXT "
    "NOT NULL) STRICT;"
    "CREATE INDEX landings_unpublished ON landings(number) WHERE state = 'decided';"
    "CREATE INDEX landings_by_source ON landings(source, number);"
    "CREATE INDEX landings_by_date ON landings(ingest_date);"

    "CREATE TABLE files(landing INTEGER NOT NULL, path TEXT NOT NULL, stream TEXT NOT NULL, staged TEXT NOT NULL, rows "
    "INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL, crc32c INTEGER NOT NULL, PRIMARY KEY(landing, path)) WITHOUT ROWID, STRICT;"

    "CREATE TABLE stages(landing TEXT PRIMARY KEY, instance TEXT NOT NULL, source TEXT NOT NULL, ingest_date TEXT NOT "
    "NULL, began TEXT NOT NULL)"
    " WITHOUT ROWID, STRICT;"

    "CREATE TABLE runs(id INTEGER PRIMARY KEY, source TEXT NOT NULL, stream TEXT NOT NULL, started TEXT, ended TEXT, "
    "outcome TEXT NOT NULL,"
    " rows INTEGER NOT NULL, bytes INTEGER NOT NULL, repeats INTEGER NOT NULL DEFAULT 0, bounds TEXT, error TEXT) "
    "STRICT;"
    "CREATE INDEX runs_by_stream ON runs(source, stream, id);"

    "CREATE TABLE source_rows(source TEXT NOT NULL, stream TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, value "
    "TEXT NOT NULL,"
    " version INTEGER NOT NULL, changed TEXT NOT NULL, PRIMARY KEY(source, stream, kind, key)) WITHOUT ROWID, STRICT;"

    "CREATE TABLE seen_days(day TEXT PRIMARY KEY, ids INTEGER NOT NULL) WITHOUT ROWID, STRICT;"

    "CREATE TABLE alerts(name TEXT NOT NULL, source TEXT NOT NULL, stream TEXT NOT NULL, opened TEXT NOT NULL, "
    "severity TEXT NOT NULL,"
    " text TEXT NOT NULL, changed TEXT NOT NULL, closed TEXT, repeats INTEGER NOT NULL, PRIMARY KEY(name, source, "
    "stream, opened))"
    " WITHOUT ROWID, STRICT;"

    "CREATE TABLE paused(source TEXT PRIMARY KEY, since TEXT NOT NULL) WITHOUT ROWID, STRICT;"

    "CREATE VIEW zone_files AS SELECT l.source, f.stream, l.ingest_date, f.path, f.rows, f.bytes, printf('%08x', "
    "f.crc32c) AS crc32c, l.number, l.landing,"
    " l.state, l.decided FROM files f JOIN landings l ON l.number = f.landing;"
    "CREATE VIEW zone_days AS SELECT source, stream, ingest_date, count(*) AS files, sum(rows) AS rows, sum(bytes) AS "
    "bytes FROM zone_files"
    " WHERE state = 'published' GROUP BY source, stream, ingest_date;"
    "CREATE VIEW open_alerts AS SELECT name, source, stream, severity, text, opened, changed, repeats FROM alerts "
    "WHERE closed IS NULL;"
    "CREATE VIEW kept_rows AS SELECT source, stream, kind, count(*) AS rows, max(changed) AS changed FROM source_rows "
    "GROUP BY source, stream, kind;";

/* What is staged as an upload (a zone on S3): the key before the upload is begun, its id before its first part. */
static const char schema_2[] =
    "CREATE TABLE uploads(path TEXT PRIMARY KEY, landing TEXT NOT NULL, instance TEXT NOT NULL, upload TEXT NOT NULL, noted TEXT NOT NULL)"
    " WITHOUT ROWID, STRICT;"
    "CREATE INDEX uploads_by_landing ON uploads(landing);";

const struct mr_lite_step mr_lite_steps[] = {{schema_1}, {schema_2}};
const size_t mr_lite_steps_count = MR_COUNT(mr_lite_steps);

/* -- the file ------------------------------------------------------------------------------------------------------ */

static enum mr_code parent_of(const char *path, char *out, size_t cap, struct mr_err *err)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 1;
    if (n >= cap)
        return mr_err_set(err, MR_ECONFIG, "state store %s: the path is too long", path);
    memcpy(out, slash ? path : ".", n);
    out[n] = '\0';
    if (n == 0)
        memcpy(out, "/", sizeof "/");
    return MR_OK;
}

/* Made here and not by SQLite: for the owner only, whatever the umask says. Its -wal and -shm take the mode over. */
static enum mr_code make_file(const char *path, struct mr_err *err)
{
    char parent[4096];
    if (parent_of(path, parent, sizeof parent, err) != MR_OK || mr_dir_make(parent, 0700, err) != MR_OK)
        return err->code;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? MR_OK : mr_err_sys(err, errno, "create state store %s", path);
    int rc = fchmod(fd, 0600);
    int sys = errno;
    close(fd);
    if (rc != 0)
        return mr_err_sys(err, sys, "set the mode of state store %s", path);
    return mr_dir_sync(parent, err);
}

/* -- whose it is --------------------------------------------------------------------------------------------------- */

static int64_t number(struct mr_lite *l, const char *text)
{
    return mr_sql_int(&l->db, 0, text, "");
}

static enum mr_code check(struct mr_lite *l, bool create, size_t known, size_t *version)
{
    int64_t application = number(l, "PRAGMA application_id");
    int64_t schema = number(l, "PRAGMA user_version");
    int64_t things = number(l, "SELECT count(*) FROM sqlite_schema");
    if (mr_db_code(&l->db) != MR_OK)
        return mr_db_code(&l->db);
    if (application == 0 && schema == 0 && things == 0) {
        *version = 0;
        return create ? MR_OK
                      : mr_err_set(l->db.err, MR_ENOENT, "state store %s is empty; `millrace run -c FILE` makes it",
                                   l->path);
    }
    if (application != APPLICATION_ID)
        return mr_err_set(l->db.err, MR_ECONFIG,
                          "state store %s: this SQLite file belongs to another program; choose another data_dir, or "
                          "move the file away",
                          l->path);
    if (schema < 1 || schema > (int64_t)known)
        return mr_err_set(l->db.err, MR_ECONFIG,
                          "state store %s: its schema is %lld, this millrace knows up to %zu; run the newer millrace "
                          "that wrote it, or restore a backup made before",
                          l->path, (long long)schema, known);
    if (!create && schema < (int64_t)known)
        return mr_err_set(
            l->db.err, MR_ECONFIG,
            "state store %s: its schema is %lld and this millrace needs %zu; `millrace run -c FILE` migrates it",
            l->path, (long long)schema, known);
    *version = (size_t)schema;
    return MR_OK;
}

/* -- forward ------------------------------------------------------------------------------------------------------- */

static enum mr_code make_id(struct mr_lite *l)
{
    char id[37];
    mr_store_id_make(id);
    if (mr_sql_run(&l->db, "INSERT INTO meta(key, value) VALUES('id', ?)", "c", id) != MR_OK)
        return mr_db_code(&l->db);
    return mr_sql_run(&l->db, "INSERT INTO meta(key, value) VALUES('made', ?)", "t", mr_wall_us());
}

static enum mr_code run_steps(struct mr_lite *l, size_t from, const struct mr_lite_step *steps, size_t count)
{
    char pragma[96];
    for (size_t i = from; i < count; i++)
        if (mr_db_exec(&l->db, steps[i].sql) != MR_OK)
            return mr_db_code(&l->db);
    snprintf(pragma, sizeof pragma, "PRAGMA application_id=%d; PRAGMA user_version=%zu", APPLICATION_ID, count);
    if (mr_db_exec(&l->db, pragma) != MR_OK)
        return mr_db_code(&l->db);
    return from == 0 ? make_id(l) : MR_OK;
}

static enum mr_code migrate(struct mr_lite *l, bool create, const struct mr_lite_step *steps, size_t count)
{
    size_t from;
    if (mr_db_exec(&l->db, "BEGIN IMMEDIATE") != MR_OK)
        return mr_db_code(&l->db);
    /* looked at again under the lock: another process may have been faster */
    if (check(l, create, count, &from) == MR_OK && (from == count || run_steps(l, from, steps, count) == MR_OK) &&
        mr_db_exec(&l->db, "COMMIT") == MR_OK)
        return MR_OK;
    mr_err_wrap(l->db.err, "bring the schema forward");
    sqlite3_exec(l->h, "ROLLBACK", NULL, NULL, NULL);
    return mr_db_code(&l->db);
}

static enum mr_code use_wal(struct mr_lite *l)
{
    struct mr_stmt *q = mr_sql(&l->db, "PRAGMA journal_mode=WAL", "");
    bool wal = mr_sql_row(&l->db, q) && mr_str_eq(mr_sql_peek(q, 0), MR_STR("wal"));
    mr_sql_end(q);
    if (mr_db_code(&l->db) == MR_OK && !wal)
        mr_err_set(l->db.err, MR_ECONFIG,
                   "state store %s: this file system cannot hold SQLite's shared memory; put data_dir on a local disk",
                   l->path);
    return mr_db_code(&l->db);
}

/* -- the facts ----------------------------------------------------------------------------------------------------- */

static enum mr_code read_facts(struct mr_lite *l, struct mr_store_facts *facts)
{
    *facts = (struct mr_store_facts){.sealed_through = mr_sealed_as_of_now(&l->db)};
    facts->last_number = mr_sql_int(&l->db, 0, "SELECT seq FROM sqlite_sequence WHERE name = 'landings'", "");
    facts->schema_version = (int)number(l, "PRAGMA user_version");
    facts->fresh = facts->last_number == 0;
    struct mr_stmt *q = mr_sql(&l->db, "SELECT value FROM meta WHERE key = 'id'", "");
    if (mr_sql_row(&l->db, q)) {
        struct mr_str id = mr_sql_peek(q, 0);
        snprintf(facts->id, sizeof facts->id, "%.*s", (int)id.n, id.p);
        mr_sql_end(q);
    } else if (mr_db_code(&l->db) == MR_OK) {
        mr_err_set(l->db.err, MR_ECORRUPT, "state store %s: its id is gone from the table meta; restore a backup",
                   l->path);
    }
    return mr_db_code(&l->db);
}

enum mr_code mr_lite_start(struct mr_lite *l, const char *path, bool create, const struct mr_lite_step *steps,
                         size_t steps_count, struct mr_store_facts *facts, struct mr_err *err)
{
    struct stat st;
    size_t version;
    if (create && make_file(path, err) != MR_OK)
        return err->code;
    if (stat(path, &st) != 0) {
        if (errno == ENOENT)
            return mr_err_set(err, MR_ENOENT, "no state store at %s; `millrace run -c FILE` makes it", path);
        return mr_err_sys(err, errno, "state store %s", path);
    }
    if (!S_ISREG(st.st_mode))
        return mr_err_set(err, MR_ECONFIG, "state store %s: this is not a file", path);
    if (mr_lite_open(l, path, false, err) != MR_OK)
        return err->code;
    if (check(l, create, steps_count, &version) != MR_OK || use_wal(l) != MR_OK ||
        (version < steps_count && migrate(l, create, steps, steps_count) != MR_OK) || read_facts(l, facts) != MR_OK)
        mr_lite_close(l);
    return err->code;
}
