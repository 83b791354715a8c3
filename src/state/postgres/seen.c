/* SPDX-License-Identifier: Apache-2.0 */
/* seen.c - event ids by the thousand, in one statement a day: which are there, and those that are not are inserted.
 *
 * A table an arrival day, as in SQLite's file, but with no filter in memory: other processes insert too. Ids travel as binary
 * arrays (PostgreSQL's array_recv: dimensions, null flag, element type, size, first index, then length and bytes of each). */
#include "state/postgres/pg.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { DAYS = 1024, IDS = 16, BODY = 8 };

/* -- arrays -------------------------------------------------------------------------------------------------------- */

static void put32(struct mr_buf *b, uint32_t v)
{
    uint32_t wire = htonl(v);
    mr_buf_put(b, &wire, sizeof wire);
}

static void array_begin(struct mr_buf *b, size_t count)
{
    mr_buf_init(b, (size_t)INT32_MAX);
    put32(b, count ? 1 : 0);
    put32(b, 0);
    put32(b, MR_PG_BYTEA);
    if (count) {
        put32(b, (uint32_t)count);
        put32(b, 1);
    }
}

static void array_put(struct mr_buf *b, const unsigned char *bytes, size_t n)
{
    put32(b, (uint32_t)n);
    mr_buf_put(b, bytes, n);
}

/* text with one or two bytea[] */
static PGresult *ask(struct mr_pg *pg, const char *text, const struct mr_buf *ids, const struct mr_buf *bodies)
{
    static const Oid types[2] = {1001, 1001}; /* bytea[] */
    const char *values[2] = {ids->p, bodies ? bodies->p : NULL};
    int lengths[2] = {(int)ids->n, bodies ? (int)bodies->n : 0};
    if (ids->failed || (bodies && bodies->failed)) {
        mr_err_set(pg->db.err, MR_ETOOBIG, "%s: too many event ids in one landing", pg->name);
        return NULL;
    }
    return mr_pg_query_binary(pg, text, bodies ? 2 : 1, types, values, lengths);
}

static int64_t int_at(const PGresult *r, int row, int column)
{
    uint32_t half[2];
    assert(PQgetlength(r, row, column) == 8);
    memcpy(half, PQgetvalue(r, row, column), 8);
    return (int64_t)((uint64_t)ntohl(half[0]) << 32 | ntohl(half[1]));
}

/* -- which are there ----------------------------------------------------------------------------------------------- */

static bool in_day(const struct mr_call *call, size_t i, int32_t day)
{
    const unsigned char *answers = call->items;
    return answers[i] == MR_SEEN_NO && day >= call->first_days[i] && day <= call->ids[i].day + 1;
}

static void look_in_day(struct mr_pg *pg, struct mr_call *call, int32_t day)
{
    unsigned char *answers = call->items;
    size_t count = 0, *at = malloc(call->ids_count * sizeof *at);
    char table[16], text[192];
    struct mr_buf ids;
    assert(at);
    for (size_t i = 0; i < call->ids_count; i++)
        if (in_day(call, i, day))
            at[count++] = i;
    array_begin(&ids, count);
    for (size_t i = 0; i < count; i++)
        array_put(&ids, call->ids[at[i]].id, IDS);
    mr_seen_table(day, table);
    snprintf(text, sizeof text, "SELECT q.at, s.body FROM unnest($1) WITH ORDINALITY AS q(id, at) JOIN %s s ON s.id = q.id",
             table);
    PGresult *r = count ? ask(pg, text, &ids, NULL) : NULL;
    for (int row = 0; r && row < PQntuples(r); row++) {
        size_t i = at[int_at(r, row, 0) - 1];
        bool same = PQgetlength(r, row, 1) == BODY && memcmp(PQgetvalue(r, row, 1), call->ids[i].body, BODY) == 0;
        answers[i] = same ? MR_SEEN_SAME : MR_SEEN_OTHER_BODY;
    }
    PQclear(r);
    mr_buf_free(&ids);
    free(at);
}

void mr_pg_seen(struct mr_db *db, struct mr_call *call)
{
    int32_t days[DAYS];
    size_t days_count = 0;
    struct mr_stmt *q = mr_sql(db, "SELECT DISTINCT day FROM seen_days ORDER BY day DESC LIMIT 1024", "");
    while (mr_sql_row(db, q))
        days[days_count++] = mr_sql_day(q, 0);
    if (mr_db_code(db) != MR_OK || call->ids_count == 0)
        return;
    call->items = calloc(call->ids_count, 1);
    assert(call->items);
    call->items_count = call->ids_count;
    for (size_t i = 0; i < days_count && mr_db_code(db) == MR_OK; i++)
        look_in_day(mr_pg_of(db), call, days[i]);
}

/* -- inserts ------------------------------------------------------------------------------------------------------- */

static bool day_exists(struct mr_db *db, int32_t day)
{
    return mr_sql_int(db, 0, "SELECT 1 FROM seen_days WHERE day = ? LIMIT 1", "d", day) == 1;
}

/* Another process may be making it too: one at a time, and who comes second finds it there. */
static void day_make(struct mr_db *db, const struct mr_decision *d, int32_t day)
{
    char table[16], text[128];
    mr_seen_table(day, table);
    snprintf(text, sizeof text, "CREATE TABLE IF NOT EXISTS %s(id BYTEA PRIMARY KEY, body BYTEA NOT NULL)", table);
    if (mr_db_exec(db, "SELECT pg_advisory_xact_lock(7883954671224324708)") != MR_OK || mr_db_exec(db, text) != MR_OK)
        return;
    enum mr_code code = mr_sql_run(db, "INSERT INTO seen_days(day, instance, ids) VALUES(?, ?, 0) ON CONFLICT DO NOTHING",
                                   "dc", day, d->instance.id);
    (void)code;
}

/* The first of seen[from .. to) that a neighbouring day holds, or `to`. A landing's clock may have had another day for it. */
static size_t in_neighbour(struct mr_pg *pg, const struct mr_seen *seen, size_t from, size_t to, int32_t day, const struct mr_buf *ids)
{
    char table[16], text[192];
    size_t first = to;
    (void)seen;
    if (!day_exists(&pg->db, day))
        return to;
    mr_seen_table(day, table);
    snprintf(text, sizeof text,
             "SELECT q.at FROM unnest($1) WITH ORDINALITY AS q(id, at) JOIN %s s ON s.id = q.id ORDER BY q.at LIMIT 1", table);
    PGresult *r = ask(pg, text, ids, NULL);
    if (r && PQntuples(r) == 1)
        first = from + (size_t)int_at(r, 0, 0) - 1;
    PQclear(r);
    return first;
}

/* The first that was there already, or `to`. */
static size_t insert(struct mr_pg *pg, const struct mr_seen *seen, size_t from, size_t to, const struct mr_buf *ids)
{
    char table[16], text[192];
    struct mr_buf bodies;
    array_begin(&bodies, to - from);
    for (size_t i = from; i < to; i++)
        array_put(&bodies, seen[i].body, BODY);
    mr_seen_table(seen[from].day, table);
    /* rows come back in the order in which they went in */
    snprintf(text, sizeof text,
             "INSERT INTO %s(id, body) SELECT * FROM unnest($1, $2) ON CONFLICT DO NOTHING RETURNING id", table);
    PGresult *r = ask(pg, text, ids, &bodies);
    size_t first = from;
    for (int row = 0; r && row < PQntuples(r) && first < to; row++, first++)
        if (PQgetlength(r, row, 0) != IDS || memcmp(PQgetvalue(r, row, 0), seen[first].id, IDS) != 0)
            break;
    PQclear(r);
    mr_buf_free(&bodies);
    return first;
}

static void insert_day(struct mr_pg *pg, struct mr_call *call, size_t from, size_t to)
{
    struct mr_db *db = &pg->db;
    const struct mr_decision *d = call->decision;
    int32_t day = d->seen[from].day;
    struct mr_buf ids;
    array_begin(&ids, to - from);
    for (size_t i = from; i < to; i++)
        array_put(&ids, d->seen[i].id, IDS);
    if (!day_exists(db, day))
        day_make(db, d, day);
    size_t first = to, before, after;
    if (mr_db_code(db) == MR_OK) {
        before = in_neighbour(pg, d->seen, from, to, day - 1, &ids);
        after = in_neighbour(pg, d->seen, from, to, day + 1, &ids);
        first = before < after ? before : after;
    }
    if (mr_db_code(db) == MR_OK && first == to)
        first = insert(pg, d->seen, from, to, &ids);
    mr_buf_free(&ids);
    if (mr_db_code(db) != MR_OK)
        return;
    if (first < to) {
        call->decided.which = first;
        mr_err_set(db->err, MR_ESEEN, "event id %zu of landing %.*s has landed already", first, (int)d->landing.n,
                   d->landing.p);
        return;
    }
    enum mr_code code = mr_sql_run(db,
                                   "INSERT INTO seen_days(day, instance, ids) VALUES(?, ?, ?) ON CONFLICT(day, instance) DO "
                                   "UPDATE SET ids = seen_days.ids + excluded.ids",
                                   "dci", day, d->instance.id, (int64_t)(to - from));
    (void)code; /* it is in db->err */
}

void mr_pg_seen_insert(struct mr_db *db, struct mr_call *call)
{
    const struct mr_decision *d = call->decision;
    size_t from = 0;
    for (size_t i = 1; i <= d->seen_count && mr_db_code(db) == MR_OK; i++) {
        if (i < d->seen_count && d->seen[i].day == d->seen[from].day)
            continue;
        insert_day(mr_pg_of(db), call, from, i);
        from = i;
    }
}

/* -- retention ----------------------------------------------------------------------------------------------------- */

int64_t mr_pg_seen_ids(struct mr_db *db, int32_t *oldest, int64_t *tables)
{
    int64_t ids = 0;
    struct mr_stmt *q = mr_sql(db, "SELECT count(DISTINCT day), sum(ids), min(day) FROM seen_days", "");
    if (mr_sql_row(db, q)) {
        *tables = mr_sql_i64(q, 0);
        ids = mr_sql_i64(q, 1);
        *oldest = mr_sql_day(q, 2);
        mr_sql_end(q);
    }
    return ids;
}

int64_t mr_pg_seen_drop(struct mr_db *db, int32_t day)
{
    char table[16], text[64];
    int64_t ids = mr_sql_int(db, 0, "SELECT sum(ids) FROM seen_days WHERE day = ?", "d", day);
    mr_seen_table(day, table);
    snprintf(text, sizeof text, "DROP TABLE IF EXISTS %s", table);
    if (mr_db_exec(db, text) != MR_OK || mr_sql_run(db, "DELETE FROM seen_days WHERE day = ?", "d", day) != MR_OK)
        return 0;
    return ids;
}
