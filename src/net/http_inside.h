/* SPDX-License-Identifier: Apache-2.0 */
/* net/http_inside.h - server and connection as the files of the HTTP server share them; nobody else includes it.
 *
 * A connection is in one state, and in one list by the deadline of that state. All connections of a list have the same
 * time to live from the moment they joined, so each list is in the order of its deadlines by itself: one coarse timer
 * looks at the heads.
 *
 * Buffers. A connection without a piece of a request owns none: it reads into the server's one buffer, a request that
 * is whole there is handed over from there. What must be kept (a piece, or requests behind one that is out) moves to a
 * buffer of the connection's own, taken from the budget's share. When the share refuses, the bytes just read are kept
 * all the same (at most one read: MR_HTTP_READ), and no socket of the server is read until the share has room.
 *
 * All of it runs on the loop. */
#ifndef MILLRACE_NET_HTTP_INSIDE_H
#define MILLRACE_NET_HTTP_INSIDE_H

#include "net/http_parse.h"

#include "millrace/budget.h"
#include "millrace/metrics.h"
#include "net/proxy_header.h"
#include "net/tls_conn.h"

#include <netinet/in.h>
#include <stdalign.h>

enum {
    MR_HTTP_READ = 64 * 1024,
    MR_HTTP_PIECE = 4 * 1024,   /* first size of a connection's own buffer */
    MR_HTTP_DRAIN = 256 * 1024, /* most bytes thrown away after a refusal, so that it is read before the reset */
    MR_HTTP_SKIP = 64 * 1024,   /* refused body that is read over to keep the connection */
    MR_HTTP_LINGER_MS = 2000,
    MR_HTTP_TICK_MS = 250,
    MR_HTTP_TICK_WORK = 256, /* deadlines handled in one turn: each may write */
    MR_HTTP_ACCEPTS = 64,    /* connections accepted in one turn */
    MR_HTTP_ABOVE_CAP = 64,  /* refused connections that may linger beyond the cap */
    MR_HTTP_RATE_AFTER_MS = 5000,
    MR_HTTP_PLAIN = MR_HTTP_READ + MR_TLS_KEPT + MR_TLS_RECORD, /* what a read can be once decrypted */
    MR_HTTP_SHAKES = 2, /* steps of TLS handshakes in one turn: a millisecond or so each */
    MR_HTTP_CRLFS = 4, /* bytes of empty lines before a request: two, as old clients send after a body */
};

struct mr_link { /* a ring; alone when next points to itself */
    struct mr_link *prev, *next;
};
static inline void mr_link_init(struct mr_link *l)
{
    l->prev = l->next = l;
}
static inline void mr_link_out(struct mr_link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    mr_link_init(l);
}
static inline void mr_link_last(struct mr_link *ring, struct mr_link *l)
{
    l->prev = ring->prev;
    l->next = ring;
    ring->prev->next = l;
    ring->prev = l;
}
static inline bool mr_link_alone(const struct mr_link *l)
{
    return l->next == l;
}

/* state, states that may follow */
#define MR_CONN_STATES(X)                                                                                              \
    X(FRESH, C(HEAD) | C(BODY) | C(OUT) | C(IDLE) | ENDING) /* connected, no byte yet                             */   \
    X(IDLE, C(HEAD) | C(BODY) | C(OUT) | C(IDLE) | ENDING)  /* answered, no byte of a next one (IDLE: refused it) */   \
    X(HEAD, C(BODY) | C(OUT) | C(IDLE) | ENDING)            /* a piece of a head                                  */   \
    X(BODY, C(OUT) | C(IDLE) | ENDING)                      /* head accepted (or a refused body is read over)     */   \
    X(OUT, C(IDLE) | ENDING)                                /* handed over, not answered                          */   \
    X(SENDING, C(IDLE) | C(BODY) | ENDING)                  /* the socket has not taken all of the answer         */   \
    X(LINGER, C(CLOSED))                                    /* all said; reading to throw away                    */   \
    X(CLOSED, 0)                                            /* handle closing or closed                           */

enum mr_conn_state {
#define MR_CONN_STATE_ENUM(id, next) MR_CONN_##id,
    MR_CONN_STATES(MR_CONN_STATE_ENUM)
#undef MR_CONN_STATE_ENUM
        MR_CONN_STATE_COUNT
};

struct mr_http_request {
    alignas(16) char room[MR_HTTP_ROOM];
};

struct mr_peer;

struct mr_conn {
    uv_tcp_t tcp;
    struct mr_http_server *server; /* NULL: server and handle are gone, only the answer is awaited */
    struct mr_peer *peer;          /* NULL: refused at the door, not counted */
    struct mr_link all, due, ready;
    struct mr_tls_conn *tls;  /* NULL: plain */
    struct proxy_start *proxy; /* a PROXY header is awaited */
    struct mr_address address;
    struct mr_link shaking;   /* its handshake has bytes that wait for a turn */
    uint64_t since_ms;        /* joined the list of its state */
    char *own;                /* NULL: none */
    uint32_t own_at, own_n;   /* own[own_at..own_at+own_n): bytes not yet done with */
    size_t own_size, charged; /* allocated; taken from the share (0 while it refuses) */
    size_t skip;              /* bytes of a refused body still to come */
    size_t drained;
    struct mr_parse parse;
    struct mr_http_request request;
    enum mr_conn_state state : 8;
    uint8_t crlfs;
    uint8_t late; /* writes that libuv finishes later */
    uint8_t remote_n;
    bool begun_tls; /* a byte of its handshake has come */
    bool begun;   /* `parse` holds a request that has begun */
    bool out;     /* the handler holds `request` */
    bool handing; /* ... and is inside on_request() */
    bool close_after;
    bool eof; /* the peer has said all; it may still listen */
    bool reading;
    bool starved;    /* the share has refused it */
    bool at_door;    /* refused when it came */
    bool deaf;       /* bytes behind the request that is out were dropped: its answer closes */
    char remote[54]; /* "[0123:4567:89ab:cdef:0123:4567:89ab:cdef]:65535" */
};
_Static_assert(sizeof(struct mr_conn) < 1024, "an idle connection holds under 1 KiB");

struct mr_peer {
    struct mr_peer *next;
    struct mr_address address;
    unsigned connections;
};
enum { MR_PEER_CHAINS = 1024 };

struct mr_http_server {
    struct mr_loop *loop;
    struct mr_http_limits limits;
    struct mr_http_handler handler;
    struct mr_share *share;
    size_t share_cap;
    uv_poll_t listener;
    uv_timer_t tick;
    int fd, spare_fd; /* spare_fd: closed to accept and refuse when descriptors are spent */
    int port;
    unsigned handles;     /* listener and tick, while not closed */
    unsigned connections; /* all, lingering ones too */
    unsigned at_door;     /* ... of them refused when they came */
    bool running;         /* mr_conn_run(): no second one starts inside, since table and buffer are one */
    bool draining, closing, stalled, listening;
    void (*on_drained)(void *arg);
    void *drained_arg;
    void (*on_closed)(void *arg);
    void *closed_arg;
    struct mr_link all, ready;
    struct mr_link due[MR_CONN_STATE_COUNT];
    struct mr_answer_date date;
    struct mr_parse_table table;
    struct mr_peer *peers[MR_PEER_CHAINS];
    struct mr_cell *open;
    struct mr_cell *refused[MR_CAUSE_COUNT];
    struct mr_tls *tls;        /* of connections to come; NULL: plain */
    struct mr_share *tls_share; /* of their buffers: a crowd of idle ones must not starve requests of theirs */
    char *plain;               /* MR_HTTP_PLAIN bytes, once TLS was spoken */
    struct mr_buf wire;        /* what TLS has to say; for the time of a call */
    uv_idle_t shake;           /* runs while handshakes wait */
    struct mr_link shaking;
    struct mr_cell *shaken[2]; /* full, resumed */
    char read[MR_HTTP_READ];
};

/* http_conn.c */
struct mr_conn *mr_conn_new(struct mr_http_server *s, int fd, const struct sockaddr_storage *from);
void mr_conn_name(struct mr_conn *c, const struct mr_address *a, unsigned port); /* who it is */
void mr_conn_close(struct mr_conn *c);
/* Parses what it has kept, reads on. Later, if another connection is just being run. */
void mr_conn_go_on(struct mr_conn *c);
/* Answers by ourselves and closes. FRESH to BODY only. */
void mr_conn_refuse(struct mr_conn *c, enum mr_http_cause cause);
/* The share has room again, perhaps: pay what was kept unpaid, then read all sockets. */
void mr_conn_resume_all(struct mr_http_server *s);
struct mr_str mr_conn_remote(const struct mr_conn *c);

/* http_proxy.c */
bool mr_conn_proxy_begin(struct mr_conn *c); /* false: no memory for it */
void mr_conn_proxy_read(struct mr_conn *c, char *bytes, size_t n);
void mr_conn_proxy_free(struct mr_conn *c);

/* http_tls.c */
bool mr_conn_tls_begin(struct mr_conn *c); /* false: no memory for it */
void mr_conn_tls_read(struct mr_conn *c, struct mr_str bytes);
bool mr_conn_tls_write(struct mr_conn *c, struct mr_str plain, struct mr_str *wire);
void mr_conn_tls_end(struct mr_conn *c);  /* says that nothing more comes */
void mr_conn_tls_free(struct mr_conn *c);
void mr_http_shake(uv_idle_t *idle);

/* http_conn.c, for http_tls.c: bytes of the wire, and of the request */
void mr_conn_wire(struct mr_conn *c, struct mr_str bytes);
void mr_conn_take(struct mr_conn *c, char *bytes, size_t n);
void mr_conn_eof(struct mr_conn *c);
void mr_conn_linger(struct mr_conn *c);

/* http_limits.c */
void mr_conn_list(struct mr_conn *c); /* into the list of its state */
void mr_http_tick(uv_timer_t *t);
void mr_http_stall(struct mr_http_server *s, struct mr_conn *asker, size_t lacked);
void mr_http_relieved(void *arg);

/* http_peers.c */
struct mr_peer *mr_peer_get(struct mr_http_server *s, const struct mr_address *a); /* counts one more */
void mr_peer_put(struct mr_http_server *s, struct mr_peer *p);

/* http_server.c */
void mr_http_count_refused(struct mr_http_server *s, enum mr_http_cause cause, struct mr_str remote);
void mr_http_conn_gone(struct mr_http_server *s);
void mr_http_listening(struct mr_http_server *s, bool on);

#endif
