/* SPDX-License-Identifier: Apache-2.0 */
/* advice_table.c - lines about a stream: how it is read and why, what its watermark and key are worth, what a run costs. */
#include "advice.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AHEAD_S = 60, SCAN_SHARE = 20 /* percent of the time between two runs */, FIRST_WITH_RANGES = 140000 };
static const int64_t READ_PER_S = 100000000, SCAN_PER_S = 1000000000; /* bytes: with all that lands; of what is passed over */
static const int64_t LONG_S = 600;

static const char *s_of(int64_t n)
{
    return n == 1 ? "" : "s";
}

/* ---- how ---- */

static void schedule_text(const struct postgres_options *o, const struct pg_stream_options *s, int64_t interval_ms, char out[96])
{
    const char *cron = s->cron ? s->cron : s->every_ms ? NULL : o->cron;
    char every[PG_SAID_ROOM];
    if (cron)
        snprintf(out, 96, "by cron \"%.60s\"", cron);
    else
        snprintf(out, 96, "every %s", pg_say_ms(interval_ms, every));
}

void pg_advise_config(struct pg_lines *l, const struct postgres_options *o, const struct pg_stream_options *s, int64_t interval_ms)
{
    static const char *const modes[] = {[PG_INCREMENTAL] = "incremental", [PG_APPEND] = "append", [PG_SNAPSHOT] = "snapshot"};
    char when[96];
    schedule_text(o, s, interval_ms, when);
    pg_line(l, PG_OK, "%s %s, mode %s, method %s, %s%s, %s", s->table ? "table" : "a", s->table ? s->table : "query", modes[s->mode],
            s->mode == PG_SNAPSHOT ? "none: all of it at each run" : pg_method_name((enum pg_method)s->method), s->watermark ? "watermark " : "no watermark", s->watermark ? s->watermark : "", when);
    if (s->mode != PG_SNAPSHOT && s->key.count == 0)
        pg_line(l, PG_WARN, "no key: two versions of a row cannot be told to be of one row. `key: [its columns]`");
}

static void say_window(struct pg_lines *l, const struct postgres_options *o, const struct pg_stream_options *s, const struct pg_table_facts *f, const struct pg_server_facts *server)
{
    char hold[PG_SAID_ROOM], skew[PG_SAID_ROOM];
    bool choice = f->kind == 'r' || f->kind == 'p' || f->kind == 'm';
    pg_say_ms(o->hold_ms, hold);
    pg_say_ms(s->skew_ms ? s->skew_ms : o->skew_ms, skew);
    pg_line(l, choice ? PG_WARN : PG_OK,
            "method window, %s: a row lands once no transaction is open that is older than its watermark, and after %s at the latest. Missed is what is written with a watermark more than %s older than its transaction, "
            "or commits later than %s%s",
            f->why, hold, skew, hold, choice ? "; without `method` the rows' transaction ids are read too, and nothing is missed" : "");
    if (f->standby && !o->primary_dsn)
        pg_line(l, PG_WARN, "by window of a standby without primary_dsn open transactions are not seen: what commits late is missed");
    else if (server && !server->reads_stats)
        pg_line(l, PG_WARN, "by window with transactions that are hidden from us (see above), what they commit late is missed");
}

static void say_method(struct pg_lines *l, const struct postgres_options *o, const struct pg_stream_options *s, const struct pg_table_facts *f, const struct pg_server_facts *server)
{
    char sweep[PG_SAID_ROOM], skew[PG_SAID_ROOM];
    bool asked = s->method == PG_EXACT && f->method != PG_EXACT;
    if (f->method == PG_WINDOW) {
        say_window(l, o, s, f, server);
        return;
    }
    if (f->method == PG_XID) {
        pg_line(l, !asked ? PG_OK : f->why == pg_method_hidden ? PG_WARN : PG_FAIL, "%smethod xid, %s: each run reads the whole table and lands what transactions since the last one have written; nothing is missed",
                asked ? "method exact cannot be had; " : "", f->why);
        return;
    }
    pg_say_ms(s->skew_ms ? s->skew_ms : o->skew_ms, skew);
    pg_say_ms(o->sweep_ms, sweep);
    if (!f->indexed)
        pg_line(l, PG_WARN, "method exact, %s: without an index each run reads the whole table, which method xid does as well and asks less", f->why);
    else
        pg_line(l, PG_OK, "method exact, %s: each run reads the index %s from %s before the oldest open transaction on, and knows by transaction ids what has landed; %s%s", f->why, f->index, skew,
                s->mode == PG_APPEND || !o->sweep_ms ? "nothing is swept" : "what is written with an older watermark the sweep finds, every ", s->mode == PG_APPEND || !o->sweep_ms ? "" : sweep);
    if (s->mode != PG_APPEND && !o->sweep_ms)
        pg_line(l, PG_WARN, "sweep is 0s: what is written with a watermark more than %s older than its transaction never lands. `sweep: 6h` finds it", skew);
}

static void say_cost(struct pg_lines *l, const struct pg_stream_options *s, const struct pg_table_facts *f)
{
    char size[PG_SAID_ROOM], time[PG_SAID_ROOM], hourly[PG_SAID_ROOM], every[PG_SAID_ROOM];
    int64_t per_s = s->mode == PG_SNAPSHOT ? READ_PER_S : SCAN_PER_S, ms = f->bytes / (per_s / 1000);
    bool whole = s->mode == PG_SNAPSHOT || f->method == PG_XID, fast = f->interval_ms < PG_FAST_MS && (s->mode == PG_SNAPSHOT || f->method != PG_EXACT);
    pg_say_bytes(f->bytes, size);
    pg_say_ms(f->interval_ms, every);
    double hours = f->interval_ms > 0 ? 3600000.0 / (double)f->interval_ms : 0, per_hour = hours * (double)f->bytes;
    pg_say_bytes(per_hour < 9e18 ? (int64_t)per_hour : INT64_MAX, hourly);
    if (whole && f->kind != 'q' && f->kind != 'v' && f->kind != 'f' && ms * 100 > f->interval_ms * SCAN_SHARE)
        pg_line(l, PG_WARN, "a run reads %s, about %s, every %s: that is most of what the source does%s", size, pg_say_ms(ms, time), every,
                s->mode == PG_SNAPSHOT ? "; mode incremental reads what has changed" : "; an index on a watermark makes it a short range");
    if (fast && s->mode == PG_SNAPSHOT)
        pg_line(l, PG_WARN, "every %s all of it lands: %s each time, %s an hour. Mode incremental lands what has changed; change data capture (the WAL) does better at this pace", every, size, hourly);
    else if (fast && f->method == PG_WINDOW)
        pg_line(l, PG_WARN, "every %s by window: rows come no sooner than the open transactions end, and what a row was between two runs is not seen. Change data capture (the WAL) does better at this pace", every);
    else if (fast)
        pg_line(l, PG_WARN, "every %s the whole table is read: %s each time, %s an hour%s. Change data capture (the WAL) does better at this pace", every, size, hourly,
                f->indexed ? "" : ", which an index that begins with a watermark, and method exact, would not need");
}

/* ---- rights ---- */

static void say_rights(struct pg_lines *l, const struct pg_stream_options *s, const struct pg_table_facts *f)
{
    if (f->unreadable)
        pg_line(l, PG_FAIL, "%" PRId64 " of its %" PRId64 " relation%s may not be read, each partition being read by itself: GRANT SELECT ON %s TO %s%s", f->unreadable, f->relations, s_of(f->relations),
                f->unreadable_name, f->role, f->unreadable > 1 ? " (and the others)" : "");
    if (f->secured)
        pg_line(l, PG_FAIL,
                "row security hides rows of %s from %s, and half of a table is not read as if it were all: ALTER ROLE %s BYPASSRLS; or read what the policies show with `query: SELECT * FROM %s`", f->secured_name, f->role,
                f->role, f->secured_name);
    if (f->hidden[0] && s->columns.count == 0)
        pg_line(l, PG_WARN, "%s may not be read and %s left out: GRANT SELECT ON %s TO %s, or name the columns that are wanted in `columns`", f->hidden, strchr(f->hidden, ',') ? "are" : "is", f->name, f->role);
    if (!f->whole && !f->unreadable && !f->secured && f->kind != 'q')
        pg_line(l, PG_OK, "rights on some columns only: the table is not locked against a rewrite while it is read; should one come, the read is done again");
}

/* ---- size, first read ---- */

static void say_first_read(struct pg_lines *l, const struct postgres_options *o, const struct pg_stream_options *s, const struct pg_table_facts *f, const char *what)
{
    char time[PG_SAID_ROOM], chunk[PG_SAID_ROOM], count[PG_SAID_ROOM];
    int64_t seconds = (f->bytes + f->toast) / READ_PER_S, per = f->page > 0 ? postgres_chunk(o, s) / f->page : 1, chunks = 0;
    if (per < 1)
        per = 1;
    bool chunked = s->mode != PG_SNAPSHOT && f->method != PG_WINDOW && f->pages_most > per;
    if (f->page > 0)
        chunks = (f->bytes / f->page + per - 1) / per;
    snprintf(time, sizeof time, "a second");
    if (seconds > 1)
        pg_say_seconds(seconds, time);
    if (chunked)
        pg_line(l, f->version < FIRST_WITH_RANGES ? PG_WARN : PG_OK, "%s; the first read is done in about %s chunks of %s, %" PRId64 " at a time, each its own transaction, and goes on where it was cut off: about %s at 100 MB/s%s",
                what, pg_say_count(chunks, count), pg_say_bytes(postgres_chunk(o, s), chunk), postgres_parallel(o, s), time, f->version < FIRST_WITH_RANGES ? "; before PostgreSQL 14 each chunk reads the whole table: raise `chunk`" : "");
    else if (seconds > LONG_S)
        pg_line(l, PG_WARN, "%s; %s is one transaction of about %s at 100 MB/s, which keeps vacuum from cleaning up and begins anew if it is cut off", what, s->mode == PG_SNAPSHOT ? "each run" : "the first read", time);
    else
        pg_line(l, PG_OK, "%s; %s is one transaction of about %s", what, s->mode == PG_SNAPSHOT ? "each run" : "the first read", time);
}

static void say_size(struct pg_lines *l, const struct postgres_options *o, const struct pg_stream_options *s, const struct pg_table_facts *f)
{
    char size[PG_SAID_ROOM], toast[PG_SAID_ROOM], rows[PG_SAID_ROOM], what[256], relations[64] = "", beside[64] = "";
    if (f->kind == 'p' || f->relations != 1)
        snprintf(relations, sizeof relations, "%" PRId64 " %s%s, ", f->relations, f->kind == 'p' ? "partition" : "relation", s_of(f->relations));
    if (f->toast > 0)
        snprintf(beside, sizeof beside, " (and %s of large values)", pg_say_bytes(f->toast, toast));
    snprintf(what, sizeof what, "%s%s%s, %s%s rows", relations, pg_say_bytes(f->bytes, size), beside, f->rows < 0 ? "an unknown number of" : "about ", f->rows < 0 ? "" : pg_say_count(f->rows, rows));
    if (f->relations == 0)
        pg_line(l, PG_WARN, "it has no partitions yet: nothing is read");
    else
        say_first_read(l, o, s, f, what);
    if (f->rows < 0 && f->relations > 0)
        pg_line(l, PG_OK, "it was never analyzed: ANALYZE %s makes these estimates, and the server's plans, good", f->name);
    if (f->kind == 'm' && s->mode != PG_SNAPSHOT)
        pg_line(l, PG_WARN, "a materialized view: each REFRESH gives all rows new ids, and all land again; REFRESH MATERIALIZED VIEW CONCURRENTLY %s changes only those that differ", f->name);
}

static void say_plan(struct pg_lines *l, const struct pg_table_facts *f)
{
    char rows[PG_SAID_ROOM];
    const char *what = f->kind == 'v' ? "a view" : f->kind == 'f' ? "a foreign table" : "a query";
    if (f->plan_rows < 0)
        pg_line(l, PG_OK, "%s: it has no transaction ids", what);
    else if (f->plan_scans[0])
        pg_line(l, PG_WARN, "%s: for what is about %s row(s) a run reads all of %s; see EXPLAIN, and give what is below it an index on the watermark", what, pg_say_count((int64_t)f->plan_rows, rows), f->plan_scans);
    else
        pg_line(l, PG_OK, "%s: the server expects a run to give about %s row(s)", what, pg_say_count((int64_t)f->plan_rows, rows));
}

/* ---- the watermark ---- */

static void say_index(struct pg_lines *l, const struct pg_table_facts *f)
{
    char broken[2 * PG_NAME_ROOM + 64] = "", more[128] = "";
    if (f->indexed || f->kind == 'v' || f->kind == 'q' || f->kind == 'f')
        return;
    if (f->index_invalid)
        snprintf(broken, sizeof broken, " (%s is invalid: REINDEX INDEX CONCURRENTLY %s)", f->index, f->index);
    else if (f->index_partial)
        snprintf(broken, sizeof broken, " (%s has only some of the rows)", f->index);
    else if (f->index_other)
        snprintf(broken, sizeof broken, " (%s is no btree)", f->index);
    if (f->kind == 'p' || f->relations > 1)
        snprintf(more, sizeof more, " on each of %" PRId64 " relations%s", f->bare, f->kind == 'p' ? ", then CREATE INDEX on the table itself, which takes them over" : "");
    pg_line(l, f->method == PG_XID ? PG_OK : PG_WARN, "no index begins with the watermark %s%s: CREATE INDEX CONCURRENTLY ON %s (%s)%s", f->column, broken, f->bare_name, f->column, more);
}

static void say_nulls(struct pg_lines *l, const struct pg_stream_options *s, const struct pg_table_facts *f)
{
    char some[96], count[PG_SAID_ROOM];
    static const char *const means[] = {"they land once, and are looked at in each run (null_watermark: land)", "they are passed over (null_watermark: skip)", "the stream fails at the first (null_watermark: fail)"};
    const char *mean = means[s->null_watermark];
    bool none = f->nulls == 0 || (f->nulls < 0 && f->null_share == 0), window = f->method == PG_WINDOW && s->mode != PG_SNAPSHOT;
    if (f->not_null)
        return;
    if (window && s->null_watermark == 0)
        mean = "by window such a row never lands";
    if (f->nulls > PG_COUNT_MOST)
        snprintf(some, sizeof some, "in more than %s rows", pg_say_count(PG_COUNT_MOST, count));
    else if (f->nulls > 0)
        snprintf(some, sizeof some, "in %s row%s", pg_say_count(f->nulls, count), s_of(f->nulls));
    else if (f->nulls < 0 && f->null_share > 0)
        snprintf(some, sizeof some, "in about %.2g %% of the rows", f->null_share * 100);
    else
        snprintf(some, sizeof some, "%s", none ? "in none now" : "in how many rows is not known");
    enum pg_level level = none || (f->nulls < 0 && f->null_share < 0 && !window) ? PG_OK : s->null_watermark == 2 ? PG_FAIL : f->method == PG_XID && s->null_watermark == 0 ? PG_OK : PG_WARN;
    if (f->kind == 'r' || f->kind == 'p')
        pg_line(l, level, "%s may be NULL, %s: %s; ALTER TABLE %s ALTER %s SET NOT NULL keeps it from being so", f->column, some, mean, f->name, f->column);
    else
        pg_line(l, level, "%s may be NULL, %s: %s", f->column, some, mean);
}

static const char *grain_text(int64_t us)
{
    return us >= 86400000000 ? "whole days" : us >= 3600000000 ? "whole hours" : us >= 60000000 ? "whole minutes" : us >= 1000000 ? "whole seconds" : us >= 1000 ? "milliseconds" : "microseconds";
}

static void say_resolution(struct pg_lines *l, const struct postgres_options *o, const struct pg_stream_options *s, const struct pg_table_facts *f)
{
    int64_t skew_ms = s->skew_ms ? s->skew_ms : o->skew_ms;
    char skew[PG_SAID_ROOM];
    bool own = f->form == PG_FORM_DATE || f->form == PG_FORM_INT2 || f->form == PG_FORM_INT4 || f->form == PG_FORM_INT8; /* the range begins at a whole one anyway */
    if (f->grain_us <= 0)
        return;
    if (f->method == PG_XID)
        pg_line(l, PG_OK, "%s is of type %s, in %s: that does not matter by transaction ids", f->column, f->type, grain_text(f->grain_us));
    else if (!own && f->grain_us > skew_ms * 1000)
        pg_line(l, PG_WARN, "%s is of type %s, and its recent values are %s: a row seems older than its transaction by more than skew (%s), and %s. `skew: %s`", f->column, f->type, grain_text(f->grain_us),
                pg_say_ms(skew_ms, skew), f->method == PG_WINDOW ? "is missed" : "lands only by the sweep", f->grain_us >= 86400000000 ? "25h" : f->grain_us >= 3600000000 ? "61m" : "2m");
    else if (f->method == PG_WINDOW && f->grain_us >= 1000000)
        pg_line(l, f->grain_us >= 86400000000 ? PG_WARN : PG_OK, "%s is of type %s, in %s: by window a row lands once its %s has passed", f->column, f->type, grain_text(f->grain_us),
                f->grain_us >= 86400000000 ? "day" : "hour, minute or second");
    else if (f->method == PG_WINDOW)
        pg_line(l, PG_OK, "%s is of type %s, in %s", f->column, f->type, grain_text(f->grain_us));
    else
        pg_line(l, PG_OK, "%s is of type %s, in %s: equal values do not matter to method exact, they would to window", f->column, f->type, grain_text(f->grain_us));
}

static bool is_number(const struct pg_table_facts *f)
{
    return f->form == PG_FORM_INT2 || f->form == PG_FORM_INT4 || f->form == PG_FORM_INT8;
}

static const char *by_method(const struct pg_table_facts *f, const char *window, const char *exact)
{
    return f->method == PG_WINDOW ? window : f->method == PG_EXACT ? exact : "by transaction ids they land like any other, but `expect.fresh` takes them for fresh";
}

/* Seconds from 1970 as milliseconds lie 1000 times too far away: between 1990 and 2100 only one unit is right. */
static bool say_unit(struct pg_lines *l, const struct pg_stream_options *s, const struct pg_table_facts *f)
{
    static const char *const names[] = {"s", "ms", "us"};
    static const double per_s[] = {1, 1e3, 1e6};
    const int64_t now_s = strtoll(f->newest, NULL, 10) / (int64_t)per_s[s->unit] + f->newest_s, year = 366 * 86400;
    if (!is_number(f) || !f->ranged || !f->newest[0] || (f->newest_s > -year && f->newest_s < 20 * year))
        return false;
    double v = strtod(f->newest, NULL);
    for (int i = 0; i < 3; i++)
        if (i != s->unit && v / per_s[i] < (double)(now_s + year) && v / per_s[i] > (double)(now_s - 20 * year)) {
            pg_line(l, PG_FAIL, "the newest %s is %s, which is no time of these years in the unit %s, but is one in %s: `%s: %s`", f->column, f->newest, names[s->unit], names[i], "unit", names[i]);
            return true;
        }
    pg_line(l, PG_WARN, "the newest %s is %s, which is no time of these years: is it a number of versions? Without `watermark` changes are found by the rows' transaction ids", f->column, f->newest);
    return true;
}

static void say_range(struct pg_lines *l, const struct postgres_options *o, const struct pg_stream_options *s, const struct pg_table_facts *f)
{
    char far[PG_SAID_ROOM], many[PG_SAID_ROOM];
    (void)o;
    if (!f->ranged || say_unit(l, s, f))
        return;
    if (!f->newest[0]) {
        pg_line(l, PG_OK, "%s has no value yet", f->column);
        return;
    }
    pg_say_count(f->ahead > PG_COUNT_MOST ? PG_COUNT_MOST : f->ahead, many);
    if (!f->newest_finite)
        pg_line(l, PG_WARN, "%s is infinity in some rows, and %s%s row%s %s ahead of the server's clock: %s", f->column, f->ahead > PG_COUNT_MOST ? "more than " : "", many, s_of(f->ahead), f->ahead == 1 ? "is" : "are",
                by_method(f, "by window these land when their time has come, and those of infinity never", "they land, and are read again in each run"));
    else if (f->newest_s < -AHEAD_S)
        pg_line(l, PG_WARN, "the newest %s, %s, lies %s in the future; so do%s %s row%s: %s", f->column, f->newest, pg_say_seconds(-f->newest_s, far), f->ahead > PG_COUNT_MOST ? " more than" : "", many, s_of(f->ahead),
                by_method(f, "by window they land when their time has come", "they land, and are read again in each run until then"));
    else if (f->newest_s >= 0)
        pg_line(l, PG_OK, "the newest %s is %s, %s ago", f->column, f->newest, pg_say_seconds(f->newest_s, far));
    else
        pg_line(l, PG_OK, "the newest %s is %s, now", f->column, f->newest);
    if (!f->oldest_finite)
        pg_line(l, f->method == PG_WINDOW ? PG_WARN : PG_OK, "%s is -infinity in some rows: %s", f->column,
                f->method == PG_WINDOW ? "by window one lands only if it is there at the first run" : "they land once, and are looked at in each run");
}

static void say_setters(struct pg_lines *l, const struct postgres_options *o, const struct pg_stream_options *s, const struct pg_table_facts *f)
{
    char sweep[PG_SAID_ROOM];
    const char *set = f->by_default[0] ? f->by_default : "no default";
    bool matters = s->mode == PG_INCREMENTAL && f->method != PG_XID;
    if (f->kind != 'r' && f->kind != 'p')
        return;
    if (f->trigger[0] && f->trigger_sets)
        pg_line(l, PG_OK, "%s: %s%s; trigger %s sets it at UPDATE", f->column, f->by_default[0] ? "default " : "", set, f->trigger);
    else if (matters && f->method == PG_EXACT && o->sweep_ms)
        pg_line(l, PG_OK, "%s: %s%s; no trigger sets it at UPDATE: an UPDATE that leaves it as it was lands late, by the sweep, within %s", f->column, f->by_default[0] ? "default " : "", set,
                pg_say_ms(o->sweep_ms, sweep));
    else if (matters)
        pg_line(l, PG_WARN, "%s: %s%s; no trigger sets it at UPDATE: an UPDATE that leaves it as it was never lands", f->column, f->by_default[0] ? "default " : "", set);
}

/* ---- the key ---- */

static void say_key(struct pg_lines *l, const struct pg_stream_options *s, const struct pg_table_facts *f)
{
    if (s->key.count == 0) {
        if (s->mode != PG_SNAPSHOT && f->primary[0])
            pg_line(l, PG_WARN, "no key: two versions of a row cannot be told to be of one row. The primary key is `key: [%s]`", f->primary);
        else if (s->mode == PG_INCREMENTAL)
            pg_line(l, PG_WARN, "no key, and no primary key: two versions of a row cannot be told to be of one row");
        return;
    }
    if (f->unique[0])
        pg_line(l, PG_OK, "the key is unique by %s", f->unique);
    else if (f->kind == 'p')
        pg_line(l, PG_WARN, "no index keeps the key (%s) unique, and over partitions one must have the columns that they are parted by: two rows can have the same key, and a reader who keeps the last of each loses one%s%s",
                f->key, f->primary[0] ? "; the primary key is " : "", f->primary);
    else if (f->kind == 'r' || f->kind == 'm')
        pg_line(l, PG_WARN, "no index keeps the key unique: two rows can have the same, and a reader who keeps the last of each loses one; CREATE UNIQUE INDEX CONCURRENTLY ON %s (%s)", f->name, f->key);
    if (f->nullable[0] && (f->kind == 'r' || f->kind == 'p'))
        pg_line(l, PG_WARN, "the key's %s may be NULL, and NULLs are not unique", f->nullable);
}

void pg_advise_table(struct pg_lines *l, const struct postgres_options *o, const struct pg_stream_options *s, const struct pg_table_facts *f, const struct pg_server_facts *server)
{
    bool planned = f->kind == 'v' || f->kind == 'f' || f->kind == 'q';
    if (s->mode == PG_SNAPSHOT)
        pg_line(l, PG_OK, "mode snapshot: each run lands all of it under one snapshot, with a record in _snapshots once it is whole");
    else if (f->refused.code != MR_OK)
        pg_line(l, PG_FAIL, "%s", f->refused.msg);
    else
        say_method(l, o, s, f, server);
    say_rights(l, s, f);
    if (f->refused.code != MR_OK)
        return;
    if (planned)
        say_plan(l, f);
    else
        say_size(l, o, s, f);
    if (f->column[0] && s->mode != PG_SNAPSHOT) {
        say_index(l, f);
        say_nulls(l, s, f);
        say_resolution(l, o, s, f);
        say_range(l, o, s, f);
        say_setters(l, o, s, f);
    }
    say_key(l, s, f);
    say_cost(l, s, f);
}
