/* SPDX-License-Identifier: Apache-2.0 */
/* inside.h - a zone in a bucket. Private to this folder.
 *
 *   <prefix>source=.../stream=.../ingest_date=.../<name>.ndjson*   published: an upload that was completed
 *   the same key, as a multipart upload that is not completed      staged: no reader sees it
 *   <prefix>_millrace/zone.json, <prefix>_millrace/decided/<instance>   as in a directory
 *
 * A worker asks (s3_start, s3_wait), the loop sends: net/s3 signs, tries again and says what became of it. What is asked for twice, because an answer was lost,
 * was perhaps done the first time: each call here is such that this does no harm. */
#ifndef MILLRACE_ZONE_S3_INSIDE_H
#define MILLRACE_ZONE_S3_INSIDE_H

#include "far.h"
#include "millrace/s3.h"
#include "net/s3_reply.h"
#include "zone/place.h"

#include <stdatomic.h>

#define S3_ID_FILE "_millrace/zone.json"
#define S3_DECIDED "_millrace/decided/"

enum { S3_WINDOW = 8 /* calls of one kind that one worker has out at once */ };

struct s3_call { /* zeroed, then r's method, key, query, headers, body are set */
    struct far_call far;
    struct mr_s3_request r;
    struct s3 *s3;
    struct s3_call *prev, *next; /* of those that are out; loop */
    void (*ended)(struct s3_call *c); /* loop, before who waits is told: what it sent is needed no more. NULL: nothing to do */
    /* the answer, once it is over */
    enum mr_s3_outcome outcome;
    struct mr_err err;
    int status;
    bool repeated;
    int64_t size, date_us;
    struct mr_buf body;
    char etag[S3_ETAG_MAX], landing[256];
};

struct s3 {
    struct mr_zone base;
    struct mr_loop *loop;
    struct mr_s3 *bucket;
    struct mr_aws_keys *keys;
    struct far far;
    char *scratch;
    atomic_bool unconditional; /* this store knows no If-None-Match where we asked for it */

    /* what parts that are being sent may hold */
    size_t memory;
    atomic_size_t held, waiting;
    sem_t room; /* some was given back */

    /* loop */
    struct mr_stage_ledger *ledger;
    struct s3_call *out;
    struct s3_rest *resting;
    uv_timer_t timer; /* of a hurry */
    bool over;        /* nothing is asked any more */
    void (*closed)(void *arg);
    void *closed_arg;
};

static inline struct s3 *s3_of(struct mr_zone *z)
{
    return MR_OF(z, struct s3, base);
}

/* s3.c. Runs on: worker */
void s3_start(struct s3 *s, struct s3_call *c);
/* The outcome as a code: MR_ENOENT (no such object or upload), MR_EEXIST, MR_EPERM, MR_EIO (asked wrongly), MR_ENET, MR_ECANCELED; "<what> <key>: why" in err.
 * c->body is freed by s3_done(). */
MR_MUST enum mr_code s3_wait(struct s3_call *c, const char *what, struct mr_err *err);
MR_MUST enum mr_code s3_ask(struct s3 *s, struct s3_call *c, const char *what, struct mr_err *err); /* both */
void s3_done(struct s3_call *c);
/* HEAD. MR_ENOENT only if the list has no such key either: an answer to HEAD cannot tell whether it is the store that speaks. c as after s3_ask(). */
MR_MUST enum mr_code s3_head(struct s3 *s, struct s3_call *c, const char *path, struct mr_err *err);
/* Lets some time pass; false: the process is ending. */
bool s3_pause(struct s3 *s, int64_t ms);
MR_MUST enum mr_code s3_note(struct s3 *s, struct mr_stage_note *note, struct mr_err *err); /* in the ledger, and waits */
/* All that a list gives, page by page: objects ("list-type" "2") or uploads ("uploads" ""). prefix: raw, below the zone's. each: key without the zone's prefix. */
MR_MUST enum mr_code s3_list(struct s3 *s, struct mr_header kind, const char *prefix, size_t limit, s3_each each, void *arg, struct mr_err *err);
void s3_take(struct s3 *s, size_t bytes); /* memory for a part; waits for room */
void s3_give(struct s3 *s, size_t bytes);
MR_MUST enum mr_code s3_temporary(struct s3 *s, int *fd, struct mr_err *err); /* a file without a name */

/* stage.c */
enum mr_code s3_stage_create(struct mr_zone *z, const struct mr_stage_name *name, struct mr_stage_file **out, struct mr_err *err);
enum mr_code s3_stage_write(struct mr_stage_file *file, struct mr_str bytes, struct mr_err *err);
enum mr_code s3_stage_sync(struct mr_stage_file *file, struct mr_err *err);
const char *s3_stage_staged(const struct mr_stage_file *file);
void s3_stage_close(struct mr_stage_file *file, bool drop);
void s3_unstage(struct mr_zone *z, const char *staged, const char *path);
/* Whatever is found under the key. */
MR_MUST enum mr_code s3_abort_all(struct s3 *s, const char *path, struct mr_err *err);
enum mr_code s3_abort(struct mr_zone *z, const char *path, const char *id, struct mr_err *err);
/* publish.c */
enum mr_code s3_publish(struct mr_zone *z, struct mr_publish_item *items, size_t count, struct mr_err *err);
/* look.c */
enum mr_code s3_mark_decided(struct mr_zone *z, const char *instance, int64_t number, struct mr_err *err);
enum mr_code s3_identity(struct mr_zone *z, struct mr_zone_id *id, struct mr_err *err);
enum mr_code s3_identify(struct mr_zone *z, const char *store_id, struct mr_err *err);
enum mr_code s3_write_sealed(struct mr_zone *z, const char *folder, struct mr_str json, struct mr_err *err);
enum mr_code s3_check_file(struct mr_zone *z, struct mr_file_check *check, struct mr_err *err);
/* try.c */
void s3_try(struct mr_zone *z, mr_zone_say say, void *arg);
enum mr_code s3_list_data(struct mr_zone *z, mr_zone_each each, void *arg, struct mr_err *err);

#endif
