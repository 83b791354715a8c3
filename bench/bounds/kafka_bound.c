/* SPDX-License-Identifier: Apache-2.0 */
/* bench/bounds/kafka_bound.c - the least program that takes a topic from a broker by librdkafka: what no reader on this
 * library beats.
 *
 *     mr_bench_kafka_bound BROKERS TOPIC null|lines|zstd [FILE]
 *
 * null   takes each record and lets it go.
 * lines  writes each value and a newline into FILE, with fdatasync after every 16 MiB and at the end.
 * zstd   the same through zstd, level 1, in the same thread.
 *
 * It reads each partition from its first record to its end as of when it begins, then prints how many records there
 * were. No group, no position that is kept, no envelope, no key, no transactions, on purpose. */
#include <errno.h>
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

enum {
    BATCH = 1000,
    BATCH_MS = 10, /* so long a batch waits until it is full */
    ASK_MS = 30000,
    NUDGE_BYTES = 8 << 20,
    LINES_BYTES = 1 << 20,
    SYNC_BYTES = 16 << 20,
    LEVEL = 1
};
enum mode { NOTHING, LINES, ZSTD };

struct out {
    enum mode mode;
    int fd;
    size_t unsynced;
    char *lines; /* LINES_BYTES, gathered before they are written or compressed */
    size_t length;
    ZSTD_CCtx *zstd;
    char *packed;
    size_t packed_size;
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "mr_bench_kafka_bound: %s: %s\n", what, why);
    exit(1);
}

static void *alloc(size_t size)
{
    void *p = malloc(size);
    if (!p)
        die("malloc", strerror(errno));
    return p;
}

/* --- out ---------------------------------------------------------------------------------------------------- */

static void sync_out(struct out *o)
{
    if (fdatasync(o->fd) != 0)
        die("fdatasync", strerror(errno));
    o->unsynced = 0;
}

static void write_all(struct out *o, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t n = write(o->fd, data, length);
        if (n < 0)
            die("write", strerror(errno));
        data += n;
        length -= (size_t)n;
        o->unsynced += (size_t)n;
        if (o->unsynced >= SYNC_BYTES)
            sync_out(o);
    }
}

static void compress_lines(struct out *o, ZSTD_EndDirective how)
{
    ZSTD_inBuffer in = {o->lines, o->length, 0};
    size_t left = 0;
    do {
        ZSTD_outBuffer out = {o->packed, o->packed_size, 0};
        left = ZSTD_compressStream2(o->zstd, &out, &in, how);
        if (ZSTD_isError(left))
            die("zstd", ZSTD_getErrorName(left));
        write_all(o, o->packed, out.pos);
    } while (in.pos < in.size || (how == ZSTD_e_end && left > 0));
}

static void flush_lines(struct out *o, ZSTD_EndDirective how)
{
    if (o->mode == ZSTD)
        compress_lines(o, how);
    else
        write_all(o, o->lines, o->length);
    o->length = 0;
}

static void put(struct out *o, const rd_kafka_message_t *m)
{
    if (m->len >= LINES_BYTES)
        die("a record", "too long for this bench");
    if (o->length + m->len + 1 > LINES_BYTES)
        flush_lines(o, ZSTD_e_continue);
    memcpy(o->lines + o->length, m->payload, m->len);
    o->length += m->len;
    o->lines[o->length++] = '\n';
}

static void open_out(struct out *o, const char *path)
{
    o->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (o->fd < 0)
        die(path, strerror(errno));
    o->lines = alloc(LINES_BYTES);
    if (o->mode == ZSTD) {
        o->packed_size = ZSTD_CStreamOutSize();
        o->packed = alloc(o->packed_size);
        o->zstd = ZSTD_createCCtx();
        if (!o->zstd || ZSTD_isError(ZSTD_CCtx_setParameter(o->zstd, ZSTD_c_compressionLevel, LEVEL)))
            die("zstd", "cannot be set up");
    }
}

static void close_out(struct out *o)
{
    if (o->mode == NOTHING)
        return;
    flush_lines(o, ZSTD_e_end);
    sync_out(o);
    close(o->fd);
    ZSTD_freeCCtx(o->zstd);
    free(o->packed);
    free(o->lines);
}

/* --- in ----------------------------------------------------------------------------------------------------- */

/* Whenever librdkafka finds its queue full it has the broker's thread sleep for a second, and does not wake it when there is
 * room again. From 2.2 on a setting makes that shorter; before, any request to the broker wakes it. */
struct nudge {
    rd_kafka_t *rk;
    const char *topic;
    sem_t wanted;
    size_t bytes; /* taken since the last one */
};

static void *nudge(void *arg)
{
    struct nudge *n = arg;
    int64_t first, end;
    while (sem_wait(&n->wanted) == 0)
        rd_kafka_query_watermark_offsets(n->rk, n->topic, 0, &first, &end, ASK_MS);
    return NULL;
}

static void start_nudging(struct nudge *n, rd_kafka_t *rk, const char *topic)
{
    pthread_t thread;
    n->rk = rk;
    n->topic = topic;
    if (sem_init(&n->wanted, 0, 0) != 0 || pthread_create(&thread, NULL, nudge, n) != 0)
        die("a thread", "cannot be made");
}

static void took(struct nudge *n, size_t bytes)
{
    n->bytes += bytes;
    if (n->bytes < NUDGE_BYTES)
        return;
    n->bytes = 0;
    sem_post(&n->wanted);
}

static rd_kafka_t *new_consumer(const char *brokers)
{
    const char *settings[][2] = {{"bootstrap.servers", brokers},
                                 {"group.id", "bound"}, /* there must be one; nothing is asked of it */
                                 {"enable.auto.commit", "false"},
                                 {"enable.auto.offset.store", "false"},
                                 {"queued.min.messages", "10000000"}, /* small records would fill the queue by number */
                                 {"fetch.queue.backoff.ms", "5"}};
    bool can_back_off = rd_kafka_version() >= 0x020200ff;
    char why[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < sizeof settings / sizeof *settings - !can_back_off; i++)
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof why) != RD_KAFKA_CONF_OK)
            die(settings[i][0], why);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!rk)
        die("rd_kafka_new", why);
    return rk;
}

struct ends {
    int64_t *offset; /* by partition: the last record's, and one */
    int open;        /* partitions that have more */
};

static int count_partitions(rd_kafka_t *rk, const char *name)
{
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
    const rd_kafka_metadata_t *known = NULL;
    rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, topic, &known, ASK_MS);
    if (err)
        die("metadata", rd_kafka_err2str(err));
    if (known->topic_cnt != 1 || known->topics[0].err || known->topics[0].partition_cnt == 0)
        die(name, "there is no such topic");
    int partitions = known->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(known);
    rd_kafka_topic_destroy(topic);
    return partitions;
}

/* All partitions from their first record. Asking for their ends beforehand is quicker than waiting for the event: a fetch
 * that finds nothing takes half a second. */
static struct ends assign_all(rd_kafka_t *rk, const char *name)
{
    int partitions = count_partitions(rk, name);
    struct ends ends = {.offset = alloc((size_t)partitions * sizeof *ends.offset)};
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int p = 0; p < partitions; p++) {
        int64_t first = 0;
        rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(rk, name, p, &first, &ends.offset[p], ASK_MS);
        if (err)
            die("query_watermark_offsets", rd_kafka_err2str(err));
        if (first < ends.offset[p])
            ends.open++;
        rd_kafka_topic_partition_list_add(list, name, p)->offset = first;
    }
    rd_kafka_resp_err_t err = rd_kafka_assign(rk, list);
    if (err)
        die("assign", rd_kafka_err2str(err));
    rd_kafka_topic_partition_list_destroy(list);
    return ends;
}

static unsigned long long take_all(rd_kafka_t *rk, const char *topic, struct out *o)
{
    static struct nudge nudge; /* its thread goes on until the process ends */
    start_nudging(&nudge, rk, topic);
    struct ends ends = assign_all(rk, topic);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(rk);
    rd_kafka_message_t *batch[BATCH];
    unsigned long long count = 0;
    while (ends.open > 0) {
        ssize_t n = rd_kafka_consume_batch_queue(queue, BATCH_MS, batch, BATCH);
        if (n < 0)
            die("consume", rd_kafka_err2str(rd_kafka_last_error()));
        for (ssize_t i = 0; i < n; i++) {
            if (batch[i]->err)
                die("consume", rd_kafka_message_errstr(batch[i]));
            count++;
            took(&nudge, batch[i]->len);
            if (batch[i]->offset + 1 == ends.offset[batch[i]->partition])
                ends.open--;
            if (o->mode != NOTHING)
                put(o, batch[i]);
            rd_kafka_message_destroy(batch[i]);
        }
    }
    rd_kafka_queue_destroy(queue);
    free(ends.offset);
    return count;
}

int main(int argc, char **argv)
{
    static const char *const modes[] = {"null", "lines", "zstd"};
    struct out o = {.fd = -1};
    size_t mode = 0;
    while (argc >= 4 && mode < 3 && strcmp(argv[3], modes[mode]) != 0)
        mode++;
    o.mode = (enum mode)mode;
    if (argc < 4 || mode == 3 || argc != (o.mode == NOTHING ? 4 : 5)) {
        fprintf(stderr, "usage: mr_bench_kafka_bound BROKERS TOPIC null|lines|zstd [FILE]\n");
        return 2;
    }
    if (o.mode != NOTHING)
        open_out(&o, argv[4]);
    rd_kafka_t *rk = new_consumer(argv[1]);
    unsigned long long count = take_all(rk, argv[2], &o);
    close_out(&o);
    printf("%llu\n", count);
    fflush(stdout);
    _exit(0); /* all is synced; what is under way with the broker, up to half a second, nobody needs */
}
