/* SPDX-License-Identifier: Apache-2.0 */
/* state.c - the positions that decide what is read next, for a person to see and to change. Safe beside a running
 * server: a position that was set makes the server's next compare-and-swap fail, and it reads again. */
#include "cli.h"

#include "app/app.h"
#include "millrace/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

static const char help[] =
    "usage: millrace state -c FILE show   [SOURCE[/STREAM]]\n"
    "       millrace state -c FILE reset  SOURCE[/STREAM]             forget the positions: what is still there is "
    "read again, and lands again\n"
    "       millrace state -c FILE set    SOURCE/STREAM PART VALUE    VALUE is JSON, as `show` prints it\n"
    "       millrace state -c FILE backup PATH                        a copy of the store, taken while the server "
    "runs\n"
    "       millrace state -c FILE adopt                              accept this store for this zone; only with the "
    "server stopped\n"
    "\n"
    "Tokens are masked. show prints: SOURCE STREAM PART VERSION VALUE CHANGED, tab-separated.\n";

struct ask {
    struct beside *b;
    struct mr_str source, stream; /* stream.p NULL: all */
};

static void split(const char *word, struct mr_str *source, struct mr_str *stream)
{
    const char *slash = strchr(word, '/');
    *source = (struct mr_str){word, slash ? (size_t)(slash - word) : strlen(word)};
    *stream = slash ? mr_str_c(slash + 1) : (struct mr_str){0};
}

static void print_positions(void *arg, const struct mr_err *err, const struct mr_position *p, size_t count)
{
    struct ask *ask = arg;
    for (size_t i = 0; i < count; i++) {
        char at[28];
        if (ask->stream.p && !mr_str_eq(ask->stream, p[i].stream))
            continue;
        mr_time_text(p[i].changed_us, at);
        printf("%.*s\t%.*s\t%.*s\t%" PRId64 "\t%.*s\t%s\n", (int)p[i].source.n, p[i].source.p, (int)p[i].stream.n,
               p[i].stream.p, (int)p[i].part.n, p[i].part.p, p[i].version, (int)p[i].value.n, p[i].value.p, at);
    }
    beside_done(ask->b, err);
}

static int show(struct beside *b, const struct cli_args *args)
{
    struct ask ask = {.b = b};
    if (args->words_count > 1)
        split(args->words[1], &ask.source, &ask.stream);
    mr_store_positions(b->store, ask.source, print_positions, &ask);
    beside_await(b);
    return 0;
}

/* reset of a source without a stream: each of its positions in turn. */
struct parts {
    struct beside *b;
    struct mr_str stream;
    char **streams, **names;
    size_t count;
};

static void take_parts(void *arg, const struct mr_err *err, const struct mr_position *p, size_t count)
{
    struct parts *parts = arg;
    parts->streams = calloc(count + 1, sizeof *parts->streams);
    parts->names = calloc(count + 1, sizeof *parts->names);
    for (size_t i = 0; i < count && parts->streams && parts->names; i++)
        if (!parts->stream.p || mr_str_eq(parts->stream, p[i].stream)) {
            parts->streams[parts->count] = strndup(p[i].stream.p, p[i].stream.n);
            parts->names[parts->count++] = strndup(p[i].part.p, p[i].part.n);
        }
    beside_done(parts->b, err);
}

static int reset(struct beside *b, const struct cli_args *args)
{
    struct parts parts = {.b = b};
    struct mr_str source;
    if (args->words_count != 2) {
        fprintf(stderr, "millrace state reset: which SOURCE[/STREAM]?\n");
        return 2;
    }
    split(args->words[1], &source, &parts.stream);
    mr_store_positions(b->store, source, take_parts, &parts);
    beside_await(b);
    for (size_t i = 0; i < parts.count; i++) {
        if (b->err.code == MR_OK) {
            mr_store_position_set(b->store, source, mr_str_c(parts.streams[i]), mr_str_c(parts.names[i]),
                                  (struct mr_str){0}, beside_on_done, b);
            beside_await(b);
        }
        free(parts.streams[i]);
        free(parts.names[i]);
    }
    free(parts.streams);
    free(parts.names);
    if (b->err.code == MR_OK && parts.count == 0)
        mr_err_set(&b->err, MR_ENOENT, "%s has no position; millrace state show lists them", args->words[1]);
    if (b->err.code == MR_OK)
        printf("%zu position%s forgotten; what the source still has is read again, and lands again\n", parts.count,
               parts.count == 1 ? "" : "s");
    return 0;
}

static int set(struct beside *b, const struct cli_args *args)
{
    struct mr_str source, stream;
    struct mr_err err;
    if (args->words_count != 4 || !strchr(args->words[1], '/')) {
        fprintf(stderr, "millrace state set: give SOURCE/STREAM PART VALUE\n");
        return 2;
    }
    if (mr_json_check(mr_str_c(args->words[3]), &err) != MR_OK) {
        fprintf(stderr, "millrace state set: VALUE is not JSON: %s\n", err.msg);
        return 2;
    }
    split(args->words[1], &source, &stream);
    mr_store_position_set(b->store, source, stream, mr_str_c(args->words[2]), mr_str_c(args->words[3]), beside_on_done,
                          b);
    beside_await(b);
    if (b->err.code == MR_OK)
        printf("set; a running server reads from there within a landing, and what follows that position lands again\n");
    return 0;
}

static int backup(struct beside *b, const struct cli_args *args)
{
    if (args->words_count != 2) {
        fprintf(stderr, "millrace state backup: to which PATH?\n");
        return 2;
    }
    mr_store_backup(b->store, args->words[1], beside_on_done, b);
    beside_await(b);
    if (b->err.code == MR_OK)
        printf("%s written\n", args->words[1]);
    return 0;
}

struct adopting {
    struct beside *b;
    struct mr_zone_id id;
    const char *store_id;
    struct mr_err err;
};

static void look_run(void *arg) /* Runs on: worker */
{
    struct adopting *a = arg;
    a->err.code = mr_zone_identity(a->b->zone, &a->id, &a->err);
}

static void write_run(void *arg) /* Runs on: worker */
{
    struct adopting *a = arg;
    a->err.code = mr_zone_identify(a->b->zone, a->store_id, &a->err);
}

static enum mr_code adopt_zone(struct adopting *a, const struct mr_config *config)
{
    if (beside_zone(a->b, config, &a->err) != MR_OK)
        return a->err.code;
    beside_work(a->b, look_run, a);
    if (a->err.code != MR_OK)
        return a->err.code;
    mr_store_adopt(a->b->store, a->id.highest_decided, beside_on_done, a->b);
    beside_await(a->b);
    if (a->b->err.code != MR_OK) {
        a->err = a->b->err;
        return a->err.code;
    }
    a->store_id = mr_store_facts(a->b->store)->id;
    beside_work(a->b, write_run, a);
    return a->err.code;
}

static int adopt(struct beside *b, const struct mr_config *config)
{
    struct adopting a = {.b = b};
    int lock;
    if (app_lock(config->data_dir, &lock, &b->err) != MR_OK)
        return 2;
    if (adopt_zone(&a, config) == MR_OK)
        printf("the zone now belongs to this state store; what its sources still have may land again\n");
    b->err = a.err;
    close(lock);
    return 0;
}

int mr_cli_state(int argc, char **argv)
{
    struct cli_args args;
    struct mr_err err = {0};
    struct beside b;
    int exit_code;
    if (!cli_parse(argc, argv, help, NULL, &args, &exit_code))
        return exit_code;
    static const char *const verbs[] = {"show", "reset", "set", "backup", "adopt"};
    size_t verb = 0;
    while (verb < MR_COUNT(verbs) && (args.words_count == 0 || strcmp(args.words[0], verbs[verb]) != 0))
        verb++;
    if (verb == MR_COUNT(verbs)) {
        fprintf(stderr, "millrace state: show, reset, set, backup or adopt?\n\n%s", help);
        return 2;
    }
    struct mr_config *config = cli_config(args.config);
    if (!config)
        return 2;
    if (beside_open(&b, config, verb == 4, &err) != MR_OK) {
        fprintf(stderr, "millrace state: %s\n", err.msg);
        mr_config_free(config);
        return 1;
    }
    b.err = (struct mr_err){0};
    exit_code = verb == 0   ? show(&b, &args)
                : verb == 1 ? reset(&b, &args)
                : verb == 2 ? set(&b, &args)
                : verb == 3 ? backup(&b, &args)
                            : adopt(&b, config);
    if (b.err.code != MR_OK) {
        fprintf(stderr, "millrace state: %s\n", b.err.msg);
        exit_code = exit_code ? exit_code : 1;
    }
    beside_close(&b);
    mr_config_free(config);
    return exit_code;
}
