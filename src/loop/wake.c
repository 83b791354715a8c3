/* SPDX-License-Identifier: Apache-2.0 */
/* wake.c - an eventfd in the loop, by which another thread wakes it.
 *
 * Not uv_async_t: after its write to the eventfd the sender of libuv 1.44 marks the handle as sent, and a loop that is
 * awake before that mark spins until it is there. The write wakes the loop, which goes before a niced or idle thread, so
 * the loop would spin for as long as others keep that thread from running. Measured with two busy processors: 39 of 100
 * samples of the process were that spin, and the loop stood still for 0.4 s. */
#include "internal.h"
#include "millrace/worker.h"

#include <assert.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct mr_wake *wake = MR_OF(poll, struct mr_wake, poll);
    uint64_t count;
    (void)events;
    if (status == 0 && read(wake->fd, &count, sizeof count) == (ssize_t)sizeof count)
        wake->cb(wake);
}

enum mr_code mr_wake_init(uv_loop_t *uv, struct mr_wake *wake, void (*cb)(struct mr_wake *wake), struct mr_err *err)
{
    wake->cb = cb;
    wake->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wake->fd < 0)
        return mr_err_sys(err, errno, "make an eventfd");
    int rc = uv_poll_init(uv, &wake->poll, wake->fd);
    if (rc != 0) {
        close(wake->fd);
        return mr_err_uv(err, rc, "watch an eventfd");
    }
    rc = uv_poll_start(&wake->poll, UV_READABLE, on_poll);
    assert(rc == 0); /* it fails for a closing handle only */
    return MR_OK;
}

void mr_wake_send(struct mr_wake *wake)
{
    const uint64_t one = 1;
    ssize_t n = write(wake->fd, &one, sizeof one);
    (void)n; /* EAGAIN: the count is at its end, so the loop is being woken already */
}

static void on_closed(uv_handle_t *handle)
{
    struct mr_wake *wake = MR_OF((uv_poll_t *)handle, struct mr_wake, poll);
    close(wake->fd);
    wake->fd = -1;
    wake->closed(wake);
}

void mr_wake_close(struct mr_wake *wake, void (*closed)(struct mr_wake *wake))
{
    wake->closed = closed;
    uv_close((uv_handle_t *)&wake->poll, on_closed);
}
