/* SPDX-License-Identifier: Apache-2.0 */
#include "millrace/metrics.h"

#include "millrace/clock.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { LABELS_MAX = 3, BUCKETS = 16 };
enum type { COUNTER, GAUGE, HISTOGRAM };

static const struct {
    const char *name, *help, *labels;
    enum type type;
} rows[MR_M_COUNT] = {
#define MR_METRIC_ROW(id, name, type, help, labels) {name, help, labels, type},
    MR_METRICS(MR_METRIC_ROW)
#undef MR_METRIC_ROW
};
static const char *const type_names[] = {"counter", "gauge", "histogram"};

/* Upper bounds, 50 us to 30 s: from one turn of the loop to a disk that has stalled. The texts are what is exposed: a
 * bound must never change its spelling, or it is another series. */
static const double bounds[BUCKETS] = {0.00005, 0.00012, 0.0003, 0.0007, 0.0017, 0.004, 0.01, 0.025,
                                       0.06,    0.15,    0.35,   0.85,   2,      5,     12,   30};
static const char *const bound_texts[BUCKETS] = {"0.00005", "0.00012", "0.0003", "0.0007", "0.0017", "0.004",
                                                 "0.01",    "0.025",   "0.06",   "0.15",   "0.35",   "0.85",
                                                 "2",       "5",       "12",     "30"};

struct histogram {
    atomic_int_fast64_t buckets[BUCKETS + 1]; /* not cumulated; the last is above all bounds */
    atomic_int_fast64_t sum_ns;               /* an integer: one atomic addition, and 292 years of room */
};

struct mr_cell {
    struct mr_cell *next;
    enum type type;
    union {
        atomic_int_fast64_t count; /* counter */
        _Atomic(double) gauge;
        struct histogram histogram;
    } u;
    char *values[LABELS_MAX];
};

struct mr_metrics {
    pthread_mutex_t mutex; /* the lists; cells themselves are atomic and never move */
    struct mr_cell *cells[MR_M_COUNT];
};

static size_t label_count(enum mr_metric id)
{
    size_t n = rows[id].labels[0] != '\0';
    for (const char *p = rows[id].labels; *p; p++)
        n += *p == ',';
    return n;
}

struct mr_metrics *mr_metrics_new(void)
{
    struct mr_metrics *m = calloc(1, sizeof *m);
    if (!m || pthread_mutex_init(&m->mutex, NULL) != 0)
        abort(); /* at start-up */
    /* A row without labels is there from the start: an absent series and a zero are different things to an alert rule.
     */
    for (int id = 0; id < MR_M_COUNT; id++)
        if (label_count((enum mr_metric)id) == 0)
            mr_metric0(m, (enum mr_metric)id);
    mr_cell_set(mr_metric(m, MR_M_BUILD_INFO, MR_VERSION), 1);
    mr_cell_set(mr_metric0(m, MR_M_START_TIME), (double)mr_wall_us() / 1e6);
    return m;
}

void mr_metrics_free(struct mr_metrics *m)
{
    if (!m)
        return;
    for (int id = 0; id < MR_M_COUNT; id++) {
        for (struct mr_cell *c = m->cells[id], *next; c; c = next) {
            next = c->next;
            for (int i = 0; i < LABELS_MAX; i++)
                free(c->values[i]);
            free(c);
        }
    }
    pthread_mutex_destroy(&m->mutex);
    free(m);
}

static bool has_values(const struct mr_cell *c, const char *const *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(c->values[i], values[i]) != 0)
            return false;
    return true;
}

static struct mr_cell *cell_new(enum mr_metric id, const char *const *values, size_t n)
{
    struct mr_cell *c = calloc(1, sizeof *c);
    if (!c)
        abort(); /* bounded by config */
    c->type = rows[id].type;
    for (size_t i = 0; i < n; i++)
        if (!(c->values[i] = strdup(values[i])))
            abort();
    return c;
}

struct mr_cell *mr_metric_cell(struct mr_metrics *m, enum mr_metric id, const char *const *label_values)
{
    assert((unsigned)id < MR_M_COUNT);
    size_t n = label_count(id);
    for (size_t i = 0; i < n; i++)
        assert(label_values && label_values[i]);
    assert(n <= LABELS_MAX && (!label_values || !label_values[n]));
    pthread_mutex_lock(&m->mutex);
    struct mr_cell **at = &m->cells[id]; /* appended at the end: the exposition's order is that of first use */
    while (*at && !has_values(*at, label_values, n))
        at = &(*at)->next;
    if (!*at)
        *at = cell_new(id, label_values, n);
    struct mr_cell *c = *at;
    pthread_mutex_unlock(&m->mutex);
    return c;
}

void mr_cell_add(struct mr_cell *c, int64_t n)
{
    assert(c->type == GAUGE || (c->type == COUNTER && n >= 0));
    if (c->type == COUNTER) {
        atomic_fetch_add_explicit(&c->u.count, n, memory_order_relaxed);
        return;
    }
    double was = atomic_load_explicit(&c->u.gauge, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&c->u.gauge, &was, was + (double)n, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

void mr_cell_set(struct mr_cell *c, double v)
{
    assert(c->type == GAUGE);
    atomic_store_explicit(&c->u.gauge, v, memory_order_relaxed);
}

void mr_cell_observe(struct mr_cell *c, double seconds)
{
    assert(c->type == HISTOGRAM);
    if (!(seconds > 0))
        seconds = 0; /* a clock that stepped back, or no number */
    if (seconds > 1e9)
        seconds = 1e9;
    size_t i = 0;
    while (i < BUCKETS && seconds > bounds[i])
        i++;
    atomic_fetch_add_explicit(&c->u.histogram.buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->u.histogram.sum_ns, (int64_t)(seconds * 1e9), memory_order_relaxed);
}

static int64_t bucket(const struct mr_cell *c, size_t i)
{
    return atomic_load_explicit(&c->u.histogram.buckets[i], memory_order_relaxed);
}

double mr_cell_value(const struct mr_cell *c)
{
    if (c->type == COUNTER)
        return (double)atomic_load_explicit(&c->u.count, memory_order_relaxed);
    if (c->type == GAUGE)
        return atomic_load_explicit(&c->u.gauge, memory_order_relaxed);
    int64_t count = 0;
    for (size_t i = 0; i <= BUCKETS; i++)
        count += bucket(c, i);
    return (double)count;
}

static void write_number(struct mr_buf *out, double v)
{
    if (isnan(v))
        mr_buf_puts(out, "NaN");
    else if (isinf(v))
        mr_buf_puts(out, v > 0 ? "+Inf" : "-Inf");
    else if (v > -1e15 && v < 1e15 && v == (double)(int64_t)v)
        mr_buf_printf(out, "%.0f", v);
    else
        mr_buf_printf(out, "%.15g", v);
}

static void write_value(struct mr_buf *out, const char *value)
{
    for (; *value; value++) {
        if (*value == '\\' || *value == '"')
            mr_buf_putc(out, '\\');
        if (*value == '\n')
            mr_buf_puts(out, "\\n");
        else
            mr_buf_putc(out, *value);
    }
}

/* name<suffix>{label="value",le="..."} and a space; `le` may be NULL. */
static void write_series(struct mr_buf *out, enum mr_metric id, const struct mr_cell *c, const char *suffix,
                         const char *le)
{
    mr_buf_puts(out, rows[id].name);
    mr_buf_puts(out, suffix);
    const char *label = rows[id].labels, *open = "{";
    for (size_t i = 0; *label; i++) {
        size_t n = strcspn(label, ",");
        mr_buf_puts(out, open);
        mr_buf_put(out, label, n);
        mr_buf_puts(out, "=\"");
        write_value(out, c->values[i]);
        mr_buf_putc(out, '"');
        open = ",";
        label += n + (label[n] == ',');
    }
    if (le) {
        mr_buf_printf(out, "%sle=\"%s\"", open, le);
        open = ",";
    }
    mr_buf_puts(out, *open == ',' ? "} " : " ");
}

static void write_histogram(struct mr_buf *out, enum mr_metric id, const struct mr_cell *c)
{
    int64_t count = 0; /* summed from what is read here, so that +Inf and _count agree while others observe */
    for (size_t i = 0; i <= BUCKETS; i++) {
        count += bucket(c, i);
        write_series(out, id, c, "_bucket", i < BUCKETS ? bound_texts[i] : "+Inf");
        mr_buf_printf(out, "%lld\n", (long long)count);
    }
    write_series(out, id, c, "_sum", NULL);
    write_number(out, (double)atomic_load_explicit(&c->u.histogram.sum_ns, memory_order_relaxed) / 1e9);
    mr_buf_putc(out, '\n');
    write_series(out, id, c, "_count", NULL);
    mr_buf_printf(out, "%lld\n", (long long)count);
}

static void write_cell(struct mr_buf *out, enum mr_metric id, const struct mr_cell *c)
{
    if (c->type == HISTOGRAM) {
        write_histogram(out, id, c);
        return;
    }
    write_series(out, id, c, "", NULL);
    write_number(out, mr_cell_value(c));
    mr_buf_putc(out, '\n');
}

void mr_metrics_write(struct mr_metrics *m, struct mr_buf *out)
{
    pthread_mutex_lock(&m->mutex);
    for (int id = 0; id < MR_M_COUNT; id++) {
        if (!m->cells[id])
            continue;
        mr_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", rows[id].name, rows[id].help, rows[id].name,
                      type_names[rows[id].type]);
        for (const struct mr_cell *c = m->cells[id]; c; c = c->next)
            write_cell(out, (enum mr_metric)id, c);
    }
    pthread_mutex_unlock(&m->mutex);
}

void mr_metrics_reference(struct mr_buf *out)
{
    mr_buf_puts(
        out,
        "# Metrics\n\n"
        "Prometheus text format at `/metrics` of the admin listener. Generated from the table in "
        "`include/millrace/metrics.h`; a test compares.\n\n"
        "A row without labels is there from the start; one with labels appears when it is first used. Label values\n"
        "come from the config, never from outside. The buckets of every histogram, in seconds: ");
    for (size_t i = 0; i < BUCKETS; i++)
        mr_buf_printf(out, "%s%s", bound_texts[i], i + 1 < BUCKETS ? ", " : ".\n\n");
    mr_buf_puts(out, "| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for (int id = 0; id < MR_M_COUNT; id++) {
        mr_buf_printf(out, "| `%s` | %s | ", rows[id].name, type_names[rows[id].type]);
        for (const char *label = rows[id].labels; *label;) {
            size_t n = strcspn(label, ",");
            mr_buf_printf(out, "`%.*s`%s", (int)n, label, label[n] ? ", " : "");
            label += n + (label[n] == ',');
        }
        mr_buf_printf(out, " | %s |\n", rows[id].help);
    }
}
