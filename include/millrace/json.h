/* SPDX-License-Identifier: Apache-2.0 */
/* json.h - a strict JSON scanner that keeps tokens, and a small writer.
 *
 * The raw zone keeps what the vendor sent: numbers are never re-formatted, key order and duplicate keys stay. So a payload is
 * checked against RFC 8259 (UTF-8 included, lone surrogate escapes allowed as RFC 8259 grammar has them, depth bounded) and copied with only the
 * insignificant white space taken out. Pure: no loop, no allocation but the output buffer. */
#ifndef MILLRACE_JSON_H
#define MILLRACE_JSON_H

#include "millrace/buf.h"

enum { MR_JSON_DEPTH = 512 }; /* deeper documents are not JSON to us: they land as text */

/* Appends `in` to `out` without insignificant white space. `in` must be exactly one JSON value (white space round it is allowed; a byte order mark is not).
 * Fails with MR_EMALFORMED (msg names the byte offset and what was expected) or MR_ETOOBIG; then out is as before the call. */
MR_MUST enum mr_code mr_json_compact(struct mr_str in, struct mr_buf *out, struct mr_err *err);
/* The same check, nothing copied. err may be NULL. */
MR_MUST enum mr_code mr_json_check(struct mr_str in, struct mr_err *err);

enum mr_json_type { MR_JSON_ABSENT, MR_JSON_NULL, MR_JSON_BOOL, MR_JSON_NUMBER, MR_JSON_STRING, MR_JSON_ARRAY, MR_JSON_OBJECT };
struct mr_json_slice {
    enum mr_json_type type;
    struct mr_str raw; /* the token or the whole container, as in the text */
};
/* RFC 6901 pointer into a text that passed mr_json_check(). Of duplicate keys the last counts. ABSENT if nothing is there. */
struct mr_json_slice mr_json_at(struct mr_str json, struct mr_str pointer);
/* Decodes a STRING slice's escapes into out as UTF-8; a lone surrogate becomes U+FFFD. false if the slice is no string. */
bool mr_json_string(struct mr_json_slice s, struct mr_buf *out);
bool mr_json_i64(struct mr_json_slice s, int64_t *out); /* an integer token that fits, else false */

/* Walks an object's members or an array's items in order. Start with iter = {0} .. mr_json_iter(&it, slice). */
struct mr_json_iter {
    const char *p, *end;
    bool object;
};
void mr_json_iter(struct mr_json_iter *it, struct mr_json_slice container);
bool mr_json_next(struct mr_json_iter *it, struct mr_str *key_raw, struct mr_json_slice *value); /* key_raw: with quotes; empty for arrays */

/* Writer: appends "..." with the escapes that RFC 8259 asks for. `s` must be UTF-8 (mr_utf8_ok); bytes that are not become U+FFFD. */
void mr_json_put_string(struct mr_buf *b, struct mr_str s);
bool mr_utf8_ok(struct mr_str s); /* strict: no surrogates, no overlong forms, at most U+10FFFF */

#endif
