/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

void remove_tree(const char *path)
{
    assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

int fixture_temp_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    snprintf(f->root, sizeof f->root, "/tmp/millrace-zone-XXXXXX");
    assert_non_null(mkdtemp(f->root));
    snprintf(f->url, sizeof f->url, "file:%s", f->root);
    *state = f;
    return 0;
}

int fixture_up(void **state)
{
    fixture_temp_up(state);
    struct fixture *f = *state;
    assert_int_equal(mr_zone_open(&(struct mr_zone_options){.url = f->url}, &f->zone, &f->err), MR_OK);
    assert_int_equal(mr_zone_instance(f->zone, ME, NULL, &f->err), MR_OK);
    return 0;
}

int fixture_down(void **state)
{
    struct fixture *f = *state;
    mr_zone_close(f->zone, NULL, NULL);
    remove_tree(f->root);
    free(f);
    return 0;
}

static void full_path(const struct fixture *f, const char *path, char out[PATH_MAX])
{
    assert_true(snprintf(out, PATH_MAX, "%s/%s", f->root, path) < PATH_MAX);
}

bool exists(const struct fixture *f, const char *path)
{
    char full[PATH_MAX];
    full_path(f, path, full);
    return access(full, F_OK) == 0;
}

void put_file(const struct fixture *f, const char *path, struct mr_str bytes)
{
    char full[PATH_MAX];
    full_path(f, path, full);
    for (char *p = full + strlen(f->root) + 1; (p = strchr(p, '/')) != NULL; *p++ = '/') {
        *p = '\0';
        assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
    }
    int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes.p, bytes.n), bytes.n);
    close(fd);
}

bool file_is(const struct fixture *f, const char *path, struct mr_str want)
{
    char full[PATH_MAX], text[4096];
    full_path(f, path, full);
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    return n >= 0 && mr_str_eq((struct mr_str){text, (size_t)n}, want);
}

struct mr_publish_item stage(struct fixture *f, const char *name, struct mr_str bytes)
{
    struct mr_stage_file *file;
    struct mr_publish_item item = {.code = MR_EIO};
    assert_int_equal(mr_stage_file_create(f->zone, &(struct mr_stage_name){.instance = ME, .name = name}, &file, &f->err), MR_OK);
    size_t half = bytes.n / 2;
    assert_int_equal(mr_stage_file_write(file, (struct mr_str){bytes.p, half}, &f->err), MR_OK);
    assert_int_equal(mr_stage_file_write(file, (struct mr_str){bytes.p + half, bytes.n - half}, &f->err), MR_OK);
    assert_int_equal(mr_stage_file_sync(file, &item.crc32c, &item.bytes, &f->err), MR_OK);
    item.staged = strdup(mr_stage_file_staged(file));
    mr_stage_file_close(file, false);
    char path[PATH_MAX];
    snprintf(path, sizeof path, DAY_FOLDER "/%s.ndjson", name);
    item.path = strdup(path);
    assert_true(item.staged && item.path);
    return item;
}

void item_free(struct mr_publish_item *item)
{
    free((char *)(uintptr_t)item->staged);
    free((char *)(uintptr_t)item->path);
}
