/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "millrace/budget.h"

struct fixture {
    struct mr_metrics *metrics;
    struct mr_budget *budget;
};

struct waiter { /* takes `want` when relieved */
    struct mr_share *share;
    size_t want;
    int relieved, granted;
    bool put_back, free_self;
    int *order, number;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->metrics = mr_metrics_new();
    f->budget = mr_budget_new(1000, f->metrics);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    mr_budget_free(f->budget);
    mr_metrics_free(f->metrics);
    free(f);
    return 0;
}

static void on_relief(void *arg)
{
    struct waiter *w = arg;
    w->relieved++;
    if (w->order)
        *w->order = *w->order * 10 + w->number;
    if (w->free_self) {
        mr_share_free(w->share);
        w->share = NULL;
        return;
    }
    if (mr_share_take(w->share, w->want)) {
        w->granted++;
        if (w->put_back)
            mr_share_put(w->share, w->want);
    }
}

static void a_share_holds_at_most_its_cap(void **state)
{
    struct fixture *f = *state;
    struct mr_share *a = mr_share_new(f->budget, "a", 300, NULL, NULL),
                    *b = mr_share_new(f->budget, "b", 0, NULL, NULL),
                    *c = mr_share_new(f->budget, "c", 5000, NULL, NULL);
    assert_true(mr_share_take(a, 300));
    assert_false(mr_share_take(a, 1)); /* its neighbours still can */
    assert_true(mr_share_take(b, 250));
    assert_false(mr_share_take(b, 1)); /* 0: a quarter */
    assert_true(mr_share_take(c, 450));
    assert_false(mr_share_take(c, 1)); /* the whole is full */
    assert_int_equal(mr_budget_used(f->budget), 1000);
    assert_int_equal(mr_budget_limit(f->budget), 1000);
    assert_int_equal(mr_share_held(c), 450);
    mr_share_free(a);
    assert_int_equal(mr_budget_used(f->budget), 700);
    assert_true(mr_share_take(c, 300));
    mr_share_free(b);
    mr_share_free(c);
    assert_int_equal(mr_budget_used(f->budget), 0);
}

static void an_impossible_size_is_refused(void **state)
{
    struct fixture *f = *state;
    struct mr_share *a = mr_share_new(f->budget, "a", 1000, NULL, NULL);
    assert_true(mr_share_take(a, 10));
    assert_false(mr_share_take(a, SIZE_MAX));
    assert_false(mr_share_take(a, SIZE_MAX - 5));
    assert_int_equal(mr_budget_used(f->budget), 10);
    mr_share_free(a);
}

static void who_was_refused_is_relieved_once_it_fits_and_only_once(void **state)
{
    struct fixture *f = *state;
    struct waiter w = {.want = 400};
    struct mr_share *a = mr_share_new(f->budget, "a", 1000, NULL, NULL);
    w.share = mr_share_new(f->budget, "w", 1000, on_relief, &w);
    assert_true(mr_share_take(a, 900));
    assert_false(mr_share_take(w.share, 400));
    mr_share_put(a, 200);
    assert_int_equal(w.relieved, 0); /* 300 free */
    mr_share_put(a, 100);
    assert_int_equal(w.relieved, 1);
    assert_int_equal(w.granted, 1);
    mr_share_put(a, 100);
    assert_int_equal(w.relieved, 1);
    mr_share_free(a);
    mr_share_free(w.share);
}

static void a_share_at_its_own_cap_is_relieved_by_its_own_put(void **state)
{
    struct fixture *f = *state;
    struct waiter w = {.want = 50};
    w.share = mr_share_new(f->budget, "w", 100, on_relief, &w);
    struct mr_share *other = mr_share_new(f->budget, "o", 1000, NULL, NULL);
    assert_true(mr_share_take(w.share, 100));
    assert_true(mr_share_take(other, 500));
    assert_false(mr_share_take(w.share, 50));
    mr_share_put(other, 500); /* helps nobody who is at its cap */
    assert_int_equal(w.relieved, 0);
    mr_share_put(w.share, 50);
    assert_int_equal(w.granted, 1);
    mr_share_free(w.share);
    mr_share_free(other);
}

static void the_least_that_was_refused_counts(void **state)
{
    struct fixture *f = *state;
    struct waiter w = {.want = 10};
    struct mr_share *a = mr_share_new(f->budget, "a", 1000, NULL, NULL);
    w.share = mr_share_new(f->budget, "w", 1000, on_relief, &w);
    assert_true(mr_share_take(a, 1000));
    assert_false(mr_share_take(w.share, 500));
    assert_false(mr_share_take(w.share, 10));
    assert_false(mr_share_take(w.share, 700));
    mr_share_put(a, 10);
    assert_int_equal(w.granted, 1);
    mr_share_free(a);
    mr_share_free(w.share);
}

static void those_who_wait_are_relieved_in_turn(void **state)
{
    struct fixture *f = *state;
    int order = 0;
    struct waiter w[3];
    struct mr_share *a = mr_share_new(f->budget, "a", 1000, NULL, NULL);
    assert_true(mr_share_take(a, 1000));
    for (int i = 0; i < 3; i++) {
        w[i] = (struct waiter){.want = 100, .order = &order, .number = i + 1};
        w[i].share = mr_share_new(f->budget, "w", 1000, on_relief, &w[i]);
        assert_false(mr_share_take(w[i].share, 100));
    }
    for (int round = 0; round < 6; round++) {
        mr_share_put(a, 100); /* room for one */
        for (int i = 0; i < 3; i++)
            (void)!mr_share_take(w[i].share, 100); /* everybody wants more */
    }
    assert_int_equal(order, 123123);
    for (int i = 0; i < 3; i++)
        mr_share_free(w[i].share);
    mr_share_free(a);
}

static void a_relief_may_put_back_and_so_relieve_the_next(void **state)
{
    struct fixture *f = *state;
    struct waiter w[3];
    struct mr_share *a = mr_share_new(f->budget, "a", 1000, NULL, NULL);
    assert_true(mr_share_take(a, 1000));
    for (int i = 0; i < 3; i++) {
        w[i] = (struct waiter){.want = 100, .put_back = true};
        w[i].share = mr_share_new(f->budget, "w", 1000, on_relief, &w[i]);
        assert_false(mr_share_take(w[i].share, 100));
    }
    mr_share_put(a, 100);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(w[i].relieved, 1);
        assert_int_equal(w[i].granted, 1);
        mr_share_free(w[i].share);
    }
    mr_share_free(a);
}

static void a_relief_may_free_its_share(void **state)
{
    struct fixture *f = *state;
    struct waiter w[2];
    struct mr_share *a = mr_share_new(f->budget, "a", 1000, NULL, NULL);
    assert_true(mr_share_take(a, 900));
    for (int i = 0; i < 2; i++) {
        w[i] = (struct waiter){.want = 100, .free_self = i == 0};
        w[i].share = mr_share_new(f->budget, "w", 1000, on_relief, &w[i]);
    }
    assert_true(mr_share_take(w[0].share, 100));
    assert_false(mr_share_take(w[0].share, 100));
    assert_false(mr_share_take(w[1].share, 100));
    mr_share_free(a);
    assert_int_equal(w[0].relieved, 1);
    assert_int_equal(w[1].granted, 1);
    assert_int_equal(mr_budget_used(f->budget), 100);
    mr_share_free(w[1].share);
}

static void what_is_held_is_shown(void **state)
{
    struct fixture *f = *state;
    struct mr_share *a = mr_share_new(f->budget, "http", 0, NULL, NULL);
    assert_true(mr_share_take(a, 200));
    mr_share_put(a, 50);
    assert_true(mr_cell_value(mr_metric(f->metrics, MR_M_MEMORY_USED, "http")) == 150);
    assert_true(mr_cell_value(mr_metric0(f->metrics, MR_M_MEMORY_LIMIT)) == 1000);
    mr_share_free(a);
    assert_true(mr_cell_value(mr_metric(f->metrics, MR_M_MEMORY_USED, "http")) == 0);
    mr_share_free(NULL);
}

#define BUDGET_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BUDGET_TEST(a_share_holds_at_most_its_cap),
        BUDGET_TEST(an_impossible_size_is_refused),
        BUDGET_TEST(who_was_refused_is_relieved_once_it_fits_and_only_once),
        BUDGET_TEST(a_share_at_its_own_cap_is_relieved_by_its_own_put),
        BUDGET_TEST(the_least_that_was_refused_counts),
        BUDGET_TEST(those_who_wait_are_relieved_in_turn),
        BUDGET_TEST(a_relief_may_put_back_and_so_relieve_the_next),
        BUDGET_TEST(a_relief_may_free_its_share),
        BUDGET_TEST(what_is_held_is_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
