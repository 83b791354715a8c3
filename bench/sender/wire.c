/* SPDX-License-Identifier: Apache-2.0 */
#include "sender/wire.h"

#include <openssl/ssl.h>
#include <stdlib.h>

struct mr_wire_context {
    SSL_CTX *ctx;
};
struct mr_wire {
    SSL *ssl;
    BIO *in, *out; /* the ssl's */
};

struct mr_wire_context *mr_wire_context_new(void)
{
    struct mr_wire_context *c = calloc(1, sizeof *c);
    if (c)
        c->ctx = SSL_CTX_new(TLS_client_method());
    if (c && !c->ctx) {
        free(c);
        return NULL;
    }
    return c;
}

void mr_wire_context_free(struct mr_wire_context *c)
{
    if (!c)
        return;
    SSL_CTX_free(c->ctx);
    free(c);
}

struct mr_wire *mr_wire_new(struct mr_wire_context *c)
{
    struct mr_wire *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->ssl = SSL_new(c->ctx);
    w->in = BIO_new(BIO_s_mem());
    w->out = BIO_new(BIO_s_mem());
    if (!w->ssl || !w->in || !w->out)
        abort();
    SSL_set_bio(w->ssl, w->in, w->out);
    SSL_set_connect_state(w->ssl);
    return w;
}

void mr_wire_free(struct mr_wire *w)
{
    if (!w)
        return;
    SSL_free(w->ssl);
    free(w);
}

bool mr_wire_shake(struct mr_wire *w)
{
    int rc = SSL_do_handshake(w->ssl);
    return rc == 1 || SSL_get_error(w->ssl, rc) == SSL_ERROR_WANT_READ;
}

bool mr_wire_ready(const struct mr_wire *w)
{
    return SSL_is_init_finished(w->ssl);
}

bool mr_wire_received(struct mr_wire *w, const char *bytes, size_t n)
{
    return BIO_write(w->in, bytes, (int)n) == (int)n;
}

int mr_wire_read(struct mr_wire *w, char *plain, size_t n)
{
    int rc = SSL_read(w->ssl, plain, (int)n);
    if (rc > 0)
        return rc;
    return SSL_get_error(w->ssl, rc) == SSL_ERROR_WANT_READ ? 0 : -1;
}

bool mr_wire_write(struct mr_wire *w, const char *plain, size_t n)
{
    return SSL_write(w->ssl, plain, (int)n) == (int)n;
}

size_t mr_wire_to_send(struct mr_wire *w, char *bytes, size_t n)
{
    int rc = BIO_read(w->out, bytes, (int)n);
    return rc > 0 ? (size_t)rc : 0;
}
