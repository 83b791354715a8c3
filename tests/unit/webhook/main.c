/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/webhook/tests.h"

int main(void)
{
    int failed = 0;
    failed += _cmocka_run_group_tests("vectors", vectors_tests, vectors_tests_count, NULL, NULL);
    failed += _cmocka_run_group_tests("refusals", refusals_tests, refusals_tests_count, NULL, NULL);
    failed += _cmocka_run_group_tests("settings", settings_tests, settings_tests_count, NULL, NULL);
    failed += _cmocka_run_group_tests("event", event_tests, event_tests_count, NULL, NULL);
    failed += _cmocka_run_group_tests("dedup", dedup_tests, dedup_tests_count, NULL, NULL);
    failed += _cmocka_run_group_tests("explain", explain_tests, explain_tests_count, NULL, NULL);
    failed += _cmocka_run_group_tests("senders", senders_tests, senders_tests_count, NULL, NULL);
    failed += _cmocka_run_group_tests("vendor_url", vendor_url_tests, vendor_url_tests_count, NULL, NULL);
    return failed;
}
