/* SPDX-License-Identifier: Apache-2.0 */
/* schema.c - the rows as a JSON Schema (draft 2020-12), for editors and for checks before a roll-out.
 *
 * What passes the schema may still be refused by `check` (ranges of units, routes twice, empty secrets); what `check` takes in its plain
 * spelling passes the schema. */
#include "config/rows.h"
#include "config/units.h"
#include "millrace/json.h"

#define REFERENCE "\\$\\{(env:[A-Za-z_][A-Za-z0-9_]*|file:[^}]+)\\}"

struct pen {
    struct mr_buf *out;
    int depth;
    bool first; /* nothing written yet in the innermost object or array */
};

static void next(struct pen *p)
{
    if (!p->first)
        mr_buf_putc(p->out, ',');
    mr_buf_putc(p->out, '\n');
    for (int i = 0; i < p->depth; i++)
        mr_buf_puts(p->out, "  ");
    p->first = false;
}

static void key(struct pen *p, const char *name)
{
    next(p);
    mr_json_put_string(p->out, mr_str_c(name));
    mr_buf_puts(p->out, ": ");
}

static void text(struct pen *p, const char *name, const char *value)
{
    key(p, name);
    mr_json_put_string(p->out, mr_str_c(value));
}

static void raw(struct pen *p, const char *name, const char *value)
{
    key(p, name);
    mr_buf_puts(p->out, value);
}

static void begin(struct pen *p, char bracket)
{
    mr_buf_putc(p->out, bracket);
    p->depth++;
    p->first = true;
}

static void end(struct pen *p, char bracket)
{
    p->depth--;
    p->first = true; /* the bracket follows no comma */
    next(p);
    mr_buf_putc(p->out, bracket);
}

static void object(struct pen *p, const struct mr_option *rows, bool or_nothing);

static void put_choices(struct pen *p, const char *const *choices)
{
    key(p, "enum");
    mr_buf_putc(p->out, '[');
    for (size_t i = 0; choices[i]; i++) {
        mr_buf_puts(p->out, i > 0 ? ", " : "");
        mr_json_put_string(p->out, mr_str_c(choices[i]));
    }
    mr_buf_putc(p->out, ']');
}

static void put_bounds(struct pen *p, const struct mr_option *row, const char *min, const char *max)
{
    if (row->min)
        raw(p, min, row->min);
    if (row->max)
        raw(p, max, row->max);
}

/* One text, or a list of them: `pattern` may be NULL. */
static void one_or_list(struct pen *p, const struct mr_option *row, const char *pattern)
{
    key(p, "anyOf");
    begin(p, '[');
    for (int list = 0; list < 2; list++) {
        next(p);
        begin(p, '{');
        text(p, "type", list ? "array" : "string");
        if (list) {
            put_bounds(p, row, "minItems", "maxItems");
            key(p, "items");
            begin(p, '{');
            text(p, "type", "string");
        }
        if (pattern)
            text(p, "pattern", pattern);
        else
            raw(p, "minLength", "1");
        if (list)
            end(p, '}');
        end(p, '}');
    }
    end(p, ']');
}

/* The bounds of a text count its bytes: of a reference they say nothing, and of other text no schema can count bytes. So only "not empty". */
static void string_type(struct pen *p, const struct mr_option *row)
{
    text(p, "type", "string");
    if (row->type == MR_T_LISTEN)
        text(p, "pattern", "^(" REFERENCE "|(\\[[^\\]]+\\]|[^:\\[\\]]+):[0-9]{1,5})$");
    else if (row->type == MR_T_PATH || (row->min && strcmp(row->min, "0") != 0))
        raw(p, "minLength", "1");
}

static void value(struct pen *p, const struct mr_option *row);

static void map_type(struct pen *p, const struct mr_option *row)
{
    if (!mr_row_has(row, MR_OPT_SCALAR)) {
        object(p, row->sub, true);
        return;
    }
    key(p, "anyOf");
    begin(p, '[');
    next(p);
    begin(p, '{');
    value(p, &row->sub[0]);
    end(p, '}');
    next(p);
    begin(p, '{');
    object(p, row->sub, true);
    end(p, '}');
    end(p, ']');
}

static void map_of(struct pen *p, bool or_nothing);

/* Nothing below it is an empty map, which a least number of entries refuses. */
static void named_type(struct pen *p, const struct mr_option *row)
{
    map_of(p, !row->min || strcmp(row->min, "0") == 0);
    put_bounds(p, row, "minProperties", "maxProperties");
    key(p, "propertyNames");
    begin(p, '{');
    raw(p, "minLength", "1");
    end(p, '}');
    key(p, "additionalProperties");
    begin(p, '{');
    object(p, row->sub, true);
    end(p, '}');
}

/* The members that say what a value may be. */
static void value(struct pen *p, const struct mr_option *row)
{
    switch (row->type) {
    case MR_T_STRING:
    case MR_T_PATH:
    case MR_T_LISTEN:
        string_type(p, row);
        break;
    case MR_T_BOOL:
        text(p, "type", "boolean");
        break;
    case MR_T_INT:
        text(p, "type", "integer");
        put_bounds(p, row, "minimum", "maximum");
        break;
    case MR_T_REAL:
        text(p, "type", "number");
        put_bounds(p, row, "minimum", "maximum");
        break;
    case MR_T_SIZE:
    case MR_T_DURATION:
        text(p, "type", "string");
        text(p, "pattern", mr_unit_pattern(row->type));
        break;
    case MR_T_ENUM:
        put_choices(p, row->choices);
        break;
    case MR_T_TIME:
        text(p, "type", "string");
        text(p, "format", "date-time");
        break;
    case MR_T_SECRET:
        text(p, "type", "string");
        text(p, "pattern", "^" REFERENCE "$");
        break;
    case MR_T_STRINGS:
        one_or_list(p, row, NULL);
        break;
    case MR_T_SECRETS:
        one_or_list(p, row, "^" REFERENCE "$");
        break;
    case MR_T_MAP:
        map_type(p, row);
        break;
    case MR_T_LIST:
        text(p, "type", "array");
        put_bounds(p, row, "minItems", "maxItems");
        key(p, "items");
        begin(p, '{');
        object(p, row->sub, false);
        end(p, '}');
        break;
    case MR_T_PAIRS:
        text(p, "type", "object");
        put_bounds(p, row, "minProperties", "maxProperties");
        key(p, "additionalProperties");
        begin(p, '{');
        raw(p, "type", "[\"string\", \"number\", \"boolean\"]");
        end(p, '}');
        break;
    case MR_T_NAMED:
        named_type(p, row);
        break;
    }
}

static void put_default(struct pen *p, const struct mr_option *row)
{
    if (!row->def)
        return;
    if (row->type == MR_T_INT || row->type == MR_T_REAL || row->type == MR_T_BOOL)
        raw(p, "default", row->def);
    else
        text(p, "default", row->def);
}

static void describe(struct pen *p, const struct mr_option *row)
{
    struct mr_buf doc;
    mr_buf_init(&doc, 8192);
    mr_buf_puts(&doc, row->doc);
    if (row->type == MR_T_SIZE || row->type == MR_T_DURATION) {
        size_t before = doc.n;
        mr_buf_puts(&doc, " Range: ");
        size_t empty = doc.n;
        mr_unit_range_put(row, &doc);
        if (doc.n == empty)
            doc.n = before;
        else
            mr_buf_putc(&doc, '.');
    }
    if (mr_row_has(row, MR_OPT_FIXED))
        mr_buf_puts(&doc, " A running server keeps it: a reload that changes it is refused.");
    text(p, "description", mr_buf_cstr(&doc));
    mr_buf_free(&doc);
}

static void properties(struct pen *p, const struct mr_option *rows)
{
    for (const struct mr_option *row = rows; row && row->name; row++) {
        key(p, row->name);
        begin(p, '{');
        describe(p, row);
        put_default(p, row);
        value(p, row);
        end(p, '}');
    }
}

static void required(struct pen *p, const struct mr_option *rows)
{
    bool any = false;
    for (const struct mr_option *row = rows; row && row->name; row++) {
        if (!mr_row_has(row, MR_OPT_MANDATORY))
            continue;
        if (!any)
            key(p, "required");
        mr_buf_puts(p->out, any ? ", " : "[");
        mr_json_put_string(p->out, mr_str_c(row->name));
        any = true;
    }
    if (any)
        mr_buf_putc(p->out, ']');
}

static bool needs_a_key(const struct mr_option *rows)
{
    for (const struct mr_option *row = rows; row && row->name; row++) {
        if (mr_row_has(row, MR_OPT_MANDATORY))
            return true;
    }
    return false;
}

/* `http:` with everything below it commented out is an empty map. */
static void map_of(struct pen *p, bool or_nothing)
{
    raw(p, "type", or_nothing ? "[\"object\", \"null\"]" : "\"object\"");
}

static void object(struct pen *p, const struct mr_option *rows, bool or_nothing)
{
    map_of(p, or_nothing && !needs_a_key(rows));
    raw(p, "additionalProperties", "false");
    required(p, rows);
    key(p, "properties");
    begin(p, '{');
    properties(p, rows);
    end(p, '}');
}

static void sources(struct pen *p, const struct mr_door *const *doors, size_t count)
{
    key(p, "sources");
    begin(p, '{');
    text(p, "description", MR_SOURCES_DOC);
    map_of(p, true);
    key(p, "propertyNames");
    begin(p, '{');
    text(p, "pattern", MR_SOURCE_NAME_PATTERN);
    raw(p, "maxLength", "128");
    end(p, '}');
    key(p, "additionalProperties");
    begin(p, '{');
    text(p, "type", "object");
    raw(p, "additionalProperties", "false");
    raw(p, "minProperties", "1");
    raw(p, "maxProperties", "1");
    key(p, "properties");
    begin(p, '{');
    for (size_t i = 0; i < count; i++) {
        key(p, doors[i]->name);
        begin(p, '{');
        text(p, "description", doors[i]->doc);
        object(p, doors[i]->options, true);
        end(p, '}');
    }
    end(p, '}');
    end(p, '}');
    end(p, '}');
}

void mr_config_schema(const struct mr_door *const *doors, size_t count, struct mr_buf *out)
{
    struct pen pen = {.out = out, .first = true}, *p = &pen;
    begin(p, '{');
    text(p, "$schema", "https://json-schema.org/draft/2020-12/schema");
    text(p, "title", "millrace");
    text(p, "description", "The config file of millrace. Durations are whole numbers with ms, s, m, h or d; sizes with B, KiB, MiB, GiB or TiB.");
    text(p, "type", "object");
    raw(p, "additionalProperties", "false");
    raw(p, "required", "[\"sources\"]");
    key(p, "properties");
    begin(p, '{');
    properties(p, mr_root_rows());
    for (size_t i = 0; i < count; i++)
        properties(p, doors[i]->hub_options);
    sources(p, doors, count);
    end(p, '}');
    end(p, '}');
    mr_buf_putc(out, '\n');
}
