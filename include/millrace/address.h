/* SPDX-License-Identifier: Apache-2.0 */
/* address.h - IP addresses and ranges of them (CIDR, RFC 4632 and 4291), as people and headers write them. Pure.
 *
 * IPv4 is kept mapped into IPv6 (::ffff:a.b.c.d), so that a range of IPv4 also has what a dual-stack socket reports; a range of
 * IPv6 has no IPv4. */
#ifndef MILLRACE_ADDRESS_H
#define MILLRACE_ADDRESS_H

#include "millrace/buf.h"
#include "millrace/err.h"

struct sockaddr;
struct mr_address {
    unsigned char bytes[16];
};
struct mr_cidr {
    struct mr_address net;
    unsigned bits; /* of 128 */
};
enum { MR_ADDRESS_TEXT = 46 };

/* "192.0.2.1", "2001:db8::1"; nothing before or behind. */
bool mr_address_parse(struct mr_str text, struct mr_address *out);
/* The same, and "192.0.2.1:80", "[2001:db8::1]", "[2001:db8::1]:80". The port is passed over. */
bool mr_address_parse_node(struct mr_str text, struct mr_address *out);
/* Neither ourselves, nor a private network, nor anything reserved. */
bool mr_address_is_public(const struct sockaddr *address);
bool mr_address_of(const struct sockaddr *from, struct mr_address *out); /* false: neither family */
void mr_address_text(const struct mr_address *a, char out[MR_ADDRESS_TEXT]);
/* "192.0.2.0/24", "2001:db8::/32", or one address. MR_ECONFIG says what is wrong, and for bits behind the mask what was meant. */
MR_MUST enum mr_code mr_cidr_parse(struct mr_str text, struct mr_cidr *out, struct mr_err *err);
bool mr_cidr_has(const struct mr_cidr *range, const struct mr_address *a);

#endif
