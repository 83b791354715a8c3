/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "millrace/json.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* A copy of exactly the text's size, so that ASan sees a read past its end. */
static struct mr_str exact(struct mr_str s)
{
    char *p = malloc(s.n ? s.n : 1);
    assert_non_null(p);
    memcpy(p, s.p, s.n);
    return (struct mr_str){p, s.n};
}

static void drop(struct mr_str s)
{
    free((char *)(uintptr_t)s.p);
}

static enum mr_code check(struct mr_str text)
{
    struct mr_str copy = exact(text);
    enum mr_code code = mr_json_check(copy, NULL);
    struct mr_buf out;
    mr_buf_init(&out, 1 << 20);
    mr_buf_puts(&out, "kept");
    enum mr_code compacted = mr_json_compact(copy, &out, NULL);
    assert_int_equal(code, compacted); /* the two never differ */
    if (code != MR_OK)
        assert_true(mr_str_eq(mr_buf_str(&out), MR_STR("kept")));
    mr_buf_free(&out);
    drop(copy);
    return code;
}

#define ACCEPTS(literal) assert_int_equal(check(MR_STR(literal)), MR_OK)
#define REFUSES(literal) assert_int_equal(check(MR_STR(literal)), MR_EMALFORMED)

static void compacts_to(struct mr_str in, struct mr_str want)
{
    struct mr_str copy = exact(in);
    struct mr_buf out;
    mr_buf_init(&out, 1 << 20);
    assert_int_equal(mr_json_compact(copy, &out, NULL), MR_OK);
    assert_int_equal(out.n, want.n);
    assert_memory_equal(out.p, want.p, want.n);
    mr_buf_free(&out);
    drop(copy);
}

static void every_kind_of_value_stands_alone(void **state)
{
    (void)state;
    ACCEPTS("null");
    ACCEPTS("true");
    ACCEPTS("false");
    ACCEPTS("0");
    ACCEPTS("\"\"");
    ACCEPTS("[]");
    ACCEPTS("{}");
    ACCEPTS(" \t\r\n{ \"wheel\" : [ 1 , { } , [ ] , \"\" ] } \n");
    REFUSES("");
    REFUSES(" ");
    REFUSES("nul");
    REFUSES("nulll");
    REFUSES("True");
    REFUSES("NaN");
    REFUSES("undefined");
    REFUSES("{} {}");
    REFUSES("1 2");
    REFUSES("[1]]");
    REFUSES("'mill'");
    REFUSES("order=7&total=12.50");
    REFUSES("<order/>");
}

static void only_json_white_space_is_white_space(void **state)
{
    (void)state;
    ACCEPTS("[\t\n\r 1]");
    REFUSES("[\v1]");
    REFUSES("[\f1]");
    REFUSES("[1\0]");
    REFUSES("[\xc2\xa0"
            "1]");
    REFUSES("\xef\xbb\xbf{}"); /* byte order mark */
    REFUSES("{\"a\":1}\0");
}

static void containers_close_as_they_open(void **state)
{
    (void)state;
    REFUSES("[");
    REFUSES("{");
    REFUSES("]");
    REFUSES("[}");
    REFUSES("{]");
    REFUSES("[1,]");
    REFUSES("[,1]");
    REFUSES("[1,,2]");
    REFUSES("[1 2]");
    REFUSES("{\"a\"}");
    REFUSES("{\"a\":}");
    REFUSES("{\"a\":1,}");
    REFUSES("{,}");
    REFUSES("{\"a\":1 \"b\":2}");
    REFUSES("{\"a\"::1}");
    REFUSES("{a:1}");
    REFUSES("{1:1}");
    REFUSES("{\"a\":1]");
    REFUSES("[{\"a\":[}]]");
    REFUSES("[\"a\":1]");
    REFUSES("[1]//mill");
    ACCEPTS("[{\"a\":[{}]},[[]]]");
}

static void numbers_follow_the_grammar_whatever_their_size(void **state)
{
    (void)state;
    ACCEPTS("-0");
    ACCEPTS("-0.0e-0");
    ACCEPTS("1E+400");
    ACCEPTS("[0.1,1e1,1E-1,123456789012345678901234567890.000000000000000000001]");
    REFUSES("-");
    REFUSES("+1");
    REFUSES("01");
    REFUSES("-01");
    REFUSES("00");
    REFUSES("1.");
    REFUSES(".5");
    REFUSES("1.e1");
    REFUSES("1e");
    REFUSES("1e+");
    REFUSES("1e1.5");
    REFUSES("0x10");
    REFUSES("1_000");
    REFUSES("--1");
    REFUSES("Infinity");
    REFUSES("-Infinity");
}

static void strings_hold_escapes_of_the_grammar_only(void **state)
{
    (void)state;
    ACCEPTS("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\uD834\\uDD1E\"");
    ACCEPTS("\"\\ud800\"");        /* a lone surrogate is in the grammar */
    ACCEPTS("\"\\udc00\\ud800\""); /* and so are two the wrong way round */
    ACCEPTS("\"\\u0000\"");
    ACCEPTS("\"\x7f\"");
    REFUSES("\"\\a\"");
    REFUSES("\"\\'\"");
    REFUSES("\"\\x41\"");
    REFUSES("\"\\u12\"");
    REFUSES("\"\\u12g4\"");
    REFUSES("\"\\U0041\"");
    REFUSES("\"\\");
    REFUSES("\"\\\"");
    REFUSES("\"\\u");
    REFUSES("\"open");
    REFUSES("\"a\nb\"");
    REFUSES("\"a\tb\"");
    REFUSES("\"a\0b\"");
    REFUSES("\"a\x1f\"");
}

static void strings_are_strict_utf8(void **state)
{
    (void)state;
    ACCEPTS("\"M\xc3\xbchle, \xe6\xb0\xb4\xe8\xbb\x8a, \xf0\x9f\x8c\xbe\"");
    ACCEPTS("\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"");
    REFUSES("\"\x80\""); /* a tail alone */
    REFUSES("\"\xbf\xbf\"");
    REFUSES("\"\xc3\""); /* cut */
    REFUSES("\"\xe6\xb0\"");
    REFUSES("\"\xf0\x9f\x8c\"");
    REFUSES("\"\xe6\xb0");   /* cut by the end of the text */
    REFUSES("\"\xc0\xaf\""); /* overlong */
    REFUSES("\"\xc1\xbf\"");
    REFUSES("\"\xe0\x9f\xbf\"");
    REFUSES("\"\xf0\x8f\xbf\xbf\"");
    REFUSES("\"\xfc\x83\xbf\xbf\xbf\xbf\"");
    REFUSES("\"\xed\xa0\x80\""); /* a surrogate */
    REFUSES("\"\xed\xbf\xbf\"");
    REFUSES("\"\xf4\x90\x80\x80\""); /* above U+10FFFF */
    REFUSES("\"\xf5\x80\x80\x80\"");
    REFUSES("\"\xff\"");
    REFUSES("\"\xfe\"");
    REFUSES("\"\xe9t\xe9\""); /* Latin-1 */
    REFUSES("{\"k\xe9\":1}");
    REFUSES("\xff\xfe[\0]\0"); /* UTF-16 */
    REFUSES("\0[\0]");
    REFUSES("\"\\\xe9\"");
    REFUSES("\"\\u\xe9\"");
    REFUSES("[1\xe9]");
    REFUSES("\xe9");
}

/* Every length and every place of the odd byte within the 16 byte steps. */
static void an_odd_byte_is_seen_wherever_it_stands(void **state)
{
    (void)state;
    static const char odd[] = {'\n', '"', '\\', (char)0x80, (char)0xff, 0, 0x1f};
    char text[80];
    for (size_t n = 2; n < sizeof text; n++) {
        memset(text, 'x', n);
        text[0] = text[n - 1] = '"';
        assert_int_equal(check((struct mr_str){text, n}), MR_OK);
        for (size_t at = 1; at + 1 < n; at++)
            for (size_t i = 0; i < sizeof odd; i++) {
                text[at] = odd[i]; /* the backslash too: \x is no escape, and \" leaves the string open */
                assert_int_equal(check((struct mr_str){text, n}), MR_EMALFORMED);
                text[at] = 'x';
            }
    }
}

static void white_space_of_any_length_is_taken_out(void **state)
{
    (void)state;
    static const char spaces[] = " \n\t\r";
    for (size_t n = 0; n < 70; n++) {
        char text[256];
        size_t at = 0;
        for (const char *p = "[{'k':1},'two words',[ ]]"; *p; p++) {
            text[at++] = *p == '\'' ? '"' : *p;
            if (*p == ',' || *p == '[')
                for (size_t i = 0; i < n && at < sizeof text - 40; i++)
                    text[at++] = spaces[i % 4];
        }
        compacts_to((struct mr_str){text, at}, MR_STR("[{\"k\":1},\"two words\",[]]"));
    }
}

static void compact_keeps_every_token_byte_for_byte(void **state)
{
    (void)state;
    compacts_to(MR_STR("{ \"b\" : 1.10 , \"a\" : 1E+2,\n\t\"b\" : -0.0, \"s\": \" \\u00E9 \\/ \" }"),
                MR_STR("{\"b\":1.10,\"a\":1E+2,\"b\":-0.0,\"s\":\" \\u00E9 \\/ \"}"));
    compacts_to(MR_STR("  12345678901234567890.0  "), MR_STR("12345678901234567890.0"));
}

static void compact_appends_and_leaves_the_buffer_alone_on_failure(void **state)
{
    (void)state;
    struct mr_buf out;
    struct mr_err err;
    mr_buf_init(&out, 64);
    mr_buf_puts(&out, "before ");
    assert_int_equal(mr_json_compact(MR_STR("[ 1 , oops ]"), &out, &err), MR_EMALFORMED);
    assert_non_null(strstr(err.msg, "byte 6"));
    assert_int_equal(mr_json_compact(MR_STR("[ 1 , 2 ]"), &out, &err), MR_OK);
    assert_string_equal(mr_buf_cstr(&out), "before [1,2]");
    mr_buf_free(&out);
}

static void the_limit_counts_what_is_written_not_what_came_in(void **state)
{
    (void)state;
    struct mr_str wide = MR_STR("[          1,                    2       ]");
    struct mr_buf out;
    struct mr_err err;
    mr_buf_init(&out, 8);
    mr_buf_puts(&out, "abc");
    assert_int_equal(mr_json_compact(wide, &out, &err), MR_OK);
    assert_string_equal(mr_buf_cstr(&out), "abc[1,2]");
    mr_buf_free(&out);
    mr_buf_init(&out, 7);
    mr_buf_puts(&out, "abc");
    assert_int_equal(mr_json_compact(wide, &out, &err), MR_ETOOBIG);
    assert_false(out.failed);
    assert_string_equal(mr_buf_cstr(&out), "abc");
    assert_int_equal(mr_json_compact(MR_STR("[          1,      "), &out, &err), MR_EMALFORMED);
    mr_buf_free(&out);
}

static void depth_is_bounded(void **state)
{
    (void)state;
    char text[2 * MR_JSON_DEPTH + 2];
    memset(text, '[', MR_JSON_DEPTH);
    memset(text + MR_JSON_DEPTH, ']', MR_JSON_DEPTH);
    assert_int_equal(check((struct mr_str){text, 2 * MR_JSON_DEPTH}), MR_OK);
    memset(text, '[', MR_JSON_DEPTH + 1);
    memset(text + MR_JSON_DEPTH + 1, ']', MR_JSON_DEPTH + 1);
    assert_int_equal(check((struct mr_str){text, 2 * MR_JSON_DEPTH + 2}), MR_EMALFORMED);
}

/* Levels of both kinds in every order: the bit of a level must not be a left-over of one closed before. */
static void each_level_remembers_what_it_is(void **state)
{
    (void)state;
    struct mr_buf text;
    mr_buf_init(&text, 1 << 20);
    for (unsigned seed = 1; seed < 200; seed++) {
        mr_buf_clear(&text);
        char closing[300];
        size_t depth = 0;
        mr_buf_puts(&text, "[");
        for (uint32_t x = seed * 2654435761u, i = 0; i < 600; i++) {
            x = x * 1664525u + 1013904223u;
            bool open = depth == 0 || (depth < 200 && (x >> 29) < 5);
            if (open) {
                bool object = x >> 20 & 1;
                mr_buf_puts(&text, object ? "{\"a\":" : "[");
                closing[depth++] = object ? '}' : ']';
            } else {
                mr_buf_puts(&text, "1");
                while (depth > 0)
                    mr_buf_putc(&text, closing[--depth]);
                mr_buf_puts(&text, ",");
            }
        }
        mr_buf_puts(&text, "1");
        while (depth > 0)
            mr_buf_putc(&text, closing[--depth]);
        mr_buf_puts(&text, "]");
        assert_int_equal(mr_json_check(mr_buf_str(&text), NULL), MR_OK);
        text.p[text.n - 1] = '}';
        assert_int_equal(mr_json_check(mr_buf_str(&text), NULL), MR_EMALFORMED);
    }
    mr_buf_free(&text);
}

/* ---- reading ---- */

static const char order[] =
    " {\"id\": \"o-7\", \"total\": 12.50, \"lines\": [ {\"sku\":\"a/b\",\"n\":1} , null, [true ,false] ], \"a/b\": 1, "
    "\"m~n\": 2, \"\": 3, \"k\\\"ey\": 4, \"\\u0069d2\": 5, \"twice\": 1, \"twice\": 2, \"\\ud83c\\udf3e\": 6, \"}\": "
    "\"]\"} ";

static void at_is(const char *pointer, enum mr_json_type type, const char *raw)
{
    struct mr_json_slice s = mr_json_at(MR_STR(order), mr_str_c(pointer));
    assert_int_equal(s.type, type);
    assert_true(mr_str_eq(s.raw, mr_str_c(raw)));
}

static void a_pointer_finds_what_it_names(void **state)
{
    (void)state;
    assert_int_equal(mr_json_check(MR_STR(order), NULL), MR_OK);
    at_is("/id", MR_JSON_STRING, "\"o-7\"");
    at_is("/total", MR_JSON_NUMBER, "12.50");
    at_is("/lines/0", MR_JSON_OBJECT, "{\"sku\":\"a/b\",\"n\":1}");
    at_is("/lines/0/n", MR_JSON_NUMBER, "1");
    at_is("/lines/1", MR_JSON_NULL, "null");
    at_is("/lines/2", MR_JSON_ARRAY, "[true ,false]");
    at_is("/lines/2/1", MR_JSON_BOOL, "false");
    at_is("/a~1b", MR_JSON_NUMBER, "1");
    at_is("/m~0n", MR_JSON_NUMBER, "2");
    at_is("/", MR_JSON_NUMBER, "3");
    at_is("/k\"ey", MR_JSON_NUMBER, "4");
    at_is("/id2", MR_JSON_NUMBER, "5");
    at_is("/twice", MR_JSON_NUMBER, "2"); /* the last counts */
    at_is("/\xf0\x9f\x8c\xbe", MR_JSON_NUMBER, "6");
    at_is("/}", MR_JSON_STRING, "\"]\"");
    assert_int_equal(mr_json_at(MR_STR(order), MR_STR("")).type, MR_JSON_OBJECT);
    assert_int_equal(mr_json_at(MR_STR(" 7 "), MR_STR("")).raw.n, 1);
}

static void a_pointer_to_nothing_finds_nothing(void **state)
{
    (void)state;
    static const char *const nowhere[] = {"/ids",
                                          "/i",
                                          "id",
                                          "/id/0",
                                          "/lines/3",
                                          "/lines/-",
                                          "/lines/01",
                                          "/lines/",
                                          "/lines/x",
                                          "/lines/0/sku/x",
                                          "/m~n2",
                                          "/a/b",
                                          "/lines/99999999999999999999",
                                          "/total/0"};
    for (size_t i = 0; i < MR_COUNT(nowhere); i++)
        at_is(nowhere[i], MR_JSON_ABSENT, "");
    assert_int_equal(mr_json_at(MR_STR(""), MR_STR("/a")).type, MR_JSON_ABSENT);
}

static void an_iteration_yields_every_member_in_order(void **state)
{
    (void)state;
    struct mr_json_iter it;
    struct mr_str key;
    struct mr_json_slice v;
    mr_json_iter(&it, mr_json_at(MR_STR(" { \"a\" : 1 ,\"b\":[2,3] , \"a\":{\"x\":\"},\"} } "), MR_STR("")));
    assert_true(mr_json_next(&it, &key, &v));
    assert_true(mr_str_eq(key, MR_STR("\"a\"")) && mr_str_eq(v.raw, MR_STR("1")));
    assert_true(mr_json_next(&it, &key, &v));
    assert_true(mr_str_eq(key, MR_STR("\"b\"")) && mr_str_eq(v.raw, MR_STR("[2,3]")));
    assert_true(mr_json_next(&it, &key, &v));
    assert_true(mr_str_eq(key, MR_STR("\"a\"")) && mr_str_eq(v.raw, MR_STR("{\"x\":\"},\"}")));
    assert_false(mr_json_next(&it, &key, &v));
    assert_false(mr_json_next(&it, &key, &v));
    static const char *const empty[] = {"[]", "{}", "[ \n ]", "{ }", "7", "\"[1]\""};
    for (size_t i = 0; i < MR_COUNT(empty); i++) {
        mr_json_iter(&it, mr_json_at(mr_str_c(empty[i]), MR_STR("")));
        assert_false(mr_json_next(&it, &key, &v));
    }
}

static void decodes(const char *text, struct mr_str want)
{
    struct mr_buf out;
    mr_buf_init(&out, 256);
    assert_true(mr_json_string(mr_json_at(mr_str_c(text), MR_STR("")), &out));
    assert_int_equal(out.n, want.n);
    if (want.n)
        assert_memory_equal(out.p, want.p, want.n);
    mr_buf_free(&out);
}

static void strings_decode_to_utf8(void **state)
{
    (void)state;
    decodes("\"\"", MR_STR(""));
    decodes("\"mill\"", MR_STR("mill"));
    decodes("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", MR_STR("\"\\/\b\f\n\r\t"));
    decodes("\"\\u0041\\u00e4\\u6c34\\uD83C\\uDF3E\"", MR_STR("A\xc3\xa4\xe6\xb0\xb4\xf0\x9f\x8c\xbe"));
    decodes("\"a\\u0000b\"", MR_STR("a\0b"));
    decodes("\"\\ud800\"", MR_STR("\xef\xbf\xbd"));
    decodes("\"\\ud800x\"", MR_STR("\xef\xbf\xbdx"));
    decodes("\"\\udc00\\ud800\"", MR_STR("\xef\xbf\xbd\xef\xbf\xbd"));
    decodes("\"\\ud800\\u0041\"", MR_STR("\xef\xbf\xbd"
                                         "A"));
    decodes("\"\\ud83c\\ud83c\\udf3e\"", MR_STR("\xef\xbf\xbd\xf0\x9f\x8c\xbe"));
    struct mr_buf out;
    mr_buf_init(&out, 16);
    assert_false(mr_json_string(mr_json_at(MR_STR("7"), MR_STR("")), &out));
    assert_false(mr_json_string((struct mr_json_slice){0}, &out));
}

static bool i64(const char *text, int64_t *v)
{
    return mr_json_i64(mr_json_at(mr_str_c(text), MR_STR("")), v);
}

static void integers_fit_or_are_refused(void **state)
{
    (void)state;
    int64_t v = 1;
    assert_true(i64("0", &v) && v == 0);
    assert_true(i64("-0", &v) && v == 0);
    assert_true(i64("-42", &v) && v == -42);
    assert_true(i64("9223372036854775807", &v) && v == INT64_MAX);
    assert_true(i64("-9223372036854775808", &v) && v == INT64_MIN);
    v = 5;
    static const char *const refused[] = {
        "9223372036854775808", "-9223372036854775809", "18446744073709551616", "1.0", "1e3", "\"1\"", "null", "[1]"};
    for (size_t i = 0; i < MR_COUNT(refused); i++)
        assert_false(i64(refused[i], &v));
    assert_int_equal(v, 5);
}

/* ---- writing ---- */

/* What is written parses again, to the same bytes if they were UTF-8. */
static void round_trip(struct mr_str s)
{
    struct mr_str copy = exact(s);
    struct mr_buf out;
    mr_buf_init(&out, 1 << 16);
    mr_json_put_string(&out, copy);
    assert_false(out.failed);
    assert_int_equal(mr_json_check(mr_buf_str(&out), NULL), MR_OK);
    json_t *v = json_loadb(out.p, out.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    assert_non_null(v);
    if (mr_utf8_ok(copy)) {
        assert_int_equal(json_string_length(v), s.n);
        assert_memory_equal(json_string_value(v), s.p, s.n);
    } else {
        assert_non_null(strstr(json_string_value(v), "\xef\xbf\xbd"));
    }
    json_decref(v);
    mr_buf_free(&out);
    drop(copy);
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    round_trip(MR_STR(""));
    round_trip(MR_STR("plain"));
    round_trip(MR_STR("say \"mill\" \\ / \x7f"));
    round_trip(MR_STR("M\xc3\xbchle \xf0\x9f\x8c\xbe"));
    round_trip(MR_STR("bad \xff byte"));
    round_trip(MR_STR("\xe6\xb0"));
    char text[100];
    for (unsigned c = 0; c < 256; c++)
        for (size_t n = 1; n < 40; n += 3)
            for (size_t at = 0; at < n; at += 2) {
                memset(text, 'x', n);
                text[at] = (char)c;
                if (c > 0)
                    round_trip((struct mr_str){text, n});
            }
    struct mr_buf out;
    mr_buf_init(&out, 100);
    mr_json_put_string(&out, MR_STR("a\0b\x01\n\x1f"));
    assert_string_equal(mr_buf_cstr(&out), "\"a\\u0000b\\u0001\\n\\u001f\"");
    mr_buf_clear(&out);
    mr_json_put_string(&out, (struct mr_str){NULL, 0});
    assert_string_equal(mr_buf_cstr(&out), "\"\"");
    mr_buf_free(&out);
}

/* Units of every size at every place round the ends of the pieces in which the writer works, and with no byte of room
 * to spare. */
static void long_strings_are_written_whole(void **state)
{
    (void)state;
    static const struct mr_str units[] = {{"x", 1},
                                          {"\"", 1},
                                          {"\x01", 1},
                                          {"\n", 1},
                                          {"\xc3\xbc", 2},
                                          {"\xe6\xb0\xb4", 3},
                                          {"\xf0\x9f\x8c\xbe", 4},
                                          {"\xff", 1},
                                          {"\xe6\xb0", 2}};
    static const size_t out_of[] = {1, 2, 6, 2, 2, 3, 4, 3, 6};
    for (size_t u = 0; u < MR_COUNT(units); u++)
        for (size_t before = 0; before < 20; before++)
            for (size_t count = 120; count < 1100; count += 97) {
                struct mr_buf text, out;
                mr_buf_init(&text, 1 << 16);
                for (size_t i = 0; i < before; i++)
                    mr_buf_putc(&text, 'x');
                for (size_t i = 0; i < count; i++)
                    mr_buf_put(&text, units[u].p, units[u].n);
                size_t want = 2 + before + count * out_of[u];
                for (size_t limit = want - 1; limit <= want + 8000; limit = limit < want ? want : limit * 2) {
                    mr_buf_init(&out, limit);
                    mr_json_put_string(&out, mr_buf_str(&text));
                    assert_int_equal(out.failed, limit < want);
                    if (!out.failed)
                        assert_int_equal(out.n, want);
                    mr_buf_free(&out);
                }
                if (count == 120 + 97 * 5)
                    round_trip(mr_buf_str(&text));
                mr_buf_free(&text);
            }
}

static void a_string_that_does_not_fit_fails_the_buffer(void **state)
{
    (void)state;
    for (size_t limit = 0; limit < 24; limit++) {
        struct mr_buf out;
        mr_buf_init(&out, limit);
        mr_json_put_string(&out, MR_STR("twenty-one bytes long"));
        assert_int_equal(out.failed, limit < 23);
        assert_true(out.n <= limit);
        mr_buf_free(&out);
    }
}

static void utf8_is_told_from_what_is_not(void **state)
{
    (void)state;
    assert_true(mr_utf8_ok((struct mr_str){NULL, 0}));
    assert_true(mr_utf8_ok(MR_STR("a\0b")));
    assert_true(mr_utf8_ok(MR_STR("sixteen bytes and then some M\xc3\xbchle, then ASCII again for a while")));
    assert_false(mr_utf8_ok(MR_STR("sixteen bytes and then some M\xfchle, then ASCII again for a while")));
    assert_false(mr_utf8_ok(MR_STR("\xed\xa0\x80")));
    assert_false(mr_utf8_ok(MR_STR("tail \xc3")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_value_stands_alone),
        cmocka_unit_test(only_json_white_space_is_white_space),
        cmocka_unit_test(containers_close_as_they_open),
        cmocka_unit_test(numbers_follow_the_grammar_whatever_their_size),
        cmocka_unit_test(strings_hold_escapes_of_the_grammar_only),
        cmocka_unit_test(strings_are_strict_utf8),
        cmocka_unit_test(an_odd_byte_is_seen_wherever_it_stands),
        cmocka_unit_test(white_space_of_any_length_is_taken_out),
        cmocka_unit_test(compact_keeps_every_token_byte_for_byte),
        cmocka_unit_test(compact_appends_and_leaves_the_buffer_alone_on_failure),
        cmocka_unit_test(the_limit_counts_what_is_written_not_what_came_in),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(each_level_remembers_what_it_is),
        cmocka_unit_test(a_pointer_finds_what_it_names),
        cmocka_unit_test(a_pointer_to_nothing_finds_nothing),
        cmocka_unit_test(an_iteration_yields_every_member_in_order),
        cmocka_unit_test(strings_decode_to_utf8),
        cmocka_unit_test(integers_fit_or_are_refused),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(long_strings_are_written_whole),
        cmocka_unit_test(a_string_that_does_not_fit_fails_the_buffer),
        cmocka_unit_test(utf8_is_told_from_what_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
