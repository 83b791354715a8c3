/* SPDX-License-Identifier: Apache-2.0 */
/* signers.c - see signers.h. A place is UNKNOWN -> (fetch) -> HERE, NOT_THERE or UNREACHED; a place that is HERE stays so while it
 * is fetched again. */
#include "signers.h"

#include "rate.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    PLACES = 16,
    FETCHES = 4, /* at once */
    PEM_MAX = 16 * 1024,
    FRESH_MS = 24 * 3600 * 1000,
    USABLE_MS = 7 * FRESH_MS,
    NOT_THERE_MS = 60 * 1000,
    UNREACHED_MS = 30 * 1000,
    YOUNG_MS = 5 * 60 * 1000, /* keys that are not in a document so young do not exist */
};
static const struct rate_options pace = {.per_second = 1, .burst = 8};

enum what { UNKNOWN, HERE, NOT_THERE, UNREACHED };
struct place {
    struct mr_fetch fetch;
    struct signers *of;
    enum what what;
    bool out, proved;
    uint64_t came_ms, used_ms, again_ms /* not asked for before */, ends_ms;
    struct mr_buf pem;
    char reason[600];
    char url[MR_FETCH_URL_MAX + 1];
};

struct signers {
    struct mr_client *client;
    struct mr_loop *loop;
    const char *source;
    bool (*check)(struct mr_str body, const char **why);
    struct bucket bucket;
    unsigned out;
    struct place places[PLACES];
};

struct signers *signers_new(struct mr_client *client, struct mr_loop *loop, const char *source, bool (*check)(struct mr_str body, const char **why))
{
    struct signers *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    *s = (struct signers){.client = client, .loop = loop, .source = source, .check = check};
    for (size_t i = 0; i < PLACES; i++) {
        s->places[i].of = s;
        mr_buf_init(&s->places[i].pem, PEM_MAX);
    }
    return s;
}

void signers_free(struct signers *s)
{
    for (size_t i = 0; s && i < PLACES; i++) {
        if (s->places[i].out)
            mr_fetch_cancel(&s->places[i].fetch);
        mr_buf_free(&s->places[i].pem);
    }
    free(s);
}

static void vacate(struct place *p)
{
    mr_buf_free(&p->pem);
    p->what = UNKNOWN;
    p->proved = false;
    p->url[0] = 0;
}

static void is_not_there(struct place *p, uint64_t now_ms, const char *why)
{
    mr_buf_free(&p->pem);
    p->what = NOT_THERE;
    p->proved = false;
    p->again_ms = p->ends_ms = now_ms + NOT_THERE_MS;
    snprintf(p->reason, sizeof p->reason, "the certificate that it names: %s", why);
}

static void came(struct place *p, uint64_t now_ms, struct mr_str body)
{
    const char *why;
    if (body.n > PEM_MAX || !p->of->check(body, &why)) {
        is_not_there(p, now_ms, body.n > PEM_MAX ? "larger than any" : why);
        return;
    }
    mr_buf_clear(&p->pem);
    mr_buf_put(&p->pem, body.p, body.n);
    p->what = HERE;
    p->came_ms = now_ms;
    p->again_ms = now_ms + FRESH_MS;
    p->ends_ms = now_ms + USABLE_MS;
}

static void on_fetched(struct mr_fetch *fetch, const struct mr_err *err, struct mr_str body)
{
    struct place *p = MR_OF(fetch, struct place, fetch);
    struct signers *s = p->of;
    uint64_t now_ms = mr_loop_now_ms(s->loop);
    p->out = false;
    s->out--;
    if (err->code == MR_OK) {
        came(p, now_ms, body);
    } else if (err->code == MR_ENOENT || err->code == MR_ETOOBIG) {
        is_not_there(p, now_ms, err->msg);
    } else {
        p->again_ms = now_ms + UNREACHED_MS;
        if (p->what != HERE) {
            p->what = UNREACHED;
            p->ends_ms = p->again_ms;
        }
    }
    if (err->code != MR_OK || p->what == NOT_THERE)
        mr_log_warn(s->loop->log, s->source, "certificate_not_fetched", MR_S("why", err->code == MR_OK ? p->reason : err->msg));
}

static void fetch(struct place *p, uint64_t now_ms)
{
    struct signers *s = p->of;
    if (p->out || s->out == FETCHES || now_ms < p->again_ms || bucket_take(&s->bucket, &pace, (int64_t)now_ms * 1000) > 0)
        return;
    p->fetch = (struct mr_fetch){.done = on_fetched};
    p->out = true;
    s->out++;
    mr_fetch(s->client, mr_str_c(p->url), &p->fetch);
}

/* How little is lost with it: what is not known, what is not there, what nobody proved, what served longest ago. */
static unsigned worth(const struct place *p)
{
    return p->what != HERE ? p->what != UNKNOWN : p->proved ? 3 : 2;
}

static struct place *place_of(struct signers *s, struct mr_str url, uint64_t now_ms)
{
    struct place *least = NULL;
    for (size_t i = 0; i < PLACES; i++) {
        struct place *p = &s->places[i];
        if (!p->out && p->what != UNKNOWN && p->ends_ms <= now_ms)
            vacate(p);
        if (mr_str_eq(mr_str_c(p->url), url))
            return p;
        if (!p->out && (!least || worth(p) < worth(least) || (worth(p) == worth(least) && p->used_ms < least->used_ms)))
            least = p;
    }
    if (!least || worth(least) == 3)
        return NULL;
    vacate(least);
    memcpy(least->url, url.p, url.n);
    least->url[url.n] = 0;
    least->again_ms = 0;
    return least;
}

enum signer_state signers_find(struct signers *s, struct mr_str url, struct signer *out)
{
    uint64_t now_ms = mr_loop_now_ms(s->loop);
    *out = (struct signer){.reason = "the certificate that it names: a URL longer than any"};
    if (url.n > MR_FETCH_URL_MAX)
        return SIGNER_NOT_THERE;
    struct place *p = place_of(s, url, now_ms);
    if (!p)
        return SIGNER_ON_ITS_WAY;
    p->used_ms = now_ms;
    fetch(p, now_ms);
    out->pem = mr_buf_str(&p->pem);
    out->reason = p->reason;
    return p->what == HERE ? SIGNER_HERE : p->what == NOT_THERE ? SIGNER_NOT_THERE : SIGNER_ON_ITS_WAY;
}

bool signers_refresh(struct signers *s, struct mr_str url)
{
    uint64_t now_ms = mr_loop_now_ms(s->loop);
    for (size_t i = 0; i < PLACES; i++) {
        struct place *p = &s->places[i];
        if (p->what != HERE || !mr_str_eq(mr_str_c(p->url), url))
            continue;
        if (!p->out && now_ms - p->came_ms >= YOUNG_MS) {
            p->again_ms = now_ms;
            fetch(p, now_ms);
        }
        return p->out;
    }
    return false;
}

void signers_proved(struct signers *s, struct mr_str url)
{
    for (size_t i = 0; i < PLACES; i++)
        if (mr_str_eq(mr_str_c(s->places[i].url), url))
            s->places[i].proved = true;
}
