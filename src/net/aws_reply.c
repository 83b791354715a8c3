/* SPDX-License-Identifier: Apache-2.0 */
#include "aws_reply.h"

#include "xml.h"

#include "millrace/clock.h"
#include "millrace/json.h"

#include <stdio.h>

static bool keep(char *out, size_t cap, struct mr_str text)
{
    if (text.n >= cap || (text.n && memchr(text.p, 0, text.n)))
        return false;
    memcpy(out, text.n ? text.p : "", text.n);
    out[text.n] = 0;
    return true;
}

static bool keep_at(struct mr_str json, const char *pointer, char *out, size_t cap)
{
    struct mr_buf text;
    struct mr_json_slice s = mr_json_at(json, mr_str_c(pointer));
    *out = 0;
    if (s.type == MR_JSON_ABSENT || s.type == MR_JSON_NULL)
        return true;
    mr_buf_init(&text, cap);
    bool ok = mr_json_string(s, &text) && !text.failed && keep(out, cap, mr_buf_str(&text));
    mr_buf_free(&text);
    return ok;
}

static enum mr_code complete(struct aws_answer *out, const char *expires, struct mr_err *err)
{
    if (!out->access_key[0] || !out->secret_key[0])
        return mr_err_set(err, MR_EMALFORMED, "no AccessKeyId and SecretAccessKey");
    out->expires_us = INT64_MAX;
    return *expires && !mr_time_parse(mr_str_c(expires), &out->expires_us) ? mr_err_set(err, MR_EMALFORMED, "Expiration is no time") : MR_OK;
}

enum mr_code aws_read_json(struct mr_str json, struct aws_answer *out, struct mr_err *err)
{
    char expires[64], code[64], message[256];
    *out = (struct aws_answer){.expires_us = 0};
    if (mr_json_check(json, NULL) != MR_OK)
        return mr_err_set(err, MR_EMALFORMED, "not JSON");
    bool ok = keep_at(json, "/AccessKeyId", out->access_key, sizeof out->access_key) && keep_at(json, "/SecretAccessKey", out->secret_key, sizeof out->secret_key) &&
              keep_at(json, "/Token", out->token, sizeof out->token) && keep_at(json, "/Expiration", expires, sizeof expires) &&
              keep_at(json, "/Code", code, sizeof code) && keep_at(json, "/Message", message, sizeof message);
    if (!ok)
        return mr_err_set(err, MR_EMALFORMED, "a field longer than any, or no text");
    if (code[0] && strcmp(code, "Success") != 0)
        return mr_err_set(err, MR_EPERM, "%s: %s", code, message);
    return complete(out, expires, err);
}

struct sts {
    struct aws_answer *out;
    char expires[64], code[64], message[256];
    bool bad;
};

static void sts_leaf(void *arg, const char *path, struct mr_str text)
{
    struct sts *s = arg;
#define CREDENTIALS "AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials/"
    const struct {
        const char *path;
        char *out;
        size_t cap;
    } fields[] = {
        {CREDENTIALS "AccessKeyId", s->out->access_key, sizeof s->out->access_key},
        {CREDENTIALS "SecretAccessKey", s->out->secret_key, sizeof s->out->secret_key},
        {CREDENTIALS "SessionToken", s->out->token, sizeof s->out->token},
        {CREDENTIALS "Expiration", s->expires, sizeof s->expires},
        {"ErrorResponse/Error/Code", s->code, sizeof s->code},
        {"ErrorResponse/Error/Message", s->message, sizeof s->message},
    };
    for (size_t i = 0; i < MR_COUNT(fields); i++)
        if (strcmp(path, fields[i].path) == 0)
            s->bad |= !keep(fields[i].out, fields[i].cap, text);
}

enum mr_code aws_read_sts(struct mr_str xml, struct aws_answer *out, struct mr_err *err)
{
    struct sts s = {.out = out};
    *out = (struct aws_answer){.expires_us = 0};
    if (xml_read(xml, sts_leaf, &s, err) != MR_OK)
        return err->code;
    if (s.bad)
        return mr_err_set(err, MR_EMALFORMED, "a field longer than any");
    if (s.code[0])
        return mr_err_set(err, MR_EPERM, "%s: %s", s.code, s.message);
    return complete(out, s.expires, err);
}

bool aws_is_endpoint(struct mr_str url)
{
    static const char *const hosts[] = {"http://127.0.0.1", "http://localhost", "http://[::1]", "http://169.254.170.2", "http://169.254.170.23", "http://[fd00:ec2::23]"};
    if (url.n > 8 && memcmp(url.p, "https://", 8) == 0)
        return true;
    for (size_t i = 0; i < MR_COUNT(hosts); i++) {
        size_t n = strlen(hosts[i]);
        if (url.n >= n && memcmp(url.p, hosts[i], n) == 0 && (url.n == n || url.p[n] == '/' || url.p[n] == ':'))
            return !memchr(url.p + n, '@', url.n - n);
    }
    return false;
}
