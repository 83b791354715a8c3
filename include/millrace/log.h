/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - lines to stderr: `event` is constant, facts are key=value, outside text is quoted and cut.
 *
 * info: a state changed; warn: we heal it ourselves; error: someone must act, and the line says how. Once a change, not once
 * a record: callers sample. JSON lines, or human-readable on a terminal. Any thread; a line is one write(2).
 * A log that cannot be written (closed pipe, full disk) never blocks or ends the program: such lines are counted. */
#ifndef MILLRACE_LOG_H
#define MILLRACE_LOG_H

#include "millrace/str.h"

#include <stdint.h>

enum mr_level { MR_LOG_DEBUG, MR_LOG_INFO, MR_LOG_WARN, MR_LOG_ERROR };
enum mr_log_format { MR_LOG_AUTO, MR_LOG_JSON, MR_LOG_TEXT };

struct mr_kv {
    const char *key; /* NULL ends the list */
    enum { MR_KV_STR, MR_KV_INT, MR_KV_REAL } type;
    struct mr_str s;
    int64_t i;
    double r;
};
#define MR_S(k, v) ((struct mr_kv){.key = (k), .type = MR_KV_STR, .s = mr_str_c(v)})   /* NUL-terminated */
#define MR_SN(k, v) ((struct mr_kv){.key = (k), .type = MR_KV_STR, .s = (v)})          /* struct mr_str */
#define MR_I(k, v) ((struct mr_kv){.key = (k), .type = MR_KV_INT, .i = (int64_t)(v)})
#define MR_R(k, v) ((struct mr_kv){.key = (k), .type = MR_KV_REAL, .r = (v)})

struct mr_log;
struct mr_log *mr_log_new(int fd, enum mr_log_format format, enum mr_level least);
void mr_log_free(struct mr_log *log);
void mr_log_level(struct mr_log *log, enum mr_level least);
uint64_t mr_log_lost(const struct mr_log *log);
/* `source` may be NULL (the program itself). log may be NULL: nothing is written. */
void mr_log_write(struct mr_log *log, enum mr_level level, const char *source, const char *event, const struct mr_kv *facts);

#define mr_log_debug(log, source, event, ...) mr_log_write(log, MR_LOG_DEBUG, source, event, (const struct mr_kv[]){__VA_ARGS__, {0}})
#define mr_log_info(log, source, event, ...) mr_log_write(log, MR_LOG_INFO, source, event, (const struct mr_kv[]){__VA_ARGS__, {0}})
#define mr_log_warn(log, source, event, ...) mr_log_write(log, MR_LOG_WARN, source, event, (const struct mr_kv[]){__VA_ARGS__, {0}})
#define mr_log_error(log, source, event, ...) mr_log_write(log, MR_LOG_ERROR, source, event, (const struct mr_kv[]){__VA_ARGS__, {0}})

#endif
