/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLRACE_TESTS_NET_TESTS_H
#define MILLRACE_TESTS_NET_TESTS_H

/* cmocka wants these before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "unit/net/client.h"

enum { MS = 5000 }; /* for what must come: long, since nothing waits for it in vain */

#define HONEST     "GET /honest HTTP/1.1\r\nHost: a\r\n\r\n"
#define SEND(c, s) client_send((c), (s), sizeof(s) - 1)

/* A new connection gets its answer: the server has not been hurt. */
static inline void assert_serves(struct fixture *f)
{
    struct client c;
    char statuses[256];
    client_open(&c, f);
    SEND(&c, HONEST);
    client_read(&c, 1, MS);
    assert_string_equal(client_statuses(&c, statuses), "200");
    client_close(&c);
}

int run_request_tests(void);
int run_connection_tests(void);
int run_limit_tests(void);
int run_tls_name_tests(void);
int run_proxy_header_tests(void);
int run_public_tests(void);
int run_retry_after_tests(void);
int run_s3_tests(void);

#endif
