/* SPDX-License-Identifier: Apache-2.0 */
/* stores.c - calls of S3, driven from outside: reads them from stdin, one JSON object a line, makes one after the other, and prints what became of each. s3.py has the store,
 * and what stands between.
 *
 *   method key query:[[name,value]] headers:[[name,value]] body fill (so many bytes instead)
 *
 * usage: stores URL ENDPOINT ACCESS SECRET [REGION [TRIES [CLOSE_MS]]]
 * ACCESS "-": keys are looked for, with TEST_INSTANCE and TEST_TOKEN_SERVICE in the place of AWS's own */
#include "millrace/hash.h"
#include "millrace/json.h"
#include "millrace/log.h"
#include "millrace/s3.h"

#include <stdio.h>
#include <stdlib.h>

enum { LINE_BYTES = 1 << 20, PAIRS_MAX = 16 };

static struct {
    struct mr_loop loop;
    struct mr_client *client;
    struct mr_s3 *s3;
    struct mr_aws_keys *keys;
    struct mr_s3_request r;
    struct mr_header query[PAIRS_MAX], headers[PAIRS_MAX];
    struct mr_buf text; /* what r points at */
    uv_timer_t closer;
    bool closing;
} run;

static struct mr_str text_at(struct mr_str json, const char *pointer)
{
    size_t at = run.text.n;
    if (!mr_json_string(mr_json_at(json, mr_str_c(pointer)), &run.text))
        return (struct mr_str){0};
    return (struct mr_str){run.text.p + at, run.text.n - at};
}

static size_t pairs_at(struct mr_str json, const char *name, struct mr_header out[PAIRS_MAX])
{
    char pointer[64];
    size_t n = 0;
    for (; n < PAIRS_MAX; n++) {
        snprintf(pointer, sizeof pointer, "/%s/%zu/0", name, n);
        if (mr_json_at(json, mr_str_c(pointer)).type == MR_JSON_ABSENT)
            break;
        out[n].name = text_at(json, pointer);
        pointer[strlen(pointer) - 1] = '1';
        out[n].value = text_at(json, pointer);
    }
    return n;
}

static void on_closed(void *arg)
{
    (void)arg;
}

static void on_s3_closed(void *arg)
{
    (void)arg;
    mr_aws_keys_close(run.keys);
    mr_client_close(run.client, on_closed, NULL);
}

static void on_handle_closed(uv_handle_t *handle)
{
    (void)handle;
}

static void finish(uv_timer_t *timer)
{
    (void)timer;
    run.closing = true;
    uv_close((uv_handle_t *)&run.closer, on_handle_closed);
    mr_s3_close(run.s3, on_s3_closed, NULL);
}

static void next(void);

static void on_done(struct mr_s3_request *r, const struct mr_s3_end *end)
{
    static const char *const outcomes[] = {"done", "no_upload", "not_found", "exists", "denied", "failed", "unreached", "canceled"};
    struct mr_buf out;
    (void)r;
    mr_buf_init(&out, 64 << 20);
    mr_buf_printf(&out, "{\"outcome\":\"%s\",\"status\":%d,\"repeated\":%s,\"tries\":%u,\"size\":%lld,\"code\":%d,\"etag\":", outcomes[end->outcome], end->status,
                  end->repeated ? "true" : "false", end->tries, (long long)end->size, end->err.code);
    mr_json_put_string(&out, end->etag);
    mr_buf_puts(&out, ",\"landing\":");
    mr_json_put_string(&out, end->landing);
    mr_buf_puts(&out, ",\"why\":");
    mr_json_put_string(&out, mr_str_c(end->err.msg));
    mr_buf_puts(&out, ",\"body\":\"");
    mr_base64_put(&out, end->body);
    mr_buf_puts(&out, "\"}\n");
    fputs(mr_buf_cstr(&out), stdout);
    mr_buf_free(&out);
    if (!run.closing)
        next();
}

static void next(void)
{
    static char line[LINE_BYTES], fill[32 << 20];
    int64_t n;
    if (!fgets(line, sizeof line, stdin)) {
        uv_timer_start(&run.closer, finish, 0, 0); /* not from a callback of a call */
        return;
    }
    struct mr_str json = {line, strlen(line)};
    if (mr_json_check(json, NULL) != MR_OK)
        abort();
    mr_buf_clear(&run.text);
    run.r = (struct mr_s3_request){.method = text_at(json, "/method"), .key = text_at(json, "/key"), .body = text_at(json, "/body"), .query = run.query,
                                   .headers = run.headers, .on_done = on_done};
    run.r.query_count = pairs_at(json, "query", run.query);
    run.r.headers_count = pairs_at(json, "headers", run.headers);
    if (mr_json_i64(mr_json_at(json, MR_STR("/fill")), &n)) {
        memset(fill, 'x', sizeof fill);
        run.r.body = (struct mr_str){fill, (size_t)n};
    }
    mr_s3_send(run.s3, &run.r);
}

int main(int argc, char **argv)
{
    struct mr_err err;
    struct mr_log *log = mr_log_new(-1, MR_LOG_JSON, MR_LOG_ERROR);
    struct mr_loop_options options = {.memory_limit = (size_t)1 << 30, .log = log};
    if (argc < 5)
        return 2;
    struct mr_s3_options s3 = {.url = mr_str_c(argv[1]), .endpoint = mr_str_c(argv[2]),
                               .region = mr_str_c(argc > 5 ? argv[5] : ""), .tries = argc > 6 ? (unsigned)atoi(argv[6]) : 0, .base_ms = 10, .cap_ms = 200};
    struct mr_aws_keys_options keys = {.region = MR_STR("us-east-1"), .instance = getenv("TEST_INSTANCE"), .token_service = getenv("TEST_TOKEN_SERVICE")};
    if (strcmp(argv[3], "-") != 0)
        keys.given = (struct mr_sigv4_keys){mr_str_c(argv[3]), mr_str_c(argv[4]), {0}};
    mr_buf_init(&run.text, LINE_BYTES);
    if (mr_loop_init(&run.loop, &options, &err) != MR_OK || !mr_buf_reserve(&run.text, LINE_BYTES) ||
        mr_client_new(&run.loop, &(struct mr_client_options){0}, &run.client, &err) != MR_OK || mr_aws_keys_new(&run.loop, run.client, &keys, &run.keys, &err) != MR_OK ||
        (s3.keys = run.keys, mr_s3_new(&run.loop, run.client, &s3, &run.s3, &err)) != MR_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    uv_timer_init(&run.loop.uv, &run.closer);
    next();
    if (argc > 7)
        uv_timer_start(&run.closer, finish, (uint64_t)atoi(argv[7]), 0);
    uv_run(&run.loop.uv, UV_RUN_DEFAULT);
    mr_loop_close(&run.loop);
    mr_log_free(log);
    mr_buf_free(&run.text);
    return 0;
}
