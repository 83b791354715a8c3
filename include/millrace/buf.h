/* SPDX-License-Identifier: Apache-2.0 */
/* buf.h - a growing byte buffer, born with the largest size it may ever have.
 *
 * Many small writes, one check: the first write that does not fit (limit or memory) sets `failed`, and every later write
 * does nothing. A buffer that failed is never written out. Not thread-safe; moves with its owner. */
#ifndef MILLRACE_BUF_H
#define MILLRACE_BUF_H

#include "millrace/err.h"
#include "millrace/str.h"

#include <stdint.h>

struct mr_buf {
    char *p;
    size_t n, cap, limit;
    bool failed;
};

void mr_buf_init(struct mr_buf *b, size_t limit); /* allocates nothing */
void mr_buf_free(struct mr_buf *b);               /* then as after init */
void mr_buf_clear(struct mr_buf *b);              /* empty, keeps memory, forgets failed */
bool mr_buf_reserve(struct mr_buf *b, size_t more); /* room for `more` bytes at p + n; false sets failed */
void mr_buf_put(struct mr_buf *b, const void *bytes, size_t n);
void mr_buf_puts(struct mr_buf *b, const char *s);
void mr_buf_putc(struct mr_buf *b, char c);
void mr_buf_printf(struct mr_buf *b, const char *fmt, ...) MR_PRINTF(2, 3);
void mr_buf_u64(struct mr_buf *b, uint64_t v); /* decimal */
const char *mr_buf_cstr(struct mr_buf *b);     /* NUL-terminated view (the NUL is not counted); "" if failed */

static inline struct mr_str mr_buf_str(const struct mr_buf *b)
{
    return (struct mr_str){b->p, b->n};
}

#endif
