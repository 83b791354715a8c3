/* SPDX-License-Identifier: Apache-2.0 */
/* request.h - a source's `verify` options and one request, put together line by line, and its verdict. */
#ifndef MILLRACE_TEST_WEBHOOK_REQUEST_H
#define MILLRACE_TEST_WEBHOOK_REQUEST_H

#include "sources/webhook/scheme.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

enum { T0 = 1700000000 }; /* the second at which requests of tests are judged, unless they say another */

struct request {
    struct mr_verify_options o;
    struct mr_secret secrets[20];
    struct mr_header headers[40];
    struct mr_http_head head;
    struct mr_str body, url;
    struct mr_verifier *v; /* made at the first verdict */
    struct mr_verified out;
    struct mr_err err;
    struct mr_buf text, changed; /* of signed headers; a body with its signature */
};

char *text(const char *s); /* the options' strings are not const; nobody writes to them */
void request_init(struct request *r, const char *scheme, const char *secret);
void request_secret(struct request *r, const char *secret); /* one more */
void request_header(struct request *r, const char *name, const char *value);
void request_no_headers(struct request *r);
struct mr_signed_request request_signed(const struct request *r);
enum mr_cause verdict_us(struct request *r, int64_t now_us);
enum mr_cause verdict(struct request *r); /* at T0 */
void request_sign(struct request *r, int64_t now_us); /* adds the headers that mr_sign() makes */
enum mr_code config(struct request *r); /* is the configuration taken? */
void request_end(struct request *r);

/* hmac over "the body \xf0\x9f\x90\xaf\n" with the header X-Sig. */
#define BODY "the body \xf0\x9f\x90\xaf\n"
void request_hmac(struct request *r, const char *secret);
/* Lower-case hex HMAC-SHA256 of `signed_text`; 64 digits and a NUL. */
void mac_hex(const char *secret, const char *signed_text, char out[65]);

#endif
