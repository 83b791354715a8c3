/* SPDX-License-Identifier: Apache-2.0 */
/* send.c - signs a body as the vendor would and POSTs it: the first thing to try, and the sender of a smoke test. */
#include "cli.h"

#include "millrace/clock.h"
#include "millrace/file.h"
#include "millrace/tls.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static const char help[] =
    "usage: millrace send -c FILE SOURCE [BODYFILE|-] [--to URL]\n"
    "\n"
    "Signs the body (a file, or stdin) with the source's first secret as the vendor would, POSTs it, prints the "
    "answer.\n"
    "\n"
    "  --to URL     http(s)://host:port/path; default: this machine, the port of http.listen, the source's path\n"
    "  --ca FILE    https: who signs its certificate (PEM), instead of those whom this machine trusts\n"
    "  --insecure   https: whoever answers is believed. On the default address always: it is this machine\n"
    "\n"
    "Exit code 0 if the answer is 2xx, else 1.\n";

enum { BODY_MAX = 256 << 20, ANSWER_MAX = 1 << 20, TIMEOUT_S = 30 };

struct url {
    char host[256], port[8];
    const char *target;
    bool tls;
};
struct way { /* how to get there */
    const char *to, *ca;
    bool insecure;
};
struct line { /* to the server */
    int fd;
    struct mr_tls_client *tls; /* NULL: plain */
};

static bool cut_url(const char *text, struct url *out)
{
    static const char plain[] = "http://", tls[] = "https://";
    out->tls = strncmp(text, tls, sizeof tls - 1) == 0;
    if (!out->tls && strncmp(text, plain, sizeof plain - 1) != 0)
        return false;
    text += out->tls ? sizeof tls - 1 : sizeof plain - 1;
    size_t authority = strcspn(text, "/");
    out->target = text[authority] ? text + authority : "/";
    const char *end = text + authority, *colon = NULL;
    for (const char *p = text; p < end; p++)
        colon = *p == ':' ? p : *p == ']' ? NULL : colon;
    size_t host = (size_t)((colon ? colon : end) - text), port = colon ? (size_t)(end - colon - 1) : 0;
    bool bracket = host > 2 && text[0] == '[';
    snprintf(out->host, sizeof out->host, "%.*s", (int)(bracket ? host - 2 : host), text + bracket);
    snprintf(out->port, sizeof out->port, "%.*s", port ? (int)port : 3, port ? colon + 1 : out->tls ? "443" : "80");
    return out->host[0] != 0;
}

static int connect_to(const struct url *url, struct mr_err *err)
{
    struct addrinfo *list, hints = {.ai_socktype = SOCK_STREAM};
    int rc = getaddrinfo(url->host, url->port, &hints, &list), fd = -1;
    if (rc != 0) {
        mr_err_set(err, MR_ENET, "%s: %s", url->host, gai_strerror(rc));
        return -1;
    }
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            mr_err_set(err, MR_ENET, "connect to %s:%s: %s; is the server running?", url->host, url->port,
                       strerror(errno));
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    }
    return fd;
}

static enum mr_code line_open(const struct url *url, const struct way *way, struct line *line, struct mr_err *err)
{
    line->tls = NULL;
    line->fd = connect_to(url, err);
    if (line->fd < 0)
        return MR_ENET;
    bool ourselves = !way->to;
    if (!url->tls || mr_tls_dial(line->fd, url->host, way->ca, way->insecure || ourselves, &line->tls, err) == MR_OK)
        return MR_OK;
    close(line->fd);
    return err->code;
}

static enum mr_code line_send(struct line *line, struct mr_str bytes, struct mr_err *err)
{
    return line->tls ? mr_tls_send(line->tls, bytes.p, bytes.n, err) : mr_write_all(line->fd, bytes.p, bytes.n, "request", err);
}

static void line_read_all(struct line *line, struct mr_buf *out, struct mr_err *err)
{
    long n = 1;
    while (n > 0 && mr_buf_reserve(out, 4096)) {
        n = line->tls ? mr_tls_receive(line->tls, out->p + out->n, 4096, err) : (long)read(line->fd, out->p + out->n, 4096);
        out->n += n > 0 ? (size_t)n : 0;
    }
}

static void line_close(struct line *line)
{
    mr_tls_hang_up(line->tls);
    close(line->fd);
}

static int post(const struct url *url, const struct way *way, const struct mr_delivery *d, struct mr_str body)
{
    struct mr_err err = {0};
    struct mr_buf request, answer;
    struct line line;
    int status = 0;
    if (line_open(url, way, &line, &err) != MR_OK) {
        fprintf(stderr, "millrace send: %s\n", err.msg);
        return 1;
    }
    mr_buf_init(&request, (size_t)BODY_MAX + (1 << 20));
    mr_buf_init(&answer, ANSWER_MAX);
    mr_buf_printf(&request,
                  "%.*s %s HTTP/1.1\r\nHost: %s:%s\r\nUser-Agent: millrace-send/%s\r\nContent-Length: %zu\r\nConnection: close\r\n",
                  (int)d->method.n, d->method.p, url->target, url->host, url->port, MR_VERSION, body.n);
    mr_buf_put(&request, d->headers.p, d->headers.n);
    mr_buf_puts(&request, "\r\n");
    mr_buf_put(&request, body.p, body.n);
    /* An early refusal may close while we still write: the answer is read all the same. */
    bool sent = !request.failed && line_send(&line, mr_buf_str(&request), &err) == MR_OK;
    line_read_all(&line, &answer, &err);
    line_close(&line);
    const char *text = mr_buf_cstr(&answer);
    if (sscanf(text, "HTTP/1.%*d %d", &status) != 1)
        fprintf(stderr, "millrace send: no answer%s%s\n", sent && !err.msg[0] ? "" : ": ", err.msg);
    else {
        const char *rest = strstr(text, "\r\n\r\n");
        printf("%d %s", status, rest && rest[4] ? rest + 4 : "\n");
    }
    mr_buf_free(&request);
    mr_buf_free(&answer);
    return status >= 200 && status < 300 ? 0 : 1;
}

static bool read_body(const char *path, struct mr_buf *out)
{
    FILE *f = path && strcmp(path, "-") != 0 ? fopen(path, "rb") : stdin;
    if (!f) {
        fprintf(stderr, "millrace send: %s: %s\n", path, strerror(errno));
        return false;
    }
    size_t n = 1;
    while (n > 0 && mr_buf_reserve(out, 65536)) {
        n = fread(out->p + out->n, 1, 65536, f);
        out->n += n;
    }
    if (f != stdin)
        fclose(f);
    return !out->failed;
}

static int sign_and_post(const struct mr_config *config, size_t at, const char *path, const struct way *way)
{
    const struct mr_config_source *source = &config->sources[at];
    const struct mr_door *door = config->doors[source->door];
    struct mr_err err = {0};
    struct mr_buf body;
    struct mr_delivery d = {0};
    struct url url;
    int exit_code = 2;
    if (!door->sign) {
        fprintf(stderr, "millrace send: source %s is a %s source; only one that receives can be sent to\n",
                source->name, door->name);
        return 2;
    }
    mr_buf_init(&body, BODY_MAX);
    mr_buf_init(&d.headers, 1 << 16);
    mr_buf_init(&d.url, 1 << 16);
    mr_buf_init(&d.body, 2 * (size_t)BODY_MAX);
    if (read_body(path, &body)) {
        if (door->sign(source->options, config->hub_options[source->door], mr_buf_str(&body), mr_wall_us(), &d, &err) != MR_OK)
            fprintf(stderr, "millrace send: %s\n", err.msg);
        else if (!cut_url(way->to ? way->to : mr_buf_cstr(&d.url), &url))
            fprintf(stderr, "millrace send: --to must be http://host:port/path or https://…, not \"%s\"\n", way->to);
        else
            exit_code = post(&url, way, &d, mr_buf_str(d.body.n ? &d.body : &body));
    }
    mr_buf_free(&body);
    mr_buf_free(&d.headers);
    mr_buf_free(&d.url);
    mr_buf_free(&d.body);
    return exit_code;
}

int mr_cli_send(int argc, char **argv)
{
    struct way way = {0};
    const struct cli_flag flags[] = {{"--to", &way.to, NULL}, {"--ca", &way.ca, NULL}, {"--insecure", NULL, &way.insecure}, {0}};
    struct cli_args args;
    int exit_code;
    if (!cli_parse(argc, argv, help, flags, &args, &exit_code))
        return exit_code;
    if (args.words_count < 1 || args.words_count > 2) {
        fprintf(stderr, "millrace send: which source?\n\n%s", help);
        return 2;
    }
    struct mr_config *config = cli_config(args.config);
    if (!config)
        return 2;
    ptrdiff_t at = mr_config_find(config, args.words[0]);
    if (at < 0)
        fprintf(stderr, "millrace send: no source \"%s\" in %s\n", args.words[0], args.config);
    exit_code = at < 0 ? 2 : sign_and_post(config, (size_t)at, args.words_count == 2 ? args.words[1] : NULL, &way);
    mr_config_free(config);
    return exit_code;
}
