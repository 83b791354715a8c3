/* SPDX-License-Identifier: Apache-2.0 */
/* config/rows.h - what the pages (schema, reference, sample) and the check of the rows share. */
#ifndef MR_CONFIG_ROWS_H
#define MR_CONFIG_ROWS_H

#include "config/root.h"

/* The page must come out whole: callers give a buffer of this limit and look at `failed`. */
enum { MR_PAGE_MAX = 4 << 20 };

static inline bool mr_row_is_text(const struct mr_option *row)
{
    return row->type == MR_T_STRING || row->type == MR_T_PATH || row->type == MR_T_LISTEN;
}

static inline bool mr_row_has(const struct mr_option *row, enum mr_option_flag flag)
{
    return (row->flags & (unsigned)flag) != 0;
}

#endif
