/* SPDX-License-Identifier: Apache-2.0 */
/* ledger.c - what a far zone is about to stage is a row of the store first: a process that dies leaves the key by which the next one finds it. */
#include "internal.h"

static void on_noted(void *arg, const struct mr_err *err)
{
    struct mr_stage_note *note = arg;
    note->done(note, err);
}

void ledger_note(struct mr_stage_ledger *ledger, struct mr_stage_note *note)
{
    struct mr_landings *ls = MR_OF(ledger, struct mr_landings, ledger);
    const struct mr_upload upload = {.landing = note->landing, .path = note->path, .id = note->upload, .orphan = note->orphan};
    if (note->gone)
        mr_store_uploads_gone(ls->o.store, &note->path, 1, on_noted, note);
    else
        mr_store_upload(ls->o.store, &ls->instance, &upload, on_noted, note);
}
