/* SPDX-License-Identifier: Apache-2.0 */
/* config.h - the config file, read once, checked whole, typed.
 *
 * The doors bring their rows (option.h); this module brings the file, the rows of the program itself, the errors and the pages made from
 * the rows. It includes no door: whoever loads a config hands the doors in. All errors of a file come at once, sorted by position, each with
 * what was expected. A secret stands in the file as ${env:NAME} or ${file:PATH} only; its value is in the result and nowhere else: no message
 * shows it, and mr_config_free() cleanses it.
 *
 * Relative paths count from the config file's folder and are absolute in the result, zone.url too.
 * Blocks (reads files): Runs on: start-up, or a worker. No shared state: two configs may be loaded by two threads. */
#ifndef MILLRACE_CONFIG_H
#define MILLRACE_CONFIG_H

#include "millrace/compress.h"
#include "millrace/door.h"
#include "millrace/log.h"

#include <stdio.h>

enum { MR_CONFIG_BYTES_MAX = 1 << 20, MR_SOURCE_NAME_MAX = 128 };

struct mr_config_source {
    char *name;               /* [A-Za-z0-9._-], not beginning with _ or . */
    size_t door;              /* index into doors */
    void *options;            /* doors[door]->options_size bytes, filled by its rows */
    struct mr_where where;    /* of the door's key below the source */
};

struct mr_document;
struct mr_config {
    char *file;               /* as given, for messages */
    char *folder;             /* absolute */
    const struct mr_door *const *doors; /* borrowed */
    size_t doors_count;

    char *environment;
    char *data_dir;           /* absolute */
    struct { char *url; int64_t keep_ms; } state; /* url: "sqlite", or postgres://… */
    struct {
        char *url;            /* "file:/absolute/path", or s3://bucket/prefix */
        int compression;      /* enum mr_codec */
        struct { int64_t size, age_ms; } roll; /* size: compressed bytes */
        int64_t seal_after_ms;
        bool seal;
        struct mr_config_s3 {
            char *endpoint, *region; /* NULL: AWS's; what the bucket says */
            int addressing;          /* enum mr_zone_style */
            struct mr_secret access_key, secret_key, session_token; /* value NULL: looked for as AWS's SDKs do */
            char *ca;                /* absolute; NULL: the system's */
        } s3;
    } zone;
    struct { char *listen; } admin;
    struct { char *url; } alerts; /* NULL: none */
    struct { char *url; struct mr_strings except; } proxy; /* of what we ask of others; url NULL: none */
    struct { int64_t memory, disk_reserve; } limits; /* bytes */
    struct { int format, level; } log; /* enum mr_log_format, enum mr_level */
    int64_t shutdown_timeout_ms;

    void **hub_options;       /* [doors_count]: hub_options_size bytes, NULL for a door without hub options */
    struct mr_config_source *sources; /* in the order of the file */
    size_t sources_count;

    struct mr_document *document; /* private: where everything stood */
};

/* How `${env:NAME}` is looked up: NULL for a variable that is not set. */
typedef const char *(*mr_config_env)(void *arg, const char *name);

/* Loads a file. MR_OK: *config is the caller's, *errors is NULL. Else MR_ECONFIG (also for a file that cannot be read): *errors is the
 * caller's, *config NULL. ${env:} comes from the process's own environment, which nobody changes after start: so a reload sees the same. */
MR_MUST enum mr_code mr_config_load(const char *path, const struct mr_door *const *doors, size_t doors_count, struct mr_config **config,
                                    struct mr_config_errors **errors);
/* The same from memory. `folder` is absolute. env may be NULL: the process's environment. */
struct mr_config_text {
    struct mr_str text;
    const char *file, *folder;
    mr_config_env env;
    void *env_arg;
};
MR_MUST enum mr_code mr_config_parse(const struct mr_config_text *in, const struct mr_door *const *doors, size_t doors_count,
                                     struct mr_config **config, struct mr_config_errors **errors);
void mr_config_free(struct mr_config *config); /* NULL is fine */

/* A reload may not change what MR_OPT_FIXED marks (data_dir, state, zone.url, environment, listen addresses, and what the doors' rows
 * say). MR_ECONFIG names each in *errors; MR_OK sets *errors to NULL. Both configs were loaded with the same doors. */
MR_MUST enum mr_code mr_config_diff_fixed(const struct mr_config *old, const struct mr_config *next, struct mr_config_errors **errors);
/* Are the two sources the same, secrets' values and defaults included? So that a reload restarts only what changed. Names are compared too. */
bool mr_config_source_same(const struct mr_config *a, size_t source_a, const struct mr_config *b, size_t source_b);
bool mr_config_hub_same(const struct mr_config *a, const struct mr_config *b, size_t door);
/* Index of the source, or -1. */
ptrdiff_t mr_config_find(const struct mr_config *config, const char *source);

/* -- errors ---------------------------------------------------------------------------------------------------------------- */
struct mr_config_errors *mr_config_errors_new(const char *file); /* for tests of a door's validate() */
void mr_config_errors_free(struct mr_config_errors *errors);
size_t mr_config_errors_count(const struct mr_config_errors *errors);
/* One a line, sorted by position: "millrace.yaml:3:9: zone.roll.age: …". */
void mr_config_errors_text(struct mr_config_errors *errors, struct mr_buf *out);
void mr_config_errors_print(struct mr_config_errors *errors, FILE *to);

/* -- pages made from the rows; the same bytes for the same doors -------------------------------------------------------------- */
void mr_config_schema(const struct mr_door *const *doors, size_t count, struct mr_buf *out);    /* JSON Schema, draft 2020-12 */
void mr_config_reference(const struct mr_door *const *doors, size_t count, struct mr_buf *out); /* docs/config.md */
void mr_config_sample(const struct mr_door *const *doors, size_t count, struct mr_buf *out);    /* conf/millrace.yaml */
/* Are the rows themselves sound: names, docs, defaults within their ranges, choices, no top-level key twice? For tests: each fault is a line. */
void mr_config_check_rows(const struct mr_door *const *doors, size_t count, struct mr_buf *out);

#endif
