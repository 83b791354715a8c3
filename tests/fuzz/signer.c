/* SPDX-License-Identifier: Apache-2.0 */
/* signer.c - what a request says of its signer, and what comes from there. The first byte chooses: a URL that may be called or not, a certificate, which may
 * be any bytes, or a token of Google's. */
#include "millrace/pubkey.h"
#include "sources/webhook/oidc.h"
#include "sources/webhook/vendor_url.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    abort();
}

static bool begins(struct mr_str s, const char *with)
{
    return s.n > strlen(with) && memcmp(s.p, with, strlen(with)) == 0;
}

/* The host ends at the first slash, as for whoever connects to it; nothing of a URL that passes may mean another. */
static void url(struct mr_str s)
{
    bool sns = is_sns_cert_url(s) || is_sns_confirm_url(s), paypal = is_paypal_cert_url(s);
    if (!sns && !paypal)
        return;
    if (!begins(s, sns ? "https://sns." : "https://api."))
        fail("another scheme or host");
    struct mr_str rest = {s.p + 8, s.n - 8};
    const char *slash = memchr(rest.p, '/', rest.n);
    size_t host = slash ? (size_t)(slash - rest.p) : rest.n;
    static const char *const ends[] = {".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".paypal.com"};
    bool known = false;
    for (size_t i = 0; i < MR_COUNT(ends); i++)
        known |= host > strlen(ends[i]) && memcmp(rest.p + host - strlen(ends[i]), ends[i], strlen(ends[i])) == 0;
    if (!known || memchr(rest.p, '@', host) || memchr(rest.p, ':', host) || memchr(s.p, '#', s.n) || memchr(rest.p, '?', host))
        fail("it may mean another host");
}

static void certificate(struct mr_str s)
{
    const char *why, *verdict;
    bool ok = mr_cert_check(s, &why);
    if (ok != !why)
        fail("no reason, or one too many");
    if (mr_cert_verify(s, MR_RSA_SHA256, MR_STR("text"), MR_STR("no signature"), INT64_C(1800000000000000), &verdict) || !verdict)
        fail("a signature that is none holds");
    if (!ok && verdict != why)
        fail("two opinions of one certificate");
    bool document = oidc_certs_check(s, &why);
    if (document != !why)
        fail("no reason, or one too many, of a document of certificates");
}

/* Nobody has signed it. */
static void token(struct mr_str s)
{
    const struct oidc_wanted wanted = {"a", "e", 60000000};
    struct mr_buf scratch;
    bool unknown;
    mr_buf_init(&scratch, 4 * s.n + 4096);
    if (mr_buf_reserve(&scratch, 2 * s.n + 2048) && !oidc_judge(s, MR_STR("{\"k\":\"no certificate\",\"l\":7}"), &wanted, INT64_C(1800000000000000), &scratch, &unknown))
        fail("a token that nobody signed holds");
    mr_buf_free(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n == 0)
        return 0;
    char *copy = malloc(n);
    if (!copy)
        return 0;
    memcpy(copy, bytes, n);
    struct mr_str rest = {copy + 1, n - 1};
    if (bytes[0] % 3 == 0)
        url(rest);
    else if (bytes[0] % 3 == 1)
        certificate(rest);
    else
        token(rest);
    free(copy);
    return 0;
}
