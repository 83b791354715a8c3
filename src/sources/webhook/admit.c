/* SPDX-License-Identifier: Apache-2.0 */
/* admit.c - before a request is judged by what it says: whose is it, by its peer and the proxies in between, and may he send now? */
#include "hub.h"

#include "millrace/clock.h"
#include "millrace/hash.h"

enum mr_http_peer webhook_peer(void *hub, const struct mr_address *peer)
{
    const struct hub *h = hub;
    if (!h->o->http.proxy_protocol)
        return MR_PEER_PLAIN;
    return ranges_have(&h->trusted, peer) ? MR_PEER_PROXY : MR_PEER_REFUSED;
}

void sight_of(const struct webhook *w, const struct mr_http_head *head, struct sight *out)
{
    const struct hub *h = w->hub;
    out->head = *head;
    out->head.path = mr_str_c(w->shown);
    out->client = head->address;
    if (h->trusted.count == 0 || !ranges_have(&h->trusted, &head->address) ||
        !client_of(&h->trusted, (enum client_header)h->o->http.client_header, head, &out->client))
        return;
    mr_address_text(&out->client, out->remote);
    out->head.remote = mr_str_c(out->remote);
}

bool admit_client(const struct webhook *w, const struct sight *s)
{
    return w->from.count == 0 || ranges_have(&w->from, &s->client);
}

int64_t admit_soon(struct webhook *w, const struct sight *s)
{
    return w->clients ? clients_take(w->clients, &s->client, &w->o->rate_per_client, mr_mono_us()) : 0;
}

int64_t admit_verified(struct webhook *w)
{
    return w->o->rate_given ? bucket_take(&w->bucket, &w->o->rate, mr_mono_us()) : 0;
}

/* ---- the route ---- */

void webhook_route(const struct webhook_options *o, struct mr_buf *out)
{
    size_t n = strlen(o->path);
    mr_buf_puts(out, o->path);
    if (!o->path_secret.value)
        return;
    mr_buf_puts(out, n && o->path[n - 1] == '/' ? "" : "/");
    mr_buf_put(out, o->path_secret.value, o->path_secret.n);
}

bool webhook_is_route(const struct webhook *w, struct mr_str path)
{
    return path.n == w->route_n && memcmp(path.p, w->route, w->open_n) == 0 &&
           (w->open_n == w->route_n || mr_equal_ct(path.p + w->open_n, w->route + w->open_n, w->route_n - w->open_n));
}
