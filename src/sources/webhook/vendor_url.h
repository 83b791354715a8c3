/* SPDX-License-Identifier: Apache-2.0 */
/* vendor_url.h - what may be called because a request says so: https, one vendor's own hosts, no user, no port, and a path of one
 * form, so that a stranger cannot name one thing in a thousand ways. All else is somebody's wish that we call somewhere.
 * The hosts are those of AWS's public partitions, as botocore's partitions.json has them. Pure. */
#ifndef MR_WEBHOOK_VENDOR_URL_H
#define MR_WEBHOOK_VENDOR_URL_H

#include "millrace/str.h"

#include <stdbool.h>

bool is_sns_cert_url(struct mr_str url);    /* https://sns.<region>.amazonaws.com/<name>.pem */
bool is_sns_confirm_url(struct mr_str url); /* https://sns.<region>.amazonaws.com/?Action=ConfirmSubscription&… */
bool is_paypal_cert_url(struct mr_str url); /* https://api[.sandbox].paypal.com/v1/notifications/certs/CERT-… */

#endif
