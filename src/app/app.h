/* SPDX-License-Identifier: Apache-2.0 */
/* app.h - the root object: everything that lives as long as the process, wired in one visible order (app.c). */
#ifndef MR_APP_APP_H
#define MR_APP_APP_H

#include "millrace/admin.h"
#include "millrace/backoff.h"
#include "notify.h"

#include "millrace/config.h"
#include "millrace/door.h"
#include "millrace/hash.h"
#include "millrace/store.h"
#include "millrace/worker.h"
#include "millrace/zone.h"

struct app;
struct mr_app_replay { /* all as a person wrote them; NULL: not given */
    const char *source, *stream, *from, *to;
    const char *cause; /* of refused requests */
    const char *run;
};
struct mr_app_options {
    const char *config_path;
    bool once;
    const struct mr_door *const *doors; /* NULL: the registry (src/sources/doors.h) */
    size_t doors_count;
    void (*on_ready)(void *arg, struct app *a); /* loop, once everything is up; NULL: nobody asks */
    void *arg;
    const struct mr_app_replay *replay; /* land again what a source still has, or judge its refused requests again, then end; NULL: serve */
    const char *replay_landing; /* land this one again, from the input that was kept for it, then end; NULL: serve */
};
/* The whole of `millrace run`: returns its exit code (0 fine, 1 the work or the world failed, 2 config, data_dir in
 * use, store and zone do not match). */
int mr_app_run(const struct mr_app_options *options);

/* -- shared by the files of app/, and by cli for what it does beside a server -- */
enum mr_code app_store_url(const struct mr_config *config, char out[4096], struct mr_err *err);
/* Does this store belong to this zone? MR_EMISMATCH names the remedy. Blocks shortly. identify: write zone.json if both
 * are new. */
enum mr_code app_match(struct mr_zone *zone, const struct mr_store_facts *facts, bool identify, const char *config_path,
                       struct mr_err *err);
/* What was decided since the facts were read. */
void app_facts_newer(struct mr_store_facts *facts, const struct mr_landing_row *landings, size_t count);
/* Hosts that are asked without the proxy, by commas, as the client wants them; the caller's. */
char *app_proxy_except(const struct mr_config *config);
/* flock on <data_dir>/lock; MR_EINUSE. The descriptor is the lock. */
enum mr_code app_lock(const char *data_dir, int *fd, struct mr_err *err);
/* The zone that the config names, as it is opened; borrowed from config, loop and client. */
void app_zone_options(const struct mr_config *config, struct mr_loop *loop, struct mr_client *client, struct mr_zone_options *out);
/* The id of data_dir, 32 hex digits; made if there is none. Needs the lock: mr_store_options.home. */
MR_MUST enum mr_code app_home(const char *data_dir, char home[33], struct mr_err *err);

struct held_config { /* sources keep the config that their options point into */
    struct mr_config *config;
    unsigned refs;
};
void config_hold(struct held_config *c);
void config_drop(struct held_config *c);

enum source_state { SOURCE_DOWN, SOURCE_STARTING, SOURCE_UP, SOURCE_BACKOFF, SOURCE_STOPPING, SOURCE_STATES };

struct mr_source {
    struct app *app;
    struct mr_source *next;
    char *name;
    const struct mr_door *door;
    size_t door_index, config_index;
    struct held_config *config;
    void *self;
    enum source_state state;
    bool opened, paused, draining, drained, finished, gone, restart;
    struct mr_err why; /* of the last failure */
    struct mr_backoff backoff;
    uint64_t retry_at_ms;
    struct mr_cell *up, *paused_cell;
};

struct hub_slot {
    struct app *app;
    size_t door;
    void *hub; /* NULL: this door has none here */
    bool busy; /* asked for something that is not done yet */
    bool started;
};

enum app_phase { APP_STARTING, APP_RUNNING, APP_DRAINING, APP_STOPPING };

struct app {
    struct mr_app_options o;
    struct mr_loop loop;
    struct mr_log *log;
    struct held_config *config;
    int lock_fd;
    struct mr_store *store;
    struct mr_zone *zone;
    struct mr_job zone_job;
    struct mr_err zone_err;
    struct {
        struct mr_store_facts facts; /* of the store, as of its opening or of a newer look */
        unsigned again;
    } match;
    struct mr_instance instance;
    struct mr_landings *landings;
    struct mr_client *client;
    struct notifier *notifier;
    struct mr_core core;
    struct hub_slot *hubs; /* one a door */
    struct mr_source *sources;
    struct mr_admin *admin;
    enum app_phase phase;
    const struct app_step *steps; /* the table at hand: start or stop */
    size_t step;
    bool step_begun, step_done;
    int exit_code;
    bool failed, deadline_passed, ended;
    const char *stop_wanted;      /* during the start: once the step at hand is done */
    unsigned impatient;           /* --once: ticks in a row with an open alert that keeps it from landing */
    char *data_dir, *environment; /* fixed: they outlive every config */

    uv_signal_t sigterm, sigint, sighup;
    uv_timer_t tick, deadline;
    uv_async_t poke; /* look at the current step again */
    unsigned handles_open;
    bool handles_made;

    /* replay */
    struct {
        bool busy;
        struct mr_requeue requeue;
        struct mr_source *source; /* whose door lands again; NULL: none, or a hub does */
        struct mr_replay what;
        char run[192];
        char *moves;
        int64_t number;           /* of the lost landing; 0: none */
        bool asked;
    } replay;

    /* upkeep */
    uint64_t ticks;
    bool paused_out, renew_out, finish_out, keep_out, disk_out, quarantine_out;
    bool epoch_lost;             /* others went on for us: end, and begin a new life with a new epoch */
    bool told_to_stop;           /* by a signal, while we were ending for another reason */
    struct mr_job disk_job;
    struct {
        uint64_t zone_free, data_free;
        bool zone_ok, data_ok;
    } disk;
    int64_t clock_offset_us; /* wall minus monotonic */
    uint64_t clock_alert_ms;

    /* reload */
    struct mr_job reload_job;
    bool reload_out, reload_again;
    struct mr_config *reload_config;
    struct mr_config_errors *reload_errors;
};

/* app.c */
struct app_step {
    const char *name;
    void (*begin)(struct app *a);
    bool (*done)(struct app *a); /* NULL: when a->step_done */
};
int app_exit_code(enum mr_code code); /* of a start that failed by it: 2 or 1 */
void step_finish(struct app *a); /* the step at hand is done */
/* For what fills err only on failure. */
void step_code(struct app *a, enum mr_code code, struct mr_err *err, const char *what);
void step_end(struct app *a, const struct mr_err *err, const char *what); /* of the step at hand; what failed */
void app_next(struct app *a); /* something has changed: is the current step done? */
void app_fail(struct app *a, int exit_code,
              const struct mr_err *err); /* a start step failed, or running cannot go on: stop */
void app_stop(struct app *a, const char *why);
void app_out_of_time(struct app *a); /* the drain has taken too long: stop without it, exit 1; nothing is lost */
void app_hub_start(struct app *a, size_t door); /* opens and starts a door's hub, if it is not there yet */
void app_hub_served(struct app *a, size_t door);
size_t app_sources_of(const struct mr_config *config, size_t door);
void app_landings_options(struct app *a, struct mr_landings_options *out);

/* source.c */
struct mr_source *source_new(struct app *a, struct held_config *config, size_t index);
void source_start(struct mr_source *s);
void source_stop(struct mr_source *s, bool for_good); /* for_good: freed once it is down */
void source_pause(struct mr_source *s, bool paused);
void source_retry(struct mr_source *s); /* on the tick: back-off passed? */
void source_free(struct mr_source *s);
const char *source_state_name(const struct mr_source *s);

/* start.c, stop.c: the tables, each ended by a step without a name */
extern const struct app_step app_start_steps[], app_stop_steps[];
bool hubs_idle(struct app *a); /* none is asked for something that is not done yet */
/* zone.c: its steps */
void zone_begin(struct app *a);
void zone_close_begin(struct app *a);

/* replay.c: the step of `millrace replay` */
void replay_begin(struct app *a);
bool replay_done(struct app *a);

/* upkeep.c */
void upkeep_start(struct app *a);
bool upkeep_busy(const struct app *a);
/* quarantine.c */
void quarantine_look(struct app *a); /* sizes as a metric; what is older than state.keep goes */
/* reload.c */
void reload(struct app *a);
/* status.c */
void app_status(void *arg, struct mr_buf *json);
bool app_ready(void *arg, struct mr_buf *why);
void app_refresh(void *arg);

#endif
