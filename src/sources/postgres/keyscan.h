/* SPDX-License-Identifier: Apache-2.0 */
/* keyscan.h - deletes, from the inside: what keyscan.c (loop) and keycompare.c (worker) share. */
#ifndef MR_POSTGRES_KEYSCAN_H
#define MR_POSTGRES_KEYSCAN_H

#include "keydir.h"
#include "keysort.h"
#include "postgres.h"

enum {
    KEYSCAN_PARTS = 32,         /* columns of a key */
    KEYSCAN_WAITING = 1 << 20,  /* bytes of rows for the worker, before the server has to wait */
    KEYSCAN_SLICE = 256 << 10
};

enum keyscan_state { KEYSCAN_NEW, KEYSCAN_LOADING, KEYSCAN_LOADED };
enum keyscan_step { KEYSCAN_IDLE, KEYSCAN_READING, KEYSCAN_COMPARING, KEYSCAN_DECIDING };

struct key_slice { /* of rows */
    struct key_slice *next;
    size_t n, cap;
    char bytes[]; /* of each its length (uint32_t), and it */
};

struct compare { /* the worker's, from the first row to the end */
    char *dir, *description;
    int64_t g, logs;            /* the version that is in force; the last of its logs */
    struct pg_keys_named was, is;
    bool has_was;               /* the last scan's file is there */
    struct mr_err was_wrong;    /* it was not what was written, or of another key */
    struct mr_err log_wrong;
    /* rows */
    struct pg_columns columns;  /* the key's, in its order; the items are ours, their texts the stream's */
    struct pg_style style;
    struct pg_value values[KEYSCAN_PARTS];
    struct mr_buf data, key;
    struct pg_copy copy;
    int64_t rows;
    /* three sequences: what is there, what landed since the last scan, what was there then */
    struct pg_sort *there, *landed;
    struct pg_keys_in before, log;
    struct pg_keys_fd before_file, log_file;
    bool before_open, log_open, ready;
    struct mr_str heads[3];     /* p NULL: at the end */
    /* out */
    struct pg_keys_out out;
    int fd;
    int64_t verified;
    uint32_t verified_sum;
    struct mr_landing *landing;
    const char *source, *stream;
    int64_t gone;
    enum compare_step { COMPARE_VERIFY, COMPARE_LOGS, COMPARE_MERGE, COMPARE_OVER } step;
};

struct keyscan {
    struct stream *s;
    char dir[PG_DIR_MAX];
    enum keyscan_state state;
    enum keyscan_step step;
    int64_t version;            /* of the part; so of the files */
    struct pg_keys_named at;
    struct pg_landed landed;
    bool lost;                  /* the file that is named is not there */
    struct mr_err why_lost;
    char *description;
    uint64_t high;              /* the highest xmax of a snapshot by which rows have landed */
    /* the worker's, while job_out */
    struct mr_job job;
    bool job_out;
    struct mr_err err;
    struct pg_keydir_found found;
    struct key_slice *out;
    struct compare *compare;
    /* the scan */
    struct key_slice *first, *last;
    size_t waiting;
    bool held, ended;
    char *root;                 /* its name, quoted */
    bool lockable, changed, standby, behind;
    uint64_t xmax;
    int64_t taken_us;
    int64_t began_us;
    struct mr_cell *tombstones, *keys;
};

/* -- keycompare.c. All but new and free run on a worker -------------------------------------------------------------- */
struct compare *compare_new(const struct keyscan *k);
void compare_free(struct compare *c); /* NULL is fine; with files of any size open it may block: keyscan.c lets a worker do it. The landing is not its */
MR_MUST enum mr_code compare_row(struct compare *c, struct mr_str message, struct mr_err *err);
MR_MUST enum mr_code compare_begin(struct compare *c, struct mr_err *err);  /* no more rows come */
MR_MUST enum mr_code compare_slice(struct compare *c, struct mr_err *err);  /* a slice of what is to do: until c->step is COMPARE_OVER */
MR_MUST enum mr_code compare_end(struct compare *c, struct mr_err *err);    /* the file is whole, durable and has its name; c->is says which */

#endif
