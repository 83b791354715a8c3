/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - libcurl's multi handle on the loop (https://curl.se/libcurl/c/curl_multi_socket_action.html).
 *
 * sockets       libcurl says which to watch for what: a uv_poll each, freed in its close callback. An error of the poll (UV_EBADF for a connection that
 *               was refused or reset) is told as "look": told as an error, libcurl would not try a kept connection's successor
 * timer         one uv_timer; libcurl is never called from the callback that sets it
 * end           whoever has ended is looked for after every call, not only while transfers run: the last one may end by a time-out
 * wishes        start, resume, and a cancel out of libcurl's own callbacks only say what is wanted: it must not be called while it calls us. It is done at
 *               the end of its call, or in the next turn of the loop
 * on close      flights end as canceled; the multi handle is cleaned up, which opens no polls any more; cb after the last handle is closed */
#include "client_inside.h"

#include <assert.h>
#include <stdlib.h>

enum { CONNECTIONS = 64, PER_HOST = 8 };

struct watch { /* a socket of libcurl's */
    uv_poll_t poll;
    struct mr_client *client;
    curl_socket_t fd;
};

static void turn_ends(struct mr_client *c);

static void maybe_closed(struct mr_client *c)
{
    if (!c->closing || c->open_handles || trust_busy(c->trust))
        return;
    void (*closed)(void *) = c->closed;
    void *arg = c->arg;
    trust_free(c->trust);
    free(c->proxy);
    free(c->no_proxy);
    free(c);
    closed(arg);
}

/* ---- what libcurl wants of the loop ---- */

static void act(struct mr_client *c, curl_socket_t fd, int events)
{
    int running; /* libcurl wants the place, we do not need the number */
    c->inside++;
    curl_multi_socket_action(c->multi, fd, events, &running);
    c->inside--;
    turn_ends(c);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;
    int flags = status < 0 ? CURL_CSELECT_IN | CURL_CSELECT_OUT : 0; /* it finds the error itself, and may connect anew */
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    act(w->client, w->fd, flags);
}

static void on_timer(uv_timer_t *timer)
{
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct watch *w = handle->data;
    struct mr_client *c = w->client;
    free(w);
    c->open_handles--;
    maybe_closed(c);
}

static void unwatch(struct mr_client *c, curl_socket_t fd, struct watch *w)
{
    if (!w)
        return;
    curl_multi_assign(c->multi, fd, NULL);
    uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, on_poll_closed);
}

static struct watch *watch(struct mr_client *c, curl_socket_t fd)
{
    struct watch *w = calloc(1, sizeof *w);
    if (!w || uv_poll_init_socket(&c->loop->uv, &w->poll, fd) != 0) {
        free(w);
        return NULL;
    }
    w->poll.data = w;
    w->client = c;
    w->fd = fd;
    c->open_handles++;
    curl_multi_assign(c->multi, fd, w);
    return w;
}

static int on_socket(CURL *curl, curl_socket_t fd, int what, void *client, void *socket)
{
    struct mr_client *c = client;
    struct watch *w = socket;
    (void)curl;
    if (what == CURL_POLL_REMOVE) {
        unwatch(c, fd, w);
        return 0;
    }
    if (c->closing || (!w && !(w = watch(c, fd))))
        return c->closing ? 0 : -1;
    int events = (what != CURL_POLL_OUT ? UV_READABLE : 0) | (what != CURL_POLL_IN ? UV_WRITABLE : 0);
    return uv_poll_start(&w->poll, events, on_poll) == 0 ? 0 : -1;
}

static int on_timeout(CURLM *multi, long ms, void *client)
{
    struct mr_client *c = client;
    (void)multi;
    if (ms < 0)
        uv_timer_stop(&c->timer);
    else if (!c->closing)
        uv_timer_start(&c->timer, on_timer, (uint64_t)ms, 0);
    return 0;
}

static void on_kick(uv_timer_t *timer)
{
    turn_ends(timer->data);
}

static void kick(struct mr_client *c)
{
    if (!c->closing)
        uv_timer_start(&c->kick, on_kick, 0, 0);
}

/* The CAs are here, or never will be. */
static void on_trust(void *arg)
{
    kick(arg);
    maybe_closed(arg);
}

/* ---- the client ---- */

static char *copy(const char *text, bool *ok)
{
    char *s = text ? strdup(text) : NULL;
    *ok &= !text || s;
    return s;
}

static void make_cells(struct mr_client *c)
{
    struct mr_metrics *m = c->loop->metrics;
    for (int i = 0; i < MR_CLIENT_CAUSES; i++)
        c->exchanges[i] = mr_metric(m, MR_M_CLIENT_EXCHANGES, mr_client_cause_name((enum mr_client_cause)i));
    c->in_flight = mr_metric0(m, MR_M_CLIENT_IN_FLIGHT);
    c->sent = mr_metric(m, MR_M_CLIENT_BYTES, "sent");
    c->received = mr_metric(m, MR_M_CLIENT_BYTES, "received");
}

enum mr_code mr_client_new(struct mr_loop *loop, const struct mr_client_options *options, struct mr_client **out, struct mr_err *err)
{
    bool ok = true;
    struct mr_client *c = calloc(1, sizeof *c);
    if (!c)
        return mr_err_set(err, MR_ENOMEM, "HTTP client");
    c->loop = loop;
    c->proxy = copy(options->proxy, &ok);
    c->no_proxy = copy(options->no_proxy, &ok);
    c->connections = options->connections ? options->connections : CONNECTIONS;
    c->per_host = options->per_host ? options->per_host : PER_HOST;
    if (!ok) {
        free(c->proxy);
        free(c->no_proxy);
        free(c);
        return mr_err_set(err, MR_ENOMEM, "HTTP client");
    }
    make_cells(c);
    uv_timer_init(&loop->uv, &c->timer);
    uv_timer_init(&loop->uv, &c->kick);
    c->timer.data = c->kick.data = c;
    c->open_handles = 2;
    *out = c;
    return MR_OK;
}

static bool multi_up(struct mr_client *c)
{
    if (c->multi)
        return true;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return false;
    c->multi = curl_multi_init();
    c->trust = trust_new(c->loop, curl_version_info(CURLVERSION_NOW)->cainfo, on_trust, c);
    if (!c->multi || !c->trust) {
        curl_multi_cleanup(c->multi);
        trust_free(c->trust);
        curl_global_cleanup();
        c->multi = NULL;
        return false;
    }
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)c->connections);
    curl_multi_setopt(c->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)c->per_host);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)c->connections);
    return true;
}

/* ---- flights ---- */

static void take_off_list(struct mr_flight *f)
{
    struct mr_client *c = f->client;
    if (f->prev)
        f->prev->next = f->next;
    else
        c->flights = f->next;
    if (f->next)
        f->next->prev = f->prev;
}

/* Off the multi handle; on_done, if somebody still waits; freed. */
static void flight_ends(struct mr_flight *f, CURLcode rc)
{
    struct mr_client *c = f->client;
    struct mr_exchange *x = f->x;
    struct mr_exchange_end end;
    curl_off_t down = 0;
    long up = 0;
    if (f->added) {
        c->inside++;
        curl_multi_remove_handle(c->multi, f->curl);
        c->inside--;
    }
    flight_judge(f, rc, &end);
    if (f->curl) {
        curl_easy_getinfo(f->curl, CURLINFO_SIZE_DOWNLOAD_T, &down);
        curl_easy_getinfo(f->curl, CURLINFO_REQUEST_SIZE, &up);
    }
    mr_cell_add(c->received, (int64_t)down);
    mr_cell_add(c->sent, up);
    mr_cell_set(c->in_flight, (double)--c->flights_count);
    if (x)
        mr_cell_add(c->exchanges[end.cause], 1);
    take_off_list(f);
    flight_free(f);
    if (!x)
        return;
    x->flight = NULL;
    if (x->on_done)
        x->on_done(x, &end);
}

/* false: it cannot be; flight_judge() tells why. */
static bool add(struct mr_flight *f)
{
    struct mr_client *c = f->client;
    if (f->failed || !multi_up(c) || (!f->curl && !flight_set_up(f)))
        return false;
    c->inside++;
    f->added = curl_multi_add_handle(c->multi, f->curl) == CURLM_OK;
    c->inside--;
    return f->added;
}

static void follow(struct mr_flight *f)
{
    struct mr_client *c = f->client;
    c->inside++;
    curl_multi_remove_handle(c->multi, f->curl);
    c->inside--;
    f->added = false;
    if (!flight_goes_on(f) || !add(f))
        flight_ends(f, CURLE_OK);
}

static void collect(struct mr_client *c)
{
    int left;
    for (CURLMsg *m; !c->closing && (m = curl_multi_info_read(c->multi, &left)) != NULL;) {
        struct mr_flight *f;
        CURLcode rc = m->data.result; /* the message ends with the handle's removal */
        if (m->msg != CURLMSG_DONE || curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&f) != CURLE_OK)
            continue;
        if (rc == CURLE_OK && f->x && f->redirects)
            follow(f);
        else
            flight_ends(f, rc);
    }
}

static void unpause(struct mr_flight *f)
{
    f->resume = f->paused = false;
    f->client->inside++;
    curl_easy_pause(f->curl, CURLPAUSE_CONT);
    f->client->inside--;
}

/* Who trusts the system's CAs waits until they are read; his time-outs begin then. */
static bool waits(const struct mr_flight *f)
{
    return !f->x->ca && f->x->url.n > 8 && memcmp(f->x->url.p, "https://", 8) == 0 && trust_state(f->client->trust) == TRUST_READING;
}

static void wishes(struct mr_client *c)
{
    for (struct mr_flight *f = c->flights, *next; f && !c->closing; f = next) {
        next = f->next;
        if (f->x && !f->added && multi_up(c) && waits(f))
            continue;
        if (!f->x || (!f->added && !add(f))) {
            flight_ends(f, CURLE_OUT_OF_MEMORY);
            next = c->flights; /* on_done may have changed the list */
        } else if (f->resume && f->paused) {
            unpause(f);
        }
    }
}

static void turn_ends(struct mr_client *c)
{
    if (c->inside || c->closing)
        return;
    wishes(c);
    if (c->multi)
        collect(c);
}

/* ---- what callers want ---- */

void mr_exchange_start(struct mr_client *c, struct mr_exchange *x)
{
    assert(!c->closing);
    struct mr_flight *f = calloc(1, sizeof *f);
    if (!f)
        abort();
    *f = (struct mr_flight){.x = x, .client = c, .next = c->flights};
    mr_buf_init(&f->head, CLIENT_HEAD_BYTES_MAX);
    if (c->flights)
        c->flights->prev = f;
    c->flights = f;
    x->flight = f;
    mr_cell_set(c->in_flight, (double)++c->flights_count);
    kick(c);
}

void mr_exchange_resume(struct mr_exchange *x)
{
    x->flight->resume = true;
    kick(x->flight->client);
}

/* At once, if libcurl is not calling us: it still points at the body. */
void mr_exchange_cancel(struct mr_exchange *x)
{
    struct mr_flight *f = x->flight;
    f->x = NULL;
    x->flight = NULL;
    if (f->client->inside == 0)
        flight_ends(f, CURLE_ABORTED_BY_CALLBACK);
    else
        kick(f->client);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct mr_client *c = handle->data;
    c->open_handles--;
    maybe_closed(c);
}

void mr_client_close(struct mr_client *c, void (*cb)(void *arg), void *arg)
{
    assert(!c->inside && !c->closing);
    c->closing = true;
    c->closed = cb;
    c->arg = arg;
    while (c->flights) {
        c->flights->failed = MR_CLIENT_CANCELED;
        flight_ends(c->flights, CURLE_ABORTED_BY_CALLBACK);
    }
    if (c->multi) {
        c->inside++;
        curl_multi_cleanup(c->multi);
        c->inside--;
        c->multi = NULL;
        curl_global_cleanup();
    }
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
    uv_close((uv_handle_t *)&c->kick, on_timer_closed);
}
