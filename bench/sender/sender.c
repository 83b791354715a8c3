/* SPDX-License-Identifier: Apache-2.0 */
/* bench/sender/sender.c
 *
 * Happy path: conn_open, on_connected, conn_next, conn_send, on_read, on_response, settle, conn_next again.
 * Ways to fail: refused, reset, no answer in time (conn_lost: close, wait, conn_open); an answer that is not 2xx
 * (settle: wait on the same connection, then the same event if it is retried, else the next). On close: sender_stop
 * ends the measured time and takes no new events; sender_finish closes all handles once nothing is in flight any more,
 * or the grace is over. */
#include "sender/sender.h"

#include "sender/acked.h"
#include "sender/wire.h"

#include <assert.h>
#include <errno.h>
#include <llhttp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define MR_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

enum { BACKOFF_MAX_MS = 100, SWEEP_MS = 100, GRACE_MAX_MS = 5000 };
enum conn_state { CONN_CLOSED, CONN_CONNECTING, CONN_IDLE, CONN_BUSY, CONN_WAITING };

struct conn {
    uv_tcp_t tcp;
    uv_timer_t retry;
    uv_connect_t connect;
    uv_write_t write;
    llhttp_t parser;
    struct sender *sender;
    enum conn_state state;
    bool has_event; /* taken and not settled: in flight, or to be sent again */
    bool writing;   /* the kernel has not taken the whole request yet */
    bool answered, keep_alive;
    unsigned status;
    unsigned backoff_ms;
    uint64_t sequence, due_ns, sent_ns;
    char *request;
    struct mr_wire *wire; /* NULL: plain */
    char *sealed;         /* what goes to the socket over TLS; sealed_room bytes */
    size_t sealed_room;
    TAILQ_ENTRY(conn) idle;
};

struct sender {
    uv_loop_t loop;
    uv_timer_t warm, stop, grace, sweep;
    uv_signal_t term, intr;
    uv_poll_t pace; /* open loop: on pace_fd, since the loop's own timers know whole milliseconds only */
    int pace_fd;
    const struct mr_sender_config *config;
    struct mr_event_maker *maker;
    struct mr_sender_report *report;
    struct sockaddr_in addr;
    llhttp_settings_t settings;
    struct mr_wire_context *tls;
    struct conn *conns;
    TAILQ_HEAD(, conn) idle;
    struct mr_acked acked;
    uint64_t start_ns, measure_ns; /* measure_ns: events due from here on are measured */
    uint64_t due;                  /* open loop: events due until now */
    uint64_t pending;              /* connections with has_event */
    uint64_t acked_before;         /* acked when the measured time began */
    double cpu_before_s;
    bool stopping, finishing;
    char read_buf[64 << 10]; /* one for all: a read is consumed before the next one begins */
};

static void conn_open(struct conn *c);
static void conn_next(struct conn *c);
static void sender_finish(struct sender *s);

/* --- the measured time --- */

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void measure_begin(struct sender *s)
{
    s->measure_ns = uv_hrtime();
    s->acked_before = s->report->acked;
    s->cpu_before_s = cpu_s();
}

static void sender_maybe_finish(struct sender *s)
{
    if (s->stopping && s->pending == 0)
        sender_finish(s);
}

static void on_grace_over(uv_timer_t *timer)
{
    sender_finish(MR_OF(timer, struct sender, grace));
}

static void sender_stop(struct sender *s)
{
    if (s->stopping)
        return;
    s->stopping = true;
    if (s->measure_ns != UINT64_MAX) {
        s->report->measured = s->report->acked - s->acked_before;
        s->report->measured_s = (double)(uv_hrtime() - s->measure_ns) / 1e9;
        s->report->cpu_s = cpu_s() - s->cpu_before_s;
    }
    double grace_ms = s->config->timeout_s * 1e3;
    uv_timer_start(&s->grace, on_grace_over, grace_ms < GRACE_MAX_MS ? (uint64_t)grace_ms : GRACE_MAX_MS, 0);
    sender_maybe_finish(s);
}

/* --- an event's end --- */

static bool may_begin(const struct sender *s)
{
    return !s->stopping && (s->config->count == 0 || s->report->sent < s->config->count);
}

static void event_done(struct conn *c)
{
    struct sender *s = c->sender;
    c->has_event = false;
    s->pending--;
    /* With a count, the last answer ends the measured time; sent alone would cut off what is in flight. */
    if (s->pending == 0 && !may_begin(s))
        sender_stop(s);
    sender_maybe_finish(s);
}

static void event_failed(struct conn *c)
{
    if (!c->has_event || c->sender->config->retry)
        return;
    c->sender->report->given_up++;
    event_done(c);
}

static void event_acked(struct conn *c)
{
    struct sender *s = c->sender;
    char id[MR_EVENT_ID];
    mr_event_id(s->maker, c->sequence, id);
    mr_acked_add(&s->acked, id, sizeof id);
    s->report->acked++;
    if (c->due_ns >= s->measure_ns)
        mr_histogram_add(&s->report->latency, uv_hrtime() - c->due_ns);
    event_done(c);
}

/* --- a connection --- */

static void on_retry(uv_timer_t *timer)
{
    struct conn *c = MR_OF(timer, struct conn, retry);
    if (c->state == CONN_CLOSED)
        conn_open(c);
    else if (c->state == CONN_WAITING)
        conn_next(c);
}

static void conn_wait(struct conn *c)
{
    if (!c->sender->finishing)
        uv_timer_start(&c->retry, on_retry, c->backoff_ms, 0);
}

static void back_off(struct conn *c)
{
    c->backoff_ms = c->backoff_ms ? 2 * c->backoff_ms : 1;
    if (c->backoff_ms > BACKOFF_MAX_MS)
        c->backoff_ms = BACKOFF_MAX_MS;
}

static void on_conn_closed(uv_handle_t *h)
{
    struct conn *c = MR_OF(h, struct conn, tcp);
    mr_wire_free(c->wire);
    c->wire = NULL;
    c->state = CONN_CLOSED;
    conn_wait(c);
}

static void conn_close(struct conn *c)
{
    if (c->state == CONN_IDLE)
        TAILQ_REMOVE(&c->sender->idle, c, idle);
    c->state = CONN_CLOSED;
    uv_timer_stop(&c->retry);
    if (!uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, on_conn_closed);
}

/* Whatever broke it: the event in flight has no 2xx. `counter` is null if nothing was in flight. */
static void conn_lost(struct conn *c, uint64_t *counter)
{
    if (c->state == CONN_CLOSED)
        return;
    if (counter)
        (*counter)++;
    back_off(c);
    conn_close(c);
    event_failed(c);
}

static uint64_t *reset_counter(struct conn *c)
{
    return c->state == CONN_BUSY ? &c->sender->report->resets : NULL;
}

static void on_written(uv_write_t *write, int status)
{
    struct conn *c = MR_OF(write, struct conn, write);
    c->writing = false;
    if (status != 0)
        conn_lost(c, reset_counter(c));
}

/* `bytes` stay until they are written. */
static void put(struct conn *c, char *bytes, size_t n, uint64_t *counter)
{
    uv_buf_t buf = uv_buf_init(bytes, (unsigned)n);
    int rc = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    if (rc == (int)n)
        return;
    if (rc < 0 && rc != UV_EAGAIN) {
        conn_lost(c, counter);
        return;
    }
    size_t written = rc > 0 ? (size_t)rc : 0;
    buf = uv_buf_init(bytes + written, (unsigned)(n - written));
    c->writing = uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) == 0;
    if (!c->writing)
        conn_lost(c, counter);
}

/* What TLS has for the socket: a flight of the handshake, or a whole request. */
static void put_sealed(struct conn *c, uint64_t *counter)
{
    size_t n = mr_wire_to_send(c->wire, c->sealed, c->sealed_room);
    if (n > 0)
        put(c, c->sealed, n, counter);
}

static void conn_send(struct conn *c)
{
    struct sender *s = c->sender;
    size_t bytes = mr_event_request_bytes(s->maker);
    mr_event_write(s->maker, c->sequence, (int64_t)time(NULL), c->request);
    c->state = CONN_BUSY;
    c->answered = false;
    c->sent_ns = uv_hrtime();
    if (!c->wire)
        put(c, c->request, bytes, &s->report->resets);
    else if (mr_wire_write(c->wire, c->request, bytes))
        put_sealed(c, &s->report->resets);
    else
        conn_lost(c, &s->report->resets);
}

static uint64_t due_ns(const struct sender *s, uint64_t index)
{
    return s->start_ns + (uint64_t)((double)index * 1e9 / s->config->rate_per_s);
}

/* Takes the next event, if one is due. */
static bool take_event(struct conn *c)
{
    struct sender *s = c->sender;
    bool open_loop = s->config->rate_per_s > 0;
    if (!may_begin(s) || (open_loop && s->report->sent >= s->due))
        return false;
    c->sequence = s->report->sent++;
    c->due_ns = open_loop ? due_ns(s, c->sequence) : uv_hrtime();
    c->has_event = true;
    s->pending++;
    return true;
}

static void conn_next(struct conn *c)
{
    if (c->has_event || take_event(c)) {
        conn_send(c);
        return;
    }
    c->state = CONN_IDLE;
    TAILQ_INSERT_TAIL(&c->sender->idle, c, idle);
}

static void settle(struct conn *c)
{
    struct sender *s = c->sender;
    s->report->statuses[c->status < MR_SENDER_STATUSES ? c->status : 0]++;
    bool good = c->status / 100 == 2;
    c->state = CONN_WAITING;
    if (good) {
        c->backoff_ms = 0;
        event_acked(c);
    } else {
        back_off(c);
        event_failed(c);
    }
    if (s->finishing)
        return;
    if (!c->keep_alive || c->writing)
        conn_close(c);
    else if (good)
        conn_next(c);
    else
        conn_wait(c);
}

static int on_response(llhttp_t *p)
{
    struct conn *c = p->data;
    if (p->status_code < 200)
        return 0;
    c->answered = true;
    c->status = p->status_code;
    c->keep_alive = llhttp_should_keep_alive(p) != 0;
    return 0;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct sender *s = MR_OF(h, struct conn, tcp)->sender;
    *buf = uv_buf_init(s->read_buf, sizeof s->read_buf);
}

static void take(struct conn *c, const char *bytes, ssize_t n)
{
    bool parsed = n > 0 && llhttp_execute(&c->parser, bytes, (size_t)n) == HPE_OK;
    if (c->answered && c->state == CONN_BUSY) {
        c->answered = false;
        c->keep_alive = c->keep_alive && parsed;
        settle(c);
    } else if (!parsed) {
        conn_lost(c, reset_counter(c));
    }
}

static void take_sealed(struct conn *c, const char *bytes, ssize_t n)
{
    char plain[16 << 10];
    bool was_ready = mr_wire_ready(c->wire);
    if (n <= 0 || !mr_wire_received(c->wire, bytes, (size_t)n) || (!was_ready && !mr_wire_shake(c->wire))) {
        conn_lost(c, was_ready ? reset_counter(c) : &c->sender->report->refused);
        return;
    }
    put_sealed(c, reset_counter(c));
    if (!was_ready && c->state == CONN_CONNECTING && mr_wire_ready(c->wire)) {
        conn_next(c);
        return;
    }
    for (int got = 1; was_ready && got != 0 && c->state != CONN_CLOSED;) {
        got = mr_wire_read(c->wire, plain, sizeof plain);
        if (got != 0)
            take(c, plain, got);
    }
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct conn *c = MR_OF(stream, struct conn, tcp);
    if (nread == 0 || c->state == CONN_CLOSED)
        return;
    if (c->wire)
        take_sealed(c, buf->base, nread);
    else
        take(c, buf->base, nread);
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct conn *c = MR_OF(connect, struct conn, connect);
    if (c->state != CONN_CONNECTING)
        return; /* closed meanwhile */
    if (status != 0 || uv_tcp_nodelay(&c->tcp, 1) != 0 ||
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0) {
        conn_lost(c, &c->sender->report->refused);
        return;
    }
    llhttp_init(&c->parser, HTTP_RESPONSE, &c->sender->settings);
    c->parser.data = c;
    c->answered = false;
    if (!c->sender->tls) {
        conn_next(c);
        return;
    }
    c->wire = mr_wire_new(c->sender->tls);
    if (c->wire && mr_wire_shake(c->wire))
        put_sealed(c, &c->sender->report->refused);
    else
        conn_lost(c, &c->sender->report->refused);
}

static void conn_open(struct conn *c)
{
    struct sender *s = c->sender;
    uv_tcp_init(&s->loop, &c->tcp);
    c->state = CONN_CONNECTING;
    c->sent_ns = uv_hrtime();
    if (uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&s->addr, on_connected) != 0)
        conn_lost(c, &s->report->refused);
}

/* --- timers and signals --- */

static void on_warm(uv_timer_t *timer)
{
    measure_begin(MR_OF(timer, struct sender, warm));
}

static void on_stop(uv_timer_t *timer)
{
    sender_stop(MR_OF(timer, struct sender, stop));
}

static void on_signal(uv_signal_t *signal, int number)
{
    sender_stop(number == SIGTERM ? MR_OF(signal, struct sender, term) : MR_OF(signal, struct sender, intr));
}

static void on_sweep(uv_timer_t *timer)
{
    struct sender *s = MR_OF(timer, struct sender, sweep);
    uint64_t now = uv_hrtime(), limit = (uint64_t)(s->config->timeout_s * 1e9);
    mr_acked_flush(&s->acked);
    for (unsigned i = 0; i < s->config->connections && !s->finishing; i++) {
        struct conn *c = &s->conns[i];
        if ((c->state == CONN_BUSY || c->state == CONN_CONNECTING) && now - c->sent_ns > limit)
            conn_lost(c, &s->report->timeouts);
    }
}

static void on_pace(uv_poll_t *pace, int status, int events)
{
    (void)status;
    (void)events;
    struct sender *s = MR_OF(pace, struct sender, pace);
    uint64_t ticks;
    if (read(s->pace_fd, &ticks, sizeof ticks) != sizeof ticks)
        return;
    /* From the clock, not from the ticks: a rounded interval would drift away from the due times. */
    s->due = (uint64_t)((double)(uv_hrtime() - s->start_ns) * s->config->rate_per_s / 1e9) + 1;
    for (struct conn *c; (c = TAILQ_FIRST(&s->idle)) && may_begin(s) && s->report->sent < s->due;) {
        TAILQ_REMOVE(&s->idle, c, idle);
        c->state = CONN_WAITING;
        conn_next(c);
    }
}

static int pace_start(struct sender *s)
{
    uint64_t interval_ns = (uint64_t)(1e9 / s->config->rate_per_s);
    struct timespec interval = {.tv_sec = (time_t)(interval_ns / 1000000000u),
                                .tv_nsec = (long)(interval_ns % 1000000000u)};
    struct itimerspec spec = {.it_value = interval, .it_interval = interval};
    s->pace_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (s->pace_fd < 0 || timerfd_settime(s->pace_fd, 0, &spec, NULL) != 0)
        return errno;
    uv_poll_init(&s->loop, &s->pace, s->pace_fd);
    uv_poll_start(&s->pace, UV_READABLE, on_pace);
    return 0;
}

static void close_any(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

static void sender_finish(struct sender *s)
{
    if (s->finishing)
        return;
    s->finishing = true;
    s->report->given_up += s->pending;
    uv_walk(&s->loop, close_any, NULL);
    for (unsigned i = 0; i < s->config->connections; i++)
        s->conns[i].state = CONN_CLOSED;
}

static void watch_signals(struct sender *s)
{
    uv_signal_init(&s->loop, &s->term);
    uv_signal_start(&s->term, on_signal, SIGTERM);
    uv_signal_init(&s->loop, &s->intr);
    uv_signal_start(&s->intr, on_signal, SIGINT);
}

static void start_timers(struct sender *s)
{
    const struct mr_sender_config *config = s->config;
    uv_timer_init(&s->loop, &s->warm);
    uv_timer_init(&s->loop, &s->stop);
    uv_timer_init(&s->loop, &s->grace);
    uv_timer_init(&s->loop, &s->sweep);
    uv_timer_start(&s->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    if (config->warmup_s > 0)
        uv_timer_start(&s->warm, on_warm, (uint64_t)(config->warmup_s * 1e3), 0);
    else
        measure_begin(s);
    if (config->seconds > 0)
        uv_timer_start(&s->stop, on_stop, (uint64_t)((config->warmup_s + config->seconds) * 1e3), 0);
}

static int start_connections(struct sender *s)
{
    s->conns = calloc(s->config->connections, sizeof *s->conns);
    if (!s->conns)
        return ENOMEM;
    for (unsigned i = 0; i < s->config->connections; i++) {
        struct conn *c = &s->conns[i];
        c->sender = s;
        c->request = malloc(mr_event_request_bytes(s->maker));
        c->sealed_room = s->tls ? mr_event_request_bytes(s->maker) + (8 << 10) : 0;
        c->sealed = s->tls ? malloc(c->sealed_room) : NULL;
        if (!c->request || (s->tls && !c->sealed))
            return ENOMEM;
        uv_timer_init(&s->loop, &c->retry);
        conn_open(c);
    }
    return 0;
}

static void sender_free(struct sender *s)
{
    for (unsigned i = 0; s->conns && i < s->config->connections; i++) {
        mr_wire_free(s->conns[i].wire);
        free(s->conns[i].sealed);
        free(s->conns[i].request);
    }
    mr_wire_context_free(s->tls);
    free(s->conns);
    free(s);
}

int mr_sender_run(const struct mr_sender_config *config, struct mr_event_maker *maker, struct mr_sender_report *report)
{
    struct sender *s = calloc(1, sizeof *s);
    if (!s)
        return ENOMEM;
    s->config = config;
    s->maker = maker;
    s->report = report;
    s->measure_ns = UINT64_MAX;
    TAILQ_INIT(&s->idle);
    llhttp_settings_init(&s->settings);
    s->settings.on_message_complete = on_response;
    if (uv_ip4_addr(config->host, config->port, &s->addr) != 0 || uv_loop_init(&s->loop) != 0) {
        free(s);
        return EINVAL;
    }
    if (config->tls && !(s->tls = mr_wire_context_new())) {
        uv_loop_close(&s->loop);
        free(s);
        return ENOMEM;
    }
    mr_acked_open(&s->acked, config->acked_path);
    s->start_ns = uv_hrtime();
    start_timers(s);
    watch_signals(s);
    int error = config->rate_per_s > 0 ? pace_start(s) : 0;
    if (error == 0)
        error = start_connections(s);
    if (error != 0)
        sender_finish(s);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&s->loop);
    assert(rc == 0);
    (void)rc;
    if (config->rate_per_s > 0)
        close(s->pace_fd);
    if (config->count > 0 && s->due > config->count)
        s->due = config->count;
    if (s->due > report->sent)
        report->unsent = s->due - report->sent;
    mr_acked_close(&s->acked);
    sender_free(s);
    return error;
}
