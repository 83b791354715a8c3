/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLRACE_TEST_LANDING_TESTS_H
#define MILLRACE_TEST_LANDING_TESTS_H

#include "unit/landing/rig.h"

extern const struct CMUnitTest roll_tests[], steps_tests[];
extern const size_t roll_tests_count, steps_tests_count;

#endif
