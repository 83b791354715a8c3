/* SPDX-License-Identifier: Apache-2.0 */
/* page.c - `millrace config schemes`: the scheme table as a page for people (docs/webhook-schemes.md). */
#include "oidc.h"
#include "scheme.h"

static const char intro[] =
    "# Webhook signature schemes\n"
    "\n"
    "<!-- Printed by `millrace config schemes`. Do not edit. -->\n"
    "\n"
    "Three lines switch a vendor on:\n"
    "\n"
    "    stripe:\n"
    "      webhook: {path: /hooks/stripe, verify: {scheme: stripe, secrets: [\"${env:STRIPE_WHSEC}\"]}}\n"
    "\n"
    "Each scheme is a row of one table in the program (`src/sources/webhook/vendors.c`); this page is printed from it. What all of them keep to:\n"
    "\n"
    "- Every header that the scheme reads must be there exactly once; digits, hex and base64 are strict and of exactly the right length.\n"
    "- Every secret is tried, and the record says which one matched (`verified.secret`, counted in `millrace_webhook_secret_matched_total`).\n"
    "- An old secret may stand under `retiring` with the time up to which it is taken: a rotation that ends by itself.\n"
    "- The algorithm comes from the scheme, never from the request. Comparison takes constant time.\n"
    "- A signed time must lie within the tolerance on both sides of now; `verify.tolerance` changes it. Where no time is signed, only `dedup` keeps\n"
    "  a replayed request from landing twice.\n"
    "- *Covers* says what a good signature vouches for, and stands in each record (`verified.covers`): `body`, `fields` (those that are signed, no others),\n"
    "  or `token` (that the sender knows the secret; of this body it says nothing).\n"
    "\n"
    "`{body}` stands for the bytes as received, before gzip is undone. Schemes whose text names `{url}` need `public_url`: the address as the vendor calls it.\n"
    "\n"
    "| scheme | signature | what is signed | how | time, tolerance | covers | id for `dedup` |\n"
    "|---|---|---|---|---|---|---|\n";

static const char outro[] =
    "\n"
    "Others by these names: Standard Webhooks (`standard`) is what OpenAI, Replicate, Supabase, Render and many more send; `svix` is Clerk, Resend, Brex\n"
    "and whoever sends with Svix; Postmark and Chargebee use `basic`; `gitlab` is the token, and with a signing token `standard` is the better choice.\n"
    "\n"
    "## Trying one\n"
    "\n"
    "`millrace send` signs for every scheme whose secret is shared, as the vendor would: headers, the form's or JSON's Content-Type, a digest in the URL. Where signature and\n"
    "time are fields of the body, it writes them over those that the body has, so a captured request will do. For public keys and certificates only the vendor can sign: hold a\n"
    "captured request against the config with `millrace explain`.\n"
    "\n"
    "## Certificates that a request names: SNS, PayPal, Google\n"
    "\n"
    "    sns_orders:\n"
    "      webhook: {path: /hooks/sns, verify: {scheme: sns}, handshake: {kind: sns, topics: [\"arn:aws:sns:eu-west-1:123456789012:orders\"]}, dedup: {id: /MessageId}}\n"
    "    paypal:\n"
    "      webhook: {path: /hooks/paypal, verify: {scheme: paypal, secrets: [\"${env:PAYPAL_WEBHOOK_ID}\"]}, dedup: {id: /id}}\n"
    "    pubsub: # push with authentication; also Cloud Tasks and Cloud Scheduler\n"
    "      webhook: {path: /hooks/pubsub, verify: {scheme: google-oidc, audience: \"https://hooks.example.com/hooks/pubsub\", email: push@project.iam.gserviceaccount.com}, dedup: {id: /message/messageId}}\n"
    "\n"
    "The certificate is fetched by https from where the vendor has them (`https://sns.REGION.amazonaws.com/NAME.pem`, `https://api.paypal.com/v1/notifications/certs/CERT-…`, `" OIDC_CERTS_URL "`) and\n"
    "from nowhere else: no redirects, no private addresses, 64 KiB at most, off the loop. Until it is here the vendor gets 503 with Retry-After and sends again, which both\n"
    "do. It serves for a week and is asked for again after a day. A URL under which there is no certificate is known for a minute, and requests that name it are\n"
    "refused as forged; a host that cannot be reached is asked again after half a minute. A source asks for one URL a second, eight at once, and a\n"
    "certificate that has served is not given up for names that strangers make up: only a new one can be delayed, as long as their flood lasts; `allow` and `rate_per_client` help.\n"
    "The certificate's chain and subject are not looked at: TLS and the URL vouch for it.\n"
    "\n"
    "SNS signs for anybody with an AWS account: name your `topics`. Its raw message delivery has no signature. `millrace explain` fetches nothing, so it cannot judge these.\n"
    "\n"
    "## A vendor that is not here\n"
    "\n"
    "`hmac` takes the parts from the config, `token` a secret as such:\n"
    "\n"
    "    verify:\n"
    "      scheme: hmac\n"
    "      secrets: [\"${env:ACME_SECRET}\"]\n"
    "      header: Acme-Signature        # t=1700000000,v1=5257a8…,v1=…\n"
    "      separator: \",\"\n"
    "      assign: \"=\"\n"
    "      take: v1\n"
    "      timestamp: element:t\n"
    "      signed: \"{timestamp}.{body}\"\n"
    "\n"
    "    verify: {scheme: token, secrets: [\"${env:ACME_TOKEN}\"], header: X-Acme-Token}\n"
    "\n"
    "The parts are in the config reference (config.md, `verify`). `{secret}` and the public-key kinds are for the program's own rows.\n"
    "`millrace explain -c FILE SOURCE REQUEST.json` says why a captured request is refused, `millrace send` signs one.\n";

static void put_code(struct mr_buf *out, const char *text)
{
    mr_buf_putc(out, '`');
    for (const char *p = text; *p; p++) {
        if (*p == '|')
            mr_buf_putc(out, '\\'); /* a bar ends a cell, in code too */
        mr_buf_putc(out, *p);
    }
    mr_buf_putc(out, '`');
}

static void put_where(const struct mr_scheme *s, struct mr_buf *out)
{
    put_code(out, s->signature ? s->signature : s->header ? s->header : "header: of the config");
    if (s->numbered)
        mr_buf_puts(out, " and 1, 2, …");
    if (s->header2) {
        mr_buf_puts(out, " or ");
        put_code(out, s->header2);
    }
    if (*s->prefix) {
        mr_buf_puts(out, ", after ");
        put_code(out, s->prefix);
    }
    if (s->take) {
        mr_buf_puts(out, ", list: ");
        put_code(out, s->take);
    } else if (s->list) {
        mr_buf_puts(out, ", list");
    }
}

static void put_how(const struct mr_scheme *s, struct mr_buf *out)
{
    static const char *const digests[] = {[MR_SHA1] = "SHA-1", [MR_SHA256] = "SHA-256", [MR_SHA512] = "SHA-512"};
    static const char *const encodings[] = {[MR_ENC_HEX] = "hex", [MR_ENC_BASE64] = "base64", [MR_ENC_BASE64URL] = "base64url"};
    static const char *const keys[] = {[MR_KEY_TEXT] = "", [MR_KEY_HEX] = ", secret in hex", [MR_KEY_BASE64] = ", secret in base64",
                                       [MR_KEY_SHA1] = ", key: SHA-1 of the secret"};
    switch (s->kind) {
    case MR_KIND_MAC:
        mr_buf_printf(out, "HMAC-%s, %s%s", digests[s->digest], encodings[s->encoding], keys[s->key]);
        break;
    case MR_KIND_HASH:
        mr_buf_printf(out, "%s, %s", digests[s->digest], encodings[s->encoding]);
        break;
    case MR_KIND_TOKEN:
        mr_buf_puts(out, "the secret itself");
        break;
    case MR_KIND_BASIC:
        mr_buf_puts(out, "the secret is `user:password`");
        break;
    case MR_KIND_ED25519:
        mr_buf_printf(out, "Ed25519, %s; the secret is the public key", encodings[s->encoding]);
        break;
    case MR_KIND_ECDSA:
        mr_buf_printf(out, "ECDSA P-256, %s; the secret is the public key", encodings[s->encoding]);
        break;
    case MR_KIND_RSA:
        mr_buf_printf(out, "RSA PKCS #1 v1.5, %s, by the certificate of `%s`%s", s->version ? "SHA-1 or SHA-256" : "SHA-256", s->cert_url,
                      s->keyless ? "; no secret" : "; the secret is the webhook's id");
        break;
    case MR_KIND_OIDC:
        mr_buf_puts(out, "OpenID token of Google's, RS256; no secret: `audience` and `email`");
        break;
    case MR_KIND_JWT:
        mr_buf_printf(out, "JSON Web Token, %s", s->jwt_es256 ? "ES256; the secret is the public key" : "HS256");
        break;
    }
    if (s->key_prefix)
        mr_buf_printf(out, ", `%s` in front is dropped", s->key_prefix);
}

static void put_signed(const struct mr_scheme *s, struct mr_buf *out)
{
    if (*s->text)
        put_code(out, s->text);
    else if (s->jwt_claim)
        mr_buf_printf(out, "claim `%s`: SHA-256 of the body, %s", s->jwt_claim + 1, s->encoding == MR_ENC_HEX ? "hex" : "base64");
    else
        mr_buf_puts(out, "nothing");
    if (s->body_hash)
        mr_buf_printf(out, "; of a body that is no form its SHA-256 is `%s` of the query", s->body_hash);
    if (s->one_item)
        mr_buf_puts(out, "; one item a request");
}

static void put_time(const struct mr_scheme *s, struct mr_buf *out)
{
    static const char *const units[] = {[MR_UNIT_S] = "s", [MR_UNIT_MS] = "ms", [MR_UNIT_RFC3339] = "RFC 3339"};
    if (!s->timestamp) {
        mr_buf_puts(out, s->kind == MR_KIND_OIDC ? "the token's own" : "none");
        return;
    }
    put_code(out, s->timestamp);
    mr_buf_printf(out, ", %s; %lld min", units[s->unit], (long long)(s->tolerance_ms / 60000));
}

static const char *covers(const struct mr_scheme *s)
{
    return s->none ? "none" : s->covers ? s->covers : strstr(s->text, "{body}") ? "body" : "token";
}

static void put_row(const struct mr_scheme *s, struct mr_buf *out)
{
    mr_buf_puts(out, "| ");
    put_code(out, s->name);
    mr_buf_puts(out, " | ");
    put_where(s, out);
    mr_buf_puts(out, " | ");
    put_signed(s, out);
    mr_buf_puts(out, " | ");
    put_how(s, out);
    mr_buf_puts(out, " | ");
    put_time(s, out);
    mr_buf_printf(out, " | %s | %s |\n", covers(s), s->dedup_doc ? s->dedup_doc : "");
}

void mr_schemes_page(struct mr_buf *out)
{
    mr_buf_puts(out, intro);
    for (size_t i = 0; i < mr_schemes_count; i++) {
        const struct mr_scheme *s = &mr_schemes[i];
        bool of_the_config = s->none || (!s->header && !s->signature);
        if (!of_the_config)
            put_row(s, out);
    }
    mr_buf_puts(out, outro);
}
