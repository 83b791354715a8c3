/* SPDX-License-Identifier: Apache-2.0 */
#include "ids.h"

#include "millrace/hash.h"

#include <assert.h>
#include <inttypes.h>
#include <roaring/roaring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 1 << PG_ID_PIECE, PIECE_BYTES = 16 << 10 /* of one in the portable format: 8 KiB and a head */ };

struct bucket {
    int64_t l;
    roaring_bitmap_t *ids;
};
struct pg_ids {
    struct bucket *items; /* lowest L first */
    size_t count, cap;
};
struct pg_met {
    roaring_bitmap_t *ids;
    uint32_t last;
    bool any;
};

struct pg_ids *pg_ids_new(void)
{
    struct pg_ids *ids = calloc(1, sizeof *ids);
    assert(ids);
    return ids;
}

void pg_ids_free(struct pg_ids *ids)
{
    if (!ids)
        return;
    for (size_t i = 0; i < ids->count; i++)
        roaring_bitmap_free(ids->items[i].ids);
    free(ids->items);
    free(ids);
}

struct pg_met *pg_met_new(void)
{
    struct pg_met *met = calloc(1, sizeof *met);
    assert(met);
    met->ids = roaring_bitmap_create();
    assert(met->ids);
    return met;
}

void pg_met_free(struct pg_met *met)
{
    if (!met)
        return;
    roaring_bitmap_free(met->ids);
    free(met);
}

void pg_met_add(struct pg_met *met, uint64_t x, uint64_t end)
{
    uint32_t id = (uint32_t)x;
    if ((met->any && met->last == id) || end - x >= UINT64_C(1) << 31)
        return;
    met->any = true;
    met->last = id;
    roaring_bitmap_add(met->ids, id);
}

uint64_t pg_met_count(const struct pg_met *met)
{
    return roaring_bitmap_get_cardinality(met->ids);
}

bool pg_ids_landed(const struct pg_ids *ids, uint32_t id, int64_t watermark)
{
    for (size_t i = 0; i < ids->count; i++) {
        const struct bucket *b = &ids->items[i];
        if (b->l > watermark && watermark != PG_ALL)
            return false;
        if (roaring_bitmap_contains(b->ids, id))
            return true;
    }
    return false;
}

size_t pg_ids_bytes(const struct pg_ids *ids)
{
    size_t n = 0;
    for (size_t i = 0; i < ids->count; i++)
        n += roaring_bitmap_size_in_bytes(ids->items[i].ids);
    return n;
}

uint64_t pg_ids_count(const struct pg_ids *ids)
{
    uint64_t n = 0;
    for (size_t i = 0; i < ids->count; i++)
        n += roaring_bitmap_get_cardinality(ids->items[i].ids);
    return n;
}

static struct bucket *bucket_of(struct pg_ids *ids, int64_t l)
{
    size_t at = 0;
    while (at < ids->count && ids->items[at].l < l)
        at++;
    if (at < ids->count && ids->items[at].l == l)
        return &ids->items[at];
    if (ids->count == ids->cap) {
        ids->cap = ids->cap ? ids->cap * 2 : 8;
        ids->items = realloc(ids->items, ids->cap * sizeof *ids->items);
        assert(ids->items);
    }
    memmove(ids->items + at + 1, ids->items + at, (ids->count - at) * sizeof *ids->items);
    ids->count++;
    ids->items[at] = (struct bucket){.l = l, .ids = roaring_bitmap_create()};
    assert(ids->items[at].ids);
    return &ids->items[at];
}

void pg_ids_add(struct pg_ids *ids, int64_t l, const struct pg_met *met)
{
    if (pg_met_count(met))
        roaring_bitmap_or_inplace(bucket_of(ids, l)->ids, met->ids);
}

/* ---- pieces ---- */

static void put_piece(const roaring_bitmap_t *ids, uint32_t high, struct mr_buf *out)
{
    char bytes[PIECE_BYTES];
    uint64_t from = (uint64_t)high << PG_ID_PIECE;
    roaring_bitmap_t *range = roaring_bitmap_from_range(from, from + PIECE, 1), *piece = range ? roaring_bitmap_and(ids, range) : NULL;
    assert(piece);
    roaring_bitmap_run_optimize(piece);
    size_t n = roaring_bitmap_portable_size_in_bytes(piece);
    assert(n <= sizeof bytes);
    roaring_bitmap_portable_serialize(piece, bytes);
    mr_base64_put(out, (struct mr_str){bytes, n});
    roaring_bitmap_free(piece);
    roaring_bitmap_free(range);
}

/* Calls back for each piece in which there is an id. */
static void each_piece(const roaring_bitmap_t *ids, void (*piece)(void *arg, uint32_t high), void *arg)
{
    roaring_uint32_iterator_t *it = roaring_create_iterator(ids);
    assert(it);
    while (it->has_value) {
        uint32_t high = it->current_value >> PG_ID_PIECE;
        piece(arg, high);
        if (high == UINT16_MAX || !roaring_move_uint32_iterator_equalorlarger(it, (high + 1) << PG_ID_PIECE))
            break;
    }
    roaring_free_uint32_iterator(it);
}

struct telling {
    const struct bucket *bucket;
    struct mr_buf text;
    void (*piece)(void *arg, struct pg_piece at, struct mr_str base64);
    void *arg;
};

static void tell(void *arg, uint32_t high)
{
    struct telling *t = arg;
    mr_buf_clear(&t->text);
    put_piece(t->bucket->ids, high, &t->text);
    assert(!t->text.failed);
    t->piece(t->arg, (struct pg_piece){.l = t->bucket->l, .high = (uint16_t)high}, mr_buf_str(&t->text));
}

void pg_ids_pieces(const struct pg_ids *ids, int64_t l, const struct pg_met *met, void (*piece)(void *arg, struct pg_piece at, struct mr_str base64), void *arg)
{
    struct telling t = {.piece = piece, .arg = arg};
    for (size_t i = 0; i < ids->count; i++)
        if (ids->items[i].l == l)
            t.bucket = &ids->items[i];
    if (!t.bucket)
        return;
    mr_buf_init(&t.text, PIECE_BYTES * 2);
    each_piece(met->ids, tell, &t);
    mr_buf_free(&t.text);
}

struct forgetting {
    struct bucket *bucket;
    uint64_t below;
    bool all;
    void (*piece)(void *arg, struct pg_piece at);
    void *arg;
    uint16_t gone[1 << 16];
    size_t count;
};

static void look(void *arg, uint32_t high)
{
    struct forgetting *f = arg;
    uint32_t top = (high << PG_ID_PIECE) + (PIECE - 1);
    if (f->all || (int32_t)(top - (uint32_t)f->below) < 0)
        f->gone[f->count++] = (uint16_t)high;
}

static void forget(struct pg_ids *ids, bool all, uint64_t below, void (*piece)(void *arg, struct pg_piece at), void *arg)
{
    size_t kept = 0;
    if (ids->count == 0)
        return;
    struct forgetting *f = malloc(sizeof *f);
    assert(f);
    for (size_t i = 0; i < ids->count; i++) {
        struct bucket *b = &ids->items[i];
        f->below = below;
        f->all = all;
        f->count = 0;
        each_piece(b->ids, look, f);
        for (size_t k = 0; k < f->count; k++) {
            uint64_t from = (uint64_t)f->gone[k] << PG_ID_PIECE;
            roaring_bitmap_remove_range_closed(b->ids, (uint32_t)from, (uint32_t)(from + PIECE - 1));
            if (piece)
                piece(arg, (struct pg_piece){.l = b->l, .high = f->gone[k]});
        }
        if (roaring_bitmap_is_empty(b->ids))
            roaring_bitmap_free(b->ids);
        else
            ids->items[kept++] = *b;
    }
    ids->count = kept;
    free(f);
}

void pg_ids_forget(struct pg_ids *ids, uint64_t below, void (*piece)(void *arg, struct pg_piece at), void *arg)
{
    forget(ids, false, below, piece, arg);
}

void pg_ids_clear(struct pg_ids *ids, void (*piece)(void *arg, struct pg_piece at), void *arg)
{
    forget(ids, true, 0, piece, arg);
}

/* ---- a piece of the store ----
 * The library's reader trusts what it reads: ids that go back, runs over the end make it search and write where nothing is. So a set of one container is read
 * here, by the words of the format (RoaringFormatSpec): a cookie, the container's key and count, and its ids as a list, as bits, or as runs. */

enum { COOKIE = 12346, COOKIE_RUNS = 12347, LIST_MOST = 4096, BITS_BYTES = PIECE / 8 };

static uint32_t u16(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32(const unsigned char *p)
{
    return u16(p) | u16(p + 2) << 16;
}

static bool read_runs(roaring_bitmap_t *out, uint32_t from, uint32_t count, const unsigned char *p, size_t n)
{
    uint32_t next = 0, met = 0;
    if (n < 2 || n != 2 + 4 * (size_t)u16(p))
        return false;
    for (size_t at = 2; at < n; at += 4) {
        uint32_t first = u16(p + at), last = first + u16(p + at + 2);
        if (first < next || last >= PIECE)
            return false;
        roaring_bitmap_add_range_closed(out, from + first, from + last);
        met += last - first + 1;
        next = last + 1;
    }
    return met == count;
}

static bool read_list(roaring_bitmap_t *out, uint32_t from, uint32_t count, const unsigned char *p, size_t n)
{
    if (n != 2 * (size_t)count)
        return false;
    for (size_t at = 0; at < n; at += 2) {
        if (at && u16(p + at) <= u16(p + at - 2))
            return false;
        roaring_bitmap_add(out, from + u16(p + at));
    }
    return true;
}

static bool read_bits(roaring_bitmap_t *out, uint32_t from, uint32_t count, const unsigned char *p, size_t n)
{
    uint32_t met = 0;
    if (n != BITS_BYTES)
        return false;
    for (uint32_t i = 0; i < PIECE; i++)
        if (p[i / 8] >> i % 8 & 1) {
            roaring_bitmap_add(out, from + i);
            met++;
        }
    return met == count;
}

static bool read_piece(roaring_bitmap_t *out, uint16_t high, const unsigned char *p, size_t n)
{
    bool runs = n > 9 && u32(p) == COOKIE_RUNS && p[4] == 1, plain = n > 16 && u32(p) == COOKIE && u32(p + 4) == 1 && u32(p + 12) == 16;
    if (!runs && !plain)
        return false;
    size_t head = runs ? 9 : 16;
    const unsigned char *of = p + (runs ? 5 : 8);
    uint32_t from = (uint32_t)high << PG_ID_PIECE, count = u16(of + 2) + 1;
    if (u16(of) != high)
        return false;
    return (runs ? read_runs : count > LIST_MOST ? read_bits : read_list)(out, from, count, p + head, n - head);
}

bool pg_ids_read(struct pg_ids *ids, struct pg_piece at, struct mr_str base64)
{
    unsigned char bytes[PIECE_BYTES];
    size_t n;
    if (!mr_base64_get(base64, false, bytes, sizeof bytes, &n))
        return false;
    roaring_bitmap_t *piece = roaring_bitmap_create();
    assert(piece);
    bool sane = read_piece(piece, at.high, bytes, n);
    if (sane)
        roaring_bitmap_or_inplace(bucket_of(ids, at.l)->ids, piece);
    roaring_bitmap_free(piece);
    return sane;
}

/* ---- names ---- */

void pg_piece_name(struct pg_piece at, char out[32])
{
    if (at.l == PG_ALL)
        snprintf(out, 32, "all/%04x", at.high);
    else
        snprintf(out, 32, "%016" PRIx64 "/%04x", (uint64_t)at.l, at.high);
}

bool pg_piece_of(struct mr_str name, struct pg_piece *out)
{
    unsigned char l[8], high[2];
    bool all = name.n == 8 && memcmp(name.p, "all/", 4) == 0;
    if (!all && (name.n != 21 || name.p[16] != '/' || !mr_hex_get((struct mr_str){name.p, 16}, l, sizeof l)))
        return false;
    if (!mr_hex_get((struct mr_str){name.p + name.n - 4, 4}, high, sizeof high))
        return false;
    uint64_t bits = 0;
    for (size_t i = 0; i < sizeof l && !all; i++)
        bits = bits << 8 | l[i];
    out->l = all ? PG_ALL : (int64_t)bits;
    out->high = (uint16_t)(high[0] << 8 | high[1]);
    return true;
}

uint64_t pg_widen(uint32_t id, uint64_t end)
{
    if (id < 3 || end == 0)
        return 0;
    uint64_t last = end - 1;
    uint32_t behind = (uint32_t)last - id;
    return last >= behind ? last - behind : 0;
}
