/* SPDX-License-Identifier: Apache-2.0 */
/* net/http_limits.c - what happens when a connection is too slow, and when memory is spent. */
#include "net/http_inside.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int64_t ttl_of(const struct mr_http_server *s, enum mr_conn_state state)
{
    switch (state) {
    case MR_CONN_FRESH:
        return s->limits.first_byte_ms;
    case MR_CONN_HEAD:
        return s->limits.header_ms;
    case MR_CONN_BODY:
        return s->limits.body_ms;
    case MR_CONN_IDLE:
    case MR_CONN_SENDING: /* a sender that does not take its answer is as good as idle */
        return s->limits.idle_ms;
    case MR_CONN_LINGER:
        return MR_HTTP_LINGER_MS;
    default:
        return 0; /* OUT: the handler's time, not the sender's */
    }
}

void mr_conn_list(struct mr_conn *c)
{
    struct mr_http_server *s = c->server;
    mr_link_out(&c->due);
    if (c->state == MR_CONN_OUT || c->state == MR_CONN_CLOSED)
        return;
    c->since_ms = mr_loop_now_ms(s->loop);
    mr_link_last(&s->due[c->state], &c->due);
    if (!uv_is_active((uv_handle_t *)&s->tick) && !s->closing)
        uv_timer_start(&s->tick, mr_http_tick, MR_HTTP_TICK_MS, MR_HTTP_TICK_MS);
}

/* Answers that the peer has not taken by now would stay with the kernel, our end behind them, for minutes: a reset drops
 * them. (Not when lingering: there they are young.) */
static void close_idle(struct mr_conn *c)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    uv_os_fd_t fd;
    int untaken = 0;
    if (uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0 && ioctl(fd, SIOCOUTQ, &untaken) == 0 && untaken > 0)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    mr_conn_close(c);
}

static void expire(struct mr_conn *c)
{
    bool waiting = c->state == MR_CONN_HEAD || (c->state == MR_CONN_BODY && c->skip == 0); /* else it has its answer */
    if (waiting) {
        bool ours = c->server->stalled; /* it may have sent all of it: we have not been reading */
        bool body = c->state == MR_CONN_BODY;
        mr_conn_refuse(c, ours ? MR_CAUSE_MEMORY : body ? MR_CAUSE_TIMEOUT_BODY : MR_CAUSE_TIMEOUT_HEADER);
    } else if (c->state == MR_CONN_IDLE || c->state == MR_CONN_SENDING) {
        close_idle(c);
    } else {
        mr_conn_close(c);
    }
}

static bool too_slow(const struct mr_conn *c, uint64_t now)
{
    uint64_t age = now - c->since_ms;
    return (int64_t)(c->parse.body_n * 1000 / age) < c->server->limits.min_body_rate;
}

static unsigned expire_slow_bodies(struct mr_http_server *s, uint64_t now, unsigned work)
{
    struct mr_link *ring = &s->due[MR_CONN_BODY], *next;
    for (struct mr_link *l = ring->next; l != ring && work > 0; l = next) {
        next = l->next;
        struct mr_conn *c = MR_OF(l, struct mr_conn, due);
        if (now - c->since_ms <= MR_HTTP_RATE_AFTER_MS)
            break;
        if (c->skip == 0 && too_slow(c, now)) {
            mr_conn_refuse(c, MR_CAUSE_SLOW_BODY);
            work--;
        }
    }
    return work;
}

static void unstall(struct mr_http_server *s)
{
    s->stalled = false;
    mr_http_listening(s, true);
    mr_conn_resume_all(s); /* stalls again if the first one still gets nothing */
}

void mr_http_tick(uv_timer_t *t)
{
    struct mr_http_server *s = MR_OF(t, struct mr_http_server, tick);
    uint64_t now = mr_loop_now_ms(s->loop);
    unsigned work = MR_HTTP_TICK_WORK;
    bool any = false;
    if (s->stalled)
        unstall(s);
    else
        mr_http_listening(s, true); /* it was stopped if descriptors were spent */
    for (unsigned state = 0; state < MR_CONN_STATE_COUNT; state++) {
        struct mr_link *ring = &s->due[state];
        uint64_t ttl = (uint64_t)ttl_of(s, (enum mr_conn_state)state);
        while (work > 0 && !mr_link_alone(ring)) {
            struct mr_conn *c = MR_OF(ring->next, struct mr_conn, due);
            if (now - c->since_ms < ttl)
                break;
            expire(c);
            work--;
        }
        any = any || !mr_link_alone(ring);
    }
    if (s->limits.min_body_rate > 0 && !s->stalled)
        work = expire_slow_bodies(s, now, work);
    if (s->closing)
        return;
    if (!any && !s->stalled && (s->listening || s->draining))
        uv_timer_stop(t); /* an idle server does not wake */
    else
        uv_timer_start(t, mr_http_tick, work > 0 ? MR_HTTP_TICK_MS : 1, MR_HTTP_TICK_MS);
}

/* Would it be enough if others let go, or is it only ourselves who hold it? Then waiting would be for ever: nobody of
 * us can end his request, since nobody is read. One is sent away, and its bytes feed the others. */
static bool only_ourselves(const struct mr_http_server *s, size_t lacked)
{
    return mr_share_held(s->share) + lacked > s->share_cap;
}

void mr_http_stall(struct mr_http_server *s, struct mr_conn *asker, size_t lacked)
{
    if (only_ourselves(s, lacked)) {
        mr_conn_refuse(asker, MR_CAUSE_MEMORY);
        return;
    }
    asker->starved = true;
    if (s->stalled)
        return;
    s->stalled = true;
    mr_http_listening(s, false);
    for (struct mr_link *l = s->all.next; l != &s->all; l = l->next) {
        struct mr_conn *c = MR_OF(l, struct mr_conn, all);
        if (c->state != MR_CONN_CLOSED && c->state != MR_CONN_LINGER && c->reading) { /* lingering ones keep nothing */
            uv_read_stop((uv_stream_t *)&c->tcp);
            c->reading = false;
        }
    }
    if (!uv_is_active((uv_handle_t *)&s->tick))
        uv_timer_start(&s->tick, mr_http_tick, MR_HTTP_TICK_MS, MR_HTTP_TICK_MS);
}

/* May be called from inside any mr_share_put(), also our own: nothing is run from here. */
void mr_http_relieved(void *arg)
{
    struct mr_http_server *s = arg;
    if (s->stalled && !s->closing)
        uv_timer_start(&s->tick, mr_http_tick, 0, MR_HTTP_TICK_MS);
}
