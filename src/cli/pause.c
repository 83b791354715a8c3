/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

static const char help[] =
    "usage: millrace pause -c FILE SOURCE\n"
    "       millrace resume -c FILE SOURCE\n"
    "\n"
    "A paused source takes nothing in until it is resumed, across restarts; a running server sees it within a second.\n"
    "A paused webhook answers 503 with Retry-After. What was captured before still lands.\n";

int mr_cli_pause(int argc, char **argv)
{
    struct cli_args args;
    struct mr_err err = {0};
    struct beside b;
    int exit_code;
    if (!cli_parse(argc, argv, help, NULL, &args, &exit_code))
        return exit_code;
    if (args.words_count != 1) {
        fprintf(stderr, "millrace %s: which source?\n\n%s", argv[0], help);
        return 2;
    }
    struct mr_config *config = cli_config(args.config);
    if (!config)
        return 2;
    if (mr_config_find(config, args.words[0]) < 0) {
        fprintf(stderr, "millrace: no source \"%s\" in %s\n", args.words[0], args.config);
        mr_config_free(config);
        return 2;
    }
    if (beside_open(&b, config, true, &err) == MR_OK) {
        mr_store_pause(b.store, mr_str_c(args.words[0]), strcmp(argv[0], "pause") == 0, beside_on_done, &b);
        beside_await(&b);
        err = b.err;
        beside_close(&b);
    }
    mr_config_free(config);
    if (err.code != MR_OK) {
        fprintf(stderr, "millrace: %s\n", err.msg);
        return 1;
    }
    printf("%s %sd\n", args.words[0], argv[0]);
    return 0;
}
