/* SPDX-License-Identifier: Apache-2.0 */
/* webhook.c - the webhook door: options, checks, and the life of one source, which is a route of the hub. */
#include "hub.h"

#include "millrace/hash.h"
#include "millrace/json.h"

#include <stdio.h>
#include <stdlib.h>

enum { PATH_SECRET_MIN = 16, PATH_SECRET_MAX = 256, REPLAYED_MS = 24 * 3600 * 1000, REPLAYED_IDS = 1000000 };

static const char *const payloads[] = {"json", "exact", NULL};

#define AT(field) offsetof(struct webhook_options, field)
static const struct mr_option ack_rows[] = {
    {.name = "status",
     .type = MR_T_INT,
     .offset = AT(ack.status),
     .def = "204",
     .min = "200",
     .max = "204",
     .doc = "Status of the answer once the event is durable: 200, 201, 202 or 204."},
    {0},
};
static const struct mr_option dedup_rows[] = {
    {.name = "id",
     .type = MR_T_STRING,
     .offset = AT(dedup.id),
     .flags = MR_OPT_MANDATORY,
     .doc =
         "Where an event's id is: a JSON pointer into the body (`/id`) or `header:Name`. Prefer one that is signed."},
    {.name = "window",
     .type = MR_T_DURATION,
     .offset = AT(dedup.window_ms),
     .def = "7d",
     .min = "1m",
     .max = "30d",
     .doc = "How long an id is remembered. Longer than the vendor's last retry."},
    {.name = "max_ids",
     .type = MR_T_INT,
     .offset = AT(dedup.max_ids),
     .def = "50000000",
     .min = "1000",
     .max = "1000000000",
     .doc = "Most ids kept; above it the oldest day is dropped early, with an alert."},
    {0},
};
static const struct mr_option expect_rows[] = {
    {.name = "every",
     .type = MR_T_DURATION,
     .offset = AT(expect.every_ms),
     .min = "1s",
     .max = "90d",
     .doc = "An event is expected this often: longer silence opens an alert, the next event closes it."},
    {.name = "failing_after",
     .type = MR_T_DURATION,
     .offset = AT(expect.failing_after_ms),
     .def = "5m",
     .min = "1s",
     .max = "7d",
     .doc = "When all signed requests have been refused for this long, none accepted, an alert says so: a rotated "
            "secret looks like this."},
    {.name = "failing_requests",
     .type = MR_T_INT,
     .offset = AT(expect.failing_requests),
     .def = "10",
     .min = "1",
     .max = "1000000",
     .doc = "As many of them at least."},
    {0},
};
static const struct mr_option rows[] = {
    {.name = "path",
     .type = MR_T_STRING,
     .offset = AT(path),
     .flags = MR_OPT_MANDATORY,
     .doc = "The route: begins with /, compared byte for byte with the request's path."},
    {.name = "path_secret",
     .type = MR_T_SECRET,
     .offset = AT(path_secret),
     .doc = "A last part of the route that nobody can guess, for vendors who sign nothing: the vendor calls `path` + `/` + this. At least 16 of A-Z a-z 0-9 . _ ~ -; "
            "it is in no log, metric or record. public_url gets it too."},
    {.name = "allow",
     .type = MR_T_STRINGS,
     .offset = AT(allow),
     .doc = "Addresses and ranges (192.0.2.0/24) of those who may send; others get 403. Default: everybody. Behind a proxy set http.trusted_proxies."},
    {.name = "rate",
     .type = MR_T_MAP,
     .offset = AT(rate_given),
     .offset2 = AT(rate),
     .sub = rate_rows,
     .flags = MR_OPT_PRESENT,
     .doc = "Most verified requests of this source; above it 429. A stranger cannot use it up."},
    {.name = "rate_per_client",
     .type = MR_T_MAP,
     .offset = AT(rate_per_client_given),
     .offset2 = AT(rate_per_client),
     .sub = rate_rows,
     .flags = MR_OPT_PRESENT,
     .doc = "Most requests of one client, verified or not; above it 429 before the body is read. IPv6 clients count by /64. The 4,096 latest clients are known."},
    {.name = "methods",
     .type = MR_T_STRINGS,
     .offset = AT(methods),
     .def = "POST",
     .doc = "Methods taken; others get 405."},
    {.name = "public_url",
     .type = MR_T_STRING,
     .offset = AT(public_url),
     .doc =
         "The URL that the vendor calls, for schemes that sign it. The request's own Host is never trusted for this."},
    {.name = "body_limit",
     .type = MR_T_SIZE,
     .offset = AT(body_limit),
     .min = "1KiB",
     .max = "256MiB",
     .doc = "This source's own; else http.body_limit."},
    {.name = "ack", .type = MR_T_MAP, .sub = ack_rows, .doc = "The answer to an accepted event."},
    {.name = "verify",
     .type = MR_T_MAP,
     .sub = mr_verify_rows,
     .offset = AT(verify_given),
     .offset2 = AT(verify),
     .flags = MR_OPT_MANDATORY | MR_OPT_PRESENT,
     .doc = "Who may send. `{scheme: none}` accepts anything, in words and with a warning."},
    {.name = "handshake",
     .type = MR_T_MAP,
     .sub = mr_handshake_rows,
     .offset = AT(handshake),
     .flags = MR_OPT_SCALAR,
     .doc = "The vendor's try of the route before it sends events: answered on the route, never landed. The kind alone "
            "will do: `handshake: graph`."},
    {.name = "dedup",
     .type = MR_T_MAP,
     .sub = dedup_rows,
     .offset = AT(dedup_given),
     .flags = MR_OPT_PRESENT,
     .doc = "Land repeats of an event id once. Without it every accepted request lands."},
    {.name = "payload",
     .type = MR_T_ENUM,
     .offset = AT(payload),
     .def = "json",
     .choices = payloads,
     .doc = "json: a JSON body lands as `data`, its tokens kept; exact: the received bytes land as text or base64, so "
            "that a signature can be checked again."},
    {.name = "split",
     .type = MR_T_MAP,
     .offset = AT(split_given),
     .offset2 = AT(split),
     .sub = split_rows,
     .flags = MR_OPT_PRESENT | MR_OPT_SCALAR,
     .doc = "The vendor sends events in batches: each element of the array lands as a record of its own. The pointer alone will do: `split: /events`, "
            "`split: \"\"`. dedup.id then counts from the element. What is no such array lands whole."},
    {.name = "quarantine",
     .type = MR_T_MAP,
     .offset = AT(quarantine),
     .sub = refused_rows,
     .flags = MR_OPT_SCALAR,
     .doc = "Are refused requests kept, for a person and for `millrace replay`? `off`, `sampled` or `full`; their bodies "
            "are whatever a stranger has sent."},
    {.name = "expect",
     .type = MR_T_MAP,
     .sub = expect_rows,
     .doc = "What is usual for this vendor, so that an alert can tell what is not."},
    {.name = "stream",
     .type = MR_T_STRING,
     .offset = AT(stream),
     .doc = "Stream in the zone. Default: the source's name."},
    {.name = "mask_headers",
     .type = MR_T_STRINGS,
     .offset = AT(mask_headers),
     .doc = "Headers whose values land as ***, besides Authorization, Cookie and the like."},
    {0},
};

static void validate_senders(const char *name, const struct webhook_options *o, struct mr_where where, struct mr_config_errors *errors)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-";
    struct ranges r;
    struct mr_err err;
    if (ranges_read(&o->allow, &r, &err) == MR_OK)
        ranges_free(&r);
    else
        mr_config_error(errors, mr_config_where(errors, where, "allow"), "source %s: allow: %s", name, err.msg);
    const struct mr_secret *s = &o->path_secret;
    if (s->value && (s->n < PATH_SECRET_MIN || s->n > PATH_SECRET_MAX || strspn(s->value, plain) != s->n))
        mr_config_error(errors, mr_config_where(errors, where, "path_secret"),
                        "source %s: path_secret must have %d to %d characters of A-Z a-z 0-9 . _ ~ -", name, PATH_SECRET_MIN, PATH_SECRET_MAX);
}

static void validate_split(const char *name, const struct webhook_options *o, struct mr_where where, struct mr_config_errors *errors)
{
    if (!o->split_given)
        return;
    struct mr_where at = mr_config_where(errors, where, "split");
    if (o->split.at && o->split.at[0] && o->split.at[0] != '/')
        mr_config_error(errors, at, "source %s: split must be a JSON pointer such as /events, or empty for the body itself, not \"%s\"", name, o->split.at);
    if (o->payload)
        mr_config_error(errors, at, "source %s: split makes records of parts of the body, `payload: exact` wants it whole: take one of them", name);
    if (o->dedup_given && o->dedup.id && o->dedup.id[0] != '/')
        mr_config_error(errors, mr_config_where(errors, where, "dedup.id"),
                        "source %s: with split dedup.id must be a JSON pointer into the element: a header is the same for all of them", name);
}

static void validate(const char *name, const void *options, struct mr_where where, struct mr_config_errors *errors)
{
    const struct webhook_options *o = options;
    struct mr_err err;
    struct mr_verifier *v = NULL;
    if (o->path && o->path[0] != '/')
        mr_config_error(errors, mr_config_where(errors, where, "path"), "source %s: path must begin with /, not \"%s\"",
                        name, o->path);
    if (o->path && strpbrk(o->path, "?# "))
        mr_config_error(errors, mr_config_where(errors, where, "path"),
                        "source %s: path \"%s\" may hold no `?`, `#` or blank", name, o->path);
    validate_senders(name, o, where, errors);
    size_t escaped = sizeof "stream=" - 1;
    for (const char *p = o->stream ? o->stream : ""; *p; p++)
        escaped += (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("._-", *p)
                       ? 1
                       : 3;
    if (escaped > 255)
        mr_config_error(errors, mr_config_where(errors, where, "stream"),
                        "source %s: stream is too long: its folder's name would have %zu bytes, file systems take 255",
                        name, escaped);
    if (o->ack.status == 203)
        mr_config_error(errors, mr_config_where(errors, where, "ack.status"),
                        "source %s: ack.status must be 200, 201, 202 or 204", name);
    if (o->dedup_given && o->dedup.id && o->dedup.id[0] != '/' &&
        (strncmp(o->dedup.id, "header:", 7) != 0 || !o->dedup.id[7]))
        mr_config_error(errors, mr_config_where(errors, where, "dedup.id"),
                        "source %s: dedup.id must be a JSON pointer (`/id`) or `header:Name`, not \"%s\"", name,
                        o->dedup.id);
    validate_split(name, o, where, errors);
    if (!o->verify_given || !o->verify.scheme)
        return; /* told as a missing mandatory key */
    struct mr_shaker *shaker = NULL;
    if (mr_shaker_new(&o->handshake, o->verify.scheme, &o->verify.secrets, &shaker, &err) != MR_OK)
        mr_config_error(errors, mr_config_where(errors, where, "handshake"), "source %s: %s", name, err.msg);
    mr_shaker_free(shaker);
    if (webhook_verifier(o, NULL, &v, &err) != MR_OK) {
        const char *key = mr_scheme_find(o->verify.scheme) ? "verify" : "verify.scheme";
        mr_config_error(errors, mr_config_where(errors, where, key), "source %s: verify: %s", name, err.msg);
        return;
    }
    if (mr_verifier_needs_url(v) && !o->public_url)
        mr_config_error(errors, where,
                        "source %s: the scheme signs the URL: set public_url to the one that the vendor calls", name);
    mr_verifier_free(v);
}

/* A body is held in a handful of places at once: connection, decoded, group of the queue, slice, line of the zone. */
static void validate_size(const char *what, int64_t body_limit, int64_t memory, struct mr_where where,
                          struct mr_config_errors *errors)
{
    if (body_limit > memory / 8)
        mr_config_error(errors, where,
                        "%s: body_limit of %lld bytes is more than an eighth of limits.memory (%lld bytes): raise the one "
                        "or lower the other",
                        what, (long long)body_limit, (long long)memory);
}

static bool same_route(const struct webhook_options *a, const struct webhook_options *b)
{
    struct mr_buf x, y;
    mr_buf_init(&x, 1 << 20);
    mr_buf_init(&y, 1 << 20);
    webhook_route(a, &x);
    webhook_route(b, &y);
    bool same = mr_str_eq(mr_buf_str(&x), mr_buf_str(&y));
    mr_buf_free(&x);
    mr_buf_free(&y);
    return same;
}

static void validate_all(const char *const *names, const void *const *options, const struct mr_where *wheres,
                         size_t count, const void *hub_options, int64_t memory, struct mr_config_errors *errors)
{
    const struct hub_options *h = hub_options;
    struct mr_tls *tls;
    struct mr_err err;
    struct ranges trusted;
    if (ranges_read(&h->http.trusted_proxies, &trusted, &err) == MR_OK)
        ranges_free(&trusted);
    else
        mr_config_error(errors, mr_config_where(errors, (struct mr_where){0, 0}, "http.trusted_proxies"), "http.trusted_proxies: %s", err.msg);
    if (h->http.proxy_protocol && h->http.trusted_proxies.count == 0)
        mr_config_error(errors, mr_config_where(errors, (struct mr_where){0, 0}, "http.proxy_protocol"),
                        "http.proxy_protocol needs trusted_proxies: the balancers' addresses");
    if (h->http.tls_given && h->http.tls.cert && h->http.tls.key) {
        if (certs_read(&h->http.tls, &tls, &err) == MR_OK)
            mr_tls_drop(tls);
        else
            mr_config_error(errors, mr_config_where(errors, (struct mr_where){0, 0}, "http.tls"), "http.tls: %s", err.msg);
    }
    validate_size("http", h->http.body_limit, memory,
                  mr_config_where(errors, (struct mr_where){0, 0}, "http.body_limit"), errors);
    for (size_t i = 0; i < count; i++) {
        const struct webhook_options *a = options[i], *b;
        validate_size(names[i], a->body_limit, memory, mr_config_where(errors, wheres[i], "body_limit"), errors);
        size_t j = 0; /* the first with this path: each later one is told once */
        while (j < i && (b = options[j], !a->path || !b->path || !same_route(a, b)))
            j++;
        if (j < i)
            mr_config_error(errors, mr_config_where(errors, wheres[i], "path"),
                            "source %s: path %s is the route of source %s already", names[i], a->path, names[j]);
    }
}

static void make_cells(struct webhook *w)
{
    struct mr_metrics *m = w->hub->core->loop->metrics;
    w->accepted = mr_metric(m, MR_M_WEBHOOK_REQUESTS, w->name, "accepted", "none");
    w->unavailable = mr_metric(m, MR_M_WEBHOOK_REQUESTS, w->name, "unavailable", "none");
    for (int c = 1; c < MR_CAUSES; c++)
        w->refused[c] = mr_metric(m, MR_M_WEBHOOK_REQUESTS, w->name, "refused", mr_cause_name((enum mr_cause)c));
    w->bytes = mr_metric(m, MR_M_WEBHOOK_BYTES, w->name);
    if (w->o->split_given) {
        w->elements = mr_metric(m, MR_M_WEBHOOK_ELEMENTS, w->name);
        w->unsplit = mr_metric(m, MR_M_WEBHOOK_UNSPLIT, w->name);
    }
    size_t more = mr_shaker_keeps(w->shaker) ? (size_t)w->o->handshake.hand_overs : 0;
    size_t count = w->o->verify.secrets.count + more + w->o->verify.retiring.count;
    for (size_t i = 0; i < count && i < MR_COUNT(w->secrets); i++) {
        char index[8];
        snprintf(index, sizeof index, "%zu", i);
        w->secrets[i] = mr_metric(m, MR_M_WEBHOOK_SECRET, w->name, index);
    }
}

static bool make_texts(struct webhook *w)
{
    struct mr_buf b;
    mr_buf_init(&b, 1 << 16);
    mr_buf_puts(&b, "Allow: ");
    for (size_t i = 0; i < w->o->methods.count; i++) {
        mr_buf_puts(&b, i ? ", " : "");
        mr_buf_puts(&b, w->o->methods.items[i]);
    }
    mr_buf_puts(&b, "\r\n");
    w->allow = strdup(mr_buf_cstr(&b));
    mr_buf_clear(&b);
    mr_buf_printf(&b, "%s/%s", w->name, w->stream);
    w->queue_key = strdup(mr_buf_cstr(&b));
    mr_buf_clear(&b);
    webhook_route(w->o, &b);
    w->route = strdup(mr_buf_cstr(&b));
    w->route_n = b.n;
    w->open_n = b.n - w->o->path_secret.n;
    if (w->o->path_secret.value) { /* the secret is at its end */
        b.n -= w->o->path_secret.n;
        mr_buf_puts(&b, "***");
    }
    w->shown = strdup(mr_buf_cstr(&b));
    mr_buf_free(&b);
    return w->allow && w->queue_key && w->route && w->shown;
}

static enum mr_code open_(void *self, struct mr_source *src, const void *options, struct mr_err *err)
{
    struct webhook *w = self;
    w->src = src;
    w->o = options;
    w->hub = mr_source_hub(src);
    w->name = mr_source_name(src);
    w->stream = w->o->stream && *w->o->stream ? w->o->stream : w->name;
    if (mr_shaker_new(&w->o->handshake, w->o->verify.scheme, &w->o->verify.secrets, &w->shaker, err) != MR_OK)
        return err->code;
    if (mr_shaker_keeps(w->shaker)) {
        const struct mr_core *core = w->hub->core;
        w->handover = handover_new(core->data_dir, w->name, core->loop->workers);
        if (!w->handover)
            return mr_err_set(err, MR_ENOMEM, "source %s", w->name);
    }
    if (!make_texts(w) || (w->o->rate_per_client_given && !(w->clients = clients_new())))
        return mr_err_set(err, MR_ENOMEM, "source %s", w->name);
    if (ranges_read(&w->o->allow, &w->from, err) != MR_OK)
        return err->code;
    hub_add_route(w->hub, w);
    make_cells(w);
    w->kept = keeper_source(w->hub->keeper, w->name, &w->o->quarantine);
    if (webhook_verifier(w->o, NULL, &w->verifier, err) != MR_OK)
        return err->code;
    const struct mr_scheme *s = mr_verifier_scheme(w->verifier);
    if (s->cert_url && !(w->signers = signers_new(w->hub->core->client, w->hub->core->loop, w->name, s->cert_ok)))
        return mr_err_set(err, MR_ENOMEM, "source %s", w->name);
    return MR_OK;
}

static void close_(void *self)
{
    struct webhook *w = self;
    hub_remove_route(w->hub, w);
    mr_verifier_free(w->verifier);
    mr_shaker_free(w->shaker);
    handover_free(w->handover);
    ranges_free(&w->from);
    signers_free(w->signers);
    clients_free(w->clients);
    free(w->allow);
    free(w->queue_key);
    if (w->route)
        mr_cleanse(w->route, strlen(w->route));
    free(w->route);
    free(w->shown);
}

/* The newest of its landings stands for its last event: nothing of this is on the way to a 2xx. */
static void on_landed(void *arg, const struct mr_err *err, const struct mr_position *positions, size_t count)
{
    struct webhook *w = arg;
    w->asking = false;
    if (w->stopping) {
        receive_idle(w);
        return;
    }
    int64_t landed_us = MR_NO_TIME;
    for (size_t i = 0; i < count && err->code == MR_OK; i++)
        if (positions[i].changed_us > landed_us && mr_str_eq(positions[i].part, mr_str_c(w->hub->queue_id)))
            landed_us = positions[i].changed_us;
    watch_start(w, landed_us);
    w->up = true;
    mr_source_up(w->src);
}

static void open_route(struct webhook *w)
{
    struct mr_loop *loop = w->hub->core->loop;
    bool none = mr_verifier_scheme(w->verifier)->none;
    mr_cell_set(mr_metric(loop->metrics, MR_M_WEBHOOK_UNVERIFIED, w->name), none);
    if (none)
        mr_alert_open(loop->alerts, MR_A_UNVERIFIED, w->name, NULL,
                      "verify is none: anybody who can reach %s can write to the zone", w->shown);
    else
        mr_alert_close(loop->alerts, MR_A_UNVERIFIED, w->name, NULL);
    w->asking = true;
    mr_store_positions(w->hub->core->store, mr_str_c(w->name), on_landed, w);
}

static void on_handed_over(void *arg, const struct mr_err *err)
{
    struct webhook *w = arg;
    struct mr_err why = *err;
    struct mr_verifier *v = NULL;
    if (w->stopping) {
        receive_idle(w);
        return;
    }
    if (why.code == MR_OK && webhook_verifier(w->o, handover_secrets(w->handover), &v, &why) == MR_OK) {
        mr_verifier_free(w->verifier);
        w->verifier = v;
        open_route(w);
    } else {
        mr_source_failed(w->src, &why);
    }
}

static void start(void *self)
{
    struct webhook *w = self;
    if (w->handover)
        handover_load(w->handover, on_handed_over, w);
    else
        open_route(w);
}

static void pause_(void *self)
{
    ((struct webhook *)self)->paused = true;
}

static void resume(void *self)
{
    ((struct webhook *)self)->paused = false;
}

/* Captured is what is in the queue: the hub lands it. */
static void drain(void *self)
{
    struct webhook *w = self;
    mr_source_drained(w->src);
}

static void once(void *self)
{
    struct webhook *w = self;
    mr_source_finished(w->src, &(struct mr_err){0});
}

static void stop(void *self)
{
    struct webhook *w = self;
    w->up = false;
    w->stopping = true;
    receive_stop(w);
    receive_idle(w);
}

static void status(const void *self, struct mr_buf *json)
{
    const struct webhook *w = self;
    mr_buf_puts(json, ",\"path\":");
    mr_json_put_string(json, mr_str_c(w->shown));
    mr_buf_printf(json, ",\"accepted\":%.0f,\"unavailable\":%.0f", mr_cell_value(w->accepted),
                  mr_cell_value(w->unavailable));
    double refused = 0;
    for (int c = 1; c < MR_CAUSES; c++)
        refused += mr_cell_value(w->refused[c]);
    mr_buf_printf(json, ",\"refused\":%.0f", refused);
    if (w->kept)
        refused_status(w->kept, json);
}

static void tick(void *self)
{
    struct webhook *w = self;
    watch_look(w);
    if (w->hub->certs)
        certs_look(w->hub->certs, mr_wall_us());
    if (w->hub->lander)
        lander_look(w->hub->lander);
}

static void keeps(const void *self, int64_t *window_ms, uint64_t *ids)
{
    const struct webhook *w = self;
    if (!w->o->dedup_given && w->o->quarantine.keep != REFUSED_OFF) { /* a replay out of quarantine that was cut off */
        *window_ms = REPLAYED_MS;
        *ids = REPLAYED_IDS;
    }
    if (!w->o->dedup_given)
        return;
    int64_t behind_ms = w->hub->lander ? lander_behind_ms(w->hub->lander) : 0;
    *window_ms = w->o->dedup.window_ms + (behind_ms > 0 ? behind_ms : 0);
    *ids = (uint64_t)w->o->dedup.max_ids;
}

extern const struct mr_door mr_door_webhook;
const struct mr_door mr_door_webhook = {
    .name = "webhook",
    .doc = "A vendor's HTTP callbacks: signed, durable before the 2xx, landed once.",
    .options = rows,
    .options_size = sizeof(struct webhook_options),
    .self_size = sizeof(struct webhook),
    .validate = validate,
    .validate_all = validate_all,
    .open = open_,
    .start = start,
    .pause = pause_,
    .resume = resume,
    .drain = drain,
    .once = once,
    .stop = stop,
    .close = close_,
    .check = webhook_check,
    .sign = webhook_sign,
    .explain = webhook_explain,
    .page_name = "schemes",
    .page_doc = "the signature schemes of webhooks, in Markdown",
    .page = mr_schemes_page,
    .status = status,
    .tick = tick,
    .keeps = keeps,
    .hub_options = hub_rows,
    .hub_options_size = sizeof(struct hub_options),
    .hub_size = sizeof(struct hub),
    .hub_wanted = mr_webhook_hub_wanted,
    .hub_open = mr_webhook_hub_open,
    .hub_start = mr_webhook_hub_start,
    .hub_serve = mr_webhook_hub_serve,
    .hub_reload = mr_webhook_hub_reload,
    .hub_drain = mr_webhook_hub_drain,
    .hub_once = mr_webhook_hub_once,
    .hub_stop = mr_webhook_hub_stop,
    .hub_status = mr_webhook_hub_status,
    .hub_replay = webhook_replay,
    .hub_requeue = webhook_requeue,
};
