/* SPDX-License-Identifier: Apache-2.0 */
/* explain.c - the verdict on a captured request: JSON, with each cause that the page of the command names. */
#include "unit/webhook/tests.h"

#include "sources/webhook/hub.h"

#include <jansson.h>

struct asked {
    struct request r; /* options and headers */
    struct webhook_options o;
    struct hub_options h;
    struct mr_captured c;
    char *methods[2];
};

static void ask_init(struct asked *a)
{
    memset(a, 0, sizeof *a);
    request_init(&a->r, "github", "It's a Secret to Everybody");
    a->methods[0] = text("POST");
    a->methods[1] = text("PUT");
    a->o.path = text("/hooks/github");
    a->o.methods = (struct mr_strings){a->methods, 2};
    a->h.http.body_limit = 100;
    a->c.method = MR_STR("POST");
    a->c.target = MR_STR("/hooks/github");
    a->c.body = MR_STR("Hello, World!");
    request_header(&a->r, "X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
}

static void expect(struct asked *a, const char *verdict, const char *cause, const char *reason_part)
{
    struct mr_buf json;
    mr_buf_init(&json, 1 << 16);
    a->o.verify = a->r.o;
    a->c.headers = a->r.headers;
    a->c.headers_count = a->r.head.headers_count;
    bool accepted = webhook_explain(&a->o, &a->h, &a->c, (int64_t)T0 * 1000000, &json);
    json_t *v = json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES, NULL);
    if (!v)
        fail_msg("not JSON: %s", mr_buf_cstr(&json));
    assert_int_equal(json_object_size(v), 3);
    const char *got = json_string_value(json_object_get(v, "verdict")), *why = json_string_value(json_object_get(v, "cause"));
    const char *reason = json_string_value(json_object_get(v, "reason"));
    if (strcmp(got, verdict) != 0 || (cause ? !why || strcmp(why, cause) != 0 : !json_is_null(json_object_get(v, "cause"))) ||
        !strstr(reason, reason_part))
        fail_msg("not %s, %s, %s: %s", verdict, cause ? cause : "null", reason_part, mr_buf_cstr(&json));
    assert_int_equal(accepted, strcmp(verdict, "accept") == 0);
    json_decref(v);
    mr_buf_free(&json);
    request_end(&a->r);
}

static void a_good_request_is_accepted_and_the_secret_named(void **state)
{
    (void)state;
    struct asked a;
    ask_init(&a);
    expect(&a, "accept", NULL, "secret 0 matches, the body is covered");
    ask_init(&a);
    a.c.method = MR_STR("PUT");
    a.c.target = MR_STR("/hooks/github?x=1&y=?");
    expect(&a, "accept", NULL, "secret 0 matches");
}

static void each_cause_has_its_name(void **state)
{
    (void)state;
    struct asked a;
    ask_init(&a);
    a.c.target = MR_STR("/hooks/githu");
    expect(&a, "reject", "route", "the route of this source is /hooks/github");
    ask_init(&a);
    a.c.target = MR_STR("/hooks/github/");
    expect(&a, "reject", "route", "/hooks/github");
    ask_init(&a);
    a.c.target = (struct mr_str){NULL, 0};
    expect(&a, "reject", "route", "/hooks/github");
    ask_init(&a);
    a.c.method = MR_STR("GET");
    expect(&a, "reject", "method", "method not among");
    ask_init(&a);
    a.h.http.body_limit = 12;
    expect(&a, "reject", "size", "body of 13 bytes; body_limit is 12");
    ask_init(&a);
    a.h.http.body_limit = 13;
    expect(&a, "accept", NULL, "");
    ask_init(&a);
    a.o.body_limit = 12; /* the source's own goes first */
    expect(&a, "reject", "size", "body_limit is 12");
    ask_init(&a);
    request_no_headers(&a.r);
    expect(&a, "reject", "missing", "header X-Hub-Signature-256 is missing");
    ask_init(&a);
    a.r.headers[0].value = MR_STR("sha256=12");
    expect(&a, "reject", "format", "no hex digest");
    ask_init(&a);
    a.c.body = MR_STR("{\"changed\": \"\\\"\"}");
    expect(&a, "reject", "signature", "none of 1 secrets; another secret, or the body was changed on its way");
    ask_init(&a);
    request_header(&a.r, "Content-Encoding", "br");
    expect(&a, "reject", "format", "coding");
    ask_init(&a);
    request_header(&a.r, "Content-Encoding", "gzip");
    expect(&a, "reject", "format", "gzip");
    ask_init(&a);
    request_end(&a.r);
    request_init(&a.r, "stripe", "k");
    char mac[65], value[100];
    mac_hex("k", "1600000000.Hello, World!", mac);
    snprintf(value, sizeof value, "t=1600000000,v1=%s", mac);
    request_header(&a.r, "Stripe-Signature", value);
    expect(&a, "reject", "timestamp", "signed 100000000 s ago");
}

static void a_guess_is_part_of_the_reason(void **state)
{
    (void)state;
    struct asked a;
    ask_init(&a);
    a.c.body = MR_STR("Hello, World!\n");
    expect(&a, "reject", "signature", "none of 1 secrets; the secret is right, but white space was added at the end");
}

static void a_signed_url_is_the_public_one_with_the_request_s_query(void **state)
{
    (void)state;
    struct asked a;
    char mac[65];
    ask_init(&a);
    request_end(&a.r);
    request_hmac(&a.r, "k");
    a.r.o.text = text("{url}|{body}");
    a.o.public_url = text("https://example.com/in");
    a.c.target = MR_STR("/hooks/github?a=1");
    mac_hex("k", "https://example.com/in?a=1|Hello, World!", mac);
    request_header(&a.r, "X-Sig", mac);
    expect(&a, "accept", NULL, "secret 0");
}

static void a_source_that_accepts_anything_says_so(void **state)
{
    (void)state;
    struct asked a;
    ask_init(&a);
    request_end(&a.r);
    request_init(&a.r, "none", NULL);
    expect(&a, "accept", NULL, "verify is none: anything is accepted");
}

const struct CMUnitTest explain_tests[] = {
    cmocka_unit_test(a_good_request_is_accepted_and_the_secret_named),
    cmocka_unit_test(each_cause_has_its_name),
    cmocka_unit_test(a_guess_is_part_of_the_reason),
    cmocka_unit_test(a_signed_url_is_the_public_one_with_the_request_s_query),
    cmocka_unit_test(a_source_that_accepts_anything_says_so),
};
const size_t explain_tests_count = MR_COUNT(explain_tests);
