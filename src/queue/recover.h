/* SPDX-License-Identifier: Apache-2.0 */
/* queue/recover.h - what a queue's folder holds after whatever ended the last process. No libuv, no threads. Blocks. */
#ifndef MR_QUEUE_RECOVER_H
#define MR_QUEUE_RECOVER_H

#include "queue/segment.h"

struct mr_recovered_seg {
    struct mr_seg_end at;
    uint64_t prev_number; /* the segment whose end its header names; 0: none */
    uint64_t file_size;
    bool prewritten;
    struct mr_sources sources;
};
struct mr_recovered {
    struct mr_recovered_seg *segs; /* by number */
    size_t n;
    struct mr_recovered_stub {
        uint64_t number, prev_number;
    } *stubs;
    size_t stubs_n;
    uint64_t *spares;
    size_t spares_n;
    uint64_t next_number, next_seq;
    uint64_t corrupt_bytes, torn_segment; /* torn_segment: an unfinished group was dropped there; 0: none */
    char corrupt_where[128];              /* the last of the damaged places, for people */
};

/* The id in <dir>/queue.json. MR_ENOENT: there was none; the newest segment's, or a fresh one, is then made durable. */
MR_MUST enum mr_code mr_queue_id(const char *dir, unsigned char id[MR_QUEUE_ID], struct mr_err *err);

/* Makes the tail durable, then reads it: what a killed process wrote may be in the page cache only, and nothing may be
 * staged that a power cut can still take away. The last segment is read whole, twice, as a stream; of the others the
 * headers. Damaged bytes are kept in quarantine first. Fails with MR_EIO and the like; the folder is then as it was. */
MR_MUST enum mr_code mr_recover(const char *dir, const char *quarantine, uint64_t segment_size, struct mr_recovered *out,
                                struct mr_err *err);
void mr_recovered_free(struct mr_recovered *r);

#endif
