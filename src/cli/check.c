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

static bool check_match(const struct mr_config *config, const char *config_path)
{
    struct beside b;
    struct mr_err err = {0};
    struct mr_zone *zone;
    if (beside_open(&b, config, false, &err) != MR_OK) {
        bool fresh = err.code == MR_ENOENT;
        say(fresh ? MR_CHECK_OK : MR_CHECK_FAIL, "state", NULL,
            fresh ? "no state yet: the first run makes it" : err.msg);
        return fresh;
    }
    enum mr_code code = mr_zone_open(config->zone.url, &zone, &err);
    if (code == MR_OK) {
        code = app_match(zone, mr_store_facts(b.store), false, config_path, &err);
        mr_zone_close(zone);
    }
    say(code == MR_OK ? MR_CHECK_OK : MR_CHECK_FAIL, "state", NULL,
        code == MR_OK ? "the state store belongs to the zone" : err.msg);
    beside_close(&b);
    return code == MR_OK;
}

static bool check_world(const struct mr_config *config, const char *config_path)
{
    bool data = check_folder("data_dir", config->data_dir);
    bool zone = true;
    if (strncmp(config->zone.url, "file:", 5) == 0)
        zone = check_folder("zone", config->zone.url + 5);
    return data && zone && check_match(config, config_path);
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
