/* SPDX-License-Identifier: Apache-2.0 */
/* Positions as they are kept, read by another parser too; and walks, beside a row of pages. */
#include "sources/postgres/position.h"

#include "unit/postgres/tests.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ---- */

static char *text_of(const struct pg_position *p)
{
    struct mr_buf json;
    mr_buf_init(&json, 16 << 20);
    pg_position_put(p, &json);
    assert_false(json.failed);
    char *text = strndup(json.p, json.n);
    mr_buf_free(&json);
    return text;
}

static struct pg_position get(const char *json)
{
    struct pg_position p;
    struct mr_err err = {0};
    if (pg_position_get(mr_str_c(json), &p, &err) != MR_OK)
        fail_msg("%s: %s", json, err.msg);
    return p;
}

static int64_t number_at(const json_t *o, const char *name, int64_t otherwise)
{
    const json_t *v = json_object_get(o, name);
    if (!v)
        return otherwise;
    assert_true(json_is_integer(v));
    return json_integer_value(v);
}

/* What another parser finds in it. */
static void says(const char *text, const struct pg_position *p)
{
    json_error_t error;
    json_t *o = json_loads(text, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!o)
        fail_msg("%s: %s", text, error.text);
    assert_true(number_at(o, "v", -1) == p->version);
    assert_true(number_at(o, "x", -1) == (int64_t)p->x);
    assert_true(number_at(o, "end", 0) == (int64_t)p->end);
    assert_true(number_at(o, "l", MR_NO_TIME) == p->l);
    assert_true(number_at(o, "newest", MR_NO_TIME) == p->newest);
    assert_true(number_at(o, "swept", -1) == (int64_t)p->swept);
    assert_true(number_at(o, "swept_at", 0) == p->swept_at);
    assert_true(number_at(o, "lsn", 0) == p->lsn);
    const char *by = json_string_value(json_object_get(o, "by"));
    assert_string_equal(by ? by : "", p->by);
    if (p->server[0]) {
        assert_string_equal(json_string_value(json_object_get(o, "server")), p->server);
        assert_true(number_at(o, "timeline", -1) == p->timeline && number_at(o, "database", -1) == p->database);
        assert_true(number_at(o, "relation", -1) == p->relation && number_at(o, "node", -1) == p->node);
    } else {
        assert_null(json_object_get(o, "server"));
    }
    assert_int_equal(json_array_size(json_object_get(o, "held")), p->held_count);
    for (size_t i = 0; i < p->held_count; i++) {
        const json_t *one = json_array_get(json_object_get(o, "held"), i);
        assert_string_equal(json_string_value(json_array_get(one, 0)), p->held[i].who);
        assert_int_equal(json_array_size(one), p->held[i].from == MR_NO_TIME ? 1 : 2);
        if (p->held[i].from != MR_NO_TIME)
            assert_true(json_integer_value(json_array_get(one, 1)) == p->held[i].from);
    }
    const json_t *walk = json_object_get(o, "walk"), *done = json_object_get(walk, "done");
    assert_int_equal(walk != NULL, p->walk.kind != PG_WALK_NONE);
    if (walk)
        assert_true(number_at(walk, "lo", -1) == (int64_t)p->walk.lo && number_at(walk, "hi", -1) == (int64_t)p->walk.hi && number_at(walk, "pages", -1) == p->walk.pages && number_at(walk, "node", -1) == p->walk.node);
    assert_int_equal(json_array_size(done), p->walk.done_count);
    for (size_t i = 0; i < p->walk.done_count; i++) {
        assert_true(json_integer_value(json_array_get(json_array_get(done, i), 0)) == p->walk.done[i].from);
        assert_true(json_integer_value(json_array_get(json_array_get(done, i), 1)) == p->walk.done[i].to);
    }
    assert_int_equal(json_array_size(json_object_get(o, "runs")), p->runs.count);
    if (p->columns) {
        json_t *columns = json_loads(p->columns, JSON_ALLOW_NUL, NULL);
        assert_true(columns && json_equal(columns, json_object_get(o, "columns")));
        json_decref(columns);
    }
    json_decref(o);
}

static void is_kept(const struct pg_position *p)
{
    char *text = text_of(p);
    says(text, p);
    struct pg_position back = get(text), copied;
    says(text, &back);
    pg_position_init(&copied);
    pg_position_copy(&copied, &back);
    pg_position_free(&back); /* the copy stands alone */
    char *again = text_of(&copied);
    assert_string_equal(text, again);
    pg_position_free(&copied);
    free(text);
    free(again);
}

static void a_position_is_what_it_was(void **state)
{
    struct pg_position p;
    (void)state;
    pg_position_init(&p);
    is_kept(&p);
    p.version = INT64_MAX;
    p.x = INT64_MAX;
    p.end = INT64_MAX;
    p.l = MR_NO_TIME + 1;
    p.newest = INT64_MAX;
    p.swept = INT64_MAX - 1;
    p.swept_at = INT64_MAX;
    snprintf(p.server, sizeof p.server, "18446744073709551615");
    p.timeline = UINT32_MAX;
    p.lsn = INT64_MAX;
    snprintf(p.by, sizeof p.by, "a \"b\"\\\n\xc3\xa4 timestamp");
    p.database = p.relation = p.node = UINT32_MAX;
    p.columns = strdup("[[\"a \\\"b\\\" \\u0000 \xc3\xa4\",\"numeric(10,2)\"],[\"\",\"\"]]");
    pg_held_add(&p, "4711/1764300000000000", 1764300000000000);
    pg_held_add(&p, "p7801", MR_NO_TIME);
    pg_held_add(&p, "x", INT64_MIN + 1);
    for (int i = 0; i < 33; i++)
        pg_history_add(&p.runs, i % 7);
    is_kept(&p);
    pg_walk_begin(&p, PG_WALK_SWEEP, 3, INT64_MAX, UINT32_MAX, UINT32_MAX);
    is_kept(&p);
    pg_walk_done(&p.walk, (struct pg_span){UINT32_MAX - 1, UINT32_MAX});
    pg_walk_done(&p.walk, (struct pg_span){0, 7});
    is_kept(&p);
    for (enum pg_walk_kind k = PG_WALK_FIRST; k <= PG_WALK_SWEEP; k++) {
        pg_walk_begin(&p, k, 1, 2, 3, 4);
        is_kept(&p);
    }
    pg_position_free(&p);
    is_kept(&p); /* as after init */
}

static void random_positions_are_what_they_were(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed(), end = seed + 500; seed < end; seed++) {
        struct chance c = chance_of(seed);
        struct pg_position p;
        pg_position_init(&p);
        p.x = draw(&c, UINT64_C(1) << (1 + draw(&c, 52)));
        p.end = draw(&c, 2) ? p.x + draw(&c, 1000) : 0;
        p.l = one_in(&c, 3) ? MR_NO_TIME : within(&c, -1000000000000, 2000000000000000);
        p.swept = draw(&c, p.x + 1);
        p.swept_at = within(&c, 0, 1764300000000000);
        p.newest = one_in(&c, 3) ? MR_NO_TIME : within(&c, -1000, 1000);
        if (one_in(&c, 2)) {
            p.lsn = (int64_t)draw(&c, UINT64_C(1) << 52);
            for (size_t n = draw(&c, sizeof p.by), i = 0; i < n; i++)
                p.by[i] = (char)within(&c, 1, 126);
            snprintf(p.server, sizeof p.server, "%" PRIu64, draw(&c, UINT64_C(1) << 52));
            p.timeline = (int64_t)draw(&c, 100);
            p.database = (uint32_t)draw(&c, UINT32_MAX);
            p.relation = (uint32_t)draw(&c, UINT32_MAX);
            p.node = (uint32_t)draw(&c, UINT32_MAX);
        }
        for (uint64_t n = draw(&c, 5); n > 0; n--) {
            char who[48];
            snprintf(who, sizeof who, "%" PRIu64 "/%" PRIu64, draw(&c, 4000000), draw(&c, UINT64_C(1) << 52));
            pg_held_add(&p, who, one_in(&c, 4) ? MR_NO_TIME : within(&c, -1000, 1764300000000000));
            assert_true(pg_held_find(&p, who));
        }
        if (one_in(&c, 2)) {
            pg_walk_begin(&p, (enum pg_walk_kind)(1 + draw(&c, 3)), draw(&c, 100), draw(&c, 1000), 500, (uint32_t)draw(&c, 70000));
            for (uint64_t n = draw(&c, 20); n > 0; n--) {
                int64_t from = (int64_t)draw(&c, 490);
                pg_walk_done(&p.walk, (struct pg_span){from, from + 1 + (int64_t)draw(&c, 10)});
            }
        }
        for (uint64_t n = draw(&c, 30); n > 0; n--)
            pg_history_add(&p.runs, (int64_t)draw(&c, 3));
        is_kept(&p);
        pg_position_free(&p);
    }
}

static void a_person_may_write_little(void **state)
{
    (void)state;
    struct pg_position p = get("{}");
    assert_true(p.x == 0 && p.l == MR_NO_TIME && p.newest == MR_NO_TIME && p.walk.kind == PG_WALK_NONE && p.held_count == 0 && !p.columns && p.server[0] == 0);
    pg_position_free(&p);
    p = get(" { \"l\" : 1764300000000000 } ");
    assert_true(p.x == 0 && p.l == 1764300000000000);
    pg_position_free(&p);
    p = get("{\"unknown\":[1,{\"x\":7}],\"x\":5}"); /* of a later version */
    assert_true(p.x == 5);
    pg_position_free(&p);
    p = get("{\"held\":[],\"runs\":[],\"walk\":{\"kind\":\"first\",\"done\":[]}}");
    assert_true(p.walk.kind == PG_WALK_FIRST && pg_walk_whole(&p.walk));
    pg_position_free(&p);
}

static void what_is_no_position_is_refused(void **state)
{
    static const char *const bad[] = {
        "", "null", "5", "\"x\"", "[]", "{", "{}}", "{\"x\":1,}",
        "{\"v\":-1}", "{\"v\":\"1\"}", "{\"x\":-1}", "{\"x\":\"7\"}", "{\"x\":1.5}", "{\"x\":1e3}", "{\"x\":null}", "{\"x\":9223372036854775808}", "{\"x\":[]}",
        "{\"end\":-1}", "{\"end\":\"7\"}", "{\"swept\":-1}", "{\"swept\":true}", "{\"swept_at\":-1}", "{\"swept_at\":\"now\"}",
        "{\"l\":-9223372036854775808}", "{\"l\":\"2026-11-01\"}", "{\"l\":null}", "{\"l\":9223372036854775808}", "{\"newest\":-9223372036854775808}", "{\"newest\":{}}",
        "{\"timeline\":-1}", "{\"timeline\":4294967296}", "{\"database\":-1}", "{\"database\":4294967296}", "{\"relation\":4294967296}", "{\"relation\":\"a\"}", "{\"node\":4294967296}", "{\"node\":-7}",
        "{\"server\":7}", "{\"server\":null}", "{\"server\":\"12a\"}", "{\"server\":\"123456789012345678901234\"}", "{\"server\":\"-1\"}", "{\"server\":\"1\\u0031\"}",
        "{\"lsn\":-1}", "{\"lsn\":\"0/0\"}", "{\"by\":5}", "{\"by\":null}", "{\"by\":\"123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456\"}",
        "{\"walk\":{\"kind\":\"first\",\"node\":-1,\"done\":[]}}", "{\"walk\":{\"kind\":\"first\",\"node\":4294967296,\"done\":[]}}",
        "{\"columns\":{}}", "{\"columns\":\"[]\"}", "{\"columns\":null}",
        "{\"held\":{}}", "{\"held\":[5]}", "{\"held\":[[]]}", "{\"held\":[[5]]}", "{\"held\":[[\"\"]]}", "{\"held\":[[\"a\",\"b\"]]}", "{\"held\":[[\"a\",1.5]]}", "{\"held\":[[\"a\\\"b\"]]}",
        "{\"held\":[[\"a\\\\\"]]}", "{\"held\":[[\"a\",null]]}", "{\"held\":[[\"1234567890123456789012345678901234567890123456789\"]]}", "{\"held\":null}",
        "{\"walk\":{}}", "{\"walk\":[]}", "{\"walk\":null}", "{\"walk\":{\"kind\":\"none\",\"done\":[]}}", "{\"walk\":{\"kind\":\"firs\",\"done\":[]}}", "{\"walk\":{\"kind\":1,\"done\":[]}}",
        "{\"walk\":{\"kind\":\"first\"}}", "{\"walk\":{\"kind\":\"first\",\"done\":{}}}", "{\"walk\":{\"kind\":\"first\",\"lo\":-1,\"done\":[]}}", "{\"walk\":{\"kind\":\"first\",\"hi\":-1,\"done\":[]}}",
        "{\"walk\":{\"kind\":\"first\",\"pages\":-1,\"done\":[]}}", "{\"walk\":{\"kind\":\"first\",\"pages\":4294967296,\"done\":[]}}", "{\"walk\":{\"kind\":\"first\",\"pages\":9,\"done\":[[0]]}}",
        "{\"walk\":{\"kind\":\"first\",\"pages\":9,\"done\":[5]}}", "{\"walk\":{\"kind\":\"first\",\"pages\":9,\"done\":[[-1,2]]}}", "{\"walk\":{\"kind\":\"first\",\"pages\":9,\"done\":[[2,2]]}}",
        "{\"walk\":{\"kind\":\"first\",\"pages\":9,\"done\":[[3,2]]}}", "{\"walk\":{\"kind\":\"first\",\"pages\":9,\"done\":[[0,10]]}}", "{\"walk\":{\"kind\":\"first\",\"pages\":9,\"done\":[[0,\"9\"]]}}",
        "{\"walk\":{\"kind\":\"first\",\"done\":[[0,1]]}}",
        "{\"runs\":{}}", "{\"runs\":null}", "{\"runs\":[\"5\"]}", "{\"runs\":[-1]}", "{\"runs\":5}",
    };
    (void)state;
    for (size_t i = 0; i < MR_COUNT(bad); i++) {
        struct pg_position p;
        struct mr_err err = {0};
        if (pg_position_get(mr_str_c(bad[i]), &p, &err) == MR_OK)
            fail_msg("%s is taken for a position", bad[i]);
        assert_int_equal(err.code, MR_EMALFORMED);
        assert_true(err.msg[0]);
        assert_true(p.x == 0 && p.l == MR_NO_TIME && !p.held && !p.columns && !p.walk.done); /* as after init */
    }
}

static void as_many_held_as_anyone_needs(void **state)
{
    struct pg_position p;
    struct mr_err err = {0};
    (void)state;
    pg_position_init(&p);
    for (int i = 0; i < 10000; i++)
        pg_held_add(&p, "p1", i);
    is_kept(&p);
    pg_held_add(&p, "p1", 1);
    char *text = text_of(&p);
    pg_position_free(&p);
    assert_int_equal(pg_position_get(mr_str_c(text), &p, &err), MR_EMALFORMED);
    free(text);
}

/* ---- walks ---- */

enum { PAGES = 60 };

static void walks_are_what_a_row_of_pages_says(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed(), end = seed + 400; seed < end; seed++) {
        struct chance c = chance_of(seed);
        struct pg_position p;
        bool done[PAGES] = {false};
        int64_t pages = (int64_t)draw(&c, PAGES + 1);
        pg_position_init(&p);
        pg_walk_begin(&p, PG_WALK_FIRST, 0, 9, pages, 1);
        for (int i = 0; i < 200; i++) {
            struct pg_span out[4], next;
            bool busy[PAGES] = {false};
            size_t count = draw(&c, 5);
            int64_t most = 1 + (int64_t)draw(&c, 9), first = 0, left = 0;
            for (size_t k = 0; k < count; k++) {
                out[k].from = (int64_t)draw(&c, PAGES);
                out[k].to = out[k].from + 1 + (int64_t)draw(&c, 9);
                for (int64_t page = out[k].from; page < out[k].to && page < PAGES; page++)
                    busy[page] = true;
            }
            while (first < pages && (done[first] || busy[first]))
                first++;
            for (int64_t page = 0; page < pages; page++)
                left += !done[page];
            assert_true(pg_walk_left(&p.walk) == left);
            assert_int_equal(pg_walk_whole(&p.walk), left == 0);
            bool any = pg_walk_next(&p.walk, out, count, most, &next);
            assert_int_equal(any, first < pages);
            if (!any && count == 0)
                break;
            if (!any)
                continue;
            int64_t stop = first;
            while (stop < pages && stop < first + most && !done[stop] && !busy[stop])
                stop++;
            if (next.from != first || next.to != stop)
                fail_msg("MRT_SEED=%" PRIu64 ": [%" PRId64 ", %" PRId64 "), not [%" PRId64 ", %" PRId64 ")", seed, next.from, next.to, first, stop);
            if (one_in(&c, 3)) {
                next.from = (int64_t)draw(&c, (uint64_t)pages); /* another than was proposed, over what is done perhaps */
                next.to = next.from + 1 + (int64_t)draw(&c, (uint64_t)(pages - next.from));
            }
            pg_walk_done(&p.walk, next);
            for (int64_t page = next.from; page < next.to; page++)
                done[page] = true;
            for (size_t k = 0; k < p.walk.done_count; k++) { /* lowest first, apart */
                assert_true(p.walk.done[k].from < p.walk.done[k].to);
                assert_true(k == 0 || p.walk.done[k - 1].to < p.walk.done[k].from);
            }
        }
        assert_true(pg_walk_whole(&p.walk));
        pg_walk_end(&p);
        assert_true(p.walk.kind == PG_WALK_NONE && !p.walk.done);
        pg_position_free(&p);
    }
}

static void a_walk_of_no_pages_is_whole(void **state)
{
    struct pg_position p;
    struct pg_span next;
    (void)state;
    pg_position_init(&p);
    pg_walk_begin(&p, PG_WALK_FIRST, 0, 9, 0, 1);
    assert_true(pg_walk_whole(&p.walk) && pg_walk_left(&p.walk) == 0);
    assert_false(pg_walk_next(&p.walk, NULL, 0, 10, &next));
    pg_position_free(&p);
}

const struct CMUnitTest position_tests[] = {
    cmocka_unit_test(a_position_is_what_it_was),
    cmocka_unit_test(random_positions_are_what_they_were),
    cmocka_unit_test(a_person_may_write_little),
    cmocka_unit_test(what_is_no_position_is_refused),
    cmocka_unit_test(as_many_held_as_anyone_needs),
    cmocka_unit_test(walks_are_what_a_row_of_pages_says),
    cmocka_unit_test(a_walk_of_no_pages_is_whole),
};
const size_t position_tests_n = MR_COUNT(position_tests);
