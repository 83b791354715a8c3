/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.c - an exchange of the client with all that makes a stranger's URL harmless, and its small body.
 *
 * Test builds (MR_FAULTS) read MILLRACE_FETCH_TEST=ADDRESS:PORT,CA-FILE: all of these go there, whatever the URL's host, and
 * that CA is the only one trusted; a server on this machine can then be any vendor's. */
#include "millrace/fetch.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    CONNECT_MS = 4000,
    TOTAL_MS = 8000, /* SNS waits 15 s for the answer that waits for this */
};

struct mr_fetched {
    struct mr_exchange exchange;
    struct mr_fetch *fetch;
    struct mr_buf body;
    char *url, *test; /* test: ADDRESS:PORT, NUL, CA-FILE; or NULL */
};

static void fetched_free(struct mr_fetched *f)
{
    mr_buf_free(&f->body);
    free(f->url);
    free(f->test);
    free(f);
}

static void to_test_server(struct mr_fetched *f)
{
#if MR_FAULTS
    const char *test = getenv("MILLRACE_FETCH_TEST");
    char *comma;
    f->test = test ? strdup(test) : NULL;
    if (!f->test || !(comma = strchr(f->test, ',')))
        return;
    *comma = 0;
    f->exchange.connect_to = f->test;
    f->exchange.ca = comma + 1;
#else
    (void)f;
#endif
}

static bool on_bytes(struct mr_exchange *x, struct mr_str bytes)
{
    struct mr_fetched *f = MR_OF(x, struct mr_fetched, exchange);
    mr_buf_put(&f->body, bytes.p, bytes.n);
    return true;
}

/* The rest of the URL may be a token. */
static int host_of(const struct mr_fetched *f)
{
    return (int)strcspn(f->url + sizeof "https://" - 1, "/?#") + (int)sizeof "https://" - 1;
}

static void on_done(struct mr_exchange *x, const struct mr_exchange_end *end)
{
    struct mr_fetched *f = MR_OF(x, struct mr_fetched, exchange);
    struct mr_fetch *fetch = f->fetch;
    struct mr_err err = end->err;
    int status = end->status;
    bool later = status == 408 || status == 425 || status == 429;
    if (end->cause == MR_CLIENT_OK && status != 200)
        mr_err_set(&err, (status / 100 == 3 || status / 100 == 4) && !later ? MR_ENOENT : MR_ENET, "%.*s: status %d", host_of(f), f->url, status);
    fetch->fetched = NULL;
    fetch->done(fetch, &err, err.code == MR_OK ? mr_buf_str(&f->body) : (struct mr_str){0});
    fetched_free(f);
}

void mr_fetch(struct mr_client *client, struct mr_str url, struct mr_fetch *fetch)
{
    struct mr_fetched *f = calloc(1, sizeof *f);
    if (!f || !(f->url = calloc(1, url.n + 1)))
        abort();
    memcpy(f->url, url.p, url.n);
    mr_buf_init(&f->body, MR_FETCH_MAX);
    f->fetch = fetch;
    fetch->fetched = f;
    f->exchange = (struct mr_exchange){.method = MR_STR("GET"), .url = mr_str_c(f->url), .connect_ms = CONNECT_MS, .total_ms = TOTAL_MS,
                                       .body_max = MR_FETCH_MAX, .public_only = true, .on_bytes = on_bytes, .on_done = on_done};
    to_test_server(f);
    mr_exchange_start(client, &f->exchange);
}

void mr_fetch_cancel(struct mr_fetch *fetch)
{
    mr_exchange_cancel(&fetch->fetched->exchange);
    fetched_free(fetch->fetched);
    fetch->fetched = NULL;
}
