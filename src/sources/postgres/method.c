/* SPDX-License-Identifier: Apache-2.0 */
#include "method.h"

#include <string.h>

static const int64_t SMALL_BYTES = INT64_C(1) << 30;

const char pg_method_hidden[] = "sessions are hidden from us";

const char *pg_method_name(enum pg_method method)
{
    static const char *const names[] = {[PG_AUTO] = "auto", [PG_EXACT] = "exact", [PG_XID] = "xid", [PG_WINDOW] = "window"};
    return names[method];
}

void pg_method_none(struct pg_method_facts *f)
{
    f->ids = f->indexed = true;
    f->bytes = 0;
}

void pg_method_relation(struct pg_method_facts *f, char kind, bool heap, bool indexed, int64_t pages, int64_t page)
{
    f->ids &= (kind == 'r' && heap) || kind == 'm';
    f->indexed &= indexed || pages < 2;
    f->bytes += pages * page;
}

static enum mr_code choose_window(const struct pg_method_facts *f, enum pg_method *method, const char **why, struct mr_err *err)
{
    if (!f->watermark)
        return mr_err_set(err, MR_ECONFIG, "%s has no transaction ids (a view, a foreign table): give it a watermark, or mode: snapshot", f->table ? f->table : "a query");
    if (f->asked == PG_EXACT || f->asked == PG_XID)
        return mr_err_set(err, MR_ECONFIG, "%s has no transaction ids (a view, a foreign table): method window, or mode: snapshot", f->table ? f->table : "a query");
    *method = PG_WINDOW;
    *why = f->asked == PG_WINDOW ? "as configured" : "it has no transaction ids";
    return MR_OK;
}

enum mr_code pg_method_choose(const struct pg_method_facts *f, enum pg_method *method, const char **why, struct mr_err *err)
{
    if (!f->ids || f->asked == PG_WINDOW)
        return choose_window(f, method, why, err);
    *method = PG_XID;
    if (f->asked == PG_XID) {
        *why = "as configured";
    } else if (!f->watermark) {
        *why = "there is no watermark";
    } else if (f->standby && !f->primary) {
        *why = "a standby shows no open transactions, and there is no primary_dsn";
    } else if (f->asked == PG_EXACT) {
        *method = PG_EXACT;
        *why = "as configured";
    } else if (!f->indexed) {
        *why = "no index begins with the watermark";
    } else if (f->bytes <= SMALL_BYTES && f->bytes / 1000000 <= f->every_ms / 50) { /* of a gigabyte a second, at most 2 % of the time */
        *why = "the table is small";
    } else {
        *method = PG_EXACT;
        *why = "an index begins with the watermark";
    }
    return MR_OK;
}
