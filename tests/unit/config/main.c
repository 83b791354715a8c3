/* SPDX-License-Identifier: Apache-2.0 */
#include "doors.h"

int main(void)
{
    const struct { const char *name; const struct CMUnitTest *tests; size_t count; } groups[] = {
        {"units", units_tests, units_count},       {"load", load_tests, load_count},
        {"options", options_tests, options_count}, {"secrets", secrets_tests, secrets_count}, {"sources", sources_tests, sources_count},
        {"errors", errors_tests, errors_count},    {"reload", reload_tests, reload_count},    {"pages", pages_tests, pages_count},
        {"pairs", pairs_tests, pairs_count},       {"named", named_tests, named_count},
    };
    int failed = 0;
    for (size_t i = 0; i < MR_COUNT(groups); i++)
        failed += _cmocka_run_group_tests(groups[i].name, groups[i].tests, groups[i].count, NULL, NULL);
    drop_last_errors();
    return failed != 0;
}
