/* SPDX-License-Identifier: Apache-2.0 */
/* holding.c - LD_PRELOAD: calls that a test holds for as long as it wants; tests/lib/hold.py is its other end.
 *
 * The environment's MRT_HOLD is a folder. While WHAT is a file there, each call of that kind first makes the file WHAT.N (N: 1, 2, … of the process) and goes on
 * once that is gone: so a test sees that a call has come, and lets go of each by itself. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_NS = 20 * 1000 * 1000 };

/* true: it is to be held, and the test sees it; the name of its file. WHAT is locked meanwhile, so that nobody is held whom the test, which has just taken it away, does not see. */
static bool comes(const char *what, atomic_int *count, char path[512])
{
    const char *folder = getenv("MRT_HOLD");
    struct stat st;
    if (!folder || snprintf(path, 512, "%s/%s", folder, what) >= 512)
        return false;
    int lock = open(path, O_RDONLY | O_CLOEXEC);
    if (lock < 0)
        return false;
    bool held = flock(lock, LOCK_SH) == 0 && fstat(lock, &st) == 0 && st.st_nlink > 0;
    if (held) {
        snprintf(path, 512, "%s/%s.%d", folder, what, atomic_fetch_add(count, 1) + 1);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0)
            abort();
        close(fd);
    }
    close(lock);
    return held;
}

static void hold(const char *what, atomic_int *count)
{
    char path[512];
    bool held = comes(what, count, path);
    while (held && access(path, F_OK) == 0)
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
}

static void real(const char *name, void *to, size_t n) /* as ISO C has it: an object pointer is no function pointer */
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    memcpy(to, &found, n);
}

/* stage: a staged file is about to be made durable. */

static void hold_stage(int fd)
{
    static atomic_int count;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path);
    if (n > 5 && memcmp(path + n - 5, ".part", 5) == 0)
        hold("stage", &count);
}

int fsync(int fd)
{
    int (*f)(int);
    real("fsync", &f, sizeof f);
    hold_stage(fd);
    return f(fd);
}

int fdatasync(int fd)
{
    int (*f)(int);
    real("fdatasync", &f, sizeof f);
    hold_stage(fd);
    return f(fd);
}

/* client: a client of Kafka is about to be made. */

void *rd_kafka_new(int type, void *conf, char *why, size_t why_n)
{
    static atomic_int count;
    void *(*f)(int, void *, char *, size_t);
    real("rd_kafka_new", &f, sizeof f);
    hold("client", &count);
    return f(type, conf, why, why_n);
}

/* committed: the brokers are about to be asked what the group has committed. */

int rd_kafka_committed(void *rk, void *partitions, int timeout_ms)
{
    static atomic_int count;
    int (*f)(void *, void *, int);
    real("rd_kafka_committed", &f, sizeof f);
    hold("committed", &count);
    return f(rk, partitions, timeout_ms);
}

/* closed: a client has left its group, and the answer is no as long as that is held; the caller goes on, since it is the loop. */

int rd_kafka_consumer_closed(void *rk)
{
    static atomic_int count;
    char path[512];
    int (*f)(void *);
    real("rd_kafka_consumer_closed", &f, sizeof f);
    return comes("closed", &count, path) ? 0 : f(rk);
}
