/* SPDX-License-Identifier: Apache-2.0 */
/* table.c - the topics and partitions that a source has met, by name. They stay until the source goes. */
#include "kafka.h"

#include "millrace/hash.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct topic *topic_of(struct kafka *k, const char *name)
{
    for (struct topic *t = k->topics; t; t = t->next)
        if (strcmp(t->name, name) == 0)
            return t;
    struct topic *t = calloc(1, sizeof *t);
    assert(t);
    t->k = k;
    t->name = strdup(name);
    assert(t->name);
    t->name_n = strlen(name);
    t->next = k->topics;
    k->topics = t;
    return t;
}

static size_t slot_of(const struct kafka *k, const char *topic, int32_t number)
{
    size_t mask = k->partitions_cap - 1;
    size_t at = mr_crc32c((uint32_t)number, topic, strlen(topic)) & mask;
    while (k->partitions[at] && !(k->partitions[at]->number == number && strcmp(k->partitions[at]->topic->name, topic) == 0))
        at = (at + 1) & mask;
    return at;
}

struct partition *partition_find(const struct kafka *k, const char *topic, int32_t number)
{
    return k->partitions_cap ? k->partitions[slot_of(k, topic, number)] : NULL;
}

static void grow(struct kafka *k)
{
    struct partition **old = k->partitions;
    size_t cap = k->partitions_cap;
    k->partitions_cap = cap ? cap * 2 : 64;
    k->partitions = calloc(k->partitions_cap, sizeof *k->partitions);
    assert(k->partitions); /* as many as the cluster has */
    for (size_t i = 0; i < cap; i++)
        if (old[i])
            k->partitions[slot_of(k, old[i]->topic->name, old[i]->number)] = old[i];
    free(old);
}

void partition_named(struct partition *p)
{
    int n = p->at.incarnation > 0 ? snprintf(p->id, sizeof p->id, "%s/%" PRId32 "@%" PRId64 "/", p->topic->name, p->number, p->at.incarnation)
                                  : snprintf(p->id, sizeof p->id, "%s/%" PRId32 "/", p->topic->name, p->number);
    p->id_n = (size_t)n;
    n = snprintf(p->position, sizeof p->position, "{\"topic\":\"%s\",\"partition\":%" PRId32 ",\"offset\":", p->topic->name, p->number);
    p->position_n = (size_t)n;
    assert(p->id_n < sizeof p->id && p->position_n < sizeof p->position); /* names of topics have 249 bytes at most */
}

struct partition *partition_of(struct kafka *k, const char *topic, int32_t number)
{
    struct partition *p = partition_find(k, topic, number);
    if (p)
        return p;
    if ((k->partitions_count + 1) * 2 > k->partitions_cap)
        grow(k);
    p = calloc(1, sizeof *p);
    assert(p);
    p->k = k;
    p->topic = topic_of(k, topic);
    p->number = number;
    p->at.anchor.offset = p->mark.offset = p->published = p->committed = p->stop_at = p->low = p->high = p->stable = -1;
    p->read_ts_ms = p->covered_ts_ms = p->published_ts_ms = -1;
    p->lost_told_ms = mr_loop_now_ms(k->loop) + 1; /* what was told before the process started closes, too */
    snprintf(p->part, sizeof p->part, "%s%" PRId32, k->prefix, number);
    partition_named(p);
    const char *label = p->part + strlen(k->prefix);
    struct mr_metrics *m = k->loop->metrics;
    p->read_lag = mr_metric(m, MR_M_KAFKA_READ_LAG, k->name, topic, label);
    p->landed_lag = mr_metric(m, MR_M_KAFKA_LANDED_LAG, k->name, topic, label);
    p->read_lag_s = mr_metric(m, MR_M_KAFKA_READ_LAG_SECONDS, k->name, topic, label);
    p->landed_lag_s = mr_metric(m, MR_M_KAFKA_LANDED_LAG_SECONDS, k->name, topic, label);
    k->partitions[slot_of(k, topic, number)] = p;
    k->partitions_count++;
    return p;
}

void partitions_free(struct kafka *k)
{
    for (size_t i = 0; i < k->partitions_cap; i++)
        free(k->partitions[i]);
    free(k->partitions);
    k->partitions = NULL;
    k->partitions_cap = k->partitions_count = 0;
    for (struct topic *t = k->topics, *next; t; t = next) {
        next = t->next;
        free(t->name);
        free(t);
    }
    k->topics = NULL;
}
