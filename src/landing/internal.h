/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - a landing from the inside, shared by the files of the three steps.
 *
 *   stage.c     worker   encode, compress, write; then close and make durable
 *   decide.c    loop     the one transaction, in the order asked for within a source
 *   publish.c   loop     batches of decided landings: mark, rename, tell the store; retried until done
 *   resume.c    loop     start-up: finish the decided, drop the only staged
 *   seal.c      loop     days that will not change any more
 *   ledger.c    loop     what is staged far away, in the store
 *
 * States: OPEN (adds) -> CLOSING (files made durable on lane SYNC) -> WAITING (its turn in its source) -> DECIDING (in
 * the store)
 * -> PUBLISHING -> gone; from any of them before DECIDING's answer -> DROPPING -> gone. */
#ifndef MR_LANDING_INTERNAL_H
#define MR_LANDING_INTERNAL_H

#include "millrace/backoff.h"
#include "millrace/hash.h"
#include "millrace/landing.h"
#include "millrace/store.h"
#include "millrace/worker.h"
#include "millrace/zone.h"
#include "roll.h"

#include <assert.h>

enum landing_state {
    LANDING_OPEN,
    LANDING_CLOSING,
    LANDING_WAITING,
    LANDING_DECIDING,
    LANDING_PUBLISHING,
    LANDING_DROPPING
};

struct staged { /* one file of a landing: one stream */
    char *stream;
    size_t stream_n;
    struct mr_stage_file *file; /* NULL until its first bytes are compressed */
    struct mr_deflater *deflater;
    struct mr_buf lines;  /* encoded, not compressed yet */
    struct mr_buf packed; /* compressed, not written yet */
    int64_t rows, bytes;
    uint32_t crc32c;
    char *path;
    char *staged_path; /* set when it is durable */
};

struct mr_landing {
    struct mr_landings *ls;
    struct mr_landing *prev, *next; /* of ls->all, oldest first */
    enum landing_state state;
    char id[64];
    char *source, *run;
    enum mr_landing_kind kind;
    struct mr_landing_owner owner;
    struct mr_roll roll;
    enum mr_codec codec;
    int64_t began_us;
    int64_t records;
    bool failed;    /* an add failed: it can only be abandoned */
    bool overtaken; /* one before it that moves the same part was dropped */
    bool holds_day; /* a row in the store keeps its day from being sealed; the decision takes it away */

    struct staged *files;
    size_t files_count, files_cap, last_file;

    struct mr_job job; /* closing or dropping, on lane SYNC */
    struct mr_err err;

    /* the decision */
    struct mr_decision decision;
    struct mr_zone_file *zone_files;
    struct mr_move *moves;
    struct mr_row *rows;
    struct mr_seen *seen;
    struct mr_buf text; /* the copied strings of moves and rows */
    struct mr_landing_end end;
    struct mr_verdict verdict;
    uint64_t decision_order; /* of mr_landing_decide() calls, over all sources */
    int64_t closed_at_us;    /* monotonic */
    int64_t number;
    struct mr_landing *publish_next;
};

struct publish_batch { /* one at a time */
    struct mr_job job;
    struct mr_landing *landings; /* linked by publish_next */
    struct mr_publish_item *items;
    size_t count;
    int64_t highest;
    int64_t *numbers;
    size_t numbers_count;
    struct mr_err err;
    enum mr_code code, mark_code;
    bool out; /* on a worker or in the store */
};

struct mr_landings {
    struct mr_landings_options o;
    struct mr_instance instance;
    struct mr_stage_ledger ledger;
    enum mr_lane lane; /* for calls to the zone */
    struct mr_landing *all, *all_last;
    size_t busy;
    uint64_t next_id;
    int32_t sealed_through;
    uv_timer_t timer; /* rolls and sealing */
    uv_timer_t retry; /* a publish that failed */
    unsigned handles_open;
    struct mr_backoff backoff;
    struct mr_landing *to_publish, *to_publish_last;
    struct mr_landing *failed; /* to be published again when `retry` is due */
    struct publish_batch batch;
    size_t days_out; /* the store is noting or forgetting a held day */
    size_t lost_out; /* the store is noting that they are lost */
    size_t resumes_out;
    int64_t others_highest; /* the last number that we published for others */
    uint64_t seal_looked_ms;
    bool seal_out;
    size_t seal_files_out;
    int32_t seal_again;     /* the next day whose _SEALED files may be missing; downwards */
    int seal_again_left;    /* days to look at */
    uint64_t seal_again_ms; /* not before; loop time */
    bool seal_file_failed;  /* one could not be written: look at all days again, later */
    uint64_t decisions_asked;
    bool closing, closed_told;
    void (*closed_cb)(void *arg);
    void *closed_arg;
};

/* stage.c */
enum mr_code stage_close(struct mr_landing *l,
                         struct mr_err *err); /* worker: last frames, durable, paths and counts known */
void stage_drop(struct mr_landing *l);        /* worker: closes and deletes what is staged */
void stage_free(struct mr_landing *l);        /* memory only */
/* decide.c */
void landing_drop(struct mr_landing *l);  /* loop: staged files away, then gone */
void landing_gone(struct mr_landing *l);  /* loop: out of the list, freed */
void decide_next(struct mr_landings *ls); /* whoever's turn it is goes to the store */
/* publish.c */
void publish_add(struct mr_landing *l);
void publish_pump(struct mr_landings *ls);
void publish_failed_again(struct mr_landings *ls); /* now */
void on_publish_retry(uv_timer_t *t);
/* seal.c */
void seal_look(struct mr_landings *ls);
void seal_again(struct mr_landings *ls); /* at start: _SEALED files of days that are sealed already */
/* ledger.c */
void ledger_note(struct mr_stage_ledger *ledger, struct mr_stage_note *note);
/* landing.c */
void landings_schedule(struct mr_landings *ls);
void landings_maybe_closed(struct mr_landings *ls);
char *landing_text(struct mr_str s); /* a copy with its NUL, the caller's */
void landing_count(struct mr_landing *l, const char *outcome);
enum mr_codec landings_codec(const struct mr_landings *ls);

#endif
