/* SPDX-License-Identifier: Apache-2.0 */
#include "millrace/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *text;
    enum mr_class cls;
} codes[] = {
#define MR_CODE_ROW(code, text, cls) {#code, text, MR_CLASS_##cls},
    MR_CODES(MR_CODE_ROW)
#undef MR_CODE_ROW
};

static size_t code_index(enum mr_code code)
{
    size_t i = (size_t)code;
    return i < sizeof codes / sizeof codes[0] ? i : (size_t)MR_EIO; /* a stray number is a failure, never MR_OK */
}

const char *mr_code_text(enum mr_code code)
{
    return codes[code_index(code)].text;
}

const char *mr_code_name(enum mr_code code)
{
    return codes[code_index(code)].name;
}

enum mr_class mr_code_class(enum mr_code code)
{
    return codes[code_index(code)].cls;
}

/* Ends a message that did not fit with "...", without leaving half of a UTF-8 sequence before it. */
static void cut_tail(char *msg, size_t cap)
{
    size_t n = cap - sizeof "...";
    while (n > 0 && ((unsigned char)msg[n] & 0xc0) == 0x80)
        n--;
    memcpy(msg + n, "...", sizeof "...");
}

/* Formats into a scratch first: the arguments may point into err->msg. Returns the text's length in `out`. */
static size_t format(char *out, size_t cap, const char *fmt, va_list args) MR_PRINTF(3, 0);

static size_t format(char *out, size_t cap, const char *fmt, va_list args)
{
    int n = vsnprintf(out, cap, fmt, args);
    if (n < 0)
        out[0] = '\0';
    else if ((size_t)n >= cap)
        cut_tail(out, cap);
    return strlen(out);
}

/* Appends "<sep><tail>" to the text of length n. */
static void append(char *out, size_t cap, size_t n, const char *sep, const char *tail)
{
    size_t room = cap - n;
    int more = snprintf(out + n, room, "%s%s", sep, tail);
    if (more < 0 || (size_t)more >= room)
        cut_tail(out, cap);
}

enum mr_code mr_err_set(struct mr_err *err, enum mr_code code, const char *fmt, ...)
{
    if (!err)
        return code;
    char msg[sizeof err->msg];
    va_list args;
    va_start(args, fmt);
    size_t n = format(msg, sizeof msg, fmt, args);
    va_end(args);
    err->code = code;
    err->sys = 0;
    memcpy(err->msg, msg, n + 1);
    return code;
}

static enum mr_code code_of_errno(int sys)
{
    switch (sys) {
    case ENOSPC:
    case EDQUOT:
        return MR_ENOSPC;
    case ENOMEM:
        return MR_ENOMEM;
    case ENOENT:
        return MR_ENOENT;
    case EACCES:
    case EPERM:
    case EROFS:
        return MR_EPERM;
    case EEXIST:
        return MR_EEXIST;
    default:
        return MR_EIO;
    }
}

enum mr_code mr_err_sys(struct mr_err *err, int sys, const char *fmt, ...)
{
    enum mr_code code = code_of_errno(sys);
    if (!err)
        return code;
    char msg[sizeof err->msg], scratch[128];
    va_list args;
    va_start(args, fmt);
    size_t n = format(msg, sizeof msg, fmt, args);
    va_end(args);
    append(msg, sizeof msg, n, ": ",
           strerror_r(sys, scratch, sizeof scratch)); /* GNU's: thread-safe, returns the text */
    err->code = code;
    err->sys = sys;
    memcpy(err->msg, msg, sizeof msg);
    return code;
}

enum mr_code mr_err_wrap(struct mr_err *err, const char *fmt, ...)
{
    if (!err)
        return MR_EIO; /* which code it was is lost with err; whatever it was, it was a failure */
    char msg[sizeof err->msg];
    va_list args;
    va_start(args, fmt);
    size_t n = format(msg, sizeof msg, fmt, args);
    va_end(args);
    append(msg, sizeof msg, n, ": ", err->msg);
    memcpy(err->msg, msg, sizeof msg);
    return err->code;
}
