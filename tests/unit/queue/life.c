/* SPDX-License-Identifier: Apache-2.0 */
/* What is appended and acknowledged is read back, in order, once; now and after the next start. */
#include "unit/queue/tests.h"

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

static void wait_for(struct fixture *f, const char *suffix, size_t n)
{
    for (int turns = 0; files_named(f->dir, suffix) != n; turns++) {
        if (turns > 200)
            fail_msg("%zu files *%s, not %zu", files_named(f->dir, suffix), suffix, n);
        uv_run(&f->loop.uv, UV_RUN_ONCE); /* a job's end or the second's tick */
    }
}

static uint64_t in_use(struct fixture *f)
{
    struct mr_queue_facts facts;
    mr_queue_facts(f->q, &facts);
    return facts.segments;
}

static void a_full_queue_refuses_tells_and_resumes_when_segments_are_freed(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    f.options.max_size = 600 << 10;
    assert_int_equal(queue_open(&f), MR_OK);
    uint64_t last = 0;
    enum mr_code rc;
    while ((rc = send_wait(&f, "a", (uint32_t)last + 1, 20000, NULL)) == MR_OK)
        last++;
    assert_int_equal(rc, MR_ENOSPC);
    assert_in_range(last, 20, 31);
    uv_run(&f.loop.uv, UV_RUN_NOWAIT);
    assert_int_equal(mr_alerts_open_count(f.loop.alerts), 1);
    mr_queue_published(f.q, MR_STR("a"), last);
    for (int turns = 0; mr_alerts_open_count(f.loop.alerts) > 0 && turns < 200; turns++)
        uv_run(&f.loop.uv, UV_RUN_ONCE);
    assert_int_equal(mr_alerts_open_count(f.loop.alerts), 0);
    assert_int_equal(send_wait(&f, "a", 100, 20000, NULL), MR_OK);
    fixture_free(&f);
}

static void segments_go_when_every_source_has_published_past_them(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    assert_int_equal(queue_open(&f), MR_OK);
    wait_for(&f, ".tmp", 0);
    assert_int_equal(send_wait(&f, "slow", 1, 1000, NULL), MR_OK);
    for (uint32_t i = 2; i <= 60; i++)
        assert_int_equal(send_wait(&f, "fast", i, 20000, NULL), MR_OK);
    uint64_t before = in_use(&f);
    assert_true(before >= 5);
    mr_queue_published(f.q, MR_STR("fast"), 60);
    while (in_use(&f) > 2)
        uv_run(&f.loop.uv, UV_RUN_ONCE);
    /* The slow one's segment, the current one, and the header of the one in between. */
    wait_for(&f, ".seg", 2);
    wait_for(&f, ".stub", 1);
    queue_close(&f);
    assert_int_equal(queue_open(&f), MR_OK);
    assert_int_equal(read_all(&f, 1, NULL, NULL) >= 1, 1);
    mr_queue_published(f.q, MR_STR("fast"), 60);
    mr_queue_pin(f.q, 1);
    mr_queue_published(f.q, MR_STR("slow"), 1);
    for (int i = 0; i < 20; i++)
        uv_run(&f.loop.uv, UV_RUN_NOWAIT);
    assert_true(in_use(&f) >= 2); /* pinned */
    mr_queue_pin(f.q, 61); /* another loss, later in the queue, does not let go of the first */
    for (int i = 0; i < 20; i++)
        uv_run(&f.loop.uv, UV_RUN_NOWAIT);
    assert_true(in_use(&f) >= 2);
    mr_queue_pin(f.q, 0);
    wait_for(&f, ".stub", 0);
    wait_for(&f, ".seg", 1);
    fixture_free(&f);
}

static void freed_segments_are_recycled_and_two_spares_kept_when_one_segment_is_in_use_at_a_time(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    assert_int_equal(queue_open(&f), MR_OK);
    for (uint32_t i = 1; i <= 200; i++) {
        assert_int_equal(send_wait(&f, "a", i, 20000, NULL), MR_OK);
        mr_queue_published(f.q, MR_STR("a"), i);
    }
    wait_for(&f, ".seg", 1);
    size_t spares = files_named(f.dir, "") - files_named(f.dir, ".seg") - files_named(f.dir, ".json");
    assert_in_range(spares, 1, 2);
    fixture_free(&f);
}

static size_t spares_in(const char *dir)
{
    return files_named(dir, "") - files_named(dir, ".seg") - files_named(dir, ".json") - files_named(dir, ".tmp");
}

static void what_a_burst_used_is_kept_as_spares_and_the_next_burst_takes_them(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    assert_int_equal(queue_open(&f), MR_OK);
    for (uint32_t i = 1; i <= 400; i++) /* some 13 KiB each: a segment takes 19 */
        assert_int_equal(send_wait(&f, "a", i, 20000, NULL), MR_OK);
    size_t in_use = files_named(f.dir, ".seg"), spare = spares_in(f.dir);
    assert_true(in_use > 6);
    mr_queue_published(f.q, MR_STR("a"), 400);
    wait_for(&f, ".seg", 1);
    size_t kept = spares_in(f.dir);
    size_t most = in_use - 1 < 16 ? in_use - 1 : 16;
    assert_in_range(kept, most, most + spare);
    for (uint32_t i = 401; i <= 500; i++)
        assert_int_equal(send_wait(&f, "a", i, 20000, NULL), MR_OK);
    size_t grown = files_named(f.dir, ".seg") - 1;
    assert_true(grown >= 1);
    /* none was filled meanwhile; what was one too many may have gone at a second's tick */
    assert_in_range(spares_in(f.dir), most - grown, kept - grown);
    fixture_free(&f);
}

struct names {
    unsigned n;
    uint64_t slow, fast;
};
static void each_source(void *arg, struct mr_str source, uint64_t last_seq)
{
    struct names *names = arg;
    names->n++;
    if (mr_str_eq(source, MR_STR("slow")))
        names->slow = last_seq;
    if (mr_str_eq(source, MR_STR("fast")))
        names->fast = last_seq;
}

static void sources_and_their_last_sequences_survive(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    assert_int_equal(queue_open(&f), MR_OK);
    assert_int_equal(send_wait(&f, "slow", 1, 1000, NULL), MR_OK);
    for (uint32_t i = 2; i <= 30; i++)
        assert_int_equal(send_wait(&f, "fast", i, 20000, NULL), MR_OK);
    for (int round = 0; round < 3; round++) {
        struct names names = {0};
        mr_queue_sources(f.q, each_source, &names);
        assert_int_equal(names.n, 2);
        assert_int_equal(names.slow, 1);
        assert_int_equal(names.fast, 30);
        queue_close(&f);
        assert_int_equal(queue_open(&f), MR_OK);
    }
    fixture_free(&f);
}

static void a_reader_seeks_back_and_goes_on_when_more_is_durable(void **state)
{
    (void)state;
    struct fixture f;
    struct mr_queue_reader *r;
    struct mr_queue_record rec;
    fixture_init(&f);
    assert_int_equal(queue_open(&f), MR_OK);
    assert_int_equal(mr_queue_reader_new(f.q, 1, &r, &f.err), MR_OK);
    assert_int_equal(mr_queue_next(r, &rec, &f.err), MR_EEND);
    for (uint32_t i = 1; i <= 40; i++) {
        assert_int_equal(send_wait(&f, "a", i, 20000, NULL), MR_OK);
        assert_int_equal(mr_queue_next(r, &rec, &f.err), MR_OK);
        assert_int_equal(rec.seq, i);
        assert_int_equal(mr_queue_next(r, &rec, &f.err), MR_EEND);
    }
    const uint64_t to[] = {7, 40, 1, 22, 23, 41};
    for (size_t i = 0; i < MR_COUNT(to); i++) {
        mr_queue_seek(r, to[i]);
        assert_int_equal(mr_queue_next(r, &rec, &f.err), to[i] <= 40 ? MR_OK : MR_EEND);
        if (to[i] <= 40)
            assert_int_equal(rec.seq, to[i]);
    }
    mr_queue_reader_free(r);
    fixture_free(&f);
}

/* -- a random life against a list ------------------------------------------------------------------------------- */

enum { MODEL_MAX = 6000 };
struct model {
    struct {
        uint32_t tag, size;
        unsigned char source;
        bool acked, seen;
    } by_seq[MODEL_MAX];
    uint64_t published[3];
};
static const char *const model_sources[] = {"alpha", "beta", "gamma"};

static void check_model(void *arg, const struct mr_queue_record *rec)
{
    struct model *m = arg;
    uint32_t tag;
    if (rec->seq >= MODEL_MAX || m->by_seq[rec->seq].seen || !m->by_seq[rec->seq].acked)
        abort();
    m->by_seq[rec->seq].seen = true;
    if (!payload_check(rec->payload.p, rec->payload.n, &tag) || tag != m->by_seq[rec->seq].tag ||
        rec->payload.n != m->by_seq[rec->seq].size ||
        !mr_str_eq(rec->source, mr_str_c(model_sources[m->by_seq[rec->seq].source])))
        abort();
}

/* What a process that dies now leaves: opened elsewhere, it must give every acknowledged, unpublished record. */
static void check_crash(const struct fixture *f, struct model *m, uint64_t last, unsigned serial)
{
    struct fixture g;
    char copy[PATH_MAX / 4];
    snprintf(copy, sizeof copy, "%.900s.m%u", f->root, serial);
    copy_tree(f->root, copy);
    fixture_init_at(&g, copy);
    g.options.segment_size = f->options.segment_size;
    assert_int_equal(queue_open(&g), MR_OK);
    for (uint64_t seq = 1; seq <= last; seq++)
        m->by_seq[seq].seen = false;
    (void)read_all(&g, 1, check_model, m);
    for (uint64_t seq = 1; seq <= last; seq++)
        if (m->by_seq[seq].acked && seq > m->published[m->by_seq[seq].source])
            assert_true(m->by_seq[seq].seen);
    struct mr_queue_facts facts;
    mr_queue_facts(g.q, &facts);
    assert_int_equal(facts.corrupt_bytes, 0);
    fixture_free(&g);
}

static void what_recycled_blocks_held_never_comes_back(void **state)
{
    (void)state;
    struct fixture f;
    static struct model m;
    struct sent sent[24];
    uint32_t random = 2463534242u;
    uint64_t last = 0;
    memset(&m, 0, sizeof m);
    fixture_init(&f);
    f.options.segment_size = 64 << 10;
    assert_int_equal(queue_open(&f), MR_OK);
    for (unsigned step = 0; step < 260; step++) {
        unsigned n = 1 + next_random(&random) % 24;
        for (unsigned i = 0; i < n; i++) {
            unsigned source = next_random(&random) % 3, size = 8 + next_random(&random) % 3000;
            uint32_t tag = next_random(&random);
            send_one(&f, &sent[i], model_sources[source], tag, size);
            assert_int_equal(sent[i].code, MR_OK);
            last = sent[i].wait.seq;
            assert_true(last < MODEL_MAX);
            m.by_seq[last].tag = tag;
            m.by_seq[last].size = size;
            m.by_seq[last].source = (unsigned char)source;
        }
        run_until_answered(&f);
        for (unsigned i = 0; i < n; i++) {
            assert_int_equal(sent[i].code, MR_OK);
            m.by_seq[sent[i].wait.seq].acked = true;
        }
        for (unsigned source = 0; source < 3; source++) {
            if (next_random(&random) % 3)
                continue;
            uint64_t upto = last - next_random(&random) % 20 % last;
            m.published[source] = upto > m.published[source] ? upto : m.published[source];
            mr_queue_published(f.q, mr_str_c(model_sources[source]), m.published[source]);
        }
        if (step % 10 == 7)
            check_crash(&f, &m, last, step);
        if (step % 50 == 49) {
            queue_close(&f);
            assert_int_equal(queue_open(&f), MR_OK);
        }
    }
    fixture_free(&f);
}

const struct CMUnitTest life_tests[] = {
    cmocka_unit_test(records_come_back_in_order_in_this_process_and_in_the_next),
    cmocka_unit_test(a_queue_keeps_its_id_and_says_whether_it_has_records),
    cmocka_unit_test(the_next_sequence_is_above_the_tail_and_what_was_asked_for),
    cmocka_unit_test(records_larger_than_a_segment_are_kept),
    cmocka_unit_test(a_full_queue_refuses_tells_and_resumes_when_segments_are_freed),
    cmocka_unit_test(segments_go_when_every_source_has_published_past_them),
    cmocka_unit_test(freed_segments_are_recycled_and_two_spares_kept_when_one_segment_is_in_use_at_a_time),
        cmocka_unit_test(what_a_burst_used_is_kept_as_spares_and_the_next_burst_takes_them),
    cmocka_unit_test(sources_and_their_last_sequences_survive),
    cmocka_unit_test(a_reader_seeks_back_and_goes_on_when_more_is_durable),
    cmocka_unit_test(what_recycled_blocks_held_never_comes_back),
};
const size_t life_tests_n = sizeof life_tests / sizeof life_tests[0];
