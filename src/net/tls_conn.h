/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_conn.h - one connection's TLS: bytes of the wire in, bytes of the request out, and back. It knows no socket.
 *
 * Whatever it has to say goes to `wire`, which the caller sends. A handshake's step costs up to some milliseconds, so its bytes are
 * kept (mr_tls_conn_keep) until the caller finds it is its turn (mr_tls_conn_shake). All of it runs on the loop. */
#ifndef MILLRACE_NET_TLS_CONN_H
#define MILLRACE_NET_TLS_CONN_H

#include "millrace/tls.h"

enum mr_tls_step {
    MR_TLS_MORE,  /* bytes are wanted */
    MR_TLS_READY, /* shake: the handshake is done */
    MR_TLS_ENDED, /* the peer has said that it sends no more */
    MR_TLS_FAILED,
    MR_TLS_FAILED_CLIENT, /* shake: no certificate of the client, or one that is not good */
};
enum {
    MR_TLS_RECORD = 16 * 1024 + 512, /* most of a record that may be inside when more comes */
    MR_TLS_KEPT = 32 * 1024,         /* most bytes kept before their turn: a chain of certificates fits */
    MR_TLS_HELD = 48 * 1024,         /* what a connection holds: the library's two buffers of a record and its state */
};

struct mr_tls_conn;
struct mr_tls_conn *mr_tls_conn_new(struct mr_tls *tls); /* NULL: no memory */
void mr_tls_conn_free(struct mr_tls_conn *c);            /* NULL is harmless */
bool mr_tls_conn_ready(const struct mr_tls_conn *c);
bool mr_tls_conn_resumed(const struct mr_tls_conn *c);
const char *mr_tls_conn_why(const struct mr_tls_conn *c); /* it failed */
/* Before it is ready. False: more than MR_TLS_KEPT. */
bool mr_tls_conn_keep(struct mr_tls_conn *c, struct mr_str bytes);
enum mr_tls_step mr_tls_conn_shake(struct mr_tls_conn *c, struct mr_buf *wire);
/* What was kept and is not of the handshake, and `bytes`, all of it, as plain text. room: bytes.n + MR_TLS_KEPT + MR_TLS_RECORD. *n: how much
 * came, also if it then ended or failed. */
enum mr_tls_step mr_tls_conn_read(struct mr_tls_conn *c, struct mr_str bytes, char *plain, size_t room, size_t *n, struct mr_buf *wire);
/* False: it failed, or memory. */
bool mr_tls_conn_write(struct mr_tls_conn *c, struct mr_str plain, struct mr_buf *wire);
void mr_tls_conn_end(struct mr_tls_conn *c, struct mr_buf *wire); /* close_notify, once */

#endif
