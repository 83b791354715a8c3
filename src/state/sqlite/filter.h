/* SPDX-License-Identifier: Apache-2.0 */
/* filter.h - which event ids can a day's table not hold? Answered from memory, so that a new id costs no look into any
 * table.
 *
 * One blocked Bloom filter a day (Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom Filters, 2007): an id
 * has 7 bits in one cache line, at 10 bits an id; about one absent id in a hundred is looked up for nothing. Ids are
 * digests, so their bytes are the hashes. A day that grows gets further parts, each four times as large as the one before.
 * "No" is certain for a whole day only: one whose table was empty when the filter began, or has been read since. Of a day that
 * is not known, or had no room, everything may be there.
 *
 * Pure memory; an id that was added and then rolled back costs a look. Runs on: lane STATE. */
#ifndef MILLRACE_STATE_SQLITE_FILTER_H
#define MILLRACE_STATE_SQLITE_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mr_filter;
struct mr_filter *mr_filter_new(size_t bytes_max); /* of bits; above it the oldest day is given up */
void mr_filter_free(struct mr_filter *f);          /* NULL is harmless */
bool mr_filter_may(const struct mr_filter *f, int32_t day, const unsigned char id[16]);
void mr_filter_add(struct mr_filter *f, int32_t day, const unsigned char id[16]); /* harmless for a day that is not known */
/* A day begins, if it is not known: `empty` if its table is, else it is whole after mr_filter_whole(). ids: so many are
 * there. */
void mr_filter_begin(struct mr_filter *f, int32_t day, size_t ids, bool empty);
void mr_filter_whole(struct mr_filter *f, int32_t day);
bool mr_filter_knows(const struct mr_filter *f, int32_t day);
void mr_filter_drop(struct mr_filter *f, int32_t day);
size_t mr_filter_bytes(const struct mr_filter *f);

#endif
