/* SPDX-License-Identifier: Apache-2.0 */
/* home.c - data_dir: the lock that says who lives there, and the id by which a store that others share knows who lived there before. */
#include "app.h"

#include "millrace/file.h"
#include "millrace/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum mr_code app_lock(const char *data_dir, int *fd, struct mr_err *err)
{
    char path[4096];
    if (mr_dir_make(data_dir, 0750, err) != MR_OK)
        return mr_err_wrap(err, "data_dir");
    snprintf(path, sizeof path, "%s/lock", data_dir);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (*fd < 0)
        return mr_err_sys(err, errno, "open %s", path);
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
        return MR_OK;
    close(*fd);
    *fd = -1;
    return mr_err_set(
        err, MR_EINUSE,
        "data_dir %s is in use by another millrace; stop that one, or give this one a data_dir of its own", data_dir);
}

/* Made once, under the lock. */
static enum mr_code make(const char *path, char home[33], struct mr_err *err)
{
    unsigned char r[16];
    mr_random(r, sizeof r);
    for (size_t i = 0; i < sizeof r; i++)
        snprintf(home + 2 * i, 3, "%02x", r[i]);
    return mr_file_replace(path, mr_str_c(home), 0640, err);
}

enum mr_code app_home(const char *data_dir, char home[33], struct mr_err *err)
{
    char path[4096], *text = NULL;
    size_t n = 0;
    snprintf(path, sizeof path, "%s/home", data_dir);
    if (mr_file_read(path, 64, &text, &n, err) == MR_ENOENT) {
        err->code = MR_OK;
        return make(path, home, err);
    }
    if (err->code == MR_OK && n == 32 && strspn(text, "0123456789abcdef") == 32)
        memcpy(home, text, 33);
    else if (err->code == MR_OK)
        mr_err_set(err, MR_ECONFIG, "%s holds no id of 32 hex digits; delete it while no millrace uses this data_dir: it is made again", path);
    free(text);
    return err->code;
}
