/* SPDX-License-Identifier: Apache-2.0 */
/* jwt.h - a JSON Web Token (RFC 7519) in compact form, cut and decoded. The algorithm is the caller's; the token's `alg` can only
 * confirm it. Pure. */
#ifndef MR_WEBHOOK_JWT_H
#define MR_WEBHOOK_JWT_H

#include "millrace/buf.h"

enum { MR_JWT_SIGNATURE_MAX = 1024 }; /* RSA of 8192 bits */
struct mr_jwt {
    struct mr_str signed_text; /* "header.payload", of the token */
    struct mr_str header, claims; /* JSON that was checked, in scratch */
    unsigned char signature[MR_JWT_SIGNATURE_MAX];
    size_t signature_n;
};
/* What is wrong with it, or NULL. scratch keeps header and claims; it has room for the token's length. */
const char *mr_jwt_cut(struct mr_str token, const char *alg, struct mr_buf *scratch, struct mr_jwt *out);

#endif
