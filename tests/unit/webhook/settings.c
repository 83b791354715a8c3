/* SPDX-License-Identifier: Apache-2.0 */
/* settings.c - what a person can get wrong below `verify`, and the sentence that says it. */
#include "unit/webhook/tests.h"

static void wrong(struct request *r, const char *sentence)
{
    assert_int_equal(config(r), MR_ECONFIG);
    assert_null(r->v);
    if (!strstr(r->err.msg, sentence))
        fail_msg("\"%s\" does not say \"%s\"", r->err.msg, sentence);
    request_end(r);
}

static void an_unknown_scheme_names_the_known_ones(void **state)
{
    (void)state;
    struct request r;
    request_init(&r, "githup", "k");
    wrong(&r, "scheme \"githup\" is not known; near it: github, github-sha1, gitlab; docs/webhook-schemes.md has all ");
    request_init(&r, NULL, "k");
    wrong(&r, "is not known");
}

static void a_scheme_without_a_secret_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < mr_schemes_count; i++) {
        struct request r;
        request_init(&r, mr_schemes[i].name, NULL);
        r.o.header = text("X-Sig");
        r.o.audience = r.o.email = text("me");
        if (mr_schemes[i].none || mr_schemes[i].keyless) {
            assert_int_equal(config(&r), MR_OK);
            request_end(&r);
            continue;
        }
        wrong(&r, "needs `secrets`");
    }
}

static void an_empty_secret_is_refused(void **state)
{
    (void)state;
    struct request r;
    request_init(&r, "github", "good");
    request_secret(&r, "");
    wrong(&r, "secret 1 (${env:S}) is empty");
}

static void a_secret_in_another_form_is_refused_and_not_shown(void **state)
{
    (void)state;
    static const struct {
        const char *scheme, *secret;
        int key;
    } cases[] = {{"standard", "whsec_not base64!", 0}, {"standard", "whsec_", 0},         {"standard", "a2V5LXRleH=", 0},
                 {"hmac", "abc", MR_KEY_HEX},          {"hmac", "zzzz", MR_KEY_HEX},      {"hmac", "a2V5LXRleH", MR_KEY_BASE64},
                 {"hmac", "a2V5-XRl", MR_KEY_BASE64}};
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        struct request r;
        request_init(&r, cases[i].scheme, cases[i].secret);
        r.o.header = text("X-Sig");
        r.o.key = cases[i].key;
        assert_int_equal(config(&r), MR_ECONFIG);
        assert_non_null(strstr(r.err.msg, "secret 0 (${env:S}) is "));
        assert_null(strstr(r.err.msg, cases[i].secret));
        request_end(&r);
    }
}

static void too_many_secrets_are_refused(void **state)
{
    (void)state;
    struct request r;
    request_init(&r, "github", "k");
    for (int i = 1; i < 16; i++)
        request_secret(&r, "k");
    assert_int_equal(config(&r), MR_OK);
    request_secret(&r, "k");
    wrong(&r, "more than 16 secrets");
}

#define FOUR_BODIES    "{body}{body}{body}{body}"
#define SIXTEEN_BODIES FOUR_BODIES FOUR_BODIES FOUR_BODIES FOUR_BODIES

static void hmac_s_parts_that_do_not_fit_together(void **state)
{
    (void)state;
    static const struct {
        const char *header, *separator, *assign, *take, *text, *timestamp, *id, *sentence;
    } cases[] = {
        {NULL, NULL, NULL, NULL, NULL, NULL, NULL, "scheme hmac needs `header`"},
        {"", NULL, NULL, NULL, NULL, NULL, NULL, "scheme hmac needs `header`"},
        {"X", ", ", NULL, NULL, NULL, NULL, NULL, "separator must be one character, not \", \""},
        {"X", NULL, "==", "v1", NULL, NULL, NULL, "assign must be one character, not \"==\""},
        {"X", ",", "=", NULL, NULL, NULL, NULL, "`assign` needs `take`"},
        {"X", ",", NULL, "v1", NULL, NULL, NULL, "`take` needs `assign`"},
        {"X", "=", "=", "v1", NULL, NULL, NULL, "`separator` and `assign` must differ"},
        {"X", NULL, NULL, NULL, "{bdoy}", NULL, NULL, "signed: {bdoy} is not known; expected {body}"},
        {"X", NULL, NULL, NULL, "{}", NULL, NULL, "signed: {} is not known"},
        {"X", NULL, NULL, NULL, "{header:}", NULL, NULL, "signed: {header:} is not known"},
        {"X", NULL, NULL, NULL, "a{body", NULL, NULL, "signed: `{` without `}` in \"a{body\"; write `{{` for a brace"},
        {"X", NULL, NULL, NULL, "{id}{body}", NULL, NULL, "signed names {id}: say where it is with `id: header:Name`"},
        {"X", NULL, NULL, NULL, "{id}{body}", NULL, "X-Id", "id must be `header:Name`, not \"X-Id\""},
        {"X", NULL, NULL, NULL, "{id}{body}", NULL, "header:", "id must be `header:Name`, not \"header:\""},
        {"X", NULL, NULL, NULL, "{timestamp}{body}", NULL, NULL, "signed names {timestamp}: say where it is"},
        {"X", NULL, NULL, NULL, "{body}", "header:T", NULL, "a timestamp that is not signed protects nothing"},
        {"X", NULL, NULL, NULL, "{timestamp}{body}", "T", NULL, "timestamp must be `header:Name`, `json:/pointer`, `form:name`, or `element:key`"},
        {"X", NULL, NULL, NULL, "{timestamp}{body}", "header:", NULL, "timestamp must be `header:Name`"},
        {"X", NULL, NULL, NULL, "{timestamp}{body}", "element:t", NULL, "of a list with `separator` and `assign`"},
        {"X", ",", NULL, NULL, "{timestamp}{body}", "element:t", NULL, "of a list with `separator` and `assign`"},
        {"X", NULL, "=", "v1", "{timestamp}{body}", "element:t", NULL, "of a list with `separator` and `assign`"},
        {"X", NULL, NULL, NULL, SIXTEEN_BODIES SIXTEEN_BODIES "{body}", NULL, NULL, "more than 32 pieces"},
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        struct request r;
        request_init(&r, "hmac", "k");
        r.o.header = text(cases[i].header);
        r.o.separator = text(cases[i].separator);
        r.o.assign = text(cases[i].assign);
        r.o.take = text(cases[i].take);
        r.o.text = text(cases[i].text);
        r.o.timestamp = text(cases[i].timestamp);
        r.o.id = text(cases[i].id);
        wrong(&r, cases[i].sentence);
    }
}

static void the_options_may_go_once_the_verifier_is_made(void **state)
{
    (void)state;
    char header[] = "X-Sig", prefix[] = "p=", template[] = "{header:X-Kind}/{body}", secret[] = "k", mac[65], value[80];
    struct request r;
    request_hmac(&r, secret);
    r.o.header = header;
    r.o.prefix = prefix;
    r.o.text = template;
    assert_int_equal(config(&r), MR_OK);
    memset(header, 'z', sizeof header - 1);
    memset(prefix, 'z', sizeof prefix - 1);
    memset(template, 'z', sizeof template - 1);
    memset(secret, 'z', sizeof secret - 1);
    mac_hex("k", "blue/" BODY, mac);
    snprintf(value, sizeof value, "p=%s", mac);
    request_header(&r, "X-Kind", "blue");
    request_header(&r, "X-Sig", value);
    assert_int_equal(verdict(&r), MR_CAUSE_NONE);
    request_end(&r);
}

static void only_a_text_with_the_url_needs_one(void **state)
{
    (void)state;
    struct request r;
    request_hmac(&r, "k");
    assert_int_equal(config(&r), MR_OK);
    assert_false(mr_verifier_needs_url(r.v));
    r.o.text = text("{url}{body}");
    assert_int_equal(config(&r), MR_OK);
    assert_true(mr_verifier_needs_url(r.v));
    request_end(&r);
}

const struct CMUnitTest settings_tests[] = {
    cmocka_unit_test(an_unknown_scheme_names_the_known_ones),
    cmocka_unit_test(a_scheme_without_a_secret_is_refused),
    cmocka_unit_test(an_empty_secret_is_refused),
    cmocka_unit_test(a_secret_in_another_form_is_refused_and_not_shown),
    cmocka_unit_test(too_many_secrets_are_refused),
    cmocka_unit_test(hmac_s_parts_that_do_not_fit_together),
    cmocka_unit_test(the_options_may_go_once_the_verifier_is_made),
    cmocka_unit_test(only_a_text_with_the_url_needs_one),
};
const size_t settings_tests_count = MR_COUNT(settings_tests);
