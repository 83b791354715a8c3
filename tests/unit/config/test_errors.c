/* SPDX-License-Identifier: Apache-2.0 */
#include "doors.h"

#include "millrace/json.h"

#include <string.h>

static void all_errors_come_at_once_sorted_by_place(void **state)
{
    (void)state;
    refused("zone:\n"
            "  rol: {age: 1s}\n"
            "  compression: lz4\n"
            "sources:\n"
            "  a:\n"
            "    plane: {path: /a}\n"
            "  b:\n"
            "    plain: {path: /b, pth: /c}\n"
            "  c: {gate: {duration: 1.5h, secret: hunter2, choice: quick}}\n"
            "limits: {memory: 1MiB}\n"
            "enviroment: prod\n"
            "listen: \"1.2.3.4:5\"\n",
            "m.yaml:2:3: zone: unknown key \"rol\", did you mean \"roll\"?\n"
            "m.yaml:3:16: zone.compression: expected one of none, zstd, gzip; found \"lz4\"\n"
            "m.yaml:6:5: sources.a: unknown door \"plane\", did you mean \"plain\"?; doors are: gate, plain\n"
            "m.yaml:8:23: sources.b.plain: unknown key \"pth\", did you mean \"path\"?\n"
            "m.yaml:9:24: sources.c.gate.duration: \"1.5h\": expected a whole number and a unit: write 90m\n"
            "m.yaml:9:38: sources.c.gate.secret: a secret may not stand in the file: write \"${env:NAME}\" or \"${file:PATH}\"\n"
            "m.yaml:9:55: sources.c.gate.choice: expected one of slow, fast, fastest; found \"quick\"\n"
            "m.yaml:10:18: limits.memory: \"1MiB\" is out of range: expected 16MiB to 1TiB\n"
            "m.yaml:11:1: unknown key \"enviroment\", did you mean \"environment\"?\n"
            "m.yaml:12:1: unknown key \"listen\"; it belongs below \"admin\"\n");
}

static void an_unknown_key_far_from_all_lists_what_is_known(void **state)
{
    (void)state;
    refused("log: {colour: red}\nsources: {}\n", "m.yaml:1:7: log: unknown key \"colour\"; expected one of format, level\n");
    refused_with("colour: red\nsources: {}\n", "expected one of environment, data_dir, state, zone, admin, alerts, proxy, limits, log, "
                                               "shutdown_timeout, http, sources\n");
}

static void outside_text_is_quoted_cut_and_harmless(void **state)
{
    (void)state;
    refused_with("sources: {}\nlog: {\"a\\e[31m\\u009bb\": 1}\n", "m.yaml:2:7: log: unknown key \"a?[31m\?\?b\"");
    refused_with("sources: {}\nlog: {level: \"0123456789012345678901234567890123456789012345678901234567\xc3\xa9tail\"}\n",
                 "found \"0123456789012345678901234567890123456789012345678901234567\xc3\xa9...\"");
    refused_with("sources: {}\nlog: {level: \"01234567890123456789012345678901234567890123456789012345678\xc3\xa9tail\"}\n",
                 "found \"01234567890123456789012345678901234567890123456789012345678...\"");
}

static void a_long_message_is_cut_between_characters(void **state)
{
    (void)state;
    struct mr_config_errors *errors = mr_config_errors_new("f");
    char text[4096];
    for (size_t i = 0; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 3);
    mr_config_error(errors, (struct mr_where){1, 1}, "x%s", text);
    mr_config_error(errors, (struct mr_where){2, 1}, "%s", text);
    struct mr_buf out;
    mr_buf_init(&out, 1 << 16);
    mr_config_errors_text(errors, &out);
    assert_true(mr_utf8_ok(mr_buf_str(&out)));
    assert_true(out.n > 1500);
    mr_buf_free(&out);
    mr_config_errors_free(errors);
}

static void errors_of_one_place_keep_their_order(void **state)
{
    (void)state;
    struct mr_config_errors *errors = mr_config_errors_new("f");
    mr_config_error(errors, (struct mr_where){2, 1}, "c");
    mr_config_error(errors, (struct mr_where){1, 9}, "a");
    mr_config_error(errors, (struct mr_where){1, 9}, "b");
    mr_config_error(errors, (struct mr_where){0, 0}, "whole");
    assert_int_equal(mr_config_errors_count(errors), 4);
    struct mr_buf out;
    mr_buf_init(&out, 4096);
    mr_config_errors_text(errors, &out);
    assert_string_equal(mr_buf_cstr(&out), "f: whole\nf:1:9: a\nf:1:9: b\nf:2:1: c\n");
    mr_buf_free(&out);
    mr_config_errors_free(errors);
}

static void errors_are_bounded_and_the_rest_counted(void **state)
{
    (void)state;
    struct mr_config_errors *errors = mr_config_errors_new("f");
    for (int i = 1; i <= 1203; i++)
        mr_config_error(errors, (struct mr_where){i, 1}, "wrong");
    assert_int_equal(mr_config_errors_count(errors), 1203);
    struct mr_buf out;
    mr_buf_init(&out, 1 << 20);
    mr_config_errors_text(errors, &out);
    assert_non_null(strstr(mr_buf_cstr(&out), "f:1000:1: wrong\nf: and 203 more\n"));
    mr_buf_free(&out);
    mr_config_errors_free(errors);
}

static void without_a_document_a_place_stays_as_it_is(void **state)
{
    (void)state;
    struct mr_config_errors *errors = mr_config_errors_new("f");
    struct mr_where where = mr_config_where(errors, (struct mr_where){3, 4}, "a.b");
    assert_int_equal(where.line, 3);
    assert_int_equal(where.column, 4);
    mr_config_errors_free(errors);
}

const struct CMUnitTest errors_tests[] = {
    cmocka_unit_test(all_errors_come_at_once_sorted_by_place),
    cmocka_unit_test(an_unknown_key_far_from_all_lists_what_is_known),
    cmocka_unit_test(outside_text_is_quoted_cut_and_harmless),
    cmocka_unit_test(a_long_message_is_cut_between_characters),
    cmocka_unit_test(errors_of_one_place_keep_their_order),
    cmocka_unit_test(errors_are_bounded_and_the_rest_counted),
    cmocka_unit_test(without_a_document_a_place_stays_as_it_is),
};
const size_t errors_count = MR_COUNT(errors_tests);
