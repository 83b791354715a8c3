/* SPDX-License-Identifier: Apache-2.0 */
/* zone.h - where the bytes lie: paths, the envelope, and the calls by which a place keeps them. For landing, app and cli.
 *
 * A zone is a small vtable, so that a bucket can stand where a directory stands. All its calls block: Runs on: worker, unless said. Those of a zone that is far
 * away wait for the loop, which must be turning, and belong on lane FAR. */
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
struct mr_loop;
struct mr_client;
struct mr_zone_options { /* copied, but loop and client, which outlive the zone */
    const char *url; /* "file:<path>" (absolute by now), "s3://bucket/prefix" */
    /* s3: alone: */
    struct mr_loop *loop;
    struct mr_client *client;
    const char *scratch;  /* a folder of this machine, where a part grows before it is sent */
    size_t memory;        /* what parts that are being sent may hold together; one part is always let through */
    const char *endpoint; /* "https://host:port"; NULL: AWS */
    const char *region;   /* NULL: what the bucket says */
    enum mr_zone_style { MR_ZONE_STYLE_AUTO, MR_ZONE_STYLE_PATH, MR_ZONE_STYLE_HOST } style;
    const char *access_key, *secret_key, *session_token; /* NULL: looked for as AWS's SDKs do */
    const char *ca;                                      /* PEM file; NULL: the system's */
};
/* file: makes the directories. s3: asks nobody yet. MR_ECONFIG for a scheme that is not there, or options that make no sense. Runs on: loop. */
MR_MUST enum mr_code mr_zone_open(const struct mr_zone_options *options, struct mr_zone **out, struct mr_err *err);
bool mr_zone_is_far(const struct mr_zone *z); /* its calls go over the network. Any thread */
/* The process is ending: calls that are out and those to come have `ms` left, then they end with MR_ECANCELED. Runs on: loop. */
void mr_zone_hurry(struct mr_zone *z, int64_t ms);
/* No call is out any more. cb (or NULL) may come at once; before the client is closed. Runs on: loop. */
void mr_zone_close(struct mr_zone *z, void (*cb)(void *arg), void *arg);

/* What is staged far away is written down before it is there: whoever comes after us could not find it. Runs on: loop. */
struct mr_stage_note {
    struct mr_str landing, path;
    struct mr_str upload; /* empty: about to be begun */
    bool gone;            /* it was ended, and is to be forgotten */
    bool orphan;          /* else: nobody's any more, and perhaps there: for whoever sweeps */
    void (*done)(struct mr_stage_note *note, const struct mr_err *err); /* loop */
};
struct mr_stage_ledger {
    void (*note)(struct mr_stage_ledger *ledger, struct mr_stage_note *note); /* the note is the caller's and stays until done */
};
/* file: makes `<zone>/_staging/<instance>/` and locks it while this process lives. s3: the ledger of what is staged from now on. */
MR_MUST enum mr_code mr_zone_instance(struct mr_zone *z, const char *instance, struct mr_stage_ledger *ledger, struct mr_err *err);
struct mr_stage_name { const char *instance, *landing, *name; /* of the file, unique */ const char *path; /* where it will appear */ };
MR_MUST enum mr_code mr_stage_file_create(struct mr_zone *z, const struct mr_stage_name *name, struct mr_stage_file **out, struct mr_err *err);
MR_MUST enum mr_code mr_stage_file_write(struct mr_stage_file *f, struct mr_str bytes, struct mr_err *err);
/* Durable, directory too. Then only publish, drop or close. crc and bytes of what was written. */
MR_MUST enum mr_code mr_stage_file_sync(struct mr_stage_file *f, uint32_t *crc32c, int64_t *bytes, struct mr_err *err);
const char *mr_stage_file_staged(const struct mr_stage_file *f); /* file: relative to the zone. s3: JSON, once it is durable */
void mr_stage_file_close(struct mr_stage_file *f, bool drop);    /* drop: deletes it */
/* Deletes a staged file that was closed; a failure is left to the next sweep. */
void mr_zone_unstage(struct mr_zone *z, const char *staged, const char *path);

/* Writes `_millrace/decided/<instance>`: after a decide, before its first file appears. Durable. */
MR_MUST enum mr_code mr_zone_mark_decided(struct mr_zone *z, const char *instance, int64_t number, struct mr_err *err);
struct mr_publish_item { const char *staged, *path, *landing; int64_t bytes; uint32_t crc32c; enum mr_code code; };
/* Renames all, then syncs each directory once (and the parents of new ones). Repeatable: a file that is under its final name with the right size is done.
 * An item whose staged file is gone and whose path is missing or differs gets MR_ENOENT. Returns the first bad code, having tried all. */
MR_MUST enum mr_code mr_zone_publish(struct mr_zone *z, struct mr_publish_item *items, size_t count, struct mr_err *err);
/* Deletes what is staged under an instance whose epoch has ended, but `keep` (staged paths of decided, unpublished landings). */
MR_MUST enum mr_code mr_zone_sweep(struct mr_zone *z, const char *instance, const char *const *keep, size_t keep_count, struct mr_err *err);
/* Ends what an upload has staged; id empty: whatever is found under that key. That it is not there is fine. For a zone that is far. */
MR_MUST enum mr_code mr_zone_abort(struct mr_zone *z, const char *path, const char *id, struct mr_err *err);
/* Names of the folders under _staging/ whose lock nobody holds. out: '\n'-separated. */
MR_MUST enum mr_code mr_zone_stages(struct mr_zone *z, struct mr_buf *out, struct mr_err *err);

struct mr_zone_id { bool present; char store_id[37]; int64_t highest_decided; /* over all decided/ marks */ bool has_data; /* any source=* */ };
MR_MUST enum mr_code mr_zone_identity(struct mr_zone *z, struct mr_zone_id *id, struct mr_err *err);
MR_MUST enum mr_code mr_zone_identify(struct mr_zone *z, const char *store_id, struct mr_err *err); /* writes zone.json */
/* Once: a file that is there is left alone, and so is a day whose folder is not there. */
MR_MUST enum mr_code mr_zone_write_sealed(struct mr_zone *z, struct mr_str source, struct mr_str stream, int32_t day, struct mr_str json, struct mr_err *err);
/* MR_EEND: it has no end that anybody knows. */
MR_MUST enum mr_code mr_zone_free_bytes(struct mr_zone *z, uint64_t *bytes, struct mr_err *err);

/* verify */
enum mr_file_state { MR_FILE_OK, MR_FILE_MISSING, MR_FILE_SIZE, MR_FILE_CRC, MR_FILE_ROWS };
struct mr_file_check { const char *path; int64_t bytes, rows; uint32_t crc32c; bool deep; /* read it: crc, rows, each line JSON */ enum mr_file_state state; };
MR_MUST enum mr_code mr_zone_check_file(struct mr_zone *z, struct mr_file_check *check, struct mr_err *err);
typedef void (*mr_zone_each)(void *arg, const char *path, int64_t bytes);
MR_MUST enum mr_code mr_zone_list(struct mr_zone *z, mr_zone_each each, void *arg, struct mr_err *err); /* data files, for orphans */

/* check: tries what landing will need and changes nothing. A directory says nothing. */
enum mr_zone_level { MR_ZONE_OK, MR_ZONE_WARN, MR_ZONE_FAIL };
typedef void (*mr_zone_say)(void *arg, enum mr_zone_level level, const char *text);
void mr_zone_try(struct mr_zone *z, mr_zone_say say, void *arg);

#endif
