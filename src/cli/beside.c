/* SPDX-License-Identifier: Apache-2.0 */
/* beside.c - the state store for a verb that runs beside a server, or without one: a loop of its own, each call
 * awaited. */
#include "cli.h"

#include "app/app.h"

#include "millrace/worker.h"

#include <stdlib.h>
#include <unistd.h>

enum { MEMORY = 64 << 20, WIDE = 4 };

void beside_done(struct beside *b, const struct mr_err *err)
{
    b->err = *err;
    b->waiting = false;
}

void beside_on_done(void *arg, const struct mr_err *err)
{
    beside_done(arg, err);
}

void beside_await(struct beside *b)
{
    b->waiting = true;
    while (b->waiting)
        uv_run(&b->loop.uv, UV_RUN_ONCE);
}

static void on_store(void *arg, const struct mr_err *err, struct mr_store *store)
{
    struct beside *b = arg;
    b->store = store;
    beside_done(b, err);
}

enum mr_code beside_begin(struct beside *b, struct mr_err *err)
{
    *b = (struct beside){0};
    b->log = mr_log_new(STDERR_FILENO, MR_LOG_AUTO, MR_LOG_WARN);
    struct mr_loop_options loop = {.memory_limit = MEMORY, .log = b->log};
    if (mr_loop_init(&b->loop, &loop, err) == MR_OK)
        return MR_OK;
    mr_log_free(b->log);
    return err->code;
}

enum mr_code beside_store(struct beside *b, const struct mr_config *config, bool create, struct mr_err *err)
{
    char url[4096];
    if (app_store_url(config, url, err) != MR_OK)
        return err->code;
    struct mr_store_options options = {.url = url, .create = create};
    mr_store_open(&b->loop, &options, on_store, b);
    beside_await(b);
    if (b->err.code != MR_OK)
        *err = b->err;
    return b->err.code;
}

enum mr_code beside_open(struct beside *b, const struct mr_config *config, bool create, struct mr_err *err)
{
    if (beside_begin(b, err) != MR_OK)
        return err->code;
    if (beside_store(b, config, create, err) == MR_OK)
        return MR_OK;
    beside_close(b);
    return err->code;
}

enum mr_code beside_zone(struct beside *b, const struct mr_config *config, struct mr_err *err)
{
    struct mr_zone_options options;
    char *except = app_proxy_except(config);
    enum mr_code code = mr_client_new(&b->loop, &(struct mr_client_options){.proxy = config->proxy.url, .no_proxy = except}, &b->client, err);
    free(except);
    if (code != MR_OK)
        return code;
    app_zone_options(config, &b->loop, b->client, &options);
    return mr_zone_open(&options, &b->zone, err);
}

struct work {
    struct mr_job job;
    struct beside *b;
    void (*run)(void *arg);
    void *arg;
    unsigned *left;
};

static void work_run(struct mr_job *job) /* Runs on: worker */
{
    struct work *w = MR_OF(job, struct work, job);
    w->run(w->arg);
}

static void work_done(struct mr_job *job, bool canceled)
{
    (void)canceled; /* nobody closes the workers while we wait */
    struct work *w = MR_OF(job, struct work, job);
    if (--*w->left == 0)
        w->b->waiting = false;
}

static void work(struct beside *b, unsigned times, void (*run)(void *arg), void *arg)
{
    struct work jobs[WIDE];
    unsigned left = times;
    for (unsigned i = 0; i < times; i++) {
        jobs[i] = (struct work){.job = {.run = work_run, .done = work_done}, .b = b, .run = run, .arg = arg, .left = &left};
        mr_worker_submit(b->loop.workers, MR_LANE_FAR, &jobs[i].job);
    }
    beside_await(b);
}

void beside_work(struct beside *b, void (*run)(void *arg), void *arg)
{
    work(b, 1, run, arg);
}

void beside_work_wide(struct beside *b, void (*run)(void *arg), void *arg)
{
    work(b, mr_zone_is_far(b->zone) ? WIDE : 1, run, arg);
}

static void on_closed(void *arg)
{
    struct beside *b = arg;
    b->waiting = false;
}

void beside_close(struct beside *b)
{
    if (b->store) {
        mr_store_close(b->store, on_closed, b);
        beside_await(b);
    }
    if (b->zone) { /* a directory is closed at once */
        b->waiting = true;
        mr_zone_close(b->zone, on_closed, b);
        while (b->waiting)
            uv_run(&b->loop.uv, UV_RUN_ONCE);
    }
    if (b->client) {
        mr_client_close(b->client, on_closed, b);
        beside_await(b);
    }
    mr_loop_close(&b->loop);
    mr_log_free(b->log);
}
