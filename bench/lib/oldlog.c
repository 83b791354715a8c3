/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/oldlog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "log: %s: %s\n", what, strerror(errno));
    exit(1);
}

void mr_oldlog_open(struct mr_oldlog *log, const char *path, uint64_t size_bytes)
{
    static const char zeros[1 << 20];
    log->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (log->fd < 0)
        die(path);
    log->size_bytes = size_bytes;
    log->at = 0;
    for (uint64_t done = 0; done < size_bytes;) {
        uint64_t left = size_bytes - done;
        ssize_t n = pwrite(log->fd, zeros, left < sizeof zeros ? (size_t)left : sizeof zeros, (off_t)done);
        if (n <= 0)
            die("write over");
        done += (uint64_t)n;
    }
    if (fsync(log->fd) != 0)
        die("fsync");
}

/* Where the next `length` bytes go; the log starts again at zero when they no longer fit. */
static off_t reserve(struct mr_oldlog *log, size_t length)
{
    if (log->at + length > log->size_bytes)
        log->at = 0;
    uint64_t at = log->at;
    log->at += length;
    return (off_t)at;
}

void mr_oldlog_append_durable(struct mr_oldlog *log, const void *bytes, size_t length)
{
    /* iov_base is not const though a write only reads it; the union says so without a cast. */
    union {
        const void *in;
        void *out;
    } base = {.in = bytes};
    struct iovec iov = {.iov_base = base.out, .iov_len = length};
    if (pwritev2(log->fd, &iov, 1, reserve(log, length), RWF_DSYNC) != (ssize_t)length)
        die("pwritev2");
}

void mr_oldlog_append_fdatasync(struct mr_oldlog *log, const void *bytes, size_t length)
{
    if (pwrite(log->fd, bytes, length, reserve(log, length)) != (ssize_t)length)
        die("pwrite");
    if (fdatasync(log->fd) != 0)
        die("fdatasync");
}

void mr_oldlog_close(struct mr_oldlog *log)
{
    close(log->fd);
}
