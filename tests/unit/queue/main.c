/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/queue/tests.h"

int main(int argc, char **argv)
{
    if (argc > 1)
        return fault_child(argc, argv);
    int failed = _cmocka_run_group_tests("life", life_tests, life_tests_n, NULL, NULL);
    failed += _cmocka_run_group_tests("damage", damage_tests, damage_tests_n, NULL, NULL);
    failed += _cmocka_run_group_tests("faults", fault_tests, fault_tests_n, NULL, NULL);
    failed += _cmocka_run_group_tests("names", wrap_tests, wrap_tests_n, NULL, NULL);
    return failed;
}
