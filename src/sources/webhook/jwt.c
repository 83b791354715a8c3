/* SPDX-License-Identifier: Apache-2.0 */
#include "jwt.h"

#include "millrace/hash.h"
#include "millrace/json.h"

static bool decode_json(struct mr_str part, struct mr_buf *scratch, struct mr_str *out)
{
    size_t at = scratch->n, n = 0;
    if (part.n == 0 || !mr_buf_reserve(scratch, part.n) ||
        !mr_base64_get(part, true, (unsigned char *)scratch->p + at, part.n, &n))
        return false;
    scratch->n += n;
    *out = (struct mr_str){scratch->p + at, n};
    return mr_json_check(*out, NULL) == MR_OK;
}

static bool text_is(struct mr_json_slice s, const char *wanted)
{
    size_t n = strlen(wanted);
    return s.type == MR_JSON_STRING && s.raw.n == n + 2 && memcmp(s.raw.p + 1, wanted, n) == 0;
}

const char *mr_jwt_cut(struct mr_str token, const char *alg, struct mr_buf *scratch, struct mr_jwt *out)
{
    const char *first = token.n ? memchr(token.p, '.', token.n) : NULL;
    const char *second = first ? memchr(first + 1, '.', token.n - (size_t)(first + 1 - token.p)) : NULL;
    if (!second)
        return "not three parts joined by `.`";
    size_t signature = token.n - (size_t)(second + 1 - token.p);
    out->signed_text = (struct mr_str){token.p, (size_t)(second - token.p)};
    if (!mr_base64_get((struct mr_str){second + 1, signature}, true, out->signature, sizeof out->signature, &out->signature_n))
        return "its signature is not base64url";
    if (!decode_json((struct mr_str){token.p, (size_t)(first - token.p)}, scratch, &out->header) ||
        !decode_json((struct mr_str){first + 1, (size_t)(second - first - 1)}, scratch, &out->claims))
        return "header or claims are not JSON in base64url";
    if (!text_is(mr_json_at(out->header, MR_STR("/alg")), alg))
        return "its alg is another one than this scheme's";
    if (mr_json_at(out->header, MR_STR("/crit")).type != MR_JSON_ABSENT)
        return "it has critical extensions";
    return NULL;
}
