/* SPDX-License-Identifier: Apache-2.0 */
/* refusals.c - every way in which a request is refused, with its cause and a reason that helps and leaks nothing; which of
 * several secrets it was; and the guesses at what went wrong. */
#include "unit/webhook/tests.h"

#define GITHUB_SECRET "It's a Secret to Everybody"
#define GITHUB_DIGEST "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

static void refused(struct request *r, enum mr_cause cause, const char *reason_part)
{
    if (verdict(r) != cause)
        fail_msg("%s, not %s: %s", mr_cause_name(r->out.cause), mr_cause_name(cause), r->out.reason);
    if (!strstr(r->out.reason, reason_part))
        fail_msg("\"%s\" does not say \"%s\"", r->out.reason, reason_part);
}

static void github_value(const char *value, enum mr_cause cause, const char *reason_part)
{
    struct request r;
    request_init(&r, "github", GITHUB_SECRET);
    r.body = MR_STR("Hello, World!");
    request_header(&r, "X-Hub-Signature-256", value);
    refused(&r, cause, reason_part);
    assert_null(strstr(r.out.reason, "757107")); /* no oracle */
    assert_null(strstr(r.out.reason, "Secret"));
    request_end(&r);
}

static void a_signature_that_is_not_there(void **state)
{
    (void)state;
    struct request r;
    request_init(&r, "github", GITHUB_SECRET);
    request_header(&r, "X-Hub-Signature", "sha1=00");
    refused(&r, MR_CAUSE_MISSING, "header X-Hub-Signature-256 is missing");
    request_end(&r);
}

static void a_signature_that_is_there_twice(void **state)
{
    (void)state;
    struct request r;
    request_init(&r, "github", GITHUB_SECRET);
    r.body = MR_STR("Hello, World!");
    request_header(&r, "X-Hub-Signature-256", "sha256=" GITHUB_DIGEST);
    assert_int_equal(verdict(&r), MR_CAUSE_NONE);
    request_header(&r, "x-hub-signature-256", "sha256=" GITHUB_DIGEST);
    refused(&r, MR_CAUSE_FORMAT, "is there 2 times");
    request_end(&r);
}

static void a_signature_that_is_not_in_its_form(void **state)
{
    (void)state;
    github_value("", MR_CAUSE_FORMAT, "does not begin with \"sha256=\"");
    github_value(GITHUB_DIGEST, MR_CAUSE_FORMAT, "does not begin with \"sha256=\"");
    github_value("SHA256=" GITHUB_DIGEST, MR_CAUSE_FORMAT, "does not begin with \"sha256=\"");
    github_value("sha1=" GITHUB_DIGEST, MR_CAUSE_FORMAT, "does not begin with \"sha256=\"");
    github_value("sha256=", MR_CAUSE_FORMAT, "no hex digest of 32 bytes");
    github_value("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e1", MR_CAUSE_FORMAT, "32 bytes");
    github_value("sha256=" GITHUB_DIGEST "00", MR_CAUSE_FORMAT, "32 bytes");
    github_value("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e", MR_CAUSE_FORMAT, "32 bytes");
    github_value("sha256=g57107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", MR_CAUSE_FORMAT, "no hex digest");
    github_value("sha256= 57107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", MR_CAUSE_FORMAT, "no hex digest");
    github_value("sha256=\xc3\xa4" GITHUB_DIGEST, MR_CAUSE_FORMAT, "no hex digest");
    github_value("sha256=657107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", MR_CAUSE_SIGNATURE, "none of 1 secrets");
}

static void base64_that_is_not_strict(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "D0UMXmhjwBRi4y66TmhJrDlhQABD7zI2fm3p6/QLMo8",   "D0UMXmhjwBRi4y66TmhJrDlhQABD7zI2fm3p6/QLMo8==",
        "D0UMXmhjwBRi4y66TmhJrDlhQABD7zI2fm3p6/QLMo9=",  "D0UMXmhjwBRi4y66TmhJrDlhQABD7zI2fm3p6_QLMo8=",
        "D0UMXmhjwBRi4y66TmhJrDlhQABD7zI2fm3p6/QLMo8=\n", "D0UM XmhjwBRi4y66TmhJrDlhQABD7zI2fm3p6/QLMo8=",
        "D0UMXmhjwBRi4y66TmhJrDlhQABD7zI2fm3p6/QLMo8=D0UM", "D0UMXmhjwBRi4y66TmhJrDlhQABD7zI2fm3p6/QLMo==", ""};
    for (size_t i = 0; i < MR_COUNT(wrong); i++) {
        struct request r;
        request_init(&r, "shopify", "hush");
        r.body = MR_STR("{\"id\":820982911946154508,\"email\":\"jon@example.com\"}");
        request_header(&r, "X-Shopify-Hmac-Sha256", wrong[i]);
        refused(&r, MR_CAUSE_FORMAT, "no base64 digest of 32 bytes");
        request_end(&r);
    }
}

static void the_seventeenth_signature(void **state)
{
    (void)state;
    char mac[65], value[2000] = "t=1700000000";
    struct request r;
    for (int count = 15; count <= 16; count++) { /* of wrong ones before the right one */
        request_init(&r, "stripe", "k");
        mac_hex("k", "1700000000.{}", mac);
        strcpy(value, "t=1700000000");
        for (int i = 0; i < count; i++)
            snprintf(value + strlen(value), sizeof value - strlen(value), ",v1=%064d", i);
        snprintf(value + strlen(value), sizeof value - strlen(value), ",v1=%s", mac);
        request_header(&r, "Stripe-Signature", value);
        if (count == 15)
            assert_int_equal(verdict(&r), MR_CAUSE_NONE);
        else
            refused(&r, MR_CAUSE_FORMAT, "more than 16 signatures");
        request_end(&r);
    }
}

static void stripe_at(const char *time, enum mr_cause cause, const char *reason_part)
{
    char mac[65], value[200], signed_text[100];
    struct request r;
    request_init(&r, "stripe", "k");
    snprintf(signed_text, sizeof signed_text, "%s.{}", time);
    mac_hex("k", signed_text, mac);
    snprintf(value, sizeof value, "t=%s,v1=%s", time, mac);
    request_header(&r, "Stripe-Signature", value);
    if (cause == MR_CAUSE_NONE)
        assert_int_equal(verdict(&r), MR_CAUSE_NONE);
    else
        refused(&r, cause, reason_part);
    request_end(&r);
}

static void a_timestamp_that_is_no_plain_decimal_number(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",       "+1700000000", "-1700000000", "1_700_000_000", "1700000000.0",        "1.7e9",
                                        "0x6553F100", "1700000000s", "17000 00000", "17000000000000000", "99999999999999999999999999",
                                        "9223372036854775807", "\xd9\xa1\xd9\xa7", "nan"};
    for (size_t i = 0; i < MR_COUNT(wrong); i++)
        stripe_at(wrong[i], MR_CAUSE_FORMAT, "not a plain decimal number");
    stripe_at("9999999999999999", MR_CAUSE_FORMAT, "not a plain decimal number"); /* would wrap in microseconds */
    stripe_at("9000000000000", MR_CAUSE_TIMESTAMP, "in the future");
}

static void a_blank_in_front_of_a_header_s_timestamp(void **state)
{
    (void)state;
    char mac[65], value[80];
    struct request r;
    request_init(&r, "slack", "k");
    mac_hex("k", "v0: 1700000000:{}", mac);
    snprintf(value, sizeof value, "v0=%s", mac);
    request_header(&r, "X-Slack-Signature", value);
    request_header(&r, "X-Slack-Request-Timestamp", " 1700000000");
    refused(&r, MR_CAUSE_FORMAT, "not a plain decimal number");
    request_end(&r);
}

static void the_tolerance_is_exact_on_both_sides(void **state)
{
    (void)state;
    char mac[65], value[200];
    struct request r;
    request_init(&r, "stripe", "k");
    r.o.tolerance_ms = 60000;
    mac_hex("k", "1700000000.{}", mac);
    snprintf(value, sizeof value, "t=1700000000,v1=%s", mac);
    request_header(&r, "Stripe-Signature", value);
    int64_t signed_us = (int64_t)T0 * 1000000;
    assert_int_equal(verdict_us(&r, signed_us + 60000000), MR_CAUSE_NONE);
    assert_int_equal(verdict_us(&r, signed_us - 60000000), MR_CAUSE_NONE);
    assert_int_equal(verdict_us(&r, signed_us + 60000001), MR_CAUSE_TIMESTAMP);
    assert_string_equal(r.out.reason, "signed 60 s ago; the tolerance is 60 s");
    assert_int_equal(verdict_us(&r, signed_us - 60000001), MR_CAUSE_TIMESTAMP);
    assert_string_equal(r.out.reason, "signed 60 s in the future; the tolerance is 60 s");
    request_end(&r);
    stripe_at("1699999700", MR_CAUSE_NONE, "");
    stripe_at("1699999699", MR_CAUSE_TIMESTAMP, "signed 301 s ago; the tolerance is 300 s");
    stripe_at("1700000300", MR_CAUSE_NONE, "");
    stripe_at("1700000301", MR_CAUSE_TIMESTAMP, "signed 301 s in the future");
}

static void a_time_says_nothing_before_the_signature_holds(void **state)
{
    (void)state;
    struct request r;
    request_init(&r, "stripe", "k");
    request_header(&r, "Stripe-Signature", "t=1,v1=0000000000000000000000000000000000000000000000000000000000000000");
    refused(&r, MR_CAUSE_SIGNATURE, "none of 1 secrets");
    request_end(&r);
}

static void a_timestamp_that_is_missing_or_there_twice(void **state)
{
    (void)state;
    char mac[65], value[300];
    struct request r;
    mac_hex("k", "1700000000.{}", mac);
    request_init(&r, "stripe", "k");
    snprintf(value, sizeof value, "v1=%s", mac);
    request_header(&r, "Stripe-Signature", value);
    refused(&r, MR_CAUSE_MISSING, "holds no timestamp");
    snprintf(value, sizeof value, "t=1700000000,t=1700000000,v1=%s", mac);
    r.headers[0].value = mr_str_c(value);
    refused(&r, MR_CAUSE_FORMAT, "two timestamps");
    snprintf(value, sizeof value, "t=1700000000");
    r.headers[0].value = mr_str_c(value);
    refused(&r, MR_CAUSE_MISSING, "no signature under v1");
    request_end(&r);
    request_init(&r, "slack", "k");
    request_header(&r, "X-Slack-Signature", "v0=0000000000000000000000000000000000000000000000000000000000000000");
    refused(&r, MR_CAUSE_MISSING, "X-Slack-Request-Timestamp is missing");
    request_header(&r, "X-Slack-Request-Timestamp", "1700000000");
    request_header(&r, "X-Slack-Request-Timestamp", "1700000000");
    refused(&r, MR_CAUSE_FORMAT, "is there 2 times");
    request_end(&r);
}

static void an_id_that_could_move_the_border(void **state)
{
    (void)state;
    struct request r;
    request_init(&r, "standard", "a2V5LXRleHQ=");
    request_header(&r, "webhook-signature", "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    request_header(&r, "webhook-timestamp", "1700000000");
    refused(&r, MR_CAUSE_MISSING, "webhook-id is missing");
    request_header(&r, "webhook-id", "msg.1700000000");
    refused(&r, MR_CAUSE_FORMAT, "webhook-id holds \".\"");
    r.headers[2].value = MR_STR("");
    refused(&r, MR_CAUSE_FORMAT, "webhook-id is empty");
    request_end(&r);

    char mac[65]; /* the same with another border, and a full stop that does no harm there */
    request_hmac(&r, "k");
    r.o.id = text("header:X-Id");
    r.o.timestamp = text("header:X-Time");
    r.o.text = text("{id}:{timestamp}:{body}");
    r.body = MR_STR("b");
    mac_hex("k", "a.b:1700000000:b", mac);
    request_header(&r, "X-Sig", mac);
    request_header(&r, "X-Time", "1700000000");
    request_header(&r, "X-Id", "a.b");
    assert_int_equal(verdict(&r), MR_CAUSE_NONE);
    mac_hex("k", "a:1:1700000000:b", mac); /* signed as id "a", time 1, body "1700000000:b" */
    r.headers[2].value = MR_STR("a:1");
    refused(&r, MR_CAUSE_FORMAT, "X-Id holds \":\"");
    request_end(&r);
}

static void a_signed_header_that_is_missing_or_there_twice(void **state)
{
    (void)state;
    char mac[65];
    struct request r;
    request_hmac(&r, "k");
    r.o.text = text("{header:X-Kind}{body}");
    mac_hex("k", "blue" BODY, mac);
    request_header(&r, "X-Sig", mac);
    refused(&r, MR_CAUSE_MISSING, "header X-Kind is missing");
    request_header(&r, "X-Kind", "blue");
    assert_int_equal(verdict(&r), MR_CAUSE_NONE);
    request_header(&r, "X-Kind", "red");
    refused(&r, MR_CAUSE_FORMAT, "header X-Kind is there 2 times");
    request_end(&r);
}

static void each_of_several_secrets_is_tried_and_the_verdict_says_which(void **state)
{
    (void)state;
    static const char *const secrets[] = {"new", "old", "older", "oldest"};
    for (unsigned i = 0; i < MR_COUNT(secrets); i++) {
        char mac[65];
        struct request r;
        request_hmac(&r, secrets[0]);
        for (size_t k = 1; k < MR_COUNT(secrets); k++)
            request_secret(&r, secrets[k]);
        mac_hex(secrets[i], BODY, mac);
        request_header(&r, "X-Sig", mac);
        assert_int_equal(verdict(&r), MR_CAUSE_NONE);
        assert_int_equal(r.out.secret, i);
        mac_hex("another", BODY, mac);
        refused(&r, MR_CAUSE_SIGNATURE, "matches none of 4 secrets");
        request_end(&r);
    }
}

static void signing_uses_the_first_secret(void **state)
{
    (void)state;
    struct request r;
    request_init(&r, "stripe", "new");
    request_secret(&r, "old");
    request_sign(&r, (int64_t)T0 * 1000000);
    assert_int_equal(verdict(&r), MR_CAUSE_NONE);
    assert_int_equal(r.out.secret, 0);
    request_end(&r);
}

static void signing_without_a_header_that_is_signed_says_so(void **state)
{
    (void)state;
    struct request r;
    request_hmac(&r, "k");
    r.o.text = text("{header:X-Kind}{body}");
    assert_int_equal(config(&r), MR_OK);
    struct mr_signed_request req = request_signed(&r);
    assert_int_equal(mr_sign(r.v, &req, 0, &r.text, &r.changed, &r.err), MR_ECONFIG);
    assert_string_equal(r.err.msg, "cannot sign for scheme hmac: header X-Kind is missing");
    request_end(&r);
}

static void guess(struct request *r, const char *want)
{
    struct mr_buf out;
    struct mr_signed_request req = request_signed(r);
    mr_buf_init(&out, 4096);
    assert_int_equal(verdict(r), MR_CAUSE_SIGNATURE);
    mr_verify_guess(r->v, &req, &out);
    assert_string_equal(mr_buf_cstr(&out), want);
    mr_buf_free(&out);
}

static void a_body_that_was_changed_on_its_way_is_guessed(void **state)
{
    (void)state;
    char mac[65];
    struct request r;
    request_hmac(&r, "k");
    mac_hex("k", "{\"a\":[1,2]}", mac);
    request_header(&r, "X-Sig", mac); /* by reference: each mac_hex() below changes it */
    r.body = MR_STR("{\n  \"a\": [1, 2]\n}");
    guess(&r, "the secret is right, but the body was re-encoded on its way: white space was added");
    mac_hex("k", "plain text", mac);
    r.body = MR_STR("plain text\r\n");
    guess(&r, "the secret is right, but white space was added at the end of the body");
    mac_hex("k", "plain text\n", mac);
    r.body = MR_STR("plain text");
    guess(&r, "the secret is right, but the line end at the end of the body is missing");
    mac_hex("other", "plain text", mac);
    guess(&r, "");
    r.body = (struct mr_str){NULL, 0};
    guess(&r, "");
    request_end(&r);
}

static void none_accepts_anything_and_says_that_nothing_is_covered(void **state)
{
    (void)state;
    struct request r;
    request_init(&r, "none", NULL);
    assert_int_equal(verdict(&r), MR_CAUSE_NONE);
    assert_string_equal(r.out.covers, "none");
    request_end(&r);
}

const struct CMUnitTest refusals_tests[] = {
    cmocka_unit_test(a_signature_that_is_not_there),
    cmocka_unit_test(a_signature_that_is_there_twice),
    cmocka_unit_test(a_signature_that_is_not_in_its_form),
    cmocka_unit_test(base64_that_is_not_strict),
    cmocka_unit_test(the_seventeenth_signature),
    cmocka_unit_test(a_timestamp_that_is_no_plain_decimal_number),
    cmocka_unit_test(a_blank_in_front_of_a_header_s_timestamp),
    cmocka_unit_test(the_tolerance_is_exact_on_both_sides),
    cmocka_unit_test(a_time_says_nothing_before_the_signature_holds),
    cmocka_unit_test(a_timestamp_that_is_missing_or_there_twice),
    cmocka_unit_test(an_id_that_could_move_the_border),
    cmocka_unit_test(a_signed_header_that_is_missing_or_there_twice),
    cmocka_unit_test(each_of_several_secrets_is_tried_and_the_verdict_says_which),
    cmocka_unit_test(signing_uses_the_first_secret),
    cmocka_unit_test(signing_without_a_header_that_is_signed_says_so),
    cmocka_unit_test(a_body_that_was_changed_on_its_way_is_guessed),
    cmocka_unit_test(none_accepts_anything_and_says_that_nothing_is_covered),
};
const size_t refusals_tests_count = MR_COUNT(refusals_tests);
