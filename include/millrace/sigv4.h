/* SPDX-License-Identifier: Apache-2.0 */
/* sigv4.h - AWS Signature Version 4 (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html): one canonical form, for the URL that is
 * asked and for what is signed, so that the two cannot differ. Pure. */
#ifndef MILLRACE_SIGV4_H
#define MILLRACE_SIGV4_H

#include "millrace/buf.h"
#include "millrace/err.h"
#include "millrace/record.h"

#define MR_SIGV4_UNSIGNED "UNSIGNED-PAYLOAD"
enum { MR_SIGV4_HEADERS_MAX = 64, MR_SIGV4_QUERY_MAX = 64 };

struct mr_sigv4_keys {
    struct mr_str access_key, secret_key;
    struct mr_str session_token; /* empty: none */
};

struct mr_sigv4_request {
    struct mr_str method, region, service; /* "s3": its path is encoded once and stays as it is; that of others is normalised and encoded twice */
    struct mr_str host;                    /* with its port if it is not the scheme's own */
    struct mr_str path;                    /* raw bytes, not encoded; begins with / */
    const struct mr_header *query;         /* raw names and values */
    size_t query_count;
    const struct mr_header *headers; /* signed as well, without those that are made here */
    size_t headers_count;
    struct mr_str payload_sha256; /* in hex, or MR_SIGV4_UNSIGNED */
};

/* Appends to `target` path and query as they are to be asked, and to `headers` the lines "Name: value\r\n" to be sent with the request's own: X-Amz-Date,
 * X-Amz-Content-Sha256 (s3), X-Amz-Security-Token, Authorization. MR_EPERM: a line break in a header; MR_ETOOBIG: more of something than any. */
MR_MUST enum mr_code mr_sigv4_sign(const struct mr_sigv4_request *request, const struct mr_sigv4_keys *keys, int64_t now_us, struct mr_buf *target,
                                   struct mr_buf *headers, struct mr_err *err);
/* Percent-encodes all but A-Z a-z 0-9 - . _ ~, and the slash if it is to stay. */
void mr_uri_encode(struct mr_str bytes, bool keep_slash, struct mr_buf *out);

#endif
