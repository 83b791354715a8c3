/* SPDX-License-Identifier: Apache-2.0 */
#include "handover.h"

#include "handshake.h"

#include "millrace/file.h"
#include "millrace/hash.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILE_MAX = MR_SHAKE_SECRETS * (MR_SHAKE_SECRET_MAX + 1) };

struct handover {
    struct mr_workers *workers;
    struct mr_job job;
    bool busy;
    char dir[4096], path[4096 + 256];
    char text[FILE_MAX]; /* the file as it is; while busy the worker's */
    size_t text_n, before_n;
    struct mr_err err;
    handover_cb cb;
    void *arg;
    struct mr_secret items[MR_SHAKE_SECRETS];
    struct mr_secrets secrets;
};

struct handover *handover_new(const char *data_dir, const char *source, struct mr_workers *workers)
{
    struct handover *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->workers = workers;
    h->secrets.items = h->items;
    snprintf(h->dir, sizeof h->dir, "%s/handshakes", data_dir);
    snprintf(h->path, sizeof h->path, "%s/%s", h->dir, source);
    return h;
}

static void forget(struct handover *h)
{
    for (size_t i = 0; i < h->secrets.count; i++) {
        mr_cleanse(h->items[i].value, h->items[i].n);
        free(h->items[i].value);
    }
    h->secrets.count = 0;
}

void handover_free(struct handover *h)
{
    if (!h)
        return;
    assert(!h->busy);
    forget(h);
    mr_cleanse(h->text, sizeof h->text);
    free(h);
}

/* Secrets out of the text; a line that is none makes the whole file no file of ours. */
static bool read_text(struct handover *h)
{
    static char origin[] = "handed over";
    forget(h);
    for (size_t at = 0; at < h->text_n;) {
        const char *end = memchr(h->text + at, '\n', h->text_n - at);
        struct mr_str line = {h->text + at, end ? (size_t)(end - h->text) - at : 0};
        char *copy = NULL;
        if (!mr_shake_secret_ok(line) || h->secrets.count == MR_SHAKE_SECRETS || !(copy = strndup(line.p, line.n)))
            return false;
        h->items[h->secrets.count++] = (struct mr_secret){copy, line.n, origin};
        at += line.n + 1;
    }
    return true;
}

static void load_run(struct mr_job *job) /* Runs on: worker */
{
    struct handover *h = MR_OF(job, struct handover, job);
    char *text = NULL;
    size_t n = 0;
    h->err = (struct mr_err){0};
    enum mr_code code = mr_file_read(h->path, FILE_MAX, &text, &n, &h->err);
    if (code == MR_OK) {
        memcpy(h->text, text, n);
        h->text_n = n;
        mr_cleanse(text, n);
    } else if (code == MR_ENOENT) {
        h->err = (struct mr_err){0};
        h->text_n = 0;
    }
    free(text);
}

static void finish(struct handover *h)
{
    struct mr_err err = h->err;
    h->busy = false;
    h->cb(h->arg, &err);
}

static void load_done(struct mr_job *job, bool canceled) /* Runs on: loop */
{
    struct handover *h = MR_OF(job, struct handover, job);
    if (canceled)
        mr_err_set(&h->err, MR_ECANCELED, "stopping");
    else if (h->err.code == MR_OK && !read_text(h))
        mr_err_set(&h->err, MR_ECORRUPT, "%s: no list of secrets, one a line", h->path);
    finish(h);
}

static void submit(struct handover *h, void (*run)(struct mr_job *), void (*done)(struct mr_job *, bool),
                   handover_cb cb, void *arg)
{
    assert(!h->busy);
    h->busy = true;
    h->cb = cb;
    h->arg = arg;
    h->job = (struct mr_job){.run = run, .done = done};
    mr_worker_submit(h->workers, MR_LANE_SYNC, &h->job);
}

void handover_load(struct handover *h, handover_cb cb, void *arg)
{
    submit(h, load_run, load_done, cb, arg);
}

static void keep_run(struct mr_job *job) /* Runs on: worker */
{
    struct handover *h = MR_OF(job, struct handover, job);
    h->err = (struct mr_err){0};
    if (mr_dir_make(h->dir, 0700, &h->err) != MR_OK ||
        mr_file_replace(h->path, (struct mr_str){h->text, h->text_n}, 0600, &h->err) != MR_OK)
        mr_err_wrap(&h->err, "secret handed over");
}

static void keep_done(struct mr_job *job, bool canceled) /* Runs on: loop */
{
    struct handover *h = MR_OF(job, struct handover, job);
    if (canceled)
        mr_err_set(&h->err, MR_ECANCELED, "stopping");
    if (h->err.code != MR_OK)
        h->text_n = h->before_n; /* the vendor hears no and sends again; the next write says what holds */
    if (!read_text(h) && h->err.code == MR_OK)
        mr_err_set(&h->err, MR_ENOMEM, "secret handed over");
    finish(h);
}

/* All are compared, each by its digest: how long it takes tells nothing of any. */
static bool known(const struct handover *h, struct mr_str secret)
{
    unsigned char ours[MR_DIGEST_MAX], theirs[MR_DIGEST_MAX];
    bool found = false;
    mr_digest(MR_SHA256, secret, theirs);
    for (size_t i = 0; i < h->secrets.count; i++) {
        mr_digest(MR_SHA256, (struct mr_str){h->items[i].value, h->items[i].n}, ours);
        found |= mr_equal_ct(ours, theirs, mr_digest_size(MR_SHA256));
    }
    mr_cleanse(ours, sizeof ours);
    mr_cleanse(theirs, sizeof theirs);
    return found;
}

enum mr_code handover_keep(struct handover *h, struct mr_str secret, size_t most, handover_cb cb, void *arg)
{
    if (h->busy)
        return MR_EBUSY;
    if (known(h, secret))
        return MR_EEXIST;
    if (h->secrets.count >= most || h->secrets.count == MR_SHAKE_SECRETS ||
        h->text_n + secret.n + 1 > sizeof h->text)
        return MR_EPERM;
    h->before_n = h->text_n;
    memcpy(h->text + h->text_n, secret.p, secret.n);
    h->text[h->text_n + secret.n] = '\n';
    h->text_n += secret.n + 1;
    submit(h, keep_run, keep_done, cb, arg);
    return MR_OK;
}

bool handover_busy(const struct handover *h)
{
    return h && h->busy;
}

struct mr_str handover_last(const struct handover *h)
{
    const struct mr_secret *last = h->secrets.count ? &h->items[h->secrets.count - 1] : NULL;
    return last ? (struct mr_str){last->value, last->n} : (struct mr_str){0};
}

const struct mr_secrets *handover_secrets(const struct handover *h)
{
    return &h->secrets;
}
