/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - how a client of the library ends. rd_kafka_destroy() may never return (brokers that hang; librdkafka 2.0.2: a topic that was deleted while it was read),
 * and may end the whole process (librdkafka before 2.3.0, rdkafka#4312: a member that has joined and was never told its share). Such a client is left alone, with
 * its threads and what it has fetched, to the end of the process; which then ends without the C library's teardown, for those threads would run into it. */
#ifndef MR_KAFKA_CLIENT_H
#define MR_KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>

#include <stdbool.h>

/* Without a word to the group. false: it did not end within KAFKA_DESTROY_MS, and goes on by a thread of its own. Runs on: worker */
bool kafka_client_free(rd_kafka_t *rk);
void kafka_client_leave(rd_kafka_t *rk); /* it is not even tried. Any thread */

#endif
