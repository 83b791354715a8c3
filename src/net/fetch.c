/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.c - the one place that knows libcurl.
 *
 * happy path    mr_fetch() -> a job on MISC -> the one who asked hears of it
 * ways to fail  all are answers; a body that is larger, a status other than 200, an address that is not public end the
 *               transfer at once
 * on close      a flag ends what runs, what waits in the lane is canceled; the last one that comes home frees
 *
 * Test builds (MR_FAULTS) read MILLRACE_FETCH_TEST=ADDRESS:PORT,CA-FILE: all transfers go there, whatever the URL's host, and
 * that CA is the only one trusted; a server on this machine can then be any vendor's. */
#include "millrace/fetch.h"

#include "millrace/worker.h"

#include <assert.h>
#include <curl/curl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    CONNECT_MS = 4000,
    TOTAL_MS = 8000, /* SNS waits 15 s for the answer that waits for this */
};

struct mr_transfer {
    struct mr_job job;
    struct mr_fetcher *fetcher;
    struct mr_transfer *next;
    struct mr_fetch *fetch; /* NULL: canceled */
    atomic_bool canceled;
    struct mr_buf body; /* the worker's, as err */
    struct mr_err err;
    char url[MR_FETCH_URL_MAX + 1];
};

struct mr_fetcher {
    struct mr_loop *loop;
    bool closing;
    unsigned out_count;
    struct mr_transfer *out;
    bool curl_is_up; /* the worker's: who never fetches anything does not pay for it */
    char *test_address, *test_ca; /* NULL: the world's */
    void (*closed)(void *arg);
    void *arg;
};

#if MR_FAULTS
static bool read_test(struct mr_fetcher *f)
{
    const char *test = getenv("MILLRACE_FETCH_TEST"), *comma = test ? strchr(test, ',') : NULL;
    if (!comma)
        return true;
    f->test_ca = strdup(comma + 1);
    f->test_address = calloc(1, (size_t)(comma - test) + 4);
    if (!f->test_ca || !f->test_address)
        return false;
    snprintf(f->test_address, (size_t)(comma - test) + 4, "::%.*s", (int)(comma - test), test);
    return true;
}
#else
static bool read_test(struct mr_fetcher *f)
{
    (void)f;
    return true;
}
#endif

static void fetcher_free(struct mr_fetcher *f)
{
    free(f->test_address);
    free(f->test_ca);
    if (f->curl_is_up)
        curl_global_cleanup();
    free(f);
}

enum mr_code mr_fetcher_new(struct mr_loop *loop, struct mr_fetcher **out, struct mr_err *err)
{
    struct mr_fetcher *f = calloc(1, sizeof *f);
    if (!f)
        return mr_err_set(err, MR_ENOMEM, "fetcher");
    f->loop = loop;
    if (!read_test(f)) {
        fetcher_free(f);
        return mr_err_set(err, MR_ENOMEM, "fetcher");
    }
    *out = f;
    return MR_OK;
}

/* ---- one transfer; runs on: worker ---- */

static size_t on_bytes(char *bytes, size_t one, size_t n, void *arg)
{
    struct mr_transfer *t = arg;
    (void)one;
    mr_buf_put(&t->body, bytes, n);
    return t->body.failed ? 0 : n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct mr_transfer *t = arg;
    (void)a, (void)b, (void)c, (void)d;
    return atomic_load(&t->canceled);
}

/* The address that is about to be connected to, not one that a name had a moment ago. */
static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    const struct mr_transfer *t = arg;
    (void)purpose;
    if (!t->fetcher->test_address && !mr_address_is_public(&address->addr))
        return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static bool set_up(CURL *curl, struct mr_transfer *t, char *why, struct curl_slist **to)
{
    const struct mr_fetcher *f = t->fetcher;
    CURLcode rc = CURLE_OK;
#define SET(option, value) (rc = rc == CURLE_OK ? curl_easy_setopt(curl, option, value) : rc)
    SET(CURLOPT_ERRORBUFFER, why);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    SET(CURLOPT_TIMEOUT_MS, (long)TOTAL_MS);
    SET(CURLOPT_MAXFILESIZE, (long)MR_FETCH_MAX);
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_USERAGENT, "millrace/" MR_VERSION);
    SET(CURLOPT_WRITEFUNCTION, on_bytes);
    SET(CURLOPT_WRITEDATA, (void *)t);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, (void *)t);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_socket);
    SET(CURLOPT_OPENSOCKETDATA, (void *)t);
    SET(CURLOPT_URL, t->url);
    if (f->test_address) {
        *to = curl_slist_append(NULL, f->test_address);
        SET(CURLOPT_CONNECT_TO, *to);
        SET(CURLOPT_CAINFO, f->test_ca);
    }
#undef SET
    return rc == CURLE_OK;
}

static void judge(struct mr_transfer *t, CURLcode rc, long status, const char *why)
{
    int host = (int)strcspn(t->url + sizeof "https://" - 1, "/?#"); /* the rest may be a token */
    const char *at = t->url + sizeof "https://" - 1;
    bool later = status == 408 || status == 425 || status == 429;
    if (rc == CURLE_OK && status != 200)
        mr_err_set(&t->err, (status / 100 == 3 || status / 100 == 4) && !later ? MR_ENOENT : MR_ENET, "https://%.*s: status %ld", host, at, status);
    else if (rc == CURLE_FILESIZE_EXCEEDED || (rc == CURLE_WRITE_ERROR && t->body.failed))
        mr_err_set(&t->err, MR_ETOOBIG, "https://%.*s: more than %d bytes", host, at, MR_FETCH_MAX);
    else if (rc == CURLE_ABORTED_BY_CALLBACK)
        mr_err_set(&t->err, MR_ECANCELED, "stopping");
    else if (rc != CURLE_OK)
        mr_err_set(&t->err, rc == CURLE_OPERATION_TIMEDOUT ? MR_ETIMEDOUT : MR_ENET, "https://%.*s: %s", host, at,
                   *why ? why : curl_easy_strerror(rc));
}

/* On the one thread of MISC. */
static CURL *curl_up(struct mr_fetcher *f)
{
    if (!f->curl_is_up)
        f->curl_is_up = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    return f->curl_is_up ? curl_easy_init() : NULL;
}

static void run(struct mr_job *job)
{
    struct mr_transfer *t = MR_OF(job, struct mr_transfer, job);
    char why[CURL_ERROR_SIZE] = "";
    struct curl_slist *to = NULL;
    long status = 0;
    t->err = (struct mr_err){0};
    mr_buf_clear(&t->body);
    CURL *curl = curl_up(t->fetcher);
    if (!curl || !set_up(curl, t, why, &to)) {
        mr_err_set(&t->err, MR_ENOMEM, "libcurl cannot be set up");
    } else {
        CURLcode rc = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        judge(t, rc, status, why);
    }
    curl_slist_free_all(to);
    curl_easy_cleanup(curl);
}

/* ---- loop ---- */

static void maybe_closed(struct mr_fetcher *f)
{
    if (!f->closing || f->out_count)
        return;
    void (*closed)(void *) = f->closed;
    void *arg = f->arg;
    fetcher_free(f);
    closed(arg);
}

static void take_off(struct mr_transfer *t)
{
    struct mr_transfer **at = &t->fetcher->out;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    t->fetcher->out_count--;
}

static void done(struct mr_job *job, bool canceled)
{
    struct mr_transfer *t = MR_OF(job, struct mr_transfer, job);
    struct mr_fetcher *f = t->fetcher;
    take_off(t);
    if (canceled || atomic_load(&t->canceled)) {
        t->err = (struct mr_err){0};
        mr_err_set(&t->err, MR_ECANCELED, "stopping");
    }
    if (t->fetch)
        t->fetch->done(t->fetch, &t->err, t->err.code == MR_OK ? mr_buf_str(&t->body) : (struct mr_str){0});
    mr_buf_free(&t->body);
    free(t);
    maybe_closed(f);
}

enum mr_code mr_fetch(struct mr_fetcher *f, struct mr_str url, struct mr_fetch *fetch, struct mr_err *err)
{
    assert(!f->closing);
    if (url.n > MR_FETCH_URL_MAX || url.n < sizeof "https://" || memcmp(url.p, "https://", 8) != 0 ||
        memchr(url.p, 0, url.n))
        return mr_err_set(err, MR_ETOOBIG, "no https URL of at most %d bytes", MR_FETCH_URL_MAX);
    if (f->out_count == MR_FETCHES_MAX)
        return mr_err_set(err, MR_EBUSY, "%d URLs are being fetched", MR_FETCHES_MAX);
    struct mr_transfer *t = calloc(1, sizeof *t);
    if (!t)
        return mr_err_set(err, MR_ENOMEM, "a transfer");
    *t = (struct mr_transfer){.job = {.run = run, .done = done}, .fetcher = f, .next = f->out, .fetch = fetch};
    atomic_init(&t->canceled, false);
    mr_buf_init(&t->body, MR_FETCH_MAX);
    memcpy(t->url, url.p, url.n);
    f->out = t;
    f->out_count++;
    fetch->transfer = t;
    mr_worker_submit(f->loop->workers, MR_LANE_MISC, &t->job);
    return MR_OK;
}

static void cancel(struct mr_transfer *t)
{
    atomic_store(&t->canceled, true);
    mr_worker_cancel(t->fetcher->loop->workers, &t->job);
}

void mr_fetch_cancel(struct mr_fetch *fetch)
{
    fetch->transfer->fetch = NULL;
    cancel(fetch->transfer);
}

void mr_fetcher_close(struct mr_fetcher *f, void (*cb)(void *arg), void *arg)
{
    f->closed = cb;
    f->arg = arg;
    f->closing = true;
    for (struct mr_transfer *t = f->out; t; t = t->next)
        cancel(t);
    maybe_closed(f);
}
