/* SPDX-License-Identifier: Apache-2.0 */
/* stage.c - a file that no reader can see yet: an upload that is not completed.
 *
 * A part grows in a file of this machine, so that a thousand open landings hold no more memory than one; full, or last, it is read into memory, hashed and sent.
 * Some parts of a file are under way while the next one grows; all that are under way share one bound (s3_take).
 *
 * happy path    create: nothing is asked. The first part that is full, or the sync, notes the key, begins the upload, notes its id, and sends parts
 * ways to fail  a part that is not taken, an upload that somebody has ended: the file is suspect (zone.c)
 * on close      dropped: the upload is aborted and forgotten. What a dead process leaves is in the ledger: s3_abort() by whoever comes next */
#include "inside.h"

#include "millrace/fault.h"
#include "millrace/file.h"
#include "millrace/hash.h"
#include "millrace/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* 5 MiB is the least that a part may be which is not the last, 10,000 the most parts: 62 GiB in small ones, 187 GiB in all. */
enum { PART = 8 << 20, PART_LARGE = 64 << 20, PARTS_SMALL = 8000, PARTS_MAX = 10000, AT_ONCE = 4 /* of one file */ };

struct part { /* under way */
    struct s3_call call;
    char *bytes;
    size_t n;
    char sha256[65], number[12];
    struct mr_header query[2];
};

struct upload {
    struct mr_stage_file base;
    struct s3 *s3;
    char *path, *landing;
    char id[S3_UPLOAD_ID_MAX]; /* "": not begun */
    bool noted;                /* the ledger knows its key */
    bool again;                /* begun more than once, perhaps: what is found under its key may come late */
    int fd;                    /* the part that grows */
    size_t tail;               /* its bytes */
    struct part *under_way[AT_ONCE]; /* of part n at n % AT_ONCE */
    char **etags;                    /* of those that have arrived */
    size_t parts, arrived;           /* sent; parts - arrived are under way */
    struct mr_buf staged;
};

static struct upload *upload_of(struct mr_stage_file *file)
{
    return MR_OF(file, struct upload, base);
}

static size_t part_size(const struct upload *u)
{
    return u->parts < PARTS_SMALL ? PART : PART_LARGE;
}

/* ---- its end ---- */

struct strays {
    const char *path, *but;
    char ids[16][S3_UPLOAD_ID_MAX];
    size_t count;
};

static void on_stray(void *arg, const struct s3_item *item)
{
    struct strays *f = arg;
    if (!mr_str_eq(item->key, mr_str_c(f->path)) || mr_str_eq(item->upload_id, mr_str_c(f->but)) || f->count == MR_COUNT(f->ids))
        return;
    snprintf(f->ids[f->count++], sizeof f->ids[0], "%.*s", (int)item->upload_id.n, item->upload_id.p);
}

static enum mr_code abort_one(struct s3 *s, const char *path, const char *id, struct mr_err *err)
{
    const struct mr_header query[] = {{MR_STR("uploadId"), mr_str_c(id)}};
    struct s3_call c = {.r = {.method = MR_STR("DELETE"), .key = mr_str_c(path), .query = query, .query_count = 1}};
    enum mr_code code = s3_ask(s, &c, "abort upload", err);
    s3_done(&c);
    return code == MR_ENOENT ? MR_OK : code;
}

/* Every upload under this key but one. */
static enum mr_code abort_others(struct s3 *s, const char *path, const char *but, struct mr_err *err)
{
    enum mr_code code;
    size_t found;
    do {
        struct strays f = {.path = path, .but = but};
        code = s3_list(s, (struct mr_header){MR_STR("uploads"), MR_STR("")}, path, 0, on_stray, &f, err);
        found = f.count;
        for (size_t i = 0; i < f.count && code == MR_OK; i++)
            code = abort_one(s, path, f.ids[i], err);
    } while (code == MR_OK && found == MR_COUNT(((struct strays *)0)->ids));
    return code;
}

enum mr_code s3_abort_all(struct s3 *s, const char *path, struct mr_err *err)
{
    return abort_others(s, path, "", err);
}

enum mr_code s3_abort(struct mr_zone *z, const char *path, const char *id, struct mr_err *err)
{
    int fault = MR_POINT(resume_sweep);
    if (fault)
        return mr_err_sys(err, fault, "abort upload %s", path);
    return id[0] ? abort_one(s3_of(z), path, id, err) : s3_abort_all(s3_of(z), path, err);
}

/* Ended and forgotten; what could not be ended, or may be begun yet by a request that is on its way, is left to whoever sweeps. */
static void end_upload(struct s3 *s, const char *path, const char *id, bool again)
{
    enum mr_code code = id[0] && !again ? abort_one(s, path, id, NULL) : s3_abort_all(s, path, NULL);
    struct mr_stage_note note = {.path = mr_str_c(path), .upload = mr_str_c(again ? "" : id), .gone = code == MR_OK && id[0] && !again, .orphan = true};
    code = s3_note(s, &note, NULL);
    (void)code; /* then it is found once this process has ended */
}

/* ---- its beginning ---- */

static const char *content_type(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".zst") == 0 ? "application/zstd" : n > 3 && strcmp(path + n - 3, ".gz") == 0 ? "application/gzip" : "application/x-ndjson";
}

static enum mr_code note(struct upload *u, const char *id, struct mr_err *err)
{
    struct mr_stage_note n = {.landing = mr_str_c(u->landing), .path = mr_str_c(u->path), .upload = mr_str_c(id)};
    return s3_note(u->s3, &n, err);
}

static enum mr_code create(struct upload *u, struct mr_err *err)
{
    const struct mr_header query[] = {{MR_STR("uploads"), MR_STR("")}};
    const struct mr_header headers[] = {{MR_STR("Content-Type"), mr_str_c(content_type(u->path))}, {MR_STR("x-amz-meta-landing"), mr_str_c(u->landing)}};
    struct s3_call c = {.r = {.method = MR_STR("POST"), .key = mr_str_c(u->path), .query = query, .query_count = 1, .headers = headers, .headers_count = 2}};
    enum mr_code code = s3_ask(u->s3, &c, "begin upload", err);
    u->again = c.repeated;
    if (code == MR_OK)
        code = s3_read_upload(mr_buf_str(&c.body), u->id, err);
    s3_done(&c);
    /* a try whose answer was lost may have begun another one, which nobody would know of */
    return code == MR_OK && u->again ? abort_others(u->s3, u->path, u->id, err) : code;
}

static enum mr_code begin(struct upload *u, struct mr_err *err)
{
    enum mr_code code = note(u, "", err);
    if (code != MR_OK)
        return code;
    u->noted = true;
    int fault = MR_POINT(stage_key_noted);
    code = fault ? mr_err_sys(err, fault, "begin upload %s", u->path) : create(u, err);
    if (code != MR_OK)
        return code;
    fault = MR_POINT(stage_begun);
    code = fault ? mr_err_sys(err, fault, "begin upload %s", u->path) : note(u, u->id, err);
    if (code != MR_OK)
        return code;
    fault = MR_POINT(stage_id_noted);
    return fault ? mr_err_sys(err, fault, "begin upload %s", u->path) : MR_OK;
}

/* ---- its parts ---- */

static void part_ended(struct s3_call *c) /* Runs on: loop */
{
    struct part *p = MR_OF(c, struct part, call);
    free(p->bytes);
    p->bytes = NULL;
    s3_give(c->s3, p->n);
}

/* The oldest part under way has arrived. */
static enum mr_code settle_one(struct upload *u, struct mr_err *err)
{
    struct part **place = &u->under_way[u->arrived % AT_ONCE], *p = *place;
    enum mr_code code = s3_wait(&p->call, "send part of", err);
    if (code == MR_OK && !p->call.etag[0])
        code = mr_err_set(err, MR_EIO, "send part of %s: the answer has no ETag", u->path);
    char *etag = code == MR_OK ? strdup(p->call.etag) : NULL;
    if (code == MR_OK && !etag)
        code = mr_err_sys(err, ENOMEM, "send part of %s", u->path);
    u->etags[u->arrived++] = etag; /* NULL: the file is suspect */
    s3_done(&p->call);
    free(p);
    *place = NULL;
    /* an upload that is gone: nothing to be found later, a failure like any now */
    return code == MR_ENOENT ? mr_err_set(err, MR_EIO, "send part of %s: its upload was ended by somebody else", u->path) : code;
}

/* All of them, whatever becomes of each: their memory is ours to free. */
static enum mr_code settle(struct upload *u, struct mr_err *err)
{
    enum mr_code first = MR_OK;
    while (u->arrived < u->parts) {
        enum mr_code code = settle_one(u, first == MR_OK ? err : NULL);
        if (first == MR_OK)
            first = code;
    }
    return first;
}

static enum mr_code read_tail(struct upload *u, struct part *p, struct mr_err *err)
{
    for (size_t at = 0; at < p->n;) {
        ssize_t n = pread(u->fd, p->bytes + at, p->n - at, (off_t)at);
        if (n > 0)
            at += (size_t)n;
        else if (n == 0 || errno != EINTR)
            return mr_err_sys(err, n == 0 ? EIO : errno, "read what grew of %s", u->path);
    }
    return MR_OK;
}

static void sha256_of(struct part *p)
{
    unsigned char digest[MR_DIGEST_MAX];
    struct mr_buf hex;
    mr_digest(MR_SHA256, (struct mr_str){p->bytes, p->n}, digest);
    mr_buf_init(&hex, sizeof p->sha256);
    mr_hex_put(&hex, (const char *)digest, mr_digest_size(MR_SHA256));
    snprintf(p->sha256, sizeof p->sha256, "%s", mr_buf_cstr(&hex));
    mr_buf_free(&hex);
}

static enum mr_code room_for_etag(struct upload *u, struct mr_err *err)
{
    if (u->parts == PARTS_MAX)
        return mr_err_set(err, MR_ETOOBIG, "%s: more than %d parts, %lld bytes; land less at once", u->path, PARTS_MAX, (long long)u->base.bytes);
    if (u->parts & (u->parts - 1))
        return MR_OK; /* grows at powers of two */
    char **grown = realloc(u->etags, (u->parts ? 2 * u->parts : 1) * sizeof *grown);
    if (!grown)
        return mr_err_sys(err, ENOMEM, "stage %s", u->path);
    u->etags = grown;
    return MR_OK;
}

static enum mr_code send_part(struct upload *u, struct mr_err *err)
{
    enum mr_code code = u->parts - u->arrived == AT_ONCE ? settle_one(u, err) : MR_OK;
    if (code == MR_OK)
        code = room_for_etag(u, err);
    if (code == MR_OK && !u->id[0])
        code = begin(u, err);
    int fault = code == MR_OK ? MR_POINT(stage_part) : 0;
    if (fault)
        code = mr_err_sys(err, fault, "send part of %s", u->path);
    if (code != MR_OK)
        return code;
    struct part *p = calloc(1, sizeof *p);
    s3_take(u->s3, u->tail);
    if (p)
        p->bytes = malloc(u->tail ? u->tail : 1);
    if (!p || !p->bytes) {
        s3_give(u->s3, u->tail);
        free(p);
        return mr_err_sys(err, ENOMEM, "send part of %s", u->path);
    }
    p->n = u->tail;
    code = read_tail(u, p, err);
    if (code != MR_OK) {
        s3_give(u->s3, p->n);
        free(p->bytes);
        free(p);
        return code;
    }
    sha256_of(p);
    snprintf(p->number, sizeof p->number, "%zu", u->parts + 1);
    p->query[0] = (struct mr_header){MR_STR("partNumber"), mr_str_c(p->number)};
    p->query[1] = (struct mr_header){MR_STR("uploadId"), mr_str_c(u->id)};
    p->call.r = (struct mr_s3_request){.method = MR_STR("PUT"), .key = mr_str_c(u->path), .query = p->query, .query_count = 2, .body = {p->bytes, p->n}, .body_sha256 = mr_str_c(p->sha256)};
    p->call.ended = part_ended;
    u->under_way[u->parts++ % AT_ONCE] = p;
    u->tail = 0;
    s3_start(u->s3, &p->call);
    return MR_OK;
}

static enum mr_code append(struct upload *u, struct mr_str bytes, struct mr_err *err)
{
    while (bytes.n > 0) {
        size_t room = part_size(u) - u->tail, n = bytes.n < room ? bytes.n : room;
        if (lseek(u->fd, (off_t)u->tail, SEEK_SET) < 0)
            return mr_err_sys(err, errno, "stage %s", u->path);
        enum mr_code code = mr_write_all(u->fd, bytes.p, n, u->path, err);
        if (code != MR_OK)
            return code;
        u->tail += n;
        bytes = (struct mr_str){bytes.p + n, bytes.n - n};
        if (u->tail == part_size(u) && (code = send_part(u, err)) != MR_OK)
            return code;
    }
    return MR_OK;
}

/* ---- the file ---- */

static void upload_free(struct upload *u)
{
    if (u->fd >= 0)
        close(u->fd);
    for (size_t i = 0; i < u->arrived; i++)
        free(u->etags[i]);
    free(u->etags);
    mr_buf_free(&u->staged);
    free(u->path);
    free(u->landing);
    free(u);
}

enum mr_code s3_stage_create(struct mr_zone *z, const struct mr_stage_name *name, struct mr_stage_file **out, struct mr_err *err)
{
    struct s3 *s = s3_of(z);
    int fault = MR_POINT(stage_create);
    if (fault)
        return mr_err_sys(err, fault, "stage %s", name->path);
    struct upload *u = calloc(1, sizeof *u);
    if (!u)
        return mr_err_sys(err, ENOMEM, "stage %s", name->path);
    *u = (struct upload){.base.place = &mr_zone_s3, .s3 = s, .path = strdup(name->path), .landing = strdup(name->landing), .fd = -1};
    mr_buf_init(&u->staged, (size_t)PARTS_MAX * (S3_ETAG_MAX + 8) + 2 * S3_UPLOAD_ID_MAX);
    enum mr_code code = u->path && u->landing ? s3_temporary(s, &u->fd, err) : mr_err_sys(err, ENOMEM, "stage %s", name->path);
    if (code != MR_OK) {
        upload_free(u);
        return code;
    }
    *out = &u->base;
    return MR_OK;
}

enum mr_code s3_stage_write(struct mr_stage_file *file, struct mr_str bytes, struct mr_err *err)
{
    struct upload *u = upload_of(file);
    int fault = MR_POINT(stage_write);
    return fault ? mr_err_sys(err, fault, "stage %zu bytes of %s", bytes.n, u->path) : append(u, bytes, err);
}

enum mr_code s3_stage_sync(struct mr_stage_file *file, struct mr_err *err)
{
    struct upload *u = upload_of(file);
    int fault = MR_POINT(stage_sync);
    if (fault)
        return mr_err_sys(err, fault, "stage %s", u->path);
    enum mr_code code = u->tail > 0 || u->parts == 0 ? send_part(u, err) : MR_OK;
    if (code == MR_OK)
        code = settle(u, err);
    if (code != MR_OK)
        return code;
    mr_buf_clear(&u->staged);
    mr_buf_puts(&u->staged, "{\"upload\":");
    mr_json_put_string(&u->staged, mr_str_c(u->id));
    mr_buf_puts(&u->staged, ",\"parts\":[");
    for (size_t i = 0; i < u->parts; i++) {
        if (i)
            mr_buf_putc(&u->staged, ',');
        mr_json_put_string(&u->staged, mr_str_c(u->etags[i]));
    }
    mr_buf_puts(&u->staged, u->again ? "],\"again\":true}" : "]}");
    if (u->staged.failed)
        return mr_err_sys(err, ENOMEM, "stage %s", u->path);
    fault = MR_POINT(stage_synced);
    return fault ? mr_err_sys(err, fault, "stage %s", u->path) : MR_OK;
}

const char *s3_stage_staged(const struct mr_stage_file *file)
{
    return mr_buf_cstr(&upload_of((struct mr_stage_file *)(uintptr_t)file)->staged);
}

void s3_stage_close(struct mr_stage_file *file, bool drop)
{
    struct upload *u = upload_of(file);
    enum mr_code code = settle(u, NULL); /* what it sends is ours */
    (void)code;
    if (drop && u->noted)
        end_upload(u->s3, u->path, u->id, u->again);
    upload_free(u);
}

void s3_unstage(struct mr_zone *z, const char *staged, const char *path)
{
    struct mr_buf id;
    mr_buf_init(&id, S3_UPLOAD_ID_MAX);
    struct mr_str text = mr_str_c(staged);
    if (mr_json_check(text, NULL) == MR_OK && mr_json_string(mr_json_at(text, MR_STR("/upload")), &id) && !id.failed && id.n)
        end_upload(s3_of(z), path, mr_buf_cstr(&id), mr_json_at(text, MR_STR("/again")).type != MR_JSON_ABSENT);
    mr_buf_free(&id);
}
