/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "millrace/hash.h"

static void hex_is_written_low_and_read_in_either_case(void **state)
{
    (void)state;
    struct mr_buf b;
    mr_buf_init(&b, 64);
    mr_hex_put(&b, "\x00\xab\xff", 3);
    assert_string_equal(mr_buf_cstr(&b), "00abff");
    unsigned char out[3];
    assert_true(mr_hex_get(MR_STR("00ABff"), out, 3));
    assert_memory_equal(out, "\x00\xab\xff", 3);
    mr_buf_free(&b);
}

static void hex_of_another_length_or_with_other_bytes_is_refused(void **state)
{
    (void)state;
    unsigned char out[4];
    assert_false(mr_hex_get(MR_STR("00ab"), out, 3));
    assert_false(mr_hex_get(MR_STR("00abf"), out, 2));
    assert_false(mr_hex_get(MR_STR("0g"), out, 1));
    assert_false(mr_hex_get(MR_STR("0 "), out, 1));
    assert_false(mr_hex_get(MR_STR(""), out, 1));
    assert_true(mr_hex_get(MR_STR(""), out, 0));
}

static void the_vectors_of_rfc_4648_come_out_both_ways(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < MR_COUNT(cases); i++) {
        struct mr_buf b;
        mr_buf_init(&b, 64);
        mr_base64_put(&b, mr_str_c(cases[i][0]));
        assert_string_equal(mr_buf_cstr(&b), cases[i][1]);
        unsigned char out[8];
        size_t n;
        assert_true(mr_base64_get(mr_str_c(cases[i][1]), false, out, sizeof out, &n));
        assert_int_equal(n, strlen(cases[i][0]));
        assert_memory_equal(out, cases[i][0], n);
        mr_buf_free(&b);
    }
}

static void base64_that_the_encoder_would_not_write_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"Zg",    "Zg=",   "Zg===",  "Z",     "Z===",     "=",    "====", "Zh==", "Zm9=",
                                        "Zm9v ", " Zm9v", "Zm\n9v", "Zm9v=", "Zg==Zg==", "Zm8_", "Zm8-", "Z=g="};
    unsigned char out[16];
    size_t n;
    for (size_t i = 0; i < MR_COUNT(cases); i++)
        if (mr_base64_get(mr_str_c(cases[i]), false, out, sizeof out, &n))
            fail_msg("\"%s\" was taken", cases[i]);
}

static void the_url_alphabet_may_leave_its_padding_out(void **state)
{
    (void)state;
    unsigned char out[16];
    size_t n;
    assert_true(mr_base64_get(MR_STR("-_8"), true, out, sizeof out, &n));
    assert_int_equal(n, 2);
    assert_memory_equal(out, "\xfb\xff", 2);
    assert_true(mr_base64_get(MR_STR("-_8="), true, out, sizeof out, &n));
    assert_false(mr_base64_get(MR_STR("-_8=="), true, out, sizeof out, &n));
    assert_false(mr_base64_get(MR_STR("+/8"), true, out, sizeof out, &n));
    assert_false(mr_base64_get(MR_STR("A"), true, out, sizeof out, &n));
}

static void decoding_never_writes_more_than_its_room(void **state)
{
    (void)state;
    unsigned char out[3] = {1, 2, 3};
    size_t n;
    assert_false(mr_base64_get(MR_STR("Zm9v"), false, out, 2, &n));
    assert_memory_equal(out, "\1\2\3", 3);
    assert_true(mr_base64_get(MR_STR("Zm8="), false, out, 2, &n));
    assert_int_equal(out[2], 3);
}

static void any_bytes_survive_a_round_trip(void **state)
{
    (void)state;
    for (size_t n = 0; n < 200; n++) {
        char bytes[200];
        unsigned char out[200];
        size_t got;
        struct mr_buf b;
        mr_random(bytes, n);
        mr_buf_init(&b, 400);
        mr_base64_put(&b, (struct mr_str){bytes, n});
        assert_true(mr_base64_get(mr_buf_str(&b), false, out, n, &got));
        assert_int_equal(got, n);
        assert_memory_equal(out, bytes, n);
        mr_buf_free(&b);
    }
}

static void an_encoding_that_does_not_fit_fails_the_buffer(void **state)
{
    (void)state;
    struct mr_buf b;
    mr_buf_init(&b, 5);
    mr_hex_put(&b, "abc", 3);
    assert_true(b.failed);
    mr_buf_clear(&b);
    mr_base64_put(&b, MR_STR("abcd"));
    assert_true(b.failed);
    mr_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex_is_written_low_and_read_in_either_case),
        cmocka_unit_test(hex_of_another_length_or_with_other_bytes_is_refused),
        cmocka_unit_test(the_vectors_of_rfc_4648_come_out_both_ways),
        cmocka_unit_test(base64_that_the_encoder_would_not_write_is_refused),
        cmocka_unit_test(the_url_alphabet_may_leave_its_padding_out),
        cmocka_unit_test(decoding_never_writes_more_than_its_room),
        cmocka_unit_test(any_bytes_survive_a_round_trip),
        cmocka_unit_test(an_encoding_that_does_not_fit_fails_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
