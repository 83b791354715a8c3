/* SPDX-License-Identifier: Apache-2.0 */
/* schemes.c - the vendors, as rows. Formats as their own documentation gives them. */
#include "scheme.h"

enum { FIVE_MINUTES_MS = 300000 };

const struct mr_scheme mr_schemes[] = {
    {
        .name = "none",
        .none = true,
        .text = "",
    },
    {
        /* https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries */
        .name = "github",
        .digest = MR_SHA256,
        .encoding = MR_ENC_HEX,
        .header = "X-Hub-Signature-256",
        .prefix = "sha256=",
        .text = "{body}",
        .id_header_doc = "X-GitHub-Delivery",
    },
    {
        /* The row whose parts the config gives; these are their defaults. */
        .name = "hmac",
        .digest = MR_SHA256,
        .encoding = MR_ENC_HEX,
        .prefix = "",
        .text = "{body}",
        .tolerance_ms = FIVE_MINUTES_MS,
    },
    {
        /* https://shopify.dev/docs/apps/build/webhooks/subscribe/https */
        .name = "shopify",
        .digest = MR_SHA256,
        .encoding = MR_ENC_BASE64,
        .header = "X-Shopify-Hmac-Sha256",
        .prefix = "",
        .text = "{body}",
        .id_header_doc = "X-Shopify-Event-Id",
    },
    {
        /* https://api.slack.com/authentication/verifying-requests-from-slack */
        .name = "slack",
        .digest = MR_SHA256,
        .encoding = MR_ENC_HEX,
        .header = "X-Slack-Signature",
        .prefix = "v0=",
        .text = "v0:{timestamp}:{body}",
        .timestamp = "header:X-Slack-Request-Timestamp",
        .tolerance_ms = FIVE_MINUTES_MS,
        .id_header_doc = "body event_id",
    },
    {
        /* https://www.standardwebhooks.com, version 1.0 */
        .name = "standard",
        .digest = MR_SHA256,
        .encoding = MR_ENC_BASE64,
        .key = MR_KEY_BASE64,
        .key_prefix = "whsec_",
        .header = "webhook-signature",
        .prefix = "",
        .list = ' ',
        .assign = ',',
        .take = "v1",
        .text = "{id}.{timestamp}.{body}",
        .timestamp = "header:webhook-timestamp",
        .tolerance_ms = FIVE_MINUTES_MS,
        .id = "webhook-id",
        .id_header_doc = "webhook-id",
    },
    {
        /* https://docs.stripe.com/webhooks/signatures; the secret is used as text, whsec_ included. Unlike the vendor's
         * own libraries we bound the future side too. */
        .name = "stripe",
        .digest = MR_SHA256,
        .encoding = MR_ENC_HEX,
        .header = "Stripe-Signature",
        .prefix = "",
        .list = ',',
        .assign = '=',
        .take = "v1",
        .text = "{timestamp}.{body}",
        .timestamp = "element:t",
        .tolerance_ms = FIVE_MINUTES_MS,
        .id_header_doc = "body id",
    },
};
const size_t mr_schemes_count = MR_COUNT(mr_schemes);

const struct mr_scheme *mr_scheme_find(const char *name)
{
    for (size_t i = 0; i < mr_schemes_count; i++)
        if (strcmp(mr_schemes[i].name, name) == 0)
            return &mr_schemes[i];
    return NULL;
}

void mr_scheme_names(struct mr_buf *out)
{
    for (size_t i = 0; i < mr_schemes_count; i++) {
        mr_buf_puts(out, i ? ", " : "");
        mr_buf_puts(out, mr_schemes[i].name);
    }
}

static const char *const digests[] = {"sha1", "sha256", "sha512", NULL};
static const char *const encodings[] = {"hex", "base64", "base64url", NULL};
static const char *const key_forms[] = {"text", "hex", "base64", NULL};
static const char *const units[] = {"s", "ms", "rfc3339", NULL};

#define AT(field) offsetof(struct mr_verify_options, field)
const struct mr_option mr_verify_rows[] = {
    {.name = "scheme",
     .type = MR_T_STRING,
     .offset = AT(scheme),
     .flags = MR_OPT_MANDATORY,
     .doc = "Which vendor's signature: github, shopify, slack, standard, stripe; hmac for any other, with its parts "
            "below; none to accept "
            "anything, which warns."},
    {.name = "secrets",
     .type = MR_T_SECRETS,
     .offset = AT(secrets),
     .doc = "One secret or several (rotation: put the new one beside the old until the vendor has switched). Each is "
            "tried."},
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
     .doc = "hmac: the header with the signature. Mandatory there."},
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
            "{header:Name}; `{{` is a "
            "brace. Default `{body}`."},
    {.name = "timestamp",
     .type = MR_T_STRING,
     .offset = AT(timestamp),
     .doc = "hmac: where the time is: `header:Name` or `element:key` (of the signature's list). It must be among what "
            "is signed."},
    {.name = "unit",
     .type = MR_T_ENUM,
     .offset = AT(unit),
     .def = "s",
     .choices = units,
     .doc = "hmac: how the time is written."},
    {.name = "id", .type = MR_T_STRING, .offset = AT(id), .doc = "hmac: `header:Name` that {id} stands for."},
    {.name = "tolerance",
     .type = MR_T_DURATION,
     .offset = AT(tolerance_ms),
     .min = "1s",
     .max = "1d",
     .doc = "How old, or how far in the future, a signed time may be (replay window). Default: the scheme's, 5m."},
    {0},
};
