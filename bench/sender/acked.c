/* SPDX-License-Identifier: Apache-2.0 */
#include "sender/acked.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "sender: list of acknowledged ids: %s: %s\n", what, strerror(errno));
    exit(1);
}

void mr_acked_open(struct mr_acked *list, const char *path)
{
    list->fd = -1;
    list->used = 0;
    if (!path)
        return;
    list->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (list->fd < 0)
        die(path);
}

void mr_acked_add(struct mr_acked *list, const char *id, size_t length)
{
    if (list->fd < 0)
        return;
    if (list->used + length + 1 > sizeof list->buf)
        mr_acked_flush(list);
    memcpy(list->buf + list->used, id, length);
    list->buf[list->used + length] = '\n';
    list->used += length + 1;
}

void mr_acked_flush(struct mr_acked *list)
{
    for (size_t done = 0; list->fd >= 0 && done < list->used;) {
        ssize_t n = write(list->fd, list->buf + done, list->used - done);
        if (n < 0)
            die("write");
        done += (size_t)n;
    }
    list->used = 0;
}

void mr_acked_close(struct mr_acked *list)
{
    mr_acked_flush(list);
    if (list->fd >= 0 && close(list->fd) != 0)
        die("close");
    list->fd = -1;
}
