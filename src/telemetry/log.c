/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: the line is built on the caller's stack, then the mutex is held for one poll and one write.
 *
 * Ways to fail: the pipe is full (poll says so, or EAGAIN), closed (EPIPE), the disk is full: the line is lost and
 * counted.
 *
 * A line is at most PIPE_BUF bytes: a pipe takes such a write whole or not at all, and one that poll has called
 * writable takes it without blocking. The mutex keeps two threads from sharing one poll's answer. */
#include "millrace/log.h"

#include "millrace/clock.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    TEXT_MAX = 512, /* bytes of a string value */
    LINE_MAX_BYTES = PIPE_BUF,
    LINE_END = 16, /* kept free for the mark that facts are missing, and the end of the line */
};

struct mr_log {
    int fd;
    bool json;
    atomic_int least;
    atomic_uint_fast64_t lost;
    pthread_mutex_t mutex; /* one writer at a time */
};

struct line {
    char p[LINE_MAX_BYTES];
    size_t n;
    bool full; /* something did not fit: the fact that it belongs to is taken back */
};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

struct mr_log *mr_log_new(int fd, enum mr_log_format format, enum mr_level least)
{
    struct mr_log *log = calloc(1, sizeof *log);
    if (!log || pthread_mutex_init(&log->mutex, NULL) != 0)
        abort(); /* at start-up, a few bytes */
    log->fd = fd;
    log->json = format == MR_LOG_JSON || (format == MR_LOG_AUTO && !isatty(fd));
    atomic_init(&log->least, (int)least);
    atomic_init(&log->lost, 0);
    return log;
}

void mr_log_free(struct mr_log *log)
{
    if (!log)
        return;
    pthread_mutex_destroy(&log->mutex);
    free(log);
}

void mr_log_level(struct mr_log *log, enum mr_level least)
{
    if (log)
        atomic_store(&log->least, (int)least);
}

uint64_t mr_log_lost(const struct mr_log *log)
{
    return log ? atomic_load(&log->lost) : 0;
}

static void put(struct line *l, const char *bytes, size_t n)
{
    if (l->full || n > sizeof l->p - LINE_END - l->n) {
        l->full = true;
        return;
    }
    memcpy(l->p + l->n, bytes, n);
    l->n += n;
}

static void puts_line(struct line *l, const char *s)
{
    put(l, s, strlen(s));
}

static void put_format(struct line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put_format(struct line *l, const char *fmt, ...)
{
    char text[64];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n > 0 && (size_t)n < sizeof text)
        put(l, text, (size_t)n);
}

/* What a first byte promises; 0 if no sequence begins so. */
static size_t utf8_promise(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* Length of the UTF-8 sequence at p, 0 if there is none: overlong forms, surrogates and cut sequences are none. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
    size_t length = utf8_promise(p[0]);
    if (length == 0 || length > n)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return length;
}

/* Quoted, good for both formats. C1 controls too are escaped: a terminal may obey them. */
static void put_quoted(struct line *l, struct mr_str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = s.n <= TEXT_MAX ? s.n : TEXT_MAX, step;
    if (n < s.n) /* not in the middle of a sequence */
        for (int back = 0; back < 3 && n > 0 && (p[n] & 0xc0) == 0x80; back++)
            n--;
    put(l, "\"", 1);
    for (size_t i = 0; i < n; i += step) {
        size_t length = utf8_length(p + i, n - i);
        step = length ? length : 1;
        if (length == 0 || p[i] == 0) /* NUL would be JSON, but many a reader refuses it */
            puts_line(l, "\\ufffd");
        else if (p[i] == '"' || p[i] == '\\')
            put(l, p[i] == '"' ? "\\\"" : "\\\\", 2);
        else if (p[i] == '\n')
            put(l, "\\n", 2);
        else if (p[i] < 0x20 || p[i] == 0x7f)
            put_format(l, "\\u%04x", p[i]);
        else if (p[i] == 0xc2 && p[i + 1] < 0xa0)
            put_format(l, "\\u%04x", p[i + 1]);
        else
            put(l, (const char *)p + i, length);
    }
    puts_line(l, n < s.n ? "...\"" : "\"");
}

static bool is_plain(struct mr_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= 'A' && s.p[i] <= 'Z') ||
              (s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] != '\0' && strchr("._:/@%+,-", s.p[i]))))
            return false;
    return s.n > 0 && s.n <= TEXT_MAX;
}

static void put_text(struct line *l, bool json, struct mr_str s)
{
    if (json || !is_plain(s))
        put_quoted(l, s);
    else
        put(l, s.p, s.n);
}

static void put_key(struct line *l, bool json, const char *key)
{
    puts_line(l, json ? ",\"" : " ");
    puts_line(l, key);
    puts_line(l, json ? "\":" : "=");
}

static void put_fact(struct line *l, bool json, const struct mr_kv *kv)
{
    size_t before = l->n;
    bool was_full = l->full;
    put_key(l, json, kv->key);
    switch (kv->type) {
    case MR_KV_STR:
        if (json && !kv->s.p)
            puts_line(l, "null");
        else
            put_text(l, json, kv->s);
        break;
    case MR_KV_INT:
        put_format(l, "%lld", (long long)kv->i);
        break;
    case MR_KV_REAL:
        if (isfinite(kv->r))
            put_format(l, "%.9g", kv->r);
        else
            puts_line(l, json ? "null" : "none"); /* JSON has no word for it */
        break;
    }
    if (l->full && !was_full)
        l->n = before;
}

static void put_head(struct line *l, bool json, enum mr_level level, const char *source, const char *event)
{
    char time[28];
    mr_time_text(mr_wall_us(), time);
    put_format(l, json ? "{\"ts\":\"%s\",\"level\":\"%s\"" : "%s %-5s", time, level_names[level]);
    if (source)
        put_fact(l, json, &MR_S("source", source));
    put_fact(l, json, &MR_S("event", event));
}

/* True if `fd` takes PIPE_BUF bytes now. What cannot be polled (a file) is always ready. */
static bool writable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int ready = poll(&p, 1, 0);
    return ready > 0 && (p.revents & POLLOUT) && !(p.revents & (POLLERR | POLLNVAL));
}

/* Writes without ever raising SIGPIPE, whatever the program has done with that signal. */
static bool write_quietly(int fd, const char *p, size_t n)
{
    sigset_t pipe_only, before, pending;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    ssize_t wrote;
    do
        wrote = write(fd, p, n);
    while (wrote < 0 && errno == EINTR);
    if (wrote < 0 && errno == EPIPE && !sigismember(&pending, SIGPIPE))
        while (sigtimedwait(&pipe_only, NULL, &(struct timespec){0}) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return wrote == (ssize_t)n;
}

void mr_log_write(struct mr_log *log, enum mr_level level, const char *source, const char *event,
                  const struct mr_kv *facts)
{
    if (!log || (int)level < atomic_load_explicit(&log->least, memory_order_relaxed))
        return;
    int kept = errno; /* callers log first and look at errno later */
    struct line l;
    l.n = 0;
    l.full = false;
    put_head(&l, log->json, level, source, event);
    for (const struct mr_kv *kv = facts; kv && kv->key; kv++)
        put_fact(&l, log->json, kv);
    const char *end = log->json ? (l.full ? ",\"cut\":true}\n" : "}\n") : (l.full ? " cut=true\n" : "\n");
    size_t n = strlen(end); /* LINE_END was kept for it */
    memcpy(l.p + l.n, end, n);
    pthread_mutex_lock(&log->mutex);
    bool written = writable(log->fd) && write_quietly(log->fd, l.p, l.n + n);
    pthread_mutex_unlock(&log->mutex);
    if (!written)
        atomic_fetch_add(&log->lost, 1);
    errno = kept;
}
