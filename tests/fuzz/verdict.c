/* SPDX-License-Identifier: Apache-2.0 */
/* verdict.c - from a request to its verdict, for each scheme with a fixed secret: no bytes bring it down, what mr_sign()
 * makes is accepted, and `millrace explain` says the same as the door, in JSON.
 *
 * The first byte chooses the scheme. Then lines "Name: value\n" up to an empty one; a first line that begins with `?` is the
 * query; the rest is the body. */
#include "sources/webhook/hub.h"

#include "millrace/json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { HEADERS_MAX = 64 };
static const int64_t NOW_US = INT64_C(1614265330000000); /* of the examples in the corpus */

struct request {
    struct mr_header headers[HEADERS_MAX];
    struct mr_http_head head;
    struct mr_str body;
};

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    abort();
}

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static bool cut_line(struct mr_str *rest, struct mr_str *line)
{
    const char *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    if (!end)
        return false;
    *line = (struct mr_str){rest->p, (size_t)(end - rest->p)};
    *rest = (struct mr_str){end + 1, rest->n - line->n - 1};
    return true;
}

static void read_request(struct mr_str rest, struct request *r)
{
    struct mr_str line;
    *r = (struct request){.head = {.method = MR_STR("POST"), .target = MR_STR("/in"), .path = MR_STR("/in"), .headers = r->headers}};
    while (r->head.headers_count < HEADERS_MAX && cut_line(&rest, &line) && line.n) {
        if (line.p[0] == '?') {
            r->head.query = (struct mr_str){line.p + 1, line.n - 1};
            continue;
        }
        const char *colon = memchr(line.p, ':', line.n);
        size_t name = colon ? (size_t)(colon - line.p) : line.n, skip = name + (colon != NULL);
        skip += skip < line.n && line.p[skip] == ' ';
        r->headers[r->head.headers_count++] = (struct mr_header){{line.p, name}, {line.p + skip, line.n - skip}};
    }
    r->body = rest;
}

static bool is_of_public_key(const struct mr_scheme *s)
{
    return s->kind == MR_KIND_ED25519 || s->kind == MR_KIND_ECDSA || s->jwt_es256;
}

/* In the form that the scheme wants. The public keys are those of RFC 8032, 7.1 test 1, and of SEC 2's base point of P-256. */
static const char *first_secret(const struct mr_scheme *s)
{
    if (s->kind == MR_KIND_ED25519)
        return "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    if (is_of_public_key(s))
        return "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==";
    return s->kind == MR_KIND_BASIC ? "user:password" : s->key == MR_KEY_HEX ? "6b65792d0001fe" : "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
}

static void options_of(uint8_t choice, struct mr_verify_options *o, struct mr_secret secrets[2])
{
    const struct mr_scheme *s = &mr_schemes[choice % mr_schemes_count];
    const char *first = first_secret(s), *second = is_of_public_key(s) ? first : s->kind == MR_KIND_BASIC ? "u:p" : s->key == MR_KEY_HEX ? "00ff" : "whsec_b2xkIHNlY3JldA==";
    secrets[0] = (struct mr_secret){text(first), strlen(first), NULL};
    secrets[1] = (struct mr_secret){text(second), strlen(second), NULL};
    if (s->key == MR_KEY_BASE64 && !s->key_prefix)
        secrets[0].value += 6, secrets[0].n -= 6, secrets[1].value += 6, secrets[1].n -= 6;
    *o = (struct mr_verify_options){.scheme = text(s->name), .secrets = {secrets, 2}, .digest = MR_SHA256, .audience = text("a"), .email = text("e")};
    if (strcmp(o->scheme, "hmac") != 0 && strcmp(o->scheme, "token") != 0)
        return;
    o->header = text("X-Sig");
    if (strcmp(o->scheme, "token") == 0)
        return;
    o->digest = choice / 7 % 3;
    o->encoding = choice / 21 % 3;
    o->id = text("header:X-Id");
    o->timestamp = text("header:X-Time");
    o->unit = choice / 63 % 3;
    o->text = text("{id}/{timestamp}{{{method} {url}\n{path}?{query}{header:X-Kind}{body}");
}

static enum mr_cause judge(struct mr_verifier *v, const struct request *r, const struct mr_http_head *head, struct mr_str url)
{
    struct mr_signed_request req = {.head = head, .body = r->body, .url = url};
    struct mr_verified out;
    mr_verify(v, &req, NOW_US, &out);
    if ((out.cause == MR_CAUSE_NONE) != (out.reason[0] == 0))
        fail("a refusal without a reason, or a reason without a refusal");
    return out.cause;
}

/* The request's own headers stay, but for those that signing makes. */
static void what_is_signed_is_accepted(struct mr_verifier *v, const struct request *r, struct mr_str url)
{
    struct mr_buf lines, changed;
    struct mr_err err;
    struct mr_header headers[HEADERS_MAX] = {{MR_STR("X-Kind"), MR_STR("k")}};
    struct mr_http_head head = r->head;
    head.headers = headers;
    head.headers_count = 1;
    struct mr_signed_request req = {.head = &head, .body = r->body, .url = url};
    mr_buf_init(&lines, 4096);
    mr_buf_init(&changed, 1 << 20);
    if (mr_sign(v, &req, NOW_US, &lines, &changed, &err) != MR_OK) { /* of a private key, or of fields that this body lacks */
        const struct mr_scheme *s = mr_verifier_scheme(v);
        if (s->kind == MR_KIND_MAC && !s->signature && !strstr(s->text, "{json") && !strstr(s->text, "{form") && !s->timestamp)
            fail(err.msg);
        mr_buf_free(&lines);
        mr_buf_free(&changed);
        return;
    }
    for (const char *p = mr_buf_cstr(&lines); *p;) {
        const char *end = strstr(p, "\r\n"), *colon = strstr(p, ": ");
        if (!end || !colon || colon > end || head.headers_count == HEADERS_MAX)
            fail("not a header line");
        headers[head.headers_count++] = (struct mr_header){{p, (size_t)(colon - p)}, {colon + 2, (size_t)(end - colon - 2)}};
        p = end + 2;
    }
    struct request sent = *r;
    if (changed.n)
        sent.body = mr_buf_str(&changed);
    if (judge(v, &sent, &head, url) != MR_CAUSE_NONE) {
        fprintf(stderr, "%s: ", mr_verifier_scheme(v)->name);
        fail("our own signature is refused");
    }
    mr_buf_free(&lines);
    mr_buf_free(&changed);
}

static void explain_agrees(const struct mr_verify_options *verify, const struct request *r, enum mr_cause cause)
{
    char *methods[] = {text("POST")};
    const struct webhook_options o = {
        .path = text("/in"), .public_url = text("https://example.com/in"), .methods = {methods, 1}, .body_limit = 1 << 20, .verify = *verify};
    const struct hub_options hub = {.http = {.listen = text("127.0.0.1:8080")}};
    struct mr_buf json, target;
    mr_buf_init(&json, 1 << 16);
    mr_buf_init(&target, r->head.query.n + 16);
    mr_buf_puts(&target, "/in");
    if (r->head.query.n) {
        mr_buf_putc(&target, '?');
        mr_buf_put(&target, r->head.query.p, r->head.query.n);
    }
    const struct mr_captured c = {
        .method = r->head.method, .target = mr_buf_str(&target), .body = r->body, .headers = r->headers, .headers_count = r->head.headers_count};
    bool accepted = webhook_explain(&o, &hub, &c, NOW_US, &json);
    if (mr_json_check(mr_buf_str(&json), NULL) != MR_OK)
        fail("explain does not speak JSON");
    if (accepted && cause != MR_CAUSE_NONE)
        fail("explain accepts what the door refuses");
    if (!accepted && cause == MR_CAUSE_NONE && !strstr(mr_buf_cstr(&json), "gzip") && !strstr(mr_buf_cstr(&json), "body_limit"))
        fail("explain refuses what the door accepts");
    mr_buf_free(&target);
    mr_buf_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct mr_verify_options o;
    struct mr_secret secrets[2];
    struct request r;
    struct mr_verifier *v;
    struct mr_err err;
    if (n == 0)
        return 0;
    char *copy = malloc(n);
    if (!copy)
        return 0;
    memcpy(copy, bytes, n);
    options_of(bytes[0], &o, secrets);
    read_request((struct mr_str){copy + 1, n - 1}, &r);
    if (mr_verifier_new(&o, &v, &err) != MR_OK)
        fail(err.msg);
    struct mr_buf url, guess;
    mr_buf_init(&url, n + 64);
    mr_buf_init(&guess, 4096);
    mr_buf_puts(&url, "https://example.com/in");
    if (r.head.query.n) {
        mr_buf_putc(&url, '?');
        mr_buf_put(&url, r.head.query.p, r.head.query.n);
    }
    enum mr_cause cause = judge(v, &r, &r.head, mr_buf_str(&url));
    struct mr_signed_request req = {.head = &r.head, .body = r.body, .url = mr_buf_str(&url)};
    mr_verify_guess(v, &req, &guess);
    what_is_signed_is_accepted(v, &r, mr_buf_str(&url));
    explain_agrees(&o, &r, cause);
    mr_buf_free(&guess);
    mr_buf_free(&url);
    mr_verifier_free(v);
    free(copy);
    return 0;
}
