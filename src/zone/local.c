/* SPDX-License-Identifier: Apache-2.0 */
/* local.c - a zone in a directory: its folders, its instances and their locks, what lies in it. See local.h. */
#include "local.h"

#include "millrace/fault.h"
#include "millrace/file.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum mr_code local_path(const struct local *l, const char *path, const char *name, char out[PATH_MAX],
                        struct mr_err *err)
{
    int n = snprintf(out, PATH_MAX, "%s/%s%s%s", l->root, path, name ? "/" : "", name ? name : "");
    return n < PATH_MAX ? MR_OK : mr_err_sys(err, ENAMETOOLONG, "path %.100s", path);
}

/* ---- folders ---- */

static uint64_t hash_of(const char *s, size_t n)
{
    uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * UINT64_C(1099511628211);
    return h ? h : 1;
}

static bool is_vouched(struct local *l, uint64_t hash)
{
    pthread_mutex_lock(&l->mutex);
    bool is = l->vouched[hash % LOCAL_VOUCHED] == hash;
    pthread_mutex_unlock(&l->mutex);
    return is;
}

static void vouch(struct local *l, uint64_t hash, uint64_t value)
{
    pthread_mutex_lock(&l->mutex);
    if (value || l->vouched[hash % LOCAL_VOUCHED] == hash)
        l->vouched[hash % LOCAL_VOUCHED] = value; /* a collision forgets the other: it is synced once more */
    pthread_mutex_unlock(&l->mutex);
}

void local_folder_gone(struct local *l, const char *path)
{
    vouch(l, hash_of(path, strlen(path)), 0);
}

/* Syncs the folders in which `path`'s parts are entered, the root last. */
static enum mr_code sync_way(struct local *l, const char *path, struct mr_err *err)
{
    char way[PATH_MAX];
    enum mr_code code = local_path(l, path, NULL, way, err);
    size_t root_n = strlen(l->root);
    while (code == MR_OK && strlen(way) > root_n) {
        *strrchr(way, '/') = '\0';
        code = mr_dir_sync(way[0] ? way : "/", err);
    }
    return code;
}

enum mr_code local_folder(struct local *l, const char *path, struct mr_err *err)
{
    char full[PATH_MAX];
    enum mr_code code = local_path(l, path, NULL, full, err);
    if (code != MR_OK)
        return code;
    uint64_t hash = hash_of(path, strlen(path));
    struct stat st;
    bool there = stat(full, &st) == 0 && S_ISDIR(st.st_mode);
    if (there && is_vouched(l, hash))
        return MR_OK;
    if (!there)
        code = mr_dir_make(full, LOCAL_DIR_MODE, err);
    if (code == MR_OK)
        code = sync_way(l, path, err);
    if (code == MR_OK)
        vouch(l, hash, hash);
    return code;
}

/* ---- open and close ---- */

/* The root's own entry. A parent that may be passed but not read (0711) cannot be synced by us: whoever made the root
 * did it. */
static enum mr_code sync_above(const char *root, struct mr_err *err)
{
    char above[PATH_MAX];
    snprintf(above, sizeof above, "%s", root);
    char *slash = strrchr(above, '/');
    if (!slash)
        memcpy(above, ".", 2);
    else
        slash[slash == above] = '\0';
    enum mr_code code = mr_dir_sync(above, err);
    return code == MR_EPERM ? MR_OK : code;
}

static enum mr_code make_root(struct local *l, struct mr_err *err)
{
    enum mr_code code = mr_dir_make(l->root, LOCAL_DIR_MODE, err);
    if (code == MR_OK)
        code = sync_above(l->root, err);
    if (code == MR_OK)
        code = local_folder(l, LOCAL_STAGING, err);
    if (code == MR_OK)
        code = local_folder(l, LOCAL_DECIDED, err);
    if (code != MR_OK)
        return code;
    l->root_fd = open(l->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return l->root_fd < 0 ? mr_err_sys(err, errno, "open %s", l->root) : MR_OK;
}

static void free_local(struct local *l)
{
    for (struct local_lock *k = l->locks, *next; k; k = next) {
        next = k->next;
        close(k->fd);
        free(k);
    }
    if (l->root_fd >= 0)
        close(l->root_fd);
    pthread_mutex_destroy(&l->mutex);
    free(l->root);
    free(l);
}

static void local_close(struct mr_zone *z, void (*cb)(void *arg), void *arg)
{
    free_local(local_of(z));
    if (cb)
        cb(arg);
}

static enum mr_code local_open(const struct mr_zone_options *options, const char *rest, struct mr_zone **out, struct mr_err *err)
{
    (void)options;
    if (strncmp(rest, "//", 2) == 0)
        rest += 2; /* file:///path */
    size_t n = strlen(rest);
    while (n > 1 && rest[n - 1] == '/')
        n--;
    if (n == 0 || n >= PATH_MAX - NAME_MAX)
        return mr_err_set(err, MR_ECONFIG, "zone.url: file: needs a path of less than %d bytes", PATH_MAX - NAME_MAX);
    struct local *l = calloc(1, sizeof *l);
    char *root = strndup(rest, n);
    if (!l || !root) {
        free(l);
        free(root);
        return mr_err_sys(err, ENOMEM, "zone");
    }
    l->base.place = &mr_zone_local;
    l->root = root;
    l->root_fd = -1;
    int rc = pthread_mutex_init(&l->mutex, NULL);
    assert(rc == 0);
    struct mr_err why;
    enum mr_code code = make_root(l, &why);
    if (code != MR_OK) {
        free_local(l);
        return mr_err_set(err, code, "zone file:%.*s: %s", (int)(n < 200 ? n : 200), rest, why.msg);
    }
    *out = &l->base;
    return MR_OK;
}

/* ---- instances ----
 * The lock belongs to the open file description, so closing another descriptor of the same file in this process does
 * not end it, and mr_zone_stages() can ask who holds it without taking it for a moment. */

enum { FOLDER_MAX = sizeof LOCAL_STAGING + NAME_MAX + 1, LOCK_TRIES = 8 };

static enum mr_code instance_folder(const char *instance, char out[FOLDER_MAX], struct mr_err *err)
{
    if (snprintf(out, FOLDER_MAX, LOCAL_STAGING "/%s", instance) >= FOLDER_MAX)
        return mr_err_sys(err, ENAMETOOLONG, "instance %.64s", instance);
    return MR_OK;
}

static struct flock whole_file(void)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

bool local_holds(struct local *l, const char *instance)
{
    bool found = false;
    pthread_mutex_lock(&l->mutex);
    for (struct local_lock *k = l->locks; k && !found; k = k->next)
        found = strcmp(k->instance, instance) == 0;
    pthread_mutex_unlock(&l->mutex);
    return found;
}

static enum mr_code lock_file(const char *path, const char *instance, int *out, struct mr_err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, LOCAL_FILE_MODE);
    if (fd < 0)
        return mr_err_sys(err, errno, "open %s", path);
    struct flock lock = whole_file();
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0) {
        *out = fd;
        return MR_OK;
    }
    int sys = errno;
    close(fd);
    if (sys == EAGAIN || sys == EACCES)
        return mr_err_set(err, MR_EINUSE, "instance %s: another process holds %s", instance, path);
    return mr_err_sys(err, sys, "lock %s", path);
}

/* A sweeper may have removed file and folder between our open and our lock: then we hold the lock of nothing. */
static bool still_there(int fd, const char *path)
{
    struct stat held, named;
    return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_ino == named.st_ino &&
           held.st_dev == named.st_dev;
}

static enum mr_code take_lock(struct local *l, const char *instance, int *out, struct mr_err *err)
{
    char folder[FOLDER_MAX], path[PATH_MAX];
    enum mr_code code = instance_folder(instance, folder, err);
    if (code == MR_OK)
        code = local_path(l, folder, LOCAL_LOCK, path, err);
    for (int tries = 0; code == MR_OK && tries < LOCK_TRIES; tries++) {
        code = local_folder(l, folder, err);
        if (code != MR_OK)
            return code;
        code = lock_file(path, instance, out, err);
        if (code == MR_OK && still_there(*out, path))
            return MR_OK;
        if (code == MR_OK)
            close(*out);
        else if (code == MR_ENOENT)
            code = MR_OK; /* swept between the two */
    }
    return code == MR_OK ? mr_err_set(err, MR_EBUSY, "instance %s: its folder is being swept", instance) : code;
}

static enum mr_code local_instance(struct mr_zone *z, const char *instance, struct mr_stage_ledger *ledger, struct mr_err *err)
{
    (void)ledger; /* the folders tell */
    struct local *l = local_of(z);
    if (local_holds(l, instance))
        return MR_OK;
    size_t n = strlen(instance) + 1;
    struct local_lock *k = malloc(sizeof *k + n);
    if (!k)
        return mr_err_sys(err, ENOMEM, "instance %s", instance);
    memcpy(k->instance, instance, n);
    enum mr_code code = take_lock(l, instance, &k->fd, err);
    if (code != MR_OK) {
        free(k);
        return code;
    }
    pthread_mutex_lock(&l->mutex);
    k->next = l->locks;
    l->locks = k;
    pthread_mutex_unlock(&l->mutex);
    return MR_OK;
}

static DIR *open_dir(const struct local *l, const char *path)
{
    int fd = openat(l->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d && fd >= 0)
        close(fd);
    return d;
}

/* Whether any process, this one too, holds the instance's lock. A folder without a lock file is of one that died at
 * once. */
static bool is_held(const struct local *l, const char *instance)
{
    char folder[FOLDER_MAX], path[PATH_MAX];
    if (instance_folder(instance, folder, NULL) != MR_OK || local_path(l, folder, LOCAL_LOCK, path, NULL) != MR_OK)
        return true;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno != ENOENT;
    struct flock lock = whole_file();
    bool held = fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
    close(fd);
    return held;
}

static enum mr_code local_stages(struct mr_zone *z, struct mr_buf *out, struct mr_err *err)
{
    struct local *l = local_of(z);
    DIR *d = open_dir(l, LOCAL_STAGING);
    if (!d)
        return mr_err_sys(err, errno, "read %s/" LOCAL_STAGING, l->root);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.' || is_held(l, e->d_name))
            continue;
        mr_buf_puts(out, e->d_name);
        mr_buf_putc(out, '\n');
    }
    closedir(d);
    return out->failed ? mr_err_set(err, MR_ETOOBIG, "list of %s/" LOCAL_STAGING, l->root) : MR_OK;
}

/* ---- sweep ---- */

static bool is_kept(const char *staged, const char *const *keep, size_t keep_count)
{
    for (size_t i = 0; i < keep_count; i++)
        if (strcmp(staged, keep[i]) == 0)
            return true;
    return false;
}

static enum mr_code sweep_one(struct local *l, const char *staged, struct mr_err *err)
{
    int fault = MR_POINT(resume_sweep);
    if (fault)
        return mr_err_sys(err, fault, "sweep %s", staged);
    if (unlinkat(l->root_fd, staged, 0) != 0 && errno != ENOENT)
        return mr_err_sys(err, errno, "sweep %s", staged);
    return MR_OK;
}

/* The empty folder of an instance that is gone, else each start would leave one for ever. Taking its lock first keeps a
 * process that starts under the same name from losing the folder; it notices (still_there) and makes it again. */
static void remove_folder(struct local *l, const char *folder, const char *instance)
{
    char path[PATH_MAX];
    int fd = -1;
    if (local_path(l, folder, LOCAL_LOCK, path, NULL) != MR_OK || access(path, F_OK) != 0) {
        unlinkat(l->root_fd, folder, AT_REMOVEDIR); /* never locked: fails if it is not empty */
        return;
    }
    if (lock_file(path, instance, &fd, NULL) != MR_OK)
        return;
    unlink(path);
    local_folder_gone(l, folder);
    unlinkat(l->root_fd, folder, AT_REMOVEDIR);
    close(fd);
}

static enum mr_code local_sweep(struct mr_zone *z, const char *instance, const char *const *keep, size_t keep_count,
                                struct mr_err *err)
{
    struct local *l = local_of(z);
    char folder[FOLDER_MAX], staged[PATH_MAX];
    enum mr_code worst = instance_folder(instance, folder, err);
    if (worst != MR_OK)
        return worst;
    DIR *d = open_dir(l, folder);
    if (!d)
        return errno == ENOENT ? MR_OK : mr_err_sys(err, errno, "sweep %s", folder);
    size_t kept = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || strcmp(e->d_name, LOCAL_LOCK) == 0)
            continue;
        if (snprintf(staged, sizeof staged, LOCAL_STAGING "/%s/%s", instance, e->d_name) >= PATH_MAX) {
            kept++;
            continue;
        }
        if (is_kept(staged, keep, keep_count)) {
            kept++;
            continue;
        }
        enum mr_code code = sweep_one(l, staged, worst == MR_OK ? err : NULL);
        if (worst == MR_OK)
            worst = code;
    }
    closedir(d);
    if (worst == MR_OK && kept == 0 && !local_holds(l, instance))
        remove_folder(l, folder, instance);
    return worst;
}

/* ---- what lies in the zone ---- */

/* The levels of the documented glob: source=* / stream=* / ingest_date=* / *.ndjson* */
static const char *const levels[] = {"source=", "stream=", "ingest_date="};

struct walk {
    struct local *l;
    mr_zone_each each;
    void *arg;
    char path[PATH_MAX];
};

static enum mr_code walk_level(struct walk *w, size_t level, struct mr_err *err);

static enum mr_code walk_entry(struct walk *w, size_t level, const char *name, struct mr_err *err)
{
    bool folder = level < MR_COUNT(levels);
    if (folder ? strncmp(name, levels[level], strlen(levels[level])) != 0 : !mr_zone_data_name(name))
        return MR_OK;
    size_t n = strlen(w->path);
    if (snprintf(w->path + n, sizeof w->path - n, "%s%s", n ? "/" : "", name) >= (int)(sizeof w->path - n)) {
        w->path[n] = '\0';
        return mr_err_sys(err, ENAMETOOLONG, "%.100s", name);
    }
    enum mr_code code = MR_OK;
    struct stat st;
    if (folder)
        code = walk_level(w, level + 1, err);
    else if (fstatat(w->l->root_fd, w->path, &st, 0) == 0)
        w->each(w->arg, w->path, (int64_t)st.st_size);
    else if (errno != ENOENT)
        code = mr_err_sys(err, errno, "stat %s", w->path);
    w->path[n] = '\0';
    return code;
}

/* Recursion three levels deep, as many as the contract has. */
static enum mr_code walk_level(struct walk *w, size_t level, struct mr_err *err)
{
    DIR *d = open_dir(w->l, w->path[0] ? w->path : ".");
    if (!d)
        return errno == ENOENT || errno == ENOTDIR ? MR_OK : mr_err_sys(err, errno, "read %s/%s", w->l->root, w->path);
    enum mr_code code = MR_OK;
    for (struct dirent *e; code == MR_OK && (e = readdir(d)) != NULL;)
        code = walk_entry(w, level, e->d_name, err);
    closedir(d);
    return code;
}

static enum mr_code local_list(struct mr_zone *z, mr_zone_each each, void *arg, struct mr_err *err)
{
    struct walk w = {.l = local_of(z), .each = each, .arg = arg};
    return walk_level(&w, 0, err);
}

static enum mr_code local_free_bytes(struct mr_zone *z, uint64_t *bytes, struct mr_err *err)
{
    return mr_disk_free(local_of(z)->root, bytes, err);
}

const struct mr_zone_place mr_zone_local = {
    .scheme = "file:",
    .open = local_open,
    .close = local_close,
    .instance = local_instance,
    .stage_create = local_stage_create,
    .stage_write = local_stage_write,
    .stage_sync = local_stage_sync,
    .stage_staged = local_stage_staged,
    .stage_close = local_stage_close,
    .unstage = local_unstage,
    .mark_decided = local_mark_decided,
    .publish = local_publish,
    .sweep = local_sweep,
    .stages = local_stages,
    .identity = local_identity,
    .identify = local_identify,
    .write_sealed = local_write_sealed,
    .free_bytes = local_free_bytes,
    .check_file = local_check_file,
    .list = local_list,
};
