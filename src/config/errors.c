/* SPDX-License-Identifier: Apache-2.0 */
#include "config/errors.h"

#include "config/memory.h"

#include <stdarg.h>
#include <stdlib.h>

enum { MESSAGE_MAX = 1024, QUOTE_MAX = 60, TEXT_MAX = 2 << 20 };

struct fault {
    struct mr_where where;
    size_t number; /* keeps the order of arrival for faults of one place */
    char *text;
};

struct mr_config_errors {
    char *file;
    const struct mr_document *document;
    struct fault *faults;
    size_t count, cap, left_off;
};

struct mr_config_errors *mr_config_errors_new(const char *file)
{
    struct mr_config_errors *errors = mr_config_alloc(1, sizeof *errors);
    errors->file = mr_config_dup(mr_str_c(file));
    return errors;
}

void mr_config_errors_free(struct mr_config_errors *errors)
{
    if (!errors)
        return;
    for (size_t i = 0; i < errors->count; i++)
        free(errors->faults[i].text);
    free(errors->faults);
    free(errors->file);
    free(errors);
}

void mr_config_errors_document(struct mr_config_errors *errors, const struct mr_document *document)
{
    errors->document = document;
}

size_t mr_config_errors_count(const struct mr_config_errors *errors)
{
    return errors ? errors->count + errors->left_off : 0;
}

/* A message goes to a terminal: no control character of the file may reach it (C1 ones are C2 80 .. C2 9F in UTF-8). */
static void take_controls_out(char *s)
{
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)s[0], next = (unsigned char)s[1];
        if (c < 0x20 || c == 0x7f)
            s[0] = '?';
        else if (c == 0xc2 && next >= 0x80 && next < 0xa0)
            s[0] = s[1] = '?';
    }
}

/* A cut may have halved the last character: then its first bytes go too. */
static void trim_to_character(char *s, size_t n)
{
    size_t i = n;
    while (i > 0 && ((unsigned char)s[i - 1] & 0xc0) == 0x80)
        i--;
    unsigned char lead = i > 0 ? (unsigned char)s[i - 1] : 0;
    size_t wanted = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (i > 0 && n - (i - 1) < wanted)
        s[i - 1] = '\0';
}

void mr_config_error(struct mr_config_errors *errors, struct mr_where where, const char *fmt, ...)
{
    if (errors->count == MR_CONFIG_ERRORS_MAX) {
        errors->left_off++;
        return;
    }
    char text[MESSAGE_MAX];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n >= (int)sizeof text)
        trim_to_character(text, sizeof text - 1);
    take_controls_out(text);
    errors->faults = mr_config_grow(errors->faults, errors->count, &errors->cap, sizeof *errors->faults);
    errors->faults[errors->count] = (struct fault){where, errors->count, mr_config_dup(mr_str_c(text))};
    errors->count++;
}

struct mr_where mr_config_where(const struct mr_config_errors *errors, struct mr_where where, const char *path)
{
    if (!errors->document || !errors->document->root)
        return where;
    if (where.line == 0)
        return mr_node_at(errors->document->root, path)->at;
    const struct mr_entry *entry = mr_node_entry_at(errors->document->root, where);
    if (!entry || !entry->value)
        return where;
    const struct mr_node *found = mr_node_at(entry->value, path);
    return found == entry->value ? where : found->at;
}

static int by_position(const void *a, const void *b)
{
    const struct fault *x = a, *y = b;
    if (x->where.line != y->where.line)
        return x->where.line < y->where.line ? -1 : 1;
    if (x->where.column != y->where.column)
        return x->where.column < y->where.column ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

void mr_config_errors_text(struct mr_config_errors *errors, struct mr_buf *out)
{
    if (errors->count > 0)
        qsort(errors->faults, errors->count, sizeof *errors->faults, by_position);
    for (size_t i = 0; i < errors->count; i++) {
        const struct fault *f = &errors->faults[i];
        if (f->where.line > 0)
            mr_buf_printf(out, "%s:%d:%d: %s\n", errors->file, f->where.line, f->where.column, f->text);
        else
            mr_buf_printf(out, "%s: %s\n", errors->file, f->text);
    }
    if (errors->left_off > 0)
        mr_buf_printf(out, "%s: and %zu more\n", errors->file, errors->left_off);
}

void mr_config_errors_print(struct mr_config_errors *errors, FILE *to)
{
    struct mr_buf text;
    mr_buf_init(&text, TEXT_MAX);
    mr_config_errors_text(errors, &text);
    fputs(mr_buf_cstr(&text), to);
    mr_buf_free(&text);
}

void mr_config_quote(struct mr_buf *out, struct mr_str text)
{
    char cut[QUOTE_MAX + 1];
    size_t n = text.n < QUOTE_MAX ? text.n : QUOTE_MAX;
    if (n > 0)
        memcpy(cut, text.p, n);
    for (size_t i = 0; i < n; i++) {
        if (cut[i] == '\0')
            cut[i] = '?';
    }
    cut[n] = '\0';
    if (n < text.n)
        trim_to_character(cut, n);
    take_controls_out(cut);
    mr_buf_printf(out, "\"%s%s\"", cut, n < text.n ? "..." : "");
}
