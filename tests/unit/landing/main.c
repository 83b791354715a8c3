/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/landing/tests.h"

int main(void)
{
    int failed = 0;
    failed += _cmocka_run_group_tests("roll", roll_tests, roll_tests_count, NULL, NULL);
    failed += _cmocka_run_group_tests("steps", steps_tests, steps_tests_count, NULL, NULL);
    return failed;
}
