/* SPDX-License-Identifier: Apache-2.0 */
#include "doors.h"

#include "millrace/buf.h"

#include <string.h>

#define AT(member) offsetof(struct gate_options, member)
#define BELOW(map, member) (offsetof(struct gate_options, map.member) - offsetof(struct gate_options, map))

static const char *const choices[] = {"slow", "fast", "fastest", NULL};
static const struct mr_option map_rows[] = {
    {.name = "name", .type = MR_T_STRING, .offset = BELOW(map, name), .def = "none", .doc = "A name."},
    {.name = "depth", .type = MR_T_INT, .offset = BELOW(map, depth), .def = "3", .min = "1", .max = "9", .doc = "A depth."},
    {0},
};
static const struct mr_option extra_rows[] = {
    {.name = "must", .type = MR_T_STRING, .offset = BELOW(extra, must), .flags = MR_OPT_MANDATORY, .doc = "It must be given."},
    {.name = "window", .type = MR_T_DURATION, .offset = BELOW(extra, window), .def = "7d", .min = "1m", .max = "30d", .doc = "A window."},
    {0},
};
static const struct mr_option shape_rows[] = {
    {.name = "kind", .type = MR_T_STRING, .offset = BELOW(shape, kind), .def = "csv", .doc = "A kind."},
    {.name = "strict", .type = MR_T_BOOL, .offset = BELOW(shape, strict), .def = "true", .doc = "Strict or not."},
    {0},
};
static const struct mr_option item_rows[] = {
    {.name = "name", .type = MR_T_STRING, .offset = offsetof(struct gate_item, name), .flags = MR_OPT_MANDATORY, .doc = "A name."},
    {.name = "weight", .type = MR_T_INT, .offset = offsetof(struct gate_item, weight), .def = "1", .doc = "A weight."},
    {0},
};
#define NAMED(member) offsetof(struct gate_named, member)
static const struct mr_option expect_rows_rows[] = {
    {.name = "drop", .type = MR_T_REAL, .offset = NAMED(expect.rows.drop) - NAMED(expect.rows), .def = "0.5", .min = "0", .max = "1", .doc = "A drop."},
    {.name = "rise", .type = MR_T_REAL, .offset = NAMED(expect.rows.rise) - NAMED(expect.rows), .min = "1", .doc = "A rise."},
    {0},
};
static const struct mr_option expect_rows[] = {
    {.name = "most", .type = MR_T_INT, .offset = NAMED(expect.most) - NAMED(expect), .def = "9", .doc = "At most."},
    {.name = "rows", .type = MR_T_MAP, .offset = NAMED(expect.rows) - NAMED(expect), .sub = expect_rows_rows, .doc = "How many rows."},
    {0},
};
static const struct mr_option named_extra_rows[] = {
    {.name = "must", .type = MR_T_STRING, .offset = 0, .flags = MR_OPT_MANDATORY, .doc = "It must be given."},
    {0},
};
static const struct mr_option named_rows[] = {
    {.name = "table", .type = MR_T_STRING, .offset = NAMED(table), .flags = MR_OPT_MANDATORY, .doc = "A table."},
    {.name = "watermark", .type = MR_T_STRING, .offset = NAMED(watermark), .def = "updated_at", .doc = "A column."},
    {.name = "pin", .type = MR_T_STRING, .offset = NAMED(pin), .flags = MR_OPT_FIXED, .doc = "A text that stays."},
    {.name = "keys", .type = MR_T_STRINGS, .offset = NAMED(keys), .max = "2", .doc = "Some keys."},
    {.name = "expect", .type = MR_T_MAP, .offset = NAMED(expect), .sub = expect_rows, .doc = "What is expected."},
    {.name = "extra", .type = MR_T_MAP, .offset = NAMED(extra_given), .offset2 = NAMED(extra), .sub = named_extra_rows, .flags = MR_OPT_PRESENT, .doc = "A map that is given or not."},
    {.name = "items", .type = MR_T_LIST, .offset = NAMED(items), .sub = item_rows, .sub_size = sizeof(struct gate_item), .doc = "Some items."},
    {0},
};
static const struct mr_option gate_rows[] = {
    {.name = "text", .type = MR_T_STRING, .offset = AT(text), .doc = "A text without a default."},
    {.name = "word", .type = MR_T_STRING, .offset = AT(word), .def = "hello", .min = "2", .max = "12", .doc = "A text | with bounds."},
    {.name = "path", .type = MR_T_PATH, .offset = AT(path), .def = "./here", .doc = "A path."},
    {.name = "listen", .type = MR_T_LISTEN, .offset = AT(listen), .def = "127.0.0.1:0", .flags = MR_OPT_FIXED, .doc = "An address."},
    {.name = "flag", .type = MR_T_BOOL, .offset = AT(flag), .def = "true", .doc = "A flag."},
    {.name = "number", .type = MR_T_INT, .offset = AT(number), .def = "7", .min = "-5", .max = "100", .doc = "A number."},
    {.name = "size", .type = MR_T_SIZE, .offset = AT(size), .def = "1MiB", .min = "1KiB", .max = "1GiB", .doc = "A size."},
    {.name = "duration", .type = MR_T_DURATION, .offset = AT(duration), .def = "15m", .min = "50ms", .max = "7d", .doc = "A duration."},
    {.name = "time", .type = MR_T_TIME, .offset = AT(time), .doc = "A time."},
    {.name = "choice", .type = MR_T_ENUM, .offset = AT(choice), .def = "fast", .choices = choices, .doc = "A choice."},
    {.name = "secret", .type = MR_T_SECRET, .offset = AT(secret), .doc = "A secret."},
    {.name = "strings", .type = MR_T_STRINGS, .offset = AT(strings), .def = "GET, POST", .max = "3", .doc = "Some texts."},
    {.name = "secrets", .type = MR_T_SECRETS, .offset = AT(secrets), .min = "1", .max = "4", .doc = "Some secrets."},
    {.name = "map", .type = MR_T_MAP, .offset = AT(map), .sub = map_rows, .doc = "A map."},
    {.name = "extra", .type = MR_T_MAP, .offset = AT(extra_given), .offset2 = AT(extra), .sub = extra_rows, .flags = MR_OPT_PRESENT, .doc = "A map that is given or not."},
    {.name = "shape", .type = MR_T_MAP, .offset = AT(shape), .sub = shape_rows, .flags = MR_OPT_SCALAR, .doc = "A kind or a map."},
    {.name = "items", .type = MR_T_LIST, .offset = AT(items), .sub = item_rows, .sub_size = sizeof(struct gate_item), .max = "3", .doc = "Some items."},
    {.name = "pairs", .type = MR_T_PAIRS, .offset = AT(pairs), .min = "1", .max = "4", .doc = "Some pairs."},
    {.name = "real", .type = MR_T_REAL, .offset = AT(real), .def = "0.25", .min = "-1", .max = "2.5", .doc = "A number with a fraction."},
    {.name = "named", .type = MR_T_NAMED, .offset = AT(named), .sub = named_rows, .sub_size = sizeof(struct gate_named), .max = "4", .doc = "Some named maps."},
    {0},
};
static const struct mr_option http_rows[] = {
    {.name = "listen", .type = MR_T_LISTEN, .offset = 0, .def = "0.0.0.0:8080", .flags = MR_OPT_FIXED, .doc = "An address."},
    {.name = "limit", .type = MR_T_SIZE, .offset = sizeof(char *), .def = "1MiB", .min = "1B", .doc = "A limit."},
    {0},
};
static const struct mr_option hub_rows[] = {
    {.name = "http", .type = MR_T_MAP, .offset = 0, .sub = http_rows, .doc = "The listener."},
    {0},
};

static void gate_validate(const char *name, const void *options, struct mr_where where, struct mr_config_errors *errors)
{
    const struct gate_options *o = options;
    if (strcmp(o->word, "forbidden") == 0)
        mr_config_error(errors, mr_config_where(errors, where, "word"), "source %s: word may not be forbidden", name);
    if (o->text && strcmp(o->text, "deep") == 0)
        mr_config_error(errors, mr_config_where(errors, where, "map.depth"), "source %s: too deep", name);
    for (size_t i = 0; i < o->pairs.count; i++) {
        char path[64];
        snprintf(path, sizeof path, "pairs.%s", o->pairs.items[i].name);
        if (strncmp(o->pairs.items[i].name, "not.ours", strlen("not.ours")) == 0)
            mr_config_error(errors, mr_config_where(errors, where, path), "source %s: %s is not ours", name, path);
    }
    for (size_t i = 0; i < o->named.count; i++) {
        const struct gate_named *n = (const struct gate_named *)o->named.items + i;
        char path[64];
        snprintf(path, sizeof path, "named.%s.watermark", n->name);
        if (strcmp(n->watermark, "wet") == 0)
            mr_config_error(errors, mr_config_where(errors, where, path), "source %s: %s is wet", name, path);
    }
}

const struct mr_door gate_door = {
    .name = "gate", .doc = "A door with a row of every type.", .options = gate_rows, .options_size = sizeof(struct gate_options),
    .validate = gate_validate, .hub_options = hub_rows, .hub_options_size = sizeof(struct gate_hub),
};

static const struct mr_option plain_rows[] = {
    {.name = "path", .type = MR_T_STRING, .offset = offsetof(struct plain_options, path), .flags = MR_OPT_MANDATORY, .doc = "The route."},
    {0},
};
static void plain_validate_all(const char *const *names, const void *const *options, const struct mr_where *wheres, size_t count,
                               const void *hub_options, int64_t memory, struct mr_config_errors *errors)
{
    (void)hub_options;
    (void)memory;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            const struct plain_options *a = options[i], *b = options[j];
            if (strcmp(a->path, b->path) == 0)
                mr_config_error(errors, wheres[i], "source %s: path %s is the route of source %s already", names[i], a->path, names[j]);
        }
    }
}
const struct mr_door plain_door = {
    .name = "plain", .doc = "A small door.", .options = plain_rows, .options_size = sizeof(struct plain_options), .validate_all = plain_validate_all,
};
const struct mr_door *const test_doors[2] = {&gate_door, &plain_door};

/* -- loading --------------------------------------------------------------------------------------------------------------- */

static struct mr_buf errors_text; /* of the last load(); the tests run one after the other */

const char *last_errors(void)
{
    return mr_buf_cstr(&errors_text);
}

void drop_last_errors(void)
{
    mr_buf_free(&errors_text);
}

static const char *fake_env(void *arg, const char *name)
{
    (void)arg;
    static const struct { const char *name, *value; } set[] = {
        {"FULL", "swordfish"}, {"EMPTY", ""}, {"PORT", ":9"}, {"ADDRESS", "127.0.0.1:1"}, {"LONG", "a swordfish too long for it"},
    };
    for (size_t i = 0; i < MR_COUNT(set); i++) {
        if (strcmp(set[i].name, name) == 0)
            return set[i].value;
    }
    return NULL;
}

struct mr_config *load_n(struct mr_str text)
{
    struct mr_config_text in = {.text = text, .file = "m.yaml", .folder = "/etc/millrace", .env = fake_env};
    struct mr_config *config = NULL;
    struct mr_config_errors *errors = NULL;
    mr_buf_free(&errors_text);
    mr_buf_init(&errors_text, 4 << 20);
    enum mr_code code = mr_config_parse(&in, test_doors, 2, &config, &errors);
    assert_int_equal(code, errors ? MR_ECONFIG : MR_OK);
    assert_true((config == NULL) == (errors != NULL));
    if (errors)
        mr_config_errors_text(errors, &errors_text);
    mr_config_errors_free(errors);
    return config;
}

struct mr_config *load(const char *text)
{
    return load_n(mr_str_c(text));
}

static const char gate_head[] = "sources:\n  s:\n    gate:\n";

struct mr_config *load_gate(const char *rows)
{
    struct mr_buf text;
    mr_buf_init(&text, 1 << 20);
    mr_buf_puts(&text, gate_head);
    mr_buf_puts(&text, rows);
    struct mr_config *config = load_n(mr_buf_str(&text));
    mr_buf_free(&text);
    if (!config)
        print_error("%s", last_errors());
    assert_non_null(config);
    return config;
}

const struct gate_options *gate(const struct mr_config *config)
{
    return config->sources[0].options;
}

void refused(const char *text, const char *lines)
{
    struct mr_config *config = load(text);
    mr_config_free(config);
    assert_null(config);
    assert_string_equal(last_errors(), lines);
}

void refused_with(const char *text, const char *part)
{
    struct mr_config *config = load(text);
    mr_config_free(config);
    assert_null(config);
    if (!strstr(last_errors(), part))
        fail_msg("not among the errors: %s\n%s", part, last_errors());
}

void gate_refused(const char *rows, const char *lines)
{
    struct mr_buf text;
    mr_buf_init(&text, 1 << 20);
    mr_buf_puts(&text, gate_head);
    mr_buf_puts(&text, rows);
    refused(mr_buf_cstr(&text), lines);
    mr_buf_free(&text);
}
