/* SPDX-License-Identifier: Apache-2.0 */
/* Files of keys, several as one, and sorting: what comes back is what was put, in the order of the bytes, and damage is told. */
#include "sources/postgres/keydir.h"
#include "sources/postgres/keysort.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

struct bytes {
    const char *p;
    size_t n, at;
};

static enum mr_code read_bytes(void *arg, void *p, size_t n, size_t *got, struct mr_err *err)
{
    struct bytes *b = arg;
    (void)err;
    *got = n < b->n - b->at ? n : b->n - b->at;
    memcpy(p, b->p + b->at, *got);
    b->at += *got;
    return MR_OK;
}

static uint32_t random_state;
static uint32_t next_random(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

/* ---- what a test knows by itself: keys in an array, sorted by the C library ---- */

struct list {
    struct mr_str *keys;
    size_t n, cap;
};

static void list_add(struct list *l, const void *p, size_t n)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->keys = realloc(l->keys, l->cap * sizeof *l->keys);
        assert_non_null(l->keys);
    }
    char *copy = malloc(n + 1);
    assert_non_null(copy);
    memcpy(copy, p, n);
    l->keys[l->n++] = (struct mr_str){copy, n};
}

static int by_bytes(const void *a, const void *b)
{
    const struct mr_str *x = a, *y = b;
    int by = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return by ? by : x->n < y->n ? -1 : x->n > y->n;
}

static void list_sort(struct list *l) /* each once */
{
    size_t kept = 0;
    if (l->n)
        qsort(l->keys, l->n, sizeof *l->keys, by_bytes);
    for (size_t i = 0; i < l->n; i++) {
        if (kept && by_bytes(&l->keys[kept - 1], &l->keys[i]) == 0)
            free((char *)(uintptr_t)l->keys[i].p);
        else
            l->keys[kept++] = l->keys[i];
    }
    l->n = kept;
}

static void list_free(struct list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free((char *)(uintptr_t)l->keys[i].p);
    free(l->keys);
    *l = (struct list){0};
}

static struct list some(size_t n, uint32_t of)
{
    struct list l = {0};
    for (size_t i = 0; i < n; i++) {
        char key[64];
        int length = snprintf(key, sizeof key, "[%u,\"%c\"]", next_random() % of, (char)('a' + next_random() % 26));
        list_add(&l, key, (size_t)length);
    }
    return l;
}

static struct mr_buf write_file(enum pg_keys_kind kind, const struct list *l, const char *description, struct pg_keys_out *said)
{
    struct pg_keys_out out;
    struct mr_err err;
    assert_int_equal(pg_keys_out_init(&out, kind, &err), MR_OK);
    assert_int_equal(pg_keys_head(&out, mr_str_c(description), &err), MR_OK);
    for (size_t i = 0; i < l->n; i++)
        assert_int_equal(pg_keys_put(&out, l->keys[i], &err), MR_OK);
    assert_int_equal(kind == PG_KEYS_SORTED ? pg_keys_end(&out, &err) : pg_keys_flush(&out, &err), MR_OK);
    struct mr_buf bytes = out.bytes;
    if (said)
        *said = out;
    mr_buf_init(&out.bytes, 1);
    pg_keys_out_free(&out);
    return bytes;
}

/* How it ended; *same: all keys that came were those of the list, from the first on. */
static enum mr_code read_file(enum pg_keys_kind kind, const char *p, size_t n, const struct list *l, size_t *came, bool *same)
{
    struct bytes b = {p, n, 0};
    struct pg_keys_in in;
    struct mr_err err;
    *came = 0;
    *same = true;
    enum mr_code code = pg_keys_in_init(&in, kind, read_bytes, &b, &err);
    while (code == MR_OK && (code = pg_keys_next(&in, &err)) == MR_OK) {
        *same = *same && *came < l->n && mr_str_eq(in.key, l->keys[*came]);
        ++*came;
    }
    pg_keys_in_free(&in);
    return code;
}

static void what_was_written_comes_back(void **state)
{
    (void)state;
    for (size_t n = 0; n < 60000; n = n * 3 + 1) {
        struct list l = some(n, 100000);
        struct pg_keys_out said;
        size_t came;
        bool same;
        struct mr_buf log = write_file(PG_KEYS_LOG, &l, "log", NULL);
        assert_int_equal(read_file(PG_KEYS_LOG, log.p, log.n, &l, &came, &same), MR_EEND);
        assert_true(same && came == l.n);
        list_sort(&l);
        struct mr_buf sorted = write_file(PG_KEYS_SORTED, &l, "{\"key\":1}", &said);
        assert_int_equal(read_file(PG_KEYS_SORTED, sorted.p, sorted.n, &l, &came, &same), MR_EEND);
        assert_true(same && came == l.n && (size_t)said.count == l.n);
        assert_int_equal(read_file(PG_KEYS_LOG, sorted.p, sorted.n, &l, &came, &same), MR_ECORRUPT);
        if (n > 10000)
            assert_true(sorted.n < 4 * l.n); /* they have a dozen bytes each */
        mr_buf_free(&log);
        mr_buf_free(&sorted);
        list_free(&l);
    }
}

static void keys_of_any_bytes_and_lengths(void **state)
{
    (void)state;
    struct list l = {0};
    struct mr_err err;
    size_t came;
    bool same;
    char *large = malloc(PG_KEY_MAX + 1);
    assert_non_null(large);
    memset(large, 'x', PG_KEY_MAX + 1);
    list_add(&l, "", 0);
    list_add(&l, "\0", 1);
    list_add(&l, "\0\0\xff", 3);
    list_add(&l, "a", 1);
    list_add(&l, "a\0", 2);
    list_add(&l, "\x80", 1);
    list_add(&l, large, PG_KEY_MAX - 1);
    list_add(&l, large, PG_KEY_MAX);
    list_sort(&l);
    struct mr_buf file = write_file(PG_KEYS_SORTED, &l, "", NULL);
    assert_int_equal(read_file(PG_KEYS_SORTED, file.p, file.n, &l, &came, &same), MR_EEND);
    assert_true(same && came == l.n);
    struct pg_keys_out out;
    assert_int_equal(pg_keys_out_init(&out, PG_KEYS_LOG, &err), MR_OK);
    assert_int_equal(pg_keys_put(&out, (struct mr_str){large, PG_KEY_MAX + 1}, &err), MR_ETOOBIG);
    pg_keys_out_free(&out);
    struct pg_sort *sort = pg_sort_new(folder);
    assert_int_equal(pg_sort_add(sort, (struct mr_str){large, PG_KEY_MAX + 1}, &err), MR_ETOOBIG);
    pg_sort_free(sort);
    free(large);
    mr_buf_free(&file);
    list_free(&l);
}

static void a_file_that_is_cut_is_told_and_a_log_ends_there(void **state)
{
    (void)state;
    struct list l = some(40, 1000);
    size_t came, most = 0;
    bool same;
    struct mr_buf log = write_file(PG_KEYS_LOG, &l, "d", NULL);
    for (size_t n = 0; n < log.n; n++) {
        assert_int_equal(read_file(PG_KEYS_LOG, log.p, n, &l, &came, &same), MR_EEND);
        assert_true(same && came >= most); /* of one block: all or nothing */
        most = came;
    }
    assert_int_equal(most, 0);
    list_sort(&l);
    struct mr_buf sorted = write_file(PG_KEYS_SORTED, &l, "d", NULL);
    for (size_t n = 0; n < sorted.n; n++) {
        assert_int_equal(read_file(PG_KEYS_SORTED, sorted.p, n, &l, &came, &same), MR_ECORRUPT);
        assert_true(same);
    }
    mr_buf_put(&sorted, "x", 1);
    assert_int_equal(read_file(PG_KEYS_SORTED, sorted.p, sorted.n, &l, &came, &same), MR_ECORRUPT);
    mr_buf_free(&log);
    mr_buf_free(&sorted);
    list_free(&l);
}

static void each_bit_that_turns_is_told(void **state)
{
    (void)state;
    struct list l = some(60, 1000);
    size_t came;
    bool same;
    list_sort(&l);
    struct mr_buf file = write_file(PG_KEYS_SORTED, &l, "what keys these are", NULL);
    for (size_t i = 0; i < file.n * 8; i++) {
        file.p[i / 8] = (char)(file.p[i / 8] ^ 1 << i % 8);
        assert_int_equal(read_file(PG_KEYS_SORTED, file.p, file.n, &l, &came, &same), MR_ECORRUPT);
        assert_true(same); /* what came before it is right */
        file.p[i / 8] = (char)(file.p[i / 8] ^ 1 << i % 8);
    }
    mr_buf_free(&file);
    list_free(&l);
}

static void two_logs_blocks_may_lie_in_one_file(void **state)
{
    (void)state;
    struct list l = some(30, 1000);
    struct pg_keys_out a, b;
    struct mr_err err;
    size_t came;
    bool same;
    assert_int_equal(pg_keys_out_init(&a, PG_KEYS_LOG, &err), MR_OK);
    assert_int_equal(pg_keys_out_init(&b, PG_KEYS_LOG, &err), MR_OK);
    struct mr_buf file = write_file(PG_KEYS_LOG, &(struct list){0}, "d", NULL);
    for (size_t i = 0; i < l.n; i++) {
        struct pg_keys_out *o = i % 4 < 2 ? &a : &b; /* each goes on where it was: what it shares with the other's must not count */
        assert_int_equal(pg_keys_put(o, l.keys[i], &err), MR_OK);
        assert_int_equal(pg_keys_flush(o, &err), MR_OK);
        mr_buf_put(&file, o->bytes.p, o->bytes.n);
        mr_buf_clear(&o->bytes);
    }
    assert_int_equal(read_file(PG_KEYS_LOG, file.p, file.n, &l, &came, &same), MR_EEND);
    assert_true(same && came == l.n);
    pg_keys_out_free(&a);
    pg_keys_out_free(&b);
    mr_buf_free(&file);
    list_free(&l);
}

static void several_become_one(void **state)
{
    enum { MOST = 9 };
    (void)state;
    for (size_t inputs = 0; inputs <= MOST; inputs++) {
        struct list all = {0}, one[MOST];
        struct mr_buf files[MOST];
        struct bytes bytes[MOST];
        struct pg_keys_in in[MOST], *ptrs[MOST];
        struct pg_keys_merge m;
        struct mr_err err;
        for (size_t i = 0; i < inputs; i++) {
            one[i] = some(i * 37 % 5 * 400, 2000); /* some are empty, and many keys are in several */
            for (size_t k = 0; k < one[i].n; k++)
                list_add(&all, one[i].keys[k].p, one[i].keys[k].n);
            list_sort(&one[i]);
            files[i] = write_file(PG_KEYS_SORTED, &one[i], "", NULL);
            bytes[i] = (struct bytes){files[i].p, files[i].n, 0};
            assert_int_equal(pg_keys_in_init(&in[i], PG_KEYS_SORTED, read_bytes, &bytes[i], &err), MR_OK);
            ptrs[i] = &in[i];
        }
        list_sort(&all);
        pg_keys_merge_init(&m, ptrs, inputs);
        for (size_t i = 0; i < all.n; i++) {
            assert_int_equal(pg_keys_merge_next(&m, &err), MR_OK);
            assert_true(mr_str_eq(m.key, all.keys[i]));
        }
        assert_int_equal(pg_keys_merge_next(&m, &err), MR_EEND);
        assert_int_equal(pg_keys_merge_next(&m, &err), MR_EEND);
        pg_keys_merge_free(&m);
        for (size_t i = 0; i < inputs; i++) {
            pg_keys_in_free(&in[i]);
            mr_buf_free(&files[i]);
            list_free(&one[i]);
        }
        list_free(&all);
    }
}

static void sorted_as(struct pg_sort *sort, struct list *l)
{
    struct mr_err err;
    for (size_t i = 0; i < l->n; i++)
        assert_int_equal(pg_sort_add(sort, l->keys[i], &err), MR_OK);
    list_sort(l);
    assert_int_equal(pg_sort_end(sort, &err), MR_OK);
    for (size_t i = 0; i < l->n; i++) {
        assert_int_equal(pg_sort_next(sort, &err), MR_OK);
        assert_true(mr_str_eq(pg_sort_key(sort), l->keys[i]));
    }
    assert_int_equal(pg_sort_next(sort, &err), MR_EEND);
    pg_sort_free(sort);
}

static void many_small_keys_are_sorted(void **state)
{
    (void)state;
    struct list none = {0}, l = some(700000, 300000); /* more than two fillings, and each key twice on average */
    sorted_as(pg_sort_new(folder), &none);
    sorted_as(pg_sort_new(folder), &l);
    list_free(&l);
}

static void more_runs_than_are_read_at_once(void **state)
{
    (void)state;
    struct list l = {0};
    char *key = malloc(200000);
    assert_non_null(key);
    for (size_t i = 0; i < 22 * (PG_SORT_FAN * 2 + 3); i++) { /* 21 of them fill the memory */
        memset(key, (int)('a' + next_random() % 26), 200000);
        memcpy(key + 199990, &i, sizeof i);
        list_add(&l, key, 200000);
    }
    sorted_as(pg_sort_new(folder), &l);
    list_free(&l);
    free(key);
    assert_int_equal(rmdir(folder), 0); /* no run has a name */
    assert_int_equal(mkdir(folder, 0700), 0);
}

/* ---- the folder ---- */

static void touch(const char *name, size_t n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)n) == 0);
    close(fd);
}

static bool there(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static void away(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(unlink(path), 0);
}

static void a_look_keeps_what_counts_and_nothing_else(void **state)
{
    (void)state;
    static const char *const kept[] = {"keys-7", "landed-9-0", "landed-9-12", "notes"};
    static const char *const swept[] = {"keys-6", "keys-8", "keys-10.tmp", "keys-7.tmp", "landed-8-0", "landed-10-0", "run-abcdef"};
    struct pg_keydir_found found;
    struct mr_err err;
    struct pg_keys_named named = {.file = 7, .bytes = 100};
    for (size_t i = 0; i < MR_COUNT(kept); i++)
        touch(kept[i], 100);
    for (size_t i = 0; i < MR_COUNT(swept); i++)
        touch(swept[i], 100);
    assert_int_equal(pg_keydir_look(folder, 9, &named, &found, &err), MR_OK);
    assert_int_equal(found.missing.code, MR_OK);
    assert_int_equal(found.next, 13);
    assert_int_equal(found.landed_bytes, 200);
    for (size_t i = 0; i < MR_COUNT(kept); i++)
        assert_true(there(kept[i]));
    for (size_t i = 0; i < MR_COUNT(swept); i++)
        assert_false(there(swept[i]));
    named.bytes = 99;
    assert_int_equal(pg_keydir_look(folder, 9, &named, &found, &err), MR_OK);
    assert_int_equal(found.missing.code, MR_ECORRUPT);
    pg_keydir_remove_below(folder, 9);
    assert_false(there("keys-7"));
    assert_true(there("landed-9-0"));
    assert_int_equal(pg_keydir_look(folder, 9, &named, &found, &err), MR_OK);
    assert_int_equal(found.missing.code, MR_ENOENT);
    away("landed-9-0");
    away("landed-9-12");
    away("notes");
}

static void what_was_appended_is_read_back_by_its_version(void **state)
{
    (void)state;
    struct pg_landed l;
    struct mr_err err;
    struct list list = some(500, 1000);
    pg_landed_init(&l, folder);
    for (int64_t g = 3; g < 5; g++) {
        struct pg_keys_out out;
        uint64_t since = 0;
        size_t came;
        bool same;
        int fd;
        pg_landed_at(&l, g, 2, 0, "d");
        assert_int_equal(pg_keys_out_init(&out, PG_KEYS_LOG, &err), MR_OK);
        for (size_t i = 0; i < list.n; i++) {
            assert_int_equal(pg_keys_put(&out, list.keys[i], &err), MR_OK);
            if (i % 100 == 99) {
                assert_int_equal(pg_keys_flush(&out, &err), MR_OK);
                assert_int_equal(pg_landed_append(&l, &out, &since, &err), MR_OK);
            }
        }
        assert_int_equal(pg_landed_sync(&l, since, &err), MR_OK);
        assert_int_equal(pg_landed_open(folder, g, 2, &fd, &err), MR_OK);
        assert_true(fd >= 0);
        char *bytes = malloc((size_t)pg_landed_bytes(&l) + 1);
        assert_non_null(bytes);
        ssize_t n = read(fd, bytes, (size_t)pg_landed_bytes(&l) + 1);
        assert_int_equal(n, pg_landed_bytes(&l));
        assert_int_equal(read_file(PG_KEYS_LOG, bytes, (size_t)n, &list, &came, &same), MR_EEND);
        assert_true(same && came == list.n);
        close(fd);
        free(bytes);
        assert_int_equal(pg_landed_open(folder, g, 1, &fd, &err), MR_OK);
        assert_int_equal(fd, -1);
        pg_keys_out_free(&out);
    }
    pg_landed_free(&l);
    away("landed-3-2");
    away("landed-4-2");
    list_free(&list);
}

static void a_name_is_one_name_of_a_path(void **state)
{
    (void)state;
    char path[PG_DIR_MAX], *large = malloc(5000);
    assert_non_null(large);
    memset(large, 'x', 5000);
    large[4999] = '\0';
    assert_true(pg_keydir_path(path, "/d", "shop", "orders.v2"));
    assert_string_equal(path, "/d/postgres/shop/orders.v2");
    assert_true(pg_keydir_path(path, "/d", "shop", "../a b/\xc3\xa4%"));
    assert_string_equal(path, "/d/postgres/shop/%2e.%2fa%20b%2f%c3%a4%25");
    assert_false(pg_keydir_path(path, "/d", "shop", large));
    free(large);
}

static void a_value_of_the_store_is_read_as_it_was_written(void **state)
{
    (void)state;
    const struct pg_keys_named n = {.file = 12, .keys = INT64_C(5000000000), .bytes = 77, .sum = 0xfedcba98u, .xmax = UINT64_C(6000000000), .taken_us = INT64_C(1764300000000000)};
    struct mr_buf json;
    mr_buf_init(&json, 1024);
    pg_keys_named_put(&n, &json);
    assert_string_equal(mr_buf_cstr(&json), "{\"file\":12,\"keys\":5000000000,\"bytes\":77,\"sum\":4275878552,\"xmax\":6000000000,\"taken_at\":1764300000000000}");
    struct pg_keys_named back = pg_keys_named_get(mr_buf_str(&json));
    assert_true(back.file == n.file && back.keys == n.keys && back.bytes == n.bytes && back.sum == n.sum && back.xmax == n.xmax && back.taken_us == n.taken_us);
    back = pg_keys_named_get(MR_STR("{\"file\":-3,\"sum\":\"x\"}"));
    assert_true(back.file == 0 && back.sum == 0 && back.taken_us == 0);
    mr_buf_free(&json);
}

static int make_folder(void **state)
{
    (void)state;
    random_state = 42;
    snprintf(folder, sizeof folder, "/tmp/mr-keys-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_comes_back),
        cmocka_unit_test(keys_of_any_bytes_and_lengths),
        cmocka_unit_test(a_file_that_is_cut_is_told_and_a_log_ends_there),
        cmocka_unit_test(each_bit_that_turns_is_told),
        cmocka_unit_test(two_logs_blocks_may_lie_in_one_file),
        cmocka_unit_test(several_become_one),
        cmocka_unit_test(many_small_keys_are_sorted),
        cmocka_unit_test(more_runs_than_are_read_at_once),
        cmocka_unit_test(a_look_keeps_what_counts_and_nothing_else),
        cmocka_unit_test(what_was_appended_is_read_back_by_its_version),
        cmocka_unit_test(a_name_is_one_name_of_a_path),
        cmocka_unit_test(a_value_of_the_store_is_read_as_it_was_written),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
