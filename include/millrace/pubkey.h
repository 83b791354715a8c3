/* SPDX-License-Identifier: Apache-2.0 */
/* pubkey.h - signatures that a public key checks: Ed25519 (RFC 8032) and ECDSA on P-256 with SHA-256 (FIPS 186-4). By libcrypto. */
#ifndef MILLRACE_PUBKEY_H
#define MILLRACE_PUBKEY_H

#include "millrace/buf.h"
#include "millrace/err.h"

enum mr_pubkey_kind { MR_ED25519, MR_ECDSA_P256 };
struct mr_pubkey;
/* text: PEM of a public key; or a key's bytes in hex or base64: 32 raw ones (Ed25519) or SubjectPublicKeyInfo in DER. MR_ECONFIG with what
 * was expected; the key itself is not repeated. */
MR_MUST enum mr_code mr_pubkey_new(enum mr_pubkey_kind kind, struct mr_str text, struct mr_pubkey **out, struct mr_err *err);
void mr_pubkey_free(struct mr_pubkey *key); /* NULL is harmless */
/* signature: 64 bytes for Ed25519; DER for ECDSA. Runs on: any one thread. */
bool mr_pubkey_verify(const struct mr_pubkey *key, struct mr_str message, struct mr_str signature);
enum mr_rsa_digest { MR_RSA_SHA1, MR_RSA_SHA256 };
/* RSA, PKCS #1 v1.5 (RFC 8017, 8.2), by the key of a certificate in PEM that is in force at that time. false: why not, for a person. */
bool mr_cert_verify(struct mr_str pem, enum mr_rsa_digest digest, struct mr_str message, struct mr_str signature, int64_t now_us, const char **why);
/* Is it such a certificate, whatever the time? false: why not. */
bool mr_cert_check(struct mr_str pem, const char **why);
/* An ECDSA signature as r and s, 32 bytes each (RFC 7518), in DER. false: no room, or not 64 bytes. */
bool mr_ecdsa_der(struct mr_str raw, unsigned char *out, size_t cap, size_t *n);

#endif
