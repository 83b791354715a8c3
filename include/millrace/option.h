/* SPDX-License-Identifier: Apache-2.0 */
/* option.h - one table of options gives parsing, defaults, ranges, units, secrets, errors with file:line:column, the JSON
 * Schema and the config reference. A module writes rows; config/ does the rest. */
#ifndef MILLRACE_OPTION_H
#define MILLRACE_OPTION_H

#include "millrace/buf.h"

#include <stdint.h>

enum mr_type {                /* field at `offset` of the owner's struct */
    MR_T_STRING,              /* char *                              */
    MR_T_PATH,                /* char *; relative ones count from the config file's folder */
    MR_T_BOOL,                /* bool                                */
    MR_T_INT,                 /* int64_t                             */
    MR_T_REAL,                /* double: 3, 0.5                      */
    MR_T_SIZE,                /* int64_t bytes: B, KiB, MiB, GiB, TiB */
    MR_T_DURATION,            /* int64_t milliseconds: ms, s, m, h, d */
    MR_T_ENUM,                /* int: index into `choices`           */
    MR_T_TIME,                /* int64_t microseconds since 1970 (RFC 3339), MR_NO_TIME if absent */
    MR_T_SECRET,              /* struct mr_secret                    */
    MR_T_STRINGS,             /* struct mr_strings: a list, or one    */
    MR_T_SECRETS,             /* struct mr_secrets: a list, or one    */
    MR_T_MAP,                 /* a struct inside: rows in `sub`; absent: its defaults, if none is mandatory (see MR_OPT_PRESENT) */
    MR_T_LIST,                /* struct mr_list of structs of `sub_size` bytes: rows in `sub` */
    MR_T_PAIRS,               /* struct mr_pairs: a map of any names to plain values */
    MR_T_NAMED,               /* struct mr_list of structs of `sub_size` bytes: a map of any names to maps with the rows in `sub` */
    MR_T_LISTEN               /* char *: host:port, [v6]:port; checked, port 0 allowed */
};
enum mr_option_flag {
    MR_OPT_MANDATORY = 1,     /* must be given (inside a MAP that is given) */
    MR_OPT_FIXED = 2,         /* a reload that changes it is refused whole */
    MR_OPT_PRESENT = 4,       /* MAP: a `bool` at offset says whether it was given; the struct follows at `offset2` */
    MR_OPT_SCALAR = 8         /* MAP: a plain value stands for the map with its first row alone (state: sqlite) */
};

struct mr_secret {
    char *value;              /* resolved; cleansed on free; never printed */
    size_t n;
    char *origin;             /* "${env:NAME}" or "${file:PATH}", for messages */
};
struct mr_strings { char **items; size_t count; };
struct mr_secrets { struct mr_secret *items; size_t count; };
struct mr_list { void *items; size_t count; };
/* In the order of the file; no name is empty or there twice. A value is the text as written (true, 100), or what its reference holds: it may be
 * a secret, so no message shows it. Where one stands: mr_config_where(errors, where, "row.name"), dots in the name or not. */
struct mr_pair { char *name, *value; };
struct mr_pairs { struct mr_pair *items; size_t count; };
/* NAMED: the first field of each struct is `char *name`, which no row describes: the key in the map. The order and the names are as with pairs, and
 * so is where one stands: mr_config_where(errors, where, "row.name.key"). */

struct mr_option {
    const char *name;         /* NULL ends the table */
    enum mr_type type;
    size_t offset;
    const char *def, *min, *max; /* as a person would write them; NULL: none (STRING: NULL, numbers: 0). STRINGS, SECRETS, LIST, PAIRS, NAMED: min and max
                                    count the items, def of STRINGS is "a, b" */
    const char *doc;          /* a sentence or two: what it does, what it trades, what to take if unsure */
    unsigned flags;
    const char *const *choices; /* ENUM: NULL-terminated */
    const struct mr_option *sub;
    size_t sub_size, offset2;
};

static inline char *mr_named_name(const struct mr_option *row, const struct mr_list *list, size_t i)
{
    return *(char *const *)(const void *)((const char *)list->items + i * row->sub_size);
}

/* Where a value stands in the file, for messages of checks that go beyond one row. */
struct mr_where { int line, column; };
struct mr_config_errors; /* collects all errors; config/ sorts and prints them as file:line:column: text */
void mr_config_error(struct mr_config_errors *errors, struct mr_where where, const char *fmt, ...) MR_PRINTF(3, 4);
/* Where "dedup.id" stands below `where` (a source's, as validate() gets it): the value, or the nearest map above it that is there. */
struct mr_where mr_config_where(const struct mr_config_errors *errors, struct mr_where where, const char *path);

#endif
