/* SPDX-License-Identifier: Apache-2.0 */
/* exchange.c - one request of the client: its options for libcurl, what comes back, and what became of it. */
#include "client_inside.h"

#include "millrace/address.h"

#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>

enum { CONNECT_MS = 10000, STALL_MS = 30000, TOTAL_MS = 5 * 60000, BODY_MAX = 64 << 20, RATIO_MAX = 200, RATIO_FROM = 1 << 20, HOPS_MAX = 5 };

static const int64_t LAST_SECOND = INT64_C(253402300799); /* of the year 9999 */

static const struct {
    const char *name, *text;
    enum mr_code code;
} causes[MR_CLIENT_CAUSES] = {
    [MR_CLIENT_OK] = {"ok", "", MR_OK},
    [MR_CLIENT_RESOLVE] = {"resolve", "the name has no address", MR_ENET},
    [MR_CLIENT_CONNECT] = {"connect", "no connection", MR_ENET},
    [MR_CLIENT_TLS] = {"tls", "no TLS", MR_ENET},
    [MR_CLIENT_TIMEOUT] = {"timeout", "no answer in time", MR_ETIMEDOUT},
    [MR_CLIENT_BROKEN] = {"broken", "the connection ended before the answer was whole", MR_ENET},
    [MR_CLIENT_MALFORMED] = {"malformed", "the answer is not HTTP", MR_ENET},
    [MR_CLIENT_TOO_BIG] = {"too_big", "the answer is larger than it may be", MR_ETOOBIG},
    [MR_CLIENT_REFUSED] = {"refused", "it may not be asked", MR_EPERM},
    [MR_CLIENT_CANCELED] = {"canceled", "stopping", MR_ECANCELED},
    [MR_CLIENT_NO_MEMORY] = {"no_memory", "libcurl has no memory", MR_ENOMEM},
};

const char *mr_client_cause_name(enum mr_client_cause cause)
{
    return causes[cause].name;
}

/* ---- what comes ---- */

static struct mr_str trim(struct mr_str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = (struct mr_str){s.p + 1, s.n - 1};
    while (s.n && strchr(" \t\r\n", s.p[s.n - 1]))
        s.n--;
    return s;
}

static size_t cut_headers(struct mr_str text, struct mr_header headers[CLIENT_HEADERS_MAX])
{
    size_t count = 0;
    while (text.n && count < CLIENT_HEADERS_MAX) {
        const char *end = memchr(text.p, '\n', text.n);
        struct mr_str line = {text.p, end ? (size_t)(end - text.p) : text.n};
        text = (struct mr_str){text.p + line.n + (end != NULL), text.n - line.n - (end != NULL)};
        const char *colon = line.n ? memchr(line.p, ':', line.n) : NULL;
        if (!colon || line.p[0] == ' ' || line.p[0] == '\t')
            continue;
        struct mr_str name = {line.p, (size_t)(colon - line.p)};
        headers[count++] = (struct mr_header){name, trim((struct mr_str){colon + 1, line.n - name.n - 1})};
    }
    return count;
}

static int64_t date_of(const struct mr_header *headers, size_t count)
{
    char text[64];
    for (size_t i = 0; i < count; i++) {
        struct mr_str name = headers[i].name, value = headers[i].value;
        if (name.n != 4 || strncasecmp(name.p, "date", 4) != 0 || value.n >= sizeof text)
            continue;
        memcpy(text, value.p, value.n);
        text[value.n] = 0;
        time_t t = curl_getdate(text, NULL);
        return t > 0 && t <= LAST_SECOND ? (int64_t)t * 1000000 : 0;
    }
    return 0;
}

static bool is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool fails(struct mr_flight *f, enum mr_client_cause cause)
{
    f->failed = cause;
    return false;
}

/* The empty line: a head is whole. */
static bool head_ends(struct mr_flight *f)
{
    struct mr_header headers[CLIENT_HEADERS_MAX];
    struct mr_exchange *x = f->x;
    long status = 0;
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200)
        return true; /* the real one follows */
    f->told = true;
    if (f->head.failed)
        return fails(f, MR_CLIENT_TOO_BIG);
    size_t count = cut_headers(mr_buf_str(&f->head), headers);
    if (count == CLIENT_HEADERS_MAX)
        return fails(f, MR_CLIENT_TOO_BIG);
    f->date_us = date_of(headers, count);
    f->redirects = f->skipping = x->follow && is_redirect(status);
    if (x->on_head && !f->skipping)
        x->on_head(x, &(struct mr_response_head){(int)status, headers, count});
    return f->x;
}

static size_t on_header(char *p, size_t one, size_t n, void *arg)
{
    struct mr_flight *f = arg;
    (void)one;
    if (!f->x)
        return 0;
    if (n >= 5 && memcmp(p, "HTTP/", 5) == 0) { /* a status line: what was before was another head */
        mr_buf_clear(&f->head);
        f->told = f->skipping = f->redirects = false;
        return n;
    }
    if (f->told) /* a trailer */
        return n;
    if (n <= 2 && (p[0] == '\r' || p[0] == '\n'))
        return head_ends(f) ? n : 0;
    mr_buf_put(&f->head, p, n);
    return f->head.failed && !fails(f, MR_CLIENT_TOO_BIG) ? 0 : n;
}

static bool is_too_big(const struct mr_flight *f, size_t received)
{
    const struct mr_exchange *x = f->x;
    curl_off_t wire = 0;
    if (received > (x->body_max ? x->body_max : (size_t)BODY_MAX))
        return true;
    if (!x->gzip || received < RATIO_FROM)
        return false;
    curl_easy_getinfo(f->curl, CURLINFO_SIZE_DOWNLOAD_T, &wire);
    return received / (x->ratio_max ? x->ratio_max : RATIO_MAX) > (size_t)wire;
}

static size_t on_body(char *p, size_t one, size_t n, void *arg)
{
    struct mr_flight *f = arg;
    (void)one;
    if (!f->x)
        return 0;
    if (f->skipping)
        return n;
    if (is_too_big(f, f->received + n))
        return fails(f, MR_CLIENT_TOO_BIG);
    if (f->x->on_bytes && !f->x->on_bytes(f->x, (struct mr_str){p, n})) {
        f->paused = f->x != NULL;
        return f->x ? CURL_WRITEFUNC_PAUSE : 0;
    }
    f->received += n;
    return f->x ? n : 0;
}

/* A connection is there, and the request is about to leave on it. */
static int on_request(void *arg, char *to, char *from, int to_port, int from_port)
{
    struct mr_flight *f = arg;
    (void)to, (void)from, (void)to_port, (void)from_port;
    f->repeated |= f->asked;
    f->asked = true;
    return CURL_PREREQFUNC_OK;
}

/* The address that is about to be connected to, not one that a name had a moment ago. */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct mr_flight *f = arg;
    (void)purpose;
    if (f->x && f->x->public_only && !f->x->connect_to && !mr_address_is_public(&address->addr)) {
        f->failed = MR_CLIENT_REFUSED;
        snprintf(f->why, sizeof f->why, "its address is not public");
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- what is asked ---- */

static bool has_line_break(struct mr_str s)
{
    return s.n && (memchr(s.p, '\r', s.n) || memchr(s.p, '\n', s.n) || memchr(s.p, 0, s.n));
}

static bool add_line(struct mr_flight *f, const char *line)
{
    struct curl_slist *more = curl_slist_append(f->headers, line);
    if (more)
        f->headers = more;
    return more;
}

static bool is_named(const struct mr_exchange *x, const char *name)
{
    for (size_t i = 0; i < x->headers_count; i++)
        if (x->headers[i].name.n == strlen(name) && strncasecmp(x->headers[i].name.p, name, strlen(name)) == 0)
            return true;
    return false;
}

static bool put_headers(struct mr_flight *f)
{
    const struct mr_exchange *x = f->x;
    struct mr_buf line;
    bool ok = true;
    mr_buf_init(&line, 1 << 20);
    for (size_t i = 0; i < x->headers_count && ok; i++) {
        const struct mr_header *h = &x->headers[i];
        if (has_line_break(h->name) || has_line_break(h->value)) {
            snprintf(f->why, sizeof f->why, "a line break in header %zu", i + 1);
            ok = fails(f, MR_CLIENT_REFUSED);
            break;
        }
        mr_buf_clear(&line);
        mr_buf_put(&line, h->name.p, h->name.n);
        mr_buf_puts(&line, h->value.n ? ": " : ";"); /* libcurl's way to write one without a value */
        mr_buf_put(&line, h->value.p, h->value.n);
        ok = add_line(f, mr_buf_cstr(&line));
    }
    mr_buf_free(&line);
    /* libcurl's own ideas: an extra round trip, and a type that is a guess */
    return ok && add_line(f, "Expect:") && (is_named(x, "content-type") || add_line(f, "Content-Type:"));
}

static bool is_method(const struct mr_exchange *x, const char *name)
{
    return mr_str_eq(x->method, mr_str_c(name));
}

#define SET(option, value) (rc = rc == CURLE_OK ? curl_easy_setopt(f->curl, option, value) : rc)

static CURLcode set_method(struct mr_flight *f)
{
    const struct mr_exchange *x = f->x;
    CURLcode rc = CURLE_OK;
    char method[32];
    snprintf(method, sizeof method, "%.*s", (int)x->method.n, x->method.p);
    if (is_method(x, "HEAD")) {
        SET(CURLOPT_NOBODY, 1L);
    } else if (x->body.n || is_method(x, "POST") || is_method(x, "PUT") || is_method(x, "PATCH")) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->body.n);
        SET(CURLOPT_POSTFIELDS, x->body.n ? x->body.p : "");
    } else {
        SET(CURLOPT_HTTPGET, 1L);
    }
    if (!is_method(x, "HEAD"))
        SET(CURLOPT_CUSTOMREQUEST, method);
    return rc;
}

static CURLcode set_url(struct mr_flight *f, const char *url)
{
    CURLcode rc = CURLE_OK;
    SET(CURLOPT_URL, url);
    SET(CURLOPT_PROTOCOLS_STR, strncmp(url, "http://", 7) == 0 ? "http" : "https");
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_PATH_AS_IS, 1L); /* a signature may be over it, dots and all */
    return rc;
}

static long or_default(int64_t ms, int64_t otherwise)
{
    return (long)(ms ? ms : otherwise);
}

static CURLcode set_bounds(struct mr_flight *f)
{
    const struct mr_exchange *x = f->x;
    CURLcode rc = CURLE_OK;
    SET(CURLOPT_CONNECTTIMEOUT_MS, or_default(x->connect_ms, CONNECT_MS));
    SET(CURLOPT_TIMEOUT_MS, or_default(x->total_ms, TOTAL_MS));
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, (or_default(x->stall_ms, STALL_MS) + 999) / 1000);
    if (!is_method(x, "HEAD")) /* it may tell of any length */
        SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)(x->body_max ? x->body_max : (size_t)BODY_MAX));
    SET(CURLOPT_QUICK_EXIT, 1L); /* a look-up that hangs is left behind, not joined: that would stop the loop */
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_FOLLOWLOCATION, 0L); /* libcurl would take headers of the caller's to other hosts */
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_PROXY, f->client->proxy && !x->direct ? f->client->proxy : "");
    SET(CURLOPT_NOPROXY, f->client->no_proxy ? f->client->no_proxy : "");
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    return rc;
}

static CURLcode on_ssl(CURL *curl, void *ssl_ctx, void *arg)
{
    struct mr_flight *f = arg;
    (void)curl;
    if (trust_state(f->client->trust) != TRUST_READY)
        return CURLE_SSL_CACERT_BADFILE;
    trust_use(f->client->trust, ssl_ctx);
    return CURLE_OK;
}

static CURLcode set_tls(struct mr_flight *f)
{
    const struct mr_exchange *x = f->x;
    CURLcode rc = CURLE_OK;
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_HTTP_VERSION, (long)(x->http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    SET(CURLOPT_CAPATH, NULL);
    SET(CURLOPT_CAINFO, x->ca); /* NULL: on_ssl() brings the system's */
    if (!x->ca) {
        SET(CURLOPT_SSL_CTX_FUNCTION, on_ssl);
        SET(CURLOPT_SSL_CTX_DATA, (void *)f);
    }
    if (x->cert)
        SET(CURLOPT_SSLCERT, x->cert);
    if (x->key)
        SET(CURLOPT_SSLKEY, x->key);
    return rc;
}

static CURLcode set_callbacks(struct mr_flight *f)
{
    CURLcode rc = CURLE_OK;
    SET(CURLOPT_PRIVATE, (void *)f);
    SET(CURLOPT_ERRORBUFFER, f->why);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, (void *)f);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, (void *)f);
    SET(CURLOPT_PREREQFUNCTION, on_request);
    SET(CURLOPT_PREREQDATA, (void *)f);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
    SET(CURLOPT_OPENSOCKETDATA, (void *)f);
    return rc;
}

static CURLcode set_rest(struct mr_flight *f)
{
    const struct mr_exchange *x = f->x;
    CURLcode rc = CURLE_OK;
    char to[512];
    SET(CURLOPT_USERAGENT, "millrace/" MR_VERSION);
    SET(CURLOPT_HTTPHEADER, f->headers);
    if (x->gzip)
        SET(CURLOPT_ACCEPT_ENCODING, "gzip");
    if (x->connect_to) {
        snprintf(to, sizeof to, "::%s", x->connect_to);
        f->to = curl_slist_append(NULL, to);
        SET(CURLOPT_CONNECT_TO, f->to);
    }
    return rc;
}

static bool is_url(struct mr_str url)
{
    return !has_line_break(url) && ((url.n > 8 && memcmp(url.p, "https://", 8) == 0) || (url.n > 7 && memcmp(url.p, "http://", 7) == 0));
}

bool flight_set_up(struct mr_flight *f)
{
    struct mr_buf url;
    if (!is_url(f->x->url) || has_line_break(f->x->method)) {
        snprintf(f->why, sizeof f->why, "no http or https URL");
        return fails(f, MR_CLIENT_REFUSED);
    }
    f->curl = curl_easy_init();
    if (!f->curl || !put_headers(f))
        return fails(f, f->failed ? f->failed : MR_CLIENT_NO_MEMORY);
    mr_buf_init(&url, f->x->url.n + 1);
    mr_buf_put(&url, f->x->url.p, f->x->url.n);
    bool ok = set_callbacks(f) == CURLE_OK && set_bounds(f) == CURLE_OK && set_tls(f) == CURLE_OK && set_method(f) == CURLE_OK &&
              set_rest(f) == CURLE_OK && set_url(f, mr_buf_cstr(&url)) == CURLE_OK;
    mr_buf_free(&url);
    return ok || fails(f, MR_CLIENT_NO_MEMORY);
}

void flight_free(struct mr_flight *f)
{
    curl_easy_cleanup(f->curl);
    curl_slist_free_all(f->headers);
    curl_slist_free_all(f->to);
    mr_buf_free(&f->head);
    free(f);
}

/* ---- redirects ---- */

static bool same_part(CURLU *a, CURLU *b, CURLUPart part)
{
    char *x = NULL, *y = NULL;
    bool same = curl_url_get(a, part, &x, CURLU_DEFAULT_PORT) == CURLUE_OK && curl_url_get(b, part, &y, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                strcasecmp(x, y) == 0;
    curl_free(x);
    curl_free(y);
    return same;
}

static bool same_origin(const char *from, const char *to)
{
    CURLU *a = curl_url(), *b = curl_url();
    bool same = a && b && curl_url_set(a, CURLUPART_URL, from, 0) == CURLUE_OK && curl_url_set(b, CURLUPART_URL, to, 0) == CURLUE_OK &&
                same_part(a, b, CURLUPART_SCHEME) && same_part(a, b, CURLUPART_HOST) && same_part(a, b, CURLUPART_PORT);
    curl_url_cleanup(a);
    curl_url_cleanup(b);
    return same;
}

static bool stays(struct mr_flight *f, const char *why)
{
    snprintf(f->why, sizeof f->why, "%s", why);
    return fails(f, MR_CLIENT_REFUSED);
}

bool flight_goes_on(struct mr_flight *f)
{
    char *to = NULL, *from = NULL;
    curl_easy_getinfo(f->curl, CURLINFO_REDIRECT_URL, &to);
    curl_easy_getinfo(f->curl, CURLINFO_EFFECTIVE_URL, &from);
    if (!is_method(f->x, "GET") && !is_method(f->x, "HEAD"))
        return stays(f, "a redirect of a request that is no GET");
    if (!to || !from)
        return stays(f, "a redirect to nowhere");
    if (f->hops++ == HOPS_MAX)
        return stays(f, "more redirects than five");
    if (!same_origin(from, to))
        return stays(f, "a redirect to another scheme, host or port");
    struct mr_buf url; /* libcurl's text does not outlive the next option */
    mr_buf_init(&url, 1 << 16);
    mr_buf_puts(&url, to);
    bool ok = !url.failed && set_url(f, mr_buf_cstr(&url)) == CURLE_OK;
    mr_buf_free(&url);
    f->redirects = f->skipping = f->told = f->asked = false;
    return ok || fails(f, MR_CLIENT_NO_MEMORY);
}

/* ---- what became of it ---- */

static enum mr_client_cause cause_of(CURLcode rc)
{
    switch (rc) {
    case CURLE_OK:
        return MR_CLIENT_OK;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return MR_CLIENT_RESOLVE;
    case CURLE_COULDNT_CONNECT:
        return MR_CLIENT_CONNECT;
    case CURLE_OPERATION_TIMEDOUT:
        return MR_CLIENT_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_ENGINE_INITFAILED:
        return MR_CLIENT_TLS;
    case CURLE_OUT_OF_MEMORY:
        return MR_CLIENT_NO_MEMORY;
    case CURLE_FILESIZE_EXCEEDED:
        return MR_CLIENT_TOO_BIG;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_LOGIN_DENIED:
        return MR_CLIENT_REFUSED;
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_WEIRD_SERVER_REPLY:
        return MR_CLIENT_MALFORMED;
    default:
        return MR_CLIENT_BROKEN;
    }
}

/* Scheme, host and path: a query may hold a token; and so may a path. */
static struct mr_str shown_url(const struct mr_exchange *x)
{
    const size_t host = 8; /* behind the slashes of https://; in that of http:// */
    size_t n = 0;
    while (n < x->url.n && n < 200 && x->url.p[n] && !strchr("?#", x->url.p[n]) && !(x->secret_path && n >= host && x->url.p[n] == '/'))
        n++;
    return (struct mr_str){x->url.p, n};
}

static void tell(const struct mr_flight *f, CURLcode rc, struct mr_exchange_end *end)
{
    const char *why = f->why[0] ? f->why : rc != CURLE_OK && !f->failed ? curl_easy_strerror(rc) : causes[end->cause].text;
    struct mr_str url = shown_url(f->x);
    if (rc == CURLE_SSL_CACERT_BADFILE && !f->failed)
        why = "no CA bundle: install ca-certificates, or name a file of trusted CAs";
    mr_err_set(&end->err, causes[end->cause].code, "%.*s: %s", (int)url.n, url.p, why);
}

void flight_judge(struct mr_flight *f, CURLcode rc, struct mr_exchange_end *end)
{
    long status = 0, bytes = 0;
    curl_off_t connect_us = 0, first_us = 0, total_us = 0;
    if (f->curl) {
        curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(f->curl, CURLINFO_REQUEST_SIZE, &bytes);
        curl_easy_getinfo(f->curl, CURLINFO_CONNECT_TIME_T, &connect_us);
        curl_easy_getinfo(f->curl, CURLINFO_STARTTRANSFER_TIME_T, &first_us);
        curl_easy_getinfo(f->curl, CURLINFO_TOTAL_TIME_T, &total_us);
    }
    enum mr_client_cause cause = f->failed ? f->failed : cause_of(rc);
    if (rc == CURLE_UNSUPPORTED_PROTOCOL && bytes > 0) /* HTTP/0.9: no head at all */
        cause = MR_CLIENT_MALFORMED;
    if (cause == MR_CLIENT_OK && !f->told) /* a connection that ends within the head is fine with libcurl */
        cause = MR_CLIENT_BROKEN;
    *end = (struct mr_exchange_end){.cause = cause, .status = (int)status, .sent = bytes > 0, .repeated = f->repeated, .date_us = f->date_us,
                                    .connect_us = connect_us, .first_byte_us = first_us, .total_us = total_us};
    if (end->cause != MR_CLIENT_OK && f->x)
        tell(f, rc, end);
}
