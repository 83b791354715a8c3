/* SPDX-License-Identifier: Apache-2.0 */
/* cli.h - argv to verb; a file a verb. Exit codes: 0 fine; 1 the work failed; 2 usage, or what the config file alone
 * shows. */
#ifndef MR_CLI_CLI_H
#define MR_CLI_CLI_H

#include "millrace/config.h"
#include "millrace/client.h"
#include "millrace/store.h"
#include "millrace/zone.h"

int mr_cli(int argc, char **argv);

/* Each gets its own argv: argv[0] is the verb. */
int mr_cli_run(int argc, char **argv);
int mr_cli_check(int argc, char **argv);
int mr_cli_status(int argc, char **argv);
int mr_cli_state(int argc, char **argv);
int mr_cli_verify(int argc, char **argv);
int mr_cli_send(int argc, char **argv);
int mr_cli_explain(int argc, char **argv);
int mr_cli_config(int argc, char **argv);
int mr_cli_pause(int argc, char **argv); /* pause and resume */
int mr_cli_replay(int argc, char **argv);

/* -- shared by verbs -- */
struct cli_flag {
    const char *name;   /* "--once" */
    const char **value; /* takes a value; or NULL */
    bool *set;          /* or: was it there? */
};
struct cli_args {
    const char *config;       /* -c FILE, mandatory unless no_config */
    const char *const *words; /* what is no option, in order */
    int words_count;
};
/* Parses -c/--config, the verb's flags and words; `--help` prints `help` to stdout and makes the caller return 0.
 * *exit_code >= 0: return it. */
bool cli_parse(int argc, char **argv, const char *help, const struct cli_flag *flags, struct cli_args *out,
               int *exit_code);
/* Loads the config with all doors; on errors prints them and returns NULL (exit code 2). */
struct mr_config *cli_config(const char *path);

/* The state store beside a server that may be running: opened on a loop of its own, every call awaited. */
struct beside {
    struct mr_loop loop;
    struct mr_store *store; /* NULL: not opened */
    struct mr_client *client;
    struct mr_zone *zone; /* NULL: not opened */
    struct mr_log *log;
    struct mr_err err; /* of the last awaited call */
    bool waiting;
};
/* The loop alone. */
MR_MUST enum mr_code beside_begin(struct beside *b, struct mr_err *err);
/* MR_ENOENT: nothing was ever run here. create: make the store. */
MR_MUST enum mr_code beside_store(struct beside *b, const struct mr_config *config, bool create, struct mr_err *err);
MR_MUST enum mr_code beside_zone(struct beside *b, const struct mr_config *config, struct mr_err *err);
/* Where a zone's calls may block: runs it on a worker, on several at once if the zone is far, and waits for all. */
void beside_work(struct beside *b, void (*run)(void *arg), void *arg);
void beside_work_wide(struct beside *b, void (*run)(void *arg), void *arg);
/* Loop and store. */
MR_MUST enum mr_code beside_open(struct beside *b, const struct mr_config *config, bool create, struct mr_err *err);
void beside_await(struct beside *b); /* until a callback has called beside_done */
void beside_done(struct beside *b, const struct mr_err *err);
void beside_on_done(void *arg, const struct mr_err *err); /* an mr_done_cb for plain calls; arg: struct beside */
void beside_close(struct beside *b); /* whatever is open */

#endif
