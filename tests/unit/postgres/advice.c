/* SPDX-License-Identifier: Apache-2.0 */
/* advice.c - from facts to lines. What the facts of a real server are is tests/e2e/postgres_check.py's. */
#include "sources/postgres/advice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct pg_server_facts server = {.version = "16.1", .host = "db.example", .port = "5432", .database = "shop", .role = "millrace", .system = "7", .encoding = "UTF8", .number = 160001, .connections = -1,
                                              .tls = true, .tls_version = "TLSv1.3", .sslmode = "verify-full", .reads_stats = true, .tracks = true, .open_s = -1};
static const struct postgres_options options = {.every_ms = 900000, .parallel = 2, .skew_ms = 60000, .guard_ms = 5000, .chunk = 64 << 20, .sweep_ms = 21600000, .straggler_ms = 30000, .hold_ms = 3600000};
static char *key_names[] = {(char []){"id"}};
static const struct pg_stream_options stream = {.name = NULL, .table = (char []){"orders"}, .watermark = (char []){"at"}, .time_zone = (char []){"UTC"}, .key = {key_names, 1}};
static const struct pg_table_facts table = {.name = "public.orders", .role = "millrace", .kind = 'r', .version = 160001, .relations = 1, .interval_ms = 900000, .method = PG_EXACT, .why = "an index begins with the watermark",
                                            .whole = true, .bytes = INT64_C(10) << 30, .rows = 2000000, .pages_most = 1310720, .page = 8192, .column = "at", .type = "timestamp with time zone", .form = PG_FORM_TIMESTAMPTZ,
                                            .not_null = true, .indexed = true, .index = "orders_at_idx", .null_share = -1, .nulls = 0, .newest = "2026-11-22", .newest_s = 5, .newest_finite = true, .oldest_finite = true,
                                            .ranged = true, .sampled = 200, .grain_us = 1, .by_default = "now()", .trigger = "touch", .trigger_sets = true, .key = "id", .unique = "orders_pkey", .primary = "id",
                                            .plan_rows = -1, .plan_cost = -1};

/* A line of that level with all the words, given by |. */
static void has(const struct pg_lines *l, enum pg_level level, const char *words)
{
    for (size_t i = 0; i < l->count; i++) {
        char copy[256], *rest = copy;
        bool all = l->items[i].level == level;
        strncpy(copy, words, sizeof copy - 1);
        copy[sizeof copy - 1] = 0;
        for (char *word; all && (word = strsep(&rest, "|"));)
            all = strstr(l->items[i].text, word) != NULL;
        if (all)
            return;
    }
    for (size_t i = 0; i < l->count; i++)
        print_error("%d %s\n", (int)l->items[i].level, l->items[i].text);
    fail_msg("no line of level %d with %s", (int)level, words);
}

static void only_fine(const struct pg_lines *l)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->items[i].level != PG_OK)
            fail_msg("%s", l->items[i].text);
    assert_true(l->count > 0);
}

static struct pg_lines of_table(struct pg_stream_options s, struct pg_table_facts f)
{
    static struct pg_lines l;
    pg_lines_free(&l);
    pg_advise_table(&l, &options, &s, &f, &server);
    return l;
}

static struct pg_lines of_server(struct postgres_options o, struct pg_server_facts f)
{
    static struct pg_lines l;
    pg_lines_free(&l);
    pg_advise_server(&l, &o, &f);
    pg_advise_transactions(&l, &o, &f);
    return l;
}
#define TABLE_HAS(level, words)                \
    do {                                       \
        struct pg_lines got_ = of_table(s, f); \
        has(&got_, level, words);              \
    } while (0)
#define SERVER_HAS(level, words)                \
    do {                                        \
        struct pg_lines got_ = of_server(o, f); \
        has(&got_, level, words);               \
    } while (0)

static void where_all_is_well_nothing_is_warned_of(void **state)
{
    (void)state;
    struct pg_lines l = of_server(options, server);
    only_fine(&l);
    l = of_table(stream, table);
    only_fine(&l);
    has(&l, PG_OK, "method exact|orders_at_idx|1 min before|every 6 h");
    has(&l, PG_OK, "10 GiB|2,000,000 rows|160 chunks of 64 MiB|2 at a time|1 min 47 s");
    has(&l, PG_OK, "orders_pkey");
    has(&l, PG_OK, "trigger touch");
}

static void a_network_without_proof_of_the_server_is_warned_of(void **state)
{
    (void)state;
    struct postgres_options o = options;
    struct pg_server_facts f = server;
    strcpy(f.sslmode, "verify-ca");
    SERVER_HAS(PG_WARN, "verify-ca|sslmode=verify-full");
    f.tls = false;
    SERVER_HAS(PG_WARN, "no TLS to db.example");
    f.local = true;
    struct pg_lines l = of_server(o, f);
    only_fine(&l);
    l = (struct pg_lines){0};
    static const char *const fine[][2] = {{"localhost", NULL}, {"/run/postgresql", NULL}, {"127.0.0.2", "disable"}, {"db.example", "verify-full"}, {NULL, NULL}};
    for (size_t i = 0; i < MR_COUNT(fine); i++)
        pg_advise_dsn(&l, "dsn", fine[i][0], fine[i][1]);
    assert_int_equal(l.count, 0);
    pg_advise_dsn(&l, "dsn", "db.example", NULL);
    has(&l, PG_WARN, "dsn: db.example|not given");
    pg_advise_dsn(&l, "primary_dsn", "10.0.0.1", "require");
    has(&l, PG_WARN, "primary_dsn: 10.0.0.1|require");
    pg_lines_free(&l);
}

static void what_a_server_keeps_from_us_is_told_with_its_remedy(void **state)
{
    (void)state;
    struct postgres_options o = options;
    struct pg_server_facts f = server;
    f.reads_stats = false;
    f.hidden = 3;
    SERVER_HAS(PG_WARN, "3 sessions|GRANT pg_read_all_stats TO millrace;");
    f = server;
    f.untracked = 1;
    SERVER_HAS(PG_WARN, "track_activities");
    f = server;
    f.connections = 2;
    o.listen = key_names[0];
    SERVER_HAS(PG_WARN, "2 connections|ALTER ROLE millrace CONNECTION LIMIT");
    f = server;
    f.transaction_ms = 60000;
    SERVER_HAS(PG_WARN, "ALTER ROLE millrace SET transaction_timeout = 0");
    f = server;
    f.pooled = true;
    SERVER_HAS(PG_WARN, "pooler|`listen`");
    f = server;
    strcpy(f.encoding, "SQL_ASCII");
    SERVER_HAS(PG_WARN, "SQL_ASCII");
    f = server;
    f.number = 130020;
    SERVER_HAS(PG_WARN, "PostgreSQL 14");
    f = server;
    f.age = 1600000000;
    SERVER_HAS(PG_WARN, "1,600,000,000 ids");
}

static void what_is_open_for_long_is_named(void **state)
{
    (void)state;
    struct postgres_options o = options;
    struct pg_server_facts f = server;
    f.open_s = 29;
    SERVER_HAS(PG_OK, "29 s old|statement_timeout 0");
    f.open_s = 7260;
    f.open_pid = 4711;
    strcpy(f.open_role, "app");
    strcpy(f.open_state, "idle in transaction");
    f.idle_ms = 90000;
    SERVER_HAS(PG_WARN, "2 h 1 min|4711|app|idle in transaction|timeout 1 min 30 s|SELECT pg_terminate_backend(4711)");
    f = server;
    f.prepared = 2;
    f.prepared_s = 59;
    strcpy(f.prepared_gid, "'x''y'");
    SERVER_HAS(PG_OK, "2 prepared transactions");
    f.prepared_s = 60;
    SERVER_HAS(PG_WARN, "2 prepared transactions|ROLLBACK PREPARED 'x''y'");
}

static void a_table_that_is_never_swept_is_told(void **state)
{
    (void)state;
    struct pg_stream_options s = stream;
    struct postgres_options o = options;
    struct pg_lines l = {0};
    o.sweep_ms = 0;
    pg_advise_table(&l, &o, &s, &table, &server);
    has(&l, PG_OK, "method exact|orders_at_idx|nothing is swept");
    has(&l, PG_WARN, "sweep is 0s|1 min");
    pg_lines_free(&l);
    s.mode = PG_APPEND;
    pg_advise_table(&l, &o, &s, &table, &server);
    only_fine(&l);
    pg_lines_free(&l);
}

static void a_standby_is_asked_for_its_primary(void **state)
{
    (void)state;
    struct postgres_options o = options;
    struct pg_server_facts f = server, p = server;
    struct pg_lines l = {0};
    f.standby = f.streams = true;
    f.streaming_delay_ms = 30000;
    SERVER_HAS(PG_WARN, "primary_dsn");
    o.listen = key_names[0];
    SERVER_HAS(PG_WARN, "LISTEN");
    o.primary_dsn = key_names[0];
    l = of_server(o, f);
    only_fine(&l);
    f.streaming_delay_ms = 500;
    SERVER_HAS(PG_WARN, "500 ms|max_standby_streaming_delay|hot_standby_feedback");
    f.feedback = true;
    f.streaming_delay_ms = -1;
    SERVER_HAS(PG_OK, "hot_standby_feedback on|is waited for");
    f.paused = true;
    SERVER_HAS(PG_WARN, "pg_wal_replay_resume");
    f.paused = false;
    f.behind_s = 3600;
    SERVER_HAS(PG_WARN, "1 h old");
    f.streams = false;
    SERVER_HAS(PG_WARN, "cut off");
    l = (struct pg_lines){0};
    pg_advise_primary(&l, &o, &f, &p);
    only_fine(&l);
    has(&l, PG_OK, "the primary of this standby");
    strcpy(p.database, "other");
    pg_advise_primary(&l, &o, &f, &p);
    has(&l, PG_FAIL, "the database other, dsn to shop");
    p.standby = true;
    pg_advise_primary(&l, &o, &f, &p);
    has(&l, PG_FAIL, "to a standby (db.example:5432)");
    strcpy(p.system, "8");
    p.reads_stats = false;
    pg_advise_primary(&l, &o, &f, &p);
    has(&l, PG_FAIL, "another cluster|is 8, not 7");
    has(&l, PG_WARN, "server of primary_dsn|GRANT pg_read_all_stats");
    pg_lines_free(&l);
}

static void a_method_that_was_asked_for_and_cannot_be_had_is_told(void **state)
{
    (void)state;
    struct pg_stream_options s = stream;
    struct pg_table_facts f = table;
    f.method = PG_XID;
    f.why = "there is no primary_dsn";
    TABLE_HAS(PG_OK, "method xid, there is no primary_dsn");
    s.method = PG_EXACT;
    TABLE_HAS(PG_FAIL, "method exact cannot be had|there is no primary_dsn");
    f.why = pg_method_hidden;
    TABLE_HAS(PG_WARN, "method exact cannot be had|hidden");
    f = table;
    mr_err_set(&f.refused, MR_ECONFIG, "orders has no transaction ids");
    TABLE_HAS(PG_FAIL, "orders has no transaction ids");
    f = table;
    f.indexed = false;
    TABLE_HAS(PG_WARN, "without an index each run reads the whole table");
    s.method = PG_WINDOW;
    f.method = PG_WINDOW;
    f.why = "as configured";
    TABLE_HAS(PG_WARN, "method window|1 h at the latest|1 min older|without `method`");
    f.kind = 'v';
    TABLE_HAS(PG_OK, "method window");
    f.standby = true;
    TABLE_HAS(PG_WARN, "standby without primary_dsn");
    s.mode = PG_SNAPSHOT;
    TABLE_HAS(PG_OK, "mode snapshot");
}

static void an_index_that_is_missing_can_be_pasted(void **state)
{
    (void)state;
    struct pg_stream_options s = stream;
    struct pg_table_facts f = table;
    f.indexed = false;
    f.bare = 1;
    strcpy(f.bare_name, "public.orders");
    f.index[0] = 0;
    TABLE_HAS(PG_WARN, "CREATE INDEX CONCURRENTLY ON public.orders (at)");
    f.method = PG_XID;
    TABLE_HAS(PG_OK, "CREATE INDEX CONCURRENTLY ON public.orders (at)");
    strcpy(f.index, "i");
    f.index_invalid = true;
    TABLE_HAS(PG_OK, "REINDEX INDEX CONCURRENTLY i");
    f.index_invalid = false;
    f.index_partial = true;
    TABLE_HAS(PG_OK, "i has only some of the rows");
    f.index_partial = false;
    f.index_other = true;
    TABLE_HAS(PG_OK, "i is no btree");
    f.kind = 'p';
    f.bare = 12;
    TABLE_HAS(PG_OK, "each of 12 relations|on the table itself");
}

static void rows_without_a_watermark_are_counted(void **state)
{
    (void)state;
    struct pg_stream_options s = stream;
    struct pg_table_facts f = table;
    f.not_null = false;
    TABLE_HAS(PG_OK, "in none now|SET NOT NULL");
    f.nulls = 1000;
    TABLE_HAS(PG_WARN, "in 1,000 rows|land once");
    f.nulls = 1001;
    TABLE_HAS(PG_WARN, "in more than 1,000 rows");
    s.null_watermark = PG_NULL_SKIP;
    TABLE_HAS(PG_WARN, "passed over");
    s.null_watermark = PG_NULL_FAIL;
    TABLE_HAS(PG_FAIL, "fails at the first");
    f.nulls = -1;
    f.null_share = 0.25;
    TABLE_HAS(PG_FAIL, "about 25 %");
    f.null_share = -1;
    TABLE_HAS(PG_OK, "not known");
    s.null_watermark = PG_NULL_LAND;
    f.method = PG_WINDOW;
    TABLE_HAS(PG_WARN, "by window such a row never lands");
}

static void a_coarse_watermark_matters_where_it_exceeds_skew(void **state)
{
    (void)state;
    struct pg_stream_options s = stream;
    struct pg_table_facts f = table;
    f.grain_us = 1000000;
    TABLE_HAS(PG_OK, "whole seconds|do not matter to method exact");
    f.grain_us = INT64_C(86400000000);
    TABLE_HAS(PG_WARN, "whole days|more than skew (1 min)|by the sweep|`skew: 25h`");
    s.skew_ms = 90000000;
    TABLE_HAS(PG_OK, "whole days");
    s.skew_ms = 0;
    f.form = PG_FORM_DATE; /* its range begins with a day anyway */
    TABLE_HAS(PG_OK, "whole days");
    f.method = PG_WINDOW;
    TABLE_HAS(PG_WARN, "once its day has passed");
    f.method = PG_XID;
    TABLE_HAS(PG_OK, "does not matter by transaction ids");
}

static void values_of_the_future_and_of_no_time_are_told(void **state)
{
    (void)state;
    struct pg_stream_options s = stream;
    struct pg_table_facts f = table;
    f.newest_s = -60;
    TABLE_HAS(PG_OK, "now");
    f.newest_s = -93784;
    f.ahead = 1;
    TABLE_HAS(PG_WARN, "1 d 2 h in the future|1 row:|read again in each run");
    f.method = PG_WINDOW;
    TABLE_HAS(PG_WARN, "when their time has come");
    f.newest_finite = false;
    f.ahead = 1001;
    TABLE_HAS(PG_WARN, "infinity|more than 1,000 rows|never");
    f.oldest_finite = false;
    TABLE_HAS(PG_WARN, "-infinity");
    f = table;
    f.form = PG_FORM_INT8;
    strcpy(f.newest, "1795918757069"); /* November 2026, in milliseconds */
    f.newest_s = INT64_C(1795918760) - INT64_C(1795918757069);
    TABLE_HAS(PG_FAIL, "unit: ms");
    strcpy(f.newest, "4711");
    f.newest_s = INT64_C(1795918760) - 4711;
    TABLE_HAS(PG_WARN, "Without `watermark`");
    strcpy(f.newest, "1795918757");
    f.newest_s = 3;
    TABLE_HAS(PG_OK, "3 s ago");
    f.newest[0] = 0;
    TABLE_HAS(PG_OK, "no value yet");
}

static void keys_that_name_no_row_are_told(void **state)
{
    (void)state;
    struct pg_stream_options s = stream;
    struct pg_table_facts f = table;
    f.unique[0] = 0;
    TABLE_HAS(PG_WARN, "CREATE UNIQUE INDEX CONCURRENTLY ON public.orders (id)");
    strcpy(f.nullable, "id");
    TABLE_HAS(PG_WARN, "id may be NULL");
    f.kind = 'p';
    TABLE_HAS(PG_WARN, "parted by");
    s.key.count = 0;
    TABLE_HAS(PG_WARN, "`key: [id]`");
    f.primary[0] = 0;
    TABLE_HAS(PG_WARN, "no primary key");
}

static void rights_that_are_missing_can_be_pasted(void **state)
{
    (void)state;
    struct pg_stream_options s = stream;
    struct pg_table_facts f = table;
    f.whole = false;
    TABLE_HAS(PG_OK, "some columns only");
    strcpy(f.hidden, "secret");
    TABLE_HAS(PG_WARN, "secret may not be read and is left out|GRANT SELECT ON public.orders TO millrace");
    f.secured = 1;
    strcpy(f.secured_name, "public.orders");
    TABLE_HAS(PG_FAIL, "row security|ALTER ROLE millrace BYPASSRLS|query: SELECT * FROM public.orders");
    f = table;
    f.kind = 'p';
    f.relations = 12;
    f.unreadable = 2;
    strcpy(f.unreadable_name, "public.orders_7");
    TABLE_HAS(PG_FAIL, "2 of its 12|GRANT SELECT ON public.orders_7 TO millrace (and the others)");
}

static void what_a_run_costs_is_held_against_its_cadence(void **state)
{
    (void)state;
    struct pg_stream_options s = stream;
    struct pg_table_facts f = table;
    f.interval_ms = 1000;
    struct pg_lines l = of_table(s, f);
    only_fine(&l); /* exact may be as fast as it likes */
    f.method = PG_XID;
    TABLE_HAS(PG_WARN, "a run reads 10 GiB|every 1 s");
    f.interval_ms = 299999;
    f.bytes = 1 << 20;
    TABLE_HAS(PG_WARN, "1.0 MiB each time|12 MiB an hour|hange data capture");
    f.interval_ms = 300000;
    l = of_table(s, f);
    only_fine(&l);
    s.mode = PG_SNAPSHOT;
    f.interval_ms = 60000;
    TABLE_HAS(PG_WARN, "60 MiB an hour|Mode incremental");
    f.bytes = INT64_C(1) << 40;
    f.interval_ms = 86400000;
    TABLE_HAS(PG_WARN, "each run is one transaction of about 3 h 3 min");
    s.mode = PG_INCREMENTAL;
    f.method = PG_WINDOW;
    f.interval_ms = 60000;
    TABLE_HAS(PG_WARN, "by window|hange data capture");
    f = table;
    f.version = 130000;
    TABLE_HAS(PG_WARN, "chunks|before PostgreSQL 14");
    f = table;
    f.relations = 0;
    f.kind = 'p';
    TABLE_HAS(PG_WARN, "no partitions yet");
}

static void the_config_alone_says_what_it_can(void **state)
{
    (void)state;
    struct pg_stream_options s = stream;
    struct postgres_options o = options;
    struct pg_lines l = {0};
    pg_advise_config(&l, &o, &s, 900000);
    only_fine(&l);
    has(&l, PG_OK, "table orders|incremental|auto|watermark at|every 15 min");
    s.key.count = 0;
    o.cron = key_names[0];
    pg_advise_config(&l, &o, &s, 3600000);
    has(&l, PG_WARN, "no key");
    has(&l, PG_OK, "by cron \"id\"");
    pg_lines_free(&l);
}

static void numbers_are_said_as_people_read_them(void **state)
{
    (void)state;
    char out[PG_SAID_ROOM];
    static const struct { int64_t n; const char *bytes, *seconds, *count; } cases[] = {
        {0, "0 bytes", "0 s", "0"},
        {1023, "1023 bytes", "17 min 3 s", "1,023"},
        {1024, "1.0 KiB", "17 min 4 s", "1,024"},
        {86400, "84 KiB", "1 d", "86,400"},
        {1048575, "1.0 MiB", "12 d 3 h", "1,048,575"},
        {31536000, "30 MiB", "1 year", "31,536,000"},
        {INT64_C(1) << 50, "1024 TiB", "35702051 years 306 d", "1,125,899,906,842,624"},
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        assert_string_equal(pg_say_bytes(cases[i].n, out), cases[i].bytes);
        assert_string_equal(pg_say_seconds(cases[i].n, out), cases[i].seconds);
        assert_string_equal(pg_say_count(cases[i].n, out), cases[i].count);
    }
    assert_string_equal(pg_say_ms(500, out), "500 ms");
    assert_string_equal(pg_say_ms(90000, out), "1 min 30 s");
    assert_string_equal(pg_say_ms(90001, out), "1 min 30 s");
    struct pg_lines l = {.stream = "orders"};
    pg_line(&l, PG_OK, "%s", "two\nlines\tare one");
    assert_string_equal(l.items[0].text, "two lines are one");
    assert_string_equal(l.items[0].stream, "orders");
    pg_lines_free(&l);
    assert_string_equal(pg_advice_on_refusal("Connection refused"), "");
    assert_non_null(strstr(pg_advice_on_refusal("FATAL: password authentication failed for user \"x\""), "`password`"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_all_is_well_nothing_is_warned_of),
        cmocka_unit_test(a_network_without_proof_of_the_server_is_warned_of),
        cmocka_unit_test(what_a_server_keeps_from_us_is_told_with_its_remedy),
        cmocka_unit_test(what_is_open_for_long_is_named),
        cmocka_unit_test(a_table_that_is_never_swept_is_told),
        cmocka_unit_test(a_standby_is_asked_for_its_primary),
        cmocka_unit_test(a_method_that_was_asked_for_and_cannot_be_had_is_told),
        cmocka_unit_test(an_index_that_is_missing_can_be_pasted),
        cmocka_unit_test(rows_without_a_watermark_are_counted),
        cmocka_unit_test(a_coarse_watermark_matters_where_it_exceeds_skew),
        cmocka_unit_test(values_of_the_future_and_of_no_time_are_told),
        cmocka_unit_test(keys_that_name_no_row_are_told),
        cmocka_unit_test(rights_that_are_missing_can_be_pasted),
        cmocka_unit_test(what_a_run_costs_is_held_against_its_cadence),
        cmocka_unit_test(the_config_alone_says_what_it_can),
        cmocka_unit_test(numbers_are_said_as_people_read_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
