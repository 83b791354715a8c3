/* SPDX-License-Identifier: Apache-2.0 */
/* ask.h - what must be asked of the brokers and may take a while: a batch of questions, answered on a worker (lane FAR).
 *
 * Each call of the library below obeys a time-out; rd_kafka_query_watermark_offsets() does not (librdkafka 2.0.2: over 90 s with a broker that hangs),
 * so ends and beginnings are asked for as times -1 and -2 of rd_kafka_offsets_for_times(). */
#ifndef MR_KAFKA_ASK_H
#define MR_KAFKA_ASK_H

#include "millrace/option.h"
#include "millrace/worker.h"

#include <librdkafka/rdkafka.h>

enum { KAFKA_ASK_COMMITTED = 1, KAFKA_ASK_EARLIEST = 2, KAFKA_ASK_END = 4, KAFKA_ASK_TIME = 8, KAFKA_ASK_MS = 2000 /* for one call */ };

struct kafka_answer { /* of one partition; -1: not asked, or none */
    char *topic;      /* owned */
    int32_t number;
    unsigned want;
    int64_t committed;
    char *metadata; /* owned, NUL-terminated; of the commit; may be NULL */
    int64_t earliest, end, at_time;
    rd_kafka_resp_err_t err; /* of this partition alone: it has no leader, or may not be read; its answers are none */
};

struct kafka_ask {
    struct mr_job job;
    rd_kafka_t *rk; /* borrowed */
    struct kafka_answer *parts;
    size_t count, cap;
    int64_t time_ms;                   /* for KAFKA_ASK_TIME */
    struct mr_strings topics;          /* whose partitions are all to be asked for `topics_want`: names, or patterns if `patterns`; borrowed */
    bool patterns;
    unsigned topics_want;
    struct mr_buf missing;             /* of `topics`: names that are not there, or may not be seen, "NAME: why" by lines */
    struct mr_err err;                 /* MR_OK: something is answered, or nothing was asked */
    void (*done)(struct kafka_ask *ask); /* loop; canceled: err is MR_ECANCELED */
};

void kafka_ask_init(struct kafka_ask *ask, rd_kafka_t *rk);
struct kafka_answer *kafka_ask_part(struct kafka_ask *ask, const char *topic, int32_t number, unsigned want);
void kafka_ask_start(struct kafka_ask *ask, struct mr_workers *workers);
void kafka_ask_run(struct kafka_ask *ask); /* Runs on: worker, by itself */
void kafka_ask_free(struct kafka_ask *ask);

/* Is there one that nobody answered for? err, if it is still MR_OK, says which. */
bool kafka_ask_part_failed(const struct kafka_ask *ask, struct mr_err *err);

/* The library's code as one of ours; `what` was tried. */
enum mr_code kafka_err(struct mr_err *err, rd_kafka_resp_err_t code, const char *what);

#endif
