/* SPDX-License-Identifier: Apache-2.0 */
/* slow_resolver.c - LD_PRELOAD: looking up hang.test takes five seconds, whoever asks; all else is looked up as ever. */
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

typedef int look_up(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    look_up *real;
    void *found = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&real, &found, sizeof real);
    if (node && strcmp(node, "hang.test") == 0) {
        sleep(5);
        return EAI_AGAIN;
    }
    return real(node, service, hints, out);
}
