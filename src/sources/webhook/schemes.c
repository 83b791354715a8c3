/* SPDX-License-Identifier: Apache-2.0 */
/* schemes.c - finding a row of the scheme table, and the options that a config gives for it. */
#include "scheme.h"

#include <strings.h>

const struct mr_scheme *mr_scheme_find(const char *name)
{
    for (size_t i = 0; i < mr_schemes_count; i++)
        if (strcmp(mr_schemes[i].name, name) == 0)
            return &mr_schemes[i];
    return NULL;
}

void mr_scheme_near(const char *name, struct mr_buf *out)
{
    size_t before = out->n;
    for (size_t i = 0; i < mr_schemes_count; i++)
        if (strlen(name) > 1 && strncasecmp(mr_schemes[i].name, name, 2) == 0) {
            mr_buf_puts(out, out->n == before ? "" : ", ");
            mr_buf_puts(out, mr_schemes[i].name);
        }
}

static const char *const digests[] = {"sha1", "sha256", "sha512", NULL};
static const char *const encodings[] = {"hex", "base64", "base64url", NULL};
static const char *const key_forms[] = {"text", "hex", "base64", NULL};
static const char *const units[] = {"s", "ms", "rfc3339", NULL};

#define RETIRING(field) offsetof(struct mr_retiring, field)
static const struct mr_option retiring_rows[] = {
    {.name = "secret", .type = MR_T_SECRET, .offset = RETIRING(secret), .flags = MR_OPT_MANDATORY, .doc = "The old secret."},
    {.name = "until",
     .type = MR_T_TIME,
     .offset = RETIRING(until_us),
     .flags = MR_OPT_MANDATORY,
     .doc = "Up to when it is taken, such as 2026-12-31T00:00:00Z; from then on a request signed by it is refused."},
    {0},
};

#define AT(field) offsetof(struct mr_verify_options, field)
const struct mr_option mr_verify_rows[] = {
    {.name = "scheme",
     .type = MR_T_STRING,
     .offset = AT(scheme),
     .flags = MR_OPT_MANDATORY,
     .doc = "Which vendor's signature: a name of docs/webhook-schemes.md, such as github, shopify, slack, standard, stripe, "
            "twilio; hmac for any other, with its parts below; token for a secret as such in `header`; none to accept anything, "
            "which warns."},
    {.name = "secrets",
     .type = MR_T_SECRETS,
     .offset = AT(secrets),
     .doc = "One secret or several (rotation: put the new one beside the old until the vendor has switched). Each is "
            "tried."},
    {.name = "retiring",
     .type = MR_T_LIST,
     .offset = AT(retiring),
     .sub = retiring_rows,
     .sub_size = sizeof(struct mr_retiring),
     .max = "8",
     .doc = "Old secrets with an end date, tried after `secrets`: a rotation that ends by itself. millrace_webhook_secret_matched_total says whether one is still in use."},
    {.name = "digest",
     .type = MR_T_ENUM,
     .offset = AT(digest),
     .def = "sha256",
     .choices = digests,
     .doc = "hmac: the digest."},
    {.name = "encoding",
     .type = MR_T_ENUM,
     .offset = AT(encoding),
     .def = "hex",
     .choices = encodings,
     .doc = "hmac: how the signature is written."},
    {.name = "key",
     .type = MR_T_ENUM,
     .offset = AT(key),
     .def = "text",
     .choices = key_forms,
     .doc = "hmac: what the secret is: the text itself, or bytes written as hex or base64."},
    {.name = "header",
     .type = MR_T_STRING,
     .offset = AT(header),
     .doc = "hmac, token: the header with the signature. There it or `signature` is mandatory."},
    {.name = "signature",
     .type = MR_T_STRING,
     .offset = AT(signature),
     .doc = "hmac, token: where the signature is instead: `json:/pointer` or `form:name`, in the body."},
    {.name = "prefix",
     .type = MR_T_STRING,
     .offset = AT(prefix),
     .doc = "hmac: text in front of the signature, such as `sha256=`."},
    {.name = "separator",
     .type = MR_T_STRING,
     .offset = AT(separator),
     .doc = "hmac: one character between the elements of a list of signatures, such as `,`. Without it the header is "
            "one signature."},
    {.name = "assign",
     .type = MR_T_STRING,
     .offset = AT(assign),
     .doc = "hmac: one character between an element's key and its value, such as `=`."},
    {.name = "take",
     .type = MR_T_STRING,
     .offset = AT(take),
     .doc = "hmac: key of the elements that are signatures, such as `v1`."},
    {.name = "signed",
     .type = MR_T_STRING,
     .offset = AT(text),
     .doc = "hmac: what is signed, as text with {body}, {timestamp}, {id}, {method}, {url}, {path}, {query}, "
            "{header:Name}, {json:/pointer}, {json?:/pointer} (empty if absent), {form:name}, {query:name}, {form} (its names and "
            "values, sorted); `{{` is a brace. Default `{body}`."},
    {.name = "timestamp",
     .type = MR_T_STRING,
     .offset = AT(timestamp),
     .doc = "hmac: where the time is: `header:Name`, `element:key` (of the signature's list), `json:/pointer` or `form:name`. It must be among what "
            "is signed."},
    {.name = "unit",
     .type = MR_T_ENUM,
     .offset = AT(unit),
     .def = "s",
     .choices = units,
     .doc = "hmac: how the time is written."},
    {.name = "id", .type = MR_T_STRING, .offset = AT(id), .doc = "hmac: `header:Name` that {id} stands for."},
    {.name = "audience", .type = MR_T_STRING, .offset = AT(audience), .doc = "google-oidc: whom the token must be for; the push endpoint's address, if nothing else was given there."},
    {.name = "email", .type = MR_T_STRING, .offset = AT(email), .doc = "google-oidc: the service account that must have sent it."},
    {.name = "tolerance",
     .type = MR_T_DURATION,
     .offset = AT(tolerance_ms),
     .min = "1s",
     .max = "1d",
     .doc = "How old, or how far in the future, a signed time may be (replay window). Default: the scheme's, 5m."},
    {0},
};
