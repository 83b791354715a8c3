/* SPDX-License-Identifier: Apache-2.0 */
#include "state/sqlite/filter.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINE_WORDS = 8, /* of 64 bits: one cache line */
    LINE_BITS = 512,
    ID_BITS = 10, /* of memory, an id */
    ID_SET = 7,   /* of them set in its line, 9 bits of the id for each */
    PART_IDS = 4096,
    PART_GROWTH = 4,
    PARTS = 12,
    DAYS = 64,
};

struct part {
    uint64_t *lines;
    size_t lines_count, ids, ids_max;
};
struct day {
    int32_t day;
    bool whole;
    struct part parts[PARTS];
    size_t parts_count;
};
struct mr_filter {
    struct day days[DAYS];
    size_t days_count, bytes, bytes_max;
};

struct mr_filter *mr_filter_new(size_t bytes_max)
{
    struct mr_filter *f = calloc(1, sizeof *f);
    assert(f);
    f->bytes_max = bytes_max;
    return f;
}

static void parts_free(struct mr_filter *f, struct day *d)
{
    for (size_t i = 0; i < d->parts_count; i++) {
        f->bytes -= d->parts[i].lines_count * LINE_BITS / 8;
        free(d->parts[i].lines);
    }
    d->parts_count = 0;
}

void mr_filter_free(struct mr_filter *f)
{
    for (size_t i = 0; f && i < f->days_count; i++)
        parts_free(f, &f->days[i]);
    free(f);
}

static size_t index_of(const struct mr_filter *f, int32_t day) /* days_count: not known */
{
    size_t i = 0;
    while (i < f->days_count && f->days[i].day != day)
        i++;
    return i;
}

static struct day *day_of(struct mr_filter *f, int32_t day)
{
    size_t i = index_of(f, day);
    return i < f->days_count ? &f->days[i] : NULL;
}

void mr_filter_drop(struct mr_filter *f, int32_t day)
{
    struct day *d = day_of(f, day);
    if (!d)
        return;
    parts_free(f, d);
    *d = f->days[--f->days_count];
}

static bool part_add(struct mr_filter *f, struct day *d, size_t ids)
{
    size_t lines = (ids * ID_BITS + LINE_BITS - 1) / LINE_BITS, bytes = lines * LINE_BITS / 8;
    if (d->parts_count == PARTS || bytes > f->bytes_max - f->bytes)
        return false;
    uint64_t *memory = aligned_alloc(LINE_BITS / 8, bytes);
    if (!memory)
        return false;
    memset(memory, 0, bytes);
    d->parts[d->parts_count++] = (struct part){memory, lines, 0, ids};
    f->bytes += bytes;
    return true;
}

/* Room for `ids` more of that day; older days are given up for it, or itself if it is the oldest. */
static bool room(struct mr_filter *f, int32_t day, size_t ids)
{
    for (;;) {
        struct day *d = day_of(f, day);
        if (part_add(f, d, ids))
            return true;
        int32_t oldest = day;
        for (size_t i = 0; i < f->days_count; i++)
            oldest = f->days[i].day < oldest ? f->days[i].day : oldest;
        mr_filter_drop(f, oldest);
        if (oldest == day)
            return false;
    }
}

void mr_filter_begin(struct mr_filter *f, int32_t day, size_t ids, bool empty)
{
    if (mr_filter_knows(f, day) || f->days_count == DAYS)
        return;
    f->days[f->days_count++] = (struct day){.day = day, .whole = empty};
    (void)room(f, day, ids > PART_IDS ? ids : PART_IDS); /* else it is not known */
}

void mr_filter_whole(struct mr_filter *f, int32_t day)
{
    struct day *d = day_of(f, day);
    if (d)
        d->whole = true;
}

bool mr_filter_knows(const struct mr_filter *f, int32_t day)
{
    return index_of(f, day) < f->days_count;
}

size_t mr_filter_bytes(const struct mr_filter *f)
{
    return f->bytes;
}

/* -- ids ----------------------------------------------------------------------------------------------------------- */

struct spot { /* where an id's bits are */
    uint64_t line, bits;
};

static struct spot spot_of(const unsigned char id[16])
{
    struct spot s;
    memcpy(&s.line, id, sizeof s.line);
    memcpy(&s.bits, id + 8, sizeof s.bits);
    return s;
}

static uint64_t *line_of(const struct part *p, const struct spot *s)
{
    /* the top of the product: even over any number of lines, without a division */
    return p->lines + ((s->line >> 32) * p->lines_count >> 32) * LINE_WORDS;
}

static bool part_may(const struct part *p, const struct spot *s)
{
    const uint64_t *line = line_of(p, s);
    uint64_t bits = s->bits;
    for (int i = 0; i < ID_SET; i++, bits >>= 9)
        if (!(line[bits >> 6 & 7] >> (bits & 63) & 1))
            return false;
    return true;
}

bool mr_filter_may(const struct mr_filter *f, int32_t day, const unsigned char id[16])
{
    size_t at = index_of(f, day);
    if (at == f->days_count || !f->days[at].whole)
        return true;
    const struct day *d = &f->days[at];
    struct spot s = spot_of(id);
    for (size_t i = d->parts_count; i-- > 0;)
        if (part_may(&d->parts[i], &s))
            return true;
    return false;
}

void mr_filter_add(struct mr_filter *f, int32_t day, const unsigned char id[16])
{
    struct day *d = day_of(f, day);
    if (!d)
        return;
    struct part *p = &d->parts[d->parts_count - 1];
    if (p->ids >= p->ids_max) {
        size_t ids = p->ids_max > SIZE_MAX / ID_BITS / PART_GROWTH ? p->ids_max : p->ids_max * PART_GROWTH;
        if (!room(f, day, ids))
            return;
        d = day_of(f, day);
        p = &d->parts[d->parts_count - 1];
    }
    struct spot s = spot_of(id);
    uint64_t *line = line_of(p, &s);
    for (int i = 0; i < ID_SET; i++, s.bits >>= 9)
        line[s.bits >> 6 & 7] |= (uint64_t)1 << (s.bits & 63);
    p->ids++;
}
