/* SPDX-License-Identifier: Apache-2.0 */
/* queue.h - the durable queue: an append-only log in segments. A record is durable when its callback says MR_OK.
 *
 * It keeps bytes: a source's name (so that a segment can be freed when every source with records in it has published past
 * it) and an opaque payload. One writer thread writes and syncs everything that arrived while the last sync ran as one group. docs/queue-format.md has the bytes.
 * Sequences start at 1 and rise by 1 a record, over all sources; a void group's sequences are never given again. */
#ifndef MILLRACE_QUEUE_H
#define MILLRACE_QUEUE_H

#include "millrace/loop.h"
#include "millrace/str.h"

struct mr_queue;

struct mr_queue_options {
    struct mr_loop *loop;
    const char *dir;          /* <data_dir>/queue; made if missing */
    const char *quarantine;   /* <data_dir>/quarantine: damaged bytes go to <quarantine>/_queue/ */
    uint64_t segment_size;    /* bytes; default 64 MiB */
    uint64_t max_size;        /* bytes of segments in use; appends above it get MR_ENOSPC */
    uint64_t disk_reserve;    /* free bytes that must stay on the disk; below it MR_ENOSPC */
    size_t group_memory;      /* bytes that may wait for the writer; above it MR_EBUSY */
    uint64_t next_at_least;   /* the next sequence is above the tail and at least this (stored positions + 1) */
    /* Loop: records up to `horizon` are durable and readable. At most once a turn. */
    void (*on_durable)(void *arg, uint64_t horizon);
    void *arg;
};
struct mr_queue_facts {
    char id[33];              /* the queue's random id, hex */
    uint64_t first, horizon;  /* oldest sequence kept, newest durable (first > horizon: empty) */
    uint64_t bytes, segments; /* in use */
    uint64_t corrupt_bytes;   /* found damaged by recovery, kept in quarantine */
};
typedef void (*mr_queue_open_cb)(void *arg, const struct mr_err *err, struct mr_queue *queue);
/* Recovery: finds the tail, makes it durable, and only then calls back. Streams: memory does not grow with the queue. */
void mr_queue_open(const struct mr_queue_options *options, mr_queue_open_cb cb, void *arg);
/* The id alone, without opening, for whoever must read stored positions first. MR_ENOENT if there is no queue yet: one is then made. Blocks shortly: at start-up only. */
MR_MUST enum mr_code mr_queue_identify(const char *dir, char id[33], bool *has_records, struct mr_err *err);
/* Reload. Runs on: loop; takes hold with the next append, and the next look at the disk. */
void mr_queue_limits_set(struct mr_queue *q, uint64_t max_size, uint64_t disk_reserve);
/* Ends the writer after what it has; callbacks run. Then freed. */
void mr_queue_close(struct mr_queue *q, void (*cb)(void *arg), void *arg);
void mr_queue_facts(const struct mr_queue *q, struct mr_queue_facts *out);

/* Embedded in whoever waits (a connection); it must live until done(). */
struct mr_queue_wait {
    void (*done)(struct mr_queue_wait *w, enum mr_code code); /* loop, exactly once. MR_OK: durable under w->seq. Else nothing of it will land, unless the process dies before the next segment's header is durable */
    uint64_t seq;
    struct mr_queue_wait *next; /* private */
};
/* Copies source and pieces into the group at hand. MR_OK: done() comes on a later turn. Else done() never comes:
 * MR_EBUSY (group_memory), MR_ENOSPC (max_size, disk), MR_EIO (no segment can be made now). Runs on: loop. */
MR_MUST enum mr_code mr_queue_append(struct mr_queue *q, struct mr_str source, const struct mr_str *pieces, size_t count, struct mr_queue_wait *wait);

/* -- reading: a cursor over durable records, on a worker ------------------------------------------------------------------ */
struct mr_queue_record {
    uint64_t seq;
    struct mr_str source, payload; /* borrowed until the next call on this reader */
};
struct mr_queue_reader;
MR_MUST enum mr_code mr_queue_reader_new(struct mr_queue *q, uint64_t from, struct mr_queue_reader **out, struct mr_err *err); /* loop */
/* MR_OK; MR_EEND at the horizon (call again later); MR_EIO. Damaged bytes are quarantined, counted and skipped. Runs on: worker, one thread at a time. */
MR_MUST enum mr_code mr_queue_next(struct mr_queue_reader *r, struct mr_queue_record *out, struct mr_err *err);
/* Sets the cursor. No read may be running. */
void mr_queue_seek(struct mr_queue_reader *r, uint64_t seq);
void mr_queue_reader_free(struct mr_queue_reader *r);

/* Everything of `source` up to and including seq is published: its segments may go. Runs on: loop. */
void mr_queue_published(struct mr_queue *q, struct mr_str source, uint64_t seq);
/* A lost landing: records from seq on are kept, whatever is published, until unpinned (seq 0); of several the lowest counts. Kept in memory only: the store's lost landings say it again at start. */
void mr_queue_pin(struct mr_queue *q, uint64_t seq);
/* The sources with records in the queue, each with its last sequence: for whoever must know the gone ones at start. Borrowed in cb. */
void mr_queue_sources(const struct mr_queue *q, void (*each)(void *arg, struct mr_str source, uint64_t last_seq), void *arg);

#endif
