/* SPDX-License-Identifier: Apache-2.0 */
/* place.h - what a place (a directory, a bucket) must offer to be a zone. Private to this folder; zone.h has the
 * promises. */
#ifndef MILLRACE_ZONE_PLACE_H
#define MILLRACE_ZONE_PLACE_H

#include "millrace/zone.h"

struct mr_zone_place {
    const char *scheme; /* "file:", what the url begins with */
    enum mr_code (*open)(const char *rest, struct mr_zone **out, struct mr_err *err);
    void (*close)(struct mr_zone *z);
    enum mr_code (*instance)(struct mr_zone *z, const char *instance, struct mr_err *err);
    enum mr_code (*stage_create)(struct mr_zone *z, const char *instance, const char *name, struct mr_stage_file **out,
                                 struct mr_err *err);
    enum mr_code (*stage_write)(struct mr_stage_file *f, struct mr_str bytes, struct mr_err *err);
    enum mr_code (*stage_sync)(struct mr_stage_file *f, uint32_t *crc32c, int64_t *bytes, struct mr_err *err);
    const char *(*stage_staged)(const struct mr_stage_file *f);
    void (*stage_close)(struct mr_stage_file *f, bool drop);
    void (*unstage)(struct mr_zone *z, const char *staged);
    enum mr_code (*mark_decided)(struct mr_zone *z, const char *instance, int64_t number, struct mr_err *err);
    enum mr_code (*publish)(struct mr_zone *z, struct mr_publish_item *items, size_t count, struct mr_err *err);
    enum mr_code (*sweep)(struct mr_zone *z, const char *instance, const char *const *keep, size_t keep_count,
                          struct mr_err *err);
    enum mr_code (*stages)(struct mr_zone *z, struct mr_buf *out, struct mr_err *err);
    enum mr_code (*identity)(struct mr_zone *z, struct mr_zone_id *id, struct mr_err *err);
    enum mr_code (*identify)(struct mr_zone *z, const char *store_id, struct mr_err *err);
    enum mr_code (*write_sealed)(struct mr_zone *z, const char *folder, struct mr_str json, struct mr_err *err);
    enum mr_code (*free_bytes)(struct mr_zone *z, uint64_t *bytes, struct mr_err *err);
    enum mr_code (*check_file)(struct mr_zone *z, struct mr_file_check *check, struct mr_err *err);
    enum mr_code (*list)(struct mr_zone *z, mr_zone_each each, void *arg, struct mr_err *err);
};

/* First member of every place's own struct. */
struct mr_zone {
    const struct mr_zone_place *place;
};
struct mr_stage_file {
    const struct mr_zone_place *place;
};

extern const struct mr_zone_place mr_zone_local;

#endif
