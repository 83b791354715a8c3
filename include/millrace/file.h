/* SPDX-License-Identifier: Apache-2.0 */
/* file.h - the file calls whose order durability hangs on. All block: never on the loop, but at start-up.
 *
 * mr_file_sync and mr_dir_sync are the only two ways that this program makes something durable, besides the queue
 * writer's RWF_DSYNC, so that a test build can switch either off and see its power-cut test fail. */
#ifndef MILLRACE_FILE_H
#define MILLRACE_FILE_H

#include "millrace/err.h"
#include "millrace/str.h"

#include <stdint.h>

MR_MUST enum mr_code mr_file_sync(int fd, const char *name, struct mr_err *err); /* fdatasync */
MR_MUST enum mr_code mr_dir_sync(const char *path, struct mr_err *err);          /* fsync of a directory */
/* mkdir -p; syncs the parent of every directory that it made, and of the last two names even if they were there. mode as mkdir. */
MR_MUST enum mr_code mr_dir_make(const char *path, unsigned mode, struct mr_err *err);
/* All bytes or an error; continues short writes. */
MR_MUST enum mr_code mr_write_all(int fd, const void *bytes, size_t n, const char *name, struct mr_err *err);
/* Replaces `path` whole: temporary file beside it, `<path>.tmp`, sync, rename, directory sync. One writer a path. */
MR_MUST enum mr_code mr_file_replace(const char *path, struct mr_str bytes, unsigned mode, struct mr_err *err);
/* Reads a whole small file; *out is malloc'ed, NUL-terminated, the caller's. MR_ETOOBIG above limit. */
MR_MUST enum mr_code mr_file_read(const char *path, size_t limit, char **out, size_t *n, struct mr_err *err);
/* Free bytes for this user on the file system of `path`. */
MR_MUST enum mr_code mr_disk_free(const char *path, uint64_t *bytes, struct mr_err *err);
/* Raises this process's soft limit of descriptors to `wanted`, as far as the hard one allows; never lowers it. What it is
 * then. Does not block. */
uint64_t mr_descriptors_want(uint64_t wanted);

#endif
