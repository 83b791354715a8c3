/* SPDX-License-Identifier: Apache-2.0 */
/* net/http_server.c - the listener: who may come in, and how all of it ends.
 *
 * Happy path: the socket is watched by uv_poll, so that one turn of the loop accepts no more than MR_HTTP_ACCEPTS
 *   (uv_listen would accept all that is there, and sleeps after each).
 *
 * Ways to fail: caps (503, bounded); descriptors spent (a spare one is given up to accept and refuse, so that the
 *   waiting ones neither hang nor keep the loop busy; if even that fails the listener rests until the next tick).
 *
 * On close: every handle counts; the callback comes from the last close callback, never from inside the call that
 *   asked. */
#include "net/http_inside.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

void mr_http_limits_default(struct mr_http_limits *limits)
{
    *limits = (struct mr_http_limits){
        .header_bytes = 16 * 1024,
        .header_count = 100,
        .connections = 10000,
        .first_byte_ms = 10 * 1000,
        .header_ms = 10 * 1000,
        .body_ms = 60 * 1000,
        .idle_ms = 75 * 1000, /* above the 60 s after which most senders let go by themselves */
        .min_body_rate = 256,
    };
}

size_t mr_http_header(const struct mr_http_head *head, struct mr_str name, struct mr_str *value)
{
    size_t count = 0;
    for (size_t i = 0; i < head->headers_count; i++) {
        const struct mr_header *h = &head->headers[i];
        if (h->name.n != name.n || strncasecmp(h->name.p, name.p, name.n) != 0)
            continue;
        if (count++ == 0 && value)
            *value = h->value;
    }
    return count;
}

void mr_http_count_refused(struct mr_http_server *s, enum mr_http_cause cause, struct mr_str remote)
{
    mr_cell_add(s->refused[cause], 1);
    if (s->handler.on_refused)
        s->handler.on_refused(s->handler.arg, mr_http_cause_name(cause), remote);
}

/* ---- the end ---- */

static void server_free(struct mr_http_server *s)
{
    mr_share_free(s->share);
    if (s->tls_share)
        mr_share_free(s->tls_share);
    mr_tls_drop(s->tls);
    mr_buf_free(&s->wire);
    free(s->plain);
    free(s->table.at);
    free(s);
}

static void maybe_ended(struct mr_http_server *s)
{
    if (s->draining && s->connections == 0 && s->fd < 0 && s->on_drained) {
        void (*drained)(void *) = s->on_drained;
        s->on_drained = NULL;
        drained(s->drained_arg);
    }
    if (s->closing && s->connections == 0 && s->handles == 0) {
        void (*closed)(void *) = s->on_closed;
        void *arg = s->closed_arg;
        server_free(s);
        if (closed)
            closed(arg);
    }
}

void mr_http_conn_gone(struct mr_http_server *s)
{
    s->connections--;
    mr_cell_add(s->open, -1);
    maybe_ended(s);
}

static void on_listener_closed(uv_handle_t *h)
{
    struct mr_http_server *s = MR_OF(h, struct mr_http_server, listener);
    close(s->fd);
    s->fd = -1;
    if (s->spare_fd >= 0)
        close(s->spare_fd);
    s->spare_fd = -1;
    s->handles--;
    maybe_ended(s);
}

static void on_tick_closed(uv_handle_t *h)
{
    struct mr_http_server *s = MR_OF(h, struct mr_http_server, tick);
    s->handles--;
    maybe_ended(s);
}

static void close_connections(struct mr_http_server *s, bool idle_only)
{
    for (struct mr_link *l = s->all.next, *next; l != &s->all; l = next) {
        next = l->next;
        struct mr_conn *c = MR_OF(l, struct mr_conn, all);
        if (!idle_only || c->state == MR_CONN_FRESH || c->state == MR_CONN_IDLE)
            mr_conn_close(c);
    }
}

static void on_shake_closed(uv_handle_t *h)
{
    struct mr_http_server *s = MR_OF(h, struct mr_http_server, shake);
    s->handles--;
    maybe_ended(s);
}

void mr_http_drain(struct mr_http_server *s, void (*cb)(void *arg), void *arg)
{
    assert(!s->draining && !s->closing);
    s->draining = true;
    s->on_drained = cb;
    s->drained_arg = arg;
    s->listening = false;
    uv_close((uv_handle_t *)&s->listener, on_listener_closed);
    close_connections(s, true);
}

void mr_http_close(struct mr_http_server *s, void (*cb)(void *arg), void *arg)
{
    if (s->closing)
        return;
    s->closing = true;
    s->on_closed = cb;
    s->closed_arg = arg;
    s->listening = false;
    if (!uv_is_closing((uv_handle_t *)&s->listener))
        uv_close((uv_handle_t *)&s->listener, on_listener_closed);
    uv_close((uv_handle_t *)&s->tick, on_tick_closed);
    uv_close((uv_handle_t *)&s->shake, on_shake_closed);
    close_connections(s, false);
}

/* ---- who comes in ---- */

static void admit(struct mr_http_server *s, int fd, const struct sockaddr_storage *from)
{
    enum mr_http_cause cause = MR_CAUSE_NONE;
    if (s->connections - s->at_door >= s->limits.connections)
        cause = MR_CAUSE_TOO_MANY_CONNECTIONS;
    if (cause != MR_CAUSE_NONE && s->at_door >= MR_HTTP_ABOVE_CAP) { /* a flood: no answer is worth a descriptor */
        mr_http_count_refused(s, cause, MR_STR(""));
        close(fd);
        return;
    }
    struct mr_conn *c = mr_conn_new(s, fd, from);
    if (!c) {
        close(fd);
        return;
    }
    s->connections++;
    mr_cell_add(s->open, 1);
    if (c->state != MR_CONN_CLOSED && s->tls && !mr_conn_tls_begin(c)) {
        mr_http_count_refused(s, MR_CAUSE_MEMORY, mr_conn_remote(c));
        mr_conn_close(c);
    }
    enum mr_http_peer kind = s->handler.on_peer ? s->handler.on_peer(s->handler.arg, &c->address) : MR_PEER_PLAIN;
    if (kind == MR_PEER_REFUSED && c->state != MR_CONN_CLOSED) {
        mr_http_count_refused(s, MR_CAUSE_NO_PROXY, mr_conn_remote(c));
        mr_conn_close(c);
    }
    if (kind == MR_PEER_PROXY && c->state != MR_CONN_CLOSED && !mr_conn_proxy_begin(c)) {
        mr_http_count_refused(s, MR_CAUSE_MEMORY, mr_conn_remote(c));
        mr_conn_close(c);
    }
    c->peer = mr_peer_get(s, &c->address);
    if (cause == MR_CAUSE_NONE && kind == MR_PEER_PLAIN && s->limits.connections_per_peer > 0 &&
        c->peer->connections > s->limits.connections_per_peer)
        cause = MR_CAUSE_TOO_MANY_OF_PEER;
    if (c->state == MR_CONN_CLOSED)
        return;
    if (cause == MR_CAUSE_NONE) {
        mr_conn_go_on(c);
        return;
    }
    c->at_door = true;
    mr_peer_put(s, c->peer);
    c->peer = NULL;
    if (s->at_door++ >= MR_HTTP_ABOVE_CAP) {
        mr_http_count_refused(s, cause, mr_conn_remote(c));
        mr_conn_close(c);
    } else {
        mr_conn_refuse(c, cause);
    }
}

/* Descriptors are spent: gives the spare one for the one that waits. False: not even that. */
static bool refuse_with_spare(struct mr_http_server *s)
{
    static const char busy[] =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n";
    if (s->spare_fd >= 0)
        close(s->spare_fd);
    int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        mr_http_count_refused(s, MR_CAUSE_NO_DESCRIPTORS, MR_STR(""));
        ssize_t ignored = send(fd, busy, sizeof busy - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)ignored;
        close(fd);
    }
    s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return fd >= 0;
}

static void on_acceptable(uv_poll_t *h, int status, int events)
{
    struct mr_http_server *s = MR_OF(h, struct mr_http_server, listener);
    (void)events;
    for (unsigned i = 0; status == 0 && s->listening && i < MR_HTTP_ACCEPTS; i++) {
        struct sockaddr_storage from;
        socklen_t n = sizeof from;
        int fd = accept4(s->fd, (struct sockaddr *)&from, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            admit(s, fd, &from);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            if (!refuse_with_spare(s)) {
                mr_http_listening(s, false);
                uv_timer_start(&s->tick, mr_http_tick, MR_HTTP_TICK_MS, MR_HTTP_TICK_MS);
            }
        }
    }
}

void mr_http_listening(struct mr_http_server *s, bool on)
{
    if (on == s->listening || s->draining || s->closing)
        return;
    s->listening = on;
    if (on)
        uv_poll_start(&s->listener, UV_READABLE, on_acceptable);
    else
        uv_poll_stop(&s->listener);
}

/* ---- the beginning ---- */

static enum mr_code parse_listen(const char *text, struct sockaddr_storage *out, socklen_t *n, struct mr_err *err)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    size_t host_n = colon ? (size_t)(colon - text) : 0;
    bool v6 = host_n >= 2 && text[0] == '[' && text[host_n - 1] == ']';
    char *end = NULL;
    errno = 0;
    unsigned long port = colon && colon[1] >= '0' && colon[1] <= '9' ? strtoul(colon + 1, &end, 10) : 65536;
    if (!colon || host_n >= sizeof host || port > 65535 || !end || *end != '\0')
        return mr_err_set(err, MR_ECONFIG, "listen \"%s\": not ADDRESS:PORT", text);
    memcpy(host, text + v6, host_n - (v6 ? 2 : 0));
    host[host_n - (v6 ? 2 : 0)] = '\0';
    memset(out, 0, sizeof *out);
    int rc = v6 ? uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)out)
                : uv_ip4_addr(host, (int)port, (struct sockaddr_in *)out);
    if (rc != 0)
        return mr_err_set(err, MR_ECONFIG, "listen \"%s\": \"%s\" is not a numeric address", text, host);
    *n = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    return MR_OK;
}

static enum mr_code bind_failed(int sys, const char *listen_text, struct mr_err *err)
{
    if (sys == EADDRINUSE)
        return mr_err_set(err, MR_EINUSE, "listen %s: the port is in use by another process", listen_text);
    return mr_err_sys(err, sys, "listen %s", listen_text);
}

static enum mr_code open_listener(struct mr_http_server *s, const char *text, struct mr_err *err)
{
    struct sockaddr_storage a;
    socklen_t n;
    int on = 1, sys;
    if (parse_listen(text, &a, &n, err) != MR_OK)
        return err ? err->code : MR_ECONFIG;
    s->fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        return mr_err_sys(err, errno, "socket for %s", text);
    setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* accepted sockets inherit it */
    if (bind(s->fd, (struct sockaddr *)&a, n) != 0 || listen(s->fd, 1024) != 0) {
        sys = errno;
        goto close_socket;
    }
    n = sizeof a;
    getsockname(s->fd, (struct sockaddr *)&a, &n);
    s->port =
        ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
    sys = -uv_poll_init(&s->loop->uv, &s->listener, s->fd);
    if (sys != 0)
        goto close_socket;
    return MR_OK;
close_socket:
    close(s->fd);
    s->fd = -1;
    return bind_failed(sys, text, err);
}

static void make_table(struct mr_http_server *s)
{
    size_t room = s->limits.header_count > s->table.room ? s->limits.header_count : s->table.room;
    free(s->table.at); /* never smaller than before: a head may be half here */
    s->table = (struct mr_parse_table){.room = room};
    s->table.at = calloc(s->table.room + 1, sizeof *s->table.at);
    if (!s->table.at)
        abort();
}

static void make_cells(struct mr_http_server *s, const char *name)
{
    s->open = mr_metric(s->loop->metrics, MR_M_HTTP_CONNECTIONS, name);
    s->shaken[0] = mr_metric(s->loop->metrics, MR_M_TLS_HANDSHAKES, name, "full");
    s->shaken[1] = mr_metric(s->loop->metrics, MR_M_TLS_HANDSHAKES, name, "resumed");
    for (unsigned i = MR_CAUSE_NONE + 1; i < MR_CAUSE_COUNT; i++)
        s->refused[i] = mr_metric(s->loop->metrics, MR_M_HTTP_REFUSED, name, mr_http_cause_name((enum mr_http_cause)i));
}

/* libuv writes without MSG_NOSIGNAL: a peer that resets its connection would end the program. */
static void survive_resets(void)
{
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

enum mr_code mr_http_listen(const struct mr_http_options *options, struct mr_http_server **out, struct mr_err *err)
{
    struct mr_http_server *s = calloc(1, sizeof *s);
    if (!s)
        return mr_err_sys(err, ENOMEM, "listener %s", options->name);
    survive_resets();
    s->loop = options->loop;
    s->limits = options->limits;
    s->handler = options->handler;
    s->fd = s->spare_fd = -1;
    mr_link_init(&s->all);
    mr_link_init(&s->ready);
    mr_link_init(&s->shaking);
    mr_buf_init(&s->wire, SIZE_MAX / 4); /* an answer, or a flight of a handshake */
    for (size_t i = 0; i < MR_COUNT(s->due); i++)
        mr_link_init(&s->due[i]);
    enum mr_code code = open_listener(s, options->listen, err);
    if (code != MR_OK) {
        free(s);
        return code;
    }
    s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    uv_timer_init(&s->loop->uv, &s->tick);
    uv_idle_init(&s->loop->uv, &s->shake);
    s->handles = 3;
    size_t limit = mr_budget_limit(s->loop->budget);
    s->share_cap = options->memory == 0 ? limit / 4 : options->memory < limit ? options->memory : limit;
    s->share = mr_share_new(s->loop->budget, options->name, options->memory, mr_http_relieved, s);
    make_table(s);
    make_cells(s, options->name);
    mr_http_tls_set(s, options->tls);
    mr_http_listening(s, true);
    *out = s;
    return MR_OK;
}

int mr_http_port(const struct mr_http_server *s)
{
    return s->port;
}

void mr_http_limits_set(struct mr_http_server *s, const struct mr_http_limits *limits)
{
    assert(!s->running);
    s->limits = *limits;
    make_table(s);
}

void mr_http_tls_set(struct mr_http_server *s, struct mr_tls *tls)
{
    mr_tls_hold(tls);
    mr_tls_drop(s->tls);
    s->tls = tls;
    if (!tls || s->plain)
        return;
    s->plain = malloc(MR_HTTP_PLAIN);
    s->tls_share = mr_share_new(s->loop->budget, "tls", mr_budget_limit(s->loop->budget) / 2, NULL, NULL);
    if (!s->plain || !s->tls_share)
        abort();
}
