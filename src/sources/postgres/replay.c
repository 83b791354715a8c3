/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - rows land again: those whose watermark lies in a window, or what a lost landing held. As they are now: a table keeps no older versions.
 *
 * happy path    one pull of each stream that is meant, without regard to what has landed, under positions of the run's own
 * ways to fail  a stream without a watermark cannot be asked for a window; cut off, a stream is done again as a whole when the run is run again */
#include "postgres.h"

#include "millrace/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool replay_is_over(struct stream *s)
{
    bool over = true;
    for (struct relation *r = s->relations; r; r = r->next) {
        if (s->pg->replay->moves.n)
            r->there = r->there && r->again; /* the landing was of that one alone */
        over &= !r->there || r->at.x > 0;    /* it has landed, at an earlier try */
    }
    return over;
}

void replay_where(struct mr_buf *sql, const struct stream *s, const struct relation *r)
{
    const struct postgres *pg = s->pg;
    if (pg->replay->moves.n) {
        mr_buf_puts(sql, r->again_where ? r->again_where : "true");
        return;
    }
    pull_compare(sql, s, ">=", pg->again_from);
    if (pg->again_to == MR_NO_TIME)
        return;
    mr_buf_puts(sql, " AND ");
    pull_compare(sql, s, "<", pg->again_to);
}

/* ---- a lost landing ---- */

/* Pages that it read: done in the new position, and not in the old one. */
static void put_spans(struct mr_buf *sql, const struct pg_walk *walk, const struct pg_walk *before, bool whole)
{
    struct pg_walk rest = *walk;
    struct pg_span span;
    const char *or_ = "(";
    rest.done = NULL;
    rest.done_count = 0;
    for (size_t i = 0; i < before->done_count; i++)
        pg_walk_done(&rest, before->done[i]);
    while (pg_walk_next(&rest, NULL, 0, INT64_MAX, &span)) {
        pg_walk_done(&rest, span);
        for (size_t i = 0; i < walk->done_count || (whole && i == 0); i++) {
            int64_t from = whole ? span.from : walk->done[i].from, to = whole ? span.to : walk->done[i].to;
            from = from > span.from ? from : span.from;
            to = to < span.to ? to : span.to;
            if (from >= to)
                continue;
            mr_buf_printf(sql, "%s(t.ctid >= '(%" PRId64 ",0)'::pg_catalog.tid AND t.ctid < '(%" PRId64 ",0)'::pg_catalog.tid)", or_, from, to);
            or_ = " OR ";
        }
    }
    free(rest.done);
    mr_buf_puts(sql, *or_ == '(' ? "false" : ")");
}

static void take_range(struct relation *r, const struct pg_position *old, const struct pg_position *new)
{
    const struct pg_walk *walk = new->walk.kind != PG_WALK_NONE ? &new->walk : &old->walk;
    struct mr_buf where;
    mr_buf_init(&where, 1 << 20);
    r->again = true;
    r->again_lo = old->x;
    r->again_hi = new->end ? new->end : new->x;
    if (walk->kind != PG_WALK_NONE && old->x == new->x && new->walk.kind != PG_WALK_NONE) {
        r->again_lo = walk->lo;
        r->again_hi = walk->hi;
        put_spans(&where, walk, &old->walk, false);
    } else if (walk->kind != PG_WALK_NONE) { /* the walk's last chunk */
        r->again_lo = walk->lo;
        r->again_hi = walk->hi;
        put_spans(&where, walk, &old->walk, true);
    } else if (r->s->method == PG_WINDOW && r->s->watermark) {
        pull_compare(&where, r->s, "<", new->l);
        if (old->l != MR_NO_TIME) {
            mr_buf_puts(&where, " AND ");
            pull_compare(&where, r->s, ">=", old->l);
        }
    }
    free(r->again_where);
    r->again_where = where.n ? strdup(mr_buf_cstr(&where)) : NULL;
    mr_buf_free(&where);
}

static struct stream *stream_of(struct postgres *pg, struct mr_str name)
{
    for (size_t i = 0; i < pg->streams_count; i++)
        if (mr_str_eq(name, mr_str_c(pg->streams[i].name)))
            return &pg->streams[i];
    return NULL;
}

/* Where the relation's name begins: behind the run of a replay that was lost itself. */
static const char *bare(const char *part)
{
    const char *run = strncmp(part, "replay/", 7) == 0 ? strchr(part + 7, '/') : NULL;
    return run ? run + 1 : part;
}

static bool take_move(struct postgres *pg, struct mr_json_slice move, struct mr_err *err)
{
    struct mr_json_slice was = mr_json_at(move.raw, MR_STR("/old")), is = mr_json_at(move.raw, MR_STR("/new"));
    struct pg_position old, new;
    struct mr_buf name, part;
    mr_buf_init(&name, 1024);
    mr_buf_init(&part, 1024);
    pg_position_init(&old);
    bool fine = mr_json_string(mr_json_at(move.raw, MR_STR("/stream")), &name) && mr_json_string(mr_json_at(move.raw, MR_STR("/part")), &part) &&
                pg_position_get(is.raw, &new, err) == MR_OK;
    if (fine && was.type == MR_JSON_OBJECT)
        fine = pg_position_get(was.raw, &old, err) == MR_OK;
    struct stream *s = fine ? stream_of(pg, mr_buf_str(&name)) : NULL;
    if (fine && !s)
        mr_err_set(err, MR_ENOENT, "the landing was of stream %.*s, which the config does not know", (int)name.n, name.p);
    if (s) {
        s->once_done = false;
        take_range(relation_of(s, bare(mr_buf_cstr(&part))), &old, &new);
    }
    pg_position_free(&old);
    if (fine)
        pg_position_free(&new);
    mr_buf_free(&name);
    mr_buf_free(&part);
    return s != NULL;
}

static void take_moves(struct postgres *pg, struct mr_err *err)
{
    struct mr_json_iter it;
    struct mr_str key;
    struct mr_json_slice move;
    for (size_t i = 0; i < pg->streams_count; i++)
        pg->streams[i].once_done = true;
    mr_json_iter(&it, mr_json_at(pg->replay->moves, MR_STR("")));
    while (err->code == MR_OK && mr_json_next(&it, &key, &move))
        take_move(pg, move, err);
}

/* ---- a window ---- */

static void take_window(struct postgres *pg, struct mr_err *err)
{
    const struct mr_replay *what = pg->replay;
    pg->again_to = MR_NO_TIME;
    if (!mr_time_parse(mr_str_c(what->from), &pg->again_from) || (what->to && !mr_time_parse(mr_str_c(what->to), &pg->again_to))) {
        mr_err_set(err, MR_ECONFIG, "--from and --to are times such as 2026-11-23T02:54:10Z: watermarks from the one on, and before the other");
        return;
    }
    bool any = false;
    for (size_t i = 0; i < pg->streams_count; i++) {
        struct stream *s = &pg->streams[i];
        bool meant = !what->stream || strcmp(what->stream, s->name) == 0, can = s->o->watermark && s->o->mode != PG_SNAPSHOT;
        s->once_done = !meant || !can;
        any |= meant && can;
        if (meant && !can && what->stream)
            mr_err_set(err, MR_ECONFIG, "stream %s has no watermark: it cannot be asked for a window. `millrace state set` with {} reads all of it again", s->name);
    }
    if (!any && err->code == MR_OK)
        mr_err_set(err, MR_ENOENT, what->stream ? "there is no stream of that name" : "no stream has a watermark");
}

void postgres_replay(void *self, struct mr_replay *what)
{
    struct postgres *pg = self;
    struct mr_err err = {0};
    pg->replay = what;
    pg->run = what->run;
    snprintf(pg->prefix, sizeof pg->prefix, "replay/%s/", what->run);
    if (what->moves.n)
        take_moves(pg, &err);
    else
        take_window(pg, &err);
    pg->finishing = true;
    if (err.code != MR_OK) {
        pg->finished = true;
        mr_source_finished(pg->src, &err);
        return;
    }
    postgres_pump(pg);
}
