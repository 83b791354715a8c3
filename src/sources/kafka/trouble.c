/* SPDX-License-Identifier: Apache-2.0 */
/* trouble.c - what the library complains of, as alerts that say what to do; they close by themselves when it works again. */
#include "kafka.h"

#include <assert.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

enum { UNREACHABLE_MS = 60000, UNKNOWN_MS = 5000, LOST_TOLD_MS = 3600000, TOPICS_LOOK_MS = 10000 };
#define SCRAM_WORKS_FROM 0x020601ff

static void refused(struct kafka *k, bool known, const char *text) /* known: it is clear who we are, but not welcome */
{
    enum kafka_mechanism m = k->o->sasl_given ? (enum kafka_mechanism)(k->o->sasl.mechanism + 1) : KAFKA_NO_SASL;
    bool old = !known && (m == KAFKA_SCRAM_256 || m == KAFKA_SCRAM_512) && rd_kafka_version() < SCRAM_WORKS_FROM;
    k->told_refused = true;
    k->group_refused |= known;
    mr_alert_open(k->loop->alerts, MR_A_KAFKA_REFUSED, k->name, NULL, "%s%s%s%s", text,
                  old ? "; SCRAM against Kafka 4 needs librdkafka 2.6.1 or later, this is " : "", old ? rd_kafka_version_str() : "", k->o->sasl_given ? "" : "; no sasl is configured");
}

static void not_there(struct kafka *k, const char *topic, const char *text)
{
    mr_alert_open(k->loop->alerts, MR_A_KAFKA_TOPIC, k->name, topic, "%s", text);
    struct topic *t = topic_of(k, topic);
    t->told = true;
    if (t->unknown_at_ms == 0)
        t->unknown_at_ms = mr_loop_now_ms(k->loop) + 1;
}

static void fatal(struct kafka *k)
{
    char why[256];
    struct mr_err err;
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(k->rk, why, sizeof why);
    bool fenced = code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
    if (fenced)
        refused(k, true, "another process has the same `instance` in this group, and is the newer one");
    mr_err_set(&err, MR_EINUSE, "%s%s", why, fenced ? "; give each process an `instance` of its own" : "");
    if (k->up && !k->stopping && !k->draining && !k->finishing) {
        k->up = false;
        mr_source_failed(k->src, &err); /* back-off, then a new consumer */
    } else if (k->finishing && k->finish_err.code == MR_OK) {
        k->finish_err = err;
    }
}

/* Of a topic that cannot be subscribed to the library says the name in its text alone. */
static const char *topic_in(const struct kafka *k, const char *text)
{
    for (size_t i = 0; i < k->o->topics.count; i++) {
        const char *name = k->o->topics.items[i];
        size_t n = strlen(name);
        for (const char *at = strstr(text, name); at; at = strstr(at + 1, name))
            if (at > text && at[-1] == ' ' && at[n] == ':')
                return name;
    }
    return NULL;
}

static void unreachable(struct kafka *k, const char *text)
{
    if (k->unreachable_since_ms == 0)
        k->unreachable_since_ms = mr_loop_now_ms(k->loop) + 1;
    snprintf(k->unreachable_why, sizeof k->unreachable_why, "%s", text);
}

void trouble_event(struct kafka *k, rd_kafka_resp_err_t code, const char *topic, const char *text)
{
    mr_log_info(k->loop->log, k->name, "librdkafka_error", MR_S("code", rd_kafka_err2name(code)), MR_S("text", text));
    switch (code) {
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR__SSL:
        refused(k, false, text);
        break;
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        refused(k, true, text);
        break;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        if (!topic)
            topic = topic_in(k, text);
        if (topic)
            not_there(k, topic, text);
        break;
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
        unreachable(k, text);
        break;
    case RD_KAFKA_RESP_ERR__FATAL:
        fatal(k);
        break;
    default:
        if (rd_kafka_fatal_error(k->rk, NULL, 0)) /* it comes under its own code, too */
            fatal(k);
        break; /* logged: the library goes on by itself */
    }
}

void trouble_ask_failed(struct kafka *k, const struct mr_err *err)
{
    if (err->code == MR_EAUTH || err->code == MR_EPERM)
        refused(k, err->code == MR_EPERM, err->msg);
    else
        unreachable(k, err->msg);
}

void trouble_up(struct kafka *k)
{
    bool first = !k->heard_any; /* what was open when the last process ended closes, too */
    k->heard_any = true;
    if (k->unreachable_since_ms || first) {
        k->unreachable_since_ms = 0;
        mr_alert_close(k->loop->alerts, MR_A_KAFKA_UNREACHABLE, k->name, NULL);
    }
    if ((k->told_refused || first) && !k->group_refused) {
        k->told_refused = false;
        mr_alert_close(k->loop->alerts, MR_A_KAFKA_REFUSED, k->name, NULL);
    }
}

void trouble_heard(struct kafka *k)
{
    k->group_refused = false;
    trouble_up(k);
}

static bool any_stopped(const struct kafka *k, const struct topic *t)
{
    for (size_t i = 0; i < k->partitions_cap; i++)
        if (k->partitions[i] && k->partitions[i]->topic == t && k->partitions[i]->state == PARTITION_STOPPED)
            return true;
    return false;
}

void trouble_ours(struct kafka *k, struct partition *p)
{
    if (!any_stopped(k, p->topic)) {
        mr_alert_close(k->loop->alerts, MR_A_KAFKA_FOREIGN_STORE, k->name, p->topic->name);
        mr_alert_close(k->loop->alerts, MR_A_KAFKA_STOPPED, k->name, p->topic->name);
    }
    if (p->state == PARTITION_IDLE)
        return; /* taken away, perhaps since its topic is not there: look_at_topics() tells */
    p->topic->told = false;
    mr_alert_close(k->loop->alerts, MR_A_KAFKA_TOPIC, k->name, p->topic->name);
}

static bool any_ours(const struct kafka *k, const struct topic *t)
{
    for (size_t i = 0; i < k->partitions_cap; i++)
        if (k->partitions[i] && k->partitions[i]->topic == t && k->partitions[i]->state != PARTITION_IDLE)
            return true;
    return false;
}

static void on_topics(struct kafka_ask *ask)
{
    struct kafka *k = MR_OF(ask, struct kafka, topics_ask);
    k->topics_asking = false;
    for (size_t i = 0; ask->err.code == MR_OK && i < ask->count; i++) {
        struct topic *t = topic_of(k, ask->parts[i].topic);
        if (!t->told || any_ours(k, t))
            continue;
        t->told = false;
        mr_alert_close(k->loop->alerts, MR_A_KAFKA_TOPIC, k->name, t->name);
    }
    free(ask->topics.items);
    kafka_ask_free(ask);
    kafka_pump(k);
}

/* A topic that was told to be unreadable is there again, but another process of the group reads it: nothing else would say so. */
static void look_at_topics(struct kafka *k)
{
    uint64_t now_ms = mr_loop_now_ms(k->loop);
    size_t count = 0;
    if (!k->rk || k->topics_asking || k->stopping || now_ms < k->topics_look_ms)
        return;
    for (const struct topic *t = k->topics; t; t = t->next)
        count += t->told && !any_ours(k, t);
    if (count == 0)
        return;
    struct kafka_ask *ask = &k->topics_ask;
    kafka_ask_init(ask, k->rk);
    ask->topics.items = calloc(count, sizeof *ask->topics.items);
    assert(ask->topics.items);
    for (const struct topic *t = k->topics; t; t = t->next)
        if (t->told && !any_ours(k, t))
            ask->topics.items[ask->topics.count++] = t->name;
    ask->done = on_topics;
    k->topics_asking = true;
    k->topics_look_ms = now_ms + TOPICS_LOOK_MS;
    kafka_ask_start(ask, k->loop->workers);
}

/* ---- alerts that are open when a consumer is made: of the process before, or of another config ---- */

struct stale {
    struct kafka *k;
    struct stale_alert { enum mr_alert_id id; char *stream; } *items;
    size_t count;
};

static bool is_configured(const struct kafka *k, const char *topic)
{
    for (size_t i = 0; i < k->o->topics.count; i++) {
        const char *name = k->o->topics.items[i];
        regex_t pattern;
        bool is = strcmp(name, topic) == 0;
        if (!is && name[0] == '^' && regcomp(&pattern, name, REG_EXTENDED | REG_NOSUB) == 0) {
            is = regexec(&pattern, topic, 0, NULL, 0) == 0;
            regfree(&pattern);
        }
        if (is)
            return true;
    }
    return false;
}

static void on_open_alert(void *arg, const struct mr_alert *alert)
{
    struct stale *s = arg;
    if (strcmp(alert->source, s->k->name) != 0 || !*alert->stream || alert->id < MR_A_KAFKA_UNREACHABLE || alert->id > MR_A_KAFKA_STOPPED)
        return;
    if (is_configured(s->k, alert->stream)) {
        if (alert->id == MR_A_KAFKA_TOPIC)
            topic_of(s->k, alert->stream)->told = true;
        return;
    }
    s->items = realloc(s->items, (s->count + 1) * sizeof *s->items);
    assert(s->items);
    s->items[s->count] = (struct stale_alert){alert->id, strdup(alert->stream)};
    assert(s->items[s->count].stream);
    s->count++;
}

void trouble_begin(struct kafka *k)
{
    struct stale s = {.k = k};
    mr_alerts_each(k->loop->alerts, on_open_alert, &s);
    for (size_t i = 0; i < s.count; i++) {
        mr_alert_close(k->loop->alerts, s.items[i].id, k->name, s.items[i].stream);
        free(s.items[i].stream);
    }
    free(s.items);
}

/* ---- what passes with time ---- */

/* What was lost stays told for an hour, and for as long as its partition waits for a person. */
static void look_at_losses(struct kafka *k, struct topic *t)
{
    uint64_t now_ms = mr_loop_now_ms(k->loop);
    bool told = false, due = true;
    for (size_t i = 0; i < k->partitions_cap; i++) {
        const struct partition *p = k->partitions[i];
        if (!p || p->topic != t || p->lost_told_ms == 0)
            continue;
        told = true;
        due &= p->state != PARTITION_STOPPED && now_ms - p->lost_told_ms > LOST_TOLD_MS;
    }
    if (!told || !due)
        return;
    for (size_t i = 0; i < k->partitions_cap; i++)
        if (k->partitions[i] && k->partitions[i]->topic == t)
            k->partitions[i]->lost_told_ms = 0;
    mr_alert_close(k->loop->alerts, MR_A_KAFKA_DATA_LOST, k->name, t->name);
    mr_alert_close(k->loop->alerts, MR_A_KAFKA_LOG_CHANGED, k->name, t->name);
}

void trouble_look(struct kafka *k)
{
    uint64_t now_ms = mr_loop_now_ms(k->loop);
    if (k->unreachable_since_ms && now_ms - k->unreachable_since_ms > UNREACHABLE_MS)
        mr_alert_open(k->loop->alerts, MR_A_KAFKA_UNREACHABLE, k->name, NULL, "no broker answers since a minute or more: %s", k->unreachable_why);
    look_at_topics(k);
    for (struct topic *t = k->topics; t; t = t->next) {
        look_at_losses(k, t);
        if (t->unknown_at_ms && now_ms - t->unknown_at_ms > UNKNOWN_MS) {
            t->unknown_at_ms = 0;
            take_topic_again(t); /* if it is there again it may be another one: the anchor tells */
        }
    }
}
