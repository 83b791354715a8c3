/* SPDX-License-Identifier: Apache-2.0 */
/* test.h - what cmocka wants to be included first, and a log whose lines come out of a pipe. */
#ifndef MR_TESTS_UNIT_TELEMETRY_TEST_H
#define MR_TESTS_UNIT_TELEMETRY_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "millrace/log.h"

struct log_pipe {
    int ends[2];
    struct mr_log *log;
    char text[1 << 16]; /* what was read last */
};

static inline struct log_pipe *log_pipe_new(enum mr_log_format format)
{
    struct log_pipe *p = calloc(1, sizeof *p);
    assert_non_null(p);
    assert_int_equal(pipe2(p->ends, O_CLOEXEC), 0);
    assert_int_equal(fcntl(p->ends[0], F_SETFL, O_NONBLOCK), 0);
    p->log = mr_log_new(p->ends[1], format, MR_LOG_INFO);
    return p;
}

static inline void log_pipe_free(struct log_pipe *p)
{
    mr_log_free(p->log);
    close(p->ends[0]);
    close(p->ends[1]);
    free(p);
}

/* All that is in the pipe now. */
static inline const char *log_pipe_read(struct log_pipe *p)
{
    size_t n = 0;
    for (ssize_t got; n < sizeof p->text - 1 && (got = read(p->ends[0], p->text + n, sizeof p->text - 1 - n)) > 0;)
        n += (size_t)got;
    p->text[n] = '\0';
    return p->text;
}

#endif
