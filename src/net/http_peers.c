/* SPDX-License-Identifier: Apache-2.0 */
/* net/http_peers.c - how many connections each address has. Bounded by the number of connections. */
#include "net/http_inside.h"

#include <stdlib.h>

static struct in6_addr address_of(const struct sockaddr_storage *from)
{
    struct in6_addr a = {0};
    if (from->ss_family == AF_INET6) {
        memcpy(&a, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, sizeof a);
    } else {
        a.s6_addr[10] = a.s6_addr[11] = 0xff;
        memcpy(&a.s6_addr[12], &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
    }
    return a;
}

static struct mr_peer **chain_of(struct mr_http_server *s, const struct in6_addr *a)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < sizeof a->s6_addr; i++)
        h = (h ^ a->s6_addr[i]) * 16777619u;
    return &s->peers[(h ^ (h >> 16)) % MR_PEER_CHAINS];
}

struct mr_peer *mr_peer_get(struct mr_http_server *s, const struct sockaddr_storage *from)
{
    struct in6_addr a = address_of(from);
    struct mr_peer **chain = chain_of(s, &a), *p = *chain;
    while (p && memcmp(&p->address, &a, sizeof a) != 0)
        p = p->next;
    if (!p) {
        p = calloc(1, sizeof *p);
        if (!p)
            abort();
        p->address = a;
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
