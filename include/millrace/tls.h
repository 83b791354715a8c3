/* SPDX-License-Identifier: Apache-2.0 */
/* tls.h - what a listener says TLS with: certificates by name, whom it asks for one, tickets. By mbedtls.
 *
 * TLS 1.2 (and what the library has above it), ECDHE with AES-GCM or ChaCha20-Poly1305, X25519, P-256 and P-384; no renegotiation. */
#ifndef MILLRACE_TLS_H
#define MILLRACE_TLS_H

#include "millrace/buf.h"
#include "millrace/err.h"

#include <stdint.h>

struct mr_tls_pair {
    const char *cert, *key; /* PEM files: the certificate with its chain, and its private key */
};
struct mr_tls_options {
    const struct mr_tls_pair *pairs; /* the first is for who names nobody, or nobody known */
    size_t pairs_count;              /* at least 1 */
    const char *client_ca;           /* PEM file of those who sign clients' certificates; NULL: none is asked for */
    bool client_optional;            /* a client without one is let in all the same */
};

struct mr_tls; /* counted; connections hold it, so that a reload leaves them what they began with */
/* Reads the files: blocks. MR_ECONFIG names file and fault. Runs on: any one thread. */
MR_MUST enum mr_code mr_tls_new(const struct mr_tls_options *options, struct mr_tls **out, struct mr_err *err);
/* Runs on: loop, both. NULL is harmless. */
void mr_tls_hold(struct mr_tls *tls);
void mr_tls_drop(struct mr_tls *tls);
/* When the certificate of a pair ends, microseconds since 1970. */
int64_t mr_tls_expires_us(const struct mr_tls *tls, size_t pair);
size_t mr_tls_pairs(const struct mr_tls *tls);
const char *mr_tls_path(const struct mr_tls *tls, size_t pair); /* of its certificate */

/* ---- a client, for the command line: blocks ---- */

struct mr_tls_client;
/* Over a connected socket, which stays the caller's. ca: PEM file, NULL: the system's. insecure: whoever answers is believed. */
MR_MUST enum mr_code mr_tls_dial(int fd, const char *host, const char *ca, bool insecure, struct mr_tls_client **out, struct mr_err *err);
MR_MUST enum mr_code mr_tls_send(struct mr_tls_client *c, const void *bytes, size_t n, struct mr_err *err);
/* 0: the peer has said all. Negative: MR_ENET is in err. */
long mr_tls_receive(struct mr_tls_client *c, void *bytes, size_t n, struct mr_err *err);
void mr_tls_hang_up(struct mr_tls_client *c);

#endif
