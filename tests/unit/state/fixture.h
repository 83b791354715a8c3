/* SPDX-License-Identifier: Apache-2.0 */
/* fixture.h - a real loop, a folder, a store, and each asynchronous call as one that waits. Lists come as text, a line
 * a row. */
#ifndef MILLRACE_TEST_STATE_FIXTURE_H
#define MILLRACE_TEST_STATE_FIXTURE_H

#include "millrace/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct fix {
    struct mr_loop loop;
    struct mr_store *store;
    struct mr_instance self;
    char dir[64], url[256];
    /* the last answer */
    unsigned answers;
    enum mr_code code;
    char msg[512];
    char text[8192];
    int64_t number, version;
    int32_t day;
    size_t which;
    bool blocked;
    unsigned char seen[4096];
};

/* cmocka's; *state is the URL at first (`@`: the folder), or NULL for an SQLite file */
int fix_setup(void **state);      /* loop and an empty folder */
int fix_teardown(void **state);   /* closes the store, the loop, and deletes the folder */
int fix_setup_open(void **state); /* the same with a new store and an instance */

struct fix *fix_new(const char *url);
void fix_free(struct fix *f);
void fix_run_until(struct fix *f, unsigned answers); /* f->answers has reached it */
enum mr_code fix_open(struct fix *f, bool create);
enum mr_code fix_begin(struct fix *f); /* self */
void fix_close(struct fix *f);

/* A decision with one move: source "s", stream "t". */
struct small {
    struct mr_decision d;
    struct mr_move move;
    struct mr_zone_file file;
    char landing[32], value[64], path[64], staged[64];
};
void small_init(struct small *s, const struct fix *f, const char *part, int64_t expected, int value);
void small_file(struct small *s, int32_t day);

enum mr_code fix_decide(struct fix *f, const struct mr_decision *d);
void fix_on_decided(void *arg /* struct fix */, const struct mr_decided *decided);
void fix_on_done(void *arg /* struct fix */, const struct mr_err *err);
enum mr_code fix_position(struct fix *f, const char *source, const char *stream,
                          const char *part); /* version, text: value */
const char *fix_positions(struct fix *f, const char *source);
const char *fix_rows(struct fix *f, const char *kind, const char *after, size_t limit); /* of s/t */
const char *fix_unpublished(struct fix *f);
const char *fix_landings(struct fix *f, const char *landing, int64_t after, size_t limit);
enum mr_code fix_published(struct fix *f, int64_t number);
enum mr_code fix_seal(struct fix *f, int32_t day);
const char *fix_sweep(struct fix *f, bool all);
const char *fix_keep(struct fix *f, const struct mr_keep *keep); /* number: rows_deleted, day: shortened to */
/* Waits for a call whose callback is an mr_done_cb with the fixture as arg: WAIT_DONE(f, mr_store_pause(f->store, ...,
 * fix_on_done, f)). */
#define WAIT_DONE(f, submit) ((submit), fix_run_until((f), (f)->answers + 1), (f)->code)

#define TEST_DAY 20500 /* 2026-02-16 */

#endif
