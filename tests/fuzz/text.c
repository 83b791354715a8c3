/* SPDX-License-Identifier: Apache-2.0 */
/* text.c - times, days, hex and base64 of headers and signatures: what is taken is written back alike. */
#include "check.h"

#include "millrace/clock.h"
#include "millrace/hash.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void times(struct mr_str in)
{
    int64_t us, back;
    int32_t day;
    char text[28];
    if (mr_time_parse(in, &us) && mr_day_of(us) >= -719528 &&
        mr_day_of(us) <= 2932896) { /* an offset may leave year 0 or 9999 */
        mr_time_text(us, text);
        CHECK(mr_time_parse(mr_str_c(text), &back) && back == us);
    }
    if (mr_day_parse(in, &day)) {
        mr_day_text(day, text);
        CHECK(mr_str_eq(mr_str_c(text), in));
    }
}

static void encodings(struct mr_str in)
{
    unsigned char *out = malloc(in.n + 1);
    struct mr_buf b;
    size_t n;
    CHECK(out);
    mr_buf_init(&b, in.n * 4 + 16);
    if (mr_base64_get(in, false, out, in.n, &n)) {
        mr_base64_put(&b, (struct mr_str){(const char *)out, n});
        CHECK(mr_str_eq(mr_buf_str(&b), in));
        CHECK(n == 0 || !mr_base64_get(in, false, out, n - 1, &n));
    }
    mr_buf_clear(&b);
    if (mr_base64_get(in, true, out, in.n, &n)) {
        mr_base64_put(&b, (struct mr_str){(const char *)out, n});
        CHECK(b.n >= in.n && b.n - in.n < 3); /* but for padding and the alphabet */
    }
    mr_buf_clear(&b);
    if (mr_hex_get(in, out, in.n / 2)) {
        mr_hex_put(&b, out, in.n / 2);
        for (size_t i = 0; i < in.n; i++)
            CHECK(b.p[i] == in.p[i] || b.p[i] == in.p[i] + ('a' - 'A'));
    }
    mr_buf_clear(&b);
    mr_base64_put(&b, in);
    CHECK(mr_base64_get(mr_buf_str(&b), false, out, in.n, &n) && n == in.n && (n == 0 || memcmp(out, in.p, n) == 0));
    mr_buf_free(&b);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct mr_str in = {(const char *)bytes, n};
    times(in);
    if (n <= 4096)
        encodings(in);
    return 0;
}
