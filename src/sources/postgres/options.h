/* SPDX-License-Identifier: Apache-2.0 */
/* options.h - `sources.<name>.postgres`: its rows, and what must not be. */
#ifndef MR_POSTGRES_OPTIONS_H
#define MR_POSTGRES_OPTIONS_H

#include "expect.h"
#include "types.h"

#include "millrace/option.h"
#include "millrace/schedule.h"

enum pg_mode { PG_INCREMENTAL, PG_APPEND, PG_SNAPSHOT };
enum pg_method { PG_AUTO, PG_EXACT, PG_XID, PG_WINDOW };
enum pg_unit { PG_UNIT_NONE, PG_SECONDS, PG_MILLISECONDS, PG_MICROSECONDS }; /* of a watermark that is an integer */
enum pg_null { PG_NULL_LAND, PG_NULL_SKIP, PG_NULL_FAIL };                  /* rows whose watermark is NULL */

struct pg_stream_options {
    char *name; /* first: the key in the map */
    char *table, *query; /* one of them */
    int mode, method;    /* enum pg_mode, pg_method */
    char *watermark;     /* NULL: none */
    int unit;            /* enum pg_unit - 1 */
    char *time_zone;     /* of a watermark without one */
    struct mr_strings key, columns;
    char *where;
    int null_watermark;  /* enum pg_null */
    int64_t skew_ms;     /* 0: the source's */
    int64_t every_ms;    /* 0: the source's */
    int64_t chunk, parallel; /* 0: the source's */
    char *cron;
    bool deletes;
    int64_t deletes_every_ms;
    struct {
        struct pg_expect rows;
        int64_t fresh_ms;
    } expect;
};

struct postgres_options {
    char *dsn, *primary_dsn;
    struct mr_secret password, primary_password;
    int64_t every_ms, jitter_ms;
    char *cron;
    char *listen;
    int64_t parallel;
    int64_t skew_ms, guard_ms;
    int64_t chunk;
    int64_t sweep_ms, straggler_ms, hold_ms, stall_ms;
    int64_t max_row, max_rows_per_s;
    int numeric_as, bigint_as, json_as, bytea_as;
    struct mr_list streams; /* of struct pg_stream_options */
};
extern const struct mr_option postgres_rows[];

void postgres_validate(const char *name, const void *options, struct mr_where where, struct mr_config_errors *errors);
/* How values are written. */
struct pg_style postgres_style(const struct postgres_options *o);
/* Of a stream's walks: bytes of a chunk, and how many at once. */
int64_t postgres_chunk(const struct postgres_options *o, const struct pg_stream_options *s);
int64_t postgres_parallel(const struct postgres_options *o, const struct pg_stream_options *s);
/* When the stream runs. */
struct mr_schedule postgres_schedule(const struct postgres_options *o, const struct pg_stream_options *s);

#endif
