/* SPDX-License-Identifier: Apache-2.0 */
/* receive.c - from a request to its answer: route, method, coding, size, signature; then the queue; 2xx when it is
 * durable.
 *
 * happy path    on_head finds the route -> on_request verifies, puts the event into the queue's group -> on_durable
 * answers ways to fail  a 4xx with a one-line reason that leaks nothing, a counter by cause, a sampled log line; 503
 * with Retry-After when the queue cannot take it, now or after a failed sync on close      requests that wait in the
 * queue are answered by its callbacks; the server's close waits for none of them */
#include "hub.h"

#include "millrace/compress.h"
#include "millrace/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { LOG_EVERY_MS = 1000, DECODED_KEPT = 1 << 20 };

struct pending { /* in the request's room, while its group is being made durable */
    struct mr_queue_wait wait;
    struct hub *hub;
    struct mr_cell *accepted, *unavailable;
    int64_t began_us;
    int status;
};
_Static_assert(sizeof(struct pending) <= MR_HTTP_ROOM, "a pending request must fit into its room");

static const struct mr_str json_type = {"application/json", 16};

static void fill(struct mr_http_answer *a, int status, struct mr_str body)
{
    *a = (struct mr_http_answer){.status = status, .content_type = json_type, .body = body};
}

static void unavailable(struct mr_http_answer *a, struct mr_str body)
{
    /* Jitter: senders that were refused together do not come back together. */
    static const char *const retry[] = {"Retry-After: 2\r\n", "Retry-After: 3\r\n", "Retry-After: 4\r\n",
                                        "Retry-After: 5\r\n"};
    fill(a, 503, body);
    a->extra = mr_str_c(retry[(uint64_t)mr_mono_us() % MR_COUNT(retry)]);
}

/* Rather one that is up: after a reload the source that goes and the one that comes may both have the path. */
static struct webhook *route_of(struct hub *h, struct mr_str path)
{
    struct webhook *found = NULL;
    for (struct webhook *w = h->routes; w; w = w->next)
        if (webhook_is_route(w, path)) {
            if (w->up)
                return w;
            found = w;
        }
    return found;
}

static void say_refused(struct webhook *w, enum mr_cause cause, const char *reason, struct mr_str remote)
{
    mr_cell_add(w->refused[cause], 1);
    struct mr_loop *loop = w->hub->core->loop;
    uint64_t now_ms = mr_loop_now_ms(loop);
    if (w->refused_logged_ms && now_ms - w->refused_logged_ms < LOG_EVERY_MS) {
        w->refused_unlogged++;
        return;
    }
    mr_log_warn(loop->log, w->name, "request_refused", MR_S("cause", mr_cause_name(cause)), MR_S("why", reason),
                MR_SN("remote", remote), MR_I("unlogged", w->refused_unlogged));
    w->refused_logged_ms = now_ms;
    w->refused_unlogged = 0;
}

/* ---- the head: what can be refused before the body is read ---- */

static void refuse_method(struct webhook *w, struct mr_http_answer *answer, struct mr_str remote)
{
    say_refused(w, MR_CAUSE_METHOD, "method not allowed", remote);
    fill(answer, 405, MR_STR("{\"error\":\"method not allowed\"}\n"));
    answer->extra = mr_str_c(w->allow);
}

static void too_often(struct webhook *w, struct mr_http_answer *answer, int64_t seconds, const char *reason, const struct sight *s)
{
    struct hub *h = w->hub;
    say_refused(w, MR_CAUSE_RATE, reason, s->head.remote);
    fill(answer, 429, MR_STR("{\"error\":\"too many requests\"}\n"));
    snprintf(h->retry, sizeof h->retry, "Retry-After: %lld\r\n", (long long)seconds + mr_mono_us() % 2); /* not all at once */
    answer->extra = mr_str_c(h->retry);
}

/* By address and pace alone, before anything else of him is looked at. */
static bool admitted(struct webhook *w, const struct sight *s, struct mr_http_answer *answer)
{
    if (!admit_client(w, s)) {
        say_refused(w, MR_CAUSE_ADDRESS, "the client's address is not among those allowed", s->head.remote);
        fill(answer, 403, MR_STR("{\"error\":\"address not allowed\"}\n"));
        return false;
    }
    int64_t wait_s = admit_soon(w, s);
    if (wait_s)
        too_often(w, answer, wait_s, "more requests of this client than rate_per_client", s);
    return wait_s == 0;
}

static void not_up(struct webhook *w, struct mr_http_answer *answer)
{
    mr_cell_add(w->unavailable, 1);
    unavailable(answer, MR_STR("{\"error\":\"source is not up\"}\n"));
}

static int on_head(void *arg, struct mr_http_request *req, const struct mr_http_head *head, size_t *body_limit,
                   struct mr_http_answer *answer)
{
    struct hub *h = arg;
    (void)req;
    struct webhook *w = route_of(h, head->path);
    if (!w) {
        mr_cell_add(mr_metric(h->core->loop->metrics, MR_M_HTTP_REFUSED, "webhook", "route"), 1);
        fill(answer, 404, MR_STR("{\"error\":\"no such route\"}\n"));
        return -1;
    }
    if (!w->up) { /* a vendor that got 404 might give the endpoint up */
        not_up(w, answer);
        return -1;
    }
    struct sight sight;
    sight_of(w, head, &sight);
    if (!admitted(w, &sight, answer))
        return -1;
    struct mr_str remote = sight.head.remote;
    bool handshake = mr_shaker_takes(w->shaker, head);
    if (!handshake && !webhook_allows(w->o, head->method)) {
        refuse_method(w, answer, remote);
        return -1;
    }
    if (webhook_coding(head) == CODING_OTHER) {
        say_refused(w, MR_CAUSE_CODING, "content coding other than gzip", remote);
        fill(answer, 415, MR_STR("{\"error\":\"content coding not supported; send gzip or none\"}\n"));
        return -1;
    }
    if ((w->paused && !handshake) || h->draining) { /* who gets no answer to his handshake drops the subscription */
        mr_cell_add(w->unavailable, 1);
        unavailable(answer, w->paused ? MR_STR("{\"error\":\"source is paused\"}\n")
                                      : MR_STR("{\"error\":\"shutting down\"}\n"));
        return -1;
    }
    *body_limit = (size_t)(w->o->body_limit ? w->o->body_limit : h->o->http.body_limit);
    if (handshake && !webhook_allows(w->o, head->method) && *body_limit > MR_SHAKE_BODY_MAX)
        *body_limit = MR_SHAKE_BODY_MAX;
    if (head->content_length > (int64_t)*body_limit) {
        say_refused(w, MR_CAUSE_SIZE, "declared body larger than body_limit", remote);
        fill(answer, 413, MR_STR("{\"error\":\"body too large\"}\n"));
        return -1;
    }
    return 0;
}

/* ---- the whole request ---- */

static void on_durable(struct mr_queue_wait *wait, enum mr_code code) /* Runs on: loop, for each request of a group */
{
    struct pending *p = MR_OF(wait, struct pending, wait);
    struct mr_http_answer a = {.status = p->status};
    if (code == MR_OK) {
        mr_cell_add(p->accepted, 1);
        mr_cell_observe(p->hub->durable_seconds, (double)(mr_mono_us() - p->began_us) / 1e6);
    } else {
        mr_cell_add(p->unavailable, 1);
        unavailable(&a, MR_STR("{\"error\":\"not stored, send again\"}\n"));
    }
    mr_http_answer(mr_http_of_room(p), &a);
}

static bool is(struct mr_str a, const char *lower)
{
    return a.n == strlen(lower) && strncasecmp(a.p, lower, a.n) == 0;
}

/* Proxies tell the address that was asked for in headers of their own: a secret path is a secret there, too. */
static bool tells_path(const struct webhook_options *o, struct mr_str value)
{
    return o->path_secret.n && value.n && memmem(value.p, value.n, o->path_secret.value, o->path_secret.n);
}

bool webhook_masks(void *arg, const struct mr_header *header)
{
    static const char *const always[] = {"authorization", "proxy-authorization", "cookie",
                                         "x-api-key",     "x-gitlab-token",      "x-telegram-bot-api-secret-token",
                                         "dg-token"};
    const struct webhook_options *o = arg;
    for (size_t i = 0; i < MR_COUNT(always); i++)
        if (is(header->name, always[i]))
            return true;
    for (size_t i = 0; i < o->mask_headers.count; i++)
        if (is(header->name, o->mask_headers.items[i]))
            return true;
    return tells_path(o, header->value);
}

static void put_event(struct webhook *w, const struct mr_http_head *head, const struct mr_verified *verified,
                      struct mr_str body, int64_t now_us)
{
    struct hub *h = w->hub;
    bool dedup = w->o->dedup_given && w->o->dedup.id;
    struct mr_event e = {
        .arrived_us = now_us,
        .payload = w->o->payload ? MR_PAYLOAD_EXACT : MR_PAYLOAD_JSON,
        .secret = verified->secret,
        .scheme = mr_str_c(mr_verifier_scheme(w->verifier)->name),
        .covers = mr_str_c(verified->covers),
        .dedup_id = mr_str_c(dedup ? w->o->dedup.id : ""),
        .dedup_window_ms = dedup ? w->o->dedup.window_ms : 0,
        .method = head->method,
        .path = head->path,
        .query = head->query,
        .remote = head->remote,
        .headers = head->headers,
        .headers_count = head->headers_count,
        .body = body,
    };
    mr_buf_clear(&h->event);
    mr_event_put(&h->event, &e, webhook_masks, (void *)(uintptr_t)w->o);
}

static void refuse_now(struct mr_http_request *req, int status, struct mr_str body)
{
    struct mr_http_answer a;
    fill(&a, status, body);
    mr_http_answer(req, &a);
}

static struct mr_str same_head(void *arg, size_t index)
{
    const struct pending *p = arg;
    (void)index;
    return mr_buf_str(&p->hub->event);
}

static void on_batch_durable(void *arg, enum mr_code code)
{
    struct pending *p = arg;
    on_durable(&p->wait, code);
}

/* *whole: it is none, and lands as one record. */
static enum mr_code append_batch(struct webhook *w, struct pending *p, struct mr_str body, bool *whole)
{
    struct hub *h = w->hub;
    struct batch_cut cut;
    *whole = !batch_of(&w->o->split, body, h->event.n, h->group_memory / 2, &cut);
    if (*whole) {
        mr_cell_add(w->unsplit, 1);
        return MR_OK;
    }
    if (cut.count == 0) { /* an empty batch has arrived */
        on_durable(&p->wait, MR_OK);
        return MR_OK;
    }
    mr_cell_add(w->elements, (int64_t)cut.count);
    return batch_append(h->queue, mr_str_c(w->queue_key), &cut, same_head, on_batch_durable, p);
}

static enum mr_code append_one(struct webhook *w, struct pending *p, struct mr_str body)
{
    const struct mr_str pieces[] = {mr_buf_str(&w->hub->event), body};
    return mr_queue_append(w->hub->queue, mr_str_c(w->queue_key), pieces, MR_COUNT(pieces), &p->wait);
}

static void append(struct webhook *w, struct mr_http_request *req, struct mr_str body)
{
    struct hub *h = w->hub;
    struct pending *p = mr_http_room(req);
    bool whole = true;
    *p = (struct pending){.wait = {.done = on_durable},
                          .hub = h,
                          .accepted = w->accepted,
                          .unavailable = w->unavailable,
                          .began_us = mr_mono_us(),
                          .status = (int)w->o->ack.status};
    enum mr_code code = h->event.failed ? MR_ENOMEM : w->o->split_given ? append_batch(w, p, body, &whole) : MR_OK;
    if (code == MR_OK && whole)
        code = append_one(w, p, body);
    if (code == MR_OK) {
        mr_cell_add(w->bytes, (int64_t)body.n);
        return;
    }
    struct mr_http_answer a;
    mr_cell_add(w->unavailable, 1);
    unavailable(&a, code == MR_ENOSPC ? MR_STR("{\"error\":\"no room, send again later\"}\n")
                                      : MR_STR("{\"error\":\"busy, send again\"}\n"));
    mr_http_answer(req, &a);
}

static void quarantine(struct webhook *w, const struct mr_http_head *head, struct mr_str body, int64_t now_us,
                       enum mr_cause cause, const char *reason)
{
    refused_keep(w->kept, &(struct refused_request){.head = head,
                                                    .body = body,
                                                    .received_us = now_us,
                                                    .cause = cause,
                                                    .reason = reason,
                                                    .masked = webhook_masks,
                                                    .arg = (void *)(uintptr_t)w->o});
}

/* Lands decoded, verified on the wire bytes, bounded after decoding. */
static bool decode(struct webhook *w, struct mr_http_request *req, const struct mr_http_head *head, struct mr_str *body,
                   int64_t now_us)
{
    struct hub *h = w->hub;
    if (webhook_coding(head) != CODING_GZIP)
        return true;
    struct mr_err err;
    size_t limit = (size_t)(w->o->body_limit ? w->o->body_limit : h->o->http.body_limit);
    mr_buf_clear(&h->decoded);
    enum mr_code code = mr_gunzip(*body, limit, &h->decoded, &err);
    if (code == MR_OK) {
        *body = mr_buf_str(&h->decoded);
        return true;
    }
    enum mr_cause cause = code == MR_ETOOBIG ? MR_CAUSE_SIZE : MR_CAUSE_CODING;
    say_refused(w, cause, err.msg, head->remote);
    quarantine(w, head, *body, now_us, cause, err.msg);
    if (code == MR_ETOOBIG)
        refuse_now(req, 413, MR_STR("{\"error\":\"body too large once decoded\"}\n"));
    else
        refuse_now(req, 400, MR_STR("{\"error\":\"body is not gzip\"}\n"));
    return false;
}

static void refuse_verdict(struct webhook *w, struct mr_http_request *req, const struct mr_http_head *head,
                           struct mr_str body, int64_t now_us, const struct mr_verified *v)
{
    say_refused(w, v->cause, v->reason, head->remote);
    watch_refused(w, v->cause, v->reason);
    quarantine(w, head, body, now_us, v->cause, v->reason);
    if (mr_shaker_bare(w->shaker)) {
        mr_http_answer(req, &(struct mr_http_answer){.status = 401});
        return;
    }
    switch (v->cause) {
    case MR_CAUSE_MISSING:
        refuse_now(req, 401, MR_STR("{\"error\":\"signature missing\"}\n"));
        break;
    case MR_CAUSE_FORMAT:
        refuse_now(req, 401, MR_STR("{\"error\":\"signature malformed\"}\n"));
        break;
    case MR_CAUSE_TIMESTAMP:
        refuse_now(req, 401, MR_STR("{\"error\":\"timestamp outside the tolerance\"}\n"));
        break;
    default:
        refuse_now(req, 401, MR_STR("{\"error\":\"signature does not match\"}\n"));
    }
}

/* ---- handshakes: answered on the route, no events ---- */

static void answer_handshake(struct webhook *w, struct mr_http_request *req, const struct mr_shaken *shaken,
                             struct mr_str body)
{
    struct mr_http_answer a = {.status = shaken->status,
                               .content_type = mr_str_c(shaken->type),
                               .extra = mr_str_c(shaken->lines),
                               .body = body};
    mr_log_info(w->hub->core->loop->log, w->name, "handshake", MR_S("kind", mr_shaker_kind(w->shaker)));
    mr_http_answer(req, &a);
}

static void refuse_handshake(struct webhook *w, struct mr_http_request *req, const struct mr_http_head *head,
                             int status, const char *reason)
{
    struct mr_http_answer a;
    say_refused(w, MR_CAUSE_HANDSHAKE, reason, head->remote);
    watch_refused(w, MR_CAUSE_HANDSHAKE, reason);
    if (status == 503)
        unavailable(&a, MR_STR("{\"error\":\"busy, send again\"}\n"));
    else
        fill(&a, status, MR_STR("{\"error\":\"handshake refused\"}\n"));
    mr_http_answer(req, &a);
}

void receive_idle(struct webhook *w)
{
    if (w->stopping && !w->asking && !handover_busy(w->handover))
        mr_source_down(w->src);
}

static void on_kept(void *arg, const struct mr_err *err)
{
    struct webhook *w = arg;
    struct mr_log *log = w->hub->core->loop->log;
    struct mr_http_request *req = w->handing;
    struct mr_verifier *v = NULL;
    struct mr_err why = *err;
    char line[sizeof "X-Hook-Secret: \r\n" + MR_SHAKE_SECRET_MAX];
    w->handing = NULL;
    if (why.code == MR_OK && webhook_verifier(w->o, handover_secrets(w->handover), &v, &why) == MR_OK) {
        struct mr_str secret = handover_last(w->handover);
        mr_verifier_free(w->verifier);
        w->verifier = v;
        snprintf(line, sizeof line, "X-Hook-Secret: %.*s\r\n", (int)secret.n, secret.p);
        mr_log_info(log, w->name, "secret_handed_over",
                    MR_I("kept", (int64_t)handover_secrets(w->handover)->count));
        mr_http_answer(req, &(struct mr_http_answer){.status = 200, .extra = mr_str_c(line)});
    } else {
        struct mr_http_answer a;
        mr_cell_add(w->unavailable, 1);
        mr_log_error(log, w->name, "secret_not_kept", MR_S("why", why.msg));
        unavailable(&a, MR_STR("{\"error\":\"not stored, send again\"}\n"));
        mr_http_answer(req, &a);
    }
    receive_idle(w);
}

/* The vendor's first request: whoever comes first is believed, and nobody after him. */
static void keep_secret(struct webhook *w, struct mr_http_request *req, const struct mr_http_head *head,
                        const struct mr_shaken *shaken)
{
    switch (handover_keep(w->handover, shaken->secret, (size_t)w->o->handshake.hand_overs, on_kept, w)) {
    case MR_OK:
        w->handing = req;
        break;
    case MR_EEXIST: /* his answer got lost */
        answer_handshake(w, req, shaken, (struct mr_str){0});
        break;
    case MR_EBUSY:
        refuse_handshake(w, req, head, 503, "another secret is being kept");
        break;
    default:
        refuse_handshake(w, req, head, 403, "as many secrets as handshake.hand_overs were handed over before");
    }
}

static void on_confirmed(struct mr_fetch *fetch, const struct mr_err *err, struct mr_str body)
{
    struct webhook *w = MR_OF(fetch, struct webhook, confirm);
    struct mr_http_request *req = w->confirming;
    struct mr_http_answer a = {.status = 200};
    (void)body;
    w->confirming = NULL;
    if (err->code == MR_OK) {
        mr_log_info(w->hub->core->loop->log, w->name, "handshake", MR_S("kind", "confirmation"));
    } else {
        mr_log_warn(w->hub->core->loop->log, w->name, "not_confirmed", MR_S("why", err->msg));
        unavailable(&a, MR_STR("{\"error\":\"not confirmed, send again\"}\n"));
    }
    mr_http_answer(req, &a);
}

void receive_stop(struct webhook *w)
{
    struct mr_http_request *req = w->confirming;
    struct mr_http_answer a;
    if (!req)
        return;
    mr_fetch_cancel(&w->confirm);
    w->confirming = NULL;
    unavailable(&a, MR_STR("{\"error\":\"not confirmed, send again\"}\n"));
    mr_http_answer(req, &a);
}

/* The URL is in the hub's scratch, and it is the vendor's: the handshake has looked. */
static void confirm(struct webhook *w, struct mr_http_request *req, const struct mr_http_head *head)
{
    if (w->confirming) {
        refuse_handshake(w, req, head, 503, "another confirmation is being fetched");
        return;
    }
    w->confirm = (struct mr_fetch){.done = on_confirmed};
    w->confirming = req;
    mr_fetch(w->hub->core->client, mr_buf_str(&w->hub->url), &w->confirm);
}

/* true: the request was a handshake and is dealt with. */
static bool shake_hands(struct webhook *w, struct mr_http_request *req, const struct mr_http_head *head,
                        const struct mr_shaken *shaken)
{
    switch (shaken->what) {
    case MR_SHAKE_EVENT:
        return false;
    case MR_SHAKE_ANSWER:
        answer_handshake(w, req, shaken, mr_buf_str(&w->hub->url));
        break;
    case MR_SHAKE_REFUSE:
        refuse_handshake(w, req, head, shaken->status, shaken->reason);
        break;
    case MR_SHAKE_KEEP:
        keep_secret(w, req, head, shaken);
        break;
    case MR_SHAKE_FETCH:
        confirm(w, req, head);
        break;
    }
    return true;
}

/* Verified, decoded, and no handshake. */
static void take_event(struct webhook *w, struct mr_http_request *req, const struct sight *sight, const struct mr_verified *verified,
                       struct mr_str body, int64_t now_us)
{
    struct hub *h = w->hub;
    struct mr_http_answer a;
    int64_t wait_s;
    if (!webhook_allows(w->o, sight->head.method)) { /* taken for a handshake only */
        refuse_method(w, &a, sight->head.remote);
        mr_http_answer(req, &a);
        return;
    }
    if ((wait_s = admit_verified(w)) > 0) {
        too_often(w, &a, wait_s, "more requests of this source than rate", sight);
        mr_http_answer(req, &a);
        return;
    }
    if (verified->secret < MR_COUNT(w->secrets) && w->secrets[verified->secret])
        mr_cell_add(w->secrets[verified->secret], 1);
    put_event(w, &sight->head, verified, body, now_us);
    append(w, req, body);
    if (h->decoded.cap > DECODED_KEPT)
        mr_buf_free(&h->decoded); /* a giant's memory is not kept */
}

/* The certificate that the request names. False: it is not here yet, the vendor sends again. One that may not be fetched, or
 * is none, is left out: the verdict says so. */
static bool has_cert(struct webhook *w, struct mr_signed_request *req, struct mr_str *url)
{
    struct signer signer;
    if (!w->signers || !mr_verifier_cert_url(w->verifier, req, url))
        return true;
    switch (signers_find(w->signers, *url, &signer)) {
    case SIGNER_HERE:
        req->cert = signer.pem;
        return true;
    case SIGNER_NOT_THERE:
        req->no_cert = signer.reason;
        return true;
    case SIGNER_ON_ITS_WAY:
        break;
    }
    return false;
}

static void no_cert_yet(struct webhook *w, struct mr_http_request *req)
{
    struct mr_http_answer a;
    mr_cell_add(w->unavailable, 1);
    unavailable(&a, MR_STR("{\"error\":\"certificate not here yet, send again\"}\n"));
    mr_http_answer(req, &a);
}

static void on_request(void *arg, struct mr_http_request *req, const struct mr_http_head *head, struct mr_str body)
{
    struct hub *h = arg;
    struct webhook *w = route_of(h, head->path); /* a reload may have changed it since the head */
    if (!w) {
        refuse_now(req, 404, MR_STR("{\"error\":\"no such route\"}\n"));
        return;
    }
    if (!w->up) {
        struct mr_http_answer a;
        not_up(w, &a);
        mr_http_answer(req, &a);
        return;
    }
    struct sight sight;
    struct mr_shaken shaken;
    sight_of(w, head, &sight);
    mr_shake_head(w->shaker, head, &h->url, &shaken);
    if (shake_hands(w, req, &sight.head, &shaken))
        return;
    struct mr_signed_request signed_request = {.head = head, .body = body};
    if (mr_verifier_needs_url(w->verifier)) {
        webhook_url(w->o, head, &h->url);
        signed_request.url = mr_buf_str(&h->url);
    }
    struct mr_str cert_url = {0};
    if (!has_cert(w, &signed_request, &cert_url)) {
        no_cert_yet(w, req);
        return;
    }
    struct mr_verified verified;
    int64_t now_us = mr_wall_us();
    mr_verify(w->verifier, &signed_request, now_us, &verified);
    if (verified.unknown_key && signers_refresh(w->signers, cert_url)) {
        no_cert_yet(w, req);
        return;
    }
    if (verified.cause != MR_CAUSE_NONE) {
        refuse_verdict(w, req, &sight.head, body, now_us, &verified);
        return;
    }
    if (signed_request.cert.n)
        signers_proved(w->signers, cert_url);
    if (!decode(w, req, &sight.head, &body, now_us))
        return;
    mr_shake_verified(w->shaker, head, body, verified.secret, &h->url, &shaken);
    if (shake_hands(w, req, &sight.head, &shaken))
        return;
    take_event(w, req, &sight, &verified, body, now_us);
}

static void on_refused(void *arg, const char *cause, struct mr_str remote)
{
    struct hub *h = arg;
    struct mr_loop *loop = h->core->loop;
    uint64_t now_ms = mr_loop_now_ms(loop);
    if (now_ms - h->refused_logged_ms < LOG_EVERY_MS)
        return;
    h->refused_logged_ms = now_ms;
    mr_log_warn(loop->log, NULL, "http_refused", MR_S("cause", cause), MR_SN("remote", remote));
}

const struct mr_http_handler receive_handler = {.on_peer = webhook_peer, .on_head = on_head, .on_request = on_request, .on_refused = on_refused};
