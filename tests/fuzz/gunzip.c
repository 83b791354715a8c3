/* SPDX-License-Identifier: Apache-2.0 */
/* gunzip.c - a request's compressed body: never more than the limit, all or nothing, and what was there before stays.
 */
#include "check.h"

#include "millrace/compress.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    enum { LIMIT = 100 * 1000 };
    struct mr_str in = {(const char *)bytes, n};
    struct mr_err err;
    struct mr_buf out, again;
    mr_buf_init(&out, 3 + LIMIT);
    mr_buf_init(&again, LIMIT);
    mr_buf_puts(&out, "abc");
    enum mr_code code = mr_gunzip(in, LIMIT, &out, &err);
    CHECK(out.n >= 3 && memcmp(out.p, "abc", 3) == 0);
    CHECK(code == MR_OK || code == MR_ETOOBIG || code == MR_EMALFORMED);
    CHECK(code == MR_OK || out.n == 3);
    if (code == MR_OK) { /* the exact size is limit enough, and one byte less is not */
        size_t size = out.n - 3;
        CHECK(mr_gunzip(in, size, &again, &err) == MR_OK && again.n == size);
        mr_buf_clear(&again);
        CHECK(size == 0 || mr_gunzip(in, size - 1, &again, &err) == MR_ETOOBIG);
    }
    mr_buf_free(&out);
    mr_buf_free(&again);
    return 0;
}
