/* SPDX-License-Identifier: Apache-2.0 */
/* hash.h - checksums, digests and encodings. HMAC keeps the prepared key (inner and outer state) of a secret, which is half
 * of its price for a 1 KiB body. Digests come from libcrypto, whose SHA-256 uses the processor's SHA instructions. */
#ifndef MILLRACE_HASH_H
#define MILLRACE_HASH_H

#include "millrace/buf.h"

uint32_t mr_crc32c(uint32_t crc, const void *bytes, size_t n); /* Castagnoli, as iSCSI; start with 0; SSE4.2 where the CPU has it */

enum mr_digest { MR_SHA1, MR_SHA256, MR_SHA512 };
enum { MR_DIGEST_MAX = 64 };
size_t mr_digest_size(enum mr_digest d);
void mr_digest(enum mr_digest d, struct mr_str in, unsigned char out[MR_DIGEST_MAX]);

struct mr_hmac_key; /* a prepared secret; its memory is cleansed on free */
struct mr_hmac_key *mr_hmac_key_new(enum mr_digest d, struct mr_str secret);
void mr_hmac_key_free(struct mr_hmac_key *key);
/* HMAC over the pieces in order. Not thread-safe for one key. Runs on: any one thread. */
void mr_hmac(struct mr_hmac_key *key, const struct mr_str *pieces, size_t count, unsigned char out[MR_DIGEST_MAX]);

bool mr_equal_ct(const void *a, const void *b, size_t n); /* constant time */
/* 128 bits for tables of ids (not secret, collision odds only): the first half of SHA-256. */
void mr_hash128(const struct mr_str *pieces, size_t count, unsigned char out[16]);
void mr_cleanse(void *p, size_t n); /* overwrites a secret; not optimised away */
uint64_t mr_random_u64(void);
void mr_random(void *out, size_t n); /* getrandom; aborts if the system has none */

void mr_hex_put(struct mr_buf *b, const void *bytes, size_t n);
bool mr_hex_get(struct mr_str in, unsigned char *out, size_t n);                  /* exactly 2n digits */
void mr_base64_put(struct mr_buf *b, struct mr_str in);
bool mr_base64_get(struct mr_str in, bool url, unsigned char *out, size_t cap, size_t *n); /* strict; padding required unless url */

#endif
