/* SPDX-License-Identifier: Apache-2.0 */
/* net/http_answer.h - answers as bytes, and the table of refusals that the server makes by itself.
 *
 * A refusal says its cause in one constant line of JSON: nothing of the request, of a secret or of our inside is in it.
 */
#ifndef MILLRACE_NET_HTTP_ANSWER_H
#define MILLRACE_NET_HTTP_ANSWER_H

#include "millrace/http.h"

/* id, cause as counters show it, status, what the sender reads */
#define MR_HTTP_CAUSES(X)                                                                                              \
    X(NONE, "none", 500, "internal error")                                                                             \
    X(MALFORMED, "malformed", 400, "malformed request")                                                                \
    X(TRUNCATED, "truncated", 400, "request ended early")                                                              \
    X(HOST, "host", 400, "exactly one valid Host header is needed")                                                    \
    X(FRAMING, "framing", 400, "length of the body is in doubt")                                                       \
    X(CHUNKS, "chunks", 400, "too much chunk framing")                                                                 \
    X(HEADER_SIZE, "header_size", 431, "headers too large")                                                            \
    X(HEADER_COUNT, "header_count", 431, "too many headers")                                                           \
    X(TARGET_SIZE, "target_size", 414, "request target too long")                                                      \
    X(BODY_SIZE, "body_size", 413, "body too large")                                                                   \
    X(EXPECT, "expect", 417, "only Expect: 100-continue is supported")                                                 \
    X(METHOD, "method", 501, "method not implemented")                                                                 \
    X(CODING, "transfer_coding", 501, "only Transfer-Encoding: chunked is supported")                                  \
    X(VERSION, "version", 505, "only HTTP/1.1 and HTTP/1.0 are supported")                                             \
    X(TIMEOUT_HEADER, "timeout_header", 408, "headers came too slowly")                                                \
    X(TIMEOUT_BODY, "timeout_body", 408, "body came too slowly")                                                       \
    X(SLOW_BODY, "slow_body", 408, "body came too slowly")                                                             \
    X(TLS_PLAIN, "tls_plain_http", 400, "this port speaks TLS: use https")                                             \
    X(TLS_HANDSHAKE, "tls_handshake", 400, "TLS handshake failed")                                                      \
    X(TLS_CLIENT, "tls_client_certificate", 400, "no good certificate of the client")                                  \
    X(TLS_RECORD, "tls_record", 400, "TLS record cannot be read")                                                      \
    X(PROXY_HEADER, "proxy_header", 400, "no PROXY header, or one that cannot be read")                               \
    X(NO_PROXY, "not_a_proxy", 403, "only trusted proxies may connect")                                                \
    X(MEMORY, "memory", 503, "no memory for this request now")                                                         \
    X(TOO_MANY_CONNECTIONS, "too_many_connections", 503, "too many connections")                                       \
    X(TOO_MANY_OF_PEER, "too_many_of_peer", 503, "too many connections from this address")                             \
    X(NO_DESCRIPTORS, "no_descriptors", 503, "too many connections")

enum mr_http_cause {
#define MR_HTTP_CAUSE_ENUM(id, name, status, text) MR_CAUSE_##id,
    MR_HTTP_CAUSES(MR_HTTP_CAUSE_ENUM)
#undef MR_HTTP_CAUSE_ENUM
        MR_CAUSE_COUNT
};

const char *mr_http_cause_name(enum mr_http_cause cause);
void mr_http_refusal(enum mr_http_cause cause, struct mr_http_answer *answer); /* all parts constant; closes */

enum { MR_ANSWER_ROOM = 512 }; /* status line and our own header lines always fit */
/* "Date: Fri, 27 Nov 2026 06:20:17 GMT\r\n" (RFC 9110, 6.6.1), made anew at most a few times a second. */
struct mr_answer_date {
    uint64_t made_ms; /* of the loop's clock; 0: never */
    char line[40];
};
struct mr_str mr_answer_date(struct mr_answer_date *date, uint64_t now_ms);
/* Status line and headers up to the extra ones. Returns their length. Body and extra lines are sent as they are. */
size_t mr_answer_head(char out[static MR_ANSWER_ROOM], const struct mr_http_answer *answer, struct mr_str date, bool http10, bool close);
bool mr_answer_bodyless(int status);

#endif
