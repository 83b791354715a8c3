/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - who has sent a request: the peer, or what trusted proxies say of him; and may he? Pure. */
#ifndef MR_WEBHOOK_CLIENT_H
#define MR_WEBHOOK_CLIENT_H

#include "millrace/address.h"
#include "millrace/http.h"
#include "millrace/option.h"

enum client_header { CLIENT_X_FORWARDED_FOR, CLIENT_FORWARDED, CLIENT_X_REAL_IP };

struct ranges {
    struct mr_cidr *items;
    size_t count;
};
/* texts: of the config. MR_ECONFIG names the first that is none. */
MR_MUST enum mr_code ranges_read(const struct mr_strings *texts, struct ranges *out, struct mr_err *err);
void ranges_free(struct ranges *r);
bool ranges_have(const struct ranges *r, const struct mr_address *a);

/* The client of a request whose peer is trusted: from the header's end towards its beginning past those who are trusted; the first who is not. An element
 * that is no address ends the walk with the last one that was. true: *client is another one than the peer. */
bool client_of(const struct ranges *trusted, enum client_header header, const struct mr_http_head *head, struct mr_address *client);

#endif
