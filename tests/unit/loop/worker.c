/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "millrace/worker.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sched.h>
#include <sys/resource.h>

struct task {
    struct mr_job job;
    struct mr_workers *workers;
    /* written by run() */
    pthread_t thread;
    int nice, policy;
    char name[16];
    bool signals_blocked;
    int ran, run_order;
    /* written by done() */
    int done, canceled, done_order;
    int again; /* submit this many times more */
    struct task *cancel_other;
    sem_t *started, *gate; /* run() posts the one and waits for the other */
    int *counter;          /* of the lane's one thread */
    int *done_counter;
    bool close_when_done;
};

static void run(struct mr_job *job)
{
    struct task *t = MR_OF(job, struct task, job);
    sigset_t set;
    t->thread = pthread_self();
    t->nice = getpriority(PRIO_PROCESS, (id_t)gettid());
    t->policy = sched_getscheduler(0);
    pthread_getname_np(pthread_self(), t->name, sizeof t->name);
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    t->signals_blocked = sigismember(&set, SIGTERM) && sigismember(&set, SIGHUP) && !sigismember(&set, SIGSEGV);
    t->ran++;
    if (t->counter)
        t->run_order = ++*t->counter;
    if (t->started)
        sem_post(t->started);
    if (t->gate)
        while (sem_wait(t->gate) != 0)
            ;
}

static void done(struct mr_job *job, bool canceled)
{
    struct task *t = MR_OF(job, struct task, job);
    t->done++;
    t->canceled += canceled;
    if (t->done_counter)
        t->done_order = ++*t->done_counter;
    if (t->again > 0) {
        t->again--;
        mr_worker_submit(t->workers, job->lane, job);
    }
    if (t->cancel_other)
        mr_worker_cancel(t->workers, &t->cancel_other->job);
    if (t->close_when_done)
        mr_workers_close(t->workers, NULL, NULL);
}

static struct task task_of(struct mr_workers *w)
{
    return (struct task){.job = {.run = run, .done = done}, .workers = w};
}

static void submit(struct task *t, enum mr_lane lane)
{
    mr_worker_submit(t->workers, lane, &t->job);
}

static void a_job_runs_on_a_thread_of_its_lane_and_ends_on_the_loop(void **state)
{
    struct mr_loop *loop = *state;
    static const char *const names[MR_LANES] = {"mr-sync", "mr-state", "mr-compress", "mr-misc", "mr-far"};
    struct task tasks[MR_LANES];
    for (int lane = 0; lane < MR_LANES; lane++) {
        tasks[lane] = task_of(loop->workers);
        submit(&tasks[lane], (enum mr_lane)lane);
        assert_int_equal(tasks[lane].done, 0); /* never before submit has returned */
    }
    uv_run(&loop->uv, UV_RUN_DEFAULT); /* ends by itself: lanes keep no loop alive */
    for (int lane = 0; lane < MR_LANES; lane++) {
        assert_int_equal(tasks[lane].ran, 1);
        assert_int_equal(tasks[lane].done, 1);
        assert_int_equal(tasks[lane].canceled, 0);
        assert_false(pthread_equal(tasks[lane].thread, pthread_self()));
        assert_string_equal(tasks[lane].name, names[lane]);
        assert_true(tasks[lane].signals_blocked);
    }
}

/* Whoever answers a sender goes first: the loop and the queue's writer keep the nice value that the process has. */
static void lanes_are_niced_and_the_loop_is_not(void **state)
{
    static const int nice[MR_LANES] = {10, 15, 19, 15, 15};
    struct mr_loop *loop = *state;
    int usual = getpriority(PRIO_PROCESS, 0);
    struct task tasks[MR_LANES];
    for (int lane = 0; lane < MR_LANES; lane++) {
        tasks[lane] = task_of(loop->workers);
        submit(&tasks[lane], (enum mr_lane)lane);
    }
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    for (int lane = 0; lane < MR_LANES; lane++)
        assert_int_equal(tasks[lane].nice, usual > nice[lane] ? usual : nice[lane]);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), usual);
}

static void staging_yields_to_whoever_wakes_while_senders_are_served(void **state)
{
    (void)state;
    for (int serving = 0; serving < 2; serving++) {
        uv_loop_t uv;
        struct mr_workers *w;
        struct mr_err err;
        struct task tasks[MR_LANES];
        assert_int_equal(uv_loop_init(&uv), 0);
        assert_int_equal(mr_workers_new(&uv, serving, &w, &err), MR_OK);
        for (int lane = 0; lane < MR_LANES; lane++) {
            tasks[lane] = task_of(w);
            submit(&tasks[lane], (enum mr_lane)lane);
        }
        uv_run(&uv, UV_RUN_DEFAULT);
        for (int lane = 0; lane < MR_LANES; lane++)
            assert_int_equal(tasks[lane].policy, serving && lane == MR_LANE_COMPRESS ? SCHED_IDLE : SCHED_OTHER);
        mr_workers_close(w, NULL, NULL);
        uv_run(&uv, UV_RUN_DEFAULT);
        mr_workers_free(w);
        assert_int_equal(uv_loop_close(&uv), 0);
    }
    assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
}

enum { MANY = 200 };

static void a_lane_of_one_thread_is_first_in_first_out(void **state)
{
    struct mr_loop *loop = *state;
    static struct task tasks[MANY];
    int ran = 0, ended = 0;
    for (int i = 0; i < MANY; i++) {
        tasks[i] = task_of(loop->workers);
        tasks[i].counter = &ran;
        tasks[i].done_counter = &ended;
        submit(&tasks[i], MR_LANE_STATE);
    }
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(tasks[i].run_order, i + 1);
        assert_int_equal(tasks[i].done_order, i + 1);
    }
}

static void a_waiting_job_can_be_canceled_and_is_done_on_a_later_turn(void **state)
{
    struct mr_loop *loop = *state;
    sem_t started, gate;
    sem_init(&started, 0, 0);
    sem_init(&gate, 0, 0);
    struct task first = task_of(loop->workers), second = first, third = first;
    first.started = &started;
    first.gate = &gate;
    submit(&first, MR_LANE_MISC);
    submit(&second, MR_LANE_MISC);
    submit(&third, MR_LANE_MISC);
    while (sem_wait(&started) != 0)
        ;
    assert_true(mr_worker_cancel(loop->workers, &second.job));
    assert_false(mr_worker_cancel(loop->workers, &second.job));
    assert_false(mr_worker_cancel(loop->workers, &first.job)); /* it runs: nothing to be done */
    assert_int_equal(second.done, 0);
    sem_post(&gate);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    assert_int_equal(second.ran, 0);
    assert_int_equal(second.done, 1);
    assert_int_equal(second.canceled, 1);
    assert_int_equal(first.ran + first.done, 2);
    assert_int_equal(first.canceled, 0);
    assert_int_equal(third.ran + third.done, 2);
    sem_destroy(&started);
    sem_destroy(&gate);
}

static void a_stuck_lane_holds_up_no_other(void **state)
{
    struct mr_loop *loop = *state;
    sem_t started, gate;
    sem_init(&started, 0, 0);
    sem_init(&gate, 0, 0);
    struct task stuck = task_of(loop->workers), quick = stuck;
    stuck.started = &started;
    stuck.gate = &gate;
    submit(&stuck, MR_LANE_STATE);
    while (sem_wait(&started) != 0)
        ;
    submit(&quick, MR_LANE_SYNC);
    while (quick.done == 0)
        uv_run(&loop->uv, UV_RUN_ONCE);
    assert_int_equal(stuck.done, 0);
    sem_post(&gate);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    assert_int_equal(stuck.done, 1);
    sem_destroy(&started);
    sem_destroy(&gate);
}

static void done_may_submit_the_same_job_again(void **state)
{
    struct mr_loop *loop = *state;
    struct task t = task_of(loop->workers);
    t.again = 99;
    submit(&t, MR_LANE_SYNC);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    assert_int_equal(t.ran, 100);
    assert_int_equal(t.done, 100);
}

/* Jobs of all lanes, canceled at random moments: each is done once, and ran unless it was canceled. */
static void every_job_is_done_exactly_once_whatever_is_canceled(void **state)
{
    struct mr_loop *loop = *state;
    enum { JOBS = 2000 };
    struct task *tasks = calloc(JOBS, sizeof *tasks);
    uint32_t seed = 2463534242u;
    for (int i = 0; i < JOBS; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        tasks[i] = task_of(loop->workers);
        if (i > 10 && seed % 3 == 0)
            tasks[i - 10].cancel_other = &tasks[i]; /* while the list of ended jobs is walked */
        submit(&tasks[i], (enum mr_lane)(seed >> 8) % MR_LANES);
        if (seed % 5 == 0)
            mr_worker_cancel(loop->workers, &tasks[i - (int)(seed >> 16) % (i + 1)].job);
        if (i % 64 == 0)
            uv_run(&loop->uv, UV_RUN_NOWAIT);
    }
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    int canceled = 0;
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(tasks[i].done, 1);
        assert_int_equal(tasks[i].ran, !tasks[i].canceled);
        canceled += tasks[i].canceled;
    }
    assert_true(canceled > 0 && canceled < JOBS);
    free(tasks);
}

static void set_flag(void *arg)
{
    *(bool *)arg = true;
}

static void closing_cancels_who_waits_and_waits_for_who_runs(void **state)
{
    (void)state;
    uv_loop_t uv;
    struct mr_workers *w;
    struct mr_err err;
    sem_t started, gate;
    bool closed = false;
    sem_init(&started, 0, 0);
    sem_init(&gate, 0, 0);
    assert_int_equal(uv_loop_init(&uv), 0);
    assert_int_equal(mr_workers_new(&uv, false, &w, &err), MR_OK);
    struct task running = task_of(w), waiting = running, late = running;
    running.started = &started;
    running.gate = &gate;
    waiting.again = 1; /* and asks for more when it hears */
    submit(&running, MR_LANE_STATE);
    submit(&waiting, MR_LANE_STATE);
    while (sem_wait(&started) != 0)
        ;
    mr_workers_close(w, set_flag, &closed);
    mr_workers_close(w, set_flag, &closed); /* twice is harmless */
    assert_int_equal(waiting.done, 0);
    submit(&late, MR_LANE_SYNC);
    assert_int_equal(late.done, 0);
    while (waiting.done < 2 || late.done < 1)
        uv_run(&uv, UV_RUN_ONCE);
    assert_false(closed);
    assert_int_equal(waiting.canceled, 2);
    assert_int_equal(late.canceled, 1);
    sem_post(&gate);
    uv_run(&uv, UV_RUN_DEFAULT);
    assert_true(closed);
    assert_int_equal(running.done, 1);
    assert_int_equal(running.canceled, 0);
    assert_int_equal(waiting.ran + late.ran, 0);
    mr_workers_free(w);
    assert_int_equal(uv_loop_close(&uv), 0);
    sem_destroy(&started);
    sem_destroy(&gate);
}

static void the_last_done_may_close_the_lanes(void **state)
{
    (void)state;
    uv_loop_t uv;
    struct mr_workers *w;
    struct mr_err err;
    assert_int_equal(uv_loop_init(&uv), 0);
    assert_int_equal(mr_workers_new(&uv, false, &w, &err), MR_OK);
    struct task t = task_of(w);
    t.close_when_done = true;
    submit(&t, MR_LANE_MISC);
    uv_run(&uv, UV_RUN_DEFAULT);
    assert_int_equal(t.done, 1);
    mr_workers_free(w);
    assert_int_equal(uv_loop_close(&uv), 0);
}

static void without_threads_to_be_had_nothing_is_left_half_open(void **state)
{
    (void)state;
    uv_loop_t uv;
    struct mr_workers *w = NULL;
    struct mr_err err;
    pthread_attr_t usual, huge;
    assert_int_equal(uv_loop_init(&uv), 0);
    assert_int_equal(pthread_getattr_default_np(&usual), 0);
    assert_int_equal(pthread_getattr_default_np(&huge), 0);
    assert_int_equal(pthread_attr_setstacksize(&huge, (size_t)1 << 48), 0); /* more than there are addresses */
    assert_int_equal(pthread_setattr_default_np(&huge), 0);
    enum mr_code code = mr_workers_new(&uv, false, &w, &err);
    assert_int_equal(pthread_setattr_default_np(&usual), 0);
    assert_int_not_equal(code, MR_OK);
    assert_null(w);
    assert_int_equal(uv_loop_close(&uv), 0); /* EBUSY, were a handle left */
    pthread_attr_destroy(&usual);
    pthread_attr_destroy(&huge);
}

#define LOOP_TEST(test) cmocka_unit_test_setup_teardown(test, test_loop_open, test_loop_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(a_job_runs_on_a_thread_of_its_lane_and_ends_on_the_loop),
        LOOP_TEST(lanes_are_niced_and_the_loop_is_not),
        cmocka_unit_test(staging_yields_to_whoever_wakes_while_senders_are_served),
        LOOP_TEST(a_lane_of_one_thread_is_first_in_first_out),
        LOOP_TEST(a_waiting_job_can_be_canceled_and_is_done_on_a_later_turn),
        LOOP_TEST(a_stuck_lane_holds_up_no_other),
        LOOP_TEST(done_may_submit_the_same_job_again),
        LOOP_TEST(every_job_is_done_exactly_once_whatever_is_canceled),
        cmocka_unit_test(closing_cancels_who_waits_and_waits_for_who_runs),
        cmocka_unit_test(the_last_done_may_close_the_lanes),
        cmocka_unit_test(without_threads_to_be_had_nothing_is_left_half_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
