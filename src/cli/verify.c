/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - the zone held against the state: every decided file there, its size (and with --deep its checksum, rows
 * and lines), and no data file that nobody decided. */
#include "cli.h"

#include "millrace/zone.h"

#include <inttypes.h>
#include <stdatomic.h>
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

struct to_check {
    struct mr_file_check check;
    struct mr_err err;
};

struct verifying {
    struct beside b;
    bool deep;
    struct to_check *page_files; /* of the page at hand */
    size_t page_files_count, page_files_cap;
    atomic_size_t next; /* of them, for whichever worker is free */
    struct mr_err list_err;
    struct orphan {
        char *path;
        int64_t bytes;
    } * orphans; /* unknown when the zone was listed */
    size_t orphans_count;
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

static void to_be_checked(struct verifying *v, const struct mr_zone_file *f, const char *path)
{
    if (v->page_files_count == v->page_files_cap) {
        v->page_files_cap = v->page_files_cap ? v->page_files_cap * 2 : 256;
        v->page_files = realloc(v->page_files, v->page_files_cap * sizeof *v->page_files);
        if (!v->page_files)
            abort();
    }
    v->page_files[v->page_files_count++] = (struct to_check){.check = {.path = path, .bytes = f->bytes, .rows = f->rows, .crc32c = f->crc32c, .deep = v->deep}};
}

static void check_run(void *arg) /* Runs on: worker, several at once */
{
    struct verifying *v = arg;
    for (size_t i; (i = atomic_fetch_add(&v->next, 1)) < v->page_files_count;) {
        struct to_check *f = &v->page_files[i];
        f->err.code = mr_zone_check_file(v->b.zone, &f->check, &f->err);
    }
}

static void tell(struct verifying *v, const struct to_check *f)
{
    static const char *const states[] = {[MR_FILE_OK] = "ok",
                                         [MR_FILE_MISSING] = "missing",
                                         [MR_FILE_SIZE] = "wrong size",
                                         [MR_FILE_CRC] = "wrong checksum",
                                         [MR_FILE_ROWS] = "wrong number of rows, or a line that is not JSON"};
    if (f->err.code == MR_OK && f->check.state == MR_FILE_OK)
        return;
    printf("bad  %s: %s\n", f->check.path, f->err.code != MR_OK ? f->err.msg : states[f->check.state]);
    v->bad++;
}

static void check_page(struct verifying *v)
{
    atomic_store(&v->next, 0);
    beside_work_wide(&v->b, check_run, v);
    for (size_t i = 0; i < v->page_files_count; i++)
        tell(v, &v->page_files[i]);
    v->page_files_count = 0;
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
                to_be_checked(v, file, v->known[v->known_count - 1]);
        }
    }
    beside_done(&v->b, err);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_known(const struct verifying *v, const char *path)
{
    return v->known_count && bsearch(&path, v->known, v->known_count, sizeof *v->known, by_text);
}

static void on_zone_file(void *arg, const char *path, int64_t bytes)
{
    struct verifying *v = arg;
    if (is_known(v, path))
        return;
    struct orphan *grown = realloc(v->orphans, (v->orphans_count + 1) * sizeof *grown);
    char *copy = strdup(path);
    if (!grown || !copy)
        abort();
    v->orphans = grown;
    v->orphans[v->orphans_count++] = (struct orphan){copy, bytes};
}

static void list_run(void *arg) /* Runs on: worker */
{
    struct verifying *v = arg;
    v->list_err.code = mr_zone_list(v->b.zone, on_zone_file, v, &v->list_err);
}

/* From where it had come to the newest landing. */
static enum mr_code read_store(struct verifying *v, struct mr_err *err)
{
    do {
        mr_store_landings(v->b.store, (struct mr_str){0}, v->after, PAGE, on_landings, v);
        beside_await(&v->b);
        if (v->b.err.code != MR_OK) {
            *err = v->b.err;
            return err->code;
        }
        check_page(v);
    } while (v->page > 0);
    if (v->known_count)
        qsort(v->known, v->known_count, sizeof *v->known, by_text);
    return MR_OK;
}

static void tell_orphans(struct verifying *v)
{
    for (size_t i = 0; i < v->orphans_count; i++) {
        if (is_known(v, v->orphans[i].path))
            continue;
        printf("orphan %s: %" PRId64 " bytes that no landing decided\n", v->orphans[i].path, v->orphans[i].bytes);
        v->bad++;
    }
}

/* What landed while the zone was listed is no orphan: the store is asked again after it. */
static enum mr_code verify(struct verifying *v, struct mr_err *err)
{
    if (read_store(v, err) != MR_OK)
        return err->code;
    beside_work(&v->b, list_run, v);
    if (v->list_err.code != MR_OK) {
        *err = v->list_err;
        return err->code;
    }
    if (v->orphans_count && read_store(v, err) != MR_OK)
        return err->code;
    tell_orphans(v);
    return MR_OK;
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
        code = beside_zone(&v.b, config, &err);
        if (code == MR_OK)
            code = verify(&v, &err);
        beside_close(&v.b);
    }
    mr_config_free(config);
    for (size_t i = 0; i < v.known_count; i++)
        free(v.known[i]);
    free(v.known);
    free(v.page_files);
    for (size_t i = 0; i < v.orphans_count; i++)
        free(v.orphans[i].path);
    free(v.orphans);
    if (code != MR_OK) {
        fprintf(stderr, "millrace verify: %s\n", err.msg);
        return 1;
    }
    printf("%" PRId64 " files, %" PRId64 " rows, %" PRId64 " bytes; %" PRId64 " bad, %" PRId64 " lost, %" PRId64
           " being published\n",
           v.files, v.rows, v.bytes, v.bad, v.lost, v.waiting);
    return v.bad || v.lost ? 1 : 0;
}
