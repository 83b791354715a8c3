/* SPDX-License-Identifier: Apache-2.0 */
/* cli/config.c - `millrace config schema|docs|sample|metrics`: the pages made from the tables, to stdout. Needs no
 * config file. */
#include "cli.h"
#include "millrace/metrics.h"
#include "sources/doors.h"

#include <stdio.h>
#include <string.h>

enum { PAGE_MAX = 4 << 20, EXIT_WORLD = 1, EXIT_USAGE = 2 };

static const char usage[] =
    "usage: millrace config schema   the JSON Schema of the config file, for editors and checks before a roll-out\n"
    "       millrace config docs     the config reference, in Markdown\n"
    "       millrace config sample   a whole config file with its defaults, commented: a place to start from\n"
    "       millrace config metrics  the metrics reference, in Markdown\n";
static const char hint[] = "\nTo check a config file: millrace check -c FILE --offline\n";

static void print_usage(FILE *to)
{
    fputs(usage, to);
    for (size_t i = 0; i < mr_doors_count; i++)
        if (mr_doors[i]->page)
            fprintf(to, "       millrace config %-8s %s\n", mr_doors[i]->page_name, mr_doors[i]->page_doc);
    fputs(hint, to);
}

static void metrics_page(const struct mr_door *const *doors, size_t count, struct mr_buf *out)
{
    (void)doors;
    (void)count;
    mr_metrics_reference(out);
}

static const struct page {
    const char *name;
    void (*make)(const struct mr_door *const *doors, size_t count, struct mr_buf *out);
} pages[] = {{"schema", mr_config_schema},
             {"docs", mr_config_reference},
             {"sample", mr_config_sample},
             {"metrics", metrics_page}};

/* false: there is no such page */
static bool make_page(const char *name, struct mr_buf *out)
{
    for (size_t i = 0; i < MR_COUNT(pages); i++)
        if (strcmp(name, pages[i].name) == 0) {
            pages[i].make(mr_doors, mr_doors_count, out);
            return true;
        }
    for (size_t i = 0; i < mr_doors_count; i++)
        if (mr_doors[i]->page && strcmp(name, mr_doors[i]->page_name) == 0) {
            mr_doors[i]->page(out);
            return true;
        }
    return false;
}

static int print_page(const char *name)
{
    struct mr_buf out;
    mr_buf_init(&out, PAGE_MAX);
    int code = make_page(name, &out) ? 0 : EXIT_USAGE;
    if (code == EXIT_USAGE) {
        print_usage(stderr);
    } else if (out.failed || fwrite(out.p, 1, out.n, stdout) != out.n || fflush(stdout) != 0) {
        fputs("millrace config: cannot write the page to stdout\n", stderr);
        code = EXIT_WORLD;
    }
    mr_buf_free(&out);
    return code;
}

int mr_cli_config(int argc, char **argv)
{
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        print_usage(stdout);
        return 0;
    }
    if (argc == 2)
        return print_page(argv[1]);
    print_usage(stderr);
    return EXIT_USAGE;
}
