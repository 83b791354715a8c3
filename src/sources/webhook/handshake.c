/* SPDX-License-Identifier: Apache-2.0 */
/* handshake.c - who shakes hands, and how: rows keyed by the scheme's name. */
#include "handshake.h"

#include "millrace/json.h"

enum { HANDSHAKE_MAX = 4096 }; /* a challenge is short; larger bodies are events and are not parsed here */

static bool slack(struct mr_str body, struct mr_buf *out)
{
    static const char type[] = "url_verification";
    if (!memmem(body.p, body.n, type, sizeof type - 1) || mr_json_check(body, NULL) != MR_OK)
        return false;
    struct mr_json_slice kind = mr_json_at(body, MR_STR("/type"));
    return kind.type == MR_JSON_STRING && mr_str_eq(kind.raw, MR_STR("\"url_verification\"")) &&
           mr_json_string(mr_json_at(body, MR_STR("/challenge")), out);
}

static const struct row {
    const char *scheme;
    bool (*challenge)(struct mr_str body, struct mr_buf *out);
} rows[] = {
    {"slack", slack},
};

bool mr_handshake(const char *scheme, struct mr_str body, struct mr_buf *out)
{
    for (size_t i = 0; i < MR_COUNT(rows); i++)
        if (strcmp(rows[i].scheme, scheme) == 0)
            return body.n <= HANDSHAKE_MAX && rows[i].challenge(body, out);
    return false;
}
