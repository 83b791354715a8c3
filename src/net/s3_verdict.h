/* SPDX-License-Identifier: Apache-2.0 */
/* s3_verdict.h - what an answer of S3 means for who asked. Pure: one table.
 *
 * https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, and what other stores say in its place. */
#ifndef MR_NET_S3_VERDICT_H
#define MR_NET_S3_VERDICT_H

#include "s3_reply.h"

#include "millrace/client.h"

enum s3_verdict {
    S3_DONE,
    S3_AGAIN,       /* later, and more slowly each time: nobody, a fault of theirs, a connection that broke */
    S3_SLOWER,      /* the same, and with less at once: they say that we are too many */
    S3_CLOCK,       /* our clock is off: by the Date of the answer, then again at once */
    S3_CREDENTIALS, /* the keys have ended: new ones, then again at once */
    S3_ELSEWHERE,   /* the bucket is in another region */
    S3_NO_UPLOAD,   /* completed, aborted, or never begun */
    S3_NOT_FOUND,   /* no such object */
    S3_EXISTS,      /* a condition did not hold (412) */
    S3_DENIED,      /* these keys may not, or are unknown: for a person */
    S3_FAILED       /* asked wrongly, or there is no such bucket: for a person */
};

struct s3_answer {
    enum mr_client_cause cause;
    int status;
    struct mr_str body;   /* of anything that is not the object itself */
    bool head;            /* to HEAD: it has no body, and cannot tell who says so */
    struct mr_str region; /* x-amz-bucket-region; empty: it did not say */
};
/* `error` gets what the body says, if it is an <Error>, under whatever status; its region also from the header. */
enum s3_verdict s3_judge(const struct s3_answer *answer, struct s3_error *error);
const char *s3_verdict_name(enum s3_verdict verdict); /* "slower" */

#endif
