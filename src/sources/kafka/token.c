/* SPDX-License-Identifier: Apache-2.0 */
#include "token.h"

#include "millrace/clock.h"
#include "millrace/hash.h"
#include "millrace/json.h"

enum { ANSWER_MOST = 64 << 10, TOTAL_MS = 15000, LASTS_MS = 300000 /* if the endpoint does not say */ };

static void cleanse(struct mr_buf *b)
{
    if (b->p)
        mr_cleanse(b->p, b->cap);
    mr_buf_free(b);
}

void kafka_token_init(struct kafka_token *t, const struct kafka_oauth *o)
{
    *t = (struct kafka_token){.o = o};
    mr_buf_init(&t->authorization, ANSWER_MOST);
    mr_buf_init(&t->body, ANSWER_MOST);
    mr_buf_init(&t->answer, ANSWER_MOST);
    mr_buf_init(&t->value, ANSWER_MOST);
}

void kafka_token_free(struct kafka_token *t)
{
    if (t->out)
        mr_exchange_cancel(&t->exchange);
    t->out = false;
    cleanse(&t->authorization);
    cleanse(&t->answer);
    cleanse(&t->value);
    mr_buf_free(&t->body);
}

/* application/x-www-form-urlencoded, in which everything but the plain characters is %XX */
static void put_form(struct mr_buf *out, struct mr_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_')
            mr_buf_putc(out, (char)c);
        else
            mr_buf_printf(out, "%%%02X", c);
    }
}

static bool on_bytes(struct mr_exchange *x, struct mr_str bytes)
{
    mr_buf_put(&MR_OF(x, struct kafka_token, exchange)->answer, bytes.p, bytes.n);
    return true;
}

static enum mr_code read_answer(struct kafka_token *t, struct mr_err *err)
{
    struct mr_str json = mr_buf_str(&t->answer);
    int64_t lasts_s;
    if (t->answer.failed || mr_json_check(json, NULL) != MR_OK)
        return mr_err_set(err, MR_EMALFORMED, "%s: the answer is no JSON", t->o->url);
    cleanse(&t->value);
    if (!mr_json_string(mr_json_at(json, MR_STR("/access_token")), &t->value) || t->value.n == 0)
        return mr_err_set(err, MR_EMALFORMED, "%s: no access_token in the answer", t->o->url);
    mr_buf_cstr(&t->value);
    bool told = mr_json_i64(mr_json_at(json, MR_STR("/expires_in")), &lasts_s) && lasts_s > 0 && lasts_s < INT64_C(1) << 32;
    t->expires_ms = mr_wall_us() / 1000 + (told ? lasts_s * 1000 : LASTS_MS);
    return MR_OK;
}

static void on_done(struct mr_exchange *x, const struct mr_exchange_end *end)
{
    struct kafka_token *t = MR_OF(x, struct kafka_token, exchange);
    struct mr_err err = end->err;
    t->out = false;
    if (end->cause == MR_CLIENT_OK && end->status / 100 != 2)
        mr_err_set(&err, end->status == 400 || end->status == 401 || end->status == 403 ? MR_EAUTH : MR_EBUSY, "%s: no token for client %s: HTTP status %d", t->o->url, t->o->client_id,
                   end->status);
    else if (end->cause == MR_CLIENT_OK)
        read_answer(t, &err);
    cleanse(&t->answer);
    cleanse(&t->authorization);
    t->done(t, &err);
}

void kafka_token_ask(struct kafka_token *t, struct mr_client *client)
{
    struct mr_buf pair;
    if (t->out)
        return;
    mr_buf_init(&pair, ANSWER_MOST);
    put_form(&pair, mr_str_c(t->o->client_id));
    mr_buf_putc(&pair, ':');
    put_form(&pair, (struct mr_str){t->o->client_secret.value, t->o->client_secret.n});
    mr_buf_clear(&t->authorization);
    mr_buf_puts(&t->authorization, "Basic ");
    mr_base64_put(&t->authorization, mr_buf_str(&pair));
    cleanse(&pair);
    mr_buf_clear(&t->body);
    mr_buf_puts(&t->body, "grant_type=client_credentials");
    if (t->o->scope && *t->o->scope) {
        mr_buf_puts(&t->body, "&scope=");
        put_form(&t->body, mr_str_c(t->o->scope));
    }
    mr_buf_clear(&t->answer);
    t->headers[0] = (struct mr_header){MR_STR("Authorization"), mr_buf_str(&t->authorization)};
    t->headers[1] = (struct mr_header){MR_STR("Content-Type"), MR_STR("application/x-www-form-urlencoded")};
    t->headers[2] = (struct mr_header){MR_STR("Accept"), MR_STR("application/json")};
    t->exchange = (struct mr_exchange){.method = MR_STR("POST"),
                                       .url = mr_str_c(t->o->url),
                                       .headers = t->headers,
                                       .headers_count = MR_COUNT(t->headers),
                                       .body = mr_buf_str(&t->body),
                                       .total_ms = TOTAL_MS,
                                       .body_max = ANSWER_MOST,
                                       .ca = t->o->ca,
                                       .on_bytes = on_bytes,
                                       .on_done = on_done};
    t->out = true;
    mr_exchange_start(client, &t->exchange);
}
