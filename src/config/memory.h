/* SPDX-License-Identifier: Apache-2.0 */
/* config/memory.h - allocation for a config: a file is at most 1 MiB, so what is made of it is small; without memory for it the program
 * stops, which is always safe. Strings may hold secrets (any string may be ${env:…}), so all are cleansed. */
#ifndef MR_CONFIG_MEMORY_H
#define MR_CONFIG_MEMORY_H

#include "millrace/str.h"

void *mr_config_alloc(size_t count, size_t size);      /* zeroed; aborts without memory */
char *mr_config_dup(struct mr_str s);                  /* NUL-terminated */
void mr_config_drop(char *s, size_t n);                /* cleanses n bytes, frees; NULL is fine */
void mr_config_drop_string(char *s);                   /* the same up to its NUL */
/* Doubles `items` when `count` has reached *cap; the old memory is cleansed. */
void *mr_config_grow(void *items, size_t count, size_t *cap, size_t size);

#endif
