/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz/config.c - any bytes as a config file: either a config or errors, never both, never neither; what is accepted loads again to the
 * same; and the value of a secret is in no message. */
#include "millrace/config.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

struct options {
    char *path, *text;
    int64_t number, size, age, time;
    bool flag;
    int choice;
    struct mr_secret secret;
    struct mr_secrets secrets;
    struct mr_strings strings;
    bool extra_given;
    struct { char *must; } extra;
    struct mr_list items;
    struct mr_pairs pairs;
    double real;
    struct mr_list named;
};
struct item { char *name; };
struct named {
    char *name, *table;
    bool extra_given;
    struct { char *must; } extra;
    struct { double drop; } expect;
    struct mr_list items;
};

#define AT(member) offsetof(struct options, member)
static const char *const choices[] = {"slow", "fast", NULL};
static const struct mr_option extra_rows[] = {{.name = "must", .type = MR_T_STRING, .flags = MR_OPT_MANDATORY, .doc = "d"}, {0}};
static const struct mr_option item_rows[] = {{.name = "name", .type = MR_T_STRING, .flags = MR_OPT_MANDATORY, .doc = "d"}, {0}};
static const struct mr_option expect_rows[] = {{.name = "drop", .type = MR_T_REAL, .def = "0.5", .max = "1", .doc = "d"}, {0}};
#define NAMED(member) offsetof(struct named, member)
static const struct mr_option named_rows[] = {
    {.name = "table", .type = MR_T_STRING, .offset = NAMED(table), .flags = MR_OPT_MANDATORY | MR_OPT_FIXED, .doc = "d"},
    {.name = "extra", .type = MR_T_MAP, .offset = NAMED(extra_given), .offset2 = NAMED(extra), .sub = extra_rows, .flags = MR_OPT_PRESENT, .doc = "d"},
    {.name = "expect", .type = MR_T_MAP, .offset = NAMED(expect), .sub = expect_rows, .doc = "d"},
    {.name = "items", .type = MR_T_LIST, .offset = NAMED(items), .sub = item_rows, .sub_size = sizeof(struct item), .doc = "d"},
    {0},
};
static const struct mr_option rows[] = {
    {.name = "path", .type = MR_T_PATH, .offset = AT(path), .def = "./p", .doc = "d"},
    {.name = "text", .type = MR_T_STRING, .offset = AT(text), .min = "1", .max = "20", .doc = "d"},
    {.name = "number", .type = MR_T_INT, .offset = AT(number), .def = "1", .max = "9", .doc = "d"},
    {.name = "size", .type = MR_T_SIZE, .offset = AT(size), .def = "1KiB", .doc = "d"},
    {.name = "age", .type = MR_T_DURATION, .offset = AT(age), .def = "1s", .min = "1ms", .doc = "d"},
    {.name = "time", .type = MR_T_TIME, .offset = AT(time), .doc = "d"},
    {.name = "flag", .type = MR_T_BOOL, .offset = AT(flag), .doc = "d"},
    {.name = "choice", .type = MR_T_ENUM, .offset = AT(choice), .choices = choices, .doc = "d"},
    {.name = "secret", .type = MR_T_SECRET, .offset = AT(secret), .doc = "d"},
    {.name = "secrets", .type = MR_T_SECRETS, .offset = AT(secrets), .max = "3", .doc = "d"},
    {.name = "strings", .type = MR_T_STRINGS, .offset = AT(strings), .def = "POST", .doc = "d"},
    {.name = "extra", .type = MR_T_MAP, .offset = AT(extra_given), .offset2 = AT(extra), .sub = extra_rows, .flags = MR_OPT_PRESENT | MR_OPT_SCALAR, .doc = "d"},
    {.name = "items", .type = MR_T_LIST, .offset = AT(items), .sub = item_rows, .sub_size = sizeof(struct item), .doc = "d"},
    {.name = "pairs", .type = MR_T_PAIRS, .offset = AT(pairs), .max = "4", .doc = "d"},
    {.name = "real", .type = MR_T_REAL, .offset = AT(real), .def = "0.25", .min = "-1", .max = "2.5", .doc = "d"},
    {.name = "named", .type = MR_T_NAMED, .offset = AT(named), .sub = named_rows, .sub_size = sizeof(struct named), .max = "4", .doc = "d"},
    {0},
};
static const struct mr_option hub_rows[] = {{.name = "listen", .type = MR_T_LISTEN, .def = "h:1", .flags = MR_OPT_FIXED, .doc = "d"}, {0}};
static const struct mr_door door = {.name = "webhook", .doc = "d", .options = rows, .options_size = sizeof(struct options), .hub_options = hub_rows, .hub_options_size = sizeof(char *)};
static const struct mr_door *const doors[] = {&door};

static const char secret[] = "Xs3cr3tX\x1bvalue";

static const char *one_variable(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, "S") == 0 ? secret : NULL;
}

static struct mr_config *load(struct mr_str text)
{
    struct mr_config_text in = {.text = text, .file = "f", .folder = "/nowhere", .env = one_variable};
    struct mr_config *config;
    struct mr_config_errors *errors;
    enum mr_code code = mr_config_parse(&in, doors, 1, &config, &errors);
    assert((code == MR_OK) == (config != NULL) && (code == MR_OK) == (errors == NULL));
    if (errors) {
        assert(mr_config_errors_count(errors) > 0);
        struct mr_buf out;
        mr_buf_init(&out, 4 << 20);
        mr_config_errors_text(errors, &out);
        const char *shown = mr_buf_cstr(&out);
        assert(out.n > 0);
        assert(!strstr(shown, "s3cr3t") || (text.n > 0 && memmem(text.p, text.n, "s3cr3t", 6))); /* unless the fuzzer wrote it itself */
        for (size_t i = 0; i < out.n; i++)
            assert((unsigned char)shown[i] >= 0x20 || shown[i] == '\n');
        mr_buf_free(&out);
    }
    mr_config_errors_free(errors);
    return config;
}

/* What rows and door rely on, whatever the file says. */
static void check_named(const struct options *o)
{
    assert(o->real >= -1 && o->real <= 2.5 && o->named.count <= 4);
    for (size_t i = 0; i < o->named.count; i++) {
        const struct named *a = (const struct named *)o->named.items + i;
        assert(a->name && a->name[0] != '\0' && a->table && a->expect.drop <= 1 && (!a->extra_given || a->extra.must));
        for (size_t j = 0; j < i; j++)
            assert(strcmp(a->name, ((const struct named *)o->named.items + j)->name) != 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct mr_str text = {(const char *)bytes, n};
    struct mr_config *a = load(text);
    if (!a)
        return 0;
    struct mr_config *b = load(text);
    assert(b && a->sources_count == b->sources_count);
    struct mr_config_errors *errors;
    assert(mr_config_diff_fixed(a, b, &errors) == MR_OK);
    for (size_t i = 0; i < a->sources_count; i++) {
        assert(mr_config_source_same(a, i, b, i) && mr_config_find(a, a->sources[i].name) == (ptrdiff_t)i);
        check_named(a->sources[i].options);
    }
    mr_config_free(a);
    mr_config_free(b);
    return 0;
}
