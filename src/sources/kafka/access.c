/* SPDX-License-Identifier: Apache-2.0 */
/* access.c - tokens for the library: fetched when it asks, which it does ahead of each expiry. */
#include "kafka.h"

bool access_by_token(const struct kafka_options *o)
{
    return o->sasl_given && o->sasl.mechanism + 1 == KAFKA_OAUTHBEARER;
}

static void on_token(struct kafka_token *t, const struct mr_err *err)
{
    struct kafka *k = MR_OF(t, struct kafka, token);
    char why[256];
    if (err->code != MR_OK) {
        rd_kafka_oauthbearer_set_token_failure(k->rk, err->msg); /* it asks again in ten seconds */
        trouble_ask_failed(k, err);
        return;
    }
    rd_kafka_resp_err_t code = rd_kafka_oauthbearer_set_token(k->rk, t->value.p, t->expires_ms, k->o->sasl.oauth.client_id, NULL, 0, why, sizeof why);
    if (code) {
        rd_kafka_oauthbearer_set_token_failure(k->rk, why);
        trouble_event(k, RD_KAFKA_RESP_ERR__AUTHENTICATION, NULL, why);
    }
}

void access_wanted(struct kafka *k)
{
    if (k->stopping || !access_by_token(k->o))
        return;
    k->token.done = on_token;
    kafka_token_ask(&k->token, k->core->client);
}
