/* SPDX-License-Identifier: Apache-2.0 */
/* quarantine.h - bytes that do not land but must not be lost: <data_dir>/quarantine/<source>/<name>. */
#ifndef MR_WEBHOOK_QUARANTINE_H
#define MR_WEBHOOK_QUARANTINE_H

#include "millrace/err.h"
#include "millrace/str.h"

/* Keeps `bytes` durably under that name; the same name again is the same event again and replaces it. Blocks: Runs on:
 * worker. */
MR_MUST enum mr_code mr_quarantine_put(const char *data_dir, struct mr_str source, const char *name,
                                       struct mr_str bytes, struct mr_err *err);

#endif
