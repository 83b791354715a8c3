/* SPDX-License-Identifier: Apache-2.0 */
/* postgres.c - what of Postgres' own can be seen from inside: texts that it cannot hold, and its own words for a backup. The rest, with real
 * servers that die, stand still and lose answers, is in postgres.py. */
#include "unit/state/contract.h"

#include <stdio.h>
#include <stdlib.h>

static void a_backup_is_the_servers_own_business(void **state)
{
    struct fix *f = *state;
    assert_int_equal(WAIT_DONE(f, mr_store_backup(f->store, "/tmp/none", fix_on_done, f)), MR_ECONFIG);
    assert_non_null(strstr(f->msg, "pg_dump --schema=t"));
}

static void what_is_no_text_becomes_one(void **state)
{
    struct fix *f = *state;
    static const char bytes[] = "a\0b\xff\xc3\xa9\xf0\x9f\x90";
    struct mr_run run = {.source = MR_STR("s"), .stream = MR_STR("t"), .outcome = MR_STR("failed"), .error = {bytes, sizeof bytes - 1}, .ended_us = 1};
    assert_int_equal(WAIT_DONE(f, mr_store_run(f->store, &run, fix_on_done, f)), MR_OK);
    assert_int_equal(WAIT_DONE(f, mr_store_position_set(f->store, MR_STR("s"), MR_STR("t"), (struct mr_str){"\xff\xc3\xa9", 3}, MR_STR("1"), fix_on_done, f)), MR_OK);
    assert_string_equal(fix_positions(f, "s"), "s/t/\xEF\xBF\xBD\xc3\xa9 v1 1\n");
}

int postgres_run(const char *url)
{
    char *state = strdup(url);
    const struct CMUnitTest postgres[] = {
        cmocka_unit_test_prestate_setup_teardown(a_backup_is_the_servers_own_business, fix_setup_open, fix_teardown, state),
        cmocka_unit_test_prestate_setup_teardown(what_is_no_text_becomes_one, fix_setup_open, fix_teardown, state),
    };
    int failures = cmocka_run_group_tests(postgres, NULL, NULL);
    free(state);
    return failures;
}
