/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_parse.h"

#include <assert.h>
#include <ctype.h>
#include <strings.h>

enum {
    REQUEST_LINE_MAX = 8192, /* 414 above it: no vendor's callback URL comes near, proxies stop at the same size */
    FRAMING_FREE =
        16 * 1024, /* chunk extensions and trailers (both dropped) that cost nothing; above it they must carry body */
    FRAMING_PER_BYTE = 8, /* "1\r\nX\r\n" is 5 bytes of framing for one of body */
    BODY_MOST = 1 << 30,  /* offsets have 32 bits */
};

static bool refuse(struct mr_parse *p, enum mr_http_cause cause)
{
    p->cause = cause;
    return false;
}

/* ---- llhttp ---- */

static struct mr_parse *of(llhttp_t *l)
{
    return MR_OF(l, struct mr_parse, llhttp);
}

static int on_headers_complete(llhttp_t *l)
{
    (void)l;
    return HPE_PAUSED; /* the handler is asked outside of llhttp */
}

static int stop(struct mr_parse *p, enum mr_http_cause cause)
{
    p->cause = cause;
    return HPE_USER;
}

static int on_chunk_header(llhttp_t *l)
{
    struct mr_parse *p = of(l);
    if (l->content_length > p->body_limit - p->body_n) /* before a byte of it is read */
        return stop(p, MR_CAUSE_BODY_SIZE);
    return 0;
}

static bool framing_is_too_much(const struct mr_parse *p, uint64_t framing)
{
    return framing > FRAMING_FREE + FRAMING_PER_BYTE * p->body_n;
}

/* Judged at the first byte of body after it, and at the end of what is here: that cannot come out differently for
 * another cut of the same bytes, since until then framing only grows and body does not. */
static int on_body(llhttp_t *l, const char *at, size_t n)
{
    struct mr_parse *p = of(l);
    uint64_t wire = p->framing + (uint64_t)(at - (p->base + p->fed));
    if (framing_is_too_much(p, wire))
        return stop(p, MR_CAUSE_CHUNKS);
    if (n > p->body_limit - p->body_n)
        return stop(p, MR_CAUSE_BODY_SIZE);
    memmove(p->base + p->head_n + p->body_n, at, n); /* only ever towards the front, behind what llhttp reads next */
    p->body_n += n;
    p->framing -= n; /* wraps; made good by adding all bytes that were fed */
    return 0;
}

/* Trailers are dropped, but a line without a name is none; llhttp lets it pass. */
static int on_trailer_name(llhttp_t *l, const char *at, size_t n)
{
    (void)at;
    of(l)->trailer_named |= n > 0;
    return 0;
}

static int on_trailer_name_complete(llhttp_t *l)
{
    struct mr_parse *p = of(l);
    if (!p->trailer_named)
        return stop(p, MR_CAUSE_MALFORMED);
    p->trailer_named = false;
    return 0;
}

static int on_message_complete(llhttp_t *l)
{
    (void)l;
    return HPE_PAUSED;
}

static const llhttp_settings_t head_settings = {
    .on_headers_complete = on_headers_complete,
};
static const llhttp_settings_t chunk_settings = {
    /* the head pays for no callback that it does not need */
    .on_chunk_header = on_chunk_header,
    .on_body = on_body,
    .on_header_field = on_trailer_name,
    .on_header_field_complete = on_trailer_name_complete,
    .on_message_complete = on_message_complete,
};

void mr_parse_start(struct mr_parse *p)
{
    memset(p, 0, sizeof *p);
    p->content_length = -1;
    llhttp_init(&p->llhttp, HTTP_REQUEST, &head_settings);
}

/* ---- our own scan of the lines ---- */

static bool is_token(unsigned char c)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c != 0 && strchr(others, c));
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool same(struct mr_str s, struct mr_str lower)
{
    return s.n == lower.n && strncasecmp(s.p, lower.p, s.n) == 0;
}

static bool starts(struct mr_str s, struct mr_str lower)
{
    return s.n >= lower.n && strncasecmp(s.p, lower.p, lower.n) == 0;
}

static bool judge_version(struct mr_parse *p, struct mr_str v)
{
    if (v.n != 8 || memcmp(v.p, "HTTP/", 5) != 0 || v.p[6] != '.')
        return refuse(p, MR_CAUSE_MALFORMED);
    if (v.p[5] != '1' || (v.p[7] != '0' && v.p[7] != '1'))
        return refuse(p, MR_CAUSE_VERSION);
    p->http10 = v.p[7] == '0';
    return true;
}

/* Bytes of a host's name that begin here as one: RFC 3986 3.2.2 without the comma, by which somebody before us may have
 * joined two Hosts. 0: none. */
static size_t name_step(struct mr_str s)
{
    unsigned char c = (unsigned char)s.p[0];
    if (c == '%')
        return s.n >= 3 && isxdigit((unsigned char)s.p[1]) && isxdigit((unsigned char)s.p[2]) ? 3 : 0;
    return is_token(c) ? strchr("#^`|", c) == NULL : c != 0 && strchr("()=;", c) != NULL;
}

/* Behind "[": up to the bracket that closes an address. 0: there is none. */
static size_t address_n(struct mr_str s)
{
    size_t i = 1;
    while (i < s.n && (isalnum((unsigned char)s.p[i]) || (s.p[i] != 0 && strchr(":.-_~%", s.p[i]))))
        i++;
    return i > 1 && i < s.n && s.p[i] == ']' ? i + 1 : 0;
}

/* host [":" *DIGIT], RFC 3986 3.2; no user. The host may be empty. */
static bool authority_is_sane(struct mr_str v)
{
    size_t i = 0;
    if (v.n > 0 && v.p[0] == '[') {
        i = address_n(v);
        if (i == 0)
            return false;
    }
    while (i < v.n && v.p[i] != ':') {
        size_t step = v.p[0] == '[' ? 0 : name_step((struct mr_str){v.p + i, v.n - i});
        if (step == 0)
            return false;
        i += step;
    }
    i += i < v.n;
    while (i < v.n && isdigit((unsigned char)v.p[i]))
        i++;
    return i == v.n;
}

/* The absolute form without its scheme: RFC 9110 4.2.1 has its empty host rejected. */
static bool names_a_host(struct mr_str rest)
{
    struct mr_str authority = {rest.p, 0};
    while (authority.n < rest.n && rest.p[authority.n] != '/' && rest.p[authority.n] != '?')
        authority.n++;
    return authority.n > 0 && authority.p[0] != ':' && authority_is_sane(authority);
}

static size_t scheme_n(struct mr_str target)
{
    if (starts(target, MR_STR("http://")))
        return sizeof "http://" - 1;
    return starts(target, MR_STR("https://")) ? sizeof "https://" - 1 : 0;
}

static bool judge_target(struct mr_parse *p, struct mr_str target)
{
    if (target.n == 0 || memchr(target.p, '#', target.n))
        return refuse(p, MR_CAUSE_MALFORMED);
    if (target.p[0] == '/' || (target.n == 1 && target.p[0] == '*' && p->is_options))
        return true;
    size_t scheme = scheme_n(target);
    if (scheme > 0 && names_a_host((struct mr_str){target.p + scheme, target.n - scheme}))
        return true;
    return refuse(p, MR_CAUSE_MALFORMED);
}

/* `line` without its CRLF. */
static bool judge_request_line(struct mr_parse *p, const char *base, struct mr_str line)
{
    const char *blank = memchr(line.p, ' ', line.n);
    struct mr_str method = {line.p, blank ? (size_t)(blank - line.p) : line.n};
    for (size_t i = 0; i < method.n; i++) {
        if (!is_token((unsigned char)method.p[i]))
            return refuse(p, MR_CAUSE_MALFORMED);
    }
    if (!blank || method.n > 32)
        return refuse(p, blank ? MR_CAUSE_METHOD : MR_CAUSE_MALFORMED);
    struct mr_str rest = {blank + 1, line.n - method.n - 1};
    blank = memchr(rest.p, ' ', rest.n);
    if (!blank) /* HTTP/0.9: the target ends the line */
        return refuse(p, rest.n > 0 ? MR_CAUSE_VERSION : MR_CAUSE_MALFORMED);
    struct mr_str target = {rest.p, (size_t)(blank - rest.p)};
    if (!judge_version(p, (struct mr_str){blank + 1, rest.n - target.n - 1}))
        return false;
    if (mr_str_eq(method, MR_STR("CONNECT")) || mr_str_eq(method, MR_STR("TRACE")))
        return refuse(p, MR_CAUSE_METHOD);
    p->is_head = mr_str_eq(method, MR_STR("HEAD"));
    p->is_options = mr_str_eq(method, MR_STR("OPTIONS"));
    p->method_n = (uint16_t)method.n;
    p->target = (uint32_t)(target.p - base);
    p->target_n = (uint32_t)target.n;
    return judge_target(p, target);
}

static bool judge_known_header(struct mr_parse *p, struct mr_str name, struct mr_str value)
{
    switch (name.n) {
    case 4:
        if (same(name, MR_STR("host")) && (p->hosts++ > 0 || !authority_is_sane(value)))
            return refuse(p, MR_CAUSE_HOST);
        break;
    case 6:
        if (same(name, MR_STR("expect"))) {
            if (!same(value, MR_STR("100-continue")))
                return refuse(p, MR_CAUSE_EXPECT);
            p->continues = true;
        }
        break;
    case 14:
        if (same(name, MR_STR("content-length")) && p->lengths++ > 0)
            return refuse(p, MR_CAUSE_FRAMING);
        break;
    case 17:
        if (same(name, MR_STR("transfer-encoding"))) {
            if (p->codings++ > 0 || p->http10) /* 1.0 knows no chunks: whoever passes them on reads another length */
                return refuse(p, MR_CAUSE_FRAMING);
            p->coding_ok = same(value, MR_STR("chunked"));
        }
        break;
    default:
        break;
    }
    return true;
}

static struct mr_header cut_header(struct mr_str line, const char *colon)
{
    const char *v = colon + 1, *end = line.p + line.n;
    while (v < end && is_blank(*v))
        v++;
    while (end > v && is_blank(end[-1]))
        end--;
    return (struct mr_header){{line.p, (size_t)(colon - line.p)}, {v, (size_t)(end - v)}};
}

/* White space behind a value is none of it (RFC 9110 5.5), but llhttp refuses a tab behind a length or a coding. */
static void blanks_for_tabs(char *from, const char *end)
{
    for (; from < end; from++)
        *from = ' ';
}

static bool judge_header_line(struct mr_parse *p, char *text, size_t n, const struct mr_http_limits *limits,
                              struct mr_parse_table *table)
{
    struct mr_str line = {text, n};
    if (is_blank(line.p[0])) /* obs-fold: two readers may see two different values */
        return refuse(p, MR_CAUSE_MALFORMED);
    const char *colon = memchr(line.p, ':', line.n);
    if (!colon || colon == line.p || is_blank(colon[-1]))
        return refuse(p, MR_CAUSE_MALFORMED);
    if (p->headers >= limits->header_count || p->headers >= table->room)
        return refuse(p, MR_CAUSE_HEADER_COUNT);
    struct mr_header h = cut_header(line, colon);
    table->at[p->headers++] = h;
    blanks_for_tabs(text + (h.value.p + h.value.n - line.p), line.p + line.n);
    return judge_known_header(p, h.name, h.value);
}

/* A line that has not ended yet: enough of it to refuse? */
static bool judge_unended(struct mr_parse *p, size_t n, const struct mr_http_limits *limits)
{
    if (p->line == 0 && n > REQUEST_LINE_MAX)
        return refuse(p, MR_CAUSE_TARGET_SIZE);
    if (n >= limits->header_bytes)
        return refuse(p, p->line == 0 ? MR_CAUSE_TARGET_SIZE : MR_CAUSE_HEADER_SIZE);
    return true;
}

/* Judges whole lines from p->line on. Returns where the judged ones end; *done: the empty line was among them. */
static size_t judge_lines(struct mr_parse *p, char *base, size_t n, const struct mr_http_limits *limits,
                          struct mr_parse_table *table, bool *done)
{
    size_t at = p->line, most = n < limits->header_bytes ? n : limits->header_bytes, from = p->seen;
    *done = false;
    while (true) {
        if (from < at)
            from = at;
        const char *lf = from < most ? memchr(base + from, '\n', most - from) : NULL;
        if (!lf) {
            p->line = (uint32_t)at; /* judge_unended asks whether this is still the first */
            p->seen = (uint32_t)most;
            judge_unended(p, n, limits);
            return at;
        }
        size_t line_n = (size_t)(lf - (base + at));
        if (at == 0 && line_n + 1 > REQUEST_LINE_MAX) {
            refuse(p, MR_CAUSE_TARGET_SIZE);
            return at;
        }
        if (line_n == 0 || lf[-1] != '\r') {
            refuse(p, MR_CAUSE_MALFORMED);
            return at;
        }
        struct mr_str line = {base + at, line_n - 1};
        bool first = at == 0;
        if (!first && line.n == 0) {
            *done = true;
            return at + 2;
        }
        if (!(first ? judge_request_line(p, base, line) : judge_header_line(p, base + at, line.n, limits, table)))
            return at;
        at += line_n + 1;
    }
}

static enum mr_http_cause cause_of(const llhttp_t *l)
{
    switch (llhttp_get_errno(l)) {
    case HPE_INVALID_METHOD:
        return MR_CAUSE_METHOD;
    case HPE_INVALID_VERSION:
        return MR_CAUSE_VERSION;
    case HPE_UNEXPECTED_CONTENT_LENGTH:
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_INVALID_TRANSFER_ENCODING:
        return MR_CAUSE_FRAMING;
    default:
        return MR_CAUSE_MALFORMED;
    }
}

/* What only the whole head can tell. */
static bool judge_head(struct mr_parse *p)
{
    if (p->hosts == 0 && !p->http10)
        return refuse(p, MR_CAUSE_HOST);
    p->chunked = (p->llhttp.flags & F_CHUNKED) != 0;
    bool length = (p->llhttp.flags & F_CONTENT_LENGTH) != 0;
    if (length != (p->lengths > 0) || (p->codings > 0 && length))
        return refuse(p, MR_CAUSE_FRAMING);
    if (p->codings > 0 && !p->coding_ok) /* without chunks at its end a body has no end that all agree on */
        return refuse(p, p->chunked ? MR_CAUSE_CODING : MR_CAUSE_FRAMING);
    if (p->chunked != (p->codings > 0))
        return refuse(p, MR_CAUSE_FRAMING);
    if (length && p->llhttp.content_length > INT64_MAX)
        return refuse(p, MR_CAUSE_BODY_SIZE);
    p->content_length = length ? (int64_t)p->llhttp.content_length : -1;
    /* llhttp has "keep-alive, close" of HTTP/1.0 kept; close wins (RFC 9112 9.3) */
    p->keep_alive = llhttp_should_keep_alive(&p->llhttp) != 0 && (p->llhttp.flags & F_CONNECTION_CLOSE) == 0;
    return true;
}

static enum mr_parse_step feed_lines(struct mr_parse *p, char *base, size_t n, const struct mr_http_limits *limits,
                                     struct mr_parse_table *table)
{
    if (n > 0 && p->line == 0 && !is_token((unsigned char)base[0])) { /* TLS, mostly: its sender waits for an answer */
        p->cause = MR_CAUSE_MALFORMED;
        return MR_PARSE_REFUSED;
    }
    if (p->line == 0) {
        table->of = p;
        table->base = base;
    } else if (table->of != p || table->base != base) {
        table->of = NULL; /* what is written now is only a part: to be made again when the head is whole */
    }
    bool done;
    size_t began = p->line, at = judge_lines(p, base, n, limits, table, &done);
    enum mr_http_cause ours = p->cause;
    /* llhttp first: a line that it refuses came before the line that we refuse */
    llhttp_errno_t rc = at > began ? llhttp_execute(&p->llhttp, base + began, at - began) : HPE_OK;
    if (rc != (done ? HPE_PAUSED : HPE_OK)) {
        p->cause = rc == HPE_OK || rc == HPE_PAUSED ? MR_CAUSE_MALFORMED : cause_of(&p->llhttp);
        return MR_PARSE_REFUSED;
    }
    p->line = (uint32_t)at;
    if (ours != MR_CAUSE_NONE)
        return MR_PARSE_REFUSED;
    if (!done)
        return MR_PARSE_MORE;
    if (llhttp_get_error_pos(&p->llhttp) != base + at) { /* the two readers do not agree where the head ends */
        p->cause = MR_CAUSE_MALFORMED;
        return MR_PARSE_REFUSED;
    }
    p->head_n = (uint32_t)at;
    return judge_head(p) ? MR_PARSE_HEAD : MR_PARSE_REFUSED;
}

/* ---- the body ---- */

bool mr_parse_body(struct mr_parse *p, size_t limit)
{
    p->body_limit = limit < BODY_MOST ? limit : BODY_MOST;
    p->stage = p->chunked ? MR_PARSE_CHUNKED : MR_PARSE_FIXED;
    p->fed = p->head_n;
    if (p->content_length > 0 && (uint64_t)p->content_length > p->body_limit)
        return refuse(p, MR_CAUSE_BODY_SIZE);
    if (p->chunked) {
        static const llhttp_settings_t *const chunks = &chunk_settings;
        memcpy(&p->llhttp.settings, &chunks, sizeof chunks); /* the field lacks the const that llhttp_init() has */
        llhttp_resume(&p->llhttp);
    }
    return true;
}

static enum mr_parse_step feed_fixed(struct mr_parse *p, size_t n)
{
    size_t length = p->content_length > 0 ? (size_t)p->content_length : 0;
    p->body_n = n - p->head_n < length ? n - p->head_n : length;
    p->end = (uint32_t)(p->head_n + p->body_n);
    return p->body_n == length ? MR_PARSE_WHOLE : MR_PARSE_MORE;
}

static enum mr_parse_step feed_chunked(struct mr_parse *p, char *base, size_t *n)
{
    if (*n == p->fed)
        return MR_PARSE_MORE;
    p->base = base;
    llhttp_errno_t rc = llhttp_execute(&p->llhttp, base + p->fed, *n - p->fed);
    p->base = NULL;
    if (rc == HPE_PAUSED) {
        p->end = (uint32_t)(llhttp_get_error_pos(&p->llhttp) - base);
        p->framing += p->end - p->fed;
    } else if (rc == HPE_OK) {
        p->framing += *n - p->fed;
        *n = p->fed = (uint32_t)(p->head_n + p->body_n);
    } else {
        if (p->cause == MR_CAUSE_NONE)
            p->cause = MR_CAUSE_MALFORMED;
        return MR_PARSE_REFUSED;
    }
    if (framing_is_too_much(p, p->framing)) {
        p->cause = MR_CAUSE_CHUNKS;
        return MR_PARSE_REFUSED;
    }
    return rc == HPE_PAUSED ? MR_PARSE_WHOLE : MR_PARSE_MORE;
}

enum mr_parse_step mr_parse_feed(struct mr_parse *p, char *base, size_t *n, const struct mr_http_limits *limits,
                                 struct mr_parse_table *table)
{
    switch (p->stage) {
    case MR_PARSE_LINES:
        return feed_lines(p, base, *n, limits, table);
    case MR_PARSE_FIXED:
        return feed_fixed(p, *n);
    default:
        return feed_chunked(p, base, n);
    }
}

size_t mr_parse_need(const struct mr_parse *p, const struct mr_http_limits *limits)
{
    switch (p->stage) {
    case MR_PARSE_LINES:
        return limits->header_bytes;
    case MR_PARSE_FIXED:
        return p->head_n + (size_t)(p->content_length > 0 ? p->content_length : 0);
    default:
        return p->head_n + p->body_limit + FRAMING_FREE;
    }
}

/* ---- slices ---- */

static void cut_target(struct mr_http_head *head)
{
    struct mr_str t = head->target;
    if (t.p[0] != '/' && t.p[0] != '*') { /* absolute form: what follows the authority */
        size_t skip = scheme_n(t);
        t.p += skip;
        t.n -= skip;
        while (t.n > 0 && *t.p != '/' && *t.p != '?') {
            t.p++;
            t.n--;
        }
    }
    const char *mark = memchr(t.p, '?', t.n);
    head->path = (struct mr_str){t.p, mark ? (size_t)(mark - t.p) : t.n};
    head->query = mark ? (struct mr_str){mark + 1, t.n - head->path.n - 1} : (struct mr_str){"", 0};
    if (head->path.n == 0)
        head->path = MR_STR("/");
}

/* The lines were judged: only cutting is left. */
static void make_table(const struct mr_parse *p, const char *base, struct mr_parse_table *table)
{
    const char *at = (const char *)memchr(base, '\n', p->head_n) + 1;
    for (size_t i = 0; i < p->headers; i++) {
        const char *lf = memchr(at, '\n', (size_t)(base + p->head_n - at));
        struct mr_str line = {at, (size_t)(lf - at) - 1};
        table->at[i] = cut_header(line, memchr(line.p, ':', line.n));
        at = lf + 1;
    }
    table->of = p;
    table->base = base;
}

void mr_parse_head(const struct mr_parse *p, const char *base, struct mr_parse_table *table, struct mr_http_head *head)
{
    assert(p->head_n > 0);
    if (table->of != p || table->base != base)
        make_table(p, base, table);
    head->method = (struct mr_str){base, p->method_n};
    head->target = (struct mr_str){base + p->target, p->target_n};
    head->headers = table->at;
    head->headers_count = p->headers;
    head->content_length = p->content_length;
    cut_target(head);
}
