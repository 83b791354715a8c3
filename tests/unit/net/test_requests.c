/* SPDX-License-Identifier: Apache-2.0 */
/* What comes on the wire, byte by byte, and what the server must say to it. */
#include "unit/net/net_tests.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum after { OPEN, CLOSED };

enum { LONG = 17000 };
struct request {
    const char *name;
    struct mr_str bytes; /* "~" stands for LONG zeros */
    const char *statuses;
    enum after after;
    const char *cause; /* the server's own refusal; NULL: none */
};

#define H       "Host: a\r\n"
#define CHUNKED "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
/* clang-format off */
#define B(literal) {literal, sizeof(literal) - 1}
/* clang-format on */
#define FIVE_LINES "a: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\ne: 5\r\n"
#define HUNDRED_LINES                                                                                                  \
    FIVE_LINES FIVE_LINES FIVE_LINES FIVE_LINES FIVE_LINES FIVE_LINES FIVE_LINES FIVE_LINES FIVE_LINES FIVE_LINES      \
        FIVE_LINES FIVE_LINES FIVE_LINES FIVE_LINES FIVE_LINES FIVE_LINES FIVE_LINES FIVE_LINES FIVE_LINES FIVE_LINES

static const struct request requests[] = {
    /* honest */
    {"GET", B("GET / HTTP/1.1\r\n" H "\r\n"), "200", OPEN, NULL},
    {"query", B("GET /a/b?c=d&e?f HTTP/1.1\r\n" H "\r\n"), "200", OPEN, NULL},
    {"percent stays", B("GET /%41%00%2f?%3f HTTP/1.1\r\n" H "\r\n"), "200", OPEN, NULL},
    {"POST with length", B("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello"), "200", OPEN, NULL},
    {"POST with length 0", B("POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n"), "200", OPEN, NULL},
    {"POST without length", B("POST / HTTP/1.1\r\n" H "\r\n"), "200", OPEN, NULL},
    {"GET with body", B("GET / HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi"), "200", OPEN, NULL},
    {"body of CRLFs", B("POST / HTTP/1.1\r\n" H "Content-Length: 8\r\n\r\n\r\n\r\n\r\n\r\n"), "200", OPEN, NULL},
    {"body with NUL", B("POST / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\na\0b"), "200", OPEN, NULL},
    {"204", B("POST /nothing HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc"), "204", OPEN, NULL},
    {"PUT, PATCH, DELETE", B("PUT / HTTP/1.1\r\n" H "\r\nPATCH / HTTP/1.1\r\n" H "\r\nDELETE / HTTP/1.1\r\n" H "\r\n"),
     "200 200 200", OPEN, NULL},
    {"OPTIONS *", B("OPTIONS * HTTP/1.1\r\n" H "\r\n"), "200", OPEN, NULL},
    {"header without value", B("GET / HTTP/1.1\r\n" H "X:\r\nY: \r\nZ: \t \r\n\r\n"), "200", OPEN, NULL},
    {"no blank after the colon", B("GET / HTTP/1.1\r\nHost:a\r\nX:y\r\n\r\n"), "200", OPEN, NULL},
    {"blanks around a value", B("GET / HTTP/1.1\r\n" H "X: \t y z\t \r\n\r\n"), "200", OPEN, NULL},
    {"tabs around a length", B("POST / HTTP/1.1\r\n" H "Content-Length:\t 2\t \t\r\n\r\nhi"), "200", OPEN, NULL},
    {"tabs around a coding", B("POST / HTTP/1.1\r\n" H "Transfer-Encoding:\tchunked\t\r\n\r\n0\r\n\r\n"), "200", OPEN, NULL},
    {"repeated header", B("GET / HTTP/1.1\r\n" H "X: 1\r\nX: 2\r\nx: 3\r\n\r\n"), "200", OPEN, NULL},
    {"value above ASCII", B("GET / HTTP/1.1\r\n" H "X: \xc3\xa9\xff\r\n\r\n"), "200", OPEN, NULL},
    {"empty Host", B("GET / HTTP/1.1\r\nHost:\r\n\r\n"), "200", OPEN, NULL},
    {"Host with port", B("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"), "200", OPEN, NULL},
    {"CRLFs before", B("\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n"), "200", OPEN, NULL},
    {"CRLF after a body", B("POST / HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nx\r\nGET /b HTTP/1.1\r\n" H "\r\n"),
     "200 200", OPEN, NULL},
    {"absolute form", B("GET http://other:80/p?q HTTP/1.1\r\n" H "\r\n"), "200", OPEN, NULL},
    {"absolute form without path", B("GET HTTP://other HTTP/1.1\r\n" H "\r\n"), "200", OPEN, NULL},
    {"absolute form with query only", B("GET https://other?q HTTP/1.1\r\n" H "\r\n"), "200", OPEN, NULL},
    {"pipelined",
     B("GET /1 HTTP/1.1\r\n" H "\r\nPOST /2 HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhiGET /3 HTTP/1.1\r\n" H "\r\n"),
     "200 200 200", OPEN, NULL},
    {"Upgrade is not taken up",
     B("GET / HTTP/1.1\r\n" H "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n"),
     "200", OPEN, NULL},
    {"Upgrade with a body",
     B("POST / HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\nabc"), "200", OPEN, NULL},
    {"Upgrade with chunks",
     B("POST / HTTP/1.1\r\n" H
       "Connection: Upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
     "200", OPEN, NULL},
    {"Connection: close", B("GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n"), "200", CLOSED, NULL},
    {"Connection: x, close", B("GET / HTTP/1.1\r\n" H "Connection: x, Close\r\n\r\n"), "200", CLOSED, NULL},
    {"nothing after close", B("GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\nGET /2 HTTP/1.1\r\n" H "\r\n"), "200",
     CLOSED, NULL},
    {"the handler closes", B("GET /closing HTTP/1.1\r\n" H "\r\n"), "200", CLOSED, NULL},
    {"HTTP/1.0", B("GET / HTTP/1.0\r\n\r\n"), "200", CLOSED, NULL},
    {"HTTP/1.0 keep-alive", B("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), "200", OPEN, NULL},
    {"HTTP/1.0 keep-alive and close", B("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"), "200", CLOSED, NULL},
    {"HTTP/1.0 with body", B("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi"), "200", CLOSED, NULL},
    {"close while out", B("GET /big HTTP/1.1\r\n" H "Connection: close\r\n\r\n"), "200", CLOSED, NULL},
    /* the request line */
    {"TLS", B("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), "400", CLOSED, "malformed"},
    {"NUL first", B("\0GET / HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"blank first", B(" GET / HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"three CRLFs before", B("\r\n\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"LF before", B("\nGET / HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"CR before", B("\rGET / HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"no target", B("GET HTTP/1.1\r\n" H "\r\n"), "505", CLOSED, "version"},
    {"empty target", B("GET  HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"two blanks before the target", B("GET  / HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"two blanks after the target", B("GET /  HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"blank after the version", B("GET / HTTP/1.1 \r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"tab for blank", B("GET\t/\tHTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"control byte in the target", B("GET /\x01 HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"NUL in the target", B("GET /a\0b HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"byte above ASCII in the target", B("GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"fragment", B("GET /a#b HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"relative target", B("GET a HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"other scheme", B("GET ftp://a/b HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"asterisk without OPTIONS", B("GET * HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"lone CR in the line", B("GET /\r HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"lone CR for its end", B("GET / HTTP/1.1\r" H "\r\n"), "400", CLOSED, "malformed"},
    {"bare LF for its end", B("GET / HTTP/1.1\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"CR CR LF", B("GET / HTTP/1.1\r\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"lower case version", B("GET / http/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"no version number", B("GET / HTTP/\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"other protocol", B("DESCRIBE / RTSP/1.0\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"HTTP/0.9, short", B("GET /\r\n"), "505", CLOSED, "version"},
    {"HTTP/0.9", B("GET / HTTP/0.9\r\n" H "\r\n"), "505", CLOSED, "version"},
    {"HTTP/1.2", B("GET / HTTP/1.2\r\n" H "\r\n"), "505", CLOSED, "version"},
    {"HTTP/2.0", B("GET / HTTP/2.0\r\n" H "\r\n"), "505", CLOSED, "version"},
    {"HTTP/2 preface", B("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "505", CLOSED, "version"},
    {"HTTP/11.1", B("GET / HTTP/11.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"unknown method", B("FETCH / HTTP/1.1\r\n" H "\r\n"), "501", CLOSED, "method"},
    {"lower case method", B("get / HTTP/1.1\r\n" H "\r\n"), "501", CLOSED, "method"},
    {"CONNECT", B("CONNECT a:443 HTTP/1.1\r\n" H "\r\n"), "501", CLOSED, "method"},
    {"TRACE", B("TRACE / HTTP/1.1\r\n" H "\r\n"), "501", CLOSED, "method"},
    {"colon in the method", B("GE:T / HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"target too long",
     B("GET /"
       "~"
       " HTTP/1.1\r\n" H "\r\n"),
     "414", CLOSED, "target_size"},
    /* header lines */
    {"bare LF after a header", B("GET / HTTP/1.1\r\nHost: a\n\r\n"), "400", CLOSED, "malformed"},
    {"bare LF ends the head", B("GET / HTTP/1.1\r\n" H "\n"), "400", CLOSED, "malformed"},
    {"lone CR in a value", B("GET / HTTP/1.1\r\n" H "X: a\rb\r\n\r\n"), "400", CLOSED, "malformed"},
    {"lone CR hides a header", B("GET / HTTP/1.1\r\n" H "X: a\rContent-Length: 5\r\n\r\n"), "400", CLOSED, "malformed"},
    {"CR X ends no head", B("GET / HTTP/1.1\r\n" H "\rX\r\n\r\n"), "400", CLOSED, "malformed"},
    {"folded", B("GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n"), "400", CLOSED, "malformed"},
    {"folded, with a colon", B("GET / HTTP/1.1\r\n" H "X: a\r\n b: c\r\n\r\n"), "400", CLOSED, "malformed"},
    {"folded by tab", B("GET / HTTP/1.1\r\n" H "X: a\r\n\tb\r\n\r\n"), "400", CLOSED, "malformed"},
    {"folded first line", B("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), "400", CLOSED, "malformed"},
    {"blank before the colon", B("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), "400", CLOSED, "malformed"},
    {"tab before the colon", B("POST / HTTP/1.1\r\n" H "Content-Length\t: 5\r\n\r\n"), "400", CLOSED, "malformed"},
    {"blank in the name", B("GET / HTTP/1.1\r\n" H "X Y: a\r\n\r\n"), "400", CLOSED, "malformed"},
    {"no name", B("GET / HTTP/1.1\r\n" H ": a\r\n\r\n"), "400", CLOSED, "malformed"},
    {"no colon", B("GET / HTTP/1.1\r\n" H "X\r\n\r\n"), "400", CLOSED, "malformed"},
    {"NUL in a name", B("GET / HTTP/1.1\r\n" H "X\0Y: a\r\n\r\n"), "400", CLOSED, "malformed"},
    {"NUL in a value", B("GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n"), "400", CLOSED, "malformed"},
    {"control byte in a value", B("GET / HTTP/1.1\r\n" H "X: a\x01\r\n\r\n"), "400", CLOSED, "malformed"},
    {"DEL in a value", B("GET / HTTP/1.1\r\n" H "X: a\x7f\r\n\r\n"), "400", CLOSED, "malformed"},
    {"bracket in a name", B("GET / HTTP/1.1\r\n" H "X(: a\r\n\r\n"), "400", CLOSED, "malformed"},
    {"byte above ASCII in a name", B("GET / HTTP/1.1\r\n" H "\xc3\xa9: a\r\n\r\n"), "400", CLOSED, "malformed"},
    {"no Host", B("GET / HTTP/1.1\r\nX: a\r\n\r\n"), "400", CLOSED, "host"},
    {"two Hosts", B("GET / HTTP/1.1\r\n" H H "\r\n"), "400", CLOSED, "host"},
    {"two Hosts in HTTP/1.0", B("GET / HTTP/1.0\r\n" H "host: b\r\n\r\n"), "400", CLOSED, "host"},
    {"blank in Host", B("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), "400", CLOSED, "host"},
    {"user in Host", B("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"), "400", CLOSED, "host"},
    {"words for a port of Host", B("GET / HTTP/1.1\r\nHost: a:http\r\n\r\n"), "400", CLOSED, "host"},
    {"two ports of Host", B("GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n"), "400", CLOSED, "host"},
    {"IPv6 without brackets in Host", B("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"), "400", CLOSED, "host"},
    {"open bracket in Host", B("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), "400", CLOSED, "host"},
    {"words behind the bracket of Host", B("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n"), "400", CLOSED, "host"},
    {"nothing in the brackets of Host", B("GET / HTTP/1.1\r\nHost: []\r\n\r\n"), "400", CLOSED, "host"},
    {"half an escape in Host", B("GET / HTTP/1.1\r\nHost: a%2\r\n\r\n"), "400", CLOSED, "host"},
    {"escape in Host", B("GET / HTTP/1.1\r\nHost: a%2d_.!:\r\n\r\n"), "200", OPEN, NULL},
    {"absolute form without host", B("GET http:///p HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"absolute form of a port alone", B("GET http://:80/p HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"absolute form with a bad port", B("GET http://a:8x/p HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"absolute form with a user", B("GET https://me@a/p HTTP/1.1\r\n" H "\r\n"), "400", CLOSED, "malformed"},
    {"absolute form of an address", B("GET https://[::1]:80?q HTTP/1.1\r\n" H "\r\n"), "200", OPEN, NULL},
    {"path in Host", B("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), "400", CLOSED, "host"},
    {"100 headers and no more", B("GET / HTTP/1.1\r\n" HUNDRED_LINES H "\r\n"), "431", CLOSED, "header_count"},
    {"headers too large",
     B("GET / HTTP/1.1\r\n" H "X: "
       "~"
       "\r\n\r\n"),
     "431", CLOSED, "header_size"},
    /* the length of the body */
    {"length and chunks", B("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
     "400", CLOSED, "framing"},
    {"chunks and length", B("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
     "400", CLOSED, "framing"},
    {"two lengths", B("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), "400", CLOSED,
     "framing"},
    {"two equal lengths", B("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"), "400",
     CLOSED, "framing"},
    {"list of lengths", B("POST / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\nhello"), "400", CLOSED, "framing"},
    {"signed length", B("POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\nhello"), "400", CLOSED, "framing"},
    {"negative length", B("POST / HTTP/1.1\r\n" H "Content-Length: -5\r\n\r\nhello"), "400", CLOSED, "framing"},
    {"hexadecimal length", B("POST / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\nhello"), "400", CLOSED, "framing"},
    {"empty length", B("POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n"), "400", CLOSED, "framing"},
    {"blank in the length", B("POST / HTTP/1.1\r\n" H "Content-Length: 1 1\r\n\r\nhello hello"), "400", CLOSED,
     "framing"},
    {"length beyond 64 bits", B("POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n"), "400", CLOSED,
     "framing"},
    {"largest length of 64 bits", B("POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551615\r\n\r\n"), "413",
     CLOSED, "body_size"},
    {"declared above the limit", B("POST /small HTTP/1.1\r\n" H "Content-Length: 11\r\n\r\n01234567890"), "413", CLOSED,
     "body_size"},
    {"declared at the limit", B("POST /small HTTP/1.1\r\n" H "Content-Length: 10\r\n\r\n0123456789"), "200", OPEN,
     NULL},
    /* chunks */
    {"chunked", B(CHUNKED "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), "200", OPEN, NULL},
    {"chunked, nothing", B(CHUNKED "0\r\n\r\n"), "200", OPEN, NULL},
    {"chunked, upper case", B("POST / HTTP/1.1\r\n" H "transfer-encoding:CHUNKED\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n"),
     "200", OPEN, NULL},
    {"chunked, then pipelined", B(CHUNKED "1\r\nx\r\n0\r\n\r\nGET /2 HTTP/1.1\r\n" H "\r\n"), "200 200", OPEN, NULL},
    {"chunk extensions", B(CHUNKED "1;c=\"d e\";a=b\r\nx\r\n0;z\r\n\r\n"), "200", OPEN, NULL},
    {"trailer without a name", B(CHUNKED "0\r\n: y\r\n\r\n"), "400", CLOSED, "malformed"},
    {"trailer without a name behind one", B(CHUNKED "0\r\nX: y\r\n: y\r\n\r\n"), "400", CLOSED, "malformed"},
    {"trailers are dropped", B(CHUNKED "1\r\nx\r\n0\r\nHost: b\r\nX: y\r\n\r\n"), "200", OPEN, NULL},
    {"chunks of one byte", B(CHUNKED "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n1\r\nd\r\n0\r\n\r\n"), "200", OPEN, NULL},
    {"gzip, chunked", B("POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), "501", CLOSED,
     "transfer_coding"},
    {"chunked, gzip", B("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"), "400", CLOSED,
     "framing"},
    {"identity", B("POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n"), "400", CLOSED, "framing"},
    {"xchunked", B("POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), "400", CLOSED, "framing"},
    {"chunked twice",
     B("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400",
     CLOSED, "framing"},
    {"empty coding", B("POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n0\r\n\r\n"), "400", CLOSED, "framing"},
    {"chunks in HTTP/1.0", B("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400", CLOSED,
     "framing"},
    {"bare LF after a size", B(CHUNKED "1\nx\r\n0\r\n\r\n"), "400", CLOSED, "malformed"},
    {"bare LF after a chunk", B(CHUNKED "1\r\nx\n0\r\n\r\n"), "400", CLOSED, "malformed"},
    {"bytes after a chunk", B(CHUNKED "1\r\nxyz\r\n0\r\n\r\n"), "400", CLOSED, "malformed"},
    {"blank after a size", B(CHUNKED "1 \r\nx\r\n0\r\n\r\n"), "400", CLOSED, "malformed"},
    {"blank before a size", B(CHUNKED " 1\r\nx\r\n0\r\n\r\n"), "400", CLOSED, "malformed"},
    {"no size", B(CHUNKED "\r\nx\r\n0\r\n\r\n"), "400", CLOSED, "malformed"},
    {"signed size", B(CHUNKED "+1\r\nx\r\n0\r\n\r\n"), "400", CLOSED, "malformed"},
    {"0x in a size", B(CHUNKED "0x1\r\nx\r\n0\r\n\r\n"), "400", CLOSED, "malformed"},
    {"size beyond 64 bits", B(CHUNKED "fffffffffffffffff\r\nx"), "400", CLOSED, "malformed"},
    {"size of all 64 bits", B(CHUNKED "ffffffffffffffff\r\nx"), "413", CLOSED, "body_size"},
    {"LF in an extension", B(CHUNKED "1;a=\"\n\"\r\nx\r\n0\r\n\r\n"), "400", CLOSED, "malformed"},
    {"lone CR in an extension", B(CHUNKED "1;a\rb\r\nx\r\n0\r\n\r\n"), "400", CLOSED, "malformed"},
    {"bare LF after a trailer", B(CHUNKED "0\r\nX: y\n\r\n"), "400", CLOSED, "malformed"},
    {"one chunk above the limit",
     B("POST /small HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n"), "413", CLOSED,
     "body_size"},
    {"chunks above the limit",
     B("POST /small HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n5\r\n67890\r\n0\r\n\r\n"), "413",
     CLOSED, "body_size"},
    {"chunks at the limit",
     B("POST /small HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n4\r\n6789\r\n0\r\n\r\n"), "200",
     OPEN, NULL},
    {"endless extension",
     B(CHUNKED "1;a="
               "~"
               "\r\nx\r\n0\r\n\r\n"),
     "400", CLOSED, "chunks"},
    {"endless zeros", B(CHUNKED "~"), "400", CLOSED, "chunks"},
    {"endless trailers",
     B(CHUNKED "0\r\nX: "
               "~"
               "\r\n\r\n"),
     "400", CLOSED, "chunks"},
    /* Expect */
    {"Expect, body sent at once", B("POST / HTTP/1.1\r\n" H "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\nhi"),
     "200", OPEN, NULL},
    {"Expect without body", B("POST / HTTP/1.1\r\n" H "Expect: 100-continue\r\n\r\n"), "200", OPEN, NULL},
    {"Expect in HTTP/1.0", B("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"), "200", CLOSED,
     NULL},
    {"other Expect", B("POST / HTTP/1.1\r\n" H "Expect: 200-ok\r\nContent-Length: 2\r\n\r\nhi"), "417", CLOSED,
     "expect"},
    /* refused at the head by the handler */
    {"refused without body", B("GET /missing HTTP/1.1\r\n" H "\r\n"), "404", OPEN, NULL},
    {"refused with a small body",
     B("POST /missing HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\n" H "\r\n"), "404 200", OPEN,
     NULL},
    {"refused with a large body", B("POST /missing HTTP/1.1\r\n" H "Content-Length: 70000\r\n\r\nhello"), "404", CLOSED,
     NULL},
    {"refused with chunks", B("POST /missing HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
     "404", CLOSED, NULL},
    {"refused, Expect", B("POST /missing HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"), "404",
     CLOSED, NULL},
    {"refused, lines of the handler", B("GET /busy HTTP/1.1\r\n" H "\r\n"), "503", OPEN, NULL},
};

static char *expand(struct mr_str s, size_t *n)
{
    const char *mark = memchr(s.p, '~', s.n);
    size_t before = mark ? (size_t)(mark - s.p) : s.n;
    char *out = malloc(s.n + LONG);
    assert_non_null(out);
    memcpy(out, s.p, before);
    *n = mark ? s.n - 1 + LONG : s.n;
    if (!mark)
        return out;
    memset(out + before, '0', LONG);
    memcpy(out + before + LONG, mark + 1, s.n - before - 1);
    return out;
}

/* Statuses without 100, how it ended, the server's cause, and all that was handed over. */
static char *outcome(struct fixture *f, const struct request *r, const size_t *cuts, size_t cuts_n)
{
    struct client c;
    char statuses[256], *text = NULL;
    size_t bytes_n;
    char *bytes = expand(r->bytes, &bytes_n);
    mr_buf_clear(&f->seen);
    f->refused[0] = '\0';
    client_open(&c, f);
    size_t at = 0;
    for (size_t i = 0; i <= cuts_n; i++) {
        size_t end = i < cuts_n ? cuts[i] : bytes_n;
        client_send(&c, bytes + at, end - at);
        at = end;
    }
    free(bytes);
    unsigned wanted = (unsigned)(strlen(r->statuses) + 1) / 4;
    if (r->after == OPEN)
        client_read(&c, wanted, MS);
    else
        client_ended(&c, MS);
    client_statuses(&c, statuses);
    const char *from = strncmp(statuses, "100 ", 4) == 0 ? statuses + 4 : statuses;
    int n = asprintf(&text, "%s|%s|%s|%.*s", from,
                     c.reset   ? "reset"
                     : c.ended ? "closed"
                               : "open",
                     f->refused, (int)f->seen.n, f->seen.n > 0 ? f->seen.p : "");
    assert_true(n > 0);
    client_close(&c);
    return text;
}

static void each_request_gets_its_answer_and_hurts_nobody(void **state)
{
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    (void)state;
    for (size_t i = 0; i < MR_COUNT(requests); i++) {
        const struct request *r = &requests[i];
        char wanted[256];
        char *got = outcome(f, r, NULL, 0);
        int n = snprintf(wanted, sizeof wanted, "%s|%s|%s|", r->statuses, r->after == OPEN ? "open" : "closed",
                         r->cause ? r->cause : "");
        if (strncmp(got, wanted, (size_t)n) != 0)
            fail_msg("%s: wanted %s, got %s", r->name, wanted, got);
        free(got);
        assert_serves(f);
    }
    fixture_free(f);
}

static void a_connection_that_stays_open_is_in_step(void **state)
{
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    (void)state;
    for (size_t i = 0; i < MR_COUNT(requests); i++) {
        const struct request *r = &requests[i];
        struct client c;
        char statuses[256], wanted[256];
        if (r->after != OPEN)
            continue;
        client_open(&c, f);
        client_send(&c, r->bytes.p, r->bytes.n);
        client_read(&c, (unsigned)(strlen(r->statuses) + 1) / 4, MS);
        SEND(&c, HONEST);
        client_read(&c, (unsigned)(strlen(r->statuses) + 1) / 4 + 1, MS);
        snprintf(wanted, sizeof wanted, "%s 200", r->statuses);
        if (strcmp(client_statuses(&c, statuses), wanted) != 0)
            fail_msg("%s: wanted %s, got %s", r->name, wanted, statuses);
        client_close(&c);
    }
    fixture_free(f);
}

static void the_outcome_does_not_depend_on_the_cut(void **state)
{
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    (void)state;
    for (size_t i = 0; i < MR_COUNT(requests); i++) {
        const struct request *r = &requests[i];
        char *whole = outcome(f, r, NULL, 0);
        size_t n = memchr(r->bytes.p, '~', r->bytes.n) ? r->bytes.n - 1 + LONG : r->bytes.n;
        /* long ones: at each byte near the ends, else with a stride that is no power of two */
        for (size_t cut = 1; cut < n; cut += cut < 300 || n - cut < 300 ? 1 : 197) {
            char *got = outcome(f, r, &cut, 1);
            if (strcmp(got, whole) != 0)
                fail_msg("%s cut at %zu: wanted %s, got %s", r->name, cut, whole, got);
            free(got);
        }
        free(whole);
    }
    fixture_free(f);
}

static void one_byte_at_a_time_is_as_good_as_all_at_once(void **state)
{
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    (void)state;
    for (size_t i = 0; i < MR_COUNT(requests); i++) {
        const struct request *r = &requests[i];
        size_t cuts[512];
        if (r->bytes.n > MR_COUNT(cuts) || memchr(r->bytes.p, '~', r->bytes.n))
            continue;
        for (size_t k = 0; k < r->bytes.n; k++)
            cuts[k] = k + 1;
        char *whole = outcome(f, r, NULL, 0), *got = outcome(f, r, cuts, r->bytes.n - 1);
        if (strcmp(got, whole) != 0)
            fail_msg("%s byte by byte: wanted %s, got %s", r->name, whole, got);
        free(got);
        free(whole);
    }
    fixture_free(f);
}

static void the_handler_gets_the_parts_as_they_were_sent(void **state)
{
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    struct client c;
    (void)state;
    client_open(&c, f);
    SEND(&c, "POST http://x/p%20q?r=s?t HTTP/1.1\r\nHost: a\r\nX-Y:  v w \r\nx-y:\r\nContent-Length: 4\r\n\r\nbody");
    client_read(&c, 1, MS);
    static const char wanted[] =
        "POST|http://x/p%20q?r=s?t|/p%20q|r=s?t|4|Host=a;X-Y=v w;x-y=;Content-Length=4;|4:body\n";
    assert_int_equal(f->seen.n, 2 * strlen(wanted)); /* once before the answer, once after it: the slices still held */
    assert_memory_equal(f->seen.p, wanted, strlen(wanted));
    assert_memory_equal(f->seen.p + strlen(wanted), wanted, strlen(wanted));
    client_close(&c);
    fixture_free(f);
}

/* What was read, without the Date that each answer has: in the form of RFC 9110, 5.6.7, and of today. */
static const char *dateless(struct client *c)
{
    char *at;
    size_t count = 0, answers = 0;
    for (const char *p = c->text; (p = strstr(p, "HTTP/1.1 ")) != NULL; p++)
        answers += p[9] >= '0' && p[9] <= '9';
    for (; (at = strstr(c->text, "Date: ")) != NULL; count++) {
        struct tm t = {0};
        const char *end = strptime(at, "Date: %a, %d %b %Y %H:%M:%S GMT", &t);
        if (!end || end - at != 35 || strncmp(end, "\r\n", 2) != 0 || labs((long)(timegm(&t) - time(NULL))) > 3600)
            fail_msg("%s", at);
        memmove(at, end + 2, strlen(end) - 1);
    }
    assert_int_equal(count, answers);
    return c->text;
}

static void an_answer_is_byte_for_byte_what_it_should_be(void **state)
{
    struct fixture *f = fixture_new(NULL, 64 << 20, 0);
    struct client c;
    (void)state;
    client_open(&c, f);
    SEND(&c, "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
    client_read(&c, 1, MS);
    assert_string_equal(dateless(&c), "HTTP/1.1 204 No Content\r\n\r\n");
    client_close(&c);
    client_open(&c, f);
    SEND(&c, "GET /busy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client_read(&c, 1, MS);
    assert_string_equal(
        dateless(&c), "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\nRetry-After: 3\r\n\r\n");
    client_close(&c);
    client_open(&c, f);
    SEND(&c, "HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    SEND(&c, "GET / HTTP/1.0\r\n\r\n");
    client_ended(&c, MS);
    assert_string_equal(
        dateless(&c), "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n"
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfine\n");
    client_close(&c);
    client_open(&c, f);
    SEND(&c, "GET / HTTP/3.0\r\n");
    client_ended(&c, MS);
    assert_string_equal(
        dateless(&c), "HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: application/json\r\nContent-Length: 53\r\n"
                "Connection: close\r\n\r\n{\"error\":\"only HTTP/1.1 and HTTP/1.0 are supported\"}\n");
    client_close(&c);
    fixture_free(f);
}

int run_request_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_request_gets_its_answer_and_hurts_nobody),
        cmocka_unit_test(a_connection_that_stays_open_is_in_step),
        cmocka_unit_test(the_outcome_does_not_depend_on_the_cut),
        cmocka_unit_test(one_byte_at_a_time_is_as_good_as_all_at_once),
        cmocka_unit_test(the_handler_gets_the_parts_as_they_were_sent),
        cmocka_unit_test(an_answer_is_byte_for_byte_what_it_should_be),
    };
    return cmocka_run_group_tests_name("requests", tests, NULL, NULL);
}
