/* SPDX-License-Identifier: Apache-2.0 */
/* tls.c - what all connections of a listener share: certificates and keys, the choice among them by name, tickets. */
#include "net/tls_inside.h"
#include "net/tls_name.h"

#include "millrace/clock.h"
#include "millrace/file.h"
#include "millrace/hash.h"

#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { PEM_MAX = 1 << 20, TICKET_LIFE_S = 12 * 3600 };

int mr_tls_random(void *arg, unsigned char *out, size_t n)
{
    (void)arg;
    mr_random(out, n);
    return 0;
}

void mr_tls_text(int code, char *out, size_t size)
{
    mbedtls_strerror(code, out, size);
}

void mr_tls_modern(mbedtls_ssl_config *config)
{
    static const int ciphers[] = {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                                  MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                                  MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                                  MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                                  MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                                  MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
                                  0};
    static const mbedtls_ecp_group_id curves[] = {MBEDTLS_ECP_DP_CURVE25519, MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_SECP384R1,
                                                  MBEDTLS_ECP_DP_NONE};
    mbedtls_ssl_conf_ciphersuites(config, ciphers);
    mbedtls_ssl_conf_curves(config, curves);
    mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_renegotiation(config, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
    mbedtls_ssl_conf_rng(config, mr_tls_random, NULL);
}

/* ---- files ---- */

static enum mr_code bad_file(const char *path, const char *what, int code, struct mr_err *err)
{
    char text[128];
    mr_tls_text(code, text, sizeof text);
    return mr_err_set(err, MR_ECONFIG, "%s: %s: %s", path, what, text);
}

static enum mr_code read_cert(const char *path, mbedtls_x509_crt *cert, struct mr_err *err)
{
    char *pem;
    size_t n;
    if (mr_file_read(path, PEM_MAX, &pem, &n, err) != MR_OK)
        return err->code;
    int rc = mbedtls_x509_crt_parse(cert, (const unsigned char *)pem, n + 1);
    free(pem);
    if (rc > 0)
        return mr_err_set(err, MR_ECONFIG, "%s: %d of its certificates cannot be read", path, rc);
    return rc == 0 ? MR_OK : bad_file(path, "no certificate in PEM", rc, err);
}

static enum mr_code read_key(const char *path, mbedtls_pk_context *key, struct mr_err *err)
{
    char *pem;
    size_t n;
    if (mr_file_read(path, PEM_MAX, &pem, &n, err) != MR_OK)
        return err->code;
    int rc = mbedtls_pk_parse_key(key, (const unsigned char *)pem, n + 1, NULL, 0);
    mr_cleanse(pem, n);
    free(pem);
    return rc == 0 ? MR_OK : bad_file(path, "no private key in PEM (without a password)", rc, err);
}

static enum mr_code read_pair(struct mr_tls_entry *e, const struct mr_tls_pair *pair, struct mr_err *err)
{
    e->path = strdup(pair->cert);
    if (!e->path)
        return mr_err_set(err, MR_ENOMEM, "certificate");
    if (read_cert(pair->cert, &e->cert, err) != MR_OK || read_key(pair->key, &e->key, err) != MR_OK)
        return err->code;
    if (mbedtls_pk_check_pair(&e->cert.pk, &e->key) != 0)
        return mr_err_set(err, MR_ECONFIG, "%s is not the private key of %s", pair->key, pair->cert);
    return MR_OK;
}

/* ---- the choice by name (RFC 6066, 3) ---- */

static bool common_name_fits(const mbedtls_x509_crt *cert, struct mr_str name)
{
    for (const mbedtls_x509_name *part = &cert->subject; part; part = part->next)
        if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &part->oid) == 0 &&
            mr_tls_name_fits((struct mr_str){(const char *)part->val.p, part->val.len}, name))
            return true;
    return false;
}

static bool cert_fits(const mbedtls_x509_crt *cert, struct mr_str name)
{
    enum { DNS_NAME = MBEDTLS_ASN1_CONTEXT_SPECIFIC | 2 };
    bool named = false;
    for (const mbedtls_x509_sequence *at = &cert->subject_alt_names; at && at->buf.p; at = at->next) {
        if (at->buf.tag != DNS_NAME)
            continue;
        named = true;
        if (mr_tls_name_fits((struct mr_str){(const char *)at->buf.p, at->buf.len}, name))
            return true;
    }
    return !named && common_name_fits(cert, name);
}

static int choose(void *arg, mbedtls_ssl_context *ssl, const unsigned char *name, size_t n)
{
    struct mr_tls *tls = arg;
    for (size_t i = 0; i < tls->entries_count; i++)
        if (cert_fits(&tls->entries[i].cert, (struct mr_str){(const char *)name, n}))
            return mbedtls_ssl_set_hs_own_cert(ssl, &tls->entries[i].cert, &tls->entries[i].key);
    return 0; /* the first one; who it is not good for will say so */
}

/* ---- tickets ---- */

static int take_ticket(void *arg, mbedtls_ssl_session *session, unsigned char *bytes, size_t n)
{
    struct mr_tls *tls = arg;
    int rc = mbedtls_ssl_ticket_parse(&tls->tickets, session, bytes, n);
    tls->ticket_taken = rc == 0;
    return rc;
}

static int give_ticket(void *arg, const mbedtls_ssl_session *session, unsigned char *start, const unsigned char *end, size_t *n,
                       uint32_t *lifetime)
{
    struct mr_tls *tls = arg;
    return mbedtls_ssl_ticket_write(&tls->tickets, session, start, end, n, lifetime);
}

/* ---- the whole ---- */

static void tls_free(struct mr_tls *tls)
{
    for (size_t i = 0; i < tls->entries_count; i++) {
        mbedtls_x509_crt_free(&tls->entries[i].cert);
        mbedtls_pk_free(&tls->entries[i].key);
        free(tls->entries[i].path);
    }
    mbedtls_ssl_config_free(&tls->config);
    mbedtls_x509_crt_free(&tls->client_ca);
    mbedtls_ssl_ticket_free(&tls->tickets);
    free(tls);
}

static enum mr_code configure(struct mr_tls *tls, const struct mr_tls_options *o, struct mr_err *err)
{
    mbedtls_ssl_config *c = &tls->config;
    for (size_t i = 0; i < o->pairs_count; i++)
        if (read_pair(&tls->entries[i], &o->pairs[i], err) != MR_OK)
            return err->code;
    if (o->client_ca && read_cert(o->client_ca, &tls->client_ca, err) != MR_OK)
        return err->code;
    if (mbedtls_ssl_config_defaults(c, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT) != 0 ||
        mbedtls_ssl_conf_own_cert(c, &tls->entries[0].cert, &tls->entries[0].key) != 0 ||
        mbedtls_ssl_ticket_setup(&tls->tickets, mr_tls_random, NULL, MBEDTLS_CIPHER_AES_256_GCM, TICKET_LIFE_S) != 0)
        return mr_err_set(err, MR_ENOMEM, "TLS");
    mr_tls_modern(c);
    mbedtls_ssl_conf_session_tickets_cb(c, give_ticket, take_ticket, tls);
    mbedtls_ssl_conf_sni(c, choose, tls);
    if (o->client_ca) {
        mbedtls_ssl_conf_ca_chain(c, &tls->client_ca, NULL);
        mbedtls_ssl_conf_authmode(c, o->client_optional ? MBEDTLS_SSL_VERIFY_OPTIONAL : MBEDTLS_SSL_VERIFY_REQUIRED);
    }
    return MR_OK;
}

enum mr_code mr_tls_new(const struct mr_tls_options *options, struct mr_tls **out, struct mr_err *err)
{
    struct mr_tls *tls = calloc(1, sizeof *tls + options->pairs_count * sizeof *tls->entries);
    if (!tls)
        return mr_err_set(err, MR_ENOMEM, "TLS");
    tls->holders = 1;
    tls->entries_count = options->pairs_count;
    mbedtls_ssl_config_init(&tls->config);
    mbedtls_x509_crt_init(&tls->client_ca);
    mbedtls_ssl_ticket_init(&tls->tickets);
    for (size_t i = 0; i < tls->entries_count; i++) {
        mbedtls_x509_crt_init(&tls->entries[i].cert);
        mbedtls_pk_init(&tls->entries[i].key);
    }
    if (configure(tls, options, err) != MR_OK) {
        tls_free(tls);
        return err->code;
    }
    *out = tls;
    return MR_OK;
}

void mr_tls_hold(struct mr_tls *tls)
{
    if (tls)
        tls->holders++;
}

void mr_tls_drop(struct mr_tls *tls)
{
    if (tls && --tls->holders == 0)
        tls_free(tls);
}

int64_t mr_tls_expires_us(const struct mr_tls *tls, size_t pair)
{
    const mbedtls_x509_time *t = &tls->entries[pair].cert.valid_to;
    struct tm tm = {.tm_year = t->year - 1900, .tm_mon = t->mon - 1, .tm_mday = t->day, .tm_hour = t->hour, .tm_min = t->min, .tm_sec = t->sec};
    return (int64_t)timegm(&tm) * 1000000;
}

size_t mr_tls_pairs(const struct mr_tls *tls)
{
    return tls->entries_count;
}

const char *mr_tls_path(const struct mr_tls *tls, size_t pair)
{
    return tls->entries[pair].path;
}
