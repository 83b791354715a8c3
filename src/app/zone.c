/* SPDX-License-Identifier: Apache-2.0 */
/* zone.c - the zone's steps of start and stop: opened on the loop, asked on a worker whether it and the state store belong together. */
#include "app.h"

#include <stdlib.h>

enum { MATCH_AGAIN = 5, NEWER_MOST = 1000 };

static const char *env_of(const char *first, const char *second)
{
    const char *value = getenv(first);
    if (!value || !value[0])
        value = getenv(second);
    return value && value[0] ? value : NULL;
}

void app_zone_options(const struct mr_config *c, struct mr_loop *loop, struct mr_client *client, struct mr_zone_options *out)
{
    const struct mr_config_s3 *s3 = &c->zone.s3;
    *out = (struct mr_zone_options){.url = c->zone.url,
                                    .loop = loop,
                                    .client = client,
                                    .scratch = c->data_dir,
                                    .memory = (size_t)c->limits.memory / 8,
                                    .endpoint = s3->endpoint ? s3->endpoint : env_of("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
                                    .region = s3->region ? s3->region : env_of("AWS_REGION", "AWS_DEFAULT_REGION"),
                                    .style = (enum mr_zone_style)s3->addressing,
                                    .access_key = s3->access_key.value,
                                    .secret_key = s3->secret_key.value,
                                    .session_token = s3->session_token.value,
                                    .ca = s3->ca};
}

void app_facts_newer(struct mr_store_facts *facts, const struct mr_landing_row *landings, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (landings[i].number > facts->last_number)
            facts->last_number = landings[i].number;
    facts->fresh = facts->fresh && count == 0;
}

enum mr_code app_match(struct mr_zone *zone, const struct mr_store_facts *facts, bool identify, const char *config_path,
                       struct mr_err *err)
{
    struct mr_zone_id id;
    if (mr_zone_identity(zone, &id, err) != MR_OK)
        return err->code;
    if (!id.present && facts->fresh && !id.has_data)
        return identify ? mr_zone_identify(zone, facts->id, err) : MR_OK;
    if (!id.present)
        return mr_err_set(err, MR_EMISMATCH,
                          "the zone holds data, or the state store has decided landings, but the zone has no "
                          "_millrace/zone.json: they do not belong "
                          "together. Give the zone its own data_dir, or accept that records may land again: millrace "
                          "state -c %s adopt",
                          config_path);
    if (strcmp(id.store_id, facts->id) != 0)
        return mr_err_set(err, MR_EMISMATCH,
                          "the zone belongs to state store %s, this data_dir has %s. Use the data_dir that the zone "
                          "was written with, or accept that "
                          "records may land again: millrace state -c %s adopt",
                          id.store_id, facts->id, config_path);
    if (id.highest_decided > facts->last_number)
        return mr_err_set(
            err, MR_EMISMATCH,
            "the state store has decided %lld landings, the zone has seen number %lld: the store was lost or restored "
            "from a backup. "
            "Bring the newer store back, or accept that records may land again: millrace state -c %s adopt",
            (long long)facts->last_number, (long long)id.highest_decided, config_path);
    return MR_OK;
}

static void match_run(struct mr_job *job) /* Runs on: worker, the zone's lane */
{
    struct app *a = MR_OF(job, struct app, zone_job);
    a->zone_err.code = app_match(a->zone, &a->match.facts, true, a->o.config_path, &a->zone_err);
}

static void match_done(struct mr_job *job, bool canceled);

static void match(struct app *a)
{
    a->zone_err = (struct mr_err){0};
    a->zone_job = (struct mr_job){.run = match_run, .done = match_done};
    mr_worker_submit(a->loop.workers, mr_zone_is_far(a->zone) ? MR_LANE_FAR : MR_LANE_SYNC, &a->zone_job);
}

static void on_newer(void *arg, const struct mr_err *err, const struct mr_landing_row *landings, size_t count)
{
    struct app *a = arg;
    if (err->code != MR_OK || count == 0) {
        step_end(a, &a->zone_err, "zone");
        return;
    }
    app_facts_newer(&a->match.facts, landings, count);
    match(a);
}

/* The store was asked before the zone. Who shares it may have decided between the two: is that all? */
static void match_done(struct mr_job *job, bool canceled)
{
    struct app *a = MR_OF(job, struct app, zone_job);
    if (canceled)
        mr_err_set(&a->zone_err, MR_ECANCELED, "stopping");
    if (a->zone_err.code == MR_EMISMATCH && a->match.again++ < MATCH_AGAIN)
        mr_store_landings(a->store, (struct mr_str){0}, a->match.facts.last_number, NEWER_MOST, on_newer, a);
    else
        step_end(a, &a->zone_err, "zone");
}

void zone_begin(struct app *a)
{
    struct mr_zone_options options;
    app_zone_options(a->config->config, &a->loop, a->client, &options);
    if (mr_zone_open(&options, &a->zone, &a->zone_err) != MR_OK) {
        step_end(a, &a->zone_err, "zone");
        return;
    }
    a->match.facts = *mr_store_facts(a->store);
    match(a);
}

static void on_zone_closed(void *arg)
{
    struct mr_err none = {.code = MR_OK};
    step_end(arg, &none, "zone");
}

void zone_close_begin(struct app *a)
{
    struct mr_zone *zone = a->zone;
    a->zone = NULL;
    mr_zone_close(zone, on_zone_closed, a);
}
