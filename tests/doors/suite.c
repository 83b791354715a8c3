/* SPDX-License-Identifier: Apache-2.0 */
/* suite.c - the contract of door.h, held against every door in the real core: real loop, store, zone, files.
 *
 * The core's state machine asserts the once-only calls (up, down, drained), so a door that breaks them ends the run.
 * What it landed is read back by counting lines of the zone's plain files: no code of millrace reads them. */
#include "scripted.h"

#include "app/app.h"
#include "sources/doors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct mr_door *const scripted_doors[] = {&mr_door_scripted};
static const char *door_name;

struct place {
    char dir[64], config[128];
};

static bool scripted(void)
{
    return strcmp(door_name, "scripted") == 0;
}

static bool postgres(void)
{
    return strcmp(door_name, "postgres") == 0;
}

/* Small chunks and a short interval, so that every state is met. */
static void write_postgres(FILE *f, const char *dsn)
{
    fprintf(f,
            "sources:\n  one:\n    postgres:\n      dsn: \"%s\"\n      every: 100ms\n      chunk: 64KiB\n      sweep: 1s\n      skew: 0s\n      guard: 0s\n      streams:\n"
            "        stamped: {table: stamped, watermark: at, key: [n], method: exact}\n        plain: {table: plain}\n"
            "        asked: {query: \"SELECT n, at FROM stamped WHERE at IS NOT NULL\", watermark: at, key: [n], method: window}\n",
            dsn);
}

static void write_config(struct place *p, const char *scripted_options)
{
    FILE *f = fopen(p->config, "w");
    assert_non_null(f);
    fprintf(f, "data_dir: ./data\nzone: {url: \"file:./raw\", compression: none, roll: {age: 1s}}\n"
               "admin: {listen: \"127.0.0.1:0\"}\nlimits: {disk_reserve: 0B}\nlog: {level: error}\n");
    if (scripted())
        fprintf(f, "sources:\n  one:\n    scripted: {%s}\n", scripted_options);
    else if (strcmp(door_name, "kafka") == 0) /* the library's own mock cluster, which has every topic that is asked for */
        fprintf(f, "sources:\n  one:\n    kafka: {brokers: [\"127.0.0.1:1\"], topics: [t], librdkafka: {test.mock.num.brokers: 1}}\n");
    else if (postgres())
        write_postgres(f, getenv("MRT_POSTGRES"));
    else
        fprintf(
            f,
            "http: {listen: \"127.0.0.1:0\"}\nsources:\n  one:\n    webhook: {path: /one, verify: {scheme: none}}\n");
    fclose(f);
}

static int make_place(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    snprintf(p->dir, sizeof p->dir, "/tmp/millrace-doors-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->config, sizeof p->config, "%s/millrace.yaml", p->dir);
    scripted_counts = (struct scripted_counts){0};
    *state = p;
    return 0;
}

static void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    if (!d) {
        unlink(path);
        return;
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char child[4096];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(child, sizeof child, "%s/%s", path, e->d_name);
        remove_tree(child);
    }
    closedir(d);
    rmdir(path);
}

static int drop_place(void **state)
{
    struct place *p = *state;
    remove_tree(p->dir);
    free(p);
    return 0;
}

static int run(struct place *p, bool once, void (*on_ready)(void *arg, struct app *a), void *arg)
{
    struct mr_app_options o = {.config_path = p->config, .once = once, .on_ready = on_ready, .arg = arg};
    if (scripted()) {
        o.doors = scripted_doors;
        o.doors_count = 1;
    }
    return mr_app_run(&o);
}

/* ---- what lies in the zone ---- */

enum { RECORDS = 4096 };
struct tally {
    unsigned char seen[SCRIPTED_STREAMS][SCRIPTED_PARTS][RECORDS]; /* how often each record is there */
    size_t lines, parts_left;
};

/* A record of the postgres door: a stream is a stream, and its number of the row a record. */
static bool of_postgres(const char *line, int *s, int *n)
{
    static const char *const streams[] = {"stamped", "plain", "asked"};
    const char *data = strstr(line, "\"data\":{\"n\":");
    *s = 0;
    for (int i = 0; i < 3; i++) {
        char stream[32];
        snprintf(stream, sizeof stream, "\"stream\":\"%s\"", streams[i]);
        *s = strstr(line, stream) ? i : *s;
    }
    return data && sscanf(data, "\"data\":{\"n\":%d,", n) == 1;
}

static void tally_file(struct tally *t, const char *path)
{
    FILE *f = fopen(path, "r");
    char line[4096];
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        int s, p, n;
        if (postgres()) {
            if (strstr(line, "\"stream\":\"_schema\""))
                continue;
            assert_true(of_postgres(line, &s, &n));
            assert_true(n > 0 && n < RECORDS);
            t->seen[s][0][n]++;
            t->lines++;
            assert_int_equal(line[strlen(line) - 1], '\n');
            continue;
        }
        const char *id = strstr(line, "\"id\":\"s");
        assert_non_null(id);
        assert_int_equal(sscanf(id, "\"id\":\"s%d/p%d/%d\"", &s, &p, &n), 3);
        t->seen[s][p][n]++;
        t->lines++;
        assert_int_equal(line[strlen(line) - 1], '\n'); /* none torn */
    }
    fclose(f);
}

static void tally_tree(struct tally *t, const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        char child[4096];
        struct stat st;
        if (e->d_name[0] == '.')
            continue;
        snprintf(child, sizeof child, "%s/%s", path, e->d_name);
        assert_int_equal(stat(child, &st), 0);
        size_t n = strlen(child);
        if (S_ISDIR(st.st_mode))
            tally_tree(t, child);
        else if (n > 7 && strcmp(child + n - 7, ".ndjson") == 0)
            tally_file(t, child);
        else if (n > 5 && strcmp(child + n - 5, ".part") == 0)
            t->parts_left++;
    }
    if (d)
        closedir(d);
}

static void assert_exactly_once(const struct place *p, int records)
{
    struct tally *t = calloc(1, sizeof *t);
    char raw[128];
    assert_non_null(t);
    snprintf(raw, sizeof raw, "%s/raw", p->dir);
    tally_tree(t, raw);
    for (int s = 0; s < SCRIPTED_STREAMS; s++)
        for (int part = 0; part < SCRIPTED_PARTS; part++)
            for (int n = 1; n <= records; n++)
                if (t->seen[s][part][n] != 1)
                    fail_msg("s%d/p%d/%d is in the zone %d times", s, part, n, t->seen[s][part][n]);
    assert_int_equal(t->lines, records * SCRIPTED_STREAMS * SCRIPTED_PARTS);
    assert_int_equal(t->parts_left, 0);
    free(t);
}

/* Each row of both tables, and of the query that leaves out each tenth. */
static void assert_postgres_once(const struct place *p)
{
    struct tally *t = calloc(1, sizeof *t);
    char raw[128];
    int rows = atoi(getenv("MRT_POSTGRES_ROWS"));
    assert_non_null(t);
    assert_true(rows > 0 && rows < RECORDS);
    snprintf(raw, sizeof raw, "%s/raw", p->dir);
    tally_tree(t, raw);
    for (int s = 0; s < 3; s++)
        for (int n = 1; n <= rows; n++)
            if (t->seen[s][0][n] != (s < 2 || n % 10))
                fail_msg("row %d of stream %d is in the zone %d times", n, s, t->seen[s][0][n]);
    assert_int_equal(t->lines, rows * 3 - rows / 10);
    assert_int_equal(t->parts_left, 0);
    free(t);
}

/* ---- what the store says, by the words of its own program ---- */

static void assert_answers(const struct place *p, const char *query, const char *answer)
{
    char command[512], found[512] = "";
    snprintf(command, sizeof command, "sqlite3 %s/data/state.db \"%s\"", p->dir, query);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    found[fread(found, 1, sizeof found - 1, f)] = '\0';
    assert_int_equal(pclose(f), 0);
    assert_string_equal(found, answer);
}

/* ---- every door ---- */

static void stop_now(void *arg, struct app *a)
{
    (void)arg;
    app_stop(a, "test");
}

static void starts_and_stops(void **state)
{
    write_config(*state, "records: 50");
    assert_int_equal(run(*state, false, stop_now, NULL), 0);
    assert_int_equal(run(*state, false, stop_now, NULL), 0); /* and again on what the first left */
}

static void once_ends_by_itself(void **state)
{
    write_config(*state, "records: 50");
    assert_int_equal(run(*state, true, NULL, NULL), 0);
    if (scripted())
        assert_exactly_once(*state, 50);
    if (postgres())
        assert_postgres_once(*state);
}

struct timed {
    uv_timer_t timer;
    struct app *app;
    unsigned turn;
};

static void on_timer_closed(uv_handle_t *h)
{
    (void)h;
}

static void pause_resume_stop(uv_timer_t *timer)
{
    struct timed *t = MR_OF(timer, struct timed, timer);
    if (++t->turn % 10 != 0) {
        source_pause(t->app->sources, t->turn % 2);
        return;
    }
    source_pause(t->app->sources, false);
    app_stop(t->app, "test");
    uv_close((uv_handle_t *)timer, on_timer_closed);
}

static void pause_often(void *arg, struct app *a)
{
    struct timed *t = arg;
    t->app = a;
    uv_timer_init(&a->loop.uv, &t->timer);
    uint64_t every_ms = postgres() ? 45 : 3; /* a server is far away */
    uv_timer_start(&t->timer, pause_resume_stop, every_ms, every_ms);
}

static void pauses_and_resumes(void **state)
{
    struct timed t = {.turn = 0};
    write_config(*state, "records: 2000, slice: 3");
    assert_int_equal(run(*state, false, pause_often, &t), 0);
    assert_int_equal(scripted_counts.reads_while_paused, 0);
    write_config(*state, "records: 2000, slice: 500");
    assert_int_equal(run(*state, true, NULL, NULL), 0);
    if (scripted()) {
        assert_true(scripted_counts.pauses > 0);
        assert_exactly_once(*state, 2000);
    }
    if (postgres())
        assert_postgres_once(*state);
}

static void stop_after(uv_timer_t *timer)
{
    struct timed *t = MR_OF(timer, struct timed, timer);
    app_stop(t->app, "test");
    uv_close((uv_handle_t *)timer, on_timer_closed);
}

static void stop_soon(void *arg, struct app *a)
{
    struct timed *t = arg;
    t->app = a;
    uv_timer_init(&a->loop.uv, &t->timer);
    uv_timer_start(&t->timer, stop_after, t->turn, 0);
}

/* Stopped at ever later moments; what one run left, the next goes on with. */
static void stops_in_any_state(void **state)
{
    write_config(*state, "records: 300, slice: 2");
    for (unsigned ms = 0; ms < (postgres() ? 30 : 12); ms++) {
        struct timed t = {.turn = postgres() ? ms * 11 : ms};
        assert_int_equal(run(*state, false, stop_soon, &t), 0);
    }
    write_config(*state, "records: 300, slice: 50");
    assert_int_equal(run(*state, true, NULL, NULL), 0);
    if (scripted())
        assert_exactly_once(*state, 300);
    if (postgres())
        assert_postgres_once(*state);
}

/* ---- what only the scripted door can show ---- */

static void failed_start_is_tried_again(void **state)
{
    struct timed t = {.turn = 3000};
    if (!scripted())
        skip();
    write_config(*state, "records: 40, fail_first: true");
    assert_int_equal(run(*state, false, stop_soon, &t), 0);
    assert_true(scripted_counts.starts >= 2);
    assert_exactly_once(*state, 40);
    assert_answers(*state, "SELECT DISTINCT source, outcome, error, rows FROM runs WHERE error IS NOT NULL", "one|failed|scripted: the first start fails|0\n");
}

struct asked {
    struct app *app;
    char text[512];
};

static void on_last_runs(void *arg, const struct mr_err *err, const struct mr_run *runs, size_t count)
{
    struct asked *asked = arg;
    assert_int_equal(err->code, MR_OK);
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(asked->text);
        assert_true(runs[i].started_us > 0 && runs[i].ended_us >= runs[i].started_us);
        snprintf(asked->text + n, sizeof asked->text - n, "%.*s %.*s %.*s\n", (int)runs[i].stream.n, runs[i].stream.p, (int)runs[i].outcome.n,
                 runs[i].outcome.p, (int)runs[i].bounds.n, runs[i].bounds.p);
    }
    app_stop(asked->app, "test");
}

static void ask_last_runs(void *arg, struct app *a)
{
    struct asked *asked = arg;
    asked->app = a;
    mr_store_last_runs(a->store, MR_STR("one"), on_last_runs, asked);
}

/* Whatever cut the runs short: what they say they have landed is what lies in the zone. */
static void runs_are_kept(void **state)
{
    if (!scripted())
        skip();
    write_config(*state, "records: 60, slice: 3");
    for (unsigned ms = 0; ms < 6; ms++) {
        struct timed t = {.turn = 2 * ms};
        assert_int_equal(run(*state, false, stop_soon, &t), 0);
    }
    assert_int_equal(run(*state, true, NULL, NULL), 0);
    assert_exactly_once(*state, 60);
    assert_answers(*state, "SELECT stream, sum(rows), sum(bytes) FROM runs GROUP BY stream ORDER BY stream", "s0|420|4200\ns1|420|4200\ns2|420|4200\n");
    for (int again = 0; again < 3; again++) /* nothing is left: one row with a count */
        assert_int_equal(run(*state, true, NULL, NULL), 0);
    assert_answers(*state, "SELECT count(*), rows, outcome, repeats >= 2, bounds, ended > started FROM runs WHERE id IN (SELECT max(id) FROM runs GROUP BY stream) GROUP BY 2, 3, 4, 5, 6",
                   "3|0|ok|1|{\"upto\":60}|1\n");
    struct asked asked = {.app = NULL};
    assert_int_equal(run(*state, false, ask_last_runs, &asked), 0);
    assert_string_equal(asked.text, "s0 ok {\"upto\":60}\ns1 ok {\"upto\":60}\ns2 ok {\"upto\":60}\n");
}

/* Somebody else moves positions while the door works, by compare-and-swap as another process would, to the very same
 * value: so nothing may be lost or doubled, and the door's own move loses. */
struct rival {
    uv_timer_t timer;
    struct app *app;
    unsigned turn, moved;
    char part[16], stream[16], value[32], landing[64];
    struct mr_move move;
    struct mr_decision decision;
    bool busy;
};

static void on_moved(void *arg, const struct mr_decided *decided)
{
    struct rival *r = arg;
    assert_true(decided->code == MR_OK || decided->code == MR_EFENCED);
    r->moved += decided->code == MR_OK;
    r->busy = false;
}

static void on_read(void *arg, const struct mr_err *err, const struct mr_position *p)
{
    struct rival *r = arg;
    assert_int_equal(err->code, MR_OK);
    if (p->version == 0) {
        r->busy = false;
        return;
    }
    snprintf(r->value, sizeof r->value, "%.*s", (int)p->value.n, p->value.p);
    snprintf(r->landing, sizeof r->landing, "rival-%u", r->turn);
    r->move = (struct mr_move){MR_STR("one"), mr_str_c(r->stream), mr_str_c(r->part), p->version, mr_str_c(r->value)};
    r->decision = (struct mr_decision){.instance = r->app->instance,
                                       .landing = mr_str_c(r->landing),
                                       .source = MR_STR("one"),
                                       .run = MR_STR(""),
                                       .day = MR_NO_DAY,
                                       .began_us = mr_wall_us(),
                                       .moves = &r->move,
                                       .moves_count = 1};
    mr_store_decide(r->app->store, &r->decision, on_moved, r);
}

static void rival_turn(uv_timer_t *timer)
{
    struct rival *r = MR_OF(timer, struct rival, timer);
    if (r->busy)
        return;
    if (++r->turn > 120) {
        app_stop(r->app, "test");
        uv_close((uv_handle_t *)timer, on_timer_closed);
        return;
    }
    snprintf(r->stream, sizeof r->stream, "s%u", r->turn % SCRIPTED_STREAMS);
    snprintf(r->part, sizeof r->part, "p%u", r->turn % SCRIPTED_PARTS);
    r->busy = true;
    mr_store_position(r->app->store, MR_STR("one"), mr_str_c(r->stream), mr_str_c(r->part), on_read, r);
}

static void rival_begin(void *arg, struct app *a)
{
    struct rival *r = arg;
    r->app = a;
    uv_timer_init(&a->loop.uv, &r->timer);
    uv_timer_start(&r->timer, rival_turn, 1, 1);
}

static void lost_compare_and_swaps_lose_nothing(void **state)
{
    struct rival r = {.turn = 0};
    if (!scripted())
        skip();
    write_config(*state, "records: 2000, slice: 2");
    assert_int_equal(run(*state, false, rival_begin, &r), 0);
    assert_true(r.moved > 0);
    assert_true(scripted_counts.fenced > 0); /* or the rival proved nothing */
    write_config(*state, "records: 2000, slice: 40");
    assert_int_equal(run(*state, true, NULL, NULL), 0);
    assert_true(scripted_counts.moves_alone > 0);
    assert_exactly_once(*state, 2000);
}

/* ---- what only a server can show ---- */

static void write_other_server(struct place *p, const char *dsn)
{
    FILE *f = fopen(p->config, "w");
    assert_non_null(f);
    fprintf(f, "data_dir: ./data\nzone: {url: \"file:./raw\", compression: none, roll: {age: 1s}}\nadmin: {listen: \"127.0.0.1:0\"}\nlimits: {disk_reserve: 0B}\nlog: {level: error}\n");
    write_postgres(f, dsn);
    fclose(f);
}

static void a_server_that_is_away_is_waited_for(void **state)
{
    struct timed t = {.turn = 900};
    if (!postgres())
        skip();
    write_other_server(*state, "host=127.0.0.1 port=1 user=postgres dbname=postgres");
    assert_int_equal(run(*state, false, stop_soon, &t), 0);
    write_config(*state, "");
    assert_int_equal(run(*state, true, NULL, NULL), 0);
    assert_postgres_once(*state);
}

/* All connections of the door, wherever its runs are; by the words of the server's own program, which the loop waits for. */
static void cut(uv_timer_t *timer)
{
    struct timed *t = MR_OF(timer, struct timed, timer);
    assert_int_equal(system("psql -Xqc \"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'millrace%'\" \"$MRT_POSTGRES\" >/dev/null"), 0);
    if (++t->turn < 12)
        return;
    app_stop(t->app, "test");
    uv_close((uv_handle_t *)timer, on_timer_closed);
}

static void cut_often(void *arg, struct app *a)
{
    struct timed *t = arg;
    t->app = a;
    uv_timer_init(&a->loop.uv, &t->timer);
    uv_timer_start(&t->timer, cut, 30, 35);
}

static void connections_that_are_cut_lose_nothing(void **state)
{
    if (!postgres())
        skip();
    write_config(*state, "");
    for (int i = 0; i < 3; i++) {
        struct timed t = {.turn = 0};
        assert_int_equal(run(*state, false, cut_often, &t), 0);
    }
    assert_int_equal(run(*state, true, NULL, NULL), 0);
    assert_postgres_once(*state);
}

static void a_server_that_lets_nobody_in_ends_once(void **state)
{
    char dsn[512];
    if (!postgres())
        skip();
    const char *port = strrchr(getenv("MRT_POSTGRES"), ':');
    snprintf(dsn, sizeof dsn, "host=127.0.0.1 port=%d user=postgres dbname=postgres password=wrong", atoi(port + 1));
    write_other_server(*state, dsn);
    assert_int_equal(run(*state, true, NULL, NULL), 1);
    write_config(*state, "");
    assert_int_equal(run(*state, true, NULL, NULL), 0);
    assert_postgres_once(*state);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s DOOR\n", argv[0]);
        return 2;
    }
    door_name = argv[1];
    if (postgres() && !getenv("MRT_POSTGRES")) {
        fprintf(stderr, "%s postgres: on_postgres.py starts it, with a server\n", argv[0]);
        return 2;
    }
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_place, drop_place)
    const struct CMUnitTest tests[] = {
        TEST(starts_and_stops),   TEST(once_ends_by_itself),         TEST(pauses_and_resumes),
        TEST(stops_in_any_state), TEST(failed_start_is_tried_again), TEST(lost_compare_and_swaps_lose_nothing),
        TEST(runs_are_kept),      TEST(a_server_that_is_away_is_waited_for), TEST(connections_that_are_cut_lose_nothing), TEST(a_server_that_lets_nobody_in_ends_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
