/* SPDX-License-Identifier: Apache-2.0 */
/* decide.c - the one transaction: before its commit nothing happened, after it everything did.
 *
 * Each decision runs in a savepoint of its own, so a loser leaves nothing and its neighbours in the same commit do not
 * notice. Happy path: epoch lives, day is open, each move and row finds the version that it expects, no id is present;
 * then the landing, its files. Ways to fail: MR_EEPOCH, MR_ESEALED, MR_EFENCED (which), MR_ESEEN (which); anything else
 * is the store's own trouble. */
#include "state/sql/sql.h"

#include "millrace/fault.h"
#include "millrace/json.h"

enum { MOVES_LIMIT = 64 << 20 /* of one landing's moves as text; a sane one has a few hundred bytes */ };

static const struct mr_str nothing = {NULL, 0};

static void lose(struct mr_db *db, struct mr_call *call, size_t which, struct mr_str source, struct mr_str stream,
                 struct mr_str key, int64_t expected, int64_t found)
{
    call->decided.which = which;
    mr_err_set(db->err, MR_EFENCED, "%.*s/%.*s %.*s is at version %lld, not %lld: someone else moved it", (int)source.n,
               source.p, (int)stream.n, stream.p, (int)key.n, key.p, (long long)found, (long long)expected);
}

/* -- moves --------------------------------------------------------------------------------------------------------- */

static void put_move(struct mr_buf *b, const struct mr_move *m, int64_t old_version, struct mr_str old)
{
    mr_buf_puts(b, b->n ? ",{\"source\":" : "[{\"source\":");
    mr_json_put_string(b, m->source);
    mr_buf_puts(b, ",\"stream\":");
    mr_json_put_string(b, m->stream);
    mr_buf_puts(b, ",\"part\":");
    mr_json_put_string(b, m->part);
    mr_buf_printf(b, ",\"old_version\":%lld,\"old\":", (long long)old_version);
    mr_buf_put(b, old.p ? old.p : "null", old.p ? old.n : 4);
    mr_buf_puts(b, ",\"new\":");
    mr_buf_put(b, m->value.p, m->value.n);
    mr_buf_putc(b, '}');
}

static void move(struct mr_db *db, struct mr_call *call, size_t which, int64_t now, struct mr_buf *moves)
{
    const struct mr_move *m = &call->decision->moves[which];
    struct mr_str old = nothing;
    int64_t version = 0;
    if (mr_json_check(m->value, db->err) != MR_OK) {
        mr_err_wrap(db->err, "position of %.*s/%.*s", (int)m->source.n, m->source.p, (int)m->stream.n, m->stream.p);
        return;
    }
    struct mr_stmt *q = mr_sql(db, "SELECT version, value FROM positions WHERE source = ? AND stream = ? AND part = ? /*FOR UPDATE*/",
                             "eee", m->source, m->stream, m->part);
    if (mr_sql_row(db, q)) {
        version = mr_sql_i64(q, 0);
        old = mr_sql_str(call, q, 1);
        mr_sql_end(q);
    }
    if (mr_db_code(db) != MR_OK)
        return;
    if (version != m->expected_version && !MR_MUTANT(no_cas)) {
        lose(db, call, which, m->source, m->stream, m->part, m->expected_version, version);
        return;
    }
    put_move(moves, m, version, old);
    if (mr_sql_run(
            db,
            "INSERT INTO positions(source, stream, part, version, value, changed) VALUES(?, ?, ?, ?, ?, ?)"
            " ON CONFLICT(source, stream, part) DO UPDATE SET version = excluded.version, value = excluded.value, changed = excluded.changed"
            " WHERE positions.version = excluded.version - 1",
            "eeeist", m->source, m->stream, m->part, version + 1, m->value, now) != MR_OK)
        return;
    if (mr_db_changes(db) != 1) /* there was no row to lock, and somebody else was first */
        lose(db, call, which, m->source, m->stream, m->part, m->expected_version, version + 1);
}

/* -- rows ---------------------------------------------------------------------------------------------------------- */

static void row(struct mr_db *db, struct mr_call *call, size_t index, int64_t now)
{
    const struct mr_row *r = &call->decision->rows[index];
    int64_t version =
        mr_sql_int(db, 0, "SELECT version FROM source_rows WHERE source = ? AND stream = ? AND kind = ? AND key = ? /*FOR UPDATE*/",
                   "eeee", r->source, r->stream, r->kind, r->key);
    if (mr_db_code(db) != MR_OK)
        return;
    if (r->expected_version != -1 && r->expected_version != version && !MR_MUTANT(no_cas)) {
        lose(db, call, call->decision->moves_count + index, r->source, r->stream, r->key, r->expected_version, version);
        return;
    }
    enum mr_code code =
        r->value.p ? mr_sql_run(db,
                                "INSERT INTO source_rows(source, stream, kind, key, value, version, changed) VALUES(?, "
                                "?, ?, ?, ?, ?, ?)"
                                " ON CONFLICT(source, stream, kind, key) DO UPDATE SET value = excluded.value, version = excluded.version, "
                                "changed = excluded.changed WHERE source_rows.version = excluded.version - 1",
                                "eeeesit", r->source, r->stream, r->kind, r->key, r->value, version + 1, now)
                   : mr_sql_run(db, "DELETE FROM source_rows WHERE source = ? AND stream = ? AND kind = ? AND key = ?",
                                "eeee", r->source, r->stream, r->kind, r->key);
    if (code == MR_OK && r->value.p && mr_db_changes(db) != 1)
        lose(db, call, call->decision->moves_count + index, r->source, r->stream, r->key, version, version + 1);
}

/* -- landing and files --------------------------------------------------------------------------------------------- */

static void landing(struct mr_db *db, struct mr_call *call, int64_t now, struct mr_str moves)
{
    const struct mr_decision *d = call->decision;
    /* without a file there is nothing to publish */
    const char *state = d->files_count ? "decided" : "published";
    struct mr_stmt *q =
        mr_sql(db,
                   "INSERT INTO landings(landing, source, run, instance, epoch, ingest_date, state, began, decided, "
                   "published, records, bytes, moves)"
                   " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number",
                   "seecidctttiis",
                   d->landing, d->source, d->run, d->instance.id, d->instance.epoch, d->day, state, d->began_us, now,
                   d->files_count ? 0 : now, d->records, d->bytes, moves);
    if (mr_sql_row(db, q)) {
        call->decided.number = mr_sql_i64(q, 0);
        while (mr_sql_row(db, q)) /* to its end: that is what makes it happen */
            ;
    }
    if (mr_db_code(db) != MR_OK) {
        mr_err_wrap(db->err, "landing %.*s", (int)d->landing.n, d->landing.p);
        return;
    }
    for (size_t i = 0; i < d->files_count; i++) {
        const struct mr_zone_file *f = &d->files[i];
        if (mr_sql_run(
                db, "INSERT INTO files(landing, path, stream, staged, rows, bytes, crc32c) VALUES(?, ?, ?, ?, ?, ?, ?)",
                "iseeiii", call->decided.number, f->path, f->stream, f->staged, f->rows, f->bytes,
                (int64_t)f->crc32c) != MR_OK)
            return;
    }
    /* its whole landing is open no more */
    enum mr_code code = mr_sql_run(db, "DELETE FROM stages WHERE landing = ?", "s", d->landing);
    if (code == MR_OK && d->uploads)
        code = mr_sql_run(db, "DELETE FROM uploads WHERE landing = ?", "s", d->landing);
    (void)code;
}

static bool day_is_open(struct mr_db *db, struct mr_call *call)
{
    char through[11];
    const struct mr_decision *d = call->decision;
    call->decided.sealed_through = mr_sealed_through(db);
    if (d->day == MR_NO_DAY || d->day > call->decided.sealed_through)
        return mr_db_code(db) == MR_OK;
    mr_day_text(call->decided.sealed_through, through);
    mr_err_set(db->err, MR_ESEALED, "days are sealed through %s", through);
    return false;
}

void mr_run_decide(struct mr_db *db, struct mr_call *call)
{
    const struct mr_decision *d = call->decision;
    int64_t now = mr_db_now(db);
    struct mr_buf moves;
    mr_buf_init(&moves, MOVES_LIMIT);
    if (mr_check_epoch(db, &d->instance) == MR_OK && day_is_open(db, call)) {
        for (size_t i = 0; i < d->moves_count && mr_db_code(db) == MR_OK; i++)
            move(db, call, i, now, &moves);
        for (size_t i = 0; i < d->rows_count && mr_db_code(db) == MR_OK; i++)
            row(db, call, i, now);
        mr_buf_puts(&moves, moves.n ? "]" : "[]");
        if (mr_db_code(db) == MR_OK && moves.failed)
            mr_err_set(db->err, MR_ETOOBIG, "the moves of landing %.*s", (int)d->landing.n, d->landing.p);
        if (mr_db_code(db) == MR_OK)
            landing(db, call, now, mr_buf_str(&moves));
        if (mr_db_code(db) == MR_OK)
            db->ops->seen_insert(db, call);
    }
    if (mr_db_code(db) != MR_OK)
        call->decided.number = 0;
    mr_buf_free(&moves);
}

int64_t mr_decided_number(struct mr_db *db, struct mr_str id)
{
    return mr_sql_int(db, 0, "SELECT number FROM landings WHERE landing = ?", "s", id);
}
