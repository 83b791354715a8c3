/* SPDX-License-Identifier: Apache-2.0 */
/* A turn is the time between two prepares (just before poll) less what the loop slept in poll. A check handle would not
 * do: it runs after poll's own callbacks, which are most of the work. UV_METRICS_IDLE_TIME has libuv count the sleep;
 * it costs one more epoll_wait a turn that finds nothing ready, so nothing when it matters. */
#include "internal.h"

static void on_prepare(uv_prepare_t *handle)
{
    struct mr_loop *loop = MR_OF(handle, struct mr_loop, lag_prepare);
    uint64_t now = uv_hrtime(), idle = uv_metrics_idle_time(&loop->uv);
    if (loop->lag_now_ns != 0) {
        uint64_t between = now - loop->lag_now_ns, slept = idle - loop->lag_idle_ns;
        double seconds = between > slept ? (double)(between - slept) / 1e9 : 0;
        mr_cell_observe(loop->lag, seconds);
        if (seconds > mr_cell_value(loop->lag_max))
            mr_cell_set(loop->lag_max, seconds);
    }
    loop->lag_now_ns = now;
    loop->lag_idle_ns = idle;
}

enum mr_code mr_lag_start(struct mr_loop *loop, struct mr_err *err)
{
    int rc = uv_loop_configure(&loop->uv, UV_METRICS_IDLE_TIME);
    if (rc != 0)
        return mr_err_uv(err, rc, "count the loop's idle time");
    loop->lag = mr_metric0(loop->metrics, MR_M_LOOP_LAG);
    loop->lag_max = mr_metric0(loop->metrics, MR_M_LOOP_LAG_MAX);
    loop->lag_now_ns = 0;
    uv_prepare_init(&loop->uv, &loop->lag_prepare); /* neither of the three can fail */
    uv_prepare_start(&loop->lag_prepare, on_prepare);
    uv_unref((uv_handle_t *)&loop->lag_prepare);
    return MR_OK;
}

void mr_lag_stop(struct mr_loop *loop)
{
    uv_close((uv_handle_t *)&loop->lag_prepare, NULL);
}
