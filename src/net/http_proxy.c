/* SPDX-License-Identifier: Apache-2.0 */
/* net/http_proxy.c - a connection from a load balancer begins with a PROXY header, before TLS too: from then on its peer is whom that names.
 *
 * Until it is whole its bytes are kept; what follows it goes on as if it had been read alone. Anything else ends the connection without a
 * word, as the protocol has it. */
#include "net/http_inside.h"

#include <stdlib.h>

struct proxy_start {
    size_t n;
    char bytes[MR_PROXY_MAX];
};

bool mr_conn_proxy_begin(struct mr_conn *c)
{
    if (!mr_share_take(c->server->share, sizeof *c->proxy))
        return false;
    c->proxy = malloc(sizeof *c->proxy);
    if (!c->proxy) {
        mr_share_put(c->server->share, sizeof *c->proxy);
        return false;
    }
    c->proxy->n = 0;
    return true;
}

void mr_conn_proxy_free(struct mr_conn *c)
{
    if (!c->proxy)
        return;
    free(c->proxy);
    c->proxy = NULL;
    mr_share_put(c->server->share, sizeof *c->proxy);
}

/* Counts for its client instead of the balancer. False: he has too many. */
static bool take_name(struct mr_conn *c, const struct mr_proxy *p)
{
    struct mr_http_server *s = c->server;
    if (!p->known)
        return true;
    mr_conn_name(c, &p->client, p->port);
    mr_peer_put(s, c->peer);
    c->peer = mr_peer_get(s, &c->address);
    if (s->limits.connections_per_peer == 0 || c->peer->connections <= s->limits.connections_per_peer)
        return true;
    mr_http_count_refused(s, MR_CAUSE_TOO_MANY_OF_PEER, mr_conn_remote(c));
    return false;
}

void mr_conn_proxy_read(struct mr_conn *c, char *bytes, size_t n)
{
    struct proxy_start *start = c->proxy;
    struct mr_proxy p;
    size_t before = start->n, room = MR_PROXY_MAX - before, take = n < room ? n : room;
    memcpy(start->bytes + before, bytes, take);
    start->n += take;
    switch (mr_proxy_parse((struct mr_str){start->bytes, start->n}, &p)) {
    case MR_PROXY_MORE:
        return;
    case MR_PROXY_BAD:
        mr_http_count_refused(c->server, MR_CAUSE_PROXY_HEADER, mr_conn_remote(c));
        mr_conn_close(c);
        return;
    case MR_PROXY_DONE:
        break;
    }
    mr_conn_proxy_free(c);
    size_t used = p.n - before;
    if (!take_name(c, &p))
        mr_conn_close(c);
    else if (n > used && c->tls)
        mr_conn_tls_read(c, (struct mr_str){bytes + used, n - used});
    else if (n > used)
        mr_conn_take(c, bytes + used, n - used);
}
