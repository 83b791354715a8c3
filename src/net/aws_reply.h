/* SPDX-License-Identifier: Apache-2.0 */
/* aws_reply.h - keys as the endpoints of containers, instances and of the token service answer with them. Pure. */
#ifndef MR_NET_AWS_REPLY_H
#define MR_NET_AWS_REPLY_H

#include "millrace/buf.h"
#include "millrace/err.h"

#include <stdint.h>

enum { AWS_TEXT_MAX = 4096 };
struct aws_answer {
    char access_key[256], secret_key[256], token[AWS_TEXT_MAX];
    int64_t expires_us;
};
/* {"AccessKeyId", "SecretAccessKey", "Token", "Expiration", and maybe "Code": "Success"}: https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html,
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html. MR_EMALFORMED, MR_EPERM with its Code and Message; no secret gets into a text. */
MR_MUST enum mr_code aws_read_json(struct mr_str json, struct aws_answer *out, struct mr_err *err);
/* AssumeRoleWithWebIdentityResponse, or its ErrorResponse. */
MR_MUST enum mr_code aws_read_sts(struct mr_str xml, struct aws_answer *out, struct mr_err *err);
/* May keys be asked for there? https, or plain to this machine or to the addresses that containers have for it. */
bool aws_is_endpoint(struct mr_str url);

#endif
