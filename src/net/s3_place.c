/* SPDX-License-Identifier: Apache-2.0 */
#include "s3_place.h"

#include <stdio.h>

static bool is_low_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html; older buckets and other stores also have capitals and underscores. */
static bool is_bucket(struct mr_str s)
{
    if (s.n < 3 || s.n >= S3_BUCKET_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_low_or_digit(s.p[i]) && !(s.p[i] >= 'A' && s.p[i] <= 'Z') && !strchr("-._", s.p[i]))
            return false;
    return !mr_str_eq(s, MR_STR("...")) && s.p[0] != '.' && s.p[s.n - 1] != '.';
}

/* Can it be a label in front of a host, under a certificate for *.host? */
static bool is_label(struct mr_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_low_or_digit(s.p[i]) && s.p[i] != '-')
            return false;
    return s.p[0] != '-' && s.p[s.n - 1] != '-';
}

static bool is_host(struct mr_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_low_or_digit(s.p[i]) && !(s.p[i] >= 'A' && s.p[i] <= 'Z') && !strchr("-.:[]", s.p[i]))
            return false;
    return s.n > 0 && s.n + S3_BUCKET_MAX < S3_HOST_MAX;
}

static bool is_region(struct mr_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_low_or_digit(s.p[i]) && s.p[i] != '-')
            return false;
    return s.n < S3_REGION_MAX;
}

static bool begins(struct mr_str s, const char *with)
{
    return s.n >= strlen(with) && memcmp(s.p, with, strlen(with)) == 0;
}

static struct mr_str behind(struct mr_str s, size_t n)
{
    return (struct mr_str){s.p + n, s.n - n};
}

static void aws_host(struct s3_place *p)
{
    const char *cn = strncmp(p->region, "cn-", 3) == 0 ? ".cn" : "";
    snprintf(p->host, sizeof p->host, "%s%ss3.%s.amazonaws.com%s", p->in_path ? "" : p->bucket, p->in_path ? "" : ".", p->region, cn);
}

static enum mr_code read_url(struct mr_str url, struct s3_place *out, struct mr_err *err)
{
    if (!begins(url, "s3://"))
        return mr_err_set(err, MR_ECONFIG, "not s3://bucket/prefix");
    struct mr_str rest = behind(url, 5);
    const char *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
    struct mr_str bucket = {rest.p, slash ? (size_t)(slash - rest.p) : rest.n}, prefix = behind(rest, bucket.n + (slash != NULL));
    if (!is_bucket(bucket))
        return mr_err_set(err, MR_ECONFIG, "\"%.*s\" is no name of a bucket: 3 to 63 letters, digits, `-`, `.`", (int)(bucket.n < 80 ? bucket.n : 80), bucket.p);
    while (prefix.n && prefix.p[prefix.n - 1] == '/')
        prefix.n--;
    if (prefix.n + 2 > sizeof out->prefix)
        return mr_err_set(err, MR_ECONFIG, "a prefix of more than %zu bytes", sizeof out->prefix - 2);
    snprintf(out->bucket, sizeof out->bucket, "%.*s", (int)bucket.n, bucket.p);
    snprintf(out->prefix, sizeof out->prefix, "%.*s%s", (int)prefix.n, prefix.p, prefix.n ? "/" : "");
    return MR_OK;
}

static enum mr_code read_endpoint(struct mr_str endpoint, enum s3_style style, struct s3_place *out, struct mr_err *err)
{
    out->https = begins(endpoint, "https://");
    struct mr_str host = behind(endpoint, out->https ? 8 : begins(endpoint, "http://") ? 7 : 0);
    if (host.n && host.p[host.n - 1] == '/')
        host.n--;
    if (host.n == endpoint.n || !is_host(host))
        return mr_err_set(err, MR_ECONFIG, "an endpoint is http://host:port or https://host, without a path");
    out->in_path = style != S3_STYLE_HOST;
    snprintf(out->host, sizeof out->host, "%s%s%.*s", out->in_path ? "" : out->bucket, out->in_path ? "" : ".", (int)host.n, host.p);
    return MR_OK;
}

enum mr_code s3_place_read(struct mr_str url, struct mr_str endpoint, struct mr_str region, enum s3_style style, struct s3_place *out, struct mr_err *err)
{
    *out = (struct s3_place){.https = true};
    if (read_url(url, out, err) != MR_OK)
        return err->code;
    if (!is_region(region))
        return mr_err_set(err, MR_ECONFIG, "\"%.*s\" is no region: letters, digits, `-`, such as eu-central-1", (int)(region.n < 80 ? region.n : 80), region.p);
    snprintf(out->region, sizeof out->region, "%.*s", region.n ? (int)region.n : (int)sizeof "us-east-1" - 1, region.n ? region.p : "us-east-1");
    bool label = is_label(mr_str_c(out->bucket));
    if (style == S3_STYLE_HOST && !label)
        return mr_err_set(err, MR_ECONFIG, "the bucket %s cannot be part of a host's name: path style", out->bucket);
    if (endpoint.n)
        return read_endpoint(endpoint, style, out, err);
    out->in_path = style == S3_STYLE_PATH || !label;
    aws_host(out);
    return MR_OK;
}

bool s3_place_move(struct s3_place *p, struct mr_str region)
{
    struct s3_place aws = *p;
    aws_host(&aws);
    bool is_aws = strcmp(p->host, aws.host) == 0;
    if (region.n == 0 || !is_region(region) || mr_str_eq(region, mr_str_c(p->region)))
        return false;
    snprintf(p->region, sizeof p->region, "%.*s", (int)region.n, region.p);
    if (is_aws)
        aws_host(p);
    return true;
}

void s3_place_path(const struct s3_place *p, struct mr_str key, struct mr_buf *out)
{
    mr_buf_putc(out, '/');
    if (p->in_path)
        mr_buf_puts(out, p->bucket);
    if (key.n == 0)
        return;
    if (p->in_path)
        mr_buf_putc(out, '/');
    mr_buf_puts(out, p->prefix);
    mr_buf_put(out, key.p, key.n);
}
