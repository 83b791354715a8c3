/* SPDX-License-Identifier: Apache-2.0 */
#include "notify.h"

#include "millrace/backoff.h"
#include "millrace/clock.h"
#include "millrace/hash.h"
#include "millrace/json.h"
#include "millrace/metrics.h"

#include <stdio.h>
#include <stdlib.h>

enum { WAITING_MAX = 64, BASE_MS = 1000, CAP_MS = 60 * 1000, CONNECT_MS = 5000, TOTAL_MS = 15000, ANSWER_MAX = 64 * 1024, MESSAGE_MAX = 8192 };

struct notifier {
    struct mr_loop *loop;
    struct mr_client *client;
    const char *environment;
    char *url;
    char *waiting[WAITING_MAX]; /* bodies; the first may be out */
    size_t count;
    bool out, failing, closing;
    struct mr_exchange x;
    struct mr_header type;
    struct mr_backoff backoff;
    uv_timer_t timer;
    struct mr_cell *posted, *refused, *failed, *dropped;
    void (*closed)(void *arg);
    void *arg;
};

struct notifier *notifier_new(struct mr_loop *loop, struct mr_client *client, const char *environment)
{
    struct notifier *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    *n = (struct notifier){.loop = loop, .client = client, .environment = environment, .backoff = mr_backoff_of(BASE_MS, CAP_MS),
                           .type = {MR_STR("Content-Type"), MR_STR("application/json")}};
    n->posted = mr_metric(loop->metrics, MR_M_ALERT_POSTS, "posted");
    n->refused = mr_metric(loop->metrics, MR_M_ALERT_POSTS, "refused");
    n->failed = mr_metric(loop->metrics, MR_M_ALERT_POSTS, "failed");
    n->dropped = mr_metric(loop->metrics, MR_M_ALERT_POSTS, "dropped");
    uv_timer_init(&loop->uv, &n->timer);
    n->timer.data = n;
    return n;
}

/* ---- one at a time ---- */

static void post(struct notifier *n);

static void first_is_done(struct notifier *n)
{
    free(n->waiting[0]);
    memmove(n->waiting, n->waiting + 1, --n->count * sizeof *n->waiting);
    mr_backoff_reset(&n->backoff);
}

static void on_timer(uv_timer_t *timer)
{
    post(timer->data);
}

/* Said once, until one is taken again: the log must not fill with it. */
static void say_failing(struct notifier *n, const struct mr_exchange_end *end)
{
    char status[32];
    if (n->failing)
        return;
    n->failing = true;
    snprintf(status, sizeof status, "status %d", end->status);
    mr_log_warn(n->loop->log, NULL, "alert_not_posted", MR_S("why", end->cause == MR_CLIENT_OK ? status : end->err.msg),
                MR_S("hint", "it is tried again; look at alerts.url and who answers there"));
}

static void on_done(struct mr_exchange *x, const struct mr_exchange_end *end)
{
    struct notifier *n = MR_OF(x, struct notifier, x);
    bool answered = end->cause == MR_CLIENT_OK, later = end->status == 408 || end->status == 425 || end->status == 429;
    n->out = false;
    if (answered && end->status / 100 == 2) {
        n->failing = false;
        mr_cell_add(n->posted, 1);
        first_is_done(n);
        post(n);
    } else if ((answered && end->status / 100 != 5 && !later) || end->cause == MR_CLIENT_REFUSED) { /* it would be no better the next time */
        say_failing(n, end);
        mr_cell_add(n->refused, 1);
        first_is_done(n);
        post(n);
    } else {
        say_failing(n, end);
        mr_cell_add(n->failed, 1);
        uv_timer_start(&n->timer, on_timer, (uint64_t)mr_backoff_next(&n->backoff, mr_random_u64()) + BASE_MS / 10, 0);
    }
}

static void post(struct notifier *n)
{
    if (n->out || n->count == 0 || !n->url || n->closing)
        return;
    n->out = true;
    n->x = (struct mr_exchange){.method = MR_STR("POST"), .url = mr_str_c(n->url), .headers = &n->type, .headers_count = 1, .body = mr_str_c(n->waiting[0]),
                                .connect_ms = CONNECT_MS, .total_ms = TOTAL_MS, .body_max = ANSWER_MAX, .secret_path = true, .on_done = on_done};
    mr_exchange_start(n->client, &n->x);
}

/* ---- what is told ---- */

static void put_member(struct mr_buf *json, const char *name, const char *text)
{
    mr_buf_printf(json, ",\"%s\":", name);
    mr_json_put_string(json, mr_str_c(text));
}

/* "text" is what chat services show; the rest is for programs. */
static void put_message(const struct notifier *n, const struct mr_alert *a, struct mr_buf *json)
{
    const struct mr_alert_row *row = &mr_alert_rows[a->id];
    bool closed = a->closed_us != 0;
    char opened[28], ended[28], line[1024];
    mr_time_text(a->opened_us, opened);
    mr_time_text(a->closed_us, ended);
    snprintf(line, sizeof line, "millrace %s: %s %s%s%s: %s%s%s", n->environment, row->name, closed ? "closed" : "opened", *a->source ? " at " : "", a->source, a->text,
             closed ? "" : "; ", closed ? "" : row->remedy);
    mr_buf_puts(json, "{\"text\":");
    mr_json_put_string(json, mr_str_c(line));
    put_member(json, "environment", n->environment);
    put_member(json, "alert", row->name);
    put_member(json, "state", closed ? "closed" : "open");
    put_member(json, "severity", row->error ? "error" : "warn");
    put_member(json, "source", a->source);
    put_member(json, "stream", a->stream);
    put_member(json, "why", a->text);
    put_member(json, "remedy", row->remedy);
    put_member(json, "opened_at", opened);
    if (closed)
        put_member(json, "closed_at", ended);
    mr_buf_printf(json, ",\"repeats\":%llu}", (unsigned long long)a->repeats);
}

/* No room: the oldest that is not out goes. */
static void make_room(struct notifier *n)
{
    if (n->count < WAITING_MAX)
        return;
    size_t at = n->out ? 1 : 0;
    free(n->waiting[at]);
    memmove(n->waiting + at, n->waiting + at + 1, (--n->count - at) * sizeof *n->waiting);
    mr_cell_add(n->dropped, 1);
}

void notifier_alert(struct notifier *n, const struct mr_alert *alert)
{
    struct mr_buf json;
    if (!n->url || n->closing || (alert->closed_us == 0 && alert->repeats > 0))
        return;
    mr_buf_init(&json, MESSAGE_MAX);
    put_message(n, alert, &json);
    char *body = json.failed ? NULL : strdup(mr_buf_cstr(&json));
    mr_buf_free(&json);
    if (!body)
        return;
    make_room(n);
    n->waiting[n->count++] = body;
    if (!uv_is_active((uv_handle_t *)&n->timer))
        post(n);
}

void notifier_url(struct notifier *n, const char *url)
{
    if (url && n->url && strcmp(url, n->url) == 0)
        return;
    if (n->out)
        mr_exchange_cancel(&n->x);
    n->out = n->failing = false;
    if (n->url)
        mr_cleanse(n->url, strlen(n->url));
    free(n->url);
    n->url = url ? strdup(url) : NULL;
    post(n);
}

static void on_closed(uv_handle_t *handle)
{
    struct notifier *n = handle->data;
    void (*closed)(void *) = n->closed;
    void *arg = n->arg;
    for (size_t i = 0; i < n->count; i++)
        free(n->waiting[i]);
    free(n->url);
    free(n);
    closed(arg);
}

void notifier_close(struct notifier *n, void (*cb)(void *arg), void *arg)
{
    if (n->out)
        mr_exchange_cancel(&n->x);
    if (n->count)
        mr_log_warn(n->loop->log, NULL, "alerts_not_posted", MR_I("count", n->count), MR_S("why", "the process ends"));
    n->out = false;
    n->closing = true;
    n->closed = cb;
    n->arg = arg;
    uv_close((uv_handle_t *)&n->timer, on_closed);
}
