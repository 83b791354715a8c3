/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.h - small things from the outside world, over https: a certificate that a signature names, a subscription to be
 * confirmed. The URL comes from a request, so it is dangerous: the caller has held it against a fixed host pattern, and
 * here only https is spoken, TLS is verified, no redirect followed, no proxy asked, and no address taken that is not
 * public, whatever a name resolves to; time and size are bounded.
 *
 * Nothing is kept here: who asks again, asks the world again. Runs on: loop. */
#ifndef MILLRACE_FETCH_H
#define MILLRACE_FETCH_H

#include "millrace/client.h"

enum { MR_FETCH_MAX = 64 * 1024, MR_FETCH_URL_MAX = 2048 }; /* bytes of a body, of a URL */

struct mr_fetch { /* the caller's memory until the callback, or until it is canceled */
    /* err->code MR_OK: `body` is what came with a 200, borrowed until this returns. Else MR_ENOENT (the host says that there
     * is no such thing there: a status of 3xx, or of 4xx that does not mean "later"), or as an exchange ends. */
    void (*done)(struct mr_fetch *fetch, const struct mr_err *err, struct mr_str body);
    struct mr_fetched *fetched; /* private */
};

/* fetch->done comes, exactly once and later. */
void mr_fetch(struct mr_client *client, struct mr_str url, struct mr_fetch *fetch);
void mr_fetch_cancel(struct mr_fetch *fetch); /* its done does not come any more */

#endif
