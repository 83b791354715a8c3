/* SPDX-License-Identifier: Apache-2.0 */
/* sample.c - the rows as conf/millrace.yaml: the whole config with its defaults, commented. It loads, and what it sets is what an empty
 * file would have: so a person deletes or changes lines without learning anything first. What has no default stands behind a #. */
#include "config/rows.h"
#include "config/units.h"

enum { WIDTH = 118 };

struct place {
    struct mr_buf *out;
    int indent;
    bool commented; /* all of it behind "# " */
};

static void margin(const struct place *at)
{
    if (at->commented)
        mr_buf_puts(at->out, "# ");
    for (int i = 0; i < at->indent; i++)
        mr_buf_puts(at->out, "  ");
}

static size_t word_length(const char *s)
{
    return strcspn(s, " \n");
}

/* A paragraph as comment lines. */
static void comment(const struct place *at, const char *text)
{
    size_t start = (size_t)at->indent * 2 + (at->commented ? 2 : 0) + 1, column = 0;
    for (const char *word = text; *word != '\0';) {
        size_t n = word_length(word);
        if (column == 0 || column + 1 + n > WIDTH) {
            mr_buf_puts(at->out, column > 0 ? "\n" : "");
            margin(at);
            mr_buf_putc(at->out, '#');
            column = start;
        }
        mr_buf_putc(at->out, ' ');
        mr_buf_put(at->out, word, n);
        column += 1 + n;
        word += n;
        word += strspn(word, " \n");
    }
    mr_buf_putc(at->out, '\n');
}

/* What a person may write there, in a comment behind the value. */
static void remark(const struct place *at, const struct mr_option *row)
{
    size_t before = at->out->n;
    mr_buf_puts(at->out, "  # ");
    size_t empty = at->out->n;
    if (row->type == MR_T_ENUM) {
        for (size_t i = 0; row->choices[i]; i++)
            mr_buf_printf(at->out, "%s%s", i > 0 ? " | " : "", row->choices[i]);
    } else if (row->type == MR_T_SIZE || row->type == MR_T_DURATION || row->type == MR_T_INT || row->type == MR_T_REAL) {
        mr_unit_range_put(row, at->out);
    }
    if (mr_row_has(row, MR_OPT_FIXED)) {
        mr_buf_puts(at->out, at->out->n > empty ? "; " : "");
        mr_buf_puts(at->out, "a reload cannot change it");
    }
    if (at->out->n == empty)
        at->out->n = before;
}

/* Texts with a colon or the like need quotes; all other defaults are plain. */
static void put_value(struct mr_buf *out, const struct mr_option *row)
{
    bool quotes = mr_row_is_text(row) && strpbrk(row->def, ":#{}[],&*!|>'\"%@`") != NULL;
    if (row->type == MR_T_STRINGS)
        mr_buf_printf(out, "[%s]", row->def);
    else
        mr_buf_printf(out, quotes ? "\"%s\"" : "%s", row->def);
}

static void put_blank(struct mr_buf *out, const struct mr_option *row)
{
    if (row->type == MR_T_SECRET)
        mr_buf_puts(out, "\"${env:NAME}\"");
    else if (row->type == MR_T_SECRETS)
        mr_buf_puts(out, "[\"${env:NAME}\"]");
    else if (row->type == MR_T_PAIRS)
        mr_buf_puts(out, "{name: value}");
    else if (row->type == MR_T_ENUM)
        mr_buf_puts(out, row->choices[0]);
    else
        mr_buf_puts(out, "...");
}

static void put_rows(struct place at, const struct mr_option *rows);

static bool has_default(const struct mr_option *rows)
{
    for (const struct mr_option *row = rows; row && row->name; row++) {
        if (row->def || (row->type == MR_T_MAP && !mr_row_has(row, MR_OPT_PRESENT) && has_default(row->sub)))
            return true;
    }
    return false;
}

static void put_map(struct place at, const struct mr_option *row)
{
    if (mr_row_has(row, MR_OPT_PRESENT) || row->type != MR_T_MAP || !has_default(row->sub))
        at.commented = true; /* being there means something, or nothing would be below it */
    comment(&at, row->doc);
    margin(&at);
    mr_buf_printf(at.out, "%s:\n", row->name);
    at.indent++;
    if (row->type != MR_T_MAP) { /* one entry of it */
        margin(&at);
        mr_buf_puts(at.out, row->type == MR_T_LIST ? "-\n" : "name:\n");
        at.indent++;
    }
    put_rows(at, row->sub);
}

static void put_plain(struct place at, const struct mr_option *row)
{
    comment(&at, row->doc);
    if (!row->def)
        at.commented = true;
    margin(&at);
    mr_buf_printf(at.out, "%s: ", row->name);
    if (row->def)
        put_value(at.out, row);
    else
        put_blank(at.out, row);
    remark(&at, row);
    if (mr_row_has(row, MR_OPT_MANDATORY))
        mr_buf_puts(at.out, "  # must be given");
    mr_buf_putc(at.out, '\n');
}

static void put_rows(struct place at, const struct mr_option *rows)
{
    for (const struct mr_option *row = rows; row && row->name; row++) {
        if (at.indent == 0)
            mr_buf_putc(at.out, '\n');
        if (row->type == MR_T_MAP || row->type == MR_T_LIST || row->type == MR_T_NAMED)
            put_map(at, row);
        else
            put_plain(at, row);
    }
}

void mr_config_sample(const struct mr_door *const *doors, size_t count, struct mr_buf *out)
{
    struct place at = {.out = out};
    comment(&at, "The whole config of millrace with its defaults: what is not here keeps the value that is shown, so delete what you do not change. "
                 "Made by `millrace config sample`; docs/config.md has the same as tables.");
    put_rows(at, mr_root_rows());
    for (size_t i = 0; i < count; i++)
        put_rows(at, doors[i]->hub_options);
    mr_buf_putc(out, '\n');
    comment(&at, MR_SOURCES_DOC);
    mr_buf_puts(out, "sources:\n");
    for (size_t i = 0; i < count; i++) {
        struct place door = {.out = out, .indent = 1, .commented = true};
        margin(&door);
        mr_buf_printf(out, "my_%s:\n", doors[i]->name);
        door.indent = 2;
        comment(&door, doors[i]->doc);
        margin(&door);
        mr_buf_printf(out, "%s:\n", doors[i]->name);
        door.indent = 3;
        put_rows(door, doors[i]->options);
    }
}
