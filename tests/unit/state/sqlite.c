/* SPDX-License-Identifier: Apache-2.0 */
/* sqlite.c - what is SQLite's own: the file and whose it is, crashes, full disks, two processes, backups, migrations.
 */
#include "unit/state/child.h"
#include "unit/state/contract.h"

#include "millrace/file.h"
#include "state/sqlite/lite.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *path_of(const struct fix *f)
{
    return f->url + strlen("sqlite:");
}

static void put_file(const char *path, const void *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

/* As a user's sqlite3 would. */
static void user_exec(const char *path, const char *sql)
{
    sqlite3 *h;
    char *msg = NULL;
    assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
    sqlite3_busy_timeout(h, 5000);
    if (sqlite3_exec(h, sql, NULL, NULL, &msg) != SQLITE_OK)
        fail_msg("%s: %s", sql, msg);
    sqlite3_close(h);
}

static int64_t user_int(const char *path, const char *sql)
{
    sqlite3 *h;
    sqlite3_stmt *q;
    assert_int_equal(sqlite3_open_v2(path, &h, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(h, sql, -1, &q, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(h));
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    sqlite3_close(h);
    return value;
}

/* -- whose file it is ---------------------------------------------------------------------------------------------- */

static void an_unknown_url_is_refused_in_words(void **state)
{
    struct fix *f = *state;
    snprintf(f->url, sizeof f->url, "mysql://me:hunter2@127.0.0.1/x");
    assert_int_equal(fix_open(f, true), MR_ECONFIG);
    assert_null(strstr(f->msg, "hunter2"));
}

static void a_command_makes_no_store_where_none_is(void **state)
{
    struct fix *f = *state;
    assert_int_equal(fix_open(f, false), MR_ENOENT);
    assert_int_equal(access(path_of(f), F_OK), -1);
    put_file(path_of(f), "", 0);
    assert_int_equal(fix_open(f, false), MR_ENOENT);
    assert_int_equal(fix_open(f, true), MR_OK); /* the server takes an empty one as its own */
}

static void the_file_and_its_log_are_the_owners_only(void **state)
{
    struct fix *f = *state;
    char path[160];
    struct stat st;
    mode_t mask = umask(0);
    snprintf(f->url, sizeof f->url, "sqlite:%s/a/b/state.db", f->dir); /* folders are made, too */
    assert_int_equal(fix_open(f, true), MR_OK);
    umask(mask);
    for (int i = 0; i < 3; i++) {
        static const char *const ends[] = {"", "-wal", "-shm"};
        snprintf(path, sizeof path, "%s%s", path_of(f), ends[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    assert_int_equal(user_int(path_of(f), "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'"), 1);
}

static void another_programs_file_is_left_alone(void **state)
{
    struct fix *f = *state;
    user_exec(path_of(f), "CREATE TABLE recipes(x); INSERT INTO recipes VALUES('soup')");
    assert_int_equal(fix_open(f, true), MR_ECONFIG);
    assert_non_null(strstr(f->msg, path_of(f)));
    assert_non_null(strstr(f->msg, "another program"));
    assert_int_equal(user_int(path_of(f), "SELECT count(*) FROM recipes"), 1);
    assert_int_equal(user_int(path_of(f), "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'"), 0);
}

static void a_damaged_file_is_told_with_its_remedy(void **state)
{
    struct fix *f = *state;
    char junk[8192];
    memset(junk, 'x', sizeof junk);
    put_file(path_of(f), junk, sizeof junk);
    assert_int_equal(fix_open(f, true), MR_ECORRUPT);
    assert_non_null(strstr(f->msg, path_of(f)));
    assert_non_null(strstr(f->msg, "backup"));
    /* the header whole, the rest gone */
    assert_int_equal(unlink(path_of(f)), 0);
    assert_int_equal(fix_open(f, true), MR_OK);
    fix_close(f);
    assert_int_equal(truncate(path_of(f), 4096), 0);
    assert_int_equal(fix_open(f, true), MR_ECORRUPT);
}

/* -- migrations ---------------------------------------------------------------------------------------------------- */

static char *kept_file(const char *name)
{
    char path[512], *text;
    size_t n;
    struct mr_err err = {.code = MR_OK};
    snprintf(path, sizeof path, "%s/%s", MR_TEST_SOURCE, name);
    if (mr_file_read(path, 1 << 20, &text, &n, &err) != MR_OK)
        fail_msg("%s", err.msg);
    return text;
}

static void a_store_of_schema_1_opens_with_all_that_it_holds(void **state)
{
    struct fix *f = *state;
    char *sql = kept_file("tests/unit/state/v1.sql");
    user_exec(path_of(f), sql);
    free(sql);
    assert_int_equal(fix_open(f, true), MR_OK);
    assert_string_equal(mr_store_facts(f->store)->id, "6f1f2a5e-3a60-4c1c-9d0e-0a8a1f6f7b11");
    assert_int_equal(mr_store_facts(f->store)->last_number, 2);
    assert_int_equal(mr_store_facts(f->store)->schema_version, (int)mr_lite_steps_count);
    assert_string_equal(fix_positions(f, NULL), "s/t/p v2 {\"at\":2}\n");
    assert_int_equal(fix_begin(f), MR_OK);
    assert_non_null(strstr(fix_unpublished(f), "2 L-p-1-2 s decided"));
    struct small s;
    small_init(&s, f, "p", 2, 3);
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    assert_int_equal(f->number, 3);
}

static void migrations_go_forward_in_one_transaction_or_not_at_all(void **state)
{
    struct fix *f = *state;
    struct mr_lite db;
    struct mr_store_facts facts;
    struct mr_err err = {.code = MR_OK};
    assert_int_equal(fix_open(f, true), MR_OK);
    fix_close(f);
    struct mr_lite_step steps[8];
    for (size_t i = 0; i < mr_lite_steps_count; i++)
        steps[i] = mr_lite_steps[i];
    size_t n = mr_lite_steps_count;
    /* a step that fails half-way */
    steps[n] = (struct mr_lite_step){"CREATE TABLE next(x); CREATE TABLE positions(x)"};
    assert_int_not_equal(mr_lite_start(&db, path_of(f), true, steps, n + 1, &facts, &err), MR_OK);
    assert_int_equal(user_int(path_of(f), "SELECT count(*) FROM sqlite_schema WHERE name = 'next'"), 0);
    assert_int_equal(user_int(path_of(f), "PRAGMA user_version"), n);
    /* a command does not migrate; the server does */
    steps[n] = (struct mr_lite_step){"CREATE TABLE next(x)"};
    err.code = MR_OK;
    assert_int_equal(mr_lite_start(&db, path_of(f), false, steps, n + 1, &facts, &err), MR_ECONFIG);
    assert_non_null(strstr(err.msg, "millrace run"));
    err.code = MR_OK;
    assert_int_equal(mr_lite_start(&db, path_of(f), true, steps, n + 1, &facts, &err), MR_OK);
    assert_int_equal(facts.schema_version, n + 1);
    mr_lite_close(&db);
    /* and the older program keeps its hands off */
    assert_int_equal(fix_open(f, true), MR_ECONFIG);
    assert_non_null(strstr(f->msg, "newer millrace"));
    assert_int_equal(fix_open(f, false), MR_ECONFIG);
}

/* -- crashes and failures ------------------------------------------------------------------------------------------ */

static void assert_whole(struct fix *f, int64_t steps)
{
    assert_int_equal(user_int(path_of(f), "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"),
                     1);
    assert_int_equal(user_int(path_of(f), "SELECT max(version) FROM positions"), steps);
    assert_int_equal(user_int(path_of(f), "SELECT count(*) FROM landings"), steps);
    assert_int_equal(user_int(path_of(f), "SELECT count(*) FROM files"), steps);
    assert_int_equal(user_int(path_of(f), "SELECT version FROM source_rows"), steps);
    assert_int_equal(user_int(path_of(f), "SELECT sum(ids) FROM seen_days"), steps);
    assert_int_equal(user_int(path_of(f), "SELECT count(*) FROM seen_20260216"), steps);
}

static void skip_without_faults(void)
{
#if !MR_FAULTS
    skip();
#endif
}

static void a_killed_decision_is_there_whole_or_not_at_all(void **state)
{
    struct fix *f = *state;
    static const struct {
        const char *variable;
        int64_t steps;
    } cases[] = {
        {"MILLRACE_CRASH=decide_begin:2", 1},
        {"MILLRACE_CRASH=decide_commit:2", 1},
        {"MILLRACE_CRASH=decide_committed:2", 2},
    };
    skip_without_faults();
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        snprintf(f->url, sizeof f->url, "sqlite:%s/%zu.db", f->dir, i);
        int status = child_run("chain", f->url, cases[i].variable);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_whole(f, cases[i].steps);
        assert_int_equal(fix_open(f, true), MR_OK);
        assert_int_equal(mr_store_facts(f->store)->last_number, cases[i].steps);
        assert_int_equal(fix_begin(f), MR_OK);
        struct small s;
        small_init(&s, f, "p", cases[i].steps, 9);
        assert_int_equal(fix_decide(f, &s.d), MR_OK);
        fix_close(f);
    }
}

static void a_failed_decision_says_the_truth_and_the_store_goes_on(void **state)
{
    struct fix *f = *state;
    static const struct {
        const char *variable, *what;
        enum mr_code code;
        int64_t steps;
    } cases[] = {
        {"MILLRACE_FAIL=decide_begin:2:ENOSPC", "chain", MR_ENOSPC, 1},
        {"MILLRACE_FAIL=decide_commit:2:EIO", "chain", MR_EIO, 1},
        {"MILLRACE_FAIL=decide_commit:2:ENOSPC", "again", MR_OK, 2},
        {"MILLRACE_FAIL=decide_begin:2:EIO", "again", MR_OK, 2},
        {"MILLRACE_FAIL=decide_committed:2:EIO", "chain", MR_OK, 2}, /* it took; only its answer got lost */
    };
    skip_without_faults();
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        snprintf(f->url, sizeof f->url, "sqlite:%s/%zu.db", f->dir, i);
        int status = child_run(cases[i].what, f->url, cases[i].variable);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 10 + (int)cases[i].code);
        assert_whole(f, cases[i].steps);
    }
}

static void a_commit_that_failed_is_found_out_before_anybody_is_told(void **state)
{
    struct fix *f = *state;
    static const char *const cases[] = {"broken", "dead"};
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        snprintf(f->url, sizeof f->url, "sqlite:%s/%zu.db", f->dir, i);
        int status = child_run(cases[i], f->url, NULL);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 10 + (int)MR_OK);
        assert_whole(f, 2);
        assert_int_equal(user_int(path_of(f), "SELECT count(*) FROM meta WHERE key = 'commit_in_doubt'"), 1);
    }
}

static void a_commit_in_doubt_does_not_hold_up_the_end_for_ever(void **state)
{
    struct fix *f = *state;
    snprintf(f->url, sizeof f->url, "sqlite:%s/ending.db", f->dir);
    int status = child_run("ending", f->url, NULL);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 10 + (int)MR_ECANCELED);
}

static void without_compare_and_swap_a_stale_decision_gets_in(void **state)
{
    struct fix *f = *state;
    skip_without_faults();
    /* the row and the id would stop it as well; so this is told apart by what it is stopped by */
    int status = child_run("stale", f->url, NULL);
    assert_int_equal(WEXITSTATUS(status), 10 + (int)MR_EFENCED);
    snprintf(f->url, sizeof f->url, "sqlite:%s/mutant.db", f->dir);
    status = child_run("stale", f->url, "MILLRACE_MUTANT=no_cas");
    assert_int_not_equal(WEXITSTATUS(status), 10 + (int)MR_EFENCED);
}

static void fill_disk(const char *dir)
{
    char path[160], block[4096];
    memset(block, 1, sizeof block);
    snprintf(path, sizeof path, "%s/ballast", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, block, sizeof block) > 0)
        ;
    close(fd);
}

static void a_full_disk_refuses_and_heals_by_itself(void **state)
{
    struct fix *f = *state;
    char ballast[160];
    if (mount("tmpfs", f->dir, "tmpfs", 0, "size=2m") != 0)
        skip(); /* needs root */
    assert_int_equal(fix_open(f, true), MR_OK);
    assert_int_equal(fix_begin(f), MR_OK);
    fill_disk(f->dir);
    struct small s;
    int64_t version = 0;
    enum mr_code code;
    /* what the log's own blocks can hold still goes in */
    do {
        small_init(&s, f, "p", version, (int)version);
        small_file(&s, TEST_DAY);
        code = fix_decide(f, &s.d);
        version += code == MR_OK;
    } while (code == MR_OK && version < 10000);
    assert_int_equal(code, MR_ENOSPC);
    assert_int_equal(mr_alerts_open_count(f->loop.alerts), 1);
    assert_int_equal(fix_position(f, "s", "t", "p"), MR_OK); /* it can still be read */
    assert_int_equal(f->version, version);
    snprintf(ballast, sizeof ballast, "%s/ballast", f->dir);
    assert_int_equal(unlink(ballast), 0);
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    assert_int_equal(mr_alerts_open_count(f->loop.alerts), 0);
    assert_int_equal(fix_position(f, "s", "t", "p"), MR_OK);
    assert_int_equal(f->version, version + 1);
    fix_close(f);
    assert_int_equal(user_int(path_of(f), "SELECT count(*) FROM landings"), version + 1);
}

static int teardown_mounted(void **state)
{
    struct fix *f = *state;
    fix_close(f);
    umount2(f->dir, MNT_DETACH); /* harmless if the test was skipped */
    return fix_teardown(state);
}

/* -- two processes ------------------------------------------------------------------------------------------------- */

static void a_command_beside_the_server_fences_it(void **state)
{
    struct fix *f = *state;
    struct small s;
    small_init(&s, f, "p", 0, 1);
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    assert_int_equal(WEXITSTATUS(child_run("set", f->url, NULL)), 10 + (int)MR_OK);
    small_init(&s, f, "p", 1, 2);
    assert_int_equal(fix_decide(f, &s.d), MR_EFENCED);
    assert_string_equal(fix_positions(f, "s"), "s/t/p v2 {\"at\":77}\n");
    small_init(&s, f, "p", 2, 3);
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
}

static void on_seen(void *arg, const struct mr_err *err, const unsigned char *answers, size_t count)
{
    struct fix *f = arg;
    f->answers++;
    f->code = err->code;
    assert_int_equal(count, 1);
    f->seen[0] = answers[0];
}

static int look_for(struct fix *f, const struct mr_seen *id)
{
    mr_store_seen(f->store, id, &id->day, 1, on_seen, f);
    fix_run_until(f, f->answers + 1);
    assert_int_equal(f->code, MR_OK);
    return f->seen[0];
}

static void an_id_that_came_into_the_table_behind_our_back_is_found_once_a_decision_met_it(void **state)
{
    struct fix *f = *state;
    struct mr_seen ours = {.id = "ours.ours.ours.", .day = TEST_DAY}, theirs = {.id = "theirs.theirs..", .day = TEST_DAY};
    struct small s;
    assert_int_equal(look_for(f, &ours), MR_SEEN_NO); /* from here on the day's ids are known to the filter */
    small_init(&s, f, "p", 0, 1);
    s.d.seen = &ours;
    s.d.seen_count = 1;
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    user_exec(path_of(f), "INSERT INTO seen_20260216 VALUES(CAST('theirs.theirs..' || x'00' AS BLOB), zeroblob(8))");
    small_init(&s, f, "p", 1, 2);
    s.d.seen = &theirs;
    s.d.seen_count = 1;
    assert_int_equal(fix_decide(f, &s.d), MR_ESEEN);
    assert_int_equal(look_for(f, &theirs), MR_SEEN_SAME); /* else it would be staged and lost for ever */
    assert_int_equal(look_for(f, &ours), MR_SEEN_SAME);
}

struct holder { /* a person's sqlite3 with a transaction open, ended by a timer */
    uv_timer_t timer;
    sqlite3 *h;
    bool let_go;
};

static void let_go(uv_timer_t *timer)
{
    struct holder *p = MR_OF(timer, struct holder, timer);
    p->let_go = true;
    assert_int_equal(sqlite3_exec(p->h, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(p->h);
    uv_close((uv_handle_t *)timer, NULL);
}

static void a_decision_waits_for_a_person_to_commit(void **state)
{
    struct fix *f = *state;
    struct holder p = {.let_go = false};
    struct small s;
    assert_int_equal(sqlite3_open(path_of(f), &p.h), SQLITE_OK);
    assert_int_equal(sqlite3_exec(p.h, "BEGIN IMMEDIATE; INSERT INTO paused VALUES('x', 'y')", NULL, NULL, NULL),
                     SQLITE_OK);
    uv_timer_init(&f->loop.uv, &p.timer);
    uv_timer_start(&p.timer, let_go, 200, 0);
    small_init(&s, f, "p", 0, 1);
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    assert_true(p.let_go);
    uv_run(&f->loop.uv, UV_RUN_NOWAIT);
}

/* -- backups ------------------------------------------------------------------------------------------------------- */

static void a_backup_is_whole_the_owners_only_and_never_overwrites(void **state)
{
    struct fix *f = *state;
    struct small s[50];
    struct stat st;
    char to[128], restored[160];
    snprintf(to, sizeof to, "%s/backup.db", f->dir);
    small_init(&s[0], f, "p", 0, 1);
    small_file(&s[0], TEST_DAY);
    assert_int_equal(fix_decide(f, &s[0].d), MR_OK);
    /* decisions go on meanwhile; each is in the backup whole or not at all */
    unsigned before = f->answers;
    mr_store_backup(f->store, to, fix_on_done, f);
    for (int i = 1; i < 50; i++) {
        small_init(&s[i], f, "p", i, i);
        small_file(&s[i], TEST_DAY);
        mr_store_decide(f->store, &s[i].d, fix_on_decided, f);
    }
    fix_run_until(f, before + 50);
    assert_int_equal(stat(to, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    int64_t version = user_int(to, "SELECT version FROM positions");
    assert_true(version >= 1);
    assert_int_equal(user_int(to, "SELECT count(*) FROM files"), version);
    assert_int_equal(user_int(to, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
    int64_t size = st.st_size;
    assert_int_equal(WAIT_DONE(f, mr_store_backup(f->store, to, fix_on_done, f)), MR_EEXIST);
    assert_int_equal(stat(to, &st), 0);
    assert_int_equal(st.st_size, size);
    snprintf(restored, sizeof restored, "%s/no/such/folder.db", f->dir);
    assert_int_equal(WAIT_DONE(f, mr_store_backup(f->store, restored, fix_on_done, f)), MR_ENOENT);
    /* restored, it serves */
    char id[37];
    snprintf(id, sizeof id, "%s", mr_store_facts(f->store)->id);
    fix_close(f);
    snprintf(f->url, sizeof f->url, "sqlite:%s", to);
    assert_int_equal(fix_open(f, true), MR_OK);
    assert_string_equal(mr_store_facts(f->store)->id, id);
    assert_int_equal(mr_store_facts(f->store)->last_number, version);
}

static void closing_waits_for_calls_and_backups(void **state)
{
    struct fix *f = *state;
    struct fix backup = {.answers = 0}, set = {.answers = 0};
    char to[128];
    snprintf(to, sizeof to, "%s/backup.db", f->dir);
    mr_store_backup(f->store, to, fix_on_done, &backup);
    mr_store_pause(f->store, MR_STR("s"), true, fix_on_done, &set);
    fix_close(f);
    assert_int_equal(backup.answers, 1);
    assert_int_equal(backup.code, MR_OK);
    assert_int_equal(set.answers, 1);
    assert_int_equal(user_int(path_of(f), "SELECT count(*) FROM paused"), 1);
}

/* -- the page for people ------------------------------------------------------------------------------------------- */

static void the_queries_of_the_documentation_run(void **state)
{
    struct fix *f = *state;
    char *page = kept_file("docs/state.md"), *at = page;
    int queries = 0;
    while ((at = strstr(at, "```sql\n"))) {
        at += strlen("```sql\n");
        char *end = strstr(at, "```");
        assert_non_null(end);
        *end = '\0';
        user_exec(path_of(f), at);
        at = end + 1;
        queries++;
    }
    assert_true(queries >= 8);
    free(page);
}

int sqlite_run(void)
{
#define BARE(name) cmocka_unit_test_setup_teardown(name, fix_setup, fix_teardown)
#define OPEN(name) cmocka_unit_test_setup_teardown(name, fix_setup_open, fix_teardown)
    const struct CMUnitTest sqlite[] = {
        BARE(an_unknown_url_is_refused_in_words),
        BARE(a_command_makes_no_store_where_none_is),
        BARE(the_file_and_its_log_are_the_owners_only),
        BARE(another_programs_file_is_left_alone),
        BARE(a_damaged_file_is_told_with_its_remedy),
        BARE(a_store_of_schema_1_opens_with_all_that_it_holds),
        BARE(migrations_go_forward_in_one_transaction_or_not_at_all),
        BARE(a_killed_decision_is_there_whole_or_not_at_all),
        BARE(a_failed_decision_says_the_truth_and_the_store_goes_on),
        BARE(a_commit_that_failed_is_found_out_before_anybody_is_told),
        BARE(a_commit_in_doubt_does_not_hold_up_the_end_for_ever),
        BARE(without_compare_and_swap_a_stale_decision_gets_in),
        cmocka_unit_test_setup_teardown(a_full_disk_refuses_and_heals_by_itself, fix_setup, teardown_mounted),
        OPEN(a_command_beside_the_server_fences_it),
        OPEN(an_id_that_came_into_the_table_behind_our_back_is_found_once_a_decision_met_it),
        OPEN(a_decision_waits_for_a_person_to_commit),
        OPEN(a_backup_is_whole_the_owners_only_and_never_overwrites),
        OPEN(closing_waits_for_calls_and_backups),
        OPEN(the_queries_of_the_documentation_run),
    };
    return cmocka_run_group_tests(sqlite, NULL, NULL);
}
