/* SPDX-License-Identifier: Apache-2.0 */
/* pubkey.c - certificates that sign. Keys, certificates and signatures were made by openssl(1); the certificate of `good` is in
 * force from 2026-11-27 04:51:32 to a year later. */
#include "test.h"

#include "millrace/hash.h"
#include "millrace/pubkey.h"

#define SECONDS INT64_C(1000000)
static const int64_t from_us = 1795755092 * SECONDS, to_us = 1827291092 * SECONDS, between_us = 1800000000 * SECONDS;

static const char good[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIDGTCCAgGgAwIBAgIUAgPwEk4pktxuawRAdymIUU3WcJMwDQYJKoZIhvcNAQEL\n"
    "BQAwHDEaMBgGA1UEAwwRc25zLmFtYXpvbmF3cy5jb20wHhcNMjYxMTI3MDQ1MTMy\n"
    "WhcNMjcxMTI3MDQ1MTMyWjAcMRowGAYDVQQDDBFzbnMuYW1hem9uYXdzLmNvbTCC\n"
    "ASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAJpsTBdl/Al8cCygpXneylDv\n"
    "Be9mKaAaesN9ptnRP0cBiBI3p160RT3ZtRyrPA5PsYhl1hswgZYSB2KtZX8XDWAk\n"
    "N+4EdeuFL2j7XI8rscJToXXXNWlb+r5H1L3/0nuZ/TOvS7WjUwPo+y9eVBQDSCDA\n"
    "m36aZXZjf//QU0CEsWfXaAKfCQwbTcnZjiUHd2Zvt4KjqbECnOcimIFsTxxZiG82\n"
    "dJeoKxaVLX1L4tINdwMstuYecHQ02DTuT9+yDhB37DvnJ5T4+UYptpy8FVbH4JGs\n"
    "IlGBwGdFD37/rqcMDlM6Fzed8iBIvBFzkqqgtg+uXaeN7xPIAouFzqmjsZCjBF8C\n"
    "AwEAAaNTMFEwHQYDVR0OBBYEFFGlAEyCJutCmW8/OuqVdvSU0rekMB8GA1UdIwQY\n"
    "MBaAFFGlAEyCJutCmW8/OuqVdvSU0rekMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZI\n"
    "hvcNAQELBQADggEBABdLMcRS2rO2VgKHphwWPB28OlZKTlGzmJgL7POv/CJIKk7h\n"
    "Xuz76ZhpbuAx7mzJepk5Z4d7V0d72IOMIgvkBXSYqPBoE16E09bi8TmNBb390SQe\n"
    "teSfN9kI1ihmzYEXjAkkjUVLB66ezqOhRsw42s+5HOyW22A2L853T1E5b1Q7rHfY\n"
    "XmWCQqgAxrx3qQ0/Msbgr2Ac8XTxYBaoQoorPHfUAJheqjCzkpqlp02jiAU5xtLW\n"
    "OYwfskUjOLpdUy6JevWMOUD6sfZyG+EbAbIQau4bJOa4NmDi8W9DQzaizL95yzBC\n"
    "rm6atB7DcxguxUcS3qwx5RcrCkOw3rpTUFLK0Q4=\n"
    "-----END CERTIFICATE-----\n";
static const char short_key[] = /* 1024 bits */
    "-----BEGIN CERTIFICATE-----\n"
    "MIIB/DCCAWWgAwIBAgIUPvk4cG2UEZPiHJzhp1LyY6NF6w0wDQYJKoZIhvcNAQEL\n"
    "BQAwEDEOMAwGA1UEAwwFc2hvcnQwHhcNMjYxMTI3MDQ1MTMyWhcNMjcxMTI3MDQ1\n"
    "MTMyWjAQMQ4wDAYDVQQDDAVzaG9ydDCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkC\n"
    "gYEAzMwEbSTqc387JA+MKnIicNbz4uZ5dozXMY436KEwVA4lESO36OpALtvL2gFx\n"
    "6xMLcaJrNIuKv/S6Nbqu66DPZYPqCNtc8gET0BO0OVesOy7LlK2ujz5/BPHvA0VP\n"
    "nMdG72bcm2VKXxpoaTCajLP3FaNGJ5LZin0LqpemsWvda0ECAwEAAaNTMFEwHQYD\n"
    "VR0OBBYEFGNkNF36VejmXzksduA11xWS6KEaMB8GA1UdIwQYMBaAFGNkNF36Vejm\n"
    "XzksduA11xWS6KEaMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADgYEA\n"
    "J3GOlg2/iJryFB9Mbo3daHDOzWRjz9tz8SBddafBp/6Jg+hYXeJq4xV/XpHkCKAJ\n"
    "Xd9zd6fFxb+kLbmhrIjzdTqhyeoliOp/xdkqKgOZFHvbwcCR5B7Kmwa3x4FJFmh3\n"
    "1CA8bEi6L0F7P1mJci4rA/mUx+CLAPx42jdxpWDYCo0=\n"
    "-----END CERTIFICATE-----\n";
static const char curve[] = /* P-256 */
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBdTCCARugAwIBAgIUIZ9CuQ7kz9VloONMh9T5IJoLKQkwCgYIKoZIzj0EAwIw\n"
    "EDEOMAwGA1UEAwwFY3VydmUwHhcNMjYxMTI3MDQ1MTMyWhcNMjcxMTI3MDQ1MTMy\n"
    "WjAQMQ4wDAYDVQQDDAVjdXJ2ZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCvM\n"
    "4+9SayVefPln4XMlcXmtWEHhJO4JgJQkSwAB2OpQiCIonVLk7ZtYzlj/235Vc69u\n"
    "fWpLrP7iGWYzrZPKKHejUzBRMB0GA1UdDgQWBBRJEntWVnAQ1XrVFsdWc/tiSsYY\n"
    "iTAfBgNVHSMEGDAWgBRJEntWVnAQ1XrVFsdWc/tiSsYYiTAPBgNVHRMBAf8EBTAD\n"
    "AQH/MAoGCCqGSM49BAMCA0gAMEUCIQCiFA2lqBKqGoOqu7LxzrDxNkLQHt3DN7OI\n"
    "iAhfD0MO+gIgSfZxxLl4QU3261E6qtF5uNssKwErWXC3kUIpR1ROZPU=\n"
    "-----END CERTIFICATE-----\n";
/* Of "Message\nhello\n". */
static const char by_sha1[] =
    "T0XsGoCTsuIDfbz0Yd0DirMPjiq3Vb7eiiBkbmd5p7x/VW+yZtSxVwjw+sZ3hC+ZUk3upMR09pAQ"
    "uTSnLqtfsOtt2MDhx0Iy1zPFZZP/ofs0kiGMtX4YCaXnKj+PUV2OQsne2xOpdGcZRWS1Ej47jyjT"
    "hHZvnUyhAFve/4UU9s37X0MQ6znsbld3VeYVuUuO1Qdl8HRin9HBdgl7fHCOZBYzM8Z3xkzXBFy5"
    "+LGEL5btKrFCx/0Kk9qi1q7GJWxGLZaS4dRbXedcYDGXLPjRxzeqtgQ0XZOoAPXbnkQTHOYiIbVl"
    "uwcsyEARgvYxG+4jBx1SR0Q9ssAu/JVnX5phjQ==";
static const char by_sha256[] =
    "CSOy1JQOMQYt019sdGmfPBiw4a8tVJDZd74/xhUddptMZRhSJ1nmqyQ5WplS4GRyyPLdcu4YABkS"
    "vQedhPErnCQtYIy3hSrsF6oEnxSdDapVRUIgEc+2+muT+xNRSSDtoX9dd/Wr1PxEjZPMwKzO0Wk5"
    "ZccznV3iNCSn9j6VtK+XOhV4i24GB0n5/dx3XfdZXBUN5oUzKZpDSzjEeVdYXEBFddbusBt9R1PJ"
    "f6HYeLeKXw2JiK3rgkAk+62NPfHMG/JyJ2quBIU1orxTdfxS9lv/QYvqyxmyCn8VcOdLHvHwfXKQ"
    "hcplgt6qKQTYvu9urW8KYdCsphhl6FJ0Ok7gDA==";
static const char by_short_key[] =
    "BiT4Kb90l5T6tETxKpNi4+ArQ08iAe6BBuQAIZ8ixP67E9nJTgn8OyXR8mE+Gwbb2oV/Xv1u58U3"
    "ILm+4mH9iCZeNrntka/0CKb0DTrycIPQ3hDwEEhK1HH6p24dPT8xr6Y0F3uQdOVMWXytzbSH5vNj"
    "VPSaMkexpQBCg4fvXis=";

static bool holds(const char *pem, enum mr_rsa_digest digest, const char *message, const char *base64, int64_t now_us, const char **why)
{
    unsigned char signature[512];
    size_t n;
    assert_true(mr_base64_get(mr_str_c(base64), false, signature, sizeof signature, &n));
    return mr_cert_verify(mr_str_c(pem), digest, mr_str_c(message), (struct mr_str){(char *)signature, n}, now_us, why);
}

static void openssls_signatures_hold(void **state)
{
    (void)state;
    const char *why;
    assert_true(holds(good, MR_RSA_SHA1, "Message\nhello\n", by_sha1, between_us, &why));
    assert_null(why);
    assert_true(holds(good, MR_RSA_SHA256, "Message\nhello\n", by_sha256, between_us, &why));
    assert_true(holds(good, MR_RSA_SHA256, "Message\nhello\n", by_sha256, from_us + SECONDS, &why));
    assert_true(holds(good, MR_RSA_SHA256, "Message\nhello\n", by_sha256, to_us - SECONDS, &why));
}

static void what_is_not_signed_so_does_not_hold(void **state)
{
    (void)state;
    const char *why;
    assert_false(holds(good, MR_RSA_SHA256, "Message\nhellO\n", by_sha256, between_us, &why));
    assert_string_equal(why, "the signature does not match");
    assert_false(holds(good, MR_RSA_SHA256, "", by_sha256, between_us, &why));
    assert_false(holds(good, MR_RSA_SHA1, "Message\nhello\n", by_sha256, between_us, &why));
    assert_false(holds(good, MR_RSA_SHA256, "Message\nhello\n", by_sha1, between_us, &why));
    assert_false(holds(good, MR_RSA_SHA256, "Message\nhello\n", "", between_us, &why));
    assert_false(holds(good, MR_RSA_SHA256, "Message\nhello\n", "AAAA", between_us, &why));
    assert_false(holds(good, MR_RSA_SHA256, "Message\nhello\n", by_sha256, from_us - SECONDS, &why));
    assert_string_equal(why, "the certificate is not in force at that time");
    assert_false(holds(good, MR_RSA_SHA256, "Message\nhello\n", by_sha256, to_us + SECONDS, &why));
    assert_false(holds(short_key, MR_RSA_SHA256, "Message\nhello\n", by_short_key, between_us, &why));
    assert_string_equal(why, "the certificate's key is not RSA of 2048 bits at least");
}

static void only_certificates_with_an_rsa_key_are_certificates(void **state)
{
    (void)state;
    const char *why;
    assert_true(mr_cert_check(MR_STR(good), &why));
    assert_null(why);
    assert_false(mr_cert_check(MR_STR(short_key), &why));
    assert_false(mr_cert_check(MR_STR(curve), &why));
    assert_string_equal(why, "the certificate's key is not RSA of 2048 bits at least");
    assert_false(mr_cert_check(MR_STR(""), &why));
    assert_false(mr_cert_check((struct mr_str){0}, &why));
    assert_false(mr_cert_check(MR_STR("<html>sorry</html>"), &why));
    assert_string_equal(why, "the certificate cannot be read");
    assert_false(mr_cert_check((struct mr_str){good, sizeof good / 2}, &why));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openssls_signatures_hold),
        cmocka_unit_test(what_is_not_signed_so_does_not_hold),
        cmocka_unit_test(only_certificates_with_an_rsa_key_are_certificates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
