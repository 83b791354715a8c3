/* SPDX-License-Identifier: Apache-2.0 */
/* decision.h - what one decision records together: the source's moves and whatever else it keeps. All or nothing.
 *
 * A move is a compare-and-swap on an integer version, never on text. Version 0 means "no row yet"; a decided move makes the
 * version expected + 1. Values are JSON that only the source understands. */
#ifndef MILLRACE_DECISION_H
#define MILLRACE_DECISION_H

#include "millrace/str.h"

#include <stdint.h>

struct mr_move {
    struct mr_str source, stream, part;
    int64_t expected_version;
    struct mr_str value; /* JSON */
};

struct mr_row { /* of source_rows(source, stream, kind, key, value, version) */
    struct mr_str source, stream, kind, key;
    struct mr_str value;      /* JSON; p == NULL deletes the row */
    int64_t expected_version; /* -1: whatever it is; 0: must not exist; else must match */
};

struct mr_seen { /* a webhook's event id, hashed (source included in the hash) */
    unsigned char id[16], body[8];
    int32_t day; /* arrival day: its table */
};

#endif
