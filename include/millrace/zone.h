/* SPDX-License-Identifier: Apache-2.0 */
/* zone.h - where the bytes lie: paths, the envelope, and the calls by which a place keeps them. For landing, app and cli.
 *
 * A zone is a small vtable, so that a bucket can stand where a directory stands. All its calls block: Runs on: worker, unless said. */
#ifndef MILLRACE_ZONE_H
#define MILLRACE_ZONE_H

#include "millrace/buf.h"
#include "millrace/compress.h"
#include "millrace/record.h"

#include <stdint.h>

/* "source=<s>/stream=<t>/ingest_date=<d>/<name>.ndjson<ext>"; bytes outside [A-Za-z0-9._-] of source and stream are %XX. Pure. */
void mr_zone_path(struct mr_buf *out, struct mr_str source, struct mr_str stream, int32_t day, struct mr_str name, enum mr_codec codec);
/* Appends the record's line with its LF. What cannot be encoded does not exist: bad UTF-8 in names becomes U+FFFD, in payloads base64.
 * Fails only with MR_ETOOBIG (out->limit); then out is as before. Pure. Runs on: any thread. */
MR_MUST enum mr_code mr_envelope_put(struct mr_buf *out, const struct mr_record *record, struct mr_err *err);

struct mr_zone;
struct mr_stage_file; /* a file that no reader can see yet */
/* url: "file:<path>" (absolute by now). Makes the directories. MR_ECONFIG for a scheme that is not there. */
MR_MUST enum mr_code mr_zone_open(const char *url, struct mr_zone **out, struct mr_err *err);
void mr_zone_close(struct mr_zone *z);

/* Makes `<zone>/_staging/<instance>/` and locks it while this process lives. */
MR_MUST enum mr_code mr_zone_instance(struct mr_zone *z, const char *instance, struct mr_err *err);
MR_MUST enum mr_code mr_stage_file_create(struct mr_zone *z, const char *instance, const char *name, struct mr_stage_file **out, struct mr_err *err);
MR_MUST enum mr_code mr_stage_file_write(struct mr_stage_file *f, struct mr_str bytes, struct mr_err *err);
/* Durable, directory too. Then only publish, drop or close. crc and bytes of what was written. */
MR_MUST enum mr_code mr_stage_file_sync(struct mr_stage_file *f, uint32_t *crc32c, int64_t *bytes, struct mr_err *err);
const char *mr_stage_file_staged(const struct mr_stage_file *f); /* relative to the zone */
void mr_stage_file_close(struct mr_stage_file *f, bool drop);    /* drop: deletes it */
void mr_zone_unstage(struct mr_zone *z, const char *staged);     /* deletes a staged file that was closed; a failure is left to the next sweep */

/* Writes `_millrace/decided/<instance>`: after a decide, before its first file appears. Durable. */
MR_MUST enum mr_code mr_zone_mark_decided(struct mr_zone *z, const char *instance, int64_t number, struct mr_err *err);
struct mr_publish_item { const char *staged, *path; int64_t bytes; uint32_t crc32c; enum mr_code code; };
/* Renames all, then syncs each directory once (and the parents of new ones). Repeatable: a file that is under its final name with the right size is done.
 * An item whose staged file is gone and whose path is missing or differs gets MR_ENOENT. Returns the first bad code, having tried all. */
MR_MUST enum mr_code mr_zone_publish(struct mr_zone *z, struct mr_publish_item *items, size_t count, struct mr_err *err);
/* Deletes what is staged under an instance whose epoch has ended, but `keep` (staged paths of decided, unpublished landings). */
MR_MUST enum mr_code mr_zone_sweep(struct mr_zone *z, const char *instance, const char *const *keep, size_t keep_count, struct mr_err *err);
/* Names of the folders under _staging/ whose lock nobody holds. out: '\n'-separated. */
MR_MUST enum mr_code mr_zone_stages(struct mr_zone *z, struct mr_buf *out, struct mr_err *err);

struct mr_zone_id { bool present; char store_id[37]; int64_t highest_decided; /* over all decided/ marks */ bool has_data; /* any source=* */ };
MR_MUST enum mr_code mr_zone_identity(struct mr_zone *z, struct mr_zone_id *id, struct mr_err *err);
MR_MUST enum mr_code mr_zone_identify(struct mr_zone *z, const char *store_id, struct mr_err *err); /* writes zone.json */
/* Once: a file that is there is left alone, and so is a day whose folder is not there. */
MR_MUST enum mr_code mr_zone_write_sealed(struct mr_zone *z, struct mr_str source, struct mr_str stream, int32_t day, struct mr_str json, struct mr_err *err);
MR_MUST enum mr_code mr_zone_free_bytes(struct mr_zone *z, uint64_t *bytes, struct mr_err *err);

/* verify */
enum mr_file_state { MR_FILE_OK, MR_FILE_MISSING, MR_FILE_SIZE, MR_FILE_CRC, MR_FILE_ROWS };
struct mr_file_check { const char *path; int64_t bytes, rows; uint32_t crc32c; bool deep; /* read it: crc, rows, each line JSON */ enum mr_file_state state; };
MR_MUST enum mr_code mr_zone_check_file(struct mr_zone *z, struct mr_file_check *check, struct mr_err *err);
typedef void (*mr_zone_each)(void *arg, const char *path, int64_t bytes);
MR_MUST enum mr_code mr_zone_list(struct mr_zone *z, mr_zone_each each, void *arg, struct mr_err *err); /* data files, for orphans */

#endif
