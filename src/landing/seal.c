/* SPDX-License-Identifier: Apache-2.0 */
/* seal.c - a day is sealed some time after its end, when nothing can land in it any more; from then on it never
 * changes.
 *
 * Its _SEALED files are written after the store's commit. A death in between, or a full disk, leaves them out: so every
 * start, and some time after a failure, goes once through the last days and writes what is missing, a day a look. */
#include "internal.h"

#include "millrace/fault.h"

#include <stdio.h>
#include <stdlib.h>

enum { LOOK_EVERY_MS = 5000, DAYS_BACK = 40, AGAIN_MS = 600000 };

/* Writes the _SEALED files of one day. */
struct sealed_day {
    struct mr_job job;
    struct mr_landings *ls;
    int32_t day;
    struct sealed_count {
        char *source, *stream;
        int64_t files, rows, bytes;
    } * counts;
    size_t count;
    struct mr_err err;
};

static void sealed_free(struct sealed_day *d)
{
    for (size_t i = 0; i < d->count; i++) {
        free(d->counts[i].source);
        free(d->counts[i].stream);
    }
    free(d->counts);
    free(d);
}

static void sealed_run(struct mr_job *job) /* Runs on: worker */
{
    struct sealed_day *d = MR_OF(job, struct sealed_day, job);
    char day[11];
    mr_day_text(d->day, day);
    enum mr_code code = MR_OK;
    for (size_t i = 0; i < d->count && code == MR_OK; i++) {
        struct sealed_count *c = &d->counts[i];
        char json[256];
        int n = snprintf(json, sizeof json, "{\"ingest_date\":\"%s\",\"files\":%lld,\"rows\":%lld,\"bytes\":%lld}\n",
                         day, (long long)c->files, (long long)c->rows, (long long)c->bytes);
        code = mr_zone_write_sealed(d->ls->o.zone, mr_str_c(c->source), mr_str_c(c->stream), d->day,
                                    (struct mr_str){json, (size_t)n}, &d->err);
    }
    d->err.code = code;
}

static void sealed_done(struct mr_job *job, bool canceled)
{
    struct sealed_day *d = MR_OF(job, struct sealed_day, job);
    struct mr_landings *ls = d->ls;
    if (!canceled && d->err.code != MR_OK) {
        mr_log_warn(ls->o.loop->log, NULL, "sealed_file_not_written", MR_S("why", d->err.msg));
        ls->seal_file_failed = true;
    }
    sealed_free(d);
    ls->seal_files_out--;
    landings_maybe_closed(ls);
}

static void on_counts(void *arg, const struct mr_err *err, const struct mr_day_count *counts, size_t count)
{
    struct sealed_day *d = arg;
    struct mr_landings *ls = d->ls;
    if (err->code != MR_OK || count == 0) {
        ls->seal_file_failed |= err->code != MR_OK;
        sealed_free(d);
        ls->seal_files_out--;
        landings_maybe_closed(ls);
        return;
    }
    d->counts = calloc(count, sizeof *d->counts);
    assert(d->counts);
    for (size_t i = 0; i < count; i++)
        d->counts[i] = (struct sealed_count){landing_text(counts[i].source), landing_text(counts[i].stream), counts[i].files,
                                             counts[i].rows, counts[i].bytes};
    d->count = count;
    d->job = (struct mr_job){.run = sealed_run, .done = sealed_done};
    mr_worker_submit(ls->o.loop->workers, ls->lane, &d->job);
}

static void write_sealed(struct mr_landings *ls, int32_t from, int32_t to)
{
    for (int32_t day = from; day <= to; day++) {
        struct sealed_day *d = calloc(1, sizeof *d);
        assert(d);
        d->ls = ls;
        d->day = day;
        ls->seal_files_out++;
        mr_store_day_counts(ls->o.store, day, on_counts, d);
    }
}

static void on_sealed(void *arg, const struct mr_err *err, int32_t sealed_through, bool blocked)
{
    struct mr_landings *ls = arg;
    ls->seal_out = false;
    if (err->code == MR_OK && !blocked && sealed_through > ls->sealed_through) {
        int32_t before = ls->sealed_through;
        ls->sealed_through = sealed_through;
        char day[11];
        mr_day_text(sealed_through, day);
        mr_log_info(ls->o.loop->log, NULL, "day_sealed", MR_S("through", day));
        if (ls->o.write_sealed && !ls->closing)
            write_sealed(ls,
                         before == MR_NO_DAY || sealed_through - before > DAYS_BACK ? sealed_through - DAYS_BACK
                                                                                    : before + 1,
                         sealed_through);
    } else if (err->code != MR_OK) {
        mr_log_warn(ls->o.loop->log, NULL, "seal_failed", MR_S("why", err->msg));
    }
    landings_maybe_closed(ls);
}

void seal_again(struct mr_landings *ls)
{
    ls->seal_file_failed = false;
    ls->seal_again = ls->sealed_through;
    ls->seal_again_left = ls->sealed_through == MR_NO_DAY ? 0 : DAYS_BACK;
}

/* The newest day first: it is the one that somebody may be waiting for. */
static void write_missing(struct mr_landings *ls, uint64_t now_ms)
{
    if (!ls->o.write_sealed || ls->closing || ls->seal_files_out > 0)
        return;
    if (ls->seal_again_left == 0 && ls->seal_file_failed) {
        seal_again(ls);
        ls->seal_again_ms = now_ms + AGAIN_MS;
    }
    if (ls->seal_again_left == 0 || now_ms < ls->seal_again_ms)
        return;
    ls->seal_again_left--;
    write_sealed(ls, ls->seal_again, ls->seal_again);
    ls->seal_again--;
}

void seal_look(struct mr_landings *ls)
{
    uint64_t now_ms = mr_loop_now_ms(ls->o.loop);
    write_missing(ls, now_ms);
    if (ls->seal_out || ls->closing || (ls->seal_looked_ms && now_ms - ls->seal_looked_ms < LOOK_EVERY_MS))
        return;
    ls->seal_looked_ms = now_ms;
    int32_t ended = mr_day_of(mr_store_now_us(ls->o.store) - ls->o.seal_after_ms * 1000) - 1;
    if (ended <= ls->sealed_through)
        return;
    ls->seal_out = true;
    mr_store_seal(ls->o.store, ended, on_sealed, ls);
}
