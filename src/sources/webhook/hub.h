/* SPDX-License-Identifier: Apache-2.0 */
/* hub.h - what all webhook sources of a process share: the listener, the durable queue, and the lander that takes
 * records from the queue to the zone. Private to the webhook door.
 *
 *   request ─► receive.c (route, verify) ─► queue ─► 2xx
 *   queue ─► slice.c (dedup, envelope) ─► landing ─► segments freed */
#ifndef MR_WEBHOOK_HUB_H
#define MR_WEBHOOK_HUB_H

#include "batch.h"
#include "certs.h"
#include "client.h"
#include "event.h"
#include "handover.h"
#include "handshake.h"
#include "rate.h"
#include "refused.h"
#include "scheme.h"
#include "signers.h"

#include "millrace/door.h"
#include "millrace/fetch.h"
#include "millrace/http.h"
#include "millrace/queue.h"

struct hub_options {
    struct {
        char *listen;
        int64_t body_limit, connections, connections_per_peer;
        int64_t first_byte_ms, header_ms, body_ms, idle_ms;
        struct mr_strings trusted_proxies;
        int client_header;
        bool proxy_protocol;
        bool tls_given;
        struct certs_options tls;
    } http;
    struct {
        int64_t segment_size, max_size;
    } queue;
};
extern const struct mr_option hub_rows[];

struct webhook_options {
    char *path, *public_url, *stream;
    struct mr_secret path_secret; /* a last part of the path; value NULL: none */
    struct mr_strings methods, mask_headers, allow;
    bool rate_given, rate_per_client_given;
    struct rate_options rate, rate_per_client;
    int64_t body_limit; /* 0: http.body_limit */
    struct {
        int64_t status;
    } ack;
    bool verify_given;
    struct mr_verify_options verify;
    struct mr_handshake_options handshake;
    bool dedup_given;
    struct {
        char *id;
        int64_t window_ms;
        int64_t max_ids;
    } dedup;
    int payload;
    bool split_given;
    struct split_options split;
    struct refused_options quarantine;
    struct {
        int64_t every_ms; /* 0: nothing is expected */
        int64_t failing_after_ms, failing_requests;
    } expect;
};

struct watch { /* watch.c; times in ms are of the loop's clock */
    int64_t burst_since_ms;
    uint64_t burst_count;
    double accepted; /* as of the last look */
    bool ever;       /* accepted_* is of an event; else of the start */
    int64_t accepted_ms, accepted_us;
    int64_t not_before_ms; /* silence is not told */
    int64_t silent_told_ms;
    uint64_t failing, failing_told; /* signed requests refused since the last accepted one */
    int64_t failing_since_ms, failing_since_us, failing_told_ms;
    enum mr_cause failing_cause;
    char reason[160]; /* of the last refused request */
    struct mr_cell *accepted_time, *failing_cell;
};

struct webhook { /* one source: a route */
    struct mr_source *src;
    struct hub *hub;
    struct webhook *next;            /* of hub->routes, from open to close */
    const struct webhook_options *o; /* the config's, which outlives us */
    const char *name, *stream;
    char *queue_key; /* "<source>/<stream>" */
    char *allow;     /* "Allow: POST, PUT\r\n" */
    char *route, *shown; /* its path; and without its secret, for people and records */
    size_t route_n, open_n; /* bytes of the route, and of them before its secret */
    struct ranges from;  /* who may send; none: everybody */
    struct bucket bucket;
    struct clients *clients; /* NULL: no limit of their own */
    struct mr_verifier *verifier;
    struct mr_shaker *shaker;     /* NULL: no handshakes */
    struct handover *handover;    /* NULL: no secret is handed over */
    struct signers *signers;      /* NULL: no certificates are named */
    struct mr_fetch confirm;      /* a confirmation that is being fetched */
    struct mr_http_request *confirming; /* waits for it */
    struct mr_http_request *handing; /* waits for its secret to be durable */
    bool up, paused, stopping;
    struct mr_cell *elements, *unsplit;
    struct mr_cell *accepted, *bytes, *unavailable, *refused[MR_CAUSES];
    struct mr_cell *secrets[16];
    uint64_t refused_logged_ms, refused_unlogged; /* a sampled line: one a second */
    struct watch watch;
    struct refused *kept; /* its refused requests, on disk */
    bool asking; /* when it last landed is asked for */
};

struct hub {
    const struct mr_core *core;
    const struct hub_options *o;
    size_t sources;
    struct mr_queue *queue;
    char queue_id[33];
    struct mr_http_server *server;
    struct webhook *routes;
    struct lander *lander;
    struct keeper *keeper;
    struct certs *certs;
    struct ranges trusted; /* proxies */
    size_t group_memory; /* of the queue */
    char retry[40];        /* scratch: a header line of the answer at hand */
    struct mr_buf event, decoded, url; /* scratch of receive.c */
    uint64_t refused_logged_ms;
    struct mr_cell *durable_seconds;
    void (*cb)(void *arg, const struct mr_err *err);
    void *cb_arg;
    void (*stop_cb)(void *arg);
    void *stop_arg;
    uint64_t next_at_least;
    bool draining;
};

/* hub.c */
bool mr_webhook_hub_wanted(const char *data_dir);
enum mr_code mr_webhook_hub_open(void *hub, const struct mr_core *core, const void *hub_options, size_t sources,
                                 struct mr_err *err);
void mr_webhook_hub_start(void *hub, void (*cb)(void *arg, const struct mr_err *err), void *arg);
enum mr_code mr_webhook_hub_serve(void *hub, struct mr_err *err);
void mr_webhook_hub_reload(void *hub, const void *hub_options, size_t sources);
void mr_webhook_hub_drain(void *hub, void (*cb)(void *arg, const struct mr_err *err), void *arg);
void mr_webhook_hub_once(void *hub, void (*cb)(void *arg, const struct mr_err *err), void *arg);
void mr_webhook_hub_stop(void *hub, void (*cb)(void *arg), void *arg);
void mr_webhook_hub_status(const void *hub, struct mr_buf *json);
void hub_add_route(struct hub *h, struct webhook *w);
void hub_remove_route(struct hub *h, struct webhook *w);

/* receive.c */
extern const struct mr_http_handler receive_handler; /* arg: struct hub */
void receive_stop(struct webhook *w); /* nobody waits for the world any more */
void receive_idle(struct webhook *w); /* a source that stops is down once nothing of it is out */
/* Is this header's value a secret, which nobody may read in the zone? options: struct webhook_options. */
bool webhook_masks(void *options, const struct mr_header *header);

/* head.c */
/* The public URL that the vendor signed: configured, with the request's own query. */
void webhook_url(const struct webhook_options *o, const struct mr_http_head *head, struct mr_buf *out);
bool webhook_allows(const struct webhook_options *o, struct mr_str method);
enum coding { CODING_NONE, CODING_GZIP, CODING_OTHER };
enum coding webhook_coding(const struct mr_http_head *head);

/* admit.c: who is it, and may he? */
struct sight { /* a request's head as people and records may see it */
    struct mr_http_head head; /* its path without its secret, its remote the client */
    struct mr_address client;
    char remote[MR_ADDRESS_TEXT];
};
void sight_of(const struct webhook *w, const struct mr_http_head *head, struct sight *out);
enum mr_http_peer webhook_peer(void *hub, const struct mr_address *peer);
bool admit_client(const struct webhook *w, const struct sight *s); /* by its address */
/* 0: in time; else after how many seconds. The client's share is taken before anything of him is looked at, the source's only by who was verified. */
int64_t admit_soon(struct webhook *w, const struct sight *s);
int64_t admit_verified(struct webhook *w);
/* The route with its secret. */
void webhook_route(const struct webhook_options *o, struct mr_buf *out);
bool webhook_is_route(const struct webhook *w, struct mr_str path); /* says by its time nothing of the secret */

/* watch.c: alerts about a source's requests */
void watch_start(struct webhook *w, int64_t landed_us /* MR_NO_TIME: never */);
void watch_refused(struct webhook *w, enum mr_cause cause, const char *reason);
void watch_look(struct webhook *w); /* twice a second */

/* secrets.c */
/* With the config's secrets and those that were handed over (or NULL). Until one is, a secret that nobody knows stands
 * in: nothing is accepted. */
MR_MUST enum mr_code webhook_verifier(const struct webhook_options *o, const struct mr_secrets *kept,
                                      struct mr_verifier **out, struct mr_err *err);
/* explain.c: what cli asks, without a server */
void webhook_check(struct mr_check *check);
enum mr_code webhook_sign(const void *options, const void *hub_options, struct mr_str body, int64_t now_us, struct mr_delivery *out,
                          struct mr_err *err);
bool webhook_explain(const void *options, const void *hub_options, const struct mr_captured *request, int64_t at_us,
                     struct mr_buf *json);

/* stage.c */
struct staged_event { /* a queue record on its way to the zone */
    const char *queue_id;
    uint64_t seq;
    struct mr_str source, stream, payload;
    struct mr_str json; /* its body, compact; n == 0: not known to be JSON */
    struct mr_str id;   /* the event's own; n == 0: it gets the request's */
    struct mr_str run;  /* replay run, or empty */
};
/* As envelope into the landing. `line` is scratch. Runs on: worker. */
MR_MUST enum mr_code stage_event(struct mr_landing *landing, const struct staged_event *event, struct mr_buf *line,
                                 struct mr_err *err);
/* "<source>/<stream>" of a queue record: a source's name has no slash. */
void stage_key(struct mr_str key, struct mr_str *source, struct mr_str *stream);

/* replay.c */
void webhook_replay(void *hub, const struct mr_landing_row *landing, struct mr_str run,
                    void (*cb)(void *arg, const struct mr_err *err, int64_t records), void *arg);
/* requeue.c */
void webhook_requeue(void *hub, const struct mr_requeue *what, mr_requeue_cb cb, void *arg);
/* Keeps the input of every lost landing; before anything is freed. */
void replay_pin(struct hub *h, const struct mr_landing_row *landings, size_t count);

/* land.c */
struct lander;
/* positions: all of part == queue id, borrowed. */
struct lander *lander_new(struct hub *h, const struct mr_position *positions, size_t count);
/* lost: landings whose input and lists are kept for a replay. */
MR_MUST enum mr_code lander_start(struct lander *l, const struct mr_landing_row *lost, size_t lost_count, struct mr_err *err);
void lander_horizon(struct lander *l, uint64_t horizon);
/* Lands everything up to the horizon of now, closes all landings, then cb (MR_OK, or the first failure if `once`). */
void lander_drain(struct lander *l, bool once, void (*cb)(void *arg, const struct mr_err *err), void *arg);
void lander_stop(struct lander *l, void (*cb)(void *arg), void *arg); /* then freed */
void lander_look(struct lander *l);               /* once in a while: closes alerts that have gone quiet */
int64_t lander_behind_ms(const struct lander *l); /* age of what is being landed; 0: caught up */
void lander_status(const struct lander *l, struct mr_buf *json);

#endif
