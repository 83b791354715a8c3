/* SPDX-License-Identifier: Apache-2.0 */
/* dedup.c - the set of ids against a model: a plain array searched from end to end. */
#include "unit/webhook/tests.h"

#include "sources/webhook/dedup.h"

static void hash(unsigned id, unsigned body, struct mr_seen *out)
{
    char id_text[24], body_text[24];
    snprintf(id_text, sizeof id_text, "evt_%u", id);
    snprintf(body_text, sizeof body_text, "body %u", body);
    mr_dedup_hash(MR_STR("shop"), mr_str_c(id_text), mr_str_c(body_text), 20000, out);
}

static void the_set_answers_as_a_plain_search_does(void **state)
{
    (void)state;
    enum { IDS = 3000, STEPS = 12000 };
    static int body_of[IDS]; /* 0: not in the set */
    struct mr_idset set = {0};
    struct mr_seen seen;
    uint32_t random = 1;
    size_t count = 0;
    memset(body_of, 0, sizeof body_of);
    for (int step = 0; step < STEPS; step++) {
        random = random * 1664525 + 1013904223;
        unsigned id = (random >> 8) % IDS, body = 1 + (random >> 28) % 2;
        hash(id, body, &seen);
        enum mr_seen_answer want = !body_of[id] ? MR_SEEN_NO : body_of[id] == (int)body ? MR_SEEN_SAME : MR_SEEN_OTHER_BODY;
        assert_int_equal(mr_idset_find(&set, &seen), want);
        if (want != MR_SEEN_NO)
            continue;
        mr_idset_add(&set, &seen);
        body_of[id] = (int)body;
        assert_int_equal(set.count, ++count);
        assert_int_equal(mr_idset_find(&set, &seen), MR_SEEN_SAME);
    }
    assert_true(count > IDS / 2); /* it has grown several times */
    for (unsigned id = 0; id < IDS; id++) {
        hash(id, 1, &seen);
        assert_int_equal(mr_idset_find(&set, &seen), !body_of[id] ? MR_SEEN_NO : body_of[id] == 1 ? MR_SEEN_SAME : MR_SEEN_OTHER_BODY);
    }
    mr_idset_free(&set);
    assert_int_equal(mr_idset_find(&set, &seen), MR_SEEN_NO);
    mr_idset_add(&set, &seen); /* usable again */
    assert_int_equal(mr_idset_find(&set, &seen), MR_SEEN_SAME);
    mr_idset_free(&set);
}

/* Ids whose first eight bytes are alike fall on one slot: a chain that wraps around the end. */
static void ids_that_fall_on_one_slot_are_told_apart(void **state)
{
    (void)state;
    struct mr_idset set = {0};
    struct mr_seen seen = {.day = 20000};
    memset(seen.id, 0xff, 8);
    for (int i = 0; i < 300; i++) {
        seen.id[8] = (unsigned char)i;
        seen.id[9] = (unsigned char)(i >> 8);
        assert_int_equal(mr_idset_find(&set, &seen), MR_SEEN_NO);
        mr_idset_add(&set, &seen);
    }
    for (int i = 0; i < 300; i++) {
        seen.id[8] = (unsigned char)i;
        seen.id[9] = (unsigned char)(i >> 8);
        assert_int_equal(mr_idset_find(&set, &seen), MR_SEEN_SAME);
    }
    mr_idset_free(&set);
}

static void the_hash_knows_source_id_and_body_apart(void **state)
{
    (void)state;
    struct mr_seen a, b;
    mr_dedup_hash(MR_STR("ab"), MR_STR("c"), MR_STR("x"), 20000, &a);
    mr_dedup_hash(MR_STR("a"), MR_STR("bc"), MR_STR("x"), 20000, &b);
    assert_memory_not_equal(a.id, b.id, sizeof a.id); /* two sources may have the same ids */
    assert_memory_equal(a.body, b.body, sizeof a.body);
    mr_dedup_hash(MR_STR("ab"), MR_STR("c"), MR_STR("y"), 20001, &b);
    assert_memory_equal(a.id, b.id, sizeof a.id);
    assert_memory_not_equal(a.body, b.body, sizeof a.body);
    assert_int_equal(b.day, 20001);
}

const struct CMUnitTest dedup_tests[] = {
    cmocka_unit_test(the_set_answers_as_a_plain_search_does),
    cmocka_unit_test(ids_that_fall_on_one_slot_are_told_apart),
    cmocka_unit_test(the_hash_knows_source_id_and_body_apart),
};
const size_t dedup_tests_count = MR_COUNT(dedup_tests);
