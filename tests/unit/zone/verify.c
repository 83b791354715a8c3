/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#define LINES     "{\"n\":1}\n{\"n\":2}\n"
#define FILE_NAME DAY_FOLDER "/f.ndjson"

static enum mr_file_state state_of(struct fixture *f, const char *path, struct mr_str raw, int64_t rows, bool deep)
{
    struct mr_file_check check = {
        .path = path, .bytes = (int64_t)raw.n, .rows = rows, .crc32c = mr_crc32c(0, raw.p, raw.n), .deep = deep};
    assert_int_equal(mr_zone_check_file(f->zone, &check, &f->err), MR_OK);
    return check.state;
}

static void a_whole_file_is_found_whole(void **state)
{
    struct fixture *f = *state;
    put_file(f, FILE_NAME, MR_STR(LINES));
    assert_int_equal(state_of(f, FILE_NAME, MR_STR(LINES), 2, false), MR_FILE_OK);
    assert_int_equal(state_of(f, FILE_NAME, MR_STR(LINES), 2, true), MR_FILE_OK);
}

static void a_missing_or_cut_file_is_told(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(state_of(f, FILE_NAME, MR_STR(LINES), 2, false), MR_FILE_MISSING);
    put_file(f, FILE_NAME, MR_STR("{\"n\":1}\n"));
    assert_int_equal(state_of(f, FILE_NAME, MR_STR(LINES), 2, false), MR_FILE_SIZE);
    assert_int_equal(state_of(f, DAY_FOLDER, MR_STR(LINES), 2, false), MR_FILE_SIZE);
    assert_int_equal(state_of(f, FILE_NAME "/x", MR_STR(LINES), 2, false), MR_FILE_MISSING);
}

static void a_changed_byte_is_told_by_the_deep_check_only(void **state)
{
    struct fixture *f = *state;
    put_file(f, FILE_NAME, MR_STR("{\"n\":1}\n{\"n\":3}\n"));
    assert_int_equal(state_of(f, FILE_NAME, MR_STR(LINES), 2, false), MR_FILE_OK);
    assert_int_equal(state_of(f, FILE_NAME, MR_STR(LINES), 2, true), MR_FILE_CRC);
}

static void rows_are_counted_and_each_must_be_json(void **state)
{
    struct fixture *f = *state;
    static const struct {
        struct mr_str raw;
        int64_t rows;
        enum mr_file_state want;
    } cases[] = {
        {{"{}\n{}\n", 6}, 3, MR_FILE_ROWS},   {{"{}\n{}\n", 6}, 1, MR_FILE_ROWS}, {{"{}\n{}", 5}, 1, MR_FILE_ROWS},
        {{"{}\n{}", 5}, 2, MR_FILE_ROWS},     {{"{}\n{\n", 5}, 2, MR_FILE_ROWS},  {{"{}\n\n", 4}, 2, MR_FILE_ROWS},
        {{"\"\xff\"\n", 4}, 1, MR_FILE_ROWS}, {{"", 0}, 0, MR_FILE_OK},           {{"", 0}, 1, MR_FILE_ROWS},
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        put_file(f, FILE_NAME, cases[i].raw);
        assert_int_equal(state_of(f, FILE_NAME, cases[i].raw, cases[i].rows, true), cases[i].want);
    }
}

static void compressed_files_are_read_in_any_codec(void **state)
{
    struct fixture *f = *state;
    static const enum mr_codec codecs[] = {MR_CODEC_NONE, MR_CODEC_ZSTD, MR_CODEC_GZIP};
    struct mr_buf lines;
    mr_buf_init(&lines, 1 << 24);
    enum { ROWS = 20000 }; /* many pieces, so that lines lie across their ends */
    for (int i = 0; i < ROWS; i++)
        mr_buf_printf(&lines, "{\"id\":%d,\"pad\":\"%0*d\"}\n", i, i % 97 + 1, i);
    for (size_t i = 0; i < MR_COUNT(codecs); i++) {
        struct mr_deflater *d;
        struct mr_buf packed, path;
        mr_buf_init(&packed, 1 << 24);
        mr_buf_init(&path, 1000);
        assert_int_equal(mr_deflater_new(codecs[i], 1, &d, &f->err), MR_OK);
        assert_int_equal(mr_deflater_feed(d, mr_buf_str(&lines), true, &packed, &f->err), MR_OK);
        mr_zone_path(&path, MR_STR("shop"), MR_STR("orders"), 20779, MR_STR("big"), codecs[i]);
        put_file(f, mr_buf_cstr(&path), mr_buf_str(&packed));
        assert_int_equal(state_of(f, mr_buf_cstr(&path), mr_buf_str(&packed), ROWS, true), MR_FILE_OK);
        assert_int_equal(state_of(f, mr_buf_cstr(&path), mr_buf_str(&packed), ROWS - 1, true), MR_FILE_ROWS);
        packed.n -= packed.n / 3; /* a frame that ends in the middle, and a record of it that says so */
        put_file(f, mr_buf_cstr(&path), mr_buf_str(&packed));
        assert_int_equal(state_of(f, mr_buf_cstr(&path), mr_buf_str(&packed), ROWS, true), MR_FILE_ROWS);
        mr_deflater_free(d);
        mr_buf_free(&packed);
        mr_buf_free(&path);
    }
    mr_buf_free(&lines);
}

static void note_path(void *arg, const char *path, int64_t bytes)
{
    mr_buf_printf(arg, "%s %lld\n", path, (long long)bytes);
}

static void the_list_holds_data_files_only(void **state)
{
    struct fixture *f = *state;
    struct mr_buf found;
    mr_buf_init(&found, 4096);
    assert_int_equal(mr_zone_list(f->zone, note_path, &found, &f->err), MR_OK);
    assert_int_equal(found.n, 0);
    put_file(f, DAY_FOLDER "/_SEALED", MR_STR("{}"));
    put_file(f, DAY_FOLDER "/g.ndjson.part", MR_STR("x"));
    put_file(f, DAY_FOLDER "/.h.ndjson", MR_STR("x"));
    put_file(f, DAY_FOLDER "/notes.txt", MR_STR("x"));
    put_file(f, "source=shop/stray.ndjson", MR_STR("x"));
    put_file(f, "_other/stream=a/ingest_date=b/f.ndjson", MR_STR("x"));
    put_file(f, "stray.ndjson", MR_STR("x"));
    assert_int_equal(mr_zone_list(f->zone, note_path, &found, &f->err), MR_OK);
    assert_int_equal(found.n, 0);
    put_file(f, DAY_FOLDER "/f.ndjson.zst", MR_STR("12345"));
    assert_int_equal(mr_zone_list(f->zone, note_path, &found, &f->err), MR_OK);
    assert_string_equal(mr_buf_cstr(&found), DAY_FOLDER "/f.ndjson.zst 5\n");
    mr_buf_free(&found);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)
const struct CMUnitTest verify_tests[] = {
    TEST(a_whole_file_is_found_whole),
    TEST(a_missing_or_cut_file_is_told),
    TEST(a_changed_byte_is_told_by_the_deep_check_only),
    TEST(rows_are_counted_and_each_must_be_json),
    TEST(compressed_files_are_read_in_any_codec),
    TEST(the_list_holds_data_files_only),
};
const size_t verify_tests_count = MR_COUNT(verify_tests);
