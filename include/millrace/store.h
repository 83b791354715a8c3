/* SPDX-License-Identifier: Apache-2.0 */
/* store.h - the state store's life and its write side: decisions, instances, sealing. For landing, app and cli; no door includes it.
 *
 * One interface, two stores: SQLite (WAL, synchronous=FULL, on its own thread, the embedded default) and, for a fleet,
 * Postgres. All calls but open are as in state.h: asynchronous, one callback on the loop. A store runs its calls in the order
 * given. Several decisions that wait together share one commit, each in its own savepoint; their callbacks run after the commit. docs/state.md shows the tables. */
#ifndef MILLRACE_STORE_H
#define MILLRACE_STORE_H

#include "millrace/alert.h"
#include "millrace/state.h"

enum { MR_NO_DAY = INT32_MIN };

struct mr_store_options {
    const char *url;      /* "sqlite:<path of the file>", or "postgres://…" as libpq takes it, and schema=NAME (default millrace) */
    bool create;          /* make and migrate it; false: open what is there (cli), MR_ENOENT if nothing is */
    const char *home;     /* the data_dir's id, for a store that others share; NULL: none. Who has the same home and another id is dead */
};
typedef void (*mr_store_open_cb)(void *arg, const struct mr_err *err, struct mr_store *store /* yours; NULL on error */);
void mr_store_open(struct mr_loop *loop, const struct mr_store_options *options, mr_store_open_cb cb, void *arg);
/* The process is ending: a commit in doubt is asked about a few more times only (seconds). If that does not help, its calls and all
 * later ones end with MR_ECANCELED: whether such a decision took is for the next start to find out, so nothing that it names may be deleted. */
void mr_store_ending(struct mr_store *s);
/* Says so too. Waits for calls in flight (their callbacks run), then closes and frees. */
void mr_store_close(struct mr_store *s, void (*cb)(void *arg), void *arg);

struct mr_store_facts {
    char id[37];              /* the store's random id, also in zone.json */
    int64_t last_number;      /* highest decided number, 0 if none */
    int32_t sealed_through;   /* MR_NO_DAY if none */
    int schema_version;
    bool fresh;               /* nothing was ever decided */
};
/* The clock that gives landings their day: a server's, so that all of a fleet agree; else our own. Microseconds since 1970, UTC. */
int64_t mr_store_now_us(const struct mr_store *s);
const struct mr_store_facts *mr_store_facts(const struct mr_store *s); /* as of open; last_number and sealed_through follow our own decisions */

/* -- instances ---------------------------------------------------------------------------------------------------------- */
struct mr_instance {
    char id[40];   /* file-name safe */
    int64_t epoch;
};
typedef void (*mr_instance_cb)(void *arg, const struct mr_err *err, const struct mr_instance *instance);
/* A new instance row with epoch 1, alive for lease_ms. */
void mr_store_instance_begin(struct mr_store *s, int64_t lease_ms, mr_instance_cb cb, void *arg);
typedef void (*mr_done_cb)(void *arg, const struct mr_err *err);
void mr_store_instance_renew(struct mr_store *s, const struct mr_instance *instance, int64_t lease_ms, mr_done_cb cb, void *arg); /* MR_EEPOCH */
void mr_store_instance_end(struct mr_store *s, const struct mr_instance *instance, mr_done_cb cb, void *arg);
typedef void (*mr_instances_cb)(void *arg, const struct mr_err *err, const struct mr_instance *ended, size_t count);
/* Ends, in a transaction of its own, the epochs of all instances but `self` that are not alive (`all`: of all others of its home, in a store of one process of all: the caller holds the lock on data_dir). */
void mr_store_sweep(struct mr_store *s, const struct mr_instance *self, bool all, mr_instances_cb cb, void *arg);
/* The instances whose epoch has not ended, whether they are alive or not: what they have staged is theirs. */
void mr_store_living(struct mr_store *s, mr_instances_cb cb, void *arg);

/* -- decisions ---------------------------------------------------------------------------------------------------------- */
struct mr_decision {
    struct mr_instance instance;
    struct mr_str landing;           /* its id, unique for ever */
    struct mr_str source, run;       /* run: replay run id, or empty */
    int32_t day;                     /* ingest day, MR_NO_DAY without files */
    int64_t began_us;
    const struct mr_zone_file *files;
    size_t files_count;
    const struct mr_move *moves;
    size_t moves_count;
    const struct mr_row *rows;
    size_t rows_count;
    const struct mr_seen *seen;      /* inserted; sorted by (day, id) makes it fast */
    size_t seen_count;
    int64_t records, bytes;          /* counts for the run */
    bool uploads;                    /* its files are staged as uploads, which have rows */
};
struct mr_decided {
    enum mr_code code;        /* MR_OK; MR_EFENCED (a move or row lost its compare-and-swap), MR_EEPOCH, MR_ESEALED, MR_ESEEN: this landing is not decided; else the store failed */
    int64_t number;           /* when MR_OK: rising, without gaps only by luck */
    int32_t sealed_through;
    size_t which;             /* index of the move or row that lost; of the first id present */
    const struct mr_err *err;
};
typedef void (*mr_decided_cb)(void *arg, const struct mr_decided *decided);
/* `decision` and all that it points to are the caller's until cb. On MR_EIO and the like nobody knows whether the commit took:
 * the store finds out by the landing's id before it calls back, so the answer is always true. */
void mr_store_decide(struct mr_store *s, const struct mr_decision *decision, mr_decided_cb cb, void *arg);
void mr_store_published(struct mr_store *s, const int64_t *numbers, size_t count, mr_done_cb cb, void *arg); /* copied */
void mr_store_lost(struct mr_store *s, int64_t number, mr_done_cb cb, void *arg); /* publish cannot succeed: kept, told by landing_lost */

/* A lost landing was read again and has landed under another number: it is lost no longer, and its files are forgotten. */
void mr_store_replayed(struct mr_store *s, int64_t number, mr_done_cb cb, void *arg);

/* Decided and not published, of all instances whose epoch has ended or is `self`'s; lowest number first. */
void mr_store_unpublished(struct mr_store *s, const struct mr_instance *self, mr_landings_cb cb, void *arg);
/* By id (landing.p) or, with landing.p == NULL, all files and landings with number > after, at most limit (verify streams through them). */
void mr_store_landings(struct mr_store *s, struct mr_str landing, int64_t after, size_t limit, mr_landings_cb cb, void *arg);

/* -- whole landings that are open, and sealing --------------------------------------------------------------------------- */
void mr_store_stage_begin(struct mr_store *s, const struct mr_instance *instance, struct mr_str landing, struct mr_str source, int32_t day, mr_done_cb cb, void *arg);
void mr_store_stage_end(struct mr_store *s, struct mr_str landing, mr_done_cb cb, void *arg);

/* -- staged uploads: files of a zone that can list neither what an instance has staged nor who it is (S3) ------------------ */
struct mr_upload {
    struct mr_str landing, path; /* path: final, relative to the zone; unique */
    struct mr_str id;            /* empty: about to be begun; nobody knows whether it was */
    bool orphan;                 /* told to the store: its instance lives, and has given it up */
    bool settled;                /* told by the store: given up, or its instance ended, long enough ago that no request of it is on its way any more */
};
/* Before it is begun, without its id: MR_EEPOCH if the instance has ended. Once it is begun, with its id: whatever became of the instance, so that it is found. A
 * decision takes its landing's rows away (mr_decision.uploads). */
void mr_store_upload(struct mr_store *s, const struct mr_instance *instance, const struct mr_upload *upload, mr_done_cb cb, void *arg);
void mr_store_uploads_gone(struct mr_store *s, const struct mr_str *paths, size_t count, mr_done_cb cb, void *arg); /* copied */
typedef void (*mr_uploads_cb)(void *arg, const struct mr_err *err, const struct mr_upload *uploads, size_t count);
/* Given up, or of instances whose epoch has ended, at most 1000: to be aborted. */
void mr_store_uploads(struct mr_store *s, mr_uploads_cb cb, void *arg);

typedef void (*mr_sealed_cb)(void *arg, const struct mr_err *err, int32_t sealed_through, bool blocked /* by an open or unpublished landing */);
/* Raises sealed_through to `day` if no live instance has a whole landing open that began on or before it and every landing decided for it is published. */
void mr_store_seal(struct mr_store *s, int32_t day, mr_sealed_cb cb, void *arg);
struct mr_day_count { struct mr_str source, stream; int64_t files, rows, bytes; };
typedef void (*mr_day_counts_cb)(void *arg, const struct mr_err *err, const struct mr_day_count *counts, size_t count);
void mr_store_day_counts(struct mr_store *s, int32_t day, mr_day_counts_cb cb, void *arg); /* for _SEALED */

/* -- what a person does --------------------------------------------------------------------------------------------------- */
/* Sets (value.p) or deletes a position; its version rises, so a running server's next compare-and-swap fails and it reads again. part.p == NULL: all parts (delete only). */
void mr_store_position_set(struct mr_store *s, struct mr_str source, struct mr_str stream, struct mr_str part, struct mr_str value, mr_done_cb cb, void *arg);
void mr_store_pause(struct mr_store *s, struct mr_str source, bool paused, mr_done_cb cb, void *arg);
typedef void (*mr_paused_cb)(void *arg, const struct mr_err *err, const struct mr_str *sources, size_t count);
void mr_store_paused(struct mr_store *s, mr_paused_cb cb, void *arg);
void mr_store_backup(struct mr_store *s, const char *path, mr_done_cb cb, void *arg); /* MR_EEXIST rather than overwrite */
/* Makes this store the zone's: raises the number counter above `number` and returns in facts; the caller writes zone.json. */
void mr_store_adopt(struct mr_store *s, int64_t number, mr_done_cb cb, void *arg);

/* -- runs, alerts, growth ---------------------------------------------------------------------------------------------------- */
void mr_store_run(struct mr_store *s, const struct mr_run *run, mr_done_cb cb, void *arg); /* an empty run is coalesced with the empty one before */
void mr_store_alert(struct mr_store *s, const struct mr_alert *alert, mr_done_cb cb, void *arg);
typedef void (*mr_alerts_cb)(void *arg, const struct mr_err *err, const struct mr_alert *alerts, size_t count);
void mr_store_alerts(struct mr_store *s, mr_alerts_cb cb, void *arg); /* the open ones */
struct mr_keep { int64_t before_us; int32_t seen_before_day; uint64_t seen_max_ids; };
struct mr_kept { int64_t rows_deleted; int32_t seen_shortened_to; /* MR_NO_DAY: not shortened */ };
typedef void (*mr_kept_cb)(void *arg, const struct mr_err *err, const struct mr_kept *kept);
/* Retention: landings, files, runs, closed alerts, ended instances before before_us (never the newest of a source, never unpublished); seen tables
 * before seen_before_day dropped whole; the oldest ones too while more than seen_max_ids ids are kept. In slices: other calls run between them. */
void mr_store_keep(struct mr_store *s, const struct mr_keep *keep, mr_kept_cb cb, void *arg);

#endif
