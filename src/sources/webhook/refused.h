/* SPDX-License-Identifier: Apache-2.0 */
/* refused.h - refused requests are kept for a person, and for a replay: <data_dir>/quarantine/<source>/refused-….json.
 *
 * The loop copies a request and hands it to lane MISC, where it is written. Nothing here may cost an honest request: what
 * waits is bounded by a share of the memory budget, what lies on disk by bytes and files of each source (the oldest
 * refused ones go first; conflicts and damaged bytes in the same folder are never counted and never go), what comes by a
 * rate. Whatever does not fit is dropped and counted. Files are not synced: the sender was told no and still has its event,
 * and a sync would stand in the way of those of the queue. A file appears under its name when it is whole. */
#ifndef MR_WEBHOOK_REFUSED_H
#define MR_WEBHOOK_REFUSED_H

#include "scheme.h"

#include "millrace/door.h"

enum refused_mode { REFUSED_OFF, REFUSED_SAMPLED, REFUSED_FULL };
struct refused_options { /* below `quarantine` */
    int keep;            /* enum refused_mode */
    int64_t limit, files;
};
extern const struct mr_option refused_rows[];

struct keeper;  /* of a process: one job at a time */
struct refused; /* of a source; lives as long as the keeper, so that a reload finds its counts again */

struct keeper *keeper_new(const struct mr_core *core);
/* Writes what waits, then cb, then freed. */
void keeper_stop(struct keeper *k, void (*cb)(void *arg), void *arg);
/* By name; made if it is new. `options` are taken over: they outlive their use. Looks at what lies there. */
struct refused *keeper_source(struct keeper *k, const char *source, const struct refused_options *options);

struct refused_request {
    const struct mr_http_head *head;
    struct mr_str body; /* as it came */
    int64_t received_us;
    enum mr_cause cause;
    const char *reason;
    bool (*masked)(void *arg, const struct mr_header *header); /* whose values are secrets */
    void *arg;
};
/* Copies what it needs, or counts why not. Runs on: loop. */
void refused_keep(struct refused *r, const struct refused_request *request);
void refused_status(const struct refused *r, struct mr_buf *json); /* a member of a JSON object, with a leading comma */

#endif
