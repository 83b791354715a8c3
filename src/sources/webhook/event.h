/* SPDX-License-Identifier: Apache-2.0 */
/* event.h - an accepted request as the queue keeps it: all that its envelope needs, even if the source has left the
 * config.
 *
 * Payload of a queue record, little-endian (docs/queue-format.md shows it too):
 *
 *   u8  version (1)            u8  payload mode (0 json, 1 exact)    u16 secret index     u32 header count
 *   i64 arrival, us since 1970                                       i64 dedup window, ms (0: no dedup)
 *   then strings, each u32 length and bytes: scheme, covers, dedup id locator, method, path, query, remote,
 *   then per header name and value, then the body to the end.
 *
 * The queue's own `source` field holds "<source>/<stream>": the two together are what a position belongs to. */
#ifndef MR_WEBHOOK_EVENT_H
#define MR_WEBHOOK_EVENT_H

#include "millrace/buf.h"
#include "millrace/record.h"

enum { MR_EVENT_HEADERS_MAX = 256 };

struct mr_event {
    int64_t arrived_us;
    enum mr_payload payload;
    unsigned secret;
    struct mr_str scheme, covers;
    struct mr_str dedup_id; /* "/pointer" or "header:Name"; empty: none */
    int64_t dedup_window_ms;
    struct mr_str method, path, query, remote;
    const struct mr_header *headers;
    size_t headers_count;
    struct mr_str body;
};

/* Everything but the body, which the caller appends as a piece of its own. `masked` says of a header whether its value
 * is a secret. */
void mr_event_put(struct mr_buf *out, const struct mr_event *event, bool (*masked)(void *arg, const struct mr_header *header),
                  void *arg);
/* Borrows from `payload`; headers go to `headers` (MR_EVENT_HEADERS_MAX). MR_EMALFORMED: not our bytes. */
MR_MUST enum mr_code mr_event_get(struct mr_str payload, struct mr_header *headers, struct mr_event *out,
                                  struct mr_err *err);
/* The event's id for dedup: a JSON pointer into the body or a header. `json`: the body, if it has passed the scanner
 * (compact will do); empty otherwise. Appends the id; false if there is none. `out` may be the buffer that `json` lies
 * in. */
bool mr_event_id(const struct mr_event *event, struct mr_str json, struct mr_buf *out);

#endif
