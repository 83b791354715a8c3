/* SPDX-License-Identifier: Apache-2.0 */
/* place.h - what a place (a directory, a bucket) must offer to be a zone. Private to this folder; zone.h has the
 * promises. */
#ifndef MILLRACE_ZONE_PLACE_H
#define MILLRACE_ZONE_PLACE_H

#include "millrace/zone.h"

struct mr_zone_place {
    const char *scheme; /* "file:", what the url begins with */
    bool far;
    enum mr_code (*open)(const struct mr_zone_options *options, const char *rest, struct mr_zone **out, struct mr_err *err);
    void (*hurry)(struct mr_zone *z, int64_t ms); /* NULL: it is never slow */
    void (*close)(struct mr_zone *z, void (*cb)(void *arg), void *arg);
    enum mr_code (*instance)(struct mr_zone *z, const char *instance, struct mr_stage_ledger *ledger, struct mr_err *err);
    enum mr_code (*stage_create)(struct mr_zone *z, const struct mr_stage_name *name, struct mr_stage_file **out, struct mr_err *err);
    enum mr_code (*stage_write)(struct mr_stage_file *f, struct mr_str bytes, struct mr_err *err);
    enum mr_code (*stage_sync)(struct mr_stage_file *f, struct mr_err *err);
    const char *(*stage_staged)(const struct mr_stage_file *f);
    void (*stage_close)(struct mr_stage_file *f, bool drop);
    void (*unstage)(struct mr_zone *z, const char *staged, const char *path);
    enum mr_code (*abort)(struct mr_zone *z, const char *path, const char *id, struct mr_err *err); /* NULL: it has none */
    enum mr_code (*mark_decided)(struct mr_zone *z, const char *instance, int64_t number, struct mr_err *err);
    enum mr_code (*publish)(struct mr_zone *z, struct mr_publish_item *items, size_t count, struct mr_err *err);
    /* NULL: what is staged is in the ledger, not in folders */
    enum mr_code (*sweep)(struct mr_zone *z, const char *instance, const char *const *keep, size_t keep_count,
                          struct mr_err *err);
    enum mr_code (*stages)(struct mr_zone *z, struct mr_buf *out, struct mr_err *err);
    enum mr_code (*identity)(struct mr_zone *z, struct mr_zone_id *id, struct mr_err *err);
    enum mr_code (*identify)(struct mr_zone *z, const char *store_id, struct mr_err *err);
    enum mr_code (*write_sealed)(struct mr_zone *z, const char *folder, struct mr_str json, struct mr_err *err);
    enum mr_code (*free_bytes)(struct mr_zone *z, uint64_t *bytes, struct mr_err *err);
    enum mr_code (*check_file)(struct mr_zone *z, struct mr_file_check *check, struct mr_err *err);
    enum mr_code (*list)(struct mr_zone *z, mr_zone_each each, void *arg, struct mr_err *err);
    void (*try)(struct mr_zone *z, mr_zone_say say, void *arg); /* NULL: nothing to try */
};

/* First member of every place's own struct. */
struct mr_zone {
    const struct mr_zone_place *place;
};
struct mr_stage_file {
    const struct mr_zone_place *place;
    /* zone.c's */
    bool suspect; /* a write or sync of it failed */
    uint32_t crc;
    int64_t bytes;
};

extern const struct mr_zone_place mr_zone_local, mr_zone_s3;

/* Is it a data file of the documented glob, source=* / stream=* / ingest_date=* / *.ndjson*? Pure. */
bool mr_zone_is_data(const char *path);
bool mr_zone_data_name(const char *name); /* its last part */

/* The texts of zone.json and of a mark, the same in every place. Pure. */
enum { MR_ZONE_MARK_MAX = 32 };
void mr_zone_id_put(struct mr_buf *out, const char *store_id);
bool mr_zone_id_read(struct mr_str text, char store_id[37]);
size_t mr_zone_mark_put(char text[MR_ZONE_MARK_MAX], int64_t number);
bool mr_zone_mark_read(struct mr_str text, int64_t *number);

/* verify.c: what is in a file of this machine, held against what was decided; its name says how it is packed. */
MR_MUST enum mr_code mr_zone_check_bytes(const char *file, const char *name, struct mr_file_check *check, struct mr_err *err);

#endif
