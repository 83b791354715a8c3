/* SPDX-License-Identifier: Apache-2.0 */
/* schemas.c - happy path: seen -> asked of the registry -> a landing of one record, decided with the row that says so -> known.
 *
 * ways to fail  the registry does not answer: an alert, again after a back-off; it knows no such number (bytes that only look like the wire format):
 *               not asked again by this process, and after a row of them nothing is; another process has landed it: the row is there, the landing is dropped
 * on close      an exchange is cut, a landing that is not decided is dropped: it is asked for again when a record names it again */
#include "schemas.h"

#include "millrace/alert.h"
#include "millrace/backoff.h"
#include "millrace/client.h"
#include "millrace/hash.h"
#include "millrace/json.h"
#include "millrace/worker.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { KNOWN_MOST = 1 << 17, ANSWER_MOST = 4 << 20, TOTAL_MS = 20000, ROWS_AT_ONCE = 1000, UNKNOWN_MOST = 64 };
#define KIND MR_STR("schema")

enum state { STATE_LOADING, STATE_WAITING, STATE_ASKING, STATE_STAGING, STATE_DECIDING, STATE_STOPPED };

struct kafka_schemas {
    struct mr_source *src;
    const struct mr_core *core;
    const struct kafka_registry *o;
    enum state state;
    bool stopping;
    uint32_t *known; /* open addressing; 0: free, else id + 1, of 2^31 at most */
    size_t known_count, known_cap;
    uint32_t *wanted; /* to be asked, in the order seen */
    size_t wanted_count, wanted_cap;
    uint64_t retry_at_ms;
    struct mr_backoff backoff;
    unsigned unknown_in_a_row;
    uint32_t id; /* that is on its way */
    struct mr_buf url, answer, authorization, text;
    struct mr_header headers[2];
    struct mr_exchange exchange;
    struct mr_landing *landing;
    struct mr_job job;
    struct mr_err err; /* worker */
    char last[16];     /* key of the last row that was loaded */
    void (*cb)(void *arg);
    void *arg;
};

static void next(struct kafka_schemas *s);

/* ---- what is known ---- */

static bool known_add(struct kafka_schemas *s, uint32_t id)
{
    if (s->known_cap == 0 || s->known_count * 2 >= s->known_cap) {
        uint32_t *old = s->known;
        size_t cap = s->known_cap;
        if (s->known_count >= KNOWN_MOST)
            return false; /* no registry has as many: these are not its numbers */
        s->known_cap = cap ? cap * 2 : 256;
        s->known = calloc(s->known_cap, sizeof *s->known);
        assert(s->known);
        s->known_count = 0;
        for (size_t i = 0; i < cap; i++)
            if (old[i])
                known_add(s, old[i] - 1);
        free(old);
    }
    size_t at = (id * 2654435761u) & (s->known_cap - 1);
    while (s->known[at] && s->known[at] != id + 1)
        at = (at + 1) & (s->known_cap - 1);
    if (s->known[at])
        return false;
    s->known[at] = id + 1;
    s->known_count++;
    return true;
}

void kafka_schemas_seen(struct kafka_schemas *s, uint32_t id)
{
    if (id == UINT32_MAX || s->unknown_in_a_row >= UNKNOWN_MOST || !known_add(s, id))
        return;
    if (s->wanted_count == s->wanted_cap) {
        s->wanted_cap = s->wanted_cap ? s->wanted_cap * 2 : 16;
        s->wanted = realloc(s->wanted, s->wanted_cap * sizeof *s->wanted);
        assert(s->wanted);
    }
    s->wanted[s->wanted_count++] = id;
    next(s);
}

static void drop_wanted(struct kafka_schemas *s, uint32_t id)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->wanted_count; i++)
        if (s->wanted[i] != id)
            s->wanted[kept++] = s->wanted[i];
    s->wanted_count = kept;
}

static void load(struct kafka_schemas *s);

static void on_rows(void *arg, const struct mr_err *err, const struct mr_kept_row *rows, size_t count)
{
    struct kafka_schemas *s = arg;
    for (size_t i = 0; i < count && err->code == MR_OK; i++) {
        snprintf(s->last, sizeof s->last, "%.*s", (int)rows[i].key.n, rows[i].key.p);
        uint32_t id = (uint32_t)strtoul(s->last, NULL, 10);
        known_add(s, id);
        drop_wanted(s, id);
    }
    if (err->code == MR_OK && count == ROWS_AT_ONCE && !s->stopping) {
        load(s);
        return;
    }
    s->state = STATE_WAITING; /* what could not be read is asked for again, and lost by its row */
    next(s);
}

static void load(struct kafka_schemas *s)
{
    mr_store_rows(s->core->store, mr_str_c(mr_source_name(s->src)), mr_str_c(s->o->stream), KIND, mr_str_c(s->last), ROWS_AT_ONCE, on_rows, s);
}

/* ---- one schema's way ---- */

static void again_later(struct kafka_schemas *s, const struct mr_err *err)
{
    struct mr_loop *loop = s->core->loop;
    mr_alert_open(loop->alerts, MR_A_KAFKA_SCHEMAS, mr_source_name(s->src), NULL, "schema %" PRIu32 ": %s; records land without it", s->id, err->msg);
    s->retry_at_ms = mr_loop_now_ms(loop) + 1000 + (uint64_t)mr_backoff_next(&s->backoff, mr_random_u64());
    if (s->wanted_count > 1) { /* one that cannot be had does not keep the others waiting */
        drop_wanted(s, s->id);
        s->wanted[s->wanted_count++] = s->id;
    }
    s->state = STATE_WAITING;
    next(s);
}

static void settled(struct kafka_schemas *s) /* the schema at hand is dealt with */
{
    mr_alert_close(s->core->loop->alerts, MR_A_KAFKA_SCHEMAS, mr_source_name(s->src), NULL);
    mr_backoff_reset(&s->backoff);
    drop_wanted(s, s->id);
    s->state = STATE_WAITING;
    next(s);
}

struct ticket { /* of a decision: whose publishing may outlive the source */
    struct kafka_schemas *s;
};

static void on_published(void *arg, enum mr_published how)
{
    (void)how;
    free(arg);
}

static void on_decided(void *arg, const struct mr_verdict *verdict)
{
    struct kafka_schemas *s = ((struct ticket *)arg)->s;
    if (verdict->code != MR_OK)
        free(arg);
    if (verdict->code == MR_OK || verdict->code == MR_EFENCED) /* fenced: another process has landed it */
        settled(s);
    else
        again_later(s, verdict->err);
}

static void staged(struct mr_job *job, bool canceled)
{
    struct kafka_schemas *s = MR_OF(job, struct kafka_schemas, job);
    char key[16];
    struct mr_landing *l = s->landing;
    s->landing = NULL;
    if (canceled || s->stopping) {
        mr_landing_abandon(l);
        s->state = STATE_WAITING;
        next(s);
        return;
    }
    if (s->err.code != MR_OK) {
        mr_landing_abandon(l);
        again_later(s, &s->err);
        return;
    }
    snprintf(key, sizeof key, "%" PRIu32, s->id);
    struct mr_row row = {.source = mr_str_c(mr_source_name(s->src)), .stream = mr_str_c(s->o->stream), .kind = KIND, .key = mr_str_c(key), .value = MR_STR("{\"landed\":true}"), .expected_version = 0};
    struct ticket *ticket = malloc(sizeof *ticket);
    assert(ticket);
    ticket->s = s;
    struct mr_landing_end end = {.on_decided = on_decided, .on_published = on_published, .arg = ticket};
    s->state = STATE_DECIDING;
    mr_landing_decide(l, NULL, 0, &row, 1, NULL, 0, &end);
}

static void stage_run(struct mr_job *job) /* Runs on: worker */
{
    struct kafka_schemas *s = MR_OF(job, struct kafka_schemas, job);
    char id[32], position[40];
    snprintf(id, sizeof id, "schema/%" PRIu32, s->id);
    snprintf(position, sizeof position, "{\"schema_id\":%" PRIu32 "}", s->id);
    struct mr_record record = {.source = mr_str_c(mr_source_name(s->src)),
                               .stream = mr_str_c(s->o->stream),
                               .id = mr_str_c(id),
                               .ingested_at_us = mr_wall_us(),
                               .event_at_us = MR_NO_TIME,
                               .position = mr_str_c(position),
                               .data = mr_buf_str(&s->answer)};
    s->err = (struct mr_err){0};
    if (mr_landing_add(s->landing, &record, &s->err) == MR_OK)
        s->err = (struct mr_err){0};
}

static void stage(struct kafka_schemas *s)
{
    s->unknown_in_a_row = 0;
    const struct mr_landing_owner nobody = {0};
    s->state = STATE_STAGING;
    s->landing = mr_landing_begin(s->core->landings, mr_str_c(mr_source_name(s->src)), (struct mr_str){0}, MR_LANDING_ROLLING, &nobody);
    s->job = (struct mr_job){.run = stage_run, .done = staged};
    mr_worker_submit(s->core->loop->workers, MR_LANE_COMPRESS, &s->job);
}

static bool on_bytes(struct mr_exchange *x, struct mr_str bytes)
{
    mr_buf_put(&MR_OF(x, struct kafka_schemas, exchange)->answer, bytes.p, bytes.n);
    return true;
}

static void on_answer(struct mr_exchange *x, const struct mr_exchange_end *end)
{
    struct kafka_schemas *s = MR_OF(x, struct kafka_schemas, exchange);
    struct mr_err err = end->err;
    if (end->cause == MR_CLIENT_OK && end->status == 404) { /* no schema's number, but bytes that look like one */
        mr_log_info(s->core->loop->log, mr_source_name(s->src), "schema_unknown", MR_I("id", s->id));
        if (++s->unknown_in_a_row == UNKNOWN_MOST) {
            mr_log_warn(s->core->loop->log, mr_source_name(s->src), "schemas_given_up", MR_S("why", "the registry knows none of the numbers: values that begin with a zero byte are something else here"));
            s->wanted_count = 0;
        }
        settled(s);
        return;
    }
    if (end->cause == MR_CLIENT_OK && end->status != 200)
        mr_err_set(&err, end->status == 401 || end->status == 403 ? MR_EAUTH : MR_EBUSY, "%s: HTTP status %d", s->o->url, end->status);
    else if (end->cause == MR_CLIENT_OK && (s->answer.failed || mr_json_check(mr_buf_str(&s->answer), NULL) != MR_OK))
        mr_err_set(&err, MR_EMALFORMED, "%s: the answer is no JSON", s->o->url);
    if (err.code != MR_OK)
        again_later(s, &err);
    else
        stage(s);
}

static void ask(struct kafka_schemas *s)
{
    size_t headers = 0;
    s->id = s->wanted[0];
    s->state = STATE_ASKING;
    mr_buf_clear(&s->url);
    mr_buf_puts(&s->url, s->o->url);
    while (s->url.n && s->url.p[s->url.n - 1] == '/')
        s->url.n--;
    mr_buf_printf(&s->url, "/schemas/ids/%" PRIu32, s->id);
    mr_buf_clear(&s->answer);
    s->headers[headers++] = (struct mr_header){MR_STR("Accept"), MR_STR("application/vnd.schemaregistry.v1+json, application/json")};
    if (s->o->username) {
        mr_buf_clear(&s->text);
        mr_buf_printf(&s->text, "%s:", s->o->username);
        mr_buf_put(&s->text, s->o->password.value, s->o->password.n);
        mr_buf_clear(&s->authorization);
        mr_buf_puts(&s->authorization, "Basic ");
        mr_base64_put(&s->authorization, mr_buf_str(&s->text));
        mr_cleanse(s->text.p, s->text.n);
        s->headers[headers++] = (struct mr_header){MR_STR("Authorization"), mr_buf_str(&s->authorization)};
    }
    s->exchange = (struct mr_exchange){.method = MR_STR("GET"),
                                       .url = mr_buf_str(&s->url),
                                       .headers = s->headers,
                                       .headers_count = headers,
                                       .total_ms = TOTAL_MS,
                                       .body_max = ANSWER_MOST,
                                       .gzip = true,
                                       .ca = s->o->ca,
                                       .on_bytes = on_bytes,
                                       .on_done = on_answer};
    mr_exchange_start(s->core->client, &s->exchange);
}

/* ---- life ---- */

static void free_all(struct kafka_schemas *s)
{
    void (*cb)(void *) = s->cb;
    void *arg = s->arg;
    if (s->authorization.p)
        mr_cleanse(s->authorization.p, s->authorization.cap);
    mr_buf_free(&s->url);
    mr_buf_free(&s->answer);
    mr_buf_free(&s->authorization);
    mr_buf_free(&s->text);
    free(s->known);
    free(s->wanted);
    free(s);
    cb(arg);
}

static void next(struct kafka_schemas *s)
{
    if (s->state != STATE_WAITING)
        return;
    if (s->stopping) {
        s->state = STATE_STOPPED;
        free_all(s);
        return;
    }
    if (s->wanted_count && mr_loop_now_ms(s->core->loop) >= s->retry_at_ms)
        ask(s);
}

struct kafka_schemas *kafka_schemas_new(struct mr_source *src, const struct kafka_registry *o)
{
    struct kafka_schemas *s = calloc(1, sizeof *s);
    assert(s);
    s->src = src;
    s->core = mr_source_core(src);
    s->o = o;
    s->backoff = mr_backoff_of(1000, 60000);
    mr_buf_init(&s->url, 8192);
    mr_buf_init(&s->answer, ANSWER_MOST);
    mr_buf_init(&s->authorization, 64 << 10);
    mr_buf_init(&s->text, 64 << 10);
    s->state = STATE_LOADING;
    load(s);
    return s;
}

void kafka_schemas_look(struct kafka_schemas *s)
{
    next(s);
}

bool kafka_schemas_idle(const struct kafka_schemas *s)
{
    return s->state == STATE_WAITING && (s->wanted_count == 0 || mr_loop_now_ms(s->core->loop) < s->retry_at_ms);
}

void kafka_schemas_stop(struct kafka_schemas *s, void (*cb)(void *arg), void *arg)
{
    s->stopping = true;
    s->cb = cb;
    s->arg = arg;
    if (s->state == STATE_ASKING) {
        mr_exchange_cancel(&s->exchange);
        s->state = STATE_WAITING;
    }
    next(s);
}
