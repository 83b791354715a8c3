/* SPDX-License-Identifier: Apache-2.0 */
/* rig.h - landings on a real loop, with a real SQLite store and a real zone in a folder of their own, and the acts of a
 * door as calls that wait. What went wrong is told by RIG_NEED: it works in a test and in a child of one. */
#ifndef MILLRACE_TEST_LANDING_RIG_H
#define MILLRACE_TEST_LANDING_RIG_H

#include "millrace/landing.h"
#include "millrace/store.h"
#include "millrace/worker.h"
#include "millrace/zone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RIG_NEED(condition)                                                                                            \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

struct rig {
    char dir[64], raw[80], state_url[96], zone_url[96];
    struct mr_loop loop;
    struct mr_store *store;
    struct mr_zone *zone;
    struct mr_instance self;
    struct mr_landings *ls;
    struct mr_landings_options options;
    /* the last answer of a call that waits */
    unsigned answers;
    struct mr_err err;
    int64_t version, number;
    long next; /* of a position {"next": n}, 0 without one */
    bool blocked;
    char text[1024];
};

/* cmocka's: the folder alone, and the folder with everything opened in it. */
int rig_folder(void **state);
int rig_up(void **state);
int rig_down(void **state); /* closes what is open; the loop must be left empty */
void rig_open(struct rig *r);
enum mr_code rig_resume(struct rig *r);
void rig_close_landings(struct rig *r);
void rig_close(struct rig *r);
void rig_turn(struct rig *r);                   /* one turn of the loop, which must have something to wait for */
void rig_await_idle(struct rig *r);             /* no landing is left */

/* One landing and what its owner was told. */
struct act {
    struct rig *rig;
    struct mr_landing *l;
    char id[64];
    unsigned order; /* n-th to hear of its decision */
    bool decided, published;
    enum mr_code code;
    size_t which;
    int64_t number;
    enum mr_published how;
    unsigned rolls[4];
    void (*on_decided)(struct act *a); /* hooks; may be NULL */
    void (*on_published)(struct act *a);
};
void act_begin(struct act *a, struct rig *r, const char *source, enum mr_landing_kind kind);
/* Adds `count` records "<prefix><i>" to a stream, on the lane where a door does. */
enum mr_code act_add(struct act *a, const char *stream, const char *prefix, int count);
void act_decide(struct act *a, const struct mr_move *moves, size_t count);
void act_await(struct act *a); /* until it has ended, one way or the other */
/* Both in one: decided and published, or the code that it was refused with. */
enum mr_code act_land(struct act *a);

struct mr_move rig_move(const char *source, const char *part, int64_t expected, const char *value); /* stream "t" */
int64_t rig_position(struct rig *r, const char *source, const char *part);                          /* the version */
enum mr_code rig_seal(struct rig *r, int32_t day);                                                  /* r->blocked */
const char *rig_landing_state(struct rig *r, const char *id);                                       /* "" if the store knows none */

/* The zone, read without millrace: lines of all data files. */
long rig_lines(const struct rig *r);
long rig_lines_with(const struct rig *r, const char *text); /* of them, those that hold it */
long rig_staged(const struct rig *r);                       /* .part files */
bool rig_has_day(const struct rig *r, int32_t day);         /* a data file of that ingest day */
void rig_delete_staged(const struct rig *r, const char *name_part); /* at least one file is there */
bool rig_alert(struct rig *r, enum mr_alert_id id, const char *source); /* is it open? */

#endif
