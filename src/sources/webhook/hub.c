/* SPDX-License-Identifier: Apache-2.0 */
/* hub.c - life of what all webhook sources share: queue, lander, listener, in this order; back in the other.
 *
 * happy path    identify the queue -> read its positions -> recover and open it -> start the lander -> listen, once
 * sources are up ways to fail  a queue that cannot be opened or an address that cannot be bound fails the start with
 * that error on close      the listener stops first, so that nothing new comes; then the lander, then the queue */
#include "hub.h"

#include "millrace/budget.h"
#include "millrace/file.h"

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    GROUP_MEMORY_MIN = 4 << 20,
    GROUP_MEMORY_MAX = 64 << 20,
    DESCRIPTORS_KEPT = 256, /* for segments, staged files, the store, the admin's pages, those refused at the door */
};

#define AT(field) offsetof(struct hub_options, field)
static const char *const client_headers[] = {"x-forwarded-for", "forwarded", "x-real-ip", NULL};
static const struct mr_option http_rows[] = {
    {.name = "listen",
     .type = MR_T_LISTEN,
     .offset = AT(http.listen),
     .def = "0.0.0.0:8080",
     .flags = MR_OPT_FIXED,
     .doc = "Address and port of the webhook listener. It serves only the routes of the sources."},
    {.name = "body_limit",
     .type = MR_T_SIZE,
     .offset = AT(http.body_limit),
     .def = "1MiB",
     .min = "1KiB",
     .max = "256MiB",
     .doc = "Largest body taken, on the wire and decoded; above it 413. A source may set its own."},
    {.name = "connections",
     .type = MR_T_INT,
     .offset = AT(http.connections),
     .def = "12000",
     .min = "1",
     .max = "1000000",
     .doc = "Open connections at once; above it a connection gets 503. Cut, with a warning, to what the hard limit of "
            "open files leaves beside 256 for queue, zone and state."},
    {.name = "connections_per_peer",
     .type = MR_T_INT,
     .offset = AT(http.connections_per_peer),
     .def = "0",
     .min = "0",
     .max = "1000000",
     .doc = "Open connections of one address; 0: no limit of its own. Leave it so behind a proxy."},
    {.name = "first_byte_timeout",
     .type = MR_T_DURATION,
     .offset = AT(http.first_byte_ms),
     .def = "15s",
     .min = "100ms",
     .max = "1h",
     .doc = "From accepting a connection to its first byte."},
    {.name = "header_timeout",
     .type = MR_T_DURATION,
     .offset = AT(http.header_ms),
     .def = "10s",
     .min = "100ms",
     .max = "1h",
     .doc = "From a request's first byte to the end of its headers; then 408."},
    {.name = "body_timeout",
     .type = MR_T_DURATION,
     .offset = AT(http.body_ms),
     .def = "30s",
     .min = "100ms",
     .max = "1h",
     .doc = "From the end of the headers to the end of the body; then 408."},
    {.name = "idle_timeout",
     .type = MR_T_DURATION,
     .offset = AT(http.idle_ms),
     .def = "75s",
     .min = "100ms",
     .max = "1d",
     .doc = "How long a connection may idle between requests."},
    {.name = "trusted_proxies",
     .type = MR_T_STRINGS,
     .offset = AT(http.trusted_proxies),
     .doc = "Addresses and ranges (192.0.2.0/24) of proxies and load balancers in front. What they say of the client is believed, what others say never."},
    {.name = "client_header",
     .type = MR_T_ENUM,
     .offset = AT(http.client_header),
     .def = "x-forwarded-for",
     .choices = client_headers,
     .doc = "Where trusted proxies say who the client is. From the end of the list the first that is not trusted himself is the client."},
    {.name = "proxy_protocol",
     .type = MR_T_BOOL,
     .offset = AT(http.proxy_protocol),
     .def = "false",
     .doc = "Connections begin with a PROXY header (version 1 or 2), before TLS too. Only trusted_proxies may connect then."},
    {.name = "tls",
     .type = MR_T_MAP,
     .offset = AT(http.tls_given),
     .offset2 = AT(http.tls),
     .sub = certs_rows,
     .flags = MR_OPT_PRESENT,
     .doc = "The listener speaks TLS (https). Without it plain HTTP, for a proxy that ends TLS in front."},
    {0},
};
static const struct mr_option queue_rows[] = {
    {.name = "segment_size",
     .type = MR_T_SIZE,
     .offset = AT(queue.segment_size),
     .def = "64MiB",
     .min = "1MiB",
     .max = "4GiB",
     .flags = MR_OPT_FIXED,
     .doc = "Size of one file of the durable queue. Small ones free disk sooner, large ones are made less often."},
    {.name = "max_size",
     .type = MR_T_SIZE,
     .offset = AT(queue.max_size),
     .def = "64GiB",
     .min = "4MiB",
     .max = "64TiB",
     .doc = "Most bytes that may wait on disk to be landed; above it the webhook door answers 503 with Retry-After."},
    {0},
};
const struct mr_option hub_rows[] = {
    {.name = "http", .type = MR_T_MAP, .sub = http_rows, .doc = "The webhook listener."},
    {.name = "queue",
     .type = MR_T_MAP,
     .sub = queue_rows,
     .doc = "The durable queue between the listener and the zone."},
    {0},
};

/* ---- routes ---- */

void hub_add_route(struct hub *h, struct webhook *w)
{
    w->next = h->routes;
    h->routes = w;
}

void hub_remove_route(struct hub *h, struct webhook *w)
{
    for (struct webhook **at = &h->routes; *at; at = &(*at)->next)
        if (*at == w) {
            *at = w->next;
            return;
        }
}

/* ---- start ---- */

static void queue_dir(const struct hub *h, char out[4096])
{
    snprintf(out, 4096, "%s/queue", h->core->data_dir);
}

bool mr_webhook_hub_wanted(const char *data_dir)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/queue", data_dir);
    DIR *d = opendir(path);
    bool found = false;
    for (struct dirent *e; d && !found && (e = readdir(d)) != NULL;)
        found = e->d_name[0] != '.';
    if (d)
        closedir(d);
    return found;
}

enum mr_code mr_webhook_hub_open(void *hub, const struct mr_core *core, const void *hub_options, size_t sources,
                                 struct mr_err *err)
{
    struct hub *h = hub;
    h->core = core;
    h->o = hub_options;
    h->sources = sources;
    mr_buf_init(&h->event, 4 << 20);
    mr_buf_init(&h->decoded, SIZE_MAX / 4); /* mr_gunzip has its own limit */
    mr_buf_init(&h->url, 1 << 20);
    h->keeper = keeper_new(core);
    h->certs = certs_new(core->loop);
    if (ranges_read(&h->o->http.trusted_proxies, &h->trusted, err) != MR_OK)
        return mr_err_wrap(err, "http.trusted_proxies"); /* the config was checked: memory */
    h->durable_seconds = mr_metric0(core->loop->metrics, MR_M_WEBHOOK_DURABLE);
    return MR_OK;
}

static void started(struct hub *h, const struct mr_err *err)
{
    void (*cb)(void *, const struct mr_err *) = h->cb;
    h->cb = NULL;
    if (cb) /* else the hub is being stopped: nobody waits any more */
        cb(h->cb_arg, err);
}

static void on_horizon(void *arg, uint64_t horizon)
{
    struct hub *h = arg;
    if (h->lander && h->queue)
        lander_horizon(h->lander, horizon);
}

static void on_lost(void *arg, const struct mr_err *err, const struct mr_landing_row *landings, size_t count)
{
    struct hub *h = arg;
    if (err->code == MR_OK)
        replay_pin(h, landings, count);
    struct mr_err started_err = *err;
    if (err->code == MR_OK)
        started_err.code = lander_start(h->lander, landings, count, &started_err);
    started(h, &started_err);
}

static void on_queue(void *arg, const struct mr_err *err, struct mr_queue *queue)
{
    struct hub *h = arg;
    if (!queue) {
        started(h, err);
        return;
    }
    h->queue = queue;
    mr_store_lost_landings(h->core->store, on_lost, h);
}

static void open_queue(struct hub *h)
{
    char dir[4096], quarantine[4096];
    queue_dir(h, dir);
    snprintf(quarantine, sizeof quarantine, "%s/quarantine", h->core->data_dir);
    size_t group = mr_budget_limit(h->core->loop->budget) / 8;
    group = group < GROUP_MEMORY_MIN ? GROUP_MEMORY_MIN : group > GROUP_MEMORY_MAX ? GROUP_MEMORY_MAX : group;
    h->group_memory = group;
    struct mr_queue_options options = {.loop = h->core->loop,
                                       .dir = dir,
                                       .quarantine = quarantine,
                                       .segment_size = (uint64_t)h->o->queue.segment_size,
                                       .max_size = (uint64_t)h->o->queue.max_size,
                                       .disk_reserve = (uint64_t)h->core->disk_reserve,
                                       .group_memory = group,
                                       .next_at_least = h->next_at_least,
                                       .on_durable = on_horizon,
                                       .arg = h};
    mr_queue_open(&options, on_queue, h);
}

static void on_positions(void *arg, const struct mr_err *err, const struct mr_position *positions, size_t count)
{
    struct hub *h = arg;
    if (err->code != MR_OK) {
        started(h, err);
        return;
    }
    struct mr_position *ours = calloc(count ? count : 1, sizeof *ours);
    assert(ours);
    size_t ours_count = 0;
    h->next_at_least = 1;
    for (size_t i = 0; i < count; i++) {
        if (!mr_str_eq(positions[i].part, mr_str_c(h->queue_id)))
            continue; /* another door's, or an earlier queue's */
        ours[ours_count++] = positions[i];
        struct mr_buf text;
        mr_buf_init(&text, 64);
        mr_buf_put(&text, positions[i].value.p, positions[i].value.n);
        uint64_t next = strtoull(mr_buf_cstr(&text), NULL, 10) + 1;
        h->next_at_least = next > h->next_at_least ? next : h->next_at_least;
        mr_buf_free(&text);
    }
    h->lander = lander_new(h, ours, ours_count);
    free(ours);
    open_queue(h);
}

void mr_webhook_hub_start(void *hub, void (*cb)(void *arg, const struct mr_err *err), void *arg)
{
    struct hub *h = hub;
    struct mr_err err = {0};
    char dir[4096];
    bool has_records;
    h->cb = cb;
    h->cb_arg = arg;
    queue_dir(h, dir);
    enum mr_code code = mr_queue_identify(dir, h->queue_id, &has_records, &err);
    if (code != MR_OK && code != MR_ENOENT) { /* ENOENT: there was none, now there is */
        started(h, &err);
        return;
    }
    mr_store_positions(h->core->store, (struct mr_str){0}, on_positions, h);
}

/* As many connections as configured, but never the descriptors that queue, zone and state live on: who takes those too
 * stops every landing. */
static unsigned connections_of(const struct hub *h)
{
    uint64_t wanted = (uint64_t)h->o->http.connections;
    uint64_t most = mr_descriptors_want(wanted + DESCRIPTORS_KEPT);
    if (most >= wanted + DESCRIPTORS_KEPT)
        return (unsigned)wanted;
    uint64_t left = most > 2 * DESCRIPTORS_KEPT ? most - DESCRIPTORS_KEPT : most / 2;
    if (left >= wanted)
        return (unsigned)wanted;
    mr_log_warn(h->core->loop->log, NULL, "connections_limited", MR_I("configured", (int64_t)wanted),
                MR_I("allowed", (int64_t)left), MR_I("descriptors", (int64_t)most),
                MR_S("hint", "raise the hard limit of open files (ulimit -Hn, LimitNOFILE), or lower http.connections"));
    return (unsigned)left;
}

static void limits_of(const struct hub *h, struct mr_http_limits *limits)
{
    mr_http_limits_default(limits);
    limits->connections = connections_of(h);
    limits->connections_per_peer = (unsigned)h->o->http.connections_per_peer;
    limits->first_byte_ms = h->o->http.first_byte_ms;
    limits->header_ms = h->o->http.header_ms;
    limits->body_ms = h->o->http.body_ms;
    limits->idle_ms = h->o->http.idle_ms;
}

static const struct certs_options *tls_of(const struct hub *h)
{
    return h->o->http.tls_given ? &h->o->http.tls : NULL;
}

/* Not before the sources are up: a vendor that gets 404 may give the endpoint up. */
enum mr_code mr_webhook_hub_serve(void *hub, struct mr_err *err)
{
    struct hub *h = hub;
    if (h->server || h->sources == 0)
        return MR_OK;
    struct mr_http_options options = {
        .loop = h->core->loop, .listen = h->o->http.listen, .name = "webhook", .handler = receive_handler};
    options.handler.arg = h;
    if (certs_open(h->certs, tls_of(h), err) != MR_OK)
        return err->code;
    options.tls = certs_tls(h->certs);
    limits_of(h, &options.limits);
    if (mr_http_listen(&options, &h->server, err) != MR_OK)
        return mr_err_wrap(err, "http.listen");
    mr_log_info(h->core->loop->log, NULL, "listening", MR_S("listener", "webhook"), MR_S("address", h->o->http.listen),
                MR_I("port", mr_http_port(h->server)),
                MR_S("protocol", options.tls ? "https" : "http"));
    return MR_OK;
}

void mr_webhook_hub_reload(void *hub, const void *hub_options, size_t sources)
{
    struct hub *h = hub;
    h->o = hub_options;
    h->sources = sources;
    struct ranges trusted;
    struct mr_err err;
    if (ranges_read(&h->o->http.trusted_proxies, &trusted, &err) == MR_OK) { /* checked with the config: else no memory, and the old ones hold */
        ranges_free(&h->trusted);
        h->trusted = trusted;
    }
    struct mr_http_limits limits;
    limits_of(h, &limits);
    if (h->server) {
        mr_http_limits_set(h->server, &limits);
        certs_reload(h->certs, tls_of(h), &h->server);
    }
    if (h->queue)
        mr_queue_limits_set(h->queue, (uint64_t)h->o->queue.max_size, (uint64_t)h->core->disk_reserve);
}

/* ---- drain, once, stop ---- */

static void on_landed(void *arg, const struct mr_err *err)
{
    started(arg, err);
}

static void on_listener_drained(void *arg)
{
    struct hub *h = arg;
    lander_drain(h->lander, false, on_landed, h);
}

void mr_webhook_hub_drain(void *hub, void (*cb)(void *arg, const struct mr_err *err), void *arg)
{
    struct hub *h = hub;
    h->cb = cb;
    h->cb_arg = arg;
    h->draining = true;
    if (h->server)
        mr_http_drain(h->server, on_listener_drained, h);
    else
        lander_drain(h->lander, false, on_landed, h);
}

void mr_webhook_hub_once(void *hub, void (*cb)(void *arg, const struct mr_err *err), void *arg)
{
    struct hub *h = hub;
    h->cb = cb;
    h->cb_arg = arg;
    lander_drain(h->lander, true, on_landed, h);
}

static void on_certs_stopped(void *arg)
{
    struct hub *h = arg;
    h->stop_cb(h->stop_arg);
}

static void on_keeper_stopped(void *arg)
{
    struct hub *h = arg;
    certs_stop(h->certs, on_certs_stopped, h);
}

static void on_queue_closed(void *arg)
{
    struct hub *h = arg;
    ranges_free(&h->trusted);
    mr_buf_free(&h->event);
    mr_buf_free(&h->decoded);
    mr_buf_free(&h->url);
    keeper_stop(h->keeper, on_keeper_stopped, h); /* what was refused last is still written */
}

static void on_lander_stopped(void *arg)
{
    struct hub *h = arg;
    h->lander = NULL;
    if (h->queue)
        mr_queue_close(h->queue, on_queue_closed, h);
    else
        on_queue_closed(h);
}

static void on_server_closed(void *arg)
{
    struct hub *h = arg;
    h->server = NULL;
    if (h->lander)
        lander_stop(h->lander, on_lander_stopped, h);
    else
        on_lander_stopped(h);
}

void mr_webhook_hub_stop(void *hub, void (*cb)(void *arg), void *arg)
{
    struct hub *h = hub;
    h->cb = NULL;
    h->stop_cb = cb;
    h->stop_arg = arg;
    if (h->server)
        mr_http_close(h->server, on_server_closed, h);
    else
        on_server_closed(h);
}

void mr_webhook_hub_status(const void *hub, struct mr_buf *json)
{
    const struct hub *h = hub;
    if (h->lander)
        lander_status(h->lander, json);
}
