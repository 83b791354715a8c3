/* SPDX-License-Identifier: Apache-2.0 */
#include "sender/histogram.h"

#include <stddef.h>

/* Below 64 a bucket holds one value; from there on, bucket (e, m) holds the values whose top seven bits are 1m and
 * whose highest bit is e + 6. */
static size_t bucket_of(uint64_t ns)
{
    if (ns < MR_HISTOGRAM_STEPS)
        return (size_t)ns;
    unsigned shift = 57u - (unsigned)__builtin_clzll(ns);
    return (size_t)(shift + 1) * MR_HISTOGRAM_STEPS + (size_t)((ns >> shift) - MR_HISTOGRAM_STEPS);
}

static uint64_t bucket_top(size_t bucket)
{
    if (bucket < MR_HISTOGRAM_STEPS)
        return bucket;
    unsigned shift = (unsigned)(bucket / MR_HISTOGRAM_STEPS - 1);
    return ((uint64_t)(bucket % MR_HISTOGRAM_STEPS + MR_HISTOGRAM_STEPS + 1) << shift) - 1;
}

void mr_histogram_add(struct mr_histogram *h, uint64_t ns)
{
    h->counts[bucket_of(ns)]++;
    h->total++;
    if (ns > h->max_ns)
        h->max_ns = ns;
}

uint64_t mr_histogram_quantile_ns(const struct mr_histogram *h, double q)
{
    uint64_t wanted = (uint64_t)(q * (double)h->total), seen = 0;
    for (size_t b = 0; b < MR_HISTOGRAM_BUCKETS; b++) {
        seen += h->counts[b];
        if (seen > wanted || (seen == h->total && seen > 0)) {
            uint64_t top = bucket_top(b);
            return top < h->max_ns ? top : h->max_ns;
        }
    }
    return 0;
}
