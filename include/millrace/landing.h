/* SPDX-License-Identifier: Apache-2.0 */
/* landing.h - stage, decide, publish: the only way into the raw zone, for every door.
 *
 *   stage    records are encoded and written to files that no reader can see, then made durable
 *   decide   one transaction records the files, the source's moves, counts and other rows: the only moment that counts
 *   publish  the files appear under their final names; repeatable; finished at the next start if we die here
 *
 * A door begins a landing, adds records on a worker, and asks for its decision with the moves that the records amount to.
 * Before the decision nothing happened, after it everything did. A landing that loses (fenced, sealed, seen) is dropped whole: the door
 * still has its input, reads its positions again and stages anew. Only on_published may the outside be told. */
#ifndef MILLRACE_LANDING_H
#define MILLRACE_LANDING_H

#include "millrace/decision.h"
#include "millrace/record.h"
#include "millrace/state.h"

struct mr_landings; /* the module: made and wired by app */
struct mr_landing;

enum mr_landing_kind {
    MR_LANDING_ROLLING, /* webhook, Kafka, API: on_roll asks for its end by size, age, midnight */
    MR_LANDING_WHOLE    /* a file, a snapshot, a chunk: keeps the day it began; holds that day open */
};
enum mr_roll_reason { MR_ROLL_SIZE, MR_ROLL_AGE, MR_ROLL_MIDNIGHT, MR_ROLL_DRAIN };

struct mr_landing_owner {
    /* Rolling landings: close it soon: finish the slice at hand, then mr_landing_decide(). Repeated for each reason at most once. Loop. May be NULL for whole ones. */
    void (*on_roll)(void *arg, struct mr_landing *l, enum mr_roll_reason why);
    void *arg;
};

/* Starts a landing for `source`. No I/O: files are made by the first record of each stream. Runs on: loop.
 * run: replay run id or empty. NULL never. */
struct mr_landing *mr_landing_begin(struct mr_landings *ls, struct mr_str source, struct mr_str run, enum mr_landing_kind kind, const struct mr_landing_owner *owner);

/* Adds one record: encoded, compressed and written before it returns (to the page cache). Nothing of `record` is kept.
 * Runs on: a worker (lane COMPRESS), one thread at a time for one landing, and not between mr_landing_decide() and its callback.
 * Fails with MR_ENOSPC, MR_EIO: then the landing can only be abandoned. */
MR_MUST enum mr_code mr_landing_add(struct mr_landing *l, const struct mr_record *record, struct mr_err *err);

/* After a slice of adds, on the loop: lets the landing look at its size and age (starts the age timer at the first record). */
void mr_landing_slice_done(struct mr_landing *l);

int64_t mr_landing_records(const struct mr_landing *l); /* added so far; not while a worker adds */
int64_t mr_landing_bytes(const struct mr_landing *l);   /* compressed bytes written so far */
const char *mr_landing_id(const struct mr_landing *l);

struct mr_verdict {
    enum mr_code code;   /* MR_OK: decided. MR_EFENCED, MR_ESEALED, MR_ESEEN: read positions, stage again. MR_EEPOCH: the same, after app has taken a new epoch. Else (MR_EIO, MR_ENOSPC …): not decided; stage again after a back-off */
    size_t which;        /* FENCED: index of the move; SEEN: of the first id present */
    int64_t number;
    const struct mr_err *err;
};
enum mr_published {
    MR_PUBLISHED,     /* the files are in the zone and the store knows: the outside may be told */
    MR_PUBLISH_LOST,  /* it cannot succeed (alert landing_lost): keep the source's input */
    MR_PUBLISH_LATER  /* this process is stopping: the next start finishes it. Keep the input until then */
};
struct mr_landing_end {
    /* Exactly once. Unless code is MR_OK the landing is gone when this returns and on_published never comes. */
    void (*on_decided)(void *arg, const struct mr_verdict *verdict);
    /* After MR_OK, exactly once, however long publishing takes (retried with back-off for as long as the process lives). The landing is gone. */
    void (*on_published)(void *arg, enum mr_published how);
    void *arg;
};
/* Closes the files, makes them durable, decides, publishes. Moves, rows and seen ids are copied. Landings of one source are decided in the order asked for;
 * if one is refused, so are those asked for by then that move a part of its: MR_EFENCED. So several may be on their way, each expecting the version that the one before leaves.
 * A landing without records may carry moves alone. Runs on: loop; no add may be running. */
void mr_landing_decide(struct mr_landing *l, const struct mr_move *moves, size_t moves_count, const struct mr_row *rows, size_t rows_count,
                       const struct mr_seen *seen, size_t seen_count, const struct mr_landing_end *end);
/* Drops it whole: staged files are deleted. Runs on: loop; no add may be running. Returns at once; the memory goes later. */
void mr_landing_abandon(struct mr_landing *l);

/* -- the module, for app ------------------------------------------------------------------------------------------------ */
struct mr_zone;
struct mr_instance;
struct mr_landings_options {
    struct mr_loop *loop;
    struct mr_store *store;
    struct mr_zone *zone;
    const struct mr_instance *instance; /* copied; epoch too */
    enum mr_codec_config { MR_LANDINGS_NONE, MR_LANDINGS_ZSTD, MR_LANDINGS_GZIP } codec;
    int64_t roll_size;   /* compressed bytes */
    int64_t roll_age_ms;
    int64_t seal_after_ms;
    bool write_sealed;   /* zone.seal */
    bool sole;           /* the caller holds the lock on data_dir: who lived there before is dead (mr_store_sweep) */
};
MR_MUST enum mr_code mr_landings_new(const struct mr_landings_options *options, struct mr_landings **out, struct mr_err *err);
/* Start-up, before any door: publishes what ended instances and we ourselves had decided, then drops their stages. cb on the loop. */
void mr_landings_resume(struct mr_landings *ls, void (*cb)(void *arg, const struct mr_err *err), void *arg);
/* In a store that others share: does the same for instances that are no longer alive, while we go on. Cheap when there is nothing to do. cb on the
 * loop; not two at once; be done with it before mr_landings_close(). */
void mr_landings_finish_others(struct mr_landings *ls, void (*cb)(void *arg, const struct mr_err *err), void *arg);
void mr_landings_reconfigure(struct mr_landings *ls, const struct mr_landings_options *options); /* reload: roll, codec, seal */
/* Drain: every rolling landing that is open is asked to roll (MR_ROLL_DRAIN). The process is ending: mr_store_ending(). */
void mr_landings_drain(struct mr_landings *ls);
size_t mr_landings_busy(const struct mr_landings *ls); /* landings begun and not yet gone */
/* Needs busy == 0 or abandons what is open; decided landings keep their files for the next start. */
void mr_landings_close(struct mr_landings *ls, void (*cb)(void *arg), void *arg);

#endif
