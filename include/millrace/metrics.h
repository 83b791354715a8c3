/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.h - one table of metrics: name, type, unit, help, labels. docs/metrics.md is generated from it and a test compares.
 *
 * A caller asks once for the cell of its label values and keeps it; adding to a cell is one atomic operation. Any thread.
 * Cells live as long as the registry; label values are bounded by config (sources, causes, schemes), never by outside input. */
#ifndef MILLRACE_METRICS_H
#define MILLRACE_METRICS_H

#include "millrace/buf.h"

#include <stdint.h>

/* id, name, type, help, labels (comma-separated) */
#define MR_METRICS(X)                                                                                                                     \
    X(MR_M_BUILD_INFO, "millrace_build_info", GAUGE, "Always 1; the version is a label.", "version")                                      \
    X(MR_M_START_TIME, "millrace_start_time_seconds", GAUGE, "When this process started, seconds since 1970.", "")                        \
    X(MR_M_LOOP_LAG, "millrace_loop_turn_seconds", HISTOGRAM, "Time from waking to sleeping of one turn of the loop.", "")                \
    X(MR_M_LOOP_LAG_MAX, "millrace_loop_lag_max_seconds", GAUGE, "The longest turn of the loop since start.", "")                         \
    X(MR_M_MEMORY_USED, "millrace_memory_budget_used_bytes", GAUGE, "Bytes held against limits.memory.", "share")                         \
    X(MR_M_MEMORY_LIMIT, "millrace_memory_budget_limit_bytes", GAUGE, "limits.memory.", "")                                               \
    X(MR_M_LOG_LOST, "millrace_log_lines_lost_total", COUNTER, "Log lines that could not be written.", "")                                \
    X(MR_M_ALERTS_OPEN, "millrace_alerts_open", GAUGE, "1 while the alert is open.", "alert,source,stream")                               \
    X(MR_M_ALERT_POSTS, "millrace_alert_posts_total", COUNTER,                                                                            \
      "POSTs to alerts.url: posted, refused (not tried again), failed (tried again), dropped for newer ones.", "outcome")                 \
    X(MR_M_SOURCE_UP, "millrace_source_up", GAUGE, "1 while the source is up, 0 otherwise.", "source")                                    \
    X(MR_M_SOURCE_PAUSED, "millrace_source_paused", GAUGE, "1 while the source is paused by hand.", "source")                             \
    X(MR_M_HTTP_CONNECTIONS, "millrace_http_connections", GAUGE, "Open connections of a listener.", "listener")                           \
    X(MR_M_HTTP_REFUSED, "millrace_http_refused_total", COUNTER, "Requests refused before a source saw them.", "listener,cause")          \
    X(MR_M_CLIENT_EXCHANGES, "millrace_client_exchanges_total", COUNTER,                                                                  \
      "Requests that millrace itself made over HTTP, by what became of them: ok (an answer, whatever its status), resolve, timeout ...", "outcome") \
    X(MR_M_CLIENT_IN_FLIGHT, "millrace_client_exchanges_in_flight", GAUGE, "Of them, those that are out.", "")                            \
    X(MR_M_CLIENT_BYTES, "millrace_client_bytes_total", COUNTER, "Bytes sent and received by them, as they were on the wire.", "direction") \
    X(MR_M_TLS_HANDSHAKES, "millrace_tls_handshakes_total", COUNTER, "TLS handshakes that succeeded: full or resumed by a ticket.",         \
      "listener,kind")                                                                                                                    \
    X(MR_M_TLS_EXPIRY, "millrace_tls_certificate_expiry_time_seconds", GAUGE, "When a certificate ends, seconds since 1970.", "certificate") \
    X(MR_M_WEBHOOK_REQUESTS, "millrace_webhook_requests_total", COUNTER, "Requests of a source, by outcome and cause.",                   \
      "source,outcome,cause")                                                                                                             \
    X(MR_M_WEBHOOK_BYTES, "millrace_webhook_body_bytes_total", COUNTER, "Body bytes accepted.", "source")                                 \
    X(MR_M_WEBHOOK_ELEMENTS, "millrace_webhook_split_records_total", COUNTER, "Records made of batches (`split`).", "source")             \
    X(MR_M_WEBHOOK_UNSPLIT, "millrace_webhook_not_split_total", COUNTER,                                                                  \
      "Requests that were to be split and landed whole: no array there, or too large a one.", "source")                                   \
    X(MR_M_WEBHOOK_SECRET, "millrace_webhook_secret_matched_total", COUNTER, "Which configured secret matched (rotation).",               \
      "source,secret")                                                                                                                    \
    X(MR_M_WEBHOOK_DURABLE, "millrace_webhook_durable_seconds", HISTOGRAM, "From the request's last byte to durable.", "")                \
    X(MR_M_WEBHOOK_DUPLICATES, "millrace_webhook_duplicates_total", COUNTER, "Repeats of an event id, not landed again.", "source")       \
    X(MR_M_WEBHOOK_CONFLICTS, "millrace_webhook_conflicts_total", COUNTER, "Same event id, other body: kept in quarantine.", "source")    \
    X(MR_M_WEBHOOK_QUARANTINE, "millrace_webhook_quarantine_total", COUNTER,                                                              \
      "Refused requests: kept, passed_over by the rate, dropped (behind, no_room, failed), evicted for newer ones.",                      \
      "source,outcome,cause")                                                                                                             \
    X(MR_M_WEBHOOK_ACCEPTED_TIME, "millrace_webhook_last_accepted_time_seconds", GAUGE,                                                   \
      "When the last request was accepted, seconds since 1970; after a start that of the last landing.", "source")                        \
    X(MR_M_WEBHOOK_FAILING, "millrace_webhook_failing_requests", GAUGE,                                                                   \
      "Signed requests refused since the last accepted one.", "source")                                                                   \
    X(MR_M_WEBHOOK_UNVERIFIED, "millrace_webhook_unverified", GAUGE, "1 for a source with `verify: {scheme: none}`.", "source")           \
    X(MR_M_KAFKA_RECORDS, "millrace_kafka_records_total", COUNTER, "Records and ends of partitions taken from the brokers.", "source")   \
    X(MR_M_KAFKA_BYTES, "millrace_kafka_bytes_total", COUNTER, "Bytes of their keys and values.", "source")                               \
    X(MR_M_KAFKA_REBALANCES, "millrace_kafka_rebalances_total", COUNTER, "Times that the group gave us partitions or took some.", "source") \
    X(MR_M_KAFKA_READ_LAG, "millrace_kafka_read_lag_records", GAUGE, "Offsets between what was read and the end of the partition (of finished transactions).", \
      "source,topic,partition")                                                                                                           \
    X(MR_M_KAFKA_LANDED_LAG, "millrace_kafka_landed_lag_records", GAUGE, "The same, from what is in the zone.", "source,topic,partition") \
    X(MR_M_KAFKA_READ_LAG_SECONDS, "millrace_kafka_read_lag_seconds", GAUGE, "Age of the newest record that was read, while there are more; else 0.", \
      "source,topic,partition")                                                                                                           \
    X(MR_M_KAFKA_LANDED_LAG_SECONDS, "millrace_kafka_landed_lag_seconds", GAUGE, "Age of the newest record in the zone, while there are more; else 0.", \
      "source,topic,partition")                                                                                                           \
    X(MR_M_POSTGRES_ROWS, "millrace_postgres_rows_total", COUNTER, "Row versions that have landed, or are about to be decided.", "source,stream") \
    X(MR_M_POSTGRES_BYTES, "millrace_postgres_bytes_total", COUNTER, "Bytes of rows taken from the server.", "source,stream")             \
    X(MR_M_POSTGRES_RUNS, "millrace_postgres_runs_total", COUNTER, "Runs of a stream: done, failed.", "source,stream,outcome")            \
    X(MR_M_POSTGRES_LATE, "millrace_postgres_late_rows_total", COUNTER, "Row versions that a sweep found below the range.", "source,stream") \
    X(MR_M_POSTGRES_TOMBSTONES, "millrace_postgres_tombstones_total", COUNTER, "Keys that a scan found gone.", "source,stream")            \
    X(MR_M_POSTGRES_KEYS, "millrace_postgres_keys", GAUGE, "Keys that were there at the last scan.", "source,stream")                      \
    X(MR_M_POSTGRES_LAST, "millrace_postgres_last_run_time_seconds", GAUGE, "When a run of the stream last ended well, seconds since 1970.", "source,stream") \
    X(MR_M_POSTGRES_LAG, "millrace_postgres_watermark_lag_seconds", GAUGE, "Age of the newest watermark that has landed, at the last run.", "source,stream") \
    X(MR_M_POSTGRES_XID_LAG, "millrace_postgres_transaction_lag", GAUGE, "Transaction ids between the server's newest and the first that is not known to be over.", "source,stream") \
    X(MR_M_POSTGRES_IDS, "millrace_postgres_ids_held", GAUGE, "Transaction ids that are remembered as landed.", "source,stream")          \
    X(MR_M_POSTGRES_PAGES_LEFT, "millrace_postgres_walk_pages_left", GAUGE, "Pages of a table that a first read or a sweep has still before it.", "source,stream") \
    X(MR_M_POSTGRES_CONFLICTS, "millrace_postgres_conflicts_total", COUNTER, "Reads that a standby ended to go on with its replay (40001).", "source") \
    X(MR_M_POSTGRES_HIDDEN, "millrace_postgres_hidden_sessions", GAUGE, "Sessions whose transactions the user may not see.", "source")    \
    X(MR_M_POSTGRES_REPLICA_LAG, "millrace_postgres_replica_lag_seconds", GAUGE, "How far the standby's replay was behind, when last waited for.", "source") \
    X(MR_M_POSTGRES_XID_AGE, "millrace_postgres_xid_age", GAUGE, "Age of the oldest transaction id of the database.", "source")           \
    X(MR_M_QUEUE_GROUPS, "millrace_queue_groups_total", COUNTER, "Groups written and synced.", "")                                        \
    X(MR_M_QUEUE_RECORDS, "millrace_queue_records_total", COUNTER, "Records made durable.", "")                                           \
    X(MR_M_QUEUE_BYTES, "millrace_queue_bytes", GAUGE, "Bytes of segments that are not yet freed.", "")                                   \
    X(MR_M_QUEUE_SEGMENTS, "millrace_queue_segments", GAUGE, "Segments in use.", "")                                                      \
    X(MR_M_QUEUE_DEPTH, "millrace_queue_depth_records", GAUGE, "Records durable and not yet published.", "")                              \
    X(MR_M_QUEUE_SYNC, "millrace_queue_sync_seconds", HISTOGRAM, "Time of one write and sync of a group.", "")                            \
    X(MR_M_QUEUE_SYNC_FAILED, "millrace_queue_sync_failed_total", COUNTER, "Groups whose write or sync failed.", "")                      \
    X(MR_M_QUEUE_CORRUPT, "millrace_queue_corrupt_bytes_total", COUNTER, "Damaged bytes found in the queue, kept in quarantine.", "")     \
    X(MR_M_LANDED_RECORDS, "millrace_landed_records_total", COUNTER, "Records decided.", "source,stream")                                 \
    X(MR_M_LANDED_BYTES, "millrace_landed_bytes_total", COUNTER, "Bytes of zone files decided, compressed.", "source,stream")             \
    X(MR_M_LANDED_FILES, "millrace_landed_files_total", COUNTER, "Zone files decided.", "source,stream")                                  \
    X(MR_M_LANDINGS, "millrace_landings_total", COUNTER, "Landings by outcome: published, fenced, sealed, seen, failed.", "source,outcome") \
    X(MR_M_LANDING_SECONDS, "millrace_landing_decide_seconds", HISTOGRAM, "From closing a landing to published.", "")                     \
    X(MR_M_LANDED_TIME, "millrace_last_landed_time_seconds", GAUGE, "When the source last landed, seconds since 1970.", "source,stream")  \
    X(MR_M_STATE_COMMITS, "millrace_state_commits_total", COUNTER, "Commits of the state store.", "")                                     \
    X(MR_M_STATE_COMMIT_SECONDS, "millrace_state_commit_seconds", HISTOGRAM, "Time of one commit of the state store.", "")                \
    X(MR_M_DISK_FREE, "millrace_disk_free_bytes", GAUGE, "Free bytes where the queue, zone or state lies.", "what")                       \
    X(MR_M_QUARANTINE_BYTES, "millrace_quarantine_bytes", GAUGE, "Bytes kept in quarantine.", "source")

enum mr_metric {
#define MR_METRIC_ENUM(id, name, type, help, labels) id,
    MR_METRICS(MR_METRIC_ENUM)
#undef MR_METRIC_ENUM
        MR_M_COUNT
};

struct mr_metrics;
struct mr_cell; /* one counter, gauge or histogram */
struct mr_metrics *mr_metrics_new(void); /* with build info and start time set */
void mr_metrics_free(struct mr_metrics *m);
/* The cell for these label values (as many as the row has labels, in order, NUL-terminated). Never NULL. */
struct mr_cell *mr_metric_cell(struct mr_metrics *m, enum mr_metric id, const char *const *label_values);
#define mr_metric(m, id, ...) mr_metric_cell(m, id, (const char *const[]){__VA_ARGS__, NULL})
#define mr_metric0(m, id) mr_metric_cell(m, id, NULL) /* a row without labels */
void mr_cell_add(struct mr_cell *c, int64_t n);       /* counter or gauge */
void mr_cell_set(struct mr_cell *c, double v);        /* gauge */
void mr_cell_observe(struct mr_cell *c, double seconds); /* histogram: 16 buckets from 50 us to 30 s, base about 2.3 */
double mr_cell_value(const struct mr_cell *c);
/* Prometheus text format 0.0.4, whole registry. */
void mr_metrics_write(struct mr_metrics *m, struct mr_buf *out);
void mr_metrics_reference(struct mr_buf *out); /* docs/metrics.md */

#endif
