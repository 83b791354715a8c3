/* SPDX-License-Identifier: Apache-2.0 */
/* compress.h - streaming compressors for zone files. Runs on: worker; one thread at a time per stream. */
#ifndef MILLRACE_COMPRESS_H
#define MILLRACE_COMPRESS_H

#include "millrace/buf.h"

#include <stdint.h>

enum mr_codec { MR_CODEC_NONE, MR_CODEC_ZSTD, MR_CODEC_GZIP };
const char *mr_codec_extension(enum mr_codec c); /* "", ".zst", ".gz" */

struct mr_deflater;
MR_MUST enum mr_code mr_deflater_new(enum mr_codec c, int level, struct mr_deflater **out, struct mr_err *err);
void mr_deflater_free(struct mr_deflater *d);
void mr_deflater_reset(struct mr_deflater *d); /* ready for another file, memory kept */
/* Appends compressed bytes to `out` (bounded by out->limit). `end` closes the frame. */
MR_MUST enum mr_code mr_deflater_feed(struct mr_deflater *d, struct mr_str in, bool end, struct mr_buf *out, struct mr_err *err);
/* Inflates a whole gzip stream (all members) of at most `limit` decoded bytes into out. MR_ETOOBIG, MR_EMALFORMED. */
MR_MUST enum mr_code mr_gunzip(struct mr_str in, size_t limit, struct mr_buf *out, struct mr_err *err);

/* Reading a zone file back (verify --deep): decoded bytes to a callback, in pieces. */
typedef enum mr_code (*mr_inflate_cb)(void *arg, struct mr_str piece, struct mr_err *err);
MR_MUST enum mr_code mr_inflate_file(const char *path, enum mr_codec c, mr_inflate_cb cb, void *arg, struct mr_err *err);

uint32_t mr_crc32(struct mr_str bytes); /* that of zlib and of Ethernet (not crc32c) */

#endif
