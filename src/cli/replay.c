/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include "app/app.h"

#include "millrace/clock.h"

#include <stdio.h>

static const char help[] =
    "usage: millrace replay -c FILE SOURCE --from TIME [--to TIME] [--cause CAUSE]\n"
    "       millrace replay -c FILE --landing ID\n"
    "\n"
    "SOURCE: its refused requests that were kept (quarantine: full) are judged again by the config of now, as of when they came; who passes lands,\n"
    "once, also if this is run again. A secret that was rotated, a wrong clock, a body_limit: put it right first.\n"
    "  --from TIME    those that came from then on, such as 2026-11-23T02:54:10Z\n"
    "  --to TIME      and up to then; default: now\n"
    "  --cause CAUSE  only those refused for it: signature, timestamp, missing, format, size, coding\n"
    "\n"
    "  --landing ID   lands again what landing ID held, from the input that was kept for it (a webhook's queue segments). The records carry the\n"
    "                 run id under `replay` and keep their `id`; the live position does not move. `millrace verify` and the alert landing_lost name\n"
    "                 the landings that need it.\n"
    "\n"
    "Only with the server stopped.\n";

static bool read_time(const char *flag, const char *text, int64_t *us)
{
    if (mr_time_parse(mr_str_c(text), us))
        return true;
    fprintf(stderr, "millrace replay: %s: a time such as 2026-11-23T02:54:10Z, not \"%s\"\n", flag, text);
    return false;
}

int mr_cli_replay(int argc, char **argv)
{
    const char *landing = NULL, *from = NULL, *to = NULL, *cause = NULL;
    const struct cli_flag flags[] = {{"--landing", &landing, NULL}, {"--from", &from, NULL}, {"--to", &to, NULL}, {"--cause", &cause, NULL}, {0}};
    struct cli_args args;
    int exit_code;
    if (!cli_parse(argc, argv, help, flags, &args, &exit_code))
        return exit_code;
    bool of_landing = landing && args.words_count == 0 && !from && !to && !cause;
    bool of_source = !landing && args.words_count == 1 && from;
    if (!of_landing && !of_source) {
        fprintf(stderr, "millrace replay: give SOURCE --from TIME, or --landing ID\n\n%s", help);
        return 2;
    }
    struct mr_app_requeue requeue = {.to_us = mr_wall_us(), .cause = cause};
    struct mr_app_options options = {.config_path = args.config, .once = true, .replay_landing = landing};
    if (of_source) {
        requeue.source = args.words[0];
        if (!read_time("--from", from, &requeue.from_us) || (to && !read_time("--to", to, &requeue.to_us)))
            return 2;
        options.requeue = &requeue;
    }
    return mr_app_run(&options);
}
