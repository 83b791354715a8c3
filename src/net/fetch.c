/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.c - the one place that knows libcurl.
 *
 * happy path    mr_fetch() makes or finds the URL's entry -> its job runs on MISC -> everybody who waits hears of it -> the
 *               entry stays for a while, as what came or as a failure
 * ways to fail  all are answers; a body that is larger, a status other than 200, an address that is not public end the
 *               transfer at once
 * on close      a flag ends what runs, the lane's queue is canceled with its owner; the last one that comes home frees
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
    ENTRIES_MAX = 32,
    CONNECT_MS = 4000,
    TOTAL_MS = 8000, /* SNS waits 15 s for the answer that waits for this */
    FAILED_MS = 30 * 1000,
    KEPT_MS = 24 * 3600 * 1000,
};

enum entry_state { ENTRY_FREE, ENTRY_OUT, ENTRY_TELLING /* those who waited */, ENTRY_KEPT, ENTRY_FAILED };
struct entry {
    struct mr_job job;
    struct mr_fetcher *fetcher;
    enum entry_state state;
    bool keep;
    uint64_t until_ms;
    char url[MR_FETCH_URL_MAX + 1];
    struct mr_buf body; /* OUT: the worker's */
    struct mr_err err;
    struct mr_fetch *waiting;
};

struct mr_fetcher {
    struct mr_loop *loop;
    atomic_bool closing;
    unsigned out;
    bool curl_is_up; /* the worker's: who never fetches anything does not pay for it */
    char *test_address, *test_ca; /* NULL: the world's */
    void (*closed)(void *arg);
    void *arg;
    struct entry entries[ENTRIES_MAX];
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
    for (size_t i = 0; i < ENTRIES_MAX; i++)
        mr_buf_free(&f->entries[i].body);
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
    atomic_init(&f->closing, false);
    for (size_t i = 0; i < ENTRIES_MAX; i++) {
        f->entries[i].fetcher = f;
        mr_buf_init(&f->entries[i].body, MR_FETCH_MAX);
    }
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
    struct entry *e = arg;
    (void)one;
    mr_buf_put(&e->body, bytes, n);
    return e->body.failed ? 0 : n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct entry *e = arg;
    (void)a, (void)b, (void)c, (void)d;
    return atomic_load(&e->fetcher->closing);
}

/* The address that is about to be connected to, not one that a name had a moment ago. */
static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    const struct entry *e = arg;
    (void)purpose;
    if (!e->fetcher->test_address && !mr_address_is_public(&address->addr))
        return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static bool set_up(CURL *curl, struct entry *e, char *why, struct curl_slist **to)
{
    const struct mr_fetcher *f = e->fetcher;
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
    SET(CURLOPT_WRITEDATA, (void *)e);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, (void *)e);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_socket);
    SET(CURLOPT_OPENSOCKETDATA, (void *)e);
    SET(CURLOPT_URL, e->url);
    if (f->test_address) {
        *to = curl_slist_append(NULL, f->test_address);
        SET(CURLOPT_CONNECT_TO, *to);
        SET(CURLOPT_CAINFO, f->test_ca);
    }
#undef SET
    return rc == CURLE_OK;
}

static void judge(struct entry *e, CURLcode rc, long status, const char *why)
{
    int host = (int)strcspn(e->url + sizeof "https://" - 1, "/?#"); /* the rest may be a token */
    const char *at = e->url + sizeof "https://" - 1;
    if (rc == CURLE_OK && status != 200)
        mr_err_set(&e->err, MR_ENET, "https://%.*s: status %ld", host, at, status);
    else if (rc == CURLE_FILESIZE_EXCEEDED || (rc == CURLE_WRITE_ERROR && e->body.failed))
        mr_err_set(&e->err, MR_ETOOBIG, "https://%.*s: more than %d bytes", host, at, MR_FETCH_MAX);
    else if (rc == CURLE_ABORTED_BY_CALLBACK)
        mr_err_set(&e->err, MR_ECANCELED, "stopping");
    else if (rc != CURLE_OK)
        mr_err_set(&e->err, rc == CURLE_OPERATION_TIMEDOUT ? MR_ETIMEDOUT : MR_ENET, "https://%.*s: %s", host, at,
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
    struct entry *e = MR_OF(job, struct entry, job);
    char why[CURL_ERROR_SIZE] = "";
    struct curl_slist *to = NULL;
    long status = 0;
    e->err = (struct mr_err){0};
    mr_buf_clear(&e->body);
    CURL *curl = curl_up(e->fetcher);
    if (!curl || !set_up(curl, e, why, &to)) {
        mr_err_set(&e->err, MR_ENOMEM, "libcurl cannot be set up");
    } else {
        CURLcode rc = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        judge(e, rc, status, why);
    }
    curl_slist_free_all(to);
    curl_easy_cleanup(curl);
}

/* ---- loop ---- */

static void maybe_closed(struct mr_fetcher *f)
{
    if (!atomic_load(&f->closing) || f->out)
        return;
    void (*closed)(void *) = f->closed;
    void *arg = f->arg;
    fetcher_free(f);
    closed(arg);
}

static void done(struct mr_job *job, bool canceled)
{
    struct entry *e = MR_OF(job, struct entry, job);
    struct mr_fetcher *f = e->fetcher;
    struct mr_fetch *waiting = e->waiting;
    if (canceled || atomic_load(&f->closing))
        mr_err_set(&e->err, MR_ECANCELED, "stopping");
    bool ok = e->err.code == MR_OK;
    e->waiting = NULL;
    e->state = ENTRY_TELLING;
    e->until_ms = mr_loop_now_ms(f->loop) + (ok ? KEPT_MS : FAILED_MS);
    struct mr_err err = e->err;
    for (struct mr_fetch *next; waiting; waiting = next) {
        next = waiting->next;
        waiting->done(waiting, &err, ok ? mr_buf_str(&e->body) : (struct mr_str){0});
    }
    e->state = !ok ? ENTRY_FAILED : e->keep ? ENTRY_KEPT : ENTRY_FREE;
    if (e->state != ENTRY_KEPT)
        mr_buf_free(&e->body);
    f->out--;
    maybe_closed(f);
}

static bool is_url(const struct entry *e, struct mr_str url)
{
    return e->state != ENTRY_FREE && mr_str_eq(mr_str_c(e->url), url);
}

/* The URL's own entry, or one that nothing is known of any more; NULL: all are taken. */
static struct entry *find(struct mr_fetcher *f, struct mr_str url)
{
    uint64_t now_ms = mr_loop_now_ms(f->loop);
    struct entry *unused = NULL;
    for (size_t i = 0; i < ENTRIES_MAX; i++) {
        struct entry *e = &f->entries[i];
        if ((e->state == ENTRY_KEPT || e->state == ENTRY_FAILED) && e->until_ms <= now_ms)
            e->state = ENTRY_FREE;
        if (is_url(e, url))
            return e;
        if (e->state == ENTRY_FREE)
            unused = e;
    }
    return unused;
}

bool mr_fetch_kept(struct mr_fetcher *f, struct mr_str url, struct mr_str *body)
{
    const struct entry *e = find(f, url);
    bool telling = e && e->state == ENTRY_TELLING && e->keep && e->err.code == MR_OK;
    if (!telling && (!e || e->state != ENTRY_KEPT))
        return false;
    *body = mr_buf_str(&e->body);
    return true;
}

enum mr_code mr_fetch(struct mr_fetcher *f, struct mr_str url, bool keep, struct mr_fetch *fetch, struct mr_err *err)
{
    assert(!atomic_load(&f->closing));
    if (url.n > MR_FETCH_URL_MAX || url.n < sizeof "https://" || memcmp(url.p, "https://", 8) != 0 ||
        memchr(url.p, 0, url.n))
        return mr_err_set(err, MR_ETOOBIG, "no https URL of at most %d bytes", MR_FETCH_URL_MAX);
    struct entry *e = find(f, url);
    if (!e)
        return mr_err_set(err, MR_EBUSY, "%d URLs are being fetched or failed lately", ENTRIES_MAX);
    if (e->state == ENTRY_TELLING && e->err.code == MR_OK)
        return mr_err_set(err, MR_EBUSY, "it came a moment ago");
    if (e->state == ENTRY_FAILED || e->state == ENTRY_TELLING)
        return mr_err_set(err, MR_ENET, "failed a moment ago: %s", e->err.msg);
    fetch->next = e->state == ENTRY_OUT ? e->waiting : NULL;
    e->waiting = fetch;
    if (e->state == ENTRY_OUT)
        return MR_OK;
    e->state = ENTRY_OUT;
    e->keep = keep;
    memcpy(e->url, url.p, url.n);
    e->url[url.n] = 0;
    e->job = (struct mr_job){.run = run, .done = done};
    f->out++;
    mr_worker_submit(f->loop->workers, MR_LANE_MISC, &e->job);
    return MR_OK;
}

void mr_fetcher_close(struct mr_fetcher *f, void (*cb)(void *arg), void *arg)
{
    f->closed = cb;
    f->arg = arg;
    atomic_store(&f->closing, true);
    for (size_t i = 0; i < ENTRIES_MAX; i++)
        if (f->entries[i].state == ENTRY_OUT)
            mr_worker_cancel(f->loop->workers, &f->entries[i].job);
    maybe_closed(f);
}
