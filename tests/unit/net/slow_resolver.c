/* SPDX-License-Identifier: Apache-2.0 */
/* slow_resolver.c - LD_PRELOAD: looking up hang.test waits until somebody opens the FIFO that the environment's MRT_HANG names for writing; all else is looked up as ever. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int look_up(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static void hang(void)
{
    const char *fifo = getenv("MRT_HANG");
    int fd;
    if (!fifo)
        abort();
    while ((fd = open(fifo, O_RDONLY | O_CLOEXEC)) < 0)
        if (errno != EINTR)
            abort();
    close(fd);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    look_up *real;
    void *found = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&real, &found, sizeof real);
    if (node && strcmp(node, "hang.test") == 0) {
        hang();
        return EAI_AGAIN;
    }
    return real(node, service, hints, out);
}
