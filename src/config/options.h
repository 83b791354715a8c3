/* SPDX-License-Identifier: Apache-2.0 */
/* config/options.h - rows and a tree make a filled struct; rows and a struct can be compared and freed. */
#ifndef MR_CONFIG_OPTIONS_H
#define MR_CONFIG_OPTIONS_H

#include "config/document.h"
#include "config/secrets.h"

struct mr_fill {
    struct mr_config_errors *errors;
    struct mr_resolver resolver;
    char path[512]; /* "zone.roll": in front of every message; cut if longer */
};
struct mr_table {
    const struct mr_option *rows; /* NULL: none */
    void *owner;                  /* zeroed */
};

/* Fills the owners from `map`, what is absent by its default, and reports unknown and missing keys. Several tables share one map at the
 * top level; `other` is a key of it that no row describes (NULL: none). After errors the owners are whole still: defaults stand where the
 * file's values were refused. where: of what is missing. map NULL: the defaults alone, nothing is reported. */
void mr_options_fill(struct mr_fill *fill, const struct mr_table *tables, size_t count, const char *other, const struct mr_node *map,
                     struct mr_where where);
/* values.c */
void mr_options_free(const struct mr_option *rows, void *owner); /* what the fields point at, cleansed; not owner itself */
void mr_option_free(const struct mr_option *row, void *owner);   /* of one row; leaves its field zeroed */
bool mr_options_same(const struct mr_option *rows, const void *a, const void *b);
/* Reports each MR_OPT_FIXED row whose values differ. fill->path is the owner's, fill->errors has the new document. */
void mr_options_fixed(struct mr_fill *fill, const struct mr_option *rows, const void *old, const void *next);

/* "./x" below `folder`; an absolute path as it is. The caller's. */
char *mr_path_absolute(const char *folder, struct mr_str path);
/* The struct inside `owner` that a MAP row fills. */
void *mr_option_sub(const struct mr_option *row, void *owner);
/* "a duration such as 30s", "one of a, b": after "expected". */
void mr_option_expected(const struct mr_option *row, struct mr_buf *out);
/* Can the row's own default be read, and does it lie within its range? false: `why`. */
bool mr_option_default_ok(const struct mr_option *row, struct mr_buf *why);

/* Path handling: returns what mr_fill_leave() wants. */
size_t mr_fill_enter(struct mr_fill *fill, struct mr_str key);
void mr_fill_leave(struct mr_fill *fill, size_t before);
void mr_fill_error(struct mr_fill *fill, struct mr_where where, const char *fmt, ...) MR_PRINTF(3, 4);

#endif
