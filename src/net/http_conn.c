/* SPDX-License-Identifier: Apache-2.0 */
/* net/http_conn.c - one connection: from bytes read to requests handed over to answers sent.
 *
 * Happy path: on_read() gives what came to run(), which feeds the parser, asks on_head(), hands the whole request over
 *   and leaves; mr_http_answer() writes at once with uv_try_write(), and the connection is idle again. No memory is
 *   taken.
 *
 * Ways to fail: the request is refused (answer, shut down our side, read on for a while so that no reset overtakes the
 *   answer); the socket takes only a part of the answer (the rest goes to uv_write(), nothing more is parsed until it
 *   is gone); the share refuses memory (http_limits.c); the peer goes away (the request stays the handler's until it
 *   answers, into the void).
 *
 * On close: uv_close(); all that the connection holds is let go in on_closed(), since a handler may just be reading it.
 */
#include "net/http_inside.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define C(id)  (1u << MR_CONN_##id)
#define ENDING (C(SENDING) | C(LINGER) | C(CLOSED))
static const unsigned may_follow[] = {
#define MR_CONN_STATE_ROW(id, next) next,
    MR_CONN_STATES(MR_CONN_STATE_ROW)
#undef MR_CONN_STATE_ROW
};

/* The only place that writes c->state. */
static void conn_go(struct mr_conn *c, enum mr_conn_state to)
{
    assert(may_follow[c->state] & (1u << to));
    c->state = to;
    mr_conn_list(c);
}

static bool is_one_of(const struct mr_conn *c, unsigned states)
{
    return (states >> c->state) & 1u;
}
enum { PARSING = C(FRESH) | C(IDLE) | C(HEAD) | C(BODY), ANSWER_DUE = C(OUT) | C(SENDING) };

struct mr_str mr_conn_remote(const struct mr_conn *c)
{
    return (struct mr_str){c->remote, c->remote_n};
}

/* ---- bytes that must be kept ---- */

static void own_free(struct mr_conn *c)
{
    if (!c->own)
        return;
    free(c->own);
    mr_share_put(c->server->share, c->charged);
    c->own = NULL;
    c->own_at = c->own_n = 0;
    c->own_size = c->charged = 0;
    c->starved = false;
}

/* False: the share has refused. With `force` the memory is there all the same (if the system has any), unpaid. */
static bool own_grow(struct mr_conn *c, size_t size, bool force)
{
    size_t lacked = size - c->charged;
    bool paid = mr_share_take(c->server->share, lacked);
    if (!paid && !force)
        return false;
    char *p = realloc(c->own, size);
    if (!p) {
        if (paid)
            mr_share_put(c->server->share, lacked);
        return false;
    }
    c->own = p;
    c->own_size = size;
    if (paid)
        c->charged = size;
    return paid;
}

static void own_to_front(struct mr_conn *c)
{
    if (c->own_at > 0)
        memmove(c->own, c->own + c->own_at, c->own_n);
    c->own_at = 0;
}

/* How large a buffer for the n bytes that are here: whole for a body that is nearly here, else doubling, so that a
 * sender who only declares much gets little. */
static size_t own_wanted(const struct mr_conn *c, size_t n)
{
    size_t need = mr_parse_need(&c->parse, &c->server->limits);
    if (c->parse.stage == MR_PARSE_FIXED && need - n <= MR_HTTP_READ)
        return need;
    size_t twice = 2 * n > MR_HTTP_PIECE ? 2 * n : MR_HTTP_PIECE;
    return need > n && need < twice ? need : twice;
}

/* Puts away what came behind the request that is out. If the share refuses it is dropped and the answer will say
 * "close": the peer knows then that it was not read. (Waiting for room would stop all others for one who runs ahead.)
 */
static void own_put_ahead(struct mr_conn *c, const char *from, size_t n)
{
    if (c->state == MR_CONN_SENDING && c->close_after)
        return;
    if (!own_grow(c, n, false)) {
        c->deaf = true;
        mr_http_count_refused(c->server, MR_CAUSE_MEMORY, mr_conn_remote(c));
        return;
    }
    memcpy(c->own, from, n);
    c->own_n = (uint32_t)n;
}

/* Puts away a piece of a request from `from` (the server's buffer), behind what is kept already. */
static void own_put(struct mr_conn *c, const char *from, size_t n)
{
    own_to_front(c);
    size_t size = c->own_n + n;
    bool paid = true;
    if (size > c->own_size) {
        size_t wanted = own_wanted(c, size);
        paid = own_grow(c, wanted, false) || own_grow(c, size, true);
    }
    if (size > c->own_size) { /* the system has none */
        mr_conn_refuse(c, MR_CAUSE_MEMORY);
        return;
    }
    memcpy(c->own + c->own_n, from, n);
    c->own_n += (uint32_t)n;
    if (!paid)
        mr_http_stall(c->server, c, size - c->charged);
}

/* Room for the next read of a request that has begun. */
static void own_make_room(struct mr_conn *c)
{
    if (c->own_at + c->own_n < c->own_size)
        return;
    own_to_front(c);
    if (c->own_n < c->own_size)
        return;
    size_t wanted = own_wanted(c, c->own_n);
    if (!own_grow(c, wanted, false))
        mr_http_stall(c->server, c, wanted - c->charged);
}

/* ---- reading on or not ---- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct mr_conn *c = MR_OF(h, struct mr_conn, tcp);
    (void)suggested;
    size_t used = c->own_at + c->own_n;
    if (!c->tls && is_one_of(c, PARSING) && c->own_n > 0 && used < c->own_size)
        *buf = uv_buf_init(c->own + used, (unsigned)(c->own_size - used));
    else
        *buf = uv_buf_init(c->server->read, MR_HTTP_READ);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void set_reading(struct mr_conn *c, bool on)
{
    if (c->reading == on || c->state == MR_CONN_CLOSED)
        return;
    c->reading = on;
    if (on)
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    else
        uv_read_stop((uv_stream_t *)&c->tcp);
}

/* While a request is out the socket stays watched, to see the peer go, until it sends more: that is kept, then it
 * waits. Stopping and starting around each request would cost two system calls each. */
static void read_or_not(struct mr_conn *c)
{
    bool on = !c->eof && (is_one_of(c, PARSING) || (is_one_of(c, ANSWER_DUE) && c->own_n == 0 && !c->deaf));
    set_reading(c, (on && !c->server->stalled) || (c->state == MR_CONN_LINGER && !c->eof));
}

/* ---- sending ---- */

struct late { /* what the socket did not take at once */
    uv_write_t req;
    struct mr_conn *conn;
    char bytes[];
};

static void conn_answered(struct mr_conn *c);

static void on_late(uv_write_t *req, int status)
{
    struct late *late = MR_OF(req, struct late, req);
    struct mr_conn *c = late->conn;
    free(late);
    c->late--;
    if (c->state == MR_CONN_CLOSED)
        return;
    if (status < 0) {
        mr_conn_close(c);
    } else if (c->state == MR_CONN_SENDING && c->late == 0) {
        conn_answered(c);
        mr_conn_go_on(c);
    }
}

static void send_late(struct mr_conn *c, struct mr_str bytes)
{
    struct late *late = malloc(sizeof *late + bytes.n);
    if (!late) {
        mr_conn_close(c);
        return;
    }
    late->conn = c;
    memcpy(late->bytes, bytes.p, bytes.n);
    uv_buf_t buf = uv_buf_init(late->bytes, (unsigned)bytes.n);
    if (uv_write(&late->req, (uv_stream_t *)&c->tcp, &buf, 1, on_late) != 0) {
        free(late);
        mr_conn_close(c);
        return;
    }
    c->late++;
}

/* Closes the connection if it cannot. */
void mr_conn_wire(struct mr_conn *c, struct mr_str bytes)
{
    uv_buf_t buf = uv_buf_init(NULL, 0);
    memcpy(&buf.base, &bytes.p, sizeof buf.base); /* libuv's field lacks the const; it only reads */
    buf.len = bytes.n;
    int rc = c->late > 0 ? UV_EAGAIN : uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    if (rc < 0 && rc != UV_EAGAIN) {
        mr_conn_close(c);
        return;
    }
    size_t sent = rc > 0 ? (size_t)rc : 0;
    if (sent < bytes.n)
        send_late(c, (struct mr_str){bytes.p + sent, bytes.n - sent});
}

static void conn_send(struct mr_conn *c, struct mr_str bytes)
{
    if (c->tls && !mr_conn_tls_write(c, bytes, &bytes))
        mr_conn_close(c); /* before its handshake, or after it failed: nobody could read it */
    else
        mr_conn_wire(c, bytes);
}

static size_t flatten(char *out, const struct mr_http_answer *a, struct mr_str date, bool http10, bool close, bool with_body)
{
    size_t n = mr_answer_head(out, a, date, http10, close);
    if (a->extra.n > 0) {
        memcpy(out + n, a->extra.p, a->extra.n);
        n += a->extra.n;
        memcpy(out + n, "\r\n", 2);
        n += 2;
    }
    if (with_body && a->body.n > 0) {
        memcpy(out + n, a->body.p, a->body.n);
        n += a->body.n;
    }
    return n;
}

/* c->close_after must be decided. */
static void send_answer(struct mr_conn *c, const struct mr_http_answer *a)
{
    bool with_body = !mr_answer_bodyless(a->status) && !(c->begun && c->parse.is_head);
    size_t most = MR_ANSWER_ROOM + a->extra.n + 2 + (with_body ? a->body.n : 0);
    char here[2048], *bytes = here;
    if (most > sizeof here) {
        bytes = malloc(most);
        if (!bytes) {
            mr_conn_close(c);
            return;
        }
    }
    struct mr_str date = mr_answer_date(&c->server->date, mr_loop_now_ms(c->server->loop));
    size_t n = flatten(bytes, a, date, c->begun && c->parse.http10, c->close_after, with_body);
    conn_send(c, (struct mr_str){bytes, n});
    if (bytes != here)
        free(bytes);
}

/* ---- after an answer ---- */

/* All is said. The peer may still be sending what we refused: closing now would reset the connection under the answer.
 */
void mr_conn_linger(struct mr_conn *c)
{
    uv_os_fd_t fd;
    own_free(c);
    mr_conn_tls_end(c);
    if (c->state == MR_CONN_CLOSED)
        return;
    if (c->eof || uv_fileno((uv_handle_t *)&c->tcp, &fd) != 0 || shutdown(fd, SHUT_WR) != 0) {
        mr_conn_close(c);
        return;
    }
    conn_go(c, MR_CONN_LINGER);
    read_or_not(c);
}

static void conn_answered(struct mr_conn *c)
{
    if (c->state == MR_CONN_CLOSED)
        return;
    if (c->late > 0) {
        if (c->state != MR_CONN_SENDING)
            conn_go(c, MR_CONN_SENDING);
        return;
    }
    c->begun = false;
    if (c->close_after)
        mr_conn_linger(c);
    else
        conn_go(c, c->skip > 0 ? MR_CONN_BODY : MR_CONN_IDLE);
}

void mr_conn_refuse(struct mr_conn *c, enum mr_http_cause cause)
{
    struct mr_http_answer answer;
    assert(is_one_of(c, PARSING));
    mr_http_count_refused(c->server, cause, mr_conn_remote(c));
    if (c->state == MR_CONN_CLOSED) /* by the handler */
        return;
    mr_http_refusal(cause, &answer);
    c->close_after = true;
    c->skip = 0;
    send_answer(c, &answer);
    conn_answered(c);
}

void mr_http_answer(struct mr_http_request *req, const struct mr_http_answer *answer)
{
    struct mr_conn *c = MR_OF(req, struct mr_conn, request);
    struct mr_http_server *s = c->server;
    assert(c->out);
    c->out = false;
    if (!s) {
        free(c); /* the connection was all gone but for this answer */
        return;
    }
    if (c->state == MR_CONN_CLOSED)
        return;
    c->close_after = answer->close || !c->parse.keep_alive || s->draining || c->deaf || (c->eof && c->own_n == 0);
    send_answer(c, answer);
    if (c->handing)
        return; /* hand_over() goes on when on_request() has returned: it may still look at its borrowed bytes */
    conn_answered(c);
    if (c->own_n > 0 || c->eof || !c->reading)
        mr_conn_go_on(c);
}

/* ---- requests ---- */

static void head_of(struct mr_conn *c, const char *base, struct mr_http_head *head)
{
    mr_parse_head(&c->parse, base, &c->server->table, head);
    head->remote = mr_conn_remote(c);
    head->address = c->address;
}

/* The handler has refused at the head: its answer goes out before the body is read. */
static void refuse_body(struct mr_conn *c, const struct mr_http_answer *answer)
{
    const struct mr_parse *p = &c->parse;
    /* A sender that waits for 100 sends its body or not, as it likes: what follows could be either. */
    bool in_doubt = mr_parse_has_body(p) && (p->chunked || p->continues || p->content_length > MR_HTTP_SKIP);
    c->close_after = answer->close || !p->keep_alive || c->server->draining || in_doubt;
    c->skip = p->content_length > 0 ? (size_t)p->content_length : 0;
    send_answer(c, answer);
    conn_answered(c);
}

static void ask(struct mr_conn *c, char **base, size_t *n)
{
    struct mr_http_server *s = c->server;
    struct mr_http_head head;
    struct mr_http_answer answer = {0};
    size_t limit = 0;
    head_of(c, *base, &head);
    memset(c->request.room, 0, sizeof c->request.room);
    int rc = s->handler.on_head(s->handler.arg, &c->request, &head, &limit, &answer);
    if (c->state == MR_CONN_CLOSED)
        return;
    if (rc != 0) {
        size_t head_n = c->parse.head_n;
        refuse_body(c, &answer);
        *base += head_n;
        *n -= head_n;
        return;
    }
    if (!mr_parse_body(&c->parse, limit))
        mr_conn_refuse(c, c->parse.cause);
    else if (c->parse.continues && mr_parse_has_body(&c->parse) && !c->parse.http10 && *n == c->parse.head_n)
        conn_send(c, MR_STR("HTTP/1.1 100 Continue\r\n\r\n"));
}

static void hand_over(struct mr_conn *c, char **base, size_t *n)
{
    struct mr_http_server *s = c->server;
    struct mr_http_head head;
    head_of(c, *base, &head);
    struct mr_str body = {*base + c->parse.head_n, c->parse.body_n};
    size_t taken = c->parse.end;
    conn_go(c, MR_CONN_OUT);
    c->out = c->handing = true;
    s->handler.on_request(s->handler.arg, &c->request, &head, body);
    c->handing = false;
    *base += taken;
    *n -= taken;
    if (!c->out)
        conn_answered(c);
}

/* False: nothing of a next request is here. */
static bool begin(struct mr_conn *c, char **base, size_t *n)
{
    while (*n > 0 && c->crlfs < MR_HTTP_CRLFS && **base == (c->crlfs % 2 == 0 ? '\r' : '\n')) {
        ++*base;
        --*n;
        c->crlfs++;
    }
    if (*n == 0)
        return false;
    bool half = c->crlfs % 2 != 0;
    c->crlfs = 0;
    c->begun = true;
    mr_parse_start(&c->parse);
    if (half) /* a lone CR */
        mr_conn_refuse(c, MR_CAUSE_MALFORMED);
    return !half;
}

static bool skip_over(struct mr_conn *c, char **base, size_t *n)
{
    size_t take = *n < c->skip ? *n : c->skip;
    *base += take;
    *n -= take;
    c->skip -= take;
    if (c->skip > 0)
        return false;
    if (c->state == MR_CONN_BODY)
        conn_go(c, MR_CONN_IDLE);
    return true;
}

/* Until more bytes are needed, an answer is due, or the connection ends. */
static void parse_all(struct mr_conn *c, char **base, size_t *n)
{
    struct mr_http_server *s = c->server;
    while (is_one_of(c, PARSING)) {
        if (c->skip > 0 && !skip_over(c, base, n))
            return;
        if (!c->begun && !begin(c, base, n))
            return;
        switch (mr_parse_feed(&c->parse, *base, n, &s->limits, &s->table)) {
        case MR_PARSE_HEAD:
            ask(c, base, n);
            break;
        case MR_PARSE_WHOLE:
            hand_over(c, base, n);
            break;
        case MR_PARSE_REFUSED:
            mr_conn_refuse(c, c->parse.cause);
            return;
        case MR_PARSE_MORE: {
            enum mr_conn_state state = c->parse.stage == MR_PARSE_LINES ? MR_CONN_HEAD : MR_CONN_BODY;
            if (c->state != state)
                conn_go(c, state);
            return;
        }
        }
    }
}

/* Half-closed by the peer, and what it said has been parsed. */
static void ended(struct mr_conn *c)
{
    if (c->begun)
        mr_conn_refuse(c, MR_CAUSE_TRUNCATED);
    else
        mr_conn_close(c);
}

/* base[0..n): all that is here and not done with; in c->own or in the server's buffer. */
static void run(struct mr_conn *c, char *base, size_t n)
{
    bool own = c->own != NULL;
    parse_all(c, &base, &n);
    if (c->state == MR_CONN_CLOSED || c->state == MR_CONN_LINGER)
        return;
    if (own) {
        c->own_at = (uint32_t)(base - c->own);
        c->own_n = (uint32_t)n;
        if (n == 0)
            own_free(c);
    } else if (n > 0) {
        is_one_of(c, PARSING) ? own_put(c, base, n) : own_put_ahead(c, base, n);
    }
    if (is_one_of(c, PARSING) && c->own_n > 0)
        own_make_room(c);
    if (is_one_of(c, PARSING) && c->eof)
        ended(c);
    read_or_not(c);
}

static void run_now(struct mr_conn *c, char *base, size_t n)
{
    struct mr_http_server *s = c->server;
    s->running = true;
    run(c, base, n);
    while (!mr_link_alone(&s->ready)) {
        struct mr_conn *next = MR_OF(s->ready.next, struct mr_conn, ready);
        mr_link_out(&next->ready);
        run(next, next->own + next->own_at, next->own_n);
    }
    s->running = false;
}

void mr_conn_go_on(struct mr_conn *c)
{
    if (c->state == MR_CONN_CLOSED || c->state == MR_CONN_LINGER)
        return;
    if (c->server->running) {
        mr_link_out(&c->ready);
        mr_link_last(&c->server->ready, &c->ready);
    } else {
        run_now(c, c->own ? c->own + c->own_at : NULL, c->own_n);
    }
}

void mr_conn_eof(struct mr_conn *c)
{
    c->eof = true;
    set_reading(c, false);
    if (c->state == MR_CONN_LINGER)
        mr_conn_close(c);
    else if (is_one_of(c, PARSING))
        mr_conn_go_on(c);
}

/* Bytes of a request, in a buffer of the server's. */
void mr_conn_take(struct mr_conn *c, char *bytes, size_t n)
{
    if (is_one_of(c, ANSWER_DUE)) {
        own_put_ahead(c, bytes, n);
        read_or_not(c);
    } else if (c->own_n > 0) {
        own_put(c, bytes, n);
        mr_conn_go_on(c);
    } else {
        run_now(c, bytes, n);
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct mr_conn *c = MR_OF(stream, struct mr_conn, tcp);
    if (n == UV_EOF)
        mr_conn_eof(c);
    else if (n < 0)
        mr_conn_close(c);
    if (n <= 0)
        return;
    size_t got = (size_t)n;
    if (c->state == MR_CONN_LINGER) {
        c->drained += got;
        if (c->drained > MR_HTTP_DRAIN)
            mr_conn_close(c);
    } else if (c->proxy) {
        mr_conn_proxy_read(c, buf->base, got);
    } else if (c->tls) {
        mr_conn_tls_read(c, (struct mr_str){buf->base, got});
    } else if (buf->base != c->server->read) {
        c->own_n += (uint32_t)got;
        run_now(c, c->own + c->own_at, c->own_n);
    } else {
        mr_conn_take(c, buf->base, got);
    }
}

void mr_conn_resume_all(struct mr_http_server *s)
{
    for (struct mr_link *l = s->all.next, *next; l != &s->all && !s->stalled; l = next) {
        next = l->next;
        struct mr_conn *c = MR_OF(l, struct mr_conn, all);
        if (c->state == MR_CONN_CLOSED)
            continue;
        if (c->starved && c->charged < c->own_size && mr_share_take(s->share, c->own_size - c->charged))
            c->charged = c->own_size;
        if (c->starved && c->charged < c->own_size) {
            mr_http_stall(s, c, c->own_size - c->charged);
            continue;
        }
        c->starved = false;
        mr_conn_go_on(c); /* also makes the room that was refused */
    }
}

/* ---- birth and death ---- */

void mr_conn_name(struct mr_conn *c, const struct mr_address *a, unsigned port)
{
    char text[MR_ADDRESS_TEXT];
    mr_address_text(a, text);
    bool six = strchr(text, ':') != NULL;
    c->address = *a;
    c->remote_n = (uint8_t)snprintf(c->remote, sizeof c->remote, six ? "[%s]:%u" : "%s:%u", text, port);
}

static void name_by_socket(struct mr_conn *c, const struct sockaddr_storage *from)
{
    struct mr_address a = {{0}};
    const struct sockaddr_in6 *six = (const void *)from;
    const struct sockaddr_in *four = (const void *)from;
    mr_address_of((const void *)from, &a);
    mr_conn_name(c, &a, ntohs(from->ss_family == AF_INET6 ? six->sin6_port : four->sin_port));
}

static void on_closed(uv_handle_t *h)
{
    struct mr_conn *c = MR_OF(h, struct mr_conn, tcp);
    struct mr_http_server *s = c->server;
    own_free(c);
    mr_conn_tls_free(c);
    mr_conn_proxy_free(c);
    mr_link_out(&c->all);
    mr_link_out(&c->ready);
    if (c->peer)
        mr_peer_put(s, c->peer);
    s->at_door -= c->at_door;
    c->server = NULL;
    if (!c->out)
        free(c);
    mr_http_conn_gone(s);
}

void mr_conn_close(struct mr_conn *c)
{
    if (c->state == MR_CONN_CLOSED)
        return;
    mr_conn_tls_end(c);
    if (c->state == MR_CONN_CLOSED)
        return; /* it could not even say so */
    conn_go(c, MR_CONN_CLOSED);
    mr_link_out(&c->ready);
    mr_link_out(&c->shaking);
    c->reading = false;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

struct mr_conn *mr_conn_new(struct mr_http_server *s, int fd, const struct sockaddr_storage *from)
{
    struct mr_conn *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->server = s;
    mr_link_init(&c->all);
    mr_link_init(&c->due);
    mr_link_init(&c->ready);
    mr_link_init(&c->shaking);
    uv_tcp_init(&s->loop->uv, &c->tcp);
    if (uv_tcp_open(&c->tcp, fd) != 0) {
        close(fd);
        c->state = MR_CONN_CLOSED;
        mr_link_last(&s->all, &c->all);
        uv_close((uv_handle_t *)&c->tcp, on_closed);
        return c;
    }
    mr_link_last(&s->all, &c->all);
    name_by_socket(c, from);
    mr_conn_list(c);
    return c;
}

void *mr_http_room(struct mr_http_request *req)
{
    return req->room;
}

struct mr_http_request *mr_http_of_room(void *room)
{
    return MR_OF(room, struct mr_http_request, room);
}
