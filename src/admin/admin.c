/* SPDX-License-Identifier: Apache-2.0 */
#include "millrace/admin.h"

#include "admin/page.h"
#include "millrace/http.h"

#include <stdlib.h>

enum { PAGE_MAX = 16 << 20, BODY_MAX = 4096 };

struct mr_admin {
    struct mr_admin_options o;
    struct mr_http_server *server;
    struct mr_buf page;
    void (*closed_cb)(void *arg);
    void *closed_arg;
};

static void answer(struct mr_http_request *req, int status, struct mr_str type, struct mr_str body)
{
    struct mr_http_answer a = {
        .status = status, .content_type = type, .body = body, .extra = MR_STR("Cache-Control: no-store\r\n")};
    mr_http_answer(req, &a);
}

static void metrics(struct mr_admin *a, struct mr_http_request *req)
{
    a->o.refresh(a->o.arg);
    mr_metrics_write(a->o.loop->metrics, &a->page);
    answer(req, 200, MR_STR("text/plain; version=0.0.4; charset=utf-8"), mr_buf_str(&a->page));
}

static void healthz(struct mr_admin *a, struct mr_http_request *req)
{
    (void)a; /* the loop turns, or nobody would answer */
    answer(req, 200, MR_STR("text/plain"), MR_STR("ok\n"));
}

static void readyz(struct mr_admin *a, struct mr_http_request *req)
{
    bool ready = a->o.ready(a->o.arg, &a->page);
    if (ready)
        mr_buf_puts(&a->page, "ok");
    mr_buf_putc(&a->page, '\n');
    answer(req, ready ? 200 : 503, MR_STR("text/plain"), mr_buf_str(&a->page));
}

static void status(struct mr_admin *a, struct mr_http_request *req)
{
    a->o.status(a->o.arg, &a->page);
    mr_buf_putc(&a->page, '\n');
    answer(req, 200, MR_STR("application/json"), mr_buf_str(&a->page));
}

/* The page shows what strangers sent: even if that ever became markup, it could load nothing and send nothing out. */
static const char page_headers[] = "Cache-Control: no-store\r\n"
                                   "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "
                                   "script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
                                   "base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
                                   "X-Content-Type-Options: nosniff\r\n"
                                   "Referrer-Policy: no-referrer\r\n";

static void home(struct mr_admin *a, struct mr_http_request *req)
{
    (void)a; /* the page asks for /api/status itself */
    struct mr_http_answer page = {.status = 200,
                                  .content_type = MR_STR("text/html; charset=utf-8"),
                                  .body = {(const char *)mr_admin_page, mr_admin_page_size},
                                  .extra = MR_STR(page_headers)};
    mr_http_answer(req, &page);
}

static const struct page {
    const char *path;
    void (*show)(struct mr_admin *a, struct mr_http_request *req);
} pages[] = {{"/", home}, {"/metrics", metrics}, {"/healthz", healthz}, {"/readyz", readyz}, {"/api/status", status}};

static const struct page *page_of(struct mr_str path)
{
    for (size_t i = 0; i < MR_COUNT(pages); i++)
        if (mr_str_eq(mr_str_c(pages[i].path), path))
            return &pages[i];
    return NULL;
}

static int on_head(void *arg, struct mr_http_request *req, const struct mr_http_head *head, size_t *body_limit,
                   struct mr_http_answer *refusal)
{
    (void)arg;
    (void)req;
    *body_limit = BODY_MAX;
    refusal->content_type = MR_STR("application/json");
    if (!page_of(head->path)) {
        refusal->status = 404;
        refusal->body = MR_STR("{\"error\":\"no such page; there are /, /metrics, /healthz, /readyz, /api/status\"}\n");
        return -1;
    }
    if (!mr_str_eq(head->method, MR_STR("GET")) && !mr_str_eq(head->method, MR_STR("HEAD"))) {
        refusal->status = 405;
        refusal->extra = MR_STR("Allow: GET, HEAD\r\n");
        refusal->body = MR_STR("{\"error\":\"method not allowed\"}\n");
        return -1;
    }
    return 0;
}

static void on_request(void *arg, struct mr_http_request *req, const struct mr_http_head *head, struct mr_str body)
{
    struct mr_admin *a = arg;
    (void)body;
    mr_buf_clear(&a->page);
    page_of(head->path)->show(a, req);
}

enum mr_code mr_admin_listen(const struct mr_admin_options *options, struct mr_admin **out, struct mr_err *err)
{
    struct mr_admin *a = calloc(1, sizeof *a);
    if (!a)
        return mr_err_set(err, MR_ENOMEM, "admin listener");
    a->o = *options;
    mr_buf_init(&a->page, PAGE_MAX);
    struct mr_http_options http = {.loop = options->loop,
                                   .listen = options->listen,
                                   .name = "admin",
                                   .handler = {.on_head = on_head, .on_request = on_request, .arg = a}};
    mr_http_limits_default(&http.limits);
    http.limits.connections = 64;
    if (mr_http_listen(&http, &a->server, err) != MR_OK) {
        free(a);
        return mr_err_wrap(err, "admin.listen");
    }
    *out = a;
    return MR_OK;
}

int mr_admin_port(const struct mr_admin *a)
{
    return mr_http_port(a->server);
}

static void on_closed(void *arg)
{
    struct mr_admin *a = arg;
    void (*cb)(void *) = a->closed_cb;
    void *cb_arg = a->closed_arg;
    mr_buf_free(&a->page);
    free(a);
    cb(cb_arg);
}

void mr_admin_close(struct mr_admin *a, void (*cb)(void *arg), void *arg)
{
    a->closed_cb = cb;
    a->closed_arg = arg;
    mr_http_close(a->server, on_closed, a);
}
