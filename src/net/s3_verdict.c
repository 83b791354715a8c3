/* SPDX-License-Identifier: Apache-2.0 */
#include "s3_verdict.h"

#include <stdio.h>

static const struct {
    const char *code;
    enum s3_verdict verdict;
} by_code[] = {
    {"SlowDown", S3_SLOWER},
    {"SlowDownRead", S3_SLOWER},
    {"SlowDownWrite", S3_SLOWER}, /* MinIO */
    {"ThrottlingException", S3_SLOWER},
    {"TooManyRequests", S3_SLOWER},
    {"RequestLimitExceeded", S3_SLOWER},
    {"BandwidthLimitExceeded", S3_SLOWER},
    {"ServiceUnavailable", S3_SLOWER},
    {"InternalError", S3_AGAIN},
    {"OperationAborted", S3_AGAIN},
    {"ConditionalRequestConflict", S3_AGAIN},
    {"RequestTimeout", S3_AGAIN},          /* 400: our bytes came too slowly */
    {"IncompleteBody", S3_AGAIN},          /* 400: the connection broke on their side */
    {"BadDigest", S3_AGAIN},               /* bytes were changed on their way */
    {"XAmzContentSHA256Mismatch", S3_AGAIN},
    {"RequestTimeTooSkewed", S3_CLOCK},
    {"RequestExpired", S3_CLOCK},
    {"ExpiredToken", S3_CREDENTIALS},
    {"ExpiredTokenException", S3_CREDENTIALS},
    {"InvalidToken", S3_CREDENTIALS},
    {"TokenRefreshRequired", S3_CREDENTIALS},
    {"PermanentRedirect", S3_ELSEWHERE},
    {"TemporaryRedirect", S3_ELSEWHERE},
    {"AuthorizationHeaderMalformed", S3_ELSEWHERE}, /* if it names a region; else it is malformed */
    {"IllegalLocationConstraintException", S3_ELSEWHERE},
    {"NoSuchUpload", S3_NO_UPLOAD},
    {"NoSuchKey", S3_NOT_FOUND},
    {"NoSuchVersion", S3_NOT_FOUND},
    {"PreconditionFailed", S3_EXISTS},
    {"AccessDenied", S3_DENIED},
    {"AllAccessDisabled", S3_DENIED},
    {"InvalidAccessKeyId", S3_DENIED},
    {"SignatureDoesNotMatch", S3_DENIED},
    {"AccountProblem", S3_DENIED},
    {"NoSuchBucket", S3_FAILED},
};

static enum s3_verdict by_cause(enum mr_client_cause cause)
{
    switch (cause) {
    case MR_CLIENT_RESOLVE:
    case MR_CLIENT_CONNECT:
    case MR_CLIENT_TIMEOUT:
    case MR_CLIENT_BROKEN:
    case MR_CLIENT_MALFORMED:
    case MR_CLIENT_NO_MEMORY:
    case MR_CLIENT_CANCELED:
    case MR_CLIENT_TLS: /* a certificate may be mended */
        return S3_AGAIN;
    default:
        return S3_FAILED;
    }
}

/* An answer without a body that says more: of HEAD, or of a proxy in between. */
static enum s3_verdict by_status(int status)
{
    switch (status) {
    case 301:
    case 302:
    case 307:
        return S3_ELSEWHERE;
    case 404:
        return S3_NOT_FOUND;
    case 408:
    case 409:
    case 425:
        return S3_AGAIN;
    case 412:
        return S3_EXISTS;
    case 401:
    case 403:
        return S3_DENIED;
    case 429:
    case 503:
        return S3_SLOWER;
    default:
        return status >= 500 ? S3_AGAIN : S3_FAILED;
    }
}

enum s3_verdict s3_judge(const struct s3_answer *a, struct s3_error *error)
{
    *error = (struct s3_error){.code = ""};
    if (a->cause != MR_CLIENT_OK)
        return by_cause(a->cause);
    bool told = s3_read_error(a->body, error);
    if (a->region.n && a->region.n < sizeof error->region)
        snprintf(error->region, sizeof error->region, "%.*s", (int)a->region.n, a->region.p);
    if (a->status / 100 == 2 && !told)
        return S3_DONE;
    if (a->status == 404 && !told && !a->head)
        return S3_AGAIN; /* of something in between: a store says what it has not found */
    enum s3_verdict verdict = a->status / 100 == 2 ? S3_AGAIN : by_status(a->status); /* 200 and an error: it went wrong while they answered */
    for (size_t i = 0; i < MR_COUNT(by_code); i++)
        if (strcmp(error->code, by_code[i].code) == 0)
            verdict = by_code[i].verdict;
    if (a->status == 400 && error->region[0] && verdict == S3_FAILED)
        verdict = S3_ELSEWHERE;
    return verdict == S3_ELSEWHERE && !error->region[0] ? S3_FAILED : verdict;
}

const char *s3_verdict_name(enum s3_verdict verdict)
{
    static const char *const names[] = {"done",      "again",     "slower", "clock",  "credentials", "elsewhere",
                                        "no_upload", "not_found", "exists", "denied", "failed"};
    return names[verdict];
}
