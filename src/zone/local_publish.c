/* SPDX-License-Identifier: Apache-2.0 */
/* local_publish.c - staged files get their final names.
 *
 * happy path    every file is renamed -> each folder that lost or got a name is synced once -> all is durable
 * ways to fail  an item whose file is gone, or whose name is taken by other bytes: its own code, the others go on; a
 * folder that cannot be synced: its items are not published yet, call again again         a file that is under its
 * final name already is done, but its folders are synced all the same: whoever renamed it may have died before the sync
 */
#include "local.h"

#include "millrace/fault.h"
#include "millrace/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* link refuses a name that is taken, as RENAME_NOREPLACE does; after a crash between the two calls the file has both
 * names, which the next publish heals. */
static int move_by_link(int root_fd, const char *from, const char *to)
{
    if (linkat(root_fd, from, root_fd, to, 0) != 0)
        return errno;
    return unlinkat(root_fd, from, 0) == 0 ? 0 : errno;
}

/* Never over something that is there. Returns an errno. */
static int move(int root_fd, const char *from, const char *to)
{
    if (renameat2(root_fd, from, root_fd, to, RENAME_NOREPLACE) == 0)
        return 0;
    return errno == EINVAL || errno == ENOSYS ? move_by_link(root_fd, from, to)
                                              : errno; /* some file systems lack the flag */
}

static bool is_there(struct local *l, const char *path, struct stat *st)
{
    return fstatat(l->root_fd, path, st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void folder_of(const char *path, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s", path);
    char *slash = strrchr(out, '/');
    if (slash)
        *slash = '\0';
    else
        memcpy(out, ".", 2);
}

/* The plain move is not to be had: what does the zone hold? */
static enum mr_code settle(struct local *l, const struct mr_publish_item *item, struct mr_err *err)
{
    struct stat staged, final;
    bool has_staged = is_there(l, item->staged, &staged), has_final = is_there(l, item->path, &final);
    if (has_final && S_ISREG(final.st_mode) && final.st_size == item->bytes) {
        if (has_staged && staged.st_ino == final.st_ino && staged.st_dev == final.st_dev)
            unlinkat(l->root_fd, item->staged, 0); /* two names of one file, left by a crash */
        return MR_OK;
    }
    if (has_staged && staged.st_size != item->bytes) /* the disk lost some of it: torn lines must not be published */
        return mr_err_set(err, MR_ENOENT, "publish %s: %s has %lld bytes instead of %lld", item->path, item->staged,
                          (long long)staged.st_size, (long long)item->bytes);
    if (has_staged && !has_final) /* its folder went away under the rename */
        return mr_err_set(err, MR_EIO, "publish %s: its folder is gone", item->path);
    if (has_staged)
        return mr_err_set(err, MR_EEXIST, "publish %s: another file has this name", item->path);
    if (!has_final)
        return mr_err_set(err, MR_ENOENT, "publish %s: neither it nor %s is there", item->path, item->staged);
    return mr_err_set(err, MR_ENOENT, "publish %s: has %lld bytes instead of %lld, and %s is gone", item->path,
                      (long long) final.st_size, (long long)item->bytes, item->staged);
}

static enum mr_code rename_item(struct local *l, const struct mr_publish_item *item, struct mr_err *err)
{
    int sys = MR_POINT(publish_rename);
    if (sys)
        return mr_err_sys(err, sys, "publish %s", item->path);
    struct stat st;
    if (!is_there(l, item->staged, &st))
        return errno == ENOENT ? settle(l, item, err) : mr_err_sys(err, errno, "stat %s", item->staged);
    if (st.st_size != item->bytes)
        return settle(l, item, err);
    char folder[PATH_MAX];
    folder_of(item->path, folder);
    enum mr_code code = local_folder(l, folder, err);
    if (code != MR_OK)
        return code;
    sys = move(l->root_fd, item->staged, item->path);
    if (sys == EEXIST || sys == ENOENT)
        return settle(l, item, err);
    return sys ? mr_err_sys(err, sys, "publish %s", item->path) : MR_OK;
}

/* ---- each folder once ---- */

struct folders {
    char **paths;
    size_t count;
};

/* The folder's index; it joins the list if it is new. SIZE_MAX: no memory. */
static size_t folder_index(struct folders *fs, const char *path)
{
    for (size_t i = fs->count; i-- > 0;) /* files of one landing lie side by side: the last is the likeliest */
        if (strcmp(fs->paths[i], path) == 0)
            return i;
    char *copy = strdup(path);
    if (!copy)
        return SIZE_MAX;
    fs->paths[fs->count] = copy;
    return fs->count++;
}

static enum mr_code sync_folder(struct local *l, const char *path, struct mr_err *err)
{
    char full[PATH_MAX];
    enum mr_code code = local_path(l, path, NULL, full, err);
    if (code == MR_OK)
        code = mr_dir_sync(full, err);
    /* An instance's staging folder that a sweep has removed since has no entry left that could come back. */
    if (code == MR_ENOENT && strncmp(path, LOCAL_STAGING "/", sizeof LOCAL_STAGING) == 0)
        return MR_OK;
    /* The rename worked, so nothing is lost: somebody has moved the zone, and may move it back. */
    return code == MR_ENOENT ? mr_err_set(err, MR_EIO, "sync %s: the folder is gone", full) : code;
}

static void folder_fail(struct mr_publish_item *items, size_t count, const char *folder, enum mr_code code)
{
    char of[PATH_MAX];
    for (size_t i = 0; i < count; i++) {
        if (items[i].code != MR_OK)
            continue;
        folder_of(items[i].path, of);
        bool is_in = strcmp(of, folder) == 0;
        folder_of(items[i].staged, of);
        if (is_in || strcmp(of, folder) == 0)
            items[i].code = code;
    }
}

static enum mr_code sync_folders(struct local *l, struct folders *fs, struct mr_publish_item *items, size_t count,
                                 struct mr_err *err)
{
    char folder[PATH_MAX];
    for (size_t i = 0; i < count; i++) {
        if (items[i].code != MR_OK)
            continue;
        /* Where it went to before where it came from: should the power go in between, it has a name at least. */
        folder_of(items[i].path, folder);
        if (folder_index(fs, folder) == SIZE_MAX)
            return mr_err_sys(err, ENOMEM, "publish");
        folder_of(items[i].staged, folder);
        if (folder_index(fs, folder) == SIZE_MAX)
            return mr_err_sys(err, ENOMEM, "publish");
    }
    enum mr_code first = MR_OK;
    for (size_t i = 0; i < fs->count; i++) {
        enum mr_code code = sync_folder(l, fs->paths[i], first == MR_OK ? err : NULL);
        if (code == MR_OK)
            continue;
        folder_fail(items, count, fs->paths[i], code);
        if (first == MR_OK)
            first = code;
    }
    return first;
}

static void fail_all(struct mr_publish_item *items, size_t count, enum mr_code code)
{
    for (size_t i = 0; i < count; i++)
        if (items[i].code == MR_OK)
            items[i].code = code;
}

/* The folders' syncs, between the two points. */
static enum mr_code make_durable(struct local *l, struct mr_publish_item *items, size_t count, struct mr_err *err)
{
    int fault = MR_POINT(publish_renamed);
    if (fault) {
        fail_all(items, count, mr_err_sys(err, fault, "publish: after the renames"));
        return mr_err_sys(NULL, fault, "publish");
    }
    struct folders fs = {.paths = calloc(2 * count, sizeof *fs.paths)};
    enum mr_code code = fs.paths ? sync_folders(l, &fs, items, count, err) : mr_err_sys(err, ENOMEM, "publish");
    if (code == MR_ENOMEM)
        fail_all(items, count, code);
    for (size_t i = 0; i < fs.count; i++)
        free(fs.paths[i]);
    free(fs.paths);
    fault = code == MR_OK ? MR_POINT(publish_synced) : 0;
    if (fault) {
        code = mr_err_sys(err, fault, "publish: after the syncs");
        fail_all(items, count, code);
    }
    return code;
}

enum mr_code local_publish(struct mr_zone *z, struct mr_publish_item *items, size_t count, struct mr_err *err)
{
    struct local *l = local_of(z);
    enum mr_code first = MR_OK;
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        items[i].code = rename_item(l, &items[i], first == MR_OK ? err : NULL);
        if (items[i].code == MR_OK)
            any = true;
        else if (first == MR_OK)
            first = items[i].code;
    }
    if (!any)
        return first;
    enum mr_code code = make_durable(l, items, count, first == MR_OK ? err : NULL);
    return first != MR_OK ? first : code;
}
