/* SPDX-License-Identifier: Apache-2.0 */
/* trust.h - the system's CAs, read once on a worker and shared by all connections: libcurl would read them on the loop, which takes some 30 ms
 * for a common bundle. Runs on: loop. */
#ifndef MR_NET_TRUST_H
#define MR_NET_TRUST_H

#include "millrace/loop.h"

struct trust;
/* changed: it is ready, or cannot be. NULL: no memory. */
struct trust *trust_new(struct mr_loop *loop, const char *bundle /* NULL: none is known */, void (*changed)(void *arg), void *arg);
void trust_free(struct trust *t); /* not while it is busy; NULL is harmless */
enum trust_state { TRUST_READING, TRUST_READY, TRUST_NONE };
enum trust_state trust_state(struct trust *t); /* the first call starts the reading */
bool trust_busy(const struct trust *t);
void trust_use(struct trust *t, void *ssl_ctx); /* READY: an SSL_CTX of OpenSSL's takes it */

#endif
