/* SPDX-License-Identifier: Apache-2.0 */
/* oidc.h - Google's OpenID Connect tokens, as Pub/Sub push, Cloud Tasks and Scheduler send them: an RS256 JSON Web Token by one of the certificates that Google
 * publishes as one JSON object, name of the key to PEM (https://developers.google.com/identity/openid-connect/openid-connect#validatinganidtoken).
 * Anybody with an account there can have Google sign: only audience and account say that it is us who are meant, and who sends. Pure. */
#ifndef MR_WEBHOOK_OIDC_H
#define MR_WEBHOOK_OIDC_H

#include "jwt.h"

#define OIDC_CERTS_URL "https://www.googleapis.com/oauth2/v1/certs"

struct oidc_wanted {
    const char *audience, *email;
    int64_t skew_us; /* of exp and iat */
};
/* Is the document such an object, every value an RSA certificate? false: why not. */
bool oidc_certs_check(struct mr_str certs, const char **why);
/* What is wrong with the token, or NULL. scratch has room for twice the token and the certificates. *unknown_key: its key is not among the certificates: newer ones may
 * have it. */
const char *oidc_judge(struct mr_str token, struct mr_str certs, const struct oidc_wanted *wanted, int64_t now_us, struct mr_buf *scratch, bool *unknown_key);

#endif
