/* SPDX-License-Identifier: Apache-2.0 */
/* bench/lib/oldlog.h - a log file whose blocks were all written before, used round and round.
 *
 * Blocks that are merely allocated go through the file system's journal on first sync; blocks that were written do not.
 * So this is the fastest durable append that an ordinary file gives, and what the bounds are measured on. Runs on: one
 * thread at a time. Any failure of the disk ends the program: a bound that errs has no figure. */
#ifndef BENCH_OLDLOG_H
#define BENCH_OLDLOG_H
#include <stddef.h>
#include <stdint.h>

struct mr_oldlog {
    int fd;
    uint64_t size_bytes, at;
};

/* Creates `path`, writes `size_bytes` of zeros over it and syncs it. */
void mr_oldlog_open(struct mr_oldlog *log, const char *path, uint64_t size_bytes);

/* Appends and returns when the bytes are on disk: one pwritev2 with RWF_DSYNC. `length` is at most the log's size. */
void mr_oldlog_append_durable(struct mr_oldlog *log, const void *bytes, size_t length);

/* The same with two calls, pwrite and fdatasync. */
void mr_oldlog_append_fdatasync(struct mr_oldlog *log, const void *bytes, size_t length);

void mr_oldlog_close(struct mr_oldlog *log);

#endif
