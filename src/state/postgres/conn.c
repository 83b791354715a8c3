/* SPDX-License-Identifier: Apache-2.0 */
/* conn.c - a connection, its statements, and what its errors mean. docs: PostgreSQL 15, chapter 34 (libpq), appendix A
 * (SQLSTATE). */
#include "state/postgres/pg.h"

#include "millrace/json.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum {
    CONNECT_S = 10, /* a host, unless the URL says otherwise */
    ANSWER_MS = 45000, /* longer than statement_timeout below: the server's own word comes first */
    ASK_AGAIN_MS = 500,
    CLOCK_MS = 10000, /* how long the server's clock is believed to run like ours */
    PARAMS_LIMIT = 128 << 20,
    PARAMS_KEPT = 1 << 16,
};

/* -- errors -------------------------------------------------------------------------------------------------------- */

static enum mr_code code_of(const char *state)
{
    static const struct {
        const char *state; /* or how it begins */
        enum mr_code code;
    } codes[] = {
        {"53100", MR_ENOSPC}, {"53", MR_EBUSY},     {"55P03", MR_EBUSY}, {"57014", MR_EBUSY}, {"40", MR_EBUSY},
        {"25P03", MR_EBUSY},  {"08", MR_ENET},      {"57P", MR_ENET},    {"28", MR_EAUTH},    {"3D000", MR_ECONFIG},
        {"42501", MR_EPERM},  {"25006", MR_EPERM},  {"23505", MR_EEXIST}, {"XX001", MR_ECORRUPT}, {"XX002", MR_ECORRUPT},
        {"54", MR_ETOOBIG},
    };
    for (size_t i = 0; state && i < MR_COUNT(codes); i++)
        if (strncmp(state, codes[i].state, strlen(codes[i].state)) == 0)
            return codes[i].code;
    return MR_EIO;
}

/* The first line, without what libpq puts in front. */
static struct mr_str first_line(const char *said)
{
    static const char *const leads[] = {"ERROR:", "FATAL:", "PANIC:"};
    for (size_t i = 0; i < MR_COUNT(leads); i++)
        if (strncmp(said, leads[i], 6) == 0)
            said += 6;
    while (*said == ' ')
        said++;
    return (struct mr_str){said, strcspn(said, "\n")};
}

bool mr_pg_lost(const struct mr_pg *pg)
{
    return !pg->c || PQstatus(pg->c) == CONNECTION_BAD;
}

enum mr_code mr_pg_fail(struct mr_pg *pg, const PGresult *result, const char *what)
{
    if (pg->db.err->code != MR_OK)
        return pg->db.err->code;
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    enum mr_code code = state ? code_of(state) : MR_ENET;
    const char *said = result && *PQresultErrorMessage(result) ? PQresultErrorMessage(result)
                       : pg->c                                 ? PQerrorMessage(pg->c)
                                                               : "";
    struct mr_str line = first_line(said);
    if (line.n == 0)
        line = MR_STR("the connection is gone");
    mr_err_set(pg->db.err, code, "%s: %s: %.*s%s%s%s", pg->name, what, (int)line.n, line.p, state ? " (" : "",
               state ? state : "", state ? ")" : "");
    if (code == MR_EPERM && state && strcmp(state, "25006") == 0)
        mr_err_set(pg->db.err, code, "%s: the server only reads: a standby; name the primary, or add target_session_attrs=read-write", pg->name);
    return code;
}

/* -- waiting ------------------------------------------------------------------------------------------------------- */

/* false: not in time, or the socket is broken */
static bool wait_for(const struct mr_pg *pg, short events, int64_t until_us)
{
    for (;;) {
        struct pollfd p = {.fd = PQsocket(pg->c), .events = events};
        int64_t left_us = until_us - mr_mono_us();
        if (p.fd < 0 || left_us <= 0)
            return false;
        int n = poll(&p, 1, (int)(left_us / 1000) + 1);
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            return false;
    }
}

static void give_up(struct mr_pg *pg, const char *what)
{
    if (pg->db.err->code == MR_OK)
        mr_err_set(pg->db.err, MR_ETIMEDOUT, "%s: %s: no answer for %d s", pg->name, what, ANSWER_MS / 1000);
    mr_pg_disconnect(pg);
}

/* What was sent goes out, and the answer comes in. */
static bool answered(struct mr_pg *pg, const char *what)
{
    int64_t until_us = mr_mono_us() + (int64_t)ANSWER_MS * 1000;
    for (int more = PQflush(pg->c); more; more = PQflush(pg->c)) {
        if (more < 0) {
            mr_pg_fail(pg, NULL, what);
            return false;
        }
        if (!wait_for(pg, POLLIN | POLLOUT, until_us)) {
            give_up(pg, what);
            return false;
        }
        if (!PQconsumeInput(pg->c)) {
            mr_pg_fail(pg, NULL, what);
            return false;
        }
    }
    while (PQisBusy(pg->c)) {
        if (!wait_for(pg, POLLIN, until_us)) {
            give_up(pg, what);
            return false;
        }
        if (!PQconsumeInput(pg->c)) {
            mr_pg_fail(pg, NULL, what);
            return false;
        }
    }
    return true;
}

/* All results of what was sent: the last one that has rows, else the last. NULL after an error. */
static PGresult *results(struct mr_pg *pg, bool sent, const char *what)
{
    PGresult *kept = NULL, *r;
    bool failed = !sent;
    if (!sent)
        mr_pg_fail(pg, NULL, what);
    while (sent && answered(pg, what)) {
        if (!(r = PQgetResult(pg->c))) {
            sent = false; /* no more */
        } else if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK) {
            mr_pg_fail(pg, r, what);
            failed = true;
            PQclear(r);
        } else if (kept && PQresultStatus(r) != PGRES_TUPLES_OK) {
            PQclear(r);
        } else {
            PQclear(kept);
            kept = r;
        }
    }
    if (!failed && !sent && kept)
        return kept;
    if (!failed)
        mr_pg_fail(pg, NULL, what);
    PQclear(kept);
    return NULL;
}

PGresult *mr_pg_query(struct mr_pg *pg, const char *text)
{
    return pg->c ? results(pg, PQsendQuery(pg->c, text), text) : (mr_pg_fail(pg, NULL, text), NULL);
}

PGresult *mr_pg_query_binary(struct mr_pg *pg, const char *text, int n, const Oid *types, const char *const *values,
                             const int *lengths)
{
    int formats[MR_PG_PARAMS];
    assert(n <= MR_PG_PARAMS);
    for (int i = 0; i < n; i++)
        formats[i] = 1;
    if (!pg->c) {
        mr_pg_fail(pg, NULL, text);
        return NULL;
    }
    return results(pg, PQsendQueryParams(pg->c, text, n, types, values, lengths, formats, 1), "event ids");
}

enum mr_code mr_pg_exec(struct mr_db *db, const char *text)
{
    struct mr_pg *pg = mr_pg_of(db);
    PGresult *r = mr_pg_query(pg, text);
    PQclear(r);
    return db->err->code;
}

/* -- connecting ---------------------------------------------------------------------------------------------------- */

static void silent(void *arg, const PGresult *result) /* notices say nothing that concerns us */
{
    (void)arg;
    (void)result;
}

/* What holds for every session. A commit that was reported must be on disk; a process that was stopped in a transaction
 * must not hold its locks for long. */
static enum mr_code set_up(struct mr_pg *pg)
{
    char text[1024];
    char *home = PQescapeLiteral(pg->c, pg->home, strlen(pg->home));
    if (!home)
        return mr_pg_fail(pg, NULL, "set up the session");
    snprintf(text, sizeof text,
             "SET search_path TO %s; SET client_encoding TO 'UTF8'; SET standard_conforming_strings TO on; "
             "SET lock_timeout TO '10s'; SET statement_timeout TO '30s'; SET idle_in_transaction_session_timeout TO '20s'; "
             "SELECT set_config('millrace.home', %s, false), set_config('synchronous_commit', CASE "
             "current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, "
             "false), current_setting('server_encoding'), current_setting('transaction_read_only')",
             pg->schema, home);
    PQfreemem(home);
    PGresult *r = mr_pg_query(pg, text);
    if (!r)
        return mr_err_wrap(pg->db.err, "set up the session");
    if (strcmp(PQgetvalue(r, 0, 2), "UTF8") != 0)
        mr_err_set(pg->db.err, MR_ECONFIG, "%s: the database has the encoding %s; make one with ENCODING 'UTF8' for millrace",
                   pg->name, PQgetvalue(r, 0, 2));
    else if (strcmp(PQgetvalue(r, 0, 3), "off") != 0)
        mr_err_set(pg->db.err, MR_EPERM,
                   "%s: the server only reads: a standby; name the primary, or add target_session_attrs=read-write", pg->name);
    PQclear(r);
    return pg->db.err->code;
}

static enum mr_code read_clock(struct mr_pg *pg)
{
    int64_t before_us = mr_mono_us();
    PGresult *r = mr_pg_query(pg, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint");
    if (!r)
        return pg->db.err->code;
    int64_t after_us = mr_mono_us();
    pg->db.ahead_us = (int64_t)strtoll(PQgetvalue(r, 0, 0), NULL, 10) - before_us - (after_us - before_us) / 2;
    pg->ahead_at_us = after_us;
    PQclear(r);
    return MR_OK;
}

enum mr_code mr_pg_connect(struct mr_pg *pg)
{
    mr_pg_disconnect(pg);
    /* blocks, for connect_timeout a host at most: so each of several gets its turn. We are on a thread of our own */
    pg->c = PQconnectdb(pg->conninfo);
    if (mr_pg_lost(pg)) {
        struct mr_str said = first_line(pg->c ? PQerrorMessage(pg->c) : "");
        const char *secret = pg->c ? PQpass(pg->c) : NULL;
        /* libpq names hosts and users and never a password; should that change, nothing of it is repeated */
        if (said.n == 0 || (secret && *secret && memmem(said.p, said.n, secret, strlen(secret))))
            said = MR_STR("the connection failed");
        mr_err_set(pg->db.err, MR_ENET, "%s: %.*s", pg->name, (int)said.n, said.p);
        mr_pg_disconnect(pg);
        return pg->db.err->code;
    }
    PQsetNoticeReceiver(pg->c, silent, NULL);
    if (PQsetnonblocking(pg->c, 1) != 0)
        mr_pg_fail(pg, NULL, "connect");
    else if (set_up(pg) == MR_OK && read_clock(pg) == MR_OK)
        return MR_OK;
    mr_pg_disconnect(pg);
    return pg->db.err->code;
}

void mr_pg_disconnect(struct mr_pg *pg)
{
    for (size_t i = 0; pg->statements && i < MR_PG_STATEMENTS; i++)
        pg->statements[i].prepared = false;
    PQfinish(pg->c);
    pg->c = NULL;
}

bool mr_pg_ready(struct mr_db *db)
{
    struct mr_pg *pg = mr_pg_of(db);
    int64_t now_us = mr_mono_us();
    if (!mr_pg_lost(pg)) {
        /* a connection that died while it lay idle is found here, and not in the middle of a commit */
        if (now_us - pg->ahead_at_us < (int64_t)CLOCK_MS * 1000 || PQtransactionStatus(pg->c) != PQTRANS_IDLE)
            return true;
        if (read_clock(pg) == MR_OK)
            return true;
        *db->err = (struct mr_err){.code = MR_OK};
    }
    if (pg->failed_at_us && now_us - pg->failed_at_us < (int64_t)ASK_AGAIN_MS * 1000) {
        *db->err = pg->failed;
        return false;
    }
    if (mr_pg_connect(pg) == MR_OK) {
        pg->failed_at_us = 0;
        return true;
    }
    pg->failed_at_us = mr_mono_us();
    pg->failed = *db->err;
    return false;
}

/* -- the URL ------------------------------------------------------------------------------------------------------- */

static bool name_ok(struct mr_str s)
{
    bool ok = s.n > 0 && s.n < 64 && !isdigit((unsigned char)s.p[0]);
    for (size_t i = 0; i < s.n; i++)
        ok = ok && (islower((unsigned char)s.p[i]) || isdigit((unsigned char)s.p[i]) || s.p[i] == '_');
    return ok && !(s.n >= 3 && memcmp(s.p, "pg_", 3) == 0);
}

/* Takes our own parameter `schema` out of the URL; libpq would refuse it. */
static bool take_schema(char *url, char **schema)
{
    char *query = strchr(url, '?');
    for (char *p = query; p; p = strchr(p + 1, '&')) {
        if (strncmp(p + 1, "schema=", 7) != 0)
            continue;
        size_t n = strcspn(p + 8, "&");
        *schema = strndup(p + 8, n);
        char *rest = p + 8 + n; /* "&…" or the end */
        if (*rest == '&')
            memmove(p + 1, rest + 1, strlen(rest));
        else
            *p = '\0';
        return *schema && name_ok(mr_str_c(*schema));
    }
    *schema = strdup("millrace");
    return true;
}

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword; options++)
        if (strcmp(options->keyword, keyword) == 0)
            return options->val && *options->val ? options->val : NULL;
    return NULL;
}

static char *name_of(const PQconninfoOption *o, const char *schema)
{
    const char *host = value_of(o, "host"), *port = value_of(o, "port"), *db = value_of(o, "dbname");
    char text[512];
    snprintf(text, sizeof text, "state store postgres://%s%s%s/%s (schema %s)", host ? host : "", port ? ":" : "",
             port ? port : "", db ? db : "", schema);
    return strdup(text);
}

/* libpq's defaults for what the URL leaves open, and a name by which the server's own views show us. */
static char *conninfo_of(const char *url)
{
    size_t n = strlen(url) + 96;
    char *out = malloc(n), wait[32] = "";
    assert(out);
    if (!strstr(url, "connect_timeout="))
        snprintf(wait, sizeof wait, "&connect_timeout=%d", CONNECT_S);
    snprintf(out, n, "%s%sfallback_application_name=millrace%s", url, strchr(url, '?') ? "&" : "?", wait);
    return out;
}

struct mr_pg *mr_pg_new(const char *url, const char *home, struct mr_err *err)
{
    struct mr_pg *pg = calloc(1, sizeof *pg);
    char *copy = strdup(url);
    assert(pg && copy);
    pg->db.ops = &mr_pg_ops;
    pg->db.err = err;
    pg->home = strdup(home ? home : "");
    if (!take_schema(copy, &pg->schema)) {
        mr_err_set(err, MR_ECONFIG,
                   "state.url: schema: expected a name of small letters, digits and _, such as schema=millrace_prod");
    } else {
        char *said = NULL; /* may repeat a piece of the password */
        PQconninfoOption *options = PQconninfoParse(copy, &said);
        if (!options)
            mr_err_set(err, MR_ECONFIG, "state.url: this is no URL of Postgres; expected "
                                        "postgres://user:password@host:5432/database, with %%XX for signs in the password");
        else
            pg->name = name_of(options, pg->schema);
        PQconninfoFree(options);
        PQfreemem(said);
        pg->conninfo = conninfo_of(copy);
    }
    free(copy);
    pg->db.name = pg->name;
    if (err->code != MR_OK) {
        mr_pg_free(pg);
        return NULL;
    }
    pg->statements = calloc(MR_PG_STATEMENTS, sizeof *pg->statements);
    assert(pg->statements && pg->name && pg->home);
    return pg;
}

void mr_pg_free(struct mr_pg *pg)
{
    for (size_t i = 0; pg->statements && i < MR_PG_STATEMENTS; i++) {
        free(pg->statements[i].sql);
        if (pg->statements[i].text)
            mr_buf_free(&pg->statements[i].bytes);
    }
    free(pg->statements);
    free(pg->conninfo);
    free(pg->schema);
    free(pg->home);
    free(pg->name);
    free(pg);
}

/* -- statements ---------------------------------------------------------------------------------------------------- */

/* `?` and `?1` become $1; a lock in a comment is uncovered. Our own texts: no question mark stands in a literal. */
static char *translate(const char *text)
{
    size_t size = strlen(text) * 2 + 1;
    char *out = malloc(size), *o = out;
    int n = 0;
    assert(out);
    for (const char *p = text; *p;) {
        if (*p == '?') {
            int at = 0;
            for (p++; isdigit((unsigned char)*p); p++)
                at = at * 10 + (*p - '0');
            o += snprintf(o, size - (size_t)(o - out), "$%d", at ? at : ++n); /* less than 100: two signs more at most */
        } else if (strncmp(p, "/*", 2) == 0 || strncmp(p, "*/", 2) == 0) {
            p += 2;
        } else {
            *o++ = *p++;
        }
    }
    *o = '\0';
    return out;
}

static struct mr_pg_stmt *cached(struct mr_pg *pg, const char *text)
{
    size_t at = (size_t)((uintptr_t)text * UINT64_C(0x9E3779B97F4A7C15) >> 32) % MR_PG_STATEMENTS;
    for (size_t tries = 0; tries < MR_PG_STATEMENTS; tries++, at = (at + 1) % MR_PG_STATEMENTS) {
        struct mr_pg_stmt *s = &pg->statements[at];
        if (s->text == text)
            return s;
        if (!s->text) {
            *s = (struct mr_pg_stmt){.stmt = {&pg->db}, .text = text, .sql = translate(text)};
            snprintf(s->name, sizeof s->name, "s%zu", at);
            mr_buf_init(&s->bytes, PARAMS_LIMIT);
            return s;
        }
    }
    assert(pg->statements[at].text == text); /* MR_PG_STATEMENTS is too small */
    return NULL;
}

/* What Postgres' text cannot hold becomes U+FFFD: NUL, and what is not UTF-8. */
static void put_text(struct mr_buf *b, struct mr_str s)
{
    if (mr_utf8_ok(s) && !memchr(s.p, '\0', s.n)) {
        mr_buf_put(b, s.p, s.n);
        return;
    }
    for (size_t i = 0, n; i < s.n; i += n) {
        for (n = s.n - i < 4 ? s.n - i : 4; n > 1 && !mr_utf8_ok((struct mr_str){s.p + i, n}); n--)
            ;
        bool ok = s.p[i] != '\0' && mr_utf8_ok((struct mr_str){s.p + i, n});
        /* a piece of several characters is fine as well, if no NUL is among them */
        if (ok && memchr(s.p + i, '\0', n))
            n = 1;
        mr_buf_put(b, ok ? s.p + i : "\xEF\xBF\xBD", ok ? n : 3);
    }
}

/* false: NULL */
static bool put_param(struct mr_buf *b, char letter, va_list *args)
{
    char text[28];
    struct mr_str s = {NULL, 0};
    int64_t us;
    int32_t day;
    switch (letter) {
    case 's':
        s = va_arg(*args, struct mr_str);
        break;
    case 'e':
        s = va_arg(*args, struct mr_str);
        s = s.p ? s : MR_STR("");
        break;
    case 'c':
        s = mr_str_c(va_arg(*args, const char *));
        break;
    case 'i':
        mr_buf_printf(b, "%lld", (long long)va_arg(*args, int64_t));
        return true;
    case 't':
        us = va_arg(*args, int64_t);
        if (us != 0 && us != MR_NO_TIME) {
            mr_time_text(us, text);
            s = mr_str_c(text);
        }
        break;
    default:
        assert(letter == 'd');
        day = va_arg(*args, int32_t);
        if (day != MR_NO_DAY) {
            mr_day_text(day, text);
            s = mr_str_c(text);
        }
        break;
    }
    if (s.p)
        put_text(b, s);
    return s.p != NULL;
}

struct mr_stmt *mr_pg_bind(struct mr_db *db, const char *text, const char *format, va_list *args)
{
    struct mr_pg *pg = mr_pg_of(db);
    struct mr_pg_stmt *s = cached(pg, text);
    size_t at[MR_PG_PARAMS];
    assert(strlen(format) <= MR_PG_PARAMS && !s->result);
    mr_buf_clear(&s->bytes);
    s->params_count = 0;
    for (; format[s->params_count]; s->params_count++) {
        size_t began = s->bytes.n;
        at[s->params_count] = put_param(&s->bytes, format[s->params_count], args) ? began : SIZE_MAX;
        mr_buf_putc(&s->bytes, '\0');
    }
    if (s->bytes.failed) {
        mr_err_set(db->err, MR_ETOOBIG, "%s: values of %d MiB at a time are too many", pg->name, PARAMS_LIMIT >> 20);
        return NULL;
    }
    for (int i = 0; i < s->params_count; i++)
        s->params[i] = at[i] == SIZE_MAX ? NULL : (const char *)s->bytes.p + at[i];
    s->row = -1;
    return &s->stmt;
}

static bool prepared(struct mr_pg *pg, struct mr_pg_stmt *s)
{
    if (s->prepared)
        return true;
    PGresult *r = results(pg, PQsendPrepare(pg->c, s->name, s->sql, 0, NULL), s->sql);
    s->prepared = r != NULL;
    PQclear(r);
    return s->prepared;
}

static bool run(struct mr_pg *pg, struct mr_pg_stmt *s)
{
    if (!pg->c) {
        mr_pg_fail(pg, NULL, s->sql);
        return false;
    }
    if (!prepared(pg, s))
        return false;
    s->result = results(pg, PQsendQueryPrepared(pg->c, s->name, s->params_count, s->params, NULL, NULL, 0), s->sql);
    if (s->result) {
        const char *changed = PQcmdTuples(s->result);
        pg->changes = *changed ? strtoll(changed, NULL, 10) : 0;
    }
    return s->result != NULL;
}

bool mr_pg_row(struct mr_db *db, struct mr_stmt *stmt)
{
    struct mr_pg_stmt *s = MR_OF(stmt, struct mr_pg_stmt, stmt);
    if (!s->result && !run(mr_pg_of(db), s))
        return false;
    return ++s->row < PQntuples(s->result);
}

void mr_pg_end(struct mr_stmt *stmt)
{
    struct mr_pg_stmt *s = MR_OF(stmt, struct mr_pg_stmt, stmt);
    PQclear(s->result);
    s->result = NULL;
    if (s->bytes.cap > PARAMS_KEPT) { /* else a large landing would be remembered for ever */
        mr_buf_free(&s->bytes);
        mr_buf_init(&s->bytes, PARAMS_LIMIT);
    }
}

struct mr_str mr_pg_column(struct mr_stmt *stmt, int at)
{
    const struct mr_pg_stmt *s = MR_OF(stmt, struct mr_pg_stmt, stmt);
    if (PQgetisnull(s->result, s->row, at))
        return (struct mr_str){NULL, 0};
    return (struct mr_str){PQgetvalue(s->result, s->row, at), (size_t)PQgetlength(s->result, s->row, at)};
}

int64_t mr_pg_integer(struct mr_stmt *stmt, int at)
{
    struct mr_str s = mr_pg_column(stmt, at);
    return s.p ? strtoll(s.p, NULL, 10) : 0;
}

int64_t mr_pg_changes(struct mr_db *db)
{
    return mr_pg_of(db)->changes;
}
