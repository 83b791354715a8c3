/* SPDX-License-Identifier: Apache-2.0 */
/* sources.c - a small map from a source's name to a sequence. One lookup a record: the row of the record before is tried
 * first, then a hash. Names come from our own config, so their number is small; memory that cannot be had ends us. */
#include "queue/format.h"

#include "millrace/hash.h"

#include <stdlib.h>

static bool row_is(const struct mr_source_last *row, struct mr_str name)
{
    return row->n == name.n && (name.n == 0 || memcmp(row->name, name.p, name.n) == 0);
}

static size_t slot_of(const struct mr_sources *t, struct mr_str name)
{
    size_t at = mr_crc32c(0, name.p, name.n) & (t->index_cap - 1);
    while (t->index[at] && !row_is(&t->rows[t->index[at] - 1], name))
        at = (at + 1) & (t->index_cap - 1);
    return at;
}

static void grow(struct mr_sources *t)
{
    t->cap = t->cap ? t->cap * 2 : 8;
    t->rows = realloc(t->rows, t->cap * sizeof *t->rows);
    free(t->index);
    t->index_cap = t->cap * 2;
    t->index = calloc(t->index_cap, sizeof *t->index);
    if (!t->rows || !t->index)
        abort();
    for (size_t i = 0; i < t->n; i++)
        t->index[slot_of(t, (struct mr_str){t->rows[i].name, t->rows[i].n})] = (uint32_t)i + 1;
}

static struct mr_source_last *row_get(struct mr_sources *t, struct mr_str name)
{
    if (t->latest < t->n && row_is(&t->rows[t->latest], name))
        return &t->rows[t->latest];
    if (t->n == t->cap)
        grow(t);
    size_t slot = slot_of(t, name);
    if (!t->index[slot]) {
        struct mr_source_last *row = &t->rows[t->n];
        *row = (struct mr_source_last){malloc(name.n + 1), name.n, 0};
        if (!row->name)
            abort();
        if (name.n)
            memcpy(row->name, name.p, name.n);
        row->name[name.n] = 0;
        t->index[slot] = (uint32_t)++t->n;
    }
    t->latest = t->index[slot] - 1;
    return &t->rows[t->latest];
}

void mr_sources_note(struct mr_sources *t, struct mr_str name, uint64_t seq)
{
    struct mr_source_last *row = row_get(t, name);
    if (seq > row->seq)
        row->seq = seq;
}

void mr_sources_set(struct mr_sources *t, struct mr_str name, uint64_t seq)
{
    row_get(t, name)->seq = seq;
}

uint64_t mr_sources_get(const struct mr_sources *t, struct mr_str name)
{
    if (t->n == 0)
        return 0;
    uint32_t row = t->index[slot_of(t, name)];
    return row ? t->rows[row - 1].seq : 0;
}

void mr_sources_merge(struct mr_sources *t, const struct mr_sources *more)
{
    for (size_t i = 0; i < more->n; i++)
        if (more->rows[i].seq)
            mr_sources_note(t, (struct mr_str){more->rows[i].name, more->rows[i].n}, more->rows[i].seq);
}

void mr_sources_reset(struct mr_sources *t)
{
    for (size_t i = 0; i < t->n; i++)
        t->rows[i].seq = 0;
}

bool mr_sources_empty(const struct mr_sources *t)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->rows[i].seq)
            return false;
    return true;
}

void mr_sources_free(struct mr_sources *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->rows[i].name);
    free(t->rows);
    free(t->index);
    *t = (struct mr_sources){0};
}
