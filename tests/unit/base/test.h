/* SPDX-License-Identifier: Apache-2.0 */
/* test.h - what cmocka wants to be included first, and a temporary folder. */
#ifndef MR_TESTS_UNIT_BASE_TEST_H
#define MR_TESTS_UNIT_BASE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline int test_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

/* *state is the folder's path. */
static inline int test_folder_make(void **state)
{
    char *path = strdup("/tmp/millrace-test-XXXXXX");
    *state = path;
    return path && mkdtemp(path) ? 0 : -1;
}

static inline int test_folder_remove(void **state)
{
    int rc = nftw(*state, test_remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return rc;
}

#endif
