/* SPDX-License-Identifier: Apache-2.0 */
/* trouble.c - what a person should hear of. */
#include "postgres.h"

#include <inttypes.h>
#include <string.h>

enum { CLOSE_MS = 3600000, UNREACHABLE_MS = 10000, XID_AGE_WARN = 1500000000 };

void trouble_connect(struct pool *p, const struct mr_err *err)
{
    struct postgres *pg = p->pg;
    struct mr_alerts *alerts = pg->loop->alerts;
    if (err->code == MR_OK) {
        p->unreachable_since_ms = 0;
        mr_alert_close(alerts, MR_A_POSTGRES_UNREACHABLE, pg->name, p->what);
        mr_alert_close(alerts, MR_A_POSTGRES_REFUSED, pg->name, p->what);
    } else if (err->code == MR_ECANCELED) {
        return;
    } else if (mr_code_class(err->code) == MR_CLASS_USER) {
        mr_alert_open(alerts, MR_A_POSTGRES_REFUSED, pg->name, p->what, "%s", err->msg);
    } else {
        if (!p->unreachable_since_ms)
            p->unreachable_since_ms = mr_loop_now_ms(pg->loop);
        if (mr_loop_now_ms(pg->loop) - p->unreachable_since_ms >= UNREACHABLE_MS)
            mr_alert_open(alerts, MR_A_POSTGRES_UNREACHABLE, pg->name, p->what, "%s", err->msg);
        mr_log_warn(pg->loop->log, pg->name, "connect_again", MR_S("why", err->msg));
    }
}

void trouble_stream(struct stream *s, const struct mr_err *err)
{
    struct postgres *pg = s->pg;
    if (err->code == MR_OK) {
        mr_alert_close(pg->loop->alerts, MR_A_POSTGRES_STREAM, pg->name, s->name);
        mr_alert_close(pg->loop->alerts, MR_A_POSTGRES_SERVER, pg->name, s->name);
        return;
    }
    mr_log_warn(pg->loop->log, pg->name, "run_failed", MR_S("stream", s->name), MR_S("why", err->msg), MR_I("in_a_row", s->failures));
    if (err->code == MR_EMISMATCH)
        mr_alert_open(pg->loop->alerts, MR_A_POSTGRES_SERVER, pg->name, s->name, "%s", err->msg);
    else if (err->code == MR_EAUTH)
        return; /* of the connection: told there */
    else if (mr_code_class(err->code) == MR_CLASS_USER || (mr_code_class(err->code) == MR_CLASS_DATA && s->failures > 2) || s->failures > 10)
        mr_alert_open(pg->loop->alerts, MR_A_POSTGRES_STREAM, pg->name, s->name, "%s", err->msg);
}

static void look_at_stragglers(const struct stream *s)
{
    struct mr_alerts *alerts = s->pg->loop->alerts;
    const struct pg_session *oldest = NULL;
    for (size_t i = 0; i < s->probe.stragglers_count; i++)
        if (!oldest || s->probe.stragglers[i].began < oldest->began)
            oldest = &s->probe.stragglers[i];
    int64_t open_us = oldest ? s->probe.now - oldest->began : 0;
    if (oldest)
        mr_alert_open(alerts, MR_A_POSTGRES_STRAGGLER, s->pg->name, s->name, "process %.*s has had a transaction open for %" PRId64 " s%s; %s", (int)strcspn(oldest->who, "/"), oldest->who,
                      open_us / 1000000, s->probe.stragglers_count > 1 ? " (and others)" : "",
                      s->method != PG_WINDOW                   ? "what it commits lands then"
                      : open_us < s->pg->o->hold_ms * 1000 ? "rows wait for its end"
                                                               : "it is waited for no more (max_hold): what it commits with an older watermark is missed");
    else if (s->probe.prepared_since && s->probe.now - s->probe.prepared_since > s->pg->o->straggler_ms * 1000)
        mr_alert_open(alerts, MR_A_POSTGRES_STRAGGLER, s->pg->name, s->name, "transaction %s has been prepared for %" PRId64 " s and neither committed nor rolled back%s", s->probe.prepared[0] + 1,
                      (s->probe.now - s->probe.prepared_since) / 1000000, s->probe.prepared_count > 1 ? " (or another of several)" : "");
    else
        mr_alert_close(alerts, MR_A_POSTGRES_STRAGGLER, s->pg->name, s->name);
}

void trouble_probed(struct stream *s)
{
    struct mr_alerts *alerts = s->pg->loop->alerts;
    mr_cell_set(s->pg->hidden, (double)s->probe.hidden);
    look_at_stragglers(s);
    if (s->probe.hidden)
        mr_alert_open(alerts, MR_A_POSTGRES_HIDDEN, s->pg->name, s->name, "%" PRId64 " sessions do not show their transactions: GRANT pg_read_all_stats TO the user of the %s, and track_activities must be on. Until then %s", s->probe.hidden,
                      s->pg->has_primary ? "primary_dsn" : "dsn", s->method == PG_WINDOW ? "rows may be missed" : "the whole table is read by transaction ids");
    else
        mr_alert_close(alerts, MR_A_POSTGRES_HIDDEN, s->pg->name, s->name);
}

/* What is told of a moment closes after an hour. */
static void close_old(struct stream *s)
{
    static const enum mr_alert_id ids[] = {MR_A_POSTGRES_LATE, MR_A_POSTGRES_SCHEMA, MR_A_POSTGRES_WENT_BACK, MR_A_POSTGRES_ROW_TOO_BIG};
    if (s->told_ms == 0 || mr_loop_now_ms(s->pg->loop) - s->told_ms < CLOSE_MS)
        return;
    for (size_t i = 0; i < MR_COUNT(ids); i++)
        mr_alert_close(s->pg->loop->alerts, ids[i], s->pg->name, s->name);
    s->told_ms = 0;
}

void trouble_age(struct postgres *pg)
{
    for (size_t i = 0; i < pg->streams_count; i++)
        close_old(&pg->streams[i]);
    double age = mr_cell_value(pg->xid_age);
    if (age > XID_AGE_WARN)
        mr_alert_open(pg->loop->alerts, MR_A_POSTGRES_XID_AGE, pg->name, NULL, "the oldest transaction id of the database is %.0f ids old: is vacuum kept from its work?", age);
    else
        mr_alert_close(pg->loop->alerts, MR_A_POSTGRES_XID_AGE, pg->name, NULL);
}
