/* SPDX-License-Identifier: Apache-2.0 */
/* client_inside.h - what client.c (the multi handle on the loop) and exchange.c (one request) share. */
#ifndef MR_NET_CLIENT_INSIDE_H
#define MR_NET_CLIENT_INSIDE_H

#include "millrace/client.h"
#include "millrace/metrics.h"

#include "trust.h"

#include <curl/curl.h>

enum { CLIENT_HEADERS_MAX = 256, CLIENT_HEAD_BYTES_MAX = 256 * 1024 };

struct mr_flight { /* an exchange that is out */
    struct mr_exchange *x; /* NULL: canceled */
    struct mr_client *client;
    struct mr_flight *prev, *next; /* of client->flights */
    CURL *curl;
    struct curl_slist *headers, *to;
    bool added;                     /* to the multi handle */
    bool paused, resume;            /* held back by on_bytes; to be resumed at the end of the turn */
    bool asked, repeated;           /* a request was about to leave; and once more */
    bool told, skipping, redirects; /* its head; a redirect's body; there is one to be followed */
    unsigned hops;
    enum mr_client_cause failed; /* found in a callback: why the transfer was ended */
    struct mr_buf head;
    int64_t date_us;
    size_t received; /* decoded */
    char why[CURL_ERROR_SIZE];
};

struct mr_client {
    struct mr_loop *loop;
    CURLM *multi; /* NULL: nobody has asked for anything */
    struct trust *trust;
    uv_timer_t timer, kick; /* libcurl's; ours, for wishes */
    bool closing;
    unsigned inside; /* libcurl has been called and calls back: it must not be called again for the multi handle */
    unsigned open_handles, flights_count;
    struct mr_flight *flights;
    char *proxy, *no_proxy;
    unsigned connections, per_host;
    void (*closed)(void *arg);
    void *arg;
    struct mr_cell *exchanges[MR_CLIENT_CAUSES], *in_flight, *sent, *received;
};

/* exchange.c */
MR_MUST bool flight_set_up(struct mr_flight *f); /* all options, before it is added; false: libcurl has no memory */
/* It came to an end. true: a redirect is to be followed, all is set for adding it again. */
bool flight_goes_on(struct mr_flight *f);
void flight_judge(struct mr_flight *f, CURLcode rc, struct mr_exchange_end *end);
void flight_free(struct mr_flight *f);

#endif
