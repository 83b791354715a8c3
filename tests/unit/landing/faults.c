/* SPDX-License-Identifier: Apache-2.0 */
/* faults.c - a failing disk and sudden death at every named point of the three steps and of the start that follows.
 *
 * The story is a door's: an input of BATCHES batches, whose position is the next batch to read. Each landing carries one
 * batch, PER_BATCH records in two streams, and moves the position. Whatever a process dies of, the next one finds in the
 * zone exactly what the position says, and when the input is read out every record is there once. Each case runs in
 * children, since points count once a process. */
#include "unit/landing/rig.h"

#include "millrace/fault.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { BATCHES = 4, PER_BATCH = 10 };

static int in_child(struct rig *r, const char *variable, const char *spec, void (*act)(struct rig *))
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (spec)
            setenv(variable, spec, 1);
        alarm(60); /* a callback that never comes must not hang the tests */
        act(r);
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void lives(struct rig *r, const char *fail, void (*act)(struct rig *))
{
    int status = in_child(r, "MILLRACE_FAIL", fail, act);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("%s: status %#x", fail ? fail : "no fault", (unsigned)status);
}

static void dies(struct rig *r, const char *crash, void (*act)(struct rig *))
{
    int status = in_child(r, "MILLRACE_CRASH", crash, act);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("%s: should have died there, status %#x", crash, (unsigned)status);
}

/* -- the story ----------------------------------------------------------------------------------------------------- */

static void stage_batch(struct act *a, struct rig *r, long batch)
{
    char prefix[32];
    act_begin(a, r, "shop", MR_LANDING_ROLLING);
    snprintf(prefix, sizeof prefix, "b%ld-o", batch);
    RIG_NEED(act_add(a, "orders", prefix, PER_BATCH / 2) == MR_OK);
    snprintf(prefix, sizeof prefix, "b%ld-c", batch);
    RIG_NEED(act_add(a, "carts", prefix, PER_BATCH / 2) == MR_OK);
}

static void land_batch(struct act *a, struct rig *r, long batch, int64_t version)
{
    char value[48];
    snprintf(value, sizeof value, "{\"next\":%ld}", batch + 1);
    const struct mr_move move = rig_move("shop", "p", version, value);
    stage_batch(a, r, batch);
    act_decide(a, &move, 1);
    act_await(a);
}

static void start(struct rig *r)
{
    rig_open(r);
    RIG_NEED(rig_resume(r) == MR_OK);
}

/* A start, a look at what the start made of the past, and the rest of the input. */
static void run(struct rig *r)
{
    start(r);
    int64_t version = rig_position(r, "shop", "p");
    long next = r->next;
    RIG_NEED(rig_lines(r) == next * PER_BATCH);
    RIG_NEED(rig_staged(r) == 0);
    for (long batch = next; batch < BATCHES; batch++) {
        struct act a;
        land_batch(&a, r, batch, version++);
        RIG_NEED(a.code == MR_OK && a.how == MR_PUBLISHED);
    }
    rig_close(r);
}

static void each_record_is_there_once(const struct rig *r)
{
    assert_int_equal(rig_lines(r), BATCHES * PER_BATCH);
    for (int batch = 0; batch < BATCHES; batch++)
        for (int i = 0; i < PER_BATCH; i++) {
            char text[32];
            snprintf(text, sizeof text, "<b%d-%c%d>", batch, i % 2 ? 'o' : 'c', i / 2);
            assert_int_equal(rig_lines_with(r, text), 1);
        }
    assert_int_equal(rig_staged(r), 0);
}

static void anew(struct rig *r)
{
    char command[128];
    snprintf(command, sizeof command, "%s/state.db", r->dir);
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < MR_COUNT(ends); i++) {
        snprintf(command, sizeof command, "%s/state.db%s", r->dir, ends[i]);
        unlink(command);
    }
    char old[96];
    snprintf(old, sizeof old, "%s-%u", r->raw, r->answers++);
    RIG_NEED(rename(r->raw, old) == 0);
}

static void death_at_any_point_costs_and_doubles_nothing(void **state)
{
    struct rig *r = *state;
    static const char *const points[] = {"stage_create",     "stage_write",  "stage_close",    "stage_sync",     "stage_synced",
                                         "decide_begin",     "decide_commit", "decide_committed", "decided_mark", "publish_rename",
                                         "publish_renamed",  "publish_synced", "publish_noted"};
    if (!MR_FAULTS)
        skip();
    for (size_t i = 0; i < MR_COUNT(points); i++)
        for (int n = 1; n <= 3; n++) {
            char spec[64];
            snprintf(spec, sizeof spec, "%s:%d", points[i], n);
            dies(r, spec, run);
            lives(r, NULL, run);
            each_record_is_there_once(r);
            anew(r);
        }
}

static void death_during_the_start_that_follows_costs_and_doubles_nothing(void **state)
{
    struct rig *r = *state;
    static const struct {
        const char *first, *then;
    } cases[] = {
        {"publish_rename:2", "resume_begin:1"},     {"publish_rename:2", "decided_mark:1"},   {"publish_rename:2", "publish_rename:1"},
        {"decide_committed:2", "publish_rename:1"}, {"decide_committed:2", "publish_rename:2"}, {"decide_committed:2", "publish_renamed:1"},
        {"publish_renamed:1", "publish_synced:1"},  {"publish_synced:2", "publish_noted:1"},  {"stage_synced:2", "resume_sweep:1"},
        {"stage_synced:3", "resume_begin:1"},       {"decide_commit:2", "resume_sweep:2"},
    };
    if (!MR_FAULTS)
        skip();
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        dies(r, cases[i].first, run);
        dies(r, cases[i].then, run);
        lives(r, NULL, run);
        each_record_is_there_once(r);
        anew(r);
    }
}

/* -- failures ------------------------------------------------------------------------------------------------------ */

/* The disk is full when the first file is made: the add says so, and all that is left to do is to abandon. */
static void act_no_room_for_a_file(struct rig *r)
{
    struct act a;
    start(r);
    act_begin(&a, r, "shop", MR_LANDING_ROLLING);
    RIG_NEED(act_add(&a, "orders", "o", 3) == MR_ENOSPC);
    mr_landing_abandon(a.l);
    rig_await_idle(r);
    RIG_NEED(rig_staged(r) == 0 && rig_lines(r) == 0);
    land_batch(&a, r, 0, 0);
    RIG_NEED(a.code == MR_OK && rig_lines(r) == PER_BATCH);
    rig_close(r);
}

/* A door that asks for the decision all the same does not get it: a record would be missing. */
static void act_decide_after_a_failed_add(struct rig *r)
{
    struct act a;
    start(r);
    act_begin(&a, r, "shop", MR_LANDING_ROLLING);
    RIG_NEED(act_add(&a, "orders", "o", 3) == MR_OK);
    RIG_NEED(act_add(&a, "carts", "c", 3) == MR_ENOSPC);
    const struct mr_move move = rig_move("shop", "p", 0, "{\"next\":1}");
    act_decide(&a, &move, 1);
    act_await(&a);
    RIG_NEED(a.code == MR_EIO);
    rig_await_idle(r);
    RIG_NEED(rig_staged(r) == 0 && rig_lines(r) == 0 && rig_position(r, "shop", "p") == 0);
    rig_close(r);
}

/* Each trouble is told as what it is: the zone's, or the store's. */
static void refused(struct rig *r, enum mr_code want, bool by_store)
{
    struct act a;
    start(r);
    land_batch(&a, r, 0, 0);
    RIG_NEED(a.code == want);
    rig_await_idle(r);
    RIG_NEED(rig_staged(r) == 0 && rig_lines(r) == 0 && rig_position(r, "shop", "p") == 0);
    RIG_NEED(rig_alert(r, MR_A_ZONE_UNWRITABLE, "shop") == !by_store);
    RIG_NEED(rig_alert(r, MR_A_STATE_FAILED, "") == by_store);
    land_batch(&a, r, 0, 0); /* the disk is well again */
    RIG_NEED(a.code == MR_OK && a.how == MR_PUBLISHED && rig_lines(r) == PER_BATCH);
    RIG_NEED(!rig_alert(r, MR_A_ZONE_UNWRITABLE, "shop") && !rig_alert(r, MR_A_STATE_FAILED, ""));
    rig_close(r);
}

static void act_refused_eio(struct rig *r)
{
    refused(r, MR_EIO, false);
}

static void act_undecided_eio(struct rig *r)
{
    refused(r, MR_EIO, true);
}

static void act_undecided_enospc(struct rig *r)
{
    refused(r, MR_ENOSPC, true);
}

static void act_refused_enospc(struct rig *r)
{
    refused(r, MR_ENOSPC, false);
}

/* Published at the second try, and only then told. */
static void act_delayed(struct rig *r)
{
    struct act a;
    start(r);
    land_batch(&a, r, 0, 0);
    RIG_NEED(a.code == MR_OK && a.how == MR_PUBLISHED);
    RIG_NEED(rig_lines(r) == PER_BATCH && rig_staged(r) == 0 && !rig_alert(r, MR_A_ZONE_UNWRITABLE, "shop"));
    rig_close(r);
}

/* Whatever the store found out about a commit in doubt, answer, position and zone say the same. */
static void act_in_doubt(struct rig *r)
{
    struct act a;
    start(r);
    land_batch(&a, r, 0, 0);
    rig_await_idle(r);
    int64_t version = rig_position(r, "shop", "p");
    RIG_NEED(version == (a.code == MR_OK) && rig_lines(r) == version * PER_BATCH && rig_staged(r) == 0);
    rig_close(r);
}

static void act_failed_start_is_tried_again(struct rig *r)
{
    rig_open(r);
    RIG_NEED(rig_resume(r) == MR_EIO);
    RIG_NEED(rig_resume(r) == MR_OK);
    RIG_NEED(rig_lines(r) == rig_position(r, "shop", "p") * PER_BATCH && rig_staged(r) == 0);
    rig_close(r);
}

/* A publish fails, three landings wait together, and the process is told to stop while they are out at last. On a disk so slow that the next try comes before the
 * three are decided fewer wait; the end must be the same. */
static void act_close_with_a_full_batch_out(struct rig *r)
{
    struct act a[3];
    static const char *const sources[] = {"one", "two", "three"};
    bool told = false; /* the alert closes with the next try */
    start(r);
    for (size_t i = 0; i < 3; i++) {
        act_begin(&a[i], r, sources[i], MR_LANDING_ROLLING);
        RIG_NEED(act_add(&a[i], "t", sources[i], 2) == MR_OK);
    }
    for (size_t i = 0; i < 3; i++)
        act_decide(&a[i], NULL, 0);
    while (!told || !a[0].decided || !a[1].decided || !a[2].decided) {
        rig_turn(r);
        for (size_t i = 0; i < 3; i++)
            told |= rig_alert(r, MR_A_ZONE_UNWRITABLE, sources[i]);
    }
    mr_landings_drain(r->ls);
    rig_close_landings(r);
    for (size_t i = 0; i < 3; i++)
        RIG_NEED(a[i].published && a[i].how == MR_PUBLISHED && strcmp(rig_landing_state(r, a[i].id), "published") == 0);
    RIG_NEED(rig_lines(r) == 6 && rig_staged(r) == 0);
    rig_close(r);
}

/* The store could not say which day is sealed: what was known stands. */
static void act_sealed_day_survives_a_failed_store(struct rig *r)
{
    struct act a;
    int32_t day = mr_day_of(mr_wall_us()) + 1;
    start(r);
    RIG_NEED(rig_seal(r, day) == MR_OK && !r->blocked);
    land_batch(&a, r, 0, 0);
    RIG_NEED(a.code == MR_ESEALED); /* from now on the landings know the day */
    land_batch(&a, r, 0, 0);
    RIG_NEED(a.code == MR_EIO);
    land_batch(&a, r, 0, 0);
    RIG_NEED(a.code == MR_OK && rig_has_day(r, day + 1));
    rig_close(r);
}

static void each(struct rig *r, const char *const *specs, size_t count, void (*act)(struct rig *))
{
    if (!MR_FAULTS)
        skip();
    for (size_t i = 0; i < count; i++) {
        lives(r, specs[i], act);
        anew(r);
    }
}
#define EACH(act, ...) each(*state, (const char *const[]){__VA_ARGS__}, MR_COUNT(((const char *const[]){__VA_ARGS__})), act)

static void a_file_that_cannot_be_made_fails_the_add(void **state)
{
    EACH(act_no_room_for_a_file, "stage_create:1:ENOSPC");
}

static void a_landing_with_a_failed_add_is_never_decided(void **state)
{
    EACH(act_decide_after_a_failed_add, "stage_create:2:ENOSPC");
}

static void a_landing_that_cannot_be_made_durable_is_dropped_whole(void **state)
{
    EACH(act_refused_eio, "stage_write:1:EIO", "stage_write:2:EIO", "stage_close:1:EIO", "stage_close:2:EIO", "stage_sync:1:EIO",
         "stage_sync:2:EIO", "stage_synced:1:EIO", "stage_synced:2:EIO");
    EACH(act_refused_enospc, "stage_write:1:ENOSPC", "stage_close:2:ENOSPC", "stage_sync:1:ENOSPC");
}

static void a_decision_that_the_store_cannot_keep_is_none(void **state)
{
    EACH(act_undecided_eio, "decide_begin:1:EIO", "decide_commit:1:EIO");
    EACH(act_undecided_enospc, "decide_commit:1:ENOSPC");
}

static void a_commit_in_doubt_is_found_out(void **state)
{
    EACH(act_in_doubt, "decide_committed:1:EIO", "decide_commit:1:EIO", "decide_committed:1:ENOSPC");
}

static void a_publish_that_fails_is_only_a_delay(void **state)
{
    EACH(act_delayed, "decided_mark:1:ENOSPC", "publish_rename:1:EIO", "publish_rename:2:ENOSPC", "publish_renamed:1:EIO",
         "publish_synced:1:EIO", "decided_mark:1-2:EIO");
}

static void a_start_that_fails_can_be_tried_again(void **state)
{
    static const char *const points[] = {"resume_begin:1:EIO", "decided_mark:1:EIO", "publish_rename:1:EIO", "publish_rename:2:EIO",
                                         "publish_renamed:1:EIO", "publish_synced:1:EIO"};
    struct rig *r = *state;
    if (!MR_FAULTS)
        skip();
    for (size_t i = 0; i < MR_COUNT(points); i++) {
        dies(r, "decide_committed:1", run);
        lives(r, points[i], act_failed_start_is_tried_again);
        anew(r);
    }
}

static void a_close_tells_every_landing_of_a_batch_what_became_of_it(void **state)
{
    EACH(act_close_with_a_full_batch_out, "decided_mark:1:EIO");
}

static void a_sealed_day_is_not_forgotten_when_the_store_fails(void **state)
{
    EACH(act_sealed_day_survives_a_failed_store, "decide_begin:2:EIO");
}

/* -- a staged file gone between two processes ------------------------------------------------------------------------ */

static void act_finds_the_loss(struct rig *r)
{
    start(r);
    RIG_NEED(rig_alert(r, MR_A_LANDING_LOST, "shop"));
    RIG_NEED(rig_position(r, "shop", "p") == 2);
    RIG_NEED(rig_lines(r) == PER_BATCH + PER_BATCH / 2); /* what is left of it is not thrown away */
    RIG_NEED(rig_lines_with(r, "<b1-o") == 0 && rig_lines_with(r, "<b1-c") == PER_BATCH / 2);
    rig_close(r);
    start(r); /* noted: the next start is not held up */
    rig_close(r);
}

static void a_decided_file_that_is_gone_at_the_start_is_told_and_does_not_hold_it_up(void **state)
{
    struct rig *r = *state;
    if (!MR_FAULTS)
        skip();
    dies(r, "decide_committed:2", run);
    rig_delete_staged(r, "-0.part"); /* the file of the first stream */
    lives(r, NULL, act_finds_the_loss);
}

/* One file is gone, another cannot be renamed just now: that one is no loss, and nothing of it may be swept. */
static void act_start_fails_and_the_next_finds_half(struct rig *r)
{
    rig_open(r);
    RIG_NEED(rig_resume(r) == MR_EIO);
    RIG_NEED(!rig_alert(r, MR_A_LANDING_LOST, "shop"));
    RIG_NEED(rig_staged(r) == 1);
    RIG_NEED(rig_resume(r) == MR_OK);
    RIG_NEED(rig_lines_with(r, "<b1-o") == PER_BATCH / 2 && rig_staged(r) == 0);
    rig_close(r);
}

static void a_file_that_cannot_be_renamed_now_is_not_lost_with_the_one_that_is_gone(void **state)
{
    struct rig *r = *state;
    if (!MR_FAULTS)
        skip();
    dies(r, "decide_committed:2", run);
    rig_delete_staged(r, "-1.part"); /* of the stream that comes first by path */
    lives(r, "publish_rename:2:EIO", act_start_fails_and_the_next_finds_half);
}

/* -- a store that cannot be written to at the end ---------------------------------------------------------------------- */

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    RIG_NEED(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = bytes;
    RIG_NEED(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

/* The limit lets a line be staged, and no page of the store be written. */
static void act_end_in_doubt(struct rig *r)
{
    struct act a;
    start(r);
    signal(SIGXFSZ, SIG_IGN); /* then a write beyond the limit fails, and not as "no room" */
    act_begin(&a, r, "shop", MR_LANDING_ROLLING);
    RIG_NEED(act_add(&a, "orders", "o", 1) == MR_OK);
    RIG_NEED(rig_position(r, "shop", "p") == 0);
    limit_files(1000);
    const struct mr_move move = rig_move("shop", "p", 0, "{\"next\":1}");
    act_decide(&a, &move, 1);
    mr_landings_drain(r->ls);
    act_await(&a);
    RIG_NEED(a.code == MR_ECANCELED);
    rig_await_idle(r);
    RIG_NEED(rig_staged(r) == 1); /* nobody knows whether the store holds it */
    rig_close(r);
}

static void act_finds_out(struct rig *r)
{
    start(r);
    RIG_NEED(rig_staged(r) == 0 && rig_lines(r) == rig_position(r, "shop", "p"));
    RIG_NEED(!rig_alert(r, MR_A_LANDING_LOST, "shop"));
    rig_close(r);
}

static void a_landing_in_doubt_at_the_end_keeps_its_files_for_the_next_start(void **state)
{
    struct rig *r = *state;
    lives(r, NULL, act_end_in_doubt);
    lives(r, NULL, act_finds_out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_folder, rig_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(death_at_any_point_costs_and_doubles_nothing),
        TEST(death_during_the_start_that_follows_costs_and_doubles_nothing),
        TEST(a_file_that_cannot_be_made_fails_the_add),
        TEST(a_landing_with_a_failed_add_is_never_decided),
        TEST(a_landing_that_cannot_be_made_durable_is_dropped_whole),
        TEST(a_decision_that_the_store_cannot_keep_is_none),
        TEST(a_commit_in_doubt_is_found_out),
        TEST(a_publish_that_fails_is_only_a_delay),
        TEST(a_start_that_fails_can_be_tried_again),
        TEST(a_close_tells_every_landing_of_a_batch_what_became_of_it),
        TEST(a_sealed_day_is_not_forgotten_when_the_store_fails),
        TEST(a_decided_file_that_is_gone_at_the_start_is_told_and_does_not_hold_it_up),
        TEST(a_file_that_cannot_be_renamed_now_is_not_lost_with_the_one_that_is_gone),
        TEST(a_landing_in_doubt_at_the_end_keeps_its_files_for_the_next_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
