/* SPDX-License-Identifier: Apache-2.0 */
/* record.c - framing: groups, records and their salted checksums; the segment's header. Pure but for the read of a header. */
#include "queue/format.h"

#include "millrace/hash.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint32_t group_magic = 0x3147524d; /* "MRG1" */
static const char head_magic[8] = "MRQSEG01";
enum { RECORD_TYPE = 1 };

static void put32(void *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof v);
}
static void put64(void *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof v);
}
static uint32_t get32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return le32toh(v);
}
static uint64_t get64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

/* -- groups ----------------------------------------------------------------------------------------------------- */

static uint32_t group_crc(const unsigned char *head, uint64_t salt)
{
    unsigned char seed[8];
    put64(seed, salt);
    return mr_crc32c(mr_crc32c(0, seed, sizeof seed), head + 8, MR_GROUP_BYTES - 8);
}

void mr_group_put(unsigned char out[MR_GROUP_BYTES], uint64_t salt, const struct mr_group_head *g)
{
    put32(out, group_magic);
    put64(out + 8, g->off);
    put64(out + 16, g->end);
    put64(out + 24, g->first_seq);
    put32(out + 32, g->count);
    put32(out + 36, 0);
    put32(out + 4, group_crc(out, salt));
}

bool mr_group_get(const unsigned char in[MR_GROUP_BYTES], uint64_t salt, uint64_t off, uint64_t limit,
                  struct mr_group_head *g)
{
    if (get32(in) != group_magic || get64(in + 8) != off || get32(in + 4) != group_crc(in, salt))
        return false;
    g->off = off;
    g->end = get64(in + 16);
    g->first_seq = get64(in + 24);
    g->count = get32(in + 32);
    if (g->end < off + MR_GROUP_BYTES || g->end > limit || g->end % 8 != 0)
        return false;
    return g->first_seq != 0 && g->first_seq <= UINT64_MAX - g->count;
}

/* -- records ---------------------------------------------------------------------------------------------------- */

size_t mr_record_size(size_t source, size_t payload)
{
    return (size_t)mr_round_up(MR_RECORD_BYTES + source + payload, 8);
}

void mr_record_put(char *out, struct mr_str source, const struct mr_str *pieces, size_t count, size_t payload)
{
    put32(out + 8, (uint32_t)payload);
    out[12] = (char)(source.n & 0xff);
    out[13] = (char)(source.n >> 8);
    out[14] = RECORD_TYPE;
    out[15] = 0;
    char *p = out + MR_RECORD_BYTES;
    if (source.n)
        memcpy(p, source.p, source.n);
    p += source.n;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].n)
            memcpy(p, pieces[i].p, pieces[i].n);
        p += pieces[i].n;
    }
    size_t used = (size_t)(p - out);
    memset(p, 0, mr_record_size(source.n, payload) - used);
}

uint32_t mr_record_seed(uint64_t salt, uint64_t group_first_seq)
{
    unsigned char seed[16];
    put64(seed, salt);
    put64(seed + 8, group_first_seq);
    return mr_crc32c(0, seed, sizeof seed);
}

uint32_t mr_record_crc(const char *record, uint32_t seed, size_t bytes)
{
    return mr_crc32c(seed, record + 4, bytes - 4);
}

void mr_record_seal(char *record, uint32_t seed, uint32_t index)
{
    struct mr_record_head h;
    put32(record + 4, index);
    (void)mr_record_get(record, &h);
    put32(record, mr_record_crc(record, seed, MR_RECORD_BYTES + (size_t)h.source + h.payload));
}

bool mr_record_get(const char *in, struct mr_record_head *h)
{
    h->crc = get32(in);
    h->index = get32(in + 4);
    h->payload = get32(in + 8);
    h->source = (uint32_t)(unsigned char)in[12] | (uint32_t)(unsigned char)in[13] << 8;
    return in[14] == RECORD_TYPE && in[15] == 0;
}

/* -- a segment's header ----------------------------------------------------------------------------------------- */

/* Offsets in a copy; docs/queue-format.md */
enum { H_CRC = 8, H_USED = 12, H_SIZE = 16, H_VERSION = 20, H_NUMBER = 24, H_SALT = 32, H_ID = 40, H_FIRST = 56,
       H_FLAGS = 64, H_COUNT = 68, H_PREV = 72, H_SOURCES = 136, HEAD_MAX = 1 << 20 };

static size_t summary_bytes(const struct mr_sources *t)
{
    size_t bytes = 0;
    for (size_t i = 0; t && i < t->n; i++)
        bytes += t->rows[i].seq ? 16 + (size_t)mr_round_up(t->rows[i].n, 8) : 0;
    return bytes;
}

static uint32_t summary_put(unsigned char *out, const struct mr_sources *t)
{
    uint32_t count = 0;
    for (size_t i = 0; t && i < t->n; i++) {
        if (!t->rows[i].seq)
            continue;
        put64(out, t->rows[i].seq);
        put32(out + 8, (uint32_t)t->rows[i].n);
        memcpy(out + 16, t->rows[i].name, t->rows[i].n);
        out += 16 + mr_round_up(t->rows[i].n, 8);
        count++;
    }
    return count;
}

unsigned char *mr_seg_head_put(const struct mr_seg_head *h, const struct mr_sources *prev_sources, size_t *n)
{
    size_t bytes = summary_bytes(prev_sources);
    bool whole = bytes <= HEAD_MAX - H_SOURCES; /* else recovery reads the segment itself */
    size_t used = H_SOURCES + (whole ? bytes : 0);
    size_t size = MR_BLOCK;
    while (size < used)
        size *= 2;
    unsigned char *out = calloc(2, size);
    if (!out)
        abort();
    memcpy(out, head_magic, sizeof head_magic);
    put32(out + H_USED, (uint32_t)used);
    put32(out + H_SIZE, (uint32_t)size);
    put32(out + H_VERSION, 1);
    put64(out + H_NUMBER, h->number);
    put64(out + H_SALT, h->salt);
    memcpy(out + H_ID, h->id, sizeof h->id);
    put64(out + H_FIRST, h->first_seq);
    put32(out + H_FLAGS, (h->flags & MR_SEG_PREWRITTEN) | (whole ? MR_SEG_SUMMARY : 0));
    const uint64_t prev[] = {h->prev.number,    h->prev.salt,     h->prev.start,      h->prev.end,
                             h->prev.first_seq, h->prev.last_seq, h->prev.void_first, h->prev.void_last};
    for (size_t i = 0; i < MR_COUNT(prev); i++)
        put64(out + H_PREV + 8 * i, prev[i]);
    put32(out + H_COUNT, whole ? summary_put(out + H_SOURCES, prev_sources) : 0);
    put32(out + H_CRC, mr_crc32c(0, out + H_USED, used - H_USED));
    memcpy(out + size, out, size);
    *n = 2 * size;
    return out;
}

static bool summary_get(const unsigned char *in, size_t n, uint32_t count, struct mr_sources *out)
{
    for (uint32_t i = 0; i < count; i++) {
        if (n < 16)
            return false;
        uint64_t name = get32(in + 8);
        if (name > UINT16_MAX || 16 + mr_round_up(name, 8) > n)
            return false;
        if (out)
            mr_sources_note(out, (struct mr_str){(const char *)in + 16, (size_t)name}, get64(in));
        size_t row = 16 + (size_t)mr_round_up(name, 8);
        in += row;
        n -= row;
    }
    return true;
}

/* `in` holds n bytes of a copy; false if it is not one, or not whole within n. */
static bool head_get(const unsigned char *in, size_t n, struct mr_seg_head *h, uint64_t *start, struct mr_sources *sources)
{
    if (n < H_SOURCES || memcmp(in, head_magic, sizeof head_magic) != 0 || get32(in + H_VERSION) != 1)
        return false;
    size_t used = get32(in + H_USED), size = get32(in + H_SIZE);
    if (used < H_SOURCES || used > n || size < used || size > HEAD_MAX || size % MR_BLOCK != 0)
        return false;
    if (get32(in + H_CRC) != mr_crc32c(0, in + H_USED, used - H_USED))
        return false;
    h->number = get64(in + H_NUMBER);
    h->salt = get64(in + H_SALT);
    memcpy(h->id, in + H_ID, sizeof h->id);
    h->first_seq = get64(in + H_FIRST);
    h->flags = get32(in + H_FLAGS);
    uint64_t prev[8];
    for (size_t i = 0; i < MR_COUNT(prev); i++)
        prev[i] = get64(in + H_PREV + 8 * i);
    h->prev = (struct mr_seg_end){prev[0], prev[1], prev[2], prev[3], prev[4], prev[5], prev[6], prev[7]};
    *start = 2 * size;
    return summary_get(in + H_SOURCES, used - H_SOURCES, get32(in + H_COUNT), sources);
}

static enum mr_code head_try(int fd, uint64_t off, unsigned char *buf, struct mr_seg_head *h, uint64_t *start,
                             struct mr_sources *sources, struct mr_err *err)
{
    size_t n = 0;
    while (n < HEAD_MAX) {
        size_t want = n == 0 ? MR_BLOCK : HEAD_MAX - n; /* one block is enough nearly always */
        ssize_t got = pread(fd, buf + n, want, (off_t)(off + n));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return mr_err_sys(err, errno, "read header");
        n += (size_t)got;
        if (head_get(buf, n, h, start, sources))
            return MR_OK;
        bool longer = n >= H_SOURCES && memcmp(buf, head_magic, sizeof head_magic) == 0 && get32(buf + H_USED) > n;
        if (got == 0 || !longer)
            break;
    }
    return mr_err_set(err, MR_ECORRUPT, "no whole header");
}

enum mr_code mr_seg_head_read(int fd, struct mr_seg_head *h, uint64_t *start, struct mr_sources *prev_sources,
                              struct mr_err *err)
{
    unsigned char *buf = malloc(HEAD_MAX);
    if (!buf)
        return mr_err_sys(err, ENOMEM, "read header");
    enum mr_code rc = head_try(fd, 0, buf, h, start, prev_sources, err);
    /* The second copy stands at the size of the first, which is a power of two. */
    for (uint64_t at = MR_BLOCK; rc == MR_ECORRUPT && at < HEAD_MAX; at *= 2)
        rc = head_try(fd, at, buf, h, start, prev_sources, err);
    free(buf);
    return rc;
}
