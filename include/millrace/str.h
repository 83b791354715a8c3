/* SPDX-License-Identifier: Apache-2.0 */
/* str.h - a borrowed run of bytes: pointer and length, no NUL promised. Copying the struct copies the borrow only. */
#ifndef MILLRACE_STR_H
#define MILLRACE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct mr_str {
    const char *p; /* NULL with n == 0: absent (as against empty) where the field's comment says so */
    size_t n;
};

#define MR_STR(literal) ((struct mr_str){(literal), sizeof(literal) - 1})

static inline struct mr_str mr_str_c(const char *s)
{
    return (struct mr_str){s, s ? strlen(s) : 0};
}

static inline bool mr_str_eq(struct mr_str a, struct mr_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* The struct that holds `ptr` as its `member` (container_of). */
#define MR_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define MR_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
