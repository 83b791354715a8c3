/* SPDX-License-Identifier: Apache-2.0 */
#include "millrace/buf.h"

#include <stdio.h>
#include <stdlib.h>

enum { FIRST_CAP = 256 };

void mr_buf_init(struct mr_buf *b, size_t limit)
{
    *b = (struct mr_buf){.limit = limit};
}

void mr_buf_free(struct mr_buf *b)
{
    free(b->p);
    mr_buf_init(b, b->limit);
}

void mr_buf_clear(struct mr_buf *b)
{
    b->n = 0;
    b->failed = false;
}

/* `cap` counts without the byte for mr_buf_cstr's NUL, which every allocation has. */
static bool grow(struct mr_buf *b, size_t need)
{
    size_t cap = b->cap < FIRST_CAP / 2 ? FIRST_CAP : b->cap > b->limit / 2 ? b->limit : b->cap * 2;
    if (cap < need)
        cap = need;
    if (cap > b->limit)
        cap = b->limit;
    char *p = cap < SIZE_MAX ? realloc(b->p, cap + 1) : NULL;
    if (!p)
        return false;
    b->p = p;
    b->cap = cap;
    return true;
}

bool mr_buf_reserve(struct mr_buf *b, size_t more)
{
    if (b->failed)
        return false;
    if (more <= b->cap - b->n)
        return true;
    if (more > b->limit - b->n || !grow(b, b->n + more)) {
        b->failed = true;
        return false;
    }
    return true;
}

void mr_buf_put(struct mr_buf *b, const void *bytes, size_t n)
{
    if (n == 0 || !mr_buf_reserve(b, n))
        return;
    memcpy(b->p + b->n, bytes, n);
    b->n += n;
}

void mr_buf_puts(struct mr_buf *b, const char *s)
{
    mr_buf_put(b, s, strlen(s));
}

void mr_buf_putc(struct mr_buf *b, char c)
{
    mr_buf_put(b, &c, 1);
}

void mr_buf_printf(struct mr_buf *b, const char *fmt, ...)
{
    if (b->failed)
        return;
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    size_t room = b->p ? b->cap - b->n + 1 : 0;
    int n = vsnprintf(b->p ? b->p + b->n : NULL, room, fmt, args);
    if (n < 0)
        b->failed = true;
    else if ((size_t)n < room)
        b->n += (size_t)n;
    else if (mr_buf_reserve(b, (size_t)n) && b->p) {
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

void mr_buf_u64(struct mr_buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    mr_buf_put(b, digits + at, sizeof digits - at);
}

const char *mr_buf_cstr(struct mr_buf *b)
{
    if (b->failed || !b->p)
        return "";
    b->p[b->n] = '\0';
    return b->p;
}
