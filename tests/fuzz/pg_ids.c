/* SPDX-License-Identifier: Apache-2.0 */
/* pg_ids.c - a row of the store that holds ids of transactions: its name, a line feed, its set in base64. What is taken lies in its piece and nowhere else, and
 * is told, and read again, alike. */
#include "sources/postgres/ids.h"

#include "millrace/hash.h"

#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            abort();                                                                                                   \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

struct told {
    struct pg_piece at;
    const struct pg_ids *ids;
    unsigned count;
};

static void tell(void *arg, struct pg_piece at, struct mr_str base64)
{
    struct told *t = arg;
    struct pg_ids *back = pg_ids_new();
    CHECK(at.l == t->at.l && at.high == t->at.high && ++t->count == 1);
    CHECK(pg_ids_read(back, at, base64));
    CHECK(pg_ids_count(back) == pg_ids_count(t->ids));
    pg_ids_free(back);
}

static void gone(void *arg, struct pg_piece at)
{
    struct told *t = arg;
    CHECK(at.l == t->at.l && at.high == t->at.high);
    t->count++;
}

static void set(struct pg_piece at, struct mr_str base64)
{
    struct pg_ids *ids = pg_ids_new();
    struct told t = {.at = at, .ids = ids};
    uint64_t from = (uint64_t)at.high << PG_ID_PIECE, count = 0, end = (UINT64_C(1) << 32) + from + 65536;
    if (!pg_ids_read(ids, at, base64)) {
        CHECK(pg_ids_count(ids) == 0);
        pg_ids_free(ids);
        return;
    }
    struct pg_met *met = pg_met_new();
    for (uint64_t id = from; id < from + 65536; id++)
        if (pg_ids_landed(ids, (uint32_t)id, at.l)) {
            pg_met_add(met, (UINT64_C(1) << 32) + id, end);
            count++;
        }
    CHECK(count > 0 && count == pg_ids_count(ids) && count == pg_met_count(met));
    pg_ids_pieces(ids, at.l, met, tell, &t);
    CHECK(t.count == 1);
    pg_ids_forget(ids, end - 1, gone, &t);
    CHECK(t.count == 1 && pg_ids_count(ids) == count);
    pg_ids_forget(ids, end, gone, &t);
    CHECK(t.count == 2 && pg_ids_count(ids) == 0);
    pg_met_free(met);
    pg_ids_free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const char *text = (const char *)bytes, *line = n ? memchr(text, '\n', n) : NULL;
    struct mr_str name = {text, line ? (size_t)(line - text) : n};
    struct pg_piece at = {.l = 7, .high = 3}, same;
    char written[32];
    if (pg_piece_of(name, &at)) {
        pg_piece_name(at, written);
        CHECK(pg_piece_of(mr_str_c(written), &same) && same.l == at.l && same.high == at.high);
    }
    if (line)
        set(at, (struct mr_str){line + 1, n - name.n - 1});
    /* and any bytes as the set itself, else few inputs would come behind the base64 */
    struct mr_buf base64;
    mr_buf_init(&base64, 1 << 20);
    if (n < 12000)
        mr_base64_put(&base64, (struct mr_str){text, n});
    set((struct pg_piece){.l = PG_ALL, .high = 0}, mr_buf_str(&base64));
    mr_buf_free(&base64);
    return 0;
}
