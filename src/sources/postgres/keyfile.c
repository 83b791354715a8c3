/* SPDX-License-Identifier: Apache-2.0 */
#include "keyfile.h"

#include "millrace/hash.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

static const char MAGIC[8] = "MRKEYS1\n";
enum { HEAD = 20, BLOCK_HEAD = 16, BLOCK_MOST = PG_KEYS_BLOCK + PG_KEY_MAX + 64, PACKED_MOST = BLOCK_MOST + BLOCK_MOST / 8 + 1024 };

static void put_u32(unsigned char *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (unsigned char)(v >> 8 * i);
}

static uint32_t get_u32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int pg_keys_compare(struct mr_str a, struct mr_str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int by = n ? memcmp(a.p, b.p, n) : 0;
    return by ? by : (a.n > b.n) - (a.n < b.n);
}

/* ---- writing ---- */

enum mr_code pg_keys_out_init(struct pg_keys_out *o, enum pg_keys_kind kind, struct mr_err *err)
{
    *o = (struct pg_keys_out){.kind = kind};
    mr_buf_init(&o->bytes, 64 << 20);
    mr_buf_init(&o->block, BLOCK_MOST);
    mr_buf_init(&o->last, PG_KEY_MAX);
    return mr_deflater_new(MR_CODEC_GZIP, 1, &o->deflater, err);
}

void pg_keys_out_free(struct pg_keys_out *o)
{
    mr_deflater_free(o->deflater);
    mr_buf_free(&o->bytes);
    mr_buf_free(&o->block);
    mr_buf_free(&o->last);
    *o = (struct pg_keys_out){0};
}

static enum mr_code put_bytes(struct pg_keys_out *o, const void *p, size_t n, struct mr_err *err)
{
    o->sum = mr_crc32c(o->sum, p, n);
    mr_buf_put(&o->bytes, p, n);
    return o->bytes.failed ? mr_err_set(err, MR_ENOMEM, "no memory for a block of keys") : MR_OK;
}

enum mr_code pg_keys_head(struct pg_keys_out *o, struct mr_str description, struct mr_err *err)
{
    unsigned char head[HEAD];
    if (description.n > PG_KEYS_DESCRIPTION)
        return mr_err_set(err, MR_ETOOBIG, "the description of a key has %zu bytes", description.n);
    memcpy(head, MAGIC, sizeof MAGIC);
    put_u32(head + 8, (uint32_t)o->kind);
    put_u32(head + 12, (uint32_t)description.n);
    put_u32(head + 16, mr_crc32c(mr_crc32c(0, head, 16), description.p, description.n));
    enum mr_code code = put_bytes(o, head, sizeof head, err);
    return code == MR_OK ? put_bytes(o, description.p, description.n, err) : code;
}

static void put_number(struct mr_buf *b, size_t v)
{
    for (; v >= 0x80; v >>= 7)
        mr_buf_putc(b, (char)(v | 0x80));
    mr_buf_putc(b, (char)v);
}

enum mr_code pg_keys_put(struct pg_keys_out *o, struct mr_str key, struct mr_err *err)
{
    size_t same = 0, most = key.n < o->last.n ? key.n : o->last.n;
    if (key.n > PG_KEY_MAX)
        return mr_err_set(err, MR_ETOOBIG, "a key of %zu bytes: at most %d can be compared", key.n, PG_KEY_MAX);
    assert(o->kind != PG_KEYS_SORTED || o->count == 0 || pg_keys_compare(mr_buf_str(&o->last), key) < 0);
    while (o->block_keys && same < most && key.p[same] == o->last.p[same])
        same++;
    put_number(&o->block, same);
    put_number(&o->block, key.n - same);
    if (key.n > same)
        mr_buf_put(&o->block, key.p + same, key.n - same);
    mr_buf_clear(&o->last);
    mr_buf_put(&o->last, key.p, key.n);
    if (o->block.failed || o->last.failed)
        return mr_err_set(err, MR_ENOMEM, "no memory for a key of %zu bytes", key.n);
    o->block_keys++;
    o->count++;
    return o->block.n >= PG_KEYS_BLOCK ? pg_keys_flush(o, err) : MR_OK;
}

enum mr_code pg_keys_flush(struct pg_keys_out *o, struct mr_err *err)
{
    unsigned char head[BLOCK_HEAD] = {0};
    size_t at = o->bytes.n;
    if (o->block_keys == 0)
        return MR_OK;
    mr_buf_put(&o->bytes, head, sizeof head);
    mr_deflater_reset(o->deflater);
    enum mr_code code = mr_deflater_feed(o->deflater, mr_buf_str(&o->block), true, &o->bytes, err);
    if (code != MR_OK || o->bytes.failed)
        return code != MR_OK ? code : mr_err_set(err, MR_ENOMEM, "no memory for a block of keys");
    size_t n = o->bytes.n - at - BLOCK_HEAD;
    put_u32(head, (uint32_t)n);
    put_u32(head + 4, (uint32_t)o->block.n);
    put_u32(head + 8, o->block_keys);
    put_u32(head + 12, mr_crc32c(mr_crc32c(0, head, 12), o->bytes.p + at + BLOCK_HEAD, n));
    memcpy(o->bytes.p + at, head, sizeof head);
    o->sum = mr_crc32c(o->sum, o->bytes.p + at, n + BLOCK_HEAD);
    mr_buf_clear(&o->block);
    o->block_keys = 0;
    return MR_OK;
}

enum mr_code pg_keys_end(struct pg_keys_out *o, struct mr_err *err)
{
    unsigned char end[BLOCK_HEAD + 8] = {0};
    enum mr_code code = pg_keys_flush(o, err);
    if (code != MR_OK)
        return code;
    put_u32(end, 8);
    put_u32(end + BLOCK_HEAD, (uint32_t)o->count);
    put_u32(end + BLOCK_HEAD + 4, (uint32_t)((uint64_t)o->count >> 32));
    put_u32(end + 12, mr_crc32c(mr_crc32c(0, end, 12), end + BLOCK_HEAD, 8));
    return put_bytes(o, end, sizeof end, err);
}

/* ---- reading ---- */

static enum mr_code corrupt(struct pg_keys_in *in, const char *what, struct mr_err *err)
{
    in->over = true;
    return mr_err_set(err, MR_ECORRUPT, "behind key %" PRId64 ": %s", in->count, what);
}

/* *whole false: there were not as many. */
static enum mr_code read_n(struct pg_keys_in *in, struct mr_buf *to, size_t n, bool *whole, struct mr_err *err)
{
    size_t got = 0;
    mr_buf_clear(to);
    if (!mr_buf_reserve(to, n ? n : 1))
        return mr_err_set(err, MR_ENOMEM, "no memory for %zu bytes of keys", n);
    enum mr_code code = in->read(in->arg, to->p, n, &got, err);
    to->n = got;
    *whole = got == n;
    return code;
}

enum mr_code pg_keys_in_init(struct pg_keys_in *in, enum pg_keys_kind kind, pg_keys_read_cb read, void *arg, struct mr_err *err)
{
    bool whole = false;
    *in = (struct pg_keys_in){.kind = kind, .read = read, .arg = arg};
    mr_buf_init(&in->description, PG_KEYS_DESCRIPTION);
    mr_buf_init(&in->packed, PACKED_MOST);
    mr_buf_init(&in->block, BLOCK_MOST);
    mr_buf_init(&in->last, PG_KEY_MAX + 1);
    enum mr_code code = read_n(in, &in->packed, HEAD, &whole, err);
    if (code != MR_OK)
        return code;
    const unsigned char *p = (const unsigned char *)in->packed.p;
    if (!whole && kind == PG_KEYS_LOG) {
        in->over = true;
        return MR_EEND;
    }
    if (!whole || memcmp(p, MAGIC, sizeof MAGIC) != 0 || get_u32(p + 8) != (uint32_t)kind || get_u32(p + 12) > PG_KEYS_DESCRIPTION)
        return corrupt(in, "this is no file of keys", err);
    uint32_t sum = mr_crc32c(0, p, 16), n = get_u32(p + 12), said = get_u32(p + 16);
    code = read_n(in, &in->description, n, &whole, err);
    if (code != MR_OK)
        return code;
    if (!whole && kind == PG_KEYS_LOG) {
        in->over = true;
        return MR_EEND;
    }
    if (!whole || mr_crc32c(sum, in->description.p, n) != said)
        return corrupt(in, "its head is damaged", err);
    return MR_OK;
}

void pg_keys_in_free(struct pg_keys_in *in)
{
    mr_buf_free(&in->description);
    mr_buf_free(&in->packed);
    mr_buf_free(&in->block);
    mr_buf_free(&in->last);
}

static enum mr_code take_end(struct pg_keys_in *in, struct mr_err *err)
{
    const unsigned char *p = (const unsigned char *)in->packed.p;
    uint64_t count = get_u32(p) | (uint64_t)get_u32(p + 4) << 32;
    bool whole = false;
    if (in->kind != PG_KEYS_SORTED || count != (uint64_t)in->count)
        return corrupt(in, "its end does not belong to it", err);
    enum mr_code code = read_n(in, &in->packed, 1, &whole, err);
    if (code != MR_OK)
        return code;
    if (whole)
        return corrupt(in, "bytes follow its end", err);
    in->over = true;
    return MR_EEND;
}

static enum mr_code next_block(struct pg_keys_in *in, struct mr_err *err)
{
    bool whole = false;
    unsigned char head[BLOCK_HEAD];
    enum mr_code code = read_n(in, &in->packed, BLOCK_HEAD, &whole, err);
    if (code != MR_OK)
        return code;
    if (!whole && in->kind == PG_KEYS_LOG) {
        in->over = true;
        return MR_EEND;
    }
    if (!whole)
        return corrupt(in, "it is cut", err);
    memcpy(head, in->packed.p, sizeof head);
    uint32_t n = get_u32(head), becomes = get_u32(head + 4), keys = get_u32(head + 8);
    if (n == 0 || n > PACKED_MOST - 16 || becomes > BLOCK_MOST || (keys == 0 && (n != 8 || becomes != 0)))
        return corrupt(in, "a block says what cannot be", err);
    code = read_n(in, &in->packed, n, &whole, err);
    if (code != MR_OK)
        return code;
    if (!whole && in->kind == PG_KEYS_LOG) {
        in->over = true;
        return MR_EEND;
    }
    if (!whole)
        return corrupt(in, "it is cut", err);
    if (mr_crc32c(mr_crc32c(0, head, 12), in->packed.p, n) != get_u32(head + 12))
        return corrupt(in, "a block is damaged", err);
    if (keys == 0)
        return take_end(in, err);
    mr_buf_clear(&in->block);
    struct mr_err why;
    code = mr_gunzip(mr_buf_str(&in->packed), becomes, &in->block, &why);
    if (code == MR_ENOMEM)
        return mr_err_set(err, MR_ENOMEM, "no memory for a block of keys");
    if (code != MR_OK || in->block.n != becomes)
        return corrupt(in, "a block does not become what it says", err);
    in->at = 0;
    in->block_keys = keys;
    return MR_OK;
}

static bool get_number(struct pg_keys_in *in, size_t *out)
{
    size_t v = 0;
    for (unsigned shift = 0; shift <= 21 && in->at < in->block.n; shift += 7) {
        unsigned char byte = (unsigned char)in->block.p[in->at++];
        v |= (size_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = v;
            return true;
        }
    }
    return false;
}

enum mr_code pg_keys_next(struct pg_keys_in *in, struct mr_err *err)
{
    size_t same, more;
    bool first = in->block_keys == 0;
    if (in->over)
        return MR_EEND;
    if (first && in->at != in->block.n)
        return corrupt(in, "a block has more bytes than keys", err);
    enum mr_code code = first ? next_block(in, err) : MR_OK;
    if (code != MR_OK)
        return code;
    if (!get_number(in, &same) || !get_number(in, &more) || same > in->last.n || (first && same) || more > in->block.n - in->at || same + more > PG_KEY_MAX)
        return corrupt(in, "a key makes no sense", err);
    const char *rest = in->block.p + in->at;
    if (in->kind == PG_KEYS_SORTED && in->count && pg_keys_compare((struct mr_str){rest, more}, (struct mr_str){in->last.p + same, in->last.n - same}) <= 0)
        return corrupt(in, "its keys are not in order", err);
    in->last.n = same;
    mr_buf_reserve(&in->last, more + 1); /* an empty key is one, too */
    mr_buf_put(&in->last, rest, more);
    if (in->last.failed)
        return mr_err_set(err, MR_ENOMEM, "no memory for a key of %zu bytes", same + more);
    in->at += more;
    in->block_keys--;
    in->count++;
    in->key = mr_buf_str(&in->last);
    return MR_OK;
}

/* ---- merging ---- */

static bool below(const struct pg_keys_in *a, const struct pg_keys_in *b)
{
    return pg_keys_compare(a->key, b->key) < 0;
}

static void sift(struct pg_keys_merge *m, size_t at)
{
    for (;;) {
        size_t least = at, left = 2 * at + 1;
        if (left < m->count && below(m->heap[left], m->heap[least]))
            least = left;
        if (left + 1 < m->count && below(m->heap[left + 1], m->heap[least]))
            least = left + 1;
        if (least == at)
            return;
        struct pg_keys_in *in = m->heap[at];
        m->heap[at] = m->heap[least];
        m->heap[least] = in;
        at = least;
    }
}

void pg_keys_merge_init(struct pg_keys_merge *m, struct pg_keys_in *const *inputs, size_t count)
{
    *m = (struct pg_keys_merge){.count = count};
    m->heap = calloc(count ? count : 1, sizeof(struct pg_keys_in *));
    assert(m->heap);
    for (size_t i = 0; i < count; i++)
        m->heap[i] = inputs[i];
    mr_buf_init(&m->last, PG_KEY_MAX + 1);
}

void pg_keys_merge_free(struct pg_keys_merge *m)
{
    free(m->heap);
    mr_buf_free(&m->last);
    *m = (struct pg_keys_merge){0};
}

/* The least one goes on; at its end it leaves the heap. */
static enum mr_code advance(struct pg_keys_merge *m, size_t at, struct mr_err *err)
{
    enum mr_code code = pg_keys_next(m->heap[at], err);
    if (code == MR_EEND)
        m->heap[at] = m->heap[--m->count];
    return code;
}

static enum mr_code begin(struct pg_keys_merge *m, struct mr_err *err)
{
    for (size_t i = m->count; i-- > 0;) {
        enum mr_code code = advance(m, i, err);
        if (code != MR_OK && code != MR_EEND)
            return code;
    }
    for (size_t i = m->count / 2; i-- > 0;)
        sift(m, i);
    m->begun = true;
    return MR_OK;
}

enum mr_code pg_keys_merge_next(struct pg_keys_merge *m, struct mr_err *err)
{
    bool any = m->begun && m->key.p;
    enum mr_code code = m->begun ? MR_OK : begin(m, err);
    if (code != MR_OK)
        return code;
    while (m->count && any && pg_keys_compare(m->heap[0]->key, m->key) == 0) { /* the last one, and its likes elsewhere */
        code = advance(m, 0, err);
        if (code != MR_OK && code != MR_EEND)
            return code;
        sift(m, 0);
    }
    if (m->count == 0)
        return MR_EEND;
    mr_buf_clear(&m->last);
    mr_buf_put(&m->last, m->heap[0]->key.p, m->heap[0]->key.n);
    if (m->last.failed || !mr_buf_reserve(&m->last, 1))
        return mr_err_set(err, MR_ENOMEM, "no memory for a key");
    m->key = mr_buf_str(&m->last);
    return MR_OK;
}
