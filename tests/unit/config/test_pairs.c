/* SPDX-License-Identifier: Apache-2.0 */
#include "doors.h"

#include <string.h>

static void pair_is(const struct mr_config *c, size_t i, const char *name, const char *value)
{
    const struct mr_pairs *pairs = &gate(c)->pairs;
    assert_true(i < pairs->count);
    assert_string_equal(pairs->items[i].name, name);
    assert_string_equal(pairs->items[i].value, value);
}

static void without_a_word_there_are_none(void **state)
{
    (void)state;
    struct mr_config *c = load_gate("      flag: true\n");
    assert_int_equal(gate(c)->pairs.count, 0);
    mr_config_free(c);
}

static void pairs_keep_the_order_of_the_file(void **state)
{
    (void)state;
    struct mr_config *c = load_gate("      pairs: {fetch.wait.max.ms: 100, client.rack: eu-1, a: x}\n");
    assert_int_equal(gate(c)->pairs.count, 3);
    pair_is(c, 0, "fetch.wait.max.ms", "100");
    pair_is(c, 1, "client.rack", "eu-1");
    pair_is(c, 2, "a", "x");
    mr_config_free(c);
}

static void values_are_text_as_written(void **state)
{
    (void)state;
    struct mr_config *c = load_gate("      pairs:\n        a: true\n        b: 1.50\n        c: 0x1F\n        d: yes\n");
    pair_is(c, 0, "a", "true");
    pair_is(c, 1, "b", "1.50");
    pair_is(c, 2, "c", "0x1F");
    pair_is(c, 3, "d", "yes");
    mr_config_free(c);
    c = load_gate("      pairs:\n        a: \"\"\n        b: 'null'\n        c: |\n          two\n          lines\n        \"A name, caf\xc3\xa9\": \"tab\\t\"\n");
    pair_is(c, 0, "a", "");
    pair_is(c, 1, "b", "null");
    pair_is(c, 2, "c", "two\nlines\n");
    pair_is(c, 3, "A name, caf\xc3\xa9", "tab\t");
    mr_config_free(c);
}

static void a_value_may_be_a_reference_and_a_name_is_none(void **state)
{
    (void)state;
    struct mr_config *c = load_gate("      pairs: {a: \"${env:FULL}\", \"${env:NONE}\": b}\n");
    pair_is(c, 0, "a", "swordfish");
    pair_is(c, 1, "${env:NONE}", "b");
    mr_config_free(c);
}

static void a_reference_is_refused_as_any_text_is(void **state)
{
    (void)state;
    gate_refused("      pairs: {a.b: \"${env:NONE}\"}\n", "m.yaml:4:20: sources.s.gate.pairs.a.b: the environment variable NONE is not set\n");
    gate_refused("      pairs: {a: \"${env:EMPTY}\"}\n", "m.yaml:4:18: sources.s.gate.pairs.a: the environment variable EMPTY is empty\n");
    gate_refused("      pairs: {a: \"x${env:FULL}\"}\n",
                 "m.yaml:4:18: sources.s.gate.pairs.a: a reference must be the whole value: \"${env:NAME}\" or \"${file:PATH}\"\n");
    gate_refused("      pairs: {a: \"${file:none}\"}\n",
                 "m.yaml:4:18: sources.s.gate.pairs.a: cannot read /etc/millrace/none: No such file or directory\n");
}

static void what_is_no_map_is_refused(void **state)
{
    (void)state;
    gate_refused("      pairs: x\n", "m.yaml:4:14: sources.s.gate.pairs: expected a map of names to plain values, found a plain value\n");
    gate_refused("      pairs: [a: b]\n", "m.yaml:4:14: sources.s.gate.pairs: expected a map of names to plain values, found a list\n");
    gate_refused("      pairs:\n", "m.yaml:4:13: sources.s.gate.pairs: expected a map of names to plain values, found nothing\n");
}

static void what_is_no_plain_value_is_refused_where_it_stands(void **state)
{
    (void)state;
    gate_refused("      pairs:\n        a.b: {c: d}\n        e: [f]\n        g:\n        h: ~\n",
                 "m.yaml:5:14: sources.s.gate.pairs.a.b: expected a plain value, found a map\n"
                 "m.yaml:6:12: sources.s.gate.pairs.e: expected a plain value, found a list\n"
                 "m.yaml:7:11: sources.s.gate.pairs.g: expected a plain value, found nothing\n"
                 "m.yaml:8:12: sources.s.gate.pairs.h: expected a plain value, found nothing\n");
    gate_refused("      pairs: {a: \"b\\0c\"}\n", "m.yaml:4:18: sources.s.gate.pairs.a: a text may not hold a NUL byte\n");
    gate_refused("      pairs: {a: *b}\n", "m.yaml:4:18: aliases (*) are not supported: write the value out\n");
}

static void a_name_is_there_once_and_not_empty(void **state)
{
    (void)state;
    gate_refused("      pairs: {a.b: 1, c: 2, a.b: 3}\n", "m.yaml:4:29: the key \"a.b\" is here twice; the first is in line 4\n");
    gate_refused("      pairs: {a: 1, \"\": 2}\n", "m.yaml:4:21: sources.s.gate.pairs: expected a name, found an empty text\n");
}

static void a_name_is_cut_and_harmless_in_a_message(void **state)
{
    (void)state;
    gate_refused("      pairs: {\"a\\e[1m\": []}\n", "m.yaml:4:25: sources.s.gate.pairs.a?[1m: expected a plain value, found a list\n");
    gate_refused("      pairs: {a23456789b23456789c23456789d23456789e23456789f23456789g23456789: []}\n",
                 "m.yaml:4:80: sources.s.gate.pairs.a23456789b23456789c23456789d23456789e23456789f23456789g23456...: expected a plain value, found a list\n");
}

static void pairs_are_counted(void **state)
{
    (void)state;
    gate_refused("      pairs: {}\n", "m.yaml:4:14: sources.s.gate.pairs: 0 entries are out of range: expected 1 to 4\n");
    gate_refused("      pairs: {a: 1, b: 2, c: 3, d: 4, e: 5}\n",
                 "m.yaml:4:14: sources.s.gate.pairs: 5 entries are out of range: expected 1 to 4\n");
}

static void a_doors_check_can_point_at_one_pair(void **state)
{
    (void)state;
    gate_refused("      pairs:\n        not: 1\n        not.ours: 2\n        not.ours.too: 3\n",
                 "m.yaml:6:19: source s: pairs.not.ours is not ours\nm.yaml:7:23: source s: pairs.not.ours.too is not ours\n");
}

const struct CMUnitTest pairs_tests[] = {
    cmocka_unit_test(without_a_word_there_are_none),
    cmocka_unit_test(pairs_keep_the_order_of_the_file),
    cmocka_unit_test(values_are_text_as_written),
    cmocka_unit_test(a_value_may_be_a_reference_and_a_name_is_none),
    cmocka_unit_test(a_reference_is_refused_as_any_text_is),
    cmocka_unit_test(what_is_no_map_is_refused),
    cmocka_unit_test(what_is_no_plain_value_is_refused_where_it_stands),
    cmocka_unit_test(a_name_is_there_once_and_not_empty),
    cmocka_unit_test(a_name_is_cut_and_harmless_in_a_message),
    cmocka_unit_test(pairs_are_counted),
    cmocka_unit_test(a_doors_check_can_point_at_one_pair),
};
const size_t pairs_count = MR_COUNT(pairs_tests);
