/* SPDX-License-Identifier: Apache-2.0 */
/* seen.c - event ids that have landed: a table an arrival day, a row an id, clustered by the id and dropped whole.
 *
 * Ids are hashes, so a landing's ids lie all over the table: in the ids' order each of its pages is fetched and written
 * once a landing, in any other order once an id. Lookups are put in that order here; the caller sorts what it inserts.
 * Measured with 5M ids in the day's table and 4 MiB of cache: 100,000 new ones in 0.7 s, looked up in 0.2 to 0.6 s;
 * into an empty table in 0.08 s.
 *
 * A new id is in no table, so a filter in memory (filter.h) answers for nearly all of them. With 16M ids in eight days' tables,
 * 160,000 to 190,000 events behind took 9 s to land without it and 1.6 s with it. It reads what an earlier process left a piece at a time,
 * after the first lookup and when nobody waits; until it has, and for what it has no room for, tables are looked into. */
#include "state/sqlite/lite.h"

#include "state/sqlite/filter.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILTER_PIECE = 20000 }; /* ids that the filter reads before others have their turn: some milliseconds */

static int find(struct mr_lite *l, sqlite3_stmt *stmt, const struct mr_seen *id, enum mr_seen_answer *answer)
{
    *answer = MR_SEEN_NO;
    sqlite3_bind_blob(stmt, 1, id->id, sizeof id->id, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        bool same = sqlite3_column_bytes(stmt, 0) == (int)sizeof id->body &&
                    memcmp(sqlite3_column_blob(stmt, 0), id->body, sizeof id->body) == 0;
        *answer = same ? MR_SEEN_SAME : MR_SEEN_OTHER_BODY;
    } else if (rc != SQLITE_DONE) {
        mr_lite_fail(l, rc, "look up an event id");
    }
    sqlite3_reset(stmt);
    return rc;
}

/* -- lookups ------------------------------------------------------------------------------------------------------- */

struct asked { /* one id, where it stands in the caller's order */
    const struct mr_seen *id;
    size_t at;
};

static int by_id(const void *a, const void *b)
{
    return memcmp(((const struct asked *)a)->id->id, ((const struct asked *)b)->id->id, 16);
}

static bool may_be(const struct mr_lite *l, int32_t day, const struct mr_seen *id)
{
    return !l->filter || mr_filter_may(l->filter, day, id->id);
}

/* asked: room for all of the call's ids. */
static void look_in_day(struct mr_lite *l, struct mr_call *call, struct asked *asked, int32_t day)
{
    unsigned char *answers = call->items;
    size_t n = 0;
    for (size_t i = 0; i < call->ids_count; i++)
        if (answers[i] == MR_SEEN_NO && day >= call->first_days[i] && day <= call->ids[i].day + 1 &&
            may_be(l, day, &call->ids[i]))
            asked[n++] = (struct asked){&call->ids[i], i};
    struct mr_lite_day *table = n ? mr_lite_day(l, day) : NULL;
    if (!table)
        return;
    qsort(asked, n, sizeof *asked, by_id);
    for (size_t i = 0; i < n && mr_db_code(&l->db) == MR_OK; i++) {
        enum mr_seen_answer answer;
        find(l, table->find, asked[i].id, &answer);
        answers[asked[i].at] = (unsigned char)answer;
    }
}

static void list_days(struct mr_lite *l)
{
    bool any = false;
    if (!l->filter || l->filter_listed)
        return;
    struct mr_stmt *q = mr_sql(&l->db, "SELECT day, ids FROM seen_days", "");
    for (; mr_sql_row(&l->db, q); any = true)
        mr_filter_begin(l->filter, mr_sql_day(q, 0), (size_t)mr_sql_i64(q, 1), false);
    if (mr_db_code(&l->db) != MR_OK)
        return; /* the next look tries again; a day that has begun begins anew */
    l->filter_listed = true;
    l->filter_reading = any;
    l->filter_day = MR_NO_DAY;
}

void mr_lite_begun(struct mr_db *db)
{
    list_days(mr_lite_of(db)); /* it reads its filter while nothing has come yet */
}

void mr_lite_seen(struct mr_db *db, struct mr_call *call)
{
    struct mr_lite *l = mr_lite_of(db);
    int32_t days[1024];
    size_t days_count = 0;
    list_days(l);
    struct mr_stmt *q = mr_sql(&l->db, "SELECT day FROM seen_days ORDER BY day DESC LIMIT 1024", "");
    while (mr_sql_row(&l->db, q))
        days[days_count++] = mr_sql_day(q, 0);
    if (mr_db_code(&l->db) != MR_OK || call->ids_count == 0)
        return;
    struct asked *asked = malloc(call->ids_count * sizeof *asked);
    call->items = calloc(call->ids_count, 1);
    assert(asked && call->items);
    call->items_count = call->ids_count;
    /* one read transaction, not one an id */
    if (mr_db_exec(&l->db, "BEGIN") == MR_OK) {
        for (size_t i = 0; i < days_count && mr_db_code(&l->db) == MR_OK; i++)
            look_in_day(l, call, asked, days[i]);
        sqlite3_exec(l->h, "COMMIT", NULL, NULL, NULL); /* of a read: cannot lose anything */
    }
    free(asked);
}

/* -- the filter ---------------------------------------------------------------------------------------------------- */

/* The newest day before `day` that has a table and was not read. */
static int32_t day_before(struct mr_lite *l, int32_t day)
{
    struct mr_stmt *q = mr_sql(&l->db, "SELECT day FROM seen_days WHERE ?1 IS NULL OR day < ?1 ORDER BY day DESC LIMIT 1", "d", day);
    int32_t found = MR_NO_DAY;
    if (mr_sql_row(&l->db, q)) {
        found = mr_sql_day(q, 0);
        mr_sql_end(q);
    }
    return found;
}

/* How many ids were read of filter_day behind filter_id; -1 after an error. */
static int read_ids(struct mr_lite *l)
{
    char table[16], text[128];
    sqlite3_stmt *q = NULL;
    int n = 0, rc;
    mr_seen_table(l->filter_day, table);
    snprintf(text, sizeof text, "SELECT id FROM %s WHERE id > ? ORDER BY id LIMIT %d", table, FILTER_PIECE);
    if (sqlite3_prepare_v2(l->h, text, -1, &q, NULL) != SQLITE_OK)
        return -1;
    sqlite3_bind_blob(q, 1, l->filter_id, sizeof l->filter_id, SQLITE_TRANSIENT);
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        if (sqlite3_column_bytes(q, 0) != (int)sizeof l->filter_id)
            break;
        memcpy(l->filter_id, sqlite3_column_blob(q, 0), sizeof l->filter_id);
        mr_filter_add(l->filter, l->filter_day, l->filter_id);
        n++;
    }
    sqlite3_finalize(q);
    return rc == SQLITE_DONE ? n : -1;
}

void mr_lite_read_on(struct mr_lite *l)
{
    struct mr_err err = {.code = MR_OK}, *usual = l->db.err;
    l->db.err = &err;
    int n = l->filter_day == MR_NO_DAY ? 0 : read_ids(l);
    if (n < 0)
        mr_filter_drop(l->filter, l->filter_day); /* a deleted day, a sick disk: its ids are looked up as before */
    else if (n < FILTER_PIECE && l->filter_day != MR_NO_DAY)
        mr_filter_whole(l->filter, l->filter_day);
    if (n < FILTER_PIECE) {
        l->filter_day = day_before(l, l->filter_day);
        memset(l->filter_id, 0, sizeof l->filter_id);
        l->filter_reading = l->filter_day != MR_NO_DAY;
    }
    l->db.err = usual;
}

/* -- inserts ------------------------------------------------------------------------------------------------------- */

static bool day_exists(struct mr_lite *l, int32_t day)
{
    return mr_sql_int(&l->db, 0, "SELECT 1 FROM seen_days WHERE day = ?", "d", day) == 1;
}

static void day_make(struct mr_lite *l, int32_t day)
{
    char table[16], text[160];
    mr_seen_table(day, table);
    snprintf(text, sizeof text, "CREATE TABLE %s(id BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID, STRICT",
             table);
    enum mr_code code = mr_db_exec(&l->db, text);
    if (code == MR_OK)
        code = mr_sql_run(&l->db, "INSERT INTO seen_days(day, ids) VALUES(?, 0)", "d", day);
    if (code == MR_OK && l->filter && l->filter_listed)
        mr_filter_begin(l->filter, day, 0, true);
}

struct tables { /* of one arrival day; the neighbours for a landing whose clock had another day for the same id */
    sqlite3_stmt *insert, *before, *after;
};

static bool tables_of(struct mr_lite *l, int32_t day, struct tables *t)
{
    struct mr_lite_day *d;
    *t = (struct tables){NULL, NULL, NULL};
    if (!day_exists(l, day))
        day_make(l, day);
    if (mr_db_code(&l->db) == MR_OK && (d = mr_lite_day(l, day)))
        t->insert = d->insert;
    if (mr_db_code(&l->db) == MR_OK && day_exists(l, day - 1) && (d = mr_lite_day(l, day - 1)))
        t->before = d->find;
    if (mr_db_code(&l->db) == MR_OK && day_exists(l, day + 1) && (d = mr_lite_day(l, day + 1)))
        t->after = d->find;
    return mr_db_code(&l->db) == MR_OK;
}

/* false: it is there already, or an error */
static bool insert(struct mr_lite *l, const struct tables *t, const struct mr_seen *id)
{
    enum mr_seen_answer answer = MR_SEEN_NO;
    if (t->before && may_be(l, id->day - 1, id))
        find(l, t->before, id, &answer);
    if (t->after && answer == MR_SEEN_NO && may_be(l, id->day + 1, id))
        find(l, t->after, id, &answer);
    if (answer != MR_SEEN_NO || mr_db_code(&l->db) != MR_OK)
        return false;
    sqlite3_bind_blob(t->insert, 1, id->id, sizeof id->id, SQLITE_STATIC);
    sqlite3_bind_blob(t->insert, 2, id->body, sizeof id->body, SQLITE_STATIC);
    int rc = sqlite3_step(t->insert);
    if (rc != SQLITE_DONE)
        mr_lite_fail(l, rc, "insert an event id");
    sqlite3_reset(t->insert);
    if (l->filter)
        mr_filter_add(l->filter, id->day, id->id); /* also if it was there: the next look must find it */
    return rc == SQLITE_DONE && sqlite3_changes64(l->h) == 1;
}

static void count(struct mr_lite *l, int32_t day, size_t ids)
{
    enum mr_code code = mr_sql_run(&l->db, "UPDATE seen_days SET ids = ids + ? WHERE day = ?", "id", (int64_t)ids, day);
    (void)code;
}

void mr_lite_seen_insert(struct mr_db *db, struct mr_call *call)
{
    struct mr_lite *l = mr_lite_of(db);
    const struct mr_decision *d = call->decision;
    struct tables t = {NULL, NULL, NULL};
    size_t first = 0; /* of its day */
    for (size_t i = 0; i < d->seen_count && mr_db_code(&l->db) == MR_OK; i++) {
        const struct mr_seen *id = &d->seen[i];
        bool new_day = i == 0 || id->day != d->seen[i - 1].day;
        if (new_day && i > 0) {
            count(l, d->seen[i - 1].day, i - first);
            first = i;
        }
        if (new_day && !tables_of(l, id->day, &t))
            return;
        if (!insert(l, &t, id) && mr_db_code(&l->db) == MR_OK) {
            call->decided.which = i;
            mr_err_set(l->db.err, MR_ESEEN, "event id %zu of landing %.*s has landed already", i, (int)d->landing.n,
                       d->landing.p);
        }
    }
    if (mr_db_code(&l->db) == MR_OK && d->seen_count)
        count(l, d->seen[d->seen_count - 1].day, d->seen_count - first);
}

/* -- retention ----------------------------------------------------------------------------------------------------- */

int64_t mr_lite_seen_ids(struct mr_db *db, int32_t *oldest, int64_t *tables)
{
    int64_t ids = 0;
    struct mr_stmt *q = mr_sql(db, "SELECT count(*), sum(ids), min(day) FROM seen_days", "");
    if (mr_sql_row(db, q)) {
        *tables = mr_sql_i64(q, 0);
        ids = mr_sql_i64(q, 1);
        *oldest = mr_sql_day(q, 2);
        mr_sql_end(q);
    }
    return ids;
}

int64_t mr_lite_seen_drop(struct mr_db *db, int32_t day)
{
    char table[16], text[64];
    struct mr_lite *l = mr_lite_of(db);
    int64_t ids = mr_sql_int(db, 0, "SELECT ids FROM seen_days WHERE day = ?", "d", day);
    mr_seen_table(day, table);
    snprintf(text, sizeof text, "DROP TABLE %s", table);
    mr_lite_forget_days(l);
    if (mr_db_exec(db, text) != MR_OK || mr_sql_run(db, "DELETE FROM seen_days WHERE day = ?", "d", day) != MR_OK)
        return 0;
    if (l->filter)
        mr_filter_drop(l->filter, day);
    return ids;
}
