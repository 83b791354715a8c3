/* SPDX-License-Identifier: Apache-2.0 */
/* steps.c - stage, decide, publish as a door lives through them, looked at from the zone, the store and the callbacks. */
#include "unit/landing/tests.h"

#include <sys/stat.h>

static void what_is_decided_is_published_and_not_before(void **state)
{
    struct rig *r = *state;
    struct act a;
    act_begin(&a, r, "shop", MR_LANDING_ROLLING);
    assert_int_equal(act_add(&a, "orders", "o", 7), MR_OK);
    assert_int_equal(act_add(&a, "carts", "c", 3), MR_OK);
    assert_int_equal(mr_landing_records(a.l), 10);
    assert_int_equal(rig_lines(r), 0);
    const struct mr_move move = rig_move("shop", "p", 0, "{\"next\":10}");
    act_decide(&a, &move, 1);
    act_await(&a);
    assert_int_equal(a.code, MR_OK);
    assert_true(a.number > 0);
    assert_int_equal(a.how, MR_PUBLISHED);
    assert_int_equal(rig_lines(r), 10);
    assert_int_equal(rig_lines_with(r, "<o6>"), 1);
    assert_int_equal(rig_lines_with(r, "<c2>"), 1);
    assert_int_equal(rig_staged(r), 0);
    assert_int_equal(rig_position(r, "shop", "p"), 1);
    assert_int_equal(r->next, 10);
    assert_string_equal(rig_landing_state(r, a.id), "published");
    assert_int_equal(mr_landings_busy(r->ls), 0);
}

static void an_empty_run_moves_its_position_without_a_file(void **state)
{
    struct rig *r = *state;
    struct act a;
    act_begin(&a, r, "shop", MR_LANDING_ROLLING);
    const struct mr_move move = rig_move("shop", "p", 0, "{\"next\":4}");
    act_decide(&a, &move, 1);
    act_await(&a);
    assert_int_equal(a.code, MR_OK);
    assert_int_equal(a.how, MR_PUBLISHED);
    assert_int_equal(rig_position(r, "shop", "p"), 1);
    assert_int_equal(rig_lines(r), 0);
    assert_string_equal(rig_landing_state(r, a.id), "published");
}

static void a_lost_compare_and_swap_leaves_nothing_of_the_landing(void **state)
{
    struct rig *r = *state;
    struct act a;
    act_begin(&a, r, "shop", MR_LANDING_ROLLING);
    assert_int_equal(act_add(&a, "orders", "o", 5), MR_OK);
    const struct mr_move moves[] = {rig_move("shop", "p", 0, "{\"next\":1}"), rig_move("shop", "q", 3, "{\"next\":1}")};
    act_decide(&a, moves, 2);
    act_await(&a);
    assert_int_equal(a.code, MR_EFENCED);
    assert_int_equal(a.which, 1);
    rig_await_idle(r);
    assert_int_equal(rig_lines(r), 0);
    assert_int_equal(rig_staged(r), 0);
    assert_int_equal(rig_position(r, "shop", "p"), 0);
    assert_string_equal(rig_landing_state(r, a.id), "");
    act_begin(&a, r, "shop", MR_LANDING_ROLLING); /* staged anew it lands */
    assert_int_equal(act_add(&a, "orders", "o", 5), MR_OK);
    assert_int_equal(act_land(&a), MR_OK);
    assert_int_equal(rig_lines(r), 5);
}

static void a_landing_of_a_sealed_day_is_refused_and_the_next_takes_a_later_day(void **state)
{
    struct rig *r = *state;
    struct act a;
    int32_t day = mr_day_of(mr_wall_us()) + 1; /* whichever side of midnight the landing began on */
    act_begin(&a, r, "shop", MR_LANDING_ROLLING);
    assert_int_equal(act_add(&a, "orders", "o", 2), MR_OK);
    assert_int_equal(rig_seal(r, day), MR_OK);
    assert_false(r->blocked);
    assert_int_equal(act_land(&a), MR_ESEALED);
    rig_await_idle(r);
    assert_int_equal(rig_lines(r) + rig_staged(r), 0);
    act_begin(&a, r, "shop", MR_LANDING_ROLLING);
    assert_int_equal(act_add(&a, "orders", "o", 2), MR_OK);
    assert_int_equal(act_land(&a), MR_OK);
    assert_int_equal(rig_lines(r), 2);
    assert_true(rig_has_day(r, day + 1));
}

static bool sealed_file(struct rig *r, int32_t day, char text[256])
{
    char date[11], path[256];
    mr_day_text(day, date);
    snprintf(path, sizeof path, "%s/source=shop/stream=orders/ingest_date=%s/_SEALED", r->raw, date);
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(text, 1, 255, f) : 0;
    text[n] = '\0';
    if (f)
        fclose(f);
    return f != NULL;
}

/* The store knows that the day is sealed; whoever sealed it died before it had written the file. */
static void a_sealed_file_that_is_missing_is_written_after_the_start(void **state)
{
    struct rig *r = *state;
    struct act a;
    char text[256];
    int32_t day = mr_day_of(mr_wall_us());
    act_begin(&a, r, "shop", MR_LANDING_ROLLING);
    assert_int_equal(act_add(&a, "orders", "o", 5), MR_OK);
    assert_int_equal(act_land(&a), MR_OK);
    day = rig_has_day(r, day) ? day : day + 1; /* midnight */
    assert_int_equal(rig_seal(r, day), MR_OK);
    assert_false(r->blocked);
    assert_false(sealed_file(r, day, text));
    rig_close(r);
    rig_open(r);
    r->options.write_sealed = true;
    mr_landings_reconfigure(r->ls, &r->options);
    assert_int_equal(rig_resume(r), MR_OK);
    for (int turns = 0; !sealed_file(r, day, text) && turns < 200; turns++)
        rig_turn(r);
    assert_non_null(strstr(text, "\"files\":1,\"rows\":5,"));
}

static void a_whole_landing_holds_its_day_open_until_it_is_gone(void **state)
{
    struct rig *r = *state;
    struct act a, b;
    int32_t day = mr_day_of(mr_wall_us()) + 1;
    act_begin(&a, r, "files", MR_LANDING_WHOLE);
    act_begin(&b, r, "files", MR_LANDING_WHOLE);
    assert_int_equal(act_add(&a, "orders", "o", 2), MR_OK);
    assert_int_equal(rig_seal(r, day), MR_OK);
    assert_true(r->blocked);
    mr_landing_abandon(b.l);
    assert_int_equal(rig_seal(r, day), MR_OK);
    assert_true(r->blocked);
    assert_int_equal(act_land(&a), MR_OK);
    rig_await_idle(r);
    assert_int_equal(rig_seal(r, day), MR_OK);
    assert_false(r->blocked);
    assert_int_equal(rig_lines(r), 2);
}

static void a_whole_landing_that_lost_gives_its_day_up(void **state)
{
    struct rig *r = *state;
    struct act a;
    act_begin(&a, r, "files", MR_LANDING_WHOLE);
    assert_int_equal(act_add(&a, "orders", "o", 2), MR_OK);
    const struct mr_move stale = rig_move("files", "p", 9, "{}");
    act_decide(&a, &stale, 1);
    act_await(&a);
    assert_int_equal(a.code, MR_EFENCED);
    rig_await_idle(r);
    assert_int_equal(rig_seal(r, mr_day_of(mr_wall_us()) + 1), MR_OK);
    assert_false(r->blocked);
}

/* The second has a long close, the first none: only the order of asking decides. */
static void landings_of_a_source_are_decided_in_the_order_asked_for(void **state)
{
    struct rig *r = *state;
    struct act early, late;
    act_begin(&early, r, "shop", MR_LANDING_ROLLING);
    act_begin(&late, r, "shop", MR_LANDING_ROLLING);
    for (int i = 0; i < 12; i++) {
        char stream[16];
        snprintf(stream, sizeof stream, "s%d", i);
        assert_int_equal(act_add(&late, stream, stream, 3), MR_OK);
    }
    const struct mr_move first = rig_move("shop", "p", 0, "{\"next\":1}"), second = rig_move("shop", "p", 1, "{\"next\":2}");
    act_decide(&late, &first, 1);
    act_decide(&early, &second, 1);
    act_await(&early);
    act_await(&late);
    assert_int_equal(late.code, MR_OK);
    assert_int_equal(early.code, MR_OK);
    assert_true(late.order < early.order);
    assert_int_equal(rig_position(r, "shop", "p"), 2);
    assert_int_equal(r->next, 2);
    assert_int_equal(rig_lines(r), 36);
}

static void a_source_is_not_held_up_by_another_one(void **state)
{
    struct rig *r = *state;
    struct act slow, quick;
    act_begin(&slow, r, "slow", MR_LANDING_ROLLING);
    act_begin(&quick, r, "quick", MR_LANDING_ROLLING);
    for (int i = 0; i < 12; i++) {
        char stream[16];
        snprintf(stream, sizeof stream, "s%d", i);
        assert_int_equal(act_add(&slow, stream, stream, 3), MR_OK);
    }
    act_decide(&slow, NULL, 0);
    act_decide(&quick, NULL, 0);
    act_await(&quick);
    assert_int_equal(quick.code, MR_OK);
    act_await(&slow);
    assert_true(quick.order < slow.order);
}

static void on_done(void *arg, const struct mr_err *err)
{
    RIG_NEED(err->code == MR_OK);
    *(bool *)arg = true;
}

/* Somebody sets the position between two landings that were asked for together: the first one loses, and the version that it left is the one that the second expects. */
static void no_landing_wins_over_the_gap_of_one_that_lost(void **state)
{
    struct rig *r = *state;
    struct act first, second, aside;
    bool set = false;
    act_begin(&first, r, "shop", MR_LANDING_ROLLING);
    assert_int_equal(act_add(&first, "orders", "f", 5), MR_OK);
    act_begin(&second, r, "shop", MR_LANDING_ROLLING);
    assert_int_equal(act_add(&second, "orders", "s", 5), MR_OK);
    act_begin(&aside, r, "shop", MR_LANDING_ROLLING);
    assert_int_equal(act_add(&aside, "carts", "a", 5), MR_OK);
    mr_store_position_set(r->store, MR_STR("shop"), MR_STR("t"), MR_STR("p"), MR_STR("{\"next\":0}"), on_done, &set); /* version 1 */
    const struct mr_move one = rig_move("shop", "p", 0, "{\"next\":5}"), two[] = {rig_move("shop", "q", 0, "{\"next\":1}"), rig_move("shop", "p", 1, "{\"next\":10}")},
                         other = rig_move("shop", "r", 0, "{\"next\":1}");
    act_decide(&first, &one, 1);
    act_decide(&second, two, 2);
    act_decide(&aside, &other, 1);
    act_await(&first);
    act_await(&second);
    act_await(&aside);
    assert_true(set);
    assert_int_equal(first.code, MR_EFENCED);
    assert_int_equal(second.code, MR_EFENCED);
    assert_int_equal(aside.code, MR_OK); /* of another part: it has no gap */
    assert_int_equal(rig_position(r, "shop", "p"), 1);
    assert_int_equal(r->next, 0);
    rig_await_idle(r);
    assert_int_equal(rig_lines(r), 5);
    assert_int_equal(rig_staged(r), 0);
    act_begin(&second, r, "shop", MR_LANDING_ROLLING); /* from the position that is there it goes on */
    assert_int_equal(act_add(&second, "orders", "s", 10), MR_OK);
    act_decide(&second, &two[1], 1);
    act_await(&second);
    assert_int_equal(second.code, MR_OK);
}

struct tries {
    uint64_t count;
};

static void count_tries(void *arg, const struct mr_alert *alert)
{
    if (alert->id == MR_A_ZONE_UNWRITABLE && strcmp(alert->source, "stuck") == 0)
        ((struct tries *)arg)->count = alert->repeats + 1;
}

static uint64_t tries_of_stuck(struct rig *r)
{
    struct tries t = {0};
    mr_alerts_each(r->loop.alerts, count_tries, &t);
    return t.count;
}

/* The folder of one source cannot be made. Others are published without waiting for its next try, and it once it can. */
static void a_source_is_not_kept_from_the_zone_by_another_one(void **state)
{
    struct rig *r = *state;
    struct act stuck, fine;
    char folder[128];
    int landed = 0, beside = 0;
    snprintf(folder, sizeof folder, "%s/source=stuck", r->raw);
    FILE *f = fopen(folder, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    act_begin(&stuck, r, "stuck", MR_LANDING_ROLLING);
    assert_int_equal(act_add(&stuck, "orders", "o", 5), MR_OK);
    act_decide(&stuck, NULL, 0);
    while (tries_of_stuck(r) < 3) /* from then on its pauses are long */
        rig_turn(r);
    for (; landed < 6 && !beside; landed++) {
        uint64_t tries = tries_of_stuck(r);
        act_begin(&fine, r, "fine", MR_LANDING_ROLLING);
        assert_int_equal(act_add(&fine, "orders", "o", 1), MR_OK);
        assert_int_equal(act_land(&fine), MR_OK);
        beside += tries_of_stuck(r) == tries;
    }
    assert_true(beside > 0);
    assert_false(stuck.published);
    assert_int_equal(remove(folder), 0);
    act_await(&stuck);
    assert_int_equal(stuck.how, MR_PUBLISHED);
    assert_int_equal(rig_lines(r), 5 + landed);
    assert_false(rig_alert(r, MR_A_ZONE_UNWRITABLE, "stuck"));
}

static void what_is_abandoned_leaves_no_file(void **state)
{
    struct rig *r = *state;
    struct act a;
    act_begin(&a, r, "shop", MR_LANDING_ROLLING);
    assert_int_equal(act_add(&a, "orders", "o", 5), MR_OK);
    assert_int_equal(act_add(&a, "carts", "c", 5), MR_OK);
    assert_int_equal(rig_staged(r), 2);
    mr_landing_abandon(a.l);
    rig_await_idle(r);
    assert_int_equal(rig_staged(r), 0);
    assert_int_equal(rig_lines(r), 0);
}

static void a_landing_asks_for_its_end_at_its_size_once(void **state)
{
    struct rig *r = *state;
    struct act a;
    r->options.roll_size = 1;
    mr_landings_reconfigure(r->ls, &r->options);
    act_begin(&a, r, "shop", MR_LANDING_ROLLING);
    assert_int_equal(act_add(&a, "orders", "a-rather-long-name-of-a-record", 2000), MR_OK);
    assert_int_equal(act_add(&a, "orders", "o", 10), MR_OK);
    assert_int_equal(a.rolls[MR_ROLL_SIZE], 1);
    mr_landings_drain(r->ls);
    assert_int_equal(a.rolls[MR_ROLL_DRAIN], 1);
    assert_int_equal(act_land(&a), MR_OK);
    assert_int_equal(rig_lines(r), 2010);
}

static void a_landing_asks_for_its_end_by_age_without_another_record(void **state)
{
    struct rig *r = *state;
    struct act a;
    r->options.roll_age_ms = 20;
    mr_landings_reconfigure(r->ls, &r->options);
    act_begin(&a, r, "shop", MR_LANDING_ROLLING);
    assert_int_equal(act_add(&a, "orders", "o", 1), MR_OK);
    while (a.rolls[MR_ROLL_AGE] == 0)
        rig_turn(r);
    assert_int_equal(act_land(&a), MR_OK);
    assert_int_equal(a.rolls[MR_ROLL_AGE], 1);
}

static void delete_its_files(struct act *a)
{
    if (a->code == MR_OK)
        rig_delete_staged(a->rig, a->id);
}

static void a_staged_file_gone_after_the_decision_is_a_loss_that_is_told(void **state)
{
    struct rig *r = *state;
    struct act a, b;
    act_begin(&a, r, "shop", MR_LANDING_ROLLING);
    act_begin(&b, r, "till", MR_LANDING_ROLLING);
    a.on_decided = delete_its_files;
    assert_int_equal(act_add(&a, "orders", "o", 5), MR_OK);
    assert_int_equal(act_add(&b, "sales", "s", 5), MR_OK);
    act_decide(&a, NULL, 0);
    act_decide(&b, NULL, 0);
    act_await(&a);
    act_await(&b);
    assert_int_equal(a.code, MR_OK);
    assert_int_equal(a.how, MR_PUBLISH_LOST);
    assert_true(rig_alert(r, MR_A_LANDING_LOST, "shop"));
    assert_string_equal(rig_landing_state(r, a.id), "lost");
    assert_int_equal(b.how, MR_PUBLISHED); /* the others go on */
    assert_false(rig_alert(r, MR_A_LANDING_LOST, "till"));
    assert_int_equal(rig_lines(r), 5);
}

static void on_closed(void *arg)
{
    struct rig *r = arg;
    r->ls = NULL;
    r->answers++;
}

static void close_at_the_alert(void *arg, const struct mr_alert *alert)
{
    struct rig *r = arg;
    if (alert->id == MR_A_LANDING_LOST && alert->closed_us == 0)
        mr_landings_close(r->ls, on_closed, r);
}

static void a_close_waits_until_the_loss_is_noted(void **state)
{
    struct rig *r = *state;
    struct act a;
    mr_alerts_set_sink(r->loop.alerts, close_at_the_alert, r);
    act_begin(&a, r, "shop", MR_LANDING_ROLLING);
    a.on_decided = delete_its_files;
    assert_int_equal(act_add(&a, "orders", "o", 5), MR_OK);
    act_decide(&a, NULL, 0);
    act_await(&a);
    assert_int_equal(a.how, MR_PUBLISH_LOST);
    while (r->ls)
        rig_turn(r);
    assert_string_equal(rig_landing_state(r, a.id), "lost");
    mr_alerts_set_sink(r->loop.alerts, NULL, NULL);
}

static void a_close_abandons_what_is_open_and_finishes_what_is_in_the_store(void **state)
{
    struct rig *r = *state;
    struct act open_one, asked;
    act_begin(&open_one, r, "shop", MR_LANDING_ROLLING);
    act_begin(&asked, r, "till", MR_LANDING_ROLLING);
    assert_int_equal(act_add(&open_one, "orders", "o", 5), MR_OK);
    assert_int_equal(act_add(&asked, "sales", "s", 5), MR_OK);
    act_decide(&asked, NULL, 0);
    rig_close_landings(r);
    assert_false(open_one.decided);
    assert_true(asked.decided && asked.code == MR_OK && asked.published);
    bool later = asked.how == MR_PUBLISH_LATER;
    assert_int_equal(rig_lines(r), later ? 0 : 5);
    assert_int_equal(rig_staged(r), later ? 1 : 0);
    assert_string_equal(rig_landing_state(r, asked.id), later ? "decided" : "published");
    rig_close(r);
    rig_open(r); /* the next start finishes it */
    assert_int_equal(rig_resume(r), MR_OK);
    assert_int_equal(rig_lines(r), 5);
    assert_int_equal(rig_staged(r), 0);
}

static void ids_seen_before_drop_the_landing_whole(void **state)
{
    struct rig *r = *state;
    struct act a;
    struct mr_seen ids[3] = {{.id = {9}, .day = 20000}, {.id = {1}, .day = 20000}, {.id = {5}, .day = 20000}};
    const struct mr_landing_end none = {0};
    for (int round = 0; round < 2; round++) {
        act_begin(&a, r, "shop", MR_LANDING_ROLLING);
        assert_int_equal(act_add(&a, "orders", "o", 3), MR_OK);
        mr_landing_decide(a.l, NULL, 0, NULL, 0, ids, round ? 1 : 3, &none);
        memset(ids, round ? 0 : 0xff, round ? 0 : sizeof ids); /* copied: the caller's may change */
        if (!round)
            memcpy(ids, (struct mr_seen[]){{.id = {1}, .day = 20000}}, sizeof ids[0]);
        rig_await_idle(r);
        assert_int_equal(rig_lines(r), 3);
    }
    assert_int_equal(rig_staged(r), 0);
}

/* ---- for others ---- */

static void on_other(void *arg, const struct mr_err *err, const struct mr_instance *instance)
{
    struct mr_instance *other = arg;
    RIG_NEED(err->code == MR_OK);
    *other = *instance;
}

static void on_other_decided(void *arg, const struct mr_decided *decided)
{
    RIG_NEED(decided->code == MR_OK);
    *(int64_t *)arg = decided->number;
}

/* Another process decides a landing of one line, and dies before it publishes it. Its number. */
static int64_t decided_by_one_that_died(struct rig *r)
{
    struct mr_instance other = {.epoch = 0};
    char folder[256], path[288];
    int64_t number = 0;
    bool done = false;
    mr_store_instance_begin(r->store, 60000, on_other, &other);
    while (!other.epoch)
        rig_turn(r);
    snprintf(folder, sizeof folder, "%s/_staging/%s", r->raw, other.id);
    snprintf(path, sizeof path, "%s/x.part", folder);
    assert_int_equal(mkdir(folder, 0750), 0);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs("{}\n", f) >= 0 && fclose(f) == 0);
    struct mr_zone_file file = {.stream = MR_STR("t"), .path = MR_STR("source=shop/stream=t/ingest_date=2026-11-22/x.ndjson"), .staged = mr_str_c(path + strlen(r->raw) + 1), .rows = 1, .bytes = 3};
    const struct mr_decision d = {.instance = other, .landing = MR_STR("of-another"), .source = MR_STR("shop"), .run = MR_STR(""), .day = 20779, .files = &file, .files_count = 1, .records = 1, .bytes = 3};
    mr_store_decide(r->store, &d, on_other_decided, &number);
    while (!number)
        rig_turn(r);
    mr_store_instance_renew(r->store, &other, -1000, on_done, &done); /* its lease runs out */
    while (!done)
        rig_turn(r);
    return number;
}

static void what_is_published_for_one_that_died_lowers_no_mark(void **state)
{
    struct rig *r = *state;
    struct act mine;
    struct mr_zone_id id;
    bool done = false;
    int64_t theirs = decided_by_one_that_died(r);
    act_begin(&mine, r, "till", MR_LANDING_ROLLING);
    assert_int_equal(act_add(&mine, "sales", "s", 5), MR_OK);
    assert_int_equal(act_land(&mine), MR_OK);
    assert_true(mine.number > theirs);
    mr_landings_finish_others(r->ls, on_done, &done);
    while (!done)
        rig_turn(r);
    assert_string_equal(rig_landing_state(r, "of-another"), "published");
    assert_int_equal(rig_lines(r), 6);
    assert_int_equal(mr_zone_identity(r->zone, &id, &r->err), MR_OK);
    assert_int_equal(id.highest_decided, mine.number);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_up, rig_down)
const struct CMUnitTest steps_tests[] = {
    TEST(what_is_decided_is_published_and_not_before),
    TEST(an_empty_run_moves_its_position_without_a_file),
    TEST(a_lost_compare_and_swap_leaves_nothing_of_the_landing),
    TEST(a_sealed_file_that_is_missing_is_written_after_the_start),
    TEST(a_landing_of_a_sealed_day_is_refused_and_the_next_takes_a_later_day),
    TEST(a_whole_landing_holds_its_day_open_until_it_is_gone),
    TEST(a_whole_landing_that_lost_gives_its_day_up),
    TEST(landings_of_a_source_are_decided_in_the_order_asked_for),
    TEST(a_source_is_not_held_up_by_another_one),
    TEST(no_landing_wins_over_the_gap_of_one_that_lost),
    TEST(a_source_is_not_kept_from_the_zone_by_another_one),
    TEST(what_is_abandoned_leaves_no_file),
    TEST(a_landing_asks_for_its_end_at_its_size_once),
    TEST(a_landing_asks_for_its_end_by_age_without_another_record),
    TEST(a_staged_file_gone_after_the_decision_is_a_loss_that_is_told),
    TEST(a_close_waits_until_the_loss_is_noted),
    TEST(a_close_abandons_what_is_open_and_finishes_what_is_in_the_store),
    TEST(ids_seen_before_drop_the_landing_whole),
    TEST(what_is_published_for_one_that_died_lowers_no_mark),
};
const size_t steps_tests_count = MR_COUNT(steps_tests);
