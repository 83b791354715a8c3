/* SPDX-License-Identifier: Apache-2.0 */
/* ids.h - which transactions' rows have landed. Pure.
 *
 * A run that reads the watermarks from L on lands all rows of a transaction x that lie there; so for each x we keep the lowest L with which it was
 * read: a set of ids (a bucket) for each L, of which there are few, since L moves in steps. A row (x, watermark) has landed if some bucket holds x and
 * its L is not above the watermark. Kept for ids that a run may meet again (from X on), and for a sweep, since the last sweep.
 *
 * Ids are 64 bits here, 32 in a row: all that are kept lie within 2^31 of each other, so the lower half names them. In the store a bucket is cut into
 * pieces of 65,536 ids, each a row: a run writes only the pieces that it has changed. The sets are Roaring bitmaps (Lemire and others, 2016), in the
 * library's portable format. */
#ifndef MR_POSTGRES_IDS_H
#define MR_POSTGRES_IDS_H

#include "millrace/buf.h"

#include <stdint.h>

enum { PG_ID_PIECE = 16 /* bits */ };
#define PG_ALL INT64_MIN /* L of a run that read everything */

struct pg_ids; /* all buckets of a relation */
struct pg_ids *pg_ids_new(void);
void pg_ids_free(struct pg_ids *ids);

/* Of what a run has met: ids, to become part of a bucket once they have landed. */
struct pg_met;
struct pg_met *pg_met_new(void);
void pg_met_free(struct pg_met *met);
/* x, of a row that was seen under a snapshot that ends at `end`. Often the same again: cheap. One that is 2^31 older is not kept: no run meets it again, and its
 * lower half would be taken for that of one to come. */
void pg_met_add(struct pg_met *met, uint64_t x, uint64_t end);
uint64_t pg_met_count(const struct pg_met *met);

/* `watermark` PG_ALL (it is NULL, or -infinity): every run has read it. */
bool pg_ids_landed(const struct pg_ids *ids, uint32_t id, int64_t watermark);
size_t pg_ids_bytes(const struct pg_ids *ids);  /* of memory, about */
uint64_t pg_ids_count(const struct pg_ids *ids);

/* One piece of a bucket, as a row of the store has it. */
struct pg_piece {
    int64_t l;
    uint16_t high; /* of its ids */
};
void pg_ids_add(struct pg_ids *ids, int64_t l, const struct pg_met *met);
/* The pieces of bucket `l` that hold ids of `met`, after pg_ids_add(). Calls back for each: its set as base64. */
void pg_ids_pieces(const struct pg_ids *ids, int64_t l, const struct pg_met *met, void (*piece)(void *arg, struct pg_piece at, struct mr_str base64), void *arg);
/* Forgets pieces all of whose ids lie below `below` (64 bits); each is told, so that its row can go. */
void pg_ids_forget(struct pg_ids *ids, uint64_t below, void (*piece)(void *arg, struct pg_piece at), void *arg);
/* Forgets all, likewise. */
void pg_ids_clear(struct pg_ids *ids, void (*piece)(void *arg, struct pg_piece at), void *arg);
/* From a row. false: it is no such set. */
bool pg_ids_read(struct pg_ids *ids, struct pg_piece at, struct mr_str base64);

/* A piece's name in the store: "<L in hex, or all>/<high in hex>". */
void pg_piece_name(struct pg_piece at, char out[32]);
bool pg_piece_of(struct mr_str name, struct pg_piece *out);

/* The 64-bit id of a row's 32 bits: the highest one below `end` (the snapshot's xmax, which no row that is seen reaches). Ids 0, 1 and 2 are
 * older than all. */
uint64_t pg_widen(uint32_t id, uint64_t end);

#endif
