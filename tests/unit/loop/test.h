/* SPDX-License-Identifier: Apache-2.0 */
/* test.h - what cmocka wants to be included first, and a loop that must be empty at the end (mr_loop_close aborts if
 * not). */
#ifndef MR_TESTS_UNIT_LOOP_TEST_H
#define MR_TESTS_UNIT_LOOP_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "millrace/loop.h"

static inline int test_loop_open(void **state)
{
    struct mr_loop *loop = calloc(1, sizeof *loop);
    struct mr_err err;
    *state = loop;
    return loop && mr_loop_init(loop, &(struct mr_loop_options){.memory_limit = 1 << 20}, &err) == MR_OK ? 0 : -1;
}

static inline int test_loop_close(void **state)
{
    mr_loop_close(*state);
    free(*state);
    return 0;
}

#endif
