/* SPDX-License-Identifier: Apache-2.0 */
/* Torn tails and damaged bytes: a copy of a living queue's folder stands for what a dead process left behind. */
#include "unit/queue/fixture.h"

#include "queue/recover.h"
#include "unit/queue/tests.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void copy_tree(const char *from, const char *to)
{
    assert_int_equal(mkdir(to, 0755), 0);
    DIR *d = opendir(from);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char a[PATH_MAX], b[PATH_MAX];
        if (e->d_name[0] == '.')
            continue;
        assert_true(snprintf(a, sizeof a, "%s/%s", from, e->d_name) < PATH_MAX);
        assert_true(snprintf(b, sizeof b, "%s/%s", to, e->d_name) < PATH_MAX);
        struct stat st;
        if (stat(a, &st) != 0)
            continue; /* freed under our eyes, as a crash could have met it */
        if (S_ISDIR(st.st_mode)) {
            copy_tree(a, b);
            continue;
        }
        int in = open(a, O_RDONLY), out = open(b, O_WRONLY | O_CREAT | O_EXCL, 0600);
        char buf[65536];
        ssize_t n;
        while (in >= 0 && (n = read(in, buf, sizeof buf)) > 0)
            assert_int_equal(write(out, buf, (size_t)n), n);
        close(in);
        close(out);
    }
    closedir(d);
}

static void copy_name(const struct fixture *f, unsigned n, char out[PATH_MAX / 4])
{
    snprintf(out, PATH_MAX / 4, "%.900s.c%u", f->root, n);
}

static void flip(const char *path, uint64_t off, unsigned char bits)
{
    int fd = open(path, O_RDWR);
    unsigned char c;
    assert_int_equal(pread(fd, &c, 1, (off_t)off), 1);
    c ^= bits;
    assert_int_equal(pwrite(fd, &c, 1, (off_t)off), 1);
    close(fd);
}

static void a_tail_torn_at_any_byte_ends_before_its_group(void **state)
{
    (void)state;
    struct fixture f;
    struct mr_recovered r;
    struct sent last[3];
    char copy[PATH_MAX / 4], dir[PATH_MAX], seg[PATH_MAX];
    fixture_init(&f);
    assert_int_equal(queue_open(&f), MR_OK);
    for (uint32_t i = 1; i <= 5; i++)
        assert_int_equal(send_wait(&f, "a", i, 50, NULL), MR_OK);
    for (uint32_t i = 0; i < 3; i++)
        send_one(&f, &last[i], "b", 6 + i, 40);
    run_until_answered(&f);
    copy_name(&f, 0, copy);
    copy_tree(f.root, copy);
    snprintf(dir, sizeof dir, "%s/queue", copy);
    assert_int_equal(mr_recover(dir, f.quarantine, 1 << 20, &r, &f.err), MR_OK);
    const struct mr_seg_end whole = r.segs[r.n - 1].at;
    assert_int_equal(whole.last_seq, 8);
    assert_int_equal(r.corrupt_bytes, 0);
    mr_recovered_free(&r);
    mr_seg_path(seg, dir, MR_SEG_FILE, whole.number);
    uint64_t group = whole.end - 3 * mr_record_size(1, 40) - MR_GROUP_BYTES;
    for (uint64_t cut = group; cut < whole.end; cut++) {
        int fd = open(seg, O_RDWR);
        unsigned char old[512];
        size_t n = (size_t)(whole.end - cut);
        assert_int_equal(pread(fd, old, n, (off_t)cut), n);
        unsigned char gone[512];
        for (size_t i = 0; i < n; i++)
            gone[i] = cut % 2 ? 0 : (unsigned char)(old[i] ^ 0x5a);
        assert_int_equal(pwrite(fd, gone, n, (off_t)cut), n);
        assert_int_equal(mr_recover(dir, f.quarantine, 1 << 20, &r, &f.err), MR_OK);
        bool padding = memcmp(gone, old, n) == 0 || (cut > whole.end - 8 && r.segs[r.n - 1].at.last_seq == 8);
        if (!padding) {
            assert_int_equal(r.segs[r.n - 1].at.last_seq, 5);
            assert_int_equal(r.segs[r.n - 1].at.end, group);
        }
        assert_int_equal(r.corrupt_bytes, 0);
        mr_recovered_free(&r);
        assert_int_equal(pwrite(fd, old, n, (off_t)cut), n);
        close(fd);
    }
    remove_tree(copy);
    fixture_free(&f);
}

struct seen {
    unsigned char at[2000]; /* by tag: times read */
};

static void check_known(void *arg, const struct mr_queue_record *rec)
{
    struct seen *seen = arg;
    uint32_t tag;
    if (!payload_check(rec->payload.p, rec->payload.n, &tag) || tag >= 2000 || tag != rec->seq)
        abort();
    seen->at[tag]++;
}

static uint64_t bytes_in(const char *dir)
{
    uint64_t sum = 0;
    DIR *d = opendir(dir);
    if (!d)
        return 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[PATH_MAX];
        struct stat st;
        if (snprintf(path, sizeof path, "%s/%s", dir, e->d_name) >= PATH_MAX)
            continue;
        if (e->d_name[0] != '.' && stat(path, &st) == 0)
            sum += (uint64_t)st.st_size;
    }
    closedir(d);
    return sum;
}

/* Flips a byte at `off` of the n-th segment file of a copy, opens it, reads all, and returns how many of `sent` are missing. */
static unsigned missing_after(const struct fixture *orig, const char *seg_name, uint64_t off, unsigned sent, uint32_t safe_from)
{
    struct fixture f;
    struct seen seen = {{0}};
    char copy[PATH_MAX / 4], seg[PATH_MAX], kept[PATH_MAX];
    static unsigned serial = 1;
    copy_name(orig, serial++, copy);
    copy_tree(orig->root, copy);
    snprintf(seg, sizeof seg, "%s/queue/%s", copy, seg_name);
    flip(seg, off, 0x10);
    fixture_init_at(&f, copy);
    assert_int_equal(queue_open(&f), MR_OK);
    size_t got = read_all(&f, 1, check_known, &seen);
    unsigned missing = 0;
    for (uint32_t tag = 1; tag <= sent; tag++) {
        assert_true(seen.at[tag] <= 1);
        missing += !seen.at[tag];
        if (tag >= safe_from)
            assert_int_equal(seen.at[tag], 1);
    }
    assert_int_equal(got + missing, sent);
    struct mr_queue_facts facts;
    uv_run(&f.loop.uv, UV_RUN_NOWAIT);
    mr_queue_facts(f.q, &facts);
    snprintf(kept, sizeof kept, "%s/_queue", f.quarantine);
    assert_int_equal(bytes_in(kept), facts.corrupt_bytes);
    if (missing) {
        assert_true(facts.corrupt_bytes > 0);
        assert_int_equal(mr_alerts_open_count(f.loop.alerts), 1);
    }
    /* Nothing holds the damaged segment once what is left of it is published. */
    mr_queue_published(f.q, MR_STR("a"), seen.at[sent] ? sent : sent - 1);
    fixture_free(&f);
    return missing;
}

static void a_flipped_byte_costs_its_record_only_and_is_kept_in_quarantine(void **state)
{
    (void)state;
    struct fixture f;
    struct sent sent[40];
    char seg[PATH_MAX];
    struct mr_recovered r;
    fixture_init(&f);
    f.options.segment_size = 64 << 10;
    assert_int_equal(queue_open(&f), MR_OK);
    unsigned n = 0;
    for (int group = 0; group < 8; group++) { /* several segments, groups of 1 to 40 */
        for (int i = 0; i < 5 * group + 1; i++) {
            n++;
            send_one(&f, &sent[i], "a", n, 300 + n * 7 % 1500);
        }
        run_until_answered(&f);
    }
    assert_true(file_named(f.dir, ".seg", false, seg));
    assert_true(files_named(f.dir, ".seg") > 2);
    char copy[PATH_MAX / 4], dir[PATH_MAX];
    copy_name(&f, 0, copy);
    copy_tree(f.root, copy);
    snprintf(dir, sizeof dir, "%s/queue", copy);
    assert_int_equal(mr_recover(dir, f.quarantine, 64 << 10, &r, &f.err), MR_OK);
    uint32_t random = 88172645;
    unsigned hit = 0;
    for (int i = 0; i < 60; i++) {
        const struct mr_seg_end *at = &r.segs[next_random(&random) % (r.n - 1)].at;
        if (at->last_seq < at->first_seq)
            continue;
        char name[64];
        snprintf(name, sizeof name, "%016llx.seg", (unsigned long long)at->number);
        uint64_t off = at->start + next_random(&random) % (at->end - at->start);
        unsigned missing = missing_after(&f, name, off, n, (uint32_t)at->last_seq + 1);
        hit += missing > 0;
        assert_true(missing <= 40); /* a group's header: its group; a record: itself */
    }
    assert_true(hit > 30);
    mr_recovered_free(&r);
    remove_tree(copy);
    fixture_free(&f);
}

static void damage_before_a_later_group_of_the_last_segment_is_no_tail(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    assert_int_equal(queue_open(&f), MR_OK);
    /* With the spare there before the first record, all of them lie in one segment: queue.json, the first one, the spare. */
    while (files_named(f.dir, "") - files_named(f.dir, ".tmp") < 3)
        uv_run(&f.loop.uv, UV_RUN_ONCE);
    for (uint32_t i = 1; i <= 20; i++)
        assert_int_equal(send_wait(&f, "a", i, 200, NULL), MR_OK);
    char copy[PATH_MAX / 4], dir[PATH_MAX];
    struct mr_recovered r;
    copy_name(&f, 0, copy);
    copy_tree(f.root, copy);
    snprintf(dir, sizeof dir, "%s/queue", copy);
    assert_int_equal(mr_recover(dir, f.quarantine, 256 << 10, &r, &f.err), MR_OK);
    const struct mr_seg_end at = r.segs[r.n - 1].at;
    mr_recovered_free(&r);
    remove_tree(copy);
    assert_true(at.last_seq == 20 && at.last_seq > at.first_seq + 2);
    char name[64];
    snprintf(name, sizeof name, "%016llx.seg", (unsigned long long)at.number);
    uint64_t step = (at.end - at.start) / (at.last_seq - at.first_seq + 1);
    uint64_t second = at.start + step;
    assert_int_equal(missing_after(&f, name, second, 20, (uint32_t)at.first_seq + 2), 1);          /* a group's header */
    assert_int_equal(missing_after(&f, name, second + 60, 20, (uint32_t)at.first_seq + 2), 1);     /* its record */
    assert_int_equal(missing_after(&f, name, 30, 20, 1), 0);                                       /* first header */
    assert_int_equal(missing_after(&f, name, MR_BLOCK + 30, 20, 1), 0);                            /* its copy */
    fixture_free(&f);
}

static void a_segment_without_any_header_is_kept_whole_or_read_by_the_next_ones(void **state)
{
    (void)state;
    struct fixture f;
    struct seen seen = {{0}};
    fixture_init(&f);
    assert_int_equal(queue_open(&f), MR_OK);
    for (uint32_t i = 1; i <= 10; i++)
        assert_int_equal(send_wait(&f, "a", i, 200, NULL), MR_OK);
    queue_close(&f);
    assert_int_equal(queue_open(&f), MR_OK); /* the next segment's header keeps the salt */
    queue_close(&f);
    char seg[PATH_MAX];
    struct mr_recovered r;
    assert_int_equal(mr_recover(f.dir, f.quarantine, 256 << 10, &r, &f.err), MR_OK);
    uint64_t with = 0;
    for (size_t i = 0; i < r.n; i++)
        if (r.segs[i].at.last_seq == 10 && r.segs[i].at.first_seq <= 10)
            with = r.segs[i].at.number;
    mr_recovered_free(&r);
    mr_seg_path(seg, f.dir, MR_SEG_FILE, with);
    flip(seg, 30, 1);
    flip(seg, MR_BLOCK + 30, 1);
    assert_int_equal(queue_open(&f), MR_OK);
    (void)read_all(&f, 1, check_known, &seen);
    assert_int_equal(seen.at[10], 1);
    struct mr_queue_facts facts;
    mr_queue_facts(f.q, &facts);
    assert_int_equal(facts.corrupt_bytes, 2 * MR_BLOCK); /* the two copies */
    assert_int_equal(send_wait(&f, "a", 11, 200, NULL), MR_OK);
    queue_close(&f);
    assert_true(file_named(f.dir, ".seg", true, seg));
    struct stat st;
    assert_int_equal(stat(seg, &st), 0);
    flip(seg, 30, 1);
    flip(seg, MR_BLOCK + 30, 1);
    assert_int_equal(queue_open(&f), MR_OK);
    mr_queue_facts(f.q, &facts);
    assert_int_equal(facts.corrupt_bytes, st.st_size);
    assert_int_equal(facts.horizon, 10);
    fixture_free(&f);
}

const struct CMUnitTest damage_tests[] = {
    cmocka_unit_test(a_tail_torn_at_any_byte_ends_before_its_group),
    cmocka_unit_test(a_flipped_byte_costs_its_record_only_and_is_kept_in_quarantine),
    cmocka_unit_test(damage_before_a_later_group_of_the_last_segment_is_no_tail),
    cmocka_unit_test(a_segment_without_any_header_is_kept_whole_or_read_by_the_next_ones),
};
const size_t damage_tests_n = sizeof damage_tests / sizeof damage_tests[0];
