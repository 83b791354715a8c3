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
    "       millrace config metrics  the metrics reference, in Markdown\n"
    "\n"
    "To check a config file: millrace check -c FILE --offline\n";

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

static int print_page(const struct page *page)
{
    struct mr_buf out;
    mr_buf_init(&out, PAGE_MAX);
    page->make(mr_doors, mr_doors_count, &out);
    bool written = !out.failed && fwrite(out.p, 1, out.n, stdout) == out.n && fflush(stdout) == 0;
    mr_buf_free(&out);
    if (!written)
        fputs("millrace config: cannot write the page to stdout\n", stderr);
    return written ? 0 : EXIT_WORLD;
}

int mr_cli_config(int argc, char **argv)
{
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    for (size_t i = 0; argc == 2 && i < MR_COUNT(pages); i++) {
        if (strcmp(argv[1], pages[i].name) == 0)
            return print_page(&pages[i]);
    }
    fputs(usage, stderr);
    return EXIT_USAGE;
}
