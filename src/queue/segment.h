/* SPDX-License-Identifier: Apache-2.0 */
/* queue/segment.h - the files of the queue: how one is made, started, given back; what lies in its folder.
 *
 *   <number>.seg     a segment in use, 16 hex digits. It gets this name only once its header is durable, so one
 *                    without a whole header is damaged, never merely young.
 *   <number>.stub    only the header of a freed segment, kept while the segment before it is in use: it says where that
 *                    one ended, and which group of it is void
 *   spare-<number>   a file whose blocks have been written, for the next segment; its old records are dead by salt
 *   *.tmp            on the way to become one of these; deleted at start
 *
 * All calls block. Runs on: writer, lane SYNC, or start-up. No libuv here. */
#ifndef MR_QUEUE_SEGMENT_H
#define MR_QUEUE_SEGMENT_H

#include "queue/format.h"

#include <limits.h>

enum mr_seg_kind { MR_SEG_FILE, MR_SEG_STUB, MR_SEG_SPARE };
void mr_seg_path(char out[PATH_MAX], const char *dir, enum mr_seg_kind kind, uint64_t number);

struct mr_seg_entry {
    enum mr_seg_kind kind;
    uint64_t number, size;
};
/* What is in the folder, by number; *.tmp files are deleted. *out is malloc'ed. */
MR_MUST enum mr_code mr_seg_list(const char *dir, struct mr_seg_entry **out, size_t *n, struct mr_err *err);

/* fdatasync, unless a mutant build has switched syncs off. */
MR_MUST enum mr_code mr_seg_sync(int fd, struct mr_err *err);

/* Makes <number>.seg with this header durable, from a spare (spare != 0) or as a growing file; *fd is open for writing.
 * On failure nothing is left under that name, and a spare that was tried is gone: its disk may be bad. *named: the name
 * was given before it failed, so that a power cut may bring it back, and with it the end that it names: the segment
 * before it must not be written any more. */
MR_MUST enum mr_code mr_seg_start(const char *dir, uint64_t spare, const struct mr_seg_head *h,
                                  const struct mr_sources *prev_sources, int *fd, uint64_t *start, bool *named,
                                  struct mr_err *err);

/* A spare in the making: its blocks are written over piece by piece, so that the lane's other syncs get between. */
struct mr_seg_fill {
    const char *dir;
    uint64_t number, size, done;
    int fd; /* -1: not begun */
};
/* One piece. *ready: the spare is there, durable. On failure the file is gone. */
MR_MUST enum mr_code mr_seg_fill_step(struct mr_seg_fill *f, bool *ready, struct mr_err *err);
void mr_seg_fill_drop(struct mr_seg_fill *f); /* gives up one under way */

/* Gives a segment's file back. Each may be repeated after a failure or a crash; MR_OK means durably done. */
enum mr_seg_fate { MR_FATE_SPARE, MR_FATE_UNLINK, MR_FATE_STUB, MR_FATE_DROP_STUB, MR_FATE_DROP_SPARE };
MR_MUST enum mr_code mr_seg_free(const char *dir, uint64_t number, enum mr_seg_fate fate, uint64_t header_bytes,
                                 struct mr_err *err);

/* Keeps [from, to) of a segment as <quarantine>/_queue/<segment>-<offset>.bin, durably, in files of at most 1 MiB.
 * *fresh: bytes that were not there from an earlier time. */
MR_MUST enum mr_code mr_seg_quarantine(const char *quarantine, uint64_t number, int fd, uint64_t from, uint64_t to,
                                       uint64_t *fresh, struct mr_err *err);

#endif
