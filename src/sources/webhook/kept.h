/* SPDX-License-Identifier: Apache-2.0 */
/* kept.h - a refused request as one JSON file: what `millrace explain` reads, and why it was refused.
 *
 *   {"received_at": RFC 3339, "cause", "reason", "remote", "method", "path": with the query, "headers": [[name, value], …],
 *    "body_base64"}
 *
 * The members before the body come first, so that the top of the file tells a person what it is. Header values that are
 * no UTF-8 lose those bytes; the body keeps all of its own. Pure. */
#ifndef MR_WEBHOOK_KEPT_H
#define MR_WEBHOOK_KEPT_H

#include "event.h"

struct kept_request {
    int64_t received_us;
    struct mr_str cause, reason, remote, method;
    struct mr_str path, query;
    const struct mr_header *headers;
    size_t headers_count;
    struct mr_str body;
};

/* Everything up to the body's base64; the writer then appends that (in pieces of a multiple of three bytes) and
 * kept_tail. */
void kept_put_head(struct mr_buf *out, const struct kept_request *request);
#define KEPT_TAIL "\"}\n"

/* Decodes into `text`, which all slices but the headers' array borrow; headers: MR_EVENT_HEADERS_MAX. MR_EMALFORMED: not
 * such a file. */
MR_MUST enum mr_code kept_get(struct mr_str json, struct mr_header *headers, struct mr_buf *text,
                              struct kept_request *out, struct mr_err *err);

/* File names: "refused-20261123T025410.123456Z-signature-9f3c21aa.json", so that their order is that of time. */
enum { KEPT_NAME_MAX = 96 };
#define KEPT_REFUSED "refused-"   /* waits for a person, or a replay */
#define KEPT_REPLAYED "replayed-" /* has landed; the first to go when room is needed */
void kept_name(int64_t received_us, const char *cause, uint32_t random, char out[KEPT_NAME_MAX]);
/* The time in a name of either kind; false: it is no kept request. */
bool kept_name_parse(const char *name, int64_t *received_us, bool *replayed);

#endif
