/* SPDX-License-Identifier: Apache-2.0 */
/* bench/lib/hmac.h - HMAC-SHA256 with the key's two block states kept, so that an event costs its own bytes and no key
 * set-up.
 *
 * The state is a plain struct: a caller that signs many messages with one beginning copies the state after it (the
 * sender does), which no one-shot call allows. Runs on: any thread; a key is read-only after mr_hmac_key_init(). */
#ifndef BENCH_HMAC_H
#define BENCH_HMAC_H
/* libcrypto 3 calls the SHA256_* functions deprecated; EVP cannot copy a state without an allocation. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <stddef.h>

enum { MR_HMAC_SIZE = SHA256_DIGEST_LENGTH, MR_HMAC_HEX = 2 * SHA256_DIGEST_LENGTH };

struct mr_hmac_key {
    SHA256_CTX inner, outer;
};

void mr_hmac_key_init(struct mr_hmac_key *key, const char *secret, size_t length);

/* Ends `inner` (begun as a copy of key->inner; used up) and writes the code in lower-case hex, without a NUL. */
void mr_hmac_final_hex(const struct mr_hmac_key *key, SHA256_CTX *inner, char hex[MR_HMAC_HEX]);

#endif
