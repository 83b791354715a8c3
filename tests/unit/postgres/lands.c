/* SPDX-License-Identifier: Apache-2.0 */
/* lands.c - types.h, driven from outside: fidelity.py asks a real server with the SQL that is written here, and hands back what it sent.
 *
 *      lands describe EXPRESSION                              the statement that describes a relation
 *      lands stamp EXPRESSION                                 the expression that tells whether it has changed
 *      lands result WORDS                                     the same of a query's columns: name, oid, typmod, name, …
 *      lands keep CELLS NAME …                                the columns' names; of them, those given
 *      lands select CELLS STYLE MAX_ROW ALIAS                 the select list
 *      lands rows CELLS STYLE MAX_ROW SKIP COPY               a row: the object, each value, what was omitted
 *      lands speed CELLS STYLE MAX_ROW SKIP COPY ROUNDS       how fast
 *      lands float8|float4                                    numbers in, in the machine's order; a line each out
 *
 * CELLS, WORDS and COPY are files; words end with NUL, NULL is \1. STYLE is a word of letters: n(umeric) b(igint) j(son) as strings, h(ex). */
#include "sources/postgres/numbers.h"
#include "sources/postgres/types.h"

#include "millrace/clock.h"

#include <stdio.h>
#include <stdlib.h>

static void need(bool fine, const char *what)
{
    if (!fine) {
        fprintf(stderr, "lands: %s\n", what);
        exit(2);
    }
}

static struct mr_str load(const char *path)
{
    size_t n = 0, cap = 1 << 16;
    FILE *f = fopen(path, "rb");
    char *p = malloc(cap);
    need(f && p, path);
    for (size_t got; (got = fread(p + n, 1, cap - n, f)) > 0;) {
        n += got;
        if (n == cap)
            need((p = realloc(p, cap *= 2)) != NULL, "memory");
    }
    fclose(f);
    return (struct mr_str){p, n};
}

struct words {
    const char **items;
    size_t count;
};

static struct words words_of(const char *path)
{
    struct mr_str file = load(path);
    struct words w = {calloc(file.n + 1, sizeof *w.items), 0};
    need(w.items, "memory");
    for (const char *p = file.p; p < file.p + file.n; p += strlen(p) + 1)
        w.items[w.count++] = strcmp(p, "\1") == 0 ? NULL : p;
    return w;
}

static const char *cell(void *arg, size_t row, size_t column)
{
    return ((const struct words *)arg)->items[row * PG_DESCRIBE_CELLS + column];
}

static struct pg_columns columns_of(const char *path)
{
    struct words w = words_of(path);
    struct pg_columns columns;
    struct mr_err err;
    need(w.count % PG_DESCRIBE_CELLS == 0, "cells do not make whole rows");
    if (pg_columns_read(&columns, w.count / PG_DESCRIBE_CELLS, cell, &w, &err) != MR_OK) {
        fprintf(stderr, "%s: %s\n", mr_code_name(err.code), err.msg);
        exit(1);
    }
    return columns;
}

static struct pg_style style_of(const char *letters)
{
    return (struct pg_style){.numeric_string = strchr(letters, 'n'), .bigint_string = strchr(letters, 'b'), .json_string = strchr(letters, 'j'),
                             .bytea = strchr(letters, 'h') ? PG_BYTEA_HEX : PG_BYTEA_BASE64};
}

static void print(struct mr_buf *b)
{
    need(!b->failed, "the buffer failed");
    if (b->n)
        fwrite(b->p, 1, b->n, stdout);
}

/* The length of the row at p, as COPY lays it out: a file does not say where its messages end. */
static size_t row_length(const unsigned char *p, const unsigned char *end)
{
    const unsigned char *at = p + 2;
    need(end - p >= 2, "the file is cut");
    int fields = (int16_t)pg_be16(p);
    for (int i = 0; i < fields; i++) {
        need(end - at >= 4, "the file is cut");
        int32_t n = (int32_t)pg_be32(at);
        at += 4 + (n > 0 ? n : 0);
        need(at <= end, "the file is cut");
    }
    return (size_t)(at - p);
}

/* Message by message, as libpq gives them: the header comes with the first row. */
struct file {
    struct mr_str bytes;
    size_t at;
    struct pg_copy copy;
};

static bool next_row(struct file *f, struct mr_str *row)
{
    enum pg_copy_what what;
    struct mr_err err;
    const unsigned char *p = (const unsigned char *)f->bytes.p, *end = p + f->bytes.n;
    size_t header = f->at == 0 ? 19 : 0;
    do {
        size_t n = header + row_length(p + f->at + header, end);
        *row = (struct mr_str){f->bytes.p + f->at, n};
        f->at += n;
        header = 0;
        if (pg_copy_take(&f->copy, row, &what, &err) != MR_OK)
            need(false, err.msg);
    } while (what == PG_COPY_NOTHING);
    need(what == PG_COPY_ROW || f->at == f->bytes.n, "more behind the end");
    return what == PG_COPY_ROW;
}

struct job {
    struct pg_columns columns;
    struct pg_style style;
    uint64_t max_row;
    size_t skip;
    struct file file;
};

static struct job job_of(char **argv)
{
    return (struct job){.columns = columns_of(argv[2]), .style = style_of(argv[3]), .max_row = strtoull(argv[4], NULL, 10), .skip = strtoull(argv[5], NULL, 10),
                        .file = {.bytes = load(argv[6])}};
}

static int rows(char **argv)
{
    struct job job = job_of(argv);
    struct pg_value *values = calloc(job.columns.count + 1, sizeof *values);
    struct mr_buf out, omitted;
    struct mr_str row;
    struct mr_err err;
    need(values, "memory");
    mr_buf_init(&out, SIZE_MAX / 2);
    mr_buf_init(&omitted, SIZE_MAX / 2);
    while (next_row(&job.file, &row)) {
        mr_buf_clear(&out);
        mr_buf_clear(&omitted);
        if (pg_row_put(&job.columns, &job.style, row, job.skip, job.max_row, &out, values, &omitted, &err) != MR_OK)
            need(false, err.msg);
        print(&out);
        for (size_t i = 0; i < job.columns.count; i++) {
            putchar(0);
            fwrite(out.p + values[i].at, 1, values[i].n, stdout);
        }
        putchar(0);
        print(&omitted);
        putchar(0);
    }
    return 0;
}

static int speed(char **argv)
{
    enum { BATCH = 1 << 20 };
    struct job job = job_of(argv);
    struct pg_value *values = calloc(job.columns.count + 1, sizeof *values);
    struct mr_buf out;
    struct mr_str row;
    struct mr_err err;
    size_t count = 0, bytes = 0, total = 0;
    need(values, "memory");
    mr_buf_init(&out, SIZE_MAX / 2);
    for (struct file f = job.file; next_row(&f, &row);)
        count++;
    struct mr_str *all = calloc(count + 1, sizeof *all);
    need(all, "memory");
    count = 0;
    for (struct file f = job.file; next_row(&f, &row);)
        all[count++] = row;
    int64_t begun = mr_mono_us();
    for (int round = atoi(argv[7]); round > 0; round--)
        for (size_t i = 0; i < count; i++, total++) {
            if (out.n > BATCH) {
                bytes += out.n;
                mr_buf_clear(&out);
            }
            if (pg_row_put(&job.columns, &job.style, all[i], job.skip, job.max_row, &out, values, NULL, &err) != MR_OK)
                need(false, err.msg);
        }
    double s = (double)(mr_mono_us() - begun) / 1e6;
    bytes += out.n;
    printf("%zu rows of %zu columns in %.3f s: %.0f rows/s, %.0f ns a row, %.0f MB/s\n", total, job.columns.count, s, (double)total / s, s * 1e9 / (double)total, (double)bytes / s / 1e6);
    return 0;
}

static int floats(bool single)
{
    char text[PG_NUMBER_ROOM];
    for (;;) {
        double v;
        float f;
        if (single ? fread(&f, sizeof f, 1, stdin) != 1 : fread(&v, sizeof v, 1, stdin) != 1)
            return 0;
        char *end = single ? pg_put_float4(text, f) : pg_put_float8(text, v);
        *end++ = '\n';
        fwrite(text, 1, (size_t)(end - text), stdout);
    }
}

static void result(const char *path, struct mr_buf *sql)
{
    struct words w = words_of(path);
    struct pg_result_column *columns = calloc(w.count + 1, sizeof *columns);
    need(columns, "memory");
    for (size_t i = 0; i < w.count / 3; i++)
        columns[i] = (struct pg_result_column){w.items[3 * i], (uint32_t)strtoul(w.items[3 * i + 1], NULL, 10), atoi(w.items[3 * i + 2])};
    pg_describe_result(sql, columns, w.count / 3);
}

static int keep(int argc, char **argv)
{
    struct pg_columns c = columns_of(argv[2]);
    struct mr_err err;
    if (pg_columns_keep(&c, (const char *const *)(argv + 3), (size_t)(argc - 3), &err) != MR_OK) {
        printf("%s: %s", mr_code_name(err.code), err.msg);
        return 0;
    }
    for (size_t i = 0; i < c.count; i++)
        printf("%s %d %s%c", c.items[i].type, c.items[i].not_null, c.items[i].name, 0);
    pg_columns_free(&c);
    return 0;
}

int main(int argc, char **argv)
{
    struct mr_buf sql;
    need(argc > 1, "what?");
    const char *what = argv[1];
    mr_buf_init(&sql, SIZE_MAX / 2);
    if (strcmp(what, "rows") == 0 && argc == 7)
        return rows(argv);
    if (strcmp(what, "speed") == 0 && argc == 8)
        return speed(argv);
    if (strncmp(what, "float", 5) == 0)
        return floats(what[5] == '4');
    if (strcmp(what, "keep") == 0 && argc >= 3)
        return keep(argc, argv);
    if (strcmp(what, "describe") == 0 && argc == 3) {
        pg_describe_relation(&sql, argv[2]);
    } else if (strcmp(what, "stamp") == 0 && argc == 3) {
        pg_describe_stamp(&sql, argv[2]);
    } else if (strcmp(what, "result") == 0 && argc == 3) {
        result(argv[2], &sql);
    } else {
        need(strcmp(what, "select") == 0 && argc == 6, "what?");
        struct pg_columns c = columns_of(argv[2]);
        struct pg_style style = style_of(argv[3]);
        pg_select_list(&c, &style, strtoull(argv[4], NULL, 10), argv[5][0] ? argv[5] : NULL, &sql);
    }
    print(&sql);
    return 0;
}
