/* SPDX-License-Identifier: Apache-2.0 */
#include "keydir.h"

#include "millrace/fault.h"
#include "millrace/file.h"
#include "millrace/hash.h"
#include "millrace/json.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITE_BYTES = 256 << 10, VERIFY_BYTES = 64 << 10 };

/* ---- names ---- */

/* One name of a path, whatever the stream is called. */
static void put_name(struct mr_buf *path, const char *name)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    mr_buf_putc(path, '/');
    for (const char *p = name; *p; p++)
        if (strchr(plain, *p) && !(*p == '.' && p == name))
            mr_buf_putc(path, *p);
        else
            mr_buf_printf(path, "%%%02x", (unsigned char)*p);
}

bool pg_keydir_path(char out[PG_DIR_MAX], const char *data_dir, const char *source, const char *stream)
{
    struct mr_buf path;
    mr_buf_init(&path, PG_DIR_MAX - 1);
    mr_buf_puts(&path, data_dir);
    put_name(&path, "postgres");
    put_name(&path, source);
    put_name(&path, stream);
    bool fits = !path.failed;
    snprintf(out, PG_DIR_MAX, "%s", mr_buf_cstr(&path));
    mr_buf_free(&path);
    return fits;
}

static void keys_path(char out[PATH_MAX], const char *dir, int64_t g, const char *tail)
{
    snprintf(out, PATH_MAX, "%s/keys-%" PRId64 "%s", dir, g, tail);
}

static void landed_path(char out[PATH_MAX], const char *dir, int64_t g, int64_t k)
{
    snprintf(out, PATH_MAX, "%s/landed-%" PRId64 "-%" PRId64, dir, g, k);
}

/* ---- the part's value ---- */

void pg_keys_named_put(const struct pg_keys_named *n, struct mr_buf *json)
{
    mr_buf_printf(json, "{\"file\":%" PRId64 ",\"keys\":%" PRId64 ",\"bytes\":%" PRId64 ",\"sum\":%" PRIu32 ",\"xmax\":%" PRIu64 ",\"taken_at\":%" PRId64 "}", n->file, n->keys, n->bytes, n->sum,
                  n->xmax, n->taken_us);
}

static int64_t number(struct mr_str json, struct mr_str pointer)
{
    int64_t v;
    return mr_json_i64(mr_json_at(json, pointer), &v) && v > 0 ? v : 0;
}

struct pg_keys_named pg_keys_named_get(struct mr_str json)
{
    return (struct pg_keys_named){.file = number(json, MR_STR("/file")),
                                  .keys = number(json, MR_STR("/keys")),
                                  .bytes = number(json, MR_STR("/bytes")),
                                  .sum = (uint32_t)number(json, MR_STR("/sum")),
                                  .xmax = (uint64_t)number(json, MR_STR("/xmax")),
                                  .taken_us = number(json, MR_STR("/taken_at"))};
}

/* ---- the folder ---- */

struct name {
    bool ours, keys, whole; /* whole: not *.tmp */
    int64_t g, k;
};

static struct name name_of(const char *text)
{
    struct name n = {0};
    char *end = NULL;
    n.keys = strncmp(text, "keys-", 5) == 0;
    if (strncmp(text, "run-", 4) == 0)
        n.ours = true;
    if (!n.keys && strncmp(text, "landed-", 7) != 0)
        return n;
    n.ours = true;
    n.g = strtoll(text + (n.keys ? 5 : 7), &end, 10);
    if (!n.keys && *end == '-')
        n.k = strtoll(end + 1, &end, 10);
    n.whole = *end == '\0';
    return n;
}

static void take_landed(const char *path, const struct name *n, struct pg_keydir_found *out)
{
    struct stat st;
    if (n->k >= out->next)
        out->next = n->k + 1;
    if (stat(path, &st) == 0)
        out->landed_bytes += st.st_size;
}

static void sweep(const char *dir, DIR *d, int64_t g, const struct pg_keys_named *named, struct pg_keydir_found *out)
{
    char path[PATH_MAX];
    for (struct dirent *e; (e = readdir(d));) {
        struct name n = name_of(e->d_name);
        if (!n.ours || (size_t)snprintf(path, sizeof path, "%s/%s", dir, e->d_name) >= sizeof path)
            continue;
        if (n.whole && !n.keys && n.g == g)
            take_landed(path, &n, out);
        else if (!n.whole || !n.keys || n.g != named->file)
            unlink(path);
    }
}

static void look_named(const char *dir, const struct pg_keys_named *named, struct mr_err *missing)
{
    char path[PATH_MAX];
    struct stat st;
    if (named->file == 0)
        return;
    keys_path(path, dir, named->file, "");
    if (stat(path, &st) != 0)
        mr_err_sys(missing, errno, "%s", path);
    else if (st.st_size != named->bytes)
        mr_err_set(missing, MR_ECORRUPT, "%s has %" PRId64 " bytes of %" PRId64, path, (int64_t)st.st_size, named->bytes);
}

enum mr_code pg_keydir_look(const char *dir, int64_t g, const struct pg_keys_named *named, struct pg_keydir_found *out, struct mr_err *err)
{
    *out = (struct pg_keydir_found){0};
    if (mr_dir_make(dir, 0750, err) != MR_OK)
        return err->code;
    DIR *d = opendir(dir);
    if (!d)
        return mr_err_sys(err, errno, "open %s", dir);
    sweep(dir, d, g, named, out);
    closedir(d);
    look_named(dir, named, &out->missing);
    return MR_OK;
}

void pg_keydir_remove_below(const char *dir, int64_t g)
{
    char path[PATH_MAX];
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        struct name n = name_of(e->d_name);
        if (!n.ours || !n.whole || n.g >= g || (size_t)snprintf(path, sizeof path, "%s/%s", dir, e->d_name) >= sizeof path)
            continue;
        if (MR_POINT(keys_remove))
            break;
        unlink(path);
    }
    if (d)
        closedir(d);
}

/* ---- a file of keys ---- */

enum mr_code pg_keys_verify(int fd, const struct pg_keys_named *named, int64_t most, int64_t *at, uint32_t *sum, struct mr_err *err)
{
    unsigned char bytes[VERIFY_BYTES];
    for (int64_t end = *at + most; *at < end;) {
        ssize_t n = pread(fd, bytes, sizeof bytes, (off_t)*at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mr_err_sys(err, errno, "read the keys of the last scan");
        if (n == 0)
            return *at == named->bytes && *sum == named->sum ? MR_EEND : mr_err_set(err, MR_ECORRUPT, "keys-%" PRId64 " is not what was written", named->file);
        *sum = mr_crc32c(*sum, bytes, (size_t)n);
        *at += n;
    }
    return MR_OK;
}

enum mr_code pg_keys_create(const char *dir, int64_t g, int *fd, struct mr_err *err)
{
    char path[PATH_MAX];
    keys_path(path, dir, g, ".tmp");
    int sys = MR_POINT(keys_write);
    *fd = sys ? -1 : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    return *fd < 0 ? mr_err_sys(err, sys ? sys : errno, "make %s", path) : MR_OK;
}

enum mr_code pg_keys_write(int fd, struct pg_keys_out *out, bool all, int64_t *bytes, struct mr_err *err)
{
    if (out->bytes.n < (all ? 1 : WRITE_BYTES))
        return MR_OK;
    *bytes += (int64_t)out->bytes.n;
    enum mr_code code = mr_write_all(fd, out->bytes.p, out->bytes.n, "a file of keys", err);
    mr_buf_clear(&out->bytes);
    return code;
}

enum mr_code pg_keys_publish(const char *dir, int64_t g, int fd, struct mr_err *err)
{
    char from[PATH_MAX], to[PATH_MAX];
    keys_path(from, dir, g, ".tmp");
    keys_path(to, dir, g, "");
    int sys = MR_POINT(keys_sync);
    if (sys)
        return mr_err_sys(err, sys, "sync %s", from);
    if (mr_file_sync(fd, from, err) != MR_OK)
        return err->code;
    if (rename(from, to) != 0)
        return mr_err_sys(err, errno, "rename %s", from);
    if (mr_dir_sync(dir, err) != MR_OK)
        return err->code;
    sys = MR_POINT(keys_synced);
    return sys ? mr_err_sys(err, sys, "%s", to) : MR_OK;
}

enum mr_code pg_keys_open(const char *dir, int64_t g, int *fd, struct mr_err *err)
{
    char path[PATH_MAX];
    keys_path(path, dir, g, "");
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    return *fd < 0 ? mr_err_sys(err, errno, "open %s", path) : MR_OK;
}

/* ---- what lands ---- */

void pg_landed_init(struct pg_landed *l, const char *dir)
{
    *l = (struct pg_landed){.fd = -1};
    snprintf(l->dir, sizeof l->dir, "%s", dir);
    int rc = pthread_mutex_init(&l->lock, NULL);
    assert(rc == 0);
    (void)rc;
}

/* Nothing is appended behind a block that may be cut, or after a sync that failed. */
static void leave(struct pg_landed *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    l->k++;
}

void pg_landed_free(struct pg_landed *l)
{
    if (l->fd >= 0)
        close(l->fd);
    free(l->description);
    pthread_mutex_destroy(&l->lock);
}

void pg_landed_at(struct pg_landed *l, int64_t g, int64_t next, int64_t bytes, const char *description)
{
    if (l->fd >= 0 && (l->g != g || strcmp(l->description, description) != 0))
        leave(l);
    if (l->fd < 0 && (l->g != g || l->k < next))
        l->k = next;
    if (l->g != g || l->bytes < bytes)
        l->bytes = bytes;
    l->g = g;
    if (!l->description || strcmp(l->description, description) != 0) {
        free(l->description);
        l->description = strdup(description);
        assert(l->description);
    }
}

static enum mr_code begin_file(struct pg_landed *l, struct mr_err *err)
{
    char path[PATH_MAX];
    struct pg_keys_out head = {0};
    landed_path(path, l->dir, l->g, l->k);
    l->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0640);
    if (l->fd < 0)
        return mr_err_sys(err, errno, "make %s", path);
    l->made = true;
    enum mr_code code = pg_keys_out_init(&head, PG_KEYS_LOG, err);
    if (code == MR_OK)
        code = pg_keys_head(&head, mr_str_c(l->description), err);
    if (code == MR_OK)
        code = pg_keys_write(l->fd, &head, true, &l->bytes, err);
    pg_keys_out_free(&head);
    return code;
}

enum mr_code pg_landed_append(struct pg_landed *l, struct pg_keys_out *out, uint64_t *since, struct mr_err *err)
{
    enum mr_code code = MR_OK;
    if (out->bytes.n == 0)
        return MR_OK;
    pthread_mutex_lock(&l->lock);
    int sys = MR_POINT(landed_write);
    if (*since == 0)
        *since = l->faults + 1;
    if (sys)
        code = mr_err_sys(err, sys, "write keys that land");
    if (code == MR_OK && l->fd < 0)
        code = begin_file(l, err);
    if (code == MR_OK)
        code = pg_keys_write(l->fd, out, true, &l->bytes, err);
    if (code != MR_OK) {
        leave(l);
        l->faults++;
    }
    pthread_mutex_unlock(&l->lock);
    return code;
}

enum mr_code pg_landed_sync(struct pg_landed *l, uint64_t since, struct mr_err *err)
{
    enum mr_code code = MR_OK;
    pthread_mutex_lock(&l->lock);
    int sys = MR_POINT(landed_sync);
    if (sys)
        code = mr_err_sys(err, sys, "sync keys that land");
    else if (since != l->faults + 1)
        code = mr_err_set(err, MR_EIO, "keys that land could not be written");
    else if (l->fd >= 0)
        code = mr_file_sync(l->fd, "keys that land", err);
    if (code == MR_OK && l->made)
        code = mr_dir_sync(l->dir, err);
    if (code == MR_OK) {
        l->made = false;
    } else {
        leave(l);
        l->faults++;
    }
    pthread_mutex_unlock(&l->lock);
    return code;
}

int64_t pg_landed_bytes(struct pg_landed *l)
{
    pthread_mutex_lock(&l->lock);
    int64_t bytes = l->bytes;
    pthread_mutex_unlock(&l->lock);
    return bytes;
}

enum mr_code pg_landed_open(const char *dir, int64_t g, int64_t k, int *fd, struct mr_err *err)
{
    char path[PATH_MAX];
    landed_path(path, dir, g, k);
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd >= 0 || errno == ENOENT)
        return MR_OK;
    return mr_err_sys(err, errno, "open %s", path);
}
