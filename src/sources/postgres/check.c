/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - `millrace check` of one source: what facts.c asks on a worker, as advice.c says it. Blocks there; what is to be said is kept until it is back.
 *
 * happy path    connect -> the server -> its primary -> what is open -> each stream
 * ways to fail  no connection: that is said, and nothing more; a stream that cannot be read is a line, and the others go on */
#include "facts.h"
#include "postgres.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct checking {
    struct mr_check *check;
    const struct postgres_options *o;
    struct mr_job job;
    struct pg_lines lines;
    char application[80];
};

/* The shortest time between two runs of those that come. */
static int64_t interval_of(const struct mr_schedule *s)
{
    enum { RUNS = 50 };
    int64_t least_us = INT64_MAX, last_us;
    if (!s->by_cron)
        return s->every_ms;
    last_us = mr_cron_next(&s->cron, mr_wall_us());
    for (int i = 0; i < RUNS && last_us != MR_NO_TIME; i++) {
        int64_t next_us = mr_cron_next(&s->cron, last_us);
        if (next_us != MR_NO_TIME && next_us - last_us < least_us)
            least_us = next_us - last_us;
        last_us = next_us;
    }
    return least_us / 1000;
}

/* ---- on a worker ---- */

static bool meet(struct checking *c, struct pg_asking *a, const char *key, const char *dsn, const char *password, struct pg_server_facts *f)
{
    enum { FIRST = 130000 };
    a->pq = pg_connect_now(dsn, password, c->application, &a->err);
    if (!a->pq) {
        pg_line(&c->lines, PG_FAIL, "%s: %s%s", key, a->err.msg, pg_advice_on_refusal(a->err.msg));
        return false;
    }
    if (PQserverVersion(a->pq) < FIRST) {
        pg_line(&c->lines, PG_FAIL, "%s: the server is of version %d.%d; needed is PostgreSQL 13 or later", key, PQserverVersion(a->pq) / 10000, PQserverVersion(a->pq) % 10000);
        return false;
    }
    if (!pg_facts_server(a, f)) {
        pg_line(&c->lines, PG_FAIL, "%s: the server was asked about itself: %s", key, a->err.msg);
        return false;
    }
    return true;
}

static void look_at_stream(struct checking *c, struct pg_asking *a, const struct pg_stream_options *s, const struct pg_server_facts *server, const struct pg_server_facts *seer)
{
    const struct mr_schedule schedule = postgres_schedule(c->o, s);
    struct pg_table_facts f = {.interval_ms = interval_of(&schedule)};
    c->lines.stream = s->name;
    if (!a->pq)
        pg_line(&c->lines, PG_FAIL, "not looked at: %s", a->err.msg);
    else if (pg_facts_stream(a, c->o, s, server, &c->lines, &f)) {
        if (f.method == PG_EXACT && seer && (!seer->reads_stats || seer->untracked)) {
            f.method = PG_XID;
            f.why = pg_method_hidden;
        }
        pg_advise_table(&c->lines, c->o, s, &f, seer);
        if (!a->pq)
            pg_line(&c->lines, PG_FAIL, "the look at it broke off: %s", a->err.msg);
    }
    c->lines.stream = NULL;
}

static void run(struct mr_job *job) /* Runs on: worker */
{
    struct checking *c = MR_OF(job, struct checking, job);
    const struct postgres_options *o = c->o;
    const struct pg_stream_options *streams = o->streams.items;
    struct pg_asking a = {0}, primary_asking = {0};
    struct pg_server_facts server, primary;
    const struct pg_server_facts *seer = NULL; /* whose transactions a run asks for */
    if (meet(c, &a, "dsn", o->dsn, o->password.value, &server)) {
        pg_advise_server(&c->lines, o, &server);
        if (!o->primary_dsn) {
            seer = server.standby ? NULL : &server;
        } else if (meet(c, &primary_asking, "primary_dsn", o->primary_dsn, o->primary_password.value ? o->primary_password.value : o->password.value, &primary)) {
            pg_advise_primary(&c->lines, o, &server, &primary);
            seer = &primary;
        }
        if (seer)
            pg_advise_transactions(&c->lines, o, seer);
        for (size_t i = 0; i < o->streams.count; i++)
            look_at_stream(c, &a, &streams[i], &server, seer);
    }
    PQfinish(a.pq);
    PQfinish(primary_asking.pq);
}

/* ---- on the loop ---- */

static void tell(struct mr_check *check, struct pg_lines *l)
{
    static const enum mr_check_level levels[] = {[PG_OK] = MR_CHECK_OK, [PG_WARN] = MR_CHECK_WARN, [PG_FAIL] = MR_CHECK_FAIL};
    for (size_t i = 0; i < l->count; i++)
        check->line(check, levels[l->items[i].level], l->items[i].stream, l->items[i].text);
    pg_lines_free(l);
}

static void done(struct mr_job *job, bool canceled)
{
    struct checking *c = MR_OF(job, struct checking, job);
    struct mr_check *check = c->check;
    (void)canceled;
    tell(check, &c->lines);
    free(c);
    check->done(check);
}

static void look_at_dsn(struct pg_lines *l, const char *key, const char *dsn)
{
    const char *host = NULL, *sslmode = NULL;
    PQconninfoOption *options = dsn ? PQconninfoParse(dsn, NULL) : NULL;
    for (const PQconninfoOption *one = options; one && one->keyword; one++) {
        if (strcmp(one->keyword, "host") == 0)
            host = one->val;
        else if (strcmp(one->keyword, "sslmode") == 0)
            sslmode = one->val;
    }
    pg_advise_dsn(l, key, host, sslmode);
    PQconninfoFree(options);
}

static void look_at_config(struct mr_check *check)
{
    const struct postgres_options *o = check->options;
    const struct pg_stream_options *streams = o->streams.items;
    struct pg_lines lines = {0};
    pg_line(&lines, PG_OK, "%zu stream%s", o->streams.count, o->streams.count == 1 ? "" : "s");
    look_at_dsn(&lines, "dsn", o->dsn);
    look_at_dsn(&lines, "primary_dsn", o->primary_dsn);
    for (size_t i = 0; i < o->streams.count; i++) {
        const struct mr_schedule schedule = postgres_schedule(o, &streams[i]);
        lines.stream = streams[i].name;
        pg_advise_config(&lines, o, &streams[i], interval_of(&schedule));
    }
    tell(check, &lines);
    check->done(check);
}

void postgres_check(struct mr_check *check)
{
    if (check->offline) {
        look_at_config(check);
        return;
    }
    struct checking *c = calloc(1, sizeof *c);
    assert(c);
    c->check = check;
    c->o = check->options;
    snprintf(c->application, sizeof c->application, "millrace check %.48s", check->name);
    c->job = (struct mr_job){.run = run, .done = done};
    mr_worker_submit(check->loop->workers, MR_LANE_FAR, &c->job);
}
