/* SPDX-License-Identifier: Apache-2.0 */
/* Hex and base64, strict: what a decoder accepts, the encoder writes back alike (but for the case of hex digits). */
#include "millrace/hash.h"

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void mr_hex_put(struct mr_buf *b, const void *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = bytes;
    if (n > SIZE_MAX / 2 || !mr_buf_reserve(b, 2 * n)) {
        b->failed = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        b->p[b->n++] = digits[p[i] >> 4];
        b->p[b->n++] = digits[p[i] & 15];
    }
}

/* Without a branch: a digest's digits are as good as random, and would be mispredicted every other time. */
static unsigned hex_value(unsigned char c, unsigned *wrong)
{
    unsigned is_digit = c - (unsigned)'0' < 10u, is_letter = (c | 0x20u) - 'a' < 6u;
    *wrong |= ~(is_digit | is_letter) & 1u;
    return (c & 15u) + 9u * is_letter;
}

bool mr_hex_get(struct mr_str in, unsigned char *out, size_t n)
{
    if (in.n % 2 != 0 || in.n / 2 != n)
        return false;
    const unsigned char *digits = (const unsigned char *)in.p;
    unsigned wrong = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned high = hex_value(digits[2 * i], &wrong), low = hex_value(digits[2 * i + 1], &wrong);
        out[i] = (unsigned char)(high << 4 | low);
    }
    return wrong == 0;
}

void mr_base64_put(struct mr_buf *b, struct mr_str in)
{
    if (in.n > SIZE_MAX / 4 || !mr_buf_reserve(b, (in.n + 2) / 3 * 4)) {
        b->failed = true;
        return;
    }
    for (size_t i = 0; i < in.n; i += 3) {
        size_t left = in.n - i;
        uint32_t v = (uint32_t)(unsigned char)in.p[i] << 16;
        if (left > 1)
            v |= (uint32_t)(unsigned char)in.p[i + 1] << 8;
        if (left > 2)
            v |= (uint32_t)(unsigned char)in.p[i + 2];
        b->p[b->n++] = base64_digits[v >> 18];
        b->p[b->n++] = base64_digits[v >> 12 & 63];
        b->p[b->n++] = left > 1 ? base64_digits[v >> 6 & 63] : '=';
        b->p[b->n++] = left > 2 ? base64_digits[v & 63] : '=';
    }
}

static int base64_value(char c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    if (c == (url ? '_' : '/'))
        return 63;
    return -1;
}

/* Takes the padding off: it must make a multiple of four; only `url` may do without any. */
static bool unpad(struct mr_str *in, bool url)
{
    size_t digits = in->n;
    while (digits > 0 && in->n - digits < 2 && in->p[digits - 1] == '=')
        digits--;
    bool padded = digits < in->n;
    if ((padded || !url) && in->n % 4 != 0)
        return false;
    in->n = digits;
    return digits % 4 != 1;
}

bool mr_base64_get(struct mr_str in, bool url, unsigned char *out, size_t cap, size_t *n)
{
    if (!unpad(&in, url) || in.n / 4 * 3 + (in.n % 4 ? in.n % 4 - 1 : 0) > cap)
        return false;
    uint32_t v = 0;
    unsigned bits = 0;
    size_t wrote = 0;
    for (size_t i = 0; i < in.n; i++) {
        int digit = base64_value(in.p[i], url);
        if (digit < 0)
            return false;
        v = v << 6 | (uint32_t)digit;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[wrote++] = (unsigned char)(v >> bits);
            v &= (1u << bits) - 1;
        }
    }
    if (v != 0)
        return false; /* left-over bits: another text for the same bytes, and a signature must have one */
    *n = wrote;
    return true;
}
