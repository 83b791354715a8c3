/* SPDX-License-Identifier: Apache-2.0 */
/* test_json_suite.c - the scanner against JSONTestSuite: y_ must pass, n_ must be refused, and for i_ (left to the
 * implementation) we have decided: numbers of any size and lone surrogate escapes are JSON, other encodings and byte
 * order marks are not.
 *
 * The package holds the cases as JavaScript strings, in which bytes that are not UTF-8 have become U+FFFD: the i_ and
 * transform cases about such bytes are therefore not counted here; test_json.c has the bytes themselves. */
#include "millrace/json.h"

#include <jansson.h>
#include <stdio.h>

enum { CASES_LEAST = 300 }; /* fewer: the package is not what it was */

static bool starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool lost_bytes(struct mr_str in)
{
    return in.n >= 3 && memmem(in.p, in.n, "\xef\xbf\xbd", 3) != NULL;
}

enum verdict { ACCEPT, REFUSE, NOT_COUNTED };

static enum verdict wanted(const char *name, struct mr_str in)
{
    if (starts(name, "y_"))
        return ACCEPT;
    if (starts(name, "n_"))
        return REFUSE;
    if (lost_bytes(in))
        return NOT_COUNTED;
    if (strstr(name, "BOM"))
        return REFUSE;
    return ACCEPT; /* i_number_*, i_*_surrogate*, 500 nested arrays, and the transform cases, which are all JSON */
}

static bool compact_is_stable(struct mr_str in)
{
    struct mr_buf once, twice;
    mr_buf_init(&once, in.n);
    mr_buf_init(&twice, in.n);
    bool ok = mr_json_compact(in, &once, NULL) == MR_OK && mr_json_compact(mr_buf_str(&once), &twice, NULL) == MR_OK &&
              mr_str_eq(mr_buf_str(&once), mr_buf_str(&twice));
    mr_buf_free(&once);
    mr_buf_free(&twice);
    return ok;
}

int main(int argc, char **argv)
{
    json_error_t why;
    json_t *cases = argc == 2 ? json_load_file(argv[1], JSON_ALLOW_NUL, &why) : NULL;
    if (!cases) {
        fprintf(stderr, "usage: %s CASES.json: %s\n", argv[0], argc == 2 ? why.text : "no file");
        return 2;
    }
    size_t i, counted = 0, wrong = 0;
    json_t *one;
    json_array_foreach(cases, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        json_t *input = json_object_get(one, "input");
        struct mr_str in = {json_string_value(input), json_string_length(input)};
        enum verdict want = wanted(name, in);
        if (want == NOT_COUNTED)
            continue;
        counted++;
        struct mr_err err = {0};
        bool accepted = mr_json_check(in, &err) == MR_OK;
        if (accepted != (want == ACCEPT)) {
            wrong++;
            fprintf(stderr, "%s: %s %s\n", name, accepted ? "accepted" : "refused:", accepted ? "" : err.msg);
        } else if (accepted && !compact_is_stable(in)) {
            wrong++;
            fprintf(stderr, "%s: compact form is not stable\n", name);
        }
    }
    json_decref(cases);
    printf("%zu cases, %zu wrong\n", counted, wrong);
    return wrong > 0 || counted < CASES_LEAST;
}
