/* SPDX-License-Identifier: Apache-2.0 */
#include "millrace/alert.h"

#include "millrace/clock.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define LOG_AGAIN_US INT64_C(3600000000)

const struct mr_alert_row mr_alert_rows[MR_A_COUNT] = {
#define MR_ALERT_ROW(id, name, severity, meaning, remedy) {name, MR_LOG_##severity == MR_LOG_ERROR, meaning, remedy},
    MR_ALERTS(MR_ALERT_ROW)
#undef MR_ALERT_ROW
};

struct open_alert {
    struct open_alert *next;
    struct mr_alert shown; /* its strings are those below */
    int64_t logged_mono_us;
    char *source, *stream;
    char text[512];
};

struct mr_alerts {
    struct mr_log *log;
    struct mr_metrics *metrics;
    mr_alert_sink sink;
    void *sink_arg;
    struct open_alert *open; /* in order of opening */
};

struct mr_alerts *mr_alerts_new(struct mr_log *log, struct mr_metrics *metrics)
{
    struct mr_alerts *a = calloc(1, sizeof *a);
    if (!a)
        abort(); /* at start-up */
    a->log = log;
    a->metrics = metrics;
    return a;
}

static void open_alert_free(struct open_alert *o)
{
    free(o->source);
    free(o->stream);
    free(o);
}

void mr_alerts_free(struct mr_alerts *a)
{
    if (!a)
        return;
    for (struct open_alert *o = a->open, *next; o; o = next) {
        next = o->next;
        open_alert_free(o);
    }
    free(a);
}

void mr_alerts_set_sink(struct mr_alerts *a, mr_alert_sink sink, void *arg)
{
    a->sink = sink;
    a->sink_arg = arg;
}

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

/* Where the alert is linked, or where a new one would be. */
static struct open_alert **find(struct mr_alerts *a, enum mr_alert_id id, const char *source, const char *stream)
{
    struct open_alert **at = &a->open;
    while (*at && !((*at)->shown.id == id && strcmp((*at)->source, source) == 0 && strcmp((*at)->stream, stream) == 0))
        at = &(*at)->next;
    return at;
}

static struct mr_cell *gauge(struct mr_alerts *a, const struct open_alert *o)
{
    return mr_metric(a->metrics, MR_M_ALERTS_OPEN, mr_alert_rows[o->shown.id].name, o->source, o->stream);
}

static struct open_alert *insert(struct mr_alerts *a, struct open_alert **at, enum mr_alert_id id, const char *source,
                                 const char *stream)
{
    struct open_alert *o = calloc(1, sizeof *o);
    if (!o || !(o->source = strdup(source)) || !(o->stream = strdup(stream)))
        abort(); /* as many as the table has rows and the config has sources */
    o->shown = (struct mr_alert){.id = id, .source = o->source, .stream = o->stream, .text = o->text};
    o->logged_mono_us = mr_mono_us();
    *at = o;
    mr_cell_set(gauge(a, o), 1);
    return o;
}

/* Logs and hands to the sink, last of all: a sink may open or close alerts itself, even this one. */
static void tell(struct mr_alerts *a, const struct open_alert *o, const char *event)
{
    const struct mr_alert_row *row = &mr_alert_rows[o->shown.id];
    bool closed = o->shown.closed_us != 0;
    struct mr_kv facts[6];
    size_t n = 0;
    facts[n++] = MR_S("alert", row->name);
    if (*o->stream)
        facts[n++] = MR_S("stream", o->stream);
    facts[n++] = MR_S("why", o->text);
    facts[n++] = MR_I("repeats", o->shown.repeats);
    if (!closed)
        facts[n++] = MR_S("hint", row->remedy);
    facts[n] = (struct mr_kv){0};
    enum mr_level level = closed ? MR_LOG_INFO : row->error ? MR_LOG_ERROR : MR_LOG_WARN;
    mr_log_write(a->log, level, *o->source ? o->source : NULL, event, facts);
    if (a->sink)
        a->sink(a->sink_arg, &o->shown);
}

void mr_alert_open(struct mr_alerts *a, enum mr_alert_id id, const char *source, const char *stream, const char *fmt,
                   ...)
{
    assert((unsigned)id < MR_A_COUNT);
    source = or_empty(source);
    stream = or_empty(stream);
    char text[sizeof((struct open_alert *)0)->text]; /* formatted first: an argument may be the text there is */
    va_list args;
    va_start(args, fmt);
    if (vsnprintf(text, sizeof text, fmt, args) < 0)
        text[0] = '\0';
    va_end(args);

    struct open_alert **at = find(a, id, source, stream), *o = *at;
    bool opened = !o;
    if (opened)
        o = insert(a, at, id, source, stream);
    else
        o->shown.repeats++;
    memcpy(o->text, text, strlen(text) + 1);
    o->shown.changed_us = mr_wall_us();
    if (opened)
        o->shown.opened_us = o->shown.changed_us;
    int64_t now = mr_mono_us();
    if (!opened && now - o->logged_mono_us < LOG_AGAIN_US)
        return;
    o->logged_mono_us = now;
    tell(a, o, opened ? "alert_opened" : "alert_still_open");
}

void mr_alert_close(struct mr_alerts *a, enum mr_alert_id id, const char *source, const char *stream)
{
    struct open_alert **at = find(a, id, or_empty(source), or_empty(stream)), *o = *at;
    if (!o)
        return;
    *at = o->next;
    mr_cell_set(gauge(a, o), 0);
    o->shown.closed_us = o->shown.changed_us = mr_wall_us();
    tell(a, o, "alert_closed");
    open_alert_free(o);
}

void mr_alert_restore(struct mr_alerts *a, const struct mr_alert *alert)
{
    if ((unsigned)alert->id >= MR_A_COUNT)
        return;
    const char *source = or_empty(alert->source), *stream = or_empty(alert->stream);
    struct open_alert **at = find(a, alert->id, source, stream), *o = *at;
    if (!o) {
        o = insert(a, at, alert->id, source, stream);
        snprintf(o->text, sizeof o->text, "%s", or_empty(alert->text));
        o->shown.changed_us = alert->changed_us;
    }
    o->shown.opened_us =
        alert->opened_us; /* found again before it was restored: it has been open since then all the same */
    o->shown.repeats += alert->repeats;
}

size_t mr_alerts_open_count(const struct mr_alerts *a)
{
    size_t n = 0;
    for (const struct open_alert *o = a->open; o; o = o->next)
        n++;
    return n;
}

void mr_alerts_each(const struct mr_alerts *a, mr_alert_each each, void *arg)
{
    for (const struct open_alert *o = a->open, *next; o; o = next) {
        next = o->next; /* `each` may close the one that it is shown */
        each(arg, &o->shown);
    }
}
