/* SPDX-License-Identifier: Apache-2.0 */
/* rate.h - how many requests a second: token buckets, one for a source, one for each of its clients. Pure: time is an argument. */
#ifndef MR_WEBHOOK_RATE_H
#define MR_WEBHOOK_RATE_H

#include "millrace/address.h"
#include "millrace/option.h"

#include <stdint.h>

struct rate_options {
    int64_t per_second; /* 0: no limit */
    int64_t burst;      /* 0: a second's worth */
};
extern const struct mr_option rate_rows[];

struct bucket {
    int64_t level;   /* millionths of a request */
    int64_t seen_us; /* monotonic; 0: never */
};
/* Takes one; 0: there was one, else seconds until there is one, at least 1. */
int64_t bucket_take(struct bucket *b, const struct rate_options *o, int64_t now_us);

/* Buckets of clients: a fixed number of them, those of the longest silence make room. IPv6 clients count by /64. */
struct clients;
enum { CLIENTS_MAX = 4096 }; /* 40 bytes each */
struct clients *clients_new(void); /* NULL: no memory */
void clients_free(struct clients *c);
int64_t clients_take(struct clients *c, const struct mr_address *client, const struct rate_options *o, int64_t now_us);

#endif
