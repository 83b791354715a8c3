/* SPDX-License-Identifier: Apache-2.0 */
/* status.c - what the state store knows, whether a server runs or not: sources, positions, last run, open alerts. */
#include "cli.h"

#include "millrace/json.h"

#include <inttypes.h>

static const char help[] =
    "usage: millrace status -c FILE [--json]\n"
    "\n"
    "Sources, their positions and last runs, pauses, and open alerts, read from the state store: no server is needed.\n"
    "A running server tells more (queue depth, memory, states) at http://<admin.listen>/api/status.\n";

struct status {
    struct beside b;
    const struct mr_config *config;
    struct mr_buf json;
    bool as_json;
    bool *paused;
};

static void put(struct mr_buf *j, const char *key, struct mr_str value)
{
    mr_buf_printf(j, "\"%s\":", key);
    mr_json_put_string(j, value);
}

static void put_time(struct mr_buf *j, const char *key, int64_t us)
{
    char at[28];
    mr_time_text(us, at);
    mr_buf_printf(j, ",\"%s\":\"%s\"", key, at);
}

static void on_paused(void *arg, const struct mr_err *err, const struct mr_str *sources, size_t count)
{
    struct status *s = arg;
    const struct mr_config *c = s->config;
    mr_buf_puts(&s->json, "\"sources\":[");
    for (size_t i = 0; i < c->sources_count; i++) {
        bool paused = false;
        for (size_t k = 0; k < count; k++)
            paused |= mr_str_eq(sources[k], mr_str_c(c->sources[i].name));
        mr_buf_puts(&s->json, i ? ",{" : "{");
        put(&s->json, "name", mr_str_c(c->sources[i].name));
        mr_buf_printf(&s->json, ",\"door\":\"%s\",\"paused\":%s}", c->doors[c->sources[i].door]->name,
                      paused ? "true" : "false");
        if (!s->as_json)
            printf("source  %-24s %-10s %s\n", c->sources[i].name, c->doors[c->sources[i].door]->name,
                   paused ? "paused" : "");
    }
    mr_buf_puts(&s->json, "]");
    beside_done(&s->b, err);
}

static void on_positions(void *arg, const struct mr_err *err, const struct mr_position *p, size_t count)
{
    struct status *s = arg;
    mr_buf_puts(&s->json, ",\"positions\":[");
    for (size_t i = 0; i < count; i++) {
        char at[28];
        mr_time_text(p[i].changed_us, at);
        mr_buf_puts(&s->json, i ? ",{" : "{");
        put(&s->json, "source", p[i].source);
        mr_buf_putc(&s->json, ',');
        put(&s->json, "stream", p[i].stream);
        mr_buf_putc(&s->json, ',');
        put(&s->json, "part", p[i].part);
        mr_buf_printf(&s->json, ",\"version\":%" PRId64 ",\"value\":", p[i].version);
        mr_buf_put(&s->json, p[i].value.p, p[i].value.n);
        mr_buf_printf(&s->json, ",\"changed_at\":\"%s\"}", at);
        if (!s->as_json)
            printf("landed  %-24.*s %.*s up to %.*s at %s\n", (int)p[i].source.n, p[i].source.p, (int)p[i].stream.n,
                   p[i].stream.p, (int)p[i].value.n, p[i].value.p, at);
    }
    mr_buf_puts(&s->json, "]");
    beside_done(&s->b, err);
}

static void put_run(struct status *s, const struct mr_run *run)
{
    put(&s->json, "source", run->source);
    mr_buf_putc(&s->json, ',');
    put(&s->json, "stream", run->stream);
    mr_buf_putc(&s->json, ',');
    put(&s->json, "outcome", run->outcome);
    put_time(&s->json, "started_at", run->started_us);
    put_time(&s->json, "ended_at", run->ended_us);
    mr_buf_printf(&s->json, ",\"rows\":%" PRId64 ",\"bytes\":%" PRId64, run->rows, run->bytes);
    if (run->bounds.n > 0) {
        mr_buf_puts(&s->json, ",\"bounds\":");
        mr_buf_put(&s->json, run->bounds.p, run->bounds.n);
    }
    if (run->error.n > 0) {
        mr_buf_putc(&s->json, ',');
        put(&s->json, "error", run->error);
    }
}

static void print_run(const struct mr_run *run)
{
    char at[28];
    mr_time_text(run->ended_us, at);
    printf("run     %-24.*s %.*s: %.*s at %s, %" PRId64 " rows%s%.*s\n", (int)run->source.n, run->source.p, (int)run->stream.n, run->stream.p,
           (int)run->outcome.n, run->outcome.p, at, run->rows, run->error.n > 0 ? ": " : "", (int)run->error.n, run->error.n > 0 ? run->error.p : "");
}

static void on_runs(void *arg, const struct mr_err *err, const struct mr_run *runs, size_t count)
{
    struct status *s = arg;
    mr_buf_puts(&s->json, ",\"runs\":[");
    for (size_t i = 0; i < count; i++) {
        mr_buf_puts(&s->json, i ? ",{" : "{");
        put_run(s, &runs[i]);
        mr_buf_putc(&s->json, '}');
        if (!s->as_json)
            print_run(&runs[i]);
    }
    mr_buf_puts(&s->json, "]");
    beside_done(&s->b, err);
}

static void on_alerts(void *arg, const struct mr_err *err, const struct mr_alert *alerts, size_t count)
{
    struct status *s = arg;
    mr_buf_puts(&s->json, ",\"alerts\":[");
    for (size_t i = 0; i < count; i++) {
        const struct mr_alert_row *row = &mr_alert_rows[alerts[i].id];
        mr_buf_puts(&s->json, i ? ",{" : "{");
        put(&s->json, "name", mr_str_c(row->name));
        mr_buf_printf(&s->json, ",\"severity\":\"%s\",", row->error ? "error" : "warn");
        put(&s->json, "source", mr_str_c(alerts[i].source));
        mr_buf_putc(&s->json, ',');
        put(&s->json, "stream", mr_str_c(alerts[i].stream));
        mr_buf_putc(&s->json, ',');
        put(&s->json, "text", mr_str_c(alerts[i].text));
        put_time(&s->json, "opened_at", alerts[i].opened_us);
        mr_buf_printf(&s->json, ",\"repeats\":%" PRIu64 "}", alerts[i].repeats);
        if (!s->as_json)
            printf("ALERT   %-24s %s %s: %s\n        %s\n", alerts[i].source, row->error ? "error" : "warn", row->name,
                   alerts[i].text, row->remedy);
    }
    mr_buf_puts(&s->json, "]");
    beside_done(&s->b, err);
}

static void collect(struct status *s)
{
    mr_buf_puts(&s->json, "{");
    mr_store_paused(s->b.store, on_paused, s);
    beside_await(&s->b);
    if (s->b.err.code != MR_OK)
        return;
    mr_store_positions(s->b.store, (struct mr_str){0}, on_positions, s);
    beside_await(&s->b);
    if (s->b.err.code != MR_OK)
        return;
    mr_store_last_runs(s->b.store, (struct mr_str){0}, on_runs, s);
    beside_await(&s->b);
    if (s->b.err.code != MR_OK)
        return;
    mr_store_alerts(s->b.store, on_alerts, s);
    beside_await(&s->b);
    mr_buf_printf(&s->json, ",\"store\":{\"id\":\"%s\",\"last_number\":%" PRId64 "}}", mr_store_facts(s->b.store)->id,
                  mr_store_facts(s->b.store)->last_number);
}

int mr_cli_status(int argc, char **argv)
{
    struct status s = {0};
    struct cli_args args;
    struct mr_err err = {0};
    int exit_code;
    const struct cli_flag flags[] = {{"--json", NULL, &s.as_json}, {0}};
    if (!cli_parse(argc, argv, help, flags, &args, &exit_code))
        return exit_code;
    struct mr_config *config = cli_config(args.config);
    if (!config)
        return 2;
    s.config = config;
    mr_buf_init(&s.json, 64 << 20);
    if (beside_open(&s.b, config, false, &err) == MR_OK) {
        collect(&s);
        err = s.b.err;
        beside_close(&s.b);
    }
    if (err.code == MR_OK && s.as_json)
        printf("%s\n", mr_buf_cstr(&s.json));
    if (err.code != MR_OK)
        fprintf(stderr, "millrace status: %s\n", err.msg);
    mr_buf_free(&s.json);
    mr_config_free(config);
    return err.code == MR_OK ? 0 : 1;
}
