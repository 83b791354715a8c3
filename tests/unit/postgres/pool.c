/* SPDX-License-Identifier: Apache-2.0 */
/* A pool of connections, without the door around it. */
#include "sources/postgres/postgres.h"

#include "unit/postgres/links.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_open, fixture_close)

/* Of the door around it there are these two; what it is told is kept. */
static int tries, successes;
void postgres_pump(struct postgres *pg)
{
    (void)pg;
}
void trouble_connect(struct pool *pool, const struct mr_err *err)
{
    (void)pool;
    tries++;
    successes += err->code == MR_OK;
}

struct rig {
    struct fixture *f;
    struct postgres_options o;
    struct postgres pg;
    struct pool pool;
};

static void rig_init(struct rig *r, struct fixture *f, size_t count, const char *dsn)
{
    memset(r, 0, sizeof *r);
    r->f = f;
    r->o.stall_ms = LONG_MS;
    r->pg.o = &r->o;
    r->pg.loop = &f->loop;
    r->pg.name = "test";
    tries = successes = 0;
    pool_init(&r->pool, &r->pg, count, dsn, NULL);
}

static void rig_close(struct rig *r)
{
    pool_close(&r->pool);
    pool_close(&r->pool); /* twice is harmless */
    for (int i = 0; i < 400 && r->pg.closing; i++)
        pass(r->f, 10);
    assert_int_equal(r->pg.closing, 0);
}

struct wanting {
    struct want want; /* first: a callback finds the rest behind it */
    struct rig *rig;
    struct link *link;
    struct mr_err err;
    bool told;
    int times;
    int order, *counter;
    struct wanting *unwant, *want_too;
};

static void got(struct want *w, struct link *link, const struct mr_err *err)
{
    struct wanting *x = MR_OF(w, struct wanting, want);
    x->told = true;
    x->times++;
    x->link = link;
    x->err = *err;
    if (x->counter)
        x->order = ++*x->counter;
    assert_false(w->waiting);
    if (x->unwant)
        pool_unwant(&x->rig->pool, &x->unwant->want);
    if (x->want_too) {
        x->want_too->want.got = got;
        pool_want(&x->rig->pool, &x->want_too->want);
    }
}

static void want(struct rig *r, struct wanting *x)
{
    x->rig = r;
    x->want.got = got;
    pool_want(&r->pool, &x->want);
}

static void wait_for(struct rig *r, struct wanting *x)
{
    for (int i = 0; i < 2000 && !x->told; i++) { /* as the door's beat does */
        pool_pump(&r->pool);
        pass(r->f, 10);
    }
    assert_true(x->told);
    if (!x->link)
        fail_msg("%s", x->err.msg);
    assert_true(x->link->taken && pg_conn_ready(x->link->conn));
}

static void connections_are_given_in_the_order_of_asking(void **state)
{
    struct rig r;
    struct wanting all[6] = {{.told = false}};
    int counter = 0;
    rig_init(&r, *state, 2, ((struct fixture *)*state)->dsn);
    for (int i = 0; i < 6; i++) {
        all[i].counter = &counter;
        want(&r, &all[i]);
    }
    wait_for(&r, &all[0]);
    wait_for(&r, &all[1]);
    pass(*state, 100);
    assert_false(all[2].told); /* two, and no more */
    assert_ptr_not_equal(all[0].link, all[1].link);
    assert_null(pool_idle(&r.pool));
    for (int i = 2; i < 6; i++) {
        struct link *free_ = all[i - 2].link;
        pool_give(free_);
        wait_for(&r, &all[i]);
        assert_ptr_equal(all[i].link, free_); /* the same, still open */
    }
    for (int i = 0; i < 6; i++)
        assert_true(all[i].order == i + 1 && all[i].times == 1);
    assert_true(tries == 2 && successes == 2);
    pool_give(all[4].link);
    assert_ptr_equal(pool_idle(&r.pool), all[4].link);
    assert_null(pool_idle(&r.pool));
    rig_close(&r); /* two are taken: they are closed all the same */
}

static void one_that_is_given_back_busy_is_closed(void **state)
{
    struct rig r;
    struct wanting a = {.told = false}, b = {.told = false};
    struct asked asked;
    rig_init(&r, *state, 1, ((struct fixture *)*state)->dsn);
    want(&r, &a);
    wait_for(&r, &a);
    int pid = pg_conn_pid(a.link->conn);
    ask(a.link->conn, "SELECT pg_sleep(60)", &asked);
    pool_give(a.link);
    assert_true(asked.ended && asked.err.code == MR_ECANCELED);
    want(&r, &b);
    wait_for(&r, &b);
    assert_int_not_equal(pg_conn_pid(b.link->conn), pid);
    answer(*state, b.link->conn, "SELECT 1", "0:1;");
    pool_give(b.link);
    rig_close(&r);
}

static void one_that_has_died_is_opened_again(void **state)
{
    struct fixture *f = *state;
    struct rig r;
    struct wanting a = {.told = false}, b = {.told = false};
    rig_init(&r, f, 1, f->through);
    want(&r, &a);
    wait_for(&r, &a);
    pool_give(a.link);
    proxy_set(&f->proxy, PROXY_CUT);
    for (int i = 0; i < 200 && pg_conn_ready(a.link->conn); i++)
        pass(f, 10);
    assert_null(pool_idle(&r.pool));
    assert_true(pool_may_open(&r.pool));
    proxy_set(&f->proxy, PROXY_PASS);
    want(&r, &b);
    wait_for(&r, &b);
    answer(f, b.link->conn, "SELECT 1", "0:1;");
    rig_close(&r);
}

static void a_refusal_is_told_to_all_who_wait_and_not_tried_at_once(void **state)
{
    struct fixture *f = *state;
    struct rig r;
    struct wanting all[4] = {{.told = false}};
    rig_init(&r, f, 3, f->nobody);
    for (int i = 0; i < 3; i++)
        want(&r, &all[i]);
    assert_true(until(f, &all[2].told, LONG_MS));
    for (int i = 0; i < 3; i++)
        assert_true(all[i].times == 1 && !all[i].link && all[i].err.code == MR_ENET);
    assert_true(tries == 1 && successes == 0);
    uint64_t until_ms = r.pool.retry_at_ms;
    assert_true(until_ms > mr_loop_now_ms(&f->loop));
    want(&r, &all[3]);
    assert_false(all[3].told || r.pool.opening);
    pool_pump(&r.pool);
    assert_false(r.pool.opening); /* the back-off is not over */
    for (int i = 0; i < 2000 && !all[3].told; i++) {
        pool_pump(&r.pool);
        pass(f, 10);
    }
    assert_true(all[3].told && !all[3].link && mr_loop_now_ms(&f->loop) >= until_ms);
    rig_close(&r);
}

static void who_is_no_longer_wanted_is_not_told(void **state)
{
    struct fixture *f = *state;
    struct rig r;
    struct wanting a = {.told = false}, b = {.told = false}, c = {.told = false};
    rig_init(&r, f, 1, f->dsn);
    want(&r, &a);
    want(&r, &b);
    want(&r, &c);
    pool_unwant(&r.pool, &a.want);
    pool_unwant(&r.pool, &a.want);
    wait_for(&r, &b);
    pool_unwant(&r.pool, &b.want); /* he has it: nothing to take back */
    pool_unwant(&r.pool, &c.want);
    pool_give(b.link);
    pool_pump(&r.pool);
    pass(f, 20);
    assert_true(!a.told && !c.told && b.times == 1);
    want(&r, &a); /* and wanted again */
    wait_for(&r, &a);
    rig_close(&r);
}

static void one_who_hears_of_a_refusal_may_take_back_anothers_wish(void **state)
{
    struct fixture *f = *state;
    struct rig r;
    struct wanting *all[4];
    rig_init(&r, f, 4, f->nobody);
    for (int i = 0; i < 4; i++) {
        all[i] = calloc(1, sizeof *all[i]);
        want(&r, all[i]);
    }
    all[0]->unwant = all[1];
    all[2]->unwant = all[3];
    bool gone = false;
    while (!gone) {
        pass(f, 10);
        gone = all[2]->told;
    }
    assert_true(all[0]->times == 1 && all[2]->times == 1);
    assert_true(all[1]->times == 0 && all[3]->times == 0);
    assert_false(all[1]->want.waiting || all[3]->want.waiting);
    for (int i = 0; i < 4; i++)
        free(all[i]);
    rig_close(&r);
}

static void one_who_hears_of_a_refusal_may_want_again(void **state)
{
    struct fixture *f = *state;
    struct rig r;
    struct wanting a = {.told = false}, b = {.told = false}, c = {.told = false};
    rig_init(&r, f, 2, f->nobody);
    a.want_too = &c;
    c.rig = &r;
    want(&r, &a);
    want(&r, &b);
    assert_true(until(f, &b.told, LONG_MS));
    assert_true(a.times == 1 && b.times == 1 && c.times == 0 && c.want.waiting);
    pool_unwant(&r.pool, &c.want);
    rig_close(&r);
}

static void both_at_once(void **state)
{
    struct fixture *f = *state;
    struct rig r;
    struct wanting a = {.told = false}, last = {.told = false}, anew = {.told = false};
    rig_init(&r, f, 2, f->nobody);
    a.unwant = &last; /* the one behind whom nobody waits */
    a.want_too = &anew;
    anew.rig = &r;
    want(&r, &a);
    want(&r, &last);
    assert_true(until(f, &a.told, LONG_MS));
    pass(f, 20);
    assert_true(a.times == 1 && last.times == 0 && anew.times == 0 && anew.want.waiting);
    pool_unwant(&r.pool, &anew.want);
    rig_close(&r);
}

static void closed_while_it_opens(void **state)
{
    struct fixture *f = *state;
    struct rig r;
    struct wanting a = {.told = false};
    proxy_set(&f->proxy, PROXY_HOLD);
    rig_init(&r, f, 2, f->through);
    want(&r, &a);
    pass(f, 50);
    pool_unwant(&r.pool, &a.want);
    rig_close(&r);
    proxy_set(&f->proxy, PROXY_CUT);
    pass(f, 100);
    assert_false(a.told);
}

static void one_that_opens_for_nobody_is_kept(void **state)
{
    struct fixture *f = *state;
    struct rig r;
    struct wanting a = {.told = false};
    rig_init(&r, f, 1, f->dsn);
    want(&r, &a);
    pool_unwant(&r.pool, &a.want);
    for (int i = 0; i < 1000 && r.pool.opening; i++)
        pass(f, 10);
    struct link *l = pool_idle(&r.pool);
    assert_non_null(l);
    answer(f, l->conn, "SELECT 1", "0:1;");
    pool_give(l);
    rig_close(&r);
}

const struct CMUnitTest pool_tests[] = {
    TEST(connections_are_given_in_the_order_of_asking),
    TEST(one_that_is_given_back_busy_is_closed),
    TEST(one_that_has_died_is_opened_again),
    TEST(a_refusal_is_told_to_all_who_wait_and_not_tried_at_once),
    TEST(who_is_no_longer_wanted_is_not_told),
    TEST(one_who_hears_of_a_refusal_may_take_back_anothers_wish),
    TEST(one_who_hears_of_a_refusal_may_want_again),
    TEST(both_at_once),
    TEST(closed_while_it_opens),
    TEST(one_that_opens_for_nobody_is_kept),
};
const size_t pool_tests_n = MR_COUNT(pool_tests);
