/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/landing/rig.h"

#include <dirent.h>
#include <ftw.h>
#include <sys/stat.h>

/* -- life ---------------------------------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

void rig_turn(struct rig *r)
{
    RIG_NEED(uv_loop_alive(&r->loop.uv));
    uv_run(&r->loop.uv, UV_RUN_ONCE);
}

static void await(struct rig *r, unsigned answers)
{
    while (r->answers < answers)
        rig_turn(r);
}

static void on_open(void *arg, const struct mr_err *err, struct mr_store *store)
{
    struct rig *r = arg;
    r->err = *err;
    r->store = store;
    r->answers++;
}

static void on_instance(void *arg, const struct mr_err *err, const struct mr_instance *instance)
{
    struct rig *r = arg;
    RIG_NEED(err->code == MR_OK);
    r->self = *instance;
    r->answers++;
}

void rig_open(struct rig *r)
{
    RIG_NEED(mr_loop_init(&r->loop, &(struct mr_loop_options){.memory_limit = 1 << 26}, &r->err) == MR_OK);
    mr_store_open(&r->loop, &(struct mr_store_options){.url = r->state_url, .create = true}, on_open, r);
    await(r, r->answers + 1);
    RIG_NEED(r->store != NULL);
    mr_store_instance_begin(r->store, 60000, on_instance, r);
    await(r, r->answers + 1);
    RIG_NEED(mr_zone_open(&(struct mr_zone_options){.url = r->zone_url}, &r->zone, &r->err) == MR_OK);
    r->options = (struct mr_landings_options){.loop = &r->loop,
                                              .store = r->store,
                                              .zone = r->zone,
                                              .instance = &r->self,
                                              .codec = MR_LANDINGS_NONE,
                                              .roll_size = INT64_C(1) << 40,
                                              .roll_age_ms = 3600000,
                                              .seal_after_ms = INT64_C(10000) * 86400000, /* days end by hand here */
                                              .sole = true};
    RIG_NEED(mr_landings_new(&r->options, &r->ls, &r->err) == MR_OK);
}

static void on_resumed(void *arg, const struct mr_err *err)
{
    struct rig *r = arg;
    r->err = *err;
    r->answers++;
}

enum mr_code rig_resume(struct rig *r)
{
    mr_landings_resume(r->ls, on_resumed, r);
    await(r, r->answers + 1);
    return r->err.code;
}

static void on_closed(void *arg)
{
    ((struct rig *)arg)->answers++;
}

void rig_close_landings(struct rig *r)
{
    mr_landings_close(r->ls, on_closed, r);
    await(r, r->answers + 1);
    r->ls = NULL;
}

void rig_close(struct rig *r)
{
    if (r->ls)
        rig_close_landings(r);
    if (!r->store)
        return;
    mr_store_close(r->store, on_closed, r);
    await(r, r->answers + 1);
    r->store = NULL;
    mr_zone_close(r->zone, NULL, NULL);
    r->zone = NULL;
    mr_loop_close(&r->loop);
}

int rig_folder(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    RIG_NEED(r);
    snprintf(r->dir, sizeof r->dir, "/tmp/mr-landing-XXXXXX");
    RIG_NEED(mkdtemp(r->dir));
    snprintf(r->raw, sizeof r->raw, "%s/raw", r->dir);
    snprintf(r->state_url, sizeof r->state_url, "sqlite:%s/state.db", r->dir);
    snprintf(r->zone_url, sizeof r->zone_url, "file:%s", r->raw);
    *state = r;
    return 0;
}

int rig_up(void **state)
{
    rig_folder(state);
    rig_open(*state);
    return rig_resume(*state) == MR_OK ? 0 : -1;
}

int rig_down(void **state)
{
    struct rig *r = *state;
    rig_close(r);
    nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(r);
    return 0;
}

void rig_await_idle(struct rig *r)
{
    while (mr_landings_busy(r->ls) > 0)
        rig_turn(r);
}

/* -- a door's acts ------------------------------------------------------------------------------------------------- */

static void on_roll(void *arg, struct mr_landing *l, enum mr_roll_reason why)
{
    struct act *a = arg;
    RIG_NEED(l == a->l);
    a->rolls[why]++;
}

void act_begin(struct act *a, struct rig *r, const char *source, enum mr_landing_kind kind)
{
    *a = (struct act){.rig = r};
    const struct mr_landing_owner owner = {on_roll, a};
    a->l = mr_landing_begin(r->ls, mr_str_c(source), (struct mr_str){0}, kind, &owner);
    RIG_NEED(a->l);
    snprintf(a->id, sizeof a->id, "%s", mr_landing_id(a->l));
}

struct adding {
    struct mr_job job;
    struct rig *rig;
    struct mr_landing *l;
    const char *stream, *prefix;
    int count;
    struct mr_err err;
};

static void add_run(struct mr_job *job)
{
    struct adding *add = MR_OF(job, struct adding, job);
    add->err.code = MR_OK;
    for (int i = 0; i < add->count && add->err.code == MR_OK; i++) {
        char id[64], data[96];
        snprintf(id, sizeof id, "%s%d", add->prefix, i);
        snprintf(data, sizeof data, "{\"n\":\"<%s>\"}", id);
        const struct mr_record record = {.source = MR_STR("shop"),
                                         .stream = mr_str_c(add->stream),
                                         .id = mr_str_c(id),
                                         .ingested_at_us = 1763850322123456,
                                         .event_at_us = MR_NO_TIME,
                                         .position = MR_STR("{}"),
                                         .data = mr_str_c(data)};
        if (mr_landing_add(add->l, &record, &add->err) == MR_OK)
            add->err.code = MR_OK;
    }
}

static void add_done(struct mr_job *job, bool canceled)
{
    RIG_NEED(!canceled);
    MR_OF(job, struct adding, job)->rig->answers++;
}

enum mr_code act_add(struct act *a, const char *stream, const char *prefix, int count)
{
    struct rig *r = a->rig;
    struct adding add = {.job = {.run = add_run, .done = add_done}, .rig = r, .l = a->l, .stream = stream, .prefix = prefix, .count = count};
    mr_worker_submit(r->loop.workers, MR_LANE_COMPRESS, &add.job);
    await(r, r->answers + 1);
    mr_landing_slice_done(a->l);
    return add.err.code;
}

static void act_decided(void *arg, const struct mr_verdict *v)
{
    struct act *a = arg;
    static unsigned order;
    RIG_NEED(!a->decided && v->err);
    a->decided = true;
    a->order = ++order;
    a->code = v->code;
    a->which = v->which;
    a->number = v->number;
    if (v->code != MR_OK)
        a->l = NULL;
    if (a->on_decided)
        a->on_decided(a);
}

static void act_published(void *arg, enum mr_published how)
{
    struct act *a = arg;
    RIG_NEED(a->decided && a->code == MR_OK && !a->published);
    a->published = true;
    a->how = how;
    a->l = NULL;
    if (a->on_published)
        a->on_published(a);
}

void act_decide(struct act *a, const struct mr_move *moves, size_t count)
{
    const struct mr_landing_end end = {act_decided, act_published, a};
    mr_landing_decide(a->l, moves, count, NULL, 0, NULL, 0, &end);
}

void act_await(struct act *a)
{
    while (!a->decided || (a->code == MR_OK && !a->published))
        rig_turn(a->rig);
}

enum mr_code act_land(struct act *a)
{
    act_decide(a, NULL, 0);
    act_await(a);
    return a->code;
}

struct mr_move rig_move(const char *source, const char *part, int64_t expected, const char *value)
{
    return (struct mr_move){mr_str_c(source), MR_STR("t"), mr_str_c(part), expected, mr_str_c(value)};
}

/* -- the store ----------------------------------------------------------------------------------------------------- */

static void on_position(void *arg, const struct mr_err *err, const struct mr_position *p)
{
    struct rig *r = arg;
    static const char next[] = "{\"next\":";
    RIG_NEED(err->code == MR_OK);
    snprintf(r->text, sizeof r->text, "%.*s", (int)p->value.n, p->value.p ? p->value.p : "");
    r->version = p->version;
    r->next = strncmp(r->text, next, sizeof next - 1) == 0 ? strtol(r->text + sizeof next - 1, NULL, 10) : 0;
    r->answers++;
}

int64_t rig_position(struct rig *r, const char *source, const char *part)
{
    mr_store_position(r->store, mr_str_c(source), MR_STR("t"), mr_str_c(part), on_position, r);
    await(r, r->answers + 1);
    return r->version;
}

static void on_sealed(void *arg, const struct mr_err *err, int32_t sealed_through, bool blocked)
{
    struct rig *r = arg;
    (void)sealed_through;
    r->err = *err;
    r->blocked = blocked;
    r->answers++;
}

enum mr_code rig_seal(struct rig *r, int32_t day)
{
    mr_store_seal(r->store, day, on_sealed, r);
    await(r, r->answers + 1);
    return r->err.code;
}

static void on_landings(void *arg, const struct mr_err *err, const struct mr_landing_row *rows, size_t count)
{
    struct rig *r = arg;
    RIG_NEED(err->code == MR_OK && count <= 1);
    snprintf(r->text, sizeof r->text, "%.*s", count ? (int)rows->state.n : 0, count ? rows->state.p : "");
    r->answers++;
}

const char *rig_landing_state(struct rig *r, const char *id)
{
    mr_store_landings(r->store, mr_str_c(id), 0, 0, on_landings, r);
    await(r, r->answers + 1);
    return r->text;
}

struct looked_for {
    enum mr_alert_id id;
    const char *source;
    bool found;
};

static void on_alert(void *arg, const struct mr_alert *alert)
{
    struct looked_for *f = arg;
    f->found |= alert->id == f->id && strcmp(alert->source, f->source) == 0;
}

bool rig_alert(struct rig *r, enum mr_alert_id id, const char *source)
{
    struct looked_for f = {id, source, false};
    mr_alerts_each(r->loop.alerts, on_alert, &f);
    return f.found;
}

/* -- the zone, by eye ---------------------------------------------------------------------------------------------- */

static struct { /* nftw has no argument for its callback */
    const char *text, *path_part;
    long lines, staged, paths;
    bool unlink;
} eye;

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static void count_lines(const char *path)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    FILE *f = fopen(path, "rb");
    RIG_NEED(f);
    while ((n = getline(&line, &cap, f)) > 0) {
        RIG_NEED(line[n - 1] == '\n' && line[n - 2] == '}'); /* none is torn */
        eye.lines += !eye.text || strstr(line, eye.text);
    }
    free(line);
    fclose(f);
}

static int look_at(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)where;
    if (type != FTW_F)
        return 0;
    bool staged = ends_with(path, ".part"), data = strstr(path, "/source=") && ends_with(path, ".ndjson");
    eye.staged += staged;
    if (eye.path_part && strstr(path, eye.path_part)) {
        eye.paths++;
        if (eye.unlink && staged)
            RIG_NEED(unlink(path) == 0);
    }
    if (data)
        count_lines(path);
    return 0;
}

static void look(const struct rig *r, const char *text, const char *path_part, bool delete_staged)
{
    memset(&eye, 0, sizeof eye);
    eye.text = text;
    eye.path_part = path_part;
    eye.unlink = delete_staged;
    if (access(r->raw, F_OK) == 0)
        RIG_NEED(nftw(r->raw, look_at, 16, FTW_PHYS) == 0);
}

long rig_lines(const struct rig *r)
{
    look(r, NULL, NULL, false);
    return eye.lines;
}

long rig_lines_with(const struct rig *r, const char *text)
{
    look(r, text, NULL, false);
    return eye.lines;
}

long rig_staged(const struct rig *r)
{
    look(r, NULL, NULL, false);
    return eye.staged;
}

bool rig_has_day(const struct rig *r, int32_t day)
{
    char text[11], part[32];
    mr_day_text(day, text);
    snprintf(part, sizeof part, "/ingest_date=%s/", text);
    look(r, NULL, part, false);
    return eye.paths > 0;
}

void rig_delete_staged(const struct rig *r, const char *name_part)
{
    look(r, NULL, name_part, true);
    RIG_NEED(eye.paths > 0);
}
