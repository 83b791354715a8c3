/* SPDX-License-Identifier: Apache-2.0 */
/* s3.c - a bucket as a zone: how it is opened and closed, and how a worker's question gets over to the loop and its answer back.
 *
 * ways to fail  an answer's outcome becomes a code; what time may heal is tried again by net/s3 first
 * on close      mr_zone_hurry() gives those that are out a little while, then they are canceled; close itself finds nobody waiting */
#include "inside.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- a call: worker -> loop -> bucket -> loop -> worker ---- */

static void leave(struct s3_call *c)
{
    *(c->prev ? &c->prev->next : &c->s3->out) = c->next;
    if (c->next)
        c->next->prev = c->prev;
}

static void tell(struct s3_call *c)
{
    if (c->ended)
        c->ended(c);
    far_over(&c->far);
}

static void on_done(struct mr_s3_request *r, const struct mr_s3_end *end)
{
    struct s3_call *c = MR_OF(r, struct s3_call, r);
    leave(c);
    c->outcome = end->outcome;
    c->err = end->err;
    c->status = end->status;
    c->repeated = end->repeated;
    c->size = end->size;
    c->date_us = end->date_us;
    mr_buf_init(&c->body, end->body.n + 1);
    mr_buf_put(&c->body, end->body.p, end->body.n);
    if (c->body.failed) {
        c->outcome = MR_S3_UNREACHED;
        mr_err_set(&c->err, MR_ENOMEM, "an answer of %zu bytes", end->body.n);
    }
    snprintf(c->etag, sizeof c->etag, "%.*s", (int)end->etag.n, end->etag.n ? end->etag.p : "");
    snprintf(c->landing, sizeof c->landing, "%.*s", (int)end->landing.n, end->landing.n ? end->landing.p : "");
    tell(c);
}

static void cancel(struct s3_call *c)
{
    c->outcome = MR_S3_CANCELED;
    mr_err_set(&c->err, MR_ECANCELED, "the process is ending");
    tell(c);
}

static void begin(struct far_call *call)
{
    struct s3_call *c = MR_OF(call, struct s3_call, far);
    struct s3 *s = c->s3;
    if (s->over) {
        cancel(c);
        return;
    }
    c->prev = NULL;
    c->next = s->out;
    if (s->out)
        s->out->prev = c;
    s->out = c;
    mr_s3_send(s->bucket, &c->r);
}

void s3_start(struct s3 *s, struct s3_call *c)
{
    c->s3 = s;
    c->far.begin = begin;
    c->r.on_done = on_done;
    mr_buf_init(&c->body, 1);
    far_start(&s->far, &c->far);
}

enum mr_code s3_wait(struct s3_call *c, const char *what, struct mr_err *err)
{
    static const enum mr_code codes[] = {
        [MR_S3_DONE] = MR_OK,       [MR_S3_NO_UPLOAD] = MR_ENOENT, [MR_S3_NOT_FOUND] = MR_ENOENT, [MR_S3_EXISTS] = MR_EEXIST,
        [MR_S3_DENIED] = MR_EPERM,  [MR_S3_FAILED] = MR_EIO,       [MR_S3_UNREACHED] = MR_ENET,   [MR_S3_CANCELED] = MR_ECANCELED,
    };
    far_wait(&c->far);
    enum mr_code code = codes[c->outcome];
    return code == MR_OK ? MR_OK : mr_err_set(err, code, "%s %.*s: %s", what, c->r.key.n ? (int)c->r.key.n : 10, c->r.key.n ? c->r.key.p : "the bucket", c->err.msg[0] ? c->err.msg : mr_code_text(code));
}

enum mr_code s3_ask(struct s3 *s, struct s3_call *c, const char *what, struct mr_err *err)
{
    s3_start(s, c);
    return s3_wait(c, what, err);
}

void s3_done(struct s3_call *c)
{
    mr_buf_free(&c->body);
}

/* ---- is it there? ---- */

static void on_listed(void *arg, const struct s3_item *item)
{
    struct s3_call *c = arg;
    if (mr_str_eq(item->key, c->r.key))
        c->size = item->size;
}

enum mr_code s3_head(struct s3 *s, struct s3_call *c, const char *path, struct mr_err *err)
{
    *c = (struct s3_call){.r = {.method = MR_STR("HEAD"), .key = mr_str_c(path)}};
    enum mr_code code = s3_ask(s, c, "look at", err);
    if (code != MR_ENOENT)
        return code;
    c->size = -1;
    code = s3_list(s, (struct mr_header){MR_STR("list-type"), MR_STR("2")}, path, 0, on_listed, c, err);
    if (code != MR_OK)
        return code;
    return c->size < 0 ? MR_ENOENT : mr_err_set(err, MR_EIO, "look at %s: it is listed, and said not to be there", path);
}

/* ---- time that passes ---- */

struct s3_rest {
    struct far_call far;
    struct s3 *s3;
    struct s3_rest *prev, *next;
    uv_timer_t timer;
    int64_t ms;
    bool cut;
};

static void on_rest_closed(uv_handle_t *handle)
{
    struct s3_rest *r = MR_OF((uv_timer_t *)handle, struct s3_rest, timer);
    far_over(&r->far);
}

static void rest_over(struct s3_rest *r)
{
    *(r->prev ? &r->prev->next : &r->s3->resting) = r->next;
    if (r->next)
        r->next->prev = r->prev;
    uv_close((uv_handle_t *)&r->timer, on_rest_closed);
}

static void on_rested(uv_timer_t *timer)
{
    rest_over(MR_OF(timer, struct s3_rest, timer));
}

static void rest_begin(struct far_call *call)
{
    struct s3_rest *r = MR_OF(call, struct s3_rest, far);
    struct s3 *s = r->s3;
    r->next = s->resting;
    if (s->resting)
        s->resting->prev = r;
    s->resting = r;
    r->cut = s->over;
    uv_timer_init(&s->loop->uv, &r->timer);
    uv_timer_start(&r->timer, on_rested, s->over ? 0 : (uint64_t)r->ms, 0);
}

bool s3_pause(struct s3 *s, int64_t ms)
{
    struct s3_rest r = {.far.begin = rest_begin, .s3 = s, .ms = ms};
    far_start(&s->far, &r.far);
    far_wait(&r.far);
    return !r.cut;
}

/* ---- a note in the ledger ---- */

struct note_call {
    struct far_call far;
    struct s3 *s3;
    struct mr_stage_note *note;
    struct mr_stage_note mine; /* the note as the ledger gets it */
    struct mr_err err;
};

static void on_noted(struct mr_stage_note *note, const struct mr_err *err)
{
    struct note_call *n = MR_OF(note, struct note_call, mine);
    n->err = *err;
    far_over(&n->far);
}

static void note_begin(struct far_call *call)
{
    struct note_call *n = MR_OF(call, struct note_call, far);
    n->mine = *n->note;
    n->mine.done = on_noted;
    assert(n->s3->ledger);
    n->s3->ledger->note(n->s3->ledger, &n->mine);
}

enum mr_code s3_note(struct s3 *s, struct mr_stage_note *note, struct mr_err *err)
{
    struct note_call n = {.far.begin = note_begin, .s3 = s, .note = note};
    far_start(&s->far, &n.far);
    far_wait(&n.far);
    if (n.err.code != MR_OK && err)
        *err = n.err;
    return n.err.code;
}

/* ---- lists ---- */

struct listing {
    size_t skip; /* of the zone's prefix */
    s3_each each;
    void *arg;
};

static void on_item(void *arg, const struct s3_item *item)
{
    struct listing *l = arg;
    struct s3_item inside = *item;
    if (item->key.n < l->skip)
        return; /* not below our prefix: never asked for */
    inside.key = (struct mr_str){item->key.p + l->skip, item->key.n - l->skip};
    l->each(l->arg, &inside);
}

enum mr_code s3_list(struct s3 *s, struct mr_header kind, const char *prefix, size_t limit, s3_each each, void *arg, struct mr_err *err)
{
    struct listing l = {strlen(mr_s3_prefix(s->bucket)), each, arg};
    bool uploads = mr_str_eq(kind.name, MR_STR("uploads"));
    struct mr_buf full;
    struct s3_page page = {.more = true};
    char count[24];
    enum mr_code code = MR_OK;
    mr_buf_init(&full, 8192);
    mr_buf_puts(&full, mr_s3_prefix(s->bucket));
    mr_buf_puts(&full, prefix);
    snprintf(count, sizeof count, "%zu", limit ? limit : 1000);
    while (code == MR_OK && page.more) {
        struct mr_header query[6] = {kind, {MR_STR("prefix"), mr_buf_str(&full)}, {MR_STR("encoding-type"), MR_STR("url")},
                                     {uploads ? MR_STR("max-uploads") : MR_STR("max-keys"), mr_str_c(count)}};
        size_t n = 4;
        if (page.next[0])
            query[n++] = (struct mr_header){uploads ? MR_STR("key-marker") : MR_STR("continuation-token"), mr_str_c(page.next)};
        if (page.next_upload[0])
            query[n++] = (struct mr_header){MR_STR("upload-id-marker"), mr_str_c(page.next_upload)};
        struct s3_call c = {.r = {.method = MR_STR("GET"), .query = query, .query_count = n}};
        code = s3_ask(s, &c, "list", err);
        if (code == MR_OK) {
            code = s3_read_list(mr_buf_str(&c.body), on_item, &l, &page, err);
            page.more = page.more && !limit;
        }
        s3_done(&c);
    }
    mr_buf_free(&full);
    return code;
}

/* ---- memory and files of parts ---- */

static bool try_to_take(struct s3 *s, size_t bytes)
{
    size_t held = atomic_load(&s->held);
    while (held == 0 || held + bytes <= s->memory)
        if (atomic_compare_exchange_weak(&s->held, &held, held + bytes))
            return true;
    return false;
}

/* Who wakes and finds too little room waits on; whoever has room gives it back, and wakes the next. */
void s3_take(struct s3 *s, size_t bytes)
{
    atomic_fetch_add(&s->waiting, 1); /* before it looks: who gives after that look sees it */
    while (!try_to_take(s, bytes))
        sem_wait(&s->room);
    atomic_fetch_sub(&s->waiting, 1);
}

void s3_give(struct s3 *s, size_t bytes)
{
    atomic_fetch_sub(&s->held, bytes);
    if (atomic_load(&s->waiting) > 0)
        sem_post(&s->room);
}

/* On a file system without O_TMPFILE: a name that is taken away at once. */
static int named_temporary(const char *folder)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/upload-XXXXXX", folder) >= (int)sizeof path)
        return -1;
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

enum mr_code s3_temporary(struct s3 *s, int *fd, struct mr_err *err)
{
    *fd = open(s->scratch, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
        *fd = named_temporary(s->scratch);
    return *fd < 0 ? mr_err_sys(err, errno, "make a file in %s", s->scratch) : MR_OK;
}

/* ---- open, hurry, close ---- */

static void s3_free(struct s3 *s)
{
    sem_destroy(&s->room);
    free(s->scratch);
    free(s);
}

static struct mr_str or_empty(const char *text)
{
    return text ? mr_str_c(text) : (struct mr_str){"", 0};
}

static enum mr_code open_bucket(struct s3 *s, const struct mr_zone_options *o, struct mr_err *err)
{
    static const enum mr_s3_style styles[] = {[MR_ZONE_STYLE_AUTO] = MR_S3_STYLE_AUTO, [MR_ZONE_STYLE_PATH] = MR_S3_STYLE_PATH, [MR_ZONE_STYLE_HOST] = MR_S3_STYLE_HOST};
    const struct mr_aws_keys_options keys = {.given = {or_empty(o->access_key), or_empty(o->secret_key), or_empty(o->session_token)}, .region = or_empty(o->region)};
    if (mr_aws_keys_new(s->loop, o->client, &keys, &s->keys, err) != MR_OK)
        return mr_err_wrap(err, "zone.s3");
    const struct mr_s3_options bucket = {.url = mr_str_c(o->url), .endpoint = or_empty(o->endpoint), .region = or_empty(o->region), .style = styles[o->style], .keys = s->keys, .ca = o->ca};
    if (mr_s3_new(s->loop, o->client, &bucket, &s->bucket, err) != MR_OK) {
        mr_aws_keys_close(s->keys);
        return mr_err_wrap(err, "zone %s", o->url);
    }
    return MR_OK;
}

static void on_bucket_closed(void *arg)
{
    (void)arg;
}

static enum mr_code s3_open(const struct mr_zone_options *o, const char *rest, struct mr_zone **out, struct mr_err *err)
{
    (void)rest;
    struct s3 *s = calloc(1, sizeof *s);
    if (!s)
        return mr_err_sys(err, ENOMEM, "zone");
    int rc = sem_init(&s->room, 0, 0);
    assert(rc == 0);
    (void)rc;
    s->base.place = &mr_zone_s3;
    s->loop = o->loop;
    s->memory = o->memory;
    s->scratch = strdup(o->scratch ? o->scratch : "/tmp");
    if (!s->scratch) {
        s3_free(s);
        return mr_err_sys(err, ENOMEM, "zone");
    }
    if (open_bucket(s, o, err) != MR_OK) {
        s3_free(s);
        return err->code;
    }
    if (far_init(&s->far, &s->loop->uv, err) != MR_OK) {
        mr_s3_close(s->bucket, on_bucket_closed, NULL);
        mr_aws_keys_close(s->keys);
        s3_free(s);
        return err->code;
    }
    uv_timer_init(&s->loop->uv, &s->timer);
    *out = &s->base;
    return MR_OK;
}

static void on_time_up(uv_timer_t *timer)
{
    struct s3 *s = MR_OF(timer, struct s3, timer);
    s->over = true;
    for (struct s3_call *c = s->out, *next; c; c = next) {
        next = c->next;
        mr_s3_cancel(&c->r);
        leave(c);
        cancel(c);
    }
    while (s->resting) {
        s->resting->cut = true;
        rest_over(s->resting);
    }
}

static void s3_hurry(struct mr_zone *z, int64_t ms)
{
    struct s3 *s = s3_of(z);
    if (!s->over && !uv_is_active((uv_handle_t *)&s->timer))
        uv_timer_start(&s->timer, on_time_up, (uint64_t)ms, 0);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct s3 *s = MR_OF((uv_timer_t *)handle, struct s3, timer);
    void (*closed)(void *) = s->closed;
    void *arg = s->closed_arg;
    s3_free(s);
    if (closed)
        closed(arg);
}

static void on_s3_closed(void *arg)
{
    struct s3 *s = arg;
    mr_aws_keys_close(s->keys);
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

static void on_far_closed(struct far *far)
{
    struct s3 *s = MR_OF(far, struct s3, far);
    mr_s3_close(s->bucket, on_s3_closed, s);
}

static void s3_close(struct mr_zone *z, void (*cb)(void *arg), void *arg)
{
    struct s3 *s = s3_of(z);
    assert(!s->out);
    s->closed = cb;
    s->closed_arg = arg;
    far_close(&s->far, on_far_closed);
}

static enum mr_code s3_instance(struct mr_zone *z, const char *instance, struct mr_stage_ledger *ledger, struct mr_err *err)
{
    (void)instance;
    (void)err;
    s3_of(z)->ledger = ledger;
    return MR_OK;
}

static enum mr_code s3_free_bytes(struct mr_zone *z, uint64_t *bytes, struct mr_err *err)
{
    (void)z;
    (void)bytes;
    return mr_err_set(err, MR_EEND, "a bucket has no end");
}

const struct mr_zone_place mr_zone_s3 = {
    .scheme = "s3:",
    .far = true,
    .open = s3_open,
    .hurry = s3_hurry,
    .close = s3_close,
    .instance = s3_instance,
    .stage_create = s3_stage_create,
    .stage_write = s3_stage_write,
    .stage_sync = s3_stage_sync,
    .stage_staged = s3_stage_staged,
    .stage_close = s3_stage_close,
    .unstage = s3_unstage,
    .abort = s3_abort,
    .mark_decided = s3_mark_decided,
    .publish = s3_publish,
    .identity = s3_identity,
    .identify = s3_identify,
    .write_sealed = s3_write_sealed,
    .free_bytes = s3_free_bytes,
    .check_file = s3_check_file,
    .list = s3_list_data,
    .try = s3_try,
};
