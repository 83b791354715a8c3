/* SPDX-License-Identifier: Apache-2.0 */
/* refused.c
 *
 * happy path    copy on the loop -> a job takes all that wait -> room is made, each is written as one file -> counted
 * ways to fail  too many a minute (sampled) or a second; no room in the share; the disk is at its reserve, or fails:
 *               the request is dropped and counted, its sender had its answer before
 * on close      what waits is written first: it is bounded by the share */
#include "refused.h"
#include "kept.h"

#include "millrace/budget.h"
#include "millrace/fault.h"
#include "millrace/file.h"
#include "millrace/hash.h"
#include "millrace/worker.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SAMPLES = 5, /* of each cause in a minute */
    SAMPLE_MS = 60000,
    FULL_A_SECOND = 1000, /* of a source: more than a vendor retries, less than a flood */
    BODY_PIECE = 48 << 10, /* encoded at once; a multiple of three */
    LOG_EVERY_MS = 10000,
    SHARE_PART = 16 /* of limits.memory, for all that waits */
};

#define AT(field) offsetof(struct refused_options, field)
static const char *const keeps[] = {"off", "sampled", "full", NULL};
const struct mr_option refused_rows[] = {
    {.name = "keep",
     .type = MR_T_ENUM,
     .offset = AT(keep),
     .def = "off",
     .choices = keeps,
     .doc = "off: nothing of a refused request is kept; sampled: five of each cause in a minute; full: all that fit, "
            "for a replay once a secret is mended."},
    {.name = "limit",
     .type = MR_T_SIZE,
     .offset = AT(limit),
     .def = "64MiB",
     .min = "64KiB",
     .max = "64GiB",
     .doc = "Most bytes of refused requests on disk; the oldest go first."},
    {.name = "files",
     .type = MR_T_INT,
     .offset = AT(files),
     .def = "10000",
     .min = "10",
     .max = "1000000",
     .doc = "Most refused requests on disk."},
    {0},
};

enum outcome { KEPT, PASSED_OVER, BEHIND, NO_ROOM, FAILED, EVICTED, OUTCOMES };
static const char *const outcome_names[OUTCOMES] = {
    [KEPT] = "kept",       [PASSED_OVER] = "passed_over", [BEHIND] = "behind",
    [NO_ROOM] = "no_room", [FAILED] = "failed",           [EVICTED] = "evicted"};

struct window {
    uint64_t since_ms;
    unsigned count;
};

struct refused {
    struct refused *next;
    struct keeper *keeper;
    char *name;
    const struct refused_options *o;
    struct window samples[MR_CAUSES], rate;
    struct mr_cell *cells[OUTCOMES][MR_CAUSES];
    int64_t shown_bytes, shown_files; /* as of the last job */
    /* the worker's while a job is out */
    bool looked;
    int64_t bytes, files; /* of refused and replayed requests; what a person takes away is noticed when room is needed */
    uint64_t evicted;
};

struct waiting { /* a copied request; or, without one, the wish to look at the folder */
    struct waiting *next;
    struct refused *of;
    size_t size; /* taken from the share */
    enum mr_cause cause;
    enum outcome outcome; /* worker */
    int64_t limit, files;
    struct kept_request request;
    struct mr_header headers[]; /* then the bytes */
};

struct keeper {
    const struct mr_core *core;
    struct mr_share *share;
    struct refused *sources;
    struct waiting *first, **end;
    struct mr_job job;
    struct waiting *batch; /* the worker's while `out` */
    struct mr_err err;     /* worker: the last failure of the batch */
    bool out;
    uint64_t logged_ms;
    void (*stop_cb)(void *arg);
    void *stop_arg;
};

/* ---- worker ---- */

static void dir_of(const struct refused *r, char out[4096])
{
    snprintf(out, 4096, "%s/quarantine/%s", r->keeper->core->data_dir, r->name);
}

struct found {
    char name[KEPT_NAME_MAX];
    bool replayed;
    int64_t bytes;
};

/* Replayed ones first, then by time, which the names have. */
static int leaves_first(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->replayed != y->replayed)
        return x->replayed ? -1 : 1;
    return strcmp(strchr(x->name, '-'), strchr(y->name, '-'));
}

/* Counts what lies there; with `found` lists it as well. Half-written files of a process that was killed go. */
static size_t look_at(struct refused *r, DIR *d, struct found **found)
{
    size_t count = 0, cap = 0;
    r->bytes = r->files = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        struct stat st;
        struct found f = {0};
        int64_t at;
        if (strncmp(e->d_name, "." KEPT_REFUSED, sizeof KEPT_REFUSED) == 0)
            unlinkat(dirfd(d), e->d_name, 0);
        if (strlen(e->d_name) >= sizeof f.name || !kept_name_parse(e->d_name, &at, &f.replayed) ||
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
            continue;
        r->files++;
        r->bytes += st.st_size;
        if (!found)
            continue;
        if (count == cap) {
            struct found *more = realloc(*found, (cap = cap ? 2 * cap : 256) * sizeof *more);
            if (!more)
                break;
            *found = more;
        }
        memcpy(f.name, e->d_name, strlen(e->d_name) + 1);
        f.bytes = st.st_size;
        (*found)[count++] = f;
    }
    return count;
}

/* Deletes the oldest until an eighth of the limits is free, so that a flood does not list the folder for each request. */
static void make_room(struct refused *r, const char *dir, int64_t limit, int64_t files)
{
    struct found *found = NULL;
    DIR *d = opendir(dir);
    if (!d)
        return;
    size_t count = look_at(r, d, &found);
    if (count)
        qsort(found, count, sizeof *found, leaves_first);
    for (size_t i = 0; i < count && (r->bytes > limit - limit / 8 || r->files > files - files / 8 - 1); i++) {
        if (unlinkat(dirfd(d), found[i].name, 0) != 0)
            continue;
        r->bytes -= found[i].bytes;
        r->files--;
        r->evicted += !found[i].replayed;
    }
    free(found);
    closedir(d);
}

static enum mr_code write_body(int fd, struct mr_str body, struct mr_buf *b, struct mr_err *err)
{
    do { /* the head goes with the first piece */
        struct mr_str piece = {body.p, body.n < BODY_PIECE ? body.n : BODY_PIECE};
        mr_base64_put(b, piece);
        body = body.n ? (struct mr_str){body.p + piece.n, body.n - piece.n} : body;
        if (body.n == 0)
            mr_buf_puts(b, KEPT_TAIL);
        if (b->failed)
            return mr_err_set(err, MR_ENOMEM, "a request for quarantine");
        if (mr_write_all(fd, b->p, b->n, "quarantine", err) != MR_OK)
            return err->code;
        mr_buf_clear(b);
    } while (body.n);
    return MR_OK;
}

static enum mr_code write_file(int dirfd, const struct waiting *w, struct mr_buf *b, struct mr_err *err)
{
    char name[KEPT_NAME_MAX], hidden[KEPT_NAME_MAX + 1];
    kept_name(w->request.received_us, mr_cause_name(w->cause), (uint32_t)mr_random_u64(), name);
    snprintf(hidden, sizeof hidden, ".%s", name);
    int fault = MR_POINT(quarantine_write);
    int fd = fault ? -1 : openat(dirfd, hidden, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return mr_err_sys(err, fault ? fault : errno, "quarantine %s", name);
    enum mr_code code = write_body(fd, w->request.body, b, err);
    close(fd);
    if (code == MR_OK && renameat(dirfd, hidden, dirfd, name) != 0)
        code = mr_err_sys(err, errno, "quarantine %s", name);
    if (code != MR_OK)
        unlinkat(dirfd, hidden, 0);
    return code;
}

static enum outcome keep_in(struct refused *r, const char *dir, const struct waiting *w, struct mr_buf *b,
                            struct mr_err *err)
{
    mr_buf_clear(b);
    kept_put_head(b, &w->request);
    int64_t size = (int64_t)(b->n + (w->request.body.n + 2) / 3 * 4 + sizeof KEPT_TAIL - 1);
    if (b->failed || size > w->limit / 8)
        return NO_ROOM; /* a giant would push out all the others */
    if (r->bytes + size > w->limit || r->files >= w->files)
        make_room(r, dir, w->limit, w->files);
    if (r->bytes + size > w->limit || r->files >= w->files)
        return NO_ROOM;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        mr_err_sys(err, errno, "open %s", dir);
        r->looked = false; /* somebody took the folder away: the next one makes it anew */
        return FAILED;
    }
    enum mr_code code = write_file(fd, w, b, err);
    close(fd);
    if (code != MR_OK)
        return FAILED;
    r->bytes += size;
    r->files++;
    return KEPT;
}

static bool has_room(const struct keeper *k, struct mr_err *err)
{
    uint64_t bytes;
    return mr_disk_free(k->core->data_dir, &bytes, err) == MR_OK && bytes >= (uint64_t)k->core->disk_reserve;
}

static void keep_run(struct mr_job *job) /* Runs on: worker */
{
    struct keeper *k = MR_OF(job, struct keeper, job);
    struct mr_buf b;
    mr_buf_init(&b, 8 << 20);
    bool room = has_room(k, &k->err);
    for (struct waiting *w = k->batch; w; w = w->next) {
        char dir[4096];
        dir_of(w->of, dir);
        bool request = w->request.method.p != NULL;
        if (!w->of->looked && (request ? room && mr_dir_make(dir, 0750, &k->err) == MR_OK : true)) {
            DIR *d = opendir(dir);
            if (d)
                look_at(w->of, d, NULL);
            w->of->looked = d != NULL;
            if (d)
                closedir(d);
        }
        if (request)
            w->outcome = !room ? NO_ROOM : w->of->looked ? keep_in(w->of, dir, w, &b, &k->err) : FAILED;
    }
    mr_buf_free(&b);
}

/* ---- loop ---- */

static void count(struct refused *r, enum outcome outcome, enum mr_cause cause, int64_t n)
{
    struct mr_cell **cell = &r->cells[outcome][cause];
    if (!*cell)
        *cell = mr_metric(r->keeper->core->loop->metrics, MR_M_WEBHOOK_QUARANTINE, r->name, outcome_names[outcome],
                          cause == MR_CAUSE_NONE ? "none" : mr_cause_name(cause));
    mr_cell_add(*cell, n);
}

static void keeper_free(struct keeper *k)
{
    void (*cb)(void *) = k->stop_cb;
    void *arg = k->stop_arg;
    for (struct refused *r = k->sources, *next; r; r = next) {
        next = r->next;
        free(r->name);
        free(r);
    }
    mr_share_free(k->share);
    free(k);
    cb(arg);
}

static void pump(struct keeper *k);

static void say_failed(struct keeper *k, const struct waiting *w)
{
    uint64_t now_ms = mr_loop_now_ms(k->core->loop);
    if (k->logged_ms && now_ms - k->logged_ms < LOG_EVERY_MS)
        return;
    k->logged_ms = now_ms;
    mr_log_warn(k->core->loop->log, w->of->name, "quarantine_failed", MR_S("why", k->err.msg),
                MR_S("hint", "check rights and space of data_dir; refused requests are not kept until then"));
}

static void keep_done(struct mr_job *job, bool canceled)
{
    struct keeper *k = MR_OF(job, struct keeper, job);
    k->out = false;
    size_t size = 0;
    for (struct waiting *w = k->batch, *next; w; w = next) {
        struct refused *r = w->of;
        next = w->next;
        if (w->request.method.p && !canceled) {
            count(r, w->outcome, w->cause, 1);
            if (w->outcome == FAILED)
                say_failed(k, w);
        }
        if (r->evicted)
            count(r, EVICTED, MR_CAUSE_NONE, (int64_t)r->evicted);
        r->evicted = 0;
        r->shown_bytes = r->bytes;
        r->shown_files = r->files;
        size += w->size;
        free(w);
    }
    k->batch = NULL;
    mr_share_put(k->share, size);
    pump(k);
}

static void pump(struct keeper *k)
{
    if (k->out)
        return;
    if (!k->first) {
        if (k->stop_cb)
            keeper_free(k);
        return;
    }
    k->batch = k->first;
    k->first = NULL;
    k->end = &k->first;
    k->err = (struct mr_err){0};
    k->out = true;
    k->job = (struct mr_job){.run = keep_run, .done = keep_done};
    mr_worker_submit(k->core->loop->workers, MR_LANE_MISC, &k->job);
}

static void wait_for(struct keeper *k, struct waiting *w)
{
    *k->end = w;
    k->end = &w->next;
    pump(k);
}

/* Counts one in; false: the window has had its share. */
static bool within(struct window *w, uint64_t now_ms, uint64_t length_ms, unsigned most)
{
    if (w->count == 0 || now_ms - w->since_ms >= length_ms)
        *w = (struct window){.since_ms = now_ms};
    if (w->count >= most)
        return false;
    w->count++;
    return true;
}

static bool wanted(struct refused *r, enum mr_cause cause)
{
    uint64_t now_ms = mr_loop_now_ms(r->keeper->core->loop);
    if (r->o->keep == REFUSED_SAMPLED)
        return within(&r->samples[cause], now_ms, SAMPLE_MS, SAMPLES);
    return within(&r->rate, now_ms, 1000, FULL_A_SECOND);
}

static struct mr_str copy(char **at, struct mr_str s)
{
    struct mr_str there = {*at, s.n};
    if (s.n)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return there;
}

static size_t size_of(const struct refused_request *q)
{
    const struct mr_http_head *h = q->head;
    size_t n = sizeof(struct waiting) + h->headers_count * sizeof *h->headers + strlen(q->reason) + h->remote.n +
               h->method.n + h->path.n + h->query.n + q->body.n;
    for (size_t i = 0; i < h->headers_count; i++)
        n += h->headers[i].name.n + h->headers[i].value.n;
    return n + 1;
}

void refused_keep(struct refused *r, const struct refused_request *q)
{
    const struct mr_http_head *h = q->head;
    if (r->o->keep == REFUSED_OFF || r->keeper->stop_cb)
        return;
    if (!wanted(r, q->cause)) {
        count(r, PASSED_OVER, q->cause, 1);
        return;
    }
    size_t size = size_of(q), count_max = MR_EVENT_HEADERS_MAX;
    struct waiting *w = NULL;
    if (h->headers_count <= count_max && mr_share_take(r->keeper->share, size)) {
        w = malloc(size);
        if (!w)
            mr_share_put(r->keeper->share, size);
    }
    if (!w) {
        count(r, BEHIND, q->cause, 1);
        return;
    }
    *w = (struct waiting){.of = r, .size = size, .cause = q->cause, .limit = r->o->limit, .files = r->o->files};
    char *at = (char *)&w->headers[h->headers_count];
    for (size_t i = 0; i < h->headers_count; i++) {
        bool masked = q->masked(q->arg, &h->headers[i]);
        w->headers[i].name = copy(&at, h->headers[i].name);
        w->headers[i].value = masked ? MR_STR("***") : copy(&at, h->headers[i].value);
    }
    w->request = (struct kept_request){.received_us = q->received_us,
                                       .cause = mr_str_c(mr_cause_name(q->cause)),
                                       .reason = copy(&at, mr_str_c(q->reason)),
                                       .remote = copy(&at, h->remote),
                                       .method = copy(&at, h->method),
                                       .path = copy(&at, h->path),
                                       .query = copy(&at, h->query),
                                       .headers = w->headers,
                                       .headers_count = h->headers_count,
                                       .body = copy(&at, q->body)};
    wait_for(r->keeper, w);
}

void refused_status(const struct refused *r, struct mr_buf *json)
{
    mr_buf_printf(json, ",\"quarantine\":{\"keep\":\"%s\",\"files\":%lld,\"bytes\":%lld", keeps[r->o->keep],
                  (long long)r->shown_files, (long long)r->shown_bytes);
    for (int o = 0; o < OUTCOMES; o++) {
        double sum = 0;
        for (int c = 0; c < MR_CAUSES; c++)
            sum += r->cells[o][c] ? mr_cell_value(r->cells[o][c]) : 0;
        mr_buf_printf(json, ",\"%s\":%.0f", outcome_names[o], sum);
    }
    mr_buf_puts(json, ",\"kept_by_cause\":{");
    const char *comma = "";
    for (int c = 1; c < MR_CAUSES; c++)
        if (r->cells[KEPT][c]) {
            mr_buf_printf(json, "%s\"%s\":%.0f", comma, mr_cause_name((enum mr_cause)c),
                          mr_cell_value(r->cells[KEPT][c]));
            comma = ",";
        }
    mr_buf_puts(json, "}}");
}

/* ---- life ---- */

struct keeper *keeper_new(const struct mr_core *core)
{
    struct keeper *k = calloc(1, sizeof *k);
    assert(k);
    k->core = core;
    k->end = &k->first;
    k->share = mr_share_new(core->loop->budget, "quarantine", mr_budget_limit(core->loop->budget) / SHARE_PART, NULL, NULL);
    return k;
}

struct refused *keeper_source(struct keeper *k, const char *source, const struct refused_options *options)
{
    struct refused *r = k->sources;
    while (r && strcmp(r->name, source) != 0)
        r = r->next;
    if (!r) {
        struct waiting *look = calloc(1, sizeof *look);
        r = calloc(1, sizeof *r);
        assert(r && look); /* one a source */
        r->keeper = k;
        r->name = strdup(source);
        assert(r->name);
        r->next = k->sources;
        k->sources = r;
        look->of = r;
        r->o = options;
        wait_for(k, look);
    }
    r->o = options;
    return r;
}

void keeper_stop(struct keeper *k, void (*cb)(void *arg), void *arg)
{
    k->stop_cb = cb;
    k->stop_arg = arg;
    pump(k);
}
