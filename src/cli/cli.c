/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include "sources/doors.h"

#include <stdio.h>
#include <stdlib.h>

static const struct verb {
    const char *name, *does;
    int (*run)(int argc, char **argv);
} verbs[] = {
    {"run", "serve: take the world in and land it in the raw zone", mr_cli_run},
    {"check", "try the config and everything that it names; change nothing", mr_cli_check},
    {"status", "sources, positions, last landing, open alerts", mr_cli_status},
    {"state", "show, reset, set, backup, adopt: the positions that decide what is read next", mr_cli_state},
    {"pause", "stop taking from a source until it is resumed", mr_cli_pause},
    {"resume", "take from a paused source again", mr_cli_pause},
    {"replay", "land again what was captured before", mr_cli_replay},
    {"verify", "hold the zone against the state: every file there, whole", mr_cli_verify},
    {"send", "sign a body as the vendor would and POST it", mr_cli_send},
    {"explain", "would this captured request be accepted, and if not, why", mr_cli_explain},
    {"config", "pages from the tables: the config's JSON Schema, reference and sample; the metrics", mr_cli_config},
};

static void usage(FILE *to)
{
    fputs("usage: millrace VERB -c FILE …\n\nmillrace brings a company's outside world into one raw zone: nothing is "
          "lost, nothing lands twice.\n\n",
          to);
    for (size_t i = 0; i < MR_COUNT(verbs); i++)
        fprintf(to, "  %-8s %s\n", verbs[i].name, verbs[i].does);
    fputs("\nmillrace VERB --help says more. A first config: millrace config sample\n", to);
}

int mr_cli(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("millrace %s\n", MR_VERSION);
        return 0;
    }
    for (size_t i = 0; i < MR_COUNT(verbs); i++)
        if (strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].run(argc - 1, argv + 1);
    fprintf(stderr, "millrace: no verb \"%s\"; there are:", argv[1]);
    for (size_t i = 0; i < MR_COUNT(verbs); i++)
        fprintf(stderr, " %s", verbs[i].name);
    fputc('\n', stderr);
    return 2;
}

static const struct cli_flag *flag_of(const struct cli_flag *flags, const char *name)
{
    for (; flags && flags->name; flags++)
        if (strcmp(flags->name, name) == 0)
            return flags;
    return NULL;
}

bool cli_parse(int argc, char **argv, const char *help, const struct cli_flag *flags, struct cli_args *out,
               int *exit_code)
{
    *out = (struct cli_args){0};
    *exit_code = 2;
    int words = 0; /* moved to the front of argv, behind the verb */
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        const struct cli_flag *flag = flag_of(flags, arg);
        if (only_words || arg[0] != '-' || strcmp(arg, "-") == 0) {
            argv[++words] = argv[i];
        } else if (strcmp(arg, "--") == 0) {
            only_words = true;
        } else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            fputs(help, stdout);
            *exit_code = 0;
            return false;
        } else if (strcmp(arg, "-c") == 0 || strcmp(arg, "--config") == 0 || (flag && flag->value)) {
            if (i + 1 == argc) {
                fprintf(stderr, "millrace %s: %s needs a value\n\n%s", argv[0], arg, help);
                return false;
            }
            *(flag ? flag->value : &out->config) = argv[++i];
        } else if (flag) {
            *flag->set = true;
        } else {
            fprintf(stderr, "millrace %s: no option %s\n\n%s", argv[0], arg, help);
            return false;
        }
    }
    if (!out->config) {
        fprintf(stderr, "millrace %s: which config? Give -c FILE\n\n%s", argv[0], help);
        return false;
    }
    out->words = (const char *const *)argv + 1;
    out->words_count = words;
    return true;
}

struct mr_config *cli_config(const char *path)
{
    struct mr_config *config;
    struct mr_config_errors *errors;
    if (mr_config_load(path, mr_doors, mr_doors_count, &config, &errors) == MR_OK)
        return config;
    mr_config_errors_print(errors, stderr);
    mr_config_errors_free(errors);
    return NULL;
}
