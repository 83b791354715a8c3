/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_conn.h"

#include "net/tls_inside.h"

#include <stdlib.h>

struct mr_tls_conn {
    mbedtls_ssl_context ssl;
    struct mr_tls *tls;
    struct mr_str feed;  /* what the library has not taken yet of the bytes at hand */
    struct mr_buf kept;  /* came before its turn */
    struct mr_buf *wire; /* for the time of a call */
    bool ready, resumed, said_end, failed;
    char why[128];
};

static int on_send(void *arg, const unsigned char *bytes, size_t n)
{
    struct mr_tls_conn *c = arg;
    mr_buf_put(c->wire, bytes, n);
    return c->wire->failed ? MBEDTLS_ERR_SSL_ALLOC_FAILED : (int)n;
}

static int on_receive(void *arg, unsigned char *bytes, size_t n)
{
    struct mr_tls_conn *c = arg;
    if (c->feed.n == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    n = n < c->feed.n ? n : c->feed.n;
    memcpy(bytes, c->feed.p, n);
    c->feed = (struct mr_str){c->feed.p + n, c->feed.n - n};
    return (int)n;
}

struct mr_tls_conn *mr_tls_conn_new(struct mr_tls *tls)
{
    struct mr_tls_conn *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    mbedtls_ssl_init(&c->ssl);
    mr_buf_init(&c->kept, MR_TLS_KEPT);
    if (mbedtls_ssl_setup(&c->ssl, &tls->config) != 0) {
        mbedtls_ssl_free(&c->ssl);
        free(c);
        return NULL;
    }
    mbedtls_ssl_set_bio(&c->ssl, c, on_send, on_receive, NULL);
    c->tls = tls;
    mr_tls_hold(tls);
    return c;
}

void mr_tls_conn_free(struct mr_tls_conn *c)
{
    if (!c)
        return;
    mbedtls_ssl_free(&c->ssl);
    mr_buf_free(&c->kept);
    mr_tls_drop(c->tls);
    free(c);
}

bool mr_tls_conn_ready(const struct mr_tls_conn *c)
{
    return c->ready && !c->failed;
}

bool mr_tls_conn_resumed(const struct mr_tls_conn *c)
{
    return c->resumed;
}

const char *mr_tls_conn_why(const struct mr_tls_conn *c)
{
    return c->why;
}

static enum mr_tls_step failed(struct mr_tls_conn *c, int code)
{
    c->failed = true;
    mr_tls_text(code, c->why, sizeof c->why);
    bool client = code == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED || code == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE ||
                  code == MBEDTLS_ERR_SSL_PEER_VERIFY_FAILED;
    return client ? MR_TLS_FAILED_CLIENT : MR_TLS_FAILED;
}

bool mr_tls_conn_keep(struct mr_tls_conn *c, struct mr_str bytes)
{
    mr_buf_put(&c->kept, bytes.p, bytes.n);
    return !c->kept.failed;
}

/* What the library has taken of the kept bytes goes. */
static void forget_fed(struct mr_tls_conn *c)
{
    size_t left = c->feed.n;
    if (left)
        memmove(c->kept.p, c->feed.p, left);
    c->kept.n = left;
    if (left == 0)
        mr_buf_free(&c->kept);
    c->feed = (struct mr_str){0};
}

enum mr_tls_step mr_tls_conn_shake(struct mr_tls_conn *c, struct mr_buf *wire)
{
    c->wire = wire;
    c->feed = mr_buf_str(&c->kept);
    c->tls->ticket_taken = false;
    int rc = mbedtls_ssl_handshake(&c->ssl);
    c->resumed |= c->tls->ticket_taken;
    forget_fed(c);
    c->wire = NULL;
    if (rc == MBEDTLS_ERR_SSL_WANT_READ || rc == MBEDTLS_ERR_SSL_WANT_WRITE)
        return MR_TLS_MORE;
    c->ready = rc == 0;
    return rc == 0 ? MR_TLS_READY : failed(c, rc);
}

/* From c->feed until it is empty. */
static enum mr_tls_step read_feed(struct mr_tls_conn *c, char *plain, size_t room, size_t *n)
{
    for (;;) {
        int rc = mbedtls_ssl_read(&c->ssl, (unsigned char *)plain + *n, room - *n);
        if (rc > 0)
            *n += (size_t)rc;
        else if (rc == MBEDTLS_ERR_SSL_WANT_READ || rc == MBEDTLS_ERR_SSL_WANT_WRITE)
            return MR_TLS_MORE;
        else if (rc == 0 || rc == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
            return MR_TLS_ENDED;
        else
            return failed(c, rc);
    }
}

enum mr_tls_step mr_tls_conn_read(struct mr_tls_conn *c, struct mr_str bytes, char *plain, size_t room, size_t *n, struct mr_buf *wire)
{
    enum mr_tls_step step = MR_TLS_MORE;
    *n = 0;
    if (c->failed)
        return MR_TLS_FAILED;
    c->wire = wire;
    if (c->kept.n) {
        c->feed = mr_buf_str(&c->kept);
        step = read_feed(c, plain, room, n);
        c->feed = (struct mr_str){0};
        mr_buf_free(&c->kept);
    }
    if (step == MR_TLS_MORE) {
        c->feed = bytes;
        step = read_feed(c, plain, room, n);
        c->feed = (struct mr_str){0};
    }
    c->wire = NULL;
    return step;
}

bool mr_tls_conn_write(struct mr_tls_conn *c, struct mr_str plain, struct mr_buf *wire)
{
    c->wire = wire;
    while (plain.n && !c->failed) {
        int rc = mbedtls_ssl_write(&c->ssl, (const unsigned char *)plain.p, plain.n);
        if (rc <= 0)
            failed(c, rc);
        else
            plain = (struct mr_str){plain.p + rc, plain.n - (size_t)rc};
    }
    c->wire = NULL;
    return !c->failed;
}

void mr_tls_conn_end(struct mr_tls_conn *c, struct mr_buf *wire)
{
    if (!mr_tls_conn_ready(c) || c->said_end)
        return;
    c->said_end = true;
    c->wire = wire;
    if (mbedtls_ssl_close_notify(&c->ssl) != 0)
        c->failed = true;
    c->wire = NULL;
}
