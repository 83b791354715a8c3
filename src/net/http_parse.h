/* SPDX-License-Identifier: Apache-2.0 */
/* net/http_parse.h - bytes of one HTTP/1.1 request in, slices of it out; knows no socket, no clock, no memory.
 *
 * Two readers judge every head: our own line scan (CRLF only, no folding, one blank between the parts of the request
 * line, Host, sizes) and llhttp in strict mode (methods, tokens, values, Content-Length and Transfer-Encoding). A head
 * on whose end they do not agree is refused: that disagreement is what request smuggling lives on.
 *
 * The bytes of a request lie in one piece from its first one on. The caller owns them, may move them between two calls,
 * and may only append. Everything is judged in the order of the bytes, lines only when they are whole, so that the
 * outcome does not depend on how the bytes were cut on their way. A chunked body is moved together in place, so the
 * framing takes no room; tabs behind a value become blanks. */
#ifndef MILLRACE_NET_HTTP_PARSE_H
#define MILLRACE_NET_HTTP_PARSE_H

#include "millrace/http.h"
#include "net/http_answer.h"

#include <llhttp.h>

enum mr_parse_step {
    MR_PARSE_MORE,    /* base[0..*n) is needed again, with more after it */
    MR_PARSE_HEAD,    /* the head is complete: mr_parse_head(), then mr_parse_body(), then feed again */
    MR_PARSE_WHOLE,   /* the request is complete: mr_parse_taken() bytes are its own, what follows is not */
    MR_PARSE_REFUSED, /* p->cause says why; nothing that follows can be trusted */
};

/* Room for the headers of one head. One a server: it is made again from the bytes when another connection has used it.
 */
struct mr_parse_table {
    struct mr_header *at;
    size_t room;
    const struct mr_parse *of; /* whose headers lie here, ... */
    const char *base;          /* ... as slices of these bytes */
};

struct mr_parse {
    llhttp_t llhttp;
    char *base; /* only while a chunked body is fed */
    uint64_t body_limit;
    uint64_t body_n;        /* bytes of the body that are here */
    uint64_t framing;       /* bytes of a chunked body that are not body: sizes, extensions, trailers */
    int64_t content_length; /* -1: none */
    uint32_t line;          /* offset of the first line that has not been judged */
    uint32_t seen;          /* no line feed in base[line..seen) */
    uint32_t head_n;
    uint32_t fed; /* chunked: offset of the first byte that llhttp has not seen */
    uint32_t end; /* MR_PARSE_WHOLE: where the request ends */
    uint32_t target, target_n;
    uint16_t headers, method_n;
    uint8_t hosts, lengths, codings;
    enum mr_http_cause cause;
    enum { MR_PARSE_LINES, MR_PARSE_FIXED, MR_PARSE_CHUNKED } stage : 8;
    bool is_head, is_options, http10, chunked, keep_alive, continues, coding_ok, trailer_named;
};

void mr_parse_start(struct mr_parse *p); /* before each request */
/* base[0..*n): the request so far. *n shrinks when chunk framing was taken out (MORE only). */
enum mr_parse_step mr_parse_feed(struct mr_parse *p, char *base, size_t *n, const struct mr_http_limits *limits,
                                 struct mr_parse_table *table);
/* After HEAD or WHOLE; all slices point into base or the table. `remote` is left alone. */
void mr_parse_head(const struct mr_parse *p, const char *base, struct mr_parse_table *table, struct mr_http_head *head);
/* After HEAD. False: the declared body is above the limit (p->cause is set). */
bool mr_parse_body(struct mr_parse *p, size_t limit);

static inline bool mr_parse_has_body(const struct mr_parse *p)
{
    return p->chunked || p->content_length > 0;
}
/* Most bytes that this request can still need in its buffer; grows with what is accepted, never by what is declared
 * alone. */
size_t mr_parse_need(const struct mr_parse *p, const struct mr_http_limits *limits);

#endif
