/* SPDX-License-Identifier: Apache-2.0 */
/* verifier.h - a verifier from the inside: made by verifier.c, judged with in verify.c, signed with in sign.c. Private to them. */
#ifndef MR_WEBHOOK_VERIFIER_H
#define MR_WEBHOOK_VERIFIER_H

#include "scheme.h"

#include "millrace/pubkey.h"

enum { PIECES_MAX = 32, SIGNATURES_MAX = 16, SECRETS_MAX = 16, SIGNATURE_BYTES = 512 /* RSA of 4096 bits */, SCRATCH_KEPT = 256 << 10 };

enum piece_kind {
    PIECE_LITERAL,
    PIECE_BODY,
    PIECE_TIMESTAMP,
    PIECE_ID,
    PIECE_METHOD,
    PIECE_URL,
    PIECE_PATH,
    PIECE_QUERY,
    PIECE_SECRET,
    PIECE_FORM, /* all of it, sorted */
    PIECE_SNS,  /* its named fields, by lines */
    PIECE_CRC32 /* of the body, decimal */,
    PIECE_HEADER,
    PIECE_JSON,
    PIECE_JSON_MAYBE,
    PIECE_FORM_FIELD,
    PIECE_QUERY_FIELD
};
struct piece {
    enum piece_kind kind;
    struct mr_str text; /* LITERAL: the text; HEADER and fields: the name. Into v->text */
};

enum place_kind { PLACE_NONE, PLACE_HEADER, PLACE_ELEMENT, PLACE_FIRST, PLACE_JSON, PLACE_FORM };
struct place {
    enum place_kind kind;
    struct mr_str name;
};

struct key { /* what a secret became, by the scheme's kind */
    struct mr_hmac_key *mac;
    struct mr_pubkey *public;
    char *text; /* cleansed on free */
    size_t n;
    int64_t until_us; /* it is not tried afterwards */
};

struct mr_verifier {
    struct mr_scheme scheme; /* a preset, or hmac with the config's parts (strings below) */
    char *text;              /* the template, literals unescaped in place */
    struct piece pieces[PIECES_MAX];
    size_t pieces_count;
    struct key keys[SECRETS_MAX];
    size_t keys_count;
    struct mr_hmac_key *blind; /* of random bytes: tokens are compared by their MACs, which says nothing of them */
    char *header, *prefix, *take, *timestamp, *id, *signature, *audience, *email;
    struct place time, where; /* where the timestamp and the signatures are */
    int64_t now_us; /* while one request is judged */
    bool covers_body, reads_json;
    bool decodes;           /* something has to be decoded: */
    struct mr_buf scratch;  /* into here, while one request is judged */
    struct mr_buf message;  /* what is signed in one piece, where a library wants it so */
};

struct judged { /* what was read from the request */
    struct mr_str timestamp, id;
    unsigned char signatures[SIGNATURES_MAX][SIGNATURE_BYTES];
    size_t sizes[SIGNATURES_MAX], signatures_count;
};

static inline bool verifier_ended(const struct mr_verifier *v, const struct key *key)
{
    return v->now_us > key->until_us;
}

/* verify.c, for sign.c */
bool verifier_judge(struct mr_verifier *v, const struct mr_signed_request *req, struct judged *j, struct mr_verified *out);
bool verifier_fill(struct mr_verifier *v, const struct mr_signed_request *req, const struct judged *j, struct mr_str *filled,
                   struct mr_verified *out);
bool verifier_scratch(struct mr_verifier *v, const struct mr_signed_request *req);
struct mr_str verifier_joined(struct mr_verifier *v, const struct mr_str *filled, const struct key *key);
/* Against v's secrets; SECRETS_MAX: none. */
size_t verifier_match(struct mr_verifier *v, const struct mr_signed_request *req, const struct judged *j, struct mr_verified *out);

#endif
