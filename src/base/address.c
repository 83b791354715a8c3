/* SPDX-License-Identifier: Apache-2.0 */
#include "millrace/address.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { V4_AT = 12, V4_BITS = 96 };
static const unsigned char mapped[V4_AT] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_v4(const struct mr_address *a)
{
    return memcmp(a->bytes, mapped, sizeof mapped) == 0;
}

bool mr_address_parse(struct mr_str text, struct mr_address *out)
{
    char copy[MR_ADDRESS_TEXT];
    if (text.n == 0 || text.n >= sizeof copy || memchr(text.p, 0, text.n))
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    if (strchr(copy, ':'))
        return inet_pton(AF_INET6, copy, out->bytes) == 1;
    memcpy(out->bytes, mapped, sizeof mapped);
    return inet_pton(AF_INET, copy, out->bytes + V4_AT) == 1;
}

static bool is_port(struct mr_str s)
{
    if (s.n == 0 || s.n > 5)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return true;
}

bool mr_address_parse_node(struct mr_str text, struct mr_address *out)
{
    if (mr_address_parse(text, out))
        return true;
    bool bracket = text.n > 2 && text.p[0] == '[';
    const char *end = text.n ? memchr(text.p, bracket ? ']' : ':', text.n) : NULL;
    if (!end)
        return false;
    struct mr_str host = {text.p + bracket, (size_t)(end - text.p) - bracket};
    struct mr_str rest = {end + bracket, text.n - (size_t)(end + bracket - text.p)};
    bool colon = rest.n && rest.p[0] == ':';
    if (!(bracket && rest.n == 0) && !(colon && is_port((struct mr_str){rest.p + 1, rest.n - 1})))
        return false;
    return mr_address_parse(host, out) && is_v4(out) != bracket;
}

bool mr_address_of(const struct sockaddr *from, struct mr_address *out)
{
    if (from->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, from, sizeof in6);
        memcpy(out->bytes, &in6.sin6_addr, sizeof out->bytes);
        return true;
    }
    if (from->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, from, sizeof in);
        memcpy(out->bytes, mapped, sizeof mapped);
        memcpy(out->bytes + V4_AT, &in.sin_addr, 4);
        return true;
    }
    return false;
}

void mr_address_text(const struct mr_address *a, char out[MR_ADDRESS_TEXT])
{
    bool v4 = is_v4(a);
    if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? a->bytes + V4_AT : a->bytes, out, MR_ADDRESS_TEXT))
        out[0] = 0;
}

static struct mr_address masked(const struct mr_address *a, unsigned bits)
{
    struct mr_address m = *a;
    for (unsigned i = 0; i < sizeof m.bytes; i++) {
        unsigned keep = bits > 8 * i ? bits - 8 * i : 0;
        if (keep < 8)
            m.bytes[i] = (unsigned char)(m.bytes[i] & (0xff00u >> keep));
    }
    return m;
}

enum mr_code mr_cidr_parse(struct mr_str text, struct mr_cidr *out, struct mr_err *err)
{
    const char *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
    struct mr_str host = {text.p, slash ? (size_t)(slash - text.p) : text.n};
    struct mr_str bits = slash ? (struct mr_str){slash + 1, text.n - host.n - 1} : (struct mr_str){0};
    int shown = (int)(text.n < 60 ? text.n : 60);
    if (!mr_address_parse(host, &out->net))
        return mr_err_set(err, MR_ECONFIG, "\"%.*s\" is no address and no range of them, such as 192.0.2.0/24 or 2001:db8::/32", shown, text.p);
    unsigned most = is_v4(&out->net) ? 32 : 128, n = most;
    if (slash) {
        if (!is_port(bits) || bits.n > 3 || (bits.n > 1 && bits.p[0] == '0'))
            return mr_err_set(err, MR_ECONFIG, "\"%.*s\": behind the / a number of bits, 0 to %u", shown, text.p, most);
        n = 0;
        for (size_t i = 0; i < bits.n; i++)
            n = n * 10 + (unsigned)(bits.p[i] - '0');
        if (n > most)
            return mr_err_set(err, MR_ECONFIG, "\"%.*s\": behind the / a number of bits, 0 to %u", shown, text.p, most);
    }
    out->bits = n + (most == 32 ? V4_BITS : 0);
    struct mr_address net = masked(&out->net, out->bits);
    if (memcmp(&net, &out->net, sizeof net) != 0) {
        char meant[MR_ADDRESS_TEXT];
        mr_address_text(&net, meant);
        return mr_err_set(err, MR_ECONFIG, "\"%.*s\" has bits behind its mask: %s/%u, or one address?", shown, text.p, meant, n);
    }
    return MR_OK;
}

bool mr_cidr_has(const struct mr_cidr *range, const struct mr_address *a)
{
    if (range->bits < V4_BITS && is_v4(a))
        return false; /* a range of IPv6 means no IPv4, though we keep it in there */
    struct mr_address m = masked(a, range->bits);
    return memcmp(&m, &range->net, sizeof m) == 0;
}
