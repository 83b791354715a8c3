/* SPDX-License-Identifier: Apache-2.0 */
/* ask.c - the HTTP client, driven from outside: reads exchanges from stdin, one JSON object a line, starts all at once (or after another has ended), and
 * prints a JSON line as each ends, and a last one with the loop's worst gap. asked.py has the servers and knows what must come.
 *
 *   url method headers:[[name,value]] body gzip follow public ca connect_to connect_ms stall_ms total_ms body_max ratio_max http2
 *   after: N          started by the on_done of exchange N (from 0)
 *   pause_ms          the first bytes are not taken, and asked for again so much later
 *   cancel            "started", "head" or "bytes": in that callback; nothing is printed of it
 *
 * usage: ask [CLOSE_MS [PROXY]]    the client is closed then, whatever is out */
#include "millrace/budget.h"
#include "millrace/client.h"
#include "millrace/hash.h"
#include "millrace/json.h"
#include "millrace/log.h"

#include <stdio.h>
#include <stdlib.h>

enum { ASKS_MAX = 256, LINE_MAX_BYTES = 1 << 20, TICK_MS = 5 };

struct ask {
    struct mr_exchange x;
    struct mr_header headers[16];
    char *text[48]; /* what x points at */
    size_t texts;
    int64_t after, pause_ms;
    const char *cancel;
    bool held;
    uv_timer_t timer;
    struct mr_buf body, head;
};

static struct {
    struct mr_loop loop;
    struct mr_client *client;
    struct ask asks[ASKS_MAX];
    size_t count, left;
    uv_timer_t tick, closer;
    uint64_t seen_ns, worst_ns;
    bool closing;
} run;

static const char *text_at(struct ask *a, struct mr_str json, const char *pointer)
{
    struct mr_json_slice s = mr_json_at(json, mr_str_c(pointer));
    struct mr_buf b;
    if (s.type != MR_JSON_STRING)
        return NULL;
    mr_buf_init(&b, LINE_MAX_BYTES);
    mr_json_string(s, &b);
    if (a->texts == MR_COUNT(a->text))
        abort();
    char *text = a->text[a->texts++] = strdup(mr_buf_cstr(&b));
    mr_buf_free(&b);
    return text;
}

static int64_t number_at(struct mr_str json, const char *pointer, int64_t otherwise)
{
    int64_t n;
    return mr_json_i64(mr_json_at(json, mr_str_c(pointer)), &n) ? n : otherwise;
}

static bool flag_at(struct mr_str json, const char *pointer)
{
    struct mr_json_slice s = mr_json_at(json, mr_str_c(pointer));
    return s.type == MR_JSON_BOOL && s.raw.n == 4;
}

static void close_cb(uv_handle_t *handle)
{
    (void)handle;
}

static void on_client_closed(void *arg)
{
    (void)arg;
}

static void on_tick(uv_timer_t *timer)
{
    uint64_t now_ns = uv_hrtime();
    (void)timer;
    if (now_ns - run.seen_ns > run.worst_ns)
        run.worst_ns = now_ns - run.seen_ns;
    run.seen_ns = now_ns;
}

static void finish(void)
{
    if (run.closing)
        return;
    if (run.seen_ns)
        on_tick(&run.tick);
    run.closing = true;
    uv_close((uv_handle_t *)&run.tick, close_cb);
    uv_close((uv_handle_t *)&run.closer, close_cb);
    for (size_t i = 0; i < run.count; i++)
        uv_close((uv_handle_t *)&run.asks[i].timer, close_cb);
    mr_client_close(run.client, on_client_closed, NULL);
    if (run.seen_ns)
        on_tick(&run.tick);
}

static void on_close_time(uv_timer_t *timer)
{
    (void)timer;
    finish();
}

static void ended(void)
{
    if (run.closing)
        return;
    if (--run.left == 0) /* not from a callback that libcurl calls */
        uv_timer_start(&run.closer, on_close_time, 0, 0);
}

static bool cancels(struct ask *a, const char *when)
{
    if (!a->cancel || strcmp(a->cancel, when) != 0)
        return false;
    mr_exchange_cancel(&a->x);
    a->cancel = NULL;
    ended();
    return true;
}

static void on_head(struct mr_exchange *x, const struct mr_response_head *head)
{
    struct ask *a = MR_OF(x, struct ask, x);
    mr_buf_clear(&a->head);
    for (size_t i = 0; i < head->headers_count; i++) {
        mr_buf_puts(&a->head, i ? ",[" : "[");
        mr_json_put_string(&a->head, head->headers[i].name);
        mr_buf_putc(&a->head, ',');
        mr_json_put_string(&a->head, head->headers[i].value);
        mr_buf_putc(&a->head, ']');
    }
    (void)cancels(a, "head");
}

static void on_resume(uv_timer_t *timer)
{
    struct ask *a = timer->data;
    if (a->x.flight)
        mr_exchange_resume(&a->x);
}

static bool on_bytes(struct mr_exchange *x, struct mr_str bytes)
{
    struct ask *a = MR_OF(x, struct ask, x);
    if (a->pause_ms && !a->held) {
        a->held = true;
        uv_timer_start(&a->timer, on_resume, (uint64_t)a->pause_ms, 0);
        return false;
    }
    mr_buf_put(&a->body, bytes.p, bytes.n);
    return !cancels(a, "bytes");
}

static void start(struct ask *a)
{
    mr_exchange_start(run.client, &a->x);
    (void)cancels(a, "started");
}

static void on_done(struct mr_exchange *x, const struct mr_exchange_end *end)
{
    struct ask *a = MR_OF(x, struct ask, x);
    struct mr_buf line;
    unsigned char digest[MR_DIGEST_MAX];
    mr_buf_init(&line, 1 << 22);
    mr_digest(MR_SHA256, mr_buf_str(&a->body), digest);
    mr_buf_printf(&line, "{\"n\":%td,\"cause\":\"%s\",\"status\":%d,\"sent\":%s,\"repeated\":%s,\"code\":%d,\"date_us\":%lld,\"bytes\":%zu,\"sha256\":\"", a - run.asks,
                  mr_client_cause_name(end->cause), end->status, end->sent ? "true" : "false", end->repeated ? "true" : "false", end->err.code, (long long)end->date_us, a->body.n);
    mr_hex_put(&line, (const char *)digest, 32);
    mr_buf_puts(&line, "\",\"why\":");
    mr_json_put_string(&line, mr_str_c(end->err.msg));
    mr_buf_printf(&line, ",\"headers\":[%s]}\n", mr_buf_cstr(&a->head));
    fputs(mr_buf_cstr(&line), stdout);
    mr_buf_free(&line);
    for (size_t i = 0; i < run.count; i++)
        if (run.asks[i].after == a - run.asks && !run.closing)
            start(&run.asks[i]);
    ended();
}

static void read_ask(struct ask *a, struct mr_str json)
{
    struct mr_exchange *x = &a->x;
    char pointer[32];
    const char *method = text_at(a, json, "/method"), *body = text_at(a, json, "/body");
    *x = (struct mr_exchange){.method = mr_str_c(method ? method : "GET"), .url = mr_str_c(text_at(a, json, "/url")), .body = mr_str_c(body ? body : ""),
                              .headers = a->headers, .connect_ms = number_at(json, "/connect_ms", 0), .stall_ms = number_at(json, "/stall_ms", 0),
                              .total_ms = number_at(json, "/total_ms", 0), .body_max = (size_t)number_at(json, "/body_max", 0),
                              .ratio_max = (unsigned)number_at(json, "/ratio_max", 0), .gzip = flag_at(json, "/gzip"), .http2 = flag_at(json, "/http2"),
                              .follow = flag_at(json, "/follow"), .public_only = flag_at(json, "/public"), .ca = text_at(a, json, "/ca"),
                              .cert = text_at(a, json, "/cert"), .key = text_at(a, json, "/key"), .connect_to = text_at(a, json, "/connect_to"),
                              .on_head = on_head, .on_bytes = on_bytes, .on_done = on_done};
    for (; x->headers_count < MR_COUNT(a->headers); x->headers_count++) {
        snprintf(pointer, sizeof pointer, "/headers/%zu/0", x->headers_count);
        const char *name = text_at(a, json, pointer);
        pointer[strlen(pointer) - 1] = '1';
        const char *value = text_at(a, json, pointer);
        if (!name || !value)
            break;
        a->headers[x->headers_count] = (struct mr_header){mr_str_c(name), mr_str_c(value)};
    }
    a->after = number_at(json, "/after", -1);
    a->pause_ms = number_at(json, "/pause_ms", 0);
    a->cancel = text_at(a, json, "/cancel");
    mr_buf_init(&a->body, (size_t)1 << 30);
    mr_buf_init(&a->head, 1 << 20);
    uv_timer_init(&run.loop.uv, &a->timer);
    a->timer.data = a;
}

static void read_all(void)
{
    static char line[LINE_MAX_BYTES];
    while (run.count < ASKS_MAX && fgets(line, sizeof line, stdin)) {
        struct mr_str json = {line, strlen(line)};
        if (mr_json_check(json, NULL) != MR_OK)
            abort();
        read_ask(&run.asks[run.count++], json);
    }
    run.left = run.count;
}

static void free_all(void)
{
    for (size_t i = 0; i < run.count; i++) {
        mr_buf_free(&run.asks[i].body);
        mr_buf_free(&run.asks[i].head);
        for (size_t t = 0; t < run.asks[i].texts; t++)
            free(run.asks[i].text[t]);
    }
}

int main(int argc, char **argv)
{
    struct mr_err err;
    struct mr_log *log = mr_log_new(-1, MR_LOG_JSON, MR_LOG_ERROR);
    struct mr_loop_options options = {.memory_limit = (size_t)1 << 30, .log = log};
    struct mr_client_options client = {.proxy = argc > 2 ? argv[2] : NULL};
    if (mr_loop_init(&run.loop, &options, &err) != MR_OK || mr_client_new(&run.loop, &client, &run.client, &err) != MR_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    uv_timer_init(&run.loop.uv, &run.tick);
    uv_timer_init(&run.loop.uv, &run.closer);
    read_all();
    for (size_t i = 0; i < run.count; i++)
        if (run.asks[i].after < 0)
            start(&run.asks[i]);
    if (run.count == 0)
        finish();
    if (!run.closing) {
        run.seen_ns = uv_hrtime();
        uv_timer_start(&run.tick, on_tick, TICK_MS, TICK_MS);
        if (argc > 1 && atoi(argv[1]) > 0)
            uv_timer_start(&run.closer, on_close_time, (uint64_t)atoi(argv[1]), 0);
    }
    uv_run(&run.loop.uv, UV_RUN_DEFAULT);
    printf("{\"worst_ms\":%.1f}\n", (double)run.worst_ns / 1e6);
    mr_loop_close(&run.loop);
    mr_log_free(log);
    free_all();
    return 0;
}
