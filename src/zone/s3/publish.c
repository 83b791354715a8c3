/* SPDX-License-Identifier: Apache-2.0 */
/* publish.c - what was decided appears: its upload is completed. By any process, any number of times.
 *
 * happy path    complete -> 200
 * ways to fail  no such upload, a name that is taken, an answer that makes no sense: is the object there, as long as it must be and of this landing? Then it was
 *               completed before, and the answer was lost. If there is none, it is lost (MR_ENOENT); if it is another one, MR_EEXIST */
#include "inside.h"

#include "millrace/fault.h"
#include "millrace/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { PARTS_MAX = 10000 };

struct completion {
    struct s3_call call;
    struct mr_publish_item *item;
    bool again; /* begun more than once, perhaps */
    struct mr_buf id, body;
    struct mr_header query[1], headers[1];
};

/* The text that s3_stage_sync() made. MR_ENOENT: it is another one. */
static enum mr_code read_staged(struct completion *c, struct mr_err *err)
{
    struct mr_str text = mr_str_c(c->item->staged);
    struct mr_json_iter it;
    struct mr_json_slice part;
    struct mr_str key;
    char **etags = calloc(PARTS_MAX, sizeof *etags);
    size_t count = 0;
    bool memory = etags, ok = mr_json_check(text, NULL) == MR_OK && mr_json_string(mr_json_at(text, MR_STR("/upload")), &c->id) && c->id.n;
    c->again = ok && mr_json_at(text, MR_STR("/again")).type != MR_JSON_ABSENT;
    if (ok)
        mr_json_iter(&it, mr_json_at(text, MR_STR("/parts")));
    while (ok && memory && count < PARTS_MAX && mr_json_next(&it, &key, &part)) {
        struct mr_buf etag;
        mr_buf_init(&etag, S3_ETAG_MAX);
        ok = mr_json_string(part, &etag);
        memory = !etag.failed && (etags[count] = strdup(mr_buf_cstr(&etag)));
        count += memory;
        mr_buf_free(&etag);
    }
    if (ok && memory)
        s3_put_completion(&c->body, (const char *const *)etags, count);
    for (size_t i = 0; i < count; i++)
        free(etags[i]);
    free(etags);
    if (!memory || c->id.failed || c->body.failed)
        return mr_err_sys(err, ENOMEM, "publish %s", c->item->path);
    return ok && count > 0 ? MR_OK : mr_err_set(err, MR_ENOENT, "publish %s: the store does not say how it was staged on S3; was it staged in a directory?", c->item->path);
}

static void start(struct s3 *s, struct completion *c)
{
    bool once = !atomic_load(&s->unconditional);
    c->query[0] = (struct mr_header){MR_STR("uploadId"), {c->id.p, c->id.n}};
    c->headers[0] = (struct mr_header){MR_STR("If-None-Match"), MR_STR("*")};
    c->call = (struct s3_call){.r = {.method = MR_STR("POST"), .key = mr_str_c(c->item->path), .query = c->query, .query_count = 1, .headers = c->headers, .headers_count = once, .body = mr_buf_str(&c->body)}};
    s3_start(s, &c->call);
}

/* Nobody knows what became of it: what does the bucket hold? */
static enum mr_code look(struct s3 *s, const struct completion *c, enum mr_code why, struct mr_err *err)
{
    const struct mr_publish_item *item = c->item;
    struct mr_err before = {.code = MR_OK};
    struct s3_call head;
    if (err)
        before = *err;
    enum mr_code code = s3_head(s, &head, item->path, err);
    s3_done(&head);
    if (code == MR_OK && head.size == item->bytes && strcmp(head.landing, item->landing) == 0)
        return MR_OK;
    if (code == MR_OK)
        return mr_err_set(err, MR_EEXIST, "publish %s: something else has that name, %lld bytes of landing \"%s\"", item->path, (long long)head.size, head.landing);
    if (code == MR_ENOENT && err)
        *err = before; /* that it is not there is no news: why it could not be completed is */
    return code == MR_ENOENT ? why : code;
}

/* A store that does not know the condition says so; it is as well without: names are unique, and a second completion finds no upload. */
static bool lacks_condition(struct s3 *s, const struct completion *c)
{
    if (c->call.r.headers_count == 0 || (c->call.status != 501 && !(c->call.status == 400 && c->call.outcome == MR_S3_FAILED && strstr(c->call.err.msg, "NotImplemented"))))
        return false;
    atomic_store(&s->unconditional, true);
    return true;
}

/* What is begun under this key now, or later by a request that is on its way, is nobody's. */
static enum mr_code end_strays(struct s3 *s, const struct completion *c, struct mr_err *err)
{
    struct mr_stage_note note = {.landing = mr_str_c(c->item->landing), .path = mr_str_c(c->item->path), .upload = MR_STR(""), .orphan = true};
    return s3_note(s, &note, err);
}

static enum mr_code end(struct s3 *s, struct completion *c, struct mr_err *err)
{
    char etag[S3_ETAG_MAX];
    enum mr_code code = s3_wait(&c->call, "complete", err);
    if (code != MR_OK && lacks_condition(s, c)) {
        s3_done(&c->call);
        start(s, c);
        code = s3_wait(&c->call, "complete", err);
    }
    if (code == MR_OK)
        code = s3_read_completed(mr_buf_str(&c->call.body), etag, err) == MR_OK ? MR_OK : look(s, c, MR_EIO, err);
    else if (code == MR_ENOENT || code == MR_EEXIST)
        code = look(s, c, code, err);
    else if (code == MR_EIO) /* parts that are gone are lost; a bucket that is gone may come back */
        code = look(s, c, strstr(c->call.err.msg, "InvalidPart") ? MR_ENOENT : MR_EIO, err);
    s3_done(&c->call);
    if (c->again && (code == MR_OK || code == MR_ENOENT)) {
        enum mr_code noted = end_strays(s, c, code == MR_OK ? err : NULL);
        code = code == MR_OK ? noted : code;
    }
    return code;
}

static enum mr_code begin(struct s3 *s, struct completion *c, struct mr_publish_item *item, struct mr_err *err)
{
    c->item = item;
    mr_buf_init(&c->id, S3_UPLOAD_ID_MAX);
    mr_buf_init(&c->body, (size_t)PARTS_MAX * (S3_ETAG_MAX + 64) + 256);
    int fault = MR_POINT(publish_rename);
    if (fault)
        return mr_err_sys(err, fault, "publish %s", item->path);
    enum mr_code code = read_staged(c, err);
    if (code == MR_OK)
        start(s, c);
    return code;
}

static enum mr_code complete_some(struct s3 *s, struct mr_publish_item *items, size_t count, struct mr_err *err)
{
    struct completion *c = calloc(count, sizeof *c);
    enum mr_code first = MR_OK;
    if (!c) {
        for (size_t i = 0; i < count; i++)
            items[i].code = MR_ENOMEM;
        return mr_err_sys(err, ENOMEM, "publish");
    }
    for (size_t i = 0; i < count; i++) {
        items[i].code = begin(s, &c[i], &items[i], first == MR_OK ? err : NULL);
        if (first == MR_OK)
            first = items[i].code;
    }
    for (size_t i = 0; i < count; i++) {
        if (items[i].code == MR_OK) {
            items[i].code = end(s, &c[i], first == MR_OK ? err : NULL);
            if (first == MR_OK)
                first = items[i].code;
        }
        mr_buf_free(&c[i].id);
        mr_buf_free(&c[i].body);
    }
    free(c);
    return first;
}

static bool seems_lost(const struct mr_publish_item *item)
{
    return item->code == MR_ENOENT && item->staged[0] == '{'; /* what was staged in a directory will not come */
}

/* Those that seem to be lost, looked at again: a completion whose answer was lost may be at work yet, and some stores take its upload away before the object is
 * there. That a landing is lost cannot be taken back. */
static enum mr_code look_again(struct s3 *s, struct mr_publish_item *items, size_t count, enum mr_code first, struct mr_err *err)
{
    static const int64_t waits_ms[] = {1000, 3000, 8000};
    for (size_t n = 0; n < MR_COUNT(waits_ms); n++) {
        size_t gone = 0;
        for (size_t i = 0; i < count; i++)
            gone += seems_lost(&items[i]);
        if (gone == 0)
            return first;
        bool rested = s3_pause(s, waits_ms[n]);
        first = MR_OK;
        for (size_t i = 0; i < count; i++) {
            if (seems_lost(&items[i]))
                items[i].code = rested ? look(s, &(struct completion){.item = &items[i]}, MR_ENOENT, err) : mr_err_set(err, MR_ECANCELED, "publish: the process is ending");
            if (first == MR_OK)
                first = items[i].code;
        }
    }
    return first;
}

enum mr_code s3_publish(struct mr_zone *z, struct mr_publish_item *items, size_t count, struct mr_err *err)
{
    enum mr_code first = MR_OK;
    for (size_t at = 0; at < count; at += S3_WINDOW) {
        size_t some = count - at < S3_WINDOW ? count - at : S3_WINDOW;
        enum mr_code code = complete_some(s3_of(z), items + at, some, first == MR_OK ? err : NULL);
        if (first == MR_OK)
            first = code;
    }
    first = look_again(s3_of(z), items, count, first, err);
    int fault = count && first == MR_OK ? MR_POINT(publish_renamed) : 0;
    if (fault == 0 && count && first == MR_OK)
        fault = MR_POINT(publish_synced);
    if (fault == 0)
        return first;
    for (size_t i = 0; i < count; i++)
        items[i].code = mr_err_sys(NULL, fault, "publish");
    return mr_err_sys(err, fault, "publish: after the completions");
}
