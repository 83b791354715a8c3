/* SPDX-License-Identifier: Apache-2.0 */
#include "rate.h"

#include "millrace/hash.h"

#include <stdlib.h>

enum { WAYS = 8 }; /* places where one client may stand */
static const int64_t ONE = 1000000;

#define AT(field) offsetof(struct rate_options, field)
const struct mr_option rate_rows[] = {
    {.name = "per_second",
     .type = MR_T_INT,
     .offset = AT(per_second),
     .flags = MR_OPT_MANDATORY,
     .min = "1",
     .max = "1000000",
     .doc = "Requests a second on the average; above it 429 with Retry-After."},
    {.name = "burst", .type = MR_T_INT, .offset = AT(burst), .min = "1", .max = "10000000", .doc = "So many at once. Default: a second's worth."},
    {0},
};

int64_t bucket_take(struct bucket *b, const struct rate_options *o, int64_t now_us)
{
    int64_t most = (o->burst ? o->burst : o->per_second) * ONE, since_us = now_us - b->seen_us;
    if (b->seen_us == 0 || since_us < 0)
        b->level = b->seen_us == 0 ? most : b->level;
    else if (since_us > most / o->per_second) /* long enough for a full one; and no overflow below */
        b->level = most;
    else
        b->level += since_us * o->per_second;
    b->level = b->level > most ? most : b->level;
    b->seen_us = now_us;
    if (b->level >= ONE) {
        b->level -= ONE;
        return 0;
    }
    int64_t wait_us = (ONE - b->level + o->per_second - 1) / o->per_second;
    return wait_us <= ONE ? 1 : (wait_us + ONE - 1) / ONE;
}

struct client {
    struct mr_address who;
    struct bucket bucket; /* seen_us 0: nobody */
};
struct clients {
    uint64_t salt;
    struct client at[CLIENTS_MAX];
};

struct clients *clients_new(void)
{
    struct clients *c = calloc(1, sizeof *c);
    if (c)
        mr_random(&c->salt, sizeof c->salt); /* so that nobody can choose addresses that push another one out */
    return c;
}

void clients_free(struct clients *c)
{
    free(c);
}

static struct mr_address counted_as(const struct mr_address *a)
{
    static const unsigned char v4[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    struct mr_address who = *a;
    if (memcmp(a->bytes, v4, sizeof v4) != 0)
        memset(who.bytes + 8, 0, 8);
    return who;
}

static size_t place_of(const struct clients *c, const struct mr_address *who)
{
    uint64_t high, low, h;
    memcpy(&high, who->bytes, sizeof high);
    memcpy(&low, who->bytes + 8, sizeof low);
    h = (high ^ c->salt) * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ (h >> 32) ^ low) * UINT64_C(0xd6e8feb86659fd93);
    return (size_t)((h ^ (h >> 32)) % (CLIENTS_MAX / WAYS)) * WAYS;
}

int64_t clients_take(struct clients *c, const struct mr_address *client, const struct rate_options *o, int64_t now_us)
{
    struct mr_address who = counted_as(client);
    struct client *set = &c->at[place_of(c, &who)], *oldest = set;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].bucket.seen_us && memcmp(&set[i].who, &who, sizeof who) == 0)
            return bucket_take(&set[i].bucket, o, now_us);
        if (set[i].bucket.seen_us < oldest->bucket.seen_us)
            oldest = &set[i];
    }
    *oldest = (struct client){.who = who};
    return bucket_take(&oldest->bucket, o, now_us);
}
