/* SPDX-License-Identifier: Apache-2.0 */
#include "sender/event.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL = 2048, HEAD_MAX = 1024, TIME_DIGITS = 10 };

static const char tail_end[] = "\"}";

struct mr_event_maker {
    enum mr_event_scheme scheme;
    struct mr_hmac_key key;
    char run[MR_EVENT_RUN];
    char head[HEAD_MAX];
    size_t head_bytes, signature_at, time_at; /* offsets in head; unused ones are 0 */
    size_t body_bytes, fixed_bytes;           /* fixed_bytes: the body up to the id's digits */
    char *bodies;                             /* POOL bodies in a row */
    SHA256_CTX *states;                       /* the inner hash after each body's fixed bytes */
};

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void append(char *body, size_t *used, size_t limit, const char *text)
{
    for (; *text && *used < limit; text++)
        body[(*used)++] = *text;
}

static void append_item(char *body, size_t *used, size_t limit, uint64_t r)
{
    static const char *const things[] = {"oak chair", "desk lamp",  "tea pot",   "wool rug",
                                         "bookshelf", "wall clock", "door bell", "mirror"};
    char item[128];
    snprintf(item, sizeof item, "{\"sku\":\"SKU-%05u\",\"name\":\"%s\",\"quantity\":%u,\"price\":\"%u.%02u\"},",
             (unsigned)(r % 100000), things[(r >> 20) % 8], (unsigned)(r >> 24) % 9 + 1, (unsigned)(r >> 30) % 900,
             (unsigned)(r >> 40) % 100);
    if (*used + strlen(item) < limit)
        append(body, used, limit, item);
}

/* Fills body[0 .. fixed_bytes) of one pool member; what items leave over becomes a note of random letters. */
static void make_body(const struct mr_event_maker *m, char *body, uint64_t *random)
{
    char id_begin[32], text[96];
    int tail = snprintf(id_begin, sizeof id_begin, "\",\"id\":\"%.*s-", MR_EVENT_RUN, m->run);
    size_t used = 0, limit = m->fixed_bytes - (size_t)tail;
    snprintf(text, sizeof text, "{\"type\":\"order.paid\",\"account\":\"acct_%016llx\",\"items\":[",
             (unsigned long long)next_random(random));
    append(body, &used, limit, text);
    for (size_t before = 0; before != used && used + 160 < limit;) {
        before = used;
        append_item(body, &used, limit - 32, next_random(random));
    }
    snprintf(text, sizeof text, "{\"sku\":\"shipping\"}],\"note\":\"");
    append(body, &used, limit, text);
    while (used < limit)
        body[used++] = (char)('a' + next_random(random) % 26);
    append(body, &used, m->fixed_bytes, id_begin);
}

static bool make_pool(struct mr_event_maker *m)
{
    m->fixed_bytes = m->body_bytes - (sizeof tail_end - 1) - MR_EVENT_DIGITS;
    m->bodies = malloc(POOL * m->body_bytes);
    m->states = malloc(POOL * sizeof *m->states);
    if (!m->bodies || !m->states)
        return false;
    uint64_t random = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < POOL; i++) {
        char *body = m->bodies + i * m->body_bytes;
        make_body(m, body, &random);
        memset(body + m->fixed_bytes, '0', MR_EVENT_DIGITS);
        memcpy(body + m->body_bytes - (sizeof tail_end - 1), tail_end, sizeof tail_end - 1);
        m->states[i] = m->key.inner;
        SHA256_Update(&m->states[i], body, m->fixed_bytes);
    }
    return true;
}

/* Writes the head that all requests share, and notes where signature and time go. */
static bool make_head(struct mr_event_maker *m, const struct mr_event_config *config)
{
    static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
    char signature[192] = "";
    if (m->scheme == MR_EVENT_GITHUB)
        snprintf(signature, sizeof signature, "X-GitHub-Event: order\r\nX-Hub-Signature-256: sha256=%s\r\n", zeros);
    else if (m->scheme == MR_EVENT_STRIPE)
        snprintf(signature, sizeof signature, "Stripe-Signature: t=%.*s,v1=%s\r\n", TIME_DIGITS, zeros, zeros);
    int n = snprintf(m->head, sizeof m->head,
                     "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: millrace-bench/1\r\nAccept: */*\r\n"
                     "Content-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n",
                     config->method, config->path, config->host, m->body_bytes, signature);
    if (n < 0 || (size_t)n >= sizeof m->head)
        return false;
    m->head_bytes = (size_t)n;
    const char *time_mark = strstr(m->head, "Signature: t=");
    if (m->scheme == MR_EVENT_STRIPE)
        m->time_at = (size_t)(time_mark - m->head) + sizeof "Signature: t=" - 1;
    m->signature_at = m->head_bytes - 4 - MR_HMAC_HEX; /* the signature's header is the last one */
    return true;
}

struct mr_event_maker *mr_event_maker_new(const struct mr_event_config *config)
{
    struct mr_event_maker *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->scheme = config->scheme;
    m->body_bytes = config->body_bytes;
    memcpy(m->run, config->run, MR_EVENT_RUN);
    mr_hmac_key_init(&m->key, config->secret, strlen(config->secret));
    if (m->body_bytes >= MR_EVENT_BODY_MIN && make_head(m, config) && make_pool(m))
        return m;
    mr_event_maker_free(m);
    return NULL;
}

void mr_event_maker_free(struct mr_event_maker *m)
{
    free(m->bodies);
    free(m->states);
    free(m);
}

size_t mr_event_request_bytes(const struct mr_event_maker *m)
{
    return m->head_bytes + m->body_bytes;
}

static void write_digits(char *at, size_t digits, uint64_t value)
{
    while (digits-- > 0) {
        at[digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* What the signature is begun from: the kept state, or for a signed time the key, the time, a dot and the body so far.
 */
static SHA256_CTX signed_so_far(const struct mr_event_maker *m, size_t member, const char *request)
{
    if (m->scheme != MR_EVENT_STRIPE)
        return m->states[member];
    SHA256_CTX inner = m->key.inner;
    SHA256_Update(&inner, request + m->time_at, TIME_DIGITS);
    SHA256_Update(&inner, ".", 1);
    SHA256_Update(&inner, request + m->head_bytes, m->fixed_bytes);
    return inner;
}

void mr_event_write(struct mr_event_maker *m, uint64_t sequence, int64_t unix_time, char *request)
{
    size_t member = sequence % POOL;
    char *body = request + m->head_bytes, *digits = body + m->fixed_bytes;
    memcpy(request, m->head, m->head_bytes);
    memcpy(body, m->bodies + member * m->body_bytes, m->body_bytes);
    write_digits(digits, MR_EVENT_DIGITS, sequence);
    if (m->scheme == MR_EVENT_UNSIGNED)
        return;
    if (m->scheme == MR_EVENT_STRIPE)
        write_digits(request + m->time_at, TIME_DIGITS, (uint64_t)unix_time);
    SHA256_CTX inner = signed_so_far(m, member, request);
    SHA256_Update(&inner, digits, m->body_bytes - m->fixed_bytes);
    mr_hmac_final_hex(&m->key, &inner, request + m->signature_at);
}

void mr_event_id(const struct mr_event_maker *m, uint64_t sequence, char id[MR_EVENT_ID])
{
    memcpy(id, m->run, MR_EVENT_RUN);
    id[MR_EVENT_RUN] = '-';
    write_digits(id + MR_EVENT_RUN + 1, MR_EVENT_DIGITS, sequence);
}
