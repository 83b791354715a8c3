/* SPDX-License-Identifier: Apache-2.0 */
/* retry_after.c - what another side says of when to come again: any bytes, and never a wait that is none or without end. */
#include "millrace/client.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *copy = malloc(n ? n : 1);
    int64_t ms = -1;
    if (!copy)
        return 0;
    memcpy(copy, bytes, n);
    bool says = mr_retry_after((struct mr_str){copy, n}, INT64_C(1700000000000000), &ms);
    if (says && (ms < 0 || ms > INT64_C(366) * 24 * 3600 * 1000 || n == 0)) {
        fprintf(stderr, "a wait of %lld ms\n", (long long)ms);
        abort();
    }
    free(copy);
    return 0;
}
