/* SPDX-License-Identifier: Apache-2.0 */
/* options.c - the rows of `sources.<name>.postgres`, and what they must not be. */
#include "options.h"

#include <libpq-fe.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(struct postgres_options, field)
#define STREAM(field) offsetof(struct pg_stream_options, field)
#define EXPECT(field) (offsetof(struct pg_stream_options, expect.field) - offsetof(struct pg_stream_options, expect))
#define ROWS(field) offsetof(struct pg_expect, field)

static const char *const modes[] = {"incremental", "append", "snapshot", NULL};
static const char *const methods[] = {"auto", "exact", "xid", "window", NULL};
static const char *const units[] = {"s", "ms", "us", NULL};
static const char *const nulls[] = {"land", "skip", "fail", NULL};
static const char *const numbers[] = {"number", "string", NULL};
static const char *const jsons[] = {"json", "string", NULL};
static const char *const byteas[] = {"base64", "hex", NULL};

static const struct mr_option rows_rows[] = {
    {.name = "drop", .type = MR_T_REAL, .offset = ROWS(drop), .def = "0", .min = "0", .max = "1", .doc = "Tell a run with fewer rows than this share of the median of the runs before it. 0: never."},
    {.name = "rise", .type = MR_T_REAL, .offset = ROWS(rise), .def = "0", .min = "0", .max = "1000000", .doc = "Tell a run with more than this many times that median. 0: never."},
    {.name = "zero", .type = MR_T_INT, .offset = ROWS(zero), .def = "0", .min = "0", .max = "1000000", .doc = "Tell this many runs in a row without a row. 0: never."},
    {0},
};

static const struct mr_option expect_rows[] = {
    {.name = "rows", .type = MR_T_MAP, .offset = EXPECT(rows), .sub = rows_rows, .doc = "The rows of a run against those of the runs before it (at least 5, at most 20). They land all the same."},
    {.name = "fresh",
     .type = MR_T_DURATION,
     .offset = EXPECT(fresh_ms),
     .def = "0s",
     .doc = "An alert when the newest watermark that has landed is older than this. 0s: never."},
    {0},
};

static const struct mr_option stream_rows[] = {
    {.name = "table",
     .type = MR_T_STRING,
     .offset = STREAM(table),
     .doc = "The table, as SQL writes its name: `public.orders`, `\"Mixed Case\"`. Partitions and children are read each by itself. A view has no transaction ids: see method."},
    {.name = "query", .type = MR_T_STRING, .offset = STREAM(query), .doc = "Or a SELECT, without a semicolon. It can be read by window or snapshot only."},
    {.name = "mode",
     .type = MR_T_ENUM,
     .offset = STREAM(mode),
     .choices = modes,
     .def = "incremental",
     .doc = "`incremental`: each run lands what has changed. `append`: the same, for a table whose rows never change once they are there: nothing is swept. `snapshot`: all of it, at each run."},
    {.name = "method",
     .type = MR_T_ENUM,
     .offset = STREAM(method),
     .choices = methods,
     .def = "auto",
     .doc = "How changes are found. `exact`: an index range of the watermark, from the oldest open transaction on, and the rows' transaction ids: nothing is missed or landed twice. `xid`: by transaction "
            "ids alone, reading the whole table: needs neither watermark nor rights. `window`: between two watermarks, held back by the oldest open transaction: for views and queries. `auto` chooses; "
            "`millrace check` says what, and why."},
    {.name = "watermark", .type = MR_T_STRING, .offset = STREAM(watermark), .doc = "The column that says when a row last changed: timestamptz, timestamp, date, or an integer (see unit)."},
    {.name = "unit", .type = MR_T_ENUM, .offset = STREAM(unit), .choices = units, .def = "s", .doc = "Of an integer watermark: seconds, milliseconds or microseconds since 1970."},
    {.name = "time_zone", .type = MR_T_STRING, .offset = STREAM(time_zone), .def = "UTC", .doc = "In which a watermark of type timestamp or date is written, as Postgres names zones: Europe/Berlin."},
    {.name = "key", .type = MR_T_STRINGS, .offset = STREAM(key), .doc = "The columns that name a row; they become `key` and part of `id`. Default: none, then ids are made of the row's place."},
    {.name = "columns", .type = MR_T_STRINGS, .offset = STREAM(columns), .doc = "The columns that are read. Default: all, also those that come later."},
    {.name = "where", .type = MR_T_STRING, .offset = STREAM(where), .doc = "A condition in SQL; other rows are not read. A row that comes to fulfil it lands when it changes."},
    {.name = "null_watermark",
     .type = MR_T_ENUM,
     .offset = STREAM(null_watermark),
     .choices = nulls,
     .def = "land",
     .doc = "Rows whose watermark is NULL: `land` them once, `skip` them, or `fail` the stream. By window they cannot land."},
    {.name = "skew", .type = MR_T_DURATION, .offset = STREAM(skew_ms), .def = "0s", .doc = "For this stream; 0s: as the source's."},
    {.name = "chunk", .type = MR_T_SIZE, .offset = STREAM(chunk), .def = "0B", .max = "16GiB", .doc = "For this stream; 0B: as the source's."},
    {.name = "parallel", .type = MR_T_INT, .offset = STREAM(parallel), .def = "0", .min = "0", .max = "64", .doc = "Chunks of this stream at the same time, at most `parallel` of the source; 0: as many."},
    {.name = "every", .type = MR_T_DURATION, .offset = STREAM(every_ms), .def = "0s", .doc = "For this stream; 0s: as the source's."},
    {.name = "cron", .type = MR_T_STRING, .offset = STREAM(cron), .doc = "For this stream."},
    {.name = "deletes",
     .type = MR_T_BOOL,
     .offset = STREAM(deletes),
     .def = "false",
     .doc = "Now and then all keys are read, and each that has landed and is gone lands as a tombstone: `data` null, with its `key`. Needs `key`; keeps a few bytes a key below data_dir. What counts is what landed last: "
            "a row that comes again lands behind the tombstone."},
    {.name = "deletes_every", .type = MR_T_DURATION, .offset = STREAM(deletes_every_ms), .def = "24h", .min = "1s", .doc = "How often. A scan reads one statement's worth of all keys, in one snapshot, and no run takes place meanwhile."},
    {.name = "expect", .type = MR_T_MAP, .offset = STREAM(expect), .sub = expect_rows, .doc = "What is usual; an alert if it is otherwise."},
    {0},
};

const struct mr_option postgres_rows[] = {
    {.name = "dsn",
     .type = MR_T_STRING,
     .offset = AT(dsn),
     .flags = MR_OPT_MANDATORY,
     .doc = "The server, as libpq takes it: `host=db dbname=shop user=millrace sslmode=verify-full`, `postgres://…`, `service=shop`; several hosts, target_session_attrs and sslmode too. With a password in "
            "it, write \"${env:NAME}\" or \"${file:PATH}\". A standby is welcome: see primary_dsn."},
    {.name = "password", .type = MR_T_SECRET, .offset = AT(password), .doc = "The password, if the dsn has none. A file is read anew at each reload."},
    {.name = "primary_dsn",
     .type = MR_T_STRING,
     .offset = AT(primary_dsn),
     .doc = "The primary of the standby that `dsn` names: it is asked for open transactions, one small statement a run. Without it a standby is read by transaction ids alone."},
    {.name = "primary_password", .type = MR_T_SECRET, .offset = AT(primary_password), .doc = "The password there, if primary_dsn has none. Default: as `password`."},
    {.name = "every",
     .type = MR_T_DURATION,
     .offset = AT(every_ms),
     .def = "15m",
     .min = "100ms",
     .doc = "How often each stream runs. Under 5 minutes is said at start where the method costs a scan of the table or holds rows back."},
    {.name = "cron", .type = MR_T_STRING, .offset = AT(cron), .doc = "Instead: `minute hour day month weekday`, in UTC: `0 */2 * * *`."},
    {.name = "jitter", .type = MR_T_DURATION, .offset = AT(jitter_ms), .def = "0s", .doc = "Each run begins up to this much later, by chance, so that many sources do not ask at once."},
    {.name = "listen", .type = MR_T_STRING, .offset = AT(listen), .doc = "A channel: a NOTIFY on it starts the runs at once. With a stream's name as payload only that stream runs."},
    {.name = "parallel", .type = MR_T_INT, .offset = AT(parallel), .def = "2", .min = "1", .max = "64", .doc = "Connections that read at the same time: streams, and chunks of a large table."},
    {.name = "skew",
     .type = MR_T_DURATION,
     .offset = AT(skew_ms),
     .def = "60s",
     .doc = "How far the clocks of those who write the watermark may be behind the server's. A wider range is read, nothing lands twice. What is older still is found by the sweep."},
    {.name = "guard", .type = MR_T_DURATION, .offset = AT(guard_ms), .def = "5s", .doc = "A little more, for a transaction that has begun and does not show yet."},
    {.name = "chunk", .type = MR_T_SIZE, .offset = AT(chunk), .def = "64MiB", .min = "64KiB", .max = "16GiB", .doc = "How much of a table one transaction reads, the first time and in sweeps."},
    {.name = "sweep",
     .type = MR_T_DURATION,
     .offset = AT(sweep_ms),
     .def = "6h",
     .doc = "How often the whole table is looked through for changes whose watermark did not say so. What is found lands, with `late`, and is told. 0s: never."},
    {.name = "straggler_after",
     .type = MR_T_DURATION,
     .offset = AT(straggler_ms),
     .def = "30s",
     .min = "1s",
     .doc = "A transaction that is open for longer holds the range back no more; once it has ended, one run reads back to its beginning."},
    {.name = "max_hold",
     .type = MR_T_DURATION,
     .offset = AT(hold_ms),
     .def = "1h",
     .min = "1s",
     .doc = "By window: the longest wait for an open transaction. What it commits later is missed, and the alert says so."},
    {.name = "stall", .type = MR_T_DURATION, .offset = AT(stall_ms), .def = "10m", .min = "1s", .doc = "A server that is asked and sends nothing for so long is left, and asked anew."},
    {.name = "max_row",
     .type = MR_T_SIZE,
     .offset = AT(max_row),
     .def = "64MiB",
     .min = "1KiB",
     .max = "512MiB",
     .doc = "Values larger than this are left out of their row, which says so in `omitted`; an alert names it."},
    {.name = "max_rows_per_s", .type = MR_T_INT, .offset = AT(max_rows_per_s), .def = "0", .min = "0", .max = "1000000000", .doc = "Rows read in a second, on the average of a chunk. 0: as many as come."},
    {.name = "numeric_as", .type = MR_T_ENUM, .offset = AT(numeric_as), .choices = numbers, .def = "number", .doc = "Numeric values: JSON numbers with every digit, or strings."},
    {.name = "bigint_as", .type = MR_T_ENUM, .offset = AT(bigint_as), .choices = numbers, .def = "number", .doc = "64-bit integers: numbers, or strings for readers that keep 53 bits."},
    {.name = "json_as", .type = MR_T_ENUM, .offset = AT(json_as), .choices = jsons, .def = "json", .doc = "Columns of json and jsonb: embedded, or as strings."},
    {.name = "bytea_as", .type = MR_T_ENUM, .offset = AT(bytea_as), .choices = byteas, .def = "base64", .doc = "Columns of bytea."},
    {.name = "streams",
     .type = MR_T_NAMED,
     .offset = AT(streams),
     .sub = stream_rows,
     .sub_size = sizeof(struct pg_stream_options),
     .min = "1",
     .flags = MR_OPT_MANDATORY,
     .doc = "What is read, each under the name of its stream in the zone."},
    {0},
};

struct pg_style postgres_style(const struct postgres_options *o)
{
    return (struct pg_style){.numeric_string = o->numeric_as == 1, .bigint_string = o->bigint_as == 1, .json_string = o->json_as == 1, .bytea = o->bytea_as == 1 ? PG_BYTEA_HEX : PG_BYTEA_BASE64};
}

int64_t postgres_chunk(const struct postgres_options *o, const struct pg_stream_options *s)
{
    return s->chunk ? s->chunk : o->chunk;
}

int64_t postgres_parallel(const struct postgres_options *o, const struct pg_stream_options *s)
{
    return s->parallel && s->parallel < o->parallel ? s->parallel : o->parallel;
}

struct mr_schedule postgres_schedule(const struct postgres_options *o, const struct pg_stream_options *s)
{
    struct mr_schedule schedule = {.every_ms = s->every_ms ? s->every_ms : o->every_ms, .jitter_ms = o->jitter_ms};
    const char *cron = s->cron ? s->cron : s->every_ms ? NULL : o->cron;
    struct mr_err err;
    if (cron)
        schedule.by_cron = mr_cron_parse(cron, &schedule.cron, &err);
    return schedule;
}

/* ---- what must not be ---- */

static void validate_dsn(const char *name, const char *key, const char *dsn, struct mr_where where, struct mr_config_errors *errors)
{
    char *why = NULL;
    struct mr_where at = mr_config_where(errors, where, key);
    if (!dsn)
        return;
    PQconninfoOption *options = PQconninfoParse(dsn, &why);
    if (!options) /* `why` may repeat a piece of it: nothing of that is shown */
        mr_config_error(errors, at, "source %s: %s is neither a URL (postgres://user@host/database) nor keywords (host=… dbname=… user=…) as libpq takes them", name, key);
    PQfreemem(why);
    PQconninfoFree(options);
}

static void validate_cron(const char *name, const char *cron, const char *key, struct mr_where where, struct mr_config_errors *errors)
{
    struct mr_cron parsed;
    struct mr_err err;
    if (cron && !mr_cron_parse(cron, &parsed, &err))
        mr_config_error(errors, mr_config_where(errors, where, key), "source %s: cron \"%s\": %s", name, cron, err.msg);
}

static void validate_stream(const char *name, const struct pg_stream_options *s, struct mr_where where, struct mr_config_errors *errors)
{
    char path[512];
    snprintf(path, sizeof path, "streams.%s", s->name);
    struct mr_where at = mr_config_where(errors, where, path);
    if (!s->table == !s->query)
        mr_config_error(errors, at, "source %s: stream %s: give it a table or a query, one of them", name, s->name);
    if (s->query && s->mode != PG_SNAPSHOT && (s->method == PG_EXACT || s->method == PG_XID))
        mr_config_error(errors, at, "source %s: stream %s: the rows of a query have no transaction ids: method window, or mode snapshot", name, s->name);
    if (s->method == PG_EXACT && !s->watermark)
        mr_config_error(errors, at, "source %s: stream %s: method exact needs a watermark", name, s->name);
    if ((s->method == PG_WINDOW || (s->query && s->mode != PG_SNAPSHOT)) && !s->watermark)
        mr_config_error(errors, at, "source %s: stream %s: method window needs a watermark", name, s->name);
    if (s->null_watermark == PG_NULL_FAIL && (s->method == PG_WINDOW || (s->query && s->mode != PG_SNAPSHOT)))
        mr_config_error(errors, at, "source %s: stream %s: by window rows without a watermark are not seen: null_watermark cannot be `fail`", name, s->name);
    if (s->deletes && s->key.count == 0)
        mr_config_error(errors, at, "source %s: stream %s: deletes need a key", name, s->name);
    if (s->deletes && s->mode == PG_SNAPSHOT)
        mr_config_error(errors, at, "source %s: stream %s: a snapshot has no deletes: a row that is gone is not in the next one", name, s->name);
    if (s->name[0] == '_')
        mr_config_error(errors, at, "source %s: stream %s: names that begin with _ are millrace's own", name, s->name);
    snprintf(path, sizeof path, "streams.%s.cron", s->name);
    validate_cron(name, s->cron, path, where, errors);
}

void postgres_validate(const char *name, const void *options, struct mr_where where, struct mr_config_errors *errors)
{
    const struct postgres_options *o = options;
    const struct pg_stream_options *streams = o->streams.items;
    validate_dsn(name, "dsn", o->dsn, where, errors);
    validate_dsn(name, "primary_dsn", o->primary_dsn, where, errors);
    validate_cron(name, o->cron, "cron", where, errors);
    for (size_t i = 0; i < o->streams.count; i++)
        validate_stream(name, &streams[i], where, errors);
}
