/* SPDX-License-Identifier: Apache-2.0 */
/* kafka.c - the door: the life of one consumer.
 *
 * happy path    start: the client is made on a worker, then subscribes -> up. drain: nothing more is taken, what was taken lands. stop: leave the
 *               group, let go of the client, down
 * ways to fail  the client cannot be made: the config's fault mostly; a fatal error of the library: a new consumer after a back-off; brokers that
 *               do not answer are no failure of the source: it waits, and says so (trouble.c)
 * on close      leaving has CLOSE_MS; a client whose brokers hang is left to the end of the process: all that matters is decided */
#include "kafka.h"

#include "client.h"

#include "millrace/json.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { FINISH_MS = 30000, STATUS_MOST = 1000 };

static void maybe_stopped(struct kafka *k);

/* --once ends where finished transactions ended when it began. Who looks for the rest should know that there is more. */
static void say_what_is_left(const struct kafka *k)
{
    int64_t low, high;
    for (size_t i = 0; i < k->partitions_cap; i++) {
        const struct partition *p = k->partitions[i];
        if (p && p->state == PARTITION_READING && rd_kafka_get_watermark_offsets(k->rk, p->topic->name, p->number, &low, &high) == RD_KAFKA_RESP_ERR_NO_ERROR && high > p->stop_at)
            mr_log_info(k->loop->log, k->name, "left_for_later", MR_S("topic", p->topic->name), MR_I("partition", p->number), MR_I("from", p->stop_at), MR_I("offsets", high - p->stop_at),
                        MR_S("why", "they came since this run began, or a transaction that is not finished holds them back"));
    }
}

void kafka_finish(struct kafka *k, const struct mr_err *err)
{
    if (k->finished)
        return;
    k->finished = true;
    if (!k->replay)
        say_what_is_left(k);
    share_commit(k, true);
    mr_source_finished(k->src, err);
}

static bool caught_up(const struct kafka *k)
{
    for (size_t i = 0; i < k->partitions_cap; i++) {
        const struct partition *p = k->partitions[i];
        if (p && p->stop_at >= 0 && p->state != PARTITION_STOPPED && !(p->state == PARTITION_READING && p->published >= p->stop_at && partition_quiet(p)))
            return false;
    }
    return true;
}

static void maybe_finished(struct kafka *k)
{
    if (k->finishing && !k->finished && !k->finish_asking && k->finish_err.code != MR_OK && mr_code_class(k->finish_err.code) != MR_CLASS_USER) {
        kafka_finish(k, &k->finish_err);
        return;
    }
    if (!k->finishing || !k->found || k->finished || k->filling.count || k->working || !caught_up(k) || !bundles_idle(k) || (k->schemas && !kafka_schemas_idle(k->schemas)))
        return;
    kafka_finish(k, &k->finish_err);
}

static void maybe_drained(struct kafka *k)
{
    if (!k->draining || k->filling.count || k->working || k->moving || !bundles_idle(k))
        return;
    k->draining = false;
    k->drained = true; /* nothing is taken any more, whatever still comes */
    share_commit(k, true);
    mr_source_drained(k->src);
}

void kafka_pump(struct kafka *k)
{
    if (!k->rk || k->closed)
        return;
    bundles_pump(k);
    share_let_go(k);
    take_pump(k);
    share_pump(k);
    share_assign(k);
    share_commit(k, false);
    maybe_finished(k);
    maybe_drained(k);
    if (k->more && consume_has_room(k))
        consume_soon(k);
    else if (k->filling.count)
        slice_submit(k); /* comes back here */
    maybe_stopped(k);
}

static void on_beat(uv_timer_t *beat)
{
    struct kafka *k = MR_OF(beat, struct kafka, beat);
    uint64_t now_ms = mr_loop_now_ms(k->loop);
    consume_turn(k);
    if (k->broken && k->up && !k->stopping && !k->draining && !k->drained && !k->finishing) {
        struct mr_err err;
        mr_err_set(&err, MR_EBUSY, "librdkafka refuses an assignment; the log says why");
        k->up = false;
        mr_source_failed(k->src, &err);
        return;
    }
    if (k->finishing && !k->finished && now_ms - k->heard_ms > FINISH_MS && !(k->found && caught_up(k)) && bundles_idle(k)) {
        if (k->finish_err.code == MR_OK)
            mr_err_set(&k->finish_err, MR_ETIMEDOUT, "nothing came from the brokers for %d s: %s", FINISH_MS / 1000, k->unreachable_why);
        kafka_finish(k, &k->finish_err);
    }
    kafka_pump(k);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct kafka *k = MR_OF(poll, struct kafka, poll);
    uint64_t count;
    (void)status;
    (void)events;
    if (read(k->fd, &count, sizeof count) < 0 && errno != EAGAIN)
        mr_log_warn(k->loop->log, k->name, "queue_fd", MR_S("why", strerror(errno)));
    consume_turn(k);
    if (k->closing)
        maybe_stopped(k);
}

/* ---- start ---- */

static void make_run(struct mr_job *job) /* Runs on: worker */
{
    struct kafka *k = MR_OF(job, struct kafka, life);
    rd_kafka_conf_t *conf = NULL;
    char why[512];
    struct kafka_options o = *k->o;
    if (k->core->once)
        o.instance = NULL; /* no member: what it told the group in that name would be refused, and such a refusal is the client's end */
    if (kafka_conf(&o, k->group, (int64_t)mr_budget_limit(k->loop->budget), &conf, &k->start_err) != MR_OK)
        return;
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_FETCH | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_OFFSET_COMMIT | RD_KAFKA_EVENT_STATS | RD_KAFKA_EVENT_LOG |
                                       RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH);
    k->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!k->rk) {
        rd_kafka_conf_destroy(conf);
        mr_err_set(&k->start_err, MR_ECONFIG, "librdkafka %s: %s", rd_kafka_version_str(), why);
        return;
    }
    rd_kafka_poll_set_consumer(k->rk);
    k->queue = rd_kafka_queue_get_consumer(k->rk);
    rd_kafka_set_log_queue(k->rk, k->queue);
    static const uint64_t one = 1;
    rd_kafka_queue_io_event_enable(k->queue, k->fd, &one, sizeof one);
}

static bool subscribe(struct kafka *k, struct mr_err *err)
{
    if (k->core->once) /* no group is joined: once() reads all partitions up to where they end now */
        return true;
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new((int)k->o->topics.count);
    for (size_t i = 0; i < k->o->topics.count; i++)
        rd_kafka_topic_partition_list_add(topics, k->o->topics.items[i], RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(k->rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (code)
        kafka_err(err, code, "subscribe");
    return !code;
}

static void made(struct mr_job *job, bool canceled)
{
    struct kafka *k = MR_OF(job, struct kafka, life);
    k->starting = false;
    if (canceled)
        mr_err_set(&k->start_err, MR_ECANCELED, "stopping");
    if (k->stopping) {
        maybe_stopped(k);
        return;
    }
    if (k->start_err.code == MR_OK && subscribe(k, &k->start_err)) {
        uv_poll_start(&k->poll, UV_READABLE, on_readable);
        uv_timer_start(&k->beat, on_beat, BEAT_MS, BEAT_MS);
        k->up = true;
        if (k->o->registry_given)
            k->schemas = kafka_schemas_new(k->src, &k->o->registry);
        mr_source_up(k->src);
        trouble_begin(k);
        consume_turn(k);
    } else {
        mr_source_failed(k->src, &k->start_err);
    }
}

static enum mr_code open_(void *self, struct mr_source *src, const void *options, struct mr_err *err)
{
    struct kafka *k = self;
    k->src = src;
    k->o = options;
    k->core = mr_source_core(src);
    k->loop = k->core->loop;
    k->name = mr_source_name(src);
    k->fd = -1;
    kafka_group(k->o, k->core->environment, k->name, k->group);
    snprintf(k->store_id, sizeof k->store_id, "%s", k->core->store_id);
    kafka_commit_mark(k->store_id, k->mark);
    mr_buf_init(&k->line, 1 << 16);
    k->run = "";
    kafka_token_init(&k->token, &k->o->sasl.oauth);
    k->take_backoff = mr_backoff_of(500, 10000);
    k->filling.items = calloc(SLICE_RECORDS * 2, sizeof *k->filling.items);
    k->out.items = calloc(SLICE_RECORDS * 2, sizeof *k->out.items);
    if (!k->filling.items || !k->out.items)
        return mr_err_set(err, MR_ENOMEM, "source %s", k->name);
    size_t memory = (size_t)k->o->prefetch + 2 * SLICE_BYTES;
    k->share_of_memory = mr_share_new(k->loop->budget, k->name, memory, NULL, NULL);
    if (!mr_share_take(k->share_of_memory, memory))
        return mr_err_set(err, MR_EBUSY, "source %s: limits.memory has no %zu bytes left for prefetch: raise the one or lower the other", k->name, memory);
    k->records = mr_metric(k->loop->metrics, MR_M_KAFKA_RECORDS, k->name);
    k->bytes = mr_metric(k->loop->metrics, MR_M_KAFKA_BYTES, k->name);
    k->rebalances = mr_metric(k->loop->metrics, MR_M_KAFKA_REBALANCES, k->name);
    return MR_OK;
}

static void start(void *self)
{
    struct kafka *k = self;
    struct mr_err err = {0};
    k->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (k->fd < 0) {
        mr_err_sys(&err, errno, "eventfd");
        mr_source_failed(k->src, &err);
        return;
    }
    uv_poll_init(&k->loop->uv, &k->poll, k->fd);
    uv_idle_init(&k->loop->uv, &k->again);
    uv_timer_init(&k->loop->uv, &k->beat);
    k->handles = 3;
    k->starting = true;
    k->life = (struct mr_job){.run = make_run, .done = made};
    mr_worker_submit(k->loop->workers, MR_LANE_FAR, &k->life);
}

/* ---- stop ---- */

static void on_handle_closed(uv_handle_t *h)
{
    struct kafka *k = h->data;
    if (--k->handles > 0)
        return;
    close(k->fd);
    k->fd = -1;
    mr_source_down(k->src);
}

static void let_handles_go(struct kafka *k)
{
    if (k->handles_closing)
        return;
    k->handles_closing = true;
    if (k->handles == 0) {
        mr_source_down(k->src);
        return;
    }
    k->poll.data = k->again.data = k->beat.data = k;
    uv_close((uv_handle_t *)&k->poll, on_handle_closed);
    uv_close((uv_handle_t *)&k->again, on_handle_closed);
    uv_close((uv_handle_t *)&k->beat, on_handle_closed);
}

/* librdkafka before 2.3.0 asserts when a member ends that has joined and was never told its share, were it none (librdkafka#4312). */
static bool ends_badly(const struct kafka *k)
{
    return !k->core->once && !k->replay && !k->assigned_ever && k->o->assignment == KAFKA_COOPERATIVE && rd_kafka_version() < 0x020300ff;
}

static void unmake_run(struct mr_job *job) /* Runs on: worker */
{
    struct kafka *k = MR_OF(job, struct kafka, life);
    rd_kafka_queue_io_event_enable(k->queue, -1, NULL, 0); /* the fd is closed, the client may live on */
    rd_kafka_queue_destroy(k->queue);
    if (ends_badly(k))
        kafka_client_leave(k->rk);
    else if (!kafka_client_free(k->rk))
        mr_log_warn(k->loop->log, k->name, "client_left", MR_S("why", "librdkafka does not end; its threads are left to the end of the process"));
}

static void unmade(struct mr_job *job, bool canceled)
{
    struct kafka *k = MR_OF(job, struct kafka, life);
    (void)canceled;
    k->rk = NULL;
    let_handles_go(k);
}

static bool busy(const struct kafka *k)
{
    if (k->starting || k->working || k->asking || k->finish_asking || k->nudging || k->taking || k->moving || k->lag_out || k->ends_out || k->topics_asking)
        return true;
    for (const struct bundle *f = k->bundles; f; f = f->next)
        for (const struct flight *x = f->flights; x; x = x->next)
            if (!x->decided)
                return true;
    return false;
}

static void leave(struct kafka *k)
{
    k->closing = true;
    kafka_token_free(&k->token);
    for (struct bundle *f = k->bundles; f; f = f->next)
        if (f->open)
            bundle_fail(f, &(struct mr_err){.code = MR_ECANCELED, .msg = "stopping"});
    slice_clear(&k->filling);
    uv_timer_start(&k->beat, on_beat, BEAT_MS, BEAT_MS); /* it may have been stopped before it was up */
    uv_poll_start(&k->poll, UV_READABLE, on_readable);
    if (k->share.event)
        share_pump(k);
    k->answered = false; /* that was before it */
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(k->rk, k->queue);
    if (error) {
        mr_log_debug(k->loop->log, k->name, "consumer_close", MR_S("why", rd_kafka_error_string(error)));
        rd_kafka_error_destroy(error);
    }
    k->close_deadline_ms = mr_loop_now_ms(k->loop) + CLOSE_MS;
}

static void on_schemas_gone(void *arg)
{
    struct kafka *k = arg;
    k->schemas = NULL;
    maybe_stopped(k);
}

static void maybe_stopped(struct kafka *k)
{
    if (!k->stopping || k->closed || busy(k))
        return;
    if (k->schemas && !k->schemas_stopping) {
        k->schemas_stopping = true;
        kafka_schemas_stop(k->schemas, on_schemas_gone, k); /* comes back here */
        return;
    }
    if (k->schemas)
        return;
    if (!k->rk) {
        k->closed = true;
        let_handles_go(k);
        return;
    }
    if (!k->closing)
        leave(k);
    bool late = mr_loop_now_ms(k->loop) >= k->close_deadline_ms;
    if (!rd_kafka_consumer_closed(k->rk) && !late)
        return; /* the beat or the queue comes back here */
    if (late)
        mr_log_warn(k->loop->log, k->name, "group_not_left", MR_S("why", "no answer in time; the group gives our partitions away after session.timeout.ms"));
    k->closed = true;
    uv_timer_stop(&k->beat);
    uv_idle_stop(&k->again);
    uv_poll_stop(&k->poll);
    k->life = (struct mr_job){.run = unmake_run, .done = unmade};
    mr_worker_submit(k->loop->workers, MR_LANE_FAR, &k->life);
}

static void stop(void *self)
{
    struct kafka *k = self;
    k->stopping = true;
    k->up = false;
    maybe_stopped(k);
}

static void close_(void *self)
{
    struct kafka *k = self;
    bundles_free(k);
    partitions_free(k);
    mr_share_free(k->share_of_memory);
    kafka_token_free(&k->token);
    mr_buf_free(&k->line);
    free(k->filling.items);
    free(k->out.items);
}

/* ---- pause, drain, once ---- */

static void pause_(void *self)
{
    struct kafka *k = self;
    k->paused = true;
    share_pause(k, true);
}

static void resume(void *self)
{
    struct kafka *k = self;
    k->paused = false;
    if (!k->held)
        share_pause(k, false);
    for (struct topic *t = k->topics; t; t = t->next)
        take_topic_again(t); /* meanwhile it may have been made anew: the anchor tells */
    kafka_pump(k);
}

static void drain(void *self)
{
    struct kafka *k = self;
    k->draining = true;
    share_pause(k, true);
    kafka_pump(k);
}

static void finish_begin(struct kafka *k);

void kafka_found(struct kafka *k, const struct kafka_ask *ask)
{
    k->heard_ms = mr_loop_now_ms(k->loop);
    k->per_topic = k->o->files == KAFKA_FILES_PER_TOPIC || (k->o->files == KAFKA_FILES_AUTO && ask->count >= PER_TOPIC_FROM);
    for (size_t i = 0; i < ask->count; i++) {
        if (ask->parts[i].err)
            continue; /* told: finish_err */
        struct partition *p = partition_of(k, ask->parts[i].topic, ask->parts[i].number);
        if (p->stop_at < 0)
            p->stop_at = ask->parts[i].end;
        p->state = PARTITION_TAKING;
        p->look_at_group = !k->replay;
    }
    k->found = true;
}

bool kafka_ask_ends_again(struct kafka *k, const struct mr_err *err)
{
    trouble_ask_failed(k, err);
    if (mr_loop_now_ms(k->loop) - k->heard_ms <= FINISH_MS && mr_code_class(err->code) != MR_CLASS_USER)
        return true;
    kafka_finish(k, err);
    return false;
}

static void on_ends(struct kafka_ask *ask)
{
    struct kafka *k = MR_OF(ask, struct kafka, finish_ask);
    k->finish_asking = false;
    if (k->stopping) {
        kafka_ask_free(ask);
        kafka_pump(k);
        return;
    }
    if (ask->err.code != MR_OK) {
        struct mr_err err = ask->err;
        kafka_ask_free(ask);
        if (kafka_ask_ends_again(k, &err))
            finish_begin(k);
        return;
    }
    if (ask->missing.n)
        mr_err_set(&k->finish_err, MR_ENOENT, "topic %.*s", (int)ask->missing.n - 1, ask->missing.p);
    if (kafka_ask_part_failed(ask, &k->finish_err) && mr_loop_now_ms(k->loop) - k->heard_ms <= FINISH_MS) {
        k->finish_err = (struct mr_err){0}; /* a leader is being chosen, perhaps */
        kafka_ask_free(ask);
        finish_begin(k);
        return;
    }
    kafka_found(k, ask);
    kafka_ask_free(ask);
    kafka_pump(k);
}

static void finish_begin(struct kafka *k)
{
    struct kafka_ask *ask = &k->finish_ask;
    kafka_ask_init(ask, k->rk);
    ask->topics = k->o->topics;
    ask->patterns = true;
    ask->topics_want = KAFKA_ASK_END;
    ask->done = on_ends;
    k->finish_asking = true;
    kafka_ask_start(ask, k->loop->workers);
}

static void once(void *self)
{
    struct kafka *k = self;
    k->finishing = true;
    k->heard_ms = mr_loop_now_ms(k->loop);
    finish_begin(k);
}

/* ---- what people see ---- */

static const char *state_name(const struct partition *p)
{
    static const char *const names[] = {[PARTITION_IDLE] = "idle", [PARTITION_TAKING] = "taking", [PARTITION_READY] = "taking", [PARTITION_READING] = "reading", [PARTITION_STOPPED] = "stopped"};
    return names[p->state];
}

static void status(const void *self, struct mr_buf *json)
{
    const struct kafka *k = self;
    int shown = 0;
    mr_buf_puts(json, ",\"group\":");
    mr_json_put_string(json, mr_str_c(k->group));
    mr_buf_printf(json, ",\"answering\":%s,\"partitions\":[", k->unreachable_since_ms ? "false" : "true");
    for (size_t i = 0; i < k->partitions_cap && shown < STATUS_MOST; i++) {
        const struct partition *p = k->partitions[i];
        if (!p || p->state == PARTITION_IDLE)
            continue;
        mr_buf_printf(json, "%s{\"topic\":\"%s\",\"partition\":%" PRId32 ",\"state\":\"%s\",\"read\":%" PRId64 ",\"landed\":%" PRId64 ",\"read_lag\":%.0f,\"landed_lag\":%.0f}",
                      shown++ ? "," : "", p->topic->name, p->number, state_name(p), p->read, p->published, mr_cell_value(p->read_lag), mr_cell_value(p->landed_lag));
    }
    mr_buf_putc(json, ']');
}

static void tick(void *self)
{
    struct kafka *k = self;
    trouble_look(k);
    lag_look(k);
    if (k->schemas)
        kafka_schemas_look(k->schemas);
}

extern const struct mr_door mr_door_kafka;
const struct mr_door mr_door_kafka = {
    .name = "kafka",
    .doc = "Topics of a Kafka cluster: each record once, in order within its partition.",
    .options = kafka_rows,
    .options_size = sizeof(struct kafka_options),
    .self_size = sizeof(struct kafka),
    .validate = kafka_validate,
    .validate_all = kafka_validate_all,
    .open = open_,
    .start = start,
    .pause = pause_,
    .resume = resume,
    .drain = drain,
    .once = once,
    .replay = kafka_replay,
    .stop = stop,
    .close = close_,
    .check = kafka_check,
    .status = status,
    .tick = tick,
};
