/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - the one HTTP client of the process: libcurl's multi interface on the loop.
 *
 * It decides little: no redirect to another origin, no proxy and no credentials from the environment, TLS always verified, every wait
 * and every body bounded. Retries are for the callers, who know what may be sent twice; they are told what became of a
 * request and whether it was on its way. No text of an error holds a query, a header's value or a body, nor a path that is a secret.
 *
 * Runs on: loop. Names are looked up on threads of libcurl's; one that hangs holds up its own request only. */
#ifndef MILLRACE_CLIENT_H
#define MILLRACE_CLIENT_H

#include "millrace/buf.h"
#include "millrace/loop.h"
#include "millrace/record.h"

struct mr_client;
struct mr_client_options { /* strings are copied */
    const char *proxy;     /* URL; NULL: none */
    const char *no_proxy;  /* hosts that are asked directly, by commas; NULL: none */
    unsigned connections, per_host; /* open at once; 0: 64 and 8. What is above waits, within its own time */
};
/* libcurl itself is set up by the first exchange: who asks nobody does not pay for it. */
MR_MUST enum mr_code mr_client_new(struct mr_loop *loop, const struct mr_client_options *options, struct mr_client **out, struct mr_err *err);
/* Not from on_head or on_bytes. Exchanges that are out end with MR_CLIENT_CANCELED before this returns; then cb, on a later turn, and it is freed. */
void mr_client_close(struct mr_client *c, void (*cb)(void *arg), void *arg);

enum mr_client_cause {
    MR_CLIENT_OK,       /* an answer came, whole, whatever its status */
    MR_CLIENT_RESOLVE,  /* the name has no address */
    MR_CLIENT_CONNECT,  /* nobody answers there */
    MR_CLIENT_TLS,      /* the other side cannot prove its name, or no TLS came about */
    MR_CLIENT_TIMEOUT,  /* connect_ms, stall_ms or total_ms */
    MR_CLIENT_BROKEN,   /* the connection ended before the answer was whole */
    MR_CLIENT_MALFORMED, /* what came is not HTTP, or not in the coding that it says */
    MR_CLIENT_TOO_BIG,  /* body_max, ratio_max, or more headers than any */
    MR_CLIENT_REFUSED,  /* by us: another scheme or origin, an address that is not public, a line break in a header */
    MR_CLIENT_CANCELED, /* the client was closed */
    MR_CLIENT_NO_MEMORY,
    MR_CLIENT_CAUSES
};
const char *mr_client_cause_name(enum mr_client_cause cause); /* "timeout" */

struct mr_response_head {
    int status;
    const struct mr_header *headers; /* in order */
    size_t headers_count;
};

struct mr_exchange_end {
    enum mr_client_cause cause;
    struct mr_err err; /* code MR_OK, or for a person: "https://host/path: …" */
    int status;        /* 0: no answer came */
    bool sent;         /* bytes of the request left: it may have been acted on */
    bool repeated;     /* it left twice: libcurl found the kept connection dead and took another one; the first may have been acted on, too */
    int64_t date_us;   /* the sender's own clock, of its Date header; 0: none */
    int64_t connect_us, first_byte_us, total_us; /* since the start; 0: not reached */
};

/* One request and its answer. The struct is the caller's and does not move until `done`; so are all that it points at. */
struct mr_exchange {
    struct mr_str method, url; /* http:// or https://, without user or password */
    const struct mr_header *headers;
    size_t headers_count;
    struct mr_str body; /* of POST, PUT, PATCH; else empty */
    int64_t connect_ms, stall_ms, total_ms; /* 0: 10 s, 30 s without a byte, 5 min */
    size_t body_max;                        /* bytes of the answer, decoded; 0: 64 MiB */
    unsigned ratio_max;                     /* decoded to received, from 1 MiB on; 0: 200 */
    bool gzip;                              /* asked for, and decoded */
    bool http2;                             /* if the other side has it, over TLS; else HTTP/1.1 alone */
    bool follow;      /* GET and HEAD: redirects within the same scheme, host and port, five at most; else a redirect is an answer like any */
    bool secret_path; /* errors name the host alone */
    bool direct;      /* never through the proxy: what is only reached from this machine */
    bool public_only; /* no address that is private, reserved or our own */
    const char *ca, *cert, *key; /* PEM files: trusted instead of the system's; ours, if the other side wants one */
    const char *connect_to;      /* HOST:PORT where to connect whatever the URL says; NULL: as it says */

    /* Any of these may start other exchanges and cancel this one. NULL: not told. */
    void (*on_head)(struct mr_exchange *x, const struct mr_response_head *head);
    bool (*on_bytes)(struct mr_exchange *x, struct mr_str bytes); /* decoded, as they come; false: not now, they come again after mr_exchange_resume() */
    void (*on_done)(struct mr_exchange *x, const struct mr_exchange_end *end); /* exactly once, never before mr_exchange_start() has returned */

    struct mr_flight *flight; /* private */
};
void mr_exchange_start(struct mr_client *c, struct mr_exchange *x);
void mr_exchange_resume(struct mr_exchange *x);
/* Before its on_done, which then does not come. x and what it points at are free at once; in on_head and on_bytes, of whatever exchange, not before
 * these have returned to the loop. */
void mr_exchange_cancel(struct mr_exchange *x);

/* The value of a Retry-After header (RFC 9110, 10.2.3): seconds, also with a fraction, or a date. false: neither, or past any sense (over a year). Pure. */
bool mr_retry_after(struct mr_str value, int64_t now_us, int64_t *wait_ms);

#endif
