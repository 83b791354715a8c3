/* SPDX-License-Identifier: Apache-2.0 */
#include "keysort.h"

#include "millrace/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WRITE_BYTES = 256 << 10 };

struct run {
    unsigned level;
    struct pg_keys_fd file;
    struct pg_keys_in in;
};

struct pg_sort {
    char *dir;
    struct mr_buf keys;  /* of each its length (uint32_t), and it */
    uint32_t *places;    /* in `keys` */
    size_t count, cap;
    struct run **runs;   /* highest level first */
    size_t runs_count, runs_cap;
    struct pg_keys_merge merge; /* of the end */
    bool ended;
};

enum mr_code pg_keys_fd_read(void *arg, void *p, size_t n, size_t *got, struct mr_err *err)
{
    struct pg_keys_fd *f = arg;
    *got = 0;
    while (*got < n) {
        ssize_t r = pread(f->fd, (char *)p + *got, n - *got, (off_t)f->at);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return mr_err_sys(err, errno, "read a file of keys");
        if (r == 0)
            break;
        *got += (size_t)r;
        f->at += r;
    }
    return MR_OK;
}

struct pg_sort *pg_sort_new(const char *dir)
{
    struct pg_sort *s = calloc(1, sizeof *s);
    assert(s);
    s->dir = strdup(dir);
    assert(s->dir);
    mr_buf_init(&s->keys, PG_SORT_BYTES + PG_KEY_MAX + 8);
    return s;
}

static void run_free(struct run *r)
{
    pg_keys_in_free(&r->in);
    close(r->file.fd);
    free(r);
}

void pg_sort_free(struct pg_sort *s)
{
    if (!s)
        return;
    pg_keys_merge_free(&s->merge);
    for (size_t i = 0; i < s->runs_count; i++)
        run_free(s->runs[i]);
    free(s->runs);
    free(s->places);
    mr_buf_free(&s->keys);
    free(s->dir);
    free(s);
}

/* ---- runs ---- */

static enum mr_code run_new(struct pg_sort *s, unsigned level, struct run **out, struct mr_err *err)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/run-XXXXXX", s->dir);
    if (n >= (int)sizeof path)
        return mr_err_sys(err, ENAMETOOLONG, "%s", s->dir);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return mr_err_sys(err, errno, "make %s", path);
    unlink(path); /* whatever becomes of us, it does not stay */
    struct run *r = calloc(1, sizeof *r);
    assert(r);
    r->level = level;
    r->file.fd = fd;
    *out = r;
    return MR_OK;
}

static enum mr_code run_write(struct run *r, struct pg_keys_out *out, bool all, struct mr_err *err)
{
    if (out->bytes.n < (all ? 1 : WRITE_BYTES))
        return MR_OK;
    enum mr_code code = mr_write_all(r->file.fd, out->bytes.p, out->bytes.n, "a run of keys", err);
    mr_buf_clear(&out->bytes);
    return code;
}

static enum mr_code run_end(struct run *r, struct pg_keys_out *out, struct mr_err *err)
{
    enum mr_code code = pg_keys_end(out, err);
    if (code == MR_OK)
        code = run_write(r, out, true, err);
    return code == MR_OK ? pg_keys_in_init(&r->in, PG_KEYS_SORTED, pg_keys_fd_read, &r->file, err) : code;
}

static enum mr_code merge_next(void *arg, struct mr_str *key, struct mr_err *err)
{
    struct pg_keys_merge *m = arg;
    enum mr_code code = pg_keys_merge_next(m, err);
    *key = m->key;
    return code;
}

/* Writes what `next` gives, in order and each once, as a run. */
static enum mr_code write_run(struct pg_sort *s, unsigned level, enum mr_code (*next)(void *arg, struct mr_str *key, struct mr_err *err), void *arg, struct run **out,
                              struct mr_err *err)
{
    struct pg_keys_out to = {0};
    struct run *r;
    struct mr_str key;
    enum mr_code code = run_new(s, level, &r, err);
    if (code != MR_OK)
        return code;
    code = pg_keys_out_init(&to, PG_KEYS_SORTED, err);
    if (code == MR_OK)
        code = pg_keys_head(&to, (struct mr_str){0}, err);
    while (code == MR_OK && (code = next(arg, &key, err)) == MR_OK) {
        code = pg_keys_put(&to, key, err);
        if (code == MR_OK)
            code = run_write(r, &to, false, err);
    }
    if (code == MR_EEND)
        code = run_end(r, &to, err);
    pg_keys_out_free(&to);
    if (code == MR_OK)
        *out = r;
    else
        run_free(r);
    return code;
}

static void push(struct pg_sort *s, struct run *r)
{
    if (s->runs_count == s->runs_cap) {
        s->runs_cap = s->runs_cap ? 2 * s->runs_cap : 32;
        s->runs = realloc(s->runs, s->runs_cap * sizeof *s->runs);
        assert(s->runs);
    }
    s->runs[s->runs_count++] = r;
}

/* The last `count` runs become one. */
static enum mr_code collapse(struct pg_sort *s, size_t count, struct mr_err *err)
{
    struct pg_keys_in *inputs[PG_SORT_FAN];
    struct pg_keys_merge merge;
    struct run **last = s->runs + s->runs_count - count, *one;
    assert(count && count <= PG_SORT_FAN);
    for (size_t i = 0; i < count; i++)
        inputs[i] = &last[i]->in;
    pg_keys_merge_init(&merge, inputs, count);
    enum mr_code code = write_run(s, last[0]->level + 1, merge_next, &merge, &one, err);
    pg_keys_merge_free(&merge);
    if (code != MR_OK)
        return code;
    for (size_t i = 0; i < count; i++)
        run_free(last[i]);
    s->runs_count -= count;
    push(s, one);
    return MR_OK;
}

/* ---- what is gathered ---- */

static struct mr_str key_at(const struct pg_sort *s, uint32_t place)
{
    uint32_t n;
    memcpy(&n, s->keys.p + place, sizeof n);
    return (struct mr_str){s->keys.p + place + sizeof n, n};
}

static int compare(const void *a, const void *b, void *arg)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return pg_keys_compare(key_at(arg, x), key_at(arg, y));
}

struct gathered {
    const struct pg_sort *s;
    size_t at;
};

static enum mr_code gathered_next(void *arg, struct mr_str *key, struct mr_err *err)
{
    struct gathered *g = arg;
    (void)err;
    while (g->at && g->at < g->s->count && mr_str_eq(key_at(g->s, g->s->places[g->at]), key_at(g->s, g->s->places[g->at - 1])))
        g->at++;
    if (g->at == g->s->count)
        return MR_EEND;
    *key = key_at(g->s, g->s->places[g->at++]);
    return MR_OK;
}

static enum mr_code spill(struct pg_sort *s, struct mr_err *err)
{
    struct gathered g = {s, 0};
    struct run *r;
    if (s->count == 0)
        return MR_OK;
    qsort_r(s->places, s->count, sizeof *s->places, compare, s);
    enum mr_code code = write_run(s, 0, gathered_next, &g, &r, err);
    if (code != MR_OK)
        return code;
    push(s, r);
    s->count = 0;
    mr_buf_clear(&s->keys);
    for (;;) {
        size_t same = 0;
        while (same < s->runs_count && s->runs[s->runs_count - 1 - same]->level == s->runs[s->runs_count - 1]->level)
            same++;
        if (same < PG_SORT_FAN)
            return MR_OK;
        code = collapse(s, PG_SORT_FAN, err);
        if (code != MR_OK)
            return code;
    }
}

enum mr_code pg_sort_add(struct pg_sort *s, struct mr_str key, struct mr_err *err)
{
    uint32_t n = (uint32_t)key.n;
    assert(!s->ended);
    if (key.n > PG_KEY_MAX)
        return mr_err_set(err, MR_ETOOBIG, "a key of %zu bytes: at most %d can be compared", key.n, PG_KEY_MAX);
    if (s->keys.n + (s->count + 1) * sizeof *s->places > PG_SORT_BYTES) {
        enum mr_code code = spill(s, err);
        if (code != MR_OK)
            return code;
    }
    if (s->count == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 1024;
        s->places = realloc(s->places, s->cap * sizeof *s->places);
        assert(s->places);
    }
    s->places[s->count++] = (uint32_t)s->keys.n;
    mr_buf_put(&s->keys, &n, sizeof n);
    mr_buf_put(&s->keys, key.p, key.n);
    return s->keys.failed ? mr_err_set(err, MR_ENOMEM, "no memory to sort keys") : MR_OK;
}

enum mr_code pg_sort_end(struct pg_sort *s, struct mr_err *err)
{
    struct pg_keys_in *inputs[PG_SORT_FAN];
    enum mr_code code = spill(s, err);
    s->ended = true;
    mr_buf_free(&s->keys);
    free(s->places);
    s->places = NULL;
    while (code == MR_OK && s->runs_count > PG_SORT_FAN) {
        size_t more = s->runs_count - PG_SORT_FAN + 1;
        code = collapse(s, more < PG_SORT_FAN ? more : PG_SORT_FAN, err);
    }
    if (code != MR_OK)
        return code;
    for (size_t i = 0; i < s->runs_count; i++)
        inputs[i] = &s->runs[i]->in;
    pg_keys_merge_init(&s->merge, inputs, s->runs_count);
    return MR_OK;
}

enum mr_code pg_sort_next(struct pg_sort *s, struct mr_err *err)
{
    assert(s->ended);
    return pg_keys_merge_next(&s->merge, err);
}

struct mr_str pg_sort_key(const struct pg_sort *s)
{
    return s->merge.key;
}
