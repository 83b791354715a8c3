/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "millrace/compress.h"
#include "millrace/file.h"
#include "millrace/hash.h"

enum { MANY = 700 * 1000, LIMIT = 4 << 20 };

struct collected {
    struct mr_buf bytes;
    int pieces, stop_after;
};

static enum mr_code collect(void *arg, struct mr_str piece, struct mr_err *err)
{
    struct collected *c = arg;
    if (++c->pieces == c->stop_after)
        return mr_err_set(err, MR_ECANCELED, "enough");
    mr_buf_put(&c->bytes, piece.p, piece.n);
    return MR_OK;
}

/* Half text, half noise: compresses, but not to nothing. */
static struct mr_str sample(char *room, size_t n)
{
    mr_random(room, n);
    for (size_t i = 0; i < n; i++)
        if (i / 64 % 2)
            room[i] = (char)('a' + i % 16);
    return (struct mr_str){room, n};
}

static const char *path_in(void **state)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/file", (const char *)*state);
    return path;
}

static void write_file(void **state, struct mr_str bytes)
{
    struct mr_err err;
    assert_int_equal(mr_file_replace(path_in(state), bytes, 0600, &err), MR_OK);
}

static enum mr_code read_back(void **state, enum mr_codec codec, struct collected *c, struct mr_err *err)
{
    mr_buf_init(&c->bytes, LIMIT);
    return mr_inflate_file(path_in(state), codec, collect, c, err);
}

static void what_is_fed_in_pieces_reads_back_from_the_file(void **state)
{
    static char room[MANY];
    struct mr_str in = sample(room, sizeof room);
    for (int codec = MR_CODEC_NONE; codec <= MR_CODEC_GZIP; codec++) {
        struct mr_err err;
        struct mr_deflater *d;
        struct mr_buf out;
        mr_buf_init(&out, LIMIT);
        assert_int_equal(mr_deflater_new((enum mr_codec)codec, 1, &d, &err), MR_OK);
        for (size_t at = 0, n; at < in.n; at += n) {
            n = in.n - at < 7777 ? in.n - at : 7777;
            assert_int_equal(mr_deflater_feed(d, (struct mr_str){in.p + at, n}, false, &out, &err), MR_OK);
        }
        assert_int_equal(mr_deflater_feed(d, (struct mr_str){0}, true, &out, &err), MR_OK);
        assert_true(codec == MR_CODEC_NONE ? out.n == in.n : out.n < in.n * 3 / 4);
        write_file(state, mr_buf_str(&out));
        struct collected c = {0};
        assert_int_equal(read_back(state, (enum mr_codec)codec, &c, &err), MR_OK);
        assert_true(mr_str_eq(mr_buf_str(&c.bytes), in));
        mr_buf_free(&c.bytes);
        mr_buf_free(&out);
        mr_deflater_free(d);
    }
}

static void a_reset_compressor_forgets_the_file_before(void **state)
{
    static char room[100 * 1000];
    struct mr_str in = sample(room, sizeof room);
    for (int codec = MR_CODEC_ZSTD; codec <= MR_CODEC_GZIP; codec++) {
        struct mr_err err;
        struct mr_deflater *d;
        struct mr_buf out;
        mr_buf_init(&out, LIMIT);
        assert_int_equal(mr_deflater_new((enum mr_codec)codec, 1, &d, &err), MR_OK);
        assert_int_equal(mr_deflater_feed(d, in, false, &out, &err), MR_OK); /* given up in the middle */
        mr_deflater_reset(d);
        mr_buf_clear(&out);
        assert_int_equal(mr_deflater_feed(d, MR_STR("only this"), true, &out, &err), MR_OK);
        assert_int_equal(mr_deflater_feed(d, MR_STR(" and a second frame"), true, &out, &err), MR_OK);
        write_file(state, mr_buf_str(&out));
        struct collected c = {0};
        assert_int_equal(read_back(state, (enum mr_codec)codec, &c, &err), MR_OK);
        assert_string_equal(mr_buf_cstr(&c.bytes), "only this and a second frame");
        mr_buf_free(&c.bytes);
        mr_buf_free(&out);
        mr_deflater_free(d);
    }
}

static void output_above_the_buffers_limit_is_refused(void **state)
{
    (void)state;
    static char room[300 * 1000];
    struct mr_str in = sample(room, sizeof room);
    for (int codec = MR_CODEC_NONE; codec <= MR_CODEC_GZIP; codec++) {
        struct mr_err err;
        struct mr_deflater *d;
        struct mr_buf out;
        mr_buf_init(&out, 10 * 1000);
        assert_int_equal(mr_deflater_new((enum mr_codec)codec, 1, &d, &err), MR_OK);
        assert_int_equal(mr_deflater_feed(d, in, true, &out, &err), MR_ETOOBIG);
        assert_true(out.failed && out.n <= 10 * 1000);
        assert_int_not_equal(mr_deflater_feed(d, in, true, &out, &err), MR_OK);
        mr_buf_free(&out);
        mr_deflater_free(d);
    }
}

/* Every size of file round the sizes of the reader's own buffers. */
static void a_file_of_any_length_reads_back(void **state)
{
    static char room[132 * 1024];
    memset(room, 'x', sizeof room);
    mr_random(room, sizeof room / 2);
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 131071, 131072, 131073};
    for (int codec = MR_CODEC_NONE; codec <= MR_CODEC_GZIP; codec++)
        for (size_t i = 0; i < MR_COUNT(sizes); i++) {
            struct mr_err err;
            struct mr_deflater *d;
            struct mr_buf out;
            mr_buf_init(&out, LIMIT);
            assert_int_equal(mr_deflater_new((enum mr_codec)codec, codec == MR_CODEC_GZIP ? 6 : 3, &d, &err), MR_OK);
            assert_int_equal(mr_deflater_feed(d, (struct mr_str){room, sizes[i]}, true, &out, &err), MR_OK);
            write_file(state, mr_buf_str(&out));
            struct collected c = {0};
            assert_int_equal(read_back(state, (enum mr_codec)codec, &c, &err), MR_OK);
            assert_true(mr_str_eq(mr_buf_str(&c.bytes), (struct mr_str){room, sizes[i]}));
            mr_buf_free(&c.bytes);
            mr_buf_free(&out);
            mr_deflater_free(d);
        }
}

static void a_file_cut_anywhere_or_changed_is_called_corrupt(void **state)
{
    for (int codec = MR_CODEC_ZSTD; codec <= MR_CODEC_GZIP; codec++) {
        struct mr_err err;
        struct mr_deflater *d;
        struct mr_buf out;
        mr_buf_init(&out, LIMIT);
        assert_int_equal(mr_deflater_new((enum mr_codec)codec, 1, &d, &err), MR_OK);
        assert_int_equal(mr_deflater_feed(d, MR_STR("{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n"), true, &out, &err), MR_OK);
        for (size_t cut = 0; cut < out.n; cut++) {
            write_file(state, (struct mr_str){out.p, cut});
            struct collected c = {0};
            assert_int_equal(read_back(state, (enum mr_codec)codec, &c, &err), MR_ECORRUPT);
            mr_buf_free(&c.bytes);
        }
        out.p[out.n - 5 - (codec == MR_CODEC_GZIP ? 1 : 0)] ^= 0x10; /* the last of the data, or its checksum */
        write_file(state, mr_buf_str(&out));
        struct collected c = {0};
        assert_int_equal(read_back(state, (enum mr_codec)codec, &c, &err), MR_ECORRUPT);
        mr_buf_free(&c.bytes);
        mr_buf_free(&out);
        mr_deflater_free(d);
    }
}

static void the_readers_own_error_ends_the_reading(void **state)
{
    struct mr_err err;
    struct collected c = {.stop_after = 1};
    write_file(state, MR_STR("bytes"));
    assert_int_equal(read_back(state, MR_CODEC_NONE, &c, &err), MR_ECANCELED);
    assert_string_equal(err.msg, "enough");
    mr_buf_free(&c.bytes);
    assert_int_equal(mr_inflate_file("/nonexistent/file", MR_CODEC_ZSTD, collect, &c, &err), MR_ENOENT);
}

static void a_level_that_the_codec_does_not_know_is_refused(void **state)
{
    (void)state;
    struct mr_err err;
    struct mr_deflater *d = NULL;
    assert_int_equal(mr_deflater_new(MR_CODEC_ZSTD, 99, &d, &err), MR_ECONFIG);
    assert_int_equal(mr_deflater_new(MR_CODEC_GZIP, 10, &d, &err), MR_ECONFIG);
    assert_null(d);
    mr_deflater_free(NULL);
}

static void gzip(struct mr_str in, struct mr_buf *out)
{
    struct mr_err err;
    struct mr_deflater *d;
    assert_int_equal(mr_deflater_new(MR_CODEC_GZIP, 9, &d, &err), MR_OK);
    assert_int_equal(mr_deflater_feed(d, in, true, out, &err), MR_OK);
    mr_deflater_free(d);
}

static void a_body_of_two_members_is_inflated_whole_behind_what_is_there(void **state)
{
    (void)state;
    struct mr_err err;
    struct mr_buf in, out;
    mr_buf_init(&in, LIMIT);
    mr_buf_init(&out, LIMIT);
    gzip(MR_STR("first "), &in);
    gzip(MR_STR("second"), &in);
    mr_buf_puts(&out, "0: ");
    assert_int_equal(mr_gunzip(mr_buf_str(&in), 12, &out, &err), MR_OK);
    assert_string_equal(mr_buf_cstr(&out), "0: first second");
    assert_int_equal(mr_gunzip(mr_buf_str(&in), 11, &out, &err), MR_ETOOBIG);
    assert_string_equal(mr_buf_cstr(&out), "0: first second");
    mr_buf_free(&in);
    mr_buf_free(&out);
}

static void a_bomb_stops_at_the_limit(void **state)
{
    (void)state;
    static char zeros[3 << 20];
    struct mr_err err;
    struct mr_buf in, out;
    mr_buf_init(&in, LIMIT);
    mr_buf_init(&out, 1 << 20);
    gzip((struct mr_str){zeros, sizeof zeros}, &in);
    assert_true(in.n < 10 * 1000);
    assert_int_equal(mr_gunzip(mr_buf_str(&in), 1 << 20, &out, &err), MR_ETOOBIG);
    assert_int_equal(out.n, 0);
    mr_buf_free(&out);
    mr_buf_init(&out, sizeof zeros);
    assert_int_equal(mr_gunzip(mr_buf_str(&in), sizeof zeros, &out, &err), MR_OK);
    assert_int_equal(out.n, sizeof zeros);
    mr_buf_free(&in);
    mr_buf_free(&out);
}

static void a_body_that_is_no_whole_gzip_stream_is_malformed(void **state)
{
    (void)state;
    struct mr_err err;
    struct mr_buf in, out;
    mr_buf_init(&in, LIMIT);
    mr_buf_init(&out, LIMIT);
    gzip(MR_STR("some body of a request"), &in);
    for (size_t cut = 0; cut < in.n; cut++) {
        assert_int_equal(mr_gunzip((struct mr_str){in.p, cut}, 100, &out, &err), MR_EMALFORMED);
        assert_int_equal(out.n, 0);
    }
    mr_buf_puts(&in, "rubbish behind");
    assert_int_equal(mr_gunzip(mr_buf_str(&in), 100, &out, &err), MR_EMALFORMED);
    assert_int_equal(mr_gunzip(MR_STR("plain text"), 100, &out, &err), MR_EMALFORMED);
    mr_buf_free(&in);
    mr_buf_free(&out);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, test_folder_make, test_folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(what_is_fed_in_pieces_reads_back_from_the_file),
        IN_FOLDER(a_reset_compressor_forgets_the_file_before),
        cmocka_unit_test(output_above_the_buffers_limit_is_refused),
        IN_FOLDER(a_file_of_any_length_reads_back),
        IN_FOLDER(a_file_cut_anywhere_or_changed_is_called_corrupt),
        IN_FOLDER(the_readers_own_error_ends_the_reading),
        cmocka_unit_test(a_level_that_the_codec_does_not_know_is_refused),
        cmocka_unit_test(a_body_of_two_members_is_inflated_whole_behind_what_is_there),
        cmocka_unit_test(a_bomb_stops_at_the_limit),
        cmocka_unit_test(a_body_that_is_no_whole_gzip_stream_is_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
