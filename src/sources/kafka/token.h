/* SPDX-License-Identifier: Apache-2.0 */
/* token.h - a token for SASL OAUTHBEARER by client credentials (RFC 6749, 4.4): asked of the endpoint by the process's own HTTP client, since
 * the packaged librdkafka has none inside. Runs on: loop. */
#ifndef MR_KAFKA_TOKEN_H
#define MR_KAFKA_TOKEN_H

#include "options.h"

#include "millrace/client.h"

struct kafka_token {
    struct mr_exchange exchange; /* private, as all but the last three */
    struct mr_header headers[3];
    struct mr_buf authorization, body, answer;
    const struct kafka_oauth *o;
    bool out;
    int64_t expires_ms;  /* of the answer: when it ends, milliseconds since 1970 */
    struct mr_buf value; /* of the answer: NUL-terminated; cleansed by the next one and by kafka_token_free() */
    void (*done)(struct kafka_token *t, const struct mr_err *err); /* MR_OK: value and expires_ms are there */
};
void kafka_token_init(struct kafka_token *t, const struct kafka_oauth *o);
void kafka_token_ask(struct kafka_token *t, struct mr_client *client); /* nothing if one is on its way */
void kafka_token_free(struct kafka_token *t); /* done does not come any more */

#endif
