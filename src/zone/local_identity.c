/* SPDX-License-Identifier: Apache-2.0 */
/* local_identity.c - whose zone this is and how far it had come: what keeps a store that was lost, or restored from a
 * backup, from landing everything again. A file that cannot be read is never taken for one that is not there. */
#include "local.h"

#include "millrace/fault.h"
#include "millrace/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ID_FILE_MAX = 64 << 10 };

/* Over the mark that is there: always as long as this, inside one sector, so it is written whole or not at all, and one sync of
 * data does what a replacement needs two and a rename for, each a commit of the file system's journal that the queue's syncs wait behind.
 * false: there is none of this length yet. */
static bool write_in_place(const char *path, const char *text, size_t n, enum mr_code *code, struct mr_err *err)
{
    struct stat st;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool fits = fstat(fd, &st) == 0 && st.st_size == (off_t)n;
    if (fits) {
        *code = mr_write_all(fd, text, n, path, err);
        if (*code == MR_OK)
            *code = mr_file_sync(fd, path, err);
    }
    close(fd);
    return fits;
}

enum mr_code local_mark_decided(struct mr_zone *z, const char *instance, int64_t number, struct mr_err *err)
{
    char path[PATH_MAX], text[MR_ZONE_MARK_MAX];
    int fault = MR_POINT(decided_mark);
    if (fault)
        return mr_err_sys(err, fault, "mark %lld as decided", (long long)number);
    enum mr_code code = local_path(local_of(z), LOCAL_DECIDED, instance, path, err);
    if (code != MR_OK)
        return code;
    size_t n = mr_zone_mark_put(text, number);
    if (write_in_place(path, text, n, &code, err))
        return code;
    return mr_file_replace(path, (struct mr_str){text, n}, LOCAL_FILE_MODE, err);
}

static enum mr_code read_mark(const char *path, int64_t *number, struct mr_err *err)
{
    char *text;
    size_t n;
    enum mr_code code = mr_file_read(path, MR_ZONE_MARK_MAX, &text, &n, err);
    if (code != MR_OK)
        return code;
    code = mr_zone_mark_read((struct mr_str){text, n}, number) ? MR_OK : mr_err_set(err, MR_ECORRUPT, "%s: not a decided number; see `millrace state adopt`", path);
    free(text);
    return code;
}

static bool is_temporary(const char *name)
{
    size_t n = strlen(name);
    return n >= 4 && strcmp(name + n - 4, ".tmp") == 0; /* mr_file_replace() died before its rename */
}

static enum mr_code read_marks(struct local *l, int64_t *highest, struct mr_err *err)
{
    char path[PATH_MAX];
    enum mr_code code = local_path(l, LOCAL_DECIDED, NULL, path, err);
    if (code != MR_OK)
        return code;
    DIR *d = opendir(path);
    if (!d)
        return mr_err_sys(err, errno, "read %s", path);
    for (struct dirent *e; code == MR_OK && (e = readdir(d)) != NULL;) {
        int64_t number = 0;
        if (e->d_name[0] == '.' || is_temporary(e->d_name))
            continue;
        code = local_path(l, LOCAL_DECIDED, e->d_name, path, err);
        if (code == MR_OK)
            code = read_mark(path, &number, err);
        if (code == MR_OK && number > *highest)
            *highest = number;
    }
    closedir(d);
    return code;
}

static enum mr_code has_data(struct local *l, bool *has, struct mr_err *err)
{
    DIR *d = opendir(l->root);
    if (!d)
        return mr_err_sys(err, errno, "read %s", l->root);
    for (struct dirent *e; !*has && (e = readdir(d)) != NULL;)
        *has = strncmp(e->d_name, "source=", 7) == 0;
    closedir(d);
    return MR_OK;
}

enum mr_code local_identity(struct mr_zone *z, struct mr_zone_id *id, struct mr_err *err)
{
    struct local *l = local_of(z);
    *id = (struct mr_zone_id){0};
    char path[PATH_MAX], *text;
    size_t n;
    enum mr_code code = local_path(l, LOCAL_ID_FILE, NULL, path, err);
    if (code != MR_OK)
        return code;
    code = mr_file_read(path, ID_FILE_MAX, &text, &n, err);
    if (code == MR_OK) {
        code = mr_zone_id_read((struct mr_str){text, n}, id->store_id) ? MR_OK : mr_err_set(err, MR_ECORRUPT, "%s: names no store; see `millrace state adopt`", path);
        id->present = code == MR_OK;
        free(text);
    } else if (code == MR_ENOENT) {
        code = MR_OK;
    }
    if (code == MR_OK)
        code = read_marks(l, &id->highest_decided, err);
    if (code == MR_OK)
        code = has_data(l, &id->has_data, err);
    return code;
}

enum mr_code local_identify(struct mr_zone *z, const char *store_id, struct mr_err *err)
{
    char path[PATH_MAX];
    int fault = MR_POINT(zone_id);
    if (fault)
        return mr_err_sys(err, fault, "write " LOCAL_ID_FILE);
    enum mr_code code = local_path(local_of(z), LOCAL_ID_FILE, NULL, path, err);
    if (code != MR_OK)
        return code;
    struct mr_buf text;
    mr_buf_init(&text, 4096);
    mr_zone_id_put(&text, store_id);
    code = text.failed ? mr_err_set(err, MR_ETOOBIG, LOCAL_ID_FILE)
                       : mr_file_replace(path, mr_buf_str(&text), LOCAL_FILE_MODE, err);
    mr_buf_free(&text);
    return code;
}

enum mr_code local_write_sealed(struct mr_zone *z, const char *folder, struct mr_str json, struct mr_err *err)
{
    struct local *l = local_of(z);
    char path[PATH_MAX];
    struct stat st;
    enum mr_code code = local_path(l, folder, NULL, path, err);
    if (code == MR_OK && stat(path, &st) != 0 && errno == ENOENT)
        return MR_OK; /* somebody has taken the day away: no folder is made for this alone */
    if (code == MR_OK)
        code = local_folder(l, folder, err);
    if (code == MR_OK)
        code = local_path(l, folder, "_SEALED", path, err);
    if (code == MR_OK && stat(path, &st) == 0)
        return MR_OK; /* a sealed day never changes, nor does this */
    return code == MR_OK ? mr_file_replace(path, json, LOCAL_FILE_MODE, err) : code;
}
