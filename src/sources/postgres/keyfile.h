/* SPDX-License-Identifier: Apache-2.0 */
/* keyfile.h - files of keys: the bytes of one, written and read back. Pure: the caller moves the bytes.
 *
 * A key is the JSON text that its rows' records have as `key`. All numbers are little-endian.
 *
 *      head    "MRKEYS1\n"  u32 kind  u32 length of the description  u32 crc32c of what is before, and of it   description
 *      block   u32 bytes of the payload  u32 bytes that it becomes  u32 keys  u32 crc32c of these twelve bytes and of the payload   payload
 *      …
 *      end     a block of no bytes and no keys with a u64 as its payload: how many keys there are. Nothing follows
 *
 * A payload is one gzip stream. In it stands of each key how many bytes it shares with the one before (0 for a block's first), how many more
 * it has (both LEB128), and those. A block is whole by itself, so a log can be appended to by several, one block at a time.
 *
 * kinds   sorted   each key above the one before, by the bytes; has an end
 *         log      in any order, a key any number of times; has none. Whoever wrote it may have died in a write: a block that is cut ends it
 *
 * Which bytes are no such file is told (MR_ECORRUPT); memory is bounded by the block's and the key's largest size, whatever the bytes say. */
#ifndef MR_POSTGRES_KEYFILE_H
#define MR_POSTGRES_KEYFILE_H

#include "millrace/buf.h"
#include "millrace/compress.h"

#include <stdint.h>

enum {
    PG_KEY_MAX = 1 << 20,     /* bytes of one key */
    PG_KEYS_BLOCK = 64 << 10, /* a block ends above this; so it is at most this and a key */
    PG_KEYS_DESCRIPTION = 64 << 10
};
enum pg_keys_kind { PG_KEYS_SORTED = 1, PG_KEYS_LOG = 2 };

/* -- writing ------------------------------------------------------------------------------------------------------- */
struct pg_keys_out {
    struct mr_buf bytes;   /* for the caller to write and mr_buf_clear() whenever it likes */
    int64_t count;         /* keys put */
    uint32_t sum;          /* crc32c of all bytes so far */
    /* inside */
    enum pg_keys_kind kind;
    struct mr_buf block, last;
    uint32_t block_keys;
    struct mr_deflater *deflater;
};
MR_MUST enum mr_code pg_keys_out_init(struct pg_keys_out *o, enum pg_keys_kind kind, struct mr_err *err);
void pg_keys_out_free(struct pg_keys_out *o); /* {0} is fine */
/* Once, at the beginning of a file; of a log whoever makes the file writes one. */
MR_MUST enum mr_code pg_keys_head(struct pg_keys_out *o, struct mr_str description, struct mr_err *err);
/* MR_ETOOBIG: a key above PG_KEY_MAX. Sorted: it must be above the last one. */
MR_MUST enum mr_code pg_keys_put(struct pg_keys_out *o, struct mr_str key, struct mr_err *err);
MR_MUST enum mr_code pg_keys_flush(struct pg_keys_out *o, struct mr_err *err); /* ends the block */
MR_MUST enum mr_code pg_keys_end(struct pg_keys_out *o, struct mr_err *err);   /* of a sorted one: the end */

/* -- reading ------------------------------------------------------------------------------------------------------- */
/* Up to n bytes into p; *got less than n: there are no more. */
typedef enum mr_code (*pg_keys_read_cb)(void *arg, void *p, size_t n, size_t *got, struct mr_err *err);
struct pg_keys_in {
    struct mr_str key;         /* the last one that pg_keys_next() gave; until the next */
    struct mr_buf description;
    int64_t count;             /* keys read */
    /* inside */
    enum pg_keys_kind kind;
    pg_keys_read_cb read;
    void *arg;
    struct mr_buf packed, block, last;
    size_t at;
    uint32_t block_keys;
    bool over;
};
/* Reads the head. MR_ECORRUPT; MR_EEND: not even a head, of a log. *in is to be freed in any case. */
MR_MUST enum mr_code pg_keys_in_init(struct pg_keys_in *in, enum pg_keys_kind kind, pg_keys_read_cb read, void *arg, struct mr_err *err);
void pg_keys_in_free(struct pg_keys_in *in);
/* MR_OK: in->key. MR_EEND. MR_ECORRUPT; what `read` fails with. */
MR_MUST enum mr_code pg_keys_next(struct pg_keys_in *in, struct mr_err *err);

int pg_keys_compare(struct mr_str a, struct mr_str b); /* by the bytes */

/* -- several sorted ones as one ------------------------------------------------------------------------------------ */
struct pg_keys_merge {
    struct mr_str key; /* until the next */
    /* inside */
    struct pg_keys_in **heap;
    size_t count;
    struct mr_buf last;
    bool begun;
};
/* The inputs are the caller's, and freed after the merge; their array is copied. */
void pg_keys_merge_init(struct pg_keys_merge *m, struct pg_keys_in *const *inputs, size_t count);
void pg_keys_merge_free(struct pg_keys_merge *m);
/* Each key once, in order. As pg_keys_next(). */
MR_MUST enum mr_code pg_keys_merge_next(struct pg_keys_merge *m, struct mr_err *err);

#endif
