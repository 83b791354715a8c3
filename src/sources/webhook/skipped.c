/* SPDX-License-Identifier: Apache-2.0 */
#include "skipped.h"

#include <assert.h>
#include <stdlib.h>

enum { LIST_MOST = (MR_SKIPPED_MOST + 8192) * 21 }; /* a slice may go past the mark */

void skipped_init(struct skipped *s)
{
    *s = (struct skipped){0};
    mr_buf_init(&s->list, LIST_MOST);
}

void skipped_free(struct skipped *s)
{
    mr_buf_free(&s->list);
    for (size_t i = 0; i < s->forget_count; i++)
        free(s->forget[i]);
    free(s->forget);
    free(s->rows);
}

void skipped_clear(struct skipped *s)
{
    mr_buf_clear(&s->list);
    s->count = 0;
}

void skipped_add(struct skipped *s, uint64_t seq)
{
    mr_buf_putc(&s->list, s->count++ ? ',' : '[');
    mr_buf_u64(&s->list, seq);
}

size_t skipped_rows(struct skipped *s, struct mr_str source, struct mr_str stream, struct mr_str landing,
                    bool has_records, const struct mr_row **rows, uint64_t *upto)
{
    size_t count = 0;
    free(s->rows);
    s->rows = calloc(s->forget_count + 1, sizeof *s->rows);
    assert(s->rows);
    const struct mr_row row = {
        .source = source, .stream = stream, .kind = MR_STR(MR_SKIPPED_KIND), .expected_version = -1};
    for (size_t i = 0; i < s->forget_count; i++) {
        s->rows[count] = row; /* no value: deletes it */
        s->rows[count++].key = mr_str_c(s->forget[i]);
    }
    if (s->count && has_records) {
        mr_buf_putc(&s->list, ']');
        s->rows[count] = row;
        s->rows[count].key = landing;
        s->rows[count++].value = mr_buf_str(&s->list);
    }
    assert(!s->list.failed); /* bounded by MR_SKIPPED_MOST and a slice */
    *rows = s->rows;
    *upto = s->forgotten + s->forget_count;
    return count;
}

void skipped_decided(struct skipped *s, uint64_t upto)
{
    if (upto <= s->forgotten)
        return;
    size_t gone = (size_t)(upto - s->forgotten);
    for (size_t i = 0; i < gone; i++)
        free(s->forget[i]);
    s->forget_count -= gone;
    memmove(s->forget, s->forget + gone, s->forget_count * sizeof *s->forget);
    s->forgotten += gone;
}

void skipped_published(struct skipped *s, const char *landing)
{
    if (s->forget_count == s->forget_cap) {
        s->forget_cap = s->forget_cap ? s->forget_cap * 2 : 4;
        s->forget = realloc(s->forget, s->forget_cap * sizeof *s->forget);
        assert(s->forget);
    }
    s->forget[s->forget_count] = strdup(landing);
    assert(s->forget[s->forget_count]);
    s->forget_count++;
}
