/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - records that have landed land again, from the brokers: by offset, by time, or what a lost landing held. The way is that of
 * --once, between two offsets, with positions of the run's own.
 *
 * ways to fail  what retention has taken is named and passed over; brokers that do not answer end it, and it goes on when it is run again */
#include "kafka.h"

#include "millrace/clock.h"
#include "millrace/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* From or to, as written. true: an offset; else a time, or err says that it is neither. */
static bool is_offset(const char *text, int64_t *offset, int64_t *time_ms, struct mr_err *err)
{
    int64_t us;
    struct mr_json_slice number = {.type = MR_JSON_NUMBER, .raw = mr_str_c(text)};
    *time_ms = -1;
    if (mr_json_i64(number, offset) && *offset >= 0)
        return true;
    if (mr_time_parse(mr_str_c(text), &us) && us >= 0)
        *time_ms = us / 1000;
    else
        mr_err_set(err, MR_ECONFIG, "an offset, or a time such as 2026-11-23T02:54:10Z, not \"%s\"", text);
    return false;
}

static int64_t member_of(struct mr_json_slice position, const char *pointer, int64_t otherwise)
{
    int64_t n = otherwise;
    if (position.type == MR_JSON_NUMBER)
        return strcmp(pointer, "/next") == 0 && mr_json_i64(position, &n) ? n : otherwise;
    if (position.type == MR_JSON_OBJECT)
        (void)mr_json_i64(mr_json_at(position.raw, mr_str_c(pointer)), &n);
    return n;
}

/* The partitions that a lost landing moved, and between which offsets. */
static void take_moves(struct kafka *k)
{
    struct mr_json_iter it;
    struct mr_str key;
    struct mr_json_slice move, all = mr_json_at(k->replay->moves, MR_STR(""));
    mr_json_iter(&it, all);
    while (mr_json_next(&it, &key, &move)) {
        struct mr_buf stream, part;
        mr_buf_init(&stream, 1024);
        mr_buf_init(&part, 1024);
        char *end;
        if (mr_json_string(mr_json_at(move.raw, MR_STR("/stream")), &stream) && mr_json_string(mr_json_at(move.raw, MR_STR("/part")), &part)) {
            const char *number = strrchr(mr_buf_cstr(&part), '/'); /* of a lost replay, behind its run */
            long n = strtol(number ? number + 1 : part.p, &end, 10);
            struct mr_json_slice from = mr_json_at(move.raw, MR_STR("/old")), to = mr_json_at(move.raw, MR_STR("/new"));
            if (*end == 0 && n >= 0 && n <= INT32_MAX) {
                struct partition *p = partition_of(k, mr_buf_cstr(&stream), (int32_t)n);
                p->first = member_of(from, "/next", 0);
                p->stop_at = member_of(to, "/next", -1);
                p->live_incarnation = member_of(to, "/incarnation", 0);
            }
        }
        mr_buf_free(&stream);
        mr_buf_free(&part);
    }
}

static void ask_begin(struct kafka *k);

static void clamp(struct partition *p, const struct kafka_answer *a)
{
    p->wanted = p->first;
    if (p->first < a->earliest)
        p->first = a->earliest;
    if (p->stop_at > a->end)
        p->stop_at = a->end;
    if (p->first > p->stop_at)
        p->first = p->stop_at; /* nothing of it is left */
}

/* What was asked for, in offsets: [first, stop_at) of each partition. */
static void take_answers(struct kafka *k, const struct kafka_ask *ask)
{
    int64_t from = 0, to = 0, from_ms = -1, to_ms = -1;
    struct mr_err err = {0};
    const struct mr_replay *r = k->replay;
    bool moves = r->moves.n > 0;
    bool by_offset = !moves && is_offset(r->from, &from, &from_ms, &err);
    bool to_offset = !moves && r->to && is_offset(r->to, &to, &to_ms, &err);
    for (size_t i = 0; i < ask->count; i++) {
        const struct kafka_answer *a = &ask->parts[i];
        struct partition *p = partition_of(k, a->topic, a->number);
        if (!moves && !k->second_ask) {
            p->first = by_offset ? from : a->at_time >= 0 ? a->at_time : a->end;
            p->stop_at = to_offset ? to : a->end;
        } else if (!moves) {
            p->stop_at = a->at_time >= 0 ? a->at_time : a->end;
        }
        if (moves || to_ms < 0 || k->second_ask)
            clamp(p, a);
    }
}

static void on_asked(struct kafka_ask *ask)
{
    struct kafka *k = MR_OF(ask, struct kafka, finish_ask);
    struct mr_err err = ask->err;
    k->finish_asking = false;
    if (err.code == MR_OK && ask->missing.n)
        mr_err_set(&err, MR_ENOENT, "topic %.*s", (int)ask->missing.n - 1, ask->missing.p);
    if (err.code == MR_OK)
        kafka_ask_part_failed(ask, &err);
    if (k->stopping || err.code != MR_OK) {
        kafka_ask_free(ask);
        if (k->stopping)
            kafka_pump(k);
        else if (kafka_ask_ends_again(k, &err))
            ask_begin(k);
        return;
    }
    int64_t offset, to_ms = -1;
    take_answers(k, ask);
    bool again = !k->second_ask && k->replay->moves.n == 0 && k->replay->to && !is_offset(k->replay->to, &offset, &to_ms, NULL);
    if (!again)
        kafka_found(k, ask);
    kafka_ask_free(ask);
    k->second_ask = true;
    again ? ask_begin(k) : kafka_pump(k);
}

static void ask_begin(struct kafka *k)
{
    struct kafka_ask *ask = &k->finish_ask;
    const struct mr_replay *r = k->replay;
    int64_t offset, time_ms = -1;
    kafka_ask_init(ask, k->rk);
    ask->topics_want = KAFKA_ASK_EARLIEST | KAFKA_ASK_END;
    if (r->moves.n) {
        for (size_t i = 0; i < k->partitions_cap; i++)
            if (k->partitions[i])
                kafka_ask_part(ask, k->partitions[i]->topic->name, k->partitions[i]->number, ask->topics_want);
    } else {
        is_offset(k->second_ask ? r->to : r->from, &offset, &time_ms, NULL);
        ask->time_ms = time_ms;
        ask->topics_want |= time_ms >= 0 ? KAFKA_ASK_TIME : 0;
        ask->topics = r->stream ? (struct mr_strings){&k->replay_topic, 1} : k->o->topics;
        ask->patterns = !r->stream;
    }
    ask->done = on_asked;
    k->finish_asking = true;
    kafka_ask_start(ask, k->loop->workers);
}

void kafka_replay(void *self, struct mr_replay *what)
{
    struct kafka *k = self;
    struct mr_err err = {0};
    int64_t offset, ms;
    k->replay = what;
    k->run = what->run;
    k->replay_topic = (char *)(uintptr_t)what->stream;
    snprintf(k->prefix, sizeof k->prefix, "replay/%s/", what->run);
    if (what->moves.n == 0) {
        is_offset(what->from, &offset, &ms, &err);
        if (err.code == MR_OK && what->to)
            is_offset(what->to, &offset, &ms, &err);
    }
    k->finishing = true;
    k->heard_ms = mr_loop_now_ms(k->loop);
    if (err.code != MR_OK) {
        kafka_finish(k, &err);
        return;
    }
    if (what->moves.n)
        take_moves(k);
    if (what->moves.n && k->partitions_count == 0) {
        mr_err_set(&err, MR_ENOENT, "this landing moved no partition: a schema of a registry, perhaps, which is landed again with the next record that names it");
        kafka_finish(k, &err);
        return;
    }
    ask_begin(k);
}
