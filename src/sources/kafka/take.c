/* SPDX-License-Identifier: Apache-2.0 */
/* take.c - where is a partition read from? One round at a time, over all partitions that wait for an answer:
 *
 *   look     the positions that the store has
 *   ask      the brokers: what the group has committed, where a topic that was never read begins, what is left where an offset is not there (ask.c)
 *   move     what must be settled before the first record, as decisions without a file: all partitions of a topic that is new to us in one;
 *            a jump over what is lost, with a row that says so
 *   settle   READY: the anchor's record is read again first, then what follows
 *
 * ways to fail  store or brokers do not answer: again after a back-off; a position moved meanwhile: from the top
 * on close      the round at hand ends, nothing is settled */
#include "kafka.h"

#include "millrace/clock.h"
#include "millrace/hash.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { STOPPED_LOOK_MS = 5000, FENCED_AGAIN_MS = 200 };

static void round_end(struct kafka *k, bool again_later)
{
    k->taking = false;
    for (size_t i = 0; i < k->partitions_cap; i++)
        if (k->partitions[i])
            k->partitions[i]->in_take = false;
    if (again_later)
        k->take_at_ms = mr_loop_now_ms(k->loop) + (uint64_t)mr_backoff_next(&k->take_backoff, mr_random_u64()) + 100;
    else
        mr_backoff_reset(&k->take_backoff);
    kafka_pump(k);
}

void take_again(struct partition *p, enum partition_trouble trouble)
{
    if (p->state != PARTITION_READING && p->state != PARTITION_READY)
        return;
    p->state = PARTITION_TAKING;
    p->trouble = trouble;
}

void take_topic_again(struct topic *t)
{
    struct kafka *k = t->k;
    for (size_t i = 0; i < k->partitions_cap; i++)
        if (k->partitions[i] && k->partitions[i]->topic == t)
            take_again(k->partitions[i], TROUBLE_NONE);
}

void take_settled(struct partition *p, struct kafka_position at, int64_t version)
{
    struct kafka *k = p->k;
    p->at = at;
    p->version = version;
    p->read = p->covered = p->published = at.next;
    p->committed = -1;
    p->verifying = at.anchor.offset >= 0 && p->trouble != TROUBLE_RANGE;
    p->trouble = TROUBLE_NONE;
    p->full = false;
    p->moved_at_ms = 0;
    p->read_ts_ms = p->covered_ts_ms = p->published_ts_ms = at.anchor.offset >= 0 ? at.anchor.ts_ms : -1;
    p->pace.since_ms = 0;
    p->turn++;
    p->state = PARTITION_READY;
    partition_named(p);
    bundle_join(bundle_of(k, p->topic, k->per_topic ? -1 : p->number), p);
    if (k->commit_at_ms == 0)
        k->commit_at_ms = mr_loop_now_ms(k->loop) + COMMIT_MS;
    trouble_ours(k, p);
}

static void stop_partition(struct partition *p)
{
    p->state = PARTITION_STOPPED;
    p->stopped_version = p->row_version;
    if (p->k->finishing && p->k->finish_err.code == MR_OK)
        mr_err_set(&p->k->finish_err, MR_EMISMATCH, "partition %s/%s is stopped; the alert says why", p->topic->name, p->part);
}

/* ---- move ---- */

struct jump {
    struct partition *p; /* NULL: of a partition that is not ours */
    const char *topic;
    int32_t number;
    int64_t expected;
    struct kafka_position to;
    const char *loss; /* NULL: nothing is lost; else why */
    int64_t from;
};
struct moving {
    struct kafka *k;
    struct jump *jumps;
    size_t count, cap;
    struct mr_move *moves;
    struct mr_row *rows;
    struct mr_buf text;
    bool failed;
};

static void jump_add(struct moving *m, struct jump j)
{
    if (m->count == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 16;
        m->jumps = realloc(m->jumps, m->cap * sizeof *m->jumps);
        assert(m->jumps);
    }
    m->jumps[m->count++] = j;
}

static void moving_free(struct moving *m)
{
    free(m->jumps);
    free(m->moves);
    free(m->rows);
    mr_buf_free(&m->text);
    free(m);
}

/* A topic that was begun anew beside its readers: whoever of it is idle has no landing that would be fenced. */
static void take_moved(const struct moving *m)
{
    for (size_t i = 0; i < m->count; i++) {
        struct partition *p = m->jumps[i].p;
        if (!p || p->state != PARTITION_READING || p->revoking)
            continue;
        p->turn++;
        take_again(p, TROUBLE_NONE);
    }
}

static void on_moved(void *arg, const struct mr_verdict *verdict)
{
    struct moving *m = arg;
    struct kafka *k = m->k;
    bool ok = verdict->code == MR_OK || verdict->code == MR_EFENCED; /* fenced: somebody else settled it */
    if (!ok)
        mr_log_warn(k->loop->log, k->name, "positions_not_moved", MR_S("why", verdict->err->msg));
    if (verdict->code == MR_OK)
        take_moved(m);
    else
        moving_free(m); /* on_published does not come */
    k->moving = false;
    round_end(k, !ok);
    if (ok)
        k->take_at_ms = verdict->code == MR_OK ? 0 : mr_loop_now_ms(k->loop) + FENCED_AGAIN_MS;
}

static void on_told(void *arg, enum mr_published how)
{
    (void)how;
    moving_free(arg);
}

/* Strings of moves and rows lie in m->text, which must have stopped growing before they are pointed at. */
static void move_begin(struct kafka *k, struct moving *m)
{
    size_t rows_count = 0, at = 0;
    char now[28], key[64];
    m->moves = calloc(m->count, sizeof *m->moves);
    m->rows = calloc(m->count, sizeof *m->rows);
    assert(m->moves && m->rows);
    mr_time_text(mr_wall_us(), now);
    struct { size_t part_n, value_n, key_n, row_n; } *n = calloc(m->count, sizeof *n);
    assert(n);
    for (size_t i = 0; i < m->count; i++) {
        const struct jump *j = &m->jumps[i];
        size_t from = m->text.n;
        assert(!k->replay);
        mr_buf_printf(&m->text, "%" PRId32, j->number);
        n[i].part_n = m->text.n - from;
        from = m->text.n;
        kafka_position_put(&j->to, &m->text);
        n[i].value_n = m->text.n - from;
        if (!j->loss)
            continue;
        snprintf(key, sizeof key, "%" PRId32 "/%020" PRId64, j->number, j->from);
        from = m->text.n;
        mr_buf_puts(&m->text, key);
        n[i].key_n = m->text.n - from;
        from = m->text.n;
        mr_buf_printf(&m->text, "{\"partition\":%" PRId32 ",\"from\":%" PRId64 ",\"to\":%" PRId64 ",\"reason\":\"%s\",\"noticed_at\":\"%s\"}", j->number, j->from, j->to.next, j->loss, now);
        n[i].row_n = m->text.n - from;
    }
    assert(!m->text.failed);
    for (size_t i = 0; i < m->count; i++) {
        const struct jump *j = &m->jumps[i];
        const char *p = m->text.p + at;
        m->moves[i] = (struct mr_move){.source = mr_str_c(k->name), .stream = mr_str_c(j->topic), .part = {p, n[i].part_n}, .expected_version = j->expected, .value = {p + n[i].part_n, n[i].value_n}};
        p += n[i].part_n + n[i].value_n;
        if (j->loss)
            m->rows[rows_count++] = (struct mr_row){.source = mr_str_c(k->name), .stream = mr_str_c(j->topic), .kind = MR_STR("loss"), .key = {p, n[i].key_n}, .value = {p + n[i].key_n, n[i].row_n}, .expected_version = -1};
        at += n[i].part_n + n[i].value_n + n[i].key_n + n[i].row_n;
    }
    free(n);
    k->moving = true;
    struct mr_landing_owner nobody = {0};
    struct mr_landing *l = mr_landing_begin(k->core->landings, mr_str_c(k->name), (struct mr_str){0}, MR_LANDING_ROLLING, &nobody);
    struct mr_landing_end end = {.on_decided = on_moved, .on_published = on_told, .arg = m};
    mr_landing_decide(l, m->moves, m->count, m->rows, rows_count, NULL, 0, &end);
}

/* ---- what the answers mean ---- */

/* Nobody said, of it or of one of its topic's where all are needed: it is asked again, the others go on. */
static bool unanswered(const struct kafka *k, const struct partition *p)
{
    bool fresh = !p->has_row && !p->topic->rows, any = false;
    for (size_t i = 0; i < k->ask.count; i++) {
        const struct kafka_answer *a = &k->ask.parts[i];
        if (strcmp(a->topic, p->topic->name) != 0 || (!fresh && a->number != p->number))
            continue;
        any = true;
        if (a->err)
            return true;
    }
    return fresh && !any;
}

static const struct kafka_answer *answer_of(const struct kafka *k, const struct partition *p)
{
    for (size_t i = 0; i < k->ask.count; i++)
        if (k->ask.parts[i].number == p->number && strcmp(k->ask.parts[i].topic, p->topic->name) == 0)
            return &k->ask.parts[i];
    return NULL;
}

static void text_of_time(int64_t ts_ms, char out[28])
{
    if (ts_ms >= 0 && ts_ms < INT64_C(253402300800000))
        mr_time_text(ts_ms * 1000, out);
    else
        snprintf(out, 28, "an unknown time");
}

/* The broker has another log than the one that was read, or no longer what was to be read next. */
static void judge_trouble(struct moving *m, struct partition *p, const struct kafka_answer *a)
{
    struct kafka *k = m->k;
    const struct kafka_position *row = &p->row;
    char last[28];
    const char *then = k->o->on_loss ? "stopped (on_loss: stop); `millrace state set` says where to go on" : "going on from the first record there is";
    enum kafka_range_verdict verdict = kafka_range_judge(row->next, a->earliest, a->end);
    if (p->trouble == TROUBLE_RANGE && verdict == KAFKA_RANGE_FINE)
        return;
    if (k->replay) { /* its own positions do not jump, and the live ones are not its to move */
        mr_log_warn(k->loop->log, k->name, "replay_not_whole", MR_S("topic", p->topic->name), MR_S("part", p->part), MR_I("from", row->next), MR_I("first_left", a->earliest), MR_I("end", a->end));
        if (k->finish_err.code == MR_OK)
            mr_err_set(&k->finish_err, MR_ENOENT, "%s, partition %" PRId32 ": the log is another one, or offsets from %" PRId64 " on are no longer there; replay what is left under another --run", p->topic->name,
                       p->number, row->next);
        stop_partition(p);
        return;
    }
    if (p->trouble == TROUBLE_RANGE && verdict == KAFKA_RANGE_CUT && row->anchor.offset < 0) {
        mr_alert_open(k->loop->alerts, MR_A_KAFKA_STOPPED, k->name, p->topic->name,
                      "partition %" PRId32 ": its position is offset %" PRId64 ", beyond the end of its log at %" PRId64 ", and no record that landed says which log that was", p->number, row->next, a->end);
        stop_partition(p);
        return;
    }
    struct jump j = {.p = p, .topic = p->topic->name, .number = p->number, .expected = p->row_version, .to = {.next = a->earliest, .anchor = {.offset = -1}, .incarnation = row->incarnation}, .from = row->next};
    text_of_time(row->anchor.offset >= 0 ? row->anchor.ts_ms : -1, last);
    p->lost_told_ms = mr_loop_now_ms(k->loop) + 1;
    if (p->trouble == TROUBLE_RANGE && verdict == KAFKA_RANGE_LOST) {
        j.loss = "retention";
        mr_alert_open(k->loop->alerts, MR_A_KAFKA_DATA_LOST, k->name, p->topic->name,
                      "partition %s: offsets %" PRId64 " to %" PRId64 " (%" PRId64 ") are gone before they were read; the last record that landed is of %s; %s", p->part, row->next,
                      a->earliest - 1, a->earliest - row->next, last, then);
    } else {
        j.loss = p->trouble == TROUBLE_OTHER_LOG ? "another_log" : "cut";
        j.to.incarnation++;
        if (p->trouble == TROUBLE_OTHER_LOG)
            mr_alert_open(k->loop->alerts, MR_A_KAFKA_LOG_CHANGED, k->name, p->topic->name,
                          "partition %s: offset %" PRId64 " holds another record than the one that landed: the topic was made anew, or its log was cut; it has offsets %" PRId64 " to %" PRId64
                          " now; %s",
                          p->part, row->anchor.offset, a->earliest, a->end, then);
        else
            mr_alert_open(k->loop->alerts, MR_A_KAFKA_LOG_CHANGED, k->name, p->topic->name,
                          "partition %s: its log ends at offset %" PRId64 ", before %" PRId64 " which was to be read next: the topic was made anew, or its log was cut; %s", p->part, a->end, row->next,
                          then);
    }
    if (k->o->on_loss)
        stop_partition(p);
    else
        jump_add(m, j);
}

/* Offsets that a millrace with another state store has committed for this group: what lies before them has landed there. true: the partition is dealt with. */
static bool judge_foreign(struct moving *m, struct partition *p, const struct kafka_answer *a)
{
    struct kafka *k = m->k;
    struct mr_str metadata = mr_str_c(a->metadata ? a->metadata : "");
    enum kafka_commit_owner owner = kafka_commit_owner(a->committed, metadata, k->store_id);
    int64_t next = p->has_row ? p->row.next : 0;
    p->look_at_group = false;
    if (owner == KAFKA_COMMIT_STRANGER && p->has_row && a->committed != next)
        mr_log_info(k->loop->log, k->name, "group_offset_ignored", MR_S("topic", p->topic->name), MR_I("partition", p->number), MR_I("committed", a->committed), MR_I("position", next),
                    MR_S("hint", "the state store counts: millrace state set moves it"));
    if (owner != KAFKA_COMMIT_OTHER_STORE || a->committed <= next)
        return false;
    if (!k->o->on_foreign_store) {
        mr_alert_open(k->loop->alerts, MR_A_KAFKA_FOREIGN_STORE, k->name, p->topic->name,
                      "partition %s: a millrace with another state store (%.*s) has read group %s up to offset %" PRId64 ", this one up to %" PRId64
                      ": what lies between would land twice. Stopped; give all processes of a group one state store, or another group, or set on_foreign_store: follow",
                      p->part, (int)(metadata.n < 60 ? metadata.n : 60), metadata.p, k->group, a->committed, next);
        stop_partition(p);
        return true;
    }
    if (p->has_row || p->topic->rows)
        jump_add(m, (struct jump){.p = p, .topic = p->topic->name, .number = p->number, .expected = p->row_version, .to = {.next = a->committed, .anchor = {.offset = -1}, .incarnation = p->row.incarnation}});
    return p->has_row || p->topic->rows;
}

/* A topic that the store knows nothing of: a position for each of its partitions, in one decision. */
static bool is_fresh(const struct kafka *k, const struct topic *t)
{
    for (size_t i = 0; i < k->ask.topics.count; i++)
        if (strcmp(k->ask.topics.items[i], t->name) == 0)
            return !t->rows;
    return false;
}

static bool topic_unanswered(const struct kafka *k, const struct topic *t)
{
    for (size_t i = 0; i < k->ask.count; i++)
        if (k->ask.parts[i].err && strcmp(k->ask.parts[i].topic, t->name) == 0)
            return true;
    return false;
}

/* A topic that turns up under a pattern of a source that has begun is a new one: its first records are not behind `latest`. */
static bool by_pattern(const struct kafka *k, const struct topic *t)
{
    for (size_t i = 0; i < k->o->topics.count; i++)
        if (strcmp(k->o->topics.items[i], t->name) == 0)
            return false;
    return true;
}

static void begin_fresh(struct moving *m)
{
    struct kafka *k = m->k;
    enum kafka_start start;
    int64_t ms;
    kafka_start_of(k->o->start, &start, &ms);
    for (size_t i = 0; i < k->ask.count; i++) {
        const struct kafka_answer *a = &k->ask.parts[i];
        const struct topic *t = topic_of(k, a->topic);
        struct partition *p = partition_find(k, a->topic, a->number);
        if (!is_fresh(k, t) || topic_unanswered(k, t))
            continue;
        if (p)
            p->look_at_group = false;
        enum kafka_commit_owner owner = kafka_commit_owner(a->committed, mr_str_c(a->metadata ? a->metadata : ""), k->store_id);
        bool theirs = owner == KAFKA_COMMIT_STRANGER || owner == KAFKA_COMMIT_OTHER_STORE;
        if (owner == KAFKA_COMMIT_OTHER_STORE && !k->o->on_foreign_store) {
            if (p && p->in_take)
                judge_foreign(m, p, a);
            continue;
        }
        bool later = start == KAFKA_LATEST && k->begun && by_pattern(k, t);
        int64_t next = theirs ? a->committed : start == KAFKA_EARLIEST || later ? a->earliest : start == KAFKA_FROM_TIME && a->at_time >= 0 ? a->at_time : a->end;
        if (theirs)
            mr_log_info(k->loop->log, k->name, "begins_at_group_offset", MR_S("topic", a->topic), MR_I("partition", a->number), MR_I("offset", next));
        jump_add(m, (struct jump){.p = p, .topic = t->name, .number = a->number, .expected = p ? p->row_version : 0, .to = {.next = next, .anchor = {.offset = -1}}});
    }
}

/* A topic of which a foreign store has read one partition is not begun by halves. */
static void drop_half_topics(struct moving *m)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->count; i++) {
        bool stopped = false;
        for (size_t q = 0; q < m->k->partitions_cap; q++) {
            const struct partition *p = m->k->partitions[q];
            stopped |= p && p->in_take && p->state == PARTITION_STOPPED && !p->topic->rows && strcmp(p->topic->name, m->jumps[i].topic) == 0;
        }
        if (!stopped)
            m->jumps[kept++] = m->jumps[i];
    }
    m->count = kept;
}

static void settle(struct kafka *k)
{
    for (size_t i = 0; i < k->partitions_cap; i++) {
        struct partition *p = k->partitions[i];
        if (!p || !p->in_take || p->state != PARTITION_TAKING || unanswered(k, p))
            continue;
        if (k->replay && !p->has_row && p->wanted < p->first && p->wanted < p->stop_at) {
            mr_log_warn(k->loop->log, k->name, "replay_not_whole", MR_S("topic", p->topic->name), MR_I("partition", p->number), MR_I("from", p->wanted), MR_I("first_left", p->first),
                        MR_S("why", "the brokers have deleted what lies between"));
            if (k->finish_err.code == MR_OK)
                mr_err_set(&k->finish_err, MR_ENOENT, "partition %s/%" PRId32 ": offsets %" PRId64 " to %" PRId64 " are no longer there", p->topic->name, p->number, p->wanted, p->first - 1);
        }
        if (k->replay && (p->has_row ? p->row.next : p->first) >= p->stop_at) { /* the run has had all there is of it */
            p->state = PARTITION_IDLE;
            p->stop_at = -1;
            continue;
        }
        const struct kafka_position first = {.next = p->first, .anchor = {.offset = -1}, .incarnation = p->live_incarnation};
        if (p->has_row || p->topic->rows)
            take_settled(p, p->has_row ? p->row : first, p->row_version);
        else
            stop_partition(p); /* its topic has a partition that a foreign store has read */
    }
}

static void judge(struct kafka *k)
{
    struct moving *m = calloc(1, sizeof *m);
    bool waits = false;
    assert(m);
    m->k = k;
    mr_buf_init(&m->text, SIZE_MAX / 4);
    for (size_t i = 0; i < k->partitions_cap; i++) {
        struct partition *p = k->partitions[i];
        if (!p || !p->in_take || p->state != PARTITION_TAKING)
            continue;
        const struct kafka_answer *a = answer_of(k, p);
        if (unanswered(k, p)) {
            waits = true;
        } else if (p->bad_row) {
            stop_partition(p);
        } else if (a && !is_fresh(k, p->topic)) {
            bool dealt_with = p->look_at_group && (a->want & KAFKA_ASK_COMMITTED) && judge_foreign(m, p, a);
            if (!dealt_with && p->trouble != TROUBLE_NONE && (a->want & KAFKA_ASK_END))
                judge_trouble(m, p, a);
        }
    }
    begin_fresh(m);
    drop_half_topics(m);
    if (m->count) {
        for (size_t i = 0; i < m->count; i++)
            if (m->jumps[i].p)
                m->jumps[i].p->trouble = TROUBLE_NONE;
        move_begin(k, m);
        return;
    }
    moving_free(m);
    settle(k);
    round_end(k, waits);
}

/* ---- ask ---- */

static void on_asked(struct kafka_ask *ask)
{
    struct kafka *k = MR_OF(ask, struct kafka, ask);
    k->asking = false;
    if (ask->err.code == MR_OK && ask->missing.n && ask->count == 0)
        mr_err_set(&ask->err, MR_ENOENT, "%.*s", (int)ask->missing.n - 1, ask->missing.p);
    if (k->stopping) {
        round_end(k, false);
    } else if (ask->err.code != MR_OK) {
        mr_log_info(k->loop->log, k->name, "brokers_do_not_say", MR_S("why", ask->err.msg));
        trouble_ask_failed(k, &ask->err);
        round_end(k, true);
    } else {
        trouble_heard(k);
        k->heard_ms = mr_loop_now_ms(k->loop);
        judge(k);
    }
    free(ask->topics.items);
    kafka_ask_free(ask);
    kafka_ask_init(ask, k->rk);
}

static bool named(const struct mr_strings *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0)
            return true;
    return false;
}

static void ask(struct kafka *k)
{
    struct kafka_ask *ask = &k->ask;
    enum kafka_start start;
    kafka_ask_init(ask, k->rk);
    kafka_start_of(k->o->start, &start, &ask->time_ms);
    ask->topics_want = KAFKA_ASK_COMMITTED | (start == KAFKA_EARLIEST ? KAFKA_ASK_EARLIEST : start == KAFKA_LATEST ? KAFKA_ASK_END | KAFKA_ASK_EARLIEST : KAFKA_ASK_TIME | KAFKA_ASK_END);
    for (size_t i = 0; i < k->partitions_cap; i++) {
        struct partition *p = k->partitions[i];
        if (!p || !p->in_take || p->state != PARTITION_TAKING || p->bad_row)
            continue;
        unsigned want = (p->look_at_group ? KAFKA_ASK_COMMITTED : 0) | (p->trouble != TROUBLE_NONE ? KAFKA_ASK_EARLIEST | KAFKA_ASK_END : 0);
        if (!p->has_row && !p->topic->rows) {
            if (named(&ask->topics, p->topic->name))
                continue;
            ask->topics.items = realloc(ask->topics.items, (ask->topics.count + 1) * sizeof *ask->topics.items);
            assert(ask->topics.items);
            ask->topics.items[ask->topics.count++] = p->topic->name;
        } else if (want) {
            kafka_ask_part(ask, p->topic->name, p->number, want);
        }
    }
    if (ask->count == 0 && ask->topics.count == 0) {
        judge(k);
        return;
    }
    k->asking = true;
    ask->done = on_asked;
    kafka_ask_start(ask, k->loop->workers);
}

/* ---- look ---- */

static void read_row(struct kafka *k, const struct mr_position *row)
{
    char topic[256];
    char part[16];
    struct mr_err err = {0};
    size_t prefix = strlen(k->prefix);
    bool live = !memchr(row->part.p, '/', row->part.n);
    bool ours = prefix ? row->part.n > prefix && memcmp(row->part.p, k->prefix, prefix) == 0 : live;
    struct mr_str text = ours && prefix ? (struct mr_str){row->part.p + prefix, row->part.n - prefix} : row->part;
    if (!(live || ours) || row->stream.n >= sizeof topic || text.n >= sizeof part || row->version == 0)
        return;
    memcpy(topic, row->stream.p, row->stream.n);
    topic[row->stream.n] = 0;
    memcpy(part, text.p, text.n);
    part[text.n] = 0;
    char *end;
    long number = strtol(part, &end, 10);
    if (*end || end == part || number < 0 || number > INT32_MAX)
        return;
    if (!ours) { /* a replay's records keep the ids that the live ones have */
        struct partition *p = partition_find(k, topic, (int32_t)number);
        struct kafka_position at;
        if (p && row->value.n && kafka_position_get(row->value, &at, &err) == MR_OK)
            p->live_incarnation = at.incarnation;
        return;
    }
    for (struct topic *t = k->topics; t; t = t->next)
        if (strcmp(t->name, topic) == 0)
            t->rows |= row->value.n > 0;
    struct partition *p = partition_find(k, topic, (int32_t)number);
    if (!p)
        return;
    p->row_version = row->version;
    if (!p->in_take)
        return;
    if (row->value.n == 0) /* it was reset */
        return;
    p->has_row = kafka_position_get(row->value, &p->row, &err) == MR_OK;
    p->bad_row = !p->has_row;
    if (p->bad_row)
        mr_alert_open(k->loop->alerts, MR_A_KAFKA_STOPPED, k->name, topic, "partition %s: the position in the state store cannot be read: %s", p->part, err.msg);
}

static void on_positions(void *arg, const struct mr_err *err, const struct mr_position *positions, size_t count)
{
    struct kafka *k = arg;
    k->looking = false;
    if (k->stopping || err->code != MR_OK) {
        if (err->code != MR_OK)
            mr_log_warn(k->loop->log, k->name, "positions_unread", MR_S("why", err->msg));
        round_end(k, true);
        return;
    }
    for (size_t i = 0; i < k->partitions_cap; i++)
        if (k->partitions[i])
            k->partitions[i]->row_version = 0;
    for (struct topic *t = k->topics; t; t = t->next)
        t->rows = k->replay != NULL; /* a replay has been told where its topics begin */
    k->begun = count > 0;
    for (size_t i = 0; i < count; i++)
        read_row(k, &positions[i]);
    for (size_t i = 0; i < k->partitions_cap; i++) {
        struct partition *p = k->partitions[i];
        if (p && p->in_take && p->state == PARTITION_STOPPED && p->row_version != p->stopped_version) {
            p->state = PARTITION_TAKING; /* a person has spoken */
            p->trouble = TROUBLE_NONE;
        }
    }
    ask(k);
}

static bool waits(const struct kafka *k, const struct partition *p, bool stopped)
{
    if (p->state == PARTITION_STOPPED)
        return stopped;
    return p->state == PARTITION_TAKING && partition_quiet(p) && !p->revoking && !(p->bundle && p->bundle->failing) && !k->draining && !k->drained;
}

void take_pump(struct kafka *k)
{
    uint64_t now_ms = mr_loop_now_ms(k->loop);
    bool any = false, stopped = now_ms >= k->stopped_look_ms;
    if (k->taking || k->stopping || !k->rk || now_ms < k->take_at_ms)
        return;
    for (size_t i = 0; i < k->partitions_cap; i++) {
        struct partition *p = k->partitions[i];
        if (!p || !waits(k, p, stopped))
            continue;
        p->in_take = any = true;
        p->has_row = p->bad_row = false;
        p->row_version = 0;
    }
    if (stopped)
        k->stopped_look_ms = now_ms + STOPPED_LOOK_MS;
    if (!any)
        return;
    k->taking = k->looking = true;
    mr_store_positions(k->core->store, mr_str_c(k->name), on_positions, k);
}
