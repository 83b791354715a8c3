/* SPDX-License-Identifier: Apache-2.0 */
/* try.c - `millrace check`: what landing will need of the bucket, tried with an upload that is never completed, so that nothing appears. */
#include "inside.h"

#include "millrace/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ABORT_DAYS = 7, CLOCK_APART_S = 60 };

struct trying {
    struct s3 *s3;
    mr_zone_say say;
    void *arg;
    char path[64], id[S3_UPLOAD_ID_MAX];
};

static void say(const struct trying *t, enum mr_zone_level level, const char *text)
{
    t->say(t->arg, level, text);
}

static bool told(const struct trying *t, enum mr_code code, const struct mr_err *err, const char *right)
{
    char text[1024];
    if (code == MR_OK)
        return false;
    snprintf(text, sizeof text, "%s%s%s", err->msg, code == MR_EPERM ? "; the keys need " : "", code == MR_EPERM ? right : "");
    say(t, MR_ZONE_FAIL, text);
    return true;
}

static void on_any(void *arg, const struct s3_item *item)
{
    (void)arg;
    (void)item;
}

static bool try_reading(struct trying *t, struct mr_err *err)
{
    enum mr_code code = s3_list(t->s3, (struct mr_header){MR_STR("list-type"), MR_STR("2")}, "source=", 1, on_any, NULL, err);
    if (told(t, code, err, "s3:ListBucket"))
        return false;
    struct s3_call c = {.r = {.method = MR_STR("GET"), .key = MR_STR(S3_ID_FILE)}};
    code = s3_ask(t->s3, &c, "read", err);
    int64_t apart_us = c.date_us ? c.date_us - (int64_t)time(NULL) * 1000000 : 0;
    s3_done(&c);
    if (told(t, code == MR_ENOENT ? MR_OK : code, err, "s3:GetObject"))
        return false;
    if (apart_us > CLOCK_APART_S * INT64_C(1000000) || apart_us < -CLOCK_APART_S * INT64_C(1000000)) {
        char text[256];
        snprintf(text, sizeof text, "this machine's clock and the store's are %lld s apart; requests are signed by the store's, days of the zone are not: set the clock", (long long)(apart_us / 1000000));
        say(t, MR_ZONE_WARN, text);
    }
    return true;
}

static bool try_begin(struct trying *t, struct mr_err *err)
{
    const struct mr_header query[] = {{MR_STR("uploads"), MR_STR("")}};
    struct s3_call c = {.r = {.method = MR_STR("POST"), .key = mr_str_c(t->path), .query = query, .query_count = 1}};
    enum mr_code code = s3_ask(t->s3, &c, "begin upload", err);
    if (code == MR_OK)
        code = s3_read_upload(mr_buf_str(&c.body), t->id, err);
    s3_done(&c);
    return !told(t, code, err, "s3:PutObject");
}

static bool try_part(struct trying *t, struct mr_err *err)
{
    const struct mr_header query[] = {{MR_STR("partNumber"), MR_STR("1")}, {MR_STR("uploadId"), mr_str_c(t->id)}};
    struct s3_call c = {.r = {.method = MR_STR("PUT"), .key = mr_str_c(t->path), .query = query, .query_count = 2, .body = MR_STR("millrace check")}};
    enum mr_code code = s3_ask(t->s3, &c, "send part of", err);
    s3_done(&c);
    return !told(t, code, err, "s3:PutObject");
}

/* Whoever comes after a process that died finds what it had begun by this. */
static bool try_listing_uploads(struct trying *t, struct mr_err *err)
{
    enum mr_code code = s3_list(t->s3, (struct mr_header){MR_STR("uploads"), MR_STR("")}, t->path, 0, on_any, NULL, err);
    return !told(t, code, err, "s3:ListBucketMultipartUploads");
}

static bool try_lifecycle(struct trying *t, struct mr_err *err)
{
    const struct mr_header query[] = {{MR_STR("lifecycle"), MR_STR("")}};
    struct s3_call c = {.r = {.method = MR_STR("GET"), .query = query, .query_count = 1}};
    int64_t days = 0;
    char text[512];
    enum mr_code code = s3_ask(t->s3, &c, "look at the lifecycle of", err);
    if (code == MR_OK)
        code = s3_read_lifecycle(mr_buf_str(&c.body), &days, err);
    s3_done(&c);
    if (code != MR_OK && code != MR_ENOENT)
        say(t, MR_ZONE_WARN, "its lifecycle rules cannot be looked at (s3:GetLifecycleConfiguration): see that none aborts incomplete uploads within 7 days");
    if (days == 0 || days > ABORT_DAYS)
        return true;
    snprintf(text, sizeof text, "a lifecycle rule aborts incomplete uploads after %lld days: what is decided and cannot be published for as long would be lost; let it be more than %d",
             (long long)days, ABORT_DAYS);
    say(t, MR_ZONE_WARN, text);
    return true;
}

void s3_try(struct mr_zone *z, mr_zone_say say_to, void *arg)
{
    struct trying t = {.s3 = s3_of(z), .say = say_to, .arg = arg};
    unsigned char r[8];
    struct mr_buf hex;
    struct mr_err err = {.code = MR_OK};
    mr_random(r, sizeof r);
    mr_buf_init(&hex, 32);
    mr_hex_put(&hex, (const char *)r, sizeof r);
    snprintf(t.path, sizeof t.path, "_millrace/check-%s", mr_buf_cstr(&hex));
    mr_buf_free(&hex);
    if (!try_reading(&t, &err))
        return;
    bool ok = try_begin(&t, &err) && try_part(&t, &err) && try_listing_uploads(&t, &err);
    enum mr_code code = s3_abort_all(t.s3, t.path, &err); /* by its key: it may have been begun though we were not told, or twice */
    ok = ok && !told(&t, code, &err, "s3:AbortMultipartUpload");
    if (ok && try_lifecycle(&t, &err))
        say(&t, MR_ZONE_OK, "the bucket can be listed, read and written, uploads can be begun, found and aborted");
}
