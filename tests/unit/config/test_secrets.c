/* SPDX-License-Identifier: Apache-2.0 */
#include "doors.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A folder with files beside a config, removed at the end. */
static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/millrace-config-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static void path_in(char *out, size_t n, const char *name)
{
    snprintf(out, n, "%s/%s", folder, name);
}

static void put_file(const char *name, const void *bytes, size_t n)
{
    char path[128];
    path_in(path, sizeof path, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void put_text(const char *name, const char *text)
{
    put_file(name, text, strlen(text));
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"m.yaml", "secret", "pipe", "link"};
    for (size_t i = 0; i < MR_COUNT(names); i++) {
        char path[128];
        path_in(path, sizeof path, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

static struct mr_config *load_file(struct mr_buf *errors_text)
{
    char path[128];
    path_in(path, sizeof path, "m.yaml");
    struct mr_config *config = NULL;
    struct mr_config_errors *errors = NULL;
    enum mr_code code = mr_config_load(path, test_doors, 2, &config, &errors);
    assert_int_equal(code, config ? MR_OK : MR_ECONFIG);
    if (errors)
        mr_config_errors_text(errors, errors_text);
    mr_config_errors_free(errors);
    return config;
}

static const char one_secret[] = "sources: {s: {gate: {secret: \"${file:secret}\"}}}\n";

/* Loads a config whose secret is ${file:secret}; the secret's value, to be freed, or NULL with the message. */
static char *secret_of_file(const void *bytes, size_t n, size_t *value_n, struct mr_buf *message)
{
    put_file("secret", bytes, n);
    put_text("m.yaml", one_secret);
    struct mr_config *c = load_file(message);
    if (!c)
        return NULL;
    *value_n = gate(c)->secret.n;
    char *copy = malloc(*value_n + 1);
    assert_non_null(copy);
    memcpy(copy, gate(c)->secret.value, *value_n + 1);
    assert_string_equal(gate(c)->secret.origin, "${file:secret}");
    mr_config_free(c);
    return copy;
}

static void file_gives(const char *bytes, size_t n, const char *value, size_t value_n)
{
    struct mr_buf message;
    mr_buf_init(&message, 4096);
    size_t got_n = 0;
    char *got = secret_of_file(bytes, n, &got_n, &message);
    assert_non_null(got);
    assert_int_equal(got_n, value_n);
    assert_memory_equal(got, value, value_n + 1);
    free(got);
    mr_buf_free(&message);
}

static void one_trailing_newline_of_a_file_is_dropped(void **state)
{
    (void)state;
    file_gives("swordfish", 9, "swordfish", 9);
    file_gives("swordfish\n", 10, "swordfish", 9);
    file_gives("swordfish\n\n", 11, "swordfish\n", 10);
    file_gives("swordfish\r\n", 11, "swordfish", 9);
    file_gives("sword\0fish", 10, "sword\0fish", 10);
    file_gives(" swordfish ", 11, " swordfish ", 11);
}

static void file_refused(const void *bytes, size_t n, const char *because)
{
    struct mr_buf message, expected;
    mr_buf_init(&message, 4096);
    mr_buf_init(&expected, 4096);
    size_t got_n;
    assert_null(secret_of_file(bytes, n, &got_n, &message));
    mr_buf_printf(&expected, "%s/m.yaml:1:30: sources.s.gate.secret: %s/secret is %s\n", folder, folder, because);
    assert_string_equal(mr_buf_cstr(&message), mr_buf_cstr(&expected));
    mr_buf_free(&message);
    mr_buf_free(&expected);
}

static void an_empty_secret_file_is_an_error(void **state)
{
    (void)state;
    file_refused("", 0, "empty");
    file_refused("\n", 1, "empty");
    file_refused("\r\n", 2, "empty");
}

static void a_secret_file_is_bounded(void **state)
{
    (void)state;
    enum { LIMIT = 65536 };
    char *bytes = malloc(LIMIT + 2);
    assert_non_null(bytes);
    memset(bytes, 'x', LIMIT + 1);
    bytes[LIMIT + 1] = '\0';
    file_refused(bytes, LIMIT + 1, "larger than 65536 bytes, too large for a secret");
    char *kept = malloc(LIMIT + 1);
    assert_non_null(kept);
    memcpy(kept, bytes, LIMIT);
    kept[LIMIT] = '\0';
    file_gives(bytes, LIMIT, kept, LIMIT);
    free(bytes);
    free(kept);
}

static void message_is(const char *config, const char *part)
{
    put_text("m.yaml", config);
    struct mr_buf message;
    mr_buf_init(&message, 8192);
    struct mr_config *c = load_file(&message);
    assert_null(c);
    if (!strstr(mr_buf_cstr(&message), part))
        fail_msg("expected %s in %s", part, mr_buf_cstr(&message));
    mr_buf_free(&message);
}

static void what_is_no_file_is_refused_without_waiting(void **state)
{
    (void)state;
    message_is(one_secret, "/secret: No such file or directory\n");
    char path[128];
    path_in(path, sizeof path, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    message_is("sources: {s: {gate: {secret: \"${file:pipe}\"}}}\n", "/pipe: not a regular file\n");
    message_is("sources: {s: {gate: {secret: \"${file:/dev/zero}\"}}}\n", "cannot read /dev/zero: not a regular file\n");
    message_is("sources: {s: {gate: {secret: \"${file:.}\"}}}\n", "not a regular file\n");
    message_is("sources: {s: {gate: {secret: \"${file:}\"}}}\n", "expected ${file:PATH} with a path\n");
}

static void a_link_to_a_secret_is_followed(void **state)
{
    (void)state;
    put_text("secret", "swordfish\n");
    char path[128];
    path_in(path, sizeof path, "link");
    assert_int_equal(symlink("secret", path), 0);
    put_text("m.yaml", "sources: {s: {gate: {text: \"${file:link}\"}}}\n");
    struct mr_buf message;
    mr_buf_init(&message, 4096);
    struct mr_config *c = load_file(&message);
    assert_non_null(c);
    assert_string_equal(gate(c)->text, "swordfish");
    mr_config_free(c);
    mr_buf_free(&message);
}

static void a_file_that_is_read_again_gives_its_new_value(void **state)
{
    (void)state;
    file_gives("old\n", 4, "old", 3);
    file_gives("new\n", 4, "new", 3);
}

static void relative_paths_count_from_the_files_folder(void **state)
{
    (void)state;
    put_text("m.yaml", "sources: {}\n");
    struct mr_buf message;
    mr_buf_init(&message, 4096);
    struct mr_config *c = load_file(&message);
    assert_non_null(c);
    char expected[160];
    path_in(expected, sizeof expected, "data");
    assert_string_equal(c->data_dir, expected);
    assert_string_equal(c->folder, folder);
    snprintf(expected, sizeof expected, "file:%s/raw", folder);
    assert_string_equal(c->zone.url, expected);
    mr_config_free(c);
    mr_buf_free(&message);
}

static void a_file_beside_us_is_found_by_its_bare_name(void **state)
{
    (void)state;
    char before[4096];
    assert_non_null(getcwd(before, sizeof before));
    put_text("m.yaml", "sources: {}\n");
    assert_int_equal(chdir(folder), 0);
    struct mr_config *config = NULL;
    struct mr_config_errors *errors = NULL;
    assert_int_equal(mr_config_load("m.yaml", test_doors, 2, &config, &errors), MR_OK);
    assert_string_equal(config->folder, folder);
    mr_config_free(config);
    assert_int_equal(chdir(before), 0);
}

static void a_config_that_cannot_be_read_is_an_error(void **state)
{
    (void)state;
    struct mr_buf message;
    mr_buf_init(&message, 4096);
    assert_null(load_file(&message));
    assert_non_null(strstr(mr_buf_cstr(&message), "m.yaml: "));
    assert_non_null(strstr(mr_buf_cstr(&message), "No such file or directory\n"));
    mr_buf_free(&message);
}

static void the_processes_environment_is_used(void **state)
{
    (void)state;
    put_text("m.yaml", "sources: {s: {gate: {secret: \"${env:MR_TEST_CONFIG_SECRET}\"}}}\n");
    assert_int_equal(setenv("MR_TEST_CONFIG_SECRET", "from-env", 1), 0);
    struct mr_buf message;
    mr_buf_init(&message, 4096);
    struct mr_config *c = load_file(&message);
    assert_non_null(c);
    assert_string_equal(gate(c)->secret.value, "from-env");
    mr_config_free(c);
    mr_buf_free(&message);
    unsetenv("MR_TEST_CONFIG_SECRET");
}

static void an_empty_or_missing_variable_is_an_error(void **state)
{
    (void)state;
    gate_refused("      secret: ${env:EMPTY}\n", "m.yaml:4:15: sources.s.gate.secret: the environment variable EMPTY is empty\n");
    gate_refused("      secret: ${env:NOWHERE}\n", "m.yaml:4:15: sources.s.gate.secret: the environment variable NOWHERE is not set\n");
    gate_refused("      secrets: [\"${env:FULL}\", \"${env:NOWHERE}\"]\n",
                 "m.yaml:4:32: sources.s.gate.secrets[1]: the environment variable NOWHERE is not set\n");
    gate_refused("      secret: ${env:9X}\n",
                 "m.yaml:4:15: sources.s.gate.secret: not a name of an environment variable: \"9X\"\n");
}

static const char in_the_file[] = "a secret may not stand in the file: write \"${env:NAME}\" or \"${file:PATH}\"\n";

static void a_secret_in_the_file_is_refused_and_not_shown(void **state)
{
    (void)state;
    static const char *const ways[] = {
        "      secret: hunter2\n", "      secret: \"hunter2\"\n", "      secret: 'x${env:FULL}hunter2'\n", "      secrets: hunter2\n",
        "      secrets: [\"${env:FULL}\", hunter2]\n", "      secret: |\n        hunter2\n", "      secret: [hunter2]\n",
        "      secret: {hunter2: hunter2}\n", "      secrets: {a: hunter2}\n", "      secret: ${hunter2}\n", "      map: hunter2\n",
        "      secret: ${env:FULL}hunter2\n", "      items: hunter2\n",
    };
    for (size_t i = 0; i < MR_COUNT(ways); i++) {
        struct mr_buf text;
        mr_buf_init(&text, 4096);
        mr_buf_printf(&text, "sources:\n  s:\n    gate:\n%s", ways[i]);
        struct mr_config *c = load_n(mr_buf_str(&text));
        mr_buf_free(&text);
        assert_null(c);
        assert_null(strstr(last_errors(), "hunter2"));
        assert_null(strstr(last_errors(), "swordfish"));
        assert_non_null(strstr(last_errors(), "m.yaml:4:"));
        if (i < 6)
            assert_non_null(strstr(last_errors(), in_the_file));
    }
}

static void any_text_may_be_a_reference_if_it_is_the_whole(void **state)
{
    (void)state;
    struct mr_config *c = load_gate("      listen: ${env:ADDRESS}\n      text: ${env:FULL}\n      path: ${env:FULL}\n      shape: ${env:FULL}\n");
    assert_string_equal(gate(c)->listen, "127.0.0.1:1");
    assert_string_equal(gate(c)->text, "swordfish");
    assert_string_equal(gate(c)->path, "/etc/millrace/swordfish");
    assert_string_equal(gate(c)->shape.kind, "swordfish");
    mr_config_free(c);
    gate_refused("      text: http://x/${env:FULL}\n",
                 "m.yaml:4:13: sources.s.gate.text: a reference must be the whole value: \"${env:NAME}\" or \"${file:PATH}\"\n");
    gate_refused("      text: ${var:X}\n", "m.yaml:4:13: sources.s.gate.text: expected the whole value to be ${env:NAME} or ${file:PATH}\n");
    c = load_gate("      text: costs $5 {really}\n");
    assert_string_equal(gate(c)->text, "costs $5 {really}");
    mr_config_free(c);
}

static void a_referenced_value_is_never_in_a_message(void **state)
{
    (void)state;
    gate_refused("      listen: ${env:FULL}\n",
                 "m.yaml:4:15: sources.s.gate.listen: what ${env:FULL} holds is not an address such as 127.0.0.1:8080 or [::1]:8080\n");
    gate_refused("      word: ${env:LONG}\n", "m.yaml:4:13: sources.s.gate.word: what ${env:LONG} holds is not text of 2 to 12 bytes\n");
    refused("state: ${env:FULL}\nsources: {}\n", "m.yaml:1:8: state.url: expected sqlite, or a URL such as \"postgres://user@host/database\"\n");
    refused("zone: ${env:FULL}\nsources: {}\n", "m.yaml:1:7: zone.url: expected file: and a folder, such as \"file:./raw\", or \"s3://bucket/prefix\"\n");
    refused("alerts: {url: \"${env:FULL}\"}\nsources: {}\n",
            "m.yaml:1:15: alerts.url: expected a URL such as https://example.com/alerts\n");
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
const struct CMUnitTest secrets_tests[] = {
    IN_FOLDER(one_trailing_newline_of_a_file_is_dropped),
    IN_FOLDER(an_empty_secret_file_is_an_error),
    IN_FOLDER(a_secret_file_is_bounded),
    IN_FOLDER(what_is_no_file_is_refused_without_waiting),
    IN_FOLDER(a_link_to_a_secret_is_followed),
    IN_FOLDER(a_file_that_is_read_again_gives_its_new_value),
    IN_FOLDER(relative_paths_count_from_the_files_folder),
    IN_FOLDER(a_file_beside_us_is_found_by_its_bare_name),
    IN_FOLDER(a_config_that_cannot_be_read_is_an_error),
    IN_FOLDER(the_processes_environment_is_used),
    cmocka_unit_test(an_empty_or_missing_variable_is_an_error),
    cmocka_unit_test(a_secret_in_the_file_is_refused_and_not_shown),
    cmocka_unit_test(any_text_may_be_a_reference_if_it_is_the_whole),
    cmocka_unit_test(a_referenced_value_is_never_in_a_message),
};
const size_t secrets_count = MR_COUNT(secrets_tests);
