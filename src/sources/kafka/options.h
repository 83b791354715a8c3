/* SPDX-License-Identifier: Apache-2.0 */
/* options.h - `sources.<name>.kafka`: its rows, and the client's settings made from them. */
#ifndef MR_KAFKA_OPTIONS_H
#define MR_KAFKA_OPTIONS_H

#include "millrace/option.h"

#include <librdkafka/rdkafka.h>

enum kafka_files { KAFKA_FILES_AUTO, KAFKA_FILES_PER_PARTITION, KAFKA_FILES_PER_TOPIC };
enum kafka_mechanism { KAFKA_NO_SASL, KAFKA_PLAIN, KAFKA_SCRAM_256, KAFKA_SCRAM_512, KAFKA_OAUTHBEARER, KAFKA_GSSAPI };
enum kafka_assignment { KAFKA_COOPERATIVE, KAFKA_RANGE, KAFKA_ROUNDROBIN };

struct kafka_options {
    struct mr_strings brokers, topics;
    char *group;    /* NULL: the source's name */
    char *start;    /* earliest, latest, or a time */
    int isolation;  /* 0: read_committed */
    int files;      /* enum kafka_files */
    int assignment; /* enum kafka_assignment */
    char *instance; /* static membership; NULL: none */
    int payload;    /* enum mr_payload */
    int on_loss, on_foreign_store; /* 0: continue, stop */
    int64_t prefetch;
    int64_t retention_warning_ms, transaction_warning_ms;
    struct {
        bool verify;
        char *ca, *cert, *key;
        struct mr_secret password; /* of the key */
    } tls;
    bool tls_given;
    struct kafka_sasl {
        int mechanism; /* enum kafka_mechanism - 1 */
        char *username;
        struct mr_secret password;
        struct kafka_oauth {
            char *url, *client_id, *scope, *ca;
            struct mr_secret client_secret;
        } oauth;
        bool oauth_given;
    } sasl;
    bool sasl_given;
    struct kafka_registry {
        char *url, *username, *stream, *ca;
        struct mr_secret password;
    } registry;
    bool registry_given;
    struct mr_pairs librdkafka;
};
extern const struct mr_option kafka_rows[];

enum kafka_start { KAFKA_EARLIEST, KAFKA_LATEST, KAFKA_FROM_TIME };
/* `start` as it is written; `ms` for a time: since 1970. false: it is none of them. Pure. */
bool kafka_topic_ok(const char *name); /* as Kafka has them: 249 bytes at most, letters, digits, `.`, `_`, `-`. Pure. */
bool kafka_start_of(const char *text, enum kafka_start *start, int64_t *ms);

void kafka_validate(const char *name, const void *options, struct mr_where where, struct mr_config_errors *errors);
void kafka_validate_all(const char *const *names, const void *const *options, const struct mr_where *wheres, size_t count, const void *hub_options, int64_t memory,
                        struct mr_config_errors *errors);

/* The settings of the client, which the caller owns. `group`: whole, or NULL for a client that asks only. `memory`: limits.memory, bytes.
 * MR_ECONFIG: the library knows better. No I/O. */
MR_MUST enum mr_code kafka_conf(const struct kafka_options *o, const char *group, int64_t memory, rd_kafka_conf_t **out, struct mr_err *err);
/* "dev.clicks" into a buffer of the caller's. */
void kafka_group(const struct kafka_options *o, const char *environment, const char *source, char out[512]);

#endif
