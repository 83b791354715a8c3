/* SPDX-License-Identifier: Apache-2.0 */
#include "far.h"

#include <assert.h>

static void on_wake(struct mr_wake *wake)
{
    struct far *far = MR_OF(wake, struct far, wake);
    struct far_call *first = NULL;
    for (struct far_call *call = atomic_exchange(&far->handed_over, NULL), *before; call; call = before) {
        before = call->next;
        call->next = first;
        first = call;
    }
    for (struct far_call *next; first; first = next) {
        next = first->next; /* once begun it may be over, and gone */
        first->begin(first);
    }
}

enum mr_code far_init(struct far *far, uv_loop_t *uv, struct mr_err *err)
{
    *far = (struct far){.closed = NULL};
    if (mr_wake_init(uv, &far->wake, on_wake, err) != MR_OK)
        return err->code;
    uv_unref((uv_handle_t *)&far->wake.poll); /* whoever waits keeps the loop turning by its own job */
    return MR_OK;
}

static void on_closed(struct mr_wake *wake)
{
    struct far *far = MR_OF(wake, struct far, wake);
    far->closed(far);
}

void far_close(struct far *far, void (*closed)(struct far *far))
{
    assert(!atomic_load(&far->handed_over));
    far->closed = closed;
    mr_wake_close(&far->wake, on_closed);
}

void far_start(struct far *far, struct far_call *call)
{
    int rc = sem_init(&call->over, 0, 0);
    assert(rc == 0);
    (void)rc;
    struct far_call *before = atomic_load(&far->handed_over);
    do
        call->next = before;
    while (!atomic_compare_exchange_weak(&far->handed_over, &before, call));
    mr_wake_send(&far->wake); /* for each: whoever handed over the one before may have been put aside before its own */
}

void far_wait(struct far_call *call)
{
    while (sem_wait(&call->over) != 0) /* interrupted */
        ;
    sem_destroy(&call->over);
}

void far_over(struct far_call *call)
{
    sem_post(&call->over);
}
