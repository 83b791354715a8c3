/* SPDX-License-Identifier: Apache-2.0 */
/* local.h - a zone in a directory. Private to this folder.
 *
 *   <root>/_staging/<instance>/lock          held by a write lock (fcntl, of the open file) while the instance's
 * process lives <root>/_staging/<instance>/<name>.part   staged: no reader looks there <root>/_millrace/zone.json the
 * store's id <root>/_millrace/decided/<instance>      the highest decided number, as text
 *   <root>/source=.../stream=.../ingest_date=.../<name>.ndjson*   published
 *
 * All paths in calls are relative to the root. What is shared between threads is behind `mutex`; all else is fixed at
 * open. */
#ifndef MILLRACE_ZONE_LOCAL_H
#define MILLRACE_ZONE_LOCAL_H

#include "place.h"

#include <limits.h>
#include <pthread.h>

#define LOCAL_STAGING "_staging"
#define LOCAL_DECIDED "_millrace/decided"
#define LOCAL_ID_FILE "_millrace/zone.json"
#define LOCAL_LOCK    "lock"

enum { LOCAL_DIR_MODE = 0750, LOCAL_FILE_MODE = 0640, LOCAL_VOUCHED = 1024 };

struct local_lock {
    struct local_lock *next;
    int fd; /* the lock ends with it */
    char instance[];
};

struct local {
    struct mr_zone base;
    char *root; /* absolute or as given, without a slash at its end */
    int root_fd;
    pthread_mutex_t mutex;
    struct local_lock *locks;
    /* Hashes of folders whose whole way from the root this process has synced: a process that died between mkdir and
     * the sync of the parent leaves a folder that looks made and is not durable. 0 is an empty place. */
    uint64_t vouched[LOCAL_VOUCHED];
};

/* "<root>/<path>" and, if name is not NULL, "/<name>". */
MR_MUST enum mr_code local_path(const struct local *l, const char *path, const char *name, char out[PATH_MAX],
                                struct mr_err *err);
bool local_holds(struct local *l, const char *instance);
/* Makes the folder `path` where it is missing and makes it durable up to the root. */
MR_MUST enum mr_code local_folder(struct local *l, const char *path, struct mr_err *err);
void local_folder_gone(struct local *l, const char *path);

enum mr_code local_stage_create(struct mr_zone *z, const struct mr_stage_name *name, struct mr_stage_file **out, struct mr_err *err);
enum mr_code local_stage_write(struct mr_stage_file *file, struct mr_str bytes, struct mr_err *err);
enum mr_code local_stage_sync(struct mr_stage_file *file, struct mr_err *err);
const char *local_stage_staged(const struct mr_stage_file *file);
void local_stage_close(struct mr_stage_file *file, bool drop);
void local_unstage(struct mr_zone *z, const char *staged, const char *path);
enum mr_code local_publish(struct mr_zone *z, struct mr_publish_item *items, size_t count, struct mr_err *err);
enum mr_code local_mark_decided(struct mr_zone *z, const char *instance, int64_t number, struct mr_err *err);
enum mr_code local_identity(struct mr_zone *z, struct mr_zone_id *id, struct mr_err *err);
enum mr_code local_identify(struct mr_zone *z, const char *store_id, struct mr_err *err);
enum mr_code local_write_sealed(struct mr_zone *z, const char *folder, struct mr_str json, struct mr_err *err);
enum mr_code local_check_file(struct mr_zone *z, struct mr_file_check *check, struct mr_err *err);

static inline struct local *local_of(struct mr_zone *z)
{
    return MR_OF(z, struct local, base);
}

#endif
