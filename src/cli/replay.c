/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include "app/app.h"

static const char help[] =
    "usage: millrace replay -c FILE --landing ID\n"
    "\n"
    "Lands again what landing ID held, from the input that was kept for it (a webhook's queue segments). The records "
    "carry the\n"
    "run id under `replay` and keep their `id`; the live position does not move. Only with the server stopped.\n"
    "`millrace verify` and the alert landing_lost name the landings that need it.\n";

int mr_cli_replay(int argc, char **argv)
{
    const char *landing = NULL;
    const struct cli_flag flags[] = {{"--landing", &landing, NULL}, {0}};
    struct cli_args args;
    int exit_code;
    if (!cli_parse(argc, argv, help, flags, &args, &exit_code))
        return exit_code;
    if (!landing || args.words_count) {
        fprintf(stderr, "millrace replay: give --landing ID\n\n%s", help);
        return 2;
    }
    struct mr_app_options options = {.config_path = args.config, .once = true, .replay_landing = landing};
    return mr_app_run(&options);
}
