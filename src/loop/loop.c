/* SPDX-License-Identifier: Apache-2.0 */
#include "millrace/loop.h"

#include "internal.h"
#include "millrace/budget.h"
#include "millrace/worker.h"

#include <stdio.h>
#include <stdlib.h>

enum mr_code mr_loop_init(struct mr_loop *loop, const struct mr_loop_options *options, struct mr_err *err)
{
    enum mr_code code;
    *loop = (struct mr_loop){.log = options->log};
    int rc = uv_loop_init(&loop->uv);
    if (rc != 0)
        return mr_err_uv(err, rc, "make the loop");
    code = mr_workers_new(&loop->uv, options->serving, &loop->workers, err);
    if (code != MR_OK)
        goto close_loop;
    if (options->serving)
        mr_thread_prompt(); /* after the lanes were made: a thread hands this on to those that it makes */
    loop->metrics = mr_metrics_new();
    loop->budget = mr_budget_new(options->memory_limit, loop->metrics);
    loop->alerts = mr_alerts_new(loop->log, loop->metrics);
    code = mr_lag_start(loop, err);
    if (code != MR_OK)
        goto free_parts;
    return MR_OK;
free_parts:
    mr_alerts_free(loop->alerts);
    mr_budget_free(loop->budget);
    mr_metrics_free(loop->metrics);
    mr_workers_close(loop->workers, NULL, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    mr_workers_free(loop->workers);
close_loop:
    uv_loop_close(&loop->uv);
    return code;
}

/* A handle that nobody closes would keep uv_run below for ever; better to die and name it. */
static void abort_if_open(uv_handle_t *handle, void *arg)
{
    struct mr_loop *loop = arg;
    if (uv_is_closing(handle) || handle == (uv_handle_t *)&loop->lag_prepare || mr_workers_own(loop->workers, handle))
        return;
    fprintf(stderr, "millrace: our bug: the loop is closed with an open %s handle\n",
            uv_handle_type_name(handle->type));
    abort();
}

void mr_loop_close(struct mr_loop *loop)
{
    uv_walk(&loop->uv, abort_if_open, loop);
    uv_run(&loop->uv, UV_RUN_DEFAULT);       /* closing handles, requests and jobs that are out */
    uv_walk(&loop->uv, abort_if_open, loop); /* what their callbacks may have opened */
    mr_lag_stop(loop);
    mr_workers_close(loop->workers, NULL, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    mr_workers_free(loop->workers);
    if (uv_loop_close(&loop->uv) != 0)
        abort();
    mr_alerts_free(loop->alerts);
    mr_budget_free(loop->budget);
    mr_metrics_free(loop->metrics);
}
