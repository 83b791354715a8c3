/* SPDX-License-Identifier: Apache-2.0 */
/* state/sqlite/sqlite.h - how the stories of this folder meet: what runs a call, and what makes a file a store.
 *
 * Runs on: lane STATE, all of it. */
#ifndef MILLRACE_STATE_SQLITE_SQLITE_H
#define MILLRACE_STATE_SQLITE_SQLITE_H

#include "state/sqlite/sql.h"

/* -- migrate.c */
struct mr_db_step { /* from schema i (its index) to i + 1; forward only, never edited once released */
    const char *sql;
};
extern const struct mr_db_step mr_db_steps[];
extern const size_t mr_db_steps_count; /* the schema that this program knows */
/* Makes (create) or checks the file, opens it, brings its schema to steps_count, reads the facts.
 * MR_ENOENT; MR_ECORRUPT; MR_ECONFIG: another program's, of a newer millrace, or (not create) in need of migration. */
MR_MUST enum mr_code mr_db_start(struct mr_db *db, const char *path, bool create, const struct mr_db_step *steps,
                                 size_t steps_count, struct mr_store_facts *facts, struct mr_err *err);

/* -- one function a kind of call: it runs in a transaction if its mode is WRITE, and leaves code and answer in the
 * call. An error other than the store's own (fenced, sealed ...) is already in db->err, which is the call's. */
void mr_run_position(struct mr_db *db, struct mr_call *call);
void mr_run_positions(struct mr_db *db, struct mr_call *call);
void mr_run_rows(struct mr_db *db, struct mr_call *call);
void mr_run_position_set(struct mr_db *db, struct mr_call *call);
void mr_run_pause(struct mr_db *db, struct mr_call *call);
void mr_run_paused(struct mr_db *db, struct mr_call *call);
void mr_run_adopt(struct mr_db *db, struct mr_call *call);

void mr_run_seen(struct mr_db *db, struct mr_call *call);
void mr_seen_list(struct mr_db *db); /* from here on the filter knows its days, and may be read; once */
/* A piece of what the filter has still to read (db->filter_reading). */
void mr_seen_read_on(struct mr_db *db);
/* The part of a decision that inserts ids; MR_ESEEN with call->decided.which. */
void mr_seen_insert(struct mr_db *db, struct mr_call *call);

void mr_run_begin(struct mr_db *db, struct mr_call *call);
void mr_run_renew(struct mr_db *db, struct mr_call *call);
void mr_run_end(struct mr_db *db, struct mr_call *call);
void mr_run_sweep(struct mr_db *db, struct mr_call *call);
/* MR_EEPOCH unless the instance is there, not ended, and of this epoch. */
MR_MUST enum mr_code mr_check_epoch(struct mr_db *db, const struct mr_instance *instance);

void mr_run_decide(struct mr_db *db, struct mr_call *call);
/* Its number if a landing of this id is decided, else 0. */
int64_t mr_decided_number(struct mr_db *db, struct mr_str landing);

void mr_run_published(struct mr_db *db, struct mr_call *call);
void mr_run_lost(struct mr_db *db, struct mr_call *call);
void mr_run_replayed(struct mr_db *db, struct mr_call *call);
void mr_run_lost_landings(struct mr_db *db, struct mr_call *call);
void mr_run_unpublished(struct mr_db *db, struct mr_call *call);
void mr_run_landings(struct mr_db *db, struct mr_call *call);

void mr_run_stage_begin(struct mr_db *db, struct mr_call *call);
void mr_run_stage_end(struct mr_db *db, struct mr_call *call);
void mr_run_seal(struct mr_db *db, struct mr_call *call);
void mr_run_day_counts(struct mr_db *db, struct mr_call *call);
int32_t mr_sealed_through(struct mr_db *db);

void mr_run_run(struct mr_db *db, struct mr_call *call);
void mr_run_last_runs(struct mr_db *db, struct mr_call *call);
void mr_run_alert(struct mr_db *db, struct mr_call *call);
void mr_run_alerts(struct mr_db *db, struct mr_call *call);

/* One slice, in a transaction of its own; true: call again. */
bool mr_run_keep(struct mr_db *db, struct mr_call *call);

/* A connection of its own to the file `from`. Runs on: lane MISC. */
MR_MUST enum mr_code mr_db_backup(const char *from, const char *to, struct mr_err *err);

#endif
