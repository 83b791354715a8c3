/* SPDX-License-Identifier: Apache-2.0 */
/* vendor_url.c - what may be called because a request says so. The regions are those of botocore 1.44's partitions.json. */
#include "unit/webhook/tests.h"

#include "sources/webhook/vendor_url.h"

#include <stdio.h>

static void every_region_of_sns_is_known(void **state)
{
    (void)state;
    static const char *const hosts[] = {
        "af-south-1.amazonaws.com",     "ap-northeast-3.amazonaws.com", "ap-southeast-7.amazonaws.com", "ca-central-1.amazonaws.com",
        "eu-central-2.amazonaws.com",   "il-central-1.amazonaws.com",   "me-south-1.amazonaws.com",     "mx-central-1.amazonaws.com",
        "sa-east-1.amazonaws.com",      "us-east-1.amazonaws.com",      "us-west-2.amazonaws.com",      "us-gov-east-1.amazonaws.com",
        "us-gov-west-1.amazonaws.com",  "cn-north-1.amazonaws.com.cn",  "cn-northwest-1.amazonaws.com.cn",
        "eusc-de-east-1.amazonaws.eu",
    };
    char url[200];
    for (size_t i = 0; i < MR_COUNT(hosts); i++) {
        snprintf(url, sizeof url, "https://sns.%s/SimpleNotificationService-a86cb10b4e1f29c941702d737128f7b6.pem", hosts[i]);
        if (!is_sns_cert_url(mr_str_c(url)))
            fail_msg("%s", url);
        snprintf(url, sizeof url, "https://sns.%s/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:x:1:t&Token=2336412f37", hosts[i]);
        if (!is_sns_confirm_url(mr_str_c(url)))
            fail_msg("%s", url);
    }
}

static void nothing_else_is_a_certificate_of_sns(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "",
        "https://",
        "https://sns.",
        "https://sns.us-east-1",
        "https://sns.us-east-1.amazonaws.com",
        "https://sns.us-east-1.amazonaws.com/",
        "https://sns.us-east-1.amazonaws.com/.pem",
        "https://sns.us-east-1.amazonaws.com/a",
        "https://sns.us-east-1.amazonaws.com/a.pem ",
        "https://sns.us-east-1.amazonaws.com/a.pemx",
        "https://sns.us-east-1.amazonaws.com/a.der",
        "https://sns.us-east-1.amazonaws.com//a.pem",
        "https://sns.us-east-1.amazonaws.com/./a.pem",
        "https://sns.us-east-1.amazonaws.com/../a.pem",
        "https://sns.us-east-1.amazonaws.com/b/a.pem",
        "https://sns.us-east-1.amazonaws.com/a%2e.pem",
        "https://sns.us-east-1.amazonaws.com/a.pem?x",
        "https://sns.us-east-1.amazonaws.com/a?x.pem",
        "https://sns.us-east-1.amazonaws.com/a#x.pem",
        "https://sns.us-east-1.amazonaws.com/a.pem#x",
        "https://sns.us-east-1.amazonaws.com:443/a.pem",
        "https://sns.us-east-1.amazonaws.com@evil.example/a.pem",
        "https://user@sns.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com.evil.example/a.pem",
        "https://sns.us-east-1.amazonaws.co/a.pem",
        "https://sns.us-east-1.amazonaws.cn/a.pem",
        "https://sns-us-east-1.amazonaws.com/a.pem",
        "https://s3.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.s3.amazonaws.com/a.pem",
        "https://sns.east.amazonaws.com/a.pem",
        "https://sns.us-1.amazonaws.com/a.pem",
        "https://sns.us--1.amazonaws.com/a.pem",
        "https://sns.us-east-.amazonaws.com/a.pem",
        "https://sns.us-east-123.amazonaws.com/a.pem",
        "https://sns.us-east-1-1.amazonaws.com/a.pem",
        "https://sns.us-a-b-c-1.amazonaws.com/a.pem",
        "https://sns.US-EAST-1.amazonaws.com/a.pem",
        "https://sns..amazonaws.com/a.pem",
        "http://sns.us-east-1.amazonaws.com/a.pem",
        "HTTPS://sns.us-east-1.amazonaws.com/a.pem",
        " https://sns.us-east-1.amazonaws.com/a.pem",
        "file:///etc/passwd",
    };
    for (size_t i = 0; i < MR_COUNT(urls); i++)
        if (is_sns_cert_url(mr_str_c(urls[i])))
            fail_msg("%s", urls[i]);
    assert_false(is_sns_cert_url(MR_STR("https://sns.us-east-1.amazonaws.com/a\0b.pem")));
    char url[300] = "https://sns.us-east-1.amazonaws.com/";
    memset(url + strlen(url), 'a', 129);
    strcat(url, ".pem");
    assert_false(is_sns_cert_url(mr_str_c(url)));
}

static void a_confirmation_is_one_call_of_sns_and_no_other(void **state)
{
    (void)state;
    assert_true(is_sns_confirm_url(MR_STR("https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t")));
    assert_false(is_sns_confirm_url(MR_STR("https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscriptionX&Token=t")));
    assert_false(is_sns_confirm_url(MR_STR("https://sns.eu-west-1.amazonaws.com/?Action=Publish&Token=t")));
    assert_false(is_sns_confirm_url(MR_STR("https://sns.eu-west-1.amazonaws.com/x?Action=ConfirmSubscription&Token=t")));
    assert_false(is_sns_confirm_url(MR_STR("https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t#")));
    assert_false(is_sns_confirm_url(MR_STR("https://sqs.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t")));
}

static void paypals_certificates_lie_in_one_place(void **state)
{
    (void)state;
    assert_true(is_paypal_cert_url(MR_STR("https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-1d93a270")));
    assert_true(is_paypal_cert_url(MR_STR("https://api.sandbox.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-1d93a270")));
    static const char *const urls[] = {
        "https://api.paypal.com/v1/notifications/certs/CERT-",
        "https://api.paypal.com/v1/notifications/certs/CERT-a?b",
        "https://api.paypal.com/v1/notifications/certs/CERT-a#b",
        "https://api.paypal.com/v1/notifications/certs/CERT-a/b",
        "https://api.paypal.com/v1/notifications/certs/CERT-a%20",
        "https://api.paypal.com/v1/notifications/certs/../CERT-a",
        "https://api.paypal.com/v1/notifications/CERT-a",
        "https://api.paypal.com:443/v1/notifications/certs/CERT-a",
        "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-a",
        "https://evil.example/https://api.paypal.com/v1/notifications/certs/CERT-a",
        "https://www.paypal.com/v1/notifications/certs/CERT-a",
        "http://api.paypal.com/v1/notifications/certs/CERT-a",
        "",
    };
    for (size_t i = 0; i < MR_COUNT(urls); i++)
        if (is_paypal_cert_url(mr_str_c(urls[i])))
            fail_msg("%s", urls[i]);
}

const struct CMUnitTest vendor_url_tests[] = {
    cmocka_unit_test(every_region_of_sns_is_known),
    cmocka_unit_test(nothing_else_is_a_certificate_of_sns),
    cmocka_unit_test(a_confirmation_is_one_call_of_sns_and_no_other),
    cmocka_unit_test(paypals_certificates_lie_in_one_place),
};
const size_t vendor_url_tests_count = MR_COUNT(vendor_url_tests);
