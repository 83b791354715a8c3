/* SPDX-License-Identifier: Apache-2.0 */
/* keyscan.c - deletes: now and then a stream's keys are read, and each key that has landed and is gone lands as a tombstone.
 *
 * What may be gone: the keys of the last scan, and those that have landed since (keydir.h). What is there: one statement over the whole table, all its
 * partitions, in one snapshot; so a row that moves between two partitions is there. The scan comes right after a pull, in the same run and over
 * the same connection, and the next pull only after its decision. Therefore:
 *
 *   - every row version that has landed by then was seen by an earlier snapshot; if its key is not in this one, it has been deleted;
 *   - a row with that key that comes later, be it while the scan is under way, lands by a later pull, behind the tombstone.
 *
 * So of a key's records the last that landed says whether it is there, and one snapshot is enough: no second look is needed. What would break it is a
 * standby that is behind another one from which was pulled: none that ends below what has landed is asked. (A tombstone's `xid` is where its snapshot ended; a
 * transaction that was open then may have a lower one, and bring the row back: by landing, not by xid, is what comes later.)
 *
 * Files and store: the new file is durable before the decision that names it; the decision is one with the tombstones; the older files go once that is
 * published. The part "deletes" of the stream has it, so that whoever resets a stream's positions resets this too.
 *
 * happy path    load: the part, the folder -> … -> a pull is decided -> due? -> root -> COPY of the keys -> worker: sort -> compare, tombstones -> file -> decide
 * ways to fail  anything: what is under way is dropped, the run fails, and the next one scans again. The file is missing or damaged: told; deletes
 *               since then are not known, but of rows that landed since
 * on close      dropped; a worker that is out comes back first */
#include "keyscan.h"

#include "millrace/file.h"
#include "millrace/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const int64_t LOGS_MOST = INT64_C(256) << 20; /* of keys that have landed: then it is time, whatever deletes_every says */

static void drop_slices(struct keyscan *k)
{
    for (struct key_slice *x = k->first, *next; x; x = next) {
        next = x->next;
        free(x);
    }
    k->first = k->last = NULL;
    k->waiting = 0;
}

void keyscan_make(struct stream *s)
{
    struct mr_metrics *m = s->pg->loop->metrics;
    if (!s->o->deletes)
        return;
    struct keyscan *k = calloc(1, sizeof *k);
    assert(k);
    k->s = s;
    k->tombstones = mr_metric(m, MR_M_POSTGRES_TOMBSTONES, s->pg->name, s->name);
    k->keys = mr_metric(m, MR_M_POSTGRES_KEYS, s->pg->name, s->name);
    bool fits = pg_keydir_path(k->dir, s->pg->core->data_dir, s->pg->name, s->name);
    pg_landed_init(&k->landed, fits ? k->dir : "");
    s->keyscan = k;
}

void keyscan_free(struct stream *s)
{
    struct keyscan *k = s->keyscan;
    if (!k)
        return;
    assert(!k->job_out && !k->compare);
    drop_slices(k);
    pg_landed_free(&k->landed);
    free(k->description);
    free(k->root);
    free(k);
    s->keyscan = NULL;
}

size_t keyscan_memory(const struct postgres_options *o)
{
    const struct pg_stream_options *all = o->streams.items;
    size_t scans = 0, each = KEYSCAN_WAITING + KEYSCAN_SLICE + 3 * PG_SORT_BYTES + 2 * PG_SORT_READS;
    for (size_t i = 0; i < o->streams.count; i++)
        scans += all[i].deletes;
    return each * (scans < (size_t)o->parallel ? scans : (size_t)o->parallel);
}

/* ---- jobs ---- */

static void submit(struct keyscan *k, enum mr_lane lane, void (*run)(struct mr_job *job), void (*done)(struct mr_job *job, bool canceled))
{
    assert(!k->job_out);
    k->job_out = true;
    k->err = (struct mr_err){0};
    k->job = (struct mr_job){.run = run, .done = done};
    mr_worker_submit(k->s->pg->loop->workers, lane, &k->job);
}

static void failed(struct keyscan *k)
{
    struct mr_err why = k->err;
    run_fail(k->s, why.code != MR_OK ? &why : &(struct mr_err){.code = MR_ECANCELED, .msg = "stopping"});
}

/* A job is back. false: the run has failed, or does now. */
static bool back(struct keyscan *k, bool canceled)
{
    k->job_out = false;
    if (canceled && k->err.code == MR_OK)
        mr_err_set(&k->err, MR_ECANCELED, "stopping");
    if (k->s->state != STREAM_ENDING && k->err.code == MR_OK)
        return true;
    failed(k);
    return false;
}

/* -- what is left of a scan: its files may be large, and closing them may take its time */
struct leftover {
    struct mr_job job;
    struct compare *compare;
    char dir[PG_DIR_MAX];
    int64_t below; /* 0: none */
};

static void leftover_run(struct mr_job *job) /* Runs on: worker */
{
    struct leftover *x = MR_OF(job, struct leftover, job);
    compare_free(x->compare);
    x->compare = NULL;
    if (x->below)
        pg_keydir_remove_below(x->dir, x->below);
}

static void leftover_done(struct mr_job *job, bool canceled)
{
    struct leftover *x = MR_OF(job, struct leftover, job);
    (void)canceled;
    compare_free(x->compare);
    free(x);
}

static void leave(struct postgres *pg, struct compare *c, const char *dir, int64_t below)
{
    struct leftover *x = calloc(1, sizeof *x);
    assert(x);
    x->compare = c;
    x->below = below;
    snprintf(x->dir, sizeof x->dir, "%s", dir);
    x->job = (struct mr_job){.run = leftover_run, .done = leftover_done};
    mr_worker_submit(pg->loop->workers, MR_LANE_MISC, &x->job);
}

static void leave_compare(struct keyscan *k)
{
    struct compare *c = k->compare;
    k->compare = NULL;
    if (!c)
        return;
    if (c->landing)
        mr_landing_abandon(c->landing);
    c->landing = NULL;
    leave(k->s->pg, c, k->dir, 0);
}

/* ---- load ---- */

/* What a key's text depends on: if it changes, the keys of before are others, and say nothing. */
static void describe(struct keyscan *k)
{
    const struct stream *s = k->s;
    struct mr_buf json;
    mr_buf_init(&json, PG_KEYS_DESCRIPTION);
    mr_buf_printf(&json, "{\"as\":[%d,%d,%d,%d],\"key\":[", s->pg->o->numeric_as, s->pg->o->bigint_as, s->pg->o->json_as, s->pg->o->bytea_as);
    for (size_t i = 0; i < s->o->key.count; i++) {
        const struct pg_column *c = pg_columns_find(&s->columns, s->o->key.items[i]);
        mr_buf_puts(&json, i ? ",[" : "[");
        mr_json_put_string(&json, mr_str_c(s->o->key.items[i]));
        mr_buf_printf(&json, ",%" PRIu32 ",%d]", c ? c->base_oid : 0, c ? (int)c->form : 0);
    }
    mr_buf_puts(&json, "]}");
    free(k->description);
    k->description = strdup(mr_buf_cstr(&json));
    assert(k->description);
    mr_buf_free(&json);
}

static void tell_lost(struct keyscan *k, const char *why)
{
    char since[28];
    mr_time_text(k->at.taken_us, since);
    mr_alert_open(k->s->pg->loop->alerts, MR_A_POSTGRES_DELETES, k->s->pg->name, k->s->name,
                  "%s: what was deleted since the scan of %s is not known, but for rows that have landed since; the next scan is taken as the first", why, since);
}

static void loaded(struct keyscan *k)
{
    struct stream *s = k->s;
    s->loading--;
    if (k->state == KEYSCAN_LOADED)
        run_go_on(s);
    else
        failed(k);
}

static void look_run(struct mr_job *job) /* Runs on: worker */
{
    struct keyscan *k = MR_OF(job, struct keyscan, job);
    struct mr_err err;
    if (pg_keydir_look(k->dir, k->version, &k->at, &k->found, &err) != MR_OK) {
        k->err = err;
        mr_err_wrap(&k->err, "deletes");
    }
}

static void look_done(struct mr_job *job, bool canceled)
{
    struct keyscan *k = MR_OF(job, struct keyscan, job);
    k->job_out = false;
    if (canceled)
        mr_err_set(&k->err, MR_ECANCELED, "stopping");
    k->state = k->err.code == MR_OK ? KEYSCAN_LOADED : KEYSCAN_NEW;
    if (k->state == KEYSCAN_LOADED) {
        describe(k);
        pg_landed_at(&k->landed, k->version, k->found.next, k->found.landed_bytes, k->description);
        k->lost = k->found.missing.code != MR_OK;
        k->why_lost = k->found.missing;
        if (k->lost)
            tell_lost(k, k->why_lost.msg);
        else
            mr_cell_set(k->keys, (double)k->at.keys);
    }
    loaded(k);
}

static void on_position(void *arg, const struct mr_err *err, const struct mr_position *position)
{
    struct keyscan *k = arg;
    k->err = *err;
    if (err->code != MR_OK) {
        k->state = KEYSCAN_NEW;
        loaded(k);
        return;
    }
    k->version = position->version;
    k->at = (struct pg_keys_named){0};
    if (position->version && position->value.p && mr_json_check(position->value, NULL) == MR_OK)
        k->at = pg_keys_named_get(position->value);
    submit(k, MR_LANE_MISC, look_run, look_done);
}

void keyscan_load(struct stream *s)
{
    struct keyscan *k = s->keyscan;
    bool again = false;
    if (!k || s->pg->replay)
        return;
    for (const struct relation *r = s->relations; r; r = r->next)
        again |= r->state == RELATION_NEW; /* whoever has moved theirs may have moved ours */
    if (k->state == KEYSCAN_LOADED && !again) {
        describe(k);
        pg_landed_at(&k->landed, k->version, 0, 0, k->description);
        return;
    }
    if (k->state == KEYSCAN_LOADING)
        return;
    k->state = KEYSCAN_LOADING;
    s->loading++;
    mr_source_position(s->pg->src, mr_str_c(s->name), MR_STR(KEYSCAN_PART), on_position, k);
}

struct pg_landed *keyscan_landed(struct stream *s)
{
    return s->keyscan && !s->pg->replay ? &s->keyscan->landed : NULL;
}

/* ---- due? ---- */

bool keyscan_wanted(struct stream *s)
{
    struct keyscan *k = s->keyscan;
    const struct postgres *pg = s->pg;
    int64_t now_us = mr_wall_us();
    if (!k || pg->replay || pg->paused || pg->draining || pg->stopping || k->state != KEYSCAN_LOADED)
        return false;
    if (s->xmax > k->high)
        k->high = s->xmax;
    for (const struct relation *r = s->relations; r; r = r->next)
        if (r->at.end > k->high)
            k->high = r->at.end;
    return k->lost || k->at.taken_us == 0 || now_us < k->at.taken_us || now_us - k->at.taken_us >= s->o->deletes_every_ms * 1000 || pg_landed_bytes(&k->landed) > LOGS_MOST;
}

/* ---- the end ---- */

static void end(struct keyscan *k)
{
    struct stream *s = k->s;
    char *root = k->root;
    k->step = KEYSCAN_IDLE;
    k->root = NULL;
    free(root);
    leave_compare(k);
    run_scanned(s);
}

void keyscan_published(struct stream *s, int64_t version, enum mr_published how)
{
    struct keyscan *k = s->keyscan;
    if (how == MR_PUBLISHED) /* a reset may have come meanwhile, after which versions begin anew */
        leave(s->pg, NULL, k->dir, version < k->version ? version : k->version);
}

void keyscan_decided(struct stream *s, const struct mr_err *err)
{
    struct keyscan *k = s->keyscan;
    struct compare *c = k->compare;
    k->step = KEYSCAN_READING; /* of no decision any more */
    if (err->code != MR_OK) {
        k->state = KEYSCAN_NEW;
        run_fail(s, err);
        return;
    }
    mr_cell_set(k->keys, (double)c->is.keys);
    mr_cell_add(k->tombstones, c->gone);
    if (c->was_wrong.code != MR_OK) {
        tell_lost(k, c->was_wrong.msg);
    } else if (c->log_wrong.code != MR_OK) {
        mr_alert_open(s->pg->loop->alerts, MR_A_POSTGRES_DELETES, s->pg->name, s->name, "keys of rows that have landed: %s. Of those rows some deletes are not known", c->log_wrong.msg);
    } else if (c->has_was) {
        mr_alert_close(s->pg->loop->alerts, MR_A_POSTGRES_DELETES, s->pg->name, s->name);
    }
    mr_log_info(s->pg->loop->log, s->pg->name, "keyscan", MR_S("stream", s->name), MR_I("keys", c->is.keys), MR_I("deleted", c->gone), MR_S("against", c->has_was ? "the last" : "none"),
                MR_I("took_ms", (mr_wall_us() - k->began_us) / 1000));
    k->version++;
    k->at = c->is;
    k->lost = false;
    pg_landed_at(&k->landed, k->version, 0, 0, k->description);
    if (s->state == STREAM_ENDING)
        run_fail(s, err);
    else
        end(k);
}

static void decide(struct keyscan *k)
{
    struct stream *s = k->s;
    struct compare *c = k->compare;
    struct decision d = {.keyscan = c->is.file};
    struct mr_landing *landing = c->landing;
    struct mr_buf value;
    c->landing = NULL;
    c->is.xmax = k->xmax;
    c->is.taken_us = k->taken_us;
    if (mr_landing_records(landing) == 0) { /* of a move alone: it holds no day */
        mr_landing_abandon(landing);
        landing = mr_landing_begin(s->pg->core->landings, mr_str_c(s->pg->name), mr_str_c(s->pg->run), MR_LANDING_ROLLING, &(struct mr_landing_owner){0});
    }
    mr_buf_init(&value, 1024);
    pg_keys_named_put(&c->is, &value);
    decision_part(&d, s, KEYSCAN_PART, k->version, mr_buf_str(&value));
    mr_buf_free(&value);
    k->step = KEYSCAN_DECIDING;
    s->state = STREAM_DECIDING;
    decision_ask(&d, s, NULL, landing, c->gone);
}

/* ---- comparing ---- */

static void end_run(struct mr_job *job) /* Runs on: worker */
{
    struct keyscan *k = MR_OF(job, struct keyscan, job);
    struct mr_err err;
    if (compare_end(k->compare, &err) != MR_OK)
        k->err = err;
}

static void end_done(struct mr_job *job, bool canceled)
{
    struct keyscan *k = MR_OF(job, struct keyscan, job);
    if (back(k, canceled))
        decide(k);
}

static void slice_run(struct mr_job *job) /* Runs on: worker */
{
    struct keyscan *k = MR_OF(job, struct keyscan, job);
    struct mr_err err;
    if (compare_slice(k->compare, &err) != MR_OK)
        k->err = err;
}

static void slice_done(struct mr_job *job, bool canceled)
{
    struct keyscan *k = MR_OF(job, struct keyscan, job);
    struct compare *c = k->compare;
    if (c->landing)
        mr_landing_slice_done(c->landing);
    if (!back(k, canceled))
        return;
    if (c->step == COMPARE_OVER) {
        submit(k, MR_LANE_SYNC, end_run, end_done);
        return;
    }
    if (c->step == COMPARE_MERGE && !c->landing)
        c->landing = mr_landing_begin(k->s->pg->core->landings, mr_str_c(k->s->pg->name), mr_str_c(k->s->pg->run), MR_LANDING_WHOLE, &(struct mr_landing_owner){0});
    submit(k, c->step == COMPARE_MERGE ? MR_LANE_COMPRESS : MR_LANE_MISC, slice_run, slice_done); /* only where records are added is it the landing's lane */
}

static void begin_run(struct mr_job *job) /* Runs on: worker */
{
    struct keyscan *k = MR_OF(job, struct keyscan, job);
    struct mr_err err;
    if (compare_begin(k->compare, &err) != MR_OK)
        k->err = err;
}

static void begin_done(struct mr_job *job, bool canceled)
{
    struct keyscan *k = MR_OF(job, struct keyscan, job);
    if (back(k, canceled))
        submit(k, MR_LANE_MISC, slice_run, slice_done);
}

/* ---- rows ---- */

static void rows_run(struct mr_job *job) /* Runs on: worker */
{
    struct keyscan *k = MR_OF(job, struct keyscan, job);
    const struct key_slice *x = k->out;
    for (size_t at = 0; at < x->n && k->err.code == MR_OK;) {
        uint32_t n;
        struct mr_err err = {0};
        memcpy(&n, x->bytes + at, sizeof n);
        if (compare_row(k->compare, (struct mr_str){x->bytes + at + sizeof n, n}, &err) != MR_OK)
            k->err = err;
        at += sizeof n + n;
    }
}

static void more_rows(struct keyscan *k);

static void rows_done(struct mr_job *job, bool canceled)
{
    struct keyscan *k = MR_OF(job, struct keyscan, job);
    free(k->out);
    k->out = NULL;
    if (!back(k, canceled))
        return;
    more_rows(k);
    if (k->held && k->waiting < KEYSCAN_WAITING / 2) {
        k->held = false;
        pg_conn_go_on(k->s->link->conn);
    }
}

static void more_rows(struct keyscan *k)
{
    struct key_slice *x = k->first;
    if (k->job_out || (x && x == k->last && !k->ended && x->n < KEYSCAN_SLICE / 2))
        return;
    if (!x) {
        if (k->ended && k->step == KEYSCAN_READING) {
            k->step = KEYSCAN_COMPARING;
            k->compare->is.xmax = k->xmax;
            submit(k, MR_LANE_MISC, begin_run, begin_done);
        }
        return;
    }
    k->first = x->next;
    if (!k->first)
        k->last = NULL;
    k->waiting -= x->n;
    k->out = x;
    submit(k, MR_LANE_MISC, rows_run, rows_done);
}

static bool on_copy(void *arg, const char *row, size_t n)
{
    struct stream *s = arg;
    struct keyscan *k = s->keyscan;
    uint32_t length = (uint32_t)n;
    struct key_slice *x = k->last;
    if (s->state == STREAM_ENDING || s->err.code != MR_OK)
        return true;
    if (!x || x->cap - x->n < sizeof length + n) {
        size_t cap = sizeof length + n > KEYSCAN_SLICE ? sizeof length + n : KEYSCAN_SLICE;
        x = malloc(sizeof *x + cap);
        assert(x);
        *x = (struct key_slice){.cap = cap};
        if (k->last)
            k->last->next = x;
        else
            k->first = x;
        k->last = x;
    }
    memcpy(x->bytes + x->n, &length, sizeof length);
    memcpy(x->bytes + x->n + sizeof length, row, n);
    x->n += sizeof length + n;
    k->waiting += sizeof length + n;
    s->bytes_run += (int64_t)n;
    more_rows(k);
    k->held = k->waiting >= KEYSCAN_WAITING;
    return !k->held;
}

/* ---- what is asked ---- */

static void take_snapshot(struct stream *s, PGresult *r)
{
    struct keyscan *k = s->keyscan;
    k->xmax = strtoull(PQgetvalue(r, 0, 0), NULL, 10);
    if (PQnfields(r) > 1 && strcmp(PQgetvalue(r, 0, 1), s->stamp) != 0) {
        s->looked_ms = 0;
        mr_err_set(&s->err, MR_EFENCED, "the columns have changed");
    }
}

static void on_result(void *arg, PGresult *r, size_t which)
{
    struct stream *s = arg;
    if (which == 0)
        take_snapshot(s, r);
    else
        s->keyscan->changed = PQntuples(r) != 1 || strcmp(PQgetvalue(r, 0, 0), "0") != 0;
}

static void on_end(void *arg, const struct mr_err *err, const char *state)
{
    struct stream *s = arg;
    struct keyscan *k = s->keyscan;
    struct mr_err why = *err;
    if (strcmp(state, "40001") == 0)
        mr_cell_add(s->pg->conflicts, 1);
    if (s->state != STREAM_ENDING && s->err.code != MR_OK)
        why = s->err;
    else if (why.code == MR_OK && k->changed)
        mr_err_set(&why, MR_EFENCED, "%s was rewritten or emptied while its keys were read", s->o->table);
    if (s->state == STREAM_ENDING || why.code != MR_OK) {
        run_fail(s, &why);
        return;
    }
    k->ended = true;
    more_rows(k);
}

/* Is a relation's file another than the snapshot's? Then what was read may have been emptied since. */
static void put_changed(struct mr_buf *sql, const struct stream *s)
{
    mr_buf_printf(sql,
                  "WITH RECURSIVE tree(oid) AS (SELECT %" PRIu32 "::pg_catalog.oid UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree t ON i.inhparent = t.oid) "
                  "SELECT pg_catalog.count(*) FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid WHERE c.relkind IN ('r','m') AND c.relfilenode <> 0 "
                  "AND c.relfilenode IS DISTINCT FROM pg_catalog.pg_relation_filenode(c.oid); ",
                  s->root_oid);
}

static void read_keys(struct stream *s)
{
    struct keyscan *k = s->keyscan;
    const struct pg_query q = {.on_result = on_result, .on_copy = on_copy, .on_end = on_end, .arg = s};
    struct mr_buf sql;
    k->compare = compare_new(k);
    k->taken_us = mr_wall_us();
    mr_buf_init(&sql, 16 << 20);
    sql_session(&sql, s);
    if (k->lockable)
        mr_buf_printf(&sql, "LOCK TABLE %s IN ACCESS SHARE MODE; ", k->root);
    mr_buf_puts(&sql, "SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text");
    if (!s->o->query)
        look_stamp(&sql, s);
    mr_buf_puts(&sql, "; COPY (SELECT ");
    pg_select_list(&k->compare->columns, &k->compare->style, 0, "t", &sql);
    if (s->o->query)
        mr_buf_printf(&sql, " FROM (%s\n) AS t", s->o->query);
    else
        mr_buf_printf(&sql, " FROM %s AS t", k->root);
    if (s->o->where)
        mr_buf_printf(&sql, " WHERE (%s\n)", s->o->where); /* it may end in a comment */
    mr_buf_puts(&sql, ") TO STDOUT (FORMAT binary); ");
    if (!s->o->query)
        put_changed(&sql, s);
    mr_buf_puts(&sql, "COMMIT");
    pg_conn_query(s->link->conn, mr_buf_cstr(&sql), &q);
    mr_buf_free(&sql);
}

static void on_root(void *arg, PGresult *r, size_t which)
{
    struct stream *s = arg;
    struct keyscan *k = s->keyscan;
    (void)which;
    if (PQntuples(r) != 1)
        return;
    free(k->root);
    k->root = strdup(PQgetvalue(r, 0, 0));
    assert(k->root);
    k->lockable = PQgetvalue(r, 0, 1)[0] == 't';
    k->standby = PQgetvalue(r, 0, 2)[0] == 't';
    k->xmax = strtoull(PQgetvalue(r, 0, 3), NULL, 10);
}

/* A standby that has not seen what has landed, perhaps from another. What is gone there may have come again. */
static bool is_behind(struct keyscan *k)
{
    uint64_t seen = k->high > k->at.xmax ? k->high : k->at.xmax;
    bool behind = k->standby && k->xmax < seen;
    if (behind && !k->behind)
        mr_log_warn(k->s->pg->loop->log, k->s->pg->name, "keyscan_waits", MR_S("stream", k->s->name), MR_S("why", "the standby is behind what has landed, and cannot say what is gone"),
                    MR_I("shows", (int64_t)k->xmax), MR_I("landed", (int64_t)seen));
    k->behind = behind;
    return behind;
}

static void on_root_end(void *arg, const struct mr_err *err, const char *state)
{
    struct stream *s = arg;
    struct mr_err why = *err;
    (void)state;
    if (s->state != STREAM_ENDING && why.code == MR_OK && !s->keyscan->root) {
        s->looked_ms = 0;
        mr_err_set(&why, MR_EFENCED, "%s is gone", s->o->table);
    }
    if (s->state == STREAM_ENDING || why.code != MR_OK)
        run_fail(s, &why);
    else if (is_behind(s->keyscan))
        end(s->keyscan);
    else
        read_keys(s);
}

void keyscan(struct stream *s)
{
    struct keyscan *k = s->keyscan;
    const struct pg_query q = {.on_result = on_root, .on_end = on_root_end, .arg = s};
    struct mr_buf sql;
    s->state = STREAM_SCANNING;
    s->err = (struct mr_err){0};
    k->step = KEYSCAN_READING;
    k->held = k->ended = k->changed = k->lockable = false;
    k->began_us = mr_wall_us();
    free(k->root);
    k->root = NULL;
    if (!pg_conn_ready(s->link->conn)) {
        run_fail(s, &(struct mr_err){.code = MR_ENET, .msg = "the connection is gone"});
        return;
    }
    mr_buf_init(&sql, 4096);
    mr_buf_puts(&sql, s->o->query ? "SELECT '', false" : "SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), c.relkind IN ('r','p','v') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')");
    mr_buf_puts(&sql, ", pg_catalog.pg_is_in_recovery(), pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text");
    if (!s->o->query)
        mr_buf_printf(&sql, " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %" PRIu32, s->root_oid);
    pg_conn_query(s->link->conn, mr_buf_cstr(&sql), &q);
    mr_buf_free(&sql);
}

/* ---- failing ---- */

void keyscan_drop(struct stream *s)
{
    if (s->keyscan)
        drop_slices(s->keyscan);
}

bool keyscan_is_quiet(struct stream *s)
{
    struct keyscan *k = s->keyscan;
    if (!k || k->step == KEYSCAN_IDLE)
        return !k || !k->job_out;
    if (k->job_out || k->step == KEYSCAN_DECIDING)
        return false;
    drop_slices(k);
    leave_compare(k);
    free(k->root);
    k->root = NULL;
    k->step = KEYSCAN_IDLE;
    return true;
}
