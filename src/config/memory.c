/* SPDX-License-Identifier: Apache-2.0 */
#include "config/memory.h"

#include <stdlib.h>
#include <string.h>

void *mr_config_alloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p)
        abort();
    return p;
}

char *mr_config_dup(struct mr_str s)
{
    char *copy = mr_config_alloc(1, s.n + 1);
    if (s.n > 0)
        memcpy(copy, s.p, s.n);
    return copy;
}

void mr_config_drop(char *s, size_t n)
{
    if (!s)
        return;
    explicit_bzero(s, n);
    free(s);
}

void mr_config_drop_string(char *s)
{
    if (s)
        mr_config_drop(s, strlen(s));
}

void *mr_config_grow(void *items, size_t count, size_t *cap, size_t size)
{
    if (count < *cap)
        return items;
    size_t more = *cap ? *cap * 2 : 8;
    void *grown = mr_config_alloc(more, size);
    if (count > 0)
        memcpy(grown, items, count * size);
    mr_config_drop(items, count * size);
    *cap = more;
    return grown;
}
