/* SPDX-License-Identifier: Apache-2.0 */
/* bench/disk/disk.c - what one durable write of 1 KiB costs on the disk under DIR, in three ways.
 *
 *     mr_bench_disk DIR [SECONDS]      SECONDS (default 1) is shared by the three ways
 *
 * Prints one JSON line: p50 and p99 in microseconds of `dsync` (pwritev2 with RWF_DSYNC, blocks written before),
 * `fdatasync` (pwrite and fdatasync, blocks written before) and `growing` (write and fdatasync at the end of a growing
 * file). The three take turns, so that a disturbed second disturbs all of them. */
#include "lib/oldlog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RECORD_BYTES = 1024, LOG_BYTES = 8 << 20, MAX_SAMPLES = 200000 };
enum way { DSYNC, FDATASYNC, GROWING, WAYS };

struct probe {
    struct mr_oldlog dsync, fdatasync;
    int growing_fd;
    uint64_t *samples_ns[WAYS];
    size_t count;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void append(struct probe *p, enum way way, const void *record)
{
    if (way == DSYNC) {
        mr_oldlog_append_durable(&p->dsync, record, RECORD_BYTES);
    } else if (way == FDATASYNC) {
        mr_oldlog_append_fdatasync(&p->fdatasync, record, RECORD_BYTES);
    } else if (write(p->growing_fd, record, RECORD_BYTES) != RECORD_BYTES || fdatasync(p->growing_fd) != 0) {
        fprintf(stderr, "disk: growing file: %s\n", strerror(errno));
        exit(1);
    }
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void print_way(struct probe *p, enum way way, const char *name)
{
    qsort(p->samples_ns[way], p->count, sizeof(uint64_t), by_value);
    printf("%s\"%s\":{\"p50_us\":%.1f,\"p99_us\":%.1f}", way == DSYNC ? "{" : ",", name,
           (double)p->samples_ns[way][p->count / 2] / 1e3, (double)p->samples_ns[way][p->count * 99 / 100] / 1e3);
}

int main(int argc, char **argv)
{
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 1.0;
    if (argc < 2 || chdir(argv[1]) != 0 || !(seconds > 0 && seconds <= 600)) {
        fprintf(stderr, "usage: mr_bench_disk DIR [SECONDS]\n");
        return 2;
    }
    struct probe p = {0};
    mr_oldlog_open(&p.dsync, "probe.dsync", LOG_BYTES);
    mr_oldlog_open(&p.fdatasync, "probe.fdatasync", LOG_BYTES);
    p.growing_fd = open("probe.growing", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    for (int way = 0; way < WAYS; way++) {
        p.samples_ns[way] = calloc(MAX_SAMPLES, sizeof(uint64_t));
        if (!p.samples_ns[way] || p.growing_fd < 0)
            abort();
    }
    char record[RECORD_BYTES];
    memset(record, 'x', sizeof record);
    uint64_t end_ns = now_ns() + (uint64_t)(seconds * 1e9);
    while (p.count == 0 || (now_ns() < end_ns && p.count < MAX_SAMPLES)) {
        for (int way = 0; way < WAYS; way++) {
            uint64_t begin_ns = now_ns();
            append(&p, (enum way)way, record);
            p.samples_ns[way][p.count] = now_ns() - begin_ns;
        }
        p.count++;
    }
    print_way(&p, DSYNC, "dsync");
    print_way(&p, FDATASYNC, "fdatasync");
    print_way(&p, GROWING, "growing");
    printf(",\"samples\":%zu}\n", p.count);
    mr_oldlog_close(&p.dsync);
    mr_oldlog_close(&p.fdatasync);
    close(p.growing_fd);
    unlink("probe.dsync");
    unlink("probe.fdatasync");
    unlink("probe.growing");
    for (int way = 0; way < WAYS; way++)
        free(p.samples_ns[way]);
    return 0;
}
