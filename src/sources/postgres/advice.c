/* SPDX-License-Identifier: Apache-2.0 */
/* advice.c - lines about the servers, and how numbers are said. Those about a stream are in advice_table.c. */
#include "advice.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OLD_S = 60, FIRST_WITH_RANGES = 140000 };
static const int64_t AGE_MANY = 1500000000;

/* ---- lines ---- */

void pg_line(struct pg_lines *l, enum pg_level level, const char *fmt, ...)
{
    va_list args;
    char *text;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    assert(n >= 0);
    for (char *p = text; *p; p++)
        if (*p == '\n' || *p == '\t' || *p == '\r')
            *p = ' ';
    l->items = realloc(l->items, (l->count + 1) * sizeof *l->items);
    assert(l->items);
    l->items[l->count++] = (struct pg_line){level, l->stream, text};
}

void pg_lines_free(struct pg_lines *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->items[i].text);
    free(l->items);
    *l = (struct pg_lines){0};
}

/* ---- numbers ---- */

const char *pg_say_bytes(int64_t bytes, char out[PG_SAID_ROOM])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes / 1024;
    size_t unit = 0;
    if (bytes < 1024) {
        snprintf(out, PG_SAID_ROOM, "%" PRId64 " bytes", bytes);
        return out;
    }
    for (; v >= 1023.95 && unit + 1 < MR_COUNT(units); unit++)
        v /= 1024;
    snprintf(out, PG_SAID_ROOM, v < 9.95 ? "%.1f %s" : "%.0f %s", v, units[unit]);
    return out;
}

const char *pg_say_seconds(int64_t seconds, char out[PG_SAID_ROOM])
{
    static const struct {
        int64_t s;
        const char *large, *small;
        int64_t small_s;
    } units[] = {{365 * 86400, "years", "d", 86400}, {86400, "d", "h", 3600}, {3600, "h", "min", 60}, {60, "min", "s", 1}};
    for (size_t i = 0; i < MR_COUNT(units); i++)
        if (seconds >= units[i].s) {
            int64_t rest = seconds % units[i].s / units[i].small_s;
            const char *large = i == 0 && seconds < 2 * units[i].s ? "year" : units[i].large;
            if (rest)
                snprintf(out, PG_SAID_ROOM, "%" PRId64 " %s %" PRId64 " %s", seconds / units[i].s, large, rest, units[i].small);
            else
                snprintf(out, PG_SAID_ROOM, "%" PRId64 " %s", seconds / units[i].s, large);
            return out;
        }
    snprintf(out, PG_SAID_ROOM, "%" PRId64 " s", seconds);
    return out;
}

const char *pg_say_ms(int64_t ms, char out[PG_SAID_ROOM])
{
    if (ms % 1000 == 0 || ms > 60000)
        return pg_say_seconds(ms / 1000, out);
    snprintf(out, PG_SAID_ROOM, "%" PRId64 " ms", ms);
    return out;
}

const char *pg_say_count(int64_t n, char out[PG_SAID_ROOM])
{
    char digits[24];
    size_t at = 0;
    int len = snprintf(digits, sizeof digits, "%" PRId64, n);
    for (int i = 0; i < len; i++) {
        out[at++] = digits[i];
        if ((len - 1 - i) % 3 == 0 && i < len - 1 && digits[i] != '-')
            out[at++] = ',';
    }
    out[at] = 0;
    return out;
}

/* ---- where ---- */

bool pg_host_is_local(const char *host)
{
    return host[0] == 0 || host[0] == '/' || host[0] == '@' || strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 || strcmp(host, "localhost") == 0;
}

const char *pg_advice_on_refusal(const char *said)
{
    static const struct {
        const char *words, *advice;
    } known[] = {
        {"password authentication failed", ": is the source's `password` that of this role?"},
        {"no password supplied", ": give the source a `password`"},
        {"no pg_hba.conf entry", ": a line of the server's pg_hba.conf must let this user into this database from here; it may ask for TLS (sslmode)"},
        {"does not support SSL", ": set `ssl = on` there, or a lower sslmode"},
        {"certificate verify failed", ": sslrootcert must name the authority of the server's certificate"},
        {"translate host name", ": is the name right, and does this machine's resolver know it?"},
        {"timeout expired", ": is the host right, and does a firewall drop what is sent there?"},
    };
    for (size_t i = 0; i < MR_COUNT(known); i++)
        if (strstr(said, known[i].words))
            return known[i].advice;
    return "";
}

static bool verifies(const char *sslmode)
{
    return strcmp(sslmode, "verify-full") == 0;
}

void pg_advise_dsn(struct pg_lines *l, const char *key, const char *host, const char *sslmode)
{
    if (!host || pg_host_is_local(host))
        return;
    if (!sslmode)
        pg_line(l, PG_WARN, "%s: %s is another machine, and sslmode is not given: libpq then takes what it gets, also no TLS; add sslmode=verify-full and sslrootcert", key, host);
    else if (!verifies(sslmode))
        pg_line(l, PG_WARN, "%s: %s is another machine, and sslmode is %s: who stands between can pose as the server; sslmode=verify-full prevents it", key, host, sslmode);
}

static void advise_tls(struct pg_lines *l, const struct pg_server_facts *f)
{
    if (f->tls && (f->local || verifies(f->sslmode)))
        pg_line(l, PG_OK, "%s, sslmode %s", f->tls_version, f->sslmode);
    else if (f->tls)
        pg_line(l, PG_WARN, "%s, but with sslmode %s the server's name is not verified: who stands between can pose as it; sslmode=verify-full and sslrootcert prevent it", f->tls_version, f->sslmode);
    else if (f->local)
        pg_line(l, PG_OK, "no TLS, within this machine");
    else
        pg_line(l, PG_WARN, "no TLS to %s: rows can be read and changed on their way; add sslmode=verify-full and sslrootcert to the dsn", f->host);
}

/* ---- a server ---- */

static void advise_sight(struct pg_lines *l, const struct pg_server_facts *f, const char *key)
{
    char now[48] = "";
    if (f->hidden)
        snprintf(now, sizeof now, " (%" PRId64 " session%s now)", f->hidden, f->hidden == 1 ? "" : "s");
    if (!f->reads_stats)
        pg_line(l, PG_WARN,
                "other roles hide their transactions from %s%s. Until the server of %s is told GRANT pg_read_all_stats TO %s; method exact becomes xid, which reads the whole table at each run, and window "
                "can miss rows",
                f->role, now, key, f->role);
    else
        pg_line(l, PG_OK, "%s sees when each open transaction began", f->role);
    if (!f->tracks || f->untracked)
        pg_line(l, PG_WARN, "track_activities is off%s: such a session does not show when its transaction began, and while one is there method exact becomes xid, and window can miss rows; ALTER SYSTEM SET track_activities = on",
                f->tracks ? " in some sessions" : "");
}

static void advise_limits(struct pg_lines *l, const struct postgres_options *o, const struct pg_server_facts *f)
{
    int64_t wanted = o->parallel + (o->listen != NULL);
    if (f->connections >= 0 && f->connections < wanted)
        pg_line(l, PG_WARN, "%s may have %" PRId64 " connection%s, and %" PRId64 " are wanted (parallel%s): ALTER ROLE %s CONNECTION LIMIT %" PRId64, f->role, f->connections,
                f->connections == 1 ? "" : "s", wanted, o->listen ? ", and one to listen" : "", f->role, wanted + 2);
    if (f->transaction_ms)
        pg_line(l, PG_WARN, "transaction_timeout is %" PRId64 " ms for us and ends longer reads: ALTER ROLE %s SET transaction_timeout = 0", f->transaction_ms, f->role);
    if (f->pooled)
        pg_line(l, PG_WARN, "a pooler stands before the server: it must pool by session or by transaction, not by statement%s", o->listen ? "; and `listen` needs it to pool by session" : "");
    if (strcmp(f->encoding, "SQL_ASCII") == 0)
        pg_line(l, PG_WARN, "server_encoding is SQL_ASCII: the server does not know in which encoding its texts are, and nothing makes them UTF-8");
}

static void advise_standby(struct pg_lines *l, const struct postgres_options *o, const struct pg_server_facts *f)
{
    char delay[PG_SAID_ROOM], behind[PG_SAID_ROOM];
    pg_say_ms(f->streaming_delay_ms, delay);
    if (!f->streams)
        pg_line(l, PG_WARN, "no WAL comes to the standby by streaming now: it is fed from an archive, or cut off from its primary");
    if (f->paused)
        pg_line(l, PG_WARN, "replay is paused on the standby: nothing new is seen; SELECT pg_wal_replay_resume()");
    else if (f->behind_s > OLD_S)
        pg_line(l, PG_WARN, "the newest transaction that the standby shows is %s old: it is behind, or nothing is written", pg_say_seconds(f->behind_s, behind));
    if (f->streaming_delay_ms >= 0 && f->streaming_delay_ms < 5000 && !f->feedback)
        pg_line(l, PG_WARN, "a read of more than %s that is in the way of replay is canceled (max_standby_streaming_delay), and done again: 30s there, or hot_standby_feedback = on, or a smaller `chunk`", delay);
    else
        pg_line(l, PG_OK, "max_standby_streaming_delay %s, hot_standby_feedback %s: a read that is in the way of replay %s", f->streaming_delay_ms < 0 ? "-1" : delay, f->feedback ? "on" : "off",
                f->streaming_delay_ms < 0 ? "is waited for" : "is canceled after that, and done again");
    if (!o->primary_dsn)
        pg_line(l, PG_WARN, "no primary_dsn: a standby does not show which transactions are open on its primary. Tables are read by transaction ids, whole, at each run%s",
                o->listen ? "; and a standby cannot LISTEN, so that `listen` wakes nobody" : "");
}

void pg_advise_server(struct pg_lines *l, const struct postgres_options *o, const struct pg_server_facts *f)
{
    pg_line(l, PG_OK, "PostgreSQL %s at %s%s%s, a %s; database %s, role %s", f->version, f->host, f->port[0] && f->host[0] != '/' ? ":" : "", f->host[0] != '/' ? f->port : "",
            f->standby ? "standby" : "primary", f->database, f->role);
    if (f->number < FIRST_WITH_RANGES)
        pg_line(l, PG_WARN, "before PostgreSQL 14 a range of pages is found by reading the whole table: where a first read or a sweep is done in chunks, each chunk costs that. Set `chunk` above the largest table");
    advise_tls(l, f);
    if (!f->standby)
        advise_sight(l, f, "dsn");
    if (f->standby)
        advise_standby(l, o, f);
    advise_limits(l, o, f);
}

void pg_advise_primary(struct pg_lines *l, const struct postgres_options *o, const struct pg_server_facts *f, const struct pg_server_facts *p)
{
    (void)o;
    if (strcmp(f->system, p->system) != 0)
        pg_line(l, PG_FAIL, "primary_dsn leads to another cluster than dsn: its system identifier is %s, not %s", p->system, f->system);
    else if (p->standby)
        pg_line(l, PG_FAIL, "primary_dsn leads to a standby (%s:%s): the open transactions are those of the primary", p->host, p->port);
    else if (strcmp(f->database, p->database) != 0)
        pg_line(l, PG_FAIL, "primary_dsn leads to the database %s, dsn to %s: transactions are asked for in the database that is read", p->database, f->database);
    else
        pg_line(l, PG_OK, "primary_dsn leads to %s, PostgreSQL %s at %s:%s, role %s", f->standby ? "the primary of this standby" : "the same cluster, a primary itself: it is asked for open transactions", p->version,
                p->host, p->port, p->role);
    advise_tls(l, p);
    advise_sight(l, p, "primary_dsn");
}

/* ---- transactions ---- */

static void advise_oldest(struct pg_lines *l, const struct postgres_options *o, const struct pg_server_facts *f)
{
    char open[PG_SAID_ROOM], idle[PG_SAID_ROOM], statement[PG_SAID_ROOM], limit[384];
    snprintf(limit, sizeof limit, "%s (idle_in_transaction_session_timeout %s, statement_timeout %s)", f->idle_ms || f->statement_ms ? "long ones are ended" : "nothing ends one that stays open",
             f->idle_ms ? pg_say_ms(f->idle_ms, idle) : "0", f->statement_ms ? pg_say_ms(f->statement_ms, statement) : "0");
    if (f->open_s < 0)
        pg_line(l, PG_OK, "no transaction is open in %s now; %s", f->database, limit);
    else if (f->open_s * 1000 < o->straggler_ms)
        pg_line(l, PG_OK, "the oldest open transaction is %s old; %s", pg_say_seconds(f->open_s, open), limit);
    else
        pg_line(l, PG_WARN,
                "a transaction has been open for %s (process %" PRId64 ", role %s%s%s, %s): what it commits lands after its end, by one run that reads back to its beginning; window waits for it. %s; to end it: "
                "SELECT pg_terminate_backend(%" PRId64 ")",
                pg_say_seconds(f->open_s, open), f->open_pid, f->open_role[0] ? f->open_role : "?", f->open_name[0] ? ", " : "", f->open_name, f->open_state[0] ? f->open_state : "?", limit, f->open_pid);
}

void pg_advise_transactions(struct pg_lines *l, const struct postgres_options *o, const struct pg_server_facts *f)
{
    char age[PG_SAID_ROOM], ids[PG_SAID_ROOM];
    advise_oldest(l, o, f);
    if (f->prepared && f->prepared_s >= OLD_S)
        pg_line(l, PG_WARN, "%" PRId64 " prepared transaction%s, the oldest %s of %s ago: what it commits lands after its end, and until then vacuum cleans up nothing; COMMIT PREPARED or ROLLBACK PREPARED %s",
                f->prepared, f->prepared == 1 ? "" : "s", f->prepared_gid, pg_say_seconds(f->prepared_s, age), f->prepared_gid);
    else if (f->prepared)
        pg_line(l, PG_OK, "%" PRId64 " prepared transaction%s, none older than a minute", f->prepared, f->prepared == 1 ? "" : "s");
    if (f->age > AGE_MANY)
        pg_line(l, PG_WARN, "the oldest transaction id of %s is %s ids old, of 2,147,483,647 that there are: is vacuum kept from its work?", f->database, pg_say_count(f->age, ids));
}
