/* SPDX-License-Identifier: Apache-2.0 */
/* keydir.h - the files of a stream whose deletes are told: <data_dir>/postgres/<source>/<stream>/.
 *
 *      keys-<g>         the keys that were there at the scan whose decision made version g of the stream's part "deletes"; which one counts, and its
 *                       checksum, is in that part. Durable before the decision, the older one removed only after what it decided is published
 *      landed-<g>-<k>   keys that have landed since: a row that comes and goes between two scans is in neither scan, and has landed all the same. A file for
 *                       each time that somebody began to write. Durable before the decision that lands the rows; so it may name some that never landed
 *      *.tmp, run-*     of somebody who died
 *
 * All of it blocks but where it says so. */
#ifndef MR_POSTGRES_KEYDIR_H
#define MR_POSTGRES_KEYDIR_H

#include "keyfile.h"

#include <pthread.h>

enum { PG_DIR_MAX = 3900 };

/* Does not block. false: too long. */
bool pg_keydir_path(char out[PG_DIR_MAX], const char *data_dir, const char *source, const char *stream);

struct pg_keys_named { /* as the part has it */
    int64_t file;      /* its g; 0: none */
    int64_t keys, bytes;
    uint32_t sum;      /* crc32c of the file */
    uint64_t xmax;     /* of the snapshot */
    int64_t taken_us;  /* when */
};
void pg_keys_named_put(const struct pg_keys_named *n, struct mr_buf *json);
/* `json` has passed mr_json_check(). A member that is not there is 0: {} is no scan. */
struct pg_keys_named pg_keys_named_get(struct mr_str json);

struct pg_keydir_found {
    int64_t next;         /* k that no file of version g has */
    int64_t landed_bytes; /* of the logs of version g */
    struct mr_err missing; /* MR_OK: the file that is named is there, as long as it should be; or none is named */
};
/* Makes it if need be, and removes what belongs neither to version g nor is named. Runs on: worker. */
MR_MUST enum mr_code pg_keydir_look(const char *dir, int64_t g, const struct pg_keys_named *named, struct pg_keydir_found *out, struct mr_err *err);
void pg_keydir_remove_below(const char *dir, int64_t g); /* what fails here is removed at the next look. Runs on: worker */

/* The file that is named, read through: are its bytes those that were written? *at goes on by at most `most` a call; MR_EEND: they are.
 * Runs on: worker. */
MR_MUST enum mr_code pg_keys_verify(int fd, const struct pg_keys_named *named, int64_t most, int64_t *at, uint32_t *sum, struct mr_err *err);

/* A file that is written beside and then gets its name. Runs on: worker. */
MR_MUST enum mr_code pg_keys_create(const char *dir, int64_t g, int *fd, struct mr_err *err);
MR_MUST enum mr_code pg_keys_write(int fd, struct pg_keys_out *out, bool all, int64_t *bytes, struct mr_err *err); /* once there is much, or all */
MR_MUST enum mr_code pg_keys_publish(const char *dir, int64_t g, int fd, struct mr_err *err);
MR_MUST enum mr_code pg_keys_open(const char *dir, int64_t g, int *fd, struct mr_err *err);

/* -- what lands ---------------------------------------------------------------------------------------------------- */
struct pg_landed {
    pthread_mutex_t lock;
    char dir[PG_DIR_MAX];
    int64_t g, k;
    char *description;
    int fd;              /* -1: none yet */
    int64_t bytes;       /* of all logs of version g */
    bool made;           /* since the last sync: the directory is to be synced too */
    uint64_t faults;     /* files left for an error: what was in them and not synced may be gone */
};
void pg_landed_init(struct pg_landed *l, const char *dir); /* does not block */
void pg_landed_free(struct pg_landed *l);                  /* closes; nobody appends any more */
/* Nobody appends meanwhile; a file of another version or description is left, and the next append begins one. Does not block for long. */
void pg_landed_at(struct pg_landed *l, int64_t g, int64_t next, int64_t bytes, const char *description);
/* The blocks in out->bytes, whole; cleared. Several may at once. *since: 0 before one's first. Runs on: worker. */
MR_MUST enum mr_code pg_landed_append(struct pg_landed *l, struct pg_keys_out *out, uint64_t *since, struct mr_err *err);
/* All that was appended since is durable. Runs on: worker. */
MR_MUST enum mr_code pg_landed_sync(struct pg_landed *l, uint64_t since, struct mr_err *err);
int64_t pg_landed_bytes(struct pg_landed *l);
/* A log of version g (k from 0 to the log's own), or *fd -1: nobody has written that one. Runs on: worker. */
MR_MUST enum mr_code pg_landed_open(const char *dir, int64_t g, int64_t k, int *fd, struct mr_err *err);

#endif
