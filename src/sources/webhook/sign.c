/* SPDX-License-Identifier: Apache-2.0 */
/* sign.c - the other direction of verify.c: headers, or fields of the body, that a vendor would send, and what a body or URL must have been for a
 * signature that does not match. No secret and no digest gets into a text. */
#include "place.h"
#include "verifier.h"

#include "millrace/clock.h"
#include "millrace/json.h"

#include <ctype.h>
#include <stdio.h>

enum { TIMESTAMP_MAX = 40 };

static void put_time(const struct mr_scheme *s, int64_t now_us, char out[TIMESTAMP_MAX])
{
    if (s->unit == MR_UNIT_RFC3339)
        mr_time_text(now_us, out);
    else
        snprintf(out, TIMESTAMP_MAX, "%lld", (long long)(now_us / (s->unit == MR_UNIT_S ? 1000000 : 1000)));
}

static void put_bytes(const struct mr_scheme *s, struct mr_str bytes, struct mr_buf *out)
{
    if (s->encoding == MR_ENC_HEX) {
        mr_hex_put(out, bytes.p, bytes.n);
        return;
    }
    size_t at = out->n;
    mr_base64_put(out, bytes);
    if (s->encoding != MR_ENC_BASE64URL)
        return;
    for (size_t i = at; i < out->n; i++)
        out->p[i] = out->p[i] == '+' ? '-' : out->p[i] == '/' ? '_' : out->p[i];
    while (out->n > at && out->p[out->n - 1] == '=')
        out->n--;
}

static enum mr_code cannot(const struct mr_scheme *s, const char *why, struct mr_err *err)
{
    return mr_err_set(err, MR_ECONFIG, "cannot sign for scheme %s: %s", s->name, why);
}

/* The body with `value` at that place of it. */
static enum mr_code put_in_body(const struct mr_scheme *s, struct mr_str body, const struct place *place, struct mr_str value, struct mr_buf *out,
                                struct mr_err *err)
{
    mr_buf_clear(out);
    if (place->kind == PLACE_FORM)
        place_form_put(body, place->name, value, out);
    else if (!place_json_put(body, place->name, value, out))
        return mr_err_set(err, MR_ECONFIG, "cannot sign for scheme %s: it needs a JSON body with a field %.*s, whose value is then replaced", s->name,
                          (int)place->name.n, place->name.p);
    return out->failed ? mr_err_set(err, MR_ETOOBIG, "the signed body") : MR_OK;
}

/* To where the vendor has it: a header, or a field of the body. */
static enum mr_code deliver(struct mr_verifier *v, struct mr_str body, struct mr_str value, struct mr_buf *headers, struct mr_buf *changed,
                            struct mr_err *err)
{
    if (v->scheme.signature)
        return put_in_body(&v->scheme, body, &v->where, value, changed, err);
    mr_buf_printf(headers, "%s%s: ", v->scheme.header, v->scheme.numbered ? "1" : "");
    mr_buf_put(headers, value.p, value.n);
    mr_buf_puts(headers, "\r\n");
    return MR_OK;
}

static enum mr_code sign_token(struct mr_verifier *v, struct mr_str body, struct mr_buf *headers, struct mr_buf *changed, struct mr_err *err)
{
    struct mr_str secret = {v->keys[0].text, v->keys[0].n};
    struct mr_buf value;
    mr_buf_init(&value, 1 << 16);
    mr_buf_puts(&value, v->scheme.prefix);
    if (v->scheme.kind == MR_KIND_BASIC)
        mr_base64_put(&value, secret);
    else
        mr_buf_put(&value, secret.p, secret.n);
    enum mr_code code = deliver(v, body, mr_buf_str(&value), headers, changed, err);
    mr_buf_free(&value);
    return code;
}

static void put_base64url(struct mr_buf *out, struct mr_str bytes)
{
    const struct mr_scheme url = {.encoding = MR_ENC_BASE64URL};
    put_bytes(&url, bytes, out);
}

static void put_jwt(struct mr_verifier *v, struct mr_str body, struct mr_buf *headers)
{
    const struct mr_scheme *s = &v->scheme;
    struct mr_buf claims, token;
    unsigned char digest[MR_DIGEST_MAX], mac[MR_DIGEST_MAX];
    mr_buf_init(&claims, 1024);
    mr_buf_init(&token, 4096);
    mr_digest(MR_SHA256, body, digest);
    mr_buf_putc(&claims, '{');
    if (s->jwt_issuer)
        mr_buf_printf(&claims, "\"iss\":\"%s\",", s->jwt_issuer);
    mr_buf_printf(&claims, "\"%s\":\"", s->jwt_claim + 1);
    put_bytes(s, (struct mr_str){(const char *)digest, mr_digest_size(MR_SHA256)}, &claims);
    mr_buf_puts(&claims, "\"}");
    put_base64url(&token, MR_STR("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"));
    mr_buf_putc(&token, '.');
    put_base64url(&token, mr_buf_str(&claims));
    struct mr_str text = mr_buf_str(&token);
    mr_hmac(v->keys[0].mac, &text, 1, mac);
    mr_buf_putc(&token, '.');
    put_base64url(&token, (struct mr_str){(const char *)mac, mr_digest_size(s->digest)});
    mr_buf_printf(headers, "%s: %s\r\n", s->header, mr_buf_cstr(&token));
    mr_buf_free(&claims);
    mr_buf_free(&token);
}

/* Where elements are named by something that is no part of the scheme (a public key's name), the body says by what. */
static void put_name(struct mr_verifier *v, struct mr_str body, struct mr_buf *out)
{
    struct mr_str now = MR_STR("key");
    if (v->where.kind == PLACE_FORM)
        (void)place_form(body, v->where.name, &v->scratch, &now);
    const char *end = memchr(now.p, v->scheme.assign, now.n);
    mr_buf_put(out, now.p, end ? (size_t)(end - now.p) : now.n);
}

static void put_signature(struct mr_verifier *v, struct mr_str body, struct mr_str timestamp, const unsigned char *mac, struct mr_buf *out)
{
    const struct mr_scheme *s = &v->scheme;
    if (v->time.kind == PLACE_ELEMENT)
        mr_buf_printf(out, "%.*s%c%s%c%s", (int)v->time.name.n, v->time.name.p, s->assign, timestamp.p, s->list, s->spaced ? " " : "");
    if (v->time.kind == PLACE_FIRST)
        mr_buf_printf(out, "%s%c", timestamp.p, s->list);
    if (s->assign && s->take)
        mr_buf_puts(out, s->take);
    else if (s->assign)
        put_name(v, body, out);
    if (s->assign)
        mr_buf_putc(out, s->assign);
    mr_buf_puts(out, s->prefix);
    put_bytes(s, (struct mr_str){(const char *)mac, mr_digest_size(s->digest)}, out);
}

/* A new id in its header; the text that {id} stands for. */
static void put_id(const struct mr_scheme *s, char id[48], struct mr_buf *headers)
{
    unsigned char random[12];
    struct mr_buf hex;
    mr_buf_init(&hex, 64);
    mr_random(random, sizeof random);
    mr_hex_put(&hex, random, sizeof random);
    snprintf(id, 48, "msg_%s", mr_buf_cstr(&hex));
    mr_buf_free(&hex);
    mr_buf_printf(headers, "%s: %s\r\n", s->id, id);
}

static enum mr_code sign_text(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_str timestamp, struct mr_buf *headers,
                              struct mr_buf *changed, struct mr_err *err)
{
    const struct mr_scheme *s = &v->scheme;
    struct judged j = {.signatures_count = 0, .timestamp = timestamp};
    struct mr_str filled[PIECES_MAX];
    struct mr_verified out = {.cause = MR_CAUSE_NONE};
    char id[48];
    unsigned char mac[MR_DIGEST_MAX];
    struct mr_buf signature;
    if (s->id) {
        put_id(s, id, headers);
        j.id = mr_str_c(id);
    }
    if (!verifier_fill(v, req, &j, filled, &out))
        return cannot(s, out.reason, err);
    if (s->kind == MR_KIND_HASH)
        mr_digest(s->digest, verifier_joined(v, filled, &v->keys[0]), mac);
    else
        mr_hmac(v->keys[0].mac, filled, v->pieces_count, mac);
    if (v->time.kind == PLACE_HEADER)
        mr_buf_printf(headers, "%.*s: %s\r\n", (int)v->time.name.n, v->time.name.p, timestamp.p);
    mr_buf_init(&signature, 4096);
    put_signature(v, req->body, timestamp, mac, &signature);
    enum mr_code code = deliver(v, req->body, mr_buf_str(&signature), headers, changed, err);
    mr_buf_free(&signature);
    return code;
}

/* A body that could not be accepted, whoever signs it, is told here. */
static enum mr_code try_out(struct mr_verifier *v, const struct mr_signed_request *req, int64_t now_us, const struct mr_buf *changed, struct mr_err *err)
{
    struct mr_signed_request now = *req;
    struct mr_verified out;
    if (!v->scheme.signature || v->scheme.id || v->time.kind == PLACE_HEADER)
        return MR_OK;
    now.body = mr_buf_str(changed);
    mr_verify(v, &now, now_us, &out);
    return out.cause == MR_CAUSE_NONE ? MR_OK : cannot(&v->scheme, out.reason, err);
}

/* Fields of the body hold the time and the signature: first the one, then over it the other. */
static enum mr_code sign(struct mr_verifier *v, const struct mr_signed_request *req, int64_t now_us, struct mr_buf *headers, struct mr_buf *timed,
                         struct mr_buf *changed, struct mr_err *err)
{
    const struct mr_scheme *s = &v->scheme;
    struct mr_signed_request now = *req;
    char timestamp[TIMESTAMP_MAX];
    put_time(s, now_us, timestamp);
    if (v->time.kind >= PLACE_JSON) {
        if (put_in_body(s, req->body, &v->time, mr_str_c(timestamp), timed, err) != MR_OK)
            return err->code;
        now.body = mr_buf_str(timed);
    }
    if (!verifier_scratch(v, &now))
        return mr_err_set(err, MR_ENOMEM, "sign");
    if (s->kind == MR_KIND_JWT)
        put_jwt(v, req->body, headers);
    else if ((s->kind == MR_KIND_TOKEN || s->kind == MR_KIND_BASIC ? sign_token(v, req->body, headers, changed, err)
                                                                   : sign_text(v, &now, mr_str_c(timestamp), headers, changed, err)) != MR_OK)
        return err->code;
    if (v->time.kind >= PLACE_JSON && !s->signature)
        mr_buf_put(changed, timed->p, timed->n);
    return headers->failed || changed->failed ? mr_err_set(err, MR_ETOOBIG, "signature headers") : MR_OK;
}

enum mr_code mr_sign(struct mr_verifier *v, const struct mr_signed_request *req, int64_t now_us, struct mr_buf *headers, struct mr_buf *changed,
                     struct mr_err *err)
{
    const struct mr_scheme *s = &v->scheme;
    struct mr_buf timed;
    mr_buf_clear(changed);
    if (s->none)
        return MR_OK;
    if (s->kind == MR_KIND_ED25519 || s->kind == MR_KIND_ECDSA || s->kind == MR_KIND_RSA || s->kind == MR_KIND_OIDC || s->jwt_es256)
        return cannot(s, "only the vendor has the private key; send a captured request, or try `explain`", err);
    if (s->signature && v->covers_body)
        return cannot(s, "the signature would be a part of the body that it signs", err);
    mr_buf_init(&timed, changed->limit);
    enum mr_code code = sign(v, req, now_us, headers, &timed, changed, err);
    mr_buf_free(&timed);
    return code == MR_OK ? try_out(v, req, now_us, changed, err) : code;
}

/* ---- guessing ---- */

static bool matches_with(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_str body)
{
    struct mr_signed_request changed = *req;
    struct mr_verified out = {.cause = MR_CAUSE_NONE};
    struct judged j;
    changed.body = body;
    return verifier_scratch(v, &changed) && verifier_judge(v, &changed, &j, &out) &&
           verifier_match(v, &changed, &j, &out) != SECRETS_MAX;
}

/* The configured URL against what may have been meant: its slash at the end, http for https, its port. */
static bool matches_with_url(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_str url)
{
    struct mr_signed_request changed = *req;
    changed.url = url;
    return matches_with(v, &changed, req->body);
}

static bool guess_url(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_buf *out)
{
    struct mr_buf url;
    bool found = true;
    struct mr_str query = {memchr(req->url.p ? req->url.p : "", '?', req->url.n), 0};
    size_t path = query.p ? (size_t)(query.p - req->url.p) : req->url.n;
    if (!mr_verifier_needs_url(v) || req->url.n < 8)
        return false;
    mr_buf_init(&url, req->url.n + 64);
    bool slash = req->url.p[path - 1] == '/', https = memcmp(req->url.p, "https:", 6) == 0;
    mr_buf_put(&url, req->url.p, slash ? path - 1 : path);
    mr_buf_puts(&url, slash ? "" : "/");
    mr_buf_put(&url, req->url.p + path, req->url.n - path);
    if (matches_with_url(v, req, mr_buf_str(&url))) {
        mr_buf_printf(out, "the secret is right for a public_url %s the slash at its end", slash ? "without" : "with");
        goto done;
    }
    mr_buf_clear(&url);
    mr_buf_puts(&url, https ? "http" : "https");
    mr_buf_put(&url, req->url.p + (https ? 5 : 4), req->url.n - (https ? 5 : 4));
    if (matches_with_url(v, req, mr_buf_str(&url))) {
        mr_buf_printf(out, "the secret is right for a public_url with %s", https ? "http, not https" : "https, not http");
        goto done;
    }
    mr_buf_clear(&url);
    if (matches_with_url(v, req, place_port_toggled(req->url, &url)))
        mr_buf_puts(out, "the secret is right for a public_url whose port is written otherwise");
    else if (query.p && matches_with_url(v, req, (struct mr_str){req->url.p, path}))
        mr_buf_puts(out, "the secret is right for the URL without its query");
    else
        found = false;
done:
    mr_buf_free(&url);
    return found;
}

/* A secret that is not tried any more? */
static bool guess_ended(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_buf *out)
{
    struct mr_verified verified = {.cause = MR_CAUSE_NONE};
    struct judged j;
    int64_t now_us = v->now_us;
    v->now_us = INT64_MIN;
    size_t k = verifier_scratch(v, req) && verifier_judge(v, req, &j, &verified) ? verifier_match(v, req, &j, &verified) : SECRETS_MAX;
    v->now_us = now_us;
    if (k != SECRETS_MAX)
        mr_buf_printf(out, "it is right for secret %zu, but that one's `until` is past", k);
    return k != SECRETS_MAX;
}

void mr_verify_guess(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_buf *out)
{
    enum mr_scheme_kind kind = v->scheme.kind;
    if (v->scheme.none || v->scheme.groups || kind == MR_KIND_TOKEN || kind == MR_KIND_BASIC || kind == MR_KIND_JWT || kind == MR_KIND_RSA || kind == MR_KIND_OIDC ||
        guess_ended(v, req, out) || guess_url(v, req, out))
        return;
    struct mr_str body = req->body;
    struct mr_buf changed;
    mr_buf_init(&changed, body.n * 2 + 64);
    if (mr_json_compact(body, &changed, NULL) == MR_OK && matches_with(v, req, mr_buf_str(&changed))) {
        mr_buf_puts(out, "the secret is right, but the body was re-encoded on its way: white space was added");
    } else if (body.n && isspace((unsigned char)body.p[body.n - 1])) {
        struct mr_str cut = body;
        while (cut.n && isspace((unsigned char)cut.p[cut.n - 1]))
            cut.n--;
        if (matches_with(v, req, cut))
            mr_buf_puts(out, "the secret is right, but white space was added at the end of the body");
    } else {
        mr_buf_clear(&changed);
        mr_buf_put(&changed, body.p, body.n);
        mr_buf_putc(&changed, '\n');
        if (matches_with(v, req, mr_buf_str(&changed)))
            mr_buf_puts(out, "the secret is right, but the line end at the end of the body is missing");
    }
    mr_buf_free(&changed);
}
