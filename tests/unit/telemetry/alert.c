/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "millrace/alert.h"
#include "millrace/clock.h"

struct fixture {
    struct log_pipe *pipe;
    struct mr_metrics *metrics;
    struct mr_alerts *alerts;
    int told;
    struct mr_alert last; /* without its strings */
    char last_text[64];
    bool reopen, close_at_once;
};

/* By the linker's --wrap: time passes when a test says so. */
int64_t __wrap_mr_mono_us(void);
static int64_t mono_us = 1000000;
int64_t __wrap_mr_mono_us(void)
{
    return mono_us;
}

static void sink(void *arg, const struct mr_alert *alert)
{
    struct fixture *f = arg;
    f->told++;
    f->last = *alert;
    snprintf(f->last_text, sizeof f->last_text, "%s", alert->text);
    if (f->reopen) {
        f->reopen = false;
        mr_alert_open(f->alerts, alert->id, alert->source, alert->stream, "again: %s", alert->text);
    }
    if (f->close_at_once) {
        f->close_at_once = false;
        mr_alert_close(f->alerts, alert->id, alert->source, alert->stream);
    }
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->pipe = log_pipe_new(MR_LOG_TEXT);
    f->metrics = mr_metrics_new();
    f->alerts = mr_alerts_new(f->pipe->log, f->metrics);
    mr_alerts_set_sink(f->alerts, sink, f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    mr_alerts_free(f->alerts);
    mr_metrics_free(f->metrics);
    log_pipe_free(f->pipe);
    free(f);
    return 0;
}

static double shown(struct fixture *f, const char *alert, const char *source, const char *stream)
{
    return mr_cell_value(mr_metric(f->metrics, MR_M_ALERTS_OPEN, alert, source, stream));
}

static void an_opened_alert_is_logged_shown_and_told_once(void **state)
{
    struct fixture *f = *state;
    mr_alert_open(f->alerts, MR_A_DISK_LOW, NULL, NULL, "%d MiB left", 12);
    const char *text = log_pipe_read(f->pipe) + 27;
    assert_memory_equal(text, " error event=alert_opened alert=disk_low why=\"12 MiB left\"", 57);
    assert_non_null(strstr(text, "hint=\"make room;"));
    assert_true(shown(f, "disk_low", "", "") == 1);
    assert_int_equal(f->told, 1);
    assert_true(f->last.opened_us > 0 && f->last.closed_us == 0);
    assert_int_equal(mr_alerts_open_count(f->alerts), 1);
}

static void a_repeat_is_counted_with_its_text_and_says_nothing(void **state)
{
    struct fixture *f = *state;
    mr_alert_open(f->alerts, MR_A_SIGNATURE_BURST, "shop", NULL, "first");
    log_pipe_read(f->pipe);
    mr_alert_open(f->alerts, MR_A_SIGNATURE_BURST, "shop", NULL, "second");
    mono_us += INT64_C(3599) * 1000000;
    mr_alert_open(f->alerts, MR_A_SIGNATURE_BURST, "shop", "", "third");
    assert_string_equal(log_pipe_read(f->pipe), "");
    assert_int_equal(f->told, 1);
    assert_int_equal(mr_alerts_open_count(f->alerts), 1);
    mr_alert_close(f->alerts, MR_A_SIGNATURE_BURST, "shop", NULL);
    assert_int_equal(f->last.repeats, 2);
    assert_string_equal(f->last_text, "third");
}

static void after_an_hour_a_repeat_is_logged_again(void **state)
{
    struct fixture *f = *state;
    mr_alert_open(f->alerts, MR_A_SIGNATURE_BURST, "shop", NULL, "first");
    mono_us += INT64_C(3600) * 1000000;
    mr_alert_open(f->alerts, MR_A_SIGNATURE_BURST, "shop", NULL, "second");
    mr_alert_open(f->alerts, MR_A_SIGNATURE_BURST, "shop", NULL, "third");
    const char *text = log_pipe_read(f->pipe);
    assert_non_null(
        strstr(text, "warn  source=shop event=alert_still_open alert=signature_burst why=second repeats=1"));
    assert_null(strstr(text, "third"));
    assert_int_equal(f->told, 2);
}

static void alerts_of_other_sources_and_streams_are_others(void **state)
{
    struct fixture *f = *state;
    mr_alert_open(f->alerts, MR_A_ID_CONFLICT, "a", "x", "one");
    mr_alert_open(f->alerts, MR_A_ID_CONFLICT, "a", "y", "two");
    mr_alert_open(f->alerts, MR_A_ID_CONFLICT, "b", "x", "three");
    mr_alert_open(f->alerts, MR_A_DEDUP_WINDOW, "a", "x", "four");
    assert_int_equal(mr_alerts_open_count(f->alerts), 4);
    mr_alert_close(f->alerts, MR_A_ID_CONFLICT, "a", "y");
    assert_int_equal(mr_alerts_open_count(f->alerts), 3);
    assert_true(shown(f, "id_conflict", "a", "x") == 1);
    assert_true(shown(f, "id_conflict", "a", "y") == 0);
}

static void a_closed_alert_says_so_once_and_may_open_anew(void **state)
{
    struct fixture *f = *state;
    mr_alert_close(f->alerts, MR_A_DISK_LOW, NULL, NULL);
    assert_int_equal(f->told, 0);
    mr_alert_open(f->alerts, MR_A_DISK_LOW, NULL, NULL, "low");
    log_pipe_read(f->pipe);
    mr_alert_close(f->alerts, MR_A_DISK_LOW, NULL, NULL);
    mr_alert_close(f->alerts, MR_A_DISK_LOW, NULL, NULL);
    assert_string_equal(log_pipe_read(f->pipe) + 27, " info  event=alert_closed alert=disk_low why=low repeats=0\n");
    assert_int_equal(f->told, 2);
    assert_true(f->last.closed_us >= f->last.opened_us);
    assert_true(shown(f, "disk_low", "", "") == 0);
    mr_alert_open(f->alerts, MR_A_DISK_LOW, NULL, NULL, "low again");
    assert_int_equal(f->told, 3);
    assert_int_equal(f->last.repeats, 0);
}

static void a_restored_alert_is_open_since_then_and_quiet(void **state)
{
    struct fixture *f = *state;
    struct mr_alert kept = {.id = MR_A_QUEUE_FULL,
                            .source = NULL,
                            .stream = "",
                            .text = "full",
                            .opened_us = 42,
                            .changed_us = 43,
                            .repeats = 5};
    mr_alert_restore(f->alerts, &kept);
    assert_string_equal(log_pipe_read(f->pipe), "");
    assert_int_equal(f->told, 0);
    assert_true(shown(f, "queue_full", "", "") == 1);
    mr_alert_open(f->alerts, MR_A_QUEUE_FULL, NULL, NULL, "still");
    mr_alert_close(f->alerts, MR_A_QUEUE_FULL, NULL, NULL);
    assert_int_equal(f->last.opened_us, 42);
    assert_int_equal(f->last.repeats, 6);
}

static void an_alert_found_before_it_is_restored_keeps_its_first_time(void **state)
{
    struct fixture *f = *state;
    struct mr_alert kept = {
        .id = MR_A_QUEUE_FULL, .source = "", .stream = "", .text = "old", .opened_us = 42, .repeats = 5};
    mr_alert_open(f->alerts, MR_A_QUEUE_FULL, NULL, NULL, "new");
    mr_alert_restore(f->alerts, &kept);
    mr_alert_restore(f->alerts, &(struct mr_alert){.id = (enum mr_alert_id)MR_A_COUNT}); /* a row of another version */
    assert_int_equal(mr_alerts_open_count(f->alerts), 1);
    mr_alert_close(f->alerts, MR_A_QUEUE_FULL, NULL, NULL);
    assert_int_equal(f->last.opened_us, 42);
    assert_string_equal(f->last_text, "new");
}

static void a_sink_may_open_and_close_alerts_itself(void **state)
{
    struct fixture *f = *state;
    f->close_at_once = true;
    mr_alert_open(f->alerts, MR_A_STATE_FAILED, NULL, NULL, "one");
    assert_int_equal(mr_alerts_open_count(f->alerts), 0);
    mr_alert_open(f->alerts, MR_A_STATE_FAILED, NULL, NULL, "two");
    f->reopen = true;
    mr_alert_close(f->alerts, MR_A_STATE_FAILED, NULL, NULL);
    assert_int_equal(mr_alerts_open_count(f->alerts), 1);
    assert_true(shown(f, "state_failed", "", "") == 1);
}

static void count_and_close(void *arg, const struct mr_alert *alert)
{
    struct fixture *f = arg;
    mr_alert_close(f->alerts, alert->id, alert->source, alert->stream);
}

static void the_open_ones_are_walked_even_if_each_is_closed(void **state)
{
    struct fixture *f = *state;
    mr_alert_open(f->alerts, MR_A_DISK_LOW, NULL, NULL, "1");
    mr_alert_open(f->alerts, MR_A_SOURCE_FAILED, "a", NULL, "2");
    mr_alert_open(f->alerts, MR_A_SOURCE_FAILED, "b", NULL, "3");
    mr_alerts_each(f->alerts, count_and_close, f);
    assert_int_equal(mr_alerts_open_count(f->alerts), 0);
    assert_int_equal(f->told, 6);
}

static void every_row_has_name_meaning_and_remedy(void **state)
{
    (void)state;
    for (int i = 0; i < MR_A_COUNT; i++) {
        assert_true(*mr_alert_rows[i].name && *mr_alert_rows[i].meaning && *mr_alert_rows[i].remedy);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(mr_alert_rows[i].name, mr_alert_rows[j].name);
    }
    assert_true(mr_alert_rows[MR_A_DISK_LOW].error);
    assert_false(mr_alert_rows[MR_A_CLOCK_STEPPED].error);
}

#define ALERT_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALERT_TEST(an_opened_alert_is_logged_shown_and_told_once),
        ALERT_TEST(a_repeat_is_counted_with_its_text_and_says_nothing),
        ALERT_TEST(after_an_hour_a_repeat_is_logged_again),
        ALERT_TEST(alerts_of_other_sources_and_streams_are_others),
        ALERT_TEST(a_closed_alert_says_so_once_and_may_open_anew),
        ALERT_TEST(a_restored_alert_is_open_since_then_and_quiet),
        ALERT_TEST(an_alert_found_before_it_is_restored_keeps_its_first_time),
        ALERT_TEST(a_sink_may_open_and_close_alerts_itself),
        ALERT_TEST(the_open_ones_are_walked_even_if_each_is_closed),
        cmocka_unit_test(every_row_has_name_meaning_and_remedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
