/* SPDX-License-Identifier: Apache-2.0 */
/* http.h - an HTTP/1.1 server on the loop: strict, bounded, with deadlines. It knows nothing of sources or signatures.
 *
 * A request is handed over when it is whole. Before its body is read, on_head() may refuse it (route, method, size, coding).
 * Pipelined requests of one connection are handed over one after the other, each after the answer to the one before.
 * Memory: an idle connection holds under 1 KiB; bytes of unfinished requests count against `share`. When that is spent no socket is read. */
#ifndef MILLRACE_HTTP_H
#define MILLRACE_HTTP_H

#include "millrace/address.h"
#include "millrace/buf.h"
#include "millrace/loop.h"
#include "millrace/record.h"
#include "millrace/tls.h"

struct mr_http_server;
struct mr_http_request;

struct mr_http_head {                 /* borrowed until on_head() or on_request() returns */
    struct mr_str method, target;     /* as sent */
    struct mr_str path, query;        /* target cut at the first '?'; path not decoded */
    const struct mr_header *headers;  /* in order, values trimmed of outer white space */
    size_t headers_count;
    struct mr_str remote;             /* "127.0.0.1:5123": the peer, or whom his PROXY header names */
    struct mr_address address;        /* the same without the port */
    int64_t content_length;           /* -1: none declared (chunked, or no body) */
};
struct mr_http_answer {
    int status;
    struct mr_str content_type;       /* empty: none */
    struct mr_str extra;              /* whole header lines, each ending in CRLF: "Retry-After: 3\r\n" */
    struct mr_str body;
    bool close;                       /* close the connection after it */
};

struct mr_http_limits {
    size_t header_bytes;              /* 16 KiB: request line and headers; 431 */
    unsigned header_count;            /* 100; 431 */
    unsigned connections;             /* above it: 503 and close */
    unsigned connections_per_peer;    /* 0: none */
    int64_t first_byte_ms, header_ms, body_ms, idle_ms; /* deadlines: since connect, first byte, end of headers, last answer. 408 where a request had begun */
    int64_t min_body_rate;            /* bytes/s after the first 5 s of a body; 0: none */
};
enum mr_http_peer { MR_PEER_PLAIN, MR_PEER_PROXY /* his first bytes are a PROXY header */, MR_PEER_REFUSED };
struct mr_http_handler {
    /* Who connects? May be NULL: everybody is PLAIN. */
    enum mr_http_peer (*on_peer)(void *arg, const struct mr_address *peer);
    /* Head is complete. `req` is only for mr_http_room() yet. Return 0 to go on with *body_limit set (bytes on the wire; above it 413), or fill *answer and return -1 to refuse at once. */
    int (*on_head)(void *arg, struct mr_http_request *req, const struct mr_http_head *head, size_t *body_limit, struct mr_http_answer *answer);
    /* The whole request is here: body is contiguous; head and body are borrowed until this returns (also if it has answered
     * by then): they may lie in a buffer that the next connection reads into. Answer now or later with mr_http_answer(),
     * exactly once. */
    void (*on_request)(void *arg, struct mr_http_request *req, const struct mr_http_head *head, struct mr_str body);
    /* Refused before or after on_head by the server itself: cause is a constant ("malformed", "header_size", "timeout_body", "too_many_connections"…). For counters; may be NULL. */
    void (*on_refused)(void *arg, const char *cause, struct mr_str remote);
    void *arg;
};
struct mr_http_options {
    struct mr_loop *loop;
    const char *listen;               /* "0.0.0.0:8080", "[::1]:0" */
    const char *name;                 /* label of metrics: "webhook", "admin" */
    struct mr_http_limits limits;
    struct mr_http_handler handler;
    struct mr_tls *tls;               /* NULL: plain HTTP. Held by the server */
    size_t memory;                    /* cap of its share of the budget; 0: the default */
};
void mr_http_limits_default(struct mr_http_limits *limits);
MR_MUST enum mr_code mr_http_listen(const struct mr_http_options *options, struct mr_http_server **out, struct mr_err *err);
int mr_http_port(const struct mr_http_server *s);
void mr_http_limits_set(struct mr_http_server *s, const struct mr_http_limits *limits); /* reload */
/* Of connections to come; those that are here keep what they began with. */
void mr_http_tls_set(struct mr_http_server *s, struct mr_tls *tls);
/* Drain: stops accepting, closes idle connections, answers the rest with Connection: close; cb when none is left. */
void mr_http_drain(struct mr_http_server *s, void (*cb)(void *arg), void *arg);
/* Closes everything at once (requests that are out may still be answered: into the void); cb when all handles are closed; then freed. */
void mr_http_close(struct mr_http_server *s, void (*cb)(void *arg), void *arg);

/* Copies what it needs. Runs on: loop. The connection may be gone: harmless. After it `req` is no longer the caller's. */
void mr_http_answer(struct mr_http_request *req, const struct mr_http_answer *answer);
/* Room that the handler keeps in every request for itself, zeroed for each: at least MR_HTTP_ROOM bytes, aligned. */
enum { MR_HTTP_ROOM = 192 };
void *mr_http_room(struct mr_http_request *req);
struct mr_http_request *mr_http_of_room(void *room);

/* Case-insensitive by name. Count of headers with that name; *value: the first. */
size_t mr_http_header(const struct mr_http_head *head, struct mr_str name, struct mr_str *value);

#endif
