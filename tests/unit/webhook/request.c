/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/webhook/request.h"

char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

void request_secret(struct request *r, const char *secret)
{
    assert_true(r->o.secrets.count < MR_COUNT(r->secrets));
    r->secrets[r->o.secrets.count++] = (struct mr_secret){text(secret), strlen(secret), text("${env:S}")};
    r->o.secrets.items = r->secrets;
}

void request_init(struct request *r, const char *scheme, const char *secret)
{
    memset(r, 0, sizeof *r);
    r->o.scheme = text(scheme);
    r->o.digest = MR_SHA256;
    if (secret)
        request_secret(r, secret);
    r->head.method = MR_STR("POST");
    r->head.target = r->head.path = MR_STR("/hooks/x");
    r->head.headers = r->headers;
    r->body = MR_STR("{}");
    mr_buf_init(&r->text, 1 << 16);
    mr_buf_init(&r->changed, 1 << 16);
}

void request_hmac(struct request *r, const char *secret)
{
    request_init(r, "hmac", secret);
    r->o.header = text("X-Sig");
    r->body = MR_STR(BODY);
}

void request_header(struct request *r, const char *name, const char *value)
{
    assert_true(r->head.headers_count < MR_COUNT(r->headers));
    r->headers[r->head.headers_count++] = (struct mr_header){mr_str_c(name), mr_str_c(value)};
}

void request_no_headers(struct request *r)
{
    r->head.headers_count = 0;
}

struct mr_signed_request request_signed(const struct request *r)
{
    return (struct mr_signed_request){.head = &r->head, .body = r->body, .url = r->url};
}

static void ready(struct request *r)
{
    if (r->v)
        return;
    if (mr_verifier_new(&r->o, &r->v, &r->err) != MR_OK)
        fail_msg("%s", r->err.msg);
}

enum mr_cause verdict_us(struct request *r, int64_t now_us)
{
    struct mr_signed_request req = request_signed(r);
    ready(r);
    mr_verify(r->v, &req, now_us, &r->out);
    assert_true((r->out.cause == MR_CAUSE_NONE) == (r->out.reason[0] == 0));
    return r->out.cause;
}

enum mr_cause verdict(struct request *r)
{
    return verdict_us(r, (int64_t)T0 * 1000000);
}

void request_sign(struct request *r, int64_t now_us)
{
    struct mr_signed_request req = request_signed(r);
    ready(r);
    if (mr_sign(r->v, &req, now_us, &r->text, &r->changed, &r->err) != MR_OK)
        fail_msg("%s", r->err.msg);
    if (r->changed.n)
        r->body = mr_buf_str(&r->changed);
    const char *p = mr_buf_cstr(&r->text);
    while (*p) {
        const char *end = strstr(p, "\r\n"), *colon = strstr(p, ": ");
        assert_true(end && colon && colon < end);
        assert_true(r->head.headers_count < MR_COUNT(r->headers));
        r->headers[r->head.headers_count++] =
            (struct mr_header){{p, (size_t)(colon - p)}, {colon + 2, (size_t)(end - colon - 2)}};
        p = end + 2;
    }
}

enum mr_code config(struct request *r)
{
    mr_verifier_free(r->v);
    r->v = NULL;
    return mr_verifier_new(&r->o, &r->v, &r->err);
}

void request_end(struct request *r)
{
    mr_verifier_free(r->v);
    mr_buf_free(&r->text);
    mr_buf_free(&r->changed);
    memset(r, 0, sizeof *r);
}

void mac_hex(const char *secret, const char *signed_text, char out[65])
{
    unsigned char mac[MR_DIGEST_MAX];
    struct mr_str piece = mr_str_c(signed_text);
    struct mr_hmac_key *key = mr_hmac_key_new(MR_SHA256, mr_str_c(secret));
    mr_hmac(key, &piece, 1, mac);
    mr_hmac_key_free(key);
    for (int i = 0; i < 32; i++)
        snprintf(out + 2 * (size_t)i, 3, "%02x", mac[i]);
}
