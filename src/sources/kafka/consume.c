/* SPDX-License-Identifier: Apache-2.0 */
/* consume.c - the library's queue on the loop: events out of it, a turn at a time, messages into the slice that is being filled.
 *
 * happy path    the fd wakes us -> events until there is none, the turn's time is up, or the slice is full
 * ways to fail  landing is behind: the slice stays full and nothing is taken; after a second the library is told to pause, so that
 *               what else is in the queue (the group's wishes, errors) is not kept waiting. It forgets what it had fetched and asks again later
 * on close      what is in the slice is destroyed: nothing of it was staged */
#include "kafka.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define QUEUE_BACKOFF_FROM 0x020200ff /* fetch.queue.backoff.ms is known from then on */
enum { COMMIT_AGAIN_MS = 5000, HOLD_AFTER_MS = 1000, HELD_LONG_MS = 10000, LOOK_AT_CLOCK_EVERY = 32 };

bool consume_has_room(const struct kafka *k)
{
    return k->filling.count < SLICE_RECORDS && k->filling.bytes < SLICE_BYTES;
}

void slice_clear(struct slice *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].event)
            rd_kafka_event_destroy(s->items[i].event);
    s->count = s->bytes = 0;
}

static struct item *item_add(struct kafka *k, struct partition *p, int64_t next)
{
    struct slice *s = &k->filling;
    if (s->count == SLICE_RECORDS * 2) /* held: what comes all the same is not kept, but read again */
        return NULL;
    struct item *it = &s->items[s->count++];
    *it = (struct item){.p = p, .turn = p->turn, .from = p->read, .next = next};
    p->items++;
    return it;
}

static struct partition *partition_of_message(struct kafka *k, const rd_kafka_message_t *m)
{
    if (k->last && k->last_rkt == m->rkt && k->last->number == m->partition)
        return k->last;
    k->last = partition_find(k, rd_kafka_topic_name(m->rkt), m->partition);
    k->last_rkt = m->rkt;
    return k->last;
}

static struct mr_str bytes_of(const void *p, size_t n)
{
    return (struct mr_str){p, p ? n : 0};
}

/* The first record since the partition was taken: is its anchor the one that landed? */
static bool anchored(struct partition *p, const rd_kafka_message_t *m)
{
    if (!p->verifying)
        return true;
    p->verifying = false;
    if (m->offset != p->at.anchor.offset)
        return true;
    uint32_t crc = kafka_record_crc(bytes_of(m->key, m->key_len), bytes_of(m->payload, m->len));
    if (kafka_anchor_judge(&p->at.anchor, m->offset, crc, rd_kafka_message_timestamp(m, NULL)) != KAFKA_ANCHOR_OTHER)
        return true;
    take_again(p, TROUBLE_OTHER_LOG);
    return false;
}

/* false: the event is not kept. */
static bool on_message(struct kafka *k, rd_kafka_event_t *event, const rd_kafka_message_t *m, int64_t at_us)
{
    struct partition *p = partition_of_message(k, m);
    if (!p || p->state != PARTITION_READING || p->revoking || k->draining || k->drained || k->broken || k->stopping || !anchored(p, m) || m->offset < p->read)
        return false;
    if (p->stop_at >= 0 && m->offset >= p->stop_at) {
        if (!p->full && item_add(k, p, p->read > p->stop_at ? p->read : p->stop_at)) {
            p->full = true;
            p->read = p->read > p->stop_at ? p->read : p->stop_at;
            share_pause_one(k, p); /* what follows is not ours to read now */
        }
        return false;
    }
    struct item *it = item_add(k, p, m->offset + 1);
    if (!it) {
        take_again(p, TROUBLE_NONE);
        return false;
    }
    it->event = event;
    it->message = m;
    it->at_us = at_us;
    k->filling.bytes += m->len + m->key_len;
    k->nudge_bytes += (int64_t)(m->len + m->key_len);
    k->heard_ms = mr_loop_now_ms(k->loop);
    p->read = m->offset + 1;
    p->read_ts_ms = rd_kafka_message_timestamp(m, NULL);
    return true;
}

static void on_fetch(struct kafka *k, rd_kafka_event_t *event, int64_t at_us)
{
    const rd_kafka_message_t *m = rd_kafka_event_message_next(event);
    if (!m || !on_message(k, event, m, at_us))
        rd_kafka_event_destroy(event);
}

/* The end of a partition lies beyond records that nobody will ever see: aborted, compacted, the marks of transactions. */
static void on_end(struct kafka *k, const rd_kafka_topic_partition_t *tp)
{
    struct partition *p = tp ? partition_find(k, tp->topic, tp->partition) : NULL;
    trouble_heard(k);
    if (!p || p->state != PARTITION_READING || p->revoking || k->draining || k->drained || k->stopping || tp->offset < 0)
        return;
    p->verifying = false; /* nothing came from the anchor on: it was compacted away */
    /* full: what lies before this end was passed over, and is of the next run */
    int64_t next = tp->offset > p->read && !p->full ? tp->offset : p->read;
    if (!p->full)
        k->heard_ms = mr_loop_now_ms(k->loop);
    if (item_add(k, p, next))
        p->read = next;
}

static void on_error(struct kafka *k, rd_kafka_event_t *event)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    rd_kafka_topic_partition_t *tp = NULL;
    if (code == RD_KAFKA_RESP_ERR__PARTITION_EOF || code == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
        code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED || code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
        tp = rd_kafka_event_topic_partition(event);
    if (code == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        on_end(k, tp);
    } else if (code == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) {
        struct partition *p = tp ? partition_find(k, tp->topic, tp->partition) : NULL;
        if (p && p->state == PARTITION_READING && !p->revoking)
            take_again(p, TROUBLE_RANGE);
    } else {
        trouble_event(k, code, tp ? tp->topic : NULL, rd_kafka_event_error_string(event));
    }
    if (tp)
        rd_kafka_topic_partition_destroy(tp);
}

static void on_log(struct kafka *k, rd_kafka_event_t *event)
{
    const char *facility, *text;
    int level;
    if (rd_kafka_event_log(event, &facility, &text, &level) == 0)
        mr_log_write(k->loop->log, level <= 3 ? MR_LOG_INFO : MR_LOG_DEBUG, k->name, "librdkafka", (const struct mr_kv[]){MR_S("what", facility), MR_S("text", text), {0}});
}

static void on_committed(struct kafka *k, rd_kafka_event_t *event)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    if (code == RD_KAFKA_RESP_ERR__NO_OFFSET)
        return;
    if (code) { /* lag tools lag; the truth is in the state store */
        mr_log_debug(k->loop->log, k->name, "group_offsets_not_taken", MR_S("why", rd_kafka_err2str(code)));
        rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);
        for (int i = 0; list && i < list->cnt; i++) {
            struct partition *p = partition_find(k, list->elems[i].topic, list->elems[i].partition);
            if (p)
                p->committed = -1;
            if (k->commit_at_ms == 0)
                k->commit_at_ms = mr_loop_now_ms(k->loop) + COMMIT_AGAIN_MS;
        }
        return;
    }
    trouble_heard(k);
}

static void on_event(struct kafka *k, rd_kafka_event_t *event, int64_t at_us)
{
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_FETCH:
        on_fetch(k, event, at_us); /* keeps it */
        return;
    case RD_KAFKA_EVENT_REBALANCE:
        share_event(k, event); /* so does this */
        return;
    case RD_KAFKA_EVENT_STATS:
        lag_event(k, event); /* and this */
        return;
    case RD_KAFKA_EVENT_ERROR:
        on_error(k, event);
        break;
    case RD_KAFKA_EVENT_OFFSET_COMMIT:
        on_committed(k, event);
        break;
    case RD_KAFKA_EVENT_LOG:
        on_log(k, event);
        break;
    case RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH:
        access_wanted(k);
        break;
    default:
        break;
    }
    rd_kafka_event_destroy(event);
}

/* Landing is behind for longer than a moment: the library must not fetch, or its queue would hold back what else is in it. */
static bool hold_on(struct kafka *k)
{
    uint64_t now_ms = mr_loop_now_ms(k->loop);
    if (k->held)
        return true;
    if (k->full_since_ms == 0)
        k->full_since_ms = now_ms;
    if (now_ms - k->full_since_ms < HOLD_AFTER_MS)
        return false;
    k->held = true;
    share_pause(k, true);
    mr_log_debug(k->loop->log, k->name, "held", MR_S("why", "landing is behind"));
    return true;
}

static void let_go(struct kafka *k)
{
    bool long_ago = k->held && mr_loop_now_ms(k->loop) - k->full_since_ms > HELD_LONG_MS;
    k->full_since_ms = 0;
    if (!k->held)
        return;
    k->held = false;
    for (struct topic *t = k->topics; t && long_ago; t = t->next)
        take_topic_again(t); /* meanwhile it may have been made anew: the anchor tells */
    share_pause(k, k->paused);
}

static void on_again(uv_idle_t *idle)
{
    struct kafka *k = MR_OF(idle, struct kafka, again);
    uv_idle_stop(idle);
    consume_turn(k);
}

/* ---- nudge ---- */

static void on_nudged(struct kafka_ask *ask)
{
    struct kafka *k = MR_OF(ask, struct kafka, nudge);
    k->nudging = false;
    for (size_t i = 0; i < ask->count && ask->err.code == MR_OK; i++) {
        struct partition *p = partition_find(k, ask->parts[i].topic, ask->parts[i].number);
        if (p->state == PARTITION_READING && !ask->parts[i].err && ask->parts[i].end > p->stable)
            p->stable = ask->parts[i].end;
    }
    kafka_ask_free(ask);
    kafka_pump(k);
}

/* Until 2.2 the library has a broker's thread sleep for a second whenever its queue was found full, and nobody wakes it when there is room again
 * (rdkafka_broker.c, rd_kafka_broker_consumer_serve). Any request that goes to the broker does; this one asks for the ends of the partitions, which lag is glad of. */
void consume_nudge(struct kafka *k)
{
    if (k->nudging || k->nudge_bytes < k->o->prefetch / 2 || k->stopping || k->draining || rd_kafka_version() >= QUEUE_BACKOFF_FROM)
        return;
    k->nudge_bytes = 0;
    kafka_ask_init(&k->nudge, k->rk);
    for (size_t i = 0; i < k->partitions_cap; i++)
        if (k->partitions[i] && k->partitions[i]->state == PARTITION_READING)
            kafka_ask_part(&k->nudge, k->partitions[i]->topic->name, k->partitions[i]->number, KAFKA_ASK_END);
    k->nudging = true;
    k->nudge.done = on_nudged;
    kafka_ask_start(&k->nudge, k->loop->workers);
}

void consume_soon(struct kafka *k)
{
    uv_idle_start(&k->again, on_again);
}

void consume_turn(struct kafka *k)
{
    int64_t begun_us = mr_mono_us(), at_us = mr_wall_us();
    if (!k->rk || k->closed)
        return;
    k->more = true;
    for (unsigned n = 1;; n++) {
        if (consume_has_room(k))
            let_go(k);
        else if (!hold_on(k))
            break; /* slice_submit() comes back here */
        rd_kafka_event_t *event = rd_kafka_queue_poll(k->queue, 0);
        if (!event) {
            k->more = false; /* the fd wakes us */
            break;
        }
        on_event(k, event, at_us);
        if (k->closed)
            return; /* it was the group's last word: the queue is being let go of */
        if (n % LOOK_AT_CLOCK_EVERY == 0 && mr_mono_us() - begun_us > TURN_US) {
            consume_soon(k); /* it does not wake us a second time */
            break;
        }
    }
    consume_nudge(k);
    slice_submit(k);
}
