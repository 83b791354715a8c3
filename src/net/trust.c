/* SPDX-License-Identifier: Apache-2.0 */
#include "trust.h"

#include "millrace/worker.h"

#include <openssl/ssl.h>
#include <stdlib.h>

struct trust {
    struct mr_job job;
    struct mr_loop *loop;
    char *bundle;
    void (*changed)(void *arg);
    void *arg;
    X509_STORE *store; /* the worker's while out */
    enum { NEVER, OUT, OVER } when;
};

struct trust *trust_new(struct mr_loop *loop, const char *bundle, void (*changed)(void *arg), void *arg)
{
    struct trust *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    *t = (struct trust){.loop = loop, .bundle = bundle ? strdup(bundle) : NULL, .changed = changed, .arg = arg};
    return t;
}

void trust_free(struct trust *t)
{
    if (!t)
        return;
    X509_STORE_free(t->store);
    free(t->bundle);
    free(t);
}

static void run(struct mr_job *job)
{
    struct trust *t = MR_OF(job, struct trust, job);
    X509_STORE *store = X509_STORE_new();
    if (store && t->bundle && X509_STORE_load_file(store, t->bundle) == 1) {
        t->store = store;
        return;
    }
    X509_STORE_free(store);
}

static void done(struct mr_job *job, bool canceled)
{
    struct trust *t = MR_OF(job, struct trust, job);
    (void)canceled; /* then there is none, and nobody asks any more */
    t->when = OVER;
    t->changed(t->arg);
}

enum trust_state trust_state(struct trust *t)
{
    if (t->when == NEVER) {
        t->when = OUT;
        t->job = (struct mr_job){.run = run, .done = done};
        mr_worker_submit(t->loop->workers, MR_LANE_MISC, &t->job);
    }
    return t->when == OUT ? TRUST_READING : t->store ? TRUST_READY : TRUST_NONE;
}

bool trust_busy(const struct trust *t)
{
    return t && t->when == OUT;
}

void trust_use(struct trust *t, void *ssl_ctx)
{
    SSL_CTX_set1_cert_store(ssl_ctx, t->store);
}
