/* SPDX-License-Identifier: Apache-2.0 */
/* certs.h - what the listener says TLS with: its options, read at the start and anew at each reload, and looked after for their end. */
#ifndef MR_WEBHOOK_CERTS_H
#define MR_WEBHOOK_CERTS_H

#include "millrace/http.h"
#include "millrace/option.h"

struct certs_pair {
    char *cert, *key;
};
struct certs_options { /* below http.tls */
    char *cert, *key, *client_ca;
    int client_auth;
    struct mr_list more; /* of certs_pair */
};
extern const struct mr_option certs_rows[];

/* Can they be read, and do they fit? Blocks. */
MR_MUST enum mr_code certs_read(const struct certs_options *o, struct mr_tls **out, struct mr_err *err);

struct certs;
struct certs *certs_new(struct mr_loop *loop);
/* The first ones, at the start: those of `o`, or none at all (NULL). Blocks. */
MR_MUST enum mr_code certs_open(struct certs *c, const struct certs_options *o, struct mr_err *err);
struct mr_tls *certs_tls(const struct certs *c); /* NULL: plain HTTP. Lent until the next change */
/* On a worker; the server gets them for the connections to come. What cannot be read leaves the old ones in use, with an alert. */
void certs_reload(struct certs *c, const struct certs_options *o, struct mr_http_server **server /* NULL once it is gone */);
void certs_look(struct certs *c, int64_t now_us); /* often; works once a minute */
void certs_stop(struct certs *c, void (*cb)(void *arg), void *arg); /* then freed; the server must be gone */

#endif
