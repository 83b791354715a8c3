/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include "millrace/loop.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { KAFKA_DESTROY_MS = 2000 };

struct leaving {
    rd_kafka_t *rk;
    uv_mutex_t lock;
    uv_cond_t done_cond;
    bool done, left; /* left: nobody waits any more, its thread frees this */
};

static void leaving_free(struct leaving *l)
{
    uv_cond_destroy(&l->done_cond);
    uv_mutex_destroy(&l->lock);
    free(l);
}

static void *leaving_main(void *arg)
{
    struct leaving *l = arg;
    rd_kafka_destroy_flags(l->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    uv_mutex_lock(&l->lock);
    l->done = true;
    bool left = l->left;
    uv_cond_signal(&l->done_cond);
    uv_mutex_unlock(&l->lock);
    if (left)
        leaving_free(l);
    return NULL;
}

static void end_at_once(int status, void *rk)
{
    (void)rk;
    fflush(NULL);
    _exit(status);
}

/* The C library's list of what is to be done at the end has the client, so that leak checkers find it. */
void kafka_client_leave(rd_kafka_t *rk)
{
    (void)on_exit(end_at_once, rk); /* fails where that end has begun, or without memory: then it is an end like any other */
}

bool kafka_client_free(rd_kafka_t *rk)
{
    struct leaving *l = calloc(1, sizeof *l);
    pthread_t thread;
    assert(l);
    l->rk = rk;
    uv_mutex_init(&l->lock);
    uv_cond_init(&l->done_cond);
    if (pthread_create(&thread, NULL, leaving_main, l) != 0) {
        leaving_free(l);
        return false;
    }
    pthread_detach(thread);
    uint64_t until_ns = uv_hrtime() + (uint64_t)KAFKA_DESTROY_MS * 1000000, now_ns;
    uv_mutex_lock(&l->lock);
    while (!l->done && (now_ns = uv_hrtime()) < until_ns)
        (void)uv_cond_timedwait(&l->done_cond, &l->lock, until_ns - now_ns);
    bool done = l->done;
    l->left = !done;
    uv_mutex_unlock(&l->lock);
    if (done)
        leaving_free(l);
    else
        kafka_client_leave(rk);
    return done;
}
