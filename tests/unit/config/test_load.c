/* SPDX-License-Identifier: Apache-2.0 */
#include "doors.h"

#include <string.h>

static void json_is_yaml_too(void **state)
{
    (void)state;
    struct mr_config *c = load("{\"environment\": \"test\", \"sources\": {\"a\": {\"plain\": {\"path\": \"/a\\u00e9\"}}}}");
    assert_non_null(c);
    assert_string_equal(c->environment, "test");
    assert_string_equal(((struct plain_options *)c->sources[0].options)->path, "/a\xc3\xa9");
    mr_config_free(c);
}

static void a_byte_order_mark_moves_no_column(void **state)
{
    (void)state;
    refused("\xef\xbb\xbfsauces: {}\n", "m.yaml:1:1: unknown key \"sauces\", did you mean \"sources\"?\n"
                                        "m.yaml:1:1: \"sources\" is missing; expected a map of names to sources\n");
}

static void a_syntax_error_has_its_place(void **state)
{
    (void)state;
    refused("sources: {}\nzone: [1, 2\nlog: {}\n",
            "m.yaml:3:4: not YAML: did not find expected ',' or ']' (while parsing a flow sequence that began in line 2)\n");
    refused_with("sources:\n\ta: {}\n", "m.yaml:2:1: not YAML: found character that cannot start any token");
    refused_with("sources:\n\ta: {}\n", "; indent with spaces, not tabs\n");
    refused_with("sources: {s: {gate: {secret: ${env:FULL}}}}\n", "m.yaml:1:31: not YAML: ");
    refused_with("sources: {s: {gate: {secret: ${env:FULL}}}}\n", "a reference needs quotes: \"${env:NAME}\"\n");
}

static void bytes_that_are_no_utf8_have_their_place(void **state)
{
    (void)state;
    refused_with("sources: {}\n# caf\xc3\xa9 \xff\n", "m.yaml:2:8: not UTF-8 text: ");
    struct mr_config *c = load_n(MR_STR("a: 1\nb\0c: 2\n"));
    assert_null(c);
    assert_string_equal(last_errors(), "m.yaml:2:2: not UTF-8 text: control characters are not allowed\n");
}

static void a_key_twice_is_an_error_each_time(void **state)
{
    (void)state;
    refused("log: {level: warn}\nsources: {}\nlog: {level: info}\nlog: 3\n",
            "m.yaml:3:1: the key \"log\" is here twice; the first is in line 1\n"
            "m.yaml:4:1: the key \"log\" is here twice; the first is in line 1\n");
    refused("sources:\n  a: {plain: {path: /a}}\n  a: {plain: {path: /a}}\n",
            "m.yaml:3:3: the key \"a\" is here twice; the first is in line 2\n");
}

static void aliases_and_anchors_are_refused_where_they_stand(void **state)
{
    (void)state;
    refused("sources: &a {}\nlog: *a\n", "m.yaml:1:10: anchors (&) are not supported: write the value out\n"
                                         "m.yaml:2:6: aliases (*) are not supported: write the value out\n");
    refused("a: &x 1\n*x : 2\n", "m.yaml:1:4: anchors (&) are not supported: write the value out\n"
                                 "m.yaml:2:1: aliases (*) are not supported: write the key out\n");
}

static void a_billion_laughs_are_a_few_errors(void **state)
{
    (void)state;
    struct mr_buf text;
    mr_buf_init(&text, 1 << 16);
    mr_buf_puts(&text, "a0: &a0 [x, x]\n");
    for (int i = 1; i < 40; i++)
        mr_buf_printf(&text, "a%d: &a%d [*a%d, *a%d]\n", i, i, i - 1, i - 1);
    refused_with(mr_buf_cstr(&text), "m.yaml:40:12: aliases (*) are not supported");
    mr_buf_free(&text);
}

static void merge_keys_and_tags_are_refused(void **state)
{
    (void)state;
    refused("sources: {}\nlog:\n  <<: {level: warn}\n", "m.yaml:3:3: merge keys (<<) are not supported: write the keys out\n");
    refused("sources: {}\nlog: {level: !!str warn}\n", "m.yaml:2:14: tags (!) are not supported: an option's type is known\n");
    refused("sources: !map {}\n", "m.yaml:1:10: tags (!) are not supported: an option's type is known\n");
}

static void one_file_is_one_document(void **state)
{
    (void)state;
    struct mr_config *c = load("---\nsources: {}\n...\n");
    assert_non_null(c);
    mr_config_free(c);
    refused("---\nsources: {}\n---\nsources: {}\n", "m.yaml:3:1: a second document: a config file is one\n");
}

static void keys_are_plain_texts(void **state)
{
    (void)state;
    refused("[a]: 1\n", "m.yaml:1:1: a key must be plain text, found a map or a list\n");
    refused("? {a: 1}\n: 1\n", "m.yaml:1:3: a key must be plain text, found a map or a list\n");
}

static void depth_is_bounded(void **state)
{
    (void)state;
    char text[256] = "sources: ";
    size_t n = strlen(text);
    memset(text + n, '[', 100);
    refused(text, "m.yaml:1:33: nested deeper than 24 levels\n");
}

static void size_is_bounded(void **state)
{
    (void)state;
    size_t n = MR_CONFIG_BYTES_MAX + 1;
    char *text = malloc(n);
    assert_non_null(text);
    memset(text, '#', n);
    memcpy(text, "sources: {}\n", 12);
    assert_null(load_n((struct mr_str){text, n}));
    assert_string_equal(last_errors(), "m.yaml: larger than 1MiB, too large for a config\n");
    struct mr_config *c = load_n((struct mr_str){text, n - 1});
    assert_non_null(c);
    mr_config_free(c);
    free(text);
}

static void the_number_of_values_is_bounded(void **state)
{
    (void)state;
    struct mr_buf text;
    mr_buf_init(&text, MR_CONFIG_BYTES_MAX);
    mr_buf_puts(&text, "x: [");
    for (int i = 0; i < 250000; i++)
        mr_buf_puts(&text, "1, ");
    mr_buf_puts(&text, "1]\n");
    refused_with(mr_buf_cstr(&text), "more than 100000 values\n");
    mr_buf_free(&text);
}

static void a_hundred_thousand_repeats_take_no_time(void **state)
{
    (void)state;
    struct mr_buf text;
    mr_buf_init(&text, MR_CONFIG_BYTES_MAX);
    for (int i = 0; i < 90000; i++)
        mr_buf_puts(&text, "log: 1\n");
    refused_with(mr_buf_cstr(&text), "m.yaml:1001:1: the key \"log\" is here twice");
    assert_non_null(strstr(last_errors(), "m.yaml: and 89001 more\n"));
    mr_buf_free(&text);
}

static void an_empty_file_lacks_sources(void **state)
{
    (void)state;
    refused("", "m.yaml:1:1: \"sources\" is missing; expected a map of names to sources\n");
    refused("# nothing yet\n", "m.yaml:1:1: \"sources\" is missing; expected a map of names to sources\n");
    refused("~\n", "m.yaml:1:1: \"sources\" is missing; expected a map of names to sources\n");
}

static void the_top_is_a_map(void **state)
{
    (void)state;
    refused("- a\n- b\n", "m.yaml:1:1: expected a map at the top: \"sources:\" and other keys\n");
    refused("hello\n", "m.yaml:1:1: expected a map at the top: \"sources:\" and other keys\n");
}

const struct CMUnitTest load_tests[] = {
    cmocka_unit_test(json_is_yaml_too),
    cmocka_unit_test(a_byte_order_mark_moves_no_column),
    cmocka_unit_test(a_syntax_error_has_its_place),
    cmocka_unit_test(bytes_that_are_no_utf8_have_their_place),
    cmocka_unit_test(a_key_twice_is_an_error_each_time),
    cmocka_unit_test(aliases_and_anchors_are_refused_where_they_stand),
    cmocka_unit_test(a_billion_laughs_are_a_few_errors),
    cmocka_unit_test(merge_keys_and_tags_are_refused),
    cmocka_unit_test(one_file_is_one_document),
    cmocka_unit_test(keys_are_plain_texts),
    cmocka_unit_test(depth_is_bounded),
    cmocka_unit_test(size_is_bounded),
    cmocka_unit_test(the_number_of_values_is_bounded),
    cmocka_unit_test(a_hundred_thousand_repeats_take_no_time),
    cmocka_unit_test(an_empty_file_lacks_sources),
    cmocka_unit_test(the_top_is_a_map),
};
const size_t load_count = MR_COUNT(load_tests);
