/* SPDX-License-Identifier: Apache-2.0 */
#include "doors.h"

#include <string.h>

/* Is a change from `before` to `after` taken? Else its messages are `lines`. */
static void change(const char *before, const char *after, const char *lines)
{
    struct mr_config *old = load(before), *next = load(after);
    assert_non_null(old);
    assert_non_null(next);
    struct mr_config_errors *errors = NULL;
    enum mr_code code = mr_config_diff_fixed(old, next, &errors);
    assert_int_equal(code, lines ? MR_ECONFIG : MR_OK);
    if (lines) {
        struct mr_buf out;
        mr_buf_init(&out, 1 << 16);
        mr_config_errors_text(errors, &out);
        assert_string_equal(mr_buf_cstr(&out), lines);
        mr_buf_free(&out);
    } else {
        assert_null(errors);
    }
    mr_config_errors_free(errors);
    mr_config_free(old);
    mr_config_free(next);
}

#define NO ": cannot change while the server runs: put the old value back, or restart\n"

static void what_is_fixed_may_not_change_and_each_is_named(void **state)
{
    (void)state;
    change("sources: {s: {gate: {}}}\n",
           "environment: prod\n"
           "data_dir: ./other\n"
           "zone: {url: \"file:/elsewhere\"}\n"
           "admin:\n"
           "  listen: 127.0.0.1:1\n"
           "http: {limit: 2MiB, listen: \"0.0.0.0:81\"}\n"
           "sources: {s: {gate: {listen: \"127.0.0.1:5\"}}}\n",
           "m.yaml:1:14: environment" NO "m.yaml:2:11: data_dir" NO "m.yaml:3:13: zone.url" NO "m.yaml:5:11: admin.listen" NO
           "m.yaml:6:29: http.listen" NO "m.yaml:7:30: sources.s.gate.listen" NO);
}

static void a_fixed_key_that_is_gone_is_named_at_what_is_left(void **state)
{
    (void)state;
    change("http: {listen: \"1.2.3.4:81\"}\nsources: {}\n", "sources: {}\nhttp: {}\n", "m.yaml:2:7: http.listen" NO);
    change("environment: a\nsources: {}\n", "\nsources: {}\n", "m.yaml:2:1: environment" NO);
}

static void the_same_value_spelt_otherwise_is_no_change(void **state)
{
    (void)state;
    change("sources: {}\n", "environment: dev\nzone: \"file:/etc/millrace/raw\"\nstate: {url: sqlite}\ndata_dir: /etc/millrace/data\nsources: {}\n", NULL);
}

static void what_is_fixed_below_a_name_may_not_change(void **state)
{
    (void)state;
    static const char before[] = "sources: {s: {gate: {named: {a.b: {table: t, pin: x}, c: {table: t, pin: y}}}}}\n";
    change(before, "sources: {s: {gate: {named: {c: {table: t, pin: x}, a.b: {table: t}}}}}\n",
           "m.yaml:1:49: sources.s.gate.named.c.pin" NO "m.yaml:1:58: sources.s.gate.named.a.b.pin" NO);
    change(before, "sources: {s: {gate: {named: {c: {table: u, pin: y}, d: {table: t, pin: z}}}}}\n", NULL);
}

static void everything_else_may_change(void **state)
{
    (void)state;
    change("sources: {s: {gate: {}}}\n",
           "state: {keep: 1d}\nzone: {compression: none, roll: {age: 9s}}\nlimits: {disk_reserve: 64MiB}\nhttp: {limit: 5B}\nlog: {level: warn}\n"
           "alerts: {url: \"http://x/\"}\nsources: {s: {gate: {number: 1}}, t: {gate: {listen: \"1.1.1.1:1\"}}}\n",
           NULL);
    change("sources: {s: {gate: {listen: \"1.1.1.1:1\"}}}\n", "sources: {s: {plain: {path: /x}}}\n", NULL);
}

static bool same(const char *rows_a, const char *rows_b)
{
    struct mr_config *a = load_gate(rows_a), *b = load_gate(rows_b);
    bool is = mr_config_source_same(a, 0, b, 0);
    assert_int_equal(is, mr_config_source_same(b, 0, a, 0));
    mr_config_free(a);
    mr_config_free(b);
    return is;
}

static void only_a_source_that_changed_differs(void **state)
{
    (void)state;
    assert_true(same("      number: 7\n", "      duration: 900s\n      # the defaults, spelt out\n"));
    assert_true(same("      real: 0.25\n", "      real: 0.250\n"));
    assert_true(same("      named: {a: {table: t}}\n", "      named:\n        a:\n          table: t\n          expect: {rows: {drop: 0.50}}\n"));
    assert_true(same("      pairs: {a.b: 1, c: true}\n", "      pairs:\n        \"a.b\": \"1\"\n        c: 'true'\n"));
    static const char *const rows[] = {
        "      text: a\n", "      word: worldly\n", "      path: /p\n", "      listen: h:1\n", "      flag: false\n", "      number: 8\n",
        "      size: 2MiB\n", "      duration: 1s\n", "      time: 2026-01-01T00:00:00Z\n", "      choice: slow\n", "      secret: ${env:FULL}\n",
        "      secret: ${env:PORT}\n", "      strings: [GET]\n", "      strings: [GET, PUT]\n", "      secrets: ${env:FULL}\n",
        "      secrets: ${env:LONG}\n", "      map: {depth: 4}\n", "      extra: {must: x}\n", "      extra: {must: y}\n", "      shape: x\n",
        "      pairs: {a: b}\n", "      pairs: {a: c}\n", "      pairs: {b: c}\n", "      pairs: {a: b, b: c}\n", "      pairs: {b: c, a: b}\n",
        "      pairs: {a: \"${env:FULL}\"}\n", "      items: [{name: a}]\n", "      items: [{name: b}]\n", "      items: [{name: b, weight: 4}]\n",
    };
    for (size_t i = 0; i < MR_COUNT(rows); i++) {
        for (size_t j = 0; j < MR_COUNT(rows); j++)
            assert_int_equal(same(rows[i], rows[j]), i == j);
    }
}

static void a_hub_that_changed_differs(void **state)
{
    (void)state;
    struct mr_config *a = load("sources: {}\n"), *b = load("http: {limit: 2MiB}\nsources: {}\n"), *c = load("http: {limit: 1024KiB}\nsources: {}\n");
    assert_false(mr_config_hub_same(a, b, 0));
    assert_true(mr_config_hub_same(a, c, 0));
    assert_true(mr_config_hub_same(a, b, 1));
    mr_config_free(a);
    mr_config_free(b);
    mr_config_free(c);
}

const struct CMUnitTest reload_tests[] = {
    cmocka_unit_test(what_is_fixed_may_not_change_and_each_is_named),
    cmocka_unit_test(a_fixed_key_that_is_gone_is_named_at_what_is_left),
    cmocka_unit_test(the_same_value_spelt_otherwise_is_no_change),
    cmocka_unit_test(what_is_fixed_below_a_name_may_not_change),
    cmocka_unit_test(everything_else_may_change),
    cmocka_unit_test(only_a_source_that_changed_differs),
    cmocka_unit_test(a_hub_that_changed_differs),
};
const size_t reload_count = MR_COUNT(reload_tests);
