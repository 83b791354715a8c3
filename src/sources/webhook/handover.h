/* SPDX-License-Identifier: Apache-2.0 */
/* handover.h - secrets that a vendor hands over in its first request: durable before the answer, then secrets of the
 * source like those of the config.
 *
 * They lie in `<data_dir>/handshakes/<source>`, mode 0600, one a line, oldest first. A stranger who comes later finds
 * the count used up; the vendor's own repeat (its answer got lost) brings a secret that is known, and is answered again.
 * Runs on: loop; the file is read and written on a worker. */
#ifndef MR_WEBHOOK_HANDOVER_H
#define MR_WEBHOOK_HANDOVER_H

#include "millrace/option.h"
#include "millrace/worker.h"

struct handover;
typedef void (*handover_cb)(void *arg, const struct mr_err *err);

struct handover *handover_new(const char *data_dir, const char *source, struct mr_workers *workers);
void handover_free(struct handover *h); /* when it is not busy */
/* Reads what is kept; a file that is not there is none. cb exactly once, later. */
void handover_load(struct handover *h, handover_cb cb, void *arg);
/* `secret` is in the right form. MR_EEXIST: known already, and durable. MR_EBUSY: another is being kept. MR_EPERM: `most` are
 * kept. Else MR_OK: cb once it is durable, or could not be made so. */
MR_MUST enum mr_code handover_keep(struct handover *h, struct mr_str secret, size_t most, handover_cb cb, void *arg);
bool handover_busy(const struct handover *h);
struct mr_str handover_last(const struct handover *h);            /* of the keep that calls back */
const struct mr_secrets *handover_secrets(const struct handover *h); /* until the next keep */

#endif
