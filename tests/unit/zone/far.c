/* SPDX-License-Identifier: Apache-2.0 */
/* far.c - the zone's promises in a bucket. Each story runs on a worker, as landing does, while the loop turns; the ledger is a list in memory, looked at by the
 * story. far.py has the store.
 *
 * usage: test_zone_far ENDPOINT URL ACCESS SECRET SCRATCH */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "millrace/client.h"
#include "millrace/hash.h"
#include "millrace/loop.h"
#include "millrace/worker.h"
#include "millrace/zone.h"

#include <stdio.h>
#include <stdlib.h>

#define FOLDER "source=shop/stream=orders/ingest_date=2026-11-22"
#define LINE   "{\"n\":1}\n"

static char **args;

struct noted {
    char path[256], upload[1100];
    bool gone, orphan;
};

struct far {
    struct mr_loop loop;
    struct mr_client *client;
    struct mr_zone *zone;
    struct mr_stage_ledger ledger;
    struct noted notes[64]; /* in the order of the calls */
    size_t notes_count;
    char url[512];
    struct mr_err err;
    struct mr_job job;
    void (*story)(struct far *f);
    bool done;
};

static void on_note(struct mr_stage_ledger *ledger, struct mr_stage_note *note)
{
    struct far *f = MR_OF(ledger, struct far, ledger);
    struct noted *n = &f->notes[f->notes_count++ % MR_COUNT(f->notes)];
    snprintf(n->path, sizeof n->path, "%.*s", (int)note->path.n, note->path.p);
    snprintf(n->upload, sizeof n->upload, "%.*s", (int)note->upload.n, note->upload.n ? note->upload.p : "");
    n->gone = note->gone;
    n->orphan = note->orphan;
    note->done(note, &(struct mr_err){.code = MR_OK});
}

static void need(bool ok, const char *what, int line, const struct far *f)
{
    if (ok)
        return;
    fprintf(stderr, "far.c:%d: %s: %s\n", line, what, f->err.msg);
    abort(); /* on a worker: cmocka's own way out is not to be had */
}
#define NEED(what) need((what), #what, __LINE__, f)

static struct mr_publish_item stage(struct far *f, const char *name, size_t bytes)
{
    struct mr_stage_file *file = NULL;
    char path[128];
    struct mr_publish_item item = {.landing = "landing-1"};
    char *piece = malloc(1 << 20);
    NEED(piece);
    snprintf(path, sizeof path, FOLDER "/%s.ndjson", name);
    NEED(mr_stage_file_create(f->zone, &(struct mr_stage_name){"me", item.landing, name, path}, &file, &f->err) == MR_OK);
    for (size_t left = bytes, n; left > 0; left -= n) {
        n = left < 1 << 20 ? left : 1 << 20;
        for (size_t i = 0; i < n; i++)
            piece[i] = (char)('a' + (i * 7 + left) % 23);
        NEED(mr_stage_file_write(file, (struct mr_str){piece, n}, &f->err) == MR_OK);
    }
    NEED(mr_stage_file_sync(file, &item.crc32c, &item.bytes, &f->err) == MR_OK);
    NEED((size_t)item.bytes == bytes);
    item.staged = strdup(mr_stage_file_staged(file));
    item.path = strdup(path);
    mr_stage_file_close(file, false);
    free(piece);
    return item;
}

static void forget(struct mr_publish_item *item)
{
    free((char *)(uintptr_t)item->staged);
    free((char *)(uintptr_t)item->path);
}

static enum mr_file_state state_of(struct far *f, const struct mr_publish_item *item, bool deep, int64_t rows)
{
    struct mr_file_check check = {.path = item->path, .bytes = item->bytes, .crc32c = item->crc32c, .rows = rows, .deep = deep};
    NEED(mr_zone_check_file(f->zone, &check, &f->err) == MR_OK);
    return check.state;
}

/* ---- stories ---- */

static void staged_is_not_seen_published_is_and_again(struct far *f)
{
    struct mr_publish_item item = stage(f, "seen", 100);
    NEED(f->notes_count == 2 && !f->notes[0].upload[0] && f->notes[1].upload[0] && strcmp(f->notes[0].path, item.path) == 0);
    NEED(state_of(f, &item, false, 0) == MR_FILE_MISSING);
    for (int i = 0; i < 3; i++)
        NEED(mr_zone_publish(f->zone, &item, 1, &f->err) == MR_OK && item.code == MR_OK);
    NEED(state_of(f, &item, false, 0) == MR_FILE_OK);
    item.bytes++;
    NEED(state_of(f, &item, false, 0) == MR_FILE_SIZE);
    forget(&item);
}

static void a_large_file_has_parts_and_its_checksum_holds(struct far *f)
{
    struct mr_publish_item item = stage(f, "large", 20 << 20);
    NEED(mr_zone_publish(f->zone, &item, 1, &f->err) == MR_OK);
    NEED(state_of(f, &item, true, 0) == MR_FILE_ROWS); /* crc is right, but these are no lines */
    item.crc32c++;
    NEED(state_of(f, &item, true, 0) == MR_FILE_CRC);
    forget(&item);
}

static void many_are_published_at_once_and_one_that_is_gone_is_told(struct far *f)
{
    struct mr_publish_item items[20];
    char name[32];
    for (size_t i = 0; i < MR_COUNT(items); i++) {
        snprintf(name, sizeof name, "many-%zu", i);
        items[i] = stage(f, name, 10 + i);
    }
    mr_zone_unstage(f->zone, items[7].staged, items[7].path);
    NEED(f->notes[(f->notes_count - 1) % MR_COUNT(f->notes)].gone || f->notes[(f->notes_count - 1) % MR_COUNT(f->notes)].orphan);
    NEED(mr_zone_publish(f->zone, items, MR_COUNT(items), &f->err) == MR_ENOENT);
    for (size_t i = 0; i < MR_COUNT(items); i++) {
        NEED(items[i].code == (i == 7 ? MR_ENOENT : MR_OK));
        forget(&items[i]);
    }
}

static void a_name_that_others_have_taken_is_not_written_over(struct far *f)
{
    struct mr_publish_item first = stage(f, "taken", 50);
    NEED(mr_zone_publish(f->zone, &first, 1, &f->err) == MR_OK);
    struct mr_publish_item second = stage(f, "taken", 60);
    second.landing = "landing-2";
    NEED(mr_zone_publish(f->zone, &second, 1, &f->err) == MR_EEXIST && second.code == MR_EEXIST);
    NEED(state_of(f, &first, false, 0) == MR_FILE_OK);
    mr_zone_unstage(f->zone, second.staged, second.path);
    forget(&first);
    forget(&second);
}

static void dropped_is_gone_and_forgotten(struct far *f)
{
    struct mr_stage_file *file = NULL;
    const struct mr_stage_name name = {"me", "landing-1", "dropped", FOLDER "/dropped.ndjson"};
    NEED(mr_stage_file_create(f->zone, &name, &file, &f->err) == MR_OK);
    mr_stage_file_close(file, true); /* nothing was asked for yet */
    NEED(f->notes_count == 0);
    NEED(mr_stage_file_create(f->zone, &name, &file, &f->err) == MR_OK);
    NEED(mr_stage_file_write(file, MR_STR(LINE), &f->err) == MR_OK);
    uint32_t crc;
    int64_t bytes;
    NEED(mr_stage_file_sync(file, &crc, &bytes, &f->err) == MR_OK && bytes == sizeof LINE - 1);
    mr_stage_file_close(file, true);
    NEED(f->notes_count == 3 && (f->notes[2].gone || f->notes[2].orphan)); /* begun twice, perhaps: whoever sweeps looks again */
}

static void what_others_left_is_aborted_by_id_or_by_key(struct far *f)
{
    struct mr_publish_item a = stage(f, "left-a", 10), b = stage(f, "left-b", 10), twice = stage(f, "left-b", 11);
    NEED(mr_zone_abort(f->zone, a.path, f->notes[1].upload, &f->err) == MR_OK);
    NEED(mr_zone_abort(f->zone, a.path, f->notes[1].upload, &f->err) == MR_OK); /* it is not there: fine */
    NEED(mr_zone_abort(f->zone, b.path, "", &f->err) == MR_OK);
    struct mr_publish_item all[] = {a, b, twice};
    NEED(mr_zone_publish(f->zone, all, MR_COUNT(all), &f->err) == MR_ENOENT);
    for (size_t i = 0; i < MR_COUNT(all); i++) {
        NEED(all[i].code == MR_ENOENT);
        forget(&all[i]);
    }
}

static void what_was_staged_in_a_directory_is_lost_here(struct far *f)
{
    struct mr_publish_item item = {.staged = "_staging/me/x.part", .path = FOLDER "/x.ndjson", .landing = "l", .bytes = 3};
    NEED(mr_zone_publish(f->zone, &item, 1, &f->err) == MR_ENOENT);
}

static void whose_it_is_and_how_far_it_had_come(struct far *f)
{
    struct mr_zone_id id;
    char instance[32];
    NEED(mr_zone_identity(f->zone, &id, &f->err) == MR_OK && !id.present && !id.has_data && id.highest_decided == 0);
    NEED(mr_zone_identify(f->zone, "3f0c8a52-6d1e-4c55-9f0e-0f1d2c3b4a59", &f->err) == MR_OK);
    for (int i = 0; i < 11; i++) {
        snprintf(instance, sizeof instance, "instance-%d", i);
        NEED(mr_zone_mark_decided(f->zone, instance, i == 4 ? 99 : i, &f->err) == MR_OK);
    }
    NEED(mr_zone_mark_decided(f->zone, "instance-4", 100, &f->err) == MR_OK);
    NEED(mr_zone_identity(f->zone, &id, &f->err) == MR_OK && id.present && !id.has_data && id.highest_decided == 100);
    NEED(strcmp(id.store_id, "3f0c8a52-6d1e-4c55-9f0e-0f1d2c3b4a59") == 0);
    struct mr_publish_item item = stage(f, "data", 10);
    NEED(mr_zone_identity(f->zone, &id, &f->err) == MR_OK && !id.has_data); /* staged only */
    NEED(mr_zone_publish(f->zone, &item, 1, &f->err) == MR_OK);
    NEED(mr_zone_identity(f->zone, &id, &f->err) == MR_OK && id.has_data);
    forget(&item);
}

static void count_file(void *arg, const char *path, int64_t bytes)
{
    int64_t *sum = arg;
    (void)path;
    sum[0]++;
    sum[1] += bytes;
}

static void sealed_once_and_lists_hold_data_only(struct far *f)
{
    int64_t sum[2] = {0};
    struct mr_publish_item item = stage(f, "sealed", 10);
    NEED(mr_zone_write_sealed(f->zone, MR_STR("shop"), MR_STR("orders"), 20779, MR_STR("{}"), &f->err) == MR_OK); /* no such day: nothing is made */
    NEED(mr_zone_list(f->zone, count_file, sum, &f->err) == MR_OK && sum[0] == 0);
    NEED(mr_zone_publish(f->zone, &item, 1, &f->err) == MR_OK);
    for (int i = 0; i < 2; i++)
        NEED(mr_zone_write_sealed(f->zone, MR_STR("shop"), MR_STR("orders"), 20779, MR_STR("{}"), &f->err) == MR_OK);
    struct mr_file_check sealed = {.path = FOLDER "/_SEALED", .bytes = 2};
    NEED(mr_zone_check_file(f->zone, &sealed, &f->err) == MR_OK && sealed.state == MR_FILE_OK);
    NEED(mr_zone_list(f->zone, count_file, sum, &f->err) == MR_OK && sum[0] == 1 && sum[1] == 10);
    uint64_t bytes;
    NEED(mr_zone_free_bytes(f->zone, &bytes, &f->err) == MR_EEND);
    forget(&item);
}

/* ---- a loop for each, and a worker on it ---- */

static void story_run(struct mr_job *job)
{
    struct far *f = MR_OF(job, struct far, job);
    f->story(f);
}

static void story_done(struct mr_job *job, bool canceled)
{
    assert_false(canceled);
    MR_OF(job, struct far, job)->done = true;
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void turn_until(struct far *f, const bool *done)
{
    while (!*done)
        uv_run(&f->loop.uv, UV_RUN_ONCE);
}

static void tell(const char *prefix, void (*story)(struct far *f))
{
    struct far *f = calloc(1, sizeof *f);
    bool zone_closed = false, client_closed = false;
    assert_non_null(f);
    f->story = story;
    f->ledger.note = on_note;
    assert_int_equal(mr_loop_init(&f->loop, &(struct mr_loop_options){.memory_limit = 1 << 26}, &f->err), MR_OK);
    assert_int_equal(mr_client_new(&f->loop, &(struct mr_client_options){0}, &f->client, &f->err), MR_OK);
    snprintf(f->url, sizeof f->url, "%s/%s", args[2], prefix);
    const struct mr_zone_options options = {.url = f->url, .loop = &f->loop, .client = f->client, .scratch = args[5], .memory = 1 << 20 /* less than a part: one at a time */,
                                            .endpoint = args[1], .access_key = args[3], .secret_key = args[4]};
    assert_int_equal(mr_zone_open(&options, &f->zone, &f->err), MR_OK);
    assert_true(mr_zone_is_far(f->zone));
    assert_int_equal(mr_zone_instance(f->zone, "me", &f->ledger, &f->err), MR_OK);
    f->job = (struct mr_job){.run = story_run, .done = story_done};
    mr_worker_submit(f->loop.workers, MR_LANE_FAR, &f->job);
    turn_until(f, &f->done);
    mr_zone_close(f->zone, on_closed, &zone_closed);
    turn_until(f, &zone_closed);
    mr_client_close(f->client, on_closed, &client_closed);
    turn_until(f, &client_closed);
    mr_loop_close(&f->loop);
    free(f);
}

#define STORIES(X)                                                                                                                                    \
    X(staged_is_not_seen_published_is_and_again)                                                                                                      \
    X(a_large_file_has_parts_and_its_checksum_holds)                                                                                                  \
    X(many_are_published_at_once_and_one_that_is_gone_is_told)                                                                                        \
    X(a_name_that_others_have_taken_is_not_written_over)                                                                                              \
    X(dropped_is_gone_and_forgotten)                                                                                                                  \
    X(what_others_left_is_aborted_by_id_or_by_key)                                                                                                    \
    X(what_was_staged_in_a_directory_is_lost_here)                                                                                                    \
    X(whose_it_is_and_how_far_it_had_come)                                                                                                            \
    X(sealed_once_and_lists_hold_data_only)

#define TOLD(name)                              \
    static void told_##name(void **state)       \
    {                                           \
        (void)state;                            \
        tell(#name, name);                      \
    }
STORIES(TOLD)

int main(int argc, char **argv)
{
#define TEST(name) {#name, told_##name, NULL, NULL, NULL},
    const struct CMUnitTest tests[] = {STORIES(TEST)};
    if (argc != 6)
        return 2;
    args = argv;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
