/* SPDX-License-Identifier: Apache-2.0 */
/* record.h - a captured record before it is encoded: the parts of the envelope, all borrowed until mr_landing_add() returns. */
#ifndef MILLRACE_RECORD_H
#define MILLRACE_RECORD_H

#include "millrace/clock.h"
#include "millrace/str.h"

struct mr_header {
    struct mr_str name, value; /* value.p == NULL: a null value (Kafka) */
};

struct mr_member { /* one more member of the envelope, already JSON: "request": {...} */
    const char *name;
    struct mr_str json;
};

enum mr_payload {
    MR_PAYLOAD_JSON, /* as `data` if it is strict JSON, else as text or bytes */
    MR_PAYLOAD_EXACT /* never as `data`: the received bytes as text or base64 */
};

struct mr_record {
    struct mr_str source, stream;
    struct mr_str id;
    int64_t ingested_at_us;
    int64_t event_at_us;           /* MR_NO_TIME: absent */
    struct mr_str event_at_type;   /* empty: absent */
    struct mr_str position;        /* a JSON object */
    const struct mr_member *members;
    size_t members_count;
    struct mr_str replay;          /* run id; empty: absent */
    struct mr_str key;             /* p == NULL: absent */
    const struct mr_header *headers;
    size_t headers_count;          /* 0 with headers == NULL: the source has none */
    struct mr_str data;            /* p == NULL: null, written as "data": null, "tombstone": true */
    enum mr_payload payload;
    bool compact;                  /* data is JSON, checked and without white space: mr_json_compact() has made it */
};

#endif
