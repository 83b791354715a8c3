/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include "app/app.h"
#include "millrace/fault.h"

static const char help[] =
    "usage: millrace run -c FILE [--once]\n"
    "\n"
    "Serves: opens the listeners, takes the world in, lands it in the raw zone, until SIGTERM or SIGINT.\n"
    "\n"
    "  -c FILE    the config (see: millrace config docs)\n"
    "  --once     open no listener; land what is there now, then end. Paused sources are skipped and named\n"
    "  --points   list the named crash and failure points of this build, one a line\n"
    "\n"
    "SIGTERM drains within shutdown_timeout and exits 0; SIGHUP reads FILE again.\n"
    "Exit codes: 0 fine; 1 the work failed or the world refused; 2 config, data_dir in use, or a store that is not the "
    "zone's.\n";

static int print_points(void)
{
#if MR_FAULTS
    for (int p = 0; p < MR_POINT_COUNT; p++)
        printf("%s\n", mr_point_name((enum mr_point)p));
    return 0;
#else
    fprintf(stderr, "millrace: this build has no fault points; use the preset debug, tsan or faults\n");
    return 2;
#endif
}

int mr_cli_run(int argc, char **argv)
{
    bool once = false, points = false;
    for (int i = 1; i < argc; i++) /* needs no config */
        points |= strcmp(argv[i], "--points") == 0;
    if (points)
        return print_points();
    const struct cli_flag flags[] = {{"--once", NULL, &once}, {0}};
    struct cli_args args;
    int exit_code;
    if (!cli_parse(argc, argv, help, flags, &args, &exit_code))
        return exit_code;
    struct mr_app_options options = {.config_path = args.config, .once = once};
    return mr_app_run(&options);
}
