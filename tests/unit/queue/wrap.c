/* SPDX-License-Identifier: Apache-2.0 */
/* A directory sync that fails once, after a segment got its name: the name may come back with a power cut. */
#include "unit/queue/tests.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "millrace/file.h"
#include "queue/segment.h"

/* Set by the test before the sync is due, read by the writer. The linker's --wrap gives no other place for it. */
static atomic_bool fail_next;
static char last_named[PATH_MAX];
static atomic_uint quarantine_syncs;

enum mr_code __real_mr_dir_sync(const char *path, struct mr_err *err);
enum mr_code __wrap_mr_dir_sync(const char *path, struct mr_err *err);

enum mr_code __wrap_mr_dir_sync(const char *path, struct mr_err *err)
{
    char newest[PATH_MAX];
    size_t n = strlen(path);
    if (n > 7 && strcmp(path + n - 7, "/_queue") == 0)
        atomic_fetch_add(&quarantine_syncs, 1);
    if (!atomic_load(&fail_next) || files_named(path, ".seg") < 2 || !file_named(path, ".seg", true, newest))
        return __real_mr_dir_sync(path, err);
    atomic_store(&fail_next, false);
    char kept[PATH_MAX + 8];
    snprintf(last_named, sizeof last_named, "%s", newest);
    snprintf(kept, sizeof kept, "%s.kept", newest);
    if (link(newest, kept) != 0)
        return mr_err_sys(err, errno, "link %s", newest);
    return mr_err_sys(err, EIO, "sync directory %s", path);
}

/* Whoever kept them may have died before the name was durable; after this the queue may free the segment. */
static void damaged_bytes_kept_before_are_made_durable_again(void **state)
{
    (void)state;
    struct fixture f;
    char path[PATH_MAX];
    uint64_t fresh;
    fixture_init(&f);
    snprintf(path, sizeof path, "%s/damaged", f.root);
    assert_int_equal(mr_file_replace(path, MR_STR("damaged"), 0600, &f.err), MR_OK);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(mr_seg_quarantine(f.quarantine, 1, fd, 0, 7, &fresh, &f.err), MR_OK);
    assert_int_equal(fresh, 7);
    atomic_store(&quarantine_syncs, 0);
    assert_int_equal(mr_seg_quarantine(f.quarantine, 1, fd, 0, 7, &fresh, &f.err), MR_OK);
    assert_int_equal(fresh, 0);
    assert_int_equal(atomic_load(&quarantine_syncs), 1);
    close(fd);
    fixture_free(&f);
}

static void a_name_that_comes_back_after_a_failed_directory_sync_hides_nothing(void **state)
{
    (void)state;
    struct fixture f;
    unsigned acked = 0;
    fixture_init(&f);
    atomic_store(&fail_next, true);
    assert_int_equal(queue_open(&f), MR_OK);
    assert_int_equal(send_wait(&f, "a", ++acked, 300, NULL), MR_OK); /* into the growing file that a queue begins with */
    /* As soon as there is a spare the writer changes over to it; that fails, and service goes on. One more is acknowledged
     * before the end: it must not lie where the header that comes back says that the old segment has ended. */
    bool more = true;
    for (int tries = 0; more && tries < 3000; tries++) {
        more = atomic_load(&fail_next);
        enum mr_code rc = send_wait(&f, "a", acked + 1, 300, NULL);
        assert_true(rc == MR_OK || rc == MR_EIO);
        acked += rc == MR_OK;
        more = more || rc != MR_OK;
        if (rc != MR_OK)
            uv_run(&f.loop.uv, UV_RUN_ONCE);
    }
    assert_false(more);
    queue_close(&f);
    char kept[PATH_MAX + 8];
    snprintf(kept, sizeof kept, "%s.kept", last_named);
    assert_int_equal(rename(kept, last_named), 0);
    assert_int_equal(queue_open(&f), MR_OK);
    assert_int_equal(read_all(&f, 1, NULL, NULL), acked);
    fixture_free(&f);
}

const struct CMUnitTest wrap_tests[] = {
    cmocka_unit_test(damaged_bytes_kept_before_are_made_durable_again),
    cmocka_unit_test(a_name_that_comes_back_after_a_failed_directory_sync_hides_nothing),
};
const size_t wrap_tests_n = sizeof wrap_tests / sizeof wrap_tests[0];
