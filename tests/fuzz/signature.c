/* SPDX-License-Identifier: Apache-2.0 */
/* signature.c - the signature header: whatever its bytes, nobody gets in whose header does not hold the right digest.
 *
 * The first byte chooses encoding, list and prefix. In the rest 0x01 stands for the right digest's text and 0x02 for another
 * one's, so that lists with a right one among others can be found. */
#include "sources/webhook/scheme.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    abort();
}

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void put_digest(struct mr_buf *out, int encoding, const char *secret)
{
    unsigned char mac[MR_DIGEST_MAX];
    const struct mr_str body = MR_STR("body");
    struct mr_hmac_key *key = mr_hmac_key_new(MR_SHA256, mr_str_c(secret));
    mr_hmac(key, &body, 1, mac);
    mr_hmac_key_free(key);
    if (encoding == MR_ENC_HEX)
        mr_hex_put(out, mac, 32);
    else
        mr_base64_put(out, (struct mr_str){(const char *)mac, 32});
}

static void options_of(uint8_t choice, struct mr_verify_options *o, struct mr_secret *secret)
{
    *secret = (struct mr_secret){text("right"), 5, NULL};
    *o = (struct mr_verify_options){.scheme = text("hmac"),
                                    .secrets = {secret, 1},
                                    .digest = MR_SHA256,
                                    .encoding = choice & 1 ? MR_ENC_BASE64 : MR_ENC_HEX,
                                    .header = text("X-Sig")};
    if (choice & 2)
        o->separator = text(choice & 4 ? " " : ",");
    if (choice & 8) {
        o->assign = text(choice & 16 ? ";" : "=");
        o->take = text("v1");
    }
    if (choice & 32)
        o->prefix = text("p-");
    if ((choice & 64) && (choice & 10) == 10) {
        o->timestamp = text("element:t");
        o->text = text("{body}{timestamp}"); /* only an empty time leaves the digest right, and it is no number */
    }
}

static bool holds(struct mr_str value, struct mr_str digest, bool hex)
{
    for (size_t at = 0; at + digest.n <= value.n; at++)
        if (hex ? strncasecmp(value.p + at, digest.p, digest.n) == 0 : memcmp(value.p + at, digest.p, digest.n) == 0)
            return true;
    return false;
}

static void judge(const struct mr_verify_options *o, struct mr_str value, struct mr_str digest)
{
    struct mr_verifier *v;
    struct mr_verified out;
    struct mr_err err;
    struct mr_header header = {MR_STR("X-Sig"), value};
    struct mr_http_head head = {.headers = &header, .headers_count = 1};
    struct mr_signed_request req = {.head = &head, .body = MR_STR("body")};
    if (mr_verifier_new(o, &v, &err) != MR_OK)
        fail(err.msg);
    mr_verify(v, &req, 0, &out);
    if (out.cause == MR_CAUSE_NONE && !holds(value, digest, o->encoding == MR_ENC_HEX))
        fail("accepted without the right digest");
    if ((out.cause == MR_CAUSE_NONE) != (out.reason[0] == 0))
        fail("a refusal without a reason, or a reason without a refusal");
    if (out.cause != MR_CAUSE_NONE && out.cause != MR_CAUSE_MISSING && out.cause != MR_CAUSE_FORMAT && out.cause != MR_CAUSE_SIGNATURE)
        fail("refused for something that a signature header cannot be guilty of");
    mr_verifier_free(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct mr_verify_options o;
    struct mr_secret secret;
    struct mr_buf right, wrong, value;
    if (n == 0 || n > 4096)
        return 0;
    options_of(bytes[0], &o, &secret);
    mr_buf_init(&right, 128);
    mr_buf_init(&wrong, 128);
    mr_buf_init(&value, 128 * n + 1);
    put_digest(&right, o.encoding, "right");
    put_digest(&wrong, o.encoding, "wrong");
    for (size_t i = 1; i < n; i++) {
        if (bytes[i] == 1)
            mr_buf_put(&value, right.p, right.n);
        else if (bytes[i] == 2)
            mr_buf_put(&value, wrong.p, wrong.n);
        else
            mr_buf_putc(&value, (char)bytes[i]);
    }
    char *exact = malloc(value.n ? value.n : 1); /* a byte beyond it is seen */
    if (!exact)
        fail("no memory");
    if (value.n)
        memcpy(exact, value.p, value.n);
    judge(&o, (struct mr_str){exact, value.n}, mr_buf_str(&right));
    free(exact);
    mr_buf_free(&right);
    mr_buf_free(&wrong);
    mr_buf_free(&value);
    return 0;
}
