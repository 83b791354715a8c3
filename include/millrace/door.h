/* SPDX-License-Identifier: Apache-2.0 */
/* door.h - a kind of source: its options, its life, and what the core promises it. tests/doors runs one suite over every door.
 *
 * Life of one source, all on the loop:
 *
 *      open ──► start ──► mr_source_up() ──► … ──► stop ──► mr_source_down()      (core frees `self` after it)
 *                  └────► mr_source_failed(): back-off, then stop, down, open, start again
 *
 * - open allocates, no I/O. start answers later with mr_source_up() or mr_source_failed(), exactly once.
 * - pause/resume: back-pressure or a person. After pause() nothing more is read from outside; what was captured may still land.
 * - stop: let go of everything, then mr_source_down(), exactly once. May come in any state.
 * - drain: capture nothing more, land what is captured, then mr_source_drained(). stop follows.
 * - once: (--once) land everything there is, then mr_source_finished() with MR_OK, or the reason why not.
 * - A door asks for its positions and hands its moves to landing; it never writes a position.
 * - A hub is what all sources of one door share in a process: the webhook door's listener and queue. It exists while any source of the door is
 *   configured or hub_wanted() says that something of old must still land. A source of a door that serves comes up, or fails, without
 *   waiting for the outside: the listener opens once all have. */
#ifndef MILLRACE_DOOR_H
#define MILLRACE_DOOR_H

#include "millrace/landing.h"
#include "millrace/option.h"

struct mr_source; /* the core's side of one source */

struct mr_core {              /* what every door and hub may use; borrowed, lives longer than they */
    struct mr_loop *loop;
    struct mr_store *store;   /* read side: state.h */
    struct mr_landings *landings;
    struct mr_client *client; /* HTTP */
    const char *data_dir;
    const char *environment;
    const char *store_id;     /* of the state store, in which this process lives */
    int64_t disk_reserve;     /* bytes that must stay free on the disk of data_dir */
    bool once;
};

enum mr_check_level { MR_CHECK_OK, MR_CHECK_WARN, MR_CHECK_FAIL };
struct mr_check {             /* `millrace check` of one source: try, change nothing */
    struct mr_loop *loop;
    const char *name;         /* the source's */
    const char *environment;
    const void *options, *hub_options;
    bool offline;             /* look at the config alone */
    void (*line)(struct mr_check *check, enum mr_check_level level, const char *stream /* or NULL */, const char *text);
    void (*done)(struct mr_check *check); /* exactly once, now or later */
};
struct mr_captured {          /* a request as a person has kept it */
    struct mr_str method, target, body;
    const struct mr_header *headers;
    size_t headers_count;
};

struct mr_requeue {           /* refused requests that are to be judged again */
    const char *source;
    const void *options;      /* the source's */
    int64_t from_us, to_us;   /* when they came, both included */
    const char *cause;        /* for which they were refused; NULL: any */
};
struct mr_requeued { int64_t queued, refused, unreadable; };
typedef void (*mr_requeue_cb)(void *arg, const struct mr_err *err, const struct mr_requeued *counts);

struct mr_replay {            /* what is to land again, under a run of its own: its records carry the run's name, and the positions of the run are its own,
                               * so that it goes on where it was cut off, lands nothing twice, and moves no live position. Borrowed until mr_source_finished() */
    const char *run;
    const char *stream;       /* NULL: all */
    const char *from, *to;    /* as a person wrote them: a time, or what the door counts by; `to` is not included, NULL: up to now */
    struct mr_str moves;      /* instead: of a lost landing, as in mr_landing_row; n == 0: none */
    int64_t records;          /* out: that landed */
};

struct mr_delivery { /* a request as a vendor would make it; the caller makes and frees the buffers */
    struct mr_str method; /* borrowed from the options */
    struct mr_buf url;     /* the listener's address on this machine, and the path */
    struct mr_buf headers; /* lines, Content-Type among them */
    struct mr_buf body;    /* empty: as it was given */
};

struct mr_door {
    const char *name, *doc;                     /* config key; sentence for the reference */
    const struct mr_option *options;            /* rows below `sources.<name>.<door>` */
    size_t options_size, self_size;
    /* Checks that rows cannot express; `name` is the source's. Pure. May be NULL. */
    void (*validate)(const char *name, const void *options, struct mr_where where, struct mr_config_errors *errors);
    /* Checks between all sources of this door (the same route twice), and against its hub's options and limits.memory (bytes).
     * `names`, `options`, `wheres`: count each, at least 1. May be NULL. */
    void (*validate_all)(const char *const *names, const void *const *options, const struct mr_where *wheres, size_t count, const void *hub_options,
                         int64_t memory, struct mr_config_errors *errors);

    enum mr_code (*open)(void *self, struct mr_source *src, const void *options, struct mr_err *err);
    void (*start)(void *self);
    void (*pause)(void *self), (*resume)(void *self);
    void (*drain)(void *self);
    void (*once)(void *self);
    /* Instead of once: lands again what the outside still has, then mr_source_finished(). NULL: this door cannot (but see hub_replay). */
    void (*replay)(void *self, struct mr_replay *what);
    void (*stop)(void *self);
    void (*close)(void *self);                  /* frees what open made; no I/O; may be NULL */
    void (*check)(struct mr_check *check);
    void (*status)(const void *self, struct mr_buf *json); /* members of a JSON object, each with a leading comma */
    void (*tick)(void *self);                   /* twice a second while up; may be NULL */
    void (*keeps)(const void *self, int64_t *window_ms, uint64_t *ids); /* seen event ids that it needs; may be NULL */

    /* A page of the reference beside the config's own, printed by `millrace config <page_name>`; both NULL if there is none. Pure. */
    const char *page_name, *page_doc;
    void (*page)(struct mr_buf *out);

    /* For doors that receive, else NULL. Pure.
     * sign: how a vendor would send `body` now, for `millrace send`.
     * explain: would it be accepted at that time? Appends one JSON object: "verdict", "cause", "reason"; true if accepted. */
    enum mr_code (*sign)(const void *options, const void *hub_options, struct mr_str body, int64_t now_us, struct mr_delivery *out, struct mr_err *err);
    bool (*explain)(const void *options, const void *hub_options, const struct mr_captured *request, int64_t at_us, struct mr_buf *json);

    /* The hub; all NULL for a door without one. */
    const struct mr_option *hub_options;        /* rows at the top level of the config: http, queue */
    size_t hub_options_size, hub_size;
    bool (*hub_wanted)(const char *data_dir);   /* is there anything of old? Blocks shortly; start-up only */
    enum mr_code (*hub_open)(void *hub, const struct mr_core *core, const void *hub_options, size_t sources /* configured */, struct mr_err *err);
    void (*hub_start)(void *hub, void (*cb)(void *arg, const struct mr_err *err), void *arg);   /* before its sources start */
    enum mr_code (*hub_serve)(void *hub, struct mr_err *err);       /* after its sources are up; again after a reload: open to the outside. Never called with --once */
    void (*hub_reload)(void *hub, const void *hub_options, size_t sources);
    void (*hub_drain)(void *hub, void (*cb)(void *arg, const struct mr_err *err), void *arg);  /* after its sources have drained: land what is left */
    void (*hub_once)(void *hub, void (*cb)(void *arg, const struct mr_err *err), void *arg);
    void (*hub_stop)(void *hub, void (*cb)(void *arg), void *arg);
    void (*hub_status)(const void *hub, struct mr_buf *json);
    /* Lands again what a lost landing held, from the input kept for it, as run `run`: the live position does not move, and asked again it lands
     * nothing twice. MR_ENOENT: the input is gone, or was never this hub's. `landing` is borrowed for the call. */
    void (*hub_replay)(void *hub, const struct mr_landing_row *landing, struct mr_str run, void (*cb)(void *arg, const struct mr_err *err, int64_t records), void *arg);
    /* Judges refused requests again, by the config of now as of when they came; who passes is captured like any other, once. `what` is borrowed until cb. */
    void (*hub_requeue)(void *hub, const struct mr_requeue *what, mr_requeue_cb cb, void *arg);
};

/* -- what a door says and asks ------------------------------------------------------------------------------------------ */
const char *mr_source_name(const struct mr_source *src);
const struct mr_core *mr_source_core(const struct mr_source *src);
void *mr_source_hub(const struct mr_source *src); /* its door's hub, or NULL */
void mr_source_up(struct mr_source *src);
void mr_source_failed(struct mr_source *src, const struct mr_err *err); /* from start, or later from up: back-off by the error's class */
void mr_source_down(struct mr_source *src);
void mr_source_drained(struct mr_source *src);
void mr_source_finished(struct mr_source *src, const struct mr_err *err);
/* A run is over, for the history that people read (table runs, `millrace status`): run->source is ours to fill. Everything is copied. Should the store be
 * away it is told in the log and forgotten: what landed is in the landings, and where a run stood is the position's to say. */
void mr_source_ran(struct mr_source *src, const struct mr_run *run);
void mr_source_position(struct mr_source *src, struct mr_str stream, struct mr_str part, mr_position_cb cb, void *arg);

#endif
