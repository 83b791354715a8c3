/* SPDX-License-Identifier: Apache-2.0 */
/* s3_reply.h - the XML that S3 and its like answer with, and the little that they want to be told in it. Outside bytes: no document type, no entities,
 * bounded depth and texts. Pure.
 *
 * https://docs.aws.amazon.com/AmazonS3/latest/API/ names the elements. */
#ifndef MR_NET_S3_REPLY_H
#define MR_NET_S3_REPLY_H

#include "millrace/buf.h"
#include "millrace/err.h"

#include <stdint.h>

enum { S3_TEXT_MAX = 4096 /* xml.h's */, S3_CODE_MAX = 64, S3_ETAG_MAX = 128, S3_UPLOAD_ID_MAX = 1024 };

struct s3_error { /* empty texts: it did not say */
    char code[S3_CODE_MAX], message[256], region[S3_CODE_MAX];
};
/* Is the document an <Error>? A completion may be one under status 200. */
bool s3_read_error(struct mr_str xml, struct s3_error *out);

MR_MUST enum mr_code s3_read_upload(struct mr_str xml, char upload_id[S3_UPLOAD_ID_MAX], struct mr_err *err);  /* InitiateMultipartUploadResult */
MR_MUST enum mr_code s3_read_completed(struct mr_str xml, char etag[S3_ETAG_MAX], struct mr_err *err);         /* CompleteMultipartUploadResult */

/* LifecycleConfiguration: after how many days its rules that are enabled abort uploads that are not completed, the fewest; 0: none does. */
MR_MUST enum mr_code s3_read_lifecycle(struct mr_str xml, int64_t *abort_days, struct mr_err *err);

struct s3_item { /* of a list; borrowed for the call */
    struct mr_str key; /* decoded */
    int64_t size;      /* objects, parts; -1: not told */
    struct mr_str etag, modified, storage_class;
    struct mr_str upload_id, initiated; /* uploads */
    int64_t part;                       /* parts */
};
struct s3_page {
    bool more;
    char next[S3_TEXT_MAX], next_upload[S3_UPLOAD_ID_MAX]; /* where it goes on: token, key or part number; and the upload beside a key */
};
typedef void (*s3_each)(void *arg, const struct s3_item *item);
/* ListBucketResult (version 2), ListMultipartUploadsResult, ListPartsResult, whichever it is. Keys that the document says are url-encoded are decoded. What was
 * given to `each` before an error is to be forgotten. */
MR_MUST enum mr_code s3_read_list(struct mr_str xml, s3_each each, void *arg, struct s3_page *page, struct mr_err *err);

/* The body of CompleteMultipartUpload, part by part from 1. */
void s3_put_completion(struct mr_buf *out, const char *const *etags, size_t count);

#endif
