/* SPDX-License-Identifier: Apache-2.0 */
/* alert.h - surprises that a person should hear of: they open, repeat quietly and close by themselves.
 *
 * An alert's identity is (name, source, stream). Opening an open one counts a repeat and replaces the text; it is logged again
 * at most once an hour. What is logged (opened, still open, closed) is also given to the sink (which the root object wires to
 * the state store and, if set, to `alerts.url`); the sink may open and close alerts itself. A metric shows what is open.
 * Runs on: loop. */
#ifndef MILLRACE_ALERT_H
#define MILLRACE_ALERT_H

#include "millrace/log.h"
#include "millrace/metrics.h"

/* name, severity (warn: heals itself; error: someone must act), what it means, remedy */
#define MR_ALERTS(X)                                                                                                                      \
    X(MR_A_DISK_LOW, "disk_low", ERROR, "free space under the guard where the queue, zone or state lies",                                 \
      "make room; the webhook door answers 503 until there is some")                                                                      \
    X(MR_A_QUEUE_FULL, "queue_full", ERROR, "the durable queue has reached queue.max_size or its disk is full",                           \
      "see why landing is behind (millrace status), make room or raise queue.max_size")                                                   \
    X(MR_A_QUEUE_SYNC_FAILED, "queue_sync_failed", ERROR, "a write or sync of the queue failed; its senders got 503 and send again",      \
      "check the disk; the segment was given up and a new one is in use")                                                                 \
    X(MR_A_QUEUE_CORRUPT, "queue_corrupt", ERROR, "damaged records inside the queue; the bytes are in quarantine, later records are kept", \
      "check the disk; look at the file that the alert names")                                                                            \
    X(MR_A_ZONE_UNWRITABLE, "zone_unwritable", ERROR, "the zone cannot be written; events stay in the queue",                             \
      "check rights and space of zone.url; landing resumes by itself")                                                                    \
    X(MR_A_LANDING_LOST, "landing_lost", ERROR, "a decided landing cannot be published: its staged file is gone",                         \
      "millrace replay -c FILE --landing ID")                                                                                             \
    X(MR_A_STATE_FAILED, "state_failed", ERROR, "the state store cannot commit; events stay in the queue",                                \
      "check the disk of data_dir, or the server that `state` names; it resumes by itself")                                                                                 \
    X(MR_A_CLOCK_STEPPED, "clock_stepped", WARN, "the wall clock moved by more than it should have",                                      \
      "check time synchronisation; ingest days never go back past a sealed one")                                                          \
    X(MR_A_SIGNATURE_BURST, "signature_burst", WARN, "many requests with a bad signature",                                                \
      "millrace explain -c FILE SOURCE REQUEST.json tells why one is refused")                                                            \
    X(MR_A_ID_CONFLICT, "id_conflict", WARN, "the same event id came with another body; it is kept in quarantine, not landed",            \
      "compare the two; the vendor may count retries inside the body")                                                                    \
    X(MR_A_DEDUP_WINDOW, "dedup_window_shortened", WARN, "more event ids than dedup.max_ids; the oldest day was dropped early",           \
      "raise dedup.max_ids or shorten dedup.window")                                                                                      \
    X(MR_A_SOURCE_FAILED, "source_failed", ERROR, "the source cannot start or go on",                                                     \
      "the alert's text says why; millrace check -c FILE tries it")                                                                       \
    X(MR_A_RELOAD_REFUSED, "reload_refused", WARN, "the config file on disk was refused; the old one keeps serving",                      \
      "millrace check -c FILE --offline")                                                                                                 \
    X(MR_A_UNVERIFIED, "unverified_source", WARN, "a webhook source accepts anything: verify is none",                                    \
      "give it a scheme and secrets")                                                                                                     \
    X(MR_A_CERTIFICATE, "tls_certificate", WARN, "a certificate of the webhook listener ends soon, has ended, or cannot be read again",        \
      "renew the file and SIGHUP; connections that exist live on")                                                                        \
    X(MR_A_SILENT, "source_silent", ERROR, "no event came for longer than expect.every",                                                  \
      "is the webhook still switched on at the vendor, and its address the right one? Refused requests are another alert")                \
    X(MR_A_ALL_FAILING, "all_requests_failing", ERROR, "every signed request is refused, and has been for a while",                       \
      "has the vendor rotated its secret? Put the new one beside the old under verify.secrets, SIGHUP; a wrong clock looks alike. "       \
      "What was kept (quarantine: full) lands by millrace replay -c FILE SOURCE --from TIME")                                                      \
    X(MR_A_KAFKA_UNREACHABLE, "kafka_unreachable", ERROR, "no broker has answered for a minute", "check brokers and the network; it resumes by itself") \
    X(MR_A_KAFKA_REFUSED, "kafka_refused", ERROR, "the brokers refuse us: credentials, certificate, or the right to the group",           \
      "see tls and sasl; the group needs READ on `<environment>.<group>`; millrace check -c FILE tries it")                               \
    X(MR_A_KAFKA_TOPIC, "kafka_topic_unreadable", ERROR, "a topic is not there, or may not be read",                                      \
      "check its name under `topics`; it needs READ and DESCRIBE; the other topics go on")                                                \
    X(MR_A_KAFKA_DATA_LOST, "kafka_data_lost", ERROR, "records were deleted before they were read",                                       \
      "raise the topic's retention; the range is also kept in the state store (kind loss)")                                               \
    X(MR_A_KAFKA_LOG_CHANGED, "kafka_log_changed", ERROR, "a partition has another log than the one that was read",                       \
      "was the topic made anew? Its records land with ids of their own (`topic/partition@1/offset`)")                                     \
    X(MR_A_KAFKA_RETENTION, "kafka_retention_near", WARN, "retention will delete records before they land, at the pace of now",           \
      "see why landing is behind, or raise the topic's retention")                                                                        \
    X(MR_A_KAFKA_TRANSACTION, "kafka_transaction_hanging", WARN, "a transaction that stays open holds back a partition",                  \
      "find its producer, or abort it (kafka-transactions.sh); isolation: read_uncommitted would not wait")                               \
    X(MR_A_KAFKA_FOREIGN_STORE, "kafka_foreign_store", ERROR, "a millrace with another state store reads the same group",                 \
      "give all of a group one state store (postgres), or give each its own group")                                                       \
    X(MR_A_KAFKA_SCHEMAS, "kafka_schema_registry", WARN, "a schema cannot be had from the registry; records land all the same",            \
      "see schema_registry; what is missing is asked for again by itself")                                                                \
    X(MR_A_KAFKA_STOPPED, "kafka_stopped", ERROR, "a partition is not read: its position makes no sense",                                 \
      "millrace state -c FILE set SOURCE/TOPIC PARTITION OFFSET")                                                                         \
    X(MR_A_POSTGRES_UNREACHABLE, "postgres_unreachable", ERROR, "the server has not been reached for ten seconds", "check the server and the network; it resumes by itself") \
    X(MR_A_POSTGRES_REFUSED, "postgres_refused", ERROR, "the server lets us not in: user, password, certificate or pg_hba.conf",           \
      "see dsn and password; millrace check -c FILE tries it")                                                                            \
    X(MR_A_POSTGRES_STREAM, "postgres_stream_failed", ERROR, "a stream cannot be read; the others go on",                                 \
      "the alert's text says why; millrace check -c FILE tries it")                                                                       \
    X(MR_A_POSTGRES_SERVER, "postgres_other_server", ERROR, "this is not the server, or not the database, that was read before",           \
      "name the old one in dsn, or begin anew: millrace state -c FILE reset SOURCE/STREAM")                                                \
    X(MR_A_POSTGRES_WENT_BACK, "postgres_went_back", ERROR, "the server has lost transactions that had been read",                        \
      "a fail-over or a restored backup? What was landed of them is in the zone and no longer on the server; rows since then land again")  \
    X(MR_A_POSTGRES_HIDDEN, "postgres_sessions_hidden", WARN, "the user may not see when others' transactions began",                     \
      "GRANT pg_read_all_stats TO the user")                                                                                              \
    X(MR_A_POSTGRES_STRAGGLER, "postgres_straggler", WARN, "a transaction has been open for long; what it commits lands once it ends",     \
      "find it by its pid in pg_stat_activity; it also keeps vacuum from its work")                                                        \
    X(MR_A_POSTGRES_REPLICA_LAG, "postgres_replica_behind", WARN, "the standby has not replayed what the primary had committed",           \
      "check replication; runs go on once it has caught up")                                                                              \
    X(MR_A_POSTGRES_LATE, "postgres_late_rows", WARN, "a sweep found rows whose watermark did not say that they had changed",              \
      "who writes without touching the watermark, or with a clock behind by more than `skew`? They have landed, with `late`")              \
    X(MR_A_POSTGRES_SCHEMA, "postgres_schema_changed", WARN, "columns or relations have changed; rows land as they are now",               \
      "the stream _schema has what changed")                                                                                              \
    X(MR_A_POSTGRES_ROWS, "postgres_rows_unusual", WARN, "a run had fewer or more rows than is usual (expect.rows)",                       \
      "has something upstream stopped, or run twice? What there is has landed")                                                           \
    X(MR_A_POSTGRES_FRESH, "postgres_not_fresh", WARN, "the newest row is older than expect.fresh", "has something upstream stopped?")     \
    X(MR_A_POSTGRES_XID_AGE, "postgres_xid_age", WARN, "the database's oldest transaction id is near the end of its room",                \
      "vacuum; look for old prepared transactions and replication slots")                                                                 \
    X(MR_A_POSTGRES_ROW_TOO_BIG, "postgres_row_too_big", WARN, "a value above max_row was left out of its row",                            \
      "raise max_row, or leave the column out; `omitted` in the record names it")                                                         \
    X(MR_A_POSTGRES_DELETES, "postgres_deletes_unknown", WARN, "the keys of the last scan are missing or damaged, or are others by now",  \
      "what was deleted since that scan gets no tombstone, but for rows that have landed since; from the next scan on all is told again")

enum mr_alert_id {
#define MR_ALERT_ENUM(id, name, severity, meaning, remedy) id,
    MR_ALERTS(MR_ALERT_ENUM)
#undef MR_ALERT_ENUM
        MR_A_COUNT
};
struct mr_alert_row {
    const char *name;
    bool error; /* severity */
    const char *meaning, *remedy;
};
extern const struct mr_alert_row mr_alert_rows[MR_A_COUNT];

struct mr_alert { /* one that is or was open; for the sink and the status page */
    enum mr_alert_id id;
    const char *source, *stream; /* "" if none */
    const char *text;
    int64_t opened_us, changed_us, closed_us; /* closed_us 0: open */
    uint64_t repeats;
};
typedef void (*mr_alert_sink)(void *arg, const struct mr_alert *alert);

struct mr_alerts;
struct mr_alerts *mr_alerts_new(struct mr_log *log, struct mr_metrics *metrics);
void mr_alerts_free(struct mr_alerts *a);
void mr_alerts_set_sink(struct mr_alerts *a, mr_alert_sink sink, void *arg);
void mr_alert_open(struct mr_alerts *a, enum mr_alert_id id, const char *source, const char *stream, const char *fmt, ...) MR_PRINTF(5, 6);
void mr_alert_close(struct mr_alerts *a, enum mr_alert_id id, const char *source, const char *stream); /* harmless if not open */
/* At start: an alert that was open when the process ended is open again, unlogged, its opened_us kept. */
void mr_alert_restore(struct mr_alerts *a, const struct mr_alert *alert);
size_t mr_alerts_open_count(const struct mr_alerts *a);
typedef void (*mr_alert_each)(void *arg, const struct mr_alert *alert);
void mr_alerts_each(const struct mr_alerts *a, mr_alert_each each, void *arg); /* the open ones */

#endif
