/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/net/net_tests.h"

#include <signal.h>

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    int failed = run_request_tests();
    failed += run_connection_tests();
    failed += run_limit_tests();
    return failed;
}
