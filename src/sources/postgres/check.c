/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - `millrace check`: can the server be reached, and can each stream be read? Blocks, on a worker; what is to be said is kept until it is back. */
#include "postgres.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct said {
    enum mr_check_level level;
    const char *stream; /* borrowed; NULL: of the source */
    char *text;
};
struct checking {
    struct mr_check *check;
    const struct postgres_options *o;
    struct mr_job job;
    struct said *said;
    size_t count;
};

static void say(struct checking *c, enum mr_check_level level, const char *stream, const char *fmt, ...) MR_PRINTF(4, 5);
static void say(struct checking *c, enum mr_check_level level, const char *stream, const char *fmt, ...)
{
    va_list args;
    char *text;
    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0)
        abort();
    va_end(args);
    c->said = realloc(c->said, (c->count + 1) * sizeof *c->said);
    assert(c->said);
    c->said[c->count++] = (struct said){level, stream, text};
}

static void first_line(char *text)
{
    text[strcspn(text, "\n")] = 0;
}

static PGresult *ask(PGconn *pq, const char *sql, char why[256])
{
    PGresult *r = PQexec(pq, sql);
    if (PQresultStatus(r) == PGRES_TUPLES_OK)
        return r;
    snprintf(why, 256, "%s", PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) ? PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) : PQerrorMessage(pq));
    first_line(why);
    PQclear(r);
    return NULL;
}

static void check_stream(struct checking *c, PGconn *pq, const struct pg_stream_options *s)
{
    struct mr_buf sql;
    char why[256];
    mr_buf_init(&sql, 4 << 20);
    mr_buf_puts(&sql, "SELECT * FROM ");
    if (s->query)
        mr_buf_printf(&sql, "(%s\n) AS t", s->query);
    else
        mr_buf_puts(&sql, s->table);
    mr_buf_puts(&sql, " LIMIT 0");
    PGresult *r = ask(pq, mr_buf_cstr(&sql), why);
    if (r)
        say(c, MR_CHECK_OK, s->name, "%d columns can be read", PQnfields(r));
    else
        say(c, MR_CHECK_FAIL, s->name, "%s", why);
    PQclear(r);
    mr_buf_free(&sql);
}

static void run(struct mr_job *job) /* Runs on: worker */
{
    struct checking *c = MR_OF(job, struct checking, job);
    const struct pg_stream_options *streams = c->o->streams.items;
    const char *names[] = {"connect_timeout", "gssencmode", "fallback_application_name", "dbname", c->o->password.value ? "password" : NULL, NULL};
    const char *values[] = {"10", "disable", "millrace check", c->o->dsn, c->o->password.value, NULL};
    char why[256];
    PGconn *pq = PQconnectdbParams(names, values, 1);
    if (!pq || PQstatus(pq) != CONNECTION_OK) {
        snprintf(why, sizeof why, "%s", pq ? PQerrorMessage(pq) : "no memory");
        first_line(why);
        say(c, MR_CHECK_FAIL, NULL, "%s", why);
        PQfinish(pq);
        return;
    }
    PGresult *r = ask(pq, "SELECT pg_catalog.current_setting('server_version'), pg_catalog.pg_is_in_recovery()", why);
    if (r)
        say(c, MR_CHECK_OK, NULL, "Postgres %s, %s", PQgetvalue(r, 0, 0), PQgetvalue(r, 0, 1)[0] == 't' ? "a standby" : "a primary");
    else
        say(c, MR_CHECK_FAIL, NULL, "%s", why);
    PQclear(r);
    for (size_t i = 0; i < c->o->streams.count; i++)
        check_stream(c, pq, &streams[i]);
    PQfinish(pq);
}

static void done(struct mr_job *job, bool canceled)
{
    struct checking *c = MR_OF(job, struct checking, job);
    struct mr_check *check = c->check;
    (void)canceled;
    for (size_t i = 0; i < c->count; i++) {
        check->line(check, c->said[i].level, c->said[i].stream, c->said[i].text);
        free(c->said[i].text);
    }
    free(c->said);
    free(c);
    check->done(check);
}

void postgres_check(struct mr_check *check)
{
    const struct postgres_options *o = check->options;
    char text[128];
    if (check->offline) {
        snprintf(text, sizeof text, "%zu stream%s", o->streams.count, o->streams.count == 1 ? "" : "s");
        check->line(check, MR_CHECK_OK, NULL, text);
        check->done(check);
        return;
    }
    struct checking *c = calloc(1, sizeof *c);
    assert(c);
    c->check = check;
    c->o = o;
    c->job = (struct mr_job){.run = run, .done = done};
    mr_worker_submit(check->loop->workers, MR_LANE_FAR, &c->job);
}
