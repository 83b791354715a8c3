/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/net/net_tests.h"

int main(void)
{
    int failed = run_request_tests();
    failed += run_connection_tests();
    failed += run_limit_tests();
    failed += run_tls_name_tests();
    failed += run_proxy_header_tests();
    failed += run_public_tests();
    failed += run_retry_after_tests();
    failed += run_s3_tests();
    return failed;
}
