/* SPDX-License-Identifier: Apache-2.0 */
#include "vendor_url.h"

enum { NAME_MAX_BYTES = 128 };

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
    return is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

/* Takes `text` off the front of `s`, if it is there. */
static bool take(struct mr_str *s, const char *text)
{
    size_t n = strlen(text);
    if (s->n < n || memcmp(s->p, text, n) != 0)
        return false;
    s->p += n;
    s->n -= n;
    return true;
}

/* As many bytes as are of that kind; how many. */
static size_t run(struct mr_str *s, bool (*is)(char c))
{
    size_t n = 0;
    while (n < s->n && is(s->p[n]))
        n++;
    s->p += n;
    s->n -= n;
    return n;
}

/* us-east-1, us-gov-west-1, eusc-de-east-1: words, then a number. */
static bool take_region(struct mr_str *s)
{
    size_t words = 0, n = run(s, is_lower);
    if (n < 2 || n > 4)
        return false;
    while (take(s, "-")) {
        if ((n = run(s, is_digit)) > 0)
            return words > 0 && n <= 2;
        n = run(s, is_lower);
        if (n < 2 || n > 16 || ++words > 2)
            return false;
    }
    return false;
}

static bool take_sns(struct mr_str *s)
{
    static const char *const ends[] = {".amazonaws.com/", ".amazonaws.com.cn/", ".amazonaws.eu/"};
    if (!take(s, "https://sns.") || !take_region(s))
        return false;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (take(s, ends[i]))
            return true;
    return false;
}

bool is_sns_cert_url(struct mr_str url)
{
    size_t n;
    return take_sns(&url) && (n = run(&url, is_name)) > 0 && n <= NAME_MAX_BYTES && mr_str_eq(url, MR_STR(".pem"));
}

bool is_sns_confirm_url(struct mr_str url)
{
    return take_sns(&url) && take(&url, "?Action=ConfirmSubscription&") && !memchr(url.p, '#', url.n);
}

bool is_paypal_cert_url(struct mr_str url)
{
    size_t n;
    return (take(&url, "https://api.paypal.com/") || take(&url, "https://api.sandbox.paypal.com/")) &&
           take(&url, "v1/notifications/certs/CERT-") && (n = run(&url, is_name)) > 0 && n <= NAME_MAX_BYTES && url.n == 0;
}
