/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

int main(void)
{
    int failed = 0;
    failed += _cmocka_run_group_tests("envelope", envelope_tests, envelope_tests_count, NULL, NULL);
    failed += _cmocka_run_group_tests("local", local_tests, local_tests_count, NULL, NULL);
    failed += _cmocka_run_group_tests("moved", moved_tests, moved_tests_count, NULL, NULL);
    failed += _cmocka_run_group_tests("verify", verify_tests, verify_tests_count, NULL, NULL);
    return failed;
}
