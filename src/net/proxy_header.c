/* SPDX-License-Identifier: Apache-2.0 */
#include "net/proxy_header.h"

enum { V1_MAX = 107, V2_FIXED = 16, V2_INET = 12, V2_INET6 = 36 };
static const char v1_start[] = "PROXY ";
static const unsigned char v2_start[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

static bool begins(struct mr_str bytes, const void *start, size_t n)
{
    return memcmp(bytes.p, start, bytes.n < n ? bytes.n : n) == 0;
}

/* ---- version 1: "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n" ---- */

static struct mr_str word(struct mr_str *rest)
{
    const char *blank = rest->n ? memchr(rest->p, ' ', rest->n) : NULL;
    struct mr_str w = {rest->p, blank ? (size_t)(blank - rest->p) : rest->n};
    *rest = blank ? (struct mr_str){blank + 1, rest->n - w.n - 1} : (struct mr_str){rest->p + rest->n, 0};
    return w;
}

static bool read_port(struct mr_str w, unsigned *port)
{
    unsigned n = 0;
    if (w.n == 0 || w.n > 5 || (w.n > 1 && w.p[0] == '0'))
        return false;
    for (size_t i = 0; i < w.n; i++) {
        if (w.p[i] < '0' || w.p[i] > '9')
            return false;
        n = n * 10 + (unsigned)(w.p[i] - '0');
    }
    *port = n;
    return n <= 65535;
}

static bool read_line(struct mr_str line, struct mr_proxy *out)
{
    struct mr_address to;
    unsigned to_port;
    struct mr_str family = word(&line);
    if (mr_str_eq(family, MR_STR("UNKNOWN"))) /* whatever follows it */
        return true;
    bool six = mr_str_eq(family, MR_STR("TCP6"));
    if (!six && !mr_str_eq(family, MR_STR("TCP4")))
        return false;
    struct mr_str from = word(&line), dest = word(&line), from_port = word(&line);
    if ((memchr(from.p, ':', from.n) != NULL) != six || (memchr(dest.p, ':', dest.n) != NULL) != six)
        return false;
    out->known = true;
    return mr_address_parse(from, &out->client) && mr_address_parse(dest, &to) && read_port(from_port, &out->port) && read_port(line, &to_port);
}

static enum mr_proxy_step parse_v1(struct mr_str bytes, struct mr_proxy *out)
{
    const size_t most = V1_MAX - 1; /* of the line and its CR */
    const char *end = memchr(bytes.p, '\r', bytes.n < most ? bytes.n : most);
    size_t start = sizeof v1_start - 1;
    if (!end)
        return bytes.n < most ? MR_PROXY_MORE : MR_PROXY_BAD;
    size_t n = (size_t)(end - bytes.p);
    if (n + 1 == bytes.n)
        return MR_PROXY_MORE;
    if (bytes.p[n + 1] != '\n' || n < start)
        return MR_PROXY_BAD;
    out->n = n + 2;
    return read_line((struct mr_str){bytes.p + start, n - start}, out) ? MR_PROXY_DONE : MR_PROXY_BAD;
}

/* ---- version 2 ---- */

static unsigned read_u16(const char *p)
{
    return (unsigned)(unsigned char)p[0] << 8 | (unsigned char)p[1];
}

static enum mr_proxy_step parse_v2(struct mr_str bytes, struct mr_proxy *out)
{
    if (bytes.n < V2_FIXED)
        return MR_PROXY_MORE;
    unsigned version = (unsigned char)bytes.p[12] >> 4, command = (unsigned char)bytes.p[12] & 15, family = (unsigned char)bytes.p[13] >> 4;
    size_t n = read_u16(bytes.p + 14);
    const char *at = bytes.p + V2_FIXED;
    if (version != 2 || command > 1 || V2_FIXED + n > MR_PROXY_MAX)
        return MR_PROXY_BAD;
    if (bytes.n < V2_FIXED + n)
        return MR_PROXY_MORE;
    out->n = V2_FIXED + n;
    if (command == 0 || (family != 1 && family != 2)) /* LOCAL; unspecified or a socket's path */
        return MR_PROXY_DONE;
    if (n < (size_t)(family == 1 ? V2_INET : V2_INET6))
        return MR_PROXY_BAD;
    out->known = true;
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    memcpy(out->client.bytes, mapped, sizeof mapped);
    memcpy(out->client.bytes + (family == 1 ? 12 : 0), at, family == 1 ? 4 : 16);
    out->port = read_u16(at + (family == 1 ? 8 : 32));
    return MR_PROXY_DONE;
}

enum mr_proxy_step mr_proxy_parse(struct mr_str bytes, struct mr_proxy *out)
{
    *out = (struct mr_proxy){0};
    if (bytes.n == 0)
        return MR_PROXY_MORE;
    if (begins(bytes, v2_start, sizeof v2_start))
        return bytes.n < sizeof v2_start ? MR_PROXY_MORE : parse_v2(bytes, out);
    if (begins(bytes, v1_start, sizeof v1_start - 1))
        return bytes.n < sizeof v1_start - 1 ? MR_PROXY_MORE : parse_v1(bytes, out);
    return MR_PROXY_BAD;
}
