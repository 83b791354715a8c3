/* SPDX-License-Identifier: Apache-2.0 */
/* explain.c - what a person asks of a source without a server: is its config sound, how would the vendor sign this, and
 * why was this captured request refused? The same code judges as in receive.c. */
#include "handshake.h"
#include "hub.h"

#include "millrace/compress.h"
#include "millrace/hash.h"
#include "millrace/json.h"

#include <stdio.h>
#include <stdlib.h>

void webhook_check(struct mr_check *c)
{
    const struct webhook_options *o = c->options;
    struct mr_verifier *v;
    struct mr_err err;
    char text[512];
    if (webhook_verifier(o, NULL, &v, &err) != MR_OK) {
        c->line(c, MR_CHECK_FAIL, NULL, err.msg);
        c->done(c);
        return;
    }
    const struct mr_scheme *s = mr_verifier_scheme(v);
    struct mr_shaker *shaker;
    if (mr_shaker_new(&o->handshake, o->verify.scheme, &o->verify.secrets, &shaker, &err) == MR_OK &&
        mr_shaker_warning(shaker))
        c->line(c, MR_CHECK_WARN, NULL, mr_shaker_warning(shaker));
    mr_shaker_free(shaker);
    const struct mr_retiring *retiring = o->verify.retiring.items;
    for (size_t i = 0; i < o->verify.retiring.count; i++)
        if (retiring[i].until_us < mr_wall_us()) {
            snprintf(text, sizeof text, "retiring secret %zu (%s) has ended: it is not tried any more; take it out", i, retiring[i].secret.origin);
            c->line(c, MR_CHECK_WARN, NULL, text);
        }
    if (s->none)
        c->line(c, MR_CHECK_WARN, NULL, "verify is none: whatever reaches the route lands");
    if (s->name && strcmp(s->name, "hmac") == 0 && !s->timestamp && !o->dedup_given)
        c->line(c, MR_CHECK_WARN, NULL,
                "no signed timestamp and no dedup: a captured request can be replayed, and lands again");
    snprintf(text, sizeof text, "route %s%s, scheme %s, %zu secret%s, stream %s, %s", o->path, o->path_secret.value ? "/***" : "", s->name,
             o->verify.secrets.count, o->verify.secrets.count == 1 ? "" : "s", o->stream ? o->stream : c->name,
             o->dedup_given ? "repeats land once" : "no dedup: a repeat lands again");
    c->line(c, MR_CHECK_OK, NULL, text);
    mr_verifier_free(v);
    c->done(c);
}

/* ---- send ---- */

static void default_url(const struct webhook_options *o, const struct hub_options *h, struct mr_buf *url)
{
    const char *colon = h->http.listen ? strrchr(h->http.listen, ':') : NULL;
    mr_buf_printf(url, "%s://127.0.0.1:%s", h->http.tls_given ? "https" : "http", colon ? colon + 1 : "8080");
    webhook_route(o, url);
}

/* What is JSON is sent as JSON, though the vendor also has forms: then a parameter of its URL vouches for it. */
static bool is_form(const struct mr_verifier *v, struct mr_str body)
{
    return mr_verifier_reads_form(v) && !(mr_verifier_scheme(v)->body_hash && mr_json_check(body, NULL) == MR_OK);
}

static void put_query(const struct mr_scheme *s, bool form, struct mr_str body, struct mr_buf *query)
{
    unsigned char digest[MR_DIGEST_MAX];
    if (!s->body_hash || form)
        return;
    mr_digest(MR_SHA256, body, digest);
    mr_buf_printf(query, "%s=", s->body_hash);
    mr_hex_put(query, (const char *)digest, mr_digest_size(MR_SHA256));
}

static enum mr_code sign_as(struct mr_verifier *v, const struct webhook_options *o, const struct hub_options *h, struct mr_str body,
                            int64_t now_us, struct mr_delivery *out, struct mr_err *err)
{
    bool form = is_form(v, body);
    struct mr_header type = {MR_STR("Content-Type"), form ? MR_STR("application/x-www-form-urlencoded") : MR_STR("application/json")};
    struct mr_buf public_url, route, query;
    mr_buf_init(&public_url, 1 << 16);
    mr_buf_init(&route, 1 << 16);
    mr_buf_init(&query, 1 << 16);
    webhook_route(o, &route);
    put_query(mr_verifier_scheme(v), form, body, &query);
    struct mr_http_head head = {.method = out->method, .target = mr_buf_str(&route), .path = mr_buf_str(&route), .query = mr_buf_str(&query),
                                .headers = &type, .headers_count = 1};
    webhook_url(o, &head, &public_url);
    default_url(o, h, &out->url);
    if (query.n)
        mr_buf_printf(&out->url, "?%s", mr_buf_cstr(&query));
    mr_buf_printf(&out->headers, "Content-Type: %s\r\n", type.value.p);
    struct mr_signed_request request = {.head = &head, .body = body, .url = mr_buf_str(&public_url)};
    enum mr_code code = mr_sign(v, &request, now_us, &out->headers, &out->body, err);
    mr_buf_free(&query);
    mr_buf_free(&route);
    mr_buf_free(&public_url);
    return code;
}

enum mr_code webhook_sign(const void *options, const void *hub_options, struct mr_str body, int64_t now_us, struct mr_delivery *out,
                          struct mr_err *err)
{
    const struct webhook_options *o = options;
    struct mr_verifier *v;
    if (webhook_verifier(o, NULL, &v, err) != MR_OK)
        return err->code;
    out->method = mr_str_c(o->methods.items[0]);
    enum mr_code code = sign_as(v, o, hub_options, body, now_us, out, err);
    mr_verifier_free(v);
    return code;
}

/* ---- explain ---- */

static bool verdict(struct mr_buf *json, enum mr_cause cause, const char *reason)
{
    mr_buf_printf(json, "{\"verdict\":\"%s\",\"cause\":", cause == MR_CAUSE_NONE ? "accept" : "reject");
    if (cause == MR_CAUSE_NONE)
        mr_buf_puts(json, "null");
    else
        mr_buf_printf(json, "\"%s\"", mr_cause_name(cause == MR_CAUSE_CODING ? MR_CAUSE_FORMAT : cause));
    mr_buf_puts(json, ",\"reason\":");
    mr_json_put_string(json, mr_str_c(reason));
    mr_buf_putc(json, '}');
    return cause == MR_CAUSE_NONE;
}

static bool judge(struct mr_verifier *v, const struct mr_shaker *s, const struct webhook_options *o, const struct mr_http_head *head,
                  struct mr_str body, int64_t at_us, struct mr_buf *json)
{
    struct mr_buf url, reason;
    mr_buf_init(&url, 1 << 16);
    mr_buf_init(&reason, 4096);
    webhook_url(o, head, &url);
    struct mr_signed_request request = {.head = head, .body = body, .url = mr_buf_str(&url)};
    struct mr_verified out;
    mr_verify(v, &request, at_us, &out);
    mr_buf_puts(&reason, out.reason);
    if (out.cause == MR_CAUSE_SIGNATURE) {
        size_t at = reason.n;
        mr_buf_puts(&reason, "; ");
        mr_verify_guess(v, &request, &reason);
        if (reason.n == at + 2)
            mr_buf_puts(&reason, "another secret, or the body was changed on its way");
    } else if (out.cause == MR_CAUSE_NONE) {
        if (mr_verifier_scheme(v)->none)
            mr_buf_puts(&reason, "verify is none: anything is accepted");
        else
            mr_buf_printf(&reason, "secret %u matches, the %s is covered", out.secret, out.covers);
        struct mr_shaken shaken;
        if (mr_shake_verified(s, head, body, out.secret, &url, &shaken) != MR_SHAKE_EVENT) {
            out.cause = MR_CAUSE_HANDSHAKE;
            mr_buf_puts(&reason, "; it is the vendor's handshake, which is answered and is no event");
        }
    }
    bool accepted = verdict(json, out.cause, mr_buf_cstr(&reason));
    mr_buf_free(&url);
    mr_buf_free(&reason);
    return accepted;
}

static bool too_large(const struct mr_http_head *head, struct mr_str body, size_t limit, enum mr_cause *cause)
{
    *cause = MR_CAUSE_NONE;
    if (body.n > limit)
        *cause = MR_CAUSE_SIZE;
    else if (webhook_coding(head) == CODING_OTHER)
        *cause = MR_CAUSE_CODING;
    return *cause != MR_CAUSE_NONE;
}

/* After the signature, as in the server: a body that is not gzip, or too large once decoded, is refused all the same.
 */
static enum mr_cause decoded(const struct mr_http_head *head, struct mr_str body, size_t limit)
{
    if (webhook_coding(head) != CODING_GZIP)
        return MR_CAUSE_NONE;
    struct mr_buf out;
    struct mr_err err;
    mr_buf_init(&out, limit + 1);
    enum mr_code code = mr_gunzip(body, limit, &out, &err);
    mr_buf_free(&out);
    return code == MR_OK ? MR_CAUSE_NONE : code == MR_ETOOBIG ? MR_CAUSE_SIZE : MR_CAUSE_CODING;
}

/* By the head alone, as in the server: no signature is asked for. */
static bool explain_handshake(const struct mr_shaker *s, const struct mr_http_head *head, struct mr_buf *json,
                              bool *accepted)
{
    struct mr_shaken shaken;
    struct mr_buf body;
    char reason[256];
    mr_buf_init(&body, 1 << 16);
    enum mr_shake what = mr_shake_head(s, head, &body, &shaken);
    mr_buf_free(&body);
    if (what == MR_SHAKE_EVENT)
        return false;
    snprintf(reason, sizeof reason, "the handshake of kind %s, %s%s", mr_shaker_kind(s),
             what == MR_SHAKE_REFUSE ? "refused: " : "which is answered and is no event", shaken.reason);
    *accepted = verdict(json, MR_CAUSE_HANDSHAKE, reason);
    return true;
}

static bool explain_with(const struct webhook_options *o, const struct mr_shaker *s, const struct mr_http_head *head,
                         const struct hub_options *h, const struct mr_captured *request, int64_t at_us,
                         struct mr_buf *json)
{
    char reason[512];
    bool accepted;
    if (explain_handshake(s, head, json, &accepted))
        return accepted;
    if (!webhook_allows(o, head->method) && !mr_shaker_takes(s, head))
        return verdict(json, MR_CAUSE_METHOD, "method not among `methods`");
    size_t limit = (size_t)(o->body_limit ? o->body_limit : h->http.body_limit);
    enum mr_cause cause;
    if (too_large(head, request->body, limit, &cause)) {
        snprintf(reason, sizeof reason, "body of %zu bytes; body_limit is %zu", request->body.n, limit);
        return verdict(json, cause,
                       cause == MR_CAUSE_SIZE ? reason : "content coding other than gzip: answered with 415");
    }
    struct mr_verifier *v;
    struct mr_err err;
    if (webhook_verifier(o, NULL, &v, &err) != MR_OK)
        return verdict(json, MR_CAUSE_FORMAT, err.msg);
    size_t at = json->n;
    accepted = judge(v, s, o, head, request->body, at_us, json);
    cause = accepted ? decoded(head, request->body, limit) : MR_CAUSE_NONE;
    if (cause != MR_CAUSE_NONE) {
        json->n = at;
        accepted = verdict(json, cause,
                           cause == MR_CAUSE_SIZE ? "larger than body_limit once decoded"
                                                  : "Content-Encoding says gzip, the body is not");
    }
    mr_verifier_free(v);
    return accepted;
}

/* As it came, or as quarantine keeps it. */
static bool is_its_route(const struct webhook_options *o, struct mr_str path)
{
    struct mr_buf route;
    struct webhook_options shown = *o;
    static char stars[] = "***";
    mr_buf_init(&route, 1 << 16);
    webhook_route(o, &route);
    bool is = mr_str_eq(path, mr_buf_str(&route));
    if (o->path_secret.value) {
        shown.path_secret = (struct mr_secret){stars, sizeof stars - 1, NULL};
        mr_buf_clear(&route);
        webhook_route(&shown, &route);
        is |= mr_str_eq(path, mr_buf_str(&route));
    }
    mr_buf_free(&route);
    return is;
}

bool webhook_explain(const void *options, const void *hub_options, const struct mr_captured *request, int64_t at_us,
                     struct mr_buf *json)
{
    const struct webhook_options *o = options;
    const struct hub_options *h = hub_options;
    char reason[512];
    const char *question = request->target.n ? memchr(request->target.p, '?', request->target.n) : NULL;
    struct mr_http_head head = {
        .method = request->method,
        .target = request->target,
        .path = {request->target.p, question ? (size_t)(question - request->target.p) : request->target.n},
        .headers = request->headers,
        .headers_count = request->headers_count,
        .content_length = (int64_t)request->body.n};
    if (question)
        head.query = (struct mr_str){question + 1, request->target.n - head.path.n - 1};
    if (!is_its_route(o, head.path)) {
        snprintf(reason, sizeof reason, "the route of this source is %s%s", o->path, o->path_secret.value ? " and its path_secret" : "");
        return verdict(json, MR_CAUSE_ROUTE, reason);
    }
    struct mr_shaker *s;
    struct mr_err err;
    if (mr_shaker_new(&o->handshake, o->verify.scheme, &o->verify.secrets, &s, &err) != MR_OK)
        return verdict(json, MR_CAUSE_FORMAT, err.msg);
    bool accepted = explain_with(o, s, &head, h, request, at_us, json);
    mr_shaker_free(s);
    return accepted;
}
