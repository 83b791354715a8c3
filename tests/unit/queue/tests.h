/* SPDX-License-Identifier: Apache-2.0 */
/* tests.h - the groups of this binary. */
#ifndef MR_TEST_QUEUE_TESTS_H
#define MR_TEST_QUEUE_TESTS_H

#include "unit/queue/fixture.h"

extern const struct CMUnitTest life_tests[], damage_tests[], fault_tests[], wrap_tests[];
extern const size_t life_tests_n, damage_tests_n, fault_tests_n, wrap_tests_n;
void copy_tree(const char *from, const char *to);
int fault_child(int argc, char **argv); /* what a test started again as another process does */

#endif
