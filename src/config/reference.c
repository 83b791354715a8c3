/* SPDX-License-Identifier: Apache-2.0 */
/* reference.c - the rows as docs/config.md: a section a map, a line an option. Also the check of the rows themselves. */
#include "config/memory.h"
#include "config/rows.h"
#include "config/units.h"

#include <stdlib.h>

enum { HEADING_MAX = 512 };

static const char intro[] =
    "# Config reference\n"
    "\n"
    "<!-- Made by `millrace config docs` from the option tables; do not edit. -->\n"
    "\n"
    "One YAML file, handed to every command as `-c FILE`. `millrace check -c FILE --offline` tells everything that is wrong with it at once, each with\n"
    "file, line and column; `millrace config schema` prints a JSON Schema for editors, `millrace config sample` the whole file, commented.\n"
    "\n"
    "- **Durations** are a whole number and `ms`, `s`, `m`, `h` or `d` (`90m`, not `1.5h`); **sizes** a whole number and `B`, `KiB`, `MiB`, `GiB` or `TiB`.\n"
    "- **Relative paths** count from the config file's folder.\n"
    "- **Secrets** stand in the file as `\"${env:NAME}\"` or `\"${file:PATH}\"` only; of a file, one trailing newline is dropped. A secret that is empty or\n"
    "  missing is an error. Any other text may be such a reference too, if it is the whole value. `${env:}` is fixed when the program starts; to change\n"
    "  a secret without a restart, take `${file:}`, write the file and send SIGHUP.\n"
    "- **SIGHUP** reads the file again. If it has an error, or changes a key marked *fixed*, it is refused whole and the old one keeps serving.\n"
    "- A key that is unknown or there twice is an error. Anchors, aliases, merge keys and tags of YAML are not supported. At most 1 MiB.\n";

static const char *type_name(enum mr_type type)
{
    static const char *const names[] = {
        [MR_T_STRING] = "text",          [MR_T_PATH] = "path",         [MR_T_BOOL] = "true or false", [MR_T_INT] = "whole number",
        [MR_T_SIZE] = "size",            [MR_T_DURATION] = "duration", [MR_T_ENUM] = "one of",        [MR_T_TIME] = "time (RFC 3339)",
        [MR_T_SECRET] = "secret",        [MR_T_STRINGS] = "text or list of texts", [MR_T_SECRETS] = "secret or list of secrets",
        [MR_T_MAP] = "map",              [MR_T_LIST] = "list of maps", [MR_T_LISTEN] = "address",
        [MR_T_PAIRS] = "map of names to plain values", [MR_T_NAMED] = "map of names to maps", [MR_T_REAL] = "number",
    };
    return names[type];
}

/* A bar would end a cell, and <name> outside of code would be a tag, and vanish. */
static void prose(struct mr_buf *out, const char *s)
{
    bool code = false;
    for (; *s != '\0'; s++) {
        code = code != (*s == '`');
        if (*s == '|' || (*s == '<' && !code))
            mr_buf_putc(out, '\\');
        mr_buf_putc(out, *s == '\n' ? ' ' : *s);
    }
}

static bool has_section(const struct mr_option *row)
{
    return row->type == MR_T_MAP || row->type == MR_T_LIST || row->type == MR_T_NAMED;
}

static void range(struct mr_buf *out, const struct mr_option *row)
{
    if (row->type == MR_T_ENUM) {
        for (size_t i = 0; row->choices[i]; i++)
            mr_buf_printf(out, "%s`%s`", i > 0 ? ", " : "", row->choices[i]);
        return;
    }
    mr_unit_range_put(row, out);
    if (!row->min && !row->max)
        return;
    if (mr_row_is_text(row))
        mr_buf_puts(out, " bytes");
    else if (row->type == MR_T_STRINGS || row->type == MR_T_SECRETS || row->type == MR_T_LIST || row->type == MR_T_PAIRS ||
             row->type == MR_T_NAMED)
        mr_buf_puts(out, " entries");
}

static void line(struct mr_buf *out, const struct mr_option *row)
{
    mr_buf_printf(out, "| `%s` | %s%s | ", row->name, mr_row_has(row, MR_OPT_SCALAR) ? "text or " : "", type_name(row->type));
    if (mr_row_has(row, MR_OPT_MANDATORY))
        mr_buf_puts(out, "*must be given*");
    else if (row->def)
        mr_buf_printf(out, "`%s`", row->def);
    else
        mr_buf_puts(out, has_section(row) ? "see below" : "none");
    mr_buf_puts(out, " | ");
    range(out, row);
    mr_buf_puts(out, " | ");
    prose(out, row->doc);
    if (mr_row_has(row, MR_OPT_FIXED))
        mr_buf_puts(out, " *Fixed.*");
    mr_buf_puts(out, " |\n");
}

static void table(struct mr_buf *out, const struct mr_option *const *tables, size_t count)
{
    mr_buf_puts(out, "\n| key | type | default | range | meaning |\n|---|---|---|---|---|\n");
    for (size_t t = 0; t < count; t++) {
        for (const struct mr_option *row = tables[t]; row && row->name; row++)
            line(out, row);
    }
}

static void heading_put(struct mr_buf *out, const char *level, const char *name, const char *doc)
{
    mr_buf_printf(out, "\n%s `%s`\n\n", level, name);
    prose(out, doc);
    mr_buf_putc(out, '\n');
}

/* One section for each map below `rows`, theirs after it. */
static void sections(struct mr_buf *out, const char *level, const char *above, const struct mr_option *rows)
{
    for (const struct mr_option *row = rows; row && row->name; row++) {
        if (!has_section(row))
            continue;
        char heading[HEADING_MAX];
        snprintf(heading, sizeof heading, "%s%s%s%s", above, *above ? "." : "", row->name,
                 row->type == MR_T_LIST ? "[]" : row->type == MR_T_NAMED ? ".<name>" : "");
        heading_put(out, level, heading, row->doc);
        table(out, &row->sub, 1);
        sections(out, level, heading, row->sub);
    }
}

void mr_config_reference(const struct mr_door *const *doors, size_t count, struct mr_buf *out)
{
    const struct mr_option **tables = mr_config_alloc(count + 1, sizeof(struct mr_option *));
    tables[0] = mr_root_rows();
    for (size_t i = 0; i < count; i++)
        tables[i + 1] = doors[i]->hub_options;
    mr_buf_puts(out, intro);
    mr_buf_puts(out, "\n## Top level\n");
    table(out, tables, count + 1);
    mr_buf_puts(out, "| `sources` | map | *must be given* |  | " MR_SOURCES_DOC " |\n");
    for (size_t i = 0; i < count + 1; i++)
        sections(out, "##", "", tables[i]);
    for (size_t i = 0; i < count; i++) {
        char heading[HEADING_MAX];
        snprintf(heading, sizeof heading, "sources.<name>.%s", doors[i]->name);
        heading_put(out, "##", heading, doors[i]->doc);
        table(out, &doors[i]->options, 1);
        sections(out, "###", heading, doors[i]->options);
    }
    free(tables);
}

/* -- are the rows sound? --------------------------------------------------------------------------------------------------- */

static bool key_ok(const char *name)
{
    return *name >= 'a' && *name <= 'z' && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name);
}

/* The first field is the entry's name: a row that writes there would take it away. */
static void check_named(const struct mr_option *row, const char *path, struct mr_buf *out)
{
    for (const struct mr_option *sub = row->sub; sub && sub->name; sub++) {
        if (sub->offset < sizeof(char *) || (mr_row_has(sub, MR_OPT_PRESENT) && sub->offset2 < sizeof(char *)))
            mr_buf_printf(out, "%s.%s: lies where the entry's name is\n", path, sub->name);
    }
}

static void check_row(const struct mr_option *row, const char *path, struct mr_buf *out)
{
    if (!key_ok(row->name))
        mr_buf_printf(out, "%s: a key is lower-case letters, digits and _\n", path);
    if (!row->doc || *row->doc == '\0')
        mr_buf_printf(out, "%s: no doc\n", path);
    if (row->type == MR_T_ENUM && !row->choices)
        mr_buf_printf(out, "%s: no choices\n", path);
    if (has_section(row) && (!row->sub || (row->type != MR_T_MAP && row->sub_size == 0)))
        mr_buf_printf(out, "%s: no rows below\n", path);
    if (row->type == MR_T_NAMED)
        check_named(row, path, out);
    if (row->def && mr_row_has(row, MR_OPT_MANDATORY))
        mr_buf_printf(out, "%s: a default that is never taken, the key must be given\n", path);
    struct mr_buf why;
    mr_buf_init(&why, 1024);
    if (!mr_unit_bounds_ok(row, &why))
        mr_buf_printf(out, "%s: min and max: %s\n", path, mr_buf_cstr(&why));
    else if ((row->type != MR_T_ENUM || row->choices) && !mr_option_default_ok(row, &why))
        mr_buf_printf(out, "%s: default: %s\n", path, mr_buf_cstr(&why));
    mr_buf_free(&why);
}

static void check_rows(const struct mr_option *rows, const char *above, struct mr_buf *out)
{
    for (const struct mr_option *row = rows; row && row->name; row++) {
        char path[HEADING_MAX];
        snprintf(path, sizeof path, "%s%s%s", above, *above ? "." : "", row->name);
        check_row(row, path, out);
        for (const struct mr_option *other = rows; other != row; other++) {
            if (strcmp(other->name, row->name) == 0)
                mr_buf_printf(out, "%s: here twice\n", path);
        }
        if (has_section(row))
            check_rows(row->sub, path, out);
    }
}

static bool has_row(const struct mr_option *rows, const char *name)
{
    for (const struct mr_option *row = rows; row && row->name; row++) {
        if (strcmp(row->name, name) == 0)
            return true;
    }
    return false;
}

static void check_hub_keys(const struct mr_door *const *doors, size_t count, size_t i, struct mr_buf *out)
{
    for (const struct mr_option *row = doors[i]->hub_options; row && row->name; row++) {
        bool taken = has_row(mr_root_rows(), row->name) || strcmp(row->name, "sources") == 0;
        for (size_t j = 0; j < count; j++)
            taken = taken || (j != i && has_row(doors[j]->hub_options, row->name));
        if (taken)
            mr_buf_printf(out, "%s: key %s is somebody else's at the top level\n", doors[i]->name, row->name);
    }
}

void mr_config_check_rows(const struct mr_door *const *doors, size_t count, struct mr_buf *out)
{
    check_rows(mr_root_rows(), "", out);
    for (size_t i = 0; i < count; i++) {
        check_rows(doors[i]->hub_options, "", out);
        check_rows(doors[i]->options, doors[i]->name, out);
        check_hub_keys(doors, count, i, out);
        if (!doors[i]->doc)
            mr_buf_printf(out, "%s: no doc\n", doors[i]->name);
    }
}
