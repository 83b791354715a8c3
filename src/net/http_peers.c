/* SPDX-License-Identifier: Apache-2.0 */
/* net/http_peers.c - how many connections each address has. Bounded by the number of connections. */
#include "net/http_inside.h"

#include <stdlib.h>

static struct mr_peer **chain_of(struct mr_http_server *s, const struct mr_address *a)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < sizeof a->bytes; i++)
        h = (h ^ a->bytes[i]) * 16777619u;
    return &s->peers[(h ^ (h >> 16)) % MR_PEER_CHAINS];
}

struct mr_peer *mr_peer_get(struct mr_http_server *s, const struct mr_address *a)
{
    struct mr_peer **chain = chain_of(s, a), *p = *chain;
    while (p && memcmp(&p->address, a, sizeof *a) != 0)
        p = p->next;
    if (!p) {
        p = calloc(1, sizeof *p);
        if (!p)
            abort();
        p->address = *a;
        p->next = *chain;
        *chain = p;
    }
    p->connections++;
    return p;
}

void mr_peer_put(struct mr_http_server *s, struct mr_peer *p)
{
    if (--p->connections > 0)
        return;
    struct mr_peer **at = chain_of(s, &p->address);
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    free(p);
}
