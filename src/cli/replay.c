/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include "app/app.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: millrace replay -c FILE SOURCE[/STREAM] --from FROM [--to TO] [--run NAME] [--cause CAUSE]\n"
    "       millrace replay -c FILE --landing ID\n"
    "\n"
    "SOURCE, kafka: what the brokers still have lands again, under a run of its own: the records carry its name under `replay` and keep their `id`; live positions\n"
    "do not move. Cut off, it goes on where it was when it is run again.\n"
    "  --from FROM    records from this offset on, in each partition, or of this time and later, such as 2026-11-23T02:54:10Z\n"
    "  --to TO        and before this offset or time; default: what is there now\n"
    "  --run NAME     default: FROM..TO. The same range a second time needs another name\n"
    "\n"
    "SOURCE, postgres: rows whose watermark lies between the two times land again, as they are now, under a run of its own as with kafka.\n"
    "\n"
    "SOURCE, webhook: its refused requests that were kept (quarantine: full) are judged again by the config of now, as of when they came; who passes lands,\n"
    "once, also if this is run again. A secret that was rotated, a wrong clock, a body_limit: put it right first.\n"
    "  --from, --to   those that came from this time on, up to this one\n"
    "  --cause CAUSE  only those refused for it: signature, timestamp, missing, format, size, coding\n"
    "\n"
    "  --landing ID   lands again what landing ID held, from the input that was kept for it (a webhook's queue segments), or that the outside still has.\n"
    "                 `millrace verify` and the alert landing_lost name the landings that need it.\n"
    "\n"
    "Only with the server stopped.\n";

int mr_cli_replay(int argc, char **argv)
{
    const char *landing = NULL;
    struct mr_app_replay replay = {0};
    const struct cli_flag flags[] = {{"--landing", &landing, NULL}, {"--from", &replay.from, NULL}, {"--to", &replay.to, NULL},
                                     {"--cause", &replay.cause, NULL}, {"--run", &replay.run, NULL}, {0}};
    struct cli_args args;
    int exit_code;
    if (!cli_parse(argc, argv, help, flags, &args, &exit_code))
        return exit_code;
    bool of_landing = landing && args.words_count == 0 && !replay.from && !replay.to && !replay.cause && !replay.run;
    bool of_source = !landing && args.words_count == 1 && replay.from;
    if (!of_landing && !of_source) {
        fprintf(stderr, "millrace replay: give SOURCE --from FROM, or --landing ID\n\n%s", help);
        return 2;
    }
    const char *name = replay.run ? replay.run : replay.from;
    if (of_source && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:+-") != strlen(name)) {
        fprintf(stderr, "millrace replay: %s: letters, digits and . _ : + - only\n", replay.run ? "--run" : "--from");
        return 2;
    }
    struct mr_app_options options = {.config_path = args.config, .once = true, .replay_landing = landing};
    char source[256];
    if (of_source) {
        const char *slash = strchr(args.words[0], '/');
        snprintf(source, sizeof source, "%.*s", (int)(slash ? slash - args.words[0] : (ptrdiff_t)strlen(args.words[0])), args.words[0]);
        replay.source = source;
        replay.stream = slash ? slash + 1 : NULL;
        options.replay = &replay;
    }
    return mr_app_run(&options);
}
