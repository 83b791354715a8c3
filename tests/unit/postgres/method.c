/* SPDX-License-Identifier: Apache-2.0 */
#include "sources/postgres/method.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct pg_method_facts large = {.table = "orders", .watermark = true, .ids = true, .indexed = true, .bytes = INT64_C(64) << 30, .every_ms = 900000};

static void chosen(struct pg_method_facts f, enum pg_method method, const char *word)
{
    enum pg_method got = PG_AUTO;
    const char *why = NULL;
    struct mr_err err;
    assert_int_equal(pg_method_choose(&f, &got, &why, &err), MR_OK);
    assert_string_equal(pg_method_name(got), pg_method_name(method));
    if (!strstr(why, word))
        fail_msg("%s: no %s in it", why, word);
}

static void refused(struct pg_method_facts f, const char *word)
{
    enum pg_method got = PG_AUTO;
    const char *why = NULL;
    struct mr_err err;
    assert_int_equal(pg_method_choose(&f, &got, &why, &err), MR_ECONFIG);
    if (!strstr(err.msg, word))
        fail_msg("%s: no %s in it", err.msg, word);
}

static void a_large_table_with_an_index_is_read_exactly(void **state)
{
    (void)state;
    struct pg_method_facts f = large;
    chosen(f, PG_EXACT, "index");
    f.indexed = false;
    chosen(f, PG_XID, "index");
    f.asked = PG_EXACT;
    chosen(f, PG_EXACT, "configured");
    f = large;
    f.watermark = false;
    chosen(f, PG_XID, "no watermark");
    f = large;
    f.asked = PG_XID;
    chosen(f, PG_XID, "configured");
}

static void a_small_table_is_scanned_while_that_takes_little_of_the_time(void **state)
{
    (void)state;
    struct pg_method_facts f = large;
    f.bytes = INT64_C(1) << 30;
    chosen(f, PG_XID, "small"); /* 1.07 s of 900 */
    f.bytes++;
    chosen(f, PG_EXACT, "index");
    f.bytes = 20000000; /* 20 ms */
    f.every_ms = 1000;
    chosen(f, PG_XID, "small");
    f.every_ms = 999;
    chosen(f, PG_EXACT, "index");
}

static void a_standby_needs_its_primary(void **state)
{
    (void)state;
    struct pg_method_facts f = large;
    f.standby = true;
    chosen(f, PG_XID, "primary_dsn");
    f.asked = PG_EXACT;
    chosen(f, PG_XID, "primary_dsn");
    f.primary = true;
    chosen(f, PG_EXACT, "configured");
}

static void what_has_no_ids_is_read_by_window(void **state)
{
    (void)state;
    struct pg_method_facts f = large;
    f.ids = false;
    chosen(f, PG_WINDOW, "no transaction ids");
    f.asked = PG_EXACT;
    refused(f, "window");
    f.asked = PG_XID;
    refused(f, "window");
    f.asked = PG_WINDOW;
    f.watermark = false;
    refused(f, "watermark");
    f.table = NULL;
    refused(f, "a query");
    f = large;
    f.asked = PG_WINDOW;
    chosen(f, PG_WINDOW, "configured");
}

static void all_relations_count(void **state)
{
    (void)state;
    struct pg_method_facts f = {.watermark = true};
    pg_method_none(&f);
    pg_method_relation(&f, 'r', true, true, 1000, 8192);
    assert_true(f.ids && f.indexed && f.bytes == 8192000);
    pg_method_relation(&f, 'r', true, false, 1, 8192); /* a page needs no index */
    assert_true(f.ids && f.indexed && f.bytes == 8200192);
    pg_method_relation(&f, 'r', true, false, 2, 8192);
    assert_true(f.ids && !f.indexed);
    pg_method_relation(&f, 'm', false, true, 0, 8192);
    assert_true(f.ids);
    pg_method_relation(&f, 'r', false, true, 0, 8192); /* not a heap */
    assert_false(f.ids);
    static const char none[] = "vfq";
    for (const char *kind = none; *kind; kind++) {
        pg_method_none(&f);
        pg_method_relation(&f, *kind, true, true, 0, 8192);
        assert_false(f.ids);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_table_with_an_index_is_read_exactly),
        cmocka_unit_test(a_small_table_is_scanned_while_that_takes_little_of_the_time),
        cmocka_unit_test(a_standby_needs_its_primary),
        cmocka_unit_test(what_has_no_ids_is_read_by_window),
        cmocka_unit_test(all_relations_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
