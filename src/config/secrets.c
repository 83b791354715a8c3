/* SPDX-License-Identifier: Apache-2.0 */
#include "config/secrets.h"

#include "config/errors.h"
#include "config/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENV "${env:"
#define FILE_ "${file:"

static bool begins(struct mr_str text, const char *with)
{
    size_t n = strlen(with);
    return text.n >= n && memcmp(text.p, with, n) == 0;
}

bool mr_reference_is(struct mr_str text)
{
    return begins(text, "${");
}

bool mr_reference_inside(struct mr_str text)
{
    for (size_t i = 1; i < text.n; i++) {
        struct mr_str rest = {text.p + i, text.n - i};
        if (begins(rest, ENV) || begins(rest, FILE_))
            return true;
    }
    return false;
}

static bool env_name_ok(const char *name)
{
    if (*name == '\0' || (*name >= '0' && *name <= '9'))
        return false;
    return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789") == strlen(name);
}

static bool from_env(const struct mr_resolver *resolver, const char *name, char **value, size_t *n, struct mr_buf *why)
{
    if (!env_name_ok(name)) {
        mr_buf_puts(why, "not a name of an environment variable: ");
        mr_config_quote(why, mr_str_c(name));
        return false;
    }
    const char *found = resolver->env(resolver->env_arg, name);
    if (!found || *found == '\0') {
        mr_buf_printf(why, "the environment variable %s is %s", name, found ? "empty" : "not set");
        return false;
    }
    *n = strlen(found);
    *value = mr_config_dup((struct mr_str){found, *n});
    return true;
}

/* A regular file only, and opened without waiting: a pipe here would hang the start, or a reload, for ever. */
static int open_regular(const char *path, struct mr_buf *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        mr_buf_printf(why, "cannot read %s: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        mr_buf_printf(why, "cannot read %s: not a regular file", path);
    } else {
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool read_file(const char *path, char *into, size_t *n, struct mr_buf *why)
{
    int fd = open_regular(path, why);
    if (fd < 0)
        return false;
    ssize_t got = 1;
    *n = 0;
    while (got > 0 && *n <= MR_SECRET_BYTES_MAX) {
        got = read(fd, into + *n, MR_SECRET_BYTES_MAX + 1 - *n);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            *n += (size_t)got;
    }
    if (got < 0)
        mr_buf_printf(why, "cannot read %s: %s", path, strerror(errno));
    else if (*n > MR_SECRET_BYTES_MAX)
        mr_buf_printf(why, "%s is larger than %d bytes, too large for a secret", path, MR_SECRET_BYTES_MAX);
    close(fd);
    return got >= 0 && *n <= MR_SECRET_BYTES_MAX;
}

static bool from_file(const struct mr_resolver *resolver, const char *name, char **value, size_t *n, struct mr_buf *why)
{
    char path[4096];
    int length = name[0] == '/' ? snprintf(path, sizeof path, "%s", name) : snprintf(path, sizeof path, "%s/%s", resolver->folder, name);
    if (*name == '\0' || length >= (int)sizeof path) {
        mr_buf_printf(why, "expected ${file:PATH} with a path%s", *name == '\0' ? "" : " below 4096 bytes");
        return false;
    }
    char *bytes = mr_config_alloc(1, MR_SECRET_BYTES_MAX + 1);
    size_t read = 0;
    bool ok = read_file(path, bytes, &read, why);
    size_t used = read;
    if (used > 0 && bytes[used - 1] == '\n')
        used--;
    if (used < read && used > 0 && bytes[used - 1] == '\r')
        used--;
    if (ok && used == 0) {
        mr_buf_printf(why, "%s is empty", path);
        ok = false;
    }
    if (ok) {
        *n = used;
        *value = mr_config_dup((struct mr_str){bytes, used});
    }
    mr_config_drop(bytes, read);
    return ok;
}

bool mr_reference_resolve(const struct mr_resolver *resolver, struct mr_str text, char **value, size_t *n, struct mr_buf *why)
{
    bool env = begins(text, ENV), file = begins(text, FILE_);
    size_t skip = env ? sizeof ENV - 1 : sizeof FILE_ - 1;
    if ((!env && !file) || text.p[text.n - 1] != '}' || memchr(text.p, '}', text.n - 1) || memchr(text.p, '\0', text.n)) {
        mr_buf_puts(why, "expected the whole value to be ${env:NAME} or ${file:PATH}");
        return false;
    }
    char *name = mr_config_dup((struct mr_str){text.p + skip, text.n - 1 - skip});
    bool ok = env ? from_env(resolver, name, value, n, why) : from_file(resolver, name, value, n, why);
    free(name);
    return ok;
}
