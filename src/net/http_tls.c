/* SPDX-License-Identifier: Apache-2.0 */
/* net/http_tls.c - TLS between the socket and the parser.
 *
 * Happy path: bytes of a handshake are kept, and their connection waits in a ring; an idle handle, which runs once a turn of the loop while somebody
 *   waits, takes a few steps (MR_HTTP_SHAKES), so that a crowd of handshakes delays nobody who is through. After that what is read is decrypted
 *   into one buffer of the server's and parsed there, and answers are encrypted into another one.
 *
 * Ways to fail: something else than TLS (a plain answer, if it looks like HTTP); a handshake or a record that fails (the alert goes out, counted by
 *   cause); no memory for the library's buffers (they have a share of their own, so that idle connections leave requests theirs).
 *
 * On close: close_notify, so that the peer can tell an end from a cut. */
#include "net/http_inside.h"

#include <stdlib.h>

enum { HANDSHAKE_RECORD = 22 };

bool mr_conn_tls_begin(struct mr_conn *c)
{
    struct mr_http_server *s = c->server;
    if (!mr_share_take(s->tls_share, MR_TLS_HELD))
        return false;
    c->tls = mr_tls_conn_new(s->tls);
    if (!c->tls)
        mr_share_put(s->tls_share, MR_TLS_HELD);
    return c->tls != NULL;
}

void mr_conn_tls_free(struct mr_conn *c)
{
    if (!c->tls)
        return;
    mr_link_out(&c->shaking);
    mr_tls_conn_free(c->tls);
    c->tls = NULL;
    mr_share_put(c->server->tls_share, MR_TLS_HELD);
}

/* What TLS has to say. False: the connection is gone with it. */
static bool send_wire(struct mr_conn *c)
{
    struct mr_buf *wire = &c->server->wire;
    if (wire->n)
        mr_conn_wire(c, mr_buf_str(wire));
    mr_buf_clear(wire);
    return c->state != MR_CONN_CLOSED;
}

static void fail(struct mr_conn *c, enum mr_http_cause cause)
{
    mr_http_count_refused(c->server, cause, mr_conn_remote(c));
    if (c->state != MR_CONN_CLOSED)
        mr_conn_linger(c); /* what the peer still sends must not reset the connection under the alert */
}

static void refuse_plain(struct mr_conn *c)
{
    struct mr_buf *wire = &c->server->wire;
    struct mr_http_answer answer;
    char head[MR_ANSWER_ROOM];
    mr_http_refusal(MR_CAUSE_TLS_PLAIN, &answer);
    mr_buf_clear(wire);
    mr_buf_put(wire, head, mr_answer_head(head, &answer, mr_answer_date(&c->server->date, mr_loop_now_ms(c->server->loop)), false, true));
    mr_buf_put(wire, answer.body.p, answer.body.n);
    if (send_wire(c))
        fail(c, MR_CAUSE_TLS_PLAIN);
}

static void deliver(struct mr_conn *c, struct mr_str bytes)
{
    struct mr_http_server *s = c->server;
    size_t n;
    mr_buf_clear(&s->wire);
    enum mr_tls_step step = mr_tls_conn_read(c->tls, bytes, s->plain, MR_HTTP_PLAIN, &n, &s->wire);
    if (!send_wire(c))
        return;
    if (n)
        mr_conn_take(c, s->plain, n);
    if (c->state == MR_CONN_CLOSED || c->state == MR_CONN_LINGER)
        return;
    if (step == MR_TLS_ENDED)
        mr_conn_eof(c);
    else if (step != MR_TLS_MORE)
        fail(c, MR_CAUSE_TLS_RECORD);
}

static void wait_for_a_turn(struct mr_conn *c)
{
    struct mr_http_server *s = c->server;
    if (!mr_link_alone(&c->shaking))
        return;
    mr_link_last(&s->shaking, &c->shaking);
    uv_idle_start(&s->shake, mr_http_shake);
}

void mr_conn_tls_read(struct mr_conn *c, struct mr_str bytes)
{
    if (mr_tls_conn_ready(c->tls)) {
        deliver(c, bytes);
        return;
    }
    bool first = mr_link_alone(&c->shaking) && !c->begun_tls;
    c->begun_tls = true;
    if (first && bytes.p[0] != HANDSHAKE_RECORD && bytes.p[0] >= 'A' && bytes.p[0] <= 'Z')
        refuse_plain(c);
    else if (!mr_tls_conn_keep(c->tls, bytes))
        fail(c, MR_CAUSE_TLS_HANDSHAKE);
    else
        wait_for_a_turn(c);
}

static void shake(struct mr_conn *c)
{
    struct mr_http_server *s = c->server;
    mr_buf_clear(&s->wire);
    enum mr_tls_step step = mr_tls_conn_shake(c->tls, &s->wire);
    if (!send_wire(c))
        return;
    if (step == MR_TLS_READY) {
        mr_cell_add(s->shaken[mr_tls_conn_resumed(c->tls)], 1);
        deliver(c, (struct mr_str){"", 0}); /* what came right behind it */
    } else if (step != MR_TLS_MORE) {
        fail(c, step == MR_TLS_FAILED_CLIENT ? MR_CAUSE_TLS_CLIENT : MR_CAUSE_TLS_HANDSHAKE);
    }
}

void mr_http_shake(uv_idle_t *idle)
{
    struct mr_http_server *s = MR_OF(idle, struct mr_http_server, shake);
    for (int i = 0; i < MR_HTTP_SHAKES && !mr_link_alone(&s->shaking); i++) {
        struct mr_conn *c = MR_OF(s->shaking.next, struct mr_conn, shaking);
        mr_link_out(&c->shaking);
        shake(c);
    }
    if (mr_link_alone(&s->shaking))
        uv_idle_stop(idle);
}

bool mr_conn_tls_write(struct mr_conn *c, struct mr_str plain, struct mr_str *wire)
{
    struct mr_buf *out = &c->server->wire;
    mr_buf_clear(out);
    if (!mr_tls_conn_ready(c->tls) || !mr_tls_conn_write(c->tls, plain, out))
        return false;
    *wire = mr_buf_str(out);
    return true;
}

void mr_conn_tls_end(struct mr_conn *c)
{
    if (!c->tls || c->state == MR_CONN_CLOSED)
        return;
    mr_buf_clear(&c->server->wire);
    mr_tls_conn_end(c->tls, &c->server->wire);
    (void)send_wire(c);
}
