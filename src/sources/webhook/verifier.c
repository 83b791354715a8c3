/* SPDX-License-Identifier: Apache-2.0 */
/* verifier.c - a row of the scheme table, joined with a source's secrets. The text template is cut into pieces once. */
#include "verifier.h"

#include <stdio.h>
#include <stdlib.h>

static enum mr_code add_piece(struct mr_verifier *v, enum piece_kind kind, struct mr_str text, struct mr_err *err)
{
    if (kind == PIECE_LITERAL && text.n == 0)
        return MR_OK;
    if (v->pieces_count == PIECES_MAX)
        return mr_err_set(err, MR_ECONFIG, "signed: more than %d pieces", PIECES_MAX);
    v->pieces[v->pieces_count++] = (struct piece){kind, text};
    v->covers_body |= kind == PIECE_BODY || kind == PIECE_SNS;
    v->reads_json |= kind == PIECE_JSON || kind == PIECE_JSON_MAYBE;
    v->reads_json |= kind == PIECE_SNS;
    v->decodes |= kind >= PIECE_JSON || kind == PIECE_FORM || kind == PIECE_SNS || kind == PIECE_CRC32;
    return MR_OK;
}

static enum mr_code add_named(struct mr_verifier *v, struct mr_str name, struct mr_err *err)
{
    static const struct {
        const char *name;
        enum piece_kind kind;
    } names[] = {{"body", PIECE_BODY}, {"timestamp", PIECE_TIMESTAMP}, {"id", PIECE_ID},       {"method", PIECE_METHOD},
                 {"url", PIECE_URL},   {"path", PIECE_PATH},           {"query", PIECE_QUERY}, {"secret", PIECE_SECRET},
                 {"form", PIECE_FORM},   {"sns", PIECE_SNS},           {"crc32", PIECE_CRC32}},
      fields[] = {{"header:", PIECE_HEADER},
                  {"json:", PIECE_JSON},
                  {"json?:", PIECE_JSON_MAYBE},
                  {"form:", PIECE_FORM_FIELD},
                  {"query:", PIECE_QUERY_FIELD}};
    for (size_t i = 0; i < MR_COUNT(names); i++)
        if (mr_str_eq(name, mr_str_c(names[i].name)))
            return add_piece(v, names[i].kind, (struct mr_str){0}, err);
    for (size_t i = 0; i < MR_COUNT(fields); i++) {
        size_t n = strlen(fields[i].name);
        if (name.n > n && memcmp(name.p, fields[i].name, n) == 0)
            return add_piece(v, fields[i].kind, (struct mr_str){name.p + n, name.n - n}, err);
    }
    return mr_err_set(err, MR_ECONFIG,
                      "signed: {%.*s} is not known; expected {body}, {timestamp}, {id}, {method}, {url}, {path}, {query}, "
                      "{form}, {header:Name}, {json:/pointer}, {json?:/pointer}, {form:name} or {query:name}",
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

static enum mr_code add_key(struct mr_verifier *v, struct mr_str secret, struct mr_err *err)
{
    struct key *key = &v->keys[v->keys_count];
    switch (v->scheme.kind) {
    case MR_KIND_ED25519:
    case MR_KIND_ECDSA:
        if (mr_pubkey_new(v->scheme.kind == MR_KIND_ECDSA ? MR_ECDSA_P256 : MR_ED25519, secret, &key->public, err) != MR_OK)
            return err->code;
        break;
    case MR_KIND_JWT:
        if (v->scheme.jwt_es256 && mr_pubkey_new(MR_ECDSA_P256, secret, &key->public, err) != MR_OK)
            return err->code;
        if (!v->scheme.jwt_es256)
            key->mac = mr_hmac_key_new(v->scheme.digest, secret);
        break;
    case MR_KIND_MAC:
        key->mac = mr_hmac_key_new(v->scheme.digest, secret);
        break;
    case MR_KIND_RSA:
    case MR_KIND_OIDC:
    case MR_KIND_HASH:
    case MR_KIND_TOKEN:
    case MR_KIND_BASIC:
        break;
    }
    key->text = malloc(secret.n + 1);
    if (!key->text)
        return mr_err_set(err, MR_ENOMEM, "secret");
    memcpy(key->text, secret.p, secret.n);
    key->text[secret.n] = 0;
    key->n = secret.n;
    key->until_us = INT64_MAX;
    v->keys_count++;
    return MR_OK;
}

static bool decode_secret(enum mr_key_form form, struct mr_str text, unsigned char *bytes, size_t *n)
{
    if (form == MR_KEY_HEX)
        return text.n % 2 == 0 && mr_hex_get(text, bytes, *n = text.n / 2);
    return mr_base64_get(text, false, bytes, text.n, n);
}

static enum mr_code add_secret(struct mr_verifier *v, const struct mr_secret *secret, size_t index, struct mr_err *err)
{
    struct mr_str text = {secret->value, secret->n};
    const char *origin = secret->origin ? secret->origin : "?";
    size_t skip = v->scheme.key_prefix ? strlen(v->scheme.key_prefix) : 0, n = 0;
    if (skip && text.n > skip && memcmp(text.p, v->scheme.key_prefix, skip) == 0)
        text = (struct mr_str){text.p + skip, text.n - skip};
    if (text.n == 0)
        return mr_err_set(err, MR_ECONFIG, "secret %zu (%s) is empty", index, origin);
    if (v->scheme.kind == MR_KIND_BASIC && !memchr(text.p, ':', text.n))
        return mr_err_set(err, MR_ECONFIG, "secret %zu (%s) is not `user:password`, as scheme basic wants it", index, origin);
    if (v->scheme.key == MR_KEY_TEXT)
        return add_key(v, text, err) == MR_OK ? MR_OK : mr_err_wrap(err, "secret %zu (%s)", index, origin);
    unsigned char *bytes = malloc(text.n + MR_DIGEST_MAX);
    if (!bytes)
        return mr_err_set(err, MR_ENOMEM, "secret %zu", index);
    if (v->scheme.key == MR_KEY_SHA1)
        mr_digest(MR_SHA1, text, bytes);
    bool ok = v->scheme.key == MR_KEY_SHA1 ? (n = mr_digest_size(MR_SHA1)) > 0 : decode_secret(v->scheme.key, text, bytes, &n);
    enum mr_code code = ok && n > 0 ? add_key(v, (struct mr_str){(const char *)bytes, n}, err) : MR_ECONFIG;
    mr_cleanse(bytes, text.n + MR_DIGEST_MAX);
    free(bytes);
    if (!ok || n == 0)
        return mr_err_set(err, MR_ECONFIG, "secret %zu (%s) is not %s, as scheme %s wants it", index, origin,
                          v->scheme.key == MR_KEY_HEX ? "hex" : "base64", v->scheme.name);
    return code;
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
    bool header = o->header && *o->header, signature = o->signature && *o->signature;
    if (header == signature)
        return mr_err_set(err, MR_ECONFIG,
                          "scheme %s needs `header`: the name of the header with the signature, or `signature`: "
                          "json:/pointer or form:name; one of them",
                          s->name);
    s->signature = v->signature = keep(o->signature);
    s->digest = (enum mr_digest)o->digest;
    s->encoding = (enum mr_encoding)o->encoding;
    s->key = (enum mr_key_form)o->key;
    s->unit = (enum mr_time_unit)o->unit;
    s->header = v->header = keep(o->header);
    v->prefix = keep(o->prefix);
    s->prefix = v->prefix ? v->prefix : "";
    s->take = v->take = keep(o->take);
    if (o->text && *o->text && s->kind == MR_KIND_MAC)
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

static bool place_of(const char *text, struct place *out)
{
    static const struct {
        const char *before;
        enum place_kind kind;
    } kinds[] = {{"header:", PLACE_HEADER}, {"element:", PLACE_ELEMENT}, {"json:", PLACE_JSON}, {"form:", PLACE_FORM}};
    if (strcmp(text, "first") == 0) {
        *out = (struct place){PLACE_FIRST, {0}};
        return true;
    }
    for (size_t i = 0; i < MR_COUNT(kinds); i++) {
        size_t n = strlen(kinds[i].before);
        if (strncmp(text, kinds[i].before, n) == 0 && text[n]) {
            *out = (struct place){kinds[i].kind, mr_str_c(text + n)};
            return true;
        }
    }
    return false;
}

static enum mr_code check_time_place(struct mr_verifier *v, bool signed_in_text, struct mr_err *err)
{
    const struct mr_scheme *s = &v->scheme;
    if (!s->timestamp || s->kind == MR_KIND_JWT)
        return MR_OK;
    bool known = place_of(s->timestamp, &v->time);
    bool list = s->list && (s->assign || v->time.kind == PLACE_FIRST);
    if (!known || ((v->time.kind == PLACE_ELEMENT || v->time.kind == PLACE_FIRST) && !list))
        return mr_err_set(err, MR_ECONFIG,
                          "timestamp must be `header:Name`, `json:/pointer`, `form:name`, or `element:key` of a list with "
                          "`separator` and `assign`; not \"%s\"",
                          s->timestamp);
    bool in_body = v->time.kind == PLACE_JSON || v->time.kind == PLACE_FORM;
    if (!signed_in_text && !(in_body && v->covers_body))
        return mr_err_set(err, MR_ECONFIG, "a timestamp that is not signed protects nothing: put {timestamp} into `signed`");
    return MR_OK;
}

static enum mr_code check_pieces(struct mr_verifier *v, struct mr_err *err)
{
    bool timestamp = false;
    for (size_t i = 0; i < v->pieces_count; i++) {
        timestamp |= v->pieces[i].kind == PIECE_TIMESTAMP;
        if (v->pieces[i].kind == PIECE_ID && !v->scheme.id)
            return mr_err_set(err, MR_ECONFIG, "signed names {id}: say where it is with `id: header:Name`");
        if (v->pieces[i].kind == PIECE_SECRET && v->scheme.kind != MR_KIND_HASH && v->scheme.kind != MR_KIND_RSA)
            return mr_err_set(err, MR_ECONFIG, "signed: {secret} is for digests without a key; hmac has it as the key");
    }
    if (timestamp && !v->scheme.timestamp)
        return mr_err_set(err, MR_ECONFIG,
                          "signed names {timestamp}: say where it is with `timestamp: header:Name` or `element:key`");
    if (v->scheme.signature && (!place_of(v->scheme.signature, &v->where) || v->where.kind < PLACE_JSON))
        return mr_err_set(err, MR_ECONFIG, "signature must be `json:/pointer` or `form:name`, not \"%s\"", v->scheme.signature);
    if (check_time_place(v, timestamp, err) != MR_OK)
        return err->code;
    v->reads_json |= v->where.kind == PLACE_JSON || v->time.kind == PLACE_JSON;
    v->decodes |= v->where.kind >= PLACE_JSON || v->time.kind >= PLACE_JSON || v->scheme.url_ports || v->scheme.url_decoded ||
                  v->scheme.kind == MR_KIND_JWT || v->scheme.kind == MR_KIND_BASIC;
    return MR_OK;
}

static enum mr_code take_oidc(struct mr_verifier *v, const struct mr_verify_options *o, struct mr_err *err)
{
    if (!o->audience || !*o->audience || !o->email || !*o->email)
        return mr_err_set(err, MR_ECONFIG, "scheme %s needs `audience` and `email`: Google signs for anybody, and they say that it is meant for you, and by whom",
                          v->scheme.name);
    v->audience = strdup(o->audience);
    v->email = strdup(o->email);
    return v->audience && v->email ? MR_OK : mr_err_set(err, MR_ENOMEM, "verify");
}

static enum mr_code fill(struct mr_verifier *v, const struct mr_verify_options *o, struct mr_err *err)
{
    if ((strcmp(v->scheme.name, "hmac") == 0 || strcmp(v->scheme.name, "token") == 0) && take_parts(v, o, err) != MR_OK)
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
    if (v->scheme.kind == MR_KIND_OIDC && take_oidc(v, o, err) != MR_OK)
        return err->code;
    if (v->scheme.keyless) {
        v->keys[v->keys_count++].until_us = INT64_MAX; /* an empty one, so that there is something to try */
        return MR_OK;
    }
    if (o->secrets.count == 0)
        return mr_err_set(err, MR_ECONFIG, "scheme %s needs `secrets`: [\"${env:NAME}\"] or [\"${file:PATH}\"]",
                          v->scheme.name);
    if (o->secrets.count + o->retiring.count > SECRETS_MAX)
        return mr_err_set(err, MR_ECONFIG, "more than %d secrets", SECRETS_MAX);
    for (size_t i = 0; i < o->secrets.count; i++)
        if (add_secret(v, &o->secrets.items[i], i, err) != MR_OK)
            return err->code;
    const struct mr_retiring *retiring = o->retiring.items;
    for (size_t i = 0; i < o->retiring.count; i++) {
        if (add_secret(v, &retiring[i].secret, o->secrets.count + i, err) != MR_OK)
            return err->code;
        v->keys[v->keys_count - 1].until_us = retiring[i].until_us;
    }
    return MR_OK;
}

enum mr_code mr_verifier_new(const struct mr_verify_options *options, struct mr_verifier **out, struct mr_err *err)
{
    const struct mr_scheme *row = options->scheme ? mr_scheme_find(options->scheme) : NULL;
    if (!row) {
        struct mr_buf names;
        mr_buf_init(&names, 4096);
        mr_scheme_near(options->scheme ? options->scheme : "", &names);
        mr_err_set(err, MR_ECONFIG, "scheme \"%.60s\" is not known;%s%s%s docs/webhook-schemes.md has all %zu; hmac takes any other",
                   options->scheme ? options->scheme : "", names.n ? " near it: " : "", names.n ? mr_buf_cstr(&names) : "", names.n ? ";" : "",
                   mr_schemes_count);
        mr_buf_free(&names);
        return err->code;
    }
    struct mr_verifier *v = calloc(1, sizeof *v);
    if (!v)
        return mr_err_set(err, MR_ENOMEM, "verify");
    v->scheme = *row;
    mr_buf_init(&v->scratch, SIZE_MAX / 4); /* four times a request, which is bounded by body_limit */
    mr_buf_init(&v->message, SIZE_MAX / 4);
    unsigned char random[32];
    mr_random(random, sizeof random);
    v->blind = mr_hmac_key_new(MR_SHA256, (struct mr_str){(const char *)random, sizeof random});
    if (fill(v, options, err) != MR_OK) {
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
    for (size_t i = 0; i < SECRETS_MAX; i++) {
        struct key *key = &v->keys[i];
        if (key->mac)
            mr_hmac_key_free(key->mac);
        mr_pubkey_free(key->public);
        if (key->text)
            mr_cleanse(key->text, key->n);
        free(key->text);
    }
    mr_hmac_key_free(v->blind);
    mr_buf_free(&v->scratch);
    mr_buf_free(&v->message);
    free(v->signature);
    free(v->audience);
    free(v->email);
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

bool mr_verifier_reads_form(const struct mr_verifier *v)
{
    bool reads = v->where.kind == PLACE_FORM || v->time.kind == PLACE_FORM;
    for (size_t i = 0; i < v->pieces_count; i++)
        reads |= v->pieces[i].kind == PIECE_FORM || v->pieces[i].kind == PIECE_FORM_FIELD;
    return reads;
}

bool mr_verifier_needs_url(const struct mr_verifier *v)
{
    for (size_t i = 0; i < v->pieces_count; i++)
        if (v->pieces[i].kind == PIECE_URL)
            return true;
    return false;
}
