/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of transactions' ids, beside a list of pairs that is searched from end to end. */
#include "sources/postgres/ids.h"

#include "unit/postgres/tests.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the reference ---- */

enum { PAIRS = 1 << 15, KEPT = 4096 };
struct pair {
    int64_t l;
    uint64_t id;
};
struct kept {
    struct pg_piece at;
    char *text;
    int told; /* how often */
};
struct rig {
    struct pg_ids *ids;
    struct pair pairs[PAIRS];
    size_t count;
    struct kept kept[KEPT]; /* as the store would have it */
    size_t kept_count;
};

static struct rig *rig_new(void)
{
    struct rig *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->ids = pg_ids_new();
    return r;
}

static void rig_free(struct rig *r)
{
    for (size_t i = 0; i < r->kept_count; i++)
        free(r->kept[i].text);
    pg_ids_free(r->ids);
    free(r);
}

static bool has(const struct rig *r, int64_t l, uint64_t id)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->pairs[i].l == l && r->pairs[i].id == id)
            return true;
    return false;
}

static bool has_landed(const struct rig *r, uint64_t id, int64_t watermark)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->pairs[i].id == id && (watermark == PG_ALL || r->pairs[i].l <= watermark))
            return true;
    return false;
}

static struct kept *kept_of(struct rig *r, struct pg_piece at)
{
    for (size_t i = 0; i < r->kept_count; i++)
        if (r->kept[i].at.l == at.l && r->kept[i].at.high == at.high)
            return &r->kept[i];
    return NULL;
}

static void keep(void *arg, struct pg_piece at, struct mr_str base64)
{
    struct rig *r = arg;
    struct kept *k = kept_of(r, at);
    if (!k) {
        assert_true(r->kept_count < KEPT);
        k = &r->kept[r->kept_count++];
        *k = (struct kept){.at = at};
    }
    free(k->text);
    k->text = strndup(base64.p, base64.n);
    k->told++;
}

static void unkeep(void *arg, struct pg_piece at)
{
    struct rig *r = arg;
    struct kept *k = kept_of(r, at);
    assert_non_null(k); /* what is forgotten was told */
    free(k->text);
    *k = r->kept[--r->kept_count];
}

static void add(struct rig *r, int64_t l, const uint64_t *ids, size_t n)
{
    struct pg_met *met = pg_met_new();
    for (size_t i = 0; i < n; i++) {
        pg_met_add(met, ids[i], ids[i] + 1);
        if (!has(r, l, ids[i])) {
            assert_true(r->count < PAIRS);
            r->pairs[r->count++] = (struct pair){l, ids[i]};
        }
    }
    pg_ids_add(r->ids, l, met);
    pg_ids_pieces(r->ids, l, met, keep, r);
    pg_met_free(met);
}

static void forget(struct rig *r, uint64_t below)
{
    size_t left = 0;
    pg_ids_forget(r->ids, below, unkeep, r);
    for (size_t i = 0; i < r->count; i++)
        if ((r->pairs[i].id | 0xffff) >= below) /* the highest of its piece */
            r->pairs[left++] = r->pairs[i];
    r->count = left;
}

static void read_back(struct rig *r)
{
    pg_ids_free(r->ids);
    r->ids = pg_ids_new();
    for (size_t i = 0; i < r->kept_count; i++) {
        char name[32];
        struct pg_piece at;
        pg_piece_name(r->kept[i].at, name);
        assert_true(pg_piece_of(mr_str_c(name), &at));
        assert_true(at.l == r->kept[i].at.l && at.high == r->kept[i].at.high);
        assert_true(pg_ids_read(r->ids, at, mr_str_c(r->kept[i].text)));
    }
}

/* ---- beside it ---- */

static void sets_are_what_a_list_says(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed(), end = seed + 12; seed < end; seed++) {
        struct chance c = chance_of(seed);
        struct rig *r = rig_new();
        uint64_t at = (UINT64_C(5) << 32) - draw(&c, 500000);
        const int64_t ls[] = {PG_ALL, PG_ALL + 1, -15, 0, 15, 1764300000000000, INT64_MAX};
        for (int i = 0; i < 250; i++) {
            uint64_t ids[24], n = draw(&c, 24) + 1;
            at += draw(&c, 9000);
            for (size_t k = 0; k < n; k++)
                ids[k] = at - draw(&c, 200000) + draw(&c, 3);
            add(r, ls[draw(&c, MR_COUNT(ls))], ids, n);
            if (one_in(&c, 30))
                forget(r, at - draw(&c, 250000));
            if (one_in(&c, 30))
                read_back(r);
            assert_true(pg_ids_count(r->ids) == r->count);
            for (int k = 0; k < 40; k++) {
                uint64_t id = r->count && one_in(&c, 2) ? r->pairs[draw(&c, r->count)].id : at - draw(&c, 200000);
                int64_t l = ls[draw(&c, MR_COUNT(ls))], watermark = l + (l > PG_ALL + 1 && l < INT64_MAX ? within(&c, -1, 1) : 0);
                if (pg_ids_landed(r->ids, (uint32_t)id, watermark) != has_landed(r, id, watermark))
                    fail_msg("MRT_SEED=%" PRIu64 ": id %" PRIu64 " at %" PRId64 " %s", seed, id, watermark, has_landed(r, id, watermark) ? "has landed" : "has not landed");
            }
        }
        rig_free(r);
    }
}

static void a_row_has_landed_where_its_range_was_read(void **state)
{
    const uint64_t x[] = {1000};
    (void)state;
    struct rig *r = rig_new();
    add(r, 50, x, 1);
    assert_true(pg_ids_landed(r->ids, 1000, 50));
    assert_true(pg_ids_landed(r->ids, 1000, INT64_MAX));
    assert_false(pg_ids_landed(r->ids, 1000, 49));
    assert_true(pg_ids_landed(r->ids, 1000, PG_ALL)); /* no watermark: every run reads it */
    assert_false(pg_ids_landed(r->ids, 1001, 50));
    add(r, 40, x, 1);
    assert_true(pg_ids_landed(r->ids, 1000, 49));
    assert_false(pg_ids_landed(r->ids, 1000, 39));
    add(r, PG_ALL, x, 1);
    assert_true(pg_ids_landed(r->ids, 1000, INT64_MIN + 1));
    rig_free(r);
}

static void only_pieces_that_have_changed_are_told(void **state)
{
    const uint64_t first[] = {5, 70000, 140000}, second[] = {70001};
    (void)state;
    struct rig *r = rig_new();
    add(r, 7, first, 3);
    assert_int_equal(r->kept_count, 3);
    struct kept *changed = kept_of(r, (struct pg_piece){7, 1});
    add(r, 7, second, 1);
    assert_int_equal(r->kept_count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(r->kept[i].told, &r->kept[i] == changed ? 2 : 1);
    struct pg_ids *alone = pg_ids_new(); /* and it holds all of its piece, not only what is new */
    assert_true(pg_ids_read(alone, changed->at, mr_str_c(changed->text)));
    assert_true(pg_ids_count(alone) == 2 && pg_ids_landed(alone, 70000, 7) && pg_ids_landed(alone, 70001, 7));
    pg_ids_free(alone);
    rig_free(r);
}

static void nothing_met_is_nothing_kept(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    add(r, 7, NULL, 0);
    assert_int_equal(r->kept_count, 0);
    assert_true(pg_ids_count(r->ids) == 0 && pg_ids_bytes(r->ids) == 0);
    struct pg_met *met = pg_met_new();
    pg_met_add(met, 9, 10);
    pg_ids_pieces(r->ids, 7, met, keep, r); /* no such bucket */
    assert_int_equal(r->kept_count, 0);
    pg_met_add(met, 9, 10);
    pg_met_add(met, 0, 10);
    pg_met_add(met, 9, 10);
    assert_true(pg_met_count(met) == 2);
    pg_met_free(met);
    pg_ids_forget(r->ids, 1 << 20, NULL, NULL);
    rig_free(r);
}

static void ids_whose_half_comes_again_are_not_kept(void **state)
{
    const uint64_t end = UINT64_C(7) << 32, half = UINT64_C(1) << 31;
    struct pg_met *met = pg_met_new();
    (void)state;
    pg_met_add(met, end - half, end);
    pg_met_add(met, end - half - 1, end);
    pg_met_add(met, end - 2 * half, end);
    pg_met_add(met, 0, end); /* frozen */
    assert_true(pg_met_count(met) == 0);
    pg_met_add(met, end - half + 1, end);
    pg_met_add(met, end - 1, end);
    assert_true(pg_met_count(met) == 2);
    pg_met_free(met);
}

static void a_piece_goes_when_its_highest_id_is_below(void **state)
{
    static const struct {
        uint64_t base, below;
        size_t left;
    } rows[] = {
        {UINT64_C(9) << 32, (UINT64_C(9) << 32) + 65535, 2},       {UINT64_C(9) << 32, (UINT64_C(9) << 32) + 65536, 1},
        {UINT64_C(9) << 32, (UINT64_C(9) << 32) + 65537, 1},       {(UINT64_C(9) << 32) - 65536, UINT64_C(9) << 32, 1}, /* the border of 2^32 between them */
        {(UINT64_C(9) << 32) - 65536, (UINT64_C(9) << 32) - 1, 2}, {(UINT64_C(9) << 32) - 65536, (UINT64_C(9) << 32) + 65536, 0},
        {UINT64_C(1) << 31, (UINT64_C(1) << 31) + 65536, 1},       {(UINT64_C(1) << 31) - 65536, UINT64_C(1) << 31, 1},
    };
    (void)state;
    for (size_t i = 0; i < MR_COUNT(rows); i++) {
        struct rig *r = rig_new();
        const uint64_t ids[] = {rows[i].base + 17, rows[i].base + 65536 + 17};
        add(r, 1, ids, 2);
        forget(r, rows[i].below);
        if (r->kept_count != rows[i].left || pg_ids_count(r->ids) != rows[i].left)
            fail_msg("row %zu: %zu are left", i, r->kept_count);
        if (rows[i].left < 2)
            assert_false(pg_ids_landed(r->ids, (uint32_t)ids[0], 1));
        rig_free(r);
    }
}

static void the_fullest_pieces_fit(void **state)
{
    struct chance c = chance_of(first_seed());
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        struct rig *r = rig_new();
        struct pg_met *met = pg_met_new();
        uint64_t count = 0;
        for (uint32_t i = 0; i < 65536; i++)
            if (kind == 0 || (kind == 1 && i % 2) || (kind == 2 && i % 3) || (kind == 3 && one_in(&c, 2))) {
                pg_met_add(met, 0xffff0000 + i, UINT64_C(1) << 32); /* the last piece there is */
                count++;
            }
        pg_ids_add(r->ids, 1, met);
        pg_ids_pieces(r->ids, 1, met, keep, r);
        assert_int_equal(r->kept_count, 1);
        assert_int_equal(r->kept[0].at.high, 0xffff);
        read_back(r);
        assert_true(pg_ids_count(r->ids) == count && pg_met_count(met) == count);
        pg_met_free(met);
        rig_free(r);
    }
}

/* ---- damage ---- */

static struct rig *some_pieces(void)
{
    struct rig *r = rig_new();
    uint64_t many[600];
    for (size_t i = 0; i < MR_COUNT(many); i++)
        many[i] = 65536 * 3 + i * i % 60000;
    add(r, 7, many, 600);
    for (size_t i = 0; i < MR_COUNT(many); i++)
        many[i] = 65536 * 4 + i; /* a run */
    add(r, 7, many, 600);
    add(r, 7, (const uint64_t[]){65536 * 5 + 1, 65536 * 5 + 77}, 2);
    return r;
}

/* Taken or not: nothing may lie outside the piece. */
static void reads_sanely(struct pg_piece at, const char *text, size_t n)
{
    struct pg_ids *ids = pg_ids_new();
    bool taken = pg_ids_read(ids, at, (struct mr_str){text, n});
    uint64_t count = pg_ids_count(ids), inside = 0;
    for (uint32_t i = 0; taken && i < 65536; i++)
        inside += pg_ids_landed(ids, (uint32_t)at.high << 16 | i, at.l);
    if (taken ? inside != count || count == 0 : count != 0)
        fail_msg("%s %.*s: %" PRIu64 " ids, %" PRIu64 " in the piece", taken ? "taken:" : "refused:", (int)n, text, count, inside);
    pg_ids_free(ids);
}

static void damaged_pieces_are_refused_or_harmless(void **state)
{
    struct rig *r = some_pieces();
    struct chance c = chance_of(first_seed());
    (void)state;
    for (size_t i = 0; i < r->kept_count; i++) {
        size_t n = strlen(r->kept[i].text);
        for (size_t cut = 0; cut < n; cut += n > 200 ? 7 : 1) {
            char *part = malloc(cut + 1); /* so that ASan sees a byte too many */
            memcpy(part, r->kept[i].text, cut);
            reads_sanely(r->kept[i].at, part, cut);
            free(part);
        }
        for (int k = 0; k < 300; k++) {
            static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_ \"";
            char *other = strdup(r->kept[i].text);
            other[k < 60 ? (size_t)k % n : draw(&c, n)] = letters[draw(&c, sizeof letters - 1)];
            reads_sanely(r->kept[i].at, other, n);
            free(other);
        }
    }
    rig_free(r);
}

static bool reads(struct pg_piece at, const char *text)
{
    struct pg_ids *ids = pg_ids_new();
    bool taken = pg_ids_read(ids, at, mr_str_c(text));
    pg_ids_free(ids);
    return taken;
}

static void a_piece_of_another_name_is_refused(void **state)
{
    struct rig *r = some_pieces();
    (void)state;
    for (size_t i = 0; i < r->kept_count; i++) {
        struct pg_piece at = r->kept[i].at;
        assert_true(reads(at, r->kept[i].text));
        at.high++;
        assert_false(reads(at, r->kept[i].text));
        at.high = 0;
        assert_false(reads(at, r->kept[i].text));
    }
    rig_free(r);
}

static void what_is_no_set_is_refused(void **state)
{
    /* written by Python's struct, by the words of the Roaring format: each breaks one of its promises, on some of which the library's readers rely */
    static const char *const bad[] = {
        "", "A", "AAAA", "====", "!!!!", "\"\"", "null",
        "OjAAAAAAAAA=",                             /* no container */
        "OzAAAAEAAP//AQD/////",                     /* a run over the piece's end */
        "OzAAAAEAABMAAgAAAAkABQAJAA==",             /* runs overlap */
        "OzAAAAEAABMAAgAyAAkABQAJAA==",             /* runs go back */
        "OzAAAAEAAGIAAQAAAAkA",                     /* fewer ids in runs than it says */
        "OzAAAAEAAAAAAAA=",                         /* no runs */
        "OjAAAAEAAAAAAAEAEAAAAAUAAQA=",             /* ids go back */
        "OjAAAAEAAAAAAAEAEAAAAAUABQA=",             /* an id twice */
        "OjAAAAEAAAAAAAIAEAAAAAEAAgA=",             /* fewer ids than it says */
        "OjAAAAEAAAAAAAEAEAAAAAEAAgADAA==",         /* more */
        "OjAAAAEAAAAAAAAAEAAAAAEAAQA=",             /* something behind it */
        "OjAAAAEAAAAAAAEAEgAAAAEABQA=",             /* it begins elsewhere */
        "OjAAAAIAAAAAAAAAAQAAABgAAAAaAAAAAQABAA==", /* two pieces */
        "OTAAAAEAAAAAAAAAEAAAAAEA",                 /* another format */
    };
    struct pg_piece at = {.l = 1, .high = 0};
    (void)state;
    for (size_t i = 0; i < MR_COUNT(bad); i++)
        if (reads(at, bad[i]))
            fail_msg("%s is taken", bad[i]);
    assert_true(reads(at, "OjAAAAEAAAAAAAEAEAAAAAEABQA=")); /* 1 and 5 */
    assert_true(reads(at, "OzAAAAEAAAkAAQAAAAkA"));         /* 0 to 9 */
}

/* ---- names ---- */

static void names_are_read_back(void **state)
{
    static const struct {
        struct pg_piece at;
        const char *name;
    } rows[] = {
        {{PG_ALL, 0}, "all/0000"},
        {{PG_ALL, 0xffff}, "all/ffff"},
        {{0, 0x1a}, "0000000000000000/001a"},
        {{1764300000000000, 7}, "0006449f1ac6f800/0007"},
        {{-1, 0xabcd}, "ffffffffffffffff/abcd"},
        {{INT64_MAX, 1}, "7fffffffffffffff/0001"},
        {{PG_ALL + 1, 1}, "8000000000000001/0001"},
    };
    (void)state;
    for (size_t i = 0; i < MR_COUNT(rows); i++) {
        char name[32];
        struct pg_piece at;
        pg_piece_name(rows[i].at, name);
        assert_string_equal(name, rows[i].name);
        assert_true(pg_piece_of(mr_str_c(name), &at));
        assert_true(at.l == rows[i].at.l && at.high == rows[i].at.high);
    }
}

static void what_is_no_name_is_refused(void **state)
{
    static const char *const bad[] = {"",         "all",       "all/",      "all/000",    "all/00000", "all/000g",     "ALL/0000", "alL/0000", "/0000",     "0/0000",
                                      "all/0000 ", "0006449f1ac6f80/0007", "0006449f1ac6f8000/0007", "0006449f1ac6f800-0007", "0006449f1ac6f80x/0007", "0006449f1ac6f800/00x7",
                                      "0006449f1ac6f800/", "all/all/", "0x0644a23cee9c00/0007", "-00644a23cee9c00/0007"};
    struct pg_piece at;
    (void)state;
    for (size_t i = 0; i < MR_COUNT(bad); i++) {
        size_t n = strlen(bad[i]);
        char *exact = malloc(n ? n : 1);
        memcpy(exact, bad[i], n);
        if (pg_piece_of((struct mr_str){exact, n}, &at))
            fail_msg("%s is taken", bad[i]);
        free(exact);
    }
}

/* ---- 64 bits ---- */

static void an_id_is_the_highest_below_the_end(void **state)
{
    static const struct {
        uint32_t id;
        uint64_t end, x;
    } rows[] = {
        {3, 4, 3},
        {99, 100, 99},
        {100, 100, 0}, /* none below */
        {0, 100, 0},
        {1, 100, 0},
        {2, UINT64_C(5) << 32, 0},
        {3, UINT64_C(5) << 32, (UINT64_C(4) << 32) + 3},
        {UINT32_MAX, UINT64_C(5) << 32, (UINT64_C(5) << 32) - 1},
        {UINT32_MAX, (UINT64_C(5) << 32) + 10, (UINT64_C(5) << 32) - 1},
        {9, (UINT64_C(5) << 32) + 10, (UINT64_C(5) << 32) + 9},
        {10, (UINT64_C(5) << 32) + 10, (UINT64_C(4) << 32) + 10},
        {77, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < MR_COUNT(rows); i++)
        if (pg_widen(rows[i].id, rows[i].end) != rows[i].x)
            fail_msg("row %zu: %" PRIu64, i, pg_widen(rows[i].id, rows[i].end));
    struct chance c = chance_of(first_seed());
    for (int i = 0; i < 100000; i++) {
        uint64_t x = (UINT64_C(1) << 32) * draw(&c, 9) + draw(&c, UINT64_C(1) << 32), end = x + 1 + draw(&c, UINT64_C(1) << 32);
        assert_true(pg_widen((uint32_t)x, end) == ((uint32_t)x < 3 ? 0 : x));
    }
}

const struct CMUnitTest ids_tests[] = {
    cmocka_unit_test(sets_are_what_a_list_says),
    cmocka_unit_test(a_row_has_landed_where_its_range_was_read),
    cmocka_unit_test(only_pieces_that_have_changed_are_told),
    cmocka_unit_test(nothing_met_is_nothing_kept),
    cmocka_unit_test(ids_whose_half_comes_again_are_not_kept),
    cmocka_unit_test(a_piece_goes_when_its_highest_id_is_below),
    cmocka_unit_test(the_fullest_pieces_fit),
    cmocka_unit_test(damaged_pieces_are_refused_or_harmless),
    cmocka_unit_test(a_piece_of_another_name_is_refused),
    cmocka_unit_test(what_is_no_set_is_refused),
    cmocka_unit_test(names_are_read_back),
    cmocka_unit_test(what_is_no_name_is_refused),
    cmocka_unit_test(an_id_is_the_highest_below_the_end),
};
const size_t ids_tests_n = MR_COUNT(ids_tests);
