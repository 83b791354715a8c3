/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <jansson.h>

#define ARRIVED 1795382722123456 /* 2026-11-22T21:25:22.123456Z */

static struct mr_record record(struct mr_str data)
{
    return (struct mr_record){.source = MR_STR("shop"),
                              .stream = MR_STR("orders"),
                              .id = MR_STR("q/7"),
                              .ingested_at_us = ARRIVED,
                              .event_at_us = MR_NO_TIME,
                              .data = data};
}

static void line_is(const struct mr_record *r, const char *want)
{
    struct mr_buf out;
    struct mr_err err;
    mr_buf_init(&out, 1 << 20);
    mr_buf_puts(&out, "earlier line\n");
    assert_int_equal(mr_envelope_put(&out, r, &err), MR_OK);
    assert_string_equal(mr_buf_cstr(&out) + strlen("earlier line\n"), want);
    mr_buf_free(&out);
}

/* The line as jansson sees it; the caller's. */
static json_t *parsed(const struct mr_record *r)
{
    struct mr_buf out;
    struct mr_err err;
    json_error_t why;
    mr_buf_init(&out, 1 << 20);
    assert_int_equal(mr_envelope_put(&out, r, &err), MR_OK);
    assert_int_equal(out.p[out.n - 1], '\n');
    assert_null(memchr(out.p, '\n', out.n - 1));
    json_t *v = json_loadb(out.p, out.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (!v)
        fail_msg("%s: %.*s", why.text, (int)out.n, out.p);
    mr_buf_free(&out);
    return v;
}

static void text_is(const json_t *object, const char *name, struct mr_str want)
{
    const json_t *v = json_object_get(object, name);
    assert_non_null(v);
    assert_true(mr_str_eq((struct mr_str){json_string_value(v), json_string_length(v)}, want));
}

static void the_least_record_has_the_keys_that_all_have(void **state)
{
    (void)state;
    struct mr_record r = record(MR_STR("{\"n\": 1.0}"));
    line_is(&r, "{\"source\":\"shop\",\"stream\":\"orders\",\"id\":\"q/"
                "7\",\"ingested_at\":\"2026-11-22T21:25:22.123456Z\",\"data\":{\"n\":1.0}}\n");
}

static void a_full_record_has_its_keys_in_the_order_of_the_contract(void **state)
{
    (void)state;
    struct mr_member members[] = {{"request", MR_STR("{\"method\":\"POST\"}")},
                                  {"verified", MR_STR("{\"scheme\":\"hmac\"}")}};
    struct mr_header headers[] = {{MR_STR("X-Note"), MR_STR("first")},
                                  {MR_STR("X-Note"), MR_STR("second \"quoted\"")},
                                  {MR_STR("x-null"), {NULL, 0}},
                                  {MR_STR("x-raw"), MR_STR("\xff\x01")},
                                  {MR_STR("x-empty"), MR_STR("")}};
    struct mr_record r = record(MR_STR(" [ 1 ,\n 2 ] "));
    r.event_at_us = ARRIVED - 1;
    r.event_at_type = MR_STR("create");
    r.position = MR_STR("{\"request\":\"q/7\"}");
    r.members = members;
    r.members_count = MR_COUNT(members);
    r.replay = MR_STR("run-1");
    r.key = MR_STR("k");
    r.headers = headers;
    r.headers_count = MR_COUNT(headers);
    line_is(
        &r,
        "{\"source\":\"shop\",\"stream\":\"orders\",\"id\":\"q/7\",\"ingested_at\":\"2026-11-22T21:25:22.123456Z\","
        "\"event_at\":\"2026-11-22T21:25:22.123455Z\",\"event_at_type\":\"create\",\"position\":{\"request\":\"q/7\"},"
        "\"request\":{\"method\":\"POST\"},\"verified\":{\"scheme\":\"hmac\"},\"replay\":\"run-1\",\"key\":\"k\","
        "\"headers\":[{\"name\":\"X-Note\",\"value\":\"first\"},{\"name\":\"X-Note\",\"value\":\"second "
        "\\\"quoted\\\"\"},"
        "{\"name\":\"x-null\",\"value\":null},{\"name\":\"x-raw\",\"value_base64\":\"/"
        "wE=\"},{\"name\":\"x-empty\",\"value\":\"\"}],"
        "\"data\":[1,2]}\n");
    json_decref(parsed(&r));
}

static void tokens_of_the_payload_stay_as_they_came(void **state)
{
    (void)state;
    struct mr_record r = record(MR_STR(
        "{\"z\": 1.10, \"a\": 1E400, \"z\": -0, \"u\": \"\\u00e9 \\ud800\", \"big\": 123456789012345678901234567890}"));
    line_is(&r,
            "{\"source\":\"shop\",\"stream\":\"orders\",\"id\":\"q/7\",\"ingested_at\":\"2026-11-22T21:25:22.123456Z\","
            "\"data\":{\"z\":1.10,\"a\":1E400,\"z\":-0,\"u\":\"\\u00e9 "
            "\\ud800\",\"big\":123456789012345678901234567890}}\n");
}

static void a_payload_is_json_or_text_or_bytes(void **state)
{
    (void)state;
    static const struct {
        struct mr_str payload;
        const char *name;
        struct mr_str want;
    } cases[] = {
        {{"order=7", 7}, "data_text", {"order=7", 7}},
        {{"", 0}, "data_text", {"", 0}},
        {{" \n", 2}, "data_text", {" \n", 2}},
        {{"{\"a\":1", 6}, "data_text", {"{\"a\":1", 6}},
        {{"{\"a\":1}{}", 9}, "data_text", {"{\"a\":1}{}", 9}},
        {{"\xef\xbb\xbf{}", 5}, "data_text", {"\xef\xbb\xbf{}", 5}},
        {{"M\xc3\xbchle\t\"\\", 9}, "data_text", {"M\xc3\xbchle\t\"\\", 9}},
        {{"a\0b", 3}, "data_base64", {"YQBi", 4}},
        {{"M\xfchle", 5}, "data_base64", {"TfxobGU=", 8}},
        {{"{\"a\":\"\xff\"}", 9}, "data_base64", {"eyJhIjoi/yJ9", 12}},
        {{"\xed\xa0\x80", 3}, "data_base64", {"7aCA", 4}},
        {{"\0", 1}, "data_base64", {"AA==", 4}},
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        struct mr_record r = record(cases[i].payload);
        json_t *v = parsed(&r);
        text_is(v, cases[i].name, cases[i].want);
        assert_null(json_object_get(v, "data"));
        assert_int_equal(json_object_size(v), 5);
        json_decref(v);
    }
}

static void an_exact_payload_is_never_data(void **state)
{
    (void)state;
    struct mr_record r = record(MR_STR("{ \"id\" : 7 }\n"));
    r.payload = MR_PAYLOAD_EXACT;
    json_t *v = parsed(&r);
    text_is(v, "data_text", MR_STR("{ \"id\" : 7 }\n"));
    assert_null(json_object_get(v, "data"));
    json_decref(v);
    r.data = MR_STR("{\"a\":\"\xff\"}");
    v = parsed(&r);
    text_is(v, "data_base64", MR_STR("eyJhIjoi/yJ9"));
    json_decref(v);
}

static void a_null_payload_is_a_tombstone(void **state)
{
    (void)state;
    for (int exact = 0; exact < 2; exact++) {
        struct mr_record r = record((struct mr_str){NULL, 0});
        r.payload = exact ? MR_PAYLOAD_EXACT : MR_PAYLOAD_JSON;
        line_is(&r, "{\"source\":\"shop\",\"stream\":\"orders\",\"id\":\"q/"
                    "7\",\"ingested_at\":\"2026-11-22T21:25:22.123456Z\",\"data\":null,\"tombstone\":true}\n");
    }
    struct mr_record r = record(MR_STR("null")); /* JSON's null is a value, no tombstone */
    json_t *v = parsed(&r);
    assert_true(json_is_null(json_object_get(v, "data")));
    assert_null(json_object_get(v, "tombstone"));
    json_decref(v);
}

static void a_key_is_absent_empty_text_or_bytes(void **state)
{
    (void)state;
    struct mr_record r = record(MR_STR("1"));
    json_t *v = parsed(&r);
    assert_null(json_object_get(v, "key"));
    json_decref(v);
    r.key = MR_STR("");
    v = parsed(&r);
    text_is(v, "key", MR_STR(""));
    json_decref(v);
    r.key = MR_STR("\0\0\0\x07");
    v = parsed(&r);
    text_is(v, "key_base64", MR_STR("AAAABw=="));
    assert_null(json_object_get(v, "key"));
    json_decref(v);
}

static void a_source_without_headers_differs_from_a_record_without(void **state)
{
    (void)state;
    struct mr_header none;
    struct mr_record r = record(MR_STR("1"));
    json_t *v = parsed(&r);
    assert_null(json_object_get(v, "headers"));
    json_decref(v);
    r.headers = &none;
    v = parsed(&r);
    assert_true(json_is_array(json_object_get(v, "headers")));
    json_decref(v);
}

static void names_that_are_not_utf8_are_mended(void **state)
{
    (void)state;
    struct mr_header header = {MR_STR("x-\xff"), MR_STR("v")};
    struct mr_record r = record(MR_STR("1"));
    r.source = MR_STR("sh\xffop");
    r.stream = MR_STR("\xc3");
    r.id = MR_STR("id\n\"\\\x01");
    r.headers = &header;
    r.headers_count = 1;
    json_t *v = parsed(&r);
    text_is(v, "source", MR_STR("sh\xef\xbf\xbdop"));
    text_is(v, "stream", MR_STR("\xef\xbf\xbd"));
    text_is(v, "id", MR_STR("id\n\"\\\x01"));
    text_is(json_array_get(json_object_get(v, "headers"), 0), "name", MR_STR("x-\xef\xbf\xbd"));
    json_decref(v);
}

static void a_line_that_does_not_fit_leaves_the_buffer_as_it_was(void **state)
{
    (void)state;
    static const struct mr_str payloads[] = {{"{\"a\": [1, 2, 3]}", 16}, {"plain text", 10}, {"\xff\xfe\xfd", 3}};
    for (size_t i = 0; i < MR_COUNT(payloads); i++) {
        struct mr_record r = record(payloads[i]);
        struct mr_buf whole;
        struct mr_err err;
        mr_buf_init(&whole, 1 << 20);
        assert_int_equal(mr_envelope_put(&whole, &r, &err), MR_OK);
        for (size_t limit = 3; limit < whole.n + 5; limit++) {
            struct mr_buf out;
            mr_buf_init(&out, limit);
            mr_buf_puts(&out, "abc");
            bool fits = limit >= whole.n + 3;
            assert_int_equal(mr_envelope_put(&out, &r, &err), fits ? MR_OK : MR_ETOOBIG);
            assert_false(out.failed);
            assert_int_equal(out.n, fits ? whole.n + 3 : 3);
            mr_buf_free(&out);
        }
        mr_buf_free(&whole);
    }
}

static void path_is(struct mr_str source, struct mr_str stream, enum mr_codec codec, const char *want)
{
    struct mr_buf out;
    mr_buf_init(&out, 1000);
    mr_zone_path(&out, source, stream, 20779, MR_STR("ld-1-0"), codec);
    assert_string_equal(mr_buf_cstr(&out), want);
    mr_buf_free(&out);
}

static void a_path_escapes_what_is_not_plain(void **state)
{
    (void)state;
    path_is(MR_STR("shop"), MR_STR("orders"), MR_CODEC_ZSTD,
            "source=shop/stream=orders/ingest_date=2026-11-22/ld-1-0.ndjson.zst");
    path_is(MR_STR("Shop_1-a.b"), MR_STR("public.orders"), MR_CODEC_GZIP,
            "source=Shop_1-a.b/stream=public.orders/ingest_date=2026-11-22/ld-1-0.ndjson.gz");
    path_is(MR_STR("a/b"), MR_STR("../.."), MR_CODEC_NONE,
            "source=a%2Fb/stream=..%2F../ingest_date=2026-11-22/ld-1-0.ndjson");
    path_is(MR_STR("a b%=\n"), MR_STR("M\xc3\xbc\0\xff"), MR_CODEC_NONE,
            "source=a%20b%25%3D%0A/stream=M%C3%BC%00%FF/ingest_date=2026-11-22/ld-1-0.ndjson");
}

const struct CMUnitTest envelope_tests[] = {
    cmocka_unit_test(the_least_record_has_the_keys_that_all_have),
    cmocka_unit_test(a_full_record_has_its_keys_in_the_order_of_the_contract),
    cmocka_unit_test(tokens_of_the_payload_stay_as_they_came),
    cmocka_unit_test(a_payload_is_json_or_text_or_bytes),
    cmocka_unit_test(an_exact_payload_is_never_data),
    cmocka_unit_test(a_null_payload_is_a_tombstone),
    cmocka_unit_test(a_key_is_absent_empty_text_or_bytes),
    cmocka_unit_test(a_source_without_headers_differs_from_a_record_without),
    cmocka_unit_test(names_that_are_not_utf8_are_mended),
    cmocka_unit_test(a_line_that_does_not_fit_leaves_the_buffer_as_it_was),
    cmocka_unit_test(a_path_escapes_what_is_not_plain),
};
const size_t envelope_tests_count = MR_COUNT(envelope_tests);
