/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/hmac.h"

#include <stdint.h>
#include <string.h>

static void block_state(SHA256_CTX *state, const unsigned char block[SHA256_CBLOCK], unsigned char pad)
{
    unsigned char padded[SHA256_CBLOCK];
    for (size_t i = 0; i < sizeof padded; i++)
        padded[i] = block[i] ^ pad;
    SHA256_Init(state);
    SHA256_Update(state, padded, sizeof padded);
}

void mr_hmac_key_init(struct mr_hmac_key *key, const char *secret, size_t length)
{
    unsigned char block[SHA256_CBLOCK] = {0};
    if (length > sizeof block)
        SHA256((const unsigned char *)secret, length, block);
    else
        memcpy(block, secret, length);
    block_state(&key->inner, block, 0x36);
    block_state(&key->outer, block, 0x5c);
}

void mr_hmac_final_hex(const struct mr_hmac_key *key, SHA256_CTX *inner, char hex[MR_HMAC_HEX])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[MR_HMAC_SIZE];
    SHA256_Final(digest, inner);
    SHA256_CTX outer = key->outer;
    SHA256_Update(&outer, digest, sizeof digest);
    SHA256_Final(digest, &outer);
    for (size_t i = 0; i < sizeof digest; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
}
