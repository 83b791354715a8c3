/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the real doors: a binary of its own, since it links them all. */
#include "millrace/config.h"
#include "sources/doors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

static void the_rows_of_every_door_are_sound(void **state)
{
    (void)state;
    struct mr_buf out;
    mr_buf_init(&out, 1 << 20);
    mr_config_check_rows(mr_doors, mr_doors_count, &out);
    assert_string_equal(mr_buf_cstr(&out), "");
    mr_buf_free(&out);
}

static void the_real_schema_is_json(void **state)
{
    (void)state;
    struct mr_buf out;
    mr_buf_init(&out, 4 << 20);
    mr_config_schema(mr_doors, mr_doors_count, &out);
    json_error_t error;
    json_t *root = json_loadb(out.p, out.n, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(root);
    json_decref(root);
    mr_buf_free(&out);
}

static struct mr_config *load(struct mr_str text)
{
    struct mr_config_text in = {.text = text, .file = "m.yaml", .folder = "/etc/millrace"};
    struct mr_config *config;
    struct mr_config_errors *errors;
    if (mr_config_parse(&in, mr_doors, mr_doors_count, &config, &errors) != MR_OK)
        mr_config_errors_print(errors, stderr);
    mr_config_errors_free(errors);
    assert_non_null(config);
    return config;
}

static void the_real_sample_loads_to_the_defaults(void **state)
{
    (void)state;
    struct mr_buf out;
    mr_buf_init(&out, 4 << 20);
    mr_config_sample(mr_doors, mr_doors_count, &out);
    struct mr_config *sample = load(mr_buf_str(&out)), *empty = load(MR_STR("sources: {}\n"));
    for (size_t i = 0; i < mr_doors_count; i++)
        assert_true(mr_config_hub_same(sample, empty, i));
    struct mr_config_errors *errors;
    assert_int_equal(mr_config_diff_fixed(sample, empty, &errors), MR_OK);
    mr_config_free(sample);
    mr_config_free(empty);
    mr_buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rows_of_every_door_are_sound),
        cmocka_unit_test(the_real_schema_is_json),
        cmocka_unit_test(the_real_sample_loads_to_the_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
