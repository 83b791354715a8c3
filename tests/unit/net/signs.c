/* SPDX-License-Identifier: Apache-2.0 */
/* signs.c - the AWS signer, driven from outside: a request a line in, as JSON with all texts in base64; target and header lines out, as they would be sent.
 * sigv4.py knows what must come. */
#include "millrace/hash.h"
#include "millrace/json.h"
#include "millrace/sigv4.h"

#include <stdio.h>
#include <stdlib.h>

enum { LINE_BYTES = 1 << 20 };

static struct mr_buf texts; /* what the request points at; room for all of a line's */

static struct mr_str text_at(struct mr_str json, const char *pointer)
{
    struct mr_json_slice s = mr_json_at(json, mr_str_c(pointer));
    size_t at = texts.n, n = 0;
    if (s.type != MR_JSON_STRING)
        return (struct mr_str){0};
    if (!mr_base64_get((struct mr_str){s.raw.p + 1, s.raw.n - 2}, false, (unsigned char *)texts.p + at, LINE_BYTES - at, &n))
        abort();
    texts.n += n;
    return (struct mr_str){texts.p + at, n};
}

static size_t pairs_at(struct mr_str json, const char *name, struct mr_header *out, size_t cap)
{
    char pointer[64];
    size_t n = 0;
    for (; n < cap; n++) {
        snprintf(pointer, sizeof pointer, "/%s/%zu/0", name, n);
        if (mr_json_at(json, mr_str_c(pointer)).type == MR_JSON_ABSENT)
            break;
        out[n].name = text_at(json, pointer);
        pointer[strlen(pointer) - 1] = '1';
        out[n].value = text_at(json, pointer);
    }
    return n;
}

static void answer(struct mr_str json)
{
    struct mr_header query[80], headers[80];
    struct mr_buf target, lines;
    struct mr_err err;
    int64_t now;
    mr_buf_clear(&texts);
    struct mr_sigv4_keys keys = {text_at(json, "/access"), text_at(json, "/secret"), text_at(json, "/token")};
    struct mr_sigv4_request r = {.method = text_at(json, "/method"), .region = text_at(json, "/region"), .service = text_at(json, "/service"),
                                 .host = text_at(json, "/host"), .path = text_at(json, "/path"), .payload_sha256 = text_at(json, "/payload"),
                                 .query = query, .headers = headers};
    r.query_count = pairs_at(json, "query", query, MR_COUNT(query));
    r.headers_count = pairs_at(json, "headers", headers, MR_COUNT(headers));
    if (!mr_json_i64(mr_json_at(json, MR_STR("/now")), &now))
        abort();
    mr_buf_init(&target, LINE_BYTES);
    mr_buf_init(&lines, LINE_BYTES);
    if (mr_sigv4_sign(&r, &keys, now * 1000000, &target, &lines, &err) == MR_OK) {
        struct mr_buf out;
        mr_buf_init(&out, 4 * LINE_BYTES);
        mr_buf_puts(&out, "{\"target\":");
        mr_json_put_string(&out, mr_buf_str(&target));
        mr_buf_puts(&out, ",\"lines\":");
        mr_json_put_string(&out, mr_buf_str(&lines));
        mr_buf_puts(&out, "}\n");
        fputs(mr_buf_cstr(&out), stdout);
        mr_buf_free(&out);
    } else {
        printf("{\"refused\":\"%s\"}\n", err.msg);
    }
    mr_buf_free(&target);
    mr_buf_free(&lines);
}

int main(void)
{
    static char line[LINE_BYTES];
    mr_buf_init(&texts, LINE_BYTES);
    if (!mr_buf_reserve(&texts, LINE_BYTES))
        return 1;
    while (fgets(line, sizeof line, stdin)) {
        struct mr_str json = {line, strlen(line)};
        if (mr_json_check(json, NULL) != MR_OK)
            abort();
        answer(json);
    }
    mr_buf_free(&texts);
    return 0;
}
