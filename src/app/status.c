/* SPDX-License-Identifier: Apache-2.0 */
/* status.c - the snapshot that /api/status shows, readiness, and gauges that are set only when somebody looks. */
#include "app.h"

#include "millrace/budget.h"
#include "millrace/json.h"

static const char *phase_name(const struct app *a)
{
    static const char *const names[] = {[APP_STARTING] = "starting",
                                        [APP_RUNNING] = "running",
                                        [APP_DRAINING] = "draining",
                                        [APP_STOPPING] = "stopping"};
    return names[a->phase];
}

static void put_alert(void *arg, const struct mr_alert *alert)
{
    struct mr_buf *json = arg;
    char at[28];
    mr_time_text(alert->opened_us, at);
    mr_buf_puts(json, json->p[json->n - 1] == '[' ? "" : ",");
    mr_buf_printf(json, "{\"name\":\"%s\",\"severity\":\"%s\",\"source\":", mr_alert_rows[alert->id].name,
                  mr_alert_rows[alert->id].error ? "error" : "warn");
    mr_json_put_string(json, mr_str_c(alert->source));
    mr_buf_puts(json, ",\"stream\":");
    mr_json_put_string(json, mr_str_c(alert->stream));
    mr_buf_puts(json, ",\"text\":");
    mr_json_put_string(json, mr_str_c(alert->text));
    mr_buf_printf(json, ",\"opened_at\":\"%s\",\"repeats\":%llu,\"remedy\":", at, (unsigned long long)alert->repeats);
    mr_json_put_string(json, mr_str_c(mr_alert_rows[alert->id].remedy));
    mr_buf_putc(json, '}');
}

static void put_source(const struct mr_source *s, struct mr_buf *json)
{
    mr_buf_puts(json, "{\"name\":");
    mr_json_put_string(json, mr_str_c(s->name));
    mr_buf_printf(json, ",\"door\":\"%s\",\"state\":\"%s\",\"paused\":%s", s->door->name, source_state_name(s),
                  s->paused ? "true" : "false");
    if (s->state == SOURCE_BACKOFF) {
        mr_buf_puts(json, ",\"why\":");
        mr_json_put_string(json, mr_str_c(s->why.msg));
    }
    if (s->opened && s->door->status)
        s->door->status(s->self, json);
    mr_buf_putc(json, '}');
}

void app_status(void *arg, struct mr_buf *json)
{
    struct app *a = arg;
    char now[28];
    mr_time_text(mr_wall_us(), now);
    mr_buf_printf(json,
                  "{\"version\":\"%s\",\"phase\":\"%s\",\"now\":\"%s\",\"instance\":\"%s\",\"memory\":{\"used\":%zu,"
                  "\"limit\":%zu}",
                  MR_VERSION, phase_name(a), now, a->instance.id, mr_budget_used(a->loop.budget),
                  mr_budget_limit(a->loop.budget));
    for (size_t i = 0; i < a->config->config->doors_count; i++)
        if (a->hubs[i].started && a->config->config->doors[i]->hub_status)
            a->config->config->doors[i]->hub_status(a->hubs[i].hub, json);
    mr_buf_puts(json, ",\"sources\":[");
    for (const struct mr_source *s = a->sources; s; s = s->next) {
        if (s != a->sources)
            mr_buf_putc(json, ',');
        put_source(s, json);
    }
    mr_buf_puts(json, "],\"alerts\":[");
    mr_alerts_each(a->loop.alerts, put_alert, json);
    mr_buf_puts(json, "]}");
}

bool app_ready(void *arg, struct mr_buf *why)
{
    struct app *a = arg;
    if (a->phase == APP_RUNNING)
        return true;
    mr_buf_puts(why, phase_name(a));
    return false;
}

void app_refresh(void *arg)
{
    struct app *a = arg;
    mr_cell_set(mr_metric0(a->loop.metrics, MR_M_MEMORY_LIMIT), (double)mr_budget_limit(a->loop.budget));
    struct mr_cell *lost = mr_metric0(a->loop.metrics, MR_M_LOG_LOST);
    mr_cell_add(lost, (int64_t)mr_log_lost(a->log) - (int64_t)mr_cell_value(lost));
}
