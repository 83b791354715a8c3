/* SPDX-License-Identifier: Apache-2.0 */
/* position.h - where a partition stands, as it is kept in the state store, and what the broker's numbers mean for it. Pure.
 *
 *      {"next": 1201, "anchor": 1200, "crc": 2868310473, "ts": 1764000000000, "incarnation": 1}
 *
 * next         first offset that has not landed. It passes over offsets that no record has (compacted, aborted, control records), so it
 *              may be beyond the last record + 1
 * anchor       offset of the newest record that landed, with the checksum of its key and value and its timestamp (ms). Read again when the
 *              partition is taken: another record in its place means that the log is another one (the topic was made anew, or cut).
 *              Absent before the first record
 * incarnation  how often the log was found to be another one; 0 is left out. Part of the records' ids, which thereby stay unique */
#ifndef MR_KAFKA_POSITION_H
#define MR_KAFKA_POSITION_H

#include "millrace/buf.h"

struct kafka_anchor {
    int64_t offset; /* -1: none */
    uint32_t crc;
    int64_t ts_ms;
};
struct kafka_position {
    int64_t next;
    struct kafka_anchor anchor;
    int64_t incarnation;
};

void kafka_position_put(const struct kafka_position *p, struct mr_buf *json);
/* A plain number, as a person may set it, is `next` alone. MR_EMALFORMED says what is wrong. */
MR_MUST enum mr_code kafka_position_get(struct mr_str json, struct kafka_position *out, struct mr_err *err);

/* key.p, value.p NULL: null; not the same as empty. */
uint32_t kafka_record_crc(struct mr_str key, struct mr_str value);

enum kafka_anchor_verdict {
    KAFKA_ANCHOR_SAME,
    KAFKA_ANCHOR_OTHER, /* another log */
    KAFKA_ANCHOR_GONE   /* compacted or aborted away: nothing can be said */
};
/* The first record that came when the partition was read from its anchor on. */
enum kafka_anchor_verdict kafka_anchor_judge(const struct kafka_anchor *anchor, int64_t offset, uint32_t crc, int64_t ts_ms);

enum kafka_range_verdict {
    KAFKA_RANGE_FINE, /* nothing is lost: retention took the anchor, not what is to be read */
    KAFKA_RANGE_LOST, /* [next, earliest) is gone */
    KAFKA_RANGE_CUT   /* the log ends before next: truncated, or the topic was made anew */
};
/* The broker has no such offset: what does it have? */
enum kafka_range_verdict kafka_range_judge(int64_t next, int64_t earliest, int64_t end);

/* Whose group commit is it? `metadata` as it was committed with the offset. */
enum kafka_commit_owner { KAFKA_COMMIT_NONE, KAFKA_COMMIT_OURS, KAFKA_COMMIT_OTHER_STORE, KAFKA_COMMIT_STRANGER };
enum kafka_commit_owner kafka_commit_owner(int64_t offset, struct mr_str metadata, const char *store_id);
void kafka_commit_mark(const char *store_id, char out[64]); /* "millrace/1 <store id>" */

#endif
