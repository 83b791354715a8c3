/* SPDX-License-Identifier: Apache-2.0 */
/* resume.c - start-up, and now and then for the others: finish what was decided, throw away what was only staged. No guess
 * from file names: the store knows.
 *
 * happy path    end other epochs -> publish every landing decided and not published, ours first of all -> sweep their
 * stages ways to fail  the zone or the store cannot be used: the start fails with that error, nothing is half done, try
 * again on close      a resume that is out is waited for by who called it: the start-up, upkeep */
#include "internal.h"

#include "millrace/fault.h"

#include <stdio.h>
#include <stdlib.h>

struct resume {
    struct mr_landings *ls;
    struct mr_job job;
    void (*cb)(void *arg, const struct mr_err *err);
    void *arg;
    struct mr_publish_item *items;
    size_t items_count;
    struct decided_row {
        int64_t number;
        char *landing, *source;
        size_t first, count;
        bool lost;
    } * rows;
    size_t rows_count, lost_out;
    bool mark_failed, others;
    char mark[80];
    int64_t highest;
    size_t ended;
    struct mr_buf stages; /* names of folders, a line each */
    struct mr_instance *living;
    size_t living_count;
    struct left {
        char *path, *id;
        bool settled, gone;
    } * left; /* uploads */
    size_t left_count;
    struct mr_err err;
};

static void resume_end(struct resume *r)
{
    r->ls->resumes_out--;
    for (size_t i = 0; i < r->items_count; i++) {
        free((char *)(uintptr_t)r->items[i].staged);
        free((char *)(uintptr_t)r->items[i].path);
    }
    for (size_t i = 0; i < r->rows_count; i++) {
        free(r->rows[i].landing);
        free(r->rows[i].source);
    }
    for (size_t i = 0; i < r->left_count; i++) {
        free(r->left[i].path);
        free(r->left[i].id);
    }
    free(r->left);
    free(r->items);
    free(r->rows);
    free(r->living);
    mr_buf_free(&r->stages);
    void (*cb)(void *, const struct mr_err *) = r->cb;
    void *arg = r->arg;
    struct mr_err err = r->err;
    struct mr_landings *ls = r->ls;
    free(r);
    if (err.code == MR_OK)
        landings_schedule(ls);
    cb(arg, &err);
    landings_maybe_closed(ls);
}

/* -- what was only staged far away: the store has its keys ------------------------------------------------------------- */

static void on_forgotten(void *arg, const struct mr_err *err)
{
    struct resume *r = arg;
    if (err->code != MR_OK)
        r->err = *err;
    resume_end(r);
}

static void abort_run(struct mr_job *job) /* Runs on: worker, the zone's lane */
{
    struct resume *r = MR_OF(job, struct resume, job);
    struct mr_err err;
    for (size_t i = 0; i < r->left_count; i++) {
        enum mr_code code = mr_zone_abort(r->ls->o.zone, r->left[i].path, r->left[i].id, &err);
        /* who is to be found by its key alone may be begun yet, by a request that is on its way: look again next time */
        r->left[i].gone = code == MR_OK && (r->left[i].id[0] || r->left[i].settled);
        if (code != MR_OK && r->err.code == MR_OK)
            r->err = err;
    }
}

static void abort_done(struct mr_job *job, bool canceled)
{
    struct resume *r = MR_OF(job, struct resume, job);
    struct mr_str *paths = calloc(r->left_count, sizeof *paths);
    size_t count = 0;
    assert(paths);
    if (canceled)
        mr_err_set(&r->err, MR_ECANCELED, "resume: stopping");
    else if (r->err.code != MR_OK) { /* what was decided is published: nobody has to wait for what is only swept */
        mr_log_warn(r->ls->o.loop->log, NULL, "uploads_not_aborted", MR_S("why", r->err.msg), MR_S("hint", "tried again every few seconds; millrace check -c FILE tries each right"));
        r->err = (struct mr_err){0};
    }
    for (size_t i = 0; i < r->left_count; i++)
        if (r->left[i].gone)
            paths[count++] = mr_str_c(r->left[i].path);
    if (count > 0 && !canceled)
        mr_store_uploads_gone(r->ls->o.store, paths, count, on_forgotten, r);
    else
        resume_end(r);
    free(paths);
}

static void on_uploads(void *arg, const struct mr_err *err, const struct mr_upload *uploads, size_t count)
{
    struct resume *r = arg;
    if (err->code != MR_OK || count == 0) {
        r->err = *err;
        resume_end(r);
        return;
    }
    r->left = calloc(count, sizeof *r->left);
    assert(r->left);
    for (size_t i = 0; i < count; i++)
        r->left[r->left_count++] = (struct left){landing_text(uploads[i].path), landing_text(uploads[i].id), uploads[i].settled, false};
    r->job = (struct mr_job){.run = abort_run, .done = abort_done};
    mr_worker_submit(r->ls->o.loop->workers, r->ls->lane, &r->job);
}

/* -- what was only staged ------------------------------------------------------------------------------------------- */

static void list_run(struct mr_job *job) /* Runs on: worker, the zone's lane */
{
    struct resume *r = MR_OF(job, struct resume, job);
    r->err.code = mr_zone_stages(r->ls->o.zone, &r->stages, &r->err);
    mr_buf_putc(&r->stages, 0);
}

static void sweep_run(struct mr_job *job) /* Runs on: worker, the zone's lane */
{
    struct resume *r = MR_OF(job, struct resume, job);
    enum mr_code code = MR_OK;
    for (char *save = NULL, *name = strtok_r(r->stages.p, "\n", &save); name && code == MR_OK;
         name = strtok_r(NULL, "\n", &save)) {
        bool lives = strcmp(name, r->ls->instance.id) == 0;
        for (size_t i = 0; i < r->living_count && !lives; i++)
            lives = strcmp(name, r->living[i].id) == 0;
        if (!lives)
            code = mr_zone_sweep(r->ls->o.zone, name, NULL, 0, &r->err);
    }
    r->err.code = code;
}

static void sweep_done(struct mr_job *job, bool canceled)
{
    struct resume *r = MR_OF(job, struct resume, job);
    if (canceled)
        mr_err_set(&r->err, MR_ECANCELED, "resume: stopping");
    resume_end(r);
}

static void on_living(void *arg, const struct mr_err *err, const struct mr_instance *living, size_t count)
{
    struct resume *r = arg;
    if (err->code != MR_OK) {
        r->err = *err;
        mr_err_wrap(&r->err, "who else is alive");
        resume_end(r);
        return;
    }
    r->living = calloc(count ? count : 1, sizeof *r->living);
    assert(r->living);
    if (count)
        memcpy(r->living, living, count * sizeof *living);
    r->living_count = count;
    r->job = (struct mr_job){.run = sweep_run, .done = sweep_done};
    mr_worker_submit(r->ls->o.loop->workers, r->ls->lane, &r->job);
}

static void list_done(struct mr_job *job, bool canceled)
{
    struct resume *r = MR_OF(job, struct resume, job);
    if (canceled)
        mr_err_set(&r->err, MR_ECANCELED, "resume: stopping");
    if (r->err.code != MR_OK)
        resume_end(r);
    else
        mr_store_living(r->ls->o.store, on_living, r);
}

/* The folders first, and then who lives: an instance has its row before it has its folder. One that died a moment ago may have
 * decided what it staged, so its folder stays until its epoch has ended and that is published. */
static void sweep(struct resume *r)
{
    if (mr_zone_is_far(r->ls->o.zone)) {
        mr_store_uploads(r->ls->o.store, on_uploads, r);
        return;
    }
    if (r->others && r->rows_count == 0 && r->ended == 0) {
        resume_end(r);
        return;
    }
    r->job = (struct mr_job){.run = list_run, .done = list_done};
    mr_worker_submit(r->ls->o.loop->workers, r->ls->lane, &r->job);
}

/* -- what was decided ----------------------------------------------------------------------------------------------- */

static void on_noted(void *arg, const struct mr_err *err)
{
    struct resume *r = arg;
    if (err->code != MR_OK) {
        r->err = *err;
        mr_err_wrap(&r->err, "resume: note what was published");
        resume_end(r);
        return;
    }
    if (r->rows_count)
        mr_log_info(r->ls->o.loop->log, NULL, "resumed", MR_I("landings", r->rows_count),
                    MR_I("files", r->items_count));
    sweep(r);
}

static void note(struct resume *r)
{
    int64_t *numbers = calloc(r->rows_count ? r->rows_count : 1, sizeof *numbers);
    assert(numbers);
    size_t count = 0;
    for (size_t i = 0; i < r->rows_count; i++)
        if (!r->rows[i].lost)
            numbers[count++] = r->rows[i].number;
    mr_store_published(r->ls->o.store, numbers, count, on_noted, r);
    free(numbers);
}

static void on_lost(void *arg, const struct mr_err *err)
{
    struct resume *r = arg;
    if (err->code != MR_OK && r->err.code == MR_OK)
        r->err = *err;
    if (--r->lost_out > 0)
        return;
    if (r->err.code != MR_OK)
        resume_end(r);
    else
        note(r);
}

static void publish_run(struct mr_job *job) /* Runs on: worker, the zone's lane */
{
    struct resume *r = MR_OF(job, struct resume, job);
    int fault = MR_POINT(resume_begin);
    if (fault) {
        mr_err_sys(&r->err, fault, "resume");
        return;
    }
    if (r->rows_count == 0)
        return;
    if (mr_zone_mark_decided(r->ls->o.zone, r->mark, r->highest, &r->err) != MR_OK) {
        r->mark_failed = true;
        return;
    }
    enum mr_code code = mr_zone_publish(r->ls->o.zone, r->items, r->items_count, &r->err);
    r->err.code = code;
}

/* The first item that time or a person may heal: it is not lost, and neither is what was staged with it. NULL if there
 * is none. */
static const struct mr_publish_item *held_up(const struct resume *r)
{
    for (size_t i = 0; i < r->items_count; i++)
        if (r->items[i].code != MR_OK && r->items[i].code != MR_ENOENT)
            return &r->items[i];
    return NULL;
}

static void publish_done(struct mr_job *job, bool canceled)
{
    struct resume *r = MR_OF(job, struct resume, job);
    if (canceled)
        mr_err_set(&r->err, MR_ECANCELED, "resume: stopping");
    if (r->mark_failed || (r->err.code != MR_OK && r->err.code != MR_ENOENT)) {
        mr_err_wrap(&r->err, "publish what was decided before");
        resume_end(r);
        return;
    }
    const struct mr_publish_item *item = held_up(r);
    if (item) {
        mr_err_set(&r->err, item->code, "publish what was decided before: %s: %s", item->path,
                   mr_code_text(item->code));
        resume_end(r);
        return;
    }
    r->err = (struct mr_err){0};
    for (size_t i = 0; i < r->rows_count; i++) {
        struct decided_row *row = &r->rows[i];
        for (size_t f = row->first; f < row->first + row->count; f++)
            row->lost |= r->items[f].code != MR_OK;
        if (!row->lost)
            continue;
        mr_alert_open(r->ls->o.loop->alerts, MR_A_LANDING_LOST, row->source, NULL,
                      "landing %s was decided and its staged file is gone; millrace replay --landing %s reads it again",
                      row->landing, row->landing);
        r->lost_out++;
    }
    if (r->lost_out == 0) {
        note(r);
        return;
    }
    for (size_t i = 0; i < r->rows_count; i++)
        if (r->rows[i].lost)
            mr_store_lost(r->ls->o.store, r->rows[i].number, on_lost, r);
}

/* Of the others a mark of its own: ours may be higher, and is written by batches that are out at the same time. Neither ever goes back. */
static void name_mark(struct resume *r)
{
    int64_t *highest = r->others ? &r->ls->others_highest : &r->ls->batch.highest;
    int64_t last = r->rows_count ? r->rows[r->rows_count - 1].number : 0;
    if (last > *highest)
        *highest = last;
    r->highest = *highest;
    snprintf(r->mark, sizeof r->mark, "%s%s", r->ls->instance.id, r->others ? "-others" : "");
}

static void on_unpublished(void *arg, const struct mr_err *err, const struct mr_landing_row *landings, size_t count)
{
    struct resume *r = arg;
    if (err->code != MR_OK) {
        r->err = *err;
        resume_end(r);
        return;
    }
    size_t files = 0;
    for (size_t i = 0; i < count; i++)
        files += landings[i].files_count;
    r->items = calloc(files ? files : 1, sizeof *r->items);
    r->rows = calloc(count ? count : 1, sizeof *r->rows);
    assert(r->items && r->rows);
    for (size_t i = 0; i < count; i++) {
        const struct mr_landing_row *row = &landings[i];
        r->rows[r->rows_count++] = (struct decided_row){row->number,    landing_text(row->landing), landing_text(row->source),
                                                        r->items_count, row->files_count,   false};
        for (size_t f = 0; f < row->files_count; f++)
            r->items[r->items_count++] = (struct mr_publish_item){.staged = landing_text(row->files[f].staged),
                                                                  .path = landing_text(row->files[f].path),
                                                                  .landing = r->rows[i].landing,
                                                                  .bytes = row->files[f].bytes,
                                                                  .crc32c = row->files[f].crc32c};
    }
    name_mark(r);
    r->job = (struct mr_job){.run = publish_run, .done = publish_done};
    mr_worker_submit(r->ls->o.loop->workers, r->ls->lane, &r->job);
}

static void on_swept(void *arg, const struct mr_err *err, const struct mr_instance *ended, size_t count)
{
    struct resume *r = arg;
    r->ended = count;
    if (err->code != MR_OK) {
        r->err = *err;
        mr_err_wrap(&r->err, "end the epochs of earlier instances");
        resume_end(r);
        return;
    }
    if (count && r->others)
        mr_log_warn(r->ls->o.loop->log, NULL, "instances_ended", MR_I("count", count), MR_S("first", ended[0].id));
    /* what we ourselves have decided is published by its own landing, while we live */
    struct mr_instance nobody = {.epoch = 0};
    mr_store_unpublished(r->ls->o.store, r->others ? &nobody : &r->ls->instance, on_unpublished, r);
}

static void begin(struct mr_landings *ls, bool others, void (*cb)(void *arg, const struct mr_err *err), void *arg)
{
    struct resume *r = calloc(1, sizeof *r);
    assert(r);
    r->ls = ls;
    r->others = others;
    ls->resumes_out++;
    r->cb = cb;
    r->arg = arg;
    mr_buf_init(&r->stages, 1 << 24);
    mr_store_sweep(ls->o.store, &ls->instance, !others && ls->o.sole, on_swept, r);
}

void mr_landings_resume(struct mr_landings *ls, void (*cb)(void *arg, const struct mr_err *err), void *arg)
{
    begin(ls, false, cb, arg);
}

void mr_landings_finish_others(struct mr_landings *ls, void (*cb)(void *arg, const struct mr_err *err), void *arg)
{
    begin(ls, true, cb, arg);
}
