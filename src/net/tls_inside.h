/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_inside.h - what the files of TLS share; nobody else includes it. */
#ifndef MILLRACE_NET_TLS_INSIDE_H
#define MILLRACE_NET_TLS_INSIDE_H

#include "millrace/tls.h"

#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/x509_crt.h>

struct mr_tls_entry {
    char *path; /* of the certificate */
    mbedtls_x509_crt cert;
    mbedtls_pk_context key;
};

struct mr_tls {
    unsigned holders;
    mbedtls_ssl_config config;
    mbedtls_x509_crt client_ca;
    mbedtls_ssl_ticket_context tickets;
    bool ticket_taken; /* by the handshake step that is being taken */
    size_t entries_count;
    struct mr_tls_entry entries[];
};

int mr_tls_random(void *arg, unsigned char *out, size_t n);        /* mbedtls' f_rng */
void mr_tls_text(int code, char *out, size_t size);                /* of an error of the library */
void mr_tls_modern(mbedtls_ssl_config *config);                    /* versions, ciphers, curves */

#endif
