/* SPDX-License-Identifier: Apache-2.0 */
/* ask.c - one question after the other, each with its time; the first that fails ends the batch. */
#include "ask.h"
#include "options.h"

#include <assert.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

enum mr_code kafka_err(struct mr_err *err, rd_kafka_resp_err_t code, const char *what)
{
    enum mr_code ours;
    switch (code) {
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
        ours = MR_ETIMEDOUT;
        break;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
        ours = MR_EAUTH;
        break;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        ours = MR_EPERM;
        break;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        ours = MR_ENOENT;
        break;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__SSL:
        ours = MR_ENET;
        break;
    default:
        ours = MR_EBUSY;
    }
    return mr_err_set(err, ours, "%s: %s", what, rd_kafka_err2str(code));
}

void kafka_ask_init(struct kafka_ask *ask, rd_kafka_t *rk)
{
    *ask = (struct kafka_ask){.rk = rk};
    mr_buf_init(&ask->missing, 1 << 20);
}

struct kafka_answer *kafka_ask_part(struct kafka_ask *ask, const char *topic, int32_t number, unsigned want)
{
    if (ask->count == ask->cap) {
        ask->cap = ask->cap ? ask->cap * 2 : 16;
        ask->parts = realloc(ask->parts, ask->cap * sizeof *ask->parts);
        assert(ask->parts); /* as many as the cluster has partitions */
    }
    struct kafka_answer *a = &ask->parts[ask->count++];
    *a = (struct kafka_answer){.topic = strdup(topic), .number = number, .want = want, .committed = -1, .earliest = -1, .end = -1, .at_time = -1};
    assert(a->topic);
    return a;
}

void kafka_ask_free(struct kafka_ask *ask)
{
    for (size_t i = 0; i < ask->count; i++) {
        free(ask->parts[i].topic);
        free(ask->parts[i].metadata);
    }
    free(ask->parts);
    mr_buf_free(&ask->missing);
}

/* ---- which partitions are there? ---- */

static void take_topic(struct kafka_ask *ask, const struct rd_kafka_metadata_topic *t)
{
    if (!kafka_topic_ok(t->topic))
        return;
    if (t->err)
        mr_buf_printf(&ask->missing, "%s: %s\n", t->topic, rd_kafka_err2str(t->err));
    for (int i = 0; !t->err && i < t->partition_cnt; i++)
        kafka_ask_part(ask, t->topic, t->partitions[i].id, ask->topics_want);
}

static bool asked_already(const struct kafka_ask *ask, const char *topic)
{
    for (size_t i = 0; i < ask->count; i++)
        if (strcmp(ask->parts[i].topic, topic) == 0)
            return true;
    return false;
}

static bool ask_pattern(struct kafka_ask *ask, const char *pattern)
{
    const struct rd_kafka_metadata *md;
    regex_t regex;
    rd_kafka_resp_err_t code = rd_kafka_metadata(ask->rk, 1, NULL, &md, KAFKA_ASK_MS);
    if (code) {
        kafka_err(&ask->err, code, "list topics");
        return false;
    }
    if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) == 0) { /* checked when the config was read */
        for (int i = 0; i < md->topic_cnt; i++)
            if (regexec(&regex, md->topics[i].topic, 0, NULL, 0) == 0 && !asked_already(ask, md->topics[i].topic))
                take_topic(ask, &md->topics[i]);
        regfree(&regex);
    }
    rd_kafka_metadata_destroy(md);
    return true;
}

static bool ask_topic(struct kafka_ask *ask, const char *name)
{
    const struct rd_kafka_metadata *md;
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(ask->rk, name, NULL);
    if (!rkt) {
        kafka_err(&ask->err, rd_kafka_last_error(), name);
        return false;
    }
    rd_kafka_resp_err_t code = rd_kafka_metadata(ask->rk, 0, rkt, &md, KAFKA_ASK_MS);
    rd_kafka_topic_destroy(rkt);
    if (code) {
        kafka_err(&ask->err, code, name);
        return false;
    }
    for (int i = 0; i < md->topic_cnt; i++)
        if (!asked_already(ask, md->topics[i].topic))
            take_topic(ask, &md->topics[i]);
    rd_kafka_metadata_destroy(md);
    return true;
}

static bool ask_topics(struct kafka_ask *ask)
{
    for (size_t i = 0; i < ask->topics.count; i++) {
        const char *name = ask->topics.items[i];
        if (!(ask->patterns && name[0] == '^' ? ask_pattern(ask, name) : ask_topic(ask, name)))
            return false;
    }
    return true;
}

/* ---- and where do they stand? ---- */

static rd_kafka_topic_partition_list_t *those_who_want(const struct kafka_ask *ask, unsigned want, int64_t offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)ask->count + 1);
    for (size_t i = 0; i < ask->count; i++)
        if (ask->parts[i].want & want)
            rd_kafka_topic_partition_list_add(list, ask->parts[i].topic, ask->parts[i].number)->offset = offset;
    return list;
}

typedef rd_kafka_resp_err_t ask_call(rd_kafka_t *, rd_kafka_topic_partition_list_t *, int timeout_ms);
typedef void take_call(struct kafka_answer *, const rd_kafka_topic_partition_t *told, unsigned want, int64_t asked);

static bool ask_parts(struct kafka_ask *ask, unsigned want, int64_t asked, ask_call *call, take_call *take, const char *what)
{
    rd_kafka_topic_partition_list_t *list = those_who_want(ask, want, asked);
    rd_kafka_resp_err_t code = list->cnt ? call(ask->rk, list, KAFKA_ASK_MS) : RD_KAFKA_RESP_ERR_NO_ERROR;
    int at = 0;
    for (size_t i = 0; !code && i < ask->count; i++) {
        struct kafka_answer *a = &ask->parts[i];
        if (!(a->want & want))
            continue;
        const rd_kafka_topic_partition_t *told = &list->elems[at++];
        if (told->err)
            a->err = told->err;
        take(a, told, want, asked);
    }
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        kafka_err(&ask->err, code, what);
    return !code;
}

static void take_committed(struct kafka_answer *a, const rd_kafka_topic_partition_t *told, unsigned want, int64_t asked)
{
    (void)want, (void)asked;
    a->committed = told->offset >= 0 ? told->offset : -1;
    if (told->offset >= 0 && told->metadata_size > 0)
        a->metadata = strndup(told->metadata, told->metadata_size);
}

/* A call that runs out of time says so of no partition: the value is the one that was asked. */
static void take_offset(struct kafka_answer *a, const rd_kafka_topic_partition_t *told, unsigned want, int64_t asked)
{
    if (!told->err && (want == KAFKA_ASK_TIME ? told->offset == asked : told->offset < 0))
        a->err = RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (want == KAFKA_ASK_TIME)
        a->at_time = told->offset >= 0 ? told->offset : -1; /* -1: nothing that new: its end */
    else if (want == KAFKA_ASK_END)
        a->end = told->offset;
    else
        a->earliest = told->offset;
}

static bool ask_committed(struct kafka_ask *ask)
{
    return ask_parts(ask, KAFKA_ASK_COMMITTED, RD_KAFKA_OFFSET_INVALID, rd_kafka_committed, take_committed, "offsets of the group");
}

static bool ask_times(struct kafka_ask *ask, unsigned want, int64_t time)
{
    return ask_parts(ask, want, time, rd_kafka_offsets_for_times, take_offset, "offsets of the partitions");
}

bool kafka_ask_part_failed(const struct kafka_ask *ask, struct mr_err *err)
{
    char what[300];
    for (size_t i = 0; i < ask->count; i++) {
        if (!ask->parts[i].err)
            continue;
        snprintf(what, sizeof what, "partition %s/%d", ask->parts[i].topic, (int)ask->parts[i].number);
        if (err->code == MR_OK)
            kafka_err(err, ask->parts[i].err, what);
        return true;
    }
    return false;
}

void kafka_ask_run(struct kafka_ask *ask)
{
    ask->err = (struct mr_err){0};
    if (!ask_topics(ask) || !ask_committed(ask) || !ask_times(ask, KAFKA_ASK_EARLIEST, -2) || !ask_times(ask, KAFKA_ASK_END, -1) || !ask_times(ask, KAFKA_ASK_TIME, ask->time_ms))
        return;
    for (size_t i = 0; i < ask->count; i++)
        if (!ask->parts[i].err)
            return;
    if (ask->count) /* nobody has answered anything */
        kafka_err(&ask->err, ask->parts[0].err, "offsets of the partitions");
}

static void run(struct mr_job *job) /* Runs on: worker */
{
    kafka_ask_run(MR_OF(job, struct kafka_ask, job));
}

static void done(struct mr_job *job, bool canceled)
{
    struct kafka_ask *ask = MR_OF(job, struct kafka_ask, job);
    if (canceled)
        mr_err_set(&ask->err, MR_ECANCELED, "stopping");
    ask->done(ask);
}

void kafka_ask_start(struct kafka_ask *ask, struct mr_workers *workers)
{
    ask->job = (struct mr_job){.run = run, .done = done};
    mr_worker_submit(workers, MR_LANE_FAR, &ask->job);
}
