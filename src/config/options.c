/* SPDX-License-Identifier: Apache-2.0 */
/* options.c - the rows at work: read a value by its type, check it, put it into its field.
 *
 * Values and defaults take the same way (set_text), so a default is checked like anything else. A field is written once: by the file's value if
 * that is good, else by the default. A value that came by reference, and any value of a secret, is never in a message. */
#include "config/options.h"

#include "config/errors.h"
#include "config/memory.h"
#include "config/units.h"
#include "millrace/clock.h"
#include "millrace/near.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>

enum { WHY_MAX = 2048 };

/* -- paths and messages ------------------------------------------------------------------------------------------------- */

size_t mr_fill_enter(struct mr_fill *fill, struct mr_str key)
{
    size_t before = strlen(fill->path);
    snprintf(fill->path + before, sizeof fill->path - before, "%s%.*s", before > 0 && !(key.n > 0 && key.p[0] == '[') ? "." : "", (int)key.n,
             key.p);
    return before;
}

void mr_fill_leave(struct mr_fill *fill, size_t before)
{
    fill->path[before] = '\0';
}

void mr_fill_error(struct mr_fill *fill, struct mr_where where, const char *fmt, ...)
{
    char text[WHY_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    mr_config_error(fill->errors, where, "%s%s%s", fill->path, fill->path[0] ? ": " : "", text);
}

static void put_words(struct mr_buf *out, const char *const *words)
{
    for (size_t i = 0; words[i]; i++)
        mr_buf_printf(out, "%s%s", i > 0 ? ", " : "", words[i]);
}

void mr_option_expected(const struct mr_option *row, struct mr_buf *out)
{
    switch (row->type) {
    case MR_T_STRING:   mr_buf_puts(out, "text"); break;
    case MR_T_PATH:     mr_buf_puts(out, "a path"); break;
    case MR_T_LISTEN:   mr_buf_puts(out, "an address such as 127.0.0.1:8080 or [::1]:8080"); break;
    case MR_T_BOOL:     mr_buf_puts(out, "true or false"); break;
    case MR_T_INT:      mr_buf_puts(out, "a whole number"); break;
    case MR_T_REAL:     mr_buf_puts(out, "a number such as 0.5"); break;
    case MR_T_SIZE:     mr_buf_puts(out, "a size such as 64MiB"); break;
    case MR_T_DURATION: mr_buf_puts(out, "a duration such as 30s"); break;
    case MR_T_TIME:     mr_buf_puts(out, "a time such as 2026-01-31T12:00:00Z"); break;
    case MR_T_ENUM:
        mr_buf_puts(out, "one of ");
        put_words(out, row->choices);
        break;
    case MR_T_SECRET:   mr_buf_puts(out, "\"${env:NAME}\" or \"${file:PATH}\""); break;
    case MR_T_STRINGS:  mr_buf_puts(out, "a text or a list of texts"); break;
    case MR_T_SECRETS:  mr_buf_puts(out, "one or a list of \"${env:NAME}\" or \"${file:PATH}\""); break;
    case MR_T_MAP:      mr_buf_puts(out, row->flags & MR_OPT_SCALAR ? "a text or a map" : "a map"); break;
    case MR_T_LIST:     mr_buf_puts(out, "a list of maps"); break;
    case MR_T_PAIRS:    mr_buf_puts(out, "a map of names to plain values"); break;
    case MR_T_NAMED:    mr_buf_puts(out, "a map of names to maps"); break;
    }
}

static void put_found(const struct mr_node *node, struct mr_buf *out)
{
    static const char *const kinds[] = {"a plain value", "a map", "a list", "nothing of use"};
    mr_buf_puts(out, mr_node_is_null(node) ? "nothing" : kinds[node->kind]);
}

static void mismatch_with(struct mr_fill *fill, const char *expected, const struct mr_node *node)
{
    if (node->kind == MR_NODE_BAD)
        return;
    struct mr_buf found;
    mr_buf_init(&found, WHY_MAX);
    put_found(node, &found);
    mr_fill_error(fill, node->at, "expected %s, found %s", expected, mr_buf_cstr(&found));
    mr_buf_free(&found);
}

static void mismatch(struct mr_fill *fill, const struct mr_option *row, const struct mr_node *node)
{
    struct mr_buf expected;
    mr_buf_init(&expected, WHY_MAX);
    mr_option_expected(row, &expected);
    mismatch_with(fill, mr_buf_cstr(&expected), node);
    mr_buf_free(&expected);
}

/* -- one plain value ------------------------------------------------------------------------------------------------------ */

static void *field(const struct mr_option *row, void *owner)
{
    return (char *)owner + row->offset;
}

void *mr_option_sub(const struct mr_option *row, void *owner)
{
    return (char *)owner + (row->flags & MR_OPT_PRESENT ? row->offset2 : row->offset);
}

static bool parse_bool(struct mr_str text, bool *out, struct mr_buf *why)
{
    *out = mr_str_eq(text, MR_STR("true"));
    if (*out || mr_str_eq(text, MR_STR("false")))
        return true;
    mr_buf_puts(why, "expected true or false, found ");
    mr_config_quote(why, text);
    return false;
}

static bool parse_enum(const struct mr_option *row, struct mr_str text, int *out, struct mr_buf *why)
{
    struct mr_near near = {.word = text};
    for (int i = 0; row->choices[i]; i++) {
        if (mr_str_eq(text, mr_str_c(row->choices[i]))) {
            *out = i;
            return true;
        }
        mr_near_offer(&near, row->choices[i]);
    }
    mr_buf_puts(why, "expected ");
    mr_option_expected(row, why);
    mr_buf_puts(why, "; found ");
    mr_config_quote(why, text);
    if (near.best)
        mr_buf_printf(why, ", did you mean \"%s\"?", near.best);
    return false;
}

static bool listen_ok(struct mr_str text)
{
    const char *colon = NULL;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == ':')
            colon = text.p + i;
    }
    if (!colon || colon == text.p)
        return false;
    struct mr_str host = {text.p, (size_t)(colon - text.p)};
    for (size_t i = 0; i < host.n; i++) {
        if (host.p[i] <= ' ' || strchr("/\\\"'@?#{}", host.p[i]))
            return false;
    }
    if (host.p[0] == '[' ? host.n < 4 || host.p[host.n - 1] != ']' : memchr(host.p, ':', host.n) != NULL)
        return false;
    int64_t port = 0;
    size_t digits = text.n - host.n - 1;
    for (size_t i = 0; i < digits && i < 6; i++) {
        if (colon[1 + i] < '0' || colon[1 + i] > '9')
            return false;
        port = port * 10 + (colon[1 + i] - '0');
    }
    return digits > 0 && digits < 6 && port <= 65535;
}

char *mr_path_absolute(const char *folder, struct mr_str path)
{
    while (path.n > 2 && path.p[0] == '.' && path.p[1] == '/')
        path = (struct mr_str){path.p + 2, path.n - 2};
    if (path.p[0] == '/')
        return mr_config_dup(path);
    if (mr_str_eq(path, MR_STR(".")))
        return mr_config_dup(mr_str_c(folder));
    struct mr_buf joined;
    mr_buf_init(&joined, MR_CONFIG_BYTES_MAX + 8192);
    mr_buf_printf(&joined, "%s/", strcmp(folder, "/") == 0 ? "" : folder);
    mr_buf_put(&joined, path.p, path.n);
    char *copy = mr_config_dup(mr_buf_str(&joined));
    mr_buf_free(&joined);
    return copy;
}

static bool set_string(const struct mr_fill *fill, const struct mr_option *row, char **out, struct mr_str text, struct mr_buf *why)
{
    if (memchr(text.p, '\0', text.n)) {
        mr_buf_puts(why, "a text may not hold a NUL byte");
        return false;
    }
    if (row->type == MR_T_PATH && text.n == 0) {
        mr_buf_puts(why, "expected a path, found an empty text");
        return false;
    }
    if (row->type == MR_T_LISTEN && !listen_ok(text)) {
        mr_buf_puts(why, "expected ");
        mr_option_expected(row, why);
        return false;
    }
    struct mr_option length = {.type = MR_T_INT, .min = row->min, .max = row->max};
    size_t before = why->n;
    mr_buf_printf(why, "%zu bytes of text are ", text.n);
    if (row->type == MR_T_STRING && !mr_unit_in_range(&length, (int64_t)text.n, why))
        return false;
    why->n = before;
    *out = row->type == MR_T_PATH ? mr_path_absolute(fill->resolver.folder, text) : mr_config_dup(text);
    return true;
}

static bool set_time(int64_t *out, struct mr_str text, struct mr_buf *why)
{
    if (mr_time_parse(text, out))
        return true;
    mr_buf_puts(why, "expected a time such as 2026-01-31T12:00:00Z, found ");
    mr_config_quote(why, text);
    return false;
}

static bool set_number(const struct mr_option *row, int64_t *out, struct mr_str text, struct mr_buf *why)
{
    int64_t v;
    if (!mr_unit_parse(row->type, text, &v, why))
        return false;
    size_t before = why->n;
    mr_config_quote(why, text);
    mr_buf_puts(why, " is ");
    if (!mr_unit_in_range(row, v, why))
        return false;
    why->n = before;
    *out = v;
    return true;
}

static bool set_real(const struct mr_option *row, double *out, struct mr_str text, struct mr_buf *why)
{
    double v;
    if (!mr_unit_real_parse(text, &v, why))
        return false;
    size_t before = why->n;
    mr_config_quote(why, text);
    mr_buf_puts(why, " is ");
    if (!mr_unit_real_in_range(row, v, why))
        return false;
    why->n = before;
    *out = v;
    return true;
}

/* Any row whose value is one text. */
static bool set_text(const struct mr_fill *fill, const struct mr_option *row, void *at, struct mr_str text, struct mr_buf *why)
{
    switch (row->type) {
    case MR_T_STRING:
    case MR_T_PATH:
    case MR_T_LISTEN:
        return set_string(fill, row, at, text, why);
    case MR_T_BOOL:
        return parse_bool(text, at, why);
    case MR_T_INT:
    case MR_T_SIZE:
    case MR_T_DURATION:
        return set_number(row, at, text, why);
    case MR_T_REAL:
        return set_real(row, at, text, why);
    case MR_T_ENUM:
        return parse_enum(row, text, at, why);
    default:
        assert(row->type == MR_T_TIME); /* the others are no single text */
        return set_time(at, text, why);
    }
}

static bool is_text_type(enum mr_type type)
{
    return type == MR_T_STRING || type == MR_T_PATH || type == MR_T_LISTEN;
}

/* The text of a reference; its value must not reach `why`, so a refusal of it is told in our own words alone. */
static bool set_reference(struct mr_fill *fill, const struct mr_option *row, void *at, struct mr_str text, struct mr_buf *why)
{
    char *value = NULL;
    size_t n = 0;
    if (!mr_reference_resolve(&fill->resolver, text, &value, &n, why))
        return false;
    struct mr_buf hidden;
    mr_buf_init(&hidden, WHY_MAX);
    bool ok = set_text(fill, row, at, (struct mr_str){value, n}, &hidden);
    if (hidden.p)
        explicit_bzero(hidden.p, hidden.n); /* it may quote the value */
    mr_buf_free(&hidden);
    mr_config_drop(value, n);
    if (!ok) {
        mr_buf_printf(why, "what %.*s holds is not ", (int)(text.n < 200 ? text.n : 200), text.p);
        mr_option_expected(row, why);
        if (row->type == MR_T_STRING && (row->min || row->max)) {
            mr_buf_puts(why, " of ");
            mr_unit_range_put(row, why);
            mr_buf_puts(why, " bytes");
        }
    }
    return ok;
}

static bool set_plain(struct mr_fill *fill, const struct mr_option *row, void *at, const struct mr_node *node, struct mr_buf *why)
{
    if (is_text_type(row->type)) {
        if (mr_reference_is(node->text))
            return set_reference(fill, row, at, node->text, why);
        if (mr_reference_inside(node->text)) {
            mr_buf_puts(why, "a reference must be the whole value: \"${env:NAME}\" or \"${file:PATH}\"");
            return false;
        }
    }
    if ((row->type == MR_T_INT || row->type == MR_T_REAL || row->type == MR_T_BOOL) && node->quoted) {
        mr_buf_puts(why, "expected ");
        mr_option_expected(row, why);
        mr_buf_puts(why, ", found a text: take the quotes away");
        return false;
    }
    return set_text(fill, row, at, node->text, why);
}

static bool fill_plain(struct mr_fill *fill, const struct mr_option *row, void *at, const struct mr_node *node)
{
    if (node->kind != MR_NODE_SCALAR || mr_node_is_null(node)) {
        mismatch(fill, row, node);
        return false;
    }
    struct mr_buf why;
    mr_buf_init(&why, WHY_MAX);
    bool ok = set_plain(fill, row, at, node, &why);
    if (!ok)
        mr_fill_error(fill, node->at, "%s", mr_buf_cstr(&why));
    mr_buf_free(&why);
    return ok;
}

/* -- secrets and lists ------------------------------------------------------------------------------------------------------ */

static bool fill_secret(struct mr_fill *fill, const struct mr_option *row, struct mr_secret *out, const struct mr_node *node)
{
    if (node->kind != MR_NODE_SCALAR || mr_node_is_null(node)) {
        mismatch(fill, row, node);
        return false;
    }
    struct mr_buf why;
    mr_buf_init(&why, WHY_MAX);
    bool ok = false;
    if (!mr_reference_is(node->text))
        mr_buf_puts(&why, "a secret may not stand in the file: write \"${env:NAME}\" or \"${file:PATH}\"");
    else
        ok = mr_reference_resolve(&fill->resolver, node->text, &out->value, &out->n, &why);
    if (ok)
        out->origin = mr_config_dup(node->text);
    else
        mr_fill_error(fill, node->at, "%s", mr_buf_cstr(&why));
    mr_buf_free(&why);
    return ok;
}

static size_t enter_index(struct mr_fill *fill, size_t i)
{
    char index[32];
    snprintf(index, sizeof index, "[%zu]", i);
    return mr_fill_enter(fill, mr_str_c(index));
}

static bool count_ok(struct mr_fill *fill, const struct mr_option *row, const struct mr_node *node, size_t count)
{
    struct mr_buf why;
    mr_buf_init(&why, WHY_MAX);
    bool ok = mr_unit_in_range(row, (int64_t)count, &why);
    if (!ok)
        mr_fill_error(fill, node->at, "%zu entries are %s", count, mr_buf_cstr(&why));
    mr_buf_free(&why);
    return ok;
}

/* A list, or one: both as an array of nodes. */
static size_t items_of(const struct mr_node *const *one, const struct mr_node *node, const struct mr_node *const **items)
{
    if (node->kind == MR_NODE_LIST) {
        *items = (const struct mr_node *const *)node->items;
        return node->count;
    }
    *items = one;
    return 1;
}

static bool fill_strings(struct mr_fill *fill, const struct mr_option *row, struct mr_strings *out, const struct mr_node *node)
{
    const struct mr_node *const *items;
    size_t count = items_of(&node, node, &items);
    struct mr_option item = {.name = row->name, .type = MR_T_STRING, .min = "1"};
    bool ok = count_ok(fill, row, node, count);
    out->items = mr_config_alloc(count, sizeof(char *));
    out->count = count;
    for (size_t i = 0; i < count; i++) {
        size_t before = node->kind == MR_NODE_LIST ? enter_index(fill, i) : strlen(fill->path);
        ok = fill_plain(fill, &item, &out->items[i], items[i]) && ok;
        mr_fill_leave(fill, before);
    }
    return ok;
}

static bool fill_secrets(struct mr_fill *fill, const struct mr_option *row, struct mr_secrets *out, const struct mr_node *node)
{
    const struct mr_node *const *items;
    size_t count = items_of(&node, node, &items);
    struct mr_option item = {.name = row->name, .type = MR_T_SECRET};
    bool ok = count_ok(fill, row, node, count);
    out->items = mr_config_alloc(count, sizeof(struct mr_secret));
    out->count = count;
    for (size_t i = 0; i < count; i++) {
        size_t before = node->kind == MR_NODE_LIST ? enter_index(fill, i) : strlen(fill->path);
        ok = fill_secret(fill, &item, &out->items[i], items[i]) && ok;
        mr_fill_leave(fill, before);
    }
    return ok;
}

static bool fill_list(struct mr_fill *fill, const struct mr_option *row, struct mr_list *out, const struct mr_node *node)
{
    if (node->kind != MR_NODE_LIST) {
        mismatch(fill, row, node);
        return false;
    }
    bool ok = count_ok(fill, row, node, node->count);
    out->items = mr_config_alloc(node->count, row->sub_size);
    out->count = node->count;
    static const struct mr_option a_map = {.type = MR_T_MAP};
    for (size_t i = 0; i < node->count; i++) {
        const struct mr_node *item = node->items[i];
        size_t before = enter_index(fill, i);
        struct mr_table table = {row->sub, (char *)out->items + i * row->sub_size};
        bool map = item->kind == MR_NODE_MAP;
        if (!map)
            mismatch(fill, &a_map, item);
        mr_options_fill(fill, &table, 1, NULL, map ? item : NULL, item->at);
        mr_fill_leave(fill, before);
    }
    return ok;
}

/* -- pairs ------------------------------------------------------------------------------------------------------------------ */

/* A name is anything: in front of a message it is cut, and its controls are out. */
static size_t enter_name(struct mr_fill *fill, struct mr_str name)
{
    struct mr_buf quoted;
    mr_buf_init(&quoted, WHY_MAX);
    mr_config_quote(&quoted, name);
    struct mr_str inner = {mr_buf_cstr(&quoted) + (quoted.n > 0), quoted.n > 2 ? quoted.n - 2 : 0};
    size_t before = mr_fill_enter(fill, inner);
    mr_buf_free(&quoted);
    return before;
}

static bool fill_pair(struct mr_fill *fill, struct mr_pair *out, const struct mr_entry *entry)
{
    static const struct mr_option value = {.type = MR_T_STRING};
    if (entry->key.n == 0) {
        mr_fill_error(fill, entry->at, "expected a name, found an empty text");
        return false;
    }
    size_t before = enter_name(fill, entry->key);
    bool plain = entry->value->kind == MR_NODE_SCALAR && !mr_node_is_null(entry->value);
    if (!plain)
        mismatch_with(fill, "a plain value", entry->value);
    bool ok = plain && fill_plain(fill, &value, &out->value, entry->value);
    out->name = mr_config_dup(entry->key);
    mr_fill_leave(fill, before);
    return ok;
}

/* That no name is there twice the document has seen to. */
static bool fill_pairs(struct mr_fill *fill, const struct mr_option *row, struct mr_pairs *out, const struct mr_node *node)
{
    if (node->kind != MR_NODE_MAP) {
        mismatch(fill, row, node);
        return false;
    }
    bool ok = count_ok(fill, row, node, node->count);
    out->items = mr_config_alloc(node->count, sizeof(struct mr_pair));
    out->count = node->count;
    for (size_t i = 0; i < node->count; i++)
        ok = fill_pair(fill, &out->items[i], &node->entries[i]) && ok;
    return ok;
}

/* -- named structs ---------------------------------------------------------------------------------------------------------- */

/* The entry's struct is whole in any case. `orders:` with every key below commented out is an empty map. */
static bool fill_named_entry(struct mr_fill *fill, const struct mr_option *row, void *out, const struct mr_entry *entry)
{
    static const struct mr_option a_map = {.type = MR_T_MAP};
    const struct mr_node *node = entry->value;
    struct mr_node empty = {.kind = MR_NODE_MAP, .at = node->at};
    bool named = entry->key.n > 0;
    if (!named)
        mr_fill_error(fill, entry->at, "expected a name, found an empty text");
    if (mr_node_is_null(node))
        node = &empty;
    bool map = node->kind == MR_NODE_MAP;
    size_t before = enter_name(fill, entry->key);
    if (!map)
        mismatch(fill, &a_map, node);
    struct mr_table table = {row->sub, out};
    mr_options_fill(fill, &table, 1, NULL, map ? node : NULL, entry->at);
    *(char **)out = mr_config_dup(entry->key);
    mr_fill_leave(fill, before);
    return named;
}

/* That no name is there twice the document has seen to. */
static bool fill_named(struct mr_fill *fill, const struct mr_option *row, struct mr_list *out, const struct mr_node *node)
{
    struct mr_node empty = {.kind = MR_NODE_MAP, .at = node->at};
    if (mr_node_is_null(node))
        node = &empty;
    if (node->kind != MR_NODE_MAP) {
        mismatch(fill, row, node);
        return false;
    }
    bool ok = count_ok(fill, row, node, node->count);
    out->items = mr_config_alloc(node->count, row->sub_size);
    out->count = node->count;
    for (size_t i = 0; i < node->count; i++)
        ok = fill_named_entry(fill, row, (char *)out->items + i * row->sub_size, &node->entries[i]) && ok;
    return ok;
}

/* -- maps ------------------------------------------------------------------------------------------------------------------- */

static void fill_default(struct mr_fill *fill, const struct mr_option *row, void *owner);

/* A plain value that stands for the map with its first row alone. */
static void fill_scalar_map(struct mr_fill *fill, const struct mr_option *row, void *owner, const struct mr_node *node, struct mr_where where)
{
    struct mr_node value = *node;
    struct mr_entry entry = {.key = mr_str_c(row->sub[0].name), .at = where, .value = &value};
    struct mr_node map = {.kind = MR_NODE_MAP, .at = node->at, .entries = &entry, .count = 1, .cap = 1};
    struct mr_table table = {row->sub, mr_option_sub(row, owner)};
    mr_options_fill(fill, &table, 1, NULL, &map, where);
}

static void fill_map(struct mr_fill *fill, const struct mr_option *row, void *owner, const struct mr_node *node, struct mr_where where)
{
    struct mr_node empty = {.kind = MR_NODE_MAP, .at = node->at};
    struct mr_table table = {row->sub, mr_option_sub(row, owner)};
    if (mr_node_is_null(node)) /* `http:` with every key below commented out */
        node = &empty;
    if (row->flags & MR_OPT_PRESENT)
        *(bool *)field(row, owner) = true;
    if (node->kind == MR_NODE_SCALAR && row->flags & MR_OPT_SCALAR) {
        fill_scalar_map(fill, row, owner, node, where);
        return;
    }
    if (node->kind != MR_NODE_MAP)
        mismatch(fill, row, node);
    mr_options_fill(fill, &table, 1, NULL, node->kind == MR_NODE_MAP ? node : NULL, where);
}

/* After a refusal the field goes back to its default, so that checks which come later read something sane. */
static void fill_row(struct mr_fill *fill, const struct mr_option *row, void *owner, const struct mr_entry *entry)
{
    const struct mr_node *node = entry->value;
    bool ok = true;
    switch (row->type) {
    case MR_T_MAP:
        fill_map(fill, row, owner, node, entry->at);
        break;
    case MR_T_LIST:
        ok = fill_list(fill, row, field(row, owner), node);
        break;
    case MR_T_STRINGS:
        ok = fill_strings(fill, row, field(row, owner), node);
        break;
    case MR_T_SECRETS:
        ok = fill_secrets(fill, row, field(row, owner), node);
        break;
    case MR_T_SECRET:
        ok = fill_secret(fill, row, field(row, owner), node);
        break;
    case MR_T_PAIRS:
        ok = fill_pairs(fill, row, field(row, owner), node);
        break;
    case MR_T_NAMED:
        ok = fill_named(fill, row, field(row, owner), node);
        break;
    default:
        ok = fill_plain(fill, row, field(row, owner), node);
    }
    if (!ok) {
        mr_option_free(row, owner);
        fill_default(fill, row, owner);
    }
}

static void default_strings(const struct mr_option *row, struct mr_strings *out)
{
    const char *s = row->def;
    size_t cap = 0;
    while (s && *s != '\0') {
        size_t n = strcspn(s, ",");
        out->items = mr_config_grow(out->items, out->count, &cap, sizeof(char *));
        out->items[out->count++] = mr_config_dup((struct mr_str){s, n});
        s += n;
        s += strspn(s, ", ");
    }
}

static void fill_default(struct mr_fill *fill, const struct mr_option *row, void *owner)
{
    if (row->type == MR_T_MAP) {
        struct mr_table table = {row->sub, mr_option_sub(row, owner)};
        mr_options_fill(fill, &table, 1, NULL, NULL, (struct mr_where){0, 0});
    } else if (row->type == MR_T_STRINGS) {
        default_strings(row, field(row, owner));
    } else if (row->type == MR_T_TIME && !row->def) {
        *(int64_t *)field(row, owner) = MR_NO_TIME;
    } else if (row->def) {
        struct mr_buf why;
        mr_buf_init(&why, WHY_MAX);
        bool ok = set_text(fill, row, field(row, owner), mr_str_c(row->def), &why);
        mr_buf_free(&why);
        assert(ok); /* our own row */
        (void)ok;
    }
}

bool mr_option_default_ok(const struct mr_option *row, struct mr_buf *why)
{
    if (!row->def || row->type == MR_T_STRINGS)
        return true;
    if (row->type == MR_T_MAP || row->type == MR_T_LIST || row->type == MR_T_PAIRS || row->type == MR_T_NAMED || row->type == MR_T_SECRET ||
        row->type == MR_T_SECRETS) {
        mr_buf_puts(why, "a row of this type has no default");
        return false;
    }
    union { char *s; bool b; int e; int64_t n; double r; } value = {.n = 0};
    struct mr_fill fill = {.resolver = {.folder = "/"}};
    bool ok = set_text(&fill, row, &value, mr_str_c(row->def), why);
    if (ok && is_text_type(row->type))
        mr_config_drop_string(value.s);
    return ok;
}

/* -- keys: known, missing --------------------------------------------------------------------------------------------------- */

static const struct mr_option *row_named(const struct mr_table *tables, size_t count, struct mr_str key, size_t *table)
{
    for (size_t t = 0; t < count; t++) {
        for (const struct mr_option *row = tables[t].rows; row && row->name; row++) {
            if (mr_str_eq(key, mr_str_c(row->name))) {
                *table = t;
                return row;
            }
        }
    }
    return NULL;
}

/* A key that is known one level down was put one level too high. */
static const struct mr_option *map_that_has(const struct mr_table *tables, size_t count, struct mr_str key)
{
    for (size_t t = 0; t < count; t++) {
        for (const struct mr_option *row = tables[t].rows; row && row->name; row++) {
            size_t unused;
            struct mr_table below = {row->sub, NULL};
            if (row->type == MR_T_MAP && row_named(&below, 1, key, &unused))
                return row;
        }
    }
    return NULL;
}

static void report_unknown(struct mr_fill *fill, const struct mr_table *tables, size_t count, const char *other, const struct mr_entry *entry)
{
    struct mr_near near = {.word = entry->key};
    struct mr_buf why, known;
    mr_buf_init(&why, WHY_MAX);
    mr_buf_init(&known, WHY_MAX / 2);
    mr_buf_puts(&why, "unknown key ");
    mr_config_quote(&why, entry->key);
    for (size_t t = 0; t < count; t++) {
        for (const struct mr_option *row = tables[t].rows; row && row->name; row++) {
            mr_near_offer(&near, row->name);
            mr_buf_printf(&known, "%s%s", known.n > 0 ? ", " : "", row->name);
        }
    }
    if (other) {
        mr_near_offer(&near, other);
        mr_buf_printf(&known, "%s%s", known.n > 0 ? ", " : "", other);
    }
    const struct mr_option *map = near.best ? NULL : map_that_has(tables, count, entry->key);
    if (near.best)
        mr_buf_printf(&why, ", did you mean \"%s\"?", near.best);
    else if (map)
        mr_buf_printf(&why, "; it belongs below \"%s\"", map->name);
    else
        mr_buf_printf(&why, "; expected one of %s", mr_buf_cstr(&known));
    mr_fill_error(fill, entry->at, "%s", mr_buf_cstr(&why));
    mr_buf_free(&why);
    mr_buf_free(&known);
}

static void report_missing(struct mr_fill *fill, const struct mr_option *row, struct mr_where where)
{
    struct mr_buf why;
    mr_buf_init(&why, WHY_MAX);
    mr_buf_printf(&why, "\"%s\" is missing; expected ", row->name);
    mr_option_expected(row, &why);
    mr_fill_error(fill, where, "%s", mr_buf_cstr(&why));
    mr_buf_free(&why);
}

static bool given(const struct mr_node *map, const char *name)
{
    return mr_node_get(map, name) != NULL;
}

static void fill_absent(struct mr_fill *fill, const struct mr_table *table, const struct mr_node *map, struct mr_where where)
{
    for (const struct mr_option *row = table->rows; row && row->name; row++) {
        if (map && given(map, row->name))
            continue;
        if (map && row->flags & MR_OPT_MANDATORY)
            report_missing(fill, row, where);
        fill_default(fill, row, table->owner);
    }
}

void mr_options_fill(struct mr_fill *fill, const struct mr_table *tables, size_t count, const char *other, const struct mr_node *map,
                     struct mr_where where)
{
    for (size_t t = 0; t < count; t++)
        fill_absent(fill, &tables[t], map, where);
    for (size_t i = 0; map && i < map->count; i++) {
        const struct mr_entry *entry = &map->entries[i];
        size_t table = 0;
        const struct mr_option *row = row_named(tables, count, entry->key, &table);
        if (row) {
            size_t before = mr_fill_enter(fill, entry->key);
            fill_row(fill, row, tables[table].owner, entry);
            mr_fill_leave(fill, before);
        } else if (!(other && mr_str_eq(entry->key, mr_str_c(other)))) {
            report_unknown(fill, tables, count, other, entry);
        }
    }
}
