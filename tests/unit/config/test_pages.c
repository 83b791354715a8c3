/* SPDX-License-Identifier: Apache-2.0 */
#include "doors.h"

#include "config/options.h"
#include "config/root.h"

#include <jansson.h>
#include <string.h>

typedef void (*page)(const struct mr_door *const *doors, size_t count, struct mr_buf *out);

static char *made(page make)
{
    struct mr_buf out;
    mr_buf_init(&out, 4 << 20);
    make(test_doors, 2, &out);
    assert_false(out.failed);
    char *copy = strdup(mr_buf_cstr(&out));
    mr_buf_free(&out);
    assert_non_null(copy);
    return copy;
}

static void pages_are_the_same_each_time(void **state)
{
    (void)state;
    static const page pages[] = {mr_config_schema, mr_config_reference, mr_config_sample};
    for (size_t i = 0; i < MR_COUNT(pages); i++) {
        char *a = made(pages[i]), *b = made(pages[i]);
        assert_string_equal(a, b);
        free(a);
        free(b);
    }
}

static json_t *schema(void)
{
    char *text = made(mr_config_schema);
    json_error_t error;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        fail_msg("%d: %s", error.line, error.text);
    free(text);
    return root;
}

/* "zone.roll" to its object in the schema, through the map's form where a map may be a text. */
static json_t *below(json_t *object, const char *path)
{
    while (object && *path != '\0') {
        json_t *forms = json_object_get(object, "anyOf");
        if (forms)
            object = json_array_get(forms, 1);
        size_t n = strcspn(path, ".");
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        object = json_object_get(json_object_get(object, "properties"), key);
        path += n + (path[n] == '.');
    }
    return object;
}

static const char *text_of(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "(absent)";
}

static void the_schema_knows_every_type(void **state)
{
    (void)state;
    json_t *root = schema();
    assert_string_equal(text_of(root, "$schema"), "https://json-schema.org/draft/2020-12/schema");
    assert_string_equal(text_of(below(root, "environment"), "type"), "string");
    assert_string_equal(text_of(below(root, "environment"), "default"), "dev");
    assert_string_equal(text_of(below(root, "zone.roll.age"), "pattern"), "^[0-9]+(ms|s|m|h|d)$");
    assert_string_equal(text_of(below(root, "zone.roll.size"), "pattern"), "^[0-9]+(B|KiB|MiB|GiB|TiB)$");
    assert_non_null(strstr(text_of(below(root, "zone.roll.age"), "description"), "Range: 1s to 1d."));
    assert_string_equal(text_of(below(root, "zone.seal"), "type"), "boolean");
    assert_true(json_is_false(json_object_get(below(root, "zone.seal"), "default")));
    assert_string_equal(json_string_value(json_array_get(json_object_get(below(root, "zone.compression"), "enum"), 2)), "gzip");
    assert_string_equal(text_of(below(root, "http.listen"), "default"), "0.0.0.0:8080");
    assert_non_null(strstr(text_of(below(root, "http.listen"), "description"), "a reload that changes it is refused"));
    json_t *source = json_object_get(below(root, "sources"), "additionalProperties");
    json_t *number = below(source, "gate.number");
    assert_int_equal(json_integer_value(json_object_get(number, "minimum")), -5);
    assert_int_equal(json_integer_value(json_object_get(number, "maximum")), 100);
    assert_int_equal(json_integer_value(json_object_get(number, "default")), 7);
    assert_non_null(strstr(text_of(below(source, "gate.secret"), "pattern"), "env:"));
    json_t *pairs = below(source, "gate.pairs"), *any = json_pack("{s:[sss]}", "type", "string", "number", "boolean");
    assert_string_equal(text_of(pairs, "type"), "object");
    assert_true(json_equal(json_object_get(pairs, "additionalProperties"), any));
    assert_int_equal(json_integer_value(json_object_get(pairs, "minProperties")), 1);
    assert_int_equal(json_integer_value(json_object_get(pairs, "maxProperties")), 4);
    json_decref(any);
    json_t *real = below(source, "gate.real");
    assert_string_equal(text_of(real, "type"), "number");
    assert_true(json_real_value(json_object_get(real, "default")) >= 0.25);
    assert_true(json_real_value(json_object_get(real, "maximum")) >= 2.5);
    assert_int_equal(json_integer_value(json_object_get(real, "minimum")), -1);
    json_t *named = below(source, "gate.named"), *entry = json_object_get(named, "additionalProperties");
    assert_string_equal(json_string_value(json_array_get(json_object_get(named, "type"), 0)), "object");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(named, "propertyNames"), "minLength")), 1);
    assert_int_equal(json_integer_value(json_object_get(named, "maxProperties")), 4);
    assert_string_equal(text_of(below(entry, "expect.rows.drop"), "type"), "number");
    assert_string_equal(json_string_value(json_array_get(json_object_get(entry, "required"), 0)), "table");
    assert_string_equal(json_string_value(json_array_get(json_object_get(below(source, "plain"), "required"), 0)), "path");
    assert_int_equal(json_integer_value(json_object_get(source, "maxProperties")), 1);
    json_decref(root);
}

/* Every object says that it knows all its keys, and every property what it is. */
static void check_closed(json_t *node)
{
    if (json_is_array(node)) {
        for (size_t i = 0; i < json_array_size(node); i++)
            check_closed(json_array_get(node, i));
        return;
    }
    json_t *properties = json_object_get(node, "properties");
    if (properties)
        assert_true(json_is_false(json_object_get(node, "additionalProperties")));
    const char *key;
    json_t *value;
    json_object_foreach(properties, key, value) {
        (void)key;
        assert_true(strlen(text_of(value, "description")) > 5);
        assert_true(json_object_get(value, "type") || json_object_get(value, "enum") || json_object_get(value, "anyOf"));
    }
    json_object_foreach(node, key, value) {
        if (json_is_object(value) || json_is_array(value))
            check_closed(value);
    }
}

static void the_schema_takes_no_unknown_key(void **state)
{
    (void)state;
    json_t *root = schema();
    check_closed(root);
    json_decref(root);
}

/* Sections and lines of the reference: one for each row there is, and none else. */
static size_t rows_below(const struct mr_option *rows)
{
    size_t n = 0;
    for (; rows && rows->name; rows++)
        n += 1 + rows_below(rows->sub);
    return n;
}

static size_t lines_with(const char *text, const char *start)
{
    size_t n = 0;
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        n += strncmp(line, start, strlen(start)) == 0;
    return n;
}

static void the_reference_has_a_line_for_each_row(void **state)
{
    (void)state;
    char *text = made(mr_config_reference);
    size_t rows = rows_below(mr_root_rows()) + rows_below(gate_door.hub_options) + rows_below(gate_door.options) + rows_below(plain_door.options);
    assert_int_equal(lines_with(text, "| `"), rows + 1); /* and sources */
    assert_non_null(strstr(text, "\n## `zone.roll`\n"));
    assert_non_null(strstr(text, "\n### `sources.<name>.gate.items[]`\n"));
    assert_non_null(strstr(text, "\n### `sources.<name>.gate.named.<name>`\n"));
    assert_non_null(strstr(text, "\n### `sources.<name>.gate.named.<name>.expect.rows`\n"));
    assert_non_null(strstr(text, "\n### `sources.<name>.gate.named.<name>.items[]`\n"));
    assert_non_null(strstr(text, "| `named` | map of names to maps | see below | at most 4 entries | Some named maps. |\n"));
    assert_non_null(strstr(text, "| `drop` | number | `0.5` | 0 to 1 | A drop. |\n"));
    assert_non_null(strstr(text, "| `age` | duration | `60s` | 1s to 1d | "));
    assert_non_null(strstr(text, "| `choice` | one of | `fast` | `slow`, `fast`, `fastest` | A choice. |\n"));
    assert_non_null(strstr(text, "| `must` | text | *must be given* |  | It must be given. |\n"));
    assert_non_null(strstr(text, "| `word` | text | `hello` | 2 to 12 bytes | A text \\| with bounds. |\n"));
    assert_non_null(strstr(text, "| `pairs` | map of names to plain values | none | 1 to 4 entries | Some pairs. |\n"));
    assert_non_null(strstr(text, "| `listen` | address | `127.0.0.1:0` |  | An address. *Fixed.* |\n"));
    free(text);
}

static bool configs_same(const struct mr_config *a, const struct mr_config *b)
{
    return mr_options_same(mr_root_rows(), a, b) && mr_config_hub_same(a, b, 0);
}

static void the_sample_loads_and_changes_nothing(void **state)
{
    (void)state;
    char *text = made(mr_config_sample);
    struct mr_config *sample = load(text);
    if (!sample)
        fail_msg("%s\n%s", last_errors(), text);
    struct mr_config *empty = load("sources: {}\n");
    assert_true(configs_same(sample, empty));
    assert_int_equal(sample->sources_count, 0);
    for (const char *line = text; *line != '\0';) {
        size_t n = strcspn(line, "\n");
        assert_true(n <= 120 || !memchr(line, '#', 3)); /* prose is wrapped */
        line += n + (line[n] == '\n');
    }
    mr_config_free(empty);
    mr_config_free(sample);
    free(text);
}

/* With the # of its sources taken away, the sample shows where each row belongs. */
static void the_sample_shows_every_row_of_a_door(void **state)
{
    (void)state;
    char *text = made(mr_config_sample);
    static const char *const lines[] = {
        "#   my_gate:\n", "#     gate:\n", "#       word: hello\n", "#       listen: \"127.0.0.1:0\"  # a reload cannot change it\n",
        "#       choice: fast  # slow | fast | fastest\n", "#       strings: [GET, POST]\n", "#       secret: \"${env:NAME}\"\n",
        "#       map:\n#         # A name.\n#         name: none\n", "#       path: ...  # must be given\n",
        "#       pairs: {name: value}\n", "#       real: 0.25  # -1 to 2.5\n",
        "#       named:\n#         name:\n#           # A table.\n#           table: ...  # must be given\n",
        "#           expect:\n#             # At most.\n", "#               drop: 0.5  # 0 to 1\n"};
    for (size_t i = 0; i < MR_COUNT(lines); i++) {
        if (!strstr(text, lines[i]))
            fail_msg("no %s in\n%s", lines[i], text);
    }
    free(text);
}

static void the_rows_of_the_program_are_sound(void **state)
{
    (void)state;
    char *faults = made(mr_config_check_rows);
    assert_string_equal(faults, "");
    free(faults);
}

static void unsound_rows_are_found(void **state)
{
    (void)state;
    static const struct mr_option extra_rows[] = {{.name = "x", .type = MR_T_BOOL, .offset = sizeof(char *), .doc = "A doc."}, {0}};
    static const struct mr_option below[] = {
        {.name = "on_it", .type = MR_T_BOOL, .doc = "A doc."},
        {.name = "given", .type = MR_T_MAP, .offset = sizeof(char *), .offset2 = 1, .flags = MR_OPT_PRESENT, .sub = extra_rows, .doc = "A doc."},
        {.name = "Bad", .type = MR_T_BOOL, .offset = sizeof(char *), .doc = "A doc."},
        {0},
    };
    static const struct mr_option rows[] = {
        {.name = "Bad-Name", .type = MR_T_STRING, .doc = "A doc."},
        {.name = "undocumented", .type = MR_T_STRING},
        {.name = "age", .type = MR_T_DURATION, .def = "60", .doc = "A doc."},
        {.name = "small", .type = MR_T_INT, .def = "1", .min = "2", .doc = "A doc."},
        {.name = "big", .type = MR_T_SIZE, .max = "1PiB", .doc = "A doc."},
        {.name = "crossed", .type = MR_T_SIZE, .min = "1GiB", .max = "1MiB", .doc = "A doc."},
        {.name = "choice", .type = MR_T_ENUM, .doc = "A doc."},
        {.name = "map", .type = MR_T_MAP, .doc = "A doc."},
        {.name = "map", .type = MR_T_BOOL, .doc = "A doc."},
        {.name = "pairs", .type = MR_T_PAIRS, .def = "a: b", .doc = "A doc."},
        {.name = "named", .type = MR_T_NAMED, .doc = "A doc.", .sub = below, .sub_size = 16},
        {.name = "sizeless", .type = MR_T_NAMED, .doc = "A doc.", .sub = extra_rows},
        {.name = "share", .type = MR_T_REAL, .def = "1.5", .max = "1", .doc = "A doc."},
        {.name = "half", .type = MR_T_REAL, .min = ".5", .doc = "A doc."},
        {.name = "turned", .type = MR_T_REAL, .min = "0.5", .max = "0.25", .doc = "A doc."},
        {0},
    };
    static const struct mr_option hub[] = {{.name = "zone", .type = MR_T_STRING, .doc = "A doc."}, {0}};
    const struct mr_door bad = {.name = "bad", .doc = "A doc.", .options = rows, .hub_options = hub};
    const struct mr_door *const doors[] = {&bad};
    struct mr_buf out;
    mr_buf_init(&out, 1 << 16);
    mr_config_check_rows(doors, 1, &out);
    assert_string_equal(mr_buf_cstr(&out), "bad.Bad-Name: a key is lower-case letters, digits and _\n"
                                           "bad.undocumented: no doc\n"
                                           "bad.age: default: \"60\": a unit is missing, for instance 60s; units are ms, s, m, h, d\n"
                                           "bad.small: default: \"1\" is out of range: expected at least 2\n"
                                           "bad.big: min and max: \"1PiB\": unknown unit \"PiB\"; units are B, KiB, MiB, GiB, TiB\n"
                                           "bad.crossed: min and max: min is above max\n"
                                           "bad.choice: no choices\n"
                                           "bad.map: no rows below\n"
                                           "bad.map: here twice\n"
                                           "bad.pairs: default: a row of this type has no default\n"
                                           "bad.named.on_it: lies where the entry's name is\n"
                                           "bad.named.given: lies where the entry's name is\n"
                                           "bad.named.Bad: a key is lower-case letters, digits and _\n"
                                           "bad.sizeless: no rows below\n"
                                           "bad.share: default: \"1.5\" is out of range: expected at most 1\n"
                                           "bad.half: min and max: expected a number such as 0.5, found \".5\"\n"
                                           "bad.turned: min and max: min is above max\n"
                                           "bad: key zone is somebody else's at the top level\n");
    mr_buf_free(&out);
}

const struct CMUnitTest pages_tests[] = {
    cmocka_unit_test(pages_are_the_same_each_time),
    cmocka_unit_test(the_schema_knows_every_type),
    cmocka_unit_test(the_schema_takes_no_unknown_key),
    cmocka_unit_test(the_reference_has_a_line_for_each_row),
    cmocka_unit_test(the_sample_loads_and_changes_nothing),
    cmocka_unit_test(the_sample_shows_every_row_of_a_door),
    cmocka_unit_test(the_rows_of_the_program_are_sound),
    cmocka_unit_test(unsound_rows_are_found),
};
const size_t pages_count = MR_COUNT(pages_tests);
