/* SPDX-License-Identifier: Apache-2.0 */
/* pg_position.c - positions of relations as the store, and so a person, may have them. What is taken is written back, and read again, alike; it is sane enough
 * for bounds and walks. */
#include "sources/postgres/bounds.h"
#include "sources/postgres/position.h"

#include "millrace/json.h"

#include <stdlib.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            abort();                                                                                                   \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void walk_through(struct pg_walk *w)
{
    int64_t left = pg_walk_left(w), most = w->pages / 5 + 1;
    struct pg_span next;
    CHECK(left >= 0 && left <= w->pages);
    for (size_t i = 0; i < w->done_count; i++)
        CHECK(w->done[i].from >= 0 && w->done[i].from < w->done[i].to && w->done[i].to <= w->pages && (i == 0 || w->done[i - 1].to < w->done[i].from));
    for (int i = 0; i < 20 && pg_walk_next(w, NULL, 0, most, &next); i++) {
        CHECK(next.from >= 0 && next.from < next.to && next.to <= w->pages && next.to - next.from <= most);
        pg_walk_done(w, next);
        CHECK(pg_walk_left(w) == left - (next.to - next.from));
        left = pg_walk_left(w);
    }
    CHECK(pg_walk_whole(w) == (left == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const struct pg_probe probe = {.now = INT64_C(1764300000000000), .xmin = 100, .oldest = INT64_C(1764299990000000)};
    struct pg_position p, back, other;
    struct mr_err err = {0};
    struct mr_buf json, again;
    if (pg_position_get((struct mr_str){(const char *)bytes, n}, &p, &err) != MR_OK) {
        CHECK(err.msg[0] && !p.columns && !p.held && !p.walk.done);
        return 0;
    }
    mr_buf_init(&json, 64 << 20);
    mr_buf_init(&again, 64 << 20);
    pg_position_put(&p, &json);
    CHECK(!json.failed && mr_json_check(mr_buf_str(&json), &err) == MR_OK);
    CHECK(pg_position_get(mr_buf_str(&json), &back, &err) == MR_OK);
    pg_position_put(&back, &again);
    CHECK(json.n == again.n && memcmp(json.p, again.p, json.n) == 0);
    CHECK(back.x == p.x && back.l == p.l && back.held_count == p.held_count && back.walk.done_count == p.walk.done_count);
    pg_position_init(&other);
    pg_position_copy(&other, &p);
    struct pg_bounds b = pg_bounds_of(&other, &probe, 60000000, 5000000);
    CHECK((p.l == MR_NO_TIME || b.next >= p.l) && b.from <= p.l && other.held_count == 0);
    b = pg_window_of(&back, &probe, 60000000, 5000000, INT64_C(3600000000));
    CHECK((p.l == MR_NO_TIME || b.next >= p.l) && b.from == p.l);
    if (p.walk.kind != PG_WALK_NONE)
        walk_through(&p.walk);
    pg_position_free(&other);
    pg_position_free(&back);
    pg_position_free(&p);
    mr_buf_free(&again);
    mr_buf_free(&json);
    return 0;
}
