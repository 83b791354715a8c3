/* SPDX-License-Identifier: Apache-2.0 */
/* stage.c - a queue record becomes an envelope: all that it needs is in the record, so a source that left the config
 * lands too. */
#include "hub.h"

#include "millrace/json.h"

#include <inttypes.h>
#include <stdio.h>

void stage_key(struct mr_str key, struct mr_str *source, struct mr_str *stream)
{
    const char *slash = memchr(key.p, '/', key.n);
    *source = (struct mr_str){key.p, slash ? (size_t)(slash - key.p) : key.n};
    *stream = slash ? (struct mr_str){slash + 1, key.n - source->n - 1} : *source;
}

static void put_request(struct mr_buf *b, const struct mr_event *e)
{
    mr_buf_puts(b, "{\"method\":");
    mr_json_put_string(b, e->method);
    mr_buf_puts(b, ",\"path\":");
    mr_json_put_string(b, e->path);
    mr_buf_puts(b, ",\"query\":");
    mr_json_put_string(b, e->query);
    mr_buf_puts(b, ",\"remote\":");
    mr_json_put_string(b, e->remote);
    mr_buf_putc(b, '}');
}

static void put_verified(struct mr_buf *b, const struct mr_event *e)
{
    mr_buf_puts(b, "{\"scheme\":");
    mr_json_put_string(b, e->scheme);
    if (!mr_str_eq(e->scheme, MR_STR("none"))) {
        mr_buf_puts(b, ",\"secret\":");
        mr_buf_u64(b, e->secret);
    }
    mr_buf_puts(b, ",\"covers\":");
    mr_json_put_string(b, e->covers);
    mr_buf_putc(b, '}');
}

enum mr_code stage_event(struct mr_landing *landing, const struct staged_event *s, struct mr_buf *line,
                         struct mr_err *err)
{
    struct mr_header headers[MR_EVENT_HEADERS_MAX];
    struct mr_event e;
    if (mr_event_get(s->payload, headers, &e, err) != MR_OK)
        return err->code;
    mr_buf_clear(line);
    mr_buf_puts(line, s->queue_id);
    mr_buf_putc(line, '/');
    mr_buf_u64(line, s->seq);
    size_t position_at = line->n;
    mr_buf_puts(line, "{\"request\":\"");
    mr_buf_puts(line, s->queue_id);
    mr_buf_putc(line, '/');
    mr_buf_u64(line, s->seq);
    mr_buf_puts(line, "\"}");
    size_t request_at = line->n;
    put_request(line, &e);
    size_t verified_at = line->n;
    put_verified(line, &e);
    if (line->failed)
        return mr_err_set(err, MR_ENOMEM, "envelope");
    const struct mr_member members[] = {{"request", {line->p + request_at, verified_at - request_at}},
                                        {"verified", {line->p + verified_at, line->n - verified_at}}};
    struct mr_record record = {
        .source = s->source,
        .stream = s->stream,
        .id = s->id.n ? s->id : (struct mr_str){line->p, position_at},
        .ingested_at_us = e.arrived_us,
        .event_at_us = MR_NO_TIME,
        .position = {line->p + position_at, request_at - position_at},
        .members = members,
        .members_count = MR_COUNT(members),
        .replay = s->run,
        .headers = headers,
        .headers_count = e.headers_count,
        .data = s->json.n ? s->json : (struct mr_str){e.body.p ? e.body.p : "", e.body.n},
        .payload = e.payload,
        .compact = s->json.n > 0,
    };
    return mr_landing_add(landing, &record, err);
}
