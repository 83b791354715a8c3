/* SPDX-License-Identifier: Apache-2.0 */
/* kafka_position.c - positions as the store, and so a person, may have them; whose a group's commit is; what `start` may be. What is taken is written back
 * alike, and vouches only for what lies before it. */
#include "check.h"

#include "sources/kafka/options.h"
#include "sources/kafka/position.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void position(struct mr_str in)
{
    struct kafka_position p, back;
    struct mr_err err = {0};
    struct mr_buf json;
    if (kafka_position_get(in, &p, &err) != MR_OK) {
        CHECK(err.msg[0]);
        return;
    }
    CHECK(p.next >= 0 && p.anchor.offset < p.next && p.incarnation >= 0);
    mr_buf_init(&json, 4096);
    kafka_position_put(&p, &json);
    CHECK(kafka_position_get(mr_buf_str(&json), &back, &err) == MR_OK);
    CHECK(back.next == p.next && back.anchor.offset == p.anchor.offset && back.incarnation == p.incarnation);
    CHECK(p.anchor.offset < 0 || (back.anchor.crc == p.anchor.crc && back.anchor.ts_ms == p.anchor.ts_ms));
    mr_buf_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct mr_str in = {(const char *)bytes, n};
    enum kafka_start start;
    int64_t ms;
    position(in);
    (void)kafka_commit_owner(0, in, "store");
    char *text = malloc(n + 1);
    CHECK(text);
    memcpy(text, bytes, n);
    text[n] = 0;
    if (kafka_start_of(text, &start, &ms))
        CHECK(ms >= 0);
    free(text);
    return 0;
}
