/* SPDX-License-Identifier: Apache-2.0 */
/* bench/sender/event.h - requests that carry one new, signed event each, made cheaply.
 *
 * A pool of differing order-like bodies is made once; an event is one of them with its own id written in. The id stands
 * at the end of the body and the signature's hash state up to it is kept per body, so that signing costs three SHA-256
 * blocks instead of the server's eighteen: the sender must not eat the cores that it shares with the server. The pool
 * is large enough that a compressor's window does not find the same body again.
 *
 * Body: {"type":…,"account":…,"items":[…],"note":"…","id":"<run>-<sequence>"}, exactly body_bytes long, without white
 * space between tokens. Id: eight characters of the run, a dash, twelve decimal digits. */
#ifndef BENCH_EVENT_H
#define BENCH_EVENT_H
#include "lib/hmac.h"

#include <stddef.h>
#include <stdint.h>

enum {
    MR_EVENT_RUN = 8,
    MR_EVENT_DIGITS = 12,
    MR_EVENT_ID = MR_EVENT_RUN + 1 + MR_EVENT_DIGITS,
    MR_EVENT_BODY_MIN = 256
};

enum mr_event_scheme {
    MR_EVENT_UNSIGNED,
    MR_EVENT_GITHUB, /* X-Hub-Signature-256: sha256=HEX of the body */
    MR_EVENT_STRIPE, /* Stripe-Signature: t=SECONDS,v1=HEX of "SECONDS.body"; the whole body is hashed for each event */
};

struct mr_event_config {
    const char *method, *path, *host; /* host is the value of the Host header */
    const char *secret;
    enum mr_event_scheme scheme;
    const char *run; /* MR_EVENT_RUN characters */
    size_t body_bytes;
};

struct mr_event_maker;

/* Returns null if the config cannot be served (body too small, memory). The maker keeps no pointer into `config`. */
struct mr_event_maker *mr_event_maker_new(const struct mr_event_config *config);
void mr_event_maker_free(struct mr_event_maker *maker);

/* Size of a whole request, the same for every event. */
size_t mr_event_request_bytes(const struct mr_event_maker *maker);

/* Writes request number `sequence` into `request` (mr_event_request_bytes() long). `unix_time` is for schemes that sign
 * it. */
void mr_event_write(struct mr_event_maker *maker, uint64_t sequence, int64_t unix_time, char *request);

/* Writes the id of event `sequence`, without a NUL. */
void mr_event_id(const struct mr_event_maker *maker, uint64_t sequence, char id[MR_EVENT_ID]);

#endif
