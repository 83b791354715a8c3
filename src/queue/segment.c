/* SPDX-License-Identifier: Apache-2.0 */
/* segment.c - the queue's files. Every name appears in an order that a power cut may stop anywhere:
 *
 * start   header written and synced under the spare's (or a temporary) name, renamed, directory synced; then used
 * spare   zeros written and synced under a temporary name, renamed, directory synced
 * free    renamed to a spare, unlinked or cut to its header; directory synced before the next one is freed */
#include "queue/segment.h"

#include "millrace/fault.h"
#include "millrace/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILL_PIECE = 4 << 20, FILL_WRITE = 64 << 10, QUARANTINE_PIECE = 1 << 20, NAME_DIGITS = 16 };

static void path_of(char out[PATH_MAX], const char *dir, const char *before, uint64_t number, const char *after)
{
    if (snprintf(out, PATH_MAX, "%s/%s%016" PRIx64 "%s", dir, before, number, after) >= PATH_MAX)
        out[0] = 0; /* open("") then says ENOENT; mr_queue_open refuses such a folder before */
}

void mr_seg_path(char out[PATH_MAX], const char *dir, enum mr_seg_kind kind, uint64_t number)
{
    const char *before = kind == MR_SEG_SPARE ? "spare-" : "";
    const char *after = kind == MR_SEG_FILE ? ".seg" : kind == MR_SEG_STUB ? ".stub" : "";
    path_of(out, dir, before, number, after);
}

enum mr_code mr_seg_sync(int fd, struct mr_err *err)
{
    return MR_MUTANT(no_sync) ? MR_OK : mr_file_sync(fd, "segment", err);
}

/* -- the folder ------------------------------------------------------------------------------------------------- */

static bool name_parse(const char *name, struct mr_seg_entry *e)
{
    e->kind = MR_SEG_FILE;
    if (strncmp(name, "spare-", 6) == 0) {
        e->kind = MR_SEG_SPARE;
        name += 6;
    }
    if (strspn(name, "0123456789abcdef") != NAME_DIGITS)
        return false;
    e->number = strtoull(name, NULL, 16);
    const char *end = name + NAME_DIGITS;
    if (e->kind == MR_SEG_SPARE)
        return *end == 0;
    if (strcmp(end, ".stub") == 0)
        e->kind = MR_SEG_STUB;
    return e->number != 0 && (e->kind == MR_SEG_STUB || strcmp(end, ".seg") == 0);
}

static int by_number(const void *a, const void *b)
{
    const struct mr_seg_entry *x = a, *y = b;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return (int)x->kind - (int)y->kind;
}

static bool is_tmp(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && strcmp(name + n - 4, ".tmp") == 0;
}

enum mr_code mr_seg_list(const char *dir, struct mr_seg_entry **out, size_t *n, struct mr_err *err)
{
    *out = NULL;
    *n = 0;
    DIR *d = opendir(dir);
    if (!d)
        return mr_err_sys(err, errno, "open %s", dir);
    size_t cap = 0;
    for (;;) {
        errno = 0;
        struct dirent *de = readdir(d);
        if (!de)
            break;
        struct mr_seg_entry e;
        struct stat st;
        if (is_tmp(de->d_name))
            (void)unlinkat(dirfd(d), de->d_name, 0);
        if (!name_parse(de->d_name, &e) || fstatat(dirfd(d), de->d_name, &st, 0) != 0)
            continue;
        e.size = (uint64_t)st.st_size;
        if (*n == cap) {
            cap = cap ? cap * 2 : 64;
            struct mr_seg_entry *more = realloc(*out, cap * sizeof *more);
            if (!more)
                abort();
            *out = more;
        }
        (*out)[(*n)++] = e;
    }
    int sys = errno;
    closedir(d);
    if (sys) {
        free(*out);
        *out = NULL;
        return mr_err_sys(err, sys, "read %s", dir);
    }
    if (*n)
        qsort(*out, *n, sizeof **out, by_number);
    return MR_OK;
}

/* -- start ------------------------------------------------------------------------------------------------------ */

static enum mr_code head_write(int fd, const struct mr_seg_head *h, const struct mr_sources *prev_sources, uint64_t *start,
                               struct mr_err *err)
{
    int sys = MR_POINT(queue_segment_start);
    if (sys)
        return mr_err_sys(err, sys, "write header");
    size_t n;
    unsigned char *bytes = mr_seg_head_put(h, prev_sources, &n);
    enum mr_code rc = mr_write_all(fd, bytes, n, "segment header", err);
    free(bytes);
    *start = n;
    return rc == MR_OK ? mr_seg_sync(fd, err) : rc;
}

enum mr_code mr_seg_start(const char *dir, uint64_t spare, const struct mr_seg_head *h,
                          const struct mr_sources *prev_sources, int *fd, uint64_t *start, bool *named,
                          struct mr_err *err)
{
    *named = false;
    char from[PATH_MAX], to[PATH_MAX];
    mr_seg_path(to, dir, MR_SEG_FILE, h->number);
    if (spare)
        mr_seg_path(from, dir, MR_SEG_SPARE, spare);
    else
        path_of(from, dir, "", h->number, ".tmp");
    int sys = spare ? 0 : MR_POINT(queue_segment_create);
    if (sys)
        return mr_err_sys(err, sys, "create %s", from);
    *fd = open(from, O_WRONLY | O_CLOEXEC | (spare ? 0 : O_CREAT | O_TRUNC), 0640);
    if (*fd < 0)
        return mr_err_sys(err, errno, "open %s", from);
    const char *leftover = from;
    enum mr_code rc = head_write(*fd, h, prev_sources, start, err);
    *named = rc == MR_OK;
    if (rc == MR_OK && rename(from, to) != 0)
        rc = mr_err_sys(err, errno, "rename %s", from);
    else if (rc == MR_OK)
        leftover = to;
    if (rc == MR_OK)
        rc = mr_dir_sync(dir, err);
    if (rc == MR_OK)
        return MR_OK;
    close(*fd);
    *fd = -1;
    (void)unlink(leftover); /* if that fails too, recovery finds an empty segment, which does no harm */
    return mr_err_wrap(err, "segment %" PRIu64, h->number);
}

/* -- spares ----------------------------------------------------------------------------------------------------- */

static void fill_path(const struct mr_seg_fill *f, char out[PATH_MAX])
{
    path_of(out, f->dir, "spare-", f->number, ".tmp");
}

void mr_seg_fill_drop(struct mr_seg_fill *f)
{
    if (f->fd < 0)
        return;
    char path[PATH_MAX];
    fill_path(f, path);
    close(f->fd);
    (void)unlink(path);
    f->fd = -1;
}

static enum mr_code fill_open(struct mr_seg_fill *f, struct mr_err *err)
{
    char path[PATH_MAX];
    fill_path(f, path);
    int sys = MR_POINT(queue_segment_create);
    if (sys)
        return mr_err_sys(err, sys, "create %s", path);
    f->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (f->fd < 0)
        return mr_err_sys(err, errno, "create %s", path);
    f->done = 0;
    /* Reserved first: contiguous, and a full disk is found before anything is written. Where it cannot be, writing does. */
    sys = posix_fallocate(f->fd, 0, (off_t)f->size);
    return sys && sys != EOPNOTSUPP && sys != EINVAL ? mr_err_sys(err, sys, "reserve %s", path) : MR_OK;
}

static enum mr_code fill_piece(struct mr_seg_fill *f, struct mr_err *err)
{
    static const char zeros[FILL_WRITE];
    uint64_t end = f->size - f->done < FILL_PIECE ? f->size : f->done + FILL_PIECE;
    enum mr_code rc = MR_OK;
    while (rc == MR_OK && f->done < end) {
        size_t n = end - f->done < FILL_WRITE ? (size_t)(end - f->done) : FILL_WRITE;
        rc = mr_write_all(f->fd, zeros, n, "spare segment", err);
        f->done += n;
    }
    return rc == MR_OK ? mr_seg_sync(f->fd, err) : rc;
}

static enum mr_code fill_publish(struct mr_seg_fill *f, struct mr_err *err)
{
    char from[PATH_MAX], to[PATH_MAX];
    fill_path(f, from);
    mr_seg_path(to, f->dir, MR_SEG_SPARE, f->number);
    int sys = MR_POINT(queue_segment_filled);
    if (sys)
        return mr_err_sys(err, sys, "fill %s", from);
    enum mr_code rc = mr_seg_sync(f->fd, err);
    if (rc != MR_OK)
        return rc;
    if (rename(from, to) != 0)
        return mr_err_sys(err, errno, "rename %s", from);
    rc = mr_dir_sync(f->dir, err);
    if (rc != MR_OK)
        (void)unlink(to);
    return rc;
}

enum mr_code mr_seg_fill_step(struct mr_seg_fill *f, bool *ready, struct mr_err *err)
{
    *ready = false;
    enum mr_code rc = f->fd < 0 ? fill_open(f, err) : MR_OK;
    if (rc == MR_OK)
        rc = fill_piece(f, err);
    if (rc == MR_OK && f->done < f->size)
        return MR_OK;
    if (rc == MR_OK)
        rc = fill_publish(f, err);
    if (rc != MR_OK) {
        mr_seg_fill_drop(f);
        return rc;
    }
    close(f->fd);
    f->fd = -1;
    *ready = true;
    return MR_OK;
}

/* -- free ------------------------------------------------------------------------------------------------------- */

/* Renaming first: a file under this name is a whole segment, whenever the power goes. */
static enum mr_code stub(const char *dir, const char *path, uint64_t number, uint64_t header_bytes, struct mr_err *err)
{
    char to[PATH_MAX];
    mr_seg_path(to, dir, MR_SEG_STUB, number);
    if (rename(path, to) != 0 && errno != ENOENT)
        return mr_err_sys(err, errno, "rename %s", path);
    enum mr_code rc = mr_dir_sync(dir, err);
    if (rc == MR_OK && truncate(to, (off_t)header_bytes) != 0 && errno != ENOENT)
        return mr_err_sys(err, errno, "truncate %s", to);
    return rc;
}

static enum mr_code recycle(const char *dir, const char *path, uint64_t number, struct mr_err *err)
{
    char to[PATH_MAX];
    mr_seg_path(to, dir, MR_SEG_SPARE, number);
    int sys = MR_POINT(queue_segment_recycle);
    if (sys)
        return mr_err_sys(err, sys, "recycle %s", path);
    if (rename(path, to) != 0 && errno != ENOENT)
        return mr_err_sys(err, errno, "rename %s", path);
    return mr_dir_sync(dir, err);
}

enum mr_code mr_seg_free(const char *dir, uint64_t number, enum mr_seg_fate fate, uint64_t header_bytes, struct mr_err *err)
{
    char path[PATH_MAX];
    enum mr_seg_kind kind = fate == MR_FATE_DROP_STUB    ? MR_SEG_STUB
                            : fate == MR_FATE_DROP_SPARE ? MR_SEG_SPARE
                                                         : MR_SEG_FILE;
    mr_seg_path(path, dir, kind, number);
    int sys = MR_POINT(queue_free);
    if (sys)
        return mr_err_sys(err, sys, "free %s", path);
    if (fate == MR_FATE_SPARE)
        return recycle(dir, path, number, err);
    if (fate == MR_FATE_STUB)
        return stub(dir, path, number, header_bytes, err);
    if (unlink(path) != 0 && errno != ENOENT)
        return mr_err_sys(err, errno, "unlink %s", path);
    return mr_dir_sync(dir, err);
}

/* -- quarantine ------------------------------------------------------------------------------------------------- */

static enum mr_code keep_piece(const char *folder, uint64_t number, int fd, uint64_t from, size_t n, uint64_t *fresh,
                               struct mr_err *err)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%016" PRIx64 "-%" PRIu64 ".bin", folder, number, from) >= PATH_MAX)
        return mr_err_sys(err, ENAMETOOLONG, "%s", folder);
    struct stat st;
    if (stat(path, &st) == 0 && (uint64_t)st.st_size >= n)
        return mr_dir_sync(folder, err); /* whoever kept it may have died before its name was durable */
    int sys = MR_POINT(quarantine_write);
    if (sys)
        return mr_err_sys(err, sys, "write %s", path);
    char *bytes = malloc(n);
    if (!bytes)
        return mr_err_sys(err, ENOMEM, "quarantine");
    ssize_t got = pread(fd, bytes, n, (off_t)from);
    enum mr_code rc = MR_OK;
    if (got < 0)
        rc = mr_err_sys(err, errno, "read damaged bytes of segment %" PRIu64, number);
    else if (got > 0)
        rc = mr_file_replace(path, (struct mr_str){bytes, (size_t)got}, 0600, err);
    free(bytes);
    if (rc == MR_OK)
        *fresh += (uint64_t)got;
    return rc;
}

enum mr_code mr_seg_quarantine(const char *quarantine, uint64_t number, int fd, uint64_t from, uint64_t to,
                               uint64_t *fresh, struct mr_err *err)
{
    char folder[PATH_MAX];
    *fresh = 0;
    if (snprintf(folder, sizeof folder, "%s/_queue", quarantine) >= PATH_MAX)
        return mr_err_sys(err, ENAMETOOLONG, "%s", quarantine);
    enum mr_code rc = mr_dir_make(folder, 0750, err);
    for (uint64_t at = from; rc == MR_OK && at < to; at += QUARANTINE_PIECE)
        rc = keep_piece(folder, number, fd, at, to - at < QUARANTINE_PIECE ? (size_t)(to - at) : QUARANTINE_PIECE, fresh,
                        err);
    return rc;
}
