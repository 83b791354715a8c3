/* SPDX-License-Identifier: Apache-2.0 */
/* s3.c - a call: sign -> exchange -> what does the answer mean? -> an outcome, or again.
 *
 * ways to fail  each answer says which (s3_verdict.c): later with growing waits, at once by another clock or in another region, or never
 * on close      calls end as canceled, their timers close; the last one that is gone frees the bucket */
#include "millrace/s3.h"

#include "s3_place.h"
#include "s3_verdict.h"

#include "millrace/backoff.h"
#include "millrace/clock.h"
#include "millrace/hash.h"
#include "millrace/json.h"
#include "millrace/sigv4.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { TRIES = 8, BASE_MS = 100, CAP_MS = 20000, BODY_MAX = 8 << 20, HEADERS_MAX = MR_SIGV4_HEADERS_MAX + 8, TEXT_MAX = 1 << 20, TURNS_MAX = 3 };

static const int64_t SKEW_US = INT64_C(5) * 60 * 1000000;

struct mr_s3 {
    struct mr_loop *loop;
    struct mr_client *client;
    struct s3_place place;
    struct mr_aws_keys *keys;
    char *ca;
    unsigned tries;
    int64_t base_ms, cap_ms;
    int64_t offset_us; /* their clock less ours */
    struct mr_s3_call *calls;
    bool closing;
    void (*closed)(void *arg);
    void *arg;
};

struct mr_s3_call {
    struct mr_s3 *s3;
    struct mr_s3_request *r; /* NULL: it has ended, and its timer closes */
    struct mr_s3_call *prev, *next;
    uv_timer_t timer;
    struct mr_exchange x;
    struct mr_aws_waiter waiter;
    bool flying, waiting, sent, repeated; /* waiting: for keys */
    unsigned tries, turns; /* in all; tried again at once, for clock or region */
    struct mr_backoff backoff;
    struct mr_header headers[HEADERS_MAX];
    struct mr_buf url, lines, body;
    char sha256[65], etag[S3_ETAG_MAX], landing[256], region[S3_REGION_MAX];
    int64_t size, date_us;
};

/* ---- the bucket ---- */

static void s3_free(struct mr_s3 *s)
{
    free(s->ca);
    free(s);
}

enum mr_code mr_s3_new(struct mr_loop *loop, struct mr_client *client, const struct mr_s3_options *o, struct mr_s3 **out, struct mr_err *err)
{
    struct mr_s3 *s = calloc(1, sizeof *s);
    if (!s)
        return mr_err_set(err, MR_ENOMEM, "S3");
    s->ca = o->ca ? strdup(o->ca) : NULL;
    if (o->ca && !s->ca) {
        s3_free(s);
        return mr_err_set(err, MR_ENOMEM, "S3");
    }
    if (s3_place_read(o->url, o->endpoint, o->region, (enum s3_style)o->style, &s->place, err) != MR_OK) {
        s3_free(s);
        return err->code;
    }
    s->keys = o->keys;
    s->loop = loop;
    s->client = client;
    s->tries = o->tries ? o->tries : TRIES;
    s->base_ms = o->base_ms ? o->base_ms : BASE_MS;
    s->cap_ms = o->cap_ms ? o->cap_ms : CAP_MS;
    *out = s;
    return MR_OK;
}

const char *mr_s3_prefix(const struct mr_s3 *s)
{
    return s->place.prefix;
}

static void maybe_closed(struct mr_s3 *s)
{
    if (!s->closing || s->calls)
        return;
    void (*closed)(void *) = s->closed;
    void *arg = s->arg;
    s3_free(s);
    closed(arg);
}

/* ---- the end of a call ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct mr_s3_call *c = handle->data;
    struct mr_s3 *s = c->s3;
    if (c->prev)
        c->prev->next = c->next;
    else
        s->calls = c->next;
    if (c->next)
        c->next->prev = c->prev;
    mr_buf_free(&c->url);
    mr_buf_free(&c->lines);
    mr_buf_free(&c->body);
    free(c);
    maybe_closed(s);
}

/* Nobody waits for it any more. */
static void let_go(struct mr_s3_call *c)
{
    if (c->flying)
        mr_exchange_cancel(&c->x);
    if (c->waiting)
        mr_aws_keys_cancel(c->s3->keys, &c->waiter);
    c->flying = c->waiting = false;
    c->r->call = NULL;
    c->r = NULL;
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

static void ends(struct mr_s3_call *c, enum mr_s3_outcome outcome, int status, const struct mr_err *err)
{
    struct mr_s3_request *r = c->r;
    struct mr_s3_end end = {.outcome = outcome, .status = status, .repeated = c->repeated, .tries = c->tries, .body = mr_buf_str(&c->body),
                            .etag = mr_str_c(c->etag), .landing = mr_str_c(c->landing), .size = c->size, .date_us = c->date_us};
    if (err)
        end.err = *err;
    let_go(c);
    r->on_done(r, &end); /* what it borrows lives until the timer is closed, on a later turn */
}

static void ends_with(struct mr_s3_call *c, enum mr_s3_outcome outcome, enum mr_code code, const struct mr_exchange_end *x, const struct s3_error *e)
{
    struct mr_err err = {.code = MR_OK};
    if (x->cause != MR_CLIENT_OK)
        err = x->err;
    else if (e->code[0])
        mr_err_set(&err, code, "%s: %s", e->code, e->message);
    else
        mr_err_set(&err, code, "status %d", x->status);
    err.code = code;
    ends(c, outcome, x->status, &err);
}

/* ---- one try ---- */

static void keep(char *out, size_t cap, struct mr_str value)
{
    snprintf(out, cap, "%.*s", (int)value.n, value.n ? value.p : "");
}

static void on_head(struct mr_exchange *x, const struct mr_response_head *head)
{
    struct mr_s3_call *c = MR_OF(x, struct mr_s3_call, x);
    for (size_t i = 0; i < head->headers_count; i++) {
        struct mr_str name = head->headers[i].name, value = head->headers[i].value;
        if (name.n == 4 && strncasecmp(name.p, "etag", 4) == 0)
            keep(c->etag, sizeof c->etag, value);
        else if (name.n == 18 && strncasecmp(name.p, "x-amz-meta-landing", 18) == 0)
            keep(c->landing, sizeof c->landing, value);
        else if (name.n == 19 && strncasecmp(name.p, "x-amz-bucket-region", 19) == 0)
            keep(c->region, sizeof c->region, value);
        else if (name.n == 14 && strncasecmp(name.p, "content-length", 14) == 0 && !mr_json_i64((struct mr_json_slice){MR_JSON_NUMBER, value}, &c->size))
            c->size = -1;
    }
}

static bool on_bytes(struct mr_exchange *x, struct mr_str bytes)
{
    struct mr_s3_call *c = MR_OF(x, struct mr_s3_call, x);
    mr_buf_put(&c->body, bytes.p, bytes.n);
    return true;
}

static void on_done(struct mr_exchange *x, const struct mr_exchange_end *end);

static bool add_lines(struct mr_s3_call *c, size_t count)
{
    char *p = c->lines.p, *stop = p + c->lines.n;
    while (p < stop && count < HEADERS_MAX) {
        char *colon = strstr(p, ": "), *end = strstr(p, "\r\n");
        c->headers[count++] = (struct mr_header){{p, (size_t)(colon - p)}, {colon + 2, (size_t)(end - colon - 2)}};
        p = end + 2;
    }
    c->x.headers_count = count;
    return p == stop;
}

static enum mr_code prepare(struct mr_s3_call *c, const struct mr_sigv4_keys *keys, struct mr_err *err)
{
    struct mr_s3 *s = c->s3;
    struct mr_s3_request *r = c->r;
    struct mr_buf path;
    mr_buf_init(&path, TEXT_MAX);
    mr_buf_clear(&c->url);
    mr_buf_clear(&c->lines);
    s3_place_path(&s->place, r->key, &path);
    mr_buf_printf(&c->url, "%s://%s", s->place.https ? "https" : "http", s->place.host);
    struct mr_sigv4_request sign = {.method = r->method, .region = mr_str_c(s->place.region), .service = MR_STR("s3"), .host = mr_str_c(s->place.host),
                                    .path = mr_buf_str(&path), .query = r->query, .query_count = r->query_count, .headers = r->headers,
                                    .headers_count = r->headers_count, .payload_sha256 = r->body_sha256.n ? r->body_sha256 : mr_str_c(c->sha256)};
    enum mr_code code = mr_sigv4_sign(&sign, keys, mr_wall_us() + s->offset_us, &c->url, &c->lines, err);
    mr_buf_free(&path);
    if (code != MR_OK)
        return code;
    for (size_t i = 0; i < r->headers_count; i++)
        c->headers[i] = r->headers[i];
    mr_buf_cstr(&c->lines);
    return add_lines(c, r->headers_count) ? MR_OK : mr_err_set(err, MR_ETOOBIG, "more headers than any");
}

static void later(struct mr_s3_call *c, bool slower, const struct mr_exchange_end *x, const struct s3_error *error);

static void fly(struct mr_s3_call *c, const struct mr_sigv4_keys *keys)
{
    struct mr_s3_request *r = c->r;
    struct mr_err err = {.code = MR_OK};
    c->x = (struct mr_exchange){.method = r->method, .body = r->body, .headers = c->headers, .ca = c->s3->ca, .body_max = r->body_max ? r->body_max : BODY_MAX,
                                .on_head = on_head, .on_bytes = on_bytes, .on_done = on_done};
    if (prepare(c, keys, &err) != MR_OK) {
        ends(c, MR_S3_FAILED, 0, &err);
        return;
    }
    c->x.url = mr_buf_str(&c->url);
    c->flying = true;
    mr_exchange_start(c->s3->client, &c->x);
}

static void on_keys(struct mr_aws_waiter *w, const struct mr_err *err, const struct mr_sigv4_keys *keys)
{
    struct mr_s3_call *c = MR_OF(w, struct mr_s3_call, waiter);
    struct s3_error none = {.code = ""};
    c->waiting = false;
    if (err->code == MR_OK)
        fly(c, keys);
    else
        later(c, false, &(struct mr_exchange_end){.cause = MR_CLIENT_CONNECT, .err = *err}, &none);
}

static void try(struct mr_s3_call *c)
{
    mr_buf_clear(&c->body);
    c->etag[0] = c->landing[0] = c->region[0] = 0;
    c->size = -1;
    c->repeated |= c->sent;
    c->tries++;
    c->waiting = true;
    c->waiter = (struct mr_aws_waiter){.done = on_keys};
    mr_aws_keys_get(c->s3->keys, &c->waiter);
}

static void on_timer(uv_timer_t *timer)
{
    try(timer->data);
}

static void again(struct mr_s3_call *c, int64_t wait_ms)
{
    uv_timer_start(&c->timer, on_timer, (uint64_t)wait_ms, 0);
}

/* Those who say that we are too many are asked less often still. */
static void later(struct mr_s3_call *c, bool slower, const struct mr_exchange_end *x, const struct s3_error *error)
{
    if (c->tries >= c->s3->tries) {
        ends_with(c, MR_S3_UNREACHED, MR_ENET, x, error);
        return;
    }
    int64_t ms = mr_backoff_next(&c->backoff, mr_random_u64());
    again(c, slower ? ms + c->s3->base_ms : ms);
}

static void by_their_clock(struct mr_s3_call *c, const struct mr_exchange_end *x, const struct s3_error *error)
{
    if (!x->date_us || ++c->turns > TURNS_MAX) {
        ends_with(c, MR_S3_DENIED, MR_EPERM, x, error);
        return;
    }
    c->s3->offset_us = x->date_us - mr_wall_us();
    mr_log_warn(c->s3->loop->log, NULL, "s3_clock", MR_S("host", c->s3->place.host), MR_I("offset_ms", c->s3->offset_us / 1000),
                MR_S("hint", "this machine's clock and the store's differ; requests are signed by the store's"));
    again(c, 0);
}

static void by_other_keys(struct mr_s3_call *c, const struct mr_exchange_end *x, const struct s3_error *error)
{
    if (++c->turns > TURNS_MAX || !mr_aws_keys_renew(c->s3->keys))
        ends_with(c, MR_S3_DENIED, MR_EPERM, x, error);
    else
        again(c, 0);
}

static void elsewhere(struct mr_s3_call *c, const struct mr_exchange_end *x, const struct s3_error *error)
{
    if (++c->turns > TURNS_MAX || !s3_place_move(&c->s3->place, mr_str_c(error->region))) {
        ends_with(c, MR_S3_FAILED, MR_ECONFIG, x, error);
        return;
    }
    mr_log_info(c->s3->loop->log, NULL, "s3_region", MR_S("bucket", c->s3->place.bucket), MR_S("region", c->s3->place.region));
    again(c, 0);
}

/* The answer to HEAD has no body to tell why: their clock may, and keys that can be renewed are worth one try. */
static enum s3_verdict head_refused(const struct mr_s3_call *c, const struct mr_exchange_end *end, enum s3_verdict verdict)
{
    int64_t apart_us = end->date_us ? end->date_us - mr_wall_us() - c->s3->offset_us : 0;
    if (end->status != 400 && end->status != 403)
        return verdict;
    if (apart_us > SKEW_US || apart_us < -SKEW_US)
        return S3_CLOCK;
    return c->turns ? verdict : S3_CREDENTIALS;
}

static void on_done(struct mr_exchange *x, const struct mr_exchange_end *end)
{
    struct mr_s3_call *c = MR_OF(x, struct mr_s3_call, x);
    struct s3_error error;
    bool head = mr_str_eq(c->r->method, MR_STR("HEAD"));
    c->flying = false;
    c->sent |= end->sent;
    c->date_us = end->date_us;
    c->repeated |= end->repeated;
    enum s3_verdict verdict = s3_judge(
        &(struct s3_answer){.cause = end->cause, .status = end->status, .body = head ? (struct mr_str){0} : mr_buf_str(&c->body), .head = head, .region = mr_str_c(c->region)}, &error);
    if (head && (verdict == S3_FAILED || verdict == S3_DENIED))
        verdict = head_refused(c, end, verdict);
    switch (verdict) {
    case S3_DONE:
        ends(c, MR_S3_DONE, end->status, NULL);
        break;
    case S3_AGAIN:
    case S3_SLOWER:
        later(c, verdict == S3_SLOWER, end, &error);
        break;
    case S3_CLOCK:
        by_their_clock(c, end, &error);
        break;
    case S3_ELSEWHERE:
        elsewhere(c, end, &error);
        break;
    case S3_CREDENTIALS:
        by_other_keys(c, end, &error);
        break;
    case S3_DENIED:
        ends_with(c, MR_S3_DENIED, MR_EPERM, end, &error);
        break;
    case S3_NO_UPLOAD:
        ends_with(c, MR_S3_NO_UPLOAD, MR_ENOENT, end, &error);
        break;
    case S3_NOT_FOUND:
        ends_with(c, MR_S3_NOT_FOUND, MR_ENOENT, end, &error);
        break;
    case S3_EXISTS:
        ends_with(c, MR_S3_EXISTS, MR_EEXIST, end, &error);
        break;
    case S3_FAILED:
        ends_with(c, MR_S3_FAILED, MR_ECONFIG, end, &error);
        break;
    }
}

/* ---- what callers want ---- */

void mr_s3_send(struct mr_s3 *s, struct mr_s3_request *r)
{
    assert(!s->closing);
    struct mr_s3_call *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    *c = (struct mr_s3_call){.s3 = s, .r = r, .next = s->calls, .backoff = mr_backoff_of(s->base_ms, s->cap_ms)};
    mr_buf_init(&c->url, TEXT_MAX);
    mr_buf_init(&c->lines, TEXT_MAX);
    mr_buf_init(&c->body, r->body_max ? r->body_max : BODY_MAX);
    if (r->body_sha256.n == 0) {
        unsigned char digest[MR_DIGEST_MAX];
        struct mr_buf hex;
        mr_digest(MR_SHA256, r->body, digest);
        mr_buf_init(&hex, sizeof c->sha256);
        mr_hex_put(&hex, (const char *)digest, mr_digest_size(MR_SHA256));
        keep(c->sha256, sizeof c->sha256, mr_buf_str(&hex));
        mr_buf_free(&hex);
    }
    if (s->calls)
        s->calls->prev = c;
    s->calls = c;
    r->call = c;
    uv_timer_init(&s->loop->uv, &c->timer);
    c->timer.data = c;
    again(c, 0);
}

void mr_s3_cancel(struct mr_s3_request *r)
{
    let_go(r->call);
}

void mr_s3_close(struct mr_s3 *s, void (*cb)(void *arg), void *arg)
{
    struct mr_err err = {.code = MR_OK};
    s->closing = true;
    s->closed = cb;
    s->arg = arg;
    mr_err_set(&err, MR_ECANCELED, "stopping");
    for (struct mr_s3_call *c = s->calls; c; c = c->next)
        if (c->r)
            ends(c, MR_S3_CANCELED, 0, &err);
    maybe_closed(s);
}
