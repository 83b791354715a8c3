/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "millrace/metrics.h"

#include <ctype.h>
#include <pthread.h>

static const char *exposed(struct mr_metrics *m)
{
    static char text[1 << 17];
    struct mr_buf b;
    mr_buf_init(&b, sizeof text - 1);
    mr_metrics_write(m, &b);
    assert_false(b.failed);
    snprintf(text, sizeof text, "%s", mr_buf_cstr(&b));
    mr_buf_free(&b);
    return text;
}

static void assert_line(struct mr_metrics *m, const char *line)
{
    char framed[512];
    snprintf(framed, sizeof framed, "\n%s\n", line);
    const char *text = exposed(m);
    if (!strstr(text, framed))
        fail_msg("no line \"%s\" in:\n%s", line, text);
}

static void counters_and_gauges_show_what_was_added(void **state)
{
    (void)state;
    struct mr_metrics *m = mr_metrics_new();
    mr_cell_add(mr_metric(m, MR_M_WEBHOOK_REQUESTS, "shop", "accepted", "ok"), 3);
    mr_cell_add(mr_metric(m, MR_M_WEBHOOK_REQUESTS, "shop", "accepted", "ok"), 4);
    mr_cell_add(mr_metric(m, MR_M_WEBHOOK_REQUESTS, "shop", "refused", "signature"), 1);
    mr_cell_set(mr_metric(m, MR_M_DISK_FREE, "zone"), 123456789012345.0);
    mr_cell_set(mr_metric0(m, MR_M_LOOP_LAG_MAX), 0.0625);
    struct mr_cell *segments = mr_metric0(m, MR_M_QUEUE_SEGMENTS);
    mr_cell_add(segments, 5);
    mr_cell_add(segments, -2);
    assert_line(m, "millrace_webhook_requests_total{source=\"shop\",outcome=\"accepted\",cause=\"ok\"} 7");
    assert_line(m, "millrace_webhook_requests_total{source=\"shop\",outcome=\"refused\",cause=\"signature\"} 1");
    assert_line(m, "millrace_disk_free_bytes{what=\"zone\"} 123456789012345");
    assert_line(m, "millrace_loop_lag_max_seconds 0.0625");
    assert_line(m, "millrace_queue_segments 3");
    assert_true(mr_cell_value(segments) == 3);
    mr_metrics_free(m);
}

static void the_same_labels_find_the_same_cell(void **state)
{
    (void)state;
    struct mr_metrics *m = mr_metrics_new();
    struct mr_cell *a = mr_metric(m, MR_M_LANDED_RECORDS, "a", "b");
    char copy[] = "a";
    assert_ptr_equal(mr_metric(m, MR_M_LANDED_RECORDS, copy, "b"), a);
    assert_ptr_not_equal(mr_metric(m, MR_M_LANDED_RECORDS, "b", "a"), a);
    assert_ptr_not_equal(mr_metric(m, MR_M_LANDED_BYTES, "a", "b"), a);
    mr_metrics_free(m);
}

static void a_histogram_is_cumulated_and_ends_in_its_count(void **state)
{
    (void)state;
    struct mr_metrics *m = mr_metrics_new();
    struct mr_cell *c = mr_metric0(m, MR_M_QUEUE_SYNC);
    mr_cell_observe(c, 0.00005); /* a bound belongs to its bucket */
    mr_cell_observe(c, 0.001);
    mr_cell_observe(c, 0.001);
    mr_cell_observe(c, 100);
    mr_cell_observe(c, -1);
    assert_line(m, "millrace_queue_sync_seconds_bucket{le=\"0.00005\"} 2");
    assert_line(m, "millrace_queue_sync_seconds_bucket{le=\"0.0007\"} 2");
    assert_line(m, "millrace_queue_sync_seconds_bucket{le=\"0.0017\"} 4");
    assert_line(m, "millrace_queue_sync_seconds_bucket{le=\"30\"} 4");
    assert_line(m, "millrace_queue_sync_seconds_bucket{le=\"+Inf\"} 5");
    assert_line(m, "millrace_queue_sync_seconds_sum 100.00205");
    assert_line(m, "millrace_queue_sync_seconds_count 5");
    assert_true(mr_cell_value(c) == 5);
    mr_metrics_free(m);
}

static void rows_without_labels_are_there_from_the_start_and_others_are_not(void **state)
{
    (void)state;
    struct mr_metrics *m = mr_metrics_new();
    assert_line(m, "millrace_log_lines_lost_total 0");
    assert_line(m, "millrace_queue_sync_seconds_count 0");
    assert_null(strstr(exposed(m), "millrace_webhook_requests_total"));
    assert_line(m, "millrace_build_info{version=\"" MR_VERSION "\"} 1");
    mr_metrics_free(m);
}

static void label_values_are_escaped(void **state)
{
    (void)state;
    struct mr_metrics *m = mr_metrics_new();
    mr_cell_set(mr_metric(m, MR_M_SOURCE_UP, "a\"b\\c\nd"), 1);
    assert_line(m, "millrace_source_up{source=\"a\\\"b\\\\c\\nd\"} 1");
    mr_metrics_free(m);
}

/* The grammar of text format 0.0.4, and Prometheus' naming rules, over a registry with every row in use. */
static void the_whole_exposition_keeps_the_rules(void **state)
{
    (void)state;
    static const char *const values[][4] = {{NULL}, {"v1", NULL}, {"v1", "v2", NULL}, {"v1", "v2", "v3", NULL}};
    static const char *const labels[MR_M_COUNT] = {
#define ROW_LABELS(id, name, type, help, row_labels) row_labels,
        MR_METRICS(ROW_LABELS)
#undef ROW_LABELS
    };
    struct mr_metrics *m = mr_metrics_new();
    for (int id = 0; id < MR_M_COUNT; id++) {
        size_t n = *labels[id] != '\0';
        for (const char *p = labels[id]; *p; p++)
            n += *p == ',';
        mr_metric_cell(m, (enum mr_metric)id, values[n]);
    }
    char *text = strdup(exposed(m)), *rest = text, name[128] = "", type[32] = "";
    int types = 0;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && rest;) {
        if (strncmp(line, "# HELP ", 7) == 0) {
            assert_int_equal(sscanf(line, "# HELP %127s", name), 1);
            assert_true(strlen(line) > 7 + strlen(name) + 2);
        } else if (line[0] == '#') {
            char typed[128];
            assert_int_equal(sscanf(line, "# TYPE %127s %31s", typed, type), 2);
            assert_string_equal(typed, name);
            size_t length = strlen(name);
            bool total = length > 6 && strcmp(name + length - 6, "_total") == 0;
            assert_int_equal(total, strcmp(type, "counter") == 0);
            if (strcmp(type, "histogram") == 0)
                assert_string_equal(name + length - 8, "_seconds");
            types++;
        } else {
            assert_memory_equal(line, name, strlen(name));
            const char *value = strrchr(line, ' ');
            assert_non_null(value);
            char *end;
            strtod(value + 1, &end);
            assert_true(*end == '\0' && end > value + 1);
            for (const char *p = name; *p; p++)
                assert_true(islower((unsigned char)*p) || isdigit((unsigned char)*p) || *p == '_');
        }
    }
    assert_int_equal(types, MR_M_COUNT);
    free(text);
    mr_metrics_free(m);
}

static void the_reference_has_a_row_for_every_metric(void **state)
{
    (void)state;
    struct mr_buf b;
    mr_buf_init(&b, 1 << 16);
    mr_metrics_reference(&b);
    assert_false(b.failed);
    const char *text = mr_buf_cstr(&b);
    assert_non_null(strstr(text, "| `millrace_landings_total` | counter | `source`, `outcome` | "));
    size_t rows = 0;
    for (const char *p = text; (p = strstr(p, "\n| `millrace_")) != NULL; p++)
        rows++;
    assert_int_equal(rows, MR_M_COUNT);
    mr_buf_free(&b);
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *add_and_observe(void *arg)
{
    struct mr_metrics *m = arg;
    for (int i = 0; i < ROUNDS; i++) {
        mr_cell_add(mr_metric(m, MR_M_LANDED_RECORDS, "s", i % 2 ? "odd" : "even"), 1);
        mr_cell_add(mr_metric0(m, MR_M_QUEUE_BYTES), 2);
        mr_cell_observe(mr_metric0(m, MR_M_QUEUE_SYNC), 0.002);
    }
    return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
    (void)state;
    struct mr_metrics *m = mr_metrics_new();
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_and_observe, m), 0);
    exposed(m); /* while they run */
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(mr_cell_value(mr_metric(m, MR_M_LANDED_RECORDS, "s", "odd")) == THREADS * ROUNDS / 2);
    assert_true(mr_cell_value(mr_metric(m, MR_M_LANDED_RECORDS, "s", "even")) == THREADS * ROUNDS / 2);
    assert_true(mr_cell_value(mr_metric0(m, MR_M_QUEUE_BYTES)) == THREADS * ROUNDS * 2);
    assert_true(mr_cell_value(mr_metric0(m, MR_M_QUEUE_SYNC)) == THREADS * ROUNDS);
    mr_metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_and_gauges_show_what_was_added),
        cmocka_unit_test(the_same_labels_find_the_same_cell),
        cmocka_unit_test(a_histogram_is_cumulated_and_ends_in_its_count),
        cmocka_unit_test(rows_without_labels_are_there_from_the_start_and_others_are_not),
        cmocka_unit_test(label_values_are_escaped),
        cmocka_unit_test(the_whole_exposition_keeps_the_rules),
        cmocka_unit_test(the_reference_has_a_row_for_every_metric),
        cmocka_unit_test(nothing_is_lost_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
