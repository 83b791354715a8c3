/* SPDX-License-Identifier: Apache-2.0 */
#include "millrace/file.h"

#include "millrace/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum mr_code mr_file_sync(int fd, const char *name, struct mr_err *err)
{
    if (MR_MUTANT(no_sync))
        return MR_OK;
    /* Not tried again after an error: the kernel may have dropped the dirty pages, and the second call would say
     * "fine". */
    if (fdatasync(fd) != 0)
        return mr_err_sys(err, errno, "sync %s", name);
    return MR_OK;
}

enum mr_code mr_dir_sync(const char *path, struct mr_err *err)
{
    if (MR_MUTANT(no_dirsync))
        return MR_OK;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return mr_err_sys(err, errno, "open directory %s", path);
    enum mr_code code = MR_OK;
    if (fsync(fd) != 0)
        code = mr_err_sys(err, errno, "sync directory %s", path);
    close(fd);
    return code;
}

/* Cuts `path` to its parent: "/" and "." for a path of one part. Trailing slashes are gone already. */
static void to_parent(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash) {
        memcpy(path, ".", 2);
        return;
    }
    while (slash > path && slash[-1] == '/')
        slash--;
    slash[slash == path] = '\0';
}

static enum mr_code copy_path(const char *path, char out[PATH_MAX], struct mr_err *err)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (n == 0 || n >= PATH_MAX)
        return mr_err_sys(err, n == 0 ? ENOENT : ENAMETOOLONG, "path \"%.64s\"", path);
    memcpy(out, path, n);
    out[n] = '\0';
    return MR_OK;
}

static enum mr_code sync_parent(const char *path, struct mr_err *err)
{
    char parent[PATH_MAX];
    enum mr_code code = copy_path(path, parent, err);
    if (code != MR_OK)
        return code;
    to_parent(parent);
    return mr_dir_sync(parent, err);
}

/* Of a directory that was there: whoever made it may have died before its entry was durable. A parent that we may not
 * read or that cannot be written was not the place of such a death, or cannot be helped by us. */
static enum mr_code sync_parent_again(const char *path, struct mr_err *err)
{
    struct mr_err why = {.sys = 0};
    enum mr_code code = sync_parent(path, &why);
    if (code == MR_OK || code == MR_EPERM || why.sys == EROFS || why.sys == EINVAL)
        return MR_OK;
    if (err)
        *err = why;
    return code;
}

/* One directory, whose parent exists or not: MR_ENOENT then. again: its entry is made durable even if it was there. */
static enum mr_code make_one(const char *path, unsigned mode, bool again, struct mr_err *err)
{
    if (mkdir(path, (mode_t)mode) == 0)
        return sync_parent(path, err);
    int sys = errno;
    struct stat st;
    if (stat(path, &st) != 0)
        return mr_err_sys(err, sys, "make directory %s", path);
    if (!S_ISDIR(st.st_mode))
        return mr_err_sys(err, ENOTDIR, "make directory %s", path);
    return again ? sync_parent_again(path, err) : MR_OK;
}

/* How many names a path's rest has. */
static size_t names_in(const char *rest)
{
    size_t n = 0;
    for (rest += strspn(rest, "/"); *rest; rest += strspn(rest, "/")) {
        rest += strcspn(rest, "/");
        n++;
    }
    return n;
}

enum mr_code mr_dir_make(const char *path, unsigned mode, struct mr_err *err)
{
    char made[PATH_MAX];
    enum mr_code code = copy_path(path, made, err);
    if (code != MR_OK)
        return code;
    size_t n = strlen(made);
    for (size_t i = 1; i <= n && code == MR_OK; i++) {
        if (made[i] != '/' && made[i] != '\0')
            continue;
        if (made[i - 1] == '/')
            continue; /* a doubled slash ends no name */
        char kept = made[i];
        made[i] = '\0';
        /* the last two: no program of ours makes more of them by itself */
        code = make_one(made, mode, names_in(path + i) < 2, err);
        made[i] = kept;
    }
    return code;
}

enum mr_code mr_write_all(int fd, const void *bytes, size_t n, const char *name, struct mr_err *err)
{
    const char *p = bytes;
    while (n > 0) {
        ssize_t wrote = write(fd, p, n);
        if (wrote < 0) {
            if (errno == EINTR)
                continue;
            return mr_err_sys(err, errno, "write %zu bytes to %s", n, name);
        }
        p += wrote;
        n -= (size_t)wrote;
    }
    return MR_OK;
}

/* Writes `bytes` to a new file `temp` and makes them durable; leaves nothing behind if it fails. */
static enum mr_code write_temp(const char *temp, struct mr_str bytes, unsigned mode, struct mr_err *err)
{
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, (mode_t)mode);
    if (fd < 0)
        return mr_err_sys(err, errno, "create %s", temp);
    enum mr_code code = mr_write_all(fd, bytes.p, bytes.n, temp, err);
    if (code == MR_OK)
        code = mr_file_sync(fd, temp, err);
    if (close(fd) != 0 && code == MR_OK)
        code = mr_err_sys(err, errno, "close %s", temp);
    if (code != MR_OK)
        unlink(temp);
    return code;
}

enum mr_code mr_file_replace(const char *path, struct mr_str bytes, unsigned mode, struct mr_err *err)
{
    char temp[PATH_MAX];
    if (snprintf(temp, sizeof temp, "%s.tmp", path) >= (int)sizeof temp)
        return mr_err_sys(err, ENAMETOOLONG, "replace %.64s", path);
    enum mr_code code = write_temp(temp, bytes, mode, err);
    if (code != MR_OK)
        return code;
    if (rename(temp, path) != 0) {
        code = mr_err_sys(err, errno, "rename %s", temp);
        unlink(temp);
        return code;
    }
    return sync_parent(path, err);
}

static enum mr_code read_all(int fd, const char *path, size_t limit, char **out, size_t *n, struct mr_err *err)
{
    size_t cap = limit < 4096 ? limit : 4096, got = 0;
    char *p = malloc(cap + 1);
    while (p) {
        ssize_t r = read(fd, p + got, cap + 1 - got); /* one past cap: tells "just fits" from "more to come" */
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0) {
            mr_err_sys(err, errno, "read %s", path);
            free(p);
            return err ? err->code : MR_EIO;
        }
        got += (size_t)r;
        if (r == 0) {
            p[got] = '\0';
            *out = p;
            *n = got;
            return MR_OK;
        }
        if (got <= cap)
            continue;
        if (cap >= limit) {
            free(p);
            return mr_err_set(err, MR_ETOOBIG, "read %s: larger than %zu bytes", path, limit);
        }
        cap = cap > limit / 2 ? limit : cap * 2;
        char *larger = realloc(p, cap + 1);
        if (!larger)
            free(p);
        p = larger;
    }
    return mr_err_sys(err, ENOMEM, "read %s", path);
}

enum mr_code mr_file_read(const char *path, size_t limit, char **out, size_t *n, struct mr_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return mr_err_sys(err, errno, "open %s", path);
    enum mr_code code = read_all(fd, path, limit, out, n, err);
    close(fd);
    return code;
}

enum mr_code mr_disk_free(const char *path, uint64_t *bytes, struct mr_err *err)
{
    struct statvfs fs;
    if (statvfs(path, &fs) != 0)
        return mr_err_sys(err, errno, "free space of %s", path);
    *bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    return MR_OK;
}

uint64_t mr_descriptors_want(uint64_t wanted)
{
    struct rlimit now;
    if (getrlimit(RLIMIT_NOFILE, &now) != 0)
        return 0;
    if (now.rlim_cur < wanted) {
        struct rlimit more = {.rlim_cur = wanted < now.rlim_max ? wanted : now.rlim_max, .rlim_max = now.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &more) == 0)
            now = more;
    }
    return now.rlim_cur;
}
