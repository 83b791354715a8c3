/* SPDX-License-Identifier: Apache-2.0 */
#include "position.h"

#include "millrace/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HELD_MAX = 10000, SPANS_MAX = 1 << 20 };

static const char *const kinds[] = {[PG_WALK_NONE] = "none", [PG_WALK_FIRST] = "first", [PG_WALK_CATCH_UP] = "catch_up", [PG_WALK_SWEEP] = "sweep"};

void pg_position_init(struct pg_position *p)
{
    *p = (struct pg_position){.l = MR_NO_TIME, .newest = MR_NO_TIME};
}

void pg_position_free(struct pg_position *p)
{
    free(p->columns);
    free(p->held);
    free(p->walk.done);
    pg_position_init(p);
}

static void *copy(const void *from, size_t n)
{
    void *to = n ? malloc(n) : NULL;
    assert(to || n == 0);
    if (n)
        memcpy(to, from, n);
    return to;
}

void pg_position_copy(struct pg_position *to, const struct pg_position *from)
{
    pg_position_free(to);
    *to = *from;
    to->columns = from->columns ? strdup(from->columns) : NULL;
    to->held = copy(from->held, from->held_count * sizeof *from->held);
    to->walk.done = copy(from->walk.done, from->walk.done_count * sizeof *from->walk.done);
}

/* ---- text ---- */

static void put_time(struct mr_buf *json, const char *name, int64_t us)
{
    if (us != MR_NO_TIME)
        mr_buf_printf(json, ",\"%s\":%" PRId64, name, us);
}

static void put_walk(const struct pg_walk *w, struct mr_buf *json)
{
    mr_buf_printf(json, ",\"walk\":{\"kind\":\"%s\",\"lo\":%" PRIu64 ",\"hi\":%" PRIu64 ",\"pages\":%" PRId64 ",\"node\":%" PRIu32 ",\"done\":[", kinds[w->kind], w->lo, w->hi, w->pages, w->node);
    for (size_t i = 0; i < w->done_count; i++)
        mr_buf_printf(json, "%s[%" PRId64 ",%" PRId64 "]", i ? "," : "", w->done[i].from, w->done[i].to);
    mr_buf_puts(json, "]}");
}

void pg_position_put(const struct pg_position *p, struct mr_buf *json)
{
    mr_buf_printf(json, "{\"v\":%" PRId64 ",\"x\":%" PRIu64, p->version, p->x);
    if (p->end)
        mr_buf_printf(json, ",\"end\":%" PRIu64, p->end);
    put_time(json, "l", p->l);
    if (p->server[0])
        mr_buf_printf(json, ",\"server\":\"%s\",\"timeline\":%" PRId64 ",\"database\":%" PRIu32 ",\"relation\":%" PRIu32 ",\"node\":%" PRIu32, p->server, p->timeline, p->database,
                      p->relation, p->node);
    if (p->lsn)
        mr_buf_printf(json, ",\"lsn\":%" PRId64, p->lsn);
    if (p->by[0]) {
        mr_buf_puts(json, ",\"by\":");
        mr_json_put_string(json, mr_str_c(p->by));
    }
    if (p->columns) {
        mr_buf_puts(json, ",\"columns\":");
        mr_buf_puts(json, p->columns);
    }
    if (p->held_count) {
        mr_buf_puts(json, ",\"held\":[");
        for (size_t i = 0; i < p->held_count; i++) {
            mr_buf_printf(json, "%s[\"%s\"", i ? "," : "", p->held[i].who);
            if (p->held[i].from != MR_NO_TIME)
                mr_buf_printf(json, ",%" PRId64, p->held[i].from);
            mr_buf_putc(json, ']');
        }
        mr_buf_putc(json, ']');
    }
    mr_buf_printf(json, ",\"swept\":%" PRIu64, p->swept);
    if (p->swept_at)
        mr_buf_printf(json, ",\"swept_at\":%" PRId64, p->swept_at);
    put_time(json, "newest", p->newest);
    if (p->walk.kind != PG_WALK_NONE)
        put_walk(&p->walk, json);
    mr_buf_puts(json, ",\"runs\":");
    pg_history_put(&p->runs, json);
    mr_buf_putc(json, '}');
}

static bool number(struct mr_str json, const char *pointer, int64_t least, int64_t most, int64_t *out, struct mr_err *err)
{
    struct mr_json_slice s = mr_json_at(json, mr_str_c(pointer));
    if (s.type == MR_JSON_ABSENT)
        return true;
    if (mr_json_i64(s, out) && *out >= least && *out <= most)
        return true;
    mr_err_set(err, MR_EMALFORMED, "%s is no number of its kind in %.*s", pointer + 1, (int)(json.n < 200 ? json.n : 200), json.p);
    return false;
}

static bool get_held(struct mr_str json, struct pg_position *p)
{
    struct mr_json_slice all = mr_json_at(json, MR_STR("/held")), one;
    struct mr_json_iter it;
    struct mr_str key;
    if (all.type == MR_JSON_ABSENT)
        return true;
    if (all.type != MR_JSON_ARRAY)
        return false;
    mr_json_iter(&it, all);
    while (mr_json_next(&it, &key, &one)) {
        struct mr_json_slice who = mr_json_at(one.raw, MR_STR("/0")), from = mr_json_at(one.raw, MR_STR("/1"));
        char name[48];
        int64_t us = MR_NO_TIME;
        if (who.type != MR_JSON_STRING || who.raw.n < 3 || who.raw.n - 2 >= sizeof name || p->held_count >= HELD_MAX)
            return false;
        if (from.type != MR_JSON_ABSENT && !mr_json_i64(from, &us))
            return false;
        memcpy(name, who.raw.p + 1, who.raw.n - 2);
        name[who.raw.n - 2] = 0;
        if (strpbrk(name, "\"\\"))
            return false;
        pg_held_add(p, name, us);
    }
    return true;
}

static bool get_walk(struct mr_str json, struct pg_position *p, struct mr_err *err)
{
    struct mr_json_slice walk = mr_json_at(json, MR_STR("/walk")), kind = mr_json_at(json, MR_STR("/walk/kind")), done = mr_json_at(json, MR_STR("/walk/done")), one;
    int64_t lo = 0, hi = 0, pages = 0, node = 0;
    struct mr_json_iter it;
    struct mr_str key;
    if (walk.type == MR_JSON_ABSENT)
        return true;
    if (!number(json, "/walk/lo", 0, INT64_MAX, &lo, err) || !number(json, "/walk/hi", 0, INT64_MAX, &hi, err) || !number(json, "/walk/pages", 0, UINT32_MAX, &pages, err) ||
        !number(json, "/walk/node", 0, UINT32_MAX, &node, err))
        return false;
    for (int k = PG_WALK_FIRST; k <= PG_WALK_SWEEP; k++)
        if (kind.type == MR_JSON_STRING && kind.raw.n == strlen(kinds[k]) + 2 && memcmp(kind.raw.p + 1, kinds[k], kind.raw.n - 2) == 0)
            p->walk.kind = (enum pg_walk_kind)k;
    if (p->walk.kind == PG_WALK_NONE || done.type != MR_JSON_ARRAY) {
        mr_err_set(err, MR_EMALFORMED, "walk makes no sense in %.*s", (int)(json.n < 200 ? json.n : 200), json.p);
        return false;
    }
    p->walk.lo = (uint64_t)lo;
    p->walk.hi = (uint64_t)hi;
    p->walk.pages = pages;
    p->walk.node = (uint32_t)node;
    mr_json_iter(&it, done);
    while (mr_json_next(&it, &key, &one)) {
        struct pg_span span = {0};
        if (!mr_json_i64(mr_json_at(one.raw, MR_STR("/0")), &span.from) || !mr_json_i64(mr_json_at(one.raw, MR_STR("/1")), &span.to) || span.from < 0 || span.to <= span.from ||
            span.to > pages || p->walk.done_count >= SPANS_MAX) {
            mr_err_set(err, MR_EMALFORMED, "walk.done makes no sense in %.*s", (int)(json.n < 200 ? json.n : 200), json.p);
            return false;
        }
        pg_walk_done(&p->walk, span);
    }
    return true;
}

static bool get_texts(struct mr_str json, struct pg_position *p)
{
    struct mr_json_slice server = mr_json_at(json, MR_STR("/server")), columns = mr_json_at(json, MR_STR("/columns"));
    if (server.type == MR_JSON_STRING && server.raw.n - 2 < sizeof p->server && strspn(server.raw.p + 1, "0123456789") == server.raw.n - 2)
        memcpy(p->server, server.raw.p + 1, server.raw.n - 2);
    else if (server.type != MR_JSON_ABSENT)
        return false;
    struct mr_json_slice by = mr_json_at(json, MR_STR("/by"));
    struct mr_buf text;
    mr_buf_init(&text, 4096);
    if (by.type != MR_JSON_ABSENT && (!mr_json_string(by, &text) || text.failed || text.n >= sizeof p->by)) {
        mr_buf_free(&text);
        return false;
    }
    memcpy(p->by, text.p ? text.p : "", text.n);
    mr_buf_free(&text);
    if (columns.type == MR_JSON_ARRAY) {
        p->columns = strndup(columns.raw.p, columns.raw.n);
        assert(p->columns);
    } else if (columns.type != MR_JSON_ABSENT) {
        return false;
    }
    return true;
}

static bool get(struct mr_str json, struct pg_position *p, struct mr_err *err)
{
    int64_t x = 0, end = 0, swept = 0, database = 0, relation = 0, node = 0;
    struct mr_json_slice runs = mr_json_at(json, MR_STR("/runs"));
    if (!number(json, "/v", 0, INT64_MAX, &p->version, err) || !number(json, "/x", 0, INT64_MAX, &x, err) || !number(json, "/end", 0, INT64_MAX, &end, err) || !number(json, "/l", MR_NO_TIME + 1, INT64_MAX, &p->l, err) || !number(json, "/timeline", 0, UINT32_MAX, &p->timeline, err) || !number(json, "/lsn", 0, INT64_MAX, &p->lsn, err) ||
        !number(json, "/database", 0, UINT32_MAX, &database, err) || !number(json, "/relation", 0, UINT32_MAX, &relation, err) || !number(json, "/node", 0, UINT32_MAX, &node, err) ||
        !number(json, "/swept", 0, INT64_MAX, &swept, err) || !number(json, "/swept_at", 0, INT64_MAX, &p->swept_at, err) ||
        !number(json, "/newest", MR_NO_TIME + 1, INT64_MAX, &p->newest, err))
        return false;
    p->x = (uint64_t)x;
    p->end = (uint64_t)end;
    p->swept = (uint64_t)swept;
    p->database = (uint32_t)database;
    p->relation = (uint32_t)relation;
    p->node = (uint32_t)node;
    if (!get_walk(json, p, err))
        return false;
    if (get_texts(json, p) && get_held(json, p) && (runs.type == MR_JSON_ABSENT || pg_history_get(runs.raw, &p->runs)))
        return true;
    mr_err_set(err, MR_EMALFORMED, "server, columns, held or runs make no sense in %.*s", (int)(json.n < 200 ? json.n : 200), json.p);
    return false;
}

enum mr_code pg_position_get(struct mr_str json, struct pg_position *out, struct mr_err *err)
{
    pg_position_init(out);
    if (mr_json_check(json, err) != MR_OK)
        return err->code;
    if (mr_json_at(json, MR_STR("")).type != MR_JSON_OBJECT)
        return mr_err_set(err, MR_EMALFORMED, "a position is an object, {} to begin anew or {\"l\": MICROSECONDS}, not %.*s", (int)(json.n < 200 ? json.n : 200), json.p);
    if (get(json, out, err))
        return MR_OK;
    pg_position_free(out);
    return err->code;
}

/* ---- held ---- */

bool pg_held_find(const struct pg_position *p, const char *who)
{
    for (size_t i = 0; i < p->held_count; i++)
        if (strcmp(p->held[i].who, who) == 0)
            return true;
    return false;
}

void pg_held_add(struct pg_position *p, const char *who, int64_t from)
{
    p->held = realloc(p->held, (p->held_count + 1) * sizeof *p->held);
    assert(p->held);
    struct pg_held *h = &p->held[p->held_count++];
    h->from = from;
    snprintf(h->who, sizeof h->who, "%s", who);
}

/* ---- walks ---- */

void pg_walk_begin(struct pg_position *p, enum pg_walk_kind kind, uint64_t lo, uint64_t hi, int64_t pages, uint32_t node)
{
    pg_walk_end(p);
    p->walk = (struct pg_walk){.kind = kind, .lo = lo, .hi = hi, .pages = pages, .node = node};
}

void pg_walk_end(struct pg_position *p)
{
    free(p->walk.done);
    p->walk = (struct pg_walk){0};
}

void pg_walk_done(struct pg_walk *w, struct pg_span span)
{
    size_t at = 0;
    w->done = realloc(w->done, (w->done_count + 1) * sizeof *w->done);
    assert(w->done);
    while (at < w->done_count && w->done[at].from < span.from)
        at++;
    memmove(w->done + at + 1, w->done + at, (w->done_count - at) * sizeof *w->done);
    w->done[at] = span;
    w->done_count++;
    size_t kept = 0; /* what touches becomes one */
    for (size_t i = 1; i < w->done_count; i++) {
        if (w->done[i].from > w->done[kept].to)
            w->done[++kept] = w->done[i];
        else if (w->done[i].to > w->done[kept].to)
            w->done[kept].to = w->done[i].to;
    }
    w->done_count = kept + 1;
}

static bool past(const struct pg_span *spans, size_t count, int64_t *at, int64_t *until)
{
    for (size_t i = 0; i < count; i++) {
        if (*at >= spans[i].from && *at < spans[i].to) {
            *at = spans[i].to;
            return true;
        }
        if (spans[i].from > *at && spans[i].from < *until)
            *until = spans[i].from;
    }
    return false;
}

bool pg_walk_next(const struct pg_walk *w, const struct pg_span *out, size_t out_count, int64_t most, struct pg_span *next)
{
    int64_t at = 0, until;
    do
        until = w->pages;
    while (past(w->done, w->done_count, &at, &until) || past(out, out_count, &at, &until));
    if (at >= w->pages)
        return false;
    *next = (struct pg_span){at, until - at > most ? at + most : until};
    return true;
}

bool pg_walk_whole(const struct pg_walk *w)
{
    return w->pages == 0 || (w->done_count == 1 && w->done[0].from == 0 && w->done[0].to >= w->pages);
}

int64_t pg_walk_left(const struct pg_walk *w)
{
    int64_t left = w->pages;
    for (size_t i = 0; i < w->done_count; i++)
        left -= w->done[i].to - w->done[i].from;
    return left;
}
