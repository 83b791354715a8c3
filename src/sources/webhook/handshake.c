/* SPDX-License-Identifier: Apache-2.0 */
/* handshake.c - who shakes hands, and how: rows. What the vendors' documents say stands above each function. */
#include "handshake.h"

#include "vendor_url.h"

#include "millrace/hash.h"
#include "millrace/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { TOKENS_MAX = 16, DIGEST = 32 };
enum need { NEEDS_TOKEN = 1, NEEDS_TOPICS = 2, NEEDS_ORIGINS = 4, NEEDS_SECRET = 8 };

struct deal { /* one handshake being judged */
    const struct mr_shaker *s;
    const struct mr_http_head *head;
    struct mr_str received;
    unsigned secret;
    struct mr_buf *body;
    struct mr_shaken *out;
};

struct kind {
    const char *name;                      /* also of the scheme whose sources have it without being told */
    const char *method;                    /* of its request by the head alone, or NULL */
    const char *query, *header;            /* one of which marks that request; both NULL: any with that method */
    enum mr_shake (*by_head)(struct deal *d);
    bool head_is_verified;                 /* by_head waits for the source's own verification */
    const char *marker;                    /* a body without this text is not parsed; NULL: none is */
    enum mr_shake (*by_body)(struct deal *d);
    unsigned needs;
    const char *origin; /* taken without being told */
    bool keeps, signs;
    bool bare; /* a refusal may have no body */
    const char *warning; /* if no topics are given */
};

struct mr_shaker {
    const struct kind *kind;
    unsigned char tokens[TOKENS_MAX][DIGEST];
    size_t tokens_count;
    struct mr_hmac_key *keys[MR_SHAKE_SECRETS];
    size_t keys_count;
    char **topics, **origins;
    size_t topics_count, origins_count;
};

/* ---- answers ---- */

static enum mr_shake refuse(struct deal *d, int status, const char *reason)
{
    mr_buf_clear(d->body);
    d->out->status = status;
    snprintf(d->out->reason, sizeof d->out->reason, "%s", reason);
    return d->out->what = MR_SHAKE_REFUSE;
}

static enum mr_shake answer(struct deal *d, int status, const char *type)
{
    if (d->body->failed)
        return refuse(d, 503, "no memory for the answer");
    d->out->status = status;
    d->out->type = type;
    if (type)
        snprintf(d->out->lines, sizeof d->out->lines, "X-Content-Type-Options: nosniff\r\n");
    return d->out->what = MR_SHAKE_ANSWER;
}

static enum mr_shake answer_text(struct deal *d)
{
    return answer(d, 200, "text/plain; charset=utf-8");
}

static enum mr_shake answer_json(struct deal *d)
{
    return answer(d, 200, "application/json");
}

/* ---- strict texts ---- */

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-._~+/=:", c));
}

/* What no browser takes for markup, script or an end of line. */
static bool is_sentence(char c)
{
    return is_plain(c) || (c && strchr(" ,;()@*", c));
}

static bool all(struct mr_str s, bool (*ok)(char c))
{
    for (size_t i = 0; i < s.n; i++)
        if (!ok(s.p[i]))
            return false;
    return s.n > 0 && s.n <= MR_SHAKE_TEXT_MAX;
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* As forms are written: `+` is a blank. -1: a bad escape, a NUL, or larger than a challenge may be. */
static int decode(struct mr_str in, char out[MR_SHAKE_TEXT_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < in.n; i++) {
        int c = in.p[i] == '+' ? ' ' : (unsigned char)in.p[i];
        if (in.p[i] == '%') {
            int high = i + 2 < in.n ? nibble(in.p[i + 1]) : -1, low = high >= 0 ? nibble(in.p[i + 2]) : -1;
            if (low < 0)
                return -1;
            c = high << 4 | low;
            i += 2;
        }
        if (c == 0 || n == MR_SHAKE_TEXT_MAX)
            return -1;
        out[n++] = (char)c;
    }
    return (int)n;
}

struct param {
    unsigned count;
    bool bad;
    struct mr_str value;
    char text[MR_SHAKE_TEXT_MAX];
};

static struct mr_str cut(struct mr_str *rest, char at)
{
    const char *end = rest->n ? memchr(rest->p, at, rest->n) : NULL;
    struct mr_str first = {rest->p, end ? (size_t)(end - rest->p) : rest->n};
    rest->p = end ? end + 1 : NULL;
    rest->n = end ? rest->n - first.n - 1 : 0;
    return first;
}

static bool param(struct mr_str query, const char *name, struct param *p)
{
    char text[MR_SHAKE_TEXT_MAX];
    p->count = 0;
    p->bad = false;
    p->value = (struct mr_str){p->text, 0};
    while (query.n) {
        struct mr_str value = cut(&query, '&'), key = cut(&value, '=');
        int n = decode(key, text);
        if (n < 0 || !mr_str_eq((struct mr_str){text, (size_t)n}, mr_str_c(name)))
            continue;
        n = decode(value, p->text);
        p->count++;
        p->bad |= n < 0;
        p->value.n = n < 0 ? 0 : (size_t)n;
    }
    return p->count == 1 && !p->bad;
}

static bool header(const struct deal *d, struct mr_str name, struct mr_str *value)
{
    return mr_http_header(d->head, name, value) == 1;
}

static bool is(struct mr_str value, const char *text)
{
    return mr_str_eq(value, mr_str_c(text));
}

/* Every token is looked at, each by its digest: how long it takes tells nothing of any. */
static bool token_holds(const struct mr_shaker *s, struct mr_str given)
{
    unsigned char digest[MR_DIGEST_MAX];
    bool held = false;
    mr_digest(MR_SHA256, given, digest);
    for (size_t i = 0; i < s->tokens_count; i++)
        held |= mr_equal_ct(s->tokens[i], digest, DIGEST);
    mr_cleanse(digest, sizeof digest);
    return held;
}

static bool is_topic(const struct mr_shaker *s, struct mr_str topic)
{
    for (size_t i = 0; i < s->topics_count; i++)
        if (is(topic, s->topics[i]))
            return true;
    return false;
}

/* ---- by the head ---- */

/* https://docs.x.com/x-api/webhooks/introduction: GET with crc_token, hourly; the answer is its HMAC. Whoever asks gets
 * a signature, the same that an event of these bytes would have: so only what cannot be an event is signed (see
 * x_body). */
static enum mr_shake x_head(struct deal *d)
{
    struct param token;
    unsigned char mac[MR_DIGEST_MAX];
    if (!param(d->head->query, "crc_token", &token) || !all(token.value, is_plain))
        return refuse(d, 400, "crc_token: given once, of plain characters, at most 1024");
    mr_hmac(d->s->keys[0], &token.value, 1, mac);
    mr_buf_puts(d->body, "{\"response_token\":\"sha256=");
    mr_base64_put(d->body, (struct mr_str){(const char *)mac, DIGEST});
    mr_buf_puts(d->body, "\"}");
    return answer_json(d);
}

static enum mr_shake x_body(struct deal *d)
{
    return all(d->received, is_plain) ? refuse(d, 401, "a body that the answer to a challenge could have signed")
                                      : MR_SHAKE_EVENT;
}

static enum mr_shake echo_param(struct deal *d, const char *name, bool (*ok)(char c))
{
    struct param p;
    if (!param(d->head->query, name, &p) || !all(p.value, ok))
        return refuse(d, 400, "the challenge: given once, of plain characters, at most 1024");
    mr_buf_put(d->body, p.value.p, p.value.n);
    return answer_text(d);
}

/* https://www.dropbox.com/developers/reference/webhooks, https://developer.nylas.com/docs/v3/notifications: GET with
 * challenge, which comes back as it is. */
static enum mr_shake challenge_head(struct deal *d)
{
    return echo_param(d, "challenge", is_plain);
}

/* https://learn.microsoft.com/graph/change-notifications-delivery-webhooks: POST with validationToken in the query, a
 * sentence in plain text. */
static enum mr_shake graph_head(struct deal *d)
{
    return echo_param(d, "validationToken", is_sentence);
}

static enum mr_shake hub_echo(struct deal *d)
{
    return echo_param(d, "hub.challenge", is_plain);
}

/* https://developers.facebook.com/docs/graph-api/webhooks/getting-started */
static enum mr_shake meta_head(struct deal *d)
{
    struct param p;
    if (!param(d->head->query, "hub.mode", &p) || !is(p.value, "subscribe"))
        return refuse(d, 400, "hub.mode is not subscribe");
    if (!param(d->head->query, "hub.verify_token", &p) || !token_holds(d->s, p.value))
        return refuse(d, 403, "hub.verify_token is not the one of handshake.verify_token");
    return hub_echo(d);
}

/* https://www.w3.org/TR/websub/#hub-verifies-intent: subscribing is agreed to for the topics that are configured,
 * unsubscribing for those that are not; else 404, as it says. */
static enum mr_shake websub_head(struct deal *d)
{
    struct param mode, p;
    bool known = param(d->head->query, "hub.topic", &p) && is_topic(d->s, p.value);
    if (d->s->tokens_count && (!param(d->head->query, "hub.verify_token", &p) || !token_holds(d->s, p.value)))
        return refuse(d, 403, "hub.verify_token is not the one of handshake.verify_token");
    if (!param(d->head->query, "hub.mode", &mode))
        return refuse(d, 400, "hub.mode is not given once");
    if (known && is(mode.value, "denied")) /* told, not asked */
        return answer(d, 200, NULL);
    if (is(mode.value, "subscribe") ? !known : known || !is(mode.value, "unsubscribe"))
        return refuse(d, 404, "hub.topic is not among handshake.topics, or to be unsubscribed from against them");
    return hub_echo(d);
}

/* https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md#4-abuse-protection; Event Grid asks in the
 * same way for the CloudEvents schema. The origin that comes back is the configured one. */
static enum mr_shake origin_head(struct deal *d)
{
    struct mr_str origin;
    const char *granted = NULL;
    if (!header(d, MR_STR("webhook-request-origin"), &origin) || !all(origin, is_plain))
        return refuse(d, 400, "WebHook-Request-Origin: given once, of plain characters");
    for (size_t i = 0; i < d->s->origins_count; i++) {
        const char *o = d->s->origins[i];
        if (is(mr_str_c(o), "*") || (origin.n == strlen(o) && strncasecmp(origin.p, o, origin.n) == 0))
            granted = o;
    }
    const char *own = d->s->kind->origin;
    if (own && origin.n == strlen(own) && strncasecmp(origin.p, own, origin.n) == 0)
        granted = own;
    if (!granted)
        return refuse(d, 403, "WebHook-Request-Origin is not among handshake.origins");
    answer(d, 200, NULL);
    int n = snprintf(d->out->lines, sizeof d->out->lines,
                     "Allow: POST\r\nWebHook-Allowed-Origin: %s\r\nWebHook-Allowed-Rate: *\r\n", granted);
    return n < (int)sizeof d->out->lines ? d->out->what : refuse(d, 403, "an origin too long for a header");
}

/* https://developer.okta.com/docs/concepts/event-hooks/: one GET with the challenge in a header; it has the hook's
 * Authorization too, so that is verified first. */
static enum mr_shake okta_head(struct deal *d)
{
    struct mr_str challenge;
    if (!header(d, MR_STR("x-okta-verification-challenge"), &challenge) || !all(challenge, is_plain))
        return refuse(d, 400, "X-Okta-Verification-Challenge: given once, of plain characters, at most 1024");
    mr_buf_puts(d->body, "{\"verification\":");
    mr_json_put_string(d->body, challenge);
    mr_buf_putc(d->body, '}');
    return answer_json(d);
}

static bool is_secret(char c)
{
    return is_plain(c) && c != ':';
}

bool mr_shake_secret_ok(struct mr_str secret)
{
    return secret.n >= 16 && secret.n <= MR_SHAKE_SECRET_MAX && all(secret, is_secret);
}

/* https://developers.asana.com/docs/webhooks-guide: the first request has X-Hook-Secret, which comes back as it is and
 * signs every event from then on. */
static enum mr_shake asana_head(struct deal *d)
{
    struct mr_str signature;
    if (mr_http_header(d->head, MR_STR("x-hook-signature"), &signature))
        return MR_SHAKE_EVENT; /* and its signature must hold */
    if (!header(d, MR_STR("x-hook-secret"), &d->out->secret) || !mr_shake_secret_ok(d->out->secret))
        return refuse(d, 400, "X-Hook-Secret: given once, 16 to 128 letters, digits and the like");
    answer(d, 200, NULL);
    snprintf(d->out->lines, sizeof d->out->lines, "X-Hook-Secret: %.*s\r\n", (int)d->out->secret.n, d->out->secret.p);
    return d->out->what = MR_SHAKE_KEEP;
}

/* https://developer.atlassian.com/cloud/trello/guides/rest-api/webhooks/: HEAD, which wants 200 */
static enum mr_shake trello_head(struct deal *d)
{
    return answer(d, 200, NULL);
}

/* ---- by a body whose signature held ---- */

static struct mr_json_slice at(const struct deal *d, const char *pointer)
{
    return mr_json_at(d->received, mr_str_c(pointer));
}

static bool text_is(const struct deal *d, const char *pointer, const char *want)
{
    struct mr_json_slice s = at(d, pointer);
    return s.type == MR_JSON_STRING && s.raw.n == strlen(want) + 2 && memcmp(s.raw.p + 1, want, s.raw.n - 2) == 0;
}

/* Decoded to the end of the body; false, and refused, if it is no plain text. */
static bool put_text(struct deal *d, const char *pointer, bool (*ok)(char c), struct mr_str *text)
{
    size_t begin = d->body->n;
    if (mr_json_string(at(d, pointer), d->body) && !d->body->failed) {
        *text = (struct mr_str){d->body->p + begin, d->body->n - begin};
        if (all(*text, ok))
            return true;
    }
    refuse(d, 400, "the challenge is no text of plain characters, at most 1024");
    return false;
}

static enum mr_shake echo_json(struct deal *d, const char *pointer)
{
    struct mr_str text;
    return put_text(d, pointer, is_plain, &text) ? answer_text(d) : d->out->what;
}

/* https://api.slack.com/events/url_verification */
static enum mr_shake slack_body(struct deal *d)
{
    return text_is(d, "/type", "url_verification") ? echo_json(d, "/challenge") : MR_SHAKE_EVENT;
}

/* https://developers.zoom.us/docs/api/webhooks/#validate-your-webhook-endpoint: every 72 hours. The text that is signed
 * for events has colons; a plainToken may have none. */
static bool is_zoom(char c)
{
    return is_plain(c) && c != ':';
}

static enum mr_shake zoom_body(struct deal *d)
{
    struct mr_str token;
    unsigned char mac[MR_DIGEST_MAX];
    if (!text_is(d, "/event", "endpoint.url_validation"))
        return MR_SHAKE_EVENT;
    if (!put_text(d, "/payload/plainToken", is_zoom, &token))
        return d->out->what;
    mr_hmac(d->s->keys[d->secret < d->s->keys_count ? d->secret : 0], &token, 1, mac);
    char copy[MR_SHAKE_TEXT_MAX];
    size_t n = token.n;
    memcpy(copy, token.p, n);
    mr_buf_clear(d->body);
    mr_buf_puts(d->body, "{\"plainToken\":");
    mr_json_put_string(d->body, (struct mr_str){copy, n});
    mr_buf_puts(d->body, ",\"encryptedToken\":\"");
    mr_hex_put(d->body, mac, DIGEST);
    mr_buf_puts(d->body, "\"}");
    return answer_json(d);
}

/* https://discord.com/developers/docs/interactions/overview (PING 1, PONG 1) and .../events/webhook-events (PING 0, 204
 * with no body). */
static enum mr_shake discord_body(struct deal *d)
{
    int64_t type;
    if (!mr_json_i64(at(d, "/type"), &type) || at(d, "/event").type != MR_JSON_ABSENT)
        return MR_SHAKE_EVENT;
    if (type == 0 && at(d, "/version").type == MR_JSON_NUMBER)
        return answer(d, 204, NULL);
    if (type != 1 || at(d, "/data").type != MR_JSON_ABSENT)
        return MR_SHAKE_EVENT;
    mr_buf_puts(d->body, "{\"type\":1}");
    return answer_json(d);
}

/* https://developer.xero.com/documentation/guides/webhooks/configuring-your-server: intent to receive has no events; its
 * false signatures want exactly 401, which they get before this; neither answer may have a body. */
static enum mr_shake xero_body(struct deal *d)
{
    struct mr_json_slice events = at(d, "/events"), first;
    struct mr_json_iter it;
    struct mr_str key;
    if (events.type != MR_JSON_ARRAY)
        return MR_SHAKE_EVENT;
    mr_json_iter(&it, events);
    return mr_json_next(&it, &key, &first) ? MR_SHAKE_EVENT : answer(d, 200, NULL);
}

/* https://developer.monday.com/apps/docs/webhooks-1: the challenge comes back as JSON. */
static enum mr_shake monday_body(struct deal *d)
{
    struct mr_str text;
    char copy[MR_SHAKE_TEXT_MAX];
    if (at(d, "/challenge").type != MR_JSON_STRING || at(d, "/event").type != MR_JSON_ABSENT)
        return MR_SHAKE_EVENT;
    if (!put_text(d, "/challenge", is_plain, &text))
        return d->out->what;
    size_t n = text.n;
    memcpy(copy, text.p, n);
    mr_buf_clear(d->body);
    mr_buf_puts(d->body, "{\"challenge\":");
    mr_json_put_string(d->body, (struct mr_str){copy, n});
    mr_buf_putc(d->body, '}');
    return answer_json(d);
}

/* https://dev.twitch.tv/docs/eventsub/handling-webhook-events/#responding-to-a-challenge-request: the message type is
 * not signed, so the body must agree. */
static enum mr_shake twitch_body(struct deal *d)
{
    struct mr_str type;
    if (!header(d, MR_STR("twitch-eventsub-message-type"), &type) || !is(type, "webhook_callback_verification") ||
        at(d, "/challenge").type != MR_JSON_STRING || at(d, "/event").type != MR_JSON_ABSENT)
        return MR_SHAKE_EVENT;
    return echo_json(d, "/challenge");
}

/* https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema */
static enum mr_shake event_grid_body(struct deal *d)
{
    static const char begin[] = "{\"validationResponse\":\"";
    struct mr_str type, code;
    if (!header(d, MR_STR("aeg-event-type"), &type) || !is(type, "SubscriptionValidation") ||
        !text_is(d, "/0/eventType", "Microsoft.EventGrid.SubscriptionValidationEvent") ||
        at(d, "/1").type != MR_JSON_ABSENT)
        return MR_SHAKE_EVENT;
    if (d->s->topics_count) {
        struct mr_str topic;
        if (!put_text(d, "/0/topic", is_sentence, &topic) || !is_topic(d->s, topic))
            return refuse(d, 403, "topic is not among handshake.topics");
        mr_buf_clear(d->body);
    }
    mr_buf_puts(d->body, begin);
    if (!put_text(d, "/0/data/validationCode", is_plain, &code))
        return d->out->what;
    mr_buf_puts(d->body, "\"}");
    return answer_json(d);
}

static bool is_url(char c)
{
    return is_plain(c) || (c && strchr("?&%", c));
}

/* https://docs.aws.amazon.com/sns/latest/dg/http-subscription-confirmation-json.html. Anybody with an account there can
 * have SNS sign: which topics are ours is for the config to say. */
static enum mr_shake sns_body(struct deal *d)
{
    struct mr_str text;
    bool asks = text_is(d, "/Type", "SubscriptionConfirmation"), ends = text_is(d, "/Type", "UnsubscribeConfirmation");
    if (!asks && !ends && d->s->topics_count == 0)
        return MR_SHAKE_EVENT;
    if (!put_text(d, "/TopicArn", is_plain, &text) || !is_topic(d->s, text))
        return refuse(d, 403, "TopicArn is not among handshake.topics");
    mr_buf_clear(d->body);
    if (!asks)
        return ends ? answer(d, 200, NULL) : MR_SHAKE_EVENT;
    if (!put_text(d, "/SubscribeURL", is_url, &text) || !is_sns_confirm_url(text))
        return refuse(d, 403, "SubscribeURL is not SNS's confirmation over https");
    d->out->status = 200;
    return d->out->what = MR_SHAKE_FETCH;
}

/* ---- the table ---- */

#define KINDS(X)                                                                                                       \
    X(asana, "asana", .method = "POST", .header = "x-hook-secret", .by_head = asana_head, .keeps = true)               \
    X(cloudevents, "cloudevents", .method = "OPTIONS", .header = "webhook-request-origin", .by_head = origin_head,     \
      .needs = NEEDS_ORIGINS)                                                                                          \
    X(discord, "discord", .marker = "\"type\"", .by_body = discord_body)                                               \
    X(dropbox, "dropbox", .method = "GET", .query = "challenge", .by_head = challenge_head)                            \
    X(event_grid, "event-grid", .method = "OPTIONS", .header = "webhook-request-origin", .by_head = origin_head,       \
      .marker = "SubscriptionValidationEvent", .by_body = event_grid_body, .origin = "eventgrid.azure.net")            \
    X(graph, "graph", .method = "POST", .query = "validationToken", .by_head = graph_head)                             \
    X(meta, "meta", .method = "GET", .query = "hub.mode", .by_head = meta_head, .needs = NEEDS_TOKEN)                  \
    X(monday, "monday", .marker = "\"challenge\"", .by_body = monday_body)                                             \
    X(nylas, "nylas", .method = "GET", .query = "challenge", .by_head = challenge_head)                                \
    X(okta, "okta", .method = "GET", .header = "x-okta-verification-challenge", .by_head = okta_head,                  \
      .head_is_verified = true)                                                                                        \
    X(slack, "slack", .marker = "url_verification", .by_body = slack_body)                                             \
    X(sns, "sns", .marker = "\"Type\"", .by_body = sns_body,                                                           \
      .warning = "no handshake.topics: SNS signs for anybody with an account there, and confirmations are refused")    \
    X(trello, "trello", .method = "HEAD", .by_head = trello_head)                                                      \
    X(twitch, "twitch", .marker = "\"challenge\"", .by_body = twitch_body)                                             \
    X(websub, "websub", .method = "GET", .query = "hub.mode", .by_head = websub_head, .needs = NEEDS_TOPICS)           \
    X(x, "x", .method = "GET", .query = "crc_token", .by_head = x_head, .marker = "", .by_body = x_body,               \
      .needs = NEEDS_SECRET, .signs = true)                                                                            \
    X(xero, "xero", .bare = true, .marker = "\"events\"", .by_body = xero_body)                                                      \
    X(zoom, "zoom", .marker = "endpoint.url_validation", .by_body = zoom_body, .needs = NEEDS_SECRET, .signs = true)

#define KIND_ROW(id, text, ...) {.name = text, __VA_ARGS__},
static const struct kind kinds[] = {KINDS(KIND_ROW)};
#undef KIND_ROW
#define KIND_NAME(id, text, ...) text,
enum { KIND_AUTO, KIND_NONE, KIND_FIRST };
static const char *const choices[] = {"auto", "none", KINDS(KIND_NAME) NULL};
#undef KIND_NAME

#define AT(field) offsetof(struct mr_handshake_options, field)
const struct mr_option mr_handshake_rows[] = {
    {.name = "kind",
     .type = MR_T_ENUM,
     .offset = AT(kind),
     .def = "auto",
     .choices = choices,
     .doc = "Whose handshake is answered on the route. auto: that of the signature scheme of the same name, if it has "
            "one; none: all requests are events."},
    {.name = "verify_token",
     .type = MR_T_SECRETS,
     .offset = AT(verify_token),
     .doc = "meta, websub: the `hub.verify_token` that was given to the vendor; one, or several while it changes. "
            "Without it meta's GET is refused."},
    {.name = "topics",
     .type = MR_T_STRINGS,
     .offset = AT(topics),
     .doc = "websub: URLs of the topics subscribed to. sns: ARNs of the topics that are ours; messages of others are "
            "refused, and no subscription is confirmed without. event-grid: topics, if given."},
    {.name = "origins",
     .type = MR_T_STRINGS,
     .offset = AT(origins),
     .doc = "cloudevents, event-grid: origins that may send (`WebHook-Request-Origin`); `*` for any."},
    {.name = "hand_overs",
     .type = MR_T_INT,
     .offset = AT(hand_overs),
     .def = "1",
     .min = "0",
     .max = "15",
     .doc = "asana: how many secrets are taken in all from whoever hands one over; then no more, so that no stranger can "
            "add his. One a webhook that is made; raise it by one for each further."},
    {0},
};

/* ---- a source's ---- */

static bool copy_strings(const struct mr_strings *from, char ***to, size_t *count)
{
    *to = calloc(from->count ? from->count : 1, sizeof **to);
    for (size_t i = 0; *to && i < from->count; i++)
        if (((*to)[(*count)++] = strdup(from->items[i])) == NULL)
            return false;
    return *to != NULL;
}

static const struct kind *kind_of(const struct mr_handshake_options *o, const char *scheme)
{
    if (o->kind >= KIND_FIRST && (size_t)o->kind - KIND_FIRST < MR_COUNT(kinds))
        return &kinds[o->kind - KIND_FIRST];
    for (size_t i = 0; o->kind == KIND_AUTO && scheme && i < MR_COUNT(kinds); i++)
        if (strcmp(kinds[i].name, scheme) == 0)
            return &kinds[i];
    return NULL;
}

static const char *lacking(const struct kind *k, const struct mr_handshake_options *o, const struct mr_secrets *secrets)
{
    if ((k->needs & NEEDS_TOKEN) && o->verify_token.count == 0)
        return "verify_token";
    if ((k->needs & NEEDS_TOPICS) && o->topics.count == 0)
        return "topics";
    if ((k->needs & NEEDS_ORIGINS) && o->origins.count == 0)
        return "origins";
    return (k->needs & NEEDS_SECRET) && secrets->count == 0 ? "verify.secrets" : NULL;
}

static bool fill(struct mr_shaker *s, const struct mr_handshake_options *o, const struct mr_secrets *secrets)
{
    unsigned char digest[MR_DIGEST_MAX];
    for (size_t i = 0; i < o->verify_token.count && i < TOKENS_MAX; i++) {
        mr_digest(MR_SHA256, (struct mr_str){o->verify_token.items[i].value, o->verify_token.items[i].n}, digest);
        memcpy(s->tokens[s->tokens_count++], digest, DIGEST);
    }
    for (size_t i = 0; s->kind->signs && i < secrets->count && i < MR_SHAKE_SECRETS; i++)
        s->keys[s->keys_count++] =
            mr_hmac_key_new(MR_SHA256, (struct mr_str){secrets->items[i].value, secrets->items[i].n});
    return copy_strings(&o->topics, &s->topics, &s->topics_count) &&
           copy_strings(&o->origins, &s->origins, &s->origins_count);
}

enum mr_code mr_shaker_new(const struct mr_handshake_options *o, const char *scheme, const struct mr_secrets *secrets,
                           struct mr_shaker **out, struct mr_err *err)
{
    const struct kind *k = kind_of(o, scheme);
    *out = NULL;
    for (size_t i = 0; i < o->verify_token.count; i++)
        if (o->verify_token.items[i].n < 8)
            return mr_err_set(err, MR_ECONFIG, "handshake.verify_token %zu is shorter than 8 characters", i);
    const char *lack = k ? lacking(k, o, secrets) : NULL;
    if (lack && o->kind == KIND_AUTO) /* the events do not need it; what is not configured is not answered */
        return MR_OK;
    if (lack)
        return mr_err_set(err, MR_ECONFIG, "handshake of kind %s needs `%s`", k->name, lack);
    if (!k)
        return MR_OK;
    struct mr_shaker *s = calloc(1, sizeof *s);
    if (!s)
        return mr_err_set(err, MR_ENOMEM, "handshake");
    s->kind = k;
    if (!fill(s, o, secrets)) {
        mr_shaker_free(s);
        return mr_err_set(err, MR_ENOMEM, "handshake");
    }
    *out = s;
    return MR_OK;
}

void mr_shaker_free(struct mr_shaker *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->keys_count; i++)
        mr_hmac_key_free(s->keys[i]);
    for (size_t i = 0; i < s->topics_count; i++)
        free(s->topics[i]);
    for (size_t i = 0; i < s->origins_count; i++)
        free(s->origins[i]);
    free(s->topics);
    free(s->origins);
    mr_cleanse(s->tokens, sizeof s->tokens);
    free(s);
}

const char *mr_shaker_kind(const struct mr_shaker *s)
{
    return s ? s->kind->name : NULL;
}

bool mr_shaker_keeps(const struct mr_shaker *s)
{
    return s && s->kind->keeps;
}

bool mr_shaker_bare(const struct mr_shaker *s)
{
    return s && s->kind->bare;
}

const char *mr_shaker_warning(const struct mr_shaker *s)
{
    return s && s->topics_count == 0 ? s->kind->warning : NULL;
}

bool mr_shaker_takes(const struct mr_shaker *s, const struct mr_http_head *head)
{
    struct mr_str value;
    struct param p;
    if (!s || !s->kind->by_head || !is(head->method, s->kind->method))
        return false;
    if (s->kind->header)
        return mr_http_header(head, mr_str_c(s->kind->header), &value) > 0;
    if (!s->kind->query)
        return true;
    param(head->query, s->kind->query, &p);
    return p.count > 0;
}

static enum mr_shake by_head(const struct mr_shaker *s, const struct mr_http_head *head, struct mr_buf *body,
                             struct mr_shaken *out)
{
    struct deal d = {.s = s, .head = head, .body = body, .out = out};
    mr_buf_clear(body);
    out->what = s->kind->by_head(&d);
    return out->what;
}

enum mr_shake mr_shake_head(const struct mr_shaker *s, const struct mr_http_head *head, struct mr_buf *body,
                            struct mr_shaken *out)
{
    *out = (struct mr_shaken){0};
    return mr_shaker_takes(s, head) && !s->kind->head_is_verified ? by_head(s, head, body, out) : MR_SHAKE_EVENT;
}

enum mr_shake mr_shake_verified(const struct mr_shaker *s, const struct mr_http_head *head, struct mr_str received,
                                unsigned secret, struct mr_buf *body, struct mr_shaken *out)
{
    *out = (struct mr_shaken){0};
    if (!s)
        return MR_SHAKE_EVENT;
    if (s->kind->head_is_verified && mr_shaker_takes(s, head))
        return by_head(s, head, body, out);
    const char *marker = s->kind->marker;
    if (!marker || received.n == 0)
        return MR_SHAKE_EVENT;
    struct deal d = {.s = s, .head = head, .received = received, .secret = secret, .body = body, .out = out};
    mr_buf_clear(body);
    if (*marker == 0) /* looks at the bytes, whatever they are */
        return out->what = s->kind->by_body(&d);
    bool all_are_judged = s->topics_count > 0 && s->kind->warning; /* whose topic is it? */
    if ((received.n > MR_SHAKE_BODY_MAX && !all_are_judged) || !memmem(received.p, received.n, marker, strlen(marker)) ||
        mr_json_check(received, NULL) != MR_OK)
        return all_are_judged ? (out->what = refuse(&d, 403, "no message of a topic among handshake.topics"))
                              : MR_SHAKE_EVENT;
    return out->what = s->kind->by_body(&d);
}
