/* SPDX-License-Identifier: Apache-2.0 */
/* scheme.h - signature schemes are data: what is signed, digest, encoding, where signature and timestamp are,
 * tolerance.
 *
 * A preset for a known vendor is a row of the table in vendors.c; `hmac` is the row whose parts the config gives. A
 * verifier is a row joined with a source's secrets, ready to judge requests; the same row signs for `millrace send`.
 * Pure: time is an argument.
 *
 * Rules that keep it safe: every header the scheme reads must be there exactly once; one timestamp feeds both freshness
 * and MAC; decimals, hex and base64 are strict and of exactly the right length; the algorithm comes from the config,
 * never from the request; every secret is tried; at most SIGNATURES_MAX signatures are looked at; comparison takes
 * constant time. */
#ifndef MR_WEBHOOK_SCHEME_H
#define MR_WEBHOOK_SCHEME_H

#include "millrace/hash.h"
#include "millrace/http.h"
#include "millrace/option.h"

enum mr_encoding { MR_ENC_HEX, MR_ENC_BASE64, MR_ENC_BASE64URL };
enum mr_key_form { MR_KEY_TEXT, MR_KEY_HEX, MR_KEY_BASE64, MR_KEY_SHA1 /* of the text */ };
enum mr_time_unit { MR_UNIT_S, MR_UNIT_MS, MR_UNIT_RFC3339 };

enum mr_scheme_kind {
    MR_KIND_MAC,     /* HMAC over the text */
    MR_KIND_HASH,    /* a plain digest of a text that has the {secret} in it */
    MR_KIND_TOKEN,   /* the secret itself, behind the prefix */
    MR_KIND_BASIC,   /* the secret is user:password */
    MR_KIND_ED25519, /* the secrets are public keys */
    MR_KIND_ECDSA,
    MR_KIND_RSA, /* PKCS #1 v1.5 by a certificate whose URL the request names; the secrets, if any, are parts of the text */
    MR_KIND_OIDC, /* Google's OpenID token, by certificates from one URL; there is no secret, but whom the token must be for and from */
    MR_KIND_JWT, /* a JSON Web Token over a digest of the body: HS256, or with MR_KIND_ECDSA's keys ES256 */
};

struct mr_scheme {
    const char *name;
    enum mr_scheme_kind kind;
    bool none; /* accepts anything, in words */
    enum mr_digest digest;
    enum mr_encoding encoding;
    enum mr_key_form key;
    const char *key_prefix; /* stripped from the secret if it is there: "whsec_" */
    const char *header;     /* where the signature is */
    const char *header2;    /* a second one may be there instead or too, of another key; or NULL */
    bool numbered;          /* header is the first part of a name: what follows is 1, 2, 3 ... */
    const char *signature;  /* instead of a header: "json:/pointer", "form:name" */
    char groups;            /* between groups of elements, each with a timestamp and signatures of its own; 0: one group */
    bool first_is_time;     /* the list's first element is the timestamp */
    const char *prefix;     /* in front of each signature: "sha256="; "" if none */
    char list;              /* between elements of that header: ','; 0: the header is one signature */
    bool spaced;            /* a blank stands before each element but the first */
    char assign;            /* between an element's key and value: '='; 0: elements are bare signatures */
    const char *take;       /* key of the elements that are signatures: "v1" */
    /* What is signed: text with {body} {timestamp} {id} {method} {url} {path} {query} {secret} {header:Name} {json:/pointer}
     * {json?:/pointer} (empty if it is absent) {form:name} {query:name} {form} (sorted names and values); "{{" is a brace. */
    const char *text;
    const char *timestamp; /* "header:Name", "element:t", "json:/pointer", "form:name"; or NULL: no replay window */
    enum mr_time_unit unit;
    int64_t tolerance_ms; /* both sides of now */
    const char *id;       /* header that {id} stands for, or NULL */
    const char *covers;   /* what of the body a good signature vouches for; NULL: "body" if {body} is in the text, else "token" */
    bool url_ports;       /* the URL may have been signed with its port or without */
    bool url_decoded;     /* certain escapes of the URL are signed decoded */
    const char *body_hash; /* query parameter with the hex SHA-256 of a body that is no form */
    const char *one_item; /* JSON array of the body that must have one item: only the first is signed */
    const char *jwt_claim, *jwt_issuer; /* claim with the hex SHA-256 of the body; iss, or NULL */
    bool jwt_es256;
    const char *cert_url;              /* RSA: "header:Name" or "json:/pointer"; OIDC: the URL itself */
    bool (*cert_url_ok)(struct mr_str url); /* host, path, https: all else is somebody's wish that we call somewhere */
    bool (*cert_ok)(struct mr_str body, const char **why); /* is what came from there what is wanted? */
    const char *version;               /* RSA: json:/pointer to "1" (SHA-1) or "2" (SHA-256); NULL: SHA-256 */
    const char *algorithm, *algorithm_is; /* header that must say so, in letters of any case */
    bool keyless;                      /* there is no secret */
    const char *dedup_doc; /* what to give as dedup.id, for the reference; or NULL */
};
extern const struct mr_scheme mr_schemes[]; /* vendors.c */
extern const size_t mr_schemes_count;
const struct mr_scheme *mr_scheme_find(const char *name);
void mr_schemes_page(struct mr_buf *out); /* page.c: docs/webhook-schemes.md */
void mr_scheme_near(const char *name, struct mr_buf *out); /* "github, gitlab": those that begin alike; for messages */

/* Options below `verify`; shared with the door's table. */
struct mr_retiring { /* a secret that is on its way out */
    struct mr_secret secret;
    int64_t until_us;
};
struct mr_verify_options {
    char *scheme;
    struct mr_secrets secrets;
    struct mr_list retiring; /* of mr_retiring; numbered behind the secrets */
    int digest, encoding, key, unit; /* hmac's parts */
    char *header, *prefix, *separator, *assign, *take, *text, *timestamp, *id, *signature, *audience, *email;
    int64_t tolerance_ms; /* 0: the scheme's */
};
extern const struct mr_option mr_verify_rows[];

enum mr_cause {
    MR_CAUSE_NONE,
    MR_CAUSE_ROUTE,
    MR_CAUSE_METHOD,
    MR_CAUSE_MISSING,
    MR_CAUSE_FORMAT,
    MR_CAUSE_SIGNATURE,
    MR_CAUSE_TIMESTAMP,
    MR_CAUSE_HANDSHAKE,
    MR_CAUSE_SIZE,
    MR_CAUSE_CODING,
    MR_CAUSE_ADDRESS,
    MR_CAUSE_RATE,
    MR_CAUSES
};
const char *mr_cause_name(enum mr_cause c); /* "signature" */

struct mr_signed_request { /* what a verifier looks at */
    const struct mr_http_head *head;
    struct mr_str cert;      /* RSA: PEM; empty: it is not here */
    const char *no_cert;     /* why not; NULL: nobody has looked */
    struct mr_str body, url; /* url: the configured public one with the request's query; empty if none is configured */
};
struct mr_verified {
    enum mr_cause cause; /* NONE: accepted */
    unsigned secret;     /* which matched */
    const char *covers;  /* body, token, none */
    char reason[160];    /* for explain and a sampled log line; neither secret nor digest gets in */
    bool unknown_key;    /* OIDC: refused, but newer certificates might have its key */
};

struct mr_verifier;
/* Fails with MR_ECONFIG: unknown scheme (names the known), part missing, bad template, secret not in its form. */
MR_MUST enum mr_code mr_verifier_new(const struct mr_verify_options *options, struct mr_verifier **out,
                                     struct mr_err *err);
void mr_verifier_free(struct mr_verifier *v);
const struct mr_scheme *mr_verifier_scheme(const struct mr_verifier *v);
bool mr_verifier_needs_url(const struct mr_verifier *v);
/* RSA: the URL of the certificate that the request names, if it is one where it may be; borrowed from the request. */
bool mr_verifier_cert_url(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_str *url);
/* Runs on: loop (the prepared keys are its). */
void mr_verify(struct mr_verifier *v, const struct mr_signed_request *req, int64_t now_us, struct mr_verified *out);
/* Header lines ("Name: value\r\n"…) that make `req` acceptable now, by the first secret; `changed` is the body to send then, or empty if that is req's: time
 * and signature may be fields of it. Headers that the text names must be in req->head already. MR_ECONFIG: why not. */
MR_MUST enum mr_code mr_sign(struct mr_verifier *v, const struct mr_signed_request *req, int64_t now_us,
                             struct mr_buf *headers, struct mr_buf *changed, struct mr_err *err);
bool mr_verifier_reads_form(const struct mr_verifier *v); /* its body is a form: application/x-www-form-urlencoded */
/* Why did the signature not match? Tries what usually goes wrong with the body: re-encoded, white space or line end at
 * its end. Appends a sentence or nothing. */
void mr_verify_guess(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_buf *out);

#endif
