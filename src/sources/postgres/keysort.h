/* SPDX-License-Identifier: Apache-2.0 */
/* keysort.h - any number of keys in any order become one ascending sequence, each key once, in bounded memory.
 *
 * Why here and not by ORDER BY: what is compared is a key's JSON text by its bytes, and no collation of the server's sorts like that for every type. Nor
 * does the server then sort a large table for us.
 *
 * Keys are gathered up to PG_SORT_BYTES, sorted, and written as a run: a file without a name, gone with its descriptor. PG_SORT_FAN runs of a
 * level become one of the next, so that a key is written once a level, and at most PG_SORT_FAN are read at once in the end.
 * All of it blocks. Runs on: worker, one at a time. */
#ifndef MR_POSTGRES_KEYSORT_H
#define MR_POSTGRES_KEYSORT_H

#include "keyfile.h"

enum {
    PG_SORT_BYTES = 4 << 20, /* keys, and where each lies */
    PG_SORT_FAN = 16,
    PG_SORT_READS = PG_SORT_FAN * 3 * PG_KEYS_BLOCK /* memory, about, of a merge of runs of ordinary keys */
};

struct pg_sort;
struct pg_sort *pg_sort_new(const char *dir); /* where the runs lie; copied */
void pg_sort_free(struct pg_sort *s);         /* NULL is fine */
/* MR_ETOOBIG: a key above PG_KEY_MAX. MR_ENOSPC, MR_EIO. */
MR_MUST enum mr_code pg_sort_add(struct pg_sort *s, struct mr_str key, struct mr_err *err);
/* No more come. Then pg_sort_next() until MR_EEND. */
MR_MUST enum mr_code pg_sort_end(struct pg_sort *s, struct mr_err *err);
MR_MUST enum mr_code pg_sort_next(struct pg_sort *s, struct mr_err *err);
struct mr_str pg_sort_key(const struct pg_sort *s); /* the last one given; until the next */

/* A file as pg_keys_in wants it: read from `at` on, by its descriptor. */
struct pg_keys_fd {
    int fd;
    int64_t at;
};
enum mr_code pg_keys_fd_read(void *arg /* struct pg_keys_fd * */, void *p, size_t n, size_t *got, struct mr_err *err);

#endif
