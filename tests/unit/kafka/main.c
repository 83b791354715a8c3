/* SPDX-License-Identifier: Apache-2.0 */
/* The door's pure pieces: positions as they are kept, what a broker's numbers mean, whose a commit is, what `start` may be. */
#include "sources/kafka/options.h"
#include "sources/kafka/position.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>

static struct kafka_position get(const char *json)
{
    struct kafka_position p;
    struct mr_err err = {0};
    assert_int_equal(kafka_position_get(mr_str_c(json), &p, &err), MR_OK);
    return p;
}

/* Read back by another parser, then by ours. */
static void a_position_is_what_it_was(void **state)
{
    static const struct kafka_position all[] = {
        {.next = 0, .anchor = {.offset = -1}},
        {.next = 1201, .anchor = {1200, 2868310473u, 1764000000000}},
        {.next = INT64_MAX, .anchor = {INT64_MAX - 1, UINT32_MAX, -1}, .incarnation = 3},
        {.next = 17, .anchor = {0, 0, INT64_MIN}},
    };
    (void)state;
    for (size_t i = 0; i < MR_COUNT(all); i++) {
        struct mr_buf json;
        mr_buf_init(&json, 4096);
        kafka_position_put(&all[i], &json);
        json_t *other = json_loads(mr_buf_cstr(&json), JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(other);
        assert_int_equal(json_integer_value(json_object_get(other, "next")), all[i].next);
        assert_int_equal(json_object_get(other, "anchor") != NULL, all[i].anchor.offset >= 0);
        assert_int_equal(json_integer_value(json_object_get(other, "incarnation")), all[i].incarnation);
        json_decref(other);
        struct kafka_position p = get(mr_buf_cstr(&json));
        assert_int_equal(p.next, all[i].next);
        assert_int_equal(p.anchor.offset, all[i].anchor.offset);
        assert_int_equal(p.incarnation, all[i].incarnation);
        if (p.anchor.offset >= 0) {
            assert_int_equal(p.anchor.crc, all[i].anchor.crc);
            assert_true(p.anchor.ts_ms == all[i].anchor.ts_ms);
        }
        mr_buf_free(&json);
    }
}

static void a_person_may_write_an_offset_alone(void **state)
{
    (void)state;
    assert_int_equal(get("100").next, 100);
    assert_int_equal(get("100").anchor.offset, -1);
    assert_int_equal(get(" {\"next\" : 7 } ").next, 7);
    assert_int_equal(get("{\"next\":7,\"anchor\":7,\"crc\":1,\"ts\":1}").anchor.offset, -1); /* vouches for what is not read yet */
    assert_int_equal(get("{\"next\":7,\"anchor\":3}").anchor.offset, -1);
    assert_int_equal(get("{\"next\":7,\"incarnation\":2}").incarnation, 2);
}

static void what_is_no_position_is_refused(void **state)
{
    static const char *const bad[] = {"", "-1", "1.5", "\"7\"", "null", "[7]", "{}", "{\"next\":-1}", "{\"next\":\"7\"}", "{\"next\":1e3}", "{\"next\":7", "{\"next\":7}}", "9223372036854775808",
                                      "{\"next\":7,\"anchor\":-2}", "{\"next\":7,\"crc\":4294967296,\"anchor\":1}", "{\"next\":7,\"incarnation\":-1}"};
    (void)state;
    for (size_t i = 0; i < MR_COUNT(bad); i++) {
        struct kafka_position p;
        struct mr_err err = {0};
        if (kafka_position_get(mr_str_c(bad[i]), &p, &err) == MR_OK)
            fail_msg("%s is taken for a position", bad[i]);
        assert_true(err.msg[0]);
    }
}

static void null_and_empty_are_two_records(void **state)
{
    const struct mr_str none = {0}, empty = MR_STR(""), a = MR_STR("a");
    const uint32_t all[] = {kafka_record_crc(none, none), kafka_record_crc(none, empty), kafka_record_crc(empty, none), kafka_record_crc(empty, empty),
                            kafka_record_crc(a, empty),   kafka_record_crc(empty, a),    kafka_record_crc(a, none),     kafka_record_crc(none, a)};
    (void)state;
    for (size_t i = 0; i < MR_COUNT(all); i++)
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(all[i], all[k]);
    assert_int_not_equal(kafka_record_crc(MR_STR("ab"), MR_STR("c")), kafka_record_crc(MR_STR("a"), MR_STR("bc")));
}

static void an_anchor_tells_one_log_from_another(void **state)
{
    const struct kafka_anchor at = {.offset = 9, .crc = 5, .ts_ms = 77}, none = {.offset = -1};
    (void)state;
    assert_int_equal(kafka_anchor_judge(&at, 9, 5, 77), KAFKA_ANCHOR_SAME);
    assert_int_equal(kafka_anchor_judge(&at, 9, 6, 77), KAFKA_ANCHOR_OTHER);
    assert_int_equal(kafka_anchor_judge(&at, 9, 5, 78), KAFKA_ANCHOR_OTHER);
    assert_int_equal(kafka_anchor_judge(&at, 10, 6, 78), KAFKA_ANCHOR_GONE);
    assert_int_equal(kafka_anchor_judge(&none, 0, 0, 0), KAFKA_ANCHOR_GONE);
}

static void what_is_there_tells_what_is_lost(void **state)
{
    static const struct {
        int64_t next, earliest, end;
        enum kafka_range_verdict want;
    } rows[] = {
        {100, 100, 200, KAFKA_RANGE_FINE}, /* retention has come up to us */
        {100, 50, 200, KAFKA_RANGE_FINE},  {100, 101, 200, KAFKA_RANGE_LOST}, {0, 1, 1, KAFKA_RANGE_LOST},    {100, 100, 100, KAFKA_RANGE_FINE},
        {101, 100, 100, KAFKA_RANGE_CUT},  {100, 0, 0, KAFKA_RANGE_CUT},      {100, 200, 200, KAFKA_RANGE_LOST}, {0, 0, 0, KAFKA_RANGE_FINE},
    };
    (void)state;
    for (size_t i = 0; i < MR_COUNT(rows); i++)
        assert_int_equal(kafka_range_judge(rows[i].next, rows[i].earliest, rows[i].end), rows[i].want);
}

static void a_commit_says_whose_it_is(void **state)
{
    char mark[64];
    (void)state;
    kafka_commit_mark("store-a", mark);
    assert_string_equal(mark, "millrace/1 store-a");
    assert_int_equal(kafka_commit_owner(5, mr_str_c(mark), "store-a"), KAFKA_COMMIT_OURS);
    assert_int_equal(kafka_commit_owner(5, mr_str_c(mark), "store-ab"), KAFKA_COMMIT_OTHER_STORE);
    assert_int_equal(kafka_commit_owner(5, mr_str_c(mark), "store-"), KAFKA_COMMIT_OTHER_STORE);
    assert_int_equal(kafka_commit_owner(5, MR_STR(""), "store-a"), KAFKA_COMMIT_STRANGER);
    assert_int_equal(kafka_commit_owner(5, MR_STR("millrace/1"), "store-a"), KAFKA_COMMIT_STRANGER);
    assert_int_equal(kafka_commit_owner(-1, mr_str_c(mark), "store-a"), KAFKA_COMMIT_NONE);
    assert_int_equal(kafka_commit_owner(0, mr_str_c(mark), "store-a"), KAFKA_COMMIT_OURS);
}

static void start_is_a_word_or_a_time(void **state)
{
    enum kafka_start start;
    int64_t ms;
    (void)state;
    assert_true(kafka_start_of("earliest", &start, &ms) && start == KAFKA_EARLIEST);
    assert_true(kafka_start_of("latest", &start, &ms) && start == KAFKA_LATEST);
    assert_true(kafka_start_of("2026-11-01T00:00:00.5Z", &start, &ms) && start == KAFKA_FROM_TIME && ms == 1793491200500);
    assert_false(kafka_start_of("yesterday", &start, &ms));
    assert_false(kafka_start_of("1960-01-01T00:00:00Z", &start, &ms));
    assert_false(kafka_start_of("", &start, &ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_position_is_what_it_was),        cmocka_unit_test(a_person_may_write_an_offset_alone), cmocka_unit_test(what_is_no_position_is_refused),
        cmocka_unit_test(null_and_empty_are_two_records),   cmocka_unit_test(an_anchor_tells_one_log_from_another), cmocka_unit_test(what_is_there_tells_what_is_lost),
        cmocka_unit_test(a_commit_says_whose_it_is),        cmocka_unit_test(start_is_a_word_or_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
