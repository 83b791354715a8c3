/* SPDX-License-Identifier: Apache-2.0 */
/* test_retry_after.c - seconds, fractions of them, dates; and what is none. Dates are those of Python's email.utils for 1700000000 and so much more. */
#include "unit/net/net_tests.h"

#include "millrace/client.h"

static const int64_t NOW_US = INT64_C(1700000000250000);

struct wait {
    const char *text;
    int64_t ms; /* -1: it says nothing */
};

static void what_a_header_says(void **state)
{
    (void)state;
    static const struct wait cases[] = {
        {"0", 0},
        {"1", 1000},
        {"120", 120000},
        {"0120", 120000},
        {"0.5", 500}, /* libcurl reads 0: a client that asks again at once, for ever */
        {"2.0", 2000},
        {"1.25", 1250},
        {"0.0001", 1}, /* never less than it says */
        {"0.1239", 124},
        {"31536000", INT64_C(31536000000)},
        {"Tue, 14 Nov 2023 22:14:50 GMT", 89750},
        {"Tue, 14 Nov 2023 22:13:15 GMT", 0}, /* past */
        {"Tuesday, 14-Nov-23 22:14:50 GMT", 89750},
        {"", -1},
        {" ", -1},
        {"-1", -1},
        {"+1", -1},
        {"1 ", -1},
        {"1s", -1},
        {"1500ms", -1}, /* libcurl: 1500 s */
        {".5", -1},
        {"1.", -1},
        {"1.5.1", -1},
        {"1e3", -1},
        {"0x10", -1},
        {"20261201", INT64_C(20261201000)}, /* 234 days: it is what it says, and the caller's bound cuts it */
        {"99999999", -1},
        {"99999999999999999999", -1},
        {"Wed, 18 Dec 2024 22:13:20 GMT", -1}, /* over a year */
        {"tomorrow at nine o'clock in the morning", -1},
        {"Mon", -1},
        {"Tue, 14 Nov 2120000023 22:14:GMT", -1}, /* found by fuzzing: more microseconds than any */
        {"Tue, 14 Nov 9999 22:14:50 GMT", -1},
        {"Fri, 31 Foo 2023 00:00:00 GMT", -1},
        {"2023-11-14T22:14:50Z and some more", -1},
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        int64_t ms = -1;
        if (!mr_retry_after(mr_str_c(cases[i].text), NOW_US, &ms))
            ms = -1;
        if (ms != cases[i].ms)
            fail_msg("\"%s\": %lld ms", cases[i].text, (long long)ms);
    }
}

int run_retry_after_tests(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_a_header_says)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
