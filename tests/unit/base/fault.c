/* SPDX-License-Identifier: Apache-2.0 */
/* A plan is read once a process, so every case runs in a child. The module itself is compiled in, with its points
 * switched on, whatever the build says. */
#undef MR_FAULTS
#define MR_FAULTS 1
#include "base/fault.c"
#include "base/file.c"

#include "test.h"

#include <fcntl.h>
#include <sys/wait.h>

/* Runs `body` in a child under one variable; returns its wait status. The child's stderr is dropped. */
static int under(const char *variable, const char *value, int (*body)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        setenv(variable, value, 1);
        _exit(body());
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static int pass_queue_write_three_times(void)
{
    int result = 0;
    for (int i = 0; i < 3; i++)
        result = result * 4 + (MR_POINT(queue_write) == EIO ? 2 : MR_POINT(queue_free) != 0);
    return result;
}

static void a_crash_point_kills_at_the_nth_passing(void **state)
{
    (void)state;
    int status = under("MILLRACE_CRASH", "queue_write:3", pass_queue_write_three_times);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    status = under("MILLRACE_CRASH", "queue_write:4", pass_queue_write_three_times);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void a_failure_point_fails_where_it_is_told_to(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        int failed; /* base 4: a digit a passing, 2: failed */
    } cases[] = {{"queue_write:1:EIO", 2 * 16},
                 {"queue_write:2:EIO", 2 * 4},
                 {"queue_write:2-3:EIO", 2 * 4 + 2},
                 {"queue_write:*:EIO", 2 * 16 + 2 * 4 + 2},
                 {"queue_write:3:5", 2},
                 {"queue_write:9:EIO", 0},
                 {"queue_written:1:EIO", 0},
                 {"queue_write:1:EIO,queue_write:3:EIO", 2 * 16 + 2},
                 {"queue_free:1:ENOSPC", 16}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = under("MILLRACE_FAIL", cases[i].spec, pass_queue_write_three_times);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) != cases[i].failed)
            fail_msg("%s: %d, expected %d", cases[i].spec, WEXITSTATUS(status), cases[i].failed);
    }
}

static int ask_mutants(void)
{
    return (MR_MUTANT(no_sync) != 0) + 4 * (MR_MUTANT(no_dirsync) != 0) + 16 * (MR_MUTANT(no_cas) != 0);
}

static void mutants_are_on_if_named_and_off_if_not(void **state)
{
    (void)state;
    assert_int_equal(WEXITSTATUS(under("MILLRACE_MUTANT", "no_cas", ask_mutants)), 16);
    assert_int_equal(WEXITSTATUS(under("MILLRACE_MUTANT", "no_sync,no_dirsync", ask_mutants)), 5);
    assert_int_equal(WEXITSTATUS(under("MILLRACE_MUTANT", "", ask_mutants)), 0);
}

/* A pipe cannot be synced and the path is no directory: only who does not try at all succeeds. */
static int sync_the_impossible(void)
{
    struct mr_err err;
    int ends[2];
    if (pipe(ends) != 0)
        return 100;
    return (mr_file_sync(ends[1], "pipe", &err) == MR_OK) + 2 * (mr_dir_sync("/dev/null", &err) == MR_OK);
}

static void each_mutant_switches_its_own_sync_off(void **state)
{
    (void)state;
    assert_int_equal(WEXITSTATUS(under("MILLRACE_MUTANT", "", sync_the_impossible)), 0);
    assert_int_equal(WEXITSTATUS(under("MILLRACE_MUTANT", "no_sync", sync_the_impossible)), 1);
    assert_int_equal(WEXITSTATUS(under("MILLRACE_MUTANT", "no_dirsync", sync_the_impossible)), 2);
}

static void a_spec_with_a_mistake_ends_the_program(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"MILLRACE_FAIL", "queue_wrote:1:EIO"},   {"MILLRACE_FAIL", "queue_write:1"},
        {"MILLRACE_FAIL", "queue_write:0:EIO"},   {"MILLRACE_FAIL", "queue_write:1:EWHAT"},
        {"MILLRACE_FAIL", "queue_write:1:EIO:x"}, {"MILLRACE_FAIL", "queue_write:3-2:EIO"},
        {"MILLRACE_FAIL", "queue_write:-1:EIO"},  {"MILLRACE_FAIL", "queue_write:1:EIO,"},
        {"MILLRACE_FAIL", "queue_write:1x:EIO"},  {"MILLRACE_FAIL", "queue_write::EIO"},
        {"MILLRACE_CRASH", "queue_write"},        {"MILLRACE_CRASH", "queue_write:1:EIO"},
        {"MILLRACE_CRASH", "queue_write:*"},      {"MILLRACE_CRASH", ":1"},
        {"MILLRACE_MUTANT", "no_luck"},           {"MILLRACE_MUTANT", "no_sync,"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = under(cases[i][0], cases[i][1], pass_queue_write_three_times);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 2)
            fail_msg("%s=%s was taken", cases[i][0], cases[i][1]);
    }
}

static void every_point_has_its_name(void **state)
{
    (void)state;
    assert_string_equal(mr_point_name(MR_POINT_queue_write), "queue_write");
    assert_string_equal(mr_point_name(MR_POINT_zone_id), "zone_id");
    assert_string_equal(mr_point_name((enum mr_point)MR_POINT_COUNT), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_point_kills_at_the_nth_passing),
        cmocka_unit_test(a_failure_point_fails_where_it_is_told_to),
        cmocka_unit_test(mutants_are_on_if_named_and_off_if_not),
        cmocka_unit_test(each_mutant_switches_its_own_sync_off),
        cmocka_unit_test(a_spec_with_a_mistake_ends_the_program),
        cmocka_unit_test(every_point_has_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
