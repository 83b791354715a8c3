/* SPDX-License-Identifier: Apache-2.0 */
/* tls_client.c - the other side, for `millrace send`: one connection, blocking. */
#include "net/tls_inside.h"

#include "millrace/file.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"
enum { CA_MAX = 8 << 20 };

struct mr_tls_client {
    int fd;
    mbedtls_ssl_context ssl;
    mbedtls_ssl_config config;
    mbedtls_x509_crt ca;
};

static int on_send(void *arg, const unsigned char *bytes, size_t n)
{
    ssize_t sent = write(((struct mr_tls_client *)arg)->fd, bytes, n);
    return sent >= 0 ? (int)sent : errno == EINTR ? MBEDTLS_ERR_SSL_WANT_WRITE : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

static int on_receive(void *arg, unsigned char *bytes, size_t n)
{
    ssize_t got = read(((struct mr_tls_client *)arg)->fd, bytes, n);
    return got >= 0 ? (int)got : errno == EINTR ? MBEDTLS_ERR_SSL_WANT_READ : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

static enum mr_code failed(const char *what, int code, struct mr_err *err)
{
    char text[128];
    mr_tls_text(code, text, sizeof text);
    return mr_err_set(err, MR_ENET, "TLS: %s: %s", what, text);
}

static enum mr_code trust(struct mr_tls_client *c, const char *ca, struct mr_err *err)
{
    char *pem;
    size_t n;
    if (mr_file_read(ca, CA_MAX, &pem, &n, err) != MR_OK)
        return err->code;
    int rc = mbedtls_x509_crt_parse(&c->ca, (const unsigned char *)pem, n + 1);
    free(pem);
    if (rc < 0)
        return failed(ca, rc, err);
    mbedtls_ssl_conf_ca_chain(&c->config, &c->ca, NULL);
    return MR_OK;
}

static enum mr_code shake(struct mr_tls_client *c, const char *host, struct mr_err *err)
{
    int rc = mbedtls_ssl_setup(&c->ssl, &c->config);
    if (rc == 0)
        rc = mbedtls_ssl_set_hostname(&c->ssl, host);
    if (rc != 0)
        return failed("client", rc, err);
    mbedtls_ssl_set_bio(&c->ssl, c, on_send, on_receive, NULL);
    do
        rc = mbedtls_ssl_handshake(&c->ssl);
    while (rc == MBEDTLS_ERR_SSL_WANT_READ || rc == MBEDTLS_ERR_SSL_WANT_WRITE);
    if (rc == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED)
        return mr_err_set(err, MR_ENET, "TLS: the certificate of %s is not one that is trusted here, or is of another name; --ca FILE or --insecure",
                          host);
    return rc == 0 ? MR_OK : failed("handshake", rc, err);
}

enum mr_code mr_tls_dial(int fd, const char *host, const char *ca, bool insecure, struct mr_tls_client **out, struct mr_err *err)
{
    struct mr_tls_client *c = calloc(1, sizeof *c);
    if (!c)
        return mr_err_set(err, MR_ENOMEM, "TLS");
    c->fd = fd;
    mbedtls_ssl_init(&c->ssl);
    mbedtls_ssl_config_init(&c->config);
    mbedtls_x509_crt_init(&c->ca);
    int rc = mbedtls_ssl_config_defaults(&c->config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    mr_tls_modern(&c->config);
    mbedtls_ssl_conf_authmode(&c->config, insecure ? MBEDTLS_SSL_VERIFY_NONE : MBEDTLS_SSL_VERIFY_REQUIRED);
    enum mr_code code = rc == 0 ? MR_OK : failed("client", rc, err);
    if (code == MR_OK && !insecure)
        code = trust(c, ca ? ca : SYSTEM_CA, err);
    if (code == MR_OK)
        code = shake(c, host, err);
    if (code == MR_OK)
        *out = c;
    else
        mr_tls_hang_up(c);
    return code;
}

enum mr_code mr_tls_send(struct mr_tls_client *c, const void *bytes, size_t n, struct mr_err *err)
{
    const unsigned char *p = bytes;
    while (n > 0) {
        int rc = mbedtls_ssl_write(&c->ssl, p, n);
        if (rc == MBEDTLS_ERR_SSL_WANT_WRITE || rc == MBEDTLS_ERR_SSL_WANT_READ)
            continue;
        if (rc <= 0)
            return failed("write", rc, err);
        p += rc;
        n -= (size_t)rc;
    }
    return MR_OK;
}

long mr_tls_receive(struct mr_tls_client *c, void *bytes, size_t n, struct mr_err *err)
{
    int rc;
    do
        rc = mbedtls_ssl_read(&c->ssl, bytes, n);
    while (rc == MBEDTLS_ERR_SSL_WANT_READ || rc == MBEDTLS_ERR_SSL_WANT_WRITE);
    if (rc == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY || rc == MBEDTLS_ERR_SSL_CONN_EOF)
        return 0;
    if (rc < 0)
        failed("read", rc, err);
    return rc;
}

void mr_tls_hang_up(struct mr_tls_client *c)
{
    if (!c)
        return;
    mbedtls_ssl_free(&c->ssl);
    mbedtls_ssl_config_free(&c->config);
    mbedtls_x509_crt_free(&c->ca);
    free(c);
}
