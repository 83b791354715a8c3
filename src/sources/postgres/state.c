/* SPDX-License-Identifier: Apache-2.0 */
/* state.c - a relation's position and the ids that have landed: from the store, and into a decision.
 *
 * happy path    load: the position, then the pieces of its ids -> … -> decide: the move, and the pieces that have changed
 * ways to fail  the store does not answer: the run fails; a position that makes no sense: the stream fails and says so; a decision is lost: the
 *               relation is loaded anew once nothing of it is undecided
 * on close      what is decided and not published keeps its flight until its callback comes */
#include "postgres.h"

#include "millrace/json.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIND_IDS "xids"
enum { ROWS_AT_ONCE = 1000, VALUE_LIMIT = 64 << 20 };

struct relation *relation_of(struct stream *s, const char *part)
{
    struct relation **at = &s->relations;
    for (; *at; at = &(*at)->next)
        if (strcmp((*at)->part, part) == 0)
            return *at;
    struct relation *r = calloc(1, sizeof *r);
    assert(r);
    r->s = s;
    r->part = strdup(part);
    r->ids = pg_ids_new();
    assert(r->part);
    pg_position_init(&r->at);
    pg_position_init(&r->next_at);
    *at = r;
    return r;
}

static void forget_stale(struct relation *r)
{
    for (size_t i = 0; i < r->stale_count; i++)
        free(r->stale[i]);
    free(r->stale);
    r->stale = NULL;
    r->stale_count = 0;
}

void relation_free(struct relation *r)
{
    forget_stale(r);
    pg_position_free(&r->at);
    pg_position_free(&r->next_at);
    pg_ids_free(r->ids);
    pg_met_free(r->met);
    free(r->events);
    free(r->again_where);
    free(r->part);
    free(r->sql);
    free(r);
}

/* ---- load ---- */

static void loaded(struct relation *r, const struct mr_err *err)
{
    struct stream *s = r->s;
    r->state = err->code == MR_OK ? RELATION_LOADED : RELATION_NEW;
    s->loading--;
    if (err->code != MR_OK)
        run_fail(s, err);
    else
        run_go_on(s);
}

static void prefix(const struct relation *r, char *out, size_t n)
{
    snprintf(out, n, "%s%s/", r->s->pg->prefix, r->part);
}

static void read_more(struct relation *r, struct mr_str after);

static void stale(struct relation *r, struct mr_str key)
{
    r->stale = realloc(r->stale, (r->stale_count + 1) * sizeof *r->stale);
    assert(r->stale);
    r->stale[r->stale_count] = strndup(key.p, key.n);
    assert(r->stale[r->stale_count]);
    r->stale_count++;
}

static void on_rows(void *arg, const struct mr_err *err, const struct mr_kept_row *rows, size_t count)
{
    struct relation *r = arg;
    char ours[600];
    struct mr_err why = *err;
    struct mr_buf text;
    mr_buf_init(&text, 1 << 20);
    prefix(r, ours, sizeof ours);
    size_t n = strlen(ours), i = 0;
    for (; why.code == MR_OK && i < count && rows[i].key.n > n && memcmp(rows[i].key.p, ours, n) == 0; i++) {
        struct pg_piece at;
        struct mr_str name = {rows[i].key.p + n, rows[i].key.n - n};
        if (r->by_person) { /* what had landed does not count */
            stale(r, rows[i].key);
            continue;
        }
        mr_buf_clear(&text);
        if (!pg_piece_of(name, &at) || !mr_json_string(mr_json_at(rows[i].value, MR_STR("/ids")), &text) || !pg_ids_read(r->ids, at, mr_buf_str(&text)))
            mr_err_set(&why, MR_ECORRUPT, "source_rows %.*s of kind " KIND_IDS " is no set of transaction ids: restore it, or begin anew with `state set … {}`", (int)rows[i].key.n, rows[i].key.p);
    }
    mr_buf_free(&text);
    if (why.code == MR_OK && i == count && count == ROWS_AT_ONCE)
        read_more(r, rows[count - 1].key);
    else
        loaded(r, &why);
}

static void read_more(struct relation *r, struct mr_str after)
{
    mr_store_rows(r->s->pg->core->store, mr_str_c(r->s->pg->name), mr_str_c(r->s->name), MR_STR(KIND_IDS), after, ROWS_AT_ONCE, on_rows, r);
}

static void on_position(void *arg, const struct mr_err *err, const struct mr_position *position)
{
    struct relation *r = arg;
    char ours[600];
    struct mr_err why = *err;
    pg_position_free(&r->at);
    if (why.code == MR_OK && position->version && position->value.p && pg_position_get(position->value, &r->at, &why) != MR_OK)
        mr_err_wrap(&why, "the position of %s: set another by `millrace state set`", r->part);
    if (why.code != MR_OK) {
        loaded(r, &why);
        return;
    }
    r->version = position->version;
    r->by_person = position->version == 0 || position->version != r->at.version; /* a reset leaves no position, and ids */
    if (r->by_person)
        r->at.swept = r->at.x;
    if (r->s->history.count == 0)
        r->s->history = r->at.runs;
    r->moved_ms = r->asked_ms = mr_loop_now_ms(r->s->pg->loop);
    prefix(r, ours, sizeof ours);
    read_more(r, mr_str_c(ours));
}

static void part_name(const struct relation *r, char *out, size_t n)
{
    snprintf(out, n, "%s%s", r->s->pg->prefix, r->part);
}

void relation_load(struct relation *r)
{
    char part[600];
    assert(r->undecided == 0);
    part_name(r, part, sizeof part);
    r->state = RELATION_LOADING;
    r->s->loading++;
    pg_ids_free(r->ids);
    r->ids = pg_ids_new();
    forget_stale(r);
    mr_source_position(r->s->pg->src, mr_str_c(r->s->name), mr_str_c(part), on_position, r);
}

static char *key_of(const struct relation *r, struct pg_piece at)
{
    char ours[600], name[32], *key;
    prefix(r, ours, sizeof ours);
    pg_piece_name(at, name);
    if (asprintf(&key, "%s%s", ours, name) < 0)
        abort();
    return key;
}

static void forget_piece(void *arg, struct pg_piece at)
{
    char *key = key_of(arg, at);
    stale(arg, mr_str_c(key));
    free(key);
}

void relation_anew(struct relation *r)
{
    struct pg_history runs = r->at.runs;
    pg_ids_clear(r->ids, forget_piece, r);
    pg_position_free(&r->at);
    r->at.runs = runs;
}

void relation_back(struct relation *r, uint64_t x)
{
    pg_ids_clear(r->ids, forget_piece, r);
    pg_walk_end(&r->at);
    r->at.x = x < 3 ? 3 : x;
    r->at.swept = r->at.x;
    r->at.l = MR_NO_TIME;
    r->at.lsn = r->at.timeline = 0;
    r->at.held_count = 0;
}

static void on_version(void *arg, const struct mr_err *err, const struct mr_position *position)
{
    struct relation *r = arg;
    r->s->loading--;
    if (err->code != MR_OK) {
        run_fail(r->s, err);
        return;
    }
    if (position->version != r->version)
        r->state = RELATION_NEW;
    run_go_on(r->s);
}

void relation_ask(struct relation *r)
{
    char part[600];
    part_name(r, part, sizeof part);
    r->asked_ms = mr_loop_now_ms(r->s->pg->loop);
    r->s->loading++;
    mr_source_position(r->s->pg->src, mr_str_c(r->s->name), mr_str_c(part), on_version, r);
}

/* Partitions that were there, and may be no more. */
static void on_positions(void *arg, const struct mr_err *err, const struct mr_position *positions, size_t count)
{
    struct stream *s = arg;
    struct mr_err why = *err;
    for (size_t i = 0; why.code == MR_OK && i < count; i++) {
        char part[512];
        if (!mr_str_eq(positions[i].stream, mr_str_c(s->name)) || mr_str_eq(positions[i].part, MR_STR(KEYSCAN_PART)) || positions[i].part.n >= sizeof part || (positions[i].part.n > 7 && memcmp(positions[i].part.p, "replay/", 7) == 0))
            continue;
        snprintf(part, sizeof part, "%.*s", (int)positions[i].part.n, positions[i].part.p);
        relation_of(s, part);
    }
    s->loading--;
    s->listed = why.code == MR_OK;
    if (why.code != MR_OK)
        run_fail(s, &why);
    else
        run_go_on(s);
}

void relations_list(struct stream *s)
{
    s->loading++;
    mr_store_positions(s->pg->core->store, mr_str_c(s->pg->name), on_positions, s);
}

uint64_t relation_behind(const struct relation *r)
{
    uint64_t low = r->at.swept && r->at.swept < r->at.x ? r->at.swept : r->at.x;
    return low && r->s->pg->xmax > low ? r->s->pg->xmax - low : 0;
}

void relation_forget(struct relation *r, uint64_t from, uint64_t below)
{
    const uint64_t step = UINT64_C(1) << 30;
    for (uint64_t at = from + step; at < below; at += step)
        pg_ids_forget(r->ids, at, forget_piece, r);
    pg_ids_forget(r->ids, below, forget_piece, r);
}

/* ---- decide ---- */

static struct mr_str keep(struct decision *d, char *text)
{
    d->texts = realloc(d->texts, (d->texts_count + 1) * sizeof *d->texts);
    assert(d->texts && text);
    d->texts[d->texts_count++] = text;
    return mr_str_c(text);
}

static void row(struct decision *d, const struct relation *r, char *key, char *value)
{
    d->rows = realloc(d->rows, (d->rows_count + 1) * sizeof *d->rows);
    assert(d->rows);
    d->rows[d->rows_count++] = (struct mr_row){.source = mr_str_c(r->s->pg->name),
                                               .stream = mr_str_c(r->s->name),
                                               .kind = MR_STR(KIND_IDS),
                                               .key = keep(d, key),
                                               .value = value ? keep(d, value) : (struct mr_str){0},
                                               .expected_version = -1};
}

struct putting {
    struct decision *d;
    struct relation *r;
};

static void put_piece(void *arg, struct pg_piece at, struct mr_str base64)
{
    struct putting *p = arg;
    char *value;
    if (asprintf(&value, "{\"ids\":\"%.*s\"}", (int)base64.n, base64.p) < 0)
        abort();
    row(p->d, p->r, key_of(p->r, at), value);
}

static void drop_piece(void *arg, struct pg_piece at)
{
    struct putting *p = arg;
    row(p->d, p->r, key_of(p->r, at), NULL);
}

void decision_move(struct decision *d, struct relation *r, int64_t l, const struct pg_met *met)
{
    struct putting p = {d, r};
    char part[600];
    struct mr_buf value;
    for (size_t i = 0; i < r->stale_count; i++) {
        row(d, r, r->stale[i], NULL);
        r->stale[i] = NULL;
    }
    forget_stale(r);
    if (met && pg_met_count(met)) {
        pg_ids_add(r->ids, l, met);
        pg_ids_pieces(r->ids, l, met, put_piece, &p);
    }
    /* what no run and no sweep will ask about any more */
    pg_ids_forget(r->ids, r->at.swept && r->at.swept < r->at.x ? r->at.swept : r->at.x, drop_piece, &p);
    mr_buf_init(&value, VALUE_LIMIT);
    r->at.version = r->version + 1;
    pg_position_put(&r->at, &value);
    assert(!value.failed);
    part_name(r, part, sizeof part);
    d->moves = realloc(d->moves, (d->moves_count + 1) * sizeof *d->moves);
    assert(d->moves);
    d->moves[d->moves_count++] = (struct mr_move){.source = mr_str_c(r->s->pg->name),
                                                  .stream = mr_str_c(r->s->name),
                                                  .part = keep(d, strdup(part)),
                                                  .expected_version = r->version++,
                                                  .value = keep(d, strndup(value.p, value.n))};
    mr_buf_free(&value);
    r->moved_ms = r->asked_ms = mr_loop_now_ms(r->s->pg->loop);
}

/* ---- flights ---- */

static void flight_gone(struct flight *x)
{
    if (x->pg) {
        struct flight **at = &x->pg->flights;
        while (*at != x)
            at = &(*at)->next;
        *at = x->next;
    }
    free(x->moved);
    free(x);
}

static void on_decided(void *arg, const struct mr_verdict *verdict)
{
    struct flight *x = arg;
    struct postgres *pg = x->pg;
    struct stream *s = x->s;
    struct chunk *chunk = x->chunk;
    bool keyscan = x->keyscan != 0;
    struct mr_err err = verdict->code == MR_OK ? (struct mr_err){0} : *verdict->err;
    for (size_t i = 0; i < x->moved_count; i++) {
        x->moved[i]->undecided--;
        if (verdict->code != MR_OK)
            x->moved[i]->state = RELATION_NEW;
    }
    if (verdict->code == MR_OK)
        x->decided = true;
    else
        flight_gone(x);
    if (chunk)
        walk_decided(chunk, &err);
    else if (keyscan)
        keyscan_decided(s, &err);
    else
        pull_decided(s, &err);
    postgres_pump(pg);
}

static void on_published(void *arg, enum mr_published how)
{
    struct flight *x = arg;
    struct postgres *pg = x->pg;
    if (pg && pg->replay && how != MR_PUBLISH_LOST)
        pg->replay->records += x->rows;
    if (pg && x->keyscan)
        keyscan_published(x->s, x->keyscan, how);
    flight_gone(x);
    if (pg)
        postgres_pump(pg);
}

void flights_leave(struct postgres *pg)
{
    for (struct flight *x = pg->flights; x; x = x->next)
        x->pg = NULL;
    pg->flights = NULL;
}

void decision_part(struct decision *d, const struct stream *s, const char *part, int64_t version, struct mr_str value)
{
    d->moves = realloc(d->moves, (d->moves_count + 1) * sizeof *d->moves);
    assert(d->moves);
    d->moves[d->moves_count++] = (struct mr_move){.source = mr_str_c(s->pg->name),
                                                  .stream = mr_str_c(s->name),
                                                  .part = keep(d, strdup(part)),
                                                  .expected_version = version,
                                                  .value = keep(d, strndup(value.p, value.n))};
}

void decision_ask(struct decision *d, struct stream *s, struct chunk *chunk, struct mr_landing *landing, int64_t rows)
{
    struct flight *x = calloc(1, sizeof *x);
    assert(x);
    x->pg = s->pg;
    x->s = s;
    x->chunk = chunk;
    x->keyscan = d->keyscan;
    x->rows = rows;
    x->moved = calloc(d->moves_count ? d->moves_count : 1, sizeof *x->moved);
    assert(x->moved);
    for (size_t i = 0; i < d->moves_count; i++)
        for (struct relation *r = s->relations; r; r = r->next) {
            char part[600];
            part_name(r, part, sizeof part);
            if (mr_str_eq(d->moves[i].part, mr_str_c(part))) {
                r->undecided++;
                x->moved[x->moved_count++] = r;
            }
        }
    x->next = s->pg->flights;
    s->pg->flights = x;
    struct mr_landing_end end = {.on_decided = on_decided, .on_published = on_published, .arg = x};
    mr_landing_decide(landing, d->moves, d->moves_count, d->rows, d->rows_count, NULL, 0, &end);
    for (size_t i = 0; i < d->texts_count; i++)
        free(d->texts[i]);
    free(d->texts);
    free(d->moves);
    free(d->rows);
    *d = (struct decision){0};
}
