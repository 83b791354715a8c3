/* SPDX-License-Identifier: Apache-2.0 */
/* pg_keys.c - a file of keys as it comes from the disk. The first byte chooses:
 *
 *   0, 1   the rest is a file, sorted or a log: it is read to its end or told, in order, and what was read is written and read back alike
 *   2, 3   the rest is what a block's payload becomes, under a checksum that is right: the same
 *   4, 5   the rest is keys, one a line, which are written; then one byte of the file is changed, or it is cut: what comes back is what was written, up to
 *          where it is told; and of a sorted one it is told */
#include "check.h"

#include "sources/postgres/keyfile.h"

#include "millrace/hash.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { KEYS_MOST = 4096, FILE_MOST = 16 << 20 };

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

static void end_file(struct pg_keys_out *out)
{
    struct mr_err err;
    CHECK((out->kind == PG_KEYS_SORTED ? pg_keys_end(out, &err) : pg_keys_flush(out, &err)) == MR_OK);
}

static void begin_file(struct pg_keys_out *out, enum pg_keys_kind kind, struct mr_str description)
{
    struct mr_err err;
    CHECK(pg_keys_out_init(out, kind, &err) == MR_OK);
    CHECK(pg_keys_head(out, description, &err) == MR_OK);
}

/* Reads, and writes what it reads. */
static enum mr_code copy(enum pg_keys_kind kind, struct mr_str file, struct mr_buf *to, int64_t *count)
{
    struct bytes b = {file.p, file.n, 0};
    struct pg_keys_in in;
    struct pg_keys_out out = {0};
    struct mr_err err = {0};
    struct mr_buf last;
    mr_buf_init(&last, PG_KEY_MAX);
    enum mr_code code = pg_keys_in_init(&in, kind, read_bytes, &b, &err);
    if (code == MR_OK)
        begin_file(&out, kind, mr_buf_str(&in.description));
    while (code == MR_OK && (code = pg_keys_next(&in, &err)) == MR_OK) {
        CHECK(in.key.n <= PG_KEY_MAX);
        CHECK(kind != PG_KEYS_SORTED || in.count == 1 || pg_keys_compare(mr_buf_str(&last), in.key) < 0);
        mr_buf_clear(&last);
        mr_buf_put(&last, in.key.p, in.key.n);
        CHECK(pg_keys_put(&out, in.key, &err) == MR_OK);
    }
    CHECK(code == MR_EEND || (code == MR_ECORRUPT && err.msg[0]));
    *count = in.count;
    if (out.deflater) {
        end_file(&out);
        mr_buf_put(to, out.bytes.p, out.bytes.n);
        pg_keys_out_free(&out);
    }
    pg_keys_in_free(&in);
    mr_buf_free(&last);
    return code;
}

static void as_file(enum pg_keys_kind kind, struct mr_str file)
{
    struct mr_buf one, two;
    int64_t count, again;
    mr_buf_init(&one, FILE_MOST);
    mr_buf_init(&two, FILE_MOST);
    enum mr_code code = copy(kind, file, &one, &count);
    if (one.n) {
        CHECK(copy(kind, mr_buf_str(&one), &two, &again) == MR_EEND);
        CHECK(again == count && mr_str_eq(mr_buf_str(&one), mr_buf_str(&two)));
    } else {
        CHECK(count == 0 && (code == MR_ECORRUPT || kind == PG_KEYS_LOG));
    }
    mr_buf_free(&one);
    mr_buf_free(&two);
}

static void put_u32(struct mr_buf *b, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        mr_buf_putc(b, (char)(v >> 8 * i));
}

static void as_payload(enum pg_keys_kind kind, uint8_t keys, struct mr_str payload)
{
    struct pg_keys_out head;
    struct mr_deflater *d = NULL;
    struct mr_buf packed, file;
    struct mr_err err;
    mr_buf_init(&packed, FILE_MOST);
    mr_buf_init(&file, FILE_MOST);
    begin_file(&head, kind, MR_STR("d"));
    mr_buf_put(&file, head.bytes.p, head.bytes.n);
    CHECK(mr_deflater_new(MR_CODEC_GZIP, 1, &d, &err) == MR_OK && mr_deflater_feed(d, payload, true, &packed, &err) == MR_OK);
    size_t at = file.n;
    put_u32(&file, (uint32_t)packed.n);
    put_u32(&file, (uint32_t)payload.n);
    put_u32(&file, keys);
    put_u32(&file, mr_crc32c(mr_crc32c(0, file.p + at, 12), packed.p, packed.n));
    mr_buf_put(&file, packed.p, packed.n);
    as_file(kind, mr_buf_str(&file));
    mr_deflater_free(d);
    pg_keys_out_free(&head);
    mr_buf_free(&packed);
    mr_buf_free(&file);
}

static void damaged(enum pg_keys_kind kind, bool cut, uint32_t where, uint8_t by, struct mr_str lines)
{
    struct mr_str keys[KEYS_MOST];
    size_t count = 0, came = 0;
    struct pg_keys_out out;
    struct pg_keys_in in;
    struct mr_err err = {0};
    begin_file(&out, kind, MR_STR("d"));
    while (lines.n && count < KEYS_MOST) {
        const char *end = memchr(lines.p, '\n', lines.n);
        struct mr_str key = {lines.p, end ? (size_t)(end - lines.p) : lines.n};
        lines.p += key.n + (end != NULL);
        lines.n -= key.n + (end != NULL);
        if (key.n > PG_KEY_MAX || (kind == PG_KEYS_SORTED && count && pg_keys_compare(keys[count - 1], key) >= 0))
            continue;
        keys[count++] = key;
        CHECK(pg_keys_put(&out, key, &err) == MR_OK);
    }
    end_file(&out);
    struct bytes b = {out.bytes.p, out.bytes.n, 0};
    where %= (uint32_t)b.n;
    bool touched = cut || by;
    if (cut)
        b.n = where;
    else
        out.bytes.p[where] = (char)(out.bytes.p[where] ^ by);
    enum mr_code code = pg_keys_in_init(&in, kind, read_bytes, &b, &err);
    while (code == MR_OK && (code = pg_keys_next(&in, &err)) == MR_OK) {
        CHECK(came < count && mr_str_eq(in.key, keys[came]));
        came++;
    }
    CHECK(code == MR_ECORRUPT || code == MR_EEND);
    CHECK(!touched || kind == PG_KEYS_LOG || code == MR_ECORRUPT);
    CHECK(touched || (code == MR_EEND && came == count));
    pg_keys_in_free(&in);
    pg_keys_out_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n < 8)
        return 0;
    const enum pg_keys_kind kind = bytes[0] & 1 ? PG_KEYS_LOG : PG_KEYS_SORTED;
    const char *rest = (const char *)bytes;
    if (bytes[0] < 2)
        as_file(kind, (struct mr_str){rest + 1, n - 1});
    else if (bytes[0] < 4)
        as_payload(kind, bytes[1], (struct mr_str){rest + 2, n - 2 < PG_KEYS_BLOCK ? n - 2 : PG_KEYS_BLOCK});
    else
        damaged(kind, bytes[1] & 1, (uint32_t)bytes[2] | (uint32_t)bytes[3] << 8 | (uint32_t)bytes[4] << 16, bytes[5], (struct mr_str){rest + 6, n - 6});
    return 0;
}
