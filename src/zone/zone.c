/* SPDX-License-Identifier: Apache-2.0 */
/* zone.c - the names of the zone's files, and the way from a call to the place that answers it. */
#include "millrace/zone.h"

#include "place.h"

#include "millrace/hash.h"
#include "millrace/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static bool stands_for_itself(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' || c == '_' ||
           c == '-';
}

static void put_escaped(struct mr_buf *out, struct mr_str s)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (stands_for_itself(c))
            mr_buf_putc(out, (char)c);
        else
            mr_buf_put(out, (char[]){'%', digits[c >> 4], digits[c & 15]}, 3);
    }
}

static void put_folder(struct mr_buf *out, struct mr_str source, struct mr_str stream, int32_t day)
{
    char date[11];
    mr_day_text(day, date);
    mr_buf_puts(out, "source=");
    put_escaped(out, source);
    mr_buf_puts(out, "/stream=");
    put_escaped(out, stream);
    mr_buf_puts(out, "/ingest_date=");
    mr_buf_puts(out, date);
}

void mr_zone_path(struct mr_buf *out, struct mr_str source, struct mr_str stream, int32_t day, struct mr_str name,
                  enum mr_codec codec)
{
    put_folder(out, source, stream, day);
    mr_buf_putc(out, '/');
    mr_buf_put(out, name.p, name.n);
    mr_buf_puts(out, ".ndjson");
    mr_buf_puts(out, mr_codec_extension(codec));
}

/* ---- what every zone tells about itself ---- */

void mr_zone_id_put(struct mr_buf *out, const char *store_id)
{
    mr_buf_puts(out, "{\"store\": ");
    mr_json_put_string(out, mr_str_c(store_id));
    mr_buf_puts(out, ", \"format\": 1, \"written_by\": \"millrace " MR_VERSION "\"}\n");
}

bool mr_zone_id_read(struct mr_str text, char store_id[37])
{
    struct mr_buf id;
    mr_buf_init(&id, 36);
    bool ok = mr_json_check(text, NULL) == MR_OK && mr_json_string(mr_json_at(text, MR_STR("/store")), &id) && !id.failed && id.n;
    if (ok)
        memcpy(store_id, mr_buf_cstr(&id), id.n + 1);
    mr_buf_free(&id);
    return ok;
}

size_t mr_zone_mark_put(char text[MR_ZONE_MARK_MAX], int64_t number)
{
    return (size_t)snprintf(text, MR_ZONE_MARK_MAX, "%020lld\n", (long long)number);
}

/* Written whole or not at all, so a mark of another shape was not written by us. */
bool mr_zone_mark_read(struct mr_str mark, int64_t *number)
{
    char text[MR_ZONE_MARK_MAX], *end;
    if (mark.n == 0 || mark.n >= sizeof text)
        return false;
    memcpy(text, mark.p, mark.n);
    text[mark.n] = 0;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    *number = v;
    return errno == 0 && end != text && *end == '\n' && end + 1 == text + mark.n && v >= 0;
}

bool mr_zone_data_name(const char *name)
{
    size_t n = strlen(name);
    return name[0] != '_' && name[0] != '.' && strstr(name, ".ndjson") && !(n >= 5 && strcmp(name + n - 5, ".part") == 0);
}

bool mr_zone_is_data(const char *path)
{
    static const char *const levels[] = {"source=", "stream=", "ingest_date="};
    for (size_t i = 0; i < MR_COUNT(levels); i++) {
        const char *slash = strchr(path, '/');
        if (!slash || strncmp(path, levels[i], strlen(levels[i])) != 0)
            return false;
        path = slash + 1;
    }
    return !strchr(path, '/') && mr_zone_data_name(path);
}

/* ---- from a call to the place that answers it ---- */

enum mr_code mr_zone_open(const struct mr_zone_options *options, struct mr_zone **out, struct mr_err *err)
{
    static const struct mr_zone_place *const places[] = {&mr_zone_local, &mr_zone_s3};
    for (size_t i = 0; i < MR_COUNT(places); i++) {
        size_t n = strlen(places[i]->scheme);
        if (strncmp(options->url, places[i]->scheme, n) == 0)
            return places[i]->open(options, options->url + n, out, err);
    }
    return mr_err_set(err, MR_ECONFIG, "zone.url \"%.200s\": begins with no known scheme; write file:/path/to/zone or s3://bucket/prefix", options->url);
}

bool mr_zone_is_far(const struct mr_zone *z)
{
    return z->place->far;
}

void mr_zone_hurry(struct mr_zone *z, int64_t ms)
{
    if (z->place->hurry)
        z->place->hurry(z, ms);
}

void mr_zone_close(struct mr_zone *z, void (*cb)(void *arg), void *arg)
{
    if (z)
        z->place->close(z, cb, arg);
    else if (cb)
        cb(arg);
}

enum mr_code mr_zone_instance(struct mr_zone *z, const char *instance, struct mr_stage_ledger *ledger, struct mr_err *err)
{
    return z->place->instance(z, instance, ledger, err);
}

enum mr_code mr_stage_file_create(struct mr_zone *z, const struct mr_stage_name *name, struct mr_stage_file **out, struct mr_err *err)
{
    return z->place->stage_create(z, name, out, err);
}

/* For ever: bytes may be missing in its middle, or the kernel may have dropped its dirty pages, and a second sync would say "fine". It can only be dropped. */
static enum mr_code suspect(struct mr_stage_file *f, enum mr_code code)
{
    f->suspect = code != MR_OK;
    return code;
}

static enum mr_code refuse_suspect(struct mr_err *err)
{
    return mr_err_set(err, MR_EIO, "a staged file of which an earlier write or sync failed");
}

enum mr_code mr_stage_file_write(struct mr_stage_file *f, struct mr_str bytes, struct mr_err *err)
{
    if (f->suspect)
        return refuse_suspect(err);
    enum mr_code code = suspect(f, f->place->stage_write(f, bytes, err));
    if (code != MR_OK)
        return code;
    f->crc = mr_crc32c(f->crc, bytes.p, bytes.n);
    f->bytes += (int64_t)bytes.n;
    return MR_OK;
}

enum mr_code mr_stage_file_sync(struct mr_stage_file *f, uint32_t *crc32c, int64_t *bytes, struct mr_err *err)
{
    if (f->suspect)
        return refuse_suspect(err);
    enum mr_code code = suspect(f, f->place->stage_sync(f, err));
    *crc32c = f->crc;
    *bytes = f->bytes;
    return code;
}

const char *mr_stage_file_staged(const struct mr_stage_file *f)
{
    return f->place->stage_staged(f);
}

void mr_stage_file_close(struct mr_stage_file *f, bool drop)
{
    if (f)
        f->place->stage_close(f, drop);
}

void mr_zone_unstage(struct mr_zone *z, const char *staged, const char *path)
{
    z->place->unstage(z, staged, path);
}

enum mr_code mr_zone_abort(struct mr_zone *z, const char *path, const char *id, struct mr_err *err)
{
    return z->place->abort ? z->place->abort(z, path, id, err) : MR_OK;
}

enum mr_code mr_zone_mark_decided(struct mr_zone *z, const char *instance, int64_t number, struct mr_err *err)
{
    return z->place->mark_decided(z, instance, number, err);
}

enum mr_code mr_zone_publish(struct mr_zone *z, struct mr_publish_item *items, size_t count, struct mr_err *err)
{
    return z->place->publish(z, items, count, err);
}

enum mr_code mr_zone_sweep(struct mr_zone *z, const char *instance, const char *const *keep, size_t keep_count,
                           struct mr_err *err)
{
    return z->place->sweep ? z->place->sweep(z, instance, keep, keep_count, err) : MR_OK;
}

enum mr_code mr_zone_stages(struct mr_zone *z, struct mr_buf *out, struct mr_err *err)
{
    return z->place->stages ? z->place->stages(z, out, err) : MR_OK;
}

enum mr_code mr_zone_identity(struct mr_zone *z, struct mr_zone_id *id, struct mr_err *err)
{
    return z->place->identity(z, id, err);
}

enum mr_code mr_zone_identify(struct mr_zone *z, const char *store_id, struct mr_err *err)
{
    return z->place->identify(z, store_id, err);
}

enum mr_code mr_zone_write_sealed(struct mr_zone *z, struct mr_str source, struct mr_str stream, int32_t day,
                                  struct mr_str json, struct mr_err *err)
{
    struct mr_buf folder;
    mr_buf_init(&folder, 4096);
    put_folder(&folder, source, stream, day);
    enum mr_code code = folder.failed ? mr_err_set(err, MR_ETOOBIG, "seal: the stream's name is too long")
                                      : z->place->write_sealed(z, mr_buf_cstr(&folder), json, err);
    mr_buf_free(&folder);
    return code;
}

enum mr_code mr_zone_free_bytes(struct mr_zone *z, uint64_t *bytes, struct mr_err *err)
{
    return z->place->free_bytes(z, bytes, err);
}

enum mr_code mr_zone_check_file(struct mr_zone *z, struct mr_file_check *check, struct mr_err *err)
{
    return z->place->check_file(z, check, err);
}

enum mr_code mr_zone_list(struct mr_zone *z, mr_zone_each each, void *arg, struct mr_err *err)
{
    return z->place->list(z, each, arg, err);
}

void mr_zone_try(struct mr_zone *z, mr_zone_say say, void *arg)
{
    if (z->place->try)
        z->place->try(z, say, arg);
}
