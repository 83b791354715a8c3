/* SPDX-License-Identifier: Apache-2.0 */
/* The queue dies, or its disk fails, at every named point. This binary starts itself again as the process that dies; it
 * writes down what it was told, and the test counts what is there afterwards. */
#include "unit/queue/tests.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "millrace/fault.h"

/* -- the process that dies -------------------------------------------------------------------------------------- */

enum { IN_FLIGHT = 6, ROUNDS = 70, TAGS_MAX = 4000 };

/* `what` is A (acknowledged), F (failed), P (about to be published). One write(2), so that it is there when we are killed. */
static void note(int fd, char what, uint64_t seq, uint32_t tag)
{
    char line[64];
    int n = snprintf(line, sizeof line, "%c %llu %u\n", what, (unsigned long long)seq, tag);
    if (write(fd, line, (size_t)n) != n)
        abort();
}

static void no_wait(uv_timer_t *t)
{
    (void)t;
}

/* A pause of the loop until the queue may have healed: its back-off begins at 20 ms. */
static void let_it_heal(struct fixture *f)
{
    uv_timer_t t;
    uv_timer_init(&f->loop.uv, &t);
    uv_timer_start(&t, no_wait, 25, 0);
    while (uv_is_active((uv_handle_t *)&t))
        uv_run(&f->loop.uv, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&t, NULL);
    uv_run(&f->loop.uv, UV_RUN_NOWAIT);
}

/* child <folder> <ledger> <first tag>: 0 all rounds done; 3 it could not open; 4 it never healed */
int fault_child(int argc, char **argv)
{
    struct fixture f;
    struct sent sent[IN_FLIGHT];
    unsigned refused = 0;
    if (argc != 5)
        return 2;
    uint32_t tag = (uint32_t)strtoul(argv[4], NULL, 10);
    int ledger = open(argv[3], O_WRONLY | O_APPEND | O_CREAT, 0600);
    fixture_init_at(&f, argv[2]);
    f.options.segment_size = 64 << 10;
    if (queue_open(&f) != MR_OK)
        _exit(3);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < IN_FLIGHT; i++)
            send_one(&f, &sent[i], i % 2 ? "odd" : "even", tag + i, 1500);
        run_until_answered(&f);
        bool failed = false;
        uint64_t last = 0;
        for (unsigned i = 0; i < IN_FLIGHT; i++) {
            failed = failed || sent[i].code != MR_OK;
            note(ledger, sent[i].code == MR_OK ? 'A' : 'F', sent[i].wait.seq, tag + i);
            if (sent[i].code == MR_OK)
                last = sent[i].wait.seq;
        }
        tag += IN_FLIGHT;
        if (failed) {
            round--;
            if (++refused > 200)
                _exit(4);
            let_it_heal(&f);
        } else if (round % 4 == 3) {
            note(ledger, 'P', last - 3 * IN_FLIGHT, 0);
            mr_queue_published(f.q, MR_STR("odd"), last - 3 * IN_FLIGHT);
            mr_queue_published(f.q, MR_STR("even"), last - 3 * IN_FLIGHT);
        }
    }
    queue_close(&f);
    _exit(0);
}

/* -- the test --------------------------------------------------------------------------------------------------- */

struct ledger {
    uint64_t published, acked_seq[TAGS_MAX];
    unsigned acked, failed;
    char what[TAGS_MAX]; /* by tag */
    unsigned char seen[TAGS_MAX];
};

static int run_child(const char *root, const char *ledger, const char *first_tag, const char *variable, const char *spec)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (variable)
            setenv(variable, spec, 1);
        execl(self, self, "child", root, ledger, first_tag, (char *)NULL);
        _exit(127);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void ledger_read(struct ledger *l, const char *path)
{
    memset(l, 0, sizeof *l);
    FILE *file = fopen(path, "r");
    char what;
    unsigned long long seq;
    unsigned tag;
    if (!file)
        return;
    while (fscanf(file, "%c %llu %u\n", &what, &seq, &tag) == 3) {
        if (what == 'P') {
            l->published = seq;
            continue;
        }
        assert_true(tag < TAGS_MAX);
        l->what[tag] = what;
        l->acked_seq[tag] = seq;
        l->acked += what == 'A';
        l->failed += what == 'F';
    }
    fclose(file);
}

static void see(void *arg, const struct mr_queue_record *rec)
{
    struct ledger *l = arg;
    uint32_t tag;
    if (!payload_check(rec->payload.p, rec->payload.n, &tag) || tag >= TAGS_MAX)
        abort();
    if (l->what[tag] == 'A' && l->acked_seq[tag] != rec->seq)
        abort();
    l->seen[tag]++;
}

/* Every acknowledged record that was not published is there once; nothing that failed is there, unless `may_land`. */
static void count(const char *root, const char *path, bool may_land, const char *what)
{
    static struct ledger l;
    struct fixture f;
    ledger_read(&l, path);
    fixture_init_at(&f, root);
    f.options.segment_size = 64 << 10;
    for (int round = 0; round < 2; round++) { /* and again after the next start */
        memset(l.seen, 0, sizeof l.seen);
        assert_int_equal(queue_open(&f), MR_OK);
        (void)read_all(&f, 1, see, &l);
        for (unsigned tag = 0; tag < TAGS_MAX; tag++) {
            if (l.what[tag] == 'A' && l.acked_seq[tag] > l.published && l.seen[tag] != 1)
                fail_msg("%s: acknowledged %u is there %u times", what, tag, l.seen[tag]);
            if (l.what[tag] == 'F' && !may_land && l.seen[tag])
                fail_msg("%s: %u failed and is there", what, tag);
            if (l.seen[tag] > 1)
                fail_msg("%s: %u is there %u times", what, tag, l.seen[tag]);
        }
        struct mr_queue_facts facts;
        mr_queue_facts(f.q, &facts);
        if (facts.corrupt_bytes)
            fail_msg("%s: %llu bytes called corrupt", what, (unsigned long long)facts.corrupt_bytes);
        queue_close(&f);
    }
    fixture_free(&f);
}

static void fresh(char root[PATH_MAX / 4], char ledger[PATH_MAX])
{
    const char *tmp = getenv("TMPDIR");
    snprintf(root, PATH_MAX / 4, "%s/mr-fault-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(root));
    snprintf(ledger, PATH_MAX, "%s.ledger", root);
}

static void skip_without_points(void)
{
    if (!MR_FAULTS)
        skip();
}

static void killed_at_any_point_nothing_acknowledged_is_lost_or_doubled(void **state)
{
    (void)state;
    skip_without_points();
    for (int point = MR_POINT_queue_write; point <= MR_POINT_queue_recovered; point++) {
        const int passings[] = {1, 2, 7};
        for (size_t i = 0; i < 3; i++) {
            char root[PATH_MAX / 4], ledger[PATH_MAX], spec[80];
            fresh(root, ledger);
            snprintf(spec, sizeof spec, "%s:%d", mr_point_name((enum mr_point)point), passings[i]);
            int ended = run_child(root, ledger, "1", "MILLRACE_CRASH", spec);
            if (ended != -SIGKILL && (ended != 0 || i == 0))
                fail_msg("%s: ended with %d", spec, ended);
            if (i == 1) /* once more over what is there, and killed again */
                (void)run_child(root, ledger, "2000", "MILLRACE_CRASH", "queue_written:9");
            count(root, ledger, true, spec);
            unlink(ledger);
        }
    }
}

static void a_failing_disk_refuses_heals_and_what_failed_never_lands(void **state)
{
    (void)state;
    skip_without_points();
    static const char *const specs[] = {
        "queue_write:3:EIO",           "queue_write:3-5:ENOSPC",        "queue_written:4:EIO",
        "queue_written:4-6:EIO",       "queue_written:9:ENOSPC",        "queue_segment_start:2:EIO",
        "queue_segment_start:2-6:EIO", "queue_segment_create:1-3:EIO",  "queue_segment_filled:1:EIO",
        "queue_segment_recycle:1:EIO", "queue_free:1-2:EIO",            "queue_acked:3:EIO",
        "queue_written:2:EIO,queue_segment_start:2-4:ENOSPC",
    };
    for (size_t i = 0; i < MR_COUNT(specs); i++) {
        char root[PATH_MAX / 4], path[PATH_MAX];
        static struct ledger l;
        fresh(root, path);
        int ended = run_child(root, path, "1", "MILLRACE_FAIL", specs[i]);
        if (ended != 0)
            fail_msg("%s: ended with %d", specs[i], ended);
        ledger_read(&l, path);
        assert_int_equal(l.acked >= ROUNDS * IN_FLIGHT, 1);
        if (strncmp(specs[i], "queue_writ", 10) == 0)
            assert_true(l.failed > 0);
        count(root, path, false, specs[i]);
        unlink(path);
    }
}

static void a_queue_that_cannot_be_recovered_says_so(void **state)
{
    (void)state;
    skip_without_points();
    char root[PATH_MAX / 4], path[PATH_MAX];
    fresh(root, path);
    assert_int_equal(run_child(root, path, "1", "MILLRACE_FAIL", "queue_recover:1:EIO"), 3);
    assert_int_equal(run_child(root, path, "1", NULL, NULL), 0);
    count(root, path, false, "after a failed recovery");
    unlink(path);
}

const struct CMUnitTest fault_tests[] = {
    cmocka_unit_test(killed_at_any_point_nothing_acknowledged_is_lost_or_doubled),
    cmocka_unit_test(a_failing_disk_refuses_heals_and_what_failed_never_lands),
    cmocka_unit_test(a_queue_that_cannot_be_recovered_says_so),
};
const size_t fault_tests_n = sizeof fault_tests / sizeof fault_tests[0];
