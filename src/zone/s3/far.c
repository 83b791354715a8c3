/* SPDX-License-Identifier: Apache-2.0 */
#include "far.h"

#include <assert.h>

static void on_wake(struct mr_wake *wake)
{
    struct far *far = MR_OF(wake, struct far, wake);
    pthread_mutex_lock(&far->mutex);
    struct far_call *call = far->first;
    far->first = far->last = NULL;
    pthread_mutex_unlock(&far->mutex);
    for (struct far_call *next; call; call = next) {
        next = call->next; /* once begun it may be over, and gone */
        call->begin(call);
    }
}

enum mr_code far_init(struct far *far, uv_loop_t *uv, struct mr_err *err)
{
    *far = (struct far){.first = NULL};
    if (mr_wake_init(uv, &far->wake, on_wake, err) != MR_OK)
        return err->code;
    uv_unref((uv_handle_t *)&far->wake.poll); /* whoever waits keeps the loop turning by its own job */
    int rc = pthread_mutex_init(&far->mutex, NULL);
    if (rc == 0)
        rc = pthread_cond_init(&far->done, NULL);
    assert(rc == 0); /* they only need the memory that they lie in */
    return MR_OK;
}

static void on_closed(struct mr_wake *wake)
{
    struct far *far = MR_OF(wake, struct far, wake);
    pthread_cond_destroy(&far->done);
    pthread_mutex_destroy(&far->mutex);
    far->closed(far);
}

void far_close(struct far *far, void (*closed)(struct far *far))
{
    assert(!far->first);
    far->closed = closed;
    mr_wake_close(&far->wake, on_closed);
}

void far_start(struct far *far, struct far_call *call)
{
    call->next = NULL;
    call->over = false;
    pthread_mutex_lock(&far->mutex);
    *(far->last ? &far->last->next : &far->first) = call;
    far->last = call;
    pthread_mutex_unlock(&far->mutex);
    mr_wake_send(&far->wake);
}

void far_wait(struct far *far, struct far_call *call)
{
    pthread_mutex_lock(&far->mutex);
    while (!call->over)
        pthread_cond_wait(&far->done, &far->mutex);
    pthread_mutex_unlock(&far->mutex);
}

void far_over(struct far *far, struct far_call *call)
{
    pthread_mutex_lock(&far->mutex);
    call->over = true;
    pthread_cond_broadcast(&far->done);
    pthread_mutex_unlock(&far->mutex);
}
