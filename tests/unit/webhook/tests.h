/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLRACE_TEST_WEBHOOK_TESTS_H
#define MILLRACE_TEST_WEBHOOK_TESTS_H

#include "unit/webhook/request.h"

extern const struct CMUnitTest vectors_tests[], refusals_tests[], settings_tests[], event_tests[], dedup_tests[], explain_tests[], senders_tests[],
    vendor_url_tests[];
extern const size_t vectors_tests_count, refusals_tests_count, settings_tests_count, event_tests_count, dedup_tests_count,
    explain_tests_count, senders_tests_count, vendor_url_tests_count;

#endif
