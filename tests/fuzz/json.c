/* SPDX-License-Identifier: Apache-2.0 */
/* json.c - the JSON scanner against jansson, which shares no code with it.
 *
 * Properties: both accept or both refuse; check and compact agree; compact(compact(x)) == compact(x) <= x; what jansson
 * reads from the compact text equals what it reads from the input; every string and number that the iterator meets
 * decodes as jansson says. jansson refuses three things that the grammar allows, and its own words say which it was:
 * lone surrogate escapes, numbers beyond a double or a 64-bit integer, and U+0000 in a name. It accepts two that are
 * not: what is deeper than MR_JSON_DEPTH (its own limit is 2048), and NULs that follow a number or a word. */
#include "millrace/json.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { FLAGS = JSON_DECODE_ANY | JSON_ALLOW_NUL };

static void fail(const char *what, struct mr_str in)
{
    fprintf(stderr, "%s: \"%.*s\"\n", what, (int)(in.n < 200 ? in.n : 200), in.p);
    abort();
}

/* Deepest nesting, by brackets outside strings; exact for any text that jansson or we accept. */
static size_t depth_of(struct mr_str in)
{
    size_t depth = 0, deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > deepest)
                deepest = depth;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return deepest;
}

/* jansson says no to text that is in the grammar: is it for a reason that we know? */
static bool excused(const json_error_t *why)
{
    switch (json_error_code(why)) {
    case json_error_numeric_overflow: /* "too big integer", "real number overflow" */
    case json_error_null_byte_in_key:
        return true;
    case json_error_invalid_syntax:
    case json_error_invalid_utf8:
        return strstr(why->text, "invalid Unicode") != NULL; /* lone surrogate escape: "invalid Unicode '\uD800'" */
    default:
        return false;
    }
}

/* jansson loses a NUL that follows a number or a word (its stream takes an unread NUL for an empty buffer) and reads
 * on. */
static bool loses_nul(struct mr_str in)
{
    char *rest = malloc(in.n + 1);
    size_t n = 0;
    if (!rest)
        abort();
    for (size_t i = 0; i < in.n; i++)
        if (in.p[i] != '\0')
            rest[n++] = in.p[i];
    bool is = n < in.n && mr_json_check((struct mr_str){rest, n}, NULL) == MR_OK;
    free(rest);
    return is;
}

static void same_value(struct mr_json_slice s, const json_t *v, struct mr_str in);

static void same_string(struct mr_json_slice s, const json_t *v, struct mr_str in)
{
    struct mr_buf text;
    mr_buf_init(&text, in.n + 4);
    if (!json_is_string(v) || !mr_json_string(s, &text) || text.failed ||
        !mr_str_eq(mr_buf_str(&text), (struct mr_str){json_string_value(v), json_string_length(v)}))
        fail("a string decodes differently", in);
    mr_buf_free(&text);
}

static void same_array(struct mr_json_slice s, const json_t *v, struct mr_str in)
{
    struct mr_json_iter it;
    struct mr_json_slice one;
    size_t count = 0;
    mr_json_iter(&it, s);
    while (mr_json_next(&it, NULL, &one))
        same_value(one, json_array_get(v, count++), in);
    if (!json_is_array(v) || count != json_array_size(v))
        fail("an array's length differs", in);
}

/* Only the last of equal names counts for jansson. Without duplicates every member is compared. */
static void same_object(struct mr_json_slice s, const json_t *v, struct mr_str in)
{
    struct mr_json_iter it;
    struct mr_json_slice one;
    struct mr_str key;
    size_t count = 0;
    mr_json_iter(&it, s);
    while (mr_json_next(&it, &key, &one))
        count++;
    if (!json_is_object(v) || count < json_object_size(v))
        fail("an object's size differs", in);
    if (count > json_object_size(v))
        return;
    mr_json_iter(&it, s);
    struct mr_buf name;
    mr_buf_init(&name, in.n + 4);
    while (mr_json_next(&it, &key, &one)) {
        mr_buf_clear(&name);
        if (!mr_json_string((struct mr_json_slice){MR_JSON_STRING, key}, &name))
            fail("a name is no string", in);
        json_t *member = json_object_getn(v, name.n ? name.p : "", name.n);
        if (!member)
            fail("a name decodes differently", in);
        same_value(one, member, in);
    }
    mr_buf_free(&name);
}

static void same_value(struct mr_json_slice s, const json_t *v, struct mr_str in)
{
    int64_t i;
    switch (s.type) {
    case MR_JSON_STRING:
        same_string(s, v, in);
        break;
    case MR_JSON_ARRAY:
        same_array(s, v, in);
        break;
    case MR_JSON_OBJECT:
        same_object(s, v, in);
        break;
    case MR_JSON_NUMBER:
        if (!json_is_number(v) || mr_json_i64(s, &i) != json_is_integer(v) ||
            (json_is_integer(v) && i != json_integer_value(v)))
            fail("a number differs", in);
        break;
    case MR_JSON_BOOL:
        if (!json_is_boolean(v) || json_is_true(v) != (s.raw.p[0] == 't'))
            fail("a boolean differs", in);
        break;
    case MR_JSON_NULL:
        if (!json_is_null(v))
            fail("null differs", in);
        break;
    case MR_JSON_ABSENT:
        fail("a value is absent", in);
    }
}

static void compact_refuses(struct mr_str in)
{
    struct mr_buf out;
    mr_buf_init(&out, in.n);
    if (mr_json_compact(in, &out, NULL) == MR_OK || out.n > 0 || out.failed)
        fail("check refuses, compact does not, or not cleanly", in);
    mr_buf_free(&out);
}

static void compact_holds(struct mr_str in, const json_t *v)
{
    struct mr_buf once, twice;
    mr_buf_init(&once, in.n);
    mr_buf_init(&twice, in.n);
    if (mr_json_compact(in, &once, NULL) != MR_OK || once.n > in.n)
        fail("check accepts, compact does not", in);
    if (mr_json_compact(mr_buf_str(&once), &twice, NULL) != MR_OK || !mr_str_eq(mr_buf_str(&once), mr_buf_str(&twice)))
        fail("compact is not stable", in);
    if (v) {
        json_t *again = json_loadb(once.p, once.n, FLAGS, NULL);
        if (!again || !json_equal(v, again))
            fail("compact has changed the value", in);
        json_decref(again);
    }
    mr_buf_free(&once);
    mr_buf_free(&twice);
}

/* On text that was not checked the readers must stay within it; what they answer does not matter. */
static void readers_stay_inside(struct mr_str in)
{
    struct mr_json_iter it;
    struct mr_json_slice one = mr_json_at(in, MR_STR("/a/0"));
    struct mr_buf text;
    mr_buf_init(&text, 3 * in.n + 4);
    mr_json_string(one, &text);
    mr_json_iter(&it, mr_json_at(in, MR_STR("")));
    while (mr_json_next(&it, NULL, &one))
        mr_json_string(one, &text);
    mr_buf_free(&text);
}

/* Any bytes can be written as a string, which reads back. */
static void written_reads_back(struct mr_str in)
{
    struct mr_buf out;
    mr_buf_init(&out, 6 * in.n + 2);
    mr_json_put_string(&out, in);
    json_t *v = out.failed ? NULL : json_loadb(out.p, out.n, FLAGS, NULL);
    if (!v || mr_json_check(mr_buf_str(&out), NULL) != MR_OK)
        fail("a written string is not JSON", in);
    if (mr_utf8_ok(in) && !mr_str_eq(in, (struct mr_str){json_string_value(v), json_string_length(v)}))
        fail("a written string reads back differently", in);
    json_decref(v);
    mr_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct mr_str in = {(const char *)bytes, n};
    json_error_t why;
    json_t *v = json_loadb(in.p, in.n, FLAGS, &why);
    bool ok = mr_json_check(in, NULL) == MR_OK;
    if (v && !ok && depth_of(in) <= MR_JSON_DEPTH && !loses_nul(in))
        fail("jansson accepts, we refuse", in);
    if (!v && ok && !excused(&why)) {
        fprintf(stderr, "jansson: %s\n", why.text);
        fail("we accept, jansson refuses", in);
    }
    if (ok)
        compact_holds(in, v);
    else
        compact_refuses(in);
    if (ok && v)
        same_value(mr_json_at(in, MR_STR("")), v, in);
    readers_stay_inside(in);
    written_reads_back(in);
    json_decref(v);
    return 0;
}
