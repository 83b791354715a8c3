/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/webhook/tests.h"

#include "sources/webhook/event.h"

#include "millrace/json.h"

static const struct mr_header sent[] = {
    {{"Host", 4}, {"example.com", 11}}, {{"Cookie", 6}, {"secret=1", 8}}, {{"X-Empty", 7}, {"", 0}}, {{"X-Id", 4}, {"a\0b", 3}}};

static struct mr_event event(void)
{
    return (struct mr_event){.arrived_us = INT64_C(1763850322123456),
                             .payload = MR_PAYLOAD_EXACT,
                             .secret = 0x1234,
                             .scheme = MR_STR("github"),
                             .covers = MR_STR("body"),
                             .dedup_id = MR_STR("/id"),
                             .dedup_window_ms = INT64_C(30) * 86400000,
                             .method = MR_STR("POST"),
                             .path = MR_STR("/hooks/x"),
                             .query = MR_STR("a=1"),
                             .remote = MR_STR("127.0.0.1:5"),
                             .headers = sent,
                             .headers_count = MR_COUNT(sent),
                             .body = MR_STR("{\"id\":\"e\\u00e91\",\"n\":1.50}")};
}

static bool cookie(void *arg, const struct mr_header *header)
{
    (void)arg;
    return mr_str_eq(header->name, MR_STR("Cookie"));
}

static void put(struct mr_buf *b, const struct mr_event *e)
{
    mr_buf_init(b, 1 << 20);
    mr_event_put(b, e, cookie, NULL);
    mr_buf_put(b, e->body.p, e->body.n);
    assert_false(b->failed);
}

static void an_event_comes_back_as_it_was_but_for_masked_headers(void **state)
{
    (void)state;
    struct mr_event e = event(), got;
    struct mr_header headers[MR_EVENT_HEADERS_MAX];
    struct mr_buf b;
    put(&b, &e);
    assert_int_equal(mr_event_get(mr_buf_str(&b), headers, &got, NULL), MR_OK);
    assert_true(got.arrived_us == e.arrived_us && got.payload == e.payload && got.secret == e.secret && got.dedup_window_ms == e.dedup_window_ms);
    assert_true(mr_str_eq(got.scheme, e.scheme) && mr_str_eq(got.covers, e.covers) && mr_str_eq(got.dedup_id, e.dedup_id) &&
                mr_str_eq(got.method, e.method) && mr_str_eq(got.path, e.path) && mr_str_eq(got.query, e.query) &&
                mr_str_eq(got.remote, e.remote) && mr_str_eq(got.body, e.body));
    assert_int_equal(got.headers_count, e.headers_count);
    for (size_t i = 0; i < e.headers_count; i++) {
        assert_true(mr_str_eq(got.headers[i].name, e.headers[i].name));
        assert_true(mr_str_eq(got.headers[i].value, i == 1 ? MR_STR("***") : e.headers[i].value));
    }
    assert_null(memmem(b.p, b.n, "secret=1", 8));
    mr_buf_free(&b);
}

static void negative_times_and_empty_strings_come_back(void **state)
{
    (void)state;
    struct mr_event e = {.arrived_us = -1, .dedup_window_ms = INT64_MAX}, got;
    struct mr_header headers[MR_EVENT_HEADERS_MAX];
    struct mr_buf b;
    put(&b, &e);
    assert_int_equal(mr_event_get(mr_buf_str(&b), headers, &got, NULL), MR_OK);
    assert_true(got.arrived_us == -1 && got.dedup_window_ms == INT64_MAX && got.headers_count == 0 && got.body.n == 0 && got.remote.n == 0);
    mr_buf_free(&b);
}

/* Each prefix lies at the end of its own allocation: a read beyond it is seen by the sanitizer. */
static void every_prefix_that_ends_before_the_body_is_malformed(void **state)
{
    (void)state;
    struct mr_event e = event(), got;
    struct mr_header headers[MR_EVENT_HEADERS_MAX];
    struct mr_buf b;
    put(&b, &e);
    for (size_t n = 0; n <= b.n; n++) {
        char *prefix = malloc(n ? n : 1);
        assert_non_null(prefix);
        memcpy(prefix, b.p, n);
        struct mr_err err;
        enum mr_code code = mr_event_get((struct mr_str){prefix, n}, headers, &got, &err);
        assert_int_equal(code, n < b.n - e.body.n ? MR_EMALFORMED : MR_OK);
        free(prefix);
    }
    mr_buf_free(&b);
}

static void bytes_that_are_not_ours_are_malformed(void **state)
{
    (void)state;
    struct mr_event e = event(), got;
    struct mr_header headers[MR_EVENT_HEADERS_MAX];
    struct mr_buf b;
    static const struct {
        size_t at;
        unsigned char byte;
    } changes[] = {{0, 0}, {0, 2}, {1, 2}, {1, 255}, {5, 2} /* 516 headers */, {7, 255}, {27, 255} /* a string of 4 GB */, {26, 1}};
    for (size_t i = 0; i < MR_COUNT(changes); i++) {
        struct mr_err err;
        put(&b, &e);
        b.p[changes[i].at] = (char)changes[i].byte;
        assert_int_equal(mr_event_get(mr_buf_str(&b), headers, &got, &err), MR_EMALFORMED);
        mr_buf_free(&b);
    }
}

static void id_is(const char *locator, const char *body, const char *want)
{
    struct mr_event e = event();
    struct mr_buf out;
    mr_buf_init(&out, 4096);
    mr_buf_puts(&out, "before");
    e.dedup_id = mr_str_c(locator);
    e.body = mr_str_c(body);
    bool found = mr_event_id(&e, mr_json_check(e.body, NULL) == MR_OK ? e.body : (struct mr_str){0}, &out);
    if (found != (want != NULL) || !mr_str_eq((struct mr_str){out.p + 6, out.n - 6}, mr_str_c(want ? want : "")))
        fail_msg("%s in %s: %s", locator, body, mr_buf_cstr(&out));
    mr_buf_free(&out);
}

static void the_id_is_where_the_locator_says(void **state)
{
    (void)state;
    id_is("/id", "{\"id\":\"e\\u00e91\"}", "e\xc3\xa9" "1");
    id_is("/id", "{\"id\":12345678901234567890.0}", "12345678901234567890.0"); /* every digit */
    id_is("/a/0/b~1c", "{\"a\":[{\"b/c\":true}]}", "true");
    id_is("header:host", "", "example.com");
}

static void an_event_without_an_id_has_none(void **state)
{
    (void)state;
    id_is("", "{\"id\":1}", NULL);
    id_is("/id", "{\"id\":null}", NULL);
    id_is("/id", "{\"id\":\"\"}", NULL);
    id_is("/id", "{\"id\":{}}", NULL);
    id_is("/id", "{\"id\":[1]}", NULL);
    id_is("/id", "{\"other\":1}", NULL);
    id_is("/id", "{\"id\":1", NULL);
    id_is("/id", "", NULL);
    id_is("header:X-Empty", "", NULL);
    id_is("header:X-None", "", NULL);
}

const struct CMUnitTest event_tests[] = {
    cmocka_unit_test(an_event_comes_back_as_it_was_but_for_masked_headers),
    cmocka_unit_test(negative_times_and_empty_strings_come_back),
    cmocka_unit_test(every_prefix_that_ends_before_the_body_is_malformed),
    cmocka_unit_test(bytes_that_are_not_ours_are_malformed),
    cmocka_unit_test(the_id_is_where_the_locator_says),
    cmocka_unit_test(an_event_without_an_id_has_none),
};
const size_t event_tests_count = MR_COUNT(event_tests);
