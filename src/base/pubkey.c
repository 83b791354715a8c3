/* SPDX-License-Identifier: Apache-2.0 */
#include "millrace/pubkey.h"

#include "millrace/hash.h"

#include <assert.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>

enum { TEXT_MAX = 4096, ED25519_BYTES = 32, ED25519_SIGNATURE = 64, ECDSA_HALF = 32 };

struct mr_pubkey {
    enum mr_pubkey_kind kind;
    EVP_PKEY *key;
};

/* Hex or base64, whichever it is: 64 hex digits are also base64 of 48 bytes, so hex is looked at first. */
static bool decode(struct mr_str text, unsigned char *out, size_t cap, size_t *n)
{
    *n = text.n / 2;
    if (text.n && text.n % 2 == 0 && *n <= cap && mr_hex_get(text, out, *n))
        return true;
    return mr_base64_get(text, false, out, cap, n);
}

static EVP_PKEY *read_key(enum mr_pubkey_kind kind, struct mr_str text)
{
    unsigned char bytes[TEXT_MAX];
    size_t n;
    if (text.n > TEXT_MAX)
        return NULL;
    if (text.n > 11 && memcmp(text.p, "-----BEGIN ", 11) == 0) {
        BIO *bio = BIO_new_mem_buf(text.p, (int)text.n);
        EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
        BIO_free(bio);
        return key;
    }
    if (!decode(text, bytes, sizeof bytes, &n))
        return NULL;
    if (kind == MR_ED25519 && n == ED25519_BYTES)
        return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, bytes, n);
    const unsigned char *p = bytes;
    return d2i_PUBKEY(NULL, &p, (long)n);
}

static bool is_of(enum mr_pubkey_kind kind, EVP_PKEY *key)
{
    char group[32] = "";
    if (kind == MR_ED25519)
        return EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519;
    return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC && EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

enum mr_code mr_pubkey_new(enum mr_pubkey_kind kind, struct mr_str text, struct mr_pubkey **out, struct mr_err *err)
{
    EVP_PKEY *key = read_key(kind, text);
    if (key && is_of(kind, key)) {
        *out = malloc(sizeof **out);
        assert(*out);
        **out = (struct mr_pubkey){kind, key};
        return MR_OK;
    }
    EVP_PKEY_free(key);
    return mr_err_set(err, MR_ECONFIG, "not a public key of %s: PEM, or its bytes in hex or base64",
                      kind == MR_ED25519 ? "Ed25519" : "ECDSA P-256");
}

void mr_pubkey_free(struct mr_pubkey *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->key);
    free(key);
}

bool mr_pubkey_verify(const struct mr_pubkey *key, struct mr_str message, struct mr_str signature)
{
    if (key->kind == MR_ED25519 && signature.n != ED25519_SIGNATURE)
        return false;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert(ctx);
    const unsigned char *m = (const unsigned char *)(message.n ? message.p : "");
    bool ok = EVP_DigestVerifyInit(ctx, NULL, key->kind == MR_ED25519 ? NULL : EVP_sha256(), NULL, key->key) == 1 &&
              EVP_DigestVerify(ctx, (const unsigned char *)signature.p, signature.n, m, message.n) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

bool mr_ecdsa_der(struct mr_str raw, unsigned char *out, size_t cap, size_t *n)
{
    if (raw.n != 2 * (size_t)ECDSA_HALF)
        return false;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn((const unsigned char *)raw.p, ECDSA_HALF, NULL);
    BIGNUM *s = BN_bin2bn((const unsigned char *)raw.p + ECDSA_HALF, ECDSA_HALF, NULL);
    assert(sig && r && s);
    ECDSA_SIG_set0(sig, r, s);
    int size = i2d_ECDSA_SIG(sig, NULL);
    bool fits = size > 0 && (size_t)size <= cap;
    if (fits)
        *n = (size_t)i2d_ECDSA_SIG(sig, &out);
    ECDSA_SIG_free(sig);
    return fits;
}

/* ---- certificates ---- */

enum { RSA_BITS_LEAST = 2048 };

static bool in_force(X509 *cert, int64_t now_us)
{
    time_t now = (time_t)(now_us / 1000000);
    return X509_cmp_time(X509_get0_notBefore(cert), &now) < 0 && X509_cmp_time(X509_get0_notAfter(cert), &now) > 0;
}

static bool rsa_holds(EVP_PKEY *key, enum mr_rsa_digest digest, struct mr_str message, struct mr_str signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert(ctx);
    const unsigned char *m = (const unsigned char *)(message.n ? message.p : "");
    bool ok = EVP_DigestVerifyInit(ctx, NULL, digest == MR_RSA_SHA1 ? EVP_sha1() : EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestVerify(ctx, (const unsigned char *)signature.p, signature.n, m, message.n) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

/* The first certificate of a PEM text, its key of a kind that counts; NULL: why not. */
static X509 *read_cert(struct mr_str pem, const char **why)
{
    BIO *bio = pem.n && pem.n <= INT_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    EVP_PKEY *key = cert ? X509_get0_pubkey(cert) : NULL;
    BIO_free(bio);
    *why = NULL;
    if (!key)
        *why = "the certificate cannot be read";
    else if (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA || EVP_PKEY_get_bits(key) < RSA_BITS_LEAST)
        *why = "the certificate's key is not RSA of 2048 bits at least";
    if (!*why)
        return cert;
    X509_free(cert);
    return NULL;
}

bool mr_cert_check(struct mr_str pem, const char **why)
{
    X509 *cert = read_cert(pem, why);
    X509_free(cert);
    return cert;
}

bool mr_cert_verify(struct mr_str pem, enum mr_rsa_digest digest, struct mr_str message, struct mr_str signature, int64_t now_us, const char **why)
{
    X509 *cert = read_cert(pem, why);
    if (!cert)
        return false;
    if (!in_force(cert, now_us))
        *why = "the certificate is not in force at that time";
    else if (!rsa_holds(X509_get0_pubkey(cert), digest, message, signature))
        *why = "the signature does not match";
    X509_free(cert);
    return !*why;
}
