/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "millrace/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* The inodes synced since `synced_count` was last set to 0; the linker's --wrap gives no other place for it. */
static ino_t synced[16];
static size_t synced_count;

int __real_fsync(int fd);
int __wrap_fsync(int fd);

int __wrap_fsync(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    if (synced_count < sizeof synced / sizeof *synced)
        synced[synced_count++] = st.st_ino;
    return __real_fsync(fd);
}

static bool was_synced(const char *path)
{
    struct stat st;
    bool found = false;
    assert_int_equal(stat(path, &st), 0);
    for (size_t i = 0; i < synced_count; i++)
        found |= synced[i] == st.st_ino;
    return found;
}

static const char *in(void **state, const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", (const char *)*state, name);
    return path;
}

static void assert_holds(const char *path, const char *expected)
{
    char *bytes;
    size_t n;
    struct mr_err err;
    assert_int_equal(mr_file_read(path, 4096, &bytes, &n, &err), MR_OK);
    assert_string_equal(bytes, expected);
    assert_int_equal(n, strlen(expected));
    free(bytes);
}

static void a_replaced_file_has_the_new_bytes_and_mode_and_no_neighbour(void **state)
{
    struct mr_err err;
    struct stat st;
    const char *path = in(state, "file");
    assert_int_equal(mr_file_replace(path, MR_STR("one"), 0600, &err), MR_OK);
    assert_int_equal(mr_file_replace(path, MR_STR("second"), 0600, &err), MR_OK);
    assert_holds(path, "second");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(access(in(state, "file.tmp"), F_OK), -1);
}

static void a_leftover_of_a_killed_replace_is_written_over(void **state)
{
    struct mr_err err;
    assert_int_equal(mr_file_replace(in(state, "file.tmp"), MR_STR("half of something much longer"), 0600, &err),
                     MR_OK);
    assert_int_equal(mr_file_replace(in(state, "file"), MR_STR("new"), 0600, &err), MR_OK);
    assert_holds(in(state, "file"), "new");
}

static void a_replace_that_fails_leaves_the_old_file_and_nothing_else(void **state)
{
    struct mr_err err;
    assert_int_equal(mr_file_replace(in(state, "missing/file"), MR_STR("x"), 0600, &err), MR_ENOENT);
    assert_int_equal(err.sys, ENOENT);
    /* a directory that is not empty cannot be renamed over */
    assert_int_equal(mr_dir_make(in(state, "taken/inside"), 0755, &err), MR_OK);
    assert_int_not_equal(mr_file_replace(in(state, "taken"), MR_STR("x"), 0600, &err), MR_OK);
    assert_int_equal(access(in(state, "taken.tmp"), F_OK), -1);
    assert_int_equal(access(in(state, "taken/inside"), F_OK), 0);
}

static void a_full_disk_is_named_as_such(void **state)
{
    (void)state;
    struct mr_err err;
    int fd = open("/dev/full", O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(mr_write_all(fd, "bytes", 5, "the file", &err), MR_ENOSPC);
    assert_int_equal(err.sys, ENOSPC);
    assert_string_equal(err.msg, "write 5 bytes to the file: No space left on device");
    assert_int_equal(mr_write_all(fd, NULL, 0, "the file", &err), MR_OK);
    close(fd);
}

static void short_writes_are_continued(void **state)
{
    (void)state;
    int ends[2];
    struct mr_err err;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    enum { N = 1 << 20 }; /* far more than a pipe holds */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        char *bytes = calloc(1, N);
        _exit(bytes && mr_write_all(ends[1], bytes, N, "pipe", &err) == MR_OK ? 0 : 1);
    }
    close(ends[1]);
    size_t total = 0;
    char some[777];
    for (ssize_t n; (n = read(ends[0], some, sizeof some)) > 0;)
        total += (size_t)n;
    assert_int_equal(total, N);
    close(ends[0]);
}

static void directories_are_made_with_all_their_parents(void **state)
{
    struct mr_err err;
    struct stat st;
    assert_int_equal(mr_dir_make(in(state, "a//b/c/"), 0750, &err), MR_OK);
    assert_int_equal(stat(in(state, "a/b/c"), &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(mr_dir_make(in(state, "a/b/c"), 0750, &err), MR_OK);
    assert_int_equal(mr_dir_make("/", 0750, &err), MR_OK);
}

/* Whoever made it may have died before its entry was durable. */
static void a_directory_that_is_there_already_is_made_durable(void **state)
{
    struct mr_err err;
    assert_int_equal(mkdir(in(state, "a"), 0750), 0);
    assert_int_equal(mkdir(in(state, "a/b"), 0750), 0);
    synced_count = 0;
    assert_int_equal(mr_dir_make(in(state, "a/b"), 0750, &err), MR_OK);
    assert_true(was_synced(in(state, "a")));
    assert_true(was_synced(*state));
}

/* A folder that may be passed and not read: whoever made what is in it has seen to that. */
static void a_directory_below_one_that_may_not_be_read_is_relied_on(void **state)
{
    struct mr_err err;
    assert_int_equal(mkdir(in(state, "a"), 0755), 0);
    assert_int_equal(mkdir(in(state, "a/b"), 0755), 0);
    assert_int_equal(chmod(*state, 0711), 0);
    assert_int_equal(chmod(in(state, "a"), 0111), 0);
    bool root = geteuid() == 0; /* who passes every permission */
    assert_true(!root || seteuid(65534) == 0);
    enum mr_code code = mr_dir_make(in(state, "a/b"), 0750, &err);
    assert_true(!root || seteuid(0) == 0);
    assert_int_equal(chmod(in(state, "a"), 0755), 0);
    assert_int_equal(code, MR_OK);
}

static void a_relative_directory_is_made_too(void **state)
{
    struct mr_err err;
    char before[256];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(*state), 0);
    enum mr_code code = mr_dir_make("x/y", 0750, &err);
    int found = access("x/y", F_OK);
    assert_int_equal(chdir(before), 0);
    assert_int_equal(code, MR_OK);
    assert_int_equal(found, 0);
}

static void a_file_in_the_way_of_a_directory_is_an_error(void **state)
{
    struct mr_err err;
    assert_int_equal(mr_file_replace(in(state, "file"), MR_STR("x"), 0600, &err), MR_OK);
    assert_int_equal(mr_dir_make(in(state, "file"), 0750, &err), MR_EIO);
    assert_int_equal(err.sys, ENOTDIR);
    assert_int_not_equal(mr_dir_make(in(state, "file/below"), 0750, &err), MR_OK);
    assert_int_not_equal(mr_dir_make("", 0750, &err), MR_OK);
}

static void a_file_above_the_limit_is_refused_and_one_at_it_is_read(void **state)
{
    struct mr_err err;
    char *bytes = NULL, big[9000];
    size_t n;
    memset(big, 'x', sizeof big);
    const char *path = in(state, "file");
    for (size_t size = 0; size < sizeof big; size += 499) {
        assert_int_equal(mr_file_replace(path, (struct mr_str){big, size}, 0600, &err), MR_OK);
        assert_int_equal(mr_file_read(path, size, &bytes, &n, &err), MR_OK);
        assert_int_equal(n, size);
        assert_int_equal(bytes[n], '\0');
        free(bytes);
        if (size > 0)
            assert_int_equal(mr_file_read(path, size - 1, &bytes, &n, &err), MR_ETOOBIG);
    }
}

static void a_file_that_states_no_size_is_read_whole(void **state)
{
    (void)state;
    struct mr_err err;
    char *bytes;
    size_t n;
    assert_int_equal(mr_file_read("/proc/self/status", 1 << 16, &bytes, &n, &err), MR_OK);
    assert_true(n > 100 && strstr(bytes, "Pid:"));
    free(bytes);
}

static void what_cannot_be_read_says_why(void **state)
{
    struct mr_err err;
    char *bytes;
    size_t n;
    assert_int_equal(mr_file_read(in(state, "none"), 10, &bytes, &n, &err), MR_ENOENT);
    assert_non_null(strstr(err.msg, "none: No such file"));
    assert_int_equal(mr_file_read(*state, 10, &bytes, &n, &err), MR_EIO); /* a directory */
    assert_int_equal(err.sys, EISDIR);
    assert_int_equal(mr_file_read(*state, 10, &bytes, &n, NULL), MR_EIO);
}

static void syncing_what_cannot_be_synced_fails(void **state)
{
    struct mr_err err;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(mr_file_sync(ends[1], "pipe", &err), MR_EIO);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(mr_dir_sync(in(state, "none"), &err), MR_ENOENT);
    assert_int_equal(mr_dir_sync(*state, &err), MR_OK);
}

static void free_space_is_more_than_nothing_and_less_than_everything(void **state)
{
    struct mr_err err;
    uint64_t bytes = 0;
    assert_int_equal(mr_disk_free(*state, &bytes, &err), MR_OK);
    assert_true(bytes > 0 && bytes < UINT64_MAX / 2);
    assert_int_equal(mr_disk_free(in(state, "none"), &bytes, &err), MR_ENOENT);
}

static void descriptors_are_raised_as_far_as_the_hard_limit_and_never_lowered(void **state)
{
    struct rlimit old, tight, now;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    tight = (struct rlimit){.rlim_cur = 64, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    assert_int_equal(mr_descriptors_want(32), 64);
    assert_int_equal(mr_descriptors_want(100), 100);
    getrlimit(RLIMIT_NOFILE, &now);
    assert_int_equal(now.rlim_cur, 100);
    assert_int_equal(mr_descriptors_want(UINT64_MAX), old.rlim_max);
    setrlimit(RLIMIT_NOFILE, &old);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, test_folder_make, test_folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_replaced_file_has_the_new_bytes_and_mode_and_no_neighbour),
        IN_FOLDER(a_leftover_of_a_killed_replace_is_written_over),
        IN_FOLDER(a_replace_that_fails_leaves_the_old_file_and_nothing_else),
        cmocka_unit_test(a_full_disk_is_named_as_such),
        cmocka_unit_test(descriptors_are_raised_as_far_as_the_hard_limit_and_never_lowered),
        cmocka_unit_test(short_writes_are_continued),
        IN_FOLDER(directories_are_made_with_all_their_parents),
        IN_FOLDER(a_directory_that_is_there_already_is_made_durable),
        IN_FOLDER(a_directory_below_one_that_may_not_be_read_is_relied_on),
        IN_FOLDER(a_relative_directory_is_made_too),
        IN_FOLDER(a_file_in_the_way_of_a_directory_is_an_error),
        IN_FOLDER(a_file_above_the_limit_is_refused_and_one_at_it_is_read),
        cmocka_unit_test(a_file_that_states_no_size_is_read_whole),
        IN_FOLDER(what_cannot_be_read_says_why),
        IN_FOLDER(syncing_what_cannot_be_synced_fails),
        IN_FOLDER(free_space_is_more_than_nothing_and_less_than_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
