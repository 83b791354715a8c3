/* SPDX-License-Identifier: Apache-2.0 */
#include "doors.h"

#include "millrace/clock.h"

#include <string.h>

static void the_program_has_the_defaults_of_the_contract(void **state)
{
    (void)state;
    struct mr_config *c = load("sources: {}\n");
    assert_non_null(c);
    assert_string_equal(c->environment, "dev");
    assert_string_equal(c->data_dir, "/etc/millrace/data");
    assert_string_equal(c->state.url, "sqlite");
    assert_int_equal(c->state.keep_ms, INT64_C(90) * 86400000);
    assert_string_equal(c->zone.url, "file:/etc/millrace/raw");
    assert_int_equal(c->zone.compression, MR_CODEC_ZSTD);
    assert_int_equal(c->zone.roll.size, 128 << 20);
    assert_int_equal(c->zone.roll.age_ms, 60000);
    assert_int_equal(c->zone.seal_after_ms, 600000);
    assert_false(c->zone.seal);
    assert_string_equal(c->admin.listen, "127.0.0.1:9464");
    assert_null(c->alerts.url);
    assert_int_equal(c->limits.memory, 512 << 20);
    assert_int_equal(c->limits.disk_reserve, 256 << 20);
    assert_int_equal(c->log.format, MR_LOG_AUTO);
    assert_int_equal(c->log.level, MR_LOG_INFO);
    assert_int_equal(c->shutdown_timeout_ms, 30000);
    const struct gate_hub *hub = c->hub_options[0];
    assert_string_equal(hub->http.listen, "0.0.0.0:8080");
    assert_int_equal(hub->http.limit, 1 << 20);
    assert_null(c->hub_options[1]);
    assert_int_equal(c->sources_count, 0);
    mr_config_free(c);
}

static void every_key_of_the_program_is_read(void **state)
{
    (void)state;
    struct mr_config *c = load("environment: prod\n"
                               "data_dir: ../d\n"
                               "state: {url: sqlite, keep: 2d}\n"
                               "zone: {url: \"file:/z\", compression: gzip, roll: {size: 1KiB, age: 1s}, seal_after: 0s, seal: true}\n"
                               "admin: {listen: \"[::1]:0\"}\n"
                               "alerts: {url: \"https://example.com/a?b=c\"}\n"
                               "limits: {memory: 16MiB, disk_reserve: 0B}\n"
                               "log: {format: json, level: debug}\n"
                               "shutdown_timeout: 5s\n"
                               "http: {listen: \"localhost:80\", limit: 2KiB}\n"
                               "sources: {}\n");
    if (!c)
        fail_msg("%s", last_errors());
    assert_string_equal(c->environment, "prod");
    assert_string_equal(c->data_dir, "/etc/millrace/../d");
    assert_string_equal(c->state.url, "sqlite");
    assert_int_equal(c->state.keep_ms, 172800000);
    assert_string_equal(c->zone.url, "file:/z");
    assert_int_equal(c->zone.compression, MR_CODEC_GZIP);
    assert_int_equal(c->zone.roll.size, 1024);
    assert_int_equal(c->zone.roll.age_ms, 1000);
    assert_int_equal(c->zone.seal_after_ms, 0);
    assert_true(c->zone.seal);
    assert_string_equal(c->admin.listen, "[::1]:0");
    assert_string_equal(c->alerts.url, "https://example.com/a?b=c");
    assert_int_equal(c->limits.memory, 16 << 20);
    assert_int_equal(c->limits.disk_reserve, 0);
    assert_int_equal(c->log.format, MR_LOG_JSON);
    assert_int_equal(c->log.level, MR_LOG_DEBUG);
    assert_int_equal(c->shutdown_timeout_ms, 5000);
    const struct gate_hub *hub = c->hub_options[0];
    assert_string_equal(hub->http.listen, "localhost:80");
    assert_int_equal(hub->http.limit, 2048);
    mr_config_free(c);
}

static void state_may_be_a_word(void **state)
{
    (void)state;
    struct mr_config *c = load("state: sqlite\nzone: file:raw2\nsources: {}\n");
    assert_non_null(c);
    assert_string_equal(c->state.url, "sqlite");
    assert_int_equal(c->state.keep_ms, INT64_C(90) * 86400000);
    assert_string_equal(c->zone.url, "file:/etc/millrace/raw2");
    assert_int_equal(c->zone.roll.age_ms, 60000);
    mr_config_free(c);
}

static void state_may_be_a_url_of_postgres(void **state)
{
    (void)state;
    struct mr_config *c = load("state: postgresql://u@h/d?schema=x\nsources: {}\n");
    assert_non_null(c);
    assert_string_equal(c->state.url, "postgresql://u@h/d?schema=x");
    mr_config_free(c);
}

static void a_store_or_zone_that_is_not_there_is_refused(void **state)
{
    (void)state;
    refused("state: mysql://u:hunter2@h/d\nsources: {}\n",
            "m.yaml:1:8: state.url: expected sqlite, or a URL such as \"postgres://user@host/database\"\n");
    refused("state:\n  keep: 1d\n  url: sqlight\nsources: {}\n",
            "m.yaml:3:8: state.url: expected sqlite, or a URL such as \"postgres://user@host/database\"\n");
    refused("zone: {url: \"s3://b/p\"}\nsources: {}\n",
            "m.yaml:1:13: zone.url: expected s3://bucket/prefix; a bucket's name is 3 to 63 letters, digits and `-`\n");
    refused("zone: {url: \"s3://bucket/a//b\"}\nsources: {}\n",
            "m.yaml:1:13: zone.url: expected a prefix of letters, digits and / ! - _ . * ' ( ) = alone, without empty parts\n");
    refused("zone: {url: \"s3://bucket\", s3: {endpoint: \"minio:9000\"}}\nsources: {}\n",
            "m.yaml:1:43: zone.s3.endpoint: expected a URL such as https://minio.example.com:9000\n");
    refused("zone: {url: \"s3://bucket\", s3: {access_key: \"${env:FULL}\"}}\nsources: {}\n",
            "m.yaml:1:32: zone.s3: expected access_key and secret_key together, or neither\n");
    refused("zone: ./raw\nsources: {}\n", "m.yaml:1:7: zone.url: expected file: and a folder, such as \"file:./raw\", or \"s3://bucket/prefix\"\n");
    refused("zone: \"file:\"\nsources: {}\n", "m.yaml:1:7: zone.url: expected file: and a folder of this machine, such as \"file:./raw\"\n");
    refused("zone: file://host/raw\nsources: {}\n",
            "m.yaml:1:7: zone.url: expected file: and a folder of this machine, such as \"file:./raw\"\n");
}

static void zone_urls_become_absolute(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"file:./a/b", "file:/etc/millrace/a/b"}, {"file:a", "file:/etc/millrace/a"}, {"file:/a", "file:/a"},
        {"file:///a", "file:/a"}, {"file:.", "file:/etc/millrace"}, {"file:././a", "file:/etc/millrace/a"}};
    for (size_t i = 0; i < MR_COUNT(pairs); i++) {
        char text[128];
        snprintf(text, sizeof text, "zone: \"%s\"\nsources: {}\n", pairs[i][0]);
        struct mr_config *c = load(text);
        assert_non_null(c);
        assert_string_equal(c->zone.url, pairs[i][1]);
        mr_config_free(c);
    }
}

static void an_environment_is_a_word(void **state)
{
    (void)state;
    refused("environment: \"a b\"\nsources: {}\n", "m.yaml:1:14: environment: expected letters, digits and any of . _ - alone\n");
    refused("environment: \"\"\nsources: {}\n",
            "m.yaml:1:14: environment: 0 bytes of text are out of range: expected 1 to 64\n");
}

static void an_alert_url_is_http(void **state)
{
    (void)state;
    static const char *const bad[] = {"ftp://x/", "http://", "https:///x", "example.com", "http://a b/"};
    for (size_t i = 0; i < MR_COUNT(bad); i++) {
        char text[128];
        snprintf(text, sizeof text, "alerts: {url: \"%s\"}\nsources: {}\n", bad[i]);
        refused(text, "m.yaml:1:15: alerts.url: expected a URL such as https://example.com/alerts\n");
    }
}

static void a_door_has_its_defaults(void **state)
{
    (void)state;
    struct mr_config *c = load("sources: {s: {gate: {}}}\n");
    assert_non_null(c);
    const struct gate_options *o = gate(c);
    assert_null(o->text);
    assert_string_equal(o->word, "hello");
    assert_string_equal(o->path, "/etc/millrace/here");
    assert_string_equal(o->listen, "127.0.0.1:0");
    assert_true(o->flag);
    assert_int_equal(o->number, 7);
    assert_int_equal(o->size, 1 << 20);
    assert_int_equal(o->duration, 900000);
    assert_true(o->time == MR_NO_TIME);
    assert_int_equal(o->choice, 1);
    assert_null(o->secret.value);
    assert_int_equal(o->secrets.count, 0);
    assert_int_equal(o->strings.count, 2);
    assert_string_equal(o->strings.items[0], "GET");
    assert_string_equal(o->strings.items[1], "POST");
    assert_string_equal(o->map.name, "none");
    assert_int_equal(o->map.depth, 3);
    assert_false(o->extra_given);
    assert_null(o->extra.must);
    assert_int_equal(o->extra.window, 604800000);
    assert_string_equal(o->shape.kind, "csv");
    assert_true(o->shape.strict);
    assert_int_equal(o->items.count, 0);
    mr_config_free(c);
}

static void every_type_is_read(void **state)
{
    (void)state;
    struct mr_config *c = load_gate("      text: \"\"\n"
                                    "      word: caf\xc3\xa9\n"
                                    "      path: /abs/there\n"
                                    "      listen: example.com:65535\n"
                                    "      flag: false\n"
                                    "      number: -5\n"
                                    "      size: 1GiB\n"
                                    "      duration: 50ms\n"
                                    "      time: 2026-01-31T12:00:00.5+01:00\n"
                                    "      choice: fastest\n"
                                    "      secret: ${env:FULL}\n"
                                    "      strings: [a, 12, 'true']\n"
                                    "      secrets: [\"${env:FULL}\", \"${env:PORT}\"]\n"
                                    "      map: {name: null-ish, depth: 9}\n"
                                    "      extra: {must: yes-it-must}\n"
                                    "      shape: {kind: json, strict: false}\n"
                                    "      items: [{name: a}, {name: b, weight: 0}]\n");
    const struct gate_options *o = gate(c);
    assert_string_equal(o->text, "");
    assert_string_equal(o->word, "caf\xc3\xa9");
    assert_string_equal(o->path, "/abs/there");
    assert_string_equal(o->listen, "example.com:65535");
    assert_false(o->flag);
    assert_int_equal(o->number, -5);
    assert_int_equal(o->size, 1 << 30);
    assert_int_equal(o->duration, 50);
    assert_int_equal(o->time, INT64_C(1769857200500000));
    assert_int_equal(o->choice, 2);
    assert_string_equal(o->secret.value, "swordfish");
    assert_int_equal(o->secret.n, 9);
    assert_string_equal(o->secret.origin, "${env:FULL}");
    assert_int_equal(o->strings.count, 3);
    assert_string_equal(o->strings.items[1], "12");
    assert_string_equal(o->strings.items[2], "true");
    assert_int_equal(o->secrets.count, 2);
    assert_string_equal(o->secrets.items[1].value, ":9");
    assert_string_equal(o->map.name, "null-ish");
    assert_int_equal(o->map.depth, 9);
    assert_true(o->extra_given);
    assert_string_equal(o->extra.must, "yes-it-must");
    assert_int_equal(o->extra.window, 604800000);
    assert_string_equal(o->shape.kind, "json");
    assert_false(o->shape.strict);
    const struct gate_item *items = o->items.items;
    assert_int_equal(o->items.count, 2);
    assert_string_equal(items[0].name, "a");
    assert_int_equal(items[0].weight, 1);
    assert_int_equal(items[1].weight, 0);
    mr_config_free(c);
}

static void one_stands_for_a_list_of_one(void **state)
{
    (void)state;
    struct mr_config *c = load_gate("      strings: PUT\n      secrets: ${env:FULL}\n      shape: lines\n");
    const struct gate_options *o = gate(c);
    assert_int_equal(o->strings.count, 1);
    assert_string_equal(o->strings.items[0], "PUT");
    assert_int_equal(o->secrets.count, 1);
    assert_string_equal(o->secrets.items[0].value, "swordfish");
    assert_string_equal(o->shape.kind, "lines");
    assert_true(o->shape.strict);
    mr_config_free(c);
}

static void a_map_with_everything_commented_out_is_empty(void **state)
{
    (void)state;
    struct mr_config *c = load_gate("      map:\n      #  depth: 4\n      flag: false\n");
    assert_int_equal(gate(c)->map.depth, 3);
    mr_config_free(c);
    c = load("http:\nsources:\n  s:\n    gate:\n");
    assert_non_null(c);
    assert_string_equal(((struct gate_hub *)c->hub_options[0])->http.listen, "0.0.0.0:8080");
    assert_int_equal(c->sources_count, 1);
    mr_config_free(c);
}

static void each_type_says_what_it_expects(void **state)
{
    (void)state;
    gate_refused("      text: [a]\n", "m.yaml:4:13: sources.s.gate.text: expected text, found a list\n");
    gate_refused("      text:\n", "m.yaml:4:12: sources.s.gate.text: expected text, found nothing\n");
    gate_refused("      text: \"a\\0b\"\n", "m.yaml:4:13: sources.s.gate.text: a text may not hold a NUL byte\n");
    gate_refused("      word: x\n", "m.yaml:4:13: sources.s.gate.word: 1 bytes of text are out of range: expected 2 to 12\n");
    gate_refused("      path: \"\"\n", "m.yaml:4:13: sources.s.gate.path: expected a path, found an empty text\n");
    gate_refused("      flag: yes\n", "m.yaml:4:13: sources.s.gate.flag: expected true or false, found \"yes\"\n");
    gate_refused("      flag: \"true\"\n", "m.yaml:4:13: sources.s.gate.flag: expected true or false, found a text: take the quotes away\n");
    gate_refused("      number: seven\n", "m.yaml:4:15: sources.s.gate.number: expected a whole number, found \"seven\"\n");
    gate_refused("      number: \"7\"\n", "m.yaml:4:15: sources.s.gate.number: expected a whole number, found a text: take the quotes away\n");
    gate_refused("      number: 1.0\n", "m.yaml:4:15: sources.s.gate.number: expected a whole number, found \"1.0\"\n");
    gate_refused("      size: 1.5MiB\n", "m.yaml:4:13: sources.s.gate.size: \"1.5MiB\": expected a whole number and a unit: write 1536KiB\n");
    gate_refused("      duration: 3\n",
                 "m.yaml:4:17: sources.s.gate.duration: \"3\": a unit is missing, for instance 3s; units are ms, s, m, h, d\n");
    gate_refused("      time: noon\n", "m.yaml:4:13: sources.s.gate.time: expected a time such as 2026-01-31T12:00:00Z, found \"noon\"\n");
    gate_refused("      choice: fst\n",
                 "m.yaml:4:15: sources.s.gate.choice: expected one of slow, fast, fastest; found \"fst\", did you mean \"fast\"?\n");
    gate_refused("      map: x\n", "m.yaml:4:12: sources.s.gate.map: expected a map, found a plain value\n");
    gate_refused("      shape: []\n", "m.yaml:4:14: sources.s.gate.shape: expected a text or a map, found a list\n");
    gate_refused("      items: {name: a}\n", "m.yaml:4:14: sources.s.gate.items: expected a list of maps, found a map\n");
    gate_refused("      items: [a]\n", "m.yaml:4:15: sources.s.gate.items[0]: expected a map, found a plain value\n");
    gate_refused("      strings: [a, [b]]\n", "m.yaml:4:20: sources.s.gate.strings[1]: expected text, found a list\n");
}

static void ranges_are_said(void **state)
{
    (void)state;
    gate_refused("      number: 101\n", "m.yaml:4:15: sources.s.gate.number: \"101\" is out of range: expected -5 to 100\n");
    gate_refused("      number: -6\n", "m.yaml:4:15: sources.s.gate.number: \"-6\" is out of range: expected -5 to 100\n");
    gate_refused("      size: 1023B\n", "m.yaml:4:13: sources.s.gate.size: \"1023B\" is out of range: expected 1KiB to 1GiB\n");
    gate_refused("      duration: 8d\n", "m.yaml:4:17: sources.s.gate.duration: \"8d\" is out of range: expected 50ms to 7d\n");
    gate_refused("      strings: [a, b, c, d]\n", "m.yaml:4:16: sources.s.gate.strings: 4 entries are out of range: expected at most 3\n");
    gate_refused("      secrets: []\n", "m.yaml:4:16: sources.s.gate.secrets: 0 entries are out of range: expected 1 to 4\n");
    gate_refused("      items: [{name: a}, {name: a}, {name: a}, {name: a}]\n",
                 "m.yaml:4:14: sources.s.gate.items: 4 entries are out of range: expected at most 3\n");
    refused("http: {limit: 0B}\nsources: {}\n", "m.yaml:1:15: http.limit: \"0B\" is out of range: expected at least 1B\n");
    refused("zone: {roll: {age: 999ms}}\nsources: {}\n", "m.yaml:1:20: zone.roll.age: \"999ms\" is out of range: expected 1s to 1d\n");
}

static void addresses_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:8o", "::1:80", "[::1]", "[]:80", "a b:80", "h:000080"};
    for (size_t i = 0; i < MR_COUNT(bad); i++) {
        char text[128];
        snprintf(text, sizeof text, "http: {listen: \"%s\"}\nsources: {}\n", bad[i]);
        refused(text, "m.yaml:1:16: http.listen: expected an address such as 127.0.0.1:8080 or [::1]:8080\n");
    }
    static const char *const good[] = {"127.0.0.1:0", "[::]:1", "localhost:65535", "[fe80::1%eth0]:80"};
    for (size_t i = 0; i < MR_COUNT(good); i++) {
        char text[128];
        snprintf(text, sizeof text, "http: {listen: \"%s\"}\nsources: {}\n", good[i]);
        struct mr_config *c = load(text);
        assert_non_null(c);
        mr_config_free(c);
    }
}

static void what_must_be_given_is_missed_where_its_map_begins(void **state)
{
    (void)state;
    gate_refused("      extra: {}\n", "m.yaml:4:7: sources.s.gate.extra: \"must\" is missing; expected text\n");
    gate_refused("      flag: true\n      items:\n        - name: a\n        - weight: 3\n",
                 "m.yaml:7:11: sources.s.gate.items[1]: \"name\" is missing; expected text\n");
    refused("sources:\n  a:\n    plain: {}\n", "m.yaml:3:5: sources.a.plain: \"path\" is missing; expected text\n");
}

const struct CMUnitTest options_tests[] = {
    cmocka_unit_test(the_program_has_the_defaults_of_the_contract),
    cmocka_unit_test(every_key_of_the_program_is_read),
    cmocka_unit_test(state_may_be_a_word),
    cmocka_unit_test(a_store_or_zone_that_is_not_there_is_refused),
    cmocka_unit_test(state_may_be_a_url_of_postgres),
    cmocka_unit_test(zone_urls_become_absolute),
    cmocka_unit_test(an_environment_is_a_word),
    cmocka_unit_test(an_alert_url_is_http),
    cmocka_unit_test(a_door_has_its_defaults),
    cmocka_unit_test(every_type_is_read),
    cmocka_unit_test(one_stands_for_a_list_of_one),
    cmocka_unit_test(a_map_with_everything_commented_out_is_empty),
    cmocka_unit_test(each_type_says_what_it_expects),
    cmocka_unit_test(ranges_are_said),
    cmocka_unit_test(addresses_are_checked),
    cmocka_unit_test(what_must_be_given_is_missed_where_its_map_begins),
};
const size_t options_count = MR_COUNT(options_tests);
