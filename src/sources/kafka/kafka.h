/* SPDX-License-Identifier: Apache-2.0 */
/* kafka.h - the door from the inside. One consumer a source, on the loop; encoding on a worker.
 *
 *   broker ─► librdkafka's threads ─► one queue ─► consume.c: a slice of messages ─► slice.c (worker): envelopes into landings
 *   bundle.c: a landing for each partition or topic, decided with the partitions' moves ─► published ─► the group's offsets, for lag tools
 *   take.c: how a partition comes to be read: position, group's offset, start, anchor, what is lost
 *   share.c: the group gives and takes partitions; nothing is given away before its landing is decided
 *
 * All of it runs on the loop but slice.c's and ask.c's jobs. A partition's struct lives as long as the source. */
#ifndef MR_KAFKA_H
#define MR_KAFKA_H

#include "ask.h"
#include "options.h"
#include "position.h"
#include "schemas.h"
#include "token.h"

#include "millrace/alert.h"
#include "millrace/backoff.h"
#include "millrace/budget.h"
#include "millrace/door.h"
#include "millrace/worker.h"

enum {
    SLICE_RECORDS = 4096,   /* of one hand-over to the worker */
    SLICE_BYTES = 1 << 20,  /* and their keys, values and headers */
    FLIGHTS_MAX = 3,        /* landings of one bundle between closing and published */
    TURN_US = 2000,         /* the loop gives the queue at a time */
    BEAT_MS = 250,          /* the queue is looked at this often even when it is silent: the library counts that as life */
    EMPTY_MOVE_MS = 30000,  /* a position that moves over no record is decided this late */
    COMMIT_MS = 1000,       /* from published to the group's offset */
    CLOSE_MS = 5000,        /* for leaving the group, at the end */
    PER_TOPIC_FROM = 17     /* partitions, for files: auto */
};

struct kafka;

enum partition_state {
    PARTITION_IDLE,    /* not ours */
    PARTITION_TAKING,  /* ours; where to read is being found out (take.c) */
    PARTITION_READY,   /* found: about to be assigned */
    PARTITION_READING,
    PARTITION_STOPPED  /* ours; a person must say how to go on */
};
enum partition_trouble { TROUBLE_NONE, TROUBLE_RANGE /* the broker has no such offset */, TROUBLE_OTHER_LOG };

struct mark { /* the newest record of a partition in a slice: what the worker found */
    int64_t offset; /* -1: none */
    uint32_t crc;
    int64_t ts_ms;
};

struct topic {
    struct kafka *k;
    struct topic *next;
    char *name;
    size_t name_n;
    bool rows; /* the store has positions of it: as of the last look */
    bool told; /* that it cannot be read */
    uint64_t unknown_at_ms; /* an error said that it is not there; 0: it is */
};

struct partition {
    struct kafka *k;
    struct topic *topic;
    struct bundle *bundle;
    struct partition *bundle_next; /* the bundle's next one */
    int32_t number;
    char part[224];            /* its name in the store: the number, of a replay behind the run's name */
    enum partition_state state;
    enum partition_trouble trouble;
    bool assigned;             /* the library reads it */
    bool revoking, look_at_group, verifying, full;
    unsigned turn;             /* rises when what is on the way of it must not be staged */
    struct kafka_position at;  /* as of the last decision asked for; its anchor: of the last record staged */
    int64_t version;           /* that its next move expects */
    int64_t read;              /* next offset that we want of the broker */
    int64_t covered;           /* next offset not handed to a landing */
    int64_t published, committed; /* next offsets; -1: not known */
    int64_t stop_at;           /* --once, replay: done when covered reaches it; -1: never */
    int64_t first;             /* where it begins without a position of its own: 0 if it came after its topic was begun */
    int64_t wanted;            /* replay: where it was to begin, before what is gone was passed over */
    int64_t live_incarnation;  /* replay: of the live position */
    unsigned items;            /* in slices */
    unsigned undecided;        /* flights that move it */
    bool in_open;              /* its bundle's open landing has records of it */
    uint64_t moved_at_ms;      /* covered rose without a record; 0: not since the last decision */
    int64_t stopped_version;   /* of its position when it was stopped */
    struct mark mark;          /* the worker's while a slice is out */
    uint64_t stamp;            /* of the slice whose last record of it was found */
    /* what its position is, as of the look-up that is under way */
    bool in_take, has_row, bad_row;
    int64_t row_version;
    struct kafka_position row;
    uint64_t lost_told_ms;     /* 0: nothing is told of it */
    char id[300], position[300]; /* how its records' ids and positions begin */
    size_t id_n, position_n;
    /* what the broker said last; -1: nothing yet */
    int64_t low, high, stable;
    int64_t read_ts_ms, covered_ts_ms, published_ts_ms;
    uint64_t stuck_since_ms;   /* stable has been below high, and has not moved, since */
    int64_t stuck_at;
    struct pace { uint64_t since_ms; int64_t low, landed; } pace;
    struct mr_cell *read_lag, *landed_lag, *read_lag_s, *landed_lag_s;
};

struct moved { struct partition *p; int64_t next; int64_t ts_ms; };
struct flight { /* a landing that was closed */
    struct bundle *bundle; /* NULL: the source is gone */
    struct flight *next;
    struct moved *moved;
    size_t moved_count;
    int64_t records;
    bool decided;
};

struct bundle { /* of a partition, or of all of a topic */
    struct kafka *k;
    struct bundle *next;
    struct topic *topic;
    int32_t number; /* -1: all of the topic's that are ours */
    struct mr_landing *open;
    struct flight *flights, **flights_end;
    unsigned flights_count;
    struct partition *members;
    bool close_wanted, failing, stage_failed /* worker */;
    struct mr_err stage_err;
    uint64_t retry_at_ms;
    struct mr_backoff backoff;
    bool touched; /* by the slice at hand */
};

struct item {
    rd_kafka_event_t *event; /* NULL: the end of a partition */
    const rd_kafka_message_t *message;
    struct partition *p;
    struct mr_landing *landing;  /* from submit on; NULL: passed over */
    unsigned turn;
    bool last;                   /* of its partition in this slice */
    int64_t from, next, at_us;   /* [from, next): the record, and what there is none of before it */
};
struct slice {
    struct item *items;
    size_t count, bytes;
};

struct share { /* what the group wants of us: one event at a time, answered by assign or unassign */
    rd_kafka_event_t *event;
    bool assign, lost;
    uint64_t deadline_ms;
};

struct kafka {
    struct mr_source *src;
    const struct kafka_options *o;
    const struct mr_core *core;
    struct mr_loop *loop;
    const char *name;
    char group[512], mark[64];
    char store_id[37];
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    int fd;
    uv_poll_t poll;
    uv_idle_t again;  /* the queue had more than a turn may take */
    uv_timer_t beat;
    unsigned handles; /* open */
    struct mr_share *share_of_memory;

    struct topic *topics;
    struct partition **partitions; /* open addressing by topic and number */
    size_t partitions_count, partitions_cap;
    struct partition *last;        /* of the message before */
    const rd_kafka_topic_t *last_rkt;
    struct bundle *bundles;
    bool per_topic;

    struct slice filling, out;
    uint64_t slices;
    struct mr_job life;  /* making and unmaking the client */
    bool more;           /* the queue was left before it was empty */
    bool working, held;  /* held: the library was told to pause, since landing is behind */
    uint64_t full_since_ms;
    struct mr_job job;
    struct mr_buf line;  /* worker */

    struct kafka_schemas *schemas; /* NULL: none */
    bool schemas_stopping;
    struct kafka_token token; /* SASL OAUTHBEARER */
    struct share share;
    struct kafka_ask ask;
    bool begun;                   /* the store has positions of this source: as of the last look */
    bool asking, taking, looking; /* a look-up of positions is out; looking: for --once */
    bool moving;                  /* a decision of take.c is out */
    uint64_t take_at_ms, stopped_look_ms;
    struct mr_backoff take_backoff;
    uint64_t commits_held_ms;     /* until then: since a revoke the group is on the move */
    uint64_t commit_at_ms;        /* 0: nothing to tell */

    bool up, paused, starting, draining, drained, broken, finishing, finished, stopping, closing, closed, handles_closing;
    bool answered; /* the group, while it is left */
    bool assigned_ever; /* the group has given us partitions, or none of them, once */
    bool found; /* --once, replay: the partitions are known */
    struct mr_replay *replay; /* NULL: it is none */
    char prefix[208];         /* of its parts in the store; empty: none */
    const char *run;          /* or "" */
    char *replay_topic;       /* or NULL: all; borrowed */
    bool second_ask;          /* of replay.c: for the time at which it ends */
    uint64_t heard_ms, close_deadline_ms; /* heard: something came from the brokers, for --once */
    struct mr_err finish_err;
    struct mr_err start_err;
    uint64_t unreachable_since_ms; /* 0: a broker answers */
    char unreachable_why[512];
    bool told_refused, group_refused, heard_any;
    bool lag_out;                  /* statistics are being read */
    struct kafka_ask ends;         /* where the partitions end, while they are paused */
    bool ends_out;
    struct kafka_ask topics_ask;   /* are those there that could not be read? */
    bool topics_asking;
    uint64_t topics_look_ms;
    struct kafka_ask finish_ask, nudge;
    bool nudging;
    int64_t nudge_bytes;           /* taken since the last one */
    bool finish_asking;
    struct mr_cell *bytes, *records, *rebalances;
};

/* consume.c */
void consume_turn(struct kafka *k);      /* takes from the queue what there is room for */
void consume_nudge(struct kafka *k);     /* a broker's thread that sleeps on a full queue is woken once there is room again */
void consume_soon(struct kafka *k);      /* on the next turn of the loop */
bool consume_has_room(const struct kafka *k);
void slice_clear(struct slice *s);       /* destroys what is left in it */

/* slice.c */
void slice_submit(struct kafka *k);      /* the filling slice goes to the worker, if it is free; ends in kafka_pump() */

/* bundle.c */
struct bundle *bundle_of(struct kafka *k, struct topic *topic, int32_t number);
void bundle_open(struct bundle *f);
void bundle_fail(struct bundle *f, const struct mr_err *err); /* what is open or on the way is dropped; its partitions are taken anew */
void bundles_pump(struct kafka *k);        /* closes what wants to be closed */
bool bundles_idle(const struct kafka *k);  /* nothing open, nothing in flight */
bool bundles_full(const struct kafka *k);  /* one of them cannot close another landing yet */
void bundle_join(struct bundle *f, struct partition *p);
void bundle_leave(struct partition *p);
bool partition_quiet(const struct partition *p); /* nothing of it is on the way to a decision */
void bundles_free(struct kafka *k);

/* take.c */
void take_pump(struct kafka *k);
void take_again(struct partition *p, enum partition_trouble trouble); /* its position is looked up anew once it is quiet */
void take_topic_again(struct topic *t);
void take_settled(struct partition *p, struct kafka_position at, int64_t version); /* it is READY to be read from there */

/* share.c */
void share_event(struct kafka *k, rd_kafka_event_t *event); /* takes it */
void share_pump(struct kafka *k);        /* answers it when it can be */
void share_assign(struct kafka *k);      /* what is READY is read from now on */
void share_commit(struct kafka *k, bool now);
void share_pause(struct kafka *k, bool pause);
void share_pause_one(struct kafka *k, const struct partition *p);
void share_let_go(struct kafka *k);      /* what is not to be read is not fetched either */

/* trouble.c */
void trouble_begin(struct kafka *k);     /* alerts of topics that are not read any more close */
void trouble_event(struct kafka *k, rd_kafka_resp_err_t code, const char *topic, const char *text);
void trouble_up(struct kafka *k);        /* a broker lets us in */
void trouble_heard(struct kafka *k);     /* and answers as to a member of the group */
void trouble_look(struct kafka *k);
void trouble_ask_failed(struct kafka *k, const struct mr_err *err);
void trouble_ours(struct kafka *k, struct partition *p); /* alerts of a partition that is read again close */

/* lag.c */
void lag_event(struct kafka *k, rd_kafka_event_t *event); /* takes it */
void lag_look(struct kafka *k);

/* access.c */
bool access_by_token(const struct kafka_options *o);
void access_wanted(struct kafka *k);     /* the library wants a token, now or soon */

/* table.c */
struct topic *topic_of(struct kafka *k, const char *name);
struct partition *partition_of(struct kafka *k, const char *topic, int32_t number); /* made if it is new */
struct partition *partition_find(const struct kafka *k, const char *topic, int32_t number);
void partition_named(struct partition *p); /* its incarnation is known: id and position follow */
void partitions_free(struct kafka *k);

/* kafka.c */
void kafka_finish(struct kafka *k, const struct mr_err *err); /* --once, replay: told once */
void kafka_found(struct kafka *k, const struct kafka_ask *ask); /* its partitions are all there are; each is read up to stop_at, or to where it ends now */
bool kafka_ask_ends_again(struct kafka *k, const struct mr_err *err); /* the brokers did not say: may it be asked again? Else it is finished */
void kafka_pump(struct kafka *k);        /* something has changed: what next? */

/* replay.c */
void kafka_replay(void *self, struct mr_replay *what);

/* check.c */
void kafka_check(struct mr_check *check);

#endif
