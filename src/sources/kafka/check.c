/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - `millrace check` of one source: a client that only asks, on a worker. Topics, partitions, what is left to read, who else is in the group. */
#include "kafka.h"

#include "client.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct said {
    enum mr_check_level level;
    char *stream, *text;
};
struct checking {
    struct mr_job job;
    struct mr_check *check;
    const struct kafka_options *o;
    char group[512];
    struct said *said;
    size_t count;
    struct mr_client *client; /* for a token only */
    struct kafka_token token;
};

static void say(struct checking *c, enum mr_check_level level, const char *stream, const char *fmt, ...) MR_PRINTF(4, 5);
static void say(struct checking *c, enum mr_check_level level, const char *stream, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    c->said = realloc(c->said, (c->count + 1) * sizeof *c->said);
    assert(c->said);
    c->said[c->count++] = (struct said){level, stream ? strdup(stream) : NULL, strdup(text)};
}

static void say_topics(struct checking *c, const struct kafka_ask *ask)
{
    for (size_t i = 0; i < ask->count; i++) {
        const char *topic = ask->parts[i].topic;
        size_t partitions = 0, failed = 0;
        int64_t left = 0, committed = 0;
        if (i > 0 && strcmp(topic, ask->parts[i - 1].topic) == 0)
            continue;
        for (size_t k = i; k < ask->count && strcmp(ask->parts[k].topic, topic) == 0; k++) {
            const struct kafka_answer *a = &ask->parts[k];
            failed += a->err != 0;
            int64_t from = a->committed > a->earliest ? a->committed : a->earliest;
            partitions++;
            committed += a->committed >= 0;
            left += a->end > from ? a->end - from : 0;
        }
        say(c, MR_CHECK_OK, topic, "%zu partition%s, %" PRId64 " offset%s %s", partitions, partitions == 1 ? "" : "s", left, left == 1 ? "" : "s",
            committed ? "behind what the group has committed" : "there, none committed by the group yet");
        if (failed)
            say(c, MR_CHECK_FAIL, topic, "%zu of its partitions cannot be asked: no leader, or no right", failed);
    }
    const char *at = ask->missing.n ? ask->missing.p : "", *end = at + ask->missing.n;
    while (at < end) {
        const char *line = memchr(at, '\n', (size_t)(end - at)), *colon = memchr(at, ':', (size_t)(line - at));
        char topic[256];
        snprintf(topic, sizeof topic, "%.*s", (int)(colon - at), at);
        say(c, MR_CHECK_FAIL, topic, "%.*s", (int)(line - colon - 2), colon + 2);
        at = line + 1;
    }
    if (ask->count == 0 && ask->missing.n == 0)
        say(c, MR_CHECK_WARN, NULL, "no topic is like any of `topics`");
}

static void say_group(struct checking *c, rd_kafka_t *rk)
{
    const struct rd_kafka_group_list *groups;
    rd_kafka_resp_err_t code = rd_kafka_list_groups(rk, c->group, &groups, KAFKA_ASK_MS);
    if (code && code != RD_KAFKA_RESP_ERR__PARTIAL) {
        say(c, MR_CHECK_WARN, NULL, "group %s: %s", c->group, rd_kafka_err2str(code));
        return;
    }
    const struct rd_kafka_group_info *g = groups->group_cnt ? &groups->groups[0] : NULL;
    if (g && g->err)
        say(c, g->err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ? MR_CHECK_FAIL : MR_CHECK_WARN, NULL, "group %s: %s", c->group, rd_kafka_err2str(g->err));
    else if (!g || g->member_cnt == 0)
        say(c, MR_CHECK_OK, NULL, "group %s has no members now", c->group);
    else
        say(c, MR_CHECK_OK, NULL, "group %s has %d member%s (%s), protocol %s; all must share our state store", c->group, g->member_cnt, g->member_cnt == 1 ? "" : "s", g->state,
            g->protocol && *g->protocol ? g->protocol : "none");
    rd_kafka_group_list_destroy(groups);
}

/* Calls that fail say that there is no connection; why there is none the library says in events alone. */
static void why_not(rd_kafka_t *rk, char out[512])
{
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(rk);
    rd_kafka_event_t *event;
    out[0] = 0;
    while ((event = rd_kafka_queue_poll(queue, 0))) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR && rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
            snprintf(out, 512, ": %s", rd_kafka_event_error_string(event));
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
}

static void run(struct mr_job *job) /* Runs on: worker */
{
    struct checking *c = MR_OF(job, struct checking, job);
    rd_kafka_conf_t *conf = NULL;
    struct mr_err err = {0};
    struct kafka_ask ask;
    char why[512];
    if (kafka_conf(c->o, c->group, (int64_t)64 << 20, &conf, &err) != MR_OK) {
        say(c, MR_CHECK_FAIL, NULL, "%s", err.msg);
        return;
    }
    rd_kafka_conf_set(conf, "log.queue", "false", NULL, 0);
    rd_kafka_conf_set_log_cb(conf, NULL);
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_ERROR);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        say(c, MR_CHECK_FAIL, NULL, "librdkafka %s: %s", rd_kafka_version_str(), why);
        return;
    }
    if (c->client && rd_kafka_oauthbearer_set_token(rk, c->token.value.p, c->token.expires_ms, c->o->sasl.oauth.client_id, NULL, 0, why, sizeof why))
        say(c, MR_CHECK_FAIL, NULL, "token: %s", why);
    kafka_ask_init(&ask, rk);
    ask.topics = c->o->topics;
    ask.patterns = true;
    ask.topics_want = KAFKA_ASK_COMMITTED | KAFKA_ASK_EARLIEST | KAFKA_ASK_END;
    kafka_ask_run(&ask);
    if (ask.err.code == MR_OK) {
        say_topics(c, &ask);
        say_group(c, rk);
    } else {
        why_not(rk, why);
        say(c, MR_CHECK_FAIL, NULL, "%s%s; brokers %s%s", ask.err.msg, why, c->o->brokers.items[0], c->o->brokers.count > 1 ? " and others" : "");
    }
    kafka_ask_free(&ask);
    kafka_client_free(rk);
}

static void tell(void *arg)
{
    struct checking *c = arg;
    struct mr_check *check = c->check;
    for (size_t i = 0; i < c->count; i++) {
        check->line(check, c->said[i].level, c->said[i].stream, c->said[i].text ? c->said[i].text : "");
        free(c->said[i].stream);
        free(c->said[i].text);
    }
    free(c->said);
    free(c);
    check->done(check);
}

static void finish(struct checking *c)
{
    if (!c->client) {
        tell(c);
        return;
    }
    kafka_token_free(&c->token);
    mr_client_close(c->client, tell, c);
}

static void done(struct mr_job *job, bool canceled)
{
    (void)canceled;
    finish(MR_OF(job, struct checking, job));
}

static void ask_brokers(struct checking *c)
{
    c->job = (struct mr_job){.run = run, .done = done};
    mr_worker_submit(c->check->loop->workers, MR_LANE_FAR, &c->job);
}

static void on_token(struct kafka_token *t, const struct mr_err *err)
{
    struct checking *c = MR_OF(t, struct checking, token);
    if (err->code == MR_OK) {
        ask_brokers(c);
        return;
    }
    say(c, MR_CHECK_FAIL, NULL, "%s", err->msg);
    finish(c);
}

void kafka_check(struct mr_check *check)
{
    const struct kafka_options *o = check->options;
    struct mr_err err;
    if (check->offline) {
        char text[256];
        snprintf(text, sizeof text, "%zu topic%s of %s%s", o->topics.count, o->topics.count == 1 ? "" : "s or patterns", o->brokers.items[0], o->brokers.count > 1 ? " and others" : "");
        check->line(check, MR_CHECK_OK, NULL, text);
        check->done(check);
        return;
    }
    struct checking *c = calloc(1, sizeof *c);
    assert(c);
    c->check = check;
    c->o = o;
    kafka_group(o, check->environment, check->name, c->group);
    if (!access_by_token(o)) {
        ask_brokers(c);
        return;
    }
    const struct mr_client_options options = {0};
    if (mr_client_new(check->loop, &options, &c->client, &err) != MR_OK) {
        say(c, MR_CHECK_FAIL, NULL, "%s", err.msg);
        finish(c);
        return;
    }
    kafka_token_init(&c->token, &o->sasl.oauth);
    c->token.done = on_token;
    kafka_token_ask(&c->token, c->client);
}
