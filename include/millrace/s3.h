/* SPDX-License-Identifier: Apache-2.0 */
/* s3.h - one bucket of S3 or of what speaks like it: calls that are signed, tried again as each answer asks for, and ended as one of few outcomes.
 *
 * What is learnt of the bucket, its region and the offset between its clock and ours, is kept for all calls. A call that is tried again may have been acted on
 * before: `repeated` says so, and what that means (an upload completed, whose answer was lost, is "no upload" at the second try) is for the caller.
 *
 * Runs on: loop. */
#ifndef MILLRACE_S3_H
#define MILLRACE_S3_H

#include "millrace/aws_keys.h"

enum mr_s3_style { MR_S3_STYLE_AUTO, MR_S3_STYLE_PATH, MR_S3_STYLE_HOST };

struct mr_s3;
struct mr_s3_options { /* all copied */
    struct mr_str url;      /* "s3://bucket/prefix" */
    struct mr_str endpoint; /* "https://host:port"; empty: AWS */
    struct mr_str region;   /* empty: us-east-1, or what the bucket says */
    enum mr_s3_style style;
    struct mr_aws_keys *keys; /* borrowed until the bucket is closed */
    const char *ca; /* PEM file; NULL: the system's */
    unsigned tries; /* of a call; 0: 8 */
    int64_t base_ms, cap_ms; /* waits between them, with full jitter; 0: 100 ms, 20 s */
};
/* MR_ECONFIG: what is wrong with url, endpoint or region. */
MR_MUST enum mr_code mr_s3_new(struct mr_loop *loop, struct mr_client *client, const struct mr_s3_options *options, struct mr_s3 **out, struct mr_err *err);
/* Not from a callback of a call; before the client is closed. Calls that are out end as canceled before this returns; then it is freed and cb called, at once
 * if none was out. */
void mr_s3_close(struct mr_s3 *s, void (*cb)(void *arg), void *arg);

const char *mr_s3_prefix(const struct mr_s3 *s); /* of its keys: "" or ending in a slash. Any thread */

enum mr_s3_outcome {
    MR_S3_DONE,
    MR_S3_NO_UPLOAD,  /* completed, aborted, or never begun */
    MR_S3_NOT_FOUND,  /* no such object, the store says; to HEAD whoever answers may say so */
    MR_S3_EXISTS,     /* a condition did not hold */
    MR_S3_DENIED,     /* these keys may not, are unknown, or have ended and there are no others */
    MR_S3_FAILED,     /* asked wrongly, or there is no such bucket */
    MR_S3_UNREACHED,  /* all tries are used up */
    MR_S3_CANCELED
};

struct mr_s3_end { /* borrowed until on_done returns */
    enum mr_s3_outcome outcome;
    struct mr_err err; /* MR_OK, or for a person */
    int status;        /* of the last answer; 0: none */
    bool repeated;     /* an earlier try of this call may have been acted on */
    unsigned tries;
    struct mr_str body; /* of the last answer, at most body_max */
    struct mr_str etag, landing; /* headers: ETag, x-amz-meta-landing; empty if it had none */
    int64_t size;                /* Content-Length; -1: not told */
    int64_t date_us;             /* their clock, of the last answer; 0: not told */
};

struct mr_s3_request { /* the caller's, does not move until on_done; so is what it points at */
    struct mr_str method, key; /* raw, without the prefix; empty: of the bucket */
    const struct mr_header *query, *headers; /* raw; headers beside those that signing makes */
    size_t query_count, headers_count;
    struct mr_str body;
    struct mr_str body_sha256; /* its hex; empty: made here, on the loop: for small ones */
    size_t body_max;           /* of the answer; 0: 8 MiB */
    void (*on_done)(struct mr_s3_request *r, const struct mr_s3_end *end); /* exactly once, never before mr_s3_send() has returned */
    struct mr_s3_call *call; /* private */
};
void mr_s3_send(struct mr_s3 *s, struct mr_s3_request *r);
void mr_s3_cancel(struct mr_s3_request *r); /* its on_done does not come any more */

#endif
