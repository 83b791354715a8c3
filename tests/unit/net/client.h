/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/net/client.h - a server on 127.0.0.1 and a client that sends raw bytes, in one thread: whoever waits turns
 * the loop.
 *
 * The handler echoes into `seen` what was handed over, and knows these paths: /missing (404 at the head), /busy (503 at
 * the head), /small (at most 10 bytes of body), /later (answered by answer_later()), /release (answers the first of
 * those from inside), /nothing (204), /big (a large answer), /closing (closes after its answer); else 200. */
#ifndef MILLRACE_TESTS_NET_CLIENT_H
#define MILLRACE_TESTS_NET_CLIENT_H

#include "millrace/budget.h"
#include "millrace/http.h"
#include "millrace/loop.h"

enum { HELD_MOST = 4096, BIG_ANSWER = 16 * 1024 * 1024 /* more than the kernel takes for a socket */ };

struct fixture {
    struct mr_loop loop;
    struct mr_http_server *server;
    struct mr_buf seen; /* a line a request */
    struct mr_http_request *held[HELD_MOST];
    size_t held_n;
    unsigned handed;
    size_t body_most;
    char refused[64]; /* the last cause */
    unsigned refusals;
    bool closed, drained;
};

/* `limits` and `memory` as for mr_http_listen(); limits may be NULL. */
struct fixture *fixture_new(const struct mr_http_limits *limits, size_t memory_limit, size_t memory);
void fixture_free(struct fixture *f); /* closes the server; fails if the loop does not end clean */
void fixture_turn(struct fixture *f); /* what is ready now, without waiting */
/* Turns the loop, waiting for events, until *flag or `most_ms` have passed. Returns *flag. */
bool fixture_until(struct fixture *f, const bool *flag, int most_ms);
bool fixture_until_handed(struct fixture *f, unsigned handed, int most_ms);
void answer_later(struct fixture *f, size_t which); /* 200 */

struct client {
    struct fixture *f;
    int fd;
    char text[8192]; /* what came, cut at its room */
    size_t n, total;
    bool ended, reset;
};
void client_open(struct client *c, struct fixture *f);
void client_close(struct client *c);
void client_send(struct client *c, const char *bytes, size_t n); /* all of it, turning the loop */
/* Reads until `answers` whole final answers came (bodies too), the peer closed, or `most_ms` passed. Returns their
 * count. */
unsigned client_read(struct client *c, unsigned answers, int most_ms);
bool client_ended(struct client *c, int most_ms);
/* The statuses that came so far: "100 200 404". */
const char *client_statuses(struct client *c, char out[static 256]);

#endif
