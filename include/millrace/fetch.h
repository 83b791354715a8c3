/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.h - small things from the outside world, over https: a certificate that a signature names, a subscription to be
 * confirmed. The URL comes from a request, so it is dangerous: the caller has held it against a fixed host pattern, and
 * here only https is spoken, TLS is verified, no redirect followed, no proxy asked, and no address taken that is not
 * public, whatever a name resolves to; time and size are bounded.
 *
 * One transfer a URL at a time, all on the lane MISC; what came is kept for a day, what failed is not tried again for half
 * a minute, and there are only so many URLs. Runs on: loop. */
#ifndef MILLRACE_FETCH_H
#define MILLRACE_FETCH_H

#include "millrace/buf.h"
#include "millrace/loop.h"

enum { MR_FETCH_MAX = 64 * 1024, MR_FETCH_URL_MAX = 2048 }; /* bytes of a body, of a URL */

struct mr_fetcher;
struct mr_fetch { /* the caller's memory until the callback */
    /* err->code MR_OK: `body` is what came with a 200, borrowed until this returns. Else MR_ENET, MR_ETIMEDOUT, MR_ETOOBIG, MR_ECANCELED. */
    void (*done)(struct mr_fetch *fetch, const struct mr_err *err, struct mr_str body);
    struct mr_fetch *next; /* private */
};

MR_MUST enum mr_code mr_fetcher_new(struct mr_loop *loop, struct mr_fetcher **out, struct mr_err *err);
/* Whoever waits hears MR_ECANCELED; a transfer that runs ends within a second or so; then cb, and it is freed. */
void mr_fetcher_close(struct mr_fetcher *f, void (*cb)(void *arg), void *arg);
/* What is kept of this URL; borrowed until the loop turns. */
bool mr_fetch_kept(struct mr_fetcher *f, struct mr_str url, struct mr_str *body);
/* MR_OK: fetch->done comes, exactly once and later. Else at once, and it does not: MR_EBUSY (too many URLs), MR_ENET (it
 * failed a moment ago), MR_ETOOBIG (the URL). `keep`: the body is kept for who comes next; without it each call is a
 * request of its own, unless one is out. */
MR_MUST enum mr_code mr_fetch(struct mr_fetcher *f, struct mr_str url, bool keep, struct mr_fetch *fetch, struct mr_err *err);

struct sockaddr;
/* Neither ourselves, nor a private network, nor anything reserved. Pure. */
bool mr_address_is_public(const struct sockaddr *address);

#endif
