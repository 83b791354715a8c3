/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - tries everything that the config names, changes nothing: a line each on stdout. */
#include "cli.h"

#include "app/app.h"
#include "millrace/file.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static const char help[] =
    "usage: millrace check -c FILE [--offline]\n"
    "\n"
    "Tries what FILE names and changes nothing. A line each on stdout: `ok|warn|fail source[/stream]: text`.\n"
    "\n"
    "  --offline   look at the file alone\n"
    "\n"
    "Exit code 0; 1 on any fail; 2 if the file itself is wrong.\n";

struct checking {
    struct mr_check check;
    bool waiting, failed;
};

static void say(enum mr_check_level level, const char *name, const char *stream, const char *text)
{
    static const char *const levels[] = {[MR_CHECK_OK] = "ok", [MR_CHECK_WARN] = "warn", [MR_CHECK_FAIL] = "fail"};
    printf("%s %s%s%s: %s\n", levels[level], name, stream ? "/" : "", stream ? stream : "", text);
}

static void on_line(struct mr_check *check, enum mr_check_level level, const char *stream, const char *text)
{
    struct checking *c = MR_OF(check, struct checking, check);
    c->failed |= level == MR_CHECK_FAIL;
    say(level, check->name, stream, text);
}

static void on_done(struct mr_check *check)
{
    MR_OF(check, struct checking, check)->waiting = false;
}

/* The nearest folder that is there must be writable; nothing is made. */
static bool can_make(const char *path, char text[4096])
{
    char *at = strdup(path);
    while (at && access(at, F_OK) != 0 && errno == ENOENT && strrchr(at, '/') > at)
        *strrchr(at, '/') = 0;
    bool ok = at && access(at, W_OK | X_OK) == 0;
    if (ok)
        snprintf(text, 4096, "%s is writable", path);
    else
        snprintf(text, 4096, "%s: cannot write in %s: %s", path, at ? at : "?", strerror(errno));
    free(at);
    return ok;
}

static bool check_folder(const char *what, const char *path)
{
    char text[4096];
    bool ok = can_make(path, text);
    say(ok ? MR_CHECK_OK : MR_CHECK_FAIL, what, NULL, text);
    return ok;
}

struct matching {
    struct beside b;
    const char *config_path;
    struct mr_store_facts facts;
    bool failed, newer;
    struct mr_err err;
};

static void match_run(void *arg) /* Runs on: worker */
{
    struct matching *m = arg;
    m->err = (struct mr_err){0};
    m->err.code = app_match(m->b.zone, &m->facts, false, m->config_path, &m->err);
}

static void on_newer(void *arg, const struct mr_err *err, const struct mr_landing_row *landings, size_t count)
{
    struct matching *m = arg;
    m->newer = err->code == MR_OK && count > 0;
    app_facts_newer(&m->facts, landings, count);
    beside_done(&m->b, err);
}

/* A server beside us may decide between our look at the store and that at the zone. */
static void match(struct matching *m)
{
    m->facts = *mr_store_facts(m->b.store);
    for (int tries = 0; tries < 5; tries++) {
        beside_work(&m->b, match_run, m);
        if (m->err.code != MR_EMISMATCH)
            return;
        mr_store_landings(m->b.store, (struct mr_str){0}, m->facts.last_number, 1000, on_newer, m);
        beside_await(&m->b);
        if (!m->newer)
            return;
    }
}

static void on_said(void *arg, enum mr_zone_level level, const char *text)
{
    static const enum mr_check_level levels[] = {[MR_ZONE_OK] = MR_CHECK_OK, [MR_ZONE_WARN] = MR_CHECK_WARN, [MR_ZONE_FAIL] = MR_CHECK_FAIL};
    struct matching *m = arg;
    m->failed |= level == MR_ZONE_FAIL;
    say(levels[level], "zone", NULL, text);
}

static void try_run(void *arg) /* Runs on: worker */
{
    struct matching *m = arg;
    mr_zone_try(m->b.zone, on_said, m);
}

static bool check_state(struct matching *m, const struct mr_config *config)
{
    if (beside_store(&m->b, config, false, &m->err) != MR_OK) {
        bool fresh = m->err.code == MR_ENOENT;
        say(fresh ? MR_CHECK_OK : MR_CHECK_FAIL, "state", NULL, fresh ? "no state yet: the first run makes it" : m->err.msg);
        return fresh;
    }
    if (!m->b.zone && beside_zone(&m->b, config, &m->err) != MR_OK)
        say(MR_CHECK_FAIL, "zone", NULL, m->err.msg);
    else {
        match(m);
        say(m->err.code == MR_OK ? MR_CHECK_OK : MR_CHECK_FAIL, "state", NULL, m->err.code == MR_OK ? "the state store belongs to the zone" : m->err.msg);
    }
    return m->err.code == MR_OK;
}

/* A directory is made by the run, so here it is only looked at; a bucket must be there. */
static bool check_zone(struct matching *m, const struct mr_config *config)
{
    if (strncmp(config->zone.url, "file:", 5) == 0)
        return check_folder("zone", config->zone.url + 5);
    if (beside_zone(&m->b, config, &m->err) != MR_OK) {
        say(MR_CHECK_FAIL, "zone", NULL, m->err.msg);
        return false;
    }
    beside_work(&m->b, try_run, m);
    return !m->failed;
}

static bool check_world(const struct mr_config *config, const char *config_path)
{
    struct matching m = {.config_path = config_path};
    bool data = check_folder("data_dir", config->data_dir);
    if (beside_begin(&m.b, &m.err) != MR_OK) {
        say(MR_CHECK_FAIL, "state", NULL, m.err.msg);
        return false;
    }
    bool zone = check_zone(&m, config);
    bool state = zone && check_state(&m, config);
    beside_close(&m.b);
    return data && zone && state;
}

static bool check_sources(const struct mr_config *config, bool offline)
{
    struct mr_loop loop;
    struct mr_err err = {0};
    struct mr_loop_options options = {.memory_limit = 64 << 20};
    bool ok = true;
    if (mr_loop_init(&loop, &options, &err) != MR_OK) {
        fprintf(stderr, "millrace check: %s\n", err.msg);
        return false;
    }
    for (size_t i = 0; i < config->sources_count; i++) {
        const struct mr_config_source *s = &config->sources[i];
        struct checking c = {.waiting = true};
        c.check = (struct mr_check){.loop = &loop,
                                    .name = s->name,
                                    .environment = config->environment,
                                    .options = s->options,
                                    .hub_options = config->hub_options[s->door],
                                    .offline = offline,
                                    .line = on_line,
                                    .done = on_done};
        config->doors[s->door]->check(&c.check);
        while (c.waiting)
            uv_run(&loop.uv, UV_RUN_ONCE);
        ok &= !c.failed;
    }
    mr_loop_close(&loop);
    return ok;
}

int mr_cli_check(int argc, char **argv)
{
    bool offline = false;
    const struct cli_flag flags[] = {{"--offline", NULL, &offline}, {0}};
    struct cli_args args;
    int exit_code;
    if (!cli_parse(argc, argv, help, flags, &args, &exit_code))
        return exit_code;
    struct mr_config *config = cli_config(args.config);
    if (!config)
        return 2;
    bool world = offline || check_world(config, args.config);
    bool sources = check_sources(config, offline);
    mr_config_free(config);
    return world && sources ? 0 : 1;
}
