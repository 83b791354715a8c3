/* SPDX-License-Identifier: Apache-2.0 */
/* bench/sender/sender.h - N keep-alive connections that post events, one at a time each, and count what came back.
 *
 * Closed loop: a connection sends its next event when the last one was answered. Open loop (rate > 0): event i is due
 * at start + i / rate whatever the server does, and its latency counts from then, so that a stalled server cannot hide
 * the events that it kept waiting. A connection that is refused or reset comes back, waiting 1 ms, then twice as long
 * each time up to 100 ms, until a 2xx. An event without a 2xx is never listed as acknowledged: with retry it is sent
 * again, bytes unchanged but for a signed time; without, it is given up, and may or may not have arrived. Runs on: one
 * thread, its own loop. */
#ifndef BENCH_SENDER_H
#define BENCH_SENDER_H
#include "sender/event.h"
#include "sender/histogram.h"

#include <stdbool.h>
#include <stdint.h>

enum { MR_SENDER_STATUSES = 600 };

struct mr_sender_config {
    const char *host; /* an IPv4 address */
    int port;
    unsigned connections;
    double rate_per_s; /* 0: closed loop */
    double warmup_s;   /* sent and listed, but not measured */
    double seconds;    /* measured; 0: until `count` */
    uint64_t count;    /* events to send, warm-up included; 0: no limit */
    double timeout_s;  /* for an answer; then the connection is dropped */
    bool retry;
    bool tls; /* whoever answers is believed */
    const char *acked_path;
};

struct mr_sender_report {
    uint64_t sent;  /* events begun */
    uint64_t acked; /* events with a 2xx, all listed */
    uint64_t given_up;
    uint64_t unsent;                       /* open loop: due, but no connection was free until the end */
    uint64_t resets, timeouts, refused;    /* requests cut off, requests unanswered, connections refused */
    uint64_t statuses[MR_SENDER_STATUSES]; /* answers by status */
    uint64_t measured;                     /* acked within the measured time */
    double measured_s, cpu_s;              /* its length; CPU of this process in it */
    struct mr_histogram latency;           /* of events due in the measured time, however late the answer came */
};

/* Runs to the end: by time, by count, or by SIGINT or SIGTERM. `report` must be zeroed. Returns 0 or an errno. */
int mr_sender_run(const struct mr_sender_config *config, struct mr_event_maker *maker, struct mr_sender_report *report);

#endif
