/* SPDX-License-Identifier: Apache-2.0 */
/* queue/format.h - the bytes of a segment: how they are written, and how a reader tells a record from a leftover.
 *
 * A segment is a header (twice, for the case that a block of it goes bad), then groups; a group is a header and
 * records. docs/queue-format.md has offsets and widths. All integers are little-endian, all parts begin at a
 * multiple of 8.
 *
 * What makes a byte sequence a group of this segment, and not an old one in a recycled block: its checksum is seeded
 * with the segment's salt, it names its own offset, and its first sequence is above everything before it. Sequences
 * only rise, so an old group could never pass even if its checksum did.
 *
 * These files know neither libuv nor threads nor the clock. */
#ifndef MR_QUEUE_FORMAT_H
#define MR_QUEUE_FORMAT_H

#include "millrace/err.h"
#include "millrace/str.h"

#include <stdint.h>

enum {
    MR_GROUP_BYTES = 40,  /* a group's header */
    MR_RECORD_BYTES = 16, /* a record's header */
    MR_BLOCK = 4096,      /* writes end at a block, so that no block must be read before it is written */
    MR_QUEUE_ID = 16,
};
#define MR_PAYLOAD_MAX (UINT32_C(1) << 30)

/* -- source name -> last sequence ------------------------------------------------------------------------------- */
struct mr_source_last {
    char *name;
    size_t n;
    uint64_t seq; /* 0: not there */
};
struct mr_sources { /* zeroed: empty */
    struct mr_source_last *rows;
    size_t n, cap;
    uint32_t *index; /* row + 1 by hash; 0: free */
    size_t index_cap, latest;
};
void mr_sources_note(struct mr_sources *t, struct mr_str name, uint64_t seq); /* keeps the larger */
void mr_sources_set(struct mr_sources *t, struct mr_str name, uint64_t seq);
uint64_t mr_sources_get(const struct mr_sources *t, struct mr_str name); /* 0 if not there */
void mr_sources_merge(struct mr_sources *t, const struct mr_sources *more);
void mr_sources_reset(struct mr_sources *t); /* every row to 0; names stay, so that a group a sync costs no allocation */
bool mr_sources_empty(const struct mr_sources *t);
void mr_sources_free(struct mr_sources *t);

/* -- groups and records ----------------------------------------------------------------------------------------- */
struct mr_group_head {
    uint64_t off, end; /* in the segment; end: one past its last record */
    uint64_t first_seq;
    uint32_t count; /* 0: the marker of an orderly end, nothing follows in this segment */
};
void mr_group_put(unsigned char out[MR_GROUP_BYTES], uint64_t salt, const struct mr_group_head *g);
/* A group's header of this segment at exactly `off`, ending at most at `limit`. */
bool mr_group_get(const unsigned char in[MR_GROUP_BYTES], uint64_t salt, uint64_t off, uint64_t limit,
                  struct mr_group_head *g);

struct mr_record_head {
    uint32_t crc, index, payload, source; /* index: in its group, from 0 */
};
size_t mr_record_size(size_t source, size_t payload); /* on disk, padding included */
/* Frames a record at `out` (mr_record_size bytes). It gets its index and checksum when its group is sealed. */
void mr_record_put(char *out, struct mr_str source, const struct mr_str *pieces, size_t count, size_t payload);
uint32_t mr_record_seed(uint64_t salt, uint64_t group_first_seq);
void mr_record_seal(char *record, uint32_t seed, uint32_t index);
/* False if it is no header of a record. Lengths are not checked against anything yet. */
bool mr_record_get(const char *in, struct mr_record_head *h);
uint32_t mr_record_crc(const char *record, uint32_t seed, size_t bytes); /* of header, source, payload; no padding */

/* -- a segment's header ----------------------------------------------------------------------------------------- */
struct mr_seg_end { /* what a segment's successor says of it; what recovery must know of each */
    uint64_t number;               /* 0: there was none */
    uint64_t salt, start, end;     /* start: of its first group; end: of its last good one */
    uint64_t first_seq, last_seq;  /* of its records; first > last: none */
    uint64_t void_first, void_last; /* a group behind `end` that failed and must never land; 0: none */
};
enum { MR_SEG_PREWRITTEN = 1, MR_SEG_SUMMARY = 2 }; /* SUMMARY: the list of the predecessor's sources is whole */
struct mr_seg_head {
    uint64_t number, salt;
    uint64_t first_seq; /* every record here has at least this */
    uint32_t flags;
    unsigned char id[MR_QUEUE_ID];
    struct mr_seg_end prev;
};
/* Both copies, ready to be written at offset 0; *n is where the first group begins. malloc'ed. */
unsigned char *mr_seg_head_put(const struct mr_seg_head *h, const struct mr_sources *prev_sources, size_t *n);
/* Reads either copy. *start: of the first group. prev_sources may be NULL. MR_ECORRUPT: neither is whole; MR_EIO. */
MR_MUST enum mr_code mr_seg_head_read(int fd, struct mr_seg_head *h, uint64_t *start, struct mr_sources *prev_sources,
                                      struct mr_err *err);

/* -- reading a segment as a stream ------------------------------------------------------------------------------ */
enum mr_scan_kind { MR_SCAN_RECORD, MR_SCAN_DAMAGE, MR_SCAN_END, MR_SCAN_FAILED };
struct mr_scan_item {
    enum mr_scan_kind kind;
    uint64_t seq;                  /* RECORD */
    struct mr_str source, payload; /* RECORD: borrowed until the next call */
    uint64_t from, to;             /* DAMAGE: bytes that are no record */
    int sys;                       /* FAILED: errno of the read; the position has not moved */
};
struct mr_scan {
    int fd; /* borrowed */
    uint64_t salt, off, end; /* everything below end is durable: whatever is no record there is damage */
    uint64_t last_seq;       /* groups must begin above it */
    uint64_t skip_below;     /* groups wholly below this sequence are stepped over unread */
    struct mr_group_head group;
    bool in_group;
    uint32_t index, seed; /* next record's, and the group's checksum seed */
    char *buf;
    size_t cap, n;
    uint64_t buf_off;
};
void mr_scan_init(struct mr_scan *s, int fd, uint64_t salt, uint64_t start, uint64_t end, uint64_t first_seq);
void mr_scan_free(struct mr_scan *s);
void mr_scan_next(struct mr_scan *s, struct mr_scan_item *out);
/* Where a segment without a successor ends: behind its last whole group. A bad group with a valid one after it is not the
 * end, since no group is written before the one before it is synced. *torn: bytes of an unfinished group lie behind. */
MR_MUST enum mr_code mr_scan_tail(int fd, uint64_t salt, uint64_t start, uint64_t size, uint64_t first_seq, uint64_t *end,
                                  bool *torn, struct mr_err *err);

static inline uint64_t mr_round_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

#endif
