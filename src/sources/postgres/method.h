/* SPDX-License-Identifier: Apache-2.0 */
/* method.h - how a stream is read, and why so. Asked by a run once it has looked, and by `millrace check`. Pure. */
#ifndef MR_POSTGRES_METHOD_H
#define MR_POSTGRES_METHOD_H

#include "options.h"

enum { PG_FAST_MS = 300000 }; /* runs that come faster than this cost something, unless by method exact */

struct pg_method_facts {
    const char *table;  /* as configured; NULL: a query */
    int asked;          /* enum pg_method */
    bool watermark;
    bool standby, primary; /* is the server one, and is there a primary_dsn? */
    int64_t every_ms;
    /* of all relations: begin with pg_method_none(), then one after the other */
    bool ids, indexed;
    int64_t bytes;
};
void pg_method_none(struct pg_method_facts *f);
/* kind: relkind, 'q' a query; heap: its access method; indexed: a whole valid btree begins with the watermark. */
void pg_method_relation(struct pg_method_facts *f, char kind, bool heap, bool indexed, int64_t pages, int64_t page);
/* *why is a text of ours that lasts. MR_ECONFIG: not in this way. Mode snapshot needs no method: not to be asked. */
MR_MUST enum mr_code pg_method_choose(const struct pg_method_facts *f, enum pg_method *method, const char **why, struct mr_err *err);

const char *pg_method_name(enum pg_method method);
extern const char pg_method_hidden[]; /* why exact becomes xid where sessions are hidden */

#endif
