/* SPDX-License-Identifier: Apache-2.0 */
/* public.c - is an address the public internet's? As the registries of special purposes have it (RFC 6890). */
#include "millrace/address.h"

#include <netinet/in.h>
#include <sys/socket.h>

static bool v4_is_public(uint32_t a)
{
    static const struct {
        uint32_t net;
        unsigned bits;
    } reserved[] = {
        {0x00000000, 8},  /* this network */
        {0x0a000000, 8},  /* private */
        {0x64400000, 10}, /* carriers' own */
        {0x7f000000, 8},  /* ourselves */
        {0xa9fe0000, 16}, /* link local; cloud metadata */
        {0xac100000, 12}, /* private */
        {0xc0000000, 24}, /* protocol assignments */
        {0xc0000200, 24}, /* documentation */
        {0xc0586300, 24}, /* 6to4 relays */
        {0xc0a80000, 16}, /* private */
        {0xc6120000, 15}, /* benchmarks */
        {0xc6336400, 24}, /* documentation */
        {0xcb007100, 24}, /* documentation */
        {0xe0000000, 4},  /* multicast */
        {0xf0000000, 4},  /* reserved; broadcast */
    };
    for (size_t i = 0; i < MR_COUNT(reserved); i++)
        if ((a ^ reserved[i].net) >> (32 - reserved[i].bits) == 0)
            return false;
    return true;
}

/* Only global unicast, and of that nothing that has another address inside (Teredo, 6to4) or is for documents; and what a
 * translator stands for (RFC 6052), if that is public. */
static bool v6_is_public(const unsigned char a[16])
{
    static const unsigned char translated[12] = {0x00, 0x64, 0xff, 0x9b};
    if (memcmp(a, translated, sizeof translated) == 0)
        return v4_is_public((uint32_t)a[12] << 24 | (uint32_t)a[13] << 16 | (uint32_t)a[14] << 8 | a[15]);
    if ((a[0] & 0xe0) != 0x20)
        return false;
    bool special = a[0] == 0x20 && a[1] == 0x01 && (a[2] < 0x02 || (a[2] == 0x0d && a[3] == 0xb8));
    bool documents = a[0] == 0x3f && a[1] == 0xff && a[2] < 0x10;
    return !special && !documents && !(a[0] == 0x20 && a[1] == 0x02);
}

bool mr_address_is_public(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return v4_is_public(ntohl(in.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        return v6_is_public(in6.sin6_addr.s6_addr);
    }
    return false;
}
