/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_answer.h"

#include "millrace/clock.h"

#include <assert.h>
#include <stdio.h>
#include <time.h>

enum { DATE_MS = 250 };

/* Ready-made: formatting a status line for each answer costs more than parsing a small request. */
#define STATUS_LINES(X)                                                                                                \
    X(200, "OK")                                                                                                       \
    X(201, "Created")                                                                                                  \
    X(202, "Accepted")                                                                                                 \
    X(204, "No Content")                                                                                               \
    X(304, "Not Modified")                                                                                             \
    X(400, "Bad Request")                                                                                              \
    X(401, "Unauthorized")                                                                                             \
    X(403, "Forbidden")                                                                                                \
    X(404, "Not Found")                                                                                                \
    X(405, "Method Not Allowed")                                                                                       \
    X(408, "Request Timeout")                                                                                          \
    X(409, "Conflict")                                                                                                 \
    X(411, "Length Required")                                                                                          \
    X(413, "Content Too Large")                                                                                        \
    X(414, "URI Too Long")                                                                                             \
    X(415, "Unsupported Media Type")                                                                                   \
    X(417, "Expectation Failed")                                                                                       \
    X(422, "Unprocessable Content")                                                                                    \
    X(429, "Too Many Requests")                                                                                        \
    X(431, "Request Header Fields Too Large")                                                                          \
    X(500, "Internal Server Error")                                                                                    \
    X(501, "Not Implemented")                                                                                          \
    X(502, "Bad Gateway")                                                                                              \
    X(503, "Service Unavailable")                                                                                      \
    X(505, "HTTP Version Not Supported")

static struct mr_str status_line(int status)
{
    switch (status) {
#define STATUS_CASE(code, text)                                                                                        \
    case code:                                                                                                         \
        return MR_STR("HTTP/1.1 " #code " " text "\r\n");
        STATUS_LINES(STATUS_CASE)
#undef STATUS_CASE
    default:
        return (struct mr_str){NULL, 0};
    }
}

static const struct {
    const char *name;
    int status;
    struct mr_str body;
} causes[] = {
#define CAUSE_ROW(id, name, status, text)                                                                              \
    {name, status, {"{\"error\":\"" text "\"}\n", sizeof "{\"error\":\"" text "\"}\n" - 1}},
    MR_HTTP_CAUSES(CAUSE_ROW)
#undef CAUSE_ROW
};

const char *mr_http_cause_name(enum mr_http_cause cause)
{
    assert(cause < MR_CAUSE_COUNT);
    return causes[cause].name;
}

void mr_http_refusal(enum mr_http_cause cause, struct mr_http_answer *answer)
{
    assert(cause < MR_CAUSE_COUNT);
    *answer = (struct mr_http_answer){
        .status = causes[cause].status,
        .content_type = MR_STR("application/json"),
        .body = causes[cause].body,
        .close = true,
    };
    if (answer->status == 503)
        answer->extra = MR_STR("Retry-After: 1\r\n");
}

bool mr_answer_bodyless(int status)
{
    return status < 200 || status == 204 || status == 304;
}

static char *put(char *at, struct mr_str s)
{
    memcpy(at, s.p, s.n);
    return at + s.n;
}

static char *put_decimal(char *at, size_t v)
{
    char digits[20];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    while (n > 0)
        *at++ = digits[--n];
    return at;
}

struct mr_str mr_answer_date(struct mr_answer_date *d, uint64_t now_ms)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    if (!d->made_ms || now_ms - d->made_ms >= DATE_MS) {
        time_t now = (time_t)(mr_wall_us() / 1000000);
        struct tm t;
        gmtime_r(&now, &t);
        snprintf(d->line, sizeof d->line, "Date: %s, %02u %s %04u %02u:%02u:%02u GMT\r\n", days[t.tm_wday % 7], (unsigned)t.tm_mday % 100, months[t.tm_mon % 12],
                 (unsigned)(t.tm_year + 1900) % 10000, (unsigned)t.tm_hour % 100, (unsigned)t.tm_min % 100, (unsigned)t.tm_sec % 100);
        d->made_ms = now_ms ? now_ms : 1;
    }
    return mr_str_c(d->line);
}

size_t mr_answer_head(char out[static MR_ANSWER_ROOM], const struct mr_http_answer *answer, struct mr_str date, bool http10, bool close)
{
    assert(answer->status >= 100 && answer->status <= 999);
    struct mr_str line = status_line(answer->status);
    char *at = out;
    if (line.p)
        at = put(at, line);
    else
        at += snprintf(at, 64, "HTTP/1.1 %d Status\r\n", answer->status);
    at = put(at, date);
    if (answer->content_type.n > 0) {
        assert(answer->content_type.n <= 256);
        at = put(at, MR_STR("Content-Type: "));
        at = put(at, answer->content_type);
        at = put(at, MR_STR("\r\n"));
    }
    if (!mr_answer_bodyless(answer->status)) {
        at = put(at, MR_STR("Content-Length: "));
        at = put_decimal(at, answer->body.n);
        at = put(at, MR_STR("\r\n"));
    }
    if (answer->status == 401) /* RFC 9110, 11.6.1: must name a way to be let in; no registered one is a signature in a vendor's own header */
        at = put(at, MR_STR("WWW-Authenticate: Signature\r\n"));
    if (close)
        at = put(at, MR_STR("Connection: close\r\n"));
    else if (http10)
        at = put(at, MR_STR("Connection: keep-alive\r\n"));
    if (answer->extra.n == 0)
        at = put(at, MR_STR("\r\n"));
    return (size_t)(at - out);
}
