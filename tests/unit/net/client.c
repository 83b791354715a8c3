/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/net/client.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct mr_str path_later = {"/later", 6};

static bool path_is(const struct mr_http_head *head, const char *path)
{
    return mr_str_eq(head->path, mr_str_c(path));
}

static int on_head(void *arg, struct mr_http_request *req, const struct mr_http_head *head, size_t *limit,
                   struct mr_http_answer *answer)
{
    struct fixture *f = arg;
    char *room = mr_http_room(req);
    for (size_t i = 0; i < MR_HTTP_ROOM; i++)
        assert(room[i] == 0);
    memcpy(room, "asked", 6);
    *limit = path_is(head, "/small") ? 10 : f->body_most;
    if (path_is(head, "/missing"))
        *answer =
            (struct mr_http_answer){.status = 404, .content_type = MR_STR("application/json"), .body = MR_STR("{}\n")};
    else if (path_is(head, "/busy"))
        *answer = (struct mr_http_answer){.status = 503, .extra = MR_STR("Retry-After: 3\r\n")};
    else
        return 0;
    return -1;
}

static void note(struct fixture *f, const struct mr_http_head *head, struct mr_str body)
{
    mr_buf_printf(&f->seen, "%.*s|%.*s|%.*s|%.*s|%lld|", (int)head->method.n, head->method.p, (int)head->target.n,
                  head->target.p, (int)head->path.n, head->path.p, (int)head->query.n, head->query.p,
                  (long long)head->content_length);
    for (size_t i = 0; i < head->headers_count; i++) {
        mr_buf_put(&f->seen, head->headers[i].name.p, head->headers[i].name.n);
        mr_buf_putc(&f->seen, '=');
        mr_buf_put(&f->seen, head->headers[i].value.p, head->headers[i].value.n);
        mr_buf_putc(&f->seen, ';');
    }
    mr_buf_printf(&f->seen, "|%zu:", body.n);
    mr_buf_put(&f->seen, body.p, body.n < 256 ? body.n : 256);
    mr_buf_putc(&f->seen, '\n');
}

static void on_request(void *arg, struct mr_http_request *req, const struct mr_http_head *head, struct mr_str body)
{
    static char big[BIG_ANSWER];
    struct fixture *f = arg;
    assert(memcmp(mr_http_room(req), "asked", 6) == 0 && mr_http_of_room(mr_http_room(req)) == req);
    assert(strncmp(head->remote.p, "127.0.0.1:", 10) == 0);
    f->handed++;
    note(f, head, body);
    struct mr_http_answer answer = {.status = 200, .content_type = MR_STR("text/plain"), .body = MR_STR("fine\n")};
    if (mr_str_eq(head->path, path_later)) {
        assert(f->held_n < HELD_MOST);
        f->held[f->held_n++] = req;
        return;
    }
    if (path_is(head, "/nothing"))
        answer = (struct mr_http_answer){.status = 204};
    else if (path_is(head, "/big"))
        answer.body = (struct mr_str){big, sizeof big};
    else if (path_is(head, "/release"))
        answer_later(f, 0);
    answer.close = path_is(head, "/closing");
    mr_http_answer(req, &answer);
    note(f, head, body); /* still ours: they are borrowed until this returns */
}

static void on_refused(void *arg, const char *cause, struct mr_str remote)
{
    struct fixture *f = arg;
    (void)remote;
    f->refusals++;
    snprintf(f->refused, sizeof f->refused, "%s", cause);
}

struct fixture *fixture_new(const struct mr_http_limits *limits, size_t memory_limit, size_t memory)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct mr_err err;
    assert(f);
    mr_buf_init(&f->seen, 64 * 1024 * 1024);
    f->body_most = 64 * 1024;
    if (mr_loop_init(&f->loop, &(struct mr_loop_options){.memory_limit = memory_limit}, &err) != MR_OK)
        abort();
    struct mr_http_options o = {.loop = &f->loop, .listen = "127.0.0.1:0", .name = "test", .memory = memory};
    o.handler.on_head = on_head;
    o.handler.on_request = on_request;
    o.handler.on_refused = on_refused;
    o.handler.arg = f;
    mr_http_limits_default(&o.limits);
    if (limits)
        o.limits = *limits;
    if (mr_http_listen(&o, &f->server, &err) != MR_OK) {
        fprintf(stderr, "%s\n", err.msg);
        abort();
    }
    return f;
}

static void set_flag(void *arg)
{
    bool *flag = arg;
    *flag = true;
}

void fixture_free(struct fixture *f)
{
    if (f->server && !f->closed)
        mr_http_close(f->server, set_flag, &f->closed);
    if (!fixture_until(f, &f->closed, 5000))
        abort();
    while (f->held_n > 0)
        answer_later(f, 0); /* into the void */
    assert(mr_budget_used(f->loop.budget) == 0);
    mr_loop_close(&f->loop);
    mr_buf_free(&f->seen);
    free(f);
}

void fixture_turn(struct fixture *f)
{
    for (int i = 0; i < 3; i++) /* accept, read, close callbacks */
        uv_run(&f->loop.uv, UV_RUN_NOWAIT);
}

/* Sleeps until the loop or `fd` (-1: none) has something, at most until `end_ms`. */
static void wait_turn(struct fixture *f, int fd, uint64_t end_ms)
{
    uint64_t now = uv_hrtime() / 1000000;
    int most = end_ms > now ? (int)(end_ms - now) : 0, timer = uv_backend_timeout(&f->loop.uv);
    struct pollfd p[2] = {{uv_backend_fd(&f->loop.uv), POLLIN, 0}, {fd, POLLIN, 0}};
    poll(p, fd >= 0 ? 2 : 1, timer >= 0 && timer < most ? timer : most);
    fixture_turn(f);
}

bool fixture_until(struct fixture *f, const bool *flag, int most_ms)
{
    uint64_t end = uv_hrtime() / 1000000 + (uint64_t)most_ms;
    fixture_turn(f);
    while (!*flag && uv_hrtime() / 1000000 < end)
        wait_turn(f, -1, end);
    return *flag;
}

bool fixture_until_handed(struct fixture *f, unsigned handed, int most_ms)
{
    uint64_t end = uv_hrtime() / 1000000 + (uint64_t)most_ms;
    fixture_turn(f);
    while (f->handed < handed && uv_hrtime() / 1000000 < end)
        wait_turn(f, -1, end);
    return f->handed >= handed;
}

void answer_later(struct fixture *f, size_t which)
{
    assert(which < f->held_n);
    struct mr_http_request *req = f->held[which];
    memmove(f->held + which, f->held + which + 1, (f->held_n - which - 1) * sizeof f->held[0]);
    f->held_n--;
    mr_http_answer(req, &(struct mr_http_answer){.status = 200, .body = MR_STR("late\n")});
}

void client_open(struct client *c, struct fixture *f)
{
    memset(c, 0, sizeof *c);
    c->f = f;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)mr_http_port(f->server))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0) {
        perror("connect");
        abort();
    }
}

void client_close(struct client *c)
{
    close(c->fd);
    c->fd = -1;
    fixture_turn(c->f);
}

void client_send(struct client *c, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(c->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return; /* the server has closed: reading will tell */
        if (sent > 0) {
            bytes += sent;
            n -= (size_t)sent;
        }
        fixture_turn(c->f);
    }
}

static void read_some(struct client *c)
{
    char bytes[65536];
    ssize_t n;
    while (!c->ended && (n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT)) >= -1) {
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            c->ended = true;
            c->reset = n < 0;
            return;
        }
        size_t room = sizeof c->text - 1 - c->n, take = (size_t)n < room ? (size_t)n : room;
        memcpy(c->text + c->n, bytes, take);
        c->n += take;
        c->total += (size_t)n;
    }
}

/* Walks over the answers. Returns how many final ones are whole. */
static unsigned walk(const struct client *c, char *statuses)
{
    const char *at = c->text, *end = c->text + c->n;
    unsigned whole = 0;
    size_t said = 0;
    if (statuses)
        statuses[0] = '\0';
    while (at < end) {
        const char *blank = memmem(at, (size_t)(end - at), "\r\n\r\n", 4);
        if (!blank || strncmp(at, "HTTP/1.1 ", 9) != 0)
            break;
        int status = atoi(at + 9);
        const char *length = memmem(at, (size_t)(blank - at), "Content-Length: ", 16);
        at = blank + 4 + (length ? strtoull(length + 16, NULL, 10) : 0);
        if (statuses && said < 240)
            said += (size_t)snprintf(statuses + said, 256 - said, "%s%d", said > 0 ? " " : "", status);
        if (status >= 200 && (size_t)(at - c->text) <= c->total)
            whole++;
    }
    return whole;
}

unsigned client_read(struct client *c, unsigned answers, int most_ms)
{
    uint64_t end = uv_hrtime() / 1000000 + (uint64_t)most_ms;
    fixture_turn(c->f);
    read_some(c);
    while (!c->ended && walk(c, NULL) < answers && uv_hrtime() / 1000000 < end) {
        wait_turn(c->f, c->fd, end);
        read_some(c);
    }
    return walk(c, NULL);
}

bool client_ended(struct client *c, int most_ms)
{
    uint64_t end = uv_hrtime() / 1000000 + (uint64_t)most_ms;
    fixture_turn(c->f);
    read_some(c);
    while (!c->ended && uv_hrtime() / 1000000 < end) {
        wait_turn(c->f, c->fd, end);
        read_some(c);
    }
    return c->ended;
}

const char *client_statuses(struct client *c, char out[static 256])
{
    walk(c, out);
    return out;
}
