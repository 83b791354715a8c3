/* SPDX-License-Identifier: Apache-2.0 */
/* reads.c - the reader of S3's XML, driven from outside: a document a line in base64, what was read of it out, as JSON. replies.py makes the documents. */
#include "net/s3_reply.h"

#include "millrace/hash.h"
#include "millrace/json.h"

#include <stdio.h>
#include <stdlib.h>

enum { LINE_BYTES = 8 << 20 };

static void put(struct mr_buf *out, const char *name, struct mr_str text)
{
    mr_buf_printf(out, "\"%s\":\"", name);
    mr_base64_put(out, text);
    mr_buf_puts(out, "\",");
}

static void on_item(void *arg, const struct s3_item *i)
{
    struct mr_buf *out = arg;
    mr_buf_puts(out, out->n && out->p[out->n - 1] == '}' ? ",{" : "{");
    put(out, "key", i->key);
    put(out, "etag", i->etag);
    put(out, "modified", i->modified);
    put(out, "storage_class", i->storage_class);
    put(out, "upload_id", i->upload_id);
    put(out, "initiated", i->initiated);
    mr_buf_printf(out, "\"size\":%lld,\"part\":%lld}", (long long)i->size, (long long)i->part);
}

static void answer(struct mr_str xml, struct mr_buf *out)
{
    struct s3_page page;
    struct s3_error error;
    struct mr_err err;
    char id[S3_UPLOAD_ID_MAX] = "", etag[S3_ETAG_MAX] = "";
    mr_buf_puts(out, "{\"items\":[");
    bool list = s3_read_list(xml, on_item, out, &page, &err) == MR_OK;
    mr_buf_printf(out, "],\"list\":%s,\"more\":%s,", list ? "true" : "false", list && page.more ? "true" : "false");
    put(out, "next", mr_str_c(page.next));
    put(out, "next_upload", mr_str_c(page.next_upload));
    mr_buf_printf(out, "\"error\":%s,", s3_read_error(xml, &error) ? "true" : "false");
    put(out, "code", mr_str_c(error.code));
    put(out, "message", mr_str_c(error.message));
    put(out, "region", mr_str_c(error.region));
    (void)!s3_read_upload(xml, id, &err);
    (void)!s3_read_completed(xml, etag, &err);
    int64_t days = -1;
    if (s3_read_lifecycle(xml, &days, &err) != MR_OK)
        days = -1;
    mr_buf_printf(out, "\"days\":%lld,", (long long)days);
    put(out, "id", mr_str_c(id));
    put(out, "completed", mr_str_c(etag));
    mr_buf_puts(out, "\"end\":0}\n");
}

/* `completion` E-TAG…: the body that completes an upload of these parts. */
static int completion(int count, char **etags)
{
    struct mr_buf out;
    mr_buf_init(&out, LINE_BYTES);
    s3_put_completion(&out, (const char *const *)etags, (size_t)count);
    fputs(mr_buf_cstr(&out), stdout);
    mr_buf_free(&out);
    return 0;
}

int main(int argc, char **argv)
{
    static char line[LINE_BYTES];
    static unsigned char xml[LINE_BYTES];
    struct mr_buf out;
    if (argc > 2 && strcmp(argv[1], "completion") == 0)
        return completion(argc - 2, argv + 2);
    mr_buf_init(&out, 8 * (size_t)LINE_BYTES);
    while (fgets(line, sizeof line, stdin)) {
        size_t n, line_n = strcspn(line, "\n");
        if (!mr_base64_get((struct mr_str){line, line_n}, false, xml, sizeof xml, &n))
            abort();
        mr_buf_clear(&out);
        answer((struct mr_str){(char *)xml, n}, &out);
        fputs(mr_buf_cstr(&out), stdout);
    }
    mr_buf_free(&out);
    return 0;
}
