/* SPDX-License-Identifier: Apache-2.0 */
/* requeue.c - refused requests out of quarantine: judged again by what the config says now, as of the time when they came; who passes is queued like
 * any event, and lands.
 *
 * list -> for each file, oldest first: read -> judge -> append to the queue -> durable -> renamed to replayed-…
 *
 * A death between the last two leaves a file whose event is in the queue: the next replay queues it again, and dedup lands it once. Where the source has no
 * dedup of its own the event's id is the file's name, in a header that the record then has: it also says where the record comes from. */
#include "hub.h"
#include "kept.h"

#include "millrace/compress.h"
#include "millrace/fault.h"
#include "millrace/file.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PROVENANCE "X-Millrace-Quarantine"
enum { FILE_MAX = 512 << 20, KEPT_FOR_MS = 24 * 3600 * 1000 };

struct requeue {
    struct hub *hub;
    struct mr_requeue what;
    const struct webhook_options *o;
    char dir[4096], *key;
    struct handover *handover;
    struct mr_shaker *shaker;
    struct mr_verifier *verifier;
    struct mr_job job;
    char (*names)[KEPT_NAME_MAX];
    size_t names_count, at;
    char *text; /* of the file at hand */
    size_t text_n;
    struct mr_buf decoded, inflated, event, url;
    struct mr_header headers[MR_EVENT_HEADERS_MAX + 1];
    struct kept_request kept; /* the file at hand, judged */
    struct mr_verified verified;
    bool split;
    struct mr_queue_wait wait;
    struct mr_err err;
    struct mr_requeued counts;
    mr_requeue_cb cb;
    void *arg;
};

static void finish(struct requeue *r)
{
    struct mr_err err = r->err;
    struct mr_requeued counts = r->counts;
    mr_requeue_cb cb = r->cb;
    void *arg = r->arg;
    mr_verifier_free(r->verifier);
    mr_shaker_free(r->shaker);
    handover_free(r->handover);
    mr_buf_free(&r->decoded);
    mr_buf_free(&r->inflated);
    mr_buf_free(&r->event);
    mr_buf_free(&r->url);
    free(r->names);
    free(r->key);
    free(r);
    cb(arg, &err, &counts);
}

static void submit(struct requeue *r, void (*run)(struct mr_job *), void (*done)(struct mr_job *, bool))
{
    r->job = (struct mr_job){.run = run, .done = done};
    mr_worker_submit(r->hub->core->loop->workers, MR_LANE_MISC, &r->job);
}

static void path_of(const struct requeue *r, const char *name, char out[4096 + KEPT_NAME_MAX])
{
    snprintf(out, 4096 + KEPT_NAME_MAX, "%s/%s", r->dir, name);
}

static void next(struct requeue *r);

/* ---- after it is durable ---- */

static void rename_run(struct mr_job *job) /* Runs on: worker */
{
    struct requeue *r = MR_OF(job, struct requeue, job);
    char from[4096 + KEPT_NAME_MAX], to[4096 + KEPT_NAME_MAX], name[KEPT_NAME_MAX + sizeof KEPT_REPLAYED];
    snprintf(name, sizeof name, KEPT_REPLAYED "%s", r->names[r->at] + sizeof KEPT_REFUSED - 1);
    path_of(r, r->names[r->at], from);
    snprintf(to, sizeof to, "%s/%.*s", r->dir, KEPT_NAME_MAX - 1, name);
    int sys = MR_POINT(quarantine_replayed);
    if (sys || rename(from, to) != 0)
        mr_err_sys(&r->err, sys ? sys : errno, "rename %s", from);
    else if (mr_dir_sync(r->dir, &r->err) != MR_OK)
        mr_err_wrap(&r->err, "quarantine");
}

static void rename_done(struct mr_job *job, bool canceled)
{
    struct requeue *r = MR_OF(job, struct requeue, job);
    if (canceled)
        mr_err_set(&r->err, MR_ECANCELED, "stopping");
    r->counts.queued += r->err.code == MR_OK;
    r->at++;
    next(r);
}

static void on_durable(struct mr_queue_wait *wait, enum mr_code code)
{
    struct requeue *r = MR_OF(wait, struct requeue, wait);
    if (code == MR_OK) {
        submit(r, rename_run, rename_done);
        return;
    }
    mr_err_set(&r->err, code, "the queue cannot keep %s", r->names[r->at]);
    next(r);
}

/* ---- judged again ---- */

static bool refused(struct requeue *r, const char *reason)
{
    mr_log_info(r->hub->core->loop->log, r->what.source, "still_refused", MR_S("file", r->names[r->at]), MR_S("why", reason));
    r->counts.refused++;
    return false;
}

static bool judged(struct requeue *r, const struct kept_request *k, const struct mr_http_head *head, struct mr_str *body, struct mr_verified *verified)
{
    struct mr_err err;
    struct mr_shaken shaken;
    size_t limit = (size_t)(r->o->body_limit ? r->o->body_limit : r->hub->o->http.body_limit);
    webhook_url(r->o, head, &r->url);
    struct mr_signed_request request = {.head = head, .body = k->body, .url = mr_buf_str(&r->url)};
    mr_verify(r->verifier, &request, k->received_us, verified);
    if (verified->cause != MR_CAUSE_NONE)
        return refused(r, verified->reason);
    if (!webhook_allows(r->o, head->method))
        return refused(r, "its method is not among `methods`");
    *body = k->body;
    if (webhook_coding(head) == CODING_GZIP) {
        mr_buf_clear(&r->inflated);
        if (mr_gunzip(k->body, limit, &r->inflated, &err) != MR_OK)
            return refused(r, err.msg);
        *body = mr_buf_str(&r->inflated);
    }
    if (webhook_coding(head) == CODING_OTHER || body->n > limit)
        return refused(r, body->n > limit ? "its body is larger than body_limit" : "its content coding is not supported");
    if (mr_shake_verified(r->shaker, head, *body, verified->secret, &r->url, &shaken) != MR_SHAKE_EVENT)
        return refused(r, "it is a handshake, no event");
    return true;
}

/* The event but for its body. Of the elements of a batch each has a name of its own: file#0, file#1, … */
static struct mr_str event_of(void *arg, size_t index)
{
    struct requeue *r = arg;
    const struct kept_request *k = &r->kept;
    bool dedup = r->o->dedup_given && r->o->dedup.id;
    size_t count = k->headers_count;
    char name[KEPT_NAME_MAX + 24];
    snprintf(name, sizeof name, r->split ? "%s#%zu" : "%s", r->names[r->at], index);
    r->headers[count++] = (struct mr_header){MR_STR(PROVENANCE), mr_str_c(name)};
    struct mr_event e = {
        .arrived_us = k->received_us,
        .payload = r->o->payload ? MR_PAYLOAD_EXACT : MR_PAYLOAD_JSON,
        .secret = r->verified.secret,
        .scheme = mr_str_c(mr_verifier_scheme(r->verifier)->name),
        .covers = mr_str_c(r->verified.covers),
        .dedup_id = mr_str_c(dedup ? r->o->dedup.id : "header:" PROVENANCE),
        .dedup_window_ms = dedup ? r->o->dedup.window_ms : KEPT_FOR_MS,
        .method = k->method,
        .path = k->path,
        .query = k->query,
        .remote = k->remote,
        .headers = r->headers,
        .headers_count = count,
    };
    mr_buf_clear(&r->event);
    mr_event_put(&r->event, &e, webhook_masks, (void *)(uintptr_t)r->o);
    return r->event.failed ? (struct mr_str){0} : mr_buf_str(&r->event);
}

static void on_batch(void *arg, enum mr_code code)
{
    struct requeue *r = arg;
    on_durable(&r->wait, code);
}

static enum mr_code append(struct requeue *r, struct mr_str body)
{
    struct hub *h = r->hub;
    struct batch_cut cut;
    struct mr_str key = mr_str_c(r->key), head = event_of(r, 0);
    r->split = r->o->split_given && batch_of(&r->o->split, body, head.n + 24, h->group_memory / 2, &cut);
    if (r->split && cut.count == 0) {
        on_durable(&r->wait, MR_OK);
        return MR_OK;
    }
    if (r->split)
        return batch_append(h->queue, key, &cut, event_of, on_batch, r);
    head = event_of(r, 0);
    const struct mr_str pieces[] = {head, body};
    r->wait = (struct mr_queue_wait){.done = on_durable};
    return head.n ? mr_queue_append(h->queue, key, pieces, MR_COUNT(pieces), &r->wait) : MR_ENOMEM;
}

/* False: done with it. */
static bool take(struct requeue *r)
{
    const struct kept_request *k = &r->kept;
    struct mr_err err;
    struct mr_str body;
    mr_buf_clear(&r->decoded);
    if (kept_get((struct mr_str){r->text, r->text_n}, r->headers, &r->decoded, &r->kept, &err) != MR_OK || k->headers_count >= MR_EVENT_HEADERS_MAX) {
        mr_log_warn(r->hub->core->loop->log, r->what.source, "not_readable", MR_S("file", r->names[r->at]));
        r->counts.unreadable++;
        return false;
    }
    struct mr_http_head head = {.method = k->method, .target = k->path, .path = k->path, .query = k->query, .headers = k->headers, .headers_count = k->headers_count,
                                .remote = k->remote, .content_length = (int64_t)k->body.n};
    if (!judged(r, k, &head, &body, &r->verified))
        return false;
    enum mr_code code = append(r, body);
    if (code == MR_OK)
        return true;
    mr_err_set(&r->err, code, "the queue does not take %s", r->names[r->at]);
    return false;
}

static void read_run(struct mr_job *job) /* Runs on: worker */
{
    struct requeue *r = MR_OF(job, struct requeue, job);
    char path[4096 + KEPT_NAME_MAX];
    path_of(r, r->names[r->at], path);
    if (mr_file_read(path, FILE_MAX, &r->text, &r->text_n, &r->err) != MR_OK)
        r->text = NULL;
}

static void read_done(struct mr_job *job, bool canceled)
{
    struct requeue *r = MR_OF(job, struct requeue, job);
    if (canceled)
        mr_err_set(&r->err, MR_ECANCELED, "stopping");
    bool waits = r->err.code == MR_OK && r->text && take(r);
    free(r->text);
    r->text = NULL;
    if (waits)
        return;
    r->at += r->err.code == MR_OK;
    next(r);
}

static void next(struct requeue *r)
{
    if (r->err.code != MR_OK || r->at == r->names_count)
        finish(r);
    else
        submit(r, read_run, read_done);
}

/* ---- which ones ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static bool is_wanted(const struct requeue *r, const char *name)
{
    int64_t at_us;
    bool replayed;
    char cause[40];
    if (strlen(name) >= KEPT_NAME_MAX || !kept_name_parse(name, &at_us, &replayed) || replayed || at_us < r->what.from_us || at_us > r->what.to_us)
        return false;
    snprintf(cause, sizeof cause, "-%s-", r->what.cause ? r->what.cause : "");
    return !r->what.cause || strstr(name, cause);
}

static void list_run(struct mr_job *job) /* Runs on: worker */
{
    struct requeue *r = MR_OF(job, struct requeue, job);
    DIR *d = opendir(r->dir);
    size_t cap = 0;
    if (!d && errno != ENOENT)
        mr_err_sys(&r->err, errno, "open %s", r->dir);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        if (!is_wanted(r, e->d_name))
            continue;
        if (r->names_count == cap) {
            cap = cap ? 2 * cap : 256;
            r->names = realloc(r->names, cap * sizeof *r->names);
            assert(r->names);
        }
        memcpy(r->names[r->names_count++], e->d_name, strlen(e->d_name) + 1); /* it fits: is_wanted() */
    }
    if (d)
        closedir(d);
    if (r->names_count)
        qsort(r->names, r->names_count, sizeof *r->names, by_name);
}

static void list_done(struct mr_job *job, bool canceled)
{
    struct requeue *r = MR_OF(job, struct requeue, job);
    if (canceled)
        mr_err_set(&r->err, MR_ECANCELED, "stopping");
    next(r);
}

static void on_secrets(void *arg, const struct mr_err *err)
{
    struct requeue *r = arg;
    r->err = *err;
    if (r->err.code != MR_OK || webhook_verifier(r->o, r->handover ? handover_secrets(r->handover) : NULL, &r->verifier, &r->err) != MR_OK) {
        finish(r);
        return;
    }
    submit(r, list_run, list_done);
}

void webhook_requeue(void *hub, const struct mr_requeue *what, mr_requeue_cb cb, void *arg)
{
    struct requeue *r = calloc(1, sizeof *r);
    struct mr_buf key;
    assert(r);
    *r = (struct requeue){.hub = hub, .what = *what, .o = what->options, .cb = cb, .arg = arg};
    const char *data_dir = r->hub->core->data_dir, *stream = r->o->stream && *r->o->stream ? r->o->stream : what->source;
    snprintf(r->dir, sizeof r->dir, "%s/quarantine/%s", data_dir, what->source);
    mr_buf_init(&r->decoded, SIZE_MAX / 4);
    mr_buf_init(&r->inflated, SIZE_MAX / 4); /* mr_gunzip has its own limit */
    mr_buf_init(&r->event, 4 << 20);
    mr_buf_init(&r->url, 1 << 20);
    mr_buf_init(&key, 4096);
    mr_buf_printf(&key, "%s/%s", what->source, stream);
    r->key = strdup(mr_buf_cstr(&key));
    mr_buf_free(&key);
    assert(r->key);
    if (mr_shaker_new(&r->o->handshake, r->o->verify.scheme, &r->o->verify.secrets, &r->shaker, &r->err) != MR_OK) {
        finish(r);
        return;
    }
    if (mr_shaker_keeps(r->shaker))
        r->handover = handover_new(data_dir, what->source, r->hub->core->loop->workers);
    if (r->handover)
        handover_load(r->handover, on_secrets, r);
    else
        on_secrets(r, &(struct mr_err){0});
}
