/* SPDX-License-Identifier: Apache-2.0 */
/* aws_reply.c - what the endpoints that give keys may answer, and the address that the environment names. The first byte chooses. */
#include "net/aws_reply.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    abort();
}

static void answer(struct mr_str text, bool json)
{
    struct aws_answer a;
    struct mr_err err = {.code = MR_OK};
    enum mr_code code = json ? aws_read_json(text, &a, &err) : aws_read_sts(text, &a, &err);
    if (code == MR_OK && (!a.access_key[0] || !a.secret_key[0]))
        fail("taken, and there are no keys");
    if (code != MR_OK && !err.msg[0])
        fail("refused without a reason");
}

static void endpoint(struct mr_str url)
{
    if (!aws_is_endpoint(url) || (url.n > 8 && memcmp(url.p, "https://", 8) == 0))
        return;
    if (url.n < sizeof "http://[::1]" - 1 || memcmp(url.p, "http://", 7) != 0 || memchr(url.p, '@', url.n) || !strchr("1l[", url.p[7]))
        fail("plain HTTP to somebody else");
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
    if (bytes[0] % 3 == 2)
        endpoint(rest);
    else
        answer(rest, bytes[0] % 3 == 0);
    free(copy);
    return 0;
}
