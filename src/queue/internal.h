/* SPDX-License-Identifier: Apache-2.0 */
/* queue/internal.h - the queue while it runs: what loop, writer and readers share, and who may touch it.
 *
 * Three kinds of thread meet at q->lock, each for a copy or a few assignments, never over a call that can block:
 *   loop     fills q->filling, answers q->finished, frees segments
 *   writer   swaps q->filling for an empty one, writes it, moves the segment's end and the horizon
 *   readers  look up the segment of a sequence, and how far it may be read
 * A segment's bytes below its `end` are durable and do not change, so they are read without the lock. */
#ifndef MR_QUEUE_INTERNAL_H
#define MR_QUEUE_INTERNAL_H

#include "millrace/queue.h"
#include "queue/recover.h"

#include "millrace/worker.h"

#include <stdatomic.h>

struct mr_segment {
    struct mr_seg_end at;          /* under lock: end, last_seq, void_* while it is the current one */
    uint64_t prev_number;
    uint64_t file_size;
    bool prewritten, growing, suspect, current;
    bool gone;                     /* freed: its file may already be another's */
    unsigned refs, readers;
    struct mr_sources sources;
};

/* Records on their way to the writer, framed, and whoever waits for them. */
struct mr_group {
    char *p;
    size_t n, cap;
    uint64_t first_seq;
    uint32_t count;
    struct mr_queue_wait *head, *last;
};

struct mr_finished { /* waiters with one outcome */
    struct mr_queue_wait *head, *last;
    enum mr_code code;
};

struct mr_fate { /* a segment's file on its way out */
    uint64_t number, header_bytes;
    enum mr_seg_fate fate;
};

enum { MR_TURN_BYTES = 256 << 10 };
enum {
    MR_SPARES_MIN = 2,
    MR_SPARES = 16,       /* kept at most, whatever the demand was */
    MR_DEMAND_TICKS = 600, /* a burst's spares are kept for one to two of these */
};

struct mr_queue {
    /* set at open */
    struct mr_queue *self; /* for those who get the queue const, and must lock it to look */
    struct mr_loop *loop;
    char dir[PATH_MAX], quarantine[PATH_MAX];
    unsigned char id[MR_QUEUE_ID];
    uint64_t segment_size;
    _Atomic uint64_t max_size, disk_reserve; /* a reload changes them; the writer reads */
    size_t group_memory;
    void (*on_durable)(void *arg, uint64_t horizon);
    void *arg;
    struct mr_cell *groups, *records, *bytes, *segments, *depth, *sync, *sync_failed, *corrupt;

    uv_mutex_t lock;
    uv_cond_t wake;
    _Atomic uint64_t horizon;

    /* under lock */
    struct mr_segment **segs; /* in use, by number; the last one may be current */
    size_t segs_n, segs_cap;
    uint64_t next_seq, next_number, bytes_used;
    uint64_t spares[MR_SPARES];
    size_t spares_n;
    struct mr_group filling;
    size_t writing_bytes;
    struct mr_finished *finished; /* in order */
    size_t finished_n, finished_cap;
    enum mr_code broken; /* not MR_OK: no segment can be made now */
    bool turn_open; /* more of this turn may come: the writer waits for all of it, unless MR_TURN_BYTES are there */
    bool writer_sleeps, closing, writer_ended, roll_wanted, signaled, free_wanted;
    uint64_t failures, good_since_failure; /* groups or segments that failed; groups written since the last of them */
    uint64_t corrupt_bytes;
    enum mr_code failed_with; /* the last failure's */
    char why[160], corrupt_where[128];

    /* writer only */
    uv_thread_t thread;
    bool thread_runs;
    struct mr_group writing;
    struct mr_segment *current; /* what is written to; NULL: none */
    struct mr_segment *before;  /* what the next header names; may be `current` */
    int fd;
    struct mr_sources notes;    /* of the group at hand */
    uint64_t retry_at_us, backoff_us;

    /* loop only */
    struct mr_wake wake_up; /* the writer and readers wake us */
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t tick;
    unsigned handles_open, readers_open;
    bool appended; /* since the writer was last woken */
    bool handles_closing;
    struct mr_finished *answers; /* the other array of q->finished */
    size_t answers_cap;
    uint64_t told_horizon;
    mr_queue_open_cb open_cb;
    void *open_arg;
    void (*close_cb)(void *arg);
    void *close_arg;
    struct mr_tending {
        struct mr_sources published;
        uint64_t pinned, depth_base;
        bool full;     /* an append was refused for max_size */
        bool disk_low; /* under disk_reserve */
        bool full_alert, sync_alert;
        uint64_t failures_told, corrupt_told;
        unsigned quiet_ticks, fill_pause;
        size_t demand[2]; /* most segments in use at once: in this window of ticks, in the one before */
        unsigned demand_ticks;
        struct mr_recovered_stub *stubs;
        size_t stubs_n, stubs_cap;
        struct mr_fate *fates; /* to be done after those that are out */
        size_t fates_n, fates_cap;
        /* what is out on lane SYNC; the job's run() sees only its own part */
        struct mr_fill_job {
            struct mr_job job;
            struct mr_seg_fill fill;
            uint64_t reserve;
            bool out, ready;
            enum mr_code rc;
            struct mr_err err;
        } fill;
        struct mr_free_job {
            struct mr_job job;
            const char *dir;
            struct mr_fate *fates;
            size_t n, done;
            bool out, warned;
            struct mr_err err;
        } free;
        struct mr_disk_job {
            struct mr_job job;
            const char *dir;
            uint64_t reserve;
            bool out, low;
        } disk;
    } tend;
};

/* writer.c */
void mr_writer_main(void *queue);
void mr_group_free(struct mr_group *g);
/* Under lock. */
void mr_queue_add_segment(struct mr_queue *q, struct mr_segment *s);
void mr_segment_ref(struct mr_segment *s);
void mr_segment_unref(struct mr_segment *s); /* under lock */
void mr_queue_signal(struct mr_queue *q);    /* wakes the loop; any thread, without the lock */
uint64_t mr_queue_now_us(void);

/* tend.c: what the loop does for the queue besides answering. */
void mr_tend_start(struct mr_queue *q, struct mr_recovered *r); /* takes r's stubs */
void mr_tend(struct mr_queue *q);                               /* segments to free, spares to make, alerts, gauges */
void mr_tend_tick(struct mr_queue *q);                          /* once a second */
bool mr_tend_idle(const struct mr_queue *q);                    /* no job is out */
void mr_tend_free(struct mr_queue *q);
void mr_queue_job_ended(struct mr_queue *q);                    /* queue.c: a job of tend came back */

/* reader.c: damage found by a reader, told to the loop */
void mr_queue_note_damage(struct mr_queue *q, uint64_t number, uint64_t from, uint64_t fresh);

#endif
