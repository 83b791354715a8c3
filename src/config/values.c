/* SPDX-License-Identifier: Apache-2.0 */
/* values.c - what the rows have filled: freed, and compared for a reload. */
#include "config/errors.h"
#include "config/memory.h"
#include "config/options.h"

#include <stdlib.h>

static void *field(const struct mr_option *row, void *owner)
{
    return (char *)owner + row->offset;
}

static const void *field_of(const struct mr_option *row, const void *owner)
{
    return (const char *)owner + row->offset;
}

static const void *sub_of(const struct mr_option *row, const void *owner)
{
    return (const char *)owner + (row->flags & MR_OPT_PRESENT ? row->offset2 : row->offset);
}

/* -- free ---------------------------------------------------------------------------------------------------------------- */

static void free_secret(struct mr_secret *secret)
{
    mr_config_drop(secret->value, secret->n);
    free(secret->origin);
}

static void free_strings(struct mr_strings *strings)
{
    for (size_t i = 0; i < strings->count; i++)
        mr_config_drop_string(strings->items[i]);
    free(strings->items);
}

static void free_secrets(struct mr_secrets *secrets)
{
    for (size_t i = 0; i < secrets->count; i++)
        free_secret(&secrets->items[i]);
    free(secrets->items);
}

static void free_pairs(struct mr_pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        mr_config_drop_string(pairs->items[i].name);
        mr_config_drop_string(pairs->items[i].value);
    }
    free(pairs->items);
}

static void free_list(const struct mr_option *row, struct mr_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        mr_options_free(row->sub, (char *)list->items + i * row->sub_size);
    free(list->items);
}

static void free_named(const struct mr_option *row, struct mr_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        mr_config_drop_string(mr_named_name(row, list, i));
    free_list(row, list);
}

void mr_option_free(const struct mr_option *row, void *owner)
{
    void *at = field(row, owner);
    switch (row->type) {
    case MR_T_STRING:
    case MR_T_PATH:
    case MR_T_LISTEN:
        mr_config_drop_string(*(char **)at);
        *(char **)at = NULL;
        break;
    case MR_T_SECRET:
        free_secret(at);
        memset(at, 0, sizeof(struct mr_secret));
        break;
    case MR_T_STRINGS:
        free_strings(at);
        memset(at, 0, sizeof(struct mr_strings));
        break;
    case MR_T_SECRETS:
        free_secrets(at);
        memset(at, 0, sizeof(struct mr_secrets));
        break;
    case MR_T_LIST:
        free_list(row, at);
        memset(at, 0, sizeof(struct mr_list));
        break;
    case MR_T_NAMED:
        free_named(row, at);
        memset(at, 0, sizeof(struct mr_list));
        break;
    case MR_T_PAIRS:
        free_pairs(at);
        memset(at, 0, sizeof(struct mr_pairs));
        break;
    case MR_T_MAP:
        mr_options_free(row->sub, mr_option_sub(row, owner));
        break;
    default:
        break;
    }
}

void mr_options_free(const struct mr_option *rows, void *owner)
{
    for (const struct mr_option *row = rows; row && row->name; row++)
        mr_option_free(row, owner);
}

/* -- compare --------------------------------------------------------------------------------------------------------------- */

static bool strings_equal(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool secret_same(const struct mr_secret *a, const struct mr_secret *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->value, b->value, a->n) == 0);
}

static bool secrets_same(const struct mr_secrets *a, const struct mr_secrets *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = secret_same(&a->items[i], &b->items[i]);
    return same;
}

static bool strings_same(const struct mr_strings *a, const struct mr_strings *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = strings_equal(a->items[i], b->items[i]);
    return same;
}

/* Another order is a change: whom they are handed on to may take them one after the other. */
static bool pairs_same(const struct mr_pairs *a, const struct mr_pairs *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = strings_equal(a->items[i].name, b->items[i].name) && strings_equal(a->items[i].value, b->items[i].value);
    return same;
}

static bool list_same(const struct mr_option *row, const struct mr_list *a, const struct mr_list *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = mr_options_same(row->sub, (const char *)a->items + i * row->sub_size, (const char *)b->items + i * row->sub_size);
    return same;
}

/* Another order is a change, as with pairs. */
static bool named_same(const struct mr_option *row, const struct mr_list *a, const struct mr_list *b)
{
    bool same = list_same(row, a, b);
    for (size_t i = 0; same && i < a->count; i++)
        same = strings_equal(mr_named_name(row, a, i), mr_named_name(row, b, i));
    return same;
}

static bool reals_same(const double *a, const double *b)
{
    return !(*a < *b) && !(*a > *b);
}

static bool row_same(const struct mr_option *row, const void *owner_a, const void *owner_b)
{
    const void *a = field_of(row, owner_a), *b = field_of(row, owner_b);
    switch (row->type) {
    case MR_T_STRING:
    case MR_T_PATH:
    case MR_T_LISTEN:
        return strings_equal(*(char *const *)a, *(char *const *)b);
    case MR_T_BOOL:
        return *(const bool *)a == *(const bool *)b;
    case MR_T_ENUM:
        return *(const int *)a == *(const int *)b;
    case MR_T_INT:
    case MR_T_SIZE:
    case MR_T_DURATION:
    case MR_T_TIME:
        return *(const int64_t *)a == *(const int64_t *)b;
    case MR_T_SECRET:
        return secret_same(a, b);
    case MR_T_STRINGS:
        return strings_same(a, b);
    case MR_T_SECRETS:
        return secrets_same(a, b);
    case MR_T_LIST:
        return list_same(row, a, b);
    case MR_T_NAMED:
        return named_same(row, a, b);
    case MR_T_REAL:
        return reals_same(a, b);
    case MR_T_PAIRS:
        return pairs_same(a, b);
    case MR_T_MAP:
        if (row->flags & MR_OPT_PRESENT && *(const bool *)a != *(const bool *)b)
            return false;
        return mr_options_same(row->sub, sub_of(row, owner_a), sub_of(row, owner_b));
    }
    return false;
}

bool mr_options_same(const struct mr_option *rows, const void *a, const void *b)
{
    for (const struct mr_option *row = rows; row && row->name; row++) {
        if (!row_same(row, a, b))
            return false;
    }
    return true;
}

/* Entries that are there before and after; one that comes or goes changes nothing that is fixed. */
static void named_fixed(struct mr_fill *fill, const struct mr_option *row, const struct mr_list *old, const struct mr_list *next)
{
    for (size_t i = 0; i < next->count; i++) {
        const char *name = mr_named_name(row, next, i);
        size_t was = 0;
        while (was < old->count && !strings_equal(mr_named_name(row, old, was), name))
            was++;
        if (was == old->count)
            continue;
        size_t before = mr_fill_enter(fill, mr_str_c(name));
        mr_options_fixed(fill, row->sub, (const char *)old->items + was * row->sub_size, (const char *)next->items + i * row->sub_size);
        mr_fill_leave(fill, before);
    }
}

void mr_options_fixed(struct mr_fill *fill, const struct mr_option *rows, const void *old, const void *next)
{
    for (const struct mr_option *row = rows; row && row->name; row++) {
        size_t before = mr_fill_enter(fill, mr_str_c(row->name));
        if (row->flags & MR_OPT_FIXED && !row_same(row, old, next)) {
            struct mr_where where = mr_config_where(fill->errors, (struct mr_where){0, 0}, fill->path);
            mr_fill_error(fill, where, "cannot change while the server runs: put the old value back, or restart");
        } else if (row->type == MR_T_MAP && !(row->flags & MR_OPT_FIXED)) {
            mr_options_fixed(fill, row->sub, sub_of(row, old), sub_of(row, next));
        } else if (row->type == MR_T_NAMED && !(row->flags & MR_OPT_FIXED)) {
            named_fixed(fill, row, field_of(row, old), field_of(row, next));
        }
        mr_fill_leave(fill, before);
    }
}
