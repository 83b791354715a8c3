/* SPDX-License-Identifier: Apache-2.0 */
/* The file itself, so that the table is tested on a machine that has the instruction too. */
#include "base/crc32c.c"

#include "test.h"

static uint32_t by_table(const void *bytes, size_t n)
{
    return ~crc_by_table(~0u, bytes, n);
}

static void the_vectors_of_rfc_3720_come_out(void **state)
{
    (void)state;
    unsigned char bytes[32];
    static const uint32_t expected[] = {0x8a9136aa, 0x62a8ab43, 0x46dd794e, 0x113fdb5c};
    for (int i = 0; i < 4; i++) {
        for (int at = 0; at < 32; at++)
            bytes[at] = (unsigned char)(i == 0 ? 0 : i == 1 ? 0xff : i == 2 ? at : 31 - at);
        assert_int_equal(mr_crc32c(0, bytes, 32), expected[i]);
        assert_int_equal(by_table(bytes, 32), expected[i]);
    }
    static const unsigned char read_command[48] = {
        0x01,        0xc0,     [16] = 0x14, [21] = 0,    [22] = 0x04, [26] = 0,
        [27] = 0x14, [28] = 0, [31] = 0x18, [32] = 0x28, [40] = 0x02};
    assert_int_equal(mr_crc32c(0, read_command, 48), 0xd9963a56);
    assert_int_equal(mr_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(mr_crc32c(0, NULL, 0), 0);
}

static void the_instruction_and_the_table_agree_at_any_length_and_alignment(void **state)
{
    (void)state;
    unsigned char bytes[300];
    mr_random(bytes, sizeof bytes);
    for (size_t from = 0; from < 9; from++)
        for (size_t n = 0; n + from <= sizeof bytes; n++)
            assert_int_equal(mr_crc32c(0, bytes + from, n), by_table(bytes + from, n));
}

static void a_checksum_may_be_taken_in_pieces(void **state)
{
    (void)state;
    unsigned char bytes[100];
    mr_random(bytes, sizeof bytes);
    uint32_t whole = mr_crc32c(0, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut++)
        assert_int_equal(mr_crc32c(mr_crc32c(0, bytes, cut), bytes + cut, sizeof bytes - cut), whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_rfc_3720_come_out),
        cmocka_unit_test(the_instruction_and_the_table_agree_at_any_length_and_alignment),
        cmocka_unit_test(a_checksum_may_be_taken_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
