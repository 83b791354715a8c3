/* SPDX-License-Identifier: Apache-2.0 */
#include "doors.h"

#include <string.h>

static const struct gate_named *named(const struct mr_config *c, size_t i)
{
    const struct mr_list *list = &gate(c)->named;
    assert_true(i < list->count);
    return (const struct gate_named *)list->items + i;
}

static void real_is(double a, double b)
{
    assert_true(a >= b && a <= b);
}

static void without_a_word_there_are_none(void **state)
{
    (void)state;
    struct mr_config *c = load_gate("      flag: true\n");
    assert_int_equal(gate(c)->named.count, 0);
    mr_config_free(c);
    c = load_gate("      named:\n        # orders: {table: t}\n      flag: true\n");
    assert_int_equal(gate(c)->named.count, 0);
    mr_config_free(c);
}

static void named_structs_keep_the_order_of_the_file(void **state)
{
    (void)state;
    struct mr_config *c = load_gate("      named: {public.orders: {table: o}, \"caf\xc3\xa9 x\": {table: c, watermark: at}, a: {table: a}}\n");
    assert_int_equal(gate(c)->named.count, 3);
    assert_string_equal(named(c, 0)->name, "public.orders");
    assert_string_equal(named(c, 0)->table, "o");
    assert_string_equal(named(c, 0)->watermark, "updated_at");
    assert_string_equal(named(c, 1)->name, "caf\xc3\xa9 x");
    assert_string_equal(named(c, 1)->watermark, "at");
    assert_string_equal(named(c, 2)->name, "a");
    mr_config_free(c);
}

static void maps_and_lists_inside_are_read(void **state)
{
    (void)state;
    struct mr_config *c = load_gate("      named:\n"
                                    "        orders:\n"
                                    "          table: \"${env:FULL}\"\n"
                                    "          keys: [a, b]\n"
                                    "          expect: {rows: {drop: 0.125, rise: 3}}\n"
                                    "          extra: {must: x}\n"
                                    "          items: [{name: i, weight: 7}, {name: j}]\n"
                                    "        plain: {table: p}\n");
    const struct gate_named *n = named(c, 0);
    assert_string_equal(n->table, "swordfish");
    assert_int_equal(n->keys.count, 2);
    assert_string_equal(n->keys.items[1], "b");
    assert_int_equal(n->expect.most, 9);
    real_is(n->expect.rows.drop, 0.125);
    real_is(n->expect.rows.rise, 3);
    assert_true(n->extra_given);
    assert_string_equal(n->extra.must, "x");
    const struct gate_item *items = n->items.items;
    assert_int_equal(n->items.count, 2);
    assert_string_equal(items[0].name, "i");
    assert_int_equal(items[0].weight, 7);
    assert_int_equal(items[1].weight, 1);
    n = named(c, 1);
    assert_int_equal(n->keys.count, 0);
    real_is(n->expect.rows.drop, 0.5);
    real_is(n->expect.rows.rise, 0);
    assert_false(n->extra_given);
    assert_int_equal(n->items.count, 0);
    mr_config_free(c);
}

static void what_is_no_map_is_refused(void **state)
{
    (void)state;
    gate_refused("      named: x\n", "m.yaml:4:14: sources.s.gate.named: expected a map of names to maps, found a plain value\n");
    gate_refused("      named: [{table: a}]\n", "m.yaml:4:14: sources.s.gate.named: expected a map of names to maps, found a list\n");
    gate_refused("      named: {a: b, c.d: [e], f: {table: t}, g: \"\"}\n",
                 "m.yaml:4:18: sources.s.gate.named.a: expected a map, found a plain value\n"
                 "m.yaml:4:26: sources.s.gate.named.c.d: expected a map, found a list\n"
                 "m.yaml:4:49: sources.s.gate.named.g: expected a map, found a plain value\n");
}

static void what_must_be_given_is_missed_at_its_name(void **state)
{
    (void)state;
    gate_refused("      named:\n        a:\n        b: {}\n        c: {table: t, extra: {}, items: [{weight: 1}]}\n",
                 "m.yaml:5:9: sources.s.gate.named.a: \"table\" is missing; expected text\n"
                 "m.yaml:6:9: sources.s.gate.named.b: \"table\" is missing; expected text\n"
                 "m.yaml:7:23: sources.s.gate.named.c.extra: \"must\" is missing; expected text\n"
                 "m.yaml:7:42: sources.s.gate.named.c.items[0]: \"name\" is missing; expected text\n");
}

static void an_unknown_key_inside_is_told_its_neighbour(void **state)
{
    (void)state;
    gate_refused("      named:\n        public.orders:\n          table: t\n          watermrak: x\n          most: 3\n          expect: {rows: {dorp: 0.5}}\n",
                 "m.yaml:7:11: sources.s.gate.named.public.orders: unknown key \"watermrak\", did you mean \"watermark\"?\n"
                 "m.yaml:8:11: sources.s.gate.named.public.orders: unknown key \"most\"; it belongs below \"expect\"\n"
                 "m.yaml:9:27: sources.s.gate.named.public.orders.expect.rows: unknown key \"dorp\", did you mean \"drop\"?\n");
}

static void a_value_inside_is_checked_where_it_stands(void **state)
{
    (void)state;
    gate_refused("      named:\n        a: {table: t, expect: {rows: {drop: 1.5}}}\n        b: {table: t, keys: [x, y, z]}\n",
                 "m.yaml:5:45: sources.s.gate.named.a.expect.rows.drop: \"1.5\" is out of range: expected 0 to 1\n"
                 "m.yaml:6:29: sources.s.gate.named.b.keys: 3 entries are out of range: expected at most 2\n");
}

static void a_name_is_there_once_and_not_empty(void **state)
{
    (void)state;
    gate_refused("      named: {a: {table: t}, b: {table: t}, a: {table: u}}\n", "m.yaml:4:45: the key \"a\" is here twice; the first is in line 4\n");
    gate_refused("      named: {a: {table: t}, \"\": {table: t}}\n", "m.yaml:4:30: sources.s.gate.named: expected a name, found an empty text\n");
    gate_refused("      named: {\"a\\0b\": {table: t}}\n", "m.yaml:4:15: a key holds a NUL byte\n");
}

static void a_name_is_harmless_in_a_message(void **state)
{
    (void)state;
    gate_refused("      named: {\"a\\e[1m\": []}\n", "m.yaml:4:25: sources.s.gate.named.a?[1m: expected a map, found a list\n");
}

static void entries_are_counted(void **state)
{
    (void)state;
    gate_refused("      named: {a: {table: t}, b: {table: t}, c: {table: t}, d: {table: t}, e: {table: t}}\n",
                 "m.yaml:4:14: sources.s.gate.named: 5 entries are out of range: expected at most 4\n");
}

static void a_doors_check_can_point_below_a_name(void **state)
{
    (void)state;
    gate_refused("      named:\n        pub: {table: t}\n        pub.orders: {table: t, watermark: wet}\n        other:\n          table: t\n          watermark: wet\n",
                 "m.yaml:6:43: source s: named.pub.orders.watermark is wet\nm.yaml:9:22: source s: named.other.watermark is wet\n");
}

static void reals_are_read(void **state)
{
    (void)state;
    static const struct { const char *text; double value; } good[] = {
        {"0.5", 0.5}, {"2", 2}, {"-1", -1}, {"-0.75", -0.75}, {"2.500", 2.5}, {"0", 0}, {"0.1", 0.1}, {"1.0000000000000002", 1.0000000000000002}};
    for (size_t i = 0; i < MR_COUNT(good); i++) {
        char text[64];
        snprintf(text, sizeof text, "      real: %s\n", good[i].text);
        struct mr_config *c = load_gate(text);
        real_is(gate(c)->real, good[i].value);
        mr_config_free(c);
    }
    struct mr_config *c = load_gate("      flag: true\n");
    real_is(gate(c)->real, 0.25);
    mr_config_free(c);
}

static void what_is_no_real_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {".5", "1.", "1e3", "inf", "nan", "0x1", "1_0", "0,5", "+1", "-x", "--1", "half", "1.5.2", "-.5",
                                      "0.12345678901234567890123456789012345678901234567890123456789012"};
    for (size_t i = 0; i < MR_COUNT(bad); i++) {
        char text[96], lines[192];
        snprintf(text, sizeof text, "      real: %s\n", bad[i]);
        bool cut = strlen(bad[i]) > 60;
        snprintf(lines, sizeof lines, "m.yaml:4:13: sources.s.gate.real: expected a number such as 0.5, found \"%.60s%s\"\n", bad[i], cut ? "..." : "");
        gate_refused(text, lines);
    }
    gate_refused("      real: \"1\"\n", "m.yaml:4:13: sources.s.gate.real: expected a number such as 0.5, found a text: take the quotes away\n");
    gate_refused("      real: 2.51\n", "m.yaml:4:13: sources.s.gate.real: \"2.51\" is out of range: expected -1 to 2.5\n");
    gate_refused("      real: -1.01\n", "m.yaml:4:13: sources.s.gate.real: \"-1.01\" is out of range: expected -1 to 2.5\n");
    gate_refused("      real: [1]\n", "m.yaml:4:13: sources.s.gate.real: expected a number such as 0.5, found a list\n");
}

const struct CMUnitTest named_tests[] = {
    cmocka_unit_test(without_a_word_there_are_none),
    cmocka_unit_test(named_structs_keep_the_order_of_the_file),
    cmocka_unit_test(maps_and_lists_inside_are_read),
    cmocka_unit_test(what_is_no_map_is_refused),
    cmocka_unit_test(what_must_be_given_is_missed_at_its_name),
    cmocka_unit_test(an_unknown_key_inside_is_told_its_neighbour),
    cmocka_unit_test(a_value_inside_is_checked_where_it_stands),
    cmocka_unit_test(a_name_is_there_once_and_not_empty),
    cmocka_unit_test(a_name_is_harmless_in_a_message),
    cmocka_unit_test(entries_are_counted),
    cmocka_unit_test(a_doors_check_can_point_below_a_name),
    cmocka_unit_test(reals_are_read),
    cmocka_unit_test(what_is_no_real_is_refused),
};
const size_t named_count = MR_COUNT(named_tests);
