/* SPDX-License-Identifier: Apache-2.0 */
/* What is appended and acknowledged is read back, in order, once; now and after the next start. */
#include "unit/queue/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct expect {
    uint32_t next_tag;
    size_t size;
    const char *source;
};

static void check_rising(void *arg, const struct mr_queue_record *rec)
{
    struct expect *e = arg;
    uint32_t tag;
    if (!payload_check(rec->payload.p, rec->payload.n, &tag) || tag != e->next_tag || rec->payload.n != e->size)
        abort();
    if (e->source && !mr_str_eq(rec->source, mr_str_c(e->source)))
        abort();
    e->next_tag++;
}

static void send_many(struct fixture *f, struct sent *sent, uint32_t first_tag, size_t n, size_t size)
{
    for (size_t i = 0; i < n; i++) {
        send_one(f, &sent[i], "shop", first_tag + (uint32_t)i, size);
        assert_int_equal(sent[i].code, MR_OK);
    }
    run_until_answered(f);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(sent[i].code, MR_OK);
}

static void records_come_back_in_order_in_this_process_and_in_the_next(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    struct sent sent[500];
    assert_int_equal(queue_open(&f), MR_OK);
    send_many(&f, sent, 1, 500, 1000); /* twice what a segment holds */
    for (size_t i = 0; i < 500; i++)
        assert_int_equal(sent[i].wait.seq, i + 1);
    struct expect e = {1, 1000, "shop"};
    assert_int_equal(read_all(&f, 1, check_rising, &e), 500);
    assert_int_equal(f.horizon, 500);
    queue_close(&f);
    assert_int_equal(queue_open(&f), MR_OK);
    e = (struct expect){1, 1000, "shop"};
    assert_int_equal(read_all(&f, 1, check_rising, &e), 500);
    struct mr_queue_facts facts;
    mr_queue_facts(f.q, &facts);
    assert_int_equal(facts.first, 1);
    assert_int_equal(facts.horizon, 500);
    assert_int_equal(facts.corrupt_bytes, 0);
    send_many(&f, sent, 501, 10, 1000);
    assert_int_equal(sent[0].wait.seq, 501);
    e = (struct expect){251, 1000, "shop"};
    assert_int_equal(read_all(&f, 251, check_rising, &e), 260);
    fixture_free(&f);
}

static void a_queue_keeps_its_id_and_says_whether_it_has_records(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    char id[33], again[33];
    bool has;
    assert_int_equal(mr_queue_identify(f.dir, id, &has, &f.err), MR_ENOENT);
    assert_false(has);
    assert_int_equal(mr_queue_identify(f.dir, again, &has, &f.err), MR_OK);
    assert_string_equal(id, again);
    assert_int_equal(queue_open(&f), MR_OK);
    struct mr_queue_facts facts;
    mr_queue_facts(f.q, &facts);
    assert_string_equal(facts.id, id);
    assert_true(facts.first > facts.horizon);
    queue_close(&f);
    assert_int_equal(mr_queue_identify(f.dir, again, &has, &f.err), MR_OK);
    assert_false(has);
    assert_int_equal(queue_open(&f), MR_OK);
    assert_int_equal(send_wait(&f, "a", 1, 100, NULL), MR_OK);
    queue_close(&f);
    assert_int_equal(mr_queue_identify(f.dir, again, &has, &f.err), MR_OK);
    assert_true(has);
    /* Without the file the id comes from the segments: positions are kept under it. */
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/queue.json", f.dir);
    assert_int_equal(remove(path), 0);
    assert_int_equal(mr_queue_identify(f.dir, again, &has, &f.err), MR_OK);
    assert_string_equal(id, again);
    fixture_free(&f);
}

static void the_next_sequence_is_above_the_tail_and_what_was_asked_for(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    uint64_t seq;
    f.options.next_at_least = 1000;
    assert_int_equal(queue_open(&f), MR_OK);
    assert_int_equal(send_wait(&f, "a", 1, 100, &seq), MR_OK);
    assert_int_equal(seq, 1000);
    queue_close(&f);
    f.options.next_at_least = 5;
    assert_int_equal(queue_open(&f), MR_OK);
    assert_int_equal(send_wait(&f, "a", 2, 100, &seq), MR_OK);
    assert_int_equal(seq, 1001);
    fixture_free(&f);
}

static void records_larger_than_a_segment_are_kept(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    f.options.group_memory = 1 << 20;
    assert_int_equal(queue_open(&f), MR_OK);
    assert_int_equal(send_wait(&f, "small", 1, 100, NULL), MR_OK);
    struct sent big, refused;
    send_one(&f, &big, "big", 2, 3 << 20);
    assert_int_equal(big.code, MR_OK);
    send_one(&f, &refused, "big", 3, 3 << 20); /* group_memory is taken */
    assert_int_equal(refused.code, MR_EBUSY);
    run_until_answered(&f);
    assert_int_equal(big.code, MR_OK);
    assert_int_equal(send_wait(&f, "small", 3, 100, NULL), MR_OK);
    queue_close(&f);
    assert_int_equal(queue_open(&f), MR_OK);
    assert_int_equal(read_all(&f, 1, NULL, NULL), 3);
    fixture_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back_in_order_in_this_process_and_in_the_next),
        cmocka_unit_test(a_queue_keeps_its_id_and_says_whether_it_has_records),
        cmocka_unit_test(the_next_sequence_is_above_the_tail_and_what_was_asked_for),
        cmocka_unit_test(records_larger_than_a_segment_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
