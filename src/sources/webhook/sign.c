/* SPDX-License-Identifier: Apache-2.0 */
/* sign.c - the other direction of verify.c: headers that a vendor would send, and what a body or URL must have been for a signature that
 * does not match. No secret and no digest gets into a text. */
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

static void put_token(struct mr_verifier *v, struct mr_buf *headers)
{
    struct mr_str secret = {v->keys[0].text, v->keys[0].n};
    mr_buf_printf(headers, "%s: %s", v->scheme.header, v->scheme.prefix);
    if (v->scheme.kind == MR_KIND_BASIC)
        mr_base64_put(headers, secret);
    else
        mr_buf_put(headers, secret.p, secret.n);
    mr_buf_puts(headers, "\r\n");
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
    mr_buf_printf(&claims, "{\"iss\":\"%s\",\"%s\":\"", s->jwt_issuer, s->jwt_claim + 1);
    mr_hex_put(&claims, digest, mr_digest_size(MR_SHA256));
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

static void put_signature(struct mr_verifier *v, struct mr_str timestamp, const unsigned char *mac, struct mr_buf *headers)
{
    const struct mr_scheme *s = &v->scheme;
    if (v->time.kind == PLACE_HEADER)
        mr_buf_printf(headers, "%.*s: %s\r\n", (int)v->time.name.n, v->time.name.p, timestamp.p);
    mr_buf_printf(headers, "%s%s: ", s->header, s->numbered ? "1" : "");
    if (v->time.kind == PLACE_ELEMENT)
        mr_buf_printf(headers, "%.*s%c%s%c", (int)v->time.name.n, v->time.name.p, s->assign, timestamp.p, s->list);
    if (v->time.kind == PLACE_FIRST)
        mr_buf_printf(headers, "%s%c", timestamp.p, s->list);
    if (s->assign && s->take)
        mr_buf_printf(headers, "%s%c", s->take, s->assign);
    mr_buf_puts(headers, s->prefix);
    put_bytes(s, (struct mr_str){(const char *)mac, mr_digest_size(s->digest)}, headers);
    mr_buf_puts(headers, "\r\n");
}

static enum mr_code sign_text(struct mr_verifier *v, const struct mr_signed_request *req, int64_t now_us, struct mr_buf *headers,
                              struct mr_err *err)
{
    const struct mr_scheme *s = &v->scheme;
    struct judged j = {.signatures_count = 0};
    struct mr_str filled[PIECES_MAX];
    struct mr_verified out = {.cause = MR_CAUSE_NONE};
    char timestamp[TIMESTAMP_MAX], id[48] = "msg_";
    unsigned char random[12], mac[MR_DIGEST_MAX];
    put_time(s, now_us, timestamp);
    j.timestamp = mr_str_c(timestamp);
    if (s->id) {
        struct mr_buf hex;
        mr_buf_init(&hex, 64);
        mr_random(random, sizeof random);
        mr_hex_put(&hex, random, sizeof random);
        snprintf(id, sizeof id, "msg_%s", mr_buf_cstr(&hex));
        mr_buf_free(&hex);
        j.id = mr_str_c(id);
        mr_buf_printf(headers, "%s: %s\r\n", s->id, id);
    }
    if (!verifier_fill(v, req, &j, filled, &out))
        return cannot(s, out.reason, err);
    if (s->kind == MR_KIND_HASH)
        mr_digest(s->digest, verifier_joined(v, filled, &v->keys[0]), mac);
    else
        mr_hmac(v->keys[0].mac, filled, v->pieces_count, mac);
    put_signature(v, j.timestamp, mac, headers);
    return MR_OK;
}

enum mr_code mr_sign(struct mr_verifier *v, const struct mr_signed_request *req, int64_t now_us, struct mr_buf *headers,
                     struct mr_err *err)
{
    const struct mr_scheme *s = &v->scheme;
    if (s->none)
        return MR_OK;
    if (s->signature)
        return cannot(s, "its signature is in the body: send a body that the vendor has signed", err);
    if (s->kind == MR_KIND_ED25519 || s->kind == MR_KIND_ECDSA || s->kind == MR_KIND_RSA || s->jwt_es256)
        return cannot(s, "only the vendor has the private key; send a captured request, or try `explain`", err);
    if (!verifier_scratch(v, req))
        return mr_err_set(err, MR_ENOMEM, "sign");
    if (s->kind == MR_KIND_TOKEN || s->kind == MR_KIND_BASIC)
        put_token(v, headers);
    else if (s->kind == MR_KIND_JWT)
        put_jwt(v, req->body, headers);
    else if (sign_text(v, req, now_us, headers, err) != MR_OK)
        return err->code;
    return headers->failed ? mr_err_set(err, MR_ETOOBIG, "signature headers") : MR_OK;
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
    if (v->scheme.none || v->scheme.groups || kind == MR_KIND_TOKEN || kind == MR_KIND_BASIC || kind == MR_KIND_JWT || kind == MR_KIND_RSA ||
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
