/* SPDX-License-Identifier: Apache-2.0 */
/* skipped.h - which sequences of a landing did not land because they were repeats (or were kept in quarantine).
 *
 * The landing's own ids cannot tell: they are in the same tables as everybody's. So the list is decided with the
 * landing, as a row of kind `skipped` under the landing's id, for the day when it is lost and replayed; a later
 * decision deletes it once the landing is published. Runs on: loop. */
#ifndef MR_WEBHOOK_SKIPPED_H
#define MR_WEBHOOK_SKIPPED_H

#include "millrace/buf.h"
#include "millrace/decision.h"

enum { MR_SKIPPED_MOST = 16384 }; /* of one landing: it is closed then */
#define MR_SKIPPED_KIND "skipped"

struct skipped {
    struct mr_buf list; /* "[3,17": of the open landing */
    size_t count;
    char **forget; /* landing ids that are published: their rows may go */
    size_t forget_count, forget_cap;
    uint64_t forgotten;  /* how many ever went */
    struct mr_row *rows; /* of the last skipped_rows() */
};

void skipped_init(struct skipped *s);
void skipped_free(struct skipped *s);
void skipped_add(struct skipped *s, uint64_t seq);
void skipped_clear(struct skipped *s); /* a new landing, or the open one was dropped */
/* Rows for the decision of `landing`; borrowed until the next call. *upto: for skipped_decided(). */
size_t skipped_rows(struct skipped *s, struct mr_str source, struct mr_str stream, struct mr_str landing,
                    bool has_records, const struct mr_row **rows, uint64_t *upto);
void skipped_decided(struct skipped *s, uint64_t upto); /* the deletions that went with that decision are done */
void skipped_published(struct skipped *s, const char *landing); /* a landing that had a row */

#endif
