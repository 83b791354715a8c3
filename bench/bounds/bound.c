/* SPDX-License-Identifier: Apache-2.0 */
/* bench/bounds/bound.c - the least libuv + llhttp server that does a named thing: what no webhook server on these
 * libraries beats.
 *
 *     mr_bench_bound --port N --mode hmac|inline|thread [--log FILE]      secret in BENCH_SECRET; ends on SIGTERM
 *
 * hmac    checks X-Hub-Signature-256 and answers 204; keeps nothing.
 * inline  also appends the body to a log; the loop itself syncs once a turn, then answers everything of that turn.
 * thread  also appends; a writer thread syncs whatever came in while the last sync ran, then wakes the loop to answer.
 *
 * It has no routes, limits, deadlines, dedup or metrics, on purpose. Happy path: on_read, on_message_complete, settle,
 * (sync), answer. A connection lives until its handle is closed and no group still owes it an answer. */
#include "bounds/group.h"
#include "lib/hmac.h"
#include "lib/oldlog.h"

#include <getopt.h>
#include <llhttp.h>
#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

#define MR_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define SIGNATURE_HEADER         "x-hub-signature-256"
#define SIGNATURE_PREFIX         "sha256="

enum { BODY_MAX = 64 << 10, LOG_BYTES = 64 << 20, SIGNATURE_LENGTH = sizeof SIGNATURE_PREFIX - 1 + MR_HMAC_HEX };
enum mode { HMAC, INLINE, THREAD };

struct server {
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_check_t turn_end;
    uv_async_t synced;
    uv_signal_t term, intr;
    enum mode mode;
    llhttp_settings_t settings;
    struct mr_hmac_key key;
    struct mr_oldlog log;
    char read_buf[64 << 10]; /* one for all: a read is consumed before the next one begins */

    struct mr_group groups[3];
    struct mr_group *filling;
    /* Thread mode. `lock` guards filling, writing, done and stop; the swap of pointers is all that happens under it. */
    uv_thread_t writer;
    uv_mutex_t lock;
    uv_cond_t work;
    struct mr_group *spares[2], *done;
    size_t spare_count;
    bool stop;
};

struct conn {
    uv_tcp_t tcp;
    struct server *server;
    llhttp_t parser;
    unsigned owed; /* answers that wait for a sync */
    bool closed;
    char name[sizeof SIGNATURE_HEADER];
    size_t name_length;
    char signature[SIGNATURE_LENGTH];
    size_t signature_length;
    char body[BODY_MAX];
    size_t body_length;
};

struct answer {
    uv_write_t write;
};

static void on_closed(uv_handle_t *h)
{
    struct conn *c = MR_OF(h, struct conn, tcp);
    c->closed = true;
    if (c->owed == 0)
        free(c);
}

static void conn_close(struct conn *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void on_answered(uv_write_t *w, int status)
{
    (void)status;
    free(MR_OF(w, struct answer, write));
}

static void answer(struct conn *c, const char *text, size_t length)
{
    if (uv_is_closing((uv_handle_t *)&c->tcp))
        return;
    union {
        const char *in;
        char *out;
    } base = {.in = text};
    uv_buf_t buf = uv_buf_init(base.out, (unsigned)length);
    int n = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    if (n == (int)length)
        return;
    struct answer *a = n == UV_EAGAIN ? malloc(sizeof *a) : NULL;
    if (!a || uv_write(&a->write, (uv_stream_t *)&c->tcp, &buf, 1, on_answered) != 0) {
        free(a);
        conn_close(c);
    }
}

static void answer_accepted(struct conn *c)
{
    static const char text[] = "HTTP/1.1 204 No Content\r\n\r\n";
    answer(c, text, sizeof text - 1);
}

static void answer_refused(struct conn *c)
{
    static const char text[] = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    answer(c, text, sizeof text - 1);
}

static void answer_group(struct mr_group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        struct conn *c = group->waiters[i];
        c->owed--;
        if (c->closed && c->owed == 0)
            free(c);
        else
            answer_accepted(c);
    }
    mr_group_clear(group);
}

static bool signature_good(const struct conn *c)
{
    char wanted[SIGNATURE_LENGTH];
    memcpy(wanted, SIGNATURE_PREFIX, sizeof SIGNATURE_PREFIX - 1);
    SHA256_CTX inner = c->server->key.inner;
    SHA256_Update(&inner, c->body, c->body_length);
    mr_hmac_final_hex(&c->server->key, &inner, wanted + sizeof SIGNATURE_PREFIX - 1);
    return c->signature_length == sizeof wanted && CRYPTO_memcmp(wanted, c->signature, sizeof wanted) == 0;
}

static void keep(struct conn *c)
{
    struct server *s = c->server;
    c->owed++;
    if (s->mode == THREAD)
        uv_mutex_lock(&s->lock);
    mr_group_add(s->filling, c->body, c->body_length, c);
    if (s->mode == THREAD)
        uv_mutex_unlock(&s->lock);
}

static int on_message_begin(llhttp_t *p)
{
    struct conn *c = p->data;
    c->name_length = c->signature_length = c->body_length = 0;
    return 0;
}

static int on_header_field(llhttp_t *p, const char *at, size_t length)
{
    struct conn *c = p->data;
    for (size_t i = 0; i < length; i++, c->name_length++)
        if (c->name_length < sizeof c->name)
            c->name[c->name_length] = at[i];
    return 0;
}

static int on_header_value(llhttp_t *p, const char *at, size_t length)
{
    struct conn *c = p->data;
    if (c->name_length != sizeof SIGNATURE_HEADER - 1 || strncasecmp(c->name, SIGNATURE_HEADER, c->name_length) != 0)
        return 0;
    if (length > sizeof c->signature - c->signature_length)
        return -1;
    memcpy(c->signature + c->signature_length, at, length);
    c->signature_length += length;
    return 0;
}

static int on_header_value_complete(llhttp_t *p)
{
    struct conn *c = p->data;
    c->name_length = 0;
    return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t length)
{
    struct conn *c = p->data;
    if (length > sizeof c->body - c->body_length)
        return -1;
    memcpy(c->body + c->body_length, at, length);
    c->body_length += length;
    return 0;
}

static int on_message_complete(llhttp_t *p)
{
    struct conn *c = p->data;
    if (!signature_good(c))
        answer_refused(c);
    else if (c->server->mode == HMAC)
        answer_accepted(c);
    else
        keep(c);
    return 0;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct server *s = MR_OF(h, struct conn, tcp)->server;
    *buf = uv_buf_init(s->read_buf, sizeof s->read_buf);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct conn *c = MR_OF(stream, struct conn, tcp);
    if (nread < 0 || (nread > 0 && llhttp_execute(&c->parser, buf->base, (size_t)nread) != HPE_OK))
        conn_close(c);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct server *s = MR_OF(listener, struct server, listener);
    struct conn *c =
        status == 0 ? malloc(sizeof *c) : NULL; /* not calloc: the body's pages stay untouched until used */
    if (!c)
        return;
    memset(c, 0, offsetof(struct conn, body));
    c->body_length = 0;
    c->server = s;
    llhttp_init(&c->parser, HTTP_REQUEST, &s->settings);
    c->parser.data = c;
    uv_tcp_init(&s->loop, &c->tcp);
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0 || uv_tcp_nodelay(&c->tcp, 1) != 0 ||
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        conn_close(c);
}

/* After all sockets of a turn were read: sync, or see that the writer does. */
static void on_turn_end(uv_check_t *check)
{
    struct server *s = MR_OF(check, struct server, turn_end);
    if (s->mode == INLINE && s->filling->count > 0) {
        mr_oldlog_append_durable(&s->log, s->filling->bytes, s->filling->length);
        answer_group(s->filling);
    } else if (s->mode == THREAD) {
        uv_mutex_lock(&s->lock);
        if (s->filling->count > 0)
            uv_cond_signal(&s->work);
        uv_mutex_unlock(&s->lock);
    }
}

/* Three groups go round: one that the loop fills, one that the writer syncs, one whose answers the loop sends. The
 * writer waits for the loop only if all three are in use. */
static void writer_main(void *arg)
{
    struct server *s = arg;
    uv_mutex_lock(&s->lock);
    for (;;) {
        while (!s->stop && (s->filling->count == 0 || s->spare_count == 0))
            uv_cond_wait(&s->work, &s->lock);
        if (s->stop)
            break;
        struct mr_group *writing = s->filling;
        s->filling = s->spares[--s->spare_count];
        uv_mutex_unlock(&s->lock);
        mr_oldlog_append_durable(&s->log, writing->bytes, writing->length);
        uv_mutex_lock(&s->lock);
        while (s->done && !s->stop)
            uv_cond_wait(&s->work, &s->lock);
        s->done = writing;
        uv_async_send(&s->synced);
    }
    uv_mutex_unlock(&s->lock);
}

static void on_synced(uv_async_t *async)
{
    struct server *s = MR_OF(async, struct server, synced);
    uv_mutex_lock(&s->lock);
    struct mr_group *group = s->done;
    uv_mutex_unlock(&s->lock);
    if (!group)
        return;
    answer_group(group);
    uv_mutex_lock(&s->lock);
    s->done = NULL;
    s->spares[s->spare_count++] = group;
    uv_cond_signal(&s->work);
    uv_mutex_unlock(&s->lock);
}

static void close_any(uv_handle_t *h, void *arg)
{
    struct server *s = arg;
    if (uv_is_closing(h))
        return;
    if (h == (uv_handle_t *)&s->listener || h->type != UV_TCP)
        uv_close(h, NULL);
    else
        uv_close(h, on_closed);
}

static void on_signal(uv_signal_t *signal, int number)
{
    (void)number;
    uv_stop(signal->loop);
}

static void serve(struct server *s, int port)
{
    struct sockaddr_in addr;
    uv_ip4_addr("127.0.0.1", port, &addr);
    uv_tcp_init(&s->loop, &s->listener);
    int rc = uv_tcp_bind(&s->listener, (const struct sockaddr *)&addr, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&s->listener, 1024, on_connection);
    if (rc != 0) {
        fprintf(stderr, "bound: listen on 127.0.0.1:%d: %s\n", port, uv_strerror(rc));
        exit(1);
    }
    uv_check_init(&s->loop, &s->turn_end);
    uv_check_start(&s->turn_end, on_turn_end);
    uv_async_init(&s->loop, &s->synced, on_synced);
    uv_signal_init(&s->loop, &s->term);
    uv_signal_start(&s->term, on_signal, SIGTERM);
    uv_signal_init(&s->loop, &s->intr);
    uv_signal_start(&s->intr, on_signal, SIGINT);
    uv_mutex_init(&s->lock);
    uv_cond_init(&s->work);
    if (s->mode == THREAD && uv_thread_create(&s->writer, writer_main, s) != 0)
        abort();
    uv_run(&s->loop, UV_RUN_DEFAULT);
}

static void finish(struct server *s)
{
    if (s->mode == THREAD) {
        uv_mutex_lock(&s->lock);
        s->stop = true;
        uv_cond_signal(&s->work);
        uv_mutex_unlock(&s->lock);
        uv_thread_join(&s->writer);
    }
    uv_walk(&s->loop, close_any, s);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    uv_loop_close(&s->loop);
    for (size_t i = 0; i < 3; i++)
        answer_group(&s->groups[i]); /* the last owners of closed connections */
    if (s->mode != HMAC)
        mr_oldlog_close(&s->log);
    for (size_t i = 0; i < 3; i++)
        mr_group_free(&s->groups[i]);
    uv_cond_destroy(&s->work);
    uv_mutex_destroy(&s->lock);
    free(s);
}

static int usage(void)
{
    fprintf(stderr, "usage: BENCH_SECRET=S mr_bench_bound --port N --mode hmac|inline|thread [--log FILE]\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},
        {"mode", required_argument, NULL, 'm'},
        {"log", required_argument, NULL, 'l'},
        {NULL, 0, NULL, 0},
    };
    const char *secret = getenv("BENCH_SECRET"), *mode = "", *path = NULL;
    long port = 0;
    for (int opt; (opt = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (opt == 'p')
            port = strtol(optarg, NULL, 10);
        else if (opt == 'm')
            mode = optarg;
        else if (opt == 'l')
            path = optarg;
        else
            return usage();
    }
    struct server *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    s->mode = strcmp(mode, "inline") == 0 ? INLINE : strcmp(mode, "thread") == 0 ? THREAD : HMAC;
    if (!secret || port < 1 || port > 65535 || (s->mode == HMAC ? strcmp(mode, "hmac") != 0 : !path)) {
        free(s);
        return usage();
    }
    mr_hmac_key_init(&s->key, secret, strlen(secret));
    if (s->mode != HMAC)
        mr_oldlog_open(&s->log, path, LOG_BYTES);
    s->filling = &s->groups[0];
    s->spares[0] = &s->groups[1];
    s->spares[1] = &s->groups[2];
    s->spare_count = 2;
    llhttp_settings_init(&s->settings);
    s->settings.on_message_begin = on_message_begin;
    s->settings.on_header_field = on_header_field;
    s->settings.on_header_value = on_header_value;
    s->settings.on_header_value_complete = on_header_value_complete;
    s->settings.on_body = on_body;
    s->settings.on_message_complete = on_message_complete;
    uv_loop_init(&s->loop);
    serve(s, (int)port);
    finish(s);
    return 0;
}
