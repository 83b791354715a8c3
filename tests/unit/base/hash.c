/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "millrace/hash.h"

static const char *hex(const unsigned char *bytes, size_t n)
{
    static char text[2 * MR_DIGEST_MAX + 1];
    struct mr_buf b;
    mr_buf_init(&b, sizeof text);
    mr_hex_put(&b, bytes, n);
    snprintf(text, sizeof text, "%s", mr_buf_cstr(&b));
    mr_buf_free(&b);
    return text;
}

static const char *hmac(enum mr_digest d, struct mr_str secret, struct mr_str message)
{
    unsigned char out[MR_DIGEST_MAX];
    struct mr_hmac_key *key = mr_hmac_key_new(d, secret);
    mr_hmac(key, &message, 1, out);
    mr_hmac_key_free(key);
    return hex(out, mr_digest_size(d));
}

static struct mr_str repeated(char *room, char c, size_t n)
{
    memset(room, c, n);
    return (struct mr_str){room, n};
}

static void digests_of_abc_are_those_of_fips_180(void **state)
{
    (void)state;
    unsigned char out[MR_DIGEST_MAX];
    mr_digest(MR_SHA1, MR_STR("abc"), out);
    assert_string_equal(hex(out, 20), "a9993e364706816aba3e25717850c26c9cd0d89d");
    mr_digest(MR_SHA256, MR_STR("abc"), out);
    assert_string_equal(hex(out, 32), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    mr_digest(MR_SHA512, MR_STR("abc"), out);
    assert_string_equal(hex(out, 64), "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                                      "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
    mr_digest(MR_SHA256, (struct mr_str){0}, out);
    assert_string_equal(hex(out, 32), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void the_vectors_of_rfc_4231_come_out(void **state)
{
    (void)state;
    char key[131], text[50];
    assert_string_equal(hmac(MR_SHA256, repeated(key, 0x0b, 20), MR_STR("Hi There")),
                        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_string_equal(hmac(MR_SHA512, repeated(key, 0x0b, 20), MR_STR("Hi There")),
                        "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
                        "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854");
    assert_string_equal(hmac(MR_SHA256, MR_STR("Jefe"), MR_STR("what do ya want for nothing?")),
                        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_string_equal(hmac(MR_SHA256, repeated(key, (char)0xaa, 20), repeated(text, (char)0xdd, 50)),
                        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    assert_string_equal(hmac(MR_SHA256, repeated(key, (char)0xaa, 131),
                             MR_STR("Test Using Larger Than Block-Size Key - Hash Key First")),
                        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    assert_string_equal(hmac(MR_SHA512, repeated(key, (char)0xaa, 131),
                             MR_STR("Test Using Larger Than Block-Size Key - Hash Key First")),
                        "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352"
                        "6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598");
}

static void the_vectors_of_rfc_2202_come_out(void **state)
{
    (void)state;
    char key[80];
    assert_string_equal(hmac(MR_SHA1, repeated(key, 0x0b, 20), MR_STR("Hi There")),
                        "b617318655057264e28bc0b6fb378c8ef146be00");
    assert_string_equal(hmac(MR_SHA1, MR_STR("Jefe"), MR_STR("what do ya want for nothing?")),
                        "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    assert_string_equal(
        hmac(MR_SHA1, repeated(key, (char)0xaa, 80), MR_STR("Test Using Larger Than Block-Size Key - Hash Key First")),
        "aa4ae5e15272d00e95705637ce8a3b55ed402112");
}

static void a_key_serves_many_messages_in_any_pieces(void **state)
{
    (void)state;
    char body[300];
    mr_random(body, sizeof body);
    struct mr_hmac_key *key = mr_hmac_key_new(MR_SHA256, MR_STR("secret"));
    unsigned char whole[MR_DIGEST_MAX], pieces[MR_DIGEST_MAX];
    mr_hmac(key, &(struct mr_str){body, sizeof body}, 1, whole);
    for (size_t cut = 0; cut <= sizeof body; cut++) {
        struct mr_str two[] = {{body, cut}, {NULL, 0}, {body + cut, sizeof body - cut}};
        mr_hmac(key, two, 3, pieces);
        assert_memory_equal(pieces, whole, 32);
    }
    mr_hmac_key_free(key);
    mr_hmac_key_free(NULL);
}

static void an_empty_secret_is_a_key_like_any(void **state)
{
    (void)state;
    assert_string_equal(hmac(MR_SHA256, (struct mr_str){0}, (struct mr_str){0}),
                        "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void bytes_that_shift_between_pieces_make_another_hash(void **state)
{
    (void)state;
    unsigned char a[16], b[16], c[16];
    mr_hash128((struct mr_str[]){MR_STR("ab"), MR_STR("c")}, 2, a);
    mr_hash128((struct mr_str[]){MR_STR("a"), MR_STR("bc")}, 2, b);
    mr_hash128((struct mr_str[]){MR_STR("ab"), MR_STR("c"), {0}}, 3, c);
    assert_memory_not_equal(a, b, 16);
    assert_memory_not_equal(a, c, 16);
    mr_hash128((struct mr_str[]){MR_STR("ab"), MR_STR("c")}, 2, b);
    assert_memory_equal(a, b, 16);
}

/* The hash is on disk, in the tables of seen ids: it may never change. */
static void the_hash_of_an_id_is_the_same_for_ever(void **state)
{
    (void)state;
    unsigned char sum[MR_DIGEST_MAX], id[16];
    mr_digest(MR_SHA256, MR_STR("\2\0\0\0\0\0\0\0ab\1\0\0\0\0\0\0\0c"), sum);
    mr_hash128((struct mr_str[]){MR_STR("ab"), MR_STR("c")}, 2, id);
    assert_memory_equal(id, sum, 16);
}

static void equality_looks_at_every_byte(void **state)
{
    (void)state;
    unsigned char a[64], b[64];
    mr_random(a, sizeof a);
    memcpy(b, a, sizeof b);
    assert_true(mr_equal_ct(a, b, sizeof a));
    for (size_t i = 0; i < sizeof a; i++) {
        b[i] ^= 1;
        assert_false(mr_equal_ct(a, b, sizeof a));
        b[i] ^= 1;
    }
}

static void cleansing_leaves_zeros(void **state)
{
    (void)state;
    char secret[16] = "whsec_0123456789";
    static const char zeros[16];
    mr_cleanse(secret, sizeof secret);
    assert_memory_equal(secret, zeros, sizeof secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_of_abc_are_those_of_fips_180),
        cmocka_unit_test(the_vectors_of_rfc_4231_come_out),
        cmocka_unit_test(the_vectors_of_rfc_2202_come_out),
        cmocka_unit_test(a_key_serves_many_messages_in_any_pieces),
        cmocka_unit_test(an_empty_secret_is_a_key_like_any),
        cmocka_unit_test(bytes_that_shift_between_pieces_make_another_hash),
        cmocka_unit_test(the_hash_of_an_id_is_the_same_for_ever),
        cmocka_unit_test(equality_looks_at_every_byte),
        cmocka_unit_test(cleansing_leaves_zeros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
