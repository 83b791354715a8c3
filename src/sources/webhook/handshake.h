/* SPDX-License-Identifier: Apache-2.0 */
/* handshake.h - a vendor tries the route before it sends events, and some go on trying for ever: answered on the same
 * route, without glue, and never landed.
 *
 * Each kind is a row of the table in handshake.c. Two moments: by the head alone, before any signature (a GET with a
 * challenge, a secret handed over), and after the signature of an ordinary request held (a body that is no event).
 *
 * Rules that keep it safe: a challenge is short and of plain characters, so that an echo is nothing that a browser or a
 * shell would run; it goes out as text/plain or JSON, never sniffed; tokens are compared in constant time; what must be
 * there once and is there twice is refused; the route takes the extra method for the handshake and nothing else. An
 * answer that signs what a stranger sent (X, Zoom) signs only texts that cannot be an event. Pure. */
#ifndef MR_WEBHOOK_HANDSHAKE_H
#define MR_WEBHOOK_HANDSHAKE_H

#include "millrace/http.h"
#include "millrace/option.h"

enum {
    MR_SHAKE_BODY_MAX = 16384, /* larger requests are events, and are not looked into */
    MR_SHAKE_TEXT_MAX = 1024,  /* a challenge, decoded */
    MR_SHAKE_SECRET_MAX = 128, /* a secret handed over */
    MR_SHAKE_SECRETS = 16,
};

struct mr_handshake_options {
    int kind; /* index into the choices: auto, none, then the rows */
    struct mr_secrets verify_token;
    struct mr_strings topics, origins;
    int64_t hand_overs;
};
extern const struct mr_option mr_handshake_rows[];

enum mr_shake {
    MR_SHAKE_EVENT,  /* no handshake: goes on as an event */
    MR_SHAKE_ANSWER, /* answer it with status, type, lines and the body that was filled */
    MR_SHAKE_REFUSE, /* with status; reason is for the log */
    MR_SHAKE_KEEP,   /* a secret is handed over: make it durable, then answer it with lines */
    MR_SHAKE_FETCH,  /* confirmed by a GET of the URL in the body that was filled; then answer with status */
};
struct mr_shaken {
    enum mr_shake what;
    int status;
    const char *type;          /* of the body; NULL: there is none */
    char lines[256];           /* whole header lines */
    struct mr_str secret;      /* KEEP: borrowed from the head */
    char reason[160];          /* of a refusal; neither token nor challenge gets in */
};

struct mr_shaker; /* a kind joined with one source's options and secrets */
/* secrets: the source's signing secrets; copied. *out is NULL for a source without handshakes.
 * Fails with MR_ECONFIG: the kind needs an option or a secret that is not there. */
MR_MUST enum mr_code mr_shaker_new(const struct mr_handshake_options *options, const char *scheme,
                                   const struct mr_secrets *secrets, struct mr_shaker **out, struct mr_err *err);
void mr_shaker_free(struct mr_shaker *s);
const char *mr_shaker_kind(const struct mr_shaker *s); /* NULL: no handshakes */
bool mr_shaker_keeps(const struct mr_shaker *s);       /* secrets are handed over on its route */
bool mr_shaker_bare(const struct mr_shaker *s);        /* a refused signature is answered without a body */
/* What a person should hear of it, or NULL: it works, but not as safely as it could. */
const char *mr_shaker_warning(const struct mr_shaker *s);

/* Is this head the handshake's, so that a method that events do not have is taken? NULL shakers say no, here and below. */
bool mr_shaker_takes(const struct mr_shaker *s, const struct mr_http_head *head);
/* Before any signature. `body` is cleared, then the answer's. */
enum mr_shake mr_shake_head(const struct mr_shaker *s, const struct mr_http_head *head, struct mr_buf *body,
                            struct mr_shaken *out);
/* After the signature held, by secret number `secret`; `received` is the body, decoded. */
enum mr_shake mr_shake_verified(const struct mr_shaker *s, const struct mr_http_head *head, struct mr_str received,
                                unsigned secret, struct mr_buf *body, struct mr_shaken *out);
/* Could this be a secret that a vendor hands over? */
bool mr_shake_secret_ok(struct mr_str secret);

#endif
