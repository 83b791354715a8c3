/* SPDX-License-Identifier: Apache-2.0 */
/* model.c - a small database against which the rules of bounds.h and ids.h are tried.
 *
 * Transactions begin, take ids (their own, subtransactions'), write rows with watermarks as old as the assumption allows, overwrite others' rows, commit, roll
 * back, are prepared, all by chance, and between any two steps of a run: the probe's clock, its snapshot of ids, each session, the prepared ones, the snapshot.
 * Runs, first walks, catch-ups and sweeps are made of the same calls as in the door; decisions get lost; what is kept is read back from its texts.
 * Each version of a row must land once: in the run that sees it, unless it straggled or was prepared at the run's probe, then in the next.
 *
 * A rule that could be left out without a fault here would not have been tried: so each is left out in turn (enum mutant), and must be missed. */
#include "sources/postgres/bounds.h"
#include "sources/postgres/ids.h"

#include "unit/postgres/tests.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum mutant {
    MUTANT_NONE,
    MUTANT_NO_HELD,      /* L without the held ones that are gone */
    MUTANT_ONE_SET,      /* one set of ids for all L */
    MUTANT_SNAPSHOT_X,   /* X' = the snapshot's xmin, whatever the probe's */
    MUTANT_NO_PREPARED,  /* prepared ones are not held */
    MUTANT_NO_OLDEST,    /* open transactions do not count */
    MUTANT_NO_GUARD,
    MUTANT_NO_SKEW,
    MUTANT_L_OF_NEXT,    /* ids kept under the L of the next run */
    MUTANT_XMAX,         /* X' = the snapshot's xmax */
    MUTANT_FORGET_X,     /* ids forgotten below X though a sweep has not been there */
    MUTANT_WALK_X,       /* a first walk with the xmax for its bound */
    MUTANT_WALK_IDS,     /* a catch-up from X on that keeps each chunk's ids for the sweep, and asks them itself */
    MUTANT_ANCIENT,      /* ids kept that are so old that their lower half comes again */
    MUTANTS
};
static const char *const mutant_names[] = {"none",    "no held ones", "one set",   "X of the snapshot", "no prepared ones", "no oldest",
                                           "no guard", "no skew",      "L of the next run", "X of the xmax",     "forget below X", "walk to the xmax", "ids of chunks", "ancient ids"};

#define SECOND INT64_C(1000000)
enum { TXS = 400, VERSIONS = 900, IDS = 5, PAGES_AT_ONCE = 7 };
static const int64_t SKEW = 60 * SECOND, GUARD = 5 * SECOND, STRAGGLER = 30 * SECOND;

enum tx_state { TX_OPEN, TX_PREPARED, TX_COMMITTED, TX_ABORTED };
struct tx {
    enum tx_state state;
    uint64_t ids[IDS]; /* its own, then its subtransactions' */
    bool undone[IDS];
    size_t ids_count;
    int64_t began;
    unsigned pid;
    bool slow;
};
struct version { /* of a row */
    size_t tx, id;
    int64_t watermark; /* in the column's unit */
    size_t killer, killer_id; /* whose overwrote it; killer TXS: nobody */
    bool backdated;    /* against the assumption: only a sweep finds it */
    bool ancient;      /* 2^32 ids ago, nearly */
    int landed, late;
};
struct kept { /* a row of the store */
    struct pg_piece at;
    char *text;
};
struct world {
    struct chance c;
    enum mutant mutant;
    int64_t now, unit;
    enum pg_form form;
    uint64_t next_id, latest; /* the highest that is over */
    struct tx txs[TXS];
    size_t txs_count;
    struct version versions[VERSIONS];
    size_t versions_count, crowd; /* most transactions at a time */
    bool backdates, quiet;
    /* ours */
    struct pg_position at;
    struct pg_ids *ids;
    struct kept kept[4096];
    size_t kept_count;
    char *position;
    int lost_decisions, stragglers_met, prepared_met, late;
    char fault[200];
};

#define FAULT(w, ...)                                                                                                  \
    do {                                                                                                               \
        if (!(w)->fault[0])                                                                                            \
            snprintf((w)->fault, sizeof(w)->fault, __VA_ARGS__);                                                       \
    } while (0)

/* ---- the database ---- */

static bool is_over(const struct tx *t)
{
    return t->state >= TX_COMMITTED;
}

static uint64_t take_id(struct world *w, struct tx *t)
{
    if (one_in(&w->c, 20))
        w->next_id += draw(&w->c, 70000); /* others' */
    if ((uint32_t)w->next_id < 3)
        w->next_id += 3;
    t->ids[t->ids_count] = w->next_id++;
    t->undone[t->ids_count] = false;
    return t->ids[t->ids_count++];
}

static int64_t in_unit(const struct world *w, int64_t us)
{
    return pg_floor(w->form, w->unit, us); /* tried apart, against its inverse */
}

static int64_t some_watermark(struct world *w, const struct tx *t, bool *backdated)
{
    int64_t least = t->began - SKEW;
    *backdated = false;
    switch (draw(&w->c, w->backdates ? 8 : 7)) {
    case 0:
        return in_unit(w, least);
    case 1:
        return in_unit(w, t->began);
    case 2:
        return in_unit(w, within(&w->c, least, w->now > least ? w->now : least));
    case 3:
        return in_unit(w, w->now);
    case 4:
        return in_unit(w, w->now + within(&w->c, 0, 3600) * SECOND);
    case 5:
        return one_in(&w->c, 2) ? PG_ALL : INT64_MAX; /* NULL, infinity */
    case 6:
        return in_unit(w, within(&w->c, least, least + 2 * GUARD));
    default:
        *backdated = true;
        return in_unit(w, least - within(&w->c, 1, 600) * SECOND);
    }
}

static void write_row(struct world *w, size_t at)
{
    struct tx *t = &w->txs[at];
    if (t->ids_count == 0 || (t->ids_count < IDS && one_in(&w->c, 3)))
        take_id(w, t);
    size_t id = draw(&w->c, t->ids_count);
    if (t->undone[id])
        return;
    if (one_in(&w->c, 3) && w->versions_count) { /* overwrites another's row, which must be committed and nobody else's prey */
        struct version *v = &w->versions[draw(&w->c, w->versions_count)];
        const struct tx *writer = &w->txs[v->tx];
        bool free_ = v->killer == TXS || w->txs[v->killer].state == TX_ABORTED || w->txs[v->killer].undone[v->killer_id];
        if (free_ && writer->state == TX_COMMITTED && !writer->undone[v->id]) {
            v->killer = at;
            v->killer_id = id;
        }
    }
    if (w->versions_count == VERSIONS)
        return;
    struct version *v = &w->versions[w->versions_count++];
    *v = (struct version){.tx = at, .id = id, .killer = TXS};
    v->watermark = some_watermark(w, t, &v->backdated);
}

static void end_tx(struct world *w, struct tx *t, bool commit)
{
    t->state = commit ? TX_COMMITTED : TX_ABORTED;
    for (size_t i = 0; i < t->ids_count; i++)
        if (t->ids[i] > w->latest)
            w->latest = t->ids[i];
}

static void touch(struct world *w, size_t at)
{
    struct tx *t = &w->txs[at];
    uint64_t what = draw(&w->c, 24);
    if (t->state == TX_PREPARED) {
        if (what < 4)
            end_tx(w, t, what != 0);
    } else if (what < 12) {
        write_row(w, at);
    } else if (what < 16) {
        if (!t->slow || one_in(&w->c, 6))
            end_tx(w, t, what != 12);
    } else if (what == 16 && t->ids_count > 1) {
        t->undone[1 + draw(&w->c, t->ids_count - 1)] = true; /* ROLLBACK TO */
    } else if (what == 17 && t->ids_count) {
        t->state = TX_PREPARED;
    }
}

static void happen(struct world *w, unsigned most)
{
    for (uint64_t n = w->quiet ? 0 : draw(&w->c, most + 1); n > 0; n--) {
        size_t open[TXS], count = 0;
        w->now += one_in(&w->c, 3) ? within(&w->c, 0, 8 * SECOND) : within(&w->c, 0, SECOND / 5);
        for (size_t i = 0; i < w->txs_count; i++)
            if (!is_over(&w->txs[i]))
                open[count++] = i;
        if (w->txs_count < TXS && (count < w->crowd && one_in(&w->c, 4))) {
            int64_t shown_late = one_in(&w->c, 2) ? 0 : within(&w->c, 0, GUARD);
            w->txs[w->txs_count++] = (struct tx){.began = w->now - shown_late, .pid = (unsigned)draw(&w->c, 5), .slow = one_in(&w->c, 4)};
        } else if (count) {
            touch(w, open[draw(&w->c, count)]);
        }
    }
}

struct snapshot {
    uint64_t xmin, xmax;
};

static struct snapshot snap(const struct world *w)
{
    struct snapshot s = {w->latest + 1, w->latest + 1};
    for (size_t i = 0; i < w->txs_count; i++)
        if (!is_over(&w->txs[i]) && w->txs[i].ids_count && w->txs[i].ids[0] < s.xmin)
            s.xmin = w->txs[i].ids[0];
    return s;
}

static bool is_there(const struct world *w, size_t tx, size_t id)
{
    return w->txs[tx].state == TX_COMMITTED && !w->txs[tx].undone[id];
}

static bool is_seen(const struct world *w, const struct version *v)
{
    return is_there(w, v->tx, v->id) && !(v->killer < TXS && is_there(w, v->killer, v->killer_id));
}

static uint64_t id_of(const struct world *w, const struct version *v)
{
    return w->txs[v->tx].ids[v->id];
}

/* ---- what we keep ---- */

static void keep(void *arg, struct pg_piece at, struct mr_str base64)
{
    struct world *w = arg;
    size_t i = 0;
    while (i < w->kept_count && (w->kept[i].at.l != at.l || w->kept[i].at.high != at.high))
        i++;
    if (i == w->kept_count) {
        assert_true(w->kept_count < MR_COUNT(w->kept));
        w->kept[w->kept_count++] = (struct kept){.at = at};
    }
    free(w->kept[i].text);
    w->kept[i].text = strndup(base64.p, base64.n);
}

static void unkeep(void *arg, struct pg_piece at)
{
    struct world *w = arg;
    for (size_t i = 0; i < w->kept_count; i++)
        if (w->kept[i].at.l == at.l && w->kept[i].at.high == at.high) {
            free(w->kept[i].text);
            w->kept[i] = w->kept[--w->kept_count];
            return;
        }
    FAULT(w, "a piece is forgotten that was never kept");
}

static void decide(struct world *w, int64_t l, const struct pg_met *met)
{
    struct mr_buf json;
    if (met) {
        pg_ids_add(w->ids, l, met);
        pg_ids_pieces(w->ids, l, met, keep, w);
    }
    bool sweep_behind = w->at.swept && w->at.swept < w->at.x && w->mutant != MUTANT_FORGET_X;
    pg_ids_forget(w->ids, sweep_behind ? w->at.swept : w->at.x, unkeep, w);
    mr_buf_init(&json, 1 << 20);
    pg_position_put(&w->at, &json);
    free(w->position);
    w->position = strndup(json.p, json.n);
    mr_buf_free(&json);
}

static void load(struct world *w)
{
    struct mr_err err;
    pg_position_free(&w->at);
    pg_ids_free(w->ids);
    w->ids = pg_ids_new();
    if (!w->position)
        return;
    assert_int_equal(pg_position_get(mr_str_c(w->position), &w->at, &err), MR_OK);
    for (size_t i = 0; i < w->kept_count; i++) {
        char name[32];
        struct pg_piece at;
        pg_piece_name(w->kept[i].at, name);
        assert_true(pg_piece_of(mr_str_c(name), &at));
        assert_true(pg_ids_read(w->ids, at, mr_str_c(w->kept[i].text)));
    }
}

/* ---- reading ---- */

static bool has_landed(const struct world *w, uint32_t id, int64_t watermark)
{
    return pg_ids_landed(w->ids, id, w->mutant == MUTANT_ONE_SET ? PG_ALL : watermark);
}

static void land(struct world *w, size_t at, bool *now)
{
    struct version *v = &w->versions[at];
    v->landed++;
    now[at] = true;
    if (v->landed > 1)
        FAULT(w, "version %zu of transaction %" PRIu64 " lands twice", at, id_of(w, v));
}

/* Sees everything at one moment, as a snapshot does. lo, hi: ids. from: watermarks; PG_ALL: all. */
static void read_range(struct world *w, struct snapshot s, uint64_t lo, uint64_t hi, int64_t from, size_t page_from, size_t page_to, struct pg_met *met, bool *now)
{
    for (size_t i = 0; i < w->versions_count; i++) {
        struct version *v = &w->versions[i];
        uint32_t id = (uint32_t)id_of(w, v);
        if (i < page_from || i >= page_to || !is_seen(w, v))
            continue;
        uint64_t x = pg_widen(id, s.xmax);
        if (x != id_of(w, v) && v->ancient)
            continue; /* it looks young again: that a frozen row does after 2^32 ids is known, and not this story */
        if (x != id_of(w, v))
            FAULT(w, "id %" PRIu32 " is taken for %" PRIu64, id, x);
        if (x < lo || x >= hi || (from != PG_ALL && v->watermark != PG_ALL && v->watermark < from) || has_landed(w, id, v->watermark))
            continue;
        land(w, i, now);
        if (met)
            pg_met_add(met, x, w->mutant == MUTANT_ANCIENT ? x + 1 : s.xmax);
    }
}

static void take_back(struct world *w, const bool *now)
{
    for (size_t i = 0; i < w->versions_count; i++)
        w->versions[i].landed -= now[i];
    w->lost_decisions++;
}

/* ---- a run ---- */

struct asked {
    struct pg_probe probe;
    struct pg_session stragglers[TXS];
    char prepared[TXS][48];
    bool was_over[TXS]; /* when it began */
};

static void ask(struct world *w, struct asked *a)
{
    struct pg_probe *p = &a->probe;
    *p = (struct pg_probe){.now = w->now, .oldest = MR_NO_TIME, .stragglers = a->stragglers, .prepared = a->prepared};
    for (size_t i = 0; i < w->txs_count; i++)
        a->was_over[i] = is_over(&w->txs[i]);
    for (size_t i = w->txs_count; i < TXS; i++)
        a->was_over[i] = false;
    happen(w, 3);
    p->xmin = snap(w).xmin;
    happen(w, 2);
    for (size_t i = 0, count = w->txs_count; i < count; i++) { /* who begins meanwhile may be passed over */
        const struct tx *t = &w->txs[i];
        if (one_in(&w->c, 6))
            happen(w, 1);
        if (t->state != TX_OPEN)
            continue;
        if (t->began < w->now - STRAGGLER) {
            struct pg_session *s = &a->stragglers[p->stragglers_count++];
            s->began = t->began;
            snprintf(s->who, sizeof s->who, "%u/%" PRId64, t->pid, t->began);
            w->stragglers_met++;
        } else if (p->oldest == MR_NO_TIME || t->began < p->oldest) {
            p->oldest = t->began;
        }
    }
    happen(w, 2);
    for (size_t i = 0; i < w->txs_count; i++)
        if (w->txs[i].state == TX_PREPARED) {
            snprintf(a->prepared[p->prepared_count++], 48, "p%" PRIu64, w->txs[i].ids[0]);
            w->prepared_met++;
        }
    if (w->mutant == MUTANT_NO_PREPARED)
        p->prepared_count = 0;
    if (w->mutant == MUTANT_NO_OLDEST)
        p->oldest = MR_NO_TIME;
}

static void run(struct world *w, bool may_fail)
{
    static struct asked a;
    bool now[VERSIONS] = {false};
    struct pg_position next;
    struct pg_met *met = pg_met_new();
    pg_position_init(&next);
    ask(w, &a);
    happen(w, 2);
    pg_position_copy(&next, &w->at);
    struct pg_bounds b = pg_bounds_of(&next, &a.probe, w->mutant == MUTANT_NO_SKEW ? 0 : SKEW, w->mutant == MUTANT_NO_GUARD ? 0 : GUARD);
    if (w->mutant == MUTANT_NO_HELD)
        b.from = w->at.l;
    struct snapshot s = snap(w);
    int64_t from = in_unit(w, b.from);
    read_range(w, s, w->at.x, UINT64_MAX, from, 0, SIZE_MAX, met, now);
    if (may_fail && one_in(&w->c, 8)) {
        take_back(w, now);
        if (one_in(&w->c, 2))
            load(w);
    } else {
        uint64_t x = w->mutant == MUTANT_XMAX ? s.xmax : b.x < s.xmin && w->mutant != MUTANT_SNAPSHOT_X ? b.x : s.xmin;
        bool first = next.x == 0 && next.l == MR_NO_TIME;
        if (next.l != MR_NO_TIME && b.next < next.l)
            FAULT(w, "L goes back");
        if (x > next.x)
            next.x = x;
        next.l = b.next;
        if (first || next.swept == 0)
            next.swept = next.x;
        for (size_t i = 0; i < w->versions_count; i++) {
            const struct version *v = &w->versions[i];
            if (a.was_over[v->tx] && is_seen(w, v) && !v->backdated && !v->ancient && v->landed != 1)
                FAULT(w, "version %zu of transaction %" PRIu64 " was over before the run and has not landed", i, id_of(w, v));
        }
        pg_position_copy(&w->at, &next);
        decide(w, w->mutant == MUTANT_L_OF_NEXT ? in_unit(w, b.next) : from, met);
    }
    pg_position_free(&next);
    pg_met_free(met);
}

/* Chunk by chunk, in any order, with things happening between them. */
static void walk(struct world *w, enum pg_walk_kind kind, bool runs_between)
{
    struct snapshot s = snap(w);
    uint64_t lo = kind == PG_WALK_FIRST ? 0 : w->at.swept, hi = kind == PG_WALK_SWEEP ? w->at.x : w->mutant == MUTANT_WALK_X ? s.xmax : s.xmin;
    if (kind == PG_WALK_CATCH_UP && hi <= w->at.x)
        return;
    bool keep_ids = w->mutant == MUTANT_WALK_IDS && kind == PG_WALK_CATCH_UP;
    lo = keep_ids ? w->at.x : lo;
    pg_walk_begin(&w->at, kind, lo, hi, (int64_t)w->versions_count, 7); /* a version a page */
    struct pg_span span;
    while (pg_walk_next(&w->at.walk, NULL, 0, PAGES_AT_ONCE, &span)) {
        bool now[VERSIONS] = {false};
        if (one_in(&w->c, 2)) { /* another one first */
            struct pg_span busy = span, other;
            if (pg_walk_next(&w->at.walk, &busy, 1, PAGES_AT_ONCE, &other))
                span = other;
        }
        struct pg_met *met = keep_ids ? pg_met_new() : NULL;
        read_range(w, snap(w), lo, hi, PG_ALL, (size_t)span.from, (size_t)span.to, met, now);
        if (one_in(&w->c, 10)) {
            take_back(w, now);
            load(w); /* what was decided goes on */
        } else {
            for (size_t i = 0; kind == PG_WALK_SWEEP && i < w->versions_count; i++)
                if (now[i]) {
                    w->late++;
                    if (!w->versions[i].backdated)
                        FAULT(w, "a sweep finds version %zu of transaction %" PRIu64, i, id_of(w, &w->versions[i]));
                }
            pg_walk_done(&w->at.walk, span);
            decide(w, PG_ALL, met);
        }
        pg_met_free(met);
        if (w->at.walk.kind == PG_WALK_NONE) { /* the first chunk was lost, and the walk with it */
            walk(w, kind, runs_between);
            return;
        }
        happen(w, 2);
        if (runs_between && one_in(&w->c, 4))
            run(w, true);
    }
    if (!pg_walk_whole(&w->at.walk) && w->at.walk.pages)
        FAULT(w, "a walk ends that is not whole");
    if (!keep_ids)
        w->at.swept = hi;
    if (kind != PG_WALK_SWEEP)
        w->at.x = hi;
    pg_walk_end(&w->at);
    decide(w, PG_ALL, NULL);
}

/* ---- a whole life ---- */

static void live(struct world *w)
{
    w->now = (one_in(&w->c, 2) ? INT64_C(1764300000) : within(&w->c, -5000, 5000)) * SECOND;
    w->form = one_in(&w->c, 2) ? PG_FORM_TIMESTAMPTZ : PG_FORM_INT8;
    w->unit = w->form == PG_FORM_INT8 ? SECOND : 1;
    w->next_id = (UINT64_C(3) << 32) - draw(&w->c, 400000); /* they wrap soon */
    w->latest = w->next_id - 1;
    w->backdates = one_in(&w->c, 3);
    w->crowd = 1 + draw(&w->c, 7);
    pg_position_init(&w->at);
    w->ids = pg_ids_new();
    for (int i = 0; i < 60; i++) { /* rows of old, whose ids come again soon */
        struct tx *t = &w->txs[w->txs_count++];
        *t = (struct tx){.state = TX_COMMITTED, .ids_count = 1, .ids = {w->next_id - (UINT64_C(1) << 32) + draw(&w->c, 20000)}};
        w->versions[w->versions_count++] = (struct version){.tx = w->txs_count - 1, .killer = TXS, .watermark = PG_ALL, .ancient = true};
    }
    happen(w, 60);
    if (one_in(&w->c, 2))
        walk(w, PG_WALK_FIRST, false);
    for (int i = 0; i < 45 && !w->fault[0]; i++) {
        happen(w, 14);
        run(w, true);
        if (one_in(&w->c, 8))
            load(w);
        if (one_in(&w->c, 12) && w->at.x > w->at.swept && w->at.swept)
            walk(w, PG_WALK_SWEEP, true);
        else if (one_in(&w->c, 25) && w->at.x)
            walk(w, PG_WALK_CATCH_UP, false);
    }
}

static void all_end(struct world *w)
{
    w->quiet = true;
    for (size_t i = 0; i < w->txs_count; i++)
        if (!is_over(&w->txs[i]))
            end_tx(w, &w->txs[i], true);
}

static void judge(struct world *w)
{
    for (size_t i = 0; i < w->versions_count; i++) {
        const struct version *v = &w->versions[i];
        bool alive = is_seen(w, v);
        if (v->landed > 1 || (alive && !v->ancient && v->landed != 1) || (v->landed && !is_there(w, v->tx, v->id)))
            FAULT(w, "version %zu of transaction %" PRIu64 " (began %" PRId64 ", watermark %" PRId64 "%s) has landed %d times", i, id_of(w, v), w->txs[v->tx].began, v->watermark,
                  v->backdated ? ", backdated" : "", v->landed);
    }
}

static void close_world(struct world *w)
{
    pg_position_free(&w->at);
    pg_ids_free(w->ids);
    for (size_t i = 0; i < w->kept_count; i++)
        free(w->kept[i].text);
    free(w->position);
    free(w);
}

struct tally {
    int versions, stragglers, prepared, lost_decisions, late;
};

/* "" if nothing is wrong. */
static void one_life(uint64_t seed, enum mutant mutant, struct tally *t, char fault[200])
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->c = chance_of(seed);
    w->mutant = mutant;
    live(w);
    all_end(w);
    run(w, false);
    w->now += 600 * SECOND;
    run(w, false);
    if (w->at.held_count)
        FAULT(w, "somebody is held though nobody is left");
    if (w->now - w->at.l > SKEW + GUARD + PG_STEP_US)
        FAULT(w, "L stays behind");
    if (w->at.x > w->at.swept)
        walk(w, PG_WALK_SWEEP, false);
    judge(w);
    t->versions += (int)w->versions_count;
    t->stragglers += w->stragglers_met;
    t->prepared += w->prepared_met;
    t->lost_decisions += w->lost_decisions;
    t->late += w->late;
    snprintf(fault, 200, "%s", w->fault);
    close_world(w);
}

static void each_version_lands_once(void **state)
{
    struct tally t = {0};
    char fault[200];
    (void)state;
    for (uint64_t seed = first_seed(), end = seed + 150; seed < end; seed++) {
        one_life(seed, MUTANT_NONE, &t, fault);
        if (fault[0])
            fail_msg("MRT_SEED=%" PRIu64 ": %s", seed, fault);
    }
    print_message("%d versions; met: %d stragglers, %d prepared ones, %d decisions lost, %d rows late\n", t.versions, t.stragglers, t.prepared, t.lost_decisions, t.late);
    assert_true(t.versions > 25000 && t.stragglers > 1000 && t.prepared > 500 && t.lost_decisions > 500 && t.late > 100); /* or it was another story */
}

static void no_rule_can_be_left_out(void **state)
{
    (void)state;
    for (enum mutant m = MUTANT_NONE + 1; m < MUTANTS; m++) {
        struct tally t = {0};
        char fault[200] = "";
        uint64_t seed = first_seed(), end = seed + 2000;
        for (; seed < end && !fault[0]; seed++)
            one_life(seed, m, &t, fault);
        print_message("%-20s %s (%" PRIu64 ". life)\n", mutant_names[m], fault[0] ? fault : "is not missed", seed - first_seed());
        if (!fault[0])
            fail_msg("%s: nothing shows it", mutant_names[m]);
    }
}

/* ---- windows: each value once, whatever is open ---- */

static void a_window_reads_each_row_once(void **state)
{
    static const int64_t HOLD = INT64_C(360000) * SECOND; /* nobody is left behind */
    static struct asked a;
    (void)state;
    for (uint64_t seed = first_seed(), end = seed + 100; seed < end; seed++) {
        struct world *w = calloc(1, sizeof *w);
        assert_non_null(w);
        w->c = chance_of(seed);
        w->now = INT64_C(1764300000) * SECOND;
        w->form = PG_FORM_TIMESTAMPTZ;
        w->unit = 1;
        w->next_id = 1000;
        w->crowd = 1 + draw(&w->c, 7);
        w->latest = 999;
        pg_position_init(&w->at);
        bool now[VERSIONS];
        for (int i = 0; i < 60; i++) {
            ask(w, &a);
            happen(w, 2);
            struct pg_bounds b = pg_window_of(&w->at, &a.probe, SKEW, GUARD, HOLD);
            for (size_t k = 0; k < w->versions_count; k++) {
                const struct version *v = &w->versions[k];
                if (is_there(w, v->tx, v->id) && v->watermark != PG_ALL && v->watermark < b.next && (b.from == MR_NO_TIME || v->watermark >= b.from))
                    land(w, k, now);
            }
            assert_true(w->at.l == MR_NO_TIME || b.next >= w->at.l);
            w->at.l = b.next;
            happen(w, 16);
            if (i == 55)
                all_end(w);
            w->now += w->quiet ? 60 * SECOND : 0;
        }
        size_t landed = 0;
        for (size_t k = 0; k < w->versions_count; k++) {
            const struct version *v = &w->versions[k];
            bool is = is_there(w, v->tx, v->id) && v->watermark != PG_ALL && v->watermark < w->at.l;
            if (v->landed != is)
                FAULT(w, "version %zu (began %" PRId64 ", watermark %" PRId64 ") has landed %d times", k, w->txs[v->tx].began, v->watermark, v->landed);
            landed += is;
        }
        if (w->fault[0])
            fail_msg("MRT_SEED=%" PRIu64 ": %s", seed, w->fault);
        assert_true(landed > w->versions_count / 4);
        close_world(w);
    }
}

const struct CMUnitTest model_tests[] = {
    cmocka_unit_test(each_version_lands_once),
    cmocka_unit_test(no_rule_can_be_left_out),
    cmocka_unit_test(a_window_reads_each_row_once),
};
const size_t model_tests_n = MR_COUNT(model_tests);
