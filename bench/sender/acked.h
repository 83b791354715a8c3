/* SPDX-License-Identifier: Apache-2.0 */
/* bench/sender/acked.h - the list of event ids that got a 2xx, one a line, in the order of the answers.
 *
 * An id is listed after its 2xx was read and never otherwise. Buffered: a caller flushes now and then if others read
 * along. */
#ifndef BENCH_ACKED_H
#define BENCH_ACKED_H
#include <stddef.h>

struct mr_acked {
    int fd; /* -1: no list is kept */
    size_t used;
    char buf[64 << 10];
};

/* Makes the list at `path` anew; a null path keeps none. Ends the program if it can't. */
void mr_acked_open(struct mr_acked *list, const char *path);
void mr_acked_add(struct mr_acked *list, const char *id, size_t length);
void mr_acked_flush(struct mr_acked *list);
void mr_acked_close(struct mr_acked *list);

#endif
