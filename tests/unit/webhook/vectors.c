/* SPDX-License-Identifier: Apache-2.0 */
/* vectors.c - examples that vendors publish, and MACs made by Python's hmac: none of them by the code under test. */
#include "unit/webhook/tests.h"

static void github_s_documented_example(void **state)
{
    (void)state;
    struct request r;
    request_init(&r, "github", "It's a Secret to Everybody");
    r.body = MR_STR("Hello, World!");
    request_header(&r, "X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
    assert_int_equal(verdict(&r), MR_CAUSE_NONE);
    assert_string_equal(r.out.covers, "body");
    r.body = MR_STR("Hello, World?");
    assert_int_equal(verdict(&r), MR_CAUSE_SIGNATURE);
    request_end(&r);
}

static void slack_s_documented_example(void **state)
{
    (void)state;
    struct request r;
    request_init(&r, "slack", "8f742231b10e8888abcd99yyyzzz85a5");
    r.body = MR_STR("token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
                    "&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack."
                    "com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121."
                    "803a0bc887a14d10d2c447fce8b6703c");
    request_header(&r, "X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503");
    request_header(&r, "X-Slack-Request-Timestamp", "1531420618");
    assert_int_equal(verdict_us(&r, INT64_C(1531420618000000)), MR_CAUSE_NONE);
    assert_int_equal(verdict(&r), MR_CAUSE_TIMESTAMP); /* five years later */
    request_end(&r);
}

static void the_example_of_the_standard_webhooks_libraries(void **state)
{
    (void)state;
    struct request r;
    request_init(&r, "standard", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    r.body = MR_STR("{\"test\": 2432232314}");
    request_header(&r, "webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek");
    request_header(&r, "webhook-timestamp", "1614265330");
    request_header(&r, "webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    assert_int_equal(verdict_us(&r, INT64_C(1614265330000000)), MR_CAUSE_NONE);
    r.headers[2].value = MR_STR("v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v2,x v1a,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    assert_int_equal(verdict_us(&r, INT64_C(1614265330000000)), MR_CAUSE_NONE);
    request_end(&r);
    request_init(&r, "standard", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"); /* the same key without its prefix */
    r.body = MR_STR("{\"test\": 2432232314}");
    request_header(&r, "webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek");
    request_header(&r, "webhook-timestamp", "1614265330");
    request_header(&r, "webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    assert_int_equal(verdict_us(&r, INT64_C(1614265330000000)), MR_CAUSE_NONE);
    request_end(&r);
}

static void stripe_with_an_older_scheme_beside_it(void **state)
{
    (void)state;
    struct request r;
    request_init(&r, "stripe", "whsec_test_secret");
    r.body = MR_STR("{\n  \"id\": \"evt_1\",\n  \"object\": \"event\"\n}");
    request_header(&r, "Stripe-Signature",
                   "t=1492774577,v1=a4d20b96f5937364811ea5d559b328a268a34a5334ab6acdada609af4e86b336,"
                   "v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39");
    assert_int_equal(verdict_us(&r, INT64_C(1492774577000000)), MR_CAUSE_NONE);
    r.headers[0].value = MR_STR("t=1492774577,v0=a4d20b96f5937364811ea5d559b328a268a34a5334ab6acdada609af4e86b336");
    assert_int_equal(verdict_us(&r, INT64_C(1492774577000000)), MR_CAUSE_MISSING); /* never by the old one */
    request_end(&r);
}

static void shopify_s_base64(void **state)
{
    (void)state;
    struct request r;
    request_init(&r, "shopify", "hush");
    r.body = MR_STR("{\"id\":820982911946154508,\"email\":\"jon@example.com\"}");
    request_header(&r, "x-shopify-hmac-sha256", "D0UMXmhjwBRi4y66TmhJrDlhQABD7zI2fm3p6/QLMo8=");
    assert_int_equal(verdict(&r), MR_CAUSE_NONE);
    request_end(&r);
}

static void hmac_with_every_digest_encoding_and_key_form(void **state)
{
    (void)state;
    static const struct {
        int digest, key, encoding;
        const char *secret, *signature;
    } cases[] = {
        {MR_SHA1, MR_KEY_TEXT, MR_ENC_HEX, "key-text", "2455c3ec573700d9c2c383353b674aad2da2fafa"},
        {MR_SHA1, MR_KEY_TEXT, MR_ENC_BASE64, "key-text", "JFXD7Fc3ANnCw4M1O2dKrS2i+vo="},
        {MR_SHA1, MR_KEY_TEXT, MR_ENC_BASE64URL, "key-text", "JFXD7Fc3ANnCw4M1O2dKrS2i-vo"},
        {MR_SHA1, MR_KEY_HEX, MR_ENC_HEX, "6b65792d0001fe", "8e3ab46732e3d9942aa9715a0e13fef230ca6d34"},
        {MR_SHA1, MR_KEY_BASE64, MR_ENC_BASE64, "a2V5LQAB/g==", "jjq0ZzLj2ZQqqXFaDhP+8jDKbTQ="},
        {MR_SHA1, MR_KEY_BASE64, MR_ENC_BASE64URL, "a2V5LQAB/g==", "jjq0ZzLj2ZQqqXFaDhP-8jDKbTQ="},
        {MR_SHA256, MR_KEY_TEXT, MR_ENC_HEX, "key-text", "EB820f32c5ffc5bc260eef10617c7ca05ad98cd400708b484f26dafeb6efa9a8"},
        {MR_SHA256, MR_KEY_HEX, MR_ENC_BASE64, "6B65792D0001FE", "bFrsiy7+TTTU53tRqSsJv8VNEc8eIH8ngfk7Ez5nbUg="},
        {MR_SHA256, MR_KEY_BASE64, MR_ENC_BASE64URL, "a2V5LQAB/g==", "bFrsiy7-TTTU53tRqSsJv8VNEc8eIH8ngfk7Ez5nbUg"},
        {MR_SHA512, MR_KEY_TEXT, MR_ENC_HEX, "key-text",
         "22b7a421431b47b0de8f52f5732821ddd19a170410db1c6807ff233188e0e726c931da77d0383ff61c3c2a7f26ede60dc0a15c63eed07f72dd5e1cbb92fa97c0"},
        {MR_SHA512, MR_KEY_HEX, MR_ENC_BASE64URL, "6b65792d0001fe",
         "9lOD4u0i726RDqwY8HMqUYcDHhtyXc_oHgrh9ebMnEj0wgjljliFPJeWxAVKBgvBa7woypLSwZ-LmBrIKj59lQ"},
        {MR_SHA512, MR_KEY_BASE64, MR_ENC_BASE64, "a2V5LQAB/g==",
         "9lOD4u0i726RDqwY8HMqUYcDHhtyXc/oHgrh9ebMnEj0wgjljliFPJeWxAVKBgvBa7woypLSwZ+LmBrIKj59lQ=="},
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        struct request r;
        request_hmac(&r, cases[i].secret);
        r.o.digest = cases[i].digest;
        r.o.key = cases[i].key;
        r.o.encoding = cases[i].encoding;
        request_header(&r, "x-sig", cases[i].signature);
        if (verdict(&r) != MR_CAUSE_NONE)
            fail_msg("case %zu: %s", i, r.out.reason);
        r.body = MR_STR("another body");
        assert_int_equal(verdict(&r), MR_CAUSE_SIGNATURE);
        request_end(&r);
    }
}

static void hmac_signs_each_part_of_a_request_that_its_text_names(void **state)
{
    (void)state;
    static const struct {
        const char *template, *text;
    } cases[] = {
        {"{body}", "{\"a\":1}"},
        {"{method} {path}?{query}\n{body}", "PUT /hooks/x?b=2&a=1\n{\"a\":1}"},
        {"{url}{body}", "https://example.com/in?b=2&a=1{\"a\":1}"},
        {"{id}|{header:X-Kind}|{body}", "m-1|blue|{\"a\":1}"},
        {"{{{body}}", "{{\"a\":1}}"},
        {"{{body}{body}{body}", "{body}{\"a\":1}{\"a\":1}"},
        {"only words", "only words"},
        {"{timestamp}{body}", "1700000000{\"a\":1}"},
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        struct request r;
        char mac[65];
        request_hmac(&r, "k");
        r.o.text = text(cases[i].template);
        r.o.id = strstr(cases[i].template, "{id}") ? text("header:X-Id") : NULL;
        r.o.timestamp = strstr(cases[i].template, "{timestamp}") ? text("header:X-Time") : NULL;
        r.head.method = MR_STR("PUT");
        r.head.query = MR_STR("b=2&a=1");
        r.url = MR_STR("https://example.com/in?b=2&a=1");
        r.body = MR_STR("{\"a\":1}");
        mac_hex("k", cases[i].text, mac);
        request_header(&r, "X-Id", "m-1");
        request_header(&r, "x-kind", "blue");
        request_header(&r, "X-Time", "1700000000");
        request_header(&r, "X-Sig", mac);
        if (verdict(&r) != MR_CAUSE_NONE)
            fail_msg("%s: %s", cases[i].template, r.out.reason);
        assert_string_equal(r.out.covers, strstr(cases[i].template, "{body}") && i != 6 ? "body" : "token");
        request_end(&r);
    }
}

static void hmac_reads_lists_and_prefixes(void **state)
{
    (void)state;
    char good[65], bad[65], value[300];
    mac_hex("k", BODY, good);
    mac_hex("other", BODY, bad);
    static const struct {
        const char *prefix, *separator, *assign, *take, *format; /* G: the right one, B: another */
        enum mr_cause want;
    } cases[] = {
        {"sha256=", NULL, NULL, NULL, "sha256=G", MR_CAUSE_NONE},
        {NULL, ",", NULL, NULL, "B,G", MR_CAUSE_NONE},
        {NULL, ",", NULL, NULL, "B, G ,", MR_CAUSE_NONE},
        {"v=", ";", NULL, NULL, "v=B;v=G", MR_CAUSE_NONE},
        {NULL, ",", "=", "v1", "x=,v1=G,v0=zz", MR_CAUSE_NONE},
        {"p_", " ", ":", "s", "s:p_B s:p_G", MR_CAUSE_NONE},
        {NULL, NULL, "=", "v1", "v1=G", MR_CAUSE_NONE}, /* a list of one, as some vendors write it */
        {NULL, NULL, "=", "v1", "v2=G", MR_CAUSE_MISSING},
        {NULL, ",", "=", "v1", "v2=G,v3=G", MR_CAUSE_MISSING},
        {NULL, ",", NULL, NULL, ",, ,", MR_CAUSE_MISSING},
        {NULL, ",", "=", "v1", "G", MR_CAUSE_FORMAT},
        {NULL, ",", NULL, NULL, "B,B", MR_CAUSE_SIGNATURE},
        {NULL, NULL, NULL, NULL, "G,G", MR_CAUSE_FORMAT},
        {NULL, NULL, NULL, NULL, " G", MR_CAUSE_FORMAT},
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        struct request r;
        request_hmac(&r, "k");
        r.o.prefix = text(cases[i].prefix);
        r.o.separator = text(cases[i].separator);
        r.o.assign = text(cases[i].assign);
        r.o.take = text(cases[i].take);
        size_t n = 0;
        for (const char *p = cases[i].format; *p; p++) {
            bool digest = *p == 'G' || *p == 'B';
            n += (size_t)snprintf(value + n, sizeof value - n, "%.*s", digest ? 64 : 1, !digest ? p : *p == 'G' ? good : bad);
        }
        request_header(&r, "X-Sig", value);
        if (verdict(&r) != cases[i].want)
            fail_msg("%s: %s, not %s (%s)", cases[i].format, mr_cause_name(r.out.cause), mr_cause_name(cases[i].want), r.out.reason);
        request_end(&r);
    }
}

static void hmac_reads_times_in_each_unit(void **state)
{
    (void)state;
    static const struct {
        int unit;
        const char *time;
        enum mr_cause want;
    } cases[] = {
        {MR_UNIT_S, "1700000000", MR_CAUSE_NONE},
        {MR_UNIT_S, "01700000000", MR_CAUSE_NONE},
        {MR_UNIT_MS, "1700000000000", MR_CAUSE_NONE},
        {MR_UNIT_MS, "1700000300000", MR_CAUSE_NONE},
        {MR_UNIT_MS, "1700000300001", MR_CAUSE_TIMESTAMP},
        {MR_UNIT_MS, "1700000000", MR_CAUSE_TIMESTAMP}, /* seconds where ms are meant */
        {MR_UNIT_S, "1700000000000", MR_CAUSE_TIMESTAMP},
        {MR_UNIT_RFC3339, "2023-11-14T22:13:20Z", MR_CAUSE_NONE},
        {MR_UNIT_RFC3339, "2023-11-14T23:13:20.123456789+01:00", MR_CAUSE_NONE},
        {MR_UNIT_RFC3339, "2023-11-14T22:18:20Z", MR_CAUSE_NONE},
        {MR_UNIT_RFC3339, "2023-11-14T22:18:20.000001Z", MR_CAUSE_TIMESTAMP},
        {MR_UNIT_RFC3339, "2023-11-14 22:13:20", MR_CAUSE_FORMAT},
        {MR_UNIT_RFC3339, "1700000000", MR_CAUSE_FORMAT},
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        struct request r;
        char mac[65], signed_text[80];
        request_hmac(&r, "k");
        r.o.text = text("{timestamp}.{body}");
        r.o.timestamp = text("header:X-Time");
        r.o.unit = cases[i].unit;
        r.body = MR_STR("b");
        snprintf(signed_text, sizeof signed_text, "%s.b", cases[i].time);
        mac_hex("k", signed_text, mac);
        request_header(&r, "X-Sig", mac);
        request_header(&r, "X-Time", cases[i].time);
        if (verdict(&r) != cases[i].want)
            fail_msg("%s: %s (%s)", cases[i].time, mr_cause_name(r.out.cause), r.out.reason);
        request_end(&r);
    }
}

static const char *secret_for(const struct mr_scheme *s)
{
    return s->kind == MR_KIND_BASIC    ? "user:password"
           : s->key == MR_KEY_HEX      ? "6b65792d0001fe"
           : s->key == MR_KEY_BASE64   ? "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
                                       : "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
}

/* Those whose signature stands in the body, and those of a private key, have their tests elsewhere. */
static bool can_sign(const struct mr_scheme *s)
{
    return !s->signature && s->kind != MR_KIND_RSA && s->kind != MR_KIND_OIDC && s->kind != MR_KIND_ED25519 && s->kind != MR_KIND_ECDSA && !s->jwt_es256;
}

static void what_every_scheme_signs_it_accepts(void **state)
{
    (void)state;
    const int64_t now_us = INT64_C(1700000123456000);
    size_t signed_by = 0;
    for (size_t i = 0; i < mr_schemes_count; i++) {
        const struct mr_scheme *s = &mr_schemes[i];
        struct request r;
        if (!can_sign(s))
            continue;
        request_init(&r, s->name, secret_for(s));
        if (strcmp(s->name, "hmac") == 0 || strcmp(s->name, "token") == 0)
            r.o.header = text("X-Sig");
        bool form = strstr(s->text, "{form}") != NULL;
        r.body = form ? MR_STR("b=2&a=1") : MR_STR("{\"webhookTimestamp\":1700000123456}");
        if (form)
            request_header(&r, "Content-Type", "application/x-www-form-urlencoded");
        r.url = MR_STR("https://example.com/hook?x=%3A1");
        request_sign(&r, now_us);
        assert_true(s->none || r.head.headers_count > 0);
        if (verdict_us(&r, now_us) != MR_CAUSE_NONE)
            fail_msg("%s: %s", s->name, r.out.reason);
        r.body = form ? MR_STR("b=2&a=3") : MR_STR("{\"webhookTimestamp\":1700000123457}");
        bool bound = strcmp(r.out.covers, "body") == 0;
        assert_int_equal(verdict_us(&r, now_us), bound ? MR_CAUSE_SIGNATURE : MR_CAUSE_NONE);
        request_end(&r);
        signed_by++;
    }
    assert_true(signed_by > 55);
}

static void what_hmac_signs_with_all_its_parts_it_accepts(void **state)
{
    (void)state;
    for (int at = 0; at < 3 * 3 * 3 * 3 * 2; at++) {
        static const char *const keys[] = {"a2V5LQAB", "6b65792d0001fe", "a2V5LQAB/g=="};
        struct request r;
        int digest = at % 3, encoding = at / 3 % 3, key = at / 9 % 3, unit = at / 27 % 3;
        bool list = at / 81;
        request_hmac(&r, keys[key]);
        r.o.digest = digest;
        r.o.encoding = encoding;
        r.o.key = key;
        r.o.unit = unit;
        r.o.prefix = text("x-");
        r.o.id = text("header:X-Id");
        r.o.text = text("{id}:{timestamp}:{method}{url}{header:X-Kind}{body}");
        r.o.timestamp = text(list ? "element:t" : "header:X-Time");
        r.url = MR_STR("https://example.com/");
        if (list) {
            r.o.separator = text(";");
            r.o.assign = text("~");
            r.o.take = text("s");
        }
        request_header(&r, "X-Kind", "blue");
        request_sign(&r, INT64_C(1700000123456789));
        if (verdict_us(&r, INT64_C(1700000123456789)) != MR_CAUSE_NONE)
            fail_msg("case %d: %s\n%s", at, r.out.reason, mr_buf_cstr(&r.text));
        request_end(&r);
    }
}

const struct CMUnitTest vectors_tests[] = {
    cmocka_unit_test(github_s_documented_example),
    cmocka_unit_test(slack_s_documented_example),
    cmocka_unit_test(the_example_of_the_standard_webhooks_libraries),
    cmocka_unit_test(stripe_with_an_older_scheme_beside_it),
    cmocka_unit_test(shopify_s_base64),
    cmocka_unit_test(hmac_with_every_digest_encoding_and_key_form),
    cmocka_unit_test(hmac_signs_each_part_of_a_request_that_its_text_names),
    cmocka_unit_test(hmac_reads_lists_and_prefixes),
    cmocka_unit_test(hmac_reads_times_in_each_unit),
    cmocka_unit_test(what_every_scheme_signs_it_accepts),
    cmocka_unit_test(what_hmac_signs_with_all_its_parts_it_accepts),
};
const size_t vectors_tests_count = MR_COUNT(vectors_tests);
