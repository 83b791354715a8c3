/* SPDX-License-Identifier: Apache-2.0 */
/* state.h - the state store's read side, which every door may use. The write side is store.h, for landing, app and cli only.
 *
 * Every call is asynchronous: it copies its arguments, returns at once, and its callback runs on the loop exactly once, on a later turn. What a
 * callback is handed is borrowed for the duration of the call. Runs on: loop. */
#ifndef MILLRACE_STATE_H
#define MILLRACE_STATE_H

#include "millrace/decision.h"
#include "millrace/loop.h"

struct mr_store;

struct mr_position {
    struct mr_str source, stream, part;
    int64_t version;    /* 0: no row, value is empty */
    struct mr_str value; /* JSON */
    int64_t changed_us;
};
typedef void (*mr_position_cb)(void *arg, const struct mr_err *err, const struct mr_position *position);
/* err->code MR_OK; a position that was never decided has version 0. */
void mr_store_position(struct mr_store *s, struct mr_str source, struct mr_str stream, struct mr_str part, mr_position_cb cb, void *arg);

typedef void (*mr_positions_cb)(void *arg, const struct mr_err *err, const struct mr_position *positions, size_t count);
/* All of a source, or of everybody when source.p == NULL; ordered by source, stream, part. */
void mr_store_positions(struct mr_store *s, struct mr_str source, mr_positions_cb cb, void *arg);

struct mr_kept_row { /* of source_rows */
    struct mr_str stream, kind, key, value;
    int64_t version;
};
typedef void (*mr_rows_cb)(void *arg, const struct mr_err *err, const struct mr_kept_row *rows, size_t count);
/* kind.p == NULL: all kinds. Keys above `after` in byte order, at most `limit`. */
void mr_store_rows(struct mr_store *s, struct mr_str source, struct mr_str stream, struct mr_str kind, struct mr_str after, size_t limit, mr_rows_cb cb, void *arg);

enum mr_seen_answer { MR_SEEN_NO, MR_SEEN_SAME, MR_SEEN_OTHER_BODY };
typedef void (*mr_seen_cb)(void *arg, const struct mr_err *err, const unsigned char *answers /* enum mr_seen_answer, one an id */, size_t count);
/* Is ids[i] present in a table of the arrival days first_day[i] .. ids[i].day + 1 (a stepped clock)? `ids` and `first_days` are NOT copied: the caller's until cb. */
void mr_store_seen(struct mr_store *s, const struct mr_seen *ids, const int32_t *first_days, size_t count, mr_seen_cb cb, void *arg);

/* A run of a source that has runs, for people: what was read, and how it ended. It decides nothing. */
struct mr_run {
    struct mr_str source, stream;
    struct mr_str outcome;        /* a word: ok, failed ... */
    struct mr_str error;          /* absent: none */
    int64_t started_us, ended_us; /* empty runs in a row are one, from the first's start to the last's end */
    int64_t rows, bytes;
    struct mr_str bounds;         /* JSON: from where to where it read; absent: nothing to say */
};
typedef void (*mr_runs_cb)(void *arg, const struct mr_err *err, const struct mr_run *runs, size_t count);
/* The newest of each stream of a source, or of everybody's when source.p == NULL; ordered by source, stream. */
void mr_store_last_runs(struct mr_store *s, struct mr_str source, mr_runs_cb cb, void *arg);

struct mr_zone_file {
    struct mr_str stream;
    struct mr_str path;     /* final, relative to the zone */
    struct mr_str staged;   /* relative to the zone: "_staging/<instance>/<name>.part" */
    int64_t rows, bytes;    /* records; bytes on disk */
    uint32_t crc32c;        /* of the bytes on disk */
};
struct mr_landing_row {
    int64_t number, decided_us;
    struct mr_str landing, source, run, instance, state; /* state: decided, published, lost */
    int32_t day;
    const struct mr_zone_file *files;
    size_t files_count;
    struct mr_str moves; /* JSON array: [{"stream","part","old_version","old","new"}] */
};
typedef void (*mr_landings_cb)(void *arg, const struct mr_err *err, const struct mr_landing_row *landings, size_t count);
/* Landings whose publishing cannot succeed: their doors keep the input for `millrace replay`. */
void mr_store_lost_landings(struct mr_store *s, mr_landings_cb cb, void *arg);

#endif
