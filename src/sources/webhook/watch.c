/* SPDX-License-Identifier: Apache-2.0 */
/* watch.c - what a source's requests say when they are looked at together: a burst of refusals, a vendor that has fallen
 * silent, a secret that no longer fits.
 *
 * Accepted requests are counted by their metric and looked at on each tick, so that the way to the 2xx has nothing to do
 * here. Ages use the monotonic clock; wall-clock times are for the texts alone. Over a restart the silence goes on from the
 * source's last landing, but the vendor has GRACE_MS at least: while we were down it could not deliver.
 *
 * A refused request counts as signed when its signature was well formed: strangers who send none do not make a secret look
 * rotated. */
#include "hub.h"

#include <inttypes.h>
#include <stdio.h>

enum { BURST_MS = 60000, BURST_COUNT = 100, GRACE_MS = 900000, TELL_EVERY_MS = 60000 };

static int64_t now_of(const struct webhook *w)
{
    return (int64_t)mr_loop_now_ms(w->hub->core->loop);
}

static struct mr_alerts *alerts_of(const struct webhook *w)
{
    return w->hub->core->loop->alerts;
}

/* Has a request been accepted since the last look? */
static void look_accepted(struct webhook *w)
{
    struct watch *x = &w->watch;
    double count = mr_cell_value(w->accepted);
    if (count <= x->accepted)
        return;
    x->accepted = count;
    x->ever = true;
    x->accepted_ms = now_of(w);
    x->accepted_us = mr_wall_us();
    x->failing = x->failing_told = 0;
    x->silent_told_ms = 0;
    mr_alert_close(alerts_of(w), MR_A_SILENT, w->name, NULL);
    mr_alert_close(alerts_of(w), MR_A_ALL_FAILING, w->name, NULL);
    mr_cell_set(x->accepted_time, (double)x->accepted_us / 1e6);
}

/* ---- a burst of refusals ---- */

/* A minute is over: was it calm? */
static void burst_turn(struct webhook *w)
{
    struct watch *x = &w->watch;
    if (now_of(w) - x->burst_since_ms <= BURST_MS)
        return;
    if (x->burst_count < BURST_COUNT)
        mr_alert_close(alerts_of(w), MR_A_SIGNATURE_BURST, w->name, NULL);
    x->burst_since_ms = now_of(w);
    x->burst_count = 0;
}

void watch_refused(struct webhook *w, enum mr_cause cause, const char *reason)
{
    struct watch *x = &w->watch;
    snprintf(x->reason, sizeof x->reason, "%s", reason);
    burst_turn(w);
    if (++x->burst_count == BURST_COUNT)
        mr_alert_open(alerts_of(w), MR_A_SIGNATURE_BURST, w->name, NULL,
                      "%d requests refused within a minute; the last: %s", BURST_COUNT, x->reason);
    if (cause != MR_CAUSE_SIGNATURE && cause != MR_CAUSE_TIMESTAMP)
        return;
    look_accepted(w); /* what was accepted before this one */
    if (x->failing++ == 0) {
        x->failing_since_ms = now_of(w);
        x->failing_since_us = mr_wall_us();
    }
    x->failing_cause = cause;
}

/* ---- none accepted ---- */

static void duration_text(int64_t ms, char out[32])
{
    int64_t s = ms / 1000;
    if (s < 120)
        snprintf(out, 32, "%" PRId64 " s", s);
    else if (s < 7200)
        snprintf(out, 32, "%" PRId64 " min", s / 60);
    else
        snprintf(out, 32, "%" PRId64 " h %" PRId64 " min", s / 3600, s / 60 % 60);
}

static void look_failing(struct webhook *w)
{
    struct watch *x = &w->watch;
    int64_t now_ms = now_of(w);
    if (x->failing < (uint64_t)w->o->expect.failing_requests || x->failing == x->failing_told ||
        now_ms - x->failing_since_ms < w->o->expect.failing_after_ms ||
        (x->failing_told && now_ms - x->failing_told_ms < TELL_EVERY_MS))
        return;
    char since[28], last[28];
    mr_time_text(x->failing_since_us, since);
    mr_time_text(x->accepted_us, last);
    mr_alert_open(alerts_of(w), MR_A_ALL_FAILING, w->name, NULL,
                  "none of %" PRIu64 " signed requests since %s was accepted, for their %s; %s %s; the last: %s",
                  x->failing, since, mr_cause_name(x->failing_cause),
                  x->ever ? "the last accepted one came at" : "none was accepted since the start at", last, x->reason);
    x->failing_told = x->failing;
    x->failing_told_ms = now_ms;
}

static void look_silent(struct webhook *w)
{
    struct watch *x = &w->watch;
    int64_t now_ms = now_of(w), every_ms = w->o->expect.every_ms;
    if (every_ms == 0 || now_ms - x->accepted_ms < every_ms || now_ms < x->not_before_ms ||
        (x->silent_told_ms && now_ms - x->silent_told_ms < TELL_EVERY_MS))
        return;
    char since[28], age[32], every[32];
    mr_time_text(x->accepted_us, since);
    duration_text(now_ms - x->accepted_ms, age);
    duration_text(every_ms, every);
    mr_alert_open(alerts_of(w), MR_A_SILENT, w->name, NULL, "no event for %s, since %s%s; one is expected every %s", age,
                  since, x->ever ? "" : ", when the source started", every);
    x->silent_told_ms = now_ms;
}

/* Who is paused expects nothing; the wait begins anew with the resume. */
static void paused(struct webhook *w)
{
    struct watch *x = &w->watch;
    x->accepted_ms = now_of(w);
    x->silent_told_ms = 0;
    x->failing = x->failing_told = 0;
    mr_alert_close(alerts_of(w), MR_A_SILENT, w->name, NULL);
    mr_alert_close(alerts_of(w), MR_A_ALL_FAILING, w->name, NULL);
}

void watch_look(struct webhook *w)
{
    struct watch *x = &w->watch;
    burst_turn(w);
    look_accepted(w);
    if (w->paused)
        paused(w);
    look_failing(w);
    look_silent(w);
    mr_cell_set(x->failing_cell, (double)x->failing);
}

void watch_start(struct webhook *w, int64_t landed_us)
{
    struct watch *x = &w->watch;
    struct mr_metrics *m = w->hub->core->loop->metrics;
    int64_t now_ms = now_of(w), now_us = mr_wall_us(), every_ms = w->o->expect.every_ms;
    x->accepted_time = mr_metric(m, MR_M_WEBHOOK_ACCEPTED_TIME, w->name);
    x->failing_cell = mr_metric(m, MR_M_WEBHOOK_FAILING, w->name);
    x->accepted = mr_cell_value(w->accepted); /* of before a reload, if this is one */
    x->ever = landed_us != MR_NO_TIME;
    x->accepted_us = x->ever && landed_us < now_us ? landed_us : now_us;
    x->accepted_ms = now_ms - (now_us - x->accepted_us) / 1000;
    x->not_before_ms = now_ms + (every_ms < GRACE_MS ? every_ms : GRACE_MS);
    x->burst_since_ms = now_ms;
    if (every_ms == 0) /* of a config that expected something */
        mr_alert_close(alerts_of(w), MR_A_SILENT, w->name, NULL);
    if (x->ever)
        mr_cell_set(x->accepted_time, (double)x->accepted_us / 1e6);
}
