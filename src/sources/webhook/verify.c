/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - judges a request by a verifier: reads signatures, time and id from where the scheme has them, fills the pieces of the
 * signed text with slices of the request, and runs one MAC a secret over them, so that a large body is not copied. */
#include "jwt.h"
#include "oidc.h"
#include "place.h"
#include "verifier.h"

#include "millrace/clock.h"
#include "millrace/compress.h"
#include "millrace/json.h"

#include <stdio.h>
#include <strings.h>

const char *mr_cause_name(enum mr_cause c)
{
    static const char *const names[MR_CAUSES] = {"none",      "route",     "method",    "missing", "format",
                                                 "signature", "timestamp", "handshake", "size",    "coding",  "address", "rate"};
    return names[c];
}

static void refuse(struct mr_verified *out, enum mr_cause cause, const char *fmt, ...) MR_PRINTF(3, 4);
static void refuse(struct mr_verified *out, enum mr_cause cause, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    out->cause = cause;
    vsnprintf(out->reason, sizeof out->reason, fmt, args);
    va_end(args);
}

/* Exactly one such header, or the request is refused. */
static bool only_header(const struct mr_http_head *head, struct mr_str name, struct mr_str *value,
                        struct mr_verified *out)
{
    size_t count = mr_http_header(head, name, value);
    if (count == 0)
        refuse(out, MR_CAUSE_MISSING, "header %.*s is missing", (int)name.n, name.p);
    else if (count > 1)
        refuse(out, MR_CAUSE_FORMAT, "header %.*s is there %zu times", (int)name.n, name.p, count);
    return count == 1;
}

/* At most one such header; false: refused. An absent one leaves value.p NULL. */
static bool maybe_header(const struct mr_http_head *head, const char *name, struct mr_str *value, struct mr_verified *out)
{
    size_t count = mr_http_header(head, mr_str_c(name), value);
    if (count == 0)
        *value = (struct mr_str){0};
    if (count > 1)
        refuse(out, MR_CAUSE_FORMAT, "header %s is there %zu times", name, count);
    return count <= 1;
}

static struct mr_str trim(struct mr_str s)
{
    while (s.n && s.p[0] == ' ')
        s = (struct mr_str){s.p + 1, s.n - 1};
    while (s.n && s.p[s.n - 1] == ' ')
        s.n--;
    return s;
}

/* ---- values by place ---- */

static bool found(enum mr_place_found how, const char *what, struct mr_str name, struct mr_verified *out)
{
    int n = (int)(name.n < 80 ? name.n : 80);
    switch (how) {
    case PLACE_FOUND:
        return true;
    case PLACE_ABSENT:
        refuse(out, MR_CAUSE_MISSING, "%s %.*s is missing", what, n, name.p);
        return false;
    case PLACE_TWICE:
        refuse(out, MR_CAUSE_FORMAT, "%s %.*s is there more than once", what, n, name.p);
        return false;
    case PLACE_BAD:
        break;
    }
    refuse(out, MR_CAUSE_FORMAT, "%s %.*s cannot be read", what, n, name.p);
    return false;
}

static bool read_place(struct mr_verifier *v, const struct mr_signed_request *req, struct place place, struct mr_str *value,
                       struct mr_verified *out)
{
    if (place.kind == PLACE_HEADER)
        return only_header(req->head, place.name, value, out);
    if (place.kind == PLACE_JSON)
        return found(place_json(req->body, place.name, &v->scratch, value), "JSON field", place.name, out);
    return found(place_form(req->body, place.name, &v->scratch, value), "form field", place.name, out);
}

bool verifier_scratch(struct mr_verifier *v, const struct mr_signed_request *req)
{
    if (!v->decodes)
        return true;
    if (v->scratch.cap > SCRATCH_KEPT)
        mr_buf_free(&v->scratch); /* a giant's memory is not kept */
    mr_buf_clear(&v->scratch);
    return mr_buf_reserve(&v->scratch, place_room(req));
}

/* ---- signatures ---- */

static bool decode(const struct mr_scheme *s, struct mr_str text, unsigned char out[SIGNATURE_BYTES], size_t *size)
{
    bool digest = s->kind == MR_KIND_MAC || s->kind == MR_KIND_HASH;
    size_t wanted = digest ? mr_digest_size(s->digest) : s->kind == MR_KIND_ED25519 ? 64 : 0;
    if (s->encoding == MR_ENC_HEX) {
        *size = text.n / 2;
        return text.n % 2 == 0 && *size == wanted && mr_hex_get(text, out, *size);
    }
    return mr_base64_get(text, s->encoding == MR_ENC_BASE64URL, out, SIGNATURE_BYTES, size) && (wanted ? *size == wanted : *size > 0);
}

/* What a message calls the place of the signatures. */
static const char *place_name(const struct mr_scheme *s)
{
    return s->signature ? s->signature : s->header;
}

static bool take_signature(const struct mr_scheme *s, struct mr_str text, struct judged *j, struct mr_verified *out)
{
    size_t prefix = strlen(s->prefix), i = j->signatures_count;
    if (text.n < prefix || memcmp(text.p, s->prefix, prefix) != 0) {
        refuse(out, MR_CAUSE_FORMAT, "header %s does not begin with \"%s\"", place_name(s), s->prefix);
        return false;
    }
    if (i == SIGNATURES_MAX) {
        refuse(out, MR_CAUSE_FORMAT, "header %s has more than %d signatures", place_name(s), SIGNATURES_MAX);
        return false;
    }
    if (!decode(s, (struct mr_str){text.p + prefix, text.n - prefix}, j->signatures[i], &j->sizes[i])) {
        bool digest = s->kind == MR_KIND_MAC || s->kind == MR_KIND_HASH;
        refuse(out, MR_CAUSE_FORMAT, "header %s holds no %s %s%zu bytes", place_name(s), s->encoding == MR_ENC_HEX ? "hex" : "base64",
               digest ? "digest of " : "signature of at least ", digest ? mr_digest_size(s->digest) : (size_t)64);
        return false;
    }
    j->signatures_count++;
    return true;
}

static bool take_time(const struct mr_scheme *s, struct mr_str value, struct judged *j, struct mr_verified *out)
{
    if (j->timestamp.p) {
        refuse(out, MR_CAUSE_FORMAT, "header %s: two timestamps", place_name(s));
        return false;
    }
    j->timestamp = value;
    return true;
}

/* One element of a list: a signature to take, the timestamp, or something else (an older scheme's signature) to skip.
 */
static bool take_element(const struct mr_verifier *v, struct mr_str element, struct judged *j, struct mr_verified *out)
{
    const struct mr_scheme *s = &v->scheme;
    if (s->first_is_time && !j->timestamp.p)
        return take_time(s, element, j, out);
    if (!s->assign)
        return take_signature(s, element, j, out);
    const char *sign = memchr(element.p, s->assign, element.n);
    if (!sign) {
        refuse(out, MR_CAUSE_FORMAT, "header %s: an element without `%c`", place_name(s), s->assign);
        return false;
    }
    struct mr_str key = {element.p, (size_t)(sign - element.p)};
    struct mr_str value = {sign + 1, element.n - key.n - 1};
    if (v->time.kind == PLACE_ELEMENT && mr_str_eq(key, v->time.name))
        return take_time(s, value, j, out);
    return (s->take && !mr_str_eq(key, mr_str_c(s->take))) || take_signature(s, value, j, out);
}

static bool take_list(const struct mr_verifier *v, struct mr_str value, struct judged *j, struct mr_verified *out)
{
    while (value.n) {
        const char *end = memchr(value.p, v->scheme.list, value.n);
        struct mr_str element = trim((struct mr_str){value.p, end ? (size_t)(end - value.p) : value.n});
        if (element.n && !take_element(v, element, j, out))
            return false;
        if (!end)
            break;
        value = (struct mr_str){end + 1, value.n - (size_t)(end + 1 - value.p)};
    }
    return true;
}

static bool take_value(const struct mr_verifier *v, struct mr_str value, struct judged *j, struct mr_verified *out)
{
    return v->scheme.list ? take_list(v, value, j, out) : take_element(v, value, j, out);
}

static bool read_numbered(const struct mr_verifier *v, const struct mr_http_head *head, struct judged *j, struct mr_verified *out)
{
    for (int i = 1; i <= SIGNATURES_MAX; i++) {
        char name[128];
        struct mr_str value;
        snprintf(name, sizeof name, "%s%d", v->scheme.header, i);
        if (!maybe_header(head, name, &value, out))
            return false;
        if (!value.p)
            break;
        if (!take_value(v, value, j, out))
            return false;
    }
    return true;
}

static bool read_two(const struct mr_verifier *v, const struct mr_http_head *head, struct judged *j, struct mr_verified *out)
{
    struct mr_str first, second;
    return maybe_header(head, v->scheme.header, &first, out) && maybe_header(head, v->scheme.header2, &second, out) &&
           (!first.p || take_value(v, first, j, out)) && (!second.p || take_value(v, second, j, out));
}

/* group: of the header's groups the one to look at; p NULL: the header has one. */
static bool read_signatures(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_str group, struct judged *j,
                            struct mr_verified *out)
{
    const struct mr_scheme *s = &v->scheme;
    struct mr_str value = group;
    bool ok;
    if (s->numbered)
        ok = read_numbered(v, req->head, j, out);
    else if (s->header2)
        ok = read_two(v, req->head, j, out);
    else if (s->signature)
        ok = read_place(v, req, v->where, &value, out) && take_value(v, value, j, out);
    else
        ok = (group.p || only_header(req->head, mr_str_c(s->header), &value, out)) && take_value(v, value, j, out);
    if (ok && j->signatures_count == 0)
        refuse(out, MR_CAUSE_MISSING, "header %s holds no signature%s%s", place_name(s), s->take ? " under " : "",
               s->take ? s->take : "");
    return ok && j->signatures_count > 0;
}

/* What stands behind the id in the signed text (a full stop, mostly) would let the border between id, timestamp and
 * body be moved if the id could hold it, too. */
static bool check_id(const struct mr_verifier *v, struct mr_str id, struct mr_verified *out)
{
    if (id.n == 0)
        refuse(out, MR_CAUSE_FORMAT, "header %s is empty", v->scheme.id);
    for (size_t i = 0; i + 1 < v->pieces_count && id.n; i++) {
        struct mr_str behind = v->pieces[i + 1].text; /* a literal is never empty */
        if (v->pieces[i].kind != PIECE_ID || v->pieces[i + 1].kind != PIECE_LITERAL ||
            !memmem(id.p, id.n, behind.p, behind.n))
            continue;
        refuse(out, MR_CAUSE_FORMAT, "header %s holds \"%.*s\", which ends the id in what is signed", v->scheme.id,
               (int)behind.n, behind.p);
        return false;
    }
    return id.n > 0;
}

static bool read_all(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_str group, struct judged *j,
                     struct mr_verified *out)
{
    j->signatures_count = 0;
    j->timestamp = j->id = (struct mr_str){0};
    if (v->reads_json && mr_json_check(req->body, NULL) != MR_OK) {
        refuse(out, MR_CAUSE_FORMAT, "the body is not JSON, and its signature is about its fields");
        return false;
    }
    if (!read_signatures(v, req, group, j, out))
        return false;
    bool elsewhere = v->time.kind == PLACE_HEADER || v->time.kind >= PLACE_JSON;
    if (elsewhere && !read_place(v, req, v->time, &j->timestamp, out))
        return false;
    if (v->scheme.timestamp && !j->timestamp.p) {
        refuse(out, MR_CAUSE_MISSING, "header %s holds no timestamp", place_name(&v->scheme));
        return false;
    }
    if (!v->scheme.id)
        return true;
    if (!only_header(req->head, mr_str_c(v->scheme.id), &j->id, out))
        return false;
    return check_id(v, j->id, out);
}

bool verifier_judge(struct mr_verifier *v, const struct mr_signed_request *req, struct judged *j, struct mr_verified *out)
{
    return read_all(v, req, (struct mr_str){0}, j, out);
}

/* Strict: digits only, no sign, no blank, no wrap. */
static bool read_time(const struct mr_scheme *s, struct mr_str text, int64_t *us)
{
    if (s->unit == MR_UNIT_RFC3339)
        return mr_time_parse(text, us);
    int64_t n = 0;
    if (text.n == 0 || text.n > 16)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        n = n * 10 + (text.p[i] - '0');
    }
    int64_t factor = s->unit == MR_UNIT_S ? 1000000 : 1000;
    if (n > INT64_MAX / factor)
        return false;
    *us = n * factor;
    return true;
}

/* ---- what is signed ---- */

/* Of a form its fields; of another body a parameter of the signed URL holds the digest. */
static bool fill_form(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_str *value, struct mr_verified *out)
{
    *value = (struct mr_str){"", 0};
    if (place_is_form(req->head))
        return found(place_sorted(req->body, &v->scratch, value), "form", MR_STR("body"), out);
    if (!v->scheme.body_hash || req->body.n == 0)
        return req->body.n == 0 || found(PLACE_BAD, "form", MR_STR("body (by its Content-Type it is none)"), out);
    struct mr_str given;
    unsigned char digest[MR_DIGEST_MAX], told[MR_DIGEST_MAX];
    size_t n = mr_digest_size(MR_SHA256);
    if (!found(place_form(req->head->query, mr_str_c(v->scheme.body_hash), &v->scratch, &given), "query parameter",
               mr_str_c(v->scheme.body_hash), out))
        return false;
    mr_digest(MR_SHA256, req->body, digest);
    if (given.n == 2 * n && mr_hex_get(given, told, n) && mr_equal_ct(digest, told, n))
        return true;
    refuse(out, MR_CAUSE_SIGNATURE, "query parameter %s is not the SHA-256 of the body", v->scheme.body_hash);
    return false;
}

/* https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message-verify-message-signature.html: names and values of some fields, a line each, in
 * the order of their names; Subject only if it is there. */
static bool fill_sns(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_str *value, struct mr_verified *out)
{
    static const char *const notification[] = {"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"};
    static const char *const confirmation[] = {"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"};
    struct mr_str type;
    if (!found(place_json(req->body, MR_STR("/Type"), &v->scratch, &type), "JSON field", MR_STR("/Type"), out))
        return false;
    bool notifies = mr_str_eq(type, MR_STR("Notification"));
    const char *const *names = notifies ? notification : confirmation;
    struct mr_str fields[MR_COUNT(confirmation)];
    size_t count = notifies ? MR_COUNT(notification) : MR_COUNT(confirmation);
    for (size_t i = 0; i < count; i++) {
        char pointer[32];
        snprintf(pointer, sizeof pointer, "/%s", names[i]);
        enum mr_place_found how = place_json(req->body, mr_str_c(pointer), &v->scratch, &fields[i]);
        bool optional = how == PLACE_ABSENT && strcmp(names[i], "Subject") == 0;
        fields[i] = optional ? (struct mr_str){0} : fields[i];
        if (!optional && !found(how, "JSON field", mr_str_c(pointer), out))
            return false;
    }
    size_t at = v->scratch.n;
    for (size_t i = 0; i < count; i++) {
        if (!fields[i].p)
            continue;
        mr_buf_puts(&v->scratch, names[i]);
        mr_buf_putc(&v->scratch, '\n');
        mr_buf_put(&v->scratch, fields[i].p, fields[i].n);
        mr_buf_putc(&v->scratch, '\n');
    }
    *value = (struct mr_str){v->scratch.p + at, v->scratch.n - at};
    return true;
}

static struct mr_str crc32_text(struct mr_verifier *v, struct mr_str body)
{
    size_t at = v->scratch.n;
    mr_buf_u64(&v->scratch, mr_crc32(body));
    return (struct mr_str){v->scratch.p + at, v->scratch.n - at};
}

static bool fill_piece(struct mr_verifier *v, const struct piece *p, const struct mr_signed_request *req, const struct judged *j,
                       struct mr_str *value, struct mr_verified *out)
{
    enum mr_place_found how;
    *value = (struct mr_str){"", 0};
    switch (p->kind) {
    case PIECE_LITERAL:
        *value = p->text;
        break;
    case PIECE_BODY:
        *value = req->body;
        break;
    case PIECE_TIMESTAMP:
        *value = j->timestamp;
        break;
    case PIECE_ID:
        *value = j->id;
        break;
    case PIECE_METHOD:
        *value = req->head->method;
        break;
    case PIECE_URL:
        *value = v->scheme.url_decoded ? place_url_decoded(req->url, &v->scratch) : req->url;
        break;
    case PIECE_PATH:
        *value = req->head->path;
        break;
    case PIECE_QUERY:
        *value = req->head->query;
        break;
    case PIECE_SECRET: /* filled for each in turn */
        break;
    case PIECE_FORM:
        return fill_form(v, req, value, out);
    case PIECE_SNS:
        return fill_sns(v, req, value, out);
    case PIECE_CRC32:
        *value = crc32_text(v, req->body);
        break;
    case PIECE_HEADER:
        return only_header(req->head, p->text, value, out);
    case PIECE_JSON:
        return found(place_json(req->body, p->text, &v->scratch, value), "JSON field", p->text, out);
    case PIECE_JSON_MAYBE:
        how = place_json(req->body, p->text, &v->scratch, value);
        return how == PLACE_ABSENT || found(how, "JSON field", p->text, out);
    case PIECE_FORM_FIELD:
        return found(place_form(req->body, p->text, &v->scratch, value), "form field", p->text, out);
    case PIECE_QUERY_FIELD:
        return found(place_form(req->head->query, p->text, &v->scratch, value), "query parameter", p->text, out);
    }
    return true;
}

static bool one_item(const struct mr_verifier *v, struct mr_str body, struct mr_verified *out)
{
    struct mr_json_iter it;
    struct mr_json_slice item, list = mr_json_at(body, mr_str_c(v->scheme.one_item));
    struct mr_str key;
    size_t n = 0;
    if (list.type == MR_JSON_ARRAY)
        for (mr_json_iter(&it, list); n < 2 && mr_json_next(&it, &key, &item);)
            n++;
    if (n != 1)
        refuse(out, MR_CAUSE_FORMAT, "%s of the body must have one item: a signature is of one", v->scheme.one_item);
    return n == 1;
}

bool verifier_fill(struct mr_verifier *v, const struct mr_signed_request *req, const struct judged *j, struct mr_str *filled,
                   struct mr_verified *out)
{
    const char *scratch = v->scratch.p;
    if (v->scheme.one_item && !one_item(v, req->body, out))
        return false;
    for (size_t i = 0; i < v->pieces_count; i++)
        if (!fill_piece(v, &v->pieces[i], req, j, &filled[i], out))
            return false;
    if (v->scratch.p == scratch)
        return true;
    refuse(out, MR_CAUSE_FORMAT, "the signed fields are larger than the request: the same one is named too often");
    return false;
}

/* ---- matching ---- */

struct mr_str verifier_joined(struct mr_verifier *v, const struct mr_str *filled, const struct key *key)
{
    if (v->message.cap > SCRATCH_KEPT)
        mr_buf_free(&v->message);
    mr_buf_clear(&v->message);
    for (size_t i = 0; i < v->pieces_count; i++) {
        bool secret = key && v->pieces[i].kind == PIECE_SECRET;
        mr_buf_put(&v->message, secret ? key->text : filled[i].p, secret ? key->n : filled[i].n);
    }
    return mr_buf_str(&v->message);
}

/* Does one of the signatures fit? All are looked at: how many were is no secret, which byte differed would be. */
static bool fits_mac(const struct judged *j, const unsigned char *mac, size_t size)
{
    bool fits = false;
    for (size_t i = 0; i < j->signatures_count; i++)
        fits |= mr_equal_ct(mac, j->signatures[i], size);
    return fits;
}

static bool fits(struct mr_verifier *v, struct key *key, const struct mr_str *filled, const struct judged *j)
{
    unsigned char mac[MR_DIGEST_MAX];
    const struct mr_scheme *s = &v->scheme;
    if (s->kind == MR_KIND_MAC) {
        mr_hmac(key->mac, filled, v->pieces_count, mac);
        return fits_mac(j, mac, mr_digest_size(s->digest));
    }
    struct mr_str text = verifier_joined(v, filled, key);
    bool good = false;
    if (s->kind == MR_KIND_HASH) {
        mr_digest(s->digest, text, mac);
        mr_cleanse(v->message.p, v->message.n); /* the secret is in it */
        return !v->message.failed && fits_mac(j, mac, mr_digest_size(s->digest));
    }
    for (size_t i = 0; i < j->signatures_count && !good && !v->message.failed; i++)
        good = mr_pubkey_verify(key->public, text, (struct mr_str){(const char *)j->signatures[i], j->sizes[i]});
    return good;
}

/* The one algorithm that the request may name is this scheme's. */
static bool algorithm_fits(const struct mr_scheme *s, const struct mr_signed_request *req, struct mr_verified *out)
{
    struct mr_str said;
    if (!s->algorithm)
        return true;
    if (!only_header(req->head, mr_str_c(s->algorithm), &said, out))
        return false;
    if (said.n == strlen(s->algorithm_is) && strncasecmp(said.p, s->algorithm_is, said.n) == 0)
        return true;
    refuse(out, MR_CAUSE_FORMAT, "header %s is not %s", s->algorithm, s->algorithm_is);
    return false;
}

static bool digest_of(const struct mr_scheme *s, const struct mr_signed_request *req, enum mr_rsa_digest *digest, struct mr_verified *out)
{
    *digest = MR_RSA_SHA256;
    if (!s->version)
        return true;
    struct mr_json_slice version = mr_json_at(req->body, mr_str_c(s->version + sizeof "json:" - 1));
    if (version.type == MR_JSON_STRING && mr_str_eq(version.raw, MR_STR("\"1\"")))
        *digest = MR_RSA_SHA1;
    else if (version.type != MR_JSON_STRING || !mr_str_eq(version.raw, MR_STR("\"2\"")))
        refuse(out, MR_CAUSE_FORMAT, "%s is neither \"1\" nor \"2\"", s->version);
    return out->cause == MR_CAUSE_NONE;
}

static void refuse_no_cert(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_verified *out)
{
    struct mr_str url;
    if (req->no_cert)
        refuse(out, MR_CAUSE_SIGNATURE, "%s", req->no_cert);
    else if (!mr_verifier_cert_url(v, req, &url))
        refuse(out, MR_CAUSE_SIGNATURE, "%s names no certificate where the vendor has them", v->scheme.cert_url);
    else
        refuse(out, MR_CAUSE_SIGNATURE, "the certificate that it names is not here: the server fetches it, explain does not");
}

static size_t match_rsa(struct mr_verifier *v, const struct mr_signed_request *req, const struct mr_str *filled, const struct judged *j, struct mr_verified *out)
{
    enum mr_rsa_digest digest;
    const char *why = "there is no secret";
    if (!algorithm_fits(&v->scheme, req, out) || !digest_of(&v->scheme, req, &digest, out))
        return SECRETS_MAX;
    if (req->cert.n == 0) {
        refuse_no_cert(v, req, out);
        return SECRETS_MAX;
    }
    for (size_t k = 0; k < v->keys_count; k++) {
        struct mr_str text = verifier_joined(v, filled, &v->keys[k]), signature = {(const char *)j->signatures[0], j->sizes[0]};
        if (!verifier_ended(v, &v->keys[k]) && !v->message.failed && mr_cert_verify(req->cert, digest, text, signature, v->now_us, &why))
            return k;
    }
    refuse(out, MR_CAUSE_SIGNATURE, "%s", why);
    return SECRETS_MAX;
}

bool mr_verifier_cert_url(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_str *url)
{
    const struct mr_scheme *s = &v->scheme;
    struct mr_verified out;
    if (s->kind == MR_KIND_OIDC) {
        *url = mr_str_c(s->cert_url);
        return true;
    }
    bool header = s->cert_url && strncmp(s->cert_url, "header:", 7) == 0;
    struct place place = {header ? PLACE_HEADER : PLACE_JSON, mr_str_c(s->cert_url ? s->cert_url + (header ? 7 : 5) : "")};
    return s->kind == MR_KIND_RSA && verifier_scratch(v, req) && (header || mr_json_check(req->body, NULL) == MR_OK) &&
           read_place(v, req, place, url, &out) && s->cert_url_ok(*url);
}

static size_t match_filled(struct mr_verifier *v, const struct mr_str *filled, const struct judged *j)
{
    for (size_t k = 0; k < v->keys_count; k++)
        if (!verifier_ended(v, &v->keys[k]) && fits(v, &v->keys[k], filled, j))
            return k; /* which secret is in use is no secret */
    return SECRETS_MAX;
}

size_t verifier_match(struct mr_verifier *v, const struct mr_signed_request *req, const struct judged *j, struct mr_verified *out)
{
    struct mr_str filled[PIECES_MAX];
    if (!verifier_fill(v, req, j, filled, out))
        return SECRETS_MAX;
    if (v->scheme.kind == MR_KIND_RSA)
        return match_rsa(v, req, filled, j, out);
    size_t k = match_filled(v, filled, j);
    if (k == SECRETS_MAX && v->scheme.url_ports) {
        struct mr_signed_request other = *req;
        other.url = place_port_toggled(req->url, &v->scratch);
        if (verifier_fill(v, &other, j, filled, out))
            k = match_filled(v, filled, j);
    }
    if (k == SECRETS_MAX && out->cause == MR_CAUSE_NONE)
        refuse(out, MR_CAUSE_SIGNATURE, "the signature matches none of %zu secrets", v->keys_count);
    return k;
}

static void check_time(const struct mr_verifier *v, struct mr_str text, int64_t now_us, struct mr_verified *out)
{
    int64_t at_us, tolerance_us = v->scheme.tolerance_ms * 1000;
    if (!read_time(&v->scheme, text, &at_us)) {
        refuse(out, MR_CAUSE_FORMAT, "the timestamp is not %s",
               v->scheme.unit == MR_UNIT_RFC3339 ? "RFC 3339" : "a plain decimal number");
        return;
    }
    int64_t skew_us = at_us - now_us;
    if (skew_us > tolerance_us || skew_us < -tolerance_us)
        refuse(out, MR_CAUSE_TIMESTAMP, "signed %lld s %s; the tolerance is %lld s",
               (long long)((skew_us < 0 ? -skew_us : skew_us) / 1000000), skew_us < 0 ? "ago" : "in the future",
               (long long)(v->scheme.tolerance_ms / 1000));
}

static void judge_signed(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_str group, int64_t now_us,
                         struct mr_verified *out)
{
    struct judged j;
    out->cause = MR_CAUSE_NONE;
    if (!read_all(v, req, group, &j, out))
        return;
    size_t secret = verifier_match(v, req, &j, out);
    if (secret == SECRETS_MAX)
        return;
    out->secret = (unsigned)secret;
    if (v->scheme.timestamp)
        check_time(v, j.timestamp, now_us, out);
}

/* Each group has a time and signatures of its own: the first that is good counts, else what was wrong with the last. */
static void judge_groups(struct mr_verifier *v, const struct mr_signed_request *req, int64_t now_us, struct mr_verified *out)
{
    enum { GROUPS_MAX = 4 };
    struct mr_str value;
    if (!only_header(req->head, mr_str_c(v->scheme.header), &value, out))
        return;
    for (int i = 0; i < GROUPS_MAX && value.n; i++) {
        const char *end = memchr(value.p, v->scheme.groups, value.n);
        struct mr_str group = {value.p, end ? (size_t)(end - value.p) : value.n};
        value = end ? (struct mr_str){end + 1, value.n - group.n - 1} : (struct mr_str){0};
        judge_signed(v, req, group, now_us, out);
        if (out->cause == MR_CAUSE_NONE)
            return;
    }
    if (out->cause == MR_CAUSE_NONE)
        refuse(out, MR_CAUSE_MISSING, "header %s is empty", v->scheme.header);
}

/* ---- tokens ---- */

static void judge_token(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_verified *out)
{
    const struct mr_scheme *s = &v->scheme;
    struct mr_str value;
    size_t prefix = strlen(s->prefix), n = 0;
    unsigned char given[MR_DIGEST_MAX], wanted[MR_DIGEST_MAX];
    if (v->reads_json && mr_json_check(req->body, NULL) != MR_OK) {
        refuse(out, MR_CAUSE_FORMAT, "the body is not JSON, and the token is one of its fields");
        return;
    }
    if (!(s->signature ? read_place(v, req, v->where, &value, out) : only_header(req->head, mr_str_c(s->header), &value, out)))
        return;
    /* the names of authentication schemes are case-insensitive: RFC 9110, 11.1 */
    if (value.n < prefix || strncasecmp(value.p, s->prefix, prefix) != 0) {
        refuse(out, MR_CAUSE_FORMAT, "header %s does not begin with \"%s\"", place_name(s), s->prefix);
        return;
    }
    value = (struct mr_str){value.p + prefix, value.n - prefix};
    if (s->kind == MR_KIND_BASIC) {
        size_t at = v->scratch.n;
        if (!mr_buf_reserve(&v->scratch, value.n + 1) ||
            !mr_base64_get(value, false, (unsigned char *)v->scratch.p + at, value.n, &n)) {
            refuse(out, MR_CAUSE_FORMAT, "header %s holds no base64", place_name(s));
            return;
        }
        value = (struct mr_str){v->scratch.p + at, n};
    }
    mr_hmac(v->blind, &value, 1, given);
    for (size_t k = 0; k < v->keys_count; k++) {
        struct mr_str secret = {v->keys[k].text, v->keys[k].n};
        mr_hmac(v->blind, &secret, 1, wanted);
        if (!verifier_ended(v, &v->keys[k]) && mr_equal_ct(given, wanted, mr_digest_size(MR_SHA256))) {
            out->secret = (unsigned)k;
            return;
        }
    }
    refuse(out, MR_CAUSE_SIGNATURE, "the token is none of %zu secrets", v->keys_count);
}

/* ---- JSON Web Tokens ---- */

static bool jwt_fits(const struct mr_verifier *v, struct key *key, const struct mr_jwt *t)
{
    unsigned char mac[MR_DIGEST_MAX], der[SIGNATURE_BYTES];
    size_t n;
    if (v->scheme.jwt_es256)
        return mr_ecdsa_der((struct mr_str){(const char *)t->signature, t->signature_n}, der, sizeof der, &n) &&
               mr_pubkey_verify(key->public, t->signed_text, (struct mr_str){(const char *)der, n});
    mr_hmac(key->mac, &t->signed_text, 1, mac);
    return t->signature_n == mr_digest_size(v->scheme.digest) && mr_equal_ct(mac, t->signature, t->signature_n);
}

/* The SHA-256 that it holds, in the scheme's encoding. A solidus may be escaped in JSON, and is one of base64's letters. */
static bool read_claim(const struct mr_scheme *s, struct mr_json_slice claim, unsigned char told[MR_DIGEST_MAX])
{
    char text[128];
    size_t n = 0, size = mr_digest_size(MR_SHA256);
    if (claim.type != MR_JSON_STRING || claim.raw.n > sizeof text)
        return false;
    for (size_t i = 1; i + 1 < claim.raw.n; i++)
        if (claim.raw.p[i] != '\\' || claim.raw.p[i + 1] != '/')
            text[n++] = claim.raw.p[i];
    if (s->encoding == MR_ENC_HEX)
        return n == 2 * size && mr_hex_get((struct mr_str){text, n}, told, size);
    size_t got;
    return mr_base64_get((struct mr_str){text, n}, false, told, MR_DIGEST_MAX, &got) && got == size;
}

/* The signature held: do the claims speak of this body, this issuer, and now? */
static void judge_claims(const struct mr_verifier *v, const struct mr_jwt *t, struct mr_str body, int64_t now_us,
                         struct mr_verified *out)
{
    const struct mr_scheme *s = &v->scheme;
    size_t n = mr_digest_size(MR_SHA256);
    unsigned char digest[MR_DIGEST_MAX], told[MR_DIGEST_MAX];
    struct mr_json_slice claim = mr_json_at(t->claims, mr_str_c(s->jwt_claim));
    struct mr_json_slice issuer = mr_json_at(t->claims, MR_STR("/iss"));
    mr_digest(MR_SHA256, body, digest);
    if (!read_claim(s, claim, told) || !mr_equal_ct(told, digest, n)) {
        refuse(out, MR_CAUSE_SIGNATURE, "claim %s of the token is not the SHA-256 of the body", s->jwt_claim + 1);
        return;
    }
    size_t iss = s->jwt_issuer ? strlen(s->jwt_issuer) : 0;
    if (iss && (issuer.type != MR_JSON_STRING || issuer.raw.n != iss + 2 || memcmp(issuer.raw.p + 1, s->jwt_issuer, iss) != 0)) {
        refuse(out, MR_CAUSE_SIGNATURE, "the token's iss is not \"%s\"", s->jwt_issuer);
        return;
    }
    if (!s->timestamp)
        return;
    struct mr_json_slice iat = mr_json_at(t->claims, MR_STR("/iat"));
    if (iat.type != MR_JSON_NUMBER)
        refuse(out, MR_CAUSE_MISSING, "the token has no iat");
    else
        check_time(v, iat.raw, now_us, out);
}

static void judge_jwt(struct mr_verifier *v, const struct mr_signed_request *req, int64_t now_us, struct mr_verified *out)
{
    struct mr_str token;
    struct mr_jwt t;
    if (!only_header(req->head, mr_str_c(v->scheme.header), &token, out))
        return;
    if (!mr_buf_reserve(&v->scratch, token.n + 16)) {
        refuse(out, MR_CAUSE_FORMAT, "no memory for the token");
        return;
    }
    const char *wrong = mr_jwt_cut(token, v->scheme.jwt_es256 ? "ES256" : "HS256", &v->scratch, &t);
    if (wrong) {
        refuse(out, MR_CAUSE_FORMAT, "header %s holds no token: %s", v->scheme.header, wrong);
        return;
    }
    for (size_t k = 0; k < v->keys_count; k++)
        if (!verifier_ended(v, &v->keys[k]) && jwt_fits(v, &v->keys[k], &t)) {
            out->secret = (unsigned)k;
            judge_claims(v, &t, req->body, now_us, out);
            return;
        }
    refuse(out, MR_CAUSE_SIGNATURE, "the token's signature matches none of %zu secrets", v->keys_count);
}

static void judge_oidc(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_verified *out)
{
    const struct mr_scheme *s = &v->scheme;
    const struct oidc_wanted wanted = {v->audience, v->email, s->tolerance_ms * 1000};
    struct mr_str value;
    size_t prefix = strlen(s->prefix);
    if (!only_header(req->head, mr_str_c(s->header), &value, out))
        return;
    if (value.n < prefix || strncasecmp(value.p, s->prefix, prefix) != 0) {
        refuse(out, MR_CAUSE_FORMAT, "header %s does not begin with \"%s\"", s->header, s->prefix);
        return;
    }
    if (req->cert.n == 0) {
        refuse_no_cert(v, req, out);
        return;
    }
    if (!mr_buf_reserve(&v->scratch, 2 * value.n + req->cert.n + 64)) {
        refuse(out, MR_CAUSE_FORMAT, "no memory for the token");
        return;
    }
    const char *why = oidc_judge((struct mr_str){value.p + prefix, value.n - prefix}, req->cert, &wanted, v->now_us, &v->scratch, &out->unknown_key);
    if (why)
        refuse(out, MR_CAUSE_SIGNATURE, "%s", why);
}

void mr_verify(struct mr_verifier *v, const struct mr_signed_request *req, int64_t now_us, struct mr_verified *out)
{
    const struct mr_scheme *s = &v->scheme;
    v->now_us = now_us;
    out->cause = MR_CAUSE_NONE;
    out->secret = 0;
    out->reason[0] = 0;
    out->unknown_key = false;
    out->covers = s->none ? "none" : s->covers ? s->covers : v->covers_body ? "body" : "token";
    if (s->none)
        return;
    if (!verifier_scratch(v, req))
        refuse(out, MR_CAUSE_FORMAT, "no memory to read the signed fields");
    else if (s->kind == MR_KIND_TOKEN || s->kind == MR_KIND_BASIC)
        judge_token(v, req, out);
    else if (s->kind == MR_KIND_JWT)
        judge_jwt(v, req, now_us, out);
    else if (s->kind == MR_KIND_OIDC)
        judge_oidc(v, req, out);
    else if (s->groups)
        judge_groups(v, req, now_us, out);
    else
        judge_signed(v, req, (struct mr_str){0}, now_us, out);
}
