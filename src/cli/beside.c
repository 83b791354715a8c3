/* SPDX-License-Identifier: Apache-2.0 */
/* beside.c - the state store for a verb that runs beside a server, or without one: a loop of its own, each call
 * awaited. */
#include "cli.h"

#include "app/app.h"

#include <unistd.h>

enum { MEMORY = 64 << 20 };

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

enum mr_code beside_open(struct beside *b, const struct mr_config *config, bool create, struct mr_err *err)
{
    char url[4096];
    *b = (struct beside){0};
    if (app_store_url(config, url, err) != MR_OK)
        return err->code;
    b->log = mr_log_new(STDERR_FILENO, MR_LOG_AUTO, MR_LOG_WARN);
    struct mr_loop_options loop = {.memory_limit = MEMORY, .log = b->log};
    if (mr_loop_init(&b->loop, &loop, err) != MR_OK) {
        mr_log_free(b->log);
        return err->code;
    }
    struct mr_store_options options = {.url = url, .create = create};
    mr_store_open(&b->loop, &options, on_store, b);
    beside_await(b);
    if (b->err.code == MR_OK)
        return MR_OK;
    *err = b->err;
    mr_loop_close(&b->loop);
    mr_log_free(b->log);
    return err->code;
}

static void on_closed(void *arg)
{
    struct beside *b = arg;
    b->waiting = false;
}

void beside_close(struct beside *b)
{
    mr_store_close(b->store, on_closed, b);
    beside_await(b);
    mr_loop_close(&b->loop);
    mr_log_free(b->log);
}
