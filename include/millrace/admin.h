/* SPDX-License-Identifier: Apache-2.0 */
/* admin.h - the admin listener: the status page at /, /metrics, /healthz, /readyz, /api/status. It shows a snapshot that app fills and knows nothing else. */
#ifndef MILLRACE_ADMIN_H
#define MILLRACE_ADMIN_H

#include "millrace/buf.h"
#include "millrace/loop.h"

struct mr_admin_options {
    struct mr_loop *loop;
    const char *listen;                              /* "127.0.0.1:9464" */
    bool (*ready)(void *arg, struct mr_buf *why);    /* false: /readyz is 503 and says why */
    void (*status)(void *arg, struct mr_buf *json);  /* one JSON object */
    void (*refresh)(void *arg);                      /* sets gauges that are only looked at when asked for */
    void *arg;
};
struct mr_admin;
MR_MUST enum mr_code mr_admin_listen(const struct mr_admin_options *options, struct mr_admin **out, struct mr_err *err);
int mr_admin_port(const struct mr_admin *a);
void mr_admin_close(struct mr_admin *a, void (*cb)(void *arg), void *arg); /* then freed */

#endif
