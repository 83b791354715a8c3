/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.h - small things from the outside world, over https: a certificate that a signature names, a subscription to be
 * confirmed. The URL comes from a request, so it is dangerous: the caller has held it against a fixed host pattern, and
 * here only https is spoken, TLS is verified, no redirect followed, no proxy asked, and no address taken that is not
 * public, whatever a name resolves to; time and size are bounded.
 *
 * All run on the lane MISC, and nothing is kept here: who asks again, asks the world again. Runs on: loop. */
#ifndef MILLRACE_FETCH_H
#define MILLRACE_FETCH_H

#include "millrace/buf.h"
#include "millrace/loop.h"

enum { MR_FETCH_MAX = 64 * 1024, MR_FETCH_URL_MAX = 2048, MR_FETCHES_MAX = 32 }; /* bytes of a body, of a URL; transfers at once */

struct mr_fetcher;
struct mr_fetch { /* the caller's memory until the callback, or until it is canceled */
    /* err->code MR_OK: `body` is what came with a 200, borrowed until this returns. Else MR_ENOENT (the host says that there
     * is no such thing there: a status of 3xx, or of 4xx that does not mean "later"), MR_ETOOBIG, MR_ENET, MR_ETIMEDOUT, MR_ENOMEM, MR_ECANCELED. */
    void (*done)(struct mr_fetch *fetch, const struct mr_err *err, struct mr_str body);
    struct mr_transfer *transfer; /* private */
};

MR_MUST enum mr_code mr_fetcher_new(struct mr_loop *loop, struct mr_fetcher **out, struct mr_err *err);
/* Whoever waits hears MR_ECANCELED; a transfer that runs ends within a second or so; then cb, and it is freed. */
void mr_fetcher_close(struct mr_fetcher *f, void (*cb)(void *arg), void *arg);
/* MR_OK: fetch->done comes, exactly once and later. Else at once, and it does not: MR_EBUSY (MR_FETCHES_MAX are out),
 * MR_ETOOBIG (no https URL of that size), MR_ENOMEM. */
MR_MUST enum mr_code mr_fetch(struct mr_fetcher *f, struct mr_str url, struct mr_fetch *fetch, struct mr_err *err);
void mr_fetch_cancel(struct mr_fetch *fetch); /* its done does not come any more */

struct sockaddr;
/* Neither ourselves, nor a private network, nor anything reserved. Pure. */
bool mr_address_is_public(const struct sockaddr *address);

#endif
