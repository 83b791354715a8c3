/* SPDX-License-Identifier: Apache-2.0 */
/* sigv4.c - canonical request -> string to sign -> a key made of secret, day, region and service -> Authorization. */
#include "millrace/sigv4.h"

#include "millrace/clock.h"
#include "millrace/hash.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { SHA256 = 32, TEXT_MAX = 4 << 20 };

/* ---- encoding ---- */

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

void mr_uri_encode(struct mr_str bytes, bool keep_slash, struct mr_buf *out)
{
    for (size_t i = 0; i < bytes.n; i++) {
        char c = bytes.p[i];
        if (is_unreserved(c) || (keep_slash && c == '/'))
            mr_buf_putc(out, c);
        else
            mr_buf_printf(out, "%%%02X", (unsigned char)c);
    }
}

/* RFC 3986, 5.2.4, and empty segments go, too: what AWS's services other than S3 make of a path. */
static void put_normalised(struct mr_str path, struct mr_buf *out)
{
    size_t start = out->n;
    mr_buf_putc(out, '/');
    for (size_t i = 0; i < path.n;) {
        const char *slash = memchr(path.p + i, '/', path.n - i);
        size_t end = slash ? (size_t)(slash - path.p) : path.n;
        struct mr_str segment = {path.p + i, end - i};
        i = end + 1;
        if (segment.n == 0 || mr_str_eq(segment, MR_STR(".")))
            continue;
        if (!mr_str_eq(segment, MR_STR(".."))) {
            mr_buf_put(out, segment.p, segment.n);
            mr_buf_putc(out, '/');
        } else if (out->n > start + 1) {
            out->n--;
            while (out->p[out->n - 1] != '/')
                out->n--;
        }
    }
    if (out->n > start + 1 && path.p[path.n - 1] != '/')
        out->n--; /* it did not end in one */
}

struct pair { /* offsets into a buffer that may still move */
    size_t name, name_n, value, value_n;
    const char *text; /* the buffer, when it is whole */
};

static int by_bytes(const char *a, size_t an, const char *b, size_t bn)
{
    int order = memcmp(a, b, an < bn ? an : bn);
    return order ? order : an < bn ? -1 : an > bn;
}

static int by_name_and_value(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    int order = by_bytes(x->text + x->name, x->name_n, y->text + y->name, y->name_n);
    return order ? order : by_bytes(x->text + x->value, x->value_n, y->text + y->value, y->value_n);
}

static void put_query(const struct mr_sigv4_request *r, struct mr_buf *out)
{
    struct pair pairs[MR_SIGV4_QUERY_MAX];
    struct mr_buf text;
    mr_buf_init(&text, TEXT_MAX);
    for (size_t i = 0; i < r->query_count; i++) {
        struct pair *p = &pairs[i];
        p->name = text.n;
        mr_uri_encode(r->query[i].name, false, &text);
        p->name_n = text.n - p->name;
        p->value = text.n;
        mr_uri_encode(r->query[i].value, false, &text);
        p->value_n = text.n - p->value;
    }
    const char *whole = mr_buf_cstr(&text);
    for (size_t i = 0; i < r->query_count; i++)
        pairs[i].text = whole;
    qsort(pairs, r->query_count, sizeof *pairs, by_name_and_value);
    for (size_t i = 0; i < r->query_count && !text.failed; i++) {
        mr_buf_puts(out, i ? "&" : "");
        mr_buf_put(out, whole + pairs[i].name, pairs[i].name_n);
        mr_buf_putc(out, '=');
        mr_buf_put(out, whole + pairs[i].value, pairs[i].value_n);
    }
    out->failed |= text.failed;
    mr_buf_free(&text);
}

/* ---- headers ---- */

struct signed_headers {
    struct mr_header items[MR_SIGV4_HEADERS_MAX + 4];
    size_t count;
};

static int by_name(const struct mr_header *x, const struct mr_header *y)
{
    size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
    int order = strncasecmp(x->name.p, y->name.p, n);
    return order ? order : x->name.n < y->name.n ? -1 : x->name.n > y->name.n;
}

static bool same_name(const struct mr_header *a, const struct mr_header *b)
{
    return a->name.n == b->name.n && strncasecmp(a->name.p, b->name.p, a->name.n) == 0;
}

/* Insertion: few, and repeats keep their order. */
static void sort(struct signed_headers *h)
{
    for (size_t i = 1; i < h->count; i++)
        for (size_t k = i; k > 0 && by_name(&h->items[k], &h->items[k - 1]) < 0; k--) {
            struct mr_header other = h->items[k];
            h->items[k] = h->items[k - 1];
            h->items[k - 1] = other;
        }
}

static void put_lower(struct mr_str s, struct mr_buf *out)
{
    for (size_t i = 0; i < s.n; i++)
        mr_buf_putc(out, (char)tolower((unsigned char)s.p[i]));
}

/* No blanks at either end, and one for many inside. */
static void put_value(struct mr_str s, struct mr_buf *out)
{
    bool blank = false, any = false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == ' ' || s.p[i] == '\t') {
            blank = any;
            continue;
        }
        if (blank)
            mr_buf_putc(out, ' ');
        mr_buf_putc(out, s.p[i]);
        blank = false;
        any = true;
    }
}

static void put_headers(const struct signed_headers *h, struct mr_buf *out)
{
    for (size_t i = 0; i < h->count; i++) {
        if (i && same_name(&h->items[i - 1], &h->items[i])) {
            out->n--; /* the line goes on */
            mr_buf_putc(out, ',');
        } else {
            put_lower(h->items[i].name, out);
            mr_buf_putc(out, ':');
        }
        put_value(h->items[i].value, out);
        mr_buf_putc(out, '\n');
    }
}

static void put_names(const struct signed_headers *h, struct mr_buf *out)
{
    for (size_t i = 0; i < h->count; i++) {
        if (i && same_name(&h->items[i - 1], &h->items[i]))
            continue;
        mr_buf_puts(out, i ? ";" : "");
        put_lower(h->items[i].name, out);
    }
}

/* ---- the signature ---- */

struct when {
    char time[17], day[9]; /* 20261127T050607Z, 20261127 */
};

static void when_of(int64_t now_us, struct when *w)
{
    char text[28]; /* 2026-11-27T05:06:07.123456Z */
    mr_time_text(now_us, text);
    snprintf(w->day, sizeof w->day, "%.4s%.2s%.2s", text, text + 5, text + 8);
    snprintf(w->time, sizeof w->time, "%sT%.2s%.2s%.2sZ", w->day, text + 11, text + 14, text + 17);
}

static void mac(const void *key, size_t n, struct mr_str text, unsigned char out[MR_DIGEST_MAX])
{
    struct mr_hmac_key *k = mr_hmac_key_new(MR_SHA256, (struct mr_str){key, n});
    mr_hmac(k, &text, 1, out);
    mr_hmac_key_free(k);
}

static void signature(const struct mr_sigv4_request *r, const struct mr_sigv4_keys *keys, const struct when *w, struct mr_str text, struct mr_buf *out)
{
    unsigned char a[MR_DIGEST_MAX], b[MR_DIGEST_MAX];
    struct mr_buf first;
    mr_buf_init(&first, 4096);
    mr_buf_puts(&first, "AWS4");
    mr_buf_put(&first, keys->secret_key.p, keys->secret_key.n);
    mac(first.p, first.n, mr_str_c(w->day), a);
    mr_cleanse(first.p, first.n);
    mr_buf_free(&first);
    mac(a, SHA256, r->region, b);
    mac(b, SHA256, r->service, a);
    mac(a, SHA256, MR_STR("aws4_request"), b);
    mac(b, SHA256, text, a);
    mr_hex_put(out, a, SHA256);
    mr_cleanse(a, sizeof a);
    mr_cleanse(b, sizeof b);
}

static void put_scope(const struct mr_sigv4_request *r, const struct when *w, struct mr_buf *out)
{
    mr_buf_printf(out, "%s/%.*s/%.*s/aws4_request", w->day, (int)r->region.n, r->region.p, (int)r->service.n, r->service.p);
}

static void put_hash(struct mr_str text, struct mr_buf *out)
{
    unsigned char digest[MR_DIGEST_MAX];
    mr_digest(MR_SHA256, text, digest);
    mr_hex_put(out, digest, SHA256);
}

static bool is_s3(const struct mr_sigv4_request *r)
{
    return mr_str_eq(r->service, MR_STR("s3"));
}

/* The canonical request; `path` and `query` as they are asked. */
static void put_canonical(const struct mr_sigv4_request *r, struct mr_str path, struct mr_str query, const struct signed_headers *h, struct mr_buf *out)
{
    mr_buf_put(out, r->method.p, r->method.n);
    mr_buf_putc(out, '\n');
    if (is_s3(r)) {
        mr_buf_put(out, path.p, path.n);
    } else {
        struct mr_buf normal;
        mr_buf_init(&normal, TEXT_MAX);
        put_normalised(path, &normal);
        mr_uri_encode(mr_buf_str(&normal), true, out);
        mr_buf_free(&normal);
    }
    mr_buf_putc(out, '\n');
    mr_buf_put(out, query.p, query.n);
    mr_buf_putc(out, '\n');
    put_headers(h, out);
    mr_buf_putc(out, '\n');
    put_names(h, out);
    mr_buf_putc(out, '\n');
    mr_buf_put(out, r->payload_sha256.p, r->payload_sha256.n);
}

static bool has_line_break(struct mr_str s)
{
    return s.n && (memchr(s.p, '\r', s.n) || memchr(s.p, '\n', s.n) || memchr(s.p, 0, s.n));
}

static enum mr_code check(const struct mr_sigv4_request *r, const struct mr_sigv4_keys *keys, struct mr_err *err)
{
    if (r->headers_count > MR_SIGV4_HEADERS_MAX || r->query_count > MR_SIGV4_QUERY_MAX)
        return mr_err_set(err, MR_ETOOBIG, "more headers or parameters than can be signed");
    if (r->path.n == 0 || r->path.p[0] != '/')
        return mr_err_set(err, MR_EPERM, "a path that does not begin with /");
    bool bad = has_line_break(r->method) || has_line_break(r->host) || has_line_break(keys->access_key) || has_line_break(keys->session_token);
    for (size_t i = 0; i < r->headers_count; i++)
        bad |= has_line_break(r->headers[i].name) || has_line_break(r->headers[i].value);
    return bad ? mr_err_set(err, MR_EPERM, "a line break in a header") : MR_OK;
}

static void add(struct signed_headers *h, const char *name, struct mr_str value)
{
    h->items[h->count++] = (struct mr_header){mr_str_c(name), value};
}

static void gather(const struct mr_sigv4_request *r, const struct mr_sigv4_keys *keys, const struct when *w, struct signed_headers *h)
{
    h->count = 0;
    for (size_t i = 0; i < r->headers_count; i++)
        h->items[h->count++] = r->headers[i];
    add(h, "host", r->host);
    add(h, "x-amz-date", mr_str_c(w->time));
    if (is_s3(r))
        add(h, "x-amz-content-sha256", r->payload_sha256);
    if (keys->session_token.n)
        add(h, "x-amz-security-token", keys->session_token);
    sort(h);
}

static void put_line(const char *name, struct mr_str value, struct mr_buf *out)
{
    mr_buf_printf(out, "%s: ", name);
    mr_buf_put(out, value.p, value.n);
    mr_buf_puts(out, "\r\n");
}

enum mr_code mr_sigv4_sign(const struct mr_sigv4_request *r, const struct mr_sigv4_keys *keys, int64_t now_us, struct mr_buf *target,
                           struct mr_buf *headers, struct mr_err *err)
{
    struct signed_headers h;
    struct when w;
    struct mr_buf canonical, text;
    if (check(r, keys, err) != MR_OK)
        return err->code;
    when_of(now_us, &w);
    gather(r, keys, &w, &h);
    size_t start = target->n;
    mr_uri_encode(r->path, true, target);
    size_t path_n = target->n - start;
    if (r->query_count) {
        mr_buf_putc(target, '?');
        put_query(r, target);
    }
    size_t query_at = start + path_n + (r->query_count > 0);
    mr_buf_init(&canonical, TEXT_MAX);
    mr_buf_init(&text, TEXT_MAX);
    put_canonical(r, (struct mr_str){target->p + start, path_n}, (struct mr_str){target->p + query_at, target->n - query_at}, &h, &canonical);
    mr_buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n", w.time);
    put_scope(r, &w, &text);
    mr_buf_putc(&text, '\n');
    put_hash(mr_buf_str(&canonical), &text);
    put_line("X-Amz-Date", mr_str_c(w.time), headers);
    if (is_s3(r))
        put_line("X-Amz-Content-Sha256", r->payload_sha256, headers);
    if (keys->session_token.n)
        put_line("X-Amz-Security-Token", keys->session_token, headers);
    mr_buf_printf(headers, "Authorization: AWS4-HMAC-SHA256 Credential=%.*s/", (int)keys->access_key.n, keys->access_key.p);
    put_scope(r, &w, headers);
    mr_buf_puts(headers, ", SignedHeaders=");
    put_names(&h, headers);
    mr_buf_puts(headers, ", Signature=");
    signature(r, keys, &w, mr_buf_str(&text), headers);
    mr_buf_puts(headers, "\r\n");
    bool failed = canonical.failed || text.failed || target->failed || headers->failed;
    mr_buf_free(&canonical);
    mr_buf_free(&text);
    return failed ? mr_err_set(err, MR_ETOOBIG, "a request longer than any") : MR_OK;
}
