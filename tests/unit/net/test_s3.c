/* SPDX-License-Identifier: Apache-2.0 */
/* test_s3.c - where buckets are, what answers mean, and what cannot be read. Answers are those of AWS's documentation and of versitygw and MinIO. */
#include "unit/net/net_tests.h"

#include "net/s3_place.h"
#include "net/s3_verdict.h"

struct where {
    const char *url, *endpoint, *region;
    enum s3_style style;
    const char *host, *path; /* of the key "a b"; host NULL: refused */
};

static void a_bucket_is_asked_where_it_can_be(void **state)
{
    (void)state;
    static const struct where cases[] = {
        {"s3://raw", "", "", S3_STYLE_AUTO, "raw.s3.us-east-1.amazonaws.com", "/a b"},
        {"s3://raw/", "", "eu-west-3", S3_STYLE_AUTO, "raw.s3.eu-west-3.amazonaws.com", "/a b"},
        {"s3://raw/x/y", "", "cn-north-1", S3_STYLE_AUTO, "raw.s3.cn-north-1.amazonaws.com.cn", "/x/y/a b"},
        {"s3://raw/x/", "", "eu-west-3", S3_STYLE_PATH, "s3.eu-west-3.amazonaws.com", "/raw/x/a b"},
        {"s3://raw.zone", "", "eu-west-3", S3_STYLE_AUTO, "s3.eu-west-3.amazonaws.com", "/raw.zone/a b"},
        {"s3://Raw_Zone", "", "us-east-1", S3_STYLE_AUTO, "s3.us-east-1.amazonaws.com", "/Raw_Zone/a b"},
        {"s3://raw", "http://127.0.0.1:9000", "", S3_STYLE_AUTO, "127.0.0.1:9000", "/raw/a b"},
        {"s3://raw", "http://127.0.0.1:9000/", "", S3_STYLE_PATH, "127.0.0.1:9000", "/raw/a b"},
        {"s3://raw/p", "https://storage.example", "", S3_STYLE_HOST, "raw.storage.example", "/p/a b"},
        {"s3://raw", "http://[::1]:9000", "", S3_STYLE_AUTO, "[::1]:9000", "/raw/a b"},
        {"s3://", "", "", S3_STYLE_AUTO, NULL, NULL},
        {"s3:///x", "", "", S3_STYLE_AUTO, NULL, NULL},
        {"s3://ab", "", "", S3_STYLE_AUTO, NULL, NULL},
        {"s3://a b", "", "", S3_STYLE_AUTO, NULL, NULL},
        {"s3://raw?x", "", "", S3_STYLE_AUTO, NULL, NULL},
        {"s3://.raw", "", "", S3_STYLE_AUTO, NULL, NULL},
        {"http://raw", "", "", S3_STYLE_AUTO, NULL, NULL},
        {"", "", "", S3_STYLE_AUTO, NULL, NULL},
        {"s3://raw", "127.0.0.1:9000", "", S3_STYLE_AUTO, NULL, NULL},
        {"s3://raw", "http://", "", S3_STYLE_AUTO, NULL, NULL},
        {"s3://raw", "http://h/path", "", S3_STYLE_AUTO, NULL, NULL},
        {"s3://raw", "http://user@h", "", S3_STYLE_AUTO, NULL, NULL},
        {"s3://raw", "ftp://h", "", S3_STYLE_AUTO, NULL, NULL},
        {"s3://raw", "", "eu/west", S3_STYLE_AUTO, NULL, NULL},
        {"s3://raw", "", "EU", S3_STYLE_AUTO, NULL, NULL},
        {"s3://raw.zone", "", "", S3_STYLE_HOST, NULL, NULL},
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        const struct where *c = &cases[i];
        struct s3_place place;
        struct mr_err err;
        struct mr_buf path;
        enum mr_code code = s3_place_read(mr_str_c(c->url), mr_str_c(c->endpoint), mr_str_c(c->region), c->style, &place, &err);
        if ((code == MR_OK) != (c->host != NULL))
            fail_msg("%s, %s", c->url, c->endpoint);
        if (code != MR_OK)
            continue;
        assert_string_equal(place.host, c->host);
        mr_buf_init(&path, 4096);
        s3_place_path(&place, MR_STR("a b"), &path);
        assert_string_equal(mr_buf_cstr(&path), c->path);
        mr_buf_free(&path);
    }
}

static void a_bucket_may_move_within_aws_only(void **state)
{
    (void)state;
    struct s3_place place;
    struct mr_err err;
    assert_int_equal(s3_place_read(MR_STR("s3://raw/p"), MR_STR(""), MR_STR(""), S3_STYLE_AUTO, &place, &err), MR_OK);
    assert_false(s3_place_move(&place, MR_STR("")));
    assert_false(s3_place_move(&place, MR_STR("x.evil.example/")));
    assert_string_equal(place.host, "raw.s3.us-east-1.amazonaws.com");
    assert_true(s3_place_move(&place, MR_STR("ap-south-1")));
    assert_string_equal(place.host, "raw.s3.ap-south-1.amazonaws.com");
    assert_string_equal(place.region, "ap-south-1");
    assert_int_equal(s3_place_read(MR_STR("s3://raw"), MR_STR("http://127.0.0.1:1"), MR_STR(""), S3_STYLE_AUTO, &place, &err), MR_OK);
    assert_true(s3_place_move(&place, MR_STR("eu-west-1")));
    assert_string_equal(place.host, "127.0.0.1:1");
    assert_string_equal(place.region, "eu-west-1");
    assert_false(s3_place_move(&place, MR_STR("eu-west-1")));
}

#define ERROR(code) "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>" code "</Code><Message>m</Message><RequestId>r</RequestId></Error>"

struct meaning {
    enum mr_client_cause cause;
    int status;
    const char *body, *region;
    enum s3_verdict verdict;
};

static void an_answer_means_one_thing(void **state)
{
    (void)state;
    static const struct meaning cases[] = {
        {MR_CLIENT_OK, 200, "", "", S3_DONE},
        {MR_CLIENT_OK, 204, "", "", S3_DONE},
        {MR_CLIENT_OK, 206, "bytes", "", S3_DONE},
        {MR_CLIENT_OK, 200, "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>", "", S3_DONE},
        {MR_CLIENT_OK, 200, ERROR("InternalError"), "", S3_AGAIN}, /* a completion that went wrong behind its status */
        {MR_CLIENT_OK, 200, ERROR("SlowDown"), "", S3_SLOWER},
        {MR_CLIENT_OK, 200, ERROR("Unheard"), "", S3_AGAIN},
        {MR_CLIENT_OK, 500, ERROR("InternalError"), "", S3_AGAIN},
        {MR_CLIENT_OK, 500, "", "", S3_AGAIN},
        {MR_CLIENT_OK, 502, "<html>proxy</html>", "", S3_AGAIN},
        {MR_CLIENT_OK, 503, ERROR("SlowDown"), "", S3_SLOWER},
        {MR_CLIENT_OK, 503, "", "", S3_SLOWER},
        {MR_CLIENT_OK, 429, "", "", S3_SLOWER},
        {MR_CLIENT_OK, 403, ERROR("RequestTimeTooSkewed"), "", S3_CLOCK},
        {MR_CLIENT_OK, 400, ERROR("ExpiredToken"), "", S3_CREDENTIALS},
        {MR_CLIENT_OK, 403, ERROR("InvalidAccessKeyId"), "", S3_DENIED},
        {MR_CLIENT_OK, 403, ERROR("SignatureDoesNotMatch"), "", S3_DENIED},
        {MR_CLIENT_OK, 403, "", "", S3_DENIED},
        {MR_CLIENT_OK, 404, ERROR("NoSuchKey"), "", S3_NOT_FOUND},
        {MR_CLIENT_OK, 404, "", "", S3_AGAIN}, /* of something in between; to HEAD it is S3_NOT_FOUND */
        {MR_CLIENT_OK, 404, "404 page not found", "", S3_AGAIN},
        {MR_CLIENT_OK, 404, ERROR("NoSuchLifecycleConfiguration"), "", S3_NOT_FOUND},
        {MR_CLIENT_OK, 404, ERROR("NoSuchUpload"), "", S3_NO_UPLOAD},
        {MR_CLIENT_OK, 404, ERROR("NoSuchBucket"), "", S3_FAILED},
        {MR_CLIENT_OK, 412, ERROR("PreconditionFailed"), "", S3_EXISTS},
        {MR_CLIENT_OK, 412, "", "", S3_EXISTS},
        {MR_CLIENT_OK, 409, ERROR("ConditionalRequestConflict"), "", S3_AGAIN},
        {MR_CLIENT_OK, 409, ERROR("OperationAborted"), "", S3_AGAIN},
        {MR_CLIENT_OK, 400, ERROR("RequestTimeout"), "", S3_AGAIN},
        {MR_CLIENT_OK, 400, ERROR("InvalidPart"), "", S3_FAILED},
        {MR_CLIENT_OK, 400, ERROR("EntityTooSmall"), "", S3_FAILED},
        {MR_CLIENT_OK, 301, ERROR("PermanentRedirect"), "eu-west-1", S3_ELSEWHERE},
        {MR_CLIENT_OK, 301, "", "eu-west-1", S3_ELSEWHERE}, /* to HEAD */
        {MR_CLIENT_OK, 301, ERROR("PermanentRedirect"), "", S3_FAILED},
        {MR_CLIENT_OK, 400, "", "eu-west-1", S3_ELSEWHERE},
        {MR_CLIENT_OK, 400,
         "<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong; expecting 'eu-west-1'</Message><Region>eu-west-1</Region></Error>", "",
         S3_ELSEWHERE},
        {MR_CLIENT_OK, 400, ERROR("AuthorizationHeaderMalformed"), "", S3_FAILED},
        {MR_CLIENT_OK, 418, "", "", S3_FAILED},
        {MR_CLIENT_RESOLVE, 0, "", "", S3_AGAIN},
        {MR_CLIENT_CONNECT, 0, "", "", S3_AGAIN},
        {MR_CLIENT_TLS, 0, "", "", S3_AGAIN},
        {MR_CLIENT_TIMEOUT, 200, "", "", S3_AGAIN},
        {MR_CLIENT_BROKEN, 200, "", "", S3_AGAIN},
        {MR_CLIENT_TOO_BIG, 200, "", "", S3_FAILED},
        {MR_CLIENT_REFUSED, 0, "", "", S3_FAILED},
    };
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        const struct meaning *c = &cases[i];
        struct s3_error error;
        enum s3_verdict got = s3_judge(&(struct s3_answer){c->cause, c->status, mr_str_c(c->body), false, mr_str_c(c->region)}, &error);
        if (got != c->verdict)
            fail_msg("case %zu: %s", i, s3_verdict_name(got));
    }
    struct s3_error told;
    assert_int_equal(s3_judge(&(struct s3_answer){.cause = MR_CLIENT_OK, .status = 404, .head = true}, &told), S3_NOT_FOUND);
}

static void what_is_no_answer_of_s3_is_told(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "no xml",
        "<ListBucketResult>",
        "<ListBucketResult><Contents></ListBucketResult>",
        "<Other/>",
        "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY x \"y\">]><ListBucketResult><IsTruncated>&x;</IsTruncated></ListBucketResult>",
        "<!DOCTYPE ListBucketResult SYSTEM \"file:///etc/passwd\"><ListBucketResult/>",
        "<ListBucketResult><a><b><c><d><e><f><g><h><i><j><k><l/></k></j></i></h></g></f></e></d></c></b></a></ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", /* and no word where it goes on */
        "<ListBucketResult/>trailing",
        "<ListBucketResult>\xff</ListBucketResult>",
    };
    struct s3_page page;
    struct mr_err err;
    char id[S3_UPLOAD_ID_MAX], etag[S3_ETAG_MAX];
    for (size_t i = 0; i < MR_COUNT(bad); i++) {
        if (s3_read_list(mr_str_c(bad[i]), NULL, NULL, &page, &err) == MR_OK)
            fail_msg("%s", bad[i]);
        assert_int_not_equal(s3_read_upload(mr_str_c(bad[i]), id, &err), MR_OK);
        assert_int_not_equal(s3_read_completed(mr_str_c(bad[i]), etag, &err), MR_OK);
    }
    assert_int_equal(s3_read_upload(MR_STR("<Error><Code>AccessDenied</Code><Message>no</Message></Error>"), id, &err), MR_ENET);
    assert_string_equal(err.msg, "AccessDenied: no");
    assert_int_equal(s3_read_list(MR_STR("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"), NULL, NULL, &page, &err), MR_OK);
    assert_int_equal(s3_read_list(MR_STR("<ListBucketResult/>"), NULL, NULL, &page, &err), MR_OK);
}

int run_s3_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_is_asked_where_it_can_be),
        cmocka_unit_test(a_bucket_may_move_within_aws_only),
        cmocka_unit_test(an_answer_means_one_thing),
        cmocka_unit_test(what_is_no_answer_of_s3_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
