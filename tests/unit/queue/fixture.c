/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/queue/fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void on_durable(void *arg, uint64_t horizon)
{
    struct fixture *f = arg;
    assert_true(horizon > f->horizon);
    f->horizon = horizon;
}

void fixture_init_at(struct fixture *f, const char *root)
{
    *f = (struct fixture){0};
    snprintf(f->root, sizeof f->root, "%s", root);
    snprintf(f->dir, sizeof f->dir, "%s/queue", f->root);
    snprintf(f->quarantine, sizeof f->quarantine, "%s/quarantine", f->root);
    const char *loud = getenv("MR_TEST_LOG"); /* for a person who debugs */
    f->log = mr_log_new(loud ? 2 : open("/dev/null", O_WRONLY | O_CLOEXEC), MR_LOG_TEXT, MR_LOG_DEBUG);
    struct mr_loop_options lo = {.memory_limit = 64 << 20, .log = f->log};
    assert_int_equal(mr_loop_init(&f->loop, &lo, &f->err), MR_OK);
    f->options = (struct mr_queue_options){.loop = &f->loop, .dir = f->dir, .quarantine = f->quarantine,
                                           .segment_size = 256 << 10, .max_size = 64 << 20, .group_memory = 8 << 20,
                                           .on_durable = on_durable, .arg = f};
}

void fixture_init(struct fixture *f)
{
    const char *tmp = getenv("TMPDIR");
    char root[PATH_MAX / 4];
    snprintf(root, sizeof root, "%s/mr-queue-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(root));
    fixture_init_at(f, root);
}

void fixture_free(struct fixture *f)
{
    if (f->q)
        queue_close(f);
    mr_loop_close(&f->loop);
    mr_log_free(f->log);
    remove_tree(f->root);
}

static void on_deadline(uv_timer_t *t)
{
    (void)t;
    fail_msg("%s", "waited 30 s for something that did not come");
}

void run_until(struct fixture *f, const bool *flag)
{
    uv_timer_t deadline;
    uv_timer_init(&f->loop.uv, &deadline);
    uv_timer_start(&deadline, on_deadline, 30000, 0);
    while (!*flag)
        uv_run(&f->loop.uv, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&deadline, NULL);
    uv_run(&f->loop.uv, UV_RUN_NOWAIT);
}

void run_until_answered(struct fixture *f)
{
    uv_timer_t deadline;
    uv_timer_init(&f->loop.uv, &deadline);
    uv_timer_start(&deadline, on_deadline, 30000, 0);
    while (f->waiting)
        uv_run(&f->loop.uv, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&deadline, NULL);
    uv_run(&f->loop.uv, UV_RUN_NOWAIT);
}

static void on_open(void *arg, const struct mr_err *err, struct mr_queue *q)
{
    struct fixture *f = arg;
    f->open_rc = err ? err->code : MR_OK;
    if (err)
        f->err = *err;
    f->q = q;
    f->opened = true;
}

enum mr_code queue_open(struct fixture *f)
{
    f->opened = false;
    f->horizon = 0;
    mr_queue_open(&f->options, on_open, f);
    assert_false(f->opened);
    run_until(f, &f->opened);
    return f->open_rc;
}

static void on_close(void *arg)
{
    ((struct fixture *)arg)->closed = true;
}

void queue_close(struct fixture *f)
{
    f->closed = false;
    mr_queue_close(f->q, on_close, f);
    run_until(f, &f->closed);
    f->q = NULL;
}

static void on_done(struct mr_queue_wait *w, enum mr_code code)
{
    struct sent *s = MR_OF(w, struct sent, wait);
    assert_false(s->answered);
    s->answered = true;
    s->code = code;
    s->f->waiting--;
}

void payload_make(char *out, uint32_t tag, size_t size)
{
    uint32_t state = tag * 2654435761u + 1;
    memcpy(out, &tag, 4);
    for (size_t i = 4; i < size; i++)
        out[i] = (char)(next_random(&state) >> 7);
}

bool payload_check(const char *p, size_t size, uint32_t *tag)
{
    char *want = malloc(size);
    memcpy(tag, p, 4);
    payload_make(want, *tag, size);
    bool same = memcmp(want, p, size) == 0;
    free(want);
    return same;
}

void send_one(struct fixture *f, struct sent *s, const char *source, uint32_t tag, size_t size)
{
    char *payload = malloc(size);
    payload_make(payload, tag, size);
    size_t half = size / 3;
    struct mr_str pieces[2] = {{payload, half}, {payload + half, size - half}};
    *s = (struct sent){.f = f, .wait.done = on_done};
    s->code = mr_queue_append(f->q, mr_str_c(source), pieces, 2, &s->wait);
    if (s->code == MR_OK)
        f->waiting++;
    else
        s->answered = true;
    free(payload);
}

enum mr_code send_wait(struct fixture *f, const char *source, uint32_t tag, size_t size, uint64_t *seq)
{
    struct sent s;
    send_one(f, &s, source, tag, size);
    run_until(f, &s.answered);
    if (seq)
        *seq = s.wait.seq;
    return s.code;
}

struct reading {
    struct mr_job job;
    struct mr_queue_reader *r;
    each_record each;
    void *arg;
    size_t n;
    enum mr_code rc;
    struct mr_err err;
    bool done;
};

static void reading_run(struct mr_job *job)
{
    struct reading *g = MR_OF(job, struct reading, job);
    struct mr_queue_record rec;
    uint64_t last = 0;
    while ((g->rc = mr_queue_next(g->r, &rec, &g->err)) == MR_OK) {
        if (rec.seq <= last)
            abort();
        last = rec.seq;
        g->n++;
        if (g->each)
            g->each(g->arg, &rec);
    }
}

static void reading_done(struct mr_job *job, bool canceled)
{
    struct reading *g = MR_OF(job, struct reading, job);
    (void)canceled;
    g->done = true;
}

size_t read_all(struct fixture *f, uint64_t from, each_record each, void *arg)
{
    struct reading g = {.job.run = reading_run, .job.done = reading_done, .each = each, .arg = arg};
    assert_int_equal(mr_queue_reader_new(f->q, from, &g.r, &f->err), MR_OK);
    mr_worker_submit(f->loop.workers, MR_LANE_MISC, &g.job);
    run_until(f, &g.done);
    mr_queue_reader_free(g.r);
    if (g.rc != MR_EEND)
        fail_msg("reading ended with %s", g.err.msg);
    return g.n;
}

static bool ends(const char *name, const char *suffix)
{
    size_t n = strlen(name), s = strlen(suffix);
    return n >= s && strcmp(name + n - s, suffix) == 0;
}

size_t files_named(const char *dir, const char *suffix)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    if (!d)
        return 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.' && ends(e->d_name, suffix);
    closedir(d);
    return n;
}

bool file_named(const char *dir, const char *suffix, bool newest, char out[PATH_MAX])
{
    char best[NAME_MAX + 1] = "";
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.' && ends(e->d_name, suffix) && (!*best || (strcmp(e->d_name, best) > 0) == newest))
            snprintf(best, sizeof best, "%s", e->d_name);
    closedir(d);
    snprintf(out, PATH_MAX, "%s/%s", dir, best);
    return *best != 0;
}
