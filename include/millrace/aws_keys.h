/* SPDX-License-Identifier: Apache-2.0 */
/* aws_keys.h - where AWS's keys come from, as its SDKs look for them (https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html): given; of the
 * environment; for a web identity; of the container's endpoint; of the instance's. Keys that end are renewed ahead of it, by one request however many wait.
 *
 * Runs on: loop. */
#ifndef MILLRACE_AWS_KEYS_H
#define MILLRACE_AWS_KEYS_H

#include "millrace/client.h"
#include "millrace/sigv4.h"

struct mr_aws_keys;
struct mr_aws_keys_options { /* copied */
    struct mr_sigv4_keys given;              /* empty: to be looked for */
    struct mr_str region;                    /* whose token service is asked */
    const char *(*env)(const char *name);    /* NULL: getenv */
    const char *instance, *token_service;    /* base URLs; NULL: AWS's own. For tests */
};
/* MR_ECONFIG: half a pair, or an endpoint that may not be asked. */
MR_MUST enum mr_code mr_aws_keys_new(struct mr_loop *loop, struct mr_client *client, const struct mr_aws_keys_options *options, struct mr_aws_keys **out, struct mr_err *err);
/* Nobody may wait any more; not from a waiter's callback. Frees it, now or when what is out has come home; before the client is closed. */
void mr_aws_keys_close(struct mr_aws_keys *k);

struct mr_aws_waiter { /* the caller's until `done`, or until it is canceled */
    /* err->code MR_OK: keys, borrowed until this returns. At once if they are at hand. */
    void (*done)(struct mr_aws_waiter *w, const struct mr_err *err, const struct mr_sigv4_keys *keys);
    struct mr_aws_waiter *next; /* private */
};
void mr_aws_keys_get(struct mr_aws_keys *k, struct mr_aws_waiter *w);
void mr_aws_keys_cancel(struct mr_aws_keys *k, struct mr_aws_waiter *w);
/* Those at hand are no good any more, the other side says. false: there are no others to be had. */
bool mr_aws_keys_renew(struct mr_aws_keys *k);

#endif
