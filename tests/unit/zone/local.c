/* SPDX-License-Identifier: Apache-2.0 */
/* local.c - the local place. Statics of the publish step are reached by including it: the way by link is for file
 * systems that no test machine has at hand. */
#include "fixture.h"

#include "../../../src/zone/local_publish.c"

#include <sys/wait.h>

#define LINE "{\"n\":1}\n"

static int reads_as_published(const struct fixture *f, const struct mr_publish_item *item)
{
    return !exists(f, item->staged) && file_is(f, item->path, MR_STR(LINE));
}

static void an_unknown_scheme_is_a_config_error(void **state)
{
    (void)state;
    struct mr_zone *z;
    struct mr_err err;
    assert_int_equal(mr_zone_open(&(struct mr_zone_options){.url = "s4://bucket"}, &z, &err), MR_ECONFIG);
    assert_int_equal(mr_zone_open(&(struct mr_zone_options){.url = "/raw"}, &z, &err), MR_ECONFIG);
    assert_int_equal(mr_zone_open(&(struct mr_zone_options){.url = "file:"}, &z, &err), MR_ECONFIG);
    assert_int_equal(mr_zone_open(&(struct mr_zone_options){.url = "file:/dev/null/raw"}, &z, &err), MR_EIO);
}

static void a_zone_opens_in_a_folder_that_is_not_there_yet(void **state)
{
    struct fixture *f = *state;
    char url[200];
    struct mr_zone *z;
    uint64_t bytes = 0;
    snprintf(url, sizeof url, "file://%s/new/raw//", f->root);
    assert_int_equal(mr_zone_open(&(struct mr_zone_options){.url = url}, &z, &f->err), MR_OK);
    assert_int_equal(mr_zone_free_bytes(z, &bytes, &f->err), MR_OK);
    assert_true(bytes > 0);
    mr_zone_close(z, NULL, NULL);
    assert_true(exists(f, "new/raw/_staging") && exists(f, "new/raw/_millrace/decided"));
}

static void staged_bytes_are_counted_and_lie_out_of_sight(void **state)
{
    struct fixture *f = *state;
    struct mr_publish_item item = stage(f, "ld-1", MR_STR(LINE));
    assert_string_equal(item.staged, "_staging/" ME "/ld-1.part");
    assert_int_equal(item.bytes, strlen(LINE));
    assert_int_equal(item.crc32c, mr_crc32c(0, LINE, strlen(LINE)));
    assert_true(file_is(f, item.staged, MR_STR(LINE)));
    struct mr_stage_file *again;
    assert_int_equal(mr_stage_file_create(f->zone, &(struct mr_stage_name){.instance = ME, .name = "ld-1"}, &again, &f->err), MR_EEXIST);
    assert_int_equal(mr_stage_file_create(f->zone, &(struct mr_stage_name){.instance = "nobody", .name = "ld-1"}, &again, &f->err), MR_ENOENT);
    mr_zone_unstage(f->zone, item.staged, NULL);
    assert_false(exists(f, item.staged));
    item_free(&item);
}

static void a_dropped_file_is_gone(void **state)
{
    struct fixture *f = *state;
    struct mr_stage_file *file;
    assert_int_equal(mr_stage_file_create(f->zone, &(struct mr_stage_name){.instance = ME, .name = "ld-2"}, &file, &f->err), MR_OK);
    assert_int_equal(mr_stage_file_write(file, MR_STR(LINE), &f->err), MR_OK);
    mr_stage_file_close(file, true);
    assert_false(exists(f, "_staging/" ME "/ld-2.part"));
}

static void publishing_twice_is_publishing_once(void **state)
{
    struct fixture *f = *state;
    struct mr_publish_item items[] = {stage(f, "a", MR_STR(LINE)), stage(f, "b", MR_STR(LINE))};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mr_zone_publish(f->zone, items, 2, &f->err), MR_OK);
        assert_true(items[0].code == MR_OK && items[1].code == MR_OK);
        assert_true(reads_as_published(f, &items[0]) && reads_as_published(f, &items[1]));
    }
    item_free(&items[0]);
    item_free(&items[1]);
}

static void publishing_goes_on_after_half_of_it(void **state)
{
    struct fixture *f = *state;
    struct mr_publish_item items[] = {stage(f, "a", MR_STR(LINE)), stage(f, "b", MR_STR(LINE)),
                                      stage(f, "c", MR_STR(LINE))};
    assert_int_equal(mr_zone_publish(f->zone, items + 1, 1, &f->err), MR_OK);
    mr_zone_close(f->zone, NULL, NULL);
    assert_int_equal(mr_zone_open(&(struct mr_zone_options){.url = f->url}, &f->zone, &f->err), MR_OK);
    assert_int_equal(mr_zone_publish(f->zone, items, 3, &f->err), MR_OK);
    for (int i = 0; i < 3; i++) {
        assert_true(reads_as_published(f, &items[i]));
        item_free(&items[i]);
    }
}

static void publishing_nothing_is_fine(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mr_zone_publish(f->zone, NULL, 0, &f->err), MR_OK);
}

static void an_item_that_is_gone_does_not_hold_up_the_others(void **state)
{
    struct fixture *f = *state;
    struct mr_publish_item items[] = {stage(f, "lost", MR_STR(LINE)), stage(f, "kept", MR_STR(LINE))};
    mr_zone_unstage(f->zone, items[0].staged, NULL);
    assert_int_equal(mr_zone_publish(f->zone, items, 2, &f->err), MR_ENOENT);
    assert_int_equal(f->err.code, MR_ENOENT);
    assert_int_equal(items[0].code, MR_ENOENT);
    assert_int_equal(items[1].code, MR_OK);
    assert_true(reads_as_published(f, &items[1]));
    put_file(f, items[0].path, MR_STR("other bytes, other size"));
    assert_int_equal(mr_zone_publish(f->zone, items, 1, &f->err), MR_ENOENT);
    assert_true(file_is(f, items[0].path, MR_STR("other bytes, other size")));
    item_free(&items[0]);
    item_free(&items[1]);
}

static void a_published_file_is_never_written_over(void **state)
{
    struct fixture *f = *state;
    struct mr_publish_item item = stage(f, "a", MR_STR(LINE));
    put_file(f, item.path, MR_STR("{\"of\":\"somebody else\"}\n"));
    assert_int_equal(mr_zone_publish(f->zone, &item, 1, &f->err), MR_EEXIST);
    assert_true(file_is(f, item.path, MR_STR("{\"of\":\"somebody else\"}\n")));
    assert_true(file_is(f, item.staged, MR_STR(LINE)));
    item_free(&item);
}

static void a_staged_file_that_was_cut_is_not_published(void **state)
{
    struct fixture *f = *state;
    struct mr_publish_item item = stage(f, "a", MR_STR(LINE));
    put_file(f, item.staged, MR_STR("{\"n\""));
    assert_int_equal(mr_zone_publish(f->zone, &item, 1, &f->err), MR_ENOENT);
    assert_false(exists(f, item.path));
    item_free(&item);
}

static void a_file_with_both_names_keeps_the_final_one(void **state)
{
    struct fixture *f = *state;
    struct mr_publish_item item = stage(f, "a", MR_STR(LINE));
    char staged[PATH_MAX], path[PATH_MAX];
    put_file(f, DAY_FOLDER "/other.ndjson", MR_STR(LINE));
    snprintf(staged, sizeof staged, "%s/%s", f->root, item.staged);
    snprintf(path, sizeof path, "%s/%s", f->root, item.path);
    assert_int_equal(link(staged, path), 0);
    assert_int_equal(mr_zone_publish(f->zone, &item, 1, &f->err), MR_OK);
    assert_true(reads_as_published(f, &item));
    item_free(&item);
}

static void the_way_by_link_refuses_a_taken_name_too(void **state)
{
    struct fixture *f = *state;
    struct mr_publish_item item = stage(f, "a", MR_STR(LINE));
    int root_fd = local_of(f->zone)->root_fd;
    put_file(f, item.path, MR_STR("taken"));
    assert_int_equal(move_by_link(root_fd, item.staged, item.path), EEXIST);
    assert_true(file_is(f, item.path, MR_STR("taken")));
    assert_int_equal(unlinkat(root_fd, item.path, 0), 0);
    assert_int_equal(move_by_link(root_fd, item.staged, item.path), 0);
    assert_true(reads_as_published(f, &item));
    assert_int_equal(move_by_link(root_fd, item.staged, item.path), ENOENT);
    item_free(&item);
}

static void a_folder_that_somebody_removed_is_made_again(void **state)
{
    struct fixture *f = *state;
    struct mr_publish_item a = stage(f, "a", MR_STR(LINE)), b = stage(f, "b", MR_STR(LINE));
    assert_int_equal(mr_zone_publish(f->zone, &a, 1, &f->err), MR_OK);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/source=shop", f->root);
    remove_tree(path);
    assert_int_equal(mr_zone_publish(f->zone, &b, 1, &f->err), MR_OK);
    assert_true(reads_as_published(f, &b));
    item_free(&a);
    item_free(&b);
}

enum { THREADS = 4, FILES = 25 };
struct stager {
    pthread_t thread;
    struct mr_zone *zone;
    int number, failed;
};

static void *stage_and_publish(void *arg)
{
    struct stager *s = arg;
    for (int i = 0; i < FILES; i++) {
        struct mr_stage_file *file;
        struct mr_publish_item item = {0};
        char name[32], path[PATH_MAX], staged[PATH_MAX];
        snprintf(name, sizeof name, "t%d-%d", s->number, i);
        if (mr_stage_file_create(s->zone, &(struct mr_stage_name){.instance = ME, .name = name}, &file, NULL) != MR_OK) {
            s->failed++;
            continue;
        }
        s->failed += mr_stage_file_write(file, MR_STR(LINE), NULL) != MR_OK ||
                     mr_stage_file_sync(file, &item.crc32c, &item.bytes, NULL) != MR_OK;
        snprintf(staged, sizeof staged, "%s", mr_stage_file_staged(file));
        mr_stage_file_close(file, false);
        snprintf(path, sizeof path, "source=s%d/stream=x/ingest_date=2026-11-22/%s.ndjson", i % 3, name);
        item.staged = staged;
        item.path = path;
        s->failed += mr_zone_publish(s->zone, &item, 1, NULL) != MR_OK;
    }
    return NULL;
}

static void count_file(void *arg, const char *path, int64_t bytes)
{
    (void)path;
    *(int *)arg += bytes == (int64_t)strlen(LINE);
}

static void workers_may_use_a_zone_at_once(void **state)
{
    struct fixture *f = *state;
    struct stager stagers[THREADS];
    int found = 0;
    for (int i = 0; i < THREADS; i++) {
        stagers[i] = (struct stager){.zone = f->zone, .number = i};
        assert_int_equal(pthread_create(&stagers[i].thread, NULL, stage_and_publish, &stagers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(stagers[i].thread, NULL), 0);
        assert_int_equal(stagers[i].failed, 0);
    }
    assert_int_equal(mr_zone_list(f->zone, count_file, &found, &f->err), MR_OK);
    assert_int_equal(found, THREADS * FILES);
}

static void an_instance_is_locked_against_others_and_free_after_close(void **state)
{
    struct fixture *f = *state;
    struct mr_zone *other;
    assert_int_equal(mr_zone_instance(f->zone, ME, NULL, &f->err), MR_OK); /* ours already */
    assert_int_equal(mr_zone_open(&(struct mr_zone_options){.url = f->url}, &other, &f->err), MR_OK);
    assert_int_equal(mr_zone_instance(other, ME, NULL, &f->err), MR_EINUSE);
    mr_zone_close(other, NULL, NULL); /* must not end the first one's lock */
    assert_int_equal(mr_zone_open(&(struct mr_zone_options){.url = f->url}, &other, &f->err), MR_OK);
    assert_int_equal(mr_zone_instance(other, ME, NULL, &f->err), MR_EINUSE);
    mr_zone_close(f->zone, NULL, NULL);
    assert_int_equal(mr_zone_instance(other, ME, NULL, &f->err), MR_OK);
    f->zone = other;
}

static bool stages_are(struct fixture *f, const char *want)
{
    struct mr_buf names;
    mr_buf_init(&names, 4096);
    assert_int_equal(mr_zone_stages(f->zone, &names, &f->err), MR_OK);
    bool same = strcmp(mr_buf_cstr(&names), want) == 0;
    mr_buf_free(&names);
    return same;
}

static void only_dead_instances_are_listed(void **state)
{
    struct fixture *f = *state;
    assert_true(stages_are(f, ""));
    put_file(f, "_staging/instance-b/x.part", MR_STR("x"));
    assert_true(stages_are(f, "instance-b\n"));
    pid_t child = fork();
    if (child == 0) { /* dies holding the lock */
        struct mr_zone *z;
        _exit(mr_zone_open(&(struct mr_zone_options){.url = f->url}, &z, NULL) == MR_OK && mr_zone_instance(z, "instance-b", NULL, NULL) == MR_OK ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(stages_are(f, "instance-b\n"));
    assert_true(exists(f, "_staging/instance-b/lock"));
}

static void a_sweep_keeps_what_it_must(void **state)
{
    struct fixture *f = *state;
    static const char *const keep[] = {"_staging/instance-b/decided.part", "_staging/instance-c/other.part"};
    put_file(f, "_staging/instance-b/decided.part", MR_STR(LINE));
    put_file(f, "_staging/instance-b/other.part", MR_STR(LINE));
    put_file(f, "_staging/instance-b/lock", MR_STR(""));
    assert_int_equal(mr_zone_sweep(f->zone, "instance-b", keep, 2, &f->err), MR_OK);
    assert_true(file_is(f, keep[0], MR_STR(LINE)));
    assert_false(exists(f, "_staging/instance-b/other.part"));
    assert_int_equal(mr_zone_sweep(f->zone, "instance-b", NULL, 0, &f->err), MR_OK);
    assert_false(exists(f, "_staging/instance-b")); /* nothing left: nothing to find at every later start */
    assert_int_equal(mr_zone_sweep(f->zone, "instance-b", NULL, 0, &f->err), MR_OK);
}

static void a_sweep_of_a_live_folder_leaves_its_lock(void **state)
{
    struct fixture *f = *state;
    struct mr_publish_item item = stage(f, "old", MR_STR(LINE));
    assert_int_equal(mr_zone_sweep(f->zone, ME, NULL, 0, &f->err), MR_OK);
    assert_false(exists(f, item.staged));
    assert_true(exists(f, "_staging/" ME "/lock"));
    struct mr_publish_item next = stage(f, "new", MR_STR(LINE));
    assert_int_equal(mr_zone_publish(f->zone, &next, 1, &f->err), MR_OK);
    item_free(&item);
    item_free(&next);
    struct mr_zone *other; /* held by another: files go, folder and lock stay */
    assert_int_equal(mr_zone_open(&(struct mr_zone_options){.url = f->url}, &other, &f->err), MR_OK);
    assert_int_equal(mr_zone_sweep(other, ME, NULL, 0, &f->err), MR_OK);
    mr_zone_close(other, NULL, NULL);
    assert_true(exists(f, "_staging/" ME "/lock"));
}

static void the_identity_is_what_was_written(void **state)
{
    struct fixture *f = *state;
    struct mr_zone_id id;
    assert_int_equal(mr_zone_identity(f->zone, &id, &f->err), MR_OK);
    assert_false(id.present || id.has_data);
    assert_int_equal(id.highest_decided, 0);
    assert_int_equal(mr_zone_identify(f->zone, "3f0c8a52-6d1e-4c55-9f0e-0f1d2c3b4a59", &f->err), MR_OK);
    assert_true(file_is(f, "_millrace/zone.json",
                        MR_STR("{\"store\": \"3f0c8a52-6d1e-4c55-9f0e-0f1d2c3b4a59\", \"format\": 1, \"written_by\": "
                               "\"millrace " MR_VERSION "\"}\n")));
    assert_int_equal(mr_zone_mark_decided(f->zone, ME, 41, &f->err), MR_OK);
    assert_int_equal(mr_zone_mark_decided(f->zone, ME, 42, &f->err), MR_OK);
    assert_int_equal(mr_zone_mark_decided(f->zone, "instance-b", 7, &f->err), MR_OK);
    put_file(f, "_millrace/decided/instance-c.tmp", MR_STR("9")); /* died while writing */
    put_file(f, "source=shop/x", MR_STR(""));
    assert_int_equal(mr_zone_identity(f->zone, &id, &f->err), MR_OK);
    assert_true(id.present && id.has_data);
    assert_string_equal(id.store_id, "3f0c8a52-6d1e-4c55-9f0e-0f1d2c3b4a59");
    assert_int_equal(id.highest_decided, 42);
}

static void a_damaged_identity_is_not_taken_for_a_missing_one(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"",
                                      "{}",
                                      "{\"store\": 7}",
                                      "{\"store\": \"\"}",
                                      "{\"store\": \"3f0c",
                                      "{\"store\": \"3f0c8a52-6d1e-4c55-9f0e-0f1d2c3b4a59-and-more\"}"};
    struct mr_zone_id id;
    for (size_t i = 0; i < MR_COUNT(bad); i++) {
        put_file(f, "_millrace/zone.json", mr_str_c(bad[i]));
        assert_int_equal(mr_zone_identity(f->zone, &id, &f->err), MR_ECORRUPT);
        assert_false(id.present);
    }
    assert_int_equal(mr_zone_identify(f->zone, "3f0c8a52-6d1e-4c55-9f0e-0f1d2c3b4a59", &f->err), MR_OK);
    static const char *const marks[] = {"", "x\n", "7", "7\n7\n", "-1\n", "99999999999999999999\n"};
    for (size_t i = 0; i < MR_COUNT(marks); i++) {
        put_file(f, "_millrace/decided/" ME, mr_str_c(marks[i]));
        assert_int_equal(mr_zone_identity(f->zone, &id, &f->err), MR_ECORRUPT);
    }
}

static void a_seal_lies_beside_the_days_files(void **state)
{
    struct fixture *f = *state;
    const struct mr_str counts = MR_STR("{\"rows\": 2}\n");
    assert_int_equal(mr_zone_write_sealed(f->zone, MR_STR("shop"), MR_STR("orders"), 20779, counts, &f->err), MR_OK);
    assert_false(exists(f, DAY_FOLDER)); /* a day that somebody has taken away does not come back for it */
    put_file(f, DAY_FOLDER "/a.ndjson", MR_STR("{}\n"));
    assert_int_equal(mr_zone_write_sealed(f->zone, MR_STR("shop"), MR_STR("orders"), 20779, counts, &f->err), MR_OK);
    assert_true(file_is(f, DAY_FOLDER "/_SEALED", MR_STR("{\"rows\": 2}\n")));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)
const struct CMUnitTest local_tests[] = {
    cmocka_unit_test(an_unknown_scheme_is_a_config_error),
    TEST(a_zone_opens_in_a_folder_that_is_not_there_yet),
    TEST(staged_bytes_are_counted_and_lie_out_of_sight),
    TEST(a_dropped_file_is_gone),
    TEST(publishing_twice_is_publishing_once),
    TEST(publishing_goes_on_after_half_of_it),
    TEST(publishing_nothing_is_fine),
    TEST(an_item_that_is_gone_does_not_hold_up_the_others),
    TEST(a_published_file_is_never_written_over),
    TEST(a_staged_file_that_was_cut_is_not_published),
    TEST(a_file_with_both_names_keeps_the_final_one),
    TEST(the_way_by_link_refuses_a_taken_name_too),
    TEST(a_folder_that_somebody_removed_is_made_again),
    TEST(workers_may_use_a_zone_at_once),
    TEST(an_instance_is_locked_against_others_and_free_after_close),
    TEST(only_dead_instances_are_listed),
    TEST(a_sweep_keeps_what_it_must),
    TEST(a_sweep_of_a_live_folder_leaves_its_lock),
    TEST(the_identity_is_what_was_written),
    TEST(a_damaged_identity_is_not_taken_for_a_missing_one),
    TEST(a_seal_lies_beside_the_days_files),
};
const size_t local_tests_count = MR_COUNT(local_tests);
