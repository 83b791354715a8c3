/* SPDX-License-Identifier: Apache-2.0 */
/* changes.c - what is otherwise than the last time: another server, columns, relations. Each change lands as a record of the stream `_schema`, in the
 * same decision as the rows that it first holds for, and opens an alert. */
#include "postgres.h"

#include "millrace/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void note(struct relation *r, const char *change, struct mr_str column, struct mr_str from, struct mr_str to)
{
    struct mr_buf line;
    mr_buf_init(&line, 1 << 20);
    mr_buf_puts(&line, r->events ? r->events : "");
    mr_buf_puts(&line, "{\"stream\":");
    mr_json_put_string(&line, mr_str_c(r->s->name));
    mr_buf_puts(&line, ",\"table\":");
    mr_json_put_string(&line, mr_str_c(r->part));
    mr_buf_printf(&line, ",\"change\":\"%s\"", change);
    const struct mr_str texts[] = {column, from, to}; /* JSON strings as they are */
    static const char *const names[] = {"column", "from", "to"};
    for (size_t i = 0; i < MR_COUNT(texts); i++)
        if (texts[i].p)
            mr_buf_printf(&line, ",\"%s\":%.*s", names[i], (int)texts[i].n, texts[i].p);
    mr_buf_puts(&line, "}\n");
    free(r->events);
    r->events = strdup(mr_buf_cstr(&line));
    assert(r->events);
    mr_buf_free(&line);
    r->s->told_ms = mr_loop_now_ms(r->s->pg->loop);
    mr_alert_open(r->s->pg->loop->alerts, MR_A_POSTGRES_SCHEMA, r->s->pg->name, r->s->name, "%s: %s %.*s", r->part, change, column.p ? (int)column.n : 0, column.p ? column.p : "");
}

static struct mr_str type_of(struct mr_str columns, struct mr_str name)
{
    struct mr_json_iter it;
    struct mr_str key;
    struct mr_json_slice one;
    mr_json_iter(&it, mr_json_at(columns, MR_STR("")));
    while (mr_json_next(&it, &key, &one))
        if (mr_str_eq(mr_json_at(one.raw, MR_STR("/0")).raw, name))
            return mr_json_at(one.raw, MR_STR("/1")).raw;
    return (struct mr_str){0};
}

static void compare_columns(struct relation *r, struct mr_str old, struct mr_str new)
{
    const struct mr_str none = {0};
    struct mr_json_iter it;
    struct mr_str key;
    struct mr_json_slice one;
    mr_json_iter(&it, mr_json_at(old, MR_STR("")));
    while (mr_json_next(&it, &key, &one)) {
        struct mr_str name = mr_json_at(one.raw, MR_STR("/0")).raw, was = mr_json_at(one.raw, MR_STR("/1")).raw, is = type_of(new, name);
        if (!is.p)
            note(r, "dropped", name, was, none);
        else if (!mr_str_eq(was, is))
            note(r, "type", name, was, is);
    }
    mr_json_iter(&it, mr_json_at(new, MR_STR("")));
    while (mr_json_next(&it, &key, &one)) {
        struct mr_str name = mr_json_at(one.raw, MR_STR("/0")).raw;
        if (!type_of(old, name).p)
            note(r, "added", name, none, mr_json_at(one.raw, MR_STR("/1")).raw);
    }
}

static enum mr_code judge_server(const struct relation *r, struct mr_err *err)
{
    const struct postgres *pg = r->s->pg;
    if (!r->at.server[0] || (strcmp(r->at.server, pg->server) == 0 && r->at.database == pg->database))
        return MR_OK;
    if (strcmp(r->at.server, pg->server) == 0)
        return mr_err_set(err, MR_EMISMATCH, "%s was read from the database with oid %" PRIu32 ", this is %" PRIu32 ": name the old one, or begin anew with `millrace state reset %s/%s`", r->part,
                          r->at.database, pg->database, pg->name, r->s->name);
    return mr_err_set(err, MR_EMISMATCH, "%s was read from the server %s, this is %s: transaction ids of one say nothing on the other. Name the old one, or begin anew with `millrace state reset %s/%s`",
                      r->part, r->at.server, pg->server, pg->name, r->s->name);
}

bool look_gone(const struct relation *r)
{
    return !r->there && r->state == RELATION_LOADED && r->at.server[0] && r->at.relation && r->kind != 'q';
}

enum mr_code look_judge(struct stream *s, struct mr_err *err)
{
    const struct mr_str none = {0};
    bool known = false, compared = false;
    for (struct relation *r = s->relations; r; r = r->next)
        known |= r->state == RELATION_LOADED && r->at.server[0];
    for (struct relation *r = s->relations; r; r = r->next) {
        if (!r->there) {
            if (look_gone(r) && !r->events)
                note(r, "partition_gone", none, none, none);
            continue;
        }
        if (r->state != RELATION_LOADED)
            continue;
        if (judge_server(r, err) != MR_OK)
            return err->code;
        if (relation_behind(r) > PG_IDS_ROUND && s->o->mode != PG_SNAPSHOT && s->method != PG_WINDOW) {
            note(r, "reread", none, none, none); /* ids have come round: which of its rows have landed, nobody can tell */
            relation_anew(r);
        }
        if (r->events)
            continue; /* said, and not yet landed */
        if (!r->at.server[0]) {
            if (known && s->o->mode != PG_SNAPSHOT)
                note(r, "partition_added", none, none, none);
            continue;
        }
        if (r->at.columns && strcmp(r->at.columns, s->columns_json) != 0 && !compared) {
            compare_columns(r, mr_str_c(r->at.columns), mr_str_c(s->columns_json));
            compared = true;
        }
        if (r->oid && r->at.relation && r->at.relation != r->oid) {
            note(r, "recreated", none, none, none); /* none of its rows has landed */
            relation_anew(r);
        }
    }
    return MR_OK;
}

/* Rows may have other transaction ids than before: whoever reads by the watermark would not find them. */
void look_rewritten(struct relation *r)
{
    const struct mr_str none = {0};
    if (!r->events || !strstr(r->events, "\"rewritten\""))
        note(r, "rewritten", none, none, none);
    r->sweep_now = true;
}

void look_events(const struct relation *r, struct intake *f)
{
    const char *at = r->events;
    char id[600];
    for (unsigned i = 0; at && *at; i++) {
        const char *end = strchr(at, '\n');
        snprintf(id, sizeof id, "%.200s/%.200s@%" PRIu64 "#%u", r->s->name, r->part, r->s->xmax, i);
        intake_note(f, "_schema", id, (struct mr_str){at, (size_t)(end - at)});
        at = end + 1;
    }
}
