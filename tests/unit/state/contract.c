/* SPDX-License-Identifier: Apache-2.0 */
/* contract.c - what store.h and state.h promise, whatever keeps the rows. Nothing here knows SQLite: fix_setup_open()
 * makes the store. */
#include "unit/state/contract.h"

#include "millrace/clock.h"

#include <stdio.h>
#include <stdlib.h>

/* -- decisions ----------------------------------------------------------------------------------------------------- */

static void a_new_store_has_an_id_and_has_decided_nothing(void **state)
{
    struct fix *f = *state;
    const struct mr_store_facts *facts = mr_store_facts(f->store);
    assert_int_equal(strlen(facts->id), 36);
    assert_int_equal(facts->last_number, 0);
    assert_int_equal(facts->sealed_through, MR_NO_DAY);
    assert_true(facts->fresh);
    assert_int_equal(fix_position(f, "s", "t", "p"), MR_OK);
    assert_int_equal(f->version, 0);
    assert_string_equal(f->text, "");
}

static void a_decision_moves_positions_and_outlives_a_reopen(void **state)
{
    struct fix *f = *state;
    struct small s;
    char id[37];
    small_init(&s, f, "p", 0, 1);
    small_file(&s, TEST_DAY);
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    assert_true(f->number > 0);
    int64_t number = f->number;
    assert_int_equal(mr_store_facts(f->store)->last_number, number);
    snprintf(id, sizeof id, "%s", mr_store_facts(f->store)->id);
    fix_close(f);
    assert_int_equal(fix_open(f, false), MR_OK);
    assert_int_equal(mr_store_facts(f->store)->last_number, number);
    assert_false(mr_store_facts(f->store)->fresh);
    assert_string_equal(mr_store_facts(f->store)->id, id);
    assert_string_equal(fix_positions(f, NULL), "s/t/p v1 {\"at\":1}\n");
    char line[512];
    snprintf(
        line, sizeof line,
        "%lld L-p-0-1 s decided _staging/L-p-0-1=source=s/L-p-0-1,3,99,4294967294"
        " [{\"source\":\"s\",\"stream\":\"t\",\"part\":\"p\",\"old_version\":0,\"old\":null,\"new\":{\"at\":1}}]\n",
        (long long)number);
    assert_string_equal(fix_unpublished(f), line);
    assert_int_equal(f->day, TEST_DAY);
    assert_string_equal(fix_landings(f, "L-p-0-1", 0, 0), line);
    assert_string_equal(fix_landings(f, NULL, 0, 10), line);
    assert_string_equal(fix_landings(f, NULL, number, 10), "");
    assert_string_equal(fix_landings(f, "nobody", 0, 0), "");
}

static void a_lost_compare_and_swap_leaves_nothing(void **state)
{
    struct fix *f = *state;
    struct small s;
    small_init(&s, f, "p", 0, 1);
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    int64_t number = f->number;
    struct mr_move moves[2] = {{MR_STR("s"), MR_STR("t"), MR_STR("q"), 0, MR_STR("7")},
                               {MR_STR("s"), MR_STR("t"), MR_STR("p"), 0, MR_STR("8")}};
    small_init(&s, f, "x", 0, 2);
    small_file(&s, TEST_DAY);
    s.d.moves = moves;
    s.d.moves_count = 2;
    assert_int_equal(fix_decide(f, &s.d), MR_EFENCED);
    assert_int_equal(f->which, 1);
    assert_int_equal(f->number, 0);
    assert_int_equal(mr_store_facts(f->store)->last_number, number);
    assert_string_equal(fix_positions(f, "s"), "s/t/p v1 {\"at\":1}\n");
    assert_string_equal(fix_unpublished(f), "");
    moves[1].expected_version = 1;
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    assert_string_equal(fix_positions(f, "s"), "s/t/p v2 8\ns/t/q v1 7\n");
    assert_string_equal(fix_positions(f, "nobody"), "");
}

static void many_decisions_wait_together_and_only_the_loser_loses(void **state)
{
    struct fix *f = *state;
    enum { MANY = 9 };
    struct small s[MANY];
    struct fix answers[MANY];
    for (int i = 0; i < MANY; i++) {
        char part[8];
        snprintf(part, sizeof part, "p%d", i);
        small_init(&s[i], f, i == MANY / 2 ? "p0" : part, 0,
                   i); /* the one in the middle wants what the first has moved */
        s[i].move.part = i == MANY / 2 ? MR_STR("p0") : (struct mr_str){s[i].landing + 2, 2};
        answers[i] = (struct fix){.answers = 0};
        mr_store_decide(f->store, &s[i].d, fix_on_decided, &answers[i]);
    }
    while (!answers[MANY - 1].answers)
        uv_run(&f->loop.uv, UV_RUN_ONCE);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(answers[i].answers, 1);
        assert_int_equal(answers[i].code, i == MANY / 2 ? MR_EFENCED : MR_OK);
        if (i > 0 && i != MANY / 2)
            assert_true(answers[i].number > answers[i - 1].number);
    }
    assert_string_equal(fix_positions(f, "s"),
                        "s/t/p0 v1 {\"at\":0}\ns/t/p1 v1 {\"at\":1}\ns/t/p2 v1 {\"at\":2}\ns/t/p3 v1 {\"at\":3}\n"
                        "s/t/p5 v1 {\"at\":5}\ns/t/p6 v1 {\"at\":6}\ns/t/p7 v1 {\"at\":7}\ns/t/p8 v1 {\"at\":8}\n");
}

static void a_chain_of_decisions_in_one_go_sees_each_the_one_before(void **state)
{
    struct fix *f = *state;
    struct small s[20];
    unsigned before = f->answers;
    for (int i = 0; i < 20; i++) {
        small_init(&s[i], f, "p", i, i);
        mr_store_decide(f->store, &s[i].d, fix_on_decided, f);
    }
    fix_run_until(f, before + 20);
    assert_string_equal(fix_positions(f, "s"), "s/t/p v20 {\"at\":19}\n");
}

static void a_decision_without_a_file_is_published_at_once(void **state)
{
    struct fix *f = *state;
    struct small s;
    small_init(&s, f, "p", 0, 1);
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    assert_string_equal(fix_unpublished(f), "");
    assert_non_null(strstr(fix_landings(f, s.landing, 0, 0), " s published "));
    assert_int_equal(f->day, MR_NO_DAY);
    /* nor does it need a move */
    small_init(&s, f, "q", 0, 1);
    s.d.moves_count = 0;
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    assert_non_null(strstr(fix_landings(f, s.landing, 0, 0), " []\n"));
}

static void a_position_that_is_not_json_is_refused(void **state)
{
    struct fix *f = *state;
    struct small s;
    small_init(&s, f, "p", 0, 1);
    s.move.value = MR_STR("{\"at\":");
    assert_int_equal(fix_decide(f, &s.d), MR_EMALFORMED);
    assert_string_equal(fix_positions(f, NULL), "");
}

static void a_landing_id_is_decided_once(void **state)
{
    struct fix *f = *state;
    struct small s;
    small_init(&s, f, "p", 0, 1);
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    s.move.expected_version = 1;
    assert_int_equal(fix_decide(f, &s.d), MR_EEXIST);
    assert_string_equal(fix_positions(f, NULL), "s/t/p v1 {\"at\":1}\n");
}

static void rows_are_kept_by_version_and_deleted(void **state)
{
    struct fix *f = *state;
    struct small s;
    struct mr_row r[3] = {
        {MR_STR("s"), MR_STR("t"), MR_STR("token"), MR_STR("a"), MR_STR("1"), 0},
        {MR_STR("s"), MR_STR("t"), MR_STR("token"), MR_STR("b"), MR_STR("2"), -1},
        {MR_STR("s"), MR_STR("t"), MR_STR("page"), MR_STR("c"), MR_STR("3"), 0},
    };
    small_init(&s, f, "p", 0, 1);
    s.d.rows = r;
    s.d.rows_count = 3;
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    assert_string_equal(fix_rows(f, NULL, NULL, 10), "token a v1 1\ntoken b v1 2\npage c v1 3\n");
    assert_string_equal(fix_rows(f, "token", NULL, 1), "token a v1 1\n");
    assert_string_equal(fix_rows(f, "token", "a", 10), "token b v1 2\n");
    /* rows count behind the moves */
    small_init(&s, f, "p", 1, 2);
    s.d.rows = r;
    s.d.rows_count = 1;
    assert_int_equal(fix_decide(f, &s.d), MR_EFENCED);
    assert_int_equal(f->which, 1);
    assert_int_equal(fix_position(f, "s", "t", "p"), MR_OK);
    assert_int_equal(f->version, 1);
    r[0].expected_version = 1;
    r[0].value = (struct mr_str){NULL, 0};
    r[1].value = MR_STR("22");
    s.d.rows_count = 2;
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    assert_string_equal(fix_rows(f, "token", NULL, 10), "token b v2 22\n");
}

static void published_landings_are_no_more_to_be_finished(void **state)
{
    struct fix *f = *state;
    struct small a, b;
    small_init(&a, f, "a", 0, 1);
    small_file(&a, TEST_DAY);
    small_init(&b, f, "b", 0, 1);
    small_file(&b, TEST_DAY);
    assert_int_equal(fix_decide(f, &a.d), MR_OK);
    int64_t first = f->number;
    assert_int_equal(fix_decide(f, &b.d), MR_OK);
    assert_int_equal(fix_published(f, first), MR_OK);
    assert_int_equal(fix_published(f, first), MR_OK); /* it can be repeated */
    assert_null(strstr(fix_unpublished(f), "L-a"));
    assert_non_null(strstr(f->text, "L-b"));
    assert_int_equal(WAIT_DONE(f, mr_store_lost(f->store, first + 1, fix_on_done, f)), MR_OK);
    assert_string_equal(fix_unpublished(f), "");
    assert_non_null(strstr(fix_landings(f, "L-b-0-1", 0, 0), " lost "));
}

/* -- instances ----------------------------------------------------------------------------------------------------- */

static void a_swept_instance_can_neither_decide_nor_renew_nor_stage(void **state)
{
    struct fix *f = *state;
    struct small s;
    struct mr_instance old = f->self;
    small_init(&s, f, "p", 0, 1);
    small_file(&s, TEST_DAY);
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    assert_int_equal(fix_begin(f), MR_OK);
    assert_string_not_equal(f->self.id, old.id);
    assert_string_equal(fix_unpublished(f), "");  /* the other one lives: what it decided is its own to publish */
    assert_string_equal(fix_sweep(f, false), ""); /* its lease is long */
    char line[64];
    snprintf(line, sizeof line, "%s 1\n", old.id);
    assert_string_equal(fix_sweep(f, true), line);
    assert_string_equal(fix_sweep(f, true), "");
    assert_non_null(strstr(fix_unpublished(f), "L-p-0-1"));
    small_init(&s, f, "p", 1, 2);
    s.d.instance = old;
    assert_int_equal(fix_decide(f, &s.d), MR_EEPOCH);
    assert_int_equal(WAIT_DONE(f, mr_store_instance_renew(f->store, &old, 1000, fix_on_done, f)), MR_EEPOCH);
    assert_int_equal(WAIT_DONE(f, mr_store_instance_end(f->store, &old, fix_on_done, f)), MR_EEPOCH);
    assert_int_equal(
        WAIT_DONE(f, mr_store_stage_begin(f->store, &old, MR_STR("W"), MR_STR("s"), TEST_DAY, fix_on_done, f)),
        MR_EEPOCH);
    s.d.instance = f->self;
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    s.d.instance.epoch = 2;
    assert_int_equal(fix_decide(f, &s.d), MR_EEPOCH);
}

static void a_lease_that_ran_out_is_swept_a_renewed_one_is_not(void **state)
{
    struct fix *f = *state;
    struct mr_instance first = f->self, second;
    assert_int_equal(fix_begin(f), MR_OK);
    second = f->self;
    assert_int_equal(fix_begin(f), MR_OK);
    assert_int_equal(WAIT_DONE(f, mr_store_instance_renew(f->store, &first, -1000, fix_on_done, f)), MR_OK);
    assert_int_equal(WAIT_DONE(f, mr_store_instance_renew(f->store, &second, 60000, fix_on_done, f)), MR_OK);
    char line[64];
    snprintf(line, sizeof line, "%s 1\n", first.id);
    assert_string_equal(fix_sweep(f, false), line);
    assert_int_equal(WAIT_DONE(f, mr_store_instance_end(f->store, &second, fix_on_done, f)), MR_OK);
    assert_int_equal(WAIT_DONE(f, mr_store_instance_renew(f->store, &second, 60000, fix_on_done, f)), MR_EEPOCH);
    assert_string_equal(fix_sweep(f, true), "");
}

/* -- sealing ------------------------------------------------------------------------------------------------------- */

static void a_sealed_day_takes_no_decision_and_says_which_is_the_last(void **state)
{
    struct fix *f = *state;
    struct small s;
    assert_int_equal(fix_seal(f, TEST_DAY), MR_OK);
    assert_false(f->blocked);
    assert_int_equal(f->day, TEST_DAY);
    assert_int_equal(mr_store_facts(f->store)->sealed_through, TEST_DAY);
    small_init(&s, f, "p", 0, 1);
    small_file(&s, TEST_DAY);
    assert_int_equal(fix_decide(f, &s.d), MR_ESEALED);
    assert_int_equal(f->day, TEST_DAY);
    s.d.day = TEST_DAY - 7;
    assert_int_equal(fix_decide(f, &s.d), MR_ESEALED);
    s.d.day = TEST_DAY + 1;
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    assert_int_equal(f->day, TEST_DAY);
    assert_int_equal(
        WAIT_DONE(f, mr_store_stage_begin(f->store, &f->self, MR_STR("W"), MR_STR("s"), TEST_DAY, fix_on_done, f)),
        MR_ESEALED);
    /* it never goes back */
    assert_int_equal(fix_seal(f, TEST_DAY - 3), MR_OK);
    assert_int_equal(f->day, TEST_DAY);
    fix_close(f);
    assert_int_equal(fix_open(f, true), MR_OK);
    assert_int_equal(mr_store_facts(f->store)->sealed_through, TEST_DAY);
}

static void sealing_waits_for_open_and_unpublished_landings(void **state)
{
    struct fix *f = *state;
    struct small s;
    struct mr_instance gone = f->self;
    assert_int_equal(
        WAIT_DONE(f, mr_store_stage_begin(f->store, &gone, MR_STR("W"), MR_STR("s"), TEST_DAY, fix_on_done, f)), MR_OK);
    assert_int_equal(fix_seal(f, TEST_DAY), MR_OK);
    assert_true(f->blocked);
    assert_int_equal(f->day, MR_NO_DAY);
    assert_int_equal(fix_seal(f, TEST_DAY - 1), MR_OK); /* the day before is nobody's */
    assert_false(f->blocked);
    assert_int_equal(WAIT_DONE(f, mr_store_stage_end(f->store, MR_STR("W"), fix_on_done, f)), MR_OK);
    small_init(&s, f, "p", 0, 1);
    small_file(&s, TEST_DAY);
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    int64_t number = f->number;
    assert_int_equal(fix_seal(f, TEST_DAY), MR_OK);
    assert_true(f->blocked);
    assert_int_equal(fix_published(f, number), MR_OK);
    assert_int_equal(fix_seal(f, TEST_DAY), MR_OK);
    assert_false(f->blocked);
    /* an instance that ended holds nothing open */
    assert_int_equal(
        WAIT_DONE(f, mr_store_stage_begin(f->store, &gone, MR_STR("V"), MR_STR("s"), TEST_DAY + 1, fix_on_done, f)),
        MR_OK);
    assert_int_equal(fix_begin(f), MR_OK);
    fix_sweep(f, true);
    assert_int_equal(fix_seal(f, TEST_DAY + 1), MR_OK);
    assert_false(f->blocked);
    assert_int_equal(f->day, TEST_DAY + 1);
}

static void a_whole_landings_decision_closes_its_stage(void **state)
{
    struct fix *f = *state;
    struct small s;
    small_init(&s, f, "p", 0, 1);
    small_file(&s, TEST_DAY);
    assert_int_equal(
        WAIT_DONE(f, mr_store_stage_begin(f->store, &f->self, s.d.landing, MR_STR("s"), TEST_DAY, fix_on_done, f)),
        MR_OK);
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    assert_int_equal(fix_published(f, f->number), MR_OK);
    assert_int_equal(fix_seal(f, TEST_DAY), MR_OK);
    assert_false(f->blocked);
}

/* -- staged uploads ------------------------------------------------------------------------------------------------ */

static void on_uploads(void *arg, const struct mr_err *err, const struct mr_upload *uploads, size_t count)
{
    struct fix *f = arg;
    assert_int_equal(err->code, MR_OK);
    f->text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(f->text);
        snprintf(f->text + n, sizeof f->text - n, "%s %s \"%s\"%s\n", uploads[i].landing.p, uploads[i].path.p, uploads[i].id.p, uploads[i].settled ? " settled" : "");
    }
    f->answers++;
}

static const char *left_uploads(struct fix *f)
{
    mr_store_uploads(f->store, on_uploads, f);
    fix_run_until(f, f->answers + 1);
    return f->text;
}

static enum mr_code note_upload(struct fix *f, const struct mr_instance *who, struct mr_str landing, const char *path, const char *id)
{
    const struct mr_upload u = {.landing = landing, .path = mr_str_c(path), .id = mr_str_c(id)};
    return WAIT_DONE(f, mr_store_upload(f->store, who, &u, fix_on_done, f));
}

static void uploads_are_told_once_their_instance_has_ended(void **state)
{
    struct fix *f = *state;
    struct small s;
    struct mr_instance old = f->self;
    small_init(&s, f, "p", 0, 1);
    small_file(&s, TEST_DAY);
    s.d.uploads = true;
    assert_int_equal(note_upload(f, &old, s.d.landing, "a/decided", ""), MR_OK);
    assert_int_equal(note_upload(f, &old, s.d.landing, "a/decided", "u1"), MR_OK);
    assert_int_equal(note_upload(f, &old, MR_STR("L2"), "b/known", ""), MR_OK);
    assert_int_equal(note_upload(f, &old, MR_STR("L2"), "b/known", "u2"), MR_OK);
    assert_int_equal(note_upload(f, &old, MR_STR("L2"), "c/asked", ""), MR_OK);
    assert_int_equal(note_upload(f, &old, MR_STR("L2"), "d/dropped", ""), MR_OK);
    const struct mr_str dropped[] = {MR_STR("d/dropped"), MR_STR("d/never")};
    assert_int_equal(WAIT_DONE(f, mr_store_uploads_gone(f->store, dropped, 2, fix_on_done, f)), MR_OK);
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    assert_string_equal(left_uploads(f), ""); /* it lives: they are its own */
    assert_int_equal(fix_begin(f), MR_OK);
    fix_sweep(f, true);
    assert_string_equal(left_uploads(f), "L2 b/known \"u2\"\nL2 c/asked \"\"\n");
    /* it wakes, not knowing: what it asked for just before is found, what it has not begun it does not begin */
    assert_int_equal(note_upload(f, &old, MR_STR("L3"), "e/late", ""), MR_EEPOCH);
    assert_int_equal(note_upload(f, &old, MR_STR("L2"), "c/asked", "u3"), MR_OK);
    assert_string_equal(left_uploads(f), "L2 b/known \"u2\"\nL2 c/asked \"u3\"\n");
    /* what one that lives has given up is told at once, and not yet settled */
    const struct mr_upload given_up = {.path = MR_STR("f/given"), .id = MR_STR("u4"), .orphan = true};
    assert_int_equal(note_upload(f, &f->self, MR_STR("L4"), "f/given", ""), MR_OK);
    assert_int_equal(WAIT_DONE(f, mr_store_upload(f->store, &f->self, &given_up, fix_on_done, f)), MR_OK);
    assert_string_equal(left_uploads(f), "L2 b/known \"u2\"\nL2 c/asked \"u3\"\nL4 f/given \"u4\"\n");
    const struct mr_str ended[] = {MR_STR("b/known"), MR_STR("c/asked"), MR_STR("f/given")};
    assert_int_equal(WAIT_DONE(f, mr_store_uploads_gone(f->store, ended, 3, fix_on_done, f)), MR_OK);
    assert_string_equal(left_uploads(f), "");
}

static void on_counts(void *arg, const struct mr_err *err, const struct mr_day_count *c, size_t count)
{
    struct fix *f = arg;
    f->answers++;
    f->code = err->code;
    f->text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        snprintf(f->text + strlen(f->text), sizeof f->text - strlen(f->text), "%.*s/%.*s %lld %lld %lld\n",
                 (int)c[i].source.n, c[i].source.p, (int)c[i].stream.n, c[i].stream.p, (long long)c[i].files,
                 (long long)c[i].rows, (long long)c[i].bytes);
}

static void a_days_counts_are_those_of_its_published_files(void **state)
{
    struct fix *f = *state;
    struct small s[3];
    for (int i = 0; i < 3; i++) {
        small_init(&s[i], f, "p", i, i);
        small_file(&s[i], i < 2 ? TEST_DAY : TEST_DAY + 1);
        assert_int_equal(fix_decide(f, &s[i].d), MR_OK);
        assert_int_equal(fix_published(f, f->number), MR_OK);
    }
    mr_store_day_counts(f->store, TEST_DAY, on_counts, f);
    fix_run_until(f, f->answers + 1);
    assert_string_equal(f->text, "s/t 2 6 198\n");
}

/* -- seen ids ------------------------------------------------------------------------------------------------------ */

static struct mr_seen seen_id(unsigned n, unsigned char body, int32_t day)
{
    struct mr_seen s = {.day = day};
    for (int i = 0; i < 4; i++)
        s.id[i] = (unsigned char)(n * 2654435761u >> 8 * i); /* all over the table */
    memset(s.body, body, sizeof s.body);
    return s;
}

static void on_seen(void *arg, const struct mr_err *err, const unsigned char *answers, size_t count)
{
    struct fix *f = arg;
    f->answers++;
    f->code = err->code;
    if (count)
        memcpy(f->seen, answers, count);
}

static const unsigned char *look(struct fix *f, const struct mr_seen *ids, int32_t first, size_t count)
{
    int32_t days[64];
    assert_true(count <= MR_COUNT(days));
    for (size_t i = 0; i < count; i++)
        days[i] = first;
    mr_store_seen(f->store, ids, days, count, on_seen, f);
    fix_run_until(f, f->answers + 1);
    assert_int_equal(f->code, MR_OK);
    return f->seen;
}

static void decide_ids(struct fix *f, const char *part, struct mr_seen *ids, size_t count, enum mr_code expected)
{
    struct small s;
    small_init(&s, f, part, 0, (int)count);
    s.d.seen = ids;
    s.d.seen_count = count;
    assert_int_equal(fix_decide(f, &s.d), expected);
}

static void seen_ids_are_found_in_the_days_asked_for_and_outlive_a_reopen(void **state)
{
    struct fix *f = *state;
    struct mr_seen ids[4] = {seen_id(1, 1, TEST_DAY), seen_id(2, 1, TEST_DAY), seen_id(3, 1, TEST_DAY + 1),
                             seen_id(4, 1, TEST_DAY + 1)};
    decide_ids(f, "p", ids, 4, MR_OK);
    fix_close(f);
    assert_int_equal(fix_open(f, true), MR_OK);
    struct mr_seen asked[5] = {seen_id(4, 1, TEST_DAY + 1), seen_id(9, 1, TEST_DAY + 1), seen_id(1, 2, TEST_DAY + 1),
                               seen_id(3, 1, TEST_DAY), seen_id(3, 1, TEST_DAY - 1)};
    const unsigned char *got = look(f, asked, TEST_DAY - 3, 5);
    assert_int_equal(got[0], MR_SEEN_SAME);
    assert_int_equal(got[1], MR_SEEN_NO);
    assert_int_equal(got[2], MR_SEEN_OTHER_BODY);
    assert_int_equal(got[3], MR_SEEN_SAME); /* of the day after: a clock that was set back */
    assert_int_equal(got[4], MR_SEEN_NO);
    got = look(f, asked, TEST_DAY + 1, 3);
    assert_int_equal(got[0], MR_SEEN_SAME);
    assert_int_equal(got[2], MR_SEEN_NO); /* the window has passed its day */
    look(f, asked, 0, 0);
}

/* More than are read in one piece: looked for before the reading, within it and behind it. */
static void ids_of_the_process_before_are_found_while_the_store_is_still_reading_them(void **state)
{
    enum { MANY = 50000 };
    struct fix *f = *state;
    struct mr_seen *ids = calloc(MANY, sizeof *ids);
    assert_non_null(ids);
    for (unsigned i = 0; i < MANY; i++)
        ids[i] = seen_id(i, 1, i < MANY / 2 ? TEST_DAY : TEST_DAY + 1);
    decide_ids(f, "p", ids, MANY, MR_OK);
    fix_close(f);
    assert_int_equal(fix_open(f, true), MR_OK);
    for (unsigned turn = 0; turn < 400; turn++) {
        struct mr_seen asked[3] = {ids[turn * 7919 % MANY], seen_id(MANY + turn, 1, TEST_DAY + 1), ids[MANY - 1 - turn]};
        const unsigned char *got = look(f, asked, TEST_DAY - 3, 3);
        assert_int_equal(got[0], MR_SEEN_SAME);
        assert_int_equal(got[1], MR_SEEN_NO);
        assert_int_equal(got[2], MR_SEEN_SAME);
    }
    decide_ids(f, "q", &ids[17], 1, MR_ESEEN);
    free(ids);
}

static void an_id_that_another_landing_inserted_drops_this_one_whole(void **state)
{
    struct fix *f = *state;
    struct mr_seen ids[3] = {seen_id(1, 1, TEST_DAY), seen_id(2, 1, TEST_DAY), seen_id(3, 1, TEST_DAY)};
    decide_ids(f, "a", ids + 1, 1, MR_OK);
    decide_ids(f, "b", ids, 3, MR_ESEEN);
    assert_int_equal(f->which, 1);
    const unsigned char *got = look(f, ids, TEST_DAY, 3);
    assert_int_equal(got[0], MR_SEEN_NO);
    assert_int_equal(got[2], MR_SEEN_NO);
    assert_string_equal(fix_positions(f, NULL), "s/t/a v1 {\"at\":1}\n");
    /* it came the day before, or, by a clock set back, the day after */
    struct mr_seen tomorrow = seen_id(2, 1, TEST_DAY + 1), yesterday = seen_id(2, 1, TEST_DAY - 1),
                   later = seen_id(2, 1, TEST_DAY + 2);
    decide_ids(f, "c", &tomorrow, 1, MR_ESEEN);
    decide_ids(f, "d", &yesterday, 1, MR_ESEEN);
    decide_ids(f, "e", &later, 1, MR_OK);
    struct mr_seen twice[2] = {seen_id(7, 1, TEST_DAY), seen_id(7, 1, TEST_DAY)};
    decide_ids(f, "f", twice, 2, MR_ESEEN);
    assert_int_equal(f->which, 1);
}

static void a_large_decision_that_loses_leaves_nothing_and_its_neighbours_win(void **state)
{
    struct fix *f = *state;
    enum { LARGE = 5000 };
    struct mr_seen *ids = calloc(LARGE, sizeof *ids);
    struct small s[3];
    struct fix answers[3] = {{.answers = 0}};
    assert_non_null(ids);
    for (unsigned i = 0; i < LARGE; i++)
        ids[i] = seen_id(i < LARGE - 1 ? i : 0, 1, TEST_DAY);
    for (int i = 0; i < 3; i++) {
        static const char *const parts[] = {"a", "b", "c"};
        small_init(&s[i], f, parts[i], 0, i);
    }
    s[1].d.seen = ids;
    s[1].d.seen_count = LARGE;
    for (int i = 0; i < 3; i++)
        mr_store_decide(f->store, &s[i].d, fix_on_decided, &answers[i]);
    while (!answers[2].answers)
        uv_run(&f->loop.uv, UV_RUN_ONCE);
    assert_int_equal(answers[0].code, MR_OK);
    assert_int_equal(answers[1].code, MR_ESEEN);
    assert_int_equal(answers[1].which, LARGE - 1);
    assert_int_equal(answers[2].code, MR_OK);
    assert_string_equal(fix_positions(f, NULL), "s/t/a v1 {\"at\":0}\ns/t/c v1 {\"at\":2}\n");
    assert_int_equal(look(f, ids, TEST_DAY, 1)[0], MR_SEEN_NO);
    s[1].d.seen_count = LARGE - 1;
    assert_int_equal(fix_decide(f, &s[1].d), MR_OK);
    assert_int_equal(look(f, ids, TEST_DAY, 64)[63], MR_SEEN_SAME);
    free(ids);
}

static void the_first_id_of_a_day_survives_a_landing_that_lost(void **state)
{
    struct fix *f = *state;
    struct mr_seen twice[2] = {seen_id(7, 1, TEST_DAY), seen_id(7, 1, TEST_DAY)};
    decide_ids(f, "a", twice, 2, MR_ESEEN); /* it had made the day's table */
    decide_ids(f, "b", twice, 1, MR_OK);
    assert_int_equal(look(f, twice, TEST_DAY, 1)[0], MR_SEEN_SAME);
}

/* -- people -------------------------------------------------------------------------------------------------------- */

static void a_person_sets_a_position_and_the_server_is_fenced(void **state)
{
    struct fix *f = *state;
    struct small s;
    small_init(&s, f, "p", 0, 1);
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    assert_int_equal(WAIT_DONE(f, mr_store_position_set(f->store, MR_STR("s"), MR_STR("t"), MR_STR("p"),
                                                        MR_STR("{\"at\":0}"), fix_on_done, f)),
                     MR_OK);
    small_init(&s, f, "p", 1, 2);
    assert_int_equal(fix_decide(f, &s.d), MR_EFENCED);
    assert_string_equal(fix_positions(f, "s"), "s/t/p v2 {\"at\":0}\n");
    assert_int_equal(WAIT_DONE(f, mr_store_position_set(f->store, MR_STR("s"), MR_STR("t"), MR_STR("p"),
                                                        MR_STR("{at:0}"), fix_on_done, f)),
                     MR_EMALFORMED);
    assert_int_equal(WAIT_DONE(f, mr_store_position_set(f->store, MR_STR("n"), MR_STR("t"), MR_STR(""), MR_STR("1"),
                                                        fix_on_done, f)),
                     MR_OK);
    assert_string_equal(fix_positions(f, NULL), "n/t/ v1 1\ns/t/p v2 {\"at\":0}\n");
}

static void a_person_deletes_positions(void **state)
{
    struct fix *f = *state;
    struct small s;
    const struct mr_str none = {NULL, 0};
    const char *parts[] = {"p", "q", "r"};
    for (int i = 0; i < 3; i++) {
        small_init(&s, f, parts[i], 0, i);
        assert_int_equal(fix_decide(f, &s.d), MR_OK);
    }
    assert_int_equal(
        WAIT_DONE(f, mr_store_position_set(f->store, MR_STR("s"), MR_STR("t"), MR_STR("q"), none, fix_on_done, f)),
        MR_OK);
    assert_string_equal(fix_positions(f, NULL), "s/t/p v1 {\"at\":0}\ns/t/r v1 {\"at\":2}\n");
    small_init(&s, f, "q", 1, 9);
    assert_int_equal(fix_decide(f, &s.d), MR_EFENCED);
    assert_int_equal(
        WAIT_DONE(f, mr_store_position_set(f->store, MR_STR("s"), MR_STR("t"), none, none, fix_on_done, f)), MR_OK);
    assert_string_equal(fix_positions(f, NULL), "");
    assert_int_equal(WAIT_DONE(f, mr_store_position_set(f->store, MR_STR("s"), none, none, none, fix_on_done, f)),
                     MR_ENOENT);
}

static void on_paused(void *arg, const struct mr_err *err, const struct mr_str *sources, size_t count)
{
    struct fix *f = arg;
    f->answers++;
    f->code = err->code;
    f->text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        snprintf(f->text + strlen(f->text), sizeof f->text - strlen(f->text), "%.*s\n", (int)sources[i].n,
                 sources[i].p);
}

static const char *paused(struct fix *f)
{
    mr_store_paused(f->store, on_paused, f);
    fix_run_until(f, f->answers + 1);
    return f->text;
}

static void a_pause_outlives_a_restart(void **state)
{
    struct fix *f = *state;
    assert_string_equal(paused(f), "");
    assert_int_equal(WAIT_DONE(f, mr_store_pause(f->store, MR_STR("b"), true, fix_on_done, f)), MR_OK);
    assert_int_equal(WAIT_DONE(f, mr_store_pause(f->store, MR_STR("a"), true, fix_on_done, f)), MR_OK);
    assert_int_equal(WAIT_DONE(f, mr_store_pause(f->store, MR_STR("a"), true, fix_on_done, f)), MR_OK);
    fix_close(f);
    assert_int_equal(fix_open(f, false), MR_OK);
    assert_string_equal(paused(f), "a\nb\n");
    assert_int_equal(WAIT_DONE(f, mr_store_pause(f->store, MR_STR("a"), false, fix_on_done, f)), MR_OK);
    assert_string_equal(paused(f), "b\n");
}

static void adopting_raises_the_numbers_for_good(void **state)
{
    struct fix *f = *state;
    struct small s;
    assert_int_equal(WAIT_DONE(f, mr_store_adopt(f->store, 0, fix_on_done, f)), MR_OK);
    assert_true(mr_store_facts(f->store)->fresh);
    assert_int_equal(WAIT_DONE(f, mr_store_adopt(f->store, 1000, fix_on_done, f)), MR_OK);
    assert_int_equal(mr_store_facts(f->store)->last_number, 1000);
    fix_close(f);
    assert_int_equal(fix_open(f, true), MR_OK);
    assert_int_equal(mr_store_facts(f->store)->last_number, 1000);
    small_init(&s, f, "p", 0, 1);
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    assert_int_equal(f->number, 1001);
    assert_int_equal(WAIT_DONE(f, mr_store_adopt(f->store, 5, fix_on_done, f)), MR_OK);
    assert_int_equal(mr_store_facts(f->store)->last_number, 1001);
}

/* -- runs and alerts ----------------------------------------------------------------------------------------------- */

static void on_runs(void *arg, const struct mr_err *err, const struct mr_run *r, size_t count)
{
    struct fix *f = arg;
    f->answers++;
    f->code = err->code;
    f->text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        snprintf(f->text + strlen(f->text), sizeof f->text - strlen(f->text), "%.*s/%.*s %.*s %lld-%lld %lld %.*s\n",
                 (int)r[i].source.n, r[i].source.p, (int)r[i].stream.n, r[i].stream.p, (int)r[i].outcome.n,
                 r[i].outcome.p, (long long)r[i].started_us, (long long)r[i].ended_us, (long long)r[i].rows,
                 (int)r[i].bounds.n, r[i].bounds.p ? r[i].bounds.p : "");
}

static const char *last_runs(struct fix *f)
{
    mr_store_last_runs(f->store, (struct mr_str){0}, on_runs, f);
    fix_run_until(f, f->answers + 1);
    return f->text;
}

static const char *last_runs_of(struct fix *f, struct mr_str source)
{
    mr_store_last_runs(f->store, source, on_runs, f);
    fix_run_until(f, f->answers + 1);
    return f->text;
}

static void run(struct fix *f, const char *stream, int64_t at, int64_t rows)
{
    struct mr_run r = {.source = MR_STR("s"),
                           .stream = mr_str_c(stream),
                           .outcome = MR_STR("ok"),
                           .started_us = at,
                           .ended_us = at + 5,
                           .rows = rows};
    assert_int_equal(WAIT_DONE(f, mr_store_run(f->store, &r, fix_on_done, f)), MR_OK);
}

static void the_newest_run_of_each_stream_is_told_and_empty_ones_are_one(void **state)
{
    struct fix *f = *state;
    run(f, "t", 100, 7);
    run(f, "u", 150, 1);
    run(f, "t", 200, 0);
    run(f, "t", 300, 0);
    run(f, "t", 400, 0);
    assert_string_equal(last_runs(f), "s/t ok 200-405 0 \ns/u ok 150-155 1 \n");
    run(f, "t", 500, 2);
    assert_string_equal(last_runs(f), "s/t ok 500-505 2 \ns/u ok 150-155 1 \n");
    struct mr_run other = {.source = MR_STR("r"), .stream = MR_STR("t"), .outcome = MR_STR("failed"), .error = MR_STR("no"), .started_us = 600, .ended_us = 601, .bounds = MR_STR("[1]")};
    assert_int_equal(WAIT_DONE(f, mr_store_run(f->store, &other, fix_on_done, f)), MR_OK);
    assert_string_equal(last_runs_of(f, MR_STR("s")), "s/t ok 500-505 2 \ns/u ok 150-155 1 \n");
    assert_string_equal(last_runs_of(f, MR_STR("r")), "r/t failed 600-601 0 [1]\n");
    assert_string_equal(last_runs_of(f, MR_STR("nobody")), "");
    assert_string_equal(last_runs(f), "r/t failed 600-601 0 [1]\ns/t ok 500-505 2 \ns/u ok 150-155 1 \n");
}

static void on_alerts(void *arg, const struct mr_err *err, const struct mr_alert *a, size_t count)
{
    struct fix *f = arg;
    f->answers++;
    f->code = err->code;
    f->text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        snprintf(f->text + strlen(f->text), sizeof f->text - strlen(f->text), "%s %s/%s %s %lld %lld x%llu\n",
                 mr_alert_rows[a[i].id].name, a[i].source, a[i].stream, a[i].text, (long long)a[i].opened_us,
                 (long long)a[i].changed_us, (unsigned long long)a[i].repeats);
}

static const char *alerts(struct fix *f)
{
    mr_store_alerts(f->store, on_alerts, f);
    fix_run_until(f, f->answers + 1);
    return f->text;
}

static void alerts_open_repeat_and_close(void **state)
{
    struct fix *f = *state;
    struct mr_alert a = {
        .id = MR_A_DISK_LOW, .source = "", .stream = "", .text = "1 GiB left", .opened_us = 100, .changed_us = 100};
    struct mr_alert b = {
        .id = MR_A_ID_CONFLICT, .source = "s", .stream = "t", .text = "evt_1", .opened_us = 200, .changed_us = 200};
    assert_int_equal(WAIT_DONE(f, mr_store_alert(f->store, &a, fix_on_done, f)), MR_OK);
    assert_int_equal(WAIT_DONE(f, mr_store_alert(f->store, &b, fix_on_done, f)), MR_OK);
    a.text = "1 MiB left";
    a.repeats = 4;
    a.changed_us = 300;
    assert_int_equal(WAIT_DONE(f, mr_store_alert(f->store, &a, fix_on_done, f)), MR_OK);
    fix_close(f);
    assert_int_equal(fix_open(f, true), MR_OK);
    assert_string_equal(alerts(f), "disk_low / 1 MiB left 100 300 x4\nid_conflict s/t evt_1 200 200 x0\n");
    a.closed_us = 400;
    assert_int_equal(WAIT_DONE(f, mr_store_alert(f->store, &a, fix_on_done, f)), MR_OK);
    assert_string_equal(alerts(f), "id_conflict s/t evt_1 200 200 x0\n");
}

/* -- retention ----------------------------------------------------------------------------------------------------- */

static void keep_deletes_the_old_but_neither_unpublished_nor_lost_nor_newest(void **state)
{
    struct fix *f = *state;
    enum { MANY = 1203 }; /* some slices */
    struct small *s = calloc(MANY, sizeof *s);
    assert_non_null(s);
    unsigned before = f->answers;
    for (int i = 0; i < MANY; i++) {
        small_init(&s[i], f, "p", i, i);
        small_file(&s[i], TEST_DAY);
        mr_store_decide(f->store, &s[i].d, fix_on_decided, f);
    }
    fix_run_until(f, before + MANY);
    int64_t last = f->number;
    for (int64_t n = last - MANY + 1; n <= last; n++) { /* all but two */
        if (n == last - 1)
            assert_int_equal(WAIT_DONE(f, mr_store_lost(f->store, n, fix_on_done, f)), MR_OK);
        else if (n != last - 2)
            assert_int_equal(fix_published(f, n), MR_OK);
    }
    run(f, "t", 100, 7);
    run(f, "t", 200, 7);
    struct mr_alert a = {.id = MR_A_DISK_LOW,
                         .source = "",
                         .stream = "",
                         .text = "x",
                         .opened_us = 100,
                         .changed_us = 100,
                         .closed_us = 150};
    assert_int_equal(WAIT_DONE(f, mr_store_alert(f->store, &a, fix_on_done, f)), MR_OK);
    struct mr_keep keep = {.before_us = mr_wall_us() + 1000000, .seen_before_day = MR_NO_DAY};
    before = f->answers;
    fix_keep(f, &keep);
    assert_int_equal(f->code, MR_OK);
    assert_int_equal(f->number, (MANY - 3) * 2 + 1 + 1); /* landings with a file each, a run, an alert */
    assert_int_equal(f->day, MR_NO_DAY);
    fix_landings(f, NULL, 0, 100);
    assert_non_null(strstr(f->text, " decided "));
    assert_non_null(strstr(f->text, " lost "));
    assert_non_null(strstr(f->text, " published "));
    assert_string_equal(last_runs(f), "s/t ok 200-205 7 \n");
    assert_int_equal(mr_store_facts(f->store)->last_number, last);
    fix_keep(f, &keep);
    assert_int_equal(f->number, 0);
    keep.before_us = 1;
    fix_keep(f, &keep);
    assert_int_equal(f->number, 0);
    free(s);
}

static void on_kept(void *arg, const struct mr_err *err, const struct mr_kept *kept)
{
    (void)kept;
    fix_on_done(arg, err);
}

static void keep_lets_decisions_pass_between_its_slices(void **state)
{
    struct fix *f = *state;
    struct small s;
    struct fix kept = {.answers = 0};
    for (int day = 0; day < 20; day++) {
        struct mr_seen id = seen_id(1000 + (unsigned)day, 1, TEST_DAY + 2 * day);
        char part[8];
        snprintf(part, sizeof part, "k%d", day);
        decide_ids(f, part, &id, 1, MR_OK);
    }
    struct mr_keep keep = {.before_us = 1, .seen_before_day = TEST_DAY + 100};
    mr_store_keep(f->store, &keep, on_kept, &kept);
    small_init(&s, f, "p", 0, 1);
    assert_int_equal(fix_decide(f, &s.d), MR_OK);
    assert_int_equal(kept.answers, 0);
    while (!kept.answers)
        uv_run(&f->loop.uv, UV_RUN_ONCE);
    assert_int_equal(kept.code, MR_OK);
}

static void keep_drops_days_of_ids_by_age_and_by_number(void **state)
{
    struct fix *f = *state;
    for (unsigned day = 0; day < 5; day++) {
        struct mr_seen ids[3];
        char part[8];
        for (unsigned i = 0; i < 3; i++)
            ids[i] = seen_id(10 * day + i, 1, TEST_DAY + (int32_t)day);
        snprintf(part, sizeof part, "k%u", day);
        decide_ids(f, part, ids, 3, MR_OK);
    }
    struct mr_keep keep = {.before_us = 1, .seen_before_day = TEST_DAY + 1, .seen_max_ids = 7};
    fix_keep(f, &keep);
    assert_int_equal(f->code, MR_OK);
    assert_int_equal(f->day, TEST_DAY + 3); /* 4 days x 3 ids, at most 7: two stay */
    struct mr_seen asked[3] = {seen_id(20, 1, TEST_DAY + 4), seen_id(30, 1, TEST_DAY + 4),
                               seen_id(42, 1, TEST_DAY + 4)};
    const unsigned char *got = look(f, asked, TEST_DAY, 3);
    assert_int_equal(got[0], MR_SEEN_NO);
    assert_int_equal(got[1], MR_SEEN_SAME);
    assert_int_equal(got[2], MR_SEEN_SAME);
    keep.seen_max_ids = 1;
    fix_keep(f, &keep);
    assert_int_equal(f->day, TEST_DAY + 4);
    assert_int_equal(look(f, asked, TEST_DAY, 3)[2], MR_SEEN_SAME); /* the newest day stays, whatever its size */
    /* the day can be used again */
    struct mr_seen old = seen_id(20, 1, TEST_DAY + 2);
    decide_ids(f, "again", &old, 1, MR_OK);
}

int contract_run(const char *url)
{
    char *state = strdup(url);
#define T(name) cmocka_unit_test_prestate_setup_teardown(name, fix_setup_open, fix_teardown, state)
    const struct CMUnitTest contract[] = {
        T(a_new_store_has_an_id_and_has_decided_nothing),
        T(a_decision_moves_positions_and_outlives_a_reopen),
        T(a_lost_compare_and_swap_leaves_nothing),
        T(many_decisions_wait_together_and_only_the_loser_loses),
        T(a_chain_of_decisions_in_one_go_sees_each_the_one_before),
        T(a_decision_without_a_file_is_published_at_once),
        T(a_position_that_is_not_json_is_refused),
        T(a_landing_id_is_decided_once),
        T(rows_are_kept_by_version_and_deleted),
        T(published_landings_are_no_more_to_be_finished),
        T(a_swept_instance_can_neither_decide_nor_renew_nor_stage),
        T(a_lease_that_ran_out_is_swept_a_renewed_one_is_not),
        T(a_sealed_day_takes_no_decision_and_says_which_is_the_last),
        T(sealing_waits_for_open_and_unpublished_landings),
        T(a_whole_landings_decision_closes_its_stage),
        T(uploads_are_told_once_their_instance_has_ended),
        T(a_days_counts_are_those_of_its_published_files),
        T(seen_ids_are_found_in_the_days_asked_for_and_outlive_a_reopen),
        T(ids_of_the_process_before_are_found_while_the_store_is_still_reading_them),
        T(an_id_that_another_landing_inserted_drops_this_one_whole),
        T(a_large_decision_that_loses_leaves_nothing_and_its_neighbours_win),
        T(the_first_id_of_a_day_survives_a_landing_that_lost),
        T(a_person_sets_a_position_and_the_server_is_fenced),
        T(a_person_deletes_positions),
        T(a_pause_outlives_a_restart),
        T(adopting_raises_the_numbers_for_good),
        T(the_newest_run_of_each_stream_is_told_and_empty_ones_are_one),
        T(alerts_open_repeat_and_close),
        T(keep_deletes_the_old_but_neither_unpublished_nor_lost_nor_newest),
        T(keep_lets_decisions_pass_between_its_slices),
        T(keep_drops_days_of_ids_by_age_and_by_number),
    };
    int failures = cmocka_run_group_tests(contract, NULL, NULL);
    free(state);
    return failures;
}
