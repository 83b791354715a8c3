/* SPDX-License-Identifier: Apache-2.0 */
/* faults.c - a failing disk at every named point of the zone: the call says so, nothing is half visible, and calling
 * again heals it where healing is promised. Each case runs in a child, whose exit status is the line that was not as it
 * should be. */
#include "fixture.h"

#include "millrace/fault.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE "{\"n\":1}\n"
#define NEED(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, f->err.msg);                           \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

static void in_child(struct fixture *f, const char *variable, const char *spec, void (*act)(struct fixture *),
                     int want_signal)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        if (variable)
            setenv(variable, spec, 1);
        act(f);
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (want_signal)
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == want_signal);
    else
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void fails(struct fixture *f, const char *spec, void (*act)(struct fixture *))
{
    if (!MR_FAULTS)
        skip();
    in_child(f, "MILLRACE_FAIL", spec, act, 0);
}

static void open_zone(struct fixture *f)
{
    NEED(mr_zone_open(&(struct mr_zone_options){.url = f->url}, &f->zone, &f->err) == MR_OK);
    NEED(mr_zone_instance(f->zone, ME, NULL, &f->err) == MR_OK);
}

static struct mr_stage_file *create(struct fixture *f, const char *name)
{
    struct mr_stage_file *file = NULL;
    NEED(mr_stage_file_create(f->zone, &(struct mr_stage_name){.instance = ME, .name = name}, &file, &f->err) == MR_OK);
    return file;
}

static struct mr_publish_item staged(struct fixture *f, const char *name)
{
    struct mr_stage_file *file = create(f, name);
    struct mr_publish_item item = {0};
    char path[256];
    NEED(mr_stage_file_write(file, MR_STR(LINE), &f->err) == MR_OK);
    NEED(mr_stage_file_sync(file, &item.crc32c, &item.bytes, &f->err) == MR_OK);
    item.staged = strdup(mr_stage_file_staged(file));
    mr_stage_file_close(file, false);
    snprintf(path, sizeof path, DAY_FOLDER "/%s.ndjson", name);
    item.path = strdup(path);
    return item;
}

static void act_create(struct fixture *f)
{
    struct mr_stage_file *file;
    open_zone(f);
    NEED(mr_stage_file_create(f->zone, &(struct mr_stage_name){.instance = ME, .name = "a"}, &file, &f->err) == MR_ENOSPC);
    NEED(!exists(f, "_staging/" ME "/a.part"));
    file = create(f, "a"); /* room again */
    mr_stage_file_close(file, true);
}

static void act_write(struct fixture *f)
{
    uint32_t crc;
    int64_t bytes;
    open_zone(f);
    struct mr_stage_file *file = create(f, "a");
    NEED(mr_stage_file_write(file, MR_STR(LINE), &f->err) == MR_OK);
    NEED(mr_stage_file_write(file, MR_STR(LINE), &f->err) == MR_ENOSPC);
    NEED(mr_stage_file_write(file, MR_STR(LINE), &f->err) == MR_EIO); /* bytes are missing in the middle: never again */
    NEED(mr_stage_file_sync(file, &crc, &bytes, &f->err) == MR_EIO);
    mr_stage_file_close(file, true);
    NEED(!exists(f, "_staging/" ME "/a.part"));
}

static void act_sync(struct fixture *f)
{
    uint32_t crc;
    int64_t bytes;
    open_zone(f);
    struct mr_stage_file *file = create(f, "a");
    NEED(mr_stage_file_write(file, MR_STR(LINE), &f->err) == MR_OK);
    NEED(mr_stage_file_sync(file, &crc, &bytes, &f->err) == MR_EIO);
    NEED(mr_stage_file_sync(file, &crc, &bytes, &f->err) == MR_EIO); /* a second sync would say "fine" */
    mr_stage_file_close(file, true);
}

static void act_rename(struct fixture *f)
{
    open_zone(f);
    struct mr_publish_item items[] = {staged(f, "a"), staged(f, "b"), staged(f, "c")};
    NEED(mr_zone_publish(f->zone, items, 3, &f->err) == MR_EIO);
    NEED(items[0].code == MR_OK && items[1].code == MR_EIO && items[2].code == MR_OK);
    NEED(exists(f, items[1].staged) && !exists(f, items[1].path));
    NEED(mr_zone_publish(f->zone, items, 3, &f->err) == MR_OK);
    NEED(items[1].code == MR_OK && file_is(f, items[1].path, MR_STR(LINE)));
}

/* Renamed but not known to be durable: none counts as published; the second call makes it so. */
static void act_unsynced(struct fixture *f)
{
    open_zone(f);
    struct mr_publish_item items[] = {staged(f, "a"), staged(f, "b")};
    NEED(mr_zone_publish(f->zone, items, 2, &f->err) == MR_ENOSPC);
    NEED(f->err.code == MR_ENOSPC && items[0].code == MR_ENOSPC && items[1].code == MR_ENOSPC);
    NEED(mr_zone_publish(f->zone, items, 2, &f->err) == MR_OK);
    NEED(items[0].code == MR_OK && items[1].code == MR_OK);
}

static void act_publish_and_die(struct fixture *f)
{
    open_zone(f);
    struct mr_publish_item items[] = {staged(f, "a"), staged(f, "b"), staged(f, "c")};
    (void)!mr_zone_publish(f->zone, items, 3, &f->err);
    _exit(1); /* should have died above */
}

/* What the next process does: it knows the items from the store. */
static void act_finish(struct fixture *f)
{
    struct mr_publish_item items[] = {{.staged = "_staging/" ME "/a.part", .path = DAY_FOLDER "/a.ndjson", .bytes = 8},
                                      {.staged = "_staging/" ME "/b.part", .path = DAY_FOLDER "/b.ndjson", .bytes = 8},
                                      {.staged = "_staging/" ME "/c.part", .path = DAY_FOLDER "/c.ndjson", .bytes = 8}};
    open_zone(f);
    NEED(mr_zone_publish(f->zone, items, 3, &f->err) == MR_OK);
    for (size_t i = 0; i < 3; i++)
        NEED(file_is(f, items[i].path, MR_STR(LINE)) && !exists(f, items[i].staged));
}

static void act_sweep(struct fixture *f)
{
    open_zone(f);
    put_file(f, "_staging/dead/a.part", MR_STR("x"));
    put_file(f, "_staging/dead/b.part", MR_STR("x"));
    NEED(mr_zone_sweep(f->zone, "dead", NULL, 0, &f->err) == MR_EIO);
    NEED(exists(f, "_staging/dead/a.part") + exists(f, "_staging/dead/b.part") ==
         1); /* the other was tried all the same */
    NEED(mr_zone_sweep(f->zone, "dead", NULL, 0, &f->err) == MR_OK);
    NEED(!exists(f, "_staging/dead"));
}

static void act_mark(struct fixture *f)
{
    struct mr_zone_id id;
    open_zone(f);
    NEED(mr_zone_mark_decided(f->zone, ME, 5, &f->err) == MR_OK);
    NEED(mr_zone_mark_decided(f->zone, ME, 6, &f->err) == MR_ENOSPC);
    NEED(mr_zone_identity(f->zone, &id, &f->err) == MR_OK && id.highest_decided == 5);
}

static void act_identify(struct fixture *f)
{
    struct mr_zone_id id;
    open_zone(f);
    NEED(mr_zone_identify(f->zone, "3f0c8a52-6d1e-4c55-9f0e-0f1d2c3b4a59", &f->err) == MR_EPERM);
    NEED(mr_zone_identity(f->zone, &id, &f->err) == MR_OK && !id.present);
}

static void a_file_that_cannot_be_made_leaves_nothing(void **state)
{
    fails(*state, "stage_create:1:ENOSPC", act_create);
}

static void a_failed_write_makes_the_file_suspect(void **state)
{
    fails(*state, "stage_write:2:ENOSPC", act_write);
}

static void a_failed_sync_is_not_tried_again(void **state)
{
    fails(*state, "stage_sync:1:EIO", act_sync);
}

static void a_failure_after_the_sync_counts_as_one(void **state)
{
    fails(*state, "stage_synced:1:EIO", act_sync);
}

static void a_failed_rename_is_healed_by_the_next_publish(void **state)
{
    fails(*state, "publish_rename:2:EIO", act_rename);
}

static void nothing_is_published_before_the_folders_are_synced(void **state)
{
    fails(*state, "publish_renamed:1:ENOSPC", act_unsynced);
}

static void nothing_is_published_if_the_sync_is_in_doubt(void **state)
{
    fails(*state, "publish_synced:1:ENOSPC", act_unsynced);
}

static void a_death_at_any_point_of_publish_is_finished_by_the_next_process(void **state)
{
    static const char *const points[] = {"publish_rename:1", "publish_rename:2", "publish_rename:3",
                                         "publish_renamed:1", "publish_synced:1"};
    struct fixture *f = *state;
    if (!MR_FAULTS)
        skip();
    for (size_t i = 0; i < MR_COUNT(points); i++) {
        char path[200];
        in_child(f, "MILLRACE_CRASH", points[i], act_publish_and_die, SIGKILL);
        in_child(f, NULL, NULL, act_finish, 0);
        snprintf(path, sizeof path, "%s/source=shop", f->root);
        remove_tree(path);
    }
}

static void a_sweep_goes_on_after_a_file_it_cannot_delete(void **state)
{
    fails(*state, "resume_sweep:1:EIO", act_sweep);
}

static void a_mark_that_cannot_be_written_leaves_the_one_before(void **state)
{
    fails(*state, "decided_mark:2:ENOSPC", act_mark);
}

static void a_zone_that_cannot_be_named_stays_unnamed(void **state)
{
    fails(*state, "zone_id:1:EACCES", act_identify);
}

/* Root passes every permission, so the child gives that up first. */
static void become_nobody(struct fixture *f)
{
    if (geteuid() == 0)
        NEED(setegid(65534) == 0 && seteuid(65534) == 0);
}

static void act_read_only(struct fixture *f)
{
    struct mr_stage_file *file;
    struct mr_zone_id id;
    open_zone(f);
    struct mr_publish_item item = staged(f, "a");
    char path[200];
    NEED(chmod(f->root, 0555) == 0);
    snprintf(path, sizeof path, "%s/_staging/" ME, f->root);
    NEED(chmod(path, 0555) == 0);
    snprintf(path, sizeof path, "%s/_millrace/decided", f->root);
    NEED(chmod(path, 0555) == 0);
    become_nobody(f);
    NEED(mr_stage_file_create(f->zone, &(struct mr_stage_name){.instance = ME, .name = "b"}, &file, &f->err) == MR_EPERM);
    NEED(mr_zone_publish(f->zone, &item, 1, &f->err) == MR_EPERM && item.code == MR_EPERM);
    NEED(mr_zone_mark_decided(f->zone, ME, 1, &f->err) == MR_EPERM);
    NEED(mr_zone_identity(f->zone, &id, &f->err) == MR_EPERM || !id.present);
    struct mr_zone *other;
    char url[200];
    snprintf(url, sizeof url, "%s/new", f->url);
    NEED(mr_zone_open(&(struct mr_zone_options){.url = url}, &other, &f->err) == MR_EPERM);
    NEED(strstr(f->err.msg, f->root) != NULL); /* says where */
    (void)!seteuid(getuid());                  /* so that the parent, which may not be root, can remove the folders */
    chmod(f->root, 0755);
    snprintf(path, sizeof path, "%s/_staging/" ME, f->root);
    chmod(path, 0755);
    snprintf(path, sizeof path, "%s/_millrace/decided", f->root);
    chmod(path, 0755);
}

static void a_folder_that_may_not_be_written_says_so(void **state)
{
    struct fixture *f = *state;
    in_child(f, NULL, NULL, act_read_only, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_temp_up, fixture_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_that_cannot_be_made_leaves_nothing),
        TEST(a_failed_write_makes_the_file_suspect),
        TEST(a_failed_sync_is_not_tried_again),
        TEST(a_failure_after_the_sync_counts_as_one),
        TEST(a_failed_rename_is_healed_by_the_next_publish),
        TEST(nothing_is_published_before_the_folders_are_synced),
        TEST(nothing_is_published_if_the_sync_is_in_doubt),
        TEST(a_death_at_any_point_of_publish_is_finished_by_the_next_process),
        TEST(a_sweep_goes_on_after_a_file_it_cannot_delete),
        TEST(a_mark_that_cannot_be_written_leaves_the_one_before),
        TEST(a_zone_that_cannot_be_named_stays_unnamed),
        TEST(a_folder_that_may_not_be_written_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
