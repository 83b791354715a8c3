/* SPDX-License-Identifier: Apache-2.0 */
/* s3_reply.c - any bytes as an answer of S3: read or refused, with a reason, and never an item with more than may be. */
#include "net/s3_verdict.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    abort();
}

static void on_item(void *arg, const struct s3_item *item)
{
    (void)arg;
    if (item->key.n >= S3_TEXT_MAX || item->upload_id.n >= S3_UPLOAD_ID_MAX || item->etag.n >= S3_ETAG_MAX || item->size < -1 || item->part < -1)
        fail("an item with more than may be");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *copy = malloc(n ? n : 1);
    struct s3_page page;
    struct s3_error error;
    struct mr_err err = {.code = MR_OK};
    char id[S3_UPLOAD_ID_MAX], etag[S3_ETAG_MAX];
    if (!copy)
        return 0;
    memcpy(copy, bytes, n);
    struct mr_str xml = {copy, n};
    if (s3_read_list(xml, on_item, NULL, &page, &err) != MR_OK && !err.msg[0])
        fail("refused without a reason");
    if (s3_read_upload(xml, id, &err) == MR_OK && !*id)
        fail("an upload without an id");
    if (s3_read_completed(xml, etag, &err) == MR_OK && !*etag)
        fail("a completion without an ETag");
    int64_t days = 0;
    if (s3_read_lifecycle(xml, &days, &err) == MR_OK && days < 0)
        fail("a rule of less than no days");
    bool told = s3_read_error(xml, &error);
    if (s3_judge(&(struct s3_answer){.cause = MR_CLIENT_OK, .status = 200, .body = xml}, &error) == S3_DONE && told)
        fail("an error that is taken for success");
    free(copy);
    return 0;
}
