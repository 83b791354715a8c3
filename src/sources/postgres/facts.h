/* SPDX-License-Identifier: Apache-2.0 */
/* facts.h - what a server is asked for `millrace check`, on a worker: one question after the other, each in a short read-only transaction of its own, and
 * none waited for longer than a quarter of a minute. Nothing is changed, nothing is locked. */
#ifndef MR_POSTGRES_FACTS_H
#define MR_POSTGRES_FACTS_H

#include "advice.h"

#include <libpq-fe.h>

struct pg_asking {
    PGconn *pq;        /* NULL: the connection is lost, and all questions fail */
    struct mr_err err; /* of the last question */
};
/* One statement; how names are looked up: as the role has it, or as a run has it. NULL: a->err. Owns: PQclear(). */
enum pg_path { PG_PATH_OWN, PG_PATH_RUN };
PGresult *pg_ask(struct pg_asking *a, enum pg_path path, const char *sql);

bool pg_facts_server(struct pg_asking *a, struct pg_server_facts *f); /* false: a->err */
/* What stands in the way of the stream is told in `l`; false: so much that there is no advice. */
bool pg_facts_stream(struct pg_asking *a, const struct postgres_options *o, const struct pg_stream_options *s, const struct pg_server_facts *server, struct pg_lines *l,
                     struct pg_table_facts *f);
/* Cells: a number, or `none` of NULL; a text; a flag. */
int64_t pg_cell_i64(const PGresult *r, int column, int64_t none);
void pg_cell_text(const PGresult *r, int column, char *out, size_t room);
bool pg_cell_flag(const PGresult *r, int column);

#endif
