/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "millrace/budget.h"
#include "millrace/worker.h"

#include <sys/resource.h>
#include <sys/wait.h>

struct busy {
    struct mr_loop *loop;
    uv_timer_t timer;
    uv_poll_t poll;
    int ends[2];
    int64_t work_us;
};

static void work(int64_t us)
{
    for (int64_t began = mr_mono_us(); mr_mono_us() - began < us;)
        ;
}

static void on_timer(uv_timer_t *timer)
{
    struct busy *b = MR_OF(timer, struct busy, timer);
    work(b->work_us);
    uv_close((uv_handle_t *)timer, NULL);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct busy *b = MR_OF(poll, struct busy, poll);
    (void)status, (void)events;
    work(b->work_us);
    uv_close((uv_handle_t *)poll, NULL);
    b->work_us = 0; /* a turn is measured by the one after it: let there be one */
    uv_timer_init(&b->loop->uv, &b->timer);
    uv_timer_start(&b->timer, on_timer, 1, 0);
}

/* The first turn has no one before it to be measured from. */
static void run_a_first_turn(struct busy *b)
{
    int64_t work_us = b->work_us;
    b->work_us = 0;
    uv_timer_init(&b->loop->uv, &b->timer);
    uv_timer_start(&b->timer, on_timer, 0, 0);
    uv_run(&b->loop->uv, UV_RUN_DEFAULT);
    b->work_us = work_us;
}

static double longest(struct mr_loop *loop)
{
    return mr_cell_value(mr_metric0(loop->metrics, MR_M_LOOP_LAG_MAX));
}

static void nothing_open_means_that_run_returns_at_once(void **state)
{
    struct mr_loop *loop = *state;
    assert_int_equal(uv_run(&loop->uv, UV_RUN_DEFAULT), 0);
    assert_int_equal(mr_budget_limit(loop->budget), 1 << 20);
}

static void sleep_is_no_lag(void **state)
{
    struct mr_loop *loop = *state;
    struct busy b = {.loop = loop};
    run_a_first_turn(&b);
    uv_timer_init(&loop->uv, &b.timer);
    uv_timer_start(&b.timer, on_timer, 300, 0);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    assert_true(mr_cell_value(mr_metric0(loop->metrics, MR_M_LOOP_LAG)) >= 1);
    assert_true(longest(loop) < 0.2);
}

/* One case a phase of libuv's turn: timers run before poll sleeps, descriptors inside poll. */
static void work_in_a_timer_is_lag(void **state)
{
    struct mr_loop *loop = *state;
    struct busy b = {.loop = loop, .work_us = 250000};
    run_a_first_turn(&b);
    uv_timer_init(&loop->uv, &b.timer);
    uv_timer_start(&b.timer, on_timer, 5, 0);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    assert_true(longest(loop) >= 0.25);
}

static void work_in_a_descriptors_callback_is_lag(void **state)
{
    struct mr_loop *loop = *state;
    struct busy b = {.loop = loop, .work_us = 250000};
    assert_int_equal(pipe(b.ends), 0);
    uv_poll_init(&loop->uv, &b.poll, b.ends[0]);
    uv_poll_start(&b.poll, UV_READABLE, on_readable);
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    assert_true(longest(loop) < 0.2);
    assert_int_equal(write(b.ends[1], "x", 1), 1);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    assert_true(longest(loop) >= 0.25);
    close(b.ends[0]);
    close(b.ends[1]);
}

static void count(struct mr_job *job)
{
    (void)job;
}

static void note_done(struct mr_job *job, bool canceled)
{
    (void)canceled;
    job->run = NULL; /* seen below */
}

static void closing_waits_for_jobs_that_are_out(void **state)
{
    (void)state;
    struct mr_loop loop;
    struct mr_err err;
    assert_int_equal(mr_loop_init(&loop, &(struct mr_loop_options){.memory_limit = 1000}, &err), MR_OK);
    struct mr_job job = {.run = count, .done = note_done};
    mr_worker_submit(loop.workers, MR_LANE_COMPRESS, &job);
    mr_loop_close(&loop);
    assert_null(job.run);
}

static void closing_with_an_open_handle_aborts(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct mr_loop loop;
        struct mr_err err;
        uv_timer_t timer;
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        if (!freopen("/dev/null", "w", stderr) ||
            mr_loop_init(&loop, &(struct mr_loop_options){.memory_limit = 1000}, &err) != MR_OK)
            _exit(3);
        uv_timer_init(&loop.uv, &timer);
        mr_loop_close(&loop);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

#define LOOP_TEST(test) cmocka_unit_test_setup_teardown(test, test_loop_open, test_loop_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(nothing_open_means_that_run_returns_at_once),
        LOOP_TEST(sleep_is_no_lag),
        LOOP_TEST(work_in_a_timer_is_lag),
        LOOP_TEST(work_in_a_descriptors_callback_is_lag),
        cmocka_unit_test(closing_waits_for_jobs_that_are_out),
        cmocka_unit_test(closing_with_an_open_handle_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
