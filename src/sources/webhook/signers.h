/* SPDX-License-Identifier: Apache-2.0 */
/* signers.h - the certificates that the requests of one source say they are signed by.
 *
 * A request names a URL, and anybody can send one, so nothing here may be used up by strangers: a URL has passed the
 * scheme's pattern; a source has places of its own, and a certificate by which a signature held gives its place to nobody
 * who has not proved as much; fetches have a rate. What came is kept only if it is a certificate with a key of the
 * kind that counts; it is used for a week, and asked for again after a day, while it goes on serving. What is
 * not there is known for a minute, what could not be reached for half a one. Runs on: loop. */
#ifndef MR_WEBHOOK_SIGNERS_H
#define MR_WEBHOOK_SIGNERS_H

#include "millrace/fetch.h"
#include "millrace/log.h"

struct signers;
/* check: is it what is wanted? */
struct signers *signers_new(struct mr_client *client, struct mr_loop *loop, const char *source, bool (*check)(struct mr_str body, const char **why)); /* NULL: no memory */
void signers_free(struct signers *s); /* NULL is harmless; what is out is canceled */

enum signer_state { SIGNER_HERE, SIGNER_ON_ITS_WAY /* or cannot be reached: the sender may come again */, SIGNER_NOT_THERE };
struct signer {
    struct mr_str pem;  /* HERE: borrowed until the loop turns */
    const char *reason; /* NOT_THERE: as long */
};
enum signer_state signers_find(struct signers *s, struct mr_str url, struct signer *out);
/* What is here lacks a key that a request names: newer ones are asked for, unless they came a moment ago. false: they did, so there is no such key. */
bool signers_refresh(struct signers *s, struct mr_str url);
void signers_proved(struct signers *s, struct mr_str url); /* a signature held by it */

#endif
