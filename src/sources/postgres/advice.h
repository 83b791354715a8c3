/* SPDX-License-Identifier: Apache-2.0 */
/* advice.h - what a person should know before trusting what a stream lands: facts in, lines out. Pure.
 *
 * Whoever asked the server (facts.c) fills the structs; a fact that is not known is told as such: -1, an empty text. A line says what is, what it means
 * for the rows, and where there is one, the statement to paste. */
#ifndef MR_POSTGRES_ADVICE_H
#define MR_POSTGRES_ADVICE_H

#include "method.h"

enum pg_level { PG_OK, PG_WARN, PG_FAIL };
struct pg_line {
    enum pg_level level;
    const char *stream; /* borrowed; NULL: of the source */
    char *text;
};
struct pg_lines {
    const char *stream; /* of the lines that come */
    struct pg_line *items;
    size_t count;
};
/* Newlines within become blanks. */
void pg_line(struct pg_lines *l, enum pg_level level, const char *fmt, ...) MR_PRINTF(3, 4);
void pg_lines_free(struct pg_lines *l);

enum { PG_NAME_ROOM = 288, PG_COUNT_MOST = 1000 }; /* a quoted name with its schema; counting ends above it */

struct pg_server_facts {
    char version[64], host[256], port[16], database[PG_NAME_ROOM], role[PG_NAME_ROOM] /* quoted */, system[24], encoding[32];
    int number; /* 150020 */
    bool standby;
    /* the connection */
    bool local, tls, pooled;
    char tls_version[16], sslmode[16];
    int64_t connections; /* that the role may have; -1: no limit */
    /* what we see */
    bool reads_stats, tracks;
    int64_t hidden, untracked; /* sessions */
    /* of a standby */
    bool feedback, paused, streams;
    int64_t streaming_delay_ms; /* -1: waits for ever */
    int64_t behind_s;           /* -1: not known */
    /* what is open; of the server that has the transactions */
    int64_t open_s; /* the oldest; -1: none */
    int64_t open_pid;
    char open_role[64], open_state[40], open_name[64];
    int64_t idle_ms, statement_ms, transaction_ms; /* timeouts of our role; 0: none */
    int64_t prepared, prepared_s;
    char prepared_gid[432]; /* quoted */
    int64_t age; /* ids, of the oldest in the database */
};

struct pg_table_facts {
    char name[PG_NAME_ROOM]; /* quoted; empty: a query */
    char role[PG_NAME_ROOM];
    char kind;               /* relkind of the root; 'q': a query */
    int version;             /* of the server */
    bool standby;
    int64_t relations;       /* with rows of their own */
    int64_t interval_ms;     /* from run to run, at the least */
    struct mr_err refused;   /* no method; MR_OK: the next two */
    enum pg_method method;
    const char *why;
    /* rights */
    bool whole;              /* SELECT on all of each */
    int64_t unreadable, secured; /* relations: without any right; whose rows are filtered for us */
    char unreadable_name[PG_NAME_ROOM], secured_name[PG_NAME_ROOM], hidden[512] /* columns, by commas */;
    /* size */
    int64_t bytes, toast, rows /* -1: not known */, pages_most /* of one relation */, page;
    /* the watermark; column[0] == 0: none */
    char column[PG_NAME_ROOM], type[128];
    enum pg_form form;
    bool not_null, indexed;
    int64_t bare;            /* relations without an index that begins with it */
    char bare_name[PG_NAME_ROOM], index[PG_NAME_ROOM];
    bool index_partial, index_invalid, index_other; /* that one is of no use to us: not of all rows, broken, not a btree */
    double null_share;       /* by statistics; -1: not known */
    int64_t nulls, ahead;    /* rows, up to PG_COUNT_MOST + 1; -1: not counted. ahead: of the server's clock */
    char newest[64];
    int64_t newest_s;        /* before now, negative: ahead */
    bool newest_finite, oldest_finite, ranged /* the four are known */;
    int64_t sampled, grain_us; /* recent values; all are multiples of it; 0: not known */
    char by_default[128], trigger[PG_NAME_ROOM];
    bool trigger_sets;       /* it names the column */
    /* the key */
    char key[512] /* quoted, by commas */, unique[PG_NAME_ROOM], primary[512] /* its columns, quoted, by commas */, nullable[PG_NAME_ROOM];
    /* of a view, a foreign table, a query: how a run would be done */
    double plan_rows, plan_cost; /* -1: not known */
    char plan_scans[PG_NAME_ROOM]; /* a relation that it reads whole; empty: none */
};

/* What may help where libpq or the server has refused the connection; "" if its words are enough. */
const char *pg_advice_on_refusal(const char *said);

/* The config alone. */
void pg_advise_dsn(struct pg_lines *l, const char *key, const char *host /* or NULL */, const char *sslmode /* or NULL */);
void pg_advise_config(struct pg_lines *l, const struct postgres_options *o, const struct pg_stream_options *s, int64_t interval_ms);

/* The servers. */
void pg_advise_server(struct pg_lines *l, const struct postgres_options *o, const struct pg_server_facts *f);
void pg_advise_primary(struct pg_lines *l, const struct postgres_options *o, const struct pg_server_facts *f, const struct pg_server_facts *primary);
void pg_advise_transactions(struct pg_lines *l, const struct postgres_options *o, const struct pg_server_facts *f);

/* A stream. `server`: the one whose transactions are asked for. */
void pg_advise_table(struct pg_lines *l, const struct postgres_options *o, const struct pg_stream_options *s, const struct pg_table_facts *f, const struct pg_server_facts *server);

/* -- as people read them; out is returned -- */
enum { PG_SAID_ROOM = 64 };
const char *pg_say_bytes(int64_t bytes, char out[PG_SAID_ROOM]);
const char *pg_say_seconds(int64_t seconds, char out[PG_SAID_ROOM]); /* "3 h 20 min" */
const char *pg_say_ms(int64_t ms, char out[PG_SAID_ROOM]);           /* the same, or "500 ms" */
const char *pg_say_count(int64_t n, char out[PG_SAID_ROOM]);         /* "2,000,000" */
bool pg_host_is_local(const char *host); /* a socket's folder, this machine's address or name */

#endif
