/* SPDX-License-Identifier: Apache-2.0 */
/* local_stage.c - a file that no reader can see yet.
 *
 * happy path    create -> write ... -> sync (file, then its folder) -> closed, to be published by its staged path
 * ways to fail  a write or sync that fails makes it suspect (zone.c)
 * on close      dropped: deleted; else it stays for publish, or for the sweep of the next start */
#include "local.h"

#include "millrace/fault.h"
#include "millrace/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct stage_file {
    struct mr_stage_file base;
    struct local *l;
    int fd;
    char staged[]; /* relative to the zone */
};

static struct stage_file *stage_of(struct mr_stage_file *file)
{
    return MR_OF(file, struct stage_file, base);
}

static struct stage_file *stage_new(struct local *l, const char *instance, const char *name)
{
    size_t n = sizeof LOCAL_STAGING + strlen(instance) + strlen(name) + sizeof "//.part";
    struct stage_file *f = calloc(1, sizeof *f + n);
    if (!f)
        return NULL;
    f->base.place = &mr_zone_local;
    f->l = l;
    snprintf(f->staged, n, LOCAL_STAGING "/%s/%s.part", instance, name);
    return f;
}

enum mr_code local_stage_create(struct mr_zone *z, const struct mr_stage_name *name, struct mr_stage_file **out, struct mr_err *err)
{
    struct local *l = local_of(z);
    struct stage_file *f = stage_new(l, name->instance, name->name);
    if (!f)
        return mr_err_sys(err, ENOMEM, "stage %s", name->name);
    int fault = MR_POINT(stage_create);
    /* O_EXCL: a name that is taken is another landing's; its bytes are not ours to write over. */
    f->fd = fault ? -1 : openat(l->root_fd, f->staged, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, LOCAL_FILE_MODE);
    if (f->fd < 0) {
        enum mr_code code = mr_err_sys(err, fault ? fault : errno, "create %s/%s", l->root, f->staged);
        free(f);
        return code;
    }
    *out = &f->base;
    return MR_OK;
}

enum mr_code local_stage_write(struct mr_stage_file *file, struct mr_str bytes, struct mr_err *err)
{
    struct stage_file *f = stage_of(file);
    int fault = MR_POINT(stage_write);
    return fault ? mr_err_sys(err, fault, "write %zu bytes to %s", bytes.n, f->staged) : mr_write_all(f->fd, bytes.p, bytes.n, f->staged, err);
}

/* The folder's entry too: a decided landing whose file has no name after a power cut is lost. */
enum mr_code local_stage_sync(struct mr_stage_file *file, struct mr_err *err)
{
    struct stage_file *f = stage_of(file);
    int fault = MR_POINT(stage_sync);
    if (fault)
        return mr_err_sys(err, fault, "sync %s", f->staged);
    enum mr_code code = mr_file_sync(f->fd, f->staged, err);
    if (code != MR_OK)
        return code;
    char folder[PATH_MAX];
    code = local_path(f->l, f->staged, NULL, folder, err);
    if (code != MR_OK)
        return code;
    *strrchr(folder, '/') = '\0';
    code = mr_dir_sync(folder, err);
    if (code != MR_OK)
        return code;
    fault = MR_POINT(stage_synced);
    return fault ? mr_err_sys(err, fault, "sync %s", f->staged) : MR_OK;
}

const char *local_stage_staged(const struct mr_stage_file *file)
{
    return ((const struct stage_file *)(const void *)file)->staged; /* base is its first member */
}

void local_stage_close(struct mr_stage_file *file, bool drop)
{
    struct stage_file *f = stage_of(file);
    close(f->fd);
    if (drop)
        unlinkat(f->l->root_fd, f->staged, 0);
    free(f);
}

void local_unstage(struct mr_zone *z, const char *staged, const char *path)
{
    (void)path;
    unlinkat(local_of(z)->root_fd, staged, 0);
}
