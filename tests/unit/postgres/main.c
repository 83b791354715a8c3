/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/postgres/tests.h"

#include <stdio.h>
#include <stdlib.h>

uint64_t first_seed(void)
{
    const char *given = getenv("MRT_SEED");
    return given ? strtoull(given, NULL, 10) : 1;
}

int main(void)
{
    int failed = 0;
    printf("seed %llu (another one: MRT_SEED)\n", (unsigned long long)first_seed());
    failed += _cmocka_run_group_tests("bounds", bounds_tests, bounds_tests_n, NULL, NULL);
    failed += _cmocka_run_group_tests("ids", ids_tests, ids_tests_n, NULL, NULL);
    failed += _cmocka_run_group_tests("position", position_tests, position_tests_n, NULL, NULL);
    failed += _cmocka_run_group_tests("model", model_tests, model_tests_n, NULL, NULL);
    return failed;
}
