/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - judges a request by a row of the scheme table, and signs one by the same row.
 *
 * The text template is cut into pieces once; judging a request fills them with slices of the request and runs one HMAC
 * per secret over them, so a large body is never copied. */
#include "scheme.h"

#include "millrace/clock.h"
#include "millrace/json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIECES_MAX = 16, SIGNATURES_MAX = 16, SECRETS_MAX = 16, TIMESTAMP_MAX = 40 };

enum piece_kind {
    PIECE_LITERAL,
    PIECE_BODY,
    PIECE_TIMESTAMP,
    PIECE_ID,
    PIECE_METHOD,
    PIECE_URL,
    PIECE_PATH,
    PIECE_QUERY,
    PIECE_HEADER
};
struct piece {
    enum piece_kind kind;
    struct mr_str text; /* LITERAL: the text; HEADER: the name. Into v->text */
};

struct mr_verifier {
    struct mr_scheme scheme; /* a preset, or hmac with the config's parts (strings below) */
    char *text;              /* the template, literals unescaped in place */
    struct piece pieces[PIECES_MAX];
    size_t pieces_count;
    struct mr_hmac_key *keys[SECRETS_MAX];
    size_t keys_count;
    char *header, *prefix, *take, *timestamp, *id;
    struct mr_str ts_header, ts_element; /* one of them, or neither */
    bool covers_body;
};

const char *mr_cause_name(enum mr_cause c)
{
    static const char *const names[MR_CAUSES] = {"none",      "route",     "method",    "missing", "format",
                                                 "signature", "timestamp", "handshake", "size",    "coding"};
    return names[c];
}

/* ---- making one ---- */

static enum mr_code add_piece(struct mr_verifier *v, enum piece_kind kind, struct mr_str text, struct mr_err *err)
{
    if (kind == PIECE_LITERAL && text.n == 0)
        return MR_OK;
    if (v->pieces_count == PIECES_MAX)
        return mr_err_set(err, MR_ECONFIG, "signed: more than %d pieces", PIECES_MAX);
    v->pieces[v->pieces_count++] = (struct piece){kind, text};
    v->covers_body |= kind == PIECE_BODY;
    return MR_OK;
}

static enum mr_code add_named(struct mr_verifier *v, struct mr_str name, struct mr_err *err)
{
    static const struct {
        const char *name;
        enum piece_kind kind;
    } names[] = {{"body", PIECE_BODY}, {"timestamp", PIECE_TIMESTAMP}, {"id", PIECE_ID},      {"method", PIECE_METHOD},
                 {"url", PIECE_URL},   {"path", PIECE_PATH},           {"query", PIECE_QUERY}};
    for (size_t i = 0; i < MR_COUNT(names); i++)
        if (mr_str_eq(name, mr_str_c(names[i].name)))
            return add_piece(v, names[i].kind, (struct mr_str){0}, err);
    if (name.n > 7 && memcmp(name.p, "header:", 7) == 0)
        return add_piece(v, PIECE_HEADER, (struct mr_str){name.p + 7, name.n - 7}, err);
    return mr_err_set(err, MR_ECONFIG,
                      "signed: {%.*s} is not known; expected {body}, {timestamp}, {id}, {method}, {url}, {path}, "
                      "{query} or {header:Name}",
                      (int)(name.n < 60 ? name.n : 60), name.p);
}

static enum mr_code cut_template(struct mr_verifier *v, struct mr_err *err)
{
    char *p = v->text, *literal = p, *to = p;
    while (*p) {
        if (p[0] == '{' && p[1] == '{') {
            *to++ = '{';
            p += 2;
        } else if (*p == '{') {
            char *end = strchr(p, '}');
            if (!end)
                return mr_err_set(err, MR_ECONFIG, "signed: `{` without `}` in \"%s\"; write `{{` for a brace",
                                  v->scheme.text);
            if (add_piece(v, PIECE_LITERAL, (struct mr_str){literal, (size_t)(to - literal)}, err) != MR_OK ||
                add_named(v, (struct mr_str){p + 1, (size_t)(end - p - 1)}, err) != MR_OK)
                return err->code;
            p = end + 1;
            literal = to = p;
        } else {
            *to++ = *p++;
        }
    }
    return add_piece(v, PIECE_LITERAL, (struct mr_str){literal, (size_t)(to - literal)}, err);
}

static enum mr_code add_secret(struct mr_verifier *v, const struct mr_secret *secret, size_t index, struct mr_err *err)
{
    struct mr_str text = {secret->value, secret->n};
    size_t skip = v->scheme.key_prefix ? strlen(v->scheme.key_prefix) : 0;
    if (skip && text.n > skip && memcmp(text.p, v->scheme.key_prefix, skip) == 0)
        text = (struct mr_str){text.p + skip, text.n - skip};
    if (text.n == 0)
        return mr_err_set(err, MR_ECONFIG, "secret %zu (%s) is empty", index, secret->origin ? secret->origin : "?");
    if (v->scheme.key == MR_KEY_TEXT) {
        v->keys[v->keys_count++] = mr_hmac_key_new(v->scheme.digest, text);
        return MR_OK;
    }
    unsigned char *bytes = malloc(text.n);
    if (!bytes)
        return mr_err_set(err, MR_ENOMEM, "secret %zu", index);
    size_t n = 0;
    bool ok = v->scheme.key == MR_KEY_HEX ? text.n % 2 == 0 && mr_hex_get(text, bytes, n = text.n / 2)
                                          : mr_base64_get(text, false, bytes, text.n, &n);
    if (ok && n > 0)
        v->keys[v->keys_count++] = mr_hmac_key_new(v->scheme.digest, (struct mr_str){(const char *)bytes, n});
    mr_cleanse(bytes, text.n);
    free(bytes);
    if (!ok || n == 0)
        return mr_err_set(err, MR_ECONFIG, "secret %zu (%s) is not %s, as scheme %s wants it", index,
                          secret->origin ? secret->origin : "?", v->scheme.key == MR_KEY_HEX ? "hex" : "base64",
                          v->scheme.name);
    return MR_OK;
}

static char *keep(const char *s)
{
    return s && *s ? strdup(s) : NULL;
}

static enum mr_code one_char(const char *option, const char *value, char *out, struct mr_err *err)
{
    *out = 0;
    if (!value || !*value)
        return MR_OK;
    if (value[1])
        return mr_err_set(err, MR_ECONFIG, "%s must be one character, not \"%s\"", option, value);
    *out = value[0];
    return MR_OK;
}

static enum mr_code take_parts(struct mr_verifier *v, const struct mr_verify_options *o, struct mr_err *err)
{
    struct mr_scheme *s = &v->scheme;
    if (!o->header || !*o->header)
        return mr_err_set(err, MR_ECONFIG, "scheme hmac needs `header`: the name of the header with the signature");
    s->digest = (enum mr_digest)o->digest;
    s->encoding = (enum mr_encoding)o->encoding;
    s->key = (enum mr_key_form)o->key;
    s->unit = (enum mr_time_unit)o->unit;
    s->header = v->header = keep(o->header);
    v->prefix = keep(o->prefix);
    s->prefix = v->prefix ? v->prefix : "";
    s->take = v->take = keep(o->take);
    if (o->text && *o->text)
        s->text = o->text;
    s->timestamp = v->timestamp = keep(o->timestamp);
    if (o->id && *o->id) {
        if (strncmp(o->id, "header:", 7) != 0 || !o->id[7])
            return mr_err_set(err, MR_ECONFIG, "id must be `header:Name`, not \"%s\"", o->id);
        s->id = v->id = keep(o->id + 7);
    }
    if (one_char("separator", o->separator, &s->list, err) != MR_OK ||
        one_char("assign", o->assign, &s->assign, err) != MR_OK)
        return err->code;
    if (s->assign && !s->take)
        return mr_err_set(err, MR_ECONFIG, "`assign` needs `take`: the key of the elements that are signatures");
    if (s->take && !s->assign)
        return mr_err_set(err, MR_ECONFIG,
                          "`take` needs `assign`: the character between an element's key and its value");
    if (s->assign && s->assign == s->list)
        return mr_err_set(err, MR_ECONFIG, "`separator` and `assign` must differ, both are \"%c\"", s->assign);
    return MR_OK;
}

static enum mr_code check_pieces(struct mr_verifier *v, struct mr_err *err)
{
    bool timestamp = false;
    for (size_t i = 0; i < v->pieces_count; i++) {
        timestamp |= v->pieces[i].kind == PIECE_TIMESTAMP;
        if (v->pieces[i].kind == PIECE_ID && !v->scheme.id)
            return mr_err_set(err, MR_ECONFIG, "signed names {id}: say where it is with `id: header:Name`");
    }
    if (timestamp && !v->scheme.timestamp)
        return mr_err_set(err, MR_ECONFIG,
                          "signed names {timestamp}: say where it is with `timestamp: header:Name` or `element:key`");
    if (!timestamp && v->scheme.timestamp)
        return mr_err_set(err, MR_ECONFIG,
                          "a timestamp that is not signed protects nothing: put {timestamp} into `signed`");
    if (!v->scheme.timestamp)
        return MR_OK;
    const char *where = v->scheme.timestamp;
    if (strncmp(where, "header:", 7) == 0 && where[7])
        v->ts_header = mr_str_c(where + 7);
    else if (strncmp(where, "element:", 8) == 0 && where[8] && v->scheme.assign && v->scheme.list)
        v->ts_element = mr_str_c(where + 8);
    else
        return mr_err_set(
            err, MR_ECONFIG,
            "timestamp must be `header:Name`, or `element:key` of a list with `separator` and `assign`; not \"%s\"",
            where);
    return MR_OK;
}

static enum mr_code verifier_fill(struct mr_verifier *v, const struct mr_verify_options *o, struct mr_err *err)
{
    if (strcmp(v->scheme.name, "hmac") == 0 && take_parts(v, o, err) != MR_OK)
        return err->code;
    if (o->tolerance_ms > 0)
        v->scheme.tolerance_ms = o->tolerance_ms;
    if (v->scheme.none)
        return MR_OK;
    v->text = strdup(v->scheme.text);
    if (!v->text)
        return mr_err_set(err, MR_ENOMEM, "verify");
    if (cut_template(v, err) != MR_OK || check_pieces(v, err) != MR_OK)
        return err->code;
    if (o->secrets.count == 0)
        return mr_err_set(err, MR_ECONFIG, "scheme %s needs `secrets`: [\"${env:NAME}\"] or [\"${file:PATH}\"]",
                          v->scheme.name);
    if (o->secrets.count > SECRETS_MAX)
        return mr_err_set(err, MR_ECONFIG, "more than %d secrets", SECRETS_MAX);
    for (size_t i = 0; i < o->secrets.count; i++)
        if (add_secret(v, &o->secrets.items[i], i, err) != MR_OK)
            return err->code;
    return MR_OK;
}

enum mr_code mr_verifier_new(const struct mr_verify_options *options, struct mr_verifier **out, struct mr_err *err)
{
    const struct mr_scheme *row = options->scheme ? mr_scheme_find(options->scheme) : NULL;
    if (!row) {
        struct mr_buf names;
        mr_buf_init(&names, 4096);
        mr_scheme_names(&names);
        mr_err_set(err, MR_ECONFIG, "scheme \"%s\" is not known; expected one of %s",
                   options->scheme ? options->scheme : "", mr_buf_cstr(&names));
        mr_buf_free(&names);
        return err->code;
    }
    struct mr_verifier *v = calloc(1, sizeof *v);
    if (!v)
        return mr_err_set(err, MR_ENOMEM, "verify");
    v->scheme = *row;
    if (verifier_fill(v, options, err) != MR_OK) {
        mr_verifier_free(v);
        return err->code;
    }
    v->scheme.text = row->text; /* the config's may go; the pieces have their own copy */
    *out = v;
    return MR_OK;
}

void mr_verifier_free(struct mr_verifier *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < v->keys_count; i++)
        mr_hmac_key_free(v->keys[i]);
    free(v->text);
    free(v->header);
    free(v->prefix);
    free(v->take);
    free(v->timestamp);
    free(v->id);
    free(v);
}

const struct mr_scheme *mr_verifier_scheme(const struct mr_verifier *v)
{
    return &v->scheme;
}

bool mr_verifier_needs_url(const struct mr_verifier *v)
{
    for (size_t i = 0; i < v->pieces_count; i++)
        if (v->pieces[i].kind == PIECE_URL)
            return true;
    return false;
}

/* ---- judging ---- */

struct judged { /* what was read from the request's headers */
    struct mr_str timestamp, id;
    unsigned char signatures[SIGNATURES_MAX][MR_DIGEST_MAX];
    size_t signatures_count;
};

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

static struct mr_str trim(struct mr_str s)
{
    while (s.n && s.p[0] == ' ')
        s = (struct mr_str){s.p + 1, s.n - 1};
    while (s.n && s.p[s.n - 1] == ' ')
        s.n--;
    return s;
}

static bool decode(const struct mr_scheme *s, struct mr_str text, unsigned char out[MR_DIGEST_MAX])
{
    size_t size = mr_digest_size(s->digest), n = 0;
    if (s->encoding == MR_ENC_HEX)
        return mr_hex_get(text, out, size);
    return mr_base64_get(text, s->encoding == MR_ENC_BASE64URL, out, MR_DIGEST_MAX, &n) && n == size;
}

static bool take_signature(const struct mr_scheme *s, struct mr_str text, struct judged *j, struct mr_verified *out)
{
    size_t prefix = strlen(s->prefix);
    if (text.n < prefix || memcmp(text.p, s->prefix, prefix) != 0) {
        refuse(out, MR_CAUSE_FORMAT, "header %s does not begin with \"%s\"", s->header, s->prefix);
        return false;
    }
    if (j->signatures_count == SIGNATURES_MAX) {
        refuse(out, MR_CAUSE_FORMAT, "header %s has more than %d signatures", s->header, SIGNATURES_MAX);
        return false;
    }
    if (!decode(s, (struct mr_str){text.p + prefix, text.n - prefix}, j->signatures[j->signatures_count])) {
        refuse(out, MR_CAUSE_FORMAT, "header %s holds no %s digest of %zu bytes", s->header,
               s->encoding == MR_ENC_HEX ? "hex" : "base64", mr_digest_size(s->digest));
        return false;
    }
    j->signatures_count++;
    return true;
}

/* One element of a list: a signature to take, the timestamp, or something else (an older scheme's signature) to skip.
 */
static bool take_element(const struct mr_verifier *v, struct mr_str element, struct judged *j, struct mr_verified *out)
{
    const struct mr_scheme *s = &v->scheme;
    if (!s->assign)
        return take_signature(s, element, j, out);
    const char *sign = memchr(element.p, s->assign, element.n);
    if (!sign) {
        refuse(out, MR_CAUSE_FORMAT, "header %s: an element without `%c`", s->header, s->assign);
        return false;
    }
    struct mr_str key = {element.p, (size_t)(sign - element.p)};
    struct mr_str value = {sign + 1, element.n - key.n - 1};
    if (v->ts_element.p && mr_str_eq(key, v->ts_element)) {
        if (j->timestamp.p) {
            refuse(out, MR_CAUSE_FORMAT, "header %s: two timestamps", s->header);
            return false;
        }
        j->timestamp = value;
        return true;
    }
    return !mr_str_eq(key, mr_str_c(s->take)) || take_signature(s, value, j, out);
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

static bool read_signatures(const struct mr_verifier *v, const struct mr_http_head *head, struct judged *j,
                            struct mr_verified *out)
{
    const struct mr_scheme *s = &v->scheme;
    struct mr_str value;
    if (!only_header(head, mr_str_c(s->header), &value, out))
        return false;
    if (!(s->list ? take_list(v, value, j, out) : take_element(v, value, j, out)))
        return false;
    if (j->signatures_count == 0)
        refuse(out, MR_CAUSE_MISSING, "header %s holds no signature%s%s", s->header, s->take ? " under " : "",
               s->take ? s->take : "");
    return j->signatures_count > 0;
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

static bool read_headers(const struct mr_verifier *v, const struct mr_http_head *head, struct judged *j,
                         struct mr_verified *out)
{
    if (!read_signatures(v, head, j, out))
        return false;
    if (v->ts_header.p && !only_header(head, v->ts_header, &j->timestamp, out))
        return false;
    if (v->scheme.timestamp && !j->timestamp.p) {
        refuse(out, MR_CAUSE_MISSING, "header %s holds no timestamp", v->scheme.header);
        return false;
    }
    if (!v->scheme.id)
        return true;
    if (!only_header(head, mr_str_c(v->scheme.id), &j->id, out))
        return false;
    return check_id(v, j->id, out);
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

static bool fill_pieces(const struct mr_verifier *v, const struct mr_signed_request *req, const struct judged *j,
                        struct mr_str *filled, struct mr_verified *out)
{
    for (size_t i = 0; i < v->pieces_count; i++) {
        const struct piece *p = &v->pieces[i];
        switch (p->kind) {
        case PIECE_LITERAL:
            filled[i] = p->text;
            break;
        case PIECE_BODY:
            filled[i] = req->body;
            break;
        case PIECE_TIMESTAMP:
            filled[i] = j->timestamp;
            break;
        case PIECE_ID:
            filled[i] = j->id;
            break;
        case PIECE_METHOD:
            filled[i] = req->head->method;
            break;
        case PIECE_URL:
            filled[i] = req->url;
            break;
        case PIECE_PATH:
            filled[i] = req->head->path;
            break;
        case PIECE_QUERY:
            filled[i] = req->head->query;
            break;
        case PIECE_HEADER:
            if (!only_header(req->head, p->text, &filled[i], out))
                return false;
            break;
        }
    }
    return true;
}

/* Every secret against every signature, whatever matched before. SECRETS_MAX: none did. */
static size_t match(struct mr_verifier *v, const struct mr_str *filled, const struct judged *j)
{
    size_t size = mr_digest_size(v->scheme.digest), found = SECRETS_MAX;
    for (size_t k = 0; k < v->keys_count; k++) {
        unsigned char mac[MR_DIGEST_MAX];
        mr_hmac(v->keys[k], filled, v->pieces_count, mac);
        for (size_t i = 0; i < j->signatures_count; i++)
            if (mr_equal_ct(mac, j->signatures[i], size) && found == SECRETS_MAX)
                found = k;
        if (found != SECRETS_MAX)
            break; /* which secret is in use is no secret */
    }
    return found;
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

void mr_verify(struct mr_verifier *v, const struct mr_signed_request *req, int64_t now_us, struct mr_verified *out)
{
    struct judged j;
    struct mr_str filled[PIECES_MAX];
    out->cause = MR_CAUSE_NONE;
    out->secret = 0;
    out->reason[0] = 0;
    out->covers = v->scheme.none ? "none" : v->covers_body ? "body" : "token";
    if (v->scheme.none)
        return;
    j.signatures_count = 0;
    j.timestamp = j.id = (struct mr_str){0};
    if (!read_headers(v, req->head, &j, out) || !fill_pieces(v, req, &j, filled, out))
        return;
    size_t secret = match(v, filled, &j);
    if (secret == SECRETS_MAX) {
        refuse(out, MR_CAUSE_SIGNATURE, "the signature matches none of %zu secrets", v->keys_count);
        return;
    }
    out->secret = (unsigned)secret;
    if (v->scheme.timestamp)
        check_time(v, j.timestamp, now_us, out);
}

/* ---- signing ---- */

static void put_time(const struct mr_scheme *s, int64_t now_us, char out[TIMESTAMP_MAX])
{
    if (s->unit == MR_UNIT_RFC3339)
        mr_time_text(now_us, out);
    else
        snprintf(out, TIMESTAMP_MAX, "%lld", (long long)(now_us / (s->unit == MR_UNIT_S ? 1000000 : 1000)));
}

static void put_mac(const struct mr_scheme *s, const unsigned char *mac, struct mr_buf *out)
{
    size_t size = mr_digest_size(s->digest);
    if (s->encoding == MR_ENC_HEX) {
        mr_hex_put(out, mac, size);
        return;
    }
    size_t at = out->n;
    mr_base64_put(out, (struct mr_str){(const char *)mac, size});
    if (s->encoding != MR_ENC_BASE64URL)
        return;
    for (size_t i = at; i < out->n; i++)
        out->p[i] = out->p[i] == '+' ? '-' : out->p[i] == '/' ? '_' : out->p[i];
    while (out->n > at && out->p[out->n - 1] == '=')
        out->n--;
}

enum mr_code mr_sign(struct mr_verifier *v, const struct mr_signed_request *req, int64_t now_us, struct mr_buf *headers,
                     struct mr_err *err)
{
    const struct mr_scheme *s = &v->scheme;
    if (s->none)
        return MR_OK;
    struct judged j = {0};
    struct mr_str filled[PIECES_MAX];
    struct mr_verified out;
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
    if (!fill_pieces(v, req, &j, filled, &out))
        return mr_err_set(err, MR_ECONFIG, "cannot sign: %s", out.reason);
    mr_hmac(v->keys[0], filled, v->pieces_count, mac);
    if (v->ts_header.p)
        mr_buf_printf(headers, "%s: %s\r\n", v->ts_header.p, timestamp);
    mr_buf_printf(headers, "%s: ", s->header);
    if (v->ts_element.p)
        mr_buf_printf(headers, "%s%c%s%c", v->ts_element.p, s->assign, timestamp, s->list);
    if (s->assign)
        mr_buf_printf(headers, "%s%c", s->take, s->assign);
    mr_buf_puts(headers, s->prefix);
    put_mac(s, mac, headers);
    mr_buf_puts(headers, "\r\n");
    return headers->failed ? mr_err_set(err, MR_ETOOBIG, "signature headers") : MR_OK;
}

/* ---- guessing ---- */

static bool matches_with(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_str body)
{
    struct mr_signed_request changed = *req;
    struct mr_verified out;
    struct judged j;
    struct mr_str filled[PIECES_MAX];
    changed.body = body;
    j.signatures_count = 0;
    j.timestamp = j.id = (struct mr_str){0};
    return read_headers(v, req->head, &j, &out) && fill_pieces(v, &changed, &j, filled, &out) &&
           match(v, filled, &j) != SECRETS_MAX;
}

void mr_verify_guess(struct mr_verifier *v, const struct mr_signed_request *req, struct mr_buf *out)
{
    if (v->scheme.none)
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
