/* SPDX-License-Identifier: Apache-2.0 */
/* aws_keys.c - a source is a row of steps: read a file (on a worker), ask for a token, for a role, for the keys.
 *
 * happy path    get() -> keys at hand, or the steps -> everybody who waits hears of it
 * ways to fail  those who wait hear why; the next get() begins anew
 * on close      what is out is canceled; a worker's job comes home first */
#include "millrace/aws_keys.h"

#include "aws_reply.h"

#include "millrace/clock.h"
#include "millrace/file.h"
#include "millrace/hash.h"
#include "millrace/worker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define INSTANCE_URL "http://169.254.169.254"
#define CONTAINER_URL "http://169.254.170.2"
enum { ANSWER_MAX = 64 * 1024, FILE_MAX = 16 * 1024, CONNECT_MS = 1000, TOTAL_MS = 5000 };
static const int64_t AHEAD_US = INT64_C(5) * 60 * 1000000, LAST_US = INT64_C(10) * 1000000;

enum source { GIVEN, WEB_IDENTITY, CONTAINER, INSTANCE };
enum step { IDLE, FILE_STEP, TOKEN_STEP, ROLE_STEP, KEYS_STEP };

struct mr_aws_keys {
    struct mr_loop *loop;
    struct mr_client *client;
    enum source source;
    enum step step;
    bool have, closing, job_out, flying;
    struct aws_answer answer, coming;
    char *file, *role, *session, *url, *authorization; /* of the environment; NULL: none */
    char *instance, *token_service;
    struct mr_aws_waiter *waiting;
    struct mr_job job;
    char *read; /* the file's text; the job's while it is out */
    size_t read_n;
    struct mr_err read_err;
    struct mr_exchange x;
    struct mr_header headers[2];
    struct mr_buf target, body, form, token;
};

/* ---- making ---- */

static bool copy(const char *text, char **out)
{
    *out = text && *text ? strdup(text) : NULL;
    return *out || !text || !*text;
}

static const char *of_environment(const char *name)
{
    return getenv(name);
}

static void forget(struct aws_answer *a)
{
    mr_cleanse(a, sizeof *a);
}

static void keys_free(struct mr_aws_keys *k)
{
    forget(&k->answer);
    forget(&k->coming);
    if (k->token.p)
        mr_cleanse(k->token.p, k->token.n);
    mr_buf_free(&k->target);
    mr_buf_free(&k->body);
    mr_buf_free(&k->form);
    mr_buf_free(&k->token);
    free(k->file);
    free(k->role);
    free(k->session);
    free(k->url);
    free(k->authorization);
    free(k->instance);
    free(k->token_service);
    free(k->read);
    free(k);
}

static enum mr_code take_given(struct mr_aws_keys *k, struct mr_str access, struct mr_str secret, struct mr_str token, struct mr_err *err)
{
    if (!access.n != !secret.n)
        return mr_err_set(err, MR_ECONFIG, "an access key and its secret key belong together");
    if (access.n >= sizeof k->answer.access_key || secret.n >= sizeof k->answer.secret_key || token.n >= sizeof k->answer.token)
        return mr_err_set(err, MR_ECONFIG, "keys longer than any");
    memcpy(k->answer.access_key, access.p, access.n);
    memcpy(k->answer.secret_key, secret.p, secret.n);
    if (token.n)
        memcpy(k->answer.token, token.p, token.n);
    k->answer.expires_us = INT64_MAX;
    k->source = GIVEN;
    k->have = true;
    return MR_OK;
}

static struct mr_str text_of(const char *s)
{
    return mr_str_c(s ? s : "");
}

static enum mr_code look_around(struct mr_aws_keys *k, const char *(*env)(const char *name), struct mr_err *err)
{
    const char *relative = env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), *full = env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    const char *token_file = env("AWS_WEB_IDENTITY_TOKEN_FILE"), *role = env("AWS_ROLE_ARN");
    struct mr_str access = text_of(env("AWS_ACCESS_KEY_ID")), secret = text_of(env("AWS_SECRET_ACCESS_KEY"));
    char url[2048];
    bool ok = true;
    if (access.n || secret.n)
        return take_given(k, access, secret, text_of(env("AWS_SESSION_TOKEN")), err);
    if (token_file && *token_file && role && *role) {
        k->source = WEB_IDENTITY;
        ok = copy(token_file, &k->file) && copy(role, &k->role) && copy(env("AWS_ROLE_SESSION_NAME"), &k->session);
    } else if ((relative && *relative) || (full && *full)) {
        k->source = CONTAINER;
        snprintf(url, sizeof url, "%s%s", relative && *relative ? CONTAINER_URL : "", relative && *relative ? relative : full);
        if (!aws_is_endpoint(mr_str_c(url)))
            return mr_err_set(err, MR_ECONFIG, "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor of this machine: keys are not asked for there");
        ok = copy(url, &k->url) && copy(env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"), &k->file) && copy(env("AWS_CONTAINER_AUTHORIZATION_TOKEN"), &k->authorization);
    } else {
        k->source = INSTANCE;
    }
    return ok ? MR_OK : mr_err_set(err, MR_ENOMEM, "AWS keys");
}

enum mr_code mr_aws_keys_new(struct mr_loop *loop, struct mr_client *client, const struct mr_aws_keys_options *o, struct mr_aws_keys **out, struct mr_err *err)
{
    struct mr_aws_keys *k = calloc(1, sizeof *k);
    char service[128];
    if (!k)
        return mr_err_set(err, MR_ENOMEM, "AWS keys");
    k->loop = loop;
    k->client = client;
    mr_buf_init(&k->target, 1 << 16);
    mr_buf_init(&k->body, ANSWER_MAX);
    mr_buf_init(&k->form, 1 << 17);
    mr_buf_init(&k->token, 1 << 16);
    snprintf(service, sizeof service, "https://sts.%.*s.amazonaws.com", (int)(o->region.n < 64 ? o->region.n : 64), o->region.n ? o->region.p : "");
    enum mr_code code = copy(o->instance ? o->instance : INSTANCE_URL, &k->instance) && copy(o->token_service ? o->token_service : service, &k->token_service)
                            ? MR_OK
                            : mr_err_set(err, MR_ENOMEM, "AWS keys");
    if (code == MR_OK && (o->given.access_key.n || o->given.secret_key.n))
        code = take_given(k, o->given.access_key, o->given.secret_key, o->given.session_token, err);
    else if (code == MR_OK)
        code = look_around(k, o->env ? o->env : of_environment, err);
    if (code != MR_OK) {
        keys_free(k);
        return code;
    }
    *out = k;
    return MR_OK;
}

/* ---- telling ---- */

static struct mr_sigv4_keys at_hand(const struct mr_aws_keys *k)
{
    return (struct mr_sigv4_keys){mr_str_c(k->answer.access_key), mr_str_c(k->answer.secret_key), mr_str_c(k->answer.token)};
}

static void over(struct mr_aws_keys *k, const struct mr_err *err)
{
    struct mr_aws_waiter *w = k->waiting;
    struct mr_sigv4_keys keys = at_hand(k);
    struct mr_err none = {.code = MR_OK};
    k->step = IDLE;
    k->waiting = NULL;
    mr_buf_clear(&k->form);
    for (struct mr_aws_waiter *next; w; w = next) {
        next = w->next;
        w->done(w, err ? err : &none, err ? NULL : &keys);
    }
}

static void failed(struct mr_aws_keys *k, enum mr_code code, const char *what, const char *why)
{
    struct mr_err err = {.code = MR_OK};
    static const char *const sources[] = {"given", "the token service (AWS_ROLE_ARN)", "the container's endpoint", "the instance's endpoint; set keys, or AWS_ACCESS_KEY_ID"};
    mr_err_set(&err, code, "no AWS keys of %s: %s%s", sources[k->source], what, why);
    mr_log_warn(k->loop->log, NULL, "aws_keys", MR_S("why", err.msg));
    over(k, &err);
}

static void came(struct mr_aws_keys *k)
{
    k->answer = k->coming;
    forget(&k->coming);
    k->have = true;
    over(k, NULL);
}

/* ---- steps ---- */

static void go_on(struct mr_aws_keys *k);

static bool on_bytes(struct mr_exchange *x, struct mr_str bytes)
{
    struct mr_aws_keys *k = MR_OF(x, struct mr_aws_keys, x);
    mr_buf_put(&k->body, bytes.p, bytes.n);
    return true;
}

static struct mr_str line_of(const struct mr_buf *b)
{
    struct mr_str s = mr_buf_str(b);
    const char *end = s.n ? memchr(s.p, '\n', s.n) : NULL;
    s.n = end ? (size_t)(end - s.p) : s.n;
    while (s.n && (s.p[s.n - 1] == '\r' || s.p[s.n - 1] == ' '))
        s.n--;
    return s;
}

static void answered(struct mr_aws_keys *k)
{
    struct mr_err err = {.code = MR_OK};
    struct mr_str line = line_of(&k->body);
    switch (k->step) {
    case TOKEN_STEP:
        mr_buf_clear(&k->token);
        mr_buf_put(&k->token, line.p, line.n);
        k->step = ROLE_STEP;
        go_on(k);
        return;
    case ROLE_STEP:
        mr_buf_clear(&k->form);
        mr_buf_put(&k->form, line.p, line.n); /* its name */
        k->step = KEYS_STEP;
        go_on(k);
        return;
    case KEYS_STEP:
        break;
    default:
        assert(false);
    }
    enum mr_code code = k->source == WEB_IDENTITY ? aws_read_sts(mr_buf_str(&k->body), &k->coming, &err) : aws_read_json(mr_buf_str(&k->body), &k->coming, &err);
    if (code == MR_OK)
        came(k);
    else
        failed(k, code, err.msg, "");
}

static void on_done(struct mr_exchange *x, const struct mr_exchange_end *end)
{
    struct mr_aws_keys *k = MR_OF(x, struct mr_aws_keys, x);
    char status[64];
    k->flying = false;
    snprintf(status, sizeof status, "status %d", end->status);
    if (end->cause != MR_CLIENT_OK)
        failed(k, MR_ENET, end->err.msg, "");
    else if (end->status != 200 && !(k->source == WEB_IDENTITY && end->status / 100 == 4)) /* the token service says why, in XML */
        failed(k, end->status / 100 == 4 ? MR_EPERM : MR_ENET, status, "");
    else
        answered(k);
    if (k->body.p)
        mr_cleanse(k->body.p, k->body.n);
    mr_buf_clear(&k->body);
}

static void ask(struct mr_aws_keys *k, const char *method, size_t headers, struct mr_str body)
{
    mr_buf_clear(&k->body);
    k->x = (struct mr_exchange){.method = mr_str_c(method), .url = mr_str_c(mr_buf_cstr(&k->target)), .headers = k->headers, .headers_count = headers, .body = body,
                                .connect_ms = CONNECT_MS, .total_ms = TOTAL_MS, .body_max = ANSWER_MAX, .direct = k->source != WEB_IDENTITY, .on_bytes = on_bytes, .on_done = on_done};
    k->flying = true;
    mr_exchange_start(k->client, &k->x);
}

static void put_field(struct mr_buf *form, const char *name, struct mr_str value)
{
    mr_buf_printf(form, "&%s=", name);
    mr_uri_encode(value, false, form);
}

static void ask_token_service(struct mr_aws_keys *k)
{
    mr_buf_puts(&k->target, k->token_service);
    mr_buf_putc(&k->target, '/');
    mr_buf_clear(&k->form);
    mr_buf_puts(&k->form, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15");
    put_field(&k->form, "RoleArn", mr_str_c(k->role));
    put_field(&k->form, "RoleSessionName", mr_str_c(k->session ? k->session : "millrace"));
    put_field(&k->form, "WebIdentityToken", line_of(&k->token));
    k->headers[0] = (struct mr_header){MR_STR("Content-Type"), MR_STR("application/x-www-form-urlencoded")};
    ask(k, "POST", 1, mr_buf_str(&k->form));
}

static void ask_container(struct mr_aws_keys *k)
{
    struct mr_str token = k->file ? line_of(&k->token) : text_of(k->authorization);
    mr_buf_puts(&k->target, k->url);
    k->headers[0] = (struct mr_header){MR_STR("Authorization"), token};
    ask(k, "GET", token.n > 0, (struct mr_str){0});
}

/* Version 2 of the service, which wants a token first; a container behind one more hop may not reach it, and is told so by the time-out. */
static void ask_instance(struct mr_aws_keys *k)
{
    mr_buf_puts(&k->target, k->instance);
    k->headers[0] = (struct mr_header){MR_STR("X-aws-ec2-metadata-token"), mr_buf_str(&k->token)};
    if (k->step == TOKEN_STEP) {
        mr_buf_puts(&k->target, "/latest/api/token");
        k->headers[0] = (struct mr_header){MR_STR("X-aws-ec2-metadata-token-ttl-seconds"), MR_STR("300")};
        ask(k, "PUT", 1, (struct mr_str){0});
        return;
    }
    mr_buf_puts(&k->target, "/latest/meta-data/iam/security-credentials/");
    if (k->step == KEYS_STEP)
        mr_uri_encode(mr_buf_str(&k->form), false, &k->target);
    ask(k, "GET", 1, (struct mr_str){0});
}

static void read_file(struct mr_job *job)
{
    struct mr_aws_keys *k = MR_OF(job, struct mr_aws_keys, job);
    k->read_err = (struct mr_err){.code = MR_OK};
    (void)!mr_file_read(k->file, FILE_MAX, &k->read, &k->read_n, &k->read_err);
}

static void file_read(struct mr_job *job, bool canceled)
{
    struct mr_aws_keys *k = MR_OF(job, struct mr_aws_keys, job);
    k->job_out = false;
    if (k->closing || canceled) {
        keys_free(k);
        return;
    }
    if (k->read_err.code != MR_OK) {
        failed(k, k->read_err.code, "the file of the token: ", k->read_err.msg);
        return;
    }
    mr_buf_clear(&k->token);
    mr_buf_put(&k->token, k->read, k->read_n);
    mr_cleanse(k->read, k->read_n);
    free(k->read);
    k->read = NULL;
    k->step = KEYS_STEP;
    go_on(k);
}

static void go_on(struct mr_aws_keys *k)
{
    mr_buf_clear(&k->target);
    if (k->step == FILE_STEP) {
        k->job = (struct mr_job){.run = read_file, .done = file_read};
        k->job_out = true;
        mr_worker_submit(k->loop->workers, MR_LANE_MISC, &k->job);
    } else if (k->source == WEB_IDENTITY) {
        ask_token_service(k);
    } else if (k->source == CONTAINER) {
        ask_container(k);
    } else {
        ask_instance(k);
    }
}

static void begin(struct mr_aws_keys *k)
{
    if (k->step != IDLE)
        return;
    k->step = k->file ? FILE_STEP : k->source == INSTANCE ? TOKEN_STEP : KEYS_STEP;
    go_on(k);
}

/* ---- what callers want ---- */

void mr_aws_keys_get(struct mr_aws_keys *k, struct mr_aws_waiter *w)
{
    int64_t left_us = k->have ? k->answer.expires_us - mr_wall_us() : 0;
    struct mr_sigv4_keys keys = at_hand(k);
    assert(!k->closing);
    if (left_us < LAST_US) {
        w->next = k->waiting;
        k->waiting = w;
        begin(k);
        return;
    }
    if (left_us < AHEAD_US)
        begin(k); /* while these still serve */
    w->done(w, &(struct mr_err){.code = MR_OK}, &keys);
}

void mr_aws_keys_cancel(struct mr_aws_keys *k, struct mr_aws_waiter *w)
{
    for (struct mr_aws_waiter **at = &k->waiting; *at; at = &(*at)->next)
        if (*at == w) {
            *at = w->next;
            return;
        }
}

bool mr_aws_keys_renew(struct mr_aws_keys *k)
{
    if (k->source == GIVEN)
        return false;
    k->have = false;
    return true;
}

void mr_aws_keys_close(struct mr_aws_keys *k)
{
    assert(!k->waiting);
    k->closing = true;
    if (k->flying)
        mr_exchange_cancel(&k->x);
    if (!k->job_out)
        keys_free(k);
}
