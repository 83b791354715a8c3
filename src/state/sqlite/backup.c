/* SPDX-License-Identifier: Apache-2.0 */
/* backup.c - a copy of one moment, whole and durable or not there at all.
 *
 * VACUUM INTO on a connection of its own, on another lane: decisions go on meanwhile, and the copy has no holes. It is
 * written beside its final name, synced, and renamed in a way that never replaces what somebody else has put at that
 * name. Ways to fail: the name is taken (MR_EEXIST), no room, not readable; then the half copy is deleted. */
#include "state/sqlite/lite.h"

#include "millrace/file.h"
#include "millrace/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static enum mr_code vacuum_into(const char *from, const char *part, struct mr_err *err)
{
    struct mr_lite l;
    if (mr_lite_open(&l, from, true, err) != MR_OK)
        return err->code;
    enum mr_code code = mr_sql_run(&l.db, "VACUUM INTO ?", "c", part);
    mr_lite_close(&l);
    return code;
}

static enum mr_code sync_file(const char *path, struct mr_err *err)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return mr_err_sys(err, errno, "open %s", path);
    enum mr_code code = mr_file_sync(fd, path, err);
    close(fd);
    return code;
}

static enum mr_code sync_folder(const char *path, struct mr_err *err)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : slash ? (int)(slash - path) : 1, slash ? path : ".");
    return mr_dir_sync(folder, err);
}

static enum mr_code make_part(const char *part, struct mr_err *err)
{
    int fd =
        open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600); /* SQLite takes an empty file, and keeps its mode */
    if (fd < 0)
        return mr_err_sys(err, errno, "create %s", part);
    close(fd);
    return MR_OK;
}

static enum mr_code name_it(const char *part, const char *to, struct mr_err *err)
{
    if (renameat2(AT_FDCWD, part, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return MR_OK;
    if (errno != EINVAL && errno != ENOSYS)
        return mr_err_sys(err, errno, "name it");
    /* not every file system knows that; those have links */
    if (link(part, to) != 0)
        return mr_err_sys(err, errno, "name it");
    return unlink(part) == 0 ? MR_OK : mr_err_sys(err, errno, "delete %s", part);
}

enum mr_code mr_lite_backup(const char *from, const char *to, struct mr_err *err)
{
    char part[4096];
    unsigned char r[4];
    struct stat st;
    if (lstat(to, &st) == 0)
        return mr_err_set(err, MR_EEXIST, "backup %s: there is a file already; choose another name", to);
    mr_random(r, sizeof r);
    if (snprintf(part, sizeof part, "%s.%02x%02x%02x%02x.part", to, r[0], r[1], r[2], r[3]) >= (int)sizeof part)
        return mr_err_set(err, MR_ECONFIG, "backup %s: the path is too long", to);
    if (make_part(part, err) != MR_OK)
        return mr_err_wrap(err, "backup");
    if (vacuum_into(from, part, err) != MR_OK || sync_file(part, err) != MR_OK || name_it(part, to, err) != MR_OK) {
        unlink(part);
        return mr_err_wrap(err, "backup %s", to);
    }
    return sync_folder(to, err);
}
