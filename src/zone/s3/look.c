/* SPDX-License-Identifier: Apache-2.0 */
/* look.c - what a bucket says about itself, and what is written once: whose zone it is, how far it had come, which days are sealed, whether files hold what was
 * decided. What cannot be read is never taken for what is not there. */
#include "inside.h"

#include "millrace/fault.h"
#include "millrace/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SMALL_MAX = 64 << 10, PIECE = 8 << 20, KEY_MAX = 1100 /* S3: 1024 bytes */ };

static enum mr_code put(struct s3 *s, const char *path, struct mr_str body, const char *type, bool once, struct mr_err *err)
{
    const struct mr_header headers[] = {{MR_STR("Content-Type"), mr_str_c(type)}, {MR_STR("If-None-Match"), MR_STR("*")}};
    struct s3_call c = {.r = {.method = MR_STR("PUT"), .key = mr_str_c(path), .headers = headers, .headers_count = once ? 2 : 1, .body = body}};
    enum mr_code code = s3_ask(s, &c, "write", err);
    s3_done(&c);
    return code;
}

/* ---- whose it is, how far it had come ---- */

enum mr_code s3_mark_decided(struct mr_zone *z, const char *instance, int64_t number, struct mr_err *err)
{
    char path[KEY_MAX], text[MR_ZONE_MARK_MAX];
    int fault = MR_POINT(decided_mark);
    if (fault)
        return mr_err_sys(err, fault, "mark %lld as decided", (long long)number);
    snprintf(path, sizeof path, S3_DECIDED "%s", instance);
    size_t n = mr_zone_mark_put(text, number);
    return put(s3_of(z), path, (struct mr_str){text, n}, "text/plain", false, err);
}

struct names {
    char **at;
    size_t count, cap;
    bool failed;
};

static void on_name(void *arg, const struct s3_item *item)
{
    struct names *n = arg;
    if (n->count == n->cap) {
        size_t cap = n->cap ? 2 * n->cap : 64;
        char **grown = realloc(n->at, cap * sizeof *grown);
        if (!grown) {
            n->failed = true;
            return;
        }
        n->at = grown;
        n->cap = cap;
    }
    char *name = strndup(item->key.p, item->key.n);
    if (name)
        n->at[n->count++] = name;
    else
        n->failed = true;
}

static void names_free(struct names *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->at[i]);
    free(n->at);
}

static enum mr_code read_some(struct s3 *s, char **names, size_t count, int64_t *highest, struct mr_err *err)
{
    struct s3_call c[S3_WINDOW];
    enum mr_code first = MR_OK;
    for (size_t i = 0; i < count; i++) {
        c[i] = (struct s3_call){.r = {.method = MR_STR("GET"), .key = mr_str_c(names[i]), .body_max = SMALL_MAX}};
        s3_start(s, &c[i]);
    }
    for (size_t i = 0; i < count; i++) {
        int64_t number = 0;
        enum mr_code code = s3_wait(&c[i], "read", first == MR_OK ? err : NULL);
        if (code == MR_OK && !mr_zone_mark_read(mr_buf_str(&c[i].body), &number))
            code = mr_err_set(first == MR_OK ? err : NULL, MR_ECORRUPT, "%s: not a decided number; see `millrace state adopt`", names[i]);
        if (number > *highest)
            *highest = number;
        if (first == MR_OK)
            first = code;
        s3_done(&c[i]);
    }
    return first;
}

static enum mr_code read_marks(struct s3 *s, int64_t *highest, struct mr_err *err)
{
    struct names names = {.count = 0};
    enum mr_code code = s3_list(s, (struct mr_header){MR_STR("list-type"), MR_STR("2")}, S3_DECIDED, 0, on_name, &names, err);
    if (code == MR_OK && names.failed)
        code = mr_err_sys(err, ENOMEM, "read " S3_DECIDED);
    for (size_t at = 0; at < names.count && code == MR_OK; at += S3_WINDOW)
        code = read_some(s, names.at + at, names.count - at < S3_WINDOW ? names.count - at : S3_WINDOW, highest, err);
    names_free(&names);
    return code;
}

static void on_any(void *arg, const struct s3_item *item)
{
    (void)item;
    *(bool *)arg = true;
}

static enum mr_code read_id(struct s3 *s, struct mr_zone_id *id, struct mr_err *err)
{
    struct s3_call c = {.r = {.method = MR_STR("GET"), .key = MR_STR(S3_ID_FILE), .body_max = SMALL_MAX}};
    enum mr_code code = s3_ask(s, &c, "read", err);
    if (code == MR_OK && !mr_zone_id_read(mr_buf_str(&c.body), id->store_id))
        code = mr_err_set(err, MR_ECORRUPT, S3_ID_FILE ": names no store; see `millrace state adopt`");
    id->present = code == MR_OK;
    s3_done(&c);
    return code == MR_ENOENT ? MR_OK : code;
}

enum mr_code s3_identity(struct mr_zone *z, struct mr_zone_id *id, struct mr_err *err)
{
    struct s3 *s = s3_of(z);
    *id = (struct mr_zone_id){0};
    enum mr_code code = read_id(s, id, err);
    if (code == MR_OK)
        code = read_marks(s, &id->highest_decided, err);
    if (code == MR_OK)
        code = s3_list(s, (struct mr_header){MR_STR("list-type"), MR_STR("2")}, "source=", 1, on_any, &id->has_data, err);
    return code;
}

enum mr_code s3_identify(struct mr_zone *z, const char *store_id, struct mr_err *err)
{
    int fault = MR_POINT(zone_id);
    if (fault)
        return mr_err_sys(err, fault, "write " S3_ID_FILE);
    struct mr_buf text;
    mr_buf_init(&text, 4096);
    mr_zone_id_put(&text, store_id);
    enum mr_code code = text.failed ? mr_err_set(err, MR_ETOOBIG, S3_ID_FILE) : put(s3_of(z), S3_ID_FILE, mr_buf_str(&text), "application/json", false, err);
    mr_buf_free(&text);
    return code;
}

enum mr_code s3_write_sealed(struct mr_zone *z, const char *folder, struct mr_str json, struct mr_err *err)
{
    struct s3 *s = s3_of(z);
    char path[KEY_MAX + 8];
    bool any = false;
    snprintf(path, sizeof path, "%.*s/", KEY_MAX - 1, folder);
    enum mr_code code = s3_list(s, (struct mr_header){MR_STR("list-type"), MR_STR("2")}, path, 1, on_any, &any, err);
    if (code != MR_OK || !any)
        return code; /* somebody has taken the day away: no folder is made for this alone */
    snprintf(path, sizeof path, "%.*s/_SEALED", KEY_MAX - 1, folder);
    struct s3_call head;
    code = s3_head(s, &head, path, err);
    s3_done(&head);
    return code == MR_ENOENT ? put(s, path, json, "application/json", false, err) : code; /* a sealed day never changes, nor does this */
}

/* ---- verify ---- */

struct data {
    mr_zone_each each;
    void *arg;
};

static void on_data(void *arg, const struct s3_item *item)
{
    struct data *d = arg;
    char path[KEY_MAX];
    if (item->key.n >= sizeof path)
        return;
    snprintf(path, sizeof path, "%.*s", (int)item->key.n, item->key.p);
    if (mr_zone_is_data(path))
        d->each(d->arg, path, item->size);
}

enum mr_code s3_list_data(struct mr_zone *z, mr_zone_each each, void *arg, struct mr_err *err)
{
    struct data d = {each, arg};
    return s3_list(s3_of(z), (struct mr_header){MR_STR("list-type"), MR_STR("2")}, "source=", 0, on_data, &d, err);
}

/* Piece by piece into a file of this machine, if it is still the same object. */
static enum mr_code fetch(struct s3 *s, const struct mr_file_check *check, const char *etag, int fd, struct mr_err *err)
{
    enum mr_code code = MR_OK;
    for (int64_t at = 0; at < check->bytes && code == MR_OK; at += PIECE) {
        char range[64];
        snprintf(range, sizeof range, "bytes=%" PRId64 "-%" PRId64, at, (at + PIECE < check->bytes ? at + PIECE : check->bytes) - 1);
        const struct mr_header headers[] = {{MR_STR("Range"), mr_str_c(range)}, {MR_STR("If-Match"), mr_str_c(etag)}};
        struct s3_call c = {.r = {.method = MR_STR("GET"), .key = mr_str_c(check->path), .headers = headers, .headers_count = 2, .body_max = PIECE + 1}};
        code = s3_ask(s, &c, "read", err);
        if (code == MR_OK)
            code = mr_write_all(fd, c.body.p, c.body.n, check->path, err);
        s3_done(&c);
    }
    return code;
}

static enum mr_code check_deep(struct s3 *s, struct mr_file_check *check, const char *etag, struct mr_err *err)
{
    char file[64];
    int fd;
    enum mr_code code = s3_temporary(s, &fd, err);
    if (code != MR_OK)
        return code;
    code = fetch(s, check, etag, fd, err);
    snprintf(file, sizeof file, "/proc/self/fd/%d", fd);
    if (code == MR_OK)
        code = mr_zone_check_bytes(file, check->path, check, err);
    close(fd);
    return code;
}

enum mr_code s3_check_file(struct mr_zone *z, struct mr_file_check *check, struct mr_err *err)
{
    struct s3 *s = s3_of(z);
    struct s3_call head;
    enum mr_code code = s3_head(s, &head, check->path, err);
    s3_done(&head);
    check->state = code == MR_ENOENT ? MR_FILE_MISSING : code == MR_OK && head.size != check->bytes ? MR_FILE_SIZE : MR_FILE_OK;
    if (code == MR_OK && check->deep && check->state == MR_FILE_OK)
        code = check_deep(s, check, head.etag, err);
    return code == MR_ENOENT ? MR_OK : code;
}
