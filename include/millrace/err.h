/* SPDX-License-Identifier: Apache-2.0 */
/* err.h - one error type, whose class says who can heal it.
 *
 * A function that can fail returns an mr_code and fills a struct mr_err that its caller owns; after MR_OK what is in it means nothing. `msg` is for people: what was
 * tried, on what, what came back and, where there is one, the remedy as a command. `code` is for tests and exit codes,
 * the class for back-off and alerts; nobody parses `msg`. No secret ever gets into `msg`. */
#ifndef MILLRACE_ERR_H
#define MILLRACE_ERR_H

#include <stdarg.h>

#define MR_MUST __attribute__((warn_unused_result))
#define MR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#define MR_CODES(X)                                                                                                  \
    X(MR_OK, "ok", NONE)                       /* class: who can heal it */                                          \
    X(MR_ENOMEM, "out of memory", RETRY)       /* time */                                                            \
    X(MR_ENOSPC, "no space left", RETRY)                                                                             \
    X(MR_EIO, "input/output failed", RETRY)                                                                          \
    X(MR_EBUSY, "busy, try again later", RETRY)                                                                      \
    X(MR_ETIMEDOUT, "timed out", RETRY)                                                                              \
    X(MR_ENET, "connection failed", RETRY)                                                                           \
    X(MR_ECANCELED, "canceled", NONE)                                                                                \
    X(MR_EEND, "nothing more", NONE)           /* a reader has reached the end; not a failure */                     \
    X(MR_EFENCED, "position has moved on", NONE) /* nothing to heal: drop what is staged, read positions again */    \
    X(MR_EEPOCH, "this instance's epoch has ended", NONE)                                                            \
    X(MR_ESEALED, "the ingest day is sealed", NONE) /* drop, stage again under a later day */                        \
    X(MR_ESEEN, "an event id has landed already", NONE) /* drop, stage again without it */                           \
    X(MR_EAUTH, "credentials refused", USER)   /* a person: config, rights */                                        \
    X(MR_EPERM, "permission denied", USER)                                                                           \
    X(MR_ENOENT, "not found", USER)                                                                                  \
    X(MR_EEXIST, "exists already", USER)                                                                             \
    X(MR_ECONFIG, "configuration is wrong", USER)                                                                    \
    X(MR_EINUSE, "in use by another process", USER)                                                                  \
    X(MR_EMISMATCH, "state store and zone do not belong together", USER)                                             \
    X(MR_EMALFORMED, "bytes are not as agreed", DATA) /* nobody: keep, alert, go on */                               \
    X(MR_ECORRUPT, "bytes on disk are damaged", DATA)                                                                \
    X(MR_ETOOBIG, "larger than the limit", DATA)

enum mr_class { MR_CLASS_NONE, MR_CLASS_RETRY, MR_CLASS_USER, MR_CLASS_DATA };

enum mr_code {
#define MR_CODE_ENUM(code, text, cls) code,
    MR_CODES(MR_CODE_ENUM)
#undef MR_CODE_ENUM
};

struct mr_err {
    enum mr_code code;
    int sys;       /* errno behind it, or 0 */
    char msg[512]; /* outermost first: "segment 7: reserve 64 bytes: No space left on device" */
};

const char *mr_code_text(enum mr_code code);
const char *mr_code_name(enum mr_code code); /* "MR_EIO" */
enum mr_class mr_code_class(enum mr_code code);

/* All three may be called with err == NULL and return the code either way. */
enum mr_code mr_err_set(struct mr_err *err, enum mr_code code, const char *fmt, ...) MR_PRINTF(3, 4);
/* From errno: ENOSPC, EDQUOT -> MR_ENOSPC; ENOMEM; ENOENT; EACCES, EPERM, EROFS -> MR_EPERM; EEXIST; else MR_EIO. */
enum mr_code mr_err_sys(struct mr_err *err, int sys, const char *fmt, ...) MR_PRINTF(3, 4);
/* Puts "<fmt>: " in front of what err says. With err == NULL: MR_EIO, for what it was is not known. */
enum mr_code mr_err_wrap(struct mr_err *err, const char *fmt, ...) MR_PRINTF(2, 3);

#endif
