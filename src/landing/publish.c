/* SPDX-License-Identifier: Apache-2.0 */
/* publish.c - the third step: what was decided appears under its final names. Repeatable, so a failure is only a delay.
 *
 * happy path    take all that wait as one batch -> worker: mark the highest number, rename, sync directories -> the
 * store notes them -> on_published
 * ways to fail  the zone cannot take a landing: alert, back-off, again; those that come meanwhile do not wait for it. A staged
 *               file that is gone: the landing is lost, told and noted, the others go on
 * on close      a batch that is out is waited for; the rest stays decided, and the next start publishes it */
#include "internal.h"

#include "millrace/fault.h"

#include <stdlib.h>

void publish_add(struct mr_landing *l)
{
    struct mr_landings *ls = l->ls;
    l->publish_next = NULL;
    if (ls->to_publish_last)
        ls->to_publish_last->publish_next = l;
    else
        ls->to_publish = l;
    ls->to_publish_last = l;
}

/* It waits for the retry, apart from those that come meanwhile. */
static void add_failed(struct mr_landing *l)
{
    struct mr_landings *ls = l->ls;
    l->publish_next = ls->failed;
    ls->failed = l;
    if (!ls->closing && !uv_is_active((uv_handle_t *)&ls->retry))
        uv_timer_start(&ls->retry, on_publish_retry, (uint64_t)mr_backoff_next(&ls->backoff, mr_random_u64()), 0);
}

void publish_failed_again(struct mr_landings *ls)
{
    uv_timer_stop(&ls->retry);
    for (struct mr_landing *l = ls->failed, *next; l; l = next) {
        next = l->publish_next;
        publish_add(l);
    }
    ls->failed = NULL;
    publish_pump(ls);
}

static void batch_forget(struct publish_batch *b)
{
    free(b->items);
    free(b->numbers);
    b->items = NULL;
    b->numbers = NULL;
    b->count = b->numbers_count = 0;
}

static void batch_run(struct mr_job *job) /* Runs on: worker, lane SYNC */
{
    struct publish_batch *b = MR_OF(job, struct publish_batch, job);
    struct mr_landings *ls = MR_OF(b, struct mr_landings, batch);
    b->mark_code = mr_zone_mark_decided(ls->o.zone, ls->instance.id, b->highest, &b->err);
    b->code = b->mark_code;
    if (b->mark_code == MR_OK)
        b->code = mr_zone_publish(ls->o.zone, b->items, b->count, &b->err);
}

/* The worst code of a landing's files: MR_OK, MR_ENOENT (lost) or something that time may heal. */
static enum mr_code code_of(const struct publish_batch *b, size_t first, size_t count)
{
    enum mr_code worst = b->mark_code;
    for (size_t i = first; i < first + count && b->mark_code == MR_OK; i++)
        if (b->items[i].code != MR_OK && (worst == MR_OK || worst == MR_ENOENT))
            worst = b->items[i].code;
    return worst;
}

static void published_told(struct mr_landing *l, enum mr_published how)
{
    struct mr_landings *ls = l->ls;
    mr_cell_observe(mr_metric0(ls->o.loop->metrics, MR_M_LANDING_SECONDS),
                    (double)(mr_mono_us() - l->closed_at_us) / 1e6);
    for (size_t i = 0; i < l->files_count; i++)
        mr_cell_set(mr_metric(ls->o.loop->metrics, MR_M_LANDED_TIME, l->source, l->files[i].stream),
                    (double)mr_wall_us() / 1e6);
    landing_count(l, how == MR_PUBLISHED ? "published" : "lost");
    struct mr_landing_end end = l->end;
    landing_gone(l);
    if (end.on_published)
        end.on_published(end.arg, how);
}

static void on_lost_noted(void *arg, const struct mr_err *err)
{
    struct mr_landing *l = arg;
    struct mr_landings *ls = l->ls;
    if (err->code != MR_OK)
        mr_log_error(ls->o.loop->log, l->source, "landing_lost_not_noted", MR_S("landing", l->id),
                     MR_S("why", err->msg));
    ls->lost_out--;
    published_told(l, MR_PUBLISH_LOST);
    landings_maybe_closed(ls);
}

static void on_noted(void *arg, const struct mr_err *err)
{
    struct mr_landings *ls = arg;
    struct publish_batch *b = &ls->batch;
    struct mr_landing *landings = b->landings;
    b->landings = NULL;
    batch_forget(
        b); /* it stays out until the last of its landings is told: else a close would take them from under us */
    int fault = MR_POINT(publish_noted);
    if (err->code != MR_OK ||
        fault) { /* the files are there, the store does not know: publish again, which finds them done */
        mr_log_warn(ls->o.loop->log, NULL, "publish_not_noted", MR_S("why", err->msg));
        for (struct mr_landing *l = landings, *next; l; l = next) {
            next = l->publish_next;
            add_failed(l);
        }
        b->out = false;
        if (!ls->closing)
            publish_pump(ls);
        landings_maybe_closed(ls);
        return;
    }
    if (!ls->failed)
        mr_backoff_reset(&ls->backoff);
    for (struct mr_landing *l = landings, *next; l; l = next) {
        next = l->publish_next;
        mr_alert_close(ls->o.loop->alerts, MR_A_ZONE_UNWRITABLE, l->source, NULL);
        published_told(l, MR_PUBLISHED);
    }
    b->out = false;
    publish_pump(ls);
    landings_maybe_closed(ls);
}

static void batch_done(struct mr_job *job, bool canceled)
{
    struct publish_batch *b = MR_OF(job, struct publish_batch, job);
    struct mr_landings *ls = MR_OF(b, struct mr_landings, batch);
    struct mr_landing *done = NULL, **done_end = &done;
    size_t item = 0;
    b->numbers_count = 0;
    for (struct mr_landing *l = b->landings, *next; l; l = next) {
        next = l->publish_next;
        enum mr_code code = canceled ? MR_ECANCELED : code_of(b, item, l->files_count);
        item += l->files_count;
        l->publish_next = NULL;
        if (code == MR_OK) {
            *done_end = l;
            done_end = &l->publish_next;
            b->numbers[b->numbers_count++] = l->number;
        } else if (code == MR_ENOENT) {
            mr_alert_open(
                ls->o.loop->alerts, MR_A_LANDING_LOST, l->source, NULL,
                "landing %s was decided and its staged file is gone: %s; millrace replay --landing %s reads it again",
                l->id, b->err.msg, l->id);
            ls->lost_out++;
            mr_store_lost(ls->o.store, l->number, on_lost_noted, l);
        } else {
            if (code != MR_ECANCELED) /* then we end, and the next start publishes it */
                mr_alert_open(ls->o.loop->alerts, MR_A_ZONE_UNWRITABLE, l->source, NULL, "publish: %s", b->err.msg);
            add_failed(l);
        }
    }
    b->landings = done;
    if (b->numbers_count) {
        mr_store_published(ls->o.store, b->numbers, b->numbers_count, on_noted, ls);
        return;
    }
    b->out = false;
    batch_forget(b);
    if (!ls->closing) /* those that came while this batch was out; when closing they are the next start's */
        publish_pump(ls);
    landings_maybe_closed(ls);
}

void publish_pump(struct mr_landings *ls)
{
    struct publish_batch *b = &ls->batch;
    if (b->out || !ls->to_publish || ls->closed_told)
        return;
    size_t files = 0, landings = 0;
    for (struct mr_landing *l = ls->to_publish; l; l = l->publish_next) {
        files += l->files_count;
        landings++;
    }
    b->items = calloc(files ? files : 1, sizeof *b->items);
    b->numbers = calloc(landings, sizeof *b->numbers);
    assert(b->items && b->numbers);
    b->landings = ls->to_publish;
    ls->to_publish = ls->to_publish_last = NULL;
    b->count = files;
    size_t item = 0;
    for (struct mr_landing *l = b->landings; l; l = l->publish_next) {
        if (l->number > b->highest)
            b->highest = l->number;
        for (size_t i = 0; i < l->files_count; i++)
            b->items[item++] = (struct mr_publish_item){.staged = l->files[i].staged_path,
                                                        .path = l->files[i].path,
                                                        .landing = l->id,
                                                        .bytes = l->files[i].bytes,
                                                        .crc32c = l->files[i].crc32c};
    }
    b->out = true;
    b->job = (struct mr_job){.run = batch_run, .done = batch_done};
    mr_worker_submit(ls->o.loop->workers, ls->lane, &b->job);
}

void on_publish_retry(uv_timer_t *t)
{
    publish_failed_again(MR_OF(t, struct mr_landings, retry));
}
