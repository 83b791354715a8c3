/* SPDX-License-Identifier: Apache-2.0 */
/* net/proxy_header.h - the PROXY protocol, versions 1 and 2: what a load balancer says of the real client before the first byte of a
 * connection. The format: haproxy.org, proxy-protocol.txt. Pure. */
#ifndef MILLRACE_NET_PROXY_HEADER_H
#define MILLRACE_NET_PROXY_HEADER_H

#include "millrace/address.h"

enum mr_proxy_step { MR_PROXY_MORE, MR_PROXY_DONE, MR_PROXY_BAD };
enum { MR_PROXY_MAX = 16 + 2048 }; /* of version 2: its fixed part, addresses and TLVs; version 1 has 107 at most */

struct mr_proxy {
    bool known;               /* else the balancer speaks for itself (LOCAL, UNKNOWN): the connection's own address holds */
    struct mr_address client;
    unsigned port;
    size_t n;                 /* bytes of the header */
};
/* bytes: the connection's first ones. MORE never for MR_PROXY_MAX of them. */
enum mr_proxy_step mr_proxy_parse(struct mr_str bytes, struct mr_proxy *out);

#endif
