/* SPDX-License-Identifier: Apache-2.0 */
#include "expect.h"

#include "millrace/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

/* Decimal fractions are none in binary: 0.07 times 100 is a little more than 7, and 7 rows are not fewer than that. */
#define ABOUT 1e-12

/* -- the runs before --------------------------------------------------------------------------------------------------------- */

/* Runs without rows at the end of the history. */
static int64_t zeros_of(const struct pg_history *h)
{
    size_t n = 0;
    while (n < h->count && h->counts[h->count - 1 - n] == 0)
        n++;
    return (int64_t)n + h->more_zeros;
}

void pg_history_add(struct pg_history *h, int64_t rows)
{
    assert(rows >= 0);
    if (rows != 0)
        h->more_zeros = 0;
    else if (zeros_of(h) >= PG_HISTORY_MAX && h->more_zeros < INT64_MAX - PG_HISTORY_MAX - 1)
        h->more_zeros++;
    if (h->count == PG_HISTORY_MAX) {
        memmove(h->counts, h->counts + 1, (PG_HISTORY_MAX - 1) * sizeof h->counts[0]);
        h->count--;
    }
    h->counts[h->count++] = rows;
}

void pg_history_put(const struct pg_history *h, struct mr_buf *json)
{
    mr_buf_putc(json, '[');
    if (h->more_zeros > 0)
        mr_buf_printf(json, "%" PRId64 ",", -h->more_zeros);
    for (size_t i = 0; i < h->count; i++)
        mr_buf_printf(json, "%s%" PRId64, i > 0 ? "," : "", h->counts[i]);
    mr_buf_putc(json, ']');
}

bool pg_history_get(struct mr_str json, struct pg_history *out)
{
    struct mr_json_slice array = mr_json_at(json, MR_STR("")), item;
    struct mr_json_iter it;
    struct mr_str key;
    struct pg_history h = {.count = 0};
    if (array.type != MR_JSON_ARRAY)
        return false;
    mr_json_iter(&it, array);
    for (bool first = true; mr_json_next(&it, &key, &item); first = false) {
        int64_t n;
        if (!mr_json_i64(item, &n) || h.count == PG_HISTORY_MAX)
            return false;
        if (n >= 0)
            h.counts[h.count++] = n;
        else if (first && n > -(INT64_MAX - PG_HISTORY_MAX))
            h.more_zeros = -n;
        else
            return false;
    }
    if (h.more_zeros > 0 && zeros_of(&h) - h.more_zeros != PG_HISTORY_MAX)
        return false;
    *out = h;
    return true;
}

/* -- the verdict ------------------------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

struct median { /* whole, or a half more */
    int64_t whole;
    bool half;
};

static struct median median_of(const struct pg_history *h)
{
    int64_t sorted[PG_HISTORY_MAX];
    memcpy(sorted, h->counts, h->count * sizeof sorted[0]);
    qsort(sorted, h->count, sizeof sorted[0], by_size);
    int64_t low = sorted[(h->count - 1) / 2], high = sorted[h->count / 2];
    return (struct median){low + (high - low) / 2, (high - low) % 2 != 0};
}

static void put_median(struct mr_buf *why, struct median m, size_t runs)
{
    mr_buf_printf(why, "%" PRId64 "%s, the median of the %zu runs before", m.whole, m.half ? ".5" : "", runs);
}

enum pg_verdict pg_expect_judge(const struct pg_expect *e, const struct pg_history *before, int64_t rows, struct mr_buf *why)
{
    if (before->count < PG_HISTORY_LEAST)
        return PG_USUAL;
    struct median m = median_of(before);
    double median = (double)m.whole + (m.half ? 0.5 : 0), count = (double)rows;
    int64_t zeros = rows == 0 ? zeros_of(before) + 1 : 0;
    if (e->zero > 0 && zeros >= e->zero) {
        mr_buf_printf(why, "no rows in %" PRId64 " run%s in a row; usual are ", zeros, zeros == 1 ? "" : "s");
        put_median(why, m, before->count);
        return PG_ZERO;
    }
    if (e->drop > 0 && count < e->drop * median * (1 - ABOUT)) {
        mr_buf_printf(why, "%" PRId64 " row%s, fewer than %g times ", rows, rows == 1 ? "" : "s", e->drop);
        put_median(why, m, before->count);
        return PG_DROPPED;
    }
    if (e->rise > 0 && median > 0 && count > e->rise * median * (1 + ABOUT)) {
        mr_buf_printf(why, "%" PRId64 " row%s, more than %g times ", rows, rows == 1 ? "" : "s", e->rise);
        put_median(why, m, before->count);
        return PG_ROSE;
    }
    return PG_USUAL;
}
