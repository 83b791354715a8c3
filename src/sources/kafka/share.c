/* SPDX-License-Identifier: Apache-2.0 */
/* share.c - the group gives us partitions and takes them away.
 *
 * happy path    assign: positions are looked up (take.c), then the library is told where to read. revoke: the landings that hold records of
 *               the partitions are decided, then they are given away; the event is kept open meanwhile and nobody else has them
 * ways to fail  a revoke that is not decided in time, or comes too late (lost): what is open is dropped, what is in the store's hands is settled by
 *               compare-and-swap there
 * on close      whatever is open is given away at once: it was decided or dropped before
 *
 * librdkafka: only one such event is out at a time, and any assign or unassign that we call is taken for its answer; so while one
 * is open nothing else is assigned. (rdkafka_cgrp.c, rd_kafka_cgrp_incremental_assign) */
#include "kafka.h"

#include <assert.h>
#include <stdlib.h>

enum { ASSIGN_MS = 5000, REVOKE_MS = 15000, COMMITS_HELD_MS = 60000 };

/* Not asked of the library: it answers from another thread, and no more once the group is left. */
static bool eager(const struct kafka *k)
{
    return !k->core->once && !k->replay && k->o->assignment != KAFKA_COOPERATIVE;
}

/* What the library reads is no longer what we think: nothing more is taken, and the source begins anew. */
static void refused(struct kafka *k, const char *what, const char *why)
{
    mr_log_warn(k->loop->log, k->name, "assignment_refused", MR_S("what", what), MR_S("why", why));
    k->broken = true;
}

static void complain(struct kafka *k, const char *what, rd_kafka_error_t *error)
{
    if (!error)
        return;
    refused(k, what, rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
}

static rd_kafka_topic_partition_list_t *list_of(const struct kafka *k, bool (*in)(const struct partition *p))
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (size_t i = 0; i < k->partitions_cap; i++) {
        const struct partition *p = k->partitions[i];
        if (p && in(p))
            rd_kafka_topic_partition_list_add(list, p->topic->name, p->number)->offset = p->verifying ? p->at.anchor.offset : p->read;
    }
    return list;
}

static bool is_assigned(const struct partition *p)
{
    return p->assigned && !p->full; /* full: paused for good */
}

static bool is_ready(const struct partition *p)
{
    return p->state == PARTITION_READY && !p->assigned;
}

static bool is_to_read(const struct partition *p)
{
    return p->state == PARTITION_READY || p->state == PARTITION_READING;
}

static bool is_idle_assigned(const struct partition *p)
{
    return p->assigned && p->state != PARTITION_READING;
}

/* The library's thread takes it, and the loop waits for that. While the group is left one answer stands for all, and lets go of everything; whoever says more may wait
 * for ever, since what was not taken by the end is thrown away (rd_kafka_cgrp_terminated). */
static void call(struct kafka *k, bool assign, rd_kafka_topic_partition_list_t *list)
{
    if (k->closing && k->answered)
        return;
    k->answered = k->closing;
    if (eager(k)) {
        rd_kafka_resp_err_t code = rd_kafka_assign(k->rk, assign ? list : NULL);
        if (code)
            refused(k, "assign", rd_kafka_err2str(code));
    } else {
        complain(k, assign ? "assign" : "unassign", assign ? rd_kafka_incremental_assign(k->rk, list) : rd_kafka_incremental_unassign(k->rk, list));
    }
    k->last = NULL; /* handles of topics come and go with what is assigned */
    k->last_rkt = NULL;
}

void share_let_go(struct kafka *k)
{
    if (k->share.event || k->closing || eager(k))
        return;
    rd_kafka_topic_partition_list_t *list = list_of(k, is_idle_assigned);
    if (list->cnt) {
        call(k, false, list);
        for (int i = 0; i < list->cnt; i++)
            partition_find(k, list->elems[i].topic, list->elems[i].partition)->assigned = false;
    }
    rd_kafka_topic_partition_list_destroy(list);
}

void share_pause(struct kafka *k, bool pause)
{
    rd_kafka_topic_partition_list_t *list = list_of(k, is_assigned);
    if (list->cnt) {
        if (pause)
            rd_kafka_pause_partitions(k->rk, list);
        else
            rd_kafka_resume_partitions(k->rk, list);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

void share_pause_one(struct kafka *k, const struct partition *p)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, p->topic->name, p->number);
    rd_kafka_pause_partitions(k->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
}

/* Everything READY is read from now on. `answer`: also if that is nothing. */
static void assign_ready(struct kafka *k, bool answer)
{
    share_let_go(k);
    rd_kafka_topic_partition_list_t *list = list_of(k, eager(k) ? is_to_read : is_ready);
    bool any = false;
    for (size_t i = 0; i < k->partitions_cap; i++)
        any |= k->partitions[i] && k->partitions[i]->state == PARTITION_READY;
    if (any || answer) {
        call(k, true, list);
        for (int i = 0; i < list->cnt; i++) {
            struct partition *p = partition_find(k, list->elems[i].topic, list->elems[i].partition);
            p->assigned = true;
            p->state = PARTITION_READING;
        }
        if (list->cnt && (k->paused || k->held || k->draining || k->drained))
            rd_kafka_pause_partitions(k->rk, list);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

static void event_end(struct kafka *k)
{
    rd_kafka_event_destroy(k->share.event);
    k->share = (struct share){0};
}

void share_assign(struct kafka *k)
{
    if (k->share.event)
        share_pump(k);
    else if (!k->closing)
        assign_ready(k, false);
}

/* ---- what the group wants ---- */

typedef void partition_fn(struct kafka *k, struct partition *p);

static void each_of_event(struct kafka *k, partition_fn *fn)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(k->share.event);
    for (int i = 0; list && i < list->cnt; i++)
        if (kafka_topic_ok(list->elems[i].topic)) /* a broker's word */
            fn(k, partition_of(k, list->elems[i].topic, list->elems[i].partition));
}

static void given(struct kafka *k, struct partition *p)
{
    (void)k;
    p->turn++;
    p->state = PARTITION_TAKING;
    p->trouble = TROUBLE_NONE;
    p->look_at_group = true;
    p->revoking = false;
}

static void wanted_back(struct kafka *k, struct partition *p)
{
    (void)k;
    p->revoking = p->state != PARTITION_IDLE;
}

/* Its records that are open are not decided any more. */
static void drop(struct kafka *k, struct partition *p)
{
    (void)k;
    p->turn++;
    if (p->in_open)
        bundle_fail(p->bundle, &(struct mr_err){.code = MR_ECANCELED, .msg = "a partition was taken away"});
}

static void given_away(struct kafka *k, struct partition *p)
{
    (void)k;
    p->turn++;
    p->state = PARTITION_IDLE;
    p->assigned = p->revoking = p->verifying = false;
    p->high = p->stable = p->low = -1;
    trouble_ours(k, p);
    if (!p->in_open)
        bundle_leave(p);
}

/* It stays assigned until share_let_go() may say so. */
static void taken_all_the_same(struct kafka *k, struct partition *p)
{
    drop(k, p);
    p->state = PARTITION_IDLE;
    p->revoking = p->verifying = false;
}

static void log_change(struct kafka *k, const char *what)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(k->share.event);
    mr_log_info(k->loop->log, k->name, what, MR_I("partitions", list ? list->cnt : 0), MR_S("protocol", eager(k) ? "EAGER" : "COOPERATIVE"));
    mr_cell_add(k->rebalances, 1);
}

static size_t ours(const struct kafka *k)
{
    size_t count = 0;
    for (size_t i = 0; i < k->partitions_cap; i++)
        count += k->partitions[i] && k->partitions[i]->state != PARTITION_IDLE;
    return count;
}

void share_event(struct kafka *k, rd_kafka_event_t *event)
{
    if (k->share.event) { /* overtaken: the library waits for the answer to the newer one, and has forgotten what the older one took */
        if (!k->share.assign)
            each_of_event(k, taken_all_the_same);
        event_end(k);
    }
    k->share.event = event;
    k->share.assign = rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    if (k->share.assign) {
        log_change(k, "partitions_assigned");
        k->share.deadline_ms = mr_loop_now_ms(k->loop) + ASSIGN_MS;
        each_of_event(k, given);
        k->assigned_ever = true;
        k->per_topic = k->o->files == KAFKA_FILES_PER_TOPIC || (k->o->files == KAFKA_FILES_AUTO && ours(k) >= PER_TOPIC_FROM);
        k->commits_held_ms = 0;
    } else {
        k->share.lost = rd_kafka_assignment_lost(k->rk);
        log_change(k, k->share.lost ? "partitions_lost" : "partitions_revoked");
        k->share.deadline_ms = mr_loop_now_ms(k->loop) + REVOKE_MS;
        /* A commit while the group is on the move can cost the assignment (librdkafka before 2.10). */
        k->commits_held_ms = mr_loop_now_ms(k->loop) + COMMITS_HELD_MS;
        each_of_event(k, wanted_back);
    }
    if (!k->share.lost) /* which the library says by itself, when nobody answers */
        trouble_heard(k);
    kafka_pump(k);
}

static bool some(struct kafka *k, bool (*is)(const struct partition *p))
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(k->share.event);
    for (int i = 0; list && i < list->cnt; i++) {
        const struct partition *p = partition_find(k, list->elems[i].topic, list->elems[i].partition);
        if (p && is(p))
            return true;
    }
    return false;
}

static bool is_taking(const struct partition *p)
{
    return p->state == PARTITION_TAKING;
}

static bool is_busy(const struct partition *p)
{
    return !partition_quiet(p);
}

static bool is_open(const struct partition *p)
{
    return p->in_open;
}

static void hand_over(struct kafka *k)
{
    bool late = k->share.lost || k->stopping || mr_loop_now_ms(k->loop) >= k->share.deadline_ms;
    if (late) {
        if (!k->share.lost && !k->stopping && some(k, is_busy))
            mr_log_warn(k->loop->log, k->name, "revoked_before_landed", MR_S("why", "landing took too long; whoever has the partitions now reads the records again"));
        each_of_event(k, drop);
        if (some(k, is_open))
            return; /* the worker has it: slice_end() comes back */
    } else if (some(k, is_busy)) {
        return;
    }
    if (eager(k)) {
        call(k, false, NULL);
        for (size_t i = 0; i < k->partitions_cap; i++)
            if (k->partitions[i])
                k->partitions[i]->assigned = false;
    } else {
        rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(k->share.event), *mine = rd_kafka_topic_partition_list_new(16);
        for (int i = 0; list && i < list->cnt; i++) {
            const struct partition *p = partition_find(k, list->elems[i].topic, list->elems[i].partition);
            if (p && p->assigned)
                rd_kafka_topic_partition_list_add(mine, p->topic->name, p->number);
        }
        call(k, false, mine);
        rd_kafka_topic_partition_list_destroy(mine);
    }
    each_of_event(k, given_away);
    event_end(k);
}

void share_pump(struct kafka *k)
{
    if (!k->share.event)
        return;
    if (!k->share.assign) {
        hand_over(k);
    } else if (k->stopping || k->draining || k->drained || !some(k, is_taking) || mr_loop_now_ms(k->loop) >= k->share.deadline_ms) {
        /* Whoever is still being asked about is assigned by itself, later. */
        rd_kafka_event_t *event = k->share.event;
        assign_ready(k, true);
        assert(k->share.event == event);
        event_end(k);
    }
}

/* ---- what lag tools see ---- */

static bool owned(const struct partition *p)
{
    return (p->state == PARTITION_READING || p->state == PARTITION_READY) && !p->revoking && p->published >= 0 && p->published != p->committed;
}

void share_commit(struct kafka *k, bool now)
{
    uint64_t now_ms = mr_loop_now_ms(k->loop);
    if (!k->rk || k->replay || k->commit_at_ms == 0 || k->share.event || (!now && (now_ms < k->commit_at_ms || now_ms < k->commits_held_ms)))
        return;
    k->commit_at_ms = 0;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (size_t i = 0; i < k->partitions_cap; i++) {
        struct partition *p = k->partitions[i];
        if (!p || !owned(p))
            continue;
        rd_kafka_topic_partition_t *tp = rd_kafka_topic_partition_list_add(list, p->topic->name, p->number);
        tp->offset = p->published;
        tp->metadata_size = strlen(k->mark);
        tp->metadata = malloc(tp->metadata_size); /* the list frees it */
        assert(tp->metadata);
        memcpy(tp->metadata, k->mark, tp->metadata_size);
        p->committed = p->published;
    }
    if (list->cnt) {
        rd_kafka_resp_err_t code = rd_kafka_commit_queue(k->rk, list, k->queue, NULL, NULL);
        if (code)
            mr_log_debug(k->loop->log, k->name, "group_offsets_not_taken", MR_S("why", rd_kafka_err2str(code)));
    }
    rd_kafka_topic_partition_list_destroy(list);
}
