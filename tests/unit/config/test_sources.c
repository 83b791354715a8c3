/* SPDX-License-Identifier: Apache-2.0 */
#include "doors.h"

#include <string.h>

static void sources_keep_the_order_of_the_file(void **state)
{
    (void)state;
    struct mr_config *c = load("sources:\n  zebra: {plain: {path: /z}}\n  Ant-1.x_y: {gate: {}}\n");
    assert_non_null(c);
    assert_int_equal(c->sources_count, 2);
    assert_string_equal(c->sources[0].name, "zebra");
    assert_int_equal(c->sources[0].door, 1);
    assert_int_equal(c->sources[0].where.line, 2);
    assert_int_equal(c->sources[0].where.column, 11);
    assert_string_equal(c->sources[1].name, "Ant-1.x_y");
    assert_int_equal(c->sources[1].door, 0);
    assert_int_equal(mr_config_find(c, "zebra"), 0);
    assert_int_equal(mr_config_find(c, "Ant-1.x_y"), 1);
    assert_int_equal(mr_config_find(c, "ant"), -1);
    mr_config_free(c);
}

static void names_of_sources_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"_x", ".x", "a b", "a/b", "caf\xc3\xa9", "", "a%b"};
    for (size_t i = 0; i < MR_COUNT(bad); i++) {
        char text[128];
        snprintf(text, sizeof text, "sources: {\"%s\": {plain: {path: /a}}}\n", bad[i]);
        refused(text, "m.yaml:1:11: sources: a source's name is 1 to 128 of the letters A-Z a-z, digits and . _ -, not beginning with _ or .\n");
    }
    char long_name[256] = {0}, text[512];
    memset(long_name, 'a', MR_SOURCE_NAME_MAX);
    snprintf(text, sizeof text, "sources: {%s: {plain: {path: /a}}}\n", long_name);
    struct mr_config *c = load(text);
    assert_non_null(c);
    mr_config_free(c);
    long_name[MR_SOURCE_NAME_MAX] = 'a';
    snprintf(text, sizeof text, "sources: {%s: {plain: {path: /a}}}\n", long_name);
    refused_with(text, "a source's name is 1 to 128");
}

static void an_unknown_door_names_the_doors(void **state)
{
    (void)state;
    refused("sources:\n  a:\n    plane: {path: /a}\n",
            "m.yaml:3:5: sources.a: unknown door \"plane\", did you mean \"plain\"?; doors are: gate, plain\n");
    refused("sources:\n  a:\n    kafka: {}\n", "m.yaml:3:5: sources.a: unknown door \"kafka\"; doors are: gate, plain\n");
}

static void a_source_has_one_door(void **state)
{
    (void)state;
    refused("sources:\n  a:\n    plain: {path: /a}\n    gate: {}\n",
            "m.yaml:4:5: sources.a: a second door, \"gate\" beside \"plain\": give each a source of its own\n");
    refused("sources:\n  a: {}\n", "m.yaml:2:3: sources.a: expected a map with one door below the source, one of: gate, plain\n");
    refused("sources:\n  a:\n", "m.yaml:2:3: sources.a: expected a map with one door below the source, one of: gate, plain\n");
    refused("sources:\n  a: [plain]\n", "m.yaml:2:3: sources.a: expected a map with one door below the source, one of: gate, plain\n");
    refused("sources:\n  a:\n    gate: 7\n", "m.yaml:3:11: sources.a.gate: expected a map with the options of the door gate\n");
    refused("sources: [a]\n", "m.yaml:1:10: sources: expected a map of names to sources\n");
}

static void a_doors_own_check_is_told_with_its_place(void **state)
{
    (void)state;
    gate_refused("      flag: true\n      word: forbidden\n", "m.yaml:5:13: source s: word may not be forbidden\n");
    gate_refused("      text: deep\n      map:\n        depth: 9\n", "m.yaml:6:16: source s: too deep\n");
    gate_refused("      text: deep\n      map: {name: x}\n", "m.yaml:5:12: source s: too deep\n");
    gate_refused("      text: deep\n", "m.yaml:3:5: source s: too deep\n");
}

static void a_doors_check_sees_no_source_with_errors(void **state)
{
    (void)state;
    gate_refused("      word: forbidden\n      flag: 3\n", "m.yaml:5:13: sources.s.gate.flag: expected true or false, found \"3\"\n");
    refused("sources:\n  a: {plain: {path: /x}}\n  b: {plain: {}}\n  c: {plain: {path: /x}}\n",
            "m.yaml:3:7: sources.b.plain: \"path\" is missing; expected text\n"
            "m.yaml:4:7: source c: path /x is the route of source a already\n");
}

static void the_same_route_twice_is_an_error_of_the_second(void **state)
{
    (void)state;
    refused("sources:\n  a: {plain: {path: /x}}\n  b: {plain: {path: /y}}\n  c: {plain: {path: /x}}\n",
            "m.yaml:4:7: source c: path /x is the route of source a already\n");
}

const struct CMUnitTest sources_tests[] = {
    cmocka_unit_test(sources_keep_the_order_of_the_file),
    cmocka_unit_test(names_of_sources_are_checked),
    cmocka_unit_test(an_unknown_door_names_the_doors),
    cmocka_unit_test(a_source_has_one_door),
    cmocka_unit_test(a_doors_own_check_is_told_with_its_place),
    cmocka_unit_test(a_doors_check_sees_no_source_with_errors),
    cmocka_unit_test(the_same_route_twice_is_an_error_of_the_second),
};
const size_t sources_count = MR_COUNT(sources_tests);
