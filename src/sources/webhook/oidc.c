/* SPDX-License-Identifier: Apache-2.0 */
#include "oidc.h"

#include "millrace/json.h"
#include "millrace/pubkey.h"

enum { PEM_MAX = 16 * 1024, CERTS_MAX = 32 };

bool oidc_certs_check(struct mr_str certs, const char **why)
{
    struct mr_json_iter it;
    struct mr_json_slice value;
    struct mr_str key;
    struct mr_buf pem;
    size_t count = 0;
    *why = "not JSON of certificates by the names of their keys";
    if (mr_json_check(certs, NULL) != MR_OK || mr_json_at(certs, MR_STR("")).type != MR_JSON_OBJECT)
        return false;
    mr_buf_init(&pem, PEM_MAX);
    mr_json_iter(&it, mr_json_at(certs, MR_STR("")));
    bool ok = true;
    for (; ok && mr_json_next(&it, &key, &value); count++) {
        mr_buf_clear(&pem);
        ok = count < CERTS_MAX && mr_json_string(value, &pem) && mr_cert_check(mr_buf_str(&pem), why);
    }
    mr_buf_free(&pem);
    if (ok && count)
        *why = NULL;
    return ok && count;
}

/* The PEM of the token's key, decoded into scratch. */
static bool find_key(struct mr_str header, struct mr_str certs, struct mr_buf *scratch, struct mr_str *pem)
{
    struct mr_json_slice kid = mr_json_at(header, MR_STR("/kid")), value;
    struct mr_json_iter it;
    struct mr_str key;
    if (kid.type != MR_JSON_STRING)
        return false;
    mr_json_iter(&it, mr_json_at(certs, MR_STR("")));
    while (mr_json_next(&it, &key, &value))
        if (mr_str_eq(key, kid.raw)) {
            size_t at = scratch->n;
            bool ok = mr_json_string(value, scratch);
            *pem = (struct mr_str){scratch->p + at, scratch->n - at};
            return ok;
        }
    return false;
}

static bool text_is(struct mr_json_slice s, const char *wanted, struct mr_buf *scratch)
{
    size_t at = scratch->n;
    bool same = mr_json_string(s, scratch) && mr_str_eq((struct mr_str){scratch->p + at, scratch->n - at}, mr_str_c(wanted));
    scratch->n = at;
    return same;
}

static bool time_at(struct mr_str claims, const char *pointer, int64_t *us)
{
    int64_t seconds;
    if (!mr_json_i64(mr_json_at(claims, mr_str_c(pointer)), &seconds) || seconds < 0 || seconds > INT64_MAX / 1000000)
        return false;
    *us = seconds * 1000000;
    return true;
}

static const char *judge_claims(struct mr_str claims, const struct oidc_wanted *w, int64_t now_us, struct mr_buf *scratch)
{
    int64_t from_us, to_us;
    struct mr_json_slice issuer = mr_json_at(claims, MR_STR("/iss")), verified = mr_json_at(claims, MR_STR("/email_verified"));
    if (!text_is(issuer, "https://accounts.google.com", scratch) && !text_is(issuer, "accounts.google.com", scratch))
        return "the token's iss is not Google";
    if (!text_is(mr_json_at(claims, MR_STR("/aud")), w->audience, scratch))
        return "the token's aud is not verify.audience";
    if (!text_is(mr_json_at(claims, MR_STR("/email")), w->email, scratch))
        return "the token's email is not verify.email";
    if (verified.type != MR_JSON_BOOL || verified.raw.n != 4)
        return "the token's email is not verified";
    if (!time_at(claims, "/iat", &from_us) || !time_at(claims, "/exp", &to_us))
        return "the token has no iat or no exp";
    return from_us - w->skew_us > now_us || to_us + w->skew_us < now_us ? "the token is not in force at that time" : NULL;
}

const char *oidc_judge(struct mr_str token, struct mr_str certs, const struct oidc_wanted *wanted, int64_t now_us, struct mr_buf *scratch, bool *unknown_key)
{
    struct mr_jwt t;
    struct mr_str pem;
    const char *why = mr_jwt_cut(token, "RS256", scratch, &t);
    *unknown_key = false;
    if (why)
        return why;
    if (!find_key(t.header, certs, scratch, &pem)) {
        *unknown_key = mr_json_at(t.header, MR_STR("/kid")).type == MR_JSON_STRING;
        return "its key is none of Google's";
    }
    struct mr_str signature = {(const char *)t.signature, t.signature_n};
    return mr_cert_verify(pem, MR_RSA_SHA256, t.signed_text, signature, now_us, &why) ? judge_claims(t.claims, wanted, now_us, scratch) : why;
}
