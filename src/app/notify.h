/* SPDX-License-Identifier: Apache-2.0 */
/* notify.h - alerts are POSTed to alerts.url as they open and close: in order, one at a time, tried again until they are taken, a bounded number
 * of them. What is not delivered when the process ends is in the log, the metrics and the state. Runs on: loop. */
#ifndef MR_APP_NOTIFY_H
#define MR_APP_NOTIFY_H

#include "millrace/client.h"

struct notifier;
/* NULL: no memory. environment: borrowed. */
struct notifier *notifier_new(struct mr_loop *loop, struct mr_client *client, const char *environment);
void notifier_url(struct notifier *n, const char *url); /* NULL: nobody is told; copied */
/* It opened, or it closed; repeats are passed over. */
void notifier_alert(struct notifier *n, const struct mr_alert *alert);
void notifier_close(struct notifier *n, void (*cb)(void *arg), void *arg); /* cb on a later turn; freed then */

#endif
