/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/state/fixture.h"

#include "millrace/budget.h"
#include "millrace/worker.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

struct fix *fix_new(const char *url)
{
    struct mr_err err = {.code = MR_OK};
    struct fix *f = calloc(1, sizeof *f);
    assert_non_null(f);
    snprintf(f->dir, sizeof f->dir, "/tmp/mr-state-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    const char *at = strstr(url, "@/");
    if (strncmp(url, "postgres", 8) == 0 && strchr(url, '?'))
        snprintf(f->url, sizeof f->url, "%s", url); /* a child's, from its parent */
    else if (strncmp(url, "postgres", 8) == 0) /* the folder's name ends in six letters of its own, some of them large */
        snprintf(f->url, sizeof f->url, "%s?schema=t%02x%02x%02x%02x%02x%02x", url, f->dir[14], f->dir[15], f->dir[16],
                 f->dir[17], f->dir[18], f->dir[19]);
    else
        snprintf(f->url, sizeof f->url, "%.*s%s%s", at ? (int)(at - url) : (int)strlen(url), url, at ? f->dir : "",
                 at ? at + 1 : "");
    assert_int_equal(mr_loop_init(&f->loop, &(struct mr_loop_options){.memory_limit = 1 << 20}, &err), MR_OK);
    return f;
}

void fix_free(struct fix *f)
{
    fix_close(f);
    mr_loop_close(&f->loop);
    nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
}

int fix_setup(void **state)
{
    *state = fix_new(*state ? *state : "sqlite:@/state.db");
    return 0;
}

int fix_teardown(void **state)
{
    fix_free(*state);
    return 0;
}

int fix_setup_open(void **state)
{
    fix_setup(state);
    struct fix *f = *state;
    assert_int_equal(fix_open(f, true), MR_OK);
    assert_int_equal(fix_begin(f), MR_OK);
    return 0;
}

void fix_run_until(struct fix *f, unsigned answers)
{
    while (f->answers != answers) {
        assert_true(f->answers < answers);
        assert_true(uv_run(&f->loop.uv, UV_RUN_ONCE) || f->answers == answers);
    }
}

/* -- answers ------------------------------------------------------------------------------------------------------- */

static void take_err(struct fix *f, const struct mr_err *err)
{
    f->answers++;
    f->code = err->code;
    snprintf(f->msg, sizeof f->msg, "%s", err->msg);
    f->text[0] = '\0';
}

static void add(struct fix *f, const char *fmt, ...) MR_PRINTF(2, 3);
static void add(struct fix *f, const char *fmt, ...)
{
    size_t n = strlen(f->text);
    va_list args;
    va_start(args, fmt);
    int more = vsnprintf(f->text + n, sizeof f->text - n, fmt, args);
    va_end(args);
    assert_true(more >= 0 && n + (size_t)more < sizeof f->text);
}
#define STR(s) (int)(s).n, ((s).p ? (s).p : "-")

static void on_open(void *arg, const struct mr_err *err, struct mr_store *store)
{
    struct fix *f = arg;
    take_err(f, err);
    f->store = store;
    assert_true((store != NULL) == (err->code == MR_OK));
}

enum mr_code fix_open(struct fix *f, bool create)
{
    mr_store_open(&f->loop, &(struct mr_store_options){.url = f->url, .create = create, .home = "a test"}, on_open, f);
    fix_run_until(f, f->answers + 1);
    return f->code;
}

static void on_closed(void *arg)
{
    struct fix *f = arg;
    f->answers++;
    f->store = NULL;
}

void fix_close(struct fix *f)
{
    if (!f->store)
        return;
    mr_store_close(f->store, on_closed, f);
    fix_run_until(f, f->answers + 1);
}

static void on_instance(void *arg, const struct mr_err *err, const struct mr_instance *instance)
{
    struct fix *f = arg;
    take_err(f, err);
    f->self = *instance;
}

enum mr_code fix_begin(struct fix *f)
{
    mr_store_instance_begin(f->store, 60000, on_instance, f);
    fix_run_until(f, f->answers + 1);
    return f->code;
}

void fix_on_decided(void *arg, const struct mr_decided *d)
{
    struct fix *f = arg;
    take_err(f, d->err);
    assert_int_equal(d->code, d->err->code);
    f->number = d->number;
    f->which = d->which;
    f->day = d->sealed_through;
}

enum mr_code fix_decide(struct fix *f, const struct mr_decision *d)
{
    mr_store_decide(f->store, d, fix_on_decided, f);
    fix_run_until(f, f->answers + 1);
    return f->code;
}

void fix_on_done(void *arg, const struct mr_err *err)
{
    take_err(arg, err);
}

static void on_position(void *arg, const struct mr_err *err, const struct mr_position *p)
{
    struct fix *f = arg;
    take_err(f, err);
    f->version = p->version;
    add(f, "%.*s", STR(p->value));
}

enum mr_code fix_position(struct fix *f, const char *source, const char *stream, const char *part)
{
    mr_store_position(f->store, mr_str_c(source), mr_str_c(stream), mr_str_c(part), on_position, f);
    fix_run_until(f, f->answers + 1);
    return f->code;
}

static void on_positions(void *arg, const struct mr_err *err, const struct mr_position *p, size_t count)
{
    struct fix *f = arg;
    take_err(f, err);
    for (size_t i = 0; i < count; i++)
        add(f, "%.*s/%.*s/%.*s v%lld %.*s\n", STR(p[i].source), STR(p[i].stream), STR(p[i].part),
            (long long)p[i].version, STR(p[i].value));
}

const char *fix_positions(struct fix *f, const char *source)
{
    mr_store_positions(f->store, mr_str_c(source), on_positions, f);
    fix_run_until(f, f->answers + 1);
    return f->text;
}

static void on_rows(void *arg, const struct mr_err *err, const struct mr_kept_row *r, size_t count)
{
    struct fix *f = arg;
    take_err(f, err);
    for (size_t i = 0; i < count; i++)
        add(f, "%.*s %.*s v%lld %.*s\n", STR(r[i].kind), STR(r[i].key), (long long)r[i].version, STR(r[i].value));
}

const char *fix_rows(struct fix *f, const char *kind, const char *after, size_t limit)
{
    mr_store_rows(f->store, MR_STR("s"), MR_STR("t"), mr_str_c(kind), mr_str_c(after), limit, on_rows, f);
    fix_run_until(f, f->answers + 1);
    return f->text;
}

static void on_landings(void *arg, const struct mr_err *err, const struct mr_landing_row *l, size_t count)
{
    struct fix *f = arg;
    take_err(f, err);
    for (size_t i = 0; i < count; i++) {
        add(f, "%lld %.*s %.*s %.*s", (long long)l[i].number, STR(l[i].landing), STR(l[i].source), STR(l[i].state));
        for (size_t k = 0; k < l[i].files_count; k++)
            add(f, " %.*s=%.*s,%lld,%lld,%u", STR(l[i].files[k].staged), STR(l[i].files[k].path),
                (long long)l[i].files[k].rows, (long long)l[i].files[k].bytes, l[i].files[k].crc32c);
        add(f, " %.*s\n", STR(l[i].moves));
        f->day = l[i].day;
    }
}

const char *fix_unpublished(struct fix *f)
{
    mr_store_unpublished(f->store, &f->self, on_landings, f);
    fix_run_until(f, f->answers + 1);
    return f->text;
}

const char *fix_landings(struct fix *f, const char *landing, int64_t after, size_t limit)
{
    mr_store_landings(f->store, mr_str_c(landing), after, limit, on_landings, f);
    fix_run_until(f, f->answers + 1);
    return f->text;
}

enum mr_code fix_published(struct fix *f, int64_t number)
{
    return WAIT_DONE(f, mr_store_published(f->store, &number, 1, fix_on_done, f));
}

static void on_sealed(void *arg, const struct mr_err *err, int32_t sealed_through, bool blocked)
{
    struct fix *f = arg;
    take_err(f, err);
    f->day = sealed_through;
    f->blocked = blocked;
}

enum mr_code fix_seal(struct fix *f, int32_t day)
{
    mr_store_seal(f->store, day, on_sealed, f);
    fix_run_until(f, f->answers + 1);
    return f->code;
}

static void on_swept(void *arg, const struct mr_err *err, const struct mr_instance *ended, size_t count)
{
    struct fix *f = arg;
    take_err(f, err);
    for (size_t i = 0; i < count; i++)
        add(f, "%s %lld\n", ended[i].id, (long long)ended[i].epoch);
}

const char *fix_sweep(struct fix *f, bool all)
{
    mr_store_sweep(f->store, &f->self, all, on_swept, f);
    fix_run_until(f, f->answers + 1);
    return f->text;
}

static void on_kept(void *arg, const struct mr_err *err, const struct mr_kept *kept)
{
    struct fix *f = arg;
    take_err(f, err);
    f->number = kept->rows_deleted;
    f->day = kept->seen_shortened_to;
}

const char *fix_keep(struct fix *f, const struct mr_keep *keep)
{
    mr_store_keep(f->store, keep, on_kept, f);
    fix_run_until(f, f->answers + 1);
    return f->text;
}

/* -- a small decision ---------------------------------------------------------------------------------------------- */

void small_init(struct small *s, const struct fix *f, const char *part, int64_t expected, int value)
{
    *s = (struct small){.d.day = MR_NO_DAY};
    snprintf(s->landing, sizeof s->landing, "L-%s-%lld-%d", part, (long long)expected, value);
    snprintf(s->value, sizeof s->value, "{\"at\":%d}", value);
    s->move = (struct mr_move){MR_STR("s"), MR_STR("t"), mr_str_c(part), expected, mr_str_c(s->value)};
    s->d.instance = f->self;
    s->d.landing = mr_str_c(s->landing);
    s->d.source = MR_STR("s");
    s->d.began_us = 1000000;
    s->d.moves = &s->move;
    s->d.moves_count = 1;
    s->d.records = 1;
}

void small_file(struct small *s, int32_t day)
{
    snprintf(s->path, sizeof s->path, "source=s/%s", s->landing);
    snprintf(s->staged, sizeof s->staged, "_staging/%s", s->landing);
    s->file = (struct mr_zone_file){MR_STR("t"), mr_str_c(s->path), mr_str_c(s->staged), 3, 99, 0xfffffffe};
    s->d.files = &s->file;
    s->d.files_count = 1;
    s->d.day = day;
}
