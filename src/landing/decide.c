/* SPDX-License-Identifier: Apache-2.0 */
/* decide.c - the second step: one transaction records the files, the source's moves and whatever else the source keeps.
 *
 * happy path    close the files on lane SYNC -> wait for the turn within the source -> the store decides -> publish.c
 * ways to fail  files cannot be made durable; the store says fenced, sealed, seen, epoch ended, or cannot commit:
 *               in each case the landing is dropped whole and the door hears the code; with it go those after it that move
 *               the same part: a move of somebody else's may have left the very version that they expect, and they would
 *               win over the gap
 * on close      what is in the store is waited for; what is not yet there is dropped */
#include "internal.h"

#include <stdlib.h>

static bool put_copy(struct mr_buf *text, struct mr_str *s)
{
    if (!s->p)
        return true;
    mr_buf_put(text, s->p, s->n);
    return !text->failed;
}

static void rebase(const char **cursor, struct mr_str *s)
{
    if (!s->p)
        return;
    s->p = *cursor;
    *cursor += s->n;
}

/* One allocation holds all strings; offsets become pointers once it has stopped growing. */
static void copy_decision(struct mr_landing *l, const struct mr_move *moves, size_t moves_count,
                          const struct mr_row *rows, size_t rows_count, const struct mr_seen *seen, size_t seen_count)
{
    l->moves = calloc(moves_count ? moves_count : 1, sizeof *l->moves);
    l->rows = calloc(rows_count ? rows_count : 1, sizeof *l->rows);
    l->seen = malloc((seen_count ? seen_count : 1) * sizeof *l->seen);
    assert(l->moves && l->rows && l->seen); /* bounded by what the door holds already */
    mr_buf_init(&l->text, SIZE_MAX / 4);
    memcpy(l->seen, seen ? seen : l->seen, seen_count * sizeof *l->seen);
    bool ok = true;
    for (size_t i = 0; i < moves_count; i++) {
        l->moves[i] = moves[i];
        struct mr_move *m = &l->moves[i];
        ok = ok && put_copy(&l->text, &m->source) && put_copy(&l->text, &m->stream) && put_copy(&l->text, &m->part) &&
             put_copy(&l->text, &m->value);
    }
    for (size_t i = 0; i < rows_count; i++) {
        l->rows[i] = rows[i];
        struct mr_row *r = &l->rows[i];
        ok = ok && put_copy(&l->text, &r->source) && put_copy(&l->text, &r->stream) && put_copy(&l->text, &r->kind) &&
             put_copy(&l->text, &r->key) && put_copy(&l->text, &r->value);
    }
    assert(ok);
    const char *cursor = l->text.p;
    for (size_t i = 0; i < moves_count; i++) {
        struct mr_move *m = &l->moves[i];
        rebase(&cursor, &m->source);
        rebase(&cursor, &m->stream);
        rebase(&cursor, &m->part);
        rebase(&cursor, &m->value);
    }
    for (size_t i = 0; i < rows_count; i++) {
        struct mr_row *r = &l->rows[i];
        rebase(&cursor, &r->source);
        rebase(&cursor, &r->stream);
        rebase(&cursor, &r->kind);
        rebase(&cursor, &r->key);
        rebase(&cursor, &r->value);
    }
    l->decision = (struct mr_decision){
        .moves = l->moves,
        .moves_count = moves_count,
        .rows = l->rows,
        .rows_count = rows_count,
        .seen = l->seen,
        .seen_count = seen_count,
    };
}

static int seen_order(const void *a, const void *b)
{
    const struct mr_seen *x = a, *y = b;
    if (x->day != y->day)
        return x->day < y->day ? -1 : 1;
    return memcmp(x->id, y->id, sizeof x->id);
}

static void close_run(struct mr_job *job) /* Runs on: worker, the zone's lane */
{
    struct mr_landing *l = MR_OF(job, struct mr_landing, job);
    /* In the order of the table's key: a sorted insert touches each page of the store once. */
    qsort(l->seen, l->decision.seen_count, sizeof *l->seen, seen_order);
    if (l->err.code == MR_OK && stage_close(l, &l->err) == MR_OK)
        l->err = (struct mr_err){0};
}

static const char *outcome_of(enum mr_code code)
{
    switch (code) {
    case MR_OK:
        return "decided";
    case MR_EFENCED:
    case MR_EEPOCH:
        return "fenced";
    case MR_ESEALED:
        return "sealed";
    case MR_ESEEN:
        return "seen";
    default:
        return "failed";
    }
}

static bool share_a_part(const struct mr_landing *a, const struct mr_landing *b)
{
    for (size_t i = 0; i < a->decision.moves_count; i++)
        for (size_t k = 0; k < b->decision.moves_count; k++)
            if (mr_str_eq(a->moves[i].part, b->moves[k].part) && mr_str_eq(a->moves[i].stream, b->moves[k].stream) &&
                mr_str_eq(a->moves[i].source, b->moves[k].source))
                return true;
    return false;
}

static void fence_those_after(const struct mr_landing *lost)
{
    for (struct mr_landing *l = lost->ls->all; l; l = l->next)
        if ((l->state == LANDING_CLOSING || l->state == LANDING_WAITING) && l->decision_order > lost->decision_order &&
            !l->overtaken && share_a_part(lost, l))
            l->overtaken = true;
}

/* The landing is lost: its files go, and the door hears why before its landing is gone. */
static void refuse(struct mr_landing *l)
{
    struct mr_landings *ls = l->ls;
    enum mr_code code = l->verdict.code;
    fence_those_after(l);
    landing_count(l, outcome_of(code));
    /* what the store could not do is told as state_failed, by the store */
    if (l->state != LANDING_DECIDING && (mr_code_class(code) == MR_CLASS_RETRY || code == MR_EPERM))
        mr_alert_open(ls->o.loop->alerts, MR_A_ZONE_UNWRITABLE, l->source, NULL, "%s",
                      l->verdict.err ? l->verdict.err->msg : mr_code_text(code));
    mr_log_info(ls->o.loop->log, l->source, "landing_dropped", MR_S("landing", l->id), MR_S("why", mr_code_text(code)),
                MR_I("records", l->records));
    struct mr_landing_end end = l->end;
    struct mr_verdict verdict = l->verdict;
    struct mr_err err = verdict.err ? *verdict.err : (struct mr_err){.code = code};
    verdict.err = &err;
    if (l->state == LANDING_DECIDING && code == MR_ECANCELED)
        landing_gone(l); /* the store may hold it: the next start, which can ask, publishes its files or sweeps them */
    else
        landing_drop(l);
    if (end.on_decided)
        end.on_decided(end.arg, &verdict);
    decide_next(ls);
}

static void on_decided(void *arg, const struct mr_decided *decided)
{
    struct mr_landing *l = arg;
    struct mr_landings *ls = l->ls;
    if (decided->sealed_through > ls->sealed_through) /* a store that failed knows no day, and ours stands */
        ls->sealed_through = decided->sealed_through;
    l->verdict = (struct mr_verdict){
        .code = decided->code, .which = decided->which, .number = decided->number, .err = decided->err};
    if (decided->code != MR_OK) {
        refuse(l);
        return;
    }
    l->number = decided->number;
    l->holds_day = false;
    l->state = LANDING_PUBLISHING;
    landing_count(l, "decided");
    struct mr_loop *loop = ls->o.loop;
    for (size_t i = 0; i < l->files_count; i++) {
        struct staged *f = &l->files[i];
        mr_cell_add(mr_metric(loop->metrics, MR_M_LANDED_RECORDS, l->source, f->stream), f->rows);
        mr_cell_add(mr_metric(loop->metrics, MR_M_LANDED_BYTES, l->source, f->stream), f->bytes);
        mr_cell_add(mr_metric(loop->metrics, MR_M_LANDED_FILES, l->source, f->stream), 1);
    }
    publish_add(l);
    if (l->end.on_decided)
        l->end.on_decided(l->end.arg, &l->verdict);
    publish_pump(ls);
    decide_next(ls);
}

static void to_store(struct mr_landing *l)
{
    struct mr_landings *ls = l->ls;
    l->state = LANDING_DECIDING;
    l->zone_files = calloc(l->files_count ? l->files_count : 1, sizeof *l->zone_files);
    assert(l->zone_files);
    struct mr_decision *d = &l->decision;
    for (size_t i = 0; i < l->files_count; i++) {
        struct staged *f = &l->files[i];
        l->zone_files[i] = (struct mr_zone_file){.stream = {f->stream, f->stream_n},
                                                 .path = mr_str_c(f->path),
                                                 .staged = mr_str_c(f->staged_path),
                                                 .rows = f->rows,
                                                 .bytes = f->bytes,
                                                 .crc32c = f->crc32c};
        d->bytes += f->bytes;
    }
    d->instance = ls->instance;
    d->landing = mr_str_c(l->id);
    d->source = mr_str_c(l->source);
    d->run = mr_str_c(l->run);
    d->day = l->files_count ? l->roll.day : MR_NO_DAY;
    d->began_us = l->began_us;
    d->files = l->zone_files;
    d->files_count = l->files_count;
    d->records = l->records;
    d->uploads = mr_zone_is_far(ls->o.zone);
    mr_store_decide(ls->o.store, d, on_decided, l);
}

/* A landing goes to the store when every one of its source before it has gone, and those that move the same part have an answer:
 * the store keeps the order of calls, but does not know who stands on whom. */
static bool its_turn(const struct mr_landing *l)
{
    for (const struct mr_landing *before = l->ls->all; before;
         before = before->next) { /* begun later, it may have been asked for earlier */
        if (before->decision_order >= l->decision_order || strcmp(before->source, l->source) != 0)
            continue;
        if (before->state == LANDING_CLOSING || before->state == LANDING_WAITING ||
            (before->state == LANDING_DECIDING && share_a_part(before, l)))
            return false;
    }
    return true;
}

void decide_next(struct mr_landings *ls)
{
    for (struct mr_landing *l = ls->all, *next; l; l = next) {
        next = l->next;
        if (l->state != LANDING_WAITING || !its_turn(l))
            continue;
        if (l->overtaken)
            mr_err_set(&l->err, MR_EFENCED, "landing %s: one before it that moves the same part was dropped", l->id);
        if (l->err.code != MR_OK) {
            l->verdict = (struct mr_verdict){.code = l->err.code, .err = &l->err};
            refuse(l); /* starts over by itself */
            return;
        }
        to_store(l);
        next = ls->all; /* it may have kept back one that stands before it: let the two share a commit */
    }
}

static void close_done(struct mr_job *job, bool canceled)
{
    struct mr_landing *l = MR_OF(job, struct mr_landing, job);
    if (canceled)
        mr_err_set(&l->err, MR_ECANCELED, "landing %s: stopping", l->id);
    l->state = LANDING_WAITING;
    decide_next(l->ls);
}

void mr_landing_decide(struct mr_landing *l, const struct mr_move *moves, size_t moves_count, const struct mr_row *rows,
                       size_t rows_count, const struct mr_seen *seen, size_t seen_count,
                       const struct mr_landing_end *end)
{
    assert(l->state == LANDING_OPEN);
    struct mr_landings *ls = l->ls;
    l->state = LANDING_CLOSING;
    l->end = *end;
    l->decision_order = ++ls->decisions_asked;
    l->closed_at_us = mr_mono_us();
    copy_decision(l, moves, moves_count, rows, rows_count, seen, seen_count);
    if (l->failed)
        mr_err_set(&l->err, MR_EIO, "landing %s: a record could not be staged", l->id);
    l->job = (struct mr_job){.run = close_run, .done = close_done};
    mr_worker_submit(ls->o.loop->workers, ls->lane, &l->job);
}

static void drop_run(struct mr_job *job) /* Runs on: worker, the zone's lane */
{
    stage_drop(MR_OF(job, struct mr_landing, job));
}

static void drop_done(struct mr_job *job, bool canceled)
{
    (void)canceled; /* the next start sweeps what is left */
    landing_gone(MR_OF(job, struct mr_landing, job));
}

void landing_drop(struct mr_landing *l)
{
    l->state = LANDING_DROPPING;
    l->job = (struct mr_job){.run = drop_run, .done = drop_done};
    mr_worker_submit(l->ls->o.loop->workers, l->ls->lane, &l->job);
}

void mr_landing_abandon(struct mr_landing *l)
{
    assert(l->state == LANDING_OPEN);
    landing_drop(l);
}
