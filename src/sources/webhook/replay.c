/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - a lost landing is read again from the queue segments that were kept for it, and lands under a run of its
 * own.
 *
 * happy path    its moves say from where to where -> the run's own part says what a replay before has landed -> read,
 * stage, decide with that part, publish ways to fail  the queue is another one, or no longer has the records: MR_ENOENT
 * says so; a record that cannot be staged on close      a replay is waited for by whoever asked */
#include "hub.h"
#include "skipped.h"

#include "millrace/json.h"
#include "millrace/worker.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct replay {
    struct hub *hub;
    struct mr_job job;
    char *source, *stream, *run, *lost, part[160]; /* lost: the landing's id */
    uint64_t after, upto;                          /* sequences (after, upto] */
    int64_t version, records;
    struct mr_queue_reader *reader;
    struct mr_landing *landing;
    struct mr_buf line, id;
    struct mr_buf skipped;    /* JSON: the sequences that the landing passed over */
    struct mr_json_iter skip; /* into it; both rise */
    int64_t next_skip;
    int64_t rows; /* that the landing had */
    struct mr_err err;
    void (*cb)(void *arg, const struct mr_err *err, int64_t records);
    void *arg;
};

static void ended(struct replay *r)
{
    mr_queue_reader_free(r->reader);
    mr_buf_free(&r->line);
    mr_buf_free(&r->id);
    mr_buf_free(&r->skipped);
    free(r->lost);
    free(r->source);
    free(r->stream);
    free(r->run);
    void (*cb)(void *, const struct mr_err *, int64_t) = r->cb;
    void *arg = r->arg;
    struct mr_err err = r->err;
    int64_t records = r->records;
    free(r);
    cb(arg, &err, records);
}

/* The move of a landing that belongs to this queue, and its bounds. */
static bool bounds_of(const char *queue_id, const struct mr_landing_row *landing, struct mr_str *stream, int64_t *after,
                      int64_t *upto)
{
    struct mr_json_iter it;
    struct mr_str key;
    struct mr_json_slice move, all = {.type = MR_JSON_ARRAY, .raw = landing->moves};
    mr_json_iter(&it, all);
    while (mr_json_next(&it, &key, &move)) {
        struct mr_json_slice part = mr_json_at(move.raw, MR_STR("/part")),
                             name = mr_json_at(move.raw, MR_STR("/stream"));
        struct mr_str quoted = {part.raw.p + 1, part.raw.n - 2};
        if (part.type != MR_JSON_STRING || !mr_str_eq(quoted, mr_str_c(queue_id)))
            continue;
        *after = 0; /* the first landing of a source has no old position */
        mr_json_i64(mr_json_at(move.raw, MR_STR("/old")), after);
        *stream = (struct mr_str){name.raw.p + 1, name.raw.n - 2};
        return mr_json_i64(mr_json_at(move.raw, MR_STR("/new")), upto);
    }
    return false;
}

void replay_pin(struct hub *h, const struct mr_landing_row *landings, size_t count)
{
    int64_t lowest = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        struct mr_str stream;
        int64_t after, upto;
        if (!bounds_of(h->queue_id, &landings[i], &stream, &after, &upto))
            continue;
        lowest = after < lowest ? after : lowest;
        /* Found at start-up, before alerts are kept, or in an earlier process: told until it is replayed. */
        char source[256];
        snprintf(source, sizeof source, "%.*s", (int)landings[i].source.n, landings[i].source.p);
        mr_alert_open(
            h->core->loop->alerts, MR_A_LANDING_LOST, source, NULL,
            "landing %.*s was decided and its staged file is gone; millrace replay --landing %.*s reads it again",
            (int)landings[i].landing.n, landings[i].landing.p, (int)landings[i].landing.n, landings[i].landing.p);
    }
    if (lowest != INT64_MAX)
        mr_queue_pin(h->queue, (uint64_t)lowest + 1);
}

/* Was this sequence passed over by the landing? Asked in rising order. */
static bool was_skipped(struct replay *r, uint64_t seq)
{
    struct mr_str key;
    struct mr_json_slice item;
    while (r->next_skip >= 0 && (uint64_t)r->next_skip < seq)
        if (!mr_json_next(&r->skip, &key, &item) || !mr_json_i64(item, &r->next_skip))
            r->next_skip = -1; /* no more */
    return r->next_skip >= 0 && (uint64_t)r->next_skip == seq;
}

/* The event's own id, for the envelope. */
static void find_id(struct replay *r, struct mr_str payload)
{
    struct mr_header headers[MR_EVENT_HEADERS_MAX];
    struct mr_event e;
    mr_buf_clear(&r->id);
    if (mr_event_get(payload, headers, &e, NULL) != MR_OK)
        return;
    struct mr_str json = mr_json_check(e.body, NULL) == MR_OK ? e.body : (struct mr_str){0};
    if (!mr_event_id(&e, json, &r->id))
        mr_buf_clear(&r->id);
}

static enum mr_code stage_all(struct replay *r)
{
    struct mr_queue_record record;
    enum mr_code code;
    while ((code = mr_queue_next(r->reader, &record, &r->err)) == MR_OK && record.seq <= r->upto) {
        struct mr_str source, stream;
        stage_key(record.source, &source, &stream);
        if (!mr_str_eq(source, mr_str_c(r->source)) || !mr_str_eq(stream, mr_str_c(r->stream)) ||
            was_skipped(r, record.seq))
            continue;
        find_id(r, record.payload);
        struct staged_event e = {.queue_id = r->hub->queue_id,
                                 .seq = record.seq,
                                 .source = source,
                                 .stream = stream,
                                 .payload = record.payload,
                                 .id = mr_buf_str(&r->id),
                                 .run = mr_str_c(r->run)};
        if (stage_event(r->landing, &e, &r->line, &r->err) != MR_OK)
            return r->err.code;
        r->records++;
    }
    if (code != MR_OK && code != MR_EEND)
        return code;
    if (r->records != r->rows)
        return mr_err_set(&r->err, MR_ENOENT,
                          "the landing had %" PRId64 " records, the queue still has %" PRId64
                          " of them; nothing was landed",
                          r->rows, r->records);
    return MR_OK;
}

static void stage_run(struct mr_job *job) /* Runs on: worker */
{
    struct replay *r = MR_OF(job, struct replay, job);
    r->err.code = stage_all(r);
}

static void on_published(void *arg, enum mr_published how)
{
    struct replay *r = arg;
    if (how != MR_PUBLISHED)
        mr_err_set(&r->err, MR_EIO, "the replay is decided, but not published yet: the next start does it");
    ended(r);
}

static void on_decided(void *arg, const struct mr_verdict *verdict)
{
    struct replay *r = arg;
    if (verdict->code == MR_OK)
        return;
    r->err = *verdict->err;
    r->err.code = verdict->code;
    ended(r);
}

static void stage_done(struct mr_job *job, bool canceled)
{
    struct replay *r = MR_OF(job, struct replay, job);
    if (canceled)
        mr_err_set(&r->err, MR_ECANCELED, "replay: stopping");
    if (r->err.code != MR_OK) {
        mr_landing_abandon(r->landing);
        ended(r);
        return;
    }
    r->err = (struct mr_err){0};
    char value[24];
    int n = snprintf(value, sizeof value, "%" PRIu64, r->upto);
    struct mr_move move = {.source = mr_str_c(r->source),
                           .stream = mr_str_c(r->stream),
                           .part = mr_str_c(r->part),
                           .expected_version = r->version,
                           .value = {value, (size_t)n}};
    struct mr_landing_end end = {.on_decided = on_decided, .on_published = on_published, .arg = r};
    mr_landing_decide(r->landing, &move, 1, NULL, 0, NULL, 0, &end);
}

static void on_position(void *arg, const struct mr_err *err, const struct mr_position *position)
{
    struct replay *r = arg;
    int64_t landed = 0;
    r->err = *err;
    if (err->code == MR_OK) {
        struct mr_json_slice value = {.type = MR_JSON_NUMBER, .raw = position->value};
        r->version = position->version;
        if (position->value.n && mr_json_i64(value, &landed) && (uint64_t)landed >= r->upto) {
            ended(r); /* an earlier replay has landed it all */
            return;
        }
    }
    if (r->err.code != MR_OK) {
        ended(r);
        return;
    }
    enum mr_code code = mr_queue_reader_new(r->hub->queue, r->after + 1, &r->reader, &r->err);
    if (code != MR_OK) {
        ended(r);
        return;
    }
    const struct mr_landing_owner owner = {0};
    mr_json_iter(&r->skip, (struct mr_json_slice){.type = MR_JSON_ARRAY, .raw = mr_buf_str(&r->skipped)});
    r->next_skip = 0;
    r->landing =
        mr_landing_begin(r->hub->core->landings, mr_str_c(r->source), mr_str_c(r->run), MR_LANDING_ROLLING, &owner);
    r->job = (struct mr_job){.run = stage_run, .done = stage_done};
    mr_worker_submit(r->hub->core->loop->workers, MR_LANE_COMPRESS, &r->job);
}

static void on_skipped(void *arg, const struct mr_err *err, const struct mr_kept_row *rows, size_t count)
{
    struct replay *r = arg;
    if (err->code != MR_OK) {
        r->err = *err;
        ended(r);
        return;
    }
    for (size_t i = 0; i < count; i++)
        if (mr_str_eq(rows[i].key, mr_str_c(r->lost)))
            mr_buf_put(&r->skipped, rows[i].value.p, rows[i].value.n);
    mr_store_position(r->hub->core->store, mr_str_c(r->source), mr_str_c(r->stream), mr_str_c(r->part), on_position, r);
}

void webhook_replay(void *hub, const struct mr_landing_row *landing, struct mr_str run,
                    void (*cb)(void *arg, const struct mr_err *err, int64_t records), void *arg)
{
    struct hub *h = hub;
    struct mr_str stream;
    int64_t after, upto;
    if (!bounds_of(h->queue_id, landing, &stream, &after, &upto)) {
        struct mr_err err;
        mr_err_set(&err, MR_ENOENT, "the landing's input was in another queue than %s", h->queue_id);
        cb(arg, &err, 0);
        return;
    }
    struct replay *r = calloc(1, sizeof *r);
    assert(r);
    r->hub = h;
    r->source = strndup(landing->source.p, landing->source.n);
    r->stream = strndup(stream.p, stream.n);
    r->run = strndup(run.p, run.n);
    assert(r->source && r->stream && r->run);
    snprintf(r->part, sizeof r->part, "replay/%s", r->run);
    r->after = (uint64_t)after;
    r->upto = (uint64_t)upto;
    mr_buf_init(&r->line, 1 << 24);
    mr_buf_init(&r->id, 1 << 24);
    r->cb = cb;
    r->arg = arg;
    r->lost = strndup(landing->landing.p, landing->landing.n);
    assert(r->lost);
    mr_buf_init(&r->skipped, 1 << 24);
    for (size_t i = 0; i < landing->files_count; i++)
        r->rows += landing->files[i].rows;
    struct mr_str before = {r->lost,
                            strlen(r->lost) -
                                1}; /* rows come after a key: the landing's id less its last byte is just before it */
    mr_store_rows(h->core->store, mr_str_c(r->source), stream, MR_STR(MR_SKIPPED_KIND), before, SIZE_MAX >> 1,
                  on_skipped, r);
}
