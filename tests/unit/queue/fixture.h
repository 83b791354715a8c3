/* SPDX-License-Identifier: Apache-2.0 */
/* fixture.h - a loop, a temporary folder and a queue in it. Every wait is for an event, bounded by a deadline that fails the test. */
#ifndef MR_TEST_QUEUE_FIXTURE_H
#define MR_TEST_QUEUE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "millrace/queue.h"
#include "millrace/worker.h"

#include <limits.h>

struct fixture {
    struct mr_loop loop;
    struct mr_log *log;
    char root[PATH_MAX / 4], dir[PATH_MAX / 2], quarantine[PATH_MAX / 2];
    struct mr_queue_options options;
    struct mr_queue *q;
    struct mr_err err;
    enum mr_code open_rc;
    uint64_t horizon; /* as on_durable said */
    bool opened, closed;
    unsigned waiting; /* appends not answered */
};

void fixture_init(struct fixture *f);                  /* a fresh folder, quiet log */
void fixture_init_at(struct fixture *f, const char *root); /* an existing one */
void fixture_free(struct fixture *f);                  /* closes what is open; removes the folder if it made it */
enum mr_code queue_open(struct fixture *f);            /* runs the loop until the callback */
void queue_close(struct fixture *f);
/* Runs the loop until *flag, or fails the test after 30 s. */
void run_until(struct fixture *f, const bool *flag);
void run_until_answered(struct fixture *f);

struct sent { /* one append; lives until its answer */
    struct mr_queue_wait wait;
    struct fixture *f;
    enum mr_code code; /* of the append, then of the answer */
    bool answered;
};
/* Appends payload(tag, size) under `source`. */
void send_one(struct fixture *f, struct sent *s, const char *source, uint32_t tag, size_t size);
/* Appends and waits for the answer. */
enum mr_code send_wait(struct fixture *f, const char *source, uint32_t tag, size_t size, uint64_t *seq);
void payload_make(char *out, uint32_t tag, size_t size);   /* size >= 8 */
bool payload_check(const char *p, size_t size, uint32_t *tag);

/* Reads everything from `from` on; each is called per record. Returns how many; asserts that sequences rise. */
typedef void (*each_record)(void *arg, const struct mr_queue_record *rec);
size_t read_all(struct fixture *f, uint64_t from, each_record each, void *arg);

size_t files_named(const char *dir, const char *suffix); /* how many files end so */
/* The first file of the folder ending so, by name; newest: the last. False if there is none. */
bool file_named(const char *dir, const char *suffix, bool newest, char out[PATH_MAX]);
void remove_tree(const char *path);
uint32_t next_random(uint32_t *state);

#endif
