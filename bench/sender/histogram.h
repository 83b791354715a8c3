/* SPDX-License-Identifier: Apache-2.0 */
/* bench/sender/histogram.h - latencies in fixed memory: 64 steps in each power of two, so a quantile errs by 1.6 % at
 * most. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H
#include <stdint.h>

enum { MR_HISTOGRAM_STEPS = 64, MR_HISTOGRAM_BUCKETS = 59 * MR_HISTOGRAM_STEPS };

struct mr_histogram {
    uint64_t counts[MR_HISTOGRAM_BUCKETS];
    uint64_t total, max_ns;
};

void mr_histogram_add(struct mr_histogram *h, uint64_t ns);

/* The latency that the share `q` (0 to 1) of all stayed at or below, rounded up to its step; 0 if there are none. */
uint64_t mr_histogram_quantile_ns(const struct mr_histogram *h, double q);

#endif
