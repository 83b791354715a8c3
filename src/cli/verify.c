/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - the zone held against the state: every decided file there, its size (and with --deep its checksum, rows
 * and lines), and no data file that nobody decided. */
#include "cli.h"

#include "millrace/zone.h"

#include <inttypes.h>
#include <stdlib.h>

static const char help[] = "usage: millrace verify -c FILE [--deep]\n"
                           "\n"
                           "Holds the zone against the state store. A line for each file that is missing or damaged, "
                           "or that nobody decided, then a summary.\n"
                           "\n"
                           "  --deep   read every file: checksum, number of rows, each line JSON\n"
                           "\n"
                           "Exit code 0 if all is well, 1 if not. Beside a running server, landings that are being "
                           "published are counted, not told.\n";

enum { PAGE = 256 };

struct verifying {
    struct beside b;
    struct mr_zone *zone;
    bool deep;
    int64_t after, files, rows, bytes, bad, waiting, lost;
    char **known; /* paths that the store knows, for orphans */
    size_t known_count, known_cap, page;
};

static void know(struct verifying *v, struct mr_str path)
{
    if (v->known_count == v->known_cap) {
        v->known_cap = v->known_cap ? v->known_cap * 2 : 1024;
        v->known = realloc(v->known, v->known_cap * sizeof *v->known);
        if (!v->known)
            abort();
    }
    v->known[v->known_count++] = strndup(path.p, path.n);
}

static void check_file(struct verifying *v, const struct mr_zone_file *f, const char *path)
{
    static const char *const states[] = {[MR_FILE_OK] = "ok",
                                         [MR_FILE_MISSING] = "missing",
                                         [MR_FILE_SIZE] = "wrong size",
                                         [MR_FILE_CRC] = "wrong checksum",
                                         [MR_FILE_ROWS] = "wrong number of rows, or a line that is not JSON"};
    struct mr_file_check check = {
        .path = path, .bytes = f->bytes, .rows = f->rows, .crc32c = f->crc32c, .deep = v->deep};
    struct mr_err err = {0};
    if (mr_zone_check_file(v->zone, &check, &err) != MR_OK) {
        printf("bad  %s: %s\n", path, err.msg);
        v->bad++;
    } else if (check.state != MR_FILE_OK) {
        printf("bad  %s: %s\n", path, states[check.state]);
        v->bad++;
    }
}

static void on_landings(void *arg, const struct mr_err *err, const struct mr_landing_row *rows, size_t count)
{
    struct verifying *v = arg;
    v->page = count;
    for (size_t i = 0; i < count; i++) {
        v->after = rows[i].number;
        bool published = mr_str_eq(rows[i].state, MR_STR("published"));
        v->waiting += mr_str_eq(rows[i].state, MR_STR("decided"));
        if (mr_str_eq(rows[i].state, MR_STR("lost"))) {
            v->lost++;
            printf("lost %.*s: millrace replay --landing %.*s reads it again\n", (int)rows[i].landing.n,
                   rows[i].landing.p, (int)rows[i].landing.n, rows[i].landing.p);
        }
        for (size_t f = 0; f < rows[i].files_count; f++) {
            const struct mr_zone_file *file = &rows[i].files[f];
            know(v, file->path);
            v->files++;
            v->rows += file->rows;
            v->bytes += file->bytes;
            if (published)
                check_file(v, file, v->known[v->known_count - 1]);
        }
    }
    beside_done(&v->b, err);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void on_zone_file(void *arg, const char *path, int64_t bytes)
{
    struct verifying *v = arg;
    if (v->known_count && bsearch(&path, v->known, v->known_count, sizeof *v->known, by_text))
        return;
    printf("orphan %s: %" PRId64 " bytes that no landing decided\n", path, bytes);
    v->bad++;
}

static enum mr_code verify(struct verifying *v, struct mr_err *err)
{
    do {
        mr_store_landings(v->b.store, (struct mr_str){0}, v->after, PAGE, on_landings, v);
        beside_await(&v->b);
        if (v->b.err.code != MR_OK) {
            *err = v->b.err;
            return err->code;
        }
    } while (v->page > 0);
    if (v->known_count)
        qsort(v->known, v->known_count, sizeof *v->known, by_text);
    return mr_zone_list(v->zone, on_zone_file, v, err);
}

int mr_cli_verify(int argc, char **argv)
{
    struct verifying v = {0};
    const struct cli_flag flags[] = {{"--deep", NULL, &v.deep}, {0}};
    struct cli_args args;
    struct mr_err err = {0};
    int exit_code;
    if (!cli_parse(argc, argv, help, flags, &args, &exit_code))
        return exit_code;
    struct mr_config *config = cli_config(args.config);
    if (!config)
        return 2;
    enum mr_code code = beside_open(&v.b, config, false, &err);
    if (code == MR_OK) {
        code = mr_zone_open(config->zone.url, &v.zone, &err);
        if (code == MR_OK) {
            code = verify(&v, &err);
            mr_zone_close(v.zone);
        }
        beside_close(&v.b);
    }
    mr_config_free(config);
    for (size_t i = 0; i < v.known_count; i++)
        free(v.known[i]);
    free(v.known);
    if (code != MR_OK) {
        fprintf(stderr, "millrace verify: %s\n", err.msg);
        return 1;
    }
    printf("%" PRId64 " files, %" PRId64 " rows, %" PRId64 " bytes; %" PRId64 " bad, %" PRId64 " lost, %" PRId64
           " being published\n",
           v.files, v.rows, v.bytes, v.bad, v.lost, v.waiting);
    return v.bad || v.lost ? 1 : 0;
}
