/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include "millrace/clock.h"
#include "millrace/file.h"
#include "millrace/hash.h"
#include "millrace/json.h"

#include <stdlib.h>

static const char help[] =
    "usage: millrace explain -c FILE SOURCE REQUEST.json [--at UNIX]\n"
    "\n"
    "Would this captured request be accepted, and if not, why? One JSON line a request on stdout:\n"
    "  {\"verdict\": \"accept\"|\"reject\", \"cause\": …, \"reason\": …}\n"
    "REQUEST.json: {\"method\", \"path\", \"headers\": [[name, value], …], \"body_base64\"}; several as NDJSON; - is "
    "stdin.\n"
    "\n"
    "  --at UNIX  judge the replay window as of that second; default: \"received_at\" of the request if it has one (a file of\n"
    "             the quarantine), else now\n"
    "\n"
    "Exit code 0 if all are accepted, 1 if not, 2 if REQUEST cannot be read. Repeats (dedup) are not looked at.\n";

enum { REQUEST_MAX = 512 << 20, HEADERS_MAX = 1024 };
static const long long AT_MAX =
    253402300799; /* the last second of the year 9999: in microseconds it is far from wrapping */

struct captured { /* one request, decoded */
    struct mr_captured request;
    struct mr_header headers[HEADERS_MAX];
    struct mr_buf text; /* strings, decoded: slices are made once it has stopped growing */
    size_t at[2 * HEADERS_MAX + 3];
    size_t count;
};

static bool put_string(struct captured *c, struct mr_json_slice s)
{
    c->at[c->count++] = c->text.n;
    return mr_json_string(s, &c->text);
}

static const char *read_headers(struct captured *c, struct mr_json_slice headers)
{
    struct mr_json_iter it, pair;
    struct mr_str key;
    struct mr_json_slice item, name, value, more;
    if (headers.type != MR_JSON_ARRAY)
        return "\"headers\" must be an array of [name, value]";
    mr_json_iter(&it, headers);
    while (mr_json_next(&it, &key, &item)) {
        if (c->request.headers_count == HEADERS_MAX)
            return "too many headers";
        if (item.type != MR_JSON_ARRAY)
            return "\"headers\" must be an array of [name, value]";
        mr_json_iter(&pair, item);
        if (!mr_json_next(&pair, &key, &name) || !mr_json_next(&pair, &key, &value) ||
            mr_json_next(&pair, &key, &more) || !put_string(c, name) || !put_string(c, value))
            return "each header must be [name, value], both strings";
        c->request.headers_count++;
    }
    return NULL;
}

static const char *read_body(struct captured *c, struct mr_json_slice body)
{
    size_t at = c->text.n;
    c->at[c->count++] = at;
    if (body.type == MR_JSON_ABSENT)
        return NULL;
    struct mr_buf encoded;
    mr_buf_init(&encoded, REQUEST_MAX);
    bool ok = mr_json_string(body, &encoded) && mr_buf_reserve(&c->text, encoded.n + 1);
    size_t n = 0;
    ok = ok && mr_base64_get(mr_buf_str(&encoded), false, (unsigned char *)c->text.p + at, encoded.n + 1, &n);
    c->text.n += ok ? n : 0;
    mr_buf_free(&encoded);
    return ok ? NULL : "\"body_base64\" is not base64";
}

/* NULL, or what is wrong. */
static const char *capture(struct captured *c, struct mr_str json)
{
    c->count = 0;
    c->request = (struct mr_captured){.headers = c->headers};
    mr_buf_clear(&c->text);
    struct mr_err err;
    if (mr_json_check(json, &err) != MR_OK)
        return "not JSON";
    if (!put_string(c, mr_json_at(json, MR_STR("/method"))))
        return "\"method\" is missing or no string";
    if (!put_string(c, mr_json_at(json, MR_STR("/path"))))
        return "\"path\" is missing or no string";
    const char *wrong = read_headers(c, mr_json_at(json, MR_STR("/headers")));
    wrong = wrong ? wrong : read_body(c, mr_json_at(json, MR_STR("/body_base64")));
    if (wrong || c->text.failed)
        return wrong ? wrong : "too large";
    c->at[c->count] = c->text.n;
    const char *p = c->text.p ? c->text.p : "";
#define SLICE(i) ((struct mr_str){p + c->at[i], c->at[(i) + 1] - c->at[i]})
    c->request.method = SLICE(0);
    c->request.target = SLICE(1);
    for (size_t i = 0; i < c->request.headers_count; i++)
        c->headers[i] = (struct mr_header){SLICE(2 + 2 * i), SLICE(3 + 2 * i)};
    c->request.body = SLICE(c->count - 1);
#undef SLICE
    return NULL;
}

/* A kept request is judged as of when it came. */
static int64_t received_at(struct mr_str json)
{
    struct mr_buf text;
    int64_t at_us;
    mr_buf_init(&text, 256);
    if (!mr_json_string(mr_json_at(json, MR_STR("/received_at")), &text) || !mr_time_parse(mr_buf_str(&text), &at_us))
        at_us = mr_wall_us();
    mr_buf_free(&text);
    return at_us;
}

static int explain_one(const struct mr_config *config, size_t at, struct captured *c, struct mr_str json, int64_t at_us)
{
    const struct mr_config_source *source = &config->sources[at];
    const char *wrong = capture(c, json);
    if (wrong) {
        fprintf(stderr, "millrace explain: REQUEST cannot be read: %s\n", wrong);
        return 2;
    }
    struct mr_buf out;
    mr_buf_init(&out, 1 << 16);
    if (at_us == MR_NO_TIME)
        at_us = received_at(json);
    bool accepted = config->doors[source->door]->explain(source->options, config->hub_options[source->door],
                                                         &c->request, at_us, &out);
    printf("%s\n", mr_buf_cstr(&out));
    mr_buf_free(&out);
    return accepted ? 0 : 1;
}

static int explain_all(const struct mr_config *config, size_t at, struct mr_str text, int64_t at_us)
{
    struct captured *c = calloc(1, sizeof *c);
    if (!c)
        return 1;
    mr_buf_init(&c->text, REQUEST_MAX);
    int worst = 0;
    bool any = false;
    if (mr_json_check(text, NULL) == MR_OK) { /* one request, however it is laid out */
        worst = explain_one(config, at, c, text, at_us);
        any = true;
        text.n = 0;
    }
    while (text.n) {
        const char *end = memchr(text.p, '\n', text.n);
        struct mr_str line = {text.p, end ? (size_t)(end - text.p) : text.n};
        text = (struct mr_str){text.p + line.n + (end != NULL), text.n - line.n - (end != NULL)};
        if (strspn(line.p, " \t\r") >= line.n)
            continue;
        int code = explain_one(config, at, c, line, at_us);
        worst = code > worst ? code : worst;
        any = true;
        if (code == 2)
            break;
    }
    if (!any) { /* blank lines only: no request was accepted */
        fprintf(stderr, "millrace explain: REQUEST is empty\n");
        worst = 2;
    }
    mr_buf_free(&c->text);
    free(c);
    return worst;
}

int mr_cli_explain(int argc, char **argv)
{
    const char *at_text = NULL;
    const struct cli_flag flags[] = {{"--at", &at_text, NULL}, {0}};
    struct cli_args args;
    int exit_code;
    if (!cli_parse(argc, argv, help, flags, &args, &exit_code))
        return exit_code;
    char *end = NULL;
    long long at_s = at_text ? strtoll(at_text, &end, 10) : 0;
    if (args.words_count != 2 || (at_text && (*end || end == at_text || at_s < 0 || at_s > AT_MAX))) {
        fprintf(stderr, "millrace explain: give SOURCE and REQUEST.json%s\n\n%s",
                at_text ? "; --at is a number of seconds since 1970" : "", help);
        return 2;
    }
    struct mr_config *config = cli_config(args.config);
    if (!config)
        return 2;
    ptrdiff_t at = mr_config_find(config, args.words[0]);
    struct mr_err err = {0};
    char *text = NULL;
    size_t n = 0;
    const char *path = strcmp(args.words[1], "-") == 0 ? "/dev/stdin" : args.words[1];
    exit_code = 2;
    if (at < 0 || !config->doors[config->sources[at].door]->explain)
        fprintf(stderr, "millrace explain: no source \"%s\" that receives requests in %s\n", args.words[0],
                args.config);
    else if (mr_file_read(path, REQUEST_MAX, &text, &n, &err) != MR_OK)
        fprintf(stderr, "millrace explain: REQUEST cannot be read: %s\n", err.msg);
    else if (n == 0)
        fprintf(stderr, "millrace explain: REQUEST is empty\n");
    else
        exit_code = explain_all(config, (size_t)at, (struct mr_str){text, n}, at_text ? at_s * 1000000 : MR_NO_TIME);
    free(text);
    mr_config_free(config);
    return exit_code;
}
